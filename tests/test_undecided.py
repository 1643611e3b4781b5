"""Decisions that float64 cannot make are reported, of every kind, and clear ones are not."""

import math

import numpy as np
import pytest

import evsim


def one(model, times, weights, until, **options):
    net = evsim.Network()
    net.add_input("in", len(times))
    net.add_population("p", 1, model)
    net.connect("in", "p", np.array(weights)[:, None])
    spikes = evsim.Spikes(times, np.arange(len(times)))
    return evsim.simulate(net, {"in": spikes}, until, **options)


def test_a_spike_that_races_the_end_of_the_run_is_undecided():
    model = evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_th=10.0)
    end = float.fromhex("0x1.955e690f38dc0p+0")  # 1.8e-17 before the crossing
    record = one(model, [0.0], [80.0], end)
    assert [kind for *_, kind in record.undecided] == ["tie"]
    assert one(model, [0.0], [80.0], end + 1e-9).undecided == []


def test_an_arrival_that_races_a_release_is_undecided():
    model = evsim.DeltaLIF(tau_mem=10.0, bias=2.0, t_ref=1.0)
    release = 10 * math.log(2) + 1.0  # the first spike, rounded, plus the refractory period
    assert "release" in [k for *_, k in one(model, [release], [0.1], 9.0).undecided]
    assert one(model, [release + 1e-9], [0.1], 9.0).undecided == []


def test_exact_ties_of_exact_models_are_decided():
    # Slope 1/4 reaches 1 at t = 4 exactly, where an inhibitory weight arrives.
    model = evsim.IF(bias=0.25)
    first = one(model, [4.0], [-1.0], 5.0)
    later = one(model, [4.0], [-1.0], 5.0, tie="arrival_first")
    assert first.spikes["p"].times.tolist() == [4.0] and first.undecided == []
    assert later.spikes["p"].times.tolist() == [] and later.undecided == []


def test_a_jump_that_just_misses_is_undecided():
    model = evsim.DeltaLIF(tau_mem=1.0)
    record = one(model, [0.0], [1.0 - 2**-53], 1.0)
    assert len(record.spikes["p"]) == 0
    assert [kind for *_, kind in record.undecided] == ["graze"]


def test_a_neuron_that_never_comes_down_is_named():
    with pytest.raises(evsim.ZenoError, match="neuron 0 of population 'p'"):
        one(evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_reset=1.0), [0.0], [10.0], 5.0)


def test_several_spikes_at_one_instant():
    record = one(evsim.IF(reset="subtract"), [1.0], [3.5], 2.0)
    assert record.spikes["p"].times.tolist() == [1.0, 1.0, 1.0]
    assert record.voltage("p", 0, [0.5, 1.0, 2.0]).tolist() == [0.0, 0.5, 0.5]
