"""What `simulate` and its record promise: the same bits on every path, voltages, errors."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.sparse

import evsim
from reference.lif import Neuron
from reference.lif import simulate as oracle

ROOT = Path(__file__).parents[1]
EPS = 2.0**-52
N, M = 5, 6

MODELS = {
    "LIF": (evsim.LIF, {"tau_mem": 10.0, "tau_syn": 4.0}),
    "DeltaLIF": (evsim.DeltaLIF, {"tau_mem": 10.0}),
    "IF": (evsim.IF, {}),
    "LI": (evsim.LI, {"tau_mem": 10.0, "tau_syn": 4.0}),
    "LI without synapse": (evsim.LI, {"tau_mem": 10.0}),
}
OPTIONS = {
    "plain": {},
    "subtract": {"reset": "subtract", "v_reset": -0.25},
    "refractory": {"t_ref": 1.3, "reset": "subtract"},
    "bias below": {"bias": 0.4, "v_leak": 0.1, "t_ref": 0.3},
    "bias above": {"bias": 1.3, "graze": ">"},
}
ALLOWED = {"LI": ("bias", "v_leak"), "LI without synapse": ("bias", "v_leak"), "IF": None}


def model(name, options, per_neuron=False):
    """A model with what it knows of the options, its numbers perhaps one per neuron."""
    cls, needed = MODELS[name]
    known = set(cls.__dataclass_fields__)
    values = needed | {k: v for k, v in options.items() if k in known}
    if name == "IF" and "bias" in values:
        values["bias"] = values["bias"] / 10.0
    if per_neuron:
        values = {k: v if isinstance(v, str) else np.full(N, v) for k, v in values.items()}
    return cls(**values)


def network(neurons, *, form="dense", delay=0.0, pulses=False, scale=1.0, n=N, seed=0):
    """One layer behind one input, its weights in the given form."""
    rng = np.random.default_rng(seed)
    weight = scale * rng.normal(0.5, 1.0, (M, n))
    weight[0, 0] = 0.0
    net = evsim.Network()
    net.add_input("in", M)
    net.add_population("p", n, neurons)
    width = 0.7 if pulses else None
    if form == "sparse":
        pre, post = np.divmod(np.arange(M * n), n)
        matrix = scipy.sparse.coo_array((weight.ravel(), (pre, post)), shape=(M, n))
        net.connect("in", "p", matrix.tocsr(), delay, pulse_width=width)
    elif form == "delays":
        net.connect("in", "p", weight, np.full((M, n), delay), pulse_width=width)
    else:
        net.connect("in", "p", weight, delay, pulse_width=width)
    return net


def trains(count=40, until=30.0, seed=1):
    """Input spikes, some at one instant, one at 0."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0.0, until, count))
    times[0], times[5:8] = 0.0, times[5]
    return evsim.Spikes(times, rng.integers(0, M, count))


def bits(record, name="p"):
    """Everything that a population's spikes say, as bytes."""
    s = record.spikes[name]
    return s.times.tobytes() + s.times_lo.tobytes() + s.units.tobytes()


def traced(record, t, n=N, name="p"):
    """Voltages and currents of a population, as bytes."""
    units = range(n)
    both = [[record.voltage(name, u, t), record.current(name, u, t)] for u in units]
    return np.array(both).tobytes()


# ------------------------------------------------------------------------------ the same bits


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", MODELS)
def test_every_path_gives_the_same_bits(name, option):
    """Scalar or per-neuron numbers, swept or walked, with or without an idle current."""
    inputs, until, t = {"in": trains()}, 31.0, np.linspace(0, 31.0, 57)
    for delay in (0.0, 0.3):
        records = []
        for per_neuron, form in itertools.product((False, True), ("dense", "sparse", "delays")):
            neurons = model(name, OPTIONS[option], per_neuron)
            net = network(neurons, form=form, delay=delay)
            records.append(evsim.simulate(net, inputs, until))
        idle = evsim.Current([], np.zeros((0, N)))
        net = network(model(name, OPTIONS[option]), delay=delay)
        records.append(evsim.simulate(net, inputs | {"p": idle}, until))
        assert len({bits(r) for r in records}) == 1
        assert len({traced(r, t) for r in records}) == 1
        assert len({str(r.undecided) for r in records}) == 1
        if not name.startswith("LI "):
            assert len(records[0].spikes["p"]) > 10 or name == "LI"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("drive", ["current", "pulses", "both"])
