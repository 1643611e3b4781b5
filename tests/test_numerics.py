"""The engine's arithmetic against 50 digits, and the same bits however it is run."""

import hashlib
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from evsim import numerics
from evsim.numerics import (
    add_time,
    elapsed,
    exp_neg,
    exp_phi,
    fma,
    log,
    log1p,
    lowest_bit,
    not_before,
    power_of_two,
    split_power,
    two_sum,
)

ROOT = Path(__file__).parents[1]
LN2 = math.log(2.0)
#: Where a formula changes: no reduction to one step, ties of the rounding, the far end.
EDGES = sorted(
    {0.0, 1.0, 707.0, 709.0, 745.2, 1e4, 1e300, math.inf, 5e-324, 2.0**-1022, 1e-300, 1e-20, 1e-8}
    | {float(x) for x in np.linspace(0.34, 0.36, 41)}
    | {float(x) for x in np.linspace(707.9, 708.1, 21)}
    | {np.nextafter(x, d) for x in (LN2 / 2, 1.5 * LN2, LN2, 708.0) for d in (0.0, x, 1e9)}
)


def points(count, seed):
    """Seeded points over all scales of an exponent, and the edges."""
    rng = np.random.default_rng(seed)
    parts = (
        10.0 ** rng.uniform(-20.0, 2.85, count // 2),
        rng.uniform(0.0, 2.0, count // 4),
        rng.uniform(0.0, 708.0, count - count // 2 - count // 4),
    )
    return np.concatenate([*parts, EDGES])


def ulps(value, truth):
    """Error in units in the last place of the truth."""
    if truth == 0:
        return 0.0 if value == 0.0 else math.inf
    return float(abs(mpmath.mpf(value) - truth) / mpmath.mpf(math.ulp(float(truth))))


def worst(function, truth, xs, which=None):
    """Largest error over `xs`, and where."""
    with mpmath.workdps(50):
        errors = []
        for x in map(float, xs):
            value = function(x) if which is None else function(x)[which]
            errors.append((ulps(value, truth(mpmath.mpf(x))), x))
    return max(errors)


def true_exp(x):
    return mpmath.exp(-x)


def true_phi(x):
    return -mpmath.expm1(-x) / x if x else mpmath.mpf(1)


#: (name, function, place in its answer, truth, bound of its docstring)
BOUNDS = [
    ("exp_neg", exp_neg, None, true_exp, 1.1),
    ("exp_phi.exp", exp_phi, 0, true_exp, 1.1),
    ("exp_phi.phi", exp_phi, 1, true_phi, 2.2),
]


@pytest.mark.parametrize("name, function, which, truth, bound", BOUNDS, ids=lambda v: str(v)[:14])
def test_exponentials_keep_the_bounds_that_they_state(name, function, which, truth, bound):
    xs = points(5000, 7)
    # From FAR on exp(-x) is 0 by declaration; the others are accurate there too.
    xs = xs[xs < (numerics.FAR if truth is true_exp else math.inf)]
    error, where = worst(function, truth, xs, which)
    assert error <= bound, f"{name}({where!r}): {error:.3f} ulp"


def test_logarithm_keeps_its_bound():
    rng = np.random.default_rng(8)
    xs = np.concatenate(
        [
            10.0 ** rng.uniform(-300, 300, 2000),
            1.0 + rng.choice((-1.0, 1.0), 2000) * 10.0 ** rng.uniform(-16, -0.4, 2000),
            np.exp(rng.uniform(-1.0, 1.0, 1000)),
            [2.0**-1022, 1.0, 2.0, 0.5, math.sqrt(0.5), np.nextafter(math.sqrt(0.5), 0), 1.79e308],
            [np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0), math.e],
        ]
    )
    error, where = worst(log, mpmath.log, xs)
    assert error <= 2.0, f"log({where!r}): {error:.3f} ulp"


def test_logarithm_next_to_one_keeps_its_bound():
    rng = np.random.default_rng(9)
    edges = [math.sqrt(0.5) - 1.0, math.sqrt(2.0) - 1.0, -1.0 + 2.0**-53, -0.5, 1.0, 3.0]
    xs = np.concatenate(
        [
            10.0 ** rng.uniform(-300, 300, 1000),
            rng.choice((-1.0, 1.0), 2000) * 10.0 ** rng.uniform(-17, -0.01, 2000),
            -1.0 + 10.0 ** rng.uniform(-15.9, -0.1, 1000),
            rng.uniform(-0.5, 1.5, 1000),
            [*edges, *np.nextafter(edges, 9.0), *np.nextafter(edges[:2] + edges[3:], -0.9)],
            [0.0, 5e-324, -5e-324, 2.0**-1022, 1.79e308],
        ]
    )
    error, where = worst(
        log1p, lambda x: mpmath.log(1 + x) if abs(x) > 1e-20 else x - x * x / 2, xs
    )
    assert error <= 2.0, f"log1p({where!r}): {error:.3f} ulp"


def test_the_far_end_is_zero_and_never_subnormal():
    for x in EDGES:
        value, phi = exp_phi(x)
        assert exp_neg(x) == value and (value == 0.0 or value >= 2.0**-1022)
        assert (value == 0.0) == (x >= numerics.FAR)
        assert 0.0 <= phi <= 1.0
    assert (exp_neg(0.0), exp_phi(0.0)) == (1.0, (1.0, 1.0))


def test_exponentials_are_monotone_where_they_change_formula():
    """Nobody may see a voltage rise because a reduction step changed."""
    for centre in (LN2 / 2, 1.5 * LN2, 2.5 * LN2, 100.5 * LN2):
        xs = centre + np.arange(-200, 201) * math.ulp(centre)
        for function in (exp_neg, lambda x: exp_phi(x)[1]):
            values = np.array([function(float(x)) for x in xs])
            assert (np.diff(values) <= 2 * np.spacing(values[1:])).all()


@njit(error_model="numpy")
def in_a_loop(xs, out):
    """Branch-free functions in a loop that the compiler vectorises."""
    for k in range(xs.size):
        value, phi = exp_phi(xs[k])
        out[0, k] = exp_neg(xs[k])
        out[1, k] = value
        out[2, k] = phi


@njit(error_model="numpy")
def logs_in_a_loop(xs, out):
    for k in range(xs.size):
        out[k] = log(xs[k])


def test_same_bits_alone_and_in_a_vectorised_loop():
    xs = points(4000, 9)
    out = np.empty((3, xs.size))
    in_a_loop(xs, out)
    alone = [[exp_neg(x), *exp_phi(x)] for x in xs.tolist()]
    assert out.T.tobytes() == np.array(alone).tobytes()
    positive = xs[(xs >= 2.0**-1022) & np.isfinite(xs)]
    out = np.empty(positive.size)
    logs_in_a_loop(positive, out)
    assert out.tobytes() == np.array([log(x) for x in positive.tolist()]).tobytes()


PRINT_BITS = """
import sys, json, hashlib
import numpy as np
from evsim.numerics import exp_neg, exp_phi, log, log1p, two_sum, add_time, elapsed
xs = np.array(json.load(sys.stdin))
rows = [[exp_neg(x), *exp_phi(x), log(x) if x >= 2.0**-1022 else 0.0, log1p(x),
         *two_sum(x, 1 / 3), *add_time(x, 1e-17 * x, -0.7), elapsed(x, 1e-17 * x, 0.1, 1e-18)]
        for x in xs.tolist()]
print(hashlib.sha256(np.array(rows).tobytes()).hexdigest(), hasattr(exp_neg, "py_func"))
"""


def test_same_bits_interpreted():
    xs = points(2000, 10)
    xs = xs[np.isfinite(xs)].tolist()
    rows = [
        [exp_neg(x), *exp_phi(x), log(x) if x >= 2.0**-1022 else 0.0, log1p(x),
         *two_sum(x, 1 / 3), *add_time(x, 1e-17 * x, -0.7), elapsed(x, 1e-17 * x, 0.1, 1e-18)]
        for x in xs
    ]  # fmt: skip
    ours = hashlib.sha256(np.array(rows).tobytes()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", PRINT_BITS],
        input=json.dumps(xs),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    digest, compiled = done.stdout.split()
    assert compiled == "False" and digest == ours


@pytest.mark.skipif(not hasattr(exp_neg, "py_func"), reason="already interpreted")
def test_functions_answer_their_own_source():
    """`.py_func` of the outermost function, around compiled inner ones."""
    for x in points(200, 11).tolist():
        assert exp_neg.py_func(x) == exp_neg(x) and exp_phi.py_func(x) == exp_phi(x)


def test_bit_tricks_mean_what_they_say():
    for n in (0, -1, -5, -1022):
        assert power_of_two(n + numerics.MAGIC) == 2.0**n
    for x in (1.0, 0.7, 0.71, 2.0**-1022, 1.7e308, math.sqrt(0.5), np.nextafter(math.sqrt(0.5), 0)):
        k, m = split_power(float(x))
        assert math.ldexp(m, int(k)) == x
        assert numerics.SQRT_HALF <= m < 2.0 * numerics.SQRT_HALF
    assert fma(1.0 + 2.0**-30, 1.0 - 2.0**-30, -1.0) == -(2.0**-60)
    assert fma(math.inf, 1.0, 1.0) == math.inf and math.isnan(fma(math.inf, 0.0, 1.0))


times = st.floats(0.0, 1e6)
parts = st.floats(-1.0, 1.0)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@example(1e6, 1e-12)
@example(-0.1, 0.1)
def test_two_sum_loses_nothing(a, b):
    s, e = two_sum(a, b)
    assert s == a + b and Fraction(s) + Fraction(e) == Fraction(a) + Fraction(b)


def pair(t, part):
    """A normalised time: hi with at most half a rounding in lo."""
    return t, part * math.ulp(t) / 2.0


@settings(deadline=None)
@given(times, parts, st.floats(0.0, 1e6))
@example(1e6, 0.9, 1e-9)
@example(0.1, -1.0, 0.2)
def test_a_time_plus_an_offset_keeps_104_bits(t, part, offset):
    hi, lo = pair(t, part)
    exact = Fraction(hi) + Fraction(lo) + Fraction(offset)
    a, b = add_time(hi, lo, offset)
    assert abs(Fraction(a) + Fraction(b) - exact) <= exact * Fraction(2) ** -104
    assert a == float(Fraction(a) + Fraction(b))  # normalised


@settings(deadline=None)
@given(times, parts, times, parts)
@example(1e6, 0.5, 1e6, -0.5)
@example(1.0, 0.0, 1.0, 0.0)
def test_the_time_between_is_rounded_once_or_twice(t, part, since, other):
    (hi, lo), (a, b) = pair(t, part), pair(since, other)
    exact = Fraction(hi) + Fraction(lo) - Fraction(a) - Fraction(b)
    # lo - since_lo and its sum with the error term are rounded, then the whole is.
    slack = Fraction(2) ** -52 * (abs(Fraction(lo)) + abs(Fraction(b)) + abs(exact))
    slack += Fraction(2) ** -53 * Fraction(math.ulp(max(hi, a)))
    assert abs(Fraction(elapsed(hi, lo, a, b)) - exact) <= slack


@settings(deadline=None)
@given(times, parts, st.integers(-2, 2), parts)
def test_order_of_times_is_exact(t, part, steps, other):
    hi, lo = pair(t, part)
    a, b = pair(abs(t + steps * math.ulp(t)), other)
    later = Fraction(hi) + Fraction(lo) >= Fraction(a) + Fraction(b)
    # Halfway pairs have two forms; they are not normalised alike and are left out.
    if abs(part) < 1.0 and abs(other) < 1.0:
        assert not_before(hi, lo, a, b) == later


@njit
def lowest_bits(words, out):
    for k in range(words.size):
        out[k] = lowest_bit(words[k])


def test_lowest_bit_of_every_word():
    words = [1 << k | rest << (k + 1) & (1 << 64) - 1 for k in range(64) for rest in (0, 1, 5)]
    expected = [k for k in range(64) for _ in range(3)]
    out = np.empty(len(words), np.int64)
    lowest_bits(np.array(words, np.uint64), out)
    assert out.tolist() == expected
    assert [lowest_bit(word) for word in words] == expected
