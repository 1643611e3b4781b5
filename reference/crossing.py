r"""First passage of one neuron through threshold, in Arb balls, with certain signs.

The slope of every flow of `reference.flows` vanishes at most once and changes sign there, so
that [0, h] splits into at most two monotone pieces, and a first passage from below needs one
certain sign at the upper end of the increasing piece.

Notes
-----
Every function works at the current `flint.ctx.prec`. A sign that a ball leaves open is
put to a `Referee`, which asks for more bits or, at the last precision, records a tie.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from flint import arb, ctx

from reference.flows import ZERO, Ball, Flow, Leaky, State, Undecided

STEPS = 8  # from a guess; two are enough where the passage is well conditioned


@dataclass
class Referee:
    """Turns balls into signs; the only place where a decision is taken.

    Parameters
    ----------
    final : bool
        True at the largest precision allowed. A ball that still straddles zero is then
        read as an exact zero and noted in `ties` under its kind.
    """

    final: bool = False
    ties: list[str] = field(default_factory=list)

    def sign(self, x: Ball, kind: str) -> int:
        """Sign of `x`: -1, 0 (exactly zero, or a tie) or 1; raises Undecided before that."""
        if not x.is_finite():  # never a tie: something went wrong on the way
            raise Undecided(kind)
        if x > 0:
            return 1
        if x < 0:
            return -1
        if not x.is_zero():
            if not self.final:
                raise Undecided(kind)
            self.ties.append(kind)
        return 0


@dataclass(slots=True)
class Passage:
    """What happens to the threshold on one interval.

    Attributes
    ----------
    top : float
        Time in [0, h] of the largest voltage if nothing were reset.
    margin : float
        Largest voltage in [0, h] minus threshold; exact where that is small.
    at_end : bool
        Whether `top` is h.
    time : ball or None
        First s in [0, h] at which the voltage reaches threshold from below.
    current : ball
        Then.
    slope, curvature : float
        Derivatives of the voltage then.
    """

    top: float
    margin: float
    at_end: bool
    time: Ball = None
    current: Ball = ZERO
    slope: float = 0.0
    curvature: float = 0.0


def first_passage(
    flow: Flow, theta: Ball, h: Ball, graze: str, referee: Referee, sharp: bool = False
) -> Passage:
    """First time in [0, h] at which `flow` reaches `theta`.

    Signs that floats tell for certain are taken from them; all others from balls.

    Parameters
    ----------
    flow : Flow
        State at s = 0; a state at or above threshold passes at once.
    theta : ball
        Threshold above the asymptote of `flow`.
    h : ball
        End of the interval, included.
    graze : {">=", ">"}
        Whether touching the threshold counts.
    referee : Referee
        Judge of every sign that is not clear at a glance.
    sharp : bool, optional
        Whether the margin must be exact to its last digit.

    Returns
    -------
    passage : Passage

    Raises
    ------
    Undecided
        If the precision does not suffice.
    """
    seen = None if sharp else flow.glance(theta, h)
    if seen is not None:
        passage = Passage(seen.top, seen.margin, seen.top == float(h))
        if not seen.passes or refined(flow, theta, seen.low, seen.high, passage):
            return passage
    return _by_balls(flow, theta, h, graze, referee)


def _by_balls(flow: Flow, theta: Ball, h: Ball, graze: str, referee: Referee) -> Passage:
    """`first_passage` with every sign from balls."""
    rising, turn = _pieces(flow, h, referee)
    peak = _top(flow, h, rising, turn)
    margin = _value(flow, peak) - theta
    passage = Passage(float(peak), float(margin), peak is h)
    start = referee.sign(flow.u - theta, "start")
    departs = rising is not None and rising[0] is ZERO  # under ">" a touch must rise
    if start > 0 or (start == 0 and (graze == ">=" or departs)):
        return _passed(passage, flow, ZERO, flow.at(ZERO))
    if rising is None:
        return passage
    low, high = rising
    kind = "graze" if high is turn else "arrival"
    end = referee.sign(margin if high is peak else _value(flow, high) - theta, kind)
    if end < 0 or (end == 0 and graze == ">"):
        return passage
    if end > 0:
        return locate(flow, theta, low, high, passage)
    return _passed(passage, flow, high, flow.at(high))


def _passed(passage: Passage, flow: Flow, s: Ball, state: State) -> Passage:
    """The passage, at `s` in that state."""
    passage.time, passage.current = s, state[0]
    passage.slope, passage.curvature = float(state[2]), float(flow.curvature(state))
    return passage


def _value(flow: Flow, s: Ball) -> Ball:
    """Voltage at `s`."""
    return flow.u if s is ZERO else flow.at(s)[1]


def _pieces(flow: Flow, h: Ball, referee: Referee) -> tuple[tuple[Ball, Ball] | None, Ball | None]:
    """The increasing piece of [0, h], if any, and the extremum inside, if any."""
    if h.is_zero():
        return None, None
    first = referee.sign(flow.start(), "slope")  # 0: the last sign holds throughout
    last = referee.sign(flow.at(h)[2], "slope")
    if first * last < 0:
        turn = flow.extremum()
        return ((ZERO, turn) if first > 0 else (turn, h)), turn
    return ((ZERO, h) if first > 0 or last > 0 else None), None


def _top(flow: Flow, h: Ball, rising: tuple[Ball, Ball] | None, turn: Ball | None) -> Ball:
    """Where in [0, h] the voltage is largest; no decision hangs on it."""
    if rising is None:
        return ZERO
    if rising[1] is turn or turn is None:
        return rising[1]
    return h if _value(flow, h).mid() >= flow.u.mid() else ZERO


def locate(flow: Flow, theta: Ball, low: Ball, high: Ball, passage: Passage) -> Passage:
    """The passage with the only root of `flow` = `theta` on an increasing piece.

    Parameters
    ----------
    flow : Flow
    theta : ball
        Level.
    low, high : ball
        The piece; the flow is below `theta` at `low` and above it at `high`.
    passage : Passage
        Gets what is found, as narrow as the precision and the slope allow.
    """
    if not isinstance(flow, Leaky) or not refined(flow, theta, float(low), float(high), passage):
        s = bracketed(flow, theta, low, high)
        _passed(passage, flow, s, flow.at(s))
    return passage


def refined(flow: Any, theta: Ball, low: float, high: float, passage: Passage) -> bool:
    """The passage from a guess in floats, by steps of third order; False: it is not proved.

    A step of Newton in intervals proves the last. It proves one root at which the voltage
    rises. Since the slope changes sign once in all times, there is only one such root: the one
    between `low` and `high`, where the signs at both ends prove that there is one.
    """
    guess = flow.guess(float(theta), low, high)
    if not guess > 0.0:
        return False
    s, near = arb(guess), min(guess, flow.m, flow.y) * 2.0 ** (-ctx.prec // 2)
    for _ in range(STEPS):
        state = flow.exactly_at(s)
        if not state[2] > 0:
            return False
        step = (theta - state[1]) / state[2]
        if abs(step) < near and proved(flow, s, state, theta, step, passage):
            return True
        s = (s + flow.longer(state, step)).mid()
    return False


def proved(flow: Leaky, s: Ball, state: State, theta: Ball, step: Ball, passage: Passage) -> bool:
    """Whether an interval around `s` holds its own image by Newton's step: then the root is there.

    False also where the interval is so wide that another step would tell more.
    """
    around = arb(0, 2 * step)
    by_i, by_u = flow.bounds()
    slope = state[2] + around * (2 * by_u)
    if not slope > 0:
        return False
    image = (theta - state[1]) / slope
    if not around.contains_interior(image) or image.rad() > 4 * step.rad():
        return False
    passage.time = s + image
    passage.current = state[0] - image * state[0] / flow.tau_syn + arb(0, image * image * by_i)
    passage.slope, passage.curvature = float(state[2]), float(flow.curvature(state))
    return True


def bracketed(flow: Flow, theta: Ball, low: Ball, high: Ball) -> Ball:
    """The passage from a bracket, whatever its condition.

    Bisection with certain signs until an interval Newton step contracts four times
    better; each such step is intersected with the bracket and so cannot lose the root.
    """
    x, hull = low.union(high), _value(flow, low).union(_value(flow, high))
    goal = arb(2) ** (8 - ctx.prec)
    while not x.rad() <= goal * x.abs_upper():
        slope = flow.slope_between(x, hull)
        if slope > 0:
            step = x.intersection(x.mid() - (_value(flow, x.mid()) - theta) / slope)
            if 4 * step.rad() < x.rad():
                x, hull = step, theta + slope * (step - step)
                continue
        halved = _bisect(flow, theta, x, hull)
        if halved is None:
            break
        x, hull = halved
    return x


def _bisect(flow: Flow, theta: Ball, x: Ball, hull: Ball) -> tuple[Ball, Ball] | None:
    """One half of the bracket, by a certain sign; None when the precision is used up."""
    low, high = x.lower(), x.upper()
    for share in (0.5, 0.4375):  # the second point if the first happens to be the root
        middle = (low + share * (high - low)).mid()
        u = _value(flow, middle)
        if u > theta:
            return low.union(middle), hull.lower().union(u.upper())
        if u < theta:
            return middle.union(high), u.lower().union(hull.upper())
    return None


def digits(x: Ball) -> float:
    """Certain decimal digits of `x`; infinite for an exact number."""
    return math.inf if x.is_exact() else x.rel_accuracy_bits() * math.log10(2.0)
