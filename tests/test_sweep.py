"""The sweep's own book-keeping: which neurons need the solver, and where the state lies."""

import numpy as np
import pytest

from evsim.neuron import new_flags
from evsim.sweep import flagged, two_buffers


@pytest.mark.parametrize("n", [1, 7, 8, 63, 64, 65, 500])
def test_flagged_finds_every_byte_of_either_array_in_order(n):
    rng = np.random.default_rng(n)
    flags, busy, found = new_flags(n), new_flags(n), np.empty(n, np.int64)
    for share in (0.0, 0.02, 0.5, 1.0):
        flags[:n] = rng.random(n) < share
        busy[:n] = 255 * (rng.random(n) < share)
        count = flagged(flags.view(np.uint64), busy.view(np.uint64), found)
        assert found[:count].tolist() == np.flatnonzero(flags | busy).tolist()


def test_buffers_hold_the_state_and_share_their_place_in_a_page():
    state = (np.arange(5.0), np.ones(5))
    now, other = two_buffers(state)
    for values, copy in zip(state, now, strict=True):
        np.testing.assert_array_equal(copy, values)
        copy[:] = -1.0
    assert state[0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len({values.ctypes.data % 4096 for values in (*now, *other)}) == 1
