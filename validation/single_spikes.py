"""Verify recordings of kind `ttfs`: single spikes per neuron, each layer alone, then chained.

A layer is run on the recorded spikes of the layer before it, by the dynamics of
`reference.ttfs`, and its times are compared with those that were recorded. Allowed are the
roundings of the declared arithmetic, propagated: with times up to T, thresholds and sums of
magnitude M, and n inputs,

    (n + 8) eps (T + tau_c / |slope| (M + sum |W| T / tau_c)).

Premature spikes are part of the dynamics: a recording that has the closed form's times where
neurons come to threshold before their window opens is a mismatch, and is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference.ttfs import Network, Run
from reference.ttfs_event import Cells, Window, first_crossings
from validation.evtrace import EvtraceError
from validation.evtrace_reader import Recording
from validation.result import Agreement, LayerResult, Mismatch, RecordingResult
from validation.ttfs_network import populations

#: Layers done, layers in all, and the name of the one that comes next.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Layer:
    """One layer as recorded; arrays in float64."""

    name: str
    times: np.ndarray
    weight: np.ndarray
    v_th: np.ndarray
    a: np.ndarray
    b: np.ndarray
    window: Window
    eps: float

    def run(self, t_in: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times and which are premature, by the dynamics."""
        w = self.window
        width, before = w.t_max - w.t_min, w.t_min - w.start
        drift = (self.b * width + self.a * before) / w.tau_c - self.v_th
        shape = (len(t_in), self.v_th.size)
        times, active, premature = np.empty(shape), np.empty(shape, bool), np.empty(shape, bool)
        cells = Cells(self.v_th[None], self.a, self.b, drift[None])
        rows = np.ascontiguousarray(np.minimum(t_in, w.t_min))
        first_crossings(rows, np.ascontiguousarray(self.weight.T), cells, w, times, active,
                        premature)  # fmt: skip
        return times, premature

    def closed(self, t_in: np.ndarray) -> np.ndarray:
        """Times by the closed form, which knows of no premature spike."""
        w = self.window
        x = (w.t_min - np.minimum(t_in, w.t_min)) / w.tau_c
        rest = self.v_th - self.a * (w.t_min - w.start) / w.tau_c - x @ self.weight.T
        return np.minimum(w.t_min + w.tau_c * rest / self.b, w.t_max)

    def bound(self, t_in: np.ndarray) -> np.ndarray:
        """What rounding explains of a time, per neuron."""
        w, n = self.window, self.weight.shape[1]
        reach = np.abs(self.weight).sum(axis=1)
        most = np.maximum(np.abs(t_in).max(initial=0.0), w.t_max)
        size = np.abs(self.v_th) + np.abs(self.a) * w.t_min / w.tau_c + reach * most / w.tau_c
        slope = np.where(self.b > 0, self.b, np.inf)
        return (n + 8) * self.eps * (most + w.tau_c * size / slope)


def verify(recording: Recording, progress: Progress) -> RecordingResult:
    """Verify a recording of kind `ttfs`.

    Raises
    ------
    EvtraceError
        If its arrays do not fit one another.
    """
    names = [n for n in recording.layers() if n != "input"]
    heard, exact = _input(recording), _input(recording)
    layers = []
    for done, name in enumerate(names):
        progress(done, len(names), name)
        layer = _layer(recording, name, None if heard is None else heard.shape[1])
        result, exact = _checked(layer, heard, exact)
        layers.append(result)
        heard = layer.times
    progress(len(names), len(names), "")
    provenance = dict(recording.manifest.get("provenance", {}))
    return RecordingResult(
        path=str(recording.path),
        framework=str(provenance.get("framework", "")),
        version=str(provenance.get("version", "")),
        layers=layers,
        n_samples=len(heard) if heard is not None else 0,
        title=str(recording.manifest.get("title", "")),
        provenance=provenance,
    )


