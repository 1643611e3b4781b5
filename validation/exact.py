"""Twin against truth: the exact solution of the differential equation behind a layer.

Time is counted in steps: step k covers (k, k+1], and what a framework decides in step k is
stamped at its end, k+1. A layer alone is driven by its recorded input current, which on a grid
is piecewise constant (or a train of impulses at the starts of steps); chained, it hears the
exact spikes of the layers before it, each as a current that lasts one step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse

import evsim
from validation.continuous import Continuous, refine
from validation.currents import Inputs
from validation.declared import Declared
from validation.result import Neighbourhood, Truth
from validation.twin import run

ONE = Fraction(1)
#: Entries [T, B, N] that are solved; more samples add nothing to what a person can learn.
MOST_ENTRIES = 4_000_000
#: Spikes of an exact solution, and synaptic events of a chained one, beyond which a layer is
#: saturated: a clock hides that it fires many times a step, and there is nothing to compare.
MOST_SPIKES, MOST_EVENTS = 5e6, 5e8
#: Neurons on which the order of convergence is measured.
MOST_NEURONS = 256
#: Trains without which an order of convergence says nothing.
LEAST = 8
FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Solution:
    """Exact runs of one layer, one record per sample; the population is called `layer`."""

    records: list[evsim.Record]
    equation: Continuous
    n: int

    def trains(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """(times in steps, neurons) of one sample."""
        spikes = self.records[sample].spikes["layer"]
        return spikes.times, spikes.units


def in_steps(c: Continuous, dt: float | None) -> Continuous:
    """The same equation with time in steps."""
    step = 1.0 if dt is None else float(dt)
    slope = 1.0 if c.leaky else step
    return replace(
        c,
        tau_mem=np.asarray(c.tau_mem) / step,
        tau_syn=None if c.tau_syn is None else np.asarray(c.tau_syn) / step,
        gain=np.asarray(c.gain) * slope,
    )


def _number(value, n: int):
    """A scalar where possible: the scalar form of the kernels is faster, with the same bits."""
    flat = np.asarray(value, float).reshape(-1)
    return float(flat[0]) if (flat == flat[0]).all() else np.broadcast_to(flat, (n,))


def neuron(c: Continuous, compare: str, n: int):
    """The evsim model of an equation, or None where it has none (no reset)."""
    if c.reset == "none":
        return None
    shared: dict[str, Any] = {
        "v_th": _number(c.v_th, n),
        "v_reset": _number(c.v_reset if c.reset == "value" else 0.0, n),
        "reset": c.reset,
        "graze": compare,
    }
    if not c.leaky:
        return evsim.IF(**shared) if c.tau_syn is None else None
    shared |= {"tau_mem": _number(c.tau_mem, n), "v_leak": _number(c.v_leak, n)}
    if c.tau_syn is None:
        return evsim.DeltaLIF(**shared)
    return evsim.LIF(tau_syn=_number(c.tau_syn, n), **shared)


def solve_alone(d: Declared, samples: int) -> Solution | None:
    """The layer on its recorded input current, or None where it has no equation."""
    assert d.x is not None
    try:
        c = in_steps(d.model.continuous(d.params, d.dt, d.semantics), d.dt)
    except ValueError:
        return None
    n = d.x.shape[2]
    model = neuron(c, d.semantics.compare, n)
    if model is None:
        return None
    drive = d.x[:, :samples].astype(np.float64) * np.asarray(c.gain).reshape(-1)
    if not _spikes_at_most(drive, c) < MOST_SPIKES:
        return None
    records = []
    for start, group in _starts(d, c, n, samples):
        records.append(_driven(drive[:, group], c, model, start))
    return Solution([r for found in records for r in found], c, n)


def _spikes_at_most(drive: np.ndarray, c: Continuous) -> float:
    """What the charge of a current [T, B, N] suffices for, from one reset to the next."""
    low = np.asarray(c.v_reset if c.reset == "value" else 0.0, float)
    step = np.abs(np.asarray(c.v_th, float) - low).reshape(-1)
    leak = np.asarray(c.tau_mem, float).reshape(-1) if c.leaky else 1.0
    charge = 1.0 if c.tau_syn is None or c.feed == "hold" else np.asarray(c.tau_syn).reshape(-1)
    with np.errstate(all="ignore"):
        total = np.maximum(drive, 0.0).sum(axis=(0, 1)) * charge / leak / step
    return float(np.nan_to_num(total, nan=np.inf).sum())


def _driven(drive: np.ndarray, c: Continuous, model, start) -> list[evsim.Record]:
    """Exact runs of a population under currents, or jumps of the current, [T, B, N]."""
    n_steps, samples, n = drive.shape
    steps = np.arange(n_steps)
    if c.feed == "hold":
        net = evsim.Network()
        net.add_population("layer", n, model, initial=start)
        inputs = [{"layer": evsim.Current(steps, drive[:, b], ONE)} for b in range(samples)]
        return evsim.simulate(net, inputs, n_steps)
    records = []
    for b in range(samples):
        # One input unit per step: its row of weights is what arrives in that step.
        net = evsim.Network()
        net.add_input("in", n_steps)
        net.add_population("layer", n, model, initial=start)
        net.connect("in", "layer", drive[:, b])
        train = evsim.Spikes.on_grid(steps, steps, ONE)
        records.append(evsim.simulate(net, {"in": train}, n_steps))
    return records


def _starts(d: Declared, c: Continuous, n: int, samples: int) -> list[tuple[dict, slice]]:
    """State before the first step, once where all samples share it, else one by one."""
    assert d.x is not None
    p = d.model.resolve(d.params, n)
    v = np.asarray(d.initial.get("v", d.model.initial(p, d.semantics)), float)
    start = {"v": v}
    if c.feed == "impulse" and "i" in d.initial:
        # A current enters the membrane as an input does, but for the jump it is not scaled by.
        k = d.model.constants(p, d.semantics, d.dt, np.float64)
        left = 1.0 if k.decays_after else np.asarray(k.retain_syn)
        start["i"] = d.initial["i"] * left * np.asarray(c.gain) / np.asarray(k.jump)
    rows = {name: np.broadcast_to(a, (d.x.shape[1], n))[:samples] for name, a in start.items()}
    each = [{name: a[b] for name, a in rows.items()} for b in range(samples)]
    if all((a == a[:1]).all() for a in rows.values()):
        return [(each[0], slice(samples))]
    return [(each[b], slice(b, b + 1)) for b in range(samples)]


def solve_chained(
    d: Declared, inputs: Inputs, before: dict[str, Solution], samples: int
) -> Solution | None:
    """The layer behind the exact spikes of its sources; None where one of them has none."""
    try:
        c = in_steps(d.model.continuous(d.params, d.dt, d.semantics), d.dt)
    except ValueError:
        return None
    assert d.x is not None
    n_steps, _, n = d.x.shape
    model = neuron(c, d.semantics.compare, n)
    known = all(s.node == "input" or s.node in before for s in inputs.sources)
    if model is None or not known or not inputs.sources:
        return None
    arriving = sum(
        n * sum(len(r.spikes["layer"]) for r in before[s.node].records)
        for s in inputs.sources
        if s.node in before
    )
    if arriving > MOST_EVENTS:
        return None
    gain = np.broadcast_to(np.asarray(c.gain, float).reshape(-1), (n,))
    records: list[evsim.Record] = []
    for start, group in _starts(d, c, n, samples):
        net = evsim.Network()
        net.add_population("layer", n, model, initial=start)
        _connect(net, inputs, gain, 1.0 if c.feed == "hold" else None)
        drives = [
            {
                _input(k): _train(source.node, spikes[:, b], before, b)
                for k, (source, spikes) in enumerate(
                    zip(inputs.sources, inputs.spikes, strict=True)
                )
            }
            for b in range(samples)[group]
        ]
        _add_bias(net, drives, inputs, gain, c, n_steps)
        records += evsim.simulate(net, drives, n_steps)
    return Solution(records, c, n)


def _input(k: int) -> str:
    """Name of the k-th source; layers may be called anything."""
    return f"source {k}"


def _connect(net, inputs: Inputs, gain: np.ndarray, width: float | None) -> None:
    for k, (source, spikes) in enumerate(zip(inputs.sources, inputs.spikes, strict=True)):
        net.add_input(_input(k), spikes.shape[2])
        weight = source.weight
        if hasattr(weight, "toarray"):
            scaled = (scipy.sparse.diags_array(gain) @ weight.astype(float)).T.tocsr()
        else:
            scaled = (gain[:, None] * np.asarray(weight, float)).T
        net.connect(_input(k), "layer", scaled, float(source.delay), pulse_width=width)


def _add_bias(net, drives, inputs: Inputs, gain, c: Continuous, n_steps: int) -> None:
    if inputs.bias is None:
        return
    bias = gain * np.asarray(inputs.bias, float).reshape(-1)
    if c.feed == "hold":
        for drive in drives:
            drive["layer"] = evsim.Current(np.zeros(1), bias[None], None)
        return
    net.add_input("bias", 1)
    net.connect("bias", "layer", bias[None])
    for drive in drives:
        drive["bias"] = evsim.Spikes.on_grid(np.arange(n_steps), np.zeros(n_steps, int), ONE)


def _train(node: str, recorded: np.ndarray, before: dict[str, Solution], sample: int):
    if node not in before:
        return evsim.Spikes.from_raster(recorded, ONE, layout="TN")
    return before[node].records[sample].spikes["layer"]


def trains_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(times in steps, neurons) of recorded counts [T, N]; a spike of step k is at k + 1."""
    steps, units = np.nonzero(counts)
    times = np.repeat(steps + 1.0, counts[steps, units])
    return times, np.repeat(units, counts[steps, units])


