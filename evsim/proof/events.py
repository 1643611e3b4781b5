"""The events of one neuron in their order: arrivals, and ends of refractory times."""

from __future__ import annotations

from typing import Any, NamedTuple

from evsim.jit import apart, inline_kernel, kernel
from evsim.models.linear import DRIVER
from evsim.proof.bounds import GROWN_2, NEAR, UP
from evsim.proof.flow import (
    DEVIATION,
    REST,
    exactly,
    flow,
    interval,
    interval_as,
    later,
    roughly,
)
from evsim.proof.numbers import number, upper
from evsim.proof.problem import VOLTAGE
from evsim.proof.rows import between
from evsim.proof.silence import ABOVE, CROSSES, SILENT, Verdict, quiet
from evsim.proof.state import astray, exchange, receive, release, take

#: Why a pass stops.
(
    DONE,  # all proved
    NO_SPIKE,  # the claimed spike does not happen: proved
    OTHER_TIME,  # it happens, at a time that is proved to be too far from the claim
    MISSING,  # a spike that is not claimed happens: proved
    REFRACTORY,  # claimed within the refractory time: proved
    ORDER,  # an arrival and a spike of one neuron are closer than their radii
    CROSSING,  # a gap, or a crossing, that this precision cannot decide
    TOO_WIDE,  # a radius beyond what the constants, or the tolerance, allow
    LEVEL,  # a jump or a reset above threshold
) = range(9)
#: Within the pass: no spike up to here; no room for another symbol.
GO_ON, FULL = 9, 10
#: Kinds of events.
NOTHING, ARRIVAL, RELEASE, WAKE = range(4)


class Task(NamedTuple):
    """What a pass works on; see `evsim.proof.layout`."""

    net: Any
    st: Any
    src: Any
    arr: Any
    rows: Any
    b: Any
    window: float  # how far from its claim a spike is looked for
    tolerance: float  # how far from its claim it may be
    symbols: bool  # or scalar radii
    work: Any
    probe: Any
    row: Any
    report: Any


@inline_kernel
def stop(t, code, n, k, source, time, gap, radius, found):
    """Note why, and say so."""
    r = t.report
    r.code, r.neuron, r.spike, r.source = code, n, k, source
    r.time, r.gap, r.radius, r.found = time, gap, radius, found
    return code


@inline_kernel
def code_of(verdict):
    """The code for a gap that is not silent."""
    if verdict.answer == CROSSES:
        return MISSING
    return LEVEL if verdict.answer == ABOVE else CROSSING


@inline_kernel
def known(t, m, k):
    """Whether arrival `m` comes from an input, or from a spike before `k`."""
    source = t.arr[m].source
    return source < k or t.src[source].neuron < 0


@inline_kernel
def next_event(t, n, k):
    """(kind, hi, lo, off) of what comes next to neuron `n`, as far as it is known.

    Arrivals of a noisy claim may be out of order: the earliest is put first.
    """
    q, arr = t.st[n], t.arr
    m = q.next
    hi = lo = off = 0.0
    kind = NOTHING
    if m < q.end and known(t, m, k):
        source = t.src[arr[m].source]
        kind, hi, lo, off = ARRIVAL, source.hi, source.lo, arr[m].delay
        other = m + 1
        while other < q.end and known(t, other, k):
            source = t.src[arr[other].source]
            d, error = roughly(source.hi, source.lo, arr[other].delay, hi, lo, off)
            if d - error > 2.0 * t.window:
                break
            if later(hi, lo, off, source.hi, source.lo, arr[other].delay):
                hi, lo, off = source.hi, source.lo, arr[other].delay
                exchange(arr, m, other)
            other += 1
    if q.busy:
        if kind == NOTHING or not later(q.free_hi, q.free_lo, q.free_off, hi, lo, off):
            return RELEASE, q.free_hi, q.free_lo, q.free_off
    elif q.asleep:
        if kind == NOTHING or not later(q.wake_hi, q.wake_lo, q.wake_off, hi, lo, off):
            return WAKE, q.wake_hi, q.wake_lo, q.wake_off
    return kind, hi, lo, off


@kernel
def may_come_by(t, n, k, hi, lo, off, r):
    """The first arrival of neuron `n` that may come before a time of radius `r`, or -1. What is
    not known is where it is claimed, within the window."""
    q, arr = t.st[n], t.arr
    for m in range(q.next, q.end):
        source = t.src[arr[m].source]
        if known(t, m, k):
            d, error = interval(source.hi, source.lo, arr[m].delay, hi, lo, off)
            both = (r + source.radius) * UP + error
        else:
            d, error = interval(source.claim_hi, source.claim_lo, arr[m].delay, hi, lo, off)
            both = (r + t.window) * UP + error
        if not d[0] > both:
            return m
    return -1


