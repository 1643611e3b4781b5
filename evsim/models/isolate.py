r"""First crossing of a membrane whose voltage is a sum of any number of exponentials.

Let `F` be the distance of the voltage above threshold, a linear function of a state that flows
by a linear equation with rates :math:`l_1 \ge \dots \ge l_n \ge 0`, the rate 0 of a constant
included, equal rates allowed. Its *levels* are

.. math::
    F_0 = F, \qquad F_{k} = (D + l_k) F_{k-1}, \qquad
    \left(e^{l_k s} F_{k-1}\right)' = e^{l_k s} F_k,                            \tag{1}

each a linear function of the same state, formed without dividing by a difference of rates, so
that rates may coincide. The last one that does not vanish is one exponential and keeps its
sign. Between two zeros of :math:`F_k` the product :math:`e^{l_k s} F_{k-1}` is monotone: one
sign at either end tells whether a zero lies between. From the last level down to `F` no zero
is missed. The number `V` of sign changes in :math:`(F_k, F_{k+1}, \dots)` moreover bounds,

.. math::
    \#\{\text{zeros of } F_k \text{ in } (a, b]\} \le V_k(a) - V_k(b),          \tag{2}

an even number less (Budan and Fourier's theorem for the operators of (1)); it ends most
questions at once, and tells from which level on there is anything to isolate.

The fastest rate is removed first: then the levels of every decaying exponential, and of every
response to one, have one sign, and cancel no more than these physical terms do. With threshold
0 there is no constant; `F` is multiplied by the slowest exponential's inverse, which lessens
all rates by the slowest one: again there is a constant, and nothing underflows.
"""

from __future__ import annotations

import math

import numpy as np

from evsim.dispatch import generic
from evsim.jit import kernel
from evsim.models.crossing import DOUBT, EPS
from evsim.models.tuples import dot, dot_abs, replaced

#: A sign is certain beyond so many roundings of the terms of a sum.
CERTAIN = 64.0 * EPS
#: Precision of the ends of monotone pieces: at a maximum its square counts.
PLACE = 2.0**-40


@generic
def observe(p):
    """`F` as a linear function: factors of 1 and of the state variables, without threshold."""
    raise TypeError(f"{type(p).__name__} has no exponential sum")


@generic
def operate(p, f, rate, scaled):
    """The linear function (D + rate) f; `scaled`: all rates lessened by the slowest."""
    raise TypeError(f"{type(p).__name__} has no exponential sum")


@generic
def flowed(p, x, s, scaled):
    """(y, rise, size): the state after `s`, F(s) - F(0) accurately for small `s`, and the
    sum of the magnitudes of its terms."""
    raise TypeError(f"{type(p).__name__} has no exponential sum")


@generic
def latest(p, x):
    """A time after which `F` cannot come above 0, where the threshold is positive; or 0."""
    raise TypeError(f"{type(p).__name__} has no exponential sum")


@generic
def magnitude(p, x):
    """Sum of the magnitudes of the terms of the voltage, at any time after this state."""
    raise TypeError(f"{type(p).__name__} has no exponential sum")


@kernel
def weigh(f, x):
    """A linear function `f` of a state."""
    return f[0] + dot(f[1:], x)


@kernel
def level(p, k, scaled):
    """The linear function F_k of (1)."""
    f = observe(p)
    f = replaced(f, 0, 0.0 if scaled else -p.theta)
    for j in range(k):
        f = operate(p, f, p.over[j] if scaled else p.rates[j], scaled)
    return f


@kernel
def signs(p, x, size, scaled):
    """Two sets of levels, as bits: those certainly positive, those certainly negative.

    `size` bounds what rounding the state may have had to do with.
    """
    plus = minus = 0
    f = level(p, 0, scaled)
    n = len(p.rates)
    for k in range(n + 1):
        if k == n:
            if scaled:
                break
            value, noise = f[0], 0.0  # of the last level, the constant alone
        else:
            value = f[0] + dot(f[1:], x)
            noise = CERTAIN * (abs(f[0]) + dot_abs(f[1:], x) + abs(f[1]) * size)
        if value > noise:
            plus |= 1 << k
        elif value < -noise:
            minus |= 1 << k
        if k < n:
            f = operate(p, f, p.over[k] if scaled else p.rates[k], scaled)
    return plus, minus


