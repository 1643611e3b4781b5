r"""Layers between discrete neurons, forward and backward; clear NumPy with BLAS underneath.

Every layer is one function that answers ``(output, pull)``. ``pull(gradient)``, where the
gradient is shaped like the output, is the vector-Jacobian product: the gradients by the array
arguments of the layer, in their order; None for an argument that was None. Nothing is hidden
in an object, so that a network is a list of pulls, called backwards.

Arrays are computed in the dtype that they come in. Leading axes, for instance time and samples,
are free: the features are the last axis of `dense`, and the channels, height and width the last
three of what `reference.convolution` has. Weights are stored (out, in).

With gradients :math:`\bar y` of the output,

.. math::
    y = x W^T + b: \quad \bar x = \bar y W, \quad \bar W = \sum \bar y^T x, \quad
        \bar b = \sum \bar y,                                                        \tag{1} \\
    y = \gamma \hat x + \beta, \quad \hat x = (x - m)/s, \quad s^2 = \mathrm{Var} + \epsilon:
        \quad \bar x = \tfrac{\gamma}{s} (\bar y - \langle \bar y \rangle
        - \hat x \langle \bar y \hat x \rangle), \quad
        \bar\gamma = \sum \bar y \hat x, \quad \bar\beta = \sum \bar y,               \tag{2}

where the brackets are means over what the statistics m and Var are taken over. Statistics over
time make (2) acausal: the gradient at one step depends on those of all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from reference.convolution import average_pool, conv2d, max_pool
from reference.losses import mean_squared_error, softmax_cross_entropy

__all__ = [
    "Statistics",
    "add",
    "average_pool",
    "batch_norm",
    "conv2d",
    "dense",
    "flatten",
    "fold_batch_norm",
    "max_pool",
    "mean_squared_error",
    "running_statistics",
    "softmax_cross_entropy",
    "summed",
]

Pull = Callable[[np.ndarray], Any]


def dense(x, weight, bias=None) -> tuple[np.ndarray, Pull]:
    """A fully connected layer, (1).

    Parameters
    ----------
    x : ndarray, shape (..., n_in)
    weight : ndarray, shape (n_out, n_in)
    bias : ndarray, shape (n_out,), optional

    Returns
    -------
    y : ndarray, shape (..., n_out)
    pull : callable
        From the gradient by `y` to those by x, weight and bias.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    x, weight = np.asarray(x), np.asarray(weight)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"weight must be (n_out, n_in) with n_in = {x.shape[-1:]}; got {weight.shape}"
        )
    rows = x.reshape(-1, x.shape[-1])
    y = rows @ weight.T
    if bias is not None:
        y += bias

    def pull(gradient):
        g = np.asarray(gradient).reshape(-1, weight.shape[0])
        by_bias = None if bias is None else g.sum(axis=0)
        return (g @ weight).reshape(x.shape), g.T @ rows, by_bias

    return y.reshape(*x.shape[:-1], weight.shape[0]), pull


def flatten(x, start: int) -> tuple[np.ndarray, Pull]:
    """All axes from `start` on as one; the pull gives them back."""
    x = np.asarray(x)
    y = x.reshape(*x.shape[:start], -1)
    return y, lambda gradient: np.asarray(gradient).reshape(x.shape)


def add(x, y) -> tuple[np.ndarray, Pull]:
    """The sum of two branches of one shape; both get the gradient."""
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape:
        raise ValueError(f"both branches must have one shape; got {x.shape} and {y.shape}")
    return x + y, lambda gradient: (gradient, gradient)


class Statistics(NamedTuple):
    """Mean and biased variance, both shaped like the kept axes, and what they were taken over."""

    mean: np.ndarray
    var: np.ndarray
    size: int


