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
    Clock,
    advance_to,
    clock_of,
    enter,
    finish,
    interval_to,
    move,
    stop_at,
)
from evsim.numerics import elapsed


class Events(NamedTuple):
    """Input events in the order in which they act; `row` indexes weights or currents."""

    hi: Any
    lo: Any
    kind: Any
    row: Any


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
        x, may_2 = flow_and_add(p, q, second, x, port_2, b[n])
        x, may_3 = flow_and_add(p, q, third, x, port_3, c[n])
        x, may_4 = flow_and_add(p, q, fourth, x, port_4, d[n])
        verbs.store(after, n, x)
        flags[n] = (may | may_2) | (may_3 | may_4)


@inline_kernel
def next_set(words, others, k):
    """Index from `k` on of the first word with a bit set in either array, or their size."""
    while k + 16 <= words.size:
        bits = np.uint64(0)
        for m in range(16):
            bits |= words[k + m] | others[k + m]
        if bits != 0:
            break
        k += 16
    while k < words.size and words[k] | others[k] == 0:
        k += 1
    return k


@inline_kernel
def redo(
    p, n, e, stop, events, table, weights, before, after, books, place,
    arrival_first, spikes, doubts,
):  # fmt: skip
    """Neuron `n` through events `e` to `stop` again, from its untouched state; a status."""
    q = verbs.pick(p, n)
    x, clock = verbs.load(before, n), clock_of(books, n)
    k = e + place.arrival[0]
    fresh = k > 0 and place.within[0] == 0
    if fresh:
        hi, lo = events.hi[k - 1], events.lo[k - 1]
        clock = Clock(hi, lo, clock.busy, clock.free_hi, clock.free_lo, clock.free_error)
    place.arrival[0] = place.within[0] = 0
    status = DONE
    while k < stop and status == DONE:
        hi, lo, port, weight = events.hi[k], events.lo[k], events.kind[k], 0.0
        if port >= 0:
            weight = weights[events.row[k], n]
        c = verbs.own(p, q, verbs.load(table, k)) if fresh else interval_to(q, clock, hi, lo)
        x, clock, status = advance_to(
            q, n, x, clock, c, hi, lo, port, weight, arrival_first, spikes, doubts
        )
        fresh = True
        k += status == DONE
    verbs.store(after if status == DONE else before, n, x)
    enter(books, n, clock)
    if status != DONE:
        stop_at(place, n, k - e)
    return status


@inline_kernel
def glide(p, states, events, table, weights, nothing, flags, clamped, place):
    """Flow for as long as no neuron needs the solver and no current changes.

    `place.event` then tells from which event on one does, and up to which all have been flowed.
    A loop of its own: beside the solver's code the compiler makes less of it.
    """
    words = flags.view(np.uint64)
    size, kind, row = events.hi.size, events.kind, events.row
    e = place.event[0]
    stop = e
    while e < size:
        before, after = states[place.turn[0]], states[1 - place.turn[0]]
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
        if kind[e] < 0 or next_set(words, clamped, 0) < words.size:
            break
        place.turn[0] = 1 - place.turn[0]
        e = stop
    place.event[0], place.event[1] = e, stop


@kernel
def sweep(
    p, states, books, events, table, weights, currents, until, arrival_first, place, flags,
    nothing, spikes, doubts,
):  # fmt: skip
    """Run a population from `place` over its events and on to `until`; a status.

    `states` are two buffers. `FULL` asks for logs with more room and another call; `ZENO`
    leaves the neuron that ran away in `place`. `table` comes from `coefficients`; `nothing` is
    a row of zeros.
    """
    n_neurons, kind = books.current.size, events.kind
    words, clamped = flags.view(np.uint64), books.busy.view(np.uint64)
    while True:
        if place.event[1] == place.event[0]:
            glide(p, states, events, table, weights, nothing, flags, clamped, place)
        e, stop = place.event[0], place.event[1]
        before, after = states[place.turn[0]], states[1 - place.turn[0]]
        if e == stop:
            if e > 0 and place.within[0] == 0:
                books.hi[:], books.lo[:] = events.hi[e - 1], events.lo[e - 1]
            span = (0, n_neurons, 0)
            return finish(p, before, books, span, 0, until, place, spikes, doubts)
        # A clamped neuron always goes to the solver, where its release is.
        word = next_set(words, clamped, place.neuron[0] // 8)
        while word < words.size:
            for n in range(max(8 * word, place.neuron[0]), min(8 * word + 8, n_neurons)):
                if flags[n] | books.busy[n]:
                    status = redo(
                        p, n, e, stop, events, table, weights, before, after, books, place,
                        arrival_first, spikes, doubts,
                    )  # fmt: skip
                    if status != DONE:
                        return status
            word = next_set(words, clamped, word + 1)
        if kind[e] < 0:
            values = currents[events.row[e]] if kind[e] == CURRENT else weights[events.row[e]]
            for n in range(n_neurons):
                busy = books.busy[n] != 0
                x = verbs.load(after, n)
                x = move(p, n, x, busy, books.pulses, books.current, kind[e], values[n])
                verbs.store(after, n, x)
        place.event[0], place.turn[0], place.neuron[0] = stop, 1 - place.turn[0], 0
