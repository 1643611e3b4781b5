"""Verification of recordings that make no sense: one line that says where, and never a crash."""

import copy
import json
import time

import nir
import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from validation import exact
from validation.evtrace import EvtraceError

N = 6


@pytest.fixture(scope="module")
def small(synth):
    net = synth.network(["norse.LIFCell", "sinabs.LIF"], seed=5, sizes=[5, N, 4], shape=(12, 2))
    return synth.play(net)


def refused(synth, manifest, arrays, *words):
    with pytest.raises(EvtraceError) as error:
        synth.verified(manifest, arrays)
    message = str(error.value)
    assert "\n" not in message and len(message) < 700
    for word in words:
        assert word in message, message


def changed(small, layer, **entries):
    manifest, arrays = copy.deepcopy(small)
    manifest["layers"][layer].update(entries)
    return manifest, arrays


@pytest.mark.parametrize("model", ["snntorch.Leaf", "", None, 3, ["a"]])
def test_unknown_models(synth, small, model):
    refused(synth, *changed(small, "l1", model=model), "layer 'l1'", "model")


@pytest.mark.parametrize(
    "delay", [-1, 2**31, 10**15, 1.0, "1", None, True, [1]], ids=lambda d: repr(d)
)
def test_delays(synth, small, delay):
    sources = [{"node": "l0", "delay": delay}]
    refused(synth, *changed(small, "l1", sources=sources), "layer 'l1'", "delay")


def test_a_delay_beyond_the_recording_is_legitimate(synth, small):
    manifest, arrays = changed(small, "l1", sources=[{"node": "l0", "delay": 10**6}])
    assert synth.verified(manifest, arrays).layers[1].verdict == "mismatch"


@pytest.mark.parametrize("node", ["l7", None, 4, ""])
def test_unknown_sources(synth, small, node):
    refused(synth, *changed(small, "l1", sources=[{"node": node}]), "layer 'l1'", "sources[0]")


@pytest.mark.parametrize("sources", [3, "l0", {"node": "l0"}, [3], ["l0"], [None]])
def test_sources_of_another_kind(synth, small, sources):
    refused(synth, *changed(small, "l1", sources=sources), "layer 'l1'", "sources")


@pytest.mark.parametrize(
    "entry", [{"compare": "="}, {"reset": 1}, {"decay": {"kind": []}}, {"max_spikes_per_step": 0}]
)
def test_switches(synth, small, entry):
    refused(synth, *changed(small, "l0", **entry), "layer 'l0'", next(iter(entry)))


@pytest.mark.parametrize("shape", [(N, 4), (4, N + 1), (4,), (4, N, 1)])
def test_weights_of_a_wrong_shape(synth, small, shape):
    manifest, arrays = copy.deepcopy(small)
    arrays["layers/l1/weight"] = np.zeros(shape, np.float32)
    refused(synth, manifest, arrays, "layer 'l1'", "weight", str(shape[0]))


@pytest.mark.parametrize(
    "part, value, word",
    [
        ("indptr", [0, 2, 1, 3, 4], "rise"),
        ("indptr", [1, 1, 2, 3, 4], "rise"),
        ("indptr", [0, 1, 2, 3, 9], "rise"),
        ("indptr", [0, 1, 2, 4], "integers"),
        ("indices", [0, 1, 2, N], "lie in"),
        ("indices", [0, 1, 2, -1], "lie in"),
        ("indices", [0, 1, 2], "integers"),
        ("indices", [0.0, 1.0, 2.0, 3.0], "integers"),
        ("data", [1, 2, 3, 4], "floats"),
        ("data", None, "needs data"),
    ],
)
def test_csr_triplets_that_contradict_themselves(synth, small, part, value, word):
    manifest, arrays = copy.deepcopy(small)
    del arrays["layers/l1/weight"]
    good = scipy.sparse.csr_array(np.eye(4, N, dtype=np.float32))
    parts = {p: getattr(good, p) for p in ("data", "indices", "indptr")}
    parts[part] = None if value is None else np.asarray(value)
    arrays |= {f"layers/l1/weight.{p}": a for p, a in parts.items() if a is not None}
    refused(synth, manifest, arrays, "layer 'l1'", "weight", word)


@pytest.mark.parametrize("name", ["bias", "params.tau_mem", "initial_state.v"])
@pytest.mark.parametrize("value", [np.inf, 1])
def test_values_that_are_no_finite_numbers_of_the_right_shape(synth, small, name, value):
    manifest, arrays = copy.deepcopy(small)
    shape = (2, 4) if name == "initial_state.v" else (3,) if value == 1 else (4,)
    arrays[f"layers/l1/{name}"] = np.full(shape, value, int if value == 1 else np.float32)
    refused(synth, manifest, arrays, "layer 'l1'", name.split(".")[-1])


