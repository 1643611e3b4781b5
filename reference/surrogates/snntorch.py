"""Surrogates of snnTorch 1.0.0; names, arguments and defaults are its own."""

import math

import numpy as np

from reference.surrogates import shapes
from reference.surrogates.shapes import Shape


def atan(alpha: float = 2.0) -> Shape:
    """(alpha/2) / (1 + (pi alpha v / 2)^2).

    Documented with 1/pi instead of alpha/2 in front: pi times less at alpha = 2.
    """
    return shapes.arctan(alpha / 2, math.pi * alpha / 2)


def fast_sigmoid(slope: float = 25) -> Shape:
    """1 / (1 + slope |v|)^2."""
    return shapes.fast(1.0, slope)


def sigmoid(slope: float = 25) -> Shape:
    """slope s(slope v) s(-slope v).

    Nan where slope exp(-slope v) overflows: below v = -3.42 in float32, -28.3 in float64, at the
    default.
    """
    return shapes.logistic(slope / 4, slope)


def straight_through() -> Shape:
    """1."""
    return shapes.constant(1.0, 1.0)


def heaviside() -> Shape:
    """1 for v > 0.

    Documented as 1 at threshold, where it is 0.
    """
    return shapes.constant(0.0, 1.0, at=0.0)


def triangular(threshold: float = 1) -> Shape:
    """threshold for v < 0, -threshold for v >= 0.

    Called triangular; a square wave that is negative above threshold and never decays.
    """
    return shapes.constant(threshold, -threshold)


def spike_rate_escape(beta: float = 1, slope: float = 25) -> Shape:
    """slope exp(-beta |v - 1|).

    Documented in the membrane U with its maximum at U = 1; computed in v, so that the maximum
    lies one unit above the threshold.
    """
    inner = shapes.laplace(slope, beta)

    def derivative(v):
        return inner.derivative(v - 1.0)

    return Shape(derivative, float(slope * math.exp(-beta)), inner.area, inner.scale)


def SFS(slope: float = 25, B: float = 1) -> Shape:
    """1 / (1 + slope |v|)^2 for v > B.

    B is compared with v, not with the membrane: at the default nothing passes up to one unit
    above the threshold.
    """
    inner = shapes.fast(1.0, slope)
    beyond = 0.5 * inner.area - B / (1.0 + slope * abs(B))

    def derivative(v):
        return np.where(v > B, inner.derivative(v), 0.0).astype(np.asarray(v).dtype)

    height = 1.0 if B < 0 else 0.0
    return Shape(derivative, height, float(beyond), inner.scale, (B, math.inf))


def SSO(mean: float = 0, variance: float = 0.2) -> Shape:
    """1 for v > 0, else (U + mean) variance with U uniform in [-1/2, 1/2); here its expectation.

    What is called variance is the width of the uniform distribution.
    """
    low = float(mean * variance)
    return shapes.constant(low, 1.0, at=low)


def LSO(slope: float = 0.1) -> Shape:
    """1 for v > 0, else slope.

    As documented; LSO() itself raises TypeError when called, since it applies SSO.
    """
    return shapes.constant(slope, 1.0, at=slope)
