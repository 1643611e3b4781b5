"""Recordings of single spikes: right ones pass, wrong ones are told what is wrong."""

import json

import numpy as np
import pytest

from evsim import cli
from reference import ttfs
from validation import evtrace
from validation.single_spikes import recorded
from validation.verify import verify_file


def recording(zeta=0.5, semantics="event", model="general", dtype=float):
    rng = np.random.default_rng(4)
    sizes = (12, 9, 9, 4)
    pairs = [(sizes[k], sizes[k + 1]) for k in range(3)]
    weights = [rng.normal(size=(o, i)) * np.sqrt(2 / i) for i, o in pairs]
    biases = [0.1 * rng.normal(size=o) for _, o in pairs]
    x = rng.random((5, 12))
    x[0] = 0.0
    peaks = [a.max() for a in ttfs.relu_forward(weights, biases, x)[1]]
    net = ttfs.from_relu(weights, biases, peaks, model, zeta, A=[0.2, 0.1], B=[0.5, 2.0])
    manifest, arrays = recorded(net, ttfs.forward(net, x, semantics), framework="mine")
    return manifest, {key: value.astype(dtype) for key, value in arrays.items()}


def verified(path, manifest, arrays):
    evtrace.write(path, manifest, arrays)
    return verify_file(path)


@pytest.mark.parametrize("model", ["b1", "alpha", "general"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zeta", [0.5, -0.6])
def test_the_dynamics_pass(tmp_path, model, dtype, zeta):
    result = verified(tmp_path / "a.npz", *recording(zeta, "event", model, dtype))
    assert result.verdict == "pass", [layer.reason for layer in result.layers]
    assert [layer.name for layer in result.layers] == ["h1", "h2"]


@pytest.mark.parametrize("semantics", ["closed", "clamped"])
def test_premature_spikes_that_were_not_seen_are_named(tmp_path, semantics):
    result = verified(tmp_path / "a.npz", *recording(-0.6, semantics))
    assert result.verdict == "fail" and result.layers[0].cause == ["ignored:premature"]


def wrong(name, arrays):
    """The recording of an implementation with a defect in its second layer."""
    times, window = arrays["layers/h2/times"], arrays["layers/h2/windows"]
    if name == "weight_transpose":
        arrays["layers/h2/weight"] = arrays["layers/h2/weight"].T.copy()
    elif name == "recording_shifted":
        fired = times < window[2]
        arrays["layers/h2/times"] = np.where(fired, times - 1e-3, times)
    elif name == "ignored:a":
        arrays["layers/h2/a"] = arrays["layers/h2/a"] * 0.0
        arrays["layers/h2/a"] += 0.1 if not arrays["layers/h2/a"].any() else 0.0
    elif name == "ignored:b":
        arrays["layers/h2/b"] = arrays["layers/h2/b"] * 0.5
    return arrays


def test_defects_are_named(tmp_path):
    manifest, arrays = recording(model="b1")
    for name, wanted in (("weight_transpose",) * 2, ("recording_shifted",) * 2,
                         ("ignored:a",) * 2, ("ignored:b",) * 2):  # fmt: skip
        result = verified(tmp_path / "a.npz", manifest, wrong(name, dict(arrays)))
        good, bad = result.layers
        assert good.verdict == "identical" and bad.verdict == "mismatch"
        assert bad.cause == [wanted], (name, bad.reason)
        assert bad.first is not None and bad.first.expected != bad.first.observed


def test_one_time_that_is_wrong_is_found(tmp_path):
    manifest, arrays = recording()
    fired = np.argwhere(arrays["layers/h1/times"] < arrays["layers/h1/windows"][2])
    sample, neuron = fired[3]
    arrays["layers/h1/times"][sample, neuron] += 1e-9
    result = verified(tmp_path / "a.npz", manifest, arrays)
    first = result.layers[0].first
    assert (first.sample, first.neuron) == (sample, neuron) and result.layers[0].cause == []


def test_without_its_input_a_layer_is_unverifiable(tmp_path):
    manifest, arrays = recording()
    del arrays["input/times"]
    result = verified(tmp_path / "a.npz", manifest, arrays)
    assert [layer.verdict for layer in result.layers] == ["unverifiable", "identical"]
    assert result.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weight", np.zeros((9, 3)), "not (n_out, n_in) = (9, 12)"),
        ("windows", np.array([1.0, 0.0, 2.0]), "must be t_start, t_min, t_max"),
        ("v_th", np.zeros(4), "must be one number or one per neuron, 9"),
        ("times", np.zeros((2, 9)), "has 2 samples, the layer before it 5"),
        ("v_th", np.array(np.inf), "not finite"),
        ("tau_c", np.array(0.0), "tau_c must be positive"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, key, value, message):
    manifest, arrays = recording()
    arrays[f"layers/h1/{key}"] = value
    evtrace.write(tmp_path / "a.npz", manifest, arrays)
    with pytest.raises(evtrace.EvtraceError, match="h1") as caught:
        verify_file(tmp_path / "a.npz")
    assert message in str(caught.value)


def test_the_command_line_takes_them(tmp_path, capsys):
    evtrace.write(tmp_path / "good.npz", *recording())
    evtrace.write(tmp_path / "bad.npz", *recording(-0.6, "closed"))
    out = tmp_path / "out.json"
    page = ["--html", str(tmp_path / "r.html"), "--json", str(out)]
    assert cli.main(["verify", str(tmp_path / "good.npz"), *page]) == 0
    assert cli.main(["verify", str(tmp_path / "bad.npz"), *page]) == 1
    [found] = json.loads(out.read_text())["recordings"]
    assert found["layers"][0]["cause"] == ["ignored:premature"] and found["verdict"] == "fail"
    assert found["layers"][0]["first"].keys() >= {"step", "sample", "neuron"}
    assert "premature" in capsys.readouterr().out
