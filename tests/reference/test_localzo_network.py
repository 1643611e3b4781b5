"""The spiking classifier of zeroth-order gradients: its steps, its rules, its backward pass."""

import math

import numpy as np
import pytest

from reference import localzo
from reference import localzo_network as network
from reference.localzo_network import BETA, Rule

SIZES = (30, 20, 15, 4)


def problem(dtype=float):
    rng = np.random.default_rng(3)
    params = {key: value.astype(dtype) for key, value in network.start(SIZES, seed=1).items()}
    spikes = (rng.random((25, 6, 30)) < 0.1).astype(dtype)
    return params, spikes, rng.standard_normal((6, 4)).astype(dtype)


def test_steps_of_the_network_written_out():
    params, spikes, _ = problem()
    run = network.forward(params, spikes)
    u, s = [np.zeros((6, n)) for n in SIZES[1:3]], [np.zeros((6, n)) for n in SIZES[:3]]
    out = np.zeros((6, 4))
    for t in range(25):
        before = list(s)
        out = BETA * out + (1 - BETA) * before[2] @ params["weight2"]
        s[0] = spikes[t]
        for k in range(2):
            u[k] = BETA * u[k] + before[k] @ params[f"weight{k}"] - before[k + 1]
            s[k + 1] = (u[k] > 1.0).astype(float)
            assert np.array_equal(run.runs[k].spikes[t], s[k + 1])
        np.testing.assert_allclose(run.readout[t], out, atol=1e-14)
    assert np.array_equal(run.scores, run.readout.max(axis=0)) and run.runs[1].spikes.any()


@pytest.mark.parametrize("make", [network.zeroth_order, network.windowed])
def test_only_active_neurons_are_visited_and_nothing_is_lost(make):
    params, spikes, top = problem()
    rule = make(delta=0.3, draws=2)
    run = network.forward(params, spikes)
    found = [
        network.backward(params, run, top, one, np.random.default_rng)
        for one in (rule, Rule("everywhere", rule.factor, False))
    ]
    assert found[0][1] == found[1][1] and 0 < found[0][1][0] < 0.5
    for key in params:
        np.testing.assert_allclose(found[0][0][key], found[1][0][key], rtol=0, atol=1e-13)
        assert found[0][0][key].any()


def test_the_gradient_of_the_readout_weight_is_exact():
    params, spikes, top = problem()
    run = network.forward(params, spikes)
    rule = network.dense(localzo.surrogate("normal", 0.2))
    grads, _ = network.backward(params, run, top, rule, np.random.default_rng)
    rng, h = np.random.default_rng(0), 1e-7
    direction = rng.standard_normal(params["weight2"].shape)
    moved = [
        np.sum(top * network.forward(params | {"weight2": params["weight2"] + s * direction},
                                     spikes).scores)
        for s in (h, -h)
    ]  # fmt: skip
    expected = (moved[0] - moved[1]) / (2 * h)
    assert np.sum(grads["weight2"] * direction) == pytest.approx(expected, rel=1e-6)


def test_a_pixel_fires_where_its_logarithm_says():
    spikes = network.latency_code(np.array([[1.0, 0.5, 0.2, 0.201, 0.0]]), 50)
    steps = [np.flatnonzero(spikes[:, 0, k]).tolist() for k in range(5)]
    assert steps == [[int(20 * math.log(1 / 0.8))], [int(20 * math.log(0.5 / 0.3))], [], [], []]


def test_a_window_keeps_as_many_neurons_as_the_estimate_does_on_average():
    rng, delta = np.random.default_rng(0), 0.05
    v = rng.uniform(-0.5, 0.5, 400_000)  # even density: shares are widths
    for draws in (1, 5):
        kept = np.mean(network.windowed(delta=delta, draws=draws).factor(v, rng) > 0)
        drawn = np.mean(network.zeroth_order(delta=delta, draws=draws).factor(v, rng) > 0)
        assert abs(kept - drawn) < 5 * math.sqrt(2 * kept / v.size)
