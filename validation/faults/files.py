"""Defects of files: NIR graphs that lost something, and recordings that were written wrong."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from validation import evtrace, record
from validation.evtrace_reader import Recording
from validation.faults.drawn import DT, Drawn

#: Defects of a NIR file, and of a recording; the last two are nobody's switch.
OF_GRAPHS = ("dt", "ignored:v_leak", "ignored:v_reset", "ignored:v_threshold", "ignored:tau")
OF_RECORDINGS = ("recording_shifted", "events_lost", "neurons_swapped")


# -------------------------------------------------------------------------------------------- NIR


def graph_of(net: Drawn) -> Any:
    """A drawn network of norse as a NIR graph whose nodes are numbered, with all fields in use."""
    import nir

    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([net.x.shape[2]])})}
    for k, layer in enumerate(net.layers):
        n = len(layer.bias)
        th = float(layer.params["v_th"])
        nodes[str(2 * k)] = nir.Affine(layer.weight, layer.bias)
        nodes[str(2 * k + 1)] = nir.LIF(
            tau=net.rng.uniform(2.0, 10.0, n) * DT,
            r=np.ones(n),
            v_leak=net.rng.uniform(-0.3, 0.3, n) * th,
            v_threshold=net.rng.uniform(0.7, 1.3, n) * th,
            v_reset=net.rng.uniform(-0.3, 0.3, n) * th,
        )
    nodes["output"] = nir.Output({"output": np.array([len(net.layers[-1].bias)])})
    order = ["input", *map(str, range(2 * len(net.layers))), "output"]
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(order)))


def spoiled(graph: Any, node: str, defect: str) -> Any:
    """The same graph with one field of a node written wrong."""
    import nir

    nodes = dict(graph.nodes)
    old = nodes[node]
    fields = {k: getattr(old, k) for k in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
    name = defect.removeprefix("ignored:")
    if defect == "dt":
        fields["tau"] = fields["tau"] * DT
    elif name in ("v_leak", "v_reset"):
        fields[name] = 0 * fields[name]
    elif name in fields:
        fields[name] = np.full_like(fields[name], fields[name][0])
    elif defect:
        raise ValueError(f"no defect of a graph is called {defect!r}")
    nodes[node] = nir.LIF(**fields)
    return nir.NIRGraph(nodes=nodes, edges=graph.edges)


def built(path: Path) -> Any:
    """A network of norse from a chain in a NIR file: nothing in it is ignored."""
    import nir
    import norse.torch
    import torch

    graph = nir.read(path)
    modules: OrderedDict[str, Any] = OrderedDict()
    for k in range(len(graph.nodes) - 2):
        node = graph.nodes[str(k)]
        if isinstance(node, nir.Affine):
            linear = torch.nn.Linear(*reversed(node.weight.shape))
            with torch.no_grad():
                linear.weight.copy_(torch.as_tensor(node.weight))
                linear.bias.copy_(torch.as_tensor(node.bias))
            modules[str(k)] = linear
            continue
        inverse = np.float32(1) / np.asarray(node.tau, np.float32)
        names = {"v_leak": node.v_leak, "v_th": node.v_threshold, "v_reset": node.v_reset}
        p = {k: torch.as_tensor(np.asarray(v, np.float32)) for k, v in names.items()}
        p["tau_mem_inv"] = torch.as_tensor(inverse)
        modules[str(k)] = norse.torch.LIFBoxCell(p=norse.torch.LIFBoxParameters(**p), dt=DT)
    return norse.torch.SequentialState(*modules.values())


def travelled(net: Drawn, defect: str = "") -> Recording:
    """A network made from a NIR file that was written wrong, declared by the right one."""
    import nir
    import torch

    right = graph_of(net)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "right.nir", Path(folder) / "wrong.nir"
        nir.write(paths[0], right)
        nir.write(paths[1], spoiled(right, str(2 * net.target + 1), defect))
        found = record(built(paths[1]), torch.as_tensor(net.x))
        data = np.frombuffer(paths[0].read_bytes(), np.uint8)
    return Recording(found.path, found.manifest, {**found.arrays, "graph.nir": data})


# ------------------------------------------------------------------------------------- recordings


def rewritten(recording: Recording, layer: str, defect: str, rng: np.random.Generator) -> Recording:
    """The recording with one layer written wrong; through a file, as it would come."""
    arrays = dict(recording.arrays)
    shape = (recording.manifest["n_steps"], recording.manifest["n_samples"])
    n = recording.layer(layer).size
    key = f"layers/{layer}/spikes"
    counts = recording.dense(key, n)
    assert counts is not None
    if defect == "recording_shifted":
        late = int(rng.choice([1, 1, -1, 2]))
        counts = _moved(counts, late)
        for name in ("membrane", "synaptic_current"):
            full = f"layers/{layer}/{name}"
            if full in arrays:
                arrays[full] = _moved(arrays[full], late)
    elif defect == "events_lost":
        fired = np.flatnonzero(counts)
        lost = rng.choice(fired, max(1, fired.size // 20), replace=False)
        counts = counts.copy()
        counts.reshape(-1)[lost] = 0
    elif defect == "neurons_swapped":
        one, other = rng.choice(np.flatnonzero(counts.any(axis=(0, 1))), 2, replace=False)
        counts = counts.copy()
        counts[..., [one, other]] = counts[..., [other, one]]
    else:
        raise ValueError(f"no defect of a recording is called {defect!r}")
    arrays |= evtrace.from_dense(counts.reshape(*shape, n), key)
    return Recording(recording.path, recording.manifest, arrays)


def _moved(a: np.ndarray, steps: int) -> np.ndarray:
    out = np.zeros_like(a)
    if steps > 0:
        out[steps:] = a[:-steps]
    else:
        out[:steps] = a[-steps:]
    return out
