"""A batch of samples of one feed-forward network, all neurons of all samples in one list.

Sample `b` of a population of `n` neurons is the neurons `b n` to `(b + 1) n` of one population
without synapses between samples: the kernels that go through the neurons of one run, forward and
backward, take the whole batch in one call, and the synapses are the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from evsim.adjoint import backward, ends
from evsim.arrivals import rows_of
from evsim.backward import flow_of, initial_of, new_notes, new_sums, params_of, way_through
from evsim.delivery import add_delay, between, incoming
from evsim.lists import Arrivals, walk
from evsim.network import Network
from evsim.neuron import DONE, FULL, more_room, new_books, new_log, new_place
from evsim.outcome import runaway
from evsim.readings import Readings, readings
from evsim.readout_leg import moves_with_arrivals, up_to_maximum
from evsim.replay import Train, replay
from evsim.sent import Sent, in_order, rows_in_time
from evsim.start import initial_states
from evsim.tape import (
    Links,
    Shelf,
    Tape,
    events_of,
    tape_of,
)


class Fired(NamedTuple):
    """Spikes of a population of a batch in order of sample, then time."""

    hi: Any
    lo: Any
    cell: Any  # sample times the size of the population, plus the unit
    number: Any  # among all of the batch


@dataclass
class Layer:
    """What one population of the network needs in any batch, whatever the weights."""

    network: Network
    name: str

    def __post_init__(self) -> None:
        network, name = self.network, self.name
        population = network.populations[name]
        self.n, self.model = population.n, population.model
        self.p: Any = self.model.compile(self.n, True)
        self.flow = flow_of(self.model, type(self.p))
        self.state = initial_states(network, None)[name].state
        projections = incoming(network, name)
        rows = [rows_of(projection, self.n) for projection in projections]
        ends = np.cumsum([0, *(weight.size for *_, weight in rows)]).tolist()
        self.synapses = ends.pop()
        #: of every projection, where its rows and its synapses begin
        self.sources = [
            (p, indptr + k, k) for p, (indptr, *_), k in zip(projections, rows, ends, strict=True)
        ]
        target = np.concatenate([np.zeros(0, np.int32), *(targets for _, targets, _ in rows)])
        self.number = target, np.arange(self.synapses)
        delays = [np.broadcast_to(np.ravel(p.delay), p.weight.size) for p in projections]
        self.delay = np.concatenate([np.zeros(0), *delays])
        self._tiled: dict[int, Any] = {}

    def parameters(self, samples: int):
        """Kernel parameters of so many samples, and the state at their start."""
        if samples not in self._tiled:
            fields = [np.tile(v, samples) if isinstance(v, np.ndarray) else v for v in self.p]
            self._tiled[samples] = type(self.p)(*fields)
        return self._tiled[samples], tuple(np.tile(v, samples) for v in self.state)

    def tape(self, fired: dict[str, Fired], weights: dict[str, np.ndarray], samples: int, until):
        """All arrivals of a batch."""
        sent = [self._sent(fired[p.pre], p, indptr, until) for p, indptr, _ in self.sources]
        value = np.concatenate([np.zeros(0), *(weights[p.name].ravel() for p, *_ in self.sources)])
        rows, feed = rows_in_time(sent)
        span, cells = (0, rows.first.size), samples * self.n
        links = Links(*self.number, np.zeros(cells + 1, np.int64), self.synapses)
        tape = tape_of(rows, feed, links, value, cells, span, Shelf())
        own = any(one.lag >= 0.0 for one in sent)
        return in_order(tape, sent, self.delay, None, until) if own else tape

    def _sent(self, spikes: Fired, projection, indptr, until: float) -> Sent:
        """What spikes send along a projection."""
        hi, lo, keep = spikes.hi, spikes.lo, np.ones(spikes.hi.size, bool)
        lag = 0.0 if np.ndim(projection.delay) else -1.0
        if lag < 0.0:
            if projection.delay:
                hi, lo = add_delay(hi, lo, float(projection.delay))
            keep = between(hi, lo, None, until)
        hi, lo, cell, number = (
            c if keep.all() else c[keep] for c in (hi, lo, spikes.cell, spikes.number)
        )
        sample, unit = np.divmod(cell, projection.n_pre)
        first, last = indptr[unit], indptr[unit + 1]
        return Sent(projection.port, 0, 1, hi, lo, number, first, last, sample * self.n, lag)


class Leg:
    """One population of one batch: forward when made, and backward."""

    def __init__(self, layer: Layer, fired, weights, samples: int, until: float, first: int):
        self.layer, self.samples, self.until = layer, samples, until
        self.cells = samples * layer.n
        self.tape = layer.tape(fired, weights, samples, until)
        self.p, self.start = layer.parameters(samples)
        self.base = first
        nothing, none = np.zeros(0), np.zeros(0, np.int64)
        first_of = np.zeros(self.cells + 1, np.int64)
        self.train = Train(first_of, nothing, nothing, none, none, first_of[:-1].copy())
        self.spikes = Fired(nothing, nothing, none, none)
        if layer.model.spiking:
            self.spikes = self._walk()

    @cached_property
    def arrivals(self) -> Arrivals:
        """The tape as the kernels of `evsim.lists` know it."""
        return Arrivals(self.tape.start, *events_of(self.tape))

    def _walk(self) -> Fired:
        """Forward: the spikes, each with its number."""
        state, books = tuple(v.copy() for v in self.start), new_books(self.cells)
        spikes, doubts, place = new_log(2 * self.cells), new_log(64), new_place()
        until, span = (self.until, 0.0), (0, self.cells)
        while True:
            status = walk(self.p, state, books, span, self.arrivals, until, False, place, spikes,
                          doubts)  # fmt: skip
            if status != FULL:
                break
            spikes, doubts = more_room(spikes), more_room(doubts)
        if status != DONE:
            neuron = int(place.neuron[0])
            raise runaway(self.layer.name, neuron % self.layer.n, float(books.hi[neuron]))
        used = int(spikes.used[0])
        hi, lo, cell = spikes.hi[:used], spikes.lo[:used], spikes.unit[:used]
        starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=self.cells))])
        number = self.base + np.arange(used)
        # Neuron by neuron, and each in time.
        self.train = Train(starts.astype(np.int64), hi, lo, cell, number, starts[:-1].copy())
        sample = cell // self.layer.n
        order = np.lexsort((cell, lo, hi, sample))
        return Fired(hi[order], lo[order], cell[order], number[order])

    @cached_property
    def readings(self) -> Readings:
        """Maxima and integrals of the voltages of a layer that never fires."""
        blocks = [(0, self.cells, self.arrivals)]
        return readings(self.p, tuple(v.copy() for v in self.start), blocks, self.until)

    def backward(self, totals: np.ndarray, final=None, maximum=None) -> Found:
        """The costates back to time 0; what belongs to spike times is added to `totals`.

        `final` and `maximum` (cells,) are derivatives by the voltages at the end, and by the
        greatest: one of them at most.
        """
        layer, tape, at_end = self.layer, self.tape, None
        until = None if final is None else np.full(self.cells, self.until)
        by_synapse = np.zeros(layer.synapses), np.zeros(layer.synapses)
        resets = type(self.p).RESET
        sums = new_sums(len(self.start), len(layer.flow), len(resets), self.cells, by_synapse)
        if maximum is not None:
            until = self.readings.when
            tape, at_end = up_to_maximum(layer.model, tape, until)
        read = np.zeros(self.cells)
        for given in (final, maximum):
            read += 0.0 if given is None else given
        sums.costate[0][:] = read
        self._go_back(tape, until, sums, totals)
        if at_end is not None:
            moves_with_arrivals(at_end, sums, totals)
        params = params_of(layer.model, layer.flow, resets, sums, read)
        return Found(
            *by_synapse, summed(params, layer.n), by_sample(initial_of(layer.model, sums), layer.n)
        )

    def _go_back(self, tape: Tape, until: np.ndarray | None, sums, totals: np.ndarray) -> None:
        """The kernels; `until` (cells,) is where voltages are read, None: nowhere."""
        start, books = new_books(self.cells), new_books(self.cells)
        state, train = tuple(v.copy() for v in self.start), self.train
        if until is None:
            train = wanted(train, totals)
        low = train.first[:-1].copy()
        train.next[:] = low
        way = way_through(tape, len(state), self.p)
        notes = new_notes(len(state), self.cells, train.hi.size)
        notes.silent[:] = np.nan  # margins are not asked for
        order = np.arange(train.hi.size)  # by neuron: none hears another
        replay(self.p, order, state, books, tape, train, low, (self.until, 0.0), False, way, notes)
        if until is not None:
            ends(self.p, self.start, start, books, tape, train, low, until, True, way, notes, sums,
                 totals)  # fmt: skip
        backward(self.p, order[::-1], self.start, start, books, tape, train, low, way, notes, sums,
                 totals)  # fmt: skip


def wanted(train: Train, totals: np.ndarray) -> Train:
    """The spikes up to each neuron's last one that something depends on; others move nothing."""
    index = np.arange(train.hi.size)
    last = np.full(train.first.size - 1, -1)
    asked = totals[train.number] != 0.0
    last[train.unit[asked]] = index[asked]  # ascending by neuron: the last one stays
    keep = index <= last[train.unit]
    counts = np.bincount(train.unit[keep], minlength=last.size)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    unit, number = train.unit[keep], train.number[keep]
    return Train(first, train.hi[keep], train.lo[keep], unit, number, first[:-1].copy())


class Found(NamedTuple):
    """Derivatives of one population of a batch."""

    weight: np.ndarray  # by synapse
    delay: np.ndarray
    params: dict[str, Any]  # by neuron
    initial: dict[str, Any]  # by sample and neuron


def summed(found: dict[str, Any], n: int) -> dict[str, Any]:
    """Sums over samples, of dicts within dicts too."""
    return {
        key: summed(value, n) if isinstance(value, dict) else value.reshape(-1, n).sum(axis=0)
        for key, value in found.items()
    }


def by_sample(found: dict[str, Any], n: int) -> dict[str, Any]:
    """One row per sample, in dicts within dicts too."""
    return {
        key: by_sample(value, n) if isinstance(value, dict) else value.reshape(-1, n)
        for key, value in found.items()
    }
