"""Sweep, windows and queue: one network, the same bits; cycles, with and without delay."""

import itertools
import sys
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import evsim
from evsim import (
    IF,
    LI,
    LIF,
    QIF,
    AdaptiveLIF,
    AlphaLIF,
    DeltaLIF,
    Network,
    Spikes,
    simulate,
)
from evsim.group import group_of
from evsim.parts import bounds_of
from evsim.recurrent import Instants, run_of
from evsim.short import short_synapses
from evsim.start import Job, initial_states

MODELS = {
    "lif": LIF(tau_mem=20e-3, tau_syn=5e-3, t_ref=2e-3),
    "driven": LIF(tau_mem=20e-3, tau_syn=5e-3, bias=1.2, reset="subtract"),
    "li": LI(tau_mem=10e-3, tau_syn=5e-3),
}
UNTIL = 0.15
# One of each kernel class, with one value per neuron: every kernel of it is compiled once.
SIZE = 5
MEM, SYN, FAST = np.full(SIZE, 20e-3), np.full(SIZE, 5e-3), np.full(SIZE, 1e-3)
TYPES = ("exc", "inh", "slow")
ZOO = {
    "lif": LIF(tau_mem=MEM, tau_syn=SYN, t_ref=FAST, refractory="hold_fire"),
    "mixed": LIF(tau_mem=MEM, tau_syn={"exc": SYN, "inh": 2 * SYN, "slow": MEM}, reset="subtract"),
    "alpha": AlphaLIF(tau_mem=MEM, tau_syn=SYN, t_ref=FAST, refractory="block_input"),
    "adaptive": AdaptiveLIF(tau_mem=MEM, tau_syn=SYN, tau_th=3 * MEM, jump_th=0.25),
    "delta": DeltaLIF(tau_mem=MEM, t_ref=2 * FAST, refractory="block_input"),
    "if": IF(bias=3.0, t_ref=FAST, reset="subtract"),
    "charged": IF(input="exp", tau_syn=SYN, t_ref=FAST, refractory="hold_fire"),
    "ramp": IF(input="ramp", bias=2.0, t_ref=FAST),
    "qif": QIF(tau=MEM, bias=0.1, v_reset=-0.5, t_ref=FAST),
}
#: Several at a time take the queue minutes to compile: `pytest -m slow`.
TOGETHER = ("lif", "delta", "if")
ALONE = [(name,) for name in ZOO if name not in TOGETHER]
#: What makes a weight of 1 lift the voltage by about 1.
UNIT = {"alpha": 400.0, "charged": 200.0, "ramp": 5.0}


def same(a, b):
    """Whether two records hold the same bits."""
    return a.undecided == b.undecided and not different(a, b)


def different(a, b):
    """Populations whose spikes differ."""
    columns = ("times", "times_lo", "units")
    return [
        name
        for name in a.spikes
        if any(
            not np.array_equal(getattr(a.spikes[name], x), getattr(b.spikes[name], x))
            for x in columns
        )
    ]


def synapses(rng, n_pre, n_post, kind, sparse, scale=1.5):
    """Weights and delays: one delay, many, on a grid, or none."""
    if sparse:
        weight = scipy.sparse.random_array((n_pre, n_post), density=0.4, rng=rng)
        weight.data = rng.normal(0.3, 1, weight.nnz) * scale
        shape, pattern = weight.nnz, weight.coords
    else:
        weight = rng.normal(0.3, 1, (n_pre, n_post)) * scale
        shape = weight.shape
    delay = {
        "one": lambda: 1e-3,
        "none": lambda: 0.0,
        "many": lambda: rng.uniform(1e-4, 5e-3, shape),
        "grid": lambda: rng.integers(1, 6, shape) * 2.0**-10,
    }[kind]()
    if sparse and np.ndim(delay):
        delay = scipy.sparse.coo_array((delay, pattern), shape=weight.shape)
    return weight, delay


