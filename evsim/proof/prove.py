"""The pass over a claim: spike by spike, in the order of their claimed times."""

from __future__ import annotations

import numpy as np

from evsim.jit import apart, inline_kernel, kernel
from evsim.models.linear import THRESHOLD
from evsim.proof.bounds import COEFFICIENT, GROWN, NEAR, UNIT, UP
from evsim.proof.crossing import candidate, confirm, first_one
from evsim.proof.events import (
    ARRIVAL,
    CROSSING,
    DONE,
    FULL,
    GO_ON,
    MISSING,
    NO_SPIKE,
    NOTHING,
    ORDER,
    OTHER_TIME,
    REFRACTORY,
    RELEASE,
    TOO_WIDE,
    WAKE,
    code_of,
    difference,
    do_arrival,
    do_release,
    do_wake,
    flow_to,
    is_quiet,
    may_come_by,
    next_event,
    stop,
)
from evsim.proof.flow import DEVIATION, REST, ROUNDING, exactly, interval, later, roughly
from evsim.proof.numbers import dropped, lower, number, upper
from evsim.proof.rows import add_row, enter_row, jump_row, keep_row, next_row
from evsim.proof.silence import CROSSES, SILENT
from evsim.proof.state import raise_by, take


@kernel
def prove(t, first, last, like):
    """Claims `first` to `last`; (the first that is not proved, a code)."""
    for k in range(first, last):
        if t.symbols and t.rows.symbols[0] == t.rows.e.size:
            return k, FULL
        code = prove_spike(t, k, like)
        if code != DONE:
            return k, code
    return last, DONE


@inline_kernel
def prove_spike(t, k, like):
    """Bring the neuron of claim `k` to that spike; a code."""
    claim = t.src[k]
    n = claim.neuron
    while True:
        kind, hi, lo, off = next_event(t, n, k)
        if t.st[n].busy or t.st[n].asleep:
            code = refractory(t, n, k, kind, hi, lo, off, like)
            if code != DONE:
                return code
            continue
        c_hi, c_lo = claim.claim_hi, claim.claim_lo
        if kind == ARRIVAL and not later(hi, lo, off, c_hi, c_lo, 0.0):
            s, error = flow_to(t, n, hi, lo, off, like)
            rho = t.src[t.arr[t.st[n].next].source].radius
            verdict = is_quiet(t, n, s, error, rho, like)
            if verdict.answer != SILENT:
                return early(t, n, k, hi, lo, off, verdict, like)
        else:
            s, error, code = here(t, n, k, kind, hi, lo, off, like)
            if code != GO_ON:
                return code
        code = do_arrival(t, n, k, hi, lo, off, upper(s), error, like)
        if code != DONE:
            return code


@inline_kernel
def refractory(t, n, k, kind, hi, lo, off, like):
    """An event of a neuron that cannot fire, unless the claim is that it does."""
    q, claim = t.st[n], t.src[k]
    f_hi, f_lo, f_off = q.free_hi, q.free_lo, q.free_off
    if not q.busy:
        f_hi, f_lo, f_off = q.wake_hi, q.wake_lo, q.wake_off
    d, error = roughly(f_hi, f_lo, f_off, claim.claim_hi, claim.claim_lo, 0.0)
    r = t.src[q.last].radius
    if d + error > t.window + r:
        d, error = exactly(f_hi, f_lo, f_off, claim.claim_hi, claim.claim_lo, 0.0)
        if d - error > t.window + r:
            return stop(t, REFRACTORY, n, k, q.last, claim.claim_hi, d, r, f_hi + f_off)
    if kind == WAKE:
        do_wake(t, n, like)
        return DONE
    if kind == RELEASE:
        return do_release(t, n, k, like)
    s, error = flow_to(t, n, hi, lo, off, like)
    return do_arrival(t, n, k, hi, lo, off, upper(s), error, like)


@kernel
def early(t, n, k, hi, lo, off, verdict, like):
    """The gap before an arrival is not silent, although the claim lies behind it."""
    q = t.st[n]
    time = (q.hi + q.off) + verdict.at
    code = settle_near(t, n, k, ARRIVAL, hi, lo, off, time, 0.0, like)
    if code != GO_ON:
        return code
    code, source = code_near(t, k, verdict, time), t.arr[q.next].source
    return stop(t, code, n, k, source, time, verdict.value, verdict.margin, time)


@inline_kernel
def code_near(t, k, verdict, time):
    """The code for a gap that is not silent, at a time; what claim `k` may mean is not missing."""
    code = code_of(verdict)
    return CROSSING if code == MISSING and time >= t.src[k].claim_hi - t.window else code


