"""One neuron between two arrivals: its own spikes and releases, exactly.

Every path of the engine comes through here for the neurons that may fire, and flows the
others by the same `interval` and `step`: hence the same bits. A neuron's state belongs to the
time of its last own event and is rounded at own events only: stored arrivals, releases, its
own spikes, and steps of external current.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from evsim.jit import OPTIONS, inline_kernel, kernel
from evsim.models import verbs
from evsim.models.refractory import doubtful_release, height
from evsim.numerics import add_time, elapsed, not_before

#: Kinds of doubt, as indices into the names that records use.
# (as NumPy integers: a kernel is compiled anew for every literal that it is given)
GRAZE, ARRIVAL, RELEASE, TIE = map(np.int64, range(4))
DOUBTS = ("graze", "arrival", "release", "tie")
#: Outcomes of `own_events`.
DONE, FULL, ZENO = 0, 1, 2


class Log(NamedTuple):
    """Spikes or doubts in order of discovery; `used[0]` entries are valid.

    The kind of a spike is 1 where it comes at the very time of the neuron's own event before.
    """

    hi: Any
    lo: Any
    unit: Any
    kind: Any
    used: Any


class Clock(NamedTuple):
    """Time of the last own event, and when the neuron is, or was, free after its last spike."""

    hi: float
    lo: float
    busy: bool
    free_hi: float
    free_lo: float
    free_error: float  # what float64 can attain of that release


#: What a limit in time is: an arrival; the end of the run, at which spikes still happen; an
#: instant, likewise; or a horizon at which they do not. The latter two are nothing to doubt.
AT_ARRIVAL: Any = np.int64(0)
AT_END: Any = np.int64(1)
AT_INSTANT: Any = np.int64(2)
AT_HORIZON: Any = np.int64(3)


#: In the place of a refractory period of 0: at most one spike at one instant, `multi="hold"`.
HOLD = -1.0


class Rules(NamedTuple):
    """What a call of `own_events` has to know besides the neuron."""

    arrival_first: bool  # an arrival at the very time of a spike comes before it
    limit: int


#: Whole numbers of two lines of the cache: processors fetch them in pairs.
APART = 16


def lone(values) -> np.ndarray:
    """Whole numbers that share no line of the cache with anything else: one thread writes them
    all the time, and others would have to fetch again whatever lies beside them."""
    values = np.asarray(values, np.int64)
    room = np.zeros(values.size + 2 * APART, np.int64)
    room[APART:-APART] = values
    return room[APART:-APART]


def new_log(capacity: int) -> Log:
    """An empty log."""
    return Log(
        np.empty(capacity),
        np.empty(capacity),
        np.empty(capacity, np.int64),
        np.empty(capacity, np.int64),
        lone([0]),
    )


def roomier(values: np.ndarray, size: int) -> np.ndarray:
    """A copy with room for `size`; nothing is written behind what there was."""
    new = np.empty(size, values.dtype)
    new[: values.size] = values
    return new


def more_room(log: Log) -> Log:
    """A copy of `log` with twice the room."""
    hi, lo, unit, kind = (roomier(values, 2 * values.size + 64) for values in log[:4])
    return Log(hi, lo, unit, kind, log.used)


@inline_kernel
def note(log, hi, lo, unit, kind):
    """Append one entry; the caller has made sure of the room."""
    k = log.used[0]
    log.hi[k], log.lo[k], log.unit[k], log.kind[k] = hi, lo, unit, kind
    log.used[0] = k + 1


@inline_kernel
def next_own_spike(p, x, y, hi, lo, free_hi, free_lo):
    """`verbs.next_spike` of a neuron whose last own event was at (hi, lo).

    With `HOLD`, a neuron that has fired at this very instant does not fire at it again: then
    where it next comes to threshold from below. It has, if it was free to fire from then on.
    """
    s, tolerance, peak = verbs.next_spike(p, x, y)
    if p.t_ref < 0.0 and s < np.inf:
        at_hi, at_lo = add_time(hi, lo, s)
        if at_hi == free_hi and at_lo == free_lo:
            s, tolerance, peak = verbs.next_rise(p, x)
    return s, tolerance, peak


@inline_kernel
def endless(p, x, hi, lo, free_hi, free_lo):
    """Whether a neuron that would fire now, and has at this very instant, gains nothing by it."""
    if p.t_ref != 0.0 or hi != free_hi or lo != free_lo:
        return False
    now, then = height(p, x), height(p, verbs.fire(p, x, 0.0))
    return not_before(then[0], then[1], now[0], now[1])


@kernel
def own_events(p, n, x, clock, c, limit_hi, limit_lo, rules, spikes, doubts):
    """Spikes and releases of neuron `n` up to a limit, from its state at its last own event.

    Parameters
    ----------
    p, n, x, clock
        Parameters of one neuron as plain numbers, its index, state and `Clock`.
    c : tuple
        `verbs.interval` from its last own event to the limit.
    limit_hi, limit_lo : float
        Time of its next arrival, the end of the run, or a horizon.
    rules : Rules
    spikes, doubts : Log

    Returns
    -------
    x, clock
        At the last own event.
    y : tuple
        The state flowed from there to the limit.
    status : int
        `FULL` asks for more room and another call with the answer; `ZENO`: a spike leaves
        the neuron above threshold without a refractory period.
    """
    limit = rules.limit
    inclusive = limit == AT_END or limit == AT_INSTANT
    exclusive = limit == AT_HORIZON or (rules.arrival_first and limit == AT_ARRIVAL)
    hi, lo, busy, free_hi, free_lo, free_error = clock
    while True:
        if spikes.used[0] == spikes.unit.size or doubts.used[0] + 4 > doubts.unit.size:
            return x, Clock(hi, lo, busy, free_hi, free_lo, free_error), x, FULL
        if busy:
            late = elapsed(limit_hi, limit_lo, free_hi, free_lo)
            if abs(late) <= free_error and limit == AT_ARRIVAL:
                note(doubts, limit_hi, limit_lo, n, RELEASE)
            if not not_before(limit_hi, limit_lo, free_hi, free_lo):
                y = verbs.clamp(p, c, x)
                return x, Clock(hi, lo, busy, free_hi, free_lo, free_error), y, DONE
            x = verbs.clamp(p, verbs.interval(p, elapsed(free_hi, free_lo, hi, lo)), x)
            hi, lo, busy = free_hi, free_lo, False
            if doubtful_release(p, x, free_error):
                note(doubts, hi, lo, n, RELEASE)
            c = verbs.interval(p, elapsed(limit_hi, limit_lo, hi, lo))
        gap = elapsed(limit_hi, limit_lo, hi, lo)
        y, may = verbs.step(p, c, x)
        if not may or (gap == 0.0 and not inclusive) or verbs.silent(p, x, y):
            return x, Clock(hi, lo, busy, free_hi, free_lo, free_error), y, DONE
        s, tolerance, peak = next_own_spike(p, x, y, hi, lo, free_hi, free_lo)
        if peak <= gap:
            at_hi, at_lo = add_time(hi, lo, peak)
            note(doubts, at_hi, at_lo, n, GRAZE)
        if tolerance > 0.0 and abs(s - gap) <= tolerance and limit <= AT_END:
            note(doubts, limit_hi, limit_lo, n, TIE if limit == AT_END else ARRIVAL)
        # On the times themselves: the gap has been rounded, and an exact tie may hide in that.
        at_hi, at_lo = add_time(hi, lo, s) if s < np.inf else (s, 0.0)
        in_time = not_before(limit_hi, limit_lo, at_hi, at_lo)
        if not in_time or (exclusive and at_hi == limit_hi and at_lo == limit_lo):
            return x, Clock(hi, lo, busy, free_hi, free_lo, free_error), y, DONE
        if s == 0.0 and endless(p, x, hi, lo, free_hi, free_lo):
            return x, Clock(hi, lo, busy, free_hi, free_lo, free_error), y, ZENO
        x = verbs.fire(p, x, s)
        hi, lo = at_hi, at_lo
        note(spikes, hi, lo, n, s == 0.0)
        free_hi, free_lo = add_time(hi, lo, p.t_ref if p.t_ref > 0.0 else 0.0)
        busy, free_error = not not_before(hi, lo, free_hi, free_lo), tolerance
        c = verbs.interval(p, elapsed(limit_hi, limit_lo, hi, lo))


@inline_kernel
def advance_to(p, n, x, clock, c, hi, lo, port, weight, arrival_first, spikes, doubts):
    """Neuron `n` through its own events to an arrival of `weight` at `port`, and past it.

    `c` is `verbs.interval` from its last own event to the arrival. Returns its state and clock
    right after the arrival and `DONE`, or, without the arrival, those at its last own event
    and the status of `own_events`.
    """
    y, may = verbs.step(p, c, x)
    if clock.busy or (may and not verbs.silent(p, x, y)):
        rules = Rules(arrival_first, AT_ARRIVAL)
        x, clock, y, status = own_events(p, n, x, clock, c, hi, lo, rules, spikes, doubts)
        if status != DONE:
            return x, clock, status
    if clock.busy:
        y = verbs.receive_clamped(p, y, port, weight)
    else:
        y = verbs.receive(p, y, port, weight)
    return y, Clock(hi, lo, clock.busy, clock.free_hi, clock.free_lo, clock.free_error), DONE


@inline_kernel
def interval_to(p, clock, hi, lo):
    """`verbs.interval` from a neuron's last own event to the time (hi, lo)."""
    return verbs.interval(p, elapsed(hi, lo, clock.hi, clock.lo))


