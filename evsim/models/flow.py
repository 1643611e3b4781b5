r"""Flow of a leaky membrane behind an exponential synapse.

With the voltage `u` measured from the level to which it relaxes and the synaptic current `i`
in units of voltage,

.. math::
    \tau_m \dot u = i - u, \qquad \tau_s \dot i = -i,                          \tag{1}

    u(d) = u_0 e^{-d/\tau_m} + i_0 \kappa(d), \qquad
    \kappa(d) = \frac{d}{\tau_m} e^{-d/\tau}\, \varphi(\delta d),               \tag{2}

where :math:`\tau = \max(\tau_m, \tau_s)`, :math:`\delta = |1/\tau_s - 1/\tau_m|` and
:math:`\varphi(x) = (1 - e^{-x})/x`. (2) holds for equal time constants, where
:math:`\varphi(0) = 1`, and cannot overflow: the slow exponential is factored out.
"""

from __future__ import annotations

import math

import numpy as np

from evsim.jit import inline_kernel
from evsim.numerics import exp_neg, exp_phi

#: 1/(n + 2)! with its sign, for the series of (3); the first one left out is below 1e-18.
PSI = tuple((-1.0) ** n / math.factorial(n + 2) for n in range(19))


def rates(tau_mem, tau_syn) -> dict[str, float | np.ndarray]:
    """The rates that the kernels use, from the time constants."""
    both_numbers = isinstance(tau_mem, float) and isinstance(tau_syn, float)
    return {
        "rate_mem": 1.0 / tau_mem,
        "rate_syn": 1.0 / tau_syn,
        "rate_slow": 1.0 / (max if both_numbers else np.maximum)(tau_mem, tau_syn),
        # The difference of nearby time constants is exact; that of their inverses is not.
        "rate_gap": abs(tau_mem - tau_syn) / tau_mem / tau_syn,
        "mem_is_slow": tau_mem >= tau_syn,
    }


#: More than the rounding of an exponential below 1 takes away from 1 less it.
LOST = 1e-15
SLACK = 2e-14  # 90 roundings: more than the flow and its bound can lose together


@inline_kernel
def risen(em):
    """No less than 1 - exp(-d/tau_mem), from `em` = exp(-d/tau_mem) as rounded: of a short
    interval the difference holds little else than the rounding."""
    return ((1.0 - em) + LOST) * (1.0 + SLACK)


@inline_kernel
def exponential(rate_mem, rate_slow, rate_gap, mem_is_slow, d):
    """(exp(-d/tau_mem), exp(-d/tau_syn), kappa(d)) of (2)."""
    slow = exp_neg(d * rate_slow)
    ratio, phi = exp_phi(d * rate_gap)
    fast = slow * ratio
    em = slow if mem_is_slow else fast
    es = fast if mem_is_slow else slow
    return em, es, (d * rate_mem) * slow * phi


@inline_kernel
def psi(a, b, gap):
    """psi(a, b) of (3) for 0 <= a <= b, `gap` being b - a to full precision."""
    slow, phi = exp_phi(a)
    if b >= 1.0:
        return (phi - slow * exp_phi(gap)[1]) / b
    total, power, sums = PSI[0], 1.0, 1.0
    for n in range(1, len(PSI)):
        power *= b
        sums = a * sums + power
        total += PSI[n] * sums
    return total


@inline_kernel
def transferred(p, d):
    """Mean of kappa over `d`: what a synaptic current of 1 adds to the voltage on average."""
    fast = p.rate_syn if p.mem_is_slow else p.rate_mem
    return d * p.rate_mem * psi(d * p.rate_slow, d * fast, d * p.rate_gap)
