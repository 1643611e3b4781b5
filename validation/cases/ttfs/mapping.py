"""T1 to T6: the mapping, the dynamics, the windows, the way back, derivatives."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from reference import ttfs
from validation.cases.claims import Measured, Run
from validation.cases.ttfs.paper import HERE, PAPER, S23, S24
from validation.ttfs_network import run_in_engine, spike_times

MODELS = ("b1", "alpha", "general")
SIZES = (64, 50, 40, 30, 10)


def mlp(seed: int, sizes=SIZES, samples: int = 32):
    """Weights, biases and inputs of a random network."""
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.normal(size=(o, i)) * np.sqrt(2 / i) for i, o in pairs]
    biases = [0.1 * rng.normal(size=o) for _, o in pairs]
    return weights, biases, rng.random((samples, sizes[0]))


def mapped(seed: int, model: str, zeta: float = 0.5, signed: bool = False, **options):
    """A mapped random network, its inputs, and the logits of the ReLU network."""
    weights, biases, x = mlp(seed, **options)
    rng = np.random.default_rng(1000 + seed)
    shape = [len(w) for w in weights[:-1]]
    a = [0.3 * rng.normal(size=n) if signed else 0.3 * rng.random(n) for n in shape]
    b = [np.exp(0.3 * rng.normal(size=n)) for n in shape]
    logits, activations = ttfs.relu_forward(weights, biases, x)
    peaks = [v.max() for v in activations]
    return ttfs.from_relu(weights, biases, peaks, model, zeta, A=a, B=b), x, logits


@PAPER.claim("T1", "a mapped network has the logits of its ReLU network, in every model",
             source=f"{S23}; {S24}", expected="largest difference of logits at most 1e-12, classes "
             "identical; 64-50-40-30-10, 20 draws")  # fmt: skip
def exact_mapping(run: Run) -> Measured:
    """Measure T1."""
    worst, same = 0.0, True
    for seed in range(20):
        for model in MODELS:
            net, x, logits = mapped(seed, model)
            got = ttfs.forward(net, x).logits
            worst = max(worst, abs(got - logits).max())
            same &= bool((got.argmax(axis=1) == logits.argmax(axis=1)).all())
    return Measured(f"{worst:.1e}, classes {'identical' if same else 'DIFFER'}",
                    worst <= 1e-12 and same)  # fmt: skip


@PAPER.claim("T2", "first threshold crossings, event by event, are where the closed form says",
             source=HERE, expected="at most 1e-12 apart, no crossing before its window; depth 4, "
             "width 40, margins 0.5, 2, 9; evsim's engine and the reference dynamics")  # fmt: skip
def crossings(run: Run) -> Measured:
    """Measure T2."""
    worst, early = 0.0, 0
    settings = [(m, z) for m in ("b1", "alpha") for z in (0.5, 2.0, 9.0)]
    for k, (model, zeta) in enumerate(settings):
        net, x, _ = mapped(k, model, zeta, sizes=(40,) * 5 + (10,), samples=4)
        closed, event = ttfs.forward(net, x), ttfs.forward(net, x, "event")
        early += sum(int(p.sum()) for p in event.premature)
        for a, b in zip(closed.times, event.times, strict=True):
            worst = max(worst, abs(a - b).max())
        for i, record in enumerate(run_in_engine(net, closed.inputs)):
            early += sum(len(s) for s in record.premature.values())
            for got, wanted in zip(spike_times(net, record), closed.times, strict=True):
                worst = max(worst, abs(got - wanted[i]).max())
        run.tell((k + 1) / len(settings))
    return Measured(f"{worst:.1e}, {early} premature", worst <= 1e-12 and early == 0)


@PAPER.claim("T3", "windows by the sufficient condition prevent every premature spike; shorter "
             "ones do not, and what happens is reported", source=HERE,
             expected="sufficient windows: none, times at most 1e-12 apart; 1.5 of the largest "
             "activation: some, all reported")  # fmt: skip
def windows(run: Run) -> Measured:
    """Measure T3."""
    worst, early, neurons = 0.0, {"sufficient": 0, "1.5 X": 0}, 0
    wanted = reported = 0
    for seed in range(6):
        short, x, _ = mapped(seed, "general", signed=True)
        safe = short.with_windows(ttfs.safe_widths(short))
        for name, net in (("sufficient", safe), ("1.5 X", short)):
            event = ttfs.forward(net, x, "event")
            early[name] += sum(int(p.sum()) for p in event.premature)
            if name == "sufficient":
                closed = ttfs.forward(net, x)
                for a, b in zip(closed.times, event.times, strict=True):
                    worst = max(worst, abs(a - b).max())
        counts = np.sum([p.sum(axis=1) for p in event.premature], axis=0)
        neurons += sum(p.size for p in event.premature)
        some = np.argsort(-counts)[:2]
        records = run_in_engine(short, event.inputs[some])
        reported += sum(len(s) for record in records for s in record.premature.values())
        wanted += int(counts[some].sum())
        run.tell((seed + 1) / 6)
    share = early["1.5 X"] / neurons
    holds = early["sufficient"] == 0 and worst <= 1e-12 and early["1.5 X"] > 0
    text = f"none, {worst:.1e}; {early['1.5 X']} ({share:.1%}), engine reports {reported}/{wanted}"
    return Measured(text, holds and reported == wanted > 0)


@PAPER.claim("T4", "single-spike network to ReLU network and back gives the same parameters",
             source=HERE, expected="W, D and thresholds equal to 1e-12 relative")  # fmt: skip
def round_trip(run: Run) -> Measured:
    """Measure T4."""
    worst = 0.0
    for seed in range(20):
        for model in MODELS:
            net, _x, _ = mapped(seed, model)
            weights, biases = ttfs.to_relu(net)
            options: dict[str, Any] = {
                "A": [h.a for h in net.hidden],
                "B": [h.b for h in net.hidden],
            }
            again = ttfs.from_relu(weights, biases, net.widths / 1.5, model, **options)
            for one, two in zip(net.weighted, again.weighted, strict=True):
                for a, b in ((one.weight, two.weight), (one.drift, two.drift)):
                    worst = max(worst, float((abs(a - b) / abs(a)).max()))
            for a, b in zip(net.v_th, again.v_th, strict=True):
                worst = max(worst, float((abs(a - b) / abs(a)).max()))
    return Measured(f"{worst:.1e}", worst <= 1e-12)


def differences(net, x, threshold: str, h: float = 1e-6) -> float:
    """Largest deviation of `local_derivatives` of layer 1 from central differences."""
    found, layer, worst = ttfs.local_derivatives(net, x, 1, threshold=threshold), net.hidden[0], 0.0

    def times(weight, drift, v_th):
        moved = net.copy()
        mine = moved.hidden[0]
        mine.weight, mine.drift = weight, drift
        if threshold == "free":
            mine.drift = drift + moved.threshold(1) - v_th
        return ttfs.forward(moved, x).times[0][0]

    v_th = net.threshold(1)
    for i in range(len(layer.weight)):
        for j in range(layer.weight.shape[1]):
            d = np.zeros_like(layer.weight)
            d[i, j] = h
            ends = [times(layer.weight + s * d, layer.drift, v_th)[i] for s in (1, -1)]
            worst = max(worst, abs((ends[0] - ends[1]) / (2 * h) - found["W"][i, j]))
        e = np.zeros(len(layer.weight))
        e[i] = h
        if threshold == "tied":
            ends = [times(layer.weight, layer.drift + s * e, v_th)[i] for s in (1, -1)]
            wanted = found["D"][i]
        else:
            ends = [times(layer.weight, layer.drift, v_th + s * e)[i] for s in (1, -1)]
            wanted = found["v_th"][i]
        worst = max(worst, abs((ends[0] - ends[1]) / (2 * h) - wanted))
    return worst


@PAPER.claim("T5", "derivatives of spike times by weights, drifts and thresholds, tied and free",
             source=f"{S24} (chain rule); tied and free thresholds {HERE}",
             expected="central differences of step 1e-6 agree to 1e-7")  # fmt: skip
def local(run: Run) -> Measured:
    """Measure T5."""
    found = {}
    for model in MODELS:
        for threshold in ("tied", "free"):
            net, x, _ = mapped(2, model, sizes=(8, 7, 4), samples=1)
            found[f"{model} {threshold}"] = differences(net, x, threshold)
    return Measured(", ".join(f"{k} {v:.0e}" for k, v in found.items()),
                    max(found.values()) <= 1e-7)  # fmt: skip


@PAPER.claim("T6", "the gradient of the cross entropy", source=f"{S24} (chain rule)",
             expected="central differences of step 1e-5 agree to 1e-8; 64-20-15-10")  # fmt: skip
def loss_gradient(run: Run) -> Measured:
    """Measure T6."""
    worst, h = 0.0, 1e-5
    for model in MODELS:
        net, x, _ = mapped(1, model, sizes=(64, 20, 15, 10), samples=8)
        labels = np.arange(8)
        _, g = ttfs.gradient(net, x, labels)
        rng = np.random.default_rng(0)
        for name, array in net.parameters().items():
            for _ in range(12 if run.quick else 40):
                at = tuple(rng.integers(0, n) for n in array.shape)
                before, ends = array[at], []
                for s in (1, -1):
                    array[at] = before + s * h
                    ends.append(ttfs.gradient(net, x, labels)[0])
                array[at] = before
                numeric = (ends[0] - ends[1]) / (2 * h)
                worst = max(worst, abs(numeric - g[name[0]][int(name[1:])][at]))
    return Measured(f"{worst:.1e}", worst <= 1e-8)
