"""Layers with dense input only: what `evsim.unsweep` wants of a record, and when it may."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.backward import Leg
from evsim.delivery import incoming, later
from evsim.network import Network
from evsim.plan import on_cycle
from evsim.record import Record
from evsim.unsweep import BLOCK, Kept, Layer, Spare, mark, unsweep


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
        by = np.lexsort((mine, spikes.units[mine], before))
        mine, before = mine[by], before[by]
        d = np.diff(np.concatenate([[0.0], hi, [until]]))
        d += np.diff(np.concatenate([[0.0], lo, [0.0]]))
        first = np.searchsorted(before, np.arange(hi.size + 2))
        return Layer(
            d, hi, lo, kind[order].astype(np.int64), row[order].astype(np.int64), source[order],
            first.astype(np.int64), spikes.times[mine], spikes.times_lo[mine],
            spikes.units[mine], self.base + mine,
        )  # fmt: skip

    def sweep_back(self, lay: Layer, totals: np.ndarray) -> None:
        """The whole backward pass of the layer."""
        n, events, spikes = self.n, lay.hi.size, lay.unit.size
        p = self.model.compile(n, self.model.per_neuron)
        kept = Kept(
            tuple(np.empty(spikes) for _ in self.state), np.empty(spikes), np.empty(spikes),
            np.empty(spikes), self.notes.silent,
            tuple(np.empty((events // BLOCK + 1, n)) for _ in self.state),
            tuple(np.empty((BLOCK + 1, n)) for _ in self.state), np.zeros(n, np.uint8), np.zeros(n),
        )  # fmt: skip
        weights = [p.weight for p in incoming(self.record.network, self.name)]
        stacked = weights[0] if len(weights) == 1 else np.vstack(weights)
        stacked = stacked.view()
        stacked.setflags(write=False)
        grads = self.sums.weight.reshape(stacked.shape)
        most = int(np.diff(lay.first).max(initial=0)) + 1
        spare = Spare(
            tuple(np.empty(most) for _ in self.state), tuple(np.empty(most) for _ in self.flow),
            np.empty(most, np.int64),
        )  # fmt: skip
        by_event = np.zeros(events)
        mark(p, lay, stacked, self.state, kept)
        unsweep(p, lay, stacked, grads, kept, spare, totals, by_event, self.sums)
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
