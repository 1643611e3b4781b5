"""Hard cases of one current-based neuron: exact inputs, true spikes.

The table lies beside this module as `hard_cases.json`, so that other languages can read
it. Numbers there are hexadecimal floats, because the cases hang on the last bit; the
truths were found by 60-digit bisection and are checked against `reference.lif`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference.lif import Neuron

TABLE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class HardCase:
    """One case.

    Attributes
    ----------
    id : str
        Name, as cited elsewhere: H1 to H20b, G1 to G5 (one grazing input), G6.
    remark : str
        What makes it hard.
    neuron : Neuron
    arrivals : tuple of (time, weight) or (time, weight, delay)
    until : float
    truth : tuple of str
        Spike times to 32 digits.
    undecided : str or None
        Kind of the decision that float64 cannot take, if there is one.
    ties : tuple of str
        Kinds of the decisions that no finite precision can take.
    """

    id: str
    remark: str
    neuron: Neuron
    arrivals: tuple[tuple[float, ...], ...]
    until: float
    truth: tuple[str, ...]
    undecided: str | None
    ties: tuple[str, ...]


def load() -> list[HardCase]:
    """All hard cases, in the order of the table."""
    return [_case(entry) for entry in json.loads(TABLE.read_text())["cases"]]


def _case(entry: dict) -> HardCase:
    """One entry of the table with its hexadecimal numbers read."""
    fields: dict[str, Any] = {
        name: value if name == "graze" else float.fromhex(value)
        for name, value in entry["neuron"].items()
    }
    return HardCase(
        id=entry["id"],
        remark=entry["remark"],
        neuron=Neuron(**fields),
        arrivals=tuple(tuple(map(float.fromhex, a)) for a in entry["arrivals"]),
        until=float.fromhex(entry["until"]),
        truth=tuple(entry["truth"]),
        undecided=entry["undecided"],
        ties=tuple(entry["ties"]),
    )