def test_a_missing_parameter_and_a_missing_dt(synth, small):
    net = synth.network(["snntorch.Leaky"], seed=5, sizes=[5, N], shape=(12, 2))
    manifest, arrays = synth.play(net)
    del arrays["layers/l0/params.beta"]
    refused(synth, manifest, arrays, "layer 'l0'", "beta")
    manifest, arrays = copy.deepcopy(small)
    manifest["dt"] = None
    refused(synth, manifest, arrays, "layer 'l0'", "dt")


@pytest.mark.parametrize("provenance", [3, [], "x", {"arithmetic": "float8"}, {"arithmetic": 1}])
def test_provenance(synth, small, provenance):
    manifest, arrays = copy.deepcopy(small)
    manifest["provenance"] = provenance
    refused(synth, manifest, arrays, "provenance")


def test_other_kinds_of_recordings(synth):
    manifest = {"kind": "events", "until": 1.0, "layers": {}}
    refused(synth, manifest, {}, "'events'", "grid")


def test_graphs_that_are_none_or_lack_the_node(synth, small, tmp_path):
    manifest, arrays = small
    garbage = np.random.default_rng(0).integers(0, 256, 500).astype(np.uint8)
    refused(synth, manifest, arrays | {"graph.nir": garbage}, "graph.nir")
    one = np.ones(N)
    node = nir.CubaLIF(one, one, one, 0 * one, one, v_reset=0 * one)
    nodes = {"input": nir.Input({"input": np.array([N])}), "other": node, "l1": nir.Flatten(
        {"input": np.array([N])}), "output": nir.Output({"output": np.array([N])})}  # fmt: skip
    edges = [("input", "other"), ("other", "output")]
    nir.write(tmp_path / "g.nir", nir.NIRGraph(nodes, edges, type_check=False))
    graph = np.frombuffer((tmp_path / "g.nir").read_bytes(), np.uint8)
    refused(synth, manifest, arrays | {"graph.nir": graph}, "layer 'l0'", "no node")
    manifest, arrays = copy.deepcopy(small)
    manifest["layers"] = {"l1": {**manifest["layers"]["l1"], "sources": []}}
    arrays = {k: a for k, a in arrays.items() if "/l0/" not in k}
    refused(synth, manifest, arrays | {"graph.nir": graph}, "layer 'l1'", "Flatten")


def nested(data, path=()):
    """Every place in a manifest."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items if isinstance(data, (dict, list)) else ():
        if isinstance(value, (dict, list)):
            yield from nested(value, (*path, key))
        else:
            yield (*path, key)


ODD = st.sampled_from(
    [None, True, 0, -1, 3, 2**40, 0.5, -1e300, "", "l0", "input", [], {}, [[]], {"node": {}}, [3]]
)


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None,
          derandomize=True)  # fmt: skip
@given(data=st.data())
def test_a_mutated_manifest_is_verified_or_refused(synth, small, data):
    manifest, arrays = copy.deepcopy(small)
    for _ in range(data.draw(st.integers(1, 2))):
        places = [p for p in nested(manifest) if p]
        path = data.draw(st.sampled_from(places))
        owner = manifest
        for key in path[:-1]:
            owner = owner[key]
        action = data.draw(st.sampled_from(["replace", "drop", "wrap"]))
        if action == "drop":
            del owner[path[-1]]
        else:
            odd = data.draw(ODD)
            owner[path[-1]] = odd if action == "replace" else {"more": owner[path[-1]]}
        if not isinstance(manifest.get("layers"), dict) or not all(
            isinstance(entry, dict) for entry in manifest["layers"].values()
        ):
            return  # the reader's own refusal; see test_evtrace
    try:
        result = synth.verified(manifest, arrays)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert result.verdict in ("pass", "fail", "unverifiable")
        json.dumps([layer.reason for layer in result.layers])


@pytest.mark.parametrize("shape", [(0, 2), (5, 0), (0, 0), (1, 1)])
def test_recordings_of_nothing(synth, shape):
    net = synth.network(["snntorch.Leaky", "norse.LIFCell"], seed=1, sizes=[3, 2, 2], shape=shape)
    assert synth.verified(*synth.play(net)).verdict in ("pass", "unverifiable")


def test_a_layer_of_moderate_size_verifies_in_seconds(synth):
    net = synth.network(["sinabs.LIF"], seed=4, sizes=[20, 500], shape=(100, 16))
    made = synth.play(net)
    synth.verified(*synth.play(synth.network(["sinabs.LIF"], sizes=[2, 2])))  # compiled before
    start = time.perf_counter()
    result = synth.verified(*made)
    assert time.perf_counter() - start < 10 and result.verdict == "pass"
    assert result.layers[0].alone.n_trains == 16 * 500
    assert exact.MOST_ENTRIES >= 100 * 16 * 500
