"""The synapses of a group of populations, by source, and what a spike sends along them."""

from __future__ import annotations

from typing import Any, NamedTuple

from evsim.flight import ROWS, SINGLES, chunks_for, pack, push, slot_of
from evsim.jit import inline_kernel, kernel
from evsim.neuron import PULSE_OFF, PULSE_ON
from evsim.numerics import add_time, not_before


class Fibres(NamedTuple):
    """Rows of synapses: a row is what one source sends through one projection.

    Rows are numbered projection by projection, inside it by source; so are the synapses.
    """

    out: Any  # (sources + 1,) rows of source n are row[out[n]:out[n + 1]]
    row: Any
    start: Any  # (rows + 1,) synapses of a row
    delay: Any  # (rows,) of all its synapses, or nan: each has its own
    width: Any  # (rows,) of rectangular pulses, or nan
    port: Any  # (rows,) synapse type at the target
    target: Any  # (synapses,) int32
    weight: Any  # (synapses,)
    delays: Any  # (synapses,), or empty where no row needs it


class Part(NamedTuple):
    """A range of the group's neurons, and the part of every row of synapses that leads there."""

    first: Any  # (1,)
    last: Any  # (1,) one behind
    start: Any  # (rows,) synapses
    stop: Any


@inline_kernel
def arrive(flight, which, hi, lo, number, kind, slots, width, until):
    """Put an arrival into its slot, unless it comes after the end."""
    if not_before(until[0], until[1], hi, lo):
        line = 2 * (slot_of(hi, lo, width) & (slots - 1)) + which
        push(flight, line, hi, lo, pack(number, kind))


@kernel
def send(fibres, part, flight, source, hi, lo, place, width, until):
    """Put what a spike of `source` at (hi, lo) causes into the ring; whether there was room.

    `place` tells how many rows of it have been sent before. Only what reaches `part` is sent.
    """
    slots = flight.head.size // 2
    for k in range(fibres.out[source] + place[0], fibres.out[source + 1]):
        r = fibres.row[k]
        shared = fibres.delay[r] == fibres.delay[r]
        pulse = fibres.width[r] == fibres.width[r]
        first, last = part.start[r], part.stop[r]
        entries = (1 if shared else last - first) * (2 if pulse else 1)
        if flight.free[1] < chunks_for(entries, slots):
            place[0] = k - fibres.out[source]
            return False
        kind = PULSE_ON if pulse else fibres.port[r]
        if shared:
            at_hi, at_lo = add_time(hi, lo, fibres.delay[r])
            arrive(flight, ROWS, at_hi, at_lo, r, kind, slots, width, until)
            if pulse:
                at_hi, at_lo = add_time(at_hi, at_lo, fibres.width[r])
                arrive(flight, ROWS, at_hi, at_lo, r, PULSE_OFF, slots, width, until)
        else:
            for s in range(first, last):
                at_hi, at_lo = add_time(hi, lo, fibres.delays[s])
                arrive(flight, SINGLES, at_hi, at_lo, s, kind, slots, width, until)
                if pulse:
                    at_hi, at_lo = add_time(at_hi, at_lo, fibres.width[r])
                    arrive(flight, SINGLES, at_hi, at_lo, s, PULSE_OFF, slots, width, until)
    place[0] = 0
    return True
