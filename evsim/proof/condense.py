r"""Fewer symbols for a long run: those of the past are replaced by as many as rows still live.

Rows live that belong to spikes with an arrival to come, to the last spike of every neuron, and
to the deviation of every neuron. With `M` these rows scaled to their radii (so that the symbols
lie in [-1, 1]), and `Q` from a QR factorisation of it,

.. math::
    M \xi = Q\, (Q^T M) \xi + (M - Q Q^T M)\, \xi .

The components of :math:`Q^T M \xi` are the new symbols, each bounded by the sum of its
magnitudes; the last term, rounding, is bounded row by row, so that `Q` need not be orthogonal.
"""

from __future__ import annotations

import numpy as np

from evsim.proof.bounds import TERM, UNIT
from evsim.proof.events import DONE, Task
from evsim.proof.flow import DEVIATION, REST
from evsim.proof.rows import fold_all
from evsim.proof.still import still_from

#: For sums of some thousand products: far more than they need, and nothing beside their sizes.
UP = 1.0 + 1e-9


def condense(t: Task, k: int, like) -> int:
    """Make room before claim `k`; a code of `evsim.proof.events`."""
    # All neurons up to now, so that few arrivals keep rows alive.
    now = t.src[k].claim_hi - 2.0 * t.window
    _, code = still_from(t, 0, k, now, False, like)
    if code != DONE:
        return code
    fold_all(t.net, t.st, t.src, t.arr, t.rows, t.row)
    rows, total = t.rows, int(t.rows.symbols[0])
    sources = _live(t, k)
    slots = t.src.slot[sources]
    cells = [(n, c) for n in range(t.st.size) for c in range(t.net[n].count + 1)]
    old = [rows.c[slots, :total], *(rows.z[n, c, None, :total] for n, c in cells)]
    new, size, rest = factored(np.concatenate(old) * rows.e[:total])
    m, count = sources.size, size.size
    if count + m >= rows.e.size:
        raise MemoryError(f"{count + m} rows of symbols live, of {rows.e.size} at most")
    t.src.slot[:k] = -1
    t.src.slot[sources] = np.arange(m)
    rows.c[:], rows.z[:] = 0.0, 0.0
    rows.c[:m, :count] = new[:m]
    rows.c[np.arange(m), count + np.arange(m)] = 1.0
    rows.e[:] = 0.0
    rows.e[:count], rows.e[count : count + m] = size, rest[:m]
    rows.length[:m] = count + m
    rows.symbols[0], rows.rows[0] = count + m, m
    for (n, c), row, left in zip(cells, new[m:], rest[m:], strict=True):
        q = t.st[n]
        rows.z[n, c, :count] = row
        q.z_length, q.z_radius[c] = count + m, (np.abs(row) @ size) * UP
        q.x.bound[DEVIATION, c] += left
        q.x.bound[REST, c] += left
    return DONE


def _live(t: Task, k: int) -> np.ndarray:
    """Spikes whose rows are still needed."""
    waiting = [t.arr.source[q.next : q.end] for q in t.st]
    found = np.unique(np.concatenate([*waiting, t.st.last, t.st.origin]))
    found = found[(found >= 0) & (found < k)]
    return found[t.src.slot[found] >= 0]


def factored(m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, sizes, rest): `m` times symbols in [-1, 1] is `rows` times symbols of `sizes`, and
    for every row something of at most `rest`."""
    order = np.argsort(-np.abs(m).sum(axis=0), kind="stable")
    q, _ = np.linalg.qr(m[:, order])
    b = q.T @ m
    left = np.abs(m - q @ b).sum(axis=1)
    left += TERM * UNIT * (m.shape[0] + 2) * (np.abs(q) @ np.abs(b)).sum(axis=1)
    return q, np.abs(b).sum(axis=1) * UP + 1e-240, left * UP + 1e-240
