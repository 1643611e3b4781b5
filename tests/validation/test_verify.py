"""Verification of recordings: what is untouched passes, and what is altered is found where it is.

The twins stand in for frameworks here: they make the recordings that are then verified.
"""

import json

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evsim.testing import grid_weights, rasters, recordings
from validation import causes, discrete, evtrace, exact, report
from validation.twin import run
from validation.verify import verify_file

T, B, N = 60, 3, 20
NAMES = (
    "norse.LIFBoxCell",
    "norse.LIFCell",
    "sinabs.IAF",
    "sinabs.LIF",
    "snntorch.Leaky",
    "snntorch.Synaptic",
    "spikingjelly.IFNode",
    "spikingjelly.LIFNode",
)
#: One recording with a model of every framework; the first, middle and last layer are altered.
CHAIN = ("snntorch.Synaptic", "norse.LIFCell", "sinabs.LIF", "spikingjelly.LIFNode")
GOOD = {"identical", "discretised"}


@pytest.fixture
def discrete_only(monkeypatch):
    """Places are found without exact solutions, and without trying pairs of causes."""
    monkeypatch.setattr(exact, "solve_alone", lambda d, samples: None)
    monkeypatch.setattr(causes, "combinations", lambda *args: iter(()))


@pytest.fixture(scope="module")
def chain(synth):
    return synth.play(synth.network(CHAIN, seed=5))


def verdicts(result):
    return [layer.verdict for layer in result.layers]


def place(layer):
    return layer.first.step, layer.first.sample, layer.first.neuron


# ---------------------------------------------------------------------- untouched


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", ["own", "subtract", "value", "next_step", "capped"])
def test_an_untouched_recording_passes_with_every_check_made(synth, name, variant):
    semantics = {
        "own": {},
        "subtract": {"reset": "subtract"},
        "value": {"reset": "value"},
        "next_step": {"reset_timing": "next_step", "membrane_point": "pre_reset"},
        "capped": {"max_spikes_per_step": 2},
    }[variant]
    result = synth.verified(*synth.play(synth.network([name] * 2, seed=3, semantics=semantics)))
    assert result.verdict == "pass" and set(verdicts(result)) <= GOOD
    for layer in result.layers:
        assert layer.cause == [] and layer.first is None
        assert {c.verdict for c in layer.checks} == {"identical"}
        state = {"synaptic_current"} if name in ("norse.LIFCell", "snntorch.Synaptic") else set()
        assert {c.quantity for c in layer.checks} == {"spikes", "membrane", "input_current"} | state
        assert layer.checks[0].n_compared == T * B * N and layer.checks[0].max_ulps == 0.0
        assert layer.alone is not None and layer.chained is not None
        assert layer.alone.n_recorded > 20, "a silent layer would prove little"


@settings(max_examples=24, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(NAMES), rasters(24, 2, 3), grid_weights(4, 3))
def test_whatever_the_input_a_recording_is_verified_and_one_more_spike_is_found(
    synth, discrete_only, name, spikes, weight
):
    """Silent, saturated, tied, late; sums of weights at a threshold, or one rounding beside it."""
    net = synth.network([name], sizes=[3, 4], shape=(24, 2))
    net.spikes, net.layers[0]["weight"] = spikes, weight
    manifest, arrays = synth.play(net)
    result = synth.verified(manifest, arrays)
    assert verdicts(result)[0] in GOOD, result.layers[0].reason
    assert {c.verdict for c in result.layers[0].checks} == {"identical"}
    dense = synth.counts(arrays, "layers/l0/spikes", (24, 2, 4))
    dense[7, 1, 2] += 1
    (altered,) = synth.verified(
        manifest, synth.with_counts(arrays, "layers/l0/spikes", dense)
    ).layers
    assert altered.verdict == "mismatch" and place(altered) == (7, 1, 2)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(recordings(), st.integers(0, 2), st.tuples(*[st.integers(0, 59)] * 3))
