r"""Arithmetic that every path shares: exponentials, and sums that keep their rounding error.

One exponential serves the vectorised sweep and the scalar solver, so that both give the same
bits, on every platform. It is branch-free: with :math:`n = \mathrm{round}(-x/\ln 2)` and
:math:`r = -x - n \ln 2`, reduced in two steps by fused multiply-add,

.. math::
    e^{-x} = 2^n (1 + r + r^2 h(r)), \qquad h(r) = (e^r - 1 - r)/r^2,           \tag{1}

`h` being the Taylor polynomial of degree 11 in Estrin's order (|r| <= 0.347: its truncation is
below 1e-17). The errors are tested against 50-digit values.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from evsim.dispatch import INLINE
from evsim.jit import inline_kernel

LOG2E = 1.4426950408889634
LN2_HI = float.fromhex("0x1.62e42fefa0000p-1")  # 40 bits: n * LN2_HI is exact
LN2_LO = float.fromhex("0x1.cf79abc9e3b3ap-40")
MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer
FAR = 708.0  # beyond, e**-x is set to 0: no subnormal results

SQRT_HALF = math.sqrt(0.5)
SQRT_HALF_BITS = struct.unpack("<q", struct.pack("<d", SQRT_HALF))[0]

A = tuple(1.0 / (2 * k + 3) for k in range(11))  # of (atanh(s) - s)/s**3 in s**2
C = tuple(1.0 / math.factorial(k + 2) for k in range(12))


def fma(a, b, c):
    """`a*b + c` rounded once."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return float(exact) if exact else a * b + c


def power_of_two(m):
    """2**n from the bits of m = n + 1.5 * 2**52, for n >= -1022."""
    (bits,) = struct.unpack("<q", struct.pack("<d", m))
    return struct.unpack("<d", struct.pack("<q", ((bits + 1023) << 52) & (2**63 - 1)))[0]


@intrinsic
def _fma(typingctx, a, b, c):
    def codegen(context, builder, signature, args):
        double = ir.DoubleType()
        kind = ir.FunctionType(double, [double] * 3)
        function = builder.module.declare_intrinsic("llvm.fma", [double], kind)
        return builder.call(function, args)

    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def _power_of_two(typingctx, m):
    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        bits = builder.bitcast(args[0], word)
        moved = builder.shl(builder.add(bits, word(1023)), word(52))
        return builder.bitcast(moved, ir.DoubleType())

    return types.float64(types.float64), codegen


def lowest_bit(bits):
    """Index of the lowest bit that is set in a word other than 0."""
    bits = int(bits)
    return (bits & -bits).bit_length() - 1


@intrinsic
def _lowest_bit(typingctx, bits):
    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@overload(lowest_bit, jit_options=INLINE)
def _lowest_bit_overload(bits):
    return lambda bits: _lowest_bit(bits)


@overload(fma, jit_options=INLINE)
def _fma_overload(a, b, c):
    return lambda a, b, c: _fma(a, b, c)


@overload(power_of_two, jit_options=INLINE)
def _power_of_two_overload(m):
    return lambda m: _power_of_two(m)


@inline_kernel
def reduce(x):
    """(n as float, 2**n, r, h(r)) of (1), for x >= 0."""
    y = x if x < FAR else FAR
    m = fma(-y, LOG2E, MAGIC)
    n = m - MAGIC
    r = fma(-n, LN2_LO, fma(-n, LN2_HI, -y))
    r2 = r * r
    r4 = r2 * r2
    a = fma(r, C[1], C[0])
    b = fma(r, C[3], C[2])
    c = fma(r, C[5], C[4])
    d = fma(r, C[7], C[6])
    e = fma(r, C[9], C[8])
    f = fma(r, C[11], C[10])
    high = fma(r4, fma(r2, f, e), fma(r2, d, c))
    return n, power_of_two(m), r, fma(r4, high, fma(r2, b, a))


