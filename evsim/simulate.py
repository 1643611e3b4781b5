"""Exact simulation of a network: population by population, each by the path that suits it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from evsim.arrivals import arrivals_in_blocks
from evsim.delivery import Current, in_arrays, incoming, rows_of_events
from evsim.lists import walk
from evsim.models import verbs
from evsim.network import Network
from evsim.neuron import DONE, FULL, more_room, new_flags, new_log, new_place
from evsim.outcome import doubts_of, runaway, spikes_of
from evsim.plan import plan
from evsim.progress import Meter, Progress, meter
from evsim.record import Record
from evsim.recurrent import run_group
from evsim.spikes import SILENT, Spikes, joined
from evsim.start import (
    Job,
    Snapshot,
    as_at_first,
    checked_past,
    drive_again,
    held,
    initial_states,
    later_only,
    together,
)
from evsim.sweep import (
    GOING,
    Evidence,
    coefficients,
    longer,
    new_trail,
    sweep,
    two_buffers,
)

#: What comes first where an arrival is at the time of a spike; several spikes at one instant.
POLICIES = {"tie": ("spike_first", "arrival_first"), "multi": ("repeat", "hold")}
#: Neurons for which a thread is worth its while.
LARGE = 2000
#: Synaptic events of a dense sweep after which it reports and lets Ctrl-C through: a tenth of a
#: second.
BREATH = 1e8


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
    multi: str = "repeat",
    path: str = "auto",
    progress: bool | Progress = False,
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
        Samples of a batch that run at once; a recurrent network that is alone, or one of few, is
        divided among those that are left, at most one for each processor and for every 2000
        neurons. Default: all processors. Does not change a bit of the result.
    tie : {"spike_first", "arrival_first"}, optional
        What happens first where an arrival comes at the very time of a spike.
    multi : {"repeat", "hold"}, optional
        What a neuron without refractory period does that is at or above threshold at the very
        instant of a spike of its own. "repeat": it fires again, and so on until it is below.
        "hold": it fires at most once at one instant; it then fires at its next own event (an
        arrival, or a step of its current) if it still is at or above threshold after that, or
        where its voltage, having sunk below by itself, comes to threshold again.
    path : {"auto", "sweep", "window", "queue"}, optional
        How to go through time; the answer has the same bits. `evsim.plan` says which suits
        which network, and what refuses which.
    progress : bool or callable, optional
        True shows a bar on standard error, on a terminal only; a callable is called as
        `progress(done, total, what)` as work goes on, not always by this thread. Default: silent.

    Returns
    -------
    Record, or a list of them for a batch

    Raises
    ------
    ValueError, TypeError
        Naming argument, index and value.
    ZenoError
        With `multi="repeat"`: if a neuron would fire at one instant for ever, because a spike
        does not bring its voltage down (as with `v_reset` at or above `v_th`), or because a
        cycle without delay lifts it again each time.

    Notes
    -----
    No spike is missed: existence is decided by a theorem (`evsim.models.crossing`), not by a
    scan. Spike times are those of float64 arithmetic on the states at a neuron's own events;
    decisions that lie within its rounding are listed in `record.undecided`.
    """
    _check_numbers(until, threads)
    policies = {"tie": tie, "multi": multi}
    network = network.copy()
    check_policies(network, policies)
    stages = plan(network, path)
    samples = inputs if isinstance(inputs, list | tuple) else [inputs]
    checked = [checked_inputs(network, sample) for sample in samples]
    past = checked_past(network, resume, initial, len(samples), float(until), policies)
    starts = initial_states(network, initial)

    def run(pair):
        """One sample, and the record that it goes on from, if any."""
        sample, before = pair
        whole, since, at = sample, None, starts
        if before is not None:
            later_only(sample, before.until)
            whole = together(before.inputs, sample)
            if before.final is None:  # it comes from a file: all again
                at, before = as_at_first(before), None
            else:
                at, since = before.final, before.until
        trains = {name: whole.get(name, SILENT) for name in network.inputs}
        if before is not None:
            trains |= before.spikes
        first, hold = tie == "arrival_first", multi == "hold"
        job = Job(network, trains, whole, since, float(until), first, at, hold, share)
        job.guarded = _guard() if certify and before is None else None
        record = _run(job, stages, whole, before, policies, shown)
        return _proved(record, job.evidence) if certify else record

    processors = threads or os.cpu_count() or 1
    workers = max(1, min(len(checked), processors))
    share = processors_for(network, min(processors, os.cpu_count() or 1) // workers)
    with meter(progress, "simulating", len(stages) * len(samples)) as shown:
        records = _in_parallel(run, [*zip(checked, past, strict=True)], workers)
    return records if isinstance(inputs, list | tuple) else records[0]


def _guard():
    """How a sweep that is to be proved flags its neurons."""
    from evsim.proof.layer import guarded

    return guarded


def _proved(record: Record, evidence) -> Record:
    """The record with its certificate, by what its sweeps have kept where that suffices."""
    from evsim.proof.beside import certificate_of
    from evsim.proof.certify import certify

    return replace(record, certificate=certificate_of(record, evidence) or certify(record))


def _check_numbers(until: float, threads: int | None) -> None:
    """Refuse an end, or a number of threads, that cannot be."""
    if isinstance(until, bool) or not isinstance(until, Real):
        raise TypeError(f"until must be a number; got {until!r}")
    if not 0 <= until < np.inf:
        raise ValueError(f"until must be finite and non-negative; got {until}")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads must be a positive integer; got {threads!r}")


def _in_parallel(run, samples, workers: int) -> list[Record]:
    """The records of samples, in order; after an error, or Ctrl-C, none is begun."""
    if workers <= 1:
        return [run(sample) for sample in samples]
    # The first sample alone: it compiles what the others then share.
    first = run(samples[0])
    pool = ThreadPoolExecutor(workers)
    try:
        return [first, *pool.map(run, samples[1:])]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def processors_for(network: Network, most: int) -> int:
    """How many threads a network is worth: parts that are too small only wait for one another."""
    return max(1, min(most, sum(p.n for p in network.populations.values()) // LARGE))


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


def check_policies(network: Network, policies: dict[str, str]) -> None:
    """Refuse policies that do not exist, or not for a population of the network."""
    for key, value in policies.items():
        if value not in POLICIES[key]:
            allowed = ", ".join(map(repr, POLICIES[key]))
            raise ValueError(f"{key} must be one of {allowed}; got {value!r}")
    for name, population in network.populations.items():
        if policies["multi"] == "hold" and (why := population.model.no_hold):
            raise ValueError(f"multi='hold' is not for population {name!r}: {why}")


def _run(job: Job, stages, inputs, past: Record | None, policies, meter: Meter) -> Record:
    """Group by group; what a run that goes on has found before comes first."""
    undecided: list[tuple[str, int, float, str]] = []
    final: dict[str, Snapshot] = {}
    for names, way in stages:
        job.tell = meter.part(", ".join(names))
        found, doubts, ends = (
            run_population(job, *names) if way == "sweep" else run_group(job, names, way)
        )
        job.tell(1.0)
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
        policies=policies,
        spikes={name: job.trains[name] for name in job.network.populations},
        undecided=undecided,
        initial=past.initial if past else {name: s.state for name, s in job.starts.items()},
        final=final,
    )


def run_population(job: Job, name: str):
    """One population whose sources have been run: its spikes, doubts and final state, by name."""
    dense = all(projection.dense for projection in incoming(job.network, name))
    n, end = job.network.size(name), (sweep_events if dense else walk_arrivals)(job, name)
    spikes, doubts, state, books = end
    return (
        {name: spikes_of(spikes, 0, n)},
        doubts_of(doubts, name, 0, n),
        {name: Snapshot(state, books)},
    )


def start_of(job: Job, name: str):
    """Kernel parameters, state and books of a population at its start."""
    population = job.network.populations[name]
    arrays = in_arrays(job.network, name, job.inputs.get(name))
    p = held(population.model.compile(population.n, arrays), job.hold)
    state, books = job.starts[name].copy()
    drive_again(p, state, books)
    return p, state, books


def sweep_events(job: Job, name: str):
    """A population whose every event reaches every neuron: logs of spikes and doubts, and end."""
    p, state, books = start_of(job, name)
    n, times = books.current.size, (job.since, job.until)
    states, place = two_buffers(state), new_place()
    place.within[0] = job.since is not None
    events, weights, currents = rows_of_events(
        job.network, name, job.trains, job.inputs.get(name), *times
    )
    flags, found, nothing = new_flags(n), np.empty(n, np.int64), np.zeros(n)
    table = verbs.tables(verbs.prepare, p, events.hi.size)
    coefficients(p, events, table)
    guard, trail, stride = p, new_trail(state, 0), int(BREATH / n) + 1
    if job.guarded is not None and (lower := job.guarded(p)) is not None:
        guard, trail = lower, new_trail(state, 8 * n + 1024)

    def go(spikes, doubts):
        nonlocal trail
        if 0 < trail.unit.size == trail.used[0]:
            trail = longer(trail)
        while True:
            limit = int(place.event[0]) + stride
            status = sweep(p, guard, states, books, events, table, weights, currents,
                           (job.until, 0.0), job.arrival_first, place, flags, found, nothing,
                           spikes, doubts, trail, limit)  # fmt: skip
            if status != GOING:
                return status
            job.tell(int(place.event[0]) / events.hi.size)

    spikes, doubts = to_the_end(go, name, books, place, new_log(max(256, n)), new_log(64))
    if guard is not p:
        job.evidence[name] = Evidence(p, state, events, weights, table, trail)
    return spikes, doubts, states[place.turn[0]], books


def walk_arrivals(job: Job, name: str):
    """A population of any input, neuron by neuron: as `sweep_events`."""
    p, state, books = start_of(job, name)
    spikes, doubts = new_log(max(256, books.current.size)), new_log(64)
    current, times = job.inputs.get(name), (job.since, job.until)
    for first, last, arrivals in arrivals_in_blocks(job.network, name, job.trains, current, *times):
        place, part, span = new_place(), arrivals, (first, last)

        def go(spikes, doubts, place=place, part=part, span=span):
            return walk(p, state, books, span, part, (job.until, 0.0), job.arrival_first,
                        place, spikes, doubts)  # fmt: skip

        spikes, doubts = to_the_end(go, name, books, place, spikes, doubts)
        job.tell(last / books.current.size)
    return spikes, doubts, state, books


def to_the_end(go, name, books, place, spikes, doubts):
    """The logs after `go` has ended, which gets more room as long as it asks for it."""
    while (status := go(spikes, doubts)) == FULL:
        spikes, doubts = more_room(spikes), more_room(doubts)
    if status != DONE:
        raise runaway(name, int(place.neuron[0]), float(books.hi[place.neuron[0]]))
    return spikes, doubts
