r"""Networks from NIR graphs.

NIR leaves open what the same file means: whether a spike is a Dirac impulse or a pulse of
height 1, how a neuron is reset, how `v > v_threshold` treats equality, how long a recurrent
edge takes, and where the voltage starts. Each is an argument of `from_nir`; nothing is guessed.

Chains of Affine, Linear and Flatten are folded into one projection. With Dirac spikes, a spike
through weight :math:`w` makes

.. math::
    v \text{ of LIF, LI jump by } R w / \tau, \qquad v \text{ of IF by } R w, \qquad
    R I \text{ of CubaLIF by } R\, w_{in} w / \tau_{syn};                      \tag{1}

with pulses, :math:`R w` (for CubaLIF :math:`R\, w_{in} w`) is the height of a rectangular current.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from evsim.models.base import Neuron
from evsim.models.delta import DeltaLIF
from evsim.models.integrate import IF
from evsim.models.lif import LIF
from evsim.models.readout import LI
from evsim.network import Network

#: NIR nodes that are folded into projections, and those that are populations.
LINEAR = ("Affine", "Linear", "Flatten")
NEURONS = ("LIF", "CubaLIF", "IF", "LI")


@dataclass(frozen=True)
class Options:
    """What NIR leaves open; see `from_nir`."""

    spikes: str
    pulse_width: float | None = None
    reset: str = "value"
    compare: str = ">"
    recurrent_delay: float | None = None
    v_init: str | float = "v_leak"

    def __post_init__(self):
        if self.spikes not in ("dirac", "pulse"):
            raise ValueError(f'spikes must be "dirac" or "pulse"; got {self.spikes!r}')
        if (self.spikes == "pulse") != (self.pulse_width is not None):
            raise ValueError('pulse_width is wanted with spikes="pulse", and only there')
        if self.reset not in ("value", "subtract"):
            raise ValueError(f'reset must be "value" or "subtract"; got {self.reset!r}')
        if self.compare not in (">", ">="):
            raise ValueError(f'compare must be ">" or ">="; got {self.compare!r}')
        if self.v_init not in ("v_leak", "v_reset") and not isinstance(self.v_init, float | int):
            raise ValueError(f'v_init must be "v_leak", "v_reset" or a number; got {self.v_init!r}')


@dataclass
class Signal:
    """A weighted sum of spike trains plus a constant, at the output of a node."""

    parts: list[tuple[str, Any]] = field(default_factory=list)  # source, (n_out, n_source) or None
    bias: Any = 0.0
    size: int | None = None


def from_nir(
    graph,
    *,
    spikes: str,
    pulse_width: float | None = None,
    reset: str = "value",
    compare: str = ">",
    recurrent_delay: float | None = None,
    v_init: str | float = "v_leak",
) -> Network:
    """Read a NIR graph as a network; the nodes' names become populations and inputs.

    Parameters
    ----------
    graph : str, path-like or nir.NIRGraph
    spikes : {"dirac", "pulse"}
        What a spike is: a Dirac impulse of unit area, or a pulse of height 1.
    pulse_width : float, optional
        Length of the pulses [s].
    reset : {"value", "subtract"}, optional
        Reset to `v_reset`, or by subtracting `v_threshold - v_reset`.
    compare : {">", ">="}, optional
        Whether a voltage that only touches the threshold fires; NIR says `>`.
    recurrent_delay : float, optional
        Delay of the edges between nodes on a common cycle [s].
    v_init : {"v_leak", "v_reset"} or float, optional
        Voltage at time 0.

    Raises
    ------
    ValueError
        Naming a node that cannot be represented, or an argument.
    """
    options = Options(spikes, pulse_width, reset, compare, recurrent_delay, v_init)
    data, graph = _load(graph)
    nodes = dict(graph.nodes)
    _refuse_unknown(nodes)
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in graph.edges:
        for end in (a, b):
            if end not in nodes:
                raise ValueError(f"edge ({a!r}, {b!r}) names a node that does not exist: {end!r}")
        before[b].append(a)
    net = Network()
    for name, node in nodes.items():
        if _kind(node) == "Input":
            net.add_input(name, _count(node.input_type["input"]))
    signals = {
        name: _signal(name, nodes, before, ())
        for name, node in nodes.items()
        if _kind(node) in NEURONS
    }
    for name, signal in signals.items():
        _add_neurons(net, name, nodes[name], signal, options)
    loops = _loops(signals)
    for name, signal in signals.items():
        _connect(net, name, nodes[name], signal, options, loops)
    net.origin = {"graph": data, "options": vars(options)}
    return net


def _load(graph) -> tuple[bytes | None, Any]:
    import nir

    if isinstance(graph, nir.NIRGraph):
        return None, graph
    path = Path(os.fspath(graph))
    data = path.read_bytes()
    try:
        return data, nir.read(path)
    except Exception as error:  # h5py and nir raise anything for a broken file
        raise ValueError(f"{path} is not a NIR graph: {error}") from error


def _kind(node) -> str:
    return type(node).__name__


def _refuse_unknown(nodes) -> None:
    for name, node in nodes.items():
        if _kind(node) not in ("Input", "Output", *LINEAR, *NEURONS):
            known = ", ".join(("Input", "Output", *LINEAR, *NEURONS))
            raise ValueError(f"node {name!r} is a {_kind(node)}; evsim can represent {known}")


def _count(shape) -> int:
    return int(np.prod(np.asarray(shape, dtype=np.int64)))


def _signal(name, nodes, before, seen) -> Signal:
    """Sum of the signals on the edges into a node."""
    if name in seen:
        raise ValueError(f"nodes {', '.join(seen)} form a cycle without a neuron")
    total = Signal()
    for source in before[name]:
        one = _output(source, nodes, before, (*seen, name))
        if total.size is not None and one.size != total.size:
            raise ValueError(f"edges into node {name!r} carry {total.size} and {one.size} values")
        total.parts += one.parts
        total.bias = total.bias + one.bias
        total.size = one.size
    return total


def _output(name, nodes, before, seen) -> Signal:
    """The signal that leaves a node."""
    node, kind = nodes[name], _kind(nodes[name])
    if kind == "Input":
        return Signal([(name, None)], 0.0, _count(node.input_type["input"]))
    if kind in ("LIF", "CubaLIF", "IF"):
        return Signal([(name, None)], 0.0, _count(np.shape(node.v_threshold)))
    if kind == "LI":
        raise ValueError(f"node {name!r} (LI) feeds another node; only spikes can be transmitted")
    if kind == "Output":
        raise ValueError(f"node {name!r} (Output) has an outgoing edge")
    inner = _signal(name, nodes, before, seen)
    if kind == "Flatten":
        return inner
    weight = np.asarray(node.weight, float)
    if weight.ndim != 2 or (inner.size is not None and weight.shape[1] != inner.size):
        raise ValueError(
            f"node {name!r}: weight has shape {weight.shape} for {inner.size} input values"
        )
    bias = np.asarray(node.bias, float) if kind == "Affine" else 0.0
    parts = [(s, weight if m is None else weight @ m) for s, m in inner.parts]
    carried = weight @ np.broadcast_to(inner.bias, (weight.shape[1],))
    return Signal(parts, carried + bias, weight.shape[0])


def _field(node, name, default=None):
    value = getattr(node, name, None)
    value = default if value is None else value
    flat = np.asarray(value, float).ravel()
    # One value for all: the scalar form is faster, with the same bits.
    return float(flat[0]) if flat.size and (flat == flat[0]).all() else flat


def _add_neurons(net, name, node, signal, options: Options) -> None:
    kind = _kind(node)
    n = _count(np.shape(node.r))
    if signal.size not in (None, n):
        raise ValueError(f"node {name!r} has {n} neurons but receives {signal.size} values")
    r = _field(node, "r")
    bias = np.broadcast_to(r * np.asarray(signal.bias), (n,))
    shared: dict[str, Any] = {"bias": bias if np.any(bias != bias[0]) else float(bias[0])}
    leak = _field(node, "v_leak", 0.0)
    v_reset = _field(node, "v_reset", 0.0)
    if kind != "LI":
        shared |= {"v_th": _field(node, "v_threshold"), "v_reset": v_reset}
        shared |= {"reset": options.reset, "graze": options.compare}
    initial: dict[str, Any] = {}
    model: Neuron
    if kind == "IF":
        model = IF(**shared)
    elif kind == "LI":
        model = LI(tau_mem=_field(node, "tau"), v_leak=leak, **shared)
    elif kind == "LIF":
        model = DeltaLIF(tau_mem=_field(node, "tau"), v_leak=leak, **shared)
    else:
        # A constant input passes the synapse: it starts at 0 and relaxes to the bias.
        level = _field(node, "w_in", 1.0) * np.asarray(shared["bias"])
        shared["bias"] = level
        initial["i"] = -level
        model = LIF(
            tau_mem=_field(node, "tau_mem"), tau_syn=_field(node, "tau_syn"), v_leak=leak, **shared
        )
    if options.v_init == "v_reset":
        initial["v"] = v_reset
    elif options.v_init != "v_leak":
        initial["v"] = float(options.v_init)
    net.add_population(name, n, model, initial=initial)


def _gain(node, options: Options):
    """Height of the jump or pulse at the membrane or synapse, per unit of weight; (1)."""
    kind, r = _kind(node), _field(node, "r")
    gain = r * _field(node, "w_in", 1.0) if kind == "CubaLIF" else r
    if options.spikes == "pulse" or kind == "IF":
        return gain
    return gain / _field(node, "tau_syn" if kind == "CubaLIF" else "tau")


def _loops(signals) -> dict[str, int]:
    """Number of the strongly connected component of every population."""
    names = list(signals)
    index = {name: k for k, name in enumerate(names)}
    edges = [(index[s], index[t]) for t in names for s, _ in signals[t].parts if s in index]
    graph = scipy.sparse.coo_array(
        (np.ones(len(edges)), np.array(edges, int).reshape(-1, 2).T), shape=(len(names),) * 2
    )
    _, label = scipy.sparse.csgraph.connected_components(graph, connection="strong")
    return {name: int(label[index[name]]) for name in names}


def _connect(net, name, node, signal, options: Options, loops) -> None:
    n = net.size(name)
    gain = np.broadcast_to(np.asarray(_gain(node, options)), (n,))
    for source, matrix in signal.parts:
        delay = 0.0
        if source == name or (source in loops and loops[source] == loops[name]):
            if options.recurrent_delay is None:
                raise ValueError(
                    f"edge {source!r} -> {name!r} lies on a cycle: give recurrent_delay"
                )
            delay = float(options.recurrent_delay)
        if matrix is None:
            weight: Any = scipy.sparse.diags_array(gain)
        else:
            weight = np.ascontiguousarray((gain[:, None] * matrix).T)
        label = f"{source}->{name}"
        while label in net.projections:
            label += "'"
        net.connect(source, name, weight, delay, pulse_width=options.pulse_width, name=label)
