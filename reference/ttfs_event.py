r"""First threshold crossings of a layer of TTFS neurons, from one input spike to the next.

Between its input spikes the voltage of :mod:`reference.ttfs`, equation (1), is a straight line;
a neuron fires where it first comes to threshold from below, wherever that is. `first_crossings`
is the kernel, `first_crossings_plain` the same in arrays of any type, exact fractions too.

In the firing regime a voltage and a threshold that differ by rounding only cannot tell a neuron
that fires just before the end of its window from a silent one. Both functions decide by the sign
of the sum of `weight * x` and `drift`, which is exact where nothing has arrived.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np


class Window(NamedTuple):
    """The two regimes of a layer: [start, t_min) and [t_min, t_max), and the time of one x."""

    start: float
    t_min: float
    t_max: float
    tau_c: float


class Cells(NamedTuple):
    """Threshold, slopes of both regimes and drift D; (places, n_out), or (n_out,) for slopes."""

    v_th: np.ndarray
    a: np.ndarray
    b: np.ndarray
    drift: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def first_crossings(t_in, weight, cells, window, times, active, premature):
    """Run rows of input spikes; rows `r` and `r + places` share thresholds.

    Parameters
    ----------
    t_in : ndarray, shape (rows, n_in)
        One spike time each; before `window.start` as if then, from `window.t_min` on without
        effect.
    weight : ndarray, shape (n_in, n_out), contiguous
    cells : Cells
    window : Window
    times, active, premature : ndarray, shape (rows, n_out)
        Filled with spike times (`t_max` where silent), whether a neuron fires before `t_max`,
        and whether it does so before `t_min`.

    Notes
    -----
    The cost is one pass over `n_out` neurons per input spike before `t_min`.
    """
    places, n_out = cells.v_th.shape
    start, t_min, t_max, tau_c = window
    v, r, drive = np.empty(n_out), np.empty(n_out), np.empty(n_out)
    for row in range(t_in.shape[0]):
        v_th, drift = cells.v_th[row % places], cells.drift[row % places]
        mine = np.nonzero(t_in[row] < t_min)[0]
        mine = mine[np.argsort(t_in[row][mine], kind="mergesort")]
        out, early, now = times[row], premature[row], start
        for i in range(n_out):
            v[i], r[i], drive[i] = 0.0, cells.a[i], 0.0
            out[i] = np.inf if v_th[i] > 0.0 else start
        for k in range(mine.size + 1):
            at = max(t_in[row, mine[k]], start) if k < mine.size else t_min
            if at > now:
                step, crossed = (at - now) / tau_c, False
                for i in range(n_out):
                    crossed |= (v[i] + r[i] * step >= v_th[i]) & (out[i] == np.inf)
                if crossed:
                    for i in range(n_out):
                        if out[i] == np.inf and v[i] + r[i] * step >= v_th[i]:
                            wait = (v_th[i] - v[i]) * tau_c / r[i] if v[i] < v_th[i] else 0.0
                            out[i], early[i] = min(now + wait, at), True
                for i in range(n_out):
                    v[i] += r[i] * step
                now = at
            if k < mine.size:
                w, x = weight[mine[k]], (t_min - at) / tau_c
                for i in range(n_out):
                    r[i] += w[i]
                    drive[i] += w[i] * x
        for i in range(n_out):
            early[i] = out[i] < t_min
            active[row, i] = early[i] or (drive[i] + drift[i] > 0.0 and cells.b[i] > 0.0)
            if not early[i]:
                late = t_min + max((v_th[i] - v[i]) * tau_c / cells.b[i], 0.0)
                out[i] = min(late, t_max) if active[row, i] else t_max


def first_crossings_plain(t_in, weight, cells, window):
    """As `first_crossings`, in arrays of any type; answers (times, active, premature)."""
    start, t_min, t_max, tau_c = window
    rows, n_out = t_in.shape[0], weight.shape[1]
    kinks = np.minimum(np.maximum(t_in, start), t_min)
    order = np.argsort(kinks, axis=1, kind="stable")
    kinks = np.take_along_axis(kinks, order, axis=1)
    x = (t_min - kinks) / tau_c
    places = cells.v_th.shape[0]
    times = np.empty((rows, n_out), t_in.dtype)
    active, premature = np.empty((2, rows, n_out), bool)
    for row in range(rows):
        v_th, drift = cells.v_th[row % places], cells.drift[row % places]
        arrives = x[row] > 0
        w = weight[order[row]] * arrives[:, None]
        zero = 0 * cells.a[None]
        r = cells.a + np.concatenate([zero, np.cumsum(w, axis=0)])
        ends = np.concatenate([kinks[row], [t_min]])
        begins = np.concatenate([[start], kinks[row]])
        v = np.concatenate([zero, np.cumsum(r * ((ends - begins) / tau_c)[:, None], axis=0)])
        crossed = v[1:] >= v_th
        first = crossed.argmax(axis=0)
        i = np.arange(n_out)
        fires = crossed.any(axis=0) & (v_th > 0) | (v_th <= 0)
        left, slope = v_th - v[first, i], r[first, i]
        ramp = fires & (slope > 0) & (left > 0)
        wait = np.where(ramp, left * tau_c / np.where(ramp, slope, 1), 0 * left)
        t_early = np.where(v_th <= 0, start, np.minimum(begins[first] + wait, ends[first]))
        premature[row] = fires & (t_early < t_min)
        active[row] = premature[row] | (
            ((x[row][:, None] * w).sum(axis=0) + drift > 0) & (cells.b > 0)
        )
        wait = (v_th - v[-1]) * tau_c / np.where(cells.b > 0, cells.b, 1)
        late = np.minimum(t_min + np.maximum(wait, 0 * wait), t_max)
        times[row] = np.where(premature[row], t_early, np.where(active[row], late, t_max))
    return times, active, premature
