"""Batches in one call: the spikes of `simulate` bit for bit, the derivatives of `gradient`."""

import numpy as np
import pytest

import evsim
from evsim import FeedForward, Trains, losses

SAMPLES = 40  # more than one chunk


def network(rng):
    net = evsim.Network()
    net.add_input("in", 6)
    taus = {"tau_mem": 20e-3, "tau_syn": rng.uniform(4e-3, 7e-3, 5)}
    net.add_population("h", 5, evsim.LIF(**taus, t_ref=1e-3, bias=0.1), initial={"v": 0.2})
    net.add_population("o", 3, evsim.LI(tau_mem=15e-3, tau_syn=5e-3, v_leak=0.1))
    net.connect("in", "h", rng.normal(2.0, 0.8, (6, 5)), 1e-3)
    net.connect("h", "o", rng.normal(0.2, 0.5, (5, 3)), rng.uniform(0, 2e-3, (5, 3)))
    net.connect("in", "o", [-0.2, 0.5, 0.3], pre_units=[0, 3, 5], post_units=[0, 2, 0], name="skip")
    return net


@pytest.fixture(scope="module")
def ran():
    rng = np.random.default_rng(3)
    net = network(rng)
    times = np.where(rng.random((SAMPLES, 6)) < 0.9, rng.uniform(0.0, 0.03, (SAMPLES, 6)), np.inf)
    layers = FeedForward(net, 0.05, threads=2)
    run = layers.run({"in": Trains.from_times(times)})
    inputs = [
        {"in": evsim.Spikes(row[np.isfinite(row)], np.flatnonzero(np.isfinite(row)))}
        for row in times
    ]
    return net, times, layers, run, evsim.simulate(net, inputs, 0.05), rng


def test_a_batch_has_the_spikes_of_its_samples(ran):
    _, _, _, run, records, _ = ran
    assert run.spikes["h"].times.size > 2 * SAMPLES
    assert run.spikes["o"].times.size == 0
    for k, record in enumerate(records):
        mine, expected = run.spikes["h"].sample(k), record.spikes["h"]
        assert np.array_equal(mine.times, expected.times)
        assert np.array_equal(mine.times_lo, expected.times_lo)
        assert np.array_equal(mine.units, expected.units)
        assert np.array_equal(run.maximum("o")[k], record.maximum("o")[0])
    first, index = run.spikes["h"].first(5, 0.05)
    expected = [r.spikes["h"].times[0] for r in records]
    assert first.min(axis=1) == pytest.approx(expected, abs=0)
    assert (run.spikes["h"].times[index[index >= 0]] == first[index >= 0]).all()


def test_a_batch_has_the_derivatives_of_its_samples(ran):
    _, _, layers, run, records, rng = ran
    c = rng.standard_normal(run.spikes["h"].times.size)
    top, last = rng.standard_normal((2, SAMPLES, 3))
    g = layers.gradient(run, {"h": c, "o": [losses.Maximum(top), losses.Final(last)]})
    each = [
        {"h": c[run.spikes["h"].samples == k],
         "o": [losses.Maximum(top[k]), losses.Final(last[k])]}
        for k in range(SAMPLES)
    ]  # fmt: skip
    expected = evsim.gradient(records, each)
    for name, by_weight in expected.weight.items():
        assert g.weight[name].ravel() == pytest.approx(np.ravel(by_weight), rel=1e-11, abs=1e-13)
        assert np.ravel(g.delay[name]) == pytest.approx(
            np.ravel(expected.delay[name]), rel=1e-10, abs=1e-9
        )
    assert g.inputs["in"] == pytest.approx(
        np.concatenate([one["in"] for one in expected.inputs]), rel=1e-10, abs=1e-9
    )
    for name in ("h", "o"):
        for key, value in vars(expected.params[name]).items():
            assert getattr(g.params[name], key) == pytest.approx(value, rel=1e-10, abs=1e-12), key
        rows = np.array([one[name].v for one in expected.initial])
        assert g.initial[name].v == pytest.approx(rows, rel=1e-10, abs=1e-12)


def test_neither_threads_nor_the_batch_change_a_bit(ran):
    net, times, layers, run, _, rng = ran
    c = rng.standard_normal(run.spikes["h"].times.size)
    alone = FeedForward(net, 0.05, threads=1)
    again = alone.run({"in": Trains.from_times(times)})
    assert np.array_equal(again.spikes["h"].times, run.spikes["h"].times)
    one, two = alone.gradient(again, {"h": c}), layers.gradient(run, {"h": c})
    assert np.array_equal(one.weight["in->h"], two.weight["in->h"])


def test_weights_change_in_place(ran):
    net, times, layers, run, _, _ = ran
    other = FeedForward(net, 0.05)
    other.weight["in->h"] *= 1.1
    assert net.projections["in->h"].weight[0, 0] == layers.weight["in->h"][0, 0]
    moved = other.run({"in": Trains.from_times(times)})
    assert moved.spikes["h"].times[0] < run.spikes["h"].times[0]


def test_what_it_cannot_do_is_refused(ran):
    _, times, layers, run, _, _ = ran
    with pytest.raises(ValueError, match=r"must have shape"):
        layers.gradient(run, {"h": np.zeros(3)})
    with pytest.raises(ValueError, match="inputs must hold in"):
        layers.run({"other": Trains.from_times(times)})
    with pytest.raises(ValueError, match=r"times\[0, 1\] must be non-negative"):
        Trains.from_times([[0.0, -1.0]])
    net = evsim.Network()
    net.add_population("p", 1, evsim.LIF(tau_mem=1.0, tau_syn=1.0))
    net.connect("p", "p", [[1.0]], 1.0)
    with pytest.raises(ValueError, match="p lie on a cycle"):
        FeedForward(net, 1.0)
