"""Neurons of a single spike: windows, premature spikes, exactness, paths, gradients.

Interpreted, since each of these compiles kernels of its own: see test_jit.py.
"""

import os

import numpy as np
import pytest
import scipy.sparse

import evsim
from reference import ttfs
from reference.finite_difference import check
from reference.losses import softmax_cross_entropy
from validation.ttfs_network import run_in_engine, spike_times

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1" and "EVSIM_COMPILED" not in os.environ,
    reason="for interpreted kernels: see test_jit.py",
)
WINDOW = {"t_start": 1.0, "t_min": 2.0, "t_max": 5.0}


def alone(times, weights, until=6.0, **parameters):
    """One neuron that hears one spike of every input."""
    net = evsim.Network()
    net.add_input("in", len(times))
    net.add_population("p", 1, evsim.TTFS(**(WINDOW | parameters)))
    net.connect("in", "p", np.reshape(weights, (-1, 1)))
    return evsim.simulate(net, {"in": evsim.Spikes(times, np.arange(len(times)))}, until)


def test_a_neuron_by_hand():
    # Slope 2 from 1.25, slope 1.5 from 1.5: v(2) = 0.25 * 2 + 0.5 * 1.5 = 1.25, then slope 1.
    record = alone([1.25, 1.5], [2.0, -0.5], v_th=3.0)
    assert record.spikes["p"].times == [3.75] and record.undecided == []
    assert len(record.premature["p"]) == 0
    v = record.voltage("p", 0, [0.0, 1.25, 1.5, 1.75, 2.0, 3.0, 3.75, 5.0])
    assert (v == [0.0, 0.0, 0.5, 0.875, 1.25, 2.25, 0.0, 0.0]).all()
    assert record.state("p", 0, [1.75])["r"] == [1.5]


@pytest.mark.parametrize(
    ("v_th", "when", "early"),
    [
        (0.25, 1.375, True),  # while it integrates
        (0.5, 1.5, True),  # where an arrival ends the rise
        (0.625, None, False),  # excitation is over
        (-1.0, 1.0, True),  # at once
        (0.0, 1.0, True),
    ],
)
def test_premature_spikes_are_found_and_named(v_th, when, early):
    record = alone([1.25, 1.5, 1.75], [2.0, -2.0, -40.0], v_th=v_th)
    assert list(record.spikes["p"].times) == ([] if when is None else [when])
    assert list(record.premature["p"].times) == ([when] if early else [])


def test_the_borders_of_the_window():
    # Just at t_min: not premature. Just at t_max: silent, and known to be.
    at_min = alone([1.5], [2.0], v_th=1.0)
    assert at_min.spikes["p"].times == [2.0] and len(at_min.premature["p"]) == 0
    at_max = alone([5.5], [1.0], v_th=3.0)
    assert len(at_max.spikes["p"]) == 0 and at_max.undecided == []
    assert alone([5.5], [1.0], v_th=3.0 - 2.0**-40).spikes["p"].times == [5.0 - 2.0**-40]
    # What float64 cannot tell from the end is said.
    doubt = alone([5.5], [1.0], v_th=np.nextafter(3.0, 0.0)).undecided
    assert [kind for *_, kind in doubt] == ["graze"]
    # Before the start an arrival has been there all the time, at t_min it has no effect.
    assert alone([0.5], [1.0], v_th=2.0).spikes["p"].times == [3.0]
    assert alone([2.0], [9.0], v_th=2.0).spikes["p"].times == [4.0]
    assert len(alone([1.5], [1.0], v_th=1.0, b=-1.0).spikes["p"]) == 0


def test_it_fires_once():
    record = alone([1.0, 1.25, 2.5, 3.0], [5.0, 50.0, 9.0, 9.0], v_th=1.0)
    assert record.spikes["p"].times == [1.2]


def test_convolutions_and_pools_in_the_engine():
    rng = np.random.default_rng(1)
    norm = ttfs.BatchNorm([0.5, -0.7, 0.4], *rng.normal(size=(2, 3)), rng.random(3) + 0.5)
    layers = [ttfs.Conv2d(1, 1), ttfs.ReLU(), norm, ttfs.MaxPool(2), ttfs.Conv2d(1, 1),
              ttfs.ReLU(), ttfs.Dense()]  # fmt: skip
    weights = [rng.normal(size=s) * 0.4 for s in ((3, 1, 3, 3), (2, 3, 3, 3), (4, 18))]
    biases = [0.1 * rng.normal(size=len(w)) for w in weights]
    x = rng.random((3, 1, 6, 6))
    _, activations = ttfs.relu_forward(weights, biases, x, layers)
    net = ttfs.from_relu(weights, biases, [a.max() for a in activations], layers=layers,
                         input_shape=(1, 6, 6))  # fmt: skip
    run = ttfs.forward(net, x)
    for i, record in enumerate(run_in_engine(net, run.inputs)):
        for got, wanted in zip(spike_times(net, record), run.times, strict=True):
            assert abs(got - wanted[i]).max() <= 1e-12


def test_dyadic_networks_are_exact_on_every_path():
    rng = np.random.default_rng(2)
    weight, v_th = rng.integers(-32, 48, (12, 9)) / 32, rng.integers(8, 80, 9) / 16
    train = evsim.Spikes(np.sort(rng.integers(0, 130, 12)) / 64, np.arange(12))
    seen = set()
    for form in (np.asarray, scipy.sparse.csr_array):
        for path in ("auto", "window", "queue"):
            net = evsim.Network()
            net.add_input("in", 12)
            net.add_population("p", 9, evsim.TTFS(v_th=v_th, **WINDOW))
            net.connect("in", "p", form(weight))
            record = evsim.simulate(net, {"in": train}, 6.0, path=path)
            s = record.spikes["p"]
            seen.add(s.times.tobytes() + s.times_lo.tobytes() + s.units.tobytes())
            half = evsim.simulate(net, {"in": train}, 2.5, path=path)
            again = evsim.simulate(net, {}, 6.0, path=path, resume=half)
            assert (again.spikes["p"].times == s.times).all()
    assert len(seen) == 1
    # In 106 bits: every crossing is the fraction that hand arithmetic gives.
    assert len(s) > 3 and len(record.premature["p"]) < len(s)


