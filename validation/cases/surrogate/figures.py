"""Figures of the claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reference import surrogates
from reference.stack import total

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from validation.cases.claims import Run
    from validation.cases.surrogate.depth import Sweep

LN10 = np.log(10.0)


def _panels(rows: int, columns: int, width: float, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def surrogate_figure() -> Figure:
    """Every surrogate at its defaults, one panel each, all on the same axes."""
    names, columns = surrogates.names(), 7
    figure, axes = _panels(-(-len(names) // columns), columns, 12.0, 9.5)
    v = np.linspace(-2.0, 2.0, 2001)
    libraries = list(dict.fromkeys(name.partition(".")[0] for name in names))
    for axis in axes.flat:
        axis.set(xlim=(-2, 2), ylim=(-1.2, 2.4), xticks=(-1, 0, 1), yticks=(0, 1, 2))
        axis.tick_params(labelsize=6)
        axis.axvline(0.0, color="0.85", lw=0.8, zorder=0)
        axis.axhline(0.0, color="0.85", lw=0.8, zorder=0)
    for axis, name in zip(axes.flat, names, strict=False):
        library, _, own = name.partition(".")
        g = surrogates.get(name)
        axis.plot(v, g.derivative(v), f"C{libraries.index(library)}", lw=1.2)
        axis.set_title(f"{library}\n{own}", fontsize=6.5)
        axis.text(-1.9, -1.05, f"height {g.height:.3g}, area {g.area:.3g}", fontsize=5.5)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    figure.supxlabel("membrane minus threshold", fontsize=8)
    figure.supylabel("surrogate derivative", fontsize=8)
    return figure


def save_widths(run: Run, found: Sweep) -> None:
    """The norm of the gradient by layer, and by layer and time, for surrogates of height 1."""
    figure, axes = _panels(1, 4, 15.0, 3.8)
    for a, profile in found.profiles.items():
        axes[0, 0].plot(1 + np.arange(len(profile)), total(profile) / LN10, label=f"a = {a:g}")
    axes[0, 0].set(xlabel="layer", ylabel="log10 of the norm of dL/ds", title="by layer")
    axes[0, 0].legend(fontsize=7)
    for axis, a in zip(axes[0, 1:], (1.0, 3.34, 100.0), strict=True):
        profile = found.profiles[a]
        by_time = (profile - total(profile)[:, None]) / LN10
        image = axis.imshow(
            by_time, origin="lower", aspect="auto", vmin=-3, vmax=0,
            extent=(0, by_time.shape[1], 0.5, len(by_time) + 0.5),
        )  # fmt: skip
        axis.set(xlabel="time step", ylabel="layer", title=f"share of each step, a = {a:g}")
    figure.colorbar(image, ax=axes[0, 3], label="log10")
    run.save(figure, "widths")


def save_resnets(run: Run, found: dict[str, dict[float, np.ndarray]]) -> None:
    """Norms by layer, the steps as thin lines, of residual networks."""
    figure, axes = _panels(1, len(found), 5.0 * len(found), 3.8)
    for axis, (name, norms) in zip(axes.flat, found.items(), strict=True):
        for k, (a, by_time) in enumerate(norms.items()):
            layers = 1 + np.arange(len(by_time))
            axis.semilogy(layers, by_time, color=f"C{k}", lw=0.5, alpha=0.5)
            axis.semilogy(layers, np.hypot.reduce(by_time, axis=1), f"C{k}", label=f"a = {a:g}")
        axis.set(title=name, xlabel="layer of neurons", ylabel="norm of dL/dI")
        axis.legend(fontsize=7)
    run.save(figure, "resnets")


def save_reset(run: Run, detached: Sweep, attached: Sweep) -> None:
    """Gain against width, with and without the path through the reset."""
    figure, axes = _panels(1, 1, 5.0, 3.8)
    axis = axes[0, 0]
    for found, label in ((detached, "reset detached"), (attached, "reset attached")):
        axis.loglog(list(found.gains), list(found.gains.values()), "o-", label=label)
        axis.axvline(found.star, color=axis.lines[-1].get_color(), lw=0.8, ls=":")
    axis.axhline(1.0, color="0.6", lw=0.8)
    axis.set(xlabel="a of 1 / (1 + a|v|)²", ylabel="gain of a layer")
    axis.legend()
    run.save(figure, "reset-path")


def save_activity(run: Run, normed: np.ndarray, without: dict[float, np.ndarray]) -> None:
    """Rate of every layer, with batch norm and without."""
    figure, axes = _panels(1, 1, 5.0, 3.8)
    layers = 1 + np.arange(len(normed))
    axes[0, 0].plot(layers, normed, "k", lw=2, label="batch norm")
    for gain, rates in without.items():
        axes[0, 0].plot(layers, rates, label=f"none, weight gain {gain:g}")
    axes[0, 0].set(xlabel="layer", ylabel="spikes per neuron and step")
    axes[0, 0].legend()
    run.save(figure, "activity")


def save_mean_field(run: Run, found: dict[float, dict]) -> None:
    """Predicted beside measured gain."""
    figure, axes = _panels(1, 1, 5.0, 3.8)
    for k, (beta, gains) in enumerate(found.items()):
        measured, predicted, white = zip(*gains.values(), strict=True)
        axes[0, 0].loglog(list(gains), measured, f"C{k}o", label=f"measured, beta = {beta:g}")
        axes[0, 0].loglog(list(gains), predicted, f"C{k}-", label="mean field")
        axes[0, 0].loglog(list(gains), white, f"C{k}:", label="the same, independent steps")
    axes[0, 0].set(xlabel="a of 1 / (1 + a|v|)²", ylabel="gain of a layer")
    axes[0, 0].legend()
    run.save(figure, "mean-field")


def save_training(run: Run, found: dict[float, list[float]]) -> None:
    """Accuracy of every seed against the width."""
    figure, axes = _panels(1, 1, 5.0, 3.8)
    for a, accuracies in found.items():
        axes[0, 0].semilogx([a] * len(accuracies), accuracies, "ko", alpha=0.6)
    means = [np.mean(accuracies) for accuracies in found.values()]
    axes[0, 0].semilogx(list(found), means, "C0-")
    axes[0, 0].set(xlabel="a of 1 / (1 + a|v|)²", ylabel="test accuracy", ylim=(0, 1))
    run.save(figure, "training")
