"""Claims about blocks whose branch adds nothing: what is left of the identity."""

from __future__ import annotations

import numpy as np

from reference import mlf
from reference.mlf import TAU, V_TH
from reference.mlf_network import MLFResNet, initial
from validation.cases.claims import Measured, Run
from validation.cases.mlf.paper import DERIVED, F22, PAPER

DEPTH = 20


def silenced(residual: str, levels: int, seed: int) -> tuple[MLFResNet, np.ndarray]:
    """A network in which no branch but that of a stage's first block adds anything, and images."""
    rng = np.random.default_rng(seed)
    state = initial(rng, depth=DEPTH, width=4, channels=1)
    for key in state:
        if ".bn2." in key and ".0.bn2." not in key:
            state[key] = np.zeros_like(state[key])
    net = MLFResNet(state, depth=DEPTH, residual=residual, v_th=V_TH[:levels])
    return net, rng.standard_normal((4, 8, 1, 8, 8))


@PAPER.claim(
    "M12",
    "a dormant-suppressed block can be the identity, forward and backward, for any counts",
    source=F22,
    expected="y = x and the gradient unchanged within a stage: exact",
)
def suppressed(run: Run) -> Measured:
    """Three blocks a stage, three levels; the first block's sums go beyond what a unit gives."""
    net, x = silenced("ds", 3, 12)
    found = net.forward(x)
    c = np.random.default_rng(13).standard_normal(found.output.shape)
    back, same, most = net.backward(found, c), 0, 0.0
    for stage in (1, 2, 3):
        chain = [found.blocks[f"layer{stage}.{k}"] for k in range(3)]
        same += sum(np.array_equal(chain[0], one) for one in chain[1:])
        most = max(most, float(chain[0].max()))
        grads = [back.blocks[f"layer{stage}.{k}"] for k in range(3)]
        same += sum(np.array_equal(grads[0], one) and bool(one.any()) for one in grads[1:])
    text = f"{same} of 12 equalities; counts up to {most:.0f}"
    return Measured(text, same == 12 and most > 3.0)


@PAPER.claim(
    "M13",
    "a plain block cannot be the identity",
    source=f"{F22}: saturation; refuted for up to two levels",
    expected="K = 1, 2: exact identity; K = 3: input 2 gives 2, 2, 3, 2, 2, 3; above K: K",
)
def plain_forward(run: Run) -> Measured:
    """All sequences of eight counts up to K for two levels; a network of 20 layers for both."""
    wrong = 0
    for levels in (1, 2):
        counts = np.indices((levels + 1,) * 8).reshape(8, -1).astype(float)
        unit = mlf.forward(counts, tau=TAU, v_th=V_TH[:levels])
        wrong += int(np.sum(unit.output != counts))
        net, x = silenced("plain", levels, levels)
        found = net.forward(x)
        wrong += sum(
            int(np.sum(found.blocks[f"layer{stage}.{k}"] != found.blocks[f"layer{stage}.0"]))
            for stage in (1, 2, 3)
            for k in (1, 2)
        )
    three = mlf.forward(np.full(9, 2.0), tau=TAU, v_th=V_TH).output
    above = mlf.forward(np.full(9, 7.0), tau=TAU, v_th=V_TH).output
    some = np.random.default_rng(13).integers(0, 4, (8, 100_000)).astype(float)
    off = float(np.mean(mlf.forward(some, tau=TAU, v_th=V_TH).output != some))
    sequence = "".join(f"{value:.0f}" for value in three)
    text = f"K = 1, 2: {wrong} differ; K = 3: {sequence}; {100 * off:.2f} % of random counts"
    return Measured(text, wrong == 0 and sequence == "223223223" and bool(np.all(above == 3.0)))


@PAPER.claim(
    "M14",
    "backward a chain of plain blocks is no identity: (1 + tau N)^-L on a unit that always fires",
    source=DERIVED,
    expected="1e-12; T = 4, L = 1, 3, 11, 33: .845, .647, 1.877, 39.9; detached: idempotent",
)
def plain_backward(run: Run) -> Measured:
    """N shifts by one step. One level, binary counts."""
    always, e = mlf.forward(np.ones((4, 1)), tau=TAU, v_th=V_TH[0]), np.ones((4, 1))
    inverse = np.linalg.inv(np.eye(4) + TAU * np.eye(4, k=1))
    worst, ratios, g = 0.0, [], e
    for length in range(1, 34):
        g = mlf.backward(always, g, width=1.0)
        exact = np.linalg.matrix_power(inverse, length) @ e
        worst = max(worst, float(np.abs(g - exact).max() / np.abs(exact).max()))
        if length in (1, 3, 11, 33):
            ratios.append(float(np.linalg.norm(g) / np.linalg.norm(e)))
    off = np.abs(np.array(ratios) / (0.845, 0.647, 1.877, 39.9) - 1.0)  # given to three digits
    good = bool(off.max() < 2e-3)
    rng = np.random.default_rng(14)
    some = mlf.forward((rng.random((4, 50_000)) < 0.25) * 1.0, tau=TAU, v_th=V_TH[0])
    normal = rng.standard_normal(some.output.shape)
    once = mlf.backward(some, normal, width=1.0, detach=True)
    twice = mlf.backward(some, once, width=1.0, detach=True)
    left = float(np.linalg.norm(once) / np.linalg.norm(normal))
    text = ", ".join(f"{ratio:.4g}" for ratio in ratios)
    text = f"{worst:.1e}; {text}; detached at rate 1/4: {left:.3f} of the norm, then unchanged"
    good = good and worst <= 1e-12 and np.array_equal(once, twice) and 0.5 < left < 0.53
    return Measured(text, bool(good))
