"""`evsim verify GRAPH.nir --framework F`: what a framework makes of a graph, layer by layer."""

import json
from itertools import pairwise

import nir
import numpy as np
import pytest

from evsim.cli import main
from validation import live
from validation.live import raster, verify_graph

DT = 1e-4
RNG = np.random.default_rng(4)


def lif(n, **fields):
    each = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1, "v_reset": 0.0} | fields
    return nir.LIF(**{name: np.full(n, value) for name, value in each.items()})


def chain(path, *nodes, n_in=5, n_out=4):
    """A file with a chain of named nodes."""
    ends = {"input": nir.Input({"input": np.array([n_in])})}, {"output": nir.Output(np.ones(n_out))}
    named = {**ends[0], **dict(nodes), **ends[1]}
    named["output"] = nir.Output({"output": np.array([n_out])})
    nir.write(path, nir.NIRGraph(nodes=named, edges=list(pairwise(named)), type_check=False))
    return path


def two_layers(path, **fields):
    weights = RNG.normal(1.0, 1.0, (6, 5)), RNG.normal(1.0, 1.0, (4, 6))
    fc1, fc2 = (nir.Affine(w, np.zeros(len(w))) for w in weights)
    second = ("fc2", fc2), ("lif2", lif(4, **fields))
    return chain(path, ("fc1", fc1), ("lif1", lif(6)), *second)


@pytest.fixture
def files(tmp_path):
    """A graph of two layers, and its input."""
    x = (RNG.random((40, 2, 5)) < 0.4).astype(np.float32)
    np.savez(tmp_path / "in.npz", raster=x, dt=DT)
    return two_layers(tmp_path / "net.nir"), tmp_path / "in.npz"


# ---------------------------------------------------------------------------------- without torch


def test_input_as_a_raster_or_as_spikes(tmp_path):
    x = (RNG.random((9, 2, 6)) < 0.4).astype(np.float32)
    np.savez(tmp_path / "a.npz", raster=x)
    assert np.array_equal(raster(tmp_path / "a.npz", (2, 3), DT), x.reshape(9, 2, 2, 3))
    np.savez(tmp_path / "b.npz", raster=x[:, 0])
    assert np.array_equal(raster(tmp_path / "b.npz", (6,), DT), x[:, :1])
    steps, units = np.nonzero(x[:8, 0])
    np.savez(tmp_path / "c.npz", times=steps * DT, units=units)
    found = raster(tmp_path / "c.npz", (6,), DT)
    assert np.array_equal(found[:8, 0], x[:8, 0]) and not found[8:].any()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"raster": np.zeros((4, 7))}, r"\[T, B, 6\]"),
        ({"raster": np.full((4, 6), np.nan)}, "finite"),
        ({"raster": np.zeros((4, 6)), "dt": 1e-3}, "dt is 0.001"),
        ({"other": np.zeros(3)}, "raster, or times and units"),
        ({"times": np.array([1e9]), "units": np.array([0])}, "too many"),
        ({"times": np.array([1.0]), "units": np.array([9])}, "outside"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        raster(tmp_path / "in.npz", (6,), DT)


def test_modules_get_the_names_of_their_nodes():
    nodes = ["lif1.lif", "lif2", "out"]
    names = {"lif1_lif": "lif1.lif", "inner.lif2": "lif2", "lif2.module": "lif2", "out": "out"}
    assert {layer: live._node_of(layer, nodes) for layer in names} == names
    with pytest.raises(ValueError, match="stands for no node"):
        live._node_of("hidden", nodes)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--framework", "nobody"], "must be one of"),
        (["--framework", "norse"], "needs --input and --dt"),
        ([], "no zip file"),
        (["--dt", "1"], "--dt is for NIR graphs"),
    ],
)
def test_what_is_asked_wrong_is_said_in_one_line(files, more, words, capsys):
    graph, given = files
    if "nobody" in more:
        more = [*more, "--input", str(given), "--dt", "1"]
    assert main(["verify", str(graph), *more]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


# ------------------------------------------------------------------------------------------ live


def verified(framework, graph, given, folder):
    """Exit code and layers, as a user gets them."""
    pytest.importorskip("torch")
    pytest.importorskip(framework)
    out = folder / "out.json"
    asked = ["--framework", framework, "--input", str(given), "--dt", str(DT), "--json", str(out)]
    code = main(["verify", str(graph), *asked])
    (recording,) = json.loads(out.read_text())["recordings"]
    return code, {layer["name"]: layer for layer in recording["layers"]}


@pytest.mark.frameworks
@pytest.mark.parametrize("framework", ["norse", "snntorch", "spikingjelly"])
def test_importers_that_read_such_a_graph_right(framework, files, tmp_path):
    code, layers = verified(framework, *files, tmp_path)
    assert code == 0 and list(layers) == ["lif1", "lif2"]
    for layer in layers.values():
        checks = {check["quantity"]: check["verdict"] for check in layer["checks"]}
        assert layer["verdict"] in ("identical", "discretised")
        assert checks["spikes"] == checks["membrane"] == "identical"


@pytest.mark.frameworks
def test_an_importer_that_gets_three_things_wrong(files, tmp_path):
    """sinabs takes seconds for steps, resets by subtraction, and fires several times a step."""
    code, layers = verified("sinabs", *files, tmp_path)
    assert code == 1
    for layer in layers.values():
        assert set(layer["cause"]) == {"dt", "reset_kind", "compare"}


@pytest.mark.frameworks
def test_a_field_that_an_importer_ignores(files, tmp_path):
    graph = two_layers(tmp_path / "reset.nir", v_reset=0.05)
    code, layers = verified("snntorch", graph, files[1], tmp_path)
    assert code == 1 and layers["lif1"]["verdict"] != "mismatch"
    assert layers["lif2"]["cause"] == ["ignored:v_reset"]


@pytest.mark.frameworks
def test_a_neuron_that_an_importer_drops_is_a_layer_of_the_report(files, tmp_path):
    lost = nir.CubaLIF(
        tau_syn=np.full(5, 5e-3), tau_mem=np.full(5, 1e-2), r=np.ones(5), v_leak=np.zeros(5),
        v_threshold=np.ones(5), v_reset=np.zeros(5), w_in=np.ones(5),
    )  # fmt: skip
    fc = nir.Affine(RNG.normal(1.0, 1.0, (4, 5)), np.zeros(4))
    graph = chain(tmp_path / "cuba.nir", ("lost", lost), ("fc", fc), ("lif", lif(4)))
    pytest.importorskip("sinabs")
    result = verify_graph(graph, "sinabs", files[1], DT)
    found = {layer.name: layer for layer in result.layers}
    assert found["lost"].verdict == "mismatch" and found["lost"].cause == ["node_dropped"]


@pytest.mark.frameworks
def test_what_a_framework_refuses_is_refused_in_words(files, tmp_path):
    pytest.importorskip("spikingjelly")
    graph = two_layers(tmp_path / "leak.nir", v_leak=0.01)
    with pytest.raises(ValueError, match=r"spikingjelly cannot run .*leak\.nir"):
        verify_graph(graph, "spikingjelly", files[1], DT)
