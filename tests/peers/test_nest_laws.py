"""NEST's precise neuron under the laws of `evsim.testing`: what holds, and what it cannot be asked.

NEST wants a refractory time of one step at least. Cases without one, which laws of grazing and of
saturation consist of, are refused; `test_nest` compares networks where spikes are missed.
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from nest_simulator import NEST_PYTHON, simulate

from evsim.testing import Subject
from evsim.testing.suite import Suite

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        NEST_PYTHON not in os.environ, reason=f"{NEST_PYTHON} names no interpreter with NEST"
    ),
]
EXPECTED = {
    **dict.fromkeys(("P3", "P4", "P7", "P10", "P16", "T1", "T4", "T8"), "passed"),
    **dict.fromkeys(("P13", "T2", "T6"), "skipped"),
}


@pytest.mark.parametrize("id", EXPECTED)
def test_outcome(id):
    outcome, text = Suite(Subject(simulate), examples=6).run(id)
    assert outcome == EXPECTED[id], text
