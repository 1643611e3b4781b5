"""Backward over events: the kernels of `evsim.gradient`.

Spikes and inputs are known, so nothing is searched: `replay` goes forward once through the
arrivals of every neuron and keeps its state after each of its spikes. Backward, a spike whose
every effect has been seen hands its cotangent to its neuron's costate, which then goes back over
the neuron's own events to its spike before; those events are laid out anew from the state that
was kept, so that memory follows the spikes. Equations: `evsim.models.adjoint`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.adjoint import add_to, plus, scaled
from evsim.models.tuples import dot, sum_abs
from evsim.neuron import Clock, clock_of, enter, move
from evsim.numerics import add_time, elapsed, not_before


class Tape(NamedTuple):
    """Arrivals by target neuron, those of neuron `n` being `start[n]:start[n + 1]`, in order."""

    start: Any
    hi: Any
    lo: Any
    kind: Any
    value: Any
    source: Any  # whose spike it is, of all spikes of the network; -1: of none
    synapse: Any  # of all synapses onto the population; -1: none
    driven: int  # whether external currents are among them


class Train(NamedTuple):
    """A population's spikes by neuron: those of neuron `n` are `first[n]:first[n + 1]`."""

    first: Any
    hi: Any
    lo: Any
    unit: Any
    number: Any  # of all spikes of the network
    next: Any  # (n,) the neuron's first one in the part of the run that is being replayed


class Notes(NamedTuple):
    """What `replay` keeps of every spike, and what it measures."""

    after: Any  # state after it
    stop: Any  # arrivals before it, as an index into the tape
    current: Any  # external current at it, and the sum of pulses as two doubles
    pulse: Any
    pulse_lo: Any
    peak: Any  # how far the voltage would have risen above threshold
    gap: Any  # distance to the nearest arrival
    slope: Any  # of the height above threshold, inf without a crossing
    silent: Any  # (n,) the greatest height in any interval without a spike


class Way(NamedTuple):
    """One neuron's own events from one spike to the next; entry 0 is where it starts."""

    x: Any  # state after each
    d: Any  # time since the one before
    what: Any  # index of an arrival, or `RELEASE`
    busy: Any  # whether the neuron was refractory until then
    drive: Any  # external current before it


class Sums(NamedTuple):
    """Derivatives of the loss, gathered."""

    costate: Any  # (n,) per state variable: by the state after the last event gone back to
    flow: Any  # (n,) per parameter of the flow
    reset: Any
    theta: Any  # (n,)
    t_ref: Any
    weight: Any  # (synapses,)
    delay: Any
    last: Any  # state at the end of the run
    rate: Any  # (n,) costate there times the field: by the end itself


RELEASE = -1


@inline_kernel
def at_start(books, n):
    """External current of neuron `n`."""
    return books.pulses[0, n] + books.current[n]


@kernel
def lay_out(p, n, x, clock, first, stop, limit, books, tape, way, best):
    """Lay out the own events of neuron `n` through the arrivals `first` to `stop` into `way`.

    `limit` (hi, lo) is where the way ends: a release up to there is on it. `best` is the
    greatest height so far; nan: not asked for. Returns the number of events, the clock after the
    last one, the time from there to the limit, and the greatest height.
    """
    q = verbs.pick(p, n)
    verbs.store(way.x, 0, x)
    m = 0
    for a in range(first, stop + 1):
        hi, lo = limit if a == stop else (tape.hi[a], tape.lo[a])
        if clock.busy and not_before(hi, lo, clock.free_hi, clock.free_lo):
            d = elapsed(clock.free_hi, clock.free_lo, clock.hi, clock.lo)
            x = verbs.clamp(q, verbs.interval(q, d), x)
            m += 1
            way.d[m], way.what[m], way.busy[m] = d, RELEASE, True
            verbs.store(way.x, m, x)
            clock = Clock(clock.free_hi, clock.free_lo, False, 0.0, 0.0, 0.0)
        if a == stop:
            break
        d = elapsed(hi, lo, clock.hi, clock.lo)
        c = verbs.interval(q, d)
        if clock.busy:
            x = verbs.clamp(q, c, x)
        else:
            if best == best and d > 0.0:
                best = adjoint.peak(q, x, d, best)
            x, _ = verbs.step(q, c, x)
        m += 1
        way.d[m], way.what[m], way.busy[m] = d, a, clock.busy
        kind, value = tape.kind[a], tape.value[a]
        if kind < 0:
            way.drive[m] = at_start(books, n)
            x = move(p, n, x, clock.busy, books.pulses, books.current, kind, value)
            q = verbs.pick(p, n)
        elif clock.busy:
            x = verbs.receive_clamped(q, x, kind, value)
        else:
            x = verbs.receive(q, x, kind, value)
        verbs.store(way.x, m, x)
        clock = Clock(hi, lo, clock.busy, clock.free_hi, clock.free_lo, clock.free_error)
    return m, clock, elapsed(limit[0], limit[1], clock.hi, clock.lo), best


