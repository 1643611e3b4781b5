"""Backward against forward: seconds of `evsim.gradient` and of `evsim.simulate`, and their ratio.

Jobs: the dense layers 784 -> 350 (300 spikes) and 784 -> 1024 (800 spikes), batches of 16 of
either, 784 -> 1024 with 5000 spikes, and the recurrent networks of `evsim.bench.jobs`: one delay,
noise from outside, and a delay of its own for every synapse. Both sides
run in turn in one process and one thread, by the processor time of that thread: a busy machine
stretches it less. The best of each counts. `whole` is the backward pass with everything that it can
answer, which for dense layers is worked out when first asked for: by time constants, and margins.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np

import evsim
from evsim.bench.jobs import driven, recurrent
from evsim.bench.turns import SEED

#: Inputs, outputs, input spikes, scale of the weights, end [s], samples.
DENSE = {
    "784->350": (784, 350, 300, 1.2, 0.05, 1),
    "784->350 x16": (784, 350, 300, 1.2, 0.05, 16),
    "784->1024": (784, 1024, 800, 1.0, 0.05, 1),
    "784->1024 x16": (784, 1024, 800, 1.0, 0.05, 16),
    "784->1024 long": (784, 1024, 5000, 0.57, 0.5, 1),
}

RECURRENT = {
    "recurrent": recurrent,
    "recurrent noise": driven,
    "recurrent mixed": lambda n, **options: recurrent(n, mixed=True, **options),
}


def dense(name: str):
    """(network, inputs, end) of a dense job."""
    n_in, n, spikes, scale, until, samples = DENSE[name]
    rng = np.random.default_rng(SEED)
    net = evsim.Network()
    net.add_input("in", n_in)
    net.add_population("out", n, evsim.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "out", rng.normal(0.01, 0.3, (n_in, n)) * scale)
    inputs = [
        {"in": evsim.Spikes(rng.uniform(0, until, spikes), rng.integers(0, n_in, spikes))}
        for _ in range(samples)
    ]
    return net, inputs, until


def seconds(work) -> tuple[float, object]:
    """Time of a call, and its answer."""
    start = time.thread_time()
    answer = work()
    return time.thread_time() - start, answer


def measured(net, inputs, until: float, rounds: int) -> dict:
    """Best seconds of both directions, in turn."""
    best = [math.inf] * 3
    rng, spikes = np.random.default_rng(SEED), 0
    for _turn in range(rounds + 1):  # the first one compiles
        forward, records = seconds(lambda: evsim.simulate(net, inputs, until, threads=1))
        cotangents = [
            {name: rng.standard_normal(len(train)) for name, train in record.spikes.items()}
            for record in records
        ]
        spikes = sum(len(train) for record in records for train in record.spikes.values())
        backward, g = seconds(lambda r=records, c=cotangents: evsim.gradient(r, c))
        rest, _ = seconds(lambda g=g: (g.params, g.conditioning, g.status))
        now = forward, backward, backward + rest
        best = [min(pair) for pair in zip(best, now, strict=True)]
    forward, backward, whole = best
    return {
        "forward": forward, "backward": backward, "ratio": backward / forward,
        "whole": whole, "whole ratio": whole / forward, "spikes": spikes,
    }  # fmt: skip


def main() -> None:
    """Print the table; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", default=[*DENSE, *RECURRENT])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--neurons", type=int, default=10_000)
    parser.add_argument("--until", type=float, default=1.0, help="of the recurrent job [s]")
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    found = {}
    for name in options.jobs:
        if name in RECURRENT:
            job = RECURRENT[name](options.neurons, until=options.until)
            work = job.network(), [job.inputs()], job.until
        else:
            work = dense(name)
        row = found[name] = measured(*work, options.rounds)
        print(
            f"{name:15s} {row['spikes']:7d} spikes  forward {1e3 * row['forward']:9.2f} ms  "
            f"backward {1e3 * row['backward']:9.2f} ms  ratio {row['ratio']:.2f}  "
            f"whole {row['whole ratio']:.2f}",
            flush=True,
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"seed": SEED, **found}, file, indent=1)


if __name__ == "__main__":
    main()
