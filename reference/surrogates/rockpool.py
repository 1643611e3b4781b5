"""Surrogates of Rockpool 3.1.0 on torch; arguments and defaults are its own."""

import math

import numpy as np

from reference.surrogates import shapes
from reference.surrogates.shapes import Shape


def StepPWL(window: float = 0.5, spike_threshold: float = 1.0) -> Shape:
    """1 / spike_threshold for v >= -window.

    Called piecewise linear; a step that never ends: however far above the threshold, the same.
    """
    return shapes.constant(0.0, 1.0 / spike_threshold, start=-window)


def PeriodicExponential(window: float = 0.5, spike_threshold: float = 1.0) -> Shape:
    """exp(-|d| / window) / spike_threshold, d the distance to the threshold below it, and to the
    nearest of its multiples above.

    The window is an absolute voltage.
    """
    inner = shapes.laplace(1.0 / spike_threshold, 1.0 / window)

    def derivative(v):
        nearest = v - spike_threshold * np.floor(v / spike_threshold + 0.5)
        return inner.derivative(np.where(v < 0, v, nearest).astype(np.asarray(v).dtype))

    return Shape(derivative, 1.0 / spike_threshold, math.inf, window)
