"""What a proof costs: microseconds a spike and largest radius, by tier.

A recurrent network of leaky neurons behind exponential synapses, run by evsim, then proved;
and the network of a file of true spikes (`--chaotic FILE`), where there is one.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

import evsim
from evsim.proof import balls, doubles
from evsim.proof.problem import build


def random_network(n: int, fan: int, until: float, seed: int):
    """`n` LIF neurons with `fan` synapses each, four in five excitatory, and Poisson input."""
    rng = np.random.default_rng(seed)
    net = evsim.Network()
    net.add_input("in", n)
    net.add_population("p", n, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0))
    net.connect("in", "p", np.full(n, 3.0), pre_units=np.arange(n), post_units=np.arange(n))
    pre = np.repeat(np.arange(n), fan)
    weight = np.where(pre < 0.8 * n, 1.0, -2.0) * 6.0 / fan
    net.connect("p", "p", weight, rng.uniform(0.5, 3.0, n * fan), pre_units=pre,
                post_units=rng.integers(0, n, n * fan))  # fmt: skip
    return net, {"in": evsim.Spikes.poisson(0.04, n, until, seed)}


def chaotic(path: str, until: float):
    """The network and the true spikes of a file."""
    data = np.load(path)
    names = ("tau_mem", "tau_syn", "v_th", "v_reset", "t_ref")
    net = evsim.Network()
    net.add_input("in", int(data["input_unit"].max()) + 1)
    net.add_population("p", 20, evsim.LIF(**{name: float(data[name]) for name in names}))
    net.connect("in", "p", data["input_weight"], pre_units=data["input_unit"],
                post_units=data["input_post"])  # fmt: skip
    net.connect("p", "p", data["weight"], data["delay"], pre_units=data["pre"],
                post_units=data["post"])  # fmt: skip
    keep = data["true_times"] <= until
    spikes = {"p": evsim.Spikes(data["true_times"][keep], data["true_units"][keep])}
    return net, {"in": evsim.Spikes(data["input_times"], data["input_units"])}, spikes


def row(label: str, problem, run, rounds: int) -> dict:
    """One line: the best time of some rounds."""
    best, outcome = np.inf, None
    for _ in range(rounds):
        began = time.perf_counter()
        outcome = run(problem)
        best = min(best, time.perf_counter() - began)
    radius = float(outcome.radius.max(initial=0.0))
    verdict = "PROVED" if outcome.finding is None else f"stopped at {outcome.finding.time:.1f}"
    cost = best / max(outcome.proved, 1) * 1e6
    print(f"{label:44} {outcome.proved:7d} {verdict:20} {radius:9.1e} {cost:9.1f}")
    return {"job": label, "spikes": outcome.proved, "verdict": verdict, "radius": radius,
            "us_per_spike": cost}  # fmt: skip


def tiers(name: str, problem, args) -> list[dict]:
    """All tiers on one problem."""
    symbols = problem.size <= 300
    found = [
        row(f"{name}, {tier}", problem,
            lambda p, tier=tier: doubles.run(p, tier, 0.04, np.inf, symbols), args.rounds)
        for tier in ("float64", "double-double")
    ]  # fmt: skip
    if problem.size <= 300 and problem.count <= 8000:
        found += [
            row(f"{name}, {bits} bits", problem,
                lambda p, bits=bits: balls.run(p, bits, 0.04, np.inf), 1)
            for bits in args.bits
        ]  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chaotic", help="file of a network with its true spikes")
    parser.add_argument("--until", type=float, nargs="*", default=[100.0, 400.0, 800.0, 1600.0])
    parser.add_argument("--neurons", type=int, nargs="*", default=[200, 1000])
    parser.add_argument("--bits", type=int, nargs="*", default=[80, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    args = parser.parse_args()
    print(f"{'job':44} {'spikes':>7} {'verdict':20} {'radius':>9} {'us/spike':>9}")
    found = []
    for until in args.until if args.chaotic else []:
        net, inputs, spikes = chaotic(args.chaotic, until)
        start = {"p": (np.zeros(20), np.zeros(20))}
        found += tiers(f"chaotic, {until:g}", build(net, inputs, start, spikes, until, 0.04), args)
    for n in args.neurons:
        net, inputs = random_network(n, 20, 40.0, 1)
        record = evsim.simulate(net, inputs, 40.0)
        problem = build(net, inputs, record.initial, record.spikes, 40.0, 0.04)
        found += tiers(f"{n} neurons, 40 time units", problem, args)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
