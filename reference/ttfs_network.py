r"""Networks of neurons that spike at most once: what they consist of.

A hidden layer has weights `W`, drifts `D` and the slopes `A`, `B` of its two regimes; a readout
only `W` and `D`. Thresholds follow from them and from the windows by :mod:`reference.ttfs`, (2),
so that a window can change without changing what the network computes. Between two layers there
may be poolings of spike times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from reference.convolution import count
from reference.layers import conv2d, dense, max_pool

MODELS = ("b1", "alpha", "general")


def converter(dtype) -> Callable[[Any], np.ndarray]:
    """What makes arrays of a dtype; of `Fraction`, `flint.fmpq` or the like arrays of objects."""
    if isinstance(dtype, np.dtype) or dtype is float or issubclass(dtype, np.generic):
        return lambda values: np.asarray(values, dtype)

    def exact(value):
        if isinstance(value, dtype):
            return value
        p, q = Fraction(value).as_integer_ratio() if not hasattr(value, "p") else (value.p, value.q)
        return dtype(int(p), int(q))

    each = np.frompyfunc(exact, 1, 1)
    return lambda values: np.asarray(each(np.asarray(values, object)), object)


@dataclass
class Pool:
    """Earliest spike of a window, or the latest for channels marked in `latest`.

    The earliest spike is the largest activation; the latest one is what a maximum over
    activations becomes that a negative factor follows.
    """

    size: int
    stride: int
    latest: np.ndarray  # (channels,) bool
    in_shape: tuple[int, ...]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        c, h, w = self.in_shape
        return c, count(h, self.size, self.stride), count(w, self.size, self.stride)

    def times(self, t):
        """Spike times of the windows of `t` (batch, C, H, W), and the pull of their gradient."""
        sign = np.where(self.latest, 1, -1)[:, None, None]
        y, pull = max_pool(t * sign, self.size, stride=self.stride)
        return y * sign, pull


@dataclass
class Weighted:
    """A layer with weights: dense (n_out, n_in), or a convolution (O, C, kh, kw).

    Attributes
    ----------
    weight, drift : ndarray
        `W`, and `D` of shape (n_out,) or (O,), or (O, H, W) where it depends on the place.
    a, b : ndarray, shape (n_out,), or None
        Slopes of the two regimes; None for a readout. In the alpha model `a` is alpha, and the
        second slope is `alpha + sum of W`, `slopes()`.
    model : str
    scale : ndarray, shape (n_out,), or None
        By what activations were scaled to make the alpha model possible.
    """

    weight: np.ndarray
    drift: np.ndarray
    a: Any  # ndarray, or None for a readout
    b: Any
    in_shape: tuple[int, ...]
    model: str = "b1"
    stride: int = 1
    padding: int = 0
    scale: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.weight.ndim == 2:  # the rows of its transpose are contiguous: one per input spike
            self.weight = np.asfortranarray(self.weight)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(n_out,) or (channels, height, width)."""
        if self.weight.ndim == 2:
            return self.weight.shape[:1]
        o, _, kh, kw = self.weight.shape
        _, h, w = self.in_shape
        options = self.stride, self.padding
        return o, count(h, kh, *options), count(w, kw, *options)

    @property
    def readout(self) -> bool:
        """Whether it only integrates."""
        return self.a is None

    def slopes(self) -> np.ndarray:
        """`B`, shape (n_out,)."""
        if self.model == "alpha":
            return self.a + self.weight.reshape(len(self.weight), -1).sum(axis=1)
        return self.b

    def along(self, values):
        """Values per neuron or channel, ready to meet arrays (batch, *out_shape)."""
        values = np.asarray(values)
        return values[:, None, None] if self.weight.ndim == 4 and values.ndim == 1 else values

    def drive(self, x):
        r"""(:math:`\sum_j W_{ij} x_j`, its pull), of `x` (batch, *in_shape)."""
        if self.weight.ndim == 2:
            y, pull = dense(x.reshape(len(x), -1), self.weight)

            def back(g):
                by_x, by_weight, _ = pull(g)
                return by_x.reshape(x.shape), by_weight

            return y, back
        pad = ((0, 0), (0, 0), *[(self.padding, self.padding)] * 2)
        # Padded here: with zeros of the type of x, which may be fractions.
        x = np.pad(x, pad, constant_values=x.flat[0] * 0)
        y, pull = conv2d(x, self.weight, stride=self.stride)
        p = self.padding

        def cropped(g):
            by_x, by_weight, _ = pull(g)
            return by_x[..., p : by_x.shape[-2] - p, p : by_x.shape[-1] - p], by_weight

        return y, cropped

    def rows(self, t, null):
        """What each neuron hears: times (batch * places, inputs) and weights (inputs, n_out).

        `null` is a time without effect, for the padding.
        """
        if self.weight.ndim == 2:
            return t.reshape(len(t), -1), self.weight.T
        pad = ((0, 0), (0, 0), *[(self.padding, self.padding)] * 2)
        t = np.pad(t, pad, constant_values=null)
        view = np.lib.stride_tricks.sliding_window_view(t, self.weight.shape[2:], axis=(2, 3))
        view = view[:, :, :: self.stride, :: self.stride].transpose(0, 2, 3, 1, 4, 5)
        weight = self.weight.reshape(len(self.weight), -1).T
        return view.reshape(-1, weight.shape[0]), np.ascontiguousarray(weight)

    def from_rows(self, values, batch: int):
        """Values (batch * places, n_out) as (batch, *out_shape)."""
        if self.weight.ndim == 2:
            return values
        o, h, w = self.out_shape
        return values.reshape(batch, h, w, o).transpose(0, 3, 1, 2)

    def by_place(self, values):
        """`along` of values as (places, n_out), in the order of `rows`; one place if dense."""
        if self.weight.ndim == 2:
            return np.ascontiguousarray(values)[None]
        whole = np.broadcast_to(self.along(values), self.out_shape)
        return np.ascontiguousarray(whole.reshape(len(self.weight), -1).T)


