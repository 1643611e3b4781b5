r"""The greatest value of a sum of exponentials over an interval, for margins.

With `F` and its levels as in `evsim.models.isolate`, :math:`G_k = D F_k` is the derivative of a
level. The last one is one exponential and keeps its sign, and between two zeros of
:math:`G_{k+1}` lies at most one of :math:`G_k`: down to :math:`G_0 = F'` none is missed.
"""

from __future__ import annotations

from evsim.jit import kernel
from evsim.models.isolate import flowed, level, operate, weigh
from evsim.models.tuples import replaced


@kernel
def bent(p, x, k):
    """Sign of G_k right after the state `x`: of the first from `k` on that is not 0."""
    f = operate(p, level(p, k, False), 0.0, False)
    for j in range(k, len(p.rates)):
        value = weigh(f, x)
        if value != 0.0:
            return 1.0 if value > 0.0 else -1.0
        f = operate(p, f, p.rates[j], False)
    return 1.0


@kernel
def turn_within(p, x, k, lo, hi, sign):
    """The zero of G_k in (lo, hi), where it leaves `sign`, to half the digits."""
    f = operate(p, level(p, k, False), 0.0, False)
    while hi - lo > 1e-9 * hi:
        middle = 0.5 * (lo + hi)
        y, _, _ = flowed(p, x, middle, False)
        if weigh(f, y) * sign > 0.0:
            lo = middle
        else:
            hi = middle
    return hi


@kernel
def summit(p, x, d, height, best):
    """The greatest `F` within `d` after state `x` with F = `height`, or `best` if greater."""
    marks, found = p.rates, 0
    for k in range(len(p.rates) - 2, -1, -1):
        f = operate(p, level(p, k, False), 0.0, False)
        sign, before, count, found = bent(p, x, k), 0.0, found, 0
        for j in range(count + 1):
            at = marks[j] if j < count else d
            y, _, _ = flowed(p, x, at, False)
            if weigh(f, y) * sign < 0.0:
                marks = replaced(marks, found, turn_within(p, x, k, before, at, sign))
                found, sign = found + 1, -sign
            before = at
    best = max(best, height)
    for j in range(found + 1):
        _, rise, _ = flowed(p, x, marks[j] if j < found else d, False)
        best = max(best, height + rise)
    return best
