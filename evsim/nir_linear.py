"""Linear NIR nodes as matrices over flattened (C order) values: `(out, in)`, a bias, a shape."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse

#: Weights of one convolution or pool, each position of its window counted.
MOST = 10**8
#: The linear nodes; `Delay` is linear too, but no matrix.
LINEAR = ("Affine", "Linear", "Scale", "Flatten", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d")


def check_real(name: str, node) -> None:
    """Refuse a node with complex numbers, of which NumPy would drop the imaginary part.

    Raises
    ------
    ValueError
        Naming the node and the field.
    """
    for field, value in vars(node).items():
        if np.iscomplexobj(value):
            raise ValueError(f"node {name!r}: {field} holds complex numbers; those of NIR are real")


def matrix_of(name: str, node, shape: tuple[int, ...] | None):
    """(matrix, bias, shape of the output) of a linear node for input of a shape.

    The matrix is dense, sparse, or None for the identity.

    Raises
    ------
    ValueError
        Naming the node, if the shape does not fit, or what it means is not determined.
    """
    kind = type(node).__name__
    size = None if shape is None else int(np.prod(shape))
    if kind == "Flatten":
        return None, 0.0, None if size is None else (size,)
    if kind in ("Affine", "Linear"):
        weight = np.asarray(node.weight, float)
        if weight.ndim != 2 or size not in (None, weight.shape[1]):
            raise ValueError(f"node {name!r}: weight has shape {weight.shape} for {size} values")
        bias = np.asarray(node.bias, float) if kind == "Affine" else 0.0
        return weight, bias, weight.shape[:1]
    if kind == "Scale":
        scale = np.asarray(node.scale, float)
        if size not in (None, scale.size):
            raise ValueError(f"node {name!r}: scale has shape {scale.shape} for {size} values")
        return scipy.sparse.diags_array(scale.ravel()).tocsr(), 0.0, scale.shape
    if kind in ("Conv1d", "Conv2d"):
        return _convolution(name, node, shape)
    return _pooling(name, node, shape)


def _convolution(name: str, node, shape):
    weight, groups = np.asarray(node.weight, float), int(node.groups)
    dims = weight.ndim - 2
    channels, given = weight.shape[1] * groups, node.input_shape
    if given is not None:
        known = (channels, *np.atleast_1d(given).astype(int).tolist())
        if shape is not None and np.prod(shape) != np.prod(known):
            raise ValueError(f"node {name!r}: input_shape makes {known}, but {shape} comes in")
        shape = known
    if shape is None or len(shape) != dims + 1 or shape[0] != channels:
        raise ValueError(f"node {name!r} wants {channels} channels of {dims} dimensions: {shape}")
    stride, dilation = _each(node.stride, dims), _each(node.dilation, dims)
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if isinstance(padding, str):
        if padding == "same" and max(stride) > 1:
            raise ValueError(f"node {name!r}: padding='same' wants stride 1; got {stride}")
        whole = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        before = [total // 2 if padding == "same" else 0 for total in whole]
        after = [t - b if padding == "same" else 0 for t, b in zip(whole, before, strict=True)]
    else:
        before = after = _each(padding, dims)
    matrix, out = _windows(name, weight, groups, shape, stride, dilation, before, after)
    bias = 0.0 if node.bias is None else np.asarray(node.bias, float)
    return matrix, np.broadcast_to(np.ravel(bias)[:, None], (out[0], np.prod(out[1:]))).ravel(), out


def _pooling(name: str, node, shape):
    if shape is None or len(shape) != 3:
        raise ValueError(f"node {name!r} wants (channels, height, width); {shape} comes in")
    kernel, padding = _each(node.kernel_size, 2), _each(node.padding, 2)
    mean = type(node).__name__ == "AvgPool2d"
    if mean and any(padding):
        raise ValueError(f"node {name!r}: NIR leaves open whether a mean counts its padding")
    weight = np.full((shape[0], 1, *kernel), 1.0 / np.prod(kernel) if mean else 1.0)
    stride = _each(node.stride, 2)
    matrix, out = _windows(name, weight, shape[0], shape, stride, [1, 1], padding, padding)
    return matrix, 0.0, out


def _each(value: Any, dims: int) -> list[int]:
    return np.broadcast_to(np.asarray(value, int).ravel(), (dims,)).tolist()


def _windows(name, weight, groups, shape, stride, dilation, before, after):
    """The matrix of a cross-correlation with zero padding, and the shape of its output."""
    n_out, per_group, *kernel = weight.shape
    steps = zip(shape[1:], kernel, stride, dilation, before, after, strict=True)
    out = [(n + b + a - d * (k - 1) - 1) // s + 1 for n, k, s, d, b, a in steps]
    if min(out) < 1:
        raise ValueError(f"node {name!r}: a kernel of {kernel} is larger than {tuple(shape[1:])}")
    if (entries := n_out * per_group * math.prod(out) * math.prod(kernel)) > MOST:
        raise ValueError(f"node {name!r} makes {entries} synapses, more than {MOST}")
    place = np.indices(out).reshape(len(out), -1)
    target = np.arange(n_out)[:, None, None] * place.shape[1] + np.arange(place.shape[1])
    first = np.arange(n_out) // (n_out // groups) * per_group
    channel = first[:, None] + np.arange(per_group)
    rows, columns, values = [], [], []
    for at in product(*map(range, kernel)):
        source = [
            p * s - b + d * k
            for p, s, b, d, k in zip(place, stride, before, dilation, at, strict=True)
        ]
        inside = np.all(
            [(0 <= x) & (x < n) for x, n in zip(source, shape[1:], strict=True)], axis=0
        )
        flat = np.ravel_multi_index([x[inside] for x in source], shape[1:])
        column = channel[:, :, None] * int(np.prod(shape[1:])) + flat
        rows.append(np.broadcast_to(target[:, :, inside], column.shape).ravel())
        columns.append(column.ravel())
        values.append(np.broadcast_to(weight[(..., *at)][:, :, None], column.shape).ravel())
    triple = [np.concatenate(part) for part in (rows, columns, values)]
    size = (n_out * place.shape[1], int(np.prod(shape)))
    return scipy.sparse.csr_array((triple[2], (triple[0], triple[1])), size), (n_out, *out)
