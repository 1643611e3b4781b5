"""The conformance of installed frameworks is the one that is on record, row by row.

A deviation that is gone, or new, fails here; `docs/conformance.json` is then made anew with

    evsim conform --framework snntorch --framework spikingjelly --framework norse \\
        --framework sinabs --json docs/conformance.json --html docs/conformance.html
"""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from validation import adapters
from validation.conform.answer import conform

pytestmark = pytest.mark.frameworks
DOCS = Path(__file__).parents[2] / "docs"


def on_record():
    return {
        answer["framework"]: answer
        for answer in json.loads((DOCS / "conformance.json").read_text())
    }


#: Those in interpreters of their own are asked in `tests/peers`.
HERE = sorted(n for n, a in adapters.adapters().items() if not hasattr(a, "PEER"))


@pytest.mark.parametrize("framework", HERE)
def test_conformance_is_as_recorded(framework):
    pytest.importorskip(framework)
    recorded = on_record()[framework]
    assert version(framework) == recorded["version"], "made for another version"
    keys = ("kind", "subject", "variant", "verdict", "cause")
    now = [[getattr(row, key) for key in keys] for row in conform(framework).rows]
    assert now == [[row[key] for key in keys] for row in recorded["rows"]]


def test_most_deviations_of_the_torch_frameworks_have_a_cause():
    rows = [row for name in HERE for row in on_record()[name]["rows"]]
    wrong = [row for row in rows if row["verdict"] in ("deviating", "dropped")]
    assert sum(bool(row["cause"]) for row in wrong) >= 0.8 * len(wrong) > 50


@pytest.mark.parametrize("framework", HERE)
def test_every_argument_of_a_neuron_is_varied(framework):
    """No constructor argument of a class with a twin is left out."""
    import inspect

    pytest.importorskip(framework)
    for native in adapters.adapters()[framework].natives():
        if inspect.isclass(native.make):
            named = set(inspect.signature(native.make).parameters)
            assert named == set(native.values) | set(native.base), native.subject