@dataclass
class Network:
    """A network of single spikes; `reference.ttfs.from_relu` makes one.

    Attributes
    ----------
    layers : list of Weighted and Pool
        The last one is the readout.
    bounds : ndarray, shape (hidden layers + 2,)
        Layer n (the input is 0) may spike in [bounds[n], bounds[n + 1]); the readout is read at
        the last one.
    tau_c : float
    input_range : (float, float)
        What 0 and 1 stand for in the input.
    dtype : type
    """

    layers: list[Any]
    bounds: np.ndarray
    tau_c: Any
    input_range: tuple[float, float]
    dtype: Any

    @property
    def weighted(self) -> list[Weighted]:
        """The layers with weights, readout last."""
        return [layer for layer in self.layers if isinstance(layer, Weighted)]

    @property
    def hidden(self) -> list[Weighted]:
        """The spiking layers."""
        return self.weighted[:-1]

    @property
    def widths(self) -> np.ndarray:
        """Width of the window of every hidden layer."""
        return np.diff(self.bounds)[1:]

    @property
    def latency(self):
        """When the readout is read."""
        return self.bounds[-1]

    @property
    def v_th(self) -> list[np.ndarray]:
        """Thresholds of every hidden layer, (2), shaped as its drift."""
        return [self.threshold(n) for n in range(1, len(self.bounds) - 1)]

    def threshold(self, n: int) -> np.ndarray:
        """Thresholds of hidden layer `n`, counted from 1."""
        layer = self.weighted[n - 1]
        before, width = np.diff(self.bounds[n - 1 : n + 2])
        tied = (layer.slopes() * width + layer.a * before) / self.tau_c
        return (layer.along(tied) if layer.drift.ndim == 3 else tied) - layer.drift

    def with_windows(self, widths) -> Network:
        """The same function with other windows, one width per hidden layer; shares parameters."""
        return replace(self, bounds=boundaries(widths, self.tau_c, self.dtype))

    def parameters(self) -> dict[str, np.ndarray]:
        """The arrays that training moves: `W0`, `D0`, `W1` ..; changing them changes the net."""
        found: dict[str, np.ndarray] = {}
        for k, layer in enumerate(self.weighted):
            found |= {f"W{k}": layer.weight, f"D{k}": layer.drift}
        return found

    def copy(self) -> Network:
        """With parameters of its own."""
        layers = [
            replace(x, weight=x.weight.copy(), drift=x.drift.copy())
            if isinstance(x, Weighted)
            else x
            for x in self.layers
        ]
        return replace(self, layers=layers)


def boundaries(widths, tau_c, dtype) -> np.ndarray:
    """Where windows begin and end, from their widths.

    In floats they end on a grid on which differences are exact: else a silent neuron might come
    to threshold a rounding before the end of its window. A width may grow by that rounding.
    """
    make = converter(dtype)
    for k, width in enumerate(widths):
        if not width > 0 or (isinstance(width, float) and width == math.inf):
            raise ValueError(f"width {k} of a window must be positive and finite; got {width}")
    ends = [tau_c * 0, tau_c]
    if make(0.0).dtype == object:
        for width in widths:
            ends.append(ends[-1] + width)
        return make(ends)
    eps = float(np.finfo(make(0.0).dtype).eps)
    whole = float(tau_c) + float(sum(map(float, widths)))
    grid = eps * 2.0 ** math.ceil(math.log2(whole) + 0.1)
    for width in widths:
        ends.append(math.ceil((float(ends[-1]) + float(width)) / grid) * grid)
    return make(ends)