def compare(counts: np.ndarray, solution: Solution) -> Truth:
    """Recorded counts [T, B, N] against the exact spikes of the same samples."""
    errors: list[np.ndarray] = []
    divergence, diverged, n_exact, n_trains = np.inf, 0, 0, 0
    same = True
    for b in range(len(solution.records)):
        spikes, shape = solution.trains(b), counts[:, b].shape
        n_exact += spikes[0].size
        same = same and np.array_equal(binned(*spikes, shape), counts[:, b])
        recorded, exact = (
            _by_neuron(*found, shape[1]) for found in (trains_of(counts[:, b]), spikes)
        )
        for mine, theirs in zip(recorded, exact, strict=True):
            found, leaves = _pair(mine, theirs)
            errors.append(found)
            divergence = min(divergence, leaves)
            diverged += leaves < np.inf
        n_trains += shape[1]
    return Truth(
        n_recorded=int(counts[:, : len(solution.records)].sum()),
        n_exact=n_exact,
        same_steps=bool(same),
        time_error=np.concatenate(errors) if errors else np.zeros(0),
        divergence=float(divergence),
        n_diverged=diverged,
        n_trains=n_trains,
        voltage_error=np.nan,
        order=np.nan,
        n_undecided=sum(len(record.undecided) for record in solution.records),
    )


