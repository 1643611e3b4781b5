"""Spikes that a jump, a reset or a start above threshold causes; in the tier of balls alone."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from flint import arb

from evsim.proof.ball_flow import Cell, Flowed, Stop, excess
from evsim.proof.ball_numbers import below, size_of, to_float
from evsim.proof.bounds import COEFFICIENT, GROWN, GROWN_2, NEAR, TINY, UNIT, UP
from evsim.proof.events import CROSSING, LEVEL, MISSING, ORDER, OTHER_TIME, TOO_WIDE
from evsim.proof.flow import REST
from evsim.proof.problem import VOLTAGE
from evsim.proof.rows import enter_copy_of, keep_row_of
from evsim.proof.state import late

if TYPE_CHECKING:
    from evsim.proof.balls import Pass


def since(run: Pass, cause: int, wait: float) -> tuple[int, Fraction]:
    """A time as an exact distance from a source that no other explains."""
    root, off = run.root[cause]
    return root, off + Fraction(wait)


def together(run: Pass, a: int, wait: float, b: int, other: float) -> bool:
    """Whether two times are, by construction, the very same."""
    (root, off), (base, shift) = run.root[a], run.root[b]
    if root != base or off is shift:
        return root == base and wait == other
    return off + Fraction(wait) == shift + Fraction(other)


def at_once(run: Pass, q: Cell, m: int) -> bool:
    """Whether arrival `m` comes, by construction, at the very time of the last event."""
    source, cause = run.source[m], q.cause
    if cause < 0 or run.root[source][0] != run.root[cause][0]:
        return False
    return together(run, source, run.delay[m], cause, q.wait)


def woken_by(run: Pass, q: Cell, m: int) -> bool:
    """Whether arrival `m` comes, by construction, when its neuron can fire again."""
    if q.last < 0 or m >= q.end:
        return False
    return together(run, run.source[m], run.delay[m], q.last, q.dead)


def above(q: Cell) -> bool:
    """Whether the neuron stands at or above threshold, as far as can be told."""
    if q.busy or q.asleep or (q.plain and to_float(q.x[0]) < q.theta_):
        return False
    return to_float(excess(q, q.x)) >= 0.0


def surely_above(run: Pass, q: Cell, k: int, kind, at) -> None:
    """Stop unless the neuron fires at its last event, whatever comes."""
    f, time = excess(q, q.x), to_float(q.t)
    margin = to_float(f.rad()) + q.spread(q.dev) + q.crowd
    margin += q.bend(q.x, q.dev, 0.0).steep * q.rho
    if not to_float(f) - margin > 0.0:
        raise Stop(CROSSING, q.n, k, q.cause, time, to_float(f), margin, time)
    if kind == "arrival":
        source = run.source[q.next]
        both = (run.radius[source] + q.rho) * UP
        if not at - q.t > both:
            raise Stop(ORDER, q.n, k, source, time, to_float(at - q.t), both, 0.0)


def unclaimed(run: Pass, q: Cell, k: int, kind, at) -> None:
    """A spike that nobody claims: proved, or open."""
    surely_above(run, q, k, kind, at)
    time = to_float(q.t)
    raise Stop(MISSING, q.n, k, q.cause, time, 0.0, 0.0, time)


def crowded(run: Pass, q: Cell, k: int, m: int, at: arb) -> None:
    """Arrivals so close that their order is open: as `evsim.proof.events.crowded`."""
    source, port, r = run.source[m], run.port[m], run.radius[run.source[m]]
    for j in range(m - 1, q.since - 1, -1):
        other, d = run.source[j], at - run.time[run.source[j]] - run.delay[j]
        if d > 2.0 * NEAR * q.shortest * UP:
            return
        both = (r + run.radius[other]) * UP
        surely = other == source or d > both or (both == 0.0 and d == 0)
        if surely or run.weight[j] == 0.0 or VOLTAGE not in (port, run.port[j]):
            continue
        if not together(run, source, run.delay[m], other, run.delay[j]):
            raise Stop(ORDER, q.n, k, source, to_float(q.t), to_float(d), both, 0.0)


def crowd(q: Cell, r: float, gap: arb) -> tuple[bool, float]:
    """As `evsim.proof.events.crowd`; whether all arrivals before are far, and how near is."""
    both = (r + (q.near if q.near > q.reach else q.reach)) * UP
    least, longest = below(gap), 2.0 * NEAR * q.shortest * UP
    far = q.origin < 0 or least > both or (both == 0.0 and gap == 0)
    if least > 0.0:
        q.lapse += least
    if q.lapse > longest:
        q.kept = 0.0 if least > longest else q.kick
        q.kick = q.lapse = 0.0
    if far:
        q.crowd = 0.0
    else:
        both = (both + to_float(gap.rad())) * UP
        q.crowd = GROWN_2 * both * (q.kick + q.kept)
    return far, both


def endless(q: Cell) -> bool:
    """Whether the reset would not end what makes the neuron fire."""
    if q.t_ref > 0.0 or q.dead > 0.0:
        return False
    if q.subtract:
        return not q.drop + sum(q.jump[c - 1] for c in q.thresholds) > 0
    return to_float(q.reset - q.theta) >= 0.0


def stay(run: Pass, q: Cell, k: int, state: Flowed, r: float, leap: bool) -> None:
    """A reset by subtraction: the membrane stays as high above as it is at the true time of the
    spike, that it reaches by a jump; or the threshold, if that moves."""
    if leap:
        now = q.bend(state.x, state.dev, 0.0)
        q.x[0], q.dev[0], q.rest[0] = state.x[0] - q.drop, state.dev[0], state.rest[0]
        slope, again, lost = now.slope - now.fade, 0.0, float(run.bound[REST, 0])
        rest = late(now, r) + lost
    else:
        q.x[0] += sum((state.x[c] for c in q.thresholds), arb(0))
        slope = rest = again = 0.0
        run.row[:] = 0.0
        for c in q.thresholds:
            own, z = q.decay_[c - 1], run.rows.z[q.n, c]
            value, off = to_float(state.x[c]), state.dev[c] + to_float(state.x[c].rad())
            run.row[: z.size] += z
            q.dev[0], q.rest[0] = q.dev[0] + state.dev[c], q.rest[0] + state.rest[c]
            slope -= value * own
            again -= q.jump[c - 1] * own  # of which the row has been raised already
            rest += 0.5 * GROWN * (own * r) ** 2 * (abs(value) + off) + own * r * off
            rest += COEFFICIENT * UNIT * float(run.st[q.n]["z_radius"][c])
    rest = (rest + COEFFICIENT * UNIT * (abs(slope) + abs(again)) * r) * UP
    q.dev[0], q.rest[0] = q.dev[0] + (abs(slope) * r + rest) * UP, q.rest[0] + rest
    keep_row_of(run.st, q.n, k, run.src, run.rows, run.row, slope + again)


def leap(run: Pass, q: Cell, k: int, kind, at) -> None:
    """The neuron has been put above threshold: it fires at that event, when its source says."""
    surely_above(run, q, k, kind, at)
    if endless(q):
        raise Stop(LEVEL, q.n, k, q.cause, to_float(q.t), 0.0, 0.0, to_float(q.t))
    time: arb = q.t.mid()
    eps = to_float(q.t.rad()) + TINY
    d, r = time - run.claim[k], (q.rho + eps) * UP
    (least, most), claim, where = size_of(d), run.claim_float[k], to_float(time)
    if least - r > min(run.window, run.tolerance):
        raise Stop(MISSING if d < 0 else OTHER_TIME, q.n, k, q.cause, claim, least, r, where)
    if not (most + r <= run.tolerance and r <= NEAR * q.shortest):
        raise Stop(TOO_WIDE, q.n, k, q.cause, claim, most, r, where)
    cause, wait = q.cause, q.wait
    state = Flowed(list(q.x), list(q.dev), list(q.rest), 1.0)
    lo = to_float(time - where)
    r = enter_copy_of(run.net, run.st, q.n, q.known(), k, run.src, run.arr, run.rows, where, lo,
                      run.bound, run.row, cause, eps)  # fmt: skip
    run.loosen(q, state)
    run.take_spike(q, k, time, state, r, leap=True)
    if cause >= 0:
        run.root[k] = since(run, cause, wait)
