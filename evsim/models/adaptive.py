r"""Leaky integrate-and-fire neuron whose threshold moves: it jumps at each spike, and decays.

.. math::
    \tau_m \dot u = i - u, \qquad \tau_s \dot i = -i, \qquad
    \tau_{th} \dot A = -A,                                                      \tag{1}

it fires where :math:`u` reaches :math:`\vartheta + A`, and then `A` jumps by `jump_th`. The flow
of `u` and `i`: `evsim.models.flow`; levels: `evsim.models.lif`; the crossing of the distance
:math:`u - A`: `evsim.models.isolate`.

At a crossing :math:`\dot u \ge \dot A`, that is :math:`i + A (\tau_m/\tau_{th} - 1) \ge
\vartheta`: with a positive threshold, none comes after the positive ones of these two terms have
sunk below it together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.models import adjoint, isolate, verbs
from evsim.models.base import Neuron, exact_sum, in_form
from evsim.models.flow import SLACK, exponential, risen
from evsim.models.held import rise_of_sum
from evsim.models.isolate import sorted_rates
from evsim.models.lif import GRAZE, RESET, levels, relevel
from evsim.models.linear import CURRENT, THRESHOLD, Component, Linear, leaky
from evsim.models.mixed import WIDER, excess, response
from evsim.models.moments import response_change
from evsim.models.refractory import CLAMP, REFRACTORY, arrived, gone_on
from evsim.models.summit import summit
from evsim.numerics import exp_neg, exp_phi, log


@dataclass(frozen=True, kw_only=True)
class AdaptiveLIF(Neuron):
    """Leaky integrate-and-fire neuron with an adaptive threshold; equation (1).

    Parameters as of `LIF`, and those below. The threshold is `v_th` + A; variables of the
    initial state: `v`, `i`, `th`, the last one being A, by default 0. A reset "subtract"
    lowers the voltage by `v_th - v_reset`, whatever A is.

    Parameters
    ----------
    tau_th : float or array_like, shape (n,)
        Time constant of the threshold [s].
    jump_th : float or array_like, shape (n,)
        What a spike adds to the threshold, in units of voltage; of any sign. A neuron that
        is left above its threshold fires again at once; without a refractory period that is
        a `ZenoError`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    tau_mem: Any
    tau_syn: Any
    tau_th: Any
    jump_th: Any
    v_th: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    reset: str = "value"
    refractory: str = "clamp"
    graze: str = ">="

    positive: ClassVar = ("tau_mem", "tau_syn", "tau_th")
    non_negative: ClassVar = ("t_ref",)
    choices: ClassVar = {"reset": RESET, "refractory": REFRACTORY, "graze": GRAZE}
    state: ClassVar = ("v", "i", "th")

    def compile(self, n: int, arrays: bool) -> AdaptiveKernel:
        """Kernel parameters, all scalar or all arrays of `n`."""
        taus = self.tau_mem, self.tau_syn, self.tau_th
        rate_mem, others, gap, over_mem, over = excess(*taus)
        rates, all_over = sorted_rates(*taus)
        return in_form(
            AdaptiveKernel, n, arrays, rate_mem=rate_mem, rate_syn=others[0], gap=gap[0],
            rate_th=others[1], jump_th=self.jump_th, rates=rates, over=all_over,
            over_mem=over_mem, over_syn=over[0], over_th=over[1], **levels(self),
        )  # fmt: skip

    def linear(self) -> Linear:
        """Its equations, for proofs."""
        moving = Component(THRESHOLD, self.tau_th, self.jump_th)
        return leaky(self, (Component(CURRENT, self.tau_syn), moving), lag=0)

    def rest(self) -> float | np.ndarray:
        """The level to which the voltage relaxes without input."""
        return exact_sum(self.v_leak, self.bias)


class AdaptiveKernel(NamedTuple):
    """What the kernels see of an `AdaptiveLIF`; see `MixedKernel`."""

    rate_mem: Any
    rate_syn: Any
    gap: Any
    rate_th: Any
    jump_th: Any
    rates: Any
    over: Any
    over_mem: Any
    over_syn: Any
    over_th: Any
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


#: Which state variable raises the threshold.
AdaptiveKernel.raises = 2  # type: ignore[attr-defined]


AdaptiveKernel.INTERVAL = ("rate_mem", "rate_syn", "gap", "rate_th")  # type: ignore[attr-defined]


