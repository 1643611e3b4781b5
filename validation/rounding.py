r"""How far two correct evaluations of one discrete update may lie apart.

Let two programs evaluate the same update with the same decisions, in any order of operations,
fused or not, with reciprocals in place of divisions. With :math:`u` the unit roundoff, every
term of equation (1) of `validation.model` passes through at most `K` roundings, those of its
constants included. So one evaluation errs by at most :math:`\gamma S`, with
:math:`\gamma = Ku/(1-Ku)` and :math:`S` the sum of the magnitudes of the terms before
cancellation, and two of them differ by

.. math::
    e_i \leftarrow |a_s| e_i + 2\gamma(|a_s i| + |j x|), \qquad
    e \leftarrow |a| e + |g| e_i + 2\gamma S .                             \tag{1}

`K` counts, for the longest chain (norse.LIFCell with all NIR fields): storing dt and
:math:`1/\tau` 2, their product 1, the leak 2, adding the current 1, the factors r and w_in 2, the
product with the rate 1, adding to v 1: 10. A decay factor from an exponential instead has the
rounding of its argument, which the exponent multiplies, and 2 units in the last place of the
exponential. A soft reset adds the product and the difference, a hard one replaces the error by
the rounding of the reset potential, a lower bound adds a difference and a sum. Storing the
threshold adds :math:`u |v_{th}|`, and the division that counts several spikes :math:`2u|v|`, to
the reported bound only, because both move the decision and not the membrane.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from validation.model import Array, Constants, Semantics

#: Unit roundoff of an arithmetic: half the distance from 1 to the next larger number.
ARITHMETIC: dict[str, float] = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "tf32": 2.0**-11,
    "bfloat16": 2.0**-8,
}

#: Roundings on the longest path of a term; counted in the module's docstring.
_ROUNDINGS = 10


class Fixed(NamedTuple):
    """Numbers of a run that are no coefficients of the update."""

    threshold: Array
    v_reset: Array
    amount: Array  #: subtracted by a soft reset
    lower: Array | None


class Facts(NamedTuple):
    """What one step of the twin did; each (B, N)."""

    v: Array  #: before the step
    i: Array  #: before the step
    x: Array  #: input current
    pending: Array  #: spikes of a pending reset
    v_pre: Array  #: compared with the threshold
    acting: Array  #: spikes that the reset of this step follows
    after: Array  #: at the end of the step


class Bound:
    """Equation (1), step by step."""

    def __init__(
        self, c: Constants, fixed: Fixed, semantics: Semantics, u: float, resolution: float = 0.0
    ) -> None:
        k = (_ROUNDINGS + c.exponent) * u
        self.u, self.gamma = u, k / (1.0 - k) if k < 1.0 else np.inf
        self.c, self.semantics = c, semantics
        self.a, self.g, self.j = _size(c.retain), _size(c.gain), _size(c.jump)
        self.a_syn = None if c.retain_syn is None else _size(c.retain_syn)
        self.leak = (1.0 + self.a) * _size(c.v_leak)
        self.threshold, self.v_reset, self.amount = map(_size, fixed[:3])
        self.lower = None if fixed.lower is None else _size(fixed.lower)
        # Gradual underflow: an absolute error of every rounding, not a relative one.
        self.least = 2 * _ROUNDINGS * float(np.finfo(fixed.threshold.dtype).smallest_subnormal)
        # Fixed point: a product and a sum are each cut to a whole number of units.
        self.least += 2 * resolution
        self.e: Array | float = 0.0
        self.e_syn: Array | float = 0.0

    def advance(self, facts: Facts) -> Array:
        """Bound on `v_pre` of the step that `facts` tells about."""
        s = self.semantics
        late = s.carried_reset or s.reset_timing == "next_step"
        entering, size = self._synapse(_size(facts.i), _size(facts.x))
        pending = _size(facts.pending)
        if late and s.reset == "value" and not s.lossy_reset:
            v = np.where(pending > 0, self.v_reset, _size(facts.v))
            before: Array | float = np.where(pending > 0, 2 * self.u * self.v_reset, self.e)
        else:
            v, before = _size(facts.v), self.e
        terms = self.c.spread_v * v + self.c.spread_i * size + self.leak
        if late and s.reset == "subtract":
            terms = terms + pending * self.amount
        e = self.a * before + self.g * entering + 2 * self.gamma * terms + self.least
        if late and s.reset == "value" and s.lossy_reset:
            e = np.where(pending > 0, 2 * self.u * self.v_reset, e)
        self.e = self._after_reset(e, facts)
        several = 2 * self.u * _size(facts.v_pre) if s.max_spikes_per_step != 1 else 0.0
        return e + self.u * self.threshold + several

    def _synapse(self, i: Array, x: Array) -> tuple[Array | float, Array]:
        """Error and size of the current that enters the membrane; updates that of the kept one."""
        arriving = self.j * x
        if self.a_syn is None:
            return 2 * self.gamma * arriving, arriving
        kept = i if self.c.decays_after else self.a_syn * i
        size = kept + arriving
        if not self.c.decays_after:
            self.e_syn = self.a_syn * self.e_syn + 2 * self.gamma * size
            return self.e_syn, size
        entering = self.e_syn + 2 * self.gamma * size
        self.e_syn = self.a_syn * entering + 2 * self.gamma * (1.0 + self.a_syn) * size
        return entering, size

    def _after_reset(self, e: Array, facts: Facts) -> Array:
        s = self.semantics
        if s.reset_timing == "same_step" and s.reset == "subtract":
            n = facts.acting + (facts.pending if s.carried_reset else 0)
            e = e + np.where(n > 0, 4 * self.u * (_size(facts.v_pre) + n * self.amount), 0.0)
        elif s.reset_timing == "same_step" and s.reset == "value":
            e = np.where(facts.acting > 0, 4 * self.u * self.v_reset, e)
        if self.lower is not None:
            e = e + 4 * self.u * (_size(facts.after) + 2 * self.lower)
        return e


def _size(x: Array) -> Array:
    return np.abs(np.asarray(x, np.float64))
