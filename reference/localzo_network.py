r"""Spiking classifiers whose backward pass sees active neurons only, and three rules of activity.

The network: images as latencies; layers of leaky neurons whose input arrives one step late, with a
soft reset, detached, in the next step; a leaky readout, of which the largest value in time counts,

.. math::
    U[t] = \beta U[t-1] + x[t-1] W - s[t-1], \qquad s[t] = 1\{U[t] > 1\}, \qquad
    o[t] = \beta o[t-1] + (1 - \beta)\, s[t-1] W_o .                           \tag{1}

The rules, for what stands in the place of the derivative of s: a surrogate everywhere (`dense`);
a mean of zeroth-order estimates (`zeroth_order`, Mukhoty et al. 2023); the surrogate inside a fixed
window and nothing outside it (`windowed`, Perez-Nieves and Goodman 2021, "Sparse spiking gradient
descent", whose network this is).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reference.bptt import Run, filter_backward, filter_forward, filtered, lif_forward
from reference.localzo import estimate_mean, surrogate, threshold
from reference.sparse_backward import sparse_backward

#: Leak of a step of 1 ms with a time constant of 10 ms.
BETA = math.exp(-0.1)


@dataclass(frozen=True)
class Rule:
    """What stands for the derivative of the step function.

    Attributes
    ----------
    name : str
    factor : callable
        `factor(v, rng)`, shaped like v, the membrane less the threshold.
    sparse : bool
        Whether it is zero for most neurons, so that only the others are visited.
    """

    name: str
    factor: Callable
    sparse: bool


def dense(derivative: Callable, name: str = "dense") -> Rule:
    """A surrogate derivative, everywhere; below 1e-30 it is zero.

    What underflows to subnormal numbers would change nothing but the time that products take.
    """

    def factor(v, rng):
        g = derivative(v)
        return np.where(g < 1e-30, 0.0, g).astype(v.dtype)

    return Rule(name, factor, False)


def zeroth_order(law="normal", delta: float = 0.05, draws: int = 1) -> Rule:
    """The mean of so many draws of the two-point estimate."""
    return Rule(
        f"zeroth order, {law}, delta {delta:g}, m {draws}",
        lambda v, rng: estimate_mean(v, rng, delta, law=law, draws=draws),
        True,
    )


def windowed(law="normal", delta: float = 0.05, draws: int = 1) -> Rule:
    """The mean of that estimate within the window that is its mean window, and zero outside."""
    g, width = surrogate(law, delta), 1.0 - threshold(law, delta, draws)

    def factor(v, rng):
        return np.where(np.abs(v) < width, g(v), 0.0).astype(v.dtype)

    return Rule(f"window, {law}, delta {delta:g}, m {draws}", factor, True)


def drawn(factor) -> Callable:
    """As a surrogate derivative: what was drawn for each neuron and step, whatever the membrane."""
    return lambda v: factor


def latency_code(x, steps: int, *, tau: float = 20.0, least: float = 0.2) -> np.ndarray:
    """One spike a pixel at the step `tau ln(x / (x - least))`, rounded down.

    Parameters
    ----------
    x : ndarray, shape (B, pixels)
        In [0, 1]; a pixel of at most `least` is silent, as is one that would fire too late.
    steps : int

    Returns
    -------
    ndarray of float32, shape (steps, B, pixels)
    """
    x = np.asarray(x, float)
    spikes = np.zeros((steps, *x.shape), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.where(x > least, tau * np.log(x / (x - least)), np.inf)
    fires = np.argwhere(at < steps)
    spikes[(at[tuple(fires.T)].astype(int), *fires.T)] = 1.0
    return spikes


def late(x) -> np.ndarray:
    """What arrives: everything one step later."""
    out = np.zeros_like(x)
    out[1:] = x[:-1]
    return out


def early(x) -> np.ndarray:
    """The adjoint of `late`."""
    out = np.zeros_like(x)
    out[:-1] = x[1:]
    return out


def start(sizes, *, seed: int, gain: float = 3.0) -> dict[str, np.ndarray]:
    """Weights (n_in, n_out) of all layers, normal with deviation `gain / sqrt(n_in)`; float32."""
    rng = np.random.default_rng(seed)
    return {
        f"weight{k}": (gain / math.sqrt(n) * rng.standard_normal((n, m))).astype(np.float32)
        for k, (n, m) in enumerate(pairwise(sizes))
    }


@dataclass(frozen=True)
class Pass:
    """A forward pass: input of every layer as it arrives, hidden runs, readout, scores."""

    arrived: list[np.ndarray]
    runs: list[Run]
    readout: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """The largest value of the readout in time, (B, classes)."""
        return self.readout.max(axis=0)


def forward(params, spikes, *, beta: float = BETA) -> Pass:
    """Run (1) over all steps; the last weight is the readout's."""
    weights = list(params.values())
    arrived, runs = [late(spikes)], []
    for weight in weights[:-1]:
        runs.append(
            lif_forward(arrived[-1] @ weight, beta=beta, reset="soft", reset_timing="next_step")
        )
        arrived.append(late(runs[-1].spikes))
    return Pass(arrived, runs, filter_forward(arrived[-1] @ weights[-1], beta, gain=1.0 - beta))


def backward(params, run: Pass, grad_scores, rule: Rule, rng, *, beta: float = BETA):
    """Gradients by all weights, and which share of the neurons of each hidden layer was active.

    Parameters
    ----------
    params : dict
    run : Pass
    grad_scores : ndarray, shape (B, classes)
    rule : Rule
    rng : callable
        `rng(layer)`: a generator of its own for every layer, so that draws do not depend on the
        order in which layers are visited.

    Returns
    -------
    grads : dict
    active : list of float
        Shares of neurons and steps with a factor that is not zero.
    """
    names, weights = list(params), list(params.values())
    top = np.zeros_like(run.readout)
    np.put_along_axis(top, run.readout.argmax(axis=0)[None], grad_scores[None], axis=0)
    current = filter_backward(run.readout, top, beta, gain=1.0 - beta)["x"]
    grads = {names[-1]: np.tensordot(run.arrived[-1], current, axes=((0, 1), (0, 1)))}
    factors = [rule.factor(r.h - r.h.dtype.type(1.0), rng(k)) for k, r in enumerate(run.runs)]
    grad, through = early(current @ weights[-1].T), _sparse if rule.sparse else _dense
    for k, found in through(weights, run, grad, factors, beta):
        grads[names[k]] = found
    return grads, [float(np.mean(factor > 0.0)) for factor in factors]


def _dense(weights, run: Pass, grad, factors, beta: float):
    """Number and gradient of each hidden weight, last first: by every neuron."""
    for k in reversed(range(len(factors))):
        current = filtered(grad * factors[k], beta)
        yield k, np.tensordot(run.arrived[k], current, axes=((0, 1), (0, 1)))
        if k:
            grad = early(current @ weights[k].T)


def _sparse(weights, run: Pass, grad, factors, beta: float):
    """The same by active neurons alone: between layers goes one number for each of them."""
    masks = [factor > 0.0 for factor in factors]
    value = grad[masks[-1]]
    for k in reversed(range(len(factors))):
        # What arrives a step late is wanted where the neuron was active a step before.
        below = late(masks[k - 1]) if k else np.zeros(run.arrived[0].shape, bool)
        value = value * factors[k][masks[k]]
        found, passed = sparse_backward(
            run.arrived[k], weights[k], masks[k], value, beta=beta, below=below
        )
        yield k, found
        if k:  # spikes of the last step arrive nowhere
            value = np.zeros(np.count_nonzero(masks[k - 1]), passed.dtype)
            value[: passed.size] = passed