def test_driven_paths_give_the_same_bits(name, drive):
    rng = np.random.default_rng(5)
    inputs = {"in": trains()}
    if drive != "pulses":
        # A step at the time of an input spike, and two at one time.
        times = np.sort([0.0, 3.0, inputs["in"].times[20], 17.0, 17.0])
        inputs["p"] = evsim.Current(times, rng.normal(0.1, 0.3, (5, N)))
    records = []
    for per_neuron, form in itertools.product((False, True), ("dense", "sparse", "delays")):
        neurons = model(name, OPTIONS["refractory"], per_neuron)
        pulses = drive != "current"
        net = network(neurons, form=form, delay=0.3, pulses=pulses, scale=6.0 if pulses else 1.0)
        records.append(evsim.simulate(net, inputs, 31.0))
    assert len({bits(r) for r in records}) == 1
    t = np.linspace(0, 31.0, 57)
    assert len({traced(r, t) for r in records}) == 1
    if "LI" not in name.replace("LIF", ""):
        assert len(records[0].spikes["p"]) > 3


@pytest.mark.parametrize("name", ["LIF", "DeltaLIF", "IF"])
def test_a_row_of_one_value_is_one_value_for_all(name):
    net = network(model(name, {}))
    one = evsim.simulate(net, {"in": trains(), "p": evsim.Current([1.0, 9.0], [0.3, 0.1])}, 31.0)
    rows = evsim.Current([1.0, 9.0], np.repeat([[0.3], [0.1]], N, axis=1))
    assert bits(one) == bits(evsim.simulate(net, {"in": trains(), "p": rows}, 31.0))


def test_no_thread_no_split_and_no_order_of_a_batch_changes_a_bit():
    net = network(model("LIF", OPTIONS["refractory"]))
    samples = [{"in": trains(seed=k)} for k in range(7)]
    alone = [bits(evsim.simulate(net, sample, 31.0)) for sample in samples]
    assert len(set(alone)) == 7
    for threads in (1, 2, 4, None):
        assert [bits(r) for r in evsim.simulate(net, samples, 31.0, threads=threads)] == alone
    backwards = evsim.simulate(net, samples[::-1], 31.0, threads=2)
    assert [bits(r) for r in backwards] == alone[::-1]
    assert [bits(r) for r in evsim.simulate(net, tuple(samples[2:5]), 31.0)] == alone[2:5]
    assert evsim.simulate(net, [], 31.0) == []


@pytest.mark.parametrize("name", MODELS)
def test_a_run_cut_short_has_the_same_bits_before(name):
    net = network(model(name, OPTIONS["bias above"] | {"t_ref": 0.5}))
    whole = evsim.simulate(net, {"in": trains()}, 31.0)
    for until in (0.0, 3.7, trains().times[11], 20.0):
        part = evsim.simulate(net, {"in": trains()}, until)
        a, b = whole.spikes["p"], part.spikes["p"]
        k = len(b)
        assert (b.times <= until).all() and (k == len(a) or a.times[k] > until)
        assert a.times[:k].tobytes() == b.times.tobytes()
        assert a.times_lo[:k].tobytes() == b.times_lo.tobytes()
        assert (a.units[:k] == b.units).all()
        t = np.linspace(0.0, until, 9)
        assert traced(whole, t) == traced(part, t)
        assert part.until == until


def test_many_spikes_outgrow_every_log():
    """Logs begin small and grow in the middle of an event; the bits stay."""
    few = network(model("LIF", {"t_ref": 0.01}), seed=3)
    inputs = {"in": trains(), "p": evsim.Current([0.5], [80.0])}
    many = evsim.simulate(few, inputs, 31.0)
    assert len(many.spikes["p"]) > 1000  # room for 256 at first
    walked = network(model("LIF", {"t_ref": 0.01}), form="sparse", seed=3)
    assert bits(many) == bits(evsim.simulate(walked, inputs, 31.0))
    assert np.isfinite(many.voltage("p", 0, np.linspace(0, 31, 50))).all()


