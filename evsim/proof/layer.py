r"""Spikes and silences of a layer whose inputs are known, proved beside the sweep that found them.

The state that the sweep carries is itself the centre, and all neurons of a layer share one
bound of its error, so that a proof costs no more passes over them:

* `majorants` follows what rounding, and arrivals that deviate, can do to the largest voltage and
  current that there are. One step for each event, whatever the number of neurons.
* The sweep flags neurons by a threshold lowered by `BUDGET`. As long as no error exceeds that,
  a neuron that is not flagged is silent, proved.
* `verify` goes with every flagged neuron through its events once more. A spike of radius `r`
  leaves an error of the voltage, which is that neuron's own and decays.

Errors obey the equation of the state, with non-negative coefficients, so that bounds add up.
With :math:`|F|` bounding the true distance from threshold at the time `T` of a spike, and slopes
of at least `v` on :math:`T \pm \tfrac32 |F|/v`, the true spike lies within :math:`|F|/v` of `T`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import verbs
from evsim.models.lif import LIFKernel
from evsim.models.refractory import CLAMP
from evsim.numerics import add_time, elapsed, exp_neg, log, not_before
from evsim.proof.bounds import ARG, FADE, GAIN, GROWN, GROWN_2, NEAR, TINY, UNIT, UP

#: Part of the threshold that errors may reach.
BUDGET = 1e-6
#: By how much the threshold of flags is lowered, relatively.
LOWERED = 1.001 * BUDGET
#: Of the sum of two floats' magnitudes: what the bound of a sweep may lose to rounding.
BOUND = 24.0 * UNIT
#: Of the sum of a current and a threshold: what a slope may lose to rounding.
RISE = 3.0 * UNIT
#: Of the later of two times, when of both the low parts are left out.
GAP = 5.0 * UNIT
#: Of numbers that have been rounded once.
ONCE = 1.5 * UNIT
#: Error of an interval between times given as two doubles, relative to the later one.
LATE = 12.0 * UNIT * UNIT


class Shared(NamedTuple):
    """Bounds before event `e` (and, last, behind them all) that hold for every neuron."""

    u: Any  # error of the voltage
    i: Any  # of the current
    widest: Any  # (1,) the largest radius of an arrival
    shift: Any  # (1,) how far F may be off for arrivals that come early or late
    most: Any  # (1,) the greatest of all errors that count against the budget


class Trains(NamedTuple):
    """Claimed spikes: those of neuron `n` are `place[start[n]:start[n + 1]]`, in time."""

    hi: Any
    lo: Any
    place: Any
    start: Any
    radius: Any  # (k,) the answer


class Own(NamedTuple):
    """What is known of each neuron by itself."""

    u: Any  # error beyond the shared one at `at`
    i: Any
    at: Any
    next: Any  # its next claim
    free_hi: Any
    free_lo: Any
    r: Any  # radius of its last spike; -1 without one
    open: Any  # it could not be proved


class Walk(NamedTuple):
    """A neuron at its last own event: state, errors, time, and the radius of that time."""

    u: float
    i: float
    e_u: float
    e_i: float
    hi: float
    lo: float
    rho: float
    busy: bool
    good: bool


def guarded(p):
    """The parameters by which neurons are flagged if there is to be a proof, or None where there
    is none here: for other models, levels and parameters of each neuron."""
    if type(p) is not LIFKernel or isinstance(p.theta, np.ndarray) or not p.theta > 0.0:
        return None
    if p.refractory != CLAMP and p.t_ref > 0.0:
        return None
    return p._replace(theta=p.theta * (1.0 - LOWERED))


@inline_kernel
def lost(u, i, x):
    """What rounding adds to the error of a voltage that two parts of these sizes make up."""
    return UNIT * (u * (FADE + 2.0 + ARG * x) + i * (GAIN + 2.0 + ARG * x))


@inline_kernel
def faded(i, x):
    """The same of a current that is left of another."""
    return UNIT * i * (FADE + 1.0 + ARG * x)


@inline_kernel
def fastest(p):
    """The faster of the two rates."""
    return max(p.rate_mem, p.rate_syn)


@kernel
def crowded(events, span):
    """The most arrivals that come within `span` of one another."""
    first = most = 0
    for e in range(events.hi.size):
        while elapsed(events.hi[e], events.lo[e], events.hi[first], events.lo[first]) > span:
            first += 1
        most = max(most, e - first + 1)
    return most


@kernel
def majorants(p, events, table, top, rho, size, e_u, shared):
    """Fill `shared`; `top` bounds all weights, `rho` the deviation of the arrivals of each event,
    `size` all voltages and currents, `e_u` the error of the voltages at time 0."""
    hi, lo, e_i, most, widest = 0.0, 0.0, 0.0, 0.0, 0.0
    for e in range(events.hi.size):
        shared.u[e], shared.i[e] = e_u, e_i
        most, widest = max(most, e_u + e_i), max(widest, rho[e])
        em, es, g = verbs.load(table, e)
        d = elapsed(events.hi[e], events.lo[e], hi, lo)
        hi, lo = events.hi[e], events.lo[e]
        x, late = d * fastest(p), 2.0 * LATE * hi * size
        moved = (rho[e] * GROWN) * top
        e_u = em * e_u + g * e_i + lost(size * em, size * g, x)
        e_u = (e_u + p.rate_mem * (moved + late)) * UP + TINY
        e_i = es * e_i + faded(size * es, x) + UNIT * (size * es + top)
        e_i = (e_i + p.rate_syn * (moved + late)) * UP + TINY
    shared.u[events.hi.size], shared.i[events.hi.size] = e_u, e_i
    shared.widest[0] = widest
    late = widest + LATE * hi
    # The ends of a gap move; and of arrivals whose order is open some may be still to come.
    missing = crowded(events, 2.0 * late) * top
    shared.shift[0] = 2.0 * GROWN_2 * p.rate_mem * (size + missing) * late
    most = max(most, e_u + e_i) + 2.0 * BOUND * size + shared.shift[0]
    shared.most[0] = most if late * fastest(p) <= NEAR else np.inf


@inline_kernel
def flowed(p, w, c, s):
    """`w` after an interval `s` of coefficients `c`, and bounds of its errors."""
    em, es, g = c
    left, part, i = w.u * em, w.i * g, w.i * es
    x = s * fastest(p)
    late = LATE * (abs(w.hi) + s)
    e_u = em * w.e_u + g * w.e_i + lost(abs(left), abs(part), x)
    e_u = (e_u + p.rate_mem * late * (abs(w.u) + abs(w.i))) * UP + TINY
    e_i = (es * w.e_i + faded(abs(i), x) + p.rate_syn * late * abs(w.i)) * UP + TINY
    return left + part, i, e_u, e_i


@inline_kernel
def quiet(p, w, y, c, s, shift):
    """Whether the voltage stays below threshold for `s`, at the end of which it is at `y`."""
    theta = p.theta
    edge = shift + abs(p.theta_lo) + BOUND * (abs(w.u) + abs(w.i) + theta)
    push = w.i if w.i > 0.0 else 0.0
    top = w.u * c[0] + push * (1.0 - c[0])
    if max(w.u, top) + (w.e_u + w.e_i + edge) < theta:
        return True
    if not (w.u + w.e_u + edge < theta and y[0] + y[2] + edge < theta):
        return False
    # A current that stays above threshold would have held the voltage there.
    return y[1] - y[3] > theta + edge or peaks_below(p, w, s, edge)


@kernel
def peaks_below(p, w, s, edge):
    """Whether the voltage is below where the current sinks to threshold: its greatest value."""
    theta = p.theta
    peak = min(max(log(w.i / theta) / p.rate_syn, 0.0), s) if w.i > theta else 0.0
    u, i, e_u, e_i = flowed(p, w, verbs.interval(p, peak), peak)
    off = abs(i - theta) + e_i + edge
    return u + e_u + off + edge < theta and 4.0 * off * p.rate_mem < p.rate_syn * theta


@inline_kernel
def crossing(p, w, u, i, e_u, e_i):
    """The radius of a spike where the state has flowed to these values; inf: not proved."""
    theta = p.theta
    f = (abs(u - theta) * (1.0 + UNIT) + e_u + abs(p.theta_lo) * (1.0 + UNIT)) * UP
    loose = e_i + f + RISE * (abs(i) + theta)
    v = p.rate_mem * ((i - theta) - loose * UP)
    size = abs(i) + e_i
    bend = GROWN_2 * p.rate_mem * (p.rate_syn * size + p.rate_mem * (size + theta + f))
    r0 = 1.5 * f / v
    if not (v > 0.0 and bend * r0 <= 0.25 * v and r0 * fastest(p) <= NEAR):
        return np.inf
    return f / (v - bend * r0) * UP + TINY


@inline_kernel
def released(p, w, hi, lo, r):
    """A clamped neuron at its release, of which the spike before had the radius `r`."""
    s, i, e_i = elapsed(hi, lo, w.hi, w.lo), w.i, w.e_i
    if s > 0.0:
        _, i, _, e_i = flowed(p, w, verbs.interval(p, s), s)
    pull = abs(i - p.u_reset) + e_i + GROWN * (abs(i) + e_i) * p.rate_syn * r + BOUND * abs(i)
    e_u = r * p.rate_mem * pull * (1.0 + GROWN * p.rate_mem * r) + ONCE * abs(p.u_reset)
    return Walk(p.u_reset, i, e_u * UP + TINY, e_i, hi, lo, r, False, w.good)


@inline_kernel
def through(p, n, w, c, hi, lo, rho, shared, own, trains):
    """Neuron `n` through its spikes and releases to the time hi + lo, `c` from its last event
    there; `rho` is the radius of that time."""
    shift, widest = shared.shift[0], shared.widest[0]
    while True:
        if w.busy:
            if not not_before(hi, lo, own.free_hi[n], own.free_lo[n]):
                s = elapsed(hi, lo, w.hi, w.lo)
                _, i, _, e_i = flowed(p, w, c, s)
                return Walk(w.u, i, 0.0, e_i, hi, lo, rho, True, w.good)
            w = released(p, w, own.free_hi[n], own.free_lo[n], own.r[n])
            c = verbs.interval(p, elapsed(hi, lo, w.hi, w.lo))
        k = own.next[n]
        place = trains.place[k] if k < trains.start[n + 1] else -1
        if place < 0 or not not_before(hi, lo, trains.hi[place], trains.lo[place]):
            s = elapsed(hi, lo, w.hi, w.lo)
            y = flowed(p, w, c, s)
            good = w.good and quiet(p, w, y, c, s, shift)
            return Walk(y[0], y[1], y[2], y[3], hi, lo, rho, False, good)
        t_hi, t_lo = trains.hi[place], trains.lo[place]
        s = elapsed(t_hi, t_lo, w.hi, w.lo)
        u, i, e_u, e_i = flowed(p, w, verbs.interval(p, s), s)
        r = crossing(p, w, u, i, e_u, e_i)
        edge = shift + abs(p.theta_lo) + BOUND * (abs(w.u) + p.theta)
        good = w.good and w.u + w.e_u + edge < p.theta
        good &= s > (r + max(w.rho, widest)) * UP
        good &= elapsed(hi, lo, t_hi, t_lo) > (r + widest) * UP
        trains.radius[place], own.r[n], own.next[n] = r, r, k + 1
        own.free_hi[n], own.free_lo[n] = add_time(t_hi, t_lo, max(p.t_ref, 0.0))
        w = Walk(p.u_reset, i, 0.0, e_i, t_hi, t_lo, r, True, good)
        if not good:
            return w


@inline_kernel
def beside_release(n, hi, lo, rho, own):
    """Whether an arrival may come on either side of the neuron's release."""
    if own.r[n] < 0.0:
        return False
    gap = abs(elapsed(hi, lo, own.free_hi[n], own.free_lo[n]))
    return gap <= (own.r[n] + rho) * UP


