"""Runs as files: what is saved comes back to the bit, and broken files say what is wrong."""

from fractions import Fraction
from itertools import pairwise

import nir
import numpy as np
import pytest

import evsim
from validation import evtrace

N = 4


@pytest.fixture
def net(tmp_path):
    """A network of two layers, read from a file."""
    rng = np.random.default_rng(1)

    def cuba(n):
        names = ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold")
        return nir.CubaLIF(**{k: np.full(n, v) for k, v in zip(names, (4.0, 9.0, 1.0, 0.1, 0.6),
                                                              strict=True)})  # fmt: skip

    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "w": nir.Affine(rng.normal(2.0, 1.0, (N, 3)), rng.normal(0.0, 0.1, N)),
        "a.b": cuba(N),
        "v": nir.Linear(rng.normal(2.0, 1.0, (2, N))),
        "out": cuba(2),
        "output": nir.Output(np.array([2])),
    }
    chain = list(nodes)
    graph = nir.NIRGraph(nodes, list(pairwise(chain)), type_check=False)
    path = tmp_path / "graph.nir"
    nir.write(path, graph)
    return evsim.from_nir(path, spikes="dirac", v_init=0.05)


def train(kind):
    """Spikes off the grid, on it, with more digits than a double, or none."""
    rng = np.random.default_rng(2)
    units = rng.integers(0, 3, 30)
    if kind == "grid":
        return evsim.Spikes.on_grid(rng.integers(0, 200, 30), units, 0.1)
    if kind == "thirds":
        return evsim.Spikes.on_grid(rng.integers(0, 60, 30), units, Fraction(1, 3))
    if kind == "pairs":
        return evsim.Spikes(rng.uniform(0, 20, 30), units, times_lo=rng.uniform(-1e-17, 1e-17, 30))
    return evsim.Spikes(rng.uniform(0, 20, 30), units)


def voltages(record):
    t = np.linspace(0.0, record.until, 31)
    sizes = {name: record.network.size(name) for name in record.spikes}
    return [record.voltage(name, u, t).tobytes() for name, n in sizes.items() for u in range(n)]


@pytest.mark.parametrize("kind", ["times", "grid", "thirds", "pairs", "none"])
def test_a_saved_run_comes_back_to_the_bit(net, tmp_path, kind):
    inputs = {} if kind == "none" else {"input": train(kind)}
    start = {"out": {"v": [0.2, -0.2], "i": 0.125}}
    record = evsim.simulate(net, inputs, 21.0, initial=start, tie="arrival_first")
    path = tmp_path / "run.npz"
    evsim.save(record, path)
    again = evsim.load(path)
    assert (again.until, again.policies) == (record.until, record.policies)
    assert again.undecided == record.undecided and list(again.spikes) == ["a.b", "out"]
    for name, spikes in record.spikes.items():
        other = again.spikes[name]
        for field in ("times", "times_lo", "units"):
            assert getattr(spikes, field).tobytes() == getattr(other, field).tobytes()
    assert voltages(again) == voltages(record)
    if kind != "none":
        assert len(record.spikes["a.b"]) > 10 and len(record.spikes["out"]) > 0
        assert again.inputs["input"].dt == inputs["input"].dt
        redone = evsim.simulate(again.network, again.inputs, 21.0, initial=start)
        assert redone.spikes["out"].times.tobytes() == record.spikes["out"].times.tobytes()


def test_doubts_are_saved_too(net, tmp_path):
    record = evsim.simulate(net, {"input": train("times")}, 21.0)
    end = float(record.spikes["a.b"].times[3])
    short = evsim.simulate(net, {"input": train("times")}, end)
    assert [kind for *_, kind in short.undecided] == ["tie"]
    evsim.save(short, tmp_path / "run.npz")
    assert evsim.load(tmp_path / "run.npz").undecided == short.undecided


def test_only_what_can_be_read_again_is_saved(net, tmp_path):
    path = tmp_path / "run.npz"
    current = evsim.simulate(net, {"out": evsim.Current([0.0], [1.0])}, 1.0)
    with pytest.raises(ValueError, match="the current into 'out' cannot be saved"):
        evsim.save(current, path)
    own = evsim.Network()
    own.add_population("p", 1, evsim.IF())
    with pytest.raises(ValueError, match="networks that from_nir has read from a file"):
        evsim.save(evsim.simulate(own, {}, 1.0), path)
    assert not path.exists()


@pytest.fixture
def parts(net, tmp_path):
    """Manifest and arrays of a good file, to be broken."""
    path = tmp_path / "good.npz"
    evsim.save(evsim.simulate(net, {"input": train("grid")}, 21.0), path)
    recording = evtrace.read(path)
    manifest = {k: v for k, v in recording.manifest.items() if k not in ("arrays", "evtrace")}
    return manifest, dict(recording.arrays)


@pytest.mark.parametrize(
    "words, change",
    [
        ("it lacks 'undecided'", lambda m, a: m.pop("undecided")),
        ("it lacks 'options'", lambda m, a: m.pop("options")),
        ("it lacks 'graph.nir'", lambda m, a: a.pop("graph.nir")),
        ("it lacks 'out'", lambda m, a: m["initial"].pop("out")),
        ("initial state of 'out' has shapes", lambda m, a: m["initial"]["out"].pop()),
        ("is not a NIR graph", lambda m, a: a.update({"graph.nir": np.zeros(9, np.uint8)})),
        ("spikes must be", lambda m, a: m["options"].update(spikes="soft")),
        ("option", lambda m, a: m["options"].update(option=1)),
        ("must lie in 0..2; got 7",
         lambda m, a: a.update({"inputs/input/units": np.full(30, 7)})),
        ("non-negative", lambda m, a: m.update(grids={"input": "-1"})),
        ("is no run", lambda m, a: m.update(grids=[1])),
        ("is no run", lambda m, a: m.update(undecided=[["out", 0]])),
    ],
)  # fmt: skip
def test_damaged_runs_are_refused_in_one_line(parts, tmp_path, words, change):
    manifest, arrays = parts
    change(manifest, arrays)
    path = tmp_path / "bad.npz"
    evtrace.write(path, manifest, arrays)
    with pytest.raises(ValueError, match=words) as caught:
        evsim.load(path)
    assert "bad.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_other_files_are_no_runs(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK rubbish")
    with pytest.raises(ValueError, match=r"x\.npz"):
        evsim.load(path)
    with pytest.raises(FileNotFoundError):
        evsim.load(tmp_path / "absent.npz")
