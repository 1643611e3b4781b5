"""Instant by instant: one queue of arrivals and of the neurons' next spikes.

The path for cycles without delay, where no window separates cause and effect. At one instant
populations come in the order in which they hear one another without delay; within a
population

1. neurons whose voltage reaches threshold there fire,
2. then arrivals are summed,
3. then neurons that these have lifted above threshold fire,

and what such spikes cause without delay in their own cycle comes in a next round of the same
instant. A spike is sent on its way as soon as it is certain; the neuron itself follows at its
next arrival, by the very calls that the other paths make: hence the same bits and doubts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from evsim.fibres import population_of
from evsim.flight import pack, unpack
from evsim.heap import drop_first, put
from evsim.jit import OPTIONS, inline_kernel, kernel
from evsim.models import verbs
from evsim.neuron import (
    AT_ARRIVAL,
    AT_END,
    AT_INSTANT,
    DONE,
    FULL,
    PULSE_OFF,
    PULSE_ON,
    ZENO,
    Clock,
    Rules,
    clock_of,
    enter,
    interval_to,
    move,
    own_events,
)
from evsim.numerics import add_time, not_before

#: What an entry of the queue is: a neuron that would fire, a row of synapses, one synapse, or the
#: next arrival from outside, or the end of those that are known.
FIRES, ROW, SINGLE, OUTSIDE_ROW, OUTSIDE, SLICE = 0, 1, 2, 3, 4, 5
#: Order within a round.
REACHES, ARRIVES, LIFTED = 0, 1, 2
#: Rounds of an instant, at most: more would never end.
MOST_ROUNDS = 1 << 16
#: `DONE`, but a neuron did not follow what had been sent in its name: cannot happen.
ASTRAY = 3
#: The next slice of arrivals from outside is wanted; or nothing, but it was time to report.
EMPTY, GOING = 4, 5
#: Entries of the queue from one report to the next.
BREATH = 1 << 17


class Ahead(NamedTuple):
    """What is known beyond the neurons' last arrivals, besides their states there."""

    stamp: Any  # (n,) of the neuron's valid entry in the queue
    sent: Any  # (n,) spikes sent
    logged: Any  # (n,) spikes that the neuron has followed
    level: Any  # (n,) its population's place in an instant
    level_of_row: Any  # (rows,) that of a row's targets
    instant: Any  # (n, 2) time of the last spike sent
    lifted: Any  # (n,) whether it came after the arrivals of that instant
    owed: Any  # (1,) spikes sent that neurons have not followed yet
    most: Any  # (1,) arrivals that one entry of the queue may stand for
    waits: Any  # (1,) neuron in trouble
    spike: Any  # one-entry log
    doubts: Any  # scratch
    external: Any  # (2,) rows and values from outside that have been put into the queue
    sending: Any  # (3,) neuron whose spike is being sent, or -1; rows sent; rank


@inline_kernel
def rank_of(level, round, kind):
    """Order of what happens at one instant."""
    return (level * MOST_ROUNDS + round) * 4 + kind


@kernel
def foresee(block, ahead, n, unit, until, spike, doubts):
    """The next spike of neuron `n` if nothing arrives, into the one-entry log `spike`.

    The state in `ahead` moves behind it; whether there is one up to `until`.
    """
    spike.used[0] = doubts.used[0] = 0
    q, clock = verbs.pick(block.p, n), clock_of(ahead.books, n)
    c = interval_to(q, clock, until[0], until[1])
    x, clock, _, _ = own_events(
        q, unit, verbs.load(ahead.state, n), clock, c, until[0], until[1], Rules(False, AT_END),
        spike, doubts,
    )  # fmt: skip
    verbs.store(ahead.state, n, x)
    enter(ahead.books, n, clock)
    return spike.used[0] == 1


