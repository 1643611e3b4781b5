"""Causes: a recording is made with one switch flipped, and the search must name that switch."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

from validation import exact
from validation.declared import declare
from validation.evtrace_reader import Recording
from validation.flips import shifted

T, B, N = 60, 3, 20
F32 = np.float32
ALL = (
    "norse.LIFBoxCell",
    "norse.LIFCell",
    "sinabs.IAF",
    "sinabs.LIF",
    "snntorch.Leaky",
    "snntorch.Synaptic",
    "spikingjelly.IFNode",
    "spikingjelly.LIFNode",
)
LEAKY = tuple(name for name in ALL if name not in ("sinabs.IAF", "spikingjelly.IFNode"))


@pytest.fixture(autouse=True)
def discrete_only(monkeypatch):
    """Causes are found without exact solutions."""
    monkeypatch.setattr(exact, "solve_alone", lambda d, samples: None)


def found(synth, net, actual, k=1):
    """(cause, reason) of layer k of a run that differs from its declaration there."""
    result = synth.verified(*synth.play(net, {k: actual}))
    others = [layer.verdict for i, layer in enumerate(result.layers) if i != k]
    assert others == ["identical"] * len(others)
    assert result.layers[k].verdict == "mismatch", "the change has no effect on these data"
    return result.layers[k].cause, result.layers[k].reason


def pair(synth, name, **keys):
    """Two layers of a model."""
    return synth.network([name] * 2, seed=11, **keys)


def natural(timing):
    return {
        "reset_timing": timing,
        "membrane_point": "pre_reset" if timing == "next_step" else "post_reset",
    }


# ---------------------------------------------------------------------- switches


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["subtract", "value", "none"])
def test_reset_kind(synth, name, kind):
    net = pair(synth, name)
    if net.layers[1]["semantics"].reset != kind:
        assert found(synth, net, {"semantics": {"reset": kind}})[0] == ["reset_kind"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("exposed", ["as declared", "with the timing"])
def test_reset_timing(synth, name, exposed):
    net = pair(synth, name)
    now = net.layers[1]["semantics"].reset_timing
    other = "same_step" if now == "next_step" else "next_step"
    semantics = natural(other) if exposed != "as declared" else {"reset_timing": other}
    assert found(synth, net, {"semantics": semantics})[0] == ["reset_timing"]


@pytest.mark.parametrize("name", ["snntorch.Leaky", "sinabs.IAF", "spikingjelly.IFNode"])
def test_compare_matters_where_the_threshold_is_hit(synth, name):
    # Quarters add up without rounding, and hit a threshold of one again and again.
    net = pair(synth, name, params={"beta": 1.0} if name == "snntorch.Leaky" else {}, bias=False)
    for own in net.layers:
        own["weight"] = (np.round(4 * own["weight"]) / 4).astype(F32)
    other = ">" if net.layers[1]["semantics"].compare == ">=" else ">="
    assert found(synth, net, {"semantics": {"compare": other}})[0] == ["compare"]


@pytest.mark.parametrize("name", ["sinabs.IAF", "sinabs.LIF", "snntorch.Leaky"])
def test_several_spikes_per_step_are_named_compare(synth, name):
    net = pair(synth, name, scale=3.0)
    most = net.layers[1]["semantics"].max_spikes_per_step
    actual = {"semantics": {"max_spikes_per_step": None if most == 1 else 1}}
    cause, reason = found(synth, net, actual)
    assert cause == ["compare"] and "per step" in reason


@pytest.mark.parametrize("name", LEAKY)
@pytest.mark.parametrize("kind", ["euler", "exp", "raw"])
def test_decay(synth, name, kind):
    net = pair(synth, name)
    same = {"euler": "raw", "raw": "euler"} if name[:4] in ("nors", "spik") else {"exp": "raw"}
    now = net.layers[1]["semantics"].decay
    if kind not in (now, same.get(now)):
        assert found(synth, net, {"semantics": {"decay": kind}})[0] == ["decay"]


@pytest.mark.parametrize("name", LEAKY)
@pytest.mark.parametrize("gain", ["1", "1/tau", "dt/tau", "1-decay"])
def test_input_gain(synth, name, gain):
    net = pair(synth, name)
    own = net.layers[1]
    one = own["model"].constants(own["model"].resolve(own["params"]), own["semantics"], 1e-3, F32)
    flipped = replace(own["semantics"], input_gain=gain)
    other = own["model"].constants(own["model"].resolve(own["params"]), flipped, 1e-3, F32)
    if not np.allclose(one.gain, other.gain, rtol=1e-5):
        assert found(synth, net, {"semantics": {"input_gain": gain}})[0] == ["input_gain"]


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("name", ALL)
def test_a_late_recording(synth, name, shift):
    cause, reason = found(synth, pair(synth, name), {"late": shift})
    assert cause == ["recording_shifted"] and f"{shift} step" in reason and "late" in reason


@pytest.mark.parametrize("name", ["snntorch.Leaky", "norse.LIFCell", "sinabs.LIF"])
def test_an_early_recording(synth, name):
    cause, reason = found(synth, pair(synth, name), {"late": -1})
    assert cause == ["recording_shifted"] and "early" in reason


# ---------------------------------------------------------------------- time


@pytest.mark.parametrize("name", ["norse.LIFBoxCell", "norse.LIFCell"])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_time_constants_times_dt(synth, name, factor):
    net = pair(synth, name)
    times = {k: v for k, v in net.layers[1]["params"].items() if k.endswith("inv")}
    own = net.layers[1]["params"]
    own["v_th"] = F32(0.01)  # what is too slow, or was, hardly moves
    if factor < 1:
        times = {k: (v * F32(factor)).astype(F32) for k, v in times.items()}
    else:
        own |= {k: (v / F32(factor)).astype(F32) for k, v in times.items()}
    assert found(synth, net, {"params": times})[0] == ["dt"]


@pytest.mark.parametrize("step", [1e-4])
@pytest.mark.parametrize("name", ["norse.LIFBoxCell", "norse.LIFCell"])
def test_a_hard_coded_dt(synth, name, step):
    net = pair(synth, name)
    net.layers[1]["params"]["v_th"] = F32(0.1)
    cause, _ = found(synth, net, {"dt": step})
    assert cause == ["dt"]


@pytest.mark.parametrize("name", ["snntorch.Leaky", "sinabs.LIF", "spikingjelly.LIFNode"])
def test_time_constants_in_another_unit(synth, name):
    net = pair(synth, name)
    own = net.layers[1]["params"]
    change = {"beta": F32(0.9) ** F32(1e-3), "tau_mem": F32(8e3), "tau": F32(4e3)}
    if name == "spikingjelly.LIFNode":
        own["v_threshold"] = F32(1e-3)
    if name == "sinabs.LIF":
        own["spike_threshold"] = F32(1e-3)
    params = {k: np.asarray(v, F32) for k, v in change.items() if k in own}
    assert found(synth, net, {"params": params})[0] == ["dt"]


# ---------------------------------------------------------------------- inputs


@pytest.mark.parametrize("name", ["snntorch.Leaky", "norse.LIFCell", "spikingjelly.IFNode"])
@pytest.mark.parametrize(
    "cause", ["delay", "weight_scale", "weight_transpose", "bias_lost", "node_dropped", "rebias"]
)
@pytest.mark.parametrize("k", [0, 1])
def test_causes_of_the_input(synth, name, cause, k):
    net = pair(synth, name)
    own = net.layers[k]
    other = (own["bias"] + net.rng.uniform(0.1, 0.3, N)).astype(F32)
    actual = {
        "delay": {"delay": 1},
        "weight_scale": {"weight": (own["weight"] * F32(0.37)).astype(F32)},
        "weight_transpose": {"weight": own["weight"].T},
        "bias_lost": {"bias": None},
        "node_dropped": {"weight": np.eye(N, dtype=F32), "bias": None},
        "rebias": {"bias": other},
    }[cause]
    expected = "bias_lost" if cause == "rebias" else cause
    got, reason = found(synth, net, actual, k)
    assert got == [expected], reason


@pytest.mark.parametrize("name", ["sinabs.LIF", "spikingjelly.LIFNode"])
def test_weights_and_bias_scaled_together(synth, name):
    net = pair(synth, name)
    cause, reason = found(synth, net, {"x": lambda x: (x * F32(1.5)).astype(F32)})
    assert cause == ["weight_scale"] and "bias" in reason and "1.5" in reason


def test_a_neuron_that_passes_its_input_through(synth):
    net = pair(synth, "spikingjelly.IFNode", bias=False)
    net.layers[1]["weight"] = np.eye(N, dtype=F32)
    manifest, arrays = synth.play(net)
    x = arrays["layers/l1/input_current"]
    arrays = synth.with_counts(arrays, "layers/l1/spikes", x.astype(int))
    arrays |= {"layers/l1/membrane": x + F32(1)}
    layer = synth.verified(manifest, arrays).layers[1]
    assert layer.cause == ["node_dropped"]


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "name, field, value",
    [
        *[(name, "r", 0.6) for name in ALL],
        *[(name, "v_leak", 0.2) for name in LEAKY],
        *[(name, "w_in", 0.7) for name in ("snntorch.Synaptic", "norse.LIFCell", "sinabs.LIF")],
        ("snntorch.Leaky", "threshold", 1.3),
        ("sinabs.IAF", "min_v_mem", -0.1),
        ("sinabs.LIF", "min_v_mem", -0.1),
        ("sinabs.IAF", "subtract_value", 0.6),
        ("norse.LIFBoxCell", "v_reset", 0.3),
        ("norse.LIFCell", "v_reset", -0.3),
        ("spikingjelly.LIFNode", "v_reset", 0.3),
        ("spikingjelly.IFNode", "v_reset", -0.4),
    ],
)
def test_an_ignored_parameter(synth, name, field, value):
    if (name, field) == ("norse.LIFCell", "r"):
        value = 1.6
    net = pair(synth, name, params={field: value})
    default = net.layers[1]["model"].defaults.get(field)
    neutral = {"r": 1.0, "w_in": 1.0, "v_leak": 0.0, "v_reset": 0.0}.get(field, default)
    if name == "spikingjelly.LIFNode" and field == "v_leak":
        neutral = 0.0
    actual = None if neutral is None else np.asarray(neutral, F32)
    cause, reason = found(synth, net, {"params": {field: actual}})
    # A factor of the input may be lost as r or as w_in, where the membrane alone is seen.
    assert cause == [f"ignored:{field}"], reason


@pytest.mark.parametrize(
    "name, field, low, high",
    [
        ("snntorch.Leaky", "beta", 0.8, 0.95),
        ("snntorch.Synaptic", "alpha", 0.5, 0.8),
        ("sinabs.LIF", "tau_mem", 5.0, 12.0),
        ("spikingjelly.LIFNode", "tau", 2.0, 5.0),
        ("norse.LIFBoxCell", "tau_mem_inv", 100.0, 200.0),
        ("norse.LIFCell", "v_th", 0.8, 1.2),
    ],
)
def test_a_parameter_of_the_first_neuron_for_all(synth, name, field, low, high):
    net = pair(synth, name, params={field: np.linspace(low, high, N)})
    cause, reason = found(synth, net, {"params": {field: np.full(N, low, F32)}})
    assert cause == [f"ignored:{field}"] and "first neuron" in reason


# ---------------------------------------------------------------------- pairs, parts, ambiguity


@pytest.mark.parametrize(
    "name, semantics, params, causes",
    [
        ("snntorch.Leaky", {"reset": "value", **natural("same_step")}, {},
         {"reset_kind", "reset_timing"}),
        ("sinabs.LIF", {"reset": "value", "input_gain": "1"}, {}, {"reset_kind", "input_gain"}),
        ("norse.LIFBoxCell", {"decay": "exp"}, {"v_leak": 0.0}, {"decay", "ignored:v_leak"}),
        ("spikingjelly.LIFNode", {"input_gain": "1"}, {"r": 1.0}, {"input_gain", "ignored:r"}),
    ],
)  # fmt: skip
def test_pairs_of_causes(synth, name, semantics, params, causes):
    given = {"v_leak": 0.2} if "v_leak" in params else {"r": 0.7} if "r" in params else {}
    net = pair(synth, name, params=given)
    actual = {"params": {k: F32(v) for k, v in params.items()}, "semantics": semantics}
    cause, reason = found(synth, net, actual)
    assert set(cause) == causes, reason


def test_a_cause_that_concerns_some_neurons_only(synth):
    net = pair(synth, "norse.LIFCell", params={"v_leak": np.full(N, 0.3)})
    half = np.where(np.arange(N) < 8, 0.0, 0.3).astype(F32)
    cause, reason = found(synth, net, {"params": {"v_leak": half}})
    assert cause == ["ignored:v_leak"] and f"8 of {N} neurons" in reason


def test_what_no_switch_explains_has_no_cause(synth):
    net = pair(synth, "snntorch.Leaky")
    cause, reason = found(synth, net, {"params": {"beta": F32(0.871)}})
    assert cause == [] and "no switch" in reason


def test_what_cannot_be_told_apart_is_mentioned(synth):
    # A declared factor of the input that is lost may as well have been a part of either.
    net = pair(synth, "norse.LIFCell", params={"r": 0.7})
    net.layers[1]["params"]["w_in"] = F32(0.7)
    manifest, arrays = synth.play(net, {1: {"params": {"r": F32(1)}}})
    arrays = {k: a for k, a in arrays.items() if k != "layers/l1/synaptic_current"}
    layer = synth.verified(manifest, arrays).layers[1]
    assert layer.cause == ["ignored:r"] and "ignored:w_in would explain it" in layer.reason


def test_an_exact_hit_adds_compare_to_a_cause(synth):
    net = pair(synth, "spikingjelly.IFNode", bias=False)
    for own in net.layers:
        own["weight"] = (np.round(4 * own["weight"]) / 4).astype(F32)
    cause, _ = found(synth, net, {"semantics": {"compare": ">", "reset": "subtract"}})
    assert set(cause) == {"reset_kind", "compare"}


def test_shifting_back_and_forth_is_the_identity_inside(synth):
    manifest, arrays = synth.play(pair(synth, "snntorch.Synaptic"))
    d = declare(Recording("m", manifest, arrays), "l1", None)
    late = shifted(d, 2)
    assert np.array_equal(late.spikes, d.spikes[2:]) and np.array_equal(late.x, d.x[:-2])
    early = shifted(d, -1)
    assert np.array_equal(early.spikes[1:], d.spikes[:-1])
    assert np.array_equal(early.spikes[0], d.spikes[0])  # the twin's, where the recording has none


# ---------------------------------------------------------------------- declared by a graph


def graph_bytes(node, weight, bias):
    """A NIR file that holds input -> affine -> node -> output, as an array of bytes."""
    nodes = {
        "input": nir.Input({"input": np.array([weight.shape[1]])}),
        "fc": nir.Affine(weight, bias),
        "l0": node,
        "output": nir.Output({"output": np.array([weight.shape[0]])}),
    }
    edges = [("input", "fc"), ("fc", "l0"), ("l0", "output")]
    with tempfile.TemporaryDirectory() as folder:
        nir.write(Path(folder) / "g.nir", nir.NIRGraph(nodes, edges))
        return np.frombuffer((Path(folder) / "g.nir").read_bytes(), np.uint8)


def declared(synth, name, **fields):
    """A layer declared by a graph, and the graph's bytes."""
    full = {"r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **fields}
    values = {k: np.broadcast_to(np.asarray(v, float), (N,)).copy() for k, v in full.items()}
    node = (nir.CubaLIF if "tau_syn" in fields else nir.LIF)(**values)
    net = synth.network([name], seed=2)
    own = net.layers[0]
    params, semantics = own["model"].from_nir_node(node, net.dt, own["semantics"])
    net.layers[0] |= {"params": params, "semantics": semantics}
    return net, node, graph_bytes(node, own["weight"], own["bias"])


LIF = {"tau": 0.008, "r": 1.0}
LIF_MODELS = ("norse.LIFBoxCell", "sinabs.LIF", "spikingjelly.LIFNode", "snntorch.Leaky")


def scaled(net, name):
    """Weights that make the layer lively in that framework's discretisation."""
    net.layers[0]["weight"] *= F32({"snntorch.Leaky": 8.0}.get(name, 1.5))
    return net


def of_graph(synth, name, actual, **fields):
    """Cause of a layer whose graph declares `fields`, and which ran with `actual` instead."""
    net, node, _ = declared(synth, name, **fields)
    own = scaled(net, name).layers[0]
    data = graph_bytes(node, own["weight"], own["bias"])
    manifest, arrays = synth.play(net, {0: actual(net, own)})
    result = synth.verified(manifest, arrays | {"graph.nir": data})
    return result.layers[0]


@pytest.mark.parametrize("name", LIF_MODELS)
def test_a_graph_declares_what_is_run(synth, name):
    layer = of_graph(synth, name, lambda net, own: {}, **LIF, v_reset=0.1, v_leak=0.1)
    assert layer.verdict == "identical", layer.reason
    assert {c.verdict for c in layer.checks} == {"identical"}


def renoded(net, own, dt=None, **fields):
    """Parameters and switches of the same layer where a graph says something else."""
    full = {"r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **LIF, **fields}
    values = {k: np.broadcast_to(np.asarray(v, float), (N,)).copy() for k, v in full.items()}
    params, semantics = own["model"].from_nir_node(
        nir.LIF(**values), dt or net.dt, own["semantics"]
    )
    return {"params": params, "semantics": semantics, "dt": dt or net.dt}


@pytest.mark.parametrize("name", LIF_MODELS)
@pytest.mark.parametrize(
    "given, instead, cause",
    [
        ({"r": 1.5}, {"r": 1.0}, "ignored:r"),
        ({"v_reset": 0.3}, {"v_reset": 0.0}, "ignored:v_reset"),
        ({"v_leak": 0.3}, {"v_leak": 0.0}, "ignored:v_leak"),
        ({"v_threshold": 1.4}, {"v_threshold": 1.0}, "ignored:v_threshold"),
        ({"tau": np.linspace(6e-3, 12e-3, N)}, {"tau": 6e-3}, "ignored:tau"),
        ({}, {"tau": 8e-6}, "dt"),
        ({}, {"dt": 1e-4}, "dt"),
    ],
)
def test_a_graph_wins_over_manifest_and_parameters(synth, name, given, instead, cause):
    layer = of_graph(
        synth, name, lambda net, own: renoded(net, own, **{**given, **instead}), **{**LIF, **given}
    )
    assert layer.cause == [cause], layer.reason


@pytest.mark.parametrize("name", LIF_MODELS)
def test_a_soft_reset_against_a_graph(synth, name):
    layer = of_graph(synth, name, lambda net, own: {"semantics": {"reset": "subtract"}}, **LIF)
    assert layer.cause == ["reset_kind"], layer.reason


def test_a_bias_that_the_graph_has_and_the_run_lost(synth):
    layer = of_graph(synth, "norse.LIFBoxCell", lambda net, own: {"bias": None}, **LIF)
    assert layer.cause == ["bias_lost"]


# ---------------------------------------------------------------------- cost


def test_the_search_for_a_cause_takes_seconds(synth):
    # The worst case: nothing explains it, and it shows at the very end only.
    net = synth.network(["snntorch.Leaky"], seed=4, sizes=[N, 500], shape=(100, 16))
    manifest, arrays = synth.play(net)
    kept = {k: v for k, v in arrays.items() if "membrane" not in k}
    dense = synth.counts(kept, "layers/l0/spikes", (100, 16, 500))
    dense[99, 15, 499] = 1 - dense[99, 15, 499]
    start = time.perf_counter()
    layer = synth.verified(manifest, synth.with_counts(kept, "layers/l0/spikes", dense)).layers[0]
    assert time.perf_counter() - start < 10
    assert layer.cause == [] and (layer.first.step, layer.first.neuron) == (99, 499)
