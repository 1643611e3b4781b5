"""What a layer of a recording is declared to be: its twin, its weights, and where they come from.

A NIR graph inside a recording is the declaration and wins over manifest and parameters, which
say how the framework was set up to compute it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from evsim.nir_file import read_graph
from validation import adapters
from validation.declaration import as_spiking
from validation.evtrace import EvtraceError, one_line
from validation.evtrace_reader import Layer, Recording
from validation.model import Model, Semantics
from validation.twin import ARITHMETIC, TwinRun, run

#: Arrays of a layer that hold one value per step, sample and neuron.
DENSE = ("input_current", "membrane", "synaptic_current")
#: Delays from here on are refused: steps are 32-bit integers in a recording.
MOST_DELAY = 2**31


@dataclass(frozen=True)
class Gradient:
    """A recorded backward pass of a layer, and the rule that it is declared to follow."""

    arriving: np.ndarray  #: gradient by the spikes that it sent [T, B, N]
    leaving: np.ndarray  #: gradient by its input current [T, B, N]
    surrogate: str
    params: Mapping[str, Any]
    detached: bool  #: whether the reset takes the spike for a constant


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
    matmul: str | None = None  #: arithmetic of the weighted sums where it differs
    node: Any = None  #: the NIR node, where a graph declares the layer
    own: Mapping[str, Any] = field(default_factory=dict)  #: parameters in the recording
    gradient: Gradient | None = None
    resolution: float = 0.0  #: unit of the states of a program in fixed point

    def run(self, *, forced: bool = True, bound: bool = True) -> TwinRun:
        """The twin on the recorded input; resets follow the recording where `forced`."""
        assert self.x is not None
        return run(
            self.model,
            self.params,
            self.semantics,
            self.x,
            dt=self.dt,
            initial=self.initial,
            recorded_spikes=self.spikes if forced else None,
            bound=bound,
            arithmetic=self.arithmetic,
            resolution=self.resolution,
        )

    def cut(
        self,
        *,
        steps: slice = slice(None),
        samples: Any = slice(None),
        neurons: Any = slice(None),
    ) -> Declared:
        """Only the first steps, some samples and some neurons (slices, masks or indices)."""
        n = 0 if self.x is None else self.x.shape[2]

        def dense(a):
            return None if a is None else a[steps][:, samples][..., neurons]

        def per_neuron(value):
            if value is None or not np.size(value) == n > 1:
                return value
            return np.asarray(value).reshape(-1)[neurons]

        return replace(
            self,
            params={k: per_neuron(v) for k, v in self.params.items()},
            x=dense(self.x),
            spikes=dense(self.spikes),
            membrane=dense(self.membrane),
            synaptic_current=dense(self.synaptic_current),
            initial={k: v[samples][:, neurons] for k, v in self.initial.items()},
            gradient=None,  # what arrives later than the cut is lost
        )


def in_units_of_graph(d: Declared) -> Declared | None:
    """The layer with its recorded membrane in the graph's unit; None where that is its own.

    An importer may take the gain of the input out of the update and into the threshold. What is
    recorded then is the same membrane in another unit, which the two thresholds tell.
    """
    name = d.model.threshold
    if d.node is None or d.membrane is None or name not in d.own:
        return None
    own, asked = (np.asarray(a, np.float64).reshape(-1) for a in (d.own[name], d.params[name]))
    if own.size not in (1, asked.size, d.membrane.shape[2]) or not own.all():
        return None
    unit = asked / own
    if not np.isfinite(unit).all() or np.allclose(unit, 1.0, rtol=1e-6):
        return None
    scaled = (d.membrane * unit).astype(d.membrane.dtype)
    return replace(d, membrane=scaled, synaptic_current=None)


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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        path.write_bytes(np.ascontiguousarray(data).tobytes())
        try:
            return read_graph(path)
        except ValueError as error:
            why = one_line(error.__cause__ or error)
            raise EvtraceError(f"array 'graph.nir' is no NIR graph: {why}") from error


def declare(recording: Recording, name: str, graph: Any | None) -> Declared:
    """The declaration of one layer.

    Raises
    ------
    EvtraceError
        If the model is unknown, a parameter is missing or wrong, a shape does not fit, or the
        graph lacks the node; one line that names the layer.
    """
    layer = recording.layer(name)
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            return _declare(recording, layer, graph)
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise EvtraceError(f"layer {name!r}: {one_line(error)}") from error


def _declare(recording: Recording, layer: Layer, graph: Any | None) -> Declared:
    name = layer.entry.get("model")
    if not isinstance(name, str):
        raise EvtraceError(f"model must be the name of one, not {name!r:.40}")
    model = adapters.model(name)
    semantics = model.semantics.updated(layer.entry)
    own: Mapping[str, Any] = layer.params
    params = own
    dt = recording.manifest.get("dt")
    node = _node(graph, layer.name)
    if node is not None:
        # The graph says what is computed; how a membrane is exposed stays the framework's.
        params, semantics = model.from_nir_node(node, dt, semantics)
        params = {**_factors(model, own, params), **params}
    resolved = model.resolve(params, layer.size)
    model.constants(resolved, semantics, dt, np.float64)
    provenance = _provenance(recording)
    shape = (recording.manifest["n_steps"], recording.manifest["n_samples"], layer.size)
    dense = {quantity: _dense(layer, quantity, shape) for quantity in DENSE}
    return Declared(
        name=layer.name,
        model=model,
        params=params,
        semantics=semantics,
        dt=dt,
        x=dense["input_current"],
        spikes=layer.spikes(),
        membrane=dense["membrane"],
        synaptic_current=dense["synaptic_current"],
        initial=_initial(layer, shape),
        node=node,
        own=own,
        gradient=_gradient(layer, shape),
        resolution=_resolution(layer.entry.get("resolution", 0.0)),
        **provenance,
    )


def _factors(model: Model, own: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Decay factors as sinabs rounds them, which no graph holds; beside their time constants."""
    return {
        name: value
        for name, value in own.items()
        if model.time.get(name) == "factor" and name.replace("alpha", "tau") in params
    }


