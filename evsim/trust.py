r"""How far the weights may move before an event is created, lost, or changes places.

Let every weight move by up to `r`. To first order a state moves by up to :math:`r \sigma` and a
spike by up to :math:`r \sigma_t`, with

.. math::
    \sigma \leftarrow |\Phi|\, \sigma, \qquad
    \sigma \leftarrow \sigma + |e| + |F(y - j) - F(y)|\, \sigma_{t_a}, \qquad
    \sigma_t = |\partial t/\partial x|\, \sigma                                  \tag{1}

over an interval with the Jacobian :math:`\Phi`, at an arrival in the direction `e`, and at a
spike. Magnitudes are taken at every step: no combination of moves does worse. A margin `m` that
moves by :math:`r \sigma_m` holds for :math:`r < m/\sigma_m`; half of the least such `r` is the
answer, the other half being left to what (1) neglects.
"""

from __future__ import annotations

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.adjoint import plus, scaled
from evsim.models.tuples import dot_abs, replaced
from evsim.numerics import elapsed
from evsim.replay import (
    RELEASE,
    arrival_at,
    at_start,
    drive_as_then,
    lay_out,
    start_of,
    to_end_of,
)
from evsim.tape import kind_of, source_of, synapse_of, time_of


@inline_kernel
def moved(q, d, x, sigma, busy):
    """The first of (1) over an interval `d` from state `x`."""
    none, out = scaled(sigma, 0.0), sigma
    for j in range(len(sigma)):
        unit = replaced(none, j, 1.0)
        if busy:
            row, _ = adjoint.pull_held(q, d, x, unit)
        else:
            row, _ = adjoint.pull(q, d, x, unit)
        out = replaced(out, j, dot_abs(row, sigma))
    return out


#: Times within an interval at which the motion of the voltage is looked at, each half the one
#: before, and what to add for those between.
LOOKS, BETWEEN = 12, 1.25


@kernel
def reach(q, d, x, sigma):
    """How far the height above threshold moves within `d` after state `x`, at most."""
    most = dot_abs(adjoint.normal(q, x, 1.0), sigma)
    for _ in range(LOOKS):
        row, _ = adjoint.pull(q, d, x, adjoint.normal(q, x, 1.0))
        most = max(most, BETWEEN * dot_abs(row, sigma))
        d *= 0.5
    return most


@inline_kernel
def room(margin, motion):
    """For how large a move a margin holds."""
    return margin / motion if motion > 0.0 else np.inf


@inline_kernel
def steps(tape, course, e):
    """Whether event `e` is a step of the external current."""
    return e != course.release and kind_of(tape, arrival_at(course, e)) < 0


@kernel
def along(p, n, course, sigma, own, books, tape, way, shift):
    """(1) along a way; `own`, `shift`: of the neuron's last spike and of all.

    Returns what there is after it, and the least that a margin on it allows.
    """
    least, m = np.inf, course.size
    for e in range(1, m + 1):
        busy, a = e <= course.held, arrival_at(course, e)
        if tape.driven:
            k = e  # the current up to here is what the next change of it started from
            while k <= m and not steps(tape, course, k):
                k += 1
            now = way.drive[k] if k <= m else at_start(books, n)
            verbs.redrive(p, n, verbs.load(way.x, e - 1), busy, now, now)
        q, x, y = verbs.pick(p, n), verbs.load(way.x, e - 1), verbs.load(way.x, e)
        if not busy and way.d[e] > 0.0:
            margin = -adjoint.peak(q, x, way.d[e], -np.inf)
            if margin < np.inf:
                least = min(least, room(margin, reach(q, way.d[e], x, sigma)))
        sigma = moved(q, way.d[e], x, sigma, busy)
        freed_before = e - 1 == course.release
        before = 0.0
        if e > 1 and not freed_before:
            before = shift[source_of(tape, arrival_at(course, e - 1))]
        if a == RELEASE:
            least = min(least, room(way.d[e], before + own) if e > 1 else np.inf)
            sigma = freed(q, y, sigma, own)
        elif kind_of(tape, a) >= 0:
            if e > 1 and freed_before:
                least = min(least, room(way.d[e], shift[source_of(tape, a)] + own))
            kind, value, none = kind_of(tape, a), tape.value[synapse_of(tape, a)], scaled(y, 0.0)
            if busy:
                one = verbs.receive_clamped(q, none, kind, 1.0)
                jump = adjoint.lag_held(q, y, scaled(one, value))
            else:
                one = verbs.receive(q, none, kind, 1.0)
                jump = adjoint.lag(q, y, scaled(one, value))
            sigma = plus(plus(sigma, spread(one, 1.0)), spread(jump, shift[source_of(tape, a)]))
    if tape.driven:
        now = at_start(books, n)
        verbs.redrive(p, n, verbs.load(way.x, m), False, now, now)
    return sigma, least


