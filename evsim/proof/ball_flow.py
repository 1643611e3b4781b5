"""One neuron in ball arithmetic: its flow, its tests, and what is known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
from flint import arb

from evsim.models.linear import DRIVER, THRESHOLD
from evsim.proof.ball_numbers import exact, fraction, to_float
from evsim.proof.bounds import NEAR, READ, SLACK, TINY, UNIT, UP
from evsim.proof.doubles import PROVED_WRONG, Finding
from evsim.proof.flow import DEVIATION
from evsim.proof.layout import STATE, WORK, bare, records
from evsim.proof.problem import EDGE, STEP, VOLTAGE, Problem
from evsim.proof.silence import calm
from evsim.proof.state import Shape, shape_of

MOST_STEPS = 4000


class Stop(Exception):
    """A pass ends here."""

    def __init__(self, code, n, k, source, time, gap, radius, found):
        super().__init__(code)
        self.finding = Finding(
            code, n, min(time, found) if code in PROVED_WRONG else time, k, source,
            float(gap), float(radius), found,
        )  # fmt: skip


class Scratch(NamedTuple):
    """A state in floats, and the end of a gap, for what the compiled tiers have: the records, and
    columns of them."""

    state: np.ndarray
    ends: np.ndarray
    hi: np.ndarray
    dev: np.ndarray
    end: np.ndarray
    fade: np.ndarray
    theta: np.ndarray
    theta_err: np.ndarray
    crowd: np.ndarray


def scratch() -> Scratch:
    """Zeros."""
    state, ends = records(STATE, 1), records(WORK, 1)
    return Scratch(
        bare(state), bare(ends), state.x.hi[0], state.x.bound[0, DEVIATION], ends.x.hi[0],
        ends.fade[0], state.theta_hi, state.theta_err, state.crowd,
    )  # fmt: skip


@dataclass(slots=True)
class Flowed:
    """A state after an interval: values, deviations, rests, and what of the membrane is left."""

    x: list[arb]
    dev: list[float]
    rest: list[float]
    fade: float


class Cell:
    """One neuron: parameters, and its state at the time `t` of its last event."""

    def __init__(self, problem: Problem, n: int):
        self.net, form = bare(problem.neurons), problem.forms[n]
        p = self.net[n]
        self.n, self.form, self.count = n, form, int(p["count"])
        self.kind = p["kind"][: self.count].tolist()
        self.jump = p["jump"][: self.count].tolist()
        self.leaky, self.drive_in = form.tau is not None, int(p["drive"])
        tau = None if form.tau is None else Fraction(form.tau)
        taus = [None if c is None else Fraction(c) for c in form.taus]
        rate = Fraction(0) if tau is None else 1 / tau
        decays = [Fraction(0) if c is None else 1 / c for c in taus]
        self.rate, self.gain = exact(rate), exact(rate) if self.leaky else arb(1)
        self.decay = [exact(d) for d in decays]
        #: Less the distance of the rates, and gain over it.
        self.gap = [exact(-abs(rate - d)) if d != rate else None for d in decays]
        self.share = [None if g is None else self.gain / g for g in self.gap]
        self.slow = [d >= rate for d in decays]
        self.rate_, self.gain_ = float(rate), float(rate) if self.leaky else 1.0
        self.decay_ = [float(d) for d in decays]
        self.theta_0, self.reset_0 = exact(form.theta), exact(form.reset)
        self.set_levels(self.theta_0, self.reset_0)
        self.shortest, self.t_ref = float(p["shortest"]), float(p["t_ref"])
        self.dead, self.block, self.lag = float(p["dead"]), bool(p["block"]), int(p["lag"])
        self.drop = exact(form.theta - form.reset)
        self.thresholds = [c + 1 for c, kind in enumerate(self.kind) if kind == THRESHOLD]
        self.plain, self.strict = bool(p["plain"]), bool(p["strict"])
        self.subtract = bool(p["subtract"])
        start = problem.start[n, : self.count + 1]
        self.x = [arb(float(a)) + arb(float(b)) for a, b in start]
        if n in problem.membranes:
            self.x[0] = exact(problem.membranes[n])
        #: The state, where it is known to be these rational numbers.
        self.rational: list[Fraction] | None = [fraction(x) for x in self.x]
        if n in problem.membranes:
            self.rational[0] = problem.membranes[n]
        self.dev = [0.0] * (self.count + 1)
        self.rest = [0.0] * (self.count + 1)
        self.t = self.free = self.wake = self.pulses = arb(0)
        self.rho = self.slope = self.reach = self.near = self.drive = 0.0
        self.kick = self.kept = self.lapse = self.crowd = 0.0  # as of `evsim.proof.layout.STATE`
        self.busy = self.owes = self.asleep = False
        #: What F stays below if nothing else arrives, where that is known.
        self.high = math.inf
        self.last = self.origin = self.cause = -1
        self.wait = 0.0
        self.next, self.end = int(problem.bounds[n]), int(problem.bounds[n + 1])
        self.since = self.next
        self.closest = math.inf

    @cached_property
    def scratch(self) -> Scratch:
        """For the compiled tests."""
        return scratch()

    def flow(self, s: arb) -> Flowed:
        """Its state an interval later."""
        return flow(self, s)

    def bend(self, x: list[arb], dev: list[float], ahead: float) -> Shape:
        """`evsim.proof.state.shape` of a state in balls."""
        hi, off = self.scratch.hi, self.scratch.dev
        for c, value in enumerate(x):
            hi[c], off[c] = to_float(value), dev[c] + to_float(value.rad())
        return shape_of(self.net, self.n, self.scratch.state, ahead)

    def take(self, state: Flowed, t: arb, rho: float) -> None:
        """Make a state that of the neuron, at a time of radius `rho`."""
        self.x, self.dev, self.rest = state.x, state.dev, state.rest
        if self.rational is not None and any(self.rational) and not t == self.t:
            self.rational = None
        self.t, self.rho = t, rho

    def known(self) -> tuple[int, bool, float]:
        """What its rows have to know of it."""
        return self.next, self.owes, self.slope

    def age(self, s: float) -> None:
        """Time goes on by `s` for what the order of arrivals and spikes needs."""
        self.reach = (self.reach if self.reach > self.near else self.near) - s

    def receive(self, port: int, weight: float, r: float) -> float:
        """As `evsim.proof.state.receive`; every source is exact, or has a row."""
        size, rate, gain = abs(weight), self.rate_, self.gain_
        if port in (STEP, EDGE) or r > 0.0:
            self.rational = None
        if self.rational is not None:
            self.rational[1 + port] += Fraction(weight)
        if port in (STEP, EDGE):
            size = self._drive_by(port, weight)
            linear, square = size * gain, size * gain * rate
            self.kick += linear
            if port == EDGE and self.lag >= 0:
                more, second = self._enter(self.lag, -weight, r)
                linear, square = linear + more, square + second
        elif port == VOLTAGE:
            if self.busy:
                return size
            self.x[0] += weight
            linear, square = size * rate, size * rate * rate
        else:
            linear, square = self._enter(port, weight, r)
        if not self.busy:
            self.dev[0] += (linear * r + square * r * r) * UP
            self.rest[0] += square * r * r * UP
        return size

    def _enter(self, port: int, weight: float, r: float) -> tuple[float, float]:
        """An arrival at a component; by how much it turns the membrane, and bends it."""
        self.x[1 + port] += weight
        size, own = abs(weight), self.decay_[port]
        linear, square = size * self.gain_, size * self.gain_ * (self.rate_ + own)
        first, second = size * own * r, size * own * own * r * r
        self.dev[1 + port] += (first + second) * UP
        self.rest[1 + port] += second * UP
        if self.kind[port] == DRIVER:
            self.dev[port] += (size * r + 2.0 * size * own * r * r) * UP
            self.rest[port] += 2.0 * size * own * r * r * UP
            linear, square = 0.0, size * self.gain_
        self.kick += linear + square * NEAR * self.shortest
        return linear, square

    def _drive_by(self, port: int, value: float) -> float:
        """A step of the external current to a value, or an edge of a pulse; its size."""
        change = arb(value)
        if port == STEP:
            change, self.drive = change - arb(self.drive), value
        else:
            self.pulses += change
        if self.drive_in >= 0:
            self.x[1 + self.drive_in] += change
        else:
            self.x[0] -= change
            level = self.pulses + self.drive
            self.set_levels(self.theta_0 - level, self.reset_0 - level)
        return abs(to_float(change)) * UP

    def set_levels(self, theta: arb, reset: arb) -> None:
        """Threshold and reset relative to rest and external current."""
        self.theta, self.reset, self.theta_ = theta, reset, to_float(theta)
        self.theta_off = to_float(theta.rad()) + READ * UNIT * abs(self.theta_)

    def start_below(self, rho: float, span: float) -> tuple[float, float]:
        """F at the state, and how far the truth may lie above over both ends' radii."""
        f = excess(self, self.x)
        margin = to_float(f.rad()) + self.spread(self.dev) + self.crowd
        if rho > 0.0:
            margin += self.bend(self.x, self.dev, span).steep * rho
        return to_float(f), margin * UP

    def spread(self, dev: list[float]) -> float:
        """Bound of the deviation of F."""
        return (dev[0] + sum(dev[c] for c in self.thresholds)) * UP

    def calm(self, state: Flowed, span: float, rho: float) -> bool:
        """The first tests of `evsim.proof.silence.quiet`, in floats."""
        at = self.scratch
        for c, (value, end) in enumerate(zip(self.x, state.x, strict=True)):
            a, b = to_float(value), to_float(end)
            off = to_float(value.rad()) + to_float(end.rad()) + READ * UNIT * (abs(a) + abs(b))
            at.hi[c], at.end[c], at.dev[c] = a, b, self.dev[c] + off
        at.theta[0], at.theta_err[0] = self.theta_, self.theta_off
        at.fade[0], at.crowd[0] = state.fade, self.crowd
        return calm(self.net, self.n, at.state, at.ends, span, rho)

    def holds(self, state: Flowed) -> bool:
        """Whether the currents, once it is above threshold, would have kept it there."""
        if not self.plain:
            return False
        least = size = 0.0
        for c in range(1, self.count + 1):
            a, b = to_float(self.x[c]), to_float(state.x[c])
            least += min(a, b) - self.dev[c] - state.dev[c]
            least -= to_float(self.x[c].rad()) + to_float(state.x[c].rad())
            size += abs(a)
        needed = self.theta_ if self.leaky else 0.0
        return least > needed + SLACK * UNIT * (size + abs(self.theta_))


