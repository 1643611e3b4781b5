"""The synapses of a group of populations, by source, and what a spike sends along them."""

from __future__ import annotations

from typing import Any, NamedTuple

from evsim.flight import (
    MORE,
    ROW,
    ROWS,
    SOURCES,
    WHAT,
    chunks_for,
    later,
    launch,
    launch_of,
    line_of,
    pack,
    single,
    slot_about,
    slot_by,
    slot_in,
    slot_of,
    unpack,
)
from evsim.jit import inner_inline_kernel, inner_kernel
from evsim.neuron import PULSE_OFF, PULSE_ON
from evsim.numerics import not_before
from evsim.order import HI, LINE, LO, fetch, index

#: Synapses whose delays share a line of the cache.
PER_LINE = LINE // 8


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
def population_of(fibres, source):
    """Number of the population of a source within the group."""
    k = 0
    while source >= fibres.place[k + 1]:
        k += 1
    return k


@inner_kernel
def send(fibres, part, flight, source, after, hi, lo, done, width, until, window):
    """Put what a spike of `source` at (hi, lo) in `window` causes into the ring; 0, or how many
    free chunks are wanted first.

    `done` tells how many projections of it have been sent before. Only what reaches `part` is
    sent, and nothing that has arrived in `window` itself. `after`, or -1, is the source of the
    spike that will be sent behind it: its synapses are brought near meanwhile.
    """
    k, slots = population_of(fibres, source), flight.singles.head.size
    for m in range(fibres.out[k] + done[0], fibres.out[k + 1]):
        j = fibres.via[m]
        r = fibres.row[j] + source - fibres.place[k]
        pulse = fibres.width[j] == fibres.width[j]
        wanted = chunks_for(2 * (part.stop[r] - part.start[r]), slots)
        if min(flight.launches.free[1], flight.singles.free[1]) < wanted:
            done[0] = m - fibres.out[k]
            return wanted
        kind = PULSE_ON if pulse else fibres.port[j]
        if part.start[r] < part.stop[r]:
            near = fibres.place[k] <= after < fibres.place[k + 1]
            ahead = part.start[r + after - source] - part.start[r] if near else 0
            send_row(fibres, part, flight, j, r, ahead, hi, lo, kind, 0.0, width, until, window)
            if pulse:
                kind, more = PULSE_OFF, fibres.width[j]
                send_row(fibres, part, flight, j, r, 0, hi, lo, kind, more, width, until, window)
    done[0] = 0
    return 0


@inner_inline_kernel
def send_row(fibres, part, flight, j, r, ahead, hi, lo, kind, more, width, until, window):
    """Send a spike along row `r` of projection `j`, to arrive by so much `more` than the delay.

    The row that comes next begins so many synapses `ahead`.
    """
    delay, what, rate = fibres.delay[j], pack(fibres.start[r], kind), 1.0 / width
    if delay == delay:
        at_hi, at_lo = later(hi, lo, delay, more)
        slot = slot_by(at_hi, at_lo, width, rate)
        if slot > window and not_before(until[0], until[1], at_hi, at_lo):
            launch(flight, line_of(flight, slot) + ROWS, at_hi, at_lo, 0.0, r, what)
        return
    # Nothing that is sent now arrives so late: no slot lies further ahead.
    drop = line_of(flight, window + flight.singles.head.size - 1) + SOURCES
    source = launch(flight, drop, hi, lo, more, r, what)
    last = slot_of(until[0], until[1], width)
    for s in range(part.start[r], part.stop[r]):
        x = index(s)
        if s % PER_LINE == 0:
            fetch(fibres.delays, s + ahead)
            fetch(fibres.weight, s + ahead)
            fetch(fibres.target, s + ahead)
        slot = slot_about(hi + fibres.delays[x] + more, rate)
        if slot <= window or slot >= last:  # or unknown
            at_hi, at_lo = later(hi, lo, fibres.delays[x], more)
            slot = slot_by(at_hi, at_lo, width, rate)
            if slot <= window or not not_before(until[0], until[1], at_hi, at_lo):
                continue
        slot = slot_in(flight, slot)
        single(flight, slot, fibres.delays[x], fibres.weight[x], fibres.target[x], source)


class Arrival(NamedTuple):
    """One at a neuron of the group."""

    target: int
    hi: float
    lo: float
    value: float
    code: int  # see `evsim.flight.launch_of`


@inner_inline_kernel
def earlier(fibres, part, flight, a, b):
    """Whether an arrival comes before another one at the same neuron: by time, then synapse."""
    if a.hi != b.hi:
        return a.hi < b.hi
    return a.lo < b.lo or (a.lo == b.lo and in_front(fibres, part, flight, a, b))


@inner_kernel
def in_front(fibres, part, flight, a, b):
    """Whether of two arrivals at one time the first is by the synapse in front."""
    word, x, y = flight.launches.word, launch_of(a.code), launch_of(b.code)
    if word[x, ROW] != word[y, ROW] and min(word[x, ROW], word[y, ROW]) >= 0:
        return word[x, WHAT] < word[y, WHAT]
    return number_of(fibres, part, flight, a) < number_of(fibres, part, flight, b)


@inner_inline_kernel
def number_of(fibres, part, flight, a):
    """Synapse and kind of an arrival, see `pack`. A single has not brought its synapse with it:
    then the first that does the very same."""
    entry, word, x = flight.launches.entry, flight.launches.word, launch_of(a.code)
    r, (number, kind) = word[x, ROW], unpack(word[x, WHAT])
    if a.code < 0 and r >= 0:
        s, last = part.start[r], part.stop[r] - 1
        while s < last and not (
            fibres.target[s] == a.target
            and fibres.weight[s] == a.value
            and later(entry[x, HI], entry[x, LO], fibres.delays[s], entry[x, MORE]) == (a.hi, a.lo)
        ):
            s += 1
        number = fibres.start[r] + fibres.within[s] if fibres.within.size > 0 else s
    return pack(number, kind)
