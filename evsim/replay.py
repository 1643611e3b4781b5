"""Forward again through a run whose spikes are known.

Nothing is searched: `replay` goes once through the arrivals of every neuron and keeps its state
after each of its spikes. From there `lay_out` goes again through the events up to the next, so that
memory follows the spikes. For `evsim.adjoint`, which goes backward, and for `evsim.trust`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.tuples import sum_abs
from evsim.neuron import Clock, clock_of, enter, move
from evsim.numerics import add_time, elapsed, not_before


class Tape(NamedTuple):
    """Arrivals by target neuron, those of neuron `n` being `start[n]:start[n + 1]`, in order."""

    start: Any
    hi: Any
    lo: Any
    kind: Any
    value: Any
    source: Any  # whose spike it is, of all spikes of the network; -1: of none
    synapse: Any  # of all synapses onto the population; of a current, the index of its value
    driven: int  # whether external currents are among them


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
    d: Any  # time since the one before
    what: Any  # index of an arrival, or `RELEASE`
    busy: Any  # whether the neuron was refractory until then
    drive: Any  # external current before it
    flow: Any  # coefficients of the interval before it: of `verbs.interval`
    pull: Any  # and of `adjoint.pull_own`


RELEASE = -1


@inline_kernel
def at_start(books, n):
    """External current of neuron `n`."""
    return books.pulses[0, n] + books.current[n]


@kernel
def list_events(clock, first, stop, limit, tape, way):
    """Enter what happens to a neuron from its clock on: the arrivals `first` to `stop`, a release.

    Returns the number of events, the clock after the last one and the time from there to `limit`.
    """
    m = 0
    for a in range(first, stop + 1):
        hi, lo = limit if a == stop else (tape.hi[a], tape.lo[a])
        if clock.busy and not_before(hi, lo, clock.free_hi, clock.free_lo):
            m += 1
            way.d[m] = elapsed(clock.free_hi, clock.free_lo, clock.hi, clock.lo)
            way.what[m], way.busy[m] = RELEASE, True
            clock = Clock(clock.free_hi, clock.free_lo, False, 0.0, 0.0, 0.0)
        if a == stop:
            break
        m += 1
        way.d[m] = elapsed(hi, lo, clock.hi, clock.lo)
        way.what[m], way.busy[m] = a, clock.busy
        clock = Clock(hi, lo, clock.busy, clock.free_hi, clock.free_lo, clock.free_error)
    return m, clock, elapsed(limit[0], limit[1], clock.hi, clock.lo)


@kernel
def flow_coefficients(q, d, flow):
    """Of the flow over every interval: apart from what follows one upon the other, they
    vectorise."""
    for e in range(d.size):
        verbs.store(flow, e, verbs.interval(q, d[e]))


@kernel
def lay_out(p, n, x, clock, first, stop, limit, books, tape, way, best):
    """Lay out the own events of neuron `n` through the arrivals `first` to `stop` into `way`.

    `limit` (hi, lo) is where the way ends: a release up to there is on it. `best` is the
    greatest height so far; nan: not asked for. Returns the number of events, the clock after the
    last one, the time from there to the limit, and the greatest height.
    """
    m, clock, left = list_events(clock, first, stop, limit, tape, way)
    q = verbs.pick(p, n)
    if tape.driven == 0:
        flow_coefficients(q, way.d[1 : m + 1], verbs.cut(way.flow, 1, m + 1))
    verbs.store(way.x, 0, x)
    for e in range(1, m + 1):
        a, busy = way.what[e], way.busy[e]
        c = verbs.load(way.flow, e) if tape.driven == 0 else verbs.interval(q, way.d[e])
        if busy:
            x = verbs.clamp(q, c, x)
        else:
            y, _ = verbs.step(q, c, x)
            if best == best and way.d[e] > 0.0:
                best = raised(q, c, x, y, way.d[e], best)
            x = y
        if a != RELEASE:
            kind, value = tape.kind[a], tape.value[a]
            if kind < 0:
                way.drive[e] = at_start(books, n)
                x = move(p, n, x, busy, books.pulses, books.current, kind, value)
                q = verbs.pick(p, n)
            elif busy:
                x = verbs.receive_clamped(q, x, kind, value)
            else:
                x = verbs.receive(q, x, kind, value)
        verbs.store(way.x, e, x)
    return m, clock, left, best


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
def arrivals_before(tape, a, end, hi, lo, with_ties):
    """The first arrival from `a` on that comes after (hi, lo), or at it unless `with_ties`."""
    while a < end:
        if not_before(tape.hi[a], tape.lo[a], hi, lo):
            tie = tape.hi[a] == hi and tape.lo[a] == lo
            if not (tie and with_ties):
                break
        a += 1
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
def measure(p, n, k, m, d, until, a, train, tape, way, notes):
    """Enter what is known of spike `k`, `d` after event `m` of the way; `a`: the next arrival."""
    q, x = verbs.pick(p, n), verbs.load(way.x, m)
    hi, lo = train.hi[k], train.lo[k]
    last = a == tape.start[n + 1]
    next_hi, next_lo = until if last else (tape.hi[a], tape.lo[a])
    ahead = elapsed(next_hi, next_lo, hi, lo)
    notes.gap[k] = np.inf if last else ahead
    # An arrival that makes it fire is no neighbour, nor what the same spike sent besides.
    cause = tape.source[way.what[m]] if d == 0.0 and m > 0 and way.what[m] >= 0 else -2
    for b in range(a - 1, tape.start[n] - 1, -1):
        since = elapsed(hi, lo, tape.hi[b], tape.lo[b])
        if since > 0.0 or tape.source[b] != cause:
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


@kernel
def replay(p, state, books, tape, train, until, arrival_first, to_end, way, notes):
    """Every neuron from `state` and its clock through its events up to `until`, all known.

    Without `to_end` up to its last spike only; `state` and `books` are then left as they are.
    """
    for n in range(books.current.size):
        x, clock = verbs.load(state, n), clock_of(books, n)
        a, end = tape.start[n], tape.start[n + 1]
        k = train.next[n]
        while k < train.first[n + 1] and not_before(until[0], until[1], train.hi[k], train.lo[k]):
            at = (train.hi[k], train.lo[k])
            stop = arrivals_before(tape, a, end, at[0], at[1], arrival_first)
            all_ties = arrivals_before(tape, stop, end, at[0], at[1], True)
            if all_ties > stop:
                # Whether the spike waits for them: undone, and done again below.
                before = books.current[n], books.pulses[0, n], books.pulses[1, n]
                m, then, d, _ = lay_out(p, n, x, clock, a, stop, at, books, tape, way, np.nan)
                if not reached(verbs.pick(p, n), verbs.load(way.x, m), d, then.busy):
                    stop = all_ties
                if tape.driven:
                    books.current[n], books.pulses[0, n], books.pulses[1, n] = before
                    drive(p, n, x, clock.busy, books)
            m, clock, d, notes.silent[n] = lay_out(
                p, n, x, clock, a, stop, at, books, tape, way, notes.silent[n]
            )
            measure(p, n, k, m, d, until, stop, train, tape, way, notes)
            x = verbs.fire(verbs.pick(p, n), verbs.load(way.x, m), d)
            clock = clock_after(p, n, at[0], at[1])
            verbs.store(notes.after, k, x)
            notes.stop[k] = stop
            notes.current[k] = books.current[n]
            notes.pulse[k], notes.pulse_lo[k] = books.pulses[0, n], books.pulses[1, n]
            a = stop
            k += 1
        train.next[n] = k
        if not to_end:
            continue
        nowhere = (-np.inf, 0.0)
        m, clock, _, best = lay_out(
            p, n, x, clock, a, end, nowhere, books, tape, way, notes.silent[n]
        )
        x = verbs.load(way.x, m)
        q = verbs.pick(p, n)
        d, free, rest = to_end_of(until, clock)
        verbs.store(state, n, x)
        if rest >= 0.0:
            if free:
                x = verbs.clamp(q, verbs.interval(q, d), x)
            best = adjoint.peak(q, x, rest, best)
        notes.silent[n] = best
        enter(books, n, clock)


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
