r"""Checker of certificates of spike trains; it shares nothing with the program that wrote them.

With the state x of a neuron, x' = A x, and its distance o.x - theta above threshold, it is proved
that the network has exactly the spikes stated, each within r of its T. The *centre* is the flow
with every T in place of the true time, by exponentials of matrices of Arb balls. The *deviation*
of the truth from it, at one time, obeys x' = A x too. An arrival b that comes d late is seen at its
centre time as exp(-dA) b - b = -d A b + rest, abs(rest) <= .55 d^2 A^2 b in absolute values; the
end of a refractory time likewise. The deviation of a spike is -(o.deviation)/slope + eps: a row of
coefficients in the eps of all spikes; what rows lose by rounding is part of the next eps. A spike
that a jump or a release causes deviates as that does; what a reset by subtraction leaves, as the
membrane does before it, or the threshold where it has been crossed. Events are at one instant if
they come, by exact numbers, equally long after one spike or after time 0. Of a neuron it is known
whether it is `busy` (cannot fire) until `end`, and its membrane `still` (held); its `last` spike;
and of its last event the `cause` and the `instant`. Spikes that touch are rejected.
"""

import json
from collections import namedtuple
from fractions import Fraction
from pathlib import Path

import numpy as np
from flint import arb, arb_mat, ctx, fmpq

UP, TINY, NEAR = 1 + 1e-9, 1e-240, 0.02
Result = namedtuple("Result", "ok reason")


def check(path, bits=None):
    """Check the certificate in a file, with `bits` of precision; a `Result`."""
    try:
        data = json.loads(Path(path).read_text())
        with ctx.workprec(bits or max(128, int(data["bits"]) + 64)):
            _Checker(data).run()
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        return Result(False, f"{type(error).__name__}: {error}")
    return Result(True, "")


def _exact(text):  # a decimal or p/q
    return arb(fmpq(*Fraction(text).as_integer_ratio()))


def _need(condition, *reason):  # reject unless it is certain
    if not condition:
        raise ValueError(" ".join(map(str, reason)))


def _floats(x):  # a matrix of balls
    return np.array(x.tolist(), float)


def _bound(x):  # magnitudes of a state, or of a number
    values = x.entries() if isinstance(x, arb_mat) else [x]
    return np.array([(abs(float(v)) + float(v.rad())) * (1 + 1e-15) for v in values])