def ends_of(cells: list[Cell]) -> np.recarray:
    """What is known of neurons at their last events, rounded to pairs of doubles."""
    out = records(STATE, len(cells))
    for q, cell in zip(out, cells, strict=True):
        q.hi, q.busy, q.last, q.drive = to_float(cell.t), cell.busy, cell.last, cell.drive
        q.lo = to_float(cell.t - q.hi)
        q.x.hi[: cell.count + 1] = [to_float(x) for x in cell.x]
        q.free_hi = to_float(cell.free)
        q.free_lo = to_float(cell.free - q.free_hi)
    return out


def flow(q: Cell, s: arb) -> Flowed:
    """The state of a neuron an interval later."""
    held, old, was, lost = q.busy, q.x, q.dev, q.rest
    em = (-(s * q.rate)).exp() if q.leaky else arb(1)
    fade_ = to_float(em)
    u, off, more = old[0], was[0], lost[0]
    if not held:
        u, off, more = u * em, off * fade_, more * fade_
    x, dev, rest = [u], [off], [more]
    for c, kind in enumerate(q.kind, 1):
        fade, kappa = response(q, c - 1, s, em)
        value, off, more = old[c], was[c], lost[c]
        part, f = value * fade, to_float(fade)
        x.append(part)
        dev.append(off * f * UP + TINY)
        rest.append(more * f * UP + TINY)
        if kappa is not None and not held:
            x[0] += value * kappa
            g = abs(to_float(kappa))
            dev[0] += off * g
            rest[0] += more * g
        if kind == DRIVER:
            lag = abs(to_float(s)) * f * UP
            x[c - 1] += s * part
            dev[c - 1] += off * lag
            rest[c - 1] += more * lag
    dev[0], rest[0] = dev[0] * UP + TINY, rest[0] * UP + TINY
    return Flowed(x, dev, rest, fade_)


