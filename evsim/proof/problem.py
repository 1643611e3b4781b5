"""What is to be proved, as flat arrays: neurons, sources of arrivals, and who hears whom."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from evsim.delivery import Current, incoming, whole_steps
from evsim.lists import count_targets, deliver
from evsim.models.linear import CURRENT, THRESHOLD, Linear
from evsim.network import Network, Projection
from evsim.proof.bounds import DOUBLE, SPLIT
from evsim.proof.layout import ARRIVAL, NEURON, SOURCE, WIDTH, records
from evsim.proof.numbers import split
from evsim.spikes import SILENT, Spikes, grid_times

#: Ports of arrivals that enter no component: the voltage itself, a step of external current to a
#: value, and an edge of a rectangular pulse, by its height.
VOLTAGE, STEP, EDGE = -1, -2, -3


class Form(NamedTuple):
    """Exact numbers of a neuron."""

    tau: float | None
    taus: tuple[float | None, ...]
    theta: Fraction
    reset: Fraction


@dataclass
class Problem:
    """A network, what drives it, and the spikes that it is claimed to have."""

    neurons: np.recarray
    start: np.ndarray  # (n, 1 + components, 2) state at time 0, as pairs
    bounds: np.ndarray  # (n + 1,) the arrivals of every neuron
    arrivals: np.recarray
    sources: np.recarray
    count: int  # spikes to be proved
    first: dict[str, int]  # a population's first neuron
    order: dict[str, np.ndarray]  # place of every claimed spike of a population
    until: float
    forms: list[Form]  # exact numbers of every neuron
    exact: dict[int, Fraction]  # times of inputs that no pair of doubles holds
    membranes: dict[int, Fraction]  # at time 0, of which no pair of doubles holds the value

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.neurons.size

    def where(self, n: int) -> tuple[str, int]:
        """Population and unit of a neuron."""
        name = max((k, name) for name, k in self.first.items() if k <= n)[1]
        return name, n - self.first[name]


def exact_pairs(terms, n: int):
    """(hi, lo, error) of the exact sum of numbers or arrays, shape (n,)."""
    columns = [np.broadcast_to(np.asarray(t, float), (n,)).tolist() for t in terms]
    found: dict[tuple[float, ...], tuple[float, float, float]] = {}
    out = np.empty((3, n))
    for k, values in enumerate(zip(*columns, strict=True)):
        if values not in found:
            total = sum(map(Fraction, values), Fraction(0))
            hi, lo = split(total)
            found[values] = hi, lo, float(abs(total - Fraction(hi) - Fraction(lo))) * (1 + 1e-9)
        out[:, k] = found[values]
    return out


def rational_pairs(of, columns, n: int):
    """(hi, lo) of a rational function of parameters, shape (n,); None stands for infinity."""
    columns = [
        [None] * n if c is None else np.broadcast_to(np.asarray(c, float), (n,)).tolist()
        for c in columns
    ]
    found: dict[tuple, tuple[float, float]] = {}
    out = np.empty((2, n))
    for k, values in enumerate(zip(*columns, strict=True)):
        if values not in found:
            found[values] = split(of(*(Fraction(0) if v is None else 1 / Fraction(v)
                                       for v in values)))  # fmt: skip
        out[:, k] = found[values]
    return out


def neurons_of(form: Linear, model, n: int) -> np.recarray:
    """Parameters of the neurons of a population."""
    out = records(NEURON, n)
    rate = rational_pairs(lambda r: r, [form.tau], n)
    out.rate_hi, out.rate_lo = rate
    out.gain_hi, out.gain_lo = rate if form.tau is not None else (1.0, 0.0)
    shortest = np.full(n, np.inf if form.tau is None else form.tau)
    for k, (kind, tau, jump, _) in enumerate(form.components):
        out.decay_hi[:, k], out.decay_lo[:, k] = rational_pairs(lambda r: r, [tau], n)
        out.gap_hi[:, k], out.gap_lo[:, k] = rational_pairs(
            lambda a, b: abs(a - b), [form.tau, tau], n
        )
        out.slow[:, k] = out.decay_hi[:, k] >= rate[0]
        out.kind[:, k], out.jump[:, k] = kind, jump
        if tau is not None:
            shortest = np.minimum(shortest, tau)
    out.theta_hi, out.theta_lo, out.theta_err = exact_pairs(form.theta, n)
    out.reset_hi, out.reset_lo, out.reset_err = exact_pairs(form.reset, n)
    held = model.refractory == "clamp"
    out.t_ref, out.dead = (model.t_ref, 0.0) if held else (0.0, model.t_ref)
    out.block, out.shortest, out.count = (
        model.refractory == "block_input", shortest, len(form.components)
    )  # fmt: skip
    out.drive = -1 if form.drive is None else form.drive
    out.lag = -1 if form.lag is None else form.lag
    kinds = {component.kind for component in form.components}
    out.plain, out.moving = kinds <= {CURRENT}, THRESHOLD in kinds
    out.strict, out.subtract = model.graze == ">", model.reset == "subtract"
    return out


def forms_of(forms: dict[str, tuple[Linear, Any, int]]) -> list[Form]:
    """The exact numbers of every neuron; equal neurons share one."""
    out: list[Form] = []
    for form, _, n in forms.values():
        numbers = [form.tau, *(c.tau for c in form.components), *form.theta, *form.reset]
        many = any(np.ndim(x) for x in numbers if x is not None)
        found = [_one_form(form, k) for k in range(n if many else 1)]
        out += found if many else found * n
    return out


def _one_form(form: Linear, k: int) -> Form:
    """The exact numbers of one neuron."""

    def number(value):
        return None if value is None else float(value[k] if np.ndim(value) else value)

    theta, reset = (
        sum((Fraction(number(x)) for x in terms), Fraction(0)) for terms in (form.theta, form.reset)
    )
    return Form(number(form.tau), tuple(number(c.tau) for c in form.components), theta, reset)


def initial_state(form: Linear, model, values, n: int):
    """State at time 0 as pairs, shape (n, 1 + `WIDTH`, 2), from that of the model's kernel; and
    the membranes that no pair holds, exactly."""
    out = np.zeros((n, 1 + WIDTH, 2))
    for k, indices in enumerate(form.state):
        start = form.components[k - 1].start if k else 0.0
        out[:, k, :] = exact_pairs([*(values[j] for j in indices), start], n)[:2].T
    exact: dict[int, Fraction] = {}
    if form.tau is not None:
        v = _voltage(model, values[0], n)
        hi, lo, error = exact_pairs([np.nan_to_num(v), *form.reset[1:]], n)
        known = ~np.isnan(v)
        out[known, 0, 0], out[known, 0, 1] = hi[known], lo[known]
        for k in np.flatnonzero(known & (error > 0.0)).tolist():
            terms = [np.broadcast_to(x, (n,))[k] for x in (v, *form.reset[1:])]
            exact[k] = sum((Fraction(float(x)) for x in terms), Fraction(0))
    return out, exact


def _voltage(model, u, n: int) -> np.ndarray:
    """The voltage that the kernel has rounded to `u`, where that can be told, else nan."""
    rest = np.broadcast_to(np.asarray(model.rest(), float), (n,))
    leak = np.broadcast_to(np.asarray(model.v_leak, float), (n,))
    near = u + rest
    return np.where(leak - rest == u, leak, np.where(near - rest == u, near, np.nan))


def build(
    network: Network, inputs, initial, spikes: dict[str, Spikes], until: float, window: float
) -> Problem:
    """The flat arrays of a claim; a spike may lie up to `window` from where it is claimed.

    Raises
    ------
    ValueError
        If a population, or its input, is of a kind for which there is no proof; it is named.
    """
    forms = {name: _form(network, name) for name in network.populations}
    forms = {name: form for name, form in forms.items() if form is not None}
    if not forms:
        raise ValueError("there is no population that fires: nothing to prove")
    sizes = [n for _, _, n in forms.values()]
    first = dict(zip(forms, map(int, np.concatenate([[0], np.cumsum(sizes)])), strict=False))
    hi, lo, neuron, order = _claims(spikes, first)
    table = _Table(network, inputs, spikes, order, hi.size, window)
    for name in forms:
        table.population(name, first[name])
    sources = table.sources(hi, lo, neuron)
    bounds, arrivals = table.arrivals(sum(sizes), sources, until)
    start: list[np.ndarray] = []
    exactly: dict[int, Fraction] = {}
    for name, (form, model, n) in forms.items():
        pairs, membranes = initial_state(form, model, initial[name], n)
        start.append(pairs)
        exactly |= {first[name] + k: value for k, value in membranes.items()}
    return Problem(
        np.concatenate([neurons_of(*form) for form in forms.values()]).view(np.recarray),
        np.concatenate(start), bounds, arrivals, sources, hi.size, first, order, float(until),
        forms_of(forms), table.exact, exactly,
    )  # fmt: skip


def _form(network: Network, name: str):
    """(equations, model, size) of a population that fires, or None; refused without a proof."""
    population = network.populations[name]
    model: Any = population.model
    if not model.spiking:
        return None
    if not hasattr(model, "linear"):
        raise ValueError(f"population {name!r}: {type(model).__name__} has no linear dynamics")
    form = model.linear()
    if len(form.components) > WIDTH:
        raise ValueError(f"population {name!r} has more than {WIDTH} synapse types")
    return form, model, population.n


def _claims(spikes: dict[str, Spikes], first: dict[str, int]):
    """All claimed spikes in order of time, then neuron; and where those of a population went."""
    parts = [(spikes[name], k) for name, k in first.items()]
    hi = np.concatenate([s.times for s, _ in parts])
    lo = np.concatenate([s.times_lo for s, _ in parts])
    neuron = np.concatenate([s.units + k for s, k in parts]).astype(np.int64)
    rank = np.lexsort((neuron, lo, hi))
    place = np.empty(rank.size, np.int64)
    place[rank] = np.arange(rank.size)
    ends = np.cumsum([len(s) for s, _ in parts])[:-1]
    order = dict(zip(first, np.split(place, ends), strict=True))
    return hi[rank], lo[rank], neuron[rank], order


def events_of(projection: Projection, form: Linear) -> list[tuple[float, float, int]]:
    """(sign of the weight, how long after the delay, port) of what a spike causes."""
    if projection.pulse_width is not None:
        return [(1.0, 0.0, EDGE), (-1.0, float(projection.pulse_width), EDGE)]
    port = form.ports[projection.port]
    return [(1.0, 0.0, VOLTAGE if port is None else port)]


def exact_sums(projection: Projection, delays: np.ndarray, more: float) -> np.ndarray:
    """Delays and `more`, of which a spike's arrival needs the exact sum."""
    total = delays + more
    for delay in np.unique(delays) if more else ():
        if Fraction(float(delay)) + Fraction(more) != Fraction(float(delay + more)):
            raise ValueError(
                f"projection {projection.name!r}: no proof where delay + pulse_width, "
                f"{delay} + {more}, is no double; choose multiples of a power of 2"
            )
    return total


