"""Losses with exact derivatives, for `evsim.gradient`.

A loss stands in the place of an array of cotangents. What depends on spike times answers with
their derivatives; what depends on voltages, with a costate at the time where it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from evsim.record import Record


@dataclass(frozen=True)
class FirstSpikes:
    r"""Cross entropy over the times of the neurons' first spikes.

    .. math::
        L = -\ln \frac{e^{-t_l/\tau}}{\sum_n e^{-t_n/\tau}}
            + \alpha \bigl(e^{t_l/\tau_e} - 1\bigr)

    A neuron that does not fire counts as if it fired at the end of the run, and nothing moves
    that. (Wunderlich and Pehle 2021, equation 14, with their second term as a choice.)

    Parameters
    ----------
    label : int
        The neuron `l` that should be first.
    tau : float
        Scale of differences in time [s].
    early, tau_early : float, optional
        The factor and time constant of the second term, which asks `l` to be early.
    """

    label: int
    tau: float
    early: float = 0.0
    tau_early: float = np.inf

    def times(self, record: Record, name: str) -> tuple[np.ndarray, np.ndarray]:
        """First spike times (n,), and the index of each spike, -1 where there is none."""
        n, spikes = record.network.size(name), record.spikes[name]
        if not 0 <= self.label < n:
            raise ValueError(f"label must lie in 0..{n - 1}; got {self.label}")
        first = np.full(n, -1)
        units, where = np.unique(spikes.units, return_index=True)
        first[units] = where
        times = np.full(n, record.until)
        times[units] = spikes.times[where]
        return times, first

    def value(self, record: Record, name: str) -> float:
        """The loss of one record."""
        times, _ = self.times(record, name)
        return float(self._of(times)[0][0])

    def cotangent(self, record: Record, name: str) -> np.ndarray:
        """Derivatives by the spike times of `name`."""
        times, first = self.times(record, name)
        out = np.zeros(len(record.spikes[name]))
        fired = first >= 0
        out[first[fired]] = self._of(times)[1][0][fired]
        return out

    def _of(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        label = np.array([self.label])
        return first_spike_entropy(times[None], label, self.tau, self.early, self.tau_early)


def first_spike_entropy(times, labels, tau: float, early: float = 0.0, tau_early: float = np.inf):
    """The loss of `FirstSpikes` for a batch, and its derivatives.

    Parameters
    ----------
    times : ndarray, shape (samples, n)
        First spike times [s]; the end of the run where there is none.
    labels : ndarray of int, shape (samples,)
    tau, early, tau_early : float
        As of `FirstSpikes`.

    Returns
    -------
    loss : ndarray, shape (samples,)
    by_time : ndarray, shape (samples, n)
    """
    rows = np.arange(len(times))
    loss, by_value = softmax_cross_entropy(-times / tau, labels)
    by_time = -by_value / tau
    if early:
        rise = times[rows, labels] / tau_early
        loss = loss + early * np.expm1(rise)
        by_time[rows, labels] += early / tau_early * np.exp(rise)
    return loss, by_time


@dataclass(frozen=True)
class SpikeCount:
    """Any loss of spike counts: its derivative is zero wherever there is one.

    The gradient is zero and `notes` of it says so; what would change a count is the distance to
    the next spike, `silent_margin` and `peak_margin` in its conditioning.
    """

    def cotangent(self, record: Record, name: str) -> np.ndarray:
        """Zeros."""
        return np.zeros(len(record.spikes[name]))


@dataclass(frozen=True)
class Reading:
    """A loss of voltages; `cotangent` has the derivatives by the values read, (n,)."""

    cotangent: Any


class Maximum(Reading):
    """Of the greatest voltages over [0, until], `record.maximum(name)[0]`, of an `LI`."""


class Final(Reading):
    """Of the voltages at `until`."""


class Integral(Reading):
    """Of the integrals of the voltage over [0, until], `record.integral(name)`, of an `LI`."""


def softmax_cross_entropy(values, labels):
    """Loss and derivatives: of maxima of readouts, say, for `Maximum`.

    `values` are (n,) with one label, or (samples, n) with (samples,); the answers fit.
    """
    rows, label = np.atleast_2d(values), np.atleast_1d(labels)
    shifted = rows - rows.max(axis=1, keepdims=True)
    share = np.exp(shifted)
    total = share.sum(axis=1)
    every = np.arange(len(rows))
    loss = np.log(total) - shifted[every, label]
    by_value = share / total[:, None]
    by_value[every, label] -= 1.0
    return (loss, by_value) if np.ndim(values) == 2 else (float(loss[0]), by_value[0])