def feed_forward(seed, model, kind, sparse):
    """in -> a -> b, in -> b."""
    rng = np.random.default_rng(seed)
    net = Network()
    net.add_input("in", 25)
    net.add_population("a", 15, model)
    net.add_population("b", 12, model)
    net.connect("in", "a", *synapses(rng, 25, 15, kind, sparse))
    net.connect("a", "b", *synapses(rng, 15, 12, kind, sparse))
    net.connect("in", "b", *synapses(rng, 25, 12, kind, sparse, 1.0))
    times = rng.uniform(0, UNTIL, 300)
    if kind == "grid":
        times = np.floor(times * 2.0**10) * 2.0**-10
    return net, {"in": Spikes(times, rng.integers(0, 25, 300))}


@pytest.mark.parametrize("seed", range(40))
def test_a_steep_rise_in_a_short_time_is_seen_on_every_path(seed):
    """A current of 1e6 to 1e12 thresholds, taken back in the moment in which it has done it."""
    rng = np.random.default_rng(seed)
    d = float(20e-3 * 10.0 ** rng.uniform(-13, -6))
    with mp.workdps(50):
        span, mem, syn = mp.mpf(d), mp.mpf(20e-3), mp.mpf(5e-3)
        gain = syn / (mem - syn) * (mp.exp(-span / mem) - mp.exp(-span / syn))
        over = mp.mpf(10) ** -rng.uniform(3, 12)
        weight = float((1 + over * (-1 if seed % 4 == 0 else 1)) / gain)
        fires = bool(weight * gain >= 1)
    network = Network()
    network.add_input("in", 2)
    network.add_population("n", 1, LIF(tau_mem=20e-3, tau_syn=5e-3))
    network.connect("in", "n", np.array([[weight], [-2 * weight]]))
    inputs = {"in": Spikes([0.0, d], [0, 1])}
    for path in ("sweep", "queue"):
        spikes = simulate(network, inputs, 1e-3, path=path).spikes["n"]
        assert len(spikes) == fires
        assert (spikes.times <= d).all()


@pytest.mark.parametrize("model", ["lif", "driven"])
@pytest.mark.parametrize("kind", ["one", "many", "grid", "none"])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_paths_agree_where_there_is_no_cycle(model, kind, sparse):
    net, inputs = feed_forward(len(model) + len(kind), MODELS[model], kind, sparse)
    for tie in ("spike_first", "arrival_first"):
        sweep = simulate(net, inputs, UNTIL, tie=tie)
        assert len(sweep.spikes["b"]) > 30
        for path in ("window", "queue") if kind != "none" else ("queue",):
            assert same(sweep, simulate(net, inputs, UNTIL, tie=tie, path=path)), (tie, path)


def recurrent(seed, model, kind, sparse):
    """in -> a <-> b, a -> a, b -> out."""
    rng = np.random.default_rng(seed)
    net = Network()
    net.add_input("in", 20)
    net.add_population("a", 20, model)
    net.add_population("b", 15, model)
    net.add_population("out", 5, MODELS["li"])
    ends = [("in", "a"), ("a", "b"), ("b", "a"), ("a", "a"), ("b", "out")]
    for pre, post in ends:
        scale = 1.5 if pre == "in" else 0.5
        net.connect(pre, post, *synapses(rng, net.size(pre), net.size(post), kind, sparse, scale))
    times = rng.uniform(0, UNTIL, 300)
    if kind == "grid":
        times = np.floor(times * 2.0**10) * 2.0**-10
    return net, {"in": Spikes(times, rng.integers(0, 20, 300))}


@pytest.mark.parametrize("model", ["lif", "driven"])
@pytest.mark.parametrize("kind", ["one", "many", "grid"])
@pytest.mark.parametrize("sparse", [False, True])
def test_windows_and_queue_agree_on_cycles(model, kind, sparse):
    net, inputs = recurrent(len(model) * len(kind), MODELS[model], kind, sparse)
    for tie in ("spike_first", "arrival_first"):
        windows = simulate(net, inputs, UNTIL, tie=tie)
        assert len(windows.spikes["a"]) > 30
        assert same(windows, simulate(net, inputs, UNTIL, tie=tie, path="queue"))


