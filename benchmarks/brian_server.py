"""Runs a feed-forward layer in Brian2 on a grid; started by evsim's tests, with Brian2's Python.

    PYTHON brian_server.py JOB.npz OUT.npz

The layer `tau_mem dv/dt = bias - v + i`, `tau_syn di/dt = -i` with `method='exact'`, one set of
parameters, input spikes on steps, delays of whole steps, all times in milliseconds. `OUT` holds
step and neuron of every spike, as Brian2 stamps it, and the version.
"""

import sys

import brian2
import numpy as np
from brian2 import ms

EQUATIONS = """
dv/dt = (bias - v + drive) / tau_mem : 1 (unless refractory)
ddrive/dt = -drive / tau_syn : 1
"""


def run(job):
    """Steps and neurons of the spikes."""
    dt = float(job["dt"]) * ms
    brian2.defaultclock.dt = dt
    brian2.prefs.codegen.target = "numpy"
    names = {"tau_mem": float(job["tau_mem"]) * ms, "tau_syn": float(job["tau_syn"]) * ms,
             "bias": float(job["bias"]), "v_th": float(job["v_th"]),
             "v_reset": float(job["v_reset"])}  # fmt: skip
    layer = brian2.NeuronGroup(
        int(job["n"]), EQUATIONS, threshold="v >= v_th", reset="v = v_reset", method="exact",
        refractory=float(job["t_ref"]) * ms, namespace=names,
    )  # fmt: skip
    source = brian2.SpikeGeneratorGroup(int(job["n_in"]), job["in_units"], job["in_steps"] * dt)
    synapses = brian2.Synapses(source, layer, "w : 1", on_pre="drive_post += w")
    synapses.connect(i=job["pre"], j=job["post"])
    synapses.w = job["weight"]
    synapses.delay = job["delay_steps"] * dt
    spikes = brian2.SpikeMonitor(layer)
    # Explicit: a network by name would look for objects of this function only.
    brian2.Network(layer, source, synapses, spikes).run(float(job["until"]) * ms)
    return np.rint(np.asarray(spikes.t / dt)).astype(int), np.asarray(spikes.i)


def main():
    """Read, run, write."""
    with np.load(sys.argv[1]) as file:
        job = dict(file)
    steps, units = run(job)
    np.savez(sys.argv[2], steps=steps, units=units, version=brian2.__version__)


if __name__ == "__main__":
    main()