@inline_kernel
def exp_neg(x):
    """exp(-x) for x >= 0, within 1.1 ulp; 0 beyond x = 708."""
    _, scale, r, h = reduce(x)
    value = fma(scale, fma(r * r, h, r), scale)
    return value if x < FAR else 0.0


@inline_kernel
def exp_phi(x):
    """exp(-x) and phi(x) = (1 - exp(-x))/x for x >= 0, phi(0) = 1; within 1.1 and 2.2 ulp."""
    n, scale, r, h = reduce(x)
    rest = scale * fma(r * r, h, r)
    value = scale + rest
    value = value if x < FAR else 0.0
    # n = 0 means r = -x, where (exp(r) - 1)/r needs no division by x.
    remaining = (1.0 - scale) - rest if x < FAR else 1.0
    phi = fma(r, h, 1.0) if n == 0.0 else remaining / (x if x > 0.0 else 1.0)
    return value, phi


@inline_kernel
def two_sum(a, b):
    """s, e with s = fl(a + b) and s + e = a + b exactly (Knuth 1969)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def split_power(x):
    """(k as float, m) with x = 2**k m and m in [sqrt(1/2), sqrt(2)), for a normal x > 0."""
    m, k = math.frexp(x)
    return (k - 1.0, 2.0 * m) if m < SQRT_HALF else (float(k), m)


@intrinsic
def _split_power(typingctx, x):
    def codegen(context, builder, signature, args):
        word, double = ir.IntType(64), ir.DoubleType()
        bits = builder.bitcast(args[0], word)
        # Moving the exponent by that of sqrt(1/2) makes the split fall there.
        moved = builder.sub(bits, word(SQRT_HALF_BITS))
        k = builder.ashr(moved, word(52))
        m = builder.sub(bits, builder.shl(k, word(52)))
        parts = [builder.sitofp(k, double), builder.bitcast(m, double)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(types.float64, 2)(types.float64), codegen


@overload(split_power, jit_options=INLINE)
def _split_power_overload(x):
    return lambda x: _split_power(x)


@inline_kernel
def atanh_tail(z):
    """atanh(s)/s - 1 at z = s**2, |s| < 0.172: the series of atanh to s**23."""
    series = A[10]
    for c in (A[9], A[8], A[7], A[6], A[5], A[4], A[3], A[2], A[1], A[0]):
        series = fma(series, z, c)
    return z * series


@inline_kernel
def log_near_one(f):
    """log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)): 2 atanh(s) with s = f/(2 + f)."""
    s = f / (2.0 + f)
    # 2 atanh(s) = f - s (f - 2 tail): the leading term is exact.
    return f - s * (f - 2.0 * atanh_tail(s * s))


@inline_kernel
def log(x):
    """log(x) for a normal, finite x > 0, within 2 ulp; the same on every platform.

    log(2**k m) = k log 2 + log(m), with m next to one.
    """
    k, m = split_power(x)
    return fma(k, LN2_HI, fma(k, LN2_LO, log_near_one(m - 1.0)))


@inline_kernel
def log1p(x):
    """log(1 + x) for a finite x > -1, within 2 ulp; the same on every platform."""
    u, lost = two_sum(1.0, x)
    k, m = split_power(u)
    if k == 0.0:
        return log_near_one(x)
    return fma(k, LN2_HI, fma(k, LN2_LO, log_near_one(m - 1.0) + lost / u))


@inline_kernel
def add_time(hi, lo, offset):
    """(hi, lo) + offset, renormalised: relative error below 2**-104."""
    s, e = two_sum(hi, offset)
    e += lo
    t = s + e
    return t, e - (t - s)


@inline_kernel
def elapsed(hi, lo, since_hi, since_lo):
    """(hi, lo) - (since_hi, since_lo), rounded to one double."""
    s, e = two_sum(hi, -since_hi)
    return s + (e + (lo - since_lo))


@inline_kernel
def not_before(hi, lo, other_hi, other_lo):
    """Whether the time (hi, lo) is at or after the other one; both normalised."""
    return hi > other_hi or (hi == other_hi and lo >= other_lo)
