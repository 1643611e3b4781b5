r"""One arithmetic in two precisions: float64, and pairs of doubles whose sum is the number.

A kernel written with these functions is compiled once for a plain float and once for a pair,
chosen by the type of its arguments. Each has a proved relative error, in units of
:math:`u = 2^{-53}` for floats and :math:`u^2` for pairs (Joldes, Muller and Popescu 2017):

=============  =====  =====
function       float  pair
=============  =====  =====
`add`, `sub`   1      3
`mul`          1      4
`div`          1      15
`exp_phi`      see `evsim.proof.bounds`
=============  =====  =====
"""

from __future__ import annotations

import math
from fractions import Fraction

from numba import types
from numba.extending import overload

from evsim.dispatch import INLINE
from evsim.jit import inline_kernel, kernel
from evsim.numerics import LOG2E, MAGIC, exp_phi, fma, power_of_two, two_sum


def split(value: Fraction) -> tuple[float, float]:
    """The two doubles nearest to a rational number."""
    hi = float(value)
    return hi, float(value - Fraction(hi))


#: log 2 in three doubles of 32, 32 and 53 bits: their products with the exponents are exact.
_LN2 = Fraction(
    "0.6931471805599453094172321214581765680755001343602552541206800094933936219696947156"
)
LN2_A = math.floor(_LN2 * 2**32) / 2**32
LN2_B = math.floor((_LN2 - Fraction(LN2_A)) * 2**64) / 2**64
LN2_C = float(_LN2 - Fraction(LN2_A) - Fraction(LN2_B))

#: 1/(k + 1)!: as pairs while they matter to the last bit, as doubles behind.
PAIRS = tuple(split(Fraction(1, math.factorial(k + 1))) for k in range(9))
TAIL = tuple(1.0 / math.factorial(k + 1) for k in range(9, 15))
#: 1/(k + 2)!.
MOMENT = tuple(split(Fraction(1, math.factorial(k + 2))) for k in range(27))
PART, DOUBLINGS = 1.0 / 16.0, 4
SMALL = 2.0**-120  # the square of an argument below does not count
FAR_PAIR = 600.0  # beyond, the low part of exp(-x) would lose bits to underflow


@inline_kernel
def fast_two_sum(a, b):
    """As `two_sum`, for abs(a) >= abs(b)."""
    s = a + b
    return s, b - (s - a)


@inline_kernel
def two_prod(a, b):
    """p, e with p = fl(a b) and p + e = a b exactly."""
    p = a * b
    return p, fma(a, b, -p)


@inline_kernel
def pair_add(a, b):
    """Sum of two pairs (AccurateDWPlusDW)."""
    s, e = two_sum(a[0], b[0])
    t, f = two_sum(a[1], b[1])
    v, w = fast_two_sum(s, e + t)
    return fast_two_sum(v, f + w)


@inline_kernel
def pair_mul(a, b):
    """Product of two pairs (DWTimesDW3)."""
    p, e = two_prod(a[0], b[0])
    low = fma(a[1], b[0], fma(a[0], b[1], a[1] * b[1]))
    return fast_two_sum(p, e + low)


@inline_kernel
def pair_div(a, b):
    """Quotient of two pairs (DWDivDW2)."""
    q = a[0] / b[0]
    p, e = two_prod(b[0], q)
    r_hi, r_lo = fast_two_sum(p, fma(b[1], q, e))
    return fast_two_sum(q, ((a[0] - r_hi) + (a[1] - r_lo)) / b[0])


def add(a, b):
    """a + b."""
    return pair_add(a, b) if isinstance(a, tuple) else a + b


def sub(a, b):
    """a - b."""
    return pair_add(a, (-b[0], -b[1])) if isinstance(a, tuple) else a - b


def mul(a, b):
    """a b."""
    return pair_mul(a, b) if isinstance(a, tuple) else a * b


def div(a, b):
    """a / b."""
    return pair_div(a, b) if isinstance(a, tuple) else a / b


def number(hi, lo, like):
    """The number hi + lo, of the type of `like`: a float drops `lo`."""
    return (hi, lo) if isinstance(like, tuple) else hi


