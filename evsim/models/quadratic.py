r"""Quadratic integrate-and-fire neuron with delta synapses.

.. math::
    \tau \dot v = v^2 + I, \qquad I = bias + current,                           \tag{1}

an arrival makes `v` jump by its weight; a spike is when `v` reaches :math:`v_{th}`, by default
infinity. With :math:`x = s/\tau` and :math:`a = \sqrt{|I|}` the flow is a fraction,

.. math::
    v(s) = \frac{v_0 C + I S}{C - v_0 S}, \qquad
    C = \cos a x, \; S = \frac{\sin a x}{a} \quad (I > 0),                       \tag{2}

and with :math:`q = e^{-2 a x}` and :math:`g = a - v_0`, after division by :math:`e^{ax}`,

.. math::
    v(s) = \frac{v_0 q - a S g}{q + S g}, \qquad S = x \varphi(2 a x) \quad (I \le 0), \tag{3}

which next to the separatrix :math:`v_0 = a` has no other cancellation than that in `g`, and
there :math:`g = -(v_0^2 + I)/(v_0 + a)`. Where the denominator vanishes the voltage is
infinite. With :math:`n = v_{th} - v_0` the passage is at

.. math::
    \frac{s}{\tau} = \frac{1}{a} \arg\bigl(I + v_0 v_{th} + \mathrm{i}\, a n\bigr) \quad (I > 0),
    \qquad
    \frac{s}{\tau} = \frac{\ln(1 + 2 a r)}{2 a}, \;
    r = \frac{n}{(v_0 - a)(v_{th} + a)} \quad (I \le 0),                          \tag{4}

the latter iff :math:`v_0` and :math:`v_{th}` lie on one side of the resting points and `v`
rises there. A voltage that passes threshold crosses it: nothing grazes but a jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.angles import PI, angle, sin_cos
from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.base import Neuron, in_form
from evsim.models.crossing import DOUBT, EPS
from evsim.models.lif import GRAZE
from evsim.numerics import exp_phi, fma, log1p

SLACK = 2e-14  # 90 roundings: more than the flow can lose


@dataclass(frozen=True, kw_only=True)
class QIF(Neuron):
    """Quadratic integrate-and-fire neuron; equation (1).

    Parameters
    ----------
    tau : float or array_like, shape (n,)
        Time constant [s].
    v_th : float or array_like, shape (n,), optional
        Threshold; infinity, the default, is allowed. The voltage starts at 0.
    v_reset : float or array_like, shape (n,), optional
        Reset potential, finite.
    t_ref : float or array_like, shape (n,), optional
        Refractory period [s].
    bias : float or array_like, shape (n,), optional
        Constant input, in units of voltage squared; an external `Current` adds to it.
    refractory : {"clamp"}, optional
        The voltage stays where the reset put it for `t_ref`, and arrivals are lost. A voltage
        that went on might become infinite meanwhile.
    graze : {">=", ">"}, optional
        Whether a jump just onto threshold is a spike.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    tau: Any
    v_th: Any = math.inf
    v_reset: Any = -1.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    refractory: str = "clamp"
    graze: str = ">="

    positive: ClassVar = ("tau",)
    non_negative: ClassVar = ("t_ref",)
    choices: ClassVar = {"refractory": ("clamp",), "graze": GRAZE}

    def _number(self, name, value, label=None):
        if name != "v_th" or np.asarray(value).dtype.kind != "f":
            return super()._number(name, value, label)
        infinite = np.asarray(value) == np.inf
        number = super()._number(name, np.where(infinite, 0.0, value), label)
        return np.where(infinite, np.inf, number) if np.ndim(number) else float(value)

    def compile(self, n: int, arrays: bool) -> QIFKernel:
        """Kernel parameters, all scalar or all arrays of `n`."""
        root = np.sqrt(np.abs(self.bias))
        return in_form(
            QIFKernel,
            n,
            arrays,
            tau=self.tau,
            rate=1.0 / self.tau,
            level=self.bias,
            root=root if np.ndim(root) else float(root),
            level_0=self.bias,
            theta=self.v_th,
            v_reset=self.v_reset,
            t_ref=self.t_ref,
            strict=int(self.graze == ">"),
        )

    @property
    def no_hold(self) -> str:
        """Why `multi="hold"` is not for it, or an empty string."""
        finite = np.any(np.isfinite(self.v_th))
        return "held above a finite v_th, its voltage would run to infinity" if finite else ""

    def rest(self) -> float:
        """The level from which the kernels measure the voltage."""
        return 0.0


class QIFKernel(NamedTuple):
    """What the kernels see of a `QIF`."""

    tau: Any
    rate: Any
    level: Any  # bias and external current: I
    root: Any  # sqrt(|I|)
    level_0: Any  # bias
    theta: Any
    v_reset: Any
    t_ref: Any
    strict: int


