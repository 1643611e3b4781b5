"""Event-based backpropagation: training by exact gradients (Wunderlich and Pehle 2021)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from reference import data
from validation.cases.claims import Measured, Paper, Run
from validation.cases.eventprop.training import Task, Trained, coordinates, pixels, train
from validation.cases.eventprop.yinyang import yinyang

PAPER = Paper(
    "Wunderlich and Pehle, Event-based backpropagation can compute exact gradients for spiking "
    "neural networks (2021)",
    needs=("sklearn",),
)
PUBLISHED = "section 3.1: 98.1 +- 0.2 % with 200 hidden neurons"
DATA = "data: Kriener, Göltz and Petrovici (2022)"


def yinyang_task(hidden: int = 200, *, short: bool = False) -> Task:
    """The published network, with smaller batches, fewer epochs and less weight of early spikes."""
    decay, batch = (0.95, 32) if short else (0.9702, 128)
    scale = 200.0 / hidden  # fewer hidden neurons get greater weights
    return Task(
        hidden=hidden, classes=3, until=60e-3, encode=coordinates, readout=False,
        first=(1.5, 0.78), last=(0.93 * scale, 0.1 * scale), lr=5e-3, decay=decay, batch=batch,
    )  # fmt: skip


DIGITS = Task(
    hidden=300, classes=10, until=40e-3, encode=pixels, readout=True, jitter=6e-3,
    first=(0.06, 0.23), last=(0.13, 0.25), lr=1e-2, decay=0.9, batch=16,
)  # fmt: skip


def trained(run: Run, what: str) -> list[Trained]:
    """One training per seed, as many at a time as there are processors."""
    lock, share = Lock(), dict.fromkeys(run.seeds, 0.0)

    def one(seed: int) -> Trained:
        if what == "yinyang":
            task, given = yinyang_task(short=run.quick), yinyang(3000) if run.quick else yinyang()
            epochs = 12 if run.quick else 100
        else:
            task, given, epochs = DIGITS, data.digits(seed), 6 if run.quick else 30

        def tell(fraction: float) -> None:
            with lock:
                share[seed] = fraction
                run.tell(sum(share.values()) / len(share), what)

        return train(task, given, epochs, seed, run.kept(f"{what}-{seed}.npz"), tell)

    with ThreadPoolExecutor(min(len(run.seeds), os.cpu_count() or 1)) as pool:
        return list(pool.map(one, run.seeds))


def judged(run: Run, found: list[Trained], bar: float, quick_bar: float) -> Measured:
    """Mean accuracy against the bar, which is lower for the short form's small training."""
    each = 100.0 * np.array([one.accuracy for one in found])
    spread = f" +- {each.std(ddof=1):.2f}" if each.size > 1 else ""
    epochs = len(found[0].loss)
    text = f"{each.mean():.2f}{spread} % after {epochs} epochs, {each.size} seed(s)"
    return Measured(text, bool(each.mean() >= (quick_bar if run.quick else bar)))


@PAPER.claim("Y1", "Yin-Yang is learned with 200 hidden neurons", source=f"{PUBLISHED}; {DATA}",
             expected="mean test accuracy at least 97.5 % (quick: 85 %)")  # fmt: skip
def yin_yang(run: Run) -> Measured:
    """Three classes by their first spikes."""
    return judged(run, trained(run, "yinyang"), 97.5, 85.0)


@PAPER.claim("Y2", "Digits are learned with a hidden layer, the greatest voltages deciding",
             source="section 3.2, which uses MNIST: 97.6 +- 0.1 %",
             expected="mean test accuracy at least 96 % (quick: 80 %)")  # fmt: skip
def digits(run: Run) -> Measured:
    """The 8 x 8 digits of scikit-learn."""
    return judged(run, trained(run, "digits"), 96.0, 80.0)
