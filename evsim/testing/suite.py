"""All laws and hard cases for one simulator, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evsim.testing.accuracy import Accuracy
from evsim.testing.case import KINDS
from evsim.testing.deviations import read_deviations
from evsim.testing.hard import HARD, check_hard
from evsim.testing.law import SHRINK_SECONDS, Law
from evsim.testing.laws import LAWS
from evsim.testing.laws.gradients import GRADIENT_LAWS
from evsim.testing.subject import Broken, NotApplicable, Subject, Unclear, clocked

#: Models besides `LIF` that the most general laws are tried on, where they are implemented.
ALSO = ("delta", "if")
#: Seconds for which all laws together look for smaller cases.
SHRINK_TOGETHER = 20.0


@dataclass
class Suite:
    """What is tried on whom.

    Attributes
    ----------
    subject : Subject
    kind : str
        Model that the laws are tried on.
    deviations : dict
        Reasons by id.
    examples : int or None
    outcomes : dict
        (outcome, seconds, text) by id: "passed", "failed", "skipped", "deviates", or "gone", a
        declared deviation that does not occur.
    """

    subject: Subject
    kind: str = "lif"
    deviations: Mapping[str, str] = field(default_factory=dict)
    examples: int | None = None
    outcomes: dict[str, tuple[str, float, str]] = field(default_factory=dict)
    shrunk: float = 0.0

    @classmethod
    def from_options(cls, options: Mapping[str, Any], load: Callable[[str], Any]) -> Suite:
        """From the flags of the plugin.

        Raises
        ------
        ValueError
            Saying which flag is wrong, and how.
        """
        simulator, step, dt = (options.get(f"evsim_{x}") for x in ("simulator", "step", "dt"))
        if simulator and step:
            raise ValueError("give --evsim-simulator or --evsim-step, not both")
        if step and not (dt and dt > 0):
            raise ValueError(f"--evsim-step needs --evsim-dt, a positive step; got {dt}")
        kind = options.get("evsim_model") or "lif"
        if kind not in KINDS:
            raise ValueError(f"--evsim-model must be one of {', '.join(KINDS)}; got {kind!r}")
        gradient = options.get("evsim_gradient")
        subject = _subject(simulator, step, dt, int(options.get("evsim_order") or 1), load)
        subject.gradient = load(gradient) if gradient else None
        suite = cls(subject, kind, {}, options.get("evsim_examples"))
        path = options.get("evsim_deviations")
        if path:
            suite.deviations = read_deviations(path, suite.ids())
        return suite

    def ids(self) -> list[str]:
        """Everything applicable."""
        clock, found = self.subject.accuracy.dt > 0, []
        if self.subject.simulate is not _no_simulator:
            found = [
                x.id for x in LAWS.values() if x.clock in (None, clock) and self.kind in x.kinds
            ]
            if self.kind == "lif":
                found += [f"{x}[{k}]" for k in ALSO for x in ("T1", "T4", "T6")]
                found += [*HARD]
        return found + ([*GRADIENT_LAWS] if self.subject.gradient else [])

    def title(self, id: str) -> str:
        """What it says."""
        law, _ = self._law(id)
        return law.statement if law else HARD[id].remark

    def _law(self, id: str) -> tuple[Law | None, str]:
        """A law and the model that it is tried on."""
        name, _, kind = id.partition("[")
        law = LAWS.get(name) or GRADIENT_LAWS.get(name)
        return law, kind.rstrip("]") or ("lif" if name in GRADIENT_LAWS else self.kind)

    def run(self, id: str) -> tuple[str, str]:
        """(outcome, text) of one."""
        began = time.perf_counter()
        outcome, text = self._tried(id)
        if id in self.deviations:
            if outcome == "failed":
                outcome, text = "deviates", self.deviations[id]
            else:
                reason = self.deviations[id]
                text = (f"{id} is declared as a deviation ({reason}), but it does not occur: "
                        f"{id} {outcome}. Take its line out of the file.")  # fmt: skip
                outcome = "gone"
        self.outcomes[id] = outcome, time.perf_counter() - began, text
        return outcome, text

    def _tried(self, id: str) -> tuple[str, str]:
        try:
            law, kind = self._law(id)
            if law is None:
                check_hard(id, self.subject)
            else:
                self._search(law, kind)
        except Broken as broken:
            return "failed", str(broken)
        except (NotApplicable, Unclear) as reason:
            return "skipped", str(reason)
        return "passed", ""

    def _search(self, law: Law, kind: str) -> None:
        left = max(0.0, min(SHRINK_SECONDS, SHRINK_TOGETHER - self.shrunk))
        try:
            law(self.subject, kind=kind, examples=self.examples, seconds=left)
        except Broken:
            self.shrunk += left
            raise

    def table(self) -> list[str]:
        """A line for everything tried, and a count."""
        words = {"passed": "holds", "failed": "BROKEN", "skipped": "skipped",
                 "deviates": "declared", "gone": "NOT SEEN"}  # fmt: skip
        lines = [f"{'id':<9} {'outcome':<9} {'s':>6}  statement"]
        for id, (outcome, seconds, text) in self.outcomes.items():
            more = f" [{text}]" if outcome in ("deviates", "skipped") else ""
            lines.append(f"{id:<9} {words[outcome]:<9} {seconds:6.1f}  {self.title(id)}{more}")
        counts = [sum(o == x for o, *_ in self.outcomes.values()) for x in words]
        parts = [f"{n} {w}" for n, w in zip(counts, words.values(), strict=True) if n]
        return [*lines, ", ".join(parts)]


def _no_simulator(network, inputs, until):
    raise NotImplementedError("no simulator was given")


def _subject(simulator, step, dt, order, load) -> Subject:
    if step:
        maker = load(step)
        at = lambda h: clocked(maker, h)  # noqa: E731
        simulate = at(dt)
        simulate.at = at  # type: ignore[attr-defined]
        return Subject(simulate, Accuracy(dt=dt, order=order))
    return Subject(load(simulator) if simulator else _no_simulator)
