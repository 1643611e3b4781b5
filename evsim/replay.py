"""Forward again through a run whose spikes are known.

Nothing is searched: `replay` goes once through the spikes and what came before each of them at its
neuron, and keeps its state after it. From there `lay_out` goes again through the events up to the
next, so that memory follows the spikes. For `evsim.adjoint`, which goes backward, and for
`evsim.trust`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.tuples import sum_abs
from evsim.neuron import Clock, clock_of, enter, move
from evsim.numerics import add_time, elapsed, not_before
from evsim.order import index
from evsim.tape import bring_near, kind_of, source_of, synapse_of, time_of


class Train(NamedTuple):
    """A population's spikes by neuron: those of neuron `n` are `first[n]:first[n + 1]`."""

    first: Any
    hi: Any
    lo: Any
    unit: Any
    number: Any  # of all spikes of the network
    next: Any  # (n,) the neuron's first one in the part of the run that is being replayed


class Notes(NamedTuple):
    """What `replay` keeps of every spike, and what it measures."""

    after: Any  # state after it
    stop: Any  # arrivals before it, as an index into the tape
    current: Any  # external current at it, and the sum of pulses as two doubles
    pulse: Any
    pulse_lo: Any
    peak: Any  # how far the voltage would have risen above threshold
    gap: Any  # distance to the nearest arrival
    slope: Any  # of the height above threshold, inf without a crossing
    silent: Any  # (n,) the greatest height in any interval without a spike


class Way(NamedTuple):
    """One neuron's own events from one spike to the next; entry 0 is where it starts."""

    x: Any  # state after each
    hi: Any  # when each comes
    lo: Any
    d: Any  # time since the one before
    drive: Any  # external current before it
    flow: Any  # coefficients of the interval before it: of `verbs.interval`
    pull: Any  # and of `adjoint.pull_own`


class Course(NamedTuple):
    """What happens on a way: arrivals one after another, and a release at most."""

    first: int  # arrival
    size: int  # events
    held: int  # up to which of them the neuron is refractory
    release: int  # which of them is its release; 0: none


#: Arrivals of a neuron that are brought near before its next spike is gone through, and those of a
#: neuron without one that are gone through at a time: a way that stays near.
AHEAD = 128
RELEASE = -1


@inline_kernel
def arrival_at(course, e):
    """The arrival that event `e` is, or `RELEASE`."""
    if e == course.release:
        return RELEASE
    return course.first + e - 1 - (0 < course.release < e)


@inline_kernel
def at_start(books, n):
    """External current of neuron `n`."""
    return books.pulses[0, n] + books.current[n]


@inline_kernel
def enter_times(tape, first, stop, m, way):
    """Enter when the arrivals `first` to `stop` come, behind event `m`."""
    for a in range(first, stop):
        e = index(m + 1 + a - first)
        way.hi[e], way.lo[e] = time_of(tape, a)


@kernel
def list_events(clock, first, stop, limit, tape, way):
    """Enter what happens to a neuron from its clock on: the arrivals `first` to `stop`, a release.

    Returns the course, the clock after its last event and the time from there to `limit`.
    """
    way.hi[0], way.lo[0] = clock.hi, clock.lo
    release, held, free_hi, free_lo = 0, 0, clock.free_hi, clock.free_lo
    if clock.busy:
        while first + held < stop and not not_before(
            *time_of(tape, first + held), free_hi, free_lo
        ):
            held += 1
        enter_times(tape, first, first + held, 0, way)
        if first + held < stop or not_before(limit[0], limit[1], free_hi, free_lo):
            release = held = held + 1
            way.hi[release], way.lo[release] = free_hi, free_lo
    done = first + held - (release > 0)
    enter_times(tape, done, stop, held, way)
    m = held + stop - done
    for e in range(1, m + 1):
        way.d[e] = elapsed(way.hi[e], way.lo[e], way.hi[e - 1], way.lo[e - 1])
    left = elapsed(limit[0], limit[1], way.hi[m], way.lo[m])
    if clock.busy and release == 0:
        clock = Clock(way.hi[m], way.lo[m], True, free_hi, free_lo, clock.free_error)
    else:
        clock = Clock(way.hi[m], way.lo[m], False, 0.0, 0.0, 0.0)
    return Course(first, m, held, release), clock, left


@kernel
def flow_coefficients(q, d, flow):
    """Of the flow over every interval: apart from what follows one upon the other, they
    vectorise."""
    for e in range(d.size):
        verbs.store(flow, e, verbs.interval(q, d[e]))


@inline_kernel
def arrive(p, q, n, x, busy, a, e, books, tape, way):
    """(parameters, state) after arrival `a`, which is event `e`."""
    kind, value = kind_of(tape, a), tape.value[synapse_of(tape, a)]
    if kind < 0:
        way.drive[e] = at_start(books, n)
        x = move(p, n, x, busy, books.pulses, books.current, kind, value)
        return verbs.pick(p, n), x
    if busy:
        return q, verbs.receive_clamped(q, x, kind, value)
    return q, verbs.receive(q, x, kind, value)


