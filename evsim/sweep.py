"""Sweep of a population whose every input event reaches every neuron: event by event.

Branch-free, vectorised passes flow all neurons, test a bound and add a contiguous row of
weights, for four events at a time while only spikes come; neurons flagged in a pass go through
its events again, by the exact solver, from the untouched state. The state ping-pongs between
two buffers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import verbs
from evsim.neuron import (
    CURRENT,
    DONE,
    FULL,
    Clock,
    advance_to,
    clock_of,
    enter,
    finish,
    interval_to,
    move,
    roomier,
    stop_at,
)
from evsim.numerics import elapsed, lowest_bit

#: The status of a sweep that has come to the event at which it was to come up for air.
GOING = -1


class Events(NamedTuple):
    """Input events in the order in which they act; `row` indexes weights or currents."""

    hi: Any
    lo: Any
    kind: Any
    row: Any


class Trail(NamedTuple):
    """What a sweep leaves for a proof of its silences: every neuron that went through events
    again, with its states before and behind them; all states at the last event; and the
    greatest magnitudes before a pass, but for those of the first variable.

    Without room from the start nothing is kept.
    """

    unit: Any
    first: Any  # event, and one behind the last
    stop: Any
    before: Any  # tuples of arrays
    after: Any
    used: Any  # (1,)
    last: Any
    most: Any


def new_trail(state, capacity: int) -> Trail:
    """An empty trail of a population with this state; none with a capacity of 0."""
    n = state[0].size if capacity else 0
    first = np.empty((3, capacity), np.int64)
    before, after = (tuple(np.empty(capacity) for _ in state) for _ in range(2))
    last, most = (tuple(np.zeros(n) for _ in state) for _ in range(2))
    return Trail(first[0], first[1], first[2], before, after, np.zeros(1, np.int64), last, most)


@inline_kernel
def widen(most, state):
    """Raise the greatest magnitudes of every neuron."""
    for k in range(1, len(most)):
        sizes, values = most[k], state[k]
        for n in range(sizes.size):
            size = abs(values[n])
            sizes[n] = size if size > sizes[n] else sizes[n]


def longer(trail: Trail) -> Trail:
    """A copy with twice the room."""

    def twice(values):
        return roomier(values, 2 * values.size)

    return trail._replace(
        unit=twice(trail.unit), first=twice(trail.first), stop=twice(trail.stop),
        before=tuple(map(twice, trail.before)), after=tuple(map(twice, trail.after)),
    )  # fmt: skip


class Evidence(NamedTuple):
    """What `evsim.proof.layer` wants of the sweep of a population: its start, its events with the
    coefficients of their intervals, and its trail."""

    p: Any
    start: Any
    events: Any
    weights: Any
    table: Any
    trail: Trail


#: Bytes of a page, and where large NumPy arrays, such as weights, begin in theirs.
PAGE, HEADER = 4096, 16


def two_buffers(state):
    """Copies of a state for the sweep to alternate between: (state, room for another).

    All begin at the same place of a page of memory: where a load lies just behind a store but
    for whole pages, processors take the one to depend on the other, which cost up to 30 %.
    """
    buffers = []
    for values in (*state, *state):
        raw = np.empty(values.nbytes + PAGE, np.uint8)
        start = (HEADER - raw.ctypes.data) % PAGE
        buffers.append(raw[start : start + values.nbytes].view(np.float64))
        buffers[-1][:] = values
    return tuple(buffers[: len(state)]), tuple(buffers[len(state) :])


@kernel
def coefficients(p, events, table):
    """Fill `table` with what all neurons have in common over the interval before each event.

    Here and not in the sweep, since the exponentials of many events vectorise.
    """
    hi, lo = 0.0, 0.0
    for e in range(events.hi.size):
        d = elapsed(events.hi[e], events.lo[e], hi, lo)
        hi, lo = events.hi[e], events.lo[e]
        verbs.store(table, e, verbs.prepare(p, d))


@inline_kernel
def flow_and_add(p, q, common, x, port, weight):
    """State of one neuron after one event, and whether it may fire before it."""
    x, may = verbs.step(q, verbs.own(p, q, common), x)
    return verbs.receive(q, x, port, weight), may


@inline_kernel
def flow_on_and_add(p, q, common, x, port, weight):
    """The same, of a neuron that has come from the event before without a spike."""
    x, may = verbs.step_on(q, verbs.own(p, q, common), x)
    return verbs.receive(q, x, port, weight), may


@kernel
def one_event(p, table, e, port, weight, before, after, flags):
    """Flow every neuron, add its weight, and flag those that may fire."""
    common = verbs.load(table, e)
    for n in range(weight.size):
        q = verbs.pick(p, n)
        x, may = flow_and_add(p, q, common, verbs.load(before, n), port, weight[n])
        verbs.store(after, n, x)
        flags[n] = may


#: Events that one pass over the neurons takes: their states stay in registers meanwhile.
BLOCK = 4


@kernel
def four_events(p, table, e, ports, a, b, c, d, before, after, flags):
    """As `one_event`, for the events from `e` on with rows of weights `a`, `b`, `c`, `d`."""
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    first, second = verbs.load(table, e), verbs.load(table, e + 1)
    third, fourth = verbs.load(table, e + 2), verbs.load(table, e + 3)
    for n in range(a.size):
        q = verbs.pick(p, n)
        x, may = flow_and_add(p, q, first, verbs.load(before, n), port, a[n])
        x, may_2 = flow_on_and_add(p, q, second, x, port_2, b[n])
        x, may_3 = flow_on_and_add(p, q, third, x, port_3, c[n])
        x, may_4 = flow_on_and_add(p, q, fourth, x, port_4, d[n])
        verbs.store(after, n, x)
        flags[n] = (may | may_2) | (may_3 | may_4)


@inline_kernel
def any_set(words, others):
    """Whether a bit is set in either array."""
    bits = np.uint64(0)
    for k in range(words.size):
        bits |= words[k] | others[k]
    return bits != 0


@kernel
def flagged(words, others, found):
    """Write the indices of the bytes that are not 0 in either array; how many there are."""
    count = 0
    # Unsigned, since an index that may be negative costs a test.
    k = np.uint64(0)
    for _ in range(words.size // 8):
        stop, bits = k + np.uint64(8), np.uint64(0)
        for word in range(k, stop):
            bits |= words[word] | others[word]
        if bits != 0:
            for word in range(k, stop):
                bits = words[word] | others[word]
                while bits != 0:
                    byte = lowest_bit(bits) // 8
                    found[count] = 8 * np.int64(word) + byte
                    count += 1
                    bits &= ~(np.uint64(255) << np.uint64(8 * byte))
        k = stop
    return count


@inline_kernel
def redo(
    p, n, e, stop, events, table, weights, before, after, books, place,
    arrival_first, spikes, doubts, trail,
):  # fmt: skip
    """Neuron `n` through events `e` to `stop` again, from its untouched state; a status."""
    at = np.uint64(n)  # an index that may be negative costs a test
    q = verbs.pick(p, at)
    x = verbs.load(before, at)
    k = e + place.arrival[0]
    fresh = k > 0 and place.within[0] == 0
    past = clock = clock_of(books, at)
    if fresh:
        hi, lo = events.hi[k - 1], events.lo[k - 1]
        clock = Clock(hi, lo, past.busy, past.free_hi, past.free_lo, past.free_error)
    if trail.unit.size > 0 and k == e and place.within[0] == 0:
        verbs.store(trail.before, trail.used[0], x)
    place.arrival[0] = place.within[0] = 0
    status = DONE
    while k < stop and status == DONE:
        hi, lo, port, weight = events.hi[k], events.lo[k], events.kind[k], 0.0
        if port >= 0:
            weight = weights[np.uint64(events.row[k]), at]
        c = verbs.own(p, q, verbs.load(table, k)) if fresh else interval_to(q, clock, hi, lo)
        x, clock, status = advance_to(
            q, n, x, clock, c, hi, lo, port, weight, arrival_first, spikes, doubts
        )
        fresh = True
        k += status == DONE
    verbs.store(after if status == DONE else before, at, x)
    fired = clock.free_hi != past.free_hi or clock.free_lo != past.free_lo
    if fired or past.busy or clock.busy or status != DONE:
        enter(books, at, clock)
    if status != DONE:
        stop_at(place, n, k - e)
    elif trail.unit.size > 0:
        j = trail.used[0]
        trail.unit[j], trail.first[j], trail.stop[j] = n, e, stop
        verbs.store(trail.after, j, x)
        trail.used[0] = j + 1
    return status


@inline_kernel
def glide(p, states, events, table, weights, nothing, flags, clamped, place, most, limit):
    """Flow for as long as no neuron needs the solver and no current changes, to event `limit`.

    `place.event` then tells from which event on one does, and up to which all have been flowed.
    A loop of its own: beside the solver's code the compiler makes less of it.
    """
    words = flags.view(np.uint64)
    size, kind, row = events.hi.size, events.kind, events.row
    e = place.event[0]
    stop = e
    while e < size and e < limit:
        before, after = states[place.turn[0]], states[1 - place.turn[0]]
        widen(most, before)
        only_spikes = e + BLOCK <= size
        if only_spikes:
            for k in range(e, e + BLOCK):
                only_spikes &= kind[k] >= 0
        if only_spikes:
            stop = e + BLOCK
            four_events(
                p, table, e, kind, weights[row[e]], weights[row[e + 1]], weights[row[e + 2]],
                weights[row[e + 3]], before, after, flags,
            )  # fmt: skip
        else:
            stop = e + 1
            weight = weights[row[e]] if kind[e] >= 0 else nothing
            one_event(p, table, e, kind[e], weight, before, after, flags)
        if e == 0 and place.within[0] != 0:
            # In a resumed run every neuron has a clock of its own up to the first event.
            flags[: nothing.size] = 1
            place.within[0] = 0
        if kind[e] < 0 or any_set(words, clamped):
            break
        place.turn[0] = 1 - place.turn[0]
        e = stop
    place.event[0], place.event[1] = e, stop


@kernel
def sweep(
    p, guard, states, books, events, table, weights, currents, until, arrival_first, place,
    flags, found, nothing, spikes, doubts, trail, limit,
):  # fmt: skip
    """Run a population from `place` over its events and on to `until`; a status.

    `states` are two buffers. `FULL` asks for logs with more room and another call, `GOING` for
    another call, at event `limit` or a little later; `ZENO` leaves the neuron that ran away in
    `place`. `table` comes from `coefficients`; `found` has
    room for the index of every neuron; `nothing` is a row of zeros. `guard` are the parameters
    by which neurons are flagged: `p`, or with a lower threshold where a `trail` is kept.
    """
    n_neurons, kind = books.current.size, events.kind
    words, clamped = flags.view(np.uint64), books.busy.view(np.uint64)
    while True:
        if place.event[1] == place.event[0]:
            glide(guard, states, events, table, weights, nothing, flags, clamped, place,
                  trail.most, limit)  # fmt: skip
        e, stop = place.event[0], place.event[1]
        if e == stop and e < events.hi.size:
            return GOING
        before, after = states[place.turn[0]], states[1 - place.turn[0]]
        if e == stop:
            if e > 0 and place.within[0] == 0:
                books.hi[:], books.lo[:] = events.hi[e - 1], events.lo[e - 1]
            if trail.unit.size > 0 and place.neuron[0] == 0 and place.within[0] == 0:
                for n in range(n_neurons):
                    verbs.store(trail.last, n, verbs.load(before, n))
            span = (0, n_neurons, 0)
            return finish(p, before, books, span, 0, until, place, spikes, doubts)
        # A clamped neuron always goes to the solver, where its release is.
        for k in range(flagged(words, clamped, found)):
            if found[k] >= place.neuron[0]:
                if 0 < trail.unit.size == trail.used[0]:
                    place.neuron[0] = found[k]
                    return FULL
                status = redo(
                    p, found[k], e, stop, events, table, weights, before, after, books, place,
                    arrival_first, spikes, doubts, trail,
                )  # fmt: skip
                if status != DONE:
                    return status
        if kind[e] < 0:
            values = currents[events.row[e]] if kind[e] == CURRENT else weights[events.row[e]]
            for n in range(n_neurons):
                busy = books.busy[n] != 0
                x = verbs.load(after, n)
                x = move(p, n, x, busy, books.pulses, books.current, kind[e], values[n])
                verbs.store(after, n, x)
        place.event[0], place.turn[0], place.neuron[0] = stop, 1 - place.turn[0], 0
