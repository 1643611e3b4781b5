"""How fast every adapter's update approaches its differential equation as dt shrinks; the figure.

    python benchmarks/convergence.py [--json FILE] [--figure FILE]

For every model of every adapter that can stand for a NIR neuron: 48 neurons under a current that
switches, or under impulses, at times that lie on no grid. A clock sees them at its next step (a
switch) or in the step that they fall in (an impulse). The spikes of the twin, which the tests hold
against the live framework to the bit, are paired in order with those of the exact solution, once
for the true times of the input, and once for the times at which the clock saw it: the difference
is what rounding the input costs, the rest is the update's own. Orders are slopes over five octaves.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import evsim
from evsim.progress import bar
from validation import adapters, exact
from validation.continuous import Continuous, refine
from validation.model import Model
from validation.twin import run

HERE = Path(__file__)
DOCS = HERE.parents[1] / "docs"
DT, STEPS, N, EVENTS, FIRST = 1e-3, 60, 48, 25, 3
FACTORS = (1, 2, 4, 8, 16, 32)


def nodes() -> dict[str, Any]:
    """A neuron of every kind that fires, times in seconds."""
    import nir

    each = lambda value: np.full(N, float(value))  # noqa: E731
    shared = {"r": each(1), "v_threshold": each(1), "v_reset": each(0)}
    leaky = shared | {"v_leak": each(0)}
    cuba = {"tau_syn": each(5e-3), "tau_mem": each(10e-3), "w_in": each(1)}
    return {
        "LIF": nir.LIF(tau=each(10e-3), **leaky),
        "CubaLIF": nir.CubaLIF(**cuba, **leaky),
        "IF": nir.IF(**(shared | {"r": each(150.0)})),
    }


def subjects() -> dict[str, tuple[Model, dict, Any]]:
    """Models by name, with parameters and switches from the first node that they can stand for."""
    found = {}
    for name in adapters.names():
        for node in nodes().values():
            model = adapters.model(name)
            try:
                params, semantics = model.from_nir_node(node, DT)
                c = exact.in_steps(model.continuous(params, DT, semantics), DT)
            except ValueError:
                continue
            if exact.neuron(c, semantics.compare, N) is not None:
                found[name] = (model, params, semantics)
                break
    return found


def drawn(feed: str, gain: np.ndarray, leak: float) -> tuple[np.ndarray, np.ndarray]:
    """Times [steps] on no grid, and the current from each on, or its jump, (events, n)."""
    rng = np.random.default_rng(5)
    times = np.sort(rng.uniform(0.0, STEPS - 1.0, EVENTS))
    size = (
        rng.uniform(0.6, 2.6, (EVENTS, N)) if feed == "hold" else rng.uniform(0.3, 1.2, (EVENTS, N))
    )
    return times, size * (leak if feed == "impulse" else 1.0) / gain


def solved(c: Continuous, compare: str, times: np.ndarray, drive: np.ndarray) -> list[np.ndarray]:
    """Exact trains [steps] of all neurons under inputs at any times."""
    net = evsim.Network()
    net.add_population("layer", N, exact.neuron(c, compare, N), initial={"v": np.zeros(N)})
    if c.feed == "hold":
        order, last = np.unique(times, return_index=True)
        last = np.r_[last[1:] - 1, len(times) - 1]  # of switches at one instant the last one holds
        current = evsim.Current(np.r_[0.0, order], np.r_[np.zeros((1, N)), drive[last]])
        if order[0] == 0.0:
            current = evsim.Current(order, drive[last])
        spikes = evsim.simulate(net, {"layer": current}, STEPS).spikes["layer"]
    else:
        net.add_input("in", len(times))
        net.connect("in", "layer", drive)
        given = {"in": evsim.Spikes(times, np.arange(len(times)))}
        spikes = evsim.simulate(net, given, STEPS).spikes["layer"]
    return [np.sort(spikes.times[spikes.units == n]) for n in range(N)]


def clocked(
    model: Model, params: dict, semantics: Any, feed: str, factor: int, times, size
) -> tuple[list[np.ndarray], np.ndarray]:
    """Trains of the twin at dt/factor, and the times at which it saw the input [steps]."""
    fine, dt = refine(model, params, semantics, DT, factor)
    x = np.zeros((STEPS * factor, 1, N))
    at = (np.ceil if feed == "hold" else np.floor)(times * factor).astype(int)
    for k, row in zip(at, size, strict=True):
        if feed == "hold":
            x[k:, 0] = row
        else:
            x[k, 0] += row
    twin = run(model, fine, semantics, x, dt=dt, initial={"v": np.zeros(N)}, bound=False)
    trains = []
    for n in range(N):
        fired = np.flatnonzero(twin.spikes[:, 0, n])
        trains.append(np.repeat((fired + 1.0) / factor, twin.spikes[fired, 0, n]))
    return trains, at / factor


def error(trains: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Mean distance of the first spikes that both have [steps]."""
    found = []
    for mine, theirs in zip(trains, truth, strict=True):
        k = min(len(mine), len(theirs), FIRST)
        found += np.abs(mine[:k] - theirs[:k]).tolist()
    return float(np.mean(found)) if found else np.nan


