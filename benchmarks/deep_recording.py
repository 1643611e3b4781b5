"""A recording of fifty layers and twenty megabytes: how long `evsim verify` takes, and how much.

    python benchmarks/deep_recording.py [--layers 50] [--json FILE]

The network is snnTorch's Leaky, run by NumPy (`validation.faults.otherwise`), which the judge does
not share. The command runs in a process of its own, twice: the first time compiles what the second
finds on disk. Bars: 60 s and 2 GiB, for the second.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from validation import evtrace
from validation.faults import otherwise
from validation.faults.drawn import F32, Drawn, Layer

SECONDS, BYTES, MEGABYTES = 60.0, 2 << 30, 20.0
STEPS, SAMPLES, N = 100, 7, 128


def drawn(depth: int) -> Drawn:
    """A deep network that fires in every layer."""
    rng = np.random.default_rng(0)
    layers = [
        Layer(
            rng.normal(0.006, 0.06, (N, N)).astype(F32),
            rng.uniform(0.0, 0.1, N).astype(F32),
            {"beta": np.full(N, 0.9, F32), "threshold": F32(1.0)},
        )
        for _ in range(depth)
    ]
    x = (rng.random((STEPS, SAMPLES, N)) < 0.2).astype(F32)
    return Drawn("snntorch", layers, x, depth, rng, "snntorch.Leaky")


def measured(path: Path, report: Path) -> dict:
    """One run of the command."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = [sys.executable, "-m", "evsim", "verify", str(path), "--json", str(report)]
    done = subprocess.run(asked, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (recording,) = json.loads(report.read_text())["recordings"]
    verdicts = [layer["verdict"] for layer in recording["layers"]]
    return {
        "exit": done.returncode,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2
        ),
        "peak [MiB]": after.ru_maxrss >> 10,
        "verdicts": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
    }


def main() -> int:
    """Make the recording, verify it twice, print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep.npz"
        made = otherwise.recorded(drawn(chosen.layers))
        counts = [int(made.layer(name).spikes().sum()) for name in made.layers()]  # type: ignore[union-attr]
        evtrace.write(path, dict(made.manifest), dict(made.arrays))
        size = path.stat().st_size / 1e6
        runs = [measured(path, Path(folder) / "out.json") for _ in range(2)]
    found = {"layers": chosen.layers, "megabytes": round(size, 1), "spikes of layers": counts}
    found |= {"first": runs[0], "second": runs[1]}
    print(json.dumps(found))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    good = runs[1]["exit"] == 0 and size >= MEGABYTES * chosen.layers / 50
    return int(not (good and runs[1]["seconds"] < SECONDS and runs[1]["peak [MiB]"] << 20 < BYTES))


if __name__ == "__main__":
    raise SystemExit(main())
