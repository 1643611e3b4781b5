"""The pytest plugin: every law and every hard case as one test, for somebody's simulator.

    pytest --evsim-simulator mypackage:simulate
    pytest --evsim-step mypackage:make_step --evsim-dt 0.01
    pytest --evsim-gradient mypackage:gradient
    pytest ... --evsim-deviations FILE

It is loaded with pytest wherever evsim is installed, and does nothing, and imports nothing,
unless one of these is given.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

NEEDED = ("simulator", "step", "gradient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags."""
    group = parser.getgroup("evsim", "laws of spiking neural networks")
    add = group.addoption
    add("--evsim-simulator", metavar="MODULE:NAME", help="simulate(network, inputs, until)")
    add("--evsim-step", metavar="MODULE:NAME", help="make_step(network, dt): a clock-driven one")
    add("--evsim-dt", type=float, help="step of the clock")
    add("--evsim-order", type=int, default=1, help="its order of convergence (default 1)")
    add("--evsim-gradient", metavar="MODULE:NAME",
        help="gradient(network, inputs, until, cotangents)")  # fmt: skip
    add("--evsim-deviations", metavar="FILE", help="known deviations: lines 'ID: reason'")
    add("--evsim-examples", type=int, help="cases per law (default: its own number)")
    add("--evsim-model", default="lif", help="kind of neuron that the laws are tried on")


def pytest_collection_modifyitems(session: pytest.Session, config, items: list) -> None:
    """Add the tests."""
    if not any(config.getoption(f"evsim_{name}") for name in NEEDED):
        return
    try:
        from evsim.testing.suite import Suite
    except ImportError as reason:
        raise pytest.UsageError(str(reason)) from reason
    try:
        suite = Suite.from_options(vars(config.option), load)
    except (ValueError, OSError) as reason:
        raise pytest.UsageError(str(reason)) from reason
    config.stash[SUITE] = suite
    parent = _Laws.from_parent(session, name="evsim", nodeid="evsim")
    items += [_Test.from_parent(parent, name=id, suite=suite) for id in suite.ids()]


def pytest_terminal_summary(terminalreporter, config) -> None:
    """The table at the end."""
    suite = config.stash.get(SUITE, None)
    if suite is not None and suite.outcomes:
        terminalreporter.section("evsim: laws and hard cases")
        for line in suite.table():
            terminalreporter.write_line(line)


def load(name: str) -> Any:
    """What `module:attribute` names; modules beside the tests are found too.

    Raises
    ------
    ValueError
        If there is no such thing, or it cannot be called.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise ValueError(f"write MODULE:NAME; got {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as reason:
        raise ValueError(f"{name!r}: {type(reason).__name__}: {reason}") from reason
    if not callable(found):
        raise ValueError(f"{name!r} is a {type(found).__name__}; it must be callable")
    return found


SUITE: pytest.StashKey = pytest.StashKey()


class _Laws(pytest.Collector):
    """The tests of the suite."""

    def collect(self):
        """They are added all at once."""
        return []


class _Test(pytest.Item):
    """One law, or one hard case."""

    def __init__(self, *, suite, **kwargs) -> None:
        super().__init__(**kwargs)
        self.suite = suite

    def runtest(self) -> None:
        """Try it."""
        outcome, text = self.suite.run(self.name)
        if outcome == "skipped":
            pytest.skip(text)
        if outcome == "deviates":
            pytest.xfail(text)
        if outcome != "passed":
            raise _Failure(text)

    def repr_failure(self, excinfo, style=None):
        """The message alone: no frames of ours are of use to anybody."""
        if isinstance(excinfo.value, _Failure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        """Its title."""
        return self.path, None, f"evsim: {self.name} {self.suite.title(self.name)}"


class _Failure(Exception):
    """A law that does not hold, in words."""
