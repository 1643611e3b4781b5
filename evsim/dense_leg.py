"""Layers with dense input only: what `evsim.unsweep` wants of a record, and when it may."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.backward import Leg
from evsim.delivery import incoming, later
from evsim.models import adjoint, verbs
from evsim.network import Network
from evsim.plan import on_cycle
from evsim.record import Record
from evsim.resweep import FOUR, Kept, Layer, Tables, block_on, coefficients
from evsim.unsweep import Spare, unsweep

#: Bytes for states that are kept; longer runs go through some of their events once more.
MEMORY = 1 << 25


def simple(record: Record, name: str) -> bool:
    """Whether a population is such a layer, as far as its network tells."""
    network: Network = record.network
    model: Any = network.populations[name].model
    sources = incoming(network, name)
    return (
        bool(sources)
        and all(projection.indptr is None for projection in sources)
        and not on_cycle(network, [name])
        and name not in record.inputs
        and model.spiking
        and not np.any(np.asarray(model.t_ref))
    )


class DenseLeg(Leg):
    """One such layer of one record."""

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
        order = np.lexsort((unit, rank_of, lo, hi))
        order = order[keep[order]]
        hi, lo = hi[order], lo[order]
        self.rank = rank_of[order]
        spikes = self.record.spikes[self.name]
        every = np.lexsort(
            (np.concatenate([np.zeros(hi.size), np.ones(len(spikes))]),
             np.concatenate([lo, spikes.times_lo]), np.concatenate([hi, spikes.times]))
        )  # fmt: skip
        is_event = every < hi.size
        before = np.cumsum(is_event)[~is_event]  # events up to each spike
        mine = every[~is_event] - hi.size
        last = np.maximum(before - 1, 0)
        if hi.size and ((before > 0) & (hi[last] == spikes.times[mine])
                        & (lo[last] == spikes.times_lo[mine])).any():  # fmt: skip
            return None
        if len(spikes) and spikes.times[0] == 0.0:
            return None
        # Four events are gone through at a time; see `Layer`.
        by = np.lexsort((mine, spikes.units[mine], before // FOUR))
        mine, before = mine[by], before[by]
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

    def _room(self, p, lay: Layer) -> tuple[Tables, Kept, Spare]:
        """What a pass over all events works with."""
        n, spikes, groups = self.n, lay.unit.size, lay.first.size - 1
        tables = Tables(
            tuple(np.empty(lay.d.size) for _ in verbs.prepare(p, 0.0)),
            tuple(np.empty(lay.d.size) for _ in adjoint.prepare(p, 0.0)),
        )
        room = max(1, min(groups, MEMORY // (8 * n * len(self.state))))
        nothing = np.zeros(n)
        nothing.setflags(write=False)
        kept = Kept(
            tuple(np.empty(spikes) for _ in self.state), np.empty(spikes), np.empty(spikes),
            np.empty(spikes), self.notes.silent,
            tuple(np.empty((-(-groups // room), n)) for _ in self.state),
            tuple(np.empty((room + 1, n)) for _ in self.state), np.zeros(n, np.uint8), nothing,
        )  # fmt: skip
        for mark, values in zip(kept.mark, self.state, strict=True):
            mark[0] = values
        most = int(np.diff(lay.first).max(initial=0)) + 1
        spare = Spare(
            np.empty((FOUR, n)), np.empty((FOUR, n)), tuple(np.empty(FOUR + 1) for _ in self.state),
            tuple(np.empty(most) for _ in self.state), tuple(np.empty(most) for _ in self.flow),
            np.empty((FOUR, most)), np.empty((FOUR, most)), np.empty(most, np.int64),
        )  # fmt: skip
        return tables, kept, spare

    def sweep_back(self, lay: Layer, totals: np.ndarray) -> None:
        """The whole backward pass of the layer."""
        spikes = lay.unit.size
        p = self.model.compile(self.n, self.model.per_neuron)
        tables, kept, spare = self._room(p, lay)
        weights = [p.weight for p in incoming(self.record.network, self.name)]
        stacked = weights[0] if len(weights) == 1 else np.vstack(weights)
        stacked = stacked.view()
        stacked.setflags(write=False)
        grads = self.sums.weight.reshape(stacked.shape)
        by_event = np.zeros(lay.hi.size)
        coefficients(p, lay, tables)
        for block in range(len(kept.mark[0])):
            block_on(p, lay, tables, stacked, block, kept, True)
        unsweep(p, lay, tables, stacked, grads, kept, spare, totals, by_event, self.sums)
        by_rank = np.bincount(self.rank, by_event, len(weights))
        places = np.cumsum([0, *(w.size for w in weights)])
        for rank, place in enumerate(places[:-1]):
            if weights[rank].size:
                self.sums.delay[place] += by_rank[rank]
        order = np.empty(spikes, np.int64)
        order[lay.number - self.base] = np.arange(spikes)
        order = order[self.train.number - self.base]
        for name in ("slope", "peak", "gap"):
            getattr(self.notes, name)[:] = getattr(kept, name)[order]
