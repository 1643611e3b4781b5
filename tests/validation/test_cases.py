"""The frame of reproductions, with a paper made for the test: no published claim is here."""

import json
import sys
import types

import numpy as np
import pytest

from evsim import cli
from validation import cases
from validation.cases.claims import Measured, Paper, Run, measure, split


def made_up(needs=()):
    paper = Paper("Nobody, a paper (2000)", needs)

    @paper.claim("A1", "two and two", source="page 1", expected="4")
    def holds(run):
        run.tell(0.5, "adding")
        return Measured(str(2 + 2), 2 + 2 == 4)

    @paper.claim("A2", "the sum of five", source="page 2", expected="below 1")
    def fails(run):
        return Measured(str(run.once(five)), run.once(five) < 1)

    @paper.claim("A3", "breaks down", source="page 3", expected="anything")
    def breaks(run):
        return Measured(str(np.linalg.inv(np.zeros((2, 2)))), True)

    @paper.claim("A4", "nobody knows", source="page 4", expected="a figure")
    def reports(run):
        from matplotlib.figure import Figure

        run.save(Figure(), "empty")
        return Measured(f"{run.once(five)}, {len(run.seeds)} seeds", None)

    return paper


CALLS = []


def five(run):
    CALLS.append(run)
    return 5


@pytest.fixture
def paper(monkeypatch):
    module = types.ModuleType("validation.cases.made_up")
    module.PAPER = made_up()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(cases, "names", lambda: ["made_up"])
    CALLS.clear()
    return module.PAPER


def reproduce(*arguments):
    return cli.main(["reproduce", *map(str, arguments)])


def test_every_claim_is_a_row_and_one_that_fails_says_so(paper, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert reproduce("--folder", tmp_path / "r", "--json", out) == 1
    answer = json.loads(out.read_text())
    [case] = answer["cases"]
    rows = {row["id"]: row for row in case["rows"]}
    assert [row["verdict"] for row in case["rows"]] == ["pass", "fail", "fail", "report"]
    assert rows["A2"]["measured"] == "5" and rows["A2"]["expected"] == "below 1"
    assert rows["A3"]["measured"].startswith("LinAlgError")
    assert rows["A4"]["measured"] == "5, 3 seeds"
    assert case["case"] == "made_up" and len(case["figures"]) == 1
    with open(case["figures"][0], "rb") as file:
        assert file.read(4) == b"\x89PNG"
    assert len(CALLS) == 1, "what several claims need is computed once"
    text = capsys.readouterr().out
    assert all(word in text for word in ("A1", "page 4", "1 pass, 2 fail, 1 reported", "empty.png"))


def test_single_claims_by_name_and_the_short_form(paper, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert reproduce("made_up:A4,A1", "--quick", "--folder", tmp_path, "--json", out) == 0
    [case] = json.loads(out.read_text())["cases"]
    assert [row["id"] for row in case["rows"]] == ["A1", "A4"]
    assert case["rows"][1]["measured"] == "5, 1 seeds"
    assert reproduce("--list") == 0
    assert "the sum of five" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nothing"], "there are made_up"),
        (["made_up:B1"], "there are A1, A2"),
        (["made_up:"], "is not PAPER"),
        (["made_up", "--json", "/no/such/folder/x.json"], "No such folder"),
    ],
)
def test_bad_input_ends_with_one_line(paper, arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert reproduce(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_the_way_out():
    with pytest.raises(RuntimeError, match=r"needs no_such_module.*evsim\[reproduce\]"):
        made_up(needs=("no_such_module",)).chosen([])


def test_progress_tells_the_claim_and_never_goes_back(paper, tmp_path):
    run, told = Run(tmp_path), []
    run.show = lambda done, total, what: told.append((done, total, what))
    list(measure(paper.chosen(["A1", "A2"]), run))
    assert told == [(0.0, 2, "A1"), (0.5, 2, "A1 adding"), (1.0, 2, "A2")]


def test_what_training_leaves_is_apart_for_each_form(tmp_path):
    full, quick = Run(tmp_path).kept("x.npz"), Run(tmp_path, quick=True).kept("x.npz")
    assert full != quick and full.parent.is_dir() and full == Run(tmp_path).kept("x.npz")


def test_words_of_the_command_line_are_merged():
    assert split(["a:1,2", "a:3", "b", "b:4"]) == {"a": ["1", "2", "3"], "b": []}


@pytest.mark.parametrize("name", cases.names())
def test_papers_are_complete(name):
    """Every paper loads, and its claims say what they expect and where they come from."""
    paper = cases.load(name)
    assert paper.title and paper.claims
    for claim in paper.claims.values():
        assert claim.claim and claim.source and claim.expected, claim.id
