r"""Losses of the voltage of neurons that never fire.

The maximum over time is read where it is taken: at a turn of the voltage, whose own time does
not matter, or at an arrival, with which it moves. The integral needs no running source. For
:math:`c \int_0^T u\, dt` the costate :math:`(c \tau_m, c \tau_s)` is stationary,

.. math::
    \lambda(t) = (c \tau_m, c \tau_s) - \Phi(T - t)^T (c \tau_m, c \tau_s),           \tag{1}

so the homogeneous adjoint goes from :math:`-(c \tau_m, c \tau_s)` at the end, and the constant
part adds :math:`c \tau_s` to the derivative by the weight of every arrival, and, from
:math:`\int u = \tau_s X - \tau_m Y` with :math:`X = i(0) - i(T) + \sum w` and
:math:`Y = u(T) - u(0)`, :math:`c X` and :math:`-c Y` to those by the time constants.
"""

from __future__ import annotations

import numpy as np

from evsim.adjoint import Sums
from evsim.arrivals import starts_of
from evsim.backward import Leg, go_back
from evsim.losses import Integral, Maximum
from evsim.neuron import CURRENT, PULSE_OFF
from evsim.record import Record
from evsim.sent import DEARER
from evsim.tape import Columns, Tape, columns_of


class ReadoutLeg(Leg):
    """A population of readouts and one loss of its voltages, `c` by what is read."""

    def __init__(self, record: Record, name: str, bases, shared, kind: type, c) -> None:
        super().__init__(record, name, bases, shared)
        self.kind, self.c = kind, c
        if self.model.spiking:
            raise ValueError(
                f"cotangents[{name!r}]: {kind.__name__} is for readouts (LI), which no spike "
                f"resets; {name!r} is of {type(self.model).__name__}"
            )
        if kind is Maximum:
            self._stop_at_maximum()

    def _stop_at_maximum(self) -> None:
        """End the life of every neuron where its voltage is greatest."""
        self.until = self.record.maximum(self.name)[1]
        self.sums.costate[0][:] = self.c
        self.by_rest += self.c

    def open(self, since, until) -> None:
        """As of any leg; what comes after a maximum is left out."""
        if self.opened == (since, until):
            return
        super().open(since, until)
        if self.kind is Maximum:
            self.tape, self.at_end = up_to_maximum(self.model, self.tape, self.until)

    def go(self, totals: np.ndarray, room: int) -> None:
        """The backward pass of this loss alone."""
        if self.kind is Integral:
            self._source()
        rows = self.rows[0]
        size = 1 + DEARER * int((rows.last - rows.first).sum())
        go_back(self.record.network, [self], self.record, totals, size)
        if self.kind is Integral:
            self._constant_part(totals)
        else:
            moves_with_arrivals(self.at_end, self.sums, totals)

    def _taus(self) -> tuple[np.ndarray, np.ndarray]:
        ones = np.ones(self.n)
        delta = self.model.tau_syn is None
        return self.model.tau_mem * ones, 0.0 * ones if delta else self.model.tau_syn * ones

    def _source(self) -> None:
        mem, syn = self._taus()
        self.sums.costate[0][:], self.sums.costate[1][:] = -self.c * mem, -self.c * syn
        self.by_rest += self.c * self.record.until

    def _constant_part(self, totals: np.ndarray) -> None:
        mem, syn = self._taus()
        delta = self.model.tau_syn is None
        per_weight = self.c * (mem if delta else syn)
        target = np.repeat(np.arange(self.n), np.diff(self.tape.start))
        columns = columns_of(self.tape)
        real = columns.kind >= 0
        self.sums.weight[:] += np.bincount(
            columns.synapse[real], per_weight[target[real]], self.sums.weight.size
        )
        arrived = np.bincount(target[real], columns.value[real], self.n)
        u, i = self.record.initial[self.name]
        rise = self.sums.last[0] - u
        if self.tape.driven:  # it is counted from where an external current would hold it
            t, rest = self.record.until, np.broadcast_to(self.model.rest(), (self.n,))
            ends = [self.record.voltage(self.name, n, t) for n in range(self.n)]
            rise = np.array(ends) - rest - u
        x = i - self.sums.last[1] - self.books.pulses[0] + arrived
        self.sums.flow[0][:] -= self.c * (rise - (arrived if delta else 0.0))
        if not delta:
            self.sums.flow[1][:] += self.c * x
        self.sums.costate[0][:] += self.c * mem
        self.sums.costate[1][:] += self.c * syn
        steps = Columns(*(column[~real] for column in columns))
        self._constant_part_of_steps(target[~real], steps, totals)

    def _constant_part_of_steps(self, target: np.ndarray, steps: Columns, totals) -> None:
        """By heights and times of steps of the external current of these neurons."""
        sums, n = self.sums, self.n
        kind, t, value, source = steps.kind, steps.hi, steps.value, steps.source
        mem, syn = self._taus()
        pulsed, c = kind != CURRENT, self.c[target]
        by_height = -c * (mem[target] + np.where(pulsed, syn[target], 0.0) + t)
        sign = np.where(kind == PULSE_OFF, -1.0, 1.0)
        np.add.at(sums.weight, steps.synapse[pulsed], (sign * by_height)[pulsed])
        np.add.at(sums.delay, steps.delay[pulsed], (-sign * c * value)[pulsed])
        np.add.at(totals, source[pulsed], (-sign * c * value)[pulsed])
        at, by_height, c = steps.delay[~pulsed], by_height[~pulsed], c[~pulsed]
        np.add.at(sums.drive, at, by_height)
        later = at >= n
        np.add.at(sums.drive, at[later] - n, -by_height[later])
        values = self.record.inputs[self.name].rows(n, self.name) if at.size else np.zeros((0, n))
        change = np.diff(values, axis=0, prepend=0.0).ravel()
        np.add.at(sums.edge, at, -c * change[at])


def up_to_maximum(model, tape: Tape, until: np.ndarray):
    """The arrivals of every neuron up to its maximum at `until` (n,), and those at its very time.

    The latter as (target, source, where their derivatives by time go, kind), one of each target.
    """
    n, columns = until.size, columns_of(tape)
    target = np.repeat(np.arange(n), np.diff(tape.start))
    t = until[target]
    # At its very time: a jump up is what has made it, anything else comes after it.
    jumps = (model.tau_syn is None) & (columns.value > 0.0) & (columns.kind >= 0)
    keep = (columns.hi < t) | ((columns.hi == t) & jumps)
    with_it = np.flatnonzero((columns.hi == t) & ((columns.source >= 0) | (columns.kind < 0)))
    who, where = np.unique(target[with_it], return_index=True)
    first = with_it[where]
    at_end = who, columns.source[first], columns.delay[first], columns.kind[first]
    start = starts_of(np.bincount(target[keep], minlength=n))
    return tape._replace(start=start, code=tape.code[keep]), at_end


def moves_with_arrivals(at_end, sums: Sums, totals: np.ndarray) -> None:
    """A maximum that an arrival makes, or cuts short, moves with it."""
    who, source, place, kind = at_end
    rate, step = sums.rate[who], kind == CURRENT
    np.add.at(sums.edge, place[step], rate[step])
    np.add.at(totals, source[~step], rate[~step])
    np.add.at(sums.delay, place[~step], rate[~step])
