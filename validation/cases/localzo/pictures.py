"""Figures of the zeroth-order claims."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from validation.cases.claims import Run


def axes_of(columns: int = 1):
    """A figure without a window, and its axes."""
    figure = Figure(figsize=(4.6 * columns, 3.4), layout="constrained")
    return figure, figure.subplots(1, columns)


def convergence(run: Run, numbers, curves) -> None:
    """Root mean square errors of mean estimates, by law, against the number of draws."""
    figure, axes = axes_of()
    for name, errors in curves.items():
        axes.loglog(numbers, errors, "o-", label=name)
    first = max(errors[0] for errors in curves.values())
    axes.loglog(numbers, first * np.sqrt(numbers[0] / np.array(numbers)), "k:", label="1/sqrt(n)")
    axes.set(xlabel="draws", ylabel="rms error of the mean estimate")
    axes.legend()
    run.save(figure, "localzo-convergence")


def families(run: Run, found) -> None:
    """Surrogates, and the laws behind them: (name, g, law, density or None) each."""
    figure, (left, right) = axes_of(2)
    v, z = np.linspace(-1.0, 1.0, 400), np.linspace(1e-3, 4.0, 400)
    for name, g, density in found:
        (line,) = left.plot(v, g(v), label=name)
        if density is not None:
            right.plot(z, density(z), color=line.get_color(), label=name)
    left.set(xlabel="v, membrane less threshold", ylabel="surrogate g(v)")
    right.set(xlabel="|z|", ylabel="density", ylim=(0, 3))
    left.legend(fontsize=7)
    run.save(figure, "localzo-laws")


def speed(run: Run, rows: list[dict], fixed: float, slope: float) -> None:
    """Measured speed-up against the active share, the model through it, and its ceiling."""
    figure, axes = axes_of()
    share = np.array([row["active"] for row in rows])
    wide = np.geomspace(share.min() / 3, share.max(), 100)
    reference = float(np.median([row["blas"] for row in rows]))
    axes.loglog(share, [row["blas"] / row["sparse"] for row in rows], "o-", label="against BLAS")
    loops = [row for row in rows if "steps" in row]
    against = [row["steps"] / row["sparse"] for row in loops]
    axes.loglog([row["active"] for row in loops], against, "s-", label="against products per step")
    axes.loglog(wide, reference / (fixed + slope * wide), "k:", label="fixed + active x cost")
    axes.axhline(reference / fixed, color="0.5", lw=0.8, label="ceiling: passes over the arrays")
    axes.axhline(100.0, color="C3", lw=0.8, ls="--", label="100")
    axes.axhline(1.0, color="0.8", lw=0.8)
    axes.set(xlabel="active share of neurons and steps", ylabel="times faster")
    axes.legend(fontsize=7)
    run.save(figure, "localzo-speed")


def training(run: Run, results: dict[str, list[dict]]) -> None:
    """Test accuracy against the active share, one mark a seed, one colour a rule."""
    figure, axes = axes_of()
    for name, found in results.items():
        share = [max(1e-6, np.mean(one["active"])) for one in found]
        axes.semilogx(share, [one["accuracy"] for one in found], "o", label=name)
    axes.set(xlabel="active share in training", ylabel="test accuracy")
    axes.legend(fontsize=7)
    run.save(figure, "localzo-digits")
