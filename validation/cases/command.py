"""`evsim reproduce`: what papers claim, held against what comes out here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from validation import cases

if TYPE_CHECKING:
    from rich.console import Console

    from validation.cases.claims import Claim, Row, Run


def reproduce(
    papers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PAPER[:ID,ID]]...", help="What to reproduce. Default: all."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed and small training, two minutes a paper.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as JSON.")
    ] = None,
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="For figures, and unfinished training.")
    ] = Path("reproduced"),
    listed: Annotated[
        bool, typer.Option("--list", help="Name papers and claims, and end.")
    ] = False,
) -> None:
    """Reproduce published claims: expected, measured, verdict.

    What does not reproduce is a row like the others, with its numbers.

    Exit code: 0 no claim fails, 1 some fail, 2 bad input.

    Example: [cyan]evsim reproduce ttfs:T1,T4 --quick --json claims.json[/]
    """
    from evsim.cli import FAIL, PASS, _check_output, _console
    from validation.cases import table
    from validation.cases.claims import Run, split

    _check_output(json, [])
    wanted = split(papers or cases.names())
    chosen = {name: cases.load(name).chosen(ids) for name, ids in wanted.items()}
    console = _console()
    if listed:
        table.print_claims(chosen, console)
        return
    rows: dict[str, list[Row]] = {}
    figures: dict[str, list[Path]] = {}
    for name, claims in chosen.items():
        run = Run(folder / name, quick)
        table.print_title(name, console)
        rows[name], figures[name] = _measured(claims, run, console), run.figures
    table.print_end(rows, figures, console)
    if json is not None:
        table.write_json(json, rows, figures)
    failed = any(row.verdict == "fail" for found in rows.values() for row in found)
    raise typer.Exit(FAIL if failed else PASS)


def _measured(claims: list[Claim], run: Run, console: Console) -> list[Row]:
    """Measure, and print row by row, on a terminal above a bar."""
    from evsim.progress import bar
    from validation.cases.claims import measure
    from validation.cases.table import print_row

    rows = []
    with bar("measuring") as progress:
        run.show = progress
        for row in measure(claims, run):
            print_row(row, console)
            rows.append(row)
    return rows
