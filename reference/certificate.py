r"""Checker of certificates of spike trains; it shares nothing with the program that wrote them.

A certificate states equations, inputs, spikes, and for every spike a number T and a radius r.
With the state x of a neuron, x' = A x, and its distance o.x - theta above threshold, it is
proved that the network has exactly these spikes, each within r of its T:

* The *centre* is the flow with every T in place of the true time, by exponentials of matrices
  of Arb balls. The *deviation* of the truth from it, at one time, obeys x' = A x too.
* An arrival b that comes d late is seen at its centre time as exp(-dA) b - b = -d A b + rest,
  abs(rest) <= .55 d^2 A^2 b in absolute values. The end of a refractory time likewise.
* The deviation of a spike is -(o.deviation)/slope + eps: a row of coefficients in the eps of
  all spikes. Rows are floats: what they lose by rounding is part of the next eps.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flint import arb, arb_mat, ctx, fmpq

UP, TINY, NEAR = 1 + 1e-9, 1e-240, 0.02


class Result(NamedTuple):
    """Whether it holds, and if not, the reason."""

    ok: bool
    reason: str


class Rejected(Exception):
    """The certificate proves nothing."""


def check(path, bits=None):
    """Check the certificate in a file, with `bits` of precision; a `Result`."""
    before = ctx.prec
    try:
        data = json.loads(Path(path).read_text())
        ctx.prec = bits or max(128, int(data["bits"]) + 64)
        Checker(data).run()
    except Rejected as error:
        return Result(False, str(error))
    except (KeyError, TypeError, ValueError, IndexError, ArithmeticError) as error:
        return Result(False, f"not a certificate: {type(error).__name__} {error}")
    finally:
        ctx.prec = before
    return Result(True, "")


def exact(text):
    """A decimal or p/q."""
    value = Fraction(text)
    return arb(fmpq(value.numerator, value.denominator))


def need(condition, *reason):
    """Reject unless a ball comparison is certain."""
    if not condition:
        raise Rejected(" ".join(map(str, reason)))


class Cell:
    """One neuron at the time `t` of its last event, with the rows of its deviation."""

    def __init__(self, form, start, symbols):
        parts, tau = form["components"], form["tau"]
        kinds, d, rate = [p[0] for p in parts], 1 + len(parts), arb(0)
        need(set(kinds) <= {"current", "driven", "driver", "threshold"}, "unknown", kinds)
        rate = arb(0) if tau is None else 1 / arb(float(tau))
        rows = [[arb(0)] * d for _ in range(d)]
        rows[0][0], self.o = -rate, np.array([1.0] + [-1.0 * (k == "threshold") for k in kinds])
        for c, (kind, own, _) in enumerate(parts, 1):
            rows[c][c] = arb(0) if own is None else -1 / arb(float(own))
            rows[0][c] = (rate if tau else arb(1)) if kind in ("current", "driven") else arb(0)
            if kind == "driven":
                rows[c][c + 1] = arb(1)
        self.free, self.held = arb_mat(rows), arb_mat([[arb(0)] * d, *rows[1:]])
        self.a, self.jump = floats(self.free), np.array([0.0] + [float(p[2]) for p in parts])
        self.theta, self.reset = exact(form["theta"]), exact(form["reset"])
        self.t_ref, self.drive, self.step = float(form["t_ref"]), form["drive"], arb(0)
        self.shortest = min([float(t) for t in (tau, *(p[1] for p in parts)) if t], default=1e300)
        self.x, self.t = arb_mat([[exact(v)] for v in start]), arb(0)
        self.rows, self.rest = np.zeros((d, symbols)), np.zeros(d)
        self.busy, self.last, self.near, self.rho = False, None, [], 0.0

    def flow(self, s):
        """The matrix that leads `s` ahead."""
        return ((self.held if self.busy else self.free) * s).exp()

    def height(self, x):
        """Distance above threshold."""
        return sum((int(o) * v for o, v in zip(self.o, x.entries(), strict=True)), -self.theta)

    def off(self, e):
        """Bounds of the deviations."""
        return (np.abs(self.rows) @ e + self.rest) * UP + TINY

    def go(self, t, e):
        """Let centre and deviations flow to `t`."""
        flow = self.flow(t - self.t)
        f, size = floats(flow), np.abs(floats(flow))
        self.rest = (size @ (self.rest + 1e-12 * (np.abs(self.rows) @ e))) * UP
        self.x, self.rows, self.t = flow * self.x, f @ self.rows, t

    def late(self, b, row, r, held):
        """A jump `b` whose time deviates by `row`, of radius `r`."""
        a = self.a * (np.arange(len(b)) > 0)[:, None] if held else self.a
        self.rows[:, : row.size] -= np.outer(a @ b, row)
        size = np.abs(a) @ np.abs(b)
        self.rest += (0.55 * (np.abs(a) @ size) * r * r + 1e-12 * size * r) * UP

    def bounds(self, x, off, w):
        """(steep, bend): of the distance, from the state `x` on for `w`."""
        a, n = np.abs(self.a), np.triu(np.abs(self.a), 1)
        most = (np.eye(len(a)) + n * w + n @ n * w**2 / 2 + n @ n @ n * w**3 / 6) @ (bound(x) + off)
        return np.abs(self.o) @ a @ most * 1.1, np.abs(self.o) @ a @ a @ most * 1.1

    def quiet(self, s, e, rho):
        """Whether it stays below threshold for `s`, whose ends may move by `rho`."""
        n, span = np.triu(np.abs(self.a), 1), float(s)
        off = (np.eye(len(n)) + n * span + n @ n * span**2 / 2) @ self.off(e)
        done, width, x, before = 0.0, span, self.x, self.height(self.x)
        for _ in range(20000):
            steep, bend = self.bounds(x, off, width)
            margin = np.abs(self.o) @ off + steep * rho
            if done >= span:
                return before + margin < 0
            at = s if done + width >= span else arb(done + width)
            y = self.flow(at) * self.x
            value, w = self.height(y), float(at) - done
            if max(above(before), above(value)) + margin + bend * w * w * 0.126 < 0:
                done, before, x, width = (span if at is s else float(at)), value, y, 2 * width
            elif width < span * 1e-18 or not value + margin < 0:
                return False
            else:
                width /= 2
        return False


def floats(matrix):
    """A matrix of balls in floats."""
    shape = matrix.nrows(), matrix.ncols()
    return np.array([float(v) for v in matrix.entries()]).reshape(shape)


def above(x):
    """A float above all of a ball."""
    return float(x) + float(x.rad()) + 1e-15 * abs(float(x))


def bound(x):
    """Magnitudes of a state."""
    return np.array([above(abs(v)) for v in x.entries()])


class Checker:
    """The pass over the spikes of a certificate, in its order."""

    def __init__(self, data):
        self.data, self.until, count = data, exact(data["until"]), len(data["spikes"])
        self.c, self.e, self.r = np.zeros((count, count)), np.zeros(count), [0.0] * count
        self.cells = [Cell(data["forms"][f], start, count) for f, start in data["neurons"]]
        self.at = [exact(t) for _, _, t, _ in data["spikes"]]
        self.wait: list[list] = [[] for _ in self.cells]
        for t, targets in data["inputs"]:
            self.deliver(-1, exact(t), targets)

    def deliver(self, source, t, targets):
        """Note arrivals, in order."""
        for n, delay, weight, port in targets:
            need(float(delay) >= 0, "a negative delay")
            self.wait[n].append((t + float(delay), source, float(weight), int(port)))
            self.wait[n].sort(key=lambda event: float(event[0]))

    def run(self):
        """Check all."""
        need(self.data["status"] == "PROVED", "it claims no proof")
        limit = self.data["tolerance"]
        for k, (n, claim, _, r) in enumerate(self.data["spikes"]):
            self.spike(k, n, self.cells[n], float(r))
            far = abs(exact(claim) - self.at[k]) + float(r)
            need(limit is None or far <= exact(limit), "spike", k, "is too far from its claim")
        for n, q in enumerate(self.cells):
            self.advance(n, q, self.until)
            need(q.busy or q.quiet(self.until - q.t, self.e, q.rho), "neuron", n, "fires again")

    def spike(self, k, n, q, claimed):
        """The next spike of neuron `n`."""
        t, e, o, a = self.at[k], self.e, np.abs(q.o), np.abs(q.a)
        need(t + claimed <= self.until, "spike", k, "comes after the end")
        self.advance(n, q, t)
        need(not q.busy and t > q.t, "spike", k, "comes in refractory time")
        v = float(q.o @ q.a @ floats(q.flow(t - q.t) * q.x)[:, 0])
        need(v > 0, "spike", k, "does not cross")
        # On the last part the slope stays positive.
        delta = v / 4 / q.bounds(q.x, q.off(e), float(t - q.t))[1]
        s = t - q.t
        need(q.quiet(s - delta if s > delta else arb(0), e, q.rho), "spike", k, "is not the first")
        q.go(t, e)
        off, f = q.off(e), above(abs(q.height(q.x)))
        r0 = 1.5 * (f + o @ off) / v * UP
        bend = q.bounds(q.x, off, r0)[1] * 1.1
        eta = (o @ a @ off + bend * r0 + 1e-12 * (o @ a @ bound(q.x))) * UP
        need(eta <= v / 4 and r0 <= NEAR * q.shortest, "spike", k, "is not confirmed")
        row = -(q.o @ q.rows)[:k] / v
        own = float(np.abs(row) @ e[:k]) * UP
        e[k] = ((f + o @ q.rest) / v + r0 * eta / v + 1e-12 * own) * UP + TINY
        self.c[k, :k], self.c[k, k], self.r[k] = row, 1.0, (own + e[k]) * UP
        need(self.r[k] <= claimed, "spike", k, "is less certain than claimed")
        for when, r in q.near:
            need(float(t - when) > (r + self.r[k]) * UP, "spike", k, "and an arrival")
        q.rows[0], q.rest[0] = 0.0, 0.0
        if q.jump.any():
            q.late(q.jump, self.c[k, : k + 1], self.r[k], True)
        values = [v + float(j) for v, j in zip(q.x.entries(), q.jump, strict=True)]
        q.x, q.last, q.busy = arb_mat([[v] for v in [q.reset, *values[1:]]]), k, True
        q.near, q.rho = [], self.r[k]
        self.deliver(k, t, self.data["synapses"][n])

    def advance(self, n, q, t):
        """All events of a neuron before `t`."""
        while True:
            wait, free = self.wait[n], None if not q.busy else self.at[q.last] + q.t_ref
            if q.busy and (not wait or float(free - wait[0][0]) <= 0):
                if float(t - free) < 0:
                    return
                self.release(q, free)
            elif not wait or float(t - wait[0][0]) <= 0:
                return
            else:
                self.arrival(q, *wait.pop(0))

    def release(self, q, t):
        """The end of a refractory time: the membrane starts late by the last spike's deviation."""
        q.go(t, self.e)
        r, a, off = self.r[q.last], np.abs(q.a), q.off(self.e)
        q.rows[0, : q.last + 1] -= (q.a @ floats(q.x)[:, 0])[0] * self.c[q.last, : q.last + 1]
        rest = 0.55 * r * r * (a @ a @ (bound(q.x) + off))[0] + 1.06 * r * (a @ off)[0]
        q.rest[0] += 1.1 * rest + 1e-12 * r * (a @ bound(q.x))[0]
        q.busy, q.rho = False, r
        need(q.height(q.x) < 0, "a reset above threshold")

    def arrival(self, q, t, source, weight, port):
        """An arrival from a spike, or (-1) from outside; port -2 is a new external current."""
        r = self.r[source] if source >= 0 else 0.0
        after = q.last is not None
        if after and source != q.last:
            need(float(t - self.at[q.last]) > (r + self.r[q.last]) * UP, "order at spike", q.last)
        need(q.busy or q.quiet(t - q.t, self.e, max(r, q.rho)), "a spike before", float(t))
        q.go(t, self.e)
        q.near, q.rho = [*q.near, (t, r)], r
        values, b = list(q.x.entries()), np.zeros(len(q.a))
        if port == -2:
            change, q.step = weight - q.step, arb(weight)
            if q.drive is None:
                values[0], q.theta, q.reset = values[0] - change, q.theta - change, q.reset - change
            else:
                values[1 + q.drive] += change
        elif port >= 0 or not q.busy:
            values[1 + port] += weight
            b[1 + port] = weight
            if source >= 0:
                q.late(b, self.c[source, : source + 1], r, q.busy)
        both = (r + self.r[q.last]) * UP if after else -1.0
        if port != -2 and after and abs(float(t - self.at[q.last] - q.t_ref)) <= both:
            need(port >= 0 or source == q.last, "order at a release")
            q.rest[0] += 1.2 * (np.abs(q.a) @ np.abs(b))[0] * both
        q.x = arb_mat([[v] for v in values])
