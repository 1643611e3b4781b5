r"""Networks from NIR graphs.

NIR leaves open what the same file means: whether a spike is a Dirac impulse or a pulse of
height 1, how a neuron is reset, how `v > v_threshold` treats equality, how long a recurrent
edge takes, and where the voltage starts. Each is an argument of `from_nir`; nothing is guessed.

Chains of linear nodes (Affine, Linear, Scale, Flatten, convolutions, pools) and Delays are folded
into projections, and graphs within the graph into it, their nodes named `outer.inner`. With Dirac
spikes, a spike through weight :math:`w` makes

.. math::
    v \text{ of LIF, LI jump by } R w / \tau, \qquad v \text{ of IF, I by } R w, \qquad
    R I \text{ of CubaLIF, CubaLI by } R\, w_{in} w / \tau_{syn};              \tag{1}

with pulses, :math:`R w` (for the latter :math:`R\, w_{in} w`) is the height of a rectangular
current.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
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
from evsim.nir_file import read_graph
from evsim.nir_linear import LINEAR, check_real, matrix_of

#: NIR nodes that are populations; those that fire.
SPIKING = ("LIF", "CubaLIF", "IF")
NEURONS = (*SPIKING, "LI", "CubaLI", "I")
KNOWN = ("Input", "Output", "NIRGraph", "Delay", *LINEAR, *NEURONS)
#: The threshold of a neuron that never fires: no voltage is above it.
NEVER = float(np.finfo(float).max)


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


@dataclass(frozen=True)
class Part:
    """What one source adds to a signal: a matrix (n_out, n_source), or None for the identity."""

    source: str
    matrix: Any = None
    delay: float = 0.0
    #: one of several parts that a node with several delays made of one
    split: str = ""


@dataclass
class Signal:
    """A weighted sum of spike trains plus a constant, at the output of a node."""

    parts: list[Part] = field(default_factory=list)
    bias: Any = 0.0
    shape: tuple[int, ...] | None = None

    @property
    def size(self) -> int | None:
        """How many values it has, where that is known."""
        return None if self.shape is None else int(np.prod(self.shape))


class Pass:
    """Input or output of a graph within a graph: hands on what it gets."""


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
        Delay of the edges between nodes on a common cycle [s], where no Delay lies on them.
    v_init : {"v_leak", "v_reset"} or float, optional
        Voltage at time 0.

    Raises
    ------
    ValueError
        Naming a node that cannot be represented, or an argument.
    """
    options = Options(spikes, pulse_width, reset, compare, recurrent_delay, v_init)
    data, graph = _load(graph)
    nodes, signals = wired(graph)
    net = Network()
    for name, node in nodes.items():
        if _kind(node) == "Input":
            net.add_input(name, int(np.prod(_shape(node.input_type["input"]))))
    for name, signal in signals.items():
        _add_neurons(net, name, nodes[name], signal, options)
    loops = cycles(signals)
    for name, signal in signals.items():
        _connect(net, name, nodes[name], signal, options, loops)
    net.origin = {"graph": data, "options": vars(options)}
    return net


def wired(graph) -> tuple[dict[str, Any], dict[str, Signal]]:
    """Nodes, those of graphs within the graph as `outer.inner`, and what each neuron receives.

    A node that cannot be represented is a ValueError that names it.
    """
    nodes, edges = _flat(graph)
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        before[b].append(a)
    neurons = [name for name, node in nodes.items() if _kind(node) in NEURONS]
    return nodes, {name: _signal(name, nodes, before, ()) for name in neurons}


def _load(graph) -> tuple[bytes | None, Any]:
    import nir

    if isinstance(graph, nir.NIRGraph):
        return None, graph
    path = Path(os.fspath(graph))
    return path.read_bytes(), read_graph(path)


def _kind(node) -> str:
    return type(node).__name__