@kernel
def follow(block, ahead, n, unit, hi, lo, kind, value, lifted, arrival_first, spikes, doubts):
    """Neuron `n` through its own events to an arrival, and past it; a status.

    `lifted`: it has fired at this very instant, so that its spike comes before the arrival.
    """
    q, x, clock = verbs.pick(block.p, n), verbs.load(block.state, n), clock_of(block.books, n)
    rules = Rules(arrival_first, AT_INSTANT if lifted else AT_ARRIVAL)
    c = interval_to(q, clock, hi, lo)
    x, clock, y, status = own_events(q, unit, x, clock, c, hi, lo, rules, spikes, doubts)
    if status == DONE:
        busy = clock.busy
        if kind >= 0:
            x = (
                verbs.receive_clamped(q, y, kind, value)
                if busy
                else verbs.receive(q, y, kind, value)
            )
        else:
            books = block.books
            x = move(block.p, n, y, busy, books.pulses, books.current, kind, value)
        clock = Clock(hi, lo, busy, clock.free_hi, clock.free_lo, clock.free_error)
    for follower in (block, ahead):
        verbs.store(follower.state, n, x)
        enter(follower.books, n, clock)
    return status


def foresee_at(blocks, ahead, g, until, spike, doubts):
    """`foresee` for the neuron at place `g` of its group."""
    for block, beyond in zip(blocks, ahead, strict=True):
        n = g - block.first
        if n < block.books.current.size:
            return foresee(block, beyond, n, g, until, spike, doubts)
    return False


def follow_at(blocks, ahead, g, hi, lo, kind, value, lifted, first, spikes, doubts):
    """`follow` for the neuron at place `g` of its group."""
    for block, beyond in zip(blocks, ahead, strict=True):
        n = g - block.first
        if n < block.books.current.size:
            return follow(block, beyond, n, g, hi, lo, kind, value, lifted, first, spikes, doubts)
    return DONE


@overload(foresee_at, jit_options=OPTIONS)
def _foresee_at(blocks, ahead, g, until, spike, doubts):
    if len(blocks) == 0:
        return lambda blocks, ahead, g, until, spike, doubts: False

    def unrolled(blocks, ahead, g, until, spike, doubts):
        n = g - blocks[0].first
        if n < blocks[0].books.current.size:
            return foresee(blocks[0], ahead[0], n, g, until, spike, doubts)
        return foresee_at(blocks[1:], ahead[1:], g, until, spike, doubts)

    return unrolled


@overload(follow_at, jit_options=OPTIONS)
def _follow_at(blocks, ahead, g, hi, lo, kind, value, lifted, first, spikes, doubts):
    if len(blocks) == 0:
        return lambda blocks, ahead, g, hi, lo, kind, value, lifted, first, spikes, doubts: DONE

    def unrolled(blocks, ahead, g, hi, lo, kind, value, lifted, first, spikes, doubts):
        n = g - blocks[0].first
        if n < blocks[0].books.current.size:
            return follow(
                blocks[0], ahead[0], n, g, hi, lo, kind, value, lifted, first, spikes, doubts
            )
        return follow_at(
            blocks[1:], ahead[1:], g, hi, lo, kind, value, lifted, first, spikes, doubts
        )

    return unrolled


@kernel
def plan_spike(blocks, beyond, ahead, heap, g, t, rank, until, arrival_first):
    """Put the next spike of neuron `g` into the queue, if there is one.

    `t` and `rank` are those of what has just happened to it.
    """
    ahead.stamp[g] += 1
    if foresee_at(blocks, beyond, g, until, ahead.spike, ahead.doubts):
        hi, lo = ahead.spike.hi[0], ahead.spike.lo[0]
        if hi == t[0] and lo == t[1]:
            when = rank if rank % 4 != ARRIVES else rank - ARRIVES + LIFTED
        else:
            late = arrival_first or ahead.spike.kind[0] == 1
            when = rank_of(ahead.level[g], 0, LIFTED if late else REACHES)
        put(heap, hi, lo, when, g, pack(g, FIRES), ahead.stamp[g])