def _provenance(recording: Recording) -> dict[str, str | None]:
    """Arithmetic in which the framework says it computed."""
    found = recording.manifest.get("provenance", {})
    if not isinstance(found, Mapping):
        raise EvtraceError(f"provenance must be an object, not {found!r:.40}")
    name = found.get("arithmetic")
    if name is not None and (not isinstance(name, str) or name not in ARITHMETIC):
        raise EvtraceError(
            f"provenance.arithmetic must be one of {', '.join(ARITHMETIC)}, not {name!r:.40}"
        )
    return {"arithmetic": name, "matmul": "tf32" if found.get("tf32") is True else None}


def _resolution(given: Any) -> float:
    if type(given) not in (int, float) or not 0 <= given < 1:
        raise EvtraceError(f"resolution must be a number in [0, 1), not {given!r:.40}")
    return float(given)


def _gradient(layer: Layer, shape: tuple[int, ...]) -> Gradient | None:
    found = [_dense(layer, name, shape) for name in ("grad_output.spikes", "grad_input_current")]
    if found[0] is None or found[1] is None:
        return None
    surrogate, detached = layer.entry.get("surrogate"), layer.entry.get("reset_detached")
    if not isinstance(surrogate, Mapping) or not isinstance(surrogate.get("name"), str):
        raise EvtraceError(f"surrogate must be an object with a name, not {surrogate!r:.60}")
    if type(detached) is not bool:
        raise EvtraceError(f"reset_detached must be true or false, not {detached!r:.40}")
    params = surrogate.get("params", {})
    if not isinstance(params, Mapping) or not all(type(v) in (int, float) for v in params.values()):
        raise EvtraceError(f"surrogate.params must be an object of numbers, not {params!r:.60}")
    return Gradient(found[0], found[1], surrogate["name"], params, detached)


def _dense(layer: Layer, quantity: str, shape: tuple[int, ...]) -> np.ndarray | None:
    array = layer.get(quantity)
    if array is None:
        return None
    if array.dtype.kind != "f":
        raise EvtraceError(f"{quantity} must hold floats, not {array.dtype}")
    if quantity == "input_current" and not np.isfinite(array).all():
        raise EvtraceError(f"{quantity} holds values that are not finite")
    return array.reshape(shape)


def _node(graph, name: str):
    if graph is None:
        return None
    nodes = getattr(graph, "nodes", {})
    if name not in nodes:
        raise EvtraceError(f"graph.nir has no node {name!r}; it has {', '.join(nodes)}")
    return as_spiking(nodes[name])


def _initial(layer: Layer, shape) -> dict[str, np.ndarray]:
    found = {}
    for variable in ("v", "i"):
        value = layer.get(f"initial_state.{variable}")
        if value is not None:
            if value.dtype.kind != "f" or not np.isfinite(value).all():
                raise EvtraceError(f"initial_state.{variable} must hold finite floats")
            flat = value.reshape(shape[1:]) if value.ndim else value
            found[variable] = np.broadcast_to(flat, shape[1:])
    return found


def sources(recording: Recording, name: str, graph: Any | None) -> tuple[list[Source], Any]:
    """What the input current of a layer is the weighted sum of, and its bias.

    An empty list where the recording does not say; then the input current stands unchecked.

    Raises
    ------
    EvtraceError
        If a source is unknown, a delay is no number of steps, or a weight does not fit.
    """
    try:
        return _sources(recording, recording.layer(name), graph)
    except EvtraceError as error:
        raise EvtraceError(f"layer {name!r}: {error}") from error


