"""Laws of shifts and scales: P1 to P4. The equations have no clock and no unit of their own."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from evsim.testing.case import KINDS, Case, scaled
from evsim.testing.judge import same, same_bits
from evsim.testing.law import law
from evsim.testing.strategies import dyadic, networks, neurons
from evsim.testing.subject import Subject
from evsim.testing.truth import truth_of

LEAKY = ("lif", "mixed", "alpha", "adaptive", "delta")
SCALED = ("lif", *(k for k in KINDS if k != "lif"))


def some(kind: str, **how) -> st.SearchStrategy[Case]:
    """Single neurons, and small networks of the models that the oracle knows."""
    if kind not in ("lif", "delta", "if"):
        return neurons(kind, **how)
    return st.one_of(neurons(kind, **how), networks(kind, **how))


def pairs(*strategies: st.SearchStrategy) -> st.SearchStrategy[tuple]:
    """Arguments of a check."""
    return st.tuples(*strategies)


shifts = st.one_of(dyadic, st.sampled_from([2.0**k for k in (9, 12, 14)]))


@law(
    "P1",
    "Input that comes later by D gives spikes that come later by D.",
    "The equations do not contain t; a network at rest without input stays there.",
    lambda kind: pairs(some(kind, biased=False), shifts),
    kinds=SCALED,
    clock=None,
)
def p1(subject: Subject, case: Case, shift: float) -> None:
    """From rest only: a neuron that drives itself has a clock of its own."""
    moved = replace(case.with_spikes(lambda t, u: (t + shift, u)), until=case.until + shift)
    truths = truth_of(case, subject.accuracy), truth_of(moved, subject.accuracy)
    base, later = subject.run(case).trains, subject.run(moved).trains
    same(base, later, truths, ("the run", f"the run with all input {shift} later"), shift=shift)


def _scaling(subject: Subject, case: Case, other: Case, c: float, words: str) -> None:
    """The other run's times are `c` times those of the first."""
    truths = truth_of(case, subject.accuracy), truth_of(other, subject.accuracy)
    base, found = subject.run(case).trains, subject.run(other).trains
    names = ("the run", words)
    if subject.accuracy.bits:
        same_bits(base, found, names, c)
    else:
        # What the first may be off grows with the times; dividing the second compares both.
        back = {k: [(hi / c, lo / c) for hi, lo in units] for k, units in found.items()}
        slack = {k: [row / c for row in rows] for k, rows in truths[1].allowed.items()}
        truths = truths[0], replace(truths[1], allowed=slack)
        same(base, back, truths, (names[0], f"{words}, over {c}" if c != 1.0 else words))


@law(
    "P2",
    "Scaling every time (time constants, delays, refractory times, input) scales the spikes.",
    "Only ratios of times enter the equations; by powers of two, no rounding changes.",
    lambda kind: pairs(some(kind), st.sampled_from([1, -3, 7, -30, 20])),
    kinds=SCALED,
)
def p2(subject: Subject, case: Case, power: int) -> None:
    """By powers of two, to the last bit where that is promised."""
    c = 2.0**power
    _scaling(subject, case, scaled(case, c=c), c, f"the run with all times times 2**{power}")


@law(
    "P3",
    "Scaling every voltage (weights, thresholds, resets, biases) changes no spike time.",
    "The equations are linear in the voltages, the threshold test is homogeneous.",
    lambda kind: pairs(some(kind), st.sampled_from([3, -1, 30, -40])),
    kinds=SCALED,
    clock=None,
)
def p3(subject: Subject, case: Case, power: int) -> None:
    """By powers of two, to the last bit where that is promised."""
    case = case.each_layer(lambda x: replace(x, params={"v_th": 1.0, **x.params})
                           if x.kind != "qif" else x)  # fmt: skip
    other = scaled(case, k=2.0**power)
    _scaling(subject, case, other, 1.0, f"the run with all voltages times 2**{power}")


@law(
    "P4",
    "Adding a constant to every level (leak, threshold, reset) changes no spike time.",
    "Only differences of voltages enter the equations.",
    lambda kind: pairs(some(kind), st.sampled_from([0.5, -3.0, 64.0])),
    kinds=LEAKY,
    clock=None,
)
def p4(subject: Subject, case: Case, by: float) -> None:
    """Levels relative to rest may be rounded once more."""

    def raised(x):
        values = {"v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, **x.params}
        more = {n: _plus(values[n], by) for n in ("v_th", "v_leak", "v_reset")}
        return replace(x, params={**values, **more})

    other = case.each_layer(raised)
    truths = truth_of(case, subject.accuracy), truth_of(other, subject.accuracy)
    base, found = subject.run(case).trains, subject.run(other).trains
    same(base, found, truths, ("the run", f"the run with all levels {by} higher"))


def _plus(value, by: float):
    return tuple(v + by for v in value) if isinstance(value, tuple) else value + by
