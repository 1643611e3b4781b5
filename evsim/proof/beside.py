"""Certificates of runs that kept what `evsim.proof.layer` wants: dense layers, without a cycle."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from evsim.delivery import incoming
from evsim.proof.doubles import Outcome
from evsim.proof.layer import ONCE, Own, Shared, Trains, majorants, verify
from evsim.proof.problem import build
from evsim.proof.verdict import Certificate, Enclosures
from evsim.record import Record
from evsim.spikes import Spikes
from evsim.sweep import BLOCK, Evidence


def certificate_of(record: Record, evidence: dict[str, Evidence]) -> Certificate | None:
    """PROVED, or None where a population kept no evidence, or left a neuron open."""
    network = record.network
    radius: dict[str, np.ndarray] = {}
    for name, population in network.populations.items():  # in the order of the run
        if population.model.spiking and name not in evidence:
            return None
    for name in evidence:
        sources = [p.pre for p in incoming(network, name) if p.pre in network.populations]
        if any(source not in radius for source in sources):
            return None
        widest = max((radius[s].max(initial=0.0) for s in sources), default=0.0)
        found = _proved(record, name, evidence[name], float(widest))
        if found is None:
            return None
        radius[name] = found
    return _certificate(record, radius)


def _proved(record: Record, name: str, evidence: Evidence, widest: float) -> np.ndarray | None:
    """The radii of a population's spikes, if all of it could be proved."""
    p, start, events, weights, table, trail = evidence
    model: Any = record.network.populations[name].model
    train, n, count = record.spikes[name], start[0].size, events.hi.size
    if (events.kind < 0).any():
        return None
    rho = np.full(count, widest)
    shared = Shared(np.empty(count + 1), np.empty(count + 1), *(np.zeros(1) for _ in range(3)))
    top = max((s.largest for s in incoming(record.network, name)), default=0.0)
    # A voltage less the level of rest, of which theta is the distance to threshold.
    e_u = ONCE * (np.abs(start[0]).max() + abs(model.v_th) + p.theta)
    size = _size(p, start, trail, top)
    majorants(p, events, table, top, rho, size, float(e_u), shared)
    order = np.argsort(train.units, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(train.units, minlength=n))])
    trains = Trains(train.times, train.times_lo, order, first, np.zeros(len(train)))
    zeros = np.zeros((5, n))
    own = Own(zeros[0], zeros[1], zeros[2], first[:-1].copy(), zeros[3], zeros[4],
              np.full(n, -1.0), np.zeros(n, np.bool_))  # fmt: skip
    verify(p, events, weights, table, rho, shared, trail, record.until, own, trains)
    return None if own.open.any() else trains.radius


def _size(p, start, trail, top: float) -> float:
    """Bound of all voltages and currents of a sweep.

    Of currents it has been noted before every pass; within one come up to `BLOCK` arrivals. A
    voltage goes towards the current, and lies between it and where it started or was reset.
    """
    current = max(trail.most[1].max(), np.abs(trail.last[1]).max()) + BLOCK * top
    return float(max(current, np.abs(start[0]).max(), abs(p.u_reset), p.theta) * (1.0 + 1e-9))


def _certificate(record: Record, radius: dict[str, np.ndarray]) -> Certificate:
    """PROVED, with radii by population."""

    def exact(train: Spikes) -> list[Fraction]:
        pairs = zip(train.times.tolist(), train.times_lo.tolist(), strict=True)
        return [Fraction(hi) + Fraction(lo) for hi, lo in pairs]

    def found():
        """The flat arrays, if somebody asks for them."""
        problem = build(record.network, record.inputs, record.initial, record.spikes,
                        record.until, 0.0)  # fmt: skip
        rank = np.concatenate([problem.order[name] for name in problem.order])
        times = [t for name in problem.order for t in exact(record.spikes[name])]
        widths = np.concatenate([radius[name] for name in problem.order])
        back = np.argsort(rank)
        outcome = Outcome(
            "float64", 53, None, rank.size, lambda: [times[k] for k in back], widths[back],
            np.full(rank.size, np.nan), np.full(problem.size, np.inf),
        )  # fmt: skip
        return problem, outcome

    spikes = {
        name: Enclosures(r, record.spikes[name].units,
                         lambda name=name: exact(record.spikes[name]))  # type: ignore[misc]
        for name, r in radius.items()
    }  # fmt: skip
    count = sum(r.size for r in radius.values())
    return Certificate(
        "PROVED", spikes, None, "", None, "float64", 53, None, record.until, math.inf, count,
        record.network, found,
    )  # fmt: skip
