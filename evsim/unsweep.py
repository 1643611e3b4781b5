"""Backward through a layer whose every input event reaches every neuron: after `evsim.resweep`.

`unsweep` is for any model. Where the flow is linear and an arrival adds to one state variable, a
costate needs no state but those around its neuron's spikes: `costates` keeps no others, and leaves
what is by parameters of the flow to `evsim.tangents`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.adjoint import add_to, scaled
from evsim.models.tuples import dot
from evsim.numerics import elapsed
from evsim.resweep import (
    FOUR,
    PATH,
    after_event,
    block_on,
    coefficients,
    four_rows,
    layer,
    same_neuron,
    states_at_spikes,
    time_of,
    weight_at,
)


class Found(NamedTuple):
    """Where derivatives are added."""

    row: Any  # (rows, n) by weight
    fresh: Any  # (rows,) which of these hold nothing yet, not even zeros
    time: Any  # by the times of all spikes of the network, this layer's own among them
    delay: Any  # by projection


class Spare(NamedTuple):
    """Room for passes, and for the neurons that fire among four events."""

    gift: Any  # (4, n) derivatives by the weights of four events, where two have one row
    moved: Any  # (n, 4) what each neuron adds to those by the events' times, as one line
    lam: Any  # per state variable, by firing neuron
    by_event: Any  # derivatives by the events' times


@inline_kernel
def back(p, q, common, port, weight, y, x, lam, flow):
    """One neuron from after an event, in state `y`, to after the event before, in state `x`.

    Returns the derivative by the weight, what is added to that by the time, the costate and
    the sums for the parameters of the flow.
    """
    gift, moved = adjoint.arrival(q, port, weight, y, lam)
    lam, by_flow = adjoint.pull_own(q, common, x, lam)
    return gift, moved, lam, adjoint.plus(flow, by_flow)


@kernel
def four_back(
    p, tables, e, ports, a, b, c, d, before, lam, flow, by_a, by_b, by_c, by_d, moved
):  # fmt: skip
    """Every costate from after four events to after the one before.

    Derivatives by the weights are added to `by_a` to `by_d`. Compilers give up where they would
    have to tell more arrays apart.
    """
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    first, second = verbs.load(tables.flow, e), verbs.load(tables.flow, e + 1)
    third, fourth = verbs.load(tables.flow, e + 2), verbs.load(tables.flow, e + 3)
    pull, pull_2 = verbs.load(tables.pull, e), verbs.load(tables.pull, e + 1)
    pull_3, pull_4 = verbs.load(tables.pull, e + 2), verbs.load(tables.pull, e + 3)
    for n in range(a.size):
        q = verbs.pick(p, n)
        x = verbs.load(before, n)
        x_2 = after_event(p, q, first, x, port, a[n])
        x_3 = after_event(p, q, second, x_2, port_2, b[n])
        x_4 = after_event(p, q, third, x_3, port_3, c[n])
        x_5 = after_event(p, q, fourth, x_4, port_4, d[n])
        own, total = verbs.load(lam, n), verbs.load(flow, n)
        gift, at_4, own, total = back(p, q, pull_4, port_4, d[n], x_5, x_4, own, total)
        by_d[n] += gift
        gift, at_3, own, total = back(p, q, pull_3, port_3, c[n], x_4, x_3, own, total)
        by_c[n] += gift
        gift, at_2, own, total = back(p, q, pull_2, port_2, b[n], x_3, x_2, own, total)
        by_b[n] += gift
        gift, at, own, total = back(p, q, pull, port, a[n], x_2, x, own, total)
        by_a[n] += gift
        place = np.uint64(FOUR) * np.uint64(n)  # an index that may be negative costs a test
        moved[place], moved[place + np.uint64(1)] = at, at_2
        moved[place + np.uint64(2)], moved[place + np.uint64(3)] = at_3, at_4
        verbs.store(lam, n, own)
        verbs.store(flow, n, total)


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
        kept.slope[k], kept.by_theta[k] = slope, by_theta
        add_to(sums.flow, n, by_flow)
        add_to(sums.reset, n, by_reset)
        sums.theta[n] += by_theta
    return lam


@kernel
def one_back(p, lay, tables, weights, e, first, stop, kept, lam, by_row, moved, totals, sums):
    """The neuron of the spikes `first` to `stop` back through the four events from `e` on.

    Its derivatives by weights are added to `by_row`, those by times go to `moved`; returns its
    costate.
    """
    n = lay.unit[first]
    q, last = verbs.pick(p, n), stop
    y = verbs.load(kept.path, PATH * first + FOUR)
    for j in range(FOUR - 1, -1, -1):
        x, weight = verbs.load(kept.path, PATH * first + j), weight_at(lay, weights, e + j, n)
        gift, moved[FOUR * n + j] = adjoint.arrival(q, lay.kind[e + j], weight, y, lam)
        by_row[j][n] += gift
        k = last
        while k > first and lay.before[k - 1] == e + j:
            k -= 1
        if k < last:
            lam = pull_spikes(p, lay, e + j, k, last, x, kept, lam, totals, sums)
        else:
            lam, by_flow = adjoint.pull_own(q, verbs.load(tables.pull, e + j), x, lam)
            add_to(sums.flow, n, by_flow)
        last, y = k, x
    return lam


@inline_kernel
def begin(found, r):
    """Zeros in a row of derivatives by weights, if nothing is there yet."""
    if found.fresh[r]:  # only now, so that it is close by when it is added to
        found.row[r] = 0.0
        found.fresh[r] = False


@inline_kernel
def four_targets(row, e, found, gift):
    """(whether four events have rows of their own, where their derivatives are added).

    Else that is `gift`, which is cleared.
    """
    r, r_2, r_3, r_4 = row[e], row[e + 1], row[e + 2], row[e + 3]
    apart = (r != r_2) & (r != r_3) & (r != r_4) & (r_2 != r_3) & (r_2 != r_4) & (r_3 != r_4)
    direct = apart and min(r, r_2, r_3, r_4) >= 0
    if direct:
        begin(found, r)
        begin(found, r_2)
        begin(found, r_3)
        begin(found, r_4)
        by_row = found.row[r], found.row[r_2], found.row[r_3], found.row[r_4]
    else:
        gift[:] = 0.0
        by_row = gift[0], gift[1], gift[2], gift[3]
    return direct, by_row


@kernel
def set_aside(lay, g, lam, spare):
    """Costates of the neurons that fire among the `g`-th four events; zero takes their place,
    which adds nothing to anything."""
    k, m = lay.first[g], 0
    while k < lay.first[g + 1]:
        n = lay.unit[k]
        own = verbs.load(lam, n)
        verbs.store(spare.lam, m, own)
        verbs.store(lam, n, scaled(own, 0.0))
        k, m = same_neuron(lay, k, lay.first[g + 1]), m + 1


@kernel
def own_ways_back(p, lay, tables, weights, g, kept, by_row, spare, totals, sums):
    """The neurons that are set aside, back through the `g`-th four events."""
    k, m = lay.first[g], 0
    while k < lay.first[g + 1]:
        stop = same_neuron(lay, k, lay.first[g + 1])
        own = one_back(
            p, lay, tables, weights, FOUR * g, k, stop, kept, verbs.load(spare.lam, m), by_row,
            spare.moved, totals, sums,
        )  # fmt: skip
        verbs.store(sums.costate, lay.unit[k], own)
        k, m = stop, m + 1


@kernel
def group_back(p, lay, tables, weights, g, before, kept, spare, found, sums):
    """Every costate from after the `g`-th four events to after the event before them."""
    e, row, lam = FOUR * g, lay.row, sums.costate
    a, b, c, d = four_rows(row, e, weights, kept.nothing)
    direct, by_row = four_targets(row, e, found, spare.gift)
    set_aside(lay, g, lam, spare)
    four_back(
        p, tables, e, lay.kind, a, b, c, d, before, lam, sums.flow, by_row[0], by_row[1],
        by_row[2], by_row[3], spare.moved,
    )  # fmt: skip
    own_ways_back(p, lay, tables, weights, g, kept, by_row, spare, found.time, sums)
    if not direct:
        give(row, e, found, spare.gift)


@kernel
def give(row, e, found, gift):
    """Derivatives by the weights of four events, of which some have one row."""
    for j in range(FOUR):
        if row[e + j] >= 0:
            begin(found, row[e + j])
            add_row(found.row[row[e + j]], gift[j])


@kernel
def add_row(row, values):
    """`values` added to `row`."""
    for n in range(row.size):
        row[n] += values[n]


#: Partial sums that are added up side by side, which vectorises where a running sum does not.
LANES = 64


@kernel
def sum_lanes(flat):
    """The four interleaved sums of an array that is overwritten, in its first places."""
    lanes = flat[:LANES]
    start = LANES
    while start + LANES <= flat.size:
        add_row(lanes, flat[start : start + LANES])
        start += LANES
    for n in range(start, flat.size):
        flat[n % FOUR] += flat[n]
    for n in range(FOUR, min(LANES, flat.size)):
        flat[n % FOUR] += flat[n]


@kernel
def unsweep(p, lay, tables, weights, kept, spare, found, sums):
    """Backward through all events; to what is in `found` is added.

    Spikes have been seen, and marks kept, by `block_on` through all blocks.
    """
    groups = lay.first.size - 1
    room, blocks = kept.row[0].shape[0] - 1, kept.mark[0].shape[0]
    for block in range(blocks - 1, -1, -1):
        if block < blocks - 1:
            block_on(p, lay, tables, weights, block, kept, False)
        for g in range(min((block + 1) * room, groups) - 1, block * room - 1, -1):
            before = layer(kept.row, g - block * room)
            group_back(p, lay, tables, weights, g, before, kept, spare, found, sums)
            sum_moves(lay, g, spare)
    complete(lay, spare.by_event, found)


@kernel
def sum_moves(lay, g, spare):
    """Over all neurons, what they add to the derivatives by the times of the `g`-th four events."""
    sum_lanes(spare.moved)
    for e in range(FOUR * g, min(FOUR * g + FOUR, lay.hi.size)):
        spare.by_event[e] += spare.moved[e - FOUR * g]


@kernel
def complete(lay, by_event, found):
    """What is by the events' times, for their spikes and projections; no row is fresh any more."""
    for e in range(by_event.size):
        found.time[lay.source[e]] += by_event[e]
        found.delay[lay.rank[e]] += by_event[e]
    for r in range(found.fresh.size):
        begin(found, r)


