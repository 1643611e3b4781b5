"""Order in time: a stable merge sort of pairs of doubles, and whole numbers as a last key.

Entries are lines of one table: what is read together lies together.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from evsim.dispatch import INLINE
from evsim.jit import inner_inline_kernel, inner_kernel

#: Of an array, where it certainly is not negative: unsigned numbers need no check for that.
index = np.uint64
#: Columns of a table: time, and what orders entries of one time (a whole number).
HI, LO, KEY = range(3)


@inner_inline_kernel
def precedes(entry, word, a, b):
    """Whether entry `a` comes strictly before entry `b`; `word` is `entry` as whole numbers."""
    if entry[a, HI] != entry[b, HI]:
        return entry[a, HI] < entry[b, HI]
    if entry[a, LO] != entry[b, LO]:
        return entry[a, LO] < entry[b, LO]
    return word[a, KEY] < word[b, KEY]


@inner_kernel
def sort_by_time(entry, word, size, order, spare):
    """Sort the entries whose numbers are in `order[:size]` by time and key, stably.

    `spare` is as long as `order`. What is nearly in order already costs little.
    """
    if settled(entry, word, order, size):
        return
    for start in range(0, size, 8):
        insertion(entry, word, order, start, min(start + 8, size))
    width = 8
    while width < size:
        for start in range(0, size, 2 * width):
            merge(entry, word, order, spare, start, width, size)
        for k in range(size):
            order[k] = spare[k]
        width *= 2


@inner_inline_kernel
def settled(entry, word, order, size):
    """Sort `order[:size]`, stably, if that takes few moves; whether it did."""
    left = 4 * size
    for k in range(1, size):
        one, m = order[k], k
        while m > 0 and precedes(entry, word, one, order[m - 1]):
            order[m] = order[m - 1]
            m -= 1
        order[m] = one
        left -= k - m
        if left < 0:
            return False
    return True


@inner_inline_kernel
def insertion(entry, word, order, start, stop):
    """Sort `order[start:stop]`, stably."""
    for k in range(start + 1, stop):
        one, m = order[k], k
        while m > start and precedes(entry, word, one, order[m - 1]):
            order[m] = order[m - 1]
            m -= 1
        order[m] = one


@inner_inline_kernel
def merge(entry, word, order, spare, start, width, size):
    """Merge two neighbouring runs of `order` into `spare`."""
    middle, stop = min(start + width, size), min(start + 2 * width, size)
    a, b = start, middle
    for k in range(start, stop):
        if a < middle and (b == stop or not precedes(entry, word, order[b], order[a])):
            spare[k] = order[a]
            a += 1
        else:
            spare[k] = order[b]
            b += 1


@inner_kernel
def nearly_sort(entry, start, width, size, order, spare):
    """Bring `order[:size]` nearly into order: by equal pieces of the time from `start` on.

    `order` and `spare` have room for twice as many.
    """
    if size < 16:
        return
    scale, last = size / width, size - 1
    for k in range(size):
        order[size + k] = 0
    for k in range(size):
        piece = int((entry[order[k], HI] - start) * scale)
        piece = max(0, min(piece, last))
        spare[k] = piece
        order[size + piece] += 1
    total = 0
    for k in range(size, 2 * size):
        total, order[k] = total + order[k], total
    for k in range(size):
        at = size + spare[k]
        spare[size + order[at]] = order[k]
        order[at] += 1
    for k in range(size):
        order[k] = spare[size + k]


#: Bytes of a line of the cache.
LINE = 64


@intrinsic
def _fetch(typingctx, values, k):
    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        at = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [at.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [at.type], kind)
        builder.call(function, [at, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.none(values, types.int64), codegen


def fetch(values, k):
    """Have `values[k]` brought near that will be read soon: no answer, no other effect, and no
    harm where there is no such entry."""


@overload(fetch, jit_options=INLINE)
def _fetch_overload(values, k):
    return lambda values, k: _fetch(values, k)


@inner_inline_kernel
def fetch_all(values, first, stop):
    """The same of `values[first:stop]`."""
    for k in range(first, stop, LINE // values.itemsize):
        fetch(values, k)
