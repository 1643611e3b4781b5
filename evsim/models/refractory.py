r"""What a neuron does for `t_ref` after a spike.

=============  ==========================  ====================
variant        voltage                     arrivals
=============  ==========================  ====================
`clamp`        stays where the reset put   reach `i`, but not
               it; `i` goes on             the voltage
`hold_fire`    goes on                     act
`block_input`  goes on                     are lost
=============  ==========================  ====================

In none of them can it fire. At the release it fires at once if its voltage is at or above
threshold. A voltage that float64 cannot tell from the threshold there is noted as a doubt.
"""

from __future__ import annotations

from numba import types
from numba.extending import overload

from evsim.dispatch import INLINE
from evsim.jit import inline_kernel, kernel
from evsim.models import verbs
from evsim.models.crossing import DOUBT, EPS
from evsim.numerics import two_sum

#: The variants; their indices are what kernels see.
REFRACTORY = ("clamp", "hold_fire", "block_input")
CLAMP, HOLD_FIRE, BLOCK_INPUT = range(3)


@inline_kernel
def gone_on(policy, clamped, free):
    """State after an interval of refractory time, from those clamped and free."""
    return clamped if policy == CLAMP else free


@inline_kernel
def arrived(policy, before, clamped, free):
    """State after an arrival in refractory time, from those without it, clamped and free."""
    if policy == CLAMP:
        return clamped
    return free if policy == HOLD_FIRE else before


@kernel
def near_threshold(p, x, raised, error, roundings):
    """Whether the voltage of `x` lies within so many roundings of the threshold.

    `raised`: by how much the threshold lies above `p.theta`; `error`: of the time that `x`
    belongs to.
    """
    scale = abs(p.theta)
    for value in x:
        scale += abs(value)
    y, _ = verbs.step(p, verbs.interval(p, error), x)
    # Strictly: a voltage without roundings that equals the threshold is known to.
    return abs(x[0] - p.theta - raised) < roundings * EPS * scale + abs(y[0] - x[0])


def doubtful_release(p, x, error) -> bool:
    """Whether a neuron released in the state `x` may be on either side of its threshold.

    A clamped voltage is what the reset put there: it is known.
    """
    if getattr(p, "refractory", CLAMP) == CLAMP:
        return False
    raised = x[p.raises] if hasattr(p, "raises") else 0.0
    return near_threshold(p, x, raised, error, getattr(p, "roundings", DOUBT))


@overload(doubtful_release, jit_options=INLINE)
def _doubtful_release(p, x, error):
    if not isinstance(p, types.BaseNamedTuple) or "refractory" not in p.fields:
        return lambda p, x, error: False
    roundings = float(getattr(p.instance_class, "roundings", DOUBT))
    raises = getattr(p.instance_class, "raises", None)

    def answer(p, x, error):
        return p.refractory != CLAMP and near_threshold(p, x, 0.0, error, roundings)

    def moving(p, x, error):
        return p.refractory != CLAMP and near_threshold(p, x, x[raises], error, roundings)

    return answer if raises is None else moving


def height(p, x):
    """How high the voltage of `x` is over what moves with its threshold, as two doubles.

    Spikes at one instant must bring it down, or they would never end. `raises` and `tail` of
    a class of parameters tell which state variable is the threshold's moving part, and which
    the second double of the voltage.
    """
    if hasattr(p, "raises"):
        return two_sum(x[0], -x[p.raises])
    return x[0], x[p.tail] if hasattr(p, "tail") else 0.0


@overload(height, jit_options=INLINE)
def _height(p, x):
    raises = getattr(p.instance_class, "raises", None)
    tail = getattr(p.instance_class, "tail", None)
    if raises is not None:
        return lambda p, x: two_sum(x[0], -x[raises])
    if tail is not None:
        return lambda p, x: (x[0], x[tail])
    return lambda p, x: (x[0], 0.0)
