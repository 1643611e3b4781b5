"""Runs as files: evtrace of kind `events`.

The format is one NumPy-only module of `validation`, which somebody may copy to another
machine; it is the one thing that `evsim` shares with that package.
"""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from evsim.network import Network
from evsim.nir import from_nir
from evsim.record import Record
from evsim.simulate import checked_inputs
from evsim.spikes import Spikes


def save(record: Record, path: str | os.PathLike[str]) -> None:
    """Write a run of a network that was read from a NIR file.

    Parameters
    ----------
    record : Record
        Driven by `Spikes` only; its network comes from `from_nir` of a file.
    path : str or path-like
        An `.npz`; it appears only when it is complete.

    Raises
    ------
    ValueError
        If the network does not come from a NIR file, or an input cannot be written.
    """
    from validation import evtrace

    origin = record.network.origin
    if origin is None or origin["graph"] is None:
        raise ValueError("only runs of networks that from_nir has read from a file can be saved")
    arrays: dict[str, Any] = {"graph.nir": np.frombuffer(origin["graph"], np.uint8)}
    for name, train in record.inputs.items():
        if not isinstance(train, Spikes):
            raise ValueError(f"the current into {name!r} cannot be saved; only spikes can")
        arrays |= _columns(f"inputs/{name}", train)
    for name, train in record.spikes.items():
        arrays |= _columns(f"spikes/{name}", train)
    manifest = {
        "kind": "events",
        "until": record.until,
        "policies": record.policies,
        "options": origin["options"],
        "grids": {
            name: str(train.dt) for name, train in record.inputs.items() if train.dt is not None
        },
        "undecided": [list(entry) for entry in record.undecided],
        "initial": {
            name: [values.tolist() for values in state] for name, state in record.initial.items()
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
    network = _network(arrays, manifest)
    names, grids = list(network.populations), manifest.get("grids", {})
    inputs = {
        name: _on_grid(_train(arrays, f"inputs/{name}"), grids.get(name))
        for name in _names(arrays, "inputs")
    }
    for name in names:
        shapes = [np.shape(values) for values in manifest["initial"][name]]
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
        initial={
            name: tuple(np.array(values, float) for values in manifest["initial"][name])
            for name in names
        },
    )


def _network(arrays, manifest) -> Network:
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