QIFKernel.INTERVAL = ("rate", "level", "root")  # type: ignore[attr-defined]


@verbs.interval.implement(QIFKernel)
def interval(p, d):
    # (C or q, S, x); from a x = pi on the answer is a spike, whatever the state.
    x = d * p.rate
    if p.level > 0.0:
        z = p.root * x
        s, c = sin_cos(z if z < PI else PI)
        return c, s / p.root, x
    q, phi = exp_phi(2.0 * p.root * x)
    return q, x * phi, x


@inline_kernel
def below(p, v):
    """g = a - v of (3), in full precision; -v for I > 0."""
    a = p.root if p.level <= 0.0 else 0.0
    return -fma(v, v, p.level) / (v + a) if abs(v - a) < 0.5 * a else a - v


@verbs.step.implement(QIFKernel)
def step(p, c, x):
    # The voltage is monotone: it has reached theta iff it is there at the end, or has passed
    # infinity, where the denominator changes its sign. `wide` bounds the terms of the latter.
    v = x[0]
    g = below(p, v)
    across = p.level * c[1] if p.level > 0.0 else -(p.root * c[1]) * g
    over, under = v * c[0] + across, c[0] + c[1] * g
    wide = 1.0 + abs(v) * c[2]
    passed = over + SLACK * (abs(v) + p.root) >= p.theta * under - SLACK * abs(p.theta) * wide
    may = (under <= SLACK * wide) | passed | (v >= p.theta)
    return ((over / under if under != 0.0 else v),), may  # on the separatrix it stays


@verbs.receive.implement(QIFKernel)
def receive(p, x, port, weight):
    return (x[0] + weight,)


@kernel
def rise_time(p, v, speed):
    """s/tau of (4) from v <= theta with v**2 + I = `speed`, or inf."""
    a, theta = p.root, p.theta
    if p.level > 0.0:
        if theta == math.inf:
            return angle(a, v) / a
        return angle(a * (theta - v), fma(v, theta, p.level)) / a
    if not speed > 0.0:
        return math.inf
    if v > 0.0:
        r = -1.0 / below(p, v)
        if theta < math.inf:
            r *= (theta - v) / (theta + a)
    else:
        if not (theta < 0.0 and fma(theta, theta, p.level) > 0.0):
            return math.inf
        r = (v - theta) / (a - v) / below(p, -theta)
    y = 2.0 * a * r
    return r * (log1p(y) / y) if y > 0.0 else r


@verbs.next_spike.implement(QIFKernel)
def next_spike(p, x, y):
    v, theta = x[0], p.theta
    speed, peak = fma(v, v, p.level), math.inf
    # Next to the separatrix, or jumped to threshold, within roundings of what arrived.
    if (v > 0.0 and abs(speed) <= DOUBT * EPS * (v * v)) or (
        theta < math.inf and abs(v - theta) <= DOUBT * EPS * abs(theta)
    ):
        peak = 0.0
    if v > theta or (v == theta and not p.strict):
        return 0.0, 0.0, peak
    s = p.tau * rise_time(p, v, speed)
    if s == math.inf:
        return s, 0.0, peak
    return s, DOUBT * EPS * (s + p.tau * (abs(v) / speed if speed > 0.0 else 0.0)), peak


@verbs.next_rise.implement(QIFKernel)
def next_rise(p, x):
    return math.inf, 0.0, math.inf  # `no_hold`: it would run to infinity


@verbs.earliest.implement(QIFKernel)
def earliest(p, x):
    # Up to some level on its way it is no faster than at the faster of both ends.
    v, a = x[0], p.root
    if v >= p.theta:
        return 0.0
    drive = p.level if p.level > 0.0 else 0.0
    if drive == 0.0 and v <= a * (1.0 - SLACK) and (p.theta >= -a):
        return math.inf
    goal = 2.0 * (abs(v) if abs(v) > a else a)
    goal = goal if goal < p.theta else p.theta
    top = abs(goal) if abs(goal) > abs(v) else abs(v)
    speed = top * top + drive
    return p.tau * ((goal - v) / speed) * (1.0 - SLACK) if speed > 0.0 else math.inf


@verbs.silent.implement(QIFKernel)
def silent(p, x, y):
    return False


@verbs.fire.implement(QIFKernel)
def fire(p, x, s):
    return (p.v_reset,)


@verbs.clamp.implement(QIFKernel)
def clamp(p, c, x):
    return (x[0],)


@verbs.receive_clamped.implement(QIFKernel)
def receive_clamped(p, x, port, weight):
    return (x[0],)


@verbs.redrive.implement(QIFKernel)
def redrive(p, n, x, busy, old, new):
    p.level[n] = p.level_0[n] + new
    p.root[n] = math.sqrt(abs(p.level[n]))
    return (x[0],)


