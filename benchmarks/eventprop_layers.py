"""A layer forward and backward against EventProp's published code, where that is installed.

Jobs: 784 -> 350 with 300 input spikes and 784 -> 1024 with 800, one sample, and batches of 16, for
which the bars are. Each spike's time has the derivative 1. Both answer with the derivatives by the
weights and by the times of the input spikes. The peer is C++ of its author (Wunderlich & Pehle
2021, https://github.com/eventprop/eventprop), built with the flags of its own `setup.py`, in an
interpreter that `--eventprop` or EVSIM_EVENTPROP_PYTHON names; without it, evsim's own times are
printed. Both run in turn, with one thread, from the same arrays, and several times in a row, as
in training: what has just been asleep is slow at first. The best of each counts. Spikes and
gradients of the two are held against each other.

    python benchmarks/eventprop_layers.py --eventprop PYTHON --json FILE
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from gradient import DENSE, dense

import evsim
from evsim.bench.turns import SEED, versions

PYTHON = "EVSIM_EVENTPROP_PYTHON"
TAU_MEM, TAU_SYN = 20e-3, 5e-3
JOBS = ("784->350", "784->350 x16", "784->1024", "784->1024 x16")
#: Calls in a row of each side in its turn.
CALLS = 5
#: What evsim promises: times faster forward (mean of both batches) and backward.
BARS = {"forward": 10.0, "backward": 4.0}


class Peer:
    """EventProp with one job, in another interpreter; a context manager."""

    def __init__(self, python: str, weight: np.ndarray, inputs: list[dict]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.job = Path(self.folder.name, "job.npz")
        trains = [sample["in"] for sample in inputs]
        arrays = {f"times {k}": x.times for k, x in enumerate(trains)}
        arrays |= {f"units {k}": x.units for k, x in enumerate(trains)}
        np.savez(self.job, weight=weight, tau_mem=TAU_MEM, tau_syn=TAU_SYN, **arrays)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("eventprop_server.py")), str(self.job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=clean | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self) -> dict:
        """Seconds of both directions, and the number of spikes."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{CALLS}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise RuntimeError(f"EventProp's process ended with status {self.process.wait()}")

    def found(self):
        """Its spikes, sample by sample, and its gradient."""
        with np.load(f"{self.job}.out.npz") as out:
            count = sum(name.startswith("times ") for name in out.files)
            spikes = [(out[f"times {k}"], out[f"units {k}"]) for k in range(count)]
            return spikes, out["gradient"]

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()


def ours(net, inputs, until: float) -> tuple[dict, list, object]:
    """Seconds of both directions, the records and the gradient."""
    began = time.perf_counter()
    records = evsim.simulate(net, inputs, until, threads=1)
    forward = time.perf_counter() - began
    ones = [{"out": np.ones(len(record.spikes["out"]))} for record in records]
    began = time.perf_counter()
    gradient = evsim.gradient(records, ones)
    backward = time.perf_counter() - began
    spikes = sum(len(record.spikes["out"]) for record in records)
    return {"forward": forward, "backward": backward, "spikes": spikes}, records, gradient


def agreement(records, gradient, spikes, other) -> dict:
    """Samples with other spikes; of the same ones, the largest distances."""
    apart, different = 0.0, 0
    for record, (times, units) in zip(records, spikes, strict=True):
        mine = record.spikes["out"]
        order = np.lexsort((times, units))
        one = np.lexsort((mine.times, mine.units))
        if np.array_equal(mine.units[one], units[order]):
            apart = max(apart, np.abs(mine.times[one] - times[order]).max(initial=0.0))
        else:
            different += 1
    found = {"samples_with_other_spikes": different, "spike_times_apart": float(apart)}
    if different == 0:
        size = np.abs(other).max()
        found["gradients_apart"] = float(np.abs(gradient.weight["in->out"] - other).max() / size)
    return found


def measured(name: str, python: str | None, rounds: int) -> dict:
    """Best seconds of both sides, in turn; what they agree on."""
    net, inputs, until = dense(name)
    # To the last spike: the peer knows no end.
    until += 0.2
    first, records, gradient = ours(net, inputs, until)  # compiles
    row: dict = {"spikes": first["spikes"], "forward": math.inf, "backward": math.inf}
    weight = net.projections["in->out"].weight.reshape(-1, net.size("out"))

    def turn() -> None:
        for _ in range(CALLS):
            best(row, ours(net, inputs, until)[0], "")

    if python is None:
        for _ in range(rounds):
            turn()
        return row
    row |= {"peer forward": math.inf, "peer backward": math.inf}
    with Peer(python, np.ascontiguousarray(weight), inputs) as peer:
        row["peer spikes"] = peer.run()["spikes"]
        row |= agreement(records, gradient, *peer.found())
        for _ in range(rounds):
            turn()
            best(row, peer.run(), "peer ")
    for way in BARS:
        row[f"times faster, {way}"] = row[f"peer {way}"] / row[way]
    return row


def best(row: dict, found: dict, prefix: str) -> None:
    """Keep the shorter times."""
    for way in BARS:
        row[prefix + way] = min(row[prefix + way], found[way])


def main() -> None:
    """Print the table; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", default=JOBS, choices=[*DENSE])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--eventprop", default=os.environ.get(PYTHON), help="its Python")
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    if not options.eventprop:
        print(f"EventProp is not there (--eventprop or {PYTHON}): evsim alone")
    found = {}
    for name in options.jobs:
        row = found[name] = measured(name, options.eventprop, options.rounds)
        print(name, json.dumps(row), flush=True)
    ways = [[r[f"times faster, {w}"] for r in found.values()] for w in BARS if options.eventprop]
    for (way, bar), ratios in zip(BARS.items(), ways, strict=False):
        least, mean = min(ratios), np.mean(ratios)
        print(f"{way}: {least:.1f} times faster or more, {mean:.1f} on average, bar {bar:g}")
    if options.json:
        row = {"seed": SEED, "rounds": options.rounds, "versions": versions(), "jobs": found}
        Path(options.json).write_text(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