def _sources(recording: Recording, layer: Layer, graph) -> tuple[list[Source], Any]:
    listed = layer.entry.get("sources")
    if listed is None:
        return [], None
    if not isinstance(listed, list):
        raise EvtraceError(f"sources must be a list, not {listed!r:.40}")
    # NIR sums what enters a node; with several sources only the recording keeps them apart.
    declared = _graph_weights(graph, layer.name) if graph is not None and len(listed) == 1 else None
    found = []
    for k, entry in enumerate(listed):
        node, delay = _entry(recording, entry, k)
        key = "weight" if len(listed) == 1 else f"weight.{node}"
        weight = _weight(recording, layer, key, node, None if declared is None else declared[0])
        if weight is None:
            return [], None
        found.append(Source(node, weight, delay))
    bias = declared[1] if declared is not None else layer.get("bias")
    if bias is not None and (np.size(bias) not in (1, layer.size) or not np.isfinite(bias).all()):
        raise EvtraceError(
            f"bias of shape {list(np.shape(bias))} must be one finite number for each of the "
            f"{layer.size} neurons"
        )
    return found, bias


def _entry(recording: Recording, entry: Any, k: int) -> tuple[str, int]:
    """(node, delay) of one entry of `sources`."""
    if not isinstance(entry, Mapping):
        raise EvtraceError(f"sources[{k}] must be an object with a node, not {entry!r:.40}")
    node, delay = entry.get("node"), entry.get("delay", 0)
    if not isinstance(node, str) or (node != "input" and node not in recording.layers()):
        known = ", ".join(["input", *recording.layers()])
        raise EvtraceError(f"sources[{k}].node is {node!r:.40}; known nodes are {known:.200}")
    if type(delay) is not int or not 0 <= delay < MOST_DELAY:
        raise EvtraceError(
            f"sources[{k}].delay must be a whole number of steps in [0, {MOST_DELAY}), "
            f"not {delay!r:.40}"
        )
    return node, delay


def _weight(recording: Recording, layer: Layer, key: str, node: str, given) -> Any:
    """Dense or sparse weight (n_out, n_in), or None where it was not recorded."""
    weight = layer.get(key) if given is None else given
    width = _width(recording, node)
    if weight is not None:
        if width is not None and weight.shape != (layer.size, width):
            raise EvtraceError(
                f"{key} has shape {list(weight.shape)}, not (n_out, n_in) = ({layer.size}, {width})"
            )
        if weight.ndim != 2 or weight.shape[0] != layer.size:
            raise EvtraceError(f"{key} has shape {list(weight.shape)}, not ({layer.size}, n_in)")
        if not np.isfinite(weight).all():
            raise EvtraceError(f"{key} holds values that are not finite")
        return weight
    parts = [layer.get(f"{key}.{part}") for part in ("data", "indices", "indptr")]
    if all(part is None for part in parts):
        return None
    if any(part is None for part in parts):
        raise EvtraceError(f"{key} as a CSR triplet needs data, indices and indptr")
    return _csr(key, parts, layer.size, width)


def _width(recording: Recording, node: str) -> int | None:
    if node != "input":
        return recording.layer(node).size
    shape = recording.manifest.get("input_shape")
    return None if shape is None else int(np.prod(shape, dtype=int))


def _csr(key: str, parts: list, n: int, width: int | None):
    """A CSR matrix; what scipy would read outside its arrays is refused here."""
    data, indices, indptr = parts
    if data.dtype.kind != "f" or not np.isfinite(data).all():
        raise EvtraceError(f"{key}.data must hold finite floats")
    for part, array, size in (("indices", indices, data.size), ("indptr", indptr, n + 1)):
        if array.dtype.kind not in "iu" or array.shape != (size,):
            raise EvtraceError(
                f"{key}.{part} must hold {size} integers, not {array.dtype} {list(array.shape)}"
            )
    if indptr[0] != 0 or indptr[-1] != data.size or (np.diff(indptr.astype(np.int64)) < 0).any():
        raise EvtraceError(f"{key}.indptr must rise from 0 to {data.size}, the number of weights")
    most = int(indices.max(initial=-1)) + 1
    columns = most if width is None else width
    if most > columns or int(indices.min(initial=0)) < 0:
        raise EvtraceError(f"{key}.indices must lie in [0, {columns})")
    rows = indptr.astype(np.int64), indices.astype(np.int64)
    return scipy.sparse.csr_array((data.reshape(-1), rows[1], rows[0]), shape=(n, columns))


def _graph_weights(graph, name: str):
    """(weight, bias) of the one Affine or Linear before a node, or None."""
    edges = getattr(graph, "edges", [])
    before = [a for a, b in edges if b == name]
    for _ in edges:  # at most: a broken graph may hold a loop of them
        if len(before) == 1 and type(graph.nodes.get(before[0])).__name__ == "Flatten":
            before = [a for a, b in edges if b == before[0]]
    node: Any = graph.nodes.get(before[0]) if len(before) == 1 else None
    if type(node).__name__ not in ("Affine", "Linear"):
        return None
    return np.asarray(node.weight), getattr(node, "bias", None)
