r"""Residual networks of units that fire at several levels, plain and dormant-suppressed.

A convolution of 3 x 3, three stages of n blocks with widths w, 2 w and 4 w and a stride of 2
before the later two, a mean over space, and a dense readout at every step: depth 6 n + 2
(Feng et al. 2022). With :math:`A = \mathrm{tdBN} \circ \mathrm{conv}` and units M, a block is

.. math::
    \text{plain:}\quad & y = M\bigl(A_2 M(A_1 x) + P x\bigr), \qquad
        P = 1 \text{ or } \mathrm{tdBN} \circ \mathrm{conv}_{1 \times 1},              \tag{1} \\
    \text{dormant-suppressed:}\quad & y = M(A_2 M(A_1 x)) + Q x, \qquad
        Q = 1 \text{ or } M \circ \mathrm{tdBN} \circ \mathrm{conv}_{1 \times 1},      \tag{2}

the second where the shape changes. In (1) every path goes through one unit a block; in (2) the
shortcuts of a stage have the Jacobian 1, and outputs are counts that grow with the block.

Threshold-dependent batch norm (Zheng et al. 2021) scales to the lowest threshold, with
:math:`\epsilon` outside the root, and statistics over time, samples and space:

.. math::
    y = \gamma\, \theta_1 \frac{x - m}{\sqrt{\mathrm{Var}} + \epsilon} + \beta .       \tag{3}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reference import layers as nn
from reference import mlf
from reference.resnet import EPS, ResNetGradient, ResNetRun, SpikingResNet, random_state

#: By name: whether units come before the addition.
RESIDUALS = {"plain": False, "ds": True}


def td_batch_norm(
    x, gamma, beta, *, v_th: float, keep: int | tuple[int, ...] = 2, eps: float = EPS, fixed=None
) -> tuple[np.ndarray, nn.Pull, nn.Statistics]:
    """Threshold-dependent batch norm, (3); arguments and answer as of `layers.batch_norm`."""
    x = np.asarray(x)
    scale = x.dtype.type(v_th)
    scaled = np.asarray(gamma, x.dtype) * scale
    y, inner, found = nn.batch_norm(
        x, scaled, beta, keep=keep, eps=eps, fixed=fixed, eps_outside=True
    )

    def pull(gradient):
        by_x, by_scaled, by_beta = inner(gradient)
        return by_x, by_scaled * scale, by_beta

    return y, pull, found


@dataclass
class MLFResNetRun(ResNetRun):
    """What a network did; `spikes` are the counts of units by their name.

    Attributes
    ----------
    units : dict of mlf.MLFRun
    blocks : dict of ndarray
        Output of every block.
    statistics : dict of layers.Statistics
        Of the batch norms that were used.
    fixed : mapping of str to (mean, var), or None
    """

    units: dict[str, mlf.MLFRun] = field(default_factory=dict)
    blocks: dict[str, np.ndarray] = field(default_factory=dict)
    statistics: dict[str, nn.Statistics] = field(default_factory=dict)
    fixed: Mapping[str, tuple] | None = None


class MLFResNet(SpikingResNet):
    """A network with given weights.

    Parameters
    ----------
    state : mapping of str to array
        As `initial` makes them, used as they are: an optimiser may change them in place.
    depth : int
        6 n + 2.
    residual : {"ds", "plain"}
        (2) or (1).
    tau, v_th, width, detach
        Of `reference.mlf`: one threshold is an ordinary neuron.
    norm : bool
        Whether there are batch norms; the state must have their scales if so.

    Raises
    ------
    ValueError
        If the state does not fit, or a choice is unknown.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        *,
        depth: int,
        residual: str = "ds",
        tau: float = mlf.TAU,
        v_th=mlf.V_TH,
        width: float = 1.0,
        detach: bool = False,
        norm: bool = True,
    ) -> None:
        if residual not in RESIDUALS:
            raise ValueError(f"residual must be one of {', '.join(RESIDUALS)}; got {residual!r}")
        self.early, self.norm = RESIDUALS[residual], norm
        self.tau, self.v_th, self.width = tau, tuple(np.atleast_1d(v_th)), width
        stages = (mlf.blocks(depth),) * 3
        super().__init__(state, layers=stages, block="basic", beta=tau, detach=detach)

    def keys(self) -> Iterator[str]:
        """Names of all parameters that the layout has."""
        return (key for key in super().keys() if self.norm or not _of_a_norm(key))

    def forward(self, x, *, fixed: Mapping[str, tuple] | None = None) -> MLFResNetRun:
        """Run on images [T, B, C, H, W]; `fixed` (mean, var) of every batch norm is inference."""
        run = MLFResNetRun(fixed=fixed)
        x = np.asarray(x, self.state["conv1.weight"].dtype)
        s = self._neurons(run, "sn1", self._current(run, "conv1", "bn1", x, 1, 1))
        for path, stride in self._blocks():
            s = run.blocks[path] = self._block_forward(run, path, stride, s)
        self._readout(run, s)
        return run

    def _current(self, run, conv, norm, x, stride, padding) -> np.ndarray:
        weight = self.state[f"{conv}.weight"]
        y, run.pulls[conv] = nn.conv2d(x, weight, stride=stride, padding=padding)
        if not self.norm:
            run.pulls[norm] = lambda gradient: (gradient, None, None)
            return y
        scale = self.state[f"{norm}.weight"], self.state[f"{norm}.bias"]
        given = None if run.fixed is None else run.fixed[norm]
        y, run.pulls[norm], run.statistics[norm] = td_batch_norm(
            y, *scale, v_th=self.v_th[0], fixed=given
        )
        return y

    def _neurons(self, run, name, current) -> np.ndarray:
        found = mlf.forward(current, tau=self.tau, v_th=self.v_th)

        def pull(gradient):
            return mlf.backward(found, gradient, width=self.width, detach=self.detach)

        run.units[name], run.pulls[name] = found, pull
        run.spikes[name] = found.output
        return found.output

    def _block_forward(self, run, path, stride, x) -> np.ndarray:
        if not self.early:
            return super()._block_forward(run, path, stride, x)
        y, skip = x, x
        for k, (conv, strides, padding) in enumerate(self.block, 1):
            names = f"{path}.{conv}", f"{path}.bn{k}"
            y = self._current(run, *names, y, stride if strides else 1, padding)
            y = self._neurons(run, f"{path}.sn{k}", y)
        if f"{path}.downsample.0.weight" in self.state:
            names = f"{path}.downsample.0", f"{path}.downsample.1"
            skip = self._current(run, *names, x, stride, 0)
            skip = self._neurons(run, f"{path}.downsample.sn", skip)
        total, run.pulls[f"{path}.add"] = nn.add(y, skip)
        return total

    def _block_backward(self, run, found: ResNetGradient, path, gradient) -> np.ndarray:
        if not self.early:
            return super()._block_backward(run, found, path, gradient)
        g, skip = run.pulls[f"{path}.add"](gradient)
        for k in range(len(self.block), 0, -1):
            for name in (f"{path}.sn{k}", f"{path}.bn{k}", f"{path}.conv{k}"):
                g = self._pull(run, found, name, g)
        if f"{path}.downsample.0" in run.pulls:
            for last in ("sn", "1", "0"):
                skip = self._pull(run, found, f"{path}.downsample.{last}", skip)
        return g + skip


