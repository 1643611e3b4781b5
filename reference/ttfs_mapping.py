r"""From ReLU networks to networks of single spikes and back, and when that is exact.

The alpha model takes a row of weights iff its sum is below 1:

.. math::
    W_{ij} = \frac{\alpha_i w_{ij}}{1 - \sum_k w_{ik}}, \qquad
    B_i = \frac{\alpha_i}{1 - \sum_k w_{ik}}.                                        \tag{1}

Rows whose sum leaves [-10, 0.99] are scaled into it, and the columns after them back, which a
ReLU network does not notice (Stanojevic et al. 2023, section on rescaling, and their program).
The inputs :math:`x_j \le X_j` never bring a neuron to threshold before its window opens if

.. math::
    \frac{\Delta^{(n)}}{\tau_c} > \max_i \frac1{B_i} \Bigl(D_i + [-A_i]_+
        \frac{\Delta^{(n-1)}}{\tau_c} + \sum_j [W_{ij}]_+ X_j\Bigr):                   \tag{2}

while it integrates, V is at most :math:`[A]_+ \Delta^{(n-1)}/\tau_c` plus the sum in (2), and
that is below the threshold, `reference.ttfs` (2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.ttfs_fusion import Fused, fuse, plain
from reference.ttfs_network import MODELS, Network, Pool, Weighted, boundaries, converter
from reference.ttfs_run import Step, forward, trace

#: Sums of rows that the alpha model is given.
LEAST, MOST = -10.0, 0.99


def from_relu(
    weights,
    biases,
    x_max,
    model: str = "b1",
    zeta: float = 0.5,
    alpha=1.0,
    A=None,
    B=None,
    tau_c: float = 1.0,
    *,
    layers=None,
    input_shape: tuple[int, ...] | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    dtype: Any = float,
) -> Network:
    """The network of single spikes that computes what a ReLU network does.

    Parameters
    ----------
    weights, biases : lists of array_like
        Of all layers with weights, (n_out, n_in) or (O, C, kh, kw); the last is the readout.
    x_max : sequence of float
        The largest activation of every hidden layer over the data, non-negative.
    model : {"b1", "alpha", "general"}
    zeta : float
        Windows are `(1 + zeta) * x_max * tau_c` wide, or `tau_c` where `x_max` is 0.
    alpha : float or sequence
        Of the alpha model, positive: for all neurons, or one value or array per hidden layer.
    A, B : sequences, optional
        Of the general model: one value or array (n_out,) per hidden layer.
    tau_c : float
        Time that stands for an activation of 1.
    layers : list, optional
        `Dense`, `Conv2d`, `ReLU`, `MaxPool`, `AvgPool`, `BatchNorm` of this module; default:
        dense layers with ReLUs between them.
    input_shape : tuple of int, optional
        (C, H, W); default: the `n_in` of the first weight.
    input_range : (float, float)
        What the input may be.
    dtype : type
        A NumPy float, or an exact number such as `fractions.Fraction` or `flint.fmpq`.

    Returns
    -------
    Network

    Raises
    ------
    ValueError, TypeError
        If shapes, windows or numbers do not fit, or a slope B is not positive (C1): naming
        argument, index and value. C2 to C4 depend on the input: `conditions`.
    """
    make, weights, biases = _checked(weights, biases, model, zeta, tau_c, input_range, dtype)
    shape = tuple(input_shape or (np.shape(weights[0])[1],))
    wide = tuple(make(v)[()] for v in input_range)
    chain = fuse(layers or plain(len(weights)), weights, biases, shape, wide)
    count = len(chain) - 1
    bounds = [float(v) for v in x_max]
    if len(bounds) != count:
        raise ValueError(f"x_max must have one value per hidden layer, {count}; got {len(bounds)}")
    for k, bound in enumerate(bounds):
        if not 0 <= bound < math.inf:
            raise ValueError(f"x_max[{k}] must be non-negative and finite; got {bound}")
    tau, margin = make(tau_c)[()], make(zeta)[()] + 1
    widths = [(margin * make(x)[()] if x else 1) * tau for x in bounds]
    scales = _rescaled(chain) if model == "alpha" else [None] * len(chain)
    made: list[Any] = []
    for k, (part, scale) in enumerate(zip(chain, scales, strict=True)):
        slopes = _slopes(part, k, model, alpha, A, B, make) if k < count else (None, None)
        made += [Pool(*pool) for pool in part.pools]
        made.append(_layer(part, slopes, model, scale, make))
    return Network(made, boundaries(widths, tau, dtype), tau, wide, dtype)


def _checked(weights, biases, model, zeta, tau_c, input_range, dtype):
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
    if len(weights) != len(biases) or not weights:
        raise ValueError(f"weights and biases differ in number: {len(weights)}, {len(biases)}")
    if not (tau_c > 0 and zeta > -1):
        raise ValueError(f"tau_c must be positive and zeta above -1; got {tau_c} and {zeta}")
    if not input_range[0] < input_range[1]:
        raise ValueError(f"input_range must ascend; got {input_range}")
    make = converter(dtype)
    given = {"weights": weights, "biases": biases}
    for name, values in given.items():
        for k, value in enumerate(values):
            if value is not None and not np.isfinite(np.asarray(value, float)).all():
                raise ValueError(f"{name}[{k}] must be finite")
    weights = [make(w) for w in weights]
    zero = [make(np.zeros(len(w))) for w in weights]
    biases = [z if b is None else make(b) for b, z in zip(biases, zero, strict=True)]
    return make, weights, biases


def _rescaled(chain: list[Fused]) -> list[Any]:
    """Bring the sums of rows into [LEAST, MOST], in place; the factors, one array per layer."""
    scales: list[Any] = []
    for k, part in enumerate(chain[:-1]):
        n = len(part.weight)
        total = part.weight.reshape(n, -1).sum(axis=1)
        kind = part.weight.dtype.type if part.weight.dtype != object else type(part.weight.flat[0])
        low, high = (_of(kind, v) for v in (LEAST, MOST))
        scale = np.array([high / s if s > high else low / s if s < low else s * 0 + 1
                          for s in total])  # fmt: skip
        wide = scale.reshape(-1, *[1] * (part.weight.ndim - 1))
        part.weight = part.weight * wide
        part.bias = part.bias * scale.reshape(-1, *[1] * (part.bias.ndim - 1))
        after = chain[k + 1]
        # Behind a flattened image every channel has as many inputs as pixels.
        ratio = after.weight.shape[1] // n
        back = (1 / scale).repeat(ratio)
        after.weight = after.weight * back.reshape(1, -1, *[1] * (after.weight.ndim - 2))
        scales.append(scale)
    return [*scales, None]


def _of(kind, value: float):
    return converter(kind)(value)[()]


def _slopes(part: Fused, k: int, model: str, alpha, A, B, make):
    """(a, b) of hidden layer `k`; b is None in the alpha model."""
    n = len(part.weight)

    def each(values, name):
        value = make(values[k] if isinstance(values, list | tuple | np.ndarray) else values)
        if value.shape not in ((), (n,)):
            raise ValueError(
                f"{name}[{k}] must be a number or have shape ({n},); got {value.shape}"
            )
        return np.broadcast_to(value, (n,)) + value.flat[0] * 0

    if model == "b1":
        return make(np.zeros(n)), make(np.ones(n))
    if model == "alpha":
        a = each(alpha, "alpha")
        _positive(a, "alpha", k)
        return a, None
    if A is None or B is None:
        raise ValueError("model='general' needs A and B, one value or array per hidden layer")
    a, b = each(A, "A"), each(B, "B")
    _positive(b, "B", k)
    return a, b


def _positive(values, name: str, k: int) -> None:
    bad = ~(values > 0)
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(f"{name}[{k}][{i}] must be positive; got {values[i]}")


def _layer(part: Fused, slopes, model: str, scale, make) -> Weighted:
    a, b = slopes
    weight, bias = part.weight, part.bias
    if a is not None:
        n = len(weight)
        slope = b if b is not None else a / (1 - weight.reshape(n, -1).sum(axis=1))
        weight = weight * slope.reshape(-1, *[1] * (weight.ndim - 1))
        bias = bias * slope.reshape(-1, *[1] * (bias.ndim - 1))
    return Weighted(
        make(weight), make(bias), a, b, part.in_shape, model if a is not None else "readout",
        part.stride, part.padding, scale,
    )  # fmt: skip


def to_relu(net: Network):
    """Weights and biases of the ReLU network that a network of single spikes computes.

    Parameters
    ----------
    net : Network

    Returns
    -------
    weights, biases : lists of ndarray
        `w = W/B` and `b = D/B`, in the scale of the network that `from_relu` was given; batch
        norms, averages and the range of the input stay fused.

    Raises
    ------
    ValueError
        If a slope B is not positive (C1).
    """
    weights, biases, before = [], [], None
    for k, layer in enumerate(net.weighted):
        weight, bias, n = layer.weight, layer.drift, len(layer.weight)
        if before is not None:
            ratio = weight.shape[1] // len(before)
            weight = weight * before.repeat(ratio).reshape(1, -1, *[1] * (weight.ndim - 2))
        before = None
        if not layer.readout:
            slope = layer.slopes()
            _positive(slope, "B", k)
            slope = slope if layer.scale is None else slope * layer.scale
            weight = weight / slope.reshape(n, *[1] * (weight.ndim - 1))
            bias = bias / slope.reshape(n, *[1] * (bias.ndim - 1))
            before = layer.scale
        weights.append(np.ascontiguousarray(weight))
        biases.append(bias.copy())
    return weights, biases


@dataclass(frozen=True)
class Conditions:
    """Under which a network is a ReLU network; each lists (layer, neuron) that break one.

    Attributes
    ----------
    slope : list
        C1, B > 0.
    window : list
        C2, of some sample: the activation exceeds the window.
    early : list
        C3, of some sample: the threshold is reached before the window opens.
    threshold : list
        C4, the threshold is positive.
    """

    slope: list[tuple[int, int]]
    window: list[tuple[int, int]]
    early: list[tuple[int, int]]
    threshold: list[tuple[int, int]]

    @property
    def ok(self) -> bool:
        """Whether all hold."""
        return not (self.slope or self.window or self.early or self.threshold)


def conditions(net: Network, x) -> Conditions:
    """Check C1 to C4 of `reference.ttfs` for a batch; C2 and C3 only where C1 holds everywhere."""

    def found(masks):
        return [(n, int(i)) for n, mask in enumerate(masks) for i in np.flatnonzero(mask)]

    slope = found([~(layer.slopes() > 0) for layer in net.hidden])
    threshold = found([~(v_th.ravel() > 0) for v_th in net.v_th])
    if slope:
        return Conditions(slope, [], [], threshold)
    closed, event = forward(net, x, "closed"), forward(net, x, "event")
    return Conditions(
        slope,
        found([m.any(axis=0) for m in closed.premature]),
        found([m.any(axis=0) for m in event.premature]),
        threshold,
    )


def safe_widths(net: Network, margin: float = 1e-9) -> np.ndarray:
    """Widths by (2), wider by the share `margin`: C2 to C4 for every input within its range."""
    bound, widths, before = 1.0, [], float(net.tau_c)
    image: Any = None
    for layer in net.hidden:
        top = Weighted(np.maximum(layer.weight, 0), layer.drift, layer.a, layer.b, layer.in_shape,
                       stride=layer.stride, padding=layer.padding)  # fmt: skip
        shape = (1, *layer.in_shape)
        x = np.full(shape, bound) if image is None or image.shape != shape else image
        drive = top.drive(x)[0][0] + layer.along(layer.drift)
        slope = layer.along(layer.slopes())
        fall = layer.along(np.maximum(-layer.a, 0) * before / net.tau_c)
        need = float(np.max((drive + fall) / slope))
        width = max(need, 0.0) * (1 + margin) * float(net.tau_c) or float(net.tau_c)
        image = np.maximum(drive / slope, 0)[None]
        bound, before = float(image.max()), width
        widths.append(width)
    return np.array(widths)


def adapted(net: Network, x, gamma: float = 10.0) -> Network:
    """With windows at least `gamma` times as wide as what the batch `x` uses; they only grow.

    A layer without a spike leaves its window as it is (Stanojevic et al. 2024, training).
    """
    if not gamma >= 1:
        raise ValueError(f"gamma must be 1 or more; got {gamma}")
    return grown(net, trace(net, x, "closed"), gamma)


def grown(net: Network, steps: Iterable[Step], gamma: float) -> Network:
    """With windows at least `gamma` times as wide as what `steps`, a run, have used."""
    used = [float(np.max(s.window.t_max - s.times)) for s in steps if s.window is not None]
    wanted = np.maximum(net.widths, gamma * np.array(used))
    return net.with_windows(wanted) if np.any(wanted > net.widths) else net
