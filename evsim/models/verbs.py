"""What a neuron model must answer.

Two families. *Vector, branch-free*, for whole populations: `interval`, `step`, `receive`.
*Scalar, for the few candidates*: `earliest`, `silent`, `next_spike`, `next_rise`, `fire`,
`clamp`, `receive_clamped`; `redrive` and `pulse`, which move a neuron to a new level of external
current; and `voltage`, for reading. `extremum` and `area` are for models that never fire.

A parameter set is one NamedTuple class per model in two compiled forms: every number a
float, or every number a contiguous array with one value per neuron; `pick` turns either into
the floats of one neuron. A state is a tuple of numbers (of arrays for a population), the first
of which is the membrane voltage relative to the level to which it relaxes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from evsim.dispatch import INLINE, generic


@generic
def interval(p, d):
    """Coefficients of the flow over `d`, shared by the sweep and by the solver."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def step(p, c, x):
    """State after the interval of coefficients `c`, and whether a spike within is possible.

    The answer may be a false yes, never a false no.
    """
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@partial(generic, default=lambda p, c, x: step(p, c, x))
def step_on(p, c, x):
    """As `step`, of a neuron that could not fire in an interval just before, and has received
    since: models may leave out what that one has told. By default `step` itself."""


@generic
def receive(p, x, port, weight):
    """State after an arrival at synaptic port `port` (0 where a model has one)."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def next_spike(p, x, y):
    """(s, tolerance, peak): next spike `s` after this state if nothing else happens, or inf.

    `y` is the state that it flows to; it may prove that a spike exists, and nothing else.

    `tolerance` is the error in `s` that float64 can attain. `peak` is the time of a maximum
    so close to threshold that float64 cannot decide whether it crosses, else inf. None of
    them depends on when the next arrival comes.
    """
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def next_rise(p, x):
    """As `next_spike`, for a neuron that is at or above threshold and has fired for it: when it
    next comes to threshold from below, after it has sunk below by itself, or inf."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def earliest(p, x):
    """A lower bound of the time to the next spike after this state, if nothing else happens.

    Cheap, and below what `next_spike` answers by more than the rounding of either.
    """
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def silent(p, x, y):
    """Whether no spike can lie between state `x` and the state `y` that it flows to.

    Asked where `step` has answered yes; a false no costs time, a false yes would miss a spike.
    """
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def fire(p, x, s):
    """State right after the spike that comes `s` after state `x`: flowed, then reset."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def clamp(p, c, x):
    """State after the interval of coefficients `c` of refractory time."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def receive_clamped(p, x, port, weight):
    """State after an arrival in refractory time."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def redrive(p, n, x, busy, old, new):
    """Move neuron `n` (array form) from external current `old` to `new`; its new state."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def pulse(p, n, x, busy, old, new):
    """As `redrive`, for a rectangular pulse that enters where spikes enter."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def voltage(p, x, drive):
    """Membrane voltage above the resting level, under the external current `drive`."""
    raise TypeError(f"{type(p).__name__} is not a neuron model")


@generic
def extremum(p, x, d):
    """(value, s): the greatest voltage above the level to which it relaxes, within `d` after
    state `x`, both ends included, and when it is first taken."""
    raise TypeError(f"{type(p).__name__} is not a readout")


@generic
def area(p, x, d):
    """Integral over `d` after state `x` of the voltage above the level to which it relaxes."""
    raise TypeError(f"{type(p).__name__} is not a readout")


def at(values, n):
    """`values[n]` of an array, or the number itself; of a tuple, of each of its members."""
    if isinstance(values, tuple):
        return tuple(at(member, n) for member in values)
    return values[n] if isinstance(values, np.ndarray) else values


@overload(at, jit_options=INLINE)
def _at(values, n):
    if isinstance(values, types.BaseTuple):
        if len(values) == 1:
            return lambda values, n: (at(values[0], n),)
        return lambda values, n: (at(values[0], n),) + at(values[1:], n)  # noqa: RUF005
    if isinstance(values, types.Array):
        return lambda values, n: values[n]
    return lambda values, n: values


def pick(p, n):
    """Parameters of neuron `n` as plain numbers."""
    return type(p)(*at(tuple(p), n))


@overload(pick, jit_options=INLINE)
def _pick(p, n):
    # Spelled out field by field, as one would write it: a loop over a tuple would box.
    names = ", ".join(f"at(p.{name}, n)" for name in p.fields)
    space = {"at": at, "cls": p.instance_class}
    exec(f"def spelled_out(p, n):\n    return cls({names})", space)
    return space["spelled_out"]


def prepare(p, d):
    """What all neurons have in common over an interval `d`, as a tuple: its coefficients if
    they have them in common, else `d` itself."""
    return (d,) if any(isinstance(member, np.ndarray) for member in p) else interval(p, d)


#: How many numbers verbs answer with, by verb, class of parameters and their form: to ask one
#: takes Python longer than to make the room.
_SIZES: dict[Any, int] = {}


def tables(verb, p, intervals: int) -> tuple[np.ndarray, ...]:
    """Room for what `prepare`, of here or of `evsim.models.adjoint`, says of so many intervals."""
    forms = [len(m) if isinstance(m, tuple) else isinstance(m, np.ndarray) for m in p]
    key = verb, type(p), *forms
    if key not in _SIZES:
        _SIZES[key] = len(verb(p, 0.0))
    return tuple(np.empty(intervals) for _ in range(_SIZES[key]))


def own(p, q, common):
    """Coefficients of the neuron with parameters `q`, from what `prepare` has answered."""
    arrays = any(isinstance(member, np.ndarray) for member in p)
    return interval(q, common[0]) if arrays else common


def has_arrays(p) -> bool:
    """Whether a Numba type of parameters is the array form."""
    return any(isinstance(member, types.Array) for member in p.types)


@overload(prepare, jit_options=INLINE)
def _prepare(p, d):
    if has_arrays(p):
        return lambda p, d: (d,)
    return lambda p, d: interval(p, d)


@overload(own, jit_options=INLINE)
def _own(p, q, common):
    if has_arrays(p):
        return lambda p, q, common: interval(q, common[0])
    return lambda p, q, common: common


def load(state, n):
    """State of neuron `n` from a tuple of arrays."""
    return tuple(values[n] for values in state)


def store(state, n, x):
    """Write the state of neuron `n` into a tuple of arrays."""
    for values, value in zip(state, x, strict=True):
        values[n] = value


@overload(load, jit_options=INLINE)
def _load(state, n):
    # By recursion over the length: a loop over a tuple would box.
    if len(state) == 1:
        return lambda state, n: (state[0][n],)
    return lambda state, n: (state[0][n],) + load(state[1:], n)  # noqa: RUF005


@overload(store, jit_options=INLINE)
def _store(state, n, x):
    if len(state) == 0:
        return lambda state, n, x: None

    def one(state, n, x):
        state[0][n] = x[0]

    def more(state, n, x):
        state[0][n] = x[0]
        store(state[1:], n, x[1:])

    return one if len(state) == 1 else more


def cut(table, start, stop):
    """A tuple of arrays, each from `start` to `stop`."""
    return tuple(values[start:stop] for values in table)


@overload(cut, jit_options=INLINE)
def _cut(table, start, stop):
    if len(table) == 1:
        return lambda table, start, stop: (table[0][start:stop],)
    return lambda table, start, stop: (table[0][start:stop], *cut(table[1:], start, stop))
