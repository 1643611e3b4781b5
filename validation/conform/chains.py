"""Why a network of several layers deviates, when what is observed is its output only.

What an importer gets wrong in one neuron it gets wrong in all: the same flips are tried on every
layer of neurons at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from validation import causes
from validation.conform import meaning
from validation.conform.graphs import Case
from validation.conform.misreadings import misreadings
from validation.conform.search import beam, least
from validation.declared import Declared
from validation.flips import Flip, flips

#: Steps on which sets of flips are tried first.
STEPS = 20


def causes_of(case: Case, y: np.ndarray, framework: str) -> list[str]:
    """Causes that explain the output of a chain with several layers of neurons; else none."""
    nodes = meaning.chain_of(case.graph)
    if sum(type(node).__name__ in meaning.SPIKING for _, node in nodes) < 2:
        return []
    whole = _Chain(nodes, case.x, case.dt, y, framework)
    short = _Chain(nodes, case.x[:STEPS, :1], case.dt, y[:STEPS, :1], framework)
    singles = [flip for flip in _flips(whole.layers[-1]) if not flip.shift]
    chosen = beam(singles, short.left)
    if not chosen or whole.left(chosen) > 0:
        return []
    return list(dict.fromkeys(flip.cause for flip in least(chosen, whole.left)))


def _flips(d: Declared) -> list[Flip]:
    return [*flips(d), *misreadings(d)]


@dataclass
class _Chain:
    """A chain of nodes, its input and the output that was observed."""

    nodes: Sequence[tuple[str, Any]]
    x: np.ndarray
    dt: float
    y: np.ndarray
    framework: str

    def __post_init__(self) -> None:
        self.first = 0  # what comes before the first neurons is the same whatever is flipped
        x = self.x
        while type(self.nodes[self.first][1]).__name__ not in meaning.SPIKING:
            x = self._through(self.first, x)
            self.first += 1
        self.heard = x
        self.layers: list[Declared] = []
        self.run(())

    def _through(self, k: int, x: np.ndarray) -> np.ndarray:
        out = meaning.stateless(*self.nodes[k], x, self.dt)
        assert out is not None
        return out

    def run(self, chosen: Sequence[Flip]) -> np.ndarray | None:
        """The output with some flips, which are those of the last layer; None if they fail."""
        x, layers = self.heard, []
        for k in range(self.first, len(self.nodes)):
            node = self.nodes[k][1]
            if type(node).__name__ not in meaning.SPIKING:
                x = self._through(k, x)
                continue
            silent = np.zeros((*x.shape[:2], node.v_threshold.size), np.int64)
            d = replace(meaning.readings(node, x, self.dt, self.framework)[0], spikes=silent)
            layers.append(d)
            flipped = causes.flipped(d, _of(d, chosen))
            if flipped is None:
                return None
            spikes = flipped.run(forced=False, bound=False).spikes
            x = spikes.reshape(x.shape).astype(np.float32)
        self.layers = self.layers or layers
        return x

    def left(self, chosen: Sequence[Flip]) -> float:
        """How many counts of the output stay unexplained."""
        try:
            out = self.run(chosen)
        except (ValueError, FloatingPointError):
            return np.inf
        if out is None or out.size != self.y.size:
            return np.inf
        return float((out.reshape(-1) != self.y.reshape(-1)).sum())


def _of(d: Declared, chosen: Sequence[Flip]) -> list[Flip]:
    """The flips of a layer that say the same as those chosen for another."""
    if not chosen:
        return []
    said = {(flip.cause, flip.words) for flip in chosen}
    found: dict[tuple[str, str], Flip] = {}
    for flip in _flips(d):
        if (flip.cause, flip.words) in said:
            found.setdefault((flip.cause, flip.words), flip)
    return list(found.values())
