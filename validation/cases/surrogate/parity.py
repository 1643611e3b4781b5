"""One layer of neurons in a framework and in `reference.bptt`: spikes and input gradients.

`framework(name)` runs the framework; what it answered is recorded, so that the comparison needs
none. `ours(name)` runs the reference on the same input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference import bptt

STEPS, NEURONS = 20, 50
#: What the frameworks keep 0.9, 1 - dt / tau_syn and exp(-1 / tau) as.
BETA32 = float(np.float32(0.9))
SYNAPSE32 = 1.0 - float(np.float32(0.2))
ALPHA32 = float(np.float32(np.exp(np.float32(-0.1))))


@dataclass(frozen=True)
class Pair:
    """A neuron of a framework and the same in the reference.

    Attributes
    ----------
    build : str
        Function of this module that runs the framework, and its options.
    neuron : dict
        For `bptt.lif_forward`.
    surrogate : str
    detach : bool
    synapse : float, optional
        Decay of a filter before the neuron.
    drive : float
        Scale of the input.
    tolerance : float
        Relative to the largest gradient; above rounding where the framework casts to float32.
    """

    build: str
    options: dict[str, Any]
    neuron: dict[str, Any]
    surrogate: str
    detach: bool
    synapse: float | None = None
    drive: float = 1.0
    tolerance: float = 1e-12


def pairs() -> dict[str, Pair]:
    """All pairs by name."""
    found: dict[str, Pair] = {}
    for reset in ("hard", "soft"):
        for detach in (False, True):
            end = f"{reset}, {'detached' if detach else 'attached'}"
            options = {"v_reset": 0.0 if reset == "hard" else None, "detach_reset": detach}
            common = dict(reset=reset, compare=">=")
            sigmoid = ("spikingjelly.Sigmoid", detach)
            found[f"spikingjelly.LIFNode {end}"] = Pair(
                "_spikingjelly", {"tau": 2.0, **options}, {"beta": 0.5, "gain": 0.5, **common},
                *sigmoid, drive=2.0,
            )  # fmt: skip
            found[f"spikingjelly.IFNode {end}"] = Pair(
                "_spikingjelly", options, {"beta": 1.0, **common}, *sigmoid
            )
    for reset, own in (("soft", "subtract"), ("hard", "zero"), ("none", "none")):
        for timing in bptt.TIMINGS:
            if reset == "none" and timing == "same_step":
                continue
            late = timing == "next_step"
            # Without delay the spike of the correction is attached, and what stays above the
            # threshold is reset once more: the weaker input keeps below twice the threshold.
            found[f"snntorch.Leaky {reset}, {timing}"] = Pair(
                "_snntorch", {"reset_mechanism": own, "reset_delay": late},
                dict(beta=BETA32, reset=reset, reset_timing=timing, compare=">"),
                "snntorch.atan", late, drive=1.0 if late else 0.5, tolerance=1e-6,
            )  # fmt: skip
    step = float(np.float32(0.1))  # dt / tau_mem, in Norse a product of float32 numbers
    lif: dict[str, Any] = dict(beta=1.0 - step, gain=step, reset="hard", compare=">")
    norse: dict[str, Any] = {"surrogate": "norse.super", "drive": 5.0}
    found["norse.LIFBoxCell attached"] = Pair(
        "_norse", {"cell": "LIFBoxCell"}, lif, detach=False, **norse
    )
    found["norse.LIFCell attached"] = Pair(
        "_norse", {"cell": "LIFCell"}, lif, detach=False, synapse=SYNAPSE32, **norse
    )
    found["norse.LIFRecurrentCell detached"] = Pair(
        "_norse", {"cell": "LIFRecurrentCell"}, lif, detach=True, synapse=SYNAPSE32, **norse
    )
    for norm in (False, True):
        gain = 1.0 - ALPHA32 if norm else 1.0
        found[f"sinabs.LIF norm_input={norm}"] = Pair(
            "_sinabs", {"norm_input": norm},
            dict(beta=ALPHA32, gain=gain, reset="soft", compare=">="),
            "sinabs.SingleExponential", False, drive=5.0 if norm else 1.0, tolerance=1e-6,
        )  # fmt: skip
    return found


def problem(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Input [T, 1, N] and gradient by the spikes."""
    rng = np.random.default_rng(20)
    x = rng.normal(0.35, 0.6, (STEPS, 1, NEURONS)) * pair.drive
    return x, rng.standard_normal(x.shape)


def ours(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and gradient by the input, from the reference."""
    pair = pairs()[name]
    x, c = problem(pair)
    current = x if pair.synapse is None else bptt.filter_forward(x, pair.synapse)
    run = bptt.lif_forward(current, **pair.neuron)
    back = bptt.lif_backward(run, c, pair.surrogate, detach=pair.detach)["current"]
    if pair.synapse is not None:
        back = bptt.filter_backward(current, back, pair.synapse)["x"]
    return run.spikes, back


def framework(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The same from the framework, which must be installed."""
    import torch

    pair = pairs()[name]
    x, c = problem(pair)
    inputs = torch.tensor(x, requires_grad=True)
    run: Callable[..., Any] = globals()[pair.build]
    spikes = run(inputs, **pair.options)
    spikes.backward(torch.tensor(c).to(spikes))
    assert inputs.grad is not None
    return spikes.detach().numpy().astype(float), inputs.grad.numpy()


def _spikingjelly(x, **options):
    from spikingjelly.activation_based import neuron

    kind = neuron.LIFNode if "tau" in options else neuron.IFNode
    return kind(step_mode="m", **options)(x)


def _snntorch(x, **options):
    import torch
    from snntorch import Leaky

    layer = Leaky(beta=0.9, **options)
    membrane, spikes = layer.reset_mem(), []
    for step in x:
        spike, membrane = layer(step, membrane)
        spikes.append(spike)
    return torch.stack(spikes)


def _norse(x, cell: str):
    import norse.torch as norse
    import torch

    if cell == "LIFRecurrentCell":
        layer = norse.LIFRecurrentCell(NEURONS, NEURONS).double()
        with torch.no_grad():
            layer.input_weights.copy_(torch.eye(NEURONS))
            layer.recurrent_weights.zero_()
    else:
        layer = getattr(norse, cell)()
    state, spikes = None, []
    for step in x:
        spike, state = layer(step, state)
        spikes.append(spike)
    return torch.stack(spikes)


def _sinabs(x, **options):
    from sinabs.activation import SingleSpike
    from sinabs.layers import LIF

    layer = LIF(tau_mem=10.0, spike_fn=SingleSpike, **options)
    return layer(x.transpose(0, 1)).transpose(0, 1)
