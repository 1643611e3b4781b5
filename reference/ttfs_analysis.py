r"""How gradients travel through networks of single spikes, and where gradient descent goes.

The Jacobian of spike times is M w, with w = W/B. Drawing W, not w, by a standard scheme makes
:math:`B_i = 1 + \sum_j W_{ij}` of the alpha model normal with the variance of the scheme: some
neurons have B near 0, and dominate every product of Jacobians.

With :math:`p = (W_i, D_i)` trained, :math:`q = p/B` the parameters of the ReLU network, and
:math:`e = (1, .., 1, 0)`,

.. math::
    K = \frac{\partial q}{\partial p} = \frac1B (I - q e^T), \qquad
    \nabla_p L = K^T \nabla_q L, \qquad
    \Delta q = -\eta K K^T \nabla_q L + O(\eta^2):                                  \tag{1}

gradient descent on the alpha model is that of the ReLU network behind the metric
:math:`K K^T`, which depends on the place; with B = 1 the two are one. Derived here.
"""

from __future__ import annotations

import numpy as np

#: How the weights of a layer are drawn.
SCHEMES = ("b1", "naive", "smart", "zero-sum")


def metric(weight, drift, slope: float) -> np.ndarray:
    """K of (1) for one neuron of the alpha model; (n_in + 1, n_in + 1)."""
    q = np.append(weight, drift) / slope
    e = np.ones(q.size)
    e[-1] = 0.0
    return (np.eye(q.size) - np.outer(q, e)) / slope


def effective(scheme: str, n: int, variance: float, rng, *, n_in: int | None = None):
    """(w, alive) of a layer of `n` neurons: effective weights, and which have a slope B > 0.

    `b1` draws w; `naive` draws W of the alpha model with alpha 1; `smart` draws w, and scales
    rows whose sum exceeds 0.99 down to it; `zero-sum` draws w and takes the mean of a row off.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}; got {scheme!r}")
    if scheme == "naive":
        w, slope = naive_jacobian(n, variance, rng, n_in=n_in)
        return np.where(slope[:, None] > 0, w, 0.0), slope > 0
    w = _drawn(n, n_in or n, variance, rng)
    total = w.sum(axis=1)
    if scheme == "smart":
        w *= np.where(total > 0.99, 0.99 / np.where(total > 0.99, total, 1.0), 1.0)[:, None]
    elif scheme == "zero-sum":
        w -= total[:, None] / w.shape[1]
    return w, np.ones(n, bool)


def naive_jacobian(
    n: int, variance: float, rng, *, n_in: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(Jacobian with all neurons spiking, B), W of the alpha model drawn by a standard scheme."""
    weight = _drawn(n, n_in or n, variance, rng)
    slope = 1.0 + weight.sum(axis=1)
    return weight / slope[:, None], slope


def _drawn(n: int, n_in: int, variance: float, rng) -> np.ndarray:
    return rng.normal(size=(n, n_in)) * np.sqrt(variance / n_in)


def spectral_radius(matrix) -> float:
    """Largest modulus of an eigenvalue."""
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def travelled(scheme: str, n: int, depth: int, variance: float, seed: int) -> float:
    """Norm of a random unit vector behind `depth` Jacobians, from the top down.

    The masks are those of a network without biases on an input that is uniform in [0, 1].
    """
    rng = np.random.default_rng([seed, n, depth])
    x, layers = rng.random(n), []
    for _ in range(depth):
        w, alive = effective(scheme, n, variance, rng)
        z = w @ x
        mask = (z > 0) & alive
        x = np.where(mask, z, 0.0)
        x = x / (np.abs(x).max() or 1.0)  # masks do not depend on the scale
        layers.append(w * mask[:, None])
    g = rng.normal(size=n)
    g /= np.linalg.norm(g)
    for jacobian in reversed(layers):
        g = jacobian.T @ g
    return float(np.linalg.norm(g))


def cosine(one, other) -> float:
    """Of two lists of arrays, each as one vector."""
    a, b = (np.concatenate([np.ravel(v) for v in values]) for values in (one, other))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