@inline_kernel
def spread(values, factor):
    """Magnitudes times `factor`."""
    out = values
    for j in range(len(values)):
        out = replaced(out, j, abs(values[j]) * factor)
    return out


@inline_kernel
def freed(q, y, sigma, own):
    """(1) at a release in state `y`, which moves by `own`."""
    jump = plus(adjoint.held(q, y), scaled(adjoint.drift(q, y), -1.0))
    return plus(sigma, spread(jump, own))


@kernel
def released(q, d, x, sigma, own):
    """(1) from state `x` to a release `d` later, and the state there."""
    y = verbs.clamp(q, verbs.interval(q, d), x)
    return freed(q, y, moved(q, d, x, sigma, True), own), y


@inline_kernel
def of_event(course, own, tape, shift):
    """How far the last event of a way moves."""
    if course.size in (0, course.release):
        return own
    return shift[source_of(tape, arrival_at(course, course.size))]


@kernel
def through(q, d, x, z, sigma, first, at_once):
    """(after the spike, of its time): (1) at a spike `d` after state `x`; `first`: of the event
    before, whose time it has if it comes `at_once`."""
    none, out = scaled(sigma, 0.0), sigma
    for j in range(len(sigma)):
        row, _, _, _, _, delta = adjoint.pull_spike(
            q, d, x, z, replaced(none, j, 1.0), 0.0, at_once
        )
        out = replaced(out, j, dot_abs(row, sigma) + abs(delta) * first)
    row, _, _, _, _, _ = adjoint.pull_spike(q, d, x, z, none, 1.0, at_once)
    return out, (first if at_once else dot_abs(row, sigma))


@kernel
def widen(p, order, state, start, books, tape, train, low, until, way, notes, sigmas, shift, least):
    """Through the spikes `order`, each after what has caused it; `least` (1,) is lowered."""
    for k in order:
        n = train.unit[k]
        x, clock, a = start_of(p, n, k, low, state, start, tape, train, notes)
        own = shift[train.number[k - 1]] if k > train.first[n] else 0.0
        if tape.driven:
            drive_as_then(p, n, k, low, x, clock, start, books, notes)
        at = (train.hi[k], train.lo[k])
        course, clock, d, _ = lay_out(
            p, n, x, clock, a, notes.stop[k], at, books, tape, way, np.nan
        )
        sigma, found = along(p, n, course, verbs.load(sigmas, n), own, books, tape, way, shift)
        q, x, z = verbs.pick(p, n), verbs.load(way.x, course.size), verbs.load(notes.after, k)
        at_once = d == 0.0
        stop = notes.stop[k]
        following = time_of(tape, stop) if stop < tape.start[n + 1] else until
        far = d + elapsed(following[0], following[1], at[0], at[1])
        if notes.peak[k] < np.inf:
            found = min(found, room(notes.peak[k], reach(q, far, x, sigma)))
        first = of_event(course, own, tape, shift)
        sigma, mine = through(q, d, x, z, sigma, first, at_once)
        if course.size > 0 and not at_once:
            found = min(found, room(d, mine + first))
        if stop < tape.start[n + 1]:
            found = min(found, room(far - d, mine + shift[source_of(tape, stop)]))
        shift[train.number[k]] = mine
        verbs.store(sigmas, n, sigma)
        least[0] = min(least[0], found)


@kernel
def widen_ends(p, state, start, books, tape, train, low, until, way, notes, sigmas, shift, least):
    """Every neuron from its last spike in a part of the run to its end."""
    for n in range(low.size):
        k = train.next[n]
        x, clock, a = start_of(p, n, k, low, state, start, tape, train, notes)
        own = shift[train.number[k - 1]] if k > train.first[n] else 0.0
        if tape.driven:
            drive_as_then(p, n, k, low, x, clock, start, books, notes)
        nowhere = (-np.inf, 0.0)
        course, clock, _, _ = lay_out(
            p, n, x, clock, a, tape.start[n + 1], nowhere, books, tape, way, np.nan
        )
        sigma, found = along(p, n, course, verbs.load(sigmas, n), own, books, tape, way, shift)
        verbs.store(sigmas, n, sigma)
        q, x = verbs.pick(p, n), verbs.load(way.x, course.size)
        d, free, rest = to_end_of(until, clock)
        if rest >= 0.0:
            if free:
                if course.size > 0:
                    found = min(found, room(d, of_event(course, own, tape, shift) + own))
                sigma, x = released(q, d, x, sigma, own)
            margin = -adjoint.peak(q, x, rest, -np.inf)
            if margin < np.inf:
                found = min(found, room(margin, reach(q, rest, x, sigma)))
        least[0] = min(least[0], found)
