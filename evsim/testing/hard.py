"""The hard cases of `reference.hard_cases`, asked of somebody's simulator."""

from __future__ import annotations

import math

import numpy as np

from evsim.testing.accuracy import CLEAR, EPS
from evsim.testing.case import Case, Layer, Wire, source
from evsim.testing.judge import both
from evsim.testing.subject import Broken, NotApplicable, Subject, Unclear
from reference import hard_cases
from reference.lif import simulate
from reference.neuron import Run

HARD = {case.id: case for case in hard_cases.load()}


def case_of(hard: hard_cases.HardCase) -> Case:
    """A hard case as a network: every arrival has an input unit of its own."""
    names = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "bias", "reset", "graze")
    values = {name: getattr(hard.neuron, name) for name in names}
    weight = tuple((a[1],) for a in hard.arrivals)
    delay = tuple((a[2] if len(a) > 2 else 0.0,) for a in hard.arrivals)
    spikes = tuple(sorted((a[0], k) for k, a in enumerate(hard.arrivals)))
    one = 0.0 if all(d == (0.0,) for d in delay) else delay
    wire = Wire("in", "p", weight, one)
    return Case((Layer("p", 1, "lif", values),), (wire,), {"in": spikes},
                {"in": len(hard.arrivals)}, hard.until)  # fmt: skip


def check_hard(id: str, subject: Subject) -> None:
    """Refuse an answer to a hard case that a simulator of this accuracy could not give.

    Decisions within its accuracy may go either way, but a spike that may be there, and is,
    must be where the voltage comes that close.

    Raises
    ------
    Broken
    NotApplicable
        If it does not implement the case, or could decide nothing of it.
    """
    hard, case = HARD[id], case_of(HARD[id])
    factor, jitter = subject.accuracy.allowed(case)
    run = simulate(hard.neuron, hard.arrivals, hard.until, jitter=jitter / factor)
    try:
        hi, lo = subject.run(case).trains["p"][0]
    except Unclear as reason:
        raise NotApplicable(str(reason)) from reason
    except Broken as broken:
        raise Broken(_words(hard, case, str(broken))) from broken
    what = _compare(run, hi, lo, subject.accuracy.linear * factor, factor, jitter)
    if what:
        times = np.array([s.hi for s in run.spikes])
        rows = both((times, times), (hi, lo), ("the exact solution", "the answer"))
        raise Broken(_words(hard, case, f"{what}\n{rows}"))
    if subject.accuracy.dt and _first_doubt(run, factor) == 0:
        raise NotApplicable("no clock of this step could decide it")


def _words(hard: hard_cases.HardCase, case: Case, what: str) -> str:
    text = "\n".join("    " + line for line in source(case).splitlines())
    return f"{hard.id} is wrong: {hard.remark}\n\n{what}\n\nThe case:\n{text}"


def _first_doubt(run: Run, factor: float) -> int | None:
    """The first decision within the accuracy."""
    for k, d in enumerate(run.decisions):
        if abs(d.margin) < CLEAR * factor * d.noise:
            return k
    return 1 if run.ties else None


def _compare(
    run: Run, hi: np.ndarray, lo: np.ndarray, most: float, factor: float, jitter: float
) -> str:
    """What is wrong, or an empty string; nothing is asked after a decision in doubt."""
    doubt = _first_doubt(run, factor)
    end, spikes = math.inf, run.spikes
    if doubt is not None:
        d = run.decisions[doubt] if doubt < len(run.decisions) else run.decisions[0]
        end = d.start
        spikes = [s for s in spikes if s.hi <= end]
    for k, spike in enumerate(spikes):
        if k >= hi.size:
            return f"spike {k} at {spike.hi!r} is missing."
        allowed = most * spike.bound + jitter + 2.0**-51 * spike.hi
        error = abs((float(hi[k]) - spike.hi) + (float(lo[k]) - spike.lo))
        if error > allowed:
            return f"spike {k} is off by {error:.3g}; {allowed:.3g} is allowed."
    if doubt is None:
        return f"a spike too many, at {hi[len(spikes)]!r}." if hi.size > len(spikes) else ""
    if hi.size == len(spikes):
        return ""
    return _where_in_doubt(run, doubt, float(hi[len(spikes)]), factor, jitter)


def _where_in_doubt(run: Run, doubt: int, t: float, factor: float, jitter: float) -> str:
    """A spike that may be there must be where the voltage all but reaches the threshold."""
    d = run.decisions[min(doubt, len(run.decisions) - 1)]
    spike = next((s for s in run.spikes if s.hi > d.start), None)
    near = [d.top] if spike is None else [d.top, spike.hi]
    room = CLEAR * factor * d.noise + abs(d.margin)
    curvature = abs(spike.curvature) if spike is not None and spike.curvature else 0.0
    reach = math.sqrt(2 * room / curvature) if curvature else 1e-2
    reach = max(2 * reach + jitter, 1e-6 + 64 * EPS * t)
    if min(abs(t - x) for x in near) > reach:
        return f"a spike at {t!r}, where the voltage is not near its threshold."
    return ""
