"""Seeded neurons for the battery: eight families, every option, a share next to a decision.

The families are those over which the accuracy of a float64 solver was measured; between
them they hold every regime of the two time constants and both signs of the threshold
relative to the level that the voltage relaxes to.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np

from reference.lif import Neuron, Run, Walk, simulate, walked

FAMILIES = (
    "ratio",  # tau_syn / tau_mem in 0.1..10, threshold above the asymptote
    "ratio_below",  # the same, threshold below the asymptote: fires without input
    "equal",  # tau_syn = tau_mem
    "double",  # tau_mem = 2 tau_syn
    "near_1e-9",  # |1 - tau_syn / tau_mem| about 1e-9
    "near_1e-15",  # about 1e-15: a few units in the last place
    "fast_synapse",  # tau_syn = 1e-3 tau_mem
    "slow_synapse",  # tau_syn = 1e3 tau_mem
)
UNTIL = 60.0
GRAZING_SHARE = 0.2
RACING_SHARE = 0.05


@dataclass(frozen=True)
class Problem:
    """One neuron, its input and how it was made.

    Attributes
    ----------
    family : str
        One of `FAMILIES`.
    number : int
        Index in its family; (seed, family, number) determines everything.
    neuron : Neuron
    arrivals : tuple of (time, weight, delay)
    until : float
    grazing : float or None
        Signed relative distance of the largest unreset voltage from threshold for which
        the threshold was set; None for other neurons.
    racing : int or None
        How many floats after its first spike a strong inhibition arrives; None for others.
    """

    family: str
    number: int
    neuron: Neuron
    arrivals: tuple[tuple[float, float, float], ...]
    until: float = UNTIL
    grazing: float | None = None
    racing: int | None = None

    @property
    def generic(self) -> bool:
        """Whether nothing was arranged: neither grazing nor racing."""
        return self.grazing is None and self.racing is None


def generate(family: str, count: int, seed: int = 0) -> list[Problem]:
    """The first `count` problems of a family.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    count : int
    seed : int

    Returns
    -------
    problems : list of Problem

    Raises
    ------
    ValueError
        If there is no such family.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {FAMILIES}; got {family!r}")
    return [_problem(family, n, seed) for n in range(count)]


def variants(model: str, count: int, seed: int = 0) -> list[Problem]:
    """Generic neurons of any model of `reference.lif`, half of them with current steps.

    Parameters
    ----------
    model : {"cuba", "delta", "if"}
    count : int
    seed : int

    Returns
    -------
    problems : list of Problem
    """
    return [_variant(model, n, np.random.default_rng((seed, n))) for n in range(count)]


def _variant(model: str, number: int, rng: np.random.Generator) -> Problem:
    """One generic neuron; drives are small where nothing leaks."""
    scale = 0.1 if model == "if" else 1.0
    steps = zip(np.sort(rng.uniform(0, 30, 3)), rng.uniform(-0.5, 1.5, 3) * scale, strict=True)
    neuron = Neuron(
        model=model,
        tau_mem=float(rng.uniform(5.0, 20.0)),
        tau_syn=float(rng.uniform(2.0, 20.0)),
        v_leak=0.0 if model == "if" else float(rng.choice((0.0, -0.3))),
        v_reset=float(rng.uniform(-0.5, 0.5)),
        t_ref=float(rng.choice((0.0, rng.uniform(0.1, 3.0)))),
        bias=float(rng.choice((0.0, rng.uniform(-0.2, 1.3) * scale))),
        reset=str(rng.choice(("value", "subtract"))),
        current=tuple((float(t), float(x)) for t, x in steps) if rng.random() < 0.5 else (),
    )
    weights = rng.normal(0.4, 0.8, 6) * (3.0 if model == "cuba" else 1.0)
    times, delays = rng.uniform(0.0, 30.0, 6), rng.choice((0.0, 0.5, 0.123), 6)
    arrivals = zip(times.tolist(), weights.tolist(), delays.tolist(), strict=True)
    return Problem(f"variant {model}", number, neuron, tuple(arrivals), until=40.0)


def solve(problems: Sequence[Problem], processes: int = 2) -> list[Run]:
    """The exact run of every problem, in order, over some processes.

    Parameters
    ----------
    problems : sequence of Problem
    processes : int
        1 solves in this process.

    Returns
    -------
    runs : list of Run
    """
    if processes == 1:
        return list(map(_solve, problems))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_solve, problems, chunksize=64))


def _solve(problem: Problem) -> Run:
    return simulate(problem.neuron, problem.arrivals, problem.until)


def _problem(family: str, number: int, seed: int) -> Problem:
    """One problem; a stream of its own, so that counts do not change the neurons."""
    rng = np.random.default_rng((seed, FAMILIES.index(family), number))
    neuron = _neuron(family, rng)
    problem = Problem(family, number, neuron, _arrivals(neuron, rng))
    kind = rng.random()
    if kind < RACING_SHARE:
        return _race(problem, rng)
    if kind < RACING_SHARE + GRAZING_SHARE and family != "ratio_below":
        return _graze(problem, rng)
    return problem


def _one(rng: np.random.Generator, *options: Any) -> Any:
    """One of the options, as `rng.choice` draws it, which makes an array of them first."""
    return options[rng.integers(len(options))]


