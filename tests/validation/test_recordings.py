"""The recordings that ship: what each one says, and that it can be made again."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from validation import evtrace, recordings
from validation.networks import GRID, LAYERS, SIZES, STEPS
from validation.verify import verify_file

TRACES = Path(str(files("validation") / "traces"))
DECAYS = "discretised"

#: Verdict of each layer, and the cause of all that are wrong.
EXPECTED = {
    "01_snntorch": ((DECAYS, DECAYS, DECAYS), []),
    "02_spikingjelly": ((DECAYS, DECAYS, DECAYS), []),
    "03_norse": ((DECAYS, DECAYS, DECAYS), []),
    "04_sinabs": ((DECAYS, "identical", "identical"), []),
    "05_norse_nir": (("mismatch",) * 3, ["dt"]),
    "06_snntorch_nir": (("mismatch",) * 3, ["reset_kind", "reset_timing"]),
    "07_sinabs_nir": (("mismatch",) * 3, ["input_gain"]),
}
names = pytest.mark.parametrize("name", EXPECTED)


def read(name):
    return evtrace.read(TRACES / f"{name}.npz")


def test_all_that_ships_is_expected_and_small():
    shipped = sorted(TRACES.glob("*.npz"))
    assert [path.stem for path in shipped] == sorted(EXPECTED)
    assert sorted(EXPECTED) == [s.name for s in recordings.SHIPPED]
    assert sum(path.stat().st_size for path in shipped) < 2_000_000


@names
def test_verdicts_and_causes(name):
    verdicts, cause = EXPECTED[name]
    result = verify_file(TRACES / f"{name}.npz")
    assert [layer.name for layer in result.layers] == list(LAYERS)
    assert tuple(layer.verdict for layer in result.layers) == verdicts
    assert result.verdict == ("fail" if cause else "pass")
    for layer in result.layers:
        assert layer.cause == cause
        assert (layer.first is not None) == bool(cause)
        checked = {check.quantity: check.verdict for check in layer.checks}
        assert checked["input_current"] == "identical"  # weights survive, round trip or not


@pytest.mark.parametrize("name", [name for name, (_, cause) in EXPECTED.items() if cause])
def test_the_first_mismatch_is_the_first_difference_from_the_twin(name):
    """Before it, nothing differs: the first layer is rerun with nothing but the declaration."""
    from validation.declared import declare, graph_of

    recording = read(name)
    result = verify_file(TRACES / f"{name}.npz").layers[0]
    d = declare(recording, LAYERS[0], graph_of(recording))
    twin = d.run()
    differs = (twin.spikes != d.spikes) | (np.abs(twin.membrane - d.membrane) > twin.bound)
    first = result.first
    assert differs[first.step, first.sample, first.neuron]
    assert not differs[: first.step].any()
    assert first.observed != first.expected


@names
def test_provenance_is_complete_and_names_no_machine(name):
    manifest = read(name).manifest
    p = manifest["provenance"]
    assert p["framework"] == next(s.framework for s in recordings.SHIPPED if s.name == name)
    assert {"version", "torch", "seed", "data", "dtype", "writer", "round_trip"} <= set(p)
    assert set(p["versions"]) == {"numpy", "scikit-learn", "nir", "nirtorch"}
    assert p["command"].endswith(f"--only {name}")
    assert p["test_samples"] >= 360
    assert p["accuracy"] > 0.8  # ten classes: chance is 0.1
    assert ("accuracy_after_round_trip" in p) == bool(EXPECTED[name][1])
    assert manifest["title"]
    text = repr(manifest)
    assert "/home" not in text and "/work" not in text and "/tmp" not in text


@names
def test_everything_is_recorded_and_weights_sum_exactly(name):
    recording = read(name)
    assert recording.input_spikes().shape == (STEPS, recordings.SAMPLES, SIZES[0])
    for layer, n in zip(LAYERS, SIZES[1:], strict=True):
        found = recording.layer(layer)
        assert found.size == n
        assert found.spikes().any()
        for quantity in ("input_current", "membrane"):
            assert found.get(quantity).dtype == np.float32
        weight = found.get("weight") / GRID
        np.testing.assert_array_equal(weight, np.round(weight))


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        recordings.main(["--only", "nothing"])
    assert stop.value.code == 2
    assert "01_snntorch" in capsys.readouterr().err


@pytest.mark.frameworks
@names
def test_recording_again_from_the_stored_weights_gives_the_same_arrays(name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    shipped = next(s for s in recordings.SHIPPED if s.name == name)
    pytest.importorskip(shipped.framework, reason=f"{shipped.framework} is not installed")
    torch.set_num_threads(1)
    stored = read(name)
    again = recordings.record_again(shipped, stored)
    for layer in LAYERS:
        old, new = stored.layer(layer), again.layer(layer)
        np.testing.assert_array_equal(new.spikes(), old.spikes())
        for quantity in ("input_current", "membrane", "synaptic_current"):
            if old.get(quantity) is not None:
                np.testing.assert_array_equal(new.get(quantity), old.get(quantity))
