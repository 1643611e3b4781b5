r"""Laws of voltages and of first spikes: P6, P8, P10, P13; those of charge are in `charge`.

Whoever gives spikes only still shows the voltage where it reaches the threshold. For one `LIF`
at rest until the first spike, each arrival lifts it by

.. math::
    w \, \kappa(s), \qquad \kappa(s) = \frac{\tau_s}{\tau_m - \tau_s}
        \left(e^{-s/\tau_m} - e^{-s/\tau_s}\right), \quad
    \kappa(s) = \frac{s}{\tau} e^{-s/\tau} \text{ where they are equal.}       \tag{1}
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
from hypothesis import strategies as st

from evsim.testing.accuracy import EPS
from evsim.testing.case import KINDS, Case
from evsim.testing.judge import both, same, train
from evsim.testing.law import law
from evsim.testing.laws.scales import SCALED, pairs
from evsim.testing.strategies import (
    alone,
    events_of,
    grazing_cases,
    neurons,
    unit_weight,
)
from evsim.testing.subject import Broken, Subject, Unclear
from evsim.testing.truth import Truth, truth_of

SUPERPOSED = tuple(k for k in SCALED if k != "qif")


@law(
    "P6",
    "Below threshold the voltage is the sum of what each arrival alone would cause.",
    "The equations are linear until a spike: the sum of (1) is at threshold at the first one.",
    lambda kind: pairs(neurons(kind, least=1), st.integers(0, 255)),
    kinds=SUPERPOSED,
    clock=None,
)
def p6(subject: Subject, case: Case, mask: int) -> None:
    """At the first spike by (1); everywhere, if the answers know the voltage."""
    answer = subject.run(case)
    if case.layers[0].kind == "lif":
        _first_by_superposition(subject, case, answer.trains["p"][0])
    silent = case.with_params(v_th=1e6)
    t = np.linspace(0.0, case.until, 33)
    whole = subject.run(silent)
    v = subject.voltage(whole, "p", 0, t)
    if v is None:
        return
    if whole.count():
        raise Broken("a neuron fires far below its threshold")
    values, kind = dict(silent.layers[0].params), silent.layers[0].kind
    events = events_of(case)
    parts = []
    for keep in (True, False, None):
        some = [(s, w * (bool(mask >> m & 1) == keep)) for m, (s, w) in enumerate(events)]
        run = subject.run(alone(kind, values, some, case.until))
        parts.append(subject.voltage(run, "p", 0, t))
    size = 2.0 + lift(kind, values, events, case.until) + abs(values["bias"]) * (1 + case.until)
    allowed = 24 / 2.5 * subject.accuracy.allowed(case)[0] * EPS * (len(events) + 1) * size
    off = np.abs(v + parts[2] - parts[0] - parts[1])
    if off.max() > allowed:
        k = int(np.argmax(off))
        raise Broken(f"at t={t[k]} the sum of the parts is off by {off[k]:.3g} of {v[k]!r}; "
                     f"{allowed:.3g} is allowed")  # fmt: skip


def lift(kind: str, values: dict, events: list, until: float) -> float:
    """How high the arrivals could lift the voltage, had they one sign, and nothing else did."""
    total = math.fsum(abs(w) for _, w in events)
    if kind in ("alpha", "if_exp"):
        return total * values["tau_syn"]
    return total * (until if kind == "if_ramp" else 1.0)


def _first_by_superposition(subject: Subject, case: Case, found) -> None:
    """The sum of (1) passes the threshold within the allowed error of the first spike."""
    truth = truth_of(case, subject.accuracy)
    if not found[0].size or not truth.allowed["p"][0].size:
        return
    slack = float(truth.allowed["p"][0][0])
    with mpmath.workdps(40):  # a spike's low part counts
        t = mpmath.mpf(float(found[0][0])) + float(found[1][0])
        before, after = (_above(case, s) for s in (max(t - slack, mpmath.mpf(0)), t + slack))
    if not (before <= 0 <= after or _jumped(case, t)):
        values = f"{float(before):.3g} just before and {float(after):.3g} just after"
        raise Broken(f"the voltage above threshold is {values} the first spike, {float(t)!r}")


def _above(case: Case, t) -> mpmath.mpf:
    """The sum of (1) over the arrivals, and rest, minus threshold."""
    p = case.layers[0].params
    m, s = mpmath.mpf(p["tau_mem"]), mpmath.mpf(p["tau_syn"])
    leak, level = mpmath.mpf(p.get("v_leak", 0.0)), mpmath.mpf(p.get("bias", 0.0))
    v = leak + level * (1 - mpmath.exp(-t / m))
    for when, w in events_of(case):
        d = t - when
        if d > 0:
            v += w * (d / m * mpmath.exp(-d / m) if m == s
                      else s / (m - s) * (mpmath.exp(-d / m) - mpmath.exp(-d / s)))  # fmt: skip
    return v - mpmath.mpf(p.get("v_th", 1.0))


def _jumped(case: Case, t) -> bool:
    """A first spike at time 0 comes from the start, which is none of the arrivals' doing."""
    p = case.layers[0].params
    return t == 0 and p.get("v_leak", 0.0) >= p.get("v_th", 1.0)