def test_any_right_recording_passes_and_one_more_spike_is_found(
    synth, discrete_only, recording, k, at
):
    """Chains with every reset and delay, played without any code of the verifier."""
    manifest, arrays = recording
    assert set(verdicts(synth.verified(manifest, arrays))) <= GOOD
    k %= len(manifest["layers"])
    shape = arrays[f"layers/l{k}/membrane"].shape
    at = tuple(i % n for i, n in zip(at, shape, strict=True))
    dense = synth.counts(arrays, f"layers/l{k}/spikes", shape)
    dense[at] += 1
    result = synth.verified(manifest, synth.with_counts(arrays, f"layers/l{k}/spikes", dense))
    assert result.layers[k].verdict == "mismatch" and place(result.layers[k]) == at


def test_a_written_recording_gives_the_json_of_the_interface(synth, chain, tmp_path):
    evtrace.write(tmp_path / "a.npz", *chain)
    steps = []
    result = verify_file(tmp_path / "a.npz", lambda *done: steps.append(done))
    assert steps[0] == (0, 4, "l0") and steps[-1] == (4, 4, "")
    (recording,) = json.loads(json.dumps(report.to_json([result])))["recordings"]
    assert recording["path"] == str(tmp_path / "a.npz") and recording["verdict"] == "pass"
    for layer, name in zip(recording["layers"], CHAIN, strict=True):
        assert layer["model"] == name and layer["verdict"] in GOOD
        assert layer["cause"] == [] and layer["first"] is None


def test_a_mismatch_is_in_the_json_with_its_place(synth, chain, discrete_only):
    manifest, arrays = chain
    dense = synth.counts(arrays, "layers/l1/spikes", (T, B, N))
    dense[7, 1, 3] = 1 - dense[7, 1, 3]
    result = synth.verified(manifest, synth.with_counts(arrays, "layers/l1/spikes", dense))
    (recording,) = report.to_json([result])["recordings"]
    assert recording["verdict"] == "fail"
    first = recording["layers"][1]["first"]
    assert (first["step"], first["sample"], first["neuron"]) == (7, 1, 3)


# ---------------------------------------------------------------------- one thing altered


def altered(synth, chain, rng, kind, k, step):
    """Arrays with one thing changed in layer k, and the place where that must be found."""
    manifest, arrays = chain
    key, b, n = f"layers/l{k}", int(rng.integers(B)), int(rng.integers(N))
    arrays = dict(arrays)
    if kind in ("added", "removed", "moved", "doubled"):
        dense = synth.counts(arrays, f"{key}/spikes", (T, B, N))
        silent = kind == "added"
        at = np.argwhere((dense[step] == 0) if silent else (dense[step] == 1))
        if not len(at):
            return None
        b, n = map(int, at[rng.integers(len(at))])
        dense[step, b, n] = {"added": 1, "removed": 0, "moved": 0, "doubled": 2}[kind]
        if kind == "moved":
            later = step + 1 if step + 1 < T else step - 1
            dense[later, b, n] += 1
            step = min(step, later)
        return manifest, synth.with_counts(arrays, f"{key}/spikes", dense), (step, b, n)
    if kind in ("membrane", "input_current"):
        changed = arrays[f"{key}/{kind}"].copy()
        changed[step, b, n] += np.float32(1e-3)
        return manifest, arrays | {f"{key}/{kind}": changed}, (step, b, n)
    raise AssertionError(kind)


