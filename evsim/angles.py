"""Sine, cosine and the angle of a point, with the same bits on every platform.

Angles are reduced by multiples of pi/2, or by the arc tangents of 0, 1/8, ..., 1, each kept as
two doubles; Taylor polynomials do the rest. The errors are tested against 50-digit values.
"""

from __future__ import annotations

import math

from evsim.jit import inline_kernel, kernel
from evsim.numerics import fma

HALF_PI, HALF_PI_LO = 1.5707963267948966, 6.123233995736766e-17
PI, PI_LO = 2.0 * HALF_PI, 2.0 * HALF_PI_LO
# fmt: off
#: arc tangents of k/8, and what the doubles lack
ATAN_HI = (
    0.0, 0.12435499454676144, 0.24497866312686414, 0.35877067027057225, 0.4636476090008061,
    0.5585993153435624, 0.6435011087932844, 0.7188299996216245, 0.7853981633974483,
)
ATAN_LO = (
    0.0, -3.1253241424539383e-18, 1.0698755618734451e-17, -2.4623815582638635e-17,
    2.2698777452961687e-17, -5.4556305485916264e-18, 1.5834785051444286e-17,
    -2.1478388444456983e-17, 3.061616997868383e-17,
)
# fmt: on
SIN = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(1, 10))
COS = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(2, 11))
ATAN = tuple((-1.0) ** k / (2 * k + 1) for k in range(1, 8))


@inline_kernel
def sine(r):
    """sin(r) for |r| <= pi/4."""
    z, series = r * r, SIN[8]
    for c in (SIN[7], SIN[6], SIN[5], SIN[4], SIN[3], SIN[2], SIN[1], SIN[0]):
        series = fma(series, z, c)
    return fma(r * z, series, r)


@inline_kernel
def cosine(r):
    """cos(r) for |r| <= pi/4."""
    z, series = r * r, COS[8]
    for c in (COS[7], COS[6], COS[5], COS[4], COS[3], COS[2], COS[1], COS[0]):
        series = fma(series, z, c)
    half = 0.5 * z
    w = 1.0 - half
    return w + fma(z * z, series, (1.0 - w) - half)


@kernel
def sin_cos(z):
    """(sin(z), cos(z)) for z in [0, 4], each within 1.5 ulp."""
    k = math.floor(z / HALF_PI + 0.5)
    r = fma(-k, HALF_PI_LO, fma(-k, HALF_PI, z))
    s, c = sine(r), cosine(r)
    if k == 0.0:
        return s, c
    if k == 1.0:
        return c, -s
    return (-s, -c) if k == 2.0 else (-c, s)


@inline_kernel
def arc(y, x):
    """(hi, lo) of the arc tangent of y/x for 0 <= y <= x, 0 < x."""
    k = int(8.0 * (y / x) + 0.5)
    t = 0.125 * k
    r = fma(-t, x, y) / fma(t, y, x)
    z, series = r * r, ATAN[6]
    for c in (ATAN[5], ATAN[4], ATAN[3], ATAN[2], ATAN[1], ATAN[0]):
        series = fma(series, z, c)
    hi, rest = ATAN_HI[k], r + fma(r * z, series, ATAN_LO[k])
    return hi, rest


@kernel
def angle(y, x):
    """Angle of the point (x, y) with y >= 0, in [0, pi]; (0, 0) has none. Within 2 ulp."""
    far = abs(x)
    if y <= far:
        hi, lo = arc(y, far)
        return hi + lo if x > 0.0 else (PI - hi) + (PI_LO - lo)
    hi, lo = arc(far, y)
    if x > 0.0:
        return (HALF_PI - hi) + (HALF_PI_LO - lo)
    return (HALF_PI + hi) + (HALF_PI_LO + lo)
