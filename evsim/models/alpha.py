r"""Leaky integrate-and-fire neuron with an alpha synapse: its current rises before it decays.

.. math::
    \tau_m \dot u = i - u, \qquad \tau_s \dot i = -i + \tau_s a, \qquad
    \tau_s \dot a = -a,                                                         \tag{1}

    i(d) = (i_0 + a_0 d) e^{-d/\tau_s}, \qquad
    u(d) = u_0 e^{-d/\tau_m} + i_0 \kappa(d) + a_0 \kappa_2(d),                 \tag{2}

    \kappa_2(d) = \frac{d^2}{\tau_m} \begin{cases}
        e^{-d/\tau_m} e^{-x} h(x)  & \tau_m \ge \tau_s, \\
        e^{-d/\tau_s} h(-x)        & \tau_m < \tau_s,
    \end{cases} \qquad h(x) = \frac{e^x - 1 - x}{x^2},                          \tag{3}

with :math:`x = d\,|1/\tau_s - 1/\tau_m|` and :math:`\kappa` of `evsim.models.flow`. Equal time
constants are the case x = 0. For x below 1.4, `h` is its Taylor polynomial of degree 20.
Levels as in `evsim.models.lif`; the crossing: `evsim.models.isolate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.jit import inline_kernel
from evsim.models import adjoint, isolate, verbs
from evsim.models.base import Neuron, exact_sum, in_form
from evsim.models.flow import SLACK, risen
from evsim.models.held import rise_of_sum
from evsim.models.isolate import sorted_rates
from evsim.models.lif import GRAZE, RESET, levels, relevel
from evsim.models.linear import DRIVEN, DRIVER, Component, Linear, leaky
from evsim.models.mixed import WIDER, excess
from evsim.models.moments import alpha_change, response_change
from evsim.models.refractory import CLAMP, REFRACTORY, arrived, gone_on
from evsim.models.summit import summit
from evsim.numerics import exp_neg, exp_phi, fma, log

H = tuple(1.0 / math.factorial(k + 2) for k in range(21))
NEAR = 1.4
PEAK = math.exp(-1.0) * WIDER  # of x exp(-x)


@dataclass(frozen=True, kw_only=True)
class AlphaLIF(Neuron):
    """Leaky integrate-and-fire neuron with an alpha synapse; equation (1).

    Parameters as of `LIF`. An arrival adds its weight to the slope `a` of the current, in
    units of voltage per time: alone, it makes the current peak `tau_syn` later, at
    weight tau_syn / e. Variables of the initial state: `v`, `i`, `a`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    tau_mem: Any
    tau_syn: Any
    v_th: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    reset: str = "value"
    refractory: str = "clamp"
    graze: str = ">="

    positive: ClassVar = ("tau_mem", "tau_syn")
    non_negative: ClassVar = ("t_ref",)
    choices: ClassVar = {"reset": RESET, "refractory": REFRACTORY, "graze": GRAZE}
    state: ClassVar = ("v", "i", "a")

    def compile(self, n: int, arrays: bool) -> AlphaKernel:
        """Kernel parameters, all scalar or all arrays of `n`."""
        rate_mem, rate_syn, gap, over_mem, over_syn = excess(self.tau_mem, self.tau_syn)
        rates, over = sorted_rates(self.tau_mem, self.tau_syn, self.tau_syn)
        return in_form(
            AlphaKernel, n, arrays, rate_mem=rate_mem, rate_syn=rate_syn[0], gap=gap[0],
            rates=rates, over=over, over_mem=over_mem, over_syn=over_syn[0], **levels(self),
        )  # fmt: skip

    @property
    def no_pulses(self) -> str:
        """Why rectangular pulses cannot be its input."""
        return "an alpha synapse has no constant current"

    def linear(self) -> Linear:
        """Its equations, for proofs."""
        both = Component(DRIVEN, self.tau_syn), Component(DRIVER, self.tau_syn)
        return leaky(self, both, (1,))

    def rest(self) -> float | np.ndarray:
        """The level to which the voltage relaxes without input."""
        return exact_sum(self.v_leak, self.bias)


class AlphaKernel(NamedTuple):
    """What the kernels see of an `AlphaLIF`; the first fields as of `MixedKernel`."""

    rate_mem: Any
    rate_syn: Any
    gap: Any
    rates: Any
    over: Any
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


