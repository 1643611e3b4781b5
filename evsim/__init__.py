"""evsim: the ground truth for spiking neural networks.

An exact, event-driven simulator that never misses a spike. See `Network` and `simulate`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evsim.delivery import Current
    from evsim.feedforward import FeedForward, Trains
    from evsim.files import load, save
    from evsim.gradient import Gradient, gradient
    from evsim.models.adaptive import AdaptiveLIF
    from evsim.models.alpha import AlphaLIF
    from evsim.models.delta import DeltaLIF
    from evsim.models.integrate import IF
    from evsim.models.lif import LIF
    from evsim.models.quadratic import QIF
    from evsim.models.readout import LI
    from evsim.models.ttfs import TTFS
    from evsim.network import Network
    from evsim.nir import from_nir
    from evsim.nir_out import to_nir
    from evsim.outcome import ZenoError
    from evsim.proof.certify import certify, certify_spikes
    from evsim.proof.verdict import Certificate
    from evsim.record import Record
    from evsim.simulate import simulate
    from evsim.spikes import Spikes

__version__ = "0.1.0"

__all__ = [
    "IF",
    "LI",
    "LIF",
    "QIF",
    "TTFS",
    "AdaptiveLIF",
    "AlphaLIF",
    "Certificate",
    "Current",
    "DeltaLIF",
    "FeedForward",
    "Gradient",
    "Network",
    "Record",
    "Spikes",
    "Trains",
    "ZenoError",
    "certify",
    "certify_spikes",
    "from_nir",
    "gradient",
    "load",
    "save",
    "simulate",
    "to_nir",
]

#: Where each public name lives; loaded when first asked for, so that `import evsim` is quick.
_HOME = {
    "IF": "evsim.models.integrate",
    "LI": "evsim.models.readout",
    "LIF": "evsim.models.lif",
    "AdaptiveLIF": "evsim.models.adaptive",
    "AlphaLIF": "evsim.models.alpha",
    "QIF": "evsim.models.quadratic",
    "TTFS": "evsim.models.ttfs",
    "Certificate": "evsim.proof.verdict",
    "Current": "evsim.delivery",
    "DeltaLIF": "evsim.models.delta",
    "FeedForward": "evsim.feedforward",
    "Gradient": "evsim.gradient",
    "Network": "evsim.network",
    "Record": "evsim.record",
    "Spikes": "evsim.spikes",
    "Trains": "evsim.feedforward",
    "ZenoError": "evsim.outcome",
    "certify": "evsim.proof.certify",
    "certify_spikes": "evsim.proof.certify",
    "from_nir": "evsim.nir",
    "gradient": "evsim.gradient",
    "load": "evsim.files",
    "save": "evsim.files",
    "simulate": "evsim.simulate",
    "to_nir": "evsim.nir_out",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'evsim' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps a public name that is also that of its module: `evsim.simulate` is the function,
    whoever imports that module first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple:
        """By name, for functions that name the package and are sent to other processes."""
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package