@law(
    "P8",
    "More weight, or more bias, never delays the first spike.",
    "Until then the voltage is a sum of non-negative responses times the weights; see P6.",
    lambda kind: pairs(
        neurons(kind, least=1, positive=True),
        st.integers(1, 16).map(lambda k: k / 8) | st.sampled_from([1e-3, 1e-6]),
        st.integers(0, 7),
    ),
    kinds=SCALED,
    clock=None,
)  # fmt: skip
def p8(subject: Subject, case: Case, more: float, which: int) -> None:
    """It may delay later ones, and recurrent networks obey nothing of the kind."""
    events, layer = events_of(case), case.layers[0]
    values, which = dict(layer.params), which % len(events)
    stronger = list(events)
    stronger[which] = (events[which][0], events[which][1] + more * unit_weight(layer.kind, values))
    biased = {**values, "bias": values["bias"] + more}
    others = {
        f"arrival {which} stronger": alone(layer.kind, values, stronger, case.until),
        f"the bias larger by {more}": alone(layer.kind, biased, events, case.until),
    }
    truth, base = truth_of(case, subject.accuracy), subject.run(case).trains["p"][0]
    if not base[0].size:
        return
    slack = _of_first(truth)
    for words, other in others.items():
        found = subject.run(other).trains["p"][0]
        spare = slack + _of_first(truth_of(other, subject.accuracy))
        later = found[0].size and (found[0][0] - base[0][0]) + (found[1][0] - base[1][0])
        if not found[0].size or later > spare:
            raise Broken(f"with {words}, the first spike is later, or missing.\n"
                         + both(base, found, ("the run", f"with {words}")))  # fmt: skip


def _of_first(truth: Truth) -> float:
    """What the first spike may be off."""
    row = truth.allowed["p"][0]
    return float(row[0]) if row.size else 0.0


@law(
    "P10",
    "Nobody fires again within its refractory time; right after it, it may.",
    "Refractoriness is a real number of seconds, from the spike on; a constant input then gives "
    "intervals of t_ref + tau_m ln((x - v_reset) / (x - v_th)), x = v_leak + bias.",
    lambda kind: pairs(neurons(kind), st.sampled_from([0.0, 0.7, 1.234375, 1e-3, 3.0])),
    kinds=SCALED,
    clock=None,
)
def p10(subject: Subject, case: Case, t_ref: float) -> None:
    """On any input; then on a bias alone, where the intervals have a closed form."""
    case, exact = case.with_params(t_ref=t_ref), subject.accuracy.exact
    if not exact:
        truth_of(case, subject.accuracy)
    _, jitter = subject.accuracy.allowed(case)
    slack = 2.0**-100 * case.until if exact else 2 * jitter + 2.0**-50 * case.until
    hi, lo = subject.run(case).trains["p"][0]
    gaps = np.diff(hi) + np.diff(lo)
    if (gaps < t_ref - slack).any():
        k = int(np.argmin(gaps))
        raise Broken(f"spikes {k} and {k + 1} are {gaps[k]!r} apart, less than t_ref={t_ref}: "
                     f"{train((hi, lo))}")  # fmt: skip
    if case.layers[0].kind == "lif":
        biased = case.with_params(bias=2.0, v_leak=0.0, refractory="clamp")
        _regular(subject, biased, t_ref)