@kernel
def flow_to(t, n, hi, lo, off, like):
    """The state of neuron `n` at a time, in `t.work`; how long that takes, and its error."""
    p, q = t.net[n], t.st[n]
    s, error = interval_as(hi, lo, off, q.hi, q.lo, q.off, like)
    flow(p, t.b, q.x, q.busy != 0, s, error, t.work, like)
    return s, error


@inline_kernel
def age(q, s):
    """Time goes on by `s` for what the order of arrivals and spikes needs."""
    q.reach = max(q.reach, q.near) - s


@kernel
def do_release(t, n, k, like):
    """The membrane is free: at the end of the refractory time or, where it goes on, at the spike
    itself."""
    apart()
    p, q = t.net[n], t.st[n]
    hi, lo, off = q.free_hi, q.free_lo, q.free_off
    s, _ = flow_to(t, n, hi, lo, off, like)
    age(q, upper(s))
    q.near = 0.0
    take(p, q, t.work.x, hi, lo, off, 0.0)
    release(p, q, t.src[q.last].radius)
    if not q.asleep and q.x.hi[0] - q.theta_hi >= 0.0:
        return stop(t, LEVEL, n, k, q.last, hi + off, 0.0, 0.0, 0.0)
    return DONE


@kernel
def do_wake(t, n, like):
    """The neuron can fire again; it has gone on all the time."""
    apart()
    p, q = t.net[n], t.st[n]
    r, off = t.src[q.last].radius, q.wake_off
    s, error = flow_to(t, n, q.wake_hi, q.wake_lo, off, like)
    crowd(p, q, r, upper(s) - error)
    age(q, upper(s))
    q.near = 0.0
    take(p, q, t.work.x, q.wake_hi, q.wake_lo, off, r)
    q.asleep = 0


@inline_kernel
def do_arrival(t, n, k, hi, lo, off, s, error, like):
    """The next arrival of neuron `n`, after the gap before it has been proved silent. `t.work`
    holds the state at its time, `s` after the last event; `error` bounds that of `s`.
    """
    p, q, event = t.net[n], t.st[n], t.arr[t.st[n].next]
    source = t.src[event.source]
    if q.last >= 0:
        if after_spike(t, n, event, hi, lo, off) != DONE:
            return ORDER
        if p.dead > 0.0 and beside_wake(t, n, event, hi, lo, off) != DONE:
            return ORDER
        if q.asleep and p.block and event.port >= VOLTAGE:
            event.weight = 0.0  # it is lost
            q.next += 1
            return DONE
    if not source.radius <= NEAR * p.shortest:
        r = source.radius
        return stop(t, TOO_WIDE, n, k, event.source, hi + off, NEAR * p.shortest, r, 0.0)
    both = crowd(p, q, source.radius, s - error)
    if crowded(t, n, event, source.radius, s - error, hi, lo, off):
        return stop(t, ORDER, n, k, event.source, hi + off, s, both, 0.0)
    age(q, s)
    q.near, q.origin = source.radius, event.source
    take(p, q, t.work.x, hi, lo, off, source.radius)
    loose = source.radius if source.slot < 0 else 0.0
    size = receive(p, t.b, q, event.port, event.weight, source.radius, loose, like)
    q.next += 1
    if q.last >= 0 and p.dead == 0.0:
        return beside_release(t, n, event, size, source.radius, hi, lo, off)
    return DONE


@inline_kernel
def after_spike(t, n, event, hi, lo, off):
    """Whether an arrival comes surely after the last spike of its neuron: a code."""
    q, source = t.st[n], t.src[event.source]
    last = t.src[q.last]
    d, error = roughly(hi, lo, off, last.hi, last.lo, 0.0)
    together = source.radius + last.radius
    if not d > together * UP + error:
        d, error = exactly(hi, lo, off, last.hi, last.lo, 0.0)
    if event.source != q.last and not d > together * UP + error:
        if t.symbols and source.slot >= 0 and last.slot >= 0:
            together = difference(t, source.slot, last.slot)
        if not d > together * UP + error:
            return stop(t, ORDER, n, q.last, event.source, hi + off, d, together, 0.0)
    q.gap = min(q.gap, d)
    return DONE


