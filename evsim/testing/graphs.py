r"""Strategies of NIR graphs, and of rasters on a grid, aimed at what importers and clocks break on.

A graph says what a network of `evsim.testing.strategies` says, its gains chosen such that no
weight is rounded: R w_in / tau_syn of a CubaLIF, R / tau of a LIF and R of an IF are one. Delays
are nodes of their own, of one delay for each projection.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from evsim.testing.case import Case, Layer, Wire
from evsim.testing.strategies import grazing_cases, networks, neurons

#: Kinds of neurons that NIR has a node for.
NODES = {"lif": "CubaLIF", "delta": "LIF", "if": "IF"}


class Graphed(NamedTuple):
    """A NIR graph, what it leaves open (as `evsim.from_nir` takes it), and what it says."""

    graph: Any
    options: dict[str, Any]
    case: Case


def graph_of(case: Case) -> Any:
    """A case as a NIR graph.

    Raises
    ------
    ValueError
        If NIR has no word for it: a refractory time, a bias, other models, delays by synapse.
    """
    import nir

    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for name, n in case.sizes.items():
        nodes[name] = nir.Input({"input": np.array([n])})
    for layer in case.layers:
        nodes[layer.name] = _node(nir, layer)
        nodes[f"out {layer.name}"] = nir.Output({"output": np.array([layer.n])})
        edges.append((layer.name, f"out {layer.name}"))
    for k, w in enumerate(case.wires):
        if isinstance(w.delay, tuple):
            raise ValueError(f"{w.pre!r} -> {w.post!r} has a delay for each synapse")
        weight = np.array(w.weight, float).T
        chain = [w.pre, f"delay {k}", f"weight {k}", w.post]
        nodes[chain[1]] = nir.Delay(np.full(weight.shape[1], w.delay))
        nodes[chain[2]] = nir.Linear(weight)
        edges += list(pairwise(chain))
    return nir.NIRGraph(nodes=nodes, edges=edges, type_check=False)


def _node(nir: Any, layer: Layer) -> Any:
    """One population; the gain of its synapses is one."""
    if layer.kind not in NODES or layer.params.get("t_ref") or layer.params.get("bias"):
        raise ValueError(f"NIR cannot say {layer}")

    def each(name: str, default: float = 0.0) -> np.ndarray:
        return np.array([layer.value(name, k, default) for k in range(layer.n)], float)

    fires = {"v_threshold": each("v_th", 1.0), "v_reset": each("v_reset")}
    if layer.kind == "if":
        return nir.IF(r=np.ones(layer.n), **fires)
    tau, leak = each("tau_mem"), {"v_leak": each("v_leak")}
    if layer.kind == "delta":
        return nir.LIF(tau=tau, r=tau, **leak, **fires)
    syn, one = each("tau_syn"), np.ones(layer.n)
    return nir.CubaLIF(tau_mem=tau, tau_syn=syn, r=one, w_in=syn, **leak, **fires)


def _sayable(case: Case) -> Case:
    """Without what NIR has no word for; one reset for all.

    NIR has no refractory time, without which a cycle that excites itself fires ever faster: all
    between populations of a network with cycles inhibits.
    """
    reset = case.layers[0].params.get("reset", "value")

    def layer(x: Layer) -> Layer:
        return replace(x, params={**x.params, "t_ref": 0.0, "bias": 0.0, "reset": reset})

    def wire(w: Wire) -> Wire:
        inhibits = case.cyclic() and w.pre not in case.sizes
        calmed = w.map(lambda x: -abs(x)) if inhibits else w
        return replace(calmed, delay=w.delay[0][0] if isinstance(w.delay, tuple) else w.delay)

    return replace(case.each_layer(layer), wires=tuple(map(wire, case.wires)))


@st.composite
def graphs(draw, kind: str = "lif", *, recurrent: bool = False) -> Graphed:
    """NIR graphs of single neurons and networks: ties, bursts, grazes, equal time constants.

    Parameters
    ----------
    kind : str, optional
        "lif", "delta" or "if": nodes CubaLIF, LIF or IF.
    recurrent : bool, optional
        Whether populations lie on cycles.

    Returns
    -------
    strategy of Graphed
    """
    some = [networks(kind, recurrent=recurrent, biased=False)]
    if not recurrent:
        some += [neurons(kind, least=1, biased=False)]
        some += [grazing_cases()] if kind == "lif" else []
    case = _sayable(draw(st.one_of(some)))
    options = {"spikes": "dirac", "compare": ">=", "reset": case.layers[0].params["reset"]}
    return Graphed(graph_of(case), options, case)


# --------------------------------------------------------------------------------- rasters

HOW = ("silent", "sparse", "tied", "burst", "late", "saturated")


@st.composite
def rasters(draw, steps: int, samples: int, units: int, *, most: int = 1) -> np.ndarray:
    """Input spikes on a grid as a clock counts them, of shape (steps, samples, units).

    Each sample is silent, sparse, of all units at a few instants, a burst, a single late spike
    after a long silence, or saturated: every unit, `most` times in every step.
    """
    found = np.zeros((steps, samples, units), np.int32)
    for b in range(samples):
        how = draw(st.sampled_from(HOW))
        if how == "saturated":
            found[:, b] = most
        elif how == "late":
            found[-1 - draw(st.integers(0, 2)), b, draw(st.integers(0, units - 1))] = 1
        elif how in ("tied", "burst"):
            start = draw(st.integers(0, steps - 1))
            found[start : start + (5 if how == "burst" else 1), b] = most
        elif how == "sparse":
            places = st.tuples(st.integers(0, steps - 1), st.integers(0, units - 1))
            for t, unit in draw(st.lists(places, max_size=12)):
                found[t, b, unit] = 1
    return found


@st.composite
def grid_weights(draw, targets: int, sources: int, threshold: float = 1.0) -> np.ndarray:
    """Weights of which sums reach the threshold, or miss it by one rounding of float32.

    Shape (targets, sources), float32: multiples of an eighth of the threshold, and the floats
    beside it.
    """
    threshold_32 = np.float32(threshold)
    beside = [np.nextafter(threshold_32, np.float32(x)) for x in (0.0, 2 * threshold)]
    round_ones = st.integers(-8, 8).map(lambda k: np.float32(k * threshold / 8))
    one = st.one_of(round_ones, st.sampled_from([threshold_32, *beside]))
    rows = draw(st.lists(one, min_size=targets * sources, max_size=targets * sources))
    return np.array(rows, np.float32).reshape(targets, sources)
