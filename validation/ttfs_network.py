"""Networks of single spikes of `reference.ttfs` in evsim's engine: populations of `evsim.TTFS`.

A pooling is a population that fires when the first, or the last, spike of its window arrives:
the earliest spike of a window is its maximum. Images become sparse projections.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

import evsim
from reference.ttfs import Network, Pool, Weighted


def engine_of(net: Network) -> evsim.Network:
    """The spiking layers of a network, in populations `h1`, `h2` ..; its input is `input`.

    Poolings before layer k are populations `p<k>`, `p<k>b` ..; the readout is left out.
    """
    made, source, k, pools = evsim.Network(), "input", 1, 0
    made.add_input("input", int(np.prod(net.layers[0].in_shape)))
    for layer in net.layers[:-1]:
        if isinstance(layer, Pool):
            name = f"p{k}" + "bcdefgh"[pools - 1] * (pools > 0)
            pools += 1
            _pool(made, source, name, layer, float(net.latency))
        elif layer.readout:
            break
        else:
            name, pools = f"h{k}", 0
            _layer(made, source, name, net, layer, k)
            k += 1
        source = name
    return made


def populations(net: Network) -> list[dict[str, Any]]:
    """What the spiking layers are: `weight` (n_out, n_in), `v_th`, `a`, `b`, `windows`, `tau_c`.

    Raises
    ------
    ValueError
        If the network has poolings.
    """
    if any(isinstance(layer, Pool) for layer in net.layers):
        raise ValueError("poolings of spikes are no layers of single-spike neurons")
    found = []
    for k, layer in enumerate(net.hidden, 1):
        weight = _matrix(layer)
        dense = weight.toarray() if scipy.sparse.issparse(weight) else weight
        part = {key: value for key, value in _numbers(net, layer, k).items() if key[:2] != "t_"}
        windows = np.asarray(net.bounds[k - 1 : k + 2], float)
        found.append(part | {"weight": np.ascontiguousarray(dense.T), "windows": windows,
                             "tau_c": np.asarray(float(net.tau_c))})  # fmt: skip
    return found


def _numbers(net: Network, layer: Weighted, k: int) -> dict[str, Any]:
    """The parameters of `evsim.TTFS` of hidden layer `k`, but tau_c."""
    shape = layer.out_shape

    def each(values):
        return np.array(np.broadcast_to(layer.along(values), shape), float).ravel()

    start, t_min, t_max = (float(t) for t in net.bounds[k - 1 : k + 2])
    return {"v_th": each(net.threshold(k)), "a": each(layer.a), "b": each(layer.slopes()),
            "t_start": start, "t_min": t_min, "t_max": t_max}  # fmt: skip


def _layer(made: evsim.Network, source: str, name: str, net: Network, layer: Weighted, k: int):
    model = evsim.TTFS(tau_c=float(net.tau_c), **_numbers(net, layer, k))
    made.add_population(name, int(np.prod(layer.out_shape)), model)
    made.connect(source, name, _matrix(layer))


def _matrix(layer: Weighted) -> Any:
    """Weights (n_pre, n_post), of a convolution sparse."""
    if layer.weight.ndim == 2:
        return np.ascontiguousarray(layer.weight.T)
    o, height, width = layer.out_shape
    c, rows, columns = layer.in_shape
    where = -np.ones((1, c, rows, columns))
    where[0] = np.arange(c * rows * columns).reshape(c, rows, columns)
    heard, weight = layer.rows(where, -1.0)
    heard = heard.astype(int)  # (places, entries); -1 in the padding
    place, entry = np.nonzero(heard >= 0)
    pre = np.repeat(heard[place, entry], o)
    post = (np.arange(o) * height * width + place[:, None]).ravel()
    shape = (c * rows * columns, o * height * width)
    return scipy.sparse.coo_array((weight[entry].ravel(), (pre, post)), shape=shape).tocsr()


def _pool(made: evsim.Network, source: str, name: str, layer: Pool, end: float) -> None:
    c, h, w = layer.in_shape
    shape, size = layer.out_shape, layer.size
    index = np.arange(c * h * w).reshape(c, h, w)
    view = np.lib.stride_tricks.sliding_window_view(index, (size, size), axis=(1, 2))
    heard = view[:, :: layer.stride, :: layer.stride].reshape(-1, size * size)
    n = len(heard)
    needed = np.where(layer.latest, size * size, 1).repeat(shape[1] * shape[2])
    # Exact: whole numbers of arrivals. It rests for the remainder of the run.
    model = evsim.IF(v_th=needed.astype(float), t_ref=2.0 * end)
    made.add_population(name, n, model)
    post = np.arange(n).repeat(size * size)
    made.connect(source, name, 1.0, pre_units=heard.ravel(), post_units=post)


def spike_times(net: Network, record: evsim.Record) -> list[np.ndarray]:
    """Spike times of every hidden layer of a record, silent neurons at the end of their window."""
    found = []
    for k in range(1, len(net.weighted)):
        spikes = record.spikes[f"h{k}"]
        t = np.full(record.network.size(f"h{k}"), float(net.bounds[k + 1]))
        t[spikes.units] = spikes.times
        found.append(t)
    return found


def run_in_engine(net: Network, inputs: np.ndarray, **options: Any) -> list[evsim.Record]:
    """Run a batch of input spike times, as `reference.ttfs.Run.inputs`; a record each."""
    made, units = engine_of(net), np.arange(inputs.shape[1])
    samples = []
    for row in inputs:
        heard = row < net.bounds[1]  # a spike at the opening of the next window has no effect
        samples.append({"input": evsim.Spikes(row[heard], units[heard])})
    return evsim.simulate(made, samples, float(net.latency), **options)
