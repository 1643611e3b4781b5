"""What a record gives back belongs to the neuron that was asked for."""

from fractions import Fraction

import numpy as np
import pytest

import evsim


def test_a_voltage_is_that_of_the_neuron_with_its_own_parameters():
    taus, leaks = np.array([5.0, 10.0, 20.0]), np.array([0.0, 0.1, -0.2])
    net = evsim.Network()
    net.add_population("p", 3, evsim.LI(tau_mem=taus, v_leak=leaks), initial={"v": 1.0})
    record = evsim.simulate(net, {}, 8.0)
    for unit in range(3):
        expected = leaks[unit] + (1.0 - leaks[unit]) * np.exp(-6.0 / taus[unit])
        assert abs(record.voltage("p", unit, 6.0) - expected) < 1e-15


def test_an_exact_tie_is_not_decided_on_a_rounded_gap():
    # 4 + t_ref + 4 lies below `until` by less than an ulp of it, or above, as the doubles say.
    t_ref = 0.6660899134670154
    for until in (8.666089913467015, np.nextafter(8.666089913467015, 9.0)):
        net = evsim.Network()
        net.add_population("p", 1, evsim.IF(bias=0.25, t_ref=t_ref))
        record = evsim.simulate(net, {}, until)
        truth = 1 + (8 + Fraction(t_ref) <= Fraction(until))
        assert len(record.spikes["p"]) == truth


def driven(model, weight, times, until):
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 2, model)
    net.connect("in", "p", [[0.0, weight]])
    return evsim.simulate(net, {"in": evsim.Spikes(times, np.zeros(len(times), int))}, until)


def test_a_moving_threshold_is_read_at_any_time():
    model = evsim.AdaptiveLIF(
        tau_mem=10.0, tau_syn=4.0, tau_th=30.0, jump_th=[0.5, 0.25], v_th=[1.0, 0.75]
    )
    record = driven(model, 20.0, [1.0, 2.0], 40.0)
    spikes = record.spikes["p"].times[record.spikes["p"].units == 1]
    assert spikes.size > 2
    t = np.linspace(0.0, 40.0, 33)
    past = t[:, None] - spikes
    expected = 0.75 + 0.25 * np.where(past >= 0, np.exp(-np.abs(past) / 30.0), 0.0).sum(axis=1)
    assert np.abs(record.threshold("p", 1, t) - expected).max() < 1e-12
    assert record.threshold("p", 0, 3.0) == 1.0
    just = np.nextafter(spikes, 0.0)
    assert np.abs(record.threshold("p", 1, just) - record.voltage("p", 1, just)).max() < 1e-12
    assert set(record.state("p", 1, t)) == {"v", "i", "th"}


def test_every_state_variable_is_read_by_name():
    t = np.linspace(0.0, 20.0, 9)
    record = driven(evsim.AlphaLIF(tau_mem=10.0, tau_syn=4.0, v_th=99.0), 3.0, [5.0], 20.0)
    state = record.state("p", 1, t)
    since = np.where(t >= 5.0, t - 5.0, np.inf)
    assert np.abs(state["a"] - 3.0 * np.exp(-since / 4.0)).max() < 1e-14
    assert np.array_equal(state["i"], record.current("p", 1, t))
    assert np.array_equal(state["v"], record.voltage("p", 1, t))
    ramp = driven(evsim.IF(input="ramp", v_th=99.0), 0.25, [5.0, 6.0], 20.0).state("p", 1, t)
    assert ramp["r"].tolist() == (0.25 * ((t >= 5.0) * 1.0 + (t >= 6.0))).tolist()
    assert set(ramp) == {"v", "r"}
    types = evsim.LIF(tau_mem=9.0, tau_syn={"a": 2.0}, v_th=2.0)
    net = evsim.Network()
    net.add_population("p", 1, types, initial={"i": {"a": 1.0}})
    net.add_population("q", 1, evsim.LI(tau_mem=1.0))
    record = evsim.simulate(net, {}, 1.0)
    assert record.state("p", 0, 0.0) == {"v": 0.0, "i_a": 1.0}
    assert record.threshold("p", 0, [0.0, 1.0]).tolist() == [2.0, 2.0]
    assert set(record.state("q", 0, 0.5)) == {"v"}
    with pytest.raises(ValueError, match="'q' is of LI, which has no threshold"):
        record.threshold("q", 0, 0.5)


def test_bias_and_current_that_meet_the_threshold_have_the_exact_sign():
    """1 - 0.1 - 0.9 is -2.8e-17 with these doubles, though 1 - 0.1 rounds to 0.9."""
    for bias, fires in ((0.1, True), (0.1 - 2.0**-54, False), (0.125, True)):
        assert (Fraction(1) - Fraction(bias) - Fraction(0.9) < 0) == fires
        net = evsim.Network()
        net.add_population("p", 1, evsim.LIF(tau_mem=1.0, tau_syn=1.0, bias=bias))
        drive = evsim.Current([0.0], [0.9])
        record = evsim.simulate(net, {"p": drive}, 1000.0)
        assert (len(record.spikes["p"]) > 0) == fires, bias
