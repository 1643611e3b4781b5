"""Deliveries in flight: the slot of a time, and what a delivery takes."""

import numpy as np
import pytest

from evsim.flight import later, new_flight, slot_about, slot_by, slot_of
from evsim.jit import kernel


@kernel
def slots(hi, lo, width):
    """The slot by the product, and by division and borders."""
    return slot_by(hi, lo, width, 1.0 / width), slot_of(hi, lo, width)


@pytest.mark.parametrize("width", [1e-4 * (1 - 1e-7), 1.5e-3, 1 / 3, 2.0**-10, 7e-14])
def test_the_product_tells_the_same_slot_as_the_borders(width):
    rng = np.random.default_rng(0)
    numbers = [0, 1, 2, 3, 999, 2**20 + 1, 2**30 - 1, 2**30, 2**31 + 5, *rng.integers(0, 2**32, 50)]
    for k in map(int, numbers):
        border = k * width
        for hi in (border, np.nextafter(border, 0.0), np.nextafter(border, np.inf)):
            for lo in (0.0, -np.spacing(hi) / 4, np.spacing(hi) / 4):
                if hi > 0.0 or lo == 0.0:
                    by, of = slots(hi, lo, width)
                    assert by == of, (k, hi, lo)
        for hi in (k + rng.uniform(0.0, 1.0, 4)) * width:
            by, of = slots(hi, 0.0, width)
            assert by == of


@kernel
def sums(hi, lo, delay, more, width):
    """The slot of an arrival by the rounded sum, and by its time."""
    at_hi, at_lo = later(hi, lo, delay, more)
    return slot_about(hi + delay + more, 1.0 / width), slot_of(at_hi, at_lo, width)


@pytest.mark.parametrize("width", [1e-4 * (1 - 1e-7), 1 / 3, 2.0**-10])
def test_a_rounded_sum_tells_the_slot_or_nothing(width):
    rng, told = np.random.default_rng(1), 0
    for _ in range(20_000):
        k = int(rng.integers(1, 2 ** rng.integers(1, 31)))
        parts = rng.dirichlet([1.0, 1.0, 0.3]) * k * width
        delay, more = parts[1], parts[2] * rng.integers(0, 2)
        off = rng.choice([0.0, 1e-16, 1e-11, 1e-6, 0.3]) * rng.choice([-1.0, 1.0])
        hi = max(0.0, k * (1.0 + off) * width - delay - more)
        about, of = sums(hi, rng.uniform(-0.25, 0.25) * np.spacing(hi), delay, more, width)
        assert about in (-1, of)
        told += about >= 0
    assert told > 4000  # most of those that do not lie at a border


def test_a_single_arrival_takes_24_bytes():
    assert new_flight(4).singles.entry.strides[0] == 24
