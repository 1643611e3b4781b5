r"""Residual networks of spiking neurons, forward and backward through all layers and steps.

The layout is that of torchvision's ResNet with neurons in place of rectifiers, as SpikingJelly
builds it (He et al. 2016; Fang et al. 2023): a 7 x 7 convolution of stride 2 and a pool of 3 x 3,
four stages of blocks, a mean over space, and a dense readout at every step. A block is

.. math::
    s = \mathrm{SN}(\mathrm{BN}(W_n\, \mathrm{SN}(\cdots \mathrm{SN}(\mathrm{BN}(W_1 x)))) + r(x)),

where r is the identity, or a convolution and its batch norm where the shape changes. Batch norm
acts on currents, in training mode, with statistics over time, samples and space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reference import layers as nn
from reference.bptt import lif_backward, lif_forward
from reference.surrogates import get

#: Kernel, stride of a stage and padding of the convolutions of a block; only one has a stride.
BLOCKS = {
    "basic": (("conv1", True, 1), ("conv2", False, 1)),
    "bottleneck": (("conv1", False, 0), ("conv2", True, 1), ("conv3", False, 0)),
}
EPS = 1e-5


@dataclass
class ResNetRun:
    """What a network did.

    Attributes
    ----------
    output : ndarray, shape (T, B, classes)
        The readout of every step.
    spikes : dict of ndarray
        [T, B, C, H, W] by the name of the neurons, for instance "layer1.0.sn2".
    pulls : dict of callable
        The backward pass of every module by itself: from the gradient by its output to those by
        its input, its weight and its bias; for neurons to that by their current.
    """

    output: np.ndarray = field(default_factory=lambda: np.empty(0))
    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    pulls: dict[str, Callable[[np.ndarray], Any]] = field(default_factory=dict)


@dataclass
class ResNetGradient:
    """Gradients of one number by everything.

    Attributes
    ----------
    input : ndarray, shape (T, B, C, H, W)
    weights : dict of ndarray
        By the keys of the state.
    currents : dict of ndarray
        By the input of the neurons, named as in `ResNetRun.spikes`.
    blocks : dict of ndarray
        By the output of every block, for instance "layer1.0".
    """

    input: np.ndarray = field(default_factory=lambda: np.empty(0))
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    currents: dict[str, np.ndarray] = field(default_factory=dict)
    blocks: dict[str, np.ndarray] = field(default_factory=dict)


class SpikingResNet:
    """A spiking ResNet with given weights.

    Parameters
    ----------
    state : mapping of str to array
        Keyed as SpikingJelly's `named_parameters()`: "conv1.weight", "bn1.weight", "bn1.bias",
        "layer1.0.conv1.weight", "layer1.0.downsample.0.weight", "fc.weight" and so on. Their
        dtype is the one that is computed in.
    layers : sequence of int
        Blocks of each stage: (3, 4, 6, 3) is ResNet-50 or 34, (2, 2, 2, 2) ResNet-18.
    block : {"bottleneck", "basic"}
    beta, v_th, v_reset, gain : float
        Of `reference.bptt.lif_forward`.
    reset, reset_timing, compare : str
        The same.
    detach : bool
        Whether the reset is left out of the backward pass.
    surrogate : (str, dict)
        Name and parameters for `reference.surrogates.get`.

    Raises
    ------
    ValueError
        If the state lacks an entry, or has one that the layout does not know.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        *,
        layers: Sequence[int] = (3, 4, 6, 3),
        block: str = "bottleneck",
        beta: float,
        v_th: float = 1.0,
        v_reset: float = 0.0,
        gain: float = 1.0,
        reset: str = "hard",
        reset_timing: str = "same_step",
        detach: bool = False,
        compare: str = ">=",
        surrogate: tuple[str, Mapping[str, float]] = ("spikingjelly.Sigmoid", {}),
    ) -> None:
        if block not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(BLOCKS)}; got {block!r}")
        self.state = {key: np.asarray(value) for key, value in state.items()}
        self.stages, self.block, self.detach = tuple(layers), BLOCKS[block], detach
        self.neuron: dict[str, Any] = dict(
            beta=beta, v_th=v_th, v_reset=v_reset, gain=gain, reset=reset,
            reset_timing=reset_timing, compare=compare,
        )  # fmt: skip
        name, params = surrogate
        self.surrogate = get(name, **params)
        known = set(self.keys())
        odd = sorted(known ^ set(self.state))
        if odd:
            says = "lacks" if odd[0] in known else "has an unknown entry"
            raise ValueError(f"state {says} {odd[0]!r}; {len(odd)} entries do not fit")

    def keys(self) -> Iterator[str]:
        """Names of all parameters that the layout has."""
        norm = ("weight", "bias")
        yield from ("conv1.weight", *(f"bn1.{kind}" for kind in norm))
        for path, _ in self._blocks():
            for name, *_ in self.block:
                norm_name = name.replace("conv", "bn")
                yield f"{path}.{name}.weight"
                yield from (f"{path}.{norm_name}.{kind}" for kind in norm)
            if f"{path}.downsample.0.weight" in self.state:
                yield f"{path}.downsample.0.weight"
                yield from (f"{path}.downsample.1.{kind}" for kind in norm)
        yield from ("fc.weight", "fc.bias")

    def _blocks(self) -> Iterator[tuple[str, int]]:
        """Path and stride of every block."""
        for stage, count in enumerate(self.stages, 1):
            for k in range(count):
                yield f"layer{stage}.{k}", 2 if stage > 1 and k == 0 else 1

    def forward(self, x) -> ResNetRun:
        """Run on images [T, B, C, H, W]."""
        run = ResNetRun()
        x = np.asarray(x, self.state["conv1.weight"].dtype)
        s = self._neurons(run, "sn1", self._current(run, "conv1", "bn1", x, 2, 3))
        s, run.pulls["maxpool"] = nn.max_pool(s, 3, stride=2, padding=1)
        for path, stride in self._blocks():
            s = self._block_forward(run, path, stride, s)
        return self._readout(run, s)

    def _readout(self, run: ResNetRun, s) -> ResNetRun:
        """Mean over space, and a dense layer at every step."""
        mean, run.pulls["avgpool"] = nn.average_pool(s, s.shape[-2:])
        flat, run.pulls["flatten"] = nn.flatten(mean, 2)
        weights = self.state["fc.weight"], self.state["fc.bias"]
        run.output, run.pulls["fc"] = nn.dense(flat, *weights)
        return run

    def _current(self, run, conv, norm, x, stride, padding) -> np.ndarray:
        """A convolution and its batch norm."""
        weight = self.state[f"{conv}.weight"]
        y, run.pulls[conv] = nn.conv2d(x, weight, stride=stride, padding=padding)
        scale = self.state[f"{norm}.weight"], self.state[f"{norm}.bias"]
        y, run.pulls[norm], _ = nn.batch_norm(y, *scale, keep=2, eps=EPS)
        return y

    def _neurons(self, run, name, current) -> np.ndarray:
        found = lif_forward(current, **self.neuron)

        def pull(gradient):
            back = lif_backward(found, gradient, self.surrogate, detach=self.detach)
            return back["current"]

        run.spikes[name], run.pulls[name] = found.spikes, pull
        return found.spikes

    def _block_forward(self, run, path, stride, x) -> np.ndarray:
        y, last = x, len(self.block)
        for k, (conv, strides, padding) in enumerate(self.block, 1):
            names = f"{path}.{conv}", f"{path}.bn{k}"
            y = self._current(run, *names, y, stride if strides else 1, padding)
            if k < last:
                y = self._neurons(run, f"{path}.sn{k}", y)
        skip = x
        if f"{path}.downsample.0.weight" in self.state:
            names = f"{path}.downsample.0", f"{path}.downsample.1"
            skip = self._current(run, *names, x, stride, 0)
        total, run.pulls[f"{path}.add"] = nn.add(y, skip)
        return self._neurons(run, f"{path}.sn{last}", total)

    def backward(self, run: ResNetRun, grad_out) -> ResNetGradient:
        """Gradients for the gradient `grad_out` by `run.output`."""
        found = ResNetGradient()
        g = self._pull(run, found, "fc", np.asarray(grad_out, run.output.dtype))
        g = run.pulls["avgpool"](run.pulls["flatten"](g))
        for path, _ in reversed(list(self._blocks())):
            found.blocks[path] = g
            g = self._block_backward(run, found, path, g)
        g = run.pulls["maxpool"](g) if "maxpool" in run.pulls else g
        g = self._pull(run, found, "sn1", g)
        for name in ("bn1", "conv1"):
            g = self._pull(run, found, name, g)
        found.input = g
        return found

    def _pull(self, run, found, name, gradient) -> np.ndarray:
        """Back through one module; what its parameters get is kept."""
        back = run.pulls[name](gradient)
        if name in run.spikes:
            found.currents[name] = back
            return back
        by_input, *by = back
        for kind, value in zip(("weight", "bias"), by, strict=True):
            if value is not None:
                found.weights[f"{name}.{kind}"] = value
        return by_input

    def _block_backward(self, run, found, path, gradient) -> np.ndarray:
        last = len(self.block)
        g = self._pull(run, found, f"{path}.sn{last}", gradient)
        g, skip = run.pulls[f"{path}.add"](g)
        for k in range(last, 0, -1):
            if k < last:
                g = self._pull(run, found, f"{path}.sn{k}", g)
            for name in (f"{path}.bn{k}", f"{path}.conv{k}"):
                g = self._pull(run, found, name, g)
        if f"{path}.downsample.0" in run.pulls:
            for name in (f"{path}.downsample.1", f"{path}.downsample.0"):
                skip = self._pull(run, found, name, skip)
        return g + skip


