"""The pytest plugin, as somebody uses it: from an empty folder, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Right, except where it says; quick, as it answers hard cases and a few laws only.
MODULE = """
from reference import plain

def simulate(network, inputs, until):
    return plain.simulate(network, inputs, until)

class NoReset(plain.Simulation):
    def refractory_until(self, n, t):
        return t + round(self.t_ref[n], 1) if self.t_ref[n] > 0 else float("inf")

def rounds(network, inputs, until):
    return NoReset(network, inputs, until).run()
"""


def run(folder, *options):
    """(exit code, text) of pytest with the plugin, whether or not evsim is installed."""
    (folder / "mine.py").write_text(MODULE)
    entry = [] if _installed() else ["-p", "evsim.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *entry, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def _installed():
    from importlib.metadata import entry_points

    return any(e.value == "evsim.pytest_plugin" for e in entry_points(group="pytest11"))


def test_a_right_simulator_passes_everything(tmp_path):
    code, text = run(tmp_path, "--evsim-simulator", "mine:simulate", "--evsim-examples", "2")
    assert code == 0, text
    assert "P8 " in text and "H11 " in text and "BROKEN" not in text
    assert int(text.rpartition(" passed")[0].split()[-1]) >= 50


def test_a_wrong_one_fails_and_says_why_and_deviations_must_occur(tmp_path):
    code, text = run(tmp_path, "--evsim-simulator", "mine:rounds", "-k", "P10 or H16")
    assert code == 1
    assert "P10 is broken: Nobody fires again within its refractory time" in text
    assert "H16 is wrong: " in text and "net.add_population(" in text
    (tmp_path / "known.txt").write_text("# mine\nP10: counts in steps\nH16: the same\n")
    options = ("--evsim-simulator", "mine:rounds", "--evsim-deviations", "known.txt")
    code, text = run(tmp_path, *options, "-k", "P10 or H16")
    assert code == 0 and "declared" in text and "[counts in steps]" in text, text
    options = ("--evsim-simulator", "mine:simulate", *options[2:])
    code, text = run(tmp_path, *options, "-k", "P10 or H16")
    assert code == 1 and "P10 is declared as a deviation (counts in steps), but it does" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--evsim-simulator", "mine"], "write MODULE:NAME; got 'mine'"),
        (["--evsim-simulator", "mine:nothing"], "AttributeError"),
        (["--evsim-step", "mine:simulate"], "--evsim-step needs --evsim-dt"),
        (["--evsim-simulator", "mine:simulate", "--evsim-model", "x"], "--evsim-model must be"),
        (["--evsim-simulator", "mine:simulate", "--evsim-deviations", "bad.txt"],
         "bad.txt, line 2: write 'ID: reason'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flag_is_said(tmp_path, options, words):
    (tmp_path / "bad.txt").write_text("P1: why\nP2\n")
    code, text = run(tmp_path, *options)
    assert code == 4 and words in text, text


def test_without_its_flags_it_does_nothing(tmp_path):
    code, text = run(tmp_path)
    said = [line for line in text.splitlines() if not line.startswith(("plugins:", "rootdir:"))]
    assert code == 5 and not any("evsim" in line for line in said)