@inline_kernel
def drive(p, n, x, busy, books):
    """Give the parameters of neuron `n` the external current that is in the books."""
    now = at_start(books, n)
    verbs.redrive(p, n, x, busy, now, now)


@inline_kernel
def clock_after(p, n, hi, lo):
    """The clock of neuron `n` right after a spike at (hi, lo)."""
    t_ref = verbs.pick(p, n).t_ref
    free_hi, free_lo = add_time(hi, lo, t_ref)
    return Clock(hi, lo, t_ref > 0.0, free_hi, free_lo, 0.0)


@inline_kernel
def arrivals_before(tape, a, end, hi, lo, with_ties):
    """The first arrival from `a` on that comes after (hi, lo), or at it unless `with_ties`."""
    while a < end:
        if not_before(tape.hi[a], tape.lo[a], hi, lo):
            tie = tape.hi[a] == hi and tape.lo[a] == lo
            if not (tie and with_ties):
                break
        a += 1
    return a


#: A voltage within this part of its terms counts as at threshold, where an arrival comes at the
#: very time of a spike and it must be told which came first.
REACHED = 1e-9


@inline_kernel
def reached(q, x, d, busy):
    """Whether a neuron gets to its threshold by itself, `d` after state `x`."""
    if busy:
        return False
    y, _ = verbs.step(q, verbs.interval(q, d), x)
    height = adjoint.height(q, y)
    return height >= -REACHED * (abs(height) + sum_abs(y))


@kernel
def measure(p, n, k, m, d, until, a, train, tape, way, notes):
    """Enter what is known of spike `k`, `d` after event `m` of the way; `a`: the next arrival."""
    q, x = verbs.pick(p, n), verbs.load(way.x, m)
    hi, lo = train.hi[k], train.lo[k]
    last = a == tape.start[n + 1]
    next_hi, next_lo = until if last else (tape.hi[a], tape.lo[a])
    ahead = elapsed(next_hi, next_lo, hi, lo)
    notes.gap[k] = np.inf if last else ahead
    since, e = d, m
    # An arrival that makes it fire is no neighbour, nor what the same spike sent besides.
    cause = tape.source[way.what[m]] if d == 0.0 and m > 0 and way.what[m] >= 0 else -2
    while e > 0 and (way.what[e] < 0 or (since == 0.0 and tape.source[way.what[e]] == cause)):
        since += way.d[e]
        e -= 1
    if e > 0:
        notes.gap[k] = min(notes.gap[k], since)
    notes.peak[k] = adjoint.peak(q, x, d + ahead, -np.inf)


