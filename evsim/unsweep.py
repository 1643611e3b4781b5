"""Backward through a layer whose every input event reaches every neuron.

Event by event, as `evsim.sweep` goes forward: passes over all neurons that are branch-free and
vectorise, and the few neurons with a spike between two events by themselves. States are kept
once in `BLOCK` events, and laid out anew from there. For layers without refractory period and
external current, whose spikes come at no event's very time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from evsim.dispatch import INLINE
from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.adjoint import add_to, scaled
from evsim.models.tuples import dot
from evsim.numerics import elapsed

#: Events whose states are held at a time.
BLOCK = 32


class Layer(NamedTuple):
    """Input events in order, and the layer's spikes in order of time, then neuron."""

    d: Any  # (events + 1,) time from the event before; the last one to the end
    hi: Any  # (events,)
    lo: Any
    kind: Any
    row: Any  # of the stacked weights
    source: Any  # number of the spike among all of the network
    first: Any  # (events + 2,) spikes before event e are first[e]:first[e + 1]
    spike_hi: Any
    spike_lo: Any
    unit: Any
    number: Any


class Kept(NamedTuple):
    """States, and what is known of spikes and neurons."""

    after: Any  # by spike, the state after it
    peak: Any
    gap: Any
    slope: Any
    silent: Any  # (n,)
    mark: Any  # (blocks, n) per state variable: state at the start of each block
    row: Any  # (BLOCK + 1, n) per state variable: within a block
    flags: Any  # (n,) whose interval may be higher than any before
    was: Any  # (n,) scratch


def layer(table, b):
    """Row `b` of every array of a tuple."""
    return tuple(values[b] for values in table)


@overload(layer, jit_options=INLINE)
def _layer(table, b):
    if len(table) == 1:
        return lambda table, b: (table[0][b],)
    return lambda table, b: (table[0][b],) + layer(table[1:], b)  # noqa: RUF005


@kernel
def flow_on(p, d, port, weight, before, after):
    """Every neuron over an interval and the event at its end."""
    common = verbs.prepare(p, d)
    for n in range(weight.size):
        q = verbs.pick(p, n)
        x, _ = verbs.step(q, verbs.own(p, q, common), verbs.load(before, n))
        verbs.store(after, n, verbs.receive(q, x, port, weight[n]))


@kernel
def heights(p, d, before, silent, flags):
    """The greatest heights so far, raised by those in this interval."""
    common, some = verbs.prepare(p, d), 0
    for n in range(silent.size):
        q = verbs.pick(p, n)
        flags[n] = adjoint.crest(q, verbs.own(p, q, common), verbs.load(before, n)) > silent[n]
    for n in range(silent.size):
        some += flags[n]
    if some:
        for n in range(silent.size):
            if flags[n]:
                q = verbs.pick(p, n)
                silent[n] = adjoint.peak(q, verbs.load(before, n), d, silent[n])


@inline_kernel
def time_of(lay, e):
    """Time (hi, lo) of event `e`; -1: the start."""
    return (lay.hi[e], lay.lo[e]) if e >= 0 else (0.0, 0.0)


@kernel
def spikes_before(p, lay, e, first, last, x, kept):
    """One neuron from its state after event `e - 1` through its spikes `first` to `last`.

    Returns its state after them and the time from there to event `e`, or to the end.
    """
    q = verbs.pick(p, lay.unit[first])
    at, left, since = time_of(lay, e - 1), lay.d[e], 0.0
    for k in range(first, last):
        d = elapsed(lay.spike_hi[k], lay.spike_lo[k], at[0], at[1])
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
    """One behind the last spike of the neuron of spike `k` in this interval."""
    m = k + 1
    while m < stop and lay.unit[m] == lay.unit[k]:
        m += 1
    return m


@kernel
def go_on(p, lay, weights, e, before, after, kept):
    """`flow_on` for event `e`, the neurons that fire before it set right."""
    w = weights[lay.row[e]]
    flow_on(p, lay.d[e], lay.kind[e], w, before, after)
    k = lay.first[e]
    while k < lay.first[e + 1]:
        m = same_neuron(lay, k, lay.first[e + 1])
        n = lay.unit[k]
        q = verbs.pick(p, n)
        x, d = spikes_before(p, lay, e, k, m, verbs.load(before, n), kept)
        x, _ = verbs.step(q, verbs.interval(q, d), x)
        verbs.store(after, n, verbs.receive(q, x, lay.kind[e], w[n]))
        k = m


@kernel
def copy(source, target):
    """Row by row."""
    for n in range(source[0].size):
        verbs.store(target, n, verbs.load(source, n))


