"""What reaches a population in a run, as a record tells it: whose spikes, when, and where."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from evsim.arrivals import delayed, rows_of, starts_of
from evsim.delivery import Current, between, incoming, pieces
from evsim.flight import later
from evsim.jit import kernel
from evsim.network import Network
from evsim.neuron import CURRENT, PULSE_OFF, PULSE_ON
from evsim.numerics import not_before
from evsim.order import sort_by_time
from evsim.replay import Train
from evsim.spikes import Spikes
from evsim.tape import (
    FEED,
    HI,
    LO,
    SOURCE,
    Feed,
    Links,
    Rows,
    Tape,
    feed_of,
    source_of,
    synapse_of,
    time_of,
)

#: Arrivals that are laid out at a time, at eight bytes each; longer runs are cut into parts.
ROOM = 1 << 25


@kernel
def sort_keys(keys, place, number):
    """Where every item goes when all are sorted by key, stably; `place`: first of each key."""
    for k in range(keys.size):
        number[k] = place[keys[k]]
        place[keys[k]] += 1


def sorted_places(keys: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(first of each of `n` keys and the end, where every item goes), sorted by key, stably."""
    starts, number = starts_of(np.bincount(keys, minlength=n)), np.empty(keys.size, np.int64)
    sort_keys(keys, starts[:-1].copy(), number)
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
    #: how much later than the delay of its own synapse each comes, a pulse's width at its end; -1:
    #: all of a row come at its time
    lag: float = -1.0
    #: when they come by such synapses, of the spikes `source` and delays, where on a grid
    on_grid: Callable | None = None


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
        indptr, _, weight = rows_of(projection, n)
        source, first = base + np.arange(len(train)), indptr[train.units] + offset
        rows = source, first, indptr[train.units + 1] + offset
        if np.ndim(projection.delay) == 0:
            for kind, hi, lo in pieces(projection, train):
                found.append(Sent(kind, rank, 0, hi, lo, *rows))
        else:
            own, width = len(projections), projection.pulse_width
            kinds = (
                [(projection.port, 0.0)] if width is None else [(PULSE_ON, 0.0), (PULSE_OFF, width)]
            )
            for piece, (kind, lag) in enumerate(kinds):
                grid = (
                    None
                    if train.steps is None
                    else partial(_on_grid, train, projection, base, piece)
                )
                found.append(
                    Sent(kind, own, 1, train.times, train.times_lo, *rows, lag=lag, on_grid=grid)
                )
        offset += weight.size
    if current is not None:
        hi, lo = current.pairs()
        first = offset + np.arange(hi.size) * n
        found.append(Sent(CURRENT, -offset, 1, hi, lo, np.full(hi.size, -1), first, first + n))
    return found


def _on_grid(train: Spikes, projection, base: int, piece: int, source, delay):
    """When the spikes `source` of a train on a grid arrive with these delays."""
    return delayed(train, delay, projection, source - base)[piece][1:]


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


#: What an arrival takes that has a row of its own, in arrivals that do not.
DEARER = 5


def parts_of(rows: list[tuple[Rows, bool]], until: float, room: int = ROOM) -> list[float]:
    """Ends of the parts into which a run is cut, so that each has about `room` arrivals.

    All arrivals at one time are in one part, however many there are. `rows` come with whether
    `in_order` will have to order them.
    """
    hi = np.concatenate([table.time[:, HI] for table, _ in rows])
    sizes = np.concatenate(
        [(table.last - table.first) * (DEARER if apart else 1) for table, apart in rows]
    )
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


@kernel
def spread(tape, lag, delay, time, word):
    """A line for every arrival, like a row of its own, with the delay of its synapse added."""
    for a in range(tape.code.size):
        feed, (hi, lo) = feed_of(tape, a), time_of(tape, a)
        if lag[feed] >= 0.0:
            hi, lo = later(hi, lo, delay[synapse_of(tape, a)], lag[feed])
        time[a, HI], time[a, LO] = hi, lo
        word[a, FEED], word[a, SOURCE] = feed, source_of(tape, a)


class Desk(NamedTuple):
    """Room for the arrivals of any one neuron."""

    order: Any
    spare: Any
    line: Any  # (arrivals, 4)
    synapse: Any


@kernel
def sort_lists(tape, time, word, since, until, start, bits, desk):
    """Sort the lines of every target by time, and leave out those that are not after `since` and
    up to `until`; `start` is where they then begin, `bits` what then hold the row."""
    end = 0
    for n in range(start.size - 1):
        start[n], m = end, 0
        for a in range(tape.start[n], tape.start[n + 1]):
            hi, lo = time[a, HI], time[a, LO]
            if not_before(until, 0.0, hi, lo) and not not_before(since, 0.0, hi, lo):
                desk.order[m] = a
                m += 1
        sort_by_time(time, word, m, desk.order, desk.spare)
        for k in range(m):
            a = desk.order[k]
            desk.synapse[k] = synapse_of(tape, a)
            for j in range(4):
                desk.line[k, j] = word[a, j]
        for k in range(m):
            tape.code[end] = end | (desk.synapse[k] << bits)
            for j in range(4):
                word[end, j] = desk.line[k, j]
            end += 1
    start[-1] = end


def in_order(tape: Tape, sent: list[Sent], delay: np.ndarray, since, until: float) -> Tape:
    """The arrivals after `since` (if given) and up to `until`, each with a row of its own.

    `tape` has those by synapses with delays of their own at the times of their spikes, and is
    overwritten; `delay` has these by number.
    """
    size, start = tape.code.size, np.zeros_like(tape.start)
    time = np.empty((size, 4))
    word = time.view(np.int64)
    spread(tape, np.array([one.lag for one in sent]), delay, time, word)
    for k, one in enumerate(sent):
        if one.on_grid is not None:
            mine = np.flatnonzero(word[:, FEED] == k)
            own = delay[tape.code[mine] >> tape.bits]
            time[mine, HI], time[mine, LO] = one.on_grid(word[mine, SOURCE], own)
    most, bits = int(np.diff(tape.start).max(initial=0)), max(1, size.bit_length())
    order, spare, synapse = np.empty((3, most), np.int64)
    desk = Desk(order, spare, np.empty((most, 4), np.int64), synapse)
    after = -np.inf if since is None else since
    sort_lists(tape, time, word, after, until, start, bits, desk)
    code = tape.code[: start[-1]]
    return tape._replace(start=start, code=code, bits=bits, time=time.ravel(), word=word.ravel())


def train_of(spikes: Spikes, n: int, base: int) -> Train:
    """The spikes of a population by neuron."""
    first, place = sorted_places(spikes.units, n)
    order = np.empty(place.size, np.int64)
    order[place] = np.arange(place.size)
    return Train(
        first, spikes.times[order], spikes.times_lo[order], spikes.units[order],
        base + order, first[:-1].copy(),
    )  # fmt: skip
