"""What a record tells about every neuron's past: arrivals, whose spikes they are, own spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from evsim.arrivals import delayed, rows_of
from evsim.delivery import Current, between, incoming, pieces
from evsim.jit import kernel
from evsim.lists import count_targets, deliver
from evsim.network import Network, Projection
from evsim.neuron import CURRENT
from evsim.replay import Tape, Train
from evsim.spikes import Spikes

#: Arrivals that are laid out at a time; longer runs are cut into parts.
ROOM = 1 << 21


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
    offset: int  # of its first synapse among those onto the population; 0 for currents
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


class Sent(NamedTuple):
    """What arrivals of one row have in common."""

    hi: Any
    lo: Any
    kind: Any
    number: Any


class Cells(NamedTuple):
    """Arrivals by target, as they are scattered: few bytes each, so that the places where lists
    of many targets grow stay in the cache. Two views of one memory."""

    value: Any  # (arrivals, 2): the value, and the other view's
    code: Any  # (arrivals, 2): the other view's, and row and synapse in one word


#: Bits of a code that hold the row; those above hold the synapse.
ROW_BITS = 32


@kernel
def scatter(units, indptr, targets, weight, row, offset, place, cells):
    """Write the arrivals that these units cause, from number `row` on, at their targets' places."""
    for k in range(units.size):
        word = row + k
        for s in range(indptr[units[k]], indptr[units[k] + 1]):
            m = place[targets[s]]
            place[targets[s]] = m + 1
            cells.value[m, 0], cells.code[m, 1] = weight[s], word + ((offset + s) << ROW_BITS)


@kernel
def spread(cells, sent, tape):
    """Write out the arrivals of `cells` in columns."""
    for m in range(tape.hi.size):
        code = cells.code[m, 1]
        k = code & ((1 << ROW_BITS) - 1)
        tape.hi[m], tape.lo[m], tape.kind[m] = sent.hi[k], sent.lo[k], sent.kind[k]
        tape.value[m], tape.source[m] = cells.value[m, 0], sent.number[k]
        tape.synapse[m] = code >> ROW_BITS


class Shelf:
    """Memory that the parts of a run use one after another: new pages cost more than what is
    written to them."""

    def __init__(self) -> None:
        self.held: dict[str, np.ndarray] = {}

    def array(self, name: str, size: int, dtype: type = float) -> np.ndarray:
        """An array of that size, with whatever is in it."""
        if name not in self.held or self.held[name].size < size:
            self.held[name] = np.empty(size, dtype)
        return self.held[name][:size]


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
            Feed(CURRENT, hi, lo, np.arange(hi.size), -1, indptr, targets, values.ravel(), 0)
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


def tape_of(
    feeds: list[Feed], n: int, since: float | None, until: float, shelf: Shelf | None = None
) -> Tape:
    """The arrivals after `since` and up to `until`, by target; those of the same shelf before are
    overwritten."""
    shelf = Shelf() if shelf is None else shelf
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
    place = start[:-1].copy()
    memory = shelf.array("cells", 2 * int(start[-1])).reshape(-1, 2)
    cells, row, sent = Cells(memory, memory.view(np.int64)), 0, [_sent(0, [], [], -1, [])]
    for feed, (first, last) in zip(feeds, ranges, strict=True):
        rows = slice(first, last)
        if feed.singles is None:
            numbers = feed.base + np.arange(first, last) if feed.base >= 0 else -1
            scatter(
                feed.units[rows], feed.indptr, feed.targets, feed.weight, np.int64(row),
                np.int64(feed.offset), place, cells,
            )  # fmt: skip
        else:
            numbers = feed.base + feed.singles[0][rows]
            _scatter_singles(feed, rows, row, place, cells)
        sent.append(_sent(last - first, feed.hi[rows], feed.lo[rows], feed.kind, numbers))
        row += last - first
    tape = blank(start, int(any(feed.kind < 0 for feed in feeds)), shelf)
    spread(cells, Sent(*map(np.concatenate, zip(*sent, strict=True))), tape)
    return tape if sum(last > first for first, last in ranges) < 2 else in_order(tape)


def _sent(size: int, hi, lo, kind, numbers) -> Sent:
    """The rows of one feed."""
    both = np.full(size, kind), np.broadcast_to(np.asarray(numbers, np.int64), (size,))
    return Sent(np.asarray(hi, float), np.asarray(lo, float), both[0].astype(np.int64), both[1])


def blank(start: np.ndarray, driven: int, shelf: Shelf | None = None) -> Tape:
    """A tape with room for `start[-1]` arrivals."""
    shelf, size = Shelf() if shelf is None else shelf, int(start[-1])
    hi, lo, value = (shelf.array(name, size) for name in ("hi", "lo", "value"))
    kind, source, synapse = (
        shelf.array(name, size, np.int64) for name in ("kind", "source", "synapse")
    )
    return Tape(start, hi, lo, kind, value, source, synapse, driven)


def _scatter_singles(feed: Feed, rows: slice, row: int, place, cells: Cells) -> None:
    """As `scatter`, for arrivals that come one by one."""
    _, synapse, target = (column[rows] for column in feed.singles)
    by_target = np.argsort(target, kind="stable")
    counts = np.bincount(target, minlength=place.size)
    within = np.arange(target.size) - np.repeat(np.cumsum(counts) - counts, counts)
    where = np.repeat(place, counts) + within
    cells.value[where, 0] = feed.weight[synapse[by_target]]
    cells.code[where, 1] = row + by_target + ((feed.offset + synapse[by_target]) << ROW_BITS)
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
