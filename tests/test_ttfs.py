"""Layers of single-spike neurons in the engine, compiled; see test_ttfs_kernels.py."""

import os
import subprocess
import sys

import numpy as np
import pytest

import evsim
from reference import ttfs
from validation.ttfs_network import run_in_engine, spike_times

WINDOW = {"t_start": 1.0, "t_min": 2.0, "t_max": 5.0}


@pytest.mark.parametrize("model", ["b1", "alpha", "general"])
@pytest.mark.parametrize(("zeta", "tau_c"), [(0.5, 1.0), (9.0, 0.02), (-0.6, 1.0)])
def test_layers_are_those_of_the_closed_form_and_of_the_dynamics(model, zeta, tau_c, single_spikes):
    net, x, logits = single_spikes(zeta, model, tau_c, signed=zeta < 0)
    run = ttfs.forward(net, x, "event")
    records = run_in_engine(net, run.inputs)
    early = 0
    for i, record in enumerate(records):
        for got, wanted in zip(spike_times(net, record), run.times, strict=True):
            assert abs(got - wanted[i]).max() <= 1e-12
        for k in range(len(net.hidden)):
            units = np.flatnonzero(run.premature[k][i])
            assert (np.sort(record.premature[f"h{k + 1}"].units) == units).all()
            active = np.flatnonzero(run.active[k][i])
            assert (np.sort(record.spikes[f"h{k + 1}"].units) == active).all()
            early += units.size
    assert (early > 0) == (zeta < 0)
    if zeta > 0:  # the ReLU network itself, read out from the engine's last spikes
        last = np.array([spike_times(net, record)[-1] for record in records])
        readout = net.weighted[-1]
        assert abs((net.latency - last) / net.tau_c @ readout.weight.T + readout.drift
                   - logits).max() <= 1e-10  # fmt: skip


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match=r"t_min must lie behind t_start, 1.0; got 1.0"):
        evsim.TTFS(v_th=1.0, t_start=1.0, t_min=1.0, t_max=2.0)
    with pytest.raises(ValueError, match=r"t_max\[1\] must lie behind t_min, 2.0; got 1.5"):
        evsim.TTFS(v_th=1.0, t_start=1.0, t_min=2.0, t_max=[3.0, 1.5])
    with pytest.raises(ValueError, match=r"tau_c must be positive and finite; got 0.0"):
        evsim.TTFS(v_th=1.0, tau_c=0.0, **WINDOW)
    with pytest.raises(ValueError, match="takes no pulses"):
        net = evsim.Network()
        net.add_input("in", 1)
        net.add_population("p", 1, evsim.TTFS(v_th=1.0, **WINDOW))
        net.connect("in", "p", [[1.0]], pulse_width=1.0)


@pytest.mark.slow
def test_everything_compiled():
    """`test_ttfs_kernels.py` with all of its paths compiled, which takes minutes."""
    kept = {k: v for k, v in os.environ.items() if k != "NUMBA_DISABLE_JIT"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider",
         "tests/test_ttfs_kernels.py"],
        env={**kept, "EVSIM_COMPILED": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]
    assert "skipped" not in done.stdout, done.stdout[-3000:]
