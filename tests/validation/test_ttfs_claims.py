"""Claims T1 to T20 about networks of single spikes: those that take a second, and slow ones."""

import pytest

from validation import cases
from validation.cases.claims import Run

IDS = [f"T{k}" for k in range(1, 21)]
QUICK = ("T1", "T4", "T5", "T6", "T12", "T19", "T20")


def test_all_claims_are_there_in_order():
    assert list(cases.load("ttfs").claims) == IDS


@pytest.mark.parametrize(
    "name", [pytest.param(i, marks=() if i in QUICK else pytest.mark.slow) for i in IDS]
)
def test_a_claim_holds(name, tmp_path):
    claim = cases.load("ttfs").claims[name]
    found = claim.measure(Run(tmp_path, quick=True))
    assert found.holds, found.text
