r"""Neuron that spikes at most once, in a window: time to first spike.

.. math::
    \tau_c \dot v = \begin{cases} a + \sum_j w_j H(t - t_j), & t_{start} \le t < t_{min} \\
        b, & t_{min} \le t < t_{max} \end{cases}                                     \tag{1}

from v = 0, with the Heaviside function H; v stands still before and after. The first time in
:math:`[t_{start}, t_{max})` at which v is at or above threshold is the spike, and the neuron's
only one; after it v is 0. A network of such layers, each with its window behind that of the
layer before, computes what a ReLU network does (Stanojevic et al. 2023, arXiv:2212.12522; 2024,
Nature Communications 15:6793), as long as no neuron fires before its :math:`t_{min}`:
`Record.premature` has the spikes that do.

The voltage is monotone in either regime. Voltage, slope and time are unevaluated sums of two
doubles: with :math:`\tau_c` a power of two and inputs on a dyadic grid decisions are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evsim.jit import inline_kernel
from evsim.models import adjoint, verbs
from evsim.models.base import Neuron, in_form
from evsim.models.crossing import DOUBT, EPS
from evsim.numerics import add_time, fma


@dataclass(frozen=True, kw_only=True)
class TTFS(Neuron):
    """Neuron of a single spike in a window; equation (1).

    Parameters
    ----------
    v_th : float or array_like, shape (n,)
        Threshold. At or below 0, the neuron fires at `t_start`.
    t_start, t_min, t_max : float or array_like, shape (n,)
        Ascending [s]: it integrates its input from `t_start` to `t_min`, and ramps from there
        to `t_max`, from when on it is silent.
    a, b : float or array_like, shape (n,), optional
        Slope without input, and slope of the ramp. An external `Current` adds to `a`. Where `b`
        is not positive, the neuron fires before `t_min` or not at all.
    tau_c : float or array_like, shape (n,), optional
        By which slopes and weights are divided [s].

    Raises
    ------
    ValueError, TypeError
        Naming the argument, index and value.
    """

    v_th: Any
    t_start: Any
    t_min: Any
    t_max: Any
    a: Any = 0.0
    b: Any = 1.0
    tau_c: Any = 1.0

    positive: ClassVar = ("tau_c",)
    non_negative: ClassVar = ("t_start",)
    state: ClassVar = ("v", "v_lo", "r", "r_lo", "t", "t_lo", "spent")
    #: It fires once, and is 0 after it.
    t_ref: ClassVar = 0.0
    v_reset: ClassVar = 0.0

    def __post_init__(self):
        super().__post_init__()
        for earlier, later in (("t_start", "t_min"), ("t_min", "t_max")):
            first, second = np.broadcast_arrays(getattr(self, earlier), getattr(self, later))
            bad = ~(first < second)
            if bad.any():
                k = tuple(np.argwhere(bad)[0])
                where = f"[{k[0]}]" if k else ""
                raise ValueError(
                    f"{later}{where} must lie behind {earlier}, {first[k]}; got {second[k]}"
                )

    def compile(self, n: int, arrays: bool) -> TTFSKernel:
        """Kernel parameters, all scalar or all arrays of `n`."""
        return in_form(
            TTFSKernel,
            n,
            arrays,
            theta=self.v_th,
            t_start=self.t_start,
            t_min=self.t_min,
            t_max=self.t_max,
            a=self.a,
            a_0=self.a,
            b=self.b,
            rate=1.0 / self.tau_c,
            t_ref=0.0,
        )

    @property
    def no_pulses(self) -> str:
        """Why rectangular pulses cannot be its input."""
        return "a pulse into the slope would bend the voltage"

    def rest(self) -> float:
        """The level from which the kernels measure the voltage."""
        return 0.0

    def premature(self, spikes):
        """Those of its spikes, an `evsim.Spikes`, that come before `t_min`."""
        t_min = np.asarray(self.t_min)
        early = spikes.times < (t_min[spikes.units] if t_min.ndim else t_min)
        return type(spikes)(
            spikes.times[early], spikes.units[early], times_lo=spikes.times_lo[early]
        )


class TTFSKernel(NamedTuple):
    """What the kernels see of a `TTFS`."""

    theta: Any
    t_start: Any
    t_min: Any
    t_max: Any
    a: Any  # slope without spikes, and external current
    a_0: Any  # slope without spikes
    b: Any
    rate: Any  # 1/tau_c
    t_ref: Any  # 0: it fires once


@inline_kernel
def marks(p, x):
    """Time from the state `x` to the start, to `t_min` and to the end of the window."""
    t, t_lo = x[4], x[5]
    return (p.t_start - t) - t_lo, (p.t_min - t) - t_lo, (p.t_max - t) - t_lo


@inline_kernel
def risen(v, v_lo, slope, slope_lo, d, rate):
    """(v, v_lo) after `d` of a slope; exact, but for its two doubles, where `rate` is."""
    rise = slope * d
    rest = fma(slope_lo, d, fma(slope, d, -rise))
    whole = rise * rate
    return add_time(v, v_lo + fma(rest, rate, fma(rise, rate, -whole)), whole)


@inline_kernel
def later(x, d):
    """Time of the state `x` plus `d`, as two doubles."""
    return add_time(x[4], x[5], d)


@verbs.interval.implement(TTFSKernel)
def interval(p, d):
    return (d,)


@inline_kernel
def later_of(a, b):
    """The greater one, without the care for NaN that would keep a loop from vectorising."""
    return a if a > b else b


@inline_kernel
def sooner_of(a, b):
    """The smaller one."""
    return a if a < b else b


@verbs.step.implement(TTFSKernel)
def step(p, c, x):
    d, live = c[0], 1.0 - x[6]
    start, middle, end = marks(p, x)
    first = live * later_of(sooner_of(d, middle) - later_of(start, 0.0), 0.0)
    second = live * later_of(sooner_of(d, end) - later_of(middle, 0.0), 0.0)
    slope, slope_lo = add_time(x[2], x[3], p.a)
    v, v_lo = risen(x[0], x[1], slope, slope_lo, first, p.rate)
    y, y_lo = risen(v, v_lo, p.b, 0.0, second, p.rate)
    t, t_lo = later(x, d)
    top = later_of(later_of(v, y), x[0])
    near = p.theta - 8.0 * EPS * (abs(p.theta) + abs(top) + abs(x[0]))
    may = (live > 0.0) & (top >= near) & (d >= start) & (end > 0.0)
    return (y, y_lo, x[2], x[3], t, t_lo, x[6]), may


@verbs.receive.implement(TTFSKernel)
def receive(p, x, port, weight):
    r, r_lo = add_time(x[2], x[3], weight)
    return x[0], x[1], r, r_lo, x[4], x[5], x[6]


@inline_kernel
def below(p, v, v_lo):
    """How far a voltage is below threshold."""
    s, e = add_time(p.theta, -v_lo, -v)
    return s + e


@verbs.next_spike.implement(TTFSKernel)
def next_spike(p, x, y):
    start, middle, end = marks(p, x)
    none = (math.inf, 0.0, math.inf)
    if x[6] != 0.0 or end <= 0.0:
        return none
    begin, left, v, v_lo = max(start, 0.0), below(p, x[0], x[1]), x[0], x[1]
    if left <= 0.0:
        return begin, 0.0, math.inf
    size = abs(p.theta) + abs(v)
    peak = begin if left <= DOUBT * EPS * size else math.inf
    if middle > begin:
        slope, slope_lo = add_time(x[2], x[3], p.a)
        steep, span = slope * p.rate, middle - begin
        v, v_lo = risen(v, v_lo, slope, slope_lo, span, p.rate)
        rest = below(p, v, v_lo)
        if rest <= 0.0 and steep > 0.0:
            wait = min(left / steep, span)
            exact = p.rate == 1.0 and slope_lo == 0.0 and fma(wait, slope, -left) == 0.0
            s = begin + wait
            return s, (0.0 if exact else DOUBT * EPS * (s + size / steep)), peak
        begin, left = middle, rest
    steep, span = p.b * p.rate, end - begin
    # At the end of its window a neuron that has not come to threshold is silent.
    over, _ = risen(0.0, -left, p.b, 0.0, span, p.rate)
    if over != 0.0 and abs(over) <= DOUBT * EPS * (size + abs(v)):
        peak = min(peak, end)
    if steep <= 0.0 or over <= 0.0:
        return math.inf, 0.0, peak
    wait = left / steep
    exact = p.rate == 1.0 and fma(wait, p.b, -left) == 0.0
    s = begin + wait
    return s, (0.0 if exact else DOUBT * EPS * (s + size / steep)), peak


@verbs.next_rise.implement(TTFSKernel)
def next_rise(p, x):
    return math.inf, 0.0, math.inf


@verbs.earliest.implement(TTFSKernel)
def earliest(p, x):
    start, _, end = marks(p, x)
    if x[6] != 0.0 or end <= 0.0:
        return math.inf
    slope, _ = add_time(x[2], x[3], p.a)
    steep = max(slope, p.b) * p.rate
    left = below(p, x[0], x[1]) - 8.0 * EPS * (abs(p.theta) + abs(x[0]))
    wait = (left / steep if steep > 0.0 else math.inf) if left > 0.0 else 0.0
    return (max(start, 0.0) + wait) * (1.0 - 8.0 * EPS)


@verbs.silent.implement(TTFSKernel)
def silent(p, x, y):
    return False


@verbs.fire.implement(TTFSKernel)
def fire(p, x, s):
    t, t_lo = later(x, s)
    return 0.0, 0.0, x[2], x[3], t, t_lo, 1.0


@verbs.clamp.implement(TTFSKernel)
def clamp(p, c, x):
    return verbs.step(p, c, x)[0]


@verbs.receive_clamped.implement(TTFSKernel)
def receive_clamped(p, x, port, weight):
    return verbs.receive(p, x, port, weight)


@verbs.redrive.implement(TTFSKernel)
def redrive(p, n, x, busy, old, new):
    p.a[n] = p.a_0[n] + new
    return x


@verbs.pulse.implement(TTFSKernel)
def pulse(p, n, x, busy, old, new):
    return x  # networks refuse pulses: `TTFS.no_pulses`


@verbs.voltage.implement(TTFSKernel)
def voltage(p, x, drive):
    return x[0] + x[1]


TTFSKernel.FLOW = ("a", "b", "tau_c", "t_start", "t_min")  # type: ignore[attr-defined]
TTFSKernel.RESET = ("u_reset",)  # type: ignore[attr-defined]
# Costates of the low halves, and of the time, which nothing moves, are left at 0.


@inline_kernel
def spans(p, d, x):
    """How long of `d` the neuron of state `x` integrates, and ramps."""
    start, middle, end = marks(p, x)
    live = 1.0 - x[6]
    first = live * later_of(sooner_of(d, middle) - later_of(start, 0.0), 0.0)
    return first, live * later_of(sooner_of(d, end) - later_of(middle, 0.0), 0.0)


@adjoint.pull.implement(TTFSKernel)
def pull(p, d, x, lam):
    start, middle, _ = marks(p, x)
    first, second = spans(p, d, x)
    slope, rise = p.a + x[2] + x[3], lam[0] * p.rate
    by_tau = -rise * p.rate * (slope * first + p.b * second)
    # Where the regime changes within `d`, its time is a parameter of the flow.
    begins = first > 0.0 and start > 0.0
    turns = x[6] == 0.0 and middle > 0.0 and middle < d
    by_start = -rise * slope if begins else 0.0
    by_turn = rise * (slope - p.b) if turns else 0.0
    costate = lam[0], 0.0, rise * first + lam[2], 0.0, 0.0, 0.0, 0.0
    return costate, (rise * first, rise * second, by_tau, by_start, by_turn)


@adjoint.pull_held.implement(TTFSKernel)
def pull_held(p, d, x, lam):
    return adjoint.pull(p, d, x, lam)


@adjoint.drift.implement(TTFSKernel)
def drift(p, x):
    start, middle, end = marks(p, x)
    slope = 0.0
    if x[6] == 0.0 and start <= 0.0 and end > 0.0:
        slope = (p.a + x[2] + x[3] if middle > 0.0 else p.b) * p.rate
    return slope, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@adjoint.held.implement(TTFSKernel)
def held(p, x):
    return adjoint.drift(p, x)


@adjoint.lag.implement(TTFSKernel)
def lag(p, y, j):
    start, middle, _ = marks(p, y)
    integrates = y[6] == 0.0 and start <= 0.0 and middle > 0.0
    return (-j[2] * p.rate if integrates else 0.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@adjoint.lag_held.implement(TTFSKernel)
def lag_held(p, y, j):
    return adjoint.lag(p, y, j)


@adjoint.height.implement(TTFSKernel)
def height(p, x):
    return (x[0] - p.theta) + x[1]


@adjoint.normal.implement(TTFSKernel)
def normal(p, x, value):
    return value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@adjoint.pull_reset.implement(TTFSKernel)
def pull_reset(p, x, lam, at_once):
    return (0.0, 0.0, lam[2], 0.0, 0.0, 0.0, 0.0), (lam[0],)


@adjoint.pull_spike.implement(TTFSKernel)
def pull_spike(p, d, x, z, lam, total, at_once):
    t, t_lo = later(x, d)
    y = x if at_once else (p.theta, 0.0, x[2], x[3], t, t_lo, 0.0)
    if not at_once and adjoint.height(p, x) >= 0.0:
        # Above threshold before its window: it fires when that opens.
        none = (0.0, 0.0, lam[2], 0.0, 0.0, 0.0, 0.0)
        return none, (0.0, 0.0, 0.0, total, 0.0), (lam[0],), 0.0, math.inf, 0.0
    return adjoint.crossed(p, d, x, y, z, lam, total, at_once)


@adjoint.peak.implement(TTFSKernel)
def peak(p, x, d, best):
    first, second = spans(p, d, x)
    low = adjoint.height(p, x)
    top = low + (p.a + x[2] + x[3]) * first * p.rate
    top = later_of(top, low)
    end = low + ((p.a + x[2] + x[3]) * first + p.b * second) * p.rate
    if first + second > 0.0:
        best = later_of(best, later_of(top, end))
    return best


@adjoint.crest.implement(TTFSKernel)
def crest(p, c, x, y):
    return -math.inf, math.inf
