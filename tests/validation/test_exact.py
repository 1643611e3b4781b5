"""Twins against the exact solution: layers whose solution is known in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest

import evsim
from validation import exact
from validation.currents import Inputs
from validation.declared import Source, declare
from validation.evtrace_reader import Recording

F32 = np.float32
EPS = np.finfo(float).eps


def one_layer(synth, model, x, params=(), semantics=()):
    """A layer that was driven by the currents `x` [T, B, N]."""
    net = synth.network([model], sizes=[1, x.shape[2]], shape=x.shape[:2], bias=False,
                        params=params, semantics=semantics)  # fmt: skip
    manifest, arrays = synth.play(net, {0: {"x": lambda _: x.astype(F32)}})
    return declare(Recording("m", manifest, arrays), "l0", None)


def steady(n_steps, currents):
    return np.broadcast_to(np.asarray(currents, float), (n_steps, 1, len(currents)))


# ---------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("model", ["sinabs.LIF", "spikingjelly.LIFNode", "norse.LIFBoxCell"])
def test_a_steady_current_gives_the_textbook_period(synth, model):
    # tau ln((I - v_reset)/(I - theta)), over and over, from v_reset on.
    currents = np.linspace(1.3, 3.0, 64).astype(F32).astype(float)
    v_reset = 0.25 if model == "norse.LIFBoxCell" else 0.0
    params = {"v_reset": v_reset} if v_reset else {}
    d = one_layer(synth, model, steady(200, currents), params, {"reset": "value"})
    tau = {
        "sinabs.LIF": 8.0,
        "spikingjelly.LIFNode": 4.0,
        "norse.LIFBoxCell": 1.0 / (float(F32(150.0)) * 1e-3),
    }[model]
    solution = exact.solve_alone(d, 1)
    times, units = solution.trains(0)
    for n, current in enumerate(currents):
        mine = times[units == n]
        first = tau * math.log(current / (current - 1.0))
        period = tau * math.log((current - v_reset) / (current - 1.0))
        k = np.arange(len(mine))
        # The voltage is right to a few roundings of the current; the slope makes that a time.
        slope = (current - 1.0) / tau
        allowed = (8 * EPS * current / slope + 8 * EPS * 200) * (k + 1)
        # float32 holds the time constant of sinabs: alpha is a rounding of exp(-1/tau).
        allowed = allowed + (k + 1) * period * 2.0**-22
        assert (np.abs(mine - (first + k * period)) <= allowed).all()
        assert len(mine) == 1 + math.floor((200.0 - first) / period)


@pytest.mark.parametrize("model", ["sinabs.IAF", "spikingjelly.IFNode"])
def test_exact_ramps_give_exact_times_and_the_same_steps(synth, model):
    # 1/8 a step reaches 1 after 8 steps exactly; soft resets keep the rest.
    params = {"min_v_mem": -9.0} if model == "sinabs.IAF" else {}
    ramps = [0.125, 0.25, 0.375, 0.625, 0.875]
    d = one_layer(synth, model, steady(64, ramps), params, {"reset": "subtract"})
    solution = exact.solve_alone(d, 1)
    truth = exact.compare(d.spikes, solution)
    times, units = solution.trains(0)
    for n, ramp in enumerate(ramps):
        k = np.arange(1, math.floor(64 * ramp) + 1)
        assert np.abs(times[units == n] - k / ramp).max() <= 64 * 4 * EPS
    assert truth.n_recorded == truth.n_exact == sum(math.floor(64 * r) for r in ramps)
    assert truth.same_steps and truth.n_diverged == 0 and truth.divergence == math.inf
    # A recorded spike is stamped at the end of its step: between nought and one step late.
    assert truth.time_error.min() >= -64 * 4 * EPS and truth.time_error.max() < 1.0
    assert truth.n_trains == len(ramps)


def test_the_time_error_of_the_first_spike_is_what_rounding_up_makes(synth):
    currents = np.linspace(1.3, 3.0, 64)
    d = one_layer(synth, "sinabs.LIF", steady(60, currents), (), {"reset": "value"})
    firsts = 8.0 * np.log(currents / (currents - 1.0))
    truth = exact.compare(d.spikes, exact.solve_alone(d, 1))
    recorded = exact.trains_of(d.spikes[:, 0])
    late = [recorded[0][recorded[1] == n][0] - firsts[n] for n in range(64)]
    assert np.abs(np.array(late) - (np.ceil(firsts) - firsts)).max() < 1e-4
    assert truth.divergence < math.inf  # a hard reset loses the overshoot, again and again


# ---------------------------------------------------------------------- convergence


@pytest.mark.parametrize(
    "model, params",
    [
        ("sinabs.LIF", {}),
        ("spikingjelly.LIFNode", {"tau": 12.0}),
        ("norse.LIFBoxCell", {"tau_mem_inv": 60.0}),
        ("snntorch.Leaky", {"beta": 0.92}),
        ("norse.LIFCell", {"tau_mem_inv": 60.0, "tau_syn_inv": 90.0}),
    ],
)
def test_first_spikes_converge_with_order_one(synth, model, params):
    # Rounding a time up to a grid errs uniformly in one step: its mean over n trains is known to
    # 1/sqrt(3 n), relatively, so its binary logarithm to 0.83/sqrt(n) and the slope of four
    # points to 0.83/sqrt(5 n). Four such deviations; an Euler leak adds another first-order error
    # of one sign, which may cancel part of the first, and its second order at the coarse step.
    n = 256
    gain = {"snntorch.Leaky": 0.08, "norse.LIFCell": 0.5}.get(model, 1.0)
    d = one_layer(synth, model, steady(40, gain * np.linspace(1.6, 4.0, n)), params)
    found = exact.order(d, exact.solve_alone(d, 1))
    sure = 4 * 0.83 / math.sqrt(5 * n)
    euler = 0.0 if model in ("sinabs.LIF", "snntorch.Leaky") else 0.15
    assert abs(found - 1.0) <= sure + euler


def test_few_trains_have_no_order(synth):
    d = one_layer(synth, "sinabs.LIF", steady(40, np.linspace(1.6, 3.0, exact.LEAST - 1)))
    assert math.isnan(exact.order(d, exact.solve_alone(d, 1)))


def test_the_subthreshold_error_of_euler_is_first_order_and_of_exp_none(synth):
    currents = steady(40, np.linspace(0.3, 0.9, 8))
    for model, params, expected in [
        ("sinabs.LIF", {}, 0.0),
        ("spikingjelly.LIFNode", {"tau": 8.0}, 0.9 * (math.exp(-1.0) - (1 - 1 / 8) ** 8)),
    ]:
        d = one_layer(synth, model, currents, params)
        v_pre = d.run().v_pre[:, 0]
        neurons = np.arange(8)
        error = exact.voltage_error(v_pre, exact.solve_alone(d, 1), neurons)
        steps = np.arange(1, 41)
        largest = 0.9 * np.abs(np.exp(-steps / 8) - (1 - 1 / 8) ** steps).max()
        if expected:
            assert abs(error - largest) < 1e-5 and error >= expected - 1e-5
        else:
            assert error < 40 * 2.0**-23  # float32, rounding by rounding


# ---------------------------------------------------------------------- comparison of trains


def truth_of(counts, times, units):
    spikes = type("S", (), {"times": np.asarray(times, float), "units": np.asarray(units)})
    record = type("R", (), {"spikes": {"layer": spikes}, "undecided": [1, 2]})
    counts = np.asarray(counts)
    return exact.compare(counts, exact.Solution([record], None, counts.shape[2]))


def test_divergence_counts_and_pairing():
    counts = np.zeros((10, 1, 3), int)
    counts[[2, 5], 0, 0] = 1
    counts[[3], 0, 1] = 1
    truth = truth_of(counts, [2.5, 5.75, 3.2, 7.5], [0, 0, 1, 1])
    assert (truth.n_recorded, truth.n_exact, truth.n_trains) == (3, 4, 3)
    assert sorted(truth.time_error.tolist()) == pytest.approx([0.25, 0.5, 0.8])
    assert truth.n_diverged == 1 and truth.divergence == 7.5 and not truth.same_steps
    assert truth.n_undecided == 2


def test_trains_part_where_a_pair_is_over_one_and_a_half_steps_apart():
    counts = np.zeros((10, 1, 1), int)
    counts[[2, 8], 0, 0] = 1
    assert truth_of(counts, [1.5, 9.0], [0, 0]).divergence == math.inf  # exactly 1.5 is allowed
    assert truth_of(counts, [1.4, 9.0], [0, 0]).divergence == pytest.approx(1.4)
    assert truth_of(counts, [3.0, 6.0], [0, 0]).divergence == 6.0


def test_a_spike_at_the_end_of_a_step_belongs_to_it():
    assert exact.binned(np.array([1.0, 1.5, 0.0]), np.array([0, 0, 1]), (3, 2)).tolist() == [
        [1, 1],
        [1, 0],
        [0, 0],
    ]


# ---------------------------------------------------------------------- chained


def by_hand(net, counts, n_steps):
    """The first two layers as an evsim network, written out."""
    built = evsim.Network()
    built.add_input("in", counts.shape[1])
    one, two = net.layers
    tau = 8.0
    shared = {"tau_mem": tau, "v_th": 1.0, "v_reset": 0.0, "reset": "subtract", "graze": ">="}
    built.add_population("a", 20, evsim.DeltaLIF(**shared))
    built.add_population("b", 20, evsim.DeltaLIF(**shared))
    built.connect("in", "a", one["weight"].astype(float).T, float(one["delay"]), pulse_width=1.0)
    built.connect("a", "b", two["weight"].astype(float).T, float(two["delay"]), pulse_width=1.0)
    drive = {
        "in": evsim.Spikes.from_raster(counts, exact.ONE, layout="TN"),
        "a": evsim.Current(np.zeros(1), one["bias"].astype(float)[None]),
        "b": evsim.Current(np.zeros(1), two["bias"].astype(float)[None]),
    }
    return evsim.simulate(built, drive, n_steps).spikes["b"]


@pytest.mark.parametrize("delay", [0, 2])
def test_chained_solutions_equal_a_network_built_by_hand(synth, delay):
    net = synth.network(["sinabs.LIF"] * 2, seed=1, delay=delay, shape=(30, 2))
    result = synth.verified(*synth.play(net))
    # sinabs's float32 alpha stands for a time constant that differs in the 8th digit.
    expected = [by_hand(net, net.spikes[:, b], 30) for b in range(2)]
    assert result.layers[1].chained.n_exact == sum(e.times.size for e in expected)
    manifest, arrays = synth.play(net)
    recording = Recording("m", manifest, arrays)
    one, two = (declare(recording, name, None) for name in ("l0", "l1"))
    fed = [
        Inputs([Source(node, own["weight"], delay)], own["bias"], [spikes])
        for node, own, spikes in zip(
            ("input", "l0"), net.layers, (net.spikes, one.spikes), strict=True
        )
    ]
    before = {"l0": exact.solve_chained(one, fed[0], {}, 2)}
    chained = exact.solve_chained(two, fed[1], before, 2)
    for b in range(2):
        times, units = chained.trains(b)
        assert np.array_equal(units, expected[b].units)
        assert np.abs(times - expected[b].times).max() < 1e-5


def test_a_layer_may_be_called_like_anything(synth):
    net = synth.network(["sinabs.IAF"] * 2, seed=1, shape=(20, 1))
    manifest, arrays = synth.play(net)
    manifest["layers"] = {
        name: {**entry, "sources": [{"node": node, "delay": 0}]}
        for name, node, entry in zip(
            ("layer", "bias"), ("input", "layer"), manifest["layers"].values(), strict=True
        )
    }
    renamed = {k.replace("/l0/", "/layer/").replace("/l1/", "/bias/"): a for k, a in arrays.items()}
    result = synth.verified(manifest, renamed)
    assert result.verdict == "pass" and result.layers[1].chained is not None


# ---------------------------------------------------------------------- initial states


@pytest.mark.parametrize("model", ["sinabs.LIF", "norse.LIFCell"])
def test_samples_that_start_differently_are_solved_differently(synth, model):
    x = np.zeros((12, 3, 4))
    d = one_layer(synth, model, x)
    start = np.linspace(0.0, 0.4, 12).reshape(3, 4).astype(F32)
    initial = {"v": start, **({"i": 2 * start} if model == "norse.LIFCell" else {})}
    d = replace(d, initial=initial)
    free = d.run(forced=False).v_pre
    solution = exact.solve_alone(d, 3)
    for b in range(3):
        for n in range(4):
            v = solution.records[b].voltage("layer", n, np.arange(1.0, 13.0))
            # The exponential decay is followed exactly; Euler within its own first-order error.
            error = np.abs(v - free[:, b, n]).max()
            assert error <= (1e-6 if model == "sinabs.LIF" else 0.12) * (0.1 + start[b, n])
