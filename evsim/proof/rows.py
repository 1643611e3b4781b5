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
from evsim.numerics import add_time, exp_neg, fma
from evsim.proof.bounds import COEFFICIENT, QUOTIENT, TERM, UNIT, UP
from evsim.proof.flow import DEVIATION, REST, exactly, responses, roughly, span_of
from evsim.proof.problem import EDGE, VOLTAGE

#: Rows that are added to others in one pass: more, and the compiler would no longer check that
#: they do not overlap, and use one number at a time.
GROUP = 3


class Rows(NamedTuple):
    """Coefficients, and their errors."""

    c: Any  # (rows, symbols)
    e: Any  # (symbols,)
    ones: Any  # (symbols,)
    part: Any  # (symbols,) for partial sums
    length: Any  # (rows,) symbols in use
    sums: Any  # (rows,) of the magnitudes of their coefficients
    z: Any  # (n, 1 + c, symbols) of the variables of every neuron at the last folding
    symbols: Any  # (1,) in use
    rows: Any  # (1,) in use
    waiting: Any  # (GROUP + 2,) how many wait to be added, to which component, and which
    factor: Any  # (GROUP, 2) by what: to the component, and to the membrane


def new_rows(neurons: int, width: int, capacity: int) -> Rows:
    """Room for `capacity` rows and symbols; none: scalar radii carry everything."""
    kept = neurons if capacity else 0
    return Rows(
        np.zeros((capacity, capacity)), np.zeros(capacity), np.ones(capacity),
        np.zeros(capacity), np.zeros(capacity, np.int64), np.zeros(capacity),
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
    f, w = rows.factor, rows.waiting
    if w[0] == 0:
        return
    for k in range(w[0], GROUP):  # for those that are missing, nothing of the first
        w[2 + k], f[k, 0], f[k, 1] = w[2], 0.0, 0.0
    length = max(rows.length[w[2]], rows.length[w[3]], rows.length[w[4]])
    # Behind its last symbol a row is zero.
    a, b, c = rows.c[w[2]][:length], rows.c[w[3]][:length], rows.c[w[4]][:length]
    own, row = z[w[1]][:length], row[:length]
    to_z, to_u = (f[0, 0], f[1, 0], f[2, 0]), (f[0, 1], f[1, 1], f[2, 1])
    for s in range(length):
        own[s] = fma(to_z[0], a[s], fma(to_z[1], b[s], fma(to_z[2], c[s], own[s])))
        row[s] = fma(to_u[0], a[s], fma(to_u[1], b[s], fma(to_u[2], c[s], row[s])))
    w[0] = 0


@kernel
def weighted(row, e, part, length):
    """The radius of a row, however long; `part` is for partial sums.

    By halves, since one sum after the other would make each addition wait for the one before.
    """
    apart()
    n = length // 2
    behind, e_behind = row[n : 2 * n], e[n : 2 * n]
    for s in range(n):
        part[s] = abs(row[s]) * e[s] + abs(behind[s]) * e_behind[s]
    total = abs(row[length - 1]) * e[length - 1] if length % 2 == 1 else 0.0
    while n > 1:
        if n % 2 == 1:
            total += part[n - 1]
        n //= 2
        behind = part[n : 2 * n]
        for s in range(n):
            part[s] += behind[s]
    return (total + (part[0] if n == 1 else 0.0)) * (UP + UNIT * length)


@inline_kernel
def between(a, b, e, length):
    """The radius of the difference of two rows, however long."""
    total = 0.0
    for s in range(length):
        total += abs(a[s] - b[s]) * e[s]
    return total * (UP + UNIT * length)


@inline_kernel
def response(p, c, x, em):
    """(fade, gain, lag) of component `c` over `x`, in floats; `em` is what is left of the
    membrane."""
    x_mem = x * p.rate_hi
    fade, kappa = responses(p, c, x, x_mem, em, x * p.gain_hi, 0.0)
    return fade, kappa, (x * fade if p.kind[c] == DRIVER else 0.0)


@inline_kernel
def effect(p, c, wait, felt, em):
    """What a unit of component `c` makes of the membrane, of itself and of the one before it,
    after a refractory time `wait` and a free one `felt`, that leaves `em` of the membrane."""
    fade, gain, lag = response(p, c, felt, em)
    if wait == 0.0:
        return gain, fade, lag
    early = exp_neg(wait * p.decay_hi[c])
    if p.kind[c] == DRIVER:
        brought, whole = wait * early, (wait + felt) * early * fade
        _, before, _ = response(p, c - 1, felt, em)
        return gain * early + before * brought, early * fade, whole
    return gain * early, early * fade, 0.0


@inline_kernel
def waiting(q, span, hi, lo, since_hi, since_lo, since_off):
    """(wait, felt) of the time since (since_hi + ..) until hi + lo, `span` long."""
    if q.busy:
        return span, 0.0
    if q.owes:
        y, error = roughly(q.free_hi, q.free_lo, q.free_off, since_hi, since_lo, since_off)
        if y + error > 0.0:
            y, _ = exactly(q.free_hi, q.free_lo, q.free_off, since_hi, since_lo, since_off)
        if y > 0.0:
            return min(y, span), span_of(hi, lo, q.free_hi, q.free_lo, q.free_off)
    return 0.0, span


@inline_kernel
def fold(p, q, n, src, arr, rows, hi, lo, bound, row):
    """Bring the rows of the components of neuron `n` to the time hi + lo, and write that of its
    membrane there into `row`.

    Returns a bound of what the terms of `row` may sum to, for its rounding; that of the others
    is added to the rest in `bound`, of the state at that time.
    """
    total = rows.symbols[0]
    row[:total] = 0.0
    size = fold_old(p, q, n, rows, hi, lo, row)
    if q.owes and not q.busy:
        y = span_of(hi, lo, q.free_hi, q.free_lo, q.free_off)
        factor = -q.slope * exp_neg(y * p.rate_hi)
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


@inline_kernel
def fold_old(p, q, n, rows, hi, lo, row):
    """The part of `fold` that the last folding left."""
    z, known, total = rows.z[n], q.z_length, rows.symbols[0]
    span = span_of(hi, lo, q.ref_hi, q.ref_lo, q.ref_off)
    wait, felt = waiting(q, span, hi, lo, q.ref_hi, q.ref_lo, q.ref_off)
    size, em = 0.0, exp_neg(felt * p.rate_hi)
    if q.held:
        add_row(row, z[0], em, known)
        size += em * q.z_radius[0]
    for c in range(1, p.count + 1):
        to_u, fade, lag = effect(p, c - 1, wait, felt, em)
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


@inline_kernel
def fold_arrival(p, q, n, src, arr, rows, m, hi, lo, row):
    """Add one arrival to the rows of a neuron; a bound of its terms."""
    weight, port, a_off = arr[m].weight, arr[m].port, arr[m].delay
    source = src[arr[m].source]
    slot, r, a_hi, a_lo = source.slot, source.radius, source.hi, source.lo
    span = span_of(hi, lo, a_hi, a_lo, a_off)
    wait, felt = waiting(q, span, hi, lo, a_hi, a_lo, a_off)
    em = exp_neg(felt * p.rate_hi)
    own = 0.0 if wait > 0.0 or q.busy else em  # of what the arrival does to the membrane itself
    if port == VOLTAGE or (port == EDGE and p.drive < 0):
        factor = (weight if port == VOLTAGE else -weight) * p.rate_hi * own
        add_row(row, rows.c[slot], factor, rows.length[slot])
        size = abs(factor) * r
    else:
        c = p.drive if port == EDGE else port
        size = fold_into(p, q, n, rows, c, weight, wait, felt, em, own, slot, r, row)
    if port == EDGE and p.lag >= 0:
        size += fold_into(p, q, n, rows, p.lag, -weight, wait, felt, em, own, slot, r, row)
    return size


@inline_kernel
def fold_into(p, q, n, rows, c, weight, wait, felt, em, direct, slot, r, row):
    """`fold_arrival` at component `c`, of a source with the row `slot`."""
    to_u, fade, lag = effect(p, c, wait, felt, em)
    own, w = weight * p.decay_hi[c], rows.waiting
    if w[0] == GROUP or (w[0] > 0 and w[1] != 1 + c):
        add_waiting(rows, rows.z[n], row)
    q.z_radius[1 + c] += abs(own * fade) * r * UP
    if p.kind[c] == DRIVER:
        before, left, _ = effect(p, c - 1, wait, felt, em)
        factor = own * lag - weight * left
        add_row(rows.z[n, c], rows.c[slot], factor, rows.length[slot])
        q.z_radius[c] += (abs(own * lag) + abs(weight * left)) * r * UP
        direct = -weight * before
    else:
        direct *= -weight * p.gain_hi
    rows.factor[w[0], 0], rows.factor[w[0], 1] = own * fade, own * to_u + direct
    w[2 + w[0]], w[1] = slot, 1 + c
    w[0] += 1
    return (abs(own * to_u) + abs(direct)) * r


@inline_kernel
def enter_row(p, q, n, k, src, arr, rows, hi, lo, bound, row, slope, eps):
    """Enter the row of spike `k` at hi + lo, and its error; its radius.

    `bound` is of the state there; `slope` that of F; `eps` what no row carries.
    """
    total, slot = rows.symbols[0], rows.rows[0]
    rest = fold(p, q, n, src, arr, rows, hi, lo, bound, row)
    for j in range(1, p.count + 1):
        if p.kind[j - 1] == THRESHOLD:
            add_row(row, rows.z[n, j], -1.0, total)
            rest += 2.0 * COEFFICIENT * UNIT * q.z_radius[j]
    mine, over = rows.c[slot], -1.0 / slope
    for s in range(total):
        mine[s] = row[s] * over
    own = weighted(mine, rows.e, rows.part, total)
    error = (eps + rest / slope + QUOTIENT * UNIT * own) * UP
    mine[total] = 1.0
    rows.sums[slot] = weighted(mine, rows.ones, rows.part, total + 1)
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
    rows.sums[slot] = weighted(mine, rows.ones, rows.part, total + 1)
    rows.e[total], rows.length[slot], src[k].slot = eps, total + 1, slot
    return (weighted(mine, rows.e, rows.part, total) + eps) * UP


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
    q.z_radius[0], q.held = weighted(z, rows.e, rows.part, last + 1), 1


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
        q.z_radius[0] = weighted(row, rows.e, rows.part, total)
        q.held = 1
        if not q.busy:
            q.owes = 0
        q.ref_hi, q.ref_lo, q.ref_off = hi, lo, 0.0


@kernel
def keep_row_of(st, n, k, src, rows, row, factor):
    """`keep_row` for a neuron and a spike given by their indices."""
    keep_row(st[n], n, src[k].slot, rows, row, factor)


@inline_kernel
def prepare(q, bound, known):
    """What rows have to know of a neuron that others follow: its next arrival, and whether and by
    which slope its last spike acts on the membrane."""
    q.next, q.owes, q.slope = known
    bound[:] = 0.0


@kernel
def enter_row_of(net, st, n, known, k, src, arr, rows, hi, lo, bound, row, slope, eps):
    """`enter_row` for a neuron given by its index; the row counts from now on."""
    prepare(st[n], bound, known)
    r = enter_row(net[n], st[n], n, k, src, arr, rows, hi, lo, bound, row, slope, eps)
    src[k].hi, src[k].lo, src[k].radius = hi, lo, r
    count_row(net[n], st[n], n, k, src, rows)
    return r


@kernel
def enter_copy_of(net, st, n, known, k, src, arr, rows, hi, lo, bound, row, cause, eps):
    """`enter_copy` for a neuron given by its index; the row counts from now on."""
    prepare(st[n], bound, known)
    r = enter_copy(net[n], st[n], n, k, src, arr, rows, hi, lo, bound, row, cause, eps)
    src[k].hi, src[k].lo, src[k].radius = hi, lo, r
    count_row(net[n], st[n], n, k, src, rows)
    return r


@inline_kernel
def count_row(p, q, n, k, src, rows):
    """The row of spike `k` of neuron `n` counts, and acts on what the spike adds to."""
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
