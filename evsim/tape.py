"""Arrivals by target, at eight bytes each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.arrivals import starts_of
from evsim.jit import inline_kernel, kernel
from evsim.order import fetch_all, index

#: Columns of the rows of a tape: time, and as whole numbers, by which feed, and whose spike it is
#: (-1: nobody's).
HI, LO, FEED, SOURCE = range(4)
WORDS = 4


class Feed(NamedTuple):
    """Where arrivals come from: a projection, a current."""

    kind: Any
    delay: Any  # where derivatives by its delays, or by times of steps of a current, begin
    each: Any  # 1: one for each synapse, or value; 0: all share one


class Tape(NamedTuple):
    """Arrivals by target neuron, those of neuron `n` being `start[n]:start[n + 1]`, in order.

    An arrival is one word: its row, which is what one spike or one step of a current causes at one
    time, and its synapse.
    """

    start: Any
    code: Any
    bits: int  # of a code, that hold the row; those above hold the synapse
    time: Any  # `WORDS` of each row, see above, and
    word: Any  # the same memory as whole numbers; spikes are numbered in all of the network
    feed: Feed
    value: Any  # of each synapse; behind them, the values of a current
    driven: int  # whether external currents are among them
    own: Any  # (n + 1,) where the synapses of each neuron lie together begin, and the last ends


@inline_kernel
def row_of(tape, a):
    """The row of arrival `a`."""
    return tape.code[index(a)] & ((1 << tape.bits) - 1)


@inline_kernel
def synapse_of(tape, a):
    """The synapse of arrival `a`."""
    return index(tape.code[index(a)] >> tape.bits)


@inline_kernel
def time_of(tape, a):
    """When arrival `a` comes."""
    k = WORDS * row_of(tape, a)
    return tape.time[index(k + HI)], tape.time[index(k + LO)]


@inline_kernel
def feed_of(tape, a):
    """By which feed arrival `a` comes."""
    return index(tape.word[index(WORDS * row_of(tape, a) + FEED)])


@inline_kernel
def kind_of(tape, a):
    """What arrival `a` is."""
    return tape.feed.kind[feed_of(tape, a)]


@inline_kernel
def source_of(tape, a):
    """The number of the spike that caused arrival `a`."""
    return tape.word[index(WORDS * row_of(tape, a) + SOURCE)]


@inline_kernel
def delay_of(tape, a):
    """Where the derivative by the time of arrival `a` is added."""
    feed = feed_of(tape, a)
    return tape.feed.delay[feed] + tape.feed.each[feed] * np.int64(synapse_of(tape, a))


@inline_kernel
def bring_near(tape, n, first, stop):
    """Have read soon: the arrivals `first` to `stop` of neuron `n`, and the weights there."""
    fetch_all(tape.code, first, stop)
    fetch_all(tape.value, tape.own[n], tape.own[n + 1])


class Links(NamedTuple):
    """The synapses onto a population, projection by projection, and the values of its current."""

    target: Any
    number: Any  # of each in the order of targets: what a neuron hears lies together
    own: Any  # (n + 1,) first number of each target, and the end
    n_synapses: int


class Rows(NamedTuple):
    """Rows of arrivals in order of time; a row is what one spike causes at one time."""

    time: Any  # (rows, 4), see `Tape`
    word: Any
    first: Any  # (rows,) its links
    last: Any  # one behind
    shift: Any  # added to their targets: where the neurons of its sample begin


@kernel
def count(rows, begin, end, target, counts):
    """Count the arrivals by target of the rows from `begin` to `end`."""
    for k in range(begin, end):
        for s in range(rows.first[k], rows.last[k]):
            counts[rows.shift[k] + target[s]] += 1


@kernel
def scatter(rows, begin, end, links, bits, place, code):
    """Write the arrivals of the rows from `begin` to `end` at their targets' next places.

    A few bytes for each, so that the places where lists of many targets grow stay in the cache.
    """
    for k in range(begin, end):
        for s in range(rows.first[k], rows.last[k]):
            n = rows.shift[k] + links.target[s]
            code[place[n]] = k + (np.int64(links.number[s]) << bits)
            place[n] += 1


class Columns(NamedTuple):
    """Arrivals one by one."""

    hi: Any
    lo: Any
    kind: Any
    value: Any
    source: Any
    synapse: Any
    delay: Any


@kernel
def read_events(tape, hi, lo, kind, value):
    """Write out when every arrival comes, and what it is."""
    for a in range(tape.code.size):
        hi[a], lo[a] = time_of(tape, a)
        kind[a], value[a] = kind_of(tape, a), tape.value[synapse_of(tape, a)]


@kernel
def read_causes(tape, source, synapse, delay):
    """Write out whose spike every arrival is, and where its derivatives go."""
    for a in range(tape.code.size):
        source[a], synapse[a] = source_of(tape, a), synapse_of(tape, a)
        delay[a] = delay_of(tape, a)


def events_of(tape: Tape) -> tuple[np.ndarray, ...]:
    """(hi, lo, kind, value) of all arrivals of a tape."""
    size = tape.code.size
    found = np.empty(size), np.empty(size), np.empty(size, np.int64), np.empty(size)
    read_events(tape, *found)
    return found


def columns_of(tape: Tape) -> Columns:
    """All that a tape tells of its arrivals."""
    causes = tuple(np.empty((3, tape.code.size), np.int64))
    read_causes(tape, *causes)
    return Columns(*events_of(tape), *causes)


class Shelf:
    """Memory that tapes use one after another: new pages cost more than what is written to
    them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Give the memory back."""
        self.held = np.empty(0, np.int64)

    def words(self, size: int) -> np.ndarray:
        """So many whole numbers, with whatever is in them."""
        if self.held.size < size:
            self.held = np.empty(size, np.int64)
        return self.held[:size]


def tape_of(rows: Rows, feed: Feed, links: Links, value, n: int, span, shelf: Shelf) -> Tape:
    """The arrivals of the rows `span` by target; a tape of the same shelf before is overwritten.

    `value`: by number of the link.
    """
    begin, end = map(np.int64, span)
    counts = np.zeros(n, np.int64)
    count(rows, begin, end, links.target, counts)
    start, bits = starts_of(counts), max(1, rows.first.size.bit_length())
    code = shelf.words(int(start[-1]))
    scatter(rows, begin, end, links, bits, start[:-1].copy(), code)
    driven = int(np.any(feed.kind < 0))
    return Tape(
        start, code, bits, rows.time.ravel(), rows.word.ravel(), feed, value, driven, links.own
    )
