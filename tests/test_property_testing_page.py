"""The tutorial of docs/property_testing.md: every block runs, and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

from evsim.testing import GRADIENT_LAWS, LAWS

PAGE = Path(__file__).parents[1] / "docs" / "property_testing.md"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", re.S)


def printed(blocks):
    """What each block prints, in one namespace."""
    names = {"__name__": "tutorial"}
    for code, expected in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, PAGE.name, "exec"), names)
        yield out.getvalue(), expected


def rows():
    """The table of laws."""
    return [
        f"| {x.id} | {x.statement} | {x.why} |" for x in [*LAWS.values(), *GRADIENT_LAWS.values()]
    ]


def test_the_tutorial_prints_what_it_says():
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == 4
    for found, expected in printed(blocks):
        assert found == expected


def test_the_table_has_every_law():
    assert "\n".join(rows()) in PAGE.read_text()