def test_reading_voltages_changes_nothing():
    net = network(model("LIF", OPTIONS["refractory"]), form="sparse")
    record = evsim.simulate(net, {"in": trains()}, 31.0)
    before, t = bits(record), np.linspace(0, 31, 40)
    v = record.voltage("p", 2, t)
    fine = np.linspace(0, 31, 4001)
    more = record.voltage("p", 2, fine)
    assert bits(record) == before and bits(evsim.simulate(net, {"in": trains()}, 31.0)) == before
    backwards = record.voltage("p", 2, t[::-1].reshape(8, 5))
    assert backwards.shape == (8, 5) and backwards.ravel()[::-1].tobytes() == v.tobytes()
    assert more[::100].tobytes() == record.voltage("p", 2, fine[::100]).tobytes()
    assert record.voltage("p", 2, 3.0).shape == ()


# ----------------------------------------------------------------------------------- voltages


def true_state(p, arrivals, spikes, until, initial=(0.0, 0.0)):
    """(v, i) just after everything up to `until`, by mpmath, the spikes being given."""
    rest = mpmath.mpf(p.get("v_leak", 0.0)) + mpmath.mpf(p.get("bias", 0.0))
    m, s = mpmath.mpf(p["tau_mem"]), mpmath.mpf(p["tau_syn"])
    v, i, t, free = mpmath.mpf(initial[0]), mpmath.mpf(initial[1]), mpmath.mpf(0), mpmath.mpf(0)
    events = [(mpmath.mpf(a), 1, mpmath.mpf(w)) for a, w in arrivals]
    events += [(mpmath.mpf(hi) + mpmath.mpf(lo), 0, None) for hi, lo in spikes]
    for when, _, weight in [*sorted(events, key=lambda e: e[:2]), (mpmath.mpf(until), 2, 0)]:
        if when > until:
            continue
        start = min(max(free, t), when)  # clamped until then
        i_start, d = i * mpmath.exp(-(start - t) / s), when - start
        if m == s:
            gain = d / m * mpmath.exp(-d / m)
        else:
            gain = s / (m - s) * (mpmath.exp(-d / m) - mpmath.exp(-d / s))
        v = rest + (v - rest) * mpmath.exp(-d / m) + i_start * gain
        i, t = i * mpmath.exp(-(when - t) / s), when
        if weight is None:
            v, free = mpmath.mpf(p.get("v_reset", 0.0)), when + mpmath.mpf(p.get("t_ref", 0.0))
        else:
            i += weight
    return v, i


@pytest.mark.parametrize("tau_syn", [4.0, 10.0, 10.0 * (1 + 1e-9), 25.0])
@pytest.mark.parametrize("t_ref", [0.0, 1.3])
def test_voltages_are_those_of_the_equation(tau_syn, t_ref):
    values = {"tau_mem": 10.0, "tau_syn": tau_syn, "v_leak": 0.1, "bias": 0.2, "t_ref": t_ref}
    net = network(evsim.LIF(v_reset=-0.3, **values), form="sparse")
    start = {"p": {"v": np.linspace(-1, 0.5, N), "i": 0.3}}
    record = evsim.simulate(net, {"in": trains()}, 31.0, initial=start)
    weight, train = network(evsim.LIF(**values)).projections["in->p"].weight, trains()
    t = np.random.default_rng(6).uniform(0.0, 31.0, 30)
    for unit in range(N):
        arrivals = list(zip(train.times, weight[train.units, unit], strict=True))
        mine = record.spikes["p"].units == unit
        spikes = list(zip(record.spikes["p"].times[mine], record.spikes["p"].times_lo[mine],
                          strict=True))  # fmt: skip
        v, i = record.voltage("p", unit, t), record.current("p", unit, t)
        with mpmath.workdps(40):
            for k, when in enumerate(t):
                begin = (start["p"]["v"][unit], 0.3)
                truth = true_state(values | {"v_reset": -0.3}, arrivals, spikes, when, begin)
                # Each of the events rounds its state by a few eps of all that has arrived.
                allowed = 8 * EPS * len(arrivals) * (2.0 + np.abs(weight[:, unit]).sum())
                assert abs(v[k] - truth[0]) <= allowed, (unit, when)
                assert abs(i[k] - truth[1]) <= allowed, (unit, when)
    assert len(record.spikes["p"]) > 5


