"""Neuron models: parameters that users see, and the kernels of each.

All are imported together: an index of compiled code on disk names the classes of every model
that it has seen, and reading it would import their modules, hence new bodies of verbs, while
Numba is in the middle of typing a kernel that calls them.
"""

from importlib import import_module
from pkgutil import iter_modules

#: Every module of this folder: a new model is one file more.
__all__ = sorted(found.name for found in iter_modules(__path__))

for _name in __all__:
    import_module(f"{__name__}.{_name}")