def dropped(hi, lo, like):
    """What `number` drops, as a magnitude."""
    return 0.0 if isinstance(like, tuple) else abs(lo)


def upper(a):
    """The number rounded to one double."""
    return a[0] if isinstance(a, tuple) else a


def lower(a):
    """What `upper` leaves out."""
    return a[1] if isinstance(a, tuple) else 0.0


def decay(x):
    """exp(-x) and phi(x) = (1 - exp(-x))/x for x >= 0."""
    return pair_decay(x) if isinstance(x, tuple) else exp_phi(x)


def _is_pair(a) -> bool:
    return isinstance(a, types.BaseTuple)


@overload(add, jit_options=INLINE)
def _add(a, b):
    return (lambda a, b: pair_add(a, b)) if _is_pair(a) else (lambda a, b: a + b)


@overload(sub, jit_options=INLINE)
def _sub(a, b):
    if _is_pair(a):
        return lambda a, b: pair_add(a, (-b[0], -b[1]))
    return lambda a, b: a - b


@overload(mul, jit_options=INLINE)
def _mul(a, b):
    return (lambda a, b: pair_mul(a, b)) if _is_pair(a) else (lambda a, b: a * b)


@overload(div, jit_options=INLINE)
def _div(a, b):
    return (lambda a, b: pair_div(a, b)) if _is_pair(a) else (lambda a, b: a / b)


@overload(number, jit_options=INLINE)
def _number(hi, lo, like):
    return (lambda hi, lo, like: (hi, lo)) if _is_pair(like) else (lambda hi, lo, like: hi)


@overload(dropped, jit_options=INLINE)
def _dropped(hi, lo, like):
    return (lambda hi, lo, like: 0.0) if _is_pair(like) else (lambda hi, lo, like: abs(lo))


@overload(upper, jit_options=INLINE)
def _upper(a):
    return (lambda a: a[0]) if _is_pair(a) else (lambda a: a)


@overload(lower, jit_options=INLINE)
def _lower(a):
    return (lambda a: a[1]) if _is_pair(a) else (lambda a: 0.0)


@overload(decay, jit_options={**INLINE, "forceinline": False})
def _decay(x):
    return (lambda x: pair_decay(x)) if _is_pair(x) else (lambda x: exp_phi(x))


@kernel
def pair_expm1(r):
    """expm1(r) for abs(r) <= 0.35: a Taylor polynomial at r/16, and four doublings."""
    t = (r[0] * PART, r[1] * PART)
    tail = TAIL[5]
    for c in (TAIL[4], TAIL[3], TAIL[2], TAIL[1], TAIL[0]):
        tail = fma(tail, t[0], c)
    total = fast_two_sum(PAIRS[8][0], fma(tail, t[0], PAIRS[8][1]))
    for d in (PAIRS[7], PAIRS[6], PAIRS[5], PAIRS[4], PAIRS[3], PAIRS[2], PAIRS[1], PAIRS[0]):
        total = pair_add(d, pair_mul(total, t))
    y = pair_mul(total, t)
    for _ in range(DOUBLINGS):  # expm1(2 t) = 2 y + y^2
        y = pair_add((2.0 * y[0], 2.0 * y[1]), pair_mul(y, y))
    return y


@kernel
def pair_decay(x):
    """`decay` for a pair; exp(-x) is set to 0 beyond x = 600."""
    if x[0] >= FAR_PAIR:
        return (0.0, 0.0), pair_div((1.0, 0.0), x)
    if x[0] < SMALL:  # and its products might underflow
        return (1.0, -x[0]), (1.0, -0.5 * x[0])
    n = fma(x[0], LOG2E, MAGIC) - MAGIC
    r = two_sum(n * LN2_A, -x[0])
    r = pair_add(r, two_sum(n * LN2_B, -x[1]))
    y = pair_expm1(pair_add(r, two_prod(n, LN2_C)))
    if n == 0.0:
        return pair_add((1.0, 0.0), y), pair_div((-y[0], -y[1]), x)
    scale = power_of_two(MAGIC - n)
    e = pair_add((1.0, 0.0), y)
    e = (e[0] * scale, e[1] * scale)
    return e, pair_div(pair_add((1.0, 0.0), (-e[0], -e[1])), x)