@pytest.mark.parametrize("name", ["LIF", "DeltaLIF", "IF"])
def test_voltages_reach_threshold_at_spikes_and_are_continuous_elsewhere(name):
    """Left limits at crossings are v_th; between events nothing jumps."""
    bias = {"bias": 3.0, "t_ref": 0.7, "v_th": 1.0, "v_reset": -0.5}
    net = network(model(name, bias), seed=4)
    train = trains()
    record = evsim.simulate(net, {"in": train}, 31.0)
    # |dv/dt| is at most (|i| + |bias| + |v|)/tau.
    spikes, slope = record.spikes["p"], 0.1 * (np.abs(net.projections["in->p"].weight).sum() + 5)
    crossings = 0
    for t, unit in zip(spikes.times, spikes.units, strict=True):
        if np.abs(train.times - t).min() > 1e-6 or name == "LIF":
            crossings += 1
            h = 1e-9
            left, right = record.voltage("p", int(unit), [t - h, t + 2 * math.ulp(t)])
            assert abs(left - 1.0) <= slope * h + 1e-13, (unit, t)
            assert right == -0.5  # clamped
    assert crossings > 4
    events = np.concatenate([spikes.times, spikes.times + 0.7, train.times])
    for t in np.random.default_rng(7).uniform(0.1, 30.0, 40):
        if np.abs(events - t).min() > 1e-5:
            for unit in range(N):
                a, b = record.voltage("p", unit, [t, t + 1e-7])
                assert abs(b - a) <= slope * 1e-7 + 1e-13


def test_a_voltage_at_a_jump_is_its_right_limit():
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.DeltaLIF(tau_mem=10.0))
    net.connect("in", "p", [[0.75]])
    record = evsim.simulate(net, {"in": evsim.Spikes([1.0, 2.0], [0, 0])}, 3.0)
    v = record.voltage("p", 0, [0.0, np.nextafter(1.0, 0.0), 1.0, np.nextafter(2.0, 0.0), 2.0, 3.0])
    assert v[:3].tolist() == [0.0, 0.0, 0.75] and v[3] == pytest.approx(0.75 * math.exp(-0.1))
    assert v[4:].tolist() == [0.0, 0.0]
    assert record.current("p", 0, [0.5, 1.5]).tolist() == [0.0, 0.0]


def closed_li(t, times, weights, m, s):
    """Leaky integrator from rest by its closed form, and its synaptic current."""
    v = i = mpmath.mpf(0)
    for a, w in zip(times, weights, strict=True):
        d = mpmath.mpf(t) - mpmath.mpf(a)
        if d >= 0:
            es, em = (mpmath.exp(-d / x) for x in (s, m))
            v += w * (d / m * em if m == s else s / (mpmath.mpf(m) - s) * (em - es))
            i += w * es
    return v, i


@pytest.mark.parametrize("m, s", [(10.0, 4.0), (4.0, 10.0), (7.0, 7.0)])
def test_a_leaky_integrator_is_the_sum_of_its_responses(m, s):
    net = network(evsim.LI(tau_mem=m, tau_syn=s), form="sparse")
    train = trains()
    record = evsim.simulate(net, {"in": train}, 31.0)
    weight = network(evsim.LI(tau_mem=m)).projections["in->p"].weight[:, 1][train.units]
    assert len(record.spikes["p"]) == 0 and record.undecided == []
    t = np.linspace(0.0, 31.0, 23)
    v, i = record.voltage("p", 1, t), record.current("p", 1, t)
    with mpmath.workdps(40):
        for k, when in enumerate(t):
            allowed = 8 * EPS * np.abs(weight).sum()
            truth = closed_li(when, train.times, weight, m, s)
            assert abs(v[k] - truth[0]) <= allowed and abs(i[k] - truth[1]) <= allowed


