r"""Backward pass of a leaky layer that touches active neurons only, beside its plain twin.

A layer whose reset is soft and detached has a linear membrane, so with the spike gradients
:math:`s[t,b,j]` (gradient from above times the surrogate, non-zero at active neurons only)

.. math::
    \lambda[t] = \beta \lambda[t+1] + s[t], \qquad
    \bar W = \sum_{t,b} x[t,b]^T \lambda[t,b], \qquad \bar x[t] = \lambda[t] W^T ;   \tag{1}

:math:`\lambda` is dense though :math:`s` is not. Moving the filter to the other side,

.. math::
    \bar W_{ij} = \sum_{t,b} \mathrm{tr}[t,b,i]\, s[t,b,j], \quad
        \mathrm{tr}[t] = \beta\, \mathrm{tr}[t-1] + x[t]; \qquad
    \bar x[t] = \beta\, \bar x[t+1] + \sum_j s[t,\cdot,j]\, W_{\cdot j},             \tag{2}

costs two additions of a vector of inputs for every active neuron, and a few passes over the
arrays; where few inputs are wanted, the second half of (1) for these alone. It is exact, not an
approximation; with a hard reset, or one that is not detached, the factor of the filter depends on
the spikes and (2) does not hold.

Source: Perez-Nieves and Goodman (2021), "Sparse spiking gradient descent", for the weights; the
inputs' half of (2) is derived here.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from reference.bptt import filtered

#: Sums may be taken in any order, and products fused with them: nothing else may change.
FAST = {"reassoc", "contract"}
#: Inputs of one tile: its traces for all steps and samples, or its columns of the weight, stay in
#: a cache of 2 MB.
TRACED, WEIGHED = 128, 256
#: Active neurons added in one pass.
TOGETHER = 8
#: Side of a square that is transposed at one time.
BLOCK = 16


def plain_backward(x, weight, active, value, *, beta: float, below=None):
    """What `sparse_backward` computes, by (1) and dense products."""
    x, weight = _arrays(x, weight)
    shape = (*x.shape[:2], weight.shape[1])
    row, neuron = _entries(active, shape, "active")
    s = np.zeros((x.shape[0] * x.shape[1], weight.shape[1]), weight.dtype)
    s[row, neuron] = value
    s = filtered(s.reshape(shape), beta)
    grad_x = s @ weight.T
    if below is not None:
        grad_x = grad_x.reshape(-1, x.shape[2])[_entries(below, x.shape, "below")]
    return np.tensordot(x, s, axes=((0, 1), (0, 1))), grad_x


def sparse_backward(x, weight, active, value, *, beta: float, below=None):
    """Gradients by weight and input of a leaky layer, from its active neurons.

    Parameters
    ----------
    x : ndarray, shape (T, B, n_in)
        Input, as it enters the membrane at each step.
    weight : ndarray, shape (n_in, n_out)
        float32 or float64: the precision of everything.
    active : ndarray of int, shape (k, 3), or of bool, shape (T, B, n_out)
        Step, sample and neuron of each active one, in ascending order; or a mask.
    value : ndarray, shape (k,)
        What enters the membrane's gradient there: gradient by the spike times the estimate.
    beta : float
        Leak per step.
    below : ndarray of int, shape (m, 3), or of bool, shape (T, B, n_in), optional
        Inputs whose gradient is wanted, in ascending order; default all. With an empty one that
        half of the work falls away, as in a first layer.

    Returns
    -------
    grad_weight : ndarray, shape (n_in, n_out)
    grad_x : ndarray, shape (T, B, n_in), or (m,) with `below`
        In the order of `below`.

    Raises
    ------
    ValueError
        If shapes do not fit, an index is out of range, or entries do not ascend.

    Notes
    -----
    Equals `plain_backward` to a few roundings of the sums of magnitudes, with every order of the
    sums fixed: same input, same bits on one processor. One thread; the first call compiles.
    """
    x, weight = _arrays(x, weight)
    steps, samples, n_in = x.shape
    row, neuron = _entries(active, (steps, samples, weight.shape[1]), "active")
    value = np.ascontiguousarray(value, weight.dtype)
    if value.shape != row.shape:
        raise ValueError(f"value must have {row.size} entries, as active; got {value.shape}")
    x = x.reshape(-1, n_in)
    grad_weight = _by_weight(x, weight, samples, row, neuron, value, beta)
    wanted = None if below is None else _entries(below, (steps, samples, n_in), "below")
    grad_x = _by_input(x.shape, weight, samples, row, neuron, value, beta, wanted)
    return grad_weight, grad_x if below is not None else grad_x.reshape(steps, samples, n_in)


def _arrays(x, weight):
    """Both, in the precision of the weight."""
    weight = np.asarray(weight)
    if weight.dtype not in (np.float32, np.float64):
        weight = weight.astype(float)
    x = np.ascontiguousarray(x, weight.dtype)
    if weight.ndim != 2 or x.ndim != 3 or x.shape[2] != weight.shape[0]:
        raise ValueError(
            f"x must be (T, B, n_in) and weight (n_in, n_out); got {x.shape} and {weight.shape}"
        )
    return x, weight


def _entries(entries, shape, name):
    """Rows `t B + b` and units of ascending entries, or of the true ones of a mask."""
    entries = np.asarray(entries)
    if entries.dtype == bool and entries.shape == shape:
        return np.divmod(np.flatnonzero(entries), shape[2])
    if entries.ndim != 2 or entries.shape[1] != 3:
        raise ValueError(f"{name} must have the shape (k, 3); got {entries.shape}")
    columns = [entries[:, axis] for axis in range(3)]
    fits = (c.min() >= 0 and c.max() < n for c, n in zip(columns, shape, strict=True))
    if len(entries) and not all(fits):
        k = int(np.argwhere((entries < 0) | (entries >= shape))[0, 0])
        raise ValueError(f"{name}[{k}] is {entries[k].tolist()}, outside {shape}")
    row = columns[0].astype(np.int64) * shape[1] + columns[1]
    unit = np.ascontiguousarray(columns[2], np.int64)
    falls = np.flatnonzero(np.diff(row * shape[2] + unit) <= 0)
    if falls.size:
        raise ValueError(
            f"{name} must ascend by step, sample and neuron; [{falls[0] + 1}] does not"
        )
    return row, unit


def _by_weight(x, weight, samples, row, neuron, value, beta):
    """The first half of (2): one tile of inputs at a time, one neuron after the other in it."""
    kind, n_out = weight.dtype, weight.shape[1]
    start = np.zeros(n_out + 1, np.int64)
    source, factor = np.empty(row.size, np.int64), np.empty(row.size, kind)
    _group(neuron, row, value, start, source, factor)
    grad = np.empty(weight.shape, kind)
    width = min(TRACED, x.shape[1])
    traces, out = np.empty((x.shape[0], width), kind), np.empty((n_out, width), kind)
    for first in range(0, x.shape[1], width):
        part = grad[first : first + width]
        _trace(x, first, kind.type(beta), samples, traces)
        _combine_each(out, traces, start, source, factor)
        part[...] = out.T[: len(part)]
    return grad


def _by_input(shape, weight, samples, row, neuron, value, beta, wanted):
    """The second half of (2), one tile of inputs at a time; of a few wanted ones that of (1)."""
    kind = weight.dtype
    begin = _starts(row, shape[0])
    if wanted is not None:
        grad, last = np.empty(wanted[1].size, kind), np.zeros((samples, weight.shape[1]), kind)
        where = _starts(wanted[0], shape[0])
        _dots(weight, begin, neuron, value, kind.type(beta), last, wanted[1], where, grad)
        return grad
    grad = np.empty(shape, kind)
    width = min(WEIGHED, shape[1])
    columns = np.empty((weight.shape[1], width), kind)
    for first in range(0, shape[1], width):
        rows = weight[first : first + width]
        part, last = columns[:, : len(rows)], np.zeros((samples, len(rows)), kind)
        _turn(rows, part)
        _filter(part, begin, neuron, value, kind.type(beta), last, first, grad)
    return grad


def _starts(row, rows):
    """Where each row begins in ascending `row`, and the end."""
    return np.append(0, np.cumsum(np.bincount(row, minlength=rows)))


#: Kernels borrow their arrays and allocate none, so nothing is counted.
_kernel = njit(cache=True, fastmath=FAST, error_model="numpy", _nrt=False, nogil=True)


@_kernel
def _group(neuron, row, value, start, source, factor):
    """Sort by neuron, keeping the order within each: `start[j]` to `start[j + 1]` are of j."""
    for k in range(neuron.size):
        start[neuron[k] + 1] += 1
    for j in range(start.size - 1):
        start[j + 1] += start[j]
    for k in range(neuron.size):
        place = start[neuron[k]]
        source[place], factor[place] = row[k], value[k]
        start[neuron[k]] = place + 1
    for j in range(start.size - 1, 0, -1):
        start[j] = start[j - 1]
    start[0] = 0


@_kernel
def _trace(x, first, beta, samples, traces):
    """Traces of one tile, from column `first`; the first `samples` rows are of the first step.

    In a last tile that is narrower than `traces`, the rest is zero.
    """
    for r in range(x.shape[0]):
        new, now = traces[r], x[r, first : first + traces.shape[1]]
        new[now.size :] = 0.0
        if r < samples:
            for c in range(now.size):
                new[c] = now[c]
        else:
            old = traces[r - samples]
            for c in range(now.size):
                new[c] = beta * old[c] + now[c]


@_kernel
def _turn(rows, columns):
    """Transpose, a block at a time."""
    for a in range(0, rows.shape[0], BLOCK):
        for b in range(0, rows.shape[1], BLOCK):
            for i in range(a, min(a + BLOCK, rows.shape[0])):
                for j in range(b, min(b + BLOCK, rows.shape[1])):
                    columns[j, i] = rows[i, j]


@_kernel
def _add_together(out, vectors, which, factor):
    v0, v1, v2, v3 = (vectors[which[0]], vectors[which[1]], vectors[which[2]], vectors[which[3]])
    v4, v5, v6, v7 = (vectors[which[4]], vectors[which[5]], vectors[which[6]], vectors[which[7]])
    f0, f1, f2, f3 = factor[0], factor[1], factor[2], factor[3]
    f4, f5, f6, f7 = factor[4], factor[5], factor[6], factor[7]
    for c in range(out.size):
        early = (f0 * v0[c] + f1 * v1[c]) + (f2 * v2[c] + f3 * v3[c])
        late = (f4 * v4[c] + f5 * v5[c]) + (f6 * v6[c] + f7 * v7[c])
        out[c] += early + late


@_kernel
def _add(out, vector, factor):
    for c in range(out.size):
        out[c] += factor * vector[c]


@_kernel
def _combine(out, vectors, which, factor):
    """Add the chosen vectors, each times its factor."""
    k = 0
    while k + TOGETHER <= which.size:
        _add_together(out, vectors, which[k : k + TOGETHER], factor[k : k + TOGETHER])
        k += TOGETHER
    while k < which.size:
        _add(out, vectors[which[k]], factor[k])
        k += 1


@_kernel
def _combine_each(out, vectors, start, which, factor):
    for j in range(out.shape[0]):
        a, b = start[j], start[j + 1]
        out[j, :] = 0.0
        _combine(out[j], vectors, which[a:b], factor[a:b])


@_kernel
def _filter(part, begin, neuron, value, beta, last, first, grad):
    """Gradients of all inputs of one tile, backward in time."""
    samples, width = last.shape
    b = samples - 1
    for r in range(grad.shape[0] - 1, -1, -1):
        for c in range(width):
            last[b, c] *= beta
        _combine(last[b], part, neuron[begin[r] : begin[r + 1]], value[begin[r] : begin[r + 1]])
        for c in range(width):
            grad[r, first + c] = last[b, c]
        b = b - 1 if b > 0 else samples - 1


@_kernel
def _dots(weight, begin, neuron, value, beta, last, unit, where, grad):
    """Gradients of the inputs `unit[where[r]:where[r + 1]]` of each row, backward in time."""
    samples = last.shape[0]
    b = samples - 1
    for r in range(begin.size - 2, -1, -1):
        lam = last[b]
        for j in range(lam.size):
            lam[j] *= beta
        for k in range(begin[r], begin[r + 1]):
            lam[neuron[k]] += value[k]
        for k in range(where[r], where[r + 1]):
            column = weight[unit[k]]
            total = lam[0] * column[0]
            for j in range(1, lam.size):
                total += lam[j] * column[j]
            grad[k] = total
        b = b - 1 if b > 0 else samples - 1
