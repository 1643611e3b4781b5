"""Neurons through their events without a spike: before a time, or to the end of a run."""

from __future__ import annotations

from evsim.jit import kernel
from evsim.proof.bounds import UP
from evsim.proof.crossing import candidate
from evsim.proof.events import (
    DONE,
    LEVEL,
    NOTHING,
    ORDER,
    RELEASE,
    WAKE,
    after_end,
    code_of,
    do_arrival,
    do_release,
    do_wake,
    flow_to,
    is_quiet,
    next_event,
    stop,
)
from evsim.proof.flow import interval, later
from evsim.proof.numbers import upper
from evsim.proof.silence import SILENT


@kernel
def still(t, n, k, hi, lo, to_end, like):
    """Neuron `n` through its events before a time, without a spike; a code.

    `to_end`: and on to that time. `t.report.found` is where it fires, or may.
    """
    while True:
        q = t.st[n]
        kind, e_hi, e_lo, e_off = next_event(t, n, k)
        last = kind == NOTHING or not later(hi, lo, 0.0, e_hi, e_lo, e_off)
        if last:
            if not to_end:
                return DONE
            if after_end(t, n, k) != DONE:
                return ORDER
            if q.busy or q.asleep:
                return not_free_by(t, n, k, hi, lo, like)
            e_hi, e_lo, e_off = hi, lo, 0.0
        elif kind == RELEASE:
            code = do_release(t, n, k, like)
            if code != DONE:
                return code
            continue
        elif kind == WAKE:
            do_wake(t, n, like)
            continue
        s, error = flow_to(t, n, e_hi, e_lo, e_off, like)
        if upper(s) > 0.0 or not last:
            rho = 0.0 if last else t.src[t.arr[q.next].source].radius
            verdict = is_quiet(t, n, s, error, rho, like)
            if verdict.answer != SILENT:
                time = (q.hi + q.off) + verdict.at
                c = candidate(t.net[n], t.b, q, time, 0.0, t.work, like)
                # The steps may lead far beyond the gap.
                found = min(c.hi, e_hi + e_off) if c.found else time
                return stop(
                    t, code_of(verdict), n, k, -1, found, verdict.value, verdict.margin, found
                )
        if last:
            return DONE
        code = do_arrival(t, n, k, e_hi, e_lo, e_off, upper(s), error, like)
        if code != DONE:
            return code


@kernel
def still_from(t, n, k, time, to_end, like):
    """`still` for the neurons from `n` on, up to the first that is not; it, and a code."""
    while n < t.st.size:
        code = still(t, n, k, time, 0.0, to_end, like)
        if code != DONE:
            return n, code
        n += 1
    return n, DONE


@kernel
def not_free_by(t, n, k, hi, lo, like):
    """A neuron that is refractory at the end: it is not free by then, or would not fire; a code."""
    q = t.st[n]
    r = t.src[q.last].radius * UP
    while q.busy or q.asleep:
        if q.busy:
            d, error = interval(q.free_hi, q.free_lo, q.free_off, hi, lo, 0.0)
        else:
            d, error = interval(q.wake_hi, q.wake_lo, q.wake_off, hi, lo, 0.0)
        if d[0] > r + error:
            return DONE
        if q.asleep:
            do_wake(t, n, like)
        elif do_release(t, n, k, like) != DONE:
            return LEVEL
    s, error = flow_to(t, n, q.hi, q.lo, q.off, like)
    verdict = is_quiet(t, n, s, error, 0.0, like)
    if verdict.answer == SILENT:
        return DONE
    time, code = q.hi + q.off, code_of(verdict)
    return stop(t, code, n, k, q.last, time, verdict.value, verdict.margin, time)
