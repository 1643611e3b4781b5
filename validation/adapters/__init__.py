"""One module per framework: the discrete update it documents, and how to record it.

A framework is added by adding a file that holds `MODELS`, a tuple of `validation.model.Model`,
and `record(model, input, *, dt, device, cotangent)`; nothing else lists it. For a conformance run
it also offers `imported`, `exported`, `played`, `natives` and `travellers`. Other packages add
theirs by an entry point of the group `evsim.adapters`; `docs/adapters.md` says how.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from types import ModuleType

from validation.model import Model

#: Group of the entry points by which other packages add an adapter.
GROUP = "evsim.adapters"


@functools.cache
def adapters() -> dict[str, ModuleType]:
    """The adapter modules of this folder and those of entry points, by name.

    Importing one imports no framework.

    Raises
    ------
    RuntimeError
        If an entry point cannot be loaded or is no adapter; the message names its package.
    """
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    found = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    for point in importlib.metadata.entry_points(group=GROUP):
        found[point.name] = _loaded(point, found)
    return found


def _loaded(point: importlib.metadata.EntryPoint, known: dict[str, ModuleType]) -> ModuleType:
    """The adapter behind an entry point."""
    package = "an unnamed package" if point.dist is None else point.dist.name
    where = f"the adapter {point.name!r} of {package} ({point.value})"
    if point.name in known:
        raise RuntimeError(f"{where} has a name that is taken; uninstall the package or rename it")
    try:
        module = point.load()
    except Exception as error:  # another's code may raise anything
        why = f"{type(error).__name__}: {error}"
        raise RuntimeError(f"{where} cannot be loaded: {why}; mend or uninstall it") from error
    models = getattr(module, "MODELS", None)
    if not callable(getattr(module, "record", None)) or not isinstance(models, tuple):
        raise RuntimeError(f"{where} needs MODELS, a tuple, and a function record")
    for one in models:
        if not isinstance(one, Model) or not one.name.startswith(f"{point.name}."):
            raise RuntimeError(f"{where}: MODELS must hold Models named {point.name}.<class>")
    return module


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
