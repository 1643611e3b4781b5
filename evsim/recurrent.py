"""Runs a group of populations that influence one another."""

from __future__ import annotations

import numpy as np

from evsim.delivery import in_arrays
from evsim.fibres import Part
from evsim.flight import more_chunks, new_flight, slot_of
from evsim.gather import FLIGHT, LISTS, TABLE, Deliveries, Lists, Progress
from evsim.group import Group, external_of, group_of, largest_delay, smallest_delay
from evsim.models import verbs
from evsim.neuron import DONE, FULL, more_room, new_books, new_log, new_place
from evsim.outcome import doubts_of, runaway, spikes_of
from evsim.windows import Block, run_windows

#: Windows are shorter than the smallest delay by so much that no rounding lets a spike act
#: in its own window.
SHORTER = 1.0 - 1e-7
#: Slots of the ring, at most: more would mean delays of very different sizes.
MOST_SLOTS = 2**22


def blocks_of(network, group: Group, arrays, starts, room: int) -> tuple[Block, ...]:
    """The populations of a group as blocks of neurons, with room for so many arrivals."""
    blocks = []
    for name in group.names:
        n = network.size(name)
        p = network.populations[name].model.compile(n, arrays[name])
        state = tuple(values.copy() for values in starts[name])
        blocks.append(Block(p, state, new_books(n), group.first[name], _table(p, room)))
    return tuple(blocks)


def _table(p, room: int):
    return tuple(np.empty(room) for _ in verbs.prepare(p, 0.0))


def _deliveries(room: int) -> Deliveries:
    hi, lo = np.empty((2, room))
    kind, number, key, order, spare = np.empty((5, room), np.int64)
    return Deliveries(hi, lo, kind, number, key, order, spare)


def _lists(n: int, room: int) -> Lists:
    return Lists(
        np.zeros(n + 1, np.int64), np.zeros(n, np.int64), np.empty((room, 2)), np.empty(room)
    )


def _progress(n: int) -> Progress:
    one, two = (1, np.int64), (2, np.int64)
    return Progress(
        np.zeros(*one), np.zeros(*one), np.zeros(*two), np.zeros(3, np.int64), np.zeros(*two),
        np.zeros(*one), np.zeros(*two), np.zeros(n),
    )  # fmt: skip


def _slots(longest: float, width: float) -> int:
    needed = 4 if longest == 0.0 else int(longest / width) + 4
    return 1 << (needed - 1).bit_length()


class Windows:
    """A run of a group by windows of its smallest delay."""

    def __init__(self, network, group, arrays, starts, trains, currents, until, first):
        n = group.n
        smallest = smallest_delay(group)
        self.width = SHORTER * smallest if np.isfinite(smallest) else max(until, 1e-300) / 8
        self.group, self.until, self.first = group, until, first
        self.blocks = blocks_of(network, group, arrays, starts, 1024)
        bounds = group.fibres.start
        self.part = Part(np.array([0]), np.array([n]), bounds[:-1].copy(), bounds[1:].copy())
        self.external = external_of(network, group, trains, currents, None, until)
        self.flight = new_flight(_slots(largest_delay(group), self.width))
        self.deliveries, self.lists = _deliveries(256), _lists(n, 1024)
        self.progress, self.place = _progress(n), new_place()
        self.spikes, self.doubts = new_log(max(256, n)), new_log(64)

    def run(self) -> int:
        """To the end; a status."""
        last = slot_of(self.until, 0.0, self.width)
        while True:
            status = run_windows(
                self.blocks, self.group.fibres, self.part, self.flight, self.external,
                self.deliveries, self.lists, self.width, (self.until, 0.0), last, self.first,
                self.progress, self.place, self.spikes, self.doubts,
            )  # fmt: skip
            if status != FULL:
                return status
            self._grow(*self.progress.waits)

    def time_of(self, place: int) -> float:
        """Time of the last own event of a neuron."""
        block = next(b for b in reversed(self.blocks) if b.first <= place)
        return float(block.books.hi[place - block.first])

    def _grow(self, what, amount):
        room = int(amount) * 5 // 4 + 64
        if what == TABLE:
            grown = _deliveries(max(room, self.deliveries.hi.size))
            for new, old in zip(grown, self.deliveries, strict=True):
                new[: old.size] = old
            self.deliveries = grown
        elif what == LISTS:
            self.lists = _lists(self.group.n, room)
            self.blocks = tuple(b._replace(table=_table(b.p, room)) for b in self.blocks)
        elif what == FLIGHT:
            self.flight = more_chunks(self.flight, int(amount))
        else:
            self.spikes, self.doubts = more_room(self.spikes), more_room(self.doubts)


def run_group(network, names, trains, currents, until, starts, tie, path):
    """Spikes by population, and doubts, of populations whose other sources have been run."""
    group = group_of(network, names)
    currents = {name: currents.get(name) for name in names}
    arrays = {name: in_arrays(network, name, currents[name]) for name in names}
    first = tie == "arrival_first"
    run = Windows(network, group, arrays, starts, trains, currents, until, first)
    status = run.run()
    sizes = {name: network.size(name) for name in names}
    if status != DONE:
        place = int(run.place.neuron[0])
        name = next(x for x in names if 0 <= place - group.first[x] < sizes[x])
        raise runaway(name, place - group.first[name], run.time_of(place))
    spikes = {name: spikes_of(run.spikes, group.first[name], sizes[name]) for name in names}
    doubts = [doubts_of(run.doubts, name, group.first[name], sizes[name]) for name in names]
    return spikes, [doubt for part in doubts for doubt in part]
