r"""Discrete neurons over time, and their backward pass: backpropagation through time.

One step, with the membrane h that is compared with the threshold and the carried membrane c,

.. math::
    h_t &= \beta c_{t-1} + (1 - \beta) v_\mathrm{rest} + \kappa x_t - [\text{soft, next}]\,
        \theta s_{t-1}, \qquad s_t = \Theta(h_t - \theta),                             \tag{1} \\
    c_t &= h_t, \quad h_t - \theta s_t, \quad (1 - s_t) h_t + s_t v_r                   \tag{2}

for no reset or a soft one that acts in the next step, for a soft one in the same step, and for a
hard one. A hard reset gives the same spikes either way: what the next step changes is the
membrane that is seen, h instead of c. A soft one does not: in the next step it takes off
:math:`\theta` after the leak, in the same step before.

Backward, :math:`\Theta'` is a surrogate g and everything else the chain rule. With
:math:`e_t` the gradient that arrives at the spike, :math:`\mu_t` at c, :math:`\nu_t` at the spike
from (1) of the next step, and D = 0 where the reset is detached, 1 otherwise,

.. math::
    a_t &= e_t + D (\mu_t\, \partial c_t/\partial s_t + \nu_t), \qquad
    \lambda_t = \partial L/\partial h_t = a_t\, g(h_t - \theta)
        + \mu_t\, \partial c_t/\partial h_t,                                            \tag{3} \\
    \mu_{t-1} &= \beta \lambda_t, \qquad \nu_{t-1} = -[\text{soft, next}]\, \theta \lambda_t,
    \qquad \bar x_t = \kappa \lambda_t,                                                 \tag{4} \\
    \bar\beta &= \sum \lambda_t (c_{t-1} - v_\mathrm{rest}), \quad
    \bar\kappa = \sum \lambda_t x_t, \quad
    \bar v_\mathrm{rest} = \sum (1 - \beta) \lambda_t, \quad
    \bar v_r = [\text{hard}] \sum s_t \mu_t,                                            \tag{5} \\
    \bar\theta &= - \sum a_t\, g(h_t - \theta) - [\text{soft}] \sum s_t \times
        (\mu_t, \text{ or } \lambda_{t+1} \text{ where it acts in the next step}).      \tag{6}

The second sum of (6) stays where the reset is detached: the threshold is taken off whatever the
spike is differentiated by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.layers import summed
from reference.surrogates import Surrogate, get

RESETS = ("hard", "soft", "none")
TIMINGS = ("same_step", "next_step")
COMPARES = (">", ">=")
#: What each parameter of a run is differentiated by, in this order.
PARAMETERS = ("beta", "v_th", "v_reset", "gain", "v_rest")


@dataclass(frozen=True)
class Run:
    """Neurons that ran; every array of time is [T, ...] like the current.

    Attributes
    ----------
    spikes : ndarray
        0 or 1, in the dtype of the current.
    h : ndarray
        Membrane that was compared with the threshold, before any reset of its step.
    v : ndarray
        Membrane after the step: after the reset, or h where the reset acts in the next step.
    carried : ndarray
        c of equations (1) and (2), [T + 1, ...]: before the first step, and after each.
    current : ndarray
    params : dict
        beta, v_th, v_reset, gain and v_rest as they were given.
    before : ndarray
        Spikes before the first step, which a reset of the next step acts on.
    v_init, reset, reset_timing
        As they were given.
    """

    spikes: np.ndarray
    h: np.ndarray
    v: np.ndarray
    carried: np.ndarray
    current: np.ndarray
    params: dict[str, Any]
    before: np.ndarray
    v_init: Any
    reset: str
    reset_timing: str

    @property
    def late(self) -> bool:
        """Whether a soft reset is taken off in (1) of the next step."""
        return self.reset == "soft" and self.reset_timing == "next_step"

    def of(self, name: str) -> np.ndarray:
        """A parameter in the dtype of the run."""
        return np.asarray(self.params[name], self.h.dtype)


def lif_forward(
    current,
    *,
    beta,
    v_th=1.0,
    reset: str = "hard",
    v_reset=0.0,
    reset_timing: str = "same_step",
    gain=1.0,
    compare: str = ">",
    v_init=0.0,
    v_rest=0.0,
    before=None,
    step: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Run:
    """Leaky integrate-and-fire neurons over time, (1) and (2); `beta=1` integrates.

    Parameters
    ----------
    current : ndarray of float, shape (T, B, ...)
        Input of every step; the answer is computed in its dtype.
    beta, v_th, v_reset, gain, v_rest : float or ndarray
        Decay of a step, threshold, reset and resting potential, and the factor of the input;
        broadcast to (B, ...).
    reset : {"hard", "soft", "none"}
        To `v_reset`, by `v_th`, or not at all.
    reset_timing : {"same_step", "next_step"}
    compare : {">", ">="}
        How the membrane must compare with the threshold to fire.
    v_init : float or ndarray
        Membrane before the first step, broadcast to (B, ...).
    before : ndarray, optional
        Spikes before the first step, for a reset of the next step; default: whether `v_init`
        fires.
    step : callable, optional
        A smooth function of h - v_th in place of the comparison; with the primitive of a
        surrogate, `lif_backward` is the exact gradient of what this computes.

    Returns
    -------
    Run

    Raises
    ------
    ValueError, TypeError
        If an option is unknown, the current no array of floats, or a shape does not fit.

    Examples
    --------
    >>> current = np.full((6, 1, 1), 0.6)
    >>> lif_forward(current, beta=0.5, reset="soft").spikes.ravel()
    array([0., 0., 1., 0., 0., 1.])
    """
    _known("reset", reset, RESETS)
    _known("reset_timing", reset_timing, TIMINGS)
    _known("compare", compare, COMPARES)
    x = np.asarray(current)
    if x.dtype.kind != "f" or x.ndim < 2:
        raise TypeError(f"current must be floats [T, B, ...]; got {x.dtype} of shape {x.shape}")
    params = dict(zip(PARAMETERS, (beta, v_th, v_reset, gain, v_rest), strict=True))
    b, th, vr, k, rest = (_fitting(name, params[name], x) for name in PARAMETERS)
    fires = step or _comparison(compare, x.dtype)
    c = np.broadcast_to(_fitting("v_init", v_init, x), x.shape[1:]).astype(x.dtype)
    first = np.zeros_like(c)
    if reset_timing == "next_step":
        first = _comparison(compare, x.dtype)(c - th) if before is None else before
        first = np.broadcast_to(np.asarray(first, x.dtype), c.shape)
    spikes, h = np.empty_like(x), np.empty_like(x)
    carried = np.empty((len(x) + 1, *c.shape), c.dtype)
    # What a late reset of the first spikes is: a hard one now, a soft one in the first step.
    late = reset_timing == "next_step"
    carried[0], s = _reset(c, first, reset if late else "none", late, th, vr), first
    for t in range(len(x)):
        u = b * carried[t] + k * x[t]
        if np.any(rest):
            u += (1.0 - b) * rest
        if late and reset == "soft":
            u -= th * s
        s = fires(u - th)
        spikes[t], h[t], carried[t + 1] = s, u, _reset(u, s, reset, late, th, vr)
    v = h if late else carried[1:]
    return Run(spikes, h, v, carried, x, params, first, v_init, reset, reset_timing)


def _reset(u, s, reset: str, late: bool, v_th, v_reset):
    """The carried membrane, (2); a soft reset that acts in the next step is left to (1)."""
    if reset == "hard":
        return (1.0 - s) * u + s * v_reset
    return u - v_th * s if reset == "soft" and not late else u


def _known(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}")


def _fitting(name: str, value, x: np.ndarray) -> np.ndarray:
    value = np.asarray(value, x.dtype)
    try:
        np.broadcast_to(value, x.shape[1:])
    except ValueError:
        raise ValueError(f"{name} has shape {value.shape}; it must fit {x.shape[1:]}") from None
    return value


def _comparison(compare: str, dtype) -> Callable[[np.ndarray], np.ndarray]:
    if compare == ">":
        return lambda v: (v > 0).astype(dtype)
    return lambda v: (v >= 0).astype(dtype)


def lif_backward(
    run: Run,
    grad_spikes,
    surrogate: Surrogate | str | Callable[[np.ndarray], np.ndarray],
    *,
    detach: bool,
    grad_v=None,
) -> dict[str, np.ndarray]:
    """Gradients of a run, (3) to (6).

    Parameters
    ----------
    run : Run
    grad_spikes : ndarray, shape (T, B, ...)
        Gradient by the spikes.
    surrogate : Surrogate, str or callable
        As `reference.surrogates.get` answers, its name, or g(v) itself.
    detach : bool
        Whether the spike counts as a constant where it resets.
    grad_v : ndarray, shape (B, ...), optional
        Gradient by the last membrane, `run.v[-1]`.

    Returns
    -------
    dict of ndarray
        "current" [T, B, ...]; "v_init", "beta", "v_th", "v_reset", "gain" and "v_rest", shaped
        as they were given. The spikes before the first step count as constants.
    """
    s, h = run.spikes, run.h
    e = np.broadcast_to(np.asarray(grad_spikes, h.dtype), h.shape)
    b, th, vr, k, rest = (run.of(name) for name in PARAMETERS)
    g = _derivative(surrogate)(h - th).astype(h.dtype, copy=False)
    hard, same = run.reset == "hard", run.reset == "soft" and not run.late
    mu, nu = np.zeros_like(h[0]), np.zeros_like(h[0])
    # The last membrane is h itself where the reset acts in the next step.
    last = np.zeros_like(h[0]) if grad_v is None else np.asarray(grad_v, h.dtype)
    if run.reset_timing == "same_step":
        mu = mu + last
    lam = np.empty_like(h)
    by = {name: np.zeros_like(h[0]) for name in ("beta", "v_th", "v_reset")}
    for t in reversed(range(len(h))):
        a = e[t]
        if not detach:
            a = a + nu + (mu * (vr - h[t]) if hard else -th * mu if same else 0.0)
        pulse = a * g[t]
        lam[t] = pulse + (mu * (1.0 - s[t]) if hard else mu)
        if t == len(h) - 1 and run.reset_timing == "next_step":
            lam[t] += last
        by["v_th"] -= pulse
        if hard:
            by["v_reset"] += s[t] * mu
        elif same:
            by["v_th"] -= s[t] * mu
        mu = b * lam[t]
        if run.late:
            nu = -th * lam[t]
            by["v_th"] -= lam[t] * (s[t - 1] if t else run.before)
        by["beta"] += lam[t] * (run.carried[t] - rest)
    if hard and run.reset_timing == "next_step":
        by["v_reset"] += run.before * mu
        mu = (1.0 - run.before) * mu
    total = lam.sum(axis=0)
    by |= {"gain": (lam * run.current).sum(axis=0), "v_rest": (1.0 - b) * total}
    shaped = {name: summed(by[name], np.shape(run.params[name])) for name in PARAMETERS}
    return {"current": k * lam, "v_init": summed(mu, np.shape(run.v_init)), **shaped}


def _derivative(surrogate) -> Callable[[np.ndarray], np.ndarray]:
    if isinstance(surrogate, str):
        surrogate = get(surrogate)
    if isinstance(surrogate, Surrogate):
        return surrogate.derivative
    if not callable(surrogate):
        raise TypeError(f"surrogate must be a name, a Surrogate or a function; got {surrogate!r}")
    return surrogate


def filter_forward(x, decay, *, gain=1.0, init=0.0) -> np.ndarray:
    """Synaptic current i[t] = decay i[t-1] + gain x[t] of a current-based (CUBA) neuron.

    What arrives drives the membrane in its own step. snnTorch's `Synaptic` has decay alpha,
    SpikingJelly's `CUBALIFNode` c_decay, Norse 1 - dt/tau_syn, sinabs decay = gain.
    """
    x = np.asarray(x)
    i, current = np.empty_like(x), np.asarray(init, x.dtype)
    for t in range(len(x)):
        current = np.asarray(decay, x.dtype) * current + np.asarray(gain, x.dtype) * x[t]
        i[t] = current
    return i


def filter_backward(i, grad_i, decay, *, gain=1.0, init=0.0) -> dict[str, np.ndarray]:
    """Gradients of `filter_forward`, whose answer is `i`: by "x", "decay" and "init"."""
    i = np.asarray(i)
    decay, lam = np.asarray(decay, i.dtype), filtered(np.array(grad_i, i.dtype), decay)
    by_decay = lam[0] * np.asarray(init, i.dtype) + (lam[1:] * i[:-1]).sum(axis=0)
    return {
        "x": np.asarray(gain, i.dtype) * lam,
        "decay": summed(by_decay, decay.shape),
        "init": summed(decay * lam[0], np.shape(init)),
    }


def filtered(s: np.ndarray, decay) -> np.ndarray:
    """s[t] + decay s[t+1] + decay² s[t+2] + ..., the adjoint of the filter; `s` is overwritten."""
    decay = np.asarray(decay, s.dtype)
    for t in range(len(s) - 2, -1, -1):
        s[t] += decay * s[t + 1]
    return s
