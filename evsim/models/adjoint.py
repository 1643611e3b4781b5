r"""What a neuron model must answer to be differentiated.

A spike at :math:`t_k`, with the state :math:`x^-` before and :math:`x^+ = R(x^-)` after it, and
costates :math:`\lambda = \partial L/\partial x` at a fixed time,

.. math::
    \delta_k &= G_k - \lambda^+ F^+(x^+) + \lambda^+ R' F(x^-),                 \tag{1} \\
    \lambda^- &= R'^T \lambda^+ - \frac{\delta_k}{\dot h}\, \nabla h,  \qquad
    \frac{\partial L}{\partial \vartheta} \mathrel{+}= \frac{\delta_k}{\dot h},  \tag{2}

with the field `F` (:math:`F^+` after the spike, which refractoriness may change), the height
:math:`h(x)` above threshold, its slope :math:`\dot h = \nabla h \cdot F(x^-)`, and :math:`G_k`
everything else that depends on :math:`t_k`. An arrival that makes the state jump by `j` at
:math:`t_a` and a release at :math:`t_r` contribute

.. math::
    \frac{\partial L}{\partial t_a} = \lambda \cdot \bigl(F(y - j) - F(y)\bigr), \qquad
    \frac{\partial L}{\partial t_r} = \lambda \cdot \bigl(F_{ref}(y) - F(y)\bigr), \tag{3}

`y` being the state after it. A spike that comes at once, without a crossing, has the time of
the event that raised the voltage: its :math:`\delta_k` goes there, and (2) loses its second
term.

All verbs take the parameters of one neuron as plain numbers. A model names the parameters that
its flow depends on in `FLOW` of its kernel class, and those of its reset in `RESET`.
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from evsim.dispatch import INLINE, generic
from evsim.models import verbs
from evsim.models.tuples import dot, replaced, zeros


def _unknown(p):
    raise TypeError(f"{type(p).__name__} cannot be differentiated")


@generic
def pull(p, d, x, lam):
    """(costate, by parameter) before a free interval `d` that starts in state `x`."""
    _unknown(p)


@generic
def pull_held(p, d, x, lam):
    """As `pull`, in refractory time."""
    _unknown(p)


@generic
def drift(p, x):
    """The field F: what the state changes by per time."""
    _unknown(p)


@generic
def held(p, x):
    """The field in refractory time."""
    _unknown(p)


@generic
def lag(p, y, j):
    """F(y - j) - F(y) of (3)."""
    _unknown(p)


@generic
def lag_held(p, y, j):
    """As `lag`, in refractory time."""
    _unknown(p)


@generic
def height(p, x):
    """Height h of the voltage above threshold."""
    _unknown(p)


@generic
def normal(p, x, value):
    """`value` times the gradient of `height`."""
    _unknown(p)


@generic
def pull_reset(p, x, lam, at_once):
    """(costate before a reset, by parameter of the reset); `at_once`: without a crossing."""
    _unknown(p)


@generic
def pull_spike(p, d, x, z, lam, total, at_once):
    """Through a spike `d` after state `x`, and back to `x`; (1) and (2).

    `z` is the state after it, `lam` the costate there and `total` its G. Returns the costate at
    `x`, derivatives by the parameters of the flow, of the reset and by the threshold, the slope,
    and, for a spike that is `at_once`, its delta.
    """
    _unknown(p)


@generic
def peak(p, x, d, best):
    """The greatest `height` within `d` after state `x`, or `best` where that is greater."""
    _unknown(p)


@generic
def crest(p, c, x, y):
    """(reached, bound) of `peak` over the interval of coefficients `c` from state `x` to `y`.

    Branch-free; -inf and inf: not known."""
    _unknown(p)


@generic
def change(p, d):
    """Coefficients of `pull` over `d`; of a model whose kernel class has `SHARED`."""
    _unknown(p)


@generic
def pull_by(p, c, x, lam):
    """`pull` over an interval of coefficients `c`; of a model with `change`."""
    _unknown(p)


@generic
def push(p, c, x, s):
    """State and tangents after an interval of coefficients `c` of `change`; see
    `evsim.tangents`. As the next two, of a model whose kernel class has `LINEAR`, the number of
    its tangents: a costate of it needs no state."""
    _unknown(p)


@generic
def turn(p, pull, s):
    """(`pull` times the tangents of the voltage, one per parameter of the flow; the tangents after
    the crossing)."""
    _unknown(p)


@generic
def along(p, lam, s):
    """A costate times the tangents, by parameter of the flow."""
    _unknown(p)


def prepare(p, d):
    """What all neurons have in common in `pull` over `d`: coefficients, or `d` itself."""
    arrays = any(isinstance(member, np.ndarray) for member in p)
    return change(p, d) if hasattr(p, "SHARED") and not arrays else (d,)


def pull_own(q, common, x, lam):
    """`pull` of one neuron, from what `prepare` has answered."""
    return pull_by(q, common, x, lam) if len(common) > 1 else pull(q, common[0], x, lam)


def change_own(q, common):
    """`change` of one neuron, from what `prepare` has answered."""
    return common if len(common) > 1 else change(q, common[0])


@overload(change_own, jit_options=INLINE)
def _change_own(q, common):
    if len(common) > 1:
        return lambda q, common: common
    return lambda q, common: change(q, common[0])


@overload(prepare, jit_options=INLINE)
def _prepare(p, d):
    if hasattr(p.instance_class, "SHARED") and not verbs.has_arrays(p):
        return lambda p, d: change(p, d)
    return lambda p, d: (d,)


@overload(pull_own, jit_options=INLINE)
def _pull_own(q, common, x, lam):
    if len(common) > 1:
        return lambda q, common, x, lam: pull_by(q, common, x, lam)
    return lambda q, common, x, lam: pull(q, common[0], x, lam)


def arrival(p, port, weight, y, lam):
    """Derivatives by the weight and by the time of an arrival, `y` being the state after it.

    A kernel class with `JUMP` says that (3) is linear in the weight, and which state variable it
    is added to: products with zeros, which nothing may leave out, are then not there.
    """
    if hasattr(p, "JUMP"):
        one = replaced(zeros(lam), p.JUMP, 1.0)
        return lam[p.JUMP], weight * dot(lam, lag(p, one, one))
    one = verbs.receive(p, scaled(y, 0.0), port, 1.0)
    return dot(lam, one), dot(lam, lag(p, y, scaled(one, weight)))


@overload(arrival, jit_options=INLINE)
def _arrival(p, port, weight, y, lam):
    place = getattr(p.instance_class, "JUMP", None)

    def linear(p, port, weight, y, lam):
        one = replaced(zeros(lam), place, 1.0)
        return lam[place], weight * dot(lam, lag(p, one, one))

    def general(p, port, weight, y, lam):
        one = verbs.receive(p, scaled(y, 0.0), port, 1.0)
        return dot(lam, one), dot(lam, lag(p, y, scaled(one, weight)))

    return general if place is None else linear


def crossed(p, d, x, y, z, lam, total, at_once):
    """`pull_spike` of a model whose state `y` at the crossing is finite."""
    after = held(p, z) if p.t_ref > 0.0 else drift(p, z)
    before, by_reset = pull_reset(p, y, lam, at_once)
    speed = drift(p, y)
    delta = total - (dot(lam, after) - dot(before, speed))
    if at_once:
        none = scaled(pull(p, 0.0, x, before)[1], 0.0)
        return before, none, by_reset, 0.0, 0.0, delta
    slope = dot(normal(p, y, 1.0), speed)
    by_theta = delta / slope
    start, by_flow = pull(p, d, x, plus(before, normal(p, y, -by_theta)))
    return start, by_flow, by_reset, by_theta, slope, 0.0


@overload(crossed, jit_options=INLINE)
def _crossed(p, d, x, y, z, lam, total, at_once):
    return crossed


def level(p, theta, reset, flow):
    """By a level of external current that lasts to the end of the run, what does not go through
    the state: from the derivatives so far, by threshold, reset and flow.

    Levels are what a voltage, threshold and reset are counted from, or a bias of the flow.
    """
    if "bias" in p.FLOW:
        return flow[p.FLOW.index("bias")]
    return -(theta + reset[p.RESET.index("u_reset")])


@overload(level, jit_options=INLINE)
def _level(p, theta, reset, flow):
    cls = p.instance_class
    if "bias" in cls.FLOW:
        place = cls.FLOW.index("bias")
        return lambda p, theta, reset, flow: flow[place]
    if "u_reset" not in cls.RESET:
        return lambda p, theta, reset, flow: 0.0
    place = cls.RESET.index("u_reset")
    return lambda p, theta, reset, flow: -(theta + reset[place])


def plus(a, b):
    """The sums."""
    return (a[0] + b[0], *plus(a[1:], b[1:])) if len(a) > 1 else (a[0] + b[0],)


@overload(plus, jit_options=INLINE)
def _plus(a, b):
    if len(a) == 1:
        return lambda a, b: (a[0] + b[0],)
    return lambda a, b: (a[0] + b[0],) + plus(a[1:], b[1:])  # noqa: RUF005


def scaled(a, factor):
    """Every member times `factor`."""
    return (a[0] * factor, *scaled(a[1:], factor)) if len(a) > 1 else (a[0] * factor,)


@overload(scaled, jit_options=INLINE)
def _scaled(a, factor):
    if len(a) == 1:
        return lambda a, factor: (a[0] * factor,)
    return lambda a, factor: (a[0] * factor,) + scaled(a[1:], factor)  # noqa: RUF005


def add_to(table, n, values):
    """Add to the entries `n` of a tuple of arrays."""
    for member, value in zip(table, values, strict=True):
        member[n] += value


@overload(add_to, jit_options=INLINE)
def _add_to(table, n, values):
    def one(table, n, values):
        table[0][n] += values[0]

    def more(table, n, values):
        table[0][n] += values[0]
        add_to(table[1:], n, values[1:])

    return one if len(table) == 1 else more
