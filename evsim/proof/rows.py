r"""Symbols: how every spike time depends on the errors made at the spikes before it.

Row `k` of `c` holds the coefficients of the deviation of spike `k` in the errors
:math:`\epsilon_s`, each at most `e[s]`: :math:`d = C \epsilon`. A row is a linear combination
of those of the spikes that arrived since the neuron's last one. Since :math:`\epsilon_k` is
*defined* as what the computed row leaves over, roundings of coefficients and of rows go into
`e[k]`, and a row need not be exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evsim.jit import apart, inline_kernel, kernel
from evsim.models.linear import DRIVER, THRESHOLD
from evsim.numerics import add_time, exp_neg
from evsim.proof.bounds import COEFFICIENT, QUOTIENT, TERM, UNIT, UP
from evsim.proof.flow import DEVIATION, REST, interval, responses
from evsim.proof.problem import EDGE, VOLTAGE

#: Rows that are added to others in one pass: more, and the compiler would no longer check that
#: they do not overlap, and use one number at a time.
GROUP = 3


class Rows(NamedTuple):
    """Coefficients, and their errors."""

    c: Any  # (rows, symbols)
    e: Any  # (symbols,)
    length: Any  # (rows,) symbols in use
    z: Any  # (n, 1 + c, symbols) of the variables of every neuron at the last folding
    symbols: Any  # (1,) in use
    rows: Any  # (1,) in use
    waiting: Any  # (GROUP + 2,) how many wait to be added, to which component, and which
    factor: Any  # (GROUP, 2) by what: to the component, and to the membrane


def new_rows(neurons: int, width: int, capacity: int) -> Rows:
    """Room for `capacity` rows and symbols; none: scalar radii carry everything."""
    kept = neurons if capacity else 0
    return Rows(
        np.zeros((capacity, capacity)), np.zeros(capacity), np.zeros(capacity, np.int64),
        np.zeros((kept, 1 + width, capacity)), np.zeros(1, np.int64), np.zeros(1, np.int64),
        np.zeros(GROUP + 2, np.int64), np.zeros((GROUP, 2)),
    )  # fmt: skip


@inline_kernel
def add_row(target, row, factor, length):
    """target += factor row, over the first entries."""
    for s in range(length):
        target[s] += factor * row[s]


@kernel
def add_waiting(rows, z, row):
    """Add the rows that wait to those of the component and the membrane of a neuron."""
    apart()
    count, start, f, w = rows.waiting[0], 0, rows.factor, rows.waiting
    if count == GROUP:
        a, b, c = rows.c[w[2]], rows.c[w[3]], rows.c[w[4]]
        start = min(rows.length[w[2]], rows.length[w[3]], rows.length[w[4]])
        to_z, to_u = (f[0, 0], f[1, 0], f[2, 0]), (f[0, 1], f[1, 1], f[2, 1])
        own = z[w[1]]
        for s in range(start):
            own[s] += to_z[0] * a[s] + to_z[1] * b[s] + to_z[2] * c[s]
            row[s] += to_u[0] * a[s] + to_u[1] * b[s] + to_u[2] * c[s]
    for k in range(count):
        a, own = rows.c[w[2 + k]], z[w[1]]
        for s in range(start, rows.length[w[2 + k]]):
            own[s] += f[k, 0] * a[s]
            row[s] += f[k, 1] * a[s]
    w[0] = 0


@inline_kernel
def weighted(row, e, length):
    """The radius of a row, however long."""
    total = 0.0
    for s in range(length):
        total += abs(row[s]) * e[s]
    return total * (UP + UNIT * length)


@inline_kernel
def between(a, b, e, length):
    """The radius of the difference of two rows, however long."""
    total = 0.0
    for s in range(length):
        total += abs(a[s] - b[s]) * e[s]
    return total * (UP + UNIT * length)


@kernel
def response(p, c, x):
    """(fade, gain, lag) of component `c` over `x`, in floats."""
    apart()
    x_mem = x * p.rate_hi
    em = exp_neg(x_mem)
    fade, kappa = responses(p, c, x, x_mem, em, x * p.gain_hi, 0.0)
    return fade, kappa, (x * fade if p.kind[c] == DRIVER else 0.0)


@kernel
def effect(p, c, wait, felt):
    """What a unit of component `c` makes of the membrane, of itself and of the one before it,
    after a refractory time `wait` and a free one `felt`."""
    apart()
    fade, gain, lag = response(p, c, wait + felt)
    if wait == 0.0:
        return gain, fade, lag
    early, _, brought = response(p, c, wait)
    _, late, _ = response(p, c, felt)
    if brought > 0.0:
        _, before, _ = response(p, c - 1, felt)
        return late * early + before * brought, fade, lag
    return late * early, fade, lag


@inline_kernel
def waiting(q, span, hi, lo, since_hi, since_lo, since_off):
    """(wait, felt) of the time since (since_hi + ..) until hi + lo, `span` long."""
    if q.busy:
        return span, 0.0
    if q.owes:
        y, _ = interval(q.free_hi, q.free_lo, q.free_off, since_hi, since_lo, since_off)
        if y[0] > 0.0:
            wait = min(y[0], span)
            return wait, span - wait
    return 0.0, span


@kernel
def fold(p, q, n, src, arr, rows, hi, lo, bound, row):
    """Bring the rows of the components of neuron `n` to the time hi + lo, and write that of its
    membrane there into `row`.

    Returns a bound of what the terms of `row` may sum to, for its rounding; that of the others
    is added to the rest in `bound`, of the state at that time.
    """
    apart()
    total = rows.symbols[0]
    row[:total] = 0.0
    size = fold_old(p, q, n, rows, hi, lo, row)
    if q.owes and not q.busy:
        y, _ = interval(hi, lo, 0.0, q.free_hi, q.free_lo, q.free_off)
        factor = -q.slope * exp_neg(max(y[0], 0.0) * p.rate_hi)
        last = src[q.last]
        add_row(row, rows.c[last.slot], factor, rows.length[last.slot])
        size += abs(factor) * last.radius
    for m in range(q.first, q.next):
        if src[arr[m].source].slot >= 0:
            size += fold_arrival(p, q, n, src, arr, rows, m, hi, lo, row)
    add_waiting(rows, rows.z[n], row)
    error = slack(q.next - q.first)
    for c in range(1, p.count + 1):
        bound[REST, c] += error * q.z_radius[c]
        bound[DEVIATION, c] += error * q.z_radius[c]
    q.first = q.next
    q.z_length = total
    return size * error


@inline_kernel
def slack(terms):
    """Relative error of a row of so many terms: of its coefficients, and of their sum."""
    return UNIT * (COEFFICIENT + TERM * (terms + 20))


@kernel
def fold_old(p, q, n, rows, hi, lo, row):
    """The part of `fold` that the last folding left."""
    apart()
    z, known, total = rows.z[n], q.z_length, rows.symbols[0]
    x, _ = interval(hi, lo, 0.0, q.ref_hi, q.ref_lo, q.ref_off)
    span = max(x[0], 0.0)
    wait, felt = waiting(q, span, hi, lo, q.ref_hi, q.ref_lo, q.ref_off)
    size = 0.0
    if q.held:
        em = exp_neg(felt * p.rate_hi)
        add_row(row, z[0], em, known)
        size += em * q.z_radius[0]
    for c in range(1, p.count + 1):
        to_u, fade, lag = effect(p, c - 1, wait, felt)
        if p.kind[c - 1] != THRESHOLD:
            add_row(row, z[c], to_u, known)
            size += abs(to_u) * q.z_radius[c]
        if lag > 0.0:
            add_row(z[c - 1], z[c], lag, known)
            q.z_radius[c - 1] += lag * q.z_radius[c] * UP
        for s in range(known):
            z[c, s] *= fade
        z[c, known:total] = 0.0
        q.z_radius[c] *= fade * UP
    return size


@kernel
def fold_arrival(p, q, n, src, arr, rows, m, hi, lo, row):
    """Add one arrival to the rows of a neuron; a bound of its terms."""
    apart()
    weight, port, a_off = arr[m].weight, arr[m].port, arr[m].delay
    source = src[arr[m].source]
    slot, r, a_hi, a_lo = source.slot, source.radius, source.hi, source.lo
    x, _ = interval(hi, lo, 0.0, a_hi, a_lo, a_off)
    span = max(x[0], 0.0)
    wait, felt = waiting(q, span, hi, lo, a_hi, a_lo, a_off)
    em = 0.0 if wait > 0.0 or q.busy else exp_neg(felt * p.rate_hi)
    source_row, length = rows.c[slot], rows.length[slot]
    if port == VOLTAGE or (port == EDGE and p.drive < 0):
        factor = (weight if port == VOLTAGE else -weight) * p.rate_hi * em
        add_row(row, source_row, factor, length)
        size = abs(factor) * r
    else:
        c = p.drive if port == EDGE else port
        size = fold_into(p, q, n, rows, c, weight, wait, felt, em, slot, r, row)
    if port == EDGE and p.lag >= 0:
        size += fold_into(p, q, n, rows, p.lag, -weight, wait, felt, em, slot, r, row)
    return size


@kernel
def fold_into(p, q, n, rows, c, weight, wait, felt, em, slot, r, row):
    """`fold_arrival` at component `c`, of a source with the row `slot`."""
    to_u, fade, lag = effect(p, c, wait, felt)
    own, w = weight * p.decay_hi[c], rows.waiting
    if w[0] == GROUP or (w[0] > 0 and w[1] != 1 + c):
        add_waiting(rows, rows.z[n], row)
    q.z_radius[1 + c] += abs(own * fade) * r * UP
    if p.kind[c] == DRIVER:
        before, left, _ = effect(p, c - 1, wait, felt)
        factor = own * lag - weight * left
        add_row(rows.z[n, c], rows.c[slot], factor, rows.length[slot])
        q.z_radius[c] += (abs(own * lag) + abs(weight * left)) * r * UP
        direct = -weight * before
    else:
        direct = -weight * p.gain_hi * em
    rows.factor[w[0], 0], rows.factor[w[0], 1] = own * fade, own * to_u + direct
    w[2 + w[0]], w[1] = slot, 1 + c
    w[0] += 1
    return (abs(own * to_u) + abs(direct)) * r


@kernel
def enter_row(p, q, n, k, src, arr, rows, hi, lo, bound, row, slope, eps):
    """Enter the row of spike `k` at hi + lo, and its error; its radius.

    `bound` is of the state there; `slope` that of F; `eps` what no row carries.
    """
    apart()
    total, slot = rows.symbols[0], rows.rows[0]
    rest = fold(p, q, n, src, arr, rows, hi, lo, bound, row)
    for j in range(1, p.count + 1):
        if p.kind[j - 1] == THRESHOLD:
            add_row(row, rows.z[n, j], -1.0, total)
            rest += 2.0 * COEFFICIENT * UNIT * q.z_radius[j]
    mine = rows.c[slot]
    for s in range(total):
        mine[s] = -row[s] / slope
    own = weighted(mine, rows.e, total)
    error = (eps + rest / slope + QUOTIENT * UNIT * own) * UP
    mine[total] = 1.0
    rows.e[total], rows.length[slot], src[k].slot = error, total + 1, slot
    return (own + error) * UP


@kernel
def enter_copy(p, q, n, k, src, arr, rows, hi, lo, bound, row, cause, eps):
    """Enter the row of spike `k` at hi + lo, which deviates as the source `cause` does, but for
    `eps`; its radius. `row` is that of the membrane there, and what it has lost in `bound`."""
    apart()
    bound[REST, 0] = fold(p, q, n, src, arr, rows, hi, lo, bound, row)
    total, slot = rows.symbols[0], rows.rows[0]
    mine, other = rows.c[slot], src[cause].slot if cause >= 0 else -1
    mine[:total] = 0.0
    if other >= 0:
        add_row(mine, rows.c[other], 1.0, rows.length[other])
    elif cause >= 0:
        eps += src[cause].radius
    mine[total] = 1.0
    rows.e[total], rows.length[slot], src[k].slot = eps, total + 1, slot
    return (weighted(mine, rows.e, total) + eps) * UP


@inline_kernel
def next_row(q, rows):
    """The row that has been entered counts."""
    rows.symbols[0] += 1
    rows.rows[0] += 1
    q.z_length = rows.symbols[0]


@kernel
def jump_row(p, q, n, j, slot, rows, r):
    """What a neuron's own spike adds to component `j` comes at its true time."""
    factor = p.jump[j - 1] * p.decay_hi[j - 1]
    rows.z[n, j, rows.length[slot] - 1] = 0.0
    add_row(rows.z[n, j], rows.c[slot], factor, rows.length[slot])
    q.z_radius[j] += abs(factor) * r * UP


