r"""Losses of discrete networks; each answers (value, pull) as the layers do.

.. math::
    \text{cross entropy:}\quad L = -\tfrac1M \sum_m \log p_{m, y_m}, \quad
        \bar o = (p - \mathrm{onehot}(y))/M, \quad p = \mathrm{softmax}(o),            \tag{1} \\
    \text{mean square:}\quad L = \tfrac1n \sum (o - y)^2, \quad \bar o = 2 (o - y)/n.   \tag{2}
"""

from __future__ import annotations

import numpy as np


def softmax(logits) -> np.ndarray:
    """Softmax over the last axis; the largest logit is taken off, so nothing overflows."""
    logits = np.asarray(logits)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_cross_entropy(logits, labels):
    """Mean cross entropy, (1).

    Parameters
    ----------
    logits : ndarray, shape (..., n_classes)
    labels : ndarray of int, broadcast to shape (...)
        With logits [T, B, C] and labels [B], every step is judged.

    Returns
    -------
    loss : float
    pull : callable
        `pull(1.0)` is the gradient by the logits.

    Raises
    ------
    ValueError
        If a label is no class.
    """
    logits = np.asarray(logits)
    labels = np.broadcast_to(np.asarray(labels), logits.shape[:-1])[..., None]
    bad = np.argwhere((labels < 0) | (labels >= logits.shape[-1]))
    if bad.size:
        at = tuple(map(int, bad[0]))
        raise ValueError(f"labels{list(at[:-1])} is {labels[at]}; classes: {logits.shape[-1]}")
    top = logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)) + top
    loss = np.mean(log_sum - np.take_along_axis(logits, labels, axis=-1))

    def pull(gradient=1.0):
        g = softmax(logits)
        np.put_along_axis(g, labels, np.take_along_axis(g, labels, axis=-1) - 1.0, axis=-1)
        return g * logits.dtype.type(gradient / labels.size)

    return float(loss), pull


def mean_squared_error(output, target):
    """Mean of the squares of all differences, (2); `target` is broadcast to `output`."""
    output = np.asarray(output)
    off = output - np.asarray(target, output.dtype)
    if off.shape != output.shape:
        raise ValueError(f"target must broadcast to {output.shape}; got {np.shape(target)}")
    loss = float(np.mean(off * off))
    return loss, lambda gradient=1.0: off * output.dtype.type(2.0 * gradient / output.size)
