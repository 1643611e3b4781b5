r"""BindsNET, in an interpreter of its own: `LIFNodes` and `IFNodes`, in float32.

.. math::
    v' = a (v - v_{rest}) + v_{rest} + x, \quad s = [v' \ge \theta], \quad a = e^{-dt/tc}   \tag{1}

(`IFNodes`: :math:`v' = v + x`), then the reset to `reset`, then the lower bound `lbound`. BindsNET
reads no NIR; a graph of one layer is run with its current times :math:`r (1 - a)`, or
:math:`r\,dt`. It has no gradients, and its times are in milliseconds. Only the module of
its nodes is loaded: the package itself imports data sets and games.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from validation import flowing
from validation.declaration import Declaration, alone, external, of_graph, params_of
from validation.model import Array
from validation.native import Native
from validation.peer import Peer

PEER = Peer("bindsnet", "bindsnet", "bindsnet", __file__)
record = PEER.record
_FIRES = {"compare": ">="}
_SINGLE: dict[str, Any] = {
    "scalar_dtype": np.float32,
    "defaults": {"v_threshold": 1.0, "lbound": None},
    "lower": "lbound",
}
MODELS = (
    flowing.integrator("bindsnet.IFNodes", flowing.EULER.updated(_FIRES), **_SINGLE),
    flowing.leaky("bindsnet.LIFNodes", flowing.EXACT.updated(_FIRES), **_SINGLE),
)


def built(graph: Any, dt: float, n_steps: int) -> Declaration:
    """A NIR graph as what `record` takes."""
    return of_graph(PEER.framework, MODELS, graph, dt)


def imported(graph: Any, dt: float, x: Array) -> Array:
    """Output of a NIR graph of one layer, translated as (1) says."""
    return PEER.output(MODELS, graph, dt, x)


def natives() -> Iterator[Native]:
    """Two classes with other values of every argument, and the others by name."""
    per_neuron = np.linspace(0.5, 1.5, 8)
    base = {"thresh": 1.0, "reset": 0.0, "refrac": 0}
    shared: dict[str, Any] = {
        "traces": [True],
        "traces_additive": [True],
        "tc_trace": [10.0],
        "trace_scale": [2.0],
        "sum_input": [True],
        "thresh": [0.5, per_neuron],
        "reset": [-0.25],
        "refrac": [5],
        "lbound": [-0.5],
        "dt": [5e-4],
    }
    yield Native("IFNodes", partial(_neuron, "IFNodes"), base, shared)
    leaky = {"rest": 0.0, "tc_decay": 10.0}
    more = {"rest": [0.25, -65.0], "tc_decay": [100.0, 10 * per_neuron]}
    yield Native("LIFNodes", partial(_neuron, "LIFNodes"), base | leaky, shared | more)
    for name in PEER.ask("others", {}, {})[0]["others"]:
        yield Native(name)


def _neuron(kind: str, dt: float = 1e-3, **arguments: Any) -> Any:
    return alone("bindsnet", f"bindsnet.{kind}", arguments, dt)


# ----------------------------------------------------------------------- in BindsNET's interpreter


def _nodes() -> Any:
    """`bindsnet.network.nodes` without what the packages around it import."""
    import importlib
    import sys
    import types
    from importlib.util import find_spec

    if "bindsnet" not in sys.modules:
        spec = find_spec("bindsnet")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("No module named 'bindsnet'")
        folder = next(iter(spec.submodule_search_locations))
        for name, place in (("bindsnet", folder), ("bindsnet.network", f"{folder}/network")):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [place]
    return importlib.import_module("bindsnet.network.nodes")


def others(manifest: Any, arrays: Any) -> Any:
    """Its nodes without a twin."""
    nodes = _nodes()
    known = [m.name.partition(".")[2] for m in MODELS]
    kinds = [
        k for k, v in vars(nodes).items() if isinstance(v, type) and issubclass(v, nodes.Nodes)
    ]
    return {**PEER.sent(0.0)[0], "others": sorted({*kinds} - {*known, "Nodes"})}, {}


def run(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """The recording of one layer."""
    import torch

    (name, entry), *more = manifest["layers"].items()
    if more or any(source["node"] != "input" for source in entry["sources"]):
        raise ValueError("only one layer, without a loop, is run")
    drive = external(manifest, arrays, name).astype(np.float32)
    kind, dt = entry["model"].partition(".")[2], 1e3 * manifest["dt"]
    params, scale = params_of(arrays, name), np.ones((), np.float32)
    given = entry.get("arguments") or _settings(params)
    if given["refrac"]:
        raise ValueError("a refractory period has no twin")
    neurons = getattr(_nodes(), kind)(n=drive.shape[2], **given)
    neurons.compute_decays(dt)
    neurons.set_batch_size(drive.shape[1])
    if "arguments" not in entry:
        leak = -np.expm1(-manifest["dt"] / params["tau"]) if "tau" in params else manifest["dt"]
        scale = np.asarray(leak * params["r"], np.float32)
        if entry["reset"] == "none":
            neurons.thresh.fill_(torch.finfo(torch.float32).max)
    start = neurons.v.detach().numpy().copy()
    spikes, membrane = np.zeros(drive.shape, np.int32), np.zeros_like(drive)
    for t, x in enumerate(drive):
        neurons.forward(torch.as_tensor(x * scale))  # it changes what it gets
        spikes[t], membrane[t] = neurons.s.numpy(), neurons.v.numpy()
    if "arguments" in entry:
        semantics = next(m.semantics for m in MODELS if m.name == entry["model"])
        entry |= semantics.updated({"input_gain": "1"}).manifest()
        found = _params(neurons, kind)
        arrays |= {f"layers/{name}/params.{k}": v for k, v in found.items()}
    observed = {"spikes": spikes, "membrane": membrane, "input_current": drive}
    observed["initial_state.v"] = start
    return PEER.answered(manifest, arrays, {f"{name}/{k}": v for k, v in observed.items()})


def _settings(params: dict[str, Array]) -> dict[str, Any]:
    """BindsNET's arguments, in ms, from a twin's parameters."""
    names = {"thresh": "v_threshold", "reset": "v_reset"}
    if "tau" in params:
        names["rest"] = "v_leak"
    found: dict[str, Any] = {k: _one(params[v]) for k, v in names.items()}
    if "tau" in params:
        found["tc_decay"] = _one(1e3 * params["tau"])
    return {**found, "refrac": 0}


def _one(values: Array) -> Any:
    """A number where the values agree: some arguments take nothing else."""
    return float(values.flat[0]) if np.ptp(values) == 0 else values.tolist()


def _params(neurons: Any, kind: str) -> dict[str, Array]:
    """A twin's parameters, in seconds, from the live neurons."""
    found = {"v_threshold": neurons.thresh, "v_reset": neurons.reset}
    if kind == "LIFNodes":
        found |= {"v_leak": neurons.rest, "tau": neurons.tc_decay / 1e3}
    if neurons.lbound is not None:
        found["lbound"] = neurons.lbound
    return {k: np.asarray(v) for k, v in found.items()}
