"""Training by exact gradients: the networks, their losses, and the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import evsim
from evsim import FeedForward, Trains, losses
from reference.data import Data, Split, batches
from reference.optimizers import Adam
from validation.evtrace import replacing

TAU_MEM, TAU_SYN = 20e-3, 5e-3
#: Samples that are tested at a time.
AT_ONCE = 256


@dataclass(frozen=True)
class Task:
    """What is trained, and how.

    Attributes
    ----------
    hidden, classes : int
        Neurons.
    until : float
        Every sample is run over [0, until] [s].
    encode : callable
        From features (samples, features) to spike times (samples, inputs) [s].
    readout : bool
        Whether the voltage maxima of leaky integrators decide, else the first spikes.
    first, last : (float, float)
        Mean and deviation of the initial weights of the two layers.
    lr, decay, batch : float, float, int
        Adam's step, what every epoch multiplies it by, and samples per step.
    clip : float
        Gradients longer than so many times the median length so far are cut to it: next to
        grazing they grow without bound, and one such would slow Adam down for long.
    jitter : float
        Deviation of the noise of input spikes in training [s].
    """

    hidden: int
    classes: int
    until: float
    encode: Callable[[np.ndarray], np.ndarray]
    readout: bool
    first: tuple[float, float]
    last: tuple[float, float]
    lr: float
    decay: float
    batch: int
    clip: float = 2.0
    jitter: float = 0.0

    def network(self, inputs: int, seed: int) -> evsim.Network:
        """A network with random weights."""
        rng = np.random.default_rng([seed, 2021])
        net = evsim.Network()
        net.add_input("in", inputs)
        firing = evsim.LIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN)
        net.add_population("hidden", self.hidden, firing)
        out = evsim.LI(tau_mem=TAU_MEM, tau_syn=TAU_SYN) if self.readout else firing
        net.add_population("out", self.classes, out)
        net.connect("in", "hidden", rng.normal(*self.first, (inputs, self.hidden)))
        net.connect("hidden", "out", rng.normal(*self.last, (self.hidden, self.classes)))
        return net

    def judge(self, run: evsim.feedforward.Run, given: Trains, weight, labels) -> Judged:
        """What a run on the spikes `given` is worth, and the derivatives of that."""
        share = 1.0 / labels.size
        if self.readout:
            top = run.maximum("out")
            loss, by_value = losses.softmax_cross_entropy(top, labels)
            return Judged(loss, {"out": losses.Maximum(share * by_value)}, {}, top.argmax(axis=1))
        spikes, hidden = run.spikes["out"], run.spikes["hidden"]
        times, index = spikes.first(self.classes, self.until)
        loss, by_time = losses.first_spike_entropy(times, labels, **FIRST)
        fired, right = index >= 0, np.eye(self.classes, dtype=bool)[labels]
        mute = ~fired & right
        moved = fired & ~mute.any(axis=1)[:, None]
        loss[mute.any(axis=1)] = 0.0
        cotangent = np.zeros(spikes.times.size)
        cotangent[index[moved]] = share * by_time[moved]
        dead = np.broadcast_to(np.bincount(hidden.units, minlength=self.hidden) == 0,
                               (labels.size, self.hidden))  # fmt: skip
        by_weight = {}
        for name, train, silent, much in (("in->hidden", given, dead, REVIVAL),
                                          ("hidden->out", hidden, mute, 1.0)):  # fmt: skip
            charge, by_charge = charge_of(train, weight[name], silent)
            loss, by_weight[name] = loss - much * charge, -share * much * by_charge
        # Nobody has won where nobody has fired.
        won = np.where(fired.any(axis=1), times.argmin(axis=1), -1)
        return Judged(loss, {"out": cotangent}, by_weight, won)


def charge_of(train: Trains, weight, silent):
    """Charge that `silent` neurons (samples, n) get from spikes, by sample; and by the weights.

    It stands for what a neuron lacks that has no spike to be moved: an output that should be the
    first in a sample (to move the others would silence them as well), and a hidden neuron that
    fires in no sample of a batch.
    """
    counts = np.zeros((train.size, weight.shape[0]))
    np.add.at(counts, (train.samples, train.units), 1.0)
    return ((counts @ weight) * silent).sum(axis=1), counts.T @ silent


class Judged(NamedTuple):
    """Loss per sample; derivatives of its mean by spikes or maxima, and by weights at fixed
    spikes; predictions."""

    loss: np.ndarray
    cotangents: dict[str, Any]
    weight: dict[str, np.ndarray]
    predicted: np.ndarray


#: Of the first-spike loss (Wunderlich and Pehle 2021, table of parameters), but a tenth of their
#: weight of early spikes: with theirs 5 % are wrong after 40 epochs, with this 2 % (one seed).
FIRST = {"tau": 0.5e-3, "early": 3e-4, "tau_early": 6.4e-3}
#: Of charge for hidden neurons that fire in no sample of a batch. Adam takes full steps by the
#: smallest derivative, where there is no other; a great one would drown out those of spikes.
REVIVAL = 1e-2


def coordinates(x: np.ndarray) -> np.ndarray:
    """Points as spikes at 10 to 40 ms, and one more, always at 20 ms."""
    times = 10e-3 + 30e-3 * x
    return np.hstack([times, np.full((len(x), 1), 20e-3)])


#: Of brightness. By latency alone a dark pixel counts as much as a bright one, later; with three
#: levels 4.3 % are wrong after 40 epochs, with five 3.6 % after 30 (three seeds each).
LEVELS = (0.05, 0.2, 0.4, 0.6, 0.8)


def pixels(x: np.ndarray) -> np.ndarray:
    """Brightness as latency and number of spikes: an input per pixel and level that it exceeds,
    white at once, grey within 20 ms."""
    return np.hstack([np.where(x > level, 20e-3 * (1.0 - x), np.inf) for level in LEVELS])


@dataclass
class Trained:
    """How a training went: by epoch, mean loss and test error; and the weights at the end."""

    loss: list[float]
    error: list[float]
    weight: dict[str, np.ndarray]

    @property
    def accuracy(self) -> float:
        """On the test set, after the last epoch."""
        return 1.0 - self.error[-1]


def error_of(task: Task, layers: FeedForward, data: Split) -> float:
    """Share of the samples that are classified wrongly."""
    wrong = 0
    for first in range(0, len(data.y), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        given = Trains.from_times(task.encode(data.x[part]))
        judged = task.judge(layers.run({"in": given}), given, layers.weight, data.y[part])
        wrong += int(np.sum(judged.predicted != data.y[part]))
    return wrong / len(data.y)


def train(
    task: Task, data: Data, epochs: int, seed: int, kept: Path, tell: Callable[[float], None]
) -> Trained:
    """Train one network, going on from what an interrupted training has left in `kept`."""
    inputs = task.encode(data.train.x[:1]).shape[1]
    layers = FeedForward(task.network(inputs, seed), task.until, threads=1)
    adam = Adam(layers.weight, task.lr)
    done = Trained([], [], layers.weight)
    if kept.exists():
        load(kept, adam, done)
    for epoch in range(len(done.loss), epochs):
        adam.lr = task.lr * task.decay**epoch
        total: list[float] = []
        lengths: list[float] = []
        rng = np.random.default_rng([seed, epoch, 2022])
        for step, mine in enumerate(batches(len(data.train.y), task.batch, seed=seed, epoch=epoch)):
            times = task.encode(data.train.x[mine])
            times += task.jitter * rng.standard_normal(times.shape)
            given = Trains.from_times(np.maximum(times, 0.0))
            run = layers.run({"in": given})
            judged = task.judge(run, given, layers.weight, data.train.y[mine])
            grads = layers.gradient(run, judged.cotangents).weight
            grads |= {name: grads[name] + more for name, more in judged.weight.items()}
            adam.step(clipped(grads, lengths, task.clip))
            total.append(float(judged.loss.mean()))
            tell((epoch + (step + 1) * task.batch / len(data.train.y)) / epochs)
        done.loss.append(float(np.mean(total)))
        done.error.append(error_of(task, layers, data.test))
        save(kept, adam, done)
    return done


def clipped(grads: dict[str, np.ndarray], lengths: list[float], most: float):
    """Gradients cut to `most` times the median of the lengths in this epoch, which grow by one."""
    length = float(np.sqrt(sum(np.sum(g * g) for g in grads.values())))
    lengths.append(length)
    share = min(1.0, most * float(np.median(lengths)) / length) if length > 0.0 else 1.0
    return {name: share * g for name, g in grads.items()}


def save(path: Path, adam: Adam, done: Trained) -> None:
    """Everything that `load` needs."""
    arrays: dict[str, Any] = {f"weight/{key}": value for key, value in done.weight.items()}
    arrays |= {f"adam/{key}": value for key, value in adam.state().items()}
    arrays |= {"loss": np.array(done.loss), "error": np.array(done.error)}
    with replacing(path) as file:
        np.savez(file, **arrays)


def load(path: Path, adam: Adam, done: Trained) -> None:
    """Weights, optimiser and history as they were at the end of an epoch."""
    with np.load(path) as found:
        done.loss[:], done.error[:] = found["loss"].tolist(), found["error"].tolist()
        for key, value in done.weight.items():
            value[...] = found[f"weight/{key}"]
        adam.load({key[5:]: found[key] for key in found.files if key.startswith("adam/")})
