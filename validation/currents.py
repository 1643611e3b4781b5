r"""The input current of a layer against its sources, and why it differs.

A recorded current is compared with the weighted sum in float64 within

.. math::
    \gamma_{n+3} \left(\sum_j |w_{kj}| s_j + |b_k|\right), \qquad
    \gamma_m = \frac{m u}{1 - m u},                                            \tag{1}

which holds for `n` non-zero terms in any order, with or without fused operations, where the
framework computes in an arithmetic of unit roundoff `u` (Higham, Accuracy and Stability of
Numerical Algorithms, 2002, section 3.1): `n` for the products and their sum, one for the bias, one
for rounding the result, and one for storing the weight in a narrower format. Distances are
reported in units of :math:`2u` times the bracket of (1), because the sum itself may cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from validation.declared import Declared, Source
from validation.discrete import MOST, first_of, merged
from validation.result import Agreement, Found, Mismatch, or_else
from validation.twin import ARITHMETIC

#: Delays in steps, beside the declared one, that are looked for.
SHIFTS = (1, -1, 2, -2, 3, -3)


@dataclass(frozen=True)
class Change:
    """The weighted sum, computed otherwise."""

    shift: int = 0  #: steps that the source arrives later than declared
    only: int | None = None  #: index of the source that is late, all by default
    bias: bool = True
    transpose: bool = False
    scale: float = 1.0  #: of the weights
    scale_bias: bool = False  #: whether the bias is scaled with them


AS_DECLARED = Change()


@dataclass(frozen=True)
class Inputs:
    """The sources of a layer's input current, with their spikes [T, B, n_in]."""

    sources: list[Source]
    bias: Any
    spikes: list[np.ndarray]

    def cut(self, samples: slice) -> Inputs:
        """Only some samples."""
        return replace(self, spikes=[s[:, samples] for s in self.spikes])

    def sums(self, change: Change = AS_DECLARED) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(sum of weight @ spikes + bias, its sum of magnitudes, its number of terms)."""
        total: Any = 0.0
        size: Any = 0.0
        terms: Any = 3.0
        for k, (source, spikes) in enumerate(zip(self.sources, self.spikes, strict=True)):
            shift = change.shift if change.only in (None, k) else 0
            late = delayed(spikes, source.delay + shift).astype(np.float64)
            weight = _wide(source.weight.T if change.transpose else source.weight)
            total = total + _times(late, weight)
            size = size + _times(np.abs(late), abs(weight))
            terms = terms + (late != 0).sum(axis=2, keepdims=True)
        total, size = change.scale * total, abs(change.scale) * size
        if change.bias and self.bias is not None:
            bias = np.asarray(self.bias, np.float64).reshape(-1)
            bias = bias * change.scale if change.scale_bias else bias
            total, size = total + bias, size + np.abs(bias)
        return total, size, terms


def _wide(weight):
    return weight.astype(np.float64) if hasattr(weight, "toarray") else np.asarray(weight, float)


def _times(spikes: np.ndarray, weight) -> np.ndarray:
    flat = spikes.reshape(-1, spikes.shape[2])
    return np.asarray((weight @ flat.T).T).reshape(*spikes.shape[:2], weight.shape[0])


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


def bound_of(d: Declared, size, terms, change: Change = AS_DECLARED):
    """(1); a scale is itself known to a few roundings only."""
    assert d.x is not None
    u = ARITHMETIC[d.arithmetic or d.matmul or d.x.dtype.name]
    terms = terms + (0 if change.scale == 1.0 else 4 + terms)
    share = np.minimum(terms * u, 0.5)
    least = np.finfo(d.x.dtype).smallest_subnormal
    # The sum that it is held against is itself computed in float64.
    bound = share / (1.0 - share) * size + terms * 2.0**-53 * size + terms * float(least)
    return bound, 2 * u * size


def compare_input(
    d: Declared, inputs: Inputs | None, change: Change = AS_DECLARED, *, hasty: bool = False
) -> Agreement:
    """Recorded input current against its sources; (1)."""
    if d.x is None or inputs is None or not inputs.sources:
        return Agreement("input_current", "unverifiable")
    found = []
    for samples in _parts(d, inputs):
        found.append(_compare_part(d.cut(samples=samples), inputs.cut(samples), change))
        first = found[-1].first
        if first is not None:
            found[-1] = replace(
                found[-1], first=replace(first, sample=first.sample + samples.start)
            )
            if hasty:
                break
    return merged(found)


def _parts(d: Declared, inputs: Inputs) -> Iterator[slice]:
    assert d.x is not None
    n_steps, n_samples, n = d.x.shape
    width = max(n, *(s.shape[2] for s in inputs.spikes), 1)
    height = max(1, MOST // max(1, n_steps * width))
    for start in range(0, max(1, n_samples), height):
        yield slice(start, start + height)


def _compare_part(d: Declared, inputs: Inputs, change: Change) -> Agreement:
    assert d.x is not None
    expected, size, terms = inputs.sums(change)
    bound, unit = bound_of(d, size, terms, change)
    distance = np.abs(d.x.astype(np.float64) - expected)
    bad = ~(distance <= bound)
    with np.errstate(all="ignore"):
        ulps = np.where(distance > 0, distance / np.maximum(unit, np.finfo(float).tiny), 0.0)
    first = None
    if bad.any():
        at = first_of(bad)
        values = float(expected[at]), float(d.x[at]), float(ulps[at])
        first = Mismatch("input_current", *at, *values)
    return Agreement(
        "input_current",
        "mismatch" if bad.any() else "identical",
        bad.size,
        0,
        int(bad.sum()),
        float(ulps.max(initial=0.0)),
        first,
    )


def of_input(d: Declared, inputs: Inputs) -> Found:
    """Causes of an input current that is not the weighted sum of its sources, and in words."""
    assert d.x is not None
    passed = inputs.sources[0].delay if len(inputs.sources) == 1 else 0
    if len(inputs.spikes) == 1 and np.array_equal(delayed(inputs.spikes[0], passed), d.x):
        return Found(["node_dropped"], "the weights have no effect: the source passes through")
    found: dict[str, str] = {}
    for change, cause, words in _changes(d, inputs):
        if cause in found:
            continue
        if compare_input(d, inputs, change, hasty=True).verdict != "mismatch":
            found[cause] = words
    if not found:
        return Found(*_left_over(d, inputs))
    first, *also = found
    return Found([first], found[first] + or_else(also), also)


def _changes(d: Declared, inputs: Inputs) -> Iterator[tuple[Change, str, str]]:
    biased = inputs.bias is not None and bool(np.any(np.asarray(inputs.bias)))
    for shift in SHIFTS:
        yield Change(shift=shift), "delay", f"the input arrives {_late(shift)}"
    if biased:
        yield Change(bias=False), "bias_lost", "the bias has no effect"
    if all(s.weight.shape[0] == s.weight.shape[1] for s in inputs.sources):
        yield Change(transpose=True), "weight_transpose", "the weight is transposed"
    for whole in (False, True) if biased else (False,):
        factor = _scale(d, inputs, whole)
        if factor is not None:
            what = "the weight and the bias are" if whole else "the weight is"
            yield (
                Change(scale=factor, scale_bias=whole),
                "weight_scale",
                f"{what} scaled by {factor:.6g}",
            )
    if len(inputs.sources) > 1:
        for k, source in enumerate(inputs.sources):
            for shift in SHIFTS:
                words = f"the input from {source.node!r} arrives {_late(shift)}"
                yield Change(shift=shift, only=k), "delay", words


def _late(shift: int) -> str:
    n = abs(shift)
    return f"{n} step{'s' if n > 1 else ''} {'late' if shift > 0 else 'early'}"


def _scale(d: Declared, inputs: Inputs, whole: bool) -> float | None:
    """The factor that fits the recorded current best, on its first part, or None."""
    samples = next(_parts(d, inputs))
    part, fed = d.cut(samples=samples), inputs.cut(samples)
    assert part.x is not None
    x = part.x.astype(np.float64)
    weighted, _, _ = fed.sums(Change(bias=whole))
    if not whole and inputs.bias is not None:
        x = x - np.asarray(inputs.bias, np.float64).reshape(-1)
    square = float((weighted * weighted).sum())
    factor = float((x * weighted).sum()) / square if square > 0 else 0.0
    return factor if factor != 0.0 and np.isfinite(factor) else None


def _left_over(d: Declared, inputs: Inputs) -> tuple[list[str], str]:
    """What a weight, a bias or a value, changed alone, leaves behind."""
    assert d.x is not None
    samples = next(_parts(d, inputs))
    part, fed = d.cut(samples=samples), inputs.cut(samples)
    assert part.x is not None
    expected, size, terms = fed.sums()
    rest = part.x.astype(np.float64) - expected
    bound, _ = bound_of(part, size, terms)
    off = np.abs(rest) > bound
    neurons = np.flatnonzero(off.any(axis=(0, 1)))
    if not neurons.size:
        return [], "the input is not what its sources send"
    constant = _constant(rest, bound)
    if neurons.size > 1 and 2 * neurons.size > rest.shape[2] and constant:
        return ["bias_lost"], "another constant stands in the place of the bias"
    if neurons.size > 1:
        return [], f"{neurons.size} neurons receive another input than their sources send"
    return [], _one_neuron(fed, rest, off, int(neurons[0]), _constant(rest, bound))


def _constant(rest: np.ndarray, bound: np.ndarray) -> bool:
    """Whether what is left over is the same at every step of every sample."""
    low, high = (rest - bound).max(axis=(0, 1)), (rest + bound).min(axis=(0, 1))
    return rest[..., 0].size > 1 and bool((low <= high).all())


def _one_neuron(inputs: Inputs, rest, off, k: int, constant: bool) -> str:
    wrong = off[..., k]
    by = rest[..., k]
    if constant:
        bias = 0.0 if inputs.bias is None else np.asarray(inputs.bias, float).reshape(-1)
        given = float(np.broadcast_to(bias, off.shape[2:])[k])
        return f"bias[{k}] is {given:.6g}, but {given + float(np.median(by[wrong])):.6g} acts"
    if int(wrong.sum()) == 1:
        return f"one value of the input of neuron {k} differs from what its sources send"
    for source, spikes in zip(inputs.sources, inputs.spikes, strict=True):
        late = delayed(spikes, source.delay)
        same = [j for j in range(late.shape[2]) if _fits(late[..., j], by, wrong)]
        if same:
            j = same[0]
            given = float(source.weight[k, j])
            acts = given + float(np.median(by[wrong] / late[..., j][wrong]))
            alike = f" (or {len(same) - 1} others with the same spikes)" if len(same) > 1 else ""
            names = f"weight[{k}, {j}] from {source.node!r}{alike}"
            return f"{names} is {given:.6g}, but {acts:.6g} acts"
    return f"the input of neuron {k} is not what its sources send"


def _fits(spikes: np.ndarray, by: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether one weight of this source accounts for what is left over.

    Counts are whole numbers: a source that sends others is off by a whole change of the weight.
    """
    if not np.array_equal(spikes != 0, wrong):
        return False
    change = np.median(by[wrong] / spikes[wrong])
    return bool((np.abs(by[wrong] - change * spikes[wrong]) < 0.25 * abs(change)).all())
