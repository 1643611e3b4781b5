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
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, fmpq

Ball = Any
BITS = 400  # of `reference.exponential_runs`


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
