"""Reproductions of published claims: one file, or one folder, a paper, found by listing this one.

A paper's module holds `PAPER`, and its claims in the order of their ids::

    from validation.cases.claims import Measured, Paper, Run

    PAPER = Paper("Authors, title (year)", needs=("sklearn",))

    @PAPER.claim("T1", "the mapped network has the same logits", source="theorem 1",
                 expected="largest difference at most 1e-10")
    def mapping(run: Run) -> Measured:
        worst = max(difference(seed) for seed in run.seeds)
        return Measured(f"{worst:.2g}", worst <= 1e-10)

`run.quick` asks for the short form (two minutes a paper), `run.once` shares what several claims
need, `run.save` keeps a figure, `run.tell` moves the progress bar, and `run.kept(name)` is a file
where training may leave what it goes on from. A claim that is only measured, without a bar, answers
`Measured(text, None)`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from validation.cases.claims import Paper

#: Modules of this folder that are not papers.
TOOLS = ("claims", "command", "kept", "table")


def names() -> list[str]:
    """Papers that can be reproduced, in alphabetical order."""
    return sorted(found.name for found in iter_modules(__path__) if found.name not in TOOLS)


def load(name: str) -> Paper:
    """The paper of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in names():
        raise ValueError(f"no paper is called {name!r}; there are {', '.join(names()) or 'none'}")
    return import_module(f"validation.cases.{name}").PAPER
