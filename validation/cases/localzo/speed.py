"""Claims about the sparse backward pass: that it is exact, and how much faster it is."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from reference import localzo_network
from reference.bptt import filtered
from reference.sparse_backward import plain_backward, sparse_backward
from validation.cases.claims import Measured, Run
from validation.cases.localzo import pictures
from validation.cases.localzo.paper import DERIVED, PAPER, PUBLISHED

#: Steps, samples, inputs and outputs of the timed layer; leak, input rate, and its sparsities.
STEPS, SAMPLES, SIZE, BETA, RATE = 100, 32, 1024, 0.9, 0.02
SHARES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
ROUNDS = 5


@PAPER.claim(
    "Z12",
    "the sparse backward pass is exact",
    source=DERIVED,
    expected="largest difference: 1e-12 in float64, 1e-5 in float32",
)
def exact(run: Run) -> Measured:
    """One layer in both precisions, and a whole network with the same draws both ways."""
    worst = {np.float64: 0.0, np.float32: 0.0}
    for dtype in worst:
        rng = np.random.default_rng(12)
        x = (rng.random((40, 8, 300)) < 0.05).astype(dtype)
        weight = rng.standard_normal((300, 200)).astype(dtype)
        active = np.argwhere(rng.random((40, 8, 200)) < 0.02)
        below = np.argwhere(rng.random(x.shape) < 0.02)
        value = rng.standard_normal(len(active)).astype(dtype)
        for wanted in (None, below):
            pair = [
                f(x, weight, active, value, beta=BETA, below=wanted)
                for f in (sparse_backward, plain_backward)
            ]
            worst[dtype] = max(worst[dtype], *map(difference, *pair))
    network = whole_network()
    good = worst[np.float64] <= 1e-12 and worst[np.float32] <= 1e-5 and network <= 1e-12
    return Measured(
        f"{worst[np.float64]:.1e}, {worst[np.float32]:.1e}; network {network:.1e}", good
    )


def difference(one, other) -> float:
    """Largest, relative to the largest entry."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def whole_network() -> float:
    """Gradients of three weights in float64, by active neurons and by all of them."""
    rng = np.random.default_rng(13)
    params = {
        key: value.astype(float)
        for key, value in localzo_network.start((64, 60, 60, 10), seed=1).items()
    }
    spikes = (rng.random((50, 16, 64)) < 0.02).astype(float)
    passed = localzo_network.forward(params, spikes)
    top = rng.standard_normal(passed.scores.shape)
    sparse = localzo_network.zeroth_order(delta=0.2)
    rules = sparse, localzo_network.Rule("the same, everywhere", sparse.factor, False)
    found = [
        localzo_network.backward(params, passed, top, rule, np.random.default_rng)[0]
        for rule in rules
    ]
    return max(difference(found[0][key], found[1][key]) for key in params)


class Layer:
    """What both backward passes of one layer start from: a mask of active neurons and the rest."""

    def __init__(self, share: float, seed: int = 0) -> None:
        rng, kind = np.random.default_rng(seed), np.float32
        shape = (STEPS, SAMPLES, SIZE)
        self.x = (rng.random(shape, np.float32) < RATE).astype(kind)
        self.weight = (rng.standard_normal((SIZE, SIZE), np.float32) / 32).astype(kind)
        self.grad = rng.standard_normal(shape, np.float32)
        self.mask = rng.random(shape, np.float32) < share
        self.factor = np.where(self.mask, np.float32(0.8), np.float32(0.0))
        self.below = np.argwhere(rng.random(shape, np.float32) < share)
        if not self.mask.any():
            raise ValueError(f"no neuron is active with a share of {share}: nothing to time")

    def sparse(self):
        """Compaction of the mask, then the sparse backward pass."""
        flat = np.flatnonzero(self.mask)
        value = self.grad.reshape(-1)[flat] * self.factor.reshape(-1)[flat]
        active = np.stack(np.unravel_index(flat, self.mask.shape), axis=1)
        return sparse_backward(self.x, self.weight, active, value, beta=BETA, below=self.below)

    def scanned(self) -> np.ndarray:
        """Gradient by the membrane at every step: surrogate times gradient, filtered backward."""
        return filtered(self.grad * self.factor, BETA).reshape(-1, SIZE)

    def blas(self):
        """The same by two dense products over all steps at one time."""
        lam = self.scanned()
        return self.x.reshape(-1, SIZE).T @ lam, (lam @ self.weight.T).reshape(self.x.shape)

    def steps(self):
        """The same step by step, as automatic differentiation goes back: two products a step."""
        grad_weight, grad_x = np.zeros_like(self.weight), np.empty_like(self.x)
        lam, decay = np.zeros((SAMPLES, SIZE), np.float32), np.float32(BETA)
        for t in range(STEPS - 1, -1, -1):
            lam = decay * lam + self.grad[t] * self.factor[t]
            grad_weight += self.x[t].T @ lam
            grad_x[t] = lam @ self.weight.T
        return grad_weight, grad_x


