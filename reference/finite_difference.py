r"""A gradient checker that measures, extrapolates, and refuses where there is nothing to measure.

For a function `f` of arrays, a cotangent `c` and a direction `v`, the backward answer
:math:`\langle f'(x)^T c, v \rangle` must equal the derivative of
:math:`g(h) = \langle c, f(x + h v) \rangle` at h = 0. That derivative comes from

* central differences :math:`D(h) = (g(h) - g(-h))/2h` over a sweep of steps that halve, with
  Richardson's extrapolation (Ridders 1982), which also estimates its own error;
* a complex step, :math:`\mathrm{Im}\, g(\mathrm{i} h)/h`, where `f` takes complex numbers;
* or central differences in many digits, where `f` takes arrays of `mpmath.mpf`.

Spikes make `f` piecewise smooth. A step across which the event structure changes measures a
jump, not a derivative: it is left out, and where too few steps are left the check is refused,
which is not a pass. At a kink :math:`(g(h) - 2 g(0) + g(-h))/h` does not vanish with `h`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np

EPS = float(np.finfo(float).eps)
#: Fewest steps with the structure of `x` that an extrapolation is made from.
FEWEST = 4
#: What `rtol` is where none is given.
RTOL = {"central": 1e-6, "complex": 1e-12, "mpmath": 1e-10}
PASS, FAIL, IMPRECISE, KINK, REFUSED = "ok", "FAIL", "imprecise", "kink", "refused"


@dataclass(frozen=True)
class Row:
    """One direction.

    Attributes
    ----------
    where : str
        What was moved: everything, or one member of `x`.
    analytic, numeric : float
        The directional derivative, by `vjp` and by differences.
    error : float
        Estimated error of `numeric`.
    scale : float
        Root of the sum of squares of the terms of `analytic`: what errors are relative to.
    step : float
        The largest step that was used.
    refused : int
        Steps left out because the event structure changed across them.
    verdict : str
        "ok", "FAIL", "imprecise" (the differences do not reach the tolerance), "kink" or
        "refused".
    """

    where: str
    analytic: float
    numeric: float
    error: float
    scale: float
    step: float
    refused: int
    verdict: str

    @property
    def deviation(self) -> float:
        """Difference of both, relative to `scale`."""
        return abs(self.analytic - self.numeric) / self.scale if self.scale else np.inf


@dataclass(frozen=True)
class Table:
    """What `check` found; prints as a table, and is true in a condition where all is well."""

    rows: list[Row] = field(default_factory=list)
    rtol: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there are rows, and every one is "ok"."""
        return bool(self.rows) and all(row.verdict == PASS for row in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    def require(self) -> Table:
        """Itself.

        Raises
        ------
        AssertionError
            With the table, unless all is well.
        """
        if not self.ok:
            raise AssertionError(f"gradient check failed\n{self}")
        return self

    def __str__(self) -> str:
        head = ("direction", "analytic", "numeric", "deviation", "error", "step", "refused", "")
        lines = [head] + [
            (row.where, f"{row.analytic:.12g}", f"{row.numeric:.12g}", f"{row.deviation:.1e}",
             f"{row.error:.1e}", f"{row.step:.1e}", str(row.refused), row.verdict)
            for row in self.rows
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*text, f"relative tolerance {self.rtol:g}"])


