"""`evsim conform`: every NIR node and neuron variant against frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Interpreters = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PATH",
        help="Interpreter of a framework that runs in one of its own; or EVSIM_<NAME>_PYTHON.",
    ),
]


def conform(
    framework: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An installed one; may be given several times."),
    ] = None,
    python: Interpreters = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows as JSON.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page, the frameworks side by side."),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="JSON on record, whose other frameworks are written too."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON on record: fail where an answer is another one."),
    ] = None,
) -> None:
    """Ask a framework what it makes of NIR graphs and of its own neurons.

    Imports every node of NIR in many variants, sends the framework's own models through its
    exporter and importer, and varies every argument of its neurons; says what is identical,
    discretised, refused, deviating (with the cause) or silently dropped.

    Exit code: 0 it ran, whatever was found; 1 an answer is not the one on record
    ([cyan]--against[/]), or the version is not; 2 bad input.

    Example: [cyan]evsim conform --framework norse --html norse.html[/]
    """
    from evsim.cli import _check_output, _console
    from evsim.progress import bar
    from validation import peer
    from validation.conform import answer, page, record, table

    peer.give(python or [])
    framework = framework or []
    if not framework and not beside:
        raise ValueError("nothing is asked: give --framework, or --beside with answers on record")
    for output in (json, html):
        _check_output(output, [] if against is None else [against])
    for name in framework:
        answer.adapter_of(name)
    known = None if against is None else record.read(against, framework)
    others = {name: one for path in beside or [] for name, one in record.read(path).items()}
    answers: list[answer.Answer] = []
    for name in framework:
        with bar("asking") as progress:
            answers.append(answer.conform(name, progress))
        table.print_table(answers[-1], _console())
    answers = record.merged(others, answers)
    if json is not None:
        _write(json, [one.as_json() for one in answers])
    if html is not None:
        page.write_html(answers, html)
    if known is not None:
        asked = [one for one in answers if one.framework in framework]
        changed = [words for one in asked for words in record.changes(known[one.framework], one)]
        for words in changed:
            print(words)
        raise typer.Exit(1 if changed else 0)


def _write(path: Path, found: list[dict]) -> None:
    """One object for one framework, a list for several."""
    import json

    from validation.evtrace import replacing

    with replacing(path) as file:
        file.write(json.dumps(found[0] if len(found) == 1 else found, indent=1).encode() + b"\n")