def _by_neuron(times: np.ndarray, units: np.ndarray, n: int) -> list[np.ndarray]:
    """The train of every neuron."""
    order = np.lexsort((times, units))
    return np.split(times[order], np.searchsorted(units[order], np.arange(1, n)))


def binned(times, units, shape) -> np.ndarray:
    """Exact spikes by step: one at t lies in the step that covers it, (k, k+1]."""
    out = np.zeros(shape, np.int64)
    steps = np.maximum(np.ceil(times).astype(np.int64) - 1, 0)
    np.add.at(out, (steps, units), 1)
    return out


def _pair(recorded: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, float]:
    """Errors of the spikes paired in order, and when the trains part by over 1.5 steps."""
    k = min(recorded.size, exact.size)
    error = recorded[:k] - exact[:k]
    far = np.flatnonzero(np.abs(error) > 1.5)
    if far.size:
        return error, float(min(recorded[far[0]], exact[far[0]]))
    if recorded.size != exact.size:
        return error, float((recorded if recorded.size > k else exact)[k])
    return error, np.inf


def order(d: Declared, solution: Solution) -> float:
    """Observed order in dt of the error of each train's first spike, sample 0; nan if too few.

    The same equation is run at dt, dt/2, dt/4 and dt/8, so that input and equation stay and
    only the discretisation changes. The error within a step is as good as random, so that a
    mean over `LEAST` trains leaves the order uncertain by 0.1.
    """
    exact = _by_neuron(*solution.trains(0), solution.n)
    fires = np.flatnonzero([train.size > 0 for train in exact])[:MOST_NEURONS]
    if fires.size < LEAST:
        return np.nan
    part = d.cut(samples=slice(1), neurons=fires)
    first = np.array([exact[n][0] for n in fires])
    found = np.array([_first_spikes(part, solution.equation.feed, f) for f in FACTORS])
    error = np.abs(found - first)
    everywhere = np.isfinite(error).all(axis=0)
    if everywhere.sum() < LEAST:
        return np.nan
    mean = error[:, everywhere].mean(axis=1)
    if not (mean > 0).all():
        return np.nan
    return float(-np.polyfit(np.log2(FACTORS), np.log2(mean), 1)[0])


