"""Sine, cosine and angle against 50 digits."""

import math
import subprocess
import sys

import mpmath
import numpy as np

from evsim.angles import PI, angle, sin_cos


def worst(pairs):
    """Largest error in ulps of the truth."""
    return max(float(abs(mpmath.mpf(v) - t)) / math.ulp(float(t)) for v, t in pairs)


def test_sine_and_cosine_keep_their_bounds():
    rng = np.random.default_rng(1)
    edges = [k * math.pi / 4 for k in range(1, 5)]
    zs = [*rng.uniform(0, 4, 2000), *10.0 ** rng.uniform(-300, 0, 500), *edges, PI]
    zs += [float(np.nextafter(z, d)) for z in edges for d in (0.0, 9.0)]
    with mpmath.workdps(50):
        for which, truth in enumerate((mpmath.sin, mpmath.cos)):
            assert worst((sin_cos(float(z))[which], truth(float(z))) for z in zs) <= 1.5
    assert sin_cos(0.0) == (0.0, 1.0)


def test_the_angle_keeps_its_bound():
    rng = np.random.default_rng(2)
    points = [(10.0**a, s * 10.0**b) for a, b, s in zip(
        rng.uniform(-150, 150, 1000), rng.uniform(-150, 150, 1000), rng.choice((-1, 1), 1000),
        strict=True)]  # fmt: skip
    points += [(abs(math.sin(z)), math.cos(z)) for z in rng.uniform(0, 3.14, 2000)]
    points += [(k / 16.0, s) for k in range(1, 40) for s in (-1.0, 1.0)]
    points += [(float(np.nextafter(k / 16.0, 0.0)), 1.0) for k in range(1, 40)]
    points += [(1.0, 0.0), (1.0, -0.0), (0.0, -2.0)]
    with mpmath.workdps(50):
        assert worst((angle(y, x), mpmath.atan2(y, x)) for y, x in points) <= 2.0
    assert angle(0.0, 3.0) == 0.0


def test_interpreted_and_compiled_agree():
    code = (
        "from evsim.angles import angle, sin_cos;"
        "print([(angle(k / 7.0, j - 3.5), *sin_cos(k / 9.0)) for k in range(36) for j in range(8)])"
    )
    both = {
        subprocess.run(
            [sys.executable, "-c", f"import os; os.environ['NUMBA_DISABLE_JIT'] = '{k}'; {code}"],
            capture_output=True, text=True, check=True,
        ).stdout
        for k in (0, 1)
    }  # fmt: skip
    assert len(both) == 1
