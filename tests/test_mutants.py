"""The committed result of `benchmarks/mutants.py`: what it says, and of which sources."""

import ast
import importlib
import json
import sys
import warnings
from pathlib import Path

import pytest

from reference.mutants import OPERATORS

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "mutants.py"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        return importlib.import_module("mutants")
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.fixture(scope="module")
def result():
    return json.loads(SCRIPT.with_suffix(".json").read_text())


def test_the_result_is_of_these_sources(script, result):
    now = script.digests()
    changed = sorted(
        name for name in now | result["digests"] if now.get(name) != result["digests"].get(name)
    )
    if changed:
        warnings.warn(
            f"benchmarks/mutants.json is of other versions of {', '.join(changed)}: "
            "run benchmarks/mutants.py again, which keeps what is known of unchanged kernels",
            stacklevel=1,
        )


def test_what_is_not_killed_is_equivalent_or_open(result):
    """A mutant that is open has not been run, or calls for a test."""
    rows = result["mutants"]
    assert len(rows) == len({row["key"] for row in rows}) == 200
    for operator in OPERATORS:
        assert sum(row["operator"] == operator for row in rows) == 50
    ends = [row["status"] for row in rows]
    assert set(ends) <= {"killed", "timeout", "equivalent", "survived", "not run"}
    assert all(row["by"] for row in rows if row["status"] in ("killed", "timeout"))
    assert all(len(row["reason"]) > 20 for row in rows if row["status"] == "equivalent")
    still = ends.count("survived"), ends.count("not run")
    if any(still):
        warnings.warn(
            "benchmarks/mutants.json: {} mutants survive, {} have not been run".format(*still),
            stacklevel=1,
        )
    else:
        different = len(rows) - ends.count("equivalent")
        assert ends.count("killed") + ends.count("timeout") >= 0.95 * different


def test_what_counts_as_a_kernel(script):
    source = """
@kernel
def a(x): return x
@verbs.step.implement(LIFKernel)
def b(p, c, x): return x
@overload(f)
def c(x): return x
@property
def d(self): return 1
"""
    found = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    assert [f.name for f in found if script.is_kernel(f)] == ["a", "b"]
