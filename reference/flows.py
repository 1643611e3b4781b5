r"""Exact flows of one neuron between events, in Arb balls.

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
    \qquad s^* = \tau (1 - u_0 / i_0).                                   \tag{4}

Most times are narrow balls. Exponentials are taken at the midpoint, and Taylor's formula leads
from there to the ball: that is cheaper than exponentials of a ball, and tighter, since each of
them varies more than the voltage does.

References
----------
Tuckwell (1988), Introduction to Theoretical Neurobiology, volume 1, chapter 3.
Johansson (2017), Arb: efficient arbitrary-precision midpoint-radius interval arithmetic.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from flint import arb

Ball = Any  # flint.arb; its stubs do not describe mixed arithmetic
ZERO = arb(0)
GUESSES = 100
OPEN = 2.0**-30  # a sign in floats counts where the number is larger than that, beside its terms


class Undecided(ArithmeticError):
    """A sign is not certain at the present precision."""


#: Current, voltage and slope of the voltage at some time.
State = tuple[Ball, Ball, Ball]


class Glance(NamedTuple):
    """What floats tell for certain of [0, h].

    Attributes
    ----------
    low, high : float
        The increasing piece; nan where there is none.
    passes : bool
        Whether the voltage passes threshold from below.
    top, margin : float
        Time of the largest voltage, and that minus threshold; a rounding off.
    """

    low: float
    high: float
    passes: bool
    top: float
    margin: float


class Flow(Protocol):
    """Voltage above its asymptote as a function of the time since the last event."""

    u: Ball

    def at(self, s: Ball) -> State: ...
    def start(self) -> Ball: ...
    def curvature(self, state: State) -> Ball: ...
    def slope_between(self, s: Ball, u: Ball) -> Ball: ...
    def extremum(self) -> Ball: ...
    def glance(self, theta: Ball, h: Ball) -> Glance | None: ...
    def response(self, s: float) -> tuple[float, float, float]: ...
    def rate(self, s: float) -> float: ...
    def roundings(self, s: float) -> tuple[float, float]: ...


@dataclass(slots=True, eq=False)
class Leaky:
    """What equations (1) and (2) share: the differential equation they solve."""

    u: Ball
    i: Ball
    tau_mem: Ball
    tau_syn: Ball
    #: What is known of a time, by the `id` of the ball, which is kept alive beside it.
    known: dict[int, tuple[Ball, State]] = field(default_factory=dict)
    bends: tuple[Ball, Ball] | None = None
    m: float = field(init=False)
    y: float = field(init=False)

    def __post_init__(self) -> None:
        self.m, self.y = float(self.tau_mem), float(self.tau_syn)

    def at(self, s: Ball) -> State:
        """The state wherever in the ball `s` the time is, computed once for each."""
        found = self.known.get(id(s))
        if found is None:
            if s.is_exact():
                found = s, self.exactly_at(s)
            else:
                middle = s.mid()
                found = s, self.moved(self.exactly_at(middle), s - middle)
            self.known[id(s)] = found
        return found[1]

    def exactly_at(self, s: Ball) -> State:
        """The state at an exact time."""
        leak = (-s / self.tau_mem).exp()
        psp, decay = self.parts(s, leak)
        i, value = self.i * decay, self.u * leak + self.i * psp
        return i, value, (i - value) / self.tau_mem

    def parts(self, s: Ball, leak: Ball) -> tuple[Ball, Ball]:
        """Voltage after a unit of current from rest, and what is left of that."""
        raise NotImplementedError

    def bounds(self) -> tuple[Ball, Ball]:
        """More than half of the second derivatives of i and u, from one time constant before 0.

        No exponential exceeds e = 2.72 there, and neither does the response to a current.
        """
        if self.bends is None:
            u, i, m, y = abs(self.u), abs(self.i), self.tau_mem, self.tau_syn
            self.bends = 2 * i / (y * y), 2 * (i / y + (2 * i + u) / m) / m
        return self.bends

    def moved(self, state: State, e: Ball) -> State:
        """The state `e` after that at an exact time, by Taylor's formula."""
        if not abs(e) < min(self.m, self.y):
            raise Undecided("time")
        by_i, by_u = self.bounds()
        i, value, slope = state
        square = e * e
        value = value + e * slope + arb(0, square * by_u)
        i = i - e * i / self.tau_syn + arb(0, square * by_i)
        return i, value, (i - value) / self.tau_mem

    def longer(self, state: State, step: Ball) -> Ball:
        """Newton's step, made one of third order by the derivatives that the equation gives."""
        i, _, slope = state
        second = self.curvature(state)
        third = (i / (self.tau_syn * self.tau_syn) - second) / self.tau_mem
        a, b = second / (2 * slope), third / (6 * slope)
        return step * (1 - step * (a - step * (2 * a * a - b)))

    def glance(self, theta: Ball, h: Ball) -> Glance | None:
        """What floats tell of [0, h]; None where they leave a sign open.

        The terms of u and u' have relative errors of 2^-40 at most, since the slower
        exponential does not underflow; what the faster one then lacks is nothing beside it.
        """
        if self.u.rel_accuracy_bits() < 60 or self.i.rel_accuracy_bits() < 60:
            return None
        if theta.rel_accuracy_bits() < 60 or h.rel_accuracy_bits() < 60:
            return None
        u, i, level, end = float(self.u), float(self.i), float(theta), float(h)
        if not 0.0 < end < 500.0 * max(self.m, self.y) or 0.0 < abs(i) < 1e-60 * abs(u):
            return None
        leak, psp, decay = self.response(end)
        final, first = u * leak + i * psp, i - u
        last = i * decay - final
        if abs(first) < OPEN * (abs(u) + abs(i)) or abs(u - level) < OPEN * (abs(u) + abs(level)):
            return None
        if abs(last) < OPEN * (abs(u) * leak + abs(i) * (psp + decay)) or u > level:
            return None
        low, high, top, value = 0.0, end, end, final
        if first <= 0.0 and last <= 0.0:
            return Glance(math.nan, math.nan, False, 0.0, u - level)
        if first * last < 0.0:
            turn = self.turning(u, i)
            if not 0.0 < turn < min(end, 1e3 * self.m, 1e3 * self.y):
                return None
            low, high = (0.0, turn) if first > 0.0 else (turn, end)
            if first > 0.0:
                leak, psp, _ = self.response(turn)
                top, value = turn, u * leak + i * psp
            elif final < u:
                top = 0.0
        if abs(value - level) < OPEN * (abs(u) + abs(i) + abs(level)):
            return None
        return Glance(low, high, value > level, top, max(value, u if top == 0.0 else value) - level)

    def turning(self, u: float, i: float) -> float:
        """`extremum`, in floats, with a relative error of 2^-20 at most; nan: less exact."""
        raise NotImplementedError

    def guess(self, theta: float, low: float, high: float) -> float:
        """Where on an increasing piece the voltage passes `theta`, in floats; nan: not found."""
        u, i, m = float(self.u), float(self.i), self.m
        x = 0.5 * (low + high)
        for _ in range(GUESSES):
            leak, psp, decay = self.response(x)
            value = u * leak + i * psp
            slope = (i * decay - value) / m
            low, high = (x, high) if value < theta else (low, x)
            new = x + (theta - value) / slope if slope > 0.0 else math.nan
            if low < new < high:
                if abs(new - x) < 1e-7 * new:  # the next step would be below a rounding
                    return new
                x = new
            elif high - low > 1e-15 * high:
                x = 0.5 * (low + high)
            else:
                return x
        return math.nan

    def response(self, s: float) -> tuple[float, float, float]:
        """Partial derivatives du/du0, du/di0, di/di0 of the flow over `s`."""
        raise NotImplementedError

    def rate(self, s: float) -> float:
        """`slope`, in floats."""
        leak, psp, decay = self.response(s)
        u, i = float(self.u), float(self.i)
        return (i * decay - (u * leak + i * psp)) / self.m

    def slope_between(self, s: Ball, u: Ball) -> Ball:
        """Enclosure of the slope wherever the time is in `s` and the voltage in `u`.

        The equation itself, and not the derivative of (1), because both enclosures are
        tight while the two terms of (1) cancel when the time constants nearly agree.
        """
        return (self.i * (-s / self.tau_syn).exp() - u) / self.tau_mem

    def curvature(self, state: State) -> Ball:
        """Second derivative of the voltage, from the equation differentiated once."""
        return (-state[0] / self.tau_syn - state[2]) / self.tau_mem

    def start(self) -> Ball:
        """Slope at the start."""
        return (self.i - self.u) / self.tau_mem

    def roundings(self, s: float) -> tuple[float, float]:
        """Magnitude, in units of eps, of what one float64 evaluation adds to (u, i).

        Each exponential has its value and its argument rounded once; the response to
        a current cannot do better than its slower exponential.
        """
        leak, psp, decay = self.response(s)
        h, m, y = s, self.m, self.y
        u, i = abs(float(self.u)), abs(float(self.i))
        by_leak = (1.0 + h / m) * u * leak
        by_current = (1.0 + h / max(m, y)) * i * abs(psp)
        return by_leak + by_current, (1.0 + h / y) * i * decay


