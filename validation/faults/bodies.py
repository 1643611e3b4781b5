"""One step of four neurons, restated, with a defect: the same lines for arrays and for tensors.

Each body is the update that its framework documents; `defect` names what is done instead. A name
that a body does not know changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Defects of an update. The last three are no switch that anybody looks for.
OF_UPDATES = (
    "reset_kind",
    "reset_timing",
    "compare",
    "decay",
    "input_gain",
    "refractory",
    "saturation",
    "noise",
)


@dataclass
class Maths:
    """The few functions that arrays and tensors call differently."""

    exp: Callable[[Any], Any]
    floor: Callable[[Any], Any]
    minimum: Callable[[Any, Any], Any]
    number: Callable[[Any], Any]  #: of truth values
    normal: Callable[[Any], Any]  #: standard normal numbers of the same shape
    stored: Callable[[Any], Any] = lambda v: v  #: a membrane as it is kept and compared


@dataclass
class State:
    """What is carried from step to step; `last` holds the spikes of the step before."""

    v: Any
    last: Any


#: `(p, state, x, defect, maths) -> exposed membrane, spikes`; the state is changed in place.
Body = Callable[[dict[str, Any], State, Any, str, Maths], tuple[Any, Any]]


def _disturbed(v: Any, threshold: Any, defect: str, m: Maths) -> Any:
    """A membrane as it is stored, which may saturate or be noisy."""
    v = m.stored(v)
    if defect == "saturation":
        return m.minimum(v, 1.05 * threshold)
    return v + 0.05 * threshold * m.normal(v) if defect == "noise" else v


def _silenced(s: Any, last: Any, defect: str) -> Any:
    """No spike right after a spike."""
    return s * (1 - m_one(last)) if defect == "refractory" else s


def m_one(n: Any) -> Any:
    """1 where there was any spike."""
    return 1.0 * (n > 0)


def leaky(p: dict, state: State, x: Any, defect: str, m: Maths) -> tuple[Any, Any]:
    """snntorch.Leaky: the reset of a spike comes one step after it."""
    beta, th, last = p["beta"], p["threshold"], state.last
    decay = m.exp(beta - 1) if defect == "decay" else beta
    x = (1 - beta) * x if defect == "input_gain" else x
    if defect == "reset_kind":
        v = decay * state.v * (1 - last) + x
    elif defect == "reset_timing":
        v = decay * state.v + x
    else:
        v = decay * state.v + x - last * th
    v = _disturbed(v, th, defect, m)
    s = m.number(v >= th) if defect == "compare" else m.number(v > th)
    s = _silenced(s, last, defect)
    if defect == "reset_timing":
        v = v - s * th
    state.v, state.last = v, s
    return v, s


def lif_node(p: dict, state: State, x: Any, defect: str, m: Maths) -> tuple[Any, Any]:
    """spikingjelly.LIFNode: Euler, `>=`, hard reset at once."""
    tau, th, r = p["tau"], p["v_threshold"], p["v_reset"]
    v = state.last * r + (1 - state.last) * state.v if defect == "reset_timing" else state.v
    if defect == "decay":
        v = r + (v - r) * m.exp(-1 / tau) + x / tau
    elif defect == "input_gain":
        v = v - (v - r) / tau + x
    else:
        v = v + (x - (v - r)) / tau
    v = _disturbed(v, th, defect, m)
    s = m.number(v > th) if defect == "compare" else m.number(v >= th)
    s = _silenced(s, state.last, defect)
    if defect == "reset_kind":
        v = v - s * th
    elif defect != "reset_timing":
        v = s * r + (1 - s) * v
    state.v, state.last = v, s
    return v, s


def box_cell(p: dict, state: State, x: Any, defect: str, m: Maths) -> tuple[Any, Any]:
    """norse.LIFBoxCell: Euler with a step in seconds, `>`, hard reset at once."""
    rate, th, leak, r = p["dt"] * p["tau_mem_inv"], p["v_th"], p["v_leak"], p["v_reset"]
    v = state.last * r + (1 - state.last) * state.v if defect == "reset_timing" else state.v
    if defect == "decay":
        v = leak + m.exp(-rate) * (v - leak) + rate * x
    elif defect == "input_gain":
        v = v + rate * (leak - v) + x
    else:
        v = v + rate * (x + leak - v)
    v = _disturbed(v, th, defect, m)
    s = m.number(v >= th) if defect == "compare" else m.number(v > th)
    s = _silenced(s, state.last, defect)
    if defect == "reset_kind":
        v = v - s * (th - r)
    elif defect != "reset_timing":
        v = (1 - s) * v + s * r
    state.v, state.last = v, s
    return v, s


def lif(p: dict, state: State, x: Any, defect: str, m: Maths) -> tuple[Any, Any]:
    """sinabs.LIF: exponential decay, scaled input, several spikes a step, soft reset at once."""
    alpha = 1 - 1 / p["tau_mem"] if defect == "decay" else m.exp(-1 / p["tau_mem"])
    v = alpha * state.v - _late(p, state, defect)
    v = v + (x if defect == "input_gain" else (1 - alpha) * x)
    return _fired(p, state, v, defect, m)


def _late(p: dict, state: State, defect: str) -> Any:
    """What a reset that waited takes off."""
    return state.last * p["spike_threshold"] if defect == "reset_timing" else 0.0


def _fired(p: dict, state: State, v: Any, defect: str, m: Maths) -> tuple[Any, Any]:
    """The spikes of sinabs' neurons, and their reset."""
    th = p["spike_threshold"]
    v = _disturbed(v, th, defect, m)
    n = m.floor(v / th) * m.number(v > 0)
    n = n - m.number(n * th == v) * m.number(n > 0) if defect == "compare" else n
    n = _silenced(n, state.last, defect)
    if defect == "reset_kind":
        v = v * (1 - m_one(n))
    elif defect != "reset_timing":
        v = v - n * th
    state.v, state.last = v, n
    return v, n


def iaf(p: dict, state: State, x: Any, defect: str, m: Maths) -> tuple[Any, Any]:
    """sinabs.IAF: `lif` without leak and gain."""
    return _fired(p, state, state.v - _late(p, state, defect) + x, defect, m)


BODIES: dict[str, Body] = {
    "snntorch.Leaky": leaky,
    "spikingjelly.LIFNode": lif_node,
    "norse.LIFBoxCell": box_cell,
    "sinabs.LIF": lif,
    "sinabs.IAF": iaf,
}
