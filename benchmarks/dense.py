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
import platform
import sys
import time
from importlib import metadata

import numba
import numpy as np

import evsim
from evsim.models import verbs
from evsim.neuron import new_books, new_flags, new_log, new_place
from evsim.sweep import Events, coefficients, sweep, two_buffers

SEED, N_IN, N_OUT, N_EVENTS, UNTIL = 0, 784, 1024, 5000, 0.5
BEST_OF = 9


@numba.njit(error_model="numpy")
def bare(v, i, weights, rows, t, tau_mem, tau_syn):
    """Flow and add, nothing else: the limit for any exact sweep."""
    last = 0.0
    for e in range(t.size):
        d, last = t[e] - last, t[e]
        a, c = math.exp(-d / tau_mem), math.exp(-d / tau_syn)
        b = tau_syn / (tau_mem - tau_syn) * (a - c)
        w = weights[rows[e]]
        for n in range(v.size):
            v[n] = v[n] * a + i[n] * b
            i[n] = i[n] * c + w[n]


@numba.njit(error_model="numpy")
def bare_libm(v, i, weights, rows, t, tau_mem, tau_syn):
    """The same with every number an array, and the platform's exponentials."""
    last = 0.0
    for e in range(t.size):
        d, last = t[e] - last, t[e]
        w = weights[rows[e]]
        for n in range(v.size):
            a, c = math.exp(-d / tau_mem[n]), math.exp(-d / tau_syn[n])
            b = tau_syn[n] / (tau_mem[n] - tau_syn[n]) * (a - c)
            v[n] = v[n] * a + i[n] * b
            i[n] = i[n] * c + w[n]


class Layer:
    """One dense layer and its input, ready to be swept."""

    def __init__(self, scale: float, per_neuron: bool) -> None:
        rng = np.random.default_rng(SEED)
        self.tau = rng.uniform(15e-3, 25e-3, N_OUT) if per_neuron else 20e-3
        self.model = evsim.LIF(tau_mem=self.tau, tau_syn=5e-3)
        self.weights = rng.normal(0.01, 0.3, (N_IN, N_OUT)) * scale
        self.t = np.sort(rng.uniform(0, UNTIL, N_EVENTS))
        self.rows = rng.integers(0, N_IN, N_EVENTS)
        zeros = np.zeros(N_EVENTS, np.int64)
        self.events = Events(self.t, np.zeros(N_EVENTS), zeros, self.rows)
        self.logs = new_log(200_000), new_log(1000)
        self.per_neuron = per_neuron

    def ours(self) -> int:
        """Sweep; the number of spikes."""
        p = self.model.compile(N_OUT, self.per_neuron)
        states = two_buffers((np.zeros(N_OUT), np.zeros(N_OUT)))
        for log in self.logs:
            log.used[0] = 0
        table = tuple(np.empty(N_EVENTS) for _ in verbs.prepare(p, 0.0))
        coefficients(p, self.events, table)
        status = sweep(
            p, states, new_books(N_OUT), self.events, table, self.weights, np.zeros((0, N_OUT)),
            (UNTIL, 0.0), False, new_place(), new_flags(N_OUT), np.empty(N_OUT, np.int64),
            np.zeros(N_OUT), *self.logs,
        )  # fmt: skip
        assert status == 0
        return int(self.logs[0].used[0])

    def limit(self) -> None:
        """The loop to compare with."""
        loop = bare_libm if self.per_neuron else bare
        tau_syn = np.full(N_OUT, 5e-3) if self.per_neuron else 5e-3
        loop(np.zeros(N_OUT), np.zeros(N_OUT), self.weights, self.rows, self.t, self.tau, tau_syn)


def interleaved(*jobs) -> list[float]:
    """Best time of each job, all run in turn."""
    for job in jobs:
        job()
    best = [math.inf] * len(jobs)
    for _ in range(BEST_OF):
        for k, job in enumerate(jobs):
            start = time.perf_counter()
            job()
            best[k] = min(best[k], time.perf_counter() - start)
    return best


def dense() -> dict:
    """The sweep against its limits, all jobs in turn."""
    layers = {
        "firing": Layer(0.57, False),
        "silent": Layer(0.05, False),
        "per neuron": Layer(0.05, True),
    }
    jobs = [job for layer in layers.values() for job in (layer.ours, layer.limit)]
    times = interleaved(*jobs)
    out = {}
    for k, (name, layer) in enumerate(layers.items()):
        ours, limit = times[2 * k : 2 * k + 2]
        events = N_EVENTS * N_OUT
        out[name] = {
            "spikes": layer.ours(),
            "events_per_s": events / ours,
            "limit_events_per_s": events / limit,
            "ratio": limit / ours,
            "seconds": ours,
        }
    extra = out["firing"]["seconds"] - out["silent"]["seconds"]
    out["firing"]["us_per_spike"] = 1e6 * extra / max(1, out["firing"]["spikes"])
    return out


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

    a, b, c = interleaved(ours, theirs(100), theirs(1000))
    return {"ms": 1e3 * a, "snntorch_100_ms": 1e3 * b, "snntorch_1000_ms": 1e3 * c,
            "ratio_100": b / a, "ratio_1000": c / a}  # fmt: skip


def main() -> None:
    """Print the table; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    versions = {"python": sys.version.split()[0], "machine": platform.machine()}
    for name in ("evsim", "numpy", "numba", "torch", "snntorch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    print("versions", versions, "seed", SEED, "best of", BEST_OF)
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
            json.dump({"versions": versions, "seed": SEED, **found}, file, indent=1)


if __name__ == "__main__":
    main()
