"""From spikes to arrivals: times with delays, in the order in which they act."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from evsim.lists import Arrivals, count_targets, deliver
from evsim.models.base import two_sum_of_arrays
from evsim.network import Network, Projection
from evsim.neuron import CURRENT, PULSE_OFF, PULSE_ON
from evsim.spikes import Spikes, as_step, grid_times, integers
from evsim.sweep import Events


@dataclass(frozen=True)
class Current:
    """External current of a population, piecewise constant from each time on.

    Parameters
    ----------
    times : array_like, shape (k,)
        Ascending [s].
    values : array_like, shape (k,) or (k, n)
        In units of voltage (of slope for `IF`), for all neurons or one per neuron.
    dt : float or fractions.Fraction, optional
        With it, `times` are integer steps of a grid.
    """

    times: np.ndarray
    values: np.ndarray
    dt: Fraction | None = None

    def __post_init__(self):
        if self.dt is None:
            times = np.array(self.times, float)
        else:
            object.__setattr__(self, "dt", as_step(self.dt))
            times = integers(self.times, "times")
        values = np.array(self.values, float)
        if times.ndim != 1 or values.ndim not in (1, 2) or values.shape[0] != times.size:
            raise ValueError(
                f"values must have one row per time; got shapes {times.shape} and {values.shape}"
            )
        if not np.isfinite(times).all() or (times < 0).any() or (np.diff(times) < 0).any():
            raise ValueError("times must be finite, non-negative and ascending")
        if not np.isfinite(values).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(values))[0]))
            raise ValueError(f"values{list(index)} must be finite; got {values[index]}")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", values)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The times as (hi, lo)."""
        if self.dt is not None:
            return grid_times(self.times, self.dt)
        return self.times, np.zeros_like(self.times)

    def rows(self, n: int, population: str) -> np.ndarray:
        """The values, one per neuron, shape (k, n)."""
        values = self.values if self.values.ndim == 2 else self.values[:, None]
        if values.shape[1] not in (1, n):
            raise ValueError(
                f"the current of {population!r} has {values.shape[1]} columns for {n} neurons"
            )
        return np.ascontiguousarray(np.broadcast_to(values, (values.shape[0], n)))


