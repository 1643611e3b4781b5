"""Conformance, asked of importers written for the test: a right one, and ones with one defect."""

import json
import types

import numpy as np
import pytest

from evsim import cli
from validation import adapters
from validation.conform import graphs, imports, meaning, page
from validation.conform.answer import Answer
from validation.conform.rows import VERDICTS, Row

CASES = {(case.subject, case.variant): case for case in graphs.cases()}
ASKED = [key for key in CASES if key[0] in ("Affine", "Linear", "Delay", "Threshold", "LI", "IF")]
ASKED += [key for key in CASES if key[0] in ("LIF", "CubaLIF", "CubaLI", "I", "Scale")]
DIRAC = [key for key in ASKED if key[1].endswith(graphs.UNIT_AREA)]
ASKED = [key for key in ASKED if key not in DIRAC]


def importer(**defects):
    """Euler steps of a chain of nodes, in plain NumPy; `defects` change what is read."""

    def run(graph, dt, x):
        for _, node in meaning.chain_of(graph):
            kind = type(node).__name__
            if kind in defects.get("drops", ()):
                continue
            x = OWN[kind](node, defects.get("dt", dt), x, defects)
        return x

    return run


def affine(node, dt, x, defects):
    turned = defects.get("transposed") and len(set(node.weight.shape)) == 1
    weight = node.weight.T if turned else node.weight
    bias = 0 if defects.get("bias_lost") else getattr(node, "bias", 0)
    return x @ weight.T.astype(np.float32) + np.float32(bias)


def delay(node, dt, x, defects):
    late = round(float(node.delay[0]) / dt)
    return np.concatenate([np.zeros_like(x[:late]), x[: len(x) - late]])


def neuron(node, dt, x, defects):
    field = {name: np.asarray(value) for name, value in vars(node).items() if name in FIELDS}
    for name in defects.get("ignored", ()):
        field[name] = np.full_like(field[name], FIELDS[name])
    leaky, synapse = "tau" in field or "tau_mem" in field, "tau_syn" in field
    rate = dt / field.get("tau", field.get("tau_mem")) if leaky else np.ones(1)
    gain = rate * field["r"] if leaky else dt * field["r"]
    if defects.get("gain") == "1":
        gain = np.ones_like(gain)
    if "one_gain" in defects:
        gain = np.full_like(gain, defects["one_gain"](gain))
    v = np.zeros(x.shape[1:]) + field.get("v_leak", 0.0)
    i, out = np.zeros_like(v), []
    for now in x.astype(float):
        if synapse:
            level = field["v_leak"] if defects.get("leaning") else 0.0
            i = i + dt / field["tau_syn"] * (field["w_in"] * now + level)
            now = i
            i = i * (1 - dt / field["tau_syn"])
        kept = v * defects.get("leak", 1.0)
        v = kept + gain * now - (rate * (v - field["v_leak"]) if leaky else 0.0)
        if "v_threshold" not in field:
            out.append(v.copy())
            continue
        th = field["v_threshold"]
        fires = v >= th if defects.get("compare") == ">=" else v > th
        v = v - fires * th if defects.get("soft") else np.where(fires, field["v_reset"], v)
        out.append(fires)
    found = np.array(out, np.float32)
    late = defects.get("late", 0)
    return np.concatenate([np.zeros_like(found[:late]), found[: len(found) - late]])


FIELDS = {"tau": 1.0, "tau_mem": 1.0, "tau_syn": 1.0, "r": 1.0, "v_leak": 0.0, "w_in": 1.0}
FIELDS |= {"v_threshold": 1.0, "v_reset": 0.0}
OWN = {
    "Affine": affine,
    "Linear": affine,
    "Scale": lambda node, dt, x, defects: x * np.float32(node.scale),
    "Threshold": lambda node, dt, x, defects: (x > node.threshold).astype(np.float32),
    "Delay": delay,
    **dict.fromkeys(("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"), neuron),
}


@pytest.mark.parametrize("key", ASKED)
def test_a_right_importer_is_right_everywhere(key):
    row = imports.ask(CASES[key], "", importer())
    assert row.verdict in ("identical", "discretised"), row
    assert row.cause == [] and row.kind == "import"


SQUARE = ("Linear", "square, behind an Affine")
LIF, CUBA = ("LIF", ""), ("CubaLIF", "r=tau_mem/dt w_in=tau_syn/dt")


