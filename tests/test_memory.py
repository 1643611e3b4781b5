"""Arrivals are delivered in pieces: the same bits, in bounded memory."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from evsim import LI, LIF, Current, Network, Spikes, arrivals, simulate

UNTIL = 0.15
MODEL = LIF(tau_mem=np.full(12, 20e-3), tau_syn=5e-3, t_ref=1e-3)


def network(kind, cycle):
    """in -> p with a delay per synapse, sparse or dense, or pulses; p -> p on a cycle."""
    rng = np.random.default_rng(len(kind))
    net = Network()
    net.add_input("in", 15)
    net.add_input("other", 15)
    net.add_population("p", 12, MODEL)
    matrix = scipy.sparse.random_array((15, 12), density=0.6, rng=rng, format="csr")
    matrix.data = rng.normal(0.5, 1.0, matrix.nnz)
    delay = matrix.copy()
    delay.data = rng.uniform(0, 9e-3, matrix.nnz)
    if kind == "grid":  # most of them multiples of the step, some not
        delay.data = np.where(delay.data < 7e-3, rng.integers(1, 9, matrix.nnz) / 1000, delay.data)
    net.connect("in", "p", matrix, delay, pulse_width=4e-3 if kind == "pulses" else None)
    net.connect("in", "p", rng.normal(0.2, 0.5, (15, 12)), 2e-3, name="dense")
    net.connect("other", "p", rng.normal(0.2, 0.5, (15, 12)), rng.uniform(0, 0.02, (15, 12)))
    if cycle:
        net.connect("p", "p", rng.normal(0, 0.4, (12, 12)), rng.uniform(1e-3, 4e-3, (12, 12)))
    steps, units = rng.integers(0, 150, (2, 200)), rng.integers(0, 15, (2, 200))
    if kind == "grid":
        trains = [Spikes.on_grid(s, u, 1e-3) for s, u in zip(steps, units, strict=True)]
    else:
        trains = [Spikes(rng.uniform(0, UNTIL, 200), u) for u in units]
    drive = Current(np.array([0.01, 0.05, 0.09]), rng.normal(0, 0.3, (3, 12)))
    return net, {"in": trains[0], "other": trains[1], "p": drive}


def bits(record):
    s = record.spikes["p"]
    assert len(s) > 30
    return s.times.tobytes(), s.times_lo.tobytes(), s.units.tobytes(), record.undecided


def in_two(net, inputs, path):
    """The same run, paused."""
    at, early, late = 0.06, {}, {}
    for name, x in inputs.items():
        if name == "p":
            rows = x.times <= at
            early[name], late[name] = (Current(x.times[k], x.values[k]) for k in (rows, ~rows))
        else:
            first = x.times <= at
            parts = [
                Spikes(x.times[k], x.units[k], times_lo=x.times_lo[k])
                if x.dt is None
                else Spikes.on_grid(x.steps[k], x.units[k], x.dt)
                for k in (first, ~first)
            ]
            early[name], late[name] = parts
    return simulate(net, late, UNTIL, path=path, resume=simulate(net, early, at, path=path))


@pytest.mark.parametrize("kind", ["plain", "grid", "pulses"])
@pytest.mark.parametrize("path", ["sweep", "window", "queue"])
def test_pieces_do_not_change_a_bit(kind, path, monkeypatch):
    net, inputs = network(kind, cycle=path != "sweep")
    whole = bits(simulate(net, inputs, UNTIL, path=path))
    calls = []
    for name in ("lists_of_arrivals", "all_arrivals"):
        given = getattr(arrivals, name)
        counted = lambda *a, given=given: calls.append(1) or given(*a)  # noqa: E731
        monkeypatch.setattr(arrivals, name, counted)
        monkeypatch.setattr(f"evsim.group.{name}", counted, raising=False)
    for most in (1, 60, 1000):
        monkeypatch.setattr(arrivals, "AT_ONCE", most)
        calls.clear()
        assert bits(simulate(net, inputs, UNTIL, path=path)) == whole, most
        assert len(calls) >= {1: 12, 60: 10, 1000: 2}[most]
        assert bits(in_two(net, inputs, path)) == whole, most


def test_readings_come_in_pieces_too(monkeypatch):
    net, inputs = network("plain", cycle=False)
    del inputs["p"]
    net.populations.clear()
    projections = net.projections.copy()
    net.projections.clear()
    net.add_population("p", 12, LI(tau_mem=20e-3, tau_syn=5e-3))
    net.projections |= projections
    record = simulate(net, inputs, UNTIL)
    one = [*record.maximum("p"), record.integral("p")]
    monkeypatch.setattr(arrivals, "AT_ONCE", 100)
    assert [a.tobytes() for a in (*record.maximum("p"), record.integral("p"))] == [
        a.tobytes() for a in one
    ]


@pytest.mark.parametrize("path", ["sweep", "window", "queue"])
def test_memory_does_not_grow_with_the_number_of_arrivals(path, monkeypatch):
    """Arrivals that would take more than 40 bytes each: a tenth of that is not exceeded."""
    n, fan_in, spikes = 200, 100, 20_000
    rng = np.random.default_rng(0)
    net = Network()
    net.add_input("in", fan_in)
    net.add_population("p", n, LI(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "p", rng.normal(0, 1, (fan_in, n)), rng.uniform(1e-3, 5e-3, (fan_in, n)))
    if path != "sweep":  # a loop that is silent: windows of its delay
        net.connect("p", "p", [0.0], 5e-3, pre_units=[0], post_units=[0])
    train = {"in": Spikes(rng.uniform(0, 10.0, spikes), rng.integers(0, fan_in, spikes))}
    simulate(net, {}, 0.1, path=path)  # compiles
    monkeypatch.setattr(arrivals, "AT_ONCE", 1 << 15)
    tracemalloc.start()
    simulate(net, train, 11.0, path=path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.1 * 40 * n * spikes
