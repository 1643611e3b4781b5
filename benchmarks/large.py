"""A large network: time of building and running, and memory, up to 1e8 synapses.

    python benchmarks/large.py                                # 1e6 neurons, 1e8 synapses, 1 s
    python benchmarks/large.py --neurons 1e5 --until 0.2      # a tenth of it

Neurons fire at about 5 Hz by noise from outside. The synapses go in as a sparse matrix, or as
lists of sources and targets (`--as lists`). Memory is the peak of this process, everything
counted, and what building and running added to it; `network` is what stays once it is built.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse

import evsim
from evsim.bench.jobs import DELAY, EXCITATORY, FAN_OUT, LEVELS, mixed_delays
from evsim.bench.turns import SEED, versions

#: Resting level, noise and coupling that make the neurons fire at about 5 Hz.
BIAS, NOISE_RATE, NOISE_WEIGHT, WEIGHTS = 0.5, 20.0, 2.2, (0.05, -0.25)


def peak() -> float:
    """Largest resident memory so far [bytes]."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def resident() -> float:
    """Resident memory now [bytes], where the system tells; else nan."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return float(pages * resource.getpagesize())


def synapses(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds of the rows, targets and weights: rows of `FAN_OUT` random targets."""
    rng = np.random.default_rng(SEED)
    bounds = np.arange(n + 1, dtype=np.int64) * FAN_OUT
    post = rng.integers(0, n, n * FAN_OUT, dtype=np.int32)
    weight = np.repeat(np.where(np.arange(n) < EXCITATORY * n, *WEIGHTS), FAN_OUT)
    return bounds, post, weight


def build(n: int, form: str, mixed: bool) -> evsim.Network:
    """The network, with one noise source per neuron."""
    net = evsim.Network()
    model = evsim.LIF(tau_mem=20e-3, tau_syn=5e-3, bias=BIAS, **LEVELS)
    v = np.random.default_rng(SEED + 1).uniform(0.0, BIAS, n)
    net.add_input("noise", n)
    net.add_population("n", n, model, initial={"v": v})
    each = np.arange(n)
    net.connect("noise", "n", NOISE_WEIGHT, DELAY, pre_units=each, post_units=each)
    bounds, post, weight = synapses(n)
    delay = mixed_delays(np.random.default_rng(SEED + 2), post.size) if mixed else DELAY
    if form == "lists":
        pre = np.repeat(np.arange(n, dtype=np.int32), FAN_OUT)
        net.connect("n", "n", weight, delay, pre_units=pre, post_units=post)
        return net
    matrix = scipy.sparse.csr_array((weight, post, bounds), shape=(n, n))
    if mixed:
        delay = scipy.sparse.csr_array((delay, post, bounds), shape=(n, n))
    net.connect("n", "n", matrix, delay)
    return net


def noise(n: int, until: float) -> evsim.Spikes:
    """Poisson spikes of every source."""
    rng = np.random.default_rng(SEED + 3)
    count = rng.poisson(NOISE_RATE * until * n)
    return evsim.Spikes(rng.uniform(0.0, until, count), rng.integers(0, n, count))


def main() -> None:
    """Print times and memory; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=lambda x: int(float(x)), default=10**6)
    parser.add_argument("--until", type=float, default=1.0, help="model time [s]")
    parser.add_argument("--as", dest="form", choices=["sparse", "lists"], default="sparse")
    parser.add_argument("--mixed", action="store_true", help="one delay per synapse")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    n = options.neurons
    small = build(1000, options.form, options.mixed)
    evsim.simulate(small, {"noise": noise(1000, 0.01)}, 0.01, threads=options.threads)
    before, resting = peak(), resident()
    start = time.perf_counter()
    net = build(n, options.form, options.mixed)
    built, after, kept = time.perf_counter() - start, peak(), resident()
    train = noise(n, options.until)
    start = time.perf_counter()
    record = evsim.simulate(net, {"noise": train}, options.until, threads=options.threads)
    ran, end = time.perf_counter() - start, peak()
    spikes = len(record.spikes["n"])
    count = n * FAN_OUT
    events = spikes * FAN_OUT + len(train)
    found = {
        "versions": versions("scipy"), "seed": SEED, "neurons": n, "synapses": count,
        "form": options.form, "mixed": options.mixed, "threads": options.threads,
        "until": options.until, "build_s": built, "run_s": ran, "spikes": spikes,
        "rate_hz": spikes / n / options.until, "ns_per_event": 1e9 * ran / events,
        "peak_bytes": {"before": before, "built": after, "run": end},
        "peak_bytes_per_synapse": {
            "built": (after - before) / count, "run": (end - before) / count,
        },
        "network_bytes_per_synapse": (kept - resting) / count,
    }  # fmt: skip
    for name, value in found.items():
        print(f"{name:18s} {value}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
