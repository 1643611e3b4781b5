"""Forward again through a layer whose every input event reaches every neuron, spikes known.

As `evsim.sweep` goes, but without a search: passes over all neurons that are branch-free,
vectorise and take `FOUR` events at a time, and the few neurons with a spike among those by
themselves. The state before every four events is kept as far as memory allows, and laid out anew
from marks beyond. For layers without refractory period and external current, whose spikes come at
no event's very time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from evsim.dispatch import INLINE
from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.numerics import elapsed
from evsim.sweep import flagged

#: Events that one pass takes: states and costates stay in registers meanwhile.
FOUR = 4
#: States of a neuron that fires among them: before the first and after each.
PATH = FOUR + 1


class Layer(NamedTuple):
    """Input events in order, and the layer's spikes by four events, neuron and time.

    The interval to the end counts as one before an event of no weight, and the number of events
    is filled up to a multiple of four by such events that take no time.
    """

    d: Any  # (events,) time from the event before
    hi: Any  # (given events,)
    lo: Any
    kind: Any  # (events,)
    row: Any  # of the stacked weights; -1: none
    rank: Any  # (given events,) which projection
    source: Any  # number of the spike among all of the network
    first: Any  # (events/4 + 1,) spikes among the g-th four are first[g]:first[g + 1]
    spike_hi: Any
    spike_lo: Any
    unit: Any
    number: Any
    before: Any  # the event before which each spike comes
    most: int  # spikes among any four, and one more


class Tables(NamedTuple):
    """What all neurons have in common over each interval, forward and backward."""

    flow: Any
    pull: Any


class Kept(NamedTuple):
    """States, and what is known of spikes and neurons."""

    after: Any  # by spike, the state after it
    peak: Any
    gap: Any
    slope: Any
    by_theta: Any  # derivative by the threshold at it
    silent: Any  # (n,)
    path: Any  # states of a firing neuron around four events, `PATH` of each at its first spike
    mark: Any  # (blocks, n) per state variable: state at the start of each block
    row: Any  # (groups of a block + 1, n) per state variable: before each four events of a block
    flags: Any  # (n, filled up to words) whose interval may be higher than any before
    found: Any  # (n,) room for their indices
    own: Any  # greatest silent heights of the neurons that fire among four events
    nothing: Any  # (n,) a row of zeros


def layer(table, b):
    """Row `b` of every array of a tuple."""
    return tuple(values[b] for values in table)


@overload(layer, jit_options=INLINE)
def _layer(table, b):
    if len(table) == 1:
        return lambda table, b: (table[0][b],)
    return lambda table, b: (table[0][b],) + layer(table[1:], b)  # noqa: RUF005


@kernel
def among_events(hi, lo, until, spike_hi, spike_lo, before, group, first, d):
    """Where the spikes come among the events, both in order, and how long the intervals are.

    Fills `before` and `group` by spike, and `first` and `d`, which hold zeros, as of `Layer`.
    Returns False where a spike comes at the start, or at an event's very time.
    """
    since, since_lo, e = 0.0, 0.0, 0
    for k in range(hi.size):
        d[k] = hi[k] - since + (lo[k] - since_lo)
        since, since_lo = hi[k], lo[k]
    d[hi.size] = until - since + (0.0 - since_lo)
    for k in range(spike_hi.size):
        at = (spike_hi[k], spike_lo[k])
        while e < hi.size and (hi[e], lo[e]) < at:
            e += 1
        if at[0] == 0.0 or (e < hi.size and hi[e] == at[0] and lo[e] == at[1]):
            return False
        before[k], group[k] = e, e // FOUR
        first[e // FOUR + 1] = k + 1
    for g in range(1, first.size):
        first[g] = max(first[g], first[g - 1])
    return True


@kernel
def coefficients(p, lay, tables):
    """Fill the tables."""
    for e in range(lay.d.size):
        verbs.store(tables.flow, e, verbs.prepare(p, lay.d[e]))
        verbs.store(tables.pull, e, adjoint.prepare(p, lay.d[e]))


@inline_kernel
def weight_at(lay, weights, e, n):
    """The weight of event `e` at neuron `n`."""
    return weights[lay.row[e], n] if lay.row[e] >= 0 else 0.0


@kernel
def four_on(p, tables, e, ports, lasts, a, b, c, d, before, after, silent, flags):
    """Every neuron through four events, and whether it may have been higher than ever."""
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    first, second = verbs.load(tables.flow, e), verbs.load(tables.flow, e + 1)
    third, fourth = verbs.load(tables.flow, e + 2), verbs.load(tables.flow, e + 3)
    lasts_1, lasts_2, lasts_3, lasts_4 = (
        lasts[e] > 0.0, lasts[e + 1] > 0.0, lasts[e + 2] > 0.0, lasts[e + 3] > 0.0
    )  # fmt: skip
    for n in range(a.size):
        q, x, top = verbs.pick(p, n), verbs.load(before, n), silent[n]
        x, top, high = on(p, q, first, x, port, a[n], lasts_1, top, top)
        x, top, high = on(p, q, second, x, port_2, b[n], lasts_2, top, high)
        x, top, high = on(p, q, third, x, port_3, c[n], lasts_3, top, high)
        x, top, high = on(p, q, fourth, x, port_4, d[n], lasts_4, top, high)
        verbs.store(after, n, x)
        silent[n] = top
        flags[n] = high > top


@kernel
def four_again(p, tables, e, ports, a, b, c, d, before, after):
    """As `four_on`, with the heights known."""
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    first, second = verbs.load(tables.flow, e), verbs.load(tables.flow, e + 1)
    third, fourth = verbs.load(tables.flow, e + 2), verbs.load(tables.flow, e + 3)
    for n in range(a.size):
        q = verbs.pick(p, n)
        x = after_event(p, q, first, verbs.load(before, n), port, a[n])
        x = after_event(p, q, second, x, port_2, b[n])
        x = after_event(p, q, third, x, port_3, c[n])
        verbs.store(after, n, after_event(p, q, fourth, x, port_4, d[n]))


@inline_kernel
def after_event(p, q, common, x, port, weight):
    """State of one neuron after one event."""
    x, _ = verbs.step(q, verbs.own(p, q, common), x)
    return verbs.receive(q, x, port, weight)


@inline_kernel
def on(p, q, common, x, port, weight, lasts, top, high):
    """State of one neuron after one event; how high it has been, and may have been, before it.

    An interval that does not last is between arrivals that act as one.
    """
    c = verbs.own(p, q, common)
    y, _ = verbs.step(q, c, x)
    reached, bound = adjoint.crest(q, c, x, y)
    top = reached if lasts & (reached > top) else top
    high = bound if lasts & (bound > high) else high
    return verbs.receive(q, y, port, weight), top, high


@inline_kernel
def time_of(lay, e):
    """Time (hi, lo) of event `e`; -1: the start; of the last one for the blank ones behind it."""
    e = min(e, lay.hi.size - 1)
    return (lay.hi[e], lay.lo[e]) if e >= 0 else (0.0, 0.0)


@kernel
def spikes_before(p, lay, e, first, last, x, kept, margins):
    """One neuron from its state after event `e - 1` through its spikes `first` to `last`.

    Returns its state after them and the time from there to event `e`, or to the end.
    """
    q = verbs.pick(p, lay.unit[first])
    at, left, since = time_of(lay, e - 1), lay.d[e], 0.0
    for k in range(first, last):
        d = elapsed(lay.spike_hi[k], lay.spike_lo[k], at[0], at[1])
        if margins:
            kept.peak[k] = adjoint.peak(q, x, left, -np.inf)
        left -= d
        since += d
        kept.gap[k] = min(since if e > 0 else np.inf, left if e < lay.hi.size else np.inf)
        x = verbs.fire(q, x, d)
        verbs.store(kept.after, k, x)
        at = (lay.spike_hi[k], lay.spike_lo[k])
    return x, left


@inline_kernel
def same_neuron(lay, k, stop):
    """One behind the last spike of the neuron of spike `k` among four events."""
    m = k + 1
    while m < stop and lay.unit[m] == lay.unit[k]:
        m += 1
    return m


@inline_kernel
def spikes_until(lay, k, stop, e):
    """One behind the last of the spikes `k` to `stop` that comes before event `e`."""
    while k < stop and lay.before[k] == e:
        k += 1
    return k


@kernel
def one_on(p, lay, tables, weights, e, first, stop, x, best, kept, margins):
    """The neuron of the spikes `first` to `stop` through the four events from `e` on.

    Returns its greatest silent height; its states go to `kept.path`.
    """
    n, k = lay.unit[first], first
    q = verbs.pick(p, n)
    verbs.store(kept.path, PATH * first, x)
    for j in range(FOUR):
        d, m = lay.d[e + j], spikes_until(lay, k, stop, e + j)
        if m > k:  # what leads to a spike is not silent
            x, d = spikes_before(p, lay, e + j, k, m, x, kept, margins)
            c = verbs.interval(q, d)
        else:
            c = verbs.own(p, q, verbs.load(tables.flow, e + j))
        y, _ = verbs.step(q, c, x)
        if margins and d > 0.0:
            reached, bound = adjoint.crest(q, c, x, y)
            best = max(best, reached)
            if bound > best:
                best = adjoint.peak(q, x, d, best)
        x = verbs.receive(q, y, lay.kind[e + j], weight_at(lay, weights, e + j, n))
        verbs.store(kept.path, PATH * first + j + 1, x)
        k = m
    return best


@inline_kernel
def four_rows(row, e, weights, none):
    """The weights of four events."""
    a = weights[row[e]] if row[e] >= 0 else none
    b = weights[row[e + 1]] if row[e + 1] >= 0 else none
    c = weights[row[e + 2]] if row[e + 2] >= 0 else none
    d = weights[row[e + 3]] if row[e + 3] >= 0 else none
    return a, b, c, d


@kernel
def group_on(p, lay, tables, weights, g, before, after, kept, margins):
    """Every neuron through the `g`-th four events; `margins`: silent heights are raised."""
    e = FOUR * g
    a, b, c, d = four_rows(lay.row, e, weights, kept.nothing)
    if not margins:
        four_again(p, tables, e, lay.kind, a, b, c, d, before, after)
        go_own_way(p, lay, tables, weights, g, before, after, kept, False)
        return
    k, m = lay.first[g], 0
    while k < lay.first[g + 1]:
        kept.own[m] = kept.silent[lay.unit[k]]
        k, m = same_neuron(lay, k, lay.first[g + 1]), m + 1
    four_on(p, tables, e, lay.kind, lay.d, a, b, c, d, before, after, kept.silent, kept.flags)
    go_own_way(p, lay, tables, weights, g, before, after, kept, True)
    raise_margins(p, lay, tables, weights, e, before, kept)


@kernel
def go_own_way(p, lay, tables, weights, g, before, after, kept, margins):
    """Again the neurons that fire among the `g`-th four events."""
    k, m = lay.first[g], 0
    while k < lay.first[g + 1]:
        n, stop = lay.unit[k], same_neuron(lay, k, lay.first[g + 1])
        x, best = verbs.load(before, n), kept.own[m]
        best = one_on(p, lay, tables, weights, FOUR * g, k, stop, x, best, kept, margins)
        verbs.store(after, n, verbs.load(kept.path, PATH * k + FOUR))
        if margins:
            kept.flags[n], kept.silent[n] = False, best
        k, m = stop, m + 1


@kernel
def raise_margins(p, lay, tables, weights, e, before, kept):
    """The exact heights of the neurons that are flagged."""
    words = kept.flags.view(np.uint64)
    for m in range(flagged(words, words, kept.found)):
        n = kept.found[m]
        q, x = verbs.pick(p, n), verbs.load(before, n)
        for j in range(e, e + FOUR):
            if lay.d[j] > 0.0:
                kept.silent[n] = adjoint.peak(q, x, lay.d[j], kept.silent[n])
            x, _ = verbs.step(q, verbs.own(p, q, verbs.load(tables.flow, j)), x)
            x = verbs.receive(q, x, lay.kind[j], weight_at(lay, weights, j, n))


@kernel
def copy(source, target):
    """Row by row."""
    for n in range(source[0].size):
        verbs.store(target, n, verbs.load(source, n))


@kernel
def block_on(p, lay, tables, weights, block, kept, margins):
    """Through the groups of a block from its mark; `kept.row` then has the states before each."""
    room, groups = kept.row[0].shape[0] - 1, lay.first.size - 1
    copy(layer(kept.mark, block), layer(kept.row, 0))
    for g in range(block * room, min((block + 1) * room, groups)):
        j = g - block * room
        before, after = layer(kept.row, j), layer(kept.row, j + 1)
        group_on(p, lay, tables, weights, g, before, after, kept, margins)
    if margins and (block + 1) * room < groups:
        copy(layer(kept.row, room), layer(kept.mark, block + 1))


@kernel
def four_on_alone(p, tables, e, ports, a, b, c, d, state):
    """Every state through four events, in its place."""
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    first, second = verbs.load(tables.flow, e), verbs.load(tables.flow, e + 1)
    third, fourth = verbs.load(tables.flow, e + 2), verbs.load(tables.flow, e + 3)
    for n in range(a.size):
        q = verbs.pick(p, n)
        x = after_event(p, q, first, verbs.load(state, n), port, a[n])
        x = after_event(p, q, second, x, port_2, b[n])
        x = after_event(p, q, third, x, port_3, c[n])
        verbs.store(state, n, after_event(p, q, fourth, x, port_4, d[n]))


@kernel
def states_at_spikes(p, lay, tables, weights, state, kept):
    """Forward to the last spike; `kept` then has the states around every spike."""
    before = layer(kept.row, 0)
    g = 0
    while lay.first[g] < lay.unit.size:
        a, b, c, d = four_rows(lay.row, FOUR * g, weights, kept.nothing)
        k = lay.first[g]
        while k < lay.first[g + 1]:
            verbs.store(before, lay.unit[k], verbs.load(state, lay.unit[k]))
            k = same_neuron(lay, k, lay.first[g + 1])
        four_on_alone(p, tables, FOUR * g, lay.kind, a, b, c, d, state)
        go_own_way(p, lay, tables, weights, g, before, state, kept, False)
        g += 1
