"""Exact simulation of a network: population by population, each by the path that suits it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from evsim.delivery import Current, in_arrays, incoming, lists_of_arrivals, rows_of_events
from evsim.lists import walk
from evsim.models import verbs
from evsim.network import Network
from evsim.neuron import DONE, FULL, more_room, new_flags, new_log, new_place
from evsim.outcome import doubts_of, runaway, spikes_of
from evsim.plan import plan
from evsim.record import Record
from evsim.recurrent import run_group
from evsim.spikes import Spikes, joined
from evsim.start import (
    Job,
    Snapshot,
    as_at_first,
    checked_past,
    drive_again,
    initial_states,
    later_only,
    together,
)
from evsim.sweep import coefficients, sweep

TIES = ("spike_first", "arrival_first")


def simulate(
    network: Network,
    inputs,
    until: float,
    *,
    initial: dict[str, dict[str, Any]] | None = None,
    resume=None,
    certify: bool = False,
    threads: int | None = None,
    tie: str = "spike_first",
    path: str = "auto",
):
    """Run a network exactly.

    Parameters
    ----------
    network : Network
        Of any graph; cycles without delay are run instant by instant.
    inputs : dict, or list of dicts for a batch
        Input name to `Spikes`, and population name to `Current`. An input left out is silent.
    until : float
        The run covers [0, until] [s].
    initial : dict of dicts, optional
        Population to state, e.g. `{"hidden": {"v": 0.2, "i": 0.0}}`, numbers or one per
        neuron; `"i"` is a dict by synapse type where there are several. Default: what the
        population was added with, else v at `v_leak` (0 for `IF`) and 0 for the rest.
    resume : Record, or list of them for a batch, optional
        Go on where it ended, bit for bit as if run at once: `inputs` are only those after its
        `until`, and the answer holds the whole run.
    certify : bool, optional
        Prove the spikes too: `record.certificate`, as of `evsim.certify`.
    threads : int, optional
        Samples of a batch that run at once; default all processors. Does not change a bit of
        the result.
    tie : {"spike_first", "arrival_first"}, optional
        What happens first where an arrival comes at the very time of a spike.
    path : {"auto", "sweep", "window", "queue"}, optional
        How to go through time; the answer has the same bits. `evsim.plan` says which suits
        which network, and what refuses which.

    Returns
    -------
    Record, or a list of them for a batch

    Raises
    ------
    ValueError, TypeError
        Naming argument, index and value.
    ZenoError
        If a neuron stays above threshold after its reset and has no refractory period.

    Notes
    -----
    No spike is missed: existence is decided by a theorem (`evsim.models.crossing`), not by a
    scan. Spike times are those of float64 arithmetic on the states at a neuron's own events;
    decisions that lie within its rounding are listed in `record.undecided`.
    """
    if isinstance(until, bool) or not isinstance(until, Real):
        raise TypeError(f"until must be a number; got {until!r}")
    if not 0 <= until < np.inf:
        raise ValueError(f"until must be finite and non-negative; got {until}")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads must be a positive integer; got {threads!r}")
    if tie not in TIES:
        raise ValueError(f"tie must be one of {', '.join(map(repr, TIES))}; got {tie!r}")
    network = network.copy()
    stages = plan(network, path)
    samples = inputs if isinstance(inputs, list | tuple) else [inputs]
    checked = [checked_inputs(network, sample) for sample in samples]
    past = checked_past(network, resume, initial, len(samples), float(until), tie)
    starts = initial_states(network, initial)

    def run(sample, before):
        whole, since, at = sample, None, starts
        if before is not None:
            later_only(sample, before.until)
            whole = together(before.inputs, sample)
            if before.final is None:  # it comes from a file: all again
                at, before = as_at_first(before), None
            else:
                at, since = before.final, before.until
        trains = {name: whole.get(name, Spikes([], [])) for name in network.inputs}
        if before is not None:
            trains |= before.spikes
        job = Job(network, trains, whole, since, float(until), tie == "arrival_first", at)
        return _run(job, stages, whole, before)

    workers = min(len(checked), threads or os.cpu_count() or 1)
    if workers > 1:
        # The first sample alone: it compiles what the others then share.
        first = run(checked[0], past[0])
        with ThreadPoolExecutor(workers) as pool:
            records = [first, *pool.map(run, checked[1:], past[1:])]
    else:
        records = [run(*pair) for pair in zip(checked, past, strict=True)]
    if certify:
        from evsim.proof.certify import certify as proof_of

        records = [replace(record, certificate=proof_of(record)) for record in records]
    return records if isinstance(inputs, list | tuple) else records[0]


def checked_inputs(network: Network, inputs) -> dict[str, Spikes | Current]:
    """One sample's inputs, each of the right kind and size; a copy."""
    if not isinstance(inputs, dict):
        raise TypeError(f"inputs must be a dict, or a list of dicts; got {type(inputs).__name__}")
    for name, value in inputs.items():
        if name in network.inputs:
            if not isinstance(value, Spikes):
                raise TypeError(f"inputs[{name!r}] must be Spikes; got {type(value).__name__}")
            if len(value) and value.units.max() >= network.inputs[name]:
                k = int(np.argmax(value.units >= network.inputs[name]))
                raise ValueError(
                    f"inputs[{name!r}].units[{k}] must lie in 0..{network.inputs[name] - 1}; "
                    f"got {value.units[k]}"
                )
        elif name in network.populations:
            if not isinstance(value, Current):
                raise TypeError(
                    f"inputs[{name!r}] is for a population and must be a Current; "
                    f"got {type(value).__name__}"
                )
            value.rows(network.size(name), name)
        else:
            known = ", ".join([*network.inputs, *network.populations])
            raise ValueError(f"inputs[{name!r}] is none of {known}")
    return dict(inputs)


