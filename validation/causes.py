"""Why a layer differs: the switch which, flipped in the twin, makes the two agree.

Single switches are tried first, then pairs. An explanation must account for every recorded
spike and state of the layer, not only for most of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from validation.declared import Declared
from validation.discrete import Inputs, compare_input, compare_spikes, compare_state, delayed
from validation.model import NEUTRAL, SWITCHES

#: Cause of a flipped switch of `Semantics`.
NAMES = {
    "reset": "reset_kind",
    "reset_timing": "reset_timing",
    "compare": "compare",
    "decay": "decay",
    "input_gain": "input_gain",
}
#: Fields of a NIR node by the parameter that carries them.
FIELDS = ("r", "v_leak", "v_reset", "w_in")


@dataclass(frozen=True)
class Flip:
    """One change of the declaration: its cause, in words, and what it changes."""

    cause: str
    words: str
    semantics: tuple[tuple[str, Any], ...] = ()
    params: tuple[tuple[str, Any], ...] = ()
    dt: float | None = None
    shift: int = 0

    def apply(self, d: Declared) -> Declared:
        """The declaration with this flip."""
        changed = replace(
            d,
            semantics=replace(d.semantics, **dict(self.semantics)),
            params={**d.params, **dict(self.params)},
            dt=self.dt if self.dt is not None else d.dt,
        )
        if not self.shift or changed.x is None:
            return changed
        # A recording that is late: what was written at t belongs to t - shift.
        late = {
            name: delayed(value, -self.shift)
            for name in ("spikes", "membrane", "synaptic_current")
            if (value := getattr(changed, name)) is not None
        }
        steps = slice(None, -self.shift) if self.shift > 0 else slice(-self.shift, None)
        return replace(changed, x=changed.x[steps], **{k: v[steps] for k, v in late.items()})


def flips(d: Declared) -> list[Flip]:
    """Every single change worth trying, the most common causes first."""
    return [*_switches(d), *_time(d), *_ignored(d), *_shifts()]


def _switches(d: Declared) -> Iterator[Flip]:
    for switch, cause in NAMES.items():
        now = getattr(d.semantics, switch)
        for other in SWITCHES[switch]:
            if other != now:
                yield Flip(cause, f"{switch} {now} run as {other}", ((switch, other),))
    if d.semantics.max_spikes_per_step != 1:
        yield Flip("compare", "one spike per step at most", (("max_spikes_per_step", 1),))
    else:
        yield Flip("compare", "several spikes per step", (("max_spikes_per_step", None),))
    if d.semantics.reset != "value" or np.any(np.asarray(d.params.get("v_reset", 0.0))):
        yield Flip(
            "reset_kind",
            f"reset {d.semantics.reset} run as reset to 0",
            (("reset", "value"),),
            (("v_reset", np.zeros((), np.float32)),),
        )


def _time(d: Declared) -> Iterator[Flip]:
    """Time constants that lost or gained a factor of dt; a dt that is not the recording's."""
    kinds = {k: v for k, v in d.model.time.items() if k in d.params and v in ("inverse", "steps")}
    factors = {1e-3: "0.001", 1e3: "1000", 1e-4: "0.0001", 1e4: "10000"}
    if d.dt is not None and d.dt != 1.0:
        factors = {d.dt: "dt", 1.0 / d.dt: "1/dt", **factors}
    for factor, words in factors.items():
        scaled = []
        for name, kind in kinds.items():
            value = np.asarray(d.params[name])
            scale = 1.0 / factor if kind == "inverse" else factor
            scaled.append((name, (value * scale).astype(value.dtype)))
        if scaled:
            yield Flip("dt", f"time constants multiplied by {words}", params=tuple(scaled))
    if d.dt is not None:
        for step in (1e-3, 1e-4, 1.0):
            if step != d.dt:
                yield Flip("dt", f"run with dt = {step:g} instead of {d.dt:g}", dt=step)


def _ignored(d: Declared) -> Iterator[Flip]:
    """Fields that have no effect: neutral where they carry NIR, else the default."""
    for name, value in d.params.items():
        neutral = NEUTRAL.get(name, d.model.defaults.get(name))
        if name in d.model.time or (name == d.model.threshold and neutral is None):
            continue
        given = np.asarray(value)
        if neutral is None:
            if name in d.model.defaults:
                yield Flip(f"ignored:{name}", f"{name} has no effect", params=((name, None),))
        elif np.any(given != neutral):
            fixed = np.asarray(neutral, given.dtype)
            yield Flip(f"ignored:{name}", f"{name} has no effect", params=((name, fixed),))
        if given.size > 1 and np.ptp(given.astype(float)):
            first = np.full_like(given, given.flat[0])
            yield Flip(
                f"ignored:{name}", f"{name} of the first neuron is used for all",
                params=((name, first),),
            )  # fmt: skip
    if d.node is not None:
        yield from _ignored_fields(d)


def _ignored_fields(d: Declared) -> Iterator[Flip]:
    """Fields of the NIR node that several parameters depend on."""
    for name in FIELDS:
        value = getattr(d.node, name, None)
        if value is None or not np.any(np.asarray(value) != NEUTRAL[name]):
            continue
        node = type(d.node)(**{**_fields(d.node), name: np.full_like(value, NEUTRAL[name])})
        try:
            params, _ = d.model.from_nir_node(node, d.dt, d.semantics)
        except ValueError:
            continue
        yield Flip(f"ignored:{name}", f"{name} has no effect", params=tuple(params.items()))


def _fields(node) -> dict[str, Any]:
    names = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in")
    return {name: getattr(node, name) for name in names if hasattr(node, name)}


