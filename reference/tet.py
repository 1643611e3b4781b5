r"""Losses over the steps of a spiking classifier: standard, temporally efficient, and their gap.

With logits :math:`o_t`, :math:`t = 1..T`, their mean :math:`\bar o`, :math:`p_t` and
:math:`\bar p` the softmaxes, and :math:`\delta_t = o_t - \bar o`,

.. math::
    L_{SDT} &= \mathrm{CE}(\bar o, y), &\quad
        \partial L_{SDT}/\partial o_t &= (\bar p - y)/T,                          \tag{1} \\
    L_{TET} &= \tfrac1T \sum_t \mathrm{CE}(o_t, y), &
        \partial L_{TET}/\partial o_t &= (p_t - y)/T,                             \tag{2} \\
    L_{TOT} &= (1-\lambda) L_{TET} + \lambda \tfrac{1}{TC} \sum_t \lVert o_t - \phi \rVert^2, &
        \partial L_{TOT}/\partial o_t &= (1-\lambda)\frac{p_t - y}{T}
            + \frac{2\lambda}{TC} (o_t - \phi) .                                  \tag{3}

Since :math:`\mathrm{CE}(o, y) = \mathrm{LSE}(o) - o_y`, both differ by

.. math::
    \Gamma = L_{TET} - L_{SDT} = \tfrac1T \sum_t \mathrm{LSE}(o_t) - \mathrm{LSE}(\bar o)
        \in \bigl[0,\ \tfrac{1}{4T} \sum_t \lVert\delta_t\rVert^2\bigr] ,         \tag{4}

whatever the label: LSE is convex with a Hessian between 0 and 1/2. For small deviations it is

.. math::
    \Gamma \to \tfrac{1}{2T} \sum_t \delta_t^T
        (\mathrm{diag}\,\bar p - \bar p \bar p^T)\, \delta_t .                    \tag{5}

A causal network that runs :math:`T' \le T` steps gives the first :math:`T'` logits, so that

.. math::
    L_{SDT}(T') \le L_{TET}(T') \le \tfrac{T}{T'} L_{TET}(T) .                     \tag{6}

Source: Deng, Li, Zhang, Gu (2022), "Temporal efficient training of spiking neural network via
gradient re-weighting", for (1) to (3) and :math:`\Gamma \ge 0` (lemma 4.1, whose printed proof has
a false step: `false_step`); the rest is derived here.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from reference.losses import mean_squared_error, softmax, softmax_cross_entropy

#: Two steps, two classes, label 0: the mean probability of the label is no bound on that of the
#: mean logits. See `false_step`.
COUNTEREXAMPLE = np.array([[[0.0, 0.0]], [[-6.0, 0.0]]])


def _steps(o) -> np.ndarray:
    o = np.asarray(o)
    if o.dtype.kind != "f":
        o = o.astype(float)
    if o.ndim != 3 or 0 in o.shape:
        raise ValueError(f"o must be logits (T, B, C); got the shape {o.shape}")
    return o


def _labels(o, y) -> np.ndarray:
    y = np.asarray(y)
    if y.shape != (o.shape[1],) or y.dtype.kind not in "iu":
        raise ValueError(f"y must hold {o.shape[1]} classes, one a sample; got {y.shape} {y.dtype}")
    return y


def sdt(o, y):
    """Standard direct training, (1): the loss of the mean logits.

    Parameters
    ----------
    o : ndarray, shape (T, B, C)
        Logits of every step.
    y : ndarray of int, shape (B,)

    Returns
    -------
    loss : float
        Mean over samples.
    grad : ndarray, shape (T, B, C)
        By `o`: the same for every step.

    Raises
    ------
    ValueError
        If a shape does not fit, or a label is no class.
    """
    o = _steps(o)
    loss, pull = softmax_cross_entropy(o.mean(axis=0), _labels(o, y))
    return loss, np.broadcast_to(pull() / o.dtype.type(len(o)), o.shape).copy()


def tet(o, y):
    """Temporal efficient training, (2): the mean loss of the steps; otherwise as `sdt`."""
    o = _steps(o)
    loss, pull = softmax_cross_entropy(o, _labels(o, y))
    return loss, pull()


def total(o, y, lam: float, phi: float = 1.0):
    """(3): `tet` and the mean square distance of all logits from `phi`; otherwise as `sdt`.

    Raises
    ------
    ValueError
        As `sdt`, and if `lam` is outside [0, 1].
    """
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f"lam must be in [0, 1]; got {lam}")
    o = _steps(o)
    loss, grad = tet(o, y)
    square, pull = mean_squared_error(o, phi)
    loss = (1.0 - lam) * loss + lam * square
    return loss, o.dtype.type(1.0 - lam) * grad + pull(lam)


def gap(o) -> float:
    """(4), the mean over samples: what `tet` is above `sdt`, for any labels.

    Notes
    -----
    Summed as the mean of `log sum_c pbar_c exp(delta_tc)`, taken off the mean of `pbar . delta`,
    which is zero: nothing of the size of the logits cancels.
    """
    o = _steps(o)
    mean = o.mean(axis=0)
    delta = o - mean
    terms = special.logsumexp(special.log_softmax(mean, axis=-1) + delta, axis=-1)
    return float(np.mean(terms - np.sum(softmax(mean) * delta, axis=-1)))


def gap_gradient(o) -> np.ndarray:
    """`(p_t - pbar) / T` by `o`, of the mean over samples."""
    o = _steps(o)
    return (softmax(o) - softmax(o.mean(axis=0))) / (o.shape[0] * o.shape[1])


def gap_bound(o) -> float:
    """The upper end of (4), the mean over samples."""
    o = _steps(o)
    return float(np.sum((o - o.mean(axis=0)) ** 2) / (4.0 * o.shape[0] * o.shape[1]))


def gap_quadratic(o) -> float:
    """(5): half the variance over time in the Fisher metric of the mean prediction."""
    o = _steps(o)
    p, delta = softmax(o.mean(axis=0)), o - o.mean(axis=0)
    square = np.sum(p * delta**2, axis=-1) - np.sum(p * delta, axis=-1) ** 2
    return float(0.5 * square.mean())


def false_step(o, y) -> tuple[float, float, float]:
    """What the printed proof of lemma 4.1 puts in order: it claims that the first is no less than
    the second.

    Returns
    -------
    middle, standard, efficient : float
        The mean over samples of `-log mean_t p_t[y]`; `sdt`; `tet`, which is no less than either.

    Notes
    -----
    The step takes the softmax for convex. `COUNTEREXAMPLE` refutes it: 1.3814 < 3.0486.
    """
    o = _steps(o)
    y = _labels(o, y)
    chosen = softmax(o)[:, np.arange(o.shape[1]), y].mean(axis=0)
    return float(-np.log(chosen).mean()), sdt(o, y)[0], tet(o, y)[0]


def shorter(o, y) -> tuple[np.ndarray, np.ndarray]:
    """(6) for every T' from 1 to T.

    Returns
    -------
    loss, bound : ndarray, shape (T,)
        `sdt` of the first T' steps, and `T/T' tet` of all.
    """
    o = _steps(o)
    n, whole = len(o), tet(o, y)[0]
    loss = np.array([sdt(o[:k], y)[0] for k in range(1, n + 1)])
    return loss, whole * n / np.arange(1, n + 1)


def confidence_gap(*, classes: int, lam: float) -> float:
    """The largest logit above the others where (3) is least over free logits.

    Parameters
    ----------
    classes : int
    lam : float
        In (0, 1).

    Returns
    -------
    float
        d that solves `(1 - lam) (1 - p) = 2 lam d (C - 1) / C**2` with
        `p = e**d / (e**d + C - 1)`; no value of phi changes it.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or `lam` is not in (0, 1).
    """
    if classes < 2 or not 0.0 < lam < 1.0:
        raise ValueError(f"classes must be at least 2 and lam in (0, 1); got {classes}, {lam}")
    others = classes - 1.0

    def slope(d):
        missing = others / (math.exp(d) + others)
        return (1.0 - lam) * missing - 2.0 * lam * d * others / classes**2

    high = 1.0
    while slope(high) > 0.0:
        high *= 2.0
    return float(optimize.brentq(slope, 0.0, high, xtol=1e-14, rtol=1e-15))


def floors(*, classes: int, lam: float) -> tuple[float, float, float]:
    """Probability of the label, cross entropy and (3) where (3) is least."""
    d = confidence_gap(classes=classes, lam=lam)
    p = 1.0 / (1.0 + (classes - 1.0) * math.exp(-d))
    square = d * d * (classes - 1.0) / classes**2
    return p, -math.log(p), -(1.0 - lam) * math.log(p) + lam * square


def inheritance_cost(epochs: int, steps: int, *, first: int, tuning: int) -> tuple[int, int]:
    """Epochs times steps: trained at `steps` from scratch, or at `first` and then fine-tuned."""
    return epochs * steps, epochs * first + tuning * steps
