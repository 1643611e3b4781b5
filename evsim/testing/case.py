"""What a law is tried on: a network, its input and an end, as plain data that prints as Python.

Networks proper hold arrays; these hold tuples, so that they compare, shrink, change by
`replace`, and print as the few lines that build them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

import evsim

#: Class of each kind of neuron, and the options that it is built with.
KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "lif": ("LIF", {}),
    "delta": ("DeltaLIF", {}),
    "if": ("IF", {}),
    "if_exp": ("IF", {"input": "exp"}),
    "if_ramp": ("IF", {"input": "ramp"}),
    "alpha": ("AlphaLIF", {}),
    "adaptive": ("AdaptiveLIF", {}),
    "mixed": ("LIF", {}),
    "qif": ("QIF", {}),
}
#: Kinds whose input is a jump of the voltage; those without a leak; synapse types of "mixed".
JUMPS = ("delta", "if", "qif")
CHARGED = ("if", "if_exp", "if_ramp")
TYPES = ("exc", "inh", "slow")
#: How parameters scale: powers of (time, voltage).
DIMENSIONS = {
    "tau_mem": (1, 0), "tau_syn": (1, 0), "t_ref": (1, 0), "tau_th": (1, 0), "tau": (1, 1),
    "v_th": (0, 1), "v_leak": (0, 1), "v_reset": (0, 1), "jump_th": (0, 1), "bias": (0, 1),
}  # fmt: skip


class Problem(NamedTuple):
    """What a simulator is given: `simulate(network, inputs, until)`."""

    network: Any
    inputs: dict[str, Any]
    until: float


@dataclass(frozen=True)
class Layer:
    """A population; numbers, or one value per neuron, by the name of the parameter."""

    name: str
    n: int
    kind: str = "lif"
    params: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> Any:
        """The neurons as evsim's parameter class."""
        name, options = KINDS[self.kind]
        values = {k: np.array(v) if isinstance(v, tuple) else v for k, v in self.params.items()}
        return getattr(evsim, name)(**values, **options)

    def value(self, name: str, unit: int, default: float = 0.0) -> Any:
        """One parameter of one neuron."""
        value = self.params.get(name, default)
        return value[unit] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Wire:
    """Synapses from `pre` to `post`: rows of weights by source; one delay, or rows too."""

    pre: str
    post: str
    weight: tuple[tuple[float, ...], ...]
    delay: Any = 0.0
    synapse: str | None = None

    def at(self, pre: int, post: int) -> tuple[float, float]:
        """Weight and delay of one synapse."""
        delay = self.delay[pre][post] if isinstance(self.delay, tuple) else self.delay
        return self.weight[pre][post], delay

    def map(self, weight: Callable = float, delay: Callable = float) -> Wire:
        """With every weight and every delay mapped."""
        rows = tuple(tuple(map(weight, row)) for row in self.weight)
        if isinstance(self.delay, tuple):
            delays: Any = tuple(tuple(map(delay, row)) for row in self.delay)
        else:
            delays = delay(self.delay)
        return replace(self, weight=rows, delay=delays)


