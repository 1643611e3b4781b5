"""Synapses onto a population, and what a gradient adds up for them."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from evsim.delivery import incoming
from evsim.network import Network
from evsim.sent import links_of
from evsim.tape import Links, Shelf


class Synaptic:
    """Derivatives by the weights and delays onto one population, gathered over a whole batch.

    Kernels add them up in the order of `links`: what a neuron hears lies together. Those by delays
    that all synapses of a projection share come first, one per projection; where others have one
    per synapse, these lie behind.
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network, self.name = network, name
        mine = incoming(network, name)
        ends = [0, *accumulate(p.weight.size for p in mine)]
        self.places = {p.name: slice(*ends[k : k + 2]) for k, p in enumerate(mine)}
        self.rank = {p.name: k for k, p in enumerate(mine)}
        own = any(np.ndim(p.delay) for p in mine)
        self.size = ends[-1]
        self.delay = np.zeros(len(mine) + own * self.size)
        self.shelf = Shelf()

    @cached_property
    def links(self) -> Links:
        """The synapses."""
        return links_of(self.network, self.name)

    def _by_target(self, given) -> np.ndarray:
        """One number for each synapse, from those of every projection, in order of target."""
        mine, found = incoming(self.network, self.name), np.empty(self.links.n_synapses)
        each = [np.broadcast_to(np.ravel(given(p)), p.weight.size) for p in mine]
        found[self.links.number] = np.concatenate([np.zeros(0), *each])
        return found

    @cached_property
    def value(self) -> np.ndarray:
        """Their weights, in order of target."""
        return self._by_target(lambda projection: projection.weight)

    @cached_property
    def own_delay(self) -> np.ndarray:
        """Their delays, in order of target."""
        return self._by_target(lambda projection: projection.delay)

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """By the weights of layers that have one row after another; which rows hold nothing yet,
        not even zeros."""
        n = self.network.size(self.name)
        return np.empty((self.size // n, n)), np.ones(self.size // n, bool)

    @cached_property
    def by_weight(self) -> np.ndarray:
        """Derivatives by the weights, in order of target."""
        return np.zeros(self.links.n_synapses)

    def of_weight(self, name: str) -> np.ndarray:
        """By the weights of a projection, in its own order."""
        mine, known = self.places[name], vars(self)
        found = [self.rows[0].ravel()[mine]] if "rows" in known else []
        if "by_weight" in known:
            found.append(self.by_weight[self.links.number[mine]])
        return sum(found[1:], found[0]) if found else np.zeros(mine.stop - mine.start)

    def of_delay(self, name: str, each: bool) -> Any:
        """By the delay of a projection: one number, or one for each synapse in its own order."""
        if not each:
            return float(self.delay[self.rank[name]])
        return self.delay[len(self.rank) :][self.links.number[self.places[name]]]


#: By population.
Shared = dict[str, Synaptic]
