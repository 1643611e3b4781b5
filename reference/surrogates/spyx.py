"""Surrogates of Spyx 1.0.0; names, arguments and defaults are its own."""

import math

from reference.surrogates import shapes
from reference.surrogates.shapes import Shape


def superspike(k: float = 25) -> Shape:
    """1 / (1 + k |v|)^2."""
    return shapes.fast(1.0, k)


def arctan(k: float = 2) -> Shape:
    """1 / (pi (1 + (pi k v)^2))."""
    return shapes.arctan(1.0 / math.pi, math.pi * k)


def tanh(k: float = 1) -> Shape:
    """1 - tanh(k v)^2."""
    return shapes.logistic(1.0, 2.0 * k)


def boxcar(width: float = 2, height: float = 0.5) -> Shape:
    """height for |v| < width / 2.

    Documented as height at the edges too, where it is 0.
    """
    return shapes.box(height, 0.5 * width)


def triangular(k: float = 2) -> Shape:
    """max(0, 1 - k |v|)."""
    return shapes.triangle(1.0, 1.0 / k)
