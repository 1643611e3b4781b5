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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, ctx, fmpq

from reference.attainable import EPS, FACTOR, TIME, VOLTAGE, Roundings, gain
from reference.crossing import (
    Confluent,
    Flow,
    Line,
    Passage,
    Referee,
    TwoExponentials,
    Undecided,
    digits,
    first_passage,
)
from reference.neuron import DIGITS, Decision, Neuron, Run, Spike

__all__ = ["Decision", "Neuron", "Run", "Spike", "simulate"]

Ball = Any
AT_ONE_INSTANT = 1000  # spikes; more is a neuron that never leaves the threshold


@dataclass
class _Arrival:
    """What happens at one instant: summed weight, new current, rounding of the time."""

    time: Fraction
    weight: Fraction = Fraction(0)
    current: float | None = None
    late: float = 0.0


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
        In any order; times >= 0, numbers of any kind that `Fraction` reads. The bounds allow
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
    agenda = _agenda(neuron, arrivals, until, jitter)
    while True:
        final = bits >= max_bits
        with ctx.workprec(bits):
            try:
                walk = _Walk(neuron, agenda, until, initial, Referee(final), jitter, most)
                run = walk.run()
                if final or all(digits(arb(s.text)) >= DIGITS for s in run.spikes):
                    run.bits = bits
                    return run
            except Undecided:
                if final:
                    raise
        bits *= 2


def _agenda(
    neuron: Neuron, arrivals: Iterable[Sequence[Any]], until: float, jitter: float
) -> list[_Arrival]:
    """Arrivals and current steps by exact time, coincident ones merged exactly."""
    at: dict[Fraction, _Arrival] = {}
    for n, (t, w, *rest) in enumerate(arrivals):
        delay = rest[0] if rest else 0.0
        time = Fraction(t) + Fraction(delay)
        if time < 0:
            raise ValueError(f"arrivals must not precede 0; at index {n}: {float(time)}")
        event = at.setdefault(time, _Arrival(time))
        event.weight += Fraction(w)
        late = float(Fraction(float(t) + delay) - time)
        more = jitter + (rest[1] if len(rest) > 1 else 0.0)
        event.late = max(event.late, late + math.copysign(more, late), key=abs)
    for t, value in neuron.current:
        at.setdefault(Fraction(t), _Arrival(Fraction(t), late=jitter)).current = value
    return [at[time] for time in sorted(at) if time <= Fraction(until)]


def _exact(x: Fraction) -> Ball:
    """A rational as a ball, exact wherever it is a short binary number."""
    return arb(fmpq(x.numerator, x.denominator))


