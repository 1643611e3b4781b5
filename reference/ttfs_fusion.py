r"""ReLU networks as lists of layers, and their fusion into layers with weights and poolings.

A batch norm before its ReLU goes into the weights before it. One behind a ReLU makes of every
activation x an affine :math:`\kappa x + s` and goes into the weights after it:

.. math::
    w_{ij} \leftarrow w_{ij} \kappa_j, \qquad b_i \leftarrow b_i + \sum_j w_{ij} s_j .   \tag{1}

Zeros of a padding are not shifted, so the sum runs over taps inside the image and the bias
depends on the place: nine values a channel for a 3 x 3 kernel. A maximum of
:math:`\kappa x + s` with :math:`\kappa < 0` is made of the smallest x. The range of the input is
such an affine too. An average is a weighted sum and joins the weights after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from reference.convolution import count
from reference.layers import (
    average_pool,
    batch_norm,
    conv2d,
    dense,
    flatten,
    fold_batch_norm,
    max_pool,
)


@dataclass(frozen=True)
class Dense:
    """Takes the next weight (n_out, n_in) and bias; images are flattened."""


@dataclass(frozen=True)
class Conv2d:
    """Takes the next weight (O, C, kh, kw) and bias; padding is with zeros."""

    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class ReLU:
    """max(0, x)."""


@dataclass(frozen=True)
class MaxPool:
    """Largest of every window; stride defaults to `size`."""

    size: int
    stride: int | None = None


@dataclass(frozen=True)
class AvgPool:
    """Mean of windows that touch one another and fill the image."""

    size: int


@dataclass(frozen=True)
class BatchNorm:
    """At inference, one value per channel or feature; (x - mean)/sqrt(var + eps) gamma + beta."""

    gamma: Any
    beta: Any
    mean: Any
    var: Any
    eps: float = 1e-5


@dataclass
class Fused:
    """A weight with its bias, (n,) or (O, H, W), and the poolings of single spikes before it."""

    weight: np.ndarray
    bias: np.ndarray
    in_shape: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    pools: list[tuple[int, int, np.ndarray, tuple[int, ...]]] = field(default_factory=list)


def plain(count: int) -> list[Any]:
    """Dense layers with ReLUs between them."""
    return [layer for _ in range(count - 1) for layer in (Dense(), ReLU())] + [Dense()]


def relu_forward(weights, biases, x, layers=None):
    """A ReLU network layer by layer.

    Parameters
    ----------
    weights, biases : lists of ndarray
        Of the dense layers and convolutions in order; a bias may be None.
    x : ndarray, shape (batch, n) or (batch, C, H, W)
    layers : list, optional
        Default: `plain(len(weights))`.

    Returns
    -------
    logits : ndarray
    activations : list of ndarray
        After every ReLU.
    """
    activations = []
    for layer, y, _ in relu_steps(weights, biases, x, layers):
        x = y
        if isinstance(layer, ReLU):
            activations.append(y)
    return x, activations


def relu_steps(weights, biases, x, layers=None):
    """Arguments as of `relu_forward`; yields (layer, its output, the pull of its gradient)."""
    taken = iter(zip(weights, biases, strict=True))
    for layer in layers or plain(len(weights)):
        if isinstance(layer, Dense):
            x, pull = _flattened(x, *next(taken))
        elif isinstance(layer, Conv2d):
            x, pull = conv2d(x, *next(taken), stride=layer.stride, padding=layer.padding)
        elif isinstance(layer, ReLU):
            x, pull = np.maximum(x, 0), partial(np.multiply, x > 0)
        elif isinstance(layer, MaxPool):
            x, pull = max_pool(x, layer.size, stride=layer.stride)
        elif isinstance(layer, AvgPool):
            x, pull = average_pool(x, layer.size)
        else:
            fixed = (layer.mean, layer.var)
            x, pull, _ = batch_norm(x, layer.gamma, layer.beta, keep=1, eps=layer.eps, fixed=fixed)
        yield layer, x, pull


def _flattened(x, weight, bias):
    """A dense layer on images or vectors, and its pull to their shape."""
    rows, shaped = flatten(x, 1)
    y, pull = dense(rows, weight, bias)

    def back(gradient):
        by_rows, by_weight, by_bias = pull(gradient)
        return shaped(by_rows), by_weight, by_bias

    return y, back


class _Walk:
    """Where a walk through the layers stands: the shape, and what waits to be fused."""

    def __init__(self, shape, input_range, dtype) -> None:
        low, high = input_range
        self.shape: tuple[int, ...] = tuple(shape)
        self.fused: list[Fused] = []
        self.dtype = dtype
        self.unit = (high - low) / (high - low)  # of the type of the weights
        self.factor = np.full(shape[0], high - low, dtype)
        self.shift = np.full(shape[0], low, dtype)
        self.pools: list[Any] = []
        self.average = 1
        self.raw: Any = None  # weight, bias, stride, padding before its ReLU

    def weighted(self, weight, bias, stride, padding, label) -> None:
        """A dense layer or convolution begins."""
        weight = np.asarray(weight)
        bias = np.zeros(len(weight), weight.dtype) if bias is None else np.asarray(bias)
        n_in = int(np.prod(self.shape)) if weight.ndim == 2 else self.shape[0]
        if weight.shape[1] != n_in or bias.shape != (len(weight),):
            raise ValueError(
                f"{label} has weight {weight.shape} and bias {bias.shape} behind {self.shape}"
            )
        self.raw = [weight, bias, stride, padding]

    def close(self) -> None:
        """The layer that has begun is complete: fuse what waits into it."""
        weight, bias, stride, padding = self.raw
        shape, p = self.shape, self.average
        if weight.ndim == 2:
            image = weight.reshape(len(weight), *shape)
            constant = image * _wide(self.shift, shape)
            bias = bias + constant.reshape(len(weight), -1).sum(axis=1)
            image = image * _wide(self.factor, shape)
            if p > 1:
                image = image.repeat(p, axis=2).repeat(p, axis=3) / (p * p)
            weight = image.reshape(len(weight), -1)
            out: tuple[int, ...] = (len(weight),)
        else:
            if np.any(self.shift != 0):
                ground = np.broadcast_to(_wide(self.shift, shape), shape)[None]
                shift = conv2d(ground, weight, stride=stride, padding=padding)[0][0]
                bias = bias[:, None, None] + shift if padding else bias + shift[:, 0, 0]
            kh, kw = weight.shape[2:]
            out = (len(weight), count(shape[1], kh, stride, padding),
                   count(shape[2], kw, stride, padding))  # fmt: skip
            weight = weight * self.factor[:, None, None]
            if p > 1:
                weight = weight.repeat(p, axis=2).repeat(p, axis=3) / (p * p)
                stride, padding = stride * p, padding * p
        whole = (shape[0], shape[1] * p, shape[2] * p) if p > 1 else shape
        self.fused.append(Fused(weight, bias, whole, stride, padding, self.pools))
        self.raw, self.pools, self.average, self.shape = None, [], 1, out
        self.factor = np.full(out[0], self.unit, self.dtype)
        self.shift = np.full(out[0], self.unit - self.unit, self.dtype)

    def norm(self, layer: BatchNorm) -> None:
        """A batch norm: into the weights before it, or waiting for those after it."""
        values = [np.asarray(v) for v in (layer.gamma, layer.beta, layer.mean, layer.var)]
        if self.raw is not None:
            gamma, beta, mean, var = values
            weight, bias = self.raw[:2]
            self.raw[:2] = fold_batch_norm(weight, bias, gamma, beta, mean, var, layer.eps)
            return
        gamma, beta, mean, var = values
        kappa = gamma / np.sqrt(var + layer.eps)
        if (kappa == 0).any():
            raise ValueError(f"gamma[{int(np.argmax(kappa == 0))}] of a batch norm must not be 0")
        self.factor = self.factor * kappa
        self.shift = kappa * (self.shift - mean) + beta

    def pool(self, size: int, stride: int) -> None:
        """A maximum."""
        if self.average > 1:
            raise ValueError("a maximum of averages is no spike: put weights between the poolings")
        c, h, w = self.shape
        self.pools.append((size, stride, self.factor < 0, self.shape))
        self.shape = (c, count(h, size, stride), count(w, size, stride))

    def mean(self, size: int) -> None:
        """An average."""
        c, h, w = self.shape
        if h % size or w % size:
            raise ValueError(f"an average of {size} x {size} does not fill an image of {h} x {w}")
        self.average, self.shape = self.average * size, (c, h // size, w // size)


def _wide(values, shape):
    return values.reshape(-1, *[1] * (len(shape) - 1))


def fuse(layers, weights, biases, in_shape, input_range) -> list[Fused]:
    """The layers with weights of a ReLU network, everything else fused into them, (1).

    Raises
    ------
    ValueError
        If the layers do not fit one another, or cannot be made of single spikes.
    """
    walk = _Walk(in_shape, input_range, weights[0].dtype)
    taken = iter(range(len(weights)))
    for place, layer in enumerate(layers):
        label = f"layers[{place}]"
        if isinstance(layer, Dense | Conv2d):
            if walk.raw is not None:
                raise ValueError(f"{label} needs a ReLU before it")
            k = next(taken, None)
            if k is None:
                raise ValueError(f"{label} is one layer more than there are weights")
            stride, padding = getattr(layer, "stride", 1), getattr(layer, "padding", 0)
            wanted = 4 if isinstance(layer, Conv2d) else 2
            if np.ndim(weights[k]) != wanted:
                raise ValueError(f"weights[{k}] of {label} must have {wanted} axes")
            walk.weighted(weights[k], biases[k], stride, padding, label)
        elif isinstance(layer, BatchNorm):
            walk.norm(layer)
        elif walk.raw is None and isinstance(layer, ReLU):
            raise ValueError(f"{label}, a ReLU, needs weights before it")
        elif isinstance(layer, ReLU):
            walk.close()
        elif walk.raw is not None:
            raise ValueError(f"{label} needs a ReLU before it")
        elif isinstance(layer, MaxPool):
            walk.pool(layer.size, layer.stride or layer.size)
        elif isinstance(layer, AvgPool):
            walk.mean(layer.size)
        else:
            raise TypeError(f"{label} is no layer: {layer!r:.80}")
    if walk.raw is None or next(taken, None) is not None:
        raise ValueError("the last layer must have weights, and every weight a layer")
    walk.close()
    return walk.fused
