"""Adapters from elsewhere: by entry point, and in another interpreter, played by this one."""

import json
import re
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

import validation
from evsim import cli
from validation import adapters, peer
from validation.conform import graphs, imports
from validation.verify import verify

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
CASES = {(case.subject, case.variant): case for case in graphs.cases()}


def example():
    """The adapter on the page of documentation."""
    return re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S).group(1)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a module as a package that announces an adapter, and names this interpreter."""

    def install(text, name="tinysim", value="tinysim_adapter"):
        info = tmp_path / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[evsim.adapters]\n{name} = {value}\n")
        (tmp_path / f"{value}.py").write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVSIM_TINYSIM_PYTHON", sys.executable)
    clear()
    yield install
    sys.modules.pop("tinysim_adapter", None)
    clear()


def clear():
    adapters.adapters.cache_clear()
    adapters._models.cache_clear()


def elsewhere():
    """The same adapter in another interpreter; this one's packages stand for its own."""
    text = example().replace(", here=True", "")
    assert text != example()
    return text.replace('"tinysim", "tinysim", "tinysim"', '"tinysim", "numpy", "numpy"')


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_the_adapter_of_the_page_conforms(where, installed):
    installed(example() if where == "here" else elsewhere())
    adapter = adapters.adapters()["tinysim"]
    assert adapter.PEER.version() == ("1.5" if where == "here" else np.__version__)
    wanted = {("LIF", ""): "discretised", ("LI", "v_leak=0.3"): "identical"}
    wanted |= {("recurrent loop", "LIF nested"): "discretised", ("Affine", "bias"): "refused"}
    for key, verdict in wanted.items():
        assert imports.ask(CASES[key], "tinysim", adapter.imported).verdict == verdict, key
    x = np.random.default_rng(0).normal(0.5, 1.0, (50, 2, 8))
    for words, make in next(adapter.natives()).variants():
        recording = validation.record(make(), x)
        result = verify(recording).layers[0]
        assert result.verdict == "discretised" and recording.layer("neurons").spikes().any(), words


def test_a_wrong_simulator_is_found_out(installed):
    installed(
        example().replace('np.where(fired, own["v_reset"], v)', 'v - own["v_threshold"] * fired')
    )
    row = imports.ask(CASES["LIF", ""], "tinysim", adapters.adapters()["tinysim"].imported)
    assert (row.verdict, row.cause) == ("deviating", ["reset_kind"])


def test_the_commands_know_it(installed, tmp_path, capsys, monkeypatch):
    installed(example())
    monkeypatch.setattr(graphs, "cases", lambda: [CASES["LIF", ""], CASES["LI", ""]])
    out = tmp_path / "a.json"
    asked = ["conform", "--framework", "tinysim"]
    assert cli.main([*asked, "--json", str(out)]) == 0
    answer = json.loads(out.read_text())
    assert (answer["framework"], answer["version"]) == ("tinysim", "1.5")
    older = {**answer, "framework": "older"}
    out.write_text(json.dumps([older, {**answer, "rows": []}]))
    assert cli.main([*asked, "--beside", str(out), "--json", str(out)]) == 0
    assert json.loads(out.read_text()) == [older, answer]
    assert cli.main(["conform", "--beside", str(out), "--json", str(tmp_path / "b.json")]) == 0
    assert json.loads((tmp_path / "b.json").read_text()) == [older, answer]
    assert cli.main(["conform"]) == 2
    capsys.readouterr()
    assert cli.main([*asked, "--against", str(out)]) == 0
    answer["rows"][0] |= {"verdict": "deviating", "cause": ["dt"]}
    out.write_text(json.dumps(answer))
    assert cli.main([*asked, "--against", str(out)]) == 1
    assert "import LIF: discretised, on record deviating (dt)" in capsys.readouterr().out
    out.write_text(json.dumps({**answer, "version": "1.4"}))
    assert cli.main([*asked, "--against", str(out)]) == 1
    out.write_text(json.dumps([]))
    assert cli.main([*asked, "--against", str(out)]) == 2
    assert "holds no answer of tinysim" in capsys.readouterr().err


@pytest.fixture
def net(tmp_path):
    """A NIR file of two layers, the second of which only integrates, and an input for it."""
    rng = np.random.default_rng(5)
    each = {"tau": np.full(4, 0.01), "r": np.ones(4), "v_leak": np.zeros(4)}
    nodes = {
        "fc": nir.Linear(rng.normal(4.0, 4.0, (4, 3))),
        "lif": nir.LIF(**each, v_threshold=np.ones(4), v_reset=np.zeros(4)),
        "out": nir.Affine(rng.normal(size=(4, 4)), rng.normal(size=4)),
        "li": nir.LI(**each),
    }
    nir.write(tmp_path / "net.nir", graphs.chain(nodes, (3,), (4,)))
    x = (rng.random((40, 2, 3)) < 0.4).astype(np.float32)
    np.savez(tmp_path / "in.npz", raster=x)
    return tmp_path / "net.nir", ["--input", str(tmp_path / "in.npz"), "--dt", "1e-3"]


