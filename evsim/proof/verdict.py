"""What a proof answers: a verdict, and enclosures of the spikes that are proved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from evsim.network import Network
from evsim.proof.doubles import Finding, Outcome
from evsim.proof.problem import Problem


@dataclass(frozen=True)
class Enclosures:
    """Proved bounds of the spike times of a population, in the order of its spikes.

    Attributes
    ----------
    lower, upper : list of str
        Decimal numbers; the true time lies between them. Worked out when they are read.
    times : list of Fraction
        The exact numbers in the middle.
    radius : ndarray
        Half of their distance, before rounding to decimals.
    units : ndarray
    """

    radius: np.ndarray
    units: np.ndarray
    find: Callable[[], list[Fraction]] = field(repr=False)

    @cached_property
    def times(self) -> list[Fraction]:
        """The exact numbers in the middle."""
        return self.find()

    @cached_property
    def _bounds(self) -> list[tuple[str, str]]:
        return [decimals(t, r) for t, r in zip(self.times, self.radius.tolist(), strict=True)]

    @property
    def lower(self) -> list[str]:
        """Decimal numbers below the true times."""
        return [low for low, _ in self._bounds]

    @property
    def upper(self) -> list[str]:
        """Decimal numbers above them."""
        return [high for _, high in self._bounds]


@dataclass(frozen=True, repr=False)
class Certificate:
    """A verdict on spike trains.

    Attributes
    ----------
    status : {"PROVED", "WRONG", "UNDECIDED"}
    spikes : dict of Enclosures
        By population; only those proved, which are all where the status is PROVED.
    first_wrong : (population, unit, time) or None
        The first event, in time, at which the claim departs from the truth.
    instead : str
        What happens there, or why it is undecided; empty where the status is PROVED.
    undecided : (population, unit, time) or None
        Where the proof stopped.
    tier : str
        The arithmetic of the last attempt: "float64", "double-double" or "balls"; or "rational",
        where every spike time is, and no radius is left.
    bits : int
        Its precision.
    finding : Finding or None
        Gap, radius and spikes of the event named by `first_wrong` or `undecided`.
    proved_until : float
        Up to here all is proved [s].
    count : int
        Spikes proved.
    truth : Record or None
        The true run, where `certify(follow=True)` was asked for it and the claim was not proved.
    """

    status: str
    spikes: dict[str, Enclosures]
    first_wrong: tuple[str, int, float] | None
    instead: str
    undecided: tuple[str, int, float] | None
    tier: str
    bits: int
    finding: Finding | None
    proved_until: float
    tolerance: float
    count: int
    network: Network = field(repr=False)
    find: Callable[[], tuple[Problem, Outcome]] = field(repr=False)
    truth: Any = field(default=None, repr=False)

    @cached_property
    def _found(self) -> tuple[Problem, Outcome]:
        return self.find()

    @property
    def problem(self) -> Problem:
        """What was to be proved, as flat arrays."""
        return self._found[0]

    @property
    def ties(self) -> list[tuple[str, int, float]]:
        """Spikes at the very time of an arrival at their neuron: proved equal, in rational
        arithmetic."""
        return [(*self.problem.where(n), t) for n, t in self.outcome.ties]

    @property
    def outcome(self) -> Outcome:
        """What the last tier has found, spike by spike in the order of time."""
        return self._found[1]

    def save(self, path) -> None:
        """Write it as JSON; `reference.certificate.check` proves it again, independently."""
        from evsim.proof.files import save

        save(self, path)

    def __repr__(self) -> str:
        where = f", {self.instead}" if self.instead else ""
        return f"Certificate({self.status}, {self.count} spikes, {self.tier}{where})"


def decimals(time: Fraction, radius: float) -> tuple[str, str]:
    """Decimal numbers below time - radius and above time + radius, close to them."""
    r = Fraction(radius)
    digits = max(0, min(400, 3 - math.floor(math.log10(radius)))) if radius > 0 else 400
    scale = 10**digits
    return (
        _decimal(math.floor((time - r) * scale), digits),
        _decimal(math.ceil((time + r) * scale), digits),
    )


def _decimal(k: int, digits: int) -> str:
    """k / 10**digits, written out."""
    sign, k = ("-", -k) if k < 0 else ("", k)
    text = str(k).rjust(digits + 1, "0")
    return f"{sign}{text[: len(text) - digits]}.{text[len(text) - digits :] or '0'}"
