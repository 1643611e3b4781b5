r"""Framework against twin: spikes, states, and the input current against its sources.

A spike that the twin decides otherwise is a rounding tie where the twin's distance from
threshold lies within the bound of `validation.rounding`; the twin then goes on with the
recorded spike. Input currents are compared with the dot product in float64 within

.. math::
    (n + 3)\, u \left(\sum_j |w_{kj}| s_j + |b_k|\right),                      \tag{1}

which holds for `n` terms in any order, with or without fused operations, where the framework
computes in an arithmetic of unit roundoff `u` (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from validation.declared import Declared, Source
from validation.result import Agreement, Mismatch
from validation.twin import ARITHMETIC, TwinRun


def unit_roundoff(dtype, arithmetic: str | None) -> float:
    """u of the declared arithmetic, that of `dtype` by default."""
    return ARITHMETIC[arithmetic or np.dtype(dtype).name]


def first_of(bad: np.ndarray) -> tuple[int, int, int]:
    """The earliest (step, sample, neuron) of a mask [T, B, N]."""
    index = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return int(index[0]), int(index[1]), int(index[2])


def compare_spikes(d: Declared, twin: TwinRun) -> Agreement:
    """Recorded spikes against those that the twin decides."""
    assert d.spikes is not None and twin.bound is not None
    differs = twin.spikes != d.spikes
    within = np.abs(twin.distance) <= twin.bound
    one_apart = np.abs(twin.spikes - d.spikes) == 1
    ties = differs & within & one_apart
    bad = differs & ~ties
    first = None
    if bad.any():
        at = first_of(bad)
        first = Mismatch(
            "spikes", *at, float(twin.spikes[at]), float(d.spikes[at]), float(twin.margin[at])
        )
    return Agreement(
        "spikes",
        "mismatch" if bad.any() else "tie" if ties.any() else "identical",
        differs.size,
        int(ties.sum()),
        int(bad.sum()),
        float(np.abs(twin.margin[differs]).max(initial=0.0)),
        first,
    )


def compare_state(quantity: str, recorded, computed, bound: np.ndarray) -> Agreement:
    """A recorded state against the twin's, within the bound (float64, [T, B, N])."""
    if recorded is None or computed is None:
        return Agreement(quantity, "unverifiable")
    a, b = recorded.astype(np.float64), computed.astype(np.float64)
    spacing = np.spacing(np.maximum(np.abs(recorded), np.abs(computed)).astype(computed.dtype))
    with np.errstate(invalid="ignore"):
        ulps = np.abs(a - b) / spacing.astype(np.float64)
        bad = ~(np.abs(a - b) <= bound + spacing)
    first = None
    if bad.any():
        at = first_of(bad)
        first = Mismatch(quantity, *at, float(b[at]), float(a[at]), float(ulps[at]))
    return Agreement(
        quantity,
        "mismatch" if bad.any() else "identical",
        bad.size,
        0,
        int(bad.sum()),
        float(np.nanmax(ulps, initial=0.0)),
        first,
    )


@dataclass(frozen=True)
class Inputs:
    """The sources of a layer's input current, with their spikes [T, B, n_in]."""

    sources: list[Source]
    bias: Any
    spikes: list[np.ndarray]

    def current(self, *, shift: int = 0, bias: bool = True, transpose: bool = False):
        """(sum of weight @ spikes + bias, bound without u), float64 [T, B, N]."""
        total: Any = 0.0
        size: Any = 0.0
        terms = 3
        for source, spikes in zip(self.sources, self.spikes, strict=True):
            weight = source.weight.T if transpose else source.weight
            dense = weight.toarray() if hasattr(weight, "toarray") else np.asarray(weight)
            dense = dense.astype(np.float64)
            if dense.shape[1] < spikes.shape[2]:  # a CSR triplet does not say its width
                dense = np.pad(dense, ((0, 0), (0, spikes.shape[2] - dense.shape[1])))
            late = delayed(spikes, source.delay + shift).astype(np.float64)
            total = total + late @ dense.T
            size = size + np.abs(late) @ np.abs(dense).T
            terms += dense.shape[1]
        if bias and self.bias is not None:
            total = total + np.asarray(self.bias, np.float64).reshape(-1)
            size = size + np.abs(np.asarray(self.bias, np.float64).reshape(-1))
        return total, terms * size


def delayed(spikes: np.ndarray, steps: int) -> np.ndarray:
    """The same spikes `steps` later (earlier if negative); nothing enters from outside."""
    if steps == 0:
        return spikes
    out = np.zeros_like(spikes)
    if steps > 0:
        out[steps:] = spikes[:-steps]
    else:
        out[:steps] = spikes[-steps:]
    return out


def compare_input(d: Declared, inputs: Inputs | None, **changes) -> Agreement:
    """Recorded input current against its sources; (1)."""
    if d.x is None or inputs is None or not inputs.sources:
        return Agreement("input_current", "unverifiable")
    expected, size = inputs.current(**changes)
    if expected.shape != d.x.shape:
        return Agreement("input_current", "mismatch", d.x.size, 0, d.x.size)
    u = unit_roundoff(d.x.dtype, d.arithmetic)
    return compare_state("input_current", d.x, expected.astype(d.x.dtype), size * u)
