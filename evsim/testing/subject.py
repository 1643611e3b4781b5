"""Somebody's simulator, seen through one pair of glasses."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim.testing.accuracy import Accuracy
from evsim.testing.case import Case

Trains = dict[str, list[tuple[np.ndarray, np.ndarray]]]


class Broken(AssertionError):
    """A law does not hold; the message says which, where, and how far off."""


class Unclear(Exception):
    """A case that nobody of the declared accuracy could decide: nothing is asked of it."""


class NotApplicable(Exception):
    """A law, or a hard case, that says nothing about this simulator."""


@dataclass
class Answer:
    """Spikes by population and unit, as (times, times_lo), and what was returned."""

    trains: Trains
    raw: Any = None

    def count(self) -> int:
        """Number of spikes."""
        return sum(hi.size for units in self.trains.values() for hi, _ in units)


@dataclass
class Subject:
    """A simulator under test.

    Parameters
    ----------
    simulate : callable
        `simulate(network, inputs, until)`: {population: (times, units)}, or an
        `evsim.Record`. `NotImplementedError` means that a case is not for it.
    accuracy : Accuracy
    batch : callable, optional
        `batch(network, [inputs, ..], until)`: one answer per sample, where it can.
    resume : callable, optional
        `resume(network, inputs, until, later, end)`: the run to `until`, then with the later
        inputs on to `end`; the answer of the whole.
    start : callable, optional
        `start(network, inputs, until, voltages)`: the run from a voltage for every population.
    refractory : tuple of str, optional
        What `Network` may ask of a refractory membrane: "clamp", "hold_fire", "block_input".
    patience : float, optional
        Processor time of one answer, after which a law is broken [s]; where signals can tell.
    gradient : callable, optional
        See `evsim.testing.laws.gradients`.
    """

    simulate: Callable
    accuracy: Accuracy = field(default_factory=Accuracy)
    batch: Callable | None = None
    resume: Callable | None = None
    start: Callable | None = None
    refractory: tuple[str, ...] = ("clamp",)
    patience: float = 30.0
    gradient: Callable | None = None
    refused: int = 0  # cases that it does not implement
    ran: int = 0
    last: Case | None = None

    def run(self, case: Case) -> Answer:
        """What it says about a case."""
        self.last = case
        return self.guarded(case, lambda: self.simulate(*case.problem()))

    def guarded(self, case: Case, call: Callable[[], Any]) -> Answer:
        """The answer of a call; an exception other than NotImplementedError breaks every law."""
        try:
            with _limited(self.patience):
                raw = call()
        except _TooLong:
            raise Broken(
                f"the simulator has not answered after {self.patience:g} s of processor time"
            ) from None
        except NotImplementedError as reason:
            self.refused += 1
            raise Unclear(f"not implemented: {reason}") from reason
        except Exception as error:
            raise Broken(f"the simulator raised {type(error).__name__}: {error}") from error
        self.ran += 1
        return Answer(trains_of(raw, case), raw)

    def voltage(self, answer: Answer, name: str, unit: int, t: np.ndarray) -> np.ndarray | None:
        """Membrane voltage, if its answers know it."""
        known = getattr(answer.raw, "voltage", None)
        return None if known is None else np.asarray(known(name, unit, t))


class _TooLong(BaseException):
    """Raised inside a simulator that does not end."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer; in the main thread, where there is such a timer."""
    timed = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not timed or seconds == math.inf or signal.getitimer(signal.ITIMER_PROF)[0]:
        yield
        return

    def end(*_):
        raise _TooLong

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def as_subject(simulator: Any, accuracy: Accuracy | None = None) -> Subject:
    """A `Subject` from what a law was called with."""
    if isinstance(simulator, Subject):
        return simulator
    if not callable(simulator):
        raise TypeError(f"a simulator is called with (network, inputs, until); got {simulator!r}")
    return Subject(simulator, accuracy or Accuracy())


def trains_of(raw: Any, case: Case) -> Trains:
    """Spikes by unit of somebody's answer, checked for its form."""
    spikes = getattr(raw, "spikes", raw)
    if not hasattr(spikes, "keys"):
        raise Broken(f"the answer must map populations to (times, units); got {type(raw)}")
    found: Trains = {}
    for layer in case.layers:
        if layer.name not in spikes:
            raise Broken(f"the answer lacks population {layer.name!r}; it has {[*spikes]}")
        times, lo, units = _columns(spikes[layer.name], layer.name)
        bad = ~((times >= 0) & (times <= case.until)) | (units < 0) | (units >= layer.n)
        if bad.any():
            k = int(np.argmax(bad))
            raise Broken(
                f"spike {k} of {layer.name!r} is at {times[k]!r}, of unit {units[k]}: not in "
                f"[0, {case.until}], or not one of {layer.n} units"
            )
        by_unit = []
        for n in range(layer.n):
            mine = np.flatnonzero(units == n)
            mine = mine[np.lexsort((lo[mine], times[mine]))]
            by_unit.append((times[mine], lo[mine]))
        found[layer.name] = by_unit
    return found


def _columns(value: Any, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(times, times_lo, units) of `Spikes` or of a pair."""
    if hasattr(value, "times") and hasattr(value, "units"):
        times, units = np.asarray(value.times, float), np.asarray(value.units)
        lo = np.asarray(getattr(value, "times_lo", np.zeros_like(times)), float)
    else:
        pair = list(value) if isinstance(value, Iterable) else []
        if len(pair) != 2:
            raise Broken(f"the spikes of {name!r} must be (times, units); got {value!r}")
        times, units = np.asarray(pair[0], float), np.asarray(pair[1])
        lo = np.zeros_like(times)
    if times.ndim != 1 or times.shape != units.shape:
        raise Broken(
            f"times and units of {name!r} must be of one length; got {times.shape}, {units.shape}"
        )
    return times, lo, units.astype(np.int64)


# ---------------------------------------------------------------------------------- clocks


def clocked(make_step: Callable, dt: float) -> Callable:
    """`simulate` of a clock-driven simulator.

    Parameters
    ----------
    make_step : callable
        `make_step(network, dt)` gives (state, step), and `step(state, input)` gives (state,
        spikes): `input` maps each input to the number of spikes of every unit in this step,
        `spikes` each population to the number, or the truth, of those of every neuron.
    dt : float

    Returns
    -------
    simulate : callable
        Input at t counts in the step nearest to t / dt; a spike of step k is at (k + 1) dt.
    """

    def simulate(network, inputs, until):
        """Step by step; what is left of `until` behind the last whole step is not run."""
        state, step = make_step(network, dt)
        steps = int(np.floor(until / dt + 1e-9))
        rasters = {name: np.zeros((steps + 1, n)) for name, n in network.inputs.items()}
        for name, spikes in inputs.items():
            k = np.rint(spikes.times / dt).astype(int)
            np.add.at(rasters[name], (k[k <= steps], spikes.units[k <= steps]), 1.0)
        found: dict[str, tuple[list, list]] = {name: ([], []) for name in network.populations}
        for k in range(steps):
            state, spikes = step(state, {name: raster[k] for name, raster in rasters.items()})
            for name, fired in spikes.items():
                for unit in np.flatnonzero(np.asarray(fired)):
                    found[name][0].append(min((k + 1) * dt, until))
                    found[name][1].append(unit)
        return {k: (np.array(t), np.array(u, dtype=np.int64)) for k, (t, u) in found.items()}

    return simulate
