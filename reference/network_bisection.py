r"""Networks of leaky neurons behind exponential synapses, by pure bisection with many digits.

Between its events a neuron obeys :math:`\tau_m \dot u = i - u`, :math:`\tau_s \dot i = -i`. With a
threshold :math:`\vartheta > 0` above rest and :math:`u < \vartheta`, it can cross only while
:math:`i \ge \vartheta`, and once across it stays there as long: it fires before the time
:math:`\tau_s \ln(i/\vartheta)` at which the current sinks to threshold if and only if it is
above threshold then. That interval is halved until nothing is left of it. No Newton step,
no series, no quadratic model; events in the order of their exact times.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from typing import Any

import mpmath
from mpmath import mpf

from reference import cells


@dataclass
class Cell:
    """One neuron at the time `t` of its last event."""

    tau_mem: mpf
    tau_syn: mpf
    theta: mpf
    reset: mpf
    t_ref: mpf
    u: Any = 0
    i: Any = 0
    t: Any = 0
    free: Any = 0

    def after(self, s: mpf) -> tuple[mpf, mpf]:
        """(u, i) after `s`, free of refractoriness: the convolution spelled out."""
        model = cells.Cell(kind="cuba", tau_mem=self.tau_mem, tau_syn=self.tau_syn)
        u, i, _ = model.flow(self.u, self.i, mpf(0), s)
        return u, i

    def go(self, t: mpf) -> None:
        """On to the time `t`, without a spike."""
        if self.t < self.free:
            end = min(t, self.free)
            self.i *= mpmath.exp(-(end - self.t) / self.tau_syn)
            self.t = end
        if t > self.t:
            self.u, self.i = self.after(t - self.t)
            self.t = t

    def next_spike(self, until: mpf | None) -> mpf | None:
        """When it fires next, up to the time of its next arrival, if nothing else arrives."""
        start = max(self.t, self.free)
        here = replace(self)
        here.go(start)
        if here.u >= self.theta:
            raise ValueError("a neuron starts above threshold")
        if here.i <= self.theta or (until is not None and until < start):
            return None
        low, high = mpf(0), self.tau_syn * mpmath.log(here.i / self.theta)
        if until is not None:
            high = min(high, until - start)
        if here.after(high)[0] < self.theta:
            return None
        for _ in range(mpmath.mp.prec + 10):
            middle = (low + high) / 2
            if here.after(middle)[0] < self.theta:
                low = middle
            else:
                high = middle
        return start + high


@dataclass
class Network:
    """Cells, synapses (post, delay, weight) of each, and inputs (time, post, weight)."""

    cells: list[Cell]
    synapses: list[list[tuple[int, float, float]]]
    inputs: list[tuple[float, int, float]] = field(default_factory=list)


def run(network: Network, until: float, most: int = 10**6) -> list[tuple[mpf, int]]:
    """All spikes up to `until`, as (time, neuron), in the precision of mpmath's context; the
    first `most + 1` if there are more than `most`.

    Raises
    ------
    ValueError
        If a reset leaves a neuron above threshold.
    """
    queue = [(mpf(t), k, post, mpf(w)) for k, (t, post, w) in enumerate(network.inputs)]
    heapq.heapify(queue)
    count = len(queue)
    spikes: list[tuple[mpf, int]] = []

    def next_of(n: int) -> mpf | None:
        """Its next spike, as far as the arrivals that are known do not come before."""
        return network.cells[n].next_spike(min((a[0] for a in queue if a[2] == n), default=None))

    due = [next_of(n) for n in range(len(network.cells))]
    while True:
        first = min(((t, n) for n, t in enumerate(due) if t is not None), default=None)
        arrival = queue[0][0] if queue else None
        if first is not None and (arrival is None or first[0] <= arrival):
            t, n = first
            if t > until:
                return spikes
            cell = network.cells[n]
            cell.go(t)
            cell.u, cell.free = cell.reset, t + cell.t_ref
            spikes.append((t, n))
            if len(spikes) > most:
                return spikes
            for post, delay, weight in network.synapses[n]:
                heapq.heappush(queue, (t + mpf(delay), count, post, mpf(weight)))
                count += 1
        elif arrival is not None and arrival <= until:
            t, _, n, weight = heapq.heappop(queue)
            network.cells[n].go(t)
            network.cells[n].i += weight
        else:
            return spikes
        due[n] = next_of(n)
