r"""Networks whose spike times are rational: the pass over a claim without any error.

A membrane without leak whose slope is constant between its events crosses its threshold at

.. math::  T = t + (\vartheta - u)/\text{slope},                                    \tag{1}

a rational number if all before is rational, which parameters, weights, delays and inputs are. So
every comparison of two times has one true answer: two that are equal are a tie, and are reported.
A spike comes before an arrival at its own time, as `simulate` has it by default.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from flint import fmpq

from evsim.models.linear import CURRENT
from evsim.proof.ball_numbers import rational
from evsim.proof.doubles import Finding, Outcome, not_meant, open_claims
from evsim.proof.events import MISSING, NO_SPIKE, ORDER, OTHER_TIME, REFRACTORY
from evsim.proof.problem import EDGE, STEP, VOLTAGE, Problem


def number(value) -> fmpq:
    """A float or a Fraction, exactly."""
    return fmpq(*Fraction(value).as_integer_ratio())


def is_rational(problem: Problem) -> bool:
    """Whether no neuron has a membrane, or a current, that decays."""
    return all(
        form.tau is None and form.taus == (None,) and cell.kind[0] == CURRENT
        for form, cell in zip(problem.forms, problem.neurons, strict=True)
    )


class Stop(Exception):
    """The pass ends here."""

    def __init__(self, code, n, time, k, source, gap, found):
        super().__init__(code)
        early = time if code == ORDER else min(time, found)
        self.finding = Finding(code, n, float(early), k, source, float(gap), 0.0, float(found))


class Cell:
    """One neuron right after its last event."""

    def __init__(self, problem: Problem, n: int):
        p, form = problem.neurons[n], problem.forms[n]
        self.n, self.theta, self.reset = n, number(form.theta), number(form.reset)
        self.t_ref, self.subtract = number(float(p.t_ref + p.dead)), bool(p.subtract)
        self.strict, self.held, self.block = bool(p.strict), not p.dead > 0.0, bool(p.block)
        self.u, self.slope = (number(rational(*pair)) for pair in problem.start[n, :2])
        self.t = self.drive = fmpq(0)
        self.free: fmpq | None = None
        self.next, self.end = int(problem.bounds[n]), int(problem.bounds[n + 1])

    def go(self, t) -> None:
        """On to a time, without a spike."""
        start = min(t, self.ready()) if self.held else self.t
        self.u += self.slope * (t - start)
        self.t = t

    def ready(self):
        """When it is, or was, free to fire."""
        return self.t if self.free is None else max(self.t, self.free)

    def receive(self, port: int, weight: float) -> None:
        """One arrival, now."""
        if port == STEP:
            self.slope += number(weight) - self.drive
            self.drive = number(weight)
        elif port == EDGE:
            self.slope += number(weight)
        elif self.ready() > self.t and (self.block or (self.held and port == VOLTAGE)):
            pass
        elif port == VOLTAGE:
            self.u += number(weight)
        else:
            self.slope += number(weight)

    def due(self):
        """When it fires next if nothing arrives, or None; (1)."""
        start = self.ready()
        u = self.u if self.held else self.u + self.slope * (start - self.t)
        if u > self.theta or (u == self.theta and not self.strict):
            return start
        if self.slope <= 0:
            return None
        return start + (self.theta - u) / self.slope

    def fire(self, t) -> None:
        """A spike, now."""
        self.go(t)
        self.u = self.u - (self.theta - self.reset) if self.subtract else self.reset
        self.free = t + self.t_ref


class Pass:
    """One pass over a claim."""

    def __init__(self, problem: Problem, window: float, tolerance: float):
        self.problem, src = problem, problem.sources
        self.limit = Fraction(min(window, tolerance)) if tolerance < math.inf else None
        self.window = Fraction(window)
        self.claim = [
            number(rational(a, b)) for a, b in zip(src.claim_hi, src.claim_lo, strict=True)
        ]
        self.time = list(self.claim)
        for k, value in problem.exact.items():
            self.time[k] = number(value)
        arrivals = problem.arrivals
        self.source, self.port = arrivals.source.tolist(), arrivals.port.tolist()
        self.wait = [number(d) for d in arrivals.delay.tolist()]
        self.weight = arrivals.weight.tolist()
        self.owner = src.neuron.tolist()
        self.cells = [Cell(problem, n) for n in range(problem.size)]
        self.ties: list[tuple[int, float]] = []

    def known(self, q: Cell, k: int) -> list[tuple[fmpq, int]]:
        """(time, arrival) of the next arrivals that come at one instant."""
        found: list[tuple[fmpq, int]] = []
        for m in range(q.next, q.end):
            if k <= self.source[m] and self.owner[self.source[m]] >= 0:
                break
            t = self.time[self.source[m]] + self.wait[m]
            if found and t - found[0][0] > 2 * number(self.window):
                break
            found.append((t, m))
        first = min((t for t, _ in found), default=None)
        return [pair for pair in found if pair[0] == first]

    def take(self, q: Cell, group: list[tuple[fmpq, int]]) -> None:
        """Arrivals at one instant; they need not be next in the list."""
        q.go(group[0][0])
        for _, m in group:
            if m != q.next:
                for column in (self.source, self.port, self.wait, self.weight):
                    column[m], column[q.next] = column[q.next], column[m]
            q.receive(self.port[q.next], self.weight[q.next])
            q.next += 1

    def until(self, q: Cell, k: int, end):
        """Arrivals up to the next spike, or `end`; when that spike comes, or None."""
        while True:
            due, group = q.due(), self.known(q, k)
            # What comes at the very instant from which it is above threshold comes before.
            late = not group or due is None or due < group[0][0] or q.ready() < due
            if due is not None and (not group or due <= group[0][0]) and late and due <= end:
                if group and due == group[0][0] and due > q.t:
                    self.ties.append((q.n, float(Fraction(int(due.p), int(due.q)))))
                return due
            if not group or group[0][0] > end:
                return None
            t, source = group[0][0], self.source[group[0][1]]
            if t < q.t:  # what has been found without it may not be true
                raise Stop(ORDER, q.n, _float(t), k, source, _float(q.t - t), _float(q.t))
            self.take(q, group)

    def spike(self, k: int) -> None:
        """Bring the neuron of claim `k` to that spike."""
        q, claim = self.cells[self.owner[k]], self.claim[k]
        near = number(self.window)
        if q.free is not None and q.free > claim + near:
            raise Stop(REFRACTORY, q.n, _float(claim), k, -1, _float(q.free - claim), math.inf)
        due = self.until(q, k, claim + near)
        if due is None:
            self.awaits(q, k)
            raise Stop(NO_SPIKE, q.n, _float(claim), k, -1, 0.0, math.inf)
        off = abs(due - claim)
        if due < claim - near:
            raise Stop(MISSING, q.n, _float(due), k, -1, _float(off), _float(due))
        if self.limit is not None and off > number(self.limit):
            raise Stop(OTHER_TIME, q.n, _float(claim), k, -1, _float(off), _float(due))
        if q.next < q.end:
            source = self.source[q.next]
            waiting = source > k and self.owner[source] >= 0
            if waiting and self.claim[source] + self.wait[q.next] <= due:
                raise Stop(ORDER, q.n, _float(claim), k, source, 0.0, _float(due))
        self.time[k] = due
        q.fire(due)

    def awaits(self, q: Cell, k: int) -> None:
        """Stop if an arrival that is not yet known may come while claim `k` may still be true."""
        claim, near = self.claim[k], number(self.window)
        for m in range(q.next, q.end):
            source = self.source[m]
            claimed = self.claim[source] + self.wait[m]
            if claimed > claim + 4 * near:
                return
            if claimed <= claim + 2 * near and k <= source and self.owner[source] >= 0:
                raise Stop(ORDER, q.n, _float(claim), k, source, 0.0, _float(claim))

    def rest(self, q: Cell, k: int, end) -> None:
        """From its last spike up to a time, without another."""
        due = self.until(q, k, end)
        if due is not None:
            raise Stop(MISSING, q.n, _float(due), k, -1, 0.0, _float(due))


def _float(x) -> float:
    return float(Fraction(int(x.p), int(x.q)))


def run(problem: Problem, window: float, tolerance: float) -> Outcome:
    """The pass; its radii are zero."""
    found, done = Pass(problem, window, tolerance), 0
    findings: list[Finding] = []
    try:
        for k in range(problem.count):
            found.spike(k)
            done = k + 1
    except Stop as stop:
        findings.append(stop.finding)
    whole, others = not findings, []
    end = problem.until if whole else findings[0].time
    for q in found.cells:
        try:
            found.rest(q, done, number(end))
        except Stop as stop:
            if whole or stop.finding.time < end:
                others.append(stop.finding)
    findings += not_meant(others, open_claims(problem, done, window))
    first = min(findings, key=lambda f: (f.time, not f.proved), default=None)
    times = found.time[:done]

    def exact() -> list[Fraction]:
        return [Fraction(int(t.p), int(t.q)) for t in times]

    none = np.full(done, np.nan)
    return Outcome("rational", 0, first, done, exact, np.zeros(done), none,
                   np.full(problem.size, np.inf), None, found.ties)  # fmt: skip