@kernel
def four_costates(p, tables, e, ports, a, b, c, d, lam, by_a, by_b, by_c, by_d, moved):
    """As `four_back`, of a model whose costates need no state."""
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    pull, pull_2 = verbs.load(tables.pull, e), verbs.load(tables.pull, e + 1)
    pull_3, pull_4 = verbs.load(tables.pull, e + 2), verbs.load(tables.pull, e + 3)
    for n in range(a.size):
        q, own = verbs.pick(p, n), verbs.load(lam, n)
        gift, at_4 = adjoint.arrival(q, port_4, d[n], own, own)
        by_d[n] += gift
        own, _ = adjoint.pull_own(q, pull_4, own, own)
        gift, at_3 = adjoint.arrival(q, port_3, c[n], own, own)
        by_c[n] += gift
        own, _ = adjoint.pull_own(q, pull_3, own, own)
        gift, at_2 = adjoint.arrival(q, port_2, b[n], own, own)
        by_b[n] += gift
        own, _ = adjoint.pull_own(q, pull_2, own, own)
        gift, at = adjoint.arrival(q, port, a[n], own, own)
        by_a[n] += gift
        own, _ = adjoint.pull_own(q, pull, own, own)
        place = np.uint64(FOUR) * np.uint64(n)
        moved[place], moved[place + np.uint64(1)] = at, at_2
        moved[place + np.uint64(2)], moved[place + np.uint64(3)] = at_3, at_4
        verbs.store(lam, n, own)