@kernel
def lay_out(p, n, x, clock, first, stop, limit, books, tape, way, best):
    """Lay out the own events of neuron `n` through the arrivals `first` to `stop` into `way`.

    `limit` (hi, lo) is where the way ends: a release up to there is on it. `best` is the
    greatest height so far; nan: not asked for. Returns the course, the clock after the last event,
    the time from there to the limit, and the greatest height.
    """
    course, clock, left = list_events(clock, first, stop, limit, tape, way)
    q, m, alone = verbs.pick(p, n), course.size, tape.driven == 0
    if alone:
        flow_coefficients(q, way.d[1 : m + 1], verbs.cut(way.flow, 1, m + 1))
    verbs.store(way.x, 0, x)
    for e in range(1, course.held + 1):
        c = verbs.load(way.flow, index(e)) if alone else verbs.interval(q, way.d[e])
        x = verbs.clamp(q, c, x)
        if e != course.release:
            q, x = arrive(p, q, n, x, True, first + e - 1, e, books, tape, way)
        verbs.store(way.x, index(e), x)
    last = stop - 1 - m
    for e in range(course.held + 1, m + 1):
        d = way.d[index(e)]
        c = verbs.load(way.flow, index(e)) if alone else verbs.interval(q, d)
        y, _ = verbs.step(q, c, x)
        if best == best and d > 0.0:
            best = raised(q, c, x, y, d, best)
        q, x = arrive(p, q, n, y, False, last + e, e, books, tape, way)
        verbs.store(way.x, index(e), x)
    return course, clock, left, best


@inline_kernel
def raised(q, c, x, y, d, best):
    """The greatest height so far, after an interval `d` of coefficients `c` from `x` to `y`."""
    reached, bound = adjoint.crest(q, c, x, y)
    best = max(best, reached)
    return adjoint.peak(q, x, d, best) if bound > best else best


@inline_kernel
def drive(p, n, x, busy, books):
    """Give the parameters of neuron `n` the external current that is in the books."""
    now = at_start(books, n)
    verbs.redrive(p, n, x, busy, now, now)


@inline_kernel
def clock_after(p, n, hi, lo):
    """The clock of neuron `n` right after a spike at (hi, lo)."""
    t_ref = verbs.pick(p, n).t_ref
    free_hi, free_lo = add_time(hi, lo, t_ref)
    return Clock(hi, lo, t_ref > 0.0, free_hi, free_lo, 0.0)


@inline_kernel
def comes_before(tape, a, hi, lo, with_ties):
    """Whether arrival `a` comes before (hi, lo), or at it where `with_ties`."""
    at_hi, at_lo = time_of(tape, a)
    if with_ties:
        return not_before(hi, lo, at_hi, at_lo)
    return not not_before(at_hi, at_lo, hi, lo)


#: So many arrivals are skipped at a time where one is looked for.
STRIDE = 32


@inline_kernel
def arrivals_before(tape, a, end, hi, lo, with_ties):
    """The first arrival from `a` on that comes after (hi, lo), or at it unless `with_ties`."""
    while a + STRIDE <= end and comes_before(tape, a + STRIDE - 1, hi, lo, with_ties):
        a += STRIDE
    end = min(end, a + STRIDE)
    while a < end:
        middle = (a + end) // 2
        if comes_before(tape, middle, hi, lo, with_ties):
            a = middle + 1
        else:
            end = middle
    return a


#: A voltage within this part of its terms counts as at threshold, where an arrival comes at the
#: very time of a spike and it must be told which came first.
REACHED = 1e-9


@inline_kernel
def reached(q, x, d, busy):
    """Whether a neuron gets to its threshold by itself, `d` after state `x`."""
    if busy:
        return False
    y, _ = verbs.step(q, verbs.interval(q, d), x)
    height = adjoint.height(q, y)
    return height >= -REACHED * (abs(height) + sum_abs(y))


@kernel
def measure(p, n, k, course, d, until, a, train, tape, way, notes):
    """Enter what is known of spike `k`, `d` after the last event of the way; `a`: the next
    arrival."""
    m = course.size
    q, x = verbs.pick(p, n), verbs.load(way.x, m)
    hi, lo = train.hi[k], train.lo[k]
    last = a == tape.start[n + 1]
    next_hi, next_lo = until if last else time_of(tape, a)
    ahead = elapsed(next_hi, next_lo, hi, lo)
    notes.gap[k] = np.inf if last else ahead
    # An arrival that makes it fire is no neighbour, nor what the same spike sent besides.
    by_arrival = d == 0.0 and m > 0 and m != course.release
    cause = source_of(tape, arrival_at(course, m)) if by_arrival else -2
    for b in range(a - 1, tape.start[n] - 1, -1):
        at_hi, at_lo = time_of(tape, b)
        since = elapsed(hi, lo, at_hi, at_lo)
        if since > 0.0 or source_of(tape, b) != cause:
            notes.gap[k] = min(notes.gap[k], since)
            break
    notes.peak[k] = adjoint.peak(q, x, d + ahead, -np.inf)


