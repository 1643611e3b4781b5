"""What SpikingJelly and snnTorch compute for one layer of the paper's neurons.

`python -m validation.cases.tet.frameworks` records it anew; the claims are held against the
recording, and need no framework.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

#: "versions" (JSON) and the answers of `framework`, by name.
RECORDED = Path(__file__).with_name("recorded.npz")
#: Framework and whether its reset is detached.
PAIRS = {"spikingjelly full": False, "spikingjelly detached": True, "snntorch": True}


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Currents and gradients by the spikes of 40 neurons and 3 samples over 20 steps."""
    rng = np.random.default_rng(22)
    return rng.normal(0.4, 0.8, (20, 3, 40)), rng.standard_normal((20, 3, 40))


def framework(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Spikes, and gradient by the currents, as the framework itself computes them."""
    import torch

    current, grad = (torch.tensor(part) for part in problem())
    current.requires_grad_(True)
    run = _snntorch if name == "snntorch" else _spikingjelly
    spikes = run(torch, current, PAIRS[name])
    spikes.backward(grad)
    return spikes.detach().numpy(), current.grad.numpy()  # type: ignore[union-attr]


def _spikingjelly(torch, current, detach: bool):
    from spikingjelly.activation_based import neuron, surrogate

    layer = neuron.LIFNode(
        tau=2.0, decay_input=False, v_threshold=1.0, v_reset=0.0, detach_reset=detach,
        surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0), step_mode="m",
    )  # fmt: skip
    return layer(current)


def _snntorch(torch, current, detach: bool):
    import snntorch

    class Triangle(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @staticmethod
        def backward(ctx, grad):
            (v,) = ctx.saved_tensors
            return grad * torch.clamp(1.0 - v.abs(), min=0.0)

    layer = snntorch.Leaky(
        beta=torch.tensor(0.5, dtype=torch.float64), reset_mechanism="zero",
        spike_grad=Triangle.apply, threshold=torch.tensor(1.0, dtype=torch.float64),
    )  # fmt: skip
    mem, out = torch.zeros_like(current[0]), []
    for one in current:
        spikes, mem = layer(one, mem)
        out.append(spikes)
    return torch.stack(out)


def record() -> None:
    """Write `RECORDED` anew; needs both frameworks."""
    versions = {name: version(name) for name in ("torch", "snntorch", "spikingjelly")}
    arrays = {"versions": np.frombuffer(json.dumps(versions).encode(), np.uint8)}
    for name in PAIRS:
        spikes, arrays[f"gradient/{name}"] = framework(name)
        arrays[f"spikes/{name}"] = spikes.astype(np.uint8)
    with open(RECORDED, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    record()
