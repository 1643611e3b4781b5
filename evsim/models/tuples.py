"""Short tuples of numbers inside kernels, of any length: what their indices do one by one.

Spelled out by recursion over the length, so that compiled code is straight-line code.
"""

from __future__ import annotations

from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import overload

from evsim.dispatch import INLINE


def replaced(values, k, value):
    """`values` with `value` at index `k`."""
    return (*values[:k], value, *values[k + 1 :])


def zeros(values):
    """As many zeros."""
    return tuple(0.0 for _ in values)


def dot(a, b):
    """Sum of the products."""
    return a[0] * b[0] + dot(a[1:], b[1:]) if len(a) > 1 else a[0] * b[0]


def dot_abs(a, b):
    """Sum of the magnitudes of the products."""
    return abs(a[0] * b[0]) + (dot_abs(a[1:], b[1:]) if len(a) > 1 else 0.0)


def sum_abs(a):
    """Sum of the magnitudes."""
    return abs(a[0]) + (sum_abs(a[1:]) if len(a) > 1 else 0.0)


def sum_positive(a):
    """Sum of the positive numbers."""
    first = a[0] if a[0] > 0.0 else 0.0
    return first + sum_positive(a[1:]) if len(a) > 1 else first


def times(a, b):
    """The products."""
    return (a[0] * b[0], *times(a[1:], b[1:])) if len(a) > 1 else (a[0] * b[0],)


def raised(values, k, change):
    """`values` with `change` added at index `k`, branch-free."""
    first = values[0] + change if k == 0 else values[0]
    return (first, *raised(values[1:], k - 1, change)) if len(values) > 1 else (first,)


@overload(replaced, jit_options=INLINE)
def _replaced(values, k, value):
    return lambda values, k, value: tuple_setitem(values, k, value)


@overload(zeros, jit_options=INLINE)
def _zeros(values):
    if len(values) == 1:
        return lambda values: (0.0,)
    return lambda values: (0.0,) + zeros(values[1:])  # noqa: RUF005


@overload(dot, jit_options=INLINE)
def _dot(a, b):
    if len(a) == 1:
        return lambda a, b: a[0] * b[0]
    return lambda a, b: a[0] * b[0] + dot(a[1:], b[1:])


@overload(dot_abs, jit_options=INLINE)
def _dot_abs(a, b):
    if len(a) == 1:
        return lambda a, b: abs(a[0] * b[0])
    return lambda a, b: abs(a[0] * b[0]) + dot_abs(a[1:], b[1:])


@overload(sum_abs, jit_options=INLINE)
def _sum_abs(a):
    if len(a) == 1:
        return lambda a: abs(a[0])
    return lambda a: abs(a[0]) + sum_abs(a[1:])


@overload(sum_positive, jit_options=INLINE)
def _sum_positive(a):
    if len(a) == 1:
        return lambda a: a[0] if a[0] > 0.0 else 0.0
    return lambda a: (a[0] if a[0] > 0.0 else 0.0) + sum_positive(a[1:])


@overload(times, jit_options=INLINE)
def _times(a, b):
    if len(a) == 1:
        return lambda a, b: (a[0] * b[0],)
    return lambda a, b: (a[0] * b[0],) + times(a[1:], b[1:])  # noqa: RUF005


@overload(raised, jit_options=INLINE)
def _raised(values, k, change):
    if len(values) == 1:
        return lambda values, k, change: ((values[0] + change if k == 0 else values[0]),)
    return (
        lambda values, k, change: (
            (  # noqa: RUF005
                (values[0] + change if k == 0 else values[0]),
            )
            + raised(values[1:], k - 1, change)
        )
    )
