"""Neuron models: parameters that users see, and the kernels of each.

All are imported together: an index of compiled code on disk names the classes of every model
that it has seen, and reading it would import their modules, hence new bodies of verbs, while
Numba is in the middle of typing a kernel that calls them.
"""

from evsim.models import (
    adaptive,
    alpha,
    delta,
    held,
    integrate,
    integrate_exp,
    integrate_ramp,
    lif,
    linear,
    mixed,
    quadratic,
    readout,
)

__all__ = [
    "adaptive",
    "alpha",
    "delta",
    "held",
    "integrate",
    "integrate_exp",
    "integrate_ramp",
    "lif",
    "linear",
    "mixed",
    "quadratic",
    "readout",
]
