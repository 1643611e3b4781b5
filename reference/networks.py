r"""Exact oracle of a network of integrate-and-fire neurons, neuron by neuron.

Given all spikes of a network, every neuron's arrivals are known, and `reference.lif` says
exactly when it fires. The spikes of the network are therefore a fixed point of "let every
neuron hear what the others are believed to send". Where every cycle has a positive delay there
is one fixed point, and iteration reaches it: with d the smallest delay of a cycle, each round
makes the spikes of another d certain, and a round that changes nothing proves all of them.

Times are handed on as rationals of 60 digits. A spike that one neuron knows to within some
bound arrives at the next that much late, so that the bounds on what float64 can know
(`reference.attainable`) are carried through the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from flint import arb, ctx

from reference.lif import simulate as simulate_neuron
from reference.neuron import Neuron, Run

ROUNDS = 1000


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
        If rounds do not come to rest, as where a cycle has no delay; or if a neuron fires more
        than `most` times.
    """
    heard: list[list[Synapse]] = [[] for _ in neurons]
    for s in synapses:
        heard[s.post].append(s)
    runs: list[Run | None] = [None] * len(neurons)
    trains: list[list[tuple[Fraction, float]]] = [[] for _ in neurons]
    changed = [True] * len(neurons)
    for _ in range(ROUNDS):
        for n, neuron in enumerate(neurons):
            if runs[n] is not None and not any(changed[s.pre] for s in heard[n]):
                changed[n] = False
                continue
            inside = [(t, s.weight, s.delay, late) for s in heard[n] for t, late in trains[s.pre]]
            runs[n] = run = simulate_neuron(
                neuron, [*arrivals[n], *inside], until, jitter=jitter, most=most
            )
            train = [(exact(s.text), s.bound) for s in run.spikes]
            changed[n] = train != trains[n]
            trains[n] = train
        if not any(changed):
            return [run for run in runs if run is not None]
    raise ValueError(f"spikes still change after {ROUNDS} rounds: a cycle without delay?")


def exact(text: str) -> Fraction:
    """A spike time as a rational: the middle of its enclosure, to 200 bits or so."""
    with ctx.workprec(256):
        mantissa, exponent = arb(text).mid().man_exp()
        return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
