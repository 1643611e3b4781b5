r"""Checker of certificates of spike trains; it shares nothing with the program that wrote them.

With the state x of a neuron, x' = A x, and its distance o.x - theta above threshold, it is proved
that the network has exactly the spikes stated, each within r of its T. The *centre* is the flow
with every T in place of the true time, by exponentials of matrices of Arb balls. The *deviation*
of the truth from it, at one time, obeys x' = A x too. An arrival b that comes d late is seen at its
centre time as exp(-dA) b - b = -d A b + rest, abs(rest) <= .55 d^2 A^2 b in absolute values; the
end of a refractory time likewise. The deviation of a spike is -(o.deviation)/slope + eps: a row of
coefficients in the eps of all spikes; what rows lose by rounding is part of the next eps. A spike
that a jump or a release causes deviates as that does. Events are at one instant if they come, by
exact numbers, equally long after one spike or after time 0. Spikes that touch are rejected.
"""

import json
from collections import namedtuple
from fractions import Fraction
from pathlib import Path

import numpy as np
from flint import arb, arb_mat, ctx, fmpq

UP, TINY, NEAR = 1 + 1e-9, 1e-240, 0.02
KINDS = ("current", "driven", "driver", "threshold")
Result = namedtuple("Result", "ok reason")


def check(path, bits=None):
    """Check the certificate in a file, with `bits` of precision; a `Result`."""
    before = ctx.prec
    try:
        data = json.loads(Path(path).read_text())
        ctx.prec = bits or max(128, int(data["bits"]) + 64)
        _Checker(data).run()
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        return Result(False, f"{type(error).__name__}: {error}")
    finally:
        ctx.prec = before
    return Result(True, "")


def _exact(text):  # a decimal or p/q
    return arb(fmpq(*Fraction(text).as_integer_ratio()))


def _need(condition, *reason):  # reject unless it is certain
    if not condition:
        raise ValueError(" ".join(map(str, reason)))


def _floats(matrix):  # a matrix of balls
    return np.array([[float(v) for v in row] for row in matrix.tolist()])


def _bound(x):  # magnitudes of a state, or of a number
    values = x.entries() if isinstance(x, arb_mat) else [x]
    return np.array([(abs(float(v)) + float(v.rad())) * (1 + 1e-15) for v in values])


class _Cell:  # a neuron at the time `t` of its last event, with the rows of its deviation
    def __init__(self, form, start, symbols):
        parts, tau, d = form["components"], form["tau"], 1 + len(form["components"])
        rate, rows = 1 / arb(float(tau)) if tau else arb(0), [[arb(0)] * d for _ in range(d)]
        rows[0][0], self.o = -rate, np.array([1.0] + [-1.0 * (p[0] == KINDS[3]) for p in parts])
        for c, (kind, own, _) in enumerate(parts, 1):
            _need(kind in KINDS, "unknown", kind)
            rows[c][c] = arb(0) if own is None else -1 / arb(float(own))
            rows[0][c] = (rate if tau else arb(1)) if kind in KINDS[:2] else arb(0)
            if kind == "driven":
                rows[c][c + 1] = arb(1)
        self.free, self.held = arb_mat(rows), arb_mat([[arb(0)] * d, *rows[1:]])
        self.a, self.jump = _floats(self.free), np.array([0.0] + [float(p[2]) for p in parts])
        self.theta, self.reset = _exact(form["theta"]), _exact(form["reset"])
        self.t_ref, self.drive, self.step = float(form["t_ref"]), form["drive"], arb(0)
        self.shortest = min([float(t) for t in (tau, *(p[1] for p in parts)) if t], default=1e300)
        self.x, self.t = arb_mat([[_exact(v)] for v in start]), arb(0)
        self.rows, self.rest = np.zeros((d, symbols)), np.zeros(d)
        self.busy, self.last, self.near, self.rho, self.crowd = False, None, [], 0.0, 0.0
        self.cause, self.instant = -1, (None, Fraction(0))  # of the last event

    def ahead(self, s):  # the matrix of the flow
        return ((self.held if self.busy else self.free) * s).exp()

    def height(self, x):  # distance above threshold
        return sum((int(o) * v for o, v in zip(self.o, x.entries(), strict=True)), -self.theta)

    def off(self, e):  # bounds of the deviations
        return (np.abs(self.rows) @ e + self.rest) * UP + TINY

    def go(self, t, e):
        flow = self.ahead(t - self.t)
        f, size = _floats(flow), np.abs(_floats(flow))
        self.rest = (size @ (self.rest + 1e-12 * (np.abs(self.rows) @ e))) * UP
        self.x, self.rows, self.t = flow * self.x, f @ self.rows, t

    def late(self, b, row, r, held):  # a jump `b` whose time deviates by `row`, of radius `r`
        a = self.a * (np.arange(len(b)) > 0)[:, None] if held else self.a
        self.rows[:, : row.size] -= np.outer(a @ b, row)
        size = np.abs(a) @ np.abs(b)
        self.rest += (0.55 * (np.abs(a) @ size) * r * r + 1e-12 * size * r) * UP

    def bounds(self, x, off, w):  # (steep, bend) of the distance, from the state `x` on for `w`
        a, n, o = np.abs(self.a), np.triu(np.abs(self.a), 1), np.abs(self.o)
        most = (np.eye(len(a)) + n * w + n @ n * w**2 / 2) @ (_bound(x) + off)
        return o @ a @ most * 1.1, o @ a @ a @ most * 1.1

    def quiet(self, s, e, rho):  # is it below threshold for `s`, whose ends may move by `rho`
        n, span = np.triu(np.abs(self.a), 1), float(s)
        off = (np.eye(len(n)) + n * span + n @ n * span**2 / 2) @ self.off(e)
        done, width, x, before = 0.0, span, self.x, self.height(self.x)
        for _ in range(20000):
            steep, bend = self.bounds(x, off, width)
            margin = np.abs(self.o) @ off + steep * rho + self.crowd
            if done >= span:
                return before + margin < 0
            at = s if done + width >= span else arb(done + width)
            y = self.ahead(at) * self.x
            value, w = self.height(y), float(at) - done
            top = max(float(before + before.rad()), float(value + value.rad())) * (1 - 1e-15)
            if top + margin + bend * w * w * 0.126 < 0:
                done, before, x, width = (span if at is s else float(at)), value, y, 2 * width
            elif width < span * 1e-18 or not value + margin < 0:
                return False
            else:
                width /= 2
        return False


