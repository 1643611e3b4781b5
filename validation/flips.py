"""What may be wrong with a layer's update, one change of its declaration at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from validation.declared import Declared
from validation.model import NEUTRAL, SWITCHES

#: Cause of a flipped switch of `Semantics`.
NAMES = {
    "reset": "reset_kind",
    "reset_timing": "reset_timing",
    "compare": "compare",
    "decay": "decay",
    "input_gain": "input_gain",
}
#: Numeric fields of NIR's neurons.
FIELDS = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in")
#: The membrane that a framework exposes beside each reset timing.
EXPOSED = {"same_step": "post_reset", "next_step": "pre_reset"}
#: Steps [s] that importers put in the place of the user's.
HARD_CODED = (1e-3, 1e-4, 1.0)


@dataclass(frozen=True)
class Flip:
    """One change of a declaration: its cause, in words, and what it changes."""

    cause: str
    words: str
    semantics: tuple[tuple[str, Any], ...] = ()
    params: tuple[tuple[str, Any], ...] = ()
    fields: tuple[tuple[str, Any], ...] = ()  #: of the NIR node
    dt: float | None = None
    shift: int = 0  #: steps by which spikes and membrane are recorded late
    change: Callable[[Declared], Declared] | None = None  #: what depends on the flips before it

    def apply(self, d: Declared) -> Declared:
        """The declaration with this flip, the shift of the recording aside."""
        semantics, params, node, dt = d.semantics, dict(d.params), d.node, d.dt
        if self.fields or (self.dt is not None and node is not None):
            node = with_fields(node, dict(self.fields))
            derived, semantics = d.model.from_nir_node(node, self.dt or dt, semantics)
            params |= derived
        semantics = replace(semantics, **dict(self.semantics))
        dt = self.dt if self.dt is not None else dt
        params |= dict(self.params)
        d = replace(d, semantics=semantics, params=params, node=node, dt=dt)
        return d if self.change is None else self.change(d)

    @property
    def derives(self) -> bool:
        """Whether it makes parameters anew, which another flip may then change."""
        return bool(self.fields) or self.dt is not None


def shifted(d: Declared, steps: int) -> Declared:
    """A recording that is late, put right: what was written at t belongs to t - steps.

    Of one that is early, the first steps are lost; the twin's stand in for them.
    """
    assert d.x is not None and d.spikes is not None
    if not steps:
        return d
    if steps > 0:
        return replace(
            d,
            x=d.x[:-steps],
            spikes=d.spikes[steps:],
            membrane=None if d.membrane is None else d.membrane[steps:],
            synaptic_current=None if d.synaptic_current is None else d.synaptic_current[steps:],
        )
    start = d.cut(steps=slice(-steps)).run(forced=False, bound=False)

    def moved(found, recorded):
        return None if recorded is None else np.concatenate([found, recorded[:steps]])

    return replace(
        d,
        spikes=moved(start.spikes, d.spikes),
        membrane=moved(start.membrane, d.membrane),
        synaptic_current=moved(start.synaptic_current, d.synaptic_current),
    )


def with_fields(node: Any, fields: dict[str, Any]) -> Any:
    """A NIR node of the same class with some fields put in place of its own."""
    own = {name: getattr(node, name) for name in FIELDS if hasattr(node, name)}
    return type(node)(**(own | fields))


def flips(d: Declared) -> list[Flip]:
    """Every single change worth trying, the most common causes first."""
    return [*_switches(d), *_fields(d), *_time(d), *_ignored(d), *_added(d), *_shifts()]


def _switches(d: Declared) -> Iterator[Flip]:
    for switch, cause in NAMES.items():
        now = getattr(d.semantics, switch)
        for other in SWITCHES[switch]:
            if other == now:
                continue
            words = f"{switch.replace('_', ' ')} is {other!r} instead of {now!r}"
            yield Flip(cause, words, ((switch, other),))
            exposed = EXPOSED.get(other)
            if exposed is not None and exposed != d.semantics.membrane_point:
                yield Flip(cause, words, ((switch, other), ("membrane_point", exposed)))
                if d.semantics.carried_reset:
                    plain = ("membrane_point", exposed), ("carried_reset", False)
                    yield Flip(cause, words, ((switch, other), *plain))
    if d.semantics.membrane_point == "post_reset":
        words = "the membrane is recorded before its reset"
        yield Flip("reset_timing", words, (("membrane_point", "pre_reset"),))
    if d.semantics.max_spikes_per_step != 1:
        yield Flip("compare", "a neuron fires once per step at most", (("max_spikes_per_step", 1),))
    else:
        words = "a neuron may fire several times per step"
        yield Flip("compare", words, (("max_spikes_per_step", None),))
    if d.semantics.reset != "value" and np.any(np.asarray(d.params.get("v_reset", 0.0))):
        yield Flip(
            "reset_kind",
            f"reset is to 0 instead of {d.semantics.reset!r}",
            (("reset", "value"),),
            (("v_reset", np.zeros((), np.float32)),),
        )
    if d.semantics.carried_reset:
        words = "a membrane still above threshold after its reset is not reset again"
        yield Flip("reset_timing", words, (("carried_reset", False),))
    if d.semantics.lossy_reset:
        words = "the input of the step of a reset is not lost"
        yield Flip("reset_timing", words, (("lossy_reset", False),))


def _fields(d: Declared) -> Iterator[Flip]:
    """Fields of the NIR node that are not read, or read for the first neuron only."""
    if d.node is None:
        return
    for name in FIELDS:
        value = getattr(d.node, name, None)
        if value is None:
            continue
        value = np.asarray(value)
        cause = f"ignored:{name}"
        neutral = NEUTRAL.get(name, 1.0 if name == "v_threshold" else None)
        if neutral is not None and np.any(value != neutral):
            fields = ((name, np.full_like(value, neutral)),)
            yield Flip(cause, f"{name} has no effect", fields=fields)
        if _varies(value):
            fields = ((name, np.full_like(value, value.flat[0])),)
            yield Flip(cause, f"{name} of the first neuron is used for all", fields=fields)


def _varies(value: np.ndarray) -> bool:
    return value.size > 1 and bool(np.ptp(value.astype(float)))


def _time(d: Declared) -> Iterator[Flip]:
    """Time constants that lost or gained a factor of dt; a dt that is not the recording's."""
    factors = {1e-3: "0.001", 1e3: "1000", 1e-4: "0.0001", 1e4: "10000"}
    if d.dt is not None and d.dt != 1.0:
        factors = {d.dt: f"dt = {d.dt:g}", 1.0 / d.dt: f"1/dt = {1 / d.dt:g}"} | {
            k: v for k, v in factors.items() if k not in (d.dt, 1.0 / d.dt)
        }
    if d.node is not None:
        names = [n for n in ("tau", "tau_mem", "tau_syn") if hasattr(d.node, n)]
        for factor, words in factors.items():
            fields = tuple((n, np.asarray(getattr(d.node, n), float) * factor) for n in names)
            if fields:
                yield Flip("dt", f"time constants are multiplied by {words}", fields=fields)
    else:
        yield from _scaled(d, factors)
    if d.dt is not None and (d.node is not None or {"inverse", "time"} & {*d.model.time.values()}):
        for step in HARD_CODED:
            if step != d.dt:
                yield Flip("dt", f"dt is {step:g} instead of {d.dt:g}", dt=step)