@kernel
def send_now(fibres, ahead, heap, t, until):
    """Put the arrivals that a spike causes into the queue; whether there was room."""
    g, rank = ahead.sending[0], ahead.sending[2]
    level, round = rank // 4 // MOST_ROUNDS, rank // 4 % MOST_ROUNDS
    k = population_of(fibres, g)
    for m in range(fibres.out[k] + ahead.sending[1], fibres.out[k + 1]):
        j = fibres.via[m]
        r = fibres.row[j] + g - fibres.place[k]
        first, last = fibres.start[r], fibres.start[r + 1]
        shared = fibres.delay[j] == fibres.delay[j]
        if heap.used[0] + 2 * (last - first) + 2 > heap.hi.size:
            ahead.sending[1] = m - fibres.out[k]
            return False
        for s in range(first, first + 1 if shared and first < last else last):
            hi, lo = add_time(t[0], t[1], fibres.delay[j] if shared else fibres.delays[s])
            now = hi == t[0] and lo == t[1]
            again = round + 1 if now and ahead.level_of_row[r] <= level else 0
            when = rank_of(ahead.level_of_row[r], again, ARRIVES)
            number, which = (r, ROW) if shared else (s, SINGLE)
            pulse = fibres.width[j] == fibres.width[j]
            kind = PULSE_ON if pulse else fibres.port[j]
            if not_before(until[0], until[1], hi, lo):
                put(heap, hi, lo, when, s, pack(number, which), kind)
            if pulse:
                hi, lo = add_time(hi, lo, fibres.width[j])
                when = rank_of(ahead.level_of_row[r], 0, ARRIVES)
                if not_before(until[0], until[1], hi, lo):
                    put(heap, hi, lo, when, s, pack(number, which), PULSE_OFF)
    ahead.sending[0], ahead.sending[1] = -1, 0
    return True


@kernel
def next_from_outside(fibres, ahead, heap, external, which):
    """Put the next arrival from outside into the queue, if there is one."""
    if which == OUTSIDE_ROW:
        k = ahead.external[0]
        if k < external.row.size:
            rank = rank_of(ahead.level_of_row[external.row[k]], 0, ARRIVES)
            key = fibres.start[external.row[k]]
            put(
                heap, external.row_hi[k], external.row_lo[k], rank, key,
                pack(k, OUTSIDE_ROW), external.row_kind[k],
            )  # fmt: skip
            ahead.external[0] = k + 1
    else:
        k = ahead.external[1]
        if k < external.hi.size:
            rank = rank_of(ahead.level[external.target[k]], 0, ARRIVES)
            put(
                heap, external.hi[k], external.lo[k], rank, external.key[k], pack(k, OUTSIDE),
                external.kind[k],
            )  # fmt: skip
            ahead.external[1] = k + 1


@kernel
def arrive_at(
    blocks, beyond, ahead, heap, g, t, rank, kind, value, until, arrival_first, spikes, doubts
):
    """What arrives at neuron `g`: it follows to there, and its next spike is planned anew."""
    lifted = (
        ahead.sent[g] > ahead.logged[g]
        and ahead.instant[g, 0] == t[0]
        and ahead.instant[g, 1] == t[1]
        and ahead.lifted[g] == 1
    )
    before = spikes.used[0]
    status = follow_at(
        blocks, beyond, g, t[0], t[1], kind, value, lifted, arrival_first, spikes, doubts
    )
    ahead.logged[g] += spikes.used[0] - before
    ahead.owed[0] -= spikes.used[0] - before
    if status == DONE and ahead.logged[g] != ahead.sent[g]:
        status = ASTRAY
    if status != DONE:
        ahead.waits[0] = g
        return status
    plan_spike(blocks, beyond, ahead, heap, g, t, rank, until, arrival_first)
    return DONE


