"""What one framework neuron computes in one step, as data.

A `Model` is a framework's neuron class: its parameters, its update in the framework's own
order of operations, and what it stands for. A `Semantics` is a set of switches; those that
the class has by default belong to the `Model`, and every other combination can be run too, because
a search for the cause of a mismatch flips them one by one. `validation.twin.run` runs them.

This module and the models of `validation.adapters` need NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from validation import continuous as _continuous

Array = NDArray[Any]
Params = Mapping[str, Any]

#: The values that each switch may take; `max_spikes_per_step` is an integer or None (no limit).
SWITCHES: dict[str, tuple[str, ...]] = {
    "compare": (">", ">="),
    "reset": ("subtract", "value", "none"),
    "reset_timing": ("same_step", "next_step"),
    "membrane_point": ("pre_reset", "post_reset", "step_start"),
    "decay": ("euler", "exp", "raw"),
    "input_gain": ("1", "1/tau", "dt/tau", "1-decay"),
}

#: Parameters that every model accepts, and the values at which they do nothing. They carry the
#: fields of a NIR node for which a framework has no argument of its own.
NEUTRAL: dict[str, float] = {"r": 1.0, "w_in": 1.0, "v_leak": 0.0, "v_reset": 0.0}


@dataclass(frozen=True, kw_only=True)
class Semantics:
    """The switches of a discrete update.

    `carried_reset` and `lossy_reset` are peculiarities of snnTorch that only matter where they
    apply, so a search need not flip them. Carried: a same-step reset is computed as the
    correction of a next-step one, so a membrane that is still above threshold after its reset is
    reset again before the next comparison. Lossy: a pending reset to a value is applied after
    the integration, so that the input of that step is lost.
    """

    compare: str = ">"
    reset: str = "subtract"
    reset_timing: str = "same_step"
    membrane_point: str = "post_reset"
    decay: str = "raw"
    input_gain: str = "1"
    max_spikes_per_step: int | None = 1
    carried_reset: bool = False
    lossy_reset: bool = False

    def __post_init__(self) -> None:
        for name, allowed in SWITCHES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        cap = self.max_spikes_per_step
        if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
            raise ValueError(f"max_spikes_per_step must be None or at least 1, got {cap!r}")

    def manifest(self) -> dict[str, Any]:
        """The keys that an evtrace manifest holds for a layer."""
        keys: dict[str, Any] = {name: getattr(self, name) for name in SWITCHES}
        keys["decay"] = {"kind": self.decay}
        keys["max_spikes_per_step"] = self.max_spikes_per_step
        return keys

    def updated(self, layer: Mapping[str, Any]) -> Semantics:
        """These switches, with those that the manifest of a layer states put in their place."""
        found = {f.name: layer[f.name] for f in fields(self) if f.name in layer}
        if isinstance(found.get("decay"), Mapping):
            kind = found["decay"].get("kind", self.decay)
            found["decay"] = kind
        return replace(self, **found)


@dataclass(frozen=True, kw_only=True)
class Constants:
    r"""The numbers of one update, scalar or one per neuron.

    Whatever its order of operations, every update here is

    .. math::
        i^+ = a_s i + j x, \qquad v' = a v + g i^+ + (1 - a) v_{leak},      \tag{1}

    (:math:`i^+ = j x` without a synapse; where `decays_after`, :math:`i^+ = i + j x` enters the
    membrane and :math:`a_s i^+` is kept). `own` holds the same numbers as the framework groups
    them, and is what `Model.charge` reads.

    `spread_v` and `spread_i` are the sums of the magnitudes of the coefficients of :math:`v`
    and :math:`i^+` before any cancellation: :math:`1 + |1-a|` for :math:`v - (1-a) v`, but
    :math:`|a|` for :math:`a v`. `exponent` is the largest :math:`1/\tau` that goes through an
    exponential, whose rounding error it multiplies.
    """

    retain: Array
    gain: Array
    jump: Array
    v_leak: Array
    retain_syn: Array | None = None
    decays_after: bool = False
    spread_v: Array | float = 1.0
    spread_i: Array | float = 1.0
    exponent: float = 0.0
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A neuron class of a framework.

    Attributes
    ----------
    name
        Namespaced: `"snntorch.Leaky"`.
    required, defaults
        Numeric constructor arguments without and with a default. None: not used.
    semantics
        The switches that the class has when nothing else is asked for.
    scalar_dtype
        What the framework turns a Python number into when it stores it.
    threshold, lower, subtract
        Names of the parameters that hold the threshold, a lower bound of the membrane, and an
        amount to subtract at a reset that differs from the threshold.
    time
        Parameters that are time constants: `"steps"`, `"time"` or `"inverse"` (in the unit of dt),
        `"factor"` (what is left after a step) or `"raw"` (a factor that the switch `decay` reads).
    constants
        `(params, semantics, dt, dtype) -> Constants`.
    charge
        `(v, i, x, own) -> v, i`: equation (1), in the framework's order of operations.
    taus
        `(params, semantics, dt) -> tau_mem, tau_syn`: those of the differential equation, in
        units of dt (None: no leak, no synapse).
    initial
        `(params, semantics) -> v`: membrane before the first step.
    product_dtype
        In which the framework multiplies a count by the threshold, that of the run by default.
    nir
        `(node, dt) -> params, switches`: a NIR node in this framework's discretisation.
    """

    name: str
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    semantics: Semantics
    scalar_dtype: type[np.floating[Any]] = np.float32
    product_dtype: type[np.floating[Any]] | None = None
    threshold: str
    lower: str | None = None
    subtract: str | None = None
    time: Mapping[str, str]
    constants: Callable[[dict[str, Any], Semantics, float | None, Any], Constants]
    charge: Callable[[Array, Array, Array, Mapping[str, Any]], tuple[Array, Array]]
    taus: Callable[[dict[str, Any], Semantics, float | None], tuple[Any, Any]]
    initial: Callable[[dict[str, Any], Semantics], Any]
    nir: Callable[[Any, float], tuple[dict[str, Any], dict[str, Any]]]

    def resolve(self, params: Params, n: int | None = None) -> dict[str, Any]:
        """All parameters: those given, the defaults, and the neutral ones.

        Raises
        ------
        ValueError
            If a name is unknown or missing, or a value is not finite, or neither a scalar nor
            one value per neuron.
        """
        known: dict[str, Any] = {**NEUTRAL, **dict.fromkeys(self.required), **self.defaults}
        unknown = sorted(set(params) - set(known))
        if unknown:
            raise ValueError(f"{self.name} has no parameter {unknown[0]!r}; it has {sorted(known)}")
        merged = {**known, **params}
        missing = [name for name in self.required if merged[name] is None]
        if missing:
            raise ValueError(f"{self.name} needs the parameter {missing[0]!r}")
        return {name: self._array(name, value, n) for name, value in merged.items()}

    def _array(self, name: str, value: Any, n: int | None) -> Array | None:
        if value is None:
            return None
        weak = isinstance(value, int | float) and not isinstance(value, np.generic)
        array = np.asarray(value, self.scalar_dtype if weak else None)
        if array.dtype.kind in "iub":
            array = array.astype(self.scalar_dtype)
        if array.dtype.kind != "f":
            raise ValueError(f"params.{name} of {self.name} must be numbers, got {array.dtype}")
        array = array.reshape(()) if array.size == 1 else array.reshape(-1)
        if array.ndim and n is not None and array.size != n:
            raise ValueError(
                f"params.{name} of {self.name} must be a scalar or one value per neuron; "
                f"got {array.size} values for {n} neurons"
            )
        bad = np.argwhere(~np.isfinite(np.atleast_1d(array)))
        if bad.size:
            k = int(bad[0, 0])
            raise ValueError(
                f"params.{name}[{k}] of {self.name} is {np.atleast_1d(array)[k]}; it must be finite"
            )
        return array

    def continuous(
        self, params: Params, dt: float | None = None, semantics: Semantics | None = None
    ) -> _continuous.Continuous:
        """The differential equation that the update stands for."""
        return _continuous.continuous(self, params, semantics or self.semantics, dt)

    def from_nir_node(
        self, node: Any, dt: float | None, semantics: Semantics | None = None
    ) -> tuple[dict[str, Any], Semantics]:
        """What a NIR node declares, in this framework's discretisation.

        Parameters
        ----------
        node : nir.LIF, nir.CubaLIF or nir.IF
        dt : float or None
            In the unit of the node's time constants; None stands for 1.
        semantics : Semantics, optional
            Where NIR is silent (when a reset acts, which membrane is exposed, how often a
            neuron may fire in a step, how decay is discretised) these hold; the model's by default.

        Returns
        -------
        params, semantics
            A spike of the node is an input of 1 that lasts one step. All fields count, those
            included for which the framework has no argument (`r`, `w_in`, `v_leak`, `v_reset`).

        Raises
        ------
        ValueError
            If this model cannot stand for a node of that class, or dt is not positive.
        """
        step = 1.0 if dt is None else float(dt)
        if not (np.isfinite(step) and step > 0.0):
            raise ValueError(f"dt must be positive and finite, got {dt!r}")
        params, switches = self.nir(node, step)
        declared = {"compare": ">", "reset": "value", "max_spikes_per_step": 1, **switches}
        stored = {k: np.asarray(v, self.scalar_dtype) for k, v in params.items()}
        return stored, replace(semantics or self.semantics, **declared)