@kernel
def mark(p, lay, weights, start, kept):
    """Forward: the state at the start of every block, and the margins."""
    n_events = lay.hi.size
    a, b = layer(kept.row, 0), layer(kept.row, 1)
    copy(start, a)
    for e in range(n_events + 1):
        if e % BLOCK == 0:
            copy(a, layer(kept.mark, e // BLOCK))
        for k in range(lay.first[e], lay.first[e + 1]):
            kept.was[lay.unit[k]] = kept.silent[lay.unit[k]]
        heights(p, lay.d[e], a, kept.silent, kept.flags)
        k = lay.first[e]
        while k < lay.first[e + 1]:  # what leads to a spike is not silent
            m, n = same_neuron(lay, k, lay.first[e + 1]), lay.unit[k]
            x, d = spikes_before(p, lay, e, k, m, verbs.load(a, n), kept)
            kept.silent[n] = adjoint.peak(verbs.pick(p, n), x, d, kept.was[n])
            k = m
        if e < n_events:
            go_on(p, lay, weights, e, a, b, kept)
            a, b = b, a


@kernel
def pull_all(p, d, before, lam, flow):
    """Every costate back over an interval."""
    common = adjoint.prepare(p, d)
    for n in range(lam[0].size):
        q = verbs.pick(p, n)
        back, by_flow = adjoint.pull_own(q, common, verbs.load(before, n), verbs.load(lam, n))
        verbs.store(lam, n, back)
        add_to(flow, n, by_flow)


@kernel
def take_event(p, port, w, g, after, lam):
    """Derivatives by the weights `w` of one event into `g`; returns that by its time."""
    size, total = w.size, 0.0
    t0 = t1 = t2 = t3 = 0.0
    n = 0
    while n + 4 <= size:
        t0 += taken(p, port, w, g, after, lam, n)
        t1 += taken(p, port, w, g, after, lam, n + 1)
        t2 += taken(p, port, w, g, after, lam, n + 2)
        t3 += taken(p, port, w, g, after, lam, n + 3)
        n += 4
    while n < size:
        total += taken(p, port, w, g, after, lam, n)
        n += 1
    return total + ((t0 + t1) + (t2 + t3))


@inline_kernel
def taken(p, port, w, g, after, lam, n):
    """`take_event` for one neuron."""
    q, y, own = verbs.pick(p, n), verbs.load(after, n), verbs.load(lam, n)
    one = verbs.receive(q, scaled(y, 0.0), port, 1.0)
    g[n] += dot(own, one)
    return dot(own, adjoint.lag(q, y, scaled(one, w[n])))


@kernel
def pull_spikes(p, lay, e, first, last, x, kept, lam, totals, sums):
    """One neuron's costate from before event `e` back through its spikes to event `e - 1`."""
    n = lay.unit[first]
    q = verbs.pick(p, n)
    at, left = time_of(lay, e - 1), lay.d[e]
    for k in range(first, last):
        left -= elapsed(lay.spike_hi[k], lay.spike_lo[k], at[0], at[1])
        at = (lay.spike_hi[k], lay.spike_lo[k])
    lam, by_flow = adjoint.pull(q, left, verbs.load(kept.after, last - 1), lam)
    add_to(sums.flow, n, by_flow)
    for k in range(last - 1, first - 1, -1):
        z = verbs.load(kept.after, k)
        since = time_of(lay, e - 1)
        y = x
        if k > first:
            since, y = (lay.spike_hi[k - 1], lay.spike_lo[k - 1]), verbs.load(kept.after, k - 1)
        d = elapsed(lay.spike_hi[k], lay.spike_lo[k], since[0], since[1])
        waits = adjoint.plus(adjoint.held(q, z), scaled(adjoint.drift(q, z), -1.0))
        sums.t_ref[n] += dot(lam, waits)
        lam, by_flow, by_reset, by_theta, slope, _ = adjoint.pull_spike(
            q, d, y, z, lam, totals[lay.number[k]], False
        )
        kept.slope[k] = slope
        add_to(sums.flow, n, by_flow)
        add_to(sums.reset, n, by_reset)
        sums.theta[n] += by_theta
    return lam


@kernel
def go_back(p, lay, e, before, kept, lam, spare, totals, sums):
    """Every costate from before event `e` to after event `e - 1`."""
    k, m = lay.first[e], 0
    while k < lay.first[e + 1]:  # first the few, whose costates the pass would overwrite
        stop = same_neuron(lay, k, lay.first[e + 1])
        n = lay.unit[k]
        back = pull_spikes(p, lay, e, k, stop, verbs.load(before, n), kept, verbs.load(lam, n),
                           totals, sums)  # fmt: skip
        verbs.store(spare.lam, m, back)
        verbs.store(spare.flow, m, verbs.load(sums.flow, n))
        spare.unit[m] = n
        m += 1
        k = stop
    pull_all(p, lay.d[e], before, lam, sums.flow)
    for j in range(m):
        verbs.store(lam, spare.unit[j], verbs.load(spare.lam, j))
        verbs.store(sums.flow, spare.unit[j], verbs.load(spare.flow, j))


class Spare(NamedTuple):
    """Room for the neurons that fire between two events."""

    lam: Any
    flow: Any
    unit: Any


@kernel
def unsweep(p, lay, weights, grads, kept, spare, totals, by_event, sums):
    """Backward through all events; `grads` (rows, n) and `by_event` (events,) are filled."""
    n_events = lay.hi.size
    lam = sums.costate
    for block in range(n_events // BLOCK, -1, -1):
        low = block * BLOCK
        high = min(low + BLOCK, n_events + 1)
        copy(layer(kept.mark, block), layer(kept.row, 0))
        for e in range(low, high - 1):
            go_on(p, lay, weights, e, layer(kept.row, e - low), layer(kept.row, e - low + 1), kept)
        for e in range(high - 1, low - 1, -1):
            go_back(p, lay, e, layer(kept.row, e - low), kept, lam, spare, totals, sums)
            if e > 0:
                r = lay.row[e - 1]
                by_event[e - 1] = take_event(
                    p, lay.kind[e - 1], weights[r], grads[r], layer(kept.row, e - low), lam
                )
                totals[lay.source[e - 1]] += by_event[e - 1]
