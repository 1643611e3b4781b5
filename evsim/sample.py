"""One record of a gradient: what its loss asks, and the legs that answer."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np

from evsim.backward import Leg, go_back
from evsim.dense_leg import DenseLeg, simple
from evsim.losses import Final, FirstSpikes, Reading, SpikeCount
from evsim.margins import conditioning, status, trust
from evsim.readout_leg import ReadoutLeg
from evsim.record import Record
from evsim.synaptic import Shared


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over samples, of dicts within dicts too."""
    return {
        key: together([part[key] for part in parts])
        if isinstance(value, dict)
        else sum(part[key] for part in parts)
        for key, value in parts[0].items()
    }


def checked(label: str, values, n: int, per: str) -> np.ndarray:
    """Cotangents as an array with one finite value per spike or neuron."""
    values = np.asarray(values, float)
    if values.shape != (n,):
        raise ValueError(f"{label} must have one value per {per}, shape ({n},); got {values.shape}")
    if not np.isfinite(values).all():
        k = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"{label}[{k}] must be finite; got {values[k]}")
    return values


class Sample:
    """One record and what its loss asks of it."""

    def __init__(self, record: Record, cotangents, room: int, shared: Shared) -> None:
        self.record, self.room, network = record, room, record.network
        self.shared = shared
        trains = record._trains()
        ends = [0, *accumulate(map(len, trains.values()))]
        self.bases = dict(zip(trains, ends, strict=False))
        self.counts = {name: len(train) for name, train in trains.items()}
        #: derivatives by every spike time of the network; the last one is nobody's
        self.totals = np.zeros(ends[-1] + 1)
        self.legs: dict[str, Leg] = {
            name: (DenseLeg if simple(record, name) else Leg)(record, name, self.bases, shared)
            for name in network.populations
        }
        if not isinstance(cotangents, dict):
            raise TypeError(f"cotangents must be a dict; got {type(cotangents).__name__}")
        self.notes: list[str] = []
        self.readouts: list[ReadoutLeg] = []
        for name, seed in cotangents.items():
            self._seed(name, seed)

    def _seed(self, name: str, seed) -> None:
        if name not in self.record.spikes:
            known = ", ".join(self.record.spikes)
            raise ValueError(f"cotangents[{name!r}] is none of {known}")
        if isinstance(seed, list) and any(not np.isscalar(member) for member in seed):
            for member in seed:
                self._seed(name, member)
            return
        if isinstance(seed, Reading):
            self._read(name, seed)
            return
        if isinstance(seed, SpikeCount):
            self.notes.append("a spike count has derivative zero almost everywhere")
        if isinstance(seed, (FirstSpikes, SpikeCount)):
            seed = seed.cotangent(self.record, name)
        seed = checked(f"cotangents[{name!r}]", seed, len(self.record.spikes[name]), "spike")
        self.totals[self.bases[name] :][: seed.size] += seed

    def _read(self, name: str, seed: Reading) -> None:
        """A loss of voltages."""
        leg = self.legs[name]
        c = checked(f"cotangents[{name!r}].cotangent", seed.cotangent, leg.n, "neuron")
        if isinstance(seed, Final):
            leg.sums.costate[0][:] += c
            leg.by_rest += c
        else:
            self.readouts.append(
                ReadoutLeg(self.record, name, self.bases, self.shared, type(seed), c)
            )

    def run(self) -> None:
        """The backward pass, group by group."""
        for readout in self.readouts:
            readout.go(self.totals, self.room)
            readout.close()
        for names in reversed(self.record.network.stages()):
            legs = [self.legs[name] for name in names]
            if isinstance(legs[0], DenseLeg) and (lay := legs[0].lay()) is not None:
                legs[0].sweep_back(lay, self.totals)
                continue
            go_back(self.record.network, legs, self.record, self.totals, self.room)
            for leg in legs:
                leg.close()

    def of(self, name: str) -> list[Leg]:
        """Every leg of a population: one for its spikes, one per reading."""
        return [self.legs[name], *(leg for leg in self.readouts if leg.name == name)]

    def params(self, name: str) -> dict[str, Any]:
        """Derivatives by the parameters of a population."""
        return together([leg.params() for leg in self.of(name)])

    def initial(self, name: str) -> dict[str, Any]:
        """Derivatives by the state of a population at time 0."""
        return together([leg.initial() for leg in self.of(name)])

    @cached_property
    def conditioning(self):
        """Margins by population."""
        return {
            name: conditioning(leg, len(self.record.spikes[name]))
            for name, leg in self.legs.items()
        }

    def status(self) -> str:
        """Verdict on them."""
        return status(self.record, self.legs, self.conditioning)

    def trust(self) -> float:
        """How far all weights may move together; nan: not known."""
        if any(p.pulse_width is not None for p in self.record.network.projections.values()):
            return np.nan
        return trust(self.record, self.legs, self.bases, self.room)

    def currents(self) -> dict[str, SimpleNamespace]:
        """Derivatives by external currents, by population."""
        found = {}
        for name, current in self.record.inputs.items():
            if name not in self.legs:
                continue
            values = sum(leg.sums.drive for leg in self.of(name)).reshape(len(current.times), -1)
            times = sum(leg.sums.edge for leg in self.of(name)).reshape(values.shape).sum(axis=1)
            if current.values.ndim == 1:
                values = values.sum(axis=1)
            elif current.values.shape[1] == 1:
                values = values.sum(axis=1, keepdims=True)
            found[name] = SimpleNamespace(values=values, times=times)
        return found

    def inputs(self) -> dict[str, np.ndarray]:
        """Derivatives by the given spike times."""
        return {
            name: self.totals[self.bases[name] :][: self.counts[name]].copy()
            for name in self.record.network.inputs
        }
