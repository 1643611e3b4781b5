"""Recurrent networks: synaptic events per second, against NEST and against a scatter-add.

* `bias`: 10 000 current-based LIF neurons, 100 synapses each (80 % excite), one delay, resting
  above threshold; `noise`: the same resting below it, with Poisson input. Both with one set of
  parameters, and with one time constant per neuron (`... per neuron`).
* `threads`: `bias` on two threads against one, and two runs of one thread at once: what the
  machine's second processor gives to programs that share nothing.
* `mixed`: `bias` with delays from 0.1 to 5 ms and one of 1 us, against `bias` itself.
* `growth`: `bias` from 1e3 neurons on, against adding the weights of as many spikes to their
  targets, in a loop without any neuron.

Timed are `evsim.simulate` and `nest.Run`, each of the whole model time, with everything built
and compiled before; NEST's network is built anew each time, in a process of its own. The sides
take turns. Networks are chaotic: where spike counts differ, events per second still compare.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from peer import NEST_PYTHON, Nest

import evsim
from evsim.bench.jobs import Job, driven, recurrent
from evsim.bench.turns import SEED, versions

MODELS = ("iaf_psc_exp_ps", "iaf_psc_exp_ps_lossless", "iaf_psc_exp")
PEERS = ("bias", "bias per neuron", "noise", "noise per neuron")
#: Events of one run of `growth`; larger networks run for a shorter time.
GROWTH_EVENTS, EXPECTED_RATE = 4e7, 40.0


class Ours:
    """A network in evsim, ready to be run."""

    def __init__(self, job: Job, threads: int = 1) -> None:
        self.job, self.threads = job, threads
        self.net, self.inputs = job.network(), job.inputs()
        evsim.simulate(self.net, self.inputs, min(job.until, 5e-3), threads=threads)

    def run(self, _: str = "") -> dict:
        """Seconds and spikes."""
        start = time.perf_counter()
        record = evsim.simulate(self.net, self.inputs, self.job.until, threads=self.threads)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "spikes": len(record.spikes["n"])}


def in_turn(rounds: int, sides: dict) -> dict[str, dict]:
    """The best run of each side, all sides taking turns; a side that fails is left out."""
    best: dict[str, dict] = {name: {"seconds": math.inf} for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            if "error" in best[name]:
                continue
            answer = run(name)
            if "error" in answer or answer["seconds"] < best[name]["seconds"]:
                best[name] = answer
    return best


def rated(job: Job, found: dict[str, dict]) -> dict[str, dict]:
    """Events per second, nanoseconds per event, and how many times evsim is faster."""
    for row in found.values():
        if "error" not in row:
            events = job.events(row["spikes"])
            row["rate_hz"] = row["spikes"] / job.n / job.until
            row["events_per_s"] = events / row["seconds"]
            row["ns_per_event"] = 1e9 * row["seconds"] / events
    for row in found.values():
        if "error" not in row:
            row["ratio"] = found["evsim"]["events_per_s"] / row["events_per_s"]
    return found


def show(title: str, found: dict[str, dict]) -> None:
    """One line per side."""
    for name, row in found.items():
        if "error" in row:
            print(f"{title:22s} {name:24s} failed: {row['error']}", flush=True)
            continue
        print(
            f"{title:22s} {name:24s} {row['seconds']:8.3f} s {row['spikes']:8d} spikes "
            f"{row['rate_hz']:5.1f} Hz {row['events_per_s']:.2e} events/s "
            f"{row['ns_per_event']:7.1f} ns/event  ratio {row['ratio']:.2f}",
            flush=True,
        )


def job_named(name: str, options) -> Job:
    """One of the jobs that NEST runs too."""
    make = driven if name.startswith("noise") else recurrent
    per_neuron = name.endswith("per neuron")
    return make(options.neurons, per_neuron=per_neuron, until=options.until, name=name)


def against_nest(name: str, threads: int, options) -> dict:
    """One job, evsim and the models of NEST in turn."""
    job = job_named(name, options)
    sides = {"evsim": Ours(job, threads).run}
    if not options.nest:
        return rated(job, in_turn(options.rounds, sides))
    with Nest(options.nest, job.arrays(), "--threads", str(threads)) as nest:
        sides |= dict.fromkeys(options.models, nest.run)
        return rated(job, in_turn(options.rounds, sides))


def mixed(options) -> dict:
    """Delays of all sizes against one delay; `ratio` of the second is the slowdown."""
    one = recurrent(options.neurons, until=options.until)
    many = recurrent(options.neurons, until=options.until, mixed=True)
    sides = {"evsim": Ours(one).run, "mixed delays": Ours(many).run}
    return rated(one, in_turn(options.rounds, sides))


def threads(options) -> dict:
    """One thread, two threads, and two runs at once; `gain` is the work done in the same time."""
    job = recurrent(options.neurons, until=options.until)
    copies = [Ours(job), Ours(job)]

    def at_once(_: str) -> dict:
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            spikes = [answer["spikes"] for answer in pool.map(Ours.run, copies)]
        return {"seconds": time.perf_counter() - start, "spikes": sum(spikes)}

    sides = {"evsim": copies[0].run, "two threads": Ours(job, 2).run, "two runs": at_once}
    found = rated(job, in_turn(options.rounds, sides))
    for name in ("two threads", "two runs"):
        found[name]["gain"] = 1.0 / found[name]["ratio"]
        print(f"{name} do {found[name]['gain']:.2f} times the work of one thread", flush=True)
    return found


@numba.njit
def scatter(spikes, indptr, post, weight, out):
    """Add the rows of these spikes to their targets: no neuron, no delay, no time."""
    for s in spikes:
        for k in range(indptr[s], indptr[s + 1]):
            out[post[k]] += weight[k]


def scattering(job: Job, spikes: int):
    """A run of `scatter` with as many spikes as evsim had."""
    per = job.synapses.pre.size // job.n
    indptr = np.arange(job.n + 1) * per
    order = np.random.default_rng(SEED).integers(0, job.n, spikes)
    out = np.zeros(job.n)

    def run(_: str) -> dict:
        start = time.perf_counter()
        scatter(order, indptr, job.synapses.post, job.synapses.weight, out)
        return {"seconds": time.perf_counter() - start, "spikes": spikes}

    run("")
    return run


def growth(options) -> dict:
    """Each size against a scatter-add of its own size."""
    found = {}
    for n in options.sizes:
        until = min(1.0, GROWTH_EVENTS * options.until / (EXPECTED_RATE * 100 * n))
        job = recurrent(n, until=until)
        ours = Ours(job)
        spikes = ours.run()["spikes"]
        sides = {"evsim": ours.run, "scatter-add": scattering(job, spikes)}
        found[f"{n}"] = rated(job, in_turn(options.rounds, sides))
        show(f"growth {n}", found[f"{n}"])
        print(f"growth {n}: {1 / found[f'{n}']['scatter-add']['ratio']:.1f} times a scatter-add")
    cost = [row["evsim"]["ns_per_event"] for row in found.values()]
    print(f"growth of the cost per event: {cost[-1] / cost[0]:.2f}")
    return found


#: Jobs that no peer runs.
OWN = {"threads": threads, "mixed": mixed, "growth": growth}


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nest", metavar="PYTHON", default=os.environ.get(NEST_PYTHON),
        help=f"an interpreter that has NEST (default: ${NEST_PYTHON}; without, evsim only)",
    )  # fmt: skip
    parser.add_argument("--models", nargs="+", default=MODELS, help="NEST's neuron models")
    parser.add_argument(
        "--jobs",
        nargs="+",
        default=[*PEERS, *OWN],
        choices=[*PEERS, *OWN],
    )
    parser.add_argument("--rounds", type=int, default=9, help="each side runs so often")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--neurons", type=int, default=10_000)
    parser.add_argument("--until", type=float, default=1.0, help="model time [s]")
    parser.add_argument(
        "--sizes", type=lambda x: int(float(x)), nargs="+", help="neurons of the growth job",
        default=[10**3, 10**4, 10**5, 10**6],
    )  # fmt: skip
    parser.add_argument("--json", help="write the figures to this file too")
    return parser.parse_args()


def main() -> None:
    """Print a line per side; write JSON where asked."""
    options = arguments()
    found: dict = {"versions": versions(), "seed": SEED, "rounds": options.rounds}
    print("versions", found["versions"], "seed", SEED, "best of", options.rounds)
    if not options.nest:
        print(f"NEST: no interpreter given (--nest, {NEST_PYTHON}): not compared")
    for name in options.jobs:
        if name in PEERS:
            for threads in options.threads:
                title = f"{name}, {threads} thr"
                found[title] = against_nest(name, threads, options)
                show(title, found[title])
        else:
            found[name] = OWN[name](options)
            if name != "growth":
                show(name, found[name])
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
