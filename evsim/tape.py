"""What a record tells about every neuron's past: arrivals, whose spikes they are, own spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from evsim.adjoint import Tape, Train
from evsim.arrivals import delayed, rows_of
from evsim.delivery import Current, between, incoming, pieces
from evsim.jit import kernel
from evsim.lists import count_targets, deliver
from evsim.network import Network, Projection
from evsim.neuron import CURRENT
from evsim.spikes import Spikes

#: Arrivals that are laid out at a time; longer runs are cut into parts.
ROOM = 1 << 22


@dataclass(frozen=True)
class Feed:
    """Rows of arrivals with one delay, in order of time: row `k` is that of source `units[k]`."""

    kind: int
    hi: np.ndarray
    lo: np.ndarray
    units: np.ndarray
    base: int  # number of the first spike among all of the network, or -1
    indptr: np.ndarray
    targets: np.ndarray
    weight: np.ndarray
    offset: int  # of its first synapse among those onto the population
    singles: Any = None  # (spike, synapse, target) of arrivals that come one by one

    def counts(self) -> np.ndarray:
        """Arrivals per row."""
        if self.singles is not None:
            return np.ones(self.hi.size, np.int64)
        return np.diff(self.indptr)[self.units]


class Senders(NamedTuple):
    """Spikes that cause rows of arrivals, in order of time."""

    hi: Any
    lo: Any
    row: Any  # of the weights
    shift: Any  # added to the targets of the row: where the neurons of its sample begin
    number: Any  # of the spike among all of the network, or -1


@kernel
def lay(senders, indptr, targets, weight, kind, offset, place, tape):
    """Write the arrivals that these spikes cause at their targets' next places."""
    for k in range(senders.hi.size):
        hi, lo, shift = senders.hi[k], senders.lo[k], senders.shift[k]
        row, number = senders.row[k], senders.number[k]
        for s in range(indptr[row], indptr[row + 1]):
            m = place[shift + targets[s]]
            place[shift + targets[s]] = m + 1
            tape.hi[m], tape.lo[m], tape.kind[m], tape.value[m] = hi, lo, kind, weight[s]
            tape.source[m], tape.synapse[m] = number, offset + s


def feeds_of(
    network: Network,
    population: str,
    trains: dict[str, Spikes],
    bases: dict[str, int],
    current: Current | None,
) -> list[Feed]:
    """Everything that reaches a population, in the order in which it acts at one time."""
    found: list[Feed] = []
    offset, n = 0, network.size(population)
    for projection in incoming(network, population):
        train, base = trains[projection.pre], bases[projection.pre]
        indptr, targets, weight = rows = rows_of(projection, n)
        if np.ndim(projection.delay) == 0:
            for kind, hi, lo in pieces(projection, train):
                found.append(Feed(kind, hi, lo, train.units, base, indptr, targets, weight, offset))
        else:
            found += _one_by_one(projection, train, base, rows, offset, n)
        offset += weight.size
    if current is not None:
        hi, lo = current.pairs()
        values = current.rows(n, population)
        targets = np.tile(np.arange(n, dtype=np.int32), hi.size)
        indptr = np.arange(hi.size + 1, dtype=np.int64) * n
        found.append(
            Feed(CURRENT, hi, lo, np.arange(hi.size), -1, indptr, targets, values.ravel(), -1)
        )
    return found


def _one_by_one(projection: Projection, train: Spikes, base, rows, offset, n):
    """Feeds of a projection with one delay per synapse, sorted by time of arrival."""
    indptr, targets, weight = rows
    counts = np.zeros(n, np.int64)
    count_targets(train.units, indptr, targets, counts)
    place = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    spike, synapse = np.empty(int(counts.sum()), np.int64), np.empty(int(counts.sum()), np.int64)
    deliver(train.units, indptr, targets, place, spike, synapse)
    for kind, hi, lo in delayed(train, projection.delay[synapse], projection, spike):
        order = np.lexsort((lo, hi))
        singles = spike[order], synapse[order], targets[synapse[order]]
        yield Feed(
            kind, hi[order], lo[order], singles[0], base, indptr, targets, weight, offset, singles
        )