def _first_spikes(d: Declared, feed: str, factor: int) -> np.ndarray:
    """First spike of every neuron at dt/factor, in steps of dt; inf where there is none."""
    assert d.x is not None
    params, dt = refine(d.model, d.params, d.semantics, d.dt, factor)
    x = np.repeat(d.x.astype(np.float64), factor, axis=0)
    if feed == "impulse":
        x.reshape(-1, factor, *x.shape[1:])[:, 1:] = 0.0
    initial = {k: np.asarray(v, float) for k, v in d.initial.items()}
    twin = run(d.model, params, d.semantics, x, dt=dt, initial=initial, bound=False)
    fired = twin.spikes[:, 0] > 0
    return np.where(fired.any(axis=0), (fired.argmax(axis=0) + 1) / factor, np.inf)


def voltage_error(v_pre: np.ndarray, solution: Solution, neurons: np.ndarray) -> float:
    """Largest |twin - exact| before a train's first spike, sample 0, in thresholds.

    `v_pre` [T, len(neurons)] is the twin's membrane, in the order of `neurons`.
    """
    record, worst = solution.records[0], 0.0
    threshold = np.broadcast_to(np.asarray(solution.equation.v_th, float), (solution.n,))
    t, units = solution.trains(0)
    for k, n in enumerate(neurons):
        mine = t[units == n]
        fired = np.flatnonzero(v_pre[:, k] >= threshold[n])
        end = min(mine[0] if mine.size else np.inf, fired[0] + 0.5 if fired.size else np.inf)
        steps = np.arange(1, v_pre.shape[0] + 1)
        steps = steps[steps < end]
        if steps.size and threshold[n]:
            exact = record.voltage("layer", int(n), steps.astype(float))
            error = float(np.abs(v_pre[steps - 1, k] - exact).max())
            worst = max(worst, error / abs(float(threshold[n])))
    return worst


def around(
    d: Declared, v_pre: np.ndarray, solution: Solution, at: tuple[int, int, int]
) -> Neighbourhood:
    """Recorded, twin and exact voltage of one neuron around a (step, sample, neuron)."""
    step, sample, n = at
    n_steps = v_pre.shape[0]  # of that sample: [T, N]
    lo, hi = max(0, step - 20), min(n_steps, step + 21)
    t_exact = np.linspace(lo, hi, 40 * (hi - lo) + 1)
    t, units = solution.trains(sample)
    mine = t[(units == n) & (t >= lo) & (t <= hi)]
    assert d.spikes is not None
    fired = lo + np.flatnonzero(d.spikes[lo:hi, sample, n])
    return Neighbourhood(
        neuron=n,
        sample=sample,
        step=step,
        t=np.arange(lo, hi),
        recorded=None if d.membrane is None else d.membrane[lo:hi, sample, n],
        twin=v_pre[lo:hi, n],
        threshold=float(np.broadcast_to(np.asarray(solution.equation.v_th), (solution.n,))[n]),
        t_exact=t_exact,
        exact=solution.records[sample].voltage("layer", n, t_exact),
        spikes_recorded=fired,
        spikes_exact=mine,
    )