def _input(recording: Recording) -> np.ndarray | None:
    """Times of the input, `input/times` or those of a layer `input`, or None."""
    for key in ("input/times", "layers/input/times"):
        if key in recording.arrays:
            return _finite(recording.arrays, key, 2)
    return None


def _finite(arrays: Mapping[str, np.ndarray], key: str, ndim: int) -> np.ndarray:
    values = arrays[key]
    if values.dtype.kind not in "fiu" or values.ndim != ndim:
        raise EvtraceError(f"{key} must be numbers of {ndim} axes, not {values.dtype}"
                           f" {list(values.shape)}")  # fmt: skip
    if not key.endswith("times") and not np.isfinite(values).all():
        raise EvtraceError(f"{key} holds values that are not finite")
    return values.astype(float)


def _layer(recording: Recording, name: str, n_in: int | None) -> Layer:
    """A layer of the recording, every shape checked."""
    base, arrays = f"layers/{name}/", recording.arrays
    times, weight = _finite(arrays, base + "times", 2), _finite(arrays, base + "weight", 2)
    n = times.shape[1]
    if weight.shape != (n, weight.shape[1] if n_in is None else n_in):
        raise EvtraceError(
            f"{base}weight has shape {list(weight.shape)}, not (n_out, n_in) = ({n}, {n_in})"
        )
    windows = _finite(arrays, base + "windows", 1)
    if windows.shape != (3,) or not (np.diff(windows) > 0).all():
        raise EvtraceError(f"{base}windows must be t_start, t_min, t_max in ascending order")

    def each(key: str, default: float | None = None) -> np.ndarray:
        if base + key not in arrays and default is not None:
            return np.full(n, default)
        values = _finite(arrays, base + key, arrays[base + key].ndim)
        if values.shape not in ((), (1,), (n,)):
            raise EvtraceError(f"{base}{key} must be one number or one per neuron, {n}")
        return np.broadcast_to(values, (n,)).copy()

    tau_c = float(each("tau_c", 1.0)[0]) if n else 1.0
    if not tau_c > 0:
        raise EvtraceError(f"{base}tau_c must be positive")
    kinds = [arrays[base + key].dtype for key in ("times", "weight")]
    eps = max(np.finfo(k).eps for k in kinds if k.kind == "f") if kinds[0].kind == "f" else 2e-16
    start, t_min, t_max = map(float, windows)
    window = Window(start, t_min, t_max, tau_c)
    return Layer(name, np.minimum(times, window.t_max), weight, each("v_th"), each("a", 0.0),
                 each("b", 1.0), window, float(eps))  # fmt: skip


def _checked(layer: Layer, heard, exact) -> tuple[LayerResult, np.ndarray | None]:
    """The result of one layer, and its times behind exact layers."""
    blank = LayerResult(layer.name, "evsim.TTFS", "unverifiable", "", shape=layer.v_th.shape)
    if heard is None:
        reason = "The spikes that it heard were not recorded: input/times."
        return replace(blank, checks=[Agreement("spikes", "unverifiable")], reason=reason), None
    if len(heard) != len(layer.times):
        raise EvtraceError(f"layers/{layer.name}/times has {len(layer.times)} samples, the layer "
                           f"before it {len(heard)}")  # fmt: skip
    times, premature = layer.run(heard)
    bound, gap = layer.bound(heard), np.abs(layer.times - times)
    wrong = gap > bound
    if wrong.any():  # a graze within rounding may go either way
        size = bound * np.where(layer.b > 0, layer.b, 0.0) / layer.window.tau_c
        for side in (-size, size):
            other, _ = replace(layer, v_th=layer.v_th + side).run(heard)
            wrong &= np.abs(layer.times - other) > 2 * bound
    spikes, truly = layer.times < layer.window.t_max, times < layer.window.t_max
    ties = int(((spikes != truly) | (gap > bound))[~wrong].sum())
    chained = None if exact is None else layer.run(exact)[0]
    first = _first(layer, times, wrong, bound)
    verdict = "mismatch" if wrong.any() else "tie" if ties else "identical"
    check = Agreement("spikes", verdict, gap.size, ties, int(wrong.sum()),
                      float((gap / np.maximum(bound, 1e-300)).max(initial=0.0)), first)  # fmt: skip
    far = 0.0 if chained is None else float(np.abs(layer.times - chained).max(initial=0.0))
    words = f"Times are at most {gap.max(initial=0.0):.2g} from exact ones, chained {far:.2g}; " \
            f"{int(premature.sum())} spikes are premature."  # fmt: skip
    cause, said = _cause(layer, heard, times, bound) if wrong.any() else ([], "")
    result = replace(blank, verdict=verdict, cause=cause, first=first, checks=[check],
                     reason=f"{said} {words}".strip())  # fmt: skip
    return result, chained


