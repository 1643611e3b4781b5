"""What a verification found: data only, shared by the checks and by the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

#: Verdicts of a layer, from best to worst; the first three pass.
VERDICTS = ("identical", "tie", "discretised", "mismatch", "unverifiable")
PASSING = frozenset(VERDICTS[:3])


@dataclass(frozen=True)
class Mismatch:
    """The first place at which a recorded observable leaves its twin."""

    quantity: str  #: "spikes" | "membrane" | "synaptic_current" | "input_current"
    step: int
    sample: int
    neuron: int  #: flat index in C order
    expected: float  #: the twin's value
    observed: float  #: the recorded value
    #: Spikes: distance of the twin from threshold; states: of the two values; input current: of the
    #: two values, in units in the last place of the sum of the magnitudes of its terms.
    ulps: float


@dataclass(frozen=True)
class Agreement:
    """Framework against twin, one observable."""

    quantity: str
    verdict: str  #: "identical" | "tie" | "mismatch" | "unverifiable"
    n_compared: int = 0
    n_ties: int = 0
    n_mismatched: int = 0
    max_ulps: float = 0.0
    first: Mismatch | None = None


class Found(NamedTuple):
    """Why something differs: switches that together explain it, and the explanation in words."""

    cause: list[str]
    words: str
    also: Sequence[str] = ()  #: switches each of which would explain the same data alone


def or_else(also: Sequence[str]) -> str:
    """Other explanations in words."""
    return f" ({' or '.join(also)} would explain it as well)" if also else ""


@dataclass(frozen=True)
class Neighbourhood:
    """Voltage of one neuron around a place of interest, for the picture."""

    neuron: int
    sample: int
    step: int  #: the place of interest
    t: np.ndarray  #: step indices of the recorded and twin samples
    recorded: np.ndarray | None  #: recorded membrane
    twin: np.ndarray  #: the twin's membrane before reset
    threshold: float
    t_exact: np.ndarray  #: in steps, fine grid
    exact: np.ndarray  #: voltage of the exact solution
    spikes_recorded: np.ndarray  #: steps
    spikes_exact: np.ndarray  #: in steps, off grid


@dataclass(frozen=True)
class Truth:
    """Twin against the exact solution of the differential equation it stands for.

    Times are in units of one step. Spikes are paired in order, per neuron and sample.
    """

    n_recorded: int
    n_exact: int
    same_steps: bool  #: every exact spike lies in the step in which the framework fired
    time_error: np.ndarray  #: recorded minus exact time of the paired spikes [steps]
    divergence: float  #: first time at which any train differs by over 1.5 steps, or inf
    n_diverged: int  #: trains that diverge
    n_trains: int
    voltage_error: float  #: largest subthreshold |twin - exact| before divergence, in thresholds
    order: float  #: observed order of convergence in dt, nan where not measured
    n_undecided: int = 0


@dataclass
class LayerResult:
    """One layer of one recording."""

    name: str
    model: str
    verdict: str
    reason: str  #: the verdict in words, one sentence
    cause: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)  #: each would explain the same data alone
    first: Mismatch | None = None
    checks: list[Agreement] = field(default_factory=list)
    alone: Truth | None = None  #: on the recorded input of this layer
    chained: Truth | None = None  #: behind the exact solution of all layers before it
    raster_recorded: tuple[np.ndarray, np.ndarray] | None = None  #: (steps, neurons), sample 0
    raster_exact: tuple[np.ndarray, np.ndarray] | None = None  #: (times in steps, neurons)
    neighbourhood: Neighbourhood | None = None
    shape: tuple[int, ...] = ()


@dataclass
class RecordingResult:
    """One recording: its layers in the order in which they are computed."""

    path: str
    framework: str
    version: str
    layers: list[LayerResult]
    n_steps: int = 0
    n_samples: int = 0
    dt: float | None = None
    title: str = ""
    provenance: dict[str, object] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`"pass"`, `"fail"`, or `"unverifiable"` where nothing fails but something is missing."""
        verdicts = {layer.verdict for layer in self.layers}
        if "mismatch" in verdicts:
            return "fail"
        return "pass" if verdicts and verdicts <= PASSING else "unverifiable"
