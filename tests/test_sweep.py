"""The sweep's own book-keeping: which neurons need the solver, and where the state lies."""

import numpy as np
import pytest

import evsim
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


def test_a_resumed_sweep_starts_from_every_neuron_s_own_clock():
    """Its table of coefficients is of intervals between events, the first from time 0."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("p", 3, evsim.LIF(tau_mem=10.0, tau_syn=5.0))
    net.connect("in", "p", [[6.0, 1.0, 0.5], [4.5, 2.0, 1.0]])
    times, units = np.array([0.5, 3.0, 9.0, 9.5, 11.0, 12.0]), np.array([0, 1, 0, 1, 1, 0])
    whole = evsim.simulate(net, {"in": evsim.Spikes(times, units)}, 20.0, path="sweep")
    for pause in (4.0, 8.0):
        early = times < pause
        parts = [evsim.Spikes(times[part], units[part]) for part in (early, ~early)]
        first = evsim.simulate(net, {"in": parts[0]}, pause, path="sweep")
        later = evsim.simulate(net, {"in": parts[1]}, 20.0, path="sweep", resume=first)
        known = len(first.spikes["p"])
        assert 0 < known < len(whole.spikes["p"])
        for column in ("times", "times_lo", "units"):
            expected = getattr(whole.spikes["p"], column)
            found = getattr(later.spikes["p"], column)
            assert found.tolist() == expected[-found.size :].tolist()
            assert found.size in (expected.size, expected.size - known)