@inline_kernel
def responses(p, em, decay, d):
    """(exp(-d decay), kappa(d), kappa_2(d)) of (2) and (3); `em` = exp(-d/tau_mem).

    `decay` is the synaptic rate, lessened where that of `em` is.
    """
    x = d * p.gap
    ratio, phi = exp_phi(x)
    mem_is_slow = p.rate_mem <= p.rate_syn
    slow = em if mem_is_slow else exp_neg(d * decay)
    es = slow * ratio if mem_is_slow else slow
    z = min(x, NEAR)
    z = z if mem_is_slow else -z
    h = H[20]
    for c in (H[19], H[18], H[17], H[16], H[15], H[14], H[13], H[12], H[11], H[10], H[9],
              H[8], H[7], H[6], H[5], H[4], H[3], H[2], H[1], H[0]):  # fmt: skip
        h = fma(h, z, c)
    near = h * ratio if mem_is_slow else h
    far = phi - ratio if mem_is_slow else 1.0 - phi
    shape = near if x < NEAR else far / (x if x > 0.0 else 1.0)
    gain = (d * p.rate_mem) * slow
    return es, gain * phi, (gain * d) * shape


AlphaKernel.INTERVAL = ("rate_mem", "rate_syn", "gap")  # type: ignore[attr-defined]


@verbs.interval.implement(AlphaKernel)
def interval(p, d):
    em = exp_neg(d * p.rate_mem)
    es, kappa, kappa_2 = responses(p, em, p.rate_syn, d)
    return em, es, kappa, kappa_2, d * es, min(d, PEAK / p.rate_syn)


@verbs.step.implement(AlphaKernel)
def step(p, c, x):
    # As for `LIF`, with what the current can reach in this interval.
    u, i, a = x
    em, es, kappa, kappa_2, ramp, reach = c
    left = u * em
    push = (i if i > 0.0 else 0.0) + (a if a > 0.0 else 0.0) * reach
    bound = left + push * risen(em)
    may = (bound >= p.theta - SLACK * abs(p.theta)) | (u >= p.theta)
    return (left + (i * kappa + a * kappa_2), i * es + a * ramp, a * es), may


@verbs.receive.implement(AlphaKernel)
def receive(p, x, port, weight):
    return x[0], x[1], x[2] + weight


@verbs.next_spike.implement(AlphaKernel)
def next_spike(p, x, y):
    return isolate.first_zero(p, x, x[0])


@verbs.next_rise.implement(AlphaKernel)
def next_rise(p, x):
    return rise_of_sum(p, x, x[0])


@verbs.earliest.implement(AlphaKernel)
def earliest(p, x):
    # As for `LIF`, with all that the current can reach.
    u, i, a = x
    push = (i if i > 0.0 else 0.0) + (a if a > 0.0 else 0.0) * (PEAK / p.rate_syn) - u
    size = abs(u) + abs(i) + abs(a) / p.rate_syn
    left = p.theta - u - SLACK * (size + abs(p.theta))
    wait = left / push / p.rate_mem if push > 0.0 else math.inf
    return wait if left > 0.0 else 0.0


@verbs.silent.implement(AlphaKernel)
def silent(p, x, y):
    return isolate.still(p, x, y)


@verbs.fire.implement(AlphaKernel)
def fire(p, x, s):
    if s == 0.0:
        return (x[0] - p.drop if p.subtract else p.u_reset), x[1], x[2]
    return drawn(x, verbs.interval(p, s), p.u_reset)


@inline_kernel
def drawn(x, c, u):
    """The state `x` an interval later, with the voltage `u`."""
    return u, x[1] * c[1] + x[2] * c[4], x[2] * c[1]


