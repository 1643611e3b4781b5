r"""Exact oracle of neurons whose voltage is a sum of several exponentials, in Arb balls.

.. math::
    \tau_m \dot u = \sum_k i_k - u, \quad \tau_k \dot i_k = -i_k + \tau_k a_k, \quad
    \tau_k \dot a_k = -a_k, \quad \tau_{th} \dot A = -A,                        \tag{1}

with `u` the voltage above v_leak + bias. An arrival adds its weight to :math:`i_k` of its type, or
to :math:`a_k` ("alpha"). The neuron fires where :math:`F = u - A - \vartheta` reaches 0 from
below; then `u` is reset and `A` jumps. Between events `F` is a sum of polynomials times
exponentials, by partial fractions over the exact rates; rates that are equal as numbers are
confluent.

The first zero is found by marching. From a time where F < 0, with M a bound on
:math:`|\ddot F|` from then on, F stays negative while

.. math::  F + \dot F w + M w^2/2 < 0,                                          \tag{2}

so that no step passes a zero. Where :math:`\dot F^2 > 8 M |F|` a zero is certain and simple;
where :math:`\ddot F` keeps its sign around a maximum, Newton's method finds that, and the sign
of F there decides. Bounds come from (1): currents decay, and `u` follows them.

Errors are propagated as in `reference.attainable`, with one row per state variable: the flow
is linear, a crossing moves by the error of `F` over its slope, what restarts at a time that is
uncertain is off by its slope times that, and a jump of `A` by its rate of decay times that.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq

from reference.attainable import EPS, FACTOR, gain
from reference.neuron import Decision, Run, Spike

Ball = Any
BITS = 400


@dataclass(frozen=True, kw_only=True)
class SumNeuron:
    """Parameters of one neuron; `tau_syn` has one time constant per synapse type."""

    tau_mem: float
    tau_syn: tuple[float, ...]
    alpha: bool = False
    tau_th: float = 1.0
    jump_th: float = 0.0
    v_th: float = 1.0
    v_leak: float = 0.0
    v_reset: float = 0.0
    t_ref: float = 0.0
    bias: float = 0.0
    reset: str = "value"


Terms = dict[Fraction, list[Ball]]


@dataclass
class Sum:
    """Polynomials times decaying exponentials, by rate."""

    terms: Terms

    def derivative(self) -> "Sum":
        """Term by term."""
        out: Terms = {}
        for rate, poly in self.terms.items():
            lower = [*[n * c for n, c in enumerate(poly)][1:], arb(0)]
            out[rate] = [d - _ball(rate) * c for c, d in zip(poly, lower, strict=True)]
        return Sum(out)

    def at(self, s: Ball) -> Ball:
        """Value at `s`."""
        total = arb(0)
        for rate, poly in self.terms.items():
            value = arb(0)
            for c in reversed(poly):
                value = value * s + c
            total += value * (-_ball(rate) * s).exp()
        return total


def _ball(x: Fraction) -> Ball:
    return arb(fmpq(x.numerator, x.denominator))


def _rate(tau: float) -> Fraction:
    return 1 / Fraction(tau)


def _add(terms: Terms, rate: Fraction, poly: list[Ball]) -> None:
    old = terms.setdefault(rate, [])
    old += [arb(0)] * (len(poly) - len(old))
    for n, c in enumerate(poly):
        old[n] = old[n] + c


def voltage(p: SumNeuron, x: list[Ball]) -> Sum:
    """The voltage `u` as a function of time, from a state (u, i_1, .., [a,] A)."""
    terms: Terms = {}
    mem, start = _rate(p.tau_mem), x[0]
    for k, tau in enumerate(p.tau_syn):
        rate, drive = _rate(tau), ([x[1], x[2]] if p.alpha else [x[1 + k]])
        poly = [arb(0)] * (len(drive) + 1)
        m = _ball(mem)
        for n in reversed(range(len(drive))):
            if rate == mem:  # resonance: Q' = m P
                poly[n + 1] = m * drive[n] / (n + 1)
            else:  # Q' + (m - l) Q = m P
                poly[n] = (m * drive[n] - (n + 1) * poly[n + 1]) / _ball(mem - rate)
        start = start - poly[0]
        _add(terms, rate, poly)
    _add(terms, mem, [start])
    return Sum(terms)


def distance(p: SumNeuron, x: list[Ball], theta: Ball) -> Sum:
    """`F` as a function of time."""
    terms = voltage(p, x).terms
    _add(terms, _rate(p.tau_th), [-x[-1]])
    _add(terms, Fraction(0), [-theta])
    return Sum(terms)


def flow(p: SumNeuron, x: list[Ball], s: Ball, clamped: bool) -> list[Ball]:
    """The state after `s`."""
    y = [x[0] if clamped else voltage(p, x).at(s)]
    if p.alpha:
        decay = (-s / arb(p.tau_syn[0])).exp()
        y += [(x[1] + x[2] * s) * decay, x[2] * decay]
    else:
        y += [x[1 + k] * (-s / arb(tau)).exp() for k, tau in enumerate(p.tau_syn)]
    return [*y, x[-1] * (-s / arb(p.tau_th)).exp()]


def bends(p: SumNeuron, y: list[float]) -> tuple[float, float]:
    """Bounds on the second and third derivative of `F` from a state on."""
    m, rates = 1.0 / p.tau_mem, [1.0 / tau for tau in p.tau_syn]
    if p.alpha:
        r, i, a = rates[0], abs(y[1]), abs(y[2])
        top = i + a / r
        once = r * top + a
        currents = top, once, r * once + r * a
    else:
        size = [abs(i) for i in y[1:-1]]
        powers = [[r**n * i for r, i in zip(rates, size, strict=True)] for n in range(3)]
        currents = sum(powers[0]), sum(powers[1]), sum(powers[2])
    slope = m * (abs(y[0]) + 2.0 * currents[0])
    bend = m * (currents[1] + slope)
    turn = m * (currents[2] + bend)
    th, fade = abs(y[-1]), 1.0 / p.tau_th
    return 1.001 * (bend + fade**2 * th), 1.001 * (turn + fade**3 * th)


@dataclass
class Passage:
    """First zero of `F`, or None; the largest F seen without one, and when."""

    time: Ball | None
    margin: float
    top: float


def first_passage(p: SumNeuron, x: list[Ball], theta: Ball, h: Ball) -> Passage:
    """The first zero of `F` in [0, h], by (2)."""
    f0 = distance(p, x, theta)
    f1 = f0.derivative()
    f2 = f1.derivative()
    if not f0.at(arb(0)) < 0:
        return Passage(arb(0), math.inf, 0.0)
    s, best = arb(0), (-math.inf, 0.0)
    while s < h:
        f, slope, bend = (float(g.at(s)) for g in (f0, f1, f2))
        best = max(best, (f, float(s)))
        m2, m3 = bends(p, [float(v) for v in flow(p, x, s, False)])
        if slope > 0.0 and slope * slope > 8.0 * m2 * -f:
            return _crossed(f0, f1, f2, s, h, best)
        if slope > 0.0 and bend < 0.0 and 4.0 * slope * m3 < 0.25 * bend * bend:
            top = newton(f1, f2, s + arb(slope / -bend))
            if top < h or f0.at(h) >= 0:
                value = f0.at(top) if top < h else f0.at(h)
                best = max(best, (float(value), float(top)))
                if value >= 0:
                    return _crossed(f0, f1, f2, s, h, best)
            s = s + arb(4.0 * slope / -bend)
            continue
        root = math.sqrt(slope * slope + 2.0 * m2 * -f)
        if slope > 0.0:
            step = 2.0 * -f / (slope + root)
        else:
            step = (root - slope) / m2 if m2 > 0.0 else math.inf
        s = s + arb(min(0.99 * step, 1.1 * float(h)))
    best = max(best, (float(f0.at(h)), float(h)))
    return Passage(None, *best)


def _crossed(f0: Sum, f1: Sum, f2: Sum, s: Ball, h: Ball, best) -> Passage:
    """A zero is certain to come, and `F` rises up to it: its time, if within `h`."""
    time = newton(f0, f1, s)
    if time > h:
        return Passage(None, *max(best, (float(f0.at(h)), float(h))))
    slope, bend = float(f1.at(time)), float(f2.at(time))
    rise = slope * slope / (-2.0 * bend) if bend < 0.0 else math.inf
    return Passage(time, min(rise, max(slope * float(h - time), 0.0)), float(time))


def newton(f: Sum, g: Sum, s: Ball) -> Ball:
    """A zero of `f` with derivative `g`, from where its steps converge; 60 digits and more."""
    for _ in range(500):
        step = (f.at(s) / g.at(s)).mid()
        s = (s - step).mid()
        if abs(step) < arb(2) ** -250:
            return s
    raise ArithmeticError("Newton's method has not converged")


@dataclass
class Noise:
    """First-order errors: a row per state variable and one of time, a column per rounding."""

    rows: int
    table: np.ndarray = field(init=False)

    def __post_init__(self):
        self.table = np.zeros((self.rows + 1, 0))

    def fresh(self, row: int, size: float) -> None:
        """A new rounding of `size` units of eps."""
        column = np.zeros(self.rows + 1)
        column[row] = size
        self.table = np.column_stack((self.table, column))

    def flow(self, p: SumNeuron, x: np.ndarray, s: float, clamped: bool) -> None:
        """Through a flow over `s`, and what that rounds."""
        jacobian, size = responses(p, s, clamped)
        self.table[:-1] = jacobian @ self.table[:-1]
        for row in range(self.rows):
            if row or not clamped:
                self.fresh(row, float(np.abs(size[row] * x).sum()))


def responses(p: SumNeuron, s: float, clamped: bool) -> tuple[np.ndarray, np.ndarray]:
    """Jacobian of the flow, and its entries with the roundings of each: one of the value, one of
    the argument of the slowest exponential in it."""
    n = 4 if p.alpha else 2 + len(p.tau_syn)
    taus = [p.tau_mem, *(p.tau_syn * 2 if p.alpha else p.tau_syn), p.tau_th]
    jacobian, size = np.zeros((n, n)), np.zeros((n, n))
    for k in range(n):
        unit = [arb(int(j == k)) for j in range(n)]
        jacobian[:, k] = [float(v) for v in flow(p, unit, arb(s), clamped)]
        for row in range(n):
            size[row, k] = abs(jacobian[row, k]) * (1.0 + s / max(taus[row], taus[k]))
    return jacobian, size


def simulate(p: SumNeuron, arrivals: list[tuple[float, float, int]], until: float) -> Run:
    """Every spike of a neuron on [0, until].

    Parameters
    ----------
    p : SumNeuron
    arrivals : list of (time, weight, type)
    until : float

    Returns
    -------
    run : Run
        Without ties: a sign that 400 bits leave open reads as not negative.
    """
    with ctx.workprec(BITS):
        return _Walk(p, until).run(sorted(arrivals, key=lambda a: a[0]))


class _Walk:
    """One pass over the events."""

    def __init__(self, p: SumNeuron, until: float) -> None:
        self.p, self.until = p, arb(until)
        rest = arb(p.v_leak) + p.bias
        self.theta, self.reset = arb(p.v_th) - rest, arb(p.v_reset) - rest
        self.x = [arb(p.v_leak) - rest] + [arb(0)] * (2 if p.alpha else len(p.tau_syn)) + [arb(0)]
        self.t: Ball = arb(0)
        self.release: Ball | None = None
        self.noise, self.result = Noise(len(self.x)), Run(bits=BITS)
        self.noise.fresh(0, abs(float(self.x[0])))

    def run(self, arrivals) -> Run:
        """All arrivals in order, then the rest."""
        for time, weight, port in arrivals:
            self.go_to(arb(time))
            row = 2 if self.p.alpha else 1 + port
            self.x[row] = self.x[row] + arb(weight)
            self.noise.fresh(row, abs(float(self.x[row])))
        self.go_to(self.until)
        return self.result

    def go_to(self, end: Ball) -> None:
        """Spikes and releases up to `end`."""
        while True:
            if self.release is not None:
                if self.release > end:
                    self.move(end - self.t, True)
                    return
                self.move(self.release - self.t, True)
                self.release = None
                self.noise.fresh(-1, 0.5 * self.p.t_ref)
                self.restart()
            passage = first_passage(self.p, self.x, self.theta, end - self.t)
            self.decide(passage, end)
            if passage.time is None:
                self.move(end - self.t, False)
                self.noise.table[-1] = 0.0
                return
            self.fire(passage.time)

    def move(self, s: Ball, clamped: bool) -> None:
        """Flow state and errors."""
        self.noise.flow(self.p, np.array([float(v) for v in self.x]), float(s), clamped)
        self.x, self.t = flow(self.p, self.x, s, clamped), self.t + s

    def slope(self) -> float:
        """Rate of change of the voltage now."""
        currents = self.x[1:2] if self.p.alpha else self.x[1:-1]
        return float((sum(currents, arb(0)) - self.x[0]) / self.p.tau_mem)

    def restart(self) -> None:
        """The membrane starts from its reset at an uncertain time."""
        self.noise.table[0] -= self.slope() * self.noise.table[-1]
        self.noise.fresh(0, abs(float(self.x[0])))

    def level(self, s: float) -> float:
        """What the residual of a threshold test at `s` rounds, in units of eps."""
        jacobian, _ = responses(self.p, s, False)
        x = np.array([float(v) for v in self.x])
        row = np.abs(jacobian[0] * x)
        start = float(self.x[0] - self.x[-1])
        row[0] = abs(x[0]) * -math.expm1(-s / self.p.tau_mem)
        row[-1] = abs(x[-1]) * -math.expm1(-s / self.p.tau_th)
        theta = float(self.theta)
        return abs(theta) + abs(theta - start) + float(row.sum()) + abs(x[-1])

    def deviation(self, s: float) -> np.ndarray:
        """Coefficients of the error of F at `s` from now."""
        jacobian, _ = responses(self.p, s, False)
        table = jacobian @ self.noise.table[:-1]
        return table[0] - table[-1]

    def decide(self, passage: Passage, end: Ball) -> None:
        """Record how clear the decision of this interval is."""
        local = EPS * self.level(passage.top)
        noise = EPS * float(np.abs(self.deviation(passage.top)).sum()) + local
        fired = passage.time is not None
        stop = float(self.t + passage.time) if fired else float(end)
        self.result.decisions.append(
            Decision(float(self.t), stop, fired, float(self.t) + passage.top,
                     passage.margin, noise, local)
        )  # fmt: skip

    def fire(self, s: Ball) -> None:
        """Emit the spike that comes after `s`, and reset."""
        f1 = distance(self.p, self.x, self.theta).derivative()
        at_once = s.is_zero()
        slope, bend = float(f1.at(s)), float(f1.derivative().at(s))
        level, deviation = self.level(float(s)), self.deviation(float(s))
        error = EPS * (level + float(np.abs(deviation).sum()))
        per_volt = 0.0 if at_once else gain(slope, bend, FACTOR * error)
        carried = self.noise.table[-1].copy()
        self.move(s, False)
        table = self.noise.table
        if at_once:
            table[-1, : carried.size] = carried
        else:
            table[-1] = 0.0
            table[-1, : deviation.size] = -deviation * per_volt
            self.noise.fresh(-1, level * per_volt)
            self.noise.fresh(-1, 0.5 * float(s))
        self.emit(slope, bend, EPS * level * per_volt, at_once)
        self.after(at_once)

    def emit(self, slope: float, bend: float, attainable: float, at_once: bool) -> None:
        """Append the spike at the present time."""
        hi = float(self.t)
        bound = EPS * float(np.abs(self.noise.table[-1]).sum())
        self.result.spikes.append(
            Spike(
                text=self.t.str(70), hi=hi, lo=float(self.t - hi), slope=slope, curvature=bend,
                theta=float(self.theta), u0=float(self.x[0]), margin=0.0, gap=0.0,
                at_once=at_once, attainable=attainable, bound=bound,
            )
        )  # fmt: skip

    def after(self, at_once: bool) -> None:
        """The state after a spike at the present time."""
        p, table = self.p, self.noise.table
        if p.reset == "subtract":
            self.x[0] = self.x[0] - (arb(p.v_th) - p.v_reset)
            if not at_once:  # there u = theta + A
                table[0] = table[-2] - float(self.x[-1]) / p.tau_th * table[-1]
        else:
            self.x[0], table[0] = self.reset, 0.0
        self.x[-1] = self.x[-1] + arb(p.jump_th)
        table[-2] += p.jump_th / p.tau_th * table[-1]
        self.noise.fresh(len(self.x) - 1, abs(float(self.x[-1])))
        if p.t_ref > 0.0:
            self.release = self.t + p.t_ref
        else:
            self.restart()
