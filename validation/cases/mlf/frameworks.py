"""What torch's autograd, SpikingJelly, snnTorch and Norse compute for units of several levels.

`python -m validation.cases.mlf.frameworks` records it anew; the claims are held against the
recording, and need no framework.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from reference.mlf import TAU, V_TH

#: "versions" (JSON) and the answers of `framework`, by name.
RECORDED = Path(__file__).with_name("recorded.npz")
#: Name, and whether the reset is detached; Norse has no rectangle, and only spikes.
PAIRS = {
    "autograd full": False,
    "autograd detached": True,
    "spikingjelly full": False,
    "spikingjelly detached": True,
    "snntorch": True,
    "norse": True,
}


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and gradients by the outputs of 40 units and 3 samples over 20 steps."""
    rng = np.random.default_rng(19)
    return rng.normal(0.4, 1.2, (20, 3, 40)), rng.standard_normal((20, 3, 40))


def framework(name: str, x=None, grad=None) -> tuple[np.ndarray, np.ndarray | None]:
    """Spikes of every level [K, T, ...], and gradient by the input where there is one."""
    import torch

    x, grad = (torch.tensor(p) for p in (problem() if x is None else (x, grad)))
    x.requires_grad_(True)
    run = {"autograd": _autograd, "spikingjelly": _spikingjelly, "snntorch": _snntorch,
           "norse": _norse}[name.split()[0]]  # fmt: skip
    spikes = torch.stack([run(torch, x, theta, PAIRS[name]) for theta in V_TH])
    if name == "norse":
        return spikes.detach().numpy(), None
    spikes.sum(dim=0).backward(grad)
    return spikes.detach().numpy(), x.grad.numpy()  # type: ignore[union-attr]


def _rectangle(torch: Any):
    """1 above 0; differentiated by 1 where the argument is less than 1/2 from 0."""

    class Rectangle(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @staticmethod
        def backward(ctx, grad):
            (v,) = ctx.saved_tensors
            return grad * (v.abs() < 0.5).to(grad.dtype)

    return Rectangle.apply


def _autograd(torch, x, theta: float, detach: bool):
    fires, u, s, out = _rectangle(torch), torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for now in x:
        u = TAU * u * (1.0 - (s.detach() if detach else s)) + now
        s = fires(u - theta)
        out.append(s)
    return torch.stack(out)


def _spikingjelly(torch, x, theta: float, detach: bool):
    from spikingjelly.activation_based import neuron

    layer = neuron.LIFNode(
        tau=1.0 / (1.0 - TAU), decay_input=False, v_threshold=theta, v_reset=0.0,
        detach_reset=detach, surrogate_function=_rectangle(torch), step_mode="m",
    )  # fmt: skip
    return layer(x)


def _snntorch(torch, x, theta: float, detach: bool):
    import snntorch

    layer = snntorch.Leaky(
        beta=torch.tensor(TAU, dtype=torch.float64), reset_mechanism="zero",
        spike_grad=_rectangle(torch), threshold=torch.tensor(theta, dtype=torch.float64),
    )  # fmt: skip
    mem, out = torch.zeros_like(x[0]), []
    for now in x:
        spikes, mem = layer(now, mem)
        out.append(spikes)
    return torch.stack(out)


def _norse(torch, x, theta: float, detach: bool):
    """Its input is scaled by the rate, and divided by it here."""
    from norse.torch.functional.lif_box import (
        LIFBoxFeedForwardState,
        LIFBoxParameters,
        lif_box_feed_forward_step,
    )

    rate = torch.tensor(1.0 - TAU, dtype=torch.float64)
    params = LIFBoxParameters(
        tau_mem_inv=rate, v_leak=torch.tensor(0.0), v_th=torch.tensor(theta, dtype=torch.float64),
        v_reset=torch.tensor(0.0), method="super",
    )  # fmt: skip
    state, out = LIFBoxFeedForwardState(v=torch.zeros_like(x[0])), []
    for now in x:
        spikes, state = lif_box_feed_forward_step(now / rate, state, params, dt=1.0)
        out.append(spikes.to(x.dtype))
    return torch.stack(out)


def record() -> None:
    """Write `RECORDED` anew; needs all of them."""
    modules = ("torch", "snntorch", "spikingjelly", "norse")
    versions = {name: version(name) for name in modules}
    arrays = {"versions": np.frombuffer(json.dumps(versions).encode(), np.uint8)}
    for name in PAIRS:
        spikes, gradient = framework(name)
        arrays[f"spikes/{name}"] = spikes.astype(np.uint8)
        if gradient is not None:
            arrays[f"gradient/{name}"] = gradient
    with open(RECORDED, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    record()
