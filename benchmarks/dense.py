"""Dense layers: synaptic events per second, against a bare loop, libm and a clock.

Jobs: 784 -> 1024 current-based LIF neurons, one thread, float64, exact crossings.

* `firing`, `silent`: 5000 input spikes, all parameters scalar, with weights such that some 2000
  output spikes come, or none. The limit is a bare loop `v = v*a + i*b; i = i*c + w` with the
  same exponentials per event and no threshold test.
* `per neuron`: the same with one time constant per neuron, against a loop that takes the
  exponentials of every neuron from libm.
* `clock`: one sample of 784 spikes through `evsim.simulate`, against snnTorch in float32 at 100
  and at 1000 steps, where it is installed.
"""

from __future__ import annotations

import argparse
import json
import math

import numpy as np

import evsim
from evsim.bench.dense import N_IN, N_OUT, layers, rated, sides
from evsim.bench.turns import SEED, best_times, versions

BEST_OF = 9


def dense() -> dict:
    """The sweep against its limits, all jobs in turn."""
    jobs = layers()
    return rated(jobs, best_times(BEST_OF, sides(jobs)))


def clock() -> dict:
    """One layer against snnTorch, per sample; empty where it is not installed."""
    try:
        import snntorch
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    weight = rng.normal(0.01, 0.12, (N_IN, N_OUT))
    times = rng.uniform(0, 0.1, N_IN)
    net = evsim.Network()
    net.add_input("in", N_IN)
    net.add_population("out", N_OUT, evsim.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "out", weight)
    train = {"in": evsim.Spikes(times, np.arange(N_IN))}

    def ours():
        evsim.simulate(net, train, 0.1)

    def theirs(steps):
        """The same time constants on a grid: a run of the clock-driven layer."""
        dt = 0.1 / steps
        x = torch.zeros(steps, 1, N_IN)
        x[np.minimum((times / dt).astype(int), steps - 1), 0, np.arange(N_IN)] = 1.0
        layer = torch.nn.Linear(N_IN, N_OUT, bias=False)
        layer.weight.data = torch.tensor(weight.T, dtype=torch.float32)
        neuron = snntorch.Synaptic(alpha=math.exp(-dt / 5e-3), beta=math.exp(-dt / 20e-3))

        def run():
            with torch.no_grad():
                syn, mem = neuron.reset_mem()
                for k in range(steps):
                    _, syn, mem = neuron(layer(x[k]), syn, mem)

        return run

    turns = {"ours": ours, "100": theirs(100), "1000": theirs(1000)}
    a, b, c = best_times(BEST_OF, turns).values()
    return {"ms": 1e3 * a, "snntorch_100_ms": 1e3 * b, "snntorch_1000_ms": 1e3 * c,
            "ratio_100": b / a, "ratio_1000": c / a}  # fmt: skip


def main() -> None:
    """Print the table; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    found_versions = versions("torch", "snntorch")
    print("versions", found_versions, "seed", SEED, "best of", BEST_OF)
    found = {"dense": dense(), "clock": clock()}
    for name, row in found["dense"].items():
        print(
            f"{name:11s} {row['spikes']:5d} spikes  {row['events_per_s'] / 1e9:.2f}e9 events/s  "
            f"limit {row['limit_events_per_s'] / 1e9:.2f}e9  ratio {row['ratio']:.2f}"
            + (f"  {row['us_per_spike']:.2f} us/spike" if "us_per_spike" in row else "")
        )
    if found["clock"]:
        print("clock      ", {k: round(v, 2) for k, v in found["clock"].items()})
    else:
        print("clock       snnTorch is not installed: not compared")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"versions": found_versions, "seed": SEED, **found}, file, indent=1)


if __name__ == "__main__":
    main()
