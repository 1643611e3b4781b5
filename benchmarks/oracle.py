"""Generated single neurons and networks against the 60-digit oracle: wrong decisions, counted.

    python benchmarks/oracle.py [--neurons 1000000] [--networks 100000] [--jobs 2] [--seconds S]

Runs in blocks; each finished block is a line of `oracle_blocks.jsonl`, so that a run that was
interrupted goes on where it ended, and the same seed makes the same cases. Blocks go to a pool
of processes by joblib: with its Dask backend (`joblib.parallel_config("dask")`) to a cluster. The
summary is `oracle.json`: how many cases of how many wanted, and what came of them, with a digest
of the sources that simulate, solve and compare, for each kind. Blocks that other sources made
are not counted: `--digest` prints the present two.
"""

import argparse
import hashlib
import json
import os
import re
import time
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

import evsim
from evsim.progress import bar
from evsim.testing.accuracy import EXACT
from evsim.testing.case import Case, Layer, Wire
from evsim.testing.judge import is_true
from evsim.testing.subject import Answer, Broken, Unclear, trains_of
from evsim.testing.truth import truth_of
from reference.judge import judge, surely_right
from reference.lif import Walk, walked
from reference.problems import FAMILIES, UNTIL, _problem

HERE = Path(__file__).resolve().parent
SEED = 20261122
NEURONS, NETWORKS = 400, 50  # of one block
VECTORS = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "bias")


#: What takes no part: proofs, derivatives, files, other programs' networks, laws of others.
ELSEWHERE = (
    r"evsim/(proof/|bench/|nir|described|cli|__main__|files|pytest_plugin|gradient|adjoint|"
    r"angles|backward|batch|dense_leg|feedforward|margins|replay|sample|tangents|trust|tape|losses|"
    r"resweep|unsweep|readings|readout|models/(adjoint|readout|ttfs)"
    r"\.py|testing/"
)
COMPARED = r"(?!(accuracy|case|judge|subject|truth)\.py)"  # what compares networks
SOLVER = ("accounts", "agenda", "attainable", "crossing", "flows", "lif", "neuron")
ASKED = {"neurons": ("judge", "problems"), "networks": ("networks",)}


def digest(kind: str) -> str:
    """Of what decides what a block says: the engine, the oracle, and how both are compared."""
    root, parts = HERE.parent, hashlib.sha256()
    others = re.compile(ELSEWHERE + (")" if kind == "neurons" else COMPARED + ")"))
    engine = [p for p in sorted((root / "evsim").rglob("*.py"))
              if not others.match(p.relative_to(root).as_posix())]  # fmt: skip
    solver = [root / "reference" / f"{name}.py" for name in SOLVER + ASKED[kind]]
    for path in [*engine, *solver, Path(__file__)]:
        parts.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return parts.hexdigest()[:16]