def batch_norm(
    x,
    gamma,
    beta,
    *,
    keep: int | tuple[int, ...],
    eps: float = 1e-5,
    fixed=None,
    eps_outside: bool = False,
) -> tuple[np.ndarray, Pull, Statistics]:
    """Batch normalisation, (2), with statistics over every axis that is not kept.

    Parameters
    ----------
    x : ndarray
    gamma, beta : ndarray
        Scale and shift, shaped like the kept axes of `x`, or broadcast to them.
    keep : int or tuple of int
        Axes with statistics of their own. On currents [T, B, N], `keep=-1` shares them among
        time and samples; [T, B, C, H, W] with `keep=2` among space as well; `keep=(0, 2)` has
        one set for every time step.
    eps : float
        Added to the variance.
    fixed : (mean, var), optional
        Inference: these statistics instead of those of `x`, and constant in the backward pass.
    eps_outside : bool
        Add `eps` to the standard deviation instead, s = sqrt(Var) + eps. The last term of the
        gradient by x in (2) then has the factor s / sqrt(Var); where nothing varies it is 0.

    Returns
    -------
    y : ndarray, shaped like `x`
    pull : callable
        From the gradient by `y` to those by x, gamma and beta.
    statistics : Statistics
        The ones that were used.
    """
    x = np.asarray(x)
    kept = tuple(sorted(axis % x.ndim for axis in np.atleast_1d(keep)))
    over = tuple(axis for axis in range(x.ndim) if axis not in kept)
    shape, small = [1] * x.ndim, tuple(x.shape[axis] for axis in kept)
    for axis in kept:
        shape[axis] = x.shape[axis]

    def spread(values):
        return np.broadcast_to(np.asarray(values, x.dtype), small).reshape(shape)

    count = x.size // max(1, int(np.prod(small)))
    if fixed is None:
        if count < 2:
            raise ValueError(f"statistics need two values or more; keep={keep} leaves {count}")
        mean, var = x.mean(axis=over, keepdims=True), x.var(axis=over, keepdims=True)
    else:
        mean, var = map(spread, fixed)
    small_eps, bend = x.dtype.type(eps), x.dtype.type(1.0)
    if eps_outside:
        root = np.sqrt(var)
        scale = 1.0 / (root + small_eps)
        bend = np.divide(root + small_eps, root, out=np.zeros_like(root), where=root > 0)
    else:
        scale = 1.0 / np.sqrt(var + small_eps)
    normed = (x - mean) * scale
    g = spread(gamma)

    def pull(gradient):
        by_gamma = (gradient * normed).sum(axis=over, keepdims=True)
        by_beta = np.sum(gradient, axis=over, keepdims=True)
        inner = gradient
        if fixed is None:
            inner = gradient - by_beta / count - normed * (by_gamma / count * bend)
        by_gamma, by_beta = by_gamma.reshape(small), by_beta.reshape(small)
        by_both = summed(by_gamma, np.shape(gamma)), summed(by_beta, np.shape(beta))
        return g * scale * inner, *by_both

    answer = Statistics(mean.reshape(small), var.reshape(small), count)
    return g * normed + spread(beta), pull, answer


def summed(total: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over everything that a parameter of `shape` was broadcast along."""
    total = total.sum(axis=tuple(range(total.ndim - len(shape))))
    narrow = tuple(k for k, n in enumerate(shape) if n == 1 and total.shape[k] != 1)
    return total.sum(axis=narrow, keepdims=True) if narrow else total


def running_statistics(running, found: Statistics, momentum: float = 0.1):
    """(mean, var) moved towards what one batch had, with its unbiased variance."""
    mean, var = running
    unbiased = found.var * (found.size / max(1, found.size - 1))
    return (
        (1.0 - momentum) * mean + momentum * found.mean,
        (1.0 - momentum) * var + momentum * unbiased,
    )


def fold_batch_norm(weight, bias, gamma, beta, mean, var, eps: float = 1e-5):
    """Weight and bias of the layer that does what layer and batch norm do at inference.

    Parameters
    ----------
    weight : ndarray, shape (n_out, ...)
        Of a dense layer or a convolution.
    bias : ndarray, shape (n_out,), or None
    gamma, beta, mean, var : array_like, shape (n_out,)

    Returns
    -------
    weight, bias : ndarray
        `gamma / s * weight` and `beta + gamma / s * (bias - mean)`, with s² = var + eps.
    """
    weight = np.asarray(weight)
    factor = np.asarray(gamma) / np.sqrt(np.asarray(var) + eps)
    old = 0.0 if bias is None else bias
    wide = factor.reshape(-1, *[1] * (weight.ndim - 1))
    return weight * wide, beta + factor * (old - np.asarray(mean))