def _run(job: Job, stages, inputs, past: Record | None) -> Record:
    """Group by group; what a run that goes on has found before comes first."""
    undecided: list[tuple[str, int, float, str]] = []
    final: dict[str, Snapshot] = {}
    for names, way in stages:
        found, doubts, ends = (
            run_population(job, *names) if way == "sweep" else run_group(job, names, way)
        )
        for name, spikes in found.items():
            job.trains[name] = joined(past.spikes[name], spikes) if past else spikes
        undecided += doubts
        final |= ends
    if past is not None:  # the end of the first part is none of the whole
        undecided += [doubt for doubt in past.undecided if doubt[3] != "tie"]
    undecided = sorted(set(undecided), key=lambda doubt: (doubt[2], doubt[0], doubt[1], doubt[3]))
    return Record(
        network=job.network,
        inputs=inputs,
        until=job.until,
        policies={"tie": "arrival_first" if job.arrival_first else "spike_first"},
        spikes={name: job.trains[name] for name in job.network.populations},
        undecided=undecided,
        initial=past.initial if past else {name: s.state for name, s in job.starts.items()},
        final=final,
    )


def run_population(job: Job, name: str):
    """One population whose sources have been run: its spikes, doubts and final state, by name."""
    network, trains, current = job.network, job.trains, job.inputs.get(name)
    population = network.populations[name]
    n = population.n
    p = population.model.compile(n, in_arrays(network, name, current))
    state, books = job.starts[name].copy()
    drive_again(p, state, books)
    place, end, first = new_place(), (job.until, 0.0), job.arrival_first
    place.within[0] = job.since is not None
    spikes, doubts = new_log(max(256, n)), new_log(64)
    states = (state, tuple(np.empty(n) for _ in state))
    times = (job.since, job.until)
    if all(projection.dense for projection in incoming(network, name)):
        events, weights, currents = rows_of_events(network, name, trains, current, *times)
        flags, nothing = new_flags(n), np.zeros(n)
        table = tuple(np.empty(events.hi.size) for _ in verbs.prepare(p, 0.0))
        coefficients(p, events, table)

        def go(spikes, doubts):
            return sweep(p, states, books, events, table, weights, currents, end, first,
                         place, flags, nothing, spikes, doubts)  # fmt: skip
    else:
        place.within[0] = 0
        arrivals = lists_of_arrivals(network, name, trains, current, *times)

        def go(spikes, doubts):
            return walk(p, state, books, arrivals, end, first, place, spikes, doubts)

    while (status := go(spikes, doubts)) == FULL:
        spikes, doubts = more_room(spikes), more_room(doubts)
    if status != DONE:
        raise runaway(name, int(place.neuron[0]), float(books.hi[place.neuron[0]]))
    end_state = Snapshot(states[place.turn[0]], books)
    return {name: spikes_of(spikes, 0, n)}, doubts_of(doubts, name, 0, n), {name: end_state}
