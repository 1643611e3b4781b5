"""Training by exact gradients: the data, the losses through a network, and going on."""

from dataclasses import replace

import numpy as np
import pytest

from evsim import FeedForward, Trains
from reference.data import Data
from reference.finite_difference import check
from validation.cases.eventprop import DIGITS, yinyang_task
from validation.cases.eventprop.training import clipped, train
from validation.cases.eventprop.yinyang import class_of, points


def test_half_a_turn_swaps_yin_and_yang():
    x = points(300, 7)
    assert np.bincount(x.y, minlength=3).min() > 70
    assert (np.hypot(x.x[:, 0] - 0.5, x.x[:, 1] - 0.5) <= 0.5).all()
    assert np.array_equal(x.x[:, 2:], 1.0 - x.x[:, :2])
    for (a, b, *_), label in zip(x.x, x.y, strict=True):
        assert class_of(a, b) == label
        assert class_of(1.0 - a, 1.0 - b) == (2 if label == 2 else 1 - label)


TASKS = {
    "first spikes": replace(yinyang_task(8), first=(2.0, 0.8), last=(1.5, 0.6)),
    "mute outputs": replace(yinyang_task(8), first=(2.0, 0.8), last=(0.9, 0.6)),
    "maxima": replace(DIGITS, hidden=6, classes=3, first=(2.5, 0.8), last=(0.3, 0.4)),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_of_a_network_against_differences(name):
    task, given = TASKS[name], points(4, 3)
    trains = Trains.from_times(task.encode(given.x))
    net = task.network(task.encode(given.x).shape[1], seed=1)
    layers = FeedForward(net, task.until)
    start = {key: value.copy() for key, value in layers.weight.items()}

    def ran(x):
        for key, value in x.items():
            layers.weight[key][...] = value
        return layers.run({"in": trains})

    def pulled(x, c):
        run = ran(x)
        judged = task.judge(run, trains, x, given.y)
        g = layers.gradient(run, judged.cotangents).weight
        return {key: c * (value + judged.weight.get(key, 0.0)) for key, value in g.items()}

    def structure(x):
        return tuple(tuple(train.units.tolist()) for train in ran(x).spikes.values())

    assert ran(start).spikes["hidden"].times.size > 8
    if not task.readout:
        first = ran(start).spikes["out"].first(3, task.until)[1][np.arange(4), given.y]
        assert (first < 0).any() == (name == "mute outputs") and not (first < 0).all()

    def loss(x):
        return float(task.judge(ran(x), trains, x, given.y).loss.mean())

    check(loss, pulled, start, directions=2, step=1e-4, structure=structure, require=True)


def test_training_goes_on_to_the_same_bits(tmp_path):
    task = replace(TASKS["first spikes"], batch=16)
    data = Data(points(48, 1), points(20, 2))
    told = []
    whole = train(task, data, 2, 0, tmp_path / "whole.npz", told.append)
    assert told == sorted(told) and told[-1] == 1.0
    train(task, data, 1, 0, tmp_path / "part.npz", told.append)
    part = train(task, data, 2, 0, tmp_path / "part.npz", told.append)
    assert part.loss == whole.loss and part.error == whole.error
    for key, value in whole.weight.items():
        assert np.array_equal(part.weight[key], value)
    assert whole.loss[1] < whole.loss[0]


def test_long_gradients_are_cut():
    lengths = [1.0, 1.0]
    assert clipped({"w": np.array([3.0, 4.0])}, lengths, 2.0)["w"] == pytest.approx([1.2, 1.6])
    assert clipped({"w": np.array([0.3, 0.4])}, lengths, 2.0)["w"] == pytest.approx([0.3, 0.4])
    assert len(lengths) == 4
