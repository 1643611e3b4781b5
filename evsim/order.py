"""Order in time: a stable merge sort of pairs of doubles, and whole numbers as a last key."""

from __future__ import annotations

from evsim.jit import inner_inline_kernel, inner_kernel


@inner_inline_kernel
def precedes(hi, lo, key, a, b):
    """Whether entry `a` comes strictly before entry `b`."""
    if hi[a] != hi[b]:
        return hi[a] < hi[b]
    if lo[a] != lo[b]:
        return lo[a] < lo[b]
    return key[a] < key[b]


@inner_kernel
def sort_by_time(hi, lo, key, size, order, spare):
    """Sort the entries whose numbers are in `order[:size]` by (hi, lo, key), stably.

    `spare` is as long as `order`. What is in order already costs nothing.
    """
    ascending = True
    for k in range(1, size):
        ascending &= not precedes(hi, lo, key, order[k], order[k - 1])
    if ascending:
        return
    for start in range(0, size, 8):
        insertion(hi, lo, key, order, start, min(start + 8, size))
    width = 8
    while width < size:
        for start in range(0, size, 2 * width):
            merge(hi, lo, key, order, spare, start, width, size)
        for k in range(size):
            order[k] = spare[k]
        width *= 2


@inner_inline_kernel
def insertion(hi, lo, key, order, start, stop):
    """Sort `order[start:stop]`, stably."""
    for k in range(start + 1, stop):
        entry, m = order[k], k
        while m > start and precedes(hi, lo, key, entry, order[m - 1]):
            order[m] = order[m - 1]
            m -= 1
        order[m] = entry


@inner_inline_kernel
def merge(hi, lo, key, order, spare, start, width, size):
    """Merge two neighbouring runs of `order` into `spare`."""
    middle, stop = min(start + width, size), min(start + 2 * width, size)
    a, b = start, middle
    for k in range(start, stop):
        if a < middle and (b == stop or not precedes(hi, lo, key, order[b], order[a])):
            spare[k] = order[a]
            a += 1
        else:
            spare[k] = order[b]
            b += 1
