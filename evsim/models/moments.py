r"""How the response of a membrane changes with its time constants, without cancellation.

With :math:`x = d\,|1/\tau_s - 1/\tau_m|` and

.. math::
    M_n(x) = \int_0^1 r^n e^{-x r} dr, \qquad N_n(x) = \int_0^1 (1 - r)^n e^{-x r} dr,
    \qquad B(x) = \int_0^1 r (1 - r) e^{-x r} dr,                               \tag{1}

the voltage that :math:`i = r^n e^{-r/\tau_s}` leaves after `d` is

.. math::
    \frac{1}{\tau_m} \int_0^d r^n e^{-(d - r)/\tau_m - r/\tau_s} dr
    = \frac{d^{n+1}}{\tau_m} \begin{cases}
        e^{-d/\tau_m} M_n(x) & \tau_m \ge \tau_s, \\
        e^{-d/\tau_s} N_n(x) & \tau_m < \tau_s,
    \end{cases}                                                                 \tag{2}

and a derivative by a time constant brings one more factor :math:`r` or :math:`d - r` under the
integral: `M` and `N` of the next order, or `B`.
"""

from __future__ import annotations

import math

from evsim.jit import inline_kernel
from evsim.numerics import exp_phi, fma

#: Below, the moments are their Taylor polynomials; the first term left out is below 1e-16.
NEAR = 0.5
N_1 = tuple((-1.0) ** k / math.factorial(k + 2) for k in range(13))
N_2 = tuple(2.0 * (-1.0) ** k / math.factorial(k + 3) for k in range(13))
M_2 = tuple((-1.0) ** k / (math.factorial(k) * (k + 3)) for k in range(15))


@inline_kernel
def first_moments(x, ratio, phi):
    """(N_1, M_1) of (1) at x >= 0; `ratio` = exp(-x), `phi` = M_0(x)."""
    z = min(x, NEAR)
    n = N_1[12]
    for c in (N_1[11], N_1[10], N_1[9], N_1[8], N_1[7], N_1[6], N_1[5], N_1[4], N_1[3], N_1[2],
              N_1[1], N_1[0]):  # fmt: skip
        n = fma(n, z, c)
    wide = max(x, NEAR)
    return (n, phi - n) if x < NEAR else ((1.0 - phi) / wide, (phi - ratio) / wide)


@inline_kernel
def second_moments(x, ratio, n_1, m_1):
    """(N_2, M_2, B) of (1) at x >= 0."""
    z = min(x, NEAR)
    n = N_2[12]
    for c in (N_2[11], N_2[10], N_2[9], N_2[8], N_2[7], N_2[6], N_2[5], N_2[4], N_2[3], N_2[2],
              N_2[1], N_2[0]):  # fmt: skip
        n = fma(n, z, c)
    m = M_2[14]
    for c in (M_2[13], M_2[12], M_2[11], M_2[10], M_2[9], M_2[8], M_2[7], M_2[6], M_2[5], M_2[4],
              M_2[3], M_2[2], M_2[1], M_2[0]):  # fmt: skip
        m = fma(m, z, c)
    wide = max(x, NEAR)
    n = n if x < NEAR else (1.0 - 2.0 * n_1) / wide
    m = m if x < NEAR else (2.0 * m_1 - ratio) / wide
    return n, m, m_1 - m


@inline_kernel
def response_change(rate_mem, rate_syn, gap, d):
    """(em, es, kappa, by tau_mem, by tau_syn) over `d`: the flow of
    `evsim.models.flow` and the derivatives of kappa; `gap` = abs(rate_syn - rate_mem)."""
    mem_is_slow = rate_mem <= rate_syn
    slow, _ = exp_phi(d * min(rate_mem, rate_syn))
    x = d * gap
    ratio, phi = exp_phi(x)
    n, m = first_moments(x, ratio, phi)
    fast = slow * ratio
    em, es = (slow, fast) if mem_is_slow else (fast, slow)
    unit = d * rate_mem
    kappa = unit * slow * phi
    later = m if mem_is_slow else n
    by_syn = (unit * slow) * (d * rate_syn * rate_syn) * later
    # Of -phi + d/tau_m N_1 and -phi + d/tau_m M_1, the latter without what cancels in it.
    bend = slow * (unit * n - phi) if mem_is_slow else d * rate_syn * slow * m - fast
    return em, es, kappa, unit * rate_mem * bend, by_syn


@inline_kernel
def alpha_change(rate_mem, rate_syn, gap, d):
    """Of :math:`\\kappa_2` of `evsim.models.alpha`: itself, and by tau_mem and tau_syn."""
    mem_is_slow = rate_mem <= rate_syn
    slow, _ = exp_phi(d * min(rate_mem, rate_syn))
    x = d * gap
    ratio, phi = exp_phi(x)
    n_1, m_1 = first_moments(x, ratio, phi)
    n_2, m_2, b = second_moments(x, ratio, n_1, m_1)
    unit = (d * rate_mem) * slow * d
    kappa_2 = unit * (m_1 if mem_is_slow else n_1)
    # Where the membrane is fast, -N_1 + d/tau_m B without what cancels in it.
    bend = d * rate_mem * b - m_1 if mem_is_slow else d * rate_syn * b - m_1
    by_syn = unit * (d * rate_syn * rate_syn) * (m_2 if mem_is_slow else n_2)
    return kappa_2, unit * rate_mem * bend, by_syn
