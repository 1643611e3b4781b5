r"""Leaky integrate-and-fire neuron with several synapse types, each with its time constant.

.. math::
    \tau_m \dot u = \sum_k i_k - u, \qquad \tau_k \dot i_k = -i_k,              \tag{1}

    u(d) = u_0 e^{-d/\tau_m} + \sum_k i_{k,0} \kappa_k(d),                      \tag{2}

with one :math:`\kappa_k` of `evsim.models.flow` per type, so that time constants may agree
with one another and with that of the membrane. Levels and everything else as in
`evsim.models.lif`; the crossing: `evsim.models.isolate`.

At a crossing of a positive threshold `u` rises, so :math:`\sum_k i_k \ge u = \vartheta`: none
comes after the positive currents have sunk below threshold together.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from evsim.dispatch import INLINE
from evsim.models import adjoint, isolate, verbs
from evsim.models.base import in_form
from evsim.models.flow import SLACK, risen
from evsim.models.held import rise_of_sum
from evsim.models.isolate import sorted_rates
from evsim.models.lif import relevel
from evsim.models.moments import response_change
from evsim.models.refractory import CLAMP, arrived, gone_on
from evsim.models.summit import summit
from evsim.models.tuples import raised, replaced, sum_abs, sum_positive, zeros
from evsim.numerics import exp_neg, exp_phi, log

#: Bounds in time are widened so much: more than their roundings.
WIDER = 1.0 + 1e-9


class MixedKernel(NamedTuple):
    """What the kernels see of a `LIF` with several synapse types; tuples have one per type."""

    rate_mem: Any
    rate_syn: Any
    gap: Any  # |rate_syn - rate_mem|, accurately
    rates: Any  # of all exponentials, from the fastest on
    over: Any  # the same, lessened by the slowest
    over_mem: Any
    over_syn: Any
    theta: Any
    u_reset: Any
    theta_0: Any
    theta_lo: Any
    u_reset_0: Any
    drop: Any
    t_ref: Any
    subtract: int
    strict: int
    refractory: int


def excess(tau_mem, *taus):
    """(rate_mem, gaps, over_mem, over_syn): rates, their distance from that of the membrane,
    and all of them lessened by the slowest, each rounded by itself."""
    tau = np.stack(np.broadcast_arrays(tau_mem, *taus))
    slowest = np.max(tau, axis=0)
    over = (slowest - tau) / tau / slowest
    gap = np.abs(tau[0] - tau[1:]) / tau[0] / tau[1:]
    rates = 1.0 / tau
    if tau.ndim == 1:
        return float(rates[0]), *(
            tuple(map(float, rows)) for rows in (rates[1:], gap)
        ), float(over[0]), tuple(map(float, over[1:]))  # fmt: skip
    return rates[0], tuple(rates[1:]), tuple(gap), over[0], tuple(over[1:])


def mixed_kernel(tau_mem, tau_syn, levels, n: int, arrays: bool) -> MixedKernel:
    """Kernel parameters of a `LIF` with one time constant per synapse type."""
    rate_mem, rate_syn, gap, over_mem, over_syn = excess(tau_mem, *tau_syn)
    rates, over = sorted_rates(tau_mem, *tau_syn)
    return in_form(
        MixedKernel, n, arrays, rate_mem=rate_mem, rate_syn=rate_syn, gap=gap, rates=rates,
        over=over, over_mem=over_mem, over_syn=over_syn, **levels,
    )  # fmt: skip


def responses(rate_mem, rate_syn, gap, em, d):
    """(exp(-d/tau_1), kappa_1(d), exp(-d/tau_2), ...) of (2); `em` = exp(-d/tau_mem)."""
    first = response(rate_mem, rate_syn[0], rate_syn[0], gap[0], em, d)
    if len(gap) == 1:
        return first
    return (*first, *responses(rate_mem, rate_syn[1:], gap[1:], em, d))


@overload(responses, jit_options=INLINE)
def _responses(rate_mem, rate_syn, gap, em, d):
    if len(gap) == 1:
        return lambda rate_mem, rate_syn, gap, em, d: response(
            rate_mem, rate_syn[0], rate_syn[0], gap[0], em, d
        )
    return lambda rate_mem, rate_syn, gap, em, d: (
        response(rate_mem, rate_syn[0], rate_syn[0], gap[0], em, d)
        + responses(rate_mem, rate_syn[1:], gap[1:], em, d)
    )


def response(rate_mem, rate_syn, decay, gap, em, d):
    """(es, kappa) of one type; `decay` is `rate_syn`, or lessened with `em`."""
    ratio, phi = exp_phi(d * gap)
    mem_is_slow = rate_mem <= rate_syn
    slow = em if mem_is_slow else exp_neg(d * decay)
    return (slow * ratio if mem_is_slow else slow), (d * rate_mem) * slow * phi


@overload(response, jit_options=INLINE)
def _response(rate_mem, rate_syn, decay, gap, em, d):
    return response


def decayed(i, c):
    """The currents of all types after the interval of `responses` `c`."""
    return (i[0] * c[0], *decayed(i[1:], c[2:])) if len(i) > 1 else (i[0] * c[0],)


@overload(decayed, jit_options=INLINE)
def _decayed(i, c):
    if len(i) == 1:
        return lambda i, c: (i[0] * c[0],)
    return lambda i, c: (i[0] * c[0],) + decayed(i[1:], c[2:])  # noqa: RUF005


def charge(i, c):
    """What the currents add to the voltage over the interval of `responses` `c`."""
    return i[0] * c[1] + charge(i[1:], c[2:]) if len(i) > 1 else i[0] * c[1]


@overload(charge, jit_options=INLINE)
def _charge(i, c):
    if len(i) == 1:
        return lambda i, c: i[0] * c[1]
    return lambda i, c: i[0] * c[1] + charge(i[1:], c[2:])


MixedKernel.INTERVAL = ("rate_mem", "rate_syn", "gap")  # type: ignore[attr-defined]


@verbs.interval.implement(MixedKernel)
def interval(p, d):
    em = exp_neg(d * p.rate_mem)
    return (em,) + responses(p.rate_mem, p.rate_syn, p.gap, em, d)  # noqa: RUF005


@verbs.step.implement(MixedKernel)
def step(p, c, x):
    # As for `LIF`, with the positive currents for its one: their decay is left out.
    left = x[0] * c[0]
    bound = left + sum_positive(x[1:]) * risen(c[0])
    may = (bound >= p.theta - SLACK * abs(p.theta)) | (x[0] >= p.theta)
    return (left + charge(x[1:], c[1:]),) + decayed(x[1:], c[1:]), may  # noqa: RUF005


@verbs.receive.implement(MixedKernel)
def receive(p, x, port, weight):
    return raised(x, port + 1, weight)


@verbs.next_spike.implement(MixedKernel)
def next_spike(p, x, y):
    return isolate.first_zero(p, x, x[0])


@verbs.next_rise.implement(MixedKernel)
def next_rise(p, x):
    return rise_of_sum(p, x, x[0])


@verbs.earliest.implement(MixedKernel)
def earliest(p, x):
    # As for `LIF`.
    push = sum_positive(x[1:]) - x[0]
    left = p.theta - x[0] - SLACK * (sum_abs(x) + abs(p.theta))
    wait = left / push / p.rate_mem if push > 0.0 else math.inf
    return wait if left > 0.0 else 0.0


@verbs.silent.implement(MixedKernel)
def silent(p, x, y):
    return isolate.still(p, x, y)


@verbs.fire.implement(MixedKernel)
def fire(p, x, s):
    if s == 0.0:
        return replaced(x, 0, x[0] - p.drop if p.subtract else p.u_reset)
    return (p.u_reset,) + decayed(x[1:], verbs.interval(p, s)[1:])  # noqa: RUF005


@verbs.clamp.implement(MixedKernel)
def clamp(p, c, x):
    held = (x[0],) + decayed(x[1:], c[1:])  # noqa: RUF005
    return gone_on(p.refractory, held, verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(MixedKernel)
def receive_clamped(p, x, port, weight):
    free = verbs.receive(p, x, port, weight)
    return arrived(p.refractory, x, free, free)


@verbs.redrive.implement(MixedKernel)
def redrive(p, n, x, busy, old, new):
    relevel(p, n, new)
    return replaced(x, 0, x[0] + (old - new))


@verbs.pulse.implement(MixedKernel)
def pulse(p, n, x, busy, old, new):
    return verbs.redrive(p, n, x, busy, old, new)  # refused by `Network.connect`


@verbs.voltage.implement(MixedKernel)
def voltage(p, x, drive):
    return x[0] + drive


@isolate.observe.implement(MixedKernel)
def observe(p):
    return (0.0, 1.0) + zeros(p.rate_syn)  # noqa: RUF005


@isolate.operate.implement(MixedKernel)
def operate(p, f, rate, scaled):
    g = replaced(f, 0, f[0] * rate)
    g = replaced(g, 1, f[1] * (rate - (p.over_mem if scaled else p.rate_mem)))
    for k in range(len(p.rate_syn)):
        own = p.over_syn[k] if scaled else p.rate_syn[k]
        g = replaced(g, k + 2, f[k + 2] * (rate - own) + f[1] * p.rate_mem)
    return g


@isolate.flowed.implement(MixedKernel)
def flowed(p, x, s, scaled):
    leak = s * (p.over_mem if scaled else p.rate_mem)
    em, phi = exp_phi(leak)
    rise, u, y = -(x[0] * (leak * phi)), x[0] * em, x
    size = abs(rise)
    for k in range(len(p.rate_syn)):
        own = p.over_syn[k] if scaled else p.rate_syn[k]
        es, kappa = response(p.rate_mem, p.rate_syn[k], own, p.gap[k], em, s)
        gain = x[k + 1] * kappa
        rise += gain
        u += gain
        size += abs(gain)
        y = replaced(y, k + 1, x[k + 1] * es)
    return replaced(y, 0, u), rise, size


@isolate.latest.implement(MixedKernel)
def latest(p, x):
    push = sum_positive(x[1:])
    if push <= p.theta:
        return 0.0
    slowest = math.inf
    for k in range(len(p.rate_syn)):
        if x[k + 1] > 0.0:
            slowest = min(slowest, p.rate_syn[k])
    return log(min(push / p.theta, 1e300)) / slowest * WIDER


@isolate.magnitude.implement(MixedKernel)
def magnitude(p, x):
    return sum_abs(x)


#: "tau_syn" stands for one parameter per type.
MixedKernel.FLOW = ("tau_mem", "tau_syn")  # type: ignore[attr-defined]
MixedKernel.RESET = ("u_reset", "drop")  # type: ignore[attr-defined]


@adjoint.pull.implement(MixedKernel)
def pull(p, d, x, lam):
    em = exp_neg(d * p.rate_mem)
    back, change = replaced(lam, 0, lam[0] * em), lam
    tau_mem = lam[0] * x[0] * (d * p.rate_mem * p.rate_mem * em)
    for k in range(len(p.rate_syn)):
        own = p.rate_syn[k]
        _, es, kappa, by_mem, by_syn = response_change(p.rate_mem, own, p.gap[k], d)
        tau_mem += lam[0] * x[k + 1] * by_mem
        fade = lam[k + 1] * (d * own * own * es)
        change = replaced(change, k + 1, (lam[0] * by_syn + fade) * x[k + 1])
        back = replaced(back, k + 1, lam[0] * kappa + lam[k + 1] * es)
    return back, replaced(change, 0, tau_mem)


@adjoint.pull_held.implement(MixedKernel)
def pull_held(p, d, x, lam):
    back, change = lam, replaced(lam, 0, 0.0)
    for k in range(len(p.rate_syn)):
        own = p.rate_syn[k]
        es = exp_neg(d * own)
        change = replaced(change, k + 1, lam[k + 1] * (d * own * own * es) * x[k + 1])
        back = replaced(back, k + 1, lam[k + 1] * es)
    return (back, change) if p.refractory == CLAMP else adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(MixedKernel)
def drift(p, x):
    y, push = x, -x[0]
    for k in range(len(p.rate_syn)):
        push += x[k + 1]
        y = replaced(y, k + 1, -x[k + 1] * p.rate_syn[k])
    return replaced(y, 0, push * p.rate_mem)


@adjoint.held.implement(MixedKernel)
def held(p, x):
    free = adjoint.drift(p, x)
    return gone_on(p.refractory, replaced(free, 0, 0.0), free)


@adjoint.lag.implement(MixedKernel)
def lag(p, y, j):
    return adjoint.scaled(adjoint.drift(p, j), -1.0)


@adjoint.lag_held.implement(MixedKernel)
def lag_held(p, y, j):
    return adjoint.scaled(adjoint.held(p, j), -1.0)


@adjoint.height.implement(MixedKernel)
def height(p, x):
    return x[0] - p.theta


@adjoint.normal.implement(MixedKernel)
def normal(p, x, value):
    return replaced(adjoint.scaled(x, 0.0), 0, value)


@adjoint.pull_reset.implement(MixedKernel)
def pull_reset(p, x, lam, at_once):
    through = at_once and p.subtract != 0
    return (lam, (0.0, -lam[0])) if through else (replaced(lam, 0, 0.0), (lam[0], 0.0))


@adjoint.pull_spike.implement(MixedKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    y, _ = verbs.step(p, verbs.interval(p, d), x)
    y = x if at_once else replaced(y, 0, p.theta)
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(MixedKernel)
def peak(p, x, d, best):
    if max(x[0], sum_positive(x[1:]), 0.0) - p.theta <= best:
        return best
    return summit(p, x, d, x[0] - p.theta, best)


@adjoint.crest.implement(MixedKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