class _Walk:
    """One pass over the events of a neuron at one precision."""

    def __init__(
        self,
        neuron: Neuron,
        agenda: list[_Arrival],
        until: float,
        initial: tuple[float, float] | None,
        referee: Referee,
        jitter: float,
        most: float,
    ) -> None:
        self.p = neuron
        self.agenda = agenda
        self.until = arb(until)
        self.referee = referee
        self.jitter = jitter
        self.most = most
        v, i = initial if initial is not None else (neuron.v_leak, 0.0)
        self.t, self.v, self.i, self.current = arb(0), arb(v), arb(i), 0.0
        self.release: Ball | None = None
        self.last: Ball | None = None  # last arrival or release
        self.noise = Roundings()
        self.rounded = self.rounded_offset()
        self.result = Run(ties=referee.ties)
        self.instant = 0

    def run(self) -> Run:
        """All events in order, then the rest up to `until`."""
        for event in self.agenda:
            time = _exact(event.time)
            self.go_to(time, event)
            self.apply(event)
            self.last = time
        self.go_to(self.until, None)
        return self.result

    def go_to(self, end: Ball, event: _Arrival | None) -> None:
        """Spikes and releases up to and including `end`."""
        while True:
            if self.release is not None:
                if self.referee.sign(self.release - end, "release") > 0:
                    self.clamped_to(end)
                    return
                self.let_go()
            elif not self.free_to(end, event):
                return

    @property
    def asymptote(self) -> Ball:
        """The voltage that v tends to without synaptic current."""
        if self.p.model == "if":
            return arb(0)
        return arb(self.p.v_leak) + self.p.bias + self.current

    def flow(self) -> Flow:
        """What v does from the present state until the next event."""
        if self.p.model == "if":
            return Line(self.v, arb(self.p.bias) + self.current)
        u, m, s = self.v - self.asymptote, arb(self.p.tau_mem), arb(self.p.tau_syn)
        if self.i.is_zero():
            return Confluent(u, self.i, m, m)
        confluent = self.p.tau_mem == self.p.tau_syn
        return Confluent(u, self.i, m, s) if confluent else TwoExponentials(u, self.i, m, s)

    def free_to(self, end: Ball, event: _Arrival | None) -> bool:
        """Advance an unclamped membrane to its next spike, or to `end`; True if it fired."""
        flow, theta, h = self.flow(), self.p.v_th - self.asymptote, end - self.t
        passage = first_passage(flow, theta, h, self.p.graze, self.referee)
        self.decide(flow, theta, h, passage, event)
        if passage.time is not None:
            self.fire(flow, theta, passage.time, passage, event, h)
            return True
        self.noise.flow(flow.response(h), flow.roundings(h))
        self.v = flow.value(h) + self.asymptote
        self.decay(h)
        self.t = end
        return False

    def decay(self, h: Ball) -> None:
        """The synaptic current after `h`."""
        if not self.i.is_zero():
            self.i = self.i * (-h / self.p.tau_syn).exp()

    def clamped_to(self, end: Ball) -> None:
        """Advance the current alone."""
        before, h = self.i, end - self.t
        self.decay(h)
        if not before.is_zero():
            relative = 1.0 + float(h) / self.p.tau_syn
            self.noise.decay(float(self.i / before), relative * abs(float(self.i)))
        self.t = end

    def let_go(self) -> None:
        """End of the refractory time: the membrane restarts, rule (5)."""
        self.clamped_to(self.release)
        self.release, self.last = None, self.t
        self.noise.add(t=0.5 * self.p.t_ref + self.jitter / EPS)
        self.restart()

    def restart(self) -> None:
        """Rule (5) at the present state, which is stored relative to its asymptote."""
        flow = self.flow()
        stored = abs(float(self.v - self.asymptote)) + abs(float(self.v)) + self.rounded
        self.noise.restart(float(flow.slope(arb(0))), stored)

    def rounded_offset(self) -> float:
        """Magnitude of the asymptote if its sum rounds in float64, else 0."""
        parts = (self.p.v_leak, self.p.bias, self.current)
        exact = sum(map(Fraction, parts)) == Fraction(sum(parts))
        return 0.0 if exact or self.p.model == "if" else abs(sum(parts))

    def apply(self, event: _Arrival) -> None:
        """An arrival or a current step at the present time; rule (3)."""
        free, w = self.release is None, float(event.weight)
        if self.p.model == "cuba":
            self.i = self.i + _exact(event.weight)
            rates = (-w / self.p.tau_mem if free else 0.0, w / self.p.tau_syn)
            self.noise.arrive(event.late, *rates, clock=free)
            self.noise.add(i=abs(float(self.i)))
        elif free:
            self.v = self.v + _exact(event.weight)
            rate = w / self.p.tau_mem if self.p.model == "delta" else 0.0
            self.noise.arrive(event.late, rate, 0.0, clock=True)
            self.noise.add(u=abs(float(self.v - self.asymptote)))
        if event.current is not None:
            self.current = event.current
            self.rounded = self.rounded_offset()
            if free:
                self.noise.add(u=abs(float(self.v - self.asymptote)) + self.rounded)

    def level(self, theta: Ball, u0: Ball) -> float:
        """What a threshold test rounds, in units of eps."""
        return abs(float(theta)) + abs(float(theta - u0)) + self.rounded

    def decide(
        self, flow: Flow, theta: Ball, h: Ball, passage: Passage, event: _Arrival | None
    ) -> None:
        """Record how clear the decision of this interval is."""
        error = self.noise.voltage_after(flow.response(passage.top))
        local = EPS * self.level(theta, flow.value(arb(0)))
        noise = EPS * float(abs(error).sum()) + local
        if passage.top is h:
            late = self.jitter if event is None else event.late
            noise += abs(float(flow.slope(h)) * late)
        end = h if passage.time is None else passage.time
        self.result.decisions.append(
            Decision(
                float(self.t),
                float(self.t + end),
                passage.time is not None,
                float(self.t + passage.top),
                float(passage.margin),
                noise,
                local,
            )
        )

    def fire(
        self, flow: Flow, theta: Ball, s: Ball, passage: Passage, event: _Arrival | None, h: Ball
    ) -> None:
        """Emit the spike, reset, and carry the errors through rules (4) and (5)."""
        at_once, u0 = s.is_zero(), flow.value(arb(0))
        self.guard(at_once)
        slope, bend, level = float(passage.slope), float(passage.curvature), self.level(theta, u0)
        if at_once:
            self.noise.table[VOLTAGE] += slope * self.noise.table[TIME]
        else:
            self.noise.cross(flow.response(s), slope, bend, level, float(s))
            if self.jitter:
                self.noise.add(t=self.jitter / EPS)
            self.clamped_to(self.t + s)
        gap = self.gap(None if event is None else h - s)
        self.emit(theta, u0, passage, at_once, gap)
        self.reset(at_once)

    def guard(self, at_once: bool) -> None:
        """Refuse a neuron that fires for ever at one instant, or too often."""
        if len(self.result.spikes) >= self.most:
            raise ValueError(f"more than {self.most} spikes by t={float(self.t)}")
        self.instant = self.instant + 1 if at_once and self.p.t_ref == 0.0 else 0
        if self.instant > AT_ONE_INSTANT:
            raise ValueError(f"the neuron fires for ever at t={float(self.t)}")

    def reset(self, at_once: bool) -> None:
        """The state after a spike at the present time."""
        jump = arb(self.p.v_th) - self.p.v_reset
        if at_once and self.p.reset == "subtract":
            self.v = self.v - jump
        else:  # at a continuous crossing v = v_th, so that both resets agree
            self.v = arb(self.p.v_reset)
            self.noise.table[VOLTAGE] = 0.0
        if self.p.t_ref > 0.0:
            self.release = self.t + self.p.t_ref
        else:
            self.restart()

    def gap(self, ahead: Ball | None) -> float:
        """Distance to the nearest arrival or release; `ahead` is the next arrival."""
        behind = None if self.last is None else self.t - self.last
        return min((float(x) for x in (behind, ahead) if x is not None), default=math.inf)

    def emit(self, theta: Ball, u0: Ball, passage: Passage, at_once: bool, gap: float) -> None:
        """Append the spike at the present time to the result."""
        slope, bend = float(passage.slope), float(passage.curvature)
        error, hi = EPS * self.level(theta, u0), float(self.t)
        self.result.spikes.append(
            Spike(
                text=self.t.str(70),
                hi=hi,
                lo=float(self.t - hi),
                slope=slope,
                curvature=bend,
                theta=float(theta),
                u0=float(u0),
                margin=float(passage.margin),
                gap=gap,
                at_once=at_once,
                attainable=0.0 if at_once else error * gain(slope, bend, FACTOR * error),
                bound=self.noise.bound(TIME),
            )
        )
