r"""Small spiking classifiers with logits at every step, and legitimate measures of sharpness.

Hidden layers are a `reference.stack.Stack`: dense, batch norm over time and samples, LIF neurons
with a leak of 1/2 a step and a hard reset; the readout is dense, without leak or spikes, so that
the logits of a step depend on the steps before only.

Weights that feed hidden spikes have a loss that is piecewise constant: neither its gradient nor
its Hessian mean anything, and the Jacobian J of the field of surrogate gradients need not be
symmetric, so that it is no Hessian of anything. With random unit directions :math:`u_i` and
:math:`M_{ij} = u_i^T J u_j`, the index of asymmetry is

.. math::
    \lVert M - M^T \rVert / \lVert M + M^T \rVert .                               \tag{1}

What is left: the Hessian by the readout's weights at given spikes, which is smooth, and how much
a common loss rises under weight noise in proportion to each row's norm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reference import layers as nn
from reference import stack, surrogates
from reference.losses import softmax
from reference.stack import Params

#: LIF of the paper: leak 1/2, threshold 1, hard reset to 0, strict comparison.
NEURON: dict[str, Any] = {"beta": 0.5, "v_th": 1.0, "reset": "hard", "compare": ">"}


def initial(seed: int, sizes=(64, 64, 64, 64), classes: int = 10, dtype: Any = np.float32):
    """Parameters of the hidden layers, and "out.weight", "out.bias" of the readout.

    Weights have the variance 1 / (3 n_in) of PyTorch's dense layers: with a batch norm behind
    them their size sets how far a step of an optimiser turns them.
    """
    rng = np.random.default_rng([seed, 64])
    params = stack.initial(rng, sizes, gain=3.0**-0.5, dtype=dtype)
    spread = 1.0 / np.sqrt(sizes[-1])
    params["out.weight"] = rng.uniform(-spread, spread, (classes, sizes[-1])).astype(dtype)
    params["out.bias"] = np.zeros(classes, dtype)
    return params


class Classifier:
    """Hidden layers and readout.

    Parameters
    ----------
    params : dict of ndarray
        As `initial` makes them; an optimiser may change them in place.
    steep : float, optional
        If given, neurons pass on `1 / (1 + exp(-steep (h - v_th)))` in the place of spikes, and
        gradients are exact; otherwise they spike, and a triangle of half-width 1 stands for the
        derivative.
    """

    def __init__(self, params: Params, steep: float | None = None) -> None:
        self.params, neuron = params, dict(NEURON)
        self.surrogate = surrogates.get("spikingjelly.PiecewiseQuadratic", alpha=1.0)
        if steep is not None:
            self.surrogate = surrogates.get("spikingjelly.Sigmoid", alpha=steep)
            neuron["step"] = self.surrogate.primitive
        self.stack = stack.Stack(params, **neuron)

    def forward(self, x, *, fixed=None):
        """Logits (T, B, C), and what `backward` needs; `fixed` statistics are inference."""
        run = self.stack.forward(x, fixed=fixed)
        spikes = run.layers[-1].spikes
        logits, pull = nn.dense(spikes, self.params["out.weight"], self.params["out.bias"])
        return logits, (run, pull)

    def backward(self, kept, grad_logits, *, detach: bool = False) -> Params:
        """Gradients by all parameters; the reset is differentiated unless it is detached."""
        run, pull = kept
        g, weight, bias = pull(np.asarray(grad_logits))
        found = self.stack.backward(run, g, self.surrogate, detach=detach, at="spikes")
        del found["input"]
        return found | {"out.weight": weight, "out.bias": bias}

    def gradient(self, x, y, loss: Callable, *, fixed=None) -> tuple[float, Params]:
        """Loss and gradients of one batch."""
        logits, kept = self.forward(x, fixed=fixed)
        value, grad = loss(logits, y)
        return value, self.backward(kept, grad)


def running(params: Params) -> list[tuple]:
    """Statistics of inference before any training."""
    depth = sum(key.endswith(".gamma") for key in params)
    return [
        (np.zeros_like(params[f"{k}.gamma"]), np.ones_like(params[f"{k}.gamma"]))
        for k in range(depth)
    ]


def encode(images, steps: int, *, coding: str = "rate", seed=0, dtype: Any = np.float32):
    """Images (B, pixels) in [0, 1] as input of every step, (T, B, pixels).

    "rate": spikes with probability 0.6 times the pixel, drawn anew at every step; "direct": twice
    the pixel less 1, the same at every step.
    """
    if coding == "direct":
        return np.broadcast_to((2.0 * images - 1.0).astype(dtype), (steps, *images.shape))
    if coding != "rate":
        raise ValueError(f"coding must be 'rate' or 'direct'; got {coding!r}")
    drawn = np.random.default_rng(seed).random((steps, *images.shape))
    return (drawn < 0.6 * images).astype(dtype)


def flat(params: Params) -> np.ndarray:
    """All entries as one vector, in the order of the keys."""
    return np.concatenate([params[key].ravel() for key in params])


def unflat(vector, like: Params) -> Params:
    """The inverse of `flat`."""
    parts = np.split(vector, np.cumsum([value.size for value in like.values()])[:-1])
    return {
        key: part.reshape(value.shape).astype(value.dtype)
        for (key, value), part in zip(like.items(), parts, strict=True)
    }


def asymmetry(field: Callable[[np.ndarray], np.ndarray], at, step: float, *, directions: int = 12,
              seed: int = 0) -> float:  # fmt: skip
    """The index (1) of a field of gradients, by central differences.

    Parameters
    ----------
    field : callable
        From a vector of parameters to one of gradients.
    at : ndarray, shape (n,)
    step : float
        Relative to the norm of `at`.
    directions, seed : int
        Random unit directions that the Jacobian is projected on.
    """
    rng, at = np.random.default_rng(seed), np.asarray(at, float)
    u = rng.standard_normal((directions, at.size))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    h = step * np.linalg.norm(at)
    columns = [(field(at + h * one) - field(at - h * one)) / (2.0 * h) for one in u]
    m = u @ np.array(columns).T
    return float(np.linalg.norm(m - m.T) / np.linalg.norm(m + m.T))


def readout_curvature(spikes, logits, *, iterations: int = 60) -> float:
    """The largest eigenvalue of the Hessian of `tet.sdt` by the readout's weights and bias.

    Parameters
    ----------
    spikes : ndarray, shape (T, B, n)
        Of the last hidden layer; at given spikes the loss is smooth, and convex.
    logits : ndarray, shape (T, B, C)
    iterations : int
        Of the power method.
    """
    mean = np.append(spikes.mean(axis=0), np.ones((spikes.shape[1], 1)), axis=1).astype(float)
    p = softmax(logits.mean(axis=0).astype(float))
    v = np.random.default_rng(0).standard_normal((p.shape[1], mean.shape[1]))
    size = 0.0
    for _ in range(iterations):
        v /= np.linalg.norm(v)
        moved = mean @ v.T
        bent = p * moved - p * np.sum(p * moved, axis=1, keepdims=True)
        v = bent.T @ mean / len(mean)
        size = float(np.linalg.norm(v))
    return size


def disturbed(params: Params, size: float, seed: int) -> Params:
    """Weights with normal noise, each row's of `size` times its norm; the rest unchanged."""
    rng, out = np.random.default_rng(seed), dict(params)
    for key, value in params.items():
        if key.endswith(".weight"):
            noise = rng.standard_normal(value.shape)
            noise *= np.linalg.norm(value, axis=1, keepdims=True) / np.linalg.norm(
                noise, axis=1, keepdims=True
            )
            out[key] = (value + size * noise).astype(value.dtype)
    return out
