"""Runs a group of populations that influence one another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from evsim.advance import Frame
from evsim.blocks import blocks_of, snapshot_of
from evsim.flight import slot_of
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
from evsim.mail import more_mail, new_mail
from evsim.neuron import DONE, FULL, ZENO, Log, finish, more_room, new_log, new_place
from evsim.outcome import doubts_of, runaway, spikes_of
from evsim.parts import Worker, bounds_of, divided
from evsim.short import short_synapses
from evsim.start import Job, Snapshot
from evsim.windows import BEYOND

#: Windows are shorter than the smallest delay by so much that no rounding lets a spike act
#: in its own window.
SHORTER = 1.0 - 1e-7
#: Slots of the ring, at most: for delays of still more different sizes the queue is better.
MOST_SLOTS = 2**22
#: Work after which a run of windows reports and lets Ctrl-C through: about a second.
BREATH = 2e7


def _slots(longest: float, width: float) -> int:
    needed = 4 if longest == 0.0 else int(longest / width) + 4
    return 1 << (needed - 1).bit_length()


class Run(ABC):
    """A run of a group: what all paths share."""

    #: Logs of what has been found, and the neuron in trouble.
    spikes: Log
    doubts: Log
    trouble: int

    def __init__(self, job: Job, group: Group):
        self.job, self.group = job, group
        self.until, self.first = (job.until, 0.0), job.arrival_first
        self.blocks = blocks_of(job, group, 1)
        self.outside = Outside(job.network, group, job.trains, job.inputs, job.since, job.until)

    @abstractmethod
    def run(self) -> int:
        """To the end; a status."""

    def time_of(self, place: int) -> float:
        """Time of the last own event of a neuron."""
        block = next(b for b in reversed(self.blocks) if b.first <= place)
        return float(block.books.hi[place - block.first])


class Windows(Run):
    """By windows of the smallest delay, on several threads."""

    def __init__(self, job, group, shortest, late):
        super().__init__(job, group)
        self.late = late
        self.width = SHORTER * shortest if shortest < np.inf else max(self.until[0], 1e-300) / 8
        last = slot_of(*self.until, self.width)
        frame = Frame(self.width, self.until, last, last, self.first, BREATH)
        window = 0 if job.since is None else slot_of(job.since, 0.0, self.width)
        bounds = bounds_of(group.n, job.threads)
        fibres, parts = divided(group.fibres, bounds)
        slots = _slots(largest_delay(group), self.width)
        self.mail = new_mail(job.threads, 256)
        self.workers = [
            Worker(self.blocks, fibres, part, late, frame, slots, window) for part in parts
        ]
        self.workers[0].tell = job.tell

    def run(self) -> int:
        """To the end; a status."""
        self._serve()
        while (status := self._together()) in (FULL, BEYOND):
            if status == BEYOND:
                self._serve()
            else:
                room = max(int(w.progress.waits[1]) for w in self.workers if w.status == FULL)
                self.mail = more_mail(self.mail, 2 * room)
        stuck = [w for w in self.workers if w.status == ZENO]
        self.trouble = min((int(w.part.first[0] + w.place.neuron[0]) for w in stuck), default=-1)
        self.spikes = joint_log([w.spikes for w in self.workers])
        self.doubts = joint_log([w.doubts for w in self.workers])
        return status

    def _serve(self) -> None:
        """Give all workers the arrivals from outside up to a window that is still to come."""
        # All have taken the same arrivals: those before the window that comes next.
        progress, self.mail.halt[0] = self.workers[0].progress, 0
        window, last = int(progress.window[0]), self.workers[0].frame.last
        reach = self.outside.serve(self.width, window, last, progress.external)
        for worker in self.workers:
            worker.external = self.outside.external
            worker.progress.external[:] = progress.external
            worker.frame = worker.frame._replace(reach=reach)

    def _together(self) -> int:
        """All workers, until one of them stops them all; a status."""
        if len(self.workers) == 1:
            found = [self.workers[0].run(self.mail)]
        else:
            with ThreadPoolExecutor(len(self.workers)) as pool:
                try:
                    found = list(pool.map(lambda worker: worker.run(self.mail), self.workers))
                except BaseException:
                    self.mail.halt[0] = 1
                    raise
        return next((x for x in (ZENO, FULL, BEYOND) if x in found), DONE)


def joint_log(logs: list[Log]) -> Log:
    """The valid entries of several logs."""
    if len(logs) == 1:
        return logs[0]
    used = [int(log.used[0]) for log in logs]
    hi, lo, unit, kind = (
        np.concatenate([log[m][:k] for log, k in zip(logs, used, strict=True)]) for m in range(4)
    )
    return Log(hi, lo, unit, kind, np.array([sum(used)]))


class Instants(Run):
    """By a queue, instant by instant."""

    def __init__(self, job, group):
        super().__init__(job, group)
        n, start = group.n, group.fibres.start
        self.place = new_place()
        self.spikes, self.doubts = new_log(max(256, n)), new_log(64)
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

    def run(self) -> int:
        """To the end; a status."""
        while (status := self._step()) == GOING:
            pass
        self.trouble = int(self.place.neuron[0])
        return status

    def _step(self) -> int:
        """As far as the room allows; a status."""
        fibres, ahead, outside = self.group.fibres, self.ahead, self.outside
        if not self.started:
            start_instants(self.blocks, self.beyond, ahead, self.heap, self.until, self.first)
            open_slice(fibres, ahead, outside.external, self.heap, outside.end, outside.more)
            self.started = True
        status = run_instants(
            self.blocks, self.beyond, fibres, ahead, outside.external, self.heap, self.until,
            self.first, self.spikes, self.doubts,
        )  # fmt: skip
        if status == FULL:
            self.heap = more_heap(self.heap)
            self._more_logs()
            return GOING
        if status == EMPTY:
            outside.proceed(ahead.external)
            open_slice(fibres, ahead, outside.external, self.heap, outside.end, outside.more)
            return GOING
        if status == GOING:
            self.job.tell(float(self.heap.hi[0]) / (self.until[0] or 1.0))
            return GOING
        if status == DONE:
            status = self._close()
            astray = self.spikes.used[0] != self.ahead.sent.sum()
        else:
            self.place.neuron[0] = self.ahead.waits[0]
            astray = status == ASTRAY
        if astray:
            raise AssertionError("a neuron did not follow the spike that was sent in its name")
        return status

    def _close(self) -> int:
        """All neurons through their last own events; a status."""
        for b in self.blocks:
            span = (0, b.books.current.size, b.first)
            while (
                status := finish(
                    b.p, b.state, b.books, span, 0, self.until, self.place, self.spikes, self.doubts
                )
            ) == FULL:
                self._more_logs()
            if status != DONE:
                return status
        return DONE

    def _more_logs(self) -> None:
        self.spikes, self.doubts = more_room(self.spikes), more_room(self.doubts)


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
        place = run.trouble
        name = next(x for x in names if 0 <= place - group.first[x] < sizes[x])
        raise runaway(name, place - group.first[name], run.time_of(place))
    spikes, doubts, ends = {}, [], {}
    for name in names:
        where = (group.first[name], sizes[name])
        spikes[name] = spikes_of(run.spikes, *where)
        doubts += doubts_of(run.doubts, name, *where)
        ends[name] = snapshot_of(run.blocks, *where)
    return spikes, doubts, ends