def leaves(x) -> dict[str, np.ndarray]:
    """The arrays of `x` by name: of a dict, of a list or tuple, or `x` itself as ""."""
    if isinstance(x, dict):
        return {str(key): np.asarray(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return {str(k): np.asarray(value) for k, value in enumerate(x)}
    return {"": np.asarray(x)}


def rebuilt(x, values: dict[str, np.ndarray]):
    """`values`, as `leaves` gives them, in the form of `x`."""
    if isinstance(x, dict):
        return {key: values[str(key)] for key in x}
    if isinstance(x, list | tuple):
        return type(x)(values[str(k)] for k in range(len(x)))
    return values[""]


def check(
    f: Callable[[Any], Any],
    vjp: Callable[[Any, Any], Any],
    x,
    *,
    structure: Callable[[Any], Hashable] | None = None,
    cotangent=None,
    method: str = "central",
    directions: int = 3,
    rtol: float | None = None,
    step: float | None = None,
    levels: int = 12,
    digits: int = 50,
    seed: int = 0,
    require: bool = False,
) -> Table:
    """Check a backward pass against the derivative of its function.

    Parameters
    ----------
    f : callable
        From `x` to a number or an array.
    vjp : callable
        `vjp(x, cotangent)`: the gradient of `sum(cotangent * f(x))`, shaped like `x`.
    x : array, or dict, list or tuple of arrays
        Where to check.
    structure : callable, optional
        `structure(x)` is anything hashable that must be the same at every point used, such as
        the order of all events. A change of the shape of `f(x)` counts as well.
    cotangent : array, optional
        Shaped like `f(x)`; default: a random one for every direction, 1 for a number.
    method : {"central", "complex", "mpmath"}, optional
        `complex`: one step of 1e-30 along the imaginary axis. `mpmath`: `f` gets object arrays
        of `mpf`, and works with `digits` digits.
    directions : int, optional
        Random directions for all of `x`, and as many for each of its members by itself.
    rtol : float, optional
        Allowed deviation relative to `Row.scale`: default 1e-6, 1e-12 and 1e-10 by method.
    step : float, optional
        The largest step, relative to the size of each member of `x`; default 1e-2, and 1e-18
        with `mpmath`.
    levels : int, optional
        How often it is halved.
    digits, seed : int, optional
    require : bool, optional
        Raise unless all is well.

    Returns
    -------
    Table

    Raises
    ------
    AssertionError
        With `require`, unless every row is "ok".
    ValueError, TypeError
        If `method` is unknown, `x` holds no number, or `vjp` answers in another shape.

    Notes
    -----
    A direction has normal entries times the largest magnitude of the member of `x` that they
    move (1 if that is zero). The table never says "ok" where the differences themselves are
    less certain than the tolerance.
    """
    if method not in RTOL:
        raise ValueError(f"method must be one of {', '.join(map(repr, RTOL))}; got {method!r}")
    parts = leaves(x)
    if not sum(part.size for part in parts.values()):
        raise ValueError("x holds no number")
    rng = np.random.default_rng(seed)
    rtol = RTOL[method] if rtol is None else rtol
    first = 1e-18 if method == "mpmath" else 1e-2
    stencil = Stencil(f, structure, x, method, first if step is None else step, levels, digits)
    movers = [("all", list(parts))] if len(parts) > 1 else []
    movers += [(name or "x", [name]) for name in parts if parts[name].size]
    table = Table([], rtol)
    for where, names in movers:
        for _ in range(directions):
            c = _random_like(stencil.centre, rng) if cotangent is None else np.asarray(cotangent)
            v = {name: np.zeros(part.shape) for name, part in parts.items()}
            for name in names:
                size = float(np.max(np.abs(parts[name]))) or 1.0
                v[name] = size * rng.standard_normal(parts[name].shape)
            table.rows.append(_row(where, stencil, _gradient(vjp, x, c), c, v, rtol))
    return table.require() if require else table


def _random_like(value, rng):
    shape = np.shape(value)
    return rng.standard_normal(shape) if shape else np.float64(1.0)


def _gradient(vjp, x, c):
    """What `vjp` answers, by member."""
    found, parts = leaves(vjp(x, c)), leaves(x)
    for name, part in parts.items():
        if name not in found or np.shape(found[name]) != part.shape:
            got = np.shape(found[name]) if name in found else None
            raise ValueError(
                f"vjp must answer shaped like x; {name or 'x'} has {part.shape}, {got}"
            )
    return found


class Stencil:
    """Evaluates `f` along a direction, and knows where that measures nothing."""

    def __init__(self, f, structure, x, method, step, levels, digits) -> None:
        self.f, self.structure, self.x = f, structure, x
        self.method, self.step, self.levels, self.digits = method, step, levels, digits
        self.base = None if structure is None else structure(x)
        self.centre = np.asarray(f(x), dtype=float)

    def at(self, h, v):
        """`f(x + h v)`, or None where the event structure is another one."""
        parts = leaves(self.x)
        moved = {name: parts[name] + h * v[name] for name in parts}
        if self.method == "mpmath":
            exact = np.frompyfunc(mpmath.mpf, 1, 1)
            moved = {n: exact(parts[n].astype(object)) + h * exact(v[n].astype(object))
                     for n in parts}  # fmt: skip
        point = rebuilt(self.x, moved)
        if self.structure is not None and self.structure(point) != self.base:
            return None
        value = np.asarray(self.f(point))
        return value if value.shape == self.centre.shape else None

    def difference(self, c, h, v):
        """(D(h), bend(h), size of the terms), or None."""
        ahead, behind = self.at(h, v), self.at(-h, v)
        if ahead is None or behind is None:
            return None
        if self.method == "mpmath":
            terms = zip(np.ravel(c).tolist(), np.ravel(ahead - behind).tolist(), strict=True)
            return sum(mpmath.mpf(a) * b for a, b in terms) / (2 * h), 0.0, 0.0
        if not (np.isfinite(ahead).all() and np.isfinite(behind).all()):
            return None
        slope = np.sum(c * (ahead - behind)) / (2 * h)
        bend = np.sum(c * ((ahead - self.centre) - (self.centre - behind))) / h
        return slope, bend, np.sum(np.abs(c) * (np.abs(ahead) + np.abs(behind)))


def _row(where, stencil: Stencil, gradient, c, v, rtol) -> Row:
    terms = np.concatenate([np.ravel(gradient[n] * v[n]) for n in v]).astype(float)
    analytic, scale = float(np.sum(terms)), float(np.sqrt(np.sum(terms**2)))
    numeric, error, kink, step, refused = {
        "central": _extrapolated, "complex": _complex_step, "mpmath": _many_digits,
    }[stencil.method](stencil, c, v)  # fmt: skip
    scale = max(scale, abs(numeric)) if np.isfinite(numeric) else scale
    if not np.isfinite(numeric):
        verdict = REFUSED
    elif kink > rtol * scale + 4 * error:
        verdict = KINK
    elif not np.isfinite(analytic) or abs(analytic - numeric) > rtol * scale + 4 * error:
        verdict = FAIL
    else:
        # What is zero is measured against the function itself.
        large = max(scale, float(np.sum(np.abs(c * stencil.centre))))
        verdict = PASS if error <= rtol * large else IMPRECISE
    return Row(where, analytic, numeric, error, scale, step, refused, verdict)


def _extrapolated(stencil: Stencil, c, v):
    """(derivative, its error, size of a kink, largest step, refused steps)."""
    found: list[tuple[float, float, float, float]] = []
    refused = 0
    for k in range(stencil.levels):
        h = stencil.step * 0.5**k
        terms = stencil.difference(c, h, v)
        if terms is None:
            refused, found = refused + len(found) + 1, []  # nor is any larger step to be trusted
        else:
            found.append((h, *terms))
    if len(found) < min(FEWEST, stencil.levels):
        return np.nan, np.nan, 0.0, 0.0, refused
    slopes = [slope for _, slope, _, _ in found]
    noise = [EPS * size / h for h, _, _, size in found]
    best, error = richardson(slopes, noise)
    # A kink leaves a bend that does not shrink; extrapolated, a smooth bend goes to zero.
    bends = [bend for _, _, bend, _ in found]
    bend, bend_error = richardson(bends, noise, first=1, stride=2)
    return best, error, max(0.0, abs(bend) - 4 * bend_error), found[0][0], refused


def richardson(values, noise, *, first: int = 2, stride: int = 2) -> tuple[float, float]:
    """Limit of `values` taken at steps that halve, and its estimated error.

    Their errors go with the powers `first`, `first + stride`, ... of the step; `noise` is the
    rounding error of each value.
    """
    best, error = values[-1], np.inf
    row: list[float] = []
    for k, value in enumerate(values):
        new = [value]
        for m in range(k):
            factor = 2.0 ** (first + stride * m)
            new.append((factor * new[m] - row[m]) / (factor - 1.0))
            doubt = max(abs(new[-1] - new[-2]), abs(new[-1] - row[m]), noise[k])
            if doubt < error:
                best, error = new[-1], doubt
        row = new
    return float(best), float(error)


def _complex_step(stencil: Stencil, c, v):
    h = 1e-30
    value = stencil.at(1j * h, v)
    if value is None:
        return np.nan, np.nan, 0.0, h, 1
    numeric = float(np.sum(np.asarray(c) * np.imag(value)) / h)
    return numeric, 8 * EPS * float(np.sum(np.abs(c * np.imag(value))) / h), 0.0, h, 0


def _many_digits(stencil: Stencil, c, v):
    with mpmath.workdps(stencil.digits):
        h = mpmath.mpf(stencil.step)
        wide, narrow = stencil.difference(c, h, v), stencil.difference(c, h / 2, v)
        if wide is None or narrow is None:
            return np.nan, np.nan, 0.0, float(h), 1
        numeric = (4 * narrow[0] - wide[0]) / 3
        return float(numeric), float(abs(wide[0] - narrow[0])), 0.0, float(h), 0
