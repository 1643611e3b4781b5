"""T7 and T8: how gradients travel, by initialisation, width and depth."""

from __future__ import annotations

import numpy as np

from reference.ttfs_analysis import SCHEMES, naive_jacobian, spectral_radius, travelled
from validation.cases.claims import Measured, Run
from validation.cases.ttfs.paper import PAPER, S24

COLORS = {"b1": "C0", "naive": "C3", "smart": "C2", "zero-sum": "C1"}
NAMES = {"b1": "B1 (= ReLU)", "naive": r"$\alpha$, naive", "smart": r"$\alpha$, smart",
         "zero-sum": r"$\alpha$, zero-sum rows"}  # fmt: skip


@PAPER.claim("T7", "gradients of the naively initialised alpha model explode, those of B1 do not",
             source=f"{S24}, section on vanishing and exploding gradients",
             expected="median norm behind 8 layers of 100 neurons, variance 2, 40 draws: B1 in "
             "[0.5, 1.6], naive at least 100 times that")  # fmt: skip
def explosion(run: Run) -> Measured:
    """Measure T7."""
    draws = 40
    median = {
        scheme: float(np.median([travelled(scheme, 100, 8, 2.0, seed) for seed in range(draws)]))
        for scheme in SCHEMES
    }
    run.once(figure_of_depth)
    ratio = median["naive"] / median["b1"]
    words = ", ".join(f"{k} {v:.2g}" for k, v in median.items())
    return Measured(f"{words}; ratio {ratio:.0f}", ratio >= 100 and 0.5 <= median["b1"] <= 1.6)


def figure_of_depth(run: Run) -> None:
    """Gradient norms over depth, for two widths."""
    import matplotlib.pyplot as plt

    depths, draws = (1, 2, 4, 8, 16), 10 if run.quick else 30
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, n in zip(axes, (100, 340), strict=True):
        count = draws if n == 100 else draws // 3
        for scheme in SCHEMES:
            values = np.array([[travelled(scheme, n, d, 2.0, s) for s in range(count)]
                               for d in depths])  # fmt: skip
            low, mid, high = np.quantile(values, (0.1, 0.5, 0.9), axis=1)
            axis.plot(depths, mid, "o-", color=COLORS[scheme], label=NAMES[scheme])
            axis.fill_between(depths, low, high, color=COLORS[scheme], alpha=0.2, lw=0)
        axis.set(xscale="log", yscale="log", xlabel="layers", title=f"{n} neurons a layer")
        axis.set_xticks(depths, [str(d) for d in depths])
        axis.axhline(1.0, color="0.6", lw=0.8, zorder=0)
        axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes[0].set_ylabel("norm of a unit gradient, going back")
    axes[0].legend(frameon=False)
    run.save(figure, "gradient_norms")
    plt.close(figure)


@PAPER.claim("T8", "eigenvalues of the Jacobian: inside the unit circle with B1, far outside with "
             "the naive alpha model", source=f"{S24}, figure of eigenvalues",
             expected="340 neurons, variance 1, all spiking: radius of B1 in [0.95, 1.12], median "
             "of naive at least 3, share of B <= 0 in 0.16 +- 0.02")  # fmt: skip
def spectrum(run: Run) -> Measured:
    """Measure T8."""
    draws, n = 10, 340
    radius: dict[str, list[float]] = {"b1": [], "naive": []}
    dead = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        radius["b1"].append(spectral_radius(rng.normal(size=(n, n)) / np.sqrt(n)))
        jacobian, slope = naive_jacobian(n, 1.0, rng)
        radius["naive"].append(spectral_radius(jacobian))
        dead.append(float((slope <= 0).mean()))
        run.tell((seed + 1) / draws)
    share = float(np.mean(dead))
    run.once(figure_of_spectra)
    b1, naive = np.array(radius["b1"]), float(np.median(radius["naive"]))
    inside = bool((b1 >= 0.95).all() and (b1 <= 1.12).all())
    text = f"B1 {b1.min():.2f}..{b1.max():.2f}, naive {naive:.1f}, B <= 0: {share:.3f}"
    return Measured(text, inside and naive >= 3 and abs(share - 0.16) <= 0.02)


def figure_of_spectra(run: Run) -> None:
    """Eigenvalue clouds of one draw."""
    import matplotlib.pyplot as plt

    rng, n = np.random.default_rng(0), 340
    weight = rng.normal(size=(n, n)) / np.sqrt(n)
    slope = 1.0 + weight.sum(axis=1)
    zero_sum = weight - weight.mean(axis=1, keepdims=True)
    clouds = {"b1": weight, "zero-sum": zero_sum, "naive": weight / slope[:, None]}
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4))
    angle = np.linspace(0, 2 * np.pi, 200)
    for axis, (scheme, matrix) in zip(axes, clouds.items(), strict=True):
        values = np.linalg.eigvals(matrix)
        axis.plot(values.real, values.imag, ".", ms=3, color=COLORS[scheme])
        axis.plot(np.cos(angle), np.sin(angle), color="0.5", lw=0.8)
        axis.set(title=NAMES[scheme], xlabel="real", aspect="equal", adjustable="datalim")
    axes[0].set_ylabel("imaginary")
    figure.tight_layout()
    run.save(figure, "jacobian_spectra")
    plt.close(figure)
