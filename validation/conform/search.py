"""Causes of a deviation that is known from one small run: up to four switches at a time.

Importers often get several things wrong at once. A pair of switches is searched for completely
(`validation.causes`), and so are pairs with a misreading; beyond that, the sets that leave fewest
spikes unexplained are extended, and where that leads nowhere, the sets whose spike counts are
nearest, one of each distance. Threes of switches come last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from validation import causes
from validation.conform.misreadings import misreadings
from validation.declared import Declared
from validation.discrete import Checked, check
from validation.flips import Flip, flips
from validation.result import Found

MOST, WIDTH = 4, 10
#: Steps after the first mismatch, and neurons, on which sets are tried.
STEPS, BRIEF, NEURONS = 30, 3, 16
EVERYWHERE: Mapping[str, Any] = {}
#: What is left unexplained with some flips: 0 where nothing is, inf where they cannot be.
Left = Callable[[Sequence[Flip]], float]


def causes_of(d: Declared, checked: Checked) -> list[str]:
    """The causes that explain all of the layer, fewest first; empty where none are found."""
    return found_of(d, checked).cause


def found_of(d: Declared, checked: Checked) -> Found:
    """The same, with single causes that would explain it as well."""
    firsts = [c.first.step for c in checked.checks if c.first is not None]
    found = causes.of_neurons(d, checked.bad, min(firsts))
    if found.cause and _explained(d, found.cause):
        return found
    some = np.flatnonzero(checked.bad.any(axis=0))[:NEURONS]
    where = {
        "samples": slice(1),
        "neurons": slice(None) if checked.bad.shape[1] <= NEURONS else some,
    }
    for chosen in _sets(d, min(firsts), where):
        if chosen and _left(d, chosen) == 0:
            return Found(_names(least(chosen, lambda some: _left(d, some))), "")
    return Found([], "")


def _sets(d: Declared, first: int, where: dict[str, Any]) -> Iterator[list[Flip]]:
    """Sets of flips that explain a few of the neurons in the first steps that mismatch."""
    known, more = flips(d), misreadings(d)
    few, brief = ({"steps": slice(first + steps), **where} for steps in (STEPS, BRIEF))
    pairs = ([one, other] for one in more for other in (*more, *known) if other.cause != one.cause)
    for some in (*([one] for one in more), *pairs):
        if _left(d, some, few) == 0:
            yield some
    singles = [*known, *more]
    yield beam(singles, lambda some: _left(d, some, few))
    yield beam(singles, lambda some: _distance(d, some, few), distinct=True)
    for three in combinations([flip for flip in known if not flip.shift], 3):
        if len({flip.cause for flip in three}) == 3 and _left(d, three, brief) == 0:
            yield [*three] * (_left(d, three, few) == 0)


def _explained(d: Declared, found: Sequence[str]) -> bool:
    """Whether causes that were named account for every neuron, not only for some."""
    named = [flip for flip in flips(d) if flip.cause in found]
    if any(_left(d, [flip]) == 0 for flip in named):
        return True
    pairs = ((a, b) for i, a in enumerate(named) for b in named[:i])
    return any(_left(d, [a, b]) == 0 for a, b in pairs)


def _left(d: Declared, chosen: Sequence[Flip], where: Mapping[str, Any] = EVERYWHERE) -> float:
    """How many spikes and states stay unexplained with some flips; inf where they cannot be."""
    trial = causes.flipped(d, chosen, **where)
    if trial is None:
        return np.inf
    try:
        return sum(c.n_mismatched for c in check(trial).checks)
    except (ValueError, FloatingPointError):
        return np.inf


def _distance(d: Declared, chosen: Sequence[Flip], where: Mapping[str, Any]) -> float:
    """The same, but by how much spike counts are off where any are."""
    left = _left(d, chosen, where)
    if left == 0 or left == np.inf:
        return left
    trial = causes.flipped(d, chosen, **where)
    assert trial is not None and trial.spikes is not None
    with np.errstate(all="ignore"):
        twin = trial.run(bound=False)
    return 1.0 + float(np.abs(twin.spikes - trial.spikes).astype(float).sum())


def beam(singles: Sequence[Flip], left: Left, *, distinct: bool = False) -> list[Flip]:
    """A set of flips that leaves nothing, built from those that leave least; empty if none does.

    `distinct`: of sets that leave the same, which most often are the same, only one is extended.
    """
    best: list[tuple[float, list[Flip]]] = [(np.inf, [])]
    for size in range(1, MOST + 1):
        extended = {}
        for _, chosen in best:
            for flip in singles:
                if any(flip.cause == other.cause for other in chosen) and not _apart(flip, chosen):
                    continue
                key = frozenset(map(id, [*chosen, flip]))
                if len(key) == size and key not in extended:
                    extended[key] = (left([*chosen, flip]), [*chosen, flip])
        best = sorted(extended.values(), key=lambda found: found[0])
        if best and best[0][0] == 0:
            return best[0][1]
        if distinct:
            best = list({found[0]: found for found in reversed(best)}.values())[::-1]
        best = best[: WIDTH * (1 + distinct)]
    return []


def _apart(flip: Flip, chosen: Sequence[Flip]) -> bool:
    """Whether a flip changes other things than those of the same cause do."""
    if flip.change is not None or flip.fields:
        return False
    touched = {name for other in chosen for name, _ in (*other.semantics, *other.params)}
    return not touched & {name for name, _ in (*flip.semantics, *flip.params)}


def least(chosen: list[Flip], left: Left) -> list[Flip]:
    """Without those that are not needed."""
    for flip in list(chosen):
        rest = [other for other in chosen if other is not flip]
        if rest and left(rest) == 0:
            chosen = rest
    return chosen


def _names(chosen: Sequence[Flip]) -> list[str]:
    return list(dict.fromkeys(flip.cause for flip in chosen))
