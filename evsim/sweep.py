"""Sweep of a population whose every input event reaches every neuron: event by event.

Per event one branch-free, vectorised pass flows all neurons, tests a bound and adds a
contiguous row of weights; only flagged neurons go to the exact solver, from the untouched
state. The state ping-pongs between two buffers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import verbs
from evsim.neuron import CURRENT, DONE, SPIKE, advance_to, clock_of, enter, finish, move
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


@kernel
def flow_and_add(p, common, weight, before, after, flags):
    """Flow every neuron, add its weight, and flag those that may fire."""
    for n in range(weight.size):
        q = verbs.pick(p, n)
        x, may = verbs.step(q, verbs.own(p, q, common), verbs.load(before, n))
        verbs.store(after, n, verbs.receive(q, x, weight[n]))
        flags[n] = may


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


@kernel
def redo(p, n, since, before, after, books, place, now, weight, arrival_first, spikes, doubts):
    """Neuron `n` again, exactly, from its untouched state; a status."""
    q = verbs.pick(p, n)
    clock = clock_of(books, n, since, place)
    x, clock, status = advance_to(
        q, n, verbs.load(before, n), clock, now[0], now[1], weight, arrival_first, spikes, doubts
    )
    verbs.store(after if status == DONE else before, n, x)
    enter(books, n, clock, place, status)
    return status


@kernel
def glide(p, even, odd, events, table, weights, nothing, flags, clamped, e):
    """Flow from event `e` on for as long as no neuron needs the solver and no current changes.

    Returns the event after whose flow one does, or the number of events. A loop of its own:
    beside the solver's code the compiler makes less of it.
    """
    words = flags.view(np.uint64)
    before, after = (even, odd) if e % 2 == 0 else (odd, even)
    while e < events.hi.size:
        quiet = events.kind[e] == SPIKE
        weight = weights[events.row[e]] if quiet else nothing
        flow_and_add(p, verbs.load(table, e), weight, before, after, flags)
        if not quiet or next_set(words, clamped, 0) < words.size:
            return e
        before, after = after, before
        e += 1
    return e


@kernel
def sweep(
    p, even, odd, books, events, table, weights, currents, until, arrival_first, place, flags,
    nothing, spikes, doubts,
):  # fmt: skip
    """Run a population from `place` over its events and on to `until`; a status.

    The state after an even number of events is in `even`. `FULL` asks for logs with more room
    and another call; `ZENO` leaves the neuron that ran away in `place`. `table` comes
    from `coefficients`; `nothing` is a row of zeros.
    """
    n_neurons = books.current.size
    words, clamped = flags.view(np.uint64), books.busy.view(np.uint64)
    e = place.event[0]
    fresh = place.clock[0] != place.clock[0] and place.neuron[0] == 0
    while True:
        if fresh:
            e = glide(p, even, odd, events, table, weights, nothing, flags, clamped, e)
        before, after = (even, odd) if e % 2 == 0 else (odd, even)
        since = (events.hi[e - 1], events.lo[e - 1]) if e > 0 else (0.0, 0.0)
        place.event[0] = e
        if e == events.hi.size:
            return finish(p, before, books, since, until, place, spikes, doubts)
        kind, row, now = events.kind[e], events.row[e], (events.hi[e], events.lo[e])
        weight = weights[row] if kind == SPIKE else nothing
        # A clamped neuron always goes to the solver, where its release is.
        word = next_set(words, clamped, place.neuron[0] // 8)
        while word < words.size:
            for n in range(max(8 * word, place.neuron[0]), min(8 * word + 8, n_neurons)):
                if flags[n] | books.busy[n]:
                    status = redo(
                        p, n, since, before, after, books, place, now, weight[n],
                        arrival_first, spikes, doubts,
                    )  # fmt: skip
                    if status != DONE:
                        return status
            word = next_set(words, clamped, word + 1)
        if kind != SPIKE:
            values = currents[row] if kind == CURRENT else weights[row]
            for n in range(n_neurons):
                busy = books.busy[n] != 0
                x = verbs.load(after, n)
                x = move(p, n, x, busy, books.pulses, books.current, kind, values[n])
                verbs.store(after, n, x)
        e += 1
        fresh = True
        place.neuron[0] = 0
