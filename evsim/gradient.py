"""Exact gradients: one backward pass over the events of a record."""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse

from evsim.margins import STATUS
from evsim.network import Network, Projection
from evsim.record import Record
from evsim.sample import Sample, together
from evsim.sent import ROOM
from evsim.synaptic import Shared


class Gradient:
    """Derivatives of a loss, and how far to trust them.

    `params`, `conditioning`, `status` and `trust` of a dense layer take passes of their own over
    its events, and are worked out when first asked for.

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
    currents : dict, or list of dicts for a batch
        By population with an `evsim.Current`, a namespace: `values` shaped as what it got, and
        `times`.
    initial : dict, or list of dicts for a batch
        By population, a namespace with one array per state variable at time 0.
    status : str
        The worst of "regular", "kink" (a spike and an arrival coincide: one-sided derivatives
        differ), "grazing" (a spike so flat that float64 has lost the better part of the digits)
        and "creation_boundary" (a silent neuron at its threshold).
    conditioning : dict, or list of dicts for a batch
        By population, a namespace: by spike, `slope` (of the voltage through threshold; inf
        where it jumped), `peak_margin` (how far it would have risen above threshold before the
        next arrival) and `gap` (distance to the nearest arrival); by neuron, `silent_margin`
        (least distance of a silent voltage to threshold).
    trust : float
        How far the weights may move, each by up to so much, with all spikes keeping their
        number and order: a first-order bound over all directions, halved; see `evsim.trust`.
        nan where rectangular pulses are sent.
    notes : list of str
        What a reader of the numbers should know.
    """

    def __init__(self, samples: list[Sample], single: bool, weight, delay) -> None:
        self._samples, self._single = samples, single
        self.weight: dict[str, Any] = weight
        self.delay: dict[str, Any] = delay
        self.inputs = self._each([sample.inputs() for sample in samples])
        self.notes = sorted({note for sample in samples for note in sample.notes})

    def _each(self, values: list) -> Any:
        """One value per sample, or that of the only one."""
        return values[0] if self._single else values

    @cached_property
    def currents(self) -> Any:
        """By external currents."""
        return self._each([sample.currents() for sample in self._samples])

    @cached_property
    def initial(self) -> Any:
        """By the state at time 0."""
        names = self._samples[0].record.network.populations
        return self._each(
            [{k: SimpleNamespace(**one.initial(k)) for k in names} for one in self._samples]
        )

    @cached_property
    def params(self) -> dict[str, SimpleNamespace]:
        """By the parameters of every population."""
        return {
            name: SimpleNamespace(**together([sample.params(name) for sample in self._samples]))
            for name in self._samples[0].record.network.populations
        }

    @cached_property
    def conditioning(self) -> Any:
        """Margins of spikes and of silent intervals."""
        return self._each([sample.conditioning for sample in self._samples])

    @cached_property
    def status(self) -> str:
        """The worst verdict."""
        return max((sample.status() for sample in self._samples), key=STATUS.index)

    @cached_property
    def trust(self) -> float:
        """How far all weights may move together."""
        return min(sample.trust() for sample in self._samples)

    def __repr__(self) -> str:
        return f"Gradient(status={self.status!r}, weight={{{', '.join(self.weight)}}})"


def gradient(record, cotangents, *, room: int = ROOM) -> Gradient:
    """Derivatives of a loss by everything that its spike times depend on.

    Parameters
    ----------
    record : Record, or list of them for a batch
    cotangents : dict, or list of dicts for a batch
        By population: derivatives of the loss by the spike times, aligned with
        `record.spikes[name]`, or an object of `evsim.losses`, or a list of both. Populations
        left out count as zero.
    room : int, optional
        Arrivals that are held in memory at a time, eight bytes each. Longer runs are gone through
        in parts, the arrivals of each being laid out twice; `gap` and `peak_margin` then see those
        of a spike's own part.

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
    shared: Shared = {}
    samples = [Sample(one, seeds, room, shared) for one, seeds in zip(records, given, strict=True)]
    for sample in samples:
        sample.run()
    for onto in shared.values():
        onto.shelf.clear()
    network = records[0].network
    weight: dict[str, Any] = {}
    delay: dict[str, Any] = {}
    for name, projection in network.projections.items():
        onto = shared[projection.post]
        weight[name] = shaped(network, projection, onto.of_weight(name))
        each = np.ndim(projection.delay) > 0
        by_delay = onto.of_delay(name, each)
        delay[name] = shaped(network, projection, by_delay) if each else by_delay
    return Gradient(samples, single, weight, delay)


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
