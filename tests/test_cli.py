"""The command line: what it prints, what it writes, and its exit codes."""

import json
import os
import resource
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from typer.testing import CliRunner

import evsim
from evsim import cli
from validation import evtrace
from validation.result import LayerResult, RecordingResult

RUN = [sys.executable, "-m", "evsim"]


def result(path, *verdicts):
    layers = [LayerResult(f"l{i}", "snntorch.Leaky", v, "Said so.") for i, v in enumerate(verdicts)]
    return RecordingResult(str(path), "snntorch", "1.0.0", layers)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def verify_file(monkeypatch):
    """Verification that reads the file and says what the file's name says."""

    def fake(path, progress=None):
        if progress is not None:
            progress(1, 2, "layer")
        if not path.name.startswith("ok"):
            evtrace.read(path)
        return result(path, *path.stem.split("-")[1:])

    module = types.ModuleType("validation.verify")
    module.verify_file = fake
    monkeypatch.setitem(sys.modules, "validation.verify", module)
    return module


def one_line(text, *words):
    assert text.count("\n") == 1 and text.startswith("evsim: error: "), text
    assert "Traceback" not in text
    for word in words:
        assert word in text


# --------------------------------------------------------------------------------- help, version


@pytest.mark.parametrize("command", [[], ["demo"], ["verify"], ["run"], ["bench"]])
def test_help_shows_an_example(command):
    found = CliRunner().invoke(cli.app, [*command, "--help"])
    assert found.exit_code == 0
    assert not command or f"Example: evsim {command[0]}" in found.output
    assert "[s]" not in found.output and "[cyan]" not in found.output


def test_help_names_the_flags_of_from_nir():
    help_text = CliRunner().invoke(cli.app, ["run", "--help"]).output
    flags = ("spikes", "pulse-width", "reset", "compare", "recurrent-delay", "v-init", "multi")
    for flag in flags:
        assert f"--{flag}" in help_text


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("evsim 0.")


def test_no_command_shows_help(capsys):
    assert cli.main([]) == 2
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["verfy"], "verfy"),
        (["verify"], "TRACE"),
        (["verify", "--htm", "x", "y"], "--htm"),
        (["run", "g.nir"], "--input"),
        (["run", "g.nir", "--until", "soon"], "--until"),
        (["run", "g.nir", "--input", "i.npz", "--until", "1", "--out", "o.npz"], "--spikes"),
    ],
)
def test_usage_errors_take_one_line(arguments, word, capsys):
    assert cli.main(arguments) == 2
    one_line(capsys.readouterr().err, word)


