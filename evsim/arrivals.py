"""Arrivals in lists: by target neuron, or one by one, in pieces whose memory is bounded."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from evsim.delivery import Current, add_delay, between, incoming, pieces, whole_steps
from evsim.lists import Arrivals, count_targets, deliver
from evsim.network import Network, Projection
from evsim.neuron import CURRENT, PULSE_OFF, PULSE_ON
from evsim.spikes import Spikes, grid_times

#: So many arrivals are delivered at once, about; more in blocks of neurons, or slices of time.
AT_ONCE = 1 << 18


class Onto(NamedTuple):
    """The synapses of a projection by target, and the spikes of its source by unit."""

    synapse: np.ndarray  # in the order of targets
    source: np.ndarray  # of each
    start: np.ndarray  # (n + 1,) synapses of a target
    spike: np.ndarray  # in the order of units
    of_unit: np.ndarray  # (n_pre + 1,) spikes of a unit


def onto(projection: Projection, train: Spikes, n: int) -> Onto:
    """`Onto`, with all synapses of a dense projection."""
    indptr, targets, _ = rows_of(projection, n)
    order = np.argsort(targets, kind="stable")
    source = np.repeat(np.arange(indptr.size - 1, dtype=np.int32), np.diff(indptr))[order]
    units = np.bincount(train.units, minlength=indptr.size - 1)
    return Onto(
        order, source, starts_of(np.bincount(targets, minlength=n)),
        np.argsort(train.units, kind="stable"), starts_of(units),
    )  # fmt: skip


def starts_of(counts: np.ndarray) -> np.ndarray:
    """Where the items of each come that are counted, and where all end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def rows_of(projection: Projection, n: int):
    """The synapses of a projection by source: bounds of the rows, targets, weights."""
    if projection.indptr is None or projection.targets is None:
        n_pre = projection.weight.shape[0]
        indptr = np.arange(n_pre + 1, dtype=np.int64) * n
        return indptr, np.tile(np.arange(n, dtype=np.int32), n_pre), projection.weight.ravel()
    return projection.indptr, projection.targets, projection.weight


def arrivals_in_blocks(network: Network, population: str, trains, current, since, until):
    """(first, last, arrivals) of blocks of neurons, with about `AT_ONCE` arrivals or one neuron.

    So the memory that arrivals take is bounded, whatever their number.
    """
    n = network.size(population)
    projections = incoming(network, population)
    counts = np.full(n, 0 if current is None else current.times.size)
    for projection in projections:
        indptr, targets, _ = rows_of(projection, n)
        count_targets(trains[projection.pre].units, indptr, targets, counts)
    before, first, tables = starts_of(counts), 0, None
    if before[n] > AT_ONCE:
        tables = [onto(p, trains[p.pre], n) for p in projections]
    while first < n:
        last = int(np.searchsorted(before, before[first] + AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), n)
        block = (first, last)
        yield (
            *block,
            lists_of_arrivals(network, population, trains, current, since, until, block, tables),
        )
        first = last


def lists_of_arrivals(
    network: Network,
    population: str,
    trains: dict[str, Spikes],
    current: Current | None,
    since,
    until,
    block: tuple[int, int] | None = None,
    tables: list[Onto] | None = None,
) -> Arrivals:
    """Arrivals by target for a population with any input, or for a block of its neurons.

    `tables` has, for every projection, `onto`; without it the block is the whole population.
    """
    n = network.size(population)
    first, last = block or (0, n)
    columns: list[tuple[np.ndarray, ...]] = []
    for rank, projection in enumerate(incoming(network, population)):
        found = (
            all_arrivals(projection, trains[projection.pre], n)
            if tables is None
            else _those_onto(tables[rank], first, last)
        )
        columns += columns_of(projection, trains[projection.pre], rank, found)
    if current is not None:
        hi, lo = current.pairs()
        values, k = current.rows(n, population)[:, first:last], hi.size
        m = last - first
        columns.append(
            (np.repeat(np.arange(first, last), k), np.tile(hi, m), np.tile(lo, m),
             np.full(m * k, CURRENT), values.T.ravel(), np.full(m * k, len(columns)),
             np.zeros(m * k, np.int64))
        )  # fmt: skip
    if not columns:
        empty = np.zeros(0)
        return Arrivals(
            starts_of(np.zeros(last - first)), empty, empty, np.zeros(0, np.int64), empty
        )
    target, hi, lo, kind, value, number, position = map(np.concatenate, zip(*columns, strict=True))
    keep = between(hi, lo, since, until)
    order = np.lexsort((position, number, lo, hi, target))
    order = order[keep[order]]
    start = starts_of(np.bincount(target[order] - first, minlength=last - first))
    return Arrivals(start, hi[order], lo[order], kind[order].astype(np.int64), value[order])


