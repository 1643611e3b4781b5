"""Exact gradients: one backward pass over the events of a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse

from evsim.backward import Leg, go_back
from evsim.network import Network, Projection
from evsim.record import Record
from evsim.spikes import Spikes
from evsim.tape import ROOM


@dataclass(repr=False)
class Gradient:
    """Derivatives of a loss, and how far to trust them.

    Attributes
    ----------
    weight, delay : dict
        By projection, shaped as what `Network.connect` got; sparse where that was sparse.
    params : dict
        By population, a namespace with one array of shape (n,) per parameter of its model
        (`tau_mem`, `v_th`, ...); a dict of arrays for `tau_syn` with several synapse types.
        Parameters move with the initial state held.
    inputs : dict, or list of dicts for a batch
        By input, derivatives by its spike times, in their order.
    initial : dict, or list of dicts for a batch
        By population, a namespace with one array per state variable at time 0.
    """

    weight: dict[str, Any]
    delay: dict[str, Any]
    params: dict[str, SimpleNamespace]
    inputs: Any
    initial: Any
    conditioning: Any = field(default=None)


def gradient(record, cotangents, *, room: int = ROOM) -> Gradient:
    """Derivatives of a loss by everything that its spike times depend on.

    Parameters
    ----------
    record : Record, or list of them for a batch
    cotangents : dict, or list of dicts for a batch
        By population: derivatives of the loss by the spike times, aligned with
        `record.spikes[name]`. Populations left out count as zero.
    room : int, optional
        Arrivals that are held in memory at a time.

    Returns
    -------
    Gradient
        Sums over the samples of a batch, but for `inputs` and `initial`.

    Raises
    ------
    ValueError, TypeError
        If `cotangents` do not fit the record.
    """
    single = isinstance(record, Record)
    records = [record] if single else list(record)
    given = [cotangents] if single else list(cotangents)
    if len(records) != len(given):
        raise ValueError(f"{len(given)} cotangents for {len(records)} records")
    if not records:
        raise ValueError("a batch must hold at least one record")
    samples = [Sample(one, seeds, room) for one, seeds in zip(records, given, strict=True)]
    for sample in samples:
        sample.run()
    network = records[0].network
    weight: dict[str, Any] = {}
    delay: dict[str, Any] = {}
    for name, projection in network.projections.items():
        by_weight, total = np.sum([sample.synapses(projection) for sample in samples], axis=0)
        weight[name] = shaped(network, projection, by_weight)
        delay[name] = (
            total.sum() if np.ndim(projection.delay) == 0 else shaped(network, projection, total)
        )
    params = {
        name: SimpleNamespace(**together([sample.legs[name].params() for sample in samples]))
        for name in network.populations
    }
    inputs = [sample.inputs() for sample in samples]
    initial = [
        {name: SimpleNamespace(**leg.initial()) for name, leg in sample.legs.items()}
        for sample in samples
    ]
    return Gradient(
        weight, delay, params, inputs[0] if single else inputs, initial[0] if single else initial
    )


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over samples, of dicts within dicts too."""
    return {
        key: together([part[key] for part in parts])
        if isinstance(value, dict)
        else sum(part[key] for part in parts)
        for key, value in parts[0].items()
    }


def shaped(network: Network, projection: Projection, values: np.ndarray):
    """One number per synapse in the form of what `connect` got."""
    shape = projection.n_pre, network.size(projection.post)
    if projection.form == "dense":
        return values.reshape(shape)
    if projection.form == "csr":
        parts = values, projection.targets, projection.indptr
        return scipy.sparse.csr_array(parts, shape=shape)
    order = np.arange(values.size) if projection.order is None else projection.order
    given = np.empty(values.size)
    given[order] = values
    if projection.form == "list":
        return given
    pre, post = np.empty(values.size, np.int64), np.empty(values.size, np.int64)
    pre[order] = np.repeat(np.arange(shape[0]), np.diff(np.asarray(projection.indptr)))
    post[order] = np.asarray(projection.targets)
    return scipy.sparse.coo_array((given, (pre, post)), shape=shape).asformat(projection.form)


class Sample:
    """One record and what its loss asks of it."""

    def __init__(self, record: Record, cotangents, room: int) -> None:
        self.record, self.room, network = record, room, record.network
        trains = record._trains()
        counts = {name: len(train) for name, train in trains.items()}
        ends = np.cumsum(list(counts.values()))
        self.bases = dict(zip(counts, (int(e) for e in ends - list(counts.values())), strict=True))
        #: derivatives by every spike time of the network; the last one is nobody's
        self.totals = np.zeros(int(ends[-1] if ends.size else 0) + 1)
        self.legs = {name: Leg(record, name, self.bases) for name in network.populations}
        if not isinstance(cotangents, dict):
            raise TypeError(f"cotangents must be a dict; got {type(cotangents).__name__}")
        for name, seed in cotangents.items():
            self._seed(name, seed)

    def _seed(self, name: str, seed) -> None:
        if name not in self.record.spikes:
            known = ", ".join(self.record.spikes)
            raise ValueError(f"cotangents[{name!r}] is none of {known}")
        wanted = (len(self.record.spikes[name]),)
        seed = np.asarray(seed, float)
        if seed.shape != wanted:
            raise ValueError(
                f"cotangents[{name!r}] must have one value per spike, shape {wanted}; "
                f"got {seed.shape}"
            )
        if not np.isfinite(seed).all():
            k = int(np.argmin(np.isfinite(seed)))
            raise ValueError(f"cotangents[{name!r}][{k}] must be finite; got {seed[k]}")
        self.totals[self.bases[name] :][: seed.size] += seed

    def run(self) -> None:
        """The backward pass, group by group."""
        for names in reversed(self.record.network.stages()):
            legs = [self.legs[name] for name in names]
            go_back(self.record.network, legs, self.record, self.totals, self.room)

    def synapses(self, projection: Projection) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives by the weights and delays of a projection, one per synapse."""
        first = 0
        for other in self.record.network.projections.values():
            if other.name == projection.name:
                break
            first += other.weight.size if other.post == projection.post else 0
        mine = slice(first, first + projection.weight.size)
        sums = self.legs[projection.post].sums
        return sums.weight[mine], sums.delay[mine]

    def inputs(self) -> dict[str, np.ndarray]:
        """Derivatives by the given spike times."""
        return {
            name: self.totals[self.bases[name] :][
                : len(self.record.inputs.get(name, Spikes([], [])))
            ].copy()
            for name in self.record.network.inputs
        }
