"""Layers with dense input only: what `evsim.unsweep` wants of a record, and when it may."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from evsim.backward import Leg
from evsim.delivery import incoming, later
from evsim.models import adjoint, verbs
from evsim.network import Network
from evsim.plan import on_cycle
from evsim.record import Record
from evsim.resweep import (
    FOUR,
    PATH,
    Kept,
    Layer,
    Tables,
    block_on,
    coefficients,
    states_at_spikes,
)
from evsim.tangents import Moving, at_the_end, tangents
from evsim.unsweep import Spare, costates, unsweep

#: Bytes for states that are kept: no more than processors have close by. Longer runs go through
#: most of their events once more, which costs less than memory that has not been used before.
MEMORY = 1 << 21
#: Flags are bytes that are looked at by so many words of eight at a time.
WORDS = 64


def simple(record: Record, name: str) -> bool:
    """Whether a population is such a layer, as far as its network tells."""
    network: Network = record.network
    model: Any = network.populations[name].model
    sources = incoming(network, name)
    return (
        bool(sources)
        and all(projection.indptr is None for projection in sources)
        and all(projection.pulse_width is None for projection in sources)
        and not on_cycle(network, [name])
        and name not in record.inputs
        and model.spiking
        and not np.any(np.asarray(model.t_ref))
    )


class DenseLeg(Leg):
    """One such layer of one record.

    Margins, and the derivatives by the parameters of a linear flow, are found when asked for.
    """

    kept: Kept | None = None
    measured = flown = False

    @cached_property
    def form(self) -> Any:
        """Its parameters, each one number where all neurons have the same."""
        return self.model.compile(self.n, self.model.per_neuron)

    @property
    def kernel(self) -> Any:
        """The class of its parameters."""
        return type(self.form)

    def lay(self) -> Layer | None:
        """Its events and spikes; None where a spike comes at an event's very time."""
        trains = self.record._trains()
        columns, offset = [], 0
        for rank, projection in enumerate(incoming(self.record.network, self.name)):
            train = trains[projection.pre]
            hi, lo = later(train, (float(projection.delay),))
            number = self.bases[projection.pre] + np.arange(hi.size)
            ones = np.ones(hi.size, np.int64)
            columns.append((hi, lo, ones * rank, train.units, ones * projection.port,
                            offset + train.units, number))  # fmt: skip
            offset += projection.n_pre
        hi, lo, rank_of, unit, kind, row, source = map(np.concatenate, zip(*columns, strict=True))
        until = self.record.until
        keep = (hi < until) | ((hi == until) & (lo <= 0.0))
        if np.all(hi[1:] > hi[:-1]):
            order = np.flatnonzero(keep)
        else:
            order = np.lexsort((unit, rank_of, lo, hi))
            order = order[keep[order]]
        hi, lo = hi[order], lo[order]
        self.rank = rank_of[order]
        spikes = self.record.spikes[self.name]
        before = events_up_to(spikes, hi, lo)
        if before is None:
            return None
        # Four events are gone through at a time; see `Layer`.
        mine = np.lexsort((spikes.units, before // FOUR))
        before = before[mine]
        groups = hi.size // FOUR + 1
        d = np.zeros(FOUR * groups)
        d[: hi.size + 1] = np.diff(np.concatenate([[0.0], hi, [until]]))
        d[: hi.size + 1] += np.diff(np.concatenate([[0.0], lo, [0.0]]))
        port, rows = np.zeros(FOUR * groups, np.int64), np.full(FOUR * groups, -1)
        port[: hi.size], rows[: hi.size] = kind[order], row[order]
        first = np.searchsorted(before // FOUR, np.arange(groups + 1))
        return Layer(
            d, hi, lo, port, rows, source[order], first.astype(np.int64), spikes.times[mine],
            spikes.times_lo[mine], spikes.units[mine], self.base + mine, before.astype(np.int64),
        )  # fmt: skip

    def _tables(self, p, lay: Layer) -> Tables:
        """What all neurons have in common over every interval."""
        tables = Tables(
            tuple(np.empty(lay.d.size) for _ in verbs.prepare(p, 0.0)),
            tuple(np.empty(lay.d.size) for _ in adjoint.prepare(p, 0.0)),
        )
        coefficients(p, lay, tables)
        return tables

    def _kept(self, lay: Layer, whole: bool) -> Kept:
        """Room for states; `whole`: for as many between spikes as memory allows."""
        state, n, spikes, groups = self.state, self.n, lay.unit.size, lay.first.size - 1
        room = max(1, min(groups, MEMORY // (8 * n * len(state)))) if whole else 0
        blocks = -(-groups // room) if whole else 0
        nothing = np.zeros(n)
        nothing.setflags(write=False)
        return Kept(
            tuple(np.empty(spikes) for _ in state), np.empty(spikes), np.empty(spikes),
            np.empty(spikes), np.empty(spikes), self.notes.silent,
            tuple(np.empty(PATH * spikes) for _ in state),
            tuple(np.empty((blocks, n)) for _ in state),
            tuple(np.empty((room + 1, n)) for _ in state),
            np.zeros(-(-n // WORDS) * WORDS, np.uint8), np.empty(n, np.int64),
            np.empty(self._most(lay)), nothing,
        )  # fmt: skip

    def _most(self, lay: Layer) -> int:
        """Most neurons that fire among four events, and one more."""
        return int(np.diff(lay.first).max(initial=0)) + 1

    def _copied(self) -> tuple[np.ndarray, ...]:
        """The state at the start, to be changed."""
        return tuple(values.copy() for values in self.record.initial[self.name])

    def sweep_back(self, lay: Layer, totals: np.ndarray) -> None:
        """The backward pass of the layer; of a linear model without what it needs states for."""
        p = self.form
        self.lay_of_events, self.tables = lay, self._tables(p, lay)
        weights = [p.weight for p in incoming(self.record.network, self.name)]
        stacked = weights[0] if len(weights) == 1 else np.vstack(weights)
        self.stacked = stacked.view()
        self.stacked.setflags(write=False)
        grads = self.synaptic.weight.reshape(stacked.shape)
        by_event = np.zeros(lay.hi.size)
        self.linear = hasattr(self.kernel, "LINEAR")
        kept = self.kept = self._kept(lay, not self.linear)
        spare = Spare(
            np.empty((FOUR, self.n)), np.zeros(FOUR * self.n),
            tuple(np.empty(self._most(lay)) for _ in self.state),
        )  # fmt: skip
        start = p, lay, self.tables, self.stacked
        if self.linear:
            self.final = tuple(values.copy() for values in self.sums.costate)
            self.live = bool(any(values.any() for values in self.final))
            states_at_spikes(*start, self._copied(), kept)
            aside = self.sums._replace(flow=tuple(np.zeros(self.n) for _ in self.flow))
            costates(*start, grads, kept, spare, totals, by_event, aside, self.live)
        else:
            self._measure(kept)
            unsweep(*start, grads, kept, spare, totals, by_event, self.sums)
        np.add.at(totals, lay.source, by_event)
        by_rank = np.bincount(self.rank, by_event, len(weights))
        self.synaptic.delay[: by_rank.size] += by_rank

    def _measure(self, kept: Kept) -> None:
        """Forward through all events, with margins."""
        for mark, values in zip(kept.mark, self._copied(), strict=True):
            mark[0] = values
        for block in range(len(kept.mark[0])):
            block_on(self.form, self.lay_of_events, self.tables, self.stacked, block, kept, True)

    def find_margins(self) -> None:
        """Enter what is known of spikes and silent intervals."""
        if self.kept is None or self.measured:
            return
        lay, kept = self.lay_of_events, self.kept
        if self.linear:
            kept = self._kept(lay, True)._replace(slope=self.kept.slope)
            self._measure(kept)
        place = np.empty(lay.unit.size, np.int64)
        place[self.train.number - self.base] = np.arange(place.size)
        for name in ("slope", "peak", "gap"):
            getattr(self.notes, name)[place[lay.number - self.base]] = getattr(kept, name)
        self.measured = True

    def find_flow(self) -> None:
        """Add up the derivatives by the parameters of the flow."""
        if self.kept is None or not self.linear or self.flown:
            return
        lay, flow, m = self.lay_of_events, self.sums.flow, self._most(self.lay_of_events)
        count = range(self.kernel.LINEAR)
        moving = Moving(
            self._copied(), tuple(np.zeros(self.n) for _ in count),
            tuple(np.empty(m) for _ in self.state), tuple(np.empty(m) for _ in count),
        )  # fmt: skip
        tangents(self.form, lay, self.tables, self.stacked, self.kept, moving, flow, self.live)
        if self.live:
            at_the_end(self.form, self.final, moving.tangent, flow)
        self.flown = True

    def params(self) -> dict[str, Any]:
        """As of any leg."""
        self.find_flow()
        return super().params()


def events_up_to(spikes, hi, lo) -> np.ndarray | None:
    """How many of the ordered events come before each spike; None where one has a spike's time."""
    before = np.searchsorted(hi, spikes.times, side="right")
    tied = np.flatnonzero(np.searchsorted(hi, spikes.times) < before)
    for k in tied.tolist():  # to the first double only, but for a few
        same = slice(int(np.searchsorted(hi, spikes.times[k])), int(before[k]))
        before[k] = same.start + np.searchsorted(lo[same], spikes.times_lo[k], side="right")
        if before[k] > same.start and lo[before[k] - 1] == spikes.times_lo[k]:
            return None
    if len(spikes) and spikes.times[0] == 0.0:
        return None
    return before
