"""Neuron by neuron over its own list of arrivals: sparse layers, delays per synapse, voltages."""

from __future__ import annotations

from typing import Any, NamedTuple

from evsim.jit import kernel
from evsim.models import verbs
from evsim.neuron import (
    AT_END,
    DONE,
    Clock,
    Rules,
    advance_to,
    clock_of,
    enter,
    interval_to,
    move,
    own_events,
    stop_at,
)
from evsim.numerics import not_before


class Arrivals(NamedTuple):
    """Arrivals by target: those of the `n`-th neuron are `start[n]:start[n + 1]`, in order."""

    start: Any
    hi: Any
    lo: Any
    kind: Any
    value: Any


@kernel
def count_targets(units, indptr, targets, counts):
    """Count the arrivals per target neuron that these spikes cause."""
    for unit in units:
        for s in range(indptr[unit], indptr[unit + 1]):
            counts[targets[s]] += 1


@kernel
def deliver(units, indptr, targets, place, spike, synapse):
    """Write the spike and synapse index of every arrival at its target's next place."""
    for k in range(units.size):
        for s in range(indptr[units[k]], indptr[units[k] + 1]):
            target = targets[s]
            spike[place[target]] = k
            synapse[place[target]] = s
            place[target] += 1


@kernel
def walk(p, state, books, span, arrivals, until, arrival_first, place, spikes, doubts):
    """Run the neurons of `span` from `place` on over their arrivals and on to `until`.

    `arrivals` are those of the span. Answers as `sweep.sweep`; here a neuron goes through all
    its events before the next one, and `place.arrival` counts the arrivals that the neuron in
    `place` has done.
    """
    rules = Rules(False, AT_END)
    for n in range(max(span[0], place.neuron[0]), span[1]):
        q = verbs.pick(p, n)
        x, clock = verbs.load(state, n), clock_of(books, n)
        start, last = arrivals.start[n - span[0]], arrivals.start[n - span[0] + 1]
        first = start + place.arrival[0]
        place.arrival[0] = 0
        for a in range(first, last):
            hi, lo, kind, value = arrivals.hi[a], arrivals.lo[a], arrivals.kind[a], 0.0
            if kind >= 0:
                value = arrivals.value[a]
            c = interval_to(q, clock, hi, lo)
            x, clock, status = advance_to(
                q, n, x, clock, c, hi, lo, kind, value, arrival_first, spikes, doubts
            )
            if status != DONE:
                verbs.store(state, n, x)
                enter(books, n, clock)
                stop_at(place, n, a - start)
                return status
            if kind < 0:
                value = arrivals.value[a]
                x = move(p, n, x, clock.busy, books.pulses, books.current, kind, value)
                q = verbs.pick(p, n)
        c = interval_to(q, clock, until[0], until[1])
        x, clock, _, status = own_events(
            q, n, x, clock, c, until[0], until[1], rules, spikes, doubts
        )
        verbs.store(state, n, x)
        enter(books, n, clock)
        if status != DONE:
            stop_at(place, n, last - start)
            return status
    return DONE


@kernel
def trace(p, state, books, arrivals, arrival_first, t, voltage, values, spikes, doubts):
    """Voltage and state of a population of one at ascending times `t`, shape (t,), (state, t).

    The voltage is counted from the model's resting level. Reading it rounds no state: a
    reading flows a copy from the last own event.
    """
    q = verbs.pick(p, 0)
    x = verbs.load(state, 0)
    clock = Clock(0.0, 0.0, False, 0.0, 0.0, 0.0)
    a, n_arrivals = 0, arrivals.hi.size
    for k in range(t.size):
        while a < n_arrivals and not_before(t[k], 0.0, arrivals.hi[a], arrivals.lo[a]):
            hi, lo, kind, value = arrivals.hi[a], arrivals.lo[a], arrivals.kind[a], 0.0
            spikes.used[0] = doubts.used[0] = 0
            if kind >= 0:
                value = arrivals.value[a]
            c = interval_to(q, clock, hi, lo)
            x, clock, _ = advance_to(
                q, 0, x, clock, c, hi, lo, kind, value, arrival_first, spikes, doubts
            )
            if kind < 0:
                value = arrivals.value[a]
                x = move(p, 0, x, clock.busy, books.pulses, books.current, kind, value)
                q = verbs.pick(p, 0)
            a += 1
        spikes.used[0] = doubts.used[0] = 0
        c, rules = interval_to(q, clock, t[k], 0.0), Rules(False, AT_END)
        x, clock, y, _ = own_events(q, 0, x, clock, c, t[k], 0.0, rules, spikes, doubts)
        voltage[k] = verbs.voltage(q, y, books.pulses[0, 0] + books.current[0])
        for j in range(len(y)):
            values[j, k] = y[j]
        # Under a pulse the state keeps the distance of the synaptic current to the pulse.
        if len(y) > 1:
            values[1, k] += books.pulses[0, 0]
