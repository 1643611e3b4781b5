r"""A plain event-driven simulator in NumPy: short, slow, and independent of any other.

For `LIF`, `DeltaLIF` and `IF` (delta) neurons, in any network whose cycles have delays. It asks
a network for `.inputs`, `.populations` and `.connections` only, and walks from event to event:
the earliest of all spikes, ends of refractory times, and arrivals. Relative to the level that
the voltage relaxes to, between events

.. math::
    u(s) = u_0 e^{-s/\tau_m} + i_0\, \frac{s}{\tau_m} e^{-s/\max(\tau_m, \tau_s)}\,
           \frac{1 - e^{-x}}{x}, \qquad x = s \left|\frac{1}{\tau_s} - \frac{1}{\tau_m}\right|,

which turns at most once, where :math:`u' = 0`. Bisection on the rising piece finds the spike.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

KNOWN = {"LIF": "cuba", "DeltaLIF": "delta", "IF": "if"}
NUMBERS = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "bias")
FAR = 200.0  # time constants, after which nothing happens any more


class Simulation:
    """One run; what a neuron does is in the methods, each of which may be replaced."""

    tau_mem: np.ndarray
    tau_syn: np.ndarray
    v_th: np.ndarray
    v_leak: np.ndarray
    v_reset: np.ndarray
    t_ref: np.ndarray
    bias: np.ndarray

    def __init__(self, network: Any, inputs: dict, until: float) -> None:
        self.until = until
        self.names = [(name, n) for name, p in network.populations.items() for n in range(p.n)]
        self.place = {pair: k for k, pair in enumerate(self.names)}
        self.read(network)
        count = len(self.names)
        self.v, self.i = self.v_leak.copy(), np.zeros(count)
        self.last, self.release = np.zeros(count), np.full(count, math.inf)
        self.next = np.array([self.crossing(n) for n in range(count)])
        self.agenda: list[tuple[float, int, float]] = []
        self.spikes: list[tuple[float, int]] = []
        for name, train in inputs.items():
            for t, unit in zip(train.times.tolist(), train.units.tolist(), strict=True):
                self.send(name, unit, t)

    def read(self, network: Any) -> None:
        """Parameters of every neuron, and its synapses."""
        for name in NUMBERS:
            setattr(self, name, np.zeros(len(self.names)))
        self.kind: list[str] = []
        self.subtract: list[bool] = []
        for name, p in network.populations.items():
            model = p.model
            kind = KNOWN.get(type(model).__name__)
            plain = getattr(model, "input", "delta") == "delta"
            clamped = getattr(model, "refractory", "clamp") == "clamp"
            if kind is None or not plain or not clamped or isinstance(model.v_th, dict):
                raise NotImplementedError(f"{type(model).__name__} of {name!r}")
            if isinstance(getattr(model, "tau_syn", None), dict):
                raise NotImplementedError("several synapse types")
            mine = slice(len(self.kind), len(self.kind) + p.n)
            for number in NUMBERS:
                getattr(self, number)[mine] = getattr(model, number, 0.0)
            self.kind += [kind] * p.n
            self.subtract += [model.reset == "subtract"] * p.n
        self.synapses: dict[tuple[str, int], list[tuple[int, float, float]]] = {}
        for c in network.connections:
            delay = np.broadcast_to(c.delay, c.weight.shape)
            for pre in range(c.weight.shape[0]):
                rows = self.synapses.setdefault((c.pre, pre), [])
                for post in range(c.weight.shape[1]):
                    target = self.place[c.post, post]
                    rows.append((target, float(c.weight[pre, post]), float(delay[pre, post])))

    # ------------------------------------------------------------------------------ neurons

    def level(self, n: int) -> float:
        """What the voltage relaxes to; 0 where it does not."""
        return 0.0 if self.kind[n] == "if" else self.v_leak[n] + self.bias[n]

    def flow(self, n: int, s: float) -> tuple[float, float]:
        """Voltage and current after s."""
        if self.kind[n] == "if":
            return self.v[n] + self.bias[n] * s, 0.0
        rest, m = self.level(n), self.tau_mem[n]
        u = (self.v[n] - rest) * math.exp(-s / m)
        if self.kind[n] == "delta":
            return rest + u, 0.0
        return rest + u + self.i[n] * self.response(n, s), self.i[n] * self.decay(n, s)

    def decay(self, n: int, s: float) -> float:
        """Of the current."""
        return math.exp(-s / self.tau_syn[n]) if self.kind[n] == "cuba" else 1.0

    def response(self, n: int, s: float) -> float:
        """Voltage that a unit of current causes in s."""
        m, t = self.tau_mem[n], self.tau_syn[n]
        x = s * abs((m - t) / (m * t))
        shape = -math.expm1(-x) / x if x > 0.0 else 1.0
        return s / m * math.exp(-s / max(m, t)) * shape

    def turn(self, n: int) -> float:
        """When the voltage has its only extremum, or inf."""
        if self.kind[n] != "cuba":
            return math.inf
        m, t, i = self.tau_mem[n], self.tau_syn[n], self.i[n]
        u = self.v[n] - self.level(n)
        below = t * i + (m - t) * u
        x = (i - u) / below if below else math.inf
        if not 0.0 < x < math.inf or (m - t) * x <= -1.0:
            return math.inf
        y = (m - t) * x
        return m * t * x * (math.log1p(y) / y if y else 1.0)

    def rises(self, n: int) -> bool:
        """Whether the voltage rises now."""
        if self.kind[n] == "if":
            return self.bias[n] > 0.0
        return self.level(n) + self.i[n] > self.v[n]

    def fires_at_once(self, n: int) -> bool:
        """Whether the voltage is at threshold already."""
        return bool(self.v[n] >= self.v_th[n])

    def crossing(self, n: int) -> float:
        """Time of the next spike, if nothing arrives before; or inf."""
        if self.fires_at_once(n):
            return self.last[n]
        low, high = 0.0, self.turn(n)
        if not self.rises(n):
            low, high = high, math.inf
        if low == math.inf:
            return math.inf
        high = min(high, self.horizon(n, low))
        if self.flow(n, high)[0] < self.v_th[n]:
            return math.inf
        return self.last[n] + self.root(n, low, high)

    def horizon(self, n: int, low: float) -> float:
        """Beyond it the voltage is where it tends to, or the run has ended."""
        return max(low, self.until - self.last[n] + 1.0)

    def root(self, n: int, low: float, high: float) -> float:
        """Bisection to neighbouring floats."""
        while low < (middle := 0.5 * (low + high)) < high:
            if self.flow(n, middle)[0] < self.v_th[n]:
                low = middle
            else:
                high = middle
        return high

    # ------------------------------------------------------------------------------- events

    def run(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """All events in order: at one time spikes, then releases, then arrivals."""
        while True:
            arrival = self.agenda[0][0] if self.agenda else math.inf
            t = min(self.next.min(initial=math.inf), self.release.min(initial=math.inf), arrival)
            if t > self.until or t == math.inf:
                return self.answer()
            if self.next.min() == t:
                for n in np.flatnonzero(self.next == t):
                    self.fire(int(n), t)
            elif self.release.min() == t:
                for n in np.flatnonzero(self.release == t):
                    self.let_go(int(n), t)
            else:
                self.deliver(t)

    def advance(self, n: int, t: float) -> None:
        """The state of a neuron at t; clamped while refractory."""
        v, i = self.flow(n, t - self.last[n])
        if self.release[n] < math.inf:
            v, i = self.v[n], self.i[n] * self.decay(n, t - self.last[n])
        self.v[n], self.i[n], self.last[n] = v, i, t

    def fire(self, n: int, t: float) -> None:
        """Emit a spike, reset, send."""
        at_once = self.fires_at_once(n)
        self.advance(n, t)
        self.reset(n, at_once)
        self.spikes.append((t, n))
        self.release[n] = self.refractory_until(n, t)
        self.next[n] = self.crossing(n) if self.release[n] == math.inf else math.inf
        self.send(*self.names[n], t)

    def reset(self, n: int, at_once: bool) -> None:
        """The voltage after a spike; at a continuous crossing both resets agree."""
        if self.subtract[n] and at_once:
            self.v[n] -= self.v_th[n] - self.v_reset[n]
        else:
            self.v[n] = self.v_reset[n]

    def refractory_until(self, n: int, t: float) -> float:
        """When a neuron that fires now is released; inf: it is not refractory."""
        return t + self.t_ref[n] if self.t_ref[n] > 0.0 else math.inf

    def let_go(self, n: int, t: float) -> None:
        """End of the refractory time."""
        self.advance(n, t)
        self.release[n] = math.inf
        self.next[n] = self.crossing(n)

    def send(self, name: str, unit: int, t: float) -> None:
        """Every synapse of a unit."""
        for target, weight, delay in self.synapses.get((name, unit), ()):
            heapq.heappush(self.agenda, (t + delay, target, weight))

    def deliver(self, t: float) -> None:
        """All arrivals at t, summed by target before anything else."""
        sums: dict[int, float] = {}
        while self.agenda and self.agenda[0][0] == t:
            _, n, weight = heapq.heappop(self.agenda)
            sums[n] = sums.get(n, 0.0) + weight
        for n, weight in sums.items():
            self.advance(n, t)
            self.receive(n, weight)
            if self.release[n] == math.inf:
                self.next[n] = self.crossing(n)

    def receive(self, n: int, weight: float) -> None:
        """A jump of the current, or of a voltage that is not clamped."""
        if self.kind[n] == "cuba":
            self.i[n] += weight
        elif self.release[n] == math.inf:
            self.v[n] += weight

    def answer(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{population: (times, units)}."""
        found: dict[str, tuple[list[float], list[int]]] = {name: ([], []) for name, _ in self.names}
        for t, n in self.spikes:
            name, unit = self.names[n]
            found[name][0].append(t)
            found[name][1].append(unit)
        return {k: (np.array(t), np.array(u, dtype=np.int64)) for k, (t, u) in found.items()}


def simulate(network: Any, inputs: dict, until: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every spike of a network on [0, until].

    Parameters
    ----------
    network : object
        With `.inputs` {name: n}, `.populations` {name: .n, .model} and `.connections`
        [.pre, .post, .weight (n_pre, n_post), .delay].
    inputs : dict of objects with `.times` and `.units`
    until : float

    Returns
    -------
    spikes : {population: (times, units)}

    Raises
    ------
    NotImplementedError
        For other models, and other refractoriness than a clamped voltage.
    """
    return Simulation(network, inputs, until).run()
