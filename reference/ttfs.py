r"""Networks of neurons that spike at most once, which compute exactly what ReLU networks do.

Layer n integrates the spikes of the layer before it, then ramps to threshold:

.. math::
    \tau_c \dot V_i = \begin{cases} A_i + \sum_j W_{ij} H(t - t_j),
        & t_{min}^{(n-1)} \le t < t_{min}^{(n)} \\
        B_i, & t_{min}^{(n)} \le t < t_{max}^{(n)} \end{cases}                       \tag{1}

from V = 0, with the Heaviside function H and :math:`t_{min}^{(n)} = t_{max}^{(n-1)}`. The first
time that V reaches the threshold is the spike; without one before :math:`t_{max}` the neuron
is silent, and stored as :math:`t_{max}`. With windows of width :math:`\Delta` and thresholds

.. math::
    \vartheta_i = (B_i \Delta^{(n)} + A_i \Delta^{(n-1)})/\tau_c - D_i                 \tag{2}

that spike is at

.. math::
    t_i = t_{min} + \frac{\tau_c}{B_i} \Bigl[\vartheta_i - \frac{A_i \Delta^{(n-1)}}{\tau_c}
        - \sum_j W_{ij} x_j\Bigr], \qquad x_j = (t_{max}^{(n-1)} - t_j)/\tau_c,          \tag{3}

so that :math:`x_i = [\sum_j w_{ij} x_j + b_i]_+` with :math:`w = W/B`, :math:`b = D/B`, provided
that

* C1: :math:`B_i > 0`;
* C2: no spike by (3) lies before :math:`t_{min}`, which is :math:`x_i \le \Delta/\tau_c`;
* C3: V stays below threshold for as long as it integrates, excitation coming first or not;
* C4: the threshold is positive.

The readout is :math:`V_k = D_k + \sum_j W_{kj} x_j` at the end of the last window.

Model `b1` has A = 0, B = 1 (Stanojevic et al. 2024, Nature Communications 15:6793); `alpha` has
A = alpha, B = alpha + sum of W, all inputs spiking at their :math:`t_{max}` at the latest
(Stanojevic et al. 2023, arXiv:2212.12522); `general` any A, and any B > 0.

Sources: model, (2) for `b1` and `alpha`, (3): as above. (2) in general, the conditions, and what
violates them: derived here, and tested.

Examples
--------
>>> import numpy as np
>>> w, b = [np.array([[1.0, -1.0], [0.5, 0.5]]), np.array([[1.0, 2.0]])], [np.zeros(2), np.ones(1)]
>>> net = from_relu(w, b, x_max=[1.0])
>>> run = forward(net, [[0.25, 0.75]], semantics="event")
>>> run.times[0], run.active[0], run.logits
(array([[2.5, 2. ]]), array([[False,  True]]), array([[2.]]))
"""

from __future__ import annotations

from reference.ttfs_fusion import (
    AvgPool,
    BatchNorm,
    Conv2d,
    Dense,
    MaxPool,
    ReLU,
    relu_forward,
)
from reference.ttfs_gradient import gradient, local_derivatives
from reference.ttfs_mapping import Conditions, adapted, conditions, from_relu, safe_widths, to_relu
from reference.ttfs_network import Network, Pool, Weighted
from reference.ttfs_run import Run, forward

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Conditions",
    "Conv2d",
    "Dense",
    "MaxPool",
    "Network",
    "Pool",
    "ReLU",
    "Run",
    "Weighted",
    "adapted",
    "conditions",
    "forward",
    "from_relu",
    "gradient",
    "local_derivatives",
    "relu_forward",
    "safe_widths",
    "to_relu",
]