def response(q: Cell, c: int, s: arb, em: arb) -> tuple[arb, arb | None]:
    """What is left of component `c`, and what it adds to the membrane, per unit."""
    if q.kind[c] == THRESHOLD:
        return (-(s * q.decay[c])).exp(), None
    gap, share = q.gap[c], q.share[c]
    slow = em if q.slow[c] else (-(s * q.decay[c])).exp()
    if gap is None or share is None:
        if q.kind[c] == DRIVER:
            return slow, q.gain * slow * s * s / 2
        return slow, q.gain * slow * s
    x = s * gap
    less = x.expm1()
    fade = em + em * less if q.slow[c] else slow
    if q.kind[c] == DRIVER:
        # (e^x - 1 - x)/x^2 is half of 1F1(1; 3; x).
        shape = (x if not q.slow[c] else -x).hypgeom_1f1(1, 3) / 2
        whole = fade * shape if q.slow[c] else slow * shape
        return fade, q.gain * s * s * whole
    return fade, slow * less * share


def excess(q: Cell, x: list[arb]) -> arb:
    """The distance above threshold."""
    f = x[0] - q.theta
    for c in q.thresholds:
        f -= x[c]
    return f


def slope_of(q: Cell, x: list[arb]) -> arb:
    """The slope of F."""
    slope = -q.rate * x[0]
    for c in range(q.count):
        if q.kind[c] == THRESHOLD:
            slope += q.decay[c] * x[c + 1]
        elif q.kind[c] != DRIVER:
            slope += q.gain * x[c + 1]
    return slope