# -------------------------------------------------------------- initial states, steps, pulses


def compare(record, truth, unit=0, name="p"):
    """The oracle's spikes, each within the bound that carries the whole run."""
    spikes = record.spikes[name]
    mine = spikes.units == unit
    assert mine.sum() == len(truth.spikes)
    for hi, lo, spike in zip(spikes.times[mine], spikes.times_lo[mine], truth.spikes, strict=True):
        error = abs((hi - spike.hi) + (lo - spike.lo))
        assert error <= 2.5 * spike.bound + 2.0**-104 * spike.hi
    return len(truth.spikes)


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("kind", ["cuba", "delta", "if"])
def test_initial_states_are_where_a_run_begins(kind, reset):
    common = {"v_reset": -0.2, "t_ref": 0.4, "bias": 0.13, "reset": reset}
    cls, taus = {
        "cuba": (evsim.LIF, {"tau_mem": 10.0, "tau_syn": 4.0, "v_leak": -0.25}),
        "delta": (evsim.DeltaLIF, {"tau_mem": 10.0, "v_leak": 1.5}),
        "if": (evsim.IF, {}),
    }[kind]
    starts = [0.5, 1.0, 1.75]  # below, at and above threshold
    net = evsim.Network()
    net.add_population("p", 3, cls(**taus, **common))
    given = {"v": starts} | ({"i": 6.0} if kind == "cuba" else {})
    record = evsim.simulate(net, {}, 20.0, initial={"p": given})
    net.add_population("q", 3, cls(**taus, **common), initial=given)
    same = evsim.simulate(net, {}, 20.0)
    assert bits(record) == bits(same, "q") != bits(same, "p")
    neuron, total = Neuron(model=kind, **taus, **common), 0
    for unit, v in enumerate(starts):
        total += compare(record, oracle(neuron, [], 20.0, initial=(v, given.get("i", 0.0))), unit)
    assert total > 4 and record.voltage("p", 0, 0.0) == 0.5


def test_a_subtraction_keeps_106_bits():
    """v_th - v_reset is 1 - 2**-60: from 2, one subtraction leaves 1 + 2**-60, above 1."""
    neurons = evsim.IF(reset="subtract", v_reset=2.0**-60, graze=">")
    for n in (neurons, evsim.IF(**{**vars(neurons), "v_th": [1.0]})):
        net = evsim.Network()
        net.add_population("p", 1, n)
        record = evsim.simulate(net, {}, 1.0, initial={"p": {"v": 2.0}})
        assert len(record.spikes["p"]) == 2 and record.undecided == []


def test_an_inexact_wait_is_no_exact_tie():
    """1 + 0.2 is no double: the third spike is at 20 + 2.2e-16, and 20 is in doubt."""
    neurons = evsim.IF(v_reset=-0.2, t_ref=0.4, bias=0.125)
    net = evsim.Network()
    net.add_population("p", 1, neurons)
    record = evsim.simulate(net, {}, 20.0, initial={"p": {"v": 1.0}})
    assert [kind for *_, kind in record.undecided] == ["tie"]


def test_what_simulate_is_not_told_keeps_the_start_of_the_population():
    net = evsim.Network()
    neurons = evsim.LI(tau_mem=10.0, tau_syn=5.0)
    net.add_population("p", 1, neurons, initial={"v": 0.25, "i": 2.0})
    record = evsim.simulate(net, {}, 1.0, initial={"p": {"v": 0.5}})
    assert (record.voltage("p", 0, 0.0), record.current("p", 0, 0.0)) == (0.5, 2.0)


