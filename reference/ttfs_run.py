"""Networks of single spikes at work: three readings of what happens before a window opens.

* `closed`: the closed form, `reference.ttfs` (3). A spike that it puts before the window stays
  there: as a time it is acausal, as a number it still is the ReLU network's.
* `clamped`: such a spike is emitted when the window opens, which makes a clipped ReLU.
* `event`: the dynamics (1) themselves, with the first crossing wherever it is. A spike from
  before a layer begins to integrate acts from that beginning on.

In all three `premature` marks the spikes before the window: where there is one, the network is
not the ReLU network any more, and the reading matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.ttfs_event import Cells, Window, first_crossings, first_crossings_plain
from reference.ttfs_network import Network, Pool, Weighted, converter

SEMANTICS = ("closed", "clamped", "event")
#: `perturb(n, times, active, (t_min, t_max)) -> times` of layer n, 0 being the input.
Perturb = Callable[[int, np.ndarray, np.ndarray, tuple[Any, Any]], np.ndarray]


@dataclass(frozen=True)
class Run:
    """What a network did with a batch.

    Attributes
    ----------
    times : list of ndarray, shape (batch, n)
        Spike times of every hidden layer; silent neurons have the end of their window.
    active : list of ndarray of bool, shape (batch, n)
        Whether a neuron spikes before that.
    premature : list of ndarray of bool, shape (batch, n)
        Whether it spikes before its window opens.
    logits : ndarray, shape (batch, classes)
    inputs : ndarray, shape (batch, n)
        Spike times of the input.
    """

    times: list[np.ndarray]
    active: list[np.ndarray]
    premature: list[np.ndarray]
    logits: np.ndarray
    inputs: np.ndarray

    @property
    def spikes_per_neuron(self) -> float:
        """Share of hidden neurons that spike, over all samples; the input is not counted."""
        return float(np.concatenate(self.active, axis=1).mean())


@dataclass
class Step:
    """One layer at work: what a backward pass needs."""

    layer: Any
    t_in: np.ndarray
    pull: Callable[..., Any]
    times: np.ndarray
    active: np.ndarray
    premature: np.ndarray
    window: Any  # Window of a spiking layer, else None


def forward(net: Network, x, semantics: str = "closed", *, perturb: Perturb | None = None) -> Run:
    """Run a network.

    Parameters
    ----------
    net : Network
    x : array_like, shape (batch, n) or (batch, C, H, W)
        Within `net.input_range`; flat images are taken too.
    semantics : {"closed", "clamped", "event"}
    perturb : callable, optional
        Moves the spikes of the input (layer 0) and of every hidden layer: gets the layer's
        number, its times, which of them are spikes, and its window.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If `semantics` is unknown, or `x` does not fit or leaves the range of the input.

    Notes
    -----
    Times are absolute: their rounding errors are a few units in the last place of the latency,
    and so are those of the logits.
    """
    steps = list(trace(net, x, semantics, perturb))
    first, last = steps[0], steps[-1]
    hidden = [s for s in steps[:-1] if isinstance(s.layer, Weighted)]

    def flat(values):
        return [v.reshape(len(v), -1) for v in values]

    return Run(
        flat(s.times for s in hidden),
        flat(s.active for s in hidden),
        flat(s.premature for s in hidden),
        last.times,
        first.t_in.reshape(len(first.t_in), -1),
    )


def trace(net: Network, x, semantics: str, perturb: Perturb | None = None) -> Iterator[Step]:
    """Layer by layer; the `times` of the last step, the readout, are the logits."""
    if semantics not in SEMANTICS:
        raise ValueError(f"semantics must be one of {', '.join(SEMANTICS)}; got {semantics!r}")
    t, active = encoded(net, x)
    n = 0
    if perturb is not None:
        t = perturb(0, t, active, (net.bounds[0], net.bounds[1]))
    for layer in net.layers:
        if isinstance(layer, Pool):
            out, pull = layer.times(t)
            nothing = np.zeros(out.shape, bool)
            yield Step(layer, t, pull, out, nothing, nothing, None)
            t = out
            continue
        n += 1
        t_min = net.bounds[n]
        if layer.readout:
            # What came before it began to integrate has been there all the time.
            heard = np.maximum(t, net.bounds[n - 1]) if semantics == "event" else t
            drive, pull = layer.drive((t_min - heard) / net.tau_c)
            nothing = np.zeros(drive.shape, bool)
            logits = drive + layer.along(layer.drift)
            yield Step(layer, t, pull, logits, nothing, nothing, None)
            return
        window = Window(net.bounds[n - 1], t_min, net.bounds[n + 1], net.tau_c)
        step = _hidden(net, layer, n, t, window, semantics)
        t = step.times
        if perturb is not None:
            t = step.times = perturb(n, t, step.active, (window.t_min, window.t_max))
        yield step


def _hidden(net, layer: Weighted, n: int, t, window: Window, semantics: str) -> Step:
    v_th, a, b = net.threshold(n), layer.a, layer.slopes()
    if semantics == "event":
        answer = _crossings(layer, t, Cells(v_th, a, b, layer.drift), window)
        times, active, premature = answer
        return Step(layer, t, _no_pull, times, active, premature, window)
    drive, pull = layer.drive((window.t_min - t) / window.tau_c)
    rest = layer.along(v_th) - layer.along(a * (window.t_min - window.start) / window.tau_c)
    rises = b > 0  # where it does not, the ramp comes to no threshold, whatever (3) says
    times = window.t_min + layer.along(window.tau_c / np.where(rises, b, 1)) * (rest - drive)
    # By the sign of the sum, which is exact without input, and not by rounded times.
    active = (drive + layer.along(layer.drift) > 0) & layer.along(rises)
    times = np.where(active, np.minimum(times, window.t_max), window.t_max)
    premature = active & (times < window.t_min)
    if semantics == "clamped":
        times = np.maximum(times, window.t_min)
    return Step(layer, t, pull, times, active, premature, window)


def _no_pull(gradient):
    raise ValueError("the event dynamics are differentiated by evsim.gradient; use 'closed' here")


def _crossings(layer: Weighted, t, cells: Cells, window: Window):
    """(times, active, premature) of the dynamics themselves."""
    rows, weight = layer.rows(t, window.t_min)
    cells = Cells(layer.by_place(cells.v_th), cells.a, cells.b, layer.by_place(cells.drift))
    if rows.dtype == np.float64:
        shape = (len(rows), weight.shape[1])
        answer = np.empty(shape), np.empty(shape, bool), np.empty(shape, bool)
        plain = Window(*map(float, window))
        first_crossings(np.ascontiguousarray(rows), weight, cells, plain, *answer)
    else:
        answer = first_crossings_plain(rows, weight, cells, window)
    return tuple(layer.from_rows(values, len(t)) for values in answer)


def encoded(net: Network, x):
    """Spike times of the input, shaped as the first layer wants them, and which are spikes."""
    low, high = net.input_range
    x = converter(net.dtype)(x)
    shape = net.layers[0].in_shape
    if x.ndim < 2 or int(np.prod(x.shape[1:])) != int(np.prod(shape)):
        raise ValueError(f"x must have shape (batch, {', '.join(map(str, shape))}); got {x.shape}")
    bad = np.argwhere(~((x >= low) & (x <= high)))
    if bad.size:
        at = tuple(map(int, bad[0]))
        raise ValueError(
            f"x{list(at)} is {x[at]}, not in [{low}, {high}]; from_relu(input_range=..) widens it"
        )
    make = converter(net.dtype)
    scaled = x.reshape(len(x), *shape)
    if (low, high) != (0.0, 1.0):
        scaled = (scaled - make(low)[()]) / (make(high)[()] - make(low)[()])
    return net.tau_c - net.tau_c * scaled, scaled > 0
