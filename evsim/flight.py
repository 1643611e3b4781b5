"""Deliveries in flight: a ring of time slots whose entries lie in chunks of one pool.

An entry is the time of an arrival and what arrives: a whole row of synapses, where they share
a delay, or one synapse. It takes 40 bytes, weight and target included: they are at hand when
a row is sent, and would have to be looked for all over the memory when its synapses arrive one
by one. A slot whose window is over returns its chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, inner_inline_kernel, inner_kernel
from evsim.neuron import CURRENT, lone
from evsim.numerics import not_before
from evsim.order import HI, LO, index

CHUNK = 64
#: Every slot has two lists: of rows and of single arrivals.
ROWS, SINGLES = 0, 1
#: Columns of an entry besides its time: the (first) synapse, which orders arrivals at one time,
#: and the kind, see `pack`; of a single arrival its value and its target; or the row.
WHAT, VALUE, TARGET, COLUMNS = 2, 3, 4, 5
#: The kind of event lies in the last bits of `what`.
KIND_BITS = 6
KINDS = 1 << KIND_BITS


class Flight(NamedTuple):
    """The pool, its free chunks, and the lists of the slots."""

    entry: Any  # (chunks * CHUNK, 5): see the columns
    word: Any  # the same memory as whole numbers
    after: Any  # (chunks,) the next chunk of the same list, or -1
    free: Any  # (2,) first free chunk, or -1; how many are free
    head: Any  # (2 * slots,) first chunk of a list
    last: Any  # (2 * slots,) last entry of a list, or -1


def new_flight(slots: int, chunks: int = 256) -> Flight:
    """An empty ring of `slots` (a power of two)."""
    after = np.arange(1, chunks + 1, dtype=np.int64)
    after[-1] = -1
    entry = np.empty((chunks * CHUNK, COLUMNS))
    head, last = (lone(np.full(2 * slots, -1)) for _ in range(2))
    return Flight(entry, entry.view(np.int64), after, lone([0, chunks]), head, last)


def more_chunks(flight: Flight, needed: int) -> Flight:
    """The same ring with at least `needed` more free chunks, and twice as many in all."""
    old = flight.after.size
    new = max(2 * old, old + needed)
    entry = np.empty((new * CHUNK, COLUMNS))
    entry[: old * CHUNK] = flight.entry
    after = np.resize(flight.after, new)
    after[old:] = np.arange(old + 1, new + 1)
    after[-1] = flight.free[0]
    free = lone([old, flight.free[1] + new - old])
    return Flight(entry, entry.view(np.int64), after, free, flight.head, flight.last)


@inner_inline_kernel
def pack(number, kind):
    """Number of a row or synapse, and kind of event, in one integer."""
    return (number << KIND_BITS) + (kind - CURRENT)


@inner_inline_kernel
def unpack(what):
    """(number, kind) of `pack`."""
    return what >> KIND_BITS, kind_of(what)


@inner_inline_kernel
def kind_of(what):
    """Kind of event of `pack`."""
    return (what & (KINDS - 1)) + CURRENT


@inner_inline_kernel
def chunks_for(entries, slots):
    """Free chunks that suffice for so many entries, wherever they go."""
    return entries // CHUNK + min(entries, 2 * slots) + 1


@inner_inline_kernel
def push(flight, line, hi, lo, value, target, what):
    """Append an entry to a list and return its place; the caller has made sure of a free chunk."""
    at = flight.last[index(line)] + 1
    if at & (CHUNK - 1) == 0:
        chunk = flight.free[0]
        flight.free[0] = flight.after[chunk]
        flight.free[1] -= 1
        flight.after[chunk] = -1
        if at == 0:
            flight.head[line] = chunk
        else:
            flight.after[(at - 1) // CHUNK] = chunk
        at = chunk * CHUNK
    entry, word, x = flight.entry, flight.word, index(at)
    entry[x, HI], entry[x, LO], entry[x, VALUE] = hi, lo, value
    word[x, WHAT], word[x, TARGET] = what, target
    flight.last[index(line)] = at
    return at


@inner_inline_kernel
def first_of(flight, line):
    """Place of the first entry of a list, or -1."""
    return flight.head[line] * CHUNK if flight.last[line] >= 0 else -1


@inner_inline_kernel
def following(flight, line, at):
    """Place of the entry after that at `at` in the same list, or -1."""
    if at == flight.last[index(line)]:
        return -1
    return at + 1 if (at + 1) & (CHUNK - 1) else flight.after[at // CHUNK] * CHUNK


@inner_inline_kernel
def chunks_of(flight, line):
    """How many chunks a list has."""
    count = 0
    if flight.last[line] >= 0:
        chunk = flight.head[line]
        while chunk >= 0:
            count, chunk = count + 1, flight.after[chunk]
    return count


@inner_kernel
def clear(flight, line):
    """Return the chunks of a list."""
    if flight.last[line] >= 0:
        flight.free[1] += chunks_of(flight, line)
        flight.after[flight.last[line] // CHUNK] = flight.free[0]
        flight.free[0] = flight.head[line]
        flight.last[line] = -1


@inline_kernel
def slot_of(hi, lo, width):
    """Number k of the window [k width, (k + 1) width) that holds the time (hi, lo)."""
    k = np.int64(hi / width)
    while not not_before(hi, lo, k * width, 0.0):
        k -= 1
    while not_before(hi, lo, (k + 1) * width, 0.0):
        k += 1
    return k
