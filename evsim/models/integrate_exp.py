r"""Non-leaky integrate-and-fire neuron behind an exponential synapse: `IF(input="exp")`.

.. math::
    \dot v = b + i, \qquad \tau_s \dot i = -i, \qquad b = bias + current,       \tag{1}

    v(s) = v_0 + b s + i_0 s\, \varphi(s/\tau_s), \qquad
    \varphi(x) = (1 - e^{-x})/x .                                              \tag{2}

With :math:`L = \vartheta - v_0 > 0` there is a crossing

* for :math:`i_0 > 0, b > 0` and for :math:`i_0 \le 0 < b` always, in the second case behind
  the minimum at :math:`\tau_s \ln(-i_0/b)`;
* for :math:`i_0 > 0, b = 0` iff :math:`i_0 \tau_s > L`, strictly: the level
  :math:`v_0 + i_0 \tau_s` itself is never reached; then
  :math:`s = -\tau_s \ln(1 - L/(i_0 \tau_s))`;
* for :math:`i_0 > 0 > b` iff the maximum, :math:`-b \tau_s (x - \ln(1 + x))` above
  :math:`v_0` and at :math:`\tau_s \ln(1 + x)` with :math:`x = -(i_0 + b)/b`, reaches `L`.

In every case the voltage rises on a known bracket with one root, and the zero of the local
parabola refines it, as in `evsim.models.crossing`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from evsim.jit import kernel
from evsim.models import adjoint, verbs
from evsim.models.crossing import DOUBT, EPS
from evsim.models.moments import first_moments
from evsim.models.refractory import CLAMP, arrived, gone_on
from evsim.numerics import atanh_tail, exp_neg, exp_phi, fma, log, log1p

LARGEST = 1.7976931348623157e308
SLACK = 2e-14  # 90 roundings: more than flow and bound can lose together


class IFExpKernel(NamedTuple):
    """What the kernels see of an `IF` with exponential synapses."""

    tau: Any
    rate: Any
    theta: Any
    v_reset: Any
    slope: Any  # bias and external current: b
    slope_0: Any  # bias
    drop: Any  # v_th - v_reset
    t_ref: Any
    subtract: int
    strict: int
    refractory: int


IFExpKernel.INTERVAL = ("rate", "slope")  # type: ignore[attr-defined]


@verbs.interval.implement(IFExpKernel)
def interval(p, d):
    es, phi = exp_phi(d * p.rate)
    return p.slope * d, es, d * phi


@verbs.step.implement(IFExpKernel)
def step(p, c, x):
    # v(s) <= v0 + max(b, 0) d + max(i0, 0) d phi for every s in the interval.
    v, i = x
    rise, es, gain = c
    gained = i * gain
    bound = v + ((rise if rise > 0.0 else 0.0) + (gained if gained > 0.0 else 0.0))
    near = p.theta - SLACK * (abs(p.theta) + abs(v) + abs(rise) + abs(gained))
    return (v + (rise + gained), i * es), (bound >= near) | (v >= near)


@verbs.receive.implement(IFExpKernel)
def receive(p, x, port, weight):
    return x[0], x[1] + weight


@kernel
def rise_to(p, i, s):
    """v(s) - v(0) of (2), its slope and the current at `s`."""
    es, phi = exp_phi(s * p.rate)
    j = i * es
    return s * fma(i, phi, p.slope), p.slope + j, j


@kernel
def refine_exp(p, i, target, lo, hi):
    """(root, slope) of v(s) - v(0) = target in [lo, hi], where the voltage rises; hi may be inf."""
    s, slope = lo, 0.0
    for _ in range(400):
        f, slope, j = rise_to(p, i, s)
        f -= target
        if f < 0.0:
            lo = s
        else:
            hi = s
        if slope > 0.0:  # in units of the slope, whose square may underflow
            inside = 1.0 + 2.0 * (f / slope) * (j * p.rate / slope)
            root = slope * (1.0 + math.sqrt(inside)) if inside >= 0.0 else 0.0
        else:
            inside = slope * slope + 2.0 * f * j * p.rate
            root = slope + math.sqrt(inside) if inside >= 0.0 else 0.0
        move = -2.0 * f / root if root > 0.0 else math.inf
        new = s + move
        if abs(move) <= EPS * s or f == 0.0:
            return (new if lo <= new <= hi else s), slope
        if not lo < new < hi:
            # By doubling, since the bracket may reach over hundreds of orders of magnitude.
            new = 2.0 * lo + p.tau
            if not new < 0.5 * (lo + hi):
                new = 0.5 * (lo + hi)
            if not lo < new < hi:
                return hi, slope
        s = new
    return (s if hi < math.inf else hi), slope


@kernel
def charge_only(p, i, target, reach):
    """(s, tolerance, peak) without bias: the voltage tends to v0 + i0 tau from below."""
    rest = fma(i, p.tau, -target)  # its sign is exact
    peak = math.inf
    if abs(rest) <= DOUBT * EPS * reach:
        # From here on it is within roundings of the threshold, if it does not cross.
        peak = log(1.0 + i * p.tau / (DOUBT * EPS * reach)) * p.tau
    if not rest > 0.0:
        return math.inf, 0.0, peak
    part = rest / (i * p.tau)
    s = -p.tau * (log(part) if part < 0.5 else log1p(-target / (i * p.tau)))
    return s, DOUBT * EPS * (reach / (rest * p.rate) + s), peak


@kernel
def highest_rise(p, i):
    """(time, rise) of the maximum of a voltage with i0 > -b > 0."""
    x = (i + p.slope) / -p.slope
    if x < 0.2:  # x - log(1 + x), without cancellation
        s = x / (2.0 + x)
        excess = x * s - 2.0 * s * atanh_tail(s * s)
    else:
        excess = x - log1p(x)
    return log1p(x) * p.tau, -p.slope * p.tau * excess


@kernel
def first_rise(p, i, target, reach):
    """(s, tolerance, peak) for `target` >= 0, as `verbs.next_spike` wants them."""
    b = p.slope
    lo, hi, peak = 0.0, math.inf, math.inf
    if i > 0.0 and b == 0.0:
        return charge_only(p, i, target, reach)
    if b <= 0.0:
        if i + b <= 0.0:
            return math.inf, 0.0, math.inf
        hi, top = highest_rise(p, i)
        # What is compared are roundings of the charge that came in and of that which left.
        if abs(top - target) <= DOUBT * EPS * (reach + (i + b) * p.tau):
            peak = hi
        if top < target or (p.strict and top == target):
            return math.inf, 0.0, peak
    elif i < 0.0:
        lo = log(min(-i / b, LARGEST)) * p.tau if i + b < 0.0 else 0.0
    elif i * p.tau > target:
        hi, _, _ = charge_only(p, i, target, reach)  # the bias only helps
        hi *= 1.0 + 8.0 * EPS
    s, slope = refine_exp(p, i, target, lo, hi)
    reach += (abs(i) if abs(i) < abs(b) else abs(b)) * s  # what cancels on the way
    return s, (DOUBT * EPS * (reach / slope + s) if slope > 0.0 else s), peak


@verbs.next_spike.implement(IFExpKernel)
def next_spike(p, x, y):
    target = p.theta - x[0]
    if target < 0.0 or (target == 0.0 and not p.strict):
        return 0.0, 0.0, math.inf
    return first_rise(p, x[1], target, abs(p.theta) + target)


@verbs.next_rise.implement(IFExpKernel)
def next_rise(p, x):
    # Behind the minimum of a voltage that falls first, if that lies below threshold.
    i, b = x[1], p.slope
    if not (b > 0.0 and i < 0.0 and i + b < 0.0):
        return math.inf, 0.0, math.inf
    s = log(min(-i / b, LARGEST)) * p.tau
    target = p.theta - x[0]
    low = rise_to(p, i, s)[0] - target
    reach = abs(p.theta) + abs(target) + abs(i) * p.tau
    peak = s if abs(low) <= DOUBT * EPS * reach else math.inf
    if low >= 0.0:
        return math.inf, 0.0, peak
    s, slope = refine_exp(p, i, target, s, math.inf)
    return s, (DOUBT * EPS * (reach / slope + s) if slope > 0.0 else s), peak


@verbs.earliest.implement(IFExpKernel)
def earliest(p, x):
    # The slope never exceeds b + max(i0, 0).
    v, i = x
    push = p.slope + (i if i > 0.0 else 0.0)
    left = p.theta - v - SLACK * (abs(v) + abs(p.theta))
    wait = left / push * (1.0 - SLACK) if push > 0.0 else math.inf
    return wait if left > 0.0 else 0.0


@verbs.silent.implement(IFExpKernel)
def silent(p, x, y):
    # Convex, or still rising at the end: the ends tell about the whole interval.
    slack = SLACK * (abs(p.theta) + abs(x[0]) + abs(y[0]))
    ends = (x[0] < p.theta - slack) & (y[0] < p.theta - slack)
    return ends & ((x[1] <= 0.0) | (p.slope + y[1] > SLACK * (abs(p.slope) + abs(y[1]))))


@verbs.fire.implement(IFExpKernel)
def fire(p, x, s):
    if s == 0.0:
        return (x[0] - p.drop if p.subtract else p.v_reset), x[1]
    return p.v_reset, x[1] * exp_neg(s * p.rate)


@verbs.clamp.implement(IFExpKernel)
def clamp(p, c, x):
    return gone_on(p.refractory, (x[0], x[1] * c[1]), verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(IFExpKernel)
def receive_clamped(p, x, port, weight):
    free = verbs.receive(p, x, port, weight)
    return arrived(p.refractory, x, free, free)


@verbs.redrive.implement(IFExpKernel)
def redrive(p, n, x, busy, old, new):
    p.slope[n] = p.slope_0[n] + new
    return x[0], x[1]


@verbs.pulse.implement(IFExpKernel)
def pulse(p, n, x, busy, old, new):
    # A synaptic current that relaxes to the pulse: a shifted current, and a constant one.
    p.slope[n] = p.slope_0[n] + new
    return x[0], x[1] + (old - new)


@verbs.voltage.implement(IFExpKernel)
def voltage(p, x, drive):
    return x[0]


IFExpKernel.FLOW = ("bias", "tau_syn")  # type: ignore[attr-defined]
IFExpKernel.RESET = ("u_reset", "drop")  # type: ignore[attr-defined]


@adjoint.pull.implement(IFExpKernel)
def pull(p, d, x, lam):
    y = d * p.rate
    es, phi = exp_phi(y)
    gained = y * y * first_moments(y, es, phi)[1]
    tau_syn = (lam[0] * gained + lam[1] * (y * p.rate * es)) * x[1]
    return (lam[0], lam[0] * (d * phi) + lam[1] * es), (lam[0] * d, tau_syn)


@adjoint.pull_held.implement(IFExpKernel)
def pull_held(p, d, x, lam):
    es = exp_neg(d * p.rate)
    clamped = (lam[0], lam[1] * es), (0.0, lam[1] * (d * p.rate * p.rate * es) * x[1])
    return clamped if p.refractory == CLAMP else adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(IFExpKernel)
def drift(p, x):
    return p.slope + x[1], -x[1] * p.rate


@adjoint.held.implement(IFExpKernel)
def held(p, x):
    return gone_on(p.refractory, (0.0, -x[1] * p.rate), adjoint.drift(p, x))


@adjoint.lag.implement(IFExpKernel)
def lag(p, y, j):
    return -j[1], j[1] * p.rate


@adjoint.lag_held.implement(IFExpKernel)
def lag_held(p, y, j):
    return gone_on(p.refractory, (0.0, j[1] * p.rate), (-j[1], j[1] * p.rate))


@adjoint.height.implement(IFExpKernel)
def height(p, x):
    return x[0] - p.theta


@adjoint.normal.implement(IFExpKernel)
def normal(p, x, value):
    return value, 0.0


@adjoint.pull_reset.implement(IFExpKernel)
def pull_reset(p, x, lam, at_once):
    through = at_once and p.subtract != 0
    return (lam, (0.0, -lam[0])) if through else ((0.0, lam[1]), (lam[0], 0.0))


@adjoint.pull_spike.implement(IFExpKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    y = x if at_once else (p.theta, x[1] * exp_neg(d * p.rate))
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(IFExpKernel)
def peak(p, x, d, best):
    v, i = x
    end = verbs.step(p, verbs.interval(p, d), x)[0][0]
    top = max(v, end)
    if i + p.slope > 0.0 and p.slope < 0.0:  # it rises, and turns
        s, rise = highest_rise(p, i)
        top = v + rise if s < d else top
    return max(best, top - p.theta)


@adjoint.crest.implement(IFExpKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