KINDS = ("added", "removed", "moved", "doubled", "membrane", "input_current")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", range(len(CHAIN)))
def test_one_altered_value_is_found_where_it_is_and_only_there(
    synth, chain, discrete_only, kind, k
):
    rng = np.random.default_rng([KINDS.index(kind), k])
    steps = [0, 1, T - 2, T - 1, *rng.integers(2, T - 2, 4)]
    found = 0
    for step in map(int, steps):
        made = altered(synth, chain, rng, kind, k, step)
        if made is None:  # nobody fires in that step
            continue
        manifest, arrays, at = made
        result = synth.verified(manifest, arrays)
        expected = ["identical"] * len(CHAIN)
        expected[k] = "mismatch"
        assert verdicts(result) == expected, (kind, k, step)
        assert place(result.layers[k]) == at
        assert f"step {at[0]}, sample {at[1]}, neuron {at[2]}" in result.layers[k].reason
        assert result.layers[k].cause == []
        found += 1
    assert found >= 4


@pytest.mark.parametrize("k", range(len(CHAIN)))
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_one_altered_weight_is_named(synth, chain, discrete_only, k, form):
    rng = np.random.default_rng(k)
    manifest, arrays = chain
    key = f"layers/l{k}/weight"
    before = "input_spikes" if k == 0 else f"layers/l{k - 1}/spikes"
    heard = synth.counts(arrays, before, (T, B, N))
    for _ in range(6):
        i = int(rng.integers(N))
        trains = [heard[..., n].tobytes() for n in range(N)]
        telling = [n for n in range(N) if 0 < heard[..., n].sum() and trains.count(trains[n]) == 1]
        j = int(rng.choice(telling))
        changed = arrays[key].copy()
        changed[i, j] += np.float32(1e-2)
        new = {q: a for q, a in arrays.items() if q != key or form == "dense"}
        if form == "dense":
            new[key] = changed
        else:
            csr = scipy.sparse.csr_array(changed)
            parts = ("data", "indices", "indptr")
            new |= {f"{key}.{part}": getattr(csr, part) for part in parts}
        result = synth.verified(manifest, new)
        expected = ["identical"] * len(CHAIN)
        expected[k] = "mismatch"
        assert verdicts(result) == expected
        step = int(np.flatnonzero(heard[..., j].any(axis=1))[0])
        sample = int(np.flatnonzero(heard[step, :, j])[0])
        assert place(result.layers[k]) == (step, sample, i)
        assert f"weight[{i}, {j}]" in result.layers[k].reason
        assert [c.verdict for c in result.layers[k].checks][:-1] == ["identical"] * (
            len(result.layers[k].checks) - 1
        )


@pytest.mark.parametrize("k", range(len(CHAIN)))
def test_one_altered_bias_is_named(synth, chain, discrete_only, k):
    manifest, arrays = chain
    for n in (0, 7, N - 1):
        changed = arrays[f"layers/l{k}/bias"].copy()
        changed[n] -= np.float32(1e-2)
        result = synth.verified(manifest, arrays | {f"layers/l{k}/bias": changed})
        assert [v == "mismatch" for v in verdicts(result)] == [i == k for i in range(len(CHAIN))]
        assert place(result.layers[k]) == (0, 0, n)
        assert f"bias[{n}]" in result.layers[k].reason and result.layers[k].cause == []


@pytest.mark.parametrize("k", range(len(CHAIN)))
@pytest.mark.parametrize("delay", [0, 1, 2])
def test_one_step_of_delay_is_named(synth, discrete_only, k, delay):
    manifest, arrays = synth.play(synth.network(CHAIN, seed=6, delay=1))
    manifest["layers"][f"l{k}"]["sources"][0]["delay"] = delay
    result = synth.verified(manifest, arrays)
    wrong = delay != 1
    expected = [wrong and i == k for i in range(len(CHAIN))]
    assert [v == "mismatch" for v in verdicts(result)] == expected
    assert result.layers[k].cause == (["delay"] if wrong else [])
    if wrong:
        assert ("late" if delay == 0 else "early") in result.layers[k].reason


