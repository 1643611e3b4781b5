"""What a record gives back belongs to the neuron that was asked for."""

from fractions import Fraction

import numpy as np

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