def _regular(subject: Subject, case: Case, t_ref: float) -> None:
    case = alone("lif", dict(case.layers[0].params), [], case.until)
    p = case.layers[0].params
    truth = truth_of(case, subject.accuracy)
    hi, lo = subject.run(case).trains["p"][0]
    first = p["tau_mem"] * math.log(2.0 / (2.0 - p.get("v_th", 1.0)))
    gap = t_ref + p["tau_mem"] * math.log((2.0 - p["v_reset"]) / (2.0 - p.get("v_th", 1.0)))
    expected = np.arange(first, case.until, gap)
    spare = truth.allowed["p"][0]
    if hi.size != spare.size or (np.abs(hi + lo - expected[: hi.size]) > spare + 1e-13 * hi).any():
        names = "first, then every", "the answer"
        raise Broken("a constant bias of twice the threshold fires like a clock.\n"
                     + both((expected, expected), (hi, lo), names))  # fmt: skip


@law(
    "P13",
    "A neuron is silent if and only if its voltage stays below threshold, by however little.",
    "The unreset voltage is linear in the weights: its maximum can be put next to the threshold.",
    lambda kind: pairs(grazing_cases()),
    examples=60,
)
def p13(subject: Subject, case: Case) -> None:
    """Grazing by construction, within 2**-17 to 2**-40 of the threshold, on both sides."""
    truth = truth_of(case, subject.accuracy)
    found = subject.run(case).trains
    same(truth.trains, found, [truth], ("the exact solution", "the answer"))


@law(
    "P13w",
    "A weight decides where the peak of one response is the threshold.",
    "The peak of one response has a closed form.",
    lambda kind: pairs(st.just(kind), st.sampled_from([-1, 1]), st.integers(17, 40)),
    kinds=tuple(KINDS),
)
def p13w(subject: Subject, kind: str, side: int, power: int) -> None:
    """One arrival at time 0 at rest; nobody fires below, everybody above.

    A ramp is taken back after a unit of time, when it has reached its height.
    """
    syn = 10.0 if kind == "alpha" else 4.0
    mem = {"tau_mem": 10.0, "tau_syn": syn}
    base: dict[str, dict] = {
        "lif": mem,
        "delta": {"tau_mem": 10.0},
        "if": {},
        "if_exp": {"tau_syn": syn},
        "if_ramp": {},
        "alpha": mem,
        "qif": {"tau": 10.0, "bias": -4.0, "v_reset": -1.0},
        "adaptive": {**mem, "tau_th": 30.0, "jump_th": 0.5},
        "mixed": {**mem, "tau_syn": {"exc": syn, "inh": 8.0, "slow": 10.0}},
    }
    weight = PEAKS[kind] * (1.0 + side * 2.0**-power)
    back = [(1.0, -weight)] if kind == "if_ramp" else []
    case = alone(kind, base[kind], [(0.0, weight), *back], 400.0)
    if subject.accuracy.roundings * 2.0**-48 > 2.0**-power:
        raise Unclear("too close")
    found = subject.run(case)
    if found.count() != (side > 0):
        what = "above" if side > 0 else "below"
        raise Broken(f"a weight 2**-{power} {what} what reaches the threshold gives "
                     f"{found.count()} spikes")  # fmt: skip
    if getattr(found.raw, "undecided", None):
        raise Broken(f"this is not in doubt, but is reported so: {found.raw.undecided}")


#: Weight of one arrival at rest whose peak, or final level, or separatrix is the threshold 1.
PEAKS = {
    **dict.fromkeys(("lif", "mixed", "adaptive"), 2.5 ** (1 / 0.6)),  # of r ** (1 / (1 - r))
    "alpha": math.e**2 / 20.0,  # both time constants 10: w s**2 / 20 exp(-s / 10), at s = 20
    "delta": 1.0,
    "if": 1.0,
    "if_ramp": 1.0,
    "if_exp": 0.25,  # w tau_syn
    "qif": 2.0,  # bias -4
}
