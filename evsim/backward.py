"""The backward pass of one sample: which spikes come after which, part by part of the run."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from evsim.adjoint import Sums, backward, ends
from evsim.delivery import between, incoming
from evsim.models import adjoint, verbs
from evsim.network import Network
from evsim.neuron import Books, new_books
from evsim.record import Record
from evsim.replay import Notes, Train, Way, go_on, replay
from evsim.sent import (
    Sent,
    in_order,
    parts_of,
    rows_in_time,
    sent_to,
    span_of,
    train_of,
    with_current,
)
from evsim.synaptic import Shared, Synaptic
from evsim.tape import Feed, Links, Rows, Tape, columns_of, tape_of


def new_notes(variables: int, n: int, spikes: int) -> Notes:
    """Room for what `replay` keeps of so many spikes."""
    return Notes(
        after=tuple(np.empty(spikes) for _ in range(variables)),
        stop=np.zeros(spikes, np.int64),
        current=np.zeros(spikes),
        pulse=np.zeros(spikes),
        pulse_lo=np.zeros(spikes),
        peak=np.full(spikes, np.inf),
        gap=np.full(spikes, np.inf),
        slope=np.full(spikes, np.inf),
        silent=np.full(n, -np.inf),
    )


def new_sums(variables: int, flow: int, reset: int, n: int, by_synapse, currents: int = 0) -> Sums:
    """Sums of so many derivatives per neuron; `by_synapse` are those by weight and delay."""
    rows = iter(np.zeros((2 * variables + flow + reset + 4, n)))
    return Sums(
        costate=tuple(islice(rows, variables)),
        flow=tuple(islice(rows, flow)),
        reset=tuple(islice(rows, reset)),
        theta=next(rows),
        t_ref=next(rows),
        weight=by_synapse[0],
        delay=by_synapse[1],
        level=next(rows),
        drive=np.zeros(currents),
        edge=np.zeros(currents),
        last=tuple(islice(rows, variables)),
        rate=next(rows),
    )


def way_through(tape: Tape, variables: int, p) -> Way:
    """Room for the own events of any one neuron of a tape, with parameters like `p`."""
    room = int(np.diff(tape.start).max(initial=0)) + 3
    q = verbs.pick(p, 0)
    hi, lo, d, drive = np.zeros((4, room))
    x, flow, pull = (
        tuple(np.empty(room) for _ in range(size))
        for size in (variables, len(verbs.interval(q, 0.0)), len(adjoint.prepare(q, 0.0)))
    )
    return Way(x, hi, lo, d, drive, flow, pull)


def flow_of(model, kernel) -> tuple[str, ...]:
    """Names of the parameters of a model's flow, those of its synapse types one by one."""
    if not model.ports:
        return kernel.FLOW
    place = kernel.FLOW.index("tau_syn")
    return *kernel.FLOW[:place], *model.ports, *kernel.FLOW[place + 1 :]


def params_of(model, flow_names, reset_names, sums: Sums, by_rest) -> dict[str, Any]:
    """Derivatives by the parameters of a model under their public names, from sums over time.

    `by_rest` (n,) are those of voltages that are read from the resting level.
    """
    flow: dict[str, Any] = dict(zip(flow_names, sums.flow, strict=True))
    if model.ports:
        flow["tau_syn"] = {key: flow.pop(key) for key in model.ports}
    reset = dict(zip(reset_names, sums.reset, strict=True))
    found = flow | reset | {"t_ref": sums.t_ref}
    u_reset, drop = found.pop("u_reset"), found.pop("drop", 0.0)
    found |= {"v_th": sums.theta + drop, "v_reset": u_reset - drop}
    if hasattr(model, "v_leak"):  # the levels are counted from rest
        shift = by_rest - (sums.theta + u_reset + sums.costate[0])
        found["v_leak"] = found["bias"] = shift
    names = {name.partition("[")[0] for name in model.numbers()}
    return {name: value for name, value in found.items() if name in names}


def initial_of(model, sums: Sums) -> dict[str, Any]:
    """Derivatives by the state at time 0."""
    found: dict[str, Any] = dict(zip(model.state, sums.costate, strict=True))
    if model.ports:
        found["i"] = {key: found.pop(f"i_{key}") for key in model.ports}
    return {name: value for name, value in found.items() if not name.endswith("_lo")}


