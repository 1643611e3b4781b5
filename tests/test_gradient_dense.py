"""Passes over dense layers against the pass neuron by neuron, interpreted: see test_jit.py."""

import os

import numpy as np
import pytest

import evsim

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="for interpreted kernels: see test_jit.py"
)
N, EVENTS = 6, 23
MODELS = {
    "lif": evsim.LIF(tau_mem=np.linspace(8.0, 12.0, N), tau_syn=4.0),
    "alpha": evsim.AlphaLIF(tau_mem=9.0, tau_syn=3.0),
}


def layer(model, seed):
    """Bursts that many neurons answer, and pauses; twice two arrivals at one time, some from one
    source."""
    rng = np.random.default_rng(seed)
    net = evsim.Network()
    net.add_input("in", 4)
    net.add_population("p", N, model)
    net.connect("in", "p", rng.normal(1.2, 0.8, (4, N)), 0.25)
    times = np.sort(np.concatenate([rng.uniform(a, a + 3.0, 8) for a in (0, 15, 30)])[:EVENTS])
    times[4], times[12] = times[3], times[11]
    return evsim.simulate(net, {"in": evsim.Spikes(times, rng.integers(0, 4, EVENTS))}, 45.0)


def every(found):
    """All numbers of a gradient."""
    for what in ("weight", "delay", "inputs"):
        for name, value in getattr(found, what).items():
            yield what, name, value
    for what in ("params", "initial", "conditioning"):
        for name, one in getattr(found, what).items():
            for key, value in vars(one).items():
                yield what, f"{name}.{key}", value


@pytest.mark.parametrize(("kind", "memory"), [("lif", None), ("alpha", None), ("alpha", 300)])
def test_either_way_back_answers_alike(kind, memory, monkeypatch):
    """With little memory the states of two groups of four events are kept at a time."""
    if memory:
        monkeypatch.setattr("evsim.dense_leg.MEMORY", memory)
    record = layer(MODELS[kind], 3)
    units = record.spikes["p"].units
    assert np.bincount(units, minlength=N).min() >= 1
    c = {"p": np.random.default_rng(0).normal(size=units.size)}
    fast = evsim.gradient(record, c)
    monkeypatch.setattr("evsim.sample.simple", lambda record, name: False)
    plain = evsim.gradient(record, c)
    for (what, name, one), (_, _, other) in zip(every(fast), every(plain), strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12), (what, name)
    assert fast.status == plain.status and fast.trust == pytest.approx(plain.trust, rel=1e-9)
