"""A network to be run elsewhere: the manifest and arrays of an evtrace, without observations.

A framework without a NIR importer gets its networks in this form: each layer with its model,
switches, parameters, sources and weights. What comes back is the same with what was observed.
The program that runs it needs this file, `validation.model` and NumPy; reading NIR needs evsim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from validation.model import Array, Model

#: What neurons that only integrate are with a threshold.
SILENT = {"I": "IF", "LI": "LIF", "CubaLI": "CubaLIF"}
#: A threshold that no input of a conformance run reaches. A larger one would make its own rounding,
#: within which a membrane before its reset may lie, as large as what is looked for.
NEVER = 2.0**12


@dataclass(frozen=True)
class Declaration:
    """A network of one framework.

    Attributes
    ----------
    framework : str
    manifest : dict
        `dt`, and `layers` as in an evtrace.
    arrays : dict
        `layers/<name>/params.<p>`, `layers/<name>/weight` (`weight.<source>` where there are
        several), `layers/<name>/bias`.
    output : str
        The layer that the network answers with.
    analog : bool
        Whether it answers with the membrane.
    """

    framework: str
    manifest: dict[str, Any]
    arrays: dict[str, Array]
    output: str
    analog: bool = False


def alone(
    framework: str, model: str, arguments: Mapping[str, Any], dt: float | None
) -> Declaration:
    """One layer without weights, made from arguments of the framework's own."""
    layer = {"model": model, "arguments": dict(arguments), "sources": []}
    return Declaration(framework, {"dt": dt, "layers": {"neurons": layer}}, {}, "neurons")


def behind(model: Declaration, weight: Array) -> Declaration:
    """One layer alone, as one that hears the input through weights [n, n_in]."""
    layer = model.manifest["layers"][model.output]
    heard = {**layer, "sources": [{"node": "input", "delay": 0}]}
    manifest = {**model.manifest, "layers": {model.output: heard}}
    return replace(model, manifest=manifest, arrays={f"layers/{model.output}/weight": weight})


def of_graph(framework: str, models: Sequence[Model], graph: Any, dt: float) -> Declaration:
    """A NIR graph in the discretisation of a framework.

    Parameters
    ----------
    framework : str
    models : sequence of Model
        The first that can stand for a node is used.
    graph : nir.NIRGraph
    dt : float
        Step, in the unit of the graph's time constants. A spike is a value of 1 that lasts one,
        and a recurrent edge takes one.

    Raises
    ------
    ValueError
        Naming what the framework cannot represent.
    """
    from evsim.nir import SPIKING, cycles, wired

    nodes, signals = wired(graph)
    output = _output(framework, graph, nodes, signals)
    layers: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    label = cycles(signals)
    for name in _in_order(signals, label):
        signal = signals[name]
        model, params, semantics = _read(framework, models, name, nodes[name], dt)
        if type(nodes[name]).__name__ not in SPIKING:
            semantics = semantics.updated({"reset": "none"})
        entry = {"model": model.name, "shape": list(np.shape(nodes[name].r))}
        layers[name] = {**entry, **semantics.manifest(), "sources": []}
        arrays |= {f"layers/{name}/params.{p}": np.asarray(v) for p, v in params.items()}
        bias = np.broadcast_to(np.asarray(signal.bias, float), (nodes[name].r.size,))
        if np.any(bias):
            arrays[f"layers/{name}/bias"] = bias.copy()
        for source, delay, weight in _links(name, signal, nodes, dt, label):
            layers[name]["sources"].append({"node": source, "delay": delay})
            arrays[f"layers/{name}/weight.{source}"] = weight
        if len(layers[name]["sources"]) == 1:
            only = layers[name]["sources"][0]["node"]
            arrays[f"layers/{name}/weight"] = arrays.pop(f"layers/{name}/weight.{only}")
    analog = type(nodes[output]).__name__ not in SPIKING
    return Declaration(framework, {"dt": dt, "layers": layers}, arrays, output, analog)


def _in_order(signals: Mapping[str, Any], label: Mapping[str, int]) -> Iterator[str]:
    """Layers after those that feed them, the order within a cycle apart."""
    left = list(signals)
    while left:
        for name in left:
            before = {p.source for p in signals[name].parts} & set(left)
            if all(label[source] == label[name] for source in before):
                break
        left.remove(name)
        yield name


