"""Random networks: numbers only, for whoever builds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

F32 = np.float32
FRAMEWORKS = ("snntorch", "spikingjelly", "norse", "sinabs")
NEURONS = {
    "snntorch": "snntorch.Leaky",
    "spikingjelly": "spikingjelly.LIFNode",
    "norse": "norse.LIFBoxCell",
    "sinabs": "sinabs.LIF",
}
#: A power of two, so that a rate times it may be one.
DT = 2.0**-10


@dataclass
class Layer:
    """A linear map and the neurons behind it; `weight` is (n_out, n_in)."""

    weight: np.ndarray
    bias: np.ndarray
    params: dict[str, Any]


@dataclass
class Drawn:
    """A network of one framework, its input [T, B, n], and the layer that will be wrong."""

    framework: str
    layers: list[Layer]
    x: np.ndarray
    target: int
    rng: np.random.Generator = field(repr=False)
    model: str  #: the neuron's name in a manifest


def draw(
    framework: str, rng: np.random.Generator, *, square: bool = False, hits: str = ""
) -> Drawn:
    """A network of 2 to 4 layers of 8 to 20 neurons.

    Parameters
    ----------
    framework : str
    rng : numpy Generator
    square : bool
        All layers of one size.
    hits : str
        "binary": numbers on a grid of powers of two, so that membranes hit the threshold exactly.
        "decimal": on a grid of tenths, so that they would if tenths were binary numbers.
    """
    depth, t, b = (int(rng.integers(*ends)) for ends in ((2, 5), (40, 71), (2, 5)))
    sizes = [int(rng.integers(8, 21)) for _ in range(depth + 1)]
    if square:
        sizes = sizes[:1] * (depth + 1)
    layers = [_layer(framework, n, m, rng, hits) for n, m in pairwise(sizes)]
    x = (rng.random((t, b, sizes[0])) < rng.uniform(0.2, 0.5)).astype(F32)
    model = "sinabs.IAF" if hits and framework == "sinabs" else NEURONS[framework]
    return Drawn(framework, layers, x, int(rng.integers(depth)), rng, model)


def _layer(framework: str, n: int, m: int, rng: np.random.Generator, hits: str) -> Layer:
    params, gain = _params(framework, m, rng, hits)
    # Enough for a layer to fire in a tenth to a third of its steps, and not in all.
    size = gain * rng.uniform(2.0, 4.0) / np.sqrt(n)
    weight, bias = size * rng.normal(0.35, 1.0, (m, n)), size * rng.uniform(-0.2, 0.6, m)
    coarse = {"binary": 2.0**-3 * gain, "decimal": 0.2 * gain, "": 2.0**-6}
    if hits or rng.random() < 0.3:
        step = coarse[hits]
        weight, bias = (step * np.rint(a / step) for a in (weight, bias))
    return Layer(weight.astype(F32), bias.astype(F32), params)


def _params(
    framework: str, n: int, rng: np.random.Generator, hits: str
) -> tuple[dict[str, Any], float]:
    """Parameters, and the size of weights that makes them lively."""
    some = {"binary": [2.0, 4.0], "decimal": [3.0, 5.0], "": [float(rng.uniform(2.0, 10.0))]}
    tau = F32(rng.choice(np.array(some[hits])))
    theta = F32(1.0) if hits else F32(rng.uniform(0.5, 1.5))
    each = bool(rng.random() < 0.4) and not hits
    taus = rng.uniform(2.0, 10.0, n).astype(F32) if each else np.full(n, tau, F32)
    if framework == "snntorch":
        return {"beta": (1 - 1 / taus).astype(F32), "threshold": theta}, float(theta) / 2
    if framework == "spikingjelly":
        return {"tau": tau, "v_threshold": theta, "v_reset": F32(0.0)}, float(tau * theta) / 2
    if framework == "norse":
        leak, r = (F32(0.0),) * 2 if hits or rng.random() < 0.5 else rng.uniform(-0.3, 0.3, 2)
        inverse = (1.0 / (DT * taus)).astype(F32)
        params = {"tau_mem_inv": inverse, "v_th": theta, "v_leak": F32(leak), "v_reset": F32(r)}
        return params, float(tau * theta) / 2
    if hits:  # no exponential hits anything: neurons without leak
        return {"spike_threshold": theta}, 0.25
    return {"tau_mem": taus, "spike_threshold": theta}, float(tau * theta) / 2
