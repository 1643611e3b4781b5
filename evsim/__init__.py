"""evsim: the ground truth for spiking neural networks.

An exact, event-driven simulator that never misses a spike. See `Network` and `simulate`.
"""

from evsim.delivery import Current
from evsim.models.delta import DeltaLIF
from evsim.models.integrate import IF
from evsim.models.lif import LIF
from evsim.models.readout import LI
from evsim.network import Network
from evsim.nir import from_nir
from evsim.record import Record
from evsim.simulate import ZenoError, simulate
from evsim.spikes import Spikes

__version__ = "0.1.0"

__all__ = [
    "IF",
    "LI",
    "LIF",
    "Current",
    "DeltaLIF",
    "Network",
    "Record",
    "Spikes",
    "ZenoError",
    "from_nir",
    "simulate",
]
