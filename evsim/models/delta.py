r"""Leaky integrate-and-fire neuron with delta synapses: the voltage jumps by the weight.

.. math::
    \tau_m \dot v = v_{leak} - v + bias                                         \tag{1}

Relative to its resting level, :math:`u(d) = u_0 e^{-d/\tau_m}`. With the threshold above rest
it fires at arrivals only; with :math:`\vartheta < 0` also at
:math:`s = \tau_m \ln(u_0/\vartheta)`, from :math:`u_0 < \vartheta`. Arrivals at one instant
are summed before the test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.models import adjoint, verbs
from evsim.models.base import Neuron, exact_sum, in_form
from evsim.models.crossing import DOUBT, EPS
from evsim.models.flow import SLACK
from evsim.models.lif import GRAZE, RESET, levels, relevel
from evsim.models.linear import Linear, leaky
from evsim.models.refractory import CLAMP, REFRACTORY, arrived, gone_on
from evsim.numerics import exp_neg, log1p


@dataclass(frozen=True, kw_only=True)
class DeltaLIF(Neuron):
    """Leaky integrate-and-fire neuron with delta synapses; equation (1).

    Parameters as of `LIF`, without `tau_syn`. An arrival while the voltage is clamped is
    lost.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    tau_mem: Any
    v_th: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    reset: str = "value"
    refractory: str = "clamp"
    graze: str = ">="

    positive: ClassVar = ("tau_mem",)
    non_negative: ClassVar = ("t_ref",)
    choices: ClassVar = {"reset": RESET, "refractory": REFRACTORY, "graze": GRAZE}

    def compile(self, n: int, arrays: bool) -> DeltaKernel:
        """Kernel parameters, all scalar or all arrays of `n`."""
        return in_form(DeltaKernel, n, arrays, rate_mem=1.0 / self.tau_mem, **levels(self))

    def linear(self) -> Linear:
        """Its equations, for proofs."""
        return leaky(self, (), (None,))

    def rest(self) -> float | np.ndarray:
        """The level to which the voltage relaxes without input."""
        return exact_sum(self.v_leak, self.bias)


class DeltaKernel(NamedTuple):
    """What the kernels see of a `DeltaLIF`."""

    rate_mem: Any
    theta: Any
    u_reset: Any
    theta_0: Any
    theta_lo: Any
    u_reset_0: Any
    drop: Any
    t_ref: Any
    subtract: int
    strict: int
    refractory: int


DeltaKernel.INTERVAL = ("rate_mem",)  # type: ignore[attr-defined]


@verbs.interval.implement(DeltaKernel)
def interval(p, d):
    return (exp_neg(d * p.rate_mem),)


@verbs.step.implement(DeltaKernel)
def step(p, c, x):
    u = x[0]
    left = u * c[0]
    near = p.theta - SLACK * (abs(p.theta) + abs(u))
    return (left,), (left >= near) | (u >= near)


@verbs.receive.implement(DeltaKernel)
def receive(p, x, port, weight):
    return (x[0] + weight,)


@verbs.next_spike.implement(DeltaKernel)
def next_spike(p, x, y):
    u, theta = x[0], p.theta
    # The voltage jumped here: what it is worth is known to a rounding of its terms.
    peak = 0.0 if abs(u - theta) <= DOUBT * EPS * abs(theta) else math.inf
    if u > theta or (u == theta and not p.strict):
        return 0.0, 0.0, peak
    if theta >= 0.0:
        return math.inf, 0.0, peak
    s = log1p((u - theta) / theta) / p.rate_mem
    return s, DOUBT * EPS * (s + 1.0 / p.rate_mem), peak


@verbs.next_rise.implement(DeltaKernel)
def next_rise(p, x):
    return math.inf, 0.0, math.inf


@verbs.earliest.implement(DeltaKernel)
def earliest(p, x):
    u, theta = x[0], p.theta
    return math.inf if theta >= 0.0 and u < theta else 0.0


@verbs.silent.implement(DeltaKernel)
def silent(p, x, y):
    return False


@verbs.fire.implement(DeltaKernel)
def fire(p, x, s):
    return ((x[0] - p.drop) if p.subtract and s == 0.0 else p.u_reset,)


@verbs.clamp.implement(DeltaKernel)
def clamp(p, c, x):
    return gone_on(p.refractory, x, verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(DeltaKernel)
def receive_clamped(p, x, port, weight):
    return arrived(p.refractory, x, x, verbs.receive(p, x, port, weight))


@verbs.redrive.implement(DeltaKernel)
def redrive(p, n, x, busy, old, new):
    relevel(p, n, new)
    return (x[0] + (old - new),)


@verbs.pulse.implement(DeltaKernel)
def pulse(p, n, x, busy, old, new):
    return verbs.redrive(p, n, x, busy, old, new)


@verbs.voltage.implement(DeltaKernel)
def voltage(p, x, drive):
    return x[0] + drive


DeltaKernel.FLOW = ("tau_mem",)  # type: ignore[attr-defined]
DeltaKernel.RESET = ("u_reset", "drop")  # type: ignore[attr-defined]


@adjoint.pull.implement(DeltaKernel)
def pull(p, d, x, lam):
    em = exp_neg(d * p.rate_mem)
    return (lam[0] * em,), (lam[0] * x[0] * (d * p.rate_mem * p.rate_mem * em),)


@adjoint.pull_held.implement(DeltaKernel)
def pull_held(p, d, x, lam):
    return (lam, (0.0,)) if p.refractory == CLAMP else adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(DeltaKernel)
def drift(p, x):
    return (-x[0] * p.rate_mem,)


@adjoint.held.implement(DeltaKernel)
def held(p, x):
    return gone_on(p.refractory, (0.0,), adjoint.drift(p, x))


@adjoint.lag.implement(DeltaKernel)
def lag(p, y, j):
    return (j[0] * p.rate_mem,)


@adjoint.lag_held.implement(DeltaKernel)
def lag_held(p, y, j):
    return gone_on(p.refractory, (0.0,), adjoint.lag(p, y, j))


@adjoint.height.implement(DeltaKernel)
def height(p, x):
    return x[0] - p.theta


@adjoint.normal.implement(DeltaKernel)
def normal(p, x, value):
    return (value,)


@adjoint.pull_reset.implement(DeltaKernel)
def pull_reset(p, x, lam, at_once):
    through = at_once and p.subtract != 0
    return (lam, (0.0, -lam[0])) if through else ((0.0,), (lam[0], 0.0))


@adjoint.pull_spike.implement(DeltaKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    y = (x[0] if at_once else p.theta,)
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(DeltaKernel)
def peak(p, x, d, best):
    end = x[0] * exp_neg(d * p.rate_mem)
    return max(best, max(x[0], end) - p.theta)


@adjoint.crest.implement(DeltaKernel)
def crest(p, c, x, y):
    ends = (y[0] if y[0] > x[0] else x[0]) - p.theta
    return ends, ends
