"""Answers on record: what has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from validation.conform.answer import Answer
from validation.conform.rows import Row


def read(path: Path, frameworks: Sequence[str] = ()) -> dict[str, Mapping[str, Any]]:
    """The answers in a file that `evsim conform --json` wrote, by framework.

    Raises
    ------
    ValueError
        If it is no such file, or lacks one of the frameworks.
    """
    try:
        found = json.loads(path.read_text())
        listed = found if isinstance(found, list) else [found]
        known = {one["framework"]: one for one in listed}
        for one in listed:
            [Row(**row) for row in one["rows"]], str(one["version"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} holds no answers of evsim conform: {error!r}") from error
    for name in frameworks:
        if name not in known:
            raise ValueError(f"{path} holds no answer of {name}; it has {', '.join(known)}")
    return known


def _rows(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], tuple[str, list[str]]]:
    keys = ("kind", "subject", "variant")
    return {tuple(str(r[k]) for k in keys): (r["verdict"], list(r["cause"])) for r in rows}  # type: ignore[misc]


def merged(known: Mapping[str, Mapping[str, Any]], answers: Sequence[Answer]) -> list[Answer]:
    """Answers on record, with new ones in the place of those of the same framework or behind."""
    old = {
        name: Answer(name, one["version"], [Row(**row) for row in one["rows"]])
        for name, one in known.items()
    }
    return list({**old, **{one.framework: one for one in answers}}.values())


def changes(known: Mapping[str, Any], now: Answer) -> Iterator[str]:
    """In words, what is not as it was: the version, and every row that differs, is new or gone."""
    if known["version"] != now.version:
        yield f"{now.framework}: version {now.version}, on record {known['version']}"
    before, after = _rows(known["rows"]), _rows(now.as_json()["rows"])
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            what = " ".join(word for word in key if word)
            said, was = _said(after.get(key)), _said(before.get(key))
            yield f"{now.framework}: {what}: {said}, on record {was}"


def _said(row: tuple[str, list[str]] | None) -> str:
    if row is None:
        return "not asked"
    return row[0] + (f" ({', '.join(row[1])})" if row[1] else "")
