"""Hypothesis: no deadlines, since kernels compile on first use; in CI the same cases every time.

Interpreted runs use the C library's fused multiply-add, which rounds once, as does ours in
fractions: the same bits, a hundred times faster.
"""

import ctypes
import ctypes.util
import os

from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

if os.environ.get("NUMBA_DISABLE_JIT") == "1" and (found := ctypes.util.find_library("m")):
    from evsim import numerics

    library = ctypes.CDLL(found)
    library.fma.restype, library.fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
    numerics.fma = library.fma
