"""Defects patched into live frameworks and NIR files; `benchmarks/faults.py` has many more."""

import pytest

from validation import exact
from validation.faults import battery

pytestmark = pytest.mark.frameworks


@pytest.fixture(autouse=True)
def live(monkeypatch):
    for name in ("torch", "snntorch", "spikingjelly", "norse", "sinabs", "nirtorch"):
        pytest.importorskip(name)
    monkeypatch.setattr(exact, "solve_alone", lambda d, samples: None)


@pytest.mark.parametrize("kind", battery.KINDS)
def test_a_planted_defect_is_found_and_named(kind):
    answer = battery.case(kind, 0)
    assert answer.layer_right and answer.cause_right, answer


def test_live_frameworks_raise_no_alarm():
    found = [battery.clean(k) for k in range(0, 24, 2)]
    assert not [one for one in found if one.named]
