"""Hypothesis: no deadlines, since kernels compile on first use; in CI the same cases every time.

Interpreted runs use the C library's fused multiply-add, which rounds once, as does ours in
fractions: the same bits, a hundred times faster.
"""

import ctypes
import ctypes.util
import itertools
import os

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

if os.environ.get("NUMBA_DISABLE_JIT") == "1" and (found := ctypes.util.find_library("m")):
    from evsim import numerics

    library = ctypes.CDLL(found)
    library.fma.restype, library.fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
    numerics.fma = library.fma


@pytest.fixture(scope="session")
def single_spikes():
    """Builds a layered ReLU network as one of single spikes, with its input and its logits."""
    from reference import ttfs

    def network(zeta=0.5, model="b1", tau_c=1.0, signed=False):
        rng = np.random.default_rng(0)
        pairs = list(itertools.pairwise((20, 16, 12, 5)))
        weights = [rng.normal(size=(o, i)) * np.sqrt(2 / i) for i, o in pairs]
        biases = [0.1 * rng.normal(size=o) for _, o in pairs]
        x = rng.random((6, 20))
        x[0], x[1, :15] = 0.0, 0.0
        logits, activations = ttfs.relu_forward(weights, biases, x)
        slopes = {
            "A": [rng.normal(size=o) * 0.3 if signed else 0.2 for _, o in pairs[:-1]],
            "B": [np.exp(0.3 * rng.normal(size=o)) for _, o in pairs[:-1]],
        }
        peaks = [a.max() for a in activations]
        net = ttfs.from_relu(weights, biases, peaks, model, zeta, tau_c=tau_c, **slopes)
        return net, x, logits

    return network
