"""The exact answer to a case, and to what a simulator of some accuracy can know it.

Networks of `LIF`, `DeltaLIF` and `IF` (delta) with clamped refractoriness have an oracle in Arb
balls, `reference.networks`; its bounds carry the roundings of the whole run. Other models are
run by evsim, and a run with its numbers tilted by `TILT` tells how far a tilt moves a spike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

import evsim
from evsim.testing.accuracy import CLEAR, EPS, Accuracy
from evsim.testing.case import Case, Layer
from evsim.testing.subject import Trains, Unclear, trains_of
from reference.networks import Synapse
from reference.networks import simulate as oracle
from reference.neuron import Neuron, Run

ORACLE = {"lif": "cuba", "delta": "delta", "if": "if"}
TILT = 2.0**-24
MANY = 200  # spikes of a case; more are slow and teach nothing new
OF_ONE = 40  # spikes of one neuron
STORED = 2.0**-103  # relative error of a time kept as an unevaluated sum of two floats


@dataclass
class Truth:
    """Exact spikes by population and unit, and what each may be off.

    Attributes
    ----------
    trains : dict of lists of (times, times_lo)
    allowed : dict of lists of ndarray
        Beside each spike.
    """

    trains: Trains
    allowed: dict[str, list[np.ndarray]]
    runs: list[Run] | None = None

    def count(self) -> int:
        """Number of spikes."""
        return sum(hi.size for units in self.trains.values() for hi, _ in units)


#: Answers by case and accuracy, as laws share many cases; None: unclear.
_KNOWN: dict[tuple[str, Accuracy], Truth | None] = {}
REMEMBERED = 4000


def truth_of(case: Case, accuracy: Accuracy) -> Truth:
    """The exact answer; remembered.

    Raises
    ------
    Unclear
        If a decision is closer than a simulator of this accuracy could tell, or if there are
        more than `MANY` spikes.
    """
    key = (repr(case), accuracy)
    if key not in _KNOWN:
        if len(_KNOWN) >= REMEMBERED:
            _KNOWN.clear()
        exact = all(_has_oracle(layer) for layer in case.layers)
        _KNOWN[key] = None
        _KNOWN[key] = (_by_oracle if exact else _by_tilting)(case, accuracy)
    found = _KNOWN[key]
    if found is None:
        raise Unclear("known to be unclear")
    return found


def exact_runs(case: Case, jitter: float = 0.0) -> list[Run]:
    """The oracle's run of every neuron, population by population."""
    place: dict[tuple[str, int], int] = {}
    neurons: list[Neuron] = []
    arrivals: list[list[tuple[float, float, float]]] = []
    synapses: list[Synapse] = []
    for layer in case.layers:
        for unit in range(layer.n):
            place[layer.name, unit] = len(neurons)
            neurons.append(neuron_of(layer, unit))
            arrivals.append([])
    for w in case.wires:
        for pre in range(len(w.weight)):
            for post in range(len(w.weight[pre])):
                weight, delay = w.at(pre, post)
                target = place[w.post, post]
                if w.pre in case.sizes:
                    train = case.spikes.get(w.pre, ())
                    arrivals[target] += [(t, weight, delay) for t, u in train if u == pre]
                else:
                    synapses.append(Synapse(place[w.pre, pre], target, weight, delay))
    try:
        return oracle(neurons, arrivals, synapses, case.until, jitter=jitter, most=OF_ONE)
    except ValueError as reason:  # fires for ever
        raise Unclear(str(reason)) from reason


def neuron_of(layer: Layer, unit: int) -> Neuron:
    """The oracle's parameters of one neuron."""
    names = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "bias", "reset", "graze")
    values = {name: layer.value(name, unit) for name in names if name in layer.params}
    return Neuron(model=ORACLE[layer.kind], **values)


def _has_oracle(layer: Layer) -> bool:
    clamped = layer.params.get("refractory", "clamp") == "clamp"
    return layer.kind in ORACLE and clamped