@dataclass(frozen=True)
class Case:
    """A network, its input and an end.

    Attributes
    ----------
    layers : tuple of Layer
    wires : tuple of Wire
    spikes : mapping from an input's name to a tuple of (time, unit)
    sizes : mapping from an input's name to its number of units
    until : float
    """

    layers: tuple[Layer, ...]
    wires: tuple[Wire, ...]
    spikes: Mapping[str, tuple[tuple[float, int], ...]]
    sizes: Mapping[str, int]
    until: float

    def problem(self) -> Problem:
        """The same as evsim's network and spikes."""
        net = evsim.Network()
        for name, n in self.sizes.items():
            net.add_input(name, n)
        for layer in self.layers:
            net.add_population(layer.name, layer.n, layer.model())
        for w in self.wires:
            delay = np.array(w.delay) if isinstance(w.delay, tuple) else w.delay
            net.connect(w.pre, w.post, np.array(w.weight), delay, synapse=w.synapse)
        inputs = {name: _spikes(train) for name, train in self.spikes.items()}
        return Problem(net, inputs, self.until)

    def layer(self, name: str) -> Layer:
        """A population by name."""
        return next(layer for layer in self.layers if layer.name == name)

    def cyclic(self) -> bool:
        """Whether a population hears one that is not before it."""
        place = {x.name: k for k, x in enumerate(self.layers)}
        return any(place.get(w.pre, -1) >= place[w.post] for w in self.wires)

    def arrivals(self) -> int:
        """How many arrivals come from outside."""
        fan = {name: 0 for name in self.sizes}
        for w in self.wires:
            if w.pre in fan:
                fan[w.pre] += self.layer(w.post).n
        return sum(len(train) * fan[name] for name, train in self.spikes.items())

    def each_layer(self, change: Callable[[Layer], Layer]) -> Case:
        """With every population changed."""
        return replace(self, layers=tuple(map(change, self.layers)))

    def with_params(self, **values) -> Case:
        """With some parameters of every population set."""
        return self.each_layer(lambda x: replace(x, params={**x.params, **values}))

    def with_refractory(self, mode: str) -> Case:
        """With that kind of refractoriness, in models that know several."""
        if mode == "clamp":
            return self
        return self.each_layer(
            lambda x: x if x.kind == "qif" else replace(x, params={**x.params, "refractory": mode})
        )

    def with_spikes(self, change: Callable[[float, int], tuple[float, int]]) -> Case:
        """With every input spike mapped."""
        spikes = {k: tuple(change(t, u) for t, u in train) for k, train in self.spikes.items()}
        return replace(self, spikes=spikes)

    def with_some(self, wanted: Callable[[float, int], bool]) -> Case:
        """With some of the input spikes only."""
        spikes = {k: tuple(e for e in train if wanted(*e)) for k, train in self.spikes.items()}
        return replace(self, spikes=spikes)

    def __repr__(self) -> str:
        return "\n" + source(self)


def _spikes(train) -> Any:
    return evsim.Spikes([t for t, _ in train], np.array([u for _, u in train], dtype=np.int64))


def scaled(case: Case, c: float = 1.0, k: float = 1.0) -> Case:
    """Times scaled by `c`, voltages by `k`."""

    def layer(x: Layer) -> Layer:
        values = {name: _times(v, _factor(x.kind, name, c, k)) for name, v in x.params.items()}
        return replace(x, params=values)

    kinds = {x.name: x.kind for x in case.layers}
    factors = {name: weight_factor(kind, c, k) for name, kind in kinds.items()}
    wires = tuple(w.map(lambda x, f=factors[w.post]: x * f, lambda d: d * c) for w in case.wires)
    moved = case.each_layer(layer).with_spikes(lambda t, u: (t * c, u))
    return replace(moved, wires=wires, until=case.until * c)


def weight_factor(kind: str, c: float, k: float) -> float:
    """How a weight scales: a jump of the voltage, or of its slope."""
    return k / c if kind in ("alpha", "if_exp", "if_ramp") else k


def _factor(kind: str, name: str, c: float, k: float) -> float:
    time, voltage = DIMENSIONS.get(name, (0, 0))
    if name == "bias":
        time, voltage = (-1, 1) if kind in CHARGED else (0, 2) if kind == "qif" else (0, 1)
    return c**time * k**voltage


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {key: x * factor for key, x in value.items()}
    return tuple(x * factor for x in value) if isinstance(value, tuple) else value * factor


# -------------------------------------------------------------------------------------- words


def source(case: Case) -> str:
    """Python that builds the case anew."""
    lines = ["net = evsim.Network()"]
    lines += [f"net.add_input({name!r}, {n})" for name, n in case.sizes.items()]
    for x in case.layers:
        name, options = KINDS[x.kind]
        given = ", ".join(f"{k}={_text(v)}" for k, v in {**x.params, **options}.items())
        lines.append(f"net.add_population({x.name!r}, {x.n}, evsim.{name}({given}))")
    for w in case.wires:
        more = f", synapse={w.synapse!r}" if w.synapse else ""
        delay = f", delay={_text(w.delay)}" if w.delay != 0.0 else ""
        lines.append(f"net.connect({w.pre!r}, {w.post!r}, {_text(w.weight)}{delay}{more})")
    trains = []
    for name, train in case.spikes.items():
        times, units = [t for t, _ in train], [u for _, u in train]
        trains.append(f"{name!r}: evsim.Spikes({times!r}, {units!r})")
    lines.append(f"simulate(net, {{{', '.join(trains)}}}, until={case.until!r})")
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return "[" + ", ".join(_text(row) for row in value) + "]"
    return "[" + ", ".join(map(repr, value)) + "]" if isinstance(value, tuple) else repr(value)
