"""What comes to a neuron from outside, by exact time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flint import arb, fmpq

Rational = Any  # flint.fmpq; its stubs do not describe mixed arithmetic


@dataclass(slots=True)
class Event:
    """What happens at one instant: summed weight, new current, rounding of the time."""

    time: Rational
    weight: Rational
    late: float
    current: float | None = None
    when: float = 0.0  # the time, rounded

    def join(self, other: "Event") -> None:
        """Another event at the same instant."""
        self.weight += other.weight
        self.current = self.current if other.current is None else other.current
        self.late = max(self.late, other.late, key=abs)


def rational(x: Any) -> Rational:
    """A number of any kind that has an integer ratio."""
    return x if isinstance(x, fmpq) else fmpq(*x.as_integer_ratio())


def arriving(
    t: Any, weight: Any, delay: float = 0.0, late: float = 0.0, *, jitter: float = 0.0
) -> Event:
    """The arrival of what was sent at `t`, which is known to within `late`."""
    sent, wait = rational(t), rational(delay)
    time = sent + wait
    rounded = float(arb(sent)) + delay
    off = float(arb(rational(rounded) - time))
    more = jitter + late
    return Event(time, rational(weight), off + math.copysign(more, off), None, rounded)


def agenda_of(
    steps: Iterable[tuple[float, float]],
    arrivals: Iterable[Sequence[Any]],
    until: float,
    jitter: float = 0.0,
) -> list[Event]:
    """Arrivals and current steps by exact time, coincident ones merged exactly.

    Parameters
    ----------
    steps : iterable of (time, current)
    arrivals : iterable of (time, weight), (time, weight, delay) or (time, weight, delay, late)
    until : float
        Nothing later is kept.
    jitter : float, optional
        What every time may be off.

    Returns
    -------
    agenda : list of Event

    Raises
    ------
    ValueError
        If an arrival precedes time 0.
    """
    found = [arriving(*a, jitter=jitter) for a in arrivals]
    for n, event in enumerate(found):
        if event.time < 0:
            raise ValueError(f"arrivals must not precede 0; at index {n}: {event.time}")
    found += [Event(rational(t), fmpq(0), jitter, current=x) for t, x in steps]
    end = rational(until)
    agenda: list[Event] = []
    for event in sorted(found, key=lambda e: e.time):
        if agenda and agenda[-1].time == event.time:
            agenda[-1].join(event)
        elif event.time <= end:
            agenda.append(event)
    return agenda
