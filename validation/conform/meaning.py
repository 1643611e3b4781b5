"""What follows from a NIR graph on a grid of steps, whoever computes it.

A spike is a value of 1 that lasts one step, and a recurrent edge takes one step: the conventions
of every importer. A neuron has several right readings, one for each discretisation that some
framework documents (Euler, exponential); each is a `Declared` layer, so that `validation.causes`
can say why none of them fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evsim.nir_linear import LINEAR, matrix_of
from validation import adapters
from validation.declaration import as_spiking
from validation.declared import Declared
from validation.discrete import check
from validation.model import Model

#: Neurons that fire.
SPIKING = ("IF", "LIF", "CubaLIF")


def chain_of(graph: Any) -> list[tuple[str, Any]]:
    """The nodes of a graph without branches, in order, its ports left out."""
    after = dict(graph.edges)
    name, found = "input", []
    while (name := after[name]) != "output":
        found.append((name, graph.nodes[name]))
    return found


def received(graph: Any, x: np.ndarray, dt: float, node: str) -> np.ndarray:
    """What a node of a chain receives, [T, B, ...] in float32."""
    for name, one in chain_of(graph):
        if name == node:
            return x
        x = _sent(name, one, x, dt)
    raise ValueError(f"the graph has no node {node!r}")


def _sent(name: str, node: Any, x: np.ndarray, dt: float) -> np.ndarray:
    """What a node makes of its input."""
    kind = type(node).__name__
    if kind in SPIKING:
        d = readings(node, x, dt)[0]
        return d.run(forced=False, bound=False).spikes.reshape(x.shape).astype(np.float32)
    known = stateless(name, node, x, dt)
    if known is None:
        raise ValueError(f"a {kind} has no output of its own here")
    return known


def stateless(name: str, node: Any, x: np.ndarray, dt: float) -> np.ndarray | None:
    """The output of a node without state, or None for a neuron."""
    kind = type(node).__name__
    if kind in LINEAR:
        matrix, bias, shape = matrix_of(name, node, x.shape[2:])
        flat = x.reshape(x.shape[0] * x.shape[1], -1).astype(np.float64)
        out = flat if matrix is None else (matrix @ flat.T).T
        return (out + bias).reshape(*x.shape[:2], *shape).astype(np.float32)
    if kind == "Threshold":
        return (x > np.asarray(node.threshold)).astype(np.float32)
    if kind == "Delay":
        return _delayed(x, np.rint(np.asarray(node.delay) / dt).astype(int))
    return None


def _delayed(x: np.ndarray, steps: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    for unit in np.ndindex(x.shape[2:]):
        late = int(steps[unit])
        out[(slice(late, None), slice(None), *unit)] = x[(slice(len(x) - late), slice(None), *unit)]
    return out


def readings(node: Any, x: np.ndarray, dt: float, first: str = "") -> list[Declared]:
    """A neuron node as a layer, in every discretisation that is documented somewhere.

    Parameters
    ----------
    node : a NIR neuron
    x : ndarray, shape (T, B, ...)
        What it receives.
    dt : float
    first : str
        Framework whose own discretisation comes first; then those that are imported here.
    """
    spiking = as_spiking(node)
    flat = x.reshape(*x.shape[:2], -1)
    models = [adapters.model(name) for name in adapters.names()]
    models.sort(key=lambda model: (not model.name.startswith(f"{first}."), _elsewhere(model)))
    found = (_reading(model, spiking, flat, dt) for model in models)
    return [d for d in found if d is not None]


def _elsewhere(model: Model) -> bool:
    """Whether its framework runs in an interpreter of its own."""
    return hasattr(adapters.adapters().get(model.name.partition(".")[0]), "PEER")


def starts(d: Declared) -> Iterator[Declared]:
    """A reading with every initial voltage that NIR allows, the framework's own first."""
    assert d.x is not None
    yield d
    levels = [np.zeros(()), d.node.v_reset, getattr(d.node, "v_leak", np.zeros(()))]
    for level in {np.asarray(level, np.float32).tobytes(): level for level in levels}.values():
        v = np.broadcast_to(np.asarray(level, d.x.dtype), d.x.shape[1:])
        yield replace(d, initial={"v": v})


