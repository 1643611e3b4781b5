"""Conformance of several frameworks side by side, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape

from validation.conform.answer import Answer
from validation.conform.rows import Row
from validation.conform.table import TITLES, summary
from validation.evtrace import replacing
from validation.page import STYLE
from validation.words import evsim_version

MEANING = {
    "identical": "equals the exact solution, step by step",
    "discretised": "equals a documented discretisation of what is declared",
    "refused": "raises an exception",
    "deviating": "computes something else; the code names the change that explains it",
    "dropped": "the node, or the recurrence, has no effect at all",
}
MORE = """
.refused{color:var(--warn)}.deviating,.dropped{color:var(--fail)}
main{max-width:84rem}td.v{min-width:6.5rem}td code{font-size:.75em}
td:first-child{min-width:7rem}td:nth-child(2){min-width:9rem}
"""


def write_html(answers: Sequence[Answer], path: str | os.PathLike[str]) -> None:
    """Write the page, which appears only when it is complete."""
    with replacing(path) as file:
        file.write("".join(_page(answers)).encode())


def _page(answers: Sequence[Answer]) -> list[str]:
    names = ", ".join(f"{a.framework} {a.version}" for a in answers)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>evsim: conformance</title><style>{STYLE}{MORE}</style></head><body><main>"
        f"<h1>What frameworks make of spiking networks</h1><p class=lead>{escape(names)}</p>"
    ]
    for answer in answers:
        parts.append(f"<p>{escape(answer.framework)}: {summary(answer)}.</p>")
    parts.append(f"<h2>{TITLES['import']}</h2>{_side_by_side(answers)}")
    for kind in ("roundtrip", "native"):
        parts.append(f"<h2>{escape(TITLES[kind])}</h2>")
        for answer in answers:
            rows = [row for row in answer.rows if row.kind == kind]
            parts.append(f"<h3>{escape(answer.framework)}</h3>{_list(rows)}")
    meaning = "".join(
        f"<tr><td>{_badge(verdict)}</td><td>{escape(words)}</td></tr>"
        for verdict, words in MEANING.items()
    )
    parts.append(f"<h2>How to read this</h2><table><tbody>{meaning}</tbody></table>")
    parts.append(f'<p class="muted">evsim {escape(evsim_version())}</p></main></body></html>\n')
    return parts


def _side_by_side(answers: Sequence[Answer]) -> str:
    head = "".join(f"<th>{escape(a.framework)}</th>" for a in answers)
    found = [{(r.subject, r.variant): r for r in a.rows if r.kind == "import"} for a in answers]
    rows = []
    for key in dict.fromkeys(key for one in found for key in one):
        cells = "".join(f'<td class="v">{_verdict(one.get(key))}</td>' for one in found)
        rows.append(f"<tr><td>{escape(key[0])}</td><td>{escape(key[1])}</td>{cells}</tr>")
    return _table(f"<th>Node</th><th>Variant</th>{head}", rows)


def _list(rows: Sequence[Row]) -> str:
    body = [
        f"<tr><td>{escape(r.subject)}</td><td>{escape(r.variant)}</td>"
        f'<td class="v">{_verdict(r)}</td><td class="muted">{escape(r.note)}</td></tr>'
        for r in rows
    ]
    return _table("<th>Class</th><th>Variant</th><th>Verdict</th><th>In words</th>", body)


def _table(head: str, rows: Sequence[str]) -> str:
    body = "".join(rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _verdict(row: Row | None) -> str:
    if row is None:
        return "–"
    causes = " ".join(f"<code>{escape(cause)}</code>" for cause in row.cause)
    return f'<span title="{escape(row.note)}">{_badge(row.verdict)}</span> {causes}'


def _badge(verdict: str) -> str:
    return f'<span class="badge {verdict}">{verdict}</span>'