class Place(NamedTuple):
    """Where a run stands, so that it can stop for want of room and go on."""

    event: Any  # (2,) events that all neurons have done, and up to which they have flowed
    turn: Any  # (1,) which of a sweep's two buffers holds the state after them
    neuron: Any  # (1,) neurons done with what comes next
    arrival: Any  # (1,) arrivals of it that the next neuron has done
    within: Any  # (1,) that neuron has stopped after an own event since


def new_place() -> Place:
    """The start of a run."""
    return Place(lone([0, 0]), *(lone([0]) for _ in range(4)))


class Books(NamedTuple):
    """What a population keeps besides its state: clocks, refractoriness, external currents."""

    hi: Any  # (n,) time of the last own event; a sweep knows it without
    lo: Any
    busy: Any  # uint8, with room as `new_flags` has it: the neuron is refractory
    free_hi: Any  # (n,) when the neuron was or is free after its last spike; -1 without one
    free_lo: Any
    free_error: Any
    pulses: Any  # (2, n) sum of running pulses
    current: Any  # (n,) piecewise-constant input


def new_flags(n: int) -> np.ndarray:
    """One byte per neuron, and room for eight whole words of eight, as which they are scanned."""
    return np.zeros((n + 63) // 64 * 64, np.uint8)


def new_books(n: int) -> Books:
    """Books of a population at the start of a run."""
    zeros, never = np.zeros((5, n)), np.full(n, -1.0)
    return Books(
        zeros[0], zeros[1], new_flags(n), never, zeros[2], zeros[3], np.zeros((2, n)), zeros[4]
    )


@inline_kernel
def clock_of(books, n):
    """Clock of neuron `n`."""
    busy, error = books.busy[n] != 0, books.free_error[n]
    return Clock(books.hi[n], books.lo[n], busy, books.free_hi[n], books.free_lo[n], error)


@inline_kernel
def enter(books, n, clock):
    """Write the clock of neuron `n` into the books."""
    books.hi[n], books.lo[n], books.busy[n] = clock.hi, clock.lo, clock.busy
    books.free_hi[n], books.free_lo[n] = clock.free_hi, clock.free_lo
    books.free_error[n] = clock.free_error


@inline_kernel
def stop_at(place, n, arrival):
    """Note that neuron `n` has stopped after so many arrivals."""
    place.neuron[0], place.arrival[0], place.within[0] = n, arrival, 1


@kernel
def finish(p, state, books, span, base, until, place, spikes, doubts):
    """The neurons of `span`, from `place` on, through their last own events up to `until`.

    `span` are the first neuron, one behind the last, and what to add to get a place; a spike
    is logged with `base` and the place as its unit. Returns a status.
    """
    rules = Rules(False, AT_END)
    first, last, shift = span
    for n in range(max(first, place.neuron[0] - shift), last):
        clock = clock_of(books, n)
        q = verbs.pick(p, n)
        c = interval_to(q, clock, until[0], until[1])
        x, clock, _, status = own_events(
            q, n + shift + base, verbs.load(state, n), clock, c, until[0], until[1], rules,
            spikes, doubts,
        )  # fmt: skip
        verbs.store(state, n, x)
        enter(books, n, clock)
        if status != DONE:
            stop_at(place, n + shift, 0)
            return status
    return DONE


#: Kinds of events: a pulse of that height starts or ends, a new current; and from 0 on, weights
#: arrive at the synaptic port of that number.
PULSE_ON, PULSE_OFF, CURRENT = -1, -2, -3


def move(p, n, x, busy, pulses, current, kind, value):
    """State of neuron `n` after its external current changed; keeps the books of its sum.

    `pulses` (2, n) is the sum of the running pulses as two doubles, so that what a pulse
    added it takes away again; `current` (n,) the piecewise-constant input.
    """
    old = pulses[0, n] + current[n]
    if kind == CURRENT:
        current[n] = value
        return verbs.redrive(p, n, x, busy, old, pulses[0, n] + value)
    change = value if kind == PULSE_ON else -value
    pulses[0, n], pulses[1, n] = add_time(pulses[0, n], pulses[1, n], change)
    return verbs.pulse(p, n, x, busy, old, pulses[0, n] + current[n])


@overload(move, jit_options=OPTIONS)
def _move(p, n, x, busy, pulses, current, kind, value):
    # Currents need the array form; the scalar form is compiled without them.
    if not verbs.has_arrays(p):
        return lambda p, n, x, busy, pulses, current, kind, value: x
    return move
