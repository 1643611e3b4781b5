"""Windows of the smallest delay, within which no neuron can influence another.

Per window: the arrivals of all targets become lists (a counting sort), the coefficients of all
their intervals come from one vectorised pass, each neuron goes through its own list, and those
that may fire before the window ends go on to there. A neuron's state is rounded at its own
events only, never at the end of a window: the width of the windows does not change a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.fibres import send
from evsim.flight import slot_of
from evsim.gather import (
    FLIGHT,
    LISTS,
    TABLE,
    collect,
    count,
    fill,
    mend,
    note_arrival,
    sort_arrivals,
    wait_for,
)
from evsim.jit import inline_kernel, kernel
from evsim.models import verbs
from evsim.neuron import (
    AT_HORIZON,
    DONE,
    FULL,
    Rules,
    advance_to,
    clock_of,
    enter,
    interval_to,
    move,
    own_events,
    stop_at,
)
from evsim.numerics import add_time, elapsed, not_before
from evsim.order import sort_by_time


class Block(NamedTuple):
    """The neurons of a group that share a kernel class: `first` to `first + n`."""

    p: Any
    state: Any
    books: Any
    first: Any
    table: Any  # coefficients of the intervals of a window, one per arrival


#: Stages between two windows.
COLLECT, LIST, SEND = map(np.int64, range(3))


@inline_kernel
def gaps_of(books, n, first, stop, deliveries, lists):
    """Intervals between the own events of neuron `n` of a block."""
    since_hi, since_lo = books.hi[n], books.lo[n]
    for x in range(first, stop):
        k = int(lists.arrival[x, 1])
        hi, lo = deliveries.hi[k], deliveries.lo[k]
        lists.gap[x], lists.who[x] = elapsed(hi, lo, since_hi, since_lo), n
        since_hi, since_lo = hi, lo


@kernel
def gaps(books, first, last, shift, deliveries, lists):
    """Intervals between the own events of neurons `first` to `last` of a block."""
    for n in range(first, last):
        gaps_of(books, n, lists.start[n + shift], lists.start[n + shift + 1], deliveries, lists)


@kernel
def intervals(p, gap, who, table):
    """Coefficients of many intervals: one vectorised pass."""
    for x in range(gap.size):
        verbs.store(table, x, verbs.interval(verbs.pick(p, who[x]), gap[x]))


@kernel
def through(
    block, n, unit, x, clock, k, stop, fresh, deliveries, lists, arrival_first, spikes, doubts
):
    """Neuron `n` of a block through its arrivals `k` to `stop`, by the exact solver.

    `fresh`: the table of the block holds the coefficients of their intervals. Returns state,
    clock, and the arrivals done; there are more if there was no room.
    """
    q = verbs.pick(block.p, n)
    books, status = block.books, DONE
    while k < stop:
        m = int(lists.arrival[k, 1])
        hi, lo, kind, value = deliveries.hi[m], deliveries.lo[m], deliveries.kind[m], 0.0
        if kind >= 0:
            value = lists.arrival[k, 0]
        if fresh:
            c = verbs.load(block.table, k)
        else:
            c = interval_to(q, clock, hi, lo)
        x, clock, status = advance_to(
            q, unit, x, clock, c, hi, lo, kind, value, arrival_first, spikes, doubts
        )
        if status != DONE:
            break
        if kind < 0:
            value = lists.arrival[k, 0]
            x = move(block.p, n, x, clock.busy, books.pulses, books.current, kind, value)
            q = verbs.pick(block.p, n)
            fresh = False  # a drive may be part of the coefficients
        k += 1
    return x, clock, k, status


@kernel
def to_horizon(p, n, unit, x, clock, end, spikes, doubts):
    """Neuron `n` through its own events before `end`; state, clock, status, and the time
    before which nothing more of its own happens."""
    q = verbs.pick(p, n)
    c = interval_to(q, clock, end, 0.0)
    rules = Rules(False, AT_HORIZON)
    x, clock, y, status = own_events(q, unit, x, clock, c, end, 0.0, rules, spikes, doubts)
    safe = clock.free_hi if clock.busy else no_earlier(end, verbs.earliest(q, y))
    return x, clock, status, safe


@inline_kernel
def no_earlier(since, wait):
    """A time that certainly is not after `since + wait`."""
    return (since + wait) * (1.0 - 4e-16)


@kernel
def advance_block(
    block, part, late, deliveries, lists, end, final, arrival_first, progress, place, spikes, doubts
):
    """The neurons of a block through their arrivals and on to the end of the window; a status.

    Those that spikes of this very window may reach come later.
    """
    p, books = block.p, block.books
    shift = block.first - part.first[0]
    first, last = max(0, -shift), min(books.current.size, part.last[0] - block.first)
    begin = max(first, place.neuron[0] - shift)
    if begin == first and place.within[0] == 0 and first < last:
        gaps(books, first, last, shift, deliveries, lists)
        a, b = lists.start[first + shift], lists.start[last + shift]
        intervals(p, lists.gap[a:b], lists.who[a:b], verbs.cut(block.table, a, b))
    for n in range(begin, last):
        g = n + shift
        k, stop = lists.start[g], lists.start[g + 1]
        if late.mask[g] | (k == stop and progress.safe[g] >= end and place.within[0] == 0):
            continue
        status = visit(
            block, n, g, part.first[0], k, stop, end, final, deliveries, lists, arrival_first,
            progress, place, spikes, doubts,
        )  # fmt: skip
        if status != DONE:
            return status
    return DONE


@inline_kernel
def visit(
    block, n, g, base, first, stop, end, final, deliveries, lists, arrival_first, progress, place,
    spikes, doubts,
):  # fmt: skip
    """Neuron `n` of a block, at place `g`, through its arrivals from `first` on and to the end
    of the window; a status."""
    books, arrival, k, status = block.books, lists.arrival, first, DONE
    q, x = verbs.pick(block.p, n), verbs.load(block.state, n)
    calm = books.busy[n] == 0 and place.within[0] == 0
    while calm and k < stop:
        y, may = verbs.step(q, verbs.load(block.table, k), x)
        kind = deliveries.kind[int(arrival[k, 1])]
        calm = not (may | (kind < 0))
        if calm:
            x = verbs.receive(q, y, kind, arrival[k, 0])
            k += 1
    if k > first:
        m = int(arrival[k - 1, 1])
        books.hi[n], books.lo[n] = deliveries.hi[m], deliveries.lo[m]
    if calm and not final:
        soonest = no_earlier(books.hi[n], verbs.earliest(q, x))
        calm = soonest >= end
        progress.safe[g] = soonest
    if not calm:
        x, k, status = excited(
            block, n, g, base, x, k, stop, end, final, deliveries, lists, arrival_first, progress,
            place, spikes, doubts,
        )  # fmt: skip
    verbs.store(block.state, n, x)
    if status != DONE:
        stop_at(place, g, k - first)
    return status


@kernel
def excited(
    block, n, g, base, x, k, stop, end, final, deliveries, lists, arrival_first, progress, place,
    spikes, doubts,
):  # fmt: skip
    """The rest of a window for a neuron that is refractory, or may fire; as `through`."""
    clock, status, fresh = clock_of(block.books, n), DONE, place.within[0] == 0
    k += place.arrival[0]
    place.arrival[0] = place.within[0] = 0
    if k < stop:
        x, clock, k, status = through(
            block, n, g + base, x, clock, k, stop, fresh, deliveries, lists, arrival_first,
            spikes, doubts,
        )  # fmt: skip
    if status == DONE and not final:
        safe = clock.free_hi
        if not clock.busy:
            q = verbs.pick(block.p, n)
            safe = no_earlier(clock.hi, verbs.earliest(q, x))
        if safe < end:
            x, clock, status, safe = to_horizon(block.p, n, g + base, x, clock, end, spikes, doubts)
        progress.safe[g] = safe
    enter(block.books, n, clock)
    return x, k, status


class Late(NamedTuple):
    """Neurons that synapses shorter than a window reach, after those from which they come."""

    mask: Any  # (n,)
    neuron: Any
    start: Any  # (late neurons + 1,) their short synapses
    source: Any
    synapse: Any
    delay: Any
    port: Any


@kernel
def gather_late(fibres, late, i, end, until, deliveries, lists, progress, spikes):
    """The arrivals of a late neuron, in order, behind those of all others; how many, or -1."""
    g, first, arrival = late.neuron[i], progress.spikes[0], lists.arrival
    begin, used = lists.start[lists.next.size], progress.late[1]
    size = lists.start[g + 1] - lists.start[g]
    most = (late.start[i + 1] - late.start[i]) * (spikes.used[0] - first)
    if begin + size + most > lists.gap.size:
        wait_for(progress, LISTS, begin + size + most)
        return -1
    if used + most > deliveries.hi.size:
        wait_for(progress, TABLE, used + most)
        return -1
    for x in range(size):
        arrival[begin + x, 0] = arrival[lists.start[g] + x, 0]
        arrival[begin + x, 1] = arrival[lists.start[g] + x, 1]
    for s in range(late.start[i], late.start[i + 1]):
        for m in range(first, spikes.used[0]):
            if spikes.unit[m] == late.source[s]:
                hi, lo = add_time(spikes.hi[m], spikes.lo[m], late.delay[s])
                in_run = not_before(until[0], until[1], hi, lo)
                if in_run and not not_before(hi, lo, end, 0.0):
                    synapse = late.synapse[s]
                    note_arrival(deliveries, used, hi, lo, late.port[s], synapse, synapse)
                    arrival[begin + size, 0] = fibres.weight[synapse]
                    arrival[begin + size, 1] = used
                    used, size = used + 1, size + 1
    progress.late[1] = used
    sort_arrivals(deliveries, arrival, begin, begin + size)
    return size


@kernel
def advance_late(
    block, first, last, fibres, late, deliveries, lists, end, until, final, arrival_first,
    progress, place, spikes, doubts,
):  # fmt: skip
    """Late neurons `first` to `last`, all of one block, as `advance_block`; a status."""
    for i in range(max(first, progress.late[0]), last):
        progress.late[0] = i
        g = late.neuron[i]
        n, begin = g - block.first, lists.start[lists.next.size]
        if place.within[0] == 0:
            size = gather_late(fibres, late, i, end, until, deliveries, lists, progress, spikes)
            if size < 0:
                return FULL
            progress.late[2] = size
            stop = begin + size
            gaps_of(block.books, n, begin, stop, deliveries, lists)
            intervals(
                block.p, lists.gap[begin:stop], lists.who[begin:stop],
                verbs.cut(block.table, begin, stop),
            )  # fmt: skip
        status = visit(
            block, n, g, 0, begin, begin + progress.late[2], end, final, deliveries, lists,
            arrival_first, progress, place, spikes, doubts,
        )  # fmt: skip
        if status != DONE:
            return status
    progress.late[0] = last
    return DONE


@inline_kernel
def span_of(block, part):
    """Neurons of a block within a part: first, one behind the last, and what to add to get a
    place in the part."""
    shift = block.first - part.first[0]
    return max(0, -shift), min(block.books.current.size, part.last[0] - block.first), shift


@kernel
def send_all(fibres, part, flight, deliveries, progress, width, until, spikes):
    """Send the spikes of a window on their way, in order of time; a status."""
    first = progress.spikes[0]
    size = spikes.used[0] - first
    if size > deliveries.order.size:
        return wait_for(progress, TABLE, size)
    sort_by_time(spikes.hi, spikes.lo, spikes.unit, first, size, deliveries.order, deliveries.spare)
    for k in range(progress.spikes[1], size):
        m = deliveries.order[k]
        progress.spikes[1] = k
        room = send(
            fibres, part, flight, spikes.unit[m], spikes.hi[m], spikes.lo[m], progress.rows,
            width, until, progress.window[0],
        )  # fmt: skip
        if not room:
            return wait_for(progress, FLIGHT, flight.after.size)
    progress.spikes[0], progress.spikes[1] = spikes.used[0], 0
    return DONE


@kernel
def next_window(flight, external, progress, width, last):
    """The next window in which anything happens, at most `last`."""
    window = progress.window[0] + 1
    if flight.free[1] < flight.after.size:
        return window
    soonest = np.inf
    for n in range(progress.safe.size):
        soonest = min(soonest, progress.safe[n])
    a, b = progress.external[0], progress.external[1]
    if a < external.row_hi.size:
        soonest = min(soonest, external.row_hi[a])
    if b < external.hi.size:
        soonest = min(soonest, external.hi[b])
    if soonest >= (last + 1) * width:
        return max(window, last)
    return max(window, slot_of(no_earlier(soonest, 0.0), 0.0, width))


@kernel
def open_window(
    fibres, part, flight, external, deliveries, lists, width, until, last, progress, spikes
):
    """From the end of one window to the lists of arrivals of the next; a status.

    `FULL` asks for more room, as `progress.waits` says, and another call.
    """
    stage, window = progress.stage, progress.window
    status = DONE
    if stage[0] == SEND:
        status = send_all(fibres, part, flight, deliveries, progress, width, until, spikes)
        if status == DONE:
            window[0] = next_window(flight, external, progress, width, last)
            stage[0] = COLLECT
    if stage[0] == COLLECT:
        slot = window[0] & (flight.head.size // 2 - 1)
        end = (window[0] + 1) * width
        status = collect(fibres, flight, external, deliveries, slot, end, progress)
        if status == DONE:
            stage[0] = LIST
    if stage[0] == LIST:
        status = count(fibres, part, external, deliveries, lists, progress)
        if status == DONE:
            fill(fibres, part, external, deliveries, lists, progress)
            if progress.sizes[1] + progress.sizes[2] > 0:
                mend(deliveries, lists)
            stage[0] = SEND
    return status
