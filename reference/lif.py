r"""Exact oracle of one integrate-and-fire neuron, in Arb balls of adaptive precision.

The neuron is one of

.. math::
    \tau_m \dot v = v_L - v + i + b + I(t), \quad \tau_s \dot i = -i  && \text{"cuba"}, \\
    \tau_m \dot v = v_L - v + b + I(t)                              && \text{"delta"}, \\
    \dot v = b + I(t)                                               && \text{"if"},

with I(t) piecewise constant. An arrival of weight w adds w to i ("cuba") or to v. The
neuron fires at the first time at which v reaches v_th from below, or at once where an
event leaves it there. Then v = v_reset ("value") or v -= v_th - v_reset ("subtract"),
and v keeps that value for t_ref ("clamp"): i goes on, and what arrives directly at v is
lost. At equal times: spike, release, arrival; arrivals at one instant are summed exactly.

All parameters, times, weights and delays are binary64 numbers and are taken exactly;
t + delay is their real sum. The crossing itself is solved in `reference.crossing`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from fractions import Fraction
from typing import Any

from flint import arb, ctx

from reference.accounts import Account, Stretch
from reference.agenda import Event, agenda_of
from reference.crossing import Referee, digits, first_passage
from reference.flows import ZERO, Confluent, Flow, Line, TwoExponentials, Undecided
from reference.neuron import DIGITS, Decision, Neuron, Run, Spike

__all__ = ["Decision", "Neuron", "Run", "Spike", "simulate"]

Ball = Any
AT_ONE_INSTANT = 1000  # spikes; more is a neuron that never leaves the threshold


def simulate(
    neuron: Neuron,
    arrivals: Iterable[Sequence[Any]],
    until: float,
    *,
    initial: tuple[float, float] | None = None,
    jitter: float = 0.0,
    most: float = math.inf,
    bits: int = 320,
    max_bits: int = 1280,
) -> Run:
    """Every spike of `neuron` on [0, until].

    Parameters
    ----------
    neuron : Neuron
    arrivals : iterable of (time, weight), (time, weight, delay) or (time, weight, delay, late)
        In any order; times >= 0, numbers of any kind with an integer ratio. The bounds allow
        for an arrival that comes up to `late` from its time.
    until : float
        End of the run, included.
    initial : (v, i), optional
        State at time 0; default (v_leak, 0).
    jitter : float, optional
        What the bounds allow each own event to be off in time, besides its roundings.
    most : int, optional
        How many spikes are too many.
    bits, max_bits : int
        Precision to begin with and to end with; it doubles until every sign is certain
        and every time has 60 digits.

    Returns
    -------
    run : Run
        At `max_bits` an open sign is read as an equality, and listed in `ties`.

    Raises
    ------
    ValueError
        If an arrival precedes time 0, the neuron fires for ever at one instant, or more than
        `most` times.
    """

    def start(referee: Referee) -> Walk:
        return Walk(neuron, until, referee, initial=initial, jitter=jitter, most=most)

    return walked(start, arrivals, bits, max_bits).settled()


def walked(
    start: Callable[[Referee], "Walk"],
    arrivals: Iterable[Sequence[Any]],
    bits: int = 320,
    max_bits: int = 1280,
) -> "Walk":
    """The walk to the end, at the first precision that suffices; its bounds are not yet settled."""
    agenda: list[Event] | None = None

    def attempt(final: bool) -> list[Walk]:
        nonlocal agenda
        walk = start(Referee(final))
        if agenda is None:
            agenda = agenda_of(walk.p.current, arrivals, float(walk.until), walk.account.jitter)
        for event in agenda:
            walk.meet(event)
        walk.go_to(walk.until, None)
        return [walk]

    return until_certain(attempt, bits, max_bits)[0]


def until_certain(
    attempt: Callable[[bool], list["Walk"]], bits: int = 320, max_bits: int = 1280
) -> list["Walk"]:
    """Walks at the first precision at which all their signs and 60 digits are certain.

    Parameters
    ----------
    attempt : callable
        Whether it is the last precision; gives walks, or raises `Undecided`.
    bits, max_bits : int

    Returns
    -------
    walks : list of Walk
    """
    while True:
        final = bits >= max_bits
        with ctx.workprec(bits):
            try:
                walks = attempt(final)
            except Undecided:
                if final:
                    raise
            else:
                if final or all(digits(t) >= DIGITS for walk in walks for t in walk.times):
                    return walks
        bits *= 2


class Walk:
    """One pass over the events of a neuron, at the precision at which it was begun.

    Parameters
    ----------
    neuron : Neuron
    until : float
    referee : Referee
    initial : (v, i), optional
    jitter, most : optional
        As of `simulate`.
    sharp : bool, optional
        Whether all margins are wanted to the last digit, and not those only that are close.

    Attributes
    ----------
    t, v, i : ball
        The last event, and the state after it.
    times : list of ball
        Of the spikes so far.
    stretches : list of Stretch
        Intervals of a free membrane, those with a spike ended by it.
    """

    def __init__(
        self,
        neuron: Neuron,
        until: float,
        referee: Referee,
        *,
        initial: tuple[float, float] | None = None,
        jitter: float = 0.0,
        most: float = math.inf,
        sharp: bool = False,
    ) -> None:
        self.p, self.until, self.referee = neuron, arb(until), referee
        self.most, self.sharp, self.bits = most, sharp, ctx.prec
        self.taus = arb(neuron.tau_mem), arb(neuron.tau_syn)
        v, i = initial if initial is not None else (neuron.v_leak, 0.0)
        self.t, self.v, self.i = ZERO, arb(v), arb(i)
        self.set_current(0.0)
        self.release: Ball | None = None
        self.last: Ball | None = None  # last arrival or release
        self.times: list[Ball] = []
        self.stretches: list[Stretch] = []
        self.instant = 0
        self.account = Account(neuron, jitter, referee.ties)
        self.notes: list[tuple[Any, ...]] = []  # what the account does not yet know

    def settled(self) -> Run:
        """The run so far, with its bounds."""
        with ctx.workprec(self.bits):
            for what, *of in self.notes:
                what(self.account, *of)
        self.notes.clear()
        self.account.run.bits = self.bits
        return self.account.run

    def scout(self) -> "Walk":
        """The same walk so far, to look ahead."""
        self.settled()
        other = copy(self)
        other.account, other.notes = self.account.copy(), []
        other.times, other.stretches = [*self.times], [*self.stretches]
        return other

    def meet(self, event: Event) -> None:
        """The next event of the agenda, and all before it."""
        time = arb(event.time)
        self.go_to(time, event)
        self.apply(event)
        self.last = time

    def go_to(self, end: Ball, event: Event | None) -> None:
        """Spikes and releases up to and including `end`."""
        while self.fires_by(end, event):
            pass

    def fires_by(self, end: Ball, event: Event | None) -> bool:
        """The next spike up to and including `end`, if there is one; else `end`."""
        if self.release is not None:
            if self.referee.sign(self.release - end, "release") > 0:
                self.clamped_to(end)
                return False
            self.let_go()
        return self.free_to(end, event)

    def set_current(self, current: float) -> None:
        """The injected current, and the voltage that v tends to without synaptic current."""
        p, self.current = self.p, current
        without = p.model == "if"
        self.rest = ZERO if without else arb(p.v_leak) + p.bias + current
        self.theta = p.v_th - self.rest
        # Magnitude of the asymptote if its sum rounds in float64, else 0.
        parts = (p.v_leak, p.bias, current)
        exact = without or parts.count(0.0) > 1
        exact = exact or sum(map(Fraction, parts)) == Fraction(sum(parts))
        self.rounded = 0.0 if exact else abs(sum(parts))

    def flow(self) -> Flow:
        """What v does from the present state until the next event."""
        if self.p.model == "if":
            return Line(self.v, arb(self.p.bias) + self.current)
        m, s = self.taus
        if self.i.is_zero():
            return Confluent(self.v - self.rest, self.i, m, m)
        form = Confluent if self.p.tau_mem == self.p.tau_syn else TwoExponentials
        return form(self.v - self.rest, self.i, m, s)

    def free_to(self, end: Ball, event: Event | None) -> bool:
        """Advance an unclamped membrane to its next spike, or to `end`; True if it fired."""
        flow, h = self.flow(), end - self.t
        passage = first_passage(flow, self.theta, h, self.p.graze, self.referee, self.sharp)
        late = self.account.jitter if event is None else event.late
        stretch = Stretch(self.t, h, flow, float(self.theta), self.rounded, late, passage)
        self.stretches.append(stretch)
        if passage.time is not None:
            self.fire(stretch, event is not None)
            return True
        self.notes.append((Account.passed, stretch))
        self.i, value, _ = flow.at(h)
        self.v, self.t = value + self.rest, end
        return False

    def clamped_to(self, end: Ball) -> None:
        """Advance the current alone."""
        before, h = self.i, end - self.t
        if not before.is_zero():
            self.i = before * (-h / self.taus[1]).exp()
            self.notes.append((Account.decayed, before, self.i, h))
        self.t = end

    def let_go(self) -> None:
        """End of the refractory time: the membrane restarts, rule (5)."""
        self.clamped_to(self.release)
        self.release, self.last = None, self.t
        self.notes.append((Account.released,))
        self.restart()

    def restart(self) -> None:
        """A membrane that begins anew, at a time that is itself uncertain."""
        self.notes.append((Account.restarted, self.flow(), self.v, self.rounded))

    def apply(self, event: Event) -> None:
        """An arrival or a current step at the present time."""
        free, weight = self.release is None, arb(event.weight)
        if self.p.model == "cuba":
            self.i = self.i + weight
        elif free:
            self.v = self.v + weight
        u = self.v - self.rest
        self.notes.append((Account.arrived, weight, event.late, free, u, self.i))
        if event.current is not None:
            self.set_current(event.current)
            if free:
                self.notes.append((Account.stepped, self.v - self.rest, self.rounded))

    def fire(self, stretch: Stretch, waiting: bool) -> None:
        """Emit the spike and reset; whether an arrival is `waiting` at the end of the stretch."""
        s, before = stretch.passage.time, self.i
        at_once = s.is_zero()
        self.guard(at_once)
        if not at_once:
            self.t, self.i = self.t + s, stretch.passage.current
        behind = None if self.last is None else self.t - self.last
        gap = stretch.h - s if waiting else None
        gap = behind if gap is None or (behind is not None and behind < gap) else gap
        self.notes.append((Account.fired, stretch, before, self.t, gap))
        self.times.append(self.t)
        self.reset(at_once)

    def guard(self, at_once: bool) -> None:
        """Refuse a neuron that fires for ever at one instant, or too often."""
        if len(self.times) >= self.most:
            raise ValueError(f"more than {self.most} spikes by t={float(self.t)}")
        self.instant = self.instant + 1 if at_once and self.p.t_ref == 0.0 else 0
        if self.instant > AT_ONE_INSTANT:
            raise ValueError(f"the neuron fires for ever at t={float(self.t)}")

    def reset(self, at_once: bool) -> None:
        """The state after a spike at the present time."""
        if at_once and self.p.reset == "subtract":
            self.v = self.v - (arb(self.p.v_th) - self.p.v_reset)
        else:  # at a continuous crossing v = v_th, so that both resets agree
            self.v = arb(self.p.v_reset)
        if self.p.t_ref > 0.0:
            self.release = self.t + self.p.t_ref
        else:
            self.restart()
