"""What a walk of the oracle leaves behind: spikes and decisions as plain data, with their bounds.

The walk notes what happens; the roundings of a float64 simulator are carried through the notes
by the rules of `reference.attainable` afterwards, and only where somebody asks for them.
"""

from __future__ import annotations

import math
from copy import copy
from typing import Any, NamedTuple

from reference.attainable import EPS, FACTOR, TIME, VOLTAGE, Roundings, gain
from reference.crossing import Passage
from reference.flows import Flow
from reference.neuron import Decision, Neuron, Run, Spike

Ball = Any


class Stretch(NamedTuple):
    """One interval between own events of a free membrane."""

    t: Ball
    h: Ball
    flow: Flow
    theta: float
    rounded: float
    late: float
    passage: Passage

    def level(self) -> float:
        """What its threshold test rounds, in units of eps."""
        return abs(self.theta) + abs(self.theta - float(self.flow.u)) + self.rounded

    def top(self) -> float:
        """When the voltage would be largest."""
        return float(self.t + (self.h if self.passage.at_end else self.passage.top))

    def attainable(self) -> float:
        """Error in time that this interval alone cannot avoid."""
        passage, error = self.passage, EPS * self.level()
        return error * gain(passage.slope, passage.curvature, FACTOR * error)


class Account:
    """The roundings of one neuron, and its run so far."""

    def __init__(self, neuron: Neuron, jitter: float, ties: list[str]) -> None:
        self.p = neuron
        self.jitter = jitter
        self.noise = Roundings()
        self.run = Run(ties=ties)

    def copy(self) -> Account:
        """The same, to go on from."""
        other = copy(self)
        other.noise = self.noise.copy()
        other.run = Run([*self.run.spikes], [*self.run.decisions], [*self.run.ties])
        return other

    def passed(self, stretch: Stretch) -> None:
        """An interval without a spike."""
        self.decide(stretch)
        flow, h = stretch.flow, float(stretch.h)
        self.noise.flow(flow.response(h), flow.roundings(h))

    def decide(self, stretch: Stretch) -> None:
        """Record how clear the decision of an interval is."""
        t, passage = stretch.t, stretch.passage
        error = self.noise.voltage_after(stretch.flow.response(passage.top))
        local = EPS * stretch.level()
        noise = EPS * float(abs(error).sum()) + local
        if passage.at_end:
            noise += abs(stretch.flow.rate(passage.top) * stretch.late)
        fired = passage.time is not None
        end = float(t + (passage.time if fired else stretch.h))
        decision = Decision(float(t), end, fired, stretch.top(), passage.margin, noise, local)
        self.run.decisions.append(decision)

    def fired(self, stretch: Stretch, before: Ball, time: Ball, gap: Ball | None) -> None:
        """A spike: rules (2) and (4); `before` is the current at the start of the interval."""
        self.decide(stretch)
        passage, noise = stretch.passage, self.noise
        s, at_once = float(passage.time), passage.time.is_zero()
        if at_once:
            noise.table[VOLTAGE] += passage.slope * noise.table[TIME]
        else:
            response = stretch.flow.response(s)
            noise.cross(response, passage.slope, passage.curvature, stretch.level(), s)
            if self.jitter:
                noise.add(t=self.jitter / EPS)
            self.decayed(before, passage.current, s)
        hi = float(time)
        self.run.spikes.append(
            Spike(
                text=time.str(70),
                hi=hi,
                lo=float(time - hi),
                slope=passage.slope,
                curvature=passage.curvature,
                theta=stretch.theta,
                u0=float(stretch.flow.u),
                margin=passage.margin,
                gap=math.inf if gap is None else float(gap),
                at_once=at_once,
                attainable=0.0 if at_once else stretch.attainable(),
                bound=noise.bound(TIME),
            )
        )
        if not at_once or self.p.reset == "value":
            noise.table[VOLTAGE] = 0.0

    def decayed(self, before: Ball, after: Ball, h: float) -> None:
        """Rule (2) for the current alone."""
        if not before.is_zero():
            relative = 1.0 + float(h) / self.p.tau_syn
            self.noise.decay(float(after / before), relative * abs(float(after)))

    def released(self) -> None:
        """The clock's error at the end of the refractory time."""
        self.noise.add(t=0.5 * self.p.t_ref + self.jitter / EPS)

    def restarted(self, flow: Flow, v: Ball, rounded: float) -> None:
        """Rule (5), for a voltage that is stored relative to its asymptote."""
        stored = abs(float(flow.u)) + abs(float(v)) + rounded
        self.noise.restart(float(flow.start()), stored)

    def arrived(self, weight: Ball, late: float, free: bool, u: Ball, i: Ball) -> None:
        """Rule (3); the state after it."""
        w, tau = float(weight), self.p.tau_mem
        if self.p.model == "cuba":
            self.noise.arrive(late, -w / tau if free else 0.0, w / self.p.tau_syn, clock=free)
            self.noise.add(i=abs(float(i)))
        elif free:
            self.noise.arrive(late, w / tau if self.p.model == "delta" else 0.0, 0.0, clock=True)
            self.noise.add(u=abs(float(u)))

    def stepped(self, u: Ball, rounded: float) -> None:
        """A new asymptote, above which the voltage is `u` now."""
        self.noise.add(u=abs(float(u)) + rounded)