@pytest.mark.parametrize("kind", ["cuba", "delta", "if"])
def test_pulses_are_two_steps_of_current(kind):
    """A pulse into `v` (delta, if) is a step up and one down; into `i` it is that, filtered."""
    common = {"v_reset": -0.2, "t_ref": 0.4, "bias": 0.125}
    times, heights, width = [1.0, 1.5, 9.0], [12.0, -0.75, 8.0], 4.0
    cls, taus = {
        "cuba": (evsim.LIF, {"tau_mem": 10.0, "tau_syn": 1e-6}),
        "delta": (evsim.DeltaLIF, {"tau_mem": 10.0}),
        "if": (evsim.IF, {}),
    }[kind]
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("p", 1, cls(**taus, **common))
    net.connect("in", "p", np.array(heights)[:, None], pulse_width=width)
    record = evsim.simulate(net, {"in": evsim.Spikes(times, range(3))}, 20.0)
    rises = list(zip(times, heights, strict=True))
    changes = sorted(rises + [(t + width, -h) for t, h in rises])
    steps = tuple((t, sum(h for s, h in changes if s <= t)) for t, _ in changes)
    neuron = Neuron(model="delta" if kind == "cuba" else kind, **{"tau_mem": 10.0}, **common,
                    current=steps)  # fmt: skip
    truth = oracle(neuron, [], 20.0)
    if kind == "cuba":  # the synapse delays every step by tau_syn
        assert len(record.spikes["p"]) == len(truth.spikes) > 2
        shifts = record.spikes["p"].times - [s.hi for s in truth.spikes]
        assert 0.5e-6 < shifts.min() and shifts.max() < 20e-6
    else:
        assert compare(record, truth) > 2
    stepped = evsim.Network()
    stepped.add_population("p", 1, cls(**taus, **common))
    current = evsim.Current([t for t, _ in steps], [x for _, x in steps])
    driven = evsim.simulate(stepped, {"p": current}, 20.0)
    assert compare(driven, oracle(Neuron(model=kind, **({"tau_mem": 10.0} | taus), **common,
                                         current=steps), [], 20.0)) > 2  # fmt: skip


def test_the_current_of_a_pulse_is_what_the_synapse_carries():
    net = evsim.Network()
    net.add_input("in", 1)
    for name, tau in (("p", 5.0), ("jumps", None)):
        net.add_population(name, 1, evsim.LI(tau_mem=10.0, tau_syn=tau))
        net.connect("in", name, [[2.0]], pulse_width=4.0)
    record = evsim.simulate(net, {"in": evsim.Spikes([1.0], [0])}, 9.0)
    t = np.array([0.5, 1.0, 3.0, 5.0, 8.0])
    top = 2.0 * -math.expm1(-4.0 / 5.0)
    expected = [0.0, 0.0, 2.0 * -math.expm1(-0.4), top, top * math.exp(-0.6)]
    assert np.abs(record.current("p", 0, t) - expected).max() <= 8 * EPS * 2
    assert record.current("jumps", 0, t).tolist() == [0.0] * 5
    v = record.voltage("jumps", 0, [5.0, 8.0])
    top = 2.0 * -math.expm1(-0.4)
    assert np.abs(v - [top, top * math.exp(-0.3)]).max() <= 8 * EPS * 2


