r"""Current-based leaky integrate-and-fire neuron with an exponential synapse.

.. math::
    \tau_m \dot v = v_{leak} - v + i + bias, \qquad \tau_s \dot i = -i,        \tag{1}

a presynaptic spike makes `i` jump by its weight, in units of voltage. The kernels measure the
voltage from :math:`v_{leak} + bias` (and from the external current, where there is one), so
that threshold and reset become

.. math::
    \vartheta = v_{th} - v_{leak} - bias, \qquad u_r = v_{reset} - v_{leak} - bias,   \tag{2}

each the correctly rounded sum: a bias that equals the threshold exactly gives zero. Flow:
`evsim.models.flow`; crossing: `evsim.models.crossing`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.jit import inline_kernel
from evsim.models import adjoint, verbs
from evsim.models.base import Neuron, exact_sum, in_form
from evsim.models.crossing import extremum, first_crossing
from evsim.models.flow import SLACK, exponential, rates, risen
from evsim.models.held import rise_of_leaky
from evsim.models.linear import CURRENT, Component, Linear, leaky
from evsim.models.moments import response_change
from evsim.models.refractory import CLAMP, REFRACTORY, arrived, gone_on
from evsim.numerics import exp_neg, fma, two_sum

RESET = ("value", "subtract")
GRAZE = (">=", ">")


@dataclass(frozen=True, kw_only=True)
class LIF(Neuron):
    """Leaky integrate-and-fire neuron with an exponential synapse; equation (1).

    Parameters
    ----------
    tau_mem, tau_syn : float or array_like, shape (n,)
        Membrane and synaptic time constants [s]; any ratio, equality included. A dict
        `tau_syn` names several synapse types, each with a current of its own and its own time
        constant: `evsim.models.mixed`.
    v_th, v_leak, v_reset : float or array_like, shape (n,), optional
        Threshold, leak and reset potential; any common unit.
    t_ref : float or array_like, shape (n,), optional
        Refractory period [s], a real number; 0 is allowed.
    bias : float or array_like, shape (n,), optional
        Constant input in units of voltage.
    reset : {"value", "subtract"}, optional
        Reset to `v_reset`, or by `v -= v_th - v_reset`. They differ only where the
        voltage lies above threshold when the neuron fires.
    refractory : {"clamp", "hold_fire", "block_input"}, optional
        For `t_ref` after a spike the voltage stays where the reset put it while `i` goes on;
        or both go on, but the neuron cannot fire; or arrivals are lost besides. See
        `evsim.models.refractory`.
    graze : {">=", ">"}, optional
        Whether touching the threshold from below is a spike.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    tau_mem: Any
    tau_syn: Any
    v_th: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    reset: str = "value"
    refractory: str = "clamp"
    graze: str = ">="

    positive: ClassVar = ("tau_mem", "tau_syn")
    non_negative: ClassVar = ("t_ref",)
    choices: ClassVar = {"reset": RESET, "refractory": REFRACTORY, "graze": GRAZE}
    by_type: ClassVar = ("tau_syn",)

    @property
    def ports(self) -> dict[str, int]:
        """Synapse types by name and port, where the model has them by name."""
        types = self.tau_syn if isinstance(self.tau_syn, dict) else {}
        return {name: port for port, name in enumerate(types)}

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the state variables, in the order of the kernels."""
        return ("v", *(f"i_{name}" for name in self.ports)) if self.ports else ("v", "i")

    @property
    def no_pulses(self) -> str:
        """Why rectangular pulses cannot be its input, or an empty string."""
        return "it has several synapse types" if self.ports else super().no_pulses

    def compile(self, n: int, arrays: bool) -> Any:
        """Kernel parameters, all scalar or all arrays of `n`."""
        if self.ports:
            from evsim.models.mixed import mixed_kernel

            return mixed_kernel(self.tau_mem, [*self.tau_syn.values()], levels(self), n, arrays)
        return in_form(LIFKernel, n, arrays, **rates(self.tau_mem, self.tau_syn), **levels(self))

    def linear(self) -> Linear:
        """Its equations, for proofs."""
        taus = [*self.tau_syn.values()] if self.ports else [self.tau_syn]
        return leaky(self, [Component(CURRENT, tau) for tau in taus], range(len(taus)), 0)

    def rest(self) -> float | np.ndarray:
        """The level to which the voltage relaxes without input."""
        return exact_sum(self.v_leak, self.bias)


def levels(model) -> dict[str, Any]:
    """Threshold, reset and refractoriness of a leaky model, relative to rest; (2)."""
    theta = exact_sum(model.v_th, -model.v_leak, -model.bias)
    u_reset = exact_sum(model.v_reset, -model.v_leak, -model.bias)
    return {
        "theta": theta,
        "u_reset": u_reset,
        "theta_0": theta,
        "theta_lo": exact_sum(model.v_th, -model.v_leak, -model.bias, -theta),
        "u_reset_0": u_reset,
        "drop": np.subtract(model.v_th, model.v_reset)
        if np.ndim(model.v_th) or np.ndim(model.v_reset)
        else model.v_th - model.v_reset,
        "t_ref": model.t_ref,
        "subtract": int(model.reset == "subtract"),
        "strict": int(model.graze == ">"),
        "refractory": REFRACTORY.index(model.refractory),
    }


class LIFKernel(NamedTuple):
    """What the kernels see of a `LIF`; the last three are policies."""

    rate_mem: Any
    rate_syn: Any
    rate_slow: Any
    rate_gap: Any
    mem_is_slow: Any
    theta: Any  # relative to rest and external current; (2)
    u_reset: Any
    theta_0: Any  # relative to rest
    theta_lo: Any  # what the rounding of theta_0 has left out
    u_reset_0: Any
    drop: Any  # v_th - v_reset
    t_ref: Any
    subtract: int
    strict: int
    refractory: int


LIFKernel.INTERVAL = ("rate_mem", "rate_slow", "rate_gap", "mem_is_slow")  # type: ignore[attr-defined]


@verbs.interval.implement(LIFKernel)
def interval(p, d):
    return exponential(p.rate_mem, p.rate_slow, p.rate_gap, p.mem_is_slow, d)


@verbs.step.implement(LIFKernel)
def step(p, c, x):
    y, may = verbs.step_on(p, c, x)
    return y, may | (x[0] >= p.theta)


@verbs.step_on.implement(LIFKernel)
def step_on(p, c, x):
    # u(s) <= u0 e^(-s/tau_mem) + max(i0, 0) (1 - e^(-s/tau_mem)), monotone in s. With theta > 0
    # a crossing needs i0 > 0, so the maximum may be left out. Where the sum comes near theta,
    # its roundings are covered by SLACK of its two summands: of i0 (...), which is larger than
    # what a negative u0 takes away, and of theta. Where the bound is below theta so is the voltage
    # at the end, as rounding is monotone, and arrivals do not move it: nobody need look again.
    u, i = x
    em, es, g = c
    left = u * em
    push = i if (i > 0.0) | (p.theta > 0.0) else 0.0
    may = left + push * risen(em) >= p.theta - SLACK * abs(p.theta)
    return (left + i * g, i * es), may


@verbs.receive.implement(LIFKernel)
def receive(p, x, port, weight):
    return x[0], x[1] + weight


@verbs.next_spike.implement(LIFKernel)
def next_spike(p, x, y):
    sure = y[0] >= p.theta + SLACK * (abs(x[0]) + abs(x[1]) + abs(p.theta))
    return first_crossing(p, x[0], x[1], sure)


@verbs.next_rise.implement(LIFKernel)
def next_rise(p, x):
    return rise_of_leaky(p, x[0], x[1])


@verbs.earliest.implement(LIFKernel)
def earliest(p, x):
    # After the last time at u0 before a crossing, u >= u0 and i <= max(i0, 0).
    u, i = x
    push = (i if i > 0.0 else 0.0) - u
    left = p.theta - u - SLACK * (abs(u) + abs(i) + abs(p.theta))
    wait = left / (push * p.rate_mem) if push > 0.0 else math.inf
    return wait if left > 0.0 else 0.0


@verbs.silent.implement(LIFKernel)
def silent(p, x, y):
    # While i >= theta the voltage cannot fall back from above threshold, and with theta < 0 its
    # only extremum is a minimum: in both cases the end tells about the whole interval.
    theta, u = p.theta, y[0]
    slack = SLACK * (abs(x[0]) + abs(x[1]) + abs(theta))
    whole = (theta < 0.0) | (y[1] >= theta + slack)
    return whole & (u < theta - slack) & (x[0] < theta - slack)


@verbs.fire.implement(LIFKernel)
def fire(p, x, s):
    u, i = x
    if s == 0.0:
        return (u - p.drop if p.subtract else p.u_reset), i
    _, es, _ = exponential(p.rate_mem, p.rate_slow, p.rate_gap, p.mem_is_slow, s)
    return p.u_reset, i * es


@verbs.clamp.implement(LIFKernel)
def clamp(p, c, x):
    return gone_on(p.refractory, (x[0], x[1] * c[1]), verbs.step(p, c, x)[0])


@verbs.receive_clamped.implement(LIFKernel)
def receive_clamped(p, x, port, weight):
    free = verbs.receive(p, x, port, weight)
    return arrived(p.refractory, x, free, free)


@inline_kernel
def relevel(p, n, new):
    """Threshold and reset of neuron `n` (array form) under the external current `new`.

    The sign of the threshold is that of the exact sum of its four terms.
    """
    theta, lost = two_sum(p.theta_0[n], -new)
    p.theta[n] = theta + (lost + p.theta_lo[n])
    p.u_reset[n] = p.u_reset_0[n] - new


@verbs.redrive.implement(LIFKernel)
def redrive(p, n, x, busy, old, new):
    relevel(p, n, new)
    return x[0] + (old - new), x[1]


@verbs.pulse.implement(LIFKernel)
def pulse(p, n, x, busy, old, new):
    # A synaptic current that relaxes to the pulse: a shifted current, and a constant one.
    relevel(p, n, new)
    return x[0] + (old - new), x[1] + (old - new)


@verbs.voltage.implement(LIFKernel)
def voltage(p, x, drive):
    return x[0] + drive


#: Parameters that the flow and the reset depend on, for `evsim.models.adjoint`.
LIFKernel.FLOW = ("tau_mem", "tau_syn")  # type: ignore[attr-defined]
LIFKernel.RESET = ("u_reset", "drop")  # type: ignore[attr-defined]


LIFKernel.SHARED = True  # type: ignore[attr-defined]
LIFKernel.JUMP = 1  # type: ignore[attr-defined]
LIFKernel.LINEAR = 3  # type: ignore[attr-defined]


@adjoint.change.implement(LIFKernel)
def change(p, d):
    em, es, kappa, by_mem, by_syn = response_change(p.rate_mem, p.rate_syn, p.rate_gap, d)
    fall, fade = d * p.rate_mem * p.rate_mem * em, d * p.rate_syn * p.rate_syn * es
    return em, es, kappa, by_mem, by_syn, fall, fade


@adjoint.pull.implement(LIFKernel)
def pull(p, d, x, lam):
    return adjoint.pull_by(p, adjoint.change(p, d), x, lam)


@adjoint.pull_by.implement(LIFKernel)
def pull_by(p, c, x, lam):
    em, es, kappa, by_mem, by_syn, fall, fade = c
    tau_mem = lam[0] * fma(x[0], fall, x[1] * by_mem)
    tau_syn = fma(lam[0], by_syn, lam[1] * fade) * x[1]
    return (lam[0] * em, fma(lam[0], kappa, lam[1] * es)), (tau_mem, tau_syn)


@adjoint.push.implement(LIFKernel)
def push(p, c, x, s):
    # Of the voltage by both time constants, and of the current by its own.
    em, es, kappa, by_mem, by_syn, fall, fade = c
    mem = fma(s[0], em, fma(x[0], fall, x[1] * by_mem))
    syn = fma(s[1], em, fma(s[2], kappa, x[1] * by_syn))
    return (fma(x[0], em, x[1] * kappa), x[1] * es), (mem, syn, fma(s[2], es, x[1] * fade))


@adjoint.turn.implement(LIFKernel)
def turn(p, pull, s):
    return (pull * s[0], pull * s[1]), (0.0, 0.0, s[2])


@adjoint.along.implement(LIFKernel)
def along(p, lam, s):
    return lam[0] * s[0], fma(lam[0], s[1], lam[1] * s[2])


@adjoint.pull_held.implement(LIFKernel)
def pull_held(p, d, x, lam):
    es = exp_neg(d * p.rate_syn)
    fade = lam[1] * (d * p.rate_syn * p.rate_syn * es) * x[1]
    clamped = (lam[0], lam[1] * es), (0.0, fade)
    return clamped if p.refractory == CLAMP else adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(LIFKernel)
def drift(p, x):
    return (x[1] - x[0]) * p.rate_mem, -x[1] * p.rate_syn


@adjoint.held.implement(LIFKernel)
def held(p, x):
    return gone_on(p.refractory, (0.0, -x[1] * p.rate_syn), adjoint.drift(p, x))


@adjoint.lag.implement(LIFKernel)
def lag(p, y, j):
    return (j[0] - j[1]) * p.rate_mem, j[1] * p.rate_syn


@adjoint.lag_held.implement(LIFKernel)
def lag_held(p, y, j):
    return gone_on(p.refractory, (0.0, j[1] * p.rate_syn), adjoint.lag(p, y, j))


@adjoint.height.implement(LIFKernel)
def height(p, x):
    return x[0] - p.theta


@adjoint.normal.implement(LIFKernel)
def normal(p, x, value):
    return value, 0.0


@adjoint.pull_reset.implement(LIFKernel)
def pull_reset(p, x, lam, at_once):
    through = at_once and p.subtract != 0
    value = (0.0, lam[1]), (lam[0], 0.0)
    return ((lam[0], lam[1]), (0.0, -lam[0])) if through else value


@adjoint.pull_spike.implement(LIFKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    i = x[1] if at_once else x[1] * exp_neg(d * p.rate_syn)
    y = (x[0] if at_once else p.theta, i)
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(LIFKernel)
def peak(p, x, d, best):
    u, i = x
    if max(u, i, 0.0) - p.theta <= best:
        return best
    if i <= 0.0 or i <= u:  # it falls, or turns at a minimum: the ends tell
        end = verbs.step(p, verbs.interval(p, d), x)[0][0]
        return max(best, max(u, end) - p.theta)
    s = extremum(p, u, i)
    if 0.0 < s < d:
        return max(best, i * exp_neg(s * p.rate_syn) - p.theta)
    return max(best, verbs.step(p, verbs.interval(p, d), x)[0][0] - p.theta)


@adjoint.crest.implement(LIFKernel)
def crest(p, c, x, y):
    # Between the ends it is higher only where it rises at the first and falls at the last.
    ends = (y[0] if y[0] > x[0] else x[0]) - p.theta
    push = x[1] if x[1] > 0.0 else 0.0
    bound = x[0] * c[0] + push * risen(c[0]) - p.theta
    turns = (x[1] > x[0]) & (y[1] <= y[0])
    return ends, (bound if turns & (bound > ends) else ends)
