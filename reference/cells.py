r"""Any cell of the zoo, event by event, in 50-digit arithmetic: slow, plain, and in no ball.

The flows are the textbook ones, each term spelled out, which in doubles would cancel:

.. math::
    \text{cuba:}\quad u &= u_0 e^{-s/\tau_m}
        + i_0 \tau_s (e^{-s/\tau_m} - e^{-s/\tau_s})/(\tau_m - \tau_s),             \tag{1} \\
    \text{if\_exp:}\quad v &= v_0 + b s + i_0 \tau_s - i_0 \tau_s e^{-s/\tau_s},    \tag{2} \\
    \text{if\_ramp:}\quad v &= v_0 + (b + i_0) s,                                   \tag{3} \\
    \text{qif:}\quad v &= a \tan(a s/\tau + \arctan(v_0/a)), \qquad a = \sqrt{I},   \tag{4} \\
    v &= a (1 + w)/(1 - w), \qquad w = e^{2 a s/\tau} (v_0 - a)/(v_0 + a), \quad
        a = \sqrt{-I},                                                              \tag{5}

or :math:`v_0/(1 - v_0 s/\tau)` for I = 0. Between events a voltage turns at most once, so
bisection on the sign of its slope, then of its distance to threshold, finds the first passage.
"""

from dataclasses import dataclass, field

import mpmath
from mpmath import mpf

KINDS = ("cuba", "delta", "if", "if_exp", "if_ramp", "qif")


@dataclass(kw_only=True)
class Cell:
    """Parameters of one cell; numbers of any kind that `mpmath.mpf` reads."""

    kind: str
    tau_mem: float = 10.0
    tau_syn: float = 5.0
    v_th: float = 1.0
    v_leak: float = 0.0
    v_reset: float = 0.0
    t_ref: float = 0.0
    bias: float = 0.0
    reset: str = "value"
    refractory: str = "clamp"

    def drive(self, current) -> mpf:
        """What external current and bias make of the equation's constant term."""
        level = mpf(self.bias) + current
        return level + mpf(self.v_leak) if self.kind in ("cuba", "delta") else level

    def flow(self, v, i, level, s):
        """(v, i, slope of v) after `s`; v is None beyond infinity."""
        tm, ts = mpf(self.tau_mem), mpf(self.tau_syn)
        decay = mpmath.exp(-s / ts) if self.kind in ("cuba", "if_exp") else mpf(1)
        if self.kind in ("cuba", "delta"):
            leak = mpmath.exp(-s / tm)
            psp = s / tm * leak if tm == ts else ts / (tm - ts) * (leak - decay)
            end = level + (v - level) * leak + (i * psp if self.kind == "cuba" else 0)
            drawn = i * decay if self.kind == "cuba" else 0
            return end, i * decay, (level + drawn - end) / tm
        if self.kind == "qif":
            end = _quadratic(v, level, s / tm)
            return end, i, (None if end is None else (end * end + level) / tm)
        if self.kind == "if_exp":
            return v + level * s + i * ts * (1 - decay), i * decay, level + i * decay
        return v + (level + i) * s, i, level + i

    def receive(self, v, i, weight):
        """(v, i) after an arrival."""
        if self.kind in ("delta", "if", "qif"):
            return v + weight, i
        return v, i + weight

    def passage(self, v, i, level, h):
        """First s in [0, h] with v at threshold, reached from below, or None."""
        if v >= self.v_th:
            return mpf(0)
        if h == 0:
            return None
        if self.kind == "qif" and mpmath.isinf(self.v_th):
            s = _blow_up(v, level) * mpf(self.tau_mem)
            return s if s <= h else None

        def rises(s):
            slope = self.flow(v, i, level, s)[2]
            return slope is None or slope > 0

        def above(s):
            end = self.flow(v, i, level, s)[0]
            return end is None or end >= self.v_th

        start, stop = mpf(0), h
        if rises(start) and not rises(stop):
            stop = _first(lambda s: not rises(s), start, stop)
        elif not rises(start):
            if not rises(stop):
                return None
            start = _first(rises, start, stop)
        return _first(above, start, stop) if above(stop) else None


