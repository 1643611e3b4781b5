"""Windows of many neurons, in pieces that stay near.

With many neurons every arrival would be counted, and written, in a line of the cache that is far
away. So the arrivals of a window first go to shelves, of some thousand neighbouring targets each;
then one shelf after the other becomes lists, and its neurons go through them.
"""

from __future__ import annotations

from evsim.fibres import PER_LINE
from evsim.flight import (
    ROW,
    WHAT,
    Pool,
    append,
    chunks_for,
    code_of,
    end_of,
    first_of,
    new_pool,
    next_of,
)
from evsim.gather import SHELVES, lay_out, wait_for
from evsim.jit import inner_inline_kernel, inner_kernel
from evsim.neuron import DONE
from evsim.order import fetch, index

#: Parts with more neurons than this have shelves.
FAR = 2**16
#: Neurons of a shelf; their numbers on it take so many bits.
SHELF_BITS = 13
SHELF = 1 << SHELF_BITS
#: Columns of what lies on a shelf: value, and code and target in one integer.
VALUE, NOTE, PLACED = 0, 1, 2
#: The synapses of the row that comes so many rows later are brought near.
SOON = 2
#: So is where the entry so many places behind a new one will be written.
NEXT = 4


def new_shelves(n: int) -> Pool:
    """For a part of `n` neurons."""
    return new_pool((n - 1) // SHELF + 1 if n > FAR else 0, PLACED)


@inner_inline_kernel
def has_shelves(lists):
    """Whether a part has shelves."""
    return lists.shelves.head.size > 0


@inner_kernel
def next_shelf(fibres, part, flight, lists, end, final, progress):
    """Lists of all on the next shelf to whom something happens before `end`; a status.

    The window has rows only.
    """
    status = DONE
    if progress.shelf[0] < 0:
        status = shelve(fibres, part, flight, lists, progress)
    if status == DONE:
        m = progress.shelf[0]
        a, b = m * SHELF, min((m + 1) * SHELF, lists.room.size)
        count_shelf(lists, m, a, b)
        status = lay_out(lists, progress.safe, end, final, a, b, progress)
    if status == DONE:
        fill_shelf(lists, m, a)
        progress.shelf[0] += 1
    return status


@inner_inline_kernel
def empty(shelves):
    """Take everything away; chunks then are given out in the order in which they lie."""
    for k in range(shelves.after.size):
        shelves.after[k] = k + 1
    shelves.after[shelves.after.size - 1] = -1
    shelves.last[:] = -1
    shelves.free[0], shelves.free[1] = 0, shelves.after.size


@inner_kernel
def shelve(fibres, part, flight, lists, progress):
    """Put the arrivals of a window on their shelves, row by row in order of time; a status."""
    rows, start, stop, order = progress.sizes[0], part.start, part.stop, lists.order
    first, shelves, word, total = part.first[0], lists.shelves, flight.launches.word, 0
    for k in range(rows):
        r = word[order[k], ROW]
        total += stop[r] - start[r]
    wanted = chunks_for(total, shelves.head.size)
    if shelves.after.size < wanted:
        return wait_for(progress, SHELVES, wanted - shelves.after.size)
    empty(shelves)
    target, weight = fibres.target, fibres.weight
    for k in range(rows):
        source = order[k]
        r, code = word[source, ROW], code_of(source, word[source, WHAT], False) << SHELF_BITS
        ahead = start[word[order[min(k + SOON, rows - 1)], ROW]] - start[r]
        for s in range(start[r], stop[r]):
            if s % PER_LINE == 0:
                fetch(target, s + ahead)
                fetch(weight, s + ahead)
            n = target[index(s)] - first
            at = append(shelves, n >> SHELF_BITS)
            x = index(at)
            fetch(shelves.entry, (at + NEXT) * PLACED)
            shelves.entry[x, VALUE] = weight[index(s)]
            shelves.word[x, NOTE] = code + (n & (SHELF - 1))
    progress.shelf[0] = 0
    return DONE


@inner_kernel
def count_shelf(lists, m, a, b):
    """Arrivals of the neurons `a` to `b`, those of shelf `m`."""
    room, pool = lists.room, lists.shelves
    room[a:b] = 0
    at = first_of(pool, m)
    while at >= 0:
        end = end_of(pool, m, at)
        after = next_of(pool, m, end)
        ahead = (after - at) * PLACED
        for x in range(at, end):
            fetch(pool.word, x * PLACED + ahead)
            room[index(a + (pool.word[index(x), NOTE] & (SHELF - 1)))] += 1
        at = after


@inner_kernel
def fill_shelf(lists, m, a):
    """Write what lies on shelf `m`, of the neurons from `a` on, into the lists."""
    room, pool = lists.room, lists.shelves
    at = first_of(pool, m)
    while at >= 0:
        end = end_of(pool, m, at)
        for k in range(at, end):
            note = pool.word[index(k), NOTE]
            n = index(a + (note & (SHELF - 1)))
            x = index(room[n])
            lists.arrival[x, 0], lists.code[x, 1] = pool.entry[index(k), VALUE], note >> SHELF_BITS
            room[n] += 1
        at = next_of(pool, m, end)
