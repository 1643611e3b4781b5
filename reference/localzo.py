r"""Local zeroth-order gradients of a spiking neuron: estimator, its mean, and what both cost.

With the membrane :math:`v` counted from threshold, a draw :math:`z` and a width
:math:`\delta > 0`, the two-point quotient of the step function

.. math::
    G(v) = z\,\frac{h(v + \delta z) - h(v - \delta z)}{2\delta}
         = \frac{|z|}{2\delta}\, 1\{|v| < \delta |z|\}                     \tag{1}

is zero wherever the membrane lies outside a random window around the threshold. Its mean

.. math::
    g(v) = \mathrm{E}\, G(v)
         = \frac{1}{2\delta}\, \mathrm{E}\bigl[|z|;\ |z| > |v|/\delta\bigr] \tag{2}

is even, falls with :math:`|v|`, has height :math:`\mathrm{E}|z|/2\delta` and area
:math:`\mathrm{E} z^2`, and its second moment is

.. math::
    \mathrm{E}\, G(v)^2 = \frac{1}{4\delta^2}\,
                          \mathrm{E}\bigl[z^2;\ |z| > |v|/\delta\bigr] .  \tag{3}

Source: Mukhoty, Bojkovic, de Vazelhes, Zhao, De Masi, Xiong, Gu (2023), "Direct training of SNN
using local zeroth order method"; (2) is read off (1), (3) likewise. The threshold that keeps as
many neurons is that of Perez-Nieves and Goodman (2021), "Sparse spiking gradient descent".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import integrate, special

from reference.localzo_inverse import Inverse, inverse
from reference.sparse_backward import sparse_backward

__all__ = [
    "LAWS",
    "Inverse",
    "Law",
    "estimate",
    "estimate_mean",
    "inverse",
    "one_point",
    "sparse_backward",
    "surrogate",
    "threshold",
    "variance",
]

ROOT3 = math.sqrt(3.0)
ROOT2 = math.sqrt(2.0)
#: Draws behind a surrogate of a law that is known by its sampler only.
DRAWS = 1_000_000


@dataclass(frozen=True)
class Law:
    """An even law of unit variance, by what (2) and (3) ask of it.

    Attributes
    ----------
    name : str
    sample : callable
        `sample(rng, size)`: draws of z.
    density : callable
        Of z.
    survival, first, second : callable
        `P(|z| > a)`, `E[|z|; |z| > a]` and `E[z**2; |z| > a]` for arrays `a >= 0`.
    support : float
        The largest `|z|`.
    reach : float
        A `|z|` beyond which lies less than 1e-16 of the law.
    """

    name: str
    sample: Callable
    density: Callable
    survival: Callable
    first: Callable
    second: Callable
    support: float = math.inf
    reach: float = math.inf

    def mean_max(self, draws: int = 1) -> float:
        """`E max |z|` over so many draws: how wide the window of several draws is.

        Computed as the integral of `1 - (1 - P(|z| > a))**draws`, to about 1e-12.
        """
        end = min(self.support, 40.0)

        def missing(a):
            return -np.expm1(draws * np.log1p(-np.minimum(self.survival(a), 1.0 - 1e-300)))

        value, _ = integrate.quad(missing, 0.0, end, epsabs=1e-13, epsrel=1e-13, limit=200)
        return float(value)


def _phi(a):
    return np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)


def _tail(a):
    """`P(z > a)` of the normal law."""
    return 0.5 * special.erfc(a / ROOT2)


#: Of unit variance, as the paper's: normal, uniform on +-sqrt(3), Laplace of scale 1/sqrt(2).
LAWS = {
    "normal": Law(
        "normal",
        lambda rng, size: rng.standard_normal(size),
        _phi,
        lambda a: 2.0 * _tail(a),
        lambda a: 2.0 * _phi(a),
        lambda a: 2.0 * (a * _phi(a) + _tail(a)),
        reach=8.3,
    ),
    "uniform": Law(
        "uniform",
        lambda rng, size: rng.uniform(-ROOT3, ROOT3, size),
        lambda z: np.where(np.abs(z) < ROOT3, 0.5 / ROOT3, 0.0),
        lambda a: np.maximum(0.0, 1.0 - a / ROOT3),
        lambda a: np.maximum(0.0, 3.0 - a * a) / (2.0 * ROOT3),
        lambda a: np.maximum(0.0, 1.0 - (a / ROOT3) ** 3),
        support=ROOT3,
        reach=ROOT3,
    ),
    "laplace": Law(
        "laplace",
        lambda rng, size: rng.laplace(0.0, 1.0 / ROOT2, size),
        lambda z: np.exp(-ROOT2 * np.abs(z)) / ROOT2,
        lambda a: np.exp(-ROOT2 * a),
        lambda a: (a + 1.0 / ROOT2) * np.exp(-ROOT2 * a),
        lambda a: (a * a + ROOT2 * a + 1.0) * np.exp(-ROOT2 * a),
        reach=26.5,
    ),
}


def _law(law) -> Law:
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        raise ValueError(f"law must be one of {', '.join(map(repr, LAWS))}; got {law!r}")
    return LAWS[law]


def _width(delta) -> float:
    delta = float(delta)
    if not (delta > 0.0 and math.isfinite(delta)):
        raise ValueError(f"delta must be positive and finite; got {delta}")
    return delta


def estimate(v, z, delta: float) -> np.ndarray:
    """The two-point estimate of the derivative of the step function, (1).

    Parameters
    ----------
    v : array_like
        Membrane minus threshold, in units of the threshold.
    z : array_like
        Draws, broadcast against `v`.
    delta : float
        Width, in units of `v`.

    Returns
    -------
    ndarray
        `|z| / (2 delta)` where `|v| < delta |z|`, else 0; the broadcast shape, in the precision
        of `v` and `z` (integers count as float64).

    Raises
    ------
    ValueError
        If `delta` is not positive.

    Notes
    -----
    Written without the two step functions, so that nothing cancels; where `|v| = delta |z|`
    exactly, a set of measure zero, the answer is 0.

    Examples
    --------
    >>> estimate([-0.4, 0.0, 0.6], [-1.0, 2.0, 1.0], 0.5)
    array([1., 2., 0.])
    """
    delta = _width(delta)
    v, size = np.asarray(v), np.abs(np.asarray(z))
    if not np.issubdtype(np.result_type(v, size), np.floating):
        size = size.astype(float)
    return np.where(np.abs(v) < delta * size, size / (2.0 * delta), 0.0)


def one_point(v, z, delta: float) -> np.ndarray:
    """The one-point estimate `z (h(v + delta z) - h(v)) / delta` with `h(v) = 1` for v > 0.

    It has the mean of `estimate` for even laws, and at least its variance: twice its size on
    half of its draws.
    """
    delta = _width(delta)
    v, z = np.asarray(v, float), np.asarray(z, float)
    return z * ((v + delta * z > 0.0).astype(float) - (v > 0.0)) / delta


def estimate_mean(v, rng, delta: float, *, law="normal", draws: int = 1) -> np.ndarray:
    """The mean of `draws` independent estimates at every entry of `v`.

    Parameters
    ----------
    v : ndarray of float
        Membrane minus threshold.
    rng : numpy.random.Generator
    delta : float
    law : str, Law or callable, optional
        "normal", "uniform", "laplace", or `law(rng, size)`.
    draws : int, optional

    Returns
    -------
    ndarray
        Shape and precision of `v`.

    Notes
    -----
    Only membranes that some draw can reach get one: farther away than `delta` times the
    largest `|z|` (for the normal law 8.3, beyond which lies less than 1e-16 of its mass), the
    estimate is zero anyway. The draws go in the order of the entries of `v`, hence depend on
    the seed and on `v` alone.
    """
    delta, v = _width(delta), np.asarray(v)
    law = law if callable(law) else _law(law)
    sampler, reach = (law.sample, law.reach) if isinstance(law, Law) else (law, math.inf)
    out = np.zeros(v.shape, v.dtype)
    near = np.flatnonzero(np.abs(v.ravel()) < delta * reach)
    close, total = v.ravel()[near], np.zeros(near.size)
    for _ in range(draws):
        total += estimate(close, sampler(rng, near.size), delta)
    out.reshape(-1)[near] = total / draws
    return out


def surrogate(law, delta: float, draws: int | None = None, seed: int = 0) -> Callable:
    """The surrogate derivative whose unbiased estimate (1) is: (2) as a function of v.

    Parameters
    ----------
    law : str, Law or callable
        "normal", "uniform" (on +-sqrt(3)), "laplace" (of scale 1/sqrt(2)), or `law(rng, size)`
        that draws from any law.
    delta : float
        Width of the estimator.
    draws : int, optional
        If given, the mean of so many estimates instead of the closed form; what a law known by
        its sampler only always gets, with 1 000 000 draws by default.
    seed : int, optional
        Of those draws.

    Returns
    -------
    callable
        `g(v)` for arrays `v`.

    Raises
    ------
    ValueError
        If the law is unknown, `delta` is not positive, `draws` is below 1, or the sampler gives
        something else than `size` finite numbers.

    Notes
    -----
    Closed forms are exact to rounding. The error of a mean of n draws has the standard deviation
    `sqrt(variance(law, v, delta) / n)`. It is summed once, sorted by `|z|`: a call costs a search.

    Examples
    --------
    >>> g = surrogate("normal", 0.5)
    >>> round(float(g(0.0)), 6)
    0.797885
    """
    delta = _width(delta)
    if not callable(law):
        law = _law(law)
    if isinstance(law, Law) and draws is None:
        first = law.first
        return lambda v: first(np.abs(np.asarray(v, float)) / delta) / (2.0 * delta)
    draws = DRAWS if draws is None else int(draws)
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    sampler = law.sample if isinstance(law, Law) else law
    z = np.asarray(sampler(np.random.default_rng(seed), draws), float)
    if z.shape != (draws,) or not np.isfinite(z).all():
        raise ValueError(f"law(rng, {draws}) must give that many finite numbers; got {z.shape}")
    return _empirical(np.sort(np.abs(z)), delta)


def _empirical(size, delta):
    """(2) of the law that puts equal weight on ascending `size`."""
    # Summed from the largest on, so that the far tail keeps its digits.
    above = np.append(np.cumsum(size[::-1])[::-1], 0.0) / (2.0 * delta * size.size)
    return lambda v: above[
        np.searchsorted(size, np.abs(np.asarray(v, float)) / delta, side="right")
    ]


def variance(law, v, delta: float, draws: int = 1) -> np.ndarray:
    """Variance of the mean of so many estimates at `v`: (3) less the square of (2), by `draws`."""
    delta, law = _width(delta), _law(law)
    a = np.abs(np.asarray(v, float)) / delta
    mean = law.first(a) / (2.0 * delta)
    return (law.second(a) / (4.0 * delta**2) - mean**2) / draws


def threshold(law, delta: float, draws: int = 1, v_th: float = 1.0) -> float:
    """The back-propagation threshold that keeps as wide a window as the estimator on average.

    Perez-Nieves and Goodman keep the gradient of neurons with a membrane above it (and below
    `2 v_th` less it): `v_th - delta E max |z|` over `draws` draws.

    Parameters
    ----------
    law : str, Law or Inverse
    delta : float
    draws : int, optional
    v_th : float, optional

    Raises
    ------
    ValueError
        If the law's `|z|` has no mean, so that there is no such window.
    """
    law = law if isinstance(law, Inverse) else _law(law)
    window = law.mean_max(draws)
    if not math.isfinite(window):
        raise ValueError("the mean of |z| is infinite, so no threshold keeps as wide a window")
    return v_th - _width(delta) * window
