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
from evsim.delivery import add_delay, incoming
from evsim.jit import kernel
from evsim.lists import Arrivals, walk
from evsim.network import Network
from evsim.neuron import DONE, FULL, more_room, new_books, new_log, new_place
from evsim.outcome import runaway
from evsim.readings import Readings, readings
from evsim.readout_leg import moves_with_arrivals, up_to_maximum
from evsim.replay import Tape, Train, replay
from evsim.start import initial_states
from evsim.tape import Senders, blank, in_order, lay


class Fired(NamedTuple):
    """Spikes of a population of a batch in order of sample, then time."""

    hi: Any
    lo: Any
    cell: Any  # sample times the size of the population, plus the unit
    number: Any  # among all of the batch


@kernel
def count(cell, n_pre, n, indptr, targets, counts):
    """Count the arrivals per neuron of the batch that these spikes cause."""
    for k in range(cell.size):
        sample = cell[k] // n_pre
        unit = cell[k] - sample * n_pre
        for s in range(indptr[unit], indptr[unit + 1]):
            counts[sample * n + targets[s]] += 1


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
        self.rows = []
        self.synapses = 0
        for projection in incoming(network, name):
            indptr, targets, _ = rows_of(projection, self.n)
            self.rows.append((projection, indptr, targets, np.int64(self.synapses)))
            self.synapses += projection.weight.size
        self._tiled: dict[int, Any] = {}

    def parameters(self, samples: int):
        """Kernel parameters of so many samples, and the state at their start."""
        if samples not in self._tiled:
            fields = [np.tile(v, samples) if isinstance(v, np.ndarray) else v for v in self.p]
            self._tiled[samples] = type(self.p)(*fields)
        return self._tiled[samples], tuple(np.tile(v, samples) for v in self.state)

    def tape(self, fired: dict[str, Fired], weights: dict[str, np.ndarray], samples: int, until):
        """All arrivals of a batch."""
        counts = np.zeros(samples * self.n, np.int64)
        sent = []
        for projection, indptr, targets, offset in self.rows:
            spikes, n_pre = fired[projection.pre], np.int64(projection.n_pre)
            hi, lo = spikes.hi, spikes.lo
            common = float(projection.delay) if np.ndim(projection.delay) == 0 else 0.0
            if common:
                hi, lo = add_delay(hi, lo, common)
            # What comes after the end is on the tape too where delays differ, and cut off below.
            keep = (hi < until) | ((hi == until) & (lo <= 0.0))
            columns = [c if keep.all() else c[keep] for c in (hi, lo, spikes.cell, spikes.number)]
            count(columns[2], n_pre, np.int64(self.n), indptr, targets, counts)
            sample, row = np.divmod(columns[2], n_pre)
            senders = Senders(columns[0], columns[1], row, sample * self.n, columns[3])
            sent.append((senders, projection, indptr, targets, offset))
        tape = blank(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), 0)
        place = tape.start[:-1].copy()
        for senders, projection, indptr, targets, offset in sent:
            weight = weights[projection.name].reshape(-1)
            lay(senders, indptr, targets, weight, np.int64(projection.port), offset, place, tape)
        if any(np.ndim(projection.delay) for projection, *_ in self.rows):
            return self._delayed(tape, until)
        return in_order(tape) if len(sent) > 1 else tape

    def _delayed(self, tape: Tape, until: float) -> Tape:
        """With the delays of those synapses that have their own; none after the end."""
        for projection, _, _, offset in self.rows:
            if np.ndim(projection.delay):
                here = tape.synapse - offset
                mine = (here >= 0) & (here < projection.weight.size)
                delay = np.ravel(projection.delay)[here[mine]]
                tape.hi[mine], tape.lo[mine] = add_delay(tape.hi[mine], tape.lo[mine], delay)
        keep = (tape.hi < until) | ((tape.hi == until) & (tape.lo <= 0.0))
        target = np.repeat(np.arange(tape.start.size - 1), np.diff(tape.start))[keep]
        counts = np.bincount(target, minlength=tape.start.size - 1)
        columns = {name: getattr(tape, name)[keep] for name in tape._fields[1:-1]}
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return in_order(tape._replace(start=start, **columns))


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

    @property
    def arrivals(self) -> Arrivals:
        """The tape as the kernels of `evsim.lists` know it."""
        return Arrivals(*self.tape[:5])

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
        replay(self.p, state, books, tape, train, (self.until, 0.0), False, False, way, notes)
        if until is not None:
            ends(self.p, self.start, start, books, tape, train, low, until, True, way, notes, sums,
                 totals)  # fmt: skip
        order = np.arange(train.hi.size)[::-1].copy()  # by neuron: none hears another
        backward(self.p, order, self.start, start, books, tape, train, low, way, notes, sums,
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
