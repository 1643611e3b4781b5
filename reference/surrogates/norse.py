"""Surrogates of Norse 1.1.0; names, arguments and defaults are its own."""

import math

from reference.surrogates import shapes
from reference.surrogates.shapes import Shape


def super(alpha: float = 100.0) -> Shape:
    """1 / (1 + |v|)^2.

    Alpha is ignored; documented as SuperSpike with slope alpha, 1 / (1 + alpha |v|)^2.
    """
    return shapes.fast(1.0, 1.0)


def tanh(alpha: float = 100.0) -> Shape:
    """1 - tanh(alpha v)^2.

    Without the factor alpha / 2 of the documented primitive 1/2 + tanh(alpha v)/2.
    """
    return shapes.logistic(1.0, 2.0 * alpha)


def circ(alpha: float = 100.0) -> Shape:
    """1 / (1 + (v / alpha)^2)^(3/2).

    2 alpha times the derivative of the documented primitive.
    """
    return shapes.circle(1.0, 1.0 / alpha)


def heavi_erfc(alpha: float = 100.0) -> Shape:
    """(2 / sqrt(pi)) exp(-(alpha v)^2).

    The documented primitive 1/2 + erfc(alpha v)/2 falls; the factor alpha / 2 is missing as
    well, and pi is a float32 number, 3e-8 off.
    """
    return shapes.gauss(2.0 / math.sqrt(math.pi), alpha)


def triangle(alpha: float = 0.3) -> Shape:
    """alpha max(0, 1 - |v|).

    The default of 0.3 is that of the function; neurons pass their own alpha, 100.
    """
    return shapes.triangle(alpha, 1.0)


def logistic(alpha: float = 100.0) -> Shape:
    """1 - tanh(alpha v)^2; forward a Bernoulli draw.

    As norse.tanh.
    """
    return tanh(alpha)


def circ_dist(alpha: float = 100.0) -> Shape:
    """1 / (1 + (v / alpha)^2)^(3/2); forward a Bernoulli draw.

    As norse.circ.
    """
    return circ(alpha)


def heaviside() -> Shape:
    """0: no gradient."""
    return shapes.constant(0.0, 0.0)