@kernel
def settle_near(t, n, k, kind, hi, lo, off, time_hi, time_lo, like):
    """Settle the crossing before the next event that is found from a time; `GO_ON`: none."""
    apart()
    c = candidate(t.net[n], t.b, t.st[n], time_hi, time_lo, t.work, like)
    if c.found and (kind == NOTHING or later(hi, lo, off, c.hi, c.lo, 0.0)):
        return settle(t, n, k, c, like)
    return GO_ON


@inline_kernel
def here(t, n, k, kind, hi, lo, off, like):
    """The claim lies in the gap before the next event: prove the spike, or that there is none.

    Returns how long it is to the next event and the error of that, with the state there in
    `t.work`, and a code: `GO_ON` where the next event comes first.
    """
    q, claim = t.st[n], t.src[k]
    c_hi, c_lo, nothing = claim.claim_hi, claim.claim_lo, number(0.0, 0.0, like)
    code = settle_near(t, n, k, kind, hi, lo, off, c_hi, c_lo, like)
    if code != GO_ON:
        return nothing, 0.0, code
    d, error = interval(hi, lo, off, c_hi, c_lo, t.window)
    rho = t.src[t.arr[q.next].source].radius if kind == ARRIVAL else 0.0
    close = kind == ARRIVAL and not d[0] > rho * UP + error
    if close:
        s, error = flow_to(t, n, hi, lo, off, like)
    else:
        rho = 0.0
        m = may_come_by(t, n, k, c_hi, c_lo, t.window, 0.0)
        if m >= 0:
            code = stop(t, ORDER, n, k, t.arr[m].source, c_hi, 0.0, t.window, 0.0)
            return nothing, 0.0, code
        s, error = flow_to(t, n, c_hi, c_lo, t.window, like)
    verdict = is_quiet(t, n, s, error, rho, like)
    if verdict.answer == SILENT:
        if close:
            return s, error, GO_ON
        return nothing, 0.0, stop(t, NO_SPIKE, n, k, -1, c_hi, t.window, 0.0, np.inf)
    time = (q.hi + q.off) + verdict.at
    code = code_near(t, k, verdict, time)
    if code == CROSSING and verdict.answer == CROSSES:
        near = settle_near(t, n, k, kind, hi, lo, off, time, 0.0, like)
        if near != GO_ON:
            return nothing, 0.0, near
    code = stop(t, code, n, k, -1, c_hi, verdict.value, verdict.margin, time)
    return nothing, 0.0, code


@inline_kernel
def settle(t, n, k, found, like):
    """A crossing, with the state there in `t.work`: prove it, its time and its place among the
    arrivals, and take it."""
    p, q, claim = t.net[n], t.st[n], t.src[k]
    c = confirm(p, found, t.work, t.symbols)
    if not c.found:
        return stop(t, CROSSING, n, k, -1, c.hi, c.slope, c.residual, c.hi)
    verdict = first_one(p, t.b, q, c, q.rho, t.work, t.probe, like)
    if verdict.answer != SILENT:
        time = (q.hi + q.off) + verdict.at
        code = code_near(t, k, verdict, time)
        return stop(t, code, n, k, -1, c.hi, verdict.value, verdict.margin, time)
    r = radius_of(t, n, k, c)
    d, _ = interval(c.hi, c.lo, 0.0, claim.claim_hi, claim.claim_lo, 0.0)
    far = abs(d[0])
    if far - r > min(t.window, t.tolerance):
        return elsewhere(t, n, k, c, far, r, d[0] < 0.0)
    if not (far + r <= t.tolerance and r <= NEAR * p.shortest):
        return stop(t, TOO_WIDE, n, k, -1, claim.claim_hi, far, r, c.hi)
    code = in_order(t, n, k, c, r)
    if code == DONE:
        take_spike(t, n, k, c, r, like)
    return code


@kernel
def elsewhere(t, n, k, c, far, r, before):
    """A crossing too far from its claim, and `before` it or not; a code. If what comes in between
    may move it, all that is known is that there is none where it is claimed."""
    claim, found = t.src[k], c.hi
    m = may_come_by(t, n, k, c.hi, c.lo, 0.0, r)
    if m >= 0 and not before:
        m, found = may_come_by(t, n, k, claim.claim_hi, claim.claim_lo, t.window, 0.0), np.inf
    if m >= 0:
        return stop(t, ORDER, n, k, t.arr[m].source, claim.claim_hi, 0.0, r, c.hi)
    return stop(t, OTHER_TIME, n, k, -1, claim.claim_hi, far, r, found)