@verbs.interval.implement(AdaptiveKernel)
def interval(p, d):
    slow, mem_is_slow = min(p.rate_mem, p.rate_syn), p.rate_mem <= p.rate_syn
    em, es, kappa = exponential(p.rate_mem, slow, p.gap, mem_is_slow, d)
    return em, es, kappa, exp_neg(d * p.rate_th)


@verbs.step.implement(AdaptiveKernel)
def step(p, c, x):
    # The largest that the voltage of `LIF` can be, against the lower end of the threshold.
    u, i, th = x
    em, es, kappa, fade = c
    left, later = u * em, th * fade
    bound = left + (i if i > 0.0 else 0.0) * risen(em)
    bar = p.theta + min(th, later) - SLACK * (abs(p.theta) + abs(th))
    return (left + i * kappa, i * es, later), (bound >= bar) | (u >= bar)


@verbs.receive.implement(AdaptiveKernel)
def receive(p, x, port, weight):
    return x[0], x[1] + weight, x[2]


@verbs.next_spike.implement(AdaptiveKernel)
def next_spike(p, x, y):
    return isolate.first_zero(p, x, x[0] - x[2])


@verbs.next_rise.implement(AdaptiveKernel)
def next_rise(p, x):
    return rise_of_sum(p, x, x[0] - x[2])


@verbs.earliest.implement(AdaptiveKernel)
def earliest(p, x):
    # After the last time at F(0) before a crossing, u - A is above u0 - A0, and A above min(A0, 0):
    # u is above u0 - max(A0, 0), and F rises no faster than with that.
    u, i, th = x
    high, push = max(th, 0.0), max(i, 0.0)
    left = p.theta - (u - th) - SLACK * (abs(u) + abs(i) + abs(th) + abs(p.theta))
    speed = (push - u + high) * p.rate_mem + high * p.rate_th
    wait = left / speed if speed > 0.0 else math.inf
    return wait if left > 0.0 else 0.0


@verbs.silent.implement(AdaptiveKernel)
def silent(p, x, y):
    return isolate.still(p, x, y)


@verbs.fire.implement(AdaptiveKernel)
def fire(p, x, s):
    u, i, th = x
    if s == 0.0:
        return (u - p.drop if p.subtract else p.u_reset), i, th + p.jump_th
    _, es, _, fade = verbs.interval(p, s)
    later = th * fade
    # At the crossing u = theta + A.
    return (p.u_reset + later if p.subtract else p.u_reset), i * es, later + p.jump_th


