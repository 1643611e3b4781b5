r"""Gradients of networks of single spikes: exact, layer by layer, in times.

Windows constant, thresholds tied to weights and drifts by `reference.ttfs` (2) or free, and
:math:`M_i` whether neuron i spikes,

.. math::
    \frac{\partial t_i}{\partial t_j} = M_i \frac{W_{ij}}{B_i}, \qquad
    \frac{\partial t_i}{\partial D_i} = -M_i \frac{\tau_c}{B_i}, \qquad
    \frac{\partial t_i}{\partial \vartheta_i} = M_i \frac{\tau_c}{B_i},               \tag{1} \\
    \frac{\partial t_i}{\partial W_{ij}} = -M_i \frac{\tau_c x_j}{B_i}
        \;\text{(B constant)}, \quad
    M_i \frac{\tau_c (x_i - x_j)}{B_i} \;\text{(alpha, tied)}, \quad
    M_i \frac{t_j - t_i}{B_i} \;\text{(alpha, free)},                                  \tag{2} \\
    \frac{\partial t_i}{\partial B_i} = M_i \frac{\tau_c x_i}{B_i}, \quad
    \frac{\partial t_i}{\partial A_i} = 0 \;\text{(tied)}, \qquad
    -M_i \frac{t_i - t_{min}}{B_i}, \quad
    -M_i \frac{\Delta^{(n-1)}}{B_i} \;\text{(free)},                                   \tag{3}

and of the readout :math:`\partial V_k/\partial t_j = -W_{kj}/\tau_c`. So the Jacobian of a layer
is M w, that of the ReLU network, whatever the model (the chain rule of Stanojevic et al. 2024,
methods; (2) and (3) for tied and free thresholds derived here).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference.losses import mean_squared_error, softmax_cross_entropy
from reference.ttfs_network import Network, Pool
from reference.ttfs_run import Step, trace

THRESHOLDS = ("tied", "free")
PARAMETERS = ("W", "D", "A", "B", "v_th")
LOSSES = {"cross entropy": softmax_cross_entropy, "mean square": mean_squared_error}


def gradient(
    net: Network, x, labels, *, semantics: str = "closed", threshold: str = "tied",
    sparsity: float = 0.0, loss: str = "cross entropy",
):  # fmt: skip
    """Mean cross entropy of the logits, or another loss, and its gradient.

    Parameters
    ----------
    net : Network
        Of floats.
    x : array_like, shape (batch, ..)
    labels : array_like of int, shape (batch,)
        For the mean square, targets (batch, classes).
    semantics : {"closed", "clamped"}
        With `clamped`, a spike held back to the opening of its window does not move.
    threshold : {"tied", "free"}
        Whether a threshold follows weights and drifts, or is a parameter of its own.
    sparsity : float
        Adds that much times the sum of all hidden activations x, averaged over the batch.
    loss : {"cross entropy", "mean square"}
        Of the logits.

    Returns
    -------
    loss : float
    gradients : dict of lists of ndarray
        `"W"` and `"D"`, readout last. Per hidden layer, summed over the neurons that share them:
        `"A"`, `"B"` (of the alpha model: by alpha, in `"A"`, and zeros), and with free
        thresholds `"v_th"`; then `"D"` of hidden layers is zero.

    Raises
    ------
    ValueError
        If an option is unknown, or the shapes do not fit.
    """
    value, found, _ = gradient_of_steps(net, x, labels, semantics, threshold, sparsity, loss)
    return value, found


def gradient_of_steps(
    net: Network, x, labels, semantics="closed", threshold="tied", sparsity=0.0,
    loss="cross entropy",
):  # fmt: skip
    """As `gradient`; answers (loss, gradients, the steps of `reference.ttfs_run.trace`)."""
    if threshold not in THRESHOLDS:
        raise ValueError(f"threshold must be 'tied' or 'free'; got {threshold!r}")
    if semantics == "event":
        raise ValueError("semantics='event' is differentiated by evsim.gradient; use 'closed'")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {loss!r}")
    steps = list(trace(net, x, semantics))
    readout = steps[-1]
    value, pull_loss = LOSSES[loss](readout.times, labels)
    g = pull_loss(1.0)
    found: dict[str, list[np.ndarray]] = {name: [] for name in PARAMETERS}
    by_x, by_weight = readout.pull(g)
    found["W"].append(by_weight)
    found["D"].append(g.sum(axis=0))
    by_t = -by_x / net.tau_c
    for step in reversed(steps[:-1]):
        by_t = by_t.reshape(step.times.shape)
        if isinstance(step.layer, Pool):
            by_t = step.pull(by_t)
            continue
        moves = step.active & ~step.premature if semantics == "clamped" else step.active
        if sparsity:
            share = sparsity / (net.tau_c * len(by_t))
            value += share * float((step.window.t_max - step.times).sum())
            by_t = by_t - share
        by_t = _pulled(step, np.where(moves, by_t, 0.0), threshold, found)
    return value, {name: values[::-1] for name, values in found.items() if values}, steps


def _pulled(step: Step, by_t, threshold: str, found):
    """Through one hidden layer: enters the gradients of its parameters, answers that by t_in."""
    layer, window = step.layer, step.window
    slope = layer.slopes()
    slope = np.where(slope > 0, slope, 1.0)  # else silent, and by_t is zero
    reach = by_t / layer.along(slope)  # dL/dt_i M_i / B_i
    by_x, by_weight = step.pull(-window.tau_c * reach)
    tied = threshold == "tied"
    # dt/dB times B: of the tied threshold tau_c x_i, of a free one -(t_i - t_min).
    lever = (window.t_max if tied else window.t_min) - step.times
    over = tuple(k for k in range(by_t.ndim) if k != 1)
    by_slope = (reach * lever).sum(axis=over)
    if layer.model == "alpha":
        by_weight = by_weight + by_slope.reshape(-1, *[1] * (by_weight.ndim - 1))
    by_drive = window.tau_c * reach.sum(axis=0)
    if layer.drift.ndim < by_drive.ndim:
        by_drive = by_drive.sum(axis=(1, 2))
    before = window.t_min - window.start
    by_a = 0.0 * by_slope if tied else -before * reach.sum(axis=over)
    if layer.model == "alpha":  # alpha is both slopes
        by_a, by_slope = by_a + by_slope, 0.0 * by_slope
    found["W"].append(by_weight)
    found["D"].append(-by_drive if tied else 0.0 * by_drive)
    found["A"].append(by_a)
    found["B"].append(by_slope)
    if not tied:
        found["v_th"].append(by_drive)
    return -by_x / window.tau_c


def local_derivatives(net: Network, x, n: int, *, threshold: str = "tied") -> dict[str, np.ndarray]:
    """Derivatives of the spike times of dense hidden layer `n` (from 1), for one sample.

    Parameters
    ----------
    net : Network
    x : array_like, shape (1, ..)
    n : int
    threshold : {"tied", "free"}

    Returns
    -------
    dict of ndarray
        `"t_in"` and `"W"` (n_out, n_in), the latter of `t_i` by `W[i, j]`; `"D"`, `"v_th"`,
        `"B"`, `"A"` (n_out,), of `t_i` by the neuron's own (alpha model: B and A as if free of
        W); `"t_max"` (n_out,), by the end of the window with the threshold tied to it.
    """
    step = [s for s in trace(net, x, "closed") if s.window is not None][n - 1]
    layer, active = step.layer, step.active[0][:, None]
    # A neuron's own numbers move its own spike only: one pull of ones has them all.
    ones = step.active.astype(float)
    own: dict[str, list[np.ndarray]] = {name: [] for name in PARAMETERS}
    alone: dict[str, list[np.ndarray]] = {name: [] for name in PARAMETERS}
    _pulled(step, ones, threshold, own)
    free = replace(layer, model="general", b=layer.slopes())
    _pulled(replace(step, layer=free), ones, threshold, alone)
    if threshold == "tied":  # a free one would move the spike as the drift does, the other way
        own["v_th"].append(-own["D"][0])
    found = own | {"A": alone["A"], "B": alone["B"]}
    return {name: values[0] for name, values in found.items()} | {
        "t_in": np.where(active, layer.weight, 0.0) / layer.slopes()[:, None],
        "t_max": np.ones_like(step.times[0]),
    }
