"""evsim: the ground truth for spiking neural networks.

An exact, event-driven simulator that never misses a spike. See `Network` and `simulate`.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evsim.delivery import Current
    from evsim.files import load, save
    from evsim.models.adaptive import AdaptiveLIF
    from evsim.models.alpha import AlphaLIF
    from evsim.models.delta import DeltaLIF
    from evsim.models.integrate import IF
    from evsim.models.lif import LIF
    from evsim.models.quadratic import QIF
    from evsim.models.readout import LI
    from evsim.network import Network
    from evsim.nir import from_nir
    from evsim.outcome import ZenoError
    from evsim.proof.certify import Certificate, certify, certify_spikes
    from evsim.record import Record
    from evsim.simulate import simulate
    from evsim.spikes import Spikes

__version__ = "0.1.0"

__all__ = [
    "IF",
    "LI",
    "LIF",
    "QIF",
    "AdaptiveLIF",
    "AlphaLIF",
    "Certificate",
    "Current",
    "DeltaLIF",
    "Network",
    "Record",
    "Spikes",
    "ZenoError",
    "certify",
    "certify_spikes",
    "from_nir",
    "load",
    "save",
    "simulate",
]

#: Where each public name lives; loaded when first asked for, so that `import evsim` is quick.
_HOME = {
    "IF": "evsim.models.integrate",
    "LI": "evsim.models.readout",
    "LIF": "evsim.models.lif",
    "AdaptiveLIF": "evsim.models.adaptive",
    "AlphaLIF": "evsim.models.alpha",
    "QIF": "evsim.models.quadratic",
    "Certificate": "evsim.proof.certify",
    "Current": "evsim.delivery",
    "DeltaLIF": "evsim.models.delta",
    "Network": "evsim.network",
    "Record": "evsim.record",
    "Spikes": "evsim.spikes",
    "ZenoError": "evsim.outcome",
    "certify": "evsim.proof.certify",
    "certify_spikes": "evsim.proof.certify",
    "from_nir": "evsim.nir",
    "load": "evsim.files",
    "save": "evsim.files",
    "simulate": "evsim.simulate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'evsim' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    # A module that bears the name of its function has taken its place on being imported.
    for other, home in _HOME.items():
        if home == f"{__name__}.{other}" and globals().get(other) is sys.modules.get(home, ""):
            globals()[other] = getattr(sys.modules[home], other)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
