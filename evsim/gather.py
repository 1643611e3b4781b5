"""What arrives in a window, as one list per target: a counting sort by target."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.flight import CHUNK, ROWS, SINGLES, clear, following, unpack
from evsim.jit import inline_kernel, kernel
from evsim.neuron import DONE, FULL
from evsim.numerics import not_before
from evsim.order import precedes, sort_by_time

#: What a run of windows waits for when it stops with `FULL`.
TABLE: Any = np.int64(1)
LISTS: Any = np.int64(2)
FLIGHT: Any = np.int64(3)


class Deliveries(NamedTuple):
    """What arrives in a window: rows of synapses by time, then single values."""

    hi: Any
    lo: Any
    kind: Any
    number: Any  # of the row, of the synapse, or of the external value
    key: Any  # orders arrivals at one time: the (first) synapse
    order: Any
    spare: Any


class Lists(NamedTuple):
    """Arrivals of a window by target."""

    start: Any  # (n + 1,)
    next: Any  # (n,) room for counting
    arrival: Any  # (capacity, 2): value, and index of the delivery
    gap: Any  # (capacity,) time since the target's last own event
    who: Any  # (capacity,) the target's place in its block


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
    """Where a run of windows stands."""

    window: Any  # (1,)
    stage: Any  # (1,) what comes next within the window
    external: Any  # (2,) rows and single values that have arrived
    sizes: Any  # (3,) rows, single synapses and external values that arrive in this window
    spikes: Any  # (2,) spikes logged before this window; how many of its own have been sent
    rows: Any  # (1,) rows of the next spike that have been sent
    waits: Any  # (2,) what a stop waits for, and how much of it
    safe: Any  # (n,) no neuron's own spike or release comes before
    late: Any  # (3,) late neurons done, deliveries used, arrivals of the next late neuron


@inline_kernel
def wait_for(progress, what, amount):
    """Note what a stop waits for."""
    progress.waits[0], progress.waits[1] = what, amount
    return FULL


@inline_kernel
def note_arrival(deliveries, m, hi, lo, kind, number, key):
    """Write one delivery."""
    deliveries.hi[m], deliveries.lo[m], deliveries.kind[m] = hi, lo, kind
    deliveries.number[m], deliveries.key[m] = number, key


@kernel
def collect(fibres, flight, external, deliveries, slot, end, progress):
    """Gather the deliveries of a window; a status."""
    rows, singles = 2 * slot + ROWS, 2 * slot + SINGLES
    first_row, first = progress.external[0], progress.external[1]
    a, b = first_row, first
    while a < external.row.size and not not_before(
        external.row_hi[a], external.row_lo[a], end, 0.0
    ):
        a += 1
    while b < external.hi.size and not not_before(external.hi[b], external.lo[b], end, 0.0):
        b += 1
    total = flight.count[rows] + flight.count[singles] + (a - first_row) + (b - first)
    if total > deliveries.hi.size:
        return wait_for(progress, TABLE, total)
    m, at = 0, flight.head[rows] * CHUNK
    for _ in range(flight.count[rows]):
        r, kind = unpack(flight.what[at])
        note_arrival(deliveries, m, flight.hi[at], flight.lo[at], kind, r, fibres.start[r])
        m, at = m + 1, following(flight, at)
    for k in range(first_row, a):
        r = external.row[k]
        hi, lo = external.row_hi[k], external.row_lo[k]
        note_arrival(deliveries, m, hi, lo, external.row_kind[k], r, fibres.start[r])
        m += 1
    d = deliveries
    sort_by_time(d.hi, d.lo, d.key, 0, m, d.order, d.spare)
    at = flight.head[singles] * CHUNK
    for _ in range(flight.count[singles]):
        s, kind = unpack(flight.what[at])
        note_arrival(deliveries, m, flight.hi[at], flight.lo[at], kind, s, s)
        m, at = m + 1, following(flight, at)
    for k in range(first, b):
        note_arrival(
            deliveries, m, external.hi[k], external.lo[k], external.kind[k], k, external.key[k]
        )
        m += 1
    progress.sizes[0] = flight.count[rows] + (a - first_row)
    progress.sizes[1], progress.sizes[2] = flight.count[singles], b - first
    progress.external[0], progress.external[1] = a, b
    clear(flight, rows)
    clear(flight, singles)
    return DONE


@kernel
def count(fibres, part, external, deliveries, lists, progress):
    """Starts of the lists of a window; a status."""
    first, number, room = part.first[0], deliveries.number, lists.next
    room[:] = 0
    rows, singles = progress.sizes[0], progress.sizes[0] + progress.sizes[1]
    for k in range(rows):
        r = number[k]
        for s in range(part.start[r], part.stop[r]):
            room[fibres.target[s] - first] += 1
    for k in range(rows, singles):
        room[fibres.target[number[k]] - first] += 1
    for k in range(singles, singles + progress.sizes[2]):
        room[external.target[number[k]] - first] += 1
    total = 0
    for n in range(room.size):
        lists.start[n] = total
        total += room[n]
        room[n] = lists.start[n]
    lists.start[room.size] = total
    return DONE if total <= lists.gap.size else wait_for(progress, LISTS, total)


@kernel
def fill(fibres, part, external, deliveries, lists, progress):
    """Write the arrivals of a window into its lists, each in order of time."""
    first, number, room, arrival = part.first[0], deliveries.number, lists.next, lists.arrival
    rows, singles = progress.sizes[0], progress.sizes[0] + progress.sizes[1]
    for m in range(rows):
        k = deliveries.order[m]
        r = number[k]
        for s in range(part.start[r], part.stop[r]):
            n = fibres.target[s] - first
            at = room[n]
            arrival[at, 0], arrival[at, 1] = fibres.weight[s], k
            room[n] = at + 1
    for k in range(rows, singles):
        s = number[k]
        n = fibres.target[s] - first
        arrival[room[n], 0], arrival[room[n], 1] = fibres.weight[s], k
        room[n] += 1
    for k in range(singles, singles + progress.sizes[2]):
        n = external.target[number[k]] - first
        arrival[room[n], 0], arrival[room[n], 1] = external.value[number[k]], k
        room[n] += 1


@inline_kernel
def sort_arrivals(deliveries, arrival, first, stop):
    """Bring a list of arrivals into the order of time."""
    hi, lo, key = deliveries.hi, deliveries.lo, deliveries.key
    for x in range(first + 1, stop):
        value, k = arrival[x, 0], int(arrival[x, 1])
        at = x
        while at > first and precedes(hi, lo, key, k, int(arrival[at - 1, 1])):
            arrival[at, 0], arrival[at, 1] = arrival[at - 1, 0], arrival[at - 1, 1]
            at -= 1
        arrival[at, 0], arrival[at, 1] = value, k


@kernel
def mend(deliveries, lists):
    """Put single arrivals, which `fill` wrote behind the rows, where they belong in time."""
    for n in range(lists.next.size):
        sort_arrivals(deliveries, lists.arrival, lists.start[n], lists.start[n + 1])