def parts_of(feeds: list[list[Feed]], until: float, room: int = ROOM) -> list[float]:
    """Ends of the parts into which a run is cut, so that each has up to `room` arrivals.

    All arrivals at one time are in one part, however many there are.
    """
    every = [feed for group in feeds for feed in group if feed.hi.size]
    if not every:
        return [until]
    hi = np.concatenate([feed.hi for feed in every])
    order = np.argsort(hi, kind="stable")
    total = np.cumsum(np.concatenate([feed.counts() for feed in every])[order])
    cuts = np.searchsorted(total, np.arange(room, total[-1], room))
    ends = np.unique(hi[order[cuts[cuts < hi.size]]])
    return [float(t) for t in ends if t < until] + [until]


def tape_of(feeds: list[Feed], n: int, since: float | None, until: float) -> Tape:
    """The arrivals after `since` and up to `until`, by target."""
    ranges = []
    counts = np.zeros(n, np.int64)
    for feed in feeds:
        inside = np.flatnonzero(between(feed.hi, feed.lo, since, until))
        first, last = (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)
        ranges.append((first, last))
        if feed.singles is None:
            count_targets(feed.units[first:last], feed.indptr, feed.targets, counts)
        else:
            counts += np.bincount(feed.singles[2][first:last], minlength=n)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    tape = blank(start, int(any(feed.kind < 0 for feed in feeds)))
    place = start[:-1].copy()
    for feed, (first, last) in zip(feeds, ranges, strict=True):
        if feed.singles is None:
            number = (
                feed.base + np.arange(first, last) if feed.base >= 0 else np.full(last - first, -1)
            )
            rows = slice(first, last)
            senders = Senders(
                feed.hi[rows], feed.lo[rows], feed.units[rows], np.zeros(last - first, np.int64),
                number,
            )  # fmt: skip
            lay(senders, feed.indptr, feed.targets, feed.weight, np.int64(feed.kind),
                np.int64(feed.offset), place, tape)  # fmt: skip
        else:
            _lay_singles(feed, first, last, place, tape)
    return in_order(tape)


def blank(start: np.ndarray, driven: int) -> Tape:
    """A tape with room for `start[-1]` arrivals."""
    size = int(start[-1])
    return Tape(
        start, np.empty(size), np.empty(size), np.empty(size, np.int64), np.empty(size),
        np.empty(size, np.int64), np.empty(size, np.int64), driven,
    )  # fmt: skip


def _lay_singles(feed: Feed, first: int, last: int, place, tape: Tape) -> None:
    """As `lay`, for arrivals that come one by one."""
    spike, synapse, target = (column[first:last] for column in feed.singles)
    by_target = np.argsort(target, kind="stable")
    counts = np.bincount(target, minlength=place.size)
    within = np.arange(target.size) - np.repeat(np.cumsum(counts) - counts, counts)
    where = np.repeat(place, counts) + within
    tape.hi[where], tape.lo[where] = feed.hi[first:last][by_target], feed.lo[first:last][by_target]
    tape.kind[where], tape.value[where] = feed.kind, feed.weight[synapse[by_target]]
    tape.source[where] = feed.base + spike[by_target]
    tape.synapse[where] = feed.offset + synapse[by_target]
    place += counts


def in_order(tape: Tape) -> Tape:
    """Every target's arrivals in time; those at one time stay in their order."""
    target = np.repeat(np.arange(tape.start.size - 1), np.diff(tape.start))
    hi, lo = tape.hi, tape.lo
    in_order = (hi[1:] > hi[:-1]) | ((hi[1:] == hi[:-1]) & (lo[1:] >= lo[:-1]))
    if np.all(in_order | (target[1:] != target[:-1])):
        return tape
    order = np.lexsort((lo, hi, target))
    return tape._replace(
        hi=hi[order], lo=lo[order], kind=tape.kind[order], value=tape.value[order],
        source=tape.source[order], synapse=tape.synapse[order],
    )  # fmt: skip


def train_of(spikes: Spikes, n: int, base: int) -> Train:
    """The spikes of a population by neuron."""
    order = np.argsort(spikes.units, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(spikes.units, minlength=n))])
    first = first.astype(np.int64)
    return Train(
        first, spikes.times[order], spikes.times_lo[order], spikes.units[order],
        base + order.astype(np.int64), first[:-1].copy(),
    )  # fmt: skip