def test_a_graph_runs_live_in_it(installed, net, tmp_path):
    installed(example())
    path, options = net
    asked = ["verify", str(path), "--framework", "tinysim", *options]
    out = tmp_path / "v.json"
    assert cli.main([*asked, "--json", str(out)]) == 0
    layers = json.loads(out.read_text())["recordings"][0]["layers"]
    assert [(one["name"], one["verdict"]) for one in layers] == [
        ("lif", "discretised"),
        ("li", "identical"),
    ]


@pytest.mark.parametrize(
    "text, name, words",
    [
        ("raise OSError('gone')", "tinysim", "cannot be loaded: OSError: gone"),
        ("MODELS = ()", "tinysim", "needs MODELS, a tuple, and a function record"),
        ("", "norse", "has a name that is taken"),
        ("from validation import flowing\nMODELS = (flowing.leaky('x.y'),)\ndef record(): pass",
         "tinysim", "must hold Models named tinysim.<class>"),
    ],
)  # fmt: skip
def test_what_is_no_adapter_is_refused_by_its_package(text, name, words, installed, capsys):
    installed(text, name)
    assert cli.main(["conform", "--framework", "sinabs"]) == 2
    error = capsys.readouterr().err
    assert words in error and f"the adapter {name!r} of {name} (tinysim_adapter)" in error


def test_an_interpreter_is_asked_for(monkeypatch, capsys):
    monkeypatch.delenv("EVSIM_NEST_PYTHON", raising=False)
    monkeypatch.setattr(peer, "GIVEN", {})
    assert cli.main(["conform", "--framework", "nest"]) == 2
    error = capsys.readouterr().err
    for words in ("--python nest=PATH", "EVSIM_NEST_PYTHON", "pip install nest-simulator"):
        assert words in error
    assert cli.main(["conform", "--framework", "nest", "--python", "nest=/nowhere/python"]) == 2
    assert "/nowhere/python: the interpreter named" in capsys.readouterr().err
    assert cli.main(["conform", "--framework", "nest", "--python", "python"]) == 2
    assert "--python wants NAME=PATH" in capsys.readouterr().err


BODIES = {
    "raises": ("raise KeyError('no such neuron')", "no such neuron"),
    "dies": ("import os; os.write(2, b'last words'); os._exit(3)", "last words"),
    "talks": ("print('chatter'); raise ValueError('after talk')", "after talk"),
    "NaN": ("nan = np.full((3, 1, 2), np.nan)\n"
            "    return PEER.answered(manifest, arrays, {'neurons/membrane': nan})",
            "membrane of layer 'neurons' is not finite in step 0"),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_what_goes_wrong_there_is_said_here(body, installed):
    code, words = BODIES[body]
    head = elsewhere().partition("def run")[0]
    installed(f"{head}def run(manifest, arrays):\n    {code}\n")
    model = next(adapters.adapters()["tinysim"].natives()).make()
    with pytest.raises(RuntimeError, match=re.escape(words)) as raised:
        validation.record(model, np.ones((3, 1, 2)))
    assert isinstance(raised.value, FloatingPointError) == (body == "NaN")
    if body != "dies":  # it goes on answering
        assert adapters.adapters()["tinysim"].PEER.version() == np.__version__


def test_nothing_of_a_peer_is_imported_here():
    found = adapters.adapters()
    assert {"brian2", "nest"} <= found.keys()
    for name, adapter in found.items():
        if hasattr(adapter, "PEER"):
            assert name not in sys.modules and adapter.__name__.endswith(f"adapters.{name}")


def test_a_cotangent_is_not_dropped_where_there_are_no_gradients(installed):
    installed(example())
    model = next(adapters.adapters()["tinysim"].natives()).make()
    x = np.ones((3, 1, 2), np.float32)
    with pytest.raises(ValueError, match="cotangent: tinysim has no gradients"):
        validation.record(model, x, cotangent=x)


NAN = """def run(manifest, arrays):
    raise FloatingPointError("the membrane is not finite")


def _run(manifest, arrays):"""


@pytest.mark.parametrize("wrong", [False, True])
def test_neurons_without_gradients_are_asked_forward(wrong, installed, monkeypatch):
    from validation.conform.answer import conform

    text = example()
    if wrong:  # what is not finite is no refusal
        text = text.replace("def run(manifest, arrays):", NAN)
        assert NAN in text
    installed(text)
    monkeypatch.setattr(graphs, "cases", list)
    rows = [row for row in conform("tinysim").rows if row.kind == "native"]
    assert rows and {row.verdict for row in rows} == {"deviating" if wrong else "discretised"}
    assert all("not finite" in row.note for row in rows if wrong)
