r"""Centre trajectories: the exact flow at exact times, evaluated with bounds of its rounding.

Beside the value of every variable three bounds flow: of its rounding error, of its deviation
from the true trajectory, and of the part of that deviation that no symbol carries. All obey the
equation of the variable itself, with non-negative coefficients.
"""

from __future__ import annotations

from evsim.jit import apart, inline_kernel, kernel
from evsim.models.linear import DRIVER, THRESHOLD
from evsim.numerics import two_sum
from evsim.proof.bounds import DOUBLE, ROUGH, TIMES, TINY, UNIT, UP
from evsim.proof.numbers import (
    MOMENT,
    add,
    decay,
    div,
    lower,
    mul,
    number,
    pair_add,
    sub,
    upper,
)

#: Rows of the bounds: rounding, deviation, rest.
ROUNDING, DEVIATION, REST = range(3)


@inline_kernel
def interval(hi, lo, off, hi_0, lo_0, off_0):
    """(hi + lo + off) - (hi_0 + lo_0 + off_0) as a pair, and a bound of its error."""
    s = two_sum(hi, -hi_0)
    d = two_sum(off, -off_0)
    low = two_sum(lo, -lo_0)
    total = pair_add(pair_add(s, d), low)
    return total, TIMES * DOUBLE.unit * (abs(s[0]) + abs(d[0]) + abs(low[0]))


@kernel
def exactly(hi, lo, off, hi_0, lo_0, off_0):
    """`interval` rounded to a float, and its error besides."""
    apart()
    s, error = interval(hi, lo, off, hi_0, lo_0, off_0)
    return s[0], error


@inline_kernel
def roughly(hi, lo, off, hi_0, lo_0, off_0):
    """`interval` in floats, and a bound of all its error: most orders are as clear, and much
    cheaper."""
    s, d, low = hi - hi_0, off - off_0, lo - lo_0
    return (s + d) + low, ROUGH * UNIT * (abs(s) + abs(d) + abs(low))


@kernel
def later(hi, lo, off, hi_0, lo_0, off_0):
    """Whether the time hi + lo + off comes after the other one."""
    d, error = roughly(hi, lo, off, hi_0, lo_0, off_0)
    if abs(d) > error:
        return d > 0.0
    d, _ = exactly(hi, lo, off, hi_0, lo_0, off_0)
    return d > 0.0


@kernel
def span_of(hi, lo, hi_0, lo_0, off_0):
    """(hi + lo) - (hi_0 + lo_0 + off_0) within three roundings, or 0 where it is negative."""
    s, e = two_sum(hi, -hi_0)
    x = (s - off_0) + (e + (lo - lo_0))
    # Where low parts matter as little as that, their roundings do not count.
    if not x > 1e6 * (abs(e) + abs(lo) + abs(lo_0)):
        x, _ = exactly(hi, lo, 0.0, hi_0, lo_0, off_0)
    return max(x, 0.0)


@inline_kernel
def interval_as(hi, lo, off, hi_0, lo_0, off_0, like):
    """As `interval`, rounded to the type of `like`."""
    s, error = interval(hi, lo, off, hi_0, lo_0, off_0)
    x = number(s[0], s[1], like)
    return x, error + (abs(s[1]) if lower(x) == 0.0 else 0.0)


@inline_kernel
def responses(p, c, s, x_mem, em, scale, like):
    """What is left of component `c`, and what it adds to the membrane, per unit."""
    x_own = mul(s, number(p.decay_hi[c], p.decay_lo[c], like))
    if p.kind[c] == THRESHOLD:
        return decay(x_own)[0], number(0.0, 0.0, like)
    x_gap = mul(s, number(p.gap_hi[c], p.gap_lo[c], like))
    ratio, phi = decay(x_gap)
    if p.slow[c]:
        fade, slow = mul(em, ratio), em
    else:
        slow = decay(x_own)[0]
        fade = slow
    if p.kind[c] == DRIVER:
        phi = mul(s, moment(x_gap, ratio, phi, p.slow[c], like))
    return fade, mul(mul(scale, slow), phi)


@kernel
def moment(x, ratio, phi, rising, like):
    """e^-x h(x) where `rising`, else h(-x), with h(x) = (e^x - 1 - x)/x^2."""
    apart()
    one = number(1.0, 0.0, like)
    if upper(x) >= 1.0:
        return div(sub(phi, ratio) if rising else sub(one, phi), x)
    y = x if rising else sub(number(0.0, 0.0, like), x)
    total = number(MOMENT[26][0], MOMENT[26][1], like)
    for k in range(25, -1, -1):
        total = add(mul(total, y), number(MOMENT[k][0], MOMENT[k][1], like))
    return mul(total, ratio) if rising else total