@kernel
def keep_row(q, n, slot, rows, row, factor):
    """What a reset by subtraction leaves of the membrane deviates as `row` says, and by `factor`
    times what the spike itself does."""
    last = rows.length[slot] - 1
    z = rows.z[n, 0]
    for s in range(last):
        z[s] = row[s]
    z[last] = 0.0
    add_row(z, rows.c[slot], factor, last + 1)
    q.z_radius[0], q.held = weighted(z, rows.e, last + 1), 1


@kernel
def fold_all(net, st, src, arr, rows, row):
    """Fold every neuron at its last event: no arrival before it is needed any more."""
    for n in range(st.size):
        p, q = net[n], st[n]
        hi, lo = add_time(q.hi, q.lo, q.off)
        rest = fold(p, q, n, src, arr, rows, hi, lo, q.x.bound, row)
        q.x.bound[DEVIATION, 0] += rest
        q.x.bound[REST, 0] += rest
        total = rows.symbols[0]
        for s in range(total):
            rows.z[n, 0, s] = row[s]
        q.z_radius[0] = weighted(row, rows.e, total)
        q.held = 1
        if not q.busy:
            q.owes = 0
        q.ref_hi, q.ref_lo, q.ref_off = hi, lo, 0.0


@kernel
def keep_row_of(st, n, k, src, rows, row, factor):
    """`keep_row` for a neuron and a spike given by their indices."""
    keep_row(st[n], n, src[k].slot, rows, row, factor)


