"""Laws of past and future, and of limits: P11, P12, P14, P15."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from evsim.testing.accuracy import EPS
from evsim.testing.case import CHARGED, Case
from evsim.testing.judge import both, same, same_bits
from evsim.testing.law import law
from evsim.testing.laws.scales import SCALED, pairs, some
from evsim.testing.strategies import alone, dyadic, events_of, neurons, unit_weight
from evsim.testing.subject import Broken, Subject, Trains, Unclear
from evsim.testing.truth import truth_of


def until_time(trains: Trains, t: float) -> Trains:
    """What comes before t."""
    return {
        name: [
            (hi[early], lo[early])
            for hi, lo in units
            for early in [(hi < t) | ((hi == t) & (lo < 0))]
        ]
        for name, units in trains.items()
    }


@law(
    "P11",
    "Input at t changes nothing before t.",
    "Causality: the state before t depends on input before t only.",
    lambda kind: pairs(some(kind), dyadic, st.integers(-24, 72).map(lambda k: k / 8)),
    kinds=SCALED,
    clock=None,
)
def p11(subject: Subject, case: Case, t: float, weight: float) -> None:
    """Without any input from t on; and, with one arrival more, of weight zero or not."""
    cut = case.with_some(lambda s, _: s < t)
    _alike_before(subject, t, case, cut, ("the run", f"without input from {t} on"))
    layer = case.layers[0]
    if len(case.layers) > 1 or layer.n > 1 or case.cyclic():
        return
    values, events = dict(layer.params), events_of(case)
    last = weight * unit_weight(layer.kind, values)
    none, one = (alone(layer.kind, values, [*events, (t, w)], case.until) for w in (0.0, last))
    _alike_before(subject, t, none, one, ("without it", f"with weight {weight} at {t}"))


def _alike_before(subject: Subject, t: float, one: Case, other: Case, names) -> None:
    """Two runs have the same spikes before t."""
    if subject.accuracy.exact:
        before, after = (until_time(subject.run(x).trains, t) for x in (one, other))
        same_bits(before, after, names)
        return
    truths = [truth_of(x, subject.accuracy) for x in (one, other)]
    rows = [row for x in truths for units in x.allowed.values() for row in units]
    slack = max((float(row.max(initial=0.0)) for row in rows), default=0.0)
    edge = t - 2 * slack - subject.accuracy.dt
    times = [hi for units in truths[0].trains.values() for hi, _ in units]
    if any(abs(x - edge) <= 2 * slack for hi in times for x in hi):
        raise Unclear("a spike at the edge")
    before, after = (until_time(subject.run(x).trains, edge) for x in (one, other))
    same(before, after, truths, names)


@law(
    "P12",
    "A run to T1 is the beginning of a run to T2; and one that goes on from there is that run.",
    "The state at T1 determines what follows; looking at it there must not round it.",
    lambda kind: pairs(some(kind), st.integers(1, 63)),
    kinds=SCALED,
    clock=None,
)
def p12(subject: Subject, case: Case, share: int) -> None:
    """The end of a run is no event of any neuron."""
    t = case.until * share / 64
    part = replace(case.with_some(lambda s, _: s <= t), until=t)
    exact = subject.accuracy.exact
    truths = () if exact else [truth_of(x, subject.accuracy) for x in (part, case)]
    full = subject.run(case)
    cut = {
        name: [(hi[keep], lo[keep]) for hi, lo in units
               for keep in [(hi < t) | ((hi == t) & (lo <= 0))]]
        for name, units in full.trains.items()
    }  # fmt: skip
    names = (f"the run to {t}", f"the run to {case.until}, up to {t}")
    found = subject.run(part).trains
    if exact:
        same_bits(found, cut, names)
    else:
        same(found, cut, truths, names)
    resume = subject.resume
    if resume is not None:
        network, inputs, _ = part.problem()
        later = case.with_some(lambda s, _: s > t).problem().inputs
        raw = subject.guarded(case, lambda: resume(network, inputs, t, later, case.until))
        same_bits(full.trains, raw.trains, ("at once", f"with a pause at {t}"))


@law(
    "P14",
    "Spike times are continuous where the time constants meet.",
    "The flow is analytic in tau_s, at tau_m too: differences of exponentials must not cancel.",
    lambda kind: pairs(neurons("lif"), st.sampled_from([20, 30, 40, 50, 26, 35])),
)
def p14(subject: Subject, case: Case, power: int) -> None:
    """Halving the distance of the time constants halves that of the spikes, to rounding."""
    tau = case.layers[0].params["tau_mem"]
    equal = case.with_params(tau_syn=tau)
    near = case.with_params(tau_syn=tau * (1.0 + 2.0**-power))
    first, second = truth_of(equal, subject.accuracy), truth_of(near, subject.accuracy)
    # How far the exact spikes are apart is known; what else separates the two is rounding.
    moved = {
        name: [row + np.abs((a[0] - b[0]) + (a[1] - b[1])) for row, a, b in
               zip(first.allowed[name], first.trains[name], second.trains[name], strict=True)]
        if all(a[0].size == b[0].size for a, b in
               zip(first.trains[name], second.trains[name], strict=True)) else _no(name)
        for name in first.trains
    }  # fmt: skip
    base, found = subject.run(equal).trains, subject.run(near).trains
    names = ("equal time constants", f"tau_syn larger by 2**-{power}")
    same(base, found, (replace(first, allowed=moved), second), names)


def _no(name: str):
    raise Unclear(f"{name!r} decides differently")


#: What makes a neuron fire fast; the first spikes of such a train are far from grazing.
CLEAR_EVENTS = ((1.0, 5.0), (3.0, 4.0), (7.0, 6.0), (8.5, -1.0), (9.0, 5.0))
FIRST = 4


@law(
    "P14o",
    "Time constants that nearly meet give spikes whose distance is of first order in theirs.",
    "The flow is analytic in tau_s: a quarter of one distance makes a quarter of the other.",
    lambda kind: pairs(st.just(kind), st.sampled_from([0.0, 0.5, 0.7]),
                       st.sampled_from([0.0, -0.25])),
    kinds=("lif", "mixed", "alpha", "adaptive"),
    examples=6,
)  # fmt: skip
def p14o(subject: Subject, kind: str, t_ref: float, v_reset: float) -> None:
    """tau_s = tau_m (1 + 2**-10) .. tau_m (1 + 2**-16), against equal ones."""
    trains = []
    for e in (2.0**-10, 2.0**-12, 2.0**-14, 2.0**-16, 0.0):
        syn = 10.0 * (1.0 + e)
        tau = {"exc": syn, "inh": 2 * syn, "slow": 10.0} if kind == "mixed" else syn
        more = {"tau_th": 30.0, "jump_th": 0.5} if kind == "adaptive" else {}
        values = {"tau_mem": 10.0, "tau_syn": tau, "t_ref": t_ref, "v_reset": v_reset, **more}
        size = 0.1 if kind == "alpha" else 1.0
        case = alone(kind, values, [(t, size * w) for t, w in CLEAR_EVENTS])
        hi, lo = subject.run(case).trains["p"][0]
        trains.append((hi[:FIRST], lo[:FIRST]))
    distances = _distances(trains[:-1], trains[-1], "equal time constants")
    _first_order(subject, distances, "tau_s - tau_m = 2**-10, 2**-12, 2**-14, 2**-16 tau_m")


def _distances(trains, limit, words: str) -> list[float]:
    """How far the spikes are from those of the limit, at most."""
    found = []
    for times, lo in trains:
        if times.size != limit[0].size or times.size < 2:
            names = (words, "the answer")
            raise Broken(f"the spikes are not those of {words}.\n"
                         + both(limit, (times, lo), names))  # fmt: skip
        found.append(float(np.abs((times - limit[0]) + (lo - limit[1])).max()))
    return found


def _first_order(subject: Subject, errors: list[float], words: str) -> None:
    """Each is a quarter of the one before, down to what roundings leave."""
    ratios = np.divide(errors[:-1], errors[1:])
    floor = 1e3 * EPS * 40.0 + subject.accuracy.jitter
    if not (((ratios > 3.0) & (ratios < 5.0)) | (np.array(errors[1:]) < floor)).all():
        raise Broken(f"for {words} the distances are {errors}; "
                     "by first order each is a quarter of the one before")  # fmt: skip


@law(
    "P15",
    "A synapse that becomes fast, of one charge, becomes a jump; without a leak, one that becomes "
    "slow becomes a ramp: the distance is of first order.",
    "Expand the flow in tau_s.",
    lambda kind: pairs(
        st.just(kind), st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([0.5, 0.0, 0.7]),
        st.booleans() if kind == "if_exp" else st.just(False),
    ),
    kinds=("lif", "alpha", "if_exp"),
    examples=6,
)  # fmt: skip
def p15(subject: Subject, kind: str, bias: float, t_ref: float, slow: bool) -> None:
    """tau_s = 2**-8 .. 2**-14, or 2**10 .. 2**16, of the charge of the limit, against that.

    A slow synapse is compared by its first spikes: it tires, and the last of many are late.
    """
    events = [(1.0, 0.7), (3.0, 0.6), (7.0, 1.5), (8.5, -0.4), (9.0, 1.6)]
    base = {"tau_mem": 10.0, "v_reset": -0.125, "bias": bias, "t_ref": t_ref}
    if kind in CHARGED:  # what a spike leaves of a charge fires again, that of a jump does not
        del base["tau_mem"]
        base |= {"bias": bias / 10.0, "t_ref": t_ref or 0.25}
    limit = "if_ramp" if slow else "if" if kind in CHARGED else "delta"
    height = unit_weight(limit, {}) if slow else 1.0
    exact = truth_of(alone(limit, base, [(t, height * w) for t, w in events]), subject.accuracy)
    powers, trains = (10, 12, 14, 16) if slow else (8, 10, 12, 14), []
    most = FIRST if slow else None
    for power in powers:
        tau = 2.0 ** (power if slow else -power)
        # The charge of a jump: tau_m times its height, whatever the form of the pulse.
        charge = height if slow else base.get("tau_mem", 1.0) / tau ** (1 + (kind == "alpha"))
        case = alone(kind, {**base, "tau_syn": tau}, [(t, w * charge) for t, w in events])
        hi, lo = subject.run(case).trains["p"][0]
        trains.append((hi[:most], lo[:most]))
    jumps, low = exact.trains["p"][0]
    distances = _distances(trains, (jumps[:most], low[:most]), "ramps" if slow else "jumps")
    sign = "" if slow else "-"
    _first_order(subject, distances, "tau_s = " + ", ".join(f"2**{sign}{p}" for p in powers))