@kernel
def after_end(t, n, k):
    """Whether an arrival at the end of a run, or behind it, comes surely after the neuron's last
    spike, which it could have prevented: a code."""
    q = t.st[n]
    if q.last < 0 or q.next >= q.end or not known(t, q.next, k):
        return DONE
    event = t.arr[q.next]
    source = t.src[event.source]
    return after_spike(t, n, event, source.hi, source.lo, event.delay)


@inline_kernel
def beside_wake(t, n, event, hi, lo, off):
    """Whether an arrival comes surely before or after its neuron can fire again, if that counts:
    a code. A current may come on either side."""
    p, q = t.net[n], t.st[n]
    if event.port < VOLTAGE or (event.port > VOLTAGE and not p.block):
        return DONE
    d, error = interval(hi, lo, off, q.wake_hi, q.wake_lo, q.wake_off)
    both = 0.0
    if event.source != q.last:
        both = t.src[event.source].radius + t.src[q.last].radius
    if abs(d[0]) > both * UP + error:
        return DONE
    return stop(t, ORDER, n, q.last, event.source, hi + off, d[0], both, 0.0)


@kernel
def crowd(p, q, r, s):
    """Note what an open order of this arrival and those before may do: if one that counts is
    still to come, F is higher by what it would have brought down. How far they may overlap.

    It may be open to all that came within two of the largest radii that there may be, however
    clear the order of those among themselves.
    """
    both, longest = (r + max(q.near, q.reach)) * UP, 2.0 * NEAR * p.shortest * UP
    far = q.origin < 0 or both == 0.0 or s > both
    q.lapse += max(s, 0.0)
    if q.lapse > longest:
        q.kept = 0.0 if s > longest else q.kick
        q.kick = q.lapse = 0.0
    q.crowd = 0.0 if far else GROWN_2 * both * (q.kick + q.kept)
    return both


@inline_kernel
def crowded(t, n, event, r, s, hi, lo, off):
    """Whether an arrival at hi + lo + off and one before it since the last spike, a jump among the
    two, may come the other way round; `s` after the last event."""
    p, q = t.net[n], t.st[n]
    if q.origin < 0 or s > (r + max(q.reach, q.near)) * UP:
        return False
    for m in range(q.next - 1, q.since - 1, -1):
        other = t.arr[m]
        source = t.src[other.source]
        d, error = interval(hi, lo, off, source.hi, source.lo, other.delay)
        if d[0] > 2.0 * NEAR * p.shortest * UP + error:
            return False
        # Of one source the delays decide, and what weighs nothing has been lost.
        if other.source == event.source or other.weight == 0.0:
            continue
        both = (r + source.radius) * UP
        jumps = event.port == VOLTAGE or other.port == VOLTAGE
        if jumps and both > 0.0 and not d[0] > both + error:
            return True
    return False


@inline_kernel
def beside_release(t, n, event, size, r, hi, lo, off):
    """An arrival that may come on either side of a release: what that may matter."""
    p, q = t.net[n], t.st[n]
    both = r + t.src[q.last].radius
    d, error = roughly(hi, lo, off, q.free_hi, q.free_lo, q.free_off)
    if abs(d) > both * UP + error:
        return DONE
    d, error = exactly(hi, lo, off, q.free_hi, q.free_lo, q.free_off)
    if abs(d) <= both * UP + error:
        if event.port == VOLTAGE and event.source != q.last:
            return stop(t, ORDER, n, q.last, event.source, hi + off, d, both, 0.0)
        driven = event.port >= 0 and p.kind[event.port] == DRIVER
        more = astray(p.gain_hi, driven, size, both + error)
        q.x.bound[DEVIATION, 0] += more
        q.x.bound[REST, 0] += more
    return DONE


@inline_kernel
def difference(t, i, j):
    """The radius of the difference of two spike times, common history left out."""
    length = max(t.rows.length[i], t.rows.length[j])
    return between(t.rows.c[i], t.rows.c[j], t.rows.e, length)


@inline_kernel
def is_quiet(t, n, s, error, rho, like):
    """`quiet` from the state of neuron `n` on, where `t.work` holds the end."""
    q = t.st[n]
    if q.busy or q.asleep:
        return Verdict(SILENT, 0.0, 0.0, 0.0)
    if upper(s) < 0.0:  # as `flow` has it
        error -= upper(s)
        s = number(0.0, 0.0, like)
    return quiet(t.net[n], t.b, q, s, error, max(rho, q.rho), t.work, t.probe, like)
