"""Training networks of single spikes, and their ReLU twins, by the same optimisers and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reference.data import Split, batches
from reference.losses import softmax_cross_entropy
from reference.ttfs_fusion import BatchNorm, Conv2d, Dense, relu_steps
from reference.ttfs_gradient import gradient_of_steps
from reference.ttfs_mapping import grown
from reference.ttfs_network import Network

#: From the parameters to an optimiser of `reference.optimizers`.
Maker = Callable[[dict[str, np.ndarray]], Any]
Tell = Callable[[float], None]


def train(
    net: Network, split: Split, optimizer: Maker, *, epochs: int, batch: int = 32, seed: int = 0,
    gamma: float | None = 10.0, semantics: str = "closed", sparsity: float = 0.0,
    shown: Callable[[Network], Network] | None = None, after: Callable[[int, Network], None] | None
    = None, tell: Tell = lambda fraction: None,
) -> Network:  # fmt: skip
    """Train a network in place.

    Parameters
    ----------
    net : Network
        Its parameters change in place.
    split : Split
        What to train on.
    optimizer : callable
        Makes an optimiser of the parameters.
    epochs, batch, seed : int
        The order of samples is `reference.data.batches`'.
    gamma : float, optional
        After every step each window grows, if it must, to so many times what the batch has used
        of it, thresholds following (Stanojevic et al. 2024); None keeps the windows.
    semantics, sparsity
        As of `reference.ttfs.gradient`.
    shown : callable, optional
        What the gradient is taken of, a network made of this one: straight through.
    after : callable, optional
        `after(step, net)` after every step, the first being 1.
    tell : callable, optional
        Gets the fraction done.

    Returns
    -------
    Network
        With its last windows; the parameters are those of `net`.
    """
    moved = optimizer(net.parameters())
    steps = 0
    for epoch in range(epochs):
        for chosen in batches(len(split.x), batch, seed=seed, epoch=epoch):
            x, y = split.x[chosen], split.y[chosen]
            seen = net if shown is None else shown(net)
            _, g, used = gradient_of_steps(seen, x, y, semantics, sparsity=sparsity)
            pairs = zip(g["W"], g["D"], strict=True)
            moved.step({f"{n}{k}": a for k, pair in enumerate(pairs)
                        for n, a in zip("WD", pair, strict=True)})  # fmt: skip
            steps += 1
            if gamma is not None:
                net = grown(net, used, gamma)
            if after is not None:
                after(steps, net)
        tell((epoch + 1) / epochs)
    return net


def relu_gradient(weights, biases, x, labels, layers=None):
    """Mean cross entropy of a ReLU network, and its gradient as `reference.ttfs.gradient`."""
    steps = list(relu_steps(weights, biases, x, layers))
    if any(isinstance(layer, BatchNorm) for layer, *_ in steps):
        raise TypeError("fold a BatchNorm before training")
    loss, pull_loss = softmax_cross_entropy(steps[-1][1], labels)
    g, by_weight, by_bias = pull_loss(1.0), [], []
    for layer, _, pull in reversed(steps):
        if isinstance(layer, Dense | Conv2d):
            g, w, b = pull(g)
            by_weight.append(w)
            by_bias.append(b)
        else:
            g = pull(g)
    return loss, {"W": by_weight[::-1], "D": by_bias[::-1]}


def train_relu(
    weights, biases, split: Split, optimizer: Maker, *, epochs: int, batch: int = 32,
    seed: int = 0, layers=None, input_shape=None,
    after: Callable[[int, Any], None] | None = None, tell: Tell = lambda fraction: None,
) -> None:  # fmt: skip
    """As `train`, for a ReLU network; weights and biases change in place."""
    params = {f"W{k}": w for k, w in enumerate(weights)}
    params |= {f"D{k}": b for k, b in enumerate(biases)}
    moved = optimizer(params)
    steps = 0
    for epoch in range(epochs):
        for chosen in batches(len(split.x), batch, seed=seed, epoch=epoch):
            x = split.x[chosen]
            x = x if input_shape is None else x.reshape(len(x), *input_shape)
            _, g = relu_gradient(weights, biases, x, split.y[chosen], layers)
            moved.step({f"{n}{k}": a for n in "WD" for k, a in enumerate(g[n])})
            steps += 1
            if after is not None:
                after(steps, (weights, biases))
        tell((epoch + 1) / epochs)


def he(sizes, seed: int, *, variance: float = 2.0):
    """Weights of dense layers with that variance over `n_in`, and biases of zeros."""
    rng = np.random.default_rng(seed)
    pairs = [(sizes[k], sizes[k + 1]) for k in range(len(sizes) - 1)]
    weights = [rng.normal(size=(o, i)) * np.sqrt(variance / i) for i, o in pairs]
    return weights, [np.zeros(o) for _, o in pairs]


def zero_sum(weights):
    """Weights whose rows sum to 0, but the readout's: slopes of the alpha model are alpha."""
    return [w - w.mean(axis=1, keepdims=True) for w in weights[:-1]] + [weights[-1].copy()]