def _scaled(d: Declared, factors: dict[float, str]) -> Iterator[Flip]:
    """Parameters that are, or stand for, time constants, all times the same factor."""
    kinds = {k: v for k, v in d.model.time.items() if k in d.params}
    tied = {k for k in kinds if k.replace("alpha", "tau") in kinds and k.startswith("alpha_")}
    for factor, words in factors.items():
        for euler in (False, True):
            if euler and "raw" not in kinds.values():
                continue
            scaled = []
            for name in kinds.keys() - tied:
                value = np.asarray(d.params[name])
                new = _rescaled(value.astype(np.float64), kinds[name], factor, euler)
                scaled.append((name, new.astype(value.dtype)))
            if scaled:
                said = f"time constants are multiplied by {words}"
                yield Flip("dt", said, params=tuple(scaled))


def _rescaled(value: np.ndarray, kind: str, factor: float, euler: bool) -> np.ndarray:
    if kind in ("steps", "time"):
        return value * factor
    if kind == "inverse":
        return value / factor
    if euler:  # a factor that means 1 - dt/tau
        return np.clip(1.0 - (1.0 - value) / factor, 0.0, 1.0)
    return np.clip(value, 0.0, 1.0) ** (1.0 / factor)


def _ignored(d: Declared) -> Iterator[Flip]:
    """Parameters that have no effect: neutral where they carry NIR, else the default."""
    for name, value in d.params.items():
        given = np.asarray(value)
        cause, words = f"ignored:{name}", f"{name} has no effect"
        if _varies(given) and d.node is None:
            first = np.full_like(given, given.flat[0])
            said = f"{name} of the first neuron is used for all"
            yield Flip(cause, said, params=((name, first),))
        default = d.model.defaults.get(name)
        neutral = NEUTRAL.get(name, default)
        if neutral is not None and name not in d.model.time:
            if np.any(given != neutral):
                fixed = np.asarray(neutral, given.dtype)
                yield Flip(cause, words, params=((name, fixed),))
        elif name in d.model.defaults and name not in d.model.time:
            yield Flip(cause, words, params=((name, None),))
        if name in d.model.time and default is None and _optional(d, name):
            without = tuple((n, None) for n in d.params if n.endswith(name.rpartition("_")[2]))
            yield Flip(cause, words, params=without)
        if name in d.model.time and default is not None and np.any(given != default):
            yield Flip(
                cause,
                f"{name} has no effect: the default {default:g} acts",
                params=((name, np.asarray(default, given.dtype)),),
            )


