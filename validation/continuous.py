r"""The differential equation that a discrete update stands for, and the same update at finer steps.

With :math:`u` the recorded input current, constant over a step (`feed="hold"`),

.. math::
    \tau_m \dot v = v_{leak} - v + G u,                                     \tag{1}

or :math:`\dot v = G u` without a leak. With a synapse (`feed="impulse"`) every entry
:math:`u` is a jump :math:`G u` of the current at the start of its step, and

.. math::
    \tau_m \dot v = v_{leak} - v + i, \quad \tau_s \dot i = -i, \qquad
    \kappa(s) = \frac{\tau_s}{\tau_m - \tau_s}\left(e^{-s/\tau_m} - e^{-s/\tau_s}\right)   \tag{2}

is the membrane a time :math:`s` after a unit jump; without a leak :math:`\dot v = i` and
:math:`\kappa(s) = \tau_s (1 - e^{-s/\tau_s})`.

An update :math:`v' = a v + g i^+` with :math:`a = e^{-dt/\tau_m}` follows (1) exactly at the ends
of the steps when :math:`G = g/(1-a)`, and (2) when :math:`G = g j/\kappa(dt)`, :math:`j` being the
part of a jump that is left when it enters the membrane. An Euler update has
:math:`g = G\, dt/\tau_m` and converges with order one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from validation.model import Constants, Model, Semantics


@dataclass(frozen=True, kw_only=True)
class Continuous:
    """Equations (1) and (2) as data; times in units of dt, or in steps where there is no dt.

    `tau_mem` is inf and `leaky` False for a neuron without a leak; `gain` then is the slope of
    the membrane per unit of input (hold), or the jump of that slope (impulse).
    """

    tau_mem: Any
    tau_syn: Any | None
    v_leak: Any
    v_th: Any
    v_reset: Any
    reset: str
    bias: Any
    leaky: bool
    feed: str
    gain: Any


def kappa(s: Any, tau_mem: Any, tau_syn: Any) -> Any:
    """Membrane a time `s` after a unit jump of the current; (2).

    The slower exponential is factored out, so that equal time constants are no special case and
    nothing cancels; `tau_mem=None` stands for a neuron without a leak.
    """
    if tau_mem is None:
        return -tau_syn * np.expm1(-s / tau_syn)
    x = s * np.abs(1.0 / np.asarray(tau_syn) - 1.0 / np.asarray(tau_mem))
    safe = np.where(x > 0.0, x, 1.0)
    phi = np.where(x > 0.0, -np.expm1(-safe) / safe, 1.0)
    return s / tau_mem * np.exp(-s / np.maximum(tau_mem, tau_syn)) * phi


def continuous(
    model: Model, params: Mapping[str, Any], semantics: Semantics, dt: float | None
) -> Continuous:
    """The differential equation of `model` with these parameters and switches."""
    p = {name: _wide(value) for name, value in model.resolve(params).items()}
    tau_mem, tau_syn = model.taus(p, semantics, dt)
    for what, tau in (("membrane", tau_mem), ("synapse", tau_syn)):
        if tau is not None and not np.all((np.asarray(tau) > 0) & np.isfinite(tau)):
            raise ValueError(
                f"{model.name} has no differential equation: the time constant of its {what} is "
                f"{np.asarray(tau)}; it must be positive and finite"
            )
    c = model.constants(p, semantics, dt, np.float64)
    return Continuous(
        tau_mem=np.inf if tau_mem is None else tau_mem,
        tau_syn=tau_syn,
        v_leak=c.v_leak if tau_mem is not None else 0.0,
        v_th=p[model.threshold],
        v_reset=p["v_reset"],
        reset=semantics.reset,
        bias=0.0,
        leaky=tau_mem is not None,
        feed="hold" if tau_syn is None else "impulse",
        gain=_gain(c, semantics, tau_mem, tau_syn, 1.0 if dt is None else dt),
    )


def _gain(c: Constants, semantics: Semantics, tau_mem: Any, tau_syn: Any, dt: float) -> Any:
    """G of the module's docstring, from the constants of the update."""
    euler = semantics.decay == "euler"
    if tau_syn is None:
        if tau_mem is None:
            return c.gain * c.jump / dt
        decayed = dt / tau_mem if euler else -np.expm1(-dt / tau_mem)
        return c.gain * c.jump / decayed
    if euler:
        return c.gain * c.jump / (dt if tau_mem is None else dt / tau_mem)
    return c.gain * c.jump / kappa(dt, tau_mem, tau_syn)


def refine(
    model: Model,
    params: Mapping[str, Any],
    semantics: Semantics,
    dt: float | None,
    factor: int,
) -> tuple[dict[str, Any], float | None]:
    """Parameters of the same differential equation at dt/factor, and that dt.

    Parameters
    ----------
    factor : int
        How many fine steps make one. A held input is repeated `factor` times; an impulse is
        given in the first fine step, followed by zeros (`Continuous.feed` says which it is).

    Returns
    -------
    params : dict
        float64. Time constants in steps become longer, decay factors per step closer to 1, and
        `r` is such that :math:`G` of equations (1) and (2) stays what it was.
    dt : float or None

    Raises
    ------
    ValueError
        If `factor` is not a positive integer.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | np.integer) or factor < 1:
        raise ValueError(f"factor must be an integer of at least 1, got {factor!r}")
    step = 1.0 if dt is None else float(dt)
    coarse = {name: _wide(v) for name, v in model.resolve(params).items() if v is not None}
    fine = {
        name: _stretched(value, model.time.get(name, ""), semantics.decay, int(factor))
        for name, value in coarse.items()
    }
    target = continuous(model, coarse, semantics, step).gain
    fine["r"] = fine["r"] * target / continuous(model, fine, semantics, step / factor).gain
    return fine, None if dt is None else step / factor


def _stretched(value: Any, kind: str, decay: str, factor: int) -> Any:
    if kind == "steps":
        return value * factor
    if kind not in ("raw", "factor"):  # not a time constant, or one in the unit of dt
        return value
    if kind == "raw" and decay == "exp":  # meant as 1 - dt/tau; see `model.factor_of_raw`
        return 1.0 - (1.0 - value) / factor
    return value ** (1.0 / factor)


def _wide(value: Any) -> Any:
    return None if value is None else np.asarray(value, np.float64)