@kernel
def in_order(t, n, k, c, r):
    """Whether the spike comes after all arrivals that have been counted; a code."""
    q = t.st[n]
    if not c.span > (q.reach + r) * UP + c.error:
        return stop(t, ORDER, n, k, q.origin, c.hi, c.span - q.reach, r, c.hi)
    if q.near > 0.0 and not c.span > (q.near + r) * UP + c.error:
        together, slot = q.near + r, t.src[q.origin].slot
        if t.symbols and slot >= 0:
            together = difference(t, slot, t.src[k].slot)
        if not c.span > together * UP + c.error:
            return stop(t, ORDER, n, k, q.origin, c.hi, c.span, together, c.hi)
    if q.origin >= 0:
        q.gap = min(q.gap, c.span)
    return DONE


@inline_kernel
def radius_of(t, n, k, c):
    """The radius of a spike; with symbols, its row and its error are entered."""
    if not t.symbols:
        return c.eps
    bound = t.work.x.bound
    return enter_row(t.net[n], t.st[n], n, k, t.src, t.arr, t.rows, c.hi, c.lo, bound, t.row,
                     c.slope, c.eps)  # fmt: skip


@inline_kernel
def take_spike(t, n, k, c, r, like):
    """The state right after a spike."""
    p, q, source = t.net[n], t.st[n], t.src[k]
    source.radius, source.hi, source.lo = r, c.hi, c.lo
    take(p, q, t.work.x, c.hi, c.lo, 0.0, r)
    reset = number(q.reset_hi, q.reset_lo, like)
    q.x.hi[0], q.x.lo[0] = upper(reset), lower(reset)
    for kind in range(3):
        q.x.bound[kind, 0] = 0.0
    q.x.bound[ROUNDING, 0] = q.reset_err + dropped(0.0, q.reset_lo, like)
    if t.symbols:
        next_row(q, t.rows)
    q.held = 0
    if p.subtract and p.moving:
        stay(t, n, k, r, like)
    for j in range(1, p.count + 1):
        if p.jump[j - 1] != 0.0:
            own_jump(t, n, k, j, r, like)
    q.ref_hi, q.ref_lo, q.ref_off = c.hi, c.lo, 0.0
    q.free_hi, q.free_lo, q.free_off = c.hi, c.lo, p.t_ref
    q.wake_hi, q.wake_lo, q.wake_off = c.hi, c.lo, p.dead
    q.last, q.origin, q.busy, q.owes = k, -1, 1, 0
    q.reach = q.near = q.crowd = 0.0
    q.kick = q.kept = q.lapse = 0.0
    q.since = q.next


@inline_kernel
def stay(t, n, k, r, like):
    """Below a threshold that moves, a reset by subtraction leaves the membrane as high as that is
    at the true time of the spike."""
    p, q, bound = t.net[n], t.st[n], t.st[n].x.bound
    factor, total = 0.0, t.rows.symbols[0] - 1
    if t.symbols:
        t.row[:total] = 0.0
    for j in range(1, p.count + 1):
        if p.kind[j - 1] == THRESHOLD:
            own, value = p.decay_hi[j - 1], q.x.hi[j]
            raise_by(t.b, q, 0, value, q.x.lo[j], like)
            bound[ROUNDING, 0] += bound[ROUNDING, j]
            off = bound[ROUNDING, j] + bound[DEVIATION, j]
            linear, loose = abs(value) * own * r * UP, own * r * off
            rest = 0.5 * GROWN * own * r * (abs(value) + off) * own * r + loose
            if t.symbols:
                rest += COEFFICIENT * UNIT * (q.z_radius[j] + linear)
                add_row(t.row, t.rows.z[n, j], 1.0, total)
            bound[DEVIATION, 0] += bound[DEVIATION, j] + linear + rest * UP
            bound[REST, 0] += bound[REST, j] + rest * UP
            factor -= value * own
    if t.symbols:
        keep_row(q, n, t.src[k].slot, t.rows, t.row, factor)


@inline_kernel
def own_jump(t, n, k, j, r, like):
    """What a spike adds to a component of its own neuron, at its true time."""
    p, q = t.net[n], t.st[n]
    jump, own = p.jump[j - 1], p.decay_hi[j - 1]
    raise_by(t.b, q, j, jump, 0.0, like)
    linear = abs(jump) * own * r * UP
    second = linear * own * r
    q.x.bound[DEVIATION, j] += linear + second
    q.x.bound[REST, j] += second + COEFFICIENT * UNIT * linear
    if t.symbols:
        jump_row(p, q, n, j, t.src[k].slot, t.rows, r)