def _optional(d: Declared, name: str) -> bool:
    """Whether a time constant is that of a synapse which the model can be without."""
    return name == "tau_syn" and d.params[name] is not None and name in d.model.defaults


def _added(d: Declared) -> Iterator[Flip]:
    """Parameters of the framework that the graph knows nothing of."""
    if d.node is None:
        return
    for name, value in d.own.items():
        if name not in d.params and name not in d.model.time:
            words = f"{name} acts, which the graph does not have"
            yield Flip(f"ignored:{name}", words, params=((name, value),))


def scaled(d: Declared) -> Flip | None:
    """The input by the factor that fits the membranes best before any spike, or None."""
    if d.membrane is None or d.x is None or d.spikes is None:
        return None
    twin = d.run(bound=False)
    quiet = np.cumsum((twin.spikes != 0) | (d.spikes != 0), axis=0) == 0
    v, w = (a.astype(np.float64)[quiet] for a in (d.membrane, twin.membrane))
    square = float(w @ w)
    factor = float(v @ w) / square if square > 0 else 0.0
    if not np.isfinite(factor) or factor == 0.0 or abs(factor - 1.0) < 1e-6:
        return None
    r = np.asarray(d.params.get("r", 1.0), np.float64)
    words = f"the input is scaled by {factor:.6g}"
    return Flip("weight_scale", words, params=(("r", (factor * r).astype(np.float32)),))


def _shifts() -> Iterator[Flip]:
    for shift in (1, -1, 2, -2):
        n = abs(shift)
        late = f"{n} step{'s' if n > 1 else ''} {'late' if shift > 0 else 'early'}"
        yield Flip("recording_shifted", f"spikes and membrane are recorded {late}", shift=shift)
