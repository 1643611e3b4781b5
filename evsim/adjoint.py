"""Backward over events: the kernels of `evsim.gradient`.

After `evsim.replay`. A spike whose every effect has been seen hands its cotangent to its neuron's
costate, which then goes back over the neuron's own events to its spike before; those events are
laid out anew from the state that was kept. Equations: `evsim.models.adjoint`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.adjoint import add_to, plus, scaled
from evsim.models.tuples import dot, sum_abs
from evsim.neuron import CURRENT, PULSE_ON
from evsim.order import fetch_all, index
from evsim.replay import arrival_at, at_start, drive_as_then, lay_out, start_of
from evsim.tape import bring_near, delay_of, kind_of, source_of, synapse_of


class Sums(NamedTuple):
    """Derivatives of the loss, gathered."""

    costate: Any  # (n,) per state variable: by the state after the last event gone back to
    flow: Any  # (n,) per parameter of the flow
    reset: Any
    theta: Any  # (n,)
    t_ref: Any
    weight: Any  # (synapses,)
    delay: Any  # see `evsim.tape.Feed`
    level: Any  # (n,) of what is read besides the state: by the level that it is counted from
    drive: Any  # (currents,) by the values of external currents
    edge: Any  # (currents,) and by their times
    last: Any  # state at the end of the run
    rate: Any  # (n,) costate there times the field: by the end itself


@kernel
def pull_coefficients(q, d, pull):
    """As `evsim.replay.flow_coefficients`, of the costate."""
    for e in range(d.size):
        verbs.store(pull, e, adjoint.prepare(q, d[e]))


@kernel
def unwind(p, n, course, lam, delta, owner, now, tape, train, way, sums, totals):
    """The costate of neuron `n` from after the last event of its way back to after its start.

    `delta` belongs to that event; `owner` is the spike of this neuron before, `now` the external
    current after the event. Returns the costate and what of `delta` belongs to the start.
    """
    q, flow, m = verbs.pick(p, n), verbs.load(sums.flow, n), course.size
    pull_coefficients(q, way.d[1 : m + 1], verbs.cut(way.pull, 1, m + 1))
    for e in range(m, course.held, -1):
        q, now = leave(p, q, n, e, False, lam, delta, now, course, flow, tape, way, sums, totals)
        delta = 0.0
        x = verbs.load(way.x, index(e - 1))
        lam, by_flow = adjoint.pull_own(q, verbs.load(way.pull, index(e)), x, lam)
        flow = plus(flow, by_flow)
    for e in range(course.held, 0, -1):
        if e == course.release:
            y = verbs.load(way.x, e)
            delta += dot(lam, plus(adjoint.held(q, y), scaled(adjoint.drift(q, y), -1.0)))
            sums.t_ref[n] += delta
            totals[train.number[owner]] += delta
        else:
            q, now = leave(p, q, n, e, True, lam, delta, now, course, flow, tape, way, sums, totals)
        delta = 0.0
        lam, by_flow = adjoint.pull_held(q, way.d[e], verbs.load(way.x, e - 1), lam)
        flow = plus(flow, by_flow)
    verbs.store(sums.flow, n, flow)
    return lam, delta


@inline_kernel
def leave(p, q, n, e, busy, lam, delta, now, course, flow, tape, way, sums, totals):
    """Hand out the derivatives by the arrival that is event `e`, and `delta` of it; (parameters,
    external current) before it."""
    a, y = arrival_at(course, e), verbs.load(way.x, index(e))
    kind, s = kind_of(tape, a), synapse_of(tape, a)
    if kind < 0:
        pulsed, then = kind != CURRENT, way.drive[e]
        gift, late = step_of_level(p, n, y, lam, busy, pulsed, now, then, flow, sums)
        give_edge(n, a, gift, delta + late, tape, sums, totals)
        return verbs.pick(p, n), then
    if busy:
        gift, late = arrival_held(q, kind, tape.value[s], y, lam)
    else:
        gift, late = adjoint.arrival(q, kind, tape.value[s], y, lam)
    sums.weight[s] += gift
    sums.delay[delay_of(tape, a)] += delta + late
    totals[source_of(tape, a)] += delta + late
    return q, now


@inline_kernel
def field(q, x, busy):
    """What the state changes by per time."""
    return adjoint.held(q, x) if busy else adjoint.drift(q, x)


@kernel
def step_of_level(p, n, y, lam, busy, pulsed, now, then, flow, sums):
    """Derivatives by the height and by the time of a step of the external current from `then` to
    `now`, after which the state is `y`: as if the new current stayed to the end.

    Leaves the parameters at `then`. Equation (15) of the documentation.
    """
    late, none = dot(lam, field(verbs.pick(p, n), y, busy)), scaled(y, 0.0)
    if pulsed:
        unit = verbs.pulse(p, n, none, busy, 1.0, 0.0)
        before = verbs.pulse(p, n, y, busy, now, then)
    else:
        unit = verbs.redrive(p, n, none, busy, 1.0, 0.0)
        before = verbs.redrive(p, n, y, busy, now, then)
    q = verbs.pick(p, n)
    gift = adjoint.level(q, sums.theta[n], verbs.load(sums.reset, n), flow)
    return sums.level[n] + gift - dot(lam, unit), dot(lam, field(q, before, busy)) - late


@kernel
def give_edge(n, a, gift, late, tape, sums, totals):
    """Hand out what `step_of_level` has answered for arrival `a` of neuron `n`."""
    s, kind, place = synapse_of(tape, a), kind_of(tape, a), delay_of(tape, a)
    if kind == CURRENT:  # and the value before ends here
        sums.drive[place] += gift
        if place >= sums.theta.size:
            sums.drive[place - sums.theta.size] -= gift
        sums.edge[place] += late
    else:
        sums.weight[s] += gift if kind == PULSE_ON else -gift
        sums.delay[place] += late
        totals[source_of(tape, a)] += late


@inline_kernel
def arrival_held(q, kind, value, y, lam):
    """As `adjoint.arrival`, in refractory time."""
    one = verbs.receive_clamped(q, scaled(y, 0.0), kind, 1.0)
    return dot(lam, one), dot(lam, adjoint.lag_held(q, y, scaled(one, value)))


@kernel
def ends(p, state, start, books, tape, train, low, until, final, way, notes, sums, totals):
    """Every neuron from the end of a part of the run back to its last spike in it.

    `final`: the costate belongs to `until` (n,), where the run ends for each neuron; else to the
    last event.
    """
    for n in range(low.size):
        if tape.driven == 0 and sum_abs(verbs.load(sums.costate, n)) == 0.0:
            continue  # nothing depends on what comes after its last spike
        k = train.next[n]
        x, clock, a = start_of(p, n, k, low, state, start, tape, train, notes)
        if tape.driven:
            drive_as_then(p, n, k, low, x, clock, start, books, notes)
        limit = (until[n], 0.0) if final else (-np.inf, 0.0)
        course, clock, d, _ = lay_out(
            p, n, x, clock, a, tape.start[n + 1], limit, books, tape, way, np.nan
        )
        lam = verbs.load(sums.costate, n)
        if final:
            q, x = verbs.pick(p, n), verbs.load(way.x, course.size)
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
        now = at_start(books, n)
        lam, _ = unwind(p, n, course, lam, 0.0, k - 1, now, tape, train, way, sums, totals)
        verbs.store(sums.costate, n, lam)


@kernel
def backward(p, order, state, start, books, tape, train, low, way, notes, sums, totals):
    """Through the spikes `order` of a population, each after all that it has caused.

    `low` (n,) is each neuron's first spike in this part of the run; `state` and `start` are
    the states and books at its beginning.
    """
    for i in range(order.size):
        k, then = order[i], order[min(i + 1, order.size - 1)]
        n, ahead = train.unit[k], train.unit[then]
        first = notes.stop[then - 1] if then > low[ahead] else tape.start[ahead]
        bring_near(tape, ahead, first, notes.stop[then])
        fetch_all(sums.weight, tape.own[ahead], tape.own[ahead + 1])
        x, clock, a = start_of(p, n, k, low, state, start, tape, train, notes)
        if tape.driven:
            drive_as_then(p, n, k, low, x, clock, start, books, notes)
        at = (train.hi[k], train.lo[k])
        course, _, d, _ = lay_out(p, n, x, clock, a, notes.stop[k], at, books, tape, way, np.nan)
        q, x, z = verbs.pick(p, n), verbs.load(way.x, course.size), verbs.load(notes.after, k)
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
        now = at_start(books, n)
        lam, delta = unwind(p, n, course, lam, delta, k - 1, now, tape, train, way, sums, totals)
        verbs.store(sums.costate, n, lam)
        if k > low[n]:
            totals[train.number[k - 1]] += delta