class _Cell:  # a neuron at the time `t` of its last event, with the rows of its deviation
    def __init__(self, form, start, symbols):
        self.o, self.jump, self.level = np.array([form[n] for n in ("observe", "jump", "level")])
        rows = [[arb(0)] * (d := self.o.size) for _ in self.o]
        for i, j, rate in form["flow"]:
            rows[i][j] = _exact(rate)
        self.free, self.held = arb_mat(rows), arb_mat([[arb(0)] * d, *rows[1:]])
        self.a, self.n = _floats(self.free), np.triu(np.abs(_floats(self.free)), 1)
        self.shortest = 1 / max(np.abs(np.diag(self.a)).max(), TINY)
        self.theta, self.reset = _exact(form["theta"]), _exact(form["reset"])
        self.t_ref, self.subtract = float(form["t_ref"]), bool(form["subtract"])
        self.clamp, self.block = (form["refractory"] == r for r in ("clamp", "block_input"))
        self.x, self.t, self.end = arb_mat([[_exact(v)] for v in start]), arb(0), arb(0)
        self.rows, self.rest = np.zeros((d, symbols)), np.zeros(d)
        self.busy, self.still, self.last, self.due, self.cause = False, False, -1, None, -1
        self.near, self.instant, self.rho, self.crowd = [], (None, Fraction(0)), 0.0, 0.0

    def ahead(self, s):  # the matrix of the flow
        return ((self.held if self.still else self.free) * s).exp()

    def height(self, x):  # distance above threshold
        return sum((int(o) * v for o, v in zip(self.o, x.entries(), strict=True)), -self.theta)

    def off(self, e):  # bounds of the deviations
        return (np.abs(self.rows) @ e + self.rest) * UP + TINY

    def go(self, t, e):
        f = _floats(flow := self.ahead(t - self.t))
        self.rest = (np.abs(f) @ (self.rest + 1e-12 * (np.abs(self.rows) @ e))) * UP
        self.x, self.rows, self.t = flow * self.x, f @ self.rows, t

    def slopes(self):  # A, without the row of a membrane that is held
        return self.a * (np.arange(self.o.size) > 0)[:, None] if self.still else self.a

    def bent(self, y, off, r):  # of a state `y`: what is not linear in a deviation `r` of the time
        a = np.abs(self.slopes())
        return r * (a @ (0.6 * r * (a @ y) + 1.1 * off)) + 1e-12 * (off + r * (a @ y))

    def late(self, b, row, r):  # a jump `b` whose time deviates by `row`, of radius `r`
        self.rows[:, : row.size] -= np.outer(self.slopes() @ b, row)
        self.rest += self.bent(np.abs(b), 0.0, r)

    def ahead_most(self, y, w):  # bounds of a state that starts within `y`, for `w`
        return y + w * (self.n @ y) + w * w / 2 * (self.n @ self.n @ y)

    def bounds(self, x, off, w):  # (steep, bend) of the distance, from the state `x` on for `w`
        slope = np.abs(self.a) @ self.ahead_most(_bound(x) + off, w) * 1.1
        return np.abs(self.o) @ slope, np.abs(self.o) @ np.abs(self.a) @ slope

    def quiet(self, s, e, rho):  # is it below threshold for `s`, whose ends may move by `rho`
        span, off = float(s), self.ahead_most(self.off(e), float(s))
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
            _need(limit is None or abs(_exact(claim) - self.at[k]) + float(r) <= limit, "claim", k)
        for n, q in enumerate(self.cells):
            self.advance(n, q, self.until)
            late = q.busy and q.end - self.until > self.r[q.last]
            _need(late or q.quiet(self.until - q.t, self.e, q.rho), "neuron", n, "fires again")

    def spike(self, k, n, q, claimed):
        t, e = self.at[k], self.e
        _need(t + claimed <= self.until, "spike", k, "comes after the end")
        self.advance(n, q, t + claimed + t * 1e-30)  # what it comes together with, too
        _need(not q.busy, "spike", k, "comes in refractory time")
        crosses = q.height(q.x) < 0
        (self.crossing if crosses else self.leap)(k, q, t, e)
        self.c[k, k], self.r[k] = 1.0, (float(np.abs(self.c[k]) @ e) * UP + e[k]) * UP
        _need(self.r[k] <= claimed, "spike", k, "is less certain than claimed")
        m = ((q.o < 0) if crosses else np.arange(q.o.size) < 1) * float(q.subtract)
        q.rest[0] = m @ (q.rest + q.bent(_bound(q.x) + q.off(e), q.off(e), self.r[k])) * UP
        q.rows[0] = m @ q.rows + (m @ q.a @ _floats(q.x)[:, 0]) * self.c[k]
        left = sum((int(w) * v for w, v in zip(m, q.x.entries(), strict=True)), q.reset)
        q.x += arb_mat([[float(j)] for j in q.jump])
        q.x[0, 0] = left - int(m[0]) * q.theta
        q.last, q.busy, q.still = k, True, True
        q.late(q.jump, self.c[k], self.r[k])
        (root, off), q.instant = self.instant[k], self.instant[k]
        q.end, q.due = t + q.t_ref, (root, off + Fraction(q.t_ref))
        q.near, q.rho, q.crowd, q.cause = [], self.r[k], 0.0, k
        if not q.clamp:
            self.release(q, t)
        self.deliver(k, t, self.data["synapses"][n], root, off)

    def leap(self, k, q, t, e):  # its last event has put it above threshold
        margin = np.abs(q.o) @ q.off(e) + q.bounds(q.x, q.off(e), 0.0)[0] * q.rho
        _need(q.height(q.x) - margin > 0, "spike", k, "is not caused by a jump")
        e[k], self.instant[k] = _bound(t - q.t)[0] + TINY, q.instant
        self.c[k, :k] = self.c[q.cause, :k] * (q.cause >= 0)
        q.go(t, e)

    def crossing(self, k, q, t, e):
        v = float(q.o @ q.a @ _floats(q.ahead(s := t - q.t) * q.x)[:, 0])
        _need(s > 0 and v > 0, "spike", k, "does not cross")
        delta = v / 4 / max(q.bounds(q.x, q.off(e), float(s))[1], TINY)  # it rises so long
        _need(q.quiet(s - delta if s > delta else arb(0), e, q.rho), "spike", k, "is not the first")
        q.go(t, e)
        o, a, off, f = np.abs(q.o), np.abs(q.a), q.off(e), _bound(q.height(q.x))[0]
        r0 = 1.5 * (f + o @ off) / v * UP
        eta = (o @ a @ (off + 1e-12 * _bound(q.x)) + 1.1 * q.bounds(q.x, off, r0)[1] * r0) * UP
        _need(eta <= v / 4 and r0 <= NEAR * q.shortest, "spike", k, "is not confirmed")
        self.c[k, :k] = row = -(q.o @ q.rows)[:k] / v
        own = float(np.abs(row) @ e[:k]) * UP
        e[k] = ((f + o @ q.rest) / v + r0 * eta / v + 1e-12 * own) * UP + TINY
        _need(all(float(t - a[0]) > (a[1] + own + e[k]) * UP for a in q.near), "order at spike", k)

    def advance(self, n, q, t):  # all events of a neuron before `t`
        while True:
            wait = self.wait[n]
            first = not wait or wait[0][4] == q.due or float(q.end - wait[0][0]) <= 0
            if float(t - q.end) < 0 if q.busy and first else not wait or float(t - wait[0][0]) <= 0:
                return
            self.release(q, q.end) if q.busy and first else self.arrival(q, *wait.pop(0))

    def release(self, q, t):  # of the membrane, late as the last spike is; it may fire
        q.go(t, self.e)
        r, held, q.still = self.r[q.last], q.still, False
        q.rows[0] -= held * (q.a @ _floats(q.x)[:, 0])[0] * self.c[q.last]
        q.rest[0] += held * q.bent(_bound(q.x) + q.off(self.e), q.off(self.e), r)[0] * UP
        self.unclear(q, t, r)
        q.busy, q.rho, q.cause = held and not q.clamp, r, q.last
        q.instant = self.instant[q.last] if q.busy else q.due

    def unclear(self, q, t, r):  # arrivals whose order with this time is open, and what that may do
        found = [old for old in q.near if not t - old[0] > (r + old[1]) * UP]
        q.crowd = sum((r + old[1]) * old[3] for old in found) * 1.1
        return found

    def arrival(self, q, t, source, weight, port, at):  # -1: from outside; port -2: level of rest
        r, beside, a = self.r[source] if source >= 0 else 0.0, 0.0, np.abs(q.a)
        _need(r <= NEAR * q.shortest, "spike", source, "comes too uncertainly")
        if q.last >= 0:
            both = (r + self.r[q.last]) * UP * (source != q.last)
            _need(float(t - self.at[q.last]) > both or source == q.last, "order at spike", q.last)
            beside = 0.0 if at == q.due or abs(q.end - t) > both else both + TINY
            _need(not beside or port < -1 or (port >= 0 and not q.block), "order at a release")
            if q.block and q.busy and port >= -1:
                return
        _need(q.busy or at == q.instant or q.quiet(t - q.t, self.e, max(r, q.rho)), "early", at)
        unclear = self.unclear(q, t, r)
        jumps = -1 in (port, *(old[2] for old in unclear)) and any(old[4] != at for old in unclear)
        _need(not jumps, "order of jumps")
        q.go(t, self.e)
        b = weight * (q.level if port == -2 else np.arange(q.o.size) == 1 + port)
        b *= not (port == -1 and q.still)
        q.x += arb_mat([[float(w)] for w in b])
        if port == -2:
            q.theta, q.reset = q.theta + float(b[0]), q.reset + float(b[0])
        if source >= 0:
            q.late(b, self.c[source], r)
        q.rest[0] += 1.2 * (a @ np.abs(b))[0] * beside
        kick = (a @ (np.abs(b) + NEAR * q.shortest * (a @ np.abs(b))))[0]
        q.near, q.rho, q.cause, q.instant = [*q.near, (t, r, port, kick, at)], r, source, at
