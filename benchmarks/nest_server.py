"""Runs a network in NEST when told to; started by evsim's benchmarks and tests, with NEST's Python.

    PYTHON nest_server.py JOB.npz [--resolution MS] [--threads N] [--spikes OUT.npz]

Every line on the standard input names a neuron model, and may name another job after it. The
network is then built anew, prepared, and run; the answer is one line of JSON: the seconds of
`nest.Run` alone, the number of spikes, NEST's version, or an error. With `--spikes` the spikes go
to that file: step and offset of each, so that no digit is lost, and the neuron.

The capacity is put to the number of the membrane time constant, so that currents have the
values of evsim's: C dV/dt = -C V / tau + I, with C = tau, is tau dV/dt = -V + I.
"""

import argparse
import json
import sys
import time

import nest
import numpy as np

ON_GRID = ("iaf_psc_exp", "iaf_psc_alpha")


def parameters(job):
    """Parameters of all neurons, from those of evsim."""
    tau = job["tau_mem"]
    n = int(job["n"])
    values = {
        "tau_m": tau,
        "C_m": tau,
        "tau_syn_ex": job["tau_syn"],
        "tau_syn_in": job["tau_syn"],
        "V_th": job["v_th"],
        "V_reset": job["v_reset"],
        "t_ref": job["t_ref"],
        "I_e": job["bias"],
        "E_L": 0.0,
    }
    return {name: np.broadcast_to(np.asarray(v, float), n) for name, v in values.items()}


def connect(pre, post, job, prefix, resolution, scale):
    """The very synapses of the job; delays go to the grid, one step at least."""
    delay = np.maximum(1.0, np.rint(job[prefix + "delay"] / resolution)) * resolution
    count = job[prefix + "pre"].size
    if not count:
        return
    synapses = {
        "weight": job[prefix + "weight"] * scale,
        "delay": np.broadcast_to(delay, count).copy(),
    }
    nest.Connect(
        np.asarray(pre.tolist())[job[prefix + "pre"]],
        np.asarray(post.tolist())[job[prefix + "post"]],
        "one_to_one",
        {"synapse_model": "static_synapse", **synapses},
    )


def generators(job, model):
    """Units that emit the given spikes."""
    n = int(job["n_in"])
    order = np.argsort(job["in_units"], kind="stable")
    bounds = np.cumsum(np.bincount(job["in_units"], minlength=n))[:-1]
    exact = model not in ON_GRID
    given = {"precise_times": exact, "allow_offgrid_times": not exact}
    return nest.Create(
        "spike_generator",
        n,
        [{**given, "spike_times": times} for times in np.split(job["in_times"][order], bounds)],
    )


def build(job, model, options):
    """The network, and its recorder if spikes are wanted."""
    nest.ResetKernel()
    nest.resolution = options.resolution
    nest.local_num_threads = options.threads
    neurons = nest.Create(model, int(job["n"]))
    values = parameters(job)
    # NEST's alpha current is w e/tau t exp(-t/tau): its weights are peaks.
    scale = float(job["tau_syn"]) / np.e if "alpha" in model else 1.0
    neurons.set([dict(zip(values, row)) for row in zip(*(v.tolist() for v in values.values()))])  # noqa: B905
    neurons.set([{"V_m": v} for v in np.broadcast_to(job["v"], int(job["n"])).tolist()])
    connect(neurons, neurons, job, "", options.resolution, scale)
    if "n_in" in job:
        connect(generators(job, model), neurons, job, "in_", options.resolution, scale)
    recorder = None
    if options.spikes:
        recorder = nest.Create("spike_recorder", {"time_in_steps": True})
        nest.Connect(neurons, recorder)
    return neurons, recorder


def run(job, model, options):
    """Build, prepare, run; the answer."""
    neurons, recorder = build(job, model, options)
    with nest.RunManager():
        start = time.perf_counter()
        nest.Run(float(job["until"]))
        seconds = time.perf_counter() - start
    answer = {"seconds": seconds, "spikes": int(nest.local_spike_counter)}
    if recorder is not None:
        events = recorder.events
        np.savez(
            options.spikes,
            units=np.asarray(events["senders"]) - neurons[0].global_id,
            steps=events["times"],
            offsets=events["offsets"],
        )
    return answer


def main():
    """Answer until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("--resolution", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--spikes")
    options = parser.parse_args()
    nest.verbosity = nest.VerbosityLevel.ERROR
    for line in sys.stdin:
        model, *other = line.split(maxsplit=1)
        try:
            with np.load(other[0].strip() if other else options.job) as file:
                answer = run(dict(file), model, options)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print("answer", json.dumps({"version": nest.__version__, **answer}), flush=True)


if __name__ == "__main__":
    main()
