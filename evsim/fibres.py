"""The synapses of a group of populations, by source, and what a spike sends along them."""

from __future__ import annotations

from typing import Any, NamedTuple

from evsim.flight import ROWS, SINGLES, chunks_for, pack, push, slot_of
from evsim.jit import inner_inline_kernel, inner_kernel
from evsim.neuron import PULSE_OFF, PULSE_ON
from evsim.numerics import add_time, not_before
from evsim.order import index


class Fibres(NamedTuple):
    """Rows of synapses: a row is what one source sends through one projection.

    Rows are numbered projection by projection, inside it by source; so are the synapses.
    """

    place: Any  # (populations + 1,) first neuron of each source within the group
    out: Any  # (populations + 1,) projections of population k are via[out[k]:out[k + 1]]
    via: Any
    row: Any  # (projections,) its first row
    delay: Any  # (projections,) of all its synapses, or nan: each has its own
    width: Any  # (projections,) of rectangular pulses, or nan
    port: Any  # (projections,) synapse type at the target
    start: Any  # (rows + 1,) synapses of a row
    target: Any  # (synapses,) int32
    weight: Any  # (synapses,)
    delays: Any  # (synapses,), or empty where no projection needs it
    within: Any  # (synapses,) its place in the row before rows were divided into parts, or empty


class Part(NamedTuple):
    """A range of the group's neurons, and the part of every row of synapses that leads there."""

    number: Any  # (1,)
    first: Any  # (1,)
    last: Any  # (1,) one behind
    start: Any  # (rows,) synapses
    stop: Any


@inner_inline_kernel
def arrive(flight, which, hi, lo, value, target, what, width, until, window):
    """Put an arrival into its slot, unless it comes after the end, or has come in `window`."""
    if not_before(until[0], until[1], hi, lo):
        slot = slot_of(hi, lo, width)
        if slot > window:
            line = 2 * (slot & (flight.head.size // 2 - 1)) + which
            push(flight, line, hi, lo, value, target, what)


@inner_inline_kernel
def population_of(fibres, source):
    """Number of the population of a source within the group."""
    k = 0
    while source >= fibres.place[k + 1]:
        k += 1
    return k


@inner_kernel
def send(fibres, part, flight, source, hi, lo, done, width, until, window):
    """Put what a spike of `source` at (hi, lo) causes into the ring; whether there was room.

    `done` tells how many projections of it have been sent before. Only what reaches `part` is
    sent.
    """
    k = population_of(fibres, source)
    for m in range(fibres.out[k] + done[0], fibres.out[k + 1]):
        j = fibres.via[m]
        r = fibres.row[j] + source - fibres.place[k]
        shared = fibres.delay[j] == fibres.delay[j]
        pulse = fibres.width[j] == fibres.width[j]
        first, last = part.start[r], part.stop[r]
        entries = 1 if shared else last - first
        if flight.free[1] < chunks_for(entries * (2 if pulse else 1), flight.head.size // 2):
            done[0] = m - fibres.out[k]
            return False
        kind = PULSE_ON if pulse else fibres.port[j]
        if not shared:
            send_singles(
                fibres, flight, first, last, r, hi, lo, kind, fibres.width[j], width, until, window
            )
        elif first < last:
            at_hi, at_lo = add_time(hi, lo, fibres.delay[j])
            what = pack(fibres.start[r], kind)
            arrive(flight, ROWS, at_hi, at_lo, 0.0, r, what, width, until, window)
            if pulse:
                at_hi, at_lo = add_time(at_hi, at_lo, fibres.width[j])
                what = pack(fibres.start[r], PULSE_OFF)
                arrive(flight, ROWS, at_hi, at_lo, 0.0, r, what, width, until, window)
    done[0] = 0
    return True


@inner_inline_kernel
def send_singles(fibres, flight, first, last, r, hi, lo, kind, length, width, until, window):
    """Send a spike along synapses `first` to `last` of row `r`, each with a delay of its own."""
    divided = fibres.within.size > 0
    for s in range(first, last):
        number = fibres.start[r] + fibres.within[s] if divided else s
        value, target = fibres.weight[index(s)], fibres.target[index(s)]
        at_hi, at_lo = add_time(hi, lo, fibres.delays[index(s)])
        what = pack(number, kind)
        arrive(flight, SINGLES, at_hi, at_lo, value, target, what, width, until, window)
        if length == length:
            at_hi, at_lo = add_time(at_hi, at_lo, length)
            what = pack(number, PULSE_OFF)
            arrive(flight, SINGLES, at_hi, at_lo, value, target, what, width, until, window)
