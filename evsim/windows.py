"""Windows of the smallest delay, within which no neuron can influence another.

Per window: the arrivals of all targets become lists (a counting sort), the coefficients of all
their intervals come from one vectorised pass, each neuron goes through its own list, and those
that may fire before the window ends go on to there. A neuron's state is rounded at its own
events only, never at the end of a window: the width of the windows does not change a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from evsim.fibres import send
from evsim.flight import slot_of
from evsim.gather import FLIGHT, LOGS, TABLE, collect, count, fill, mend, wait_for
from evsim.jit import OPTIONS, inline_kernel, kernel
from evsim.models import verbs
from evsim.neuron import (
    AT_HORIZON,
    DONE,
    Clock,
    Rules,
    advance_to,
    clock_of,
    enter,
    finish,
    interval_to,
    move,
    own_events,
    stop_at,
)
from evsim.numerics import elapsed
from evsim.order import sort_by_time


class Block(NamedTuple):
    """The neurons of a group that share a kernel class: `first` to `first + n`."""

    p: Any
    state: Any
    books: Any
    first: Any
    table: Any  # coefficients of the intervals of a window, one per arrival


#: Stages of a window.
COLLECT, LIST, ADVANCE, SEND = map(np.int64, range(4))


@kernel
def gaps(books, first, last, shift, deliveries, lists):
    """Intervals between the own events of neurons `first` to `last` of a block."""
    hi, lo = deliveries.hi, deliveries.lo
    for n in range(first, last):
        since_hi, since_lo = books.hi[n], books.lo[n]
        for x in range(lists.start[n + shift], lists.start[n + shift + 1]):
            k = int(lists.arrival[x, 1])
            lists.gap[x] = elapsed(hi[k], lo[k], since_hi, since_lo)
            since_hi, since_lo = hi[k], lo[k]


@kernel
def intervals(p, gap, table, start, stop):
    """Coefficients of many intervals of neurons that share them: one vectorised pass."""
    for x in range(start, stop):
        verbs.store(table, x, verbs.prepare(p, gap[x]))


@kernel
def through(
    block, n, unit, x, clock, k, stop, fresh, deliveries, lists, arrival_first, spikes, doubts
):
    """Neuron `n` of a block through its arrivals `k` to `stop`, by the exact solver.

    Returns state, clock, and the arrivals done; there are more if there was no room.
    """
    q = verbs.pick(block.p, n)
    books, status = block.books, DONE
    while k < stop:
        m = int(lists.arrival[k, 1])
        hi, lo, kind, value = deliveries.hi[m], deliveries.lo[m], deliveries.kind[m], 0.0
        if kind >= 0:
            value = lists.arrival[k, 0]
        if fresh:
            c = verbs.own(block.p, q, verbs.load(block.table, k))
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
        fresh = True
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
    block, part, deliveries, lists, end, final, arrival_first, progress, place, spikes, doubts
):
    """The neurons of a block through their arrivals and on to the end of the window; a status."""
    p, state, books = block.p, block.state, block.books
    shift = block.first - part.first[0]
    first, last = max(0, -shift), min(books.current.size, part.last[0] - block.first)
    begin = max(first, place.neuron[0] - shift)
    if begin == first and place.within[0] == 0 and first < last:
        gaps(books, first, last, shift, deliveries, lists)
        intervals(p, lists.gap, block.table, lists.start[first + shift], lists.start[last + shift])
    for n in range(begin, last):
        g = n + shift
        k, stop = lists.start[g] + place.arrival[0], lists.start[g + 1]
        if k == stop and progress.safe[g] >= end and place.within[0] == 0:
            continue
        q, x, clock = verbs.pick(p, n), verbs.load(state, n), clock_of(books, n)
        fresh, calm = place.within[0] == 0, place.within[0] == 0 and not clock.busy
        place.arrival[0] = place.within[0] = 0
        status = DONE
        if k < stop:
            while calm and k < stop:
                m = int(lists.arrival[k, 1])
                c = verbs.own(p, q, verbs.load(block.table, k))
                y, may = verbs.step(q, c, x)
                calm = not may and deliveries.kind[m] >= 0
                if calm:
                    x = verbs.receive(q, y, deliveries.kind[m], lists.arrival[k, 0])
                    k += 1
            if k > lists.start[g]:
                m = int(lists.arrival[k - 1, 1])
                since = (deliveries.hi[m], deliveries.lo[m])
                if fresh:
                    clock = clock_at(clock, since)
            if k < stop:
                x, clock, k, status = through(
                    block, n, g + part.first[0], x, clock, k, stop, fresh, deliveries, lists,
                    arrival_first, spikes, doubts,
                )  # fmt: skip
        if status == DONE and not final:
            q = verbs.pick(p, n)
            safe = clock.free_hi if clock.busy else no_earlier(clock.hi, verbs.earliest(q, x))
            if safe < end:
                x, clock, status, safe = to_horizon(
                    p, n, g + part.first[0], x, clock, end, spikes, doubts
                )
            progress.safe[g] = safe
        verbs.store(state, n, x)
        enter(books, n, clock)
        if status != DONE:
            stop_at(place, g, k - lists.start[g])
            return status
    return DONE


@inline_kernel
def clock_at(clock, since):
    """`clock` with another time of the last own event."""
    return Clock(since[0], since[1], clock.busy, clock.free_hi, clock.free_lo, clock.free_error)


@inline_kernel
def span_of(block, part):
    """Neurons of a block within a part: first, one behind the last, and what to add to get a
    place in the part."""
    shift = block.first - part.first[0]
    return max(0, -shift), min(block.books.current.size, part.last[0] - block.first), shift


def advance(blocks, part, deliveries, lists, end, final, first, progress, place, spikes, doubts):
    """`advance_block` for one block after the other; a status."""
    for block in blocks:
        status = advance_block(
            block, part, deliveries, lists, end, final, first, progress, place, spikes, doubts
        )
        if status != DONE:
            return status
    return DONE


def close(blocks, part, until, place, spikes, doubts):
    """`finish` for one block after the other; a status."""
    for block in blocks:
        span = span_of(block, part)
        status = finish(
            block.p, block.state, block.books, span, part.first[0], until, place, spikes, doubts
        )
        if status != DONE:
            return status
    return DONE


@overload(advance, jit_options=OPTIONS)
def _advance(blocks, part, deliveries, lists, end, final, first, progress, place, spikes, doubts):
    # Blocks are of different types: the loop is unrolled by recursion.
    if len(blocks) == 0:
        # fmt: off
        return lambda blocks, part, deliveries, lists, end, final, first, progress, place, \
            spikes, doubts: DONE
        # fmt: on

    def unrolled(
        blocks, part, deliveries, lists, end, final, first, progress, place, spikes, doubts
    ):
        status = advance_block(
            blocks[0], part, deliveries, lists, end, final, first, progress, place, spikes, doubts
        )
        if status != DONE:
            return status
        return advance(
            blocks[1:], part, deliveries, lists, end, final, first, progress, place, spikes, doubts
        )

    return unrolled


@overload(close, jit_options=OPTIONS)
def _close(blocks, part, until, place, spikes, doubts):
    if len(blocks) == 0:
        return lambda blocks, part, until, place, spikes, doubts: DONE

    def unrolled(blocks, part, until, place, spikes, doubts):
        block = blocks[0]
        span = span_of(block, part)
        status = finish(
            block.p, block.state, block.books, span, part.first[0], until, place, spikes, doubts
        )
        if status != DONE:
            return status
        return close(blocks[1:], part, until, place, spikes, doubts)

    return unrolled


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
            width, until,
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
def run_windows(
    blocks, fibres, part, flight, external, deliveries, lists, width, until, last,
    arrival_first, progress, place, spikes, doubts,
):  # fmt: skip
    """Run a group from `progress` on to `until`, which lies in window `last`; a status.

    `FULL` asks for more room, as `progress.waits` says, and another call.
    """
    slots = flight.head.size // 2
    stage, window = progress.stage, progress.window
    while True:
        final = window[0] == last
        end = (window[0] + 1) * width
        status = DONE
        if stage[0] == COLLECT:
            slot = window[0] & (slots - 1)
            status = collect(fibres, flight, external, deliveries, slot, end, progress)
        elif stage[0] == LIST:
            status = count(fibres, part, external, deliveries, lists, progress)
            if status == DONE:
                fill(fibres, part, external, deliveries, lists, progress)
                if progress.sizes[1] + progress.sizes[2] > 0:
                    mend(deliveries, lists)
        elif stage[0] == ADVANCE:
            status = advance(
                blocks, part, deliveries, lists, end, final, arrival_first, progress, place,
                spikes, doubts,
            )  # fmt: skip
            place.neuron[0] *= status != DONE
        elif final:
            return close(blocks, part, until, place, spikes, doubts)
        else:
            status = send_all(fibres, part, flight, deliveries, progress, width, until, spikes)
        if status != DONE:
            if stage[0] == ADVANCE:
                progress.waits[0] = LOGS
            return status
        if stage[0] == SEND:
            window[0] = next_window(flight, external, progress, width, last)
        stage[0] = (stage[0] + 1) % 4
