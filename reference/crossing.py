r"""Exact flows of one neuron between events and their first passage, in Arb balls.

With u the voltage above its asymptote and i the synaptic current in units of voltage,

.. math::
    u(s) &= A e^{-s/\tau_m} + B e^{-s/\tau_s}, \quad
            B = -\frac{i_0 \tau_s}{\tau_m - \tau_s}, \quad A = u_0 - B
            && \tau_m \ne \tau_s,                                        \tag{1} \\
    u(s) &= (u_0 + i_0 s/\tau) e^{-s/\tau} && \tau_m = \tau_s = \tau,    \tag{2} \\
    u(s) &= u_0 + c s && \text{no leak}.                                 \tag{3}

The slope of each vanishes at most once and changes sign there, at

.. math::
    s^* = \frac{\ln(-B \tau_m / (A \tau_s))}{1/\tau_s - 1/\tau_m},
    \qquad s^* = \tau (1 - u_0 / i_0),                                   \tag{4}

so that [0, h] splits into at most two monotone pieces, and a first passage from below
needs one certain sign at the upper end of the increasing piece.

Notes
-----
Every function works at the current `flint.ctx.prec`. A sign that a ball leaves open is
put to a `Referee`, which asks for more bits or, at the last precision, records a tie.

References
----------
Tuckwell (1988), Introduction to Theoretical Neurobiology, volume 1, chapter 3.
Johansson (2017), Arb: efficient arbitrary-precision midpoint-radius interval arithmetic.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from flint import arb, ctx

Ball = Any  # flint.arb; its stubs do not describe mixed arithmetic


class Undecided(ArithmeticError):
    """A sign is not certain at the present precision."""


@dataclass
class Referee:
    """Turns balls into signs; the only place where a decision is taken.

    Parameters
    ----------
    final : bool
        True at the largest precision allowed. A ball that still straddles zero is then
        read as an exact zero and noted in `ties` under its kind.
    """

    final: bool = False
    ties: list[str] = field(default_factory=list)

    def sign(self, x: Ball, kind: str) -> int:
        """Sign of `x`: -1, 0 (exactly zero, or a tie) or 1; raises Undecided before that."""
        if not x.is_finite():  # never a tie: something went wrong on the way
            raise Undecided(kind)
        if x > 0:
            return 1
        if x < 0:
            return -1
        if not x.is_zero():
            if not self.final:
                raise Undecided(kind)
            self.ties.append(kind)
        return 0


class Flow(Protocol):
    """Voltage above its asymptote as a function of the time since the last event."""

    def value(self, s: Ball) -> Ball: ...
    def slope(self, s: Ball) -> Ball: ...
    def slope_between(self, s: Ball, u: Ball) -> Ball: ...
    def curvature(self, s: Ball) -> Ball: ...
    def extremum(self) -> Ball: ...
    def response(self, s: Ball) -> tuple[float, float, float]: ...
    def roundings(self, s: Ball) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Leaky:
    """What equations (1) and (2) share: the differential equation they solve."""

    u: Ball
    i: Ball
    tau_mem: Ball
    tau_syn: Ball
    #: What is known of a time: the ball itself, so that its `id` stays its own, and functions.
    known: dict[int, tuple[Ball, dict[str, Ball]]] = field(default_factory=dict, compare=False)

    def at(self, name: str, s: Ball) -> Ball:
        """`leak`, `decay` or `psp` at `s`, computed once: most times are asked for often."""
        _, found = self.known.setdefault(id(s), (s, {}))
        if name not in found:
            if name == "psp":
                found[name] = self.psp(s)
            else:
                found[name] = (-s / (self.tau_mem if name == "leak" else self.tau_syn)).exp()
        return found[name]

    def slope_between(self, s: Ball, u: Ball) -> Ball:
        """Enclosure of the slope wherever the time is in `s` and the voltage in `u`.

        The equation itself, and not the derivative of (1), because both enclosures are
        tight while the two terms of (1) cancel when the time constants nearly agree.
        """
        return (self.i * self.at("decay", s) - u) / self.tau_mem

    def curvature(self, s: Ball) -> Ball:
        """Second derivative of the voltage, from the equation differentiated once."""
        current = self.i * self.at("decay", s)
        return (-current / self.tau_syn - self.slope_between(s, self.value(s))) / self.tau_mem

    def response(self, s: Ball) -> tuple[float, float, float]:
        """Partial derivatives du/du0, du/di0, di/di0 of the flow over `s`."""
        return float(self.at("leak", s)), float(self.at("psp", s)), float(self.at("decay", s))

    def roundings(self, s: Ball) -> tuple[float, float]:
        """Magnitude, in units of eps, of what one float64 evaluation adds to (u, i).

        Each exponential has its value and its argument rounded once; the response to
        a current cannot do better than its slower exponential.
        """
        leak, psp, decay = self.response(s)
        h, m, y = float(s), float(self.tau_mem), float(self.tau_syn)
        by_leak = (1.0 + h / m) * abs(float(self.u)) * leak
        by_current = (1.0 + h / max(m, y)) * abs(float(self.i)) * abs(psp)
        return by_leak + by_current, (1.0 + h / y) * abs(float(self.i)) * decay

    def value(self, s: Ball) -> Ball:
        """Voltage: what is left of u0, and the response to i0."""
        left = self.u * self.at("leak", s)
        return left if self.i.is_zero() else left + self.i * self.at("psp", s)

    def slope(self, s: Ball) -> Ball:
        """Slope of the voltage, from the equation."""
        return self.slope_between(s, self.value(s))

    def spread(self, s: Ball) -> Ball:
        """What the radius of `s` can change in `psp`, as a ball around zero."""
        return (s - s.mid()) / self.tau_mem

    def psp(self, s: Ball) -> Ball:
        """Voltage `s` after a unit of current, from rest."""
        raise NotImplementedError


@dataclass(frozen=True)
class TwoExponentials(Leaky):
    """Equation (1); its balls lose the bits that nearly equal time constants cancel."""

    def extremum(self) -> Ball:
        """Equation (4), left, with -B tau_m / (A tau_s) written as 1 + x.

        The ratio itself would carry the radius of the state into the logarithm of a
        number next to one, and so lose digits at every spike of a train.
        """
        gap = self.tau_mem - self.tau_syn
        x = gap * (self.i - self.u) / (self.tau_syn * self.i + gap * self.u)
        return self.tau_mem * self.tau_syn / gap * x.log1p()

    def psp(self, s: Ball) -> Ball:
        """Equation (1) with u0 = 0, i0 = 1.

        Both exponentials at the midpoint; the rest of the ball by the mean value theorem,
        since the slope of this function never exceeds 1/tau_m.
        """
        if s.is_exact():
            gap = self.at("leak", s) - self.at("decay", s)
            return self.tau_syn / (self.tau_mem - self.tau_syn) * gap
        m = s.mid()
        gap = (-m / self.tau_mem).exp() - (-m / self.tau_syn).exp()
        return self.tau_syn / (self.tau_mem - self.tau_syn) * gap + self.spread(s)


@dataclass(frozen=True)
class Confluent(Leaky):
    """Equation (2): equal time constants, and any leaky neuron without a current."""

    def extremum(self) -> Ball:
        """Equation (4), right."""
        return self.tau_mem * (1 - self.u / self.i)

    def psp(self, s: Ball) -> Ball:
        """Equation (2) with u0 = 0, i0 = 1; at the midpoint, as in `TwoExponentials`."""
        m = s.mid()
        return m / self.tau_mem * (-m / self.tau_mem).exp() + self.spread(s)


@dataclass(frozen=True)
class Line:
    """Equation (3)."""

    u: Ball
    rate: Ball

    def value(self, s: Ball) -> Ball:
        """Equation (3)."""
        return self.u + self.rate * s

    def slope(self, s: Ball) -> Ball:
        """The constant rate."""
        return self.rate

    def slope_between(self, s: Ball, u: Ball) -> Ball:
        """The constant rate."""
        return self.rate

    def curvature(self, s: Ball) -> Ball:
        """Zero."""
        return arb(0)

    def extremum(self) -> Ball:
        """Never asked for: the slope keeps its sign."""
        raise Undecided("extremum of a line")

    def response(self, s: Ball) -> tuple[float, float, float]:
        """Partial derivatives of the flow; there is no current."""
        return 1.0, 0.0, 1.0

    def roundings(self, s: Ball) -> tuple[float, float]:
        """One product and one sum, in units of eps."""
        return abs(float(self.u)) + 2.0 * abs(float(self.rate * s)), 0.0


@dataclass(frozen=True)
class Passage:
    """What happens to the threshold on one interval.

    Attributes
    ----------
    time : ball or None
        First s in [0, h] at which the voltage reaches threshold from below.
    slope, curvature : ball
        Derivatives of the voltage at `time`; zero where there is no passage.
    top : ball
        Time in [0, h] of the largest voltage if nothing were reset.
    margin : ball
        Largest voltage in [0, h] minus threshold.
    """

    time: Ball | None
    slope: Ball
    curvature: Ball
    top: Ball
    margin: Ball


def first_passage(flow: Flow, theta: Ball, h: Ball, graze: str, referee: Referee) -> Passage:
    """First time in [0, h] at which `flow` reaches `theta`.

    Parameters
    ----------
    flow : Flow
        State at s = 0; a state at or above threshold passes at once.
    theta : ball
        Threshold above the asymptote of `flow`.
    h : ball
        End of the interval, included.
    graze : {">=", ">"}
        Whether touching the threshold counts.
    referee : Referee
        Judge of every sign.

    Returns
    -------
    passage : Passage

    Raises
    ------
    Undecided
        If the precision does not suffice.
    """
    zero = arb(0)
    rising, turn = _pieces(flow, h, referee)
    top = _top(flow, h, rising, turn)
    margin = flow.value(top) - theta
    start = referee.sign(flow.value(zero) - theta, "start")
    departs = rising is not None and rising[0].is_zero()  # under ">" a touch must rise
    if start > 0 or (start == 0 and (graze == ">=" or departs)):
        return Passage(zero, flow.slope(zero), flow.curvature(zero), top, margin)
    if rising is None:
        return Passage(None, zero, zero, top, margin)
    low, high = rising
    kind = "graze" if high is turn else "arrival"
    end = referee.sign(flow.value(high) - theta, kind)
    if end < 0 or (end == 0 and graze == ">"):
        return Passage(None, zero, zero, top, margin)
    s = locate(flow, theta, low, high) if end > 0 else high
    return Passage(s, flow.slope_between(s, theta), flow.curvature(s), top, margin)


def _pieces(flow: Flow, h: Ball, referee: Referee) -> tuple[tuple[Ball, Ball] | None, Ball | None]:
    """The increasing piece of [0, h], if any, and the extremum inside, if any."""
    zero = arb(0)
    if h.is_zero():
        return None, None
    first = referee.sign(flow.slope(zero), "slope")  # 0: the last sign holds throughout
    last = referee.sign(flow.slope(h), "slope")
    if first * last < 0:
        turn = flow.extremum()
        return ((zero, turn) if first > 0 else (turn, h)), turn
    return ((zero, h) if first > 0 or last > 0 else None), None


def _top(flow: Flow, h: Ball, rising: tuple[Ball, Ball] | None, turn: Ball | None) -> Ball:
    """Where in [0, h] the voltage is largest; no decision hangs on it."""
    if rising is None:
        return arb(0)
    if rising[1] is turn or turn is None:
        return rising[1]
    return h if flow.value(h).mid() >= flow.value(arb(0)).mid() else arb(0)


def locate(flow: Flow, theta: Ball, low: Ball, high: Ball) -> Ball:
    """Ball around the only passage of `flow` through `theta` on an increasing piece.

    Bisection with certain signs until an interval Newton step contracts four times
    better; each such step is intersected with the bracket and so cannot lose the root.

    Parameters
    ----------
    flow : Flow
    theta : ball
        Level.
    low, high : ball
        The piece; the flow is below `theta` at `low` and above it at `high`.

    Returns
    -------
    s : ball
        Narrow as the precision and the slope allow.
    """
    x, hull = low.union(high), flow.value(low).union(flow.value(high))
    goal = arb(2) ** (8 - ctx.prec)
    while not x.rad() <= goal * x.abs_upper():
        slope = flow.slope_between(x, hull)
        if slope > 0:
            step = x.intersection(x.mid() - (flow.value(x.mid()) - theta) / slope)
            if 4 * step.rad() < x.rad():
                x, hull = step, theta + slope * (step - step)
                continue
        halved = _bisect(flow, theta, x, hull)
        if halved is None:
            break
        x, hull = halved
    return x


def _bisect(flow: Flow, theta: Ball, x: Ball, hull: Ball) -> tuple[Ball, Ball] | None:
    """One half of the bracket, by a certain sign; None when the precision is used up."""
    low, high = x.lower(), x.upper()
    for share in (0.5, 0.4375):  # the second point if the first happens to be the root
        middle = (low + share * (high - low)).mid()
        u = flow.value(middle)
        if u > theta:
            return low.union(middle), hull.lower().union(u.upper())
        if u < theta:
            return middle.union(high), u.lower().union(hull.upper())
    return None


def digits(x: Ball) -> float:
    """Certain decimal digits of `x`; infinite for an exact number."""
    return math.inf if x.is_exact() else x.rel_accuracy_bits() * math.log10(2.0)
