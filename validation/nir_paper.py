"""The recordings of the NIR paper: one LIF neuron on eight platforms, each held against its graph.

    python -m validation.nir_paper [FOLDER]

`lif_<platform>.csv` holds the input, the membrane and the spikes of 1000 steps of 0.1 ms; the graph
is `lif_norse.nir`, and the experiment was meant to reset by subtraction. Every platform is declared
to compute the same: the graph's equation in Euler steps, which is how most of them read it. So a
platform's cause is how it differs from that reading, and not whether it is right: the equation
leaves the discretisation open. The files do not come with evsim: `EVSIM_NIR_PAPER` or an argument
names their folder.

Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 8122 (2024).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from validation import adapters, evtrace
from validation.evtrace_reader import Recording
from validation.result import RecordingResult
from validation.verify import verify

DT = 1e-4
#: Voltages are in each platform's own scale: what its threshold is, in thresholds of the graph.
#: `tau/dt` where inputs are not scaled, 16000 for a chip's fixed point.
SCALES = {"snntorch": 25.0, "spinnaker2": 25.0, "lava_cpu_fixed": 16000.0}
#: Whose voltages are integers.
INTEGERS = ("lava_cpu_fixed",)
#: The input of a file is a pulse of 1, but for sinabs, which was given dt/tau.
INPUTS = {"sinabs": 25.0}
MODEL = "norse.LIFBoxCell"


def folder() -> Path:
    """Where the files lie, if anywhere."""
    given = os.environ.get("EVSIM_NIR_PAPER")
    beside = Path(__file__).parents[2] / "shared" / "data" / "nir-paper"
    return Path(given) if given else beside


def platforms(where: Path) -> list[str]:
    """Names of the platforms whose recordings are there, the event-based solution left out."""
    found = (path.stem.removeprefix("lif_") for path in where.glob("lif_*.csv"))
    return sorted(name for name in found if name != "exact")


def recording(where: Path, platform: str, *, reset: str = "subtract") -> Recording:
    """One platform's file as a recording of the graph's neuron."""
    import nir

    node: Any = nir.read(where / "lif_norse.nir").nodes["1"]
    weight = np.asarray(nir.read(where / "lif_norse.nir").nodes["0"].weight, np.float32)
    table = np.loadtxt(where / f"lif_{platform}.csv", delimiter=",")
    pulses = np.rint(table[:, 0] * INPUTS.get(platform, 1.0)).astype(np.int32)
    membrane = (table[:, 1] / SCALES.get(platform, 1.0)).astype(np.float32)
    model = adapters.model(MODEL)
    params, semantics = model.from_nir_node(node, DT)
    semantics = replace(semantics, reset=reset)
    arrays = {
        "layers/1/input_current": (pulses * weight[0, 0]).reshape(-1, 1, 1).astype(np.float32),
        "layers/1/membrane": membrane.reshape(-1, 1, 1),
        "layers/1/weight": weight,
        **{f"layers/1/params.{name}": value for name, value in params.items()},
        **evtrace.from_dense(table[:, 2].astype(np.int32).reshape(-1, 1, 1), "layers/1/spikes"),
        **evtrace.from_dense(pulses.reshape(-1, 1, 1), "input_spikes"),
    }
    manifest = {
        "kind": "grid",
        "n_steps": len(table),
        "n_samples": 1,
        "dt": DT,
        "input_shape": [1],
        "layers": {
            "1": {
                "model": MODEL,
                "shape": [1],
                **semantics.manifest(),
                "sources": [{"node": "input", "delay": 0}],
                "resolution": 1.0 / SCALES[platform] if platform in INTEGERS else 0.0,
            }
        },
        "provenance": {"framework": platform, "version": "of the NIR paper"},
        "title": platform,
    }
    evtrace.check_contents(manifest, arrays)
    return Recording(str(where / f"lif_{platform}.csv"), manifest, arrays)


def verified(where: Path) -> Iterator[RecordingResult]:
    """Every platform's verdict with its cause."""
    for platform in platforms(where):
        yield verify(recording(where, platform))


def main() -> int:
    """Print the table; exit code 2 where there are no files."""
    from validation.report import print_table

    where = Path(sys.argv[1]) if len(sys.argv) > 1 else folder()
    if not platforms(where):
        print(f"no recordings of the NIR paper in {where}; name their folder", file=sys.stderr)
        return 2
    print_table(list(verified(where)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