def seconds(work: Callable, clock: Callable[[], float]) -> float:
    """Time of one call."""
    began = clock()
    work()
    return clock() - began


def timed(
    share: float,
    rounds: int = ROUNDS,
    *,
    extra: dict[str, Callable] | None = None,
    steps: bool = True,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Best seconds of each side at one active share, the sides taking turns in one thread.

    By processor time unless another clock is given: on a busy machine waiting says nothing.
    """
    from threadpoolctl import threadpool_limits

    layer = Layer(share)
    works = {"sparse": layer.sparse, "blas": layer.blas, **(extra or {})}
    if steps:
        works["steps"] = layer.steps
    with threadpool_limits(1):
        layer.sparse()  # compiles
        best = {name: float("inf") for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                best[name] = min(best[name], seconds(work, clock))
    return {"active": float(layer.mask.mean()), **best}


def sweep(run: Run) -> list[dict]:
    """Every active share, once for all claims."""
    rows = []
    for place, share in enumerate(SHARES):
        steps = not run.quick or share == 0.003
        rows.append(timed(share, 3 if run.quick else ROUNDS, steps=steps))
        run.tell((place + 1) / len(SHARES), f"active share {share:g}")
    fixed, slope = model(rows)
    pictures.speed(run, rows, fixed, slope)
    return rows


def model(rows: list[dict]) -> tuple[float, float]:
    """Least squares of `sparse = fixed + slope * active`, relative errors weighed alike."""
    share = np.array([row["active"] for row in rows])
    time_of = np.array([row["sparse"] for row in rows])
    matrix = np.stack([1.0 / time_of, share / time_of], axis=1)
    fixed, slope = np.linalg.lstsq(matrix, np.ones(len(rows)), rcond=None)[0]
    return float(max(fixed, 1e-9)), float(slope)


@PAPER.claim(
    "Z13",
    "backward speed-up grows as fewer neurons are active; 100 times is published",
    source=PUBLISHED + " (GPU, against a framework)",
    expected="against BLAS: >= 5 at 1 %, >= 9 at .3 %; against steps: >= 25 at .3 %",
)
def speed_up(run: Run) -> Measured:
    """1024 to 1024 neurons, 100 steps, 32 samples, float32, one thread."""
    rows = {round(row["active"], 3): row for row in run.once(sweep)}
    one, third = rows[0.01], rows[0.003]
    blas = one["blas"] / one["sparse"], third["blas"] / third["sparse"]
    loop = third["steps"] / third["sparse"]
    ceiling = third["blas"] / model(list(rows.values()))[0]
    text = f"{blas[0]:.1f}, {blas[1]:.1f}; steps {loop:.1f}; ceiling {ceiling:.0f}"
    return Measured(text, blas[0] >= 5 and blas[1] >= 9 and loop >= 25)


@PAPER.claim(
    "Z14", "it breaks even near 10 % of active neurons", source=DERIVED, expected=".05 to .2 active"
)
def break_even(run: Run) -> Measured:
    """Where the speed-up against BLAS is 1, between the measured shares."""
    rows = run.once(sweep)
    share = np.log([row["active"] for row in rows])[::-1]
    gain = np.log([row["blas"] / row["sparse"] for row in rows])[::-1]
    place = float(np.exp(np.interp(0.0, -gain, share)))
    return Measured(f"{place:.3f}", 0.05 <= place <= 0.2)
