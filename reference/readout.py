r"""Maximum and integral of a leaky integrator's voltage, in 80-digit arithmetic.

With the textbook flow of `reference.cells` between events. The turning point is found by
bisection on the sign of the slope, which changes once at most; the integral is that of
:math:`\tau_m \dot v = \ell + i - v`,

.. math::
    \int_0^h v = \ell h + i_0 \tau_s (1 - e^{-h/\tau_s}) - \tau_m (v(h) - v_0),      \tag{1}

which in doubles would cancel.
"""

from dataclasses import dataclass
from fractions import Fraction

import mpmath
from mpmath import mpf

from reference.cells import Cell

DIGITS = 80


@dataclass
class Span:
    """An interval between events: its start and length, and the state that it starts from."""

    cell: Cell
    start: mpf
    length: mpf
    v: mpf
    i: mpf
    level: mpf

    def at(self, s):
        """Voltage and its slope `s` after the start."""
        v, _, slope = self.cell.flow(self.v, self.i, self.level, s)
        return v, slope

    def highest(self):
        """(value, time) of the maximum, ends included."""
        ends = [(self.at(s)[0], self.start + s) for s in (mpf(0), self.length)]
        low, high = mpf(0), self.length
        if self.at(low)[1] > 0 > self.at(high)[1]:
            for _ in range(300):
                middle = (low + high) / 2
                rising = self.at(middle)[1] > 0
                low, high = (middle, high) if rising else (low, middle)
            ends.append((self.at(low)[0], self.start + low))
        return max(ends, key=lambda end: (end[0], -end[1]))

    def area(self):
        """Integral of the voltage, by (1)."""
        with mpmath.workdps(DIGITS + 2 * max(0, -int(mpmath.log10(self.length or 1)))):
            drawn = mpf(0)
            if self.cell.kind == "cuba":
                ts = mpf(self.cell.tau_syn)
                drawn = self.i * ts * -mpmath.expm1(-self.length / ts)
            rise = self.at(self.length)[0] - self.v
            return self.level * self.length + drawn - mpf(self.cell.tau_mem) * rise


def spans(cell: Cell, events, until, v=None, i=0.0) -> list[Span]:
    """Intervals between events that last, and the last one.

    Parameters
    ----------
    cell : Cell
        Of kind "cuba" or "delta"; its threshold is not looked at.
    events : list of (time, kind, value)
        Of the kinds "weight", "current" (the new one) and "pulse" (its change of height),
        ascending in time; times may be `Fraction`.
    until : float
    v, i : float, optional
        State at time 0; default rest without bias, and 0.
    """
    now, v, i = mpf(0), mpf(cell.v_leak if v is None else v), mpf(i)
    current = pulse = mpf(0)
    found = []
    for time, kind, value in [*events, (until, "end", 0.0)]:
        exact = Fraction(time)
        then = mpf(exact.numerator) / exact.denominator
        span = Span(cell, now, then - now, v, i - pulse, cell.drive(current) + pulse)
        if then > now or kind == "end":
            found.append(span)
        v, distance, _ = cell.flow(span.v, span.i, span.level, span.length)
        i, now = distance + pulse, then
        if kind == "current":
            current = mpf(value)
        elif kind == "pulse":
            pulse += mpf(value)
        elif cell.kind == "cuba":
            i += mpf(value)
        else:
            v += mpf(value)
    return found
