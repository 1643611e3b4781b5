"""Certificates of generated networks against pure bisection with 60 digits.

Every network is made from its number alone. The oracle's spikes, rounded to doubles, are the claim:
each must be PROVED by the cheapest arithmetic that can, and every spike of the oracle must lie
within its enclosure; the same for the run of evsim itself. A claim with one spike moved must not
be proved. What the oracle finds takes most of the time and depends on nothing of evsim: it is kept
in a file by number, and the verdicts in another, each stamped with a digest of the sources that
it belongs to. The script goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import time
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np

import evsim
from reference import network_bisection as oracle

HERE = Path(__file__).parent
ORACLE = (Path(oracle.__file__), Path(oracle.cells.__file__))
SOURCES = (*sorted((HERE.parent / "evsim" / "proof").glob("*.py")), *ORACLE)
DIGITS = 60
TOLERANCE = 1e-9
#: Spikes at which a network that excites itself is left.
MOST = 60


def digest(*paths: Path, also: str = "") -> str:
    """Of everything whose change would make results stale."""
    key = hashlib.sha256(also.encode())
    for path in paths:
        key.update(path.name.encode() + path.read_bytes())
    return key.hexdigest()[:16]


def made(number: int):
    """(parameters, synapses, inputs, until) of one network, all plain numbers."""
    rng = np.random.default_rng([20, number])
    n, until = int(rng.integers(1, 7)), float(rng.choice([15.0, 30.0, 45.0]))
    tau_mem = float(rng.choice([5.0, 8.0, 10.0, 20.0]))
    tau_syn = tau_mem if rng.random() < 0.15 else tau_mem * float(10.0 ** rng.uniform(-1, 0.6))
    reset, t_ref = float(rng.choice([0.0, 0.1, -0.5])), float(rng.choice([0.0, 0.5, 2.0]))
    levels = dict(tau_mem=tau_mem, tau_syn=tau_syn, v_th=1.0, v_reset=reset, t_ref=t_ref)
    synapses = [
        [(int(rng.integers(n)), float(rng.uniform(0.3, 4.0)), float(rng.normal(0.2, 1.0)))
         for _ in range(int(rng.integers(0, 4)))]
        for _ in range(n)
    ]  # fmt: skip
    count = int(rng.integers(3, 12 + 4 * n))
    inputs = [
        (float(t), int(rng.integers(n)), float(rng.normal(2.0, 1.5)))
        for t in np.sort(rng.uniform(0.0, until, count))
    ]
    return levels, synapses, inputs, until


def network_of(levels, synapses, inputs):
    """The same for evsim."""
    net = evsim.Network()
    net.add_input("in", len(inputs))
    net.add_population("p", len(synapses), evsim.LIF(**levels))
    units, post = np.arange(len(inputs)), [p for _, p, _ in inputs]
    net.connect("in", "p", [w for *_, w in inputs], pre_units=units, post_units=post)
    rows = [(k, *row) for k, mine in enumerate(synapses) for row in mine]
    if rows:
        pre, post, delay, weight = zip(*rows, strict=True)
        net.connect("p", "p", list(weight), list(delay), pre_units=pre, post_units=post)
    return net, {"in": evsim.Spikes([t for t, *_ in inputs], units)}


def exact(x: mpmath.mpf) -> Fraction:
    """The rational number that an mpf is."""
    sign, mantissa, exponent, _ = x._mpf_
    return Fraction((-1) ** sign * int(mantissa)) * Fraction(2) ** int(exponent)


def truth_of(number: int) -> dict:
    """The oracle's spikes, each as (mantissa, exponent of 2, unit), and up to when."""
    levels, synapses, inputs, until = made(number)
    with mpmath.workdps(DIGITS):
        numbers = [
            mpmath.mpf(levels[k]) for k in ("tau_mem", "tau_syn", "v_th", "v_reset", "t_ref")
        ]
        cells = [oracle.Cell(*numbers) for _ in synapses]
        found = oracle.run(oracle.Network(cells, synapses, inputs), until, MOST)
        if len(found) > MOST:
            until = float(found[-1][0]) * (1.0 - 1e-12)
        spikes = [(str(int(t.man)), int(t.exp), int(n)) for t, n in found if t <= until]
        return {"until": until, "spikes": spikes}


