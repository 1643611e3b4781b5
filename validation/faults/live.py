"""Networks of live frameworks, recorded with a defect patched into one layer.

torch and the frameworks are imported inside the functions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from validation import record
from validation.evtrace_reader import Recording
from validation.faults import backward
from validation.faults.bodies import BODIES, OF_UPDATES, Maths, State
from validation.faults.drawn import DT, Drawn, Layer

#: Defects of the weighted sums; that of rounded weights is no switch that anybody looks for.
OF_SUMS = ("delay", "bias_lost", "weight_scale", "weight_transpose", "node_dropped", "rounded")
OF_GRADIENTS = ("surrogate", "reset_detach")
RNG_STEPS = 16  #: levels of a rounded weight, on either side


def recorded(net: Drawn, defect: str = "") -> Recording:
    """The network's recording; with a defect of its target layer, or right without one."""
    import torch

    torch.manual_seed(0)
    cotangent = None
    model = _built(net)
    if defect in OF_SUMS:
        _spoil_sum(model, net, defect)
    elif defect in OF_UPDATES:
        _spoil_update(_modules(model)[2 * net.target + 1], net, defect)
    elif defect in OF_GRADIENTS:
        backward.spoil(_modules(model)[2 * net.target + 1], net.framework, defect)
    elif defect:
        raise ValueError(f"no defect is called {defect!r}")
    if defect in (*OF_GRADIENTS, ""):
        t, b, _ = net.x.shape
        shape = (t, b, len(net.layers[-1].bias))
        cotangent = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    dt = None if net.framework == "norse" else DT
    return record(model, torch.as_tensor(net.x), dt=dt, cotangent=cotangent)


def _built(net: Drawn) -> Any:
    import torch

    modules: OrderedDict[str, Any] = OrderedDict()
    for k, layer in enumerate(net.layers):
        linear = torch.nn.Linear(*reversed(layer.weight.shape))
        with torch.no_grad():
            linear.weight.copy_(torch.as_tensor(layer.weight))
            linear.bias.copy_(torch.as_tensor(layer.bias))
        modules[f"fc{k}"] = linear
        modules[f"n{k}"] = neuron(net.model, layer)
    if net.framework == "norse":
        import norse.torch

        return norse.torch.SequentialState(*modules.values())
    return torch.nn.Sequential(modules)


def _modules(model: Any) -> list[Any]:
    return list(model.children())


def neuron(model: str, layer: Layer) -> Any:
    """A framework's neurons with drawn parameters."""
    import torch

    p = {k: torch.as_tensor(v) for k, v in layer.params.items()}
    if model == "snntorch.Leaky":
        import snntorch

        return snntorch.Leaky(beta=p["beta"], threshold=float(p["threshold"]), init_hidden=True)
    if model == "spikingjelly.LIFNode":
        from spikingjelly.activation_based.neuron import LIFNode

        th = float(p["v_threshold"])
        return LIFNode(tau=float(p["tau"]), v_threshold=th, v_reset=0.0, step_mode="m")
    if model == "norse.LIFBoxCell":
        import norse.torch

        return norse.torch.LIFBoxCell(p=norse.torch.LIFBoxParameters(**p), dt=DT)
    from sinabs.layers import IAF, LIF

    th = p["spike_threshold"]
    if model == "sinabs.IAF":
        return IAF(spike_threshold=th)
    return LIF(tau_mem=p["tau_mem"], spike_threshold=th)


# ------------------------------------------------------------------------------- weighted sums


def _spoil_sum(model: Any, net: Drawn, defect: str) -> None:
    from torch.nn import functional

    linear = _modules(model)[2 * net.target]
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if defect == "node_dropped":
        linear.forward = lambda x: x.clone()
        return
    if defect == "rounded":
        step = weight.abs().max() / RNG_STEPS
        weight = step * (weight / step).round()
    if defect == "weight_scale":
        weight = weight * float(net.rng.choice([0.5, 2.0, 0.9, 1.25, -1.0]))
    if defect == "weight_transpose":
        weight = weight.T
    if defect == "bias_lost":
        bias = bias * 0
    if defect == "delay":
        linear.forward = _late(net.framework, lambda x: functional.linear(x, weight, bias))
    else:
        linear.forward = lambda x: functional.linear(x, weight, bias)


def _late(framework: str, linear: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same map of what came a step before."""
    import torch

    kept: list[Any] = []

    def forward(x: Any) -> Any:
        if framework in ("spikingjelly", "sinabs"):  # the sequence at once
            axis = 0 if framework == "spikingjelly" else 1
            first = torch.zeros_like(x.narrow(axis, 0, 1))
            return linear(torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis))
        before = kept.pop() if kept else torch.zeros_like(x)
        kept.append(x)
        return linear(before)

    return forward


# -------------------------------------------------------------------------------------- updates


def maths(seed: int) -> Maths:
    """For tensors."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return Maths(
        exp=torch.exp,
        floor=torch.floor,
        minimum=lambda a, b: torch.minimum(a, torch.as_tensor(b, dtype=a.dtype)),
        number=lambda truth: truth.float(),
        normal=lambda a: torch.randn(a.shape, generator=generator),
    )


def _spoil_update(module: Any, net: Drawn, defect: str) -> None:
    """Put the body with a defect in the place of the framework's own."""
    import torch

    p = {k: torch.as_tensor(v) for k, v in net.layers[net.target].params.items()} | {"dt": DT}
    body, m = BODIES[net.model], maths(int(net.rng.integers(2**31)))
    state = State(None, None)

    def step(x: Any) -> tuple[Any, Any]:
        if state.v is None:
            start = p.get("v_leak", torch.tensor(0.0))
            state.v, state.last = start + torch.zeros_like(x), torch.zeros_like(x)
        return body(p, state, x, defect, m)

    {"snntorch": _in_snntorch, "norse": _in_norse}.get(net.framework, _in_sequence)(module, step)


def _in_snntorch(module: Any, step: Callable) -> None:
    def forward(x: Any) -> Any:
        module.mem, s = step(x)
        return s

    module.forward = forward


def _in_norse(module: Any, step: Callable) -> None:
    def activation(x: Any, state: Any, p: Any, dt: float) -> Any:
        v, s = step(x)
        return s, state._replace(v=v)

    module.activation = activation


def _in_sequence(module: Any, step: Callable) -> None:
    """spikingjelly (T, B, ..) and sinabs (B, T, ..) take the whole sequence at once."""
    import torch

    first = hasattr(module, "step_mode")

    def forward(x: Any) -> Any:
        found = [step(now) for now in x.unbind(0 if first else 1)]
        v, s = (torch.stack(parts, 0 if first else 1) for parts in zip(*found, strict=True))
        if first:
            module.v_seq = v
        else:
            module.recordings = {"v_mem": v}
        return s

    module.forward = forward
