"""Training on digits with every loss: seeded, and going on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from reference import layers, tet
from reference.data import Data, batches, digits
from reference.optimizers import Adam
from reference.stack import Params
from reference.tet_network import Classifier, encode, initial, running
from validation.cases.claims import Run
from validation.cases.kept import restored, save

#: Samples that are tested on; 300 remain to train with.
HELD = 1497
#: Epochs between two savings.
SAVED = 20
LOSSES: dict[str, Callable] = {
    "SDT": tet.sdt,
    "TET": tet.tet,
    "TET .05": lambda o, y: tet.total(o, y, 0.05, 1.0),
}


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes
    ----------
    loss : str
        A key of `LOSSES`.
    steps : int
        T.
    seed : int
        Of the split, the weights, the batches and the spikes.
    steep : float or None
        Of neurons with a sigmoid in the place of spikes.
    after : Recipe or None
        Another training that this one begins from.
    """

    loss: str
    steps: int
    seed: int
    epochs: int = 60
    coding: str = "rate"
    steep: float | None = None
    rate: float = 5e-3
    batch: int = 64
    after: Recipe | None = None


@dataclass
class Trained:
    """A network with the statistics that its training gathered."""

    recipe: Recipe
    params: Params
    statistics: list[tuple]

    @property
    def net(self) -> Classifier:
        """The network itself."""
        return Classifier(self.params, self.recipe.steep)

    def logits(self, split, steps: int, seed: int = 0):
        """Logits of a split at inference, and what the network keeps for `backward`."""
        x = encode(split.x, steps, coding=self.recipe.coding, seed=[1000, self.recipe.seed, seed])
        return self.net.forward(x, fixed=self.statistics)

    def accuracy(self, steps: int, draws: int = 4) -> float:
        """Share of right answers on what was held out, run for so many steps; mean of draws."""
        held = data_of(self.recipe.seed).test
        right = [
            np.mean(self.logits(held, steps, k)[0].mean(axis=0).argmax(axis=-1) == held.y)
            for k in range(draws)
        ]
        return float(np.mean(right))


def data_of(seed: int) -> Data:
    """300 digits to train with, the others to test on."""
    return digits(seed, test=(HELD - 0.5) / 1797)


def trained(run: Run, recipe: Recipe) -> Trained:
    """Train, or take what was kept; every `SAVED` epochs the whole state is saved."""
    key = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:16]
    place = run.kept(f"tet-{key}.npz")
    data = data_of(recipe.seed)
    begin = run.once(trained, recipe.after) if recipe.after else None
    params = {k: v.copy() for k, v in (begin.params if begin else initial(recipe.seed)).items()}
    gathered = list(begin.statistics) if begin else running(params)
    optimizer, first = Adam(params, recipe.rate), 0
    if place.exists():
        first, gathered = restored(place, params, optimizer)
    net, total = Classifier(params, recipe.steep), recipe.epochs * (300 // recipe.batch)
    for epoch in range(first, recipe.epochs):
        gathered = one_epoch(net, optimizer, data, recipe, epoch, total, gathered)
        if (epoch + 1) % SAVED == 0 or epoch + 1 == recipe.epochs:
            save(place, epoch + 1, params, optimizer, gathered)
        run.tell(0.0, f"{recipe.loss}, T {recipe.steps}, seed {recipe.seed}, epoch {epoch + 1}")
    return Trained(recipe, params, gathered)


def one_epoch(net, optimizer, data, recipe: Recipe, epoch: int, total: int, gathered):
    """All batches of one epoch; the statistics of inference after it."""
    order = batches(len(data.train.y), recipe.batch, seed=recipe.seed, epoch=epoch)
    for place, chosen in enumerate(order):
        x = encode(data.train.x[chosen], recipe.steps, coding=recipe.coding,
                   seed=[recipe.seed, epoch, place])  # fmt: skip
        logits, kept = net.forward(x)
        grads = net.backward(kept, LOSSES[recipe.loss](logits, data.train.y[chosen])[1])
        optimizer.lr = 0.5 * recipe.rate * (1.0 + math.cos(math.pi * optimizer.steps / total))
        optimizer.step(grads)
        gathered = [
            layers.running_statistics(*pair)
            for pair in zip(gathered, kept[0].statistics, strict=True)
        ]
    return gathered
