"""A dense layer, 784 -> 1024 current-based LIF neurons, and the loops to hold it against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from evsim.bench.turns import SEED
from evsim.jit import kernel
from evsim.models import verbs
from evsim.models.lif import LIF
from evsim.neuron import new_books, new_flags, new_log, new_place
from evsim.sweep import Events, coefficients, new_trail, sweep, two_buffers

N_IN, N_OUT, N_EVENTS, UNTIL = 784, 1024, 5000, 0.5


@kernel
def bare(v, i, weights, rows, t, tau_mem, tau_syn):
    """Flow and add, nothing else: the limit for any exact sweep."""
    last = 0.0
    for e in range(t.size):
        d, last = t[e] - last, t[e]
        a, c = math.exp(-d / tau_mem), math.exp(-d / tau_syn)
        b = tau_syn / (tau_mem - tau_syn) * (a - c)
        w = weights[rows[e]]
        for n in range(v.size):
            v[n] = v[n] * a + i[n] * b
            i[n] = i[n] * c + w[n]


@kernel
def bare_libm(v, i, weights, rows, t, tau_mem, tau_syn):
    """The same with every number an array, and the platform's exponentials."""
    last = 0.0
    for e in range(t.size):
        d, last = t[e] - last, t[e]
        w = weights[rows[e]]
        for n in range(v.size):
            a, c = math.exp(-d / tau_mem[n]), math.exp(-d / tau_syn[n])
            b = tau_syn[n] / (tau_mem[n] - tau_syn[n]) * (a - c)
            v[n] = v[n] * a + i[n] * b
            i[n] = i[n] * c + w[n]


class Layer:
    """The layer and its input, ready to be swept."""

    def __init__(self, scale: float, per_neuron: bool) -> None:
        rng = np.random.default_rng(SEED)
        self.tau = rng.uniform(15e-3, 25e-3, N_OUT) if per_neuron else 20e-3
        self.model = LIF(tau_mem=self.tau, tau_syn=5e-3)
        self.weights = rng.normal(0.01, 0.3, (N_IN, N_OUT)) * scale
        self.t = np.sort(rng.uniform(0, UNTIL, N_EVENTS))
        self.rows = rng.integers(0, N_IN, N_EVENTS)
        zeros = np.zeros(N_EVENTS, np.int64)
        self.events = Events(self.t, np.zeros(N_EVENTS), zeros, self.rows)
        self.currents = np.zeros((0, N_OUT))
        for rows in (self.weights, self.currents):  # as what a network holds
            rows.setflags(write=False)
        self.logs = new_log(200_000), new_log(1000)
        self.per_neuron = per_neuron

    def ours(self) -> int:
        """Sweep; the number of spikes."""
        p = self.model.compile(N_OUT, self.per_neuron)
        states = two_buffers((np.zeros(N_OUT), np.zeros(N_OUT)))
        for log in self.logs:
            log.used[0] = 0
        table = verbs.tables(verbs.prepare, p, N_EVENTS)
        coefficients(p, self.events, table)
        status = sweep(
            p, p, states, new_books(N_OUT), self.events, table, self.weights, self.currents,
            (UNTIL, 0.0), False, new_place(), new_flags(N_OUT), np.empty(N_OUT, np.int64),
            np.zeros(N_OUT), *self.logs, new_trail(states[0], 0), N_EVENTS,
        )  # fmt: skip
        if status != 0:
            raise RuntimeError(f"the sweep of a benchmark ended with status {status}")
        return int(self.logs[0].used[0])

    def limit(self) -> None:
        """The loop to compare with."""
        loop = bare_libm if self.per_neuron else bare
        tau_syn = np.full(N_OUT, 5e-3) if self.per_neuron else 5e-3
        loop(np.zeros(N_OUT), np.zeros(N_OUT), self.weights, self.rows, self.t, self.tau, tau_syn)


def layers() -> dict[str, Layer]:
    """The jobs by name: weights such that some 2000 spikes come, or none; arrays."""
    return {
        "firing": Layer(0.57, False),
        "silent": Layer(0.05, False),
        "per neuron": Layer(0.05, True),
    }


def rated(jobs: dict[str, Layer], times: dict[str, float]) -> dict[str, dict]:
    """Events per second and ratios, from the times of `<job>` and `<job>, limit`."""
    events, out = N_EVENTS * N_OUT, {}
    for name, layer in jobs.items():
        ours, limit = times[name], times[f"{name}, limit"]
        out[name] = {
            "spikes": layer.ours(),
            "events_per_s": events / ours,
            "limit_events_per_s": events / limit,
            "ratio": limit / ours,
            "seconds": ours,
        }
    extra = out["firing"]["seconds"] - out["silent"]["seconds"]
    out["firing"]["us_per_spike"] = 1e6 * extra / max(1, out["firing"]["spikes"])
    return out


def sides(jobs: dict[str, Layer]) -> dict[str, Callable[[], Any]]:
    """Every layer and its limit, to take turns."""
    found: dict[str, Callable[[], Any]] = {}
    for name, layer in jobs.items():
        found |= {name: layer.ours, f"{name}, limit": layer.limit}
    return found