def _reading(model: Model, node: Any, x: np.ndarray, dt: float) -> Declared | None:
    try:
        params, semantics = model.from_nir_node(node, dt)
        model.constants(model.resolve(params, x.shape[2]), semantics, dt, np.float64)
    except ValueError:
        return None
    return Declared(
        name="node",
        model=model,
        params=params,
        semantics=semantics,
        dt=dt,
        x=x,
        spikes=None,
        membrane=None,
        synaptic_current=None,
        initial={},
        arithmetic=None,
        node=node,
    )


def observed(d: Declared, y: np.ndarray, analog: bool) -> Declared | None:
    """The layer with an observed output; None where spikes are asked for and `y` holds none."""
    assert d.x is not None
    flat = y.reshape(d.x.shape)
    if analog:  # the rounding of the threshold must not count
        switches = {"reset": "none", "reset_timing": "same_step", "membrane_point": "post_reset"}
        integrating = d.semantics.updated(switches)
        silent = np.zeros(d.x.shape, np.int64)
        return replace(d, membrane=flat, spikes=silent, semantics=integrating)
    whole = np.isfinite(flat).all() and np.array_equal(flat, np.rint(flat)) and flat.min() >= 0
    return replace(d, spikes=flat.astype(np.int64)) if whole else None


# ---------------------------------------------------------------------------------------- loops


def loop_parts(graph: Any) -> tuple[Any, Any, Any] | None:
    """First matrix, neuron and recurrent matrix of a loop, flat or nested; None of others."""
    nested = (node for node in graph.nodes.values() if type(node).__name__ == "NIRGraph")
    within = next(nested, graph)
    edges = set(within.edges)
    pairs = [(a, b) for a, b in edges if (b, a) in edges and _fires(within.nodes[a])]
    first = [n for name, n in graph.nodes.items() if _is_first(name, n, graph.edges)]
    if len(pairs) != 1 or len(first) != 1:
        return None
    ((lif, back),) = pairs
    return first[0], within.nodes[lif], within.nodes[back]


def _fires(node: Any) -> bool:
    return type(node).__name__ in SPIKING


def _is_first(name: str, node: Any, edges: Sequence[tuple[str, str]]) -> bool:
    return type(node).__name__ in LINEAR and ("input", name) in edges


def loops(graph: Any, x: np.ndarray, dt: float, kind: str, first: str) -> Iterator[Loop]:
    """A loop in every discretisation, as the graph says ("whole"), or as it is misread.

    "cut" leaves the recurrent edges out; "rewired" sends the input through the recurrent matrix.
    """
    parts = loop_parts(graph)
    assert parts is not None
    matrix, lif, back = parts
    fed = stateless("fc", matrix, x, dt)
    assert fed is not None
    through = np.asarray(back.weight, np.float32).T
    if kind == "rewired":
        fed = fed @ through
    gain = np.float32(0.0 if kind == "cut" else 1.0)
    silent = np.zeros(fed.shape, np.int64)
    for d in readings(lif, fed, dt, first):
        yield Loop(replace(d, spikes=silent), gain * through)


@dataclass(frozen=True)
class Loop:
    """A layer, and the matrix through which its spikes come back."""

    layer: Declared
    through: np.ndarray
    delay: int = 1  #: steps after which its spikes come back

    @property
    def fed(self) -> np.ndarray:
        """What reaches its neurons from outside [T, B, N]."""
        assert self.layer.x is not None
        return self.layer.x

    def run(self) -> np.ndarray:
        """Its spikes [T, B, N]."""
        assert self.layer.x is not None
        x = np.array(self.layer.x)
        for t in range(self.delay, len(x)):
            before = replace(self.layer, x=x[: t - self.delay + 1])
            sent = before.run(forced=False, bound=False).spikes[-1]
            x[t] += sent.astype(np.float32) @ self.through
        return replace(self.layer, x=x).run(forced=False, bound=False).spikes


def fits(d: Declared) -> Declared | None:
    """The reading from the initial voltage with which it accounts for everything observed."""
    return next((started for started in starts(d) if check(started).agrees), None)
