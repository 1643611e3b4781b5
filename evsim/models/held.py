"""Where a neuron that stays at or above threshold comes to it again from below.

For `verbs.next_rise`. A voltage that relaxes to a level above threshold may sink below it on
the way, and rise through it: behind the only minimum of a membrane behind one synapse, or in
one of the monotone pieces of a sum of exponentials (`evsim.models.isolate`). A voltage that has
sunk below a positive threshold by itself never comes back (`evsim.models.crossing`).
"""

from __future__ import annotations

import math

from evsim.jit import kernel
from evsim.models.crossing import DOUBT, EPS, extremum, refine, residual
from evsim.models.isolate import flowed, latest, magnitude, polish, signs, zeros_of_level


@kernel
def rise_of_leaky(p, u, i):
    """(s, tolerance, peak) of a leaky membrane behind one exponential synapse."""
    theta = p.theta
    s = extremum(p, u, i) if theta < 0.0 and i < 0.0 and i < u else 0.0
    if s == 0.0:
        return math.inf, 0.0, math.inf
    target = theta - u
    low, _, _ = residual(p, u, i, target, s)
    reach = abs(theta) + abs(target)
    peak = s if abs(low) <= DOUBT * EPS * reach else math.inf
    if low >= 0.0:
        return math.inf, 0.0, peak
    s, slope = refine(p, u, i, target, s)
    return s, (DOUBT * EPS * (reach / slope + s) if slope > 0.0 else s), peak


@kernel
def end_of_turns(p, x, scaled):
    """A time after which no exponential of a sum outweighs the slower ones any more."""
    s, whole = 1.0 / p.rate_mem, (2 << (len(p.rates) - scaled)) - 1
    size = magnitude(p, x)
    for _ in range(64):
        y, _, _ = flowed(p, x, s, scaled)
        plus, minus = signs(p, y, size, scaled)
        if plus == whole or minus == whole:
            break
        s *= 2.0
    return s


@kernel
def rise_of_sum(p, x, u):
    """(s, tolerance, peak) of a sum of exponentials, from `F` = u - theta at or above 0."""
    scaled, target = p.theta == 0.0, p.theta - u
    end = latest(p, x) if p.theta > 0.0 else end_of_turns(p, x, scaled)
    if end <= 0.0:
        return math.inf, 0.0, math.inf
    marks, found = p.rates, 0
    for k in range(len(p.rates) - scaled - 1, 0, -1):
        marks, found = zeros_of_level(p, x, k, marks, found, end, scaled)
    before, below, peak = 0.0, False, math.inf
    for j in range(found + 1):
        at = marks[j] if j < found else end
        _, rise, size = flowed(p, x, at, scaled)
        value = rise - target
        if abs(value) <= DOUBT * EPS * (abs(p.theta) + abs(target) + size) and peak == math.inf:
            peak = at
        if below and (value > 0.0 or (value == 0.0 and not p.strict)):
            s, tolerance = polish(p, x, target, before, at, scaled)
            return s, tolerance, peak
        below |= value < 0.0
        before = at
    return math.inf, 0.0, peak
