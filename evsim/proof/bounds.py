r"""Rounding constants of the two arithmetics, in units of their roundoff, with their proofs.

Let `U` be :math:`u = 2^{-53}` for floats and :math:`u^2` for pairs of doubles. The constants
bound relative errors:

``add``, ``mul``
    of one operation (`evsim.proof.numbers`).
``arg``
    of the argument `s rate` of an exponential: the product, and the rounding of the rate.
``exp``, ``phi``
    of `decay` for an exact argument.
``second``
    of `evsim.proof.flow.moment` for an exact argument.

`FADE`, `GAIN`
    of `evsim.models.flow.exponential` in floats, of what is left of a variable and of what a
    current adds to the membrane, for an interval rounded once; with `ARG` times the largest
    argument besides.

An error `arg` of the argument :math:`x` changes :math:`e^{-x}` and :math:`\\varphi(x)` by at
most `arg` :math:`x` relatively. `tests/test_proof_bounds.py` derives each constant again, step by
step in ball arithmetic, and holds it against random and extreme arguments.
"""

from __future__ import annotations

from typing import NamedTuple


class Bounds(NamedTuple):
    """Constants of one arithmetic."""

    unit: float
    add: float
    mul: float
    arg: float
    exp: float
    phi: float
    second: float


#: Of floats, with `evsim.numerics.exp_phi`.
SINGLE = Bounds(2.0**-53, 1.0, 1.0, 2.0, 3.0, 5.0, 26.0)
#: Of pairs.
DOUBLE = Bounds(2.0**-106, 3.0, 4.0, 5.0, 24.0, 64.0, 260.0)

UNIT = SINGLE.unit
FADE, GAIN, ARG = 7.0, 13.0, 5.0

#: In units of u^2: of the difference of two times of three doubles each, of a level less an
#: external current, and of a rational number that a pair stands for.
TIMES, LEVELS, SPLIT = 8.0, 4.0, 1.0
#: In units of u: of such a difference in floats, of all its terms.
ROUGH = 6.0
#: In units of u, of all terms of the sum: of a slope in floats, and of the tests of silence.
NOISE, SLACK = 16.0, 36.0
#: In units of u: of a coefficient of a row, 5 of the argument of an exponential among it, which
#: is below 708 where the result is above zero; of a row or a product of matrices, for every
#: term; and of a quotient, as a product with a reciprocal.
COEFFICIENT, TERM, QUOTIENT = 4000.0, 1.5, 2.5
#: In units of u: of the ends of a ball, made of its middle and its radius read as floats.
READ = 6.0

#: Factor by which a sum of at most 4000 non-negative floats is raised to bound the exact one:
#: twice what that takes. Radii of rows, which may be longer, are raised by a unit for each symbol.
UP = 1.0 + 1e-12
#: Covers what underflow may lose anywhere in a bound.
TINY = 1e-240
#: Deviations of times beyond this part of the smallest time constant are refused: the constants
#: of the second-order terms hold up to there.
NEAR = 0.02
#: By what a state, its slope and its curvature grow at most where they are followed back over
#: one such deviation, or two of them: e^NEAR and e^(2 NEAR), since a variable, and what it has
#: brought the one that it drives, each grow by e^(s/tau) over `s` at most.
GROWN, GROWN_2 = 1.03, 1.06
