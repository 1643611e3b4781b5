"""T9 to T13: which networks learn like their ReLU twins, and which do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from reference import ttfs
from reference.data import digits
from reference.optimizers import SGD, Adam
from reference.ttfs_analysis import cosine, metric
from reference.ttfs_training import he, relu_gradient, train, train_relu, zero_sum
from validation.cases.claims import Measured, Run
from validation.cases.ttfs.paper import HERE, PAPER, S24

SIZES = (64,) * 8 + (10,)
SETTINGS = {"SGD 0.05": lambda p: SGD(p, 0.05), "Adam 5e-4": lambda p: Adam(p, 5e-4)}


def data():
    """1437 digits to train on, 360 to test on."""
    return digits(0, test=0.2)


def copies(arrays):
    """Copies."""
    return [a.copy() for a in arrays]


def started(weights, biases, x, model="b1", widths=None):
    """A mapped network with windows for `x`, or given ones."""
    activations = ttfs.relu_forward(weights, biases, x)[1]
    net = ttfs.from_relu(weights, biases, [a.max() for a in activations], model)
    return net if widths is None else net.with_windows([widths] * len(net.hidden))


def right(logits, labels) -> float:
    """Share of right classes."""
    return float((logits.argmax(axis=1) == labels).mean())


def twins(run: Run, name: str, seed: int):
    """A B1 network and its ReLU twin, trained alike; both, and how far apart they were."""
    d, epochs = data(), 30 if run.quick else 40
    weights, biases = he(SIZES, seed)
    net = started(weights, biases, d.train.x)
    path: list[float] = []
    kept: dict[int, list[np.ndarray]] = {}

    def keep(step, pair):
        if step in (1, 10, 100, 300, 1000) or step % 500 == 0:
            kept[step] = copies(pair[0])

    def compare(step, net):
        if step in kept:
            ws = [layer.weight for layer in net.weighted]
            path.append(max(abs(a - b).max() for a, b in zip(ws, kept[step], strict=True)))

    train_relu(weights, biases, d.train, SETTINGS[name], epochs=epochs, seed=seed, after=keep)
    net = train(net, d.train, SETTINGS[name], epochs=epochs, seed=seed, after=compare,
                tell=run.tell)  # fmt: skip
    return net, weights, biases, [*kept], path


@PAPER.claim("T9", "a B1 network and its ReLU twin have one training trajectory, under SGD and "
             "Adam, windows adapting", source=f"{S24}, figure of training curves",
             expected="8 layers, digits, 30 epochs or more: weights at most 1e-10 apart, 1 - "
             "cosine at most 1e-12, training accuracy at least 0.99, same predictions")  # fmt: skip
def one_trajectory(run: Run) -> Measured:
    """Measure T9."""
    d, texts, holds, paths = data(), [], True, {}
    for name in SETTINGS:
        for seed in run.seeds:
            net, weights, biases, steps, path = run.once(twins, name, seed)
            paths[name] = (steps, path)
            ours = [layer.weight for layer in net.weighted]
            gap = max(abs(a - b).max() for a, b in zip(ours, weights, strict=True))
            angle = 1.0 - cosine(ours, weights)
            logits = ttfs.forward(net, d.test.x).logits
            twin = ttfs.relu_forward(weights, biases, d.test.x)[0]
            same = bool((logits.argmax(axis=1) == twin.argmax(axis=1)).all())
            learnt = right(ttfs.forward(net, d.train.x).logits, d.train.y)
            test = right(logits, d.test.y)
            holds &= gap <= 1e-10 and angle <= 1e-12 and learnt >= 0.99 and same
            texts.append(f"{name}: {gap:.0e}, {angle:.0e}, {learnt:.3f} (test {test:.3f})")
    run.once(figure_of_twins, tuple((k, tuple(s), tuple(p)) for k, (s, p) in paths.items()))
    return Measured("; ".join(texts), holds)


def figure_of_twins(run: Run, paths) -> None:
    """How far the weights of twins drift apart."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.4))
    for name, steps, path in paths:
        axis.loglog(steps, np.maximum(path, 1e-17), "o-", label=name)
    axis.axhline(1e-10, color="0.6", lw=0.8)
    axis.set(xlabel="training step", ylabel="largest difference of weights",
             title="B1 network against ReLU twin")  # fmt: skip
    axis.legend(frameon=False)
    run.save(figure, "twins")
    plt.close(figure)


