"""What hardware does to networks of single spikes: jitter, coarse times, coarse weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference.ttfs_network import Network, Weighted
from reference.ttfs_run import Perturb


def jitter(sigma: float, seed: int, *, silent: bool = False) -> Perturb:
    """Normal jitter of spike times, clipped to their window.

    Parameters
    ----------
    sigma : float
        Standard deviation, in the unit of the times.
    seed : int
    silent : bool
        Also moves what silent neurons are stored as, which turns silence into signal.
    """
    rng = np.random.default_rng(seed)

    def moved(n, times, active, window):
        noisy = np.clip(times + sigma * rng.standard_normal(times.shape), *window)
        return noisy if silent else np.where(active, noisy, times)

    return moved


def steps_of_time(bits: int) -> Perturb:
    """Times on `2**bits - 1` equal steps of their window."""

    def moved(n, times, active, window):
        low, high = window
        step = (high - low) / (2**bits - 1)
        return low + np.round((times - low) / step) * step

    return moved


def coarse_weights(net: Network, bits: int, *, symmetric: bool = False) -> Network:
    """Weights on `2**bits` equal steps over [-1, 1], shifted so that 0 is one of them.

    The uniform fake quantisation that frameworks train with: steps of `2/(2**bits - 1)`, of
    which `2**(bits - 1)` are negative, the lowest below -1. Symmetric steps, from 2 bits on, are
    one fewer and end at -1 and 1.
    """
    top = 2 ** (bits - 1) - 1
    low, step = (-top, 1.0 / top) if symmetric else (-top - 1, 2.0 / (2**bits - 1))
    layers = [
        replace(x, weight=np.clip(np.floor(x.weight / step + 0.5), low, top) * step)
        if isinstance(x, Weighted)
        else x
        for x in net.layers
    ]
    return replace(net, layers=layers)
