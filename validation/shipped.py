"""The networks that are recorded for evsim: their neurons, and how some of them travel.

A network that travels goes through its framework's own NIR exporter and importer before it is
recorded. Frameworks are imported inside the functions.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from validation import networks, tensors
from validation.networks import KITS, LAYERS, SIZES, WEIGHTS


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """One recording: the network, and what is done to it before it is recorded.

    Attributes
    ----------
    neurons
        The three layers of neurons, freshly made.
    gain
        Factor on torch's initial weights, with which most layers fire from the start; the
        learning rate grows with it.
    travel
        `(model, x) -> model` through the framework's own exporter and importer.
    graph
        `(model) -> NIRGraph` that declares the network instead of the manifest, where NIR can
        state what it does.
    """

    name: str
    framework: str
    label: str
    neurons: Callable[[], list[Any]]
    seed: int
    gain: float = 2.0
    travel: Callable[[Any, Any], Any] | None = None
    graph: Callable[[Any], Any] | None = None

    def build(self) -> Any:
        """The network, untrained."""
        return networks.build(self.framework, self.neurons, self.gain)


# -------------------------------------------------------------------------------- the networks


def _snntorch() -> list[Any]:
    """Soft and hard reset, delayed and immediate, with and without a synapse."""
    from snntorch import Leaky, Synaptic, surrogate

    shared = {"init_hidden": True, "spike_grad": surrogate.atan()}
    return [
        Leaky(beta=0.9, **shared),
        Synaptic(alpha=0.5, beta=0.9, **shared),
        Leaky(beta=0.95, reset_mechanism="zero", reset_delay=False, **shared),
    ]


def _snntorch_leaky() -> list[Any]:
    """As in its tutorials; parameters per neuron, without which the export fails.

    1 - 0.875 is a power of two, so that beta survives the way to tau and back to the bit.
    """
    import torch
    from snntorch import Leaky, surrogate

    return [
        Leaky(
            beta=torch.full((n,), 0.875),
            threshold=torch.ones(n),
            init_hidden=True,
            spike_grad=surrogate.atan(),
        )
        for n in SIZES[1:]
    ]


def _spikingjelly() -> list[Any]:
    from spikingjelly.activation_based.neuron import IFNode, LIFNode

    return [
        IFNode(),
        LIFNode(tau=4.0),
        LIFNode(tau=8.0, decay_input=False, v_reset=None),
    ]


def _norse() -> list[Any]:
    import norse.torch
    import torch

    box = norse.torch.LIFBoxParameters(tau_mem_inv=torch.tensor(1 / 0.01))
    cell = norse.torch.LIFParameters(
        tau_mem_inv=torch.tensor(1 / 0.01), tau_syn_inv=torch.tensor(1 / 0.005)
    )
    return [
        norse.torch.LIFBoxCell(p=box),
        norse.torch.LIFCell(p=cell),
        norse.torch.LIFBoxCell(p=box),
    ]


def _norse_box() -> list[Any]:
    """Parameters per neuron, which an exported graph needs."""
    import norse.torch
    import torch

    found = []
    for n in SIZES[1:]:
        p = norse.torch.LIFBoxParameters(
            tau_mem_inv=torch.full((n,), 1 / 0.01),
            v_leak=torch.zeros(n),
            v_th=torch.ones(n),
            v_reset=torch.zeros(n),
        )
        found.append(norse.torch.LIFBoxCell(p=p))
    return found


def _sinabs() -> list[Any]:
    from sinabs.layers import IAF, LIF

    return [LIF(tau_mem=10.0), IAF(), IAF()]


def _sinabs_lif() -> list[Any]:
    """Parameters per neuron, which an exported graph needs; `norm_input` is on by default."""
    import torch
    from sinabs.layers import LIF

    return [LIF(tau_mem=torch.full((n,), 5.0), spike_threshold=torch.ones(n)) for n in SIZES[1:]]


# ------------------------------------------------------------------------------ the round trips


def _through_snntorch(model: Any, x: Any) -> Any:
    from snntorch.export_nir import export_to_nir
    from snntorch.import_nir import import_from_nir

    KITS["snntorch"].run(model, x[:1])
    with contextlib.redirect_stdout(io.StringIO()):  # the importer prints its steps
        return import_from_nir(export_to_nir(model, x[0, 0]))


def _through_norse(model: Any, x: Any) -> Any:
    import norse.torch

    return norse.torch.from_nir(norse.torch.to_nir(model, x[0, :1]))


def _through_sinabs(model: Any, x: Any) -> Any:
    import sinabs.nir

    graph = sinabs.nir.to_nir(model, x[:, :1].transpose(0, 1))
    return tensors.flattened(sinabs.nir.from_nir(graph, num_timesteps=len(x)))


def _norse_graph(model: Any) -> Any:
    """The network as it was trained, time constants in seconds."""
    import nir

    shape = np.array(SIZES[:1])
    nodes: dict[str, Any] = {"input": nir.Input(input_type={"input": shape})}
    cells = [m for m in model.children() if hasattr(m, "p")]
    linears = networks.linears(model)
    for weight, layer, linear, cell in zip(WEIGHTS, LAYERS, linears, cells, strict=True):
        nodes[weight] = nir.Linear(weight=linear.weight.detach().numpy())
        p = {k: getattr(cell.p, k).numpy() for k in ("tau_mem_inv", "v_leak", "v_th", "v_reset")}
        nodes[layer] = nir.LIF(
            tau=1 / p["tau_mem_inv"].astype(float),
            r=np.ones_like(p["v_th"]),
            v_leak=p["v_leak"],
            v_threshold=p["v_th"],
            v_reset=p["v_reset"],
        )
    nodes["output"] = nir.Output(output_type={"output": np.array(SIZES[-1:])})
    names = list(nodes)
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(names)))


SHIPPED = (
    Shipped(name="01_snntorch", framework="snntorch", label="snnTorch", neurons=_snntorch, seed=1),
    Shipped(
        name="02_spikingjelly",
        framework="spikingjelly",
        label="SpikingJelly",
        neurons=_spikingjelly,
        seed=2,
    ),
    Shipped(name="03_norse", framework="norse", label="Norse", neurons=_norse, seed=3, gain=12.0),
    Shipped(name="04_sinabs", framework="sinabs", label="sinabs", neurons=_sinabs, seed=4),
    Shipped(
        name="05_norse_nir",
        framework="norse",
        label="Norse",
        neurons=_norse_box,
        seed=5,
        gain=12.0,
        travel=_through_norse,
        graph=_norse_graph,
    ),
    Shipped(
        name="06_snntorch_nir",
        framework="snntorch",
        label="snnTorch",
        neurons=_snntorch_leaky,
        seed=6,
        travel=_through_snntorch,
    ),
    Shipped(
        name="07_sinabs_nir",
        framework="sinabs",
        label="sinabs",
        neurons=_sinabs_lif,
        seed=7,
        gain=3.0,
        travel=_through_sinabs,
    ),
)