@inline_kernel
def entered(p, n, e, u, i, events, rho, shared, own):
    """The neuron in its state before event `e`, with its errors."""
    hi, lo, r = 0.0, 0.0, 0.0
    if e > 0:
        hi, lo, r = events.hi[e - 1], events.lo[e - 1], rho[e - 1]
    x = max(hi - own.at[n] - GAP * hi, 0.0) * p.rate_mem
    e_u = shared.u[e] + (own.u[n] * exp_neg(x * (1.0 - 1e-12)) + own.i[n]) * UP
    busy = own.r[n] >= 0.0 and not not_before(hi, lo, own.free_hi[n], own.free_lo[n])
    return Walk(u, i, e_u, shared.i[e] + own.i[n], hi, lo, r, busy, True)


@kernel
def verify(p, events, weights, table, rho, shared, trail, until, own, trains):
    """Go through the trail, and on to `until`; what cannot be proved is left in `own.open`."""
    budget = BUDGET * p.theta
    if not shared.most[0] < budget:
        own.open[:] = True
        return
    for j in range(trail.used[0]):
        n, first, stop = trail.unit[j], trail.first[j], trail.stop[j]
        if own.open[n]:
            continue
        u, i = verbs.load(trail.before, j)
        w = entered(p, n, first, u, i, events, rho, shared, own)
        for e in range(first, stop):
            hi, lo = events.hi[e], events.lo[e]
            c = verbs.load(table, e)
            w = through(p, n, w, c, hi, lo, rho[e], shared, own, trains)
            if not w.good or beside_release(n, hi, lo, rho[e], own):
                own.open[n] = True
                break
            weight = weights[events.row[e], n]
            i = w.i + weight
            moved = GROWN * rho[e] * abs(weight)
            e_u = w.e_u if w.busy else w.e_u + p.rate_mem * moved * UP
            e_i = w.e_i + (UNIT * abs(i) + p.rate_syn * moved) * UP
            w = Walk(w.u, i, e_u, e_i, hi, lo, rho[e], w.busy, True)
        u, i = verbs.load(trail.after, j)
        own.u[n] = max((abs(u - w.u) + w.e_u - shared.u[stop]) * UP, 0.0)
        own.i[n] = max((abs(i - w.i) + w.e_i - shared.i[stop]) * UP, 0.0)
        own.at[n] = w.hi
        if not own.u[n] + own.i[n] + shared.most[0] < budget:
            own.open[n] = True
    size = events.hi.size
    for n in range(own.u.size):
        if not own.open[n]:
            u, i = verbs.load(trail.last, n)
            w = entered(p, n, size, u, i, events, rho, shared, own)
            c = verbs.interval(p, elapsed(until, 0.0, w.hi, w.lo))
            w = through(p, n, w, c, until, 0.0, 0.0, shared, own, trains)
            own.open[n] = not w.good or own.next[n] < trains.start[n + 1]
