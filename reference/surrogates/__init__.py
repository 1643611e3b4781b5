r"""Surrogate derivatives of frameworks, under their own names and with their defaults.

.. code-block:: python

    g = get("snntorch.atan", alpha=2.0)
    g.derivative(v), g.height, g.area, g.scale, g.support

v is the membrane minus the threshold. Each stands as its library computes it (snnTorch 1.0.0,
SpikingJelly 2.0.0, Norse 1.1.0, sinabs 2.0.3; beside these four, Rockpool 3.1.0 and Spyx 1.0.0),
whatever its documentation says; where the two differ, `deviation` says how. "Slope" and "alpha"
mean height, width or both from one library to the next, and what the gradient of a deep network
sees are height and area: compare those.

A library is one module here; a surrogate is one public function in it, whose docstring is its
formula, followed by its deviation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from reference.surrogates import norse, rockpool, shapes, sinabs, snntorch, spikingjelly, spyx
from reference.surrogates.shapes import Shape

__all__ = ["Surrogate", "get", "names", "table"]

_LIBRARIES = {
    "snntorch": snntorch,
    "spikingjelly": spikingjelly,
    "norse": norse,
    "sinabs": sinabs,
}
#: Of frameworks that do not live in one environment with those.
_ELSEWHERE = {"rockpool": rockpool, "spyx": spyx}
#: Constructors that are not called like their surrogate.
_ALIASES = {"snntorch.straight_through_estimator": "snntorch.straight_through"}


class Surrogate(NamedTuple):
    """One surrogate with its parameters; the first six fields are those of `shapes.Shape`."""

    derivative: shapes.Function
    height: float
    area: float
    scale: float
    support: tuple[float, float]
    primitive: shapes.Function | None
    name: str
    params: dict[str, float]
    formula: str
    deviation: str


@cache
def _makers() -> dict[str, Callable[..., Shape]]:
    """Public functions of the libraries, in the order in which they stand there."""
    return {
        f"{library}.{name}": make
        for library, module in {**_LIBRARIES, **_ELSEWHERE}.items()
        for name, make in vars(module).items()
        if inspect.isfunction(make) and make.__module__ == module.__name__ and name[0] != "_"
    }


def names(*, elsewhere: bool = False) -> list[str]:
    """The surrogates of the four frameworks, library by library.

    With `elsewhere`, all names that `get` knows: those of Rockpool and Spyx come last.
    """
    return [n for n in _makers() if elsewhere or n.partition(".")[0] not in _ELSEWHERE]


def get(name: str, **params: float) -> Surrogate:
    """A surrogate by the name `framework.surrogate`.

    Parameters
    ----------
    name : str
        For instance "snntorch.atan", "spikingjelly.Sigmoid", "norse.super"; `names` lists all.
    **params : float
        Under the library's own names; what is left out has the library's default.

    Returns
    -------
    Surrogate

    Raises
    ------
    ValueError
        If the name or a parameter is unknown, or a width is not positive.

    Examples
    --------
    >>> g = get("snntorch.fast_sigmoid", slope=10)
    >>> float(g.derivative(0.1)), g.area
    (0.25, 0.2)
    """
    known, makers = _ALIASES.get(name, name), _makers()
    if known not in makers:
        raise ValueError(f"no surrogate {name!r}; there are {', '.join(makers)}")
    own = inspect.signature(makers[known]).parameters
    odd = sorted(set(params) - set(own))
    if odd:
        has = ", ".join(own) or "none"
        raise ValueError(f"{name} has no parameter {odd[0]!r}; its parameters: {has}")
    values = {key: params.get(key, parameter.default) for key, parameter in own.items()}
    try:
        shape = makers[known](**values)
    except ZeroDivisionError:
        shape = None
    if shape is None or not shape.scale > 0:
        raise ValueError(f"the width of {name} must be positive; it has {values}")
    formula, _, deviation = (inspect.getdoc(makers[known]) or "").partition("\n\n")
    texts = (" ".join(text.split()).removesuffix(".") for text in (formula, deviation))
    return Surrogate(
        lambda v: shape.derivative(_floats(v)), shape.height, shape.area, shape.scale,
        shape.support, shape.primitive, known, values, *texts,
    )  # fmt: skip


def table() -> str:
    """All surrogates at their defaults, as a table in Markdown."""
    head = (
        "name",
        "g(v)",
        "defaults",
        "height",
        "area",
        "scale",
        "support",
        "documented otherwise",
    )
    rows = [head, ("---",) * len(head)]
    for name in names():
        g = get(name)
        given = {key: value for key, value in g.params.items() if value is not None}
        defaults = ", ".join(f"{key}={value:g}" for key, value in given.items())
        numbers = (f"{value:.4g}" for value in (g.height, g.area, g.scale))
        low, high = (f"{value:g}" for value in g.support)
        row = (name, f"`{g.formula}`", defaults, *numbers, f"[{low}, {high}]", g.deviation)
        rows.append(tuple(cell.replace("|", "\\|") for cell in row))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _floats(v) -> np.ndarray:
    v = np.asarray(v)
    return v if v.dtype.kind == "f" else v.astype(float)