def alpha_run(run: Run, rule: str, lr: float, seed: int, epochs: int):
    """An alpha network from rows that sum to 0: training accuracy and cosines with ReLU, B1."""
    d, make = data(), {"SGD": SGD, "Adam": Adam}[rule]
    weights, biases = he(SIZES, seed)
    weights = zero_sum(weights)
    net, b1 = (started(weights, biases, d.train.x, model) for model in ("alpha", "b1"))
    per_epoch, kept, cosines = len(d.train.x) // 64, {}, []

    def optimizer(params):
        return make(params, lr)

    def keep(step, pair):
        if step % per_epoch == 0:
            kept[step] = copies(pair[0])

    def compare(step, net):
        if step in kept:
            ws = [h.weight / np.where(h.slopes() > 0, h.slopes(), np.inf)[:, None]
                  for h in net.hidden]  # fmt: skip
            cosines.append(cosine([*ws, net.weighted[-1].weight], kept[step]))

    options: dict[str, Any] = {"epochs": epochs, "batch": 64, "seed": seed}
    train_relu(weights, biases, d.train, optimizer, after=keep, **options)
    net = train(net, d.train, optimizer, after=compare, tell=run.tell, **options)
    accuracy = {"alpha": right(ttfs.forward(net, d.train.x).logits, d.train.y)}
    accuracy["relu"] = right(ttfs.relu_forward(weights, biases, d.train.x)[0], d.train.y)
    if rule == "Adam":
        b1 = train(b1, d.train, optimizer, **options)
        accuracy["b1 angle"] = 1.0 - cosine([h.weight for h in b1.weighted], weights)
    dead = sum(int((h.slopes() <= 0).sum()) for h in net.hidden)
    return accuracy, cosines, dead


@PAPER.claim("T10", "the alpha model leaves the trajectory, and needs a much smaller learning rate",
             source=f"{S24}, figure of training curves",
             expected="SGD from rows that sum to 0, batches of 64: at 1e-2 ReLU and B1 >= 0.97, "
             "alpha <= 0.4; at 1e-3 alpha >= 0.85")  # fmt: skip
def smaller_rate(run: Run) -> Measured:
    """Measure T10."""
    texts, holds = [], True
    for seed in run.seeds:
        fast, _, dead = run.once(alpha_run, "SGD", 1e-2, seed, 60)
        slow, _, _ = run.once(alpha_run, "SGD", 1e-3, seed, 100)
        holds &= fast["relu"] >= 0.97 and fast["alpha"] <= 0.4 and slow["alpha"] >= 0.85
        texts.append(f"1e-2: ReLU {fast['relu']:.3f}, alpha {fast['alpha']:.2f} ({dead} with "
                     f"B <= 0); 1e-3: {slow['relu']:.2f}, {slow['alpha']:.2f}")  # fmt: skip
    return Measured("; ".join(texts), holds)


@PAPER.claim("T11", "the weights of the alpha model turn away from those of the ReLU network",
             source=f"{S24}, figure of cosines",
             expected="Adam 1e-4, 100 epochs: alpha training accuracy >= 0.99, cosine >= 0.99 "
             "after one epoch, <= 0.85 at the end; B1: 1 - cosine <= 1e-12")  # fmt: skip
def turning(run: Run) -> Measured:
    """Measure T11."""
    texts, holds, curves = [], True, []
    for seed in run.seeds:
        got, cosines, _ = run.once(alpha_run, "Adam", 1e-4, seed, 100)
        curves.append(tuple(cosines))
        holds &= got["alpha"] >= 0.99 and cosines[0] >= 0.99 and cosines[-1] <= 0.85
        holds &= got["b1 angle"] <= 1e-12
        texts.append(f"{got['alpha']:.3f}, {cosines[0]:.3f} to {cosines[-1]:.2f}, "
                     f"B1 {got['b1 angle']:.0e}")  # fmt: skip
    run.once(figure_of_cosines, tuple(curves))
    return Measured("; ".join(texts), holds)


