"""Laws of past and future, and of limits: P11, P12, P14, P15."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from evsim.testing.accuracy import EPS
from evsim.testing.case import Case
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
    lambda kind: pairs(neurons(kind), dyadic, st.integers(-24, 72).map(lambda k: k / 8)),
    kinds=SCALED,
    clock=None,
)
def p11(subject: Subject, case: Case, t: float, weight: float) -> None:
    """With and without one arrival more, of weight zero or not."""
    layer = case.layers[0]
    values, events = dict(layer.params), events_of(case)
    last = weight * unit_weight(layer.kind, values)
    cases = [alone(layer.kind, values, [*events, (t, w)], case.until) for w in (0.0, last)]
    truths = [truth_of(x, subject.accuracy) for x in cases]
    slack = max((row.max(initial=0.0) for x in truths for row in x.allowed["p"]), default=0.0)
    edge = t if subject.accuracy.bits and not subject.accuracy.dt else t - 2 * slack
    edge -= subject.accuracy.dt
    before, after = (until_time(subject.run(x).trains, edge) for x in cases)
    names = ("without it", f"with weight {weight} at {t}")
    if subject.accuracy.dt == 0.0 and subject.accuracy.bits:
        same_bits(before, after, names)
    elif all(
        abs(x - edge) > 2 * slack for x in np.concatenate([h for h, _ in truths[0].trains["p"]])
    ):
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
    whole, part = truth_of(case, subject.accuracy), replace(case, until=t)
    early = {k: tuple((s, u) for s, u in train if s <= t) for k, train in case.spikes.items()}
    part = replace(part, spikes=early)
    truths = truth_of(part, subject.accuracy), whole
    full = subject.run(case)
    cut = {
        name: [(hi[keep], lo[keep]) for hi, lo in units for keep in [hi + lo <= t]]
        for name, units in full.trains.items()
    }
    names = (f"the run to {t}", f"the run to {case.until}, up to {t}")
    found = subject.run(part).trains
    if subject.accuracy.bits:
        same_bits(found, cut, names)
    else:
        same(found, cut, truths, names)
    resume = subject.resume
    if resume is not None:
        network, inputs, _ = part.problem()
        late = {k: tuple((s, u) for s, u in train if s > t) for k, train in case.spikes.items()}
        later = replace(case, spikes=late).problem().inputs
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


@law(
    "P15",
    "A synapse that becomes fast, of one charge, becomes a jump: the distance is of first order.",
    "Expand the flow in tau_s.",
    lambda kind: pairs(st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([0.5, 0.0, 0.7])),
    examples=6,
)
def p15(subject: Subject, bias: float, t_ref: float) -> None:
    """tau_s = 2**-8 .. 2**-14 with weight tau_s fixed, against the exact delta synapse."""
    events = [(1.0, 0.7), (3.0, 0.6), (7.0, 1.5), (8.5, -0.4), (9.0, 1.6)]
    base = {"tau_mem": 10.0, "v_reset": -0.125, "bias": bias, "t_ref": t_ref}
    jumps = truth_of(alone("delta", base, events), subject.accuracy).trains["p"][0]
    errors = []
    for power in (8, 10, 12, 14):
        tau = 2.0**-power
        charge = [(t, w * 10.0 / tau) for t, w in events]
        case = alone("lif", {**base, "tau_syn": tau}, charge)
        found = subject.run(case).trains["p"][0]
        if found[0].size != jumps[0].size:
            trains = both(jumps, found, ("jumps", "the answer"))
            what = f"with tau_syn=2**-{power} the spikes are not those of jumps.\n"
            raise Broken(f"{what}{trains}")
        errors.append(float(np.abs((found[0] - jumps[0]) + found[1]).max()))
    ratios = np.divide(errors[:-1], errors[1:])
    floor = 1e3 * EPS * 40.0 + subject.accuracy.jitter
    if not (((ratios > 3.0) & (ratios < 5.0)) | (np.array(errors[1:]) < floor)).all():
        raise Broken(f"for tau_syn = 2**-8, 2**-10, 2**-12, 2**-14 the distances are {errors}; "
                     "by first order each is a quarter of the one before")  # fmt: skip
