"""Causes of a deviation that is known from one small run: up to four switches at a time.

Importers often get several things wrong at once. A pair of switches is searched for completely
(`validation.causes`); beyond that, the sets that leave fewest spikes unexplained are extended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation import causes
from validation.declared import Declared
from validation.discrete import Checked, check
from validation.flips import Flip, flips

MOST, WIDTH = 4, 10
#: Steps after the first mismatch on which sets are tried.
STEPS = 30


def causes_of(d: Declared, checked: Checked) -> list[str]:
    """The causes that explain all of the layer, fewest first; empty where none are found."""
    firsts = [c.first.step for c in checked.checks if c.first is not None]
    found = causes.of_neurons(d, checked.bad, min(firsts)).cause
    if found and _explained(d, found):
        return found
    few = d.cut(steps=slice(min(firsts) + STEPS), samples=slice(1))
    chosen = _beam(few)
    return _names(_least(d, chosen)) if chosen and _left(d, chosen) == 0 else []


def _explained(d: Declared, found: Sequence[str]) -> bool:
    """Whether causes that were named account for every neuron, not only for some."""
    named = [flip for flip in flips(d) if flip.cause in found]
    if any(_left(d, [flip]) == 0 for flip in named):
        return True
    pairs = ((a, b) for i, a in enumerate(named) for b in named[:i])
    return any(_left(d, [a, b]) == 0 for a, b in pairs)


def _left(d: Declared, chosen: Sequence[Flip]) -> float:
    """How many spikes and states stay unexplained with some flips; inf where they cannot be."""
    trial = causes.flipped(d, chosen)
    if trial is None:
        return np.inf
    try:
        return sum(c.n_mismatched for c in check(trial).checks)
    except (ValueError, FloatingPointError):
        return np.inf


def _beam(d: Declared) -> list[Flip]:
    singles = flips(d)
    best: list[tuple[float, list[Flip]]] = [(np.inf, [])]
    for size in range(1, MOST + 1):
        extended = {}
        for _, chosen in best:
            for flip in singles:
                if any(flip.cause == other.cause for other in chosen) and not _apart(flip, chosen):
                    continue
                key = frozenset(map(id, [*chosen, flip]))
                if len(key) == size and key not in extended:
                    extended[key] = (_left(d, [*chosen, flip]), [*chosen, flip])
        best = sorted(extended.values(), key=lambda found: found[0])[:WIDTH]
        if best and best[0][0] == 0:
            return best[0][1]
    return []


def _apart(flip: Flip, chosen: Sequence[Flip]) -> bool:
    """Whether a flip changes other things than those of the same cause do."""
    touched = {name for other in chosen for name, _ in (*other.semantics, *other.params)}
    return not touched & {name for name, _ in (*flip.semantics, *flip.params)} and not flip.fields


def _least(d: Declared, chosen: list[Flip]) -> list[Flip]:
    """Without those that are not needed."""
    for flip in list(chosen):
        rest = [other for other in chosen if other is not flip]
        if rest and _left(d, rest) == 0:
            chosen = rest
    return chosen


def _names(chosen: Sequence[Flip]) -> list[str]:
    return list(dict.fromkeys(flip.cause for flip in chosen))
