"""The true run where float64 has lost it: from proved states onwards, again and again.

A simulation that starts from a proved state is right for as long as its own errors take to grow to
the smallest gap between two events. So the proof of what has been found hands its state, just
before the first false event, to the simulator, which goes on from there; the whole is proved anew,
and what is new in it up to the next false event counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.delivery import Current
from evsim.neuron import new_books
from evsim.numerics import add_time
from evsim.proof.numbers import split
from evsim.record import Record
from evsim.spikes import Spikes
from evsim.start import Snapshot

if TYPE_CHECKING:
    from evsim.proof.verdict import Certificate

#: How far before the first false event a run starts anew, as a part of what has been won; the
#: next tries go further back.
BACK = (0.01, 0.05, 0.2, 0.5)


def truth_of(record: Record, found: Certificate, until: float, precision) -> Record:
    """A record of the true spikes; its certificate says how far they could be proved.

    Raises
    ------
    ValueError
        If a population has states that a run cannot start from: it is named.
    """
    for name, population in record.network.populations.items():
        model: Any = population.model
        if not model.spiking or any(len(part) != 1 for part in model.linear().state):
            raise ValueError(f"population {name!r}: no true continuation of {type(model).__name__}")
        if model.refractory != "clamp" and np.any(np.asarray(model.t_ref) > 0):
            raise ValueError(
                f"population {name!r}: no true continuation with refractory={model.refractory!r}"
            )
    for projection in record.network.projections.values():
        if projection.pulse_width is not None:
            raise ValueError(f"projection {projection.name!r}: no true continuation of pulses")
    since, whole = 0.0, replace(record, until=until)
    while found.status != "PROVED":
        new = _from_before(whole, found, since, until, precision)
        if new is None:
            break
        since, whole, found = new
    return replace(whole, certificate=found, undecided=[], final=None)


def _from_before(whole: Record, found: Certificate, since: float, until: float, precision):
    """(start, record, certificate) of a run from a proved state before the first false event."""
    from evsim.proof.certify import certify
    from evsim.simulate import simulate

    won = found.proved_until - since
    for part in BACK:
        start = found.proved_until - part * won
        if not since < start < found.proved_until:
            continue
        before = certify(whole, precision=precision, until=start)
        if before.status != "PROVED":
            continue
        past = _as_run(whole, before, start)
        later = {name: _after(value, start) for name, value in whole.inputs.items()}
        policies = whole.policies
        went = simulate(whole.network, later, until, resume=past, tie=policies["tie"],
                        multi=policies["multi"])  # fmt: skip
        went = replace(went, inputs=whole.inputs, initial=whole.initial)
        verdict = certify(went, precision=precision)
        if verdict.status == "PROVED" or verdict.proved_until > found.proved_until:
            return start, went, verdict
    return None


def _as_run(whole: Record, before: Certificate, start: float) -> Record:
    """What has been proved up to a time, as a run that ended there."""
    spikes, final = {}, {}
    ends, first = before.outcome.ends, before.problem.first
    for name, proved in before.spikes.items():
        pairs = np.array([split(t) for t in proved.times]).reshape(-1, 2)
        spikes[name] = Spikes(pairs[:, 0], proved.units, times_lo=pairs[:, 1])
        n = whole.network.size(name)
        final[name] = _snapshot(whole, name, ends[first[name] : first[name] + n])
    inputs = {name: _after(value, start, True) for name, value in whole.inputs.items()}
    return replace(whole, until=start, spikes=spikes, final=final, inputs=inputs, undecided=[])


def _snapshot(whole: Record, name: str, ends: np.recarray) -> Snapshot:
    """The states of a population at the last own events of its neurons."""
    model: Any = whole.network.populations[name].model
    n, order = ends.size, model.linear().state
    state = [np.zeros(n) for _ in whole.initial[name]]
    for k, (place,) in enumerate(order):
        state[place] = ends.x.hi[:, k].copy()
    books = new_books(n)
    times = [add_time(q.hi, q.lo, q.off) for q in ends]
    books.hi[:], books.lo[:] = np.array(times).T
    books.busy[:n], books.current[:] = ends.busy, ends.drive
    for k in np.flatnonzero(ends.last >= 0).tolist():
        q = ends[k]
        books.free_hi[k], books.free_lo[k] = add_time(q.free_hi, q.free_lo, q.free_off)
    return Snapshot(tuple(state), books)


def _after(value, start: float, before: bool = False):
    """Inputs after a time, or those up to it."""
    hi, lo = value.pairs() if isinstance(value, Current) else (value.times, value.times_lo)
    keep = ((hi > start) | ((hi == start) & (lo > 0.0))) != before
    if isinstance(value, Current):
        return Current(value.times[keep], value.values[keep], value.dt)
    return Spikes(hi[keep], value.units[keep], times_lo=lo[keep])
