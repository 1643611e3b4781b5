r"""Exact grazing, decided by algebra where enclosures never can.

After the first arrival at a neuron at rest its state is rational. If the ratios of its time
constants are rational too, :math:`1/\tau_k = m_k g` with integers, then with :math:`x = e^{-g s}`

.. math::
    F = \Big(u_0 - \sum_k K_k\Big) x^{m_0} + \sum_k K_k x^{m_k} - \vartheta, \qquad
    K_k = \frac{c_k\,\mathrm{gain}}{1/\tau_m - 1/\tau_k}                          \tag{1}

is a polynomial with rational coefficients: a trajectory that touches its threshold is a multiple
root, which exact arithmetic tells from two close ones and from none. With equal time constants
`F` holds a factor `s`, its peak a power of `e`: it is transcendental and never touches.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple

from flint import arb, fmpq, fmpq_poly

from evsim.models.linear import CURRENT

#: Powers beyond are not tried: their roots would take longer than they are worth.
MOST = 200


class Touch(NamedTuple):
    """When the threshold is touched, after the state; and whether it is reached again."""

    after: arb
    again: bool


def polynomial(u, currents, tau, taus, theta) -> tuple[fmpq_poly, Fraction] | None:
    """(1) and `g`, from rational numbers, or None where (1) does not hold."""
    rate = Fraction(0) if tau is None else 1 / Fraction(tau)
    gain = Fraction(1) if tau is None else rate
    own = [Fraction(0) if t is None else 1 / Fraction(t) for t in taus]
    if any(r == rate for r in own):
        return None
    rates = [rate, *own]
    below = lcm(*(r.denominator for r in rates))
    g = Fraction(gcd(*(int(r * below) for r in rates)), below)
    powers = [int(r / g) for r in rates]
    if max(powers) > MOST:
        return None
    parts = [c * gain / (rate - r) for c, r in zip(currents, own, strict=True)]
    terms = [u - sum(parts), *parts]
    coefficients = [Fraction(0)] * (max(powers) + 1)
    for power, value in zip([0, *powers], [-theta, *terms], strict=True):
        coefficients[power] += value
    return fmpq_poly([fmpq(c.numerator, c.denominator) for c in coefficients]), g


def touch(cell, span: arb) -> Touch | None:
    """Where a neuron in a rational state first comes to its threshold within `span`, if it only
    touches it there; None: it does not, or nobody knows."""
    state = cell.rational
    if state is None or any(kind != CURRENT for kind in cell.kind):
        return None
    found = polynomial(state[0], state[1:], cell.form.tau, cell.form.taus, cell.form.theta)
    if found is None:
        return None
    f, g = found
    if f.degree() < 2 or f.gcd(f.derivative()).degree() < 1:
        return None
    scale = arb(fmpq(g.numerator, g.denominator))
    roots: Any = f.numer().complex_roots()
    times = [
        (-root.real.log() / scale, count)
        for root, count in roots
        if root.imag == 0 and root.real > 0 and root.real < 1
    ]
    near = sorted((t for t in times if not t[0] > span), key=lambda t: float(t[0]))
    if not near or near[0][1] % 2:
        return None
    first = near[0][0]
    # Balls that overlap tell neither which root is the first nor whether it comes within `span`.
    if not all(first < t for t in (span, *(t for t, _ in near[1:]))):
        return None
    return Touch(first, len(near) > 1)
