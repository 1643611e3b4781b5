"""Deliveries in flight: a ring of time slots whose entries lie in chunks of two pools.

A *launch* is a spike on its way along a row of synapses. Where these share a delay, it lies in
the slot in which the whole row arrives. Else every synapse has an entry of its own, a *single*,
in the slot of its arrival; the launch stays until the last of them has come. A single takes 24
bytes: it has no time but its delay, with which the time comes out of its launch again, bit by
bit. Weight and target are in it: they are at hand when a row is sent, and would have to be
looked for all over the memory when its synapses arrive one by one. A slot whose window is over
returns its chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, inner_inline_kernel, inner_kernel
from evsim.neuron import CURRENT, lone, roomier
from evsim.numerics import add_time, not_before
from evsim.order import HI, LO, index

CHUNK = 64
#: Every slot has two lists of launches: of rows that arrive, and of those whose singles do.
ROWS, SOURCES = 0, 1
#: Columns of a launch besides its time: the (first) synapse, which orders arrivals at one time,
#: and the kind, see `pack`; what comes to the delay of its singles; and the row, or -1 where
#: the synapse is the only one.
WHAT, MORE, ROW, LAUNCH = 2, 3, 4, 5
#: Columns of a single; target and launch share a word.
DELAY, VALUE, WAY, SINGLE = 0, 1, 2, 3
#: Numbers of windows, and distances from their borders, from which on division and borders decide.
MANY, BORDER = 2.0**30, 2.0**-20
#: The kind of event lies in the last bits of `what`.
KIND_BITS = 6
KINDS = 1 << KIND_BITS


class Pool(NamedTuple):
    """Entries in chunks, its free chunks, and lists."""

    entry: Any  # (chunks * CHUNK, columns)
    word: Any  # the same memory as whole numbers
    after: Any  # (chunks,) the next chunk of the same list, or -1
    free: Any  # (2,) first free chunk, or -1; how many are free
    head: Any  # (lists,) first chunk of a list
    last: Any  # (lists,) last entry of a list, or -1


class Flight(NamedTuple):
    """All that is on its way: list `2 * slot` and the next one of launches, `slot` of singles."""

    launches: Pool
    singles: Pool


def new_flight(slots: int) -> Flight:
    """An empty ring of `slots` (a power of two)."""
    return Flight(new_pool(2 * slots, LAUNCH), new_pool(slots, SINGLE))


def new_pool(lists: int, columns: int, chunks: int = 256) -> Pool:
    """So many empty lists."""
    after = np.arange(1, chunks + 1, dtype=np.int64)
    after[-1] = -1
    entry = np.empty((chunks * CHUNK, columns))
    head, last = (lone(np.full(lists, -1)) for _ in range(2))
    return Pool(entry, entry.view(np.int64), after, lone([0, chunks]), head, last)


def more_chunks(flight: Flight, needed: int) -> Flight:
    """The same ring with at least so many free chunks in each pool."""
    return Flight(*(p if p.free[1] >= needed else larger_pool(p, needed) for p in flight))


def larger_pool(pool: Pool, needed: int) -> Pool:
    """The same pool with at least `needed` more free chunks, and twice as many in all."""
    old = pool.after.size
    new = max(2 * old, old + needed)
    entry = np.empty((new * CHUNK, pool.entry.shape[1]))
    entry[: old * CHUNK] = pool.entry
    after = roomier(pool.after, new)
    after[old:] = np.arange(old + 1, new + 1)
    after[-1] = pool.free[0]
    free = lone([old, pool.free[1] + new - old])
    return Pool(entry, entry.view(np.int64), after, free, pool.head, pool.last)


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
def chunks_for(entries, lists):
    """Free chunks that suffice for so many entries in so many lists, wherever they go."""
    return entries // CHUNK + min(entries, lists) + 1


@inner_inline_kernel
def line_of(flight, window):
    """The list of rows that arrive in a window; the next is that of launches to drop after it."""
    return 2 * slot_in(flight, window)


@inner_inline_kernel
def slot_in(flight, window):
    """The slot of a window: number of the list of its singles."""
    return window & (flight.singles.head.size - 1)


@inner_inline_kernel
def append(pool, line):
    """Place of a new entry of a list; the caller has made sure of a free chunk."""
    at = pool.last[index(line)] + 1
    if at & (CHUNK - 1) == 0:
        chunk = pool.free[0]
        pool.free[0] = pool.after[chunk]
        pool.free[1] -= 1
        pool.after[chunk] = -1
        if at == 0:
            pool.head[line] = chunk
        else:
            pool.after[(at - 1) // CHUNK] = chunk
        at = chunk * CHUNK
    pool.last[index(line)] = at
    return at


@inner_inline_kernel
def launch(flight, line, hi, lo, more, row, what):
    """Append a launch to a list and return its place."""
    pool = flight.launches
    at = append(pool, line)
    x = index(at)
    pool.entry[x, HI], pool.entry[x, LO], pool.entry[x, MORE] = hi, lo, more
    pool.word[x, WHAT], pool.word[x, ROW] = what, row
    return at


@inner_inline_kernel
def single(flight, slot, delay, value, target, source):
    """Append a single arrival to those of a slot; `source` is the place of its launch."""
    pool = flight.singles
    x = index(append(pool, slot))
    pool.entry[x, DELAY], pool.entry[x, VALUE] = delay, value
    pool.word[x, WAY] = target + (source << 32)


@inner_inline_kernel
def target_of(flight, x):
    """The neuron that single `x` reaches."""
    return flight.singles.word[x, WAY] & 0xFFFFFFFF


@inner_inline_kernel
def source_of(flight, x):
    """Place of the launch of single `x`."""
    return flight.singles.word[x, WAY] >> 32


@inner_inline_kernel
def code_of(at, what, alone):
    """Of an arrival: place of its launch and kind of event in one integer, negative for a
    single."""
    code = (at << KIND_BITS) + (what & (KINDS - 1))
    return -1 - code if alone else code


@inner_inline_kernel
def plain(code):
    """`code_of` as it would be of a row."""
    return code if code >= 0 else -1 - code


@inner_inline_kernel
def launch_of(code):
    """Place of the launch of an arrival."""
    return plain(code) >> KIND_BITS


@inner_inline_kernel
def later(hi, lo, delay, more):
    """When a spike arrives; or, with `more` than its delay, when the pulse ends that begins
    then."""
    hi, lo = add_time(hi, lo, delay)
    if more > 0.0:
        hi, lo = add_time(hi, lo, more)
    return hi, lo


@inner_inline_kernel
def first_of(pool, line):
    """Place of the first entry of a list, or -1."""
    return pool.head[line] * CHUNK if pool.last[line] >= 0 else -1


@inner_inline_kernel
def end_of(pool, line, at):
    """One behind the last entry of a list that lies in one piece with that at `at`."""
    last, chunk = pool.last[line], at // CHUNK
    return last + 1 if last // CHUNK == chunk else (chunk + 1) * CHUNK


@inner_inline_kernel
def next_of(pool, line, end):
    """Place of the entry of a list that follows such a piece, or -1."""
    return -1 if end == pool.last[line] + 1 else pool.after[(end - 1) // CHUNK] * CHUNK


@inner_inline_kernel
def chunks_of(pool, line):
    """How many chunks a list has."""
    count = 0
    if pool.last[line] >= 0:
        chunk = pool.head[line]
        while chunk >= 0:
            count, chunk = count + 1, pool.after[chunk]
    return count


@inner_kernel
def clear(pool, line):
    """Return the chunks of a list."""
    if pool.last[line] >= 0:
        pool.free[1] += chunks_of(pool, line)
        pool.after[pool.last[line] // CHUNK] = pool.free[0]
        pool.free[0] = pool.head[line]
        pool.last[line] = -1


@inline_kernel
def slot_of(hi, lo, width):
    """Number k of the window [k width, (k + 1) width) that holds the time (hi, lo)."""
    k = np.int64(hi / width)
    while not not_before(hi, lo, k * width, 0.0):
        k -= 1
    while not_before(hi, lo, (k + 1) * width, 0.0):
        k += 1
    return k


@inner_inline_kernel
def slot_about(t, rate):
    """Number of the window that holds a time, or -1 where more digits of it could tell another.

    `rate` is 1 / width. Of a time that has been rounded three times the product with it is off
    by less than 2**-20 where there are so few windows.
    """
    x = t * rate
    k = np.int64(x)
    return k if x < MANY and BORDER < x - k < 1.0 - BORDER else -1


@inner_inline_kernel
def slot_by(hi, lo, width, rate):
    """As `slot_of`."""
    k = slot_about(hi, rate)
    return k if k >= 0 else slot_of(hi, lo, width)