@kernel
def simple_level(plus, minus, later_plus, later_minus, top):
    """(k, zeros): the least level with at most one zero between two states by (2), or `top`."""
    best, zeros, changes = top, -1, 0
    for k in range(top, -1, -1):
        bit = 1 << k
        if not ((plus | minus) & bit and (later_plus | later_minus) & bit):
            break
        if k < top:
            changes += ((plus >> k) ^ (plus >> (k + 1))) & 1
            changes -= ((later_plus >> k) ^ (later_plus >> (k + 1))) & 1
        if 0 <= changes <= 1:
            best, zeros = k, changes
    return best, zeros


@kernel
def still(p, x, y):
    """Whether (2) tells that no zero of `F` lies between a state and the one it flows to."""
    scaled = p.theta == 0.0
    size = magnitude(p, x)
    plus, minus = signs(p, x, size, scaled)
    if not minus & 1:
        return False
    later_plus, later_minus = signs(p, y, size, scaled)
    top = len(p.rates) - scaled
    k, zeros = simple_level(plus, minus, later_plus, later_minus, top)
    return k == 0 and zeros == 0


@kernel
def start_sign(p, x, k, scaled):
    """Sign of F_k right after the state `x`: of the first level from `k` on that is not 0."""
    f = level(p, k, scaled)
    for j in range(k, len(p.rates)):
        value = f[0] + dot(f[1:], x)
        if value != 0.0:
            return 1.0 if value > 0.0 else -1.0
        f = operate(p, f, p.over[j] if scaled else p.rates[j], scaled)
    return 1.0 if f[0] > 0.0 else -1.0


@kernel
def zero_of_level(p, x, k, lo, hi, sign, scaled):
    """The zero of F_k in (lo, hi), where it leaves `sign`: Newton's steps, else halving."""
    f = level(p, k, scaled)
    rate = p.over[k] if scaled else p.rates[k]
    g = operate(p, f, rate, scaled)
    s, last = 0.5 * (lo + hi), hi - lo
    for _ in range(400):
        y, _, _ = flowed(p, x, s, scaled)
        value = weigh(f, y)
        if value * sign > 0.0:
            lo = s
        else:
            hi = s
        slope = weigh(g, y) - rate * value
        new = s - value / slope if slope != 0.0 else hi
        move = abs(new - s)
        if not (lo < new < hi and 2.0 * move <= last):
            new = 0.5 * (lo + hi)
            move = hi - lo
        last, s = move, new
        if move <= PLACE * s:
            break
    return s


@kernel
def zeros_of_level(p, x, k, marks, count, end, scaled):
    """Zeros of F_k in (0, end): their times, from those of F_{k+1}, and their number."""
    f = level(p, k, scaled)
    sign, before, found = start_sign(p, x, k, scaled), 0.0, 0
    for j in range(count + 1):
        at = marks[j] if j < count else end
        y, _, _ = flowed(p, x, at, scaled)
        if weigh(f, y) * sign < 0.0:
            # In place: there are at most as many zeros so far as marks have been read.
            zero = zero_of_level(p, x, k, before, at, sign, scaled)
            marks = replaced(marks, found, zero)
            found, sign = found + 1, -sign
        before = at
    return marks, found


