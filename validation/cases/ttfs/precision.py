"""T19 and T20: fusion of layers, and what floating point leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference import ttfs
from validation.cases.claims import Measured, Run
from validation.cases.ttfs.mapping import mlp
from validation.cases.ttfs.paper import HERE, PAPER, S23, S24


def convolutional(seed: int):
    """conv, ReLU, batch norm, pool, conv, ReLU, readout, on inputs in [-3, 3]."""
    rng = np.random.default_rng(seed)
    gamma = (np.abs(rng.normal(size=6)) + 0.3) * [1, -1, 1, -1, 1, -1]
    beta, mean = rng.normal(size=(2, 6))
    norm = ttfs.BatchNorm(gamma, beta, mean, rng.random(6) + 0.5)
    layers = [ttfs.Conv2d(1, 1), ttfs.ReLU(), norm, ttfs.MaxPool(2), ttfs.Conv2d(1, 1),
              ttfs.ReLU(), ttfs.Dense()]  # fmt: skip
    shapes = (6, 2, 3, 3), (5, 6, 3, 3), (4, 80)
    weights = [rng.normal(size=s) * np.sqrt(2 / np.prod(s[1:])) for s in shapes]
    biases = [0.1 * rng.normal(size=len(w)) for w in weights]
    x = rng.uniform(-3, 3, (8, 2, 8, 8))
    logits, activations = ttfs.relu_forward(weights, biases, x, layers)
    net = ttfs.from_relu(weights, biases, [a.max() for a in activations], layers=layers,
                         input_shape=(2, 8, 8), input_range=(-3.0, 3.0))  # fmt: skip
    return net, x, logits


@PAPER.claim("T19", "batch norm, pooling, padding and the range of the input fuse without loss",
             source=f"{S23}, {S24}; rules of the borders and of negative factors {HERE}",
             expected="logits equal to 1e-12; with one bias a channel, or earliest spikes "
             "everywhere, off by more than 0.1")  # fmt: skip
def fusion(run: Run) -> Measured:
    """Measure T19."""
    worst, flat_error, pool_error = 0.0, np.inf, np.inf
    for seed in range(3):
        net, x, logits = convolutional(seed)
        worst = max(worst, abs(ttfs.forward(net, x).logits - logits).max())
        flat = net.copy()
        for layer in flat.hidden:
            layer.drift[:] = layer.drift[:, 2:3, 2:3]
        flat_error = min(flat_error, abs(ttfs.forward(flat, x).logits - logits).max())
        earliest = net.copy()
        earliest.layers = [
            replace(layer, latest=np.zeros(6, bool)) if isinstance(layer, ttfs.Pool) else layer
            for layer in net.layers
        ]
        pool_error = min(pool_error, abs(ttfs.forward(earliest, x).logits - logits).max())
    text = f"{worst:.1e}; one bias {flat_error:.2g}, earliest spikes {pool_error:.2g}"
    return Measured(text, worst <= 1e-12 and flat_error > 0.1 and pool_error > 0.1)


@PAPER.claim("T20", "long windows and single precision lose digits: errors are a few roundings of "
             "the latency", source=HERE, expected="windows of 1500: float32 in [1e-4, 1e-2], "
             "float64 at most 1e-10")  # fmt: skip
def digits_lost(run: Run) -> Measured:
    """Measure T20."""
    error = dict.fromkeys([(t, w) for t in ("float32", "float64") for w in ("1.5 X", "1500")], 0.0)
    for seed in range(20):
        weights, biases, x = mlp(seed)
        logits, activations = ttfs.relu_forward(weights, biases, x)
        for name, width in error:
            net = ttfs.from_relu(weights, biases, [a.max() for a in activations],
                                 dtype=np.dtype(name).type)  # fmt: skip
            if width == "1500":
                net = net.with_windows([1500.0] * 3)
            gap = float(abs(ttfs.forward(net, x).logits - logits).max())
            error[name, width] = max(error[name, width], gap)
    words = ", ".join(f"{name} {width}: {e:.0e}" for (name, width), e in error.items())
    single, double = error["float32", "1500"], error["float64", "1500"]
    return Measured(words, 1e-4 <= single <= 1e-2 and double <= 1e-10)
