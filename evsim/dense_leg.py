"""Layers with dense input only: what `evsim.unsweep` wants of a record, and when it may."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from evsim.backward import Leg
from evsim.delivery import between, incoming, later
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
    among_events,
    block_on,
    coefficients,
)
from evsim.tangents import Moving, at_the_end, tangents
from evsim.unsweep import Found, Spare, linear_unsweep, unsweep

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
        hi, lo, rank, kind, row, source = self._events()
        spikes, until = self.record.spikes[self.name], self.record.until
        before, group = np.empty((2, len(spikes)), np.int64)
        # Four events are gone through at a time; see `Layer`.
        groups = hi.size // FOUR + 1
        d, first = np.zeros(FOUR * groups), np.zeros(groups + 1, np.int64)
        if not among_events(hi, lo, until, spikes.times, spikes.times_lo, before, group, first, d):
            return None
        mine = np.argsort(group * self.n + spikes.units, kind="stable")
        port, rows = np.zeros(FOUR * groups, np.int64), np.full(FOUR * groups, -1)
        port[: hi.size], rows[: hi.size] = kind, row
        most = int((first[1:] - first[:-1]).max()) + 1
        return Layer(
            d, hi, lo, port, rows, rank, source, first, spikes.times[mine], spikes.times_lo[mine],
            spikes.units[mine], self.base + mine, before[mine], most,
        )  # fmt: skip

    def _events(self) -> tuple[np.ndarray, ...]:
        """Times (hi, lo), projection, port, row of the stacked weights and number of everything
        that comes until the end, in order."""
        trains, columns, offset = self.record._trains(), [], 0
        for rank, projection in enumerate(incoming(self.record.network, self.name)):
            train = trains[projection.pre]
            hi, lo = later(train, (float(projection.delay),))
            number = self.bases[projection.pre] + np.arange(hi.size)
            ranks, ports = np.full(hi.size, rank), np.full(hi.size, projection.port)
            columns.append((hi, lo, ranks, ports, offset + train.units, number))
            offset += projection.n_pre
        one = len(columns) == 1
        found = columns[0] if one else tuple(map(np.concatenate, zip(*columns, strict=True)))
        hi, lo, ranks, _, row, _ = found
        come = np.count_nonzero(between(hi, lo, None, self.record.until))
        if (hi[1:] > hi[:-1]).all():
            return tuple(column[:come].copy() for column in found)
        order = np.lexsort((row, ranks, lo, hi))[:come]
        return tuple(column[order] for column in found)

    def _tables(self, p, lay: Layer) -> Tables:
        """Room for what all neurons have in common over every interval."""
        size = lay.d.size
        return Tables(verbs.tables(verbs.prepare, p, size), verbs.tables(adjoint.prepare, p, size))

    def _kept(self, lay: Layer, whole: bool) -> Kept:
        """Room for states; `whole`: for as many between spikes as memory allows."""
        n, spikes, groups = self.n, lay.unit.size, lay.first.size - 1
        state = self.record.initial[self.name]
        room = max(1, min(groups, MEMORY // (8 * n * len(state)))) if whole else 0
        blocks = -(-groups // room) if whole else 0
        nothing = np.zeros(n)
        nothing.setflags(write=False)
        return Kept(
            tuple(np.empty(spikes) for _ in state), np.empty(spikes), np.empty(spikes),
            np.empty(spikes), np.empty(spikes), self.notes.silent if whole else np.empty(n),
            tuple(np.empty(PATH * spikes) for _ in state),
            tuple(np.empty((blocks, n)) for _ in state),
            tuple(np.empty((room + 1, n)) for _ in state),
            np.zeros(-(-n // WORDS) * WORDS, np.uint8), np.empty(n, np.int64),
            np.empty(lay.most), nothing,
        )  # fmt: skip

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
        self.linear = hasattr(self.kernel, "LINEAR")
        kept = self.kept = self._kept(lay, not self.linear)
        spare = Spare(
            np.empty((FOUR, self.n)), np.zeros(FOUR * self.n),
            tuple(np.empty(lay.most) for _ in kept.after), np.zeros(lay.hi.size),
        )  # fmt: skip
        start = p, lay, self.tables, self.stacked
        found = Found(*self.synaptic.rows, totals, self.synaptic.delay)
        if self.linear:
            self.final = tuple(values.copy() for values in self.sums.costate)
            self.live = bool(any(values.any() for values in self.final))
            aside = self.sums._replace(flow=tuple(np.zeros((len(self.flow), self.n))))
            linear_unsweep(*start, self._copied(), kept, spare, found, aside, self.live)
        else:
            coefficients(p, lay, self.tables)
            self._measure(kept)
            unsweep(*start, kept, spare, found, self.sums)

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
        lay, flow, m = self.lay_of_events, self.sums.flow, self.lay_of_events.most
        count = range(self.kernel.LINEAR)
        moving = Moving(
            self._copied(), tuple(np.zeros(self.n) for _ in count),
            tuple(np.empty(m) for _ in self.kept.after), tuple(np.empty(m) for _ in count),
        )  # fmt: skip
        tangents(self.form, lay, self.tables, self.stacked, self.kept, moving, flow, self.live)
        if self.live:
            at_the_end(self.form, self.final, moving.tangent, flow)
        self.flown = True

    def params(self) -> dict[str, Any]:
        """As of any leg."""
        self.find_flow()
        return super().params()
