"""A short benchmark of the machine that it runs on: what `evsim bench` shows."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from evsim.bench import dense
from evsim.bench.jobs import Job, recurrent
from evsim.bench.turns import best_times, versions
from evsim.progress import Progress
from evsim.simulate import simulate

#: Model time of the recurrent jobs [s]; runs of each to choose the best from, and processes.
UNTIL, ROUNDS, PROCESSES = 0.25, 5, 3
#: Imports evsim, then simulates for the first time, and says how long each took.
FIRST = """
import time; a = time.perf_counter()
import evsim; b = time.perf_counter()
net = evsim.Network()
net.add_input("in", 10)
net.add_population("p", 10, evsim.LIF(tau_mem=20e-3, tau_syn=5e-3))
net.connect("in", "p", [[1.0] * 10] * 10)
evsim.simulate(net, {"in": evsim.Spikes([0.01], [0])}, 0.1)
print(b - a, time.perf_counter() - b)
"""


@dataclass(frozen=True)
class Row:
    """One line: what was measured, of which the bar is a limit."""

    name: str
    value: float
    unit: str
    bar: float
    at_least: bool  # the bar is a lower limit
    detail: str

    @property
    def met(self) -> bool:
        """Whether the value keeps to its bar."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def run(progress: Progress, rounds: int = ROUNDS) -> dict[str, Any]:
    """All figures: `{"versions", "seed", "rounds", "rows"}`."""
    total, done = 8 * (rounds + 1) + PROCESSES + 1, 0

    def tick(what: str) -> None:
        nonlocal done
        done += 1
        progress(done, total, what)

    rows = [
        *_dense(rounds, lambda: tick("dense layer")),
        *_recurrent(rounds, lambda: tick("recurrent network")),
        *_start_up(lambda: tick("new process")),
    ]
    return {"versions": versions(), "seed": 0, "rounds": rounds, "rows": rows}


def _dense(rounds: int, tick) -> list[Row]:
    jobs = dense.layers()
    found = dense.rated(jobs, best_times(rounds, dense.sides(jobs), tick))
    rows = []
    for name, bar, other in (
        ("firing", 0.4, "a bare loop"),
        ("silent", 0.55, "a bare loop"),
        ("per neuron", 2.5, "libm"),
    ):
        row = found[name]
        mine, its = (row[key] / 1e6 for key in ("events_per_s", "limit_events_per_s"))
        detail = f"{mine:.0f} million events/s, {other} {its:.0f}"
        rows.append(Row(f"dense layer, {name}", row["ratio"], "x", bar, True, detail))
    return rows


def _recurrent(rounds: int, tick) -> list[Row]:
    one, many = recurrent(until=UNTIL), recurrent(until=UNTIL, mixed=True)
    counts: dict[str, int] = {}

    def side(name: str, job: Job):
        net = job.network()

        def go() -> None:
            counts[name] = len(simulate(net, {}, job.until, threads=1).spikes["n"])

        return go

    times = best_times(rounds, {"one": side("one", one), "many": side("many", many)}, tick)
    cost = {
        name: 1e9 * times[name] / max(1, job.events(counts[name]))
        for name, job in (("one", one), ("many", many))
    }
    rate = counts["one"] / one.n / one.until
    detail = f"{one.n} neurons of {one.synapses.pre.size // one.n} synapses, {rate:.0f} Hz"
    events = 1e3 / cost["one"]
    slower = f"{cost['many']:.0f} ns an event, with one delay {cost['one']:.0f}"
    return [
        Row("recurrent network", events, "million events/s", 0.0, True, detail),
        Row(
            "delays 0.1 to 5 ms, one 1 us",
            cost["many"] / cost["one"],
            "x",
            2.0,
            False,
            slower,
        ),
    ]


def _start_up(tick) -> list[Row]:
    best = [math.inf, math.inf]
    for _ in range(PROCESSES + 1):  # the first may have to compile
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", FIRST], capture_output=True, text=True, check=True
        )
        whole = time.perf_counter() - start
        both = map(float, done.stdout.split())
        best = [min(a, b) for a, b in zip(best, both, strict=True)]
        tick()
    detail = f"in a process of {whole:.1f} s"
    return [
        Row("import evsim", best[0], "s", 0.5, False, "in a new process"),
        Row("first simulate", best[1], "s", 1.5, False, f"compiled before, {detail}"),
    ]


def print_table(found: dict[str, Any], console: Console) -> None:
    """One line per row, and what it ran on below."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark")
    table.add_column("measured", justify="right")
    table.add_column("bar", justify="right")
    table.add_column("")
    for row in found["rows"]:
        style = ("green" if row.met else "red") if row.bar else ""
        bar = f"{'>=' if row.at_least else '<='} {row.bar:g}" if row.bar else ""
        table.add_row(row.name, Text(f"{row.value:.2f} {row.unit}", style), bar, Text(row.detail))
    console.print(table)
    words = ", ".join(f"{name} {value}" for name, value in found["versions"].items())
    console.print(f"{words}; best of {found['rounds']}", style="dim", highlight=False)


def as_json(found: dict[str, Any]) -> str:
    """What `run` has found."""
    rows = [asdict(row) | {"met": row.met} for row in found["rows"]]
    return json.dumps(found | {"rows": rows}, indent=1)