def test_delays_of_very_different_sizes_go_by_the_queue():
    """Windows of the shorter delay would need a ring of billions of slots."""
    rng = np.random.default_rng(2)
    net, inputs = recurrent(6, MODELS["lif"], "one", True)
    for pre, delay in (("a", 1e-12), ("b", 5e-3)):
        net.connect(pre, "a", rng.normal(0.3, 0.5, (net.size(pre), 20)), delay, name=pre)
    group = group_of(net, ["a", "b"])
    assert isinstance(run_of(job_of(net, inputs, UNTIL), group, "window"), Instants)
    assert same(simulate(net, inputs, UNTIL), simulate(net, inputs, UNTIL, path="queue"))


def job_of(net, inputs, until):
    return Job(net, dict(inputs), inputs, None, until, False, initial_states(net, None))


@pytest.mark.parametrize("model", ["lif", "driven"])
def test_a_few_short_delays_do_not_narrow_the_windows(model):
    """A chain of short synapses, two from one source, and one without delay."""
    net, inputs = recurrent(9, MODELS[model], "many", True)
    net.connect(
        "a", "a", [2.0, 1.5, -1.0, 3.0, 0.7], [1e-6, 2e-6, 1e-7, 1e-6, 1e-6],
        pre_units=[0, 1, 2, 0, 1], post_units=[1, 2, 3, 4, 2], name="short",
    )  # fmt: skip
    net.connect("b", "a", [1.0], 3e-6, pre_units=[4], post_units=[0], name="one short")
    short, late = short_synapses(group_of(net, ["a", "b"]))
    assert short > 1e-5 and {0, 1, 2, 3, 4} <= set(late.neuron)
    windows = simulate(net, inputs, UNTIL)
    assert same(windows, simulate(net, inputs, UNTIL, path="queue"))
    gone = net.copy()
    del gone.projections["short"]
    assert not same(windows, simulate(gone, inputs, UNTIL))


def herd(seed, names, kind, sparse, cycle):
    """in -> every model; each model -> the next, and on a cycle the last -> the first."""
    rng = np.random.default_rng(seed)
    net = Network()
    net.add_input("in", 25)
    for name in names:
        net.add_population(name, SIZE, ZOO[name])
    pairs = [("in", name) for name in names] + list(itertools.pairwise(names))
    for m, (pre, post) in enumerate(pairs + [(names[-1], names[0])] * cycle):
        scale = UNIT.get(post, 1.0) * (2.0 if pre == "in" else 0.3)
        weight, delay = synapses(rng, net.size(pre), SIZE, kind, sparse, scale)
        net.connect(pre, post, weight, delay, synapse=TYPES[m % 3] if post == "mixed" else None)
    times = rng.uniform(0, UNTIL, 200)
    if kind == "grid":
        times = np.floor(times * 2.0**10) * 2.0**-10
    return net, {"in": Spikes(times, rng.integers(0, 25, 200))}


