"""Measured claims as a table on the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from validation.cases import load
from validation.cases.claims import Claim, Row
from validation.evtrace import replacing
from validation.words import evsim_version

STYLES = {"pass": "green", "fail": "bold red", "report": "cyan"}


def print_title(name: str, console: Console) -> None:
    """The name of a paper and the paper, above its rows."""
    console.print(Text(f"\n{name}: {load(name).title}", style="bold"))


def print_claims(chosen: Mapping[str, list[Claim]], console: Console) -> None:
    """Ids and claims, nothing measured."""
    for name, claims in chosen.items():
        print_title(name, console)
        for claim in claims:
            console.print(Text(f"{claim.id:4}  {claim.claim}"))


def print_row(row: Row, console: Console) -> None:
    """One claim as soon as it is measured: the claim, and below it what was expected and found."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=4)
    grid.add_column(width=8)
    grid.add_column(ratio=1)
    verdict = Text(row.verdict, style=STYLES[row.verdict])
    source = Text(f"  [{row.source}]", style="dim")
    grid.add_row(Text(row.id), verdict, Text(row.claim).append_text(source))
    grid.add_row("", "", Text(f"expected: {row.expected}", style="dim"))
    grid.add_row("", "", Text(f"measured: {row.measured} ({row.seconds:.1f} s)"))
    console.print(grid)


def print_end(
    rows: Mapping[str, list[Row]], figures: Mapping[str, list[Path]], console: Console
) -> None:
    """How many claims hold, and where the figures are."""
    verdicts = [row.verdict for found in rows.values() for row in found]
    count = {verdict: verdicts.count(verdict) for verdict in STYLES}
    words = f"\n{count['pass']} pass, {count['fail']} fail, {count['report']} reported"
    console.print(Text(words, style="bold green" if not count["fail"] else "bold"))
    for path in (path for paths in figures.values() for path in paths):
        console.print(Text(f"Figure: {path}", style="dim"), soft_wrap=True)


def write_json(
    path: Path, rows: Mapping[str, list[Row]], figures: Mapping[str, list[Path]]
) -> None:
    """Write what was measured, one entry a paper."""
    cases = [
        {
            "case": name,
            "rows": [asdict(row) for row in found],
            "figures": [str(p) for p in figures[name]],
        }
        for name, found in rows.items()
    ]
    answer = {"evsim": evsim_version(), "cases": cases}
    with replacing(path) as file:
        file.write(json.dumps(answer, indent=2).encode() + b"\n")