def test_an_external_current_adds_to_the_slope():
    net = evsim.Network()
    net.add_population("p", 2, evsim.TTFS(v_th=3.0, **WINDOW))
    record = evsim.simulate(net, {"p": evsim.Current([0.0], [[1.0, 0.0]])}, 6.0)
    assert list(record.spikes["p"].times) == [4.0] and list(record.spikes["p"].units) == [0]


def test_networks_keep_it_in_files(tmp_path):
    record = alone([1.25], [2.0], v_th=1.0)
    evsim.save(record, tmp_path / "run.npz")
    again = evsim.load(tmp_path / "run.npz")
    assert again.spikes["p"].times == record.spikes["p"].times == again.premature["p"].times


def two_layers(x):
    """Spikes of two layers, of 6 and 4 neurons; the first hears 5 inputs."""
    net = evsim.Network()
    net.add_input("in", 5)
    windows = (x["t_start"], x["t_min"], 4.0), (x["t_min"], 4.0, 9.0)
    for k, (n, (start, t_min, t_max)) in enumerate(zip((6, 4), windows, strict=True)):
        own = {key: x[f"{key}{k}"] for key in ("v_th", "a", "b", "tau_c")}
        model = evsim.TTFS(t_start=start, t_min=t_min, t_max=t_max, **own)
        net.add_population(f"p{k}", n, model)
    net.connect("in", "p0", x["w0"])
    net.connect("p0", "p1", x["w1"], 0.03)
    train = evsim.Spikes(np.sort(x["times"]), np.argsort(x["times"]))
    return evsim.simulate(net, {"in": train}, 9.0)


def point():
    rng = np.random.default_rng(7)
    x = {"t_start": np.array(0.1), "t_min": np.array(1.0), "times": rng.uniform(0.0, 0.95, 5)}
    for k, (n, n_in) in enumerate(((6, 5), (4, 6))):
        x[f"w{k}"] = rng.normal(0.2, 1.2, (n_in, n))
        x[f"v_th{k}"] = rng.uniform(2.0, 3.5, n) if k == 0 else rng.uniform(3.0, 4.5, n)
        x[f"a{k}"], x[f"b{k}"] = rng.normal(size=n) * 0.3, rng.uniform(0.8, 1.4, n)
        x[f"tau_c{k}"] = rng.uniform(0.8, 1.3, n)
    x["v_th0"][0] = 0.15  # premature
    return x


def test_gradients_against_differences():
    x = point()
    record = two_layers(x)
    assert len(record.premature["p0"]) == 1 and len(record.spikes["p1"]) >= 2
    assert len(record.spikes["p0"]) < 6 or len(record.spikes["p1"]) < 4

    def times(x):
        record = two_layers(x)
        return np.concatenate([record.spikes[p].times for p in ("p0", "p1")])

    def structure(x):
        record = two_layers(x)
        early = [tuple(record.premature[p].units) for p in ("p0", "p1")]
        order = [tuple(record.spikes[p].units) for p in ("p0", "p1")]
        return tuple(early), tuple(order), tuple(np.argsort(x["times"])), tuple(x["times"] > x[
            "t_start"])  # fmt: skip

    def vjp(x, c):
        record = two_layers(x)
        n = len(record.spikes["p0"])
        g = evsim.gradient(record, {"p0": c[:n], "p1": c[n:]})
        one, two = g.params["p0"], g.params["p1"]
        found = {f"{key}{k}": getattr(g.params[f"p{k}"], key)
                 for k in (0, 1) for key in ("v_th", "a", "b", "tau_c")}  # fmt: skip
        found |= {"w0": g.weight["in->p0"], "w1": g.weight["p0->p1"]}
        found["times"] = np.empty(5)
        found["times"][np.argsort(x["times"])] = g.inputs["in"]
        found["t_start"] = np.sum(one.t_start)
        found["t_min"] = np.sum(one.t_min) + np.sum(two.t_start)
        return {key: np.asarray(found[key]) for key in x}

    assert check(times, vjp, x, structure=structure, step=1e-3, directions=1, levels=6).require()


def test_gradients_are_those_of_the_closed_form(single_spikes):
    net, x, _ = single_spikes()
    run = ttfs.forward(net, x)
    labels = np.arange(len(x)) % 5
    _, g = ttfs.gradient(net, x, labels, threshold="free")
    # What the loss does to the last spikes, from its derivatives by the readout.
    readout, total = net.weighted[-1], {}
    _, pull = softmax_cross_entropy(run.logits, labels)
    by_time = -(pull(1.0) @ readout.weight) / net.tau_c
    for record, row in zip(run_in_engine(net, run.inputs), by_time, strict=True):
        spikes = record.spikes["h2"]
        found = evsim.gradient(record, {"h2": row[spikes.units]})
        for name, value in found.weight.items():
            total[name] = total.get(name, 0.0) + value
        for k in (1, 2):
            total[k] = total.get(k, 0.0) + found.params[f"h{k}"].v_th
    for k, name in ((0, "input->h1"), (1, "h1->h2")):
        assert abs(total[name].T - g["W"][k]).max() <= 1e-13
        assert abs(total[k + 1] - g["v_th"][k]).max() <= 1e-13
