"""Spikes that a jump, a reset or a start above threshold causes; in the tier of balls alone."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from flint import arb

from evsim.proof.ball_flow import Cell, Flowed, Stop, below, bend_of, excess, size_of, to_float
from evsim.proof.bounds import NEAR, TINY, UP
from evsim.proof.events import CROSSING, LEVEL, MISSING, ORDER, OTHER_TIME, TOO_WIDE
from evsim.proof.problem import VOLTAGE
from evsim.proof.rows import enter_copy_of

if TYPE_CHECKING:
    from evsim.proof.balls import Pass


def since(run: Pass, cause: int, wait: float) -> tuple[int, Fraction]:
    """A time as an exact distance from a source that no other explains."""
    root, off = run.root.get(cause, (int(run.src[cause]["root"]), Fraction(0)))
    return root, off + Fraction(wait)


def at_once(run: Pass, q: Cell, m: int) -> bool:
    """Whether arrival `m` comes, by construction, at the very time of the last event."""
    if q.cause < 0:
        return False
    return since(run, run.source[m], run.delay[m]) == since(run, q.cause, q.wait)


def above(q: Cell) -> bool:
    """Whether the neuron stands at or above threshold, as far as can be told."""
    return not q.busy and to_float(excess(q, q.x)) >= 0.0


def surely_above(run: Pass, q: Cell, k: int, kind, at) -> None:
    """Stop unless the neuron fires at its last event, whatever comes."""
    f, time = excess(q, q.x), to_float(q.t)
    margin = to_float(f.rad()) + q.spread(q.dev)
    margin += bend_of(q, q.x, q.dev, 0.0).steep * q.rho
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


def crowded(run: Pass, q: Cell, k: int, m: int, gap: arb) -> None:
    """Arrivals so close that their order is open: as `evsim.proof.events.crowd` and `crowded`."""
    both = (run.radius[run.source[m]] + max(q.near, q.reach)) * UP
    far = q.origin < 0 or below(gap) > both or (both == 0.0 and gap == 0)
    both = (both + to_float(gap.rad())) * UP
    q.crowd = 0.0 if far else 1.1 * both * q.kick
    q.kick = 0.0 if far else q.kick
    if not far and VOLTAGE in (run.port[m], run.port[m - 1]) and not at_once(run, q, m):
        raise Stop(ORDER, q.n, k, run.source[m], to_float(q.t), to_float(gap), both, 0.0)


def leap(run: Pass, q: Cell, k: int, kind, at) -> None:
    """The neuron has been put above threshold: it fires at that event, when its source says."""
    surely_above(run, q, k, kind, at)
    if q.subtract or (q.t_ref == 0.0 and to_float(q.reset - q.theta) >= 0.0):
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
    run.note(q)
    lo = to_float(time - where)
    r = enter_copy_of(run.net, run.st, q.n, k, run.src, run.arr, run.rows, where, lo,
                      run.bound, run.row, cause, eps)  # fmt: skip
    run.loosen(q, state)
    run.take_spike(q, k, time, state, r)
    if cause >= 0:
        run.root[k] = since(run, cause, wait)
