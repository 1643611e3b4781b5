"""Declared deviations: what somebody's simulator is known to do otherwise, and why.

A text file with a line for each: the id of a law or hard case, a colon, the reason. What is
declared must occur; the day it does not, its line has to go.

    # NEST 3.10, iaf_psc_exp_ps
    P10: refractory times are counted in whole steps of the grid
    H2: the voltage is tested at the ends of steps only
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def read_deviations(path: str | Path, known: Iterable[str]) -> dict[str, str]:
    """Reasons by id.

    Raises
    ------
    ValueError
        Naming the line, if it has no reason, an id that does not exist, or one for the second
        time.
    """
    found: dict[str, str] = {}
    names = set(known)
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        id, colon, reason = (part.strip() for part in text.partition(":"))
        where = f"{path}, line {number}"
        if not colon or not reason:
            raise ValueError(f"{where}: write 'ID: reason'; got {line!r}")
        if id not in names:
            raise ValueError(f"{where}: there is no law or hard case {id!r}")
        if id in found:
            raise ValueError(f"{where}: {id} is declared already")
        found[id] = reason
    return found
