"""Certificates as files, which `reference.certificate` checks without any of this package."""

from __future__ import annotations

import json
import os
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.models.linear import CURRENT, DRIVEN, DRIVER, THRESHOLD
from evsim.network import Network
from evsim.proof.problem import VOLTAGE, Problem

if TYPE_CHECKING:
    from evsim.proof.verdict import Certificate

KINDS = {CURRENT: "current", DRIVEN: "driven", DRIVER: "driver", THRESHOLD: "threshold"}
#: A checker bounds terms of second order with constants of its own.
ROOM = 1.25
#: The radius that is written for a time that is known exactly.
EXACT = 1e-25
NOTE = (
    "u' = gain (sum of currents) - u / tau; a current: c' = -c / tau, a driven one besides + the "
    "component behind it; a spike where u - thresholds = theta. gain = 1 / tau, or 1 without tau. "
    "Each spike: neuron, claimed time, T, r. T, inputs and until are exact decimals; parameters, "
    "weights and delays are binary64."
)


def exact_text(value: Fraction) -> str:
    """A rational number as an exact decimal where there is one, else as p/q."""
    two_five = value.denominator
    for prime in (2, 5):
        while two_five % prime == 0:
            two_five //= prime
    if two_five != 1:
        return str(value)
    with localcontext() as context:
        context.prec = 4000
        return str(Decimal(value.numerator) / Decimal(value.denominator))


def of_float(value: float) -> str:
    """An exact decimal of a double."""
    return exact_text(Fraction(float(value)))


def save(certificate: Certificate, path: str | os.PathLike[str]) -> None:
    """Write a certificate; it appears only when it is complete."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(content(certificate)) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def content(certificate: Certificate) -> dict[str, Any]:
    """What the file holds."""
    problem, outcome = certificate.problem, certificate.outcome
    source = problem.sources
    tolerance = certificate.tolerance
    return {
        "format": "evsim certificate 1",
        "note": NOTE,
        "status": certificate.status,
        "instead": certificate.instead,
        "first_wrong": certificate.first_wrong,
        "undecided": certificate.undecided,
        "bits": outcome.bits,
        "tolerance": None if np.isinf(tolerance) else of_float(tolerance),
        "until": of_float(problem.until),
        "populations": problem.first,
        **_neurons(problem),
        "synapses": _synapses(certificate.network, problem),
        "inputs": _inputs(problem),
        "spikes": [
            [
                int(source.neuron[k]),
                exact_text(Fraction(source.claim_hi[k]) + Fraction(source.claim_lo[k])),
                exact_text(outcome.times[k]),
                repr(float(outcome.radius[k] * ROOM or EXACT)),
            ]
            for k in range(outcome.proved)
        ],
    }


def _neurons(problem: Problem) -> dict[str, Any]:
    """The distinct parameters, and for every neuron which it has and where it starts."""
    forms: dict[str, int] = {}
    listed: list[dict[str, Any]] = []
    neurons: list[list] = []
    for n, form in enumerate(problem.forms):
        p = problem.neurons[n]
        kinds = [KINDS[k] for k in p.kind[: p.count].tolist()]
        jumps = p.jump[: p.count].tolist()
        entry = {
            "tau": _or_none(form.tau),
            "components": [
                [kind, _or_none(tau), repr(jump)]
                for kind, tau, jump in zip(kinds, form.taus, jumps, strict=True)
            ],
            "theta": exact_text(form.theta),
            "reset": exact_text(form.reset),
            "t_ref": repr(float(p.t_ref)),
            "drive": None if p.drive < 0 else int(p.drive),
        }
        key = json.dumps(entry)
        if key not in forms:
            forms[key] = len(listed)
            listed.append(entry)
        start = [exact_text(Fraction(a) + Fraction(b))
                 for a, b in problem.start[n, : p.count + 1]]  # fmt: skip
        if n in problem.membranes:
            start[0] = exact_text(problem.membranes[n])
        neurons.append([forms[key], start])
    return {"forms": listed, "neurons": neurons}


def _or_none(value: float | None) -> str | None:
    """The digits of a double that may be missing."""
    return None if value is None else repr(float(value))


def _synapses(network: Network, problem: Problem) -> list[list[list]]:
    """Of every neuron: target, delay, weight and port of its synapses."""
    out: list[list[list]] = [[] for _ in range(problem.size)]
    for projection in network.projections.values():
        if projection.pre not in problem.first or projection.post not in problem.first:
            continue
        model: Any = network.populations[projection.post].model
        port = model.linear().ports[projection.port]
        port = VOLTAGE if port is None else port
        first, post = problem.first[projection.pre], problem.first[projection.post]
        n_post = network.size(projection.post)
        weight = projection.weight.ravel()
        delay = np.broadcast_to(np.asarray(projection.delay, float), weight.shape)
        indptr: Any = projection.indptr
        targets: Any = projection.targets
        if indptr is None:
            indptr = np.arange(projection.n_pre + 1) * n_post
            targets = np.tile(np.arange(n_post), projection.n_pre)
        for unit in range(projection.n_pre):
            for s in range(indptr[unit], indptr[unit + 1]):
                out[first + unit].append(
                    [post + int(targets[s]), repr(float(delay[s])), repr(float(weight[s])), port]
                )
    return out


def _inputs(problem: Problem) -> list[list]:
    """Of every input event: its time, and what arrives where."""
    arrivals, bounds = problem.arrivals, problem.bounds
    target = np.repeat(np.arange(problem.size), np.diff(bounds))
    out: dict[int, list] = {}
    for m in np.flatnonzero(arrivals.source >= problem.count):
        a = arrivals[m]
        out.setdefault(int(a.source), []).append(
            [int(target[m]), repr(float(a.delay)), repr(float(a.weight)), int(a.port)]
        )
    source = problem.sources
    times = {k: problem.exact.get(k, Fraction(source.hi[k]) + Fraction(source.lo[k])) for k in out}
    return [[exact_text(times[k]), targets] for k, targets in out.items()]
