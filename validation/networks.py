"""Small spiking networks on real digits in four frameworks: built, trained and run.

The digits are those of scikit-learn (8 by 8 pixels, 1797 of them). A pixel becomes a train of
Bernoulli spikes whose rate grows with its brightness; the prediction is the neuron of the last
layer that fires most. A framework is described by a `Kit`; it is imported inside the functions.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

STEPS = 32
SIZES = (64, 48, 32, 10)
#: Names of the layers of neurons, and of the weights in front of each.
LAYERS = ("hidden1", "hidden2", "readout")
WEIGHTS = ("fc1", "fc2", "fc3")
#: Probability of a spike per step of the brightest pixel.
RATE = 0.5
#: Weights are multiples of this after training: sums of them are then exact in float32 in any
#: order, so that the input currents do not depend on the machine that records them.
GRID = 2.0**-14
TRAINED, EPOCHS, BATCH = 1437, 20, 64


@dataclass(frozen=True)
class Kit:
    """How a framework is used.

    Attributes
    ----------
    join
        `(modules by name) -> model`.
    run
        `(model, x [T, B, 64]) -> spikes [T, B, 10]`, from rest.
    """

    join: Callable[[OrderedDict[str, Any]], Any]
    run: Callable[[Any, Any], Any]


def _sequential(modules: OrderedDict[str, Any]) -> Any:
    import torch

    return torch.nn.Sequential(modules)


def _run_snntorch(model: Any, x: Any) -> Any:
    import snntorch.utils
    import torch

    snntorch.utils.reset(model)
    outputs = [model(xt) for xt in x]  # an imported model returns (spikes, state)
    return torch.stack([out[0] if isinstance(out, tuple) else out for out in outputs])


def _join_spikingjelly(modules: OrderedDict[str, Any]) -> Any:
    from spikingjelly.activation_based import functional

    model = _sequential(modules)
    functional.set_step_mode(model, "m")
    return model


def _run_spikingjelly(model: Any, x: Any) -> Any:
    from spikingjelly.activation_based import functional

    functional.reset_net(model)
    return model(x)


def _join_norse(modules: OrderedDict[str, Any]) -> Any:
    import norse.torch

    return norse.torch.SequentialState(*modules.values())


def _run_norse(model: Any, x: Any) -> Any:
    import torch

    state, spikes = None, []
    for xt in x:
        z, state = model(xt, state)
        spikes.append(z)
    return torch.stack(spikes)


def _run_sinabs(model: Any, x: Any) -> Any:
    import sinabs

    sinabs.reset_states(model)
    return model(x.transpose(0, 1)).transpose(0, 1)


KITS = {
    "snntorch": Kit(_sequential, _run_snntorch),
    "spikingjelly": Kit(_join_spikingjelly, _run_spikingjelly),
    "norse": Kit(_join_norse, _run_norse),
    "sinabs": Kit(_sequential, _run_sinabs),
}


def build(framework: str, neurons: Callable[[], list[Any]], gain: float) -> Any:
    """A model 64-48-32-10: a linear map without bias in front of each layer of neurons."""
    import torch

    modules: OrderedDict[str, Any] = OrderedDict()
    sizes = pairwise(SIZES)
    for weight, layer, (n, m), neuron in zip(WEIGHTS, LAYERS, sizes, neurons(), strict=True):
        modules[weight] = torch.nn.Linear(n, m, bias=False)
        with torch.no_grad():
            modules[weight].weight *= gain
        modules[layer] = neuron
    return KITS[framework].join(modules)


def linears(model: Any) -> list[Any]:
    """The linear maps of a model, in order."""
    import torch

    return [m for m in model.modules() if isinstance(m, torch.nn.Linear)]


def digits(rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Probabilities of a spike [n, 64] and labels, to train with and to test with."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = rng.permutation(len(data.target))
    p = (RATE * data.data / 16.0)[order]
    labels = data.target[order]
    return p[:TRAINED], labels[:TRAINED], p[TRAINED:], labels[TRAINED:]


def spikes(p: Any, rng: np.random.Generator) -> Any:
    """Bernoulli trains [T, B, 64] as a float32 tensor."""
    import torch

    return torch.as_tensor((rng.random((STEPS, *p.shape)) < p).astype(np.float32))


def train(
    framework: str,
    model: Any,
    p: Any,
    labels: Any,
    rng: np.random.Generator,
    *,
    rate: float,
    progress: Callable[[int, int], None],
) -> None:
    """Cross entropy of the spike counts, Adam, surrogate gradients; then weights go on the grid."""
    import torch

    kit = KITS[framework]
    optimizer = torch.optim.Adam([m.weight for m in linears(model)], lr=rate)
    for epoch in range(EPOCHS):
        progress(epoch, EPOCHS)
        for batch in np.array_split(rng.permutation(len(p)), math.ceil(len(p) / BATCH)):
            counts = kit.run(model, spikes(p[batch], rng)).sum(0)
            loss = torch.nn.functional.cross_entropy(counts, torch.as_tensor(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        for linear in linears(model):
            linear.weight.copy_(torch.round(linear.weight / GRID) * GRID)


def accuracy(framework: str, model: Any, x: Any, labels: Any) -> float:
    """Share of samples whose most active neuron of the last layer is the label."""
    import torch

    with torch.no_grad():
        guess = KITS[framework].run(model, x).sum(0).argmax(1).numpy()
    return float((guess == labels).mean())