def figure_of_cosines(run: Run, curves) -> None:
    """Cosine between effective weights of alpha networks and ReLU weights."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.4))
    for seed, curve in enumerate(curves):
        axis.plot(np.arange(1, len(curve) + 1), curve, label=f"alpha, seed {seed}")
    axis.axhline(1.0, color="C0", ls="--", label="B1")
    axis.set(xlabel="epoch", ylabel="cosine with the ReLU weights", title="Adam, 1e-4")
    axis.legend(frameon=False)
    run.save(figure, "cosines")
    plt.close(figure)


@PAPER.claim("T12", "gradient descent on the alpha model is that of the ReLU network behind a "
             "metric", source=HERE, expected="one step: relative error of the prediction at most "
             "1e-4 at rate 1e-6, and 100 times that (30 to 300) at 1e-4")  # fmt: skip
def preconditioned(run: Run) -> Measured:
    """Measure T12."""
    d, error = data(), {}
    weights, biases = he((64, 30, 20, 10), 0)
    biases = [b + 0.05 for b in biases]
    x, y = d.train.x[:64], d.train.y[:64]
    ws, bs = to_effective(weights, biases, x)
    _, by_q = relu_gradient(ws, bs, x, y)
    for rate in (1e-4, 1e-6):
        net = started(weights, biases, x, "alpha")
        _, g = ttfs.gradient(net, x, y)
        before = effective_rows(net)
        predicted = []
        for k, layer in enumerate(net.hidden):
            gw = np.column_stack([by_q["W"][k], by_q["D"][k]])
            for i, slope in enumerate(layer.slopes()):
                m = metric(layer.weight[i], layer.drift[i], slope)
                predicted.append(-rate * (m @ (m.T @ gw[i])))
        for k, layer in enumerate(net.hidden):
            layer.weight -= rate * g["W"][k]
            layer.drift -= rate * g["D"][k]
        moved = [a - b for a, b in zip(effective_rows(net), before, strict=True)]
        miss = np.concatenate([a - b for a, b in zip(moved, predicted, strict=True)])
        error[rate] = float(np.linalg.norm(miss) / np.linalg.norm(np.concatenate(predicted)))
    ratio = error[1e-4] / error[1e-6]
    return Measured(f"{error[1e-4]:.1e} at 1e-4, {error[1e-6]:.1e} at 1e-6, ratio {ratio:.0f}",
                    error[1e-6] <= 1e-4 and 30 <= ratio <= 300)  # fmt: skip


def to_effective(weights, biases, x):
    """Weights and biases of the ReLU network in the scale of its alpha network."""
    net = started(weights, biases, x, "alpha")
    ws = [h.weight / h.slopes()[:, None] for h in net.hidden] + [net.weighted[-1].weight]
    bs = [h.drift / h.slopes() for h in net.hidden] + [net.weighted[-1].drift]
    return ws, bs


def effective_rows(net):
    """(w, b) of every hidden neuron."""
    return [np.append(h.weight[i], h.drift[i]) / h.slopes()[i]
            for h in net.hidden for i in range(len(h.weight))]  # fmt: skip


@PAPER.claim("T13", "adaptive windows do not change what is learnt", source=f"{S24}, methods",
             expected="weights of fixed and adaptive windows at most 1e-10 apart; every window at "
             "least 10 times what its last batch used")  # fmt: skip
def adaptive(run: Run) -> Measured:
    """Measure T13."""
    d, gap, least = data(), 0.0, np.inf
    for seed in run.seeds:
        weights, biases = he((64, 64, 64, 64, 10), seed)
        fixed = started(weights, biases, d.train.x, widths=1500.0)
        moving = started(weights, biases, d.train.x)

        def watch(step, net):
            nonlocal least
            if step % 50:
                return
            grown = ttfs.adapted(net, d.train.x[:32])
            for n, times in enumerate(ttfs.forward(grown, d.train.x[:32]).times):
                used = float((grown.bounds[n + 2] - times).max())
                least = min(least, float(grown.widths[n]) / used if used else np.inf)

        options: dict[str, Any] = {"epochs": 20, "seed": seed}
        train(fixed, d.train, SETTINGS["SGD 0.05"], gamma=None, **options)
        train(moving, d.train, SETTINGS["SGD 0.05"], after=watch,
              **options)  # fmt: skip
        pairs = zip(fixed.weighted, moving.weighted, strict=True)
        gap = max(gap, *(abs(a.weight - b.weight).max() for a, b in pairs))
    return Measured(f"{gap:.1e}; {least:.2f} times", gap <= 1e-10 and least >= 10 * (1 - 1e-9))
