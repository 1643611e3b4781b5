r"""Leaky integrator: a membrane that does not fire, for readouts.

.. math::
    \tau_m \dot v = v_{leak} - v + i + bias, \qquad \tau_s \dot i = -i          \tag{1}

Without `tau_syn` an arrival makes the voltage itself jump by its weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.models import adjoint, crossing, verbs
from evsim.models.base import Neuron, exact_sum, in_form
from evsim.models.flow import exponential, rates, transferred
from evsim.models.moments import response_change
from evsim.numerics import exp_neg, exp_phi


@dataclass(frozen=True, kw_only=True)
class LI(Neuron):
    """Leaky integrator without threshold; equation (1).

    Parameters
    ----------
    tau_mem : float or array_like, shape (n,)
        Membrane time constant [s].
    tau_syn : float or array_like, shape (n,), optional
        Synaptic time constant [s]; without it arrivals make the voltage jump.
    v_leak, bias : float or array_like, shape (n,), optional
        Leak potential, and constant input in units of voltage.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    tau_mem: Any
    tau_syn: Any = None
    v_leak: Any = 0.0
    bias: Any = 0.0

    positive: ClassVar = ("tau_mem", "tau_syn")
    state: ClassVar = ("v", "i")
    spiking: ClassVar = False

    def compile(self, n: int, arrays: bool) -> LIKernel:
        """Kernel parameters, all scalar or all arrays of `n`."""
        delta = self.tau_syn is None
        flow = rates(self.tau_mem, self.tau_mem if delta else self.tau_syn)
        return in_form(LIKernel, n, arrays, **flow, t_ref=0.0, delta=int(delta))

    @property
    def synaptic(self) -> bool:
        """Whether the model has a synaptic current `i`."""
        return self.tau_syn is not None

    def rest(self) -> float | np.ndarray:
        """The level to which the voltage relaxes without input."""
        return exact_sum(self.v_leak, self.bias)


class LIKernel(NamedTuple):
    """What the kernels see of an `LI`."""

    rate_mem: Any
    rate_syn: Any
    rate_slow: Any
    rate_gap: Any
    mem_is_slow: Any
    t_ref: Any
    delta: int


LIKernel.INTERVAL = ("rate_mem", "rate_slow", "rate_gap", "mem_is_slow")  # type: ignore[attr-defined]


@verbs.interval.implement(LIKernel)
def interval(p, d):
    return exponential(p.rate_mem, p.rate_slow, p.rate_gap, p.mem_is_slow, d)


@verbs.step.implement(LIKernel)
def step(p, c, x):
    em, es, g = c
    return (x[0] * em + x[1] * g, x[1] * es), False


@verbs.receive.implement(LIKernel)
def receive(p, x, port, weight):
    return (x[0] + weight, x[1]) if p.delta else (x[0], x[1] + weight)


@verbs.next_spike.implement(LIKernel)
def next_spike(p, x, y):
    return math.inf, 0.0, math.inf


@verbs.next_rise.implement(LIKernel)
def next_rise(p, x):
    return math.inf, 0.0, math.inf


@verbs.earliest.implement(LIKernel)
def earliest(p, x):
    return math.inf


@verbs.silent.implement(LIKernel)
def silent(p, x, y):
    return True


@verbs.fire.implement(LIKernel)
def fire(p, x, s):
    return x


@verbs.clamp.implement(LIKernel)
def clamp(p, c, x):
    return verbs.step(p, c, x)[0]


@verbs.receive_clamped.implement(LIKernel)
def receive_clamped(p, x, port, weight):
    return verbs.receive(p, x, port, weight)


@verbs.redrive.implement(LIKernel)
def redrive(p, n, x, busy, old, new):
    return x[0] + (old - new), x[1]


@verbs.pulse.implement(LIKernel)
def pulse(p, n, x, busy, old, new):
    return x[0] + (old - new), (x[1] if p.delta else x[1] + (old - new))


@verbs.voltage.implement(LIKernel)
def voltage(p, x, drive):
    return x[0] + drive


@verbs.extremum.implement(LIKernel)
def extremum(p, x, d):
    u, i = x
    end = verbs.step(p, verbs.interval(p, d), x)[0][0]
    best, when = (end, d) if end > u else (u, 0.0)
    if i > 0.0 and i > u:  # it rises, and may turn: at the turn voltage and current agree
        s = crossing.extremum(p, u, i)
        if 0.0 < s < d:
            top = i * exp_neg(s * p.rate_syn)
            if top >= best:
                best, when = top, s
    return best, when


@verbs.area.implement(LIKernel)
def area(p, x, d):
    _, phi = exp_phi(d * p.rate_mem)
    return d * (x[0] * phi + x[1] * transferred(p, d))


LIKernel.FLOW = ("tau_mem", "tau_syn")  # type: ignore[attr-defined]
LIKernel.RESET = ("u_reset",)  # type: ignore[attr-defined]


@adjoint.pull.implement(LIKernel)
def pull(p, d, x, lam):
    em, es, kappa, by_mem, by_syn = response_change(p.rate_mem, p.rate_syn, p.rate_gap, d)
    fade = d * p.rate_syn * p.rate_syn * es
    tau_mem = lam[0] * (x[0] * (d * p.rate_mem * p.rate_mem * em) + x[1] * by_mem)
    tau_syn = (lam[0] * by_syn + lam[1] * fade) * x[1]
    return (lam[0] * em, lam[0] * kappa + lam[1] * es), (tau_mem, tau_syn)


@adjoint.pull_held.implement(LIKernel)
def pull_held(p, d, x, lam):
    return adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(LIKernel)
def drift(p, x):
    return (x[1] - x[0]) * p.rate_mem, -x[1] * p.rate_syn


@adjoint.held.implement(LIKernel)
def held(p, x):
    return adjoint.drift(p, x)


@adjoint.lag.implement(LIKernel)
def lag(p, y, j):
    return (j[0] - j[1]) * p.rate_mem, j[1] * p.rate_syn


@adjoint.lag_held.implement(LIKernel)
def lag_held(p, y, j):
    return adjoint.lag(p, y, j)


# A readout has no threshold and no spike.
@adjoint.height.implement(LIKernel)
def height(p, x):
    return -math.inf


@adjoint.normal.implement(LIKernel)
def normal(p, x, value):
    return 0.0, 0.0


@adjoint.pull_reset.implement(LIKernel)
def pull_reset(p, x, lam, at_once):
    return lam, (0.0,)


@adjoint.pull_spike.implement(LIKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    return lam, (0.0, 0.0), (0.0,), 0.0, 0.0, 0.0


@adjoint.peak.implement(LIKernel)
def peak(p, x, d, best):
    return best


@adjoint.crest.implement(LIKernel)
def crest(p, c, x, y):
    return -math.inf, -math.inf
