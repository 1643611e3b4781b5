r"""The shapes that surrogate derivatives have, each with its area, its scale and its primitive.

Every shape is a height times a function of :math:`v / \mathrm{scale}`, where v is the distance
of the membrane from its threshold. With k = 1/scale and h the height at threshold,

.. math::
    \text{fast:}\ \frac{h}{(1 + k|v|)^2} \quad
    \text{arctan:}\ \frac{h}{1 + (kv)^2} \quad
    \text{logistic:}\ 4 h\, \sigma(kv)\, \sigma(-kv) \quad
    \text{laplace:}\ h e^{-k|v|} \quad
    \text{gauss:}\ h e^{-(kv)^2} \quad
    \text{box:}\ h\, 1_{k|v| < 1} \quad
    \text{triangle:}\ h \max(0, 1 - k|v|) \quad
    \text{circle:}\ \frac{h}{(1 + (kv)^2)^{3/2}} .

The primitive is one half plus the integral from 0 to v: a smooth step that has the surrogate as
its exact derivative, where the area is 1 one that goes from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

Function = Callable[[np.ndarray], np.ndarray]
EVERYWHERE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Shape:
    """A derivative in place of that of the step.

    Attributes
    ----------
    derivative : callable
        g(v), in the dtype of v.
    height : float
        g(0), at threshold.
    area : float
        Integral over all v; inf where it diverges, nan where it has no value.
    scale : float
        By which v is divided; inf for a constant.
    support : (float, float)
        Smallest interval outside which g is zero.
    primitive : callable or None
        One half plus the integral from 0 to v.
    """

    derivative: Function
    height: float
    area: float
    scale: float
    support: tuple[float, float] = EVERYWHERE
    primitive: Function | None = None


def fast(h: float, k: float) -> Shape:
    """h / (1 + k|v|)²."""
    return Shape(
        lambda v: h / (1.0 + k * np.abs(v)) ** 2,
        h,
        2.0 * h / k,
        1.0 / k,
        primitive=lambda v: 0.5 + h * v / (1.0 + k * np.abs(v)),
    )


def arctan(h: float, k: float) -> Shape:
    """h / (1 + (k v)²)."""
    return Shape(
        lambda v: h / (1.0 + (k * v) ** 2),
        h,
        math.pi * h / k,
        1.0 / k,
        primitive=lambda v: 0.5 + h / k * np.arctan(k * v),
    )


def sigmoid(x) -> np.ndarray:
    """1 / (1 + e^-x), by the exponential that cannot overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def logistic(h: float, k: float) -> Shape:
    """4 h s(k v) s(-k v) with the logistic function s; 1 - tanh² of k v / 2, times h."""
    return Shape(
        lambda v: 4.0 * h * sigmoid(k * v) * sigmoid(-k * v),
        h,
        4.0 * h / k,
        1.0 / k,
        primitive=lambda v: 0.5 + 4.0 * h / k * (sigmoid(k * v) - 0.5),
    )


def laplace(h: float, k: float) -> Shape:
    """h exp(-k|v|)."""
    return Shape(
        lambda v: h * np.exp(-k * np.abs(v)),
        h,
        2.0 * h / k,
        1.0 / k,
        primitive=lambda v: 0.5 - h / k * np.sign(v) * np.expm1(-k * np.abs(v)),
    )


def gauss(h: float, k: float) -> Shape:
    """h exp(-(k v)²)."""
    area = h * math.sqrt(math.pi) / k
    return Shape(
        lambda v: h * np.exp(-((k * v) ** 2)),
        h,
        area,
        1.0 / k,
        primitive=lambda v: 0.5 + 0.5 * area * special.erf(k * v),
    )


def box(h: float, half: float) -> Shape:
    """h where |v| < half."""
    return Shape(
        lambda v: np.where(np.abs(v) < half, h, 0.0).astype(np.asarray(v).dtype),
        h,
        2.0 * h * half,
        half,
        (-half, half),
        lambda v: 0.5 + h * np.clip(v, -half, half),
    )


def triangle(h: float, half: float) -> Shape:
    """h max(0, 1 - |v| / half)."""

    def primitive(v):
        x = np.clip(v, -half, half)
        return 0.5 + h * (x - 0.5 * x * np.abs(x) / half)

    return Shape(
        lambda v: h * np.maximum(0.0, 1.0 - np.abs(v) / half),
        h,
        h * half,
        half,
        (-half, half),
        primitive,
    )


def circle(h: float, k: float) -> Shape:
    """h / (1 + (k v)²)^(3/2)."""
    return Shape(
        lambda v: h * (1.0 + (k * v) ** 2) ** -1.5,
        h,
        2.0 * h / k,
        1.0 / k,
        primitive=lambda v: 0.5 + h * v / np.sqrt(1.0 + (k * v) ** 2),
    )


def power(q: float) -> Shape:
    """(1 + 2|v| / (q - 1))^-q, for q > 1; of area 1 whatever q."""
    k = 2.0 / (q - 1.0)
    return Shape(
        lambda v: (1.0 + k * np.abs(v)) ** -q,
        1.0,
        1.0,
        1.0 / k,
        primitive=lambda v: 0.5 + 0.5 * np.sign(v) * (1.0 - (1.0 + k * np.abs(v)) ** (1.0 - q)),
    )


def constant(below: float, above: float, *, at: float | None = None, start: float = 0.0) -> Shape:
    """`below` up to `start`, `above` beyond, and `at` there."""
    middle = above if at is None else at
    height = below if start > 0 else middle if start == 0 else above

    def derivative(v):
        value = np.where(v < start, below, np.where(v > start, above, middle))
        return value.astype(np.asarray(v).dtype)

    if below == above == 0:
        return Shape(derivative, 0.0, 0.0, math.inf, (0.0, 0.0), lambda v: 0.5 + 0.0 * v)
    # Opposite signs: what the integral is depends on how its limits grow.
    area = math.nan if below * above < 0 else math.copysign(math.inf, below + above)
    support = (start if below == 0 else -math.inf, start if above == 0 else math.inf)

    def integral(v):
        return above * np.maximum(v - start, 0.0) + below * np.minimum(v - start, 0.0)

    return Shape(
        derivative, height, area, math.inf, support, lambda v: 0.5 + integral(v) - integral(0.0)
    )
