"""Runs a group of populations that influence one another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import numpy as np

from evsim.delivery import in_arrays
from evsim.fibres import Part
from evsim.flight import more_chunks, new_flight, slot_of
from evsim.gather import LISTS, TABLE, Deliveries, Lists, Progress
from evsim.group import Group, Outside, group_of, largest_delay
from evsim.heap import more_heap, new_heap
from evsim.instants import (
    ASTRAY,
    EMPTY,
    GOING,
    Ahead,
    open_slice,
    run_instants,
    start_instants,
)
from evsim.models import verbs
from evsim.models.base import is_policy
from evsim.neuron import DONE, FULL, Books, finish, more_room, new_flags, new_log, new_place
from evsim.outcome import doubts_of, runaway, spikes_of
from evsim.short import short_synapses
from evsim.start import Job, Snapshot, drive_again, held
from evsim.windows import Block, advance_block, advance_late, open_window, span_of

#: Windows are shorter than the smallest delay by so much that no rounding lets a spike act
#: in its own window.
SHORTER = 1.0 - 1e-7
#: Slots of the ring, at most: for delays of still more different sizes the queue is better.
MOST_SLOTS = 2**22


def blocks_of(job: Job, group: Group, room: int) -> tuple[Block, ...]:
    """The populations of a group as blocks of neurons, with room for so many arrivals.

    Neighbours of one kernel class and policy share a block.
    """
    runs: list[list[str]] = []
    for name in group.names:
        if runs and alike(job.network, runs[-1][0], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    arrays = {name: in_arrays(job.network, name, job.inputs.get(name)) for name in group.names}
    blocks = []
    for names in runs:
        p = held(parameters(job.network, names, arrays), job.hold)
        states, all_books = zip(*(job.starts[name] for name in names), strict=True)
        state = tuple(map(np.concatenate, zip(*states, strict=True)))
        books = joint_books(all_books)
        drive_again(p, state, books)
        blocks.append(Block(p, state, books, group.first[names[0]], _table(p, room)))
    return tuple(blocks)


def joint_books(parts) -> Books:
    """Books of several populations as one."""
    n = sum(books.current.size for books in parts)
    busy = new_flags(n)
    busy[:n] = np.concatenate([books.busy[: books.current.size] for books in parts])
    columns = [np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)]
    return Books(*columns)._replace(busy=busy)


def snapshot_of(blocks: tuple[Block, ...], first: int, n: int) -> Snapshot:
    """A population of `n` neurons from place `first` on, at its last own events."""
    block = next(b for b in reversed(blocks) if b.first <= first)
    mine = slice(first - block.first, first - block.first + n)
    books = Books(*(values[..., mine].copy() for values in block.books))
    busy = new_flags(n)
    busy[:n] = block.books.busy[mine]
    return Snapshot(tuple(v[mine].copy() for v in block.state), books._replace(busy=busy))


def alike(network, a: str, b: str) -> bool:
    """Whether two populations can be in one block: their kernels differ in numbers only."""
    one, other = (network.populations[name].model.compile(1, False) for name in (a, b))
    return type(one) is type(other) and all(
        value == its if is_policy(value) else not isinstance(value, tuple) or len(value) == len(its)
        for value, its in zip(one, other, strict=True)
    )


def parameters(network, names: list[str], arrays):
    """Kernel parameters of several populations: scalars if all agree in them."""
    models = [network.populations[name].model for name in names]
    if not any(arrays[name] for name in names):
        scalars = [model.compile(1, False) for model in models]
        if all(p == scalars[0] for p in scalars):
            return scalars[0]
    parts = [
        model.compile(network.size(name), True) for name, model in zip(names, models, strict=True)
    ]
    return type(parts[0])(*map(_together, zip(*parts, strict=True)))


def _together(values):
    if isinstance(values[0], tuple):
        return tuple(map(_together, zip(*values, strict=True)))
    return values[0] if is_policy(values[0]) else np.concatenate(values)


def _table(p, room: int):
    return tuple(np.empty(room) for _ in verbs.interval(verbs.pick(p, 0), 0.0))


def _with_table(block: Block, room: int) -> Block:
    """The same block with room for more arrivals."""
    table = _table(block.p, room)
    for new, old in zip(table, block.table, strict=True):
        new[: old.size] = old
    return block._replace(table=table)


def _deliveries(room: int) -> Deliveries:
    hi, lo = np.empty((2, room))
    kind, number, key, order, spare = np.empty((5, room), np.int64)
    return Deliveries(hi, lo, kind, number, key, order, spare)


def _lists(n: int, room: int) -> Lists:
    return Lists(
        np.zeros(n + 1, np.int64),
        np.zeros(n, np.int64),
        np.empty((room, 2)),
        np.empty(room),
        np.empty(room, np.int64),
    )


def _progress(n: int) -> Progress:
    one, two = (1, np.int64), (2, np.int64)
    return Progress(
        np.zeros(*one), np.zeros(*one), np.zeros(*two), np.zeros(3, np.int64), np.zeros(*two),
        np.zeros(*one), np.zeros(*two), np.zeros(n), np.zeros(3, np.int64),
    )  # fmt: skip


def _slots(longest: float, width: float) -> int:
    needed = 4 if longest == 0.0 else int(longest / width) + 4
    return 1 << (needed - 1).bit_length()


class Run(ABC):
    """A run of a group: what all paths share."""

    def __init__(self, job: Job, group: Group):
        self.job, self.group = job, group
        self.until, self.first = (job.until, 0.0), job.arrival_first
        self.blocks = blocks_of(job, group, 1024)
        self.outside = Outside(job.network, group, job.trains, job.inputs, job.since, job.until)
        bounds = group.fibres.start
        self.part = Part(np.array([0]), np.array([group.n]), bounds[:-1].copy(), bounds[1:].copy())
        self.place = new_place()
        self.spikes, self.doubts = new_log(max(256, group.n)), new_log(64)

    @abstractmethod
    def step(self) -> int:
        """A part of the way; a status, `GOING` if there is more to do."""

    def run(self) -> int:
        """To the end; a status, and the neuron in trouble in `place`."""
        while (status := self.step()) == GOING:
            pass
        return status

    def close(self) -> int:
        """All neurons through their last own events; a status."""
        for b in self.blocks:
            span = span_of(b, self.part)
            while (status := self._finish(b, span)) == FULL:
                self.more_logs()
            if status != DONE:
                return status
        return DONE

    def _finish(self, b, span) -> int:
        base = self.part.first[0]
        return finish(
            b.p, b.state, b.books, span, base, self.until, self.place, self.spikes, self.doubts
        )

    def more_logs(self) -> None:
        """More room for spikes and doubts."""
        self.spikes, self.doubts = more_room(self.spikes), more_room(self.doubts)

    def time_of(self, place: int) -> float:
        """Time of the last own event of a neuron."""
        block = next(b for b in reversed(self.blocks) if b.first <= place)
        return float(block.books.hi[place - block.first])


class Windows(Run):
    """By windows of the smallest delay."""

    def __init__(self, job, group, shortest, late):
        super().__init__(job, group)
        self.late = late
        self.width = SHORTER * shortest if shortest < np.inf else max(self.until[0], 1e-300) / 8
        self.late_runs = self._runs_of_late()
        self.last = slot_of(*self.until, self.width)
        self.flight = new_flight(_slots(largest_delay(group), self.width))
        self.deliveries, self.lists = _deliveries(256), _lists(group.n, 1024)
        self.progress = _progress(group.n)
        if job.since is not None:
            self.progress.window[0] = slot_of(job.since, 0.0, self.width)

    def step(self) -> int:
        """From one window to the next; a status."""
        while self._open() == FULL:
            self.grow(*self.progress.waits)
        window = int(self.progress.window[0])
        end, final = (window + 1) * self.width, window == self.last
        self.progress.late[:2] = 0, self.progress.sizes.sum()
        for block in range(len(self.blocks)):
            while (status := self._advance(block, end, final)) == FULL:
                self.more_logs()
            if status != DONE:
                return status
        for run in self.late_runs:
            while (status := self._advance_late(*run, end, final)) == FULL:
                what, amount = self.progress.waits
                self.more_logs() if what < 0 else self.grow(what, amount)
            if status != DONE:
                return status
        self.place.neuron[0] = 0
        self.job.tell(window / (self.last + 1))
        return self.close() if final else GOING

    def _open(self) -> int:
        last = self.outside.serve(self.width, self.last, self.progress)
        return open_window(
            self.group.fibres, self.part, self.flight, self.outside.external, self.deliveries,
            self.lists, self.width, self.until, last, self.progress, self.spikes,
        )  # fmt: skip

    def _advance(self, block, end, final) -> int:
        return advance_block(
            self.blocks[block], self.part, self.late, self.deliveries, self.lists, end, final,
            self.first, self.progress, self.place, self.spikes, self.doubts,
        )  # fmt: skip

    def _advance_late(self, block, first, last, end, final) -> int:
        self.progress.waits[0] = -1
        return advance_late(
            self.blocks[block], first, last, self.group.fibres, self.late, self.deliveries,
            self.lists, end, self.until, final, self.first, self.progress, self.place,
            self.spikes, self.doubts,
        )  # fmt: skip

    def _runs_of_late(self) -> list[tuple[int, int, int]]:
        """(block, first, last) of late neurons of one block that follow one another."""
        firsts = [b.first for b in self.blocks]
        block = np.searchsorted(firsts, self.late.neuron, side="right") - 1
        cuts = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
        return [(int(block[a]), int(a), int(b)) for a, b in pairwise(cuts)]

    def grow(self, what, amount) -> None:
        """More room for what has run short."""
        room = int(amount) * 5 // 4 + 64
        if what == TABLE:
            grown = _deliveries(max(room, self.deliveries.hi.size))
            for new, old in zip(grown, self.deliveries, strict=True):
                new[: old.size] = old
            self.deliveries = grown
        elif what == LISTS:
            old = self.lists
            self.lists = _lists(self.group.n, max(room, old.gap.size))
            for name in ("start", "next"):
                getattr(self.lists, name)[:] = getattr(old, name)
            for name in ("arrival", "gap", "who"):
                getattr(self.lists, name)[: old.gap.size] = getattr(old, name)
            self.blocks = tuple(_with_table(b, self.lists.gap.size) for b in self.blocks)
        else:
            self.flight = more_chunks(self.flight, int(amount))


class Instants(Run):
    """By a queue, instant by instant."""

    def __init__(self, job, group):
        super().__init__(job, group)
        n, start = group.n, group.fibres.start
        self.beyond = tuple(
            b._replace(state=state, books=books)
            for b in self.blocks
            for state, books in [Snapshot(b.state, b.books).copy()]
        )
        level = _levels(job.network, group)
        level_of_row = np.zeros(start.size - 1, np.int64)
        filled = np.diff(start) > 0
        level_of_row[filled] = level[group.fibres.target[start[:-1][filled]]]
        most = max(n, int(np.diff(start).max(initial=0))) + 8
        stamp, sent, logged, lifted = np.zeros((4, n), np.int64)
        self.ahead = Ahead(
            stamp, sent, logged, level, level_of_row, np.full((n, 2), -1.0), lifted,
            np.zeros(1, np.int64), np.array([most]), np.zeros(1, np.int64), new_log(1), new_log(64),
            np.zeros(2, np.int64), np.array([-1, 0, 0]),
        )  # fmt: skip
        self.heap = new_heap(4 * most)
        self.started = False

    def step(self) -> int:
        """As far as the room allows; a status."""
        fibres, ahead, outside = self.group.fibres, self.ahead, self.outside
        if not self.started:
            rest = (self.heap, self.until, self.first)
            start_instants(self.blocks, self.beyond, ahead, *rest)
            open_slice(fibres, ahead, outside.external, self.heap, outside.end, outside.more)
            self.started = True
        status = run_instants(
            self.blocks, self.beyond, fibres, ahead, outside.external, self.heap, self.until,
            self.first, self.spikes, self.doubts,
        )  # fmt: skip
        if status == FULL:
            self.heap = more_heap(self.heap)
            self.more_logs()
            return GOING
        if status == EMPTY:
            outside.proceed(ahead.external)
            open_slice(fibres, ahead, outside.external, self.heap, outside.end, outside.more)
            return GOING
        if status == GOING:
            self.job.tell(float(self.heap.hi[0]) / (self.until[0] or 1.0))
            return GOING
        if status == DONE:
            status = self.close()
            astray = self.spikes.used[0] != self.ahead.sent.sum()
        else:
            self.place.neuron[0] = self.ahead.waits[0]
            astray = status == ASTRAY
        if astray:
            raise AssertionError("a neuron did not follow the spike that was sent in its name")
        return status


def _levels(network, group) -> np.ndarray:
    """For every neuron, its population's place in an instant: behind those that it hears
    without delay, or equal where they hear one another."""
    at_once = network.copy()
    at_once.projections = {
        name: p
        for name, p in network.projections.items()
        if p.pre in group.first and p.post in group.first and p.smallest_delay == 0.0
    }
    level = {name: k for k, names in enumerate(at_once.stages()) for name in names}
    return np.concatenate([np.full(network.size(x), level[x], np.int64) for x in group.names])


def run_of(job: Job, group: Group, path: str) -> Run:
    """The run of a group by the path that `evsim.plan` has chosen, if its ring is not too large."""
    if path == "window":
        shortest, late = short_synapses(group)
        if largest_delay(group) <= 0.5 * MOST_SLOTS * shortest:
            return Windows(job, group, shortest, late)
    return Instants(job, group)


def run_group(job: Job, names: list[str], path: str):
    """Populations whose other sources have been run: spikes, doubts, final states, by name."""
    group = group_of(job.network, names)
    run = run_of(job, group, path)
    status = run.run()
    sizes = {name: job.network.size(name) for name in names}
    if status != DONE:
        place = int(run.place.neuron[0])
        name = next(x for x in names if 0 <= place - group.first[x] < sizes[x])
        raise runaway(name, place - group.first[name], run.time_of(place))
    spikes, doubts, ends = {}, [], {}
    for name in names:
        where = (group.first[name], sizes[name])
        spikes[name] = spikes_of(run.spikes, *where)
        doubts += doubts_of(run.doubts, name, *where)
        ends[name] = snapshot_of(run.blocks, *where)
    return spikes, doubts, ends
