r"""The discrete twin: a NumPy re-statement of a framework's update, bit-exact in its dtype.

One step, with :math:`R` the spikes that a pending reset still has to act on:

.. code-block:: text

    v, i = charge(v, i, x)          the model's own operations; a pending reset before or after
    n    = count(v, threshold)      compared before any reset of this step: `v_pre`
    v    = reset(v, n)              same_step only
    v    = max(v - lower, 0) + lower

A pending reset is one that acts in the step after its spike. `validation.rounding` propagates the
bound within which another correct program lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from validation.continuous import Continuous, kappa, refine
from validation.model import NEUTRAL, SWITCHES, Array, Constants, Model, Params, Semantics
from validation.rounding import ARITHMETIC, Bound, Facts, Fixed

__all__ = [
    "ARITHMETIC",
    "NEUTRAL",
    "SWITCHES",
    "Constants",
    "Continuous",
    "Model",
    "Semantics",
    "TwinRun",
    "kappa",
    "refine",
    "run",
]


@dataclass(frozen=True, kw_only=True)
class TwinRun:
    """What the twin computed; every array is [T, B, N].

    Attributes
    ----------
    spikes
        int64 counts that the twin itself decided, even where the resets followed a recording.
    v_pre
        Membrane that was compared with the threshold.
    membrane
        Membrane at `Semantics.membrane_point`.
    synaptic_current
        Current after the step, or None.
    threshold
        Read-only view.
    distance
        float64, `v_pre` minus the nearest value at which the count changes: the threshold, or
        a multiple of it where a neuron may fire several times in a step.
    margin
        `distance` in units in the last place of the larger magnitude.
    bound
        float64, how far `v_pre` of another correct program may lie from this one; None if
        not asked for.
    membrane_bound, current_bound
        The same for `membrane` and `synaptic_current`.
    """

    spikes: Array
    v_pre: Array
    membrane: Array
    synaptic_current: Array | None
    threshold: Array
    distance: Array
    margin: Array
    bound: Array | None
    membrane_bound: Array | None = None
    current_bound: Array | None = None


def run(
    model: Model,
    params: Params,
    semantics: Semantics,
    x: Array,
    *,
    dt: float | None = None,
    initial: Mapping[str, Any] | None = None,
    recorded_spikes: Array | None = None,
    bound: bool = True,
    dtype: Any = None,
    arithmetic: str | None = None,
    resolution: float = 0.0,
) -> TwinRun:
    """Run the discrete update of `model` on a recorded input current.

    Parameters
    ----------
    model : Model
    params : mapping
        By the framework's argument names, and those of `NEUTRAL`.
    semantics : Semantics
        Any combination; `model.semantics` is what the class does by default.
    x : ndarray, shape (T, B, ...)
        Input current of every step; trailing axes are flattened in C order.
    dt : float, optional
        Step of the frameworks that have one.
    initial : mapping, optional
        `"v"` and `"i"` before the first step, broadcastable to (B, N).
    recorded_spikes : ndarray, shape (T, B, ...), optional
        Counts. Resets then follow them, so that one rounding tie does not make
        everything after it different.
    bound : bool
        Whether to propagate the rounding bound.
    dtype : dtype, optional
        In which to compute, that of `x` by default.
    arithmetic : str, optional
        Key of `ARITHMETIC` in which the other program is declared to compute (for `bound`), that of
        `dtype` by default.
    resolution : float
        Unit of which the other program's states are whole multiples, where it computes in fixed
        point (for `bound`).

    Returns
    -------
    TwinRun

    Raises
    ------
    ValueError
        If `x` or a parameter is not finite, or a shape does not fit.
    """
    current = _current(x, dtype)
    shape = current.shape
    forced = None if recorded_spikes is None else _counts(recorded_spikes, shape, current.dtype)
    p = model.resolve(params, shape[2])
    step = _Step(model, p, semantics, dt, shape, current.dtype, initial or {})
    u = ARITHMETIC[_arithmetic(arithmetic, current.dtype)]
    error = Bound(step.constants, step.fixed, semantics, u, resolution) if bound else None
    out = {name: np.empty(shape, current.dtype) for name in ("count", "v_pre", "membrane", "i")}
    bounds = {n: np.empty(shape) for n in ("v_pre", "membrane", "i")} if bound else None
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported as such
        for t in range(shape[0]):
            recorded = None if forced is None else forced[t]
            out["count"][t], out["membrane"][t], facts = step.advance(current[t], recorded)
            out["v_pre"][t], out["i"][t] = facts.v_pre, step.i
            if error is not None and bounds is not None:
                start = error.e
                bounds["v_pre"][t] = error.advance(facts)
                exposed = {"step_start": start, "post_reset": error.e}
                bounds["membrane"][t] = exposed.get(semantics.membrane_point, bounds["v_pre"][t])
                bounds["i"][t] = error.e_syn
        return _answer(step, out, bounds)


def _answer(step: _Step, out: dict[str, Array], bounds: dict[str, Array] | None) -> TwinRun:
    v, found = out["v_pre"], bounds or {}
    edge = step.fixed.threshold.astype(np.float64)
    if step.semantics.max_spikes_per_step != 1:
        most = step.semantics.max_spikes_per_step or np.inf
        edge = edge * np.clip(np.rint(v / edge), 1.0, most)
    edge = np.broadcast_to(edge, v.shape)
    distance = v.astype(np.float64) - edge
    ulp = np.spacing(np.maximum(np.abs(v), np.abs(edge).astype(v.dtype))).astype(np.float64)
    return TwinRun(
        spikes=out["count"].astype(np.int64),
        v_pre=v,
        membrane=out["membrane"],
        synaptic_current=out["i"] if step.constants.retain_syn is not None else None,
        threshold=np.broadcast_to(step.fixed.threshold, v.shape),
        distance=distance,
        margin=distance / ulp,
        bound=found.get("v_pre"),
        membrane_bound=found.get("membrane"),
        current_bound=found.get("i") if step.constants.retain_syn is not None else None,
    )


class _Step:
    """State of a run; `advance` moves it by one step."""

    def __init__(
        self,
        model: Model,
        p: dict[str, Any],
        semantics: Semantics,
        dt: float | None,
        shape: tuple[int, ...],
        dtype: Any,
        initial: Mapping[str, Any],
    ) -> None:
        self.charge, self.semantics = model.charge, semantics
        self.product = model.product_dtype or dtype
        self.constants = model.constants(p, semantics, dt, dtype)
        self.own = _cast(self.constants.own, dtype)
        threshold = p[model.threshold].astype(dtype)
        amount = _optional(p, model.subtract, dtype)
        self.fixed = Fixed(
            threshold=threshold,
            v_reset=p["v_reset"].astype(dtype),
            amount=threshold if amount is None else amount,
            lower=_optional(p, model.lower, dtype),
        )
        unknown = sorted(set(initial) - {"v", "i"})
        if unknown:
            raise ValueError(f"initial has no entry {unknown[0]!r}; it may hold 'v' and 'i'")
        self.v = _state(initial.get("v", model.initial(p, semantics)), shape[1:], dtype, "v")
        self.i = _state(initial.get("i", 0.0), shape[1:], dtype, "i")
        self.pending = self.count(self.v)

    def count(self, v: Array) -> Array:
        """Spikes of one step, in the dtype of `v`."""
        strict, cap = self.semantics.compare == ">", self.semantics.max_spikes_per_step
        if cap == 1:
            fires = v > self.fixed.threshold if strict else v >= self.fixed.threshold
            return fires.astype(v.dtype)
        ratio = v / self.fixed.threshold
        n = np.maximum(np.ceil(ratio) - 1, 0) if strict else np.trunc(ratio)
        n = np.where(v > 0, n, 0).astype(v.dtype)
        return n if cap is None else np.minimum(n, v.dtype.type(cap))

    def advance(self, x: Array, recorded: Array | None) -> tuple[Array, Array, Facts]:
        """One step: the count, the membrane exposed, and what was done."""
        s = self.semantics
        v0, i0 = self.v, self.i
        late = s.reset_timing == "next_step"
        if not late:
            self.pending = self.count(v0) if s.carried_reset else np.zeros_like(v0)
        pending = self.pending
        v, self.i = self._integrate(v0, x)
        n = self.count(v)
        acting = n if recorded is None else recorded
        after = v if late else self._reset_now(v, acting - pending)
        if late:
            self.pending = acting
        if self.fixed.lower is not None:
            after = np.maximum(after - self.fixed.lower, v.dtype.type(0)) + self.fixed.lower
        self.v = after
        exposed = {"pre_reset": v, "post_reset": after, "step_start": v0}[s.membrane_point]
        return n, exposed, Facts(v0, i0, x, pending, v, acting, after)

    def _amount(self, n: Array) -> Array:
        """What a soft reset of `n` spikes takes off."""
        product = n.astype(self.product) * self.fixed.amount.astype(self.product)
        return product.astype(n.dtype)

    def _integrate(self, v: Array, x: Array) -> tuple[Array, Array]:
        """Charge, and the pending reset around it."""
        s, pending = self.semantics, self.pending
        hard = s.reset == "value"
        if hard and not s.lossy_reset:
            v = np.where(pending > 0, self.fixed.v_reset, v)
        v, i = self.charge(v, self.i, x, self.own)
        if s.reset == "subtract" and (s.carried_reset or s.reset_timing == "next_step"):
            v = v - self._amount(pending)
        if hard and s.lossy_reset:
            v = np.where(pending > 0, self.fixed.v_reset, v)
        return v, i

    def _reset_now(self, v: Array, n: Array) -> Array:
        """Reset of the same step; `n` is -1 where a carried reset has to be taken back."""
        if self.semantics.reset == "subtract":
            return v - self._amount(n)
        if self.semantics.reset == "none":
            return v
        back = v - n * (v - self.fixed.v_reset)
        return np.where(n > 0, self.fixed.v_reset, np.where(n < 0, back, v))


def _current(x: Any, dtype: Any) -> Array:
    x = np.asarray(x) if dtype is None else np.asarray(x, dtype)
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ValueError(f"x must be a float array (T, B, ...), got {x.dtype} of shape {x.shape}")
    if not np.isfinite(x).all():
        k = tuple(map(int, np.argwhere(~np.isfinite(x))[0]))
        raise ValueError(f"x{list(k)} is {x[k]}; an input current must be finite")
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))  # -1 fails where nothing is left


def _counts(spikes: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    spikes = np.asarray(spikes)
    if spikes.shape[:2] != shape[:2] or spikes.size != np.prod(shape, dtype=int):
        raise ValueError(f"recorded_spikes have shape {spikes.shape}, the input {shape}")
    return spikes.reshape(shape).astype(dtype)


def _arithmetic(name: str | None, dtype: Any) -> str:
    key = np.dtype(dtype).name if name is None else name
    if key not in ARITHMETIC:
        raise ValueError(f"arithmetic must be one of {sorted(ARITHMETIC)}, got {key!r}")
    return key


def _optional(p: Mapping[str, Any], name: str | None, dtype: Any) -> Array | None:
    return None if name is None or p[name] is None else p[name].astype(dtype)


def _cast(own: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    return {
        k: v.astype(dtype) if isinstance(v, np.ndarray | np.generic) else v for k, v in own.items()
    }


def _state(value: Any, shape: tuple[int, ...], dtype: Any, name: str) -> Array:
    value = np.asarray(value, dtype)
    if value.ndim > 2:
        value = value.reshape(value.shape[0], -1)
    try:
        return np.array(np.broadcast_to(value, shape))
    except ValueError:
        raise ValueError(
            f"initial[{name!r}] has shape {value.shape}; it must fit (B, N) = {shape}"
        ) from None
