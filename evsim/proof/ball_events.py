"""The events of one neuron in ball arithmetic, as `evsim.proof.events` has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flint import arb

from evsim.models.linear import DRIVER
from evsim.proof import ball_leap as leaps
from evsim.proof.ball_flow import Cell, Stop
from evsim.proof.ball_numbers import below, to_float
from evsim.proof.bounds import NEAR, UP
from evsim.proof.events import ORDER, TOO_WIDE
from evsim.proof.problem import VOLTAGE
from evsim.proof.rows import difference_of
from evsim.proof.state import astray, late

if TYPE_CHECKING:
    from evsim.proof.balls import Pass


def next_event(run: Pass, q: Cell, k: int):
    """(kind, time): None, "arrival", "release" or "wake"; the earliest arrival is put first."""
    m, at = q.next, None
    if m < q.end and (at := run.comes[m]) is not None:
        j, far = m + 1, (run.comes_float[m] + 2.0 * run.window) * (1.0 + 1e-12)
        while j < q.end and (other := run.comes[j]) is not None and run.comes_float[j] <= far:
            if to_float(other - at) < 0.0:
                at = other
                exchange(run, m, j)
            j += 1
    if q.busy and (at is None or to_float(q.free - at) <= 0.0):
        return "release", q.free
    if q.asleep and not q.busy:
        first = at is None or to_float(q.wake - at) <= 0.0 or leaps.woken_by(run, q, m)
        if first:
            return "wake", q.wake
    return ("arrival", at) if at is not None else (None, None)


def exchange(run: Pass, m: int, j: int) -> None:
    """Two arrivals change places."""
    columns: tuple[list, ...] = (run.source, run.delay, run.weight, run.port)
    for column in (*columns, run.comes, run.comes_float):
        column[m], column[j] = column[j], column[m]
    run.arr[[m, j]] = run.arr[[j, m]]


def may_come_by(run: Pass, q: Cell, k: int, time: arb, r: float) -> int | None:
    """The source of an arrival that may come before a time of radius `r`, if there is one: as
    `evsim.proof.events.may_come_by`."""
    for m in range(q.next, q.end):
        source = run.source[m]
        seen = known(run, m, k)
        at, own = (run.time, run.radius[source]) if seen else (run.claim, run.window)
        if not at[source] + run.delay[m] - time > (r + own) * UP:
            return source
    return None


def known(run: Pass, m: int, k: int) -> bool:
    """Whether an arrival comes from an input, or from a spike before `k`."""
    return run.source[m] < k or run.owner[run.source[m]] < 0


def do_release(run: Pass, q: Cell) -> None:
    """The membrane is free: as `evsim.proof.events.do_release`."""
    s = q.free - q.t
    q.take(q.flow(s), q.free, 0.0)
    q.age(to_float(s))
    q.near = 0.0
    r = run.radius[q.last]
    now = q.bend(q.x, q.dev, 0.0)
    rest = late(now, r)
    slope = now.slope - now.fade
    q.dev[0] += (abs(slope) * r + rest) * UP
    q.rest[0] += rest
    q.slope, q.busy, q.owes, q.rho = slope, False, True, r
    q.cause, q.wait = q.last, q.t_ref


def do_wake(run: Pass, q: Cell) -> None:
    """The neuron can fire again."""
    s, r = q.wake - q.t, run.radius[q.last]
    leaps.crowd(q, r, s)
    q.take(q.flow(s), q.wake, r)
    q.age(to_float(s))
    q.near, q.asleep = 0.0, False
    q.cause, q.wait = q.last, q.dead


def do_arrival(run: Pass, q: Cell, k: int, at: arb, s: arb, state) -> None:
    """The next arrival, `s` after the last event: the gap before it has been proved silent."""
    m = q.next
    source, weight, port = run.source[m], run.weight[m], run.port[m]
    r = run.radius[source]
    since = math.inf
    if q.last >= 0:
        since = after_spike(run, q, m, at)
        if q.dead > 0.0:
            beside_wake(run, q, m, at)
        if q.asleep and q.block and port >= VOLTAGE:
            run.weight[m] = run.arr[m]["weight"] = 0.0  # it is lost
            q.next += 1
            return
    if not r <= NEAR * q.shortest:
        raise Stop(TOO_WIDE, q.n, k, source, to_float(at), NEAR * q.shortest, r, 0.0)
    if not leaps.crowd(q, r, s)[0]:
        leaps.crowded(run, q, k, m, at)
    q.age(to_float(s))
    q.near, q.origin, q.cause, q.wait = r, source, source, run.delay[m]
    q.take(state, at, r)
    size = q.receive(port, weight, r)
    q.next += 1
    behind = since - q.t_ref > (r + run.radius[q.last]) * UP
    if not behind and q.dead == 0.0:
        gap = at - q.free
        both = (r + run.radius[q.last] + to_float(gap.rad())) * UP
        if abs(to_float(gap)) <= both:
            if port == VOLTAGE and source != q.last:
                raise Stop(ORDER, q.n, q.last, source, to_float(at), 0.0, both, 0.0)
            driven = port >= 0 and q.kind[port] == DRIVER
            more = astray(q.gain_, driven, size, both)
            q.dev[0] += more
            q.rest[0] += more


def after_spike(run: Pass, q: Cell, m: int, at: arb) -> float:
    """By how much an arrival comes after the last spike of its neuron at least; stop unless it
    surely does."""
    source = run.source[m]
    d, both = below(at - run.time[q.last]), run.radius[source] + run.radius[q.last]
    if source != q.last and not d > both * UP:
        both = difference(run, source, q.last, both)
        if not d > both * UP:
            raise Stop(ORDER, q.n, q.last, source, to_float(at), d, both, 0.0)
    if d < q.closest:
        q.closest = d
    return d


def after_end(run: Pass, q: Cell, k: int) -> None:
    """As `evsim.proof.events.after_end`: stop unless an arrival comes after the last spike."""
    m = q.next
    if q.last >= 0 and m < q.end and known(run, m, k):
        after_spike(run, q, m, run.time[run.source[m]] + run.delay[m])


def beside_wake(run: Pass, q: Cell, m: int, at: arb) -> None:
    """Stop unless an arrival comes surely before or after its neuron can fire again, or at that
    very time by construction, if that counts: a current may come on either side."""
    port, source = run.port[m], run.source[m]
    if port < VOLTAGE or (port > VOLTAGE and not q.block) or leaps.woken_by(run, q, m):
        return
    d = at - q.wake
    both = 0.0 if source == q.last else run.radius[source] + run.radius[q.last]
    if not abs(d) > both * UP:
        raise Stop(ORDER, q.n, q.last, source, to_float(at), to_float(d), both, 0.0)


def difference(run: Pass, a: int, b: int, both: float) -> float:
    """The radius of the difference of two spike times, common history left out."""
    if run.owner[a] < 0 or run.owner[b] < 0:
        return both
    return difference_of(run.src, run.rows, a, b)