def _first(layer: Layer, times, wrong, bound) -> Mismatch | None:
    """The earliest wrong time; `step` is the layer's only one."""
    if not wrong.any():
        return None
    when = np.where(wrong, np.minimum(times, layer.times), np.inf)
    sample, neuron = (int(k) for k in np.unravel_index(int(when.argmin()), when.shape))
    expected, observed = float(times[sample, neuron]), float(layer.times[sample, neuron])
    return Mismatch("spikes", 0, sample, neuron, expected, observed,
                    abs(expected - observed) / float(bound[neuron]))  # fmt: skip


def _cause(layer: Layer, heard, times, bound) -> tuple[list[str], str]:
    """Which known change of the dynamics gives the recorded times."""

    def explains(other) -> bool:
        return bool((np.abs(layer.times - other) <= 2 * bound).all())

    closed = layer.closed(heard)
    if explains(closed) or explains(np.maximum(closed, layer.window.t_min)):
        return ["ignored:premature"], (
            "These are the times of the closed form, but neurons come to threshold before their "
            "window opens."
        )
    n_out, n_in = layer.weight.shape
    variants: list[tuple[list[str], str, Layer]] = [
        (["ignored:a"], "As if the slope a were 0.", replace(layer, a=0.0 * layer.a)),
        (["ignored:b"], "As if the slope b were 1.", replace(layer, b=np.ones(n_out))),
    ]
    if n_out == n_in:
        words = "As if the weights were transposed."
        variants.insert(0, (["weight_transpose"], words, replace(layer, weight=layer.weight.T)))
    for cause, words, variant in variants:
        if explains(variant.run(heard)[0]):
            return cause, words
    both = (times < layer.window.t_max) & (layer.times < layer.window.t_max)
    shift = float(np.median((layer.times - times)[both])) if both.any() else 0.0
    moved = np.minimum(times + shift, layer.window.t_max)
    if shift and explains(np.where(times < layer.window.t_max, moved, layer.window.t_max)):
        return ["recording_shifted"], f"All spikes are {shift:.3g} late."
    return [], "No known change of the dynamics explains these times."


def recorded(net: Network, run: Run, **provenance: Any) -> tuple[dict, dict[str, np.ndarray]]:
    """Manifest and arrays, for `validation.evtrace.write`, of a network and what it did.

    Convolutions are written as dense weights. Poolings of spikes have no place in a recording.

    Raises
    ------
    ValueError
        If the network has poolings.
    """
    arrays: dict[str, np.ndarray] = {"input/times": np.asarray(run.inputs, float)}
    names = []
    for k, part in enumerate(populations(net), 1):
        names.append(f"h{k}")
        arrays |= {f"layers/h{k}/{key}": value for key, value in part.items()}
        arrays[f"layers/h{k}/times"] = np.asarray(run.times[k - 1], float)
    manifest = {"kind": "ttfs", "layers": [{"name": n} for n in names], "provenance": provenance}
    return manifest, arrays
