"""Frameworks in interpreters of their own: their answers are those on record, and what they
record is verified, graphs and gradients included.

A deviation that is gone, or new, fails here; the record is then made anew with

    evsim conform --framework NAME --beside docs/conformance.json \\
        --json docs/conformance.json --html docs/conformance.html
"""

import json
import os
from pathlib import Path

import nir
import numpy as np
import pytest

import validation
from evsim import cli
from validation import adapters, evtrace
from validation.conform import answer, graphs, record
from validation.live import verify_graph
from validation.verify import verify

DOCS = Path(__file__).parents[2] / "docs"
PEERS = {name: a for name, a in adapters.adapters().items() if hasattr(a, "PEER")}
ON_RECORD = PEERS.keys() & record.read(DOCS / "conformance.json").keys()
pytestmark = pytest.mark.peers


@pytest.fixture
def peer(request):
    """An adapter whose interpreter is named."""
    found = PEERS[request.param]
    if found.PEER.variable not in os.environ:
        pytest.skip(f"{found.PEER.variable} names no interpreter with {request.param}")
    return found


def of(*names):
    return pytest.mark.parametrize("peer", names, indirect=True)


@of(*sorted(ON_RECORD))
def test_conformance_is_as_recorded(peer):
    name = peer.PEER.framework
    known = record.read(DOCS / "conformance.json", [name])[name]
    assert list(record.changes(known, answer.conform(name))) == []


@of("spyx", "rockpool")
def test_neurons_compute_what_their_arguments_declare(peer):
    x = np.random.default_rng(8).normal(0.3, 0.6, (60, 2, 8)).astype(np.float32)
    for native in peer.natives():
        if native.make is not None:
            recording = validation.record(native.make(**native.base), x)
            layer = verify(recording).layers[0]
            assert layer.verdict == "discretised", (native.subject, layer.reason)
            assert recording.layers() and recording.layer("neurons").spikes().sum() > 20


def two_layers(folder):
    """A NIR file of two layers of leaky neurons with a bias, and an input."""
    rng = np.random.default_rng(6)
    each = {"r": np.ones(6), "v_leak": np.full(6, 0.1), "v_reset": np.full(6, -0.2)}
    lif = nir.LIF(tau=np.linspace(0.005, 0.02, 6), v_threshold=np.ones(6), **each)
    weights = [rng.normal(4.0, 4.0, (6, n)) for n in (3, 6)]
    nodes = {"fc1": nir.Affine(weights[0], np.full(6, 0.3)), "lif1": lif}
    nodes |= {"fc2": nir.Linear(weights[1]), "lif2": lif}
    nir.write(folder / "net.nir", graphs.chain(nodes, (3,), (6,)))
    x = (rng.random((100, 2, 3)) < 0.4).astype(np.float32)
    np.savez(folder / "in.npz", raster=x)
    return folder / "net.nir", folder / "in.npz"


@of("brian2", "nest")
def test_a_graph_of_two_layers_is_run_and_verified(peer, tmp_path):
    net, x = two_layers(tmp_path)
    result = verify_graph(net, peer.PEER.framework, x, 1e-3)
    assert result.version == peer.PEER.version()
    for layer in result.layers:
        assert layer.verdict == "discretised", (layer.name, layer.reason)
        assert {c.quantity: c.verdict for c in layer.checks}["membrane"] == "identical"
        assert {c.quantity: c.verdict for c in layer.checks}["input_current"] == "identical"
        assert layer.alone is not None and layer.alone.n_recorded > 50


@of("brian2", "nest")
def test_the_command_takes_the_interpreter_as_an_option(peer, tmp_path, monkeypatch, capsys):
    net, x = two_layers(tmp_path)
    name, python = peer.PEER.framework, os.environ[peer.PEER.variable]
    monkeypatch.delenv(peer.PEER.variable)
    asked = ["verify", str(net), "--framework", name, "--input", str(x), "--dt", "1e-3"]
    monkeypatch.setattr("validation.peer.GIVEN", {})
    assert cli.main(asked) == 2
    assert peer.PEER.variable in capsys.readouterr().err
    out = tmp_path / "v.json"
    assert cli.main([*asked, "--python", f"{name}={python}", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["recordings"][0]["framework"] == name


#: A neuron of each, and another surrogate of its own.
BACKWARD = {
    "spyx": ("LIF", {"beta": 0.9}, "spyx.arctan"),
    "rockpool": ("LIFTorch", {"tau_syn": 5e-3}, "rockpool.PeriodicExponential"),
}
RECORDED = Path(__file__).parents[1] / "validation" / "recorded"


def backward(peer, path=None):
    """A layer that ran and went back, on whole eighths: as shipped in `RECORDED`."""
    subject, options, _ = BACKWARD[peer.PEER.framework]
    make = {n.subject: n for n in peer.natives()}[subject].make
    rng = np.random.default_rng(7)
    x = (np.round(8 * rng.normal(0.3, 0.6, (40, 2, 8))) / 8).astype(np.float32)
    cotangent = rng.normal(size=x.shape).astype(np.float32)
    return validation.record(make(**options), x, cotangent=cotangent, path=path)


@of("spyx", "rockpool")
def test_a_gradient_is_verified_and_a_wrong_rule_is_not(peer):
    recording = backward(peer)
    layer = verify(recording).layers[0]
    assert layer.verdict == "discretised"
    assert {c.quantity: c.verdict for c in layer.checks}["gradient"] == "identical"
    entry = recording.manifest["layers"]["neurons"]
    entry["reset_detached"] = True
    layer = verify(recording).layers[0]
    assert (layer.verdict, layer.cause) == ("mismatch", ["reset_detach"])
    other = BACKWARD[peer.PEER.framework][2]
    entry |= {"reset_detached": False, "surrogate": {"name": other, "params": {}}}
    layer = verify(recording).layers[0]
    assert (layer.verdict, layer.cause) == ("mismatch", ["surrogate"])


@of("spyx", "rockpool")
def test_what_is_shipped_is_what_is_recorded(peer):
    """Where it is no more, `backward(peer, path)` makes the file anew."""
    shipped, now = evtrace.read(RECORDED / f"{peer.PEER.framework}.npz"), backward(peer)
    assert shipped.arrays.keys() == now.arrays.keys()
    for key, array in now.arrays.items():
        assert np.allclose(shipped.arrays[key], array, rtol=1e-5, atol=1e-6), key
