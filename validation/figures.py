"""Figures of a verification, as SVG that takes its colours from the page it stands in.

Text stays text and every colour is a CSS variable, so that one figure serves light and dark
pages. Blue is the exact solution, orange the recording, green the twin: Okabe and Ito's
colours, which the colour-blind tell apart, and each has a shape of its own besides.
"""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.result import LayerResult, Neighbourhood, Truth

#: Colours by role; the page defines the CSS variable of each name.
PALETTE = {
    "ink": "#111213",
    "muted": "#767778",
    "grid": "#dcdddf",
    "paper": "#fefdfc",
    "exact": "#0072b2",
    "recorded": "#d55e00",
    "twin": "#009e73",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evsim",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": PALETTE["grid"],
    "grid.linewidth": 0.6,
    "text.color": PALETTE["ink"],
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "xtick.labelcolor": PALETTE["ink"],
    "ytick.labelcolor": PALETTE["ink"],
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "text.usetex": False,
    "text.parse_math": False,  # names may hold dollars
}
WIDTH = 8.6  # inches
MAX_ROWS = 32
MAX_TICKS = 6_000


def raster(layer: LayerResult, n_steps: int) -> str | None:
    """Spikes of sample 0: recorded steps as bars above exact times as ticks; None without any.

    Parameters
    ----------
    layer : LayerResult
        Its `raster_recorded` and `raster_exact` are drawn; one of them may be missing.
    n_steps : int
        Length of the recording.

    Returns
    -------
    str or None
        An `<svg>` element. Of many neurons, the first that mismatches and evenly chosen active
        ones are shown.
    """
    recorded, exact = (_train(r) for r in (layer.raster_recorded, layer.raster_exact))
    if not recorded[0].size and not exact[0].size:
        return None
    active = np.union1d(recorded[1], exact[1])
    rows = _choose(active, [layer.first.neuron] if layer.first else [])
    height = 1.05 + 0.115 * max(len(rows), 4)
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(height)
        span = _draw_trains(axes, rows, recorded, exact, n_steps)
        axes.set_xlim(0, span)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("time [steps]")
        _label_rows(axes, rows, len(active))
        if layer.first and layer.first.sample == 0 and layer.first.step < span:
            axes.axvline(layer.first.step, color=PALETTE["ink"], lw=0.8, ls=":", label="mismatch")
        _legend(axes)
        return _svg(
            figure,
            f"Spike raster of layer {layer.name}, sample 0: {recorded[0].size} recorded and "
            f"{exact[0].size} exact spikes of {len(active)} active neurons.",
        )


