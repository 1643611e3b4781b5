r"""From a surrogate derivative back to the law whose zeroth-order estimate has it as its mean.

Let :math:`g` be even, fall with :math:`|v|` and vanish at infinity. The estimator

.. math::
    G(v) = \frac{c\,|z|^\alpha}{2\delta}\, 1\{|v| < \delta |z|\}          \tag{1}

is unbiased for :math:`g` if :math:`|z|` has the distribution

.. math::
    F(z) = \frac{2\delta}{c} \int_0^z y^{-\alpha}\, d\bigl[-g(\delta y)\bigr], \qquad
    c = 2\delta \int_0^\infty y^{-\alpha}\, d\bigl[-g(\delta y)\bigr] ,   \tag{2}

because :math:`\mathrm{E}\,G(v) = \frac{c}{2\delta} \int_{|v|/\delta}^\infty z^\alpha\, dF(z)
= \int_{|v|/\delta}^\infty d[-g(\delta z)] = g(v)`. The constant is finite where :math:`\alpha` is
below the first power of :math:`y` in :math:`g(0) - g(\delta y)`: 2 where :math:`g` is smooth at
the threshold, 1 at a cusp, so the plain two-point estimator, :math:`\alpha = 1`, has no law there.
For negative :math:`\alpha` the tail must fall faster than :math:`y^{\alpha}`. With
:math:`\alpha = 0` every such :math:`g` has one: a gate of height :math:`g(0)`, open with
probability :math:`g(v)/g(0)`.

The integrals are of Stieltjes type and are taken by parts, so that `g` is needed but not its
derivative, and corners and jumps are allowed: with :math:`D(y) = g(0) - g(\delta y)`,

.. math::
    \int_0^z y^{-\alpha} dD = z^{-\alpha} D(z) + \alpha \int_0^z y^{-\alpha-1} D(y)\, dy .  \tag{3}

Source: Mukhoty et al. (2023) for the existence in both directions; (1) to (3) are derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Nodes and weights of Gauss and Lobatto, on [0, 1]: the ends are nodes, so that no jump hides
#: between an end and the first node.
NODES = 0.5 + 0.5 * np.array([-1.0, -math.sqrt(3.0 / 7.0), 0.0, math.sqrt(3.0 / 7.0), 1.0])
WEIGHTS = np.array([9.0, 49.0, 64.0, 49.0, 9.0]) / 180.0
#: Below the point where this fraction of the height is lost, a polynomial stands for `D`.
HEAD = 1e-5
#: Powers of that polynomial, and what of the loss one of them must make up to count.
POWERS, COUNTS = 6, 1e-3
#: Panels in the logarithm of y at first, and how often one may be halved.
PANELS, HALVINGS = 2**14, 60
#: Allowed error of a panel, relative to the whole integral.
PRECISION = 1e-13
EPS = float(np.finfo(float).eps)


class Inverse:
    """A law of z, and the estimator (1) that turns it into the surrogate it was made for.

    Attributes
    ----------
    delta, alpha, c : float
        Width, exponent and constant of (1).
    """

    def __init__(self, profile: Profile, alpha: float) -> None:
        self._profile, self.delta, self.alpha = profile, profile.delta, alpha
        self._y, self._mass = profile.integral(alpha)
        self._total = float(self._mass[-1])
        self.c = 2.0 * self.delta * self._total

    def sample(self, rng, n) -> np.ndarray:
        """Draws of z, of either sign.

        Parameters
        ----------
        rng : numpy.random.Generator
        n : int or tuple
            Shape of the answer.

        Notes
        -----
        By a table of (2), accurate to about 1e-6 of probability between its points, and exact
        at atoms.
        """
        u = rng.random(n)
        size = np.exp(np.interp(u, self._table[1], self._table[0]))
        return np.where(rng.random(n) < 0.5, -size, size)

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """log y and F(y), ascending; a jump of F is wider than it is by 1e-11 of y at most."""
        return np.log(self._y), self._mass / self._total

    def cdf(self, z) -> np.ndarray:
        """`P(|z| <= z)`, from the table that `sample` uses."""
        z = np.asarray(z, float)
        with np.errstate(divide="ignore"):
            place = np.log(np.maximum(z, 0.0))
        points, f = self._table
        return np.interp(place, points, f, left=0.0, right=1.0)

    def estimate(self, v, z) -> np.ndarray:
        """The estimate (1), broadcast."""
        v, size = np.asarray(v, float), np.abs(np.asarray(z, float))
        with np.errstate(divide="ignore"):
            height = self.c * size**self.alpha / (2.0 * self.delta)
        return np.where(np.abs(v) < self.delta * size, height, 0.0)

    def moment(self, power: float) -> float:
        """`E |z|**power`; infinite where the tail is too heavy."""
        try:
            return float(self._profile.integral(self.alpha - power)[1][-1]) / self._total
        except ValueError:
            return math.inf

    def mean_max(self, draws: int = 1) -> float:
        """`E max |z|` over so many draws; infinite where `|z|` has no mean."""
        if not math.isfinite(mean := self.moment(1.0)) or draws == 1:
            return mean
        y, f = self._y, self._mass / self._total
        missing = 1.0 - f**draws
        return float(y[0] + np.sum(np.diff(y) * 0.5 * (missing[1:] + missing[:-1])))


def inverse(surrogate, delta: float, alpha: float = 1.0) -> Inverse:
    """The law and the constant of (1) for a surrogate derivative.

    Parameters
    ----------
    surrogate : callable, or an object with a method `derivative`
        g(v): even, falling with `|v|`, zero at infinity; called with arrays.
    delta : float
        Width of the estimator. It fixes the unit of z only.
    alpha : float, optional
        Exponent; 1 is the two-point estimator times `c`.

    Returns
    -------
    Inverse
        With `.c`, `.sample(rng, n)`, `.cdf(z)`, `.estimate(v, z)`.

    Raises
    ------
    ValueError
        If `delta` is not positive; if `surrogate` is not even, grows with `|v|`, is negative,
        or does not vanish at infinity; if `alpha` is too large for its shape at the threshold
        (at a cusp: 1 or more), or too small for its tail.

    Notes
    -----
    `c` is accurate to about 1e-10 for a `g` accurate to rounding. Unboundedly high variance is
    not refused: with a cusp and `alpha = -1` the estimate has none at the threshold.

    Examples
    --------
    >>> inverse(lambda v: np.exp(-np.abs(v)), 0.5, alpha=0).c
    1.0
    """
    g = getattr(surrogate, "derivative", surrogate)
    if not callable(g):
        raise TypeError(f"surrogate must be callable or have a derivative; got {surrogate!r}")
    if not (delta > 0.0 and math.isfinite(delta)):
        raise ValueError(f"delta must be positive and finite; got {delta}")
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be finite; got {alpha}")
    return Inverse(Profile(g, float(delta)), float(alpha))


@dataclass(frozen=True)
class Profile:
    """`g(delta y)` over the logarithm of y, with its shape at both ends."""

    g: Callable
    delta: float

    def __post_init__(self) -> None:
        self._require_shape()

    def _require_shape(self) -> None:
        """Refuse what is not even, grows, is negative, or stays at infinity."""
        y = self.scale * np.logspace(-8.0, 8.0, 1601)
        here, there = self.right(y), np.asarray(self.g(-self.delta * y), float)
        room = 1e-12 * self.height
        for wrong, what in (
            (~(np.isfinite(here) & np.isfinite(there)), "must be finite"),
            (np.abs(here - there) > room, "must be even"),
            (np.diff(here, prepend=self.height) > room, "must not grow with |v|"),
            (here < -room, "must not be negative"),
        ):
            if wrong.any():
                k = int(np.argmax(wrong))
                v = self.delta * y[k]
                raise ValueError(f"surrogate {what}; at v = {v:.6g} it is {here[k]}, {there[k]}")
        if self.right(1e30 * self.scale) > 1e-9 * self.height:
            raise ValueError("surrogate must vanish far from the threshold")

    def right(self, y):
        """`g(delta y)`."""
        return np.asarray(self.g(np.asarray(self.delta * y, float)), float)

    @cached_property
    def height(self) -> float:
        """g(0)."""
        height = float(self.g(np.zeros(1))[0])
        if not (height > 0.0 and math.isfinite(height)):
            raise ValueError(f"surrogate must be positive at the threshold; got {height}")
        return height

    def loss(self, y):
        """`D(y) = g(0) - g(delta y)`."""
        return self.height - self.right(y)

    def _where_lost(self, fraction: float) -> float:
        """The largest y with no more lost than that, to neighbouring floats."""
        low, high = 1e-300, 1e300
        while (
            low < (middle := math.sqrt(low) * math.sqrt(high)) < high
            and high / low > 1.0 + 2.0 * EPS
        ):
            low, high = (
                (low, middle) if self.loss(middle) > fraction * self.height else (middle, high)
            )
        return low

    @cached_property
    def scale(self) -> float:
        """Where half of the height is lost."""
        return self._where_lost(0.5)

    @cached_property
    def head(self) -> tuple[float, np.ndarray]:
        """(end, coefficients of y/end, (y/end)^2, ...) of `D` near zero."""
        end = self._where_lost(HEAD)
        x = 0.5 - 0.5 * np.cos(np.pi * (np.arange(2 * POWERS) + 1.0) / (2 * POWERS))
        matrix = x[:, None] ** np.arange(1, POWERS + 1)
        found = np.linalg.lstsq(matrix, self.loss(end * x), rcond=None)[0]
        return end, found

    @cached_property
    def order(self) -> float:
        """The first power of y in `D`; infinite where `g` is flat."""
        _, found = self.head
        large = np.flatnonzero(np.abs(found) > COUNTS * HEAD * self.height)
        return float(large[0] + 1) if large.size else math.inf

    @cached_property
    def far(self) -> float:
        """A y beyond which nothing that counts is left: g there is zero, or 1e-34 of g(0)."""
        return min(self._where_lost_but(1e-34), 1e40 * self.scale)

    def _where_lost_but(self, fraction: float) -> float:
        """The smallest y known with no more left than that."""
        y = self.scale * np.logspace(0.0, 40.0, 4001)
        left = self.right(y) > fraction * self.height
        return float(y[min(int(np.argmin(left)), y.size - 1)] if not left.all() else y[-1])

    def integral(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Points y and the integral of (2) from 0 to each, without its factor."""
        return self._from_zero(alpha) if alpha >= 0.0 else self._from_far(-alpha)

    def _from_zero(self, alpha: float):
        if alpha >= self.order:
            what = "has a cusp" if self.order == 1.0 else f"falls with power {self.order:g}"
            raise ValueError(
                f"alpha must be below {self.order:g}: surrogate {what} at the threshold, "
                f"and the integral for alpha = {alpha:g} diverges; alpha = 0 always has a law"
            )
        end, found = self.head
        power = np.arange(1, POWERS + 1)
        kept = power >= self.order  # what rounding left of lower powers is none
        power, found = power[kept], found[kept] / (power[kept] - alpha)
        low = end * np.logspace(-10.0, 0.0, 4000)
        head = low**-alpha * ((low[:, None] / end) ** power @ (found * power))
        # A jump lies right beyond the end of the head.
        start = end * (1.0 + 4.0 * EPS)
        y, parts = _panels(lambda y: y**-alpha * self.loss(y), start, self.far)
        inner = found.sum() * end**-alpha + np.append(0.0, np.cumsum(parts))
        rest = y**-alpha * self.loss(y) + alpha * inner
        return np.append(low, y), np.maximum.accumulate(np.append(head, rest))

    def _from_far(self, power: float):
        """The same for alpha = -power < 0, summed from the tail: `a int y^(a-1) g(delta y) dy`."""
        far = self.far
        if far**power * float(self.right(far)) > 1e-6 * self.scale**power * self.height:
            raise ValueError(
                f"alpha must be larger: surrogate falls too slowly, and the integral for "
                f"alpha = {-power:g} diverges; alpha = 0 always has a law"
            )
        first = self.scale * 1e-12
        y, parts = _panels(lambda y: y**power * self.right(y), first, far)
        tail = power * np.append(np.cumsum(parts[::-1])[::-1], 0.0)
        above = y**power * self.right(y) + tail
        total = above[0] + first**power * self.loss(first)
        return y, np.maximum.accumulate(total - above)