def node_values(model: str, node: Any, accepted: Sequence[str], threshold: str) -> dict[str, Any]:
    """The voltages and the resistance of a NIR node by a framework's names.

    Raises
    ------
    ValueError
        If the model cannot stand for a node of that class, only for those `accepted`.
    """
    kind = type(node).__name__
    if kind not in accepted:
        known = " and ".join(f"nir.{name}" for name in accepted)
        raise ValueError(f"{model} cannot stand for a nir.{kind}, only for {known}")
    found = {
        name: getattr(node, name) for name in ("v_leak", "v_reset", "r") if hasattr(node, name)
    }
    return {threshold: node.v_threshold, **found}


def factor_of_tau(kind: str, inverse: Array, raw: Array | None = None) -> Array:
    """Decay factor of one step from dt/tau; `raw` is what "raw" stands for, exp by default."""
    if kind == "euler":
        return np.asarray(1.0 - inverse, inverse.dtype)
    if kind == "raw" and raw is not None:
        return raw
    # Rounding once, from a wider exponential, is as close as any library can come.
    return np.exp(-inverse.astype(np.longdouble)).astype(inverse.dtype)


def factor_of_raw(kind: str, raw: Array) -> Array:
    """Decay factor of one step where a number was meant as such.

    "euler": the number was meant as exp(-dt/tau), and 1 - dt/tau is applied. "exp": it was meant
    as 1 - dt/tau, and exp(-dt/tau) is applied.
    """
    if kind == "euler":
        return np.asarray(1.0 + np.log(np.maximum(raw, np.finfo(raw.dtype).tiny)), raw.dtype)
    return np.asarray(np.exp(raw - 1.0), raw.dtype) if kind == "exp" else raw


def factor_of_input(kind: str, retain: Array, inverse: Array, dt_inverse: Array) -> Array:
    """Factor of the input of one step; `inverse` is 1/tau in the framework's unit of time."""
    table = {"1": np.ones_like(retain), "1/tau": inverse, "dt/tau": dt_inverse}
    return table[kind] if kind in table else np.asarray(1 - retain, retain.dtype)
