"""Planted defects of random networks: the layer, the cause, and no false alarm."""

import ast
from pathlib import Path

import numpy as np
import pytest

from validation import exact
from validation.faults import battery, otherwise
from validation.faults.bodies import OF_UPDATES
from validation.faults.drawn import FRAMEWORKS, draw
from validation.verify import verify

FAULTS = Path(battery.__file__).parent
PLANTS = ("bodies", "backward", "drawn", "live", "files", "otherwise")
#: The search for causes, and what runs it.
DIAGNOSER = {"causes", "currents", "flips", "gradients", "verify", "discrete", "conform"}


@pytest.fixture(autouse=True)
def discrete_only(monkeypatch):
    """No verdict on a planted defect hangs on the exact solution."""
    monkeypatch.setattr(exact, "solve_alone", lambda d, samples: None)


def imported(path):
    """Names of the modules of `validation` that a module imports, at its top or inside."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            whole = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (name for name in whole if name.startswith("validation."))
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("validation."))


def reached(path, seen):
    for name in imported(path):
        file = FAULTS.parents[1].joinpath(*name.split(".")).with_suffix(".py")
        if file.exists() and name not in seen:
            seen.add(name)
            reached(file, seen)
    return seen


@pytest.mark.parametrize("name", PLANTS)
def test_what_plants_knows_nothing_of_what_looks(name):
    seen = {found.split(".")[1] for found in reached(FAULTS / f"{name}.py", set())}
    assert not seen & DIAGNOSER


def test_every_module_that_plants_is_asked():
    here = {path.stem for path in FAULTS.glob("*.py")} - {"__init__", "battery"}
    assert here == set(PLANTS)
    assert 4 * len(battery.UNLISTED) >= len(battery.KINDS) >= 12


@pytest.mark.parametrize("kind", OF_UPDATES)
def test_defects_of_updates_are_found(kind):
    """Programs in NumPy that say they are a framework's neuron, and are not."""
    cases = 1 if kind in battery.UNLISTED else 4  # all pairs of switches are tried
    answers = [battery.case(kind, k, frameworks=False) for k in range(cases)]
    for answer in answers:
        assert answer.layer_right and answer.cause_right, answer


def test_a_recording_written_late_or_incomplete():
    for kind in ("recording_shifted", "events_lost", "neurons_swapped"):
        answer = battery.case(kind, 0, frameworks=False)
        assert answer.layer_right and answer.cause_right, answer


def test_other_roundings_are_no_alarm():
    found = [battery.clean(k, frameworks=False) for k in range(40)]
    assert not [one for one in found if one.named]
    assert sum(one.ties > 0 for one in found) >= 3


def test_hits_that_rounding_decides_all_one_way_are_ties():
    """x / 3 is 1 and x times the reciprocal of 3 is above: every hit is decided otherwise."""
    found = 0
    for seed in range(12):
        net = draw("spikingjelly", np.random.default_rng(seed), hits="decimal")
        result = verify(otherwise.recorded(net, "reciprocal"))
        found += sum(check.n_ties for layer in result.layers for check in layer.checks)
        assert all(layer.verdict != "mismatch" for layer in result.layers)
    assert found > 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_restated_updates_are_those_of_the_frameworks(framework):
    """A body without a defect agrees with the twin to the bit, but for exponentials."""
    net = draw(framework, np.random.default_rng(3), hits="binary")
    result = verify(otherwise.recorded(net))
    for layer in result.layers:
        assert layer.verdict == "identical"
        assert max(check.max_ulps for check in layer.checks[:2]) == 0.0
