"""T14 to T18: sparsity, jitter, coarse times, coarse weights, low latency."""

from __future__ import annotations

from functools import partial

import numpy as np

from reference import ttfs
from reference.optimizers import Adam
from reference.ttfs_devices import coarse_weights, jitter, steps_of_time
from reference.ttfs_training import he, train
from validation.cases.claims import Measured, Run
from validation.cases.ttfs.paper import PAPER, S23, S24
from validation.cases.ttfs.trajectory import data, right, started

SIZES = (64, 128, 64, 10)


def trained(run: Run, penalty: float, seed: int):
    """A B1 network, sparse by a penalty on activations, trained on the digits."""
    d = data()
    weights, biases = he(SIZES, seed)
    net = started(weights, biases, d.train.x)
    return train(net, d.train, lambda p: Adam(p, 1e-3), epochs=60, seed=seed, sparsity=penalty,
                 tell=run.tell)  # fmt: skip


def margin(net, zeta: float):
    """The same function with windows of `1 + zeta` times what the training set uses."""
    run = ttfs.forward(net, data().train.x)
    ends = net.bounds[2:]
    used = [float((end - t).max()) for end, t in zip(ends, run.times, strict=True)]
    return net.with_windows([(1.0 + zeta) * u for u in used])


def tested(net, semantics: str = "closed", perturb=None) -> float:
    """Accuracy on the test set."""
    d = data()
    return right(ttfs.forward(net, d.test.x, semantics, perturb=perturb).logits, d.test.y)


def listed(values) -> str:
    """Accuracies of seeds, for a table."""
    return "/".join(f"{v:.3f}" for v in values)


@PAPER.claim("T14", "a penalty on activations makes spikes sparse and costs no accuracy",
             source=f"{S24}: below 0.3 spikes per neuron",
             expected="64-128-64-10, penalty 1e-3: at most 0.30 spikes per hidden neuron, test "
             "accuracy at least 0.97")  # fmt: skip
def sparsity(run: Run) -> Measured:
    """Measure T14."""
    d, texts, holds, points = data(), [], True, []
    penalties = [(0.0, run.seeds), (1e-3, run.seeds)]
    penalties += [] if run.quick else [(1e-4, (0,)), (3e-3, (0,))]
    for penalty, seeds in penalties:
        nets = [run.once(trained, penalty, seed) for seed in seeds]
        spikes = [ttfs.forward(net, d.test.x).spikes_per_neuron for net in nets]
        accuracy = [tested(net) for net in nets]
        points += [(penalty, s, a) for s, a in zip(spikes, accuracy, strict=True)]
        texts.append(f"{penalty:g}: {'/'.join(f'{s:.2f}' for s in spikes)} ({listed(accuracy)})")
        if penalty == 1e-3:
            holds = max(spikes) <= 0.30 and min(accuracy) >= 0.97
    run.once(figure_of_sparsity, tuple(points))
    return Measured("; ".join(texts), holds)