@pytest.mark.parametrize("k", range(len(CHAIN)))
def test_one_altered_threshold_is_found_in_its_neuron(synth, discrete_only, k):
    net = synth.network(CHAIN, seed=8)
    own = net.layers[k]
    name = own["model"].threshold
    own["params"][name] = np.linspace(0.8, 1.2, N, dtype=np.float32)
    manifest, arrays = synth.play(net)
    fired = synth.counts(arrays, f"layers/l{k}/spikes", (T, B, N)).sum(axis=(0, 1))
    n = int(np.argmax(fired))
    changed = own["params"][name].copy()
    changed[n] *= np.float32(2)
    result = synth.verified(manifest, arrays | {f"layers/l{k}/params.{name}": changed})
    assert [v == "mismatch" for v in verdicts(result)] == [i == k for i in range(len(CHAIN))]
    assert result.layers[k].first.neuron == n and result.layers[k].cause == []


def test_two_altered_biases_are_no_lost_bias(synth, chain, discrete_only):
    manifest, arrays = chain
    changed = arrays["layers/l1/bias"].copy()
    changed[[3, 8]] += np.float32(1e-2)
    layer = synth.verified(manifest, arrays | {"layers/l1/bias": changed}).layers[1]
    assert layer.verdict == "mismatch" and layer.cause == [] and "2 neurons" in layer.reason


def test_a_flipped_byte_is_reported_by_the_reader(synth, chain, tmp_path):
    evtrace.write(tmp_path / "a.npz", *chain)
    data = (tmp_path / "a.npz").read_bytes()
    for at in np.random.default_rng(0).integers(0, len(data), 40):
        broken = bytearray(data)
        broken[at] ^= 1
        (tmp_path / "b.npz").write_bytes(broken)
        with pytest.raises(evtrace.EvtraceError):
            verify_file(tmp_path / "b.npz")


def test_a_weight_that_differs_by_rounding_only_passes(synth, chain, discrete_only):
    # One unit in the last place of one weight lies within the bound of any sum that holds it.
    manifest, arrays = chain
    changed = arrays["layers/l1/weight"].copy()
    changed[3, 4] = np.nextafter(changed[3, 4], np.float32(9))
    assert synth.verified(manifest, arrays | {"layers/l1/weight": changed}).verdict == "pass"


# ---------------------------------------------------------------------- structure


def test_several_sources_and_a_loop_are_summed(synth, discrete_only):
    net = synth.network(["snntorch.Leaky"] * 2, seed=9)
    manifest, arrays = synth.play(net)
    rng = np.random.default_rng(1)
    back = (0.1 * rng.normal(size=(N, N))).astype(np.float32)
    # The second layer hears the first, and the input three steps late.
    x = arrays["layers/l1/input_current"]
    late = np.zeros_like(net.spikes)
    late[3:] = net.spikes[:-3]
    x = (x + late.astype(np.float32) @ back.T).astype(np.float32)
    own = net.layers[1]
    made = run(own["model"], own["params"], own["semantics"], x, bound=False)
    arrays = synth.with_counts(arrays, "layers/l1/spikes", made.spikes)
    arrays |= {"layers/l1/input_current": x, "layers/l1/membrane": made.membrane}
    arrays["layers/l1/weight.l0"] = arrays.pop("layers/l1/weight")
    arrays["layers/l1/weight.input"] = back
    entry = manifest["layers"]["l1"]
    entry["sources"] = [{"node": "l0", "delay": 0}, {"node": "input", "delay": 3}]
    assert synth.verified(manifest, arrays).verdict == "pass"
    entry["sources"][1]["delay"] = 2
    result = synth.verified(manifest, arrays)
    assert result.layers[1].cause == ["delay"]
    assert "'input' arrives 1 step late" in result.layers[1].reason