def _flat(graph, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges, those of graphs within the graph as `outer.inner`."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for name, node in graph.nodes.items():
        kind, full = _kind(node), prefix + name
        if kind not in KNOWN:
            known = ", ".join(KNOWN)
            raise ValueError(f"node {full!r} is a {kind}; evsim can represent {known}")
        check_real(full, node)
        if kind == "NIRGraph":
            inner, more = _flat(node, f"{full}.")
            nodes |= inner
            edges += more
        else:
            nodes[full] = Pass() if prefix and kind in ("Input", "Output") else node
    for a, b in graph.edges:
        for end in (a, b):
            if end not in graph.nodes:
                raise ValueError(f"edge ({a!r}, {b!r}) names a node that does not exist: {end!r}")
        edges.append((_end(graph, prefix, a, "Output"), _end(graph, prefix, b, "Input")))
    return nodes, edges


def _end(graph, prefix: str, name: str, kind: str) -> str:
    """Where an edge ends: at a node, or at the only input or output of a graph within."""
    node = graph.nodes[name]
    if _kind(node) != "NIRGraph":
        return prefix + name
    inner = [key for key, value in node.nodes.items() if _kind(value) == kind]
    if len(inner) != 1:
        raise ValueError(f"node {prefix + name!r} has {len(inner)} nodes {kind}; an edge wants one")
    return f"{prefix}{name}.{inner[0]}"


def _shape(shape) -> tuple[int, ...]:
    return tuple(np.asarray(shape, dtype=np.int64).ravel().tolist())


def _signal(name, nodes, before, seen) -> Signal:
    """Sum of the signals on the edges into a node."""
    if name in seen:
        raise ValueError(f"nodes {', '.join(seen)} form a cycle without a neuron")
    total = Signal()
    for source in before[name]:
        one = _output(source, nodes, before, (*seen, name))
        if total.size is not None and one.size is not None and one.size != total.size:
            raise ValueError(f"edges into node {name!r} carry {total.size} and {one.size} values")
        total.parts += one.parts
        total.bias = total.bias + one.bias
        total.shape = total.shape if one.shape is None else one.shape
    return total


def _output(name, nodes, before, seen) -> Signal:
    """The signal that leaves a node."""
    node, kind = nodes[name], _kind(nodes[name])
    if kind == "Input":
        return Signal([Part(name)], 0.0, _shape(node.input_type["input"]))
    if kind in SPIKING:
        return Signal([Part(name)], 0.0, np.shape(node.v_threshold))
    if kind in NEURONS:
        raise ValueError(
            f"node {name!r} ({kind}) feeds another node; only spikes can be transmitted"
        )
    if kind == "Output":
        raise ValueError(f"node {name!r} (Output) has an outgoing edge")
    inner = _signal(name, nodes, before, seen)
    if kind == "Pass":
        return inner
    if kind == "Delay":
        return _delayed(name, np.ravel(np.asarray(node.delay, float)), inner)
    matrix, bias, shape = matrix_of(name, node, inner.shape)
    if matrix is None:
        return Signal(inner.parts, inner.bias, shape)
    carried = matrix @ np.broadcast_to(inner.bias, (matrix.shape[1],))
    return Signal([_through(matrix, part) for part in inner.parts], carried + bias, shape)


def _through(matrix, part: Part) -> Part:
    return replace(part, matrix=matrix if part.matrix is None else matrix @ part.matrix)


def _delayed(name: str, delay: np.ndarray, inner: Signal) -> Signal:
    """The signal behind a Delay; a constant is what it always was."""
    if inner.size not in (None, delay.size):
        raise ValueError(f"node {name!r}: {delay.size} delays for {inner.size} values")
    if not (np.isfinite(delay) & (delay >= 0.0)).all():
        raise ValueError(f"node {name!r}: a delay must be finite and non-negative")
    parts = []
    for part in inner.parts:
        for one in np.unique(delay):
            if (delay == one).all():
                parts.append(replace(part, delay=part.delay + float(one)))
                continue
            rows = scipy.sparse.diags_array((delay == one).astype(float)).tocsr()
            rows.eliminate_zeros()
            matrix = rows if part.matrix is None else rows @ scipy.sparse.csr_array(part.matrix)
            total = part.delay + float(one)
            parts.append(replace(part, matrix=matrix, delay=total, split=part.split or name))
    return Signal(parts, inner.bias, inner.shape or delay.shape)


def _field(node, name, default=None):
    value = getattr(node, name, None)
    return _one(default if value is None else value)


def _one(values):
    """Values as one number where they agree: the scalar form is faster, with the same bits."""
    flat = np.asarray(values, float).ravel()
    return float(flat[0]) if flat.size and (flat == flat[0]).all() else flat


def _add_neurons(net, name, node, signal, options: Options) -> None:
    kind = _kind(node)
    n = int(np.prod(np.shape(node.r)))
    if signal.size not in (None, n):
        raise ValueError(f"node {name!r} has {n} neurons but receives {signal.size} values")
    r = _field(node, "r")
    bias = np.broadcast_to(r * np.asarray(signal.bias), (n,))
    shared: dict[str, Any] = {"bias": _one(bias)}
    leak = _field(node, "v_leak", 0.0)
    v_reset = _field(node, "v_reset", 0.0)
    if kind in SPIKING:
        shared |= {"v_th": _field(node, "v_threshold"), "v_reset": v_reset}
        shared |= {"reset": options.reset, "graze": options.compare}
    initial: dict[str, Any] = {}
    model: Neuron
    if kind == "IF":
        model = IF(**shared)
    elif kind == "I":
        model = IF(v_th=NEVER, **shared)
    elif kind == "LI":
        model = LI(tau_mem=_field(node, "tau"), v_leak=leak, **shared)
    elif kind == "LIF":
        model = DeltaLIF(tau_mem=_field(node, "tau"), v_leak=leak, **shared)
    else:
        # A constant input passes the synapse: it starts at 0 and relaxes to the bias.
        with np.errstate(all="ignore"):  # what is not finite is refused by its name
            level = _one(_field(node, "w_in", 1.0) * np.asarray(shared["bias"]))
        shared["bias"] = level
        initial["i"] = -level
        cls = LIF if kind == "CubaLIF" else LI
        model = cls(
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
    cuba = kind in ("CubaLIF", "CubaLI")
    gain = r * _field(node, "w_in", 1.0) if cuba else r
    if options.spikes == "pulse" or kind in ("IF", "I"):
        return gain
    return gain / _field(node, "tau_syn" if cuba else "tau")


def cycles(signals) -> dict[str, int]:
    """Number of the strongly connected component of every population."""
    names = list(signals)
    index = {name: k for k, name in enumerate(names)}
    edges = [
        (index[s], index[t])
        for t in names
        for s in (p.source for p in signals[t].parts)
        if s in index
    ]
    graph = scipy.sparse.coo_array(
        (np.ones(len(edges)), np.array(edges, int).reshape(-1, 2).T), shape=(len(names),) * 2
    )
    _, label = scipy.sparse.csgraph.connected_components(graph, connection="strong")
    return {name: int(label[index[name]]) for name in names}


def _connect(net, name, node, signal, options: Options, loops) -> None:
    gain = np.broadcast_to(np.asarray(_gain(node, options)), (net.size(name),))
    split: dict[tuple[str, str], list[tuple[Any, float]]] = {}
    for part in signal.parts:
        source, delay = part.source, part.delay
        if delay == 0.0 and source in loops and loops[source] == loops[name]:
            if options.recurrent_delay is None:
                raise ValueError(
                    f"edge {source!r} -> {name!r} lies on a cycle: give recurrent_delay"
                )
            delay = float(options.recurrent_delay or 0.0)
        weight = _weight(gain, part.matrix)
        if part.split:
            split.setdefault((source, part.split), []).append((weight, delay))
        else:
            _join(net, source, name, options, weight, delay)
    for (source, _), pieces in split.items():
        coo = [scipy.sparse.coo_array(weight) for weight, _ in pieces]
        pre, post = (np.concatenate([c.coords[k] for c in coo]) for k in (0, 1))
        delays = np.concatenate([np.full(c.nnz, d) for c, (_, d) in zip(coo, pieces, strict=True)])
        values = np.concatenate([c.data for c in coo])
        _join(net, source, name, options, values, delays, pre_units=pre, post_units=post)


def _weight(gain: np.ndarray, matrix) -> Any:
    """Jumps, or heights of pulses, (n_source, n): equation (1)."""
    if matrix is None:
        return scipy.sparse.diags_array(gain)
    if not scipy.sparse.issparse(matrix):
        return np.ascontiguousarray((gain[:, None] * matrix).T)
    weight = (scipy.sparse.diags_array(gain) @ matrix).T.tocsr()
    weight.sort_indices()
    return weight


def _join(net, source, name, options: Options, weight, delay, **units) -> None:
    label = f"{source}->{name}"
    while label in net.projections:
        label += "'"
    width = options.pulse_width
    net.connect(source, name, weight, delay, pulse_width=width, name=label, **units)
