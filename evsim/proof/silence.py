r"""Proofs that a neuron does not fire in a gap between two of its events.

Three tests at once on the two ends of the gap: currents too weak; a bound that rises with time;
currents that hold the membrane above threshold once it is there, so that the end tells. What
they leave open is halved: between two points at a distance `w` a function lies at most

.. math::  \tfrac{1}{8} w^2 \max |F''|

above the larger of its values there. Near a peak of height `-m` that takes about
:math:`\log_2 1/m` points.
"""

from __future__ import annotations

from typing import NamedTuple

from evsim.jit import apart, inline_kernel, kernel
from evsim.models.linear import DRIVER, THRESHOLD
from evsim.proof.bounds import SINGLE, SLACK, UNIT
from evsim.proof.flow import DEVIATION, ROUNDING, flow
from evsim.proof.numbers import add, number, sub, upper
from evsim.proof.state import excess, shape, spread

#: Answers.
#: `ABOVE`: the state itself is above threshold, by a jump.
SILENT, CROSSES, UNCLEAR, ABOVE = range(4)
#: Halvings of one gap before it counts as unclear.
MOST_STEPS = 4000


class Verdict(NamedTuple):
    """`at` is where it crosses or is unclear; `value` and `margin` what F was there, and its
    uncertainty."""

    answer: int
    at: float
    value: float
    margin: float


@inline_kernel
def ends_tell(p, q, work, t, f, margin):
    """The first tests, where `work` holds the state at the end of the gap of length `t`."""
    x, gain, rate = q.x.hi, p.gain_hi, p.rate_hi
    push = least = rise = size = 0.0
    for c in range(1, p.count + 1):
        kind = p.kind[c - 1]
        off = q.x.bound[ROUNDING, c] + q.x.bound[DEVIATION, c]
        if kind == THRESHOLD:
            rise += max(x[c] - work.x.hi[c], 0.0)
        elif kind == DRIVER:
            most = min(t, 1.0 / p.decay_hi[c - 1])
            push += max(x[c], 0.0) * most
            size += abs(x[c]) * most
        else:
            push += max(x[c], 0.0)
            least += min(x[c], work.x.hi[c]) - off
        size += abs(x[c])
    # `f` is u - A - theta at the start, and `level` theta as far as u is concerned.
    slack = SLACK * UNIT * (abs(q.theta_hi) + abs(x[0]) + size)
    if rate > 0.0:
        top = max(f, f + (push - x[0]) * (1.0 - work.fade[0]))
    else:
        top = f + gain * push * t
    if top + rise + margin + slack < 0.0:
        return True
    if p.plain == 0:
        return False
    needed = q.theta_hi if rate > 0.0 else 0.0
    after = work.x.hi[0] - q.theta_hi
    return least > needed + slack and after + margin + slack < 0.0


@kernel
def quiet(p, b, q, s, error, rho, work, probe, like):
    """Whether F stays below 0 from the state of neuron `n` on, for `s`.

    `work` holds the state at the end; `rho` bounds the deviations of the times of both ends.
    """
    apart()
    start, margin, now = start_of(p, b, q, upper(s), rho + error, like)
    if not start + margin < 0.0:
        answer = ABOVE if start - margin > 0.0 else UNCLEAR
        return Verdict(answer, 0.0, start, margin)
    if ends_tell(p, q, work, upper(s), start, margin + grown(p, q, upper(s))):
        return Verdict(SILENT, 0.0, 0.0, 0.0)
    return halve(p, b, q, s, error, rho, now, start, margin, probe, like)


@inline_kernel
def start_of(p, b, q, t, rho, like):
    """F at the start of a gap of length `t`; how far the truth may lie above over both ends'
    deviations; and the shape there."""
    now = shape(p, q.x, t)
    f, f_error = excess(p, b, q, q.x, like)
    return upper(f), f_error + spread(p, q.x) + now.steep * rho + q.crowd, now


@inline_kernel
def grown(p, q, t):
    """What the uncertainty of its currents may bring the membrane within `t`."""
    bound, total = q.x.bound, 0.0
    for c in range(1, p.count + 1):
        if p.kind[c - 1] != THRESHOLD:
            off = bound[ROUNDING, c] + bound[DEVIATION, c]
            total += off * (t if p.kind[c - 1] == DRIVER else 1.0)
    reach = p.gain_hi * t
    return total * (min(reach, 1.0) if p.rate_hi > 0.0 else reach)


@kernel
def calm(net, n, st, ends, t, rho):
    """Whether the first tests of `quiet` tell of the one state of `st`, in floats, whose bounds
    cover the rounding of the one at the end of the gap, in `ends`, too."""
    p, q = net[n], st[0]
    start, margin, _ = start_of(p, SINGLE, q, t, rho, 0.0)
    if not start + margin < 0.0:
        return False
    return ends_tell(p, q, ends[0], t, start, margin + grown(p, q, t))


@kernel
def halve(p, b, q, s, error, rho, now, before, margin, probe, like):
    """The last test of `quiet`; `before` is F at the start, uncertain by `margin`."""
    apart()
    done, width = number(0.0, 0.0, like), s
    steep, bend, loose = now.steep, now.bend, margin
    for _ in range(MOST_STEPS):
        left = sub(s, done)
        if upper(left) <= 0.0:
            return Verdict(SILENT, 0.0, 0.0, 0.0)
        at = s if upper(width) >= upper(left) else add(done, width)
        flow(p, b, q.x, False, at, error + 1e-30 * upper(at), probe, like)
        f, f_error = excess(p, b, q, probe.x, like)
        value, w = upper(f), upper(sub(at, done))
        off = f_error + spread(p, probe.x) + steep * (rho + error) + q.crowd
        if value - off > 0.0:
            return earliest(p, b, q, upper(done), upper(at), value, off, error, probe, like)
        most = max(before + loose, value + off) + 0.125 * bend * w * w * 1.0000001
        if most < 0.0:
            after = shape(p, probe.x, upper(left))
            done, before, loose, bend = at, value, off, after.bend
            width = number(2.0 * w, 0.0, like)
        elif w < 1e-28 * upper(s) or w < 1e-300:
            return Verdict(UNCLEAR, upper(at), value, off)
        else:
            width = number(0.5 * w, 0.0, like)
    return Verdict(UNCLEAR, upper(done), before, loose)


@kernel
def earliest(p, b, q, low, high, value, off, error, probe, like):
    """That it crosses before `high`, where F is above 0; brought close to a crossing."""
    apart()
    for _ in range(60):
        middle = 0.5 * (low + high)
        flow(p, b, q.x, False, number(middle, 0.0, like), error, probe, like)
        f, f_error = excess(p, b, q, probe.x, like)
        here = f_error + spread(p, probe.x)
        if upper(f) - here > 0.0:
            high, value, off = middle, upper(f), here
        else:
            low = middle
    return Verdict(CROSSES, high, value, off)
