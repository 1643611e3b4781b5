"""Whole runs of the neurons of `reference.exponential_sums`, and what float64 can know of them.

Errors are propagated as in `reference.attainable`, with one row per state variable: the flow
is linear, a crossing moves by the error of `F` over its slope, what restarts at a time that is
uncertain is off by its slope times that, and a jump of `A` by its rate of decay times that.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flint import arb, ctx

from reference.attainable import EPS, FACTOR, gain
from reference.exponential_sums import BITS, Passage, SumNeuron, distance, first_passage, flow
from reference.neuron import Decision, Run, Spike

Ball = Any


@dataclass
class Noise:
    """First-order errors: a row per state variable and one of time, a column per rounding."""

    rows: int
    table: np.ndarray = field(init=False)

    def __post_init__(self):
        self.table = np.zeros((self.rows + 1, 0))

    def fresh(self, row: int, size: float) -> None:
        """A new rounding of `size` units of eps."""
        column = np.zeros(self.rows + 1)
        column[row] = size
        self.table = np.column_stack((self.table, column))

    def flow(self, p: SumNeuron, x: np.ndarray, s: float, clamped: bool) -> None:
        """Through a flow over `s`, and what that rounds."""
        jacobian, size = responses(p, s, clamped)
        self.table[:-1] = jacobian @ self.table[:-1]
        for row in range(self.rows):
            if row or not clamped:
                self.fresh(row, float(np.abs(size[row] * x).sum()))


def responses(p: SumNeuron, s: float, clamped: bool) -> tuple[np.ndarray, np.ndarray]:
    """Jacobian of the flow, and its entries with the roundings of each: one of the value, one of
    the argument of the slowest exponential in it."""
    n = 4 if p.alpha else 2 + len(p.tau_syn)
    taus = [p.tau_mem, *(p.tau_syn * 2 if p.alpha else p.tau_syn), p.tau_th]
    jacobian, size = np.zeros((n, n)), np.zeros((n, n))
    for k in range(n):
        unit = [arb(int(j == k)) for j in range(n)]
        jacobian[:, k] = [float(v) for v in flow(p, unit, arb(s), clamped)]
        for row in range(n):
            size[row, k] = abs(jacobian[row, k]) * (1.0 + s / max(taus[row], taus[k]))
    return jacobian, size


def simulate(p: SumNeuron, arrivals: list[tuple[float, float, int]], until: float) -> Run:
    """Every spike of a neuron on [0, until].

    Parameters
    ----------
    p : SumNeuron
    arrivals : list of (time, weight, type)
    until : float

    Returns
    -------
    run : Run
        Without ties: a sign that 400 bits leave open reads as not negative.
    """
    with ctx.workprec(BITS):
        return _Walk(p, until).run(sorted(arrivals, key=lambda a: a[0]))


class _Walk:
    """One pass over the events."""

    def __init__(self, p: SumNeuron, until: float) -> None:
        self.p, self.until = p, arb(until)
        rest = arb(p.v_leak) + p.bias
        self.theta, self.reset = arb(p.v_th) - rest, arb(p.v_reset) - rest
        self.x = [arb(p.v_leak) - rest] + [arb(0)] * (2 if p.alpha else len(p.tau_syn)) + [arb(0)]
        self.t: Ball = arb(0)
        self.release: Ball | None = None
        self.noise, self.result = Noise(len(self.x)), Run(bits=BITS)
        self.noise.fresh(0, abs(float(self.x[0])))

    def run(self, arrivals) -> Run:
        """All arrivals in order, then the rest."""
        for time, weight, port in arrivals:
            self.go_to(arb(time))
            row = 2 if self.p.alpha else 1 + port
            self.x[row] = self.x[row] + arb(weight)
            self.noise.fresh(row, abs(float(self.x[row])))
        self.go_to(self.until)
        return self.result

    def go_to(self, end: Ball) -> None:
        """Spikes and releases up to `end`."""
        while True:
            if self.release is not None:
                if self.release > end:
                    self.move(end - self.t, True)
                    return
                self.move(self.release - self.t, True)
                self.release = None
                self.noise.fresh(-1, 0.5 * self.p.t_ref)
                self.restart()
            passage = first_passage(self.p, self.x, self.theta, end - self.t)
            self.decide(passage, end)
            if passage.time is None:
                self.move(end - self.t, False)
                self.noise.table[-1] = 0.0
                return
            self.fire(passage.time)

    def move(self, s: Ball, clamped: bool) -> None:
        """Flow state and errors."""
        self.noise.flow(self.p, np.array([float(v) for v in self.x]), float(s), clamped)
        self.x, self.t = flow(self.p, self.x, s, clamped), self.t + s

    def slope(self) -> float:
        """Rate of change of the voltage now."""
        currents = self.x[1:2] if self.p.alpha else self.x[1:-1]
        return float((sum(currents, arb(0)) - self.x[0]) / self.p.tau_mem)

    def restart(self) -> None:
        """The membrane starts from its reset at an uncertain time."""
        self.noise.table[0] -= self.slope() * self.noise.table[-1]
        self.noise.fresh(0, abs(float(self.x[0])))

    def level(self, s: float) -> float:
        """What the residual of a threshold test at `s` rounds, in units of eps."""
        jacobian, _ = responses(self.p, s, False)
        x = np.array([float(v) for v in self.x])
        row = np.abs(jacobian[0] * x)
        start = float(self.x[0] - self.x[-1])
        row[0] = abs(x[0]) * -math.expm1(-s / self.p.tau_mem)
        row[-1] = abs(x[-1]) * -math.expm1(-s / self.p.tau_th)
        theta = float(self.theta)
        return abs(theta) + abs(theta - start) + float(row.sum()) + abs(x[-1])

    def deviation(self, s: float) -> np.ndarray:
        """Coefficients of the error of F at `s` from now."""
        jacobian, _ = responses(self.p, s, False)
        table = jacobian @ self.noise.table[:-1]
        return table[0] - table[-1]

    def decide(self, passage: Passage, end: Ball) -> None:
        """Record how clear the decision of this interval is."""
        local = EPS * self.level(passage.top)
        noise = EPS * float(np.abs(self.deviation(passage.top)).sum()) + local
        fired = passage.time is not None
        stop = float(self.t + passage.time) if fired else float(end)
        self.result.decisions.append(
            Decision(float(self.t), stop, fired, float(self.t) + passage.top,
                     passage.margin, noise, local)
        )  # fmt: skip

    def fire(self, s: Ball) -> None:
        """Emit the spike that comes after `s`, and reset."""
        f1 = distance(self.p, self.x, self.theta).derivative()
        at_once = s.is_zero()
        slope, bend = float(f1.at(s)), float(f1.derivative().at(s))
        level, deviation = self.level(float(s)), self.deviation(float(s))
        error = EPS * (level + float(np.abs(deviation).sum()))
        per_volt = 0.0 if at_once else gain(slope, bend, FACTOR * error)
        carried = self.noise.table[-1].copy()
        self.move(s, False)
        table = self.noise.table
        if at_once:
            table[-1, : carried.size] = carried
        else:
            table[-1] = 0.0
            table[-1, : deviation.size] = -deviation * per_volt
            self.noise.fresh(-1, level * per_volt)
            self.noise.fresh(-1, 0.5 * float(s))
        self.emit(slope, bend, EPS * level * per_volt, at_once)
        self.after(at_once)

    def emit(self, slope: float, bend: float, attainable: float, at_once: bool) -> None:
        """Append the spike at the present time."""
        hi = float(self.t)
        bound = EPS * float(np.abs(self.noise.table[-1]).sum())
        self.result.spikes.append(
            Spike(
                text=self.t.str(70), hi=hi, lo=float(self.t - hi), slope=slope, curvature=bend,
                theta=float(self.theta), u0=float(self.x[0]), margin=0.0, gap=0.0,
                at_once=at_once, attainable=attainable, bound=bound,
            )
        )  # fmt: skip

    def after(self, at_once: bool) -> None:
        """The state after a spike at the present time."""
        p, table = self.p, self.noise.table
        if p.reset == "subtract":
            self.x[0] = self.x[0] - (arb(p.v_th) - p.v_reset)
            if not at_once:  # there u = theta + A
                table[0] = table[-2] - float(self.x[-1]) / p.tau_th * table[-1]
        else:
            self.x[0], table[0] = self.reset, 0.0
        self.x[-1] = self.x[-1] + arb(p.jump_th)
        table[-2] += p.jump_th / p.tau_th * table[-1]
        self.noise.fresh(len(self.x) - 1, abs(float(self.x[-1])))
        if p.t_ref > 0.0:
            self.release = self.t + p.t_ref
        else:
            self.restart()
