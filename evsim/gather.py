"""What arrives in a window, as one list per target: a counting sort by target.

Lists are kept of the neurons only to which something happens in the window, in order of their
places: those that something reaches, and those that may fire of themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.flight import (
    CHUNK,
    DELAY,
    MORE,
    ROW,
    ROWS,
    SINGLE,
    SOURCES,
    VALUE,
    WAY,
    WHAT,
    chunks_for,
    chunks_of,
    code_of,
    end_of,
    first_of,
    later,
    launch,
    launch_of,
    line_of,
    next_of,
    pack,
    single,
    slot_in,
    source_of,
    target_of,
)
from evsim.jit import inner_inline_kernel, inner_kernel
from evsim.neuron import DONE, FULL
from evsim.numerics import not_before
from evsim.order import HI, LO, fetch, fetch_all, index, sort_by_time

#: What a run of windows waits for when it stops with `FULL`.
ORDER, LISTS, FLIGHT, LOGS, MAIL, SHELVES = range(1, 7)


_BITS = np.arange(256)[:, None] >> np.arange(8) & 1
#: Of eight flags as one number: those that are set, in order, and how many they are.
SET = np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.int8)
HOW_MANY = _BITS.sum(axis=1).astype(np.int8)


class Lists(NamedTuple):
    """Arrivals of a window by target."""

    room: Any  # (n,) int32, for counting
    flag: Any  # (n,) bytes, with room for whole words: neurons that have a list
    place: Any  # (n + 8,) those neurons, in order; and behind all a late neuron
    start: Any  # (n + 2,) of their lists
    arrival: Any  # (capacity, 2): value, and its code
    code: Any  # the same memory as whole numbers: see `evsim.flight.code_of`
    when: Any  # (capacity, 2) time, where there are singles
    since: Any  # (capacity,) from the own event before to some arrivals, neuron by neuron
    order: Any  # rows, or spikes, in order of time
    spare: Any
    shelves: Any  # pool of arrivals by shelf, see `evsim.shelves`; without lists for few neurons


class External(NamedTuple):
    """Arrivals from outside of the group, in order: of rows of synapses, and of single values."""

    row_hi: Any
    row_lo: Any
    row: Any
    row_kind: Any
    hi: Any
    lo: Any
    target: Any
    value: Any
    kind: Any
    key: Any


class Progress(NamedTuple):
    """Where a part of a run of windows stands."""

    window: Any  # (1,)
    stage: Any  # (1,) what comes next
    turn: Any  # (1,) of the mail
    phase: Any  # (2,) of this window; finished in all
    external: Any  # (2,) rows and single values that have arrived
    sizes: Any  # (3,) rows of this window; whether there are singles; lists
    spikes: Any  # (2,) own spikes posted; spikes of the window before that have been sent
    rows: Any  # (1,) rows of the next spike that have been sent
    waits: Any  # (2,) what a stop waits for, and how much of it
    safe: Any  # (n,) no neuron's own spike or release comes before
    late: Any  # (1,) late neurons done
    shelf: Any  # (1,) shelves done; or -1, before they are filled


@inner_inline_kernel
def wait_for(progress, what, amount):
    """Note what a stop waits for."""
    progress.waits[0], progress.waits[1] = what, amount
    return FULL


@inner_inline_kernel
def when_of(flight, lists, x, told):
    """Time of arrival `x`: `told` by the list, as that of a single is, or that of its launch."""
    entry, at = flight.launches.entry, index(launch_of(lists.code[index(x), 1]))
    if told:
        return lists.when[index(x), HI], lists.when[index(x), LO]
    return entry[at, HI], entry[at, LO]


@inner_kernel
def collect(fibres, part, flight, external, lists, end, progress):
    """Bring the deliveries of a window together in the lists of its slot; a status.

    Those from outside join the ring; rows come into order of time.
    """
    first_row, first, window = progress.external[0], progress.external[1], progress.window[0]
    line, a, b = line_of(flight, window), first_row, first
    while a < external.row.size and not not_before(
        external.row_hi[a], external.row_lo[a], end, 0.0
    ):
        a += 1
    while b < external.hi.size and not not_before(external.hi[b], external.lo[b], end, 0.0):
        b += 1
    wanted = chunks_for(a - first_row + b - first, 2)
    if min(flight.launches.free[1], flight.singles.free[1]) < wanted:
        return wait_for(progress, FLIGHT, wanted)
    for k in range(first_row, a):
        r = external.row[k]
        what = pack(fibres.start[r], external.row_kind[k])
        launch(flight, line + ROWS, external.row_hi[k], external.row_lo[k], 0.0, r, what)
    for k in range(first, b):
        n = external.target[k]
        if part.first[0] <= n < part.last[0]:
            what = pack(external.key[k], external.kind[k])
            at = launch(flight, line + SOURCES, external.hi[k], external.lo[k], 0.0, -1, what)
            single(flight, slot_in(flight, window), 0.0, external.value[k], n, at)
    progress.external[0], progress.external[1] = a, b
    progress.sizes[1] = flight.singles.last[slot_in(flight, window)] >= 0
    return rows_in_order(flight.launches, lists, line + ROWS, progress)


@inner_inline_kernel
def rows_in_order(pool, lists, rows, progress):
    """The rows of a window by time; a status."""
    most = chunks_of(pool, rows) * CHUNK
    if most > lists.order.size:
        return wait_for(progress, ORDER, most)
    size, at = 0, first_of(pool, rows)
    while at >= 0:
        end = end_of(pool, rows, at)
        for x in range(at, end):
            lists.order[size] = x
            size += 1
        at = next_of(pool, rows, end)
    sort_by_time(pool.entry, pool.word, size, lists.order, lists.spare)
    progress.sizes[0] = size
    return DONE


@inner_kernel
def count(fibres, part, flight, lists, progress):
    """Arrivals of every neuron."""
    first, room, target = part.first[0], lists.room, fibres.target
    room[:] = 0
    for k in range(progress.sizes[0]):
        r = flight.launches.word[lists.order[k], ROW]
        if k + 1 < progress.sizes[0]:
            after = flight.launches.word[lists.order[k + 1], ROW]
            fetch_all(target, part.start[after], part.stop[after])
        for s in range(part.start[r], part.stop[r]):
            room[index(target[index(s)] - first)] += 1
    pool, slot = flight.singles, slot_in(flight, progress.window[0])
    at = first_of(pool, slot)
    while at >= 0:
        end = end_of(pool, slot, at)
        after = next_of(pool, slot, end)
        ahead = (after - at) * SINGLE + WAY
        for x in range(at, end):
            fetch(pool.word, x * SINGLE + ahead)
            room[index(target_of(flight, index(x)) - first)] += 1
        at = after


@inner_inline_kernel
def places(words, place, a, b):
    """Write those of the places `a` to `b` whose flags are set, in order; how many they are.

    `words` are the flags, eight in one. Always eight places are written, without a branch for
    each; what is too much the next eight write over.
    """
    size = 0
    for w in range(a // 8, (b + 7) // 8):
        word = words[index(w)]
        if word != 0:
            word |= word >> 7
            word |= word >> 14
            which = index((word | word >> 28) & 255)
            for k in range(8):
                place[index(size + k)] = 8 * w + int(SET[which, index(k)])
            size += int(HOW_MANY[which])
    return size


@inner_kernel
def lay_out(lists, safe, end, final, a, b, progress):
    """Starts of the lists of those neurons `a` to `b` to whom something happens before `end`; a
    status.

    At the end of the run something happens to all.
    """
    room, flag, place, start = lists.room, lists.flag, lists.place, lists.start
    for m in range(a, b):
        flag[m] = (room[m] > 0) | (safe[m] < end) | final
    size, total = places(flag.view(np.int64), place, a, b), 0
    for k in range(size):
        at = index(place[index(k)])
        start[index(k)] = total
        arrivals = room[at]
        room[at] = total
        total += arrivals
    start[size] = total
    progress.sizes[2] = size
    return DONE if total <= lists.arrival.shape[0] else wait_for(progress, LISTS, total)


@inner_kernel
def fill(fibres, part, flight, lists, progress):
    """Write the arrivals of a window into its lists: rows, each in order of time, then singles."""
    first, room, arrival, when = part.first[0], lists.room, lists.arrival, lists.when
    mixed, entry, word = progress.sizes[1] > 0, flight.launches.entry, flight.launches.word
    target, weight = fibres.target, fibres.weight
    for k in range(progress.sizes[0]):
        at = lists.order[k]
        r, code = word[at, ROW], code_of(at, word[at, WHAT], False)
        if k + 1 < progress.sizes[0]:
            after = word[lists.order[k + 1], ROW]
            fetch_all(weight, part.start[after], part.stop[after])
            fetch_all(target, part.start[after], part.stop[after])
        for s in range(part.start[r], part.stop[r]):
            n = index(target[index(s)] - first)
            x = room[n]
            arrival[index(x), 0], lists.code[index(x), 1] = weight[index(s)], code
            if mixed:
                when[index(x), HI], when[index(x), LO] = entry[index(at), HI], entry[index(at), LO]
            room[n] = x + 1
    pool, slot = flight.singles, slot_in(flight, progress.window[0])
    at = first_of(pool, slot)
    while at >= 0:
        end = end_of(pool, slot, at)
        for k in range(at, end):
            n, source = index(target_of(flight, index(k)) - first), source_of(flight, index(k))
            x, at, delay = index(room[n]), index(source), pool.entry[index(k), DELAY]
            arrival[x, 0] = pool.entry[index(k), VALUE]
            lists.code[x, 1] = code_of(source, word[at, WHAT], True)
            when[x, HI], when[x, LO] = later(entry[at, HI], entry[at, LO], delay, entry[at, MORE])
            room[n] += 1
        at = next_of(pool, slot, end)
