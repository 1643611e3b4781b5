"""What the public parameter classes share: validation, and the two compiled forms."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from evsim.numerics import two_sum

#: `two_sum` on NumPy arrays, whether kernels are compiled or not.
two_sum_of_arrays = getattr(two_sum, "py_func", two_sum)


def exact_sum(*terms):
    """Correctly rounded sum of numbers or arrays: its sign is the sign of the exact sum."""
    if not any(isinstance(term, np.ndarray) for term in terms):
        return math.fsum(terms)
    arrays = np.broadcast_arrays(*[np.asarray(term, float) for term in terms])
    out = np.empty(arrays[0].shape)
    for index in np.ndindex(out.shape):
        out[index] = math.fsum(float(a[index]) for a in arrays)
    return out if out.ndim else float(out)


@dataclass(frozen=True, kw_only=True)
class Neuron(ABC):
    """Base of all neuron models: numbers are scalars or have one value per neuron."""

    positive: ClassVar[tuple[str, ...]] = ()
    non_negative: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[dict[str, tuple[str, ...]]] = {}
    #: parameters that may be a dict with one value per synapse type
    by_type: ClassVar[tuple[str, ...]] = ()
    #: names of the state variables, in the order of the kernels
    state: ClassVar[tuple[str, ...]] = ("v",)
    spiking: ClassVar[bool] = True

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in self.choices:
                if value not in self.choices[field.name]:
                    allowed = ", ".join(map(repr, self.choices[field.name]))
                    raise ValueError(f"{field.name} must be one of {allowed}; got {value!r}")
            elif isinstance(value, dict) and field.name in self.by_type:
                numbers = self._numbers_by_type(field.name, value)
                object.__setattr__(self, field.name, numbers)
            elif value is not None or field.default is not None:
                object.__setattr__(self, field.name, self._number(field.name, value))

    def _numbers_by_type(self, name, given):
        if not given or not all(isinstance(key, str) and key for key in given):
            raise ValueError(f"{name} must name one synapse type or more; got {given!r}")
        return {key: self._number(name, value, f"{name}[{key!r}]") for key, value in given.items()}

    def _number(self, name, value, label=None):
        label = label or name
        try:
            array = np.asarray(value)
        except ValueError:  # ragged
            array = np.array(None)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{label} must be a number or one per neuron; got {value!r}")
        array = array.astype(float)
        if array.ndim > 1:
            raise ValueError(f"{label} must be a scalar or have shape (n,); got {array.shape}")
        bad = ~np.isfinite(array)
        wanted = "finite"
        if name in self.positive:
            bad, wanted = bad | (array <= 0), "positive and finite"
        elif name in self.non_negative:
            bad, wanted = bad | (array < 0), "non-negative and finite"
        if bad.any():
            index = np.argwhere(bad)[0]
            where = f"[{index[0]}]" if array.ndim else ""
            raise ValueError(f"{label}{where} must be {wanted}; got {array[tuple(index)]}")
        if array.ndim == 0:
            return float(array)
        array.setflags(write=False)
        return array

    @abstractmethod
    def rest(self) -> Any:
        """The level from which the kernels measure the voltage."""

    @abstractmethod
    def compile(self, n: int, arrays: bool) -> Any:
        """Kernel parameters, all scalar or all arrays of `n`."""

    def numbers(self) -> dict[str, float | np.ndarray]:
        """The numerical parameters by name."""
        found: dict[str, float | np.ndarray] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                found |= {f"{field.name}[{key!r}]": number for key, number in value.items()}
            elif field.name not in self.choices and value is not None:
                found[field.name] = value
        return found

    @property
    def ports(self) -> dict[str, int]:
        """Synapse types by name and port, where the model has them by name."""
        return {}

    def check_size(self, n: int, population: str) -> None:
        """Refuse parameter arrays that do not have one value per neuron."""
        for name, value in self.numbers().items():
            if np.ndim(value) and np.shape(value) != (n,):
                raise ValueError(
                    f"{name} of population {population!r} has {np.shape(value)[0]} values "
                    f"for {n} neurons; give one number, or one per neuron"
                )

    @property
    def synaptic(self) -> bool:
        """Whether the model has a synaptic current `i`."""
        return "i" in self.state or bool(self.ports)

    @property
    def no_pulses(self) -> str:
        """Why rectangular pulses cannot be its input, or an empty string."""
        if getattr(self, "refractory", "") == "block_input":
            return "with refractory='block_input' the start of one might be lost, its end not"
        return ""

    @property
    def no_hold(self) -> str:
        """Why `multi="hold"` is not for it, or an empty string."""
        return ""

    @property
    def per_neuron(self) -> bool:
        """Whether any parameter has one value per neuron."""
        return any(np.ndim(value) for value in self.numbers().values())


def is_policy(value) -> bool:
    """Whether a kernel parameter is a policy, which has one value for all neurons."""
    return isinstance(value, int) and not isinstance(value, bool)


def in_form(cls, n: int, arrays: bool, **values):
    """Kernel parameters `cls` with every number a float, or every number an array of `n`.

    Tuples hold one number, or array, per synapse type or rate.
    """
    if not arrays:
        return cls(**values)
    return cls(
        **{
            name: value
            if is_policy(value)
            else tuple(_column(member, n) for member in value)
            if isinstance(value, tuple)
            else _column(value, n)
            for name, value in values.items()
        }
    )


def _column(value, n: int) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value), (n,))).copy()
