"""A NIR graph run live by a framework, recorded, and verified as what the graph declares."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evsim.files import read_arrays
from evsim.nir_file import read_graph
from evsim.spikes import Spikes
from validation import adapters, peer
from validation.conform.answer import adapter_of
from validation.evtrace import EvtraceError, one_line
from validation.evtrace_reader import Recording
from validation.recorder import record, renamed
from validation.result import LayerResult, RecordingResult
from validation.verify import Progress, verify

#: Nodes that are neurons: each must be there after the import.
NEURONS = ("IF", "LIF", "CubaLIF", "I", "LI", "CubaLI")
#: Larger rasters are refused.
MOST = 2**30
#: Verifies one file, and says how far it has come.
Judge = Callable[[Path, Progress], RecordingResult]


def judge_of(
    framework: str | None,
    input: Path | None,
    dt: float | None,
    python: Sequence[str] | None = None,
) -> Judge:
    """What verifies a graph, from what the command line was given."""
    if framework is None:
        given = (("--input", input), ("--dt", dt), ("--python", python))
        name = next(name for name, value in given if value is not None)
        raise ValueError(f"{name} is for NIR graphs that --framework runs")
    if input is None or dt is None:
        raise ValueError(f"--framework {framework} needs --input and --dt")
    peer.give(python or [])
    return lambda path, progress: verify_graph(path, framework, input, dt, progress)


def verify_graph(
    path: str | os.PathLike[str],
    framework: str,
    input: str | os.PathLike[str],
    dt: float,
    progress: Progress | None = None,
) -> RecordingResult:
    """Let a framework import a NIR graph and run it, and verify every layer against the graph.

    Parameters
    ----------
    path : path-like
        The graph.
    framework : str
        Name of an adapter.
    input : path-like
        An .npz file with `raster`, [T, n] or [T, B, n] or [T, B, ...], or with `times` [s] and
        `units` of one sample. `dt` inside it must be that given here.
    dt : float
        Step in the unit of the graph's time constants.
    progress : callable, optional
        As for `validation.verify.verify_file`.

    Returns
    -------
    RecordingResult
        A neuron of the graph that the importer dropped is a layer of its own, with the cause
        `node_dropped`.

    Raises
    ------
    ValueError
        If there is no such framework, it is not installed or refuses the graph, or the input does
        not fit.
    """
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"dt must be a positive number of seconds, got {dt!r}")
    known = {name: a for name, a in adapters.adapters().items() if hasattr(a, "built")}
    if framework not in known:
        raise ValueError(f"framework must be one of {', '.join(sorted(known))}, got {framework!r}")
    adapter_of(framework)
    graph, path = read_graph(path), Path(path)
    x = raster(Path(input), _shape(graph), dt)
    found = _recorded(known[framework], framework, graph, x, dt, path)
    result = verify(found, progress)
    lost = [name for name in _neurons(graph) if name not in found.layers()]
    words = f"{framework} made no layer of it: what came in went through unchanged, or elsewhere."
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    dropped = [
        LayerResult(name, f"nir.{kinds[name]}", "mismatch", words, ["node_dropped"])
        for name in lost
    ]
    return replace(result, path=str(path), layers=[*result.layers, *dropped])


def _neurons(graph: Any) -> list[str]:
    return [name for name, node in graph.nodes.items() if type(node).__name__ in NEURONS]


def _shape(graph: Any) -> tuple[int, ...]:
    """Shape of the graph's only input."""
    found = [node for node in graph.nodes.values() if type(node).__name__ == "Input"]
    if len(found) != 1:
        raise ValueError(f"a framework runs graphs with one input; this one has {len(found)}")
    return tuple(int(n) for n in np.ravel(found[0].input_type["input"]))


def _recorded(
    adapter: Any, framework: str, graph: Any, x: np.ndarray, dt: float, path: Path
) -> Recording:
    """The framework's run of the graph, its layers by the names of the nodes."""
    own = None if framework == "norse" else dt
    try:
        if hasattr(adapter, "PEER"):
            found = record(adapter.built(read_graph(path), dt, len(x)), x, dt=dt)
        else:
            import torch

            model = adapter.built(_single(read_graph(path)), dt, len(x))  # importers change graphs
            found = record(model, torch.as_tensor(x), dt=own)
    except EvtraceError:
        raise
    except Exception as error:  # a framework may raise anything
        why = one_line(error) or type(error).__name__
        raise ValueError(f"{framework} cannot run {path}: {why}") from error
    data = np.frombuffer(path.read_bytes(), np.uint8)
    nodes = list(graph.nodes)
    named = renamed(found, {layer: _node_of(layer, nodes) for layer in found.layers()})
    manifest = {**named.manifest, "title": path.name}
    return Recording(str(path), manifest, {**named.arrays, "graph.nir": data})


def _single(graph: Any) -> Any:
    """The graph in float32, in which frameworks compute; several mix up a wider one."""
    for node in graph.nodes.values():
        if type(node).__name__ == "NIRGraph":
            _single(node)
            continue
        for name, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype == np.float64:
                setattr(node, name, value.astype(np.float32))
    return graph


def _node_of(layer: str, nodes: list[str]) -> str:
    """The node that a module stands for: importers wrap modules, and put `_` for a dot."""
    plain = {node.replace(".", "_"): node for node in nodes}
    parts = layer.split(".")
    for start in range(len(parts)):
        for end in range(len(parts), start, -1):
            name = "_".join(parts[start:end])
            if name in plain:
                return plain[name]
    raise ValueError(f"module {layer!r} stands for no node; the graph has {', '.join(nodes):.200}")


def raster(path: Path, shape: tuple[int, ...], dt: float) -> np.ndarray:
    """Input of a graph, float32 [T, B, *shape], from a file with `raster`, or `times` and `units`.

    Raises
    ------
    ValueError
        If the file holds neither, or what it holds does not fit.
    """
    arrays, n = read_arrays(path), math.prod(shape)
    given = arrays.get("dt")
    if given is not None and not (given.size == 1 and math.isclose(float(given), dt)):
        raise ValueError(f"{path}: dt is {given.tolist()}, but {dt} was asked for")
    if "raster" in arrays:
        x = np.asarray(arrays["raster"])
        if x.dtype.kind not in "biuf" or not np.isfinite(x).all():
            raise ValueError(f"{path}: raster must hold finite numbers")
        x = x[:, None] if x.ndim == 2 or x.shape[1:] == shape else x
        if x.ndim < 3 or 0 in x.shape or math.prod(x.shape[2:]) != n:
            had = list(arrays["raster"].shape)
            raise ValueError(f"{path}: raster of shape {had} must be [T, B, {n}], or [T, {n}]")
        return x.reshape(*x.shape[:2], *shape).astype(np.float32)
    if not {"times", "units"} <= arrays.keys():
        raise ValueError(f"{path}: holds {sorted(arrays)}; raster, or times and units are needed")
    spikes = Spikes(arrays["times"], arrays["units"])
    n_steps = int(float(spikes.times.max(initial=0.0)) / dt) + 2
    if n_steps * n > MOST:
        raise ValueError(f"{path}: its spikes make {n_steps} steps of {n} units, which is too many")
    return spikes.to_raster(n, n_steps, dt).reshape(n_steps, 1, *shape).astype(np.float32)
