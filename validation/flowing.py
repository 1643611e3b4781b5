r"""The update of simulators that flow exactly from step to step, as twins.

With a current :math:`x` held over a step,

.. math::
    v' = a v + r (1 - a) x + (1 - a) v_{leak}, \qquad a = e^{-dt/\tau},         \tag{1}

or :math:`v' = v + r\,dt\,x` without a leak. With a synapse, what arrives is a jump of the current
before the step, and :math:`\kappa` is that of `validation.continuous`:

.. math::
    i^+ = i + w_{in} x, \quad v' = a v + r \kappa(dt) i^+ + (1 - a) v_{leak}, \quad
    i' = e^{-dt/\tau_s} i^+ .                                               \tag{2}

The switch `decay="euler"` puts :math:`1 - dt/\tau` for the exponentials and
:math:`dt/\tau` for the factors of :math:`x` and :math:`i^+`; `decay="raw"` flows exactly in one
variable at a time, with :math:`i^+` held over the step: (1) instead of (2). Parameters have the
names of NIR's fields, times are in the unit of dt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from validation.continuous import kappa
from validation.model import (
    Array,
    Constants,
    Model,
    Semantics,
    factor_of_input,
    factor_of_tau,
    node_values,
)

#: Switches of integration methods.
METHODS = {
    "exact": {"decay": "exp", "input_gain": "1-decay"},
    "exponential_euler": {"decay": "raw", "input_gain": "1-decay"},
    "euler": {"decay": "euler", "input_gain": "dt/tau"},
}
#: NIR's reset, exact flow, the membrane at the end of a step.
EXACT = Semantics(compare=">", reset="value", decay="exp", input_gain="1-decay")
EULER = EXACT.updated(METHODS["euler"])


def integrator(name: str, semantics: Semantics = EXACT, **other: Any) -> Model:
    """No leak; `other` replaces fields of the `Model`."""
    return _model(name, (), semantics, _hold, **other)


def leaky(name: str, semantics: Semantics = EXACT, **other: Any) -> Model:
    """Equation (1)."""
    return _model(name, ("tau",), semantics, _hold, **other)


def synaptic(name: str, semantics: Semantics = EXACT, **other: Any) -> Model:
    """Equation (2)."""
    return _model(name, ("tau_mem", "tau_syn"), semantics, _jump, **other)


def _model(name: str, times: tuple[str, ...], semantics: Semantics, charge: Any, **other: Any):
    kinds = {0: "IF", 1: "LIF", 2: "CubaLIF"}

    def nir(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
        params = node_values(name, node, [kinds[len(times)]], "v_threshold")
        params |= {time: getattr(node, time) for time in times}
        if len(times) == 2:  # a spike held for one step makes I jump by w_in dt/tau_syn
            params["w_in"] = node.w_in * dt / np.asarray(node.tau_syn, np.float64)
        return params, {"decay": semantics.decay, "input_gain": semantics.input_gain}

    fields: dict[str, Any] = {
        "name": name,
        "required": times,
        "defaults": {"v_threshold": 1.0},
        "semantics": semantics,
        "scalar_dtype": np.float64,
        "threshold": "v_threshold",
        "time": dict.fromkeys(times, "time"),
        "constants": _constants,
        "charge": charge,
        "taus": _taus,
        "initial": lambda p, s: p["v_leak"],
        "nir": nir,
    }
    return Model(**fields | other)


def _constants(p: dict[str, Any], s: Semantics, dt: float | None, dtype: Any) -> Constants:
    with np.errstate(all="ignore"):  # what is not finite is refused by who asked for it
        return _grouped(p, s, dt)


def _grouped(p: dict[str, Any], s: Semantics, dt: float | None) -> Constants:
    if dt is None or not dt > 0.0:
        raise ValueError(f"an exact flow needs dt, in the unit of its time constants; got {dt!r}")
    tau, tau_syn = _taus(p, s, dt)
    if tau is None:
        gain = p["r"] if s.input_gain == "1" else p["r"] * dt
        one = np.ones_like(gain)
        own = {"retain": one, "gain": gain, "w_in": p["w_in"], "drift": None}
        return Constants(retain=one, gain=gain, jump=p["w_in"], v_leak=p["v_leak"], own=own)
    rate = np.asarray(dt / tau, np.asarray(tau).dtype)
    retain = factor_of_tau(s.decay, rate)
    left = 1 - retain if s.decay == "euler" else -np.expm1(-rate)
    factor, spread = _factor(s, retain, left, rate, dt, tau, tau_syn)
    leaks = bool(np.any(p["v_leak"]))
    own = {
        "retain": retain,
        "gain": factor * p["r"],
        "w_in": p["w_in"],
        "drift": left * p["v_leak"] if leaks else None,
    }
    syn, exponent = None, float(np.max(rate))
    if tau_syn is not None:
        rate_syn = np.asarray(dt / tau_syn, rate.dtype)
        syn = own["alpha"] = factor_of_tau(s.decay, rate_syn)
        exponent = max(exponent, float(np.max(rate_syn)))
    return Constants(
        retain=retain,
        gain=own["gain"],
        jump=p["w_in"],
        v_leak=p["v_leak"],
        retain_syn=syn,
        decays_after=True,
        spread_v=1 + np.abs(left),
        spread_i=np.abs(p["r"]) * spread,
        exponent=exponent,
        own=own,
    )


def _factor(s: Semantics, retain: Array, left: Array, rate: Array, dt: float, tau, tau_syn) -> Any:
    """Factor of what enters the membrane, and the sum of the magnitudes that make it."""
    if s.input_gain != "1-decay":
        factor = factor_of_input(s.input_gain, retain, rate / dt, rate)
        return factor, np.abs(factor)
    if tau_syn is None or s.decay != "exp":
        return left, 1 + np.abs(retain)
    # Others take the difference of two exponentials, which cancels where they are close.
    slow, fast = np.maximum(tau, tau_syn), np.minimum(tau, tau_syn)
    apart = np.maximum(slow - fast, np.finfo(float).eps * slow)
    return kappa(dt, tau, tau_syn), tau_syn / apart * (np.exp(-dt / slow) + np.exp(-dt / fast))


def _hold(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    v = c["retain"] * v + c["gain"] * (c["w_in"] * x)
    return (v if c["drift"] is None else v + c["drift"]), i


def _jump(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    i = i + c["w_in"] * x
    v = c["retain"] * v + c["gain"] * i
    return (v if c["drift"] is None else v + c["drift"]), c["alpha"] * i


def _taus(p: dict[str, Any], s: Semantics, dt: float | None) -> tuple[Any, Any]:
    return p.get("tau", p.get("tau_mem")), p.get("tau_syn")
