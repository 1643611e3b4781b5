r"""Exact oracle of a network of integrate-and-fire neurons, neuron by neuron.

Given all spikes of a network, every neuron's arrivals are known, and `reference.lif` says
exactly when it fires. What is known grows: where all spikes of a neuron before :math:`b_j` are
known, what comes to others from it is known before :math:`b_j + d_{jk}`, and so

.. math::
    b_k = \min_j (b_j + d_{jk})                                              \tag{1}

bounds what is certain of neuron k. Where every cycle has a positive delay, (1) reaches the end.
A spike before the bound, but after the last arrival before it, is sent on at once; the neuron's
own walk meets it again as soon as its next arrival is known, from which it has its margins.

Times are handed on as rationals of 60 digits. A spike that one neuron knows to within some
bound arrives at the next that much late, so that the bounds on what float64 can know
(`reference.attainable`) are carried through the network.

References
----------
Chandy and Misra (1979), Distributed simulation: a case study in design and verification of
distributed programs.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, ctx

from reference.agenda import Event, agenda_of, arriving, rational
from reference.crossing import Referee
from reference.flows import Undecided
from reference.lif import Walk, until_certain
from reference.neuron import Neuron, Run

BELOW = 1.0 - 2.0**-48  # what a bound in floats is shortened by


@dataclass(frozen=True)
class Synapse:
    """From one neuron to another."""

    pre: int
    post: int
    weight: float
    delay: float = 0.0


def simulate(
    neurons: Sequence[Neuron],
    arrivals: Sequence[Sequence[Sequence[float]]],
    synapses: Sequence[Synapse],
    until: float,
    *,
    jitter: float = 0.0,
    most: float = math.inf,
) -> list[Run]:
    """Every spike of every neuron on [0, until].

    Parameters
    ----------
    neurons : sequence of Neuron
    arrivals : sequence of sequences of (time, weight) or (time, weight, delay)
        For each neuron, what comes from outside.
    synapses : sequence of Synapse
        Between neurons; every cycle needs a positive delay.
    until : float
    jitter : float, optional
    most : int, optional
        Of one neuron; both as of `reference.lif.simulate`.

    Returns
    -------
    runs : list of Run
        One per neuron.

    Raises
    ------
    ValueError
        If a cycle has no delay, or a neuron fires more than `most` times.
    """

    def attempt(final: bool) -> list[Walk]:
        nodes = []
        for neuron, given in zip(neurons, arrivals, strict=True):
            walk = Walk(neuron, until, Referee(final), jitter=jitter, most=most)
            nodes.append(_Node(walk, agenda_of(neuron.current, given, until, jitter)))
        return _Network(nodes, synapses, until, jitter).walks()

    return [walk.settled() for walk in until_certain(attempt)]


@dataclass
class _Node:
    """One neuron on its way: its walk as far as arrivals are certain, and a look ahead."""

    walk: Walk
    queue: list[Event]
    bound: float = 0.0  # all spikes before it were sent
    sent: int = 0
    scout: Walk | None = None
    limit: Any = None  # how far the scout looks
    ahead: bool = False  # whether its last spike is still to be sent


class _Network:
    """All neurons at one precision."""

    def __init__(
        self, nodes: list[_Node], synapses: Sequence[Synapse], until: float, jitter: float
    ) -> None:
        self.nodes, self.until, self.jitter = nodes, until, jitter
        self.end = rational(until)
        self.heard: list[list[Synapse]] = [[] for _ in nodes]
        self.told: list[list[Synapse]] = [[] for _ in nodes]
        for s in synapses:
            self.heard[s.post].append(s)
            self.told[s.pre].append(s)

    def walks(self) -> list[Walk]:
        """Round by round, until all are at the end."""
        waiting = [*range(len(self.nodes))]
        while waiting:
            before = [self.nodes[n].bound for n in waiting]
            for n in waiting:
                self.advance(n)
            if before == [self.nodes[n].bound for n in waiting]:
                raise ValueError("some spikes wait for themselves: a cycle without delay?")
            waiting = [n for n in waiting if self.nodes[n].bound < math.inf]
        return [node.walk for node in self.nodes]

    def reach(self, n: int) -> float:
        """(1), and a little less."""
        least = min((self.nodes[s.pre].bound + s.delay for s in self.heard[n]), default=math.inf)
        return math.inf if least * BELOW > self.until else least * BELOW

    def advance(self, n: int) -> None:
        """One neuron as far as its arrivals are certain."""
        node, reach = self.nodes[n], self.reach(n)
        if reach <= node.bound:
            return
        walk, queue = node.walk, node.queue
        while queue and queue[0].when < reach:
            walk.meet(queue.pop(0))
            node.scout = None
        if reach == math.inf:
            walk.go_to(walk.until, None)
            node.bound = reach
        for k in range(node.sent, len(walk.times)):
            self.send(n, walk, k)
        if reach < math.inf:
            self.look_ahead(n, reach)
        elif node.sent > len(walk.times):  # not all that was foreseen has come
            raise Undecided("order")

    def look_ahead(self, n: int, reach: float) -> None:
        """Spikes before `reach` and before the next arrival, be it known yet or not."""
        node = self.nodes[n]
        if node.scout is None:
            end = arb(node.queue[0].time) if node.queue else node.walk.until
            node.scout, node.limit = node.walk.scout(), end
            node.ahead = node.scout.fires_by(end, None)
        while node.ahead and node.scout.times[-1] < reach:
            self.send(n, node.scout, -1)
            node.ahead = node.scout.fires_by(node.limit, None)
        node.bound = reach
        if node.ahead and not node.scout.times[-1] > reach:
            node.bound = float(node.scout.times[-1].lower()) * BELOW

    def send(self, n: int, walk: Walk, k: int) -> None:
        """Spike k of neuron n, to all that hear it."""
        self.nodes[n].sent += 1
        if not self.told[n]:
            return
        time, late = walk.times[k].mid().fmpq(), walk.settled().spikes[k].bound
        for s in self.told[n]:
            event = arriving(time, s.weight, s.delay, late, jitter=self.jitter)
            if event.time <= self.end:
                _insert(self.nodes[s.post].queue, event)


def _insert(queue: list[Event], event: Event) -> None:
    """An event at its place, or joined with another at the same time."""
    k = bisect_left(queue, event.time, key=lambda e: e.time)
    if k < len(queue) and queue[k].time == event.time:
        queue[k].join(event)
    else:
        queue.insert(k, event)


def exact(text: str) -> Fraction:
    """A spike time as a rational: the middle of its enclosure, to 200 bits or so."""
    with ctx.workprec(256):
        mantissa, exponent = arb(text).mid().man_exp()
        return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
