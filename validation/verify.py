"""Verify a recording layer by layer: each layer alone against its twin and the truth, then chained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from validation import causes, exact
from validation.declared import Declared, declare, graph_of, sources
from validation.discrete import Inputs, compare_input, compare_spikes, compare_state
from validation.evtrace import EvtraceError, read
from validation.evtrace_reader import Recording
from validation.result import Agreement, LayerResult, Mismatch, RecordingResult, Truth
from validation.twin import TwinRun

#: Layers done, layers in all, and the name of the one that comes next.
Progress = Callable[[int, int, str], None]


def verify_file(path, progress: Progress | None = None) -> RecordingResult:
    """Verify a recording.

    Parameters
    ----------
    path : str or path-like
        An evtrace of kind `grid`.
    progress : callable, optional
        Called with the layers done, their number, and the name of the next one.

    Raises
    ------
    EvtraceError, OSError
        If the file cannot be read or its declaration makes no sense; one line.
    """
    return verify(read(path), progress)


def verify(recording: Recording, progress: Progress | None = None) -> RecordingResult:
    """Verify a recording in memory; see `verify_file`."""
    if recording.kind != "grid":
        raise EvtraceError(
            f"{recording.path}: verify wants a recording on a grid, not of kind {recording.kind!r}"
        )
    graph = graph_of(recording)
    run = _Run(recording, graph)
    layers = []
    names = recording.layers()
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names), name)
        layers.append(run.layer(name))
    if progress is not None:
        progress(len(names), len(names), "")
    provenance = dict(recording.manifest.get("provenance", {}))
    return RecordingResult(
        path=str(recording.path),
        framework=str(provenance.get("framework", "")),
        version=str(provenance.get("version", "")),
        layers=layers,
        n_steps=recording.manifest["n_steps"],
        n_samples=recording.manifest["n_samples"],
        dt=recording.manifest.get("dt"),
        title=str(recording.manifest.get("title", "")),
        provenance=provenance,
    )


class _Run:
    """What the layers of one recording share: verified spikes, and exact solutions."""

    def __init__(self, recording: Recording, graph) -> None:
        self.recording, self.graph = recording, graph
        self.recorded: dict[str, np.ndarray | None] = {"input": recording.input_spikes()}
        self.verified: dict[str, np.ndarray] = {}
        self.solutions: dict[str, exact.Solution] = {}

    def layer(self, name: str) -> LayerResult:
        d = declare(self.recording, name, self.graph)
        shape = self.recording.layer(name).shape
        blank = LayerResult(name, d.model.name, "unverifiable", "", shape=shape)
        self.recorded[name] = d.spikes
        missing = [k for k, a in (("input_current", d.x), ("spikes", d.spikes)) if a is None]
        if missing:
            reason = f"{' and '.join(missing)} not recorded, so its update cannot be checked"
            return replace(blank, reason=reason)
        with np.errstate(all="ignore"):
            twin = d.run()
        inputs = self._inputs(name, self.recorded)
        current, note = self._current(d, name, inputs)
        checks = [compare_spikes(d, twin), *self._states(d, twin), current]
        result = replace(blank, checks=checks)
        self.verified[name] = twin.spikes
        if any(c.verdict == "mismatch" for c in checks):
            result = self._explain(result, d, twin, inputs)
        return self._with_truth(result, d, twin, inputs, note)

    def _states(self, d: Declared, twin: TwinRun) -> list[Agreement]:
        assert twin.bound is not None
        found = [compare_state("membrane", d.membrane, twin.membrane, twin.bound)]
        if twin.synaptic_current is not None:
            found.append(
                compare_state(
                    "synaptic_current", d.synaptic_current, twin.synaptic_current, twin.bound
                )
            )
        return found

    def _inputs(self, name: str, spikes) -> Inputs | None:
        found, bias = sources(self.recording, name, self.graph)
        if not found or any(spikes.get(s.node) is None for s in found):
            return None
        return Inputs(found, bias, [spikes[s.node] for s in found])

    def _current(self, d: Declared, name: str, inputs: Inputs | None) -> tuple[Agreement, str]:
        """The check of the input current; against verified sources where recorded ones fail."""
        agreement = compare_input(d, inputs)
        if agreement.verdict == "mismatch" and inputs is not None:
            upstream = self._inputs(name, {**self.recorded, **self.verified})
            verified = compare_input(d, upstream)
            if verified.verdict == "identical":
                return verified, " Its input fits what the layer before it should have sent."
        return agreement, ""

    def _explain(
        self, result: LayerResult, d: Declared, twin: TwinRun, inputs: Inputs | None
    ) -> LayerResult:
        """Cause and first place of a mismatch."""
        bad = [c for c in result.checks if c.verdict == "mismatch"]
        firsts = [c.first for c in bad if c.first is not None]
        first = min(firsts, key=lambda m: (m.step, m.quantity != "spikes")) if firsts else None
        cause: list[str] = []
        words: list[str] = []
        if any(c.quantity != "input_current" for c in bad):
            found, said = causes.of_neurons(d, _neurons(d, twin))
            cause += found
            words.append(said)
        if any(c.quantity == "input_current" for c in bad) and inputs is not None:
            found, said = causes.of_input(d, inputs)
            cause += found
            words.append(said)
        n = sum(c.n_mismatched for c in bad if c.quantity == "spikes")
        where = "" if first is None else f" First at {_place(first)}."
        how = f"{n} spikes differ" if n else f"{bad[0].quantity.replace('_', ' ')} differs"
        reason = f"{how}: {'; '.join(words)}.{where}"
        return replace(result, verdict="mismatch", cause=cause, first=first, reason=reason)

    def _with_truth(
        self, result: LayerResult, d: Declared, twin: TwinRun, inputs: Inputs | None, note: str
    ) -> LayerResult:
        assert d.x is not None and d.spikes is not None
        samples = max(1, min(d.x.shape[1], exact.MOST_ENTRIES // max(1, d.x.shape[0] * d.x.shape[2])))
        alone = exact.solve_alone(d, samples)
        chained = None
        if inputs is not None and alone is not None:
            chained = exact.solve_chained(d, inputs, self.solutions, samples)
        truth = None
        if alone is not None:
            truth = self._truth(d, twin, alone, samples)
            self.solutions[d.name] = chained or alone
            at = _interesting(result, d, alone, samples)
            result = replace(
                result,
                alone=truth,
                chained=None if chained is None else exact.compare(d.spikes[:, :samples], chained),
                raster_recorded=exact.trains_of(d.spikes[:, 0]),
                raster_exact=alone.trains(0),
                neighbourhood=exact.around(d, twin.v_pre, alone, at),
            )
        return _judged(result, d, truth, note)

    def _truth(self, d: Declared, twin: TwinRun, alone: exact.Solution, samples: int) -> Truth:
        assert d.spikes is not None
        truth = exact.compare(d.spikes[:, :samples], alone)
        some = np.unique(np.linspace(0, alone.n - 1, 16).astype(int))
        return replace(
            truth,
            voltage_error=exact.voltage_error(twin.v_pre[:, 0], alone, some),
            order=exact.order(d, alone),
        )


def _neurons(d: Declared, twin: TwinRun) -> np.ndarray:
    """Neurons whose spikes or membrane differ."""
    bad = twin.spikes != d.spikes
    if d.membrane is not None:
        bad = bad | ~(np.abs(d.membrane - twin.membrane) <= twin.bound)
    return bad.any(axis=(0, 1))


def _place(first: Mismatch) -> str:
    return f"step {first.step}, sample {first.sample}, neuron {first.neuron} ({first.quantity})"


def _interesting(result: LayerResult, d: Declared, alone, samples: int) -> tuple[int, int, int]:
    """The first mismatch, else the earliest divergence from truth, else the first spike."""
    assert d.spikes is not None
    if result.first is not None and result.first.sample < samples:
        return result.first.step, result.first.sample, result.first.neuron
    shape = d.spikes[:, 0].shape
    for b in range(samples):
        differs = exact.binned(*alone.trains(b), shape) != d.spikes[:, b]
        if differs.any():
            step, n = np.unravel_index(int(np.argmax(differs)), shape)
            return int(step), b, int(n)
    step, n = np.unravel_index(int(np.argmax(d.spikes[:, 0] > 0)), shape)
    return int(step), 0, int(n)


def _judged(result: LayerResult, d: Declared, truth: Truth | None, note: str) -> LayerResult:
    """The verdict of a layer that agrees with its twin."""
    if result.verdict == "mismatch":
        return result
    spikes = result.checks[0]
    if spikes.verdict == "tie":
        reason = (
            f"{spikes.n_ties} spikes differ, each where the twin is within rounding of threshold "
            f"(at most {spikes.max_ulps:.3g} ulp)"
        )
        return replace(result, verdict="tie", reason=reason + "." + note)
    missing = [c.quantity.replace("_", " ") for c in result.checks if c.verdict == "unverifiable"]
    unseen = f" Not verifiable: {', '.join(missing)}." if missing else ""
    if truth is None:
        reason = "equal to its twin; it stands for no differential equation"
        return replace(result, verdict="identical", reason=f"{reason}.{unseen}{note}")
    if truth.same_steps:
        reason = "equal to its twin, and every exact spike lies in the step of the recorded one"
        return replace(result, verdict="identical", reason=f"{reason}.{unseen}{note}")
    order = "" if np.isnan(truth.order) else f", error of order {truth.order:.1f} in dt"
    reason = (
        f"equal to its twin; {truth.n_recorded} spikes against {truth.n_exact} exact ones, "
        f"{truth.n_diverged} of {truth.n_trains} trains part by over 1.5 steps{order}"
    )
    return replace(result, verdict="discretised", reason=f"{reason}.{unseen}{note}")
