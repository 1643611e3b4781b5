"""Neurons through what happens to them in one window.

The coefficients of the intervals of some hundred arrivals come from one vectorised pass; then
each neuron goes through its own list, those that may fire by the exact solver. A neuron's state
is rounded at its own events only, never at the end of a window: the width of the windows does
not change a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from evsim.fibres import Arrival, earlier
from evsim.flight import LAUNCH, kind_of, launch_of, plain
from evsim.gather import when_of
from evsim.jit import inner_inline_kernel, inner_kernel
from evsim.models import verbs
from evsim.models.pace import pace, paced
from evsim.neuron import (
    AT_ARRIVAL,
    AT_END,
    AT_HORIZON,
    DONE,
    Rules,
    clock_of,
    enter,
    interval_to,
    move,
    own_events,
    stop_at,
)
from evsim.numerics import elapsed
from evsim.order import HI, LO, fetch, index

#: Arrivals whose coefficients are computed together: they stay in the nearest cache.
TOGETHER = 512
#: For so many arrivals ahead the times of their launches are brought near.
AHEAD = 16


class Block(NamedTuple):
    """The neurons of a group that share a kernel class: `first` to `first + n`."""

    p: Any
    state: Any
    books: Any
    first: Any
    columns: Any  # what `verbs.interval` needs of the neurons of some arrivals
    table: Any  # coefficients of their intervals


class Frame(NamedTuple):
    """What does not change in a run of windows."""

    width: float
    until: Any  # (hi, lo)
    last: int  # number of the last window
    reach: int  # number of the last window whose arrivals from outside are known
    arrival_first: bool
    breath: float  # work (arrivals, visits, stages) after which a run comes up for air


@inner_kernel
def look_up(block, fibres, part, flight, lists, a, b, mend):
    """Of the arrivals at the neurons of lists `a` to `b`: the time since their own events before,
    and the parameters that matter.

    `mend`: some arrivals were not written in order of time.
    """
    begin, shift, books = lists.start[a], part.first[0] - block.first, block.books
    last_hi = last_lo = 0.0
    if not mend:
        size = lists.start[b] - begin
        for k in range(size):  # as if of one neuron: no loop of a few turns each
            code = lists.code[index(begin + min(k + AHEAD, size - 1)), 1]
            fetch(flight.launches.entry, launch_of(code) * LAUNCH)
            hi, lo = when_of(flight, lists, begin + k, False)
            lists.since[index(k)] = elapsed(hi, lo, last_hi, last_lo)
            last_hi, last_lo = hi, lo
    for j in range(a, b):
        first, stop = lists.start[index(j)], lists.start[index(j + 1)]
        n = index(lists.place[index(j)] + shift)
        if mend and stop > first + 1:
            in_order(fibres, part, flight, lists, lists.place[j] + part.first[0], first, stop)
            for x in range(first + 1, stop):
                hi, lo = when_of(flight, lists, x, True)
                last_hi, last_lo = when_of(flight, lists, x - 1, True)
                lists.since[index(x - begin)] = elapsed(hi, lo, last_hi, last_lo)
        if first < stop:
            hi, lo = when_of(flight, lists, first, mend)
            lists.since[index(first - begin)] = elapsed(hi, lo, books.hi[n], books.lo[n])
        own = paced(block.p, n)
        if len(own) > 0:
            for x in range(first, stop):
                verbs.store(block.columns, index(x - begin), own)


@inner_inline_kernel
def in_order(fibres, part, flight, lists, unit, first, stop):
    """Bring the arrivals `first` to `stop`, of neuron `unit`, into order."""
    arrival, code, when = lists.arrival, lists.code, lists.when
    for x in range(first + 1, stop):
        one, at = arrival_at(lists, unit, x), x
        while at > first and earlier(fibres, part, flight, one, arrival_at(lists, unit, at - 1)):
            m, before = index(at), index(at - 1)
            arrival[m, 0], code[m, 1] = arrival[before, 0], code[before, 1]
            when[m, HI], when[m, LO] = when[before, HI], when[before, LO]
            at -= 1
        if at < x:
            m = index(at)
            arrival[m, 0], code[m, 1] = one.value, one.code
            when[m, HI], when[m, LO] = one.hi, one.lo


@inner_inline_kernel
def arrival_at(lists, unit, x):
    """Arrival `x`, of neuron `unit`."""
    m, when = index(x), lists.when
    return Arrival(unit, when[m, HI], when[m, LO], lists.arrival[m, 0], lists.code[m, 1])


@inner_kernel
def intervals(p, columns, since, size, table):
    """Coefficients of the intervals between own events: one vectorised pass."""
    for k in range(size):
        x = index(k)
        verbs.store(table, x, verbs.interval(pace(p, columns, x), since[x]))


@inner_inline_kernel
def no_earlier(since, wait):
    """A time that certainly is not after `since + wait`."""
    return (since + wait) * (1.0 - 4e-16)


@inner_kernel
def hop(block, n, unit, x, known, k, hi, lo, rules, spikes, doubts):
    """Neuron `n` of a block through its own events up to a limit, by the exact solver.

    `known`: line `k` of the table has the coefficients of the interval to there. Returns the
    state at its last own event, the state at the limit, and a status.
    """
    q, clock = verbs.pick(block.p, n), clock_of(block.books, n)
    if known:
        c = verbs.load(block.table, k)
    else:
        c = interval_to(q, clock, hi, lo)
    x, clock, y, status = own_events(q, unit, x, clock, c, hi, lo, rules, spikes, doubts)
    enter(block.books, n, clock)
    return x, y, status


@inner_inline_kernel
def glide(block, n, q, x, k, stop, begin, flight, lists, mend):
    """Neuron `n` through arrivals before which it certainly neither fires nor is released.

    Returns its state after them, and the first arrival that asks for more.
    """
    books, first, calm = block.books, k, True
    busy, free_hi, free_lo = books.busy[n] != 0, books.free_hi[n], books.free_lo[n]
    while calm and k < stop:
        c, value = verbs.load(block.table, index(k - begin)), lists.arrival[index(k), 0]
        kind = kind_of(plain(lists.code[index(k), 1]))
        if busy:
            hi, lo = when_of(flight, lists, k, mend)
            late = elapsed(hi, lo, free_hi, free_lo)
            calm = (late < -books.free_error[n]) & (kind >= 0)
            if calm:
                x = verbs.receive_clamped(q, verbs.clamp(q, c, x), kind, value)
        else:
            y, may = verbs.step(q, c, x)
            calm = not (may | (kind < 0))
            if calm:
                x = verbs.receive(q, y, kind, value)
        k += calm
    if k > first:
        books.hi[n], books.lo[n] = when_of(flight, lists, k - 1, mend)
    return x, k


@inner_inline_kernel
def take(block, n, y, kind, value, hi, lo):
    """State of neuron `n` after an arrival, from that before; whether its drive has changed."""
    books, weight = block.books, value if kind >= 0 else 0.0
    q, busy = verbs.pick(block.p, n), books.busy[n] != 0
    books.hi[n], books.lo[n] = hi, lo
    if busy:
        x = verbs.receive_clamped(q, y, kind, weight)
    else:
        x = verbs.receive(q, y, kind, weight)
    if kind < 0:
        x = move(block.p, n, x, busy, books.pulses, books.current, kind, value)
    return x, kind < 0


@inner_inline_kernel
def rest_of_window(block, n, unit, g, x, frame, end, final, progress, spikes, doubts):
    """Neuron `n` from its last arrival to the end of the window, or of the run; its state at
    its last own event, and a status."""
    books, status = block.books, DONE
    safe = books.free_hi[n]
    if books.busy[n] == 0:
        safe = no_earlier(books.hi[n], verbs.earliest(verbs.pick(block.p, n), x))
    if final | (safe < end):
        hi, lo = frame.until if final else (end, 0.0)
        rules = Rules(False, AT_END if final else AT_HORIZON)
        x, y, status = hop(block, n, unit, x, False, index(0), hi, lo, rules, spikes, doubts)
        safe = books.free_hi[n]
        if books.busy[n] == 0:
            safe = no_earlier(end, verbs.earliest(verbs.pick(block.p, n), y))
    progress.safe[index(g)] = safe
    return x, status


@inner_inline_kernel
def visit(
    block, shift, part, j, begin, flight, lists, mend, frame, end, final, progress, place, spikes,
    doubts,
):  # fmt: skip
    """The neuron of list `j` through its arrivals and to the end of the window; a status."""
    g = lists.place[index(j)]
    n, unit = index(g + shift), part.first[0] + g
    k, stop = lists.start[index(j)], lists.start[index(j + 1)]
    q, x = verbs.pick(block.p, n), verbs.load(block.state, n)
    known, status = place.within[0] == 0, DONE
    if not known:
        k += place.arrival[0]
        place.arrival[0] = place.within[0] = 0
    while True:
        if known:
            x, k = glide(block, n, q, x, k, stop, begin, flight, lists, mend)
        if k == stop:
            break
        m, rules = index(k - begin), Rules(frame.arrival_first, AT_ARRIVAL)
        hi, lo = when_of(flight, lists, k, mend)
        kind = kind_of(plain(lists.code[index(k), 1]))
        x, y, status = hop(block, n, unit, x, known, m, hi, lo, rules, spikes, doubts)
        if status != DONE:
            break
        x, moved = take(block, n, y, kind, lists.arrival[index(k), 0], hi, lo)
        known &= not moved  # a drive may be part of the coefficients
        k += 1
    if status == DONE:
        x, status = rest_of_window(
            block, n, unit, g, x, frame, end, final, progress, spikes, doubts
        )
    verbs.store(block.state, n, x)
    if status != DONE:
        stop_at(place, g, k - lists.start[j])
    return status


@inner_inline_kernel
def as_many(lists, a, b):
    """One behind the last of the lists `a` to `b` that have no more arrivals than go together,
    or behind the first."""
    most, first, last = lists.start[index(a)] + TOGETHER, a + 1, b
    while first < last:
        middle = (first + last + 1) // 2
        if lists.start[index(middle)] <= most:
            first = middle
        else:
            last = middle - 1
    return first


@inner_kernel
def advance_lists(
    block, fibres, part, skip, flight, lists, a, b, frame, end, final, progress, place, spikes,
    doubts,
):  # fmt: skip
    """The neurons of lists `a` to `b`, all of one block, to the end of the window; a status.

    Those marked in `skip` are left out.
    """
    shift, mend = part.first[0] - block.first, progress.sizes[1] > 0
    while a < b:
        begin, stop = lists.start[index(a)], as_many(lists, a, b)
        size = lists.start[index(stop)] - begin
        look_up(block, fibres, part, flight, lists, a, stop, mend)
        intervals(block.p, block.columns, lists.since, size, block.table)
        for j in range(a, stop):
            if skip.size == 0 or skip[index(lists.place[index(j)])] == 0:
                status = visit(
                    block, shift, part, j, begin, flight, lists, mend, frame, end, final,
                    progress, place, spikes, doubts,
                )  # fmt: skip
                if status != DONE:
                    return status
        a = stop
    return DONE
