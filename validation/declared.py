"""What a layer of a recording is declared to be: its twin, its weights, and where they come from.

A NIR graph inside a recording is the declaration and wins over manifest and parameters, which
say how the framework was set up to compute it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from validation import adapters
from validation.evtrace import EvtraceError
from validation.evtrace_reader import Layer, Recording
from validation.model import Model, Semantics
from validation.twin import TwinRun, run

#: Layers of larger size are checked on as many samples as stay below it.
MOST = 2**25


@dataclass(frozen=True)
class Declared:
    """One layer, ready to be run."""

    name: str
    model: Model
    params: Mapping[str, Any]
    semantics: Semantics
    dt: float | None
    x: np.ndarray | None  #: input current [T, B, N]
    spikes: np.ndarray | None  #: recorded counts [T, B, N]
    membrane: np.ndarray | None
    synaptic_current: np.ndarray | None
    initial: Mapping[str, Any]
    arithmetic: str | None
    node: Any = None  #: the NIR node, where a graph declares the layer

    def run(self, **changes) -> TwinRun:
        """The twin on the recorded input, with anything changed; resets follow the recording."""
        d = replace(self, **changes) if changes else self
        assert d.x is not None
        return run(
            d.model,
            d.params,
            d.semantics,
            d.x,
            dt=d.dt,
            initial=d.initial,
            recorded_spikes=d.spikes,
            arithmetic=d.arithmetic,
        )

    def part(self, where: np.ndarray) -> Declared:
        """Only some neurons, given as a mask [N]."""

        def cut(value):
            per_neuron = value is not None and np.size(value) == where.size > 1
            return np.asarray(value).reshape(-1)[where] if per_neuron else value

        def columns(a):
            return None if a is None else a[..., where]

        return replace(
            self,
            params={k: cut(v) for k, v in self.params.items()},
            x=columns(self.x),
            spikes=columns(self.spikes),
            membrane=columns(self.membrane),
            synaptic_current=columns(self.synaptic_current),
            initial={k: columns(np.asarray(v)) for k, v in self.initial.items()},
        )


@dataclass(frozen=True)
class Source:
    """One input of a layer: the node's name, its weight (n_out, n_in) and delay in steps."""

    node: str
    weight: Any
    delay: int


def graph_of(recording: Recording) -> Any | None:
    """The NIR graph inside a recording, or None."""
    data = recording.arrays.get("graph.nir")
    if data is None:
        return None
    import nir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        path.write_bytes(np.ascontiguousarray(data).tobytes())
        try:
            return nir.read(path)
        except Exception as error:  # h5py and nir raise anything for a broken file
            raise EvtraceError(f"array 'graph.nir' is not a NIR graph: {error}") from error


def declare(recording: Recording, name: str, graph: Any | None) -> Declared:
    """The declaration of one layer.

    Raises
    ------
    EvtraceError, ValueError
        If the model is unknown, a parameter is missing or wrong, or the graph lacks the node.
    """
    layer = recording.layer(name)
    try:
        model = adapters.model(str(layer.entry.get("model")))
        semantics = model.semantics.updated(layer.entry)
        params: Mapping[str, Any] = layer.params
        dt = recording.manifest.get("dt")
        node = _node(graph, name)
        if node is not None:
            params, semantics = model.from_nir_node(node, dt, semantics)
            # The graph says what is computed; how states start and clip stays the framework's.
        model.resolve(params, layer.size)
    except (ValueError, TypeError) as error:
        raise EvtraceError(f"layer {name!r}: {error}") from error
    shape = (recording.manifest["n_steps"], recording.manifest["n_samples"], layer.size)

    def flat(quantity):
        array = layer.get(quantity)
        return None if array is None else array.reshape(shape)

    return Declared(
        name=name,
        model=model,
        params=params,
        semantics=semantics,
        dt=dt,
        x=flat("input_current"),
        spikes=layer.spikes(),
        membrane=flat("membrane"),
        synaptic_current=flat("synaptic_current"),
        initial=_initial(layer, shape),
        arithmetic=recording.manifest.get("provenance", {}).get("arithmetic"),
        node=node,
    )


def _node(graph, name: str):
    if graph is None:
        return None
    if name not in graph.nodes:
        raise EvtraceError(f"graph.nir has no node {name!r}; it has {', '.join(graph.nodes)}")
    return graph.nodes[name]


def _initial(layer: Layer, shape) -> dict[str, np.ndarray]:
    found = {}
    for variable in ("v", "i"):
        value = layer.get(f"initial_state.{variable}")
        if value is not None:
            found[variable] = value.reshape(shape[1:])
    return found


def sources(recording: Recording, name: str, graph: Any | None) -> tuple[list[Source], Any]:
    """What the input current of a layer is the weighted sum of, and its bias.

    An empty list where the recording does not say; then the input current stands unchecked.
    """
    layer = recording.layer(name)
    listed = layer.entry.get("sources") or []
    weights = _graph_weights(graph, name) if graph is not None else None
    found = []
    for entry in listed:
        node, delay = str(entry.get("node")), int(entry.get("delay", 0))
        key = "weight" if len(listed) == 1 else f"weight.{node}"
        weight = weights[0] if weights is not None else _weight(layer, key, node)
        if weight is None:
            return [], None
        found.append(Source(node, weight, delay))
    bias = weights[1] if weights is not None else layer.get("bias")
    return found, bias


def _weight(layer: Layer, key: str, node: str):
    dense = layer.get(key)
    if dense is not None:
        return dense
    parts = [layer.get(f"{key}.{part}") for part in ("data", "indices", "indptr")]
    if any(part is None for part in parts):
        return None
    try:
        shape = (layer.size, int(np.max(parts[1], initial=-1)) + 1)
        return scipy.sparse.csr_array(tuple(parts), shape=shape)
    except ValueError as error:
        raise EvtraceError(f"layer {layer.name!r}: {key} is no CSR triplet: {error}") from error


def _graph_weights(graph, name: str):
    """(weight, bias) of the one Affine or Linear before a node, or None."""
    before = [a for a, b in graph.edges if b == name]
    while len(before) == 1 and type(graph.nodes[before[0]]).__name__ == "Flatten":
        before = [a for a, b in graph.edges if b == before[0]]
    if len(before) != 1 or type(graph.nodes[before[0]]).__name__ not in ("Affine", "Linear"):
        return None
    node = graph.nodes[before[0]]
    return np.asarray(node.weight), getattr(node, "bias", None)
