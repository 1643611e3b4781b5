"""Hypothesis strategies aimed at trouble: what breaks simulators of spiking neurons.

Near-grazing voltages by construction, ties, equal and nearly equal time constants, bursts,
inhibition, silent and saturated neurons, late input. Numbers are round and times are dyadic
wherever a law allows it, so that what breaks a law shrinks to something that a reader can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from evsim.testing.case import CHARGED, TYPES, Case, Layer, Problem, Wire
from evsim.testing.truth import exact_runs

UNTIL = 40.0
LAST = 30  # input comes by then

Events = Sequence[tuple[float, float]]

#: Multiples of 1/64: sums of them are exact, and so are grids of such steps.
dyadic = st.integers(0, LAST * 64).map(lambda k: k / 64)
#: Weights in units of the threshold: round, or any, or those of bursts, silence and inhibition.
weights = st.one_of(
    st.integers(-16, 24).map(lambda k: k / 8),
    st.floats(-2.0, 3.0, allow_subnormal=False).filter(lambda w: w == 0 or abs(w) > 1e-12),
    st.sampled_from([0.0, 1.0, -1.0, 6.0, 12.0]),
)


def time_constants(equal: bool = True) -> st.SearchStrategy:
    """Pairs (tau_mem, tau_syn) of every ratio; equal and nearly equal ones if wanted."""
    plain = st.tuples(st.sampled_from([10.0, 7.5, 20.0]), st.sampled_from([5.0, 4.0, 25.0, 0.5]))
    if not equal:
        return plain
    near = st.sampled_from([10, 20, 30, 40, 50]).map(lambda p: (10.0, 10.0 * (1 + 2.0**-p)))
    return st.one_of(plain, st.just((10.0, 10.0)), near)


@st.composite
def params(draw, kind: str = "lif", *, biased: bool = True, positive: bool = False) -> dict:
    """Parameters of one neuron, below or above threshold at rest.

    `biased=False`: at rest without input. `positive`: no inhibitory bias.
    """
    tau_mem, tau_syn = draw(time_constants())
    biases = [0.0, 0.25, 0.75] if positive else [0.0, 0.25, 1.25, -0.25]
    bias = draw(st.sampled_from(biases)) if biased else 0.0
    found = {
        "v_reset": draw(st.sampled_from([0.0, -0.25, 0.375])),
        "t_ref": draw(st.sampled_from([0.0, 1.0, 0.7])),
        "bias": bias / (10.0 if kind in CHARGED else 1.0),
    }
    if kind == "qif":
        found["v_reset"] -= 1.0
        return {"tau": tau_mem, **found}
    found["reset"] = draw(st.sampled_from(["value", "subtract"]))
    if kind not in CHARGED:
        found = {"tau_mem": tau_mem, "v_leak": draw(st.sampled_from([0.0, -0.25])), **found}
    if kind == "mixed":
        found["tau_syn"] = dict(zip(TYPES, (tau_syn, 2 * tau_syn, tau_mem), strict=True))
    elif kind in ("lif", "alpha", "adaptive", "if_exp"):
        found["tau_syn"] = tau_syn
    if kind == "adaptive":
        found |= {"tau_th": 30.0, "jump_th": 0.5}
    return found


def unit_weight(kind: str, values: dict) -> float:
    """The weight that lifts the voltage by about one."""
    if kind in ("alpha", "if_exp"):
        return 1.0 / values["tau_syn"]
    return {"if_ramp": 0.125, "lif": 4.0, "mixed": 4.0, "adaptive": 4.0}.get(kind, 1.0)


def alone(kind: str, values: dict, events: Events, until: float = UNTIL) -> Case:
    """One neuron; every arrival has an input unit of its own, and its weight."""
    wires, spikes, sizes = [], {}, {}
    ports = len(TYPES) if kind == "mixed" else 1
    for port in range(min(ports, len(events))):
        mine = events[port::ports]
        name = f"in {TYPES[port]}" if ports > 1 else "in"
        synapse = TYPES[port] if ports > 1 else None
        wires.append(Wire(name, "p", tuple((w,) for _, w in mine), 0.0, synapse))
        spikes[name] = tuple((t, k) for k, (t, _) in enumerate(mine))
        sizes[name] = len(mine)
    return Case((Layer("p", 1, kind, values),), tuple(wires), spikes, sizes, until)


def events_of(case: Case) -> list[tuple[float, float]]:
    """The arrivals of a case of one neuron, as `alone` was given them."""
    trains = [[(t, w.weight[u][0]) for t, u in case.spikes[w.pre]] for w in case.wires]
    ports = len(trains)
    longest = max(map(len, trains), default=0)
    return [trains[p][k] for k in range(longest) for p in range(ports) if k < len(trains[p])]


@st.composite
def trains(draw, least: int = 0, most: int = 8) -> list[tuple[float, float]]:
    """Arrivals at one neuron: spread, or in a burst, or some at one instant."""
    how = draw(st.sampled_from(["spread", "burst", "tied"]))
    if how == "burst":
        start = draw(dyadic)
        ticks = draw(st.lists(st.integers(1, 32), min_size=least, max_size=most))
        times, t = [], start
        for tick in ticks:
            times.append(t)
            t += tick / 64
    else:
        some = (
            dyadic
            if how == "spread"
            else st.sampled_from(draw(st.lists(dyadic, min_size=1, max_size=3)))
        )
        times = sorted(draw(st.lists(some, min_size=least, max_size=most)))
    return [(t, draw(weights)) for t in times]


@st.composite
def neurons(draw, kind: str = "lif", *, least: int = 0, **how) -> Case:
    """One neuron of some kind, and its input."""
    values = draw(params(kind, **how))
    unit = unit_weight(kind, values)
    return alone(kind, values, [(t, w * unit) for t, w in draw(trains(least))])


#: What numbers are equal, or zero, or just enough in: parameters that differ from 10, 4, 1, 0,
#: and arrivals in units of what lifts the voltage by about one.
DEGENERATE: tuple[tuple[dict, Events], ...] = (
    ({"tau_syn": 10.0}, [(0.0, 4.0), (0.0, -1.0), (2.0, 3.0), (2.0, 3.0)]),  # one instant
    ({"bias": 1.0, "t_ref": 0.5}, [(1.0, 0.5), (3.0, 0.0)]),  # at threshold at rest
    ({"bias": 1.25, "reset": "subtract"}, [(1.0, -6.0), (1.0, 0.25)]),  # a dip, then the bias
    ({"tau_syn": 5.0, "v_th": 10.0}, [(0.0, 40.0)]),  # an exact graze of a `LIF`
    ({"t_ref": 1.0, "reset": "subtract"}, [(1.0, 11.9), (1.5, 12.1)]),  # a burst
    ({"reset": "subtract", "v_reset": 0.25}, [(1.0, 3.0), (1.0, 0.5)]),  # jumps at one instant
    ({"bias": 1.25, "t_ref": 1.0}, [(0.0, 2.0), (0.0, -2.0)]),  # that cancel
    ({"tau_syn": 25.0, "t_ref": 0.7, "v_reset": 0.4}, [(0.5, 8.0)]),  # a slow synapse
    ({"bias": 1.3, "v_reset": -0.2, "reset": "subtract"}, [(1.0, 2.9)]),
)


def degenerate(kind: str) -> list[Case]:
    """`DEGENERATE` as cases of a model, with what it has of these parameters."""
    found = []
    for changed, events in DEGENERATE:
        values: dict[str, Any] = {"v_reset": 0.0, "t_ref": 0.0, "bias": 0.0, "v_th": 1.0}
        values["reset"] = "value"
        values |= {"tau_mem": 10.0, "tau_syn": 4.0, "v_leak": 0.0, **changed}
        if kind == "qif":
            kept = {name: values[name] for name in ("t_ref", "bias")}
            values = {"tau": 10.0, "v_reset": values["v_reset"] - 1.0, **kept}
        if kind in CHARGED:
            values["bias"] /= 10.0
            del values["tau_mem"], values["v_leak"]
        syn = values.pop("tau_syn", 1.0)
        if kind in ("lif", "alpha", "adaptive", "if_exp"):
            values["tau_syn"] = syn
        elif kind == "mixed":
            values["tau_syn"] = dict(zip(TYPES, (syn, 2 * syn, 10.0), strict=True))
        if kind == "adaptive":
            values |= {"tau_th": 30.0, "jump_th": 0.5}
        unit = 1.0 if kind in ("lif", "mixed", "adaptive") else unit_weight(kind, values)
        found.append(alone(kind, values, [(t, w * unit) for t, w in events]))
    return found


# -------------------------------------------------------------------------------- networks


def busy(seed: int, n: int = 12, m: int = 6, count: int = 150) -> Case:
    """A recurrent network of `LIF` that fires all the time, each synapse with its own delay.

    No oracle could follow it: for laws that compare runs with one another to the last bit.
    """
    rng, until = np.random.default_rng(seed), 0.2
    values = {"tau_mem": 2.0**-6, "tau_syn": 2.0**-8, "t_ref": 1e-3, "v_th": 1.0, "bias": 0.5}
    inside = rng.normal(-0.3, 0.8, (n, n)), rng.uniform(1e-4, 4e-3, (n, n))
    outside = rng.normal(1.5, 1.5, (m, n)), rng.uniform(0.0, 2e-3, (m, n))
    times, units = np.sort(rng.uniform(0, until, count)), rng.integers(0, m, count)

    def wire(pre: str, arrays) -> Wire:
        weight, delay = (tuple(map(tuple, x.tolist())) for x in arrays)
        return Wire(pre, "p", weight, delay)

    spikes = {"in": tuple(zip(times.tolist(), units.tolist(), strict=True))}
    layers, wires = (Layer("p", n, "lif", values),), (wire("in", outside), wire("p", inside))
    return Case(layers, wires, spikes, {"in": m}, until)


@st.composite
def networks(draw, kind: str = "lif", *, recurrent: bool = False, biased: bool = True) -> Case:
    """Two populations one after the other, or one or two on a cycle; delays of all sorts.

    Delays of a cycle are positive, as an oracle needs them; and neurons without a leak have a
    refractory time there, or a loop might multiply their spikes without end.
    """
    sizes = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)))
    names = ("a", "b") if draw(st.booleans()) or not recurrent else ("a",)
    layers = []
    for name, n in zip(names, sizes[1:], strict=False):
        layers.append(draw(populations(name, n, kind, biased)))
    if recurrent and kind in CHARGED:
        layers = [
            replace(x, params={**x.params, "t_ref": x.params["t_ref"] or 0.25}) for x in layers
        ]
    scale = {x.name: unit_weight(kind, dict(x.params)) if kind != "lif" else 4.0 for x in layers}
    width = {"in": sizes[0], **{x.name: x.n for x in layers}}
    pairs = [("in", "a")]
    if len(names) == 2:
        pairs += [("a", "b")]
        pairs += draw(st.sampled_from([[], [("in", "b")]]))
    if recurrent:
        back = [("a", "a"), ("b", "a")] if len(names) == 2 else [("a", "a")]
        pairs += draw(st.lists(st.sampled_from(back), min_size=1, max_size=2, unique=True))
    wires = tuple(
        draw(projections(a, b, width[a], width[b], scale[b], later=recurrent and a != "in"))
        for a, b in pairs
    )
    arrival = st.tuples(st.integers(0, 15 * 64).map(lambda k: k / 64), st.integers(0, sizes[0] - 1))
    spikes = draw(st.lists(arrival, min_size=1, max_size=6))
    return Case(tuple(layers), wires, {"in": tuple(sorted(spikes))}, {"in": sizes[0]}, 20.0)


@st.composite
def populations(draw, name: str, n: int, kind: str, biased: bool = True) -> Layer:
    """A population of neurons, alike or each with a threshold and time constant of its own."""
    values = draw(params(kind, biased=biased))
    if n > 1 and draw(st.booleans()) and kind not in ("qif", "mixed"):
        values["v_th"] = tuple(draw(st.sampled_from([1.0, 0.75, 1.5])) for _ in range(n))
        if "tau_mem" in values:
            values["tau_mem"] = tuple(draw(st.sampled_from([10.0, 7.5, 20.0])) for _ in range(n))
    return Layer(name, n, kind, values)


@st.composite
def projections(draw, pre: str, post: str, m: int, n: int, unit: float, later: bool) -> Wire:
    """Weights of both signs, one delay or one per synapse."""
    row = st.tuples(*[weights.map(lambda w: w * unit)] * n)
    delay = st.sampled_from([1.0, 0.5, 0.7, 3.0] if later else [0.0, 1.0, 0.5, 0.7])
    rows = tuple(draw(row) for _ in range(m))
    if draw(st.booleans()):
        return Wire(pre, post, rows, draw(delay))
    return Wire(pre, post, rows, tuple(tuple(draw(delay) for _ in range(n)) for _ in range(m)))


# --------------------------------------------------------------------------------- grazing


@st.composite
def grazing_cases(draw, exponents: Sequence[int] = tuple(range(17, 41))) -> Case:
    """One `LIF` whose largest voltage misses, or passes, the threshold by a hair (P13).

    The unreset voltage is linear in the weights, and the oracle knows its maximum: all weights
    are scaled to bring that to the threshold times 1 +- 2**-exponent. Float64 rounds the
    weights, so that the margin is what is asked for to within some 1e-16.
    """
    tau_mem, tau_syn = draw(time_constants())
    times = sorted(draw(st.lists(dyadic, min_size=1, max_size=4, unique=True)))
    sizes = [draw(st.integers(1, 8)) for _ in times]
    signs = [1] + [draw(st.sampled_from([1, 1, -1])) for _ in times[1:]]
    values = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_th": 1.0}
    case = alone(
        "lif", values, [(t, float(s * w)) for t, w, s in zip(times, sizes, signs, strict=True)]
    )
    (run,) = exact_runs(case.with_params(v_th=1e6))
    best = max(run.decisions, key=lambda d: d.margin)
    peak = 1e6 + best.margin
    assume(peak > 1e-3 and best.top < case.until)
    (run,) = exact_runs(case.with_params(v_th=peak + 1e-6))  # its margin has all digits
    peak = peak + 1e-6 + max(d.margin for d in run.decisions)
    side = draw(st.sampled_from([1, -1])) * 2.0 ** -draw(st.sampled_from(list(exponents)))
    factor = (1.0 + side) / peak
    return replace(case, wires=tuple(w.map(lambda x: x * factor) for w in case.wires))


def grazing() -> st.SearchStrategy[Problem]:
    """One `LIF` neuron whose voltage comes within 1e-5 of its threshold, from either side.

    Returns
    -------
    strategy of Problem
        (network, inputs, until); the population is "p".
    """
    return grazing_cases().map(Case.problem)


def cases(kind: str = "lif") -> st.SearchStrategy[Case]:
    """Anything: single neurons, feed-forward and recurrent networks, grazing ones."""
    some = [neurons(kind), networks(kind), networks(kind, recurrent=True)]
    return st.one_of(*some, grazing_cases()) if kind == "lif" else st.one_of(*some)


def problems(kind: str = "lif") -> st.SearchStrategy[Problem]:
    """Problems for any simulator.

    Parameters
    ----------
    kind : str, optional
        One of `evsim.testing.KINDS`.

    Returns
    -------
    strategy of Problem
        (network, inputs, until), as in `simulate(network, inputs, until)`.
    """
    return cases(kind).map(Case.problem)
