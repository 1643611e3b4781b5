"""A whole conformance run of one framework."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from validation import adapters
from validation.conform import graphs, imports, natives, travels
from validation.conform.rows import Row

#: `progress(done, total, what)`.
Progress = Callable[[float, int, str], None]


@dataclass(frozen=True)
class Answer:
    """All rows of one framework, with its version."""

    framework: str
    version: str
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        rows = [asdict(row) for row in self.rows]
        return {"framework": self.framework, "version": self.version, "rows": rows}


def conform(framework: str, progress: Progress = lambda done, total, what: None) -> Answer:
    """Ask a framework everything.

    Raises
    ------
    ValueError
        If there is no adapter of that name.
    RuntimeError
        If the framework is not installed, or no interpreter that has it is named.
    """
    adapter = adapter_of(framework)
    with _quiet():
        asked = list(_questions(framework, adapter))
        rows: list[Row] = []
        for done, (what, ask) in enumerate(asked):
            progress(done, len(asked), f"{framework}: {what}")
            rows.extend(ask())
        progress(len(asked), len(asked), "")
    return Answer(framework, version_of(framework, adapter), rows)


def adapter_of(framework: str) -> Any:
    """The adapter of an installed framework; see `conform`."""
    known = adapters.adapters()
    if framework not in known:
        raise ValueError(f"no framework is called {framework!r}; there are {', '.join(known)}")
    peer = getattr(known[framework], "PEER", None)
    if peer is not None:
        peer.python()
    elif not hasattr(known[framework], "version") and importlib.util.find_spec(framework) is None:
        raise RuntimeError(
            f"{framework} is not installed; pip install 'evsim[frameworks]' brings it"
        )
    return known[framework]


def version_of(framework: str, adapter: Any) -> str:
    """Version of what is installed, here or in an interpreter of its own."""
    own = getattr(adapter, "PEER", adapter)
    return str(own.version() if hasattr(own, "version") else importlib.metadata.version(framework))


def _questions(framework: str, adapter: Any) -> Iterator[tuple[str, Callable[[], Iterable[Row]]]]:
    """What is asked, in words, and the function that asks it."""
    if hasattr(adapter, "imported"):
        for case in graphs.cases():
            what = f"import of {case.subject} {case.variant}"
            yield what, partial(_alone, imports.ask, case, framework, adapter.imported)
    for traveller in getattr(adapter, "travellers", list)():
        what = f"round trip of {traveller.subject} {traveller.variant}"
        yield what, partial(_alone, travels.ask, traveller, framework, adapter)
    backward = getattr(getattr(adapter, "PEER", None), "gradients", True)
    for native in getattr(adapter, "natives", list)():
        yield native.subject, partial(natives.ask, native, backward)


def _alone(ask: Callable[..., Row], *arguments: Any) -> list[Row]:
    return [ask(*arguments)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Frameworks warn of their own deprecations, and log what they do."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