def halve(q: Cell, s: arb, rho: float):
    """As `evsim.proof.silence.halve`: None if silent, else (proved, where, value, margin)."""
    span = to_float(s)
    now = q.bend(q.x, q.dev, span)
    before, loose = q.start_below(rho, span)
    if not before + loose < 0.0:
        return before - loose > 0.0, 0.0, before, loose
    done, width, bend = arb(0), s, now.bend
    for _ in range(MOST_STEPS):
        left = s - done
        if not to_float(left) > 0.0:
            return None
        whole = to_float(width) >= to_float(left)
        at = s if whole else (done + width).mid()
        state = q.flow(at)
        f = excess(q, state.x)
        value, w = to_float(f), to_float(at - done) * 1.0000001
        off = to_float(f.rad()) + q.spread(state.dev) + now.steep * rho + q.crowd
        if value - off > 0.0:
            return earliest(q, to_float(done), to_float(at), value, off)
        if max(before + loose, value + off) + 0.125 * bend * w * w < 0.0:
            if whole:
                return None
            done, before, loose = at, value, off
            bend = q.bend(state.x, state.dev, to_float(left)).bend
            width = (2 * width).mid()
        elif w < span * 2.0**-900 or loose + off > 2.0 * abs(before) + 2.0 * abs(value) > 0.0:
            return False, to_float(at), value, off
        else:
            width = (width / 2).mid()
    return False, to_float(done), before, loose


def earliest(q: Cell, low: float, high: float, value: float, off: float):
    """That it crosses before `high`, where F is above 0; brought close to a crossing."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        state = q.flow(arb(middle))
        f = excess(q, state.x)
        here = to_float(f.rad()) + q.spread(state.dev)
        if to_float(f) - here > 0.0:
            high, value, off = middle, to_float(f), here
        else:
            low = middle
    return True, high, value, off
