"""Claims about the losses alone: exact for any logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from reference import tet
from reference.optimizers import SGD
from validation.cases.claims import Measured, Run
from validation.cases.tet.paper import D22, DERIVED, PAPER

Y = np.array([3, 0, 9, 5])


def logits(seed: int, steps: int = 6, spread: float = 2.0) -> np.ndarray:
    """Random logits of four samples and ten classes."""
    return spread * np.random.default_rng(seed).standard_normal((steps, 4, 10))


#: Losses, and what is said of the gradient of each.
GRADIENTS: dict[str, tuple[Callable, str]] = {
    "E1": (tet.sdt, "standard loss is (mean p - y)/T at every step"),
    "E2": (tet.tet, "efficient loss is (p_t - y)/T"),
    "E3": (lambda o, y: tet.total(o, y, 0.05, 1.0), "regularised loss, lambda .05 and phi 1"),
}


def against_differences(loss: Callable, run: Run) -> Measured:
    """The gradient against central differences with a step of 1e-5."""
    o, h = logits(1), 1e-5
    found, worst = loss(o, Y)[1], 0.0
    for index in np.ndindex(*o.shape):
        ahead, behind = o.copy(), o.copy()
        ahead[index] += h
        behind[index] -= h
        slope = (loss(ahead, Y)[0] - loss(behind, Y)[0]) / (2.0 * h)
        worst = max(worst, abs(slope - found[index]))
    return Measured(f"{worst:.1e}", worst < 1e-8)


for _id, (_loss, _words) in GRADIENTS.items():
    PAPER.claim(_id, f"the gradient of the {_words}", source=D22, expected="differences: < 1e-8")(
        partial(against_differences, _loss)
    )


@PAPER.claim(
    "E4",
    "the standard loss is at most the efficient one",
    source=f"{D22}, lemma 4.1",
    expected="gap >= -1e-12 of the logits, to 1e4 large",
)
def lemma(run: Run) -> Measured:
    """Random logits over eight orders of magnitude, and constant ones."""
    least = 0.0
    for seed in range(400):
        spread = 10.0 ** (seed % 9 - 4)
        o = logits(seed, steps=1 + seed % 7, spread=spread)
        losses = tet.tet(o, Y)[0] - tet.sdt(o, Y)[0]
        least = min(least, losses / np.abs(o).max(), tet.gap(o) / np.abs(o).max())
    return Measured(f"{least:.1e}", least >= -1e-12)


@PAPER.claim(
    "E5", "the gap knows no label, and no common offset of a step", source=DERIVED, expected="1e-12"
)
def invariance(run: Run) -> Measured:
    """All labels; offsets of every step and sample."""
    o, rng = logits(2), np.random.default_rng(3)
    base = tet.gap(o)
    worst = abs(tet.gap(o + rng.normal(0, 5, (6, 4, 1))) - base)
    for label in range(10):
        y = np.full(4, label)
        worst = max(worst, abs(tet.tet(o, y)[0] - tet.sdt(o, y)[0] - base))
    return Measured(f"{worst:.1e}", worst <= 1e-12)


@PAPER.claim(
    "E6",
    "small deviations: the gap is half the variance in the Fisher metric",
    source=DERIVED,
    expected="|ratio - 1| <= .05 at scale .1, <= .005 at .01",
)
def quadratic(run: Run) -> Measured:
    """Deviations scaled towards zero."""
    mean, delta = logits(4)[:1], logits(5, spread=1.0)
    delta -= delta.mean(axis=0)
    off = {}
    for scale in (1.0, 0.3, 0.1, 0.03, 0.01):
        o = mean + scale * delta
        off[scale] = abs(tet.gap(o) / tet.gap_quadratic(o) - 1.0)
    text = ", ".join(f"{scale:g}: {value:.1e}" for scale, value in off.items())
    return Measured(text, off[0.1] <= 0.05 and off[0.01] <= 0.005)


@PAPER.claim(
    "E7",
    "the gap is at most a quarter of the mean square deviation",
    source=DERIVED,
    expected="ratio <= 1, with ten classes and two; nearly reached with two",
)
def bound(run: Run) -> Measured:
    """Random logits of eight thousand samples; two classes at probability 1/2."""
    worst = 0.0
    for seed in range(2000):
        o = logits(seed, spread=10.0 ** (seed % 5 - 2))
        worst = max(worst, tet.gap(o) / tet.gap_bound(o))
    tight = 0.01 * np.array([[[1.0, -1.0]], [[-1.0, 1.0]]])
    edge = tet.gap(tight) / tet.gap_bound(tight)
    return Measured(f"{worst:.3f}; two classes {edge:.6f}", worst < 1.0 and 0.999 < edge <= 1.0)


@PAPER.claim(
    "E8",
    "the printed proof of lemma 4.1 has a false step: softmax is not convex",
    source=f"{D22}, refuted",
    expected="-log mean p = 1.381361 < standard loss 3.048587",
)
def false_step(run: Run) -> Measured:
    """The counterexample, and how often random logits are one."""
    middle, standard, _ = tet.false_step(tet.COUNTEREXAMPLE, np.array([0]))
    broken = 0
    for seed in range(2000):
        o = logits(seed)[:, :1]
        found = tet.false_step(o, Y[:1])
        broken += found[0] < found[1] - 1e-12
    text = f"{middle:.6f} < {standard:.6f}; so are {broken / 20:.0f} % of random logits"
    good = abs(middle - 1.381361) <= 1e-6 and abs(standard - 3.048587) <= 1e-6
    return Measured(text, good and middle < standard)


#: Classes, lambda; gap of the logits, probability, cross entropy and loss where it is least.
FLOORS = {
    (10, 0.001): (8.6587, 0.99844, 0.00156, 0.00831),
    (10, 0.05): (5.1645, 0.95107, 0.05016, 0.16768),
    (100, 0.001): (12.8689, 0.99974, 0.00026, 0.00189),
    (100, 0.05): (9.2296, 0.99038, 0.00966, 0.05135),
}


@PAPER.claim(
    "E9",
    "lambda caps the confidence, whatever phi is",
    source=DERIVED,
    expected="the table of four settings, and descent on free logits: 1e-4",
)
def confidence(run: Run) -> Measured:
    """Roots, and gradient descent from zero for three values of phi."""
    worst = 0.0
    for (classes, lam), wanted in FLOORS.items():
        gap = tet.confidence_gap(classes=classes, lam=lam)
        found = (gap, *tet.floors(classes=classes, lam=lam))
        worst = max(worst, *(abs(a - b) for a, b in zip(found, wanted, strict=True)))
    for phi in (0.0, 1.0, -3.0):
        params = {"o": np.zeros((1, 1, 10))}
        optimizer = SGD(params, 2.0, momentum=0.9)
        for _ in range(3000):
            optimizer.step({"o": tet.total(params["o"], Y[:1], 0.05, phi)[1]})
        o = params["o"][0, 0]
        worst = max(worst, abs(o[Y[0]] - o[0] - tet.confidence_gap(classes=10, lam=0.05)))
        worst = max(worst, abs(o.mean() - phi))
    return Measured(f"{worst:.1e}", worst <= 1e-4)


@PAPER.claim(
    "E10",
    "the mean error weight of the steps leaves the standard one quadratically",
    source=DERIVED,
    expected="(mean p_t - mean p)/T: slope 2 +- .1",
)
def averaging(run: Run) -> Measured:
    """Deviations scaled down; the identity itself holds to rounding."""
    mean, delta = logits(6)[:1], logits(7, spread=1.0)
    delta -= delta.mean(axis=0)
    scales, sizes = [0.1, 0.03, 0.01, 0.003], []
    for scale in scales:
        o = mean + scale * delta
        sizes.append(np.linalg.norm(tet.tet(o, Y)[1].mean(axis=0) - tet.sdt(o, Y)[1][0]))
    slope = np.polyfit(np.log(scales), np.log(sizes), 1)[0]
    return Measured(f"{slope:.3f}", abs(slope - 2.0) <= 0.1)


@PAPER.claim(
    "E21",
    "training at 2 steps and fine-tuning at 6 costs half",
    source=D22,
    expected="300 epochs at 6: 1800; 300 at 2 and 50 at 6: 900",
)
def cost(run: Run) -> Measured:
    """Epochs times steps."""
    found = tet.inheritance_cost(300, 6, first=2, tuning=50)
    return Measured(f"{found[0]}, {found[1]}", found == (1800, 900))
