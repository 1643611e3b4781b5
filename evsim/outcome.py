"""From the logs of kernels to what a record holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.neuron import DOUBTS, Log
from evsim.spikes import Spikes


class ZenoError(RuntimeError):
    """A neuron would fire for ever without time passing; the message names it."""


def runaway(population: str, n: int, t: float) -> ZenoError:
    """The error for a neuron that fires for ever."""
    return ZenoError(
        f"neuron {n} of population {population!r} is at or above threshold after its reset at "
        f"t = {t:.9g} and would fire for ever; give it a refractory period (t_ref > 0), a "
        "reset below threshold, or the run multi='hold'"
    )


def spikes_of(log: Log, first: int, n: int) -> Spikes:
    """Spikes of the `n` neurons from place `first` on, in order of time, then unit."""
    k = int(log.used[0])
    unit = log.unit[:k]
    mine: Any = (unit >= first) & (unit < first + n)
    mine = slice(k) if mine.all() else np.flatnonzero(mine)
    hi, lo, unit = log.hi[mine], log.lo[mine], log.unit[mine] - first
    order = np.argsort(hi)  # much faster than by three keys, and mostly enough
    times = hi[order]
    if not (times[1:] > times[:-1]).all():
        order = np.lexsort((unit, lo, hi))
        times = hi[order]
    return Spikes.in_order(times, lo[order], unit[order])


def doubts_of(log: Log, name: str, first: int, n: int) -> list[tuple[str, int, float, str]]:
    """Doubts about those neurons, each once."""
    k = int(log.used[0])
    rows = zip(log.unit[:k], log.hi[:k], log.kind[:k], strict=True)
    return sorted(
        {
            (name, int(unit) - first, float(t), DOUBTS[kind])
            for unit, t, kind in rows
            if first <= unit < first + n
        }
    )
