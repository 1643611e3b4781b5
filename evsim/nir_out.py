r"""Networks as NIR graphs.

NIR's resistance and input weights are chosen so that the weights of the graph are those of the
network, to the bit: :math:`R = \tau` for LIF and LI, :math:`w_{in} = \tau_{syn}` for CubaLIF and
CubaLI, 1 otherwise (equation (1) of `evsim.nir`). A constant input of a leaky neuron, which NIR
does not have, goes into its leak potential: the equation stays what it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from evsim.models.base import Neuron, exact_sum
from evsim.models.delta import DeltaLIF
from evsim.models.integrate import IF
from evsim.models.lif import LIF
from evsim.models.readout import LI
from evsim.network import Network, Projection
from evsim.nir import NEVER

#: Distinct delays within one projection, at most: each becomes a node.
MOST_DELAYS = 256


def to_nir(network: Network):
    """Write a network as a NIR graph; populations and inputs become nodes of their names.

    Parameters
    ----------
    network : Network
        Of `DeltaLIF`, `LIF` with one synapse type, `IF` with delta synapses, and `LI`, without
        refractory periods.

    Returns
    -------
    nir.NIRGraph
        A projection becomes a `Linear` of its name, behind a `Delay` where it has one;
        populations that reach nobody lead to an `Output`. `graph.metadata` says what NIR
        leaves open: pass these options to `from_nir`, and the delay of cycles without one.

    Raises
    ------
    ValueError
        Naming what NIR cannot say.

    Notes
    -----
    `from_nir` of the answer runs to the same bits, where projections are dense and have one delay
    each, and no leaky neuron has a bias. A synapse that is not there becomes a weight of 0, whose
    arrivals round the state. With a bias the leak potential is a rounded sum, and the voltage
    starts there unless `v_init` says otherwise: NIR has no initial states.
    """
    import nir

    pulses = _pulse_width(network)
    nodes: dict[str, Any] = {
        name: nir.Input({"input": np.array([n])}) for name, n in network.inputs.items()
    }
    edges: list[tuple[str, str]] = []
    for name, population in network.populations.items():
        nodes[name] = _neuron(nir, name, population.model, population.n, pulses is not None)
    slopes = {
        name: np.broadcast_to(np.asarray(population.model.bias, float), (population.n,))
        for name, population in network.populations.items()
        if isinstance(population.model, IF) and np.any(population.model.bias)
    }
    for projection in network.projections.values():
        edges += _synapses(nir, network, projection, nodes, slopes)
    for name, slope in slopes.items():  # those that nobody reaches
        label = _free(f"{name}.bias", nodes, network)
        nodes[label] = nir.Affine(np.zeros((slope.size, 1)), slope.copy())
        edges.append((label, name))
    heard = {p.pre for p in network.projections.values()}
    for name, population in network.populations.items():
        if name not in heard:
            label = _free(f"{name}.output", nodes, network)
            nodes[label] = nir.Output({"output": np.array([population.n])})
            edges.append((name, label))
    options = _options(network) | ({"pulse_width": pulses} if pulses is not None else {})
    return nir.NIRGraph(nodes, edges, metadata=options, type_check=False)


def _pulse_width(network: Network) -> float | None:
    widths = {p.pulse_width for p in network.projections.values()}
    if len(widths) > 1:
        raise ValueError("NIR has one kind of spike: projections differ in pulse_width")
    return widths.pop() if widths else None


def _options(network: Network) -> dict[str, str]:
    """Options of `from_nir` that all neurons agree in."""
    found = {"spikes": "dirac" if _pulse_width(network) is None else "pulse"}
    for option, field in (("reset", "reset"), ("compare", "graze")):
        values = {getattr(p.model, field) for p in network.populations.values() if p.model.spiking}
        if len(values) > 1:
            raise ValueError(f"NIR has one kind of {option}; populations have {sorted(values)}")
        if values:
            found[option] = values.pop()
    return found


def _neuron(nir, name: str, model: Neuron, n: int, pulses: bool):
    def full(value) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, float), (n,)))

    def refuse(what: str) -> ValueError:
        return ValueError(f"population {name!r}: NIR has no {what}")

    if np.any(getattr(model, "t_ref", 0.0)):
        raise refuse("refractory period")
    if isinstance(model, IF):
        if model.input != "delta":
            raise refuse(f"IF with input={model.input!r}")
        if np.all(np.asarray(model.v_th) == NEVER):
            return nir.I(full(1.0))
        return nir.IF(full(1.0), full(model.v_th), full(model.v_reset))
    if not isinstance(model, (LIF, DeltaLIF, LI)) or model.ports:
        raise refuse(
            f"{type(model).__name__}" + (" with several synapse types" * bool(model.ports))
        )
    leak = full(exact_sum(model.v_leak, model.bias))
    fires = () if isinstance(model, LI) else (full(model.v_th), full(model.v_reset))
    if isinstance(model, DeltaLIF) or getattr(model, "tau_syn", None) is None:
        r = full(1.0 if pulses else model.tau_mem)
        cls = nir.LI if isinstance(model, LI) else nir.LIF
        return cls(full(model.tau_mem), r, leak, *fires)
    w_in = full(1.0 if pulses else model.tau_syn)
    taus = (full(model.tau_syn), full(model.tau_mem))
    cls = nir.CubaLI if isinstance(model, LI) else nir.CubaLIF
    return cls(*taus, full(1.0), leak, *fires, w_in=w_in)


def _synapses(nir, network: Network, projection: Projection, nodes, slopes):
    """Edges of a projection, whose nodes are put into `nodes`, with what its target has left of
    `slopes`."""
    shape = (network.size(projection.pre), network.size(projection.post))
    edges = []
    for delay, weight in _by_delay(projection, shape):
        label = _free(projection.name, nodes, network)
        matrix, slope = np.ascontiguousarray(weight.T), slopes.pop(projection.post, None)
        nodes[label] = nir.Linear(matrix) if slope is None else nir.Affine(matrix, slope.copy())
        before = projection.pre
        if delay > 0.0:
            before = _free(f"{label}.delay", nodes, network)
            nodes[before] = nir.Delay(np.full(shape[0], delay))
            edges.append((projection.pre, before))
        edges += [(before, label), (label, projection.post)]
    return edges


def _by_delay(projection: Projection, shape):
    """(delay, dense weights) of every distinct delay."""
    if projection.indptr is None:
        return [(float(projection.delay), projection.weight)]
    distinct, which = np.unique(projection.delay, return_inverse=True)
    if distinct.size > MOST_DELAYS:
        raise ValueError(
            f"projection {projection.name!r} has {distinct.size} distinct delays; NIR has delays "
            f"by neuron, so that more than {MOST_DELAYS} would make a graph beyond use"
        )
    source = np.repeat(np.arange(shape[0]), np.diff(projection.indptr))
    which = np.broadcast_to(which, projection.weight.shape)
    found = []
    for k, delay in enumerate(distinct.tolist()):
        mine = which == k
        place = (source[mine], np.asarray(projection.targets)[mine])
        found.append((delay, scipy.sparse.coo_array((projection.weight[mine], place), shape)))
    return [(delay, matrix.toarray()) for delay, matrix in found]


def _free(label: str, nodes, network: Network) -> str:
    """A name that nothing else has."""
    while label in nodes or label in network.populations:
        label += "'"
    return label