class _Table:
    """Collects arrivals and the inputs that cause them."""

    def __init__(self, network: Network, inputs, spikes, order, count: int, window: float):
        self.window = window
        self.network, self.given, self.spikes, self.order = network, inputs, spikes, order
        self.next = count  # index of the next source
        self.blocks: list[tuple[np.ndarray, ...]] = []
        self.rows: list[tuple[np.ndarray, ...]] = []
        self.exact: dict[int, Fraction] = {}
        self.known: dict[Any, np.ndarray] = {}

    def population(self, name: str, offset: int) -> None:
        """All arrivals at one population, whose first neuron is `offset`."""
        model: Any = self.network.populations[name].model
        form, n = model.linear(), self.network.size(name)
        for projection in incoming(self.network, name):
            train = self._train(projection.pre)
            spike, synapse, target = _delivered(projection, train.units, n)
            weight = projection.weight.ravel()[synapse]
            for sign, more, port in events_of(projection, form):
                source, delay = self._sources(projection, train, spike, synapse, more)
                self._add(offset + target, source, delay, sign * weight, port)
        if self.given.get(name) is not None:
            self._current(self.given[name], name, n, offset)

    def _train(self, name: str) -> Spikes:
        """Spikes of a population as claimed, or of an input."""
        return self.spikes[name] if name in self.order else self.given.get(name, SILENT)

    def _sources(self, projection: Projection, train: Spikes, spike, synapse, more: float):
        """Source and delay of every arrival of a projection, or of what comes `more` later."""
        pre, delay = projection.pre, projection.delay
        delays = delay[synapse] if np.ndim(delay) else np.full(spike.size, float(delay))
        if pre in self.order:
            return self.order[pre][spike], exact_sums(projection, delays, more)
        if train.steps is not None and train.dt is not None:
            extra = whole_steps(more, train.dt)
            if extra is None:
                times = [int(k) * train.dt + Fraction(more) for k in train.steps]
                return self._at((pre, "end", more), times)[spike], delays
            steps = whole_steps(float(delay), train.dt) if np.ndim(delay) == 0 else None
            if steps is not None:  # a multiple of the step moves the integers
                extra, delays = extra + steps, np.zeros(spike.size)
            return self._exactly((pre, extra), train.steps + extra, train.dt)[spike], delays
        if more:
            pairs = zip(train.times.tolist(), train.times_lo.tolist(), strict=True)
            times = [Fraction(a) + Fraction(b) + Fraction(more) for a, b in pairs]
            return self._at((pre, "end", more), times)[spike], delays
        place = self._given(pre, train.times, train.times_lo, np.zeros(len(train)))
        return place[spike], delays

    def _at(self, key, times: list[Fraction]) -> np.ndarray:
        """Places of exact times among the sources."""
        if key in self.known:
            return self.known[key]
        hi, lo = np.array([split(t) for t in times]).reshape(-1, 2).T
        exact = [Fraction(a) + Fraction(b) == t for a, b, t in zip(hi, lo, times, strict=True)]
        self.exact |= {self.next + k: t for k, t in enumerate(times) if not exact[k]}
        return self._given(key, hi, lo, np.where(exact, 0.0, SPLIT * DOUBLE.unit * hi))

    def _given(self, key, hi, lo, radius) -> np.ndarray:
        """Places of given times among the sources."""
        if key not in self.known:
            self.known[key] = self.next + np.arange(hi.size)
            self.blocks.append((hi, lo, radius))
            self.next += hi.size
        return self.known[key]

    def _exactly(self, key, steps: np.ndarray, dt: Fraction) -> np.ndarray:
        """Multiples of a step, which pairs of doubles may only approach."""
        if key in self.known:
            return self.known[key]
        hi, lo = grid_times(steps, dt)
        radius = np.zeros(hi.size)
        if dt.denominator & (dt.denominator - 1):
            radius = SPLIT * DOUBLE.unit * hi
            times = {int(k): int(k) * dt for k in np.unique(steps)}
            self.exact |= {self.next + k: times[int(j)] for k, j in enumerate(steps)}
        return self._given(key, hi, lo, radius)

    def _current(self, current: Current, name: str, n: int, offset: int) -> None:
        """The steps of an external current."""
        if current.dt is not None:
            source = self._exactly(("current", name), current.times, current.dt)
        else:
            hi, lo = current.pairs()
            source = self._given(("current", name), hi, lo, np.zeros(hi.size))
        k = source.size
        values = current.rows(n, name).T.ravel()
        self._add(offset + np.repeat(np.arange(n), k), np.tile(source, n), np.zeros(n * k),
                  values, STEP)  # fmt: skip

    def _add(self, target, source, delay, weight, port):
        """Take down arrivals."""
        self.rows.append((target, source, delay, weight, np.full(target.size, port)))

    def sources(self, hi, lo, neuron) -> np.recarray:
        """Claimed spikes and inputs."""
        blocks = [(hi, lo, np.zeros(hi.size)), *self.blocks]
        times = [np.concatenate(c) for c in zip(*blocks, strict=True)]
        out = records(SOURCE, times[0].size)
        out.hi, out.lo, out.radius = times
        out.claim_hi, out.claim_lo, out.slot = out.hi, out.lo, -1
        out.neuron[: hi.size], out.neuron[hi.size :] = neuron, -1
        out.root = np.arange(out.size)
        first: dict[Any, int] = {}
        for k in range(hi.size, out.size):  # inputs at one instant
            time = (out.hi[k], out.lo[k]) if out.radius[k] == 0.0 else self.exact.get(k, k)
            out.root[k] = first.setdefault(time, k)
        return out

    def arrivals(self, n: int, sources: np.recarray, until: float):
        """Where those of each neuron start, and all, in the order of the claimed times; those
        well after `until` left out."""
        empty = tuple(np.zeros(0, t) for t in (np.int64, np.int64, float, float, np.int64))
        target, source, delay, weight, port = map(
            np.concatenate, zip(empty, *self.rows, strict=True)
        )
        time = sources.hi[source] + delay
        rank = np.lexsort((port, sources.lo[source], time, target))
        rank = rank[time[rank] <= until + self.window]
        start = np.concatenate([[0], np.cumsum(np.bincount(target[rank], minlength=n))])
        out = records(ARRIVAL, rank.size)
        out.source, out.delay, out.weight, out.port = (
            column[rank] for column in (source, delay, weight, port)
        )
        return start.astype(np.int64), out


def _delivered(projection: Projection, units: np.ndarray, n: int):
    """(spike, synapse, target) of every arrival that spikes of these units cause."""
    indptr, targets = projection.indptr, projection.targets
    if indptr is None or targets is None:
        rows = projection.weight.shape[0]
        indptr = np.arange(rows + 1, dtype=np.int64) * n
        targets = np.tile(np.arange(n, dtype=np.int32), rows)
    counts = np.zeros(n, np.int64)
    count_targets(units, indptr, targets, counts)
    place = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    spike, synapse = np.empty(int(counts.sum()), np.int64), np.empty(int(counts.sum()), np.int64)
    deliver(units, indptr, targets, place, spike, synapse)
    return spike, synapse, np.repeat(np.arange(n), counts)