@kernel
def flow(p, b, x, clamped, s, error, work, like):
    """Write into `work` the state `s` after `x`, in refractory time with the membrane held.

    `error` bounds that of `s`. A negative `s` counts as 0, and as an error of its size.
    """
    apart()
    if upper(s) < 0.0:
        error -= upper(s)
        s = number(0.0, 0.0, like)
    x_mem = mul(s, number(p.rate_hi, p.rate_lo, like))
    scale = mul(s, number(p.gain_hi, p.gain_lo, like))
    em = decay(x_mem)[0]
    total = mul(number(x.hi[0], x.lo[0], like), em)
    work.fade[0] = upper(em)
    size = abs(upper(total))
    lost = size * (b.exp + b.mul + b.arg * upper(x_mem))
    drive, width = 0.0, p.count
    for c in range(1, width + 1):
        kind = p.kind[c - 1]
        fade, kappa = responses(p, c - 1, s, x_mem, em, scale, like)
        value = number(x.hi[c], x.lo[c], like)
        part, left = mul(value, kappa), mul(value, fade)
        total = add(total, part)
        work.x.hi[c], work.x.lo[c] = upper(left), lower(left)
        work.fade[c], work.gain[c], work.lag[c] = upper(fade), upper(kappa), 0.0
        # One exponential of the slower rate and one of the difference make the faster.
        fast = b.arg * max(upper(x_mem), upper(s) * p.decay_hi[c - 1])
        own = b.arg + b.exp + 4.0 * b.mul + fast
        own += b.second if kind == DRIVER else b.phi
        lost += abs(upper(part)) * own
        size += abs(upper(part))
        work.x.bound[ROUNDING, c] = b.unit * abs(upper(left)) * (2.0 * b.exp + 2.0 * b.mul + fast)
        if kind == DRIVER:
            drag(b, c, s, left, work, like)
            drive += abs(x.hi[c]) * upper(s)
        elif kind != THRESHOLD:
            drive += abs(x.hi[c])
    work.x.bound[ROUNDING, 0] = b.unit * (lost + size * width * b.add)
    carry(p, x, clamped, drive, error, work)
    if clamped:
        work.x.hi[0], work.x.lo[0] = x.hi[0], x.lo[0]
    else:
        work.x.hi[0], work.x.lo[0] = upper(total), lower(total)


@inline_kernel
def drag(b, c, s, left, work, like):
    """Add to the current before it what a driver has brought it."""
    brought = mul(s, left)
    total = add(number(work.x.hi[c - 1], work.x.lo[c - 1], like), brought)
    work.x.hi[c - 1], work.x.lo[c - 1] = upper(total), lower(total)
    work.lag[c] = upper(s) * work.fade[c]
    work.x.bound[ROUNDING, c - 1] += upper(s) * work.x.bound[ROUNDING, c] + b.unit * (
        abs(upper(brought)) * b.mul + abs(upper(total)) * b.add
    )


@inline_kernel
def carry(p, x, clamped, drive, error, work):
    """Let the bounds flow, and add what rounding and the error of the time bring anew."""
    width, bound = p.count, x.bound
    for k in range(3):
        fresh = k == ROUNDING
        membrane = bound[k, 0] if clamped else bound[k, 0] * work.fade[0]
        for c in range(1, width + 1):
            if not clamped:
                membrane += bound[k, c] * work.gain[c]
            own = bound[k, c] * work.fade[c]
            if fresh:
                own += work.x.bound[k, c] + error * abs(x.hi[c]) * p.decay_hi[c - 1]
            work.x.bound[k, c] = own * UP + TINY
            if work.lag[c] > 0.0:
                work.x.bound[k, c - 1] += (bound[k, c] * work.lag[c]) * UP
                if fresh:
                    work.x.bound[k, c - 1] += error * abs(x.hi[c]) * UP
        if fresh and not clamped:
            slope = p.gain_hi * drive + p.rate_hi * (abs(x.hi[0]) + drive)
            membrane += work.x.bound[k, 0] + error * slope
        work.x.bound[k, 0] = membrane * UP + TINY
