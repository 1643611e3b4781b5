"""Deliveries in flight: a ring of time slots whose entries lie in chunks of one pool.

An entry is the time of an arrival and what arrives: a whole row of synapses, where they share
a delay, or one synapse. It takes 24 bytes; a slot that has been read returns its chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.neuron import CURRENT
from evsim.numerics import not_before

CHUNK = 64
#: Every slot has two lists: of rows and of single synapses.
ROWS, SINGLES = 0, 1
#: The kind of event lies in the last bits of `what`.
KINDS = 64


class Flight(NamedTuple):
    """The pool, its free chunks, and the lists of the slots."""

    hi: Any  # (chunks * CHUNK,) arrival
    lo: Any
    what: Any  # number of the row or synapse, and the kind of event; see `pack`
    after: Any  # (chunks,) the next chunk of the same list, or -1
    free: Any  # (2,) first free chunk, or -1; how many are free
    head: Any  # (2 * slots,) first chunk of a list, or -1
    tail: Any
    count: Any  # (2 * slots,) entries of a list


def new_flight(slots: int, chunks: int = 256) -> Flight:
    """An empty ring of `slots` (a power of two)."""
    after = np.arange(1, chunks + 1, dtype=np.int64)
    after[-1] = -1
    empty = np.full((2, 2 * slots), -1, np.int64)
    return Flight(
        np.empty(chunks * CHUNK),
        np.empty(chunks * CHUNK),
        np.empty(chunks * CHUNK, np.int64),
        after,
        np.array([0, chunks]),
        empty[0],
        empty[1],
        np.zeros(2 * slots, np.int64),
    )


def more_chunks(flight: Flight, needed: int) -> Flight:
    """The same ring with at least `needed` more free chunks, and twice as many in all."""
    old = flight.after.size
    new = max(2 * old, old + needed)
    hi, lo, what = (np.resize(a, new * CHUNK) for a in (flight.hi, flight.lo, flight.what))
    after = np.resize(flight.after, new)
    after[old:] = np.arange(old + 1, new + 1)
    after[-1] = flight.free[0]
    free = np.array([old, flight.free[1] + new - old])
    return flight._replace(hi=hi, lo=lo, what=what, after=after, free=free)


@inline_kernel
def pack(number, kind):
    """Number of a row or synapse, and kind of event, in one integer."""
    return number * KINDS + (kind - CURRENT)


@inline_kernel
def unpack(what):
    """(number, kind) of `pack`."""
    return what // KINDS, what % KINDS + CURRENT


@inline_kernel
def chunks_for(entries, slots):
    """Free chunks that suffice for so many entries, wherever they go."""
    return entries // CHUNK + min(entries, 2 * slots) + 1


@inline_kernel
def push(flight, line, hi, lo, what):
    """Append an entry to a list; the caller has made sure of a free chunk."""
    k = flight.count[line] % CHUNK
    if k == 0:
        chunk = flight.free[0]
        flight.free[0] = flight.after[chunk]
        flight.free[1] -= 1
        flight.after[chunk] = -1
        if flight.count[line] == 0:
            flight.head[line] = chunk
        else:
            flight.after[flight.tail[line]] = chunk
        flight.tail[line] = chunk
    at = flight.tail[line] * CHUNK + k
    flight.hi[at], flight.lo[at], flight.what[at] = hi, lo, what
    flight.count[line] += 1


@inline_kernel
def following(flight, at):
    """Place of the entry after that at `at` in the same list, if there is one."""
    return at + 1 if (at + 1) % CHUNK else flight.after[at // CHUNK] * CHUNK


@kernel
def clear(flight, line):
    """Return the chunks of a list."""
    if flight.count[line] > 0:
        flight.after[flight.tail[line]] = flight.free[0]
        flight.free[0] = flight.head[line]
        flight.free[1] += (flight.count[line] + CHUNK - 1) // CHUNK
        flight.count[line] = 0


@inline_kernel
def slot_of(hi, lo, width):
    """Number k of the window [k width, (k + 1) width) that holds the time (hi, lo)."""
    k = np.int64(hi / width)
    while not not_before(hi, lo, k * width, 0.0):
        k -= 1
    while not_before(hi, lo, (k + 1) * width, 0.0):
        k += 1
    return k
