"""What the exact oracle is asked about and what it answers: plain data, picklable."""

from dataclasses import dataclass, field
from typing import Any

from flint import arb, ctx

Ball = Any
DIGITS = 60


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """Parameters of one neuron; any consistent units.

    `current` lists (time, value) steps of I(t), which is 0 before the first. `tau_mem`,
    `tau_syn` and `v_leak` mean nothing to the models whose equations lack them.
    """

    model: str = "cuba"
    tau_mem: float = 10.0
    tau_syn: float = 5.0
    v_th: float = 1.0
    v_leak: float = 0.0
    v_reset: float = 0.0
    t_ref: float = 0.0
    bias: float = 0.0
    reset: str = "value"
    graze: str = ">="
    current: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (
            ("model", ("cuba", "delta", "if")),
            ("reset", ("value", "subtract")),
            ("graze", (">=", ">")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}; got {getattr(self, name)!r}")


@dataclass(slots=True)
class Spike:
    """One spike, with what its time depends on.

    Attributes
    ----------
    text : str
        Enclosure of the time as Arb prints it, 70 digits; `ball` reads it back.
    hi, lo : float
        The time as an unevaluated sum, good to 106 bits.
    slope, curvature : float
        Derivatives of v just before the spike; of no meaning when `at_once`.
    theta, u0 : float
        Threshold and starting voltage of the interval, above the asymptote.
    margin : float
        How far v would rise above threshold before the next event of the neuron.
    gap : float
        Distance to the nearest arrival or release; inf where there is none.
    at_once : bool
        The state was at or above threshold as the interval began.
    attainable : float
        Error in time that one interval cannot avoid: eps (|theta| + |theta - u0|) / slope.
    bound : float
        First-order bound that carries the roundings of the whole run
        (`reference.attainable`).
    """

    text: str
    hi: float
    lo: float
    slope: float
    curvature: float
    theta: float
    u0: float
    margin: float
    gap: float
    at_once: bool
    attainable: float
    bound: float

    @property
    def ball(self) -> Ball:
        """Enclosure of the time, at the present precision."""
        return arb(self.text)

    @property
    def decimal(self) -> str:
        """The time to 60 digits, fewer where fewer are certain."""
        with ctx.workprec(512):
            return str(arb(self.text).str(DIGITS, radius=False))


@dataclass(slots=True)
class Decision:
    """The question "does it fire here?" of one interval between own events.

    Attributes
    ----------
    start, end : float
        The interval; `end` is the spike where one was fired.
    fired : bool
    top : float
        When v is largest in the interval, had nothing been reset.
    margin : float
        Largest v in the interval minus threshold, had nothing been reset.
    noise : float
        First-order bound on the float64 error of `margin`, the whole run counted.
    local : float
        The part of `noise` that this one test rounds: eps (|theta| + |theta - u0|).
    """

    start: float
    end: float
    fired: bool
    top: float
    margin: float
    noise: float
    local: float


@dataclass
class Run:
    """Spikes and decisions of one neuron; `ties` are signs no precision could settle."""

    spikes: list[Spike] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    ties: list[str] = field(default_factory=list)
    bits: int = 0
