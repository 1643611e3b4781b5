"""Newton's steps to a crossing in ball arithmetic."""

from __future__ import annotations

import math

from flint import arb

from evsim.proof.ball_flow import Cell, bend_of, excess, flow, slope_of
from evsim.proof.ball_numbers import to_float
from evsim.proof.events import CROSSING, LEVEL, MISSING


def candidate(q: Cell, bits: int, guess: arb):
    """(time, state, residual, shape) after Newton's steps from a guess, or None."""
    at = guess.mid()
    for _ in range(2 + bits.bit_length() * 2):
        s = at - q.t
        if not to_float(s) >= 0.0:
            return None
        state = flow(q, s)
        f = excess(q, state.x)
        value, error = to_float(f), to_float(f.rad())
        now = bend_of(q, state.x, state.dev, 0.0)
        inside = now.slope * now.slope - 2.0 * value * now.curvature
        if inside < 0.0 or now.slope + math.sqrt(inside) <= 0.0:
            return None
        if abs(value) <= error:
            return at, state, abs(value) + error, now
        if abs(value) < 1e-5 * now.slope**2 / (abs(now.curvature) + 1e-300):
            step = -f / slope_of(q, state.x)
        else:
            step = arb(-2.0 * value / (now.slope + math.sqrt(inside)))
        new = (at + step).mid()
        if to_float(new - at) == 0.0:
            return at, state, abs(value) + error, now
        at = new
    return at, state, abs(value) + error, now


def code_of(proved: bool, where: float) -> int:
    """The code for a gap that is not silent; at its very start: by a jump."""
    if not proved:
        return CROSSING
    return MISSING if where > 0.0 else LEVEL
