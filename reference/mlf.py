r"""Multi-level firing: several neurons of rising thresholds that share one input and one output.

A unit has K levels, each a leaky integrate-and-fire neuron with a membrane and a reset of its
own (Feng et al. 2022),

.. math::
    u^k_t = \tau u^k_{t-1} (1 - s^k_{t-1}) + x_t, \qquad s^k_t = \Theta(u^k_t - \theta_k),
        \qquad o_t = \sum_k s^k_t,                                                     \tag{1}

with a leak :math:`\tau` per step, a strict comparison and a hard reset to 0. It is not one
membrane with several thresholds: level 1 may fire and be reset while level 3 goes on. In
continuous time with decay :math:`\tau = e^{-\Delta t/\tau_m}` they are K neurons whose
simultaneous inputs are summed before the test.

Backward the derivative of a spike is :math:`h^k_t = 1/a` where :math:`|u^k_t - \theta_k| < a/2`,
and 0 elsewhere. With :math:`e_t = \partial L/\partial o_t` and
:math:`d^k_t = \partial L/\partial u^k_t`,

.. math::
    d^k_t = h^k_t e_t + f^k_t d^k_{t+1}, \quad
    f^k_t = \tau \bigl[(1 - s^k_t) - D u^k_t h^k_t\bigr], \quad
    \partial L/\partial x_t = \sum_k d^k_t,                                            \tag{2}

D = 0 where the reset is detached, 1 otherwise. :math:`f^k_t` lies in
:math:`[-\tau(\theta_k + a/2)/a, \tau]`. Where thresholds lie a apart, the windows tile: at one
step a unit whose membranes are all x has the derivative of
:math:`\mathrm{clip}((x - \theta_1)/a + 1/2, 0, K)`.

Units are dormant where the window is missed; there are three ways to say so, and they differ.

* instantaneous: at a step, no level is inside its window;
* window: no level is, at any step; no gradient reaches x, whatever e is;
* dead: at a step, no level has a later (or present) step inside its window that it is joined to
  by non-zero factors f; :math:`\partial L/\partial x_t = 0` for any e but those that cancel.

A unit-step that belongs to a window-dormant unit is dead, and one that is dead is instantaneously
dormant. At the first step with a normal input of mean 0 and deviation :math:`\sigma` and windows
that tile, the instantaneous share is

.. math::
    1 - \Phi\Bigl(\frac{\theta_K + a/2}{\sigma}\Bigr)
      + \Phi\Bigl(\frac{\theta_1 - a/2}{\sigma}\Bigr).                                 \tag{3}
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from reference import bptt
from reference.surrogates.shapes import Shape, box

#: Leak of a step and thresholds of the paper's code.
TAU = 0.25
V_TH = (0.6, 1.6, 2.6)


@dataclass(frozen=True)
class MLFRun:
    """Units that ran.

    Attributes
    ----------
    output : ndarray, shape (T, ...)
        Spikes of all levels, summed: 0 to K.
    lif : bptt.Run
        The levels as neurons of their own, [T, K, ...].
    v_th : ndarray, shape (K,)
    """

    output: np.ndarray
    lif: bptt.Run
    v_th: np.ndarray

    @property
    def spikes(self) -> np.ndarray:
        """0 or 1, [K, T, ...]."""
        return np.moveaxis(self.lif.spikes, 1, 0)

    @property
    def u(self) -> np.ndarray:
        """Membranes that are compared with the thresholds, [K, T, ...]."""
        return np.moveaxis(self.lif.h, 1, 0)


def forward(x, *, tau: float, v_th) -> MLFRun:
    """Units over time, (1).

    Parameters
    ----------
    x : array_like, shape (T, ...)
        Input of every step, the same for all levels.
    tau : float
        Leak per step, in [0, 1].
    v_th : array_like, shape (K,) or ()
        Thresholds, strictly rising.

    Returns
    -------
    MLFRun
        In the dtype of `x`, or float64 where that is none of floats.

    Raises
    ------
    ValueError
        If `x` has no axis of time, `tau` is no leak, or the thresholds do not rise.

    Examples
    --------
    >>> forward([2.0, 2.0, 2.0], tau=0.25, v_th=(0.6, 1.6, 2.6)).output
    array([2., 2., 3.])
    """
    x = np.asarray(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    levels = np.atleast_1d(np.asarray(v_th, np.float64))
    if x.ndim < 1:
        raise ValueError("x must be (T, ...); got a number")
    if not 0.0 <= tau <= 1.0:
        raise ValueError(f"tau must be in [0, 1]; got {tau}")
    if levels.ndim != 1 or not np.all(np.isfinite(levels)) or np.any(np.diff(levels) <= 0):
        raise ValueError(f"v_th must be thresholds that rise; got {v_th}")
    shape = (len(levels), *x.shape[1:])
    shared = np.broadcast_to(x[:, None], (len(x), *shape))
    wide = levels.reshape(-1, *[1] * (x.ndim - 1))
    run = bptt.lif_forward(shared, beta=tau, v_th=wide, reset="hard", compare=">")
    return MLFRun(run.spikes.sum(axis=1), run, levels)


def backward(run: MLFRun, grad_output, *, width: float = 1.0, detach: bool = False) -> np.ndarray:
    """Gradient by the input, (2).

    Parameters
    ----------
    run : MLFRun
    grad_output : array_like, shape (T, ...)
        Gradient by `run.output`.
    width : float
        a, of every level's window; its height is 1/a.
    detach : bool
        Whether the spike counts as a constant where it resets. In the paper's code it does not.

    Returns
    -------
    ndarray, shape (T, ...)
    """
    e = np.broadcast_to(np.asarray(grad_output, run.output.dtype), run.output.shape)
    g = window(width).derivative
    return bptt.lif_backward(run.lif, e[:, None], g, detach=detach)["current"].sum(axis=1)


def window(width: float) -> Shape:
    """The rectangle of a level: height 1/a, area 1, zero at its very ends.

    Raises
    ------
    ValueError
        If `width` is not positive.
    """
    if not 0.0 < width < np.inf:
        raise ValueError(f"width must be positive; got {width}")
    return box(1.0 / width, width / 2.0)


def derivative(run: MLFRun, *, width: float) -> np.ndarray:
    """h of every level, [K, T, ...]."""
    wide = run.v_th.reshape(-1, *[1] * run.output.ndim).astype(run.u.dtype)
    return window(width).derivative(run.u - wide)


def temporal_factor(run: MLFRun, *, width: float, detach: bool = False) -> np.ndarray:
    """f of (2): what a level hands from step t + 1 to step t, [K, T, ...]."""
    kept = 1.0 - run.spikes
    if not detach:
        kept = kept - run.u * derivative(run, width=width)
    return run.lif.of("beta") * kept


def dormancy(run: MLFRun, *, width: float, detach: bool = False) -> dict[str, np.ndarray]:
    """Which units are dormant, by the three definitions of this module.

    Returns
    -------
    dict of ndarray of bool
        "instantaneous" [T, ...], "window" [...], "dead" [T, ...].
    """
    inside = derivative(run, width=width) != 0.0
    joined = temporal_factor(run, width=width, detach=detach) != 0.0
    alive = inside.copy()
    for t in reversed(range(inside.shape[1] - 1)):
        alive[:, t] |= joined[:, t] & alive[:, t + 1]
    asleep = ~inside.any(axis=0)
    return {
        "instantaneous": asleep,
        "window": asleep.all(axis=0),
        "dead": ~alive.any(axis=0),
    }


def dormant(run: MLFRun, *, width: float, detach: bool = False) -> dict[str, np.float64]:
    """Shares of what `dormancy` finds, of all units, or of all units and steps."""
    found = dormancy(run, width=width, detach=detach)
    return {name: np.float64(mask.mean()) for name, mask in found.items()}


def first_dormant(sigma: float, *, v_th, width: float) -> float:
    """The instantaneous share at the first step for a normal input, (3).

    Raises
    ------
    ValueError
        If the windows do not tile: thresholds must lie `width` apart.
    """
    levels = np.atleast_1d(np.asarray(v_th, float))
    if not np.allclose(np.diff(levels), width, rtol=1e-12, atol=0.0):
        raise ValueError(f"v_th must lie width = {width} apart; got {v_th}")
    top, bottom = levels[-1] + width / 2.0, levels[0] - width / 2.0
    return float(1.0 - special.ndtr(top / sigma) + special.ndtr(bottom / sigma))


def nested_below(v_th) -> float:
    r"""Largest leak at which outputs are a thermometer, whatever the input.

    Where :math:`\tau \le 1 - \theta_k/\theta_{k+1}` for all k, a level fires only with all levels
    below it. Common input cancels in :math:`D = u^{k+1} - u^k`, which is the difference of what
    both carry on; :math:`0 \le D \le \tau\theta_{k+1}` holds at first and is handed on: where none
    fires it becomes :math:`\tau D`, where only k does it is :math:`\tau u^{k+1}` in
    :math:`(0, \tau\theta_{k+1}]`, where both do 0; and only k + 1 fires if
    :math:`D > \theta_{k+1} - \theta_k \ge \tau\theta_{k+1}`, which is excluded.
    """
    levels = np.atleast_1d(np.asarray(v_th, float))
    return float(min(1.0, *(1.0 - levels[:-1] / levels[1:]), 1.0))


def parameter_count(*, depth: int, width: int, channels: int = 3, classes: int = 10) -> int:
    """Trainable numbers of a residual network, plain or dormant-suppressed.

    Parameters
    ----------
    depth : int
        6 n + 2, for n blocks in each of three stages.
    width : int
        Channels of the first stage; they double with each.
    channels, classes : int
        Of the images, and to tell apart.

    Raises
    ------
    ValueError
        If no network has this depth.
    """
    n = blocks(depth)
    total, before = 9 * channels * width + 2 * width, width
    for stage in range(3):
        w = width * 2**stage
        total += 2 * n * (9 * w * w + 2 * w) - 9 * w * w + 9 * before * w
        if w != before:
            total += before * w + 2 * w
        before = w
    return total + before * classes + classes


def blocks(depth: int) -> int:
    """Blocks of a stage, n, in a network of depth 6 n + 2.

    Raises
    ------
    ValueError
        If no network has this depth.
    """
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(f"depth must be 6 n + 2, such as 14 or 20; got {depth}")
    return n
