"""The two compiled tiers: float64 and double-double centres, with rows of symbols or without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from evsim.proof.bounds import DOUBLE, SINGLE
from evsim.proof.condense import condense
from evsim.proof.events import DONE, FULL, Task
from evsim.proof.layout import REPORT, WORK, bare, records
from evsim.proof.problem import Problem
from evsim.proof.prove import prove
from evsim.proof.rows import new_rows
from evsim.proof.state import initial
from evsim.proof.still import still_from

#: Rows of symbols at one time: 128 MB.
CAPACITY = 4000
#: Codes of `evsim.proof.events` that are proofs.
PROVED_WRONG = (1, 2, 3, 4)
REASONS = {
    1: "no spike",
    2: "at another time",
    3: "an unclaimed spike",
    4: "within the refractory time",
    5: "order of an arrival and a spike",
    6: "crossing",
    7: "radius",
    8: "a spike that a jump causes with reset='subtract', or a reset that ends nothing: no proof",
}


@dataclass(frozen=True)
class Finding:
    """Where a pass stopped: an event that is proved false, or one that is undecided.

    `time` is where claim and truth part, or may; `found` where the neuron fires instead (inf:
    not there); `gap` and `radius` what could not be told apart.
    """

    code: int
    neuron: int
    time: float
    claim: int
    source: int
    gap: float
    radius: float
    found: float

    @property
    def proved(self) -> bool:
        """Whether the claim is false there."""
        return self.code in PROVED_WRONG


@dataclass
class Outcome:
    """What a tier has found."""

    tier: str
    bits: int
    finding: Finding | None
    proved: int  # spikes, in the order of the claim
    find: Callable[[], list[Fraction]] = field(repr=False)  # their times, if somebody asks
    radius: np.ndarray
    growth: np.ndarray  # log2 of the sum of the coefficients of every spike
    gap: np.ndarray  # smallest proved distance of an arrival from a spike, by neuron
    ends: Any = None  # the neurons at their last own events, `evsim.proof.layout.STATE`
    ties: list[tuple[int, float]] = field(default_factory=list)  # equal times, proved equal

    @cached_property
    def times(self) -> list[Fraction]:
        """The exact numbers that stand for the times of the spikes."""
        return self.find()


def run(
    problem: Problem, tier: str, window: float, tolerance: float, symbols: bool,
    capacity: int = CAPACITY,
) -> Outcome:  # fmt: skip
    """The pass in "float64" or "double-double", with at most `capacity` rows of symbols."""
    pair = tier == "double-double"
    like = (0.0, 0.0) if pair else 0.0
    st, src = initial(problem)
    capacity = min(problem.count + 1, capacity) if symbols else 0
    width, (work, probe) = int(problem.neurons["count"].max()), records(WORK, 2)
    task = Task(
        problem.neurons, st, src, problem.arrivals.copy(),
        new_rows(problem.size, width, capacity), DOUBLE if pair else SINGLE,
        window, tolerance, symbols, work, probe, np.zeros(capacity), records(REPORT, 1)[0],
    )  # fmt: skip
    k, code = prove(task, 0, problem.count, like)
    condensed = code == FULL
    while code == FULL:
        code = condense(task, k, like)
        if code == DONE:
            k, code = prove(task, k, problem.count, like)
    findings = [] if code == DONE else [_finding(problem, task.report)]
    end = problem.until if code == DONE else findings[0].time
    findings += _silences(problem, task, k, end, code == DONE, like)
    first = min(findings, key=lambda f: (f.time, not f.proved), default=None)
    hi, lo, radius = (bare(src)[name][:k].copy() for name in ("hi", "lo", "radius"))
    whole = symbols and not condensed
    growth = growth_of(task.rows, k) if whole else np.full(k, np.nan)
    bits = 106 if pair else 53
    return Outcome(tier, bits, first, k, lambda: exact_sums(hi, lo), radius, growth,
                   st.gap.copy(), st)  # fmt: skip


def exact_sums(hi: np.ndarray, lo: np.ndarray) -> list[Fraction]:
    """The numbers that pairs of doubles are."""
    return [Fraction(a) + Fraction(b) for a, b in zip(hi.tolist(), lo.tolist(), strict=True)]


def growth_of(rows, k: int) -> np.ndarray:
    """log2 of the sum of the coefficients of every spike."""
    return np.log2(rows.sums[:k])


def _silences(problem: Problem, task: Task, k: int, end: float, whole: bool, like):
    """Neurons that are not silent from their last event up to `end`."""
    found = []
    n, code = still_from(task, 0, k, end, True, like)
    while code != DONE:
        if whole or task.report.time < end:
            found.append(_finding(problem, task.report))
        n, code = still_from(task, n + 1, k, end, True, like)
    return not_meant(found, open_claims(problem, k, task.window)) if found else []


def open_claims(problem: Problem, k: int, window: float) -> np.ndarray:
    """By neuron the time from which a spike may be what its first claim from `k` on means."""
    claims: Any = problem.sources[k : problem.count]
    since = np.full(problem.size, np.inf)
    since[claims.neuron[::-1]] = claims.claim_hi[::-1] - window  # the first one is written last
    return since


def not_meant(found: list[Finding], since: np.ndarray) -> list[Finding]:
    """Without the spikes that a claim still open may mean: they are not missing."""
    return [f for f in found if not (f.proved and f.time >= since[f.neuron])]


def _finding(problem: Problem, report) -> Finding:
    """The report of a kernel."""
    code, found, time = int(report.code), float(report.found), float(report.time)
    if code in PROVED_WRONG:
        time = min(time, found)
    return Finding(
        code, int(report.neuron), time, int(report.spike), int(report.source),
        float(report.gap), float(report.radius), found,
    )  # fmt: skip
