r"""Convolution and pooling, forward and backward: windows of the padded image, then BLAS.

With :math:`X_{p,k}` the k-th entry of the window at place p, a convolution is the dense layer
:math:`Y = X W^T`, and its backward pass that of the dense layer; what comes back for one entry
of a window is added to the pixel that it was read from. Images are (..., C, H, W).
"""

from __future__ import annotations

import numpy as np

Pair = int | tuple[int, int]


def _pair(value: Pair, name: str, least: int) -> tuple[int, int]:
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or any(int(n) != n or n < least for n in pair):
        raise ValueError(f"{name} must be one or two whole numbers from {least} on; got {value}")
    return int(pair[0]), int(pair[1])


def count(length: int, window: int, stride: int, padding: int = 0) -> int:
    """How many windows there are along an axis of an image."""
    return (length + 2 * padding - window) // stride + 1


class _Windows:
    """The windows of a batch of images, and the way back."""

    def __init__(self, x, size: Pair, stride: Pair, padding: Pair, fill: float = 0.0) -> None:
        self.lead = x.shape[:-3]
        self.size = _pair(size, "the window", 1)
        self.stride = _pair(stride, "stride", 1)
        (top, left), image = _pair(padding, "padding", 0), x.reshape(-1, *x.shape[-3:])
        if top or left:
            border = ((0, 0), (0, 0), (top, top), (left, left))
            image = np.pad(image, border, constant_values=fill)
        self.corner, self.inner, self.padded = (top, left), x.shape[-2:], image.shape
        if image.shape[-2] < self.size[0] or image.shape[-1] < self.size[1]:
            raise ValueError(f"a window of {self.size} does not fit an image of {x.shape[-2:]}")
        down, right = self.stride
        #: (images, channels, rows, columns, window rows, window columns), a view.
        self.view = np.lib.stride_tricks.sliding_window_view(image, self.size, axis=(2, 3))[
            :, :, ::down, ::right
        ]
        self.places = self.view.shape[2:4]

    def back(self, parts, dtype) -> np.ndarray:
        """Sum of `parts[i, j]` (images, channels, rows, columns) where entry (i, j) was read."""
        total = np.zeros(self.padded, dtype)
        (rows, columns), (down, right) = self.places, self.stride
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                total[:, :, i : i + down * rows : down, j : j + right * columns : right] += parts(
                    i, j
                )
        (top, left), (height, width) = self.corner, self.inner
        image = total[:, :, top : top + height, left : left + width]
        return image.reshape(*self.lead, *image.shape[1:])

    def outside(self, y) -> np.ndarray:
        """`y` (images, channels, rows, columns) with the leading axes of the images."""
        return y.reshape(*self.lead, *y.shape[1:])

    def inside(self, gradient) -> np.ndarray:
        """The inverse of `outside`."""
        gradient = np.asarray(gradient)
        return gradient.reshape(-1, *gradient.shape[-3:])


def conv2d(x, weight, bias=None, *, stride: Pair = 1, padding: Pair = 0, groups: int = 1):
    """Cross-correlation of images with kernels, as frameworks call convolution.

    Parameters
    ----------
    x : ndarray, shape (..., C, H, W)
    weight : ndarray, shape (O, C / groups, kh, kw)
    bias : ndarray, shape (O,), optional
    stride, padding : int or (int, int)
        Padding is with zeros, on both sides.
    groups : int
        Into which channels and kernels fall; C of them is a depthwise convolution.

    Returns
    -------
    y : ndarray, shape (..., O, H', W')
        H' = (H + 2 padding - kh) // stride + 1.
    pull : callable
        From the gradient by `y` to those by x, weight and bias.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    x, weight = np.asarray(x), np.asarray(weight)
    if x.ndim < 3 or weight.ndim != 4 or groups < 1:
        raise ValueError(f"x must be (..., C, H, W) and weight 4-d; got {x.shape}, {weight.shape}")
    out, per_group, *size = weight.shape
    if x.shape[-3] != groups * per_group or out % groups:
        raise ValueError(
            f"weight {weight.shape} in {groups} groups reads {groups * per_group} channels and "
            f"writes {out}; x has {x.shape[-3]}"
        )
    windows = _Windows(x, (size[0], size[1]), stride, padding)
    n, (rows, columns) = windows.view.shape[0], windows.places
    kernels = weight.reshape(groups, out // groups, -1)

    def entries():
        """(groups, places, entries of a window); made anew rather than kept."""
        view = windows.view.reshape(n, groups, per_group, rows, columns, *size)
        return view.transpose(1, 0, 3, 4, 2, 5, 6).reshape(groups, n * rows * columns, -1)

    y = entries() @ kernels.transpose(0, 2, 1)  # (groups, places, kernels)
    y = y.reshape(groups, n, rows, columns, -1).transpose(1, 0, 4, 2, 3)
    y = y.reshape(n, out, rows, columns)
    if bias is not None:
        y = y + np.asarray(bias)[:, None, None]

    def pull(gradient):
        g = windows.inside(gradient)
        by_bias = None if bias is None else g.sum(axis=(0, 2, 3))
        g = g.reshape(n, groups, -1, rows, columns).transpose(1, 0, 3, 4, 2)
        g = g.reshape(groups, n * rows * columns, -1)
        by_weight = (g.transpose(0, 2, 1) @ entries()).reshape(weight.shape)
        read = (g @ kernels).reshape(groups, n, rows, columns, per_group, *size)
        read = read.transpose(5, 6, 1, 0, 4, 2, 3)
        read = read.reshape(*size, n, groups * per_group, rows, columns)
        return windows.back(lambda i, j: read[i, j], x.dtype), by_weight, by_bias

    return windows.outside(y), pull


def average_pool(x, size: Pair, *, stride: Pair | None = None, padding: Pair = 0):
    """Mean of every window, zeros of the padding counted; stride defaults to `size`."""
    x = np.asarray(x)
    windows = _Windows(x, size, size if stride is None else stride, padding)
    share = x.dtype.type(1.0 / (windows.size[0] * windows.size[1]))

    def pull(gradient):
        g = windows.inside(gradient) * share
        return windows.back(lambda i, j: g, x.dtype)

    return windows.outside(windows.view.sum(axis=(-2, -1)) * share), pull


def max_pool(x, size: Pair, *, stride: Pair | None = None, padding: Pair = 0):
    """Largest entry of every window; stride defaults to `size`.

    The gradient goes to the first of the largest, row by row: among spikes ties are the rule.
    """
    x = np.asarray(x)
    step = size if stride is None else stride
    windows = _Windows(x, size, step, padding, fill=-np.inf)
    if any(2 * p > s for p, s in zip(windows.corner, windows.size, strict=True)):
        raise ValueError(f"padding {padding} is more than half the window {size}")
    entries = windows.view.reshape(*windows.view.shape[:4], -1)
    first = entries.argmax(axis=-1)
    y = np.take_along_axis(entries, first[..., None], axis=-1)[..., 0]

    def pull(gradient):
        g = windows.inside(gradient)
        return windows.back(lambda i, j: g * (first == i * windows.size[1] + j), x.dtype)

    return windows.outside(y), pull
