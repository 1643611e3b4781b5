"""A group of populations that influence one another, with all synapses onto them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from evsim.arrivals import all_arrivals, columns_of, slices_of_time
from evsim.delivery import between, pieces
from evsim.fibres import Fibres
from evsim.flight import slot_of
from evsim.gather import External
from evsim.network import Network, Projection
from evsim.neuron import CURRENT


@dataclass(frozen=True)
class Group:
    """Populations with their places, and all synapses onto them."""

    names: list[str]
    first: dict[str, int]  # place of a population's first neuron
    n: int
    fibres: Fibres
    rows: dict[str, int]  # first row of a projection
    projections: list[Projection]


def group_of(network: Network, names: list[str]) -> Group:
    """The populations `names`, of which each takes the places after the one before."""
    # Populations of one kernel class side by side.
    names = sorted(names, key=lambda name: type(network.populations[name].model).__name__)
    sizes = [network.size(name) for name in names]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    first = {name: int(k) for name, k in zip(names, offsets, strict=False)}
    projections = [p for p in network.projections.values() if p.post in first]
    rows = np.concatenate([[0], np.cumsum([network.size(p.pre) for p in projections])])
    row_of = {p.name: int(k) for p, k in zip(projections, rows, strict=False)}
    fibres = _fibres(network, names, projections, first, row_of)
    return Group(names, first, int(offsets[-1]), fibres, row_of, projections)


def _fibres(network, names, projections, first, row_of) -> Fibres:
    """All synapses onto a group; those of sources within it by source."""
    counts = [_counts(network, p) for p in projections]
    start = np.concatenate([[0], np.cumsum(_joined(counts, np.int64))])
    delayed = any(np.ndim(p.delay) for p in projections)
    target, weight, delays = [], [], []
    for p in projections:
        target.append(_targets(network, p, first[p.post]))
        weight.append(p.weight.ravel())
        if delayed:
            alone = np.ndim(p.delay) > 0
            delays.append(p.delay if alone else np.full(p.weight.size, p.delay))
    via = [[k for k, p in enumerate(projections) if p.pre == name] for name in names]
    sizes = [network.size(name) for name in names]
    return Fibres(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(v) for v in via])]).astype(np.int64),
        np.array([k for v in via for k in v], np.int64),
        np.array([row_of[p.name] for p in projections], np.int64),
        np.array([np.nan if np.ndim(p.delay) else p.delay for p in projections], float),
        np.array([p.pulse_width or np.nan for p in projections], float),
        np.array([p.port for p in projections], np.int64),
        start.astype(np.int64),
        _joined(target, np.int32),
        _joined(weight, float),
        _joined(delays, float),
        _joined([], np.int32),
    )


def _joined(parts, dtype) -> np.ndarray:
    """Arrays in one, read-only; without a copy where there is one."""
    whole = np.concatenate(parts) if len(parts) > 1 else (parts or [np.zeros(0)])[0]
    view = np.ascontiguousarray(whole, dtype).view()
    view.flags.writeable = False
    return view


def _counts(network: Network, p: Projection) -> np.ndarray:
    if p.indptr is None:
        return np.full(network.size(p.pre), network.size(p.post), np.int64)
    return np.diff(p.indptr)


def _targets(network: Network, p: Projection, first: int) -> np.ndarray:
    if p.targets is None:
        n = network.size(p.post)
        return np.tile(np.arange(first, first + n, dtype=np.int32), network.size(p.pre))
    return p.targets if first == 0 else (p.targets + first).astype(np.int32)


def largest_delay(group: Group) -> float:
    """Of all synapses within the group, pulses counted to their end."""
    inside = [p for p in group.projections if p.pre in group.first and p.weight.size]
    return max((float(np.max(p.delay)) + (p.pulse_width or 0.0) for p in inside), default=0.0)


class Outside:
    """Arrivals from outside of a group, in `external` those of one slice of time up to `end`.

    With `since`, only those after it, and with what the group itself has in flight then.
    """

    def __init__(self, network: Network, group: Group, trains, currents, since, until):
        past = since is not None
        outside = [p for p in group.projections if past or p.pre not in group.first]
        ends = slices_of_time([p for p in outside if np.ndim(p.delay)], trains, until)
        self.ends = [end for end in ends[:-1] if not past or end > since] + ends[-1:]
        self._between = partial(external_of, network, group, outside, trains, currents)
        self.end = self.ends.pop(0)
        self.external = self._between(since, self.end)

    @property
    def more(self) -> bool:
        """Whether there are slices after this one."""
        return bool(self.ends)

    def proceed(self, taken: np.ndarray) -> None:
        """To the next slice, behind what is left of this one after `taken` rows and singles."""
        since, self.end = self.end, self.ends.pop(0)
        counts = [taken[0]] * 4 + [taken[1]] * 6
        parts = zip(self.external, counts, self._between(since, self.end), strict=True)
        self.external = External(*(np.concatenate([old[k:], new]) for old, k, new in parts))
        taken[:] = 0

    def serve(self, width: float, window: int, last: int, taken: np.ndarray) -> int:
        """The last window, up to `last`, whose arrivals all are here: `window` or a later one."""
        while self.more:
            reach = slot_of(self.end, 0.0, width) - 1
            if reach >= window:
                return min(reach, last)
            self.proceed(taken)
        return last


def external_of(network, group, projections, trains, currents, since, until) -> External:
    """Arrivals by these projections, and currents, after `since` (if given) up to `until`."""
    rows, singles = [], []
    for p in projections:
        longest = float(np.max(p.delay, initial=0.0)) + (p.pulse_width or 0.0)
        train = trains[p.pre].after(-np.inf if since is None else since - longest, until)
        if np.ndim(p.delay) == 0:
            units = group.rows[p.name] + train.units
            for kind, hi, lo in pieces(p, train):
                rows.append((hi, lo, units, np.full(hi.size, kind)))
        else:
            offset = group.fibres.start[group.rows[p.name]]
            found = all_arrivals(p, train, network.size(p.post))
            for target, hi, lo, kind, value, _, synapse in columns_of(p, train, 0, found):
                singles.append(
                    (hi, lo, target + group.first[p.post], value, kind, synapse + offset)
                )
    for name in group.names:
        if currents.get(name) is not None:
            n, first = network.size(name), group.first[name]
            singles.append(_current(currents[name], n, name, first, since, until))
    hi, lo, row, row_kind = _in_order(rows, 4, 2, since, until)
    s_hi, s_lo, target, value, kind, key = _in_order(singles, 6, 5, since, until)
    return External(
        hi, lo, row.astype(np.int64), row_kind.astype(np.int64),
        s_hi, s_lo, target.astype(np.int64), value, kind.astype(np.int64), key.astype(np.int64),
    )  # fmt: skip


def _current(current, n: int, name: str, first: int, since, until):
    hi, lo = current.pairs()
    keep = between(hi, lo, since, until)
    hi, lo, values = hi[keep], lo[keep], current.rows(n, name)[keep]
    k = hi.size
    last = np.full(n * k, np.iinfo(np.int64).max // 256)
    return (
        np.repeat(hi, n), np.repeat(lo, n), np.tile(np.arange(first, first + n), k),
        values.ravel(), np.full(n * k, CURRENT), last,
    )  # fmt: skip


def _in_order(parts, columns, key, since, until):
    if not parts:
        return [np.zeros(0) for _ in range(columns)]
    table = [np.concatenate(column) for column in zip(*parts, strict=True)]
    hi, lo = table[0], table[1]
    order = np.lexsort((table[key], lo, hi))
    order = order[between(hi, lo, since, until)[order]]
    return [np.ascontiguousarray(column[order]) for column in table]