@inline_kernel
def to_end_of(until, clock):
    """From a neuron's last event: time to its release, whether that is still to come, and the time
    from there to the end of a part of the run; -1 where the end is first."""
    if not clock.busy:
        return 0.0, False, elapsed(until[0], until[1], clock.hi, clock.lo)
    if not not_before(until[0], until[1], clock.free_hi, clock.free_lo):
        return 0.0, True, -1.0
    d = elapsed(clock.free_hi, clock.free_lo, clock.hi, clock.lo)
    return d, True, elapsed(until[0], until[1], clock.free_hi, clock.free_lo)


@inline_kernel
def start_of(p, n, k, low, state, books, tape, train, notes):
    """(state, clock, next arrival) from which the way to spike `k` of neuron `n` starts."""
    if k > low[n]:
        x = verbs.load(notes.after, k - 1)
        clock = clock_after(p, n, train.hi[k - 1], train.lo[k - 1])
        return x, clock, notes.stop[k - 1]
    return verbs.load(state, n), clock_of(books, n), tape.start[n]


@inline_kernel
def drive_as_then(p, n, k, low, x, clock, start, books, notes):
    """Set the external current of neuron `n` to what it was where the way to spike `k` starts."""
    if k > low[n]:
        books.current[n] = notes.current[k - 1]
        books.pulses[0, n], books.pulses[1, n] = notes.pulse[k - 1], notes.pulse_lo[k - 1]
    else:
        books.current[n] = start.current[n]
        books.pulses[0, n], books.pulses[1, n] = start.pulses[0, n], start.pulses[1, n]
    drive(p, n, x, clock.busy, books)


@kernel
def replay(p, order, state, books, tape, train, low, until, arrival_first, way, notes):
    """Through the spikes `order` of a population, those of each neuron in time.

    `state` and `books` tell where every neuron starts, before its spike `low` (n,); of them only
    the external currents are changed.
    """
    for i in range(order.size):
        k, then = order[i], order[min(i + 1, order.size - 1)]
        n, ahead = train.unit[k], train.unit[then]
        first = notes.stop[then - 1] if then > low[ahead] else tape.start[ahead]
        bring_near(tape, ahead, first, min(first + AHEAD, tape.start[ahead + 1]))
        x, clock, a = start_of(p, n, k, low, state, books, tape, train, notes)
        at, end = (train.hi[k], train.lo[k]), tape.start[n + 1]
        stop = arrivals_before(tape, a, end, at[0], at[1], arrival_first)
        all_ties = arrivals_before(tape, stop, end, at[0], at[1], True)
        if all_ties > stop:
            # Whether the spike waits for them: undone, and done again below.
            before = books.current[n], books.pulses[0, n], books.pulses[1, n]
            course, later, d, _ = lay_out(p, n, x, clock, a, stop, at, books, tape, way, np.nan)
            if not reached(verbs.pick(p, n), verbs.load(way.x, course.size), d, later.busy):
                stop = all_ties
            if tape.driven:
                books.current[n], books.pulses[0, n], books.pulses[1, n] = before
                drive(p, n, x, clock.busy, books)
        course, clock, d, notes.silent[n] = lay_out(
            p, n, x, clock, a, stop, at, books, tape, way, notes.silent[n]
        )
        measure(p, n, k, course, d, until, stop, train, tape, way, notes)
        x = verbs.fire(verbs.pick(p, n), verbs.load(way.x, course.size), d)
        verbs.store(notes.after, k, x)
        notes.stop[k] = stop
        notes.current[k] = books.current[n]
        notes.pulse[k], notes.pulse_lo[k] = books.pulses[0, n], books.pulses[1, n]
        train.next[n] = k + 1


@kernel
def go_on(p, state, books, tape, train, low, until, final, way, notes):
    """Every neuron from its last spike through its events up to `until`, where it then is.

    `final`: nothing comes after, and the last interval ends there.
    """
    nowhere = (-np.inf, 0.0)
    for n in range(books.current.size):
        x, clock, a = start_of(p, n, train.next[n], low, state, books, tape, train, notes)
        best = notes.silent[n]
        for first in range(a, tape.start[n + 1], AHEAD):
            stop = min(first + AHEAD, tape.start[n + 1])
            course, clock, _, best = lay_out(
                p, n, x, clock, first, stop, nowhere, books, tape, way, best
            )
            x = verbs.load(way.x, course.size)
        verbs.store(state, n, x)
        if final:
            q = verbs.pick(p, n)
            d, free, rest = to_end_of(until, clock)
            if rest >= 0.0:
                if free:
                    x = verbs.clamp(q, verbs.interval(q, d), x)
                best = adjoint.peak(q, x, rest, best)
        notes.silent[n] = best
        enter(books, n, clock)