def neurons(block: int) -> dict:
    """One block of single neurons, eight families in turn."""
    numbers = range(block * NEURONS, (block + 1) * NEURONS)
    size = len(FAMILIES)
    problems = [_problem(FAMILIES[n % size], n // size, SEED) for n in numbers]
    problems.sort(key=lambda p: p.neuron.reset)
    counts, wrong = {"right": 0, "undecided": 0, "wrong": 0}, []
    for _, group in groupby(problems, key=lambda p: p.neuron.reset):
        members = list(group)
        for p, (hi, lo, flagged) in zip(members, together(members), strict=True):
            walk = walked(partial(Walk, p.neuron, p.until), p.arrivals)
            if surely_right(walk, hi, lo):
                counts["right"] += 1
                continue
            verdict = judge(walk.settled(), hi, lo, flagged)
            counts[verdict.status] += 1
            if verdict.status == "wrong":
                wrong.append(f"{p.family} {p.number}: {verdict.reason}")
    return {**counts, "first": wrong[:3]}


def together(problems) -> list:
    """(times, times_lo, flagged) of every problem, each a unit of one population."""
    values = {k: np.array([getattr(p.neuron, k) for p in problems]) for k in VECTORS}
    rows = [(unit, *a) for unit, p in enumerate(problems) for a in p.arrivals]
    unit, times, weight, delay = map(np.array, zip(*rows, strict=True))
    net, source = evsim.Network(), np.arange(unit.size)
    net.add_input("in", unit.size)
    model = evsim.LIF(reset=problems[0].neuron.reset, **values)
    net.add_population("p", len(problems), model)
    net.connect("in", "p", pre_units=source, post_units=unit, weight=weight, delay=delay)
    record = evsim.simulate(net, {"in": evsim.Spikes(times, source)}, UNTIL)
    s, flagged = record.spikes["p"], {u for _, u, _, _ in record.undecided}
    masks = [s.units == n for n in range(len(problems))]
    return [(s.times[m], s.times_lo[m], n in flagged) for n, m in enumerate(masks)]


def network(number: int) -> Case:
    """A network of two populations, feed-forward or with cycles, by its number."""
    rng = np.random.default_rng((SEED, 1, number))
    n = {"in": int(rng.integers(1, 4)), "a": int(rng.integers(1, 5)), "b": int(rng.integers(1, 4))}
    layers = tuple(Layer(k, n[k], "lif", parameters(rng, n[k])) for k in ("a", "b"))
    pairs = [("in", "a"), ("a", "b")]
    pairs += [("a", "a"), ("b", "a")] if rng.random() < 0.5 else []
    wires = tuple(wire(rng, pre, post, n) for pre, post in pairs)
    count = int(rng.integers(2, 9))
    times, units = np.sort(rng.uniform(0, 15, count)), rng.integers(0, n["in"], count)
    train = tuple(zip(times.tolist(), units.tolist(), strict=True))
    return Case(layers, wires, {"in": train}, {"in": n["in"]}, 20.0)


def parameters(rng, n: int) -> dict:
    """Of a population; a quarter with equal time constants."""
    tau = rng.uniform(5, 20, n)
    same = rng.random() < 0.25
    return {
        "tau_mem": tuple(tau.tolist()),
        "tau_syn": tuple((tau if same else rng.uniform(2, 20, n)).tolist()),
        "v_th": tuple(rng.uniform(0.7, 1.3, n).tolist()),
        "v_reset": float(rng.uniform(-0.5, 0.3)),
        "t_ref": float(rng.choice((0.0, 1.0, rng.uniform(0.1, 2.0)))),
        "bias": float(rng.choice((0.0, 0.5, rng.uniform(-0.3, 1.2)))),
    }


def wire(rng, pre: str, post: str, n: dict) -> Wire:
    """All to all, both signs; delays of one number or of one per synapse."""
    weight = rng.normal(1.0, 2.5, (n[pre], n[post]))
    delay = rng.uniform(0.3, 3.0, weight.shape)
    rows = lambda x: tuple(map(tuple, x.tolist()))  # noqa: E731
    return Wire(pre, post, rows(weight), rows(delay) if rng.random() < 0.5 else 1.5)


def networks(block: int) -> dict:
    """One block of networks: every spike within the bound that the oracle carries through.

    Every tenth is run alone; the others side by side, as one network whose parts do not meet.
    """
    counts, wrong = {"right": 0, "unclear": 0, "wrong": 0, "spikes": 0}, []
    truths = {}
    for number in range(block * NETWORKS, (block + 1) * NETWORKS):
        case = network(number)
        try:
            truths[number] = case, truth_of(case, EXACT)
        except Unclear:
            counts["unclear"] += 1
    for number, found in answers({n: case for n, (case, _) in truths.items()}).items():
        truth = truths[number][1]
        try:
            if not surely_true(found, truth):
                is_true(Answer(found), truth)
            counts["right"] += 1
            counts["spikes"] += truth.count()
        except Broken as broken:
            counts["wrong"] += 1
            wrong.append(f"{number}: {broken}")
    return {**counts, "first": wrong[:3]}


def answers(cases: dict) -> dict:
    """Trains of every network by its number."""
    found = {n: trains_of(evsim.simulate(*c.problem()), c) for n, c in cases.items() if n % 10 == 0}
    for cyclic in (False, True):
        members = {n: c for n, c in cases.items() if n % 10 and c.cyclic() == cyclic}
        if members:
            found |= zip(members, side_by_side([*members.values()]), strict=True)
    return found


def side_by_side(cases: list) -> list:
    """Trains of networks with the same populations, from one run."""
    sizes = {"in": [c.sizes["in"] for c in cases]}
    sizes |= {name: [c.layer(name).n for c in cases] for name in ("a", "b")}
    first = {name: np.concatenate(([0], np.cumsum(n))) for name, n in sizes.items()}
    net = evsim.Network()
    net.add_input("in", first["in"][-1])
    for name in ("a", "b"):
        rows = [(c.layer(name).params, c.layer(name).n) for c in cases]
        values = {key: np.concatenate([np.broadcast_to(p[key], n) for p, n in rows])
                  for key in rows[0][0]}  # fmt: skip
        net.add_population(name, first[name][-1], evsim.LIF(**values))
    groups: dict = {}
    for k, c in enumerate(cases):
        for w in c.wires:
            groups.setdefault((w.pre, w.post, isinstance(w.delay, tuple)), []).append((k, w))
    for wires in groups.values():
        connect(net, wires, first)
    times, units = zip(*[(t, u + first["in"][k]) for k, c in enumerate(cases)
                         for t, u in c.spikes["in"]], strict=True)  # fmt: skip
    order = np.argsort(times, kind="stable")
    spikes = evsim.Spikes(np.array(times)[order], np.array(units)[order])
    record = evsim.simulate(net, {"in": spikes}, cases[0].until)
    by_unit = {name: trains_by_unit(record.spikes[name], first[name][-1]) for name in ("a", "b")}
    return [{name: by_unit[name][first[name][k] : first[name][k + 1]] for name in ("a", "b")}
            for k in range(len(cases))]  # fmt: skip


def connect(net, wires: list, first: dict) -> None:
    """Wires between the same populations of some of the cases, as one list of synapses."""
    rows = []
    for k, w in wires:
        weight = np.array(w.weight)
        pre, post = np.indices(weight.shape)
        delay = np.broadcast_to(w.delay, weight.shape)
        pre, post = pre + first[w.pre][k], post + first[w.post][k]
        rows.append([x.ravel() for x in (pre, post, weight, delay)])
    pre, post, weight, delay = map(np.concatenate, zip(*rows, strict=True))
    one = wires[0][1]
    delay = delay if isinstance(one.delay, tuple) else one.delay
    net.connect(one.pre, one.post, pre_units=pre, post_units=post, weight=weight, delay=delay,
                name=f"{one.pre} {one.post} {np.ndim(delay)}")  # fmt: skip


def trains_by_unit(spikes, n: int) -> list:
    """(times, times_lo) of every unit."""
    order = np.lexsort((spikes.times_lo, spikes.times, spikes.units))
    ends = np.searchsorted(spikes.units[order], np.arange(n + 1))
    hi, lo = spikes.times[order], spikes.times_lo[order]
    return [(hi[a:b], lo[a:b]) for a, b in pairwise(ends)]


def surely_true(found: dict, truth) -> bool:
    """Whether an answer is true beyond the roundings of a comparison in floats."""
    return all(
        hi.size == found[name][n][0].size
        and (np.abs((found[name][n][0] - hi) + (found[name][n][1] - lo)) < 0.99 * slack).all()
        for name, units in truth.trains.items()
        for n, ((hi, lo), slack) in enumerate(zip(units, truth.allowed[name], strict=True))
    )


BLOCKS = {"neurons": (neurons, NEURONS), "networks": (networks, NETWORKS)}


def one(kind: str, block: int) -> dict:
    """A block and what it is."""
    began = time.process_time()
    return {"kind": kind, "block": block, **BLOCKS[kind][0](block),
            "cpu": round(time.process_time() - began, 2)}  # fmt: skip


def main() -> None:
    """What is not done yet, then the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=1_000_000)
    parser.add_argument("--networks", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument("--digest", action="store_true", help="print the digest, and end")
    options = parser.parse_args()
    if options.digest:
        print(*map(digest, BLOCKS))
        return
    stamps, log = {kind: digest(kind) for kind in BLOCKS}, options.folder / "oracle_blocks.jsonl"
    done = finished(log, stamps)
    counts = {"neurons": options.neurons, "networks": options.networks}
    wanted = [(kind, k) for kind, n in counts.items() for k in range(-(-n // BLOCKS[kind][1]))]
    todo = [job for job in wanted if job not in done]
    began = time.monotonic()
    with bar("oracle") as show, log.open("a") as file:
        run = Parallel(
            n_jobs=options.jobs, return_as="generator_unordered", pre_dispatch="2*n_jobs"
        )
        for row in run(delayed(one)(*job) for job in within(todo, began + options.seconds)):
            file.write(json.dumps({"digest": stamps[row["kind"]], **row}) + "\n")
            file.flush()
            done[row["kind"], row["block"]] = row
            show(len(done), len(wanted), row["kind"])
    summary = {"digest": stamps, "seed": SEED, "evsim": evsim.__version__} | {
        kind: {"wanted": counts[kind], **total(done, kind)} for kind in BLOCKS
    }
    part = options.folder / "oracle.json.part"
    part.write_text(json.dumps(summary, indent=1) + "\n")
    part.replace(options.folder / "oracle.json")
    print(json.dumps(summary, indent=1))


def finished(log: Path, stamps: dict) -> dict:
    """Blocks of these sources; a line that was cut off counts for nothing."""
    found = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row.pop("digest") == stamps[row["kind"]]:
            found[row["kind"], row["block"]] = row
    return found


def within(jobs, end: float):
    """Jobs, as long as there is time."""
    for job in jobs:
        if time.monotonic() > end:
            return
        yield job


def total(done: dict, kind: str) -> dict:
    """Sums over the blocks of a kind."""
    rows = [row for row in done.values() if row["kind"] == kind]
    names = [k for k in (rows[0] if rows else {}) if k not in ("kind", "block", "first")]
    return {
        "run": len(rows) * BLOCKS[kind][1],
        **{k: round(sum(row[k] for row in rows), 2) for k in names},
        "first wrong": [text for row in rows for text in row["first"]][:5],
    }


if __name__ == "__main__":
    main()
