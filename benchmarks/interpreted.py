"""Tests run interpreted, each timed and cut short, in forked processes: for `mutants.py`."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from functools import wraps
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

#: Tests that take longer than this, interpreted, are left out [s of processor time].
LONGEST = 4.0
#: Examples that Hypothesis generates besides those written down.
EXAMPLES = 3
#: Of one mutant [s of processor time], and its memory [bytes].
MOST_TIME, MOST_MEMORY = 600, 6 << 30
SUITE = """
    kernel_parts margins gradient_dense
    kernels hard_cases networks gradient tape gradient_equations undecided sweep angles record multi
    proof_parts proof_layer_parts proof_runs proof_open proof_wake proof_cases proof_bounds
    proof_networks numerics memory readings ttfs_kernels feedforward
    gradient_models laws_cycles paths proof_layer proof_leaps proof_models
""".split()


#: Kernels called since the test began, as `file:function`.
CALLED: set[str] = set()


def recorded(function):
    """The same function, which enters its name in `CALLED`."""
    code = function.__code__
    name = f"{Path(code.co_filename).relative_to(ROOT).as_posix()}:{code.co_name}"

    @wraps(function)
    def call(*args):
        CALLED.add(name)
        return function(*args)

    return call


def record_calls() -> None:
    """Make every kernel and body of a verb that is imported from here on record its calls."""
    jit = importlib.import_module("evsim.jit")
    jit._compiled = lambda function, **options: recorded(function)  # type: ignore[attr-defined]
    dispatch = importlib.import_module("evsim.dispatch")
    plain = dispatch.generic

    def generic(stub, default=None):
        verb = plain(stub, default)
        implement = verb.implement
        verb.implement = lambda cls: lambda body: implement(cls)(recorded(body))
        return verb

    dispatch.generic = generic  # type: ignore[attr-defined]


class TooLong(BaseException):
    """A test has had its time."""


class Plugin:
    """Times tests, cuts them short, chooses and orders them."""

    def __init__(self, wanted=None, limit=None):
        self.wanted, self.limit = wanted, limit
        self.tests: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items):
        """The wanted tests, in that order; few examples, and none made smaller."""
        if self.wanted is not None:
            by_name = {item.nodeid: item for item in items}
            items[:] = [by_name[name] for name in self.wanted if name in by_name]
        from hypothesis import Phase, settings

        for item in items:
            found = getattr(item.function, "_hypothesis_internal_use_settings", None)
            if found is not None:
                item.function._hypothesis_internal_use_settings = settings(
                    found,
                    max_examples=min(EXAMPLES, found.max_examples),
                    phases=(Phase.explicit, Phase.generate),
                    suppress_health_check=list(_health_checks()),
                )

    def pytest_runtest_protocol(self, item, nextitem):
        """Time, functions, and an end."""
        from _pytest.runner import runtestprotocol

        CALLED.clear()
        limit = self.limit(item.nodeid) if callable(self.limit) else self.limit
        signal.signal(signal.SIGPROF, _too_long)
        before = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            reports = runtestprotocol(item, nextitem=nextitem, log=True)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        passed = all(r.outcome == "passed" for r in reports)
        for report in reports:
            if report.failed:
                text = str(report.longrepr)
                self.failed[item.nodeid] = "time" if "TooLong" in text else text[-400:]
        self.tests[item.nodeid] = {
            "seconds": round(time.process_time() - before, 3),
            "passed": passed,
            "functions": sorted(CALLED),
        }
        return True


def _health_checks():
    from hypothesis import HealthCheck

    return HealthCheck


def _too_long(*_):
    raise TooLong


def pytest_of(plugin: Plugin, files, *options: str) -> int:
    """Run pytest in this process, compilation switched off."""
    import pytest

    # Plain assertions: where the package is installed, pytest would itself import all of it, to
    # rewrite those in its plugin, and from the files.
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "ignore", "--assert=plain"]
    quiet.extend(options)
    return int(pytest.main([*quiet, *map(str, files)], plugins=[plugin]))


# ------------------------------------------------------------------------------------ in children


def in_child(call, seconds: int, log: Path):
    """What `call()` returns in a forked process, or a text that tells how that ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(output, 1)
            os.dup2(output, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
            answer = json.dumps(call()).encode()
            while answer:
                answer = answer[os.write(write, answer) :]
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else f"ended with status {status}"


def prepare() -> None:
    """Import what every child needs and no mutant touches, once."""
    for name in ("pytest", "hypothesis", "scipy.sparse", "numba", "mpmath", "flint", "nir"):
        importlib.import_module(name)
    for path in sorted((ROOT / "reference").glob("*.py")):
        importlib.import_module(f"reference.{path.stem}")
    loaded = [name for name in sys.modules if name.split(".")[0] == "evsim"]
    if loaded:
        raise RuntimeError(f"children would not see mutants of {loaded}")


def test_files() -> list[Path]:
    """The interpreted suite."""
    files = [ROOT / "tests" / f"test_{name}.py" for name in SUITE]
    return [path for path in files if path.exists()]


def map_file(work: Path, path: Path) -> dict[str, Any]:
    """Time and called functions of every test of a file that passes in time."""

    def call():
        record_calls()
        plugin = Plugin(limit=2 * LONGEST)
        pytest_of(plugin, [path])
        return plugin.tests

    found = in_child(call, 3 * MOST_TIME, work / f"{path.stem}.log")
    if not found or isinstance(found, str):
        why = found or "has no test that runs"
        raise RuntimeError(f"{path.name} {why}; see {work / f'{path.stem}.log'}")
    return found


def taken(lock: Path) -> bool:
    """Whether this process is the first that wants it."""
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def make_map(work: Path, match: str = "") -> None:
    """`map_file` of the whole suite, into one file each."""
    for path in test_files():
        if not re.search(match, path.stem):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        target = work / f"map-{path.stem}.json"
        if target.exists() and json.loads(target.read_text())["digest"] == digest:
            continue
        if not taken(work / f"map-{path.stem}.lock"):
            continue
        began = time.perf_counter()
        tests = map_file(work, path)
        left_out = [name for name, test in tests.items() if not test["passed"]]
        target.write_text(json.dumps({"digest": digest, "tests": tests}))
        (work / f"map-{path.stem}.lock").unlink()
        print(f"{path.name}: {len(tests)} tests, {time.perf_counter() - began:.0f} s", flush=True)
        for name in left_out:
            print(f"    not passed, left out: {name}", flush=True)
