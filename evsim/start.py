"""Where a run starts: from initial values, or from where another run ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evsim.delivery import Current
from evsim.jit import kernel
from evsim.models import verbs
from evsim.network import Network
from evsim.neuron import HOLD, Books, new_books
from evsim.spikes import Spikes, joined

if TYPE_CHECKING:
    from evsim.record import Record


class Snapshot(NamedTuple):
    """A population at the last own events of its neurons."""

    state: tuple[np.ndarray, ...]
    books: Books

    def copy(self) -> tuple[tuple[np.ndarray, ...], Books]:
        """Arrays of its own."""
        return tuple(v.copy() for v in self.state), Books(*(v.copy() for v in self.books))


@dataclass
class Job:
    """One sample to run: `trains` grows by the spikes of every group that has been run."""

    network: Network
    trains: dict[str, Spikes]
    inputs: dict[str, Any]
    since: float | None  # the end of what has been run before
    until: float
    arrival_first: bool
    starts: dict[str, Snapshot]
    hold: bool = False  # at most one spike of a neuron at one instant
    threads: int = 1  # that a group of populations may use; does not change a bit
    guarded: Callable[[Any], Any] | None = None  # flags for a proof, where there is to be one
    evidence: dict[str, Any] = field(default_factory=dict)  # what it wants of sweeps
    tell: Callable[[float], None] = lambda fraction: None  # how far the present group has come


def held(p, hold: bool):
    """Kernel parameters with the policy of several spikes at one instant, `Job.hold`."""
    if not hold:
        return p
    t_ref = np.where(np.asarray(p.t_ref) > 0.0, p.t_ref, HOLD)
    return p._replace(t_ref=t_ref if t_ref.ndim else float(t_ref))


@kernel
def _drive_again(p, state, books):
    for n in range(books.current.size):
        drive = books.pulses[0, n] + books.current[n]
        verbs.redrive(p, n, verbs.load(state, n), books.busy[n] != 0, drive, drive)


def drive_again(p, state, books: Books) -> None:
    """Give the kernel parameters the external currents that are in the books."""
    if books.current.any() or books.pulses.any():
        _drive_again(p, state, books)


def initial_states(network: Network, initial) -> dict[str, Snapshot]:
    """The populations at time 0.

    Raises
    ------
    ValueError, TypeError
        Naming population, variable and value.
    """
    for name, given in (initial or {}).items():
        if name not in network.populations:
            raise ValueError(f"initial[{name!r}] is not a population")
        if not isinstance(given, dict):
            raise TypeError(f"initial[{name!r}] must be a dict of variables; got {given!r}")
    return {
        name: Snapshot(_state(network, name, initial), new_books(population.n))
        for name, population in network.populations.items()
    }


def _state(network: Network, name: str, initial) -> tuple[np.ndarray, ...]:
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


def checked_past(network: Network, resume, initial, samples: int, until: float, policies):
    """One record to go on from per sample, or None for each.

    Raises
    ------
    ValueError, TypeError
        If it does not fit what is to be run.
    """
    if resume is None:
        return [None] * samples
    if initial:
        raise ValueError("initial is for the start of a run; resume goes on with what there was")
    past = list(resume) if isinstance(resume, list | tuple) else [resume]
    if len(past) != samples:
        raise ValueError(f"resume has {len(past)} records for {samples} samples")
    for record in past:
        if not hasattr(record, "policies"):
            raise TypeError(f"resume must be a Record; got {record!r}")
        if not _same(network, record.network):
            raise ValueError("resume is a run of another network; pass its own, record.network")
        for key, value in policies.items():
            if (its := record.policies.get(key, "repeat")) != value:
                raise ValueError(f"resume was run with {key}={its!r}; got {value!r}")
        if record.until > until:
            raise ValueError(f"until={until} lies before the end of resume, {record.until}")
    return past


def as_at_first(record: Record) -> dict[str, Snapshot]:
    """The populations at the start of a run."""
    return {
        name: Snapshot(state, new_books(record.network.size(name)))
        for name, state in record.initial.items()
    }


def _same(a: Network, b: Network) -> bool:
    """Whether two networks are copies of one another."""
    return a.inputs == b.inputs and all(
        list(ours) == list(its) and all(ours[name] is its[name] for name in ours)
        for ours, its in ((a.populations, b.populations), (a.projections, b.projections))
    )


def later_only(inputs: dict[str, Any], since: float) -> None:
    """Refuse inputs of a resumed run that the part before should have had."""
    for name, value in inputs.items():
        hi, lo = value.pairs() if isinstance(value, Current) else (value.times, value.times_lo)
        early = (hi < since) | ((hi == since) & (lo <= 0.0))
        if early.any():
            k = int(np.argmax(early))
            raise ValueError(
                f"inputs[{name!r}].times[{k}] must come after the end of resume, {since}; "
                f"got {hi[k]}"
            )


def together(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Inputs of two parts of a run."""
    return {
        name: before[name]
        if name not in after
        else after[name]
        if name not in before
        else _both(before[name], after[name])
        for name in before | after
    }


def _both(a, b):
    if isinstance(a, Spikes):
        return joined(a, b)
    if not a.times.size or not b.times.size:
        return b if b.times.size else a
    columns = [x.values if x.values.ndim == 2 else x.values[:, None] for x in (a, b)]
    n = max(c.shape[1] for c in columns)
    values = [np.broadcast_to(c, (len(c), n)) for c in columns]
    if a.dt == b.dt:
        return Current(np.concatenate([a.times, b.times]), np.concatenate(values), a.dt)
    if any(x.pairs()[1].any() for x in (a, b)):
        raise ValueError("the currents of both parts of a resumed run must share one grid")
    return Current(np.concatenate([a.pairs()[0], b.pairs()[0]]), np.concatenate(values))
