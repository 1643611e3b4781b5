"""The tier of any precision: the pass of `evsim.proof.prove` with centres in ball arithmetic.

The centre of a neuron is a vector of Arb balls, whose radii hold the rounding; deviations,
radii and rows of symbols are floats, as in the compiled tiers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, ctx

from evsim.proof import ball_leap as leaps
from evsim.proof.algebra import touch
from evsim.proof.ball_crossing import candidate, code_of
from evsim.proof.ball_events import (
    after_end,
    difference,
    do_arrival,
    do_release,
    do_wake,
    may_come_by,
    next_event,
)
from evsim.proof.ball_flow import Cell, Flowed, Stop, ends_of, halve
from evsim.proof.ball_numbers import TIME, below, exact, fraction, later, size_of, to_float
from evsim.proof.ball_plain import cell_of
from evsim.proof.bounds import COEFFICIENT, NEAR, TINY, UNIT, UP
from evsim.proof.crossing import left_over
from evsim.proof.doubles import Outcome, growth_of, not_meant, open_claims
from evsim.proof.events import (
    CROSSING,
    MISSING,
    NO_SPIKE,
    ORDER,
    OTHER_TIME,
    REFRACTORY,
    TOO_WIDE,
)
from evsim.proof.flow import DEVIATION, REST
from evsim.proof.layout import WIDTH, bare
from evsim.proof.problem import Problem
from evsim.proof.rows import enter_row_of, new_rows
from evsim.proof.state import initial


def run(problem: Problem, bits: int, window: float, tolerance: float) -> Outcome:
    """The pass with `bits` of precision."""
    with ctx.workprec(bits):
        return Pass(problem, bits, window, tolerance).outcome()


class Pass:
    """One pass over a claim."""

    def __init__(self, problem: Problem, bits: int, window: float, tolerance: float):
        self.problem, self.bits = problem, bits
        self.window, self.tolerance = window, tolerance
        k = problem.count
        src, arr = problem.sources, problem.arrivals
        self.claim = [later(arb(a), b) for a, b in zip(src.claim_hi, src.claim_lo, strict=True)]
        self.claim_float = src.claim_hi.tolist()
        self.time = list(self.claim)
        for j, value in problem.exact.items():
            self.time[j] = exact(value)
        self.time_float = [to_float(t) for t in self.time]
        self.radius = [0.0] * src.size
        self.owner = src.neuron.tolist()
        self.source, self.port = arr.source.tolist(), arr.port.tolist()
        self.delay, self.weight = arr.delay.tolist(), arr.weight.tolist()
        #: When arrivals come, None while nobody knows; and which ones a source causes.
        self.comes: list[arb | None] = [None] * arr.size
        self.comes_float = [0.0] * arr.size
        self.sent: list[list[int]] = [[] for _ in self.owner]
        for m, source in enumerate(self.source):
            self.sent[source].append(m)
        for j in range(k, src.size):
            self.send(j)
        self.cells = [cell_of(problem, n) for n in range(problem.size)]
        st, src = initial(problem)
        self.net, self.arr, self.st, self.src = map(bare, (problem.neurons, arr.copy(), st, src))
        width = int(problem.neurons["count"].max())
        self.rows = new_rows(problem.size, width, k + 1)
        never = Fraction(0)
        self.root: list[tuple[int, Fraction]] = [(j, never) for j in problem.sources.root.tolist()]
        self.row, self.bound = np.zeros(k + 1), np.zeros((3, WIDTH + 1))
        self.done = 0

    def outcome(self) -> Outcome:
        """Run it."""
        findings = []
        try:
            while self.done < self.problem.count:
                self.spike(self.done)
                self.done += 1
        except Stop as stop:
            findings.append(stop.finding)
        k, whole = self.done, not findings
        end, others = self.problem.until if whole else findings[0].time, []
        for q in self.cells:
            try:
                self.still(q, k, arb(end))
            except Stop as stop:
                if whole or stop.finding.time < end:
                    others.append(stop.finding)
        findings += not_meant(others, open_claims(self.problem, k, self.window))
        first = min(findings, key=lambda f: (f.time, not f.proved), default=None)
        times = self.time[:k]
        gaps = np.array([q.closest for q in self.cells])
        return Outcome(
            "balls", self.bits, first, k, lambda: [fraction(t) for t in times],
            np.array(self.radius[:k]), growth_of(self.rows, k), gaps, ends_of(self.cells),
        )  # fmt: skip

    def quiet(self, q: Cell, state, s: arb, rho: float):
        """None if the gap up to `state` is silent, else (proved, time, value, margin)."""
        if q.high + q.crowd < 0.0:
            return None
        rho, span = max(rho, q.rho), to_float(s)
        if span < 0.0:
            state, rho, s, span = q.flow(arb(0)), rho - span, arb(0), 0.0
        if q.busy or q.asleep or q.calm(state, span, rho):
            return None
        loud = halve(q, s, rho)
        graze = None if loud is None or loud[0] else touch(q, s)
        if graze is None or (q.strict and graze.again):
            return loud
        if q.strict:
            return None
        # What ends the gap may come before it touches.
        return bool(graze.after + rho < s), to_float(graze.after), 0.0, 0.0

    def send(self, source: int) -> None:
        """The time of a source is known, and when what it causes arrives."""
        time, at, comes = self.time[source], self.time_float[source], self.comes
        ctx.prec += TIME
        for m in self.sent[source]:
            delay = self.delay[m]
            comes[m], self.comes_float[m] = time + delay, at + delay
        ctx.prec -= TIME

    def still(self, q: Cell, k: int, end: arb) -> None:
        """A neuron through its events up to a time, without a spike."""
        while True:
            kind, at = next_event(self, q, k)
            last = kind is None or not to_float(end - at) > 0.0
            together = kind == "arrival" and leaps.at_once(self, q, q.next)
            if leaps.above(q) and not together:
                leaps.unclaimed(self, q, k, kind, at)
            if kind in ("release", "wake") and not last:
                self.set_free(q, kind)
                continue
            if last:
                after_end(self, q, k)
            if last and (q.busy or q.asleep):
                return self.not_free_by(q, k, end)
            at = end if last else at
            s = at - q.t
            state = q.flow(s)
            if (to_float(s) > 0.0 or not last) and not together:
                rho = 0.0 if last else self.radius[self.source[q.next]]
                loud = self.quiet(q, state, s, rho)
                if loud is not None:
                    proved, where, value, margin = loud
                    found = candidate(q, self.bits, q.t + where)
                    time = to_float(q.t) + where if found is None else to_float(found[0])
                    time = min(time, to_float(at))  # the steps may lead far beyond the gap
                    code = code_of(proved, where)
                    raise Stop(code, q.n, k, -1, time, value, margin, time)
            if last:
                return None
            do_arrival(self, q, k, at, s, state)

    def set_free(self, q: Cell, kind: str) -> None:
        """The membrane is free, or the neuron can fire again."""
        do_release(self, q) if kind == "release" else do_wake(self, q)

    def not_free_by(self, q: Cell, k: int, end: arb) -> None:
        """A neuron that is refractory at the end: it is not free by then, or would not fire."""
        r = self.radius[q.last] * UP
        while q.busy or q.asleep:
            if (q.free if q.busy else q.wake) - end > r:
                return
            self.set_free(q, "release" if q.busy else "wake")
        f, margin = q.start_below(q.rho, 0.0)
        if not f + margin < 0.0:
            time = to_float(q.t)
            raise Stop(CROSSING, q.n, k, q.last, time, f, margin, time)

    def spike(self, k: int) -> None:
        """Bring the neuron of claim `k` to that spike."""
        q, claim = self.cells[self.owner[k]], self.claim[k]
        while True:
            kind, at = next_event(self, q, k)
            if q.busy or q.asleep:
                free = q.free if q.busy else q.wake
                d, r = below(free - claim), self.radius[q.last]
                if d > self.window + r:
                    raise Stop(REFRACTORY, q.n, k, q.last, self.claim_float[k], d, r,
                               to_float(free))  # fmt: skip
                if kind == "arrival":
                    do_arrival(self, q, k, at, at - q.t, q.flow(at - q.t))
                else:
                    self.set_free(q, kind)
                continue
            s: Any = None if at is None else at - q.t
            if kind == "arrival" and leaps.at_once(self, q, q.next):
                do_arrival(self, q, k, at, s, q.flow(s))
                continue
            if leaps.above(q):
                return leaps.leap(self, q, k, kind, at)
            if kind is not None and to_float(claim - at) >= 0.0:
                state = q.flow(s)
                loud = self.quiet(q, state, s, self.radius[self.source[q.next]])
                if loud is not None:
                    return self.early(q, k, at, loud)
            else:
                state = self.here(q, k, at)
                if state is None:
                    return None
            do_arrival(self, q, k, at, s, state)

    def early(self, q: Cell, k: int, at: arb, loud) -> None:
        """The gap before an arrival is not silent, although the claim lies behind it."""
        proved, where, value, margin = loud
        touches = margin == 0.0
        found = None if touches else candidate(q, self.bits, q.t + where)
        if found is not None and to_float(at - found[0]) > 0.0:
            return self.settle(q, k, found)
        time = to_float(q.t) + where
        code = self.code_near(k, proved, where, time)
        raise Stop(code, q.n, k, self.source[q.next], time, value, margin, time)

    def code_near(self, k: int, proved: bool, where: float, time: float) -> int:
        """The code for a gap that is not silent; what claim `k` may mean is not missing."""
        code = code_of(proved, where)
        near = time >= self.claim_float[k] - self.window
        return CROSSING if code == MISSING and near else code

    def here(self, q: Cell, k: int, at: arb | None):
        """The claim lies in the gap before the next event: prove the spike, or that there is
        none; the state at an arrival that comes first."""
        claim, c = self.claim[k], self.claim_float[k]
        end = at if at is not None else arb(self.problem.until)
        if not q.strict and (graze := touch(q, end - q.t)) is not None:
            return self.touched(q, k, q.t + graze.after)
        found, open_ = candidate(q, self.bits, claim), None
        if found is not None and (at is None or to_float(at - found[0]) > 0.0):
            try:
                return self.settle(q, k, found)
            except Stop as stop:
                if stop.finding.code != CROSSING:
                    raise
                open_ = stop  # the steps may have ended below a peak that does not cross
        rho = self.radius[self.source[q.next]] if at is not None else 0.0
        close = at is not None and not at - claim > self.window + rho * UP
        if not close:
            self.nothing_by(q, k, claim + self.window, 0.0)
        s = (at if at is not None and close else claim + self.window) - q.t
        state = q.flow(s)
        loud = self.quiet(q, state, s, rho if close else 0.0)
        if loud is None:
            if close:
                return state
            raise Stop(NO_SPIKE, q.n, k, -1, c, self.window, 0.0, math.inf)
        if open_ is not None:
            raise open_
        proved, where, value, margin = loud
        code = self.code_near(k, proved, where, to_float(q.t) + where)
        if code == CROSSING and proved:
            found = candidate(q, self.bits, q.t + where)
            if found is not None and (at is None or to_float(at - found[0]) > 0.0):
                return self.settle(q, k, found)
        raise Stop(code, q.n, k, -1, c, value, margin, c)

    def nothing_by(self, q: Cell, k: int, time: arb, r: float) -> None:
        """Stop if an arrival may come before a time of radius `r`."""
        source = may_come_by(self, q, k, time, r)
        if source is not None:
            raise Stop(ORDER, q.n, k, source, self.claim_float[k], 0.0, r, to_float(time))

    def elsewhere(self, q: Cell, k: int, at: arb, far: float, r: float) -> None:
        """A spike too far from its claim: as `evsim.proof.prove.elsewhere`."""
        found, behind = to_float(at), at > self.claim[k]
        if behind and may_come_by(self, q, k, at, r) is not None:
            found, at, r = math.inf, self.claim[k] + self.window, 0.0
        self.nothing_by(q, k, at, r)
        raise Stop(OTHER_TIME, q.n, k, -1, self.claim_float[k], far, r, found)

    def settle(self, q: Cell, k: int, found) -> None:
        """A crossing: prove it, its time and its place among the arrivals, and take it."""
        at, state, residual, near = found
        time, v = to_float(at), near.slope
        whole = state.dev[0] + sum(state.dev[c] for c in q.thresholds)
        rest = state.rest[0] + sum(state.rest[c] for c in q.thresholds)
        if not v > 0.0:
            raise Stop(CROSSING, q.n, k, -1, time, v, residual, time)
        r0 = 1.5 * (residual + whole) / v * UP
        now = near if q.plain else q.bend(state.x, state.dev, r0)
        eta = (now.loose + now.bend * r0) * UP
        if not (eta <= 0.25 * v and r0 <= NEAR * q.shortest):
            raise Stop(CROSSING, q.n, k, -1, time, v, residual, time)
        self.first_one(q, k, at, state, v)
        eps = left_over(residual, whole, rest, v, eta, now.loose, now.bend)
        r = self.radius_of(q, k, at, state, v, eps)
        least, most = size_of(at - self.claim[k])
        limit, c = min(self.window, self.tolerance), self.claim_float[k]
        if least - r > limit:
            self.elsewhere(q, k, at, least, r)
        if not (most + r <= self.tolerance and r <= NEAR * q.shortest):
            raise Stop(TOO_WIDE, q.n, k, -1, c, most, r, time)
        span = below(at - q.t)
        if not span > (q.reach + r) * UP:
            raise Stop(ORDER, q.n, k, q.origin, time, span - q.reach, r, time)
        if q.near > 0.0 and not span > (q.near + r) * UP:
            both = difference(self, q.origin, k, q.near + r)
            if not span > both * UP:
                raise Stop(ORDER, q.n, k, q.origin, time, span, both, time)
        if q.origin >= 0:
            q.closest = min(q.closest, span)
        self.take_spike(q, k, at, state, r)

    def touched(self, q: Cell, k: int, at: arb) -> None:
        """A spike that touches the threshold: its time is known, whatever the slope."""
        state, r = q.flow(at - q.t), to_float(at.rad()) * UP + TINY
        (least, most), c = size_of(at - self.claim[k]), self.claim_float[k]
        if least > min(self.window, self.tolerance):
            self.elsewhere(q, k, at, least, r)
        if not most <= self.tolerance:
            raise Stop(TOO_WIDE, q.n, k, -1, c, most, r, to_float(at))
        r = self.radius_of(q, k, at.mid(), state, 1.0, r)
        self.take_spike(q, k, at.mid(), state, r)

    def first_one(self, q: Cell, k: int, at: arb, state, v: float) -> None:
        """No crossing comes before the candidate."""
        s = at - q.t
        if q.holds(state):
            f, margin = q.start_below(q.rho, to_float(s))
            if f + margin < 0.0:
                return
        now = q.bend(q.x, q.dev, to_float(s))
        delta = 0.25 * v / now.bend
        if delta >= to_float(s):
            f, margin = q.start_below(q.rho, to_float(s))
            loud = None if f + margin < 0.0 else (f - margin > 0.0, 0.0, f, margin)
        else:
            loud = halve(q, s - delta, q.rho)
        if loud is not None:
            proved, where, value, margin = loud
            time = to_float(q.t) + where
            code = self.code_near(k, proved, where, time)
            raise Stop(code, q.n, k, -1, to_float(at), value, margin, time)

    def radius_of(self, q: Cell, k: int, at: arb, state, v: float, eps: float) -> float:
        """The radius of a spike; its row and its error are entered."""
        n, hi = q.n, to_float(at)
        lo = to_float(at - hi)
        r = enter_row_of(self.net, self.st, n, q.known(), k, self.src, self.arr, self.rows, hi, lo,
                         self.bound, self.row, v, eps)  # fmt: skip
        self.loosen(q, state)
        return r

    def loosen(self, q: Cell, state) -> None:
        """Add to a state what its rows have lost."""
        for c in range(1, q.count + 1):
            state.dev[c] += self.bound[DEVIATION, c]
            state.rest[c] += self.bound[REST, c]

    def take_spike(self, q: Cell, k: int, at: arb, state, r: float, leap: bool = False) -> None:
        """The state right after a spike."""
        self.time[k], self.time_float[k], self.radius[k] = at, to_float(at), r
        self.send(k)
        q.take(Flowed(list(state.x), list(state.dev), list(state.rest), 0.0), at, r)
        q.rational = None
        q.x[0], q.dev[0], q.rest[0] = q.reset, 0.0, 0.0
        if q.subtract and (leap or q.thresholds):
            leaps.stay(self, q, k, state, r, leap)
        for c, jump in enumerate(q.jump, 1):
            if jump != 0.0:
                q.x[c] += jump
                linear = abs(jump) * q.decay_[c - 1] * r * UP
                second = linear * q.decay_[c - 1] * r
                q.dev[c] += linear + second
                q.rest[c] += second + COEFFICIENT * UNIT * linear
        q.free, q.last, q.origin, q.busy, q.owes = later(at, q.t_ref), k, -1, True, False
        q.wake, q.asleep = later(at, q.dead), q.dead > 0.0
        q.reach = q.near = q.crowd = 0.0
        q.kick = q.kept = q.lapse = 0.0
        q.high = math.inf
        q.since = q.next