def test_help_is_quick():
    """The command line itself loads nothing heavy, whatever the package does."""
    heavy = "numpy numba scipy matplotlib nir h5py validation.verify".split()
    code = (
        "import sys, types; package = types.ModuleType('evsim'); "
        f"package.__path__ = [{os.path.dirname(evsim.__file__)!r}]; "
        "sys.modules['evsim'] = package; from evsim.cli import main; main(['--help']); "
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    best = np.inf
    for _ in range(3):
        start = used_by_children()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        best = min(best, used_by_children() - start)
    assert done.stderr.strip() == "[]"
    assert best < 0.5


def used_by_children():
    """Processor time: others may have the processors while tests run side by side."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["ok-identical-tie-discretised"], 0),
        (["ok-identical", "ok-tie"], 0),
        (["ok-identical-mismatch"], 1),
        (["ok-identical", "ok-mismatch"], 1),
        (["ok-unverifiable"], 1),
        (["ok"], 1),
    ],
)
def test_exit_codes(names, code, verify_file, capsys):
    assert cli.main(["verify", *(f"{n}.npz" for n in names)]) == code
    out, err = capsys.readouterr()
    assert err == ""
    for verdict in "-".join(names).replace("ok", "").split("-"):
        assert verdict in out


def test_reports_are_written(verify_file, folder):
    arguments = ["verify", "ok-identical.npz", "--html", "r.html", "--json", "r.json"]
    assert cli.main(arguments) == 0
    found = json.loads((folder / "r.json").read_text())
    assert found["recordings"][0]["verdict"] == "pass"
    assert (folder / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert sorted(os.listdir(folder)) == ["r.html", "r.json"]


def bad_inputs(folder):
    (folder / "folder.npz").mkdir()
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("hello\nworld\n")
    (folder / "noise.npz").write_bytes(np.random.default_rng(0).bytes(9999))
    np.savez(folder / "plain.npz", a=np.arange(3))
    np.savez(folder / "pickle.npz", a=np.array([{}], dtype=object))
    return ["absent", "folder", "empty", "text", "noise", "plain", "pickle"]


def test_bad_files_are_named_in_one_line(verify_file, folder, capsys):
    for name in bad_inputs(folder):
        assert cli.main(["verify", f"{name}.npz"]) == 2
        out, err = capsys.readouterr()
        one_line(err, f"{name}.npz")
        assert out == ""


def test_a_bad_file_does_not_hide_the_others(verify_file, folder, capsys):
    (folder / "bad.npz").write_text("no")
    arguments = ["verify", "ok-identical.npz", "bad.npz", "ok-mismatch.npz", "--json", "r.json"]
    assert cli.main([*arguments, "--html", "r.html"]) == 2
    out, err = capsys.readouterr()
    assert "ok-identical.npz" in out and "ok-mismatch.npz" in out
    one_line(err, "bad.npz")
    found = json.loads((folder / "r.json").read_text())
    assert len(found["recordings"]) == 2 and found["errors"][0]["path"] == "bad.npz"
    assert "bad.npz" in (folder / "r.html").read_text()


@pytest.mark.parametrize("flag", ["--html", "--json"])
@pytest.mark.parametrize("target", ["nowhere/r", "."])
def test_unwritable_outputs_are_noticed_before_the_work(flag, target, monkeypatch, capsys):
    module = types.ModuleType("validation.verify")  # without verify_file: nothing may ask for it
    monkeypatch.setitem(sys.modules, "validation.verify", module)
    assert cli.main(["verify", "ok.npz", flag, target]) == 2
    one_line(capsys.readouterr().err, target.split("/")[0])


def test_a_report_does_not_replace_its_recording(verify_file, folder, capsys):
    (folder / "ok-tie.npz").write_text("precious")
    assert cli.main(["verify", "ok-tie.npz", "--json", "./ok-tie.npz"]) == 2
    one_line(capsys.readouterr().err, "ok-tie.npz")
    assert (folder / "ok-tie.npz").read_text() == "precious"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("weight[3] is nan\nand more"), "weight[3] is nan and more"),
        (TypeError("tau_mem must be a number"), "tau_mem"),
        (FileNotFoundError(2, "No such file or directory", "x.npz"), "x.npz: No such file"),
        (MemoryError(), "not enough memory"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_the_library_raises_becomes_one_line(error, words, verify_file, capsys):
    def fail(path, progress=None):
        raise error

    verify_file.verify_file = fail
    assert cli.main(["verify", "a.npz"]) == 2
    one_line(capsys.readouterr().err, words, "a.npz" if "x.npz" not in words else "x.npz")


def test_a_defect_of_evsim_is_not_hidden(verify_file):
    def fail(path, progress=None):
        raise AttributeError("a defect")

    verify_file.verify_file = fail
    with pytest.raises(AttributeError):
        cli.main(["verify", "a.npz"])


def test_ctrl_c(verify_file, folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("validation.page._recording", interrupt)
        assert cli.main(["verify", "ok-tie.npz", "--html", "r.html"]) == 130
    verify_file.verify_file = interrupt
    assert cli.main(["verify", "ok-tie.npz", "--html", "r.html"]) == 130
    assert os.listdir(folder) == []


# ------------------------------------------------------------------------------------------ demo


def test_demo_writes_its_report_and_nothing_else(verify_file, folder, monkeypatch, capsys):
    traces = folder / "installed" / "traces"
    traces.mkdir(parents=True)
    for name in ("ok-mismatch", "ok-identical", "ok-discretised"):
        (traces / f"{name}.npz").touch()
    monkeypatch.setattr("importlib.resources.files", lambda name: folder / "installed")
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    assert cli.main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert out.index("discretised") < out.index("ok-identical") < out.index("ok-mismatch")
    assert err == "" and "report.html" in out
    assert os.listdir() == ["report.html"]


def test_demo_without_recordings(folder, monkeypatch, capsys):
    (folder / "traces").mkdir()
    monkeypatch.setattr("importlib.resources.files", lambda name: folder)
    assert cli.main(["demo"]) == 2
    one_line(capsys.readouterr().err, "no recordings")


# ------------------------------------------------------------------------------------------- run


class Spikes:
    def __init__(self, times, units):
        self.times, self.units = np.asarray(times, float), np.asarray(units, np.int64)


@pytest.fixture
def library(monkeypatch, folder):
    """The library as far as `run` calls it; what it was called with."""
    calls = types.SimpleNamespace(inputs={"in": 2})

    def from_nir(graph, **options):
        if not graph.exists():
            raise FileNotFoundError(2, "No such file or directory", str(graph))
        calls.options = options
        return types.SimpleNamespace(inputs=calls.inputs)

    def simulate(network, inputs, until, **more):
        calls.spikes, calls.until, calls.more = inputs, until, more
        return types.SimpleNamespace(spikes={"out": Spikes([0.1, 0.2], [0, 0])}, undecided=[1])

    for name, value in {"from_nir": from_nir, "simulate": simulate, "Spikes": Spikes}.items():
        monkeypatch.setattr(evsim, name, value, raising=False)
    monkeypatch.setattr(evsim, "save", lambda r, path: path.write_text("run"), raising=False)
    (folder / "g.nir").write_text("graph")
    np.savez(folder / "i.npz", times=[0.1, 0.2], units=[0, 1])
    return calls


CALL = "run g.nir --input i.npz --until 0.5 --out o.npz --spikes dirac".split()


def test_run_simulates_and_writes(library, folder, capsys):
    assert cli.main(CALL) == 0
    assert library.options == {"spikes": "dirac"} and library.until == 0.5
    assert library.spikes["in"].times.tolist() == [0.1, 0.2]
    assert (folder / "o.npz").read_text() == "run"
    out = capsys.readouterr().out
    assert "out: 2 spikes" in out and "1 decision" in out and "o.npz" in out


def test_every_flag_arrives(library):
    more = "--pulse-width 1e-3 --reset subtract --compare >= --recurrent-delay 0 --v-init v_reset"
    assert cli.main([*CALL[:-1], "pulse", *more.split()]) == 0
    assert library.options == {
        "spikes": "pulse",
        "pulse_width": 1e-3,
        "reset": "subtract",
        "compare": ">=",
        "recurrent_delay": 0.0,
        "v_init": "v_reset",
    }
    assert cli.main([*CALL, "--v-init", "-0.5"]) == 0
    assert library.options["v_init"] == -0.5 and library.more == {}
    assert cli.main([*CALL, "--multi", "hold"]) == 0
    assert library.more == {"multi": "hold"}


@pytest.mark.parametrize(
    ("inputs", "arrays", "words"),
    [
        (["a"], {"a/times": [0.1], "a/units": [0]}, None),
        (["a/b"], {"a/b/times": [0.1], "a/b/units": [0]}, None),
        (["a", "b"], {"a/times": [], "a/units": [], "b/times": [], "b/units": []}, None),
        ([], {}, None),
        (["a"], {"a/times": [0.1]}, "'a/units' is missing"),
        (["a"], {"times": [0.1]}, "'a/units' is missing"),
        (["a"], {"b/times": [], "b/units": []}, "'a/times' is missing"),
        (["a"], {"a/times": [], "a/units": [], "b/times": []}, "'b/times' is no input"),
        (["a", "b"], {"times": [0.1], "units": [0]}, "need one input, the network has 2"),
        ([], {"times": [0.1], "units": [0]}, "need one input, the network has 0"),
        (["a"], {"times": [0.1], "units": [0], "x": []}, "'a/x' is no input"),
    ],
)
def test_inputs_are_matched_by_name(inputs, arrays, words, library, folder, capsys):
    library.inputs = dict.fromkeys(inputs, 1)
    np.savez(folder / "i.npz", **arrays)
    assert cli.main(CALL) == (0 if words is None else 2)
    if words is None:
        assert list(library.spikes) == inputs
    else:
        one_line(capsys.readouterr().err, words, "i.npz")
        assert not (folder / "o.npz").exists()


def test_run_names_its_bad_input(library, folder, capsys):
    for name in bad_inputs(folder):
        assert cli.main([*CALL[:3], f"{name}.npz", *CALL[4:]]) == 2
        one_line(capsys.readouterr().err, f"{name}.npz")
    assert cli.main(["run", "absent.nir", *CALL[2:]]) == 2
    one_line(capsys.readouterr().err, "absent.nir")
    assert cli.main([*CALL[:6], "--out", "i.npz", "--spikes", "dirac"]) == 2
    one_line(capsys.readouterr().err, "i.npz", "replace an input")


# ---------------------------------------------------------------------------------- as a process


def test_the_process_says_2_and_one_line(folder):
    (folder / "text.npz").write_text("hello")
    for path in ("absent.npz", "text.npz", "."):
        done = subprocess.run([*RUN, "verify", path], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        one_line(done.stderr, path)


def test_a_closed_pipe_is_no_error(folder):
    done = subprocess.run(
        f"{' '.join(RUN)} --help | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1) and done.stderr == ""


SLOW = """
import signal, sys, time, types
# A test run in the background of a shell ignores the signal, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
module = types.ModuleType("validation.verify")
def verify_file(path, progress=None):
    print("working", flush=True)
    time.sleep(60)
module.verify_file = verify_file
sys.modules["validation.verify"] = module
from evsim.cli import main
sys.exit(main(["verify", "a.npz", "--html", "r.html"]))
"""


def test_ctrl_c_as_a_process(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")
    assert os.listdir(folder) == []


# ------------------------------------------------------------------------------------------ bench


def test_bench_prints_its_rows_and_writes_them(folder, capsys, monkeypatch):
    from evsim.bench import short

    rows = [
        short.Row("dense", 0.5, "x", 0.4, True, "much"),
        short.Row("slow", 3.0, "s", 1.5, False, "[a]"),
        short.Row("events", 51.0, "million events/s", 0.0, True, ""),
    ]
    found = {"versions": {"python": "3"}, "seed": 0, "rounds": 5, "rows": rows}
    monkeypatch.setattr(short, "run", lambda progress: progress(1, 2, "x") or found)
    assert cli.main(["bench", "--json", "b.json"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "0.50 x" in out and ">= 0.4" in out and "<= 1.5" in out and "[a]" in out
    written = json.loads((folder / "b.json").read_text())
    assert [row["met"] for row in written["rows"]] == [True, False, True]
    assert sorted(os.listdir(folder)) == ["b.json"]
    assert cli.main(["bench", "--json", "nowhere/b.json"]) == 2
    one_line(capsys.readouterr().err, "nowhere")
