"""Training on digits, any depth: seeded, and going on where it was interrupted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reference import layers, mlf, tet
from reference.data import Split, batches, digits
from reference.mlf_network import MLFResNet, dormant, initial
from reference.optimizers import SGD
from validation.cases.claims import Run
from validation.cases.kept import restored, save

#: Steps that an image is shown for, channels of the first stage, samples at once.
STEPS, WIDTH, BATCH = 4, 8, 64
#: The rate falls by a half cosine from epoch to epoch, as the paper's falls by epochs.
RATE, MOMENTUM = 0.05, 0.9


@dataclass(frozen=True)
class Recipe:
    """One network and its training: `levels` thresholds, `residual` "plain" or "ds"."""

    depth: int
    residual: str
    levels: int
    seed: int
    epochs: int = 3

    @property
    def name(self) -> str:
        """For files, and to be read."""
        return f"{self.residual}-{self.levels}-depth-{self.depth}-seed-{self.seed}-{self.epochs}"


def network(recipe: Recipe, *, norm: bool = True, dtype=np.float32) -> MLFResNet:
    """As it begins."""
    rng = np.random.default_rng([recipe.seed, 44])
    state = initial(
        rng, depth=recipe.depth, width=WIDTH, channels=1, norm=norm, dtype=dtype
    )  # fmt: skip
    v_th = mlf.V_TH[: recipe.levels]
    return MLFResNet(state, depth=recipe.depth, residual=recipe.residual, v_th=v_th, norm=norm)


def shown(split: Split, chosen=slice(None)) -> np.ndarray:
    """Digits with mean 0 and deviation 1 over all pixels, the same at every step."""
    x = (split.x[chosen] - split.x.mean()) / split.x.std()
    images = x.reshape(-1, 1, 8, 8).astype(np.float32)
    return np.broadcast_to(images, (STEPS, *images.shape))


def trained(run: Run, recipe: Recipe) -> tuple[float, dict[str, float]]:
    """Accuracy on what was held out, and shares of dormant units, after training."""
    data, net = digits(recipe.seed), network(recipe)
    place = run.kept(f"mlf-{recipe.name}.npz")
    optimizer, first = SGD(net.state, RATE, momentum=MOMENTUM), 0
    names = [key[:-5] for key in net.state if key.endswith(".bias") and key != "fc.bias"]
    zeros = [np.zeros_like(net.state[f"{name}.bias"]) for name in names]
    gathered = [(zero, zero + 1.0) for zero in zeros]
    if place.exists():
        first, gathered = restored(place, net.state, optimizer)
    total = recipe.epochs * (len(data.train.y) // BATCH)
    for epoch in range(first, recipe.epochs):
        optimizer.lr = 0.5 * RATE * (1.0 + math.cos(math.pi * epoch / recipe.epochs))
        for chosen in batches(len(data.train.y), BATCH, seed=recipe.seed, epoch=epoch):
            found = net.forward(shown(data.train, chosen))
            grad = tet.sdt(found.output, data.train.y[chosen])[1]
            optimizer.step(net.backward(found, grad).weights)
            pairs = ((old, found.statistics[n]) for old, n in zip(gathered, names, strict=True))
            gathered = [layers.running_statistics(*pair) for pair in pairs]
            run.tell(optimizer.steps / total, recipe.name)
        save(place, epoch + 1, net.state, optimizer, gathered)
    return judged(net, dict(zip(names, gathered, strict=True)), data.test)


def judged(net: MLFResNet, fixed, held: Split) -> tuple[float, dict[str, float]]:
    """Share of right answers with the statistics of inference; dormant units of some samples."""
    right = 0
    for start in range(0, len(held.y), BATCH):
        part = slice(start, start + BATCH)
        found = net.forward(shown(held, part), fixed=fixed)
        right += int(np.sum(found.output.mean(axis=0).argmax(axis=-1) == held.y[part]))
    return right / len(held.y), dormant(found)
