"""What importers and exporters make of a neuron that is no switch of its update.

Each is a `Flip` whose change is a function: it depends on what the other flips have made of the
layer before. They are searched for where a graph, or a whole model, is asked about, beside the
flips of `validation.flips`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from validation.declared import Declared
from validation.flips import Flip

#: What a membrane keeps of itself per step, where importers add a leak that no graph has.
LEAKS = (0.5, 0.75, 0.8, 0.9, 0.95, 0.99)


def misreadings(d: Declared) -> list[Flip]:
    """Every one worth trying on a layer."""
    return [*_uniform(d), *_leak(d), *_synapse(d), *_bound(d)]


def _uniform(d: Declared) -> Iterator[Flip]:
    """The gain follows from time constants, which may differ between neurons."""
    if d.node is None or not np.ptp(_gain(d)):
        return
    for name, of in {"smallest": np.min, "largest": np.max}.items():
        words = f"the {name} input gain of all neurons is used for each"
        yield Flip("input_gain", words, change=partial(_same_gain, of=of))


def _same_gain(d: Declared, of: Any) -> Declared:
    gain = _gain(d)
    r = np.asarray(d.params["r"], np.float64) * of(gain) / gain
    return replace(d, params={**d.params, "r": r.astype(d.model.scalar_dtype)})


def _gain(d: Declared) -> Any:
    """Factor of the input of one step, of every neuron."""
    return np.atleast_1d(d.model.constants(_resolved(d), d.semantics, d.dt, np.float64).gain)


def _resolved(d: Declared) -> dict[str, Any]:
    assert d.x is not None
    return d.model.resolve(d.params, d.x.shape[2])


def _leak(d: Declared) -> Iterator[Flip]:
    if type(d.node).__name__ != "IF":
        return
    for kept in LEAKS:
        for again in (False, True):
            words = f"a leak acts, which the graph does not have: a step leaves {kept:g}"
            words += ", and a reset that was not enough is repeated" if again else ""
            yield Flip("leak_added", words, change=partial(_leaky, kept=kept, again=again))


def _leaky(d: Declared, kept: float, again: bool) -> Declared:
    """The membrane decays before it is charged; `again`: a reset that did not do is repeated."""
    charge = d.model.charge

    def leaking(v: Any, i: Any, x: Any, own: Any) -> Any:
        return charge(v.dtype.type(kept) * v, i, x, own)

    semantics = replace(d.semantics, carried_reset=again)
    return replace(d, model=replace(d.model, charge=leaking), semantics=semantics)


def _synapse(d: Declared) -> Iterator[Flip]:
    """What a synapse takes of its input, and a level that it relaxes to."""
    if "tau_syn" not in vars(d.node) if d.node is not None else not _has_synapse(d):
        return
    words = "its synapse takes dt/tau_syn of the input"
    yield Flip("input_gain", words, change=_through_synapse)
    if d.node is not None and np.any(d.node.v_leak):
        words = "the synapse relaxes to v_leak too"
        for rested in (True, False):
            yield Flip("leak_in_synapse", words, change=partial(_leaning, rested=rested))


def _has_synapse(d: Declared) -> bool:
    return _tau_syn(d) is not None


def _tau_syn(d: Declared) -> Any:
    """Time constant of the synapse in steps, or None."""
    tau = d.model.taus(_resolved(d), d.semantics, d.dt)[1]
    return None if tau is None else np.asarray(tau, np.float64) / (1.0 if d.dt is None else d.dt)


def _through_synapse(d: Declared) -> Declared:
    w_in = np.asarray(d.params.get("w_in", 1.0), np.float64) / _tau_syn(d)
    return replace(d, params={**d.params, "w_in": w_in.astype(d.model.scalar_dtype)})


def _leaning(d: Declared, rested: bool) -> Declared:
    """A constant beside the input; `rested`: the current is at its level from the beginning."""
    assert d.x is not None
    level = np.asarray(d.node.v_leak, np.float64)
    x = (d.x + level / np.asarray(d.node.w_in, np.float64)).astype(d.x.dtype)
    if not rested:
        return replace(d, x=x)
    c = d.model.constants(_resolved(d), d.semantics, d.dt, np.float64)
    assert c.retain_syn is not None
    before = level * c.retain_syn if c.decays_after else level
    start = np.array(np.broadcast_to(before, x.shape[1:]), x.dtype)
    return replace(d, x=x, initial={**d.initial, "i": start})


def _bound(d: Declared) -> Iterator[Flip]:
    name = d.model.lower
    if name is not None and d.params.get(name) is None:
        words = "the membrane cannot fall below minus the threshold"
        yield Flip("lower_bound", words, change=partial(_bounded, name=name))


def _bounded(d: Declared, name: str) -> Declared:
    threshold = _resolved(d)[d.model.threshold]
    assert threshold is not None
    return replace(d, params={**d.params, name: -threshold})