def _shifts() -> Iterator[Flip]:
    for shift in (1, -1, 2):
        late = f"{abs(shift)} step{'s' if abs(shift) > 1 else ''} {'late' if shift > 0 else 'early'}"
        yield Flip("recording_shifted", f"spikes and membrane are recorded {late}", shift=shift)


def explains(d: Declared) -> bool:
    """Whether the twin, as declared here, accounts for everything recorded."""
    try:
        with np.errstate(all="ignore"):
            twin = d.run()
            if compare_spikes(d, twin).verdict == "mismatch":
                return False
            assert twin.bound is not None
            states = (("membrane", twin.membrane), ("synaptic_current", twin.synaptic_current))
            return all(
                compare_state(name, getattr(d, name), value, twin.bound).verdict != "mismatch"
                for name, value in states
                if getattr(d, name) is not None and value is not None
            )
    except (ValueError, FloatingPointError):
        return False


def of_neurons(d: Declared, bad: np.ndarray) -> tuple[list[str], str]:
    """Causes of a mismatch in the neurons' own update, and the explanation in words.

    Parameters
    ----------
    d : Declared
    bad : ndarray of bool, shape (N,)
        Neurons that disagree; the search runs on a few of them and proves its answer on all.
    """
    few = np.zeros_like(bad)
    few[np.flatnonzero(bad)[:16]] = True
    probe = d.part(few)
    singles = flips(d)
    cut = {id(f): _cut(f, few) for f in singles}
    for group in (1, 2):
        for chosen in combinations(singles, group):
            if len({f.cause for f in chosen}) < group:
                continue
            trial = probe
            for flip in chosen:
                trial = cut[id(flip)].apply(trial)
            if not explains(trial):
                continue
            whole = d
            for flip in chosen:
                whole = flip.apply(whole)
            if explains(whole):
                return [f.cause for f in chosen], " and ".join(f.words for f in chosen)
    if _passes_through(d):
        return ["node_dropped"], "the neuron passes its input through"
    return [], "no switch, and no pair of switches, of the twin explains it"


def _cut(flip: Flip, where: np.ndarray) -> Flip:
    def part(value):
        return value[where] if value is not None and np.size(value) == where.size > 1 else value

    return replace(flip, params=tuple((k, part(v)) for k, v in flip.params))


def _passes_through(d: Declared) -> bool:
    assert d.x is not None
    out = [a for a in (d.spikes, d.membrane) if a is not None]
    return any(np.array_equal(a, d.x) for a in out) and bool(np.any(d.x))


def of_input(d: Declared, inputs: Inputs) -> tuple[list[str], str]:
    """Causes of an input current that is not the weighted sum of its sources."""
    assert d.x is not None
    for shift in (1, 2, -1):
        if compare_input(d, inputs, shift=shift).verdict != "mismatch":
            late = "late" if shift > 0 else "early"
            return ["delay"], f"the input arrives {abs(shift)} step(s) {late}"
    if inputs.bias is not None and compare_input(d, inputs, bias=False).verdict != "mismatch":
        return ["bias_lost"], "the bias is missing"
    if all(s.weight.shape[0] == s.weight.shape[1] for s in inputs.sources):
        if compare_input(d, inputs, transpose=True).verdict != "mismatch":
            return ["weight_transpose"], "the weight is transposed"
    if len(inputs.spikes) == 1 and np.array_equal(inputs.spikes[0], d.x):
        return ["node_dropped"], "the weights are missing: the source passes through"
    expected, size = inputs.current()
    bias = np.asarray(0.0 if inputs.bias is None else inputs.bias, float).reshape(-1)
    for base, words in ((0.0, "the input current"), (bias, "the weight")):
        found = _scale(d, expected - base, base, size)
        if found is not None:
            return ["weight_scale"], f"{words} is scaled by {found:.6g}"
    return [], _culprit(d, inputs, expected)


def _scale(d: Declared, weighted, base, size) -> float | None:
    """One factor between the recorded and the expected current, or None."""
    assert d.x is not None
    x = d.x.astype(np.float64) - base
    square = float((weighted * weighted).sum())
    factor = float((x * weighted).sum()) / square if square > 0 else 0.0
    if factor == 0.0 or not np.isfinite(factor):
        return None
    u = float(np.finfo(d.x.dtype).eps)
    agrees = np.abs(x - factor * weighted) <= u * (size * max(1.0, abs(factor)) + 8 * np.abs(d.x))
    return factor if agrees.all() else None


def _culprit(d: Declared, inputs: Inputs, expected) -> str:
    """Which single weight accounts for what is left over, in words."""
    assert d.x is not None
    rest = d.x.astype(np.float64) - expected
    tiny = 1e3 * np.finfo(d.x.dtype).eps * (np.abs(expected) + np.abs(d.x) + 1e-30)
    off = np.abs(rest) > tiny
    neurons = np.flatnonzero(off.any(axis=(0, 1)))
    if neurons.size != 1:
        return f"{neurons.size} neurons receive another input than their sources send"
    k = int(neurons[0])
    for source, spikes in zip(inputs.sources, inputs.spikes, strict=True):
        late = delayed(spikes, source.delay)
        same = ((late != 0) == off[..., k, None]).all(axis=(0, 1))
        if same.any():
            j = int(np.argmax(same))
            by = float(np.median(rest[..., k][off[..., k]] / late[..., j][off[..., k]]))
            return f"weight[{k}, {j}] from {source.node!r} differs by {by:.6g} from the recorded one"
    return f"the input of neuron {k} is not what its sources send"
