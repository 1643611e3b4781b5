r"""How well any float64 event-driven simulator can know the spikes of one neuron.

A simulator rounds its state at its own events only. Let the noise symbols
:math:`|\xi_k| \le \epsilon` (:math:`\epsilon = 2^{-52}`) stand for these roundings. To
first order the state and the clock of the computed run deviate, at a common time, by

.. math::
    \delta u = \sum_k a_k \xi_k, \quad \delta i = \sum_k b_k \xi_k, \quad
    \delta t = \sum_k c_k \xi_k,                                          \tag{1}

where t is the time of the last own event. The coefficients obey

.. math::
    \text{flow:}    &\quad a \leftarrow a \, \partial u/\partial u_0
                         + b \, \partial u/\partial i_0, \quad
                      b \leftarrow b \, \partial i/\partial i_0,           \tag{2} \\
    \text{arrival rounded by } \delta: &\quad
                      a \mathrel{-}= w \delta/\tau_m, \;
                      b \mathrel{+}= w \delta/\tau_s, \; c = \delta,       \tag{3} \\
    \text{spike:}   &\quad c = -a / \dot v(t^-),                           \tag{4} \\
    \text{restart:} &\quad a = a_r - \dot v(t^+) \, c,                     \tag{5}

(3) because a jump that comes late by delta has decayed, and has charged the membrane, for
delta less; a delta synapse instead has a = w delta/tau_m. (4) is the implicit function
theorem. (5) restarts a membrane at a time that is itself uncertain, where a_r is the
error of the reset voltage: 0 at a continuous crossing or a reset to a value, and
a + v'(t-) c when a subtraction acts on a jump. With a refractory time, (5) acts at the
release with the slope of that moment, c being carried along. Each step adds symbols:

- a flow, one per variable: `Flow.roundings`;
- a crossing at theta from u0: |theta| + |theta - u0| in voltage, the attainable error of
  one interval, and half a rounding of the elapsed time;
- a voltage that is stored relative to an asymptote: its own rounding, and one of the
  asymptote if v_leak + bias + current is not a float;
- t + delay, where that sum is not a float: its actual rounding.

The bound on (1) is the sum of the absolute coefficients times epsilon: signs inside one
symbol are kept, so a clock error that a regular train merely carries does not grow.

Near grazing (4) is not first order. With slope V and curvature -k, a voltage shift e
moves the crossing by at most 2 e / (V + sqrt(V^2 - 2 k e)), and by at most sqrt(2 e / k)
where the root is imaginary (the shifted parabola does not cross); `gain` replaces 1/V.
"""

import math

import numpy as np
from numpy.typing import NDArray

EPS = 2.0**-52
FACTOR = 2.5  # roundings per attainable error: measured over 14 families, design rule
VOLTAGE, CURRENT, TIME = 0, 1, 2  # rows of `Roundings.table`


def gain(slope: float, curvature: float, shift: float) -> float:
    """Largest time per volt by which a voltage error up to `shift` moves a crossing.

    Parameters
    ----------
    slope : float
        Voltage slope at the crossing, >= 0 [V/s].
    curvature : float
        Second derivative there [V/s^2].
    shift : float
        Voltage error allowed for, > 0 [V].

    Returns
    -------
    gain : float
        [s/V]; 1/slope where the crossing is well conditioned.
    """
    root = slope * slope - 2.0 * abs(curvature) * shift
    if root >= 0.0:
        return 2.0 / (slope + math.sqrt(root)) if slope > 0.0 else math.inf
    return math.sqrt(2.0 / (abs(curvature) * shift))


class Roundings:
    """Coefficients (1) of every noise symbol so far.

    Attributes
    ----------
    table : ndarray of float64, shape (3, symbols)
        Rows a, b, c of (1) [V, V, s].
    """

    def __init__(self, rows: NDArray[np.float64] | None = None) -> None:
        self._rows = np.zeros((3, 64)) if rows is None else rows  # room for more symbols
        self.table = self._rows[:, : 0 if rows is None else rows.shape[1]]

    def copy(self) -> "Roundings":
        """The same, to go on from."""
        return Roundings(self.table.copy())

    def add(self, u: float = 0.0, i: float = 0.0, t: float = 0.0) -> None:
        """A new symbol with these coefficients."""
        n = self.table.shape[1]
        if n == self._rows.shape[1]:
            self._rows = np.concatenate((self._rows, np.zeros((3, n + 64))), axis=1)
        self.table = self._rows[:, : n + 1]
        self.table[:, n] = (u, i, t)

    def bound(self, row: int) -> float:
        """Bound on the deviation of one variable: sum of |coefficients| times eps."""
        return EPS * float(np.abs(self.table[row]).sum())

    def voltage_after(self, response: tuple[float, float, float]) -> NDArray[np.float64]:
        """Coefficients of u after a flow, rule (2), without those of the flow itself."""
        return response[0] * self.table[VOLTAGE] + response[1] * self.table[CURRENT]

    def flow(self, response: tuple[float, float, float], fresh: tuple[float, float]) -> None:
        """Rule (2) over one interval; `fresh` are the roundings of the flow itself."""
        self.table[VOLTAGE] = self.voltage_after(response)
        self.table[TIME] = 0.0
        self.decay(response[2], fresh[1])
        self.add(u=fresh[0])

    def decay(self, factor: float, fresh: float) -> None:
        """Rule (2) for the current alone, while the membrane is clamped."""
        self.table[CURRENT] *= factor
        self.add(i=fresh)

    def arrive(self, late: float, u_rate: float, i_rate: float, clock: bool) -> None:
        """Rule (3): an event `late` seconds after its true time, with these rates.

        `clock` is False while the membrane is clamped: the release keeps its own error.
        """
        if late != 0.0:
            t = late if clock else 0.0
            self.add(u=u_rate * late / EPS, i=i_rate * late / EPS, t=t / EPS)

    def cross(
        self,
        response: tuple[float, float, float],
        slope: float,
        curvature: float,
        level: float,
        elapsed: float,
    ) -> None:
        """Rules (2) and (4): from the start of the interval to the crossing.

        The flow adds no symbol of its own to u, because the solver never forms u: it
        makes a residual vanish, and `level` is what that residual rounds.

        Parameters
        ----------
        response : tuple of 3 floats
            Of the flow, up to the crossing.
        slope, curvature : float
            Derivatives of the voltage at the crossing.
        level : float
            |theta| + |theta - u0| and what else the threshold test rounds [V].
        elapsed : float
            Time since the last own event [s].
        """
        self.table[VOLTAGE] = self.voltage_after(response)
        error = EPS * level + self.bound(VOLTAGE)
        per_volt = gain(slope, curvature, FACTOR * error)
        self.table[TIME] = -self.table[VOLTAGE] * per_volt
        self.table[VOLTAGE] = 0.0
        self.add(t=level * per_volt)
        self.add(t=0.5 * elapsed)

    def restart(self, slope: float, fresh: float) -> None:
        """Rule (5), with the slope after the reset or release."""
        self.table[VOLTAGE] -= slope * self.table[TIME]
        self.add(u=fresh)