class _Checker:  # the pass over the spikes of a certificate, in its order
    def __init__(self, data):
        self.data, self.until, count = data, _exact(data["until"]), len(data["spikes"])
        self.c, self.e, self.r = np.zeros((count, count)), np.zeros(count), [0.0] * count
        self.cells = [_Cell(data["forms"][f], start, count) for f, start in data["neurons"]]
        self.at = [_exact(t) for _, _, t, _ in data["spikes"]]
        self.wait: list[list] = [[] for _ in self.cells]
        self.instant = [(k, Fraction(0)) for k in range(count)]
        for t, targets in data["inputs"]:
            self.deliver(-1, _exact(t), targets, None, Fraction(t))

    def deliver(self, source, t, targets, root, off):
        for n, delay, weight, port in targets:
            _need((d := float(delay)) >= 0, "a negative delay")
            event = t + d, source, float(weight), int(port), (root, off + Fraction(d))
            self.wait[n] = sorted([*self.wait[n], event], key=lambda a: float(a[0]))

    def run(self):
        _need(self.data["status"] == "PROVED", "it claims no proof")
        limit = self.data["tolerance"] and _exact(self.data["tolerance"])
        for k, (n, claim, _, r) in enumerate(self.data["spikes"]):
            self.spike(k, n, self.cells[n], float(r))
            far = abs(_exact(claim) - self.at[k]) + float(r)
            _need(limit is None or far <= limit, "spike", k, "is too far from its claim")
        for n, q in enumerate(self.cells):
            self.advance(n, q, self.until)
            _need(q.busy or q.quiet(self.until - q.t, self.e, q.rho), "neuron", n, "fires again")

    def spike(self, k, n, q, claimed):
        t, e = self.at[k], self.e
        _need(t + claimed <= self.until, "spike", k, "comes after the end")
        self.advance(n, q, t + claimed + t * 1e-30)  # what it comes together with, too
        _need(not q.busy, "spike", k, "comes in refractory time")
        (self.crossing if q.height(q.x) < 0 else self.leap)(k, q, t, e)
        own = float(np.abs(self.c[k, :k]) @ e[:k]) * UP
        self.c[k, k], self.r[k] = 1.0, (own + e[k]) * UP
        _need(self.r[k] <= claimed, "spike", k, "is less certain than claimed")
        q.rows[0], q.rest[0] = 0.0, 0.0
        q.late(q.jump, self.c[k, : k + 1], self.r[k], True)
        values = [v + float(j) for v, j in zip(q.x.entries(), q.jump, strict=True)]
        q.x, q.last, q.busy = arb_mat([[v] for v in [q.reset, *values[1:]]]), k, True
        q.near, q.rho, q.crowd, q.cause, q.instant = [], self.r[k], 0.0, k, self.instant[k]
        self.deliver(k, t, self.data["synapses"][n], *self.instant[k])

    def leap(self, k, q, t, e):  # its last event has put it above threshold
        margin = np.abs(q.o) @ q.off(e) + q.bounds(q.x, q.off(e), 0.0)[0] * q.rho
        _need(q.height(q.x) - margin > 0, "spike", k, "is not caused by a jump")
        _need(q.last is None or t > self.at[q.last], "spike", k, "comes again at once")
        e[k], self.instant[k] = _bound(t - q.t)[0] + TINY, q.instant
        self.c[k, :k] = self.c[q.cause, :k] * (q.cause >= 0)
        q.go(t, e)

    def crossing(self, k, q, t, e):
        o, a = np.abs(q.o), np.abs(q.a)
        _need(t > q.t, "spike", k, "comes before an event")
        v = float(q.o @ q.a @ _floats(q.ahead(s := t - q.t) * q.x)[:, 0])
        _need(v > 0, "spike", k, "does not cross")
        delta = v / 4 / max(q.bounds(q.x, q.off(e), float(s))[1], TINY)  # it rises so long
        _need(q.quiet(s - delta if s > delta else arb(0), e, q.rho), "spike", k, "is not the first")
        q.go(t, e)
        off, f = q.off(e), _bound(q.height(q.x))[0]
        r0 = 1.5 * (f + o @ off) / v * UP
        bend = q.bounds(q.x, off, r0)[1] * 1.1
        eta = (o @ a @ off + bend * r0 + 1e-12 * (o @ a @ _bound(q.x))) * UP
        _need(eta <= v / 4 and r0 <= NEAR * q.shortest, "spike", k, "is not confirmed")
        self.c[k, :k] = row = -(q.o @ q.rows)[:k] / v
        own = float(np.abs(row) @ e[:k]) * UP
        e[k] = ((f + o @ q.rest) / v + r0 * eta / v + 1e-12 * own) * UP + TINY
        _need(all(float(t - a[0]) > (a[1] + own + e[k]) * UP for a in q.near), "order at spike", k)

    def advance(self, n, q, t):  # all events of a neuron before `t`
        while True:
            wait, free = self.wait[n], None if not q.busy else self.at[q.last] + q.t_ref
            releases = q.busy and (not wait or float(free - wait[0][0]) <= 0)
            if float(t - free) < 0 if releases else not wait or float(t - wait[0][0]) <= 0:
                return
            self.release(q, free) if releases else self.arrival(q, *wait.pop(0))

    def release(self, q, t):  # late by the deviation of the last spike
        q.go(t, self.e)
        r, a, off = self.r[q.last], np.abs(q.a), q.off(self.e)
        q.rows[0, : q.last + 1] -= (q.a @ _floats(q.x)[:, 0])[0] * self.c[q.last, : q.last + 1]
        rest = 0.55 * r * r * (a @ a @ (_bound(q.x) + off))[0] + 1.06 * r * (a @ off)[0]
        q.rest[0] += 1.1 * rest + 1e-12 * r * (a @ _bound(q.x))[0]
        (root, off), q.busy, q.rho = self.instant[q.last], False, r
        q.cause, q.instant = q.last, (root, off + Fraction(q.t_ref))

    def arrival(self, q, t, source, weight, port, at):  # -1: from outside; port -2: a new current
        r, after = self.r[source] if source >= 0 else 0.0, q.last is not None
        both = (r + self.r[q.last]) * UP if after else -1.0
        if after and source != q.last:
            _need(float(t - self.at[q.last]) > both, "order at spike", q.last)
        _need(q.busy or at == q.instant or q.quiet(t - q.t, self.e, max(r, q.rho)), "early", at)
        unclear = [old for old in q.near if not t - old[0] > (r + old[1]) * UP]
        jumps = -1 in (port, *(old[2] for old in unclear)) and any(old[4] != at for old in unclear)
        _need(not jumps, "order of jumps")
        q.crowd = sum((r + old[1]) * old[3] for old in unclear) * 1.1
        q.go(t, self.e)
        values, b = list(q.x.entries()), np.zeros(len(q.a))
        if port == -2:
            change, q.step = weight - q.step, arb(weight)
            if q.drive is None:
                values[0], q.theta, q.reset = values[0] - change, q.theta - change, q.reset - change
            else:
                values[1 + q.drive] += change
            b[0 if q.drive is None else 1 + q.drive] = float(change)
        elif port >= 0 or not q.busy:
            values[1 + port], b[1 + port] = values[1 + port] + weight, weight
            if source >= 0:
                q.late(b, self.c[source, : source + 1], r, q.busy)
        if port != -2 and after and abs(float(t - self.at[q.last] - q.t_ref)) <= both:
            _need(port >= 0 or source == q.last, "order at a release")
            q.rest[0] += 1.2 * (np.abs(q.a) @ np.abs(b))[0] * both
        size, q.x = np.abs(q.a) @ np.abs(b), arb_mat([[v] for v in values])
        kick = (size + NEAR * q.shortest * (np.abs(q.a) @ size))[0]
        q.near, q.rho, q.cause, q.instant = [*q.near, (t, r, port, kick, at)], r, source, at
