"""Figures of certification: the true error of a float64 run, and widths by tier.

The chaotic network of `validation.chaotic`: evsim's own run in float64 against enclosures that are
proved in double-double arithmetic, spike by spike; where the order of all spikes, and where that
of one neuron's arrivals and spikes, first differs; and the radii that each arithmetic proves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import evsim
from evsim.proof import balls, doubles
from evsim.proof.problem import build
from validation.chaotic import UNTIL, chaotic

DOCS = Path(__file__).parents[1] / "docs"
WINDOW = 0.04


def problem_of(until: float):
    """The claim of the true spikes, as flat arrays."""
    net, inputs, spikes = chaotic(until)
    start = {"p": (np.zeros(20), np.zeros(20))}
    return build(net, inputs, start, spikes, until, WINDOW)


def errors(problem, outcome):
    """(time, error) of the spikes of a float64 run, neuron by neuron in their order, and the time
    of the first spike that has another owner."""
    net, inputs, _ = chaotic(UNTIL)
    train = evsim.simulate(net, inputs, UNTIL).spikes["p"]
    owner = problem.sources.neuron[: problem.count]
    true = np.array([float(t) for t in outcome.times])
    rank = np.argsort(true, kind="stable")
    k = min(len(train), true.size)
    differ = np.flatnonzero(train.units[:k] != owner[rank][:k])
    found = []
    for n in range(problem.size):
        mine, theirs = np.flatnonzero(owner == n), np.flatnonzero(train.units == n)
        for a, b in zip(mine, theirs, strict=False):
            low = float(train.times_lo[b])
            found.append((true[a], abs(float(outcome.times[a] - _exact(train.times[b], low)))))
    return np.array(sorted(found)).T, float(true[rank][differ[0]]) if differ.size else None


def _exact(hi, lo):
    from fractions import Fraction

    return Fraction(float(hi)) + Fraction(float(lo))


def draw_error(ax, time, error, broken, verdict) -> None:
    """Error of float64 over time, on a logarithmic axis."""
    ax.semilogy(time, np.maximum(error, 1e-17), ".", markersize=2, color="C0")
    end = verdict.proved_until
    ax.axvline(end, color="C1", label=f"its proof ends, {verdict.status}: t = {end:.1f}")
    if broken is not None:
        ax.axvline(broken, color="C3", label=f"order of spikes breaks: t = {broken:.1f}")
    ax.set(xlabel="time [ms]", ylabel="|float64 - truth| [ms]", xlim=(0, UNTIL))
    ax.set_title("error of a float64 run against proved times", fontsize=10)
    ax.legend(frameon=False, loc="lower right")


def draw_widths(ax, tiers) -> None:
    """Radii over time, one line per arithmetic."""
    for k, (name, outcome) in enumerate(tiers.items()):
        time = np.array([float(t) for t in outcome.times])
        ax.semilogy(time, outcome.radius, ".", markersize=1.5, color=f"C{k}")
        ax.plot([], [], "o", color=f"C{k}", label=name)
        if outcome.finding is not None:
            ax.axvline(outcome.finding.time, color=f"C{k}", linestyle=":")
    ax.set(xlabel="time [ms]", ylabel="proved radius [ms]", xlim=(0, UNTIL))
    ax.set_title("widths by arithmetic (dotted: undecided from here)", fontsize=10)
    ax.legend(frameon=False, loc="lower right")


def main() -> None:
    """Print errors and widths, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=DOCS)
    options = parser.parse_args()
    problem = problem_of(UNTIL)
    tiers = {
        "float64": doubles.run(problem, "float64", WINDOW, np.inf, True),
        "80 bits": balls.run(problem, 80, WINDOW, np.inf),
        "double-double": doubles.run(problem, "double-double", WINDOW, np.inf, True),
        "128 bits": balls.run(problem, 128, WINDOW, np.inf),
    }
    net, inputs, _ = chaotic(UNTIL)
    verdict = evsim.certify(evsim.simulate(net, inputs, UNTIL))
    (time, error), broken = errors(problem, tiers["double-double"])
    for limit in (100, 400, 800, 1000, 1200, 1400):
        print(f"t < {limit}: largest error {error[time < limit].max():.1e}")
    print(
        f"the run is {verdict.status} at {verdict.proved_until:.2f}, its order breaks at {broken}"
    )
    for name, outcome in tiers.items():
        stop = "" if outcome.finding is None else f", undecided at {outcome.finding.time:.1f}"
        print(f"{name}: {outcome.proved} spikes, largest radius {outcome.radius.max():.1e}{stop}")
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    draw_error(axes[0], time, error, broken, verdict)
    draw_widths(axes[1], tiers)
    fig.savefig(options.folder / "certification.png", dpi=110)


if __name__ == "__main__":
    main()
