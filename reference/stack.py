r"""Plain stacks of discrete neurons of any depth, batch norm on currents, gradients by layer.

Layer l turns the spikes of the one before, or the analog input, into

.. math::
    s^l = \mathrm{LIF}(\gamma\, \widehat{W^l s^{l-1}} + \beta^l + q\, x^{l-1}),           \tag{1}

the hat a batch norm over time and samples, or nothing; the last term, for q > 0, hands on the
current :math:`x^{l-1}` of the layer before (a residual connection between currents). A readout,
where there is one, is a dense layer on the mean spikes of the last layer.

The gain of a layer is :math:`G_l = \lVert\partial L/\partial s^{l-1}\rVert /
\lVert\partial L/\partial s^l\rVert`, over time, samples and neurons. Norms of deep stacks leave
the range of floats: `profile` rescales the gradient at every layer and adds up logarithms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import optimize

from reference import bptt
from reference import layers as nn

Params = dict[str, np.ndarray]


def initial(
    rng: np.random.Generator,
    sizes: Sequence[int],
    *,
    gain: float = 1.0,
    batch_norm: bool = True,
    classes: int = 0,
    dtype: Any = np.float64,
) -> Params:
    """Parameters of a stack: weights normal with variance gain² / n_in, scales 1, shifts 0.

    Parameters
    ----------
    rng : Generator
    sizes : sequence of int
        Inputs, then neurons of every layer.
    gain : float
    batch_norm : bool
    classes : int
        Of a readout; 0 for none.
    dtype : dtype
    """
    params: Params = {}
    for k, (n_in, n_out) in enumerate(pairwise(sizes)):
        params[f"{k}.weight"] = rng.normal(0.0, gain / np.sqrt(n_in), (n_out, n_in)).astype(dtype)
        if batch_norm:
            params[f"{k}.gamma"] = np.ones(n_out, dtype)
            params[f"{k}.beta"] = np.zeros(n_out, dtype)
    if classes:
        spread = 1.0 / np.sqrt(sizes[-1])
        weight = rng.uniform(-spread, spread, (classes, sizes[-1]))
        params["readout.weight"] = weight.astype(dtype)
        params["readout.bias"] = np.zeros(classes, dtype)
    return params


@dataclass
class StackRun:
    """One pass: neurons of every layer, their backward passes, and the statistics used.

    Attributes
    ----------
    layers : list of bptt.Run
        `layers[l].spikes` [T, B, n].
    logits : ndarray, shape (B, classes), or None
    statistics : list of layers.Statistics
        Of the batch norms.
    """

    layers: list[bptt.Run] = field(default_factory=list)
    logits: np.ndarray | None = None
    statistics: list[nn.Statistics] = field(default_factory=list)
    pulls: list[tuple[nn.Pull, nn.Pull | None]] = field(default_factory=list)
    readout: nn.Pull | None = None


class Stack:
    """A plain stack, (1).

    Parameters
    ----------
    params : dict of ndarray
        As `initial` makes them; used as they are at every call, so an optimiser may change them.
    skip : float
        q of (1); layers must then be equally wide.
    eps : float
        Of the batch norm.
    **neuron
        Options of `reference.bptt.lif_forward`.
    """

    def __init__(
        self, params: Params, *, skip: float = 0.0, eps: float = 1e-5, **neuron: Any
    ) -> None:
        self.params, self.skip, self.eps, self.neuron = params, skip, eps, neuron
        self.depth = sum(key.endswith(".weight") and key[0].isdigit() for key in params)
        self.normed = "0.gamma" in params

    def forward(self, x, *, fixed: Sequence[tuple] | None = None) -> StackRun:
        """Run on x [T, B, n_in]; `fixed` (mean, var) of every batch norm is inference."""
        run, s, before = StackRun(), np.asarray(x), None
        for k in range(self.depth):
            current, pull = nn.dense(s, self.params[f"{k}.weight"])
            norm = None
            if self.normed:
                scale = self.params[f"{k}.gamma"], self.params[f"{k}.beta"]
                given = None if fixed is None else fixed[k]
                current, norm, found = nn.batch_norm(
                    current, *scale, keep=-1, eps=self.eps, fixed=given
                )
                run.statistics.append(found)
            if self.skip and before is not None and before.shape == current.shape:
                current = current + current.dtype.type(self.skip) * before
            before = current
            run.pulls.append((pull, norm))
            run.layers.append(bptt.lif_forward(current, **self.neuron))
            s = run.layers[-1].spikes
        if "readout.weight" in self.params:
            weights = self.params["readout.weight"], self.params["readout.bias"]
            run.logits, run.readout = nn.dense(s.mean(axis=0), *weights)
        return run

    def backward(
        self, run: StackRun, gradient, surrogate, *, detach: bool, at: str = "logits"
    ) -> Params:
        """Gradients by all parameters, and by the input as "input".

        Parameters
        ----------
        run : StackRun
        gradient : ndarray
            By the logits (B, classes), or with `at="spikes"` by the last spikes [T, B, n].
        surrogate : Surrogate, str or callable
        detach : bool
        """
        found: Params = {}
        g = np.asarray(gradient)
        if at == "logits":
            if run.readout is None:
                raise ValueError("this stack has no readout; at='spikes' takes another gradient")
            g, *by = run.readout(g)
            found |= dict(zip(("readout.weight", "readout.bias"), by, strict=True))
            n_steps = len(run.layers[-1].spikes)
            g = np.broadcast_to(g / n_steps, (n_steps, *g.shape))
        handed = None
        for k in reversed(range(self.depth)):
            g, handed, by_layer = self._back(run, k, g, handed, surrogate, detach)
            found |= by_layer
        return found | {"input": g}

    def _back(self, run: StackRun, k: int, g, handed, surrogate, detach):
        """Through layer k: gradients by its input, by the current handed to it, by parameters."""
        lam = bptt.lif_backward(run.layers[k], g, surrogate, detach=detach)["current"]
        if handed is not None and handed.shape == lam.shape:
            lam = lam + handed
        handed = lam * lam.dtype.type(self.skip) if self.skip and k else None
        dense, norm = run.pulls[k]
        found: Params = {}
        if norm is not None:
            lam, found[f"{k}.gamma"], found[f"{k}.beta"] = norm(lam)
        g, found[f"{k}.weight"], _ = dense(lam)
        return g, handed, found

    def profile(self, run: StackRun, gradient, surrogate, *, detach: bool) -> np.ndarray:
        """Natural logarithms of the norm of dL/ds, by layer and time.

        Parameters
        ----------
        gradient : ndarray, shape (T, B, n)
            By the last spikes.

        Returns
        -------
        log_norm : ndarray, shape (depth, T)
            Row l: at the spikes of layer l; the last row is the given gradient itself. -inf
            where the gradient is zero.
        """
        g, handed, grown = np.asarray(gradient), None, 0.0
        rows = []
        for k in reversed(range(self.depth)):
            peak = float(np.max(np.abs(g)))
            if not peak:
                break
            unit = np.asarray(g, np.float64) / peak  # squares of g itself may leave the range
            squares = np.sum(unit * unit, axis=tuple(range(1, g.ndim)))
            with np.errstate(divide="ignore"):
                rows.append(0.5 * np.log(squares) + np.log(peak) + grown)
            if k == 0:
                break
            size = peak * float(np.sqrt(squares.sum()))
            grown += np.log(size)
            g = g / g.dtype.type(size)
            handed = None if handed is None else handed / g.dtype.type(size)
            g, handed, _ = self._back(run, k, g, handed, surrogate, detach)
        dead = [np.full(len(g), -np.inf)] * (self.depth - len(rows))
        return np.array([*dead, *reversed(rows)])

    def fold(self, running: Sequence[tuple]) -> Params:
        """Weights and biases "k.weight", "k.bias" that do the same at inference without norms."""
        folded: Params = {}
        for k, (mean, var) in enumerate(running):
            scale = self.params[f"{k}.gamma"], self.params[f"{k}.beta"]
            weight = self.params[f"{k}.weight"]
            folded[f"{k}.weight"], folded[f"{k}.bias"] = nn.fold_batch_norm(
                weight, None, *scale, mean, var, self.eps
            )
        return folded


def total(log_norm: np.ndarray) -> np.ndarray:
    """Logarithm of the norm over time of each row of `Stack.profile`."""
    top = log_norm.max(axis=-1, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(np.exp(2.0 * (log_norm - safe)).sum(axis=-1)) + safe[:, 0]


#: Layers at the end of a stack in which the gradient still takes on its shape in time.
SKIPPED = 5


def gain(log_norm: np.ndarray, *, skip: int = SKIPPED) -> float:
    """Geometric mean of the gains G_l of a profile, without the `skip` last layers of the stack.

    The first layer never counts: what it reads are no spikes.
    """
    size = total(log_norm)
    return float(np.exp((size[0] - size[-1 - skip]) / (len(size) - 1 - skip)))


def tune(gain_of: Callable[[float], float], low: float, high: float, rtol: float = 1e-2) -> float:
    """The width parameter a at which `gain_of(a)` is 1.

    Parameters
    ----------
    gain_of : callable
        From the parameter of a surrogate to the gain of a layer, as `gain` measures it on the
        initialised network, or `reference.mean_field` predicts it.
    low, high : float
        Between which the gain crosses 1.
    rtol : float

    Raises
    ------
    ValueError
        If it does not.

    Notes
    -----
    Brent's method on the logarithms: gains are nearly powers of the width.
    """
    ends = float(np.log(low)), float(np.log(high))
    known: dict[float, float] = {}

    def excess(log_a: float) -> float:
        if log_a not in known:
            known[log_a] = float(np.log(max(gain_of(float(np.exp(log_a))), 1e-300)))
        return known[log_a]

    if excess(ends[0]) * excess(ends[1]) > 0:
        side = "above" if excess(ends[0]) > 0 else "below"
        raise ValueError(f"the gain is {side} 1 at both {low} and {high}")
    return float(np.exp(optimize.brentq(excess, *ends, xtol=rtol)))
