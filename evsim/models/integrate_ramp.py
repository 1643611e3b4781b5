r"""Non-leaky integrate-and-fire neuron whose arrivals change its slope: `IF(input="ramp")`.

.. math::
    \dot v = bias + current + r, \qquad
    v(s) = v_0 + (bias + current + r)\, s,                                      \tag{1}

an arrival adds its weight to `r`. Voltage and slope are unevaluated sums of two doubles: with
inputs on a dyadic grid the decisions of this model are exact.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from evsim.models import adjoint, verbs
from evsim.models.crossing import DOUBT, EPS
from evsim.models.refractory import CLAMP, arrived, gone_on
from evsim.numerics import add_time, fma, two_sum


class IFRampKernel(NamedTuple):
    """What the kernels see of an `IF` with linear synapses."""

    theta: Any
    v_reset: Any
    slope: Any  # bias and external current
    slope_0: Any  # bias
    drop: Any  # v_th - v_reset, as two doubles
    drop_lo: Any
    t_ref: Any
    subtract: int
    strict: int
    refractory: int


#: Of its voltage, for `evsim.models.refractory` to allow for.
IFRampKernel.roundings = 0.0  # type: ignore[attr-defined]
#: Which state variable is the rest of the voltage, beyond a double.
IFRampKernel.tail = 1  # type: ignore[attr-defined]


IFRampKernel.INTERVAL = ()  # type: ignore[attr-defined]


@verbs.interval.implement(IFRampKernel)
def interval(p, d):
    return (d,)


@verbs.step.implement(IFRampKernel)
def step(p, c, x):
    # The voltage is monotone: its ends tell.
    slope, slope_lo = add_time(x[2], x[3], p.slope)
    rise = slope * c[0]
    rest = fma(slope_lo, c[0], fma(slope, c[0], -rise))
    hi, lo = add_time(x[0], x[1] + rest, rise)
    near = p.theta - 4.0 * EPS * (abs(p.theta) + abs(hi) + abs(x[0]))
    return (hi, lo, x[2], x[3]), (hi >= near) | (x[0] >= near)


@verbs.receive.implement(IFRampKernel)
def receive(p, x, port, weight):
    r, r_lo = add_time(x[2], x[3], weight)
    return x[0], x[1], r, r_lo


@verbs.next_spike.implement(IFRampKernel)
def next_spike(p, x, y):
    s, e = two_sum(p.theta, -x[0])
    rest, lost = two_sum(e, -x[1])
    left, more = two_sum(s, rest)
    if left < 0.0 or (left == 0.0 and not p.strict):
        return 0.0, 0.0, math.inf
    slope, slope_lo = add_time(x[2], x[3], p.slope)
    if slope <= 0.0:
        return math.inf, 0.0, math.inf
    wait = left / slope
    whole = lost == 0.0 and more == 0.0 and slope_lo == 0.0
    exact = whole and fma(wait, slope, -left) == 0.0
    return wait, (0.0 if exact else DOUBT * EPS * wait), math.inf


@verbs.next_rise.implement(IFRampKernel)
def next_rise(p, x):
    return math.inf, 0.0, math.inf


@verbs.earliest.implement(IFRampKernel)
def earliest(p, x):
    left = p.theta - x[0] - 8.0 * EPS * (abs(p.theta) + abs(x[0]))
    slope, _ = add_time(x[2], x[3], p.slope)
    wait = left / slope * (1.0 - 8.0 * EPS) if slope > 0.0 else math.inf
    return wait if left > 0.0 else 0.0


@verbs.silent.implement(IFRampKernel)
def silent(p, x, y):
    return False


@verbs.fire.implement(IFRampKernel)
def fire(p, x, s):
    if p.subtract and s == 0.0:
        v, v_lo = add_time(x[0], x[1] - p.drop_lo, -p.drop)
        return v, v_lo, x[2], x[3]
    return p.v_reset, 0.0, x[2], x[3]


@verbs.clamp.implement(IFRampKernel)
def clamp(p, c, x):
    return gone_on(p.refractory, x, verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(IFRampKernel)
def receive_clamped(p, x, port, weight):
    free = verbs.receive(p, x, port, weight)
    return arrived(p.refractory, x, free, free)


@verbs.redrive.implement(IFRampKernel)
def redrive(p, n, x, busy, old, new):
    p.slope[n] = p.slope_0[n] + new
    return x


@verbs.pulse.implement(IFRampKernel)
def pulse(p, n, x, busy, old, new):
    # A pulse that entered where spikes do would bend the voltage: networks refuse it.
    return x


@verbs.voltage.implement(IFRampKernel)
def voltage(p, x, drive):
    return x[0] + x[1]


IFRampKernel.FLOW = ("bias",)  # type: ignore[attr-defined]
IFRampKernel.RESET = ("u_reset", "drop")  # type: ignore[attr-defined]
# Costates of the low halves of sums of two doubles are left at 0.


@adjoint.pull.implement(IFRampKernel)
def pull(p, d, x, lam):
    return (lam[0], 0.0, lam[0] * d + lam[2], 0.0), (lam[0] * d,)


@adjoint.pull_held.implement(IFRampKernel)
def pull_held(p, d, x, lam):
    return (lam, (0.0,)) if p.refractory == CLAMP else adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(IFRampKernel)
def drift(p, x):
    return (p.slope + x[2]) + x[3], 0.0, 0.0, 0.0


@adjoint.held.implement(IFRampKernel)
def held(p, x):
    return gone_on(p.refractory, (0.0, 0.0, 0.0, 0.0), adjoint.drift(p, x))


@adjoint.lag.implement(IFRampKernel)
def lag(p, y, j):
    return -j[2], 0.0, 0.0, 0.0


@adjoint.lag_held.implement(IFRampKernel)
def lag_held(p, y, j):
    return gone_on(p.refractory, (0.0, 0.0, 0.0, 0.0), adjoint.lag(p, y, j))


@adjoint.height.implement(IFRampKernel)
def height(p, x):
    return (x[0] - p.theta) + x[1]


@adjoint.normal.implement(IFRampKernel)
def normal(p, x, value):
    return value, 0.0, 0.0, 0.0


@adjoint.pull_reset.implement(IFRampKernel)
def pull_reset(p, x, lam, at_once):
    through = at_once and p.subtract != 0
    return (lam, (0.0, -lam[0])) if through else ((0.0, 0.0, lam[2], 0.0), (lam[0], 0.0))


@adjoint.pull_spike.implement(IFRampKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    y = x if at_once else (p.theta, 0.0, x[2], x[3])
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(IFRampKernel)
def peak(p, x, d, best):
    return max(best, adjoint.height(p, x) + max(adjoint.drift(p, x)[0] * d, 0.0))


@adjoint.crest.implement(IFRampKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