def _tau_syn(family: str, tau_mem: float, rng: np.random.Generator) -> float:
    """Synaptic time constant of a family."""
    if family.startswith("ratio"):
        return tau_mem * 10.0 ** rng.uniform(-1.0, 1.0)
    if family == "near_1e-9":
        return tau_mem * (1.0 + 1e-9 * _one(rng, -1, 1) * rng.uniform(0.3, 3.0))
    if family == "near_1e-15":
        return tau_mem * (1.0 + 2.0**-52 * int(_one(rng, -1, 1)) * int(rng.integers(1, 9)))
    return (
        tau_mem * {"equal": 1.0, "double": 0.5, "fast_synapse": 1e-3, "slow_synapse": 1e3}[family]
    )


def _neuron(family: str, rng: np.random.Generator) -> Neuron:
    """Parameters; the threshold is above the asymptote unless the family says below."""
    tau_mem = rng.uniform(5.0, 20.0)
    v_leak = _one(rng, 0.0, rng.uniform(-2.0, 2.0))
    if family == "ratio_below":
        bias = rng.uniform(1.0, 3.0)
        v_th = v_leak + bias * rng.uniform(0.2, 0.9)
    else:
        bias = _one(rng, 0.0, rng.uniform(-0.5, 0.5))
        v_th = v_leak + bias + rng.uniform(0.3, 2.0)
    return Neuron(
        tau_mem=float(tau_mem),
        tau_syn=float(_tau_syn(family, tau_mem, rng)),
        v_th=float(v_th),
        v_leak=float(v_leak),
        v_reset=float(v_th - rng.uniform(0.3, 2.0)),
        t_ref=float(_one(rng, 0.0, rng.uniform(0.1, 2.0), rng.uniform(0.1, 5.0))),
        bias=float(bias),
        reset=str(_one(rng, "value", "subtract")),
    )


def _psp_peak(neuron: Neuron) -> float:
    """Largest voltage that one unit of weight causes; sets the size of weights only."""
    ratio = neuron.tau_syn / neuron.tau_mem
    return math.exp(-1.0) if abs(ratio - 1.0) < 1e-3 else ratio ** (1.0 / (1.0 - ratio))


def _arrivals(neuron: Neuron, rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """Inputs of mixed sign, some without delay, some coincident."""
    count = int(rng.integers(2, 9))
    scale = abs(neuron.v_th - neuron.v_leak - neuron.bias) / _psp_peak(neuron)
    times = np.sort(rng.uniform(0.0, 40.0, count))
    if rng.random() < 0.1:
        times[1] = times[0]
    signs = np.where(rng.random(count) < 0.7, 1.0, -1.0)
    weights = signs * scale * rng.uniform(0.3, 2.5, count)
    delays = np.where(rng.random(count) < 0.5, 0.0, rng.uniform(0.1, 5.0, count))
    return tuple(zip(times.tolist(), weights.tolist(), delays.tolist(), strict=True))


def _graze(problem: Problem, rng: np.random.Generator) -> Problem:
    """The same problem with its threshold next to its largest unreset voltage.

    The peak is measured twice, the second time against a threshold just above it, so
    that the float that comes back is the peak to its last digit. A voltage still rising as
    the run ends is first cut short by an inhibition, which then decides.
    """
    distance = float(_one(rng, -1.0, 1.0) * 10.0 ** -int(rng.integers(1, 17)))
    rest = problem.neuron.v_leak + problem.neuron.bias
    strong = max(abs(w) for _, w, _ in problem.arrivals)
    peak, when = _peak(problem, 1e3 * strong)
    if when >= problem.until:
        cut = (0.8 * problem.until, -20.0 * strong, 0.0)
        problem = replace(problem, arrivals=(*problem.arrivals, cut))
        peak, _ = _peak(problem, 1e3 * strong)
    if peak < max(rest, problem.neuron.v_leak) + 0.05:
        return problem  # nothing rises: the neuron stays generic
    peak, _ = _peak(problem, peak + 1e-6)
    v_th = rest + (peak - rest) * (1.0 - distance)
    neuron = replace(problem.neuron, v_th=v_th, v_reset=v_th - float(rng.uniform(0.3, 2.0)))
    return replace(problem, neuron=neuron, grazing=distance)


def _race(problem: Problem, rng: np.random.Generator) -> Problem:
    """The same problem with a strong inhibition within a few floats of its first spike."""
    run = _solve(problem)
    if not run.spikes or run.spikes[0].hi == 0.0:
        return problem
    ahead = int(_one(rng, -64, -4, -1, 0, 1, 4, 64))
    time = run.spikes[0].hi + ahead * float(np.spacing(run.spikes[0].hi))
    strong = -20.0 * max(abs(w) for _, w, _ in problem.arrivals)
    return replace(problem, arrivals=(*problem.arrivals, (time, strong, 0.0)), racing=ahead)


def _peak(problem: Problem, above: float) -> tuple[float, float]:
    """Largest voltage of the run and its time, given a threshold `above` it."""
    neuron = replace(problem.neuron, v_th=above)
    walk = walked(lambda r: Walk(neuron, problem.until, r, sharp=True), problem.arrivals)
    best = max(walk.stretches, key=lambda stretch: stretch.passage.margin)
    return above + best.passage.margin, best.top()