def later(spikes: Spikes, delays: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Times of `spikes` plus one or two delays, as (hi, lo).

    On a grid, a delay that is a multiple of its step (or the double nearest to one) moves
    the integers; otherwise the sum is exact for given spikes, and rounded to 106 bits for
    computed ones.
    """
    hi, lo = spikes.times, spikes.times_lo
    steps = spikes.steps
    for delay in delays:
        if steps is not None and spikes.dt is not None:
            k = round(Fraction(delay) / spikes.dt)
            if float(k * spikes.dt) == delay:
                steps = steps + k
                hi, lo = grid_times(steps, spikes.dt)
                continue
            steps = None
        if delay != 0.0:
            hi, lo = _add(hi, lo, delay)
    return hi, lo


def _add(hi, lo, delay):
    s, e = two_sum_of_arrays(hi, delay)
    e = e + lo
    t = s + e
    return t, e - (t - s)


def incoming(network: Network, population: str) -> list[Projection]:
    """Projections onto a population, in the order in which they were made."""
    return [p for p in network.projections.values() if p.post == population]


def in_arrays(network: Network, name: str, current: Current | None) -> bool:
    """Whether a population needs the array form: own parameters, or external current."""
    pulses = any(p.pulse_width is not None for p in incoming(network, name))
    return network.populations[name].model.per_neuron or pulses or current is not None


def pieces(projection: Projection, train: Spikes):
    """(kind, hi, lo) of what a projection makes of its source's spikes."""
    delay, width = float(projection.delay), projection.pulse_width
    if width is None:
        yield (projection.port, *later(train, (delay,)))
    else:
        yield (PULSE_ON, *later(train, (delay,)))
        yield (PULSE_OFF, *later(train, (delay, width)))


def rows_of_events(
    network: Network,
    population: str,
    trains: dict[str, Spikes],
    current: Current | None,
    since,
    until,
) -> tuple[Events, np.ndarray, np.ndarray]:
    """Events, weights by row and currents by row, for a population with dense input only."""
    n = network.size(population)
    weights, parts, offset = [np.zeros((0, n))], [], 0
    for rank, projection in enumerate(incoming(network, population)):
        train = trains[projection.pre]
        for kind, hi, lo in pieces(projection, train):
            parts.append(_part(hi, lo, kind, offset + train.units, rank, train.units))
        weights.append(projection.weight)
        offset += projection.weight.shape[0]
    currents = np.zeros((0, n))
    if current is not None:
        currents = current.rows(n, population)
        hi, lo = current.pairs()
        parts.append(_part(hi, lo, CURRENT, np.arange(hi.size), len(weights), np.arange(hi.size)))
    table = _sorted(parts, since, until)
    stacked = weights[1] if len(weights) == 2 else np.vstack(weights)
    for rows in (stacked, currents):  # read-only, always: one compiled form less
        rows.setflags(write=False)
    return Events(table[0], table[1], table[2], table[3]), _frozen(stacked), _frozen(currents)


def _frozen(a: np.ndarray) -> np.ndarray:
    """Read-only, as what a network holds is: each mixture would compile the kernels once more."""
    view = a.view()
    view.flags.writeable = False
    return view


def _part(hi, lo, kind, payload, number, source):
    size = hi.size
    return hi, lo, np.full(size, kind), payload, np.full(size, number), source


def between(hi, lo, since, until):
    """Which times lie after `since` (if given) and up to `until`."""
    keep = (hi < until) | ((hi == until) & (lo <= 0.0))
    if since is not None:
        keep &= (hi > since) | ((hi == since) & (lo > 0.0))
    return keep


def _sorted(parts, since, until):
    """Columns of all parts in time, by time, then projection, then source."""
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    hi, lo, kind, payload, number, source = (np.concatenate(c) for c in zip(*parts, strict=True))
    keep = between(hi, lo, since, until)
    order = np.lexsort((source, number, lo, hi))
    order = order[keep[order]]
    return hi[order], lo[order], kind[order].astype(np.int64), payload[order].astype(np.int64)


def lists_of_arrivals(
    network: Network,
    population: str,
    trains: dict[str, Spikes],
    current: Current | None,
    since,
    until,
) -> Arrivals:
    """Arrivals by target for a population with any input."""
    n = network.size(population)
    columns: list[tuple[np.ndarray, ...]] = []
    for rank, projection in enumerate(incoming(network, population)):
        columns += columns_of(projection, trains[projection.pre], rank, n)
    if current is not None:
        hi, lo = current.pairs()
        values = current.rows(n, population)
        k = hi.size
        columns.append(
            (np.repeat(np.arange(n), k), np.tile(hi, n), np.tile(lo, n),
             np.full(n * k, CURRENT), values.T.ravel(), np.full(n * k, len(columns)),
             np.zeros(n * k, np.int64))
        )  # fmt: skip
    if not columns:
        empty = np.zeros(0)
        return Arrivals(np.zeros(n + 1, np.int64), empty, empty, np.zeros(0, np.int64), empty)
    target, hi, lo, kind, value, number, position = map(np.concatenate, zip(*columns, strict=True))
    keep = between(hi, lo, since, until)
    order = np.lexsort((position, number, lo, hi, target))
    order = order[keep[order]]
    start = np.concatenate([[0], np.cumsum(np.bincount(target[order], minlength=n))])
    return Arrivals(
        start.astype(np.int64), hi[order], lo[order], kind[order].astype(np.int64), value[order]
    )


def columns_of(projection: Projection, train: Spikes, number: int, n: int):
    """Columns (target, hi, lo, kind, value, projection, position) of one projection."""
    indptr, targets, weight = projection.indptr, projection.targets, projection.weight
    if indptr is None or targets is None:
        indptr = np.arange(projection.weight.shape[0] + 1, dtype=np.int64) * n
        targets = np.tile(np.arange(n, dtype=np.int32), projection.weight.shape[0])
        weight = weight.ravel()
    counts = np.zeros(n, np.int64)
    count_targets(train.units, indptr, targets, counts)
    place = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    total = int(counts.sum())
    spike, synapse = np.empty(total, np.int64), np.empty(total, np.int64)
    deliver(train.units, indptr, targets, place, spike, synapse)
    target = np.repeat(np.arange(n), counts)
    delays, width = projection.delay, projection.pulse_width
    if np.ndim(delays) == 0:
        columns = [(k, hi[spike], lo[spike]) for k, hi, lo in pieces(projection, train)]
    else:
        columns = list(_delayed(train, delays, width, projection.port, spike, synapse))
    return [
        (target, hi, lo, np.full(total, kind), weight[synapse], np.full(total, number), synapse)
        for kind, hi, lo in columns
    ]


def _delayed(train: Spikes, delays, width, port, spike, synapse):
    """Pieces of a projection with one delay per synapse, one entry per arrival."""
    distinct, which = np.unique(delays, return_inverse=True)
    which = which[synapse]
    starts = [(port, ())] if width is None else [(PULSE_ON, ()), (PULSE_OFF, (width,))]
    for kind, extra in starts:
        if distinct.size <= 64 or train.steps is not None:
            hi, lo = np.empty(spike.size), np.empty(spike.size)
            for d, delay in enumerate(distinct):
                mine = which == d
                all_hi, all_lo = later(train, (float(delay), *extra))
                hi[mine], lo[mine] = all_hi[spike[mine]], all_lo[spike[mine]]
        else:
            hi, lo = _add(train.times[spike], train.times_lo[spike], delays[synapse])
            for more in extra:
                hi, lo = _add(hi, lo, more)
        yield kind, hi, lo
