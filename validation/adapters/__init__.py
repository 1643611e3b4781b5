"""One module per framework: the discrete update it documents, and how to record it.

A framework is added by adding a file that holds `MODELS`, a tuple of `validation.model.Model`,
and `record(model, input, *, dt, device)`; nothing else lists it. For a conformance run it also
offers `imported`, `exported`, `played`, `natives` and `travellers` (`docs/conformance.md`).
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from validation.model import Model


@functools.cache
def adapters() -> dict[str, ModuleType]:
    """The adapter modules of this folder by name; importing one imports no framework."""
    found = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in found}


@functools.cache
def _models() -> dict[str, Model]:
    return {m.name: m for module in adapters().values() for m in module.MODELS}


def names() -> list[str]:
    """Names of all models, sorted."""
    return sorted(_models())


def model(name: str) -> Model:
    """The model of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in _models():
        raise ValueError(f"unknown model {name!r}; known models are {', '.join(names())}")
    return _models()[name]
