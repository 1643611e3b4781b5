r"""Laws of charge: P9. What comes in is what leaks, what stays, and what spikes take.

Integrated over a run, with n spikes and :math:`\bar v` the level that the voltage relaxes to,

.. math::
    \tau_m \left(V(T) - V(0) + n (v_{th} - v_{reset})\right) + \int_0^T (V - \bar v) \, dt
        = \sum_k q_k(T) ,                                                     \tag{1}

where an arrival of weight w has brought :math:`q = w \tau_s (1 - e^{-s/\tau_s})` after s; without
a leak the left side is the first term, over :math:`\tau_m`.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from evsim.testing.accuracy import EPS
from evsim.testing.case import CHARGED, TYPES, Case
from evsim.testing.judge import train
from evsim.testing.law import law
from evsim.testing.laws.forces import SUPERPOSED, lift
from evsim.testing.laws.scales import pairs
from evsim.testing.strategies import alone, events_of, neurons, time_constants, trains
from evsim.testing.subject import Broken, NotApplicable, Subject, Unclear
from evsim.testing.truth import MANY, truth_of


@law(
    "P9",
    "Charge is conserved: without a leak, a neuron fires once for each threshold of charge.",
    "Integrate the equations: tau_s times the weights is the charge; a spike takes v_th - v_reset.",
    lambda kind: pairs(
        time_constants(equal=False), trains(least=1), st.sampled_from([0.0, -0.25, 0.375]),
        st.integers(1, 20).map(lambda k: k - 0.02) | st.integers(1, 20).map(lambda k: k + 0.02),
    ),
    clock=None,
)  # fmt: skip
def p9(subject: Subject, taus: tuple, events: list, v_reset: float, count: float) -> None:
    """A membrane 2**40 times slower than the synapse; input that only excites.

    The charge is that of `count` spikes: two hundredths of a spike more, or less, than a whole
    number of them.
    """
    tau_mem, tau_syn = 2.0**40, taus[1]
    total = math.fsum(abs(w) for _, w in events)
    if total < 1e-2:
        raise Unclear("no charge")
    charge = (1.0 + (1.0 - v_reset) * (count - 1.0)) * tau_mem / tau_syn / total
    until = 30.0 + 60.0 * tau_syn
    values = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_reset": v_reset}
    case = alone("lif", values, [(t, abs(w) * charge) for t, w in events], until)
    truth_of(case, subject.accuracy)
    found = subject.run(case).trains["p"][0]
    if found[0].size != math.floor(count):
        raise Broken(f"the charge is that of {count} spikes, and makes {found[0].size}: "
                     f"{train(found)}")  # fmt: skip


@law(
    "P9v",
    "Charge is conserved in the voltage: what came in has leaked, or is there, or went in spikes.",
    "Integrate the equations over the run: (1) of `evsim.testing.laws.charge`.",
    lambda kind: pairs(neurons(kind)),
    kinds=SUPERPOSED,
)
def p9v(subject: Subject, case: Case) -> None:
    """For answers that know the voltage; integrated by Gauss's rule between all events."""
    case = case.with_params(t_ref=0.0, reset="subtract", refractory="clamp")
    layer, events = case.layers[0], events_of(case)
    values, kind = dict(layer.params), layer.kind
    answer = subject.run(case)
    spikes = answer.trains["p"][0][0]
    if spikes.size > MANY:
        raise Unclear("too many spikes")
    times = [t for t, _ in events]
    cuts = np.unique(np.concatenate([np.arange(0.0, case.until + 1, 2.0), times, spikes]))
    nodes, gauss = np.polynomial.legendre.leggauss(20)  # exp(-x) on x < 4 to far beyond eps
    half, middle = np.diff(cuts) / 2, (cuts[1:] + cuts[:-1]) / 2
    v = subject.voltage(answer, "p", 0, (middle[:, None] + half[:, None] * nodes).ravel())
    end = subject.voltage(answer, "p", 0, np.array([case.until]))
    if v is None or end is None:
        raise NotApplicable("the answer does not know the voltage")
    leaky = kind not in CHARGED
    tau, start = (values["tau_mem"], values["v_leak"]) if leaky else (1.0, 0.0)
    level = (v - start - values["bias"]).reshape(half.size, -1)
    area = half @ (level @ gauss) if leaky else -values["bias"] * case.until
    taken = spikes.size * (values.get("v_th", 1.0) - values["v_reset"])
    balance = tau * (float(end[0]) - start + taken) + area - brought(case)
    syn = values.get("tau_syn", 1.0)
    slow = max(syn.values()) if isinstance(syn, dict) else syn
    size = 1 + np.abs(v).max() + lift(kind, values, events, case.until)
    size *= tau + slow + case.until
    allowed = 6 / 2.5 * subject.accuracy.allowed(case)[0] * EPS * (spikes.size + cuts.size) * size
    if abs(balance) > allowed:
        raise Broken(f"charge of {balance:.3g} is missing, or too much; {allowed:.3g} is allowed")


def brought(case: Case) -> float:
    """The right side of (1)."""
    layer, kind = case.layers[0], case.layers[0].kind
    syn, parts = layer.params.get("tau_syn", 1.0), []
    for k, (t, w) in enumerate(events_of(case)):
        s = case.until - t
        if kind in ("delta", "if"):
            parts.append(w * (layer.params["tau_mem"] if kind == "delta" else 1.0))
        elif kind == "if_ramp":
            parts.append(w * s)
        elif kind == "alpha":
            parts.append(w * syn**2 * (-math.expm1(-s / syn) - s / syn * math.exp(-s / syn)))
        else:
            tau = syn[TYPES[k % len(TYPES)]] if kind == "mixed" else syn
            parts.append(-w * tau * math.expm1(-s / tau))
    return math.fsum(parts)
