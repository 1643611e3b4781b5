"""Residual networks: the whole backward pass against differences, and the layout."""

import numpy as np
import pytest

from reference.resnet import SpikingResNet, random_state
from reference.surrogates import get

SMALL = dict(layers=(1, 2), width=2, channels=2, classes=3)
NEURON = dict(beta=0.5, gain=0.8, surrogate=("spikingjelly.Sigmoid", {"alpha": 2.0}))


def small(block, **options):
    rng = np.random.default_rng(5)
    state = random_state(rng, block=block, **SMALL)
    state = {key: value + 0.1 * rng.standard_normal(value.shape) for key, value in state.items()}
    net = SpikingResNet(state, layers=SMALL["layers"], block=block, **NEURON, **options)
    return net, rng.standard_normal((2, 2, 2, 12, 12)), rng


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_the_whole_network_has_the_gradient_of_what_it_computes(check_network, block, reset):
    net, x, _ = small(block, reset=reset)
    net.neuron["step"] = get("spikingjelly.Sigmoid", alpha=2.0).primitive
    check_network(net, x)


def test_modules_alone_make_up_the_whole():
    net, x, rng = small("bottleneck", detach=True)
    run = net.forward(x)
    back = net.backward(run, rng.standard_normal(run.output.shape))
    assert set(back.currents) == set(run.spikes) and set(back.weights) == set(net.state)
    assert all(s.shape == back.currents[name].shape for name, s in run.spikes.items())
    assert all(set(np.unique(s)) <= {0.0, 1.0} for s in run.spikes.values())
    g, *_ = run.pulls["bn1"](back.currents["sn1"])
    assert np.array_equal(run.pulls["conv1"](g)[0], back.input)


@pytest.mark.parametrize(
    ("block", "layers", "count"),
    [("bottleneck", (3, 4, 6, 3), 23528522), ("basic", (2,) * 4, 11181642)],
)
def test_the_published_networks_have_their_numbers_of_parameters(block, layers, count):
    """ResNet-50 and 18 with ten classes."""

    class Zeros:
        def normal(self, mean, spread, shape):
            return np.broadcast_to(0.0, shape)

        def uniform(self, low, high, shape):
            return np.broadcast_to(0.0, shape)

    state = random_state(Zeros(), block=block, layers=layers)
    assert sum(value.size for value in state.values()) == count
    assert set(SpikingResNet(state, block=block, layers=layers, beta=0.5).keys()) == set(state)


def test_a_state_that_does_not_fit_is_refused():
    state = random_state(np.random.default_rng(0), **SMALL)
    del state["layer1.0.bn2.bias"]
    with pytest.raises(ValueError, match=r"lacks 'layer1\.0\.bn2\.bias'"):
        SpikingResNet(state, layers=SMALL["layers"], beta=0.5)
    with pytest.raises(ValueError, match="unknown entry"):
        SpikingResNet({**state, "layer1.0.bn2.bias": 0, "odd": 0}, layers=(1, 2), beta=0.5)
    with pytest.raises(ValueError, match="block must be"):
        SpikingResNet({}, block="wide", beta=0.5)
