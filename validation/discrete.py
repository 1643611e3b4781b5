r"""Framework against twin: spikes and states of one layer.

A spike that the twin decides otherwise is a rounding tie where the twin's distance from
threshold lies within the bound of `validation.rounding`, and the recorded count is the one on the
other side; the twin then goes on with the recorded spike. A state agrees where it lies within the
bound of that state, which allows for a recording in a narrower dtype.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from validation.declared import Declared
from validation.result import Agreement, Mismatch
from validation.twin import TwinRun

#: Entries [T, B, N] that are run at once; a run needs about a hundred bytes for each.
MOST = 2**23


def first_of(bad: np.ndarray) -> tuple[int, int, int]:
    """The earliest (step, sample, neuron) of a mask [T, B, N]."""
    index = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return int(index[0]), int(index[1]), int(index[2])


def compare_spikes(d: Declared, twin: TwinRun) -> tuple[Agreement, np.ndarray]:
    """Recorded spikes against those that the twin decides, and where they mismatch."""
    assert d.spikes is not None and twin.bound is not None
    differs = twin.spikes != d.spikes
    # Next to an edge two counts are possible: below it, and from it on.
    other = np.where(_above(d, twin), twin.spikes - 1, twin.spikes + 1)
    ties = differs & (np.abs(twin.distance) <= twin.bound) & (d.spikes == other)
    bad = differs & ~ties
    first = None
    if bad.any():
        at = first_of(bad)
        first = Mismatch(
            "spikes", *at, float(twin.spikes[at]), float(d.spikes[at]), float(twin.margin[at])
        )
    agreement = Agreement(
        "spikes",
        "mismatch" if bad.any() else "tie" if ties.any() else "identical",
        differs.size,
        int(ties.sum()),
        int(bad.sum()),
        float(np.abs(twin.margin[differs]).max(initial=0.0)),
        first,
    )
    return agreement, bad


def _above(d: Declared, twin: TwinRun) -> np.ndarray:
    """Where the twin's membrane counts as having reached the edge that is nearest to it."""
    return twin.distance > 0 if d.semantics.compare == ">" else twin.distance >= 0


def compare_state(
    quantity: str, recorded: np.ndarray | None, computed: np.ndarray | None, bound
) -> tuple[Agreement, np.ndarray | None]:
    """A recorded state against the twin's within `bound`, and where it mismatches."""
    if recorded is None or computed is None:
        return Agreement(quantity, "unverifiable"), None
    a, b = recorded.astype(np.float64), computed.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.abs(recorded), np.abs(computed).astype(recorded.dtype))
        coarse = np.spacing(size).astype(np.float64)
        same = a == b  # infinite ones too
        distance = np.where(same, 0.0, np.abs(a - b))
        # A recording in a narrower dtype than the run's rounds once more, by half a unit.
        slack = 0.5 * coarse if recorded.dtype.itemsize < computed.dtype.itemsize else 0.0
        bad = ~(same | (distance <= bound + slack))
        ulps = np.where(distance > 0, distance / coarse, 0.0)
    first = None
    if bad.any():
        at = first_of(bad)
        first = Mismatch(quantity, *at, float(b[at]), float(a[at]), float(ulps[at]))
    agreement = Agreement(
        quantity,
        "mismatch" if bad.any() else "identical",
        bad.size,
        0,
        int(bad.sum()),
        float(np.nanmax(ulps, initial=0.0)),
        first,
    )
    return agreement, bad


@dataclass
class Checked:
    """A layer against its twin."""

    checks: list[Agreement]
    bad: np.ndarray  #: [B, N]: neurons whose update disagrees, by sample
    n_ties: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.n_ties = sum(check.n_ties for check in self.checks)

    @property
    def agrees(self) -> bool:
        """Whether nothing that could be checked is a mismatch."""
        return all(check.verdict != "mismatch" for check in self.checks)


def check(d: Declared, *, hasty: bool = False) -> Checked:
    """Spikes and states of a layer against its twin.

    Parameters
    ----------
    d : Declared
        With spikes and input current.
    hasty : bool
        Stop at the first part of a large layer that disagrees.
    """
    assert d.x is not None
    bad = np.zeros(d.x.shape[1:], bool)
    found: list[list[Agreement]] = []
    for samples, neurons in parts(d.x.shape):
        checks, where = _check_part(d.cut(samples=samples, neurons=neurons))
        bad[samples, neurons] = where
        offset = samples.start, neurons.start
        found.append([_moved(c, *offset) for c in checks])
        if hasty and where.any():
            break
    return Checked([merged(list(column)) for column in zip(*found, strict=True)], bad)


def _check_part(d: Declared) -> tuple[list[Agreement], np.ndarray]:
    with np.errstate(all="ignore"):
        twin = d.run()
    spikes, bad = compare_spikes(d, twin)
    checks = [spikes]
    where: np.ndarray = np.asarray(bad.any(axis=0))
    states = [("membrane", d.membrane, twin.membrane, twin.membrane_bound)]
    if twin.synaptic_current is not None:
        current = d.synaptic_current, twin.synaptic_current, twin.current_bound
        states.append(("synaptic_current", *current))
    for state in states:
        agreement, off = compare_state(*state)
        checks.append(agreement)
        where = where if off is None else where | off.any(axis=0)
    return checks, where


def parts(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Slices (samples, neurons) of at most `MOST` entries, where one neuron has so few."""
    n_steps, n_samples, n = shape
    width = max(1, min(n, MOST // max(1, n_steps)))
    height = max(1, MOST // max(1, n_steps * n)) if width == n else 1
    for b in range(0, max(1, n_samples), height):
        for k in range(0, max(1, n), width):
            yield slice(b, b + height), slice(k, k + width)


def _moved(agreement: Agreement, sample: int, neuron: int) -> Agreement:
    if agreement.first is None:
        return agreement
    first = agreement.first
    first = replace(first, sample=first.sample + sample, neuron=first.neuron + neuron)
    return replace(agreement, first=first)


def merged(found: list[Agreement]) -> Agreement:
    """One agreement from those of several parts."""
    verdicts = {a.verdict for a in found}
    order = ("mismatch", "tie", "unverifiable", "identical")
    firsts = [a.first for a in found if a.first is not None]
    return Agreement(
        found[0].quantity,
        next(v for v in order if v in verdicts),
        sum(a.n_compared for a in found),
        sum(a.n_ties for a in found),
        sum(a.n_mismatched for a in found),
        max(a.max_ulps for a in found),
        min(firsts, key=lambda m: (m.step, m.sample, m.neuron), default=None),
    )