@kernel
def replay(p, state, books, tape, train, until, arrival_first, to_end, way, notes):
    """Every neuron from `state` and its clock through its events up to `until`, all known.

    Without `to_end` up to its last spike only; `state` and `books` are then left as they are.
    """
    for n in range(books.current.size):
        x, clock = verbs.load(state, n), clock_of(books, n)
        a, end = tape.start[n], tape.start[n + 1]
        k = train.next[n]
        while k < train.first[n + 1] and not_before(until[0], until[1], train.hi[k], train.lo[k]):
            at = (train.hi[k], train.lo[k])
            stop = arrivals_before(tape, a, end, at[0], at[1], arrival_first)
            all_ties = arrivals_before(tape, stop, end, at[0], at[1], True)
            if all_ties > stop:
                # Whether the spike waits for them: undone, and done again below.
                before = books.current[n], books.pulses[0, n], books.pulses[1, n]
                m, then, d, _ = lay_out(p, n, x, clock, a, stop, at, books, tape, way, np.nan)
                if not reached(verbs.pick(p, n), verbs.load(way.x, m), d, then.busy):
                    stop = all_ties
                if tape.driven:
                    books.current[n], books.pulses[0, n], books.pulses[1, n] = before
                    drive(p, n, x, clock.busy, books)
            m, clock, d, notes.silent[n] = lay_out(
                p, n, x, clock, a, stop, at, books, tape, way, notes.silent[n]
            )
            measure(p, n, k, m, d, until, stop, train, tape, way, notes)
            x = verbs.fire(verbs.pick(p, n), verbs.load(way.x, m), d)
            clock = clock_after(p, n, at[0], at[1])
            verbs.store(notes.after, k, x)
            notes.stop[k] = stop
            notes.current[k] = books.current[n]
            notes.pulse[k], notes.pulse_lo[k] = books.pulses[0, n], books.pulses[1, n]
            a = stop
            k += 1
        train.next[n] = k
        if not to_end:
            continue
        nowhere = (-np.inf, 0.0)
        m, clock, _, best = lay_out(
            p, n, x, clock, a, end, nowhere, books, tape, way, notes.silent[n]
        )
        x = verbs.load(way.x, m)
        rest = elapsed(until[0], until[1], clock.hi, clock.lo)
        if not clock.busy:
            best = adjoint.peak(verbs.pick(p, n), x, rest, best)
        notes.silent[n] = best
        verbs.store(state, n, x)
        enter(books, n, clock)


@kernel
def unwind(p, n, m, lam, delta, owner, tape, train, way, sums, totals):
    """The costate of neuron `n` from after event `m` of its way back to after its start.

    `delta` belongs to event `m`; `owner` is the spike of this neuron before. Returns the costate
    and what of `delta` belongs to the start.
    """
    q = verbs.pick(p, n)
    for e in range(m, 0, -1):
        a, y = way.what[e], verbs.load(way.x, e)
        busy = way.busy[e]
        if a == RELEASE:
            delta += dot(lam, plus(adjoint.held(q, y), scaled(adjoint.drift(q, y), -1.0)))
            sums.t_ref[n] += delta
            totals[train.number[owner]] += delta
        elif tape.kind[a] >= 0:
            kind, nothing = tape.kind[a], scaled(y, 0.0)
            if busy:
                one = verbs.receive_clamped(q, nothing, kind, 1.0)
                delta += dot(lam, adjoint.lag_held(q, y, scaled(one, tape.value[a])))
            else:
                one = verbs.receive(q, nothing, kind, 1.0)
                delta += dot(lam, adjoint.lag(q, y, scaled(one, tape.value[a])))
            sums.weight[tape.synapse[a]] += dot(lam, one)
            sums.delay[tape.synapse[a]] += delta
            totals[tape.source[a]] += delta
        else:
            verbs.redrive(p, n, y, busy, way.drive[e], way.drive[e])
            q = verbs.pick(p, n)
        delta = 0.0
        x = verbs.load(way.x, e - 1)
        if busy:
            lam, by_flow = adjoint.pull_held(q, way.d[e], x, lam)
        else:
            lam, by_flow = adjoint.pull(q, way.d[e], x, lam)
        add_to(sums.flow, n, by_flow)
    return lam, delta


