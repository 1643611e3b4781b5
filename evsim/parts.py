"""A part of a group of populations: a range of neurons with all that one thread needs for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from evsim.advance import Frame
from evsim.blocks import with_table
from evsim.fibres import Fibres, Part
from evsim.flight import larger_pool, more_chunks, new_flight
from evsim.gather import FLIGHT, LISTS, MAIL, ORDER, SHELVES, External, Lists, Progress
from evsim.jit import inner_inline_kernel, kernel
from evsim.mail import Mail
from evsim.neuron import DONE, FULL, lone, more_room, new_flags, new_log, new_place
from evsim.shelves import new_shelves
from evsim.short import late_of
from evsim.windows import ADVANCE, COLLECT, GOING, WAITING, Late, run_windows

#: Bounds of parts are multiples of this where parts are large: no line of the cache for two.
ALIGNED = 64
#: Arrivals of a window, at most: their numbers take 32 bits.
MOST_ARRIVALS = 2**31 - 1


def bounds_of(n: int, parts: int) -> np.ndarray:
    """First neurons of so many parts of `n` neurons, and `n`."""
    bounds = np.arange(parts + 1) * n // parts
    if n >= 4 * ALIGNED * parts:
        bounds[1:-1] = bounds[1:-1] // ALIGNED * ALIGNED
    return bounds


@inner_inline_kernel
def part_of(bounds, n):
    """Number of the part of neuron `n`."""
    m = 0
    while n >= bounds[m + 1]:
        m += 1
    return m


class Columns(NamedTuple):
    """Those of `Fibres` that are divided."""

    target: Any
    weight: Any
    delays: Any
    within: Any


@kernel
def _divide(start, first, stop, bounds, old, starts, new):
    """Bring the synapses of each part of the rows `first` to `stop` together; `starts` (rows,
    parts + 1) tells where the parts of a row begin, and where it ends."""
    parts, delayed = bounds.size - 1, old.delays.size > 0
    for r in range(first, stop):
        for m in range(parts + 1):
            starts[r, m] = 0
        for s in range(start[r], start[r + 1]):
            starts[r, part_of(bounds, old.target[s]) + 1] += 1  # for the sums that follow
        starts[r, 0] = start[r]
        for m in range(parts):
            starts[r, m + 1] += starts[r, m]
        for s in range(start[r], start[r + 1]):
            m = part_of(bounds, old.target[s])
            at = starts[r, m]
            new.target[at], new.weight[at] = old.target[s], old.weight[s]
            if delayed:
                new.delays[at], new.within[at] = old.delays[s], s - start[r]
            starts[r, m] = at + 1
        for m in range(parts, 0, -1):
            starts[r, m] = starts[r, m - 1]
        starts[r, 0] = start[r]


def divided(fibres: Fibres, bounds: np.ndarray) -> tuple[Fibres, list[Part]]:
    """Rows of which each part comes in one piece, and the parts; as they are for one part."""
    start = fibres.start
    if bounds.size == 2:
        return fibres, [_part(0, bounds, start[:-1].copy(), start[1:].copy())]
    starts = np.empty((start.size - 1, bounds.size), np.int64)
    within = np.empty(fibres.delays.size, np.int32)
    old = Columns(fibres.target, fibres.weight, fibres.delays, fibres.within)
    target, weight, delays = map(np.empty_like, old[:3])
    new = Columns(target, weight, delays, within)
    shares = bounds_of(start.size - 1, bounds.size - 1)
    with ThreadPoolExecutor(bounds.size - 1) as pool:
        list(
            pool.map(lambda rows: _divide(start, *rows, bounds, old, starts, new), pairwise(shares))
        )
    for column in new:
        column.flags.writeable = False
    parts = [
        _part(m, bounds, starts[:, m].copy(), starts[:, m + 1].copy())
        for m in range(bounds.size - 1)
    ]
    return fibres._replace(**new._asdict()), parts


def _part(m, bounds, start, stop) -> Part:
    number, first, last = (lone([x]) for x in (m, bounds[m], bounds[m + 1]))
    return Part(number, first, last, start, stop)


def _lists(n: int, room: int, order: int, shelved: int = 0) -> Lists:
    arrival = np.empty((room, 2))
    return Lists(
        np.zeros(n, np.int32),
        new_flags(n),
        np.zeros(n + 8, np.int32),
        np.zeros(n + 2, np.int64),
        arrival,
        arrival.view(np.int64),
        np.empty((room, 2)),
        np.empty(room),
        np.empty(order, np.int64),
        np.empty(order, np.int64),
        new_shelves(shelved),
    )


def _progress(n: int, window: int) -> Progress:
    return Progress(
        lone([window, window - 1]), lone([COLLECT]), lone([0]), lone([0, 0]), lone([0, 0]),
        lone([0, 0, 0]), lone([0, 0]), lone([0]), lone([0, 0]), np.zeros(n), lone([0]), lone([-1]),
    )  # fmt: skip


class Worker:
    """Runs a part through its windows."""

    external: External  #: arrivals from outside, up to window `frame.reach`

    def __init__(self, blocks, fibres, part, late: Late, frame: Frame, slots, window):
        n = int(part.last[0] - part.first[0])
        self.blocks = tuple(with_table(b, 1024) for b in blocks)
        self.fibres, self.part, self.frame = fibres, part, frame
        self.late = late_of(late, part.first[0], part.last[0])
        shelved = 0 if late.phases[0] > 0 else n  # late neurons need the lists of all
        self.flight, self.lists = new_flight(slots), _lists(n, 1024, 256, shelved)
        self.progress, self.place = _progress(n, window), new_place()
        self.spikes, self.doubts = new_log(max(256, n)), new_log(64)
        self.status = FULL
        self.tell: Callable[[float], None] = lambda fraction: None

    def run(self, mail: Mail) -> int:
        """As far as the other parts come; a status. Any but `DONE` makes them stop too."""
        self.status = FULL
        try:
            while self._go_on(mail):
                pass
        finally:
            if self.status != DONE:
                mail.halt[0] = 1
        return self.status

    def _go_on(self, mail: Mail) -> bool:
        """A stretch of the way; whether there is more that this part can do alone."""
        self.status = run_windows(
            self.blocks, self.fibres, self.part, self.flight, self.external, self.lists,
            self.late, mail, self.frame, self.progress, self.place, self.spikes, self.doubts,
        )  # fmt: skip
        if self.status == FULL and self.progress.waits[0] != MAIL:
            self.grow(*map(int, self.progress.waits))
            return True
        if self.status == WAITING and not mail.halt[0]:
            time.sleep(0)  # lets a thread go on that waits for this processor
            return True
        self.tell(self.progress.window[0] / (self.frame.last + 1))
        return self.status == GOING

    def grow(self, what: int, amount: int) -> None:
        """More room for what has run short."""
        room = amount * 5 // 4 + 64
        if what == FLIGHT:
            self.flight = more_chunks(self.flight, amount)
        elif what == ORDER:
            order, spare = np.empty((2, room), np.int64)
            self.lists = self.lists._replace(order=order, spare=spare)
        elif what == SHELVES:
            shelves = larger_pool(self.lists.shelves, amount)
            self.lists = self.lists._replace(shelves=shelves)
        elif what == LISTS:
            if amount > MOST_ARRIVALS:
                raise MemoryError(f"{amount} arrivals in a window; at most {MOST_ARRIVALS}")
            old, n = self.lists, self.lists.room.size
            new = _lists(n, room, 1)
            if self.progress.stage[0] == ADVANCE:  # before, there is nothing in them yet
                new.arrival[: old.arrival.shape[0]] = old.arrival
                new.when[: old.arrival.shape[0]] = old.when
            self.lists = old._replace(
                arrival=new.arrival, code=new.code, when=new.when, since=new.since
            )
            self.blocks = tuple(with_table(b, room) for b in self.blocks)
        else:
            self.spikes, self.doubts = more_room(self.spikes), more_room(self.doubts)
