"""Claims M1 to M20 about units of several levels: those that take a second, and slow ones."""

import pytest

pytest.importorskip("sklearn")

from validation import cases
from validation.cases.claims import Run

IDS = [f"M{k}" for k in range(1, 21)]
SLOW = ("M10", "M15", "M16", "M17", "M20")


def test_all_claims_are_there_in_order():
    assert list(cases.load("mlf").claims) == IDS


@pytest.mark.parametrize(
    "name",
    [pytest.param(i, marks=pytest.mark.slow if i in SLOW else ()) for i in IDS if i != "M19"],
)
def test_a_claim_holds(name, tmp_path):
    claim = cases.load("mlf").claims[name]
    found = claim.measure(Run(tmp_path, quick=True))
    assert found.holds, found.text
