"""Small networks through every path, quick enough to be run interpreted: the same bits.

What `test_paths.py` does with many neurons: one delay, many, short ones, none, on a grid; ties;
pauses; currents and pulses; populations of different models. Paths share the neuron and little
else, so that an error in the book-keeping of one is a difference.
"""

import os
import sys

import numpy as np
import pytest

import evsim
from evsim import IF, LIF, DeltaLIF, Network, Spikes, simulate

UNTIL = 0.06
PAIRS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (2, 0), (1, 1), (3, 0), (4, 2), (1, 4)]
PRE, POST = map(np.array, zip(*PAIRS, strict=True))
LIFS = LIF(tau_mem=2.0**-6, tau_syn=2.0**-8, t_ref=2.0**-10, bias=0.25)


def same(a, b):
    """Whether two records hold the same bits."""
    rows = [(r.spikes[name], name) for r in (a, b) for name in a.spikes]
    half = len(rows) // 2
    return a.undecided == b.undecided and all(
        np.array_equal(getattr(x, column), getattr(y, column))
        for (x, _), (y, _) in zip(rows[:half], rows[half:], strict=True)
        for column in ("times", "times_lo", "units")
    )


def delays(kind, rng, size):
    return {
        "one": lambda: 1.5e-3,
        "many": lambda: rng.uniform(5e-4, 6e-3, size),
        "short": lambda: np.where(np.arange(size) % 5 == 1, 1e-6, rng.uniform(2e-3, 4e-3, size)),
        "grid": lambda: rng.integers(1, 5, size) * 2.0**-10,
        "none": lambda: 0.0,
    }[kind]()


def recurrent(kind, seed=1, model=LIFS, inward=2.0, pulse=None):
    """in -> a <-> a, five neurons, eleven synapses between them; forty spikes from outside."""
    rng = np.random.default_rng(seed)
    net = Network()
    net.add_input("in", 4)
    net.add_population("a", 5, model)
    count = 14
    net.connect(
        "in", "a", rng.normal(inward, 1.5, count), delays(kind, rng, count),
        pre_units=rng.integers(0, 4, count), post_units=rng.integers(0, 5, count),
    )  # fmt: skip
    net.connect(
        "a", "a", rng.normal(0.3, 1.0, PRE.size), delays(kind, rng, PRE.size),
        pre_units=PRE, post_units=POST, pulse_width=pulse,
    )  # fmt: skip
    times = np.sort(rng.uniform(0, UNTIL, 40))
    if kind == "grid":
        times = np.floor(times * 2.0**10) * 2.0**-10
    return net, {"in": Spikes(times, rng.integers(0, 4, 40))}


@pytest.mark.parametrize("tie", ["spike_first", "arrival_first"])
@pytest.mark.parametrize("kind", ["one", "many", "short", "grid"])
def test_windows_and_queue(kind, tie):
    for seed in (1, 2):
        net, inputs = recurrent(kind, seed)
        windows = simulate(net, inputs, UNTIL, tie=tie, path="window")
        assert len(windows.spikes["a"]) > 10
        assert same(windows, simulate(net, inputs, UNTIL, tie=tie, path="queue"))


@pytest.mark.parametrize("path", ["window", "queue"])
@pytest.mark.parametrize("kind", ["one", "many", "short"])
def test_pauses(kind, path):
    net, inputs = recurrent(kind, 3)
    whole = simulate(net, inputs, UNTIL, path=path)
    record, times = None, inputs["in"].times
    for begin, end in ((-1.0, 0.0), (0.0, whole.spikes["a"].times[4]), (None, 0.04), (0.04, UNTIL)):
        begin = whole.spikes["a"].times[4] if begin is None else begin
        keep = (times > begin) & (times <= end)
        part = {"in": Spikes(times[keep], inputs["in"].units[keep])}
        record = simulate(net, part, end, path=path, resume=record)
    assert same(whole, record)


def test_no_synapse_no_arrival_and_a_long_silence():
    """Windows in which nothing happens are left out, and the end comes in one of them."""
    net, _ = recurrent("many", 4, LIF(tau_mem=2.0**-6, tau_syn=2.0**-8))
    for times in ([], [0.0], [1e-3, 0.5, 0.5, 2.0]):
        inputs = {"in": Spikes(times, np.arange(len(times)))}
        windows = simulate(net, inputs, 2.5, path="window")
        assert same(windows, simulate(net, inputs, 2.5, path="queue"))


@pytest.mark.parametrize("kind", ["one", "many"])
def test_pulses_and_currents(kind):
    net, inputs = recurrent(kind, 5, LIF(tau_mem=2.0**-6, tau_syn=2.0**-8), pulse=2e-3)
    rng = np.random.default_rng(5)
    inputs["a"] = evsim.Current(np.sort(rng.uniform(0, UNTIL, 6)), rng.normal(0.4, 0.4, (6, 5)))
    windows = simulate(net, inputs, UNTIL, path="window")
    assert len(windows.spikes["a"]) > 10
    assert same(windows, simulate(net, inputs, UNTIL, path="queue"))


@pytest.mark.parametrize("kind", ["one", "short"])
def test_parts(monkeypatch, kind):
    """Each with its own neurons, arrivals and spikes; they meet at the end of every window."""
    monkeypatch.setattr(sys.modules["evsim.simulate"], "LARGE", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    net, inputs = recurrent(kind, 7)
    whole = simulate(net, inputs, UNTIL, threads=1)
    assert len(whole.spikes["a"]) > 10
    for threads in (2, 3):
        assert same(whole, simulate(net, inputs, UNTIL, threads=threads))


def several(kind, seed):
    """in -> a -> b -> c -> a, one model each."""
    rng = np.random.default_rng(seed)
    net = Network()
    net.add_input("in", 3)
    net.add_population("a", 3, LIF(tau_mem=2.0**-6, tau_syn=2.0**-8))
    net.add_population("b", 2, DeltaLIF(tau_mem=2.0**-6, t_ref=1e-3))
    net.add_population("c", 4, IF(t_ref=1e-3, reset="subtract"))
    for pre, post, scale in (("in", "a", 4.0), ("a", "b", 1.3), ("b", "c", 0.9), ("c", "a", 1.0)):
        weight = rng.normal(0.7, 0.5, (net.size(pre), net.size(post))) * scale
        net.connect(pre, post, weight, delays(kind, rng, weight.size).reshape(weight.shape)
                    if kind == "many" else delays(kind, rng, 1))  # fmt: skip
    times = np.sort(rng.uniform(0, UNTIL, 40))
    return net, {"in": Spikes(times, rng.integers(0, 3, 40))}


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="minutes to compile: see test_jit.py"
)
@pytest.mark.parametrize("kind", ["one", "many"])
def test_several_models_on_one_cycle(kind):
    net, inputs = several(kind, 6)
    windows = simulate(net, inputs, UNTIL, path="window")
    assert min(len(s) for s in windows.spikes.values()) > 3
    assert same(windows, simulate(net, inputs, UNTIL, path="queue"))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", ["none", "one", "many", "grid"])
def test_all_paths_where_there_is_no_cycle(kind, sparse):
    """in -> a -> b: eleven neurons are more than one word of eight flags, and a rest of four."""
    rng = np.random.default_rng(len(kind))
    net = Network()
    net.add_input("in", 4)
    net.add_population("a", 11, LIFS)
    net.add_population("b", 3, LIFS)
    for pre, post in (("in", "a"), ("a", "b")):
        weight = rng.normal(2.0, 2.5, (net.size(pre), net.size(post)))
        delay = delays(kind, rng, weight.size)
        units = {}
        if sparse:
            rows, columns = np.nonzero(rng.random(weight.shape) < 0.5)
            delay = delay if np.ndim(delay) == 0 else delay[: rows.size]
            weight, units = weight[rows, columns], {"pre_units": rows, "post_units": columns}
        elif np.ndim(delay):
            delay = delay.reshape(weight.shape)
        net.connect(pre, post, weight, delay, **units)
    times = np.sort(rng.uniform(0, UNTIL, 30))
    if kind == "grid":
        times = np.floor(times * 2.0**10) * 2.0**-10
    inputs = {"in": Spikes(times, rng.integers(0, 4, 30))}
    for tie in ("spike_first", "arrival_first"):
        sweep = simulate(net, inputs, UNTIL, tie=tie, path="sweep")
        assert len(sweep.spikes["b"]) > 3 and len(sweep.spikes["a"]) > 10
        for path in ("window", "queue") if kind != "none" else ("queue",):
            assert same(sweep, simulate(net, inputs, UNTIL, tie=tie, path=path)), path


@pytest.mark.parametrize("threads", [1, 2])
def test_arrivals_at_one_instant_come_in_the_order_of_their_synapses(monkeypatch, threads):
    """Several synapses of one pair, of delays that make arrivals of several spikes coincide: what
    was sent first need not come first. By windows and by the queue, to the bit; and the order of
    the synapses is seen in the bits."""
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(sys.modules["evsim.simulate"], "LARGE", 1)
    rng, many, found = np.random.default_rng(1), 6, set()
    weight, delay = rng.normal(size=many), np.arange(1.0, many + 1.0)
    for order in (np.arange(many), np.arange(many)[::-1], rng.permutation(many)):
        net = Network()
        net.add_input("in", 1)
        net.add_population("a", 2, DeltaLIF(tau_mem=10.0))
        net.add_population("b", 3, LIF(tau_mem=10.0, tau_syn=4.0, v_th=1e9))
        net.connect("in", "a", [[2.0, 0.0]], 1.0)
        pairs = {"pre_units": [0] * many, "post_units": [1] * many}
        net.connect("a", "b", weight[order], delay[order], **pairs)
        net.connect("b", "a", np.zeros((3, 2)), 1.0, name="back")
        inputs = {"in": Spikes(np.arange(float(many)), [0] * many)}
        ends = [
            simulate(net, inputs, 2.0 * many - 0.5, path=path, threads=count).final["b"].state[1][1]
            for path, count in (("window", threads), ("queue", 1))
        ]
        assert ends[0] == ends[1]
        found.add(ends[0])
    assert len(found) == 3


def test_logs_and_queues_grow():
    """More spikes of one neuron, and more arrivals at one time, than there is room at first."""
    net = Network()
    net.add_input("in", 1)
    net.add_population("a", 2, LIF(tau_mem=2.0**-6, tau_syn=2.0**-8, bias=[40.0, 0.0]))
    many = 150
    net.connect("in", "a", np.full(many, 0.01), np.linspace(1e-3, 2e-3, many),
                pre_units=np.zeros(many, int), post_units=np.ones(many, int))  # fmt: skip
    net.connect("a", "a", [0.05], [1e-3], pre_units=[0], post_units=[1])
    inputs = {"in": Spikes([0.0, 1e-5, 2e-5], [0, 0, 0])}
    windows = simulate(net, inputs, 0.12, path="window")
    assert len(windows.spikes["a"]) > 256
    assert same(windows, simulate(net, inputs, 0.12, path="queue"))


def test_a_row_that_takes_more_room_than_a_ring_has_at_first():
    """Every target fires, a delay of its own after the source."""
    many = 8400
    net = Network()
    net.add_population("a", 1, LIF(tau_mem=2.0**-6, tau_syn=2.0**-8, bias=1.5, t_ref=1.0))
    net.add_population("b", many, LIF(tau_mem=2.0**-6, tau_syn=2.0**-8, t_ref=1.0))
    net.connect("a", "b", np.full(many, 50.0), np.linspace(1e-3, 9e-3, many),
                pre_units=np.zeros(many, int), post_units=np.arange(many))  # fmt: skip
    net.connect("b", "a", [0.0], [1e-3], pre_units=[0], post_units=[0])  # by windows, or a queue
    spikes = simulate(net, {}, 0.05, path="window", threads=1).spikes
    late = spikes["b"].times - spikes["a"].times[0] - np.linspace(1e-3, 9e-3, many)
    assert spikes["b"].units.tolist() == list(range(many))
    assert late.min() > 0.0 and np.ptp(late) < 1e-15
