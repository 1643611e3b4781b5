r"""How exact a simulator says it is, and what follows for its spike times.

A simulator errs at its own events only. To first order, the error of each of its spikes is a sum
over these, which `reference.attainable` carries through a run in units of one rounding,
:math:`\epsilon = 2^{-52}`, of the terms that an event adds. A simulator that errs :math:`L` times
as much, and places each event in time only to within :math:`\delta`, errs at most

.. math::
    L \, (\text{bound with jitter } \delta / L) .                             \tag{1}

Event-driven simulators are allowed `roundings` for L and a jitter far below every time constant.
The defaults are a choice, twelve of 52 bits and some 6e-11 of the shortest time constant, not what
float64 can attain: what errs by less passes, and `EXACT` finds it.
A clock of step dt and order p makes errors of relative size :math:`(dt/\tau)^p` in every state,
and moves events by a step, if its order is one, or by what its order leaves of it:

.. math::
    L = \frac{2}{\epsilon} \left(\frac{dt}{\tau}\right)^p, \qquad
    \delta = dt \left(\frac{dt}{\tau}\right)^{p-1}.                        \tag{2}

(1) is of first order: what it says is used up to `LINEAR` times itself (once, for what promises
the same bits), and only where every decision of the run is `CLEAR` of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from evsim.testing.case import CHARGED, Case

EPS = 2.0**-52
CLEAR = 3.2  # |margin| over its allowed error: 8 roundings where 2.5 are allowed
LINEAR = 1.5


@dataclass(frozen=True)
class Accuracy:
    """What a simulator promises.

    Parameters
    ----------
    roundings : float
        How many roundings an own event of a neuron may cost.
    jitter : float
        To what an event is known in time, in units of the shortest time constant.
    dt : float, optional
        Step of a clock-driven simulator; 0: event-driven.
    order : int, optional
        Order of convergence of its spike times, as dt goes to zero.
    bits : bool, optional
        Whether laws that hold to the last bit (scaling by powers of two, permutations,
        identical neurons) are asked to hold so.
    """

    roundings: float = 4096.0
    jitter: float = 2.0**-34
    dt: float = 0.0
    order: int = 1
    bits: bool = False

    @property
    def exact(self) -> bool:
        """Whether laws may be held to the last bit, and the bound to what it says."""
        return self.bits and self.dt == 0.0

    @property
    def linear(self) -> float:
        """Up to how many times itself the first-order bound is used."""
        return 1.0 if self.exact else LINEAR

    def allowed(self, case: Case) -> tuple[float, float]:
        """(L, jitter in s) of (1) for a case."""
        tau, digits = shortest(case), 0.0 if self.bits else 8 * EPS * case.until
        if self.dt == 0.0:
            return self.roundings, self.jitter * tau + digits
        relative = self.dt / tau
        return 2.0 * relative**self.order / EPS, self.dt * relative ** (self.order - 1)


#: What evsim promises: 2.5 roundings, as `reference.attainable` counts them, and the same bits.
EXACT = Accuracy(roundings=2.5, jitter=0.0, bits=True)


def shortest(case: Case) -> float:
    """The shortest time constant of a case."""
    found = []
    for layer in case.layers:
        for name in ("tau_mem", "tau_syn", "tau_th", "tau"):
            value = layer.params.get(name)
            if value is not None and not (name == "tau_mem" and layer.kind in CHARGED):
                found += _numbers(value)
    return min(found, default=1.0)


def _numbers(value) -> list[float]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value]
