"""What a gradient is worth: margins, their verdict, and how far weights may move."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from evsim.backward import Leg, go_forward, runs, shortest_within, spikes_of_part
from evsim.network import Network
from evsim.record import Record
from evsim.trust import widen, widen_ends

#: From the best to the worst.
STATUS = ("regular", "kink", "grazing", "creation_boundary")
#: Below this slope, in threshold heights per membrane time constant, a derivative has lost more
#: than about five digits: its error is eps/slope**2.
STEEP = 5e-3
#: Distances to a new spike (in threshold heights) and between a spike and an arrival (in time
#: constants) that count as none: far above all roundings, far below all that matters.
NEAR = 1e-9


def conditioning(leg: Leg, spikes: int) -> SimpleNamespace:
    """Margins of one population, by spike in the order of the record, and by neuron."""
    leg.find_margins()
    order = leg.train.number - leg.base
    columns = {"slope": leg.notes.slope, "peak_margin": leg.notes.peak, "gap": leg.notes.gap}
    found = {}
    for name, values in columns.items():
        found[name] = np.empty(spikes)
        found[name][order] = values
    return SimpleNamespace(**found, silent_margin=-leg.notes.silent)


def scales(leg: Leg) -> tuple[np.ndarray, np.ndarray]:
    """Height of the threshold and time constant of every neuron."""
    model, ones = leg.model, np.ones(leg.n)
    if not model.spiking:
        return ones, ones
    v_th = np.asarray(model.v_th) * ones
    height = np.abs(v_th - model.rest()) + np.abs(v_th - model.v_reset)
    tau = getattr(model, "tau_mem", getattr(model, "tau", None))
    if tau is None:
        tau = getattr(model, "tau_syn", None)
    return np.where(np.isfinite(height), height, 1.0), (1.0 if tau is None else tau) * ones


def status(record: Record, legs: dict[str, Leg], found: dict[str, SimpleNamespace]) -> str:
    """The worst verdict of all events."""
    worst = 0
    for name, leg in legs.items():
        height, tau = scales(leg)
        units, c = record.spikes[name].units, found[name]
        smooth = hasattr(leg.model, "tau_mem") or getattr(leg.model, "tau_syn", None) is not None
        if smooth and not (c.slope * tau[units] > STEEP * height[units]).all():
            worst = max(worst, 2)
        # A jump that has only just reached the threshold might as well not have.
        jumped = np.isinf(c.slope)
        if (c.peak_margin[jumped] <= NEAR * height[units][jumped]).any():
            worst = max(worst, 2)
        if (c.gap <= NEAR * tau[units]).any():
            worst = max(worst, 1)
        if (c.silent_margin <= NEAR * height).any():
            worst = max(worst, 3)
    for name, unit, t, kind in record.undecided:
        worst = max(worst, 1)
        if kind == "graze":
            train = record.spikes[name]
            near = np.abs(train.times[train.units == unit] - t)
            worst = max(worst, 2 if (near <= 1e-6 * max(t, 1e-300)).any() else 3)
    return STATUS[worst]


def trust(record: Record, legs: dict[str, Leg], bases: dict[str, int], room: int) -> float:
    """How far all weights may move together; see `evsim.trust`."""
    total = sum(len(train) for train in record._trains().values())
    shift, least = np.zeros(total + 1), np.full(1, np.inf)
    for names in record.network.stages():
        _widen_group(record.network, [legs[name] for name in names], record, room, shift, least)
    for name, spikes in record.spikes.items():
        mine = shift[bases[name] :][: len(spikes)]
        motion = mine[1:] + mine[:-1]
        gap = np.diff(spikes.times) + np.diff(spikes.times_lo)
        if motion.size and (motion > 0).any():
            least[0] = min(least[0], float(np.min(gap[motion > 0] / motion[motion > 0])))
    return max(0.0, 0.5 * float(least[0]))


def _widen_group(network: Network, legs: list[Leg], record: Record, room: int, shift, least):
    """One group of populations, part by part."""
    pieces = go_forward(legs, record, room)
    sigmas = [tuple(np.zeros(leg.n) for _ in leg.state) for leg in legs]
    shortest = shortest_within(network, [leg.name for leg in legs])
    for part, (since, end) in enumerate(pieces):
        for leg in legs:
            leg.open(since, end)
            last = part == len(pieces) - 1
            leg.train.next[:] = leg.train.first[1:] if last else leg.starts[part + 1][2]
        order = list(runs(legs, [spikes_of_part(leg, part) for leg in legs], shortest))
        for which, spikes in reversed(order):
            leg = legs[which]
            state, start, low = leg.starts[part]
            widen(
                leg.p, spikes[::-1].copy(), state, start, leg.books, leg.tape, leg.train, low,
                (end, 0.0), leg.way, leg.notes, sigmas[which], shift, least,
            )  # fmt: skip
        for leg, sigma in zip(legs, sigmas, strict=True):
            state, start, low = leg.starts[part]
            widen_ends(
                leg.p, state, start, leg.books, leg.tape, leg.train, low, (end, 0.0), leg.way,
                leg.notes, sigma, shift, least,
            )  # fmt: skip
    for leg in legs:
        leg.close()
