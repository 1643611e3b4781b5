"""Feed-forward networks for training: a batch is one call, and weights change in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from evsim.batch import Fired, Found, Layer, Leg
from evsim.losses import Final, Maximum
from evsim.network import Network
from evsim.plan import on_cycle
from evsim.spikes import SILENT, Spikes

#: Samples that one thread takes at a time. Fixed, so that no sum depends on the threads.
CHUNK = 32


@dataclass(frozen=True)
class Trains:
    """Spikes of a batch, sample by sample, each in ascending order of time.

    Attributes
    ----------
    times, times_lo : ndarray, shape (k,)
        Spike times [s], and what they lack to more digits.
    units, samples : ndarray of int, shape (k,)
    size : int
        Number of samples.
    """

    times: np.ndarray
    times_lo: np.ndarray
    units: np.ndarray
    samples: np.ndarray
    size: int

    @classmethod
    def of(cls, spikes: Iterable[Spikes]) -> Trains:
        """From one `Spikes` per sample."""
        each = list(spikes)
        counts = [len(one) for one in each]
        empty = [SILENT]
        times, lo, units = (
            np.concatenate([getattr(one, name) for one in each or empty])
            for name in ("times", "times_lo", "units")
        )
        return cls(times, lo, units, np.repeat(np.arange(len(each)), counts), len(each))

    @classmethod
    def from_times(cls, times) -> Trains:
        """From one spike time per sample and unit, shape (samples, n); inf where there is none."""
        times = np.asarray(times, float)
        if times.ndim != 2:
            raise ValueError(f"times must have shape (samples, n); got {times.shape}")
        bad = np.isnan(times) | (times < 0.0)
        if bad.any():
            k = tuple(map(int, np.argwhere(bad)[0]))
            raise ValueError(f"times{list(k)} must be non-negative, or inf; got {times[k]}")
        sample, unit = np.nonzero(np.isfinite(times))
        order = np.lexsort((unit, times[sample, unit], sample))
        sample, unit = sample[order], unit[order]
        when = times[sample, unit]
        return cls(when, np.zeros(when.size), unit, sample, len(times))

    def sample(self, k: int) -> Spikes:
        """Those of one sample."""
        mine = slice(*np.searchsorted(self.samples, [k, k + 1]))
        return Spikes(self.times[mine], self.units[mine], times_lo=self.times_lo[mine])

    def first(self, n: int, silent: float) -> tuple[np.ndarray, np.ndarray]:
        """First spike times (samples, n), `silent` where there is none, and indices, or -1."""
        times, index = np.full(self.size * n, silent), np.full(self.size * n, -1)
        cell, where = np.unique(self.samples * n + self.units, return_index=True)
        times[cell], index[cell] = self.times[where], where
        return times.reshape(-1, n), index.reshape(-1, n)


class Chunk:
    """Some samples of a batch, run."""

    def __init__(self, layers: list[Layer], inputs, weights, samples: int, until: float) -> None:
        self.legs: dict[str, Leg] = {}
        self.fired: dict[str, Fired] = {}
        self.samples, total = samples, 0
        for name, (hi, lo, cell) in inputs.items():
            self.fired[name] = Fired(hi, lo, cell, total + np.arange(hi.size))
            total += hi.size
        for layer in layers:
            leg = Leg(layer, self.fired, weights, samples, until, total)
            self.legs[layer.name], self.fired[layer.name] = leg, leg.spikes
            total += leg.spikes.hi.size
        self.total = total

    def backward(self, seeds: dict[str, list[tuple[type | None, np.ndarray]]]):
        """(derivatives by population, those by the input spikes) of this chunk."""
        totals = np.zeros(self.total + 1)
        for name, given in seeds.items():
            for kind, values in given:
                if kind is None:
                    totals[self.fired[name].number] += values
        found: dict[str, list[Found]] = {}
        for name, leg in reversed(self.legs.items()):
            given = [(kind, values.ravel()) for kind, values in seeds.get(name, []) if kind]
            final = [values for kind, values in given if kind is Final]
            found[name] = [
                leg.backward(totals, maximum=values) for kind, values in given if kind is Maximum
            ]
            if leg.layer.model.spiking or final:
                found[name].append(leg.backward(totals, final=sum(final) if final else None))
        by_input = {
            name: totals[fired.number]
            for name, fired in self.fired.items()
            if name not in self.legs
        }
        return found, by_input


@dataclass(frozen=True)
class Run:
    """A batch that has been run.

    Attributes
    ----------
    spikes : dict of Trains
        By population.
    """

    spikes: dict[str, Trains]
    chunks: list[Chunk]

    def maximum(self, name: str) -> np.ndarray:
        """Greatest voltages of a readout (`LI`) over [0, until], shape (samples, n)."""
        parts = []
        for chunk in self.chunks:
            leg = chunk.legs[name]
            if leg.layer.model.spiking:
                raise ValueError(f"the maximum is of readouts (LI); {name!r} fires")
            highest = leg.readings.highest.reshape(-1, leg.layer.n)
            parts.append(highest + leg.layer.model.rest())
        return np.concatenate(parts)


@dataclass(frozen=True)
class Derivatives:
    """Sums over a batch, but for `inputs` and `initial`; names as of `evsim.gradient`."""

    weight: dict[str, np.ndarray]
    delay: dict[str, Any]
    params: dict[str, SimpleNamespace]
    inputs: dict[str, np.ndarray]
    initial: dict[str, SimpleNamespace]


class FeedForward:
    """A network without cycles, to be run and differentiated many times.

    Spikes and derivatives are those of `evsim.simulate` and `evsim.gradient`, the spikes bit for
    bit. What it leaves out is what training does not ask for: doubts, margins, voltages.

    Parameters
    ----------
    network : Network
        Any models and synapses; no rectangular pulses.
    until : float
        Every run covers [0, until] [s].
    threads : int, optional
        Default: all processors. Does not change a bit of the result.

    Attributes
    ----------
    weight : dict of ndarray
        By projection, (n_pre, n_post) where it is dense, else one per synapse in the order of
        sources. Change them in place.

    Raises
    ------
    ValueError
        If the network has a cycle or pulses.

    Examples
    --------
    >>> layers = FeedForward(net, until=0.05)
    >>> run = layers.run({"in": Trains.from_times([[1e-3, 4e-3]])})
    >>> g = layers.gradient(run, {"out": dL_dt})  # aligned with run.spikes["out"]
    >>> layers.weight["in->out"] -= 0.1 * g.weight["in->out"]
    """

    def __init__(self, network: Network, until: float, *, threads: int | None = None) -> None:
        self.network, self.until = network.copy(), float(until)
        self.threads = threads or os.cpu_count() or 1
        self.layers = []
        for projection in network.projections.values():
            if projection.pulse_width is not None:
                raise ValueError(
                    f"projection {projection.name!r} sends pulses; run it by evsim.simulate"
                )
        for names in network.stages():
            if on_cycle(network, names):
                raise ValueError(f"{', '.join(names)} lie on a cycle; run it by evsim.simulate")
            self.layers += [Layer(self.network, name) for name in names]
        self.weight = {name: p.weight.copy() for name, p in network.projections.items()}

    def run(self, inputs: dict[str, Trains]) -> Run:
        """Run a batch.

        Parameters
        ----------
        inputs : dict of Trains
            By input, of as many samples each.

        Returns
        -------
        Run
        """
        sizes = {train.size for train in inputs.values()}
        if set(inputs) != set(self.network.inputs) or len(sizes) != 1:
            known = ", ".join(self.network.inputs)
            raise ValueError(f"inputs must hold {known}, of equal size; got {inputs.keys()}")
        size = sizes.pop()

        def one(first: int) -> Chunk:
            samples = min(CHUNK, size - first)
            part = {}
            for name, n in self.network.inputs.items():
                train = inputs[name]
                mine = slice(*np.searchsorted(train.samples, [first, first + samples]))
                cell = (train.samples[mine] - first) * n + train.units[mine]
                part[name] = train.times[mine], train.times_lo[mine], cell
            return Chunk(self.layers, part, self.weight, samples, self.until)

        chunks = self._each(one, range(0, size, CHUNK))
        return Run({layer.name: self._trains(layer, chunks, size) for layer in self.layers}, chunks)

    def gradient(self, run: Run, cotangents: dict[str, Any]) -> Derivatives:
        """Derivatives of a loss, with the weights as they were at `run`.

        Parameters
        ----------
        run : Run
        cotangents : dict
            By population: derivatives by the spike times, aligned with `run.spikes[name]`, or
            `evsim.losses.Maximum` or `Final` with a cotangent (samples, n), or a list of those.

        Returns
        -------
        Derivatives
        """
        seeds = {name: self._seeds(run, name, given) for name, given in cotangents.items()}
        parts = []
        at = 0
        done = {name: 0 for name in run.spikes}
        for chunk in run.chunks:
            mine: dict[str, list] = {}
            for name, given in seeds.items():
                k = done[name]
                done[name] = k + chunk.fired[name].hi.size
                mine[name] = [
                    (kind, values[k : done[name]] if kind is None else values[at:][: chunk.samples])
                    for kind, values in given
                ]
            at += chunk.samples
            parts.append((chunk, mine))
        found = self._each(lambda pair: pair[0].backward(pair[1]), parts)
        return self._together(found)

    def _seeds(self, run: Run, name: str, given) -> list[tuple[type | None, np.ndarray]]:
        """What a loss asks of one population: (kind of reading or None, values)."""
        if name not in run.spikes:
            raise ValueError(f"cotangents[{name!r}] is none of {', '.join(run.spikes)}")
        out: list[tuple[type | None, np.ndarray]] = []
        for member in given if isinstance(given, list) else [given]:
            kind = type(member) if isinstance(member, Maximum | Final) else None
            values = np.asarray(member if kind is None else member.cotangent, float)
            train = run.spikes[name]
            n = self.network.size(name)
            wanted = (train.times.size,) if kind is None else (train.size, n)
            if values.shape != wanted:
                raise ValueError(
                    f"cotangents[{name!r}] must have shape {wanted}; got {values.shape}"
                )
            out.append((kind, values))
        return out

    def _trains(self, layer: Layer, chunks: list[Chunk], size: int) -> Trains:
        fired = [chunk.fired[layer.name] for chunk in chunks]
        hi, lo, cell = (
            np.concatenate([getattr(f, c) for f in fired]) for c in ("hi", "lo", "cell")
        )
        first = np.repeat(np.arange(len(chunks)) * CHUNK, [f.hi.size for f in fired])
        sample, unit = np.divmod(cell, layer.n)
        return Trains(hi, lo, unit, sample + first, size)

    def _together(self, parts) -> Derivatives:
        """Sums over chunks, in their order."""
        weight, delay, params, initial = {}, {}, {}, {}
        for layer in self.layers:
            name = layer.name
            every = [one for found, _ in parts for one in found[name]]
            by_weight, by_delay = (
                sum((one[k] for one in every), np.zeros(layer.synapses)) for k in (0, 1)
            )
            for projection, _, offset in layer.sources:
                mine = slice(offset, offset + projection.weight.size)
                shape = projection.weight.shape
                weight[projection.name] = by_weight[mine].reshape(shape)
                scalar = np.ndim(projection.delay) == 0
                delay[projection.name] = by_delay[mine].sum() if scalar else by_delay[mine]
            if every:
                params[name] = SimpleNamespace(**added([one.params for one in every]))
                rows = [added([one.initial for one in found[name]]) for found, _ in parts]
                initial[name] = SimpleNamespace(**stacked(rows))
        by_input = stacked([by_input for _, by_input in parts])
        return Derivatives(weight, delay, params, by_input, initial)

    def _each(self, work: Callable, items) -> list:
        """Answers in order; the first alone, since it may compile what the others share."""
        items = list(items)
        if self.threads == 1 or len(items) < 2:
            return [work(item) for item in items]
        first = work(items[0])
        with ThreadPoolExecutor(self.threads) as pool:
            return [first, *pool.map(work, items[1:])]


def added(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums of dicts, of dicts within them too."""
    return {
        key: added([part[key] for part in parts])
        if isinstance(value, dict)
        else sum(part[key] for part in parts)
        for key, value in parts[0].items()
    }


def stacked(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows one after another, of dicts within dicts too."""
    return {
        key: stacked([part[key] for part in parts])
        if isinstance(value, dict)
        else np.concatenate([part[key] for part in parts])
        for key, value in parts[0].items()
    }
