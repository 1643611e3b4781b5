r"""A recorded backward pass of a layer against the hand-derived one.

The layer's own twin gives the membranes, `reference.bptt` the chain rule through time, and
`reference.surrogates` the derivative that stands for a spike's. What is compared is the gradient
by the input current, given the recorded gradient by the spikes: a layer alone, as in the forward
check.

Two programs that sum the same terms differ by less than

.. math::
    (k + 2 (T - t)) \, u \, \bar\lambda_t ,                                      \tag{1}

where :math:`\bar\lambda` is the same recursion with the magnitudes of all its terms, u a unit in
the last place of float32 (in which most frameworks hold spikes, whatever the input), two roundings
a step, and k roundings for the surrogate: ten of its own, and those of its argument, by how much
it changes within them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference import bptt, surrogates
from validation.declared import Declared, Gradient
from validation.discrete import first_of
from validation.model import Constants
from validation.result import Agreement, Found, Mismatch, or_else

UNIT = 2.0**-23
#: Roundings of a surrogate.
OWN = 10.0
RESETS = {"value": "hard", "subtract": "soft", "none": "none"}
QUANTITY = "gradient"
NO_RULE = "no other surrogate, and no other treatment of the reset, explains its gradient"


@dataclass(frozen=True)
class Leaving:
    """The gradient by the input current [T, B, N], and its bound (1)."""

    value: np.ndarray
    bound: np.ndarray


def check_gradient(d: Declared) -> Agreement | None:
    """A recorded backward pass against its twin's, or None where none was recorded."""
    if d.gradient is None:
        return None
    leaving = twin_of(d, d.gradient)
    if leaving is None:
        return Agreement(QUANTITY, "unverifiable")
    recorded = d.gradient.leaving.astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(recorded - leaving.value)
    bad = ~(distance <= leaving.bound)
    scale = np.maximum(leaving.bound, np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        ratio = distance / scale
    first = None
    if bad.any():
        at = first_of(bad)
        values = float(leaving.value[at]), float(recorded[at])
        first = Mismatch(QUANTITY, *at, *values, float(ratio[at]))
    return Agreement(
        QUANTITY,
        "mismatch" if bad.any() else "identical",
        bad.size,
        0,
        int(bad.sum()),
        float(np.nanmax(ratio, initial=0.0)),
        first,
    )


def twin_of(d: Declared, gradient: Gradient) -> Leaving | None:
    """The hand-derived backward pass of a layer, or None where none is known.

    None for a surrogate that `reference.surrogates` does not have, for a pending reset that loses
    an input, for a membrane at its lower bound, and where anything is not finite in float32.
    """
    if d.x is None or d.spikes is None or not np.isfinite(gradient.arriving).all():
        return None
    late = d.semantics.reset_timing == "next_step"
    if d.semantics.reset == "value" and late and d.semantics.lossy_reset:
        return None
    twin = d.run(bound=False)
    lower = d.model.lower and d.model.resolve(d.params, d.x.shape[2])[d.model.lower]
    if lower is not None and np.any(twin.membrane <= lower):
        return None
    h, threshold = twin.v_pre.astype(np.float64), twin.threshold[0].astype(np.float64)
    try:
        slope, error = _slopes(d, gradient, h, threshold)
    except ValueError:
        return None
    run = _run(d, h, threshold)
    value = _through(d, run, gradient.arriving, slope, gradient.detached)
    sizes, arriving = _magnitudes(run), -np.abs(gradient.arriving)
    size = np.abs(_through(d, sizes, arriving, -np.abs(slope), gradient.detached))
    wide = np.abs(_through(d, sizes, arriving, -np.abs(slope) - error, gradient.detached))
    if not wide.max(initial=0.0) < np.finfo(np.float32).max:
        return None
    steps = np.arange(len(h), 0, -1.0).reshape(-1, 1, 1)
    bound = UNIT * (2 * steps + OWN) * wide + (wide - size)
    return Leaving(value, bound + np.finfo(np.float32).tiny)


def _slopes(d: Declared, gradient: Gradient, h, threshold) -> tuple[np.ndarray, np.ndarray]:
    """The surrogate's derivative [T, B, N], and its error.

    The error is that of its argument, and some roundings of its height: 1 - s may be small.
    """
    assert d.x is not None
    own = surrogates.get(gradient.surrogate).params
    given = {name: float(value) for name, value in gradient.params.items() if name in own}
    moved = 4 * max(float(np.finfo(d.x.dtype).eps), UNIT) * (np.abs(h) + np.abs(threshold))
    slope, error = np.empty(h.shape), np.empty(h.shape)
    for th in np.unique(threshold):  # some libraries scale a surrogate by the threshold
        scaled = {"spike_threshold": float(th)} if "spike_threshold" in own else {}
        surrogate = surrogates.get(gradient.surrogate, **(given | scaled))
        at = np.broadcast_to(threshold == th, h.shape)
        u, off = h[at] - th, moved[at]
        with np.errstate(over="ignore"):
            slope[at] = surrogate.derivative(u)
            around = [np.abs(surrogate.derivative(u + s * off) - slope[at]) for s in (-1, 1)]
        error[at] = np.maximum(*around) + OWN * UNIT * surrogate.height
    return slope, error


def _run(d: Declared, h: np.ndarray, threshold: np.ndarray) -> bptt.Run:
    """The twin's run as `reference.bptt` differentiates it."""
    assert d.spikes is not None
    p, c = _numbers(d)
    reset = RESETS[d.semantics.reset]
    fired = np.minimum(d.spikes, 1) if reset == "hard" else d.spikes
    params = {
        "beta": np.asarray(c.retain, np.float64),
        "v_th": _amount(d, threshold),
        "v_reset": np.asarray(p["v_reset"], np.float64),
        "gain": np.asarray(c.gain, np.float64),
        "v_rest": 0.0,
    }
    timing = d.semantics.reset_timing
    blank = np.zeros((len(h) + 1, *h.shape[1:]))
    s = fired.astype(np.float64)
    return bptt.Run(s, h, h, blank, blank[1:], params, blank[0], 0.0, reset, timing)


def _numbers(d: Declared) -> tuple[dict[str, Any], Constants]:
    """Parameters of the layer, and the constants of its update in float64."""
    assert d.x is not None
    p = d.model.resolve(d.params, d.x.shape[2])
    return p, d.model.constants(p, d.semantics, d.dt, np.float64)


def _amount(d: Declared, threshold: np.ndarray) -> np.ndarray:
    """What a soft reset takes off."""
    given = None if d.model.subtract is None else d.params.get(d.model.subtract)
    return threshold if given is None else np.asarray(given, np.float64)


def _magnitudes(run: bptt.Run) -> bptt.Run:
    """The same run with every term of the chain rule of one sign, for negated inputs."""
    v_reset = run.of("v_reset")
    h = v_reset + np.abs(v_reset - run.h) if run.reset == "hard" else run.h
    gain, beta = np.abs(run.of("gain")), np.abs(run.of("beta"))
    return replace(run, h=h, params={**run.params, "gain": gain, "beta": beta})


def _through(d: Declared, run: bptt.Run, arriving, slope, detached: bool) -> np.ndarray:
    """Back through the membrane, then through the synapse."""
    grad = np.asarray(arriving, np.float64)
    found = bptt.lif_backward(run, grad, lambda u: slope, detach=detached)["current"]
    _, c = _numbers(d)
    jump = np.asarray(c.jump, np.float64)
    if c.retain_syn is None:
        return jump * found
    decay = np.broadcast_to(np.asarray(c.retain_syn, np.float64), found.shape[1:])
    return bptt.filter_backward(found, found, decay, gain=jump)["x"]


# ------------------------------------------------------------------------------------------ causes


def of_gradient(d: Declared) -> Found:
    """Why a backward pass differs: the rule that explains it, and in words."""
    assert d.gradient is not None
    odd = int((~np.isfinite(d.gradient.leaving)).sum())
    if odd:
        return Found([], f"its gradient is not finite in {odd} places, and should be")
    found: dict[str, str] = {}
    for change, cause, words in _changes(d):
        if found and (len(cause) > 1 or cause[0] in found):
            continue
        agreement = check_gradient(replace(d, gradient=change))
        if agreement is not None and agreement.verdict == "identical":
            if len(cause) > 1:
                return Found(cause, words)
            found[cause[0]] = words
    if not found:
        return Found([], NO_RULE)
    first, *also = found
    return Found([first], found[first] + or_else(also), also)


def _changes(d: Declared) -> Iterator[tuple[Gradient, list[str], str]]:
    assert d.gradient is not None
    g = d.gradient
    how = "is differentiated through" if g.detached else "counts as a constant"
    turned = replace(g, detached=not g.detached)
    reset = f"the spike {how} where it resets"
    yield turned, ["reset_detach"], reset
    library = g.surrogate.partition(".")[0]
    known = surrogates.names(elsewhere=True)
    names = sorted(known, key=lambda name: not name.startswith(f"{library}."))
    others = [replace(g, surrogate=name, params={}) for name in names]
    for other in others:
        yield other, ["surrogate"], f"the surrogate is {other.surrogate}"
    for other in others:
        both = replace(other, detached=not g.detached)
        said = f"the surrogate is {other.surrogate}, and {reset}"
        yield both, ["surrogate", "reset_detach"], said
