r"""Non-leaky integrate-and-fire neuron: the voltage jumps by the weight and otherwise rises.

`IF`, and the kernels of its delta synapses; for the others see `evsim.models.integrate_exp`
and `evsim.models.integrate_ramp`.

.. math::
    \dot v = bias + current                                                     \tag{1}

The voltage is kept as an unevaluated sum of two doubles, so that sums of weights, and of
slopes times intervals, are exact where they have up to 106 bits: with inputs on a dyadic grid
the decisions of this model are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.models import adjoint, verbs
from evsim.models.base import Neuron, in_form, two_sum_of_arrays
from evsim.models.crossing import DOUBT, EPS
from evsim.models.integrate_exp import IFExpKernel
from evsim.models.integrate_ramp import IFRampKernel
from evsim.models.lif import GRAZE, RESET
from evsim.models.linear import CURRENT, Component, Linear
from evsim.models.refractory import CLAMP, REFRACTORY, arrived, gone_on
from evsim.numerics import add_time, fma, two_sum


@dataclass(frozen=True, kw_only=True)
class IF(Neuron):
    """Non-leaky integrate-and-fire neuron; equation (1).

    Parameters
    ----------
    v_th, v_reset : float or array_like, shape (n,), optional
        Threshold and reset potential; the voltage starts at 0.
    t_ref : float or array_like, shape (n,), optional
        Refractory period [s].
    bias : float or array_like, shape (n,), optional
        Constant slope of the voltage [1/s].
    input : {"delta", "exp", "ramp"}, optional
        An arrival makes the voltage jump by its weight; or a synaptic current, which adds to
        the slope and decays with `tau_syn`; or the slope itself, for good.
    tau_syn : float or array_like, shape (n,), optional
        Synaptic time constant [s] of `input="exp"`.
    reset, refractory, graze
        As of `LIF`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    v_th: Any = 1.0
    v_reset: Any = 0.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    input: str = "delta"
    tau_syn: Any = None
    reset: str = "value"
    refractory: str = "clamp"
    graze: str = ">="

    positive: ClassVar = ("tau_syn",)
    non_negative: ClassVar = ("t_ref",)
    choices: ClassVar = {
        "input": ("delta", "exp", "ramp"),
        "reset": RESET,
        "refractory": REFRACTORY,
        "graze": GRAZE,
    }

    def __post_init__(self):
        super().__post_init__()
        if (self.input == "exp") != (self.tau_syn is not None):
            wanted = "needs a tau_syn" if self.input == "exp" else "has no tau_syn"
            raise ValueError(f"input={self.input!r} {wanted}; got tau_syn={self.tau_syn!r}")

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the state variables, in the order of the kernels."""
        return {"delta": ("v", "v_lo"), "exp": ("v", "i"), "ramp": ("v", "v_lo", "r", "r_lo")}[
            self.input
        ]

    @property
    def no_pulses(self) -> str:
        """Why rectangular pulses cannot be its input, or an empty string."""
        if self.input == "ramp":
            return "a pulse into the slope of input='ramp' would bend the voltage"
        return super().no_pulses

    def compile(self, n: int, arrays: bool) -> IFKernel | IFExpKernel | IFRampKernel:
        """Kernel parameters, all scalar or all arrays of `n`."""
        drop, drop_lo = two_sum_of_arrays(self.v_th, np.negative(self.v_reset))
        if not self.per_neuron:
            drop, drop_lo = float(drop), float(drop_lo)
        values: dict[str, Any] = {
            "theta": self.v_th,
            "v_reset": self.v_reset,
            "slope": self.bias,
            "slope_0": self.bias,
            "drop": drop,
            "t_ref": self.t_ref,
            "subtract": int(self.reset == "subtract"),
            "strict": int(self.graze == ">"),
            "refractory": REFRACTORY.index(self.refractory),
        }
        if self.input == "exp":
            values |= {"tau": self.tau_syn, "rate": 1.0 / self.tau_syn}
            return in_form(IFExpKernel, n, arrays, **values)
        cls = IFRampKernel if self.input == "ramp" else IFKernel
        return in_form(cls, n, arrays, drop_lo=drop_lo, **values)

    def linear(self) -> Linear:
        """Its equations, for proofs: the slope is a current that does not decay."""
        slope = Component(CURRENT, None, start=self.bias)
        parts = {
            "delta": ((slope,), (None,), ((0, 1), ())),
            "exp": ((slope, Component(CURRENT, self.tau_syn)), (1,), ((0,), (), (1,))),
            "ramp": ((slope,), (0,), ((0, 1), (2, 3))),
        }
        components, ports, state = parts[self.input]
        lag = 1 if self.input == "exp" else None
        return Linear(None, components, ports, (self.v_th,), (self.v_reset,), state, 0, lag)

    def rest(self) -> float:
        """The level from which the kernels measure the voltage."""
        return 0.0


class IFKernel(NamedTuple):
    """What the kernels see of an `IF`."""

    theta: Any
    v_reset: Any
    slope: Any  # bias and external current
    slope_0: Any  # bias
    drop: Any  # v_th - v_reset, as two doubles
    drop_lo: Any
    t_ref: Any
    subtract: int
    strict: int
    refractory: int


#: Of its voltage, for `evsim.models.refractory` to allow for.
IFKernel.roundings = 0.0  # type: ignore[attr-defined]
#: Which state variable is the rest of the voltage, beyond a double.
IFKernel.tail = 1  # type: ignore[attr-defined]


IFKernel.INTERVAL = ("slope",)  # type: ignore[attr-defined]


@verbs.interval.implement(IFKernel)
def interval(p, d):
    rise = p.slope * d
    return rise, fma(p.slope, d, -rise)


@verbs.step.implement(IFKernel)
def step(p, c, x):
    hi, lo = add_time(x[0], x[1] + c[1], c[0])
    near = p.theta - 4.0 * EPS * (abs(p.theta) + abs(hi) + abs(x[0]))
    return (hi, lo), (hi >= near) | (x[0] >= near)


@verbs.receive.implement(IFKernel)
def receive(p, x, port, weight):
    return add_time(x[0], x[1], weight)


@verbs.next_spike.implement(IFKernel)
def next_spike(p, x, y):
    s, e = two_sum(p.theta, -x[0])
    rest, lost = two_sum(e, -x[1])
    left, more = two_sum(s, rest)
    if left < 0.0 or (left == 0.0 and not p.strict):
        return 0.0, 0.0, math.inf
    if p.slope <= 0.0:
        return math.inf, 0.0, math.inf
    wait = left / p.slope
    exact = lost == 0.0 and more == 0.0 and fma(wait, p.slope, -left) == 0.0
    return wait, (0.0 if exact else DOUBT * EPS * wait), math.inf


@verbs.next_rise.implement(IFKernel)
def next_rise(p, x):
    return math.inf, 0.0, math.inf


@verbs.earliest.implement(IFKernel)
def earliest(p, x):
    left = p.theta - x[0] - 8.0 * EPS * (abs(p.theta) + abs(x[0]))
    wait = left / p.slope if p.slope > 0.0 else math.inf
    return wait if left > 0.0 else 0.0


@verbs.silent.implement(IFKernel)
def silent(p, x, y):
    return False


@verbs.fire.implement(IFKernel)
def fire(p, x, s):
    if p.subtract and s == 0.0:
        return add_time(x[0], x[1] - p.drop_lo, -p.drop)
    return p.v_reset, 0.0


@verbs.clamp.implement(IFKernel)
def clamp(p, c, x):
    return gone_on(p.refractory, x, verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(IFKernel)
def receive_clamped(p, x, port, weight):
    return arrived(p.refractory, x, x, verbs.receive(p, x, port, weight))


@verbs.redrive.implement(IFKernel)
def redrive(p, n, x, busy, old, new):
    p.slope[n] = p.slope_0[n] + new
    return x[0], x[1]


@verbs.pulse.implement(IFKernel)
def pulse(p, n, x, busy, old, new):
    return verbs.redrive(p, n, x, busy, old, new)


@verbs.voltage.implement(IFKernel)
def voltage(p, x, drive):
    return x[0] + x[1]


IFKernel.FLOW = ("bias",)  # type: ignore[attr-defined]
IFKernel.RESET = ("u_reset", "drop")  # type: ignore[attr-defined]
# Costates of the low halves of sums of two doubles are left at 0.


@adjoint.pull.implement(IFKernel)
def pull(p, d, x, lam):
    return lam, (lam[0] * d,)


@adjoint.pull_held.implement(IFKernel)
def pull_held(p, d, x, lam):
    return lam, ((0.0,) if p.refractory == CLAMP else (lam[0] * d,))


@adjoint.drift.implement(IFKernel)
def drift(p, x):
    return p.slope, 0.0


@adjoint.held.implement(IFKernel)
def held(p, x):
    return gone_on(p.refractory, (0.0, 0.0), (p.slope, 0.0))


@adjoint.lag.implement(IFKernel)
def lag(p, y, j):
    return 0.0, 0.0


@adjoint.lag_held.implement(IFKernel)
def lag_held(p, y, j):
    return 0.0, 0.0


@adjoint.height.implement(IFKernel)
def height(p, x):
    return (x[0] - p.theta) + x[1]


@adjoint.normal.implement(IFKernel)
def normal(p, x, value):
    return value, 0.0


@adjoint.pull_reset.implement(IFKernel)
def pull_reset(p, x, lam, at_once):
    through = at_once and p.subtract != 0
    return (lam, (0.0, -lam[0])) if through else ((0.0, 0.0), (lam[0], 0.0))


@adjoint.pull_spike.implement(IFKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    y = x if at_once else (p.theta, 0.0)
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(IFKernel)
def peak(p, x, d, best):
    return max(best, adjoint.height(p, x) + max(p.slope * d, 0.0))


@adjoint.crest.implement(IFKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