def _quadratic(v, level, x):
    """Equations (4) and (5)."""
    if x == 0:
        return v
    if x >= _blow_up(v, level):
        return None
    if level > 0:
        a = mpmath.sqrt(level)
        return a * mpmath.tan(a * x + mpmath.atan(v / a))
    if level == 0:
        return v / (1 - v * x)
    a = mpmath.sqrt(-level)
    if v == -a:
        return v
    w = mpmath.exp(2 * a * x) * (v - a) / (v + a)
    return a * (1 + w) / (1 - w)


def _blow_up(v, level):
    """When (4) or (5) reaches infinity, in units of tau."""
    if level > 0:
        a = mpmath.sqrt(level)
        return (mpmath.pi / 2 - mpmath.atan(v / a)) / a
    a = mpmath.sqrt(-level)
    if v <= a:
        return mpmath.inf
    return 1 / v if a == 0 else mpmath.log((v + a) / (v - a)) / (2 * a)


def _first(holds, low, high):
    """Where a predicate that holds at `high` begins to hold, to all digits."""
    while high - low > mpmath.ldexp(high, 4 - mpmath.mp.prec) and high > mpmath.ldexp(1, -1100):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


@dataclass
class Story:
    """What happened: spikes, and the state after everything up to the end."""

    v: mpf
    i: mpf
    spikes: list[mpf] = field(default_factory=list)
    free: mpf | None = None
    level: mpf = field(default_factory=lambda: mpf(0))


def live(cell: Cell, events, until, initial=(0.0, 0.0), digits: int = 50) -> Story:
    """The life of a cell from 0 to `until`.

    Parameters
    ----------
    cell : Cell
    events : list of (time, kind, value)
        `kind` is "spike" (an arrival of that weight) or "current" (a new external current).
    until : float
    initial : tuple, optional
        (v, i) at time 0.
    digits : int, optional

    Returns
    -------
    story : Story
    """
    with mpmath.workdps(digits):
        story = Story(mpf(initial[0]), mpf(initial[1]), level=cell.drive(mpf(0)))
        t = mpf(0)
        for when, kind, value in sorted(events, key=lambda event: mpf(event[0])):
            when = mpf(when)
            if when > until:
                break
            if when > t:
                _advance(cell, story, t, when)
            t = when
            if kind == "current":
                story.level = cell.drive(mpf(value))
                continue
            busy = story.free is not None and when < story.free
            lost = cell.refractory == "block_input" and busy
            v, i = cell.receive(story.v, story.i, mpf(value))
            if busy and cell.refractory == "clamp":
                v = story.v
            if not lost:
                story.v, story.i = v, i
        _advance(cell, story, t, mpf(until))
        return story


def _advance(cell, story, t, end):
    """Through the cell's own events from `t` to `end`, at which nothing arrives yet."""
    while True:
        if story.free is not None:
            stop = min(story.free, end)
            v, i, _ = cell.flow(story.v, story.i, story.level, stop - t)
            story.i, t = i, stop
            if cell.refractory != "clamp":
                story.v = v
            if stop < story.free:
                return
            story.free = None
        s = cell.passage(story.v, story.i, story.level, end - t)
        if s is None:
            story.v, story.i, _ = cell.flow(story.v, story.i, story.level, end - t)
            return
        if s > 0:
            _, story.i, _ = cell.flow(story.v, story.i, story.level, s)
            story.v = mpf(cell.v_reset)
        elif cell.reset == "subtract":
            story.v -= mpf(cell.v_th) - mpf(cell.v_reset)
        else:
            story.v = mpf(cell.v_reset)
        t += s
        story.spikes.append(t)
        if cell.t_ref > 0:
            story.free = t + mpf(cell.t_ref)