@verbs.clamp.implement(AlphaKernel)
def clamp(p, c, x):
    return gone_on(p.refractory, drawn(x, c, x[0]), verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(AlphaKernel)
def receive_clamped(p, x, port, weight):
    free = verbs.receive(p, x, port, weight)
    return arrived(p.refractory, x, free, free)


@verbs.redrive.implement(AlphaKernel)
def redrive(p, n, x, busy, old, new):
    relevel(p, n, new)
    return x[0] + (old - new), x[1], x[2]


@verbs.pulse.implement(AlphaKernel)
def pulse(p, n, x, busy, old, new):
    return verbs.redrive(p, n, x, busy, old, new)  # refused by `Network.connect`


@verbs.voltage.implement(AlphaKernel)
def voltage(p, x, drive):
    return x[0] + drive


@isolate.observe.implement(AlphaKernel)
def observe(p):
    return 0.0, 1.0, 0.0, 0.0


@isolate.operate.implement(AlphaKernel)
def operate(p, f, rate, scaled):
    mem = rate - (p.over_mem if scaled else p.rate_mem)
    syn = rate - (p.over_syn if scaled else p.rate_syn)
    return f[0] * rate, f[1] * mem, f[2] * syn + f[1] * p.rate_mem, f[3] * syn + f[2]


@isolate.flowed.implement(AlphaKernel)
def flowed(p, x, s, scaled):
    u, i, a = x
    leak = s * (p.over_mem if scaled else p.rate_mem)
    em, phi = exp_phi(leak)
    es, kappa, kappa_2 = responses(p, em, p.over_syn if scaled else p.rate_syn, s)
    fall, gain, gain_2 = u * (leak * phi), i * kappa, a * kappa_2
    y = (u * em + (gain + gain_2), (i + a * s) * es, a * es)
    return y, (gain + gain_2) - fall, abs(fall) + abs(gain) + abs(gain_2)


@isolate.latest.implement(AlphaKernel)
def latest(p, x):
    # A crossing needs i >= theta, and s exp(-s) <= (2/e) exp(-s/2).
    i, a = max(x[1], 0.0), max(x[2], 0.0) * (PEAK / p.rate_syn)
    if i + a <= p.theta:
        return 0.0
    return log(min((i + 2.0 * a) / p.theta, 1e300)) * 2.0 / p.rate_syn * WIDER


@isolate.magnitude.implement(AlphaKernel)
def magnitude(p, x):
    return abs(x[0]) + abs(x[1]) + abs(x[2]) / p.rate_syn


AlphaKernel.FLOW = ("tau_mem", "tau_syn")  # type: ignore[attr-defined]
AlphaKernel.RESET = ("u_reset", "drop")  # type: ignore[attr-defined]


@adjoint.pull.implement(AlphaKernel)
def pull(p, d, x, lam):
    em, es, kappa, by_mem, by_syn = response_change(p.rate_mem, p.rate_syn, p.gap, d)
    kappa_2, by_mem_2, by_syn_2 = alpha_change(p.rate_mem, p.rate_syn, p.gap, d)
    fade = d * p.rate_syn * p.rate_syn * es
    fall = x[0] * (d * p.rate_mem * p.rate_mem * em)
    tau_mem = lam[0] * (fall + x[1] * by_mem + x[2] * by_mem_2)
    held = (lam[1] * (x[1] + x[2] * d) + lam[2] * x[2]) * fade
    tau_syn = lam[0] * (x[1] * by_syn + x[2] * by_syn_2) + held
    drawn = lam[0] * kappa_2 + lam[1] * (d * es) + lam[2] * es
    return (lam[0] * em, lam[0] * kappa + lam[1] * es, drawn), (tau_mem, tau_syn)


@adjoint.pull_held.implement(AlphaKernel)
def pull_held(p, d, x, lam):
    es = exp_neg(d * p.rate_syn)
    fade = d * p.rate_syn * p.rate_syn * es
    tau_syn = (lam[1] * (x[1] + x[2] * d) + lam[2] * x[2]) * fade
    clamped = (lam[0], lam[1] * es, lam[1] * (d * es) + lam[2] * es), (0.0, tau_syn)
    return clamped if p.refractory == CLAMP else adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(AlphaKernel)
def drift(p, x):
    return (x[1] - x[0]) * p.rate_mem, x[2] - x[1] * p.rate_syn, -x[2] * p.rate_syn


@adjoint.held.implement(AlphaKernel)
def held(p, x):
    free = adjoint.drift(p, x)
    return gone_on(p.refractory, (0.0, free[1], free[2]), free)


@adjoint.lag.implement(AlphaKernel)
def lag(p, y, j):
    return adjoint.scaled(adjoint.drift(p, j), -1.0)


@adjoint.lag_held.implement(AlphaKernel)
def lag_held(p, y, j):
    return adjoint.scaled(adjoint.held(p, j), -1.0)


@adjoint.height.implement(AlphaKernel)
def height(p, x):
    return x[0] - p.theta


@adjoint.normal.implement(AlphaKernel)
def normal(p, x, value):
    return value, 0.0, 0.0


@adjoint.pull_reset.implement(AlphaKernel)
def pull_reset(p, x, lam, at_once):
    through = at_once and p.subtract != 0
    return (lam, (0.0, -lam[0])) if through else ((0.0, lam[1], lam[2]), (lam[0], 0.0))


@adjoint.pull_spike.implement(AlphaKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    y = x if at_once else drawn(x, verbs.interval(p, d), p.theta)
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(AlphaKernel)
def peak(p, x, d, best):
    reach = max(x[1], 0.0) + max(x[2], 0.0) * (PEAK / p.rate_syn)
    if max(x[0], reach) - p.theta <= best:
        return best
    return summit(p, x, d, x[0] - p.theta, best)


@adjoint.crest.implement(AlphaKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