def _by_oracle(case: Case, accuracy: Accuracy) -> Truth:
    factor, jitter = accuracy.allowed(case)
    runs = exact_runs(case, jitter / factor)
    trains: Trains = {}
    allowed: dict[str, list[np.ndarray]] = {}
    waiting = iter(runs)
    for layer in case.layers:
        trains[layer.name], allowed[layer.name] = [], []
        for _ in range(layer.n):
            run = next(waiting)
            _check_clear(run, factor, case.until)
            hi = np.array([s.hi for s in run.spikes])
            slack = np.array([accuracy.linear * factor * s.bound for s in run.spikes])
            slack = slack if accuracy.exact else slack + jitter
            trains[layer.name].append((hi, np.array([s.lo for s in run.spikes])))
            allowed[layer.name].append(slack + _stored(hi, accuracy))
    truth = Truth(trains, allowed, runs)
    _check_size(truth, case.until)
    return truth


def _check_clear(run: Run, factor: float, until: float) -> None:
    for d in run.decisions:
        if d.start <= until and abs(d.margin) < CLEAR * factor * d.noise:
            raise Unclear(f"margin {d.margin:.2e} at {d.top!r}, of which {d.noise:.2e} is noise")
    if run.ties:
        raise Unclear(f"a tie: {run.ties[0]}")


def _stored(hi: np.ndarray, accuracy: Accuracy) -> np.ndarray:
    return hi * (STORED if accuracy.bits else 2.0**-51)


def _check_size(truth: Truth, until: float) -> None:
    if truth.count() > MANY:
        raise Unclear(f"{truth.count()} spikes")
    for name, units in truth.trains.items():
        for (hi, lo), slack in zip(units, truth.allowed[name], strict=True):
            if ((hi - until) + lo > -slack).any():
                raise Unclear("a spike at the end of the run")
            gaps = np.diff(hi) + np.diff(lo)
            if (gaps > 0).any() and slack.max() > 0.25 * gaps[gaps > 0].min():
                raise Unclear("spikes closer than the allowed error")


def _by_tilting(case: Case, accuracy: Accuracy) -> Truth:
    """By evsim; every own event errs by the allowed number of roundings."""
    base = _evsim(case)
    shift = {name: [np.zeros(hi.size) for hi, _ in units] for name, units in base.items()}
    for tilted in _tilts(case):
        other = _evsim(tilted)
        for name, units in base.items():
            for n, (hi, lo) in enumerate(units):
                hi2, lo2 = other[name][n]
                if hi2.size != hi.size:
                    raise Unclear("a tilt decides differently")
                shift[name][n] += np.abs((hi2 - hi) + (lo2 - lo))
    factor, jitter = accuracy.allowed(case)
    count = sum(hi.size for units in base.values() for hi, _ in units)
    # Six roundings for each own event of `EXACT`, as the engine's own doubts count them.
    own = 6.0 / 2.5 * factor * EPS * (2 * (case.arrivals() + count) + 2)
    allowed = {}
    for name, rows in shift.items():
        if any((row > 2.0**-10).any() for row in rows):
            raise Unclear("spikes too sensitive for a tilt to tell")
        allowed[name] = [own * (row / TILT + case.until) + jitter for row in rows]
    truth = Truth(base, allowed)
    _check_size(truth, case.until)
    return truth


def _evsim(case: Case) -> Trains:
    found = trains_of(evsim.simulate(*case.problem()), case)
    if sum(hi.size for units in found.values() for hi, _ in units) > MANY:
        raise Unclear("too many spikes")
    return found


def _tilts(case: Case):
    """The case with one kind of its numbers a little larger."""
    yield replace(case, wires=tuple(w.map(lambda x: x * (1 + TILT)) for w in case.wires))
    for name in ("v_th", "bias", "v_reset", "v_leak"):
        if any(x.params.get(name) and not _infinite(x.params[name]) for x in case.layers):
            yield case.each_layer(partial(_tilted, name=name))


def _infinite(value) -> bool:
    return bool(np.isinf(np.asarray(value)).any())


def _tilted(layer: Layer, name: str) -> Layer:
    value = layer.params.get(name)
    if not value:
        return layer
    more = tuple(v * (1 + TILT) for v in value) if isinstance(value, tuple) else value * (1 + TILT)
    return replace(layer, params={**layer.params, name: more})
