"""Wrong simulators, each with one defect that a published simulator has, or had.

Every one is `reference.plain` with one method replaced; `DEFECTS` says which law is meant for
it. They keep the laws honest, and show what a failure looks like:

    pytest --evsim-simulator evsim.testing.defects:ends_only
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from reference.plain import Simulation

#: Grid of those that have one, in ms where time constants are some ten.
GRID = 0.1

#: Name of each simulator, and the laws that are meant for it.
DEFECTS: dict[str, tuple[Callable, tuple[str, ...]]] = {}


def defect(*laws: str) -> Callable:
    """Make a `Simulation` a function of this module, named as the class without its underscore."""

    def decorate(cls: type[Simulation]) -> Callable:
        def simulate(network: Any, inputs: dict, until: float) -> dict:
            return cls(network, inputs, until).run()

        name = cls.__name__.removeprefix("_")
        simulate.__doc__, simulate.__name__ = cls.__doc__, name
        globals()[name] = simulate
        DEFECTS[name] = simulate, laws
        return simulate

    return decorate


def on_grid(t: float, step: float = GRID) -> float:
    """The nearest point of the grid."""
    return round(t / step) * step


@defect("T2", "P13")
class _ends_only(Simulation):
    """Looks at the voltage at the ends of steps only (NEST's precise models)."""

    def crossing(self, n):
        if self.fires_at_once(n):
            return self.last[n]
        for k in range(1, int(60.0 / GRID)):
            if self.flow(n, k * GRID)[0] >= self.v_th[n]:
                return self.last[n] + self.root(n, (k - 1) * GRID, k * GRID)
        return math.inf


@defect("T1")
class _probes_single_peaks(Simulation):
    """Looks where one response alone would peak, not where their sum does."""

    def turn(self, n):
        m, t = self.tau_mem[n], self.tau_syn[n]
        if self.kind[n] != "cuba":
            return math.inf
        return m if m == t else m * t / (m - t) * math.log(m / t)


@defect("P3", "T1")
class _stops_at_a_residual(Simulation):
    """Ends the search for a spike where the voltage is within 1e-6 of the threshold."""

    def root(self, n, low, high):
        while high - low > 1e-300:
            middle = 0.5 * (low + high)
            v = self.flow(n, middle)[0] - self.v_th[n]
            if abs(v) < 1e-6 or not low < middle < high:
                return middle
            low, high = (middle, high) if v < 0 else (low, middle)
        return high


@defect("T8", "P14")
class _divides_by_the_difference(Simulation):
    """tau_s / (tau_m - tau_s): not a number where they are equal, and then no spike at all."""

    def response(self, n, s):
        m, t = self.tau_mem[n], self.tau_syn[n]
        if m == t:
            return math.nan
        return t / (m - t) * (math.exp(-s / m) - math.exp(-s / t))

    def crossing(self, n):
        found = super().crossing(n)
        return math.inf if math.isnan(found) or math.isnan(self.v[n]) else found


@defect("P10")
class _rounds_refractory_times(Simulation):
    """Counts refractory time in whole steps."""

    def refractory_until(self, n, t):
        return t + on_grid(self.t_ref[n]) if self.t_ref[n] > 0 else math.inf


@defect("P10")
class _never_again(Simulation):
    """Without refractory time a neuron that has fired stays refractory for ever."""

    def refractory_until(self, n, t):
        return t + self.t_ref[n] if self.t_ref[n] > 0 else 1e300


@defect("T7", "P1")
class _overflows(Simulation):
    """Integrates with exp(+t / tau) in absolute time."""

    def decay(self, n, s):
        t = self.last[n]
        try:
            return math.exp(t / self.tau_syn[n]) / math.exp((t + s) / self.tau_syn[n])
        except OverflowError:
            return 0.0


@defect("P19")
class _crosses_downwards(Simulation):
    """Takes any change of sign for a spike, downwards too."""

    def fires_at_once(self, n):
        return False

    def crossing(self, n):
        if self.v[n] < self.v_th[n]:
            return super().crossing(n)
        low, high = 0.0, self.until
        if self.flow(n, high)[0] >= self.v_th[n]:
            return math.inf
        while low < (middle := 0.5 * (low + high)) < high:
            low, high = (middle, high) if self.flow(n, middle)[0] >= self.v_th[n] else (low, middle)
        return self.last[n] + high


@defect("P16")
class _loses_simultaneous_spikes(Simulation):
    """Of several neurons that fire at one instant, one does; the others wait for input."""

    def fire(self, n, t):
        if any(time == t for time, _ in self.spikes[-1:]):
            self.next[n] = math.inf
        else:
            super().fire(n, t)


@defect("T4")
class _delays_one_step_more(Simulation):
    """A spike acts one step after its delay."""

    def send(self, name, unit, t):
        inside = (name, unit) in self.place
        super().send(name, unit, t + GRID if inside else t)


@defect("T1", "P15")
class _jumps_by_weight_over_tau(Simulation):
    """The other convention: a spike of unit charge."""

    def receive(self, n, weight):
        scale = 1.0 / self.tau_syn[n] if self.kind[n] == "cuba" else 1.0
        super().receive(n, weight * scale)


@defect("T6", "T1")
class _clears_the_current(Simulation):
    """The reset takes the synaptic current away too."""

    def reset(self, n, at_once):
        super().reset(n, at_once)
        self.i[n] = 0.0


@defect("T1")
class _loses_refractory_input(Simulation):
    """What arrives while the voltage is clamped is lost to the current too."""

    def receive(self, n, weight):
        if self.release[n] == math.inf:
            super().receive(n, weight)


@defect("T1", "P20")
class _single_precision(Simulation):
    """Keeps its state in float32."""

    def advance(self, n, t):
        super().advance(n, t)
        self.v[n], self.i[n] = np.float32(self.v[n]), np.float32(self.i[n])


@defect("P7", "P19", "T3")
class _one_of_equal_spikes(Simulation):
    """Of several arrivals at one instant, the last is kept."""

    def deliver(self, t):
        kept = {n: e for e in sorted(self.agenda) if e[0] == t for n in [e[1]]}
        others = sorted([e for e in self.agenda if e[0] != t] + list(kept.values()))
        self.agenda[:] = others
        super().deliver(t)


@defect("T1")
class _keeps_stale_spikes(Simulation):
    """A spike that has been foreseen happens, whatever arrives before."""

    def deliver(self, t):
        foreseen = self.next.copy()
        super().deliver(t)
        self.next = np.minimum(self.next, np.where(foreseen > t, foreseen, math.inf))


@defect("P18")
class _remembers(Simulation):
    """The current of the run before bleeds into the next."""

    left = 0.0

    def __init__(self, network, inputs, until):
        super().__init__(network, inputs, until)
        self.i += type(self).left

    def answer(self):
        type(self).left = min(4.0, float(self.i.sum()))
        return super().answer()


@defect("P5", "T4")
class _parameters_of_the_first(Simulation):
    """All neurons of a population have the parameters of the first."""

    def read(self, network):
        super().read(network)
        for k, (name, _) in enumerate(self.names):
            self.v_th[k] = self.v_th[self.place[name, 0]]


@defect("T6")
class _counts_to_eight(Simulation):
    """Has room for eight spikes of a neuron."""

    def fire(self, n, t):
        if sum(unit == n for _, unit in self.spikes) >= 8:
            self.next[n] = math.inf
        else:
            super().fire(n, t)


@defect("T5")
class _no_self_connections(Simulation):
    """A neuron does not hear itself."""

    def send(self, name, unit, t):
        me = self.place.get((name, unit))
        row = self.synapses.get((name, unit), [])
        self.synapses[name, unit] = [s for s in row if s[0] != me]
        super().send(name, unit, t)


@defect("P4", "T1")
class _ignores_the_leak_potential(Simulation):
    """The voltage relaxes to zero, wherever the leak potential is."""

    def level(self, n):
        return self.bias[n]


@defect("P1")
class _rounds_input(Simulation):
    """Input spikes go to the nearest point of a grid."""

    def send(self, name, unit, t):
        super().send(name, unit, t if (name, unit) in self.place else on_grid(t))


@defect("P2", "T1")
class _stamps_on_a_grid(Simulation):
    """Reports the end of the step that a spike lies in."""

    def answer(self):
        self.spikes = [(min(self.until, math.ceil(t / GRID) * GRID), n) for t, n in self.spikes]
        return super().answer()


@defect("T1")
class _euler(Simulation):
    """Follows the current in steps, as if it were constant in each."""

    def decay(self, n, s):
        steps = max(1, math.ceil(s / GRID))
        return (1.0 - s / steps / self.tau_syn[n]) ** steps


@defect("P9")
class _cuts_its_kernel_off(Simulation):
    """Lets a response end after three time constants."""

    def decay(self, n, s):
        return super().decay(n, s) if s <= 3 * self.tau_syn[n] else 0.0

    def response(self, n, s):
        end = 3 * self.tau_syn[n]
        if s <= end:
            return super().response(n, s)
        return super().response(n, end) * math.exp((end - s) / self.tau_mem[n])


@defect("P12")
class _stops_early(Simulation):
    """Ends with its last whole window of 5 ms before the end of the run."""

    def answer(self):
        self.spikes = [(t, n) for t, n in self.spikes if t <= 5 * math.floor(self.until / 5)]
        return super().answer()


@defect("P11")
class _sees_ahead(Simulation):
    """Applies input at the beginning of the step that it lies in."""

    def send(self, name, unit, t):
        inside = (name, unit) in self.place
        super().send(name, unit, t if inside else math.floor(t / 4) * 4.0)
