"""Recording a torch model with forward hooks; what every framework's adapter shares.

An adapter describes its framework by a `Probe`. Recording resets the state, runs the model once
without gradients and in evaluation mode, and leaves it as it was: hooks off, mode, state and device
restored. torch is imported inside the functions.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from validation import evtrace
from validation.cotangents import gradients_of, time_first
from validation.model import Array, Semantics
from validation.tensors import copied
from validation.trail import Trail


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """What a neuron module says about itself."""

    model: str
    semantics: Semantics
    params: Mapping[str, Any]
    reset_detached: bool
    surrogate: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How to read a framework's modules.

    Attributes
    ----------
    neurons, stateful
        Classes that are recorded (exactly these), and classes of which any other subclass is
        refused by name.
    describe
        `(module) -> Neuron`.
    observe
        `(module, args, output) -> {"input_current", "spikes", "membrane", ...}` of one call.
    given
        `(args, kwargs) -> {"v", "i"}` state that the caller passed in, where that is possible.
    fresh
        Context manager that resets the state of all modules and restores it at the end.
    sequence
        `(module) -> bool`: whether one call covers the whole sequence.
    step
        `(model, x, state) -> state`: one call of a model that takes single steps.
    batch_first
        Whether sequences are (B, T, ...).
    """

    framework: str
    neurons: tuple[type, ...]
    stateful: tuple[type, ...]
    describe: Callable[[Any], Neuron]
    observe: Callable[[Any, tuple[Any, ...], Any], dict[str, Any]]
    given: Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]] = lambda args, kwargs: {}
    fresh: Callable[[Any], contextlib.AbstractContextManager[Any]]
    sequence: Callable[[Any], bool]
    step: Callable[[Any, Any, Any], Any] = lambda model, x, state: model(x)
    batch_first: bool = False


@dataclass
class _Seen:
    """Calls of one neuron module, and where its last input came from."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)  #: tensors, where gradients are recorded
    sent: list[Any] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    linear: Any = None
    source: str | None = None


def record_model(
    model: Any,
    input: Any,
    probe: Probe,
    *,
    dt: float | None = None,
    device: Any = None,
    cotangent: Any = None,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Manifest and arrays, in evtrace v1, of one run of `model` on `input` [T, B, ...].

    With a `cotangent`, shaped as the spikes of the last neuron, also what arrives at and leaves
    every neuron in the backward pass of its product with them.

    Raises
    ------
    ValueError
        If the input is not a finite [T, B, ...], a stateful module is of a class that is not
        supported, or a neuron is not called exactly once per step.
    """
    import torch

    neurons = _neurons(model, probe)
    home = next((p.device for p in [*model.parameters(), *model.buffers()]), torch.device("cpu"))
    target = torch.device(device) if device is not None else home
    x = _input(input, target)
    modes = {m: m.training for m in model.modules()}
    try:
        model.to(target).eval()
        with torch.set_grad_enabled(cotangent is not None):
            if cotangent is not None:
                x.requires_grad_()
            seen = _run(model, x, neurons, probe)
            gradients = {}
            if cotangent is not None:
                tensors = {name: (s.sent, s.received) for name, s in seen.items()}
                gradients = gradients_of(tensors, cotangent, probe.batch_first)
    finally:
        model.to(home)
        for module, mode in modes.items():
            module.training = mode
    return _answer(seen, neurons, x, probe, dt, target, gradients)


def _input(input: Any, device: Any) -> Any:
    import torch

    x = torch.as_tensor(input).to(device)
    x = x if x.is_floating_point() else x.float()
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"input must be [T, B, ...] and not empty, got shape {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        k = tuple(torch.nonzero(~torch.isfinite(x))[0].tolist())
        raise ValueError(f"input{list(k)} is {float(x[k])}; it must be finite")
    return x.detach()


def _neurons(model: Any, probe: Probe) -> dict[str, Any]:
    found = {}
    for name, module in model.named_modules():
        if type(module) in probe.neurons:
            found[name or type(module).__name__.lower()] = module
        elif isinstance(module, probe.stateful):
            supported = ", ".join(c.__name__ for c in probe.neurons)
            raise ValueError(
                f"module {name!r} is a {probe.framework} {type(module).__name__}, which cannot be "
                f"recorded; supported are {supported}"
            )
    if not found:
        raise ValueError(f"the model holds no {probe.framework} neuron")
    return found


def _run(model: Any, x: Any, neurons: dict[str, Any], probe: Probe) -> dict[str, _Seen]:
    """Run in the way in which this model takes its input, and return what the neurons saw."""
    import torch

    fed = x.transpose(0, 1) if probe.batch_first else x
    whole = all(probe.sequence(m) for m in neurons.values())
    containers = (torch.nn.Sequential, *probe.neurons)
    if whole or not isinstance(model, containers):
        seen = _watched(model, fed, neurons, probe, lambda: model(fed))
        # A module whose forward makes one step takes the sequence for a batch, once.
        if whole or any(len(s.calls) != 1 for s in seen.values()) or len(x) == 1:
            return _checked(seen, neurons, len(x), probe)

    def steps() -> None:
        state = None
        for xt in x:
            state = probe.step(model, xt, state)

    return _checked(_watched(model, x, neurons, probe, steps), neurons, len(x), probe)