class Leg:
    """One population of one record, ready to be gone back through."""

    def __init__(self, record: Record, name: str, bases: dict[str, int], shared: Shared) -> None:
        network = record.network
        population = network.populations[name]
        self.name, self.n = name, population.n
        self.record, self.bases = record, bases
        self.model: Any = population.model
        self.base = bases[name]
        n = self.n
        self.flow = flow_of(self.model, self.kernel)
        current = record.inputs.get(name)
        if name not in shared:
            shared[name] = Synaptic(network, name)
        self.synaptic = shared[name]
        self.sums = new_sums(
            len(record.initial[name]), len(self.flow), len(self.kernel.RESET), n,
            (np.zeros(0), self.synaptic.delay), 0 if current is None else current.times.size * n,
        )  # fmt: skip
        self.by_rest = self.sums.level  # of voltages that are read from the resting level
        self.starts: list[tuple[Any, Books, np.ndarray]] = []
        self.opened: tuple[float | None, float] | None = None
        self.tape: Any = None
        self.way: Any = None

    @cached_property
    def train(self) -> Train:
        """Its spikes by neuron."""
        return train_of(self.record.spikes[self.name], self.n, self.base)

    @cached_property
    def state(self) -> tuple[np.ndarray, ...]:
        """Where its neurons have come to, forward."""
        return tuple(values.copy() for values in self.record.initial[self.name])

    @cached_property
    def books(self) -> Books:
        """The same of what they are driven by, and of when they are free."""
        return new_books(self.n)

    @cached_property
    def until(self) -> np.ndarray:
        """When each ends."""
        return np.full(self.n, self.record.until)

    @cached_property
    def notes(self) -> Notes:
        """What is known of its spikes."""
        spikes = len(self.record.spikes[self.name])
        return new_notes(len(self.record.initial[self.name]), self.n, spikes)

    @cached_property
    def p(self) -> Any:
        """Parameters neuron by neuron, which external currents change."""
        return self.model.compile(self.n, True)

    @property
    def kernel(self) -> Any:
        """The class of its parameters."""
        return type(self.p)

    @cached_property
    def sent(self) -> list[Sent]:
        """Everything that reaches it."""
        record = self.record
        current = record.inputs.get(self.name)
        return sent_to(record.network, self.name, record._trains(), self.bases, current)

    @cached_property
    def rows(self) -> tuple[Rows, Feed]:
        """The same in order of time, but for delays that synapses have of their own."""
        return rows_in_time(self.sent)

    @cached_property
    def lag(self) -> float:
        """The longest that an arrival comes after its row; -1 where all come at its time."""
        if all(one.lag < 0.0 for one in self.sent):
            return -1.0
        mine = [p for p in incoming(self.record.network, self.name) if np.ndim(p.delay)]
        return max(float(np.max(p.delay, initial=0.0)) + (p.pulse_width or 0.0) for p in mine)

    @cached_property
    def links(self) -> tuple[Links, np.ndarray]:
        """Its synapses with their weights; behind them the values of its current."""
        links, value = self.synaptic.links, self.synaptic.value
        current = self.record.inputs.get(self.name)
        if current is None:
            return links, value
        values = current.rows(self.n, self.name)
        return with_current(links, len(values), self.n), np.concatenate([value, values.ravel()])

    def open(self, since: float | None, until: float) -> None:
        """Lay out the arrivals of a part of the run, if they are not."""
        if self.opened == (since, until):
            return
        (rows, feed), (links, value) = self.rows, self.links
        reach = None if since is None else since - max(0.0, self.lag * (1.0 + 1e-9))
        span = span_of(rows, reach, until)
        self.tape = tape_of(rows, feed, links, value, self.n, span, self.synaptic.shelf)
        if self.lag >= 0.0:
            own = self.synaptic.own_delay
            self.tape = in_order(self.tape, self.sent, own, since, until)
        self.sums = self.sums._replace(weight=self.synaptic.by_weight)
        self.way = way_through(self.tape, len(self.state), self.p)
        self.opened = since, until

    def close(self) -> None:
        """Give back what others lay out their arrivals in."""
        self.tape = self.way = self.opened = None

    def forward(self, until: float, arrival_first: bool, final: bool) -> None:
        """Replay the part that is open, and remember where it started."""
        books = Books(*(column.copy() for column in self.books))
        at, low = tuple(values.copy() for values in self.state), self.train.next.copy()
        self.starts.append((at, books, low))
        run = self.p, self.state, self.books, self.tape, self.train, low, (until, 0.0)
        replay(run[0], self.spikes_up_to(until), *run[1:], arrival_first, self.way, self.notes)
        go_on(*run, final, self.way, self.notes)

    def spikes_up_to(self, until: float) -> np.ndarray:
        """Those of the part that begins, in order of time."""
        spikes, in_time = self.record.spikes[self.name], np.empty_like(self.train.number)
        in_time[self.train.number - self.base] = np.arange(in_time.size)
        done = int((self.train.next - self.train.first[:-1]).sum())
        return in_time[done : int(between(spikes.times, spikes.times_lo, None, until).sum())]

    def from_end(self, part: int, final: bool, totals: np.ndarray) -> None:
        """From the end of the part that is open back to the last spikes in it."""
        state, start, low = self.starts[part]
        ends(
            self.p, state, start, self.books, self.tape, self.train, low, self.until, final,
            self.way, self.notes, self.sums, totals,
        )  # fmt: skip

    def through(self, part: int, order: np.ndarray, totals: np.ndarray) -> None:
        """Through these spikes of the part that is open."""
        state, start, low = self.starts[part]
        backward(
            self.p, order, state, start, self.books, self.tape, self.train, low, self.way,
            self.notes, self.sums, totals,
        )  # fmt: skip

    def find_margins(self) -> None:
        """Complete `notes`."""

    def params(self) -> dict[str, Any]:
        """Derivatives by the parameters of the model, under their public names."""
        return params_of(self.model, self.flow, self.kernel.RESET, self.sums, self.by_rest)

    def initial(self) -> dict[str, Any]:
        """Derivatives by the state at time 0."""
        return initial_of(self.model, self.sums)