@verbs.clamp.implement(AdaptiveKernel)
def clamp(p, c, x):
    held = (x[0], x[1] * c[1], x[2] * c[3])
    return gone_on(p.refractory, held, verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(AdaptiveKernel)
def receive_clamped(p, x, port, weight):
    free = verbs.receive(p, x, port, weight)
    return arrived(p.refractory, x, free, free)


@verbs.redrive.implement(AdaptiveKernel)
def redrive(p, n, x, busy, old, new):
    relevel(p, n, new)
    return x[0] + (old - new), x[1], x[2]


@verbs.pulse.implement(AdaptiveKernel)
def pulse(p, n, x, busy, old, new):
    relevel(p, n, new)
    return x[0] + (old - new), x[1] + (old - new), x[2]


@verbs.voltage.implement(AdaptiveKernel)
def voltage(p, x, drive):
    return x[0] + drive


@isolate.observe.implement(AdaptiveKernel)
def observe(p):
    return 0.0, 1.0, 0.0, -1.0


@isolate.operate.implement(AdaptiveKernel)
def operate(p, f, rate, scaled):
    mem = rate - (p.over_mem if scaled else p.rate_mem)
    syn = rate - (p.over_syn if scaled else p.rate_syn)
    fade = rate - (p.over_th if scaled else p.rate_th)
    return f[0] * rate, f[1] * mem, f[2] * syn + f[1] * p.rate_mem, f[3] * fade


@isolate.flowed.implement(AdaptiveKernel)
def flowed(p, x, s, scaled):
    u, i, th = x
    leak = s * (p.over_mem if scaled else p.rate_mem)
    em, phi = exp_phi(leak)
    own = p.over_syn if scaled else p.rate_syn
    es, kappa = response(p.rate_mem, p.rate_syn, own, p.gap, em, s)
    sink = s * (p.over_th if scaled else p.rate_th)
    fade, phi_th = exp_phi(sink)
    fall, gain, gap = u * (leak * phi), i * kappa, th * (sink * phi_th)
    y = (u * em + gain, i * es, th * fade)
    return y, (gain - fall) + gap, abs(fall) + abs(gain) + abs(gap)


@isolate.latest.implement(AdaptiveKernel)
def latest(p, x):
    i, drift = x[1], x[2] * ((p.rate_th - p.rate_mem) / p.rate_mem)
    push = max(i, 0.0) + max(drift, 0.0)
    if push <= p.theta:
        return 0.0
    slowest = min(p.rate_syn if i > 0.0 else math.inf, p.rate_th if drift > 0.0 else math.inf)
    return log(min(push / p.theta, 1e300)) / slowest * WIDER


@isolate.magnitude.implement(AdaptiveKernel)
def magnitude(p, x):
    return abs(x[0]) + abs(x[1]) + abs(x[2])


AdaptiveKernel.FLOW = ("tau_mem", "tau_syn", "tau_th")  # type: ignore[attr-defined]
AdaptiveKernel.RESET = ("u_reset", "drop", "jump_th")  # type: ignore[attr-defined]


@adjoint.pull.implement(AdaptiveKernel)
def pull(p, d, x, lam):
    em, es, kappa, by_mem, by_syn = response_change(p.rate_mem, p.rate_syn, p.gap, d)
    fade = exp_neg(d * p.rate_th)
    tau_mem = lam[0] * (x[0] * (d * p.rate_mem * p.rate_mem * em) + x[1] * by_mem)
    tau_syn = (lam[0] * by_syn + lam[1] * (d * p.rate_syn * p.rate_syn * es)) * x[1]
    tau_th = lam[2] * (d * p.rate_th * p.rate_th * fade) * x[2]
    back = lam[0] * em, lam[0] * kappa + lam[1] * es, lam[2] * fade
    return back, (tau_mem, tau_syn, tau_th)


@adjoint.pull_held.implement(AdaptiveKernel)
def pull_held(p, d, x, lam):
    es, fade = exp_neg(d * p.rate_syn), exp_neg(d * p.rate_th)
    tau_syn = lam[1] * (d * p.rate_syn * p.rate_syn * es) * x[1]
    tau_th = lam[2] * (d * p.rate_th * p.rate_th * fade) * x[2]
    clamped = (lam[0], lam[1] * es, lam[2] * fade), (0.0, tau_syn, tau_th)
    return clamped if p.refractory == CLAMP else adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(AdaptiveKernel)
def drift(p, x):
    return (x[1] - x[0]) * p.rate_mem, -x[1] * p.rate_syn, -x[2] * p.rate_th


@adjoint.held.implement(AdaptiveKernel)
def held(p, x):
    free = adjoint.drift(p, x)
    return gone_on(p.refractory, (0.0, free[1], free[2]), free)


@adjoint.lag.implement(AdaptiveKernel)
def lag(p, y, j):
    return adjoint.scaled(adjoint.drift(p, j), -1.0)


@adjoint.lag_held.implement(AdaptiveKernel)
def lag_held(p, y, j):
    return adjoint.scaled(adjoint.held(p, j), -1.0)


@adjoint.height.implement(AdaptiveKernel)
def height(p, x):
    return x[0] - x[2] - p.theta


@adjoint.normal.implement(AdaptiveKernel)
def normal(p, x, value):
    return value, 0.0, -value


@adjoint.pull_reset.implement(AdaptiveKernel)
def pull_reset(p, x, lam, at_once):
    if p.subtract and at_once:
        return lam, (0.0, -lam[0], lam[2])
    # At a crossing u = theta + A, so that what "subtract" leaves of u is A.
    kept = lam[2] + lam[0] if p.subtract else lam[2]
    return (0.0, lam[1], kept), (lam[0], 0.0, lam[2])


@adjoint.pull_spike.implement(AdaptiveKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    _, es, _, fade = verbs.interval(p, d)
    y = x if at_once else (p.theta + x[2] * fade, x[1] * es, x[2] * fade)
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(AdaptiveKernel)
def peak(p, x, d, best):
    if max(x[0], x[1], 0.0) - min(x[2], 0.0) - p.theta <= best:
        return best
    return summit(p, x, d, x[0] - x[2] - p.theta, best)


@adjoint.crest.implement(AdaptiveKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
