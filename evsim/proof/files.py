"""Certificates as files, which `reference.certificate` checks without any of this package."""

from __future__ import annotations

import json
import os
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.models.linear import CURRENT, DRIVEN, THRESHOLD
from evsim.network import Network
from evsim.proof.problem import EDGE, STEP, Form, Problem, events_of

if TYPE_CHECKING:
    from evsim.proof.verdict import Certificate

#: A checker bounds terms of second order with constants of its own.
ROOM = 1.25
#: Where a jump of the level of rest enters, in a file.
LEVEL = -2
#: The radius that is written for a time that is known exactly.
EXACT = 1e-25
NOTE = (
    "x' = flow x; a spike where observe.x = theta from below: u = x[0] becomes reset, or falls by "
    "theta - reset, and the others are raised by jump. Arrivals: neuron, delay, jump, where: "
    "component c of x is port c - 1; at port -2 the jump is that many times level, and theta and "
    "reset move as u does. For t_ref after a spike none follows, and by refractory u is held "
    "(clamp), or goes on and arrivals count (hold_fire) or are lost (block_input). Each spike: "
    "neuron, claimed time, T, r. T, inputs, until and flow are exact; others are binary64."
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
        entry = {
            **_equations(form, p),
            "theta": exact_text(form.theta),
            "reset": exact_text(form.reset),
            "t_ref": repr(float(p.t_ref + p.dead)),
            "refractory": "block_input" if p.block else "hold_fire" if p.dead else "clamp",
            "subtract": bool(p.subtract),
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


def _equations(form: Form, p) -> dict[str, Any]:
    """The matrix A, with exact numbers where it is not 0, and what it is read and driven by."""
    rate = Fraction(0) if form.tau is None else 1 / Fraction(form.tau)
    gain = Fraction(1) if form.tau is None else rate
    kinds, size = p.kind[: p.count].tolist(), 1 + int(p.count)
    flow: list[tuple[int, int, Fraction]] = [(0, 0, -rate)]
    for c, (kind, tau) in enumerate(zip(kinds, form.taus, strict=True), 1):
        flow.append((c, c, Fraction(0) if tau is None else -1 / Fraction(tau)))
        if kind in (CURRENT, DRIVEN):
            flow.append((0, c, gain))
        if kind == DRIVEN:
            flow.append((c, c + 1, Fraction(1)))
    level = [0] * size
    level[1 + max(p.drive, -1)] = -1 if p.drive < 0 else 1
    return {
        "flow": [(i, j, exact_text(value)) for i, j, value in flow if value],
        "observe": [1, *(-1 if kind == THRESHOLD else 0 for kind in kinds)],
        "jump": [0.0, *p.jump[: p.count].tolist()],
        "level": level,
    }


def _synapses(network: Network, problem: Problem) -> list[list[list]]:
    """Of every neuron: target, delay, weight and port of its synapses."""
    out: list[list[list]] = [[] for _ in range(problem.size)]
    for projection in network.projections.values():
        if projection.pre not in problem.first or projection.post not in problem.first:
            continue
        model: Any = network.populations[projection.post].model
        events = events_of(projection, model.linear())
        first, post = problem.first[projection.pre], problem.first[projection.post]
        cell = problem.neurons[post]
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
                out[first + unit] += [
                    [post + int(targets[s]), repr(float(delay[s] + more)), *jump]
                    for sign, more, port in events
                    for jump in _jumps(cell, sign * float(weight[s]), port)
                ]
    return out


def _jumps(p, weight: float, port: int) -> list[tuple[str, int]]:
    """The jumps that an arrival makes, and where they enter."""
    if port not in (STEP, EDGE):
        return [(repr(weight), port)]
    found = [(repr(float(weight)), LEVEL)]
    return found + ([(repr(float(-weight)), int(p.lag))] if port == EDGE and p.lag >= 0 else [])


def _inputs(problem: Problem) -> list[list]:
    """Of every input event: its time, and what arrives where."""
    arrivals, bounds = problem.arrivals, problem.bounds
    target = np.repeat(np.arange(problem.size), np.diff(bounds))
    out: dict[int, list] = {}
    drive = np.zeros(problem.size)
    for m in np.flatnonzero(arrivals.source >= problem.count):
        a, n = arrivals[m], int(target[m])
        mine, weight = out.setdefault(int(a.source), []), float(a.weight)
        jumps = _jumps(problem.neurons[n], weight, int(a.port))
        if a.port == STEP:  # from the value before
            jumps += _jumps(problem.neurons[n], -drive[n], STEP)
            drive[n] = weight
        mine += [[n, repr(float(a.delay)), *jump] for jump in jumps]
    source = problem.sources
    times = {k: problem.exact.get(k, Fraction(source.hi[k]) + Fraction(source.lo[k])) for k in out}
    return [[exact_text(times[k]), targets] for k, targets in out.items()]
