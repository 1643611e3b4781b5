"""What reaches a population in a run, as a record tells it: whose spikes, when, and where."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.arrivals import delayed, rows_of
from evsim.delivery import Current, between, incoming, pieces
from evsim.jit import kernel
from evsim.lists import count_targets, deliver
from evsim.network import Network
from evsim.neuron import CURRENT
from evsim.replay import Train
from evsim.spikes import Spikes
from evsim.tape import FEED, HI, LO, SOURCE, Feed, Links, Rows, starts_of

#: Arrivals that are laid out at a time, at eight bytes each; longer runs are cut into parts.
ROOM = 1 << 25


@kernel
def places(keys, place, number):
    """Where every item goes when all are sorted by key, stably; `place`: first of each key."""
    for k in range(keys.size):
        number[k] = place[keys[k]]
        place[keys[k]] += 1


def sorted_places(keys: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(first of each of `n` keys and the end, where every item goes), sorted by key, stably."""
    starts, number = starts_of(np.bincount(keys, minlength=n)), np.empty(keys.size, np.int64)
    places(keys, starts[:-1].copy(), number)
    return starts, number


def links_of(network: Network, population: str) -> Links:
    """The synapses onto a population."""
    n = network.size(population)
    targets = [rows_of(projection, n)[1] for projection in incoming(network, population)]
    target = targets[0] if len(targets) == 1 else np.concatenate([np.zeros(0, np.int32), *targets])
    own, number = sorted_places(target, n)
    return Links(target, number, own, target.size)


def with_current(links: Links, steps: int, n: int) -> Links:
    """With the values of a current of so many steps behind the synapses."""
    target = np.concatenate([links.target, np.tile(np.arange(n, dtype=np.int32), steps)])
    number = np.concatenate([links.number, np.arange(links.n_synapses, target.size)])
    return Links(target, number, links.own, links.n_synapses)


class Sent(NamedTuple):
    """Rows of one kind: what a projection, or a current, makes of spikes or steps."""

    kind: int
    delay: int  # where derivatives by its delays, or by times of steps, begin
    each: int  # 1: one for each synapse, or value; 0: all share one
    hi: np.ndarray
    lo: np.ndarray
    source: np.ndarray
    first: np.ndarray
    last: np.ndarray
    shift: np.ndarray | int = 0  # added to the targets


def sent_to(
    network: Network,
    population: str,
    trains: dict[str, Spikes],
    bases: dict[str, int],
    current: Current | None,
) -> list[Sent]:
    """Everything that reaches a population, in the order in which it acts at one time.

    `bases`: numbers of the first spike of every source among all of the network.
    """
    found: list[Sent] = []
    offset, n, projections = 0, network.size(population), incoming(network, population)
    for rank, projection in enumerate(projections):
        train, base = trains[projection.pre], bases[projection.pre]
        indptr, targets, weight = rows_of(projection, n)
        if np.ndim(projection.delay) == 0:
            source, row = base + np.arange(len(train)), indptr[train.units] + offset
            last = indptr[train.units + 1] + offset
            for kind, hi, lo in pieces(projection, train):
                found.append(Sent(kind, rank, 0, hi, lo, source, row, last))
        else:
            spike, synapse = _one_by_one(train, indptr, targets, n)
            own = len(projections)
            for kind, hi, lo in delayed(train, projection.delay[synapse], projection, spike):
                row = synapse + offset
                found.append(Sent(kind, own, 1, hi, lo, base + spike, row, row + 1))
        offset += weight.size
    if current is not None:
        hi, lo = current.pairs()
        first = offset + np.arange(hi.size) * n
        found.append(Sent(CURRENT, -offset, 1, hi, lo, np.full(hi.size, -1), first, first + n))
    return found


def _one_by_one(train: Spikes, indptr, targets, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(spike, synapse) of every arrival, by target."""
    counts = np.zeros(n, np.int64)
    count_targets(train.units, indptr, targets, counts)
    spike, synapse = np.empty((2, int(counts.sum())), np.int64)
    deliver(train.units, indptr, targets, starts_of(counts)[:-1].copy(), spike, synapse)
    return spike, synapse


def rows_in_time(sent: list[Sent]) -> tuple[Rows, Feed]:
    """All rows by sample, in order of time; those at one time in the order given."""
    none = np.zeros(0, np.int64)
    sent = sent or [Sent(0, 0, 0, np.zeros(0), np.zeros(0), none, none, none)]
    sizes = [one.hi.size for one in sent]
    hi, lo, source, first, last = (
        np.concatenate([getattr(one, name) for one in sent])
        for name in ("hi", "lo", "source", "first", "last")
    )
    shift = np.concatenate([np.broadcast_to(one.shift, one.hi.size) for one in sent])
    feed = np.repeat(np.arange(len(sent)), sizes)
    order: Any = slice(None)
    if not _ascending(shift, hi, lo):
        order = np.lexsort((lo, hi, shift))
    time = np.empty((hi.size, 4))
    word = time.view(np.int64)
    time[:, HI], time[:, LO] = hi[order], lo[order]
    word[:, FEED], word[:, SOURCE] = feed[order], source[order]
    kinds = (np.array([one[k] for one in sent], np.int64) for k in range(3))
    return Rows(time, word, first[order], last[order], shift[order]), Feed(*kinds)


def _ascending(*columns: np.ndarray) -> bool:
    """Whether entries are in order by the first of these columns, then the next."""
    tied, ordered = np.ones(max(0, columns[0].size - 1), bool), True
    for column in columns:
        ordered = ordered and not np.any(tied & (column[1:] < column[:-1]))
        tied &= column[1:] == column[:-1]
    return bool(ordered)


def parts_of(rows: list[Rows], until: float, room: int = ROOM) -> list[float]:
    """Ends of the parts into which a run is cut, so that each has up to `room` arrivals.

    All arrivals at one time are in one part, however many there are.
    """
    hi = np.concatenate([table.time[:, HI] for table in rows])
    sizes = np.concatenate([table.last - table.first for table in rows])
    if sizes.sum() <= room:
        return [until]
    order = np.argsort(hi, kind="stable")
    total = np.cumsum(sizes[order])
    cuts = np.searchsorted(total, np.arange(room, total[-1], room))
    ends = np.unique(hi[order[cuts[cuts < hi.size]]])
    return [float(t) for t in ends if t < until] + [until]


def span_of(rows: Rows, since: float | None, until: float) -> tuple[int, int]:
    """The rows after `since` (if given) and up to `until`."""
    inside = np.flatnonzero(between(rows.time[:, HI], rows.time[:, LO], since, until))
    return (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)


def train_of(spikes: Spikes, n: int, base: int) -> Train:
    """The spikes of a population by neuron."""
    first, place = sorted_places(spikes.units, n)
    order = np.empty(place.size, np.int64)
    order[place] = np.arange(place.size)
    return Train(
        first, spikes.times[order], spikes.times_lo[order], spikes.units[order],
        base + order, first[:-1].copy(),
    )  # fmt: skip