def figure_of_sparsity(run: Run, points) -> None:
    """Accuracy over spikes per neuron."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.4))
    for penalty in sorted({p for p, _, _ in points}):
        mine = [(s, a) for p, s, a in points if p == penalty]
        axis.plot(*zip(*mine, strict=True), "o", label=f"penalty {penalty:g}")
    axis.set(
        xlabel="spikes per hidden neuron", ylabel="test accuracy", ylim=(0.9, 1.0), xlim=(0, 1)
    )
    axis.legend(frameon=False)
    run.save(figure, "sparsity")
    plt.close(figure)


@PAPER.claim("T15", "accuracy falls gently with jitter of the spikes",
             source=f"{S23}, {S24}: robustness; numbers measured here",
             expected="margin 0.5, all spikes jittered, 10 draws: falls with sigma; 0.1: >= 0.96, "
             "0.2: >= 0.93, 0.4: in [0.75, 0.90]")  # fmt: skip
def jittered(run: Run) -> Measured:
    """Measure T15."""
    sigmas, table = (0.0, 0.1, 0.2, 0.4), []
    for seed in run.seeds:
        net = margin(run.once(trained, 0.0, seed), 0.5)
        table.append([np.mean([tested(net, perturb=jitter(s, k)) for k in range(10)])
                      for s in sigmas])  # fmt: skip
    a = np.array(table)
    holds = (np.diff(a, axis=1) <= 0.015).all() and (a[:, 1] >= 0.96).all()
    holds &= (a[:, 2] >= 0.93).all() and (a[:, 3] >= 0.75).all() and (a[:, 3] <= 0.90).all()
    run.once(figure_of_robustness)
    words = "; ".join(f"{s:g}: {listed(a[:, k])}" for k, s in enumerate(sigmas))
    return Measured(words, bool(holds))


def figure_of_robustness(run: Run) -> None:
    """Accuracy over jitter, bits of times and of weights, and width of the windows."""
    import matplotlib.pyplot as plt

    net = run.once(trained, 0.0, run.seeds[0])
    short, long = margin(net, 0.5), margin(net, 9.0)
    sigmas, bits, zetas = np.linspace(0.0, 0.5, 11), range(1, 9), np.linspace(-0.95, 0.5, 13)
    figure, axes = plt.subplots(1, 4, figsize=(12, 3), sharey=True)
    noisy = [[tested(short, perturb=jitter(s, k, silent=all_times)) for s in sigmas]
             for k, all_times in ((0, False), (1, True))]  # fmt: skip
    axes[0].plot(sigmas, noisy[0], "o-", label="spikes")
    axes[0].plot(sigmas, noisy[1], "s--", label="silent neurons too")
    axes[0].set_xlabel(r"jitter of times / $\tau_c$")
    for name, one, style in (("1.5", short, "o-"), ("10", long, "s--")):
        values = [tested(one, perturb=steps_of_time(b)) for b in bits]
        axes[1].plot(bits, values, style, label=f"windows / activity {name}")
    axes[1].set_xlabel("bits of times")
    axes[2].plot(bits, [tested(coarse_weights(net, b)) for b in bits], "o-")
    axes[2].set_xlabel("bits of weights")
    for semantics, style in (("closed", "k:"), ("clamped", "o-"), ("event", "s--")):
        values = [tested(margin(net, z), semantics) for z in zetas]
        axes[3].plot(1 + zetas, values, style, label=semantics)
    axes[3].set_xlabel("windows / activity")
    axes[0].set_ylabel("test accuracy")
    for axis, place in (
        (axes[0], "lower left"),
        (axes[1], "lower right"),
        (axes[3], "lower right"),
    ):
        axis.legend(frameon=False, fontsize=8, loc=place)
    figure.tight_layout()
    run.save(figure, "robustness")
    plt.close(figure)


@PAPER.claim("T16", "spike times may be coarse, and long windows waste their bits",
             source=f"{S24}: quantisation; numbers measured here",
             expected="margin 0.5: loss at most 1 pp at 6 bits, 2.5 pp at 4, accuracy >= 0.88 at "
             "2; 10 times the activity: 0.83..0.92 at 4 bits, <= 0.25 at 3")  # fmt: skip
def coarse_times(run: Run) -> Measured:
    """Measure T16."""
    rows = []
    for seed in run.seeds:
        net = run.once(trained, 0.0, seed)
        short, long = margin(net, 0.5), margin(net, 9.0)
        row = [tested(net)] + [tested(short, perturb=steps_of_time(b)) for b in (6, 4, 2)]
        rows.append(row + [tested(long, perturb=steps_of_time(b)) for b in (4, 3)])
    a = np.array(rows)
    loss = a[:, :1] - a[:, 1:3]
    holds = (loss[:, 0] <= 0.01).all() and (loss[:, 1] <= 0.025).all() and (a[:, 3] >= 0.88).all()
    holds &= (a[:, 4] >= 0.83).all() and (a[:, 4] <= 0.92).all() and (a[:, 5] <= 0.25).all()
    names = ("exact", "6 bits", "4", "2", "long, 4", "3")
    words = "; ".join(f"{n}: {listed(a[:, k])}" for k, n in enumerate(names))
    return Measured(words, bool(holds))


@PAPER.claim("T17", "coarse weights cost accuracy, and fine-tuning brings it back",
             source=f"{S24}: quantisation, fine-tuning; numbers measured here",
             expected="steps over [-1, 1], shifted to hold 0: loss at most 1.5 pp from 5 bits on, "
             "accuracy <= 0.5 at 2 bits, >= 0.93 there after 20 epochs straight through; the same "
             "of symmetric steps (-1, 0, 1), without a bar")  # fmt: skip
def coarse(run: Run) -> Measured:
    """Measure T17."""
    rows, d = [], data()
    for seed in run.seeds:
        net = run.once(trained, 0.0, seed)
        row = [tested(net), *(tested(coarse_weights(net, bits)) for bits in (8, 5))]
        for steps in (coarse_weights, partial(coarse_weights, symmetric=True)):
            tuned = train(net.copy(), d.train, lambda p: Adam(p, 1e-3), epochs=20, seed=seed,
                          shown=partial(steps, bits=2))  # fmt: skip
            row += [tested(steps(net, 2)), tested(steps(tuned, 2))]
        rows.append(row)
        run.tell((seed + 1) / len(run.seeds))
    a = np.array(rows)
    holds = (a[:, :1] - a[:, 1:3] <= 0.015).all() and (a[:, 3] <= 0.5).all()
    names = ("exact", "8 bits", "5", "2", "2, tuned", "2, symmetric", "2, symmetric, tuned")
    words = "; ".join(f"{n}: {listed(a[:, k])}" for k, n in enumerate(names))
    return Measured(words, bool(holds and (a[:, 4] >= 0.93).all()))


@PAPER.claim("T18", "short windows make decisions fast, and fine-tuning brings accuracy back",
             source=f"{S23}, {S24}: latency; numbers measured here",
             expected="clamped, margins -0.5, -0.7, -0.9: before 0.97..1, 0.96..1, 0.70..0.92; "
             "after 20 epochs with clipped ReLUs at least 0.97 each")  # fmt: skip
def latency(run: Run) -> Measured:
    """Measure T18."""
    zetas, d, before, after, latencies = (-0.5, -0.7, -0.9), data(), [], [], []
    for seed in run.seeds:
        net = run.once(trained, 0.0, seed)
        short = [margin(net, zeta) for zeta in zetas]
        latencies = [float(n.latency) for n in (margin(net, 0.5), *short)]
        before.append([tested(n, "clamped") for n in short])
        tuned = [train(n.copy(), d.train, lambda p: Adam(p, 1e-3), epochs=20, seed=seed,
                       gamma=None, semantics="clamped") for n in short]  # fmt: skip
        after.append([tested(n, "clamped") for n in tuned])
        run.tell((seed + 1) / len(run.seeds))
    a, b = np.array(before), np.array(after)
    holds = (a[:, 0] >= 0.97).all() and (a[:, 1] >= 0.96).all() and (b >= 0.97).all()
    holds &= (a[:, 2] >= 0.70).all() and (a[:, 2] <= 0.92).all()
    words = [f"latency {lat:.1f}: {listed(a[:, k])} to {listed(b[:, k])}"
             for k, lat in enumerate(latencies[1:])]  # fmt: skip
    return Measured(f"margin 0.5 takes {latencies[0]:.1f}; " + "; ".join(words), bool(holds))
