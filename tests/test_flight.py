"""Deliveries in flight: the slot of a time, and what a delivery takes."""

import numpy as np
import pytest

from evsim.flight import new_flight, slot_by, slot_of
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


def test_a_single_arrival_takes_24_bytes():
    assert new_flight(4).singles.entry.strides[0] == 24
