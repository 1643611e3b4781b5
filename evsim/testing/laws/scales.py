"""Laws of shifts and scales: P1 to P4. The equations have no clock and no unit of their own."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from evsim.testing.case import CHARGED, KINDS, Case, scaled
from evsim.testing.judge import same, same_bits, together
from evsim.testing.law import law
from evsim.testing.strategies import dyadic, networks, neurons
from evsim.testing.subject import Answer, NotApplicable, Subject
from evsim.testing.truth import truth_of

LEAKY = ("lif", "mixed", "alpha", "adaptive", "delta")
SCALED = ("lif", *(k for k in KINDS if k != "lif"))


def some(kind: str, **how) -> st.SearchStrategy[Case]:
    """Single neurons, and small networks, with cycles too, of the models that the oracle knows."""
    if kind not in ("lif", "delta", "if"):
        return neurons(kind, **how)
    nets = networks(kind, **how), networks(kind, recurrent=True, **how)
    return st.one_of(neurons(kind, **how), neurons(kind, **how), *nets)


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
    """From rest only: a neuron that drives itself has a clock of its own.

    Where the same bits are promised, one neuron sees the same numbers between its events, and
    only the stamps of its spikes round: once each, to 2**-103 of the time.
    """
    moved = replace(case.with_spikes(lambda t, u: (t + shift, u)), until=case.until + shift)
    truths = truth_of(case, subject.accuracy), truth_of(moved, subject.accuracy)
    base, later = subject.run(case).trains, subject.run(moved).trains
    names = ("the run", f"the run with all input {shift} later")
    same(base, later, truths, names, shift=shift)
    if subject.accuracy.exact and len(case.layers) == 1 == case.layers[0].n and not case.cyclic():
        stamps = (base["p"][0][0].size + 1) * 2.0**-103 * moved.until
        together(base, later, stamps, names, shift=shift)


def _scaling(subject: Subject, case: Case, other: Case, c: float, words: str) -> None:
    """The other run's times are `c` times those of the first."""
    names = ("the run", words)
    if not subject.accuracy.exact:
        truths = truth_of(case, subject.accuracy), truth_of(other, subject.accuracy)
    base, found = subject.run(case).trains, subject.run(other).trains
    if subject.accuracy.exact:  # even where a decision is open: it is the same one
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
    lambda kind: pairs(
        neurons(kind) if kind in CHARGED else some(kind),
        st.sampled_from([0.5, -3.0, 64.0, 0.375, 100.0, 0.1]),
    ),
    kinds=(*LEAKY, *CHARGED),
    clock=None,
)
def p4(subject: Subject, case: Case, by: float) -> None:
    """Levels relative to rest may be rounded once more.

    What does not leak starts at zero, not at rest: it is started where the levels are.
    """

    def raised(x):
        leak = {} if x.kind in CHARGED else {"v_leak": 0.0}
        values = {"v_th": 1.0, **leak, "v_reset": 0.0, **x.params}
        more = {n: _plus(values[n], by) for n in ("v_th", *leak, "v_reset")}
        return replace(x, params={**values, **more})

    other, names = case.each_layer(raised), ("the run", f"the run with all levels {by} higher")
    if case.layers[0].kind in CHARGED:
        more = subject.accuracy.roundings * (2.0 + abs(by))  # voltages are that much larger
        truths = [truth_of(case, replace(subject.accuracy, roundings=more))]
        found = _started(subject, other, by).trains
    else:
        truths = [truth_of(x, subject.accuracy) for x in (case, other)]
        found = subject.run(other).trains
    same(subject.run(case).trains, found, truths, names)


def _started(subject: Subject, case: Case, v: float) -> Answer:
    """The answer from a voltage of all neurons."""
    start = subject.start
    if start is None:
        raise NotApplicable("the simulator starts at zero")
    voltages = {x.name: v for x in case.layers}
    return subject.guarded(case, lambda: start(*case.problem(), voltages))


def _plus(value, by: float):
    return tuple(v + by for v in value) if isinstance(value, tuple) else value + by