def _panels(f, low: float, high: float):
    """Boundaries, and the integral of `f(y) dy/y` over each panel between them.

    A panel is halved until that changes its integral little.
    """
    edges = np.linspace(math.log(low), math.log(max(high, 2.0 * low)), PANELS + 1)
    left, right = edges[:-1], edges[1:]
    whole = _lobatto(f, left, right)
    allowed = PRECISION * np.abs(whole).sum()
    starts, values = [], []
    for _ in range(HALVINGS):
        middle = 0.5 * (left + right)
        lower, upper = _lobatto(f, left, middle), _lobatto(f, middle, right)
        over = np.abs(lower + upper - whole) <= allowed
        over |= ~((left < middle) & (middle < right))
        starts += [left[over], middle[over]]
        values += [lower[over], upper[over]]
        whole = np.concatenate((lower[~over], upper[~over]))
        left, right = (
            np.concatenate((left[~over], middle[~over])),
            np.concatenate((middle[~over], right[~over])),
        )
        if not left.size:
            break
    start, value = np.concatenate([*starts, left]), np.concatenate([*values, whole])
    order = np.argsort(start)
    return np.exp(np.append(start[order], edges[-1])), value[order]


def _lobatto(f, left, right):
    width = right - left
    return width * (f(np.exp(left[:, None] + width[:, None] * NODES)) @ WEIGHTS)