def _checked(
    seen: dict[str, _Seen], neurons: dict[str, Any], n_steps: int, probe: Probe
) -> dict[str, _Seen]:
    for name, s in seen.items():
        expected = 1 if probe.sequence(neurons[name]) else n_steps
        if len(s.calls) != expected:
            raise ValueError(
                f"neuron {name!r} was called {len(s.calls)} times in {n_steps} steps; a module "
                "must be called once per step, so use one module per layer"
            )
    return seen


def _watched(
    model: Any, fed: Any, neurons: dict[str, Any], probe: Probe, go: Callable[[], Any]
) -> dict[str, _Seen]:
    """Call `go` with hooks on every leaf module and fresh states.

    With gradients on, a neuron gets and sends copies: what arrives at a copy of its spikes is what
    the rest of the network says of them, without the neuron's own reset.
    """
    import torch

    trail = Trail(fed)
    names = {module: name for name, module in neurons.items()}
    seen = {name: _Seen() for name in neurons}
    kept = torch.is_grad_enabled()

    def before(module: Any, args: Any, kwargs: Any) -> Any:
        s = seen[names[module]]
        if not s.calls:
            s.given = {k: copied(v) for k, v in probe.given(args, kwargs).items()}
        s.linear, s.source = trail.origin(args[0])
        if not kept:
            return None
        s.received.append(args[0].clone())
        return (s.received[-1], *args[1:]), kwargs

    def after(module: Any, args: Any, output: Any) -> Any:
        if module not in names:
            trail.passed(module, args, output)
            return None
        s = seen[names[module]]
        observed = probe.observe(module, args, output)
        s.calls.append({k: copied(v) for k, v in observed.items()})
        first = output[0] if isinstance(output, tuple) else output
        sent = first.clone() if kept else first
        trail.left(module, sent, (None, names[module]))
        if not kept:
            return None
        s.sent.append(sent)
        return (sent, *output[1:]) if isinstance(output, tuple) else sent

    with contextlib.ExitStack() as stack:
        stack.enter_context(probe.fresh(model))
        for module in model.modules():
            if module in names:
                stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            if module in names or not list(module.children()):
                stack.callback(module.register_forward_hook(after).remove)
        go()
    return seen


def _answer(
    seen: dict[str, _Seen],
    neurons: dict[str, Any],
    x: Any,
    probe: Probe,
    dt: Any,
    device: Any,
    gradients: dict[str, Array],
) -> tuple[dict[str, Any], dict[str, Array]]:
    layers: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    inputs = copied(x)
    for name, s in seen.items():
        neuron = probe.describe(neurons[name])
        entry, own = _layer(s, neuron, probe.sequence(neurons[name]), probe.batch_first)
        for key in ("grad_output.spikes", "grad_input_current"):
            if f"{name}/{key}" in gradients:
                shape = own["membrane"].shape
                own[key] = time_first(gradients[f"{name}/{key}"], shape, probe.batch_first)
        layers[name] = entry
        arrays |= {f"layers/{name}/{key}": value for key, value in own.items()}
    manifest = {
        "format": "evtrace",
        "version": 1,
        "kind": "grid",
        "n_steps": int(x.shape[0]),
        "n_samples": int(x.shape[1]),
        "dt": dt,
        "time_unit": "step" if dt is None else "s",
        "time_origin": "step k covers [k dt, (k+1) dt)",
        "spike_convention": "unit_pulse",
        "input_shape": list(x.shape[2:]),
        "layers": layers,
        "provenance": _provenance(probe.framework, x, device),
    }
    if np.all((inputs >= 0) & (inputs < 1 << 31) & (inputs == np.floor(inputs))):
        arrays |= evtrace.from_dense(inputs, "input_spikes")
    return manifest, arrays


def _layer(
    s: _Seen, neuron: Neuron, sequence: bool, batch_first: bool
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Manifest entry and arrays of one layer."""
    stacked = {
        key: s.calls[0][key] if sequence else np.stack([call[key] for call in s.calls])
        for key in s.calls[0]
    }
    if batch_first:
        stacked = {key: np.ascontiguousarray(np.swapaxes(a, 0, 1)) for key, a in stacked.items()}
    arrays = evtrace.from_dense(stacked.pop("spikes"), "spikes") | stacked
    arrays |= {f"params.{k}": v for k, v in neuron.params.items() if v is not None}
    arrays |= {f"initial_state.{k}": v for k, v in s.given.items() if np.any(v)}
    shape = stacked["input_current"].shape[2:]
    for key, value in arrays.items():  # a state may start as one number and broadcast
        if key.startswith("initial_state."):
            arrays[key] = np.array(np.broadcast_to(value, stacked["membrane"].shape[1:]))
    entry: dict[str, Any] = {
        "model": neuron.model,
        "shape": list(shape),
        **neuron.semantics.manifest(),
        "reset_detached": neuron.reset_detached,
        "surrogate": dict(neuron.surrogate),
        "sources": [] if s.source is None else [{"node": s.source, "delay": 0}],
    }
    if s.linear is not None and s.linear.out_features == int(np.prod(shape)):
        arrays["weight"] = copied(s.linear.weight)
        if s.linear.bias is not None:
            arrays["bias"] = copied(s.linear.bias)
    return entry, arrays


def _provenance(framework: str, x: Any, device: Any) -> dict[str, Any]:
    import torch

    return {
        "framework": framework,
        "version": importlib.metadata.version(framework),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "dtype": str(x.dtype).removeprefix("torch."),
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
        "writer": f"evsim {importlib.metadata.version('evsim')}",
    }