@dataclass(slots=True, eq=False)
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

    def parts(self, s: Ball, leak: Ball) -> tuple[Ball, Ball]:
        """Equation (1) with u0 = 0, i0 = 1, and the current."""
        decay = (-s / self.tau_syn).exp()
        return self.tau_syn * (leak - decay) / (self.tau_mem - self.tau_syn), decay

    def turning(self, u: float, i: float) -> float:
        """By the logarithm of 1 + x or by that of the ratio, whichever keeps its digits."""
        gap = self.m - self.y
        below = self.y * i + gap * u
        if abs(below) < 2.0**-16 * (abs(self.y * i) + abs(gap * u)):
            return math.nan
        x, ratio = gap * (i - u) / below, i * self.m / below
        if ratio <= 0.0:
            return math.nan
        return self.m * self.y / gap * (math.log1p(x) if abs(x) < 0.5 else math.log(ratio))

    def response(self, s: float) -> tuple[float, float, float]:
        """The same in floats, where the difference of (1) must not cancel."""
        m, y = self.m, self.y
        gap, slow = abs(m - y), max(m, y)
        part = -math.expm1(-gap * s / m / y) * math.exp(-s / slow) * y / gap
        return math.exp(-s / m), part, math.exp(-s / y)


@dataclass(slots=True, eq=False)
class Confluent(Leaky):
    """Equation (2): equal time constants, and any leaky neuron without a current."""

    def extremum(self) -> Ball:
        """Equation (4), right."""
        return self.tau_mem * (1 - self.u / self.i)

    def parts(self, s: Ball, leak: Ball) -> tuple[Ball, Ball]:
        """Equation (2) with u0 = 0, i0 = 1, and the current."""
        return s / self.tau_mem * leak, leak

    def turning(self, u: float, i: float) -> float:
        """Equation (4), right."""
        return self.m * (1.0 - u / i) if abs(i - u) > 2.0**-16 * (abs(i) + abs(u)) else math.nan

    def response(self, s: float) -> tuple[float, float, float]:
        """The same in floats."""
        leak = math.exp(-s / self.m)
        return leak, s / self.m * leak, leak


@dataclass(slots=True, eq=False)
class Line:
    """Equation (3)."""

    u: Ball
    drift: Ball

    def at(self, s: Ball) -> State:
        """Equation (3); there is no current."""
        return ZERO, self.u + self.drift * s, self.drift

    def start(self) -> Ball:
        """The constant rate."""
        return self.drift

    def slope_between(self, s: Ball, u: Ball) -> Ball:
        """The constant rate."""
        return self.drift

    def curvature(self, state: State) -> Ball:
        """Zero."""
        return ZERO

    def extremum(self) -> Ball:
        """Never asked for: the slope keeps its sign."""
        raise Undecided("extremum of a line")

    def glance(self, theta: Ball, h: Ball) -> None:
        """Balls are as cheap."""

    def response(self, s: float) -> tuple[float, float, float]:
        """Partial derivatives of the flow; there is no current."""
        return 1.0, 0.0, 1.0

    def rate(self, s: float) -> float:
        """The constant rate."""
        return float(self.drift)

    def roundings(self, s: float) -> tuple[float, float]:
        """One product and one sum, in units of eps."""
        return abs(float(self.u)) + 2.0 * abs(float(self.drift * s)), 0.0