@inline_kernel
def has_room(ahead, heap, spikes, doubts):
    """Whether the next entry of the queue can be done without more room."""
    most, owed = ahead.most[0], ahead.owed[0]
    return (
        heap.used[0] + most < heap.hi.size
        and spikes.used[0] + owed + 1 < spikes.unit.size
        and doubts.used[0] + 4 * (owed + 2 * most) < doubts.unit.size
    )


@inline_kernel
def fires(ahead, number, t, rank):
    """Neuron `number` fires: its spike is to be sent."""
    ahead.sent[number] += 1
    ahead.owed[0] += 1
    ahead.instant[number, 0], ahead.instant[number, 1] = t
    ahead.lifted[number] = rank % 4 == LIFTED
    ahead.sending[0], ahead.sending[1], ahead.sending[2] = number, 0, rank


@kernel
def arrives(
    blocks, beyond, fibres, ahead, external, heap, t, rank, number, which, kind, until,
    arrival_first, spikes, doubts,
):  # fmt: skip
    """One entry of the queue that is no spike; a status."""
    first, last = number, number + 1
    if which == OUTSIDE_ROW or which == OUTSIDE:
        next_from_outside(fibres, ahead, heap, external, which)
    if which == OUTSIDE_ROW:
        number = external.row[number]
    if which == ROW or which == OUTSIDE_ROW:
        first, last = fibres.start[number], fibres.start[number + 1]
    for s in range(first, last):
        if which == OUTSIDE:
            g, value = external.target[number], external.value[number]
        else:
            g, value = np.int64(fibres.target[s]), fibres.weight[s]
        status = arrive_at(
            blocks, beyond, ahead, heap, g, t, rank, kind, value, until, arrival_first, spikes,
            doubts,
        )  # fmt: skip
        if status != DONE:
            return status
    return DONE


@kernel
def run_instants(
    blocks, beyond, fibres, ahead, external, heap, until, arrival_first, spikes, doubts
):
    """Run a group from where it stands on to `until`; a status.

    `FULL` asks for more room in the queue and the logs and another call.
    """
    for _ in range(BREATH):
        if not has_room(ahead, heap, spikes, doubts):
            return FULL
        g, rank = ahead.sending[0], ahead.sending[2]
        if g >= 0:
            t = (ahead.instant[g, 0], ahead.instant[g, 1])
            if not send_now(fibres, ahead, heap, t, until):
                return FULL
            plan_spike(blocks, beyond, ahead, heap, g, t, rank, until, arrival_first)
            continue
        if heap.used[0] == 0:
            return DONE
        t, rank, stamp = (heap.hi[0], heap.lo[0]), heap.rank[0], heap.stamp[0]
        number, which = unpack(heap.what[0])
        drop_first(heap)
        if which == SLICE:
            return EMPTY
        if which == FIRES:
            if rank // 4 % MOST_ROUNDS == MOST_ROUNDS - 2:
                ahead.waits[0] = number
                return ZENO
            if stamp == ahead.stamp[number]:
                fires(ahead, number, t, rank)
            continue
        status = arrives(
            blocks, beyond, fibres, ahead, external, heap, t, rank, number, which, stamp, until,
            arrival_first, spikes, doubts,
        )  # fmt: skip
        if status != DONE:
            return status
    return GOING


@kernel
def start_instants(blocks, beyond, ahead, heap, until, arrival_first):
    """Fill the queue at the start of a run."""
    for g in range(ahead.level.size):
        rank = rank_of(ahead.level[g], 0, LIFTED)
        plan_spike(blocks, beyond, ahead, heap, g, (0.0, 0.0), rank, until, arrival_first)


@kernel
def open_slice(fibres, ahead, external, heap, end, more):
    """Begin with the arrivals from outside up to `end`; `more`: others come after it."""
    next_from_outside(fibres, ahead, heap, external, OUTSIDE_ROW)
    next_from_outside(fibres, ahead, heap, external, OUTSIDE)
    if more:
        put(heap, end, 0.0, np.int64(1) << 62, 0, pack(0, SLICE), 0)
