"""Runs as files: what is saved comes back to the bit, and broken files say what is wrong."""

import json
from fractions import Fraction
from itertools import pairwise

import nir
import numpy as np
import pytest
import scipy.sparse

import evsim
from evsim.described import described, network_of
from evsim.start import initial_states
from validation import evtrace

N = 4
ROWS, SLASH = "network/projections/0", "inh/b"


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


def everything():
    """Every model, every form of parameters and synapses, a cycle, names that are no keys."""
    rng = np.random.default_rng(5)
    net = evsim.Network()
    net.add_input("in", 5)
    net.add_input("a/b", 3)
    taus = {"tau_mem": 10.0, "tau_syn": rng.uniform(2.0, 8.0, 4)}
    models = {
        "lif": evsim.LIF(t_ref=0.5, refractory="hold_fire", reset="subtract", **taus),
        "types": evsim.LIF(tau_mem=9.0, tau_syn={SLASH: 3.0, "..": rng.uniform(1, 2, 4)}),
        "alpha": evsim.AlphaLIF(graze=">", **taus),
        "adaptive": evsim.AdaptiveLIF(tau_th=20.0, jump_th=0.25, **taus),
        "delta": evsim.DeltaLIF(tau_mem=10.0, v_leak=0.1),
        "if": evsim.IF(bias=rng.uniform(0.1, 0.3, 4)),
        "charged": evsim.IF(input="exp", tau_syn=4.0),
        "ramp": evsim.IF(input="ramp"),
        "qif": evsim.QIF(tau=5.0, v_th=np.array([np.inf, 4.0, 5.0, np.inf])),
        "qif all": evsim.QIF(tau=5.0),
        "li": evsim.LI(tau_mem=10.0, tau_syn=None),
    }
    for name, model in models.items():
        net.add_population(name, 4, model)
    net.add_population("more", 2000, evsim.LI(tau_mem=10.0), initial={"v": np.arange(2000) / 7})
    net.add_population(
        "set", 2, evsim.LIF(tau_mem=9.0, tau_syn={"a": 3.0}),
        initial={"v": 0.25, "i": {"a": np.array([0.5, -0.0])}},
    )  # fmt: skip
    sparse = scipy.sparse.random_array((5, 4), density=0.6, rng=rng, format="csr")
    delay = sparse.copy()
    delay.data = rng.uniform(0.5, 2.0, sparse.nnz)
    net.connect("in", "lif", sparse * 20, delay)
    net.connect("in", "lif", rng.normal(2, 1, (5, 4)), 0.1, name="again")
    net.connect("in", "types", rng.normal(1, 1, (5, 4)), synapse="..")
    net.connect(
        "a/b", "types", rng.normal(1, 1, (3, 4)), rng.uniform(0, 1, (3, 4)), synapse="inh/b"
    )
    for name in ("alpha", "adaptive", "delta", "if", "charged", "ramp", "qif", "qif all", "li"):
        net.connect("a/b", name, rng.normal(2, 1, (3, 4)))
    net.connect("a/b", "delta", 0.5, 1.0, pre_units=[0, 0, 2], post_units=[3, 3, 1], name="twice",
                pulse_width=2.0)  # fmt: skip
    net.connect("lif", "lif", rng.normal(0.1, 0.5, (4, 4)), 1.5, name="back")
    train = evsim.Spikes.on_grid(rng.integers(0, 100, 40), rng.integers(0, 3, 40), 0.3)
    drive = evsim.Current([0, 30], rng.normal(0, 0.2, (2, 4)), dt=0.1)
    off = evsim.Current([0.5, 3.25], [0.1, -0.1])
    return net, {"a/b": train, "in": evsim.Spikes(rng.uniform(0, 30, 60), rng.integers(0, 5, 60)),
                 "lif": drive, "if": off}  # fmt: skip


def columns(projection):
    names = ("weight", "delay", "indptr", "targets")
    return [np.asarray(getattr(projection, name)).tobytes() for name in names] + [
        projection.pulse_width, projection.port, projection.pre, projection.post,
    ]  # fmt: skip


def test_every_network_is_described_to_the_bit(tmp_path):
    net, inputs = everything()
    arrays = {}
    entry = json.loads(json.dumps(described(net, arrays)))
    again = network_of(entry, arrays)
    assert again.inputs == net.inputs and list(again.populations) == list(net.populations)
    for name, population in net.populations.items():
        other = again.populations[name]
        assert repr(other.model) == repr(population.model) and other.n == population.n
        assert repr(other.initial) == repr(population.initial)
    assert list(map(columns, again.projections.values())) == list(
        map(columns, net.projections.values())
    )
    path = tmp_path / "run.npz"  # without running: all the rest of a record
    start = {k: s.state for k, s in initial_states(net, None).items()}
    policies = {"tie": "arrival_first", "multi": "repeat"}
    silent = {name: evsim.Spikes([], []) for name in net.populations}
    evsim.save(evsim.Record(net, inputs, 30.0, policies, silent, [], start), path)
    found = evsim.load(path)
    assert found.policies == policies and found.network.origin is None
    for name, state in start.items():
        assert [x.tobytes() for x in found.initial[name]] == [x.tobytes() for x in state]
    for name in ("lif", "if"):
        for field in ("times", "values", "dt"):
            a, b = getattr(found.inputs[name], field), getattr(inputs[name], field)
            assert np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype


