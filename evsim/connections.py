"""The synapses of a network as plain arrays, for whoever walks over them in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evsim.network import Network, Projection


@dataclass(frozen=True, eq=False)
class Connection:
    """Synapses from `pre` to `post`, at most one per pair.

    Attributes
    ----------
    pre, post : str
    weight : ndarray, shape (n_pre, n_post)
        0 where there is none.
    delay : float, or ndarray of the same shape [s]
    """

    pre: str
    post: str
    weight: np.ndarray
    delay: float | np.ndarray


def connections(network: Network) -> list[Connection]:
    """Every synapse of a network; a projection with several per pair gives several of these."""
    found = []
    for p in network.projections.values():
        shape = network.size(p.pre), network.size(p.post)
        found += [Connection(p.pre, p.post, p.weight, p.delay)] if p.dense else _rows(p, shape)
    return found


def _rows(p: Projection, shape: tuple[int, int]) -> list[Connection]:
    """The k-th synapses of all pairs, for every k."""
    indptr, targets = np.asarray(p.indptr), np.asarray(p.targets)
    pair = np.repeat(np.arange(shape[0]), np.diff(indptr)) * shape[1] + targets
    order = np.argsort(pair, kind="stable")
    first = np.searchsorted(pair[order], pair[order])
    rank = np.empty(pair.size, np.int64)
    rank[order] = np.arange(pair.size) - first
    out = []
    for k in range(int(rank.max(initial=0)) + 1):
        weight, delay = np.zeros(shape), np.zeros(shape)
        mine = rank == k
        weight.flat[pair[mine]] = p.weight[mine]
        delay.flat[pair[mine]] = np.broadcast_to(p.delay, pair.shape)[mine]
        out.append(Connection(p.pre, p.post, weight, delay if np.ndim(p.delay) else p.delay))
    return out
