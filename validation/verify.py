"""Verify a recording: each layer alone against its twin and the truth, then all chained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from validation import causes, currents, exact, gradients, reasons, single_spikes
from validation.conform.search import causes_of
from validation.currents import Inputs, compare_input
from validation.declared import Declared, declare, graph_of, in_units_of_graph, sources
from validation.discrete import Checked, check
from validation.evtrace import EvtraceError, one_line, read
from validation.evtrace_reader import Recording
from validation.result import Agreement, Found, LayerResult, Mismatch, RecordingResult, Truth

#: Layers done, layers in all, and the name of the one that comes next.
Progress = Callable[[int, int, str], None]


def verify_file(path, progress: Progress | None = None) -> RecordingResult:
    """Verify a recording.

    Parameters
    ----------
    path : str or path-like
        An evtrace of kind `grid` or `ttfs`.
    progress : callable, optional
        Called with the layers done, their number, and the name of the next one.

    Raises
    ------
    EvtraceError, OSError
        If the file cannot be read or its declaration makes no sense; one line that names the
        file, the layer and what is wrong with it.
    """
    return verify(read(path), progress)


def verify(recording: Recording, progress: Progress | None = None) -> RecordingResult:
    """Verify a recording in memory; see `verify_file`."""
    try:
        return _verify(recording, progress or (lambda done, total, name: None))
    except ValueError as error:
        raise EvtraceError(f"{recording.path}: {one_line(error)}") from error


def _verify(recording: Recording, progress: Progress) -> RecordingResult:
    if recording.kind == "ttfs":
        return single_spikes.verify(recording, progress)
    if recording.kind != "grid":
        raise EvtraceError(
            f"verify wants a recording on a grid or of single spikes, not {recording.kind!r}"
        )
    run = _Run(recording)
    layers = []
    names = recording.layers()
    for done, name in enumerate(names):
        progress(done, len(names), name)
        layers.append(run.layer(name))
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
    """What the layers of one recording share: their spikes, and exact solutions."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        graph = graph_of(recording)
        names = recording.layers()
        self.declared = {name: declare(recording, name, graph) for name in names}
        self.fed = {name: sources(recording, name, graph) for name in names}
        self.recorded = {name: d.spikes for name, d in self.declared.items()}
        self.recorded["input"] = recording.input_spikes()
        self.failed: set[str] = set()
        self.solutions: dict[str, exact.Solution] = {}

    def layer(self, name: str) -> LayerResult:
        """One layer, which comes after those that feed it."""
        d = self.declared[name]
        shape = self.recording.layer(name).shape
        blank = LayerResult(name, d.model.name, "unverifiable", "", shape=shape)
        inputs = self._inputs(name, self.recorded)
        current, fed_right = self._current(d, name, inputs)
        if d.x is None or d.spikes is None:
            return self._without_update(blank, d, current, inputs)
        checked, d = _checked(d)
        checked.checks.append(current)
        result = replace(blank, checks=checked.checks)
        if not checked.agrees:
            self.failed.add(name)
            result = _explained(result, d, checked, inputs)
        elif (found := causes.of_ties(d, checked)) is not None:
            self.failed.add(name)
            words, first = found
            reason = reasons.all_hits(checked.n_ties, words, first)
            result = replace(
                result, verdict="mismatch", cause=["compare"], first=first, reason=reason
            )
        if not result.cause:
            result = _with_gradient(result, d)
        return self._with_truth(result, d, inputs, fed_right)

    def _without_update(
        self, blank: LayerResult, d: Declared, current: Agreement, inputs: Inputs | None
    ) -> LayerResult:
        """A layer without input current or spikes: its input can be checked at most."""
        states = ["membrane"] + (["synaptic_current"] if d.synaptic_current is not None else [])
        checks = [Agreement(q, "unverifiable") for q in ("spikes", *states)] + [current]
        missing = reasons.missing(d)
        if current.verdict != "mismatch":
            return replace(blank, checks=checks, reason=missing)
        bad = np.zeros((1, 1), bool)
        result = _explained(replace(blank, checks=checks), d, Checked(checks, bad), inputs)
        return replace(result, reason=f"{result.reason} {missing}")

    def _inputs(self, name: str, spikes: Mapping[str, np.ndarray | None]) -> Inputs | None:
        found, bias = self.fed[name]
        heard = [spikes.get(source.node) for source in found]
        present = [a for a in heard if a is not None]
        if not found or len(present) < len(found):
            return None
        return Inputs(found, bias, present)

    def _current(self, d: Declared, name: str, inputs: Inputs | None) -> tuple[Agreement, bool]:
        """The check of the input current, and whether it fits the recorded spikes.

        Behind a layer whose recorded spikes are wrong, it may be what that layer, run by its
        twin, sends.
        """
        agreement = compare_input(d, inputs)
        wrong = self.failed & {source.node for source in self.fed[name][0]}
        if agreement.verdict == "mismatch" and wrong:
            sent = {n: self.declared[n].run(forced=False, bound=False).spikes for n in wrong}
            verified = compare_input(d, self._inputs(name, {**self.recorded, **sent}))
            if verified.verdict == "identical":
                return verified, False
        return agreement, True

    def _with_truth(
        self, result: LayerResult, d: Declared, inputs: Inputs | None, fed_right: bool
    ) -> LayerResult:
        assert d.x is not None and d.spikes is not None
        n_steps, n_samples, n = d.x.shape
        samples = max(1, min(n_samples, exact.MOST_ENTRIES // max(1, n_steps * n)))
        alone = exact.solve_alone(d, samples) if min(d.x.shape) > 0 else None
        if alone is None:
            return reasons.judged(result, None, fed_right)
        chained = exact.solve_chained(d, inputs, self.solutions, samples) if inputs else None
        self.solutions[d.name] = chained or alone
        at = _interesting(result, d, alone, samples)
        twin = d.cut(samples=slice(at[1], at[1] + 1)).run(bound=False)
        truth = _truth(d, alone, samples)
        result = replace(
            result,
            alone=truth,
            chained=None if chained is None else exact.compare(d.spikes[:, :samples], chained),
            raster_recorded=exact.trains_of(d.spikes[:, 0]),
            raster_exact=alone.trains(0),
            neighbourhood=exact.around(d, twin.v_pre[:, 0], alone, at),
        )
        return reasons.judged(result, truth, fed_right)


def _checked(d: Declared) -> tuple[Checked, Declared]:
    """A layer against its twin, in the unit of its membrane in which it is right, if in any."""
    checked = check(d)
    other = None if checked.agrees else in_units_of_graph(d)
    if other is not None and (again := check(other)).agrees:
        return again, other
    return checked, d


def _explained(
    result: LayerResult, d: Declared, checked: Checked, inputs: Inputs | None
) -> LayerResult:
    """Cause and first place of a mismatch."""
    bad = {c.quantity: c for c in result.checks if c.verdict == "mismatch"}
    firsts = [c.first for c in bad.values() if c.first is not None]
    first = min(firsts, key=_order, default=None)
    cause: list[str] = []
    also: Sequence[str] = ()
    words: list[str] = []
    if "input_current" in bad and inputs is not None:
        cause, said, also = currents.of_input(d, inputs)
        words.append(said)
    own = [m for q in bad if q != "input_current" and (m := bad[q].first) is not None]
    if own:
        found, said, others = _of_neurons(d, checked, min(m.step for m in own))
        # Where both the input and the update are wrong, what else explains one is no whole answer.
        also = () if cause and found else also or others
        cause = found + cause
        # Wrong input that nothing explains is enough to make the update look wrong.
        if found or not words:
            words.insert(0, said if found else reasons.lone_value(bad) or said)
    reason = reasons.mismatch(list(bad.values()), words, first)
    return replace(
        result, verdict="mismatch", cause=cause, also=list(also), first=first, reason=reason
    )


def _of_neurons(d: Declared, checked: Checked, step: int) -> Found:
    """Causes in the unit of the membrane as it was recorded, else in that of the graph.

    An importer may get several things wrong at once: where a graph declares the layer, up to four.
    """
    found = causes.of_neurons(d, checked.bad, step)
    if found.cause or d.node is None:
        return found
    other = in_units_of_graph(d) or d
    again = check(other)
    several = causes_of(other, again)
    return Found(several, "all of them together explain it") if several else found


def _with_gradient(result: LayerResult, d: Declared) -> LayerResult:
    """The result with the check of a recorded backward pass, where there is one."""
    agreement = gradients.check_gradient(d)
    if agreement is None:
        return result
    result = replace(result, checks=[*result.checks, agreement])
    if agreement.verdict != "mismatch":
        return result
    cause, words, also = gradients.of_gradient(d)
    reason = reasons.mismatch([agreement], [words], agreement.first)
    first = result.first or agreement.first
    return replace(
        result, verdict="mismatch", cause=cause, also=list(also), reason=reason, first=first
    )


def _order(first: Mismatch) -> tuple[int, bool, bool, int, int]:
    """Earliest first; of one step, what a layer sends counts before what it holds and hears."""
    heard = first.quantity == "input_current"
    return first.step, heard, first.quantity != "spikes", first.sample, first.neuron


def _truth(d: Declared, alone: exact.Solution, samples: int) -> Truth:
    assert d.spikes is not None
    truth = exact.compare(d.spikes[:, :samples], alone)
    some = np.unique(np.linspace(0, alone.n - 1, 16).astype(int))
    v_pre = d.cut(samples=slice(1), neurons=some).run(bound=False).v_pre[:, 0]
    return replace(
        truth,
        voltage_error=exact.voltage_error(v_pre, alone, some),
        order=exact.order(d, alone),
    )


def _interesting(
    result: LayerResult, d: Declared, alone: exact.Solution, samples: int
) -> tuple[int, int, int]:
    """The first mismatch, else the earliest divergence from truth, else the first spike."""
    assert d.spikes is not None
    if result.first is not None and result.first.sample < samples:
        return result.first.step, result.first.sample, result.first.neuron
    shape = d.spikes.shape[0], d.spikes.shape[2]
    for b in range(samples):
        times, units = alone.trains(b)
        differs = exact.binned(times, units, shape) != d.spikes[:, b]
        if differs.any():
            step, n = np.unravel_index(int(np.argmax(differs)), shape)
            return int(step), b, int(n)
    step, n = np.unravel_index(int(np.argmax(d.spikes[:, 0] > 0)), shape)
    return int(step), 0, int(n)
