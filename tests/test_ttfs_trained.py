"""Trained networks: as ReLU networks, as single spikes, and in the engine, event by event."""

import numpy as np
import pytest

from reference import ttfs
from reference.data import digits, mnist
from reference.optimizers import Adam
from reference.ttfs_training import he, train, train_relu
from validation.ttfs_network import run_in_engine, spike_times


def trained_digits(epochs):
    data = digits(0, test=0.2)
    weights, biases = he((64, 40, 30, 20, 10), 0)
    train_relu(weights, biases, data.train, lambda p: Adam(p, 2e-3), epochs=epochs)
    return data, weights, biases


LAYERS = [ttfs.Conv2d(1, 1), ttfs.ReLU(), ttfs.MaxPool(2), ttfs.Conv2d(1, 1), ttfs.ReLU(),
          ttfs.AvgPool(2), ttfs.Dense(), ttfs.ReLU(), ttfs.Dense()]  # fmt: skip


def trained_mnist(epochs):
    data, rng = mnist(0), np.random.default_rng(0)
    shapes = (8, 1, 3, 3), (12, 8, 3, 3), (32, 12 * 49), (10, 32)
    weights = [rng.normal(size=s) * np.sqrt(2 / np.prod(s[1:])) for s in shapes]
    biases = [np.zeros(s[0]) for s in shapes]
    train_relu(weights, biases, data.train, lambda p: Adam(p, 2e-3), epochs=epochs,
               layers=LAYERS, input_shape=(1, 28, 28))  # fmt: skip
    return data, weights, biases


def converts(data, weights, biases, layers=None, shape=None, samples=None):
    """Logits of both networks on the test set, and the converted network."""
    test, seen = data.test.x, data.train.x
    if shape:
        test, seen = test.reshape(-1, *shape), seen.reshape(-1, *shape)
    activations = ttfs.relu_forward(weights, biases, seen, layers)[1]
    net = ttfs.from_relu(weights, biases, [a.max() for a in activations], layers=layers,
                         input_shape=shape)  # fmt: skip
    wanted = ttfs.relu_forward(weights, biases, test, layers)[0]
    for semantics in ("closed", "event"):
        got = ttfs.forward(net, test, semantics).logits
        assert abs(got - wanted).max() <= 1e-10
        assert (got.argmax(axis=1) == wanted.argmax(axis=1)).all()
    right = (wanted.argmax(axis=1) == data.test.y).mean()
    return net, test, right


def in_the_engine(net, x):
    """Every premature spike is reported, and without one times are those of the closed form."""
    closed, event = ttfs.forward(net, x), ttfs.forward(net, x, "event")
    early = clean = 0
    for i, record in enumerate(run_in_engine(net, closed.inputs)):
        wanted = [np.flatnonzero(p[i]) for p in event.premature]
        for k, units in enumerate(wanted, 1):
            assert (np.sort(record.premature[f"h{k}"].units) == units).all()
        early += sum(units.size for units in wanted)
        run = closed if not any(units.size for units in wanted) else event
        clean += run is closed
        for got, times in zip(spike_times(net, record), run.times, strict=True):
            assert abs(got - times[i]).max() <= 1e-12
    return early, clean


def test_a_network_trained_on_digits():
    data, weights, biases = trained_digits(8)
    net, x, right = converts(data, weights, biases)
    assert right > 0.93
    assert in_the_engine(net, x[:6]) == (0, 6)
    short = net.with_windows(net.widths * 0.3 / 1.5)
    early, _ = in_the_engine(short, x[:6])
    assert early > 0


@pytest.mark.slow
def test_a_convolutional_network_trained_on_mnist():
    data, weights, biases = trained_mnist(4)
    net, x, right = converts(data, weights, biases, LAYERS, (1, 28, 28))
    assert right > 0.93
    assert in_the_engine(net, x[:2]) == (0, 2)


@pytest.mark.slow
def test_a_convolutional_network_trains_as_its_relu_twin():
    data, rng = mnist(0), np.random.default_rng(1)
    shapes = (4, 1, 3, 3), (6, 4, 3, 3), (10, 6 * 49)
    # Behind an average, weights would be those of its parts, with Adam steps of their own.
    layers = [*LAYERS[:5], ttfs.MaxPool(2), ttfs.Dense()]
    weights = [rng.normal(size=s) * np.sqrt(2 / np.prod(s[1:])) for s in shapes]
    biases = [np.zeros(s[0]) for s in shapes]
    part = data.train._replace(x=data.train.x[:640], y=data.train.y[:640])
    images = part._replace(x=part.x.reshape(-1, 1, 28, 28))
    activations = ttfs.relu_forward(weights, biases, images.x, layers)[1]
    net = ttfs.from_relu(weights, biases, [a.max() for a in activations], layers=layers,
                         input_shape=(1, 28, 28))  # fmt: skip
    net = train(net, images, lambda p: Adam(p, 2e-3), epochs=3)
    train_relu(weights, biases, part, lambda p: Adam(p, 2e-3), epochs=3, layers=layers,
               input_shape=(1, 28, 28))  # fmt: skip
    for layer, wanted in zip(net.weighted, weights, strict=True):
        assert abs(layer.weight - wanted).max() <= 1e-10