@verbs.pulse.implement(QIFKernel)
def pulse(p, n, x, busy, old, new):
    return verbs.redrive(p, n, x, busy, old, new)


@verbs.voltage.implement(QIFKernel)
def voltage(p, x, drive):
    return x[0]


QIFKernel.FLOW = ("tau", "bias")  # type: ignore[attr-defined]
QIFKernel.RESET = ("u_reset",)  # type: ignore[attr-defined]
#: (-1)**k/(2k + 3)!, of the integral of S**2 at small a x.
T = tuple((-1.0) ** k / math.factorial(2 * k + 3) for k in range(12))


@inline_kernel
def squared(p, v, d):
    r"""(1/D**2, J) with the denominator `D` of (2) over an interval `d` from the voltage `v`.

    :math:`\partial v/\partial v_0 = 1/D^2` and :math:`\partial v/\partial I = J/D^2`, with
    :math:`J = \int_0^x (C - v_0 S)^2 ds`.
    """
    x, a = d * p.rate, p.root
    z = 4.0 * p.level * x * x
    if p.level > 0.0:
        s, c = sin_cos(a * x)
        s, under, q = s / a, c - v * s / a, 1.0
    else:
        q, phi = exp_phi(2.0 * a * x)
        s = x * phi
        under = q + s * below(p, v)
        c = 0.5 * (1.0 + q)
    # c and s are those of (2), for I <= 0 times the root of q.
    if abs(z) < 1.0:
        t = T[11]
        for k in (T[10], T[9], T[8], T[7], T[6], T[5], T[4], T[3], T[2], T[1], T[0]):
            t = fma(t, z, k)
        t = 2.0 * x * x * x * t
        whole = (x + (v * v - p.level) * t) * q - v * s * s
        whole = whole / q
    elif p.level > 0.0:
        whole = x + (v * v - p.level) * ((x - c * s) / (2.0 * p.level)) - v * s * s
    else:
        grown, shrunk = 0.5 * (1.0 - v / a), 0.5 * (1.0 + v / a)
        whole = (grown * grown + shrunk * shrunk * q) * s / q + 2.0 * grown * shrunk * x
    return q / (under * under), whole


@adjoint.pull.implement(QIFKernel)
def pull(p, d, x, lam):
    v = x[0]
    by_v, whole = squared(p, v, d)
    y = verbs.step(p, verbs.interval(p, d), x)[0][0]
    tau = -lam[0] * (d * p.rate * p.rate) * fma(y, y, p.level)
    return (lam[0] * by_v,), (tau, lam[0] * by_v * whole)


@adjoint.pull_held.implement(QIFKernel)
def pull_held(p, d, x, lam):
    return lam, (0.0, 0.0)


@adjoint.drift.implement(QIFKernel)
def drift(p, x):
    return (fma(x[0], x[0], p.level) * p.rate,)


@adjoint.held.implement(QIFKernel)
def held(p, x):
    return (0.0,)


@adjoint.lag.implement(QIFKernel)
def lag(p, y, j):
    return (-j[0] * (2.0 * y[0] - j[0]) * p.rate,)


@adjoint.lag_held.implement(QIFKernel)
def lag_held(p, y, j):
    return (0.0,)


@adjoint.height.implement(QIFKernel)
def height(p, x):
    return x[0] - p.theta


@adjoint.normal.implement(QIFKernel)
def normal(p, x, value):
    return (value,)


@adjoint.pull_reset.implement(QIFKernel)
def pull_reset(p, x, lam, at_once):
    return (0.0,), (lam[0],)


@adjoint.pull_spike.implement(QIFKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    # The time of the passage s obeys ds/dv0 = -tau/(v0**2 + I), wherever the threshold is.
    after = adjoint.held(p, z) if p.t_ref > 0.0 else adjoint.drift(p, z)
    delta = total - lam[0] * after[0]
    if at_once:
        return (0.0,), (0.0, 0.0), (lam[0],), 0.0, 0.0, delta
    v, theta = x[0], p.theta
    reach = -delta * p.tau / fma(v, v, p.level)
    whole = squared(p, v, d)[1]
    speed = fma(theta, theta, p.level) * p.rate if theta < math.inf else math.inf
    return (reach,), (delta * d * p.rate, reach * whole), (lam[0],), delta / speed, speed, 0.0


@adjoint.peak.implement(QIFKernel)
def peak(p, x, d, best):
    v, y = x[0], verbs.step(p, verbs.interval(p, d), x)[0][0]
    if fma(v, v, p.level) > 0.0 and not y >= v:  # it has been at infinity
        return math.inf
    return best if p.theta == math.inf else max(best, max(v, y) - p.theta)


@adjoint.crest.implement(QIFKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
