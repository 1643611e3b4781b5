"""Verdict on the spikes of a float64 simulator, given the exact run.

A simulator is right if it has every spike, no other, and each within `FACTOR` times the
propagated bound. A decision that it takes differently is wrong, unless the simulator
itself said that it could not take it *and* the true margin is below `CLEAR` times what
float64 can resolve; nothing is asked of the spikes after that decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reference.attainable import FACTOR
from reference.lif import Run, Walk

CLEAR = 8.0
STORED = 2.0**-104  # relative error of a time kept as an unevaluated sum of two floats


@dataclass(frozen=True)
class Verdict:
    """Outcome for one neuron.

    Attributes
    ----------
    status : {"right", "undecided", "wrong"}
    reason : str
        Empty when right.
    ratios : tuple of float
        Error of each matched spike over its bound; right means at most `FACTOR`.
    """

    status: str
    reason: str
    ratios: tuple[float, ...]


def judge(
    run: Run, times: Sequence[float], times_lo: Sequence[float], flagged: bool, *, local=False
) -> Verdict:
    """Compare the spikes of one neuron with its exact run.

    Parameters
    ----------
    run : Run
        The truth.
    times, times_lo : sequence of float
        Spike times of the simulator as unevaluated sums, ascending.
    flagged : bool
        Whether the simulator reported an undecided decision of this neuron.
    local : bool
        Hold spikes to the attainable error of their own interval, and not to the bound
        that carries the whole run; for runs of one interval.

    Returns
    -------
    verdict : Verdict
    """
    ratios: list[float] = []
    for n, (spike, hi, lo) in enumerate(zip(run.spikes, times, times_lo, strict=False)):
        error = abs((float(hi) - spike.hi) + (float(lo) - spike.lo))
        allowed = spike.attainable if local else spike.bound
        if error > FACTOR * allowed + STORED * abs(spike.hi):
            what = f"spike {n} off by {error:.3g}, allowed {FACTOR:g} x {allowed:.3g}"
            return _differs(run, min(float(hi), spike.hi), flagged, what, ratios)
        ratios.append(error / allowed if allowed > 0.0 else 0.0)
    found, true = len(times), len(run.spikes)
    if found == true:
        return Verdict("right", "", tuple(ratios))
    missed = true > found
    when = run.spikes[found].hi if missed else float(times[true])
    what = f"{'missed' if missed else 'invented'} spike {min(found, true)} at {when!r}"
    return _differs(run, when, flagged, what, ratios)


def surely_right(walk: Walk, times: Sequence[float], times_lo: Sequence[float]) -> bool:
    """Whether each spike is within what its own interval allows; the bounds allow no less.

    Parameters
    ----------
    walk : Walk
        The truth, settled or not.
    times, times_lo : sequence of float

    Returns
    -------
    sure : bool
        If not, `judge` has to tell.
    """
    if len(times) != len(walk.times):
        return False
    fired = (s for s in walk.stretches if s.passage.time is not None)
    for t, stretch, hi, lo in zip(walk.times, fired, times, times_lo, strict=True):
        allowed = 0.0 if stretch.passage.time.is_zero() else FACTOR * stretch.attainable()
        if abs(float(t - float(hi)) - float(lo)) > allowed + STORED * float(hi):
            return False
    return True


def clearest_doubt(run: Run, until: float) -> float:
    """Smallest |margin| / noise among the decisions that begin by `until`."""
    return min(
        (abs(d.margin) / d.noise for d in run.decisions if d.start <= until), default=float("inf")
    )


def must_doubt(run: Run) -> bool:
    """Whether some decision is beyond float64 by its own rounding, as H20a is.

    Its true margin is less than what the test itself rounds, and at most as much again has
    accumulated before it, so that no float64 state could make the margin look clear.
    """
    return any(abs(d.margin) < d.local and d.noise < 2.0 * d.local for d in run.decisions)


def _differs(run: Run, when: float, flagged: bool, what: str, ratios: list[float]) -> Verdict:
    """Undecided or wrong, by whether the doubt is admitted and real."""
    doubt = clearest_doubt(run, when)
    status = "undecided" if flagged and doubt < CLEAR else "wrong"
    said = "flagged" if flagged else "not flagged"
    return Verdict(status, f"{what}; {said}; least margin {doubt:.3g} x noise", tuple(ratios))