@pytest.mark.parametrize(
    "key, defects, verdict, cause",
    [
        (("Affine", "bias"), {"bias_lost": True}, "deviating", {"bias_lost"}),
        (SQUARE, {"drops": ["Linear"]}, "dropped", {"node_dropped"}),
        (SQUARE, {"transposed": True}, "deviating", {"weight_transpose"}),
        (("Scale", ""), {"drops": ["Scale"]}, "dropped", {"node_dropped"}),
        (("Delay", "2 steps"), {"drops": ["Delay"]}, "dropped", {"node_dropped"}),
        (("Threshold", ""), {"drops": ["Threshold"]}, "dropped", {"node_dropped"}),
        (("LI", ""), {"drops": ["LI"]}, "dropped", {"node_dropped"}),
        (CUBA, {"drops": ["CubaLIF"]}, "dropped", {"node_dropped"}),
        (("LI", "r=2"), {"ignored": ["r"]}, "deviating", {"ignored:r"}),
        (("LI", "time in steps"), {"gain": "1"}, "deviating", {"input_gain"}),
        (("LI", "v_leak=0.3"), {"ignored": ["v_leak"]}, "deviating", {"ignored:v_leak"}),
        (("CubaLI", "w_in=2"), {"ignored": ["w_in"]}, "deviating", {"ignored:w_in"}),
        (("LIF", "r=2"), {"ignored": ["r"]}, "deviating", {"ignored:r"}),
        (("LIF", "v_reset=0.3"), {"ignored": ["v_reset"]}, "deviating", {"ignored:v_reset"}),
        (("LIF", "v_leak=0.3"), {"ignored": ["v_leak"]}, "deviating", {"ignored:v_leak"}),
        (("CubaLIF", "v_reset=0.3"), {"ignored": ["v_reset"]}, "deviating", {"ignored:v_reset"}),
        (LIF, {"soft": True}, "deviating", {"reset_kind"}),
        (CUBA, {"soft": True}, "deviating", {"reset_kind"}),
        (LIF, {"dt": 1e-4}, "deviating", {"dt"}),
        (LIF, {"gain": "1"}, "deviating", {"input_gain"}),
        (LIF, {"late": 1}, "deviating", {"recording_shifted"}),
        (("IF", "r=1/dt threshold hit exactly"), {"compare": ">="}, "deviating", {"compare"}),
        (("LIF", "v_reset=0.3"), {"ignored": ["v_reset"], "dt": 1e-4}, "deviating",
         {"ignored:v_reset", "dt"}),
        (("LIF", "r=2"), {"ignored": ["r"], "soft": True, "late": 1}, "deviating",
         {"ignored:r", "reset_kind", "recording_shifted"}),
        (("IF", "r=1/dt"), {"leak": 0.9}, "deviating", {"leak_added"}),
        (("LIF", "tau=per neuron"), {"one_gain": np.min}, "deviating", {"input_gain"}),
        (("CubaLIF", "v_leak=0.3"), {"leaning": True}, "deviating", {"leak_in_synapse"}),
    ],
)  # fmt: skip
def test_one_defect_is_found_with_its_cause(key, defects, verdict, cause):
    row = imports.ask(CASES[key], "", importer(**defects))
    assert (row.verdict, set(row.cause)) == (verdict, cause), row


@pytest.mark.parametrize("key", DIRAC)
def test_spikes_of_unit_area(key):
    def dirac(graph, dt, x):
        return importer()(graph, dt, x / dt)

    assert imports.ask(CASES[key], "", dirac).verdict == "discretised"
    assert imports.ask(CASES[key], "", importer()).cause == ["spike_convention"]
    row = imports.ask(CASES[key], "", importer(ignored=["r"]))
    also = ["ignored:r"] if "tau" in key[1] else []
    assert (row.verdict, row.cause) == ("deviating", ["spike_convention", *also])


def test_time_constants_that_are_equal():
    """A formula that divides by their difference."""

    def divides(graph, dt, x):
        node = meaning.loop_parts(graph)[1]
        y = np.zeros(x.shape)
        with np.errstate(all="ignore"):
            return y + np.mean(1.0 / (node.tau_mem - node.tau_syn) * (node.tau_mem - node.tau_syn))

    case = CASES["recurrent loop", "CubaLIF flat"]
    row = imports.ask(case, "", divides)
    assert (row.verdict, row.cause) == ("deviating", ["equal_constants"])
    row = imports.ask(case, "", lambda graph, dt, x: np.full(x.shape, np.nan))
    assert (row.verdict, row.cause) == ("deviating", [])


