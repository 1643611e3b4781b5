r"""First threshold passage of a leaky neuron in closed form, and its derivatives.

From the state (u, j), both relative to rest, with threshold :math:`\vartheta > 0` and equal
time constants,

.. math::
    \frac{s}{\tau} = -\frac{u}{j}
        - W_0\!\left(-\frac{\vartheta}{j}\, e^{-u/j}\right),                      \tag{1}

and with :math:`\tau_m = 2 \tau_s`, where :math:`e^{-s/\tau_s} = (e^{-s/\tau_m})^2` makes the
voltage a parabola in :math:`y = 1 - e^{-s/\tau_m}`,

.. math::
    y = \frac{2 (\vartheta - u)}{A + \sqrt{A^2 - 4 j (\vartheta - u)}}, \quad A = j - u, \qquad
    s = -\tau_m \ln(1 - y).                                                      \tag{2}
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath


def equal(u, j, theta, tau):
    """Passage time for equal time constants, by Lambert's function; (1)."""
    ratio = u / j
    return -tau * (ratio + mpmath.lambertw(-theta / j * mpmath.exp(-ratio)).real)


def double(u, j, theta, tau_mem):
    """Passage time for a membrane twice as slow as its synapse; (2)."""
    a = j - u
    y = 2 * (theta - u) / (a + mpmath.sqrt(a * a - 4 * j * (theta - u)))
    return -tau_mem * mpmath.log(1 - y)


def derivatives(f: Callable, *arguments: float, digits: int = 50) -> list[float]:
    """Partial derivatives of one of the above by each of its arguments."""
    with mpmath.workdps(digits):
        exact = [mpmath.mpf(value) for value in arguments]
        found = []
        for k in range(len(exact)):
            order = tuple(int(j == k) for j in range(len(exact)))
            found.append(float(mpmath.diff(f, tuple(exact), order)))
    return found
