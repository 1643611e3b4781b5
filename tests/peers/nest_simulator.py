"""NEST's precise neurons as a simulator for the laws of `evsim.testing`.

    pytest --evsim-simulator tests.peers.nest_simulator:simulate

What NEST does not do is refused: other models and resets, refractory times and delays that are no
multiples of its step, delays of none, input in the first step. Inputs have no such limits, as
their spikes are sent a step early, and take a step to arrive.
"""

import atexit
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from peer import NEST_PYTHON, Nest

STEP = 0.1  # [ms], NEST's own default


@cache
def server():
    """NEST in its own interpreter, and where it writes spikes."""
    folder = tempfile.TemporaryDirectory()
    out = Path(folder.name, "spikes.npz")
    empty = {"n": np.array(0)}
    nest = Nest(os.environ[NEST_PYTHON], empty, "--resolution", str(STEP), "--spikes", str(out))
    atexit.register(nest.__exit__)
    return nest, out, folder


def whole(value, what, least=1):
    """A time that NEST's step divides, or a refusal."""
    steps = np.rint(np.asarray(value, float) / STEP)
    if np.any(np.abs(steps * STEP - value) > 1e-12) or np.any(steps < least):
        raise NotImplementedError(f"{what} of no whole number of steps")
    return steps * STEP


def simulate(network, inputs, until):
    """Spikes by population, of `iaf_psc_exp_ps`."""
    first, arrays = {}, []
    for name, population in network.populations.items():
        first[name] = sum(a["n"] for a in arrays)
        arrays.append(parameters(population.model, population.n))
    count = sum(a.pop("n") for a in arrays)
    job = {key: np.concatenate([a[key] for a in arrays]) for key in arrays[0]}
    job |= synapses(network, first) | arrivals(network, inputs, first, until)
    job |= {"n": np.array(count), "until": whole(until, "a run"), "v": np.zeros(count)}
    nest, out, _ = server()
    answer = nest.run("iaf_psc_exp_ps", job)
    if "error" in answer:
        raise NotImplementedError(answer["error"])
    with np.load(out) as found:
        # The step is the end of the interval that the spike lies in, the offset runs backwards.
        times, units = found["steps"] * STEP - found["offsets"], found["units"]
    spikes = {}
    for name, population in network.populations.items():
        mine = (units >= first[name]) & (units < first[name] + population.n) & (times <= until)
        spikes[name] = times[mine], units[mine] - first[name]
    return spikes


def parameters(model, n):
    """Of a population, one value per neuron; voltages relative to the leak potential."""
    known = type(model).__name__ == "LIF" and not isinstance(model.tau_syn, dict)
    if not known or model.reset != "value" or model.refractory != "clamp" or model.graze != ">=":
        raise NotImplementedError("LIF with a reset to a value, and a clamped membrane, only")
    names = ("tau_mem", "tau_syn", "bias", "t_ref", "v_th", "v_reset", "v_leak")
    values = {x: np.broadcast_to(np.asarray(getattr(model, x), float), n) for x in names}
    leak = values.pop("v_leak")
    moved = {x: values[x] - leak for x in ("v_th", "v_reset")}
    return {**values, **moved, "t_ref": whole(values["t_ref"], "refractory times"), "n": n}


def synapses(network, first):
    """Between neurons."""
    found = {"pre": [], "post": [], "weight": [], "delay": []}
    for c in network.connections:
        if c.pre in first:
            for (i, j), w in np.ndenumerate(c.weight):
                delay = np.broadcast_to(c.delay, c.weight.shape)[i, j]
                row = first[c.pre] + i, first[c.post] + j, w, whole(delay, "delays")
                for key, value in zip(found, row, strict=True):
                    found[key].append(value)
    kinds = {"pre": int, "post": int}
    return {key: np.array(rows, dtype=kinds.get(key, float)) for key, rows in found.items()}


def arrivals(network, inputs, first, until):
    """A unit of its own for every synapse of an input."""
    pre, post, weight, times, units = [], [], [], [], []
    for c in network.connections:
        if c.pre in first or c.pre not in inputs:
            continue
        train = inputs[c.pre]
        delays = np.broadcast_to(c.delay, c.weight.shape)
        for (i, j), w in np.ndenumerate(c.weight):
            late = np.sort(train.times[train.units == i] + delays[i, j]) - STEP
            if np.any(late <= 0.0):
                raise NotImplementedError("input in the first step")
            late = late[late <= until]
            times.append(late)
            units.append(np.full(late.size, len(pre)))
            pre.append(len(pre))
            post.append(first[c.post] + j)
            weight.append(w)
    if not pre:
        return {}
    return {
        "n_in": np.array(len(pre)), "in_pre": np.array(pre), "in_post": np.array(post),
        "in_weight": np.array(weight, float), "in_delay": np.full(len(pre), STEP),
        "in_times": np.concatenate(times), "in_units": np.concatenate(units).astype(int),
    }  # fmt: skip