def test_a_batch_that_is_flattened_with_the_rest():
    case = CASES["Flatten", "start_dim=0"]
    assert imports.ask(case, "", lambda graph, dt, x: x.reshape(*x.shape[:2], -1)).verdict == (
        "identical"
    )
    row = imports.ask(case, "", lambda graph, dt, x: x.reshape(len(x), -1))
    assert (row.verdict, row.cause) == ("deviating", ["ignored:batch"])


def test_an_exception_is_a_refusal_and_nonsense_deviates():
    def raises(graph, dt, x):
        raise KeyError("no such node")

    assert imports.ask(CASES[LIF], "", raises).verdict == "refused"
    nonsense = {
        "is not finite": lambda graph, dt, x: np.full((80, 2, 8), np.nan),
        "has shape": lambda graph, dt, x: np.zeros((80, 2, 3)),
        "no train of spikes": lambda graph, dt, x: np.full((80, 2, 8), 0.37),
    }
    for words, run in nonsense.items():
        row = imports.ask(CASES[LIF], "", run)
        assert row.verdict == "deviating" and words in row.note, row


def looped(rewired=False, cut=False):
    """Euler LIF on a loop whose spikes come back one step later."""

    def run(graph, dt, x):
        first, lif, back = meaning.loop_parts(graph)
        v, last, out = np.zeros(4), np.zeros(4), []
        for now in x[:, 0].astype(float):
            fed = first.weight @ now
            fed = back.weight @ (fed + last) if rewired else fed + (not cut) * back.weight @ last
            v = v + dt / lif.tau * (lif.r * fed - v)
            last = (v > lif.v_threshold).astype(float)
            v = np.where(last, lif.v_reset, v)
            out.append(last)
        return np.array(out)[:, None]

    return run


@pytest.mark.parametrize("form", ["flat", "nested"])
def test_loops(form):
    case = CASES["recurrent loop", f"LIF {form}"]
    assert imports.ask(case, "", looped()).verdict == "discretised"
    assert imports.ask(case, "", looped(cut=True)).verdict == "dropped"
    row = imports.ask(case, "", looped(rewired=True))
    assert (row.verdict, row.cause[:1]) == ("deviating", ["ignored:edges"])


@pytest.fixture
def framework(monkeypatch):
    """An adapter of a framework that is always installed."""
    stub = types.SimpleNamespace(imported=importer(), travellers=lambda: [], natives=lambda: [])
    monkeypatch.setattr(adapters, "adapters", lambda: {"numpy": stub})
    return "numpy"


def test_the_command_writes_rows(framework, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(graphs, "cases", lambda: [CASES[LIF], CASES["Affine", "bias"]])
    out, html = tmp_path / "a.json", tmp_path / "a.html"
    asked = ["conform", "--framework", framework, "--json", str(out), "--html", str(html)]
    assert cli.main(asked) == 0
    answer = json.loads(out.read_text())
    assert answer["framework"] == "numpy" and answer["version"] == np.__version__
    assert [row["verdict"] for row in answer["rows"]] == ["discretised", "identical"]
    assert set(answer["rows"][0]) >= {"kind", "subject", "variant", "verdict", "cause"}
    assert "1 identical, 1 discretised" in capsys.readouterr().out
    assert html.read_text().count('class="badge discretised"') == 2  # its row and the legend


def test_bad_input(framework, tmp_path, capsys, monkeypatch):
    assert cli.main(["conform", "--framework", "nothing"]) == 2
    assert "there are numpy" in capsys.readouterr().err
    stub = adapters.adapters()["numpy"]
    monkeypatch.setattr(adapters, "adapters", lambda: {"no_such_package": stub})
    assert cli.main(["conform", "--framework", "no_such_package"]) == 2
    assert "evsim[frameworks]" in capsys.readouterr().err


def test_the_page_escapes_what_frameworks_say(tmp_path):
    rows = [Row("native", "<b>", "a&b", verdict, ["x"], "<script>") for verdict in VERDICTS]
    page.write_html([Answer("name", "1", rows)], tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert "<script>" not in text and "<b>" not in text and "&lt;script&gt;" in text
