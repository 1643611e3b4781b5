r"""Closed forms of `reference.localzo_inverse` for surrogates that people use.

Each family is a surrogate :math:`g`, an exponent :math:`\alpha`, the constant :math:`c`, and the
law of :math:`|z|` by its density, its distribution function and an exact sampler. With
:math:`\zeta` Riemann's function and everything in units of :math:`\delta`:

* sigmoid :math:`k s(1-s)`: :math:`c = (k\delta)^2\, 7\zeta(3)/2\pi^2`;
* arctan :math:`\tfrac A2 / (1 + (bv)^2)`, :math:`b = \pi A/2`: :math:`c = (b\delta)^2`, and
  :math:`\sqrt3\, b\delta |z|` has Student's law with three degrees of freedom;
* erf :math:`\tfrac{A}{\sqrt\pi} e^{-A^2v^2}`: :math:`c = 2(A\delta)^2`, half-normal;
* with a cusp, so that the exponent must be below 1: fast sigmoid :math:`(1 + k|v|)^{-2}`, triangle
  :math:`h(1 - |v|/w)_+`, exponential :math:`\tfrac a2 e^{-a|v|}`, with 0 and -1 each;
* rectangle :math:`h\, 1\{|v| < w\}`: an atom at :math:`w/\delta`, whatever the exponent.

Derived from equation (2) of `reference.localzo_inverse`; Mukhoty et al. (2023) have the sigmoid and
the fast sigmoid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import integrate, special, stats


@dataclass(frozen=True)
class Family:
    """A surrogate and the law behind it, in closed form.

    Attributes
    ----------
    name : str
    alpha, delta, c : float
    derivative : callable
        g(v).
    density : callable or None
        Of `|z|`; None for an atom.
    cdf : callable or None
        Of `|z|`; None where there is no closed form.
    sample : callable or None
        `sample(rng, n)`: draws of `|z|`.
    end : float
        The largest `|z|`.
    """

    name: str
    alpha: float
    delta: float
    c: float
    derivative: Callable
    density: Callable | None
    cdf: Callable | None
    sample: Callable | None
    end: float = math.inf

    def mean_above(self, z: float) -> float:
        """Mean of (1) in `reference.localzo_inverse` at `v = delta z`, by quadrature."""
        height = self.c / (2.0 * self.delta)
        if self.density is None:
            return height * self.end**self.alpha * (z < self.end)
        density, power = self.density, self.alpha
        value, _ = integrate.quad(
            lambda y: y**power * density(y), z, self.end, epsabs=1e-13, epsrel=1e-12, limit=400
        )
        return float(height * value)


def families(delta: float = 0.5) -> list[Family]:
    """All families, at parameters in common use."""
    return [
        sigmoid(delta, 3.0),
        arctan(delta, 2.0),
        erf(delta, 2.0),
        *(family(delta, a) for family in (fast_sigmoid, triangle, exponential) for a in (0, -1)),
        *(rectangle(delta, a) for a in (1.0, 0.0, -1.0)),
    ]


def sigmoid(delta: float, k: float) -> Family:
    """`k s (1 - s)` with s the logistic function of k v."""
    c = (k * delta) ** 2 * 7.0 * special.zeta(3.0) / (2.0 * math.pi**2)

    def g(v):
        e = np.exp(-k * np.abs(v))
        return k * e / (1.0 + e) ** 2

    def density(z):
        s = special.expit(k * delta * z)
        slope = k * delta * s * special.expit(-k * delta * z) * np.tanh(0.5 * k * delta * z)
        return 2.0 * delta * k / c * slope / z

    return Family("sigmoid", 1.0, delta, c, g, density, None, None)


def arctan(delta: float, a: float) -> Family:
    """`a/2 / (1 + (pi a v / 2)**2)`: Student's t with three degrees of freedom."""
    b = 0.5 * math.pi * a
    scale = 1.0 / (math.sqrt(3.0) * b * delta)
    law = stats.t(3)
    return Family(
        "arctan", 1.0, delta, (b * delta) ** 2,
        lambda v: 0.5 * a / (1.0 + (b * v) ** 2),
        lambda z: 2.0 * law.pdf(z / scale) / scale,
        lambda z: 2.0 * law.cdf(z / scale) - 1.0,
        lambda rng, n: scale * np.abs(rng.standard_t(3, n)),
    )  # fmt: skip