def test_a_run_of_an_own_network_goes_on_to_the_bit(tmp_path):
    rng = np.random.default_rng(3)
    net = evsim.Network()
    net.add_input("in", 4)
    net.add_population("p", 6, evsim.LIF(tau_mem=10.0, tau_syn=4.0), initial={"v": 0.25})
    net.connect("in", "p", rng.normal(2, 1, (4, 6)), rng.uniform(0.1, 2, (4, 6)))
    net.connect("p", "p", rng.normal(0, 1, (6, 6)), 0.7)
    times, units = np.sort(rng.uniform(0, 40, 80)), rng.integers(0, 4, 80)
    whole = evsim.simulate(net, {"in": evsim.Spikes(times, units)}, 40.0)
    early = times <= 20.0
    first = evsim.simulate(net, {"in": evsim.Spikes(times[early], units[early])}, 20.0)
    path = tmp_path / "run.npz"
    evsim.save(first, path)
    loaded = evsim.load(path)
    assert voltages(loaded) == voltages(first) and loaded.undecided == first.undecided
    late = {"in": evsim.Spikes(times[~early], units[~early])}
    done = evsim.simulate(loaded.network, late, 40.0, resume=loaded)
    for field in ("times", "times_lo", "units"):
        a, b = (getattr(r.spikes["p"], field) for r in (done, whole))
        assert a.tobytes() == b.tobytes()
    assert len(whole.spikes["p"]) > 20
    second = tmp_path / "again.npz"
    evsim.save(loaded, second)
    a, b = evtrace.read(path), evtrace.read(second)
    assert a.manifest == b.manifest and second.read_bytes() == path.read_bytes()


def test_a_changed_network_is_no_longer_its_file(net, tmp_path):
    net.add_population("more", 1, evsim.IF(bias=1.0))
    path = tmp_path / "run.npz"
    evsim.save(evsim.simulate(net, {}, 2.5), path)
    assert evsim.load(path).spikes["more"].times.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "words, change",
    [
        ("it lacks 'projections'", lambda m, a: m["network"].pop("projections")),
        ("is no neuron model", lambda m, a: m["network"]["populations"][0].update(model="os")),
        ("is no run", lambda m, a: m["network"]["populations"][0].update(model=["LIF"])),
        ("unexpected keyword",
         lambda m, a: m["network"]["populations"][0]["parameters"].update(x=1)),
        ("tau_mem must be positive",
         lambda m, a: m["network"]["populations"][0]["parameters"].update(tau_mem=-1)),
        ("must be a positive integer", lambda m, a: m["network"]["populations"][0].update(n=1.5)),
        ("contradict", lambda m, a: a.update({f"{ROWS}/indptr": np.array([0, 9, 4])})),
        ("contradict", lambda m, a: a.update({f"{ROWS}/indptr": np.array([-2, 2, 4])})),
        ("contradict", lambda m, a: a.update({f"{ROWS}/targets": np.zeros(4)})),
        ("lie outside",
         lambda m, a: a.update({f"{ROWS}/targets": np.array([0, 1, 0, 2**31 - 1])})),
        ("weight", lambda m, a: a.update({f"{ROWS}/weight": np.full(4, np.inf)})),
        ("delay", lambda m, a: m["network"]["projections"][0].update(delay=-1.0)),
        ("it lacks", lambda m, a: m["network"]["projections"][0].update(post="q")),
        ("is no run", lambda m, a: m.update(network=7)),
        ("tie must be one of", lambda m, a: m["policies"].update(tie="later")),
        ("multi must be one of", lambda m, a: m["policies"].update(multi=["hold"])),
        ("it lacks 'more'", lambda m, a: m["policies"].update(more=1)),
        ("is no run", lambda m, a: m["network"].update(inputs=[["in", 10**15, 3]])),
        (f"it lacks '{ROWS}/weight'",
         lambda m, a: a.pop(f"{ROWS}/weight")),
        ("values must", lambda m, a: a.update({"currents/p/values": np.zeros((3, 3))})),
    ],
)  # fmt: skip
def test_hostile_networks_are_refused_in_one_line(tmp_path, words, change):
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    net.connect("in", "p", scipy.sparse.csr_array(np.ones((2, 2))))
    path = tmp_path / "bad.npz"
    current = evsim.Current([0.5], [0.1])
    evsim.save(evsim.simulate(net, {"p": current}, 1.0), path)
    recording = evtrace.read(path)
    manifest = {k: v for k, v in recording.manifest.items() if k not in ("arrays", "evtrace")}
    arrays = dict(recording.arrays)
    change(manifest, arrays)
    evtrace.write(path, manifest, arrays)
    with pytest.raises(ValueError, match=words) as caught:
        evsim.load(path)
    assert "bad.npz" in str(caught.value) and "\n" not in str(caught.value)


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