def random_state(
    rng: np.random.Generator,
    *,
    layers: Sequence[int] = (3, 4, 6, 3),
    block: str = "bottleneck",
    width: int = 64,
    channels: int = 3,
    classes: int = 10,
    stem: int = 7,
    fan: str = "out",
) -> dict[str, np.ndarray]:
    """Weights of a ResNet, normal with variance 2 / fan (He et al. 2015), scales 1.

    `width` is that of the first stage; 64 is the published one. The first convolution is
    `stem` wide; `fan` "out" counts kernels and "in" channels.
    """
    if block not in BLOCKS:
        raise ValueError(f"block must be one of {', '.join(BLOCKS)}; got {block!r}")
    state: dict[str, np.ndarray] = {}

    def convolution(conv, norm, out, n_in, size):
        spread = np.sqrt(2.0 / ((out if fan == "out" else n_in) * size * size))
        state[f"{conv}.weight"] = rng.normal(0.0, spread, (out, n_in, size, size))
        state[f"{norm}.weight"], state[f"{norm}.bias"] = np.ones(out), np.zeros(out)

    convolution("conv1", "bn1", width, channels, stem)
    n_in, expansion = width, 4 if block == "bottleneck" else 1
    for stage, count in enumerate(layers, 1):
        inner = width * 2 ** (stage - 1)
        for k in range(count):
            path, before = f"layer{stage}.{k}", n_in
            for m, (conv, _, padding) in enumerate(BLOCKS[block], 1):
                out = inner * (expansion if m == len(BLOCKS[block]) else 1)
                names = f"{path}.{conv}", f"{path}.bn{m}"
                convolution(*names, out, n_in, 1 + 2 * padding)
                n_in = out
            if k == 0 and (stage > 1 or before != n_in):
                names = f"{path}.downsample.0", f"{path}.downsample.1"
                convolution(*names, n_in, before, 1)
    spread = 1.0 / np.sqrt(n_in)
    state["fc.weight"] = rng.uniform(-spread, spread, (classes, n_in))
    state["fc.bias"] = rng.uniform(-spread, spread, classes)
    return state
