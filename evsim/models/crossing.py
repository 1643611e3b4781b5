r"""First threshold crossing of a membrane behind one exponential synapse.

For :math:`\vartheta > 0`, from :math:`u_0 < \vartheta`: at a crossing `u` rises, so
:math:`i \ge u = \vartheta` there. Let :math:`s_\vartheta = \tau_s \ln(i_0/\vartheta)` be the
last time with :math:`i \ge \vartheta`. While :math:`u < \vartheta \le i` the voltage increases
strictly, and after :math:`s_\vartheta` it cannot rise through threshold, so

.. math::
    \text{a spike exists} \iff i_0 > \vartheta \text{ and } u(s_\vartheta) \ge \vartheta,  \tag{1}

and then :math:`[0, s_\vartheta]` holds exactly one crossing, on which
:math:`\ddot u = -(i/\tau_s + \dot u)/\tau_m < 0`. One logarithm and one evaluation decide; no
scan can miss. For :math:`\vartheta < 0` the resting level lies above threshold: a crossing
always exists, behind the only extremum, a minimum. For :math:`\vartheta = 0`,
:math:`u e^{t/\tau_m}` is monotone and solves in closed form.

The root is refined by steps to the zero of the local parabola (cubic convergence, safe near
double roots), kept inside the bracket by the sign of the residual, until a step is below one
rounding of the time itself. Nothing here depends on when the next arrival comes.
"""

from __future__ import annotations

import math

from evsim.jit import inline_kernel, kernel
from evsim.numerics import exp_neg, exp_phi, log, log1p

EPS = 2.0**-52
#: A decision is in doubt within this many roundings of the voltages that enter it.
DOUBT = 6.0


@inline_kernel
def residual(p, u, i, target, s):
    """u(s) - u - target, u(s) and i(s): accurate for small `s`."""
    if s == 0.0:  # as below, without its exponentials
        return -target, u, i
    em, phi_mem = exp_phi(s * p.rate_mem)
    ratio, phi = exp_phi(s * p.rate_gap)
    x = s * p.rate_mem
    if p.mem_is_slow:
        slow, es = em, em * ratio
    else:
        slow = exp_neg(s * p.rate_slow)
        es = slow
    gain = i * (x * slow * phi)
    return (gain - target) - u * (x * phi_mem), u * em + gain, i * es


@kernel
def refine(p, u, i, target, lo):
    """(root, slope there) of u(s) = u + target beyond `lo`, at which u(s) is below.

    For a threshold above rest, a time with `i` below threshold is behind the root.
    """
    s, hi = lo, math.inf
    slope = rise = 0.0
    for _ in range(200):
        f, us, js = residual(p, u, i, target, s)
        if f < 0.0 and (p.theta < 0.0 or js >= p.theta):
            lo = s
        else:
            hi = s
        slope = (js - us) * p.rate_mem
        bend = (-js * p.rate_syn - slope) * p.rate_mem
        inside = slope * slope - 2.0 * f * bend
        rise = math.sqrt(inside) if inside > 0.0 else 0.0
        move, miss = math.inf, math.inf
        if slope + rise > 0.0:
            move, miss = corrected(p, f, slope, rise, bend, js)
        new = s + move
        if not (lo < new < hi) and abs(move) > EPS * s:
            new = 2.0 * lo + 1.0 / p.rate_mem if hi == math.inf else 0.5 * (lo + hi)
            if not lo < new < hi:
                return hi, slope
            s = new
            continue
        s = new
        if abs(move) <= EPS * s or miss <= 0.25 * EPS * s:
            break
    return s, (rise if rise > 0.0 else slope)


@inline_kernel
def corrected(p, f, slope, rise, bend, js):
    """Step to the zero of the local parabola, and on by what the cubic term moves that zero;
    and a bound of the step's error from the quartic term and from the square of the nudge.

    `rise` is the slope of the parabola at its zero.
    """
    move = -2.0 * f / (slope + rise)
    if rise == 0.0:
        return move, math.inf
    third = (js * p.rate_syn * p.rate_syn - bend) * p.rate_mem
    fourth = (abs(js) * p.rate_syn * p.rate_syn * p.rate_syn + abs(third)) * p.rate_mem
    square, scale = move * move, 1.0 / rise
    nudge = third * square * move * (scale / 6.0)
    if abs(nudge) > 0.1 * abs(move):  # too near a double root for the cubic term to be small
        return move, math.inf
    miss = (fourth * square * square / 24.0 + abs(bend) * nudge * nudge) * scale
    return move - nudge, miss + 3.0 * abs(third) * square * abs(nudge) * scale


@kernel
def extremum(p, u, i):
    """Time of the only extremum: of a minimum of a falling voltage (i < min(u, 0)), of a maximum
    of a rising one (i > max(u, 0)); 0 where there is none."""
    ratio = p.rate_syn / p.rate_mem - 1.0  # tau_mem / tau_syn - 1
    ahead = i + ratio * u
    if ahead == 0.0 or (ahead > 0.0) != (i > 0.0):
        return 0.0
    x = (i - u) / ahead
    y = ratio * x
    return x * (log1p(y) / y if y != 0.0 else 1.0) / p.rate_mem


@kernel
def at_rest_level(p, u, i):
    """Crossing of the level to which the voltage relaxes (threshold 0), from below, or inf."""
    if i <= 0.0:
        return math.inf
    gap = p.rate_gap if p.mem_is_slow else -p.rate_gap
    y = gap / p.rate_mem * u / i
    if y <= -1.0:
        return math.inf
    return -log1p(y) / gap if gap != 0.0 else -u / (i * p.rate_mem)


@kernel
def first_crossing(p, u, i, sure):
    """(s, tolerance, peak) as `verbs.next_spike` wants them, for a leaky membrane.

    `sure`: the voltage is known to come above threshold by more than roundings.
    """
    theta = p.theta
    if u > theta or (u == theta and not p.strict):
        return 0.0, 0.0, math.inf
    if theta == 0.0:
        s = at_rest_level(p, u, i)
        return s, (4.0 * EPS * s if s < math.inf else 0.0), math.inf
    target = theta - u
    reach = abs(theta) + target
    lo, peak = 0.0, math.inf
    if theta > 0.0:
        if i <= theta:
            return math.inf, 0.0, math.inf
        if not sure:
            last = log(i / theta) / p.rate_syn
            top, _, _ = residual(p, u, i, target, last)
            if abs(top) <= DOUBT * EPS * reach:
                peak = last
            if top < 0.0 or (p.strict and top == 0.0):
                return math.inf, 0.0, peak
    elif i < u:
        lo = extremum(p, u, i) if i < 0.0 else 0.0
    s, slope = refine(p, u, i, target, lo)
    tolerance = DOUBT * EPS * (reach / slope + s) if slope > 0.0 else s
    return s, tolerance, peak