@pytest.mark.parametrize("early, later", [((4, 2, 11), (9, 0, 1)), ((4, 0, 1), (9, 2, 11))])
def test_parts_of_a_large_layer_are_merged(synth, chain, discrete_only, monkeypatch, early, later):
    manifest, arrays = chain
    whole = synth.verified(manifest, arrays)
    changed = arrays["layers/l2/membrane"].copy()
    changed[early] += 1
    changed[later] += 1
    arrays = arrays | {"layers/l2/membrane": changed}
    for most in (T * N, 7 * T, 1):
        monkeypatch.setattr(discrete, "MOST", most)
        monkeypatch.setattr("validation.currents.MOST", most)
        result = synth.verified(manifest, arrays)
        assert verdicts(result) == ["identical", "identical", "mismatch", "identical"]
        assert place(result.layers[2]) == early
        sizes = [[c.n_compared for c in layer.checks] for layer in result.layers]
        assert sizes == [[c.n_compared for c in layer.checks] for layer in whole.layers]
        assert result.layers[2].checks[1].n_mismatched == 2


# ---------------------------------------------------------------------- missing observables


def without(arrays, *prefixes):
    return {k: a for k, a in arrays.items() if not k.startswith(prefixes)}


def checks(layer):
    return {c.quantity: c.verdict for c in layer.checks}


@pytest.mark.parametrize("k", range(3))
@pytest.mark.parametrize("gone", ["spikes", "input_current"])
def test_without_spikes_or_current_a_layer_is_unverifiable(synth, chain, discrete_only, k, gone):
    manifest, arrays = chain
    result = synth.verified(manifest, without(arrays, f"layers/l{k}/{gone}"))
    assert result.verdict == "unverifiable"
    assert verdicts(result) == ["unverifiable" if i == k else "identical" for i in range(4)]
    layer = result.layers[k]
    assert gone.replace("_", " ") in layer.reason
    found = checks(layer)
    assert found["spikes"] == found["membrane"] == "unverifiable"
    # The input current is there and can be held against its sources; and only then.
    assert found["input_current"] == ("identical" if gone == "spikes" else "unverifiable")
    behind = checks(result.layers[k + 1])
    assert behind["input_current"] == ("unverifiable" if gone == "spikes" else "identical")


def test_without_spikes_a_wrong_input_is_still_a_mismatch(synth, chain, discrete_only):
    manifest, arrays = chain
    manifest = json.loads(json.dumps(manifest))
    manifest["layers"]["l1"]["sources"][0]["delay"] = 1
    result = synth.verified(manifest, without(arrays, "layers/l1/spikes"))
    assert result.verdict == "fail" and result.layers[1].cause == ["delay"]


@pytest.mark.parametrize("k", range(len(CHAIN)))
@pytest.mark.parametrize("gone", ["membrane", "synaptic_current", "weight", "bias"])
def test_what_is_missing_is_never_called_identical(synth, chain, discrete_only, k, gone):
    manifest, arrays = chain
    if f"layers/l{k}/{gone}" not in arrays:
        return  # this model has none
    result = synth.verified(manifest, without(arrays, f"layers/l{k}/{gone}"))
    layer = result.layers[k]
    if gone == "bias":  # the sources do not say that there was none
        assert checks(layer)["input_current"] == "mismatch"
        return
    quantity = "input_current" if gone == "weight" else gone
    assert checks(layer)[quantity] == "unverifiable"
    assert f"Not verifiable: {quantity.replace('_', ' ')}" in layer.reason
    others = {v for q, v in checks(layer).items() if q != quantity}
    assert others == {"identical"} and layer.verdict == "identical"


def test_without_input_spikes_the_first_input_is_unverifiable(synth, chain, discrete_only):
    manifest, arrays = chain
    result = synth.verified(manifest, without(arrays, "input_spikes"))
    assert checks(result.layers[0])["input_current"] == "unverifiable"
    assert checks(result.layers[1])["input_current"] == "identical"


def test_an_empty_recording_proves_nothing(synth):
    manifest, arrays = synth.play(synth.network(["snntorch.Leaky"], shape=(T, B)))
    manifest["layers"] = {}
    kept = {k: a for k, a in arrays.items() if not k.startswith("layers/")}
    assert synth.verified(manifest, kept).verdict == "unverifiable"