@inline_kernel
def start_of(p, n, k, low, state, books, tape, train, notes):
    """(state, clock, next arrival) from which the way to spike `k` of neuron `n` starts."""
    if k > low[n]:
        x = verbs.load(notes.after, k - 1)
        clock = clock_after(p, n, train.hi[k - 1], train.lo[k - 1])
        return x, clock, notes.stop[k - 1]
    return verbs.load(state, n), clock_of(books, n), tape.start[n]


@inline_kernel
def drive_as_then(p, n, k, low, x, clock, start, books, notes):
    """Set the external current of neuron `n` to what it was where the way to spike `k` starts."""
    if k > low[n]:
        books.current[n] = notes.current[k - 1]
        books.pulses[0, n], books.pulses[1, n] = notes.pulse[k - 1], notes.pulse_lo[k - 1]
    else:
        books.current[n] = start.current[n]
        books.pulses[0, n], books.pulses[1, n] = start.pulses[0, n], start.pulses[1, n]
    drive(p, n, x, clock.busy, books)


@kernel
def ends(p, state, start, books, tape, train, low, until, final, way, notes, sums, totals):
    """Every neuron from the end of a part of the run back to its last spike in it.

    `final`: the costate belongs to `until` (n,), where the run ends for each neuron; else to the
    last event.
    """
    for n in range(low.size):
        k = train.next[n]
        x, clock, a = start_of(p, n, k, low, state, start, tape, train, notes)
        if tape.driven:
            drive_as_then(p, n, k, low, x, clock, start, books, notes)
        limit = (until[n], 0.0) if final else (-np.inf, 0.0)
        m, clock, d, _ = lay_out(
            p, n, x, clock, a, tape.start[n + 1], limit, books, tape, way, np.nan
        )
        lam = verbs.load(sums.costate, n)
        if final:
            q, x = verbs.pick(p, n), verbs.load(way.x, m)
            c = verbs.interval(q, d)
            if clock.busy:
                y = verbs.clamp(q, c, x)
                sums.rate[n] = dot(lam, adjoint.held(q, y))
                lam, by_flow = adjoint.pull_held(q, d, x, lam)
            else:
                y, _ = verbs.step(q, c, x)
                sums.rate[n] = dot(lam, adjoint.drift(q, y))
                lam, by_flow = adjoint.pull(q, d, x, lam)
            verbs.store(sums.last, n, y)
            add_to(sums.flow, n, by_flow)
        lam, _ = unwind(p, n, m, lam, 0.0, k - 1, tape, train, way, sums, totals)
        verbs.store(sums.costate, n, lam)


@kernel
def backward(p, order, state, start, books, tape, train, low, way, notes, sums, totals):
    """Through the spikes `order` of a population, each after all that it has caused.

    `low` (n,) is each neuron's first spike in this part of the run; `state` and `start` are
    the states and books at its beginning.
    """
    for k in order:
        n = train.unit[k]
        x, clock, a = start_of(p, n, k, low, state, start, tape, train, notes)
        if tape.driven:
            drive_as_then(p, n, k, low, x, clock, start, books, notes)
        at = (train.hi[k], train.lo[k])
        m, clock, d, _ = lay_out(p, n, x, clock, a, notes.stop[k], at, books, tape, way, np.nan)
        q, x, z = verbs.pick(p, n), verbs.load(way.x, m), verbs.load(notes.after, k)
        lam = verbs.load(sums.costate, n)
        if q.t_ref == 0.0:  # by making it positive
            waits = plus(adjoint.held(q, z), scaled(adjoint.drift(q, z), -1.0))
            sums.t_ref[n] += dot(lam, waits)
        lam, by_flow, by_reset, by_theta, slope, delta = adjoint.pull_spike(
            q, d, x, z, lam, totals[train.number[k]], d == 0.0
        )
        notes.slope[k] = np.inf if d == 0.0 else slope
        add_to(sums.flow, n, by_flow)
        add_to(sums.reset, n, by_reset)
        sums.theta[n] += by_theta
        lam, delta = unwind(p, n, m, lam, delta, k - 1, tape, train, way, sums, totals)
        verbs.store(sums.costate, n, lam)
        if k > low[n]:
            totals[train.number[k - 1]] += delta
