"""A queue of events in order of time, rank and key: a binary heap in arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.neuron import roomier


class Heap(NamedTuple):
    """Entries `0` to `used[0]`; each precedes its children."""

    hi: Any
    lo: Any
    rank: Any  # order at one instant
    key: Any  # order within a rank
    what: Any  # what happens, and which stamp it bears
    stamp: Any
    used: Any


def new_heap(room: int) -> Heap:
    """An empty heap."""
    hi, lo = np.empty((2, room))
    rank, key, what, stamp = np.empty((4, room), np.int64)
    return Heap(hi, lo, rank, key, what, stamp, np.zeros(1, np.int64))


def more_heap(heap: Heap) -> Heap:
    """The same heap with twice the room."""
    hi, lo, rank, key, what, stamp = (roomier(a, 2 * a.size) for a in heap[:-1])
    return Heap(hi, lo, rank, key, what, stamp, heap.used)


@inline_kernel
def before(heap, a, b):
    """Whether entry `a` comes before entry `b`."""
    if heap.hi[a] != heap.hi[b]:
        return heap.hi[a] < heap.hi[b]
    if heap.lo[a] != heap.lo[b]:
        return heap.lo[a] < heap.lo[b]
    if heap.rank[a] != heap.rank[b]:
        return heap.rank[a] < heap.rank[b]
    return heap.key[a] < heap.key[b]


@inline_kernel
def swap(heap, a, b):
    """Exchange two entries."""
    heap.hi[a], heap.hi[b] = heap.hi[b], heap.hi[a]
    heap.lo[a], heap.lo[b] = heap.lo[b], heap.lo[a]
    heap.rank[a], heap.rank[b] = heap.rank[b], heap.rank[a]
    heap.key[a], heap.key[b] = heap.key[b], heap.key[a]
    heap.what[a], heap.what[b] = heap.what[b], heap.what[a]
    heap.stamp[a], heap.stamp[b] = heap.stamp[b], heap.stamp[a]


@kernel
def put(heap, hi, lo, rank, key, what, stamp):
    """Add an entry; the caller has made sure of the room."""
    k = heap.used[0]
    heap.used[0] = k + 1
    heap.hi[k], heap.lo[k], heap.rank[k], heap.key[k] = hi, lo, rank, key
    heap.what[k], heap.stamp[k] = what, stamp
    while k > 0 and before(heap, k, (k - 1) // 2):
        swap(heap, k, (k - 1) // 2)
        k = (k - 1) // 2


@kernel
def drop_first(heap):
    """Remove the first entry."""
    last = heap.used[0] - 1
    heap.used[0] = last
    swap(heap, 0, last)
    k = 0
    while True:
        child = 2 * k + 1
        if child >= last:
            return
        if child + 1 < last and before(heap, child + 1, child):
            child += 1
        if not before(heap, child, k):
            return
        swap(heap, k, child)
        k = child