def all_arrivals(projection: Projection, train: Spikes, n: int):
    """(target, spike, synapse) of every arrival, by target."""
    indptr, targets, _ = rows_of(projection, n)
    counts = np.zeros(n, np.int64)
    count_targets(train.units, indptr, targets, counts)
    total = int(counts.sum())
    spike, synapse = np.empty(total, np.int64), np.empty(total, np.int64)
    deliver(train.units, indptr, targets, starts_of(counts)[:-1].copy(), spike, synapse)
    return np.repeat(np.arange(n), counts), spike, synapse


def _those_onto(table: Onto, first: int, last: int):
    """(target, spike, synapse) of every arrival at neurons `first` to `last`, by target."""
    a, b = table.start[first], table.start[last]
    source = table.source[a:b]
    counts = np.diff(table.of_unit)[source]
    place = np.arange(counts.sum()) - np.repeat(starts_of(counts)[:-1], counts)
    spike = table.spike[np.repeat(table.of_unit[source], counts) + place]
    target = np.repeat(np.arange(first, last), np.diff(table.start[first : last + 1]))
    return np.repeat(target, counts), spike, np.repeat(table.synapse[a:b], counts)


def columns_of(projection: Projection, train: Spikes, number: int, arrivals):
    """Columns (target, hi, lo, kind, value, projection, position) of one projection.

    `arrivals` are their targets, spikes and synapses.
    """
    target, spike, synapse = arrivals
    delays, total = projection.delay, spike.size
    if np.ndim(delays) == 0:
        columns = [(k, hi[spike], lo[spike]) for k, hi, lo in pieces(projection, train)]
    else:
        columns = delayed(train, delays[synapse], projection, spike)
    weight = projection.weight.ravel()[synapse]
    return [
        (target, hi, lo, np.full(total, kind), weight, np.full(total, number), synapse)
        for kind, hi, lo in columns
    ]


def slices_of_time(projections: list[Projection], trains, until: float) -> list[float]:
    """Ends of slices of time, the last one `until`, in which about `AT_ONCE` spikes act.

    A spike counts once for every synapse of these projections.
    """
    times, counts = [np.zeros(0)], [np.zeros(0, np.int64)]
    for projection in projections:
        train, indptr = trains[projection.pre], projection.indptr
        if indptr is not None:
            times.append(train.times)
            counts.append(np.diff(indptr)[train.units])
    time, count = np.concatenate(times), np.concatenate(counts)
    order = np.argsort(time, kind="stable")
    done = np.cumsum(count[order])
    cuts = np.searchsorted(done, np.arange(AT_ONCE, done[-1] if done.size else 0, AT_ONCE))
    ends = np.unique(time[order][cuts])
    return [*ends[ends < until].tolist(), until]


def delayed(train: Spikes, delays, projection: Projection, spike):
    """Pieces of a projection with one delay per synapse; `delays` has one per arrival."""
    width = projection.pulse_width
    hi, lo = add_delay(train.times[spike], train.times_lo[spike], delays)
    ended = None if width is None else add_delay(hi, lo, width)
    if train.steps is not None and train.dt is not None:
        _keep_on_grid(train.steps[spike], train.dt, delays, (hi, lo))
        if ended is not None and width is not None:
            on = _keep_on_grid(train.steps[spike], train.dt, delays, ended, width)
            ended[0][~on], ended[1][~on] = add_delay(hi[~on], lo[~on], width)
    if ended is None:
        return [(projection.port, hi, lo)]
    return [(PULSE_ON, hi, lo), (PULSE_OFF, *ended)]


def _keep_on_grid(steps, dt: Fraction, delays, pair, width: float | None = None):
    """As `later`, write into `pair` what stays on the grid after its delay and `width`; which."""
    distinct, which = np.unique(delays, return_inverse=True)
    more = 0 if width is None else whole_steps(width, dt)
    whole = [None if more is None else whole_steps(float(delay), dt) for delay in distinct]
    on = np.array([k is not None for k in whole], bool)[which]
    shift = np.array([(k or 0) + (more or 0) for k in whole], np.int64)[which]
    pair[0][on], pair[1][on] = grid_times(steps[on] + shift[on], dt)
    return on