def parts(legs: list[Leg], until: float, room: int) -> list[tuple[float | None, float]]:
    """(beginning, end) of the parts in which a run is gone through; None: from the start."""
    ends_of_parts = parts_of([(leg.rows[0], leg.lag >= 0.0) for leg in legs], until, room)
    return list(zip([None, *ends_of_parts[:-1]], ends_of_parts, strict=True))


def spikes_of_part(leg: Leg, part: int) -> np.ndarray:
    """A population's spikes in the part that `train.next` has come to the end of, by neuron."""
    low, high = leg.starts[part][2], leg.train.next
    counts = high - low
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(low, counts) + within


def go_forward(legs: list[Leg], record: Record, room: int):
    """Through all parts of a run; the parts. What has been gone through is not again."""
    first = record.policies["tie"] == "arrival_first"
    pieces = parts(legs, record.until, room)
    if not legs[0].starts:
        for since, end in pieces:
            for leg in legs:
                leg.open(since, end)
                leg.forward(end, first, end == record.until)
    return pieces


def go_back(network: Network, legs: list[Leg], record: Record, totals, room: int) -> None:
    """Backward through the populations of one group of `Network.stages`."""
    pieces = go_forward(legs, record, room)
    shortest = shortest_within(network, [leg.name for leg in legs])
    for part, (since, end) in reversed(list(enumerate(pieces))):
        for leg in legs:
            leg.open(since, end)
            leg.from_end(part, part == len(pieces) - 1, totals)
        order = list(runs(legs, [spikes_of_part(leg, part) for leg in legs], shortest))
        for which, spikes in order:
            legs[which].through(part, spikes, totals)
        for leg in legs:
            leg.train.next[:] = leg.starts[part][2]


def shortest_within(network: Network, names: list[str]) -> float:
    """The smallest delay among some populations; inf if none hears another or itself."""
    inside = [p for p in network.projections.values() if p.pre in names and p.post in names]
    return min((p.smallest_delay for p in inside if p.weight.size), default=np.inf)


def ranks(legs: list[Leg], spikes: list[np.ndarray]) -> list[np.ndarray]:
    """How many spikes at the same instant came before each of these, one causing the next."""
    cause: dict[int, int] = {}
    for leg, mine in zip(legs, spikes, strict=True):
        train, tape, stop = leg.train, leg.tape, leg.notes.stop
        some = mine[stop[mine] > tape.start[train.unit[mine]]]
        last = columns_of(tape._replace(code=tape.code[stop[some] - 1]))
        tied = (last.hi == train.hi[some]) & (last.lo == train.lo[some])
        sources = last.source[tied]
        cause |= dict(zip(train.number[some[tied]].tolist(), sources.tolist(), strict=True))

    def rank(number: int) -> int:
        steps, seen = 0, set()
        while number in cause and number not in seen:
            seen.add(number)
            number, steps = cause[number], steps + 1
        return steps

    return [
        np.array([rank(k) for k in leg.train.number[mine].tolist()], np.int64)
        if cause
        else np.zeros(mine.size, np.int64)
        for leg, mine in zip(legs, spikes, strict=True)
    ]


def runs(legs: list[Leg], spikes: list[np.ndarray], shortest: float):
    """(leg, its spikes) such that each comes after all that it has caused.

    Within the smallest delay nobody has caused anything, so populations need not alternate.
    """
    if len(legs) == 1 and shortest > 0.0:
        yield 0, spikes[0][np.argsort(legs[0].train.number[spikes[0]])[::-1]]
        return
    hi = np.concatenate([leg.train.hi[mine] for leg, mine in zip(legs, spikes, strict=True)])
    lo = np.concatenate([leg.train.lo[mine] for leg, mine in zip(legs, spikes, strict=True)])
    which = np.repeat(np.arange(len(legs)), [mine.size for mine in spikes])
    every = np.concatenate(spikes)
    # At one time, those that one and the same neuron fires later have the greater index.
    keys = [every, lo, hi]
    if shortest == 0.0:
        keys.insert(1, np.concatenate(ranks(legs, spikes)))
    order = np.lexsort(keys)[::-1]
    if len(legs) == 1:
        yield 0, every[order]
        return
    at = 0
    while at < order.size:
        reach = hi[order[at]] - shortest
        stop = at + 1
        while stop < order.size and (
            hi[order[stop]] > reach or (shortest == 0.0 and which[order[stop]] == which[order[at]])
        ):
            stop += 1
        window = order[at:stop]
        for k in range(len(legs)):
            mine = window[which[window] == k]
            if mine.size:
                yield k, every[mine]
        at = stop
