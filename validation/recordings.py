"""The recordings that ship with evsim.

    python -m validation.recordings [--only NAME] [--out FOLDER]

Trains one small network on real digits in each of four frameworks and records a few test samples
of it; then does the same with networks that went through a framework's own NIR export and import,
and came back changed. Those recordings declare the network that was exported, so that what evsim
reports is what the round trip changed. Needs the extra `frameworks`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from validation import evtrace, networks
from validation.evtrace_reader import Recording
from validation.networks import LAYERS
from validation.recorder import renamed
from validation.shipped import SHIPPED, Shipped

FOLDER = Path(__file__).parent / "traces"
SAMPLES = 4
#: What a recording says about how its layers were declared; the rest says what was observed.
OBSERVED = ("spikes", "membrane", "synaptic_current", "input_current", "initial_state")

# ------------------------------------------------------------------------------- the recordings

Progress = Callable[[int, int], None]


def make(shipped: Shipped, path: Path, progress: Progress = lambda done, total: None) -> Recording:
    """Train, record, write; the same seed and versions give the same arrays.

    Parameters
    ----------
    shipped : Shipped
    path : Path
        Of the file to write.
    progress : callable, optional
        `progress(done, total)`, called before every epoch.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(shipped.seed)
    rng = np.random.default_rng(shipped.seed)
    p, labels, test_p, test_labels = networks.digits(rng)
    model = shipped.build()
    networks.train(
        shipped.framework, model, p, labels, rng, rate=1e-3 * shipped.gain, progress=progress
    )
    x = networks.spikes(test_p, rng)
    accuracy = networks.accuracy(shipped.framework, model, x, test_labels)
    found = {"accuracy": accuracy, "test_samples": len(test_labels)}
    manifest, arrays, back = _recorded(shipped, model, x[:, :SAMPLES])
    if back is not None:
        after = networks.accuracy(shipped.framework, back, x, test_labels)
        found |= {"accuracy_after_round_trip": after}
    manifest["title"] = _title(shipped, accuracy)
    manifest["provenance"] = {**manifest["provenance"], **found, **_provenance(shipped)}
    evtrace.write(path, manifest, arrays)
    return evtrace.read(path)


def _recorded(
    shipped: Shipped, model: Any, x: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray], Any]:
    """Manifest and arrays of one run, and the model that came back from its travel, or None."""
    from validation import record

    original = _uniform(record(model, x))
    if shipped.travel is None:
        return dict(original.manifest), dict(original.arrays), None
    back = shipped.travel(model, x)
    observed = _uniform(record(back, x))
    if shipped.graph is not None:
        return *declared_by_graph(observed, shipped.graph(model)), back
    return *declared_by(original, observed), back


def record_again(shipped: Shipped, stored: Recording) -> Recording:
    """The same run once more, with the weights and the input that a recording holds."""
    import torch

    model = shipped.build()
    with torch.no_grad():
        for layer, linear in zip(LAYERS, networks.linears(model), strict=True):
            linear.weight.copy_(torch.tensor(stored.layer(layer).get("weight")))
    spikes = stored.input_spikes()
    assert spikes is not None
    manifest, arrays, _ = _recorded(shipped, model, torch.tensor(spikes, dtype=torch.float32))
    return Recording("", manifest, arrays)


def _title(shipped: Shipped, accuracy: float) -> str:
    if shipped.travel is not None:
        return f"{shipped.label}, after its own NIR round trip"
    return f"{shipped.label}: digits, {100 * accuracy:.0f} % correct"


def _provenance(shipped: Shipped) -> dict[str, Any]:
    return {
        "seed": shipped.seed,
        "data": "digits of scikit-learn as Bernoulli spikes, one per step at most",
        "round_trip": "none" if shipped.travel is None else "to NIR and back",
        "versions": {n: version(n) for n in ("numpy", "scikit-learn", "nir", "nirtorch")},
        "command": f"python -m validation.recordings --only {shipped.name}",
    }


def _uniform(recording: Recording) -> Recording:
    """With its layers called `LAYERS`, in order of their computation."""
    return renamed(recording, dict(zip(recording.layers(), LAYERS, strict=True)))


def _is_observed(key: str) -> bool:
    return key.startswith("layers/") and key.split("/")[2].split(".")[0] in OBSERVED


def declared_by(
    original: Recording, observed: Recording
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `observed` did, under the declaration of `original`: switches, parameters, weights."""
    manifest = dict(observed.manifest)
    manifest["layers"] = {
        name: {**entry, "membrane_point": observed.manifest["layers"][name]["membrane_point"]}
        for name, entry in original.manifest["layers"].items()
    }
    arrays = {k: v for k, v in original.arrays.items() if not _is_observed(k)}
    return manifest, arrays | {k: v for k, v in observed.arrays.items() if _is_observed(k)}


def declared_by_graph(
    observed: Recording, graph: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `observed` did, under the declaration of a NIR graph."""
    import nir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        nir.write(path, graph)
        data = np.frombuffer(path.read_bytes(), np.uint8)
    return dict(observed.manifest), {**observed.arrays, "graph.nir": data}


# ----------------------------------------------------------------------------- the command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the recordings that were asked for; see the module."""
    known: Mapping[str, Shipped] = {s.name: s for s in SHIPPED}
    parser = argparse.ArgumentParser(prog="python -m validation.recordings")
    parser.add_argument(
        "--only", choices=sorted(known), action="append", metavar="NAME", help="make only this one"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="where to write")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")  # deprecations inside the frameworks
    logging.disable(logging.WARNING)
    for name in chosen.only or sorted(known):

        def progress(done: int, total: int, name: str = name) -> None:
            if sys.stderr.isatty():
                print(f"\r{name}: epoch {done + 1} of {total}", end="", file=sys.stderr, flush=True)

        path = chosen.out / f"{name}.npz"
        recording = make(known[name], path, progress)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        print(f"{path.name}: {recording.manifest['title']}, {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
