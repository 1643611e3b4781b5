r"""What the gain of a layer is expected to be: the gradient as noise with a covariance in time.

Take the gradient e that arrives at the spikes of a layer as independent of its state, of its
neurons and its samples, but not of itself at other steps: :math:`E[e_t e_{t'}] = C_{tt'}`. Let A
be the linear map of one neuron from e to :math:`\lambda = \partial L/\partial x`, which holds the
surrogate at its membranes and the path through its resets. Through the batch norm of scale
:math:`\gamma/s_I` and weights of variance :math:`\sigma^2/N` that are independent of it, the layer
below receives

.. math::
    C' = \frac{\sigma^2 \gamma^2}{s_I^2}\, E[A C A^T], \qquad
    G^2 = \mathrm{tr}\, C'/\mathrm{tr}\, C,
                                                                                      \tag{1}

and without batch norm the same with :math:`\gamma/s_I = 1`. The expectation is one over the
neurons and samples of the layer. Where the steps of e are independent, C is diagonal; for a soft
reset that is detached, :math:`A_{ts} = \kappa \beta^{s-t} g_s`, and far from the last step

.. math::
    G^2 = \kappa^2\, \frac{\sigma^2 \gamma^2}{s_I^2}\, E[g^2]\,
        \frac{1 - \beta^{2T}}{1 - \beta^2}.                                           \tag{2}

A wide surrogate changes slowly and makes the gradient coherent in time even if it began as white
noise, which (1) follows from layer to layer and (2) cannot know.
"""

from __future__ import annotations

import numpy as np

from reference.bptt import lif_backward
from reference.stack import Stack, StackRun


def gains(
    net: Stack, run: StackRun, surrogate, *, detach: bool, covariance=None, seed: int = 0
) -> np.ndarray:
    """Expected gain of every layer but the first, by (1).

    Parameters
    ----------
    net : Stack
        Without skip connections.
    run : StackRun
        Whose membranes, spikes and statistics the expectation is over.
    surrogate : Surrogate, str or callable
    detach : bool
    covariance : ndarray, shape (T, T), optional
        Of the gradient at the last spikes; default: the same at all steps.
    seed : int
        Of the gradients that are drawn; with n neurons and samples their sampling error is
        about 1 / sqrt(n), relative.

    Returns
    -------
    gain : ndarray, shape (depth - 1,)
        Entry l: from the spikes of layer l + 1 to those of layer l, as `exp` of the differences
        of `stack.total`.

    Raises
    ------
    ValueError
        If the network has skip connections.
    """
    if net.skip:
        raise ValueError("the mean field knows no skip connections; use a Stack with skip=0")
    rng = np.random.default_rng(seed)
    shape = run.layers[-1].h.shape
    c = np.ones((shape[0], shape[0])) if covariance is None else np.asarray(covariance, float)
    found = []
    for k in range(net.depth - 1, 0, -1):
        layer = run.layers[k]
        drawn = rng.standard_normal(layer.h.shape)
        e = np.tensordot(_root(c / np.trace(c)), drawn, axes=1)
        back = lif_backward(layer, e, surrogate, detach=detach)["current"].reshape(shape[0], -1)
        back = back.astype(float)
        c = _amplification(net, run, k) * (back @ back.T) / back.shape[1]
        found.append(np.sqrt(np.trace(c)))
    return np.array(found[::-1])


def independent_gains(net: Stack, run: StackRun, derivative) -> np.ndarray:
    """Expected gain of every layer but the first, by (2): detached soft reset, white gradient."""
    found = []
    for k in range(1, net.depth):
        layer = run.layers[k]
        beta, kappa = float(layer.params["beta"]), float(layer.params["gain"])
        decays = float(np.sum(beta ** (2.0 * np.arange(len(layer.h)))))
        g = np.asarray(derivative(layer.h - layer.of("v_th")), float)
        square = kappa**2 * _amplification(net, run, k) * float(np.mean(g * g)) * decays
        found.append(np.sqrt(square))
    return np.array(found)


def _amplification(net: Stack, run: StackRun, k: int) -> float:
    """Variance of the weights times their number, times the squared scale of the batch norm."""
    weight = np.asarray(net.params[f"{k}.weight"], float)
    spread = float(np.var(weight)) * weight.shape[1]
    if not net.normed:
        return spread
    scale = np.asarray(net.params[f"{k}.gamma"], float) ** 2 / (run.statistics[k].var + net.eps)
    return spread * float(np.mean(scale))


def _root(covariance: np.ndarray) -> np.ndarray:
    """A symmetric square root; what rounding made negative counts as zero."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
