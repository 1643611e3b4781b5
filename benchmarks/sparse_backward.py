"""Backward pass of a leaky layer: active neurons only, against dense products and a framework.

1024 to 1024 neurons, 100 steps, 32 samples, float32, input rate 2 %, one thread, the sides in
turn, best of each. The sparse side counts from the mask of active neurons on; drawing it belongs
to the forward pass. `--torch` adds a layer of snnTorch's kind in torch, step by step, backward
pass only.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from validation.cases.localzo.speed import BETA, SAMPLES, SHARES, SIZE, STEPS, Layer, model, timed


class Autograd:
    """The same backward pass by torch: the graph of all steps, built before the clock starts."""

    def __init__(self, share: float) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch, self.layer = torch, Layer(share)
        self.x = torch.tensor(self.layer.x, requires_grad=True)
        self.weight = torch.tensor(self.layer.weight, requires_grad=True)
        self.factor, self.grad = torch.tensor(self.layer.factor), torch.tensor(self.layer.grad)
        self.spikes = self.forward()

    def forward(self):
        """Membranes step by step; a product with the factor stands for the spike function."""
        u = self.torch.zeros(SAMPLES, SIZE)
        out = []
        for t in range(STEPS):
            u = BETA * u + self.x[t] @ self.weight
            out.append(u * self.factor[t])
        return self.torch.stack(out)

    def backward(self):
        """Gradients by weight and input; the graph is kept for the next round."""
        return self.torch.autograd.grad(
            self.spikes, (self.weight, self.x), self.grad, retain_graph=True
        )


def row(share: float, options) -> dict[str, float]:
    """Best seconds of all sides at one active share."""
    extra = {}
    if options.torch:
        graph = Autograd(share)
        ours, theirs = graph.layer.blas(), graph.backward()
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=0, atol=1e-3 * np.abs(one).max())
        extra["torch"] = graph.backward
    clock = time.process_time if options.processor else time.perf_counter
    return timed(share, options.rounds, extra=extra, clock=clock)


def main() -> None:
    """Print the table; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", action="store_true", help="against automatic differentiation")
    parser.add_argument("--processor", action="store_true", help="processor time: a busy machine")
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    rows = []
    for share in options.shares:
        found = row(share, options)
        rows.append(found)
        ratios = ", ".join(
            f"{name} {found[name] / found['sparse']:.1f}" for name in found
            if name not in ("active", "sparse")
        )  # fmt: skip
        print(f"{found['active']:8.3%} active: {1e3 * found['sparse']:7.2f} ms; times faster than "
              f"{ratios}", flush=True)  # fmt: skip
    if len(rows) > 1:
        fixed, slope = model(rows)
        blas = float(np.median([found["blas"] for found in rows]))
        print(f"fixed {1e3 * fixed:.2f} ms: at most {blas / fixed:.0f} times faster than BLAS, "
              f"which breaks even at {(blas - fixed) / slope:.1%} active")  # fmt: skip
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