def test_a_chain_of_layers_is_its_layers_one_by_one():
    rng = np.random.default_rng(2)
    net = evsim.Network()
    net.add_input("in", M)
    shapes = {"in": M, "a": 5, "b": 4, "out": 2}
    layers = {"a": model("LIF", {}), "b": model("DeltaLIF", {}), "out": model("LI", {})}
    weights = {}
    for pre, post in itertools.pairwise(shapes):
        net.add_population(post, shapes[post], layers[post])
        weights[post] = rng.normal(0.9, 0.5, (shapes[pre], shapes[post]))
        net.connect(pre, post, weights[post], delay=0.25)
    skip = rng.normal(0.0, 1.0, (M, 4))
    net.connect("in", "b", skip)
    whole = evsim.simulate(net, {"in": trains()}, 31.0)
    assert list(whole.spikes) == ["a", "b", "out"]
    for pre, post in itertools.pairwise(shapes):
        alone = evsim.Network()
        alone.add_input(pre, shapes[pre])
        alone.add_population(post, shapes[post], layers[post])
        alone.connect(pre, post, weights[post], delay=0.25)
        inputs = {pre: whole.spikes.get(pre, trains())}
        if post == "b":
            alone.add_input("in", M)
            alone.connect("in", "b", skip)
            inputs["in"] = trains()
        record = evsim.simulate(alone, inputs, 31.0)
        assert bits(record, post) == bits(whole, post)
        t = np.linspace(0, 31, 11)
        assert traced(record, t, shapes[post], post) == traced(whole, t, shapes[post], post)
    assert min(len(whole.spikes["a"]), len(whole.spikes["b"])) > 5
    assert repr(whole).startswith("Record(until=31.0, spikes={a: ")


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "error, words, inputs, until, options",
    [
        (ValueError, r"inputs\['nobody'\] is none of in, p", {"nobody": trains()}, 1.0, {}),
        (TypeError, r"inputs\['in'\] must be Spikes; got list", {"in": [1.0]}, 1.0, {}),
        (TypeError, "must be a Current; got Spikes", {"p": trains()}, 1.0, {}),
        (TypeError, "inputs must be a dict, or a list of dicts; got Spikes", trains(), 1.0, {}),
        (TypeError, "inputs must be a dict, or a list of dicts; got int", [{}, 3], 1.0, {}),
        (ValueError, r"inputs\['in'\].units\[1\] must lie in 0..5; got 6",
         {"in": evsim.Spikes([0, 1], [0, 6])}, 1.0, {}),
        (ValueError, "current of 'p' has 3 columns for 5 neurons",
         {"p": evsim.Current([0.0], np.ones((1, 3)))}, 1.0, {}),
        (ValueError, "until must be finite and non-negative; got -1", {}, -1.0, {}),
        (ValueError, "until must be finite and non-negative; got nan", {}, math.nan, {}),
        (ValueError, "until must be finite and non-negative; got inf", {}, math.inf, {}),
        (TypeError, "until must be a number; got '1'", {}, "1", {}),
        (TypeError, "until must be a number; got True", {}, True, {}),
        (TypeError, "until must be a number; got None", {}, None, {}),
        (ValueError, "tie must be one of 'spike_first', 'arrival_first'; got 'x'", {}, 1.0,
         {"tie": "x"}),
        (ValueError, "threads must be a positive integer; got 0", [{}], 1.0, {"threads": 0}),
        (ValueError, "threads must be a positive integer; got 1.5", [{}], 1.0, {"threads": 1.5}),
        (ValueError, r"initial\['q'\] is not a population", {}, 1.0, {"initial": {"q": {}}}),
        (ValueError, r"initial\['in'\] is not a population", {}, 1.0, {"initial": {"in": {}}}),
        (TypeError, r"initial\['p'\] must be a dict", {}, 1.0, {"initial": {"p": 0.5}}),
        (ValueError, r"initial\['p'\] has no variable 'u'", {}, 1.0, {"initial": {"p": {"u": 1}}}),
        (ValueError, r"initial\['p'\] has no variable 'i'", {}, 1.0, {"initial": {"p": {"i": 1}}}),
        (ValueError, r"initial\['p'\]\['v'\] must be finite, .* shape \(5,\)", {}, 1.0,
         {"initial": {"p": {"v": [0.0, 1.0]}}}),
        (ValueError, r"initial\['p'\]\['v'\] must be finite", {}, 1.0,
         {"initial": {"p": {"v": math.nan}}}),
    ],
)  # fmt: skip
def test_bad_runs_are_refused(error, words, inputs, until, options):
    net = network(model("DeltaLIF", {}))
    with pytest.raises(error, match=words):
        evsim.simulate(net, inputs, until, **options)