@pytest.mark.parametrize("kind", ["one", "many", "grid", "none"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("names", [TOGETHER, *ALONE])
def test_every_model_has_the_same_bits_on_every_path(kind, sparse, names):
    net, inputs = herd(3 + len(kind), names, kind, sparse, cycle=False)
    for tie in ("spike_first", "arrival_first"):
        sweep = simulate(net, inputs, UNTIL, tie=tie)
        assert min(len(s) for s in sweep.spikes.values()) > 10
        for path in ("window", "queue") if kind != "none" else ("queue",):
            found = simulate(net, inputs, UNTIL, tie=tie, path=path)
            assert same(sweep, found), (tie, path, different(sweep, found))


@pytest.mark.parametrize("kind", ["one", "many", "grid"])
@pytest.mark.parametrize("names", [pytest.param(TOGETHER, marks=pytest.mark.slow), *ALONE])
def test_every_model_on_a_cycle(kind, names):
    net, inputs = herd(9 + len(kind), names, kind, True, cycle=True)
    rng = np.random.default_rng(5)
    inputs[names[-1]] = evsim.Current(
        np.sort(rng.uniform(0, UNTIL, 20)), rng.normal(0.1, 0.2, (20, SIZE))
    )
    for tie in ("spike_first", "arrival_first"):
        windows = simulate(net, inputs, UNTIL, tie=tie)
        assert min(len(s) for s in windows.spikes.values()) > 10
        found = simulate(net, inputs, UNTIL, tie=tie, path="queue")
        assert same(windows, found), (tie, different(windows, found))


def test_one_value_per_neuron_and_pulses_on_a_cycle():
    rng = np.random.default_rng(6)
    net = Network()
    net.add_input("in", 4)
    model = LIF(tau_mem=rng.uniform(5e-3, 30e-3, 10), tau_syn=5e-3, v_th=rng.uniform(0.5, 1, 10))
    net.add_population("a", 10, model)
    net.connect("in", "a", rng.normal(1, 1, (4, 10)), 1e-3)
    net.connect("a", "a", rng.normal(0.2, 0.5, (10, 10)), 1.5e-3, pulse_width=3e-3)
    inputs = {"in": Spikes(rng.uniform(0, UNTIL, 200), rng.integers(0, 4, 200))}
    windows = simulate(net, inputs, UNTIL)
    assert len(windows.spikes["a"]) > 50
    assert same(windows, simulate(net, inputs, UNTIL, path="queue"))
    scalar = Network()
    scalar.add_population("a", 10, LIF(tau_mem=20e-3, tau_syn=5e-3, bias=1.5))
    scalar.connect("a", "a", np.full((10, 10), -0.1), 1e-3)
    arrays = Network()
    arrays.add_population("a", 10, LIF(tau_mem=np.full(10, 20e-3), tau_syn=5e-3, bias=1.5))
    arrays.connect("a", "a", np.full((10, 10), -0.1), 1e-3)
    start = {"a": {"v": rng.uniform(0, 1, 10)}}
    assert same(
        simulate(scalar, {}, UNTIL, initial=start), simulate(arrays, {}, UNTIL, initial=start)
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["one", "many", "grid"]))
def test_any_cycle(seed, kind):
    net, inputs = recurrent(seed, MODELS["lif"], kind, True)
    assert same(simulate(net, inputs, UNTIL), simulate(net, inputs, UNTIL, path="queue"))


def chain(weights, delay, model):
    """One neuron each in a ring; the first gets one spike at 1."""
    net = Network()
    net.add_input("in", 1)
    names = [f"p{k}" for k in range(len(weights))]
    for name in names:
        net.add_population(name, 1, model)
    net.connect("in", names[0], [[2.0]])
    for pre, post, w in zip(names, names[1:] + names[:1], weights, strict=True):
        net.connect(pre, post, [[w]], delay)
    return net


def test_a_ring_without_delay_fires_at_one_instant():
    net = chain([2.0, 2.0, 2.0], 0.0, IF(t_ref=0.5))
    record = simulate(net, {"in": Spikes([1.0], [0])}, 3.0)
    assert {name: list(s.times) for name, s in record.spikes.items()} == {
        "p0": [1.0], "p1": [1.0], "p2": [1.0],
    }  # fmt: skip


def test_inhibition_at_one_instant_comes_after_the_spikes_that_it_could_prevent():
    """Two neurons, lifted by the same arrival, inhibit one another without delay: both fire."""
    net = Network()
    net.add_input("in", 1)
    net.add_population("p", 2, IF(t_ref=0.5))
    net.connect("in", "p", [[2.0, 2.0]])
    net.connect("p", "p", [[0.0, -5.0], [-5.0, 0.0]])
    record = simulate(net, {"in": Spikes([1.0], [0])}, 3.0)
    assert list(record.spikes["p"].units) == [0, 1] and set(record.spikes["p"].times) == {1.0}


def test_a_cycle_that_never_ends_is_named():
    net = chain([2.0, 2.0], 0.0, IF())
    with pytest.raises(evsim.ZenoError, match=r"neuron 0 of population 'p[01]'.* t = 1"):
        simulate(net, {"in": Spikes([1.0], [0])}, 3.0)
    tame = chain([2.0, 2.0], 1e-3, IF())
    assert len(simulate(tame, {"in": Spikes([1.0], [0])}, 1.1).spikes["p0"]) > 40


def test_a_run_without_spikes_over_a_very_long_time_ends_soon():
    net = Network()
    net.add_input("in", 1)
    net.add_population("p", 3, LIF(tau_mem=20.0, tau_syn=5.0))
    net.connect("in", "p", [[16.0, 16.0, 16.0]])
    net.connect("p", "p", np.zeros((3, 3)), 1e-3)
    record = simulate(net, {"in": Spikes([2.0**20], [0])}, 2.0**20 + 100)
    assert len(record.spikes["p"]) == 9
    gap = record.spikes["p"].times[0] - 2.0**20 + record.spikes["p"].times_lo[0]
    assert gap == pytest.approx(1.5056513095520623548817316, rel=1e-15)


# ------------------------------------------------------------------- pauses


def split(inputs, at):
    """Inputs up to and after a time."""
    early, late = {}, {}
    for name, value in inputs.items():
        before = value.times <= at
        if isinstance(value, evsim.Current):
            early[name] = evsim.Current(value.times[before], value.values[before])
            late[name] = evsim.Current(value.times[~before], value.values[~before])
        else:
            early[name] = Spikes(value.times[before], value.units[before])
            late[name] = Spikes(value.times[~before], value.units[~before])
    return early, late


def in_parts(net, inputs, pauses, path="auto"):
    """A run with pauses."""
    record, left = None, inputs
    for end in [*pauses, UNTIL]:
        now, left = split(left, end)
        record = simulate(net, now, end, path=path, resume=record)
    return record


@pytest.mark.parametrize("kind", ["one", "many"])
@pytest.mark.parametrize("sparse", [False, True])
def test_pauses_do_not_change_a_bit_without_cycles(kind, sparse):
    net, inputs = feed_forward(3, MODELS["lif"], kind, sparse)
    drive = evsim.Current(np.array([0.02, 0.05, 0.11]), np.array([0.5, -0.2, 0.9]))
    for driven in (inputs, inputs | {"a": drive}):
        whole = simulate(net, driven, UNTIL)
        on_a_spike, on_an_input = whole.spikes["a"].times[7], inputs["in"].times[40]
        for pauses in ([0.07], [0.0, 0.03, 0.03, 0.1], [on_a_spike], [on_an_input], [UNTIL]):
            assert same(whole, in_parts(net, driven, pauses)), pauses


@pytest.mark.parametrize("path", ["window", "queue"])
@pytest.mark.parametrize("kind", ["one", "many", "grid"])
def test_pauses_do_not_change_a_bit_on_cycles(path, kind):
    net, inputs = recurrent(4, MODELS["lif"], kind, True)
    whole = simulate(net, inputs, UNTIL, path=path)
    on_a_spike, on_an_input = whole.spikes["a"].times[7], inputs["in"].times[40]
    for pauses in ([0.07], [0.0, 0.03, 0.031, 0.1], [on_a_spike], [on_an_input]):
        assert same(whole, in_parts(net, inputs, pauses, path)), pauses


@pytest.mark.parametrize("path", ["auto", "window", "queue"])
@pytest.mark.parametrize("names", [pytest.param(TOGETHER, marks=pytest.mark.slow), *ALONE])
def test_every_model_can_pause(path, names):
    net, inputs = herd(4, names, "many", False, cycle=path != "auto")
    whole = simulate(net, inputs, UNTIL, path=path)
    on_a_spike = whole.spikes[names[-1]].times[3]
    record = in_parts(net, inputs, sorted([0.04, on_a_spike, 0.11]), path)
    assert same(whole, record), different(whole, record)


def test_the_answer_is_a_whole_run():
    net, inputs = recurrent(5, MODELS["lif"], "many", True)
    whole, record = simulate(net, inputs, UNTIL), in_parts(net, inputs, [0.06])
    t = np.linspace(0, UNTIL, 50)
    assert np.array_equal(whole.voltage("a", 3, t), record.voltage("a", 3, t))
    early, late = split(inputs, 0.06)
    loaded = replace(simulate(net, early, 0.06), final=None)  # as from a file
    assert same(whole, simulate(loaded.network, late, UNTIL, resume=loaded))
    start = {"a": {"v": 0.9}}
    lifted = simulate(net, inputs, UNTIL, initial=start)
    assert not same(whole, lifted)
    loaded = replace(simulate(net, early, 0.06, initial=start), final=None)
    assert same(lifted, simulate(net, late, UNTIL, resume=loaded))
    with pytest.raises(ValueError, match="must come after the end of resume"):
        simulate(net, inputs, UNTIL, resume=loaded)
    both = simulate(net, [early, early], 0.06)
    assert all(same(whole, r) for r in simulate(net, [late, late], UNTIL, resume=both))


def test_what_does_not_fit_is_refused():
    net, inputs = feed_forward(3, MODELS["lif"], "one", False)
    record = simulate(net, inputs, 0.1)
    other, _ = feed_forward(3, MODELS["lif"], "one", False)
    late = {"in": Spikes([0.05, 0.12], [0, 1])}
    for error, words, call in [
        (ValueError, r"inputs\['in'\].times\[0\] must come after the end of resume, 0.1; got 0.05",
         lambda: simulate(net, late, 0.2, resume=record)),
        (ValueError, "another network", lambda: simulate(other, {}, 0.2, resume=record)),
        (ValueError, "before the end of resume", lambda: simulate(net, {}, 0.05, resume=record)),
        (ValueError, "tie='spike_first'",
         lambda: simulate(net, {}, 0.2, resume=record, tie="arrival_first")),
        (ValueError, "initial is for the start",
         lambda: simulate(net, {}, 0.2, resume=record, initial={"a": {"v": 0.1}})),
        (ValueError, "resume has 1 records for 2 samples",
         lambda: simulate(net, [{}, {}], 0.2, resume=record)),
        (TypeError, "resume must be a Record", lambda: simulate(net, {}, 0.2, resume=3)),
    ]:  # fmt: skip
        with pytest.raises(error, match=words):
            call()


@pytest.fixture
def processors(monkeypatch):
    """As many as a test may ask for, however small the network."""
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(sys.modules["evsim.simulate"], "LARGE", 1)


def with_short(kind, sparse):
    """Two populations, with a chain of synapses shorter than a window across both."""
    net, inputs = recurrent(7, MODELS["lif"], kind, sparse)
    net.connect(
        "a", "a", [2.0, 1.5, -1.0, 3.0, 0.7], [1e-6, 2e-6, 1e-7, 1e-6, 1e-6],
        pre_units=[0, 1, 2, 0, 1], post_units=[1, 2, 13, 4, 18], name="short",
    )  # fmt: skip
    net.connect("a", "b", [2.0, 2.0], 2e-6, pre_units=[18, 2], post_units=[14, 0], name="across")
    return net, inputs


@pytest.mark.parametrize("kind", ["one", "many", "grid"])
@pytest.mark.parametrize("sparse", [False, True])
def test_no_division_changes_a_bit(processors, kind, sparse):
    net, inputs = with_short(kind, sparse)
    for tie in ("spike_first", "arrival_first"):
        whole = simulate(net, inputs, UNTIL, tie=tie, threads=1)
        assert len(whole.spikes["a"]) > 50
        for threads in (2, 3, 7):
            assert same(whole, simulate(net, inputs, UNTIL, tie=tie, threads=threads)), threads


def test_more_threads_than_neurons(processors):
    net, inputs = with_short("grid", True)
    whole = simulate(net, inputs, 0.02, threads=1)
    assert same(whole, simulate(net, inputs, 0.02, threads=41))
    assert bounds_of(3, 5).tolist() == [0, 0, 1, 1, 2, 3]
    assert bounds_of(1000, 2).tolist() == [0, 448, 1000]


@pytest.mark.parametrize("kind", ["many", "grid"])
def test_a_pause_may_change_the_division(processors, kind):
    net, inputs = with_short(kind, True)
    whole = simulate(net, inputs, UNTIL, threads=1)
    record, left = None, inputs
    ends = [0.04, whole.spikes["a"].times[9], 0.11, UNTIL]
    for threads, end in zip((2, 1, 3, 2), sorted(ends), strict=True):
        now, left = split(left, end)
        record = simulate(net, now, end, resume=record, threads=threads)
    assert same(whole, record)


def test_what_runs_short_grows_in_every_part(processors):
    """All 900 neurons fire in one window: more than a part's first room for anything."""
    n = 900
    rng = np.random.default_rng(3)
    net = Network()
    net.add_input("in", 1)
    net.add_population("p", n, LIF(tau_mem=20e-3, tau_syn=5e-3, t_ref=1e-3))
    net.connect("in", "p", np.full((1, n), 9.0), 0.0)
    net.connect("p", "p", rng.normal(0.02, 0.1, (n, n)), rng.uniform(1e-3, 3e-3, (n, n)))
    net.connect("p", "p", rng.normal(0.02, 0.1, (n, n)), 2e-3, name="one delay")
    inputs = {"in": Spikes([1e-3, 11e-3], [0, 0])}
    one, two = (simulate(net, inputs, 0.016, threads=k) for k in (1, 2))
    assert len(one.spikes["p"]) > 2 * n and same(one, two)


def test_the_neuron_in_trouble_is_the_same(processors):
    net = Network()
    high = np.isin(np.arange(9), (5, 7))
    model = LIF(tau_mem=20e-3, tau_syn=5e-3, bias=2.0 * high, v_reset=1.5 * high)
    net.add_population("p", 9, model)
    net.connect("p", "p", np.zeros((9, 9)), 1e-3)
    for threads in (1, 2, 4):
        with pytest.raises(evsim.ZenoError, match="neuron 5 of population 'p'"):
            simulate(net, {}, 0.1, threads=threads)


@pytest.mark.parametrize("after", [1.5e-6, 3.5e-6, 2e-5])
def test_a_short_synapse_still_acts_at_the_very_end(after):
    """A spike of the last window, found only there, reaches its target before the run ends."""
    net = Network()
    net.add_population("p", 3, LIF(tau_mem=20e-3, tau_syn=5e-3, bias=[1.3, 0.0, 0.0], t_ref=2e-3))
    net.connect("p", "p", [500.0, 900.0], 1e-6, pre_units=[0, 1], post_units=[1, 2])
    net.connect("p", "p", [0.1], 2e-3, pre_units=[2], post_units=[0], name="long")
    first = simulate(net, {}, 0.1, path="queue").spikes["p"].times[0]
    window, queue = (simulate(net, {}, first + after, path=p) for p in ("window", "queue"))
    assert same(window, queue)
    assert len(window.voltage("p", 1, np.array([first + after]))) == 1
    for name in window.final["p"].books._fields:
        a, b = (getattr(r.final["p"].books, name) for r in (window, queue))
        assert np.array_equal(a, b), name