def _output(framework: str, graph: Any, nodes: Mapping[str, Any], signals: Any) -> str:
    """The neurons that the output of a graph comes from."""
    if not signals:
        raise ValueError(f"the graph has no neurons, and {framework} runs nothing else")
    last, seen = "output", graph
    while last not in signals:
        before = [a for a, b in seen.edges if b == last.rpartition(".")[2]]
        if len(before) != 1:
            raise ValueError(f"node {last!r} must have one edge into it, got {len(before)}")
        prefix = last.rpartition(".")[0] + "." if "." in last else ""
        last = prefix + before[0]
        node = seen.nodes[before[0]]
        if type(node).__name__ == "NIRGraph":
            seen, last = node, f"{last}.output"
        elif last not in signals:
            raise ValueError(
                f"the output comes from node {last!r} ({type(node).__name__}); with {framework} "
                "it must come from neurons"
            )
    return last


def _read(framework: str, models: Sequence[Model], name: str, node: Any, dt: float) -> Any:
    """Model, parameters and switches of a node."""
    for model in models:
        try:
            return model, *model.from_nir_node(as_spiking(node), dt)
        except ValueError:
            continue
    raise ValueError(f"node {name!r}: {framework} has no neuron for a nir.{type(node).__name__}")


def as_spiking(node: Any) -> Any:
    """A neuron that only integrates, as one with a threshold that nothing reaches."""
    import nir

    kind = type(node).__name__
    if kind not in SILENT:
        return node
    names = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "w_in")
    fields = {name: getattr(node, name) for name in names if hasattr(node, name)}
    never = {"v_threshold": np.full(node.r.shape, NEVER), "v_reset": np.zeros(node.r.shape)}
    return getattr(nir, SILENT[kind])(**fields, **never)


def _links(
    name: str, signal: Any, nodes: Mapping[str, Any], dt: float, label: Mapping[str, int]
) -> Iterator[tuple[str, int, Array]]:
    """Source, delay in steps and dense weight [n, n_source] of every part of a signal."""
    n, seen = nodes[name].r.size, set()
    for part in signal.parts:
        inner = part.source in label and label[part.source] == label[name]
        delay = round(part.delay / dt)
        if abs(delay * dt - part.delay) > 1e-9 * dt * max(1, delay):
            raise ValueError(f"a delay of {part.delay} before node {name!r} is no multiple of dt")
        source = "input" if type(nodes[part.source]).__name__ == "Input" else part.source
        if source in seen:
            raise ValueError(f"node {name!r} hears {part.source!r} by several ways")
        seen.add(source)
        matrix = np.eye(n) if part.matrix is None else part.matrix
        dense = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix, float)
        yield source, max(delay, 1) if inner else delay, np.ascontiguousarray(dense)


# ---------------------------------------------------------------------- where it is run: NumPy only


def params_of(arrays: Mapping[str, Array], name: str) -> dict[str, Array]:
    """Parameters of a layer, by name."""
    prefix = f"layers/{name}/params."
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def external(manifest: Mapping[str, Any], arrays: Mapping[str, Array], name: str) -> Array:
    """Current [T, B, n] that the network's input and the bias make in a layer, float64.

    A layer without sources gets the input as it is, and is then as wide as that.
    """
    x = np.asarray(arrays["input"], np.float64)
    x = x.reshape(*x.shape[:2], -1)
    sources = manifest["layers"][name]["sources"]
    total: Any = 0.0 if sources else x
    for source in sources:
        if source["node"] == "input":
            late = np.zeros_like(x)
            late[source["delay"] :] = x[: len(x) - source["delay"]]
            total = total + late @ _weight(arrays, name, "input", sources).T
    total = total + arrays.get(f"layers/{name}/bias", 0.0)
    n = np.shape(total)[-1:] or (arrays_width(arrays, name),)
    return np.array(np.broadcast_to(total, (*x.shape[:2], *n)))


def arrays_width(arrays: Mapping[str, Array], name: str) -> int:
    """Number of neurons of a layer with weights."""
    found = (a for key, a in arrays.items() if key.startswith(f"layers/{name}/weight"))
    return int(next(found).shape[0])


def links(
    manifest: Mapping[str, Any], arrays: Mapping[str, Array], name: str
) -> Iterator[tuple[dict[str, Any], Array]]:
    """Entries of `sources` that are layers, with their weights [n, n_source].

    A simulator that takes longer writes its own delay into the entry.
    """
    sources = manifest["layers"][name]["sources"]
    for source in sources:
        if source["node"] != "input":
            yield source, _weight(arrays, name, source["node"], sources)


def _weight(arrays: Mapping[str, Array], name: str, node: str, sources: Sequence[Any]) -> Array:
    key = f"layers/{name}/weight"
    return np.asarray(arrays[key if len(sources) == 1 else f"{key}.{node}"], np.float64)