def _of_a_norm(key: str) -> bool:
    name = key.rsplit(".", 1)[0]
    return name.rsplit(".", 1)[-1].startswith("bn") or name.endswith("downsample.1")


def initial(
    rng: np.random.Generator,
    *,
    depth: int,
    width: int,
    channels: int = 3,
    classes: int = 10,
    gain: float = 1.0,
    norm: bool = True,
    dtype: Any = np.float64,
) -> dict[str, np.ndarray]:
    """Weights normal with variance 2 gain² / fan-in, scales 1, shifts 0.

    Parameters
    ----------
    rng : Generator
    depth, width, channels, classes : int
        As of `mlf.parameter_count`.
    gain : float
    norm : bool
        Whether there are batch norms.
    dtype : dtype
    """
    stages = (mlf.blocks(depth),) * 3
    state = random_state(
        rng, layers=stages, block="basic", width=width, channels=channels, classes=classes,
        stem=3, fan="in",
    )  # fmt: skip
    fan = state["fc.weight"].shape[1]
    state["fc.weight"] = rng.normal(0.0, np.sqrt(2.0 / fan), (classes, fan))
    state["fc.bias"] = np.zeros(classes)
    for key, value in state.items():
        if not _of_a_norm(key) and key != "fc.bias":
            state[key] = gain * value
    return {key: v.astype(dtype) for key, v in state.items() if norm or not _of_a_norm(key)}


def dormant(run: MLFResNetRun, *, width: float = 1.0) -> dict[str, float]:
    """Shares of dormant units by the definitions of `reference.mlf`, over all units alike."""
    totals, size = dict.fromkeys(("instantaneous", "window", "dead"), 0.0), 0
    for unit in run.units.values():
        size += unit.output.size
        for name, share in mlf.dormant(unit, width=width).items():
            totals[name] += float(share) * unit.output.size
    return {name: total / size for name, total in totals.items()}


def gradient_profile(found: ResNetGradient) -> np.ndarray:
    """Norm of the gradient by every block's output, from the first block to the last."""
    sizes = [float(np.linalg.norm(g)) for g in found.blocks.values()]
    return np.array(sizes[::-1])  # kept in the order of the backward pass


def gradient_ratio(found: ResNetGradient) -> float:
    """Norm of the gradient by the first block's output over that by the last block's."""
    sizes = gradient_profile(found)
    return float(sizes[0] / sizes[-1])
