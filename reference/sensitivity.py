r"""Spike times of a network whose event structure is known, and their forward sensitivities.

The voltage of a leaky neuron is written down whole, as a sum over what has reached it since it
was last set to :math:`V_b` at time `b` (its start, its release, or its reset where
refractoriness does not clamp):

.. math::
    V(t) = E + (V_b - E)\, e^{-(t - b)/\tau_m} + \sum_s J_s(b)\, \kappa_s(t - b)
         + \sum_{t_a > b} w_a\, \kappa_{s(a)}(t - t_a), \qquad E = v_{leak} + bias,     \tag{1}

    J_s(b) = i_{s,0}\, e^{-b/\tau_s} + \sum_{t_a \le b} w_a\, e^{-(b - t_a)/\tau_s}, \qquad
    \kappa_s(r) = \frac{\tau_s}{\tau_m - \tau_s} \bigl(e^{-r/\tau_m} - e^{-r/\tau_s}\bigr),  \tag{2}

with an arrival :math:`t_a` = spike + delay. Spikes are solved one after another by Newton's
method on (1), from times that are nearly right: in doubles, in 50 digits, or in numbers that
carry their derivatives by all parameters. At a crossing the latter obey

.. math::
    dt = \frac{d\vartheta - dV|_t}{\dot V(t)}.                                        \tag{3}

Nothing flows from event to event, and nothing goes backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, ctx


@dataclass(frozen=True)
class Wiring:
    """A network of leaky neurons and the order of its events.

    Attributes
    ----------
    n : int
        Neurons.
    pre, post, port : list of int
        By synapse; sources from `n` on are units of the input.
    units : list of int
        By given input spike, its unit.
    spikes : list of (neuron, time, kind)
        In ascending order of time, times good to many digits. Kind: "crossing", "release" (it
        fires at the end of its refractory period) or "start" (above threshold at time 0).
    subtract : bool
        Reset of a spike that is no crossing: by `v_th - v_reset`, not to `v_reset`.
    refractory : str
        "clamp", "hold_fire" or "block_input".
    """

    n: int
    pre: list[int]
    post: list[int]
    port: list[int]
    units: list[int]
    spikes: list[tuple[int, float, str]]
    subtract: bool
    refractory: str


class Dual:
    """A number and its derivatives by every parameter."""

    __slots__ = ("d", "x")
    __array_ufunc__ = None

    def __init__(self, x: float, d: np.ndarray | float = 0.0) -> None:
        self.x, self.d = x, d

    def __add__(self, other):
        other = as_dual(other)
        return Dual(self.x + other.x, self.d + other.d)

    def __mul__(self, other):
        other = as_dual(other)
        return Dual(self.x * other.x, self.d * other.x + self.x * other.d)

    def __truediv__(self, other):
        other = as_dual(other)
        return Dual(self.x / other.x, (self.d - other.d * (self.x / other.x)) / other.x)

    def __neg__(self):
        return Dual(-self.x, -self.d)

    def __sub__(self, other):
        return self + (-as_dual(other))

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def exp(self) -> Dual:
        """The exponential."""
        e = math.exp(self.x)
        return Dual(e, self.d * e)


def as_dual(value) -> Dual:
    """A number without derivatives, as one with."""
    return value if isinstance(value, Dual) else Dual(float(value))


@dataclass(frozen=True)
class Arithmetic:
    """How to calculate: the exponential, the value to compare by, and a crossing."""

    exp: Callable[[Any], Any]
    value: Callable[[Any], Any]
    rounds: int  # of Newton's method
    point: Callable[[Any], Any] = lambda x: x  # the number itself, without the ball around it


FLOATS = Arithmetic(math.exp, float, 3)
#: Of as many bits as `flint.ctx.prec`.
DIGITS = Arithmetic(arb.exp, arb.mid, 6, arb.mid)
DUALS = Arithmetic(Dual.exp, lambda x: x.x, 0)


class Membrane:
    """One neuron: when and to what it was last set, and what has reached it."""

    def __init__(self, how: Arithmetic, tau_mem, taus, level, v, currents) -> None:
        self.how, self.tau_mem, self.taus, self.level = how, tau_mem, taus, level
        self.b, self.v, self.first = None, v, currents
        self.arrivals: list[tuple[Any, Any, int]] = []  # time, weight, port

    def current(self, port, t):
        """J of (2), with everything up to `t`."""
        exp, tau = self.how.exp, self.taus[port]
        total = self.first[port] * exp(-t / tau)
        for at, weight, its in self.arrivals:
            if its == port and self.how.value(at) <= self.how.value(t):
                total = total + weight * exp((at - t) / tau)
        return total

    def response(self, port, r):
        """kappa of (2)."""
        tau = self.taus[port]
        fall = self.how.exp(-r / self.tau_mem) - self.how.exp(-r / tau)
        return tau / (self.tau_mem - tau) * fall

    def voltage(self, t):
        """V of (1)."""
        since = t if self.b is None else t - self.b
        total = self.level + (self.v - self.level) * self.how.exp(-since / self.tau_mem)
        for port in range(len(self.taus)):
            at_start = self.first[port] if self.b is None else self.current(port, self.b)
            total = total + at_start * self.response(port, since)
        for at, weight, port in self.arrivals:
            late = self.b is None or self.how.value(at) > self.how.value(self.b)
            if late and self.how.value(at) <= self.how.value(t):
                total = total + weight * self.response(port, t - at)
        return total

    def slope(self, t):
        """The derivative of the voltage by time."""
        push = self.level - self.voltage(t)
        for port in range(len(self.taus)):
            push = push + self.current(port, t)
        return push / self.tau_mem


def spike_times(wiring: Wiring, p: dict[str, Any], how: Arithmetic = FLOATS) -> list[Any]:
    """Times of all spikes of `wiring.spikes`, solved anew for the parameters `p`.

    Parameters
    ----------
    wiring : Wiring
    p : dict
        `tau_mem, v_th, v_leak, v_reset, bias, t_ref, v` by neuron, `tau_syn, i` by port and
        neuron, `w, d` by synapse, `times` by input spike; numbers that `how` can calculate with.
    how : Arithmetic
        `DIGITS` under `flint.ctx.workprec`.

    Returns
    -------
    list
        Of such numbers.
    """
    ports = range(len(p["tau_syn"]))
    cells = [
        Membrane(
            how, p["tau_mem"][n], [p["tau_syn"][s][n] for s in ports],
            p["v_leak"][n] + p["bias"][n], p["v"][n], [p["i"][s][n] for s in ports],
        )
        for n in range(wiring.n)
    ]  # fmt: skip
    last: list[Any] = [None] * wiring.n
    events = [(how.value(p["times"][k]), wiring.n + unit, p["times"][k])
              for k, unit in enumerate(wiring.units)]  # fmt: skip
    waiting = _sent(wiring, p, how, events)
    found = []
    for n, near, kind in wiring.spikes:
        _receive(wiring, p, how, cells[n], n, waiting, near, last[n])
        t = _solve(cells[n], p["v_th"][n], near, kind, last[n], p["t_ref"][n])
        found.append(t)
        _fire(wiring, p, cells[n], n, t, kind)
        last[n] = t
        for source, arrivals in _sent(wiring, p, how, [(how.value(t), n, t)]).items():
            waiting.setdefault(source, []).extend(arrivals)
    return found


def _sent(wiring, p, how, events):
    """Arrivals by target that these spikes cause: (time, weight, port)."""
    out: dict[int, list] = {}
    for _, source, t in events:
        for s, pre in enumerate(wiring.pre):
            if pre == source:
                at = t + p["d"][s]
                out.setdefault(wiring.post[s], []).append((at, p["w"][s], wiring.port[s]))
    return out


def _receive(wiring, p, how, cell, n, waiting, until, last):
    """Everything that reaches a neuron before `until`."""
    late = []
    for arrival in waiting.get(n, []):
        at = how.value(arrival[0])
        if at >= until:
            late.append(arrival)
            continue
        free = None if last is None else how.value(last + p["t_ref"][n])
        blocked = wiring.refractory == "block_input" and free is not None and at < free
        if not blocked:
            cell.arrivals.append(arrival)
    waiting[n] = late


def _solve(cell, v_th, near, kind, last, t_ref):
    """The time of one spike."""
    if kind == "start":
        return 0 * v_th
    if kind == "release":
        return last + t_ref
    how = cell.how
    if how is DUALS:
        t = Dual(float(near))
        gap, slope = v_th - cell.voltage(t), cell.slope(t)
        return Dual(float(near), gap.d / slope.x)
    t = 0 * v_th + near
    for _ in range(how.rounds):
        t = how.point(t + (v_th - cell.voltage(t)) / cell.slope(t))
    return t


def _fire(wiring, p, cell, n, t, kind):
    """Reset, and the time from which the voltage goes on."""
    value = p["v_reset"][n]
    if wiring.subtract and kind != "crossing":
        value = cell.voltage(t) - (p["v_th"][n] - p["v_reset"][n])
    # What has come meanwhile counts as there at `b`, whether it is known by now or not.
    cell.v = value
    cell.b = t + p["t_ref"][n] if wiring.refractory == "clamp" else t


def flat(p: dict[str, Any]) -> tuple[list[tuple[str, tuple[int, ...]]], list[float]]:
    """Names and values of all parameters, in one order."""
    names: list[tuple[str, tuple[int, ...]]] = []
    values: list[float] = []
    for key, numbers in p.items():
        for index in np.ndindex(np.shape(numbers)):
            names.append((key, index))
            values.append(float(np.asarray(numbers)[index]))
    return names, values


def unflat(p: dict[str, Any], values) -> dict[str, Any]:
    """The parameters `p` with other values, as nested lists."""
    waiting = iter(values)

    def fill(shape):
        if not shape:
            return next(waiting)
        return [fill(shape[1:]) for _ in range(shape[0])]

    return {key: fill(np.shape(numbers)) for key, numbers in p.items()}


def sensitivities(wiring: Wiring, p: dict[str, Any]) -> np.ndarray:
    """Derivatives of all spike times by all parameters, in the order of `flat`; by (3)."""
    _, values = flat(p)
    unit = np.eye(len(values))
    duals = [Dual(value, unit[k]) for k, value in enumerate(values)]
    times = spike_times(wiring, unflat(p, duals), DUALS)
    return np.array([np.broadcast_to(t.d, (len(values),)) for t in times])


def moved_times(wiring: Wiring, p: dict[str, Any], direction, step: float, digits: int = 50):
    """(times(p + h v) - times(p - h v))/(2 h) for every spike, in `digits` digits."""
    _, values = flat(p)
    with ctx.workprec(math.ceil(digits * math.log2(10))):
        h = arb(step)
        ahead, behind = (
            spike_times(
                wiring,
                unflat(p, [arb(a) + sign * h * arb(b)
                           for a, b in zip(values, direction, strict=True)]),
                DIGITS,
            )
            for sign in (1, -1)
        )  # fmt: skip
        return np.array([float((a - b) / (2 * h)) for a, b in zip(ahead, behind, strict=True)])
