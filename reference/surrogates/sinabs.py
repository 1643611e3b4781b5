"""Surrogates of sinabs 2.0.3; names, arguments and defaults are its own."""

import math

import numpy as np

from reference.surrogates import shapes
from reference.surrogates.shapes import Shape


def SingleExponential(
    grad_width: float = 0.5, grad_scale: float = 1.0, spike_threshold: float = 1.0
) -> Shape:
    """(grad_scale / w) exp(-|v| / w), w = grad_width spike_threshold."""
    width = grad_width * spike_threshold
    return shapes.laplace(grad_scale / width, 1.0 / width)


def Heaviside(window: float = 1.0, spike_threshold: float = 1.0) -> Shape:
    """1 / spike_threshold for v >= -window.

    Window is documented as relative to the threshold and subtracted as it is; what comes back is
    float32.
    """
    return shapes.constant(0.0, 1.0 / spike_threshold, start=-window)


def _normal(v, mean: float, sigma: float, amount: float):
    return shapes.gauss(
        amount / (sigma * math.sqrt(2.0 * math.pi)), 1.0 / (sigma * math.sqrt(2.0))
    ).derivative(v - mean)


def Gaussian(mu: float = 0.0, sigma: float = 0.5, grad_scale: float = 1.0) -> Shape:
    """grad_scale N(v; mu, sigma).

    Pi is a float32 number, 3e-8 off.
    """

    def derivative(v):
        return _normal(v, mu, sigma, grad_scale)

    return Shape(derivative, float(derivative(np.float64(0.0))), grad_scale, sigma)


def MultiGaussian(
    mu: float = 0.0, sigma: float = 0.5, h: float = 0.15, s: float = 6, grad_scale: float = 1.0
) -> Shape:
    """grad_scale ((1 + h) N(v; mu, sigma) - h N(v; sigma, s sigma) - h N(v; -sigma, s sigma)).

    Mu moves the positive part only; pi is a float32 number, 3e-8 off.
    """

    def derivative(v):
        wide = _normal(v, sigma, s * sigma, h) + _normal(v, -sigma, s * sigma, h)
        return grad_scale * (_normal(v, mu, sigma, 1.0 + h) - wide)

    return Shape(derivative, float(derivative(np.float64(0.0))), grad_scale * (1.0 - h), sigma)


def PeriodicExponential(
    grad_width: float = 0.5, grad_scale: float = 1.0, spike_threshold: float = 1.0
) -> Shape:
    """grad_scale exp(-|d| / grad_width), d the distance to the threshold below it, and twice
    the distance to the nearest of its multiples above.

    The flanks above the threshold are twice as steep as the one below. The width is an absolute
    voltage here, and relative to the threshold in SingleExponential.
    """
    inner = shapes.laplace(grad_scale, 1.0 / grad_width)

    def derivative(v):
        x = v / spike_threshold + 0.5
        nearest = spike_threshold * (2.0 * (x - np.floor(x)) - 1.0)
        return inner.derivative(np.where(v < 0, v, nearest).astype(np.asarray(v).dtype))

    return Shape(derivative, grad_scale, math.inf, grad_width)
