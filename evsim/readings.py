"""Maximum and integral of the voltage of neurons that never fire, in closed form.

Between two own events the voltage turns at most once, at a time that has a closed form, and
its integral is one expression: nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from evsim.jit import kernel
from evsim.lists import Arrivals
from evsim.models import verbs
from evsim.neuron import move, new_books
from evsim.numerics import add_time, elapsed


class Readings(NamedTuple):
    """What is read of every neuron, counted from the level `rest` of its model."""

    highest: Any  # (n,) supremum of the voltage
    when: Any  # (n,) the time at which it is first taken, or approached [s]
    area: Any  # (n,) integral of the voltage [voltage times s]


@kernel
def span(p, x, drive, hi, lo, d, n, out, lost):
    """Enter into `out` the interval of length `d` from time (hi, lo) and state `x` of neuron `n`.

    `lost` (1,) gathers what the sum of the areas rounds away (Neumaier 1974).
    """
    value, s = verbs.extremum(p, x, d)
    if value + drive > out.highest[n]:
        out.highest[n] = value + drive
        out.when[n], _ = add_time(hi, lo, s)
    for part in (verbs.area(p, x, d), drive * d):
        old = out.area[n]
        new = old + part
        larger, smaller = (old, part) if abs(old) >= abs(part) else (part, old)
        lost[0] += (larger - new) + smaller
        out.area[n] = new


@kernel
def read(p, state, books, block, arrivals, until, out, lost):
    """Read the neurons of a block over [0, until], from their state at time 0.

    A value that lasts no time is no voltage: that before an arrival at time 0, or between
    two arrivals at one time. The value after an arrival at `until` counts.
    """
    for n in range(block[0], block[1]):
        q, x = verbs.pick(p, n), verbs.load(state, n)
        since_hi, since_lo, drive, lost[0] = 0.0, 0.0, 0.0, 0.0
        for a in range(arrivals.start[n - block[0]], arrivals.start[n - block[0] + 1]):
            hi, lo = arrivals.hi[a], arrivals.lo[a]
            kind, value = arrivals.kind[a], arrivals.value[a]
            d = elapsed(hi, lo, since_hi, since_lo)
            if d > 0.0:
                span(q, x, drive, since_hi, since_lo, d, n, out, lost)
                x, _ = verbs.step(q, verbs.interval(q, d), x)
            if kind >= 0:
                x = verbs.receive(q, x, kind, value)
            else:
                x = move(p, n, x, False, books.pulses, books.current, kind, value)
                q = verbs.pick(p, n)
                drive = books.pulses[0, n] + books.current[n]
            since_hi, since_lo = hi, lo
        d = elapsed(until, 0.0, since_hi, since_lo)
        span(q, x, drive, since_hi, since_lo, d, n, out, lost)
        out.area[n] += lost[0]


def readings(
    p,
    state: tuple[np.ndarray, ...],
    blocks: Iterable[tuple[int, int, Arrivals]],
    until: float,
) -> Readings:
    """Readings of a population of readouts.

    Parameters
    ----------
    p : NamedTuple
        Kernel parameters in the array form.
    state : tuple of ndarray, shape (n,)
        State at time 0, as the kernels count it.
    blocks : iterable of (first, last, Arrivals)
        Of all neurons; arrivals up to `until`.
    until : float
        End of the run [s].
    """
    n = state[0].size
    out = Readings(np.full(n, -np.inf), np.zeros(n), np.zeros(n))
    books = new_books(n)
    for first, last, arrivals in blocks:
        read(p, state, books, (first, last), arrivals, until, out, np.zeros(1))
    return out
