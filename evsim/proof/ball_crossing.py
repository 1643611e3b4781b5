"""Newton's steps to a crossing in ball arithmetic."""

from __future__ import annotations

import math

from flint import arb

from evsim.proof.ball_flow import Cell, excess, slope_of
from evsim.proof.ball_numbers import later, to_float
from evsim.proof.events import CROSSING, LEVEL, MISSING
from evsim.proof.state import Shape


def candidate(q: Cell, bits: int, guess: arb):
    """(time, state, residual, shape) after Newton's steps from a guess, or None."""
    at, close, rise, most = guess.mid(), False, 0.0, 2 + bits.bit_length() * 2
    for turn in range(most):
        s = at - q.t
        if not to_float(s) >= 0.0:
            return None
        state = q.flow(s)
        f = excess(q, state.x)
        value, error = to_float(f), to_float(f.rad())
        if abs(value) <= error:
            break
        if not close:  # else the next steps are short, and Halley's
            now = q.bend(state.x, state.dev, 0.0)
            rise = rise_of(now, value)
            if not rise > 0.0:
                return None
            close = abs(value) < 1e-5 * now.slope**2 / (abs(now.curvature) + 1e-300)
        if close:
            slope = slope_of(q, state.x)
            step = -f / (slope - 0.5 * now.curvature * (f / slope))
        else:
            step = arb(-2.0 * value / rise)
        new = later(at, step).mid()
        if to_float(new - at) == 0.0 or turn == most - 1:
            break
        at = new
    now = q.bend(state.x, state.dev, 0.0)
    return (at, state, abs(value) + error, now) if rise_of(now, value) > 0.0 else None


def rise_of(now: Shape, value: float) -> float:
    """The sum of the slopes at a state and at the zero of the parabola through it; 0 if that has
    none."""
    inside = now.slope * now.slope - 2.0 * value * now.curvature
    return 0.0 if inside < 0.0 else now.slope + math.sqrt(inside)


def code_of(proved: bool, where: float) -> int:
    """The code for a gap that is not silent; at its very start: by a jump."""
    if not proved:
        return CROSSING
    return MISSING if where > 0.0 else LEVEL
