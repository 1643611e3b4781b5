r"""One spike: the exact number that stands for its time, and what is proved about it.

With `F` the residual of the centre at the candidate `T`, `D` the deviation of the voltage there,
`v` the slope, and :math:`r_0 = \tfrac32 (|F| + |D|)/v`: if the slope of the true trajectory stays
within :math:`\eta \le v/4` of `v` on :math:`T \pm r_0`, there is exactly one zero on it, and

.. math::
    d = -\frac{D}{v} + \epsilon, \qquad
    |\epsilon| \le \frac{|F| + r_1 \eta_1}{v}, \qquad
    r_1 = \frac{|F| + |D|}{v - \eta},                                            \tag{1}

since :math:`d = -(F + D)/v'` with a mean slope `v'`, so that :math:`|d| \le r_1`. Where the slope
lies within :math:`a + b |s|` of `v` at :math:`T + s`, the mean one lies within
:math:`\eta_1 = a + b r_1/2`.
"""

from __future__ import annotations

from typing import NamedTuple

from evsim.jit import apart, kernel
from evsim.models.linear import THRESHOLD
from evsim.numerics import add_time
from evsim.proof.bounds import NEAR, SLACK, TINY, UNIT, UP
from evsim.proof.flow import DEVIATION, REST, ROUNDING, flow, interval_as
from evsim.proof.numbers import number, sub, upper
from evsim.proof.silence import ABOVE, SILENT, UNCLEAR, Verdict, halve
from evsim.proof.state import excess, shape, spread

MOST_TURNS = 24


class Candidate(NamedTuple):
    """A candidate hi + lo, `span` after the state: residual, slope, and `eps` of (1)."""

    found: bool
    hi: float
    lo: float
    span: float
    error: float
    residual: float
    slope: float
    eps: float


@kernel
def candidate(p, b, q, hi, lo, work, like):
    """Newton's steps from a claimed time; `work` is left with the state at what they find."""
    apart()
    nothing = Candidate(False, hi, lo, 0.0, 0.0, 0.0, 0.0, 0.0)
    for turn in range(MOST_TURNS):
        s, error = interval_as(hi, lo, 0.0, q.hi, q.lo, q.off, like)
        if upper(s) < 0.0:
            return nothing
        flow(p, b, q.x, False, s, error, work, like)
        f, f_error = excess(p, b, q, work.x, like)
        now = shape(p, work.x, 0.0)
        inside = now.slope * now.slope - 2.0 * upper(f) * now.curvature
        if inside < 0.0 or now.slope + inside**0.5 <= 0.0:
            return nothing
        step = -2.0 * upper(f) / (now.slope + inside**0.5)
        if abs(upper(f)) <= 0.5 * f_error or turn == MOST_TURNS - 1:
            residual = (abs(upper(f)) + f_error) * UP
            return Candidate(now.slope > 0.0, hi, lo, upper(s), error, residual, now.slope, 0.0)
        new_hi, new_lo = add_time(hi, lo, step)
        if new_hi == hi and new_lo == lo:
            residual = (abs(upper(f)) + f_error) * UP
            return Candidate(now.slope > 0.0, hi, lo, upper(s), error, residual, now.slope, 0.0)
        hi, lo = new_hi, new_lo
    return nothing


@kernel
def confirm(p, c, work, symbols):
    """The candidate with `eps` of (1), if the lemma holds there; `symbols`: rows carry the
    linear part of the deviation."""
    apart()
    whole = spread(p, work.x)
    rest = work.x.bound[REST, 0]
    for k in range(1, p.count + 1):
        if p.kind[k - 1] == THRESHOLD:
            rest += work.x.bound[REST, k]
    v = c.slope
    r0 = 1.5 * (c.residual + whole) / v * UP
    now = shape(p, work.x, r0)
    eta = (now.loose + now.bend * r0) * UP
    good = c.found and eta <= 0.25 * v and r0 <= NEAR * p.shortest
    own = rest if symbols else whole
    eps = left_over(c.residual, whole, own, v, eta, now.loose, now.bend)
    return Candidate(good, c.hi, c.lo, c.span, c.error, c.residual, v, eps)


@kernel
def left_over(residual, whole, own, v, eta, loose, bend):
    """The bound of epsilon in (1), and of the part `own` of the deviation that no row carries."""
    most = (residual + whole) / (v - eta) * UP
    return ((residual + own) / v + most * (loose + 0.5 * bend * most) / v) * UP + TINY


@kernel
def first_one(p, b, q, c, rho, work, probe, like):
    """Whether no crossing comes between the state of neuron `n` and the confirmed candidate."""
    apart()
    now = shape(p, q.x, c.span)
    f, f_error = excess(p, b, q, q.x, like)
    start = upper(f)
    margin = f_error + spread(p, q.x) + now.steep * (rho + c.error) + q.crowd
    if not start + margin < 0.0:
        return Verdict(ABOVE if start - margin > 0.0 else UNCLEAR, 0.0, start, margin)
    if p.plain:
        # Currents that hold the membrane where it is: it would not have come back.
        least, size = 0.0, 0.0
        for k in range(1, p.count + 1):
            least += min(q.x.hi[k], work.x.hi[k]) - work.x.bound[ROUNDING, k]
            least -= q.x.bound[DEVIATION, k] + work.x.bound[DEVIATION, k]
            size += abs(q.x.hi[k])
        needed = q.theta_hi if p.rate_hi > 0.0 else 0.0
        if least > needed + SLACK * UNIT * (size + abs(q.theta_hi)):
            return Verdict(SILENT, 0.0, 0.0, 0.0)
    # On the last part the slope stays positive; before it F is below 0.
    delta = 0.25 * c.slope / now.bend
    if delta >= c.span:
        return Verdict(SILENT, 0.0, 0.0, 0.0)
    s, error = interval_as(c.hi, c.lo, 0.0, q.hi, q.lo, q.off, like)
    s = sub(s, number(delta, 0.0, like))
    return halve(p, b, q, s, error, rho, now, start, margin, probe, like)
