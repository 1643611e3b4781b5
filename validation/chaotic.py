"""A chaotic network whose true spikes are known: 20 neurons, 160 synapses, 3738 spikes.

The inputs are Poisson trains up to t = 1600 (ms), the true spikes those of a run with 512 bits,
rounded to doubles. Errors grow by 48 bits on the way: a float64 simulation loses the order of
the spikes before its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import evsim
import reference

FILE = Path(reference.__file__).with_name("chaotic20.npz")
#: The end of inputs and true spikes.
UNTIL = 1600.0
NAMES = ("tau_mem", "tau_syn", "v_th", "v_reset", "t_ref")


def chaotic(until: float = UNTIL):
    """The network, its inputs and its true spikes up to a time.

    Parameters
    ----------
    until : float
        Beyond 1600, inputs are drawn anew at the same rate, from a seed; no true spikes are
        known there.

    Returns
    -------
    network : evsim.Network
    inputs, spikes : dict of evsim.Spikes
    """
    data = np.load(FILE)
    levels: Any = {name: float(data[name]) for name in NAMES}
    n_in = int(data["input_unit"].max()) + 1
    net = evsim.Network()
    net.add_input("in", n_in)
    net.add_population("p", 20, evsim.LIF(**levels))
    net.connect("in", "p", data["input_weight"], pre_units=data["input_unit"],
                post_units=data["input_post"])  # fmt: skip
    net.connect("p", "p", data["weight"], data["delay"], pre_units=data["pre"],
                post_units=data["post"])  # fmt: skip
    times, units = data["input_times"], data["input_units"]
    if until > UNTIL:
        rng = np.random.default_rng(3200)
        count = rng.poisson(times.size / UNTIL * (until - UNTIL))
        times = np.concatenate([times, np.sort(rng.uniform(UNTIL, until, count))])
        units = np.concatenate([units, rng.integers(0, n_in, count)])
    keep = data["true_times"] <= until
    spikes = {"p": evsim.Spikes(data["true_times"][keep], data["true_units"][keep])}
    return net, {"in": evsim.Spikes(times, units)}, spikes
