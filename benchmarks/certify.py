"""What a proof costs: microseconds a spike and largest radius, by tier.

A recurrent network of leaky neurons behind exponential synapses, run by evsim, then proved;
the chaotic network whose true spikes are known; and a dense layer beside its sweep.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

import evsim
from evsim.bench.jobs import recurrent
from evsim.proof import balls, doubles
from evsim.proof.problem import build
from validation.chaotic import chaotic


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


#: Short runs are repeated until they have taken so long [s]: a processor that has just done
#: something else is slow at first.
ENOUGH = 0.2


def row(label: str, problem, run, rounds: int) -> dict:
    """One line: the best time of some rounds."""
    spent, outcome = [], None
    while len(spent) < rounds or sum(spent) < ENOUGH:
        began = time.perf_counter()
        outcome = run(problem)
        spent.append(time.perf_counter() - began)
    best = min(spent)
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
                lambda p, bits=bits: balls.run(p, bits, 0.04, np.inf), args.rounds)
            for bits in args.bits
        ]  # fmt: skip
    return found


def layer(kind: str, rounds: int) -> dict:
    """A dense layer, proved beside its sweep: the ratio to the sweep alone, both in turn."""
    rng = np.random.default_rng(5)
    net = evsim.Network()
    net.add_input("in", 784)
    net.add_population("out", 1024, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    net.connect("in", "out", rng.normal(0.0, 0.25 if kind == "fires" else 0.02, (784, 1024)))
    times, units = np.sort(rng.uniform(0.0, 120.0, 800)), rng.integers(0, 784, 800)
    inputs, best = {"in": evsim.Spikes(times, units)}, {False: np.inf, True: np.inf}
    for turn in range(rounds + 1):
        for certify in best:
            began = time.perf_counter()
            record = evsim.simulate(net, inputs, 120.0, threads=1, certify=certify)
            if turn:
                best[certify] = min(best[certify], time.perf_counter() - began)
    found = record.certificate
    radius = found.spikes["out"].radius
    widths = np.percentile(radius, [50, 99, 100]).tolist() if radius.size else []
    ratio = best[True] / best[False]
    print(f"784 -> 1024, {kind}: {found.count} spikes, {found.status}, {1e3 * best[False]:.2f} ms, "
          f"proved {1e3 * best[True]:.2f} ms, ratio {ratio:.2f}, radii {widths}")  # fmt: skip
    return {"job": f"784 -> 1024, {kind}", "spikes": found.count, "verdict": found.status,
            "ms": 1e3 * best[False], "ms_proved": 1e3 * best[True], "ratio": ratio,
            "radius_50_99_100": widths}  # fmt: skip


def long_run(spikes: int = 100_000) -> dict:
    """One recurrent network of 20 neurons whose rows are condensed again and again: what a spike
    of the whole run costs, against one of its first tenth."""
    rng, n = np.random.default_rng(4), 20
    net = evsim.Network()
    net.add_input("in", n)
    net.add_population("p", n, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0, bias=1.2))
    net.connect("in", "p", np.full(n, 1.0), pre_units=np.arange(n), post_units=np.arange(n))
    # All inhibit: what excites too is chaotic, and floats lose the truth within 1e4 spikes.
    weight, delay = -np.abs(rng.normal(0.0, 0.1, 8 * n)), rng.uniform(0.5, 3.0, 8 * n)
    pre, post = np.repeat(np.arange(n), 8), rng.integers(0, n, 8 * n)
    net.connect("p", "p", weight, delay, pre_units=pre, post_units=post)
    until = 26.0 * spikes / n
    inputs = {"in": evsim.Spikes.poisson(0.02, n, until, 1)}
    record = evsim.simulate(net, inputs, until)
    end = float(record.spikes["p"].times[:spikes][-1])
    found: dict[float, dict] = {}
    memory: dict[float, float] = {}

    def run(problem):
        return doubles.run(problem, "double-double", 0.04, np.inf, True)

    for part in (0.1, 1.0):
        count = int(part * min(spikes, len(record.spikes["p"])))
        train = record.spikes["p"]
        last = float(train.times[count - 1])
        claim = {"p": evsim.Spikes(train.times[:count], train.units[:count],
                                   times_lo=train.times_lo[:count])}  # fmt: skip
        problem = build(net, inputs, record.initial, claim, last, 0.04)
        label = f"condensed, {count} spikes of {end:g}"
        # The first time compiles.
        found[part] = row(label, problem, run, 2 if part < 1.0 else 1)
        memory[part] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    ratio = found[1.0]["us_per_spike"] / found[0.1]["us_per_spike"]
    print(f"ratio of the cost a spike, whole run to first tenth: {ratio:.2f}; "
          f"memory {memory[0.1]:.0f} MB, then {memory[1.0]:.0f} MB")  # fmt: skip
    return found[1.0] | {"ratio_to_first_tenth": ratio, "MB": [memory[0.1], memory[1.0]]}


def engine_network(n: int, rounds: int, until: float = 0.1) -> list[dict]:
    """The network of the engine's own benchmark, whose neurons fire by their bias."""
    job = recurrent(n, until=until)
    net, inputs, window = job.network(), job.inputs(), 0.01 * job.params["tau_syn"]
    record = evsim.simulate(net, inputs, until)
    problem = build(net, inputs, record.initial, record.spikes, until, window)
    return [
        row(f"{n} neurons of the engine's benchmark, {1e3 * until:g} ms, {tier}", problem,
            lambda p, tier=tier: doubles.run(p, tier, window, np.inf, False), rounds)
        for tier in ("float64", "double-double")
    ]  # fmt: skip