@pytest.mark.parametrize(
    "error, words, arguments",
    [
        (ValueError, r"one row per time; got shapes \(2,\) and \(1,\)", ([0, 1], [1.0])),
        (ValueError, "one row per time", (0.0, 1.0)),
        (ValueError, "finite, non-negative and ascending", ([1, 0], [1.0, 1.0])),
        (ValueError, "finite, non-negative and ascending", ([-1, 0], [1.0, 1.0])),
        (ValueError, r"values\[1, 0\] must be finite; got nan", ([0, 1], [[1.0], [math.nan]])),
        (TypeError, "times must be integers", ([0.5], [1.0], 0.1)),
        (ValueError, "dt must be positive", ([1], [1.0], 0)),
    ],
)
def test_bad_currents_are_refused(error, words, arguments):
    with pytest.raises(error, match=words):
        evsim.Current(*arguments)


def test_currents_on_a_grid_meet_spikes_on_it():
    """Step 3 of 0.1 is one instant, in whichever form it is given."""
    net = network(model("IF", {}))
    train = evsim.Spikes.on_grid([3, 7], [1, 2], 0.1)
    a = evsim.simulate(net, {"in": train, "p": evsim.Current([3], [0.5], dt=0.1)}, 9.0)
    times = evsim.Current([3], [0.5], dt=0.1).pairs()
    assert (times[0][0], times[1][0]) == (train.times[0], train.times_lo[0])
    assert a.voltage("p", 0, 0.3) == a.voltage("p", 0, 0.3)


@pytest.mark.parametrize(
    "words, read",
    [
        ("'in' is not a population; there are p", lambda r: r.voltage("in", 0, 0.5)),
        (r"unit must lie in 0..4; got 5", lambda r: r.voltage("p", 5, 0.5)),
        (r"unit must lie in 0..4; got -1", lambda r: r.current("p", -1, 0.5)),
        (r"t must lie in \[0, 1.0\]; got 1.5", lambda r: r.voltage("p", 0, [0.5, 1.5])),
        (r"t must lie in \[0, 1.0\]; got -0.5", lambda r: r.voltage("p", 0, [[-0.5]])),
        (r"got nan", lambda r: r.voltage("p", 0, math.nan)),
    ],
)
def test_bad_readings_are_refused(words, read):
    record = evsim.simulate(network(model("DeltaLIF", {})), {}, 1.0)
    with pytest.raises(ValueError, match=words):
        read(record)


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_a_neuron_that_fires_for_ever_is_named(form):
    v_reset = np.where(np.arange(N) == 3, 1.0, 0.0)
    net = network(evsim.DeltaLIF(tau_mem=10.0, v_reset=v_reset), form=form)
    with pytest.raises(evsim.ZenoError, match=r"neuron 3 of population 'p' .* at t = "):
        evsim.simulate(net, {"in": trains()}, 31.0)
    with pytest.raises(evsim.ZenoError, match="neuron 3"):
        evsim.simulate(net, [{"in": trains(seed=k)} for k in range(3)], 31.0, threads=2)


def test_a_refractory_period_stops_a_neuron_from_firing_for_ever():
    net = network(evsim.DeltaLIF(tau_mem=10.0, v_reset=1.25, t_ref=1.0), n=1)
    spikes = evsim.simulate(net, {"in": trains()}, 31.0).spikes["p"]
    assert len(spikes) > 10 and np.abs(spikes.intervals(0) - 1.0).max() < 1e-15


def test_the_network_of_a_record_is_a_copy():
    net = network(model("LIF", {}))
    record = evsim.simulate(net, {"in": trains()}, 31.0)
    v = record.voltage("p", 0, 30.0)
    net.connect("in", "p", np.full((M, N), 5.0), name="later")
    assert record.voltage("p", 0, 30.0) == v and list(record.network.projections) == ["in->p"]


# -------------------------------------------------------------------------------- interpreted


@pytest.mark.skipif("EVSIM_INNER" in os.environ, reason="runs this file itself")
def test_the_engine_runs_interpreted():
    """Without compilation the same source passes the same tests."""
    files = ["tests/test_undecided.py", "tests/test_simulate.py"]
    quick = "test_undecided or row_of or initial or pulse or jump or leaky or bad or cut_short"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *files, "-k", quick],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "EVSIM_INNER": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout
