"""Reports of a verification: a table for the terminal, JSON for programs, a page for people."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from validation.evtrace import replacing
from validation.figures import shorten
from validation.page import write_html
from validation.result import LayerResult, Mismatch, RecordingResult, Truth
from validation.words import count, evsim_version, place, steps, summary, timing

__all__ = ["print_table", "to_json", "write_html", "write_json"]

STYLES = {
    "identical": "green",
    "tie": "green",
    "discretised": "cyan",
    "mismatch": "bold red",
    "unverifiable": "yellow",
}
HEADINGS = ("layer", "model", "verdict", "rec/exact", "mismatch at", "error [steps]")
RIGHT = frozenset(HEADINGS[3:])


# ----------------------------------------------------------------------------------------- table


def print_table(results: Sequence[RecordingResult], console: Console | None = None) -> None:
    """Print one row per layer, and below it the cause and the reason of what is not identical.

    Parameters
    ----------
    results : sequence of RecordingResult
    console : rich.console.Console, optional
        By default standard output. The table fits in 100 columns and reads well in 80.

    Notes
    -----
    Columns: spikes recorded and in the exact solution; the first mismatch with the twin as
    step, sample, neuron; median and largest error of the spike times.
    """
    console = console or Console()
    if not results:
        return
    widths = _widths(results, console.width)
    _print(console, _row(HEADINGS, widths, ["dim"] * len(HEADINGS)))
    for result in results:
        _print(console, _heading(result, console.width))
        if not result.layers:
            _print(console, Text("  It holds no layer.", style="yellow"))
        for layer in result.layers:
            styles = ["", "dim", STYLES.get(layer.verdict, ""), "", "", ""]
            _print(console, _row(_cells(layer), widths, styles))
            for line in _remark(layer, min(console.width, 100)):
                _print(console, Text(line, style="dim"))
    good = all(r.verdict == "pass" for r in results)
    _print(console, Text(f"\n{summary(results)}", style="bold green" if good else "bold"))


def _print(console: Console, text: Text) -> None:
    console.print(text, no_wrap=True, overflow="ignore", crop=False, highlight=False)


def _heading(result: RecordingResult, width: int) -> Text:
    name = os.path.basename(result.path)
    title = shorten(result.title or name, width // 2)
    rest = [f"{result.framework} {result.version}", *([name] if result.title else [])]
    rest_width = max(10, width - len(title) - 4)
    line = Text(f"\n{title}", style="bold")
    return line.append(f"  {shorten(' · '.join(rest), rest_width)}", style="not bold dim")


def _cells(layer: LayerResult) -> tuple[str, ...]:
    truth = layer.alone
    return (
        layer.name,
        layer.model.rpartition(".")[2] or layer.model,
        layer.verdict,
        "–" if truth is None else f"{count(truth.n_recorded)}/{count(truth.n_exact)}",
        place(layer.first) if layer.first else "–",
        timing(truth),
    )


def _widths(results: Sequence[RecordingResult], width: int) -> list[int]:
    """Column widths: names give way where the terminal is narrow."""
    rows = [HEADINGS, *(_cells(layer) for result in results for layer in result.layers)]
    widths = [max(Text(cell).cell_len for cell in column) for column in zip(*rows, strict=True)]
    room = min(width, 100) - sum(widths[2:]) - 2 * len(widths)
    names = max(15, room)
    widths[0] = max(7, min(widths[0], names - min(widths[1], names // 2)))
    widths[1] = max(7, min(widths[1], names - widths[0]))
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], styles: Sequence[str]) -> Text:
    line = Text()
    for cell, width, style, name in zip(cells, widths, styles, HEADINGS, strict=True):
        cell = shorten(cell, width)
        fill = " " * max(0, width - Text(cell).cell_len)
        text = fill + cell if name in RIGHT else set_cell_size(cell, width)
        line.append("  ").append(text, style=style)
    line.rstrip()
    return line


def _remark(layer: LayerResult, width: int) -> list[str]:
    if layer.verdict == "identical" and not layer.cause:
        return []
    cause = f"{', '.join(layer.cause)}: " if layer.cause else ""
    text = shorten(" ".join(f"{cause}{layer.reason}".split()), 400)
    return textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")


# ------------------------------------------------------------------------------------------ JSON


def to_json(
    results: Sequence[RecordingResult], errors: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What was found, as JSON values; numbers that are not finite become null.

    Parameters
    ----------
    results : sequence of RecordingResult
    errors : mapping of str to str, optional
        Files that could not be verified, with the reason.

    Returns
    -------
    dict
        `{"evsim": version, "recordings": [{"path", "verdict", "layers": [...]}], "errors": [...]}`.
        `first` of a layer is null or holds `step`, `sample`, `neuron` and the two values.
    """
    return {
        "evsim": evsim_version(),
        "recordings": [_recording(result) for result in results],
        "errors": [{"path": path, "error": words} for path, words in (errors or {}).items()],
    }


def write_json(
    results: Sequence[RecordingResult],
    path: str | os.PathLike[str],
    *,
    errors: Mapping[str, str] | None = None,
) -> None:
    """Write `to_json` to a file, which appears only when it is complete; raises `OSError`."""
    text = json.dumps(to_json(results, errors), indent=1, ensure_ascii=True, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode() + b"\n")


def _recording(result: RecordingResult) -> dict[str, Any]:
    simple = ("framework", "version", "title", "n_steps", "n_samples", "dt", "provenance")
    return {
        "path": _plain(result.path),
        "verdict": result.verdict,
        **{name: _plain(getattr(result, name)) for name in simple},
        "layers": [_layer(layer) for layer in result.layers],
    }


def _layer(layer: LayerResult) -> dict[str, Any]:
    simple = ("name", "model", "verdict", "reason", "cause", "also", "shape")
    return {
        **{name: _plain(getattr(layer, name)) for name in simple},
        "first": _mismatch(layer.first),
        "checks": [{**_fields(check), "first": _mismatch(check.first)} for check in layer.checks],
        "alone": _truth(layer.alone),
        "chained": _truth(layer.chained),
    }


def _mismatch(first: Mismatch | None) -> dict[str, Any] | None:
    return None if first is None else _fields(first)


def _truth(truth: Truth | None) -> dict[str, Any] | None:
    """The numbers, and of the time errors what describes their distribution."""
    if truth is None:
        return None
    errors = np.asarray(truth.time_error, float)
    found = _fields(truth)
    found["time_error"] = {
        "n": int(errors.size),
        **{k: _plain(v) for k, v in steps(errors).items()},
    }
    return found


def _fields(record: Any) -> dict[str, Any]:
    return {
        field.name: _plain(getattr(record, field.name))
        for field in dataclasses.fields(record)
        if field.name not in ("first", "time_error")
    }


def _plain(value: Any) -> Any:
    """JSON form of any value; what JSON cannot hold becomes its text, or null if no number."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(v) for v in value]
    return str(value)