def erf(delta: float, a: float) -> Family:
    """`a / sqrt(pi) exp(-(a v)**2)`: normal."""
    sd = 1.0 / (math.sqrt(2.0) * a * delta)
    law = stats.halfnorm(scale=sd)
    return Family(
        "erf", 1.0, delta, 2.0 * (a * delta) ** 2,
        lambda v: a / math.sqrt(math.pi) * np.exp(-((a * v) ** 2)),
        law.pdf, law.cdf, lambda rng, n: sd * np.abs(rng.standard_normal(n)),
    )  # fmt: skip


def fast_sigmoid(delta: float, alpha: float, k: float = 10.0) -> Family:
    """`1 / (1 + k |v|)**2`, with alpha 0 or -1."""
    b = k * delta
    g = lambda v: 1.0 / (1.0 + k * np.abs(v)) ** 2  # noqa: E731
    if alpha == 0:
        return Family(
            "fast sigmoid", 0.0, delta, 2.0 * delta, g,
            lambda z: 2.0 * b / (1.0 + b * z) ** 3,
            lambda z: 1.0 - 1.0 / (1.0 + b * z) ** 2,
            lambda rng, n: ((1.0 - rng.random(n)) ** -0.5 - 1.0) / b,
        )  # fmt: skip

    def sample(rng, n):
        q = np.sqrt(rng.random(n))
        return q / (1.0 - q) / b

    return Family(
        "fast sigmoid", -1.0, delta, 2.0 / k, g,
        lambda z: 2.0 * b * b * z / (1.0 + b * z) ** 3,
        lambda z: (b * z / (1.0 + b * z)) ** 2,
        sample,
    )  # fmt: skip


def triangle(delta: float, alpha: float, h: float = 1.3, w: float = 0.7) -> Family:
    """`h max(0, 1 - |v|/w)`, with alpha 0 or -1: uniform, or linear up to w/delta."""
    end = w / delta
    g = lambda v: h * np.maximum(0.0, 1.0 - np.abs(v) / w)  # noqa: E731
    if alpha == 0:
        law = stats.uniform(0.0, end)
        sample = lambda rng, n: end * rng.random(n)  # noqa: E731
        return Family("triangle", 0.0, delta, 2 * delta * h, g, law.pdf, law.cdf, sample, end)
    return Family(
        "triangle", -1.0, delta, h * w, g,
        lambda z: np.where(z < end, 2.0 * z / end**2, 0.0),
        lambda z: np.minimum(1.0, (z / end) ** 2),
        lambda rng, n: end * np.sqrt(rng.random(n)), end,
    )  # fmt: skip


def exponential(delta: float, alpha: float, a: float = 3.0) -> Family:
    """`a/2 exp(-a |v|)`, with alpha 0 or -1: exponential, or Gamma of shape 2."""
    rate, shape = a * delta, 1.0 - alpha
    law = stats.gamma(shape, scale=1.0 / rate)
    return Family(
        "exponential", float(alpha), delta, delta * a if alpha == 0 else 1.0,
        lambda v: 0.5 * a * np.exp(-a * np.abs(v)),
        law.pdf, law.cdf, lambda rng, n: rng.gamma(shape, 1.0 / rate, n),
    )  # fmt: skip


def rectangle(delta: float, alpha: float, h: float = 2.0, w: float = 0.7) -> Family:
    """`h` where `|v| < w`: the draws have one size, and nothing is left to chance."""
    at = w / delta
    return Family(
        "rectangle", alpha, delta, 2.0 * delta * h * at**-alpha,
        lambda v: np.where(np.abs(v) < w, h, 0.0),
        None, None, lambda rng, n: np.full(n, at), at,
    )  # fmt: skip
