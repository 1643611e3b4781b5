"""Training of plain deep networks on digits, with surrogates of several widths."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from reference import data, layers, stack, surrogates
from reference.losses import softmax_cross_entropy
from reference.optimizers import Adam, one_cycle
from validation.cases.claims import Measured, Run
from validation.cases.surrogate import figures
from validation.cases.surrogate.paper import L20, PAPER
from validation.evtrace import replacing


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained: AdamW, one cycle, cross entropy of a readout.

    Attributes
    ----------
    a : float
        Of the surrogate 1 / (1 + a|v|)².
    depth, width : int
        Hidden layers, with batch norm on their currents.
    n_steps : int
        Steps that the image is shown for.
    """

    a: float
    seed: int
    depth: int = 8
    width: int = 128
    n_steps: int = 8
    epochs: int = 8
    batch: int = 64
    rate: float = 2e-3
    weight_decay: float = 0.01
    beta: float = 0.9


def accuracy(run: Run, recipe: Recipe) -> float:
    """Test accuracy after training, with the statistics that were gathered on the way."""
    digits = data.digits(recipe.seed)
    net, running = built(recipe, digits.train.x.shape[1])
    total = recipe.epochs * (len(digits.train.y) // recipe.batch)
    optimizer = Adam(net.params, recipe.rate, weight_decay=recipe.weight_decay)
    surrogate = surrogates.get("snntorch.fast_sigmoid", slope=recipe.a)
    for epoch in range(recipe.epochs):
        order = data.batches(len(digits.train.y), recipe.batch, seed=recipe.seed, epoch=epoch)
        for chosen in order:
            done = net.forward(shown(digits.train.x[chosen], recipe))
            _, pull = softmax_cross_entropy(done.logits, digits.train.y[chosen])
            grads = net.backward(done, pull(), surrogate, detach=True)
            del grads["input"]
            optimizer.lr = one_cycle(optimizer.steps, total, recipe.rate)
            optimizer.step(grads)
            running = [
                layers.running_statistics(*pair)
                for pair in zip(running, done.statistics, strict=True)
            ]
        run.tell(0.0, f"a = {recipe.a:g}, seed {recipe.seed}, epoch {epoch + 1}")
    logits = net.forward(shown(digits.test.x, recipe), fixed=running).logits
    assert logits is not None
    return float(np.mean(logits.argmax(axis=-1) == digits.test.y))


def built(recipe: Recipe, pixels: int):
    """The untrained network, and statistics of inference to begin with."""
    rng = np.random.default_rng([recipe.seed, 1])
    sizes = [pixels, *[recipe.width] * recipe.depth]
    params = stack.initial(rng, sizes, classes=10, dtype=np.float32)
    net = stack.Stack(params, beta=recipe.beta, reset="soft", compare=">")
    zero, one = np.zeros(recipe.width, np.float32), np.ones(recipe.width, np.float32)
    return net, [(zero, one)] * recipe.depth


def shown(images: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Images as a constant current [T, B, pixels]."""
    return np.broadcast_to(images.astype(np.float32), (recipe.n_steps, *images.shape))


def accuracies(run: Run, a: float, **options) -> list[float]:
    """Test accuracies of all seeds; each is kept as soon as it is there."""
    place, known = run.kept("accuracies.json"), {}
    if place.exists():
        known = json.loads(place.read_text())
    found = []
    for seed in run.seeds:
        recipe = Recipe(a, seed, **options)
        key = json.dumps(asdict(recipe), sort_keys=True)
        if key not in known:
            known[key] = accuracy(run, recipe)
            with replacing(place) as file:
                file.write(json.dumps(known).encode())
        found.append(known[key])
    return found


def _listed(found: list[float]) -> str:
    return f"{np.mean(found):.3f} ({', '.join(f'{value:.3f}' for value in found)})"


@PAPER.claim(
    "S12",
    "the width of the surrogate decides whether a plain deep network learns",
    source=f"{L20} (on other data); digits, 8 layers of 128, 8 steps, 8 epochs, AdamW, one cycle",
    expected="mean accuracy at least 0.93 at a = 1, at most 0.70 at a = 100",
)
def _width_decides(run: Run) -> Measured:
    widths = (1.0, 100.0) if run.quick else (0.3, 1.0, 2.0, 5.0, 25.0, 100.0)
    found = {a: run.once(accuracies, a) for a in widths}
    figures.save_training(run, found)
    text = "; ".join(f"a = {a:g}: {_listed(found[a])}" for a in widths)
    return Measured(text, bool(np.mean(found[1.0]) >= 0.93 and np.mean(found[100.0]) <= 0.70))


@PAPER.claim(
    "S13",
    "few steps suffice",
    source=f"{L20}: as low as 10 steps",
    expected="mean accuracy at least 0.93 at 8 steps; the network of S12, a = 1",
)
def _few_steps(run: Run) -> Measured:
    found = {8: run.once(accuracies, 1.0)}
    if not run.quick:
        found |= {n: accuracies(run, 1.0, n_steps=n) for n in (4, 10)}
    text = "; ".join(f"T = {n}: {_listed(found[n])}" for n in sorted(found))
    return Measured(text, bool(np.mean(found[8]) >= 0.93))
