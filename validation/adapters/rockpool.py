r"""Rockpool, in an interpreter of its own: `LIFTorch`, in float32.

With :math:`\alpha = e^{-dt/\tau_m}` and :math:`\beta = e^{-dt/\tau_s}`,

.. math::
    i' = \beta (i + x), \qquad v' = \alpha v + i' + b, \qquad
    n = \lfloor v'/\theta \rfloor \text{ if } v' \ge \theta, \qquad v = v' - n\theta   \tag{1}

with at most `max_spikes_per_dt` spikes in a step. That is the update of sinabs's `LIF` with a
synapse and `norm_input` off; the bias b stands for a leak potential :math:`b/(1-\alpha)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from validation.adapters.sinabs import MODELS as LIKE
from validation.declaration import alone, external
from validation.model import Array
from validation.native import Native, Traveller
from validation.peer import Peer, graph_as_array, graph_of

PEER = Peer("rockpool", "rockpool", "rockpool torch nir nirtorch", __file__, gradients=True)
record = PEER.record
_SOFT = LIKE[0].semantics.updated({"input_gain": "1"})
MODELS = (replace(LIKE[0], name="rockpool.LIFTorch", semantics=_SOFT),)


def imported(graph: Any, dt: float, x: Array) -> Array:
    """What its importer makes of a NIR graph: its output on `x` [T, B, ...].

    It takes no step: that of a neuron follows from its r.
    """
    return PEER.through("from_nir", graph, dt, x)


def exported(model: Any, dt: float, x: Array) -> Any:
    """What its exporter makes of a layer behind weights."""
    return graph_of(PEER.asked_of("to_nir", model, dt, x))


def played(model: Any, x: Array) -> Array:
    """Output of a layer behind weights, from rest."""
    return PEER.asked_of("play", model, model.manifest["dt"], x)["output"]


def travellers() -> Iterator[Traveller]:
    """`LIFTorch` with one time constant for all."""

    def of(**arguments: Any) -> Any:
        return lambda n: _neuron(**arguments)

    yield Traveller("LIFTorch", "", of())
    yield Traveller("LIFTorch", "tau_mem=0.01 tau_syn=0.005", of(tau_mem=0.01, tau_syn=0.005))
    yield Traveller("LIFTorch", "bias=0.05", of(bias=0.05))
    yield Traveller("LIFTorch", "dt=0.1 ms", of(dt=1e-4), 1e-4)


def natives() -> Iterator[Native]:
    """`LIFTorch` with other values of every argument, and the other neurons by name."""
    per_neuron = np.linspace(0.5, 1.5, 8)
    values: dict[str, Any] = {
        "tau_mem": [10e-3, 0.02 * per_neuron],
        "tau_syn": [5e-3],
        "bias": [0.05],
        "threshold": [0.5, per_neuron],
        "noise_std": [0.1],
        "has_rec": [True],
        "spike_generation_fn": ["PeriodicExponential"],
        "learning_window": [0.25],
        "max_spikes_per_dt": [1, 2],
        "dt": [5e-4],
    }
    yield Native("LIFTorch", _neuron, {}, values)
    for name in PEER.ask("others", {}, {})[0]["others"]:
        yield Native(name)


def _neuron(dt: float = 1e-3, **arguments: Any) -> Any:
    return alone("rockpool", "rockpool.LIFTorch", arguments, dt)


# ----------------------------------------------------------------------- in Rockpool's interpreter


def _rockpool() -> Any:
    """Its torch modules; without the search for a driver, which installs packages on import."""
    import importlib.machinery
    import sys
    import types

    if "samna" not in sys.modules:
        stub = types.ModuleType("samna")
        stub.__spec__ = importlib.machinery.ModuleSpec("samna", None)
        sys.modules["samna"] = stub
    import rockpool.nn.modules.torch as found

    return found


def others(manifest: Any, arrays: Any) -> Any:
    """Its spiking neurons on torch without a twin."""
    found = [name for name in vars(_rockpool()) if "LIF" in name and name != "LIFTorch"]
    return {**PEER.sent(0.0)[0], "others": sorted(found)}, {}


def from_nir(manifest: Any, arrays: dict[str, Array]) -> Any:
    """Output of its own import of a graph."""
    import torch

    _rockpool()
    from rockpool.nn.modules.torch import nir

    model = nir.from_nir(graph_of(arrays))
    with torch.no_grad():
        out = model(torch.as_tensor(arrays["input"]).transpose(0, 1))
    while isinstance(out, tuple):
        out = out[0]
    return PEER.sent(out.detach().transpose(0, 1).numpy())


def to_nir(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """A layer behind weights through its exporter."""
    _rockpool()
    from rockpool.nn.modules.torch import nir

    model, _ = _sequential(manifest, arrays)
    graph = nir.to_nir(model)
    return PEER.sent(0.0)[0], {"graph.nir": graph_as_array(graph)}


def play(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """Output of a layer behind weights."""
    model, x = _sequential(manifest, arrays)
    return PEER.sent(model(x)[0].detach().transpose(0, 1).numpy())


def _sequential(manifest: dict[str, Any], arrays: dict[str, Array]) -> tuple[Any, Any]:
    import torch

    module = _rockpool()
    from rockpool.nn.combinators import Sequential

    ((name, entry),) = manifest["layers"].items()
    weight = torch.as_tensor(arrays[f"layers/{name}/weight"], dtype=torch.float)
    linear = module.LinearTorch(tuple(weight.T.shape), weight=weight.T.contiguous(), has_bias=False)
    neuron = _made(weight.shape[0], manifest["dt"], entry["arguments"])
    return Sequential(linear, neuron), torch.as_tensor(arrays["input"]).transpose(0, 1)


def run(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """The recording of one layer, backward where a cotangent is given."""
    import torch

    (name, entry), *more = manifest["layers"].items()
    if more or "arguments" not in entry:
        raise ValueError("only single layers are recorded")
    drive = np.asarray(external(manifest, arrays, name), np.float32)
    given = dict(entry["arguments"])
    neuron = _made(drive.shape[2], manifest["dt"], given)
    x = torch.as_tensor(drive).transpose(0, 1).contiguous().requires_grad_("cotangent" in arrays)
    spikes, _, seen = neuron(x, record=True)
    states = {"spikes": spikes, "membrane": seen["vmem"], "synaptic_current": seen["isyn"]}
    observed: dict[str, Any] = {"input_current": drive}
    for key, value in states.items():
        observed[key] = value.detach().reshape(x.shape).transpose(0, 1).numpy()
    if "cotangent" in arrays:
        cotangent = np.asarray(arrays["cotangent"], np.float32)
        spikes.backward(torch.as_tensor(cotangent).transpose(0, 1))
        assert x.grad is not None
        back = x.grad.transpose(0, 1).numpy()
        observed |= {"grad_output.spikes": cotangent, "grad_input_current": back}
    arrays |= {f"layers/{name}/params.{k}": v for k, v in _params(neuron).items()}
    most = int(neuron.max_spikes_per_dt)
    entry |= _SOFT.updated({"max_spikes_per_step": most}).manifest()
    kind = given.get("spike_generation_fn", "StepPWL")
    window = {"window": float(neuron.learning_window)}
    entry |= {"reset_detached": False, "surrogate": {"name": f"rockpool.{kind}", "params": window}}
    observed = {f"{name}/{k}": np.ascontiguousarray(v) for k, v in observed.items()}
    return PEER.answered(manifest, arrays, observed)


def _made(n: int, dt: float, given: dict[str, Any]) -> Any:
    import torch

    module = _rockpool()
    for what in ("noise_std", "has_rec"):
        if given.get(what):
            raise ValueError(f"LIFTorch with {what}={given[what]!r} has no twin")
    made = dict(given)
    for key in ("tau_mem", "tau_syn", "bias", "threshold"):
        if key in made:
            made[key] = torch.as_tensor(made[key], dtype=torch.float)
    if "max_spikes_per_dt" in made:
        made["max_spikes_per_dt"] = torch.tensor(float(made["max_spikes_per_dt"]))
    if "spike_generation_fn" in made:
        from rockpool.nn.modules.torch import lif_torch

        made["spike_generation_fn"] = getattr(lif_torch, made["spike_generation_fn"])
    return module.LIFTorch((n,), dt=dt, **made)


def _params(neuron: Any) -> dict[str, Array]:
    """A sinabs layer's parameters, from the live module; time constants in steps."""

    def flat(value: Any) -> Array:
        found = value.detach().reshape(-1).numpy()
        return found if found.size > 1 else found.reshape(())

    dt = np.float32(neuron.dt)
    found = {f"tau_{k}": flat(getattr(neuron, f"tau_{k}")) / dt for k in ("mem", "syn")}
    found |= {"alpha_mem": flat(neuron.alpha), "alpha_syn": flat(neuron.beta)}
    found["v_leak"] = flat(neuron.bias) / (1 - found["alpha_mem"])
    found["spike_threshold"] = flat(neuron.threshold)
    return {k: np.asarray(v) for k, v in found.items()}
