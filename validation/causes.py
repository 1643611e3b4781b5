"""Why a layer's update differs: the switch which, flipped in the twin, makes the two agree.

Single switches are tried first, then pairs. An explanation must account for every recorded
spike and state of the layer, not only for most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from validation.declared import Declared
from validation.discrete import Checked, check, first_of
from validation.flips import Flip, flips, scaled, shifted
from validation.result import Found, Mismatch, or_else

#: Neurons, samples, and steps beyond the first mismatch, on which most flips are refuted.
PROBE = (16, 4, 8)


def explains(d: Declared) -> bool:
    """Whether the twin, as declared here, accounts for everything recorded."""
    try:
        return check(d, hasty=True).agrees
    except (ValueError, FloatingPointError):
        return False


def flipped(d: Declared, chosen: Iterable[Flip], **where) -> Declared | None:
    """A part of the layer with some flips applied; None where they make no sense together."""
    late = 0
    try:
        # Those that derive parameters from the graph go first: the others change the result.
        for flip in sorted(chosen, key=lambda flip: not flip.derives):
            d, late = flip.apply(d), late + flip.shift
        part = d.cut(**where)
        assert part.x is not None
        return shifted(part, late) if abs(late) < part.x.shape[0] else None
    except (ValueError, TypeError):
        return None


class _Search:
    """The probes of one layer: cheap ones first, and a flip must pass all of them."""

    def __init__(self, d: Declared, bad: np.ndarray, step: int) -> None:
        self.d, self.bad = d, bad
        rank = bad.sum(axis=0)
        neurons = np.flatnonzero(rank)[: PROBE[0]]
        samples = np.flatnonzero(bad[:, neurons].any(axis=1))[: PROBE[1]]
        few: dict[str, Any] = {"neurons": neurons, "samples": samples}
        self.stages: list[dict[str, Any]] = [{"steps": slice(step + PROBE[2]), **few}, few]

    def fits(self, chosen: Sequence[Flip], where: dict) -> bool:
        trial = flipped(self.d, chosen, **where)
        return trial is not None and explains(trial)

    def promising(self, chosen: Sequence[Flip]) -> bool:
        """Whether the flips account for a few of the neurons that disagree."""
        return all(self.fits(chosen, stage) for stage in self.stages)

    def whole(self, chosen: Sequence[Flip]) -> bool:
        """Whether the flips account for all of the layer."""
        return self.fits(chosen, {})

    def partly(self, chosen: Sequence[Flip]) -> bool:
        """Whether they account for all neurons that disagree, of which there are several."""
        wrong = self.bad.any(axis=0)
        return int(wrong.sum()) > 1 and self.fits(chosen, {"neurons": wrong})


def of_neurons(d: Declared, bad: np.ndarray, step: int) -> Found:
    """Causes of a mismatch in the neurons' own update, and the explanation in words.

    Parameters
    ----------
    d : Declared
    bad : ndarray of bool, shape (B, N)
        Which neurons disagree in which sample.
    step : int
        The first step in which one does.
    """
    if _passes_through(d):
        return Found(["node_dropped"], "the neuron passes its input through")
    search = _Search(d, bad, step)
    singles = flips(d)
    promising = [f for f in singles if search.promising([f])]
    found = [f for f in promising if search.whole([f])]
    if found:
        return _sharpened(d, found[:1], _others(found))
    tried: list[tuple[Flip, ...]] = list(combinations(singles, 2))
    scale = scaled(d)
    if scale is not None:  # only then: what is fitted explains less than what is known
        tried += [(scale,), *((f, scale) for f in singles)]
    partial: Sequence[Flip] = [f for f in promising if search.partly([f])][:1]
    for chosen in tried:
        if len({f.cause for f in chosen}) == len(chosen) and search.promising(chosen):
            if search.whole(chosen):
                return _sharpened(d, chosen, [])
            if not partial and search.partly(chosen):
                partial = chosen
    if partial:
        words = " and ".join(f.words for f in partial)
        share = f"in {int(bad.any(axis=0).sum())} of {bad.shape[1]} neurons"
        return Found([f.cause for f in partial], f"{words}, {share}")
    return Found([], "no switch of its update, and no pair of them, explains it")


def _others(found: Sequence[Flip]) -> list[str]:
    """What else would explain the same data."""
    return list(dict.fromkeys(f.cause for f in found if f.cause != found[0].cause))


def _sharpened(d: Declared, chosen: Sequence[Flip], also: Sequence[str]) -> Found:
    """The causes chosen, and `compare` where exact hits of the threshold speak for it too."""
    cause, words = [f.cause for f in chosen], [f.words for f in chosen]
    changed = flipped(d, chosen)
    if changed is not None and "compare" not in cause:
        found = of_ties(changed, check(changed))
        if found is not None:
            cause.append("compare")
            words.append(found[0])
    return Found(cause, " and ".join(words) + or_else(also), also)


def of_ties(d: Declared, checked: Checked) -> tuple[str, Mismatch] | None:
    """Words and first place where ties are no rounding: each is decided by the other comparison.

    Two programs that agree to the bit on every membrane do not round differently. Where membranes
    differ in their last digits, rounding may decide every hit of the same numbers in the same way;
    and where none was recorded, one exact hit may still be an accident.
    """
    if not checked.n_ties:
        return None
    now = d.semantics.compare
    other = ">" if now == ">=" else ">="
    flip = Flip("compare", f"compare is {other!r} instead of {now!r}", (("compare", other),))
    trial = check(flip.apply(d))
    if not trial.agrees or trial.n_ties:
        return None
    if checked.n_ties < 2 if d.membrane is None else trial.checks[1].max_ulps > 0.0:
        return None
    twin = d.run(bound=False)
    assert d.spikes is not None
    at = first_of(twin.spikes != d.spikes)
    first = Mismatch("spikes", *at, float(twin.spikes[at]), float(d.spikes[at]), 0.0)
    return flip.words, first


def _passes_through(d: Declared) -> bool:
    assert d.x is not None
    out = [a for a in (d.spikes, d.membrane) if a is not None]
    return bool(np.any(d.x)) and any(np.array_equal(a, d.x) for a in out)