@kernel
def polish(p, x, target, lo, hi, scaled):
    """(s, tolerance) of the crossing in (lo, hi], up to which `F` rises: as `crossing.refine`."""
    first = operate(p, level(p, 0, scaled), 0.0, scaled)
    second = operate(p, first, 0.0, scaled)
    s, slope, size, width = lo, 0.0, 0.0, hi - lo
    for turn in range(200):
        y, rise, size = flowed(p, x, s, scaled)
        f = rise - target
        if f < 0.0:
            lo = s
        else:
            hi = s
        slope, bend = weigh(first, y), weigh(second, y)
        inside = slope * slope - 2.0 * f * bend
        root = slope + math.sqrt(inside) if inside >= 0.0 else 0.0
        move = -2.0 * f / root if root > 0.0 else math.inf
        new = s + move
        slow = turn % 8 == 7 and hi - lo > 0.5 * width
        if turn % 8 == 7:
            width = hi - lo
        if abs(move) > EPS * s and (slow or not lo < new < hi):
            new = 0.5 * (lo + hi)
            if not lo < new < hi:
                s = hi
                break
            s = new
            continue
        near = abs(move) < 1e-7 * s and abs(move) * p.rates[0] < 1e-7
        s = new
        # Cubic convergence: after a step this short, the next would not change the time.
        if abs(move) <= EPS * s or (near and inside > 0.25 * slope * slope):
            break
    reach = abs(p.theta) + abs(target) + size
    return s, (DOUBT * EPS * (reach / slope + s) if slope > 0.0 else s)


@kernel
def search_end(p, x, target, scaled):
    """A time until which the first crossing must have come, if there is one; or 0."""
    if p.theta > 0.0:
        return latest(p, x)
    s = 1.0 / p.rate_mem
    for _ in range(64):
        _, rise, _ = flowed(p, x, s, scaled)
        if rise > target:
            break
        s *= 2.0
    return s


@kernel
def walk_pieces(p, x, target, marks, count, end, scaled):
    """The first crossing over pieces on which e^{l_1 s} F is monotone; as `first_zero`."""
    before, peak = 0.0, math.inf
    for j in range(count + 1):
        at = marks[j] if j < count else end
        _, rise, size = flowed(p, x, at, scaled)
        value = rise - target
        if abs(value) <= DOUBT * EPS * (abs(p.theta) + abs(target) + size) and peak == math.inf:
            peak = at
        if value > 0.0 or (value == 0.0 and not p.strict):
            s, tolerance = polish(p, x, target, before, at, scaled)
            return s, tolerance, peak
        before = at
    return math.inf, 0.0, peak


@kernel
def first_zero(p, x, u):
    """(s, tolerance, peak) as `verbs.next_spike` wants them, from `F` = u - theta."""
    theta = p.theta
    if u > theta or (u == theta and not p.strict):
        return 0.0, 0.0, math.inf
    scaled, target = theta == 0.0, theta - u
    if target == 0.0 and start_sign(p, x, 0, scaled) > 0.0:
        return 0.0, 0.0, math.inf
    top = len(p.rates) - scaled
    size = magnitude(p, x)
    plus, minus = signs(p, x, size, scaled)
    if not plus and minus == (2 << top) - 1:  # no change of sign, no zero
        return math.inf, 0.0, math.inf
    end = search_end(p, x, target, scaled)
    if end <= 0.0:
        return math.inf, 0.0, math.inf
    y, _, _ = flowed(p, x, end, scaled)
    later_plus, later_minus = signs(p, y, size, scaled)
    k, count = simple_level(plus, minus, later_plus, later_minus, top)
    marks = p.rates
    if k == 0 and count == 0:
        return math.inf, 0.0, math.inf
    # From a level with one zero at most; that before the last has one at most in any case.
    if k == top:
        k, count = top - 1, -1
    found = 0
    while k > 0:
        if count != 0 or found > 0:
            marks, found = zeros_of_level(p, x, k, marks, found, end, scaled)
        count = -1
        k -= 1
    return walk_pieces(p, x, target, marks, found, end, scaled)


def sorted_rates(*taus):
    """Rates from the fastest on, and the same lessened by the slowest: two tuples.

    `taus` are time constants, each a number or an array with one value per neuron.
    """
    tau = np.sort(np.stack(np.broadcast_arrays(*taus)), axis=0)
    # The difference of nearby time constants is exact; that of their inverses is not.
    over = (tau[-1] - tau) / tau / tau[-1]
    numbers = tau.ndim == 1
    return tuple(
        tuple(float(row) if numbers else row for row in rows) for rows in (1.0 / tau, over)
    )
