"""Surrogates of SpikingJelly 2.0.0; names, arguments and defaults are its own."""

import math

import numpy as np

from reference.surrogates import shapes
from reference.surrogates.shapes import Shape


def Sigmoid(alpha: float = 4.0) -> Shape:
    """alpha s(alpha v) s(-alpha v)."""
    return shapes.logistic(alpha / 4, alpha)


def ATan(alpha: float = 2.0) -> Shape:
    """(alpha/2) / (1 + (pi alpha v / 2)^2)."""
    return shapes.arctan(alpha / 2, math.pi * alpha / 2)


def SoftSign(alpha: float = 2.0) -> Shape:
    """(alpha/2) / (1 + alpha |v|)^2."""
    return shapes.fast(alpha / 2, alpha)


def SuperSpike(alpha: float = 1.0) -> Shape:
    """alpha / (1 + |v|)^2."""
    return shapes.fast(alpha, 1.0)


def PiecewiseQuadratic(alpha: float = 1.0) -> Shape:
    """max(0, alpha - alpha^2 |v|)."""
    return shapes.triangle(alpha, 1.0 / alpha)


def PiecewiseExp(alpha: float = 1.0) -> Shape:
    """(alpha/2) exp(-alpha |v|)."""
    return shapes.laplace(alpha / 2, alpha)


def Erf(alpha: float = 2.0) -> Shape:
    """(alpha / sqrt(pi)) exp(-(alpha v)^2)."""
    return shapes.gauss(alpha / math.sqrt(math.pi), alpha)


def Rect(alpha: float = 1.0) -> Shape:
    """alpha for |v| < 1 / (2 alpha)."""
    return shapes.box(alpha, 0.5 / alpha)


def PiecewiseLeakyReLU(w: float = 1.0, c: float = 0.01) -> Shape:
    """1 / (2 w) for |v| < w, else c.

    Documented as 1 / (2 w) at |v| = w, where it is c.
    """

    def derivative(v):
        return np.where(np.abs(v) < w, 0.5 / w, c).astype(np.asarray(v).dtype)

    def primitive(v):
        outside = np.sign(v) * np.maximum(np.abs(v) - w, 0.0)
        return 0.5 + 0.5 / w * np.clip(v, -w, w) + c * outside

    support = (-w, w) if c == 0 else shapes.EVERYWHERE
    return Shape(derivative, 0.5 / w, 1.0 if c == 0 else math.inf, w, support, primitive)


def NonzeroSignLogAbs(alpha: float = 1.0) -> Shape:
    """1 / (1 / alpha + |v|)."""
    return Shape(
        lambda v: 1.0 / (1.0 / alpha + np.abs(v)),
        alpha,
        math.inf,
        1.0 / alpha,
        primitive=lambda v: 0.5 + np.sign(v) * np.log1p(alpha * np.abs(v)),
    )


def QPseudoSpike(alpha: float = 2.0) -> Shape:
    """(1 + 2 |v| / (alpha - 1))^-alpha."""
    return shapes.power(alpha)


def S2NN(alpha: float = 4.0, beta: float = 1.0) -> Shape:
    """alpha s(alpha v) s(-alpha v) for v < 0, else beta / (v + 1).

    Its primitive is documented with + 1 above threshold and computed with + 1/2.
    """
    inner = shapes.logistic(alpha / 4, alpha)

    def derivative(v):
        above = beta / (np.maximum(v, 0.0) + 1.0)
        return np.where(v < 0, inner.derivative(v), above).astype(np.asarray(v).dtype)

    def primitive(v):
        above = 0.5 + beta * np.log1p(np.maximum(v, 0.0))
        return np.where(v < 0, shapes.sigmoid(alpha * v), above)

    area = 0.5 if beta == 0 else math.inf
    return Shape(derivative, beta, area, inner.scale, primitive=primitive)


def LeakyKReLU(leak: float = 0.0, k: float = 1.0) -> Shape:
    """k for v >= 0, else leak."""
    return shapes.constant(leak, k)


def SquarewaveFourierSeries(n: int = 2, T_period: float = 8) -> Shape:
    """(4 / T_period) sum over i = 1 .. n - 1 of cos((2 i - 1) 2 pi v / T_period)."""
    odd = [(2 * i - 1) * 2.0 * math.pi / T_period for i in range(1, int(n))]
    height = 4.0 / T_period * len(odd)

    def derivative(v):
        return sum((np.cos(w * v) for w in odd), 0.0 * v) * (4.0 / T_period)

    def primitive(v):
        return 0.5 + sum((np.sin(w * v) / w for w in odd), 0.0 * v) * (4.0 / T_period)

    return Shape(derivative, height, math.nan, T_period, primitive=primitive)


def FakeNumericalGradient(alpha: float = 0.3) -> Shape:
    """min(1 / |v|, alpha).

    -inf at v = -0.0, where the sign is taken as positive and the quotient is not.
    """
    edge = 1.0 / alpha

    def derivative(v):
        return 1.0 / np.maximum(np.abs(v), edge)

    def primitive(v):
        x = np.abs(v)
        tail = np.log(np.maximum(x, edge) / edge)
        return 0.5 + np.sign(v) * (alpha * np.minimum(x, edge) + tail)

    return Shape(derivative, alpha, math.inf, edge, primitive=primitive)


def LogTailedReLU(alpha: float = 0.0) -> Shape:
    """alpha for v <= 0, 1 for 0 < v <= 1, 1 / v beyond."""

    def derivative(v):
        return np.where(v <= 0, alpha, 1.0 / np.maximum(v, 1.0)).astype(np.asarray(v).dtype)

    def primitive(v):
        above = np.clip(v, 0.0, 1.0) + np.log(np.maximum(v, 1.0))
        return 0.5 + np.where(v <= 0, alpha * v, above)

    low = 0.0 if alpha == 0 else -math.inf
    return Shape(derivative, alpha, math.inf, 1.0, (low, math.inf), primitive)


def DeterministicPass() -> Shape:
    """1."""
    return shapes.constant(1.0, 1.0)


def PoissonPass() -> Shape:
    """1; forward a Bernoulli draw with probability v."""
    return shapes.constant(1.0, 1.0)


def MultiLevelSpikeCount(
    max_spike_count: int = 1, grad_min: float = 0.0, grad_max: float | None = None
) -> Shape:
    """1 for grad_min <= v <= grad_max, max_spike_count if not given; forward a count, v rounded."""
    low, high = grad_min, float(max_spike_count) if grad_max is None else grad_max

    def derivative(v):
        return np.asarray((v >= low) & (v <= high), np.asarray(v).dtype)

    def primitive(v):
        return 0.5 + np.clip(v, low, high) - np.clip(0.0, low, high)

    return Shape(
        derivative, float(low <= 0 <= high), high - low, high - low, (low, high), primitive
    )
