"""Conformance in a terminal: one line an answer."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from validation.conform.answer import Answer
from validation.conform.rows import KINDS, VERDICTS, Row

STYLES = {
    "identical": "green",
    "discretised": "cyan",
    "refused": "yellow",
    "deviating": "bold red",
    "dropped": "bold red",
}
TITLES = {
    "import": "NIR graphs, imported",
    "roundtrip": "its own models, to NIR and back",
    "native": "its own neurons, against their documented update",
}


def print_table(answer: Answer, console: Console) -> None:
    """Rows by kind, then how often each verdict was given."""
    console.print(Text(f"{answer.framework} {answer.version}", style="bold"))
    for kind in KINDS:
        rows = [row for row in answer.rows if row.kind == kind]
        console.print(Text(f"\n{TITLES[kind]}", style="bold"))
        table = Table.grid(padding=(0, 2))
        for row in rows:
            table.add_row(*_cells(row))
        console.print(table)
    console.print(Text(f"\n{summary(answer)}", style="bold"))


def summary(answer: Answer) -> str:
    """How often each verdict was given."""
    given = [row.verdict for row in answer.rows]
    return ", ".join(f"{given.count(verdict)} {verdict}" for verdict in VERDICTS)


def _cells(row: Row) -> list[Text]:
    about = ", ".join(row.cause) or ("" if row.verdict == "refused" else row.note)
    return [
        Text(row.subject),
        Text(row.variant, style="dim"),
        Text(row.verdict, style=STYLES[row.verdict]),
        Text(about or row.note, style="dim"),
    ]