def followed(rounds: int, until: float = 3200.0) -> list[dict]:
    """The true run of the chaotic network, followed beyond its file, then proved by three tiers."""
    net, inputs, _ = chaotic(until)
    record = evsim.simulate(net, inputs, until)
    proof = evsim.certify(record, follow=True, precision=160)
    print(f"a float64 run to {until:g} is {proof.status}: {proof.first_wrong}")
    true = proof.truth.certificate.spikes["p"]
    claim = {"p": evsim.Spikes([float(t) for t in true.times], true.units)}
    problem = build(net, inputs, record.initial, claim, until, 0.04)

    def by_doubles(problem):
        return doubles.run(problem, "double-double", 0.04, np.inf, True)

    found = [row(f"followed to {until:g}, double-double", problem, by_doubles, rounds)]
    return found + [
        row(f"followed to {until:g}, {bits} bits", problem,
            lambda p, bits=bits: balls.run(p, bits, 0.04, np.inf), rounds)
        for bits in (113, 128)
    ]  # fmt: skip


def main() -> None:
    """Print a line per proof; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--until", type=float, nargs="*", default=[100.0, 400.0, 800.0, 1600.0])
    parser.add_argument("--neurons", type=int, nargs="*", default=[200, 1000])
    parser.add_argument("--bits", type=int, nargs="*", default=[80, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=int, default=0, help="spikes of one long condensed run")
    parser.add_argument("--engine", type=int, default=0, help="neurons of the engine's network")
    parser.add_argument("--followed", action="store_true", help="the true run, to twice as late")
    parser.add_argument("--json")
    args = parser.parse_args()
    found = [layer(kind, 25) for kind in ("fires", "silent")]
    print(f"{'job':44} {'spikes':>7} {'verdict':20} {'radius':>9} {'us/spike':>9}")
    for until in args.until:
        net, inputs, spikes = chaotic(until)
        start = {"p": (np.zeros(20), np.zeros(20))}
        found += tiers(f"chaotic, {until:g}", build(net, inputs, start, spikes, until, 0.04), args)
    for n in args.neurons:
        net, inputs = random_network(n, 20, 40.0, 1)
        record = evsim.simulate(net, inputs, 40.0)
        problem = build(net, inputs, record.initial, record.spikes, 40.0, 0.04)
        found += tiers(f"{n} neurons, 40 time units", problem, args)
    if args.long:
        found.append(long_run(args.long))
    if args.engine:
        found += engine_network(args.engine, args.rounds)
    if args.followed:
        found += followed(args.rounds)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
