"""What a claim of a paper is, and how claims are measured one after the other."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from validation.evtrace import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: `progress(done, total, what)`.
Progress = Callable[[float, int, str], None]
#: What the code of a claim may raise without ending the others.
BROKEN = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Measured:
    """What came out: in words, and whether the claim holds (None: it is only reported)."""

    text: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """`pass`, `fail` or `report`."""
        return "report" if self.holds is None else "pass" if self.holds else "fail"


@dataclass(frozen=True)
class Claim:
    """One statement: where it stands, what it predicts, and the function that measures it."""

    id: str
    claim: str
    source: str
    expected: str
    measure: Callable[[Run], Measured]


@dataclass(frozen=True)
class Row:
    """One line of the table of a paper."""

    id: str
    claim: str
    source: str
    expected: str
    measured: str
    verdict: str
    seconds: float


@dataclass
class Paper:
    """A paper and its claims.

    Parameters
    ----------
    title : str
        Authors, title and year.
    needs : tuple of str
        Modules beyond evsim's own requirements; extra `reproduce` installs them.
    """

    title: str
    needs: tuple[str, ...] = ()
    claims: dict[str, Claim] = field(default_factory=dict)

    def claim(self, id: str, claim: str, *, source: str, expected: str):
        """Register the decorated function, `Run -> Measured`, as the measurement of a claim."""
        if id in self.claims:
            raise ValueError(f"claim {id} is there already")

        def register(measure: Callable[[Run], Measured]) -> Callable[[Run], Measured]:
            self.claims[id] = Claim(id, claim, source, expected, measure)
            return measure

        return register

    def chosen(self, ids: list[str]) -> list[Claim]:
        """Claims with these ids in the paper's order; all of them for an empty list.

        Raises
        ------
        ValueError
            If the paper has no such claim.
        RuntimeError
            If a package that the paper needs is missing.
        """
        for id in ids:
            if id not in self.claims:
                raise ValueError(f"no claim {id!r}; there are {', '.join(self.claims)}")
        for module in self.needs:
            if find_spec(module) is None:
                raise RuntimeError(
                    f"this reproduction needs {module}; pip install 'evsim[reproduce]' brings it"
                )
        return [claim for id, claim in self.claims.items() if not ids or id in ids]


class Run:
    """What a claim may use while it is measured.

    Attributes
    ----------
    quick : bool
        Whether the short form is asked for: exact claims whole, training small.
    seeds : tuple of int
        Seeds of statistical claims: three, or one in the short form.
    folder : Path
        For figures; it exists.
    figures : list of Path
        Figures kept so far.
    show : callable
        Is told `(done, total, what)` as the work goes on.
    """

    def __init__(self, folder: Path, quick: bool = False) -> None:
        self.quick, self.folder = quick, folder
        self.seeds: tuple[int, ...] = (0,) if quick else (0, 1, 2)
        self.figures: list[Path] = []
        self.show: Progress = lambda done, total, what: None
        self._place, self._total, self._what = 0, 1, ""
        self._known: dict[Any, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def once(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(run, *arguments)`, computed the first time that any claim asks for it."""
        key = (function, arguments)
        if key not in self._known:
            self._known[key] = function(self, *arguments)
        return self._known[key]

    def save(self, figure: Figure, name: str) -> None:
        """Keep a figure as `<name>.png` in the folder."""
        path = self.folder / f"{name}.png"
        with replacing(path) as file:
            figure.savefig(file, format="png", dpi=150, bbox_inches="tight")
        if path not in self.figures:
            self.figures.append(path)

    def kept(self, name: str) -> Path:
        """Where training may leave what it goes on from after an interruption.

        Another version of the code, or the other form, finds nothing there.
        """
        folder = self.folder / f"kept-{_digest()}{'-quick' if self.quick else ''}"
        folder.mkdir(exist_ok=True)
        return folder / name

    def tell(self, fraction: float, what: str = "") -> None:
        """Say how far the claim being measured has come."""
        words = f"{self._what} {what}".rstrip()
        self.show(self._place + min(max(fraction, 0.0), 1.0), self._total, words)

    def begin(self, place: int, total: int, what: str) -> None:
        """Make a claim the one that `tell` speaks of."""
        self._place, self._total, self._what = place, total, what
        self.tell(0.0)


def measure(claims: list[Claim], run: Run) -> Iterator[Row]:
    """Measure claims in turn; one that breaks down has failed, and does not end the others."""
    for place, claim in enumerate(claims):
        run.begin(place, len(claims), claim.id)
        began = time.perf_counter()
        try:
            found = claim.measure(run)
        except BROKEN as error:
            if os.environ.get("EVSIM_TRACEBACK"):
                raise
            found = Measured(f"{type(error).__name__}: {error}", False)
        yield Row(
            claim.id,
            claim.claim,
            claim.source,
            claim.expected,
            found.text,
            found.verdict,
            time.perf_counter() - began,
        )


@cache
def _digest() -> str:
    """Of all code that a training may depend on."""
    key = hashlib.sha256(np.__version__.encode())
    for package in ("evsim", "reference", "validation"):
        spec = find_spec(package)
        for path in sorted(Path(str(spec and spec.origin)).parent.rglob("*.py")):
            key.update(path.read_bytes())
    return key.hexdigest()[:12]


def split(wanted: list[str]) -> Mapping[str, list[str]]:
    """`["ttfs:T1,T2", "tet"]` as `{"ttfs": ["T1", "T2"], "tet": []}`; an empty list means all.

    Raises
    ------
    ValueError
        If a word is not PAPER or PAPER:ID,ID.
    """
    found: dict[str, list[str]] = {}
    for word in wanted:
        if not re.fullmatch(r"\w+(:\w+(,\w+)*)?", word):
            raise ValueError(f"{word!r} is not PAPER or PAPER:ID,ID, such as ttfs:T1,T2")
        paper, _, ids = word.partition(":")
        before = found.get(paper)
        more = ids.split(",") if ids else []
        found[paper] = [] if before == [] or not more else [*(before or []), *more]
    return found