def measured(model: Model, params: dict, semantics: Any) -> dict:
    """Errors at every dt for both kinds of truth, and their orders."""
    c = exact.in_steps(model.continuous(params, DT, semantics), DT)
    gain = np.broadcast_to(np.asarray(c.gain, float).reshape(-1), (N,))
    leak = float(np.mean(c.tau_mem)) / float(np.mean(c.tau_syn)) if c.tau_syn is not None else 1.0
    times, size = drawn(c.feed, gain, leak)
    truth = solved(c, semantics.compare, times, size * gain)
    rows: dict[str, list[float]] = {"true arrivals": [], "effective arrivals": []}
    for factor in FACTORS:
        trains, seen = clocked(model, params, semantics, c.feed, factor, times, size)
        effective = solved(c, semantics.compare, seen, size * gain)
        rows["true arrivals"].append(error(trains, truth))
        rows["effective arrivals"].append(error(trains, effective))
    dts = [1.0 / factor for factor in FACTORS]
    orders = {k: float(np.polyfit(np.log(dts), np.log(v), 1)[0]) for k, v in rows.items()}
    spikes = sum(min(len(train), FIRST) for train in truth)
    return {"feed": c.feed, "spikes": spikes, "dt [ms]": dts, "error [ms]": rows, "order": orders}


def draw(found: dict[str, dict], path: Path) -> None:
    """One panel a model, errors over dt."""
    across = 4
    down = -(-len(found) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(11, 2.6 * down), sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[len(found) :]:
        ax.axis("off")
    colours = {"true arrivals": "#d55e00", "effective arrivals": "#0072b2"}
    for ax, (name, row) in zip(axes.flat, found.items(), strict=False):
        dts = np.array(row["dt [ms]"])
        for kind, values in row["error [ms]"].items():
            label = f"{kind}: {row['order'][kind]:.2f}"
            ax.loglog(dts, values, "o-", ms=3, lw=1.2, color=colours[kind], label=label)
        ax.loglog(dts, dts / 2, ":", color="0.6", lw=1)
        ax.set_title(name, fontsize=9)
        ax.legend(fontsize=7, frameon=False, title="order", title_fontsize=7)
        ax.tick_params(labelsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("dt [ms]", fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("spike-time error [ms]", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    """Measure every model; exit code 1 if one is not of first order."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=HERE.with_suffix(".json"))
    parser.add_argument("--figure", type=Path, default=DOCS / "convergence.png")
    chosen = parser.parse_args()
    found, known = {}, subjects()
    with bar("models") as progress:
        for k, (name, subject) in enumerate(known.items()):
            progress(k, len(known), name)
            found[name] = measured(*subject)
    chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    draw(found, chosen.figure)
    for name, row in found.items():
        orders = ", ".join(f"{kind} {order:.2f}" for kind, order in row["order"].items())
        print(f"{name:28} {row['spikes']:4d} spikes  order: {orders}")
    return int(any(not o > 0.7 for row in found.values() for o in row["order"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
