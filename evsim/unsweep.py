"""Backward through a layer whose every input event reaches every neuron: after `evsim.resweep`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.adjoint import add_to, scaled
from evsim.models.tuples import dot
from evsim.numerics import elapsed
from evsim.resweep import FOUR, block_on, layer, one_on, same_neuron, time_of, weight_at


class Spare(NamedTuple):
    """Room for passes, and for the neurons that fire among four events."""

    gift: Any  # (4, n) derivatives by the weights of each event
    moved: Any  # (4, n) what each neuron adds to that by the event's time
    state: Any  # per state variable, (5,): one neuron before each event
    lam: Any  # per state variable, by firing neuron
    flow: Any
    own_gift: Any  # (4, firing neurons)
    own_moved: Any
    unit: Any


@inline_kernel
def back(p, q, common, port, weight, y, x, lam, flow):
    """One neuron from after an event, in state `y`, to after the event before, in state `x`.

    Returns the derivative by the weight, what is added to that by the time, the costate and
    the sums for the parameters of the flow.
    """
    one = verbs.receive(q, scaled(y, 0.0), port, 1.0)
    gift, moved = dot(lam, one), dot(lam, adjoint.lag(q, y, scaled(one, weight)))
    lam, by_flow = adjoint.pull_own(q, common, x, lam)
    return gift, moved, lam, adjoint.plus(flow, by_flow)


@kernel
def four_back(p, tables, e, ports, a, b, c, d, before, lam, flow, gift, moved):
    """Every costate from after four events to after the one before."""
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    first, second = verbs.load(tables.flow, e), verbs.load(tables.flow, e + 1)
    third, fourth = verbs.load(tables.flow, e + 2), verbs.load(tables.flow, e + 3)
    pull, pull_2 = verbs.load(tables.pull, e), verbs.load(tables.pull, e + 1)
    pull_3, pull_4 = verbs.load(tables.pull, e + 2), verbs.load(tables.pull, e + 3)
    g_1, g_2, g_3, g_4 = gift[0], gift[1], gift[2], gift[3]
    m_1, m_2, m_3, m_4 = moved[0], moved[1], moved[2], moved[3]
    for n in range(a.size):
        q = verbs.pick(p, n)
        x = verbs.load(before, n)
        x_2 = after_event(p, q, first, x, port, a[n])
        x_3 = after_event(p, q, second, x_2, port_2, b[n])
        x_4 = after_event(p, q, third, x_3, port_3, c[n])
        x_5 = after_event(p, q, fourth, x_4, port_4, d[n])
        own, total = verbs.load(lam, n), verbs.load(flow, n)
        g_4[n], m_4[n], own, total = back(p, q, pull_4, port_4, d[n], x_5, x_4, own, total)
        g_3[n], m_3[n], own, total = back(p, q, pull_3, port_3, c[n], x_4, x_3, own, total)
        g_2[n], m_2[n], own, total = back(p, q, pull_2, port_2, b[n], x_3, x_2, own, total)
        g_1[n], m_1[n], own, total = back(p, q, pull, port, a[n], x_2, x, own, total)
        verbs.store(lam, n, own)
        verbs.store(flow, n, total)


@inline_kernel
def after_event(p, q, common, x, port, weight):
    """State of one neuron after one event."""
    x, _ = verbs.step(q, verbs.own(p, q, common), x)
    return verbs.receive(q, x, port, weight)


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
def one_back(p, lay, weights, e, first, stop, before, kept, lam, j, spare, totals, sums):
    """The neuron of the spikes `first` to `stop` back through the four events from `e` on.

    Its derivatives by weights and event times go to place `j` of `spare`; returns its costate.
    """
    n = lay.unit[first]
    q, x, k = verbs.pick(p, n), verbs.load(before, n), first
    verbs.store(spare.state, 0, x)
    for i in range(FOUR):
        x, _, k = one_on(p, lay, weights, e + i, k, stop, x, kept, np.inf)
        verbs.store(spare.state, i + 1, x)
    last = stop
    for i in range(FOUR - 1, -1, -1):
        y, x, port = verbs.load(spare.state, i + 1), verbs.load(spare.state, i), lay.kind[e + i]
        one = verbs.receive(q, scaled(y, 0.0), port, 1.0)
        weight = weight_at(lay, weights, e + i, n)
        spare.own_gift[i, j] = dot(lam, one)
        spare.own_moved[i, j] = dot(lam, adjoint.lag(q, y, scaled(one, weight)))
        k = last
        while k > first and lay.before[k - 1] == e + i:
            k -= 1
        if k < last:
            lam = pull_spikes(p, lay, e + i, k, last, x, kept, lam, totals, sums)
        else:
            lam, by_flow = adjoint.pull(q, lay.d[e + i], x, lam)
            add_to(sums.flow, n, by_flow)
        last = k
    return lam


@kernel
def group_back(p, lay, tables, weights, g, before, kept, lam, spare, totals, sums):
    """Every costate from after the `g`-th four events to after the event before them."""
    e, k, m = FOUR * g, lay.first[g], 0
    while k < lay.first[g + 1]:  # first the few, whose costates the pass would overwrite
        n, stop = lay.unit[k], same_neuron(lay, k, lay.first[g + 1])
        own = one_back(p, lay, weights, e, k, stop, before, kept, verbs.load(lam, n), m, spare,
                       totals, sums)  # fmt: skip
        verbs.store(spare.lam, m, own)
        verbs.store(spare.flow, m, verbs.load(sums.flow, n))
        spare.unit[m] = n
        m += 1
        k = stop
    row, none = lay.row, kept.nothing
    a = weights[row[e]] if row[e] >= 0 else none
    b = weights[row[e + 1]] if row[e + 1] >= 0 else none
    c = weights[row[e + 2]] if row[e + 2] >= 0 else none
    d = weights[row[e + 3]] if row[e + 3] >= 0 else none
    four_back(p, tables, e, lay.kind, a, b, c, d, before, lam, sums.flow, spare.gift, spare.moved)
    for j in range(m):
        n = spare.unit[j]
        verbs.store(lam, n, verbs.load(spare.lam, j))
        verbs.store(sums.flow, n, verbs.load(spare.flow, j))
        for i in range(FOUR):
            spare.gift[i, n], spare.moved[i, n] = spare.own_gift[i, j], spare.own_moved[i, j]


@kernel
def add_row(row, values):
    """`values` added to `row`."""
    for n in range(row.size):
        row[n] += values[n]


@kernel
def sum_of(values):
    """The sum, in pairs, of an array that is overwritten: halves vectorise, a running sum not."""
    size = values.size
    while size > 1:
        half = (size + 1) // 2
        add_row(values[: size - half], values[half:size])
        size = half
    return values[0]


@kernel
def unsweep(p, lay, tables, weights, grads, kept, spare, totals, by_event, sums):
    """Backward through all events; `grads` (rows, n) and `by_event` (events,) are filled.

    Spikes have been seen, and marks kept, by `block_on` through all blocks.
    """
    lam, groups = sums.costate, lay.first.size - 1
    room, blocks = kept.row[0].shape[0] - 1, kept.mark[0].shape[0]
    for block in range(blocks - 1, -1, -1):
        if block < blocks - 1:
            block_on(p, lay, tables, weights, block, kept, False)
        for g in range(min((block + 1) * room, groups) - 1, block * room - 1, -1):
            before = layer(kept.row, g - block * room)
            group_back(p, lay, tables, weights, g, before, kept, lam, spare, totals, sums)
            for i in range(FOUR):
                e = FOUR * g + i
                if lay.row[e] >= 0:
                    add_row(grads[lay.row[e]], spare.gift[i])
                    by_event[e] = sum_of(spare.moved[i])
                    totals[lay.source[e]] += by_event[e]
