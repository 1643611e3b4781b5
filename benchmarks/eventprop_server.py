"""Runs a layer in EventProp's published code when told to, with the Python that has it.

    PYTHON eventprop_server.py JOB.npz

The job holds `weight`, `tau_mem`, `tau_syn` and, for sample k, `times k`, `units k` and, where
spike errors are given, `errors k` for `units_out k`. Every line on the standard input is the
number of calls of one round: a line of JSON with the least seconds of both directions and the
number of output spikes. The first round also writes the spikes, and the gradient where there are
errors, to JOB.out.npz. The errors of a round are set before its clock starts.
"""

import json
import sys
import time

import numpy as np
from eventprop.eventprop_cpp import (
    Spikes,
    SpikesVector,
    backward_spikes_batch_cpp,
    compute_spikes_batch_cpp,
)


def inputs(job):
    """The batch, one `Spikes` per sample."""
    count = sum(name.startswith("times ") for name in job.files)
    return SpikesVector(
        [Spikes(job[f"times {k}"], job[f"units {k}"].astype(np.int32)) for k in range(count)]
    )


def one_round(job, numbers):
    """Seconds forward and backward, the spikes and the gradient."""
    batch, weight = inputs(job), job["weight"]
    began = time.perf_counter()
    answer = compute_spikes_batch_cpp(weight, batch, *numbers)
    forward = time.perf_counter() - began
    spikes = answer[0] if isinstance(answer, tuple) else answer  # by version
    for sample in spikes:
        # Errors of 1 on every spike: all of them take part.
        for m in range(sample.n_spikes):
            sample.set_error(m, 1.0)
    gradient = np.zeros_like(weight)
    began = time.perf_counter()
    backward_spikes_batch_cpp(batch, spikes, weight, gradient, *numbers)
    return forward, time.perf_counter() - began, spikes, gradient


def main():
    """Answer line by line."""
    job = np.load(sys.argv[1])
    numbers = 1.0, float(job["tau_mem"]), float(job["tau_syn"])
    kept = False
    for line in sys.stdin:
        calls = [one_round(job, numbers) for _ in range(int(line))]
        forward, backward = (min(call[way] for call in calls) for way in (0, 1))
        _, _, spikes, gradient = calls[0]
        if not kept:
            found = {f"times {k}": np.asarray(s.times) for k, s in enumerate(spikes)}
            found |= {f"units {k}": np.asarray(s.sources) for k, s in enumerate(spikes)}
            np.savez(sys.argv[1] + ".out.npz", gradient=gradient, **found)
            kept = True
        count = sum(s.n_spikes for s in spikes)
        print("answer " + json.dumps({"forward": forward, "backward": backward, "spikes": count}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
