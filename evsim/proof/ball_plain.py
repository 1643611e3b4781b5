"""A neuron with one synaptic current in ball arithmetic, the case that most networks are made of.

What `evsim.proof.ball_flow.Cell` does for any components, with numbers of floats in place of
records: for one current a call of the compiled tests takes longer than the tests.
"""

from __future__ import annotations

import math
from typing import Any

from flint import arb

from evsim.models.linear import CURRENT
from evsim.proof.ball_flow import Cell, Flowed
from evsim.proof.ball_numbers import size_of
from evsim.proof.bounds import GROWN, NEAR, NOISE, READ, SLACK, TINY, UNIT, UP
from evsim.proof.layout import bare
from evsim.proof.problem import Problem
from evsim.proof.state import Shape

#: Raises a negative number by more than the rounding of a sum.
DOWN = 1.0 - 4.0 * UNIT


def cell_of(problem: Problem, n: int) -> Cell:
    """Neuron `n` before its first event."""
    p = bare(problem.neurons)[n]
    one = p["count"] == 1 and p["kind"][0] == CURRENT
    one = one and p["rate_hi"] not in (0.0, p["decay_hi"][0])
    return Plain(problem, n) if one else Cell(problem, n)


class Plain(Cell):
    """A leaky neuron with one current, of another time constant."""

    def __init__(self, problem: Problem, n: int):
        super().__init__(problem, n)
        quick: Any = (self.slow[0], self.gap[0], self.share[0])
        self.quick_current, self.between, self.part = quick
        self.slower = -(self.rate if self.quick_current else self.decay[0])
        self.fading, self.own = -self.decay[0], self.decay_[0]
        #: The most that a current of 1 may bring the membrane.
        self.peak = peak_of(self.rate, self.decay[0])

    def flow(self, s: arb) -> Flowed:
        """As `evsim.proof.ball_flow.flow`; of membrane and current, what is left of the quicker
        one is that of the slower one and of the gap between their rates."""
        (u, c), (u_off, off), (u_more, more) = self.x, self.dev, self.rest
        fade_ = 1.0
        if self.busy:
            own = (s * self.fading).exp()
        else:
            left = (s * self.slower).exp()
            less = left * (s * self.between).expm1()
            fade, own = (left, left + less) if self.quick_current else (left + less, left)
            kappa = less * self.part
            u, fade_, gain = u * fade + c * kappa, float(fade), abs(float(kappa))
            u_off, u_more = u_off * fade_ + off * gain, u_more * fade_ + more * gain
        own_ = float(own)
        dev = [u_off * UP + TINY, off * own_ * UP + TINY]
        rest = [u_more * UP + TINY, more * own_ * UP + TINY]
        return Flowed([u, c * own], dev, rest, fade_)

    def receive(self, port: int, weight: float, r: float) -> float:
        """As that of any neuron, which does what is not an arrival at the current."""
        if port != 0 or self.rational is not None:
            self.high = math.inf
            return super().receive(port, weight, r)
        if weight > 0.0:
            self.high = (self.high + weight * self.peak) * DOWN
        size, own = abs(weight), self.own * r
        linear, bent = size * self.rate_, self.rate_ + self.own
        first, second = size * own, size * own * own
        self.x[1] += weight
        self.dev[1] += (first + second) * UP
        self.rest[1] += second * UP
        self.kick += linear * (1.0 + bent * NEAR * self.shortest)
        if not self.busy:
            linear *= r
            second = linear * bent * r
            self.dev[0] += (linear + second) * UP
            self.rest[0] += second * UP
        return size

    def bend(self, x: list[arb], dev: list[float], ahead: float) -> Shape:
        """`evsim.proof.state.shape`, whatever lies `ahead`: a current alone only decays."""
        membrane, current = x
        u, c, rate, own = float(membrane), float(current), self.rate_, self.own
        u_off, off = dev[0] + float(membrane.rad()), dev[1] + float(current.rad())
        most, u_most = abs(c) + off, abs(u) + u_off
        slope = rate * c - rate * u
        reach = rate * most + rate * (u_most + most)
        noise = NOISE * UNIT * (rate * most + rate * u_most)
        return Shape(
            slope, rate * -(c * own) - rate * slope, reach * GROWN,
            (rate * (most * own) + rate * reach) * GROWN,
            (rate * off + rate * u_off) * UP + noise, 0.0,
        )  # fmt: skip

    def calm(self, state: Flowed, span: float, rho: float) -> bool:
        """As `evsim.proof.silence.calm`, of whose tests the first asks nothing of the end; what
        the membrane may still reach, in however long a time, comes before them."""
        (membrane, current), (u_off, off) = self.x, self.dev
        u, c, theta, rate = float(membrane), float(current), self.theta_, self.rate_
        u_size, size = abs(u), abs(c)
        u_off += float(membrane.rad()) + READ * UNIT * u_size
        off += float(current.rad()) + READ * UNIT * size
        f, push, reach = u - theta, c if c > 0.0 else 0.0, rate * span
        steep = rate * (size + off + u_size + u_off + size + off) * GROWN
        margin = (u_off + UNIT * abs(f) + self.theta_off) * UP + TINY + steep * rho + self.crowd
        slack = SLACK * UNIT * (abs(theta) + u_size + size)
        self.high = (f if u > 0.0 else -theta) + self.peak * push + off + margin + slack
        if self.high < 0.0:
            return True
        margin += off * (reach if reach < 1.0 else 1.0)
        rise = (push - u) * (1.0 - state.fade)
        if (f + rise if rise > 0.0 else f) + margin + slack < 0.0:
            return True
        a, b = state.x
        after, least = float(a), float(b)
        end_off = float(a.rad()) + READ * UNIT * abs(after)
        off += float(b.rad()) + READ * UNIT * abs(least)
        held = (least if least < c else c) - off > theta + slack
        return held and after - theta + end_off + margin + slack < 0.0


def peak_of(rate: arb, own: arb) -> float:
    r"""A bound of the largest :math:`\kappa(s) = r (e^{-r s} - e^{-d s})/(d - r)`, which is
    :math:`(r/d)^{d/(d - r)}` and below 1."""
    return min(1.0, size_of((rate / own) ** (own / (own - rate)))[1] * UP)
