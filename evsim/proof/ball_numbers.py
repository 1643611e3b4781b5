"""Exact numbers, balls and floats: from one to another."""

from __future__ import annotations

from fractions import Fraction

from flint import arb, ctx, fmpq

from evsim.proof.bounds import READ, UNIT

#: Bits that a time has more than a state.
TIME = 16
#: The middle of a ball as a double.
to_float = float


def later(t: arb, d: arb | float) -> arb:
    """t + d, for times: they are large beside what is left between two of them."""
    ctx.prec += TIME
    total = t + d
    ctx.prec -= TIME
    return total


def exact(value: Fraction) -> arb:
    """A rational number as a ball."""
    return arb(fmpq(value.numerator, value.denominator))


def rational(hi, lo) -> Fraction:
    """The exact sum of two doubles."""
    return Fraction(float(hi)) + Fraction(float(lo))


def fraction(x: arb) -> Fraction:
    """The exact number that a ball without radius holds."""
    mantissa, exponent = x.mid().man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def below(d: arb) -> float:
    """A float that no number of a ball lies below."""
    middle = to_float(d)
    return middle - READ * UNIT * abs(middle) - to_float(d.rad())


def size_of(d: arb) -> tuple[float, float]:
    """Floats between which the size of every number of a ball lies."""
    size, off = abs(to_float(d)), to_float(d.rad())
    return size * (1.0 - READ * UNIT) - off, (size + off) * (1.0 + READ * UNIT)
