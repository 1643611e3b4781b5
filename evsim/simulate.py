"""Exact simulation of a network: population by population, each by the path that suits it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from typing import Any

import numpy as np

from evsim.delivery import Current, in_arrays, incoming, lists_of_arrivals, rows_of_events
from evsim.lists import walk
from evsim.models import verbs
from evsim.network import Network
from evsim.neuron import DONE, FULL, more_room, new_books, new_flags, new_log, new_place
from evsim.outcome import doubts_of, runaway, spikes_of
from evsim.plan import plan
from evsim.record import Record
from evsim.recurrent import run_group
from evsim.spikes import Spikes
from evsim.sweep import coefficients, sweep

TIES = ("spike_first", "arrival_first")


def simulate(
    network: Network,
    inputs,
    until: float,
    *,
    initial: dict[str, dict[str, Any]] | None = None,
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
    for name, given in (initial or {}).items():
        if name not in network.populations:
            raise ValueError(f"initial[{name!r}] is not a population")
        if not isinstance(given, dict):
            raise TypeError(f"initial[{name!r}] must be a dict of variables; got {given!r}")
    starts = {name: _initial(network, name, initial) for name in network.populations}

    def run(sample):
        return _run(network, stages, sample, float(until), starts, tie)

    workers = min(len(checked), threads or os.cpu_count() or 1)
    if workers > 1:
        # The first sample alone: it compiles what the others then share.
        first = run(checked[0])
        with ThreadPoolExecutor(workers) as pool:
            records = [first, *pool.map(run, checked[1:])]
    else:
        records = [run(sample) for sample in checked]
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


def _initial(network: Network, name: str, initial) -> tuple[np.ndarray, ...]:
    """State of a population at time 0, as the kernels count it."""
    population = network.populations[name]
    given = population.initial | (initial or {}).get(name, {})
    model, n = population.model, population.n
    if "i" in given and not model.synaptic:
        raise ValueError(f"initial[{name!r}] has no variable 'i'")
    if model.ports and "i" in given:
        given |= _by_type(name, given.pop("i"), model.ports)
    rest = np.asarray(model.rest())
    state = []
    for variable in model.state:
        leak = getattr(model, "v_leak", 0.0) if variable == "v" else 0.0
        value = np.asarray(given.pop(variable, leak), float)
        if value.shape not in ((), (n,)) or not np.isfinite(value).all():
            raise ValueError(
                f"initial[{name!r}][{variable!r}] must be finite, a number or of shape ({n},)"
            )
        value = np.broadcast_to(value, (n,))
        state.append(value - rest if variable == "v" else value.copy())
    if given:
        raise ValueError(f"initial[{name!r}] has no variable {next(iter(given))!r}")
    return tuple(state)


def _by_type(name: str, given, ports) -> dict[str, Any]:
    """Synaptic currents at time 0 by state variable, from those by synapse type."""
    known = ", ".join(map(repr, ports))
    if not isinstance(given, dict):
        raise TypeError(f"initial[{name!r}]['i'] must be a dict with any of {known}; got {given!r}")
    for key in given:
        if key not in ports:
            raise ValueError(f"initial[{name!r}]['i'] has no synapse type {key!r}, but {known}")
    return {f"i_{key}": value for key, value in given.items()}


def _run(network, stages, inputs, until, starts, tie) -> Record:
    silent = Spikes([], [])
    trains = {name: inputs.get(name, silent) for name in network.inputs}
    undecided: list[tuple[str, int, float, str]] = []
    for names, way in stages:
        if way == "sweep":
            (name,) = names
            spikes, doubts = run_population(
                network, name, trains, inputs.get(name), until, starts, tie
            )
            trains[name] = spikes
        else:
            found, doubts = run_group(network, names, trains, inputs, until, starts, tie, way)
            trains |= found
        undecided += doubts
    undecided.sort(key=lambda doubt: (doubt[2], doubt[0], doubt[1], doubt[3]))
    return Record(
        network=network,
        inputs=inputs,
        until=until,
        policies={"tie": tie},
        spikes={name: trains[name] for name in network.populations},
        undecided=undecided,
        initial=starts,
    )


def run_population(network, name, trains, current, until, starts, tie):
    """Spikes and doubts of one population, whose sources have been run."""
    population = network.populations[name]
    n = population.n
    p = population.model.compile(n, in_arrays(network, name, current))
    state = tuple(values.copy() for values in starts[name])
    books, place, end = new_books(n), new_place(), (until, 0.0)
    first = tie == "arrival_first"
    spikes, doubts = new_log(max(256, n)), new_log(64)
    if all(projection.dense for projection in incoming(network, name)):
        events, weights, currents = rows_of_events(network, name, trains, current, until)
        states = (state, tuple(np.empty(n) for _ in state))
        flags, nothing = new_flags(n), np.zeros(n)
        table = tuple(np.empty(events.hi.size) for _ in verbs.prepare(p, 0.0))
        coefficients(p, events, table)

        def go(spikes, doubts):
            return sweep(p, states, books, events, table, weights, currents, end, first,
                         place, flags, nothing, spikes, doubts)  # fmt: skip
    else:
        arrivals = lists_of_arrivals(network, name, trains, current, until)

        def go(spikes, doubts):
            return walk(p, state, books, arrivals, end, first, place, spikes, doubts)

    while (status := go(spikes, doubts)) == FULL:
        spikes, doubts = more_room(spikes), more_room(doubts)
    if status != DONE:
        raise runaway(name, int(place.neuron[0]), float(books.hi[place.neuron[0]]))
    return spikes_of(spikes, 0, n), doubts_of(doubts, name, 0, n)
