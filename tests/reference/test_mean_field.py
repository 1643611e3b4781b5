"""The mean field of gradients: exact where its assumptions are, and close where they nearly are."""

import numpy as np
import pytest

from reference import mean_field, stack
from reference.bptt import lif_backward
from reference.stack import Stack, initial
from reference.surrogates import get

SOFT = dict(beta=0.8, reset="soft", compare=">")


def measured(net, run, e, g, detach=True):
    size = stack.total(net.profile(run, e, g, detach=detach))
    return np.exp(size[:-1] - size[1:])


def wide(**neuron):
    """One sample of three layers; many neurons, so that sums over them are what is expected."""
    rng = np.random.default_rng(4)
    net = Stack(initial(rng, [50, 900, 900, 900], gain=2.0, batch_norm=False), **neuron)
    return net, net.forward(rng.random((6, 8, 50))), rng


def test_one_step_of_a_memoryless_layer_is_the_closed_form():
    rng = np.random.default_rng(4)
    net = Stack(initial(rng, [50, *[600] * 3]), **SOFT)
    run = net.forward(rng.random((1, 200, 50)))
    g = get("spikingjelly.SoftSign", alpha=4.0)
    both = (
        mean_field.gains(net, run, g, detach=True),
        mean_field.independent_gains(net, run, g.derivative),
    )
    assert np.allclose(*both, rtol=0.01)  # 120 000 draws: 0.3 % each
    e = rng.standard_normal((1, 200, 600))
    # Norms of 200 x 600 numbers fluctuate by 0.2 %; batch statistics take off 2 of 200.
    assert np.allclose(measured(net, run, e, g), both[1], rtol=0.02)


@pytest.mark.parametrize("alpha", [1.0, 8.0])
@pytest.mark.parametrize(
    ("reset", "detach"), [("soft", True), ("soft", False), ("hard", True), ("hard", False)]
)
def test_every_reset_is_predicted_layer_by_layer(reset, detach, alpha):
    """Wide and narrow, attached and detached, within four standard errors.

    A squared norm is a sum over 900 neurons, whose samples are alike, and over the random weights
    that bring it down, with a relative variance of 2/900.
    """
    net, run, rng = wide(**{**SOFT, "reset": reset})
    g = get("spikingjelly.SoftSign", alpha=alpha)
    e = np.broadcast_to(rng.standard_normal((8, 900)), (6, 8, 900))
    found = mean_field.gains(net, run, g, detach=detach)
    per_neuron = np.square(lif_backward(run.layers[-1], e, g, detach=detach)["current"]).sum(
        axis=(0, 1)
    )
    spread = np.var(per_neuron) / np.mean(per_neuron) ** 2 / 900
    error = 0.5 * np.sqrt(spread + 2 / 900)
    assert 4 * error < 0.2
    assert np.allclose(measured(net, run, e, g, detach), found, rtol=4 * error)


def test_white_and_constant_gradients_differ_by_their_coherence():
    """Constant in time, the terms of the geometric sum add up; white, their squares do."""
    net, run, _ = wide(**SOFT)

    def ones(v):
        return np.ones_like(v)

    white = mean_field.gains(net, run, ones, detach=True, covariance=np.eye(6))[-1]
    steady = mean_field.gains(net, run, ones, detach=True)[-1]
    decay = 0.8 ** np.arange(6)
    sums = [decay[: 6 - t].sum() for t in range(6)]
    squares = [(decay[: 6 - t] ** 2).sum() for t in range(6)]
    ratio = np.sqrt(np.sum(np.square(sums)) / np.sum(squares))
    assert np.isclose(steady / white, ratio, rtol=0.03)  # 7200 draws of 6 steps: 0.5 %


def test_skip_connections_are_refused():
    net = Stack({"0.weight": np.ones((2, 2))}, skip=0.5, **SOFT)
    with pytest.raises(ValueError, match="skip"):
        mean_field.gains(net, net.forward(np.ones((1, 1, 2))), "norse.super", detach=True)
