"""The spikes are the exact ones: T1 to T8, a proof of them, P20, and clocks that converge, C1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

import evsim
from evsim.testing.case import CHARGED, Case, Layer, Wire
from evsim.testing.judge import is_true
from evsim.testing.law import law
from evsim.testing.laws.scales import SCALED, pairs
from evsim.testing.strategies import (
    UNTIL,
    alone,
    dyadic,
    grazing_cases,
    networks,
    neurons,
    params,
    unit_weight,
)
from evsim.testing.subject import Broken, Subject, Unclear
from evsim.testing.truth import truth_of

WITH_ORACLE = ("lif", "delta", "if")
WHY = "Compared with an oracle in ball arithmetic of 60 digits, `reference.networks`."


def _check(subject: Subject, case: Case) -> None:
    truth = truth_of(case, subject.accuracy)
    is_true(subject.run(case), truth)


@law("T1", "The spikes of one neuron are those of its equation.", WHY,
     lambda kind: pairs(neurons(kind)), kinds=SCALED, clock=None, examples=60)  # fmt: skip
def t1(subject: Subject, case: Case) -> None:
    """Any parameters, any input."""
    _check(subject, case)


@law("T2", "A voltage that just reaches the threshold fires; one that just does not, does not.",
     WHY, lambda kind: pairs(grazing_cases(tuple(range(17, 28)))), examples=40)  # fmt: skip
def t2(subject: Subject, case: Case) -> None:
    """Margins of 2**-17 to 2**-27: what a scan, or a test at the ends of steps, overlooks."""
    _check(subject, case)


@st.composite
def tied(draw, kind: str) -> Case:
    """Several inputs, and several neurons, at the very same instants."""
    values = draw(params(kind))
    unit = unit_weight(kind, values)
    times = draw(st.lists(dyadic, min_size=1, max_size=3, unique=True))
    count = draw(st.integers(2, 4))
    weights = st.integers(-8, 16).map(lambda k: k / 8 * unit)
    rows = tuple(draw(st.tuples(weights, weights)) for _ in range(count))
    spikes = tuple((t, u) for t in sorted(times) for u in range(count))
    wire = Wire("in", "p", rows, draw(st.sampled_from([0.0, 0.5])))
    return Case((Layer("p", 2, kind, values),), (wire,), {"in": spikes}, {"in": count}, UNTIL)


@law("T3", "Arrivals at one instant act together.", WHY,
     lambda kind: pairs(tied(kind)), kinds=WITH_ORACLE, clock=None)  # fmt: skip
def t3(subject: Subject, case: Case) -> None:
    """Several synapses of several neurons at once."""
    _check(subject, case)


@law("T4", "The spikes of a feed-forward network are those of its equations.", WHY,
     lambda kind: pairs(networks(kind)), kinds=WITH_ORACLE, clock=None)  # fmt: skip
def t4(subject: Subject, case: Case) -> None:
    """Delays, several paths, neurons with parameters of their own."""
    _check(subject, case)


@law("T5", "The spikes of a recurrent network are those of its equations.", WHY,
     lambda kind: pairs(networks(kind, recurrent=True)), kinds=WITH_ORACLE, clock=None,
     examples=25)  # fmt: skip
def t5(subject: Subject, case: Case) -> None:
    """Self-connections and cycles of two populations."""
    _check(subject, case)


@st.composite
def saturated(draw, kind: str) -> Case:
    """A strong drive, or a burst, with hardly any refractory time."""
    values = {**draw(params(kind)), "t_ref": draw(st.sampled_from([0.0, 0.125, 1.234375]))}
    strength = draw(st.sampled_from([10.0, 25.0])) * unit_weight(kind, values)
    values["bias"] = draw(st.sampled_from([0.0, 3.0])) / (10.0 if kind in CHARGED else 1.0)
    if kind in ("delta", "if") and values["t_ref"] == 0.0:
        values["reset"] = "value"
    some = draw(st.lists(dyadic, min_size=1, max_size=3, unique=True))
    return alone(kind, values, [(t, strength) for t in sorted(some)], 40.0)


@law("T6", "A neuron driven hard fires as often as its equation says.", WHY,
     lambda kind: pairs(saturated(kind)), kinds=WITH_ORACLE, clock=None, examples=20)  # fmt: skip
def t6(subject: Subject, case: Case) -> None:
    """Bursts and saturation: what fixed buffers and spikes per step cannot hold."""
    _check(subject, case)


@law("T7", "Late input, and silence of any length before it, cost no digits.", WHY,
     lambda kind: pairs(neurons(kind, biased=False), st.sampled_from([2.0**13, 2.0**17, 2.0**20])),
     kinds=WITH_ORACLE)  # fmt: skip
def t7(subject: Subject, case: Case, start: float) -> None:
    """exp(t / tau) overflows here, and grids run out of memory."""
    later = replace(case.with_spikes(lambda t, u: (t + start, u)), until=case.until + start)
    _check(subject, later)


@st.composite
def nearly_equal(draw) -> Case:
    """Time constants a few bits apart, or equal."""
    case = draw(neurons("lif", least=1))
    tau = 10.0
    change = draw(st.sampled_from([0.0, 2.0**-52, -(2.0**-50), 2.0**-45, 2.0**-35, -(2.0**-30)]))
    return case.with_params(tau_mem=tau, tau_syn=tau * (1.0 + change))


@law("T8", "Time constants may be equal, or nearly so.", WHY,
     lambda kind: pairs(nearly_equal()), clock=None)  # fmt: skip
def t8(subject: Subject, case: Case) -> None:
    """tau_s / (tau_m - tau_s) divides by zero, or by what is left of a difference."""
    _check(subject, case)


@law("P20", "A proof accepts the spikes.",
     "`evsim.certify_spikes` encloses every spike time and excludes every other, in balls.",
     lambda kind: pairs(st.one_of(neurons(kind), networks(kind))), kinds=("lif",),
     examples=12)  # fmt: skip
def p20(subject: Subject, case: Case) -> None:
    """Within the allowed error; what is UNDECIDED breaks nothing, what is WRONG does."""
    case = case.with_params(refractory="clamp")  # of the other two there is no proof
    truth = truth_of(case, subject.accuracy)
    network, inputs, until = case.problem()
    claimed, slack = {}, 2.0**-40
    for name, units in subject.run(case).trains.items():
        count = [np.full(hi.size, n) for n, (hi, _) in enumerate(units)]
        times, lo = (np.concatenate([x[k] for x in units]) for k in (0, 1))
        claimed[name] = evsim.Spikes(times, np.concatenate(count).astype(int), times_lo=lo)
        slack = max(slack, *(row.max(initial=0.0) for row in truth.allowed[name]))
    proof = evsim.certify_spikes(network, inputs, claimed, until, slack)
    if proof.status == "WRONG":
        raise Broken(f"there is a proof that the spikes are not the exact ones: the first wrong "
                     f"one, of (population, unit, time), is {proof.first_wrong}")  # fmt: skip


# ---------------------------------------------------------------------------------- clocks


@st.composite
def clear_neurons(draw, kind: str) -> Case:
    """One neuron that fires a few times, far from grazing."""
    values = {"tau_mem": 10.0, "tau_syn": draw(st.sampled_from([5.0, 10.0, 8.0]))}
    values = values if kind == "lif" else {"tau_mem": 10.0} if kind == "delta" else {}
    size = st.sampled_from([0.25, 0.375, 0.5]).map(lambda w: w * unit_weight(kind, values))
    times = sorted(draw(st.lists(st.integers(1, 255), min_size=1, max_size=2, unique=True)))
    bias = 0.2 if kind in CHARGED else 1.75
    events = [(k / 64, draw(size)) for k in times]
    return alone(kind, {**values, "bias": bias, "t_ref": 1.0}, events, 16.0)


@law("C1", "A smaller step gives smaller errors: the spikes converge, with the declared order.",
     "Spike times of a scheme of order p differ from the exact ones by O(dt**p).",
     lambda kind: pairs(clear_neurons(kind)), kinds=WITH_ORACLE, clock=True,
     examples=3)  # fmt: skip
def c1(subject: Subject, case: Case) -> None:
    """Half and an eighth of the step: errors within what the order leaves of them.

    Errors of single spikes are erratic in dt, so that a fit of few says little; what is allowed
    falls as dt**p.
    """
    accuracy, maker = subject.accuracy, getattr(subject.simulate, "at", None)
    if maker is None:
        raise Unclear("the step of this simulator cannot be changed")
    for part in (2, 8):
        finer = Subject(maker(accuracy.dt / part), replace(accuracy, dt=accuracy.dt / part))
        is_true(finer.run(case), truth_of(case, finer.accuracy))
        subject.ran += finer.ran
