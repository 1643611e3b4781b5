"""What a law is, and how it is tried: on generated cases, down to a minimal one where it breaks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, Unsatisfiable

from evsim.testing.accuracy import Accuracy
from evsim.testing.case import Case, source
from evsim.testing.subject import Broken, NotApplicable, Subject, Unclear, as_subject

EXAMPLES = 30
SHRINK_SECONDS = 2.0  # of looking for a smaller case that breaks a law

#: Every law by its id, in the order of definition.
LAWS: dict[str, Law] = {}


@dataclass(frozen=True)
class Law:
    """A statement that holds for every correct simulator.

    Attributes
    ----------
    id : str
        P1 to P20; T1 to T8: the spikes are the exact ones; C1: convergence of a clock; D1 to
        D3: derivatives.
    statement : str
        In words.
    why : str
        Its proof, or source.
    cases : callable
        `cases(kind)`: a strategy of the arguments that `check` gets after the subject.
    check : callable
        `check(subject, *arguments)`, which raises `Broken`, or `Unclear`.
    kinds : tuple of str
        Models that it says something about; the first is the default.
    clock : bool or None
        Whether it is for clock-driven simulators; None: for all.
    """

    id: str
    statement: str
    why: str
    cases: Callable[[str], st.SearchStrategy]
    check: Callable[..., None]
    kinds: tuple[str, ...] = ("lif",)
    clock: bool | None = False
    examples: int = EXAMPLES

    def __call__(
        self,
        simulator: Any,
        *,
        accuracy: Accuracy | None = None,
        kind: str | None = None,
        examples: int | None = None,
        seconds: float = SHRINK_SECONDS,
    ) -> None:
        """Try the law on generated cases.

        Parameters
        ----------
        simulator : callable or Subject
            `simulate(network, inputs, until)`.
        accuracy : Accuracy, optional
        kind : str, optional
            Model; default the law's first.
        examples : int, optional
        seconds : float, optional
            How long to look for a smaller case, once one breaks the law.

        Raises
        ------
        Broken
            If the law does not hold: with the smallest case found, and both answers.
        NotApplicable
            If the simulator implements none of the cases, or could decide none of them.
        """
        subject = as_subject(simulator, accuracy)
        chosen = self.kinds[0] if kind is None else kind
        if chosen not in self.kinds:
            raise NotApplicable(f"{self.id} says nothing about {chosen!r}")
        if self.clock is not None and self.clock != (subject.accuracy.dt > 0.0):
            what = "clock-driven" if self.clock else "event-driven"
            raise NotApplicable(f"{self.id} is for {what} simulators")
        _search(self, subject, chosen, examples or self.examples, seconds)

    def near(
        self, simulator: Any, case: Case, *, kind: str | None = None, examples: int = 3
    ) -> None:
        """Try the law on one case, with what else it takes being generated.

        Raises
        ------
        Broken
        NotApplicable
            If the law generates cases of its own only, or the simulator could decide nothing.
        """
        subject = as_subject(simulator)
        _search(self, subject, kind or self.kinds[0], examples, SHRINK_SECONDS, case)

    def one(self, simulator: Any, *arguments: Any, accuracy: Accuracy | None = None) -> None:
        """Try the law on one case.

        Raises
        ------
        Broken, Unclear
        """
        subject = as_subject(simulator, accuracy)
        try:
            self.check(subject, *arguments)
        except Broken as broken:
            text = message(self, arguments, str(broken), subject.last)
            raise Broken(text) from broken.__cause__


def law(id: str, statement: str, why: str, cases: Callable, **more: Any) -> Callable:
    """Make a check a law."""

    def decorate(check: Callable[..., None]) -> Law:
        LAWS[id] = Law(id, statement, why, cases, check, **more)
        return LAWS[id]

    return decorate


def message(law: Law, arguments: tuple, what: str, last: Case | None) -> str:
    """A failure in words; `last` is the case that the simulator ran last."""
    lines = [f"{law.id} is broken: {law.statement}", "", what, "", "The case:"]
    names = [*signature(law.check).parameters][1:]
    for name, value in zip(names, arguments, strict=True):
        text = repr(value) if isinstance(value, Case) else f"{name} = {value!r}"
        lines += ["    " + line for line in text.strip().splitlines()]
    if last is not None and last not in arguments:
        lines += ["", "The last run:", *("    " + line for line in source(last).splitlines())]
    return "\n".join(lines)


class _Enough(BaseException):
    """Ends a search for smaller cases; nobody takes it for a failure."""


def _arguments(law: Law, subject: Subject, kind: str, given: Case | None) -> st.SearchStrategy:
    """What a law is called with: its cases, in every refractoriness that the subject knows."""

    def mapped(drawn: tuple[tuple, str]) -> tuple:
        (first, *rest), mode = drawn
        if given is not None:
            if not isinstance(first, Case):
                raise NotApplicable(f"{law.id} generates all that it takes")
            first = given
        parts = (first, *rest)
        return tuple(x.with_refractory(mode) if isinstance(x, Case) else x for x in parts)

    return st.tuples(law.cases(kind), st.sampled_from(subject.refractory)).map(mapped)


def _search(
    law: Law,
    subject: Subject,
    kind: str,
    examples: int,
    seconds: float,
    case: Case | None = None,
) -> None:
    """Hypothesis over the law's cases, its shrinking cut short after a while.

    While it shrinks, Hypothesis tries smaller cases than the smallest that broke the law: the
    last that did is the smallest. A simulator that remembers may answer otherwise when it is asked
    again, which Hypothesis calls flaky: the law is broken all the same.
    """
    broken: list[tuple[float, Broken]] = []
    refused, ran = subject.refused, subject.ran

    def test(arguments):
        if broken and time.monotonic() > broken[0][0] + seconds:
            raise _Enough
        try:
            law.one(subject, *arguments)
        except Unclear:
            assume(False)
        except Broken as what:
            broken.append((time.monotonic(), what))
            raise

    run = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(given(_arguments(law, subject, kind, case))(test))
    try:
        with contextlib.suppress(Broken, Unsatisfiable, _Enough):
            run()
    except Flaky:
        if not broken:
            raise
    if broken:
        raise Broken(str(broken[-1][1])) from broken[-1][1].__cause__
    if subject.ran == ran:
        reason = "implements none of its cases" if subject.refused > refused else "fits no case"
        raise NotApplicable(f"{law.id}: the simulator {reason}")
