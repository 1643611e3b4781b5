"""Runs as files: evtrace of kind `events`. And inputs from plain `.npz`.

The format is one NumPy-only module of `validation`, which somebody may copy to another
machine; it is the one thing that `evsim` shares with that package.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from evsim.delivery import Current
from evsim.described import Shelf, described, network_of
from evsim.network import Network
from evsim.nir import from_nir
from evsim.record import Record
from evsim.simulate import POLICIES, check_policies, checked_inputs
from evsim.spikes import Spikes

#: What a file does not say about policies.
DEFAULTS = {key: values[0] for key, values in POLICIES.items()}
#: States of so many neurons stand in the manifest, where people can read them.
SMALL = 1000


def save(record: Record, path: str | os.PathLike[str]) -> None:
    """Write a run, with its network.

    Parameters
    ----------
    record : Record
        Of any network; one that `from_nir` has read from a file, and that has not been changed
        since, is kept as that file.
    path : str or path-like
        An `.npz`; it appears only when it is complete.

    Raises
    ------
    ValueError
        If a name cannot be the name of an array in a file.
    """
    from validation import evtrace

    arrays: dict[str, Any] = {}
    manifest: dict[str, Any] = {"kind": "events", "until": record.until}
    origin = record.network.origin
    if origin is not None and origin["graph"] is not None:
        arrays["graph.nir"] = np.frombuffer(origin["graph"], np.uint8)
        manifest["options"] = origin["options"]
    else:
        manifest["network"] = described(record.network, arrays)
    for name, given in record.inputs.items():
        if isinstance(given, Spikes):
            arrays |= _columns(f"inputs/{name}", given)
        else:
            arrays |= {f"currents/{name}/times": given.times}
            arrays |= {f"currents/{name}/values": given.values}
    for name, train in record.spikes.items():
        arrays |= _columns(f"spikes/{name}", train)
    shelf = Shelf(arrays)
    manifest |= {
        "policies": record.policies,
        "grids": {name: str(x.dt) for name, x in record.inputs.items() if x.dt is not None},
        "undecided": [list(entry) for entry in record.undecided],
        "initial": {
            name: [
                values.tolist() if len(values) < SMALL else shelf.put(f"initial/{name}/{k}", values)
                for k, values in enumerate(state)
            ]
            for name, state in record.initial.items()
        },
    }
    evtrace.write(path, manifest, arrays)


def _columns(prefix: str, train: Spikes) -> dict[str, np.ndarray]:
    out = {f"{prefix}/times": train.times, f"{prefix}/units": train.units}
    if train.times_lo.any():
        out[f"{prefix}/times_lo"] = train.times_lo
    return out


def load(path: str | os.PathLike[str]) -> Record:
    """Read a run that `save` has written.

    Raises
    ------
    ValueError
        If the file is not a run of evsim, or is damaged; one line.
    """
    from validation import evtrace

    recording = evtrace.read(path)
    if recording.kind != "events":
        raise ValueError(f"{path} is a recording of kind {recording.kind!r}, not a run")
    try:
        return _record(recording.manifest, recording.arrays)
    except KeyError as error:
        raise ValueError(f"{path} is no run that evsim has saved: it lacks {error}") from None
    except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
        line = str(error).partition("\n")[0]
        raise ValueError(f"{path} is no run that evsim has saved: {line}") from None


def _record(manifest, arrays) -> Record:
    network, shelf = _network(arrays, manifest), Shelf(dict(arrays))
    names, grids = list(network.populations), manifest.get("grids", {})
    inputs: dict[str, Spikes | Current] = {
        name: _on_grid(_train(arrays, f"inputs/{name}"), grids.get(name))
        for name in _names(arrays, "inputs")
    }
    for name in _names(arrays, "currents"):
        times, values = (arrays[f"currents/{name}/{x}"] for x in ("times", "values"))
        inputs[name] = Current(times, values, Fraction(grids[name]) if name in grids else None)
    check_policies(network, DEFAULTS | manifest["policies"])
    initial = {name: list(map(shelf.get, manifest["initial"][name])) for name in names}
    for name in names:
        shapes = [np.shape(values) for values in initial[name]]
        population = network.populations[name]
        if shapes != [(population.n,)] * len(population.model.state):
            raise ValueError(f"the initial state of {name!r} has shapes {shapes}")
    return Record(
        network=network,
        inputs=checked_inputs(network, inputs),
        until=float(manifest["until"]),
        policies=dict(manifest["policies"]),
        spikes={name: _train(arrays, f"spikes/{name}") for name in names},
        undecided=[(str(a), int(b), float(c), str(d)) for a, b, c, d in manifest["undecided"]],
        initial={name: tuple(np.array(x, float) for x in initial[name]) for name in names},
    )


def _network(arrays, manifest) -> Network:
    if "network" in manifest:
        return network_of(manifest["network"], arrays)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        path.write_bytes(arrays["graph.nir"].tobytes())
        return from_nir(path, **manifest["options"])


def _names(arrays, group: str) -> list[str]:
    keys = [key for key in arrays if key.startswith(f"{group}/") and key.endswith("/times")]
    return [key.removeprefix(f"{group}/").removesuffix("/times") for key in keys]


def _on_grid(train: Spikes, dt: str | None) -> Spikes:
    """The train with the integer steps that it had: its times alone have rounded them."""
    if dt is None:
        return train
    step = Fraction(dt)
    pairs = zip(train.times.tolist(), train.times_lo.tolist(), strict=True)
    return Spikes.on_grid(
        [round((Fraction(a) + Fraction(b)) / step) for a, b in pairs], train.units, step
    )


def _train(arrays, prefix: str) -> Spikes:
    lo = arrays.get(f"{prefix}/times_lo")
    return Spikes(arrays[f"{prefix}/times"], arrays[f"{prefix}/units"], times_lo=lo)


def read_input(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Spikes of every input of the network; the file must name them all and no other."""
    names = list(names)
    arrays = read_arrays(path)
    if "times" in arrays or "units" in arrays:
        if len(names) != 1:
            raise ValueError(
                f"{path}: plain times and units need one input, the network has {len(names)}: "
                f"name them {names[0] if names else '<input>'}/times and so on"
            )
        arrays = {f"{names[0]}/{key}": a for key, a in arrays.items() if "/" not in key}
    wanted = {f"{name}/{field}" for name in names for field in ("times", "units")}
    for key in sorted(wanted ^ arrays.keys()):
        problem = "is missing" if key in wanted else f"is no input; the network has {names}"
        raise ValueError(f"{path}: array {key!r} {problem}")
    return {n: Spikes(arrays[f"{n}/times"], arrays[f"{n}/units"]) for n in names}


def read_arrays(path: Path) -> dict[str, Any]:
    """All arrays of an .npz without pickles."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: is no .npz file")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: damaged .npz file: {error}") from error
