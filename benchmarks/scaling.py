"""How the cost of a synaptic event grows with neurons, fan-out and rate, on one and two threads.

One axis moves at a time, from 10 000 neurons, 100 synapses each, 10 Hz. The neurons rest below
threshold and fire by noise; their resting level is found on a small network, by bisection, so
that they fire at the rate that is asked for. Coupling is weak enough not to change it much; the
rate that came out is printed and kept. Timed is `evsim.simulate` alone, best of a few runs.

The figure shows nanoseconds per event, log-log. Rows are kept in `scaling.json` as they come: what
is there is not measured again, so that a series may be run in pieces (`--seconds`).
"""

from __future__ import annotations

import argparse
import json
import time
from functools import cache
from pathlib import Path

import numpy as np

import evsim
from evsim.bench.jobs import Job, driven
from evsim.bench.turns import SEED, versions

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "scaling.png"
ROWS = Path(__file__).with_name("scaling.json")
BASE = {"neurons": 10_000, "fan-out": 100, "rate": 10.0}
AXES = {
    "neurons": [10**3, 10**4, 10**5, 10**6],
    "fan-out": [10, 100, 1000, 10_000],
    "rate": [1.0, 3.0, 10.0, 30.0, 100.0],
}
#: Of the noise: few and strong inputs, so that most events come from within.
NOISE = {"rate": 2.0, "weight": 3.0, "strength": 0.1}
PILOT, PILOT_TIME, STEPS = 1000, 0.5, 10


def job_with(n: int, fan_out: int, bias: float, until: float) -> Job:
    """A network whose neurons rest at `bias`."""
    return driven(n, fan_out=fan_out, bias=bias, until=until, **NOISE)


@cache
def bias_for(rate: float) -> float:
    """Resting level at which a small network fires at `rate`."""
    low, high = 0.0, 8.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        job = job_with(PILOT, BASE["fan-out"], middle, PILOT_TIME)
        spikes = evsim.simulate(job.network(), job.inputs(), job.until).spikes["n"]
        if len(spikes) < rate * PILOT * PILOT_TIME:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def measure(n: int, fan_out: int, rate: float, threads: int, options) -> dict:
    """One row: the best of a few runs."""
    until = min(1.0, options.events / (n * fan_out * rate))
    job = job_with(n, fan_out, bias_for(rate), until)
    net, inputs = job.network(), job.inputs()
    evsim.simulate(net, inputs, until / 20, threads=threads)
    best = np.inf
    for _ in range(options.rounds):
        start = time.perf_counter()
        record = evsim.simulate(net, inputs, until, threads=threads)
        best = min(best, time.perf_counter() - start)
    spikes = len(record.spikes["n"])
    events = job.events(spikes)
    return {
        "neurons": n, "fan-out": fan_out, "asked_hz": rate, "rate_hz": spikes / n / until,
        "threads": threads, "until": until, "seconds": best, "spikes": spikes,
        "events": events, "ns_per_event": 1e9 * best / max(1, events), "rounds": options.rounds,
    }  # fmt: skip


def places(options) -> list[tuple[int, int, float, int]]:
    """All points of all axes, each once: neurons, fan-out, rate, threads."""
    found = []
    for axis, values in AXES.items():
        for value in values:
            place = {**BASE, axis: value}
            n, fan_out = int(place["neurons"]), int(place["fan-out"])
            if n * fan_out <= options.most_synapses:
                found += [(n, fan_out, float(place["rate"]), k) for k in options.threads]
    return sorted(set(found), key=lambda place: (place[0] * place[1], place))


def key_of(row: dict) -> tuple[int, int, float, int]:
    """The point that a row belongs to."""
    return row["neurons"], row["fan-out"], row["asked_hz"], row["threads"]


def measure_all(rows: list[dict], options) -> bool:
    """Append the rows that are missing, a line each, for as long as there is time; whether none
    is missing any more."""
    stop, done = time.monotonic() + options.seconds, {key_of(row) for row in rows}
    for place in places(options):
        if place in done:
            continue
        if time.monotonic() > stop:
            return False
        row = measure(*place, options)
        rows.append(row)
        keep(rows, options.json)
        print(
            f"{row['neurons']:8d} neurons {row['fan-out']:6d} synapses {row['rate_hz']:6.1f} Hz "
            f"{row['threads']} thr {row['events']:.1e} events {row['seconds']:7.3f} s "
            f"{row['ns_per_event']:7.1f} ns/event",
            flush=True,
        )
    return True


def keep(rows: list[dict], path: Path) -> None:
    """Write all rows; a file that is interrupted is not left behind."""
    found = {"versions": versions("matplotlib"), "seed": SEED, "rows": rows}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found, indent=1) + "\n")
    new.replace(path)


def along(rows: list[dict], axis: str) -> list[dict]:
    """Those rows in which only this axis moves, in its order."""
    names = {"neurons": "neurons", "fan-out": "fan-out", "rate": "asked_hz"}
    others = [name for name in names if name != axis]
    mine = [row for row in rows if all(row[names[name]] == BASE[name] for name in others)]
    return sorted(mine, key=lambda row: row[names[axis]])


def draw(rows: list[dict], path: Path) -> None:
    """One panel per axis, one line per number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(AXES), figsize=(10, 3.2), sharey=True)
    labels = {"neurons": "neurons", "fan-out": "synapses per neuron", "rate": "rate [Hz]"}
    for panel, axis in zip(panels, AXES, strict=True):
        for threads in sorted({row["threads"] for row in rows}):
            mine = [row for row in along(rows, axis) if row["threads"] == threads]
            x = [row["rate_hz" if axis == "rate" else axis] for row in mine]
            y = [row["ns_per_event"] for row in mine]
            plural = "s" if threads > 1 else ""
            panel.loglog(x, y, "o-", ms=4, label=f"{threads} thread{plural}")
        panel.set_xlabel(labels[axis])
        panel.grid(alpha=0.3, which="both", lw=0.4)
    panels[0].set_ylabel("ns per synaptic event")
    panels[0].legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure what is missing, print, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=float, default=2e7, help="events of a run, about")
    parser.add_argument(
        "--most-synapses", type=float, default=1e8, help="leave larger networks out"
    )
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no point after so long")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--json", type=Path, default=ROWS, help="rows so far; is added to")
    options = parser.parse_args()
    rows = json.loads(options.json.read_text())["rows"] if options.json.exists() else []
    print("versions", versions("matplotlib"), "seed", SEED, "best of", options.rounds)
    whole = measure_all(rows, options)
    draw(rows, options.figure)
    if not whole:
        print("there are more points: run it again")


if __name__ == "__main__":
    main()
