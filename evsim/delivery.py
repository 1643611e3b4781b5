"""From spikes to arrivals: times with delays, in the order in which they act."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

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
            k = whole_steps(delay, spikes.dt)
            if k is not None:
                steps = steps + k
                hi, lo = grid_times(steps, spikes.dt)
                continue
            steps = None
        if delay != 0.0:
            hi, lo = add_delay(hi, lo, delay)
    return hi, lo


def whole_steps(delay: float, dt: Fraction) -> int | None:
    """How many steps a delay has, if it is a multiple of one or the double nearest to that."""
    k = round(Fraction(delay) / dt)
    return k if float(k * dt) == delay else None


def add_delay(hi, lo, delay):
    """(hi, lo) + delay, renormalised."""
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
