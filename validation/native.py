"""What an adapter says of its framework's own neuron classes, for a conformance run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Native:
    """A neuron class, and the values at which each of its arguments is tried.

    Attributes
    ----------
    subject : str
        Name of the class.
    make : callable or None
        `make(**arguments)`; None where evsim has no twin of the class.
    base : mapping
        Arguments that it needs.
    values : mapping
        Other values of every argument, one at a time.
    settable : mapping
        Other values of attributes, set on a neuron that has been made.
    """

    subject: str
    make: Callable[..., Any] | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    settable: Mapping[str, Any] = field(default_factory=dict)

    def variants(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """What is special about a variant, and the function that makes it."""
        assert self.make is not None
        make, base = self.make, dict(self.base)
        yield "", partial(make, **base)
        for name, values in self.values.items():
            for value in values:
                yield f"{name}={words(value)}", partial(make, **(base | {name: value}))
        for name, value in self.settable.items():
            yield f"{name} set to {words(value)}", partial(_changed, make, base, name, value)


@dataclass(frozen=True)
class Traveller:
    """A model of the framework's own that goes through its exporter and importer."""

    subject: str
    variant: str
    neuron: Callable[[int], Any]
    """`neuron(n)`: a layer of n of them, behind a linear map."""
    dt: float = 1e-3


def _changed(make: Callable[..., Any], base: Mapping[str, Any], name: str, value: Any) -> Any:
    neuron = make(**base)
    setattr(neuron, name, value)
    return neuron


def words(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, np.ndarray):
        return f"{float(value):g}" if value.size == 1 else "per neuron"
    if hasattr(value, "numel"):
        return f"{float(value):g}" if value.numel() == 1 else "per neuron"
    if isinstance(value, float | int | str | bool) or value is None:
        return str(value)
    return getattr(value, "__name__", None) or type(value).__name__