@kernel
def enter_row_of(net, st, n, k, src, arr, rows, hi, lo, bound, row, slope, eps):
    """`enter_row` for a neuron given by its index."""
    r = enter_row(net[n], st[n], n, k, src, arr, rows, hi, lo, bound, row, slope, eps)
    src[k].hi, src[k].lo, src[k].radius = hi, lo, r
    return r


@kernel
def enter_copy_of(net, st, n, k, src, arr, rows, hi, lo, bound, row, cause, eps):
    """`enter_copy` for a neuron given by its index."""
    r = enter_copy(net[n], st[n], n, k, src, arr, rows, hi, lo, bound, row, cause, eps)
    src[k].hi, src[k].lo, src[k].radius = hi, lo, r
    return r


@kernel
def count_row_of(net, st, n, k, src, rows):
    """The row of spike `k` of neuron `n` counts, and acts on what the spike adds to."""
    p, q = net[n], st[n]
    next_row(q, rows)
    for j in range(1, p.count + 1):
        if p.jump[j - 1] != 0.0:
            jump_row(p, q, n, j, src[k].slot, rows, src[k].radius)
    q.ref_hi, q.ref_lo, q.ref_off = src[k].hi, src[k].lo, 0.0
    q.free_hi, q.free_lo, q.free_off = src[k].hi, src[k].lo, p.t_ref
    q.last, q.held, q.owes, q.busy = k, 0, 0, 0


@kernel
def difference_of(src, rows, a, b):
    """The radius of the difference of two spike times, common history left out."""
    i, j = src[a].slot, src[b].slot
    length = max(rows.length[i], rows.length[j])
    return between(rows.c[i], rows.c[j], rows.e, length)