def check(number: int, truth) -> dict:
    """One network: verdicts, and whether every truth is inside."""
    levels, synapses, inputs, _ = made(number)
    until = truth["until"]
    times = [Fraction(int(man)) * Fraction(2) ** exp for man, exp, _ in truth["spikes"]]
    units = np.array([n for *_, n in truth["spikes"]], np.int64)
    net, given = network_of(levels, synapses, inputs)
    claim = evsim.Spikes([float(t) for t in times], units)
    order = np.lexsort((units, [float(t) for t in times]))
    found = evsim.certify_spikes(net, given, {"p": claim}, until, TOLERANCE)
    slack = Fraction(until) / 10 ** (DIGITS - 5)
    wrong = 0
    for k, place in enumerate(order[: found.count]):
        off = abs(found.spikes["p"].times[k] - times[place])
        wrong += off > Fraction(float(found.spikes["p"].radius[k])) + slack
    run = evsim.simulate(net, given, until, certify=True)
    row = {"spikes": len(times), "claim": found.status, "tier": found.tier,
           "outside": int(wrong), "run": run.certificate.status}  # fmt: skip
    if times:
        row["moved"] = moved(number, net, given, claim, until)
    return row


def moved(number: int, net, given, claim, until) -> str:
    """The verdict on the true spikes, one of them shifted by more than the tolerance."""
    rng = np.random.default_rng([21, number])
    times, k = claim.times.copy(), int(rng.integers(len(claim)))
    times[k] += rng.choice([-1, 1]) * 10.0 ** rng.uniform(-7, -2)
    false = {"p": evsim.Spikes(np.abs(times), claim.units)}
    return evsim.certify_spikes(net, given, false, until, TOLERANCE).status


def summary(rows: dict[str, dict]) -> dict:
    """What the rows say together."""

    def count(key, value):
        return sum(row.get(key) == value for row in rows.values())

    return {
        "networks": len(rows),
        "spikes": sum(row["spikes"] for row in rows.values()),
        "claims": {s: count("claim", s) for s in ("PROVED", "WRONG", "UNDECIDED")},
        "tiers": {t: count("tier", t) for t in ("float64", "double-double", "balls")},
        "outside": sum(row["outside"] for row in rows.values()),
        "runs": {s: count("run", s) for s in ("PROVED", "WRONG", "UNDECIDED")},
        "moved": {s: count("moved", s) for s in ("PROVED", "WRONG", "UNDECIDED")},
    }  # fmt: skip


def kept(path: Path, stamp: str) -> dict:
    """Rows found before with these very sources."""
    if not path.exists():
        return {}
    data = json.loads(path.read_text())
    return data["rows"] if data["digest"] == stamp else {}


def save(path: Path, stamp: str, data: dict) -> None:
    """Written under another name, then renamed."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"digest": stamp} | data, indent=1) + "\n")
    os.replace(part, path)


def missing(rows: dict, of, numbers, path: Path, stamp: str, seconds: float) -> None:
    """Fill in the rows that are missing, for so long."""
    began = time.perf_counter()
    for number in numbers:
        if str(number) in rows:
            continue
        if time.perf_counter() - began > seconds:
            break
        rows[str(number)] = of(number)
        if len(rows) % 20 == 0:
            save(path, stamp, {"rows": rows})
    save(path, stamp, {"rows": rows})


def main() -> None:
    """Judge the networks that are missing; print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=1e9, help="for the oracle; stop after")
    parser.add_argument("--folder", type=Path, default=HERE / "reproduced", help="of the rows")
    parser.add_argument("--json", type=Path, help="where to write the summary")
    parser.add_argument("--oracle-only", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    path, numbers = options.folder / "proofs_truth.json", range(options.count)
    stamp = digest(*ORACLE, also=inspect.getsource(made) + f"{DIGITS} {MOST}")
    truths = kept(path, stamp)
    missing(truths, truth_of, numbers, path, stamp, options.seconds)
    print(f"{len(truths)} networks have been solved with {DIGITS} digits")
    if options.oracle_only:
        return
    path, stamp = options.folder / "proofs_rows.json", digest(*SOURCES, Path(__file__))
    rows = kept(path, stamp)
    known = [k for k in numbers if str(k) in truths]
    missing(rows, lambda k: check(k, truths[str(k)]), known, path, stamp, 1e9)
    for name, value in summary(rows).items():
        print(f"{name:10s} {value}")
    if options.json:
        save(options.json, stamp, {"digits": DIGITS, "summary": summary(rows)})


if __name__ == "__main__":
    main()