@kernel
def linear_unsweep(p, lay, tables, weights, state, kept, spare, found, sums, live):
    """As `unsweep`, of a linear model, whose tables it fills.

    `state` is that at the start, and overwritten; of the sums those by the parameters of the flow
    are worthless. `live`: there are costates at the end.
    """
    coefficients(p, lay, tables)
    states_at_spikes(p, lay, tables, weights, state, kept)
    costates(p, lay, tables, weights, kept, spare, found, sums, live)
    complete(lay, spare.by_event, found)


@kernel
def costates(p, lay, tables, weights, kept, spare, found, sums, live):
    """Backward through all events, with the states around spikes known."""
    for g in range(lay.first.size - 2, -1, -1):
        live |= lay.first[g] < lay.first[g + 1]
        if live:
            e, row = FOUR * g, lay.row
            a, b, c, d = four_rows(row, e, weights, kept.nothing)
            direct, by_row = four_targets(row, e, found, spare.gift)
            set_aside(lay, g, sums.costate, spare)
            four_costates(
                p, tables, e, lay.kind, a, b, c, d, sums.costate, by_row[0], by_row[1],
                by_row[2], by_row[3], spare.moved,
            )  # fmt: skip
            own_ways_back(p, lay, tables, weights, g, kept, by_row, spare, found.time, sums)
            if not direct:
                give(row, e, found, spare.gift)
            sum_moves(lay, g, spare)
