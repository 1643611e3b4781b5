"""One answer of a conformance run."""

from __future__ import annotations

from dataclasses import dataclass, field

from validation.evtrace import one_line

#: From best to worst. `refused` is an exception, `dropped` a node that has no effect at all.
VERDICTS = ("identical", "discretised", "refused", "deviating", "dropped")
KINDS = ("import", "roundtrip", "native")


@dataclass(frozen=True)
class Row:
    """What a framework made of one subject in one variant.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    subject, variant : str
        NIR node or neuron class, and what is special about it.
    verdict : str
        One of `VERDICTS`.
    cause : list of str
        The switches that explain a deviation; empty where none does.
    note : str
        One line for people: the refusal's own words, or sizes.
    """

    kind: str
    subject: str
    variant: str
    verdict: str
    cause: list[str] = field(default_factory=list)
    note: str = ""


def refusal(kind: str, subject: str, variant: str, error: BaseException) -> Row:
    """The row of a framework that raised."""
    words = f"{type(error).__name__}: {one_line(error)}"
    return Row(kind, subject, variant, "refused", [], words[:150])
