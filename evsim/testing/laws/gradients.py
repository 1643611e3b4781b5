r"""Laws of gradients: P17, D1, D2, D3.

`gradient(network, inputs, until, cotangents)` differentiates :math:`L = \sum_k c_k t_k` over the
spikes of a population, ascending in time. Its answer has, as attributes or keys, those of

- `weight`: by projection, `"in->p"`, shaped as the weights;
- `inputs`: by input, aligned with its `Spikes`;
- `params`: by population, with `v_th`;
- `status`: a word, "regular" where a gradient may be trusted

that it knows; laws of what it does not know are skipped.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from evsim.testing.accuracy import EXACT
from evsim.testing.case import Case
from evsim.testing.law import LAWS, Law, law
from evsim.testing.laws.scales import pairs
from evsim.testing.strategies import alone, events_of, grazing_cases, trains
from evsim.testing.subject import Broken, NotApplicable, Subject, Unclear
from evsim.testing.truth import exact_runs, truth_of
from reference.networks import exact
from reference.neuron import Run

STEP = 2.0**-30  # of the differences, relative: their error is some 1e-15 of the third derivative


@st.composite
def driven(draw) -> Case:
    """One `LIF` at rest that fires a few times."""
    values = {
        "tau_mem": 10.0,
        "tau_syn": draw(st.sampled_from([5.0, 10.0, 4.0])),
        "t_ref": draw(st.sampled_from([1.0, 0.0, 0.7])),
        "v_th": draw(st.sampled_from([1.0, 1.25])),
    }
    events = draw(trains(least=1, most=4))
    return alone("lif", values, [(t, 6.0 * w) for t, w in events])


costs = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=6)


def _clear(case: Case) -> list[Run]:
    """The oracle's run, where its structure is clear of a change by `STEP`, and has spikes."""
    truth = truth_of(case, replace(EXACT, roundings=2.0**26, bits=False))
    runs = truth.runs or []
    if not truth.count() or truth.count() > 12:
        raise Unclear("no spikes to differentiate, or many")
    return runs


def _cost(case: Case, weights: list[float]) -> np.ndarray:
    count = len(exact_runs(case)[0].spikes)
    return np.resize(np.array(weights), count)


def _asked(subject: Subject, case: Case, cost: np.ndarray) -> Any:
    if subject.gradient is None:
        raise NotApplicable("no gradient was given")
    try:
        found = subject.gradient(*case.problem(), {"p": cost})
    except NotImplementedError as reason:
        raise Unclear(str(reason)) from reason
    except Exception as error:
        raise Broken(f"the gradient raised {type(error).__name__}: {error}") from error
    subject.ran += 1
    return found


def _part(found: Any, *names: str) -> Any:
    """An attribute or key of an attribute or key, or `Unclear`."""
    for name in names:
        inside = found.get(name) if hasattr(found, "get") else getattr(found, name, None)
        if inside is None:
            raise Unclear(f"the gradient does not say {name!r}")
        found = inside
    return found


def _close(what: str, found: float, expected: float, size: float) -> None:
    allowed = 1e-7 * (size + abs(expected))
    if not abs(found - expected) <= allowed:
        raise Broken(f"{what} is {found!r}; it should be {expected!r} to within {allowed:.1g}")


@law(
    "D1",
    "The derivatives by all input times add up to those by the spikes' own: a shift of time.",
    "All input later by D makes all spikes later by D (P1); differentiate by D.",
    lambda kind: pairs(driven(), costs),
)
def d1(subject: Subject, case: Case, weights: list[float]) -> None:
    """From rest only."""
    _clear(case)
    cost = _cost(case, weights)
    by_time = np.asarray(_part(_asked(subject, case, cost), "inputs", "in"), float)
    size = float(np.abs(by_time).sum())
    _close("the sum over all inputs", float(by_time.sum()), float(cost.sum()), size)


@law(
    "D2",
    "Weights and threshold, each times its derivative, add up to nothing: a scale of voltage.",
    "Scaling all voltages moves no spike (P3); differentiate by the scale. Euler's theorem.",
    lambda kind: pairs(driven(), costs),
)
def d2(subject: Subject, case: Case, weights: list[float]) -> None:
    """With leak and reset at zero, and no bias."""
    _clear(case)
    found = _asked(subject, case, _cost(case, weights))
    by_weight = np.ravel(np.asarray(_part(found, "weight", "in->p"), float))
    by_threshold = float(np.sum(_part(found, "params", "p", "v_th")))
    parts = [w * g for (_, w), g in zip(events_of(case), by_weight, strict=True)]
    parts.append(case.layers[0].params["v_th"] * by_threshold)
    _close("the sum", float(np.sum(parts)), 0.0, float(np.abs(parts).sum()))


@law(
    "P17",
    "The adjoint is the derivative: differences of exact runs agree with it.",
    "Central differences of 60-digit spike times, step 2**-30, Richardson once.",
    lambda kind: pairs(driven(), costs, st.integers(0, 3)),
)
def p17(subject: Subject, case: Case, weights: list[float], which: int) -> None:
    """By one weight and by the time of its arrival."""
    _clear(case)
    events, cost = events_of(case), _cost(case, weights)
    which %= len(events)
    found = _asked(subject, case, cost)
    t, w = events[which]
    for name, part in (("weight", ("weight", "in->p")), ("time", ("inputs", "in"))):
        try:
            values = np.ravel(np.asarray(_part(found, *part), float))
        except Unclear:
            continue

        def moved(h, name=name):
            changed = list(events)
            changed[which] = (t + h, w) if name == "time" else (t, w + h)
            return _loss(case, changed, cost)

        if name == "time" and (t == 0.0 or sum(s == t for s, _ in events) > 1):
            continue  # no later, or not alone
        order = sorted(range(len(events)), key=lambda k: events[k][0])
        place = order.index(which) if name == "time" else which
        h = STEP * (max(abs(w), 1.0) if name == "weight" else max(t, 1.0))
        near, far = (_difference(moved, k * h) for k in (1, 2))
        expected, size = (4 * near - far) / 3, float(np.abs(values).max())
        _close(f"the derivative by the {name} of arrival {which}", values[place], expected, size)


def _difference(moved, h: float) -> float:
    return float((moved(h) - moved(-h)) / (2 * Fraction(h)))


def _loss(case: Case, events, cost: np.ndarray):
    """The sum of costs times exact spike times, as a rational."""
    layer = case.layers[0]
    (run,) = exact_runs(alone("lif", dict(layer.params), events, case.until))
    if len(run.spikes) != cost.size:
        raise Unclear("the number of spikes changes")
    return sum((Fraction(float(c)) * exact(s.text) for c, s in zip(cost, run.spikes, strict=True)),
               Fraction(0))  # fmt: skip


@law(
    "D3",
    "Where a spike is about to vanish, or to appear, the gradient says so.",
    "At grazing the derivative is infinite; beyond, a spike is not there to be differentiated.",
    lambda kind: pairs(grazing_cases((52, 50, 51))),
)
def d3(subject: Subject, case: Case) -> None:
    """Within a few roundings of a graze, the status is not "regular"."""
    cost = np.ones(subject.run(case).count())
    status = _part(_asked(subject, case, cost), "status")
    if status == "regular":
        raise Broken("the status is 'regular', within 1e-15 of a graze")


GRADIENT_LAWS: dict[str, Law] = {id: LAWS.pop(id) for id in ("P17", "D1", "D2", "D3")}