def _train(spikes: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    if spikes is None:
        return np.empty(0), np.empty(0, np.int64)
    return np.asarray(spikes[0], float), np.asarray(spikes[1], np.int64)


def _choose(active: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """At most `MAX_ROWS` neurons, among them the wanted ones."""
    if len(active) > MAX_ROWS:
        places = np.linspace(0, len(active) - 1, MAX_ROWS - len(wanted)).round().astype(int)
        active = np.union1d(active[places], np.asarray(wanted, np.int64))
    return active


def _draw_trains(
    axes: Axes,
    rows: np.ndarray,
    recorded: tuple[np.ndarray, np.ndarray],
    exact: tuple[np.ndarray, np.ndarray],
    n_steps: int,
) -> float:
    """One path per train set, cut off where the picture would hold too much; the time shown."""
    (steps, k), (times, n) = (_of_rows(s, rows) for s in (recorded, exact))
    span = float(max(n_steps, 1))
    every = np.sort(np.concatenate([steps, times]))
    if every.size > MAX_TICKS:
        span = max(1.0, math.ceil(every[MAX_TICKS]))
        k, steps = k[steps < span], steps[steps < span]
        n, times = n[times < span], times[times < span]
    bars = np.stack([steps, steps + 1.0, np.full(steps.size, np.nan)], 1).ravel()
    axes.plot(
        bars,
        np.repeat(k - 0.2, 3),
        color=PALETTE["recorded"],
        lw=3.2,
        solid_capstyle="butt",
        label="recorded (the step)",
    )
    ticks = np.stack([n - 0.02, n + 0.42, np.full(n.size, np.nan)], 1).ravel()
    axes.plot(np.repeat(times, 3), ticks, color=PALETTE["exact"], lw=1.1, label="exact (the time)")
    return span


def _of_rows(
    train: tuple[np.ndarray, np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The spikes of the chosen neurons, and the row of each."""
    keep = np.isin(train[1], rows)
    return train[0][keep], np.searchsorted(rows, train[1][keep]).astype(float)


def _label_rows(axes: Axes, rows: np.ndarray, n_active: int) -> None:
    shown = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 9)).round().astype(int))
    axes.set_yticks(shown, [str(rows[i]) for i in shown])
    axes.tick_params(axis="y", length=0)
    part = f" ({len(rows)} of {n_active})" if n_active > len(rows) else ""
    axes.set_ylabel(f"neuron{part}")


def voltage(layer: LayerResult) -> str | None:
    """Voltage of one neuron around the place of interest: recorded, twin and exact."""
    view = layer.neighbourhood
    if view is None:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(3.0)
        axes.axvspan(view.step, view.step + 1, color=PALETTE["grid"], lw=0, zorder=0)
        axes.axhline(view.threshold, color=PALETTE["ink"], lw=0.9, ls=(0, (4, 3)), zorder=1)
        _draw_voltages(axes, view)
        _draw_spikes(axes, view)
        axes.set_xlabel("time [steps]")
        axes.set_ylabel("voltage [framework's unit]")
        axes.margins(x=0.02)
        _note_threshold(axes, view.threshold)
        _legend(axes)
        return _svg(
            figure,
            f"Membrane voltage of neuron {view.neuron} of layer {layer.name}, sample "
            f"{view.sample}, around step {view.step}: recorded, twin and exact solution.",
        )


def _draw_voltages(axes: Axes, view: Neighbourhood) -> None:
    if np.size(view.exact):
        axes.plot(view.t_exact, view.exact, color=PALETTE["exact"], lw=1.5, label="exact")
    axes.plot(
        view.t,
        view.twin,
        ls="",
        marker="o",
        ms=6.5,
        mfc="none",
        mew=1.2,
        color=PALETTE["twin"],
        label="twin, before reset",
    )
    if view.recorded is not None:
        axes.plot(
            view.t,
            view.recorded,
            ls="",
            marker="x",
            ms=5,
            mew=1.5,
            color=PALETTE["recorded"],
            label="recorded",
        )


def _draw_spikes(axes: Axes, view: Neighbourhood) -> None:
    """Spikes along the upper edge, where room is made for them."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.16 * (high - low))
    edge = axes.get_xaxis_transform()
    for times, colour, marker, name in (
        (view.spikes_recorded, "recorded", "v", "recorded spike"),
        (view.spikes_exact, "exact", "|", "exact spike"),
    ):
        if np.size(times):
            axes.plot(
                times,
                np.full(np.size(times), 0.94),
                ls="",
                marker=marker,
                ms=7 if marker == "v" else 10,
                mew=1.0 if marker == "v" else 1.8,
                color=PALETTE[colour],
                transform=edge,
                clip_on=False,
                label=name,
            )


def _note_threshold(axes: Axes, threshold: float) -> None:
    axes.annotate(
        "threshold",
        (1.0, threshold),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=PALETTE["muted"],
    )


def error_by_layer(layers: Sequence[LayerResult]) -> str | None:
    """Timing error of every layer, alone and behind the exact solution of those before it."""
    rows = [layer for layer in layers if layer.alone is not None or layer.chained is not None]
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(1.15 + 0.5 * len(rows))
        for i, layer in enumerate(rows):
            _spread(axes, i - 0.17, layer.alone, "exact", "alone, on its recorded input", "o")
            _spread(axes, i + 0.17, layer.chained, "recorded", "chained behind exact layers", "D")
        axes.axvline(0.0, color=PALETTE["muted"], lw=0.8, zorder=0)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [shorten(layer.name, 18) for layer in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel("spike time, recorded minus exact [steps]")
        _legend(axes)
        names = ", ".join(layer.name for layer in rows)
        return _svg(figure, f"Distribution of the spike-time error of the layers {names}.")


def _spread(axes: Axes, y: float, truth: Truth | None, colour: str, name: str, mark: str) -> None:
    """Median, the middle 90 % and the range of one distribution, with what it leaves out."""
    known = [t.get_label() for t in axes.lines]
    label = name if name not in known else "_nolegend_"
    errors = np.empty(0) if truth is None else np.asarray(truth.time_error, float)
    errors = errors[np.isfinite(errors)]
    if truth is None:
        return
    note = f"{truth.n_diverged} of {truth.n_trains} trains diverge" if truth.n_diverged else ""
    if errors.size:
        low, p5, median, p95, high = np.quantile(errors, [0, 0.05, 0.5, 0.95, 1])
        axes.plot([low, high], [y, y], color=PALETTE[colour], lw=1.0, solid_capstyle="butt")
        axes.plot([p5, p95], [y, y], color=PALETTE[colour], lw=4.0, solid_capstyle="butt")
        axes.plot(
            median,
            y,
            marker=mark,
            ms=6,
            mfc=PALETTE["paper"],
            mew=1.4,
            ls="",
            color=PALETTE[colour],
            label=label,
        )
    else:
        note = f"no spikes to compare{'; ' + note if note else ''}"
    axes.annotate(
        note,
        (1.01, y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=7.5,
        color=PALETTE["muted"],
    )


def _canvas(height: float) -> tuple[Figure, Axes]:
    """A figure with the same margins in inches whatever its height."""
    figure = Figure(figsize=(WIDTH, height))
    left, right, bottom, top = 1.25, 1.55, 0.5, 0.42
    axes = figure.add_axes(
        (
            left / WIDTH,
            bottom / height,
            (WIDTH - left - right) / WIDTH,
            (height - bottom - top) / height,
        )
    )
    return figure, axes


def _legend(axes: Axes) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.03),
            ncols=5,
            borderaxespad=0.0,
            handlelength=1.4,
            columnspacing=1.6,
            handletextpad=0.5,
            borderpad=0.3,
        )


def _svg(figure: Figure, alt: str) -> str:
    """The figure as an element to put into a page: described, without ids, in its colours."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts are used, not ours
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r' d="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), text)
    for name, colour in PALETTE.items():
        text = text.replace(colour, f"var(--{name})")
    described = html.escape(alt, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{described}" ', 1)


def shorten(text: str, width: int) -> str:
    """Text of at most `width` characters, an ellipsis in the middle where some are missing."""
    text = "".join(c if c.isprintable() else "�" for c in text)
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[: width - 1 - half]}…{text[-half:]}"
