"""Parameters of many neurons in columns, for passes that take one arrival after the other.

What `verbs.interval` needs of the neuron of each arrival lies side by side: a pass that fetched
it from where the neurons have it could not be vectorised. A class of parameters names in
`INTERVAL` what that is. In the scalar form there are no columns.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from evsim.dispatch import INLINE


def needed(cls) -> tuple[str, ...]:
    """Parameters that `verbs.interval` needs, in the order of the fields."""
    return getattr(cls, "INTERVAL", cls._fields)


def paced(p, n) -> tuple:
    """What `verbs.interval` needs of neuron `n` alone, a number for each column."""
    values = [value for name, value in zip(p._fields, p, strict=True) if name in needed(type(p))]
    flat = [a for value in values for a in (value if isinstance(value, tuple) else (value,))]
    return tuple(float(a[n]) for a in flat if isinstance(a, np.ndarray))


def pace(p, columns, k):
    """Parameters of which `verbs.interval` gets the answer of the neuron in line `k`.

    Nothing else may be asked of them.
    """
    column = iter(columns)

    def own(name, value):
        if isinstance(value, tuple):
            return tuple(own(name, member) for member in value)
        if not isinstance(value, np.ndarray):
            return value
        number = next(column)[k] if name in needed(type(p)) else 0.0
        return number != 0.0 if value.dtype == bool else number

    return type(p)(*(own(name, value) for name, value in zip(p._fields, p, strict=True)))


@overload(paced, jit_options=INLINE)
def _paced(p, n):
    found = []
    for name, kind in zip(p.fields, p.types, strict=True):
        if name in needed(p.instance_class):
            found += [f"{a}[n] * 1.0" for a in _arrays(f"p.{name}", kind)]
    return _spelled("p, n", f"({''.join(f'{a}, ' for a in found)})", {})


@overload(pace, jit_options=INLINE)
def _pace(p, columns, k):
    column = iter(range(len(columns)))

    def own(name, value, kind):
        if isinstance(kind, types.BaseTuple):
            members = [own(name, f"{value}[{m}]", kind[m]) for m in range(len(kind))]
            return f"({', '.join(members)},)"
        if not isinstance(kind, types.Array):
            return value
        number = f"columns[{next(column)}][k]" if name in needed(p.instance_class) else "0.0"
        return f"{number} != 0.0" if kind.dtype == types.boolean else number

    names = [own(x, f"p.{x}", kind) for x, kind in zip(p.fields, p.types, strict=True)]
    return _spelled("p, columns, k", f"cls({', '.join(names)})", {"cls": p.instance_class})


def _arrays(value: str, kind) -> list[str]:
    """The arrays among the members of a parameter, as source text."""
    if isinstance(kind, types.BaseTuple):
        return [a for m in range(len(kind)) for a in _arrays(f"{value}[{m}]", kind[m])]
    return [value] if isinstance(kind, types.Array) else []


def _spelled(arguments: str, answer: str, space: dict):
    """A function spelled out field by field: a loop over a tuple would box."""
    exec(f"def spelled_out({arguments}):\n    return {answer}", space)
    return space["spelled_out"]
