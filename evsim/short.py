"""Which synapses may be shorter than a window, so that one short delay does not narrow them all.

The targets of such synapses go through a window after their sources, one after the other: so
the short synapses must not form a cycle.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from evsim.group import Group
from evsim.windows import Late

#: At most so many synapses are short, and only if that widens the windows by so much.
MOST, WORTH = 64, 1.2


def short_synapses(group: Group) -> tuple[float, Late]:
    """The smallest delay of the other synapses within the group, and the short ones.

    inf if there are no synapses within the group.
    """
    delay, source, target, synapse, port = _shortest(group)
    if not delay.size:
        return np.inf, late_neurons(group, *_first(0, source, target, synapse, delay, port))
    wanted = delay[-1] / WORTH
    count = int(np.searchsorted(delay, wanted, side="left"))
    while count and on_cycle(group.n, source[:count], target[:count]):
        count -= 1
    while count and delay[count - 1] == delay[count]:  # equal delays stay together
        count -= 1
    parts = _first(count, source, target, synapse, delay, port)
    return float(delay[count]), late_neurons(group, *parts)


def _first(count, *columns):
    return [column[:count] for column in columns]


def _shortest(group: Group):
    """The shortest synapses within the group, in order of delay: at most one more than `MOST`.

    Those that make pulses come with all others of their projection: none of them is short.
    """
    fibres, columns, floor = group.fibres, [], np.inf
    for p in group.projections:
        if p.pre not in group.first or not p.weight.size:
            continue
        first_row = group.rows[p.name]
        rows = np.arange(first_row, first_row + p.n_pre)
        offset = fibres.start[first_row]
        chosen = np.arange(min(p.weight.size, MOST + 1))
        if np.ndim(p.delay):
            flat = np.ravel(p.delay)
            if flat.size > MOST:
                chosen = np.sort(np.argpartition(flat, MOST)[: MOST + 1])
            delay = flat[chosen]
        else:
            delay = np.full(chosen.size, p.delay)
        if p.pulse_width is not None:
            floor = min(floor, delay.min())
            continue
        synapse = chosen + offset
        row = np.searchsorted(fibres.start[rows], synapse, side="right") - 1
        source = row + group.first[p.pre]
        columns.append((delay, source, fibres.target[synapse], synapse, np.full(row.size, p.port)))
    if not columns:
        empty = np.zeros(0, np.int64)
        return np.array([floor] if floor < np.inf else []), empty, empty, empty, empty
    table = [np.concatenate(column) for column in zip(*columns, strict=True)]
    order = np.argsort(table[0], kind="stable")[: MOST + 1]
    delay, *rest = (column[order] for column in table)
    return (np.minimum(delay, floor), *rest)


def on_cycle(n: int, source, target) -> bool:
    """Whether synapses form a cycle."""
    if (source == target).any():
        return True
    graph = scipy.sparse.coo_array((np.ones(source.size), (source, target)), shape=(n, n))
    found, _ = connected_components(graph, directed=True, connection="strong")
    return found < n


def late_neurons(group: Group, source, target, synapse, delay, port) -> Late:
    """The targets of short synapses, each in a phase behind all from which one comes."""
    phase = np.zeros(group.n, np.int64)
    for _ in range(source.size):  # longest paths: as many rounds as synapses suffice
        np.maximum.at(phase, target, phase[source] + 1)
    neuron = np.unique(target).astype(np.int64)
    neuron = neuron[np.argsort(phase[neuron], kind="stable")]
    rank = np.full(group.n, -1)
    rank[neuron] = np.arange(neuron.size)
    order = np.lexsort((synapse, rank[target]))
    start = np.concatenate([[0], np.cumsum(np.bincount(rank[target], minlength=neuron.size))])
    mask = np.zeros(group.n if neuron.size else 0, np.uint8)
    mask[neuron] = 1
    source, synapse, port = (c.astype(np.int64)[order] for c in (source, synapse, port))
    return Late(
        mask, neuron, phase[neuron], phase[neuron[-1:]] if neuron.size else np.zeros(1, np.int64),
        start.astype(np.int64), source, synapse, group.fibres.weight[synapse].astype(float),
        delay.astype(float)[order], port,
    )  # fmt: skip


def late_of(late: Late, first: int, last: int) -> Late:
    """Those among the neurons `first` to `last`, by their places from `first` on."""
    mine = (late.neuron >= first) & (late.neuron < last)
    synapses = np.repeat(mine, np.diff(late.start))
    start = np.concatenate([[0], np.cumsum(np.diff(late.start)[mine])])
    mask = late.mask[first:last] if mine.any() else late.mask[:0]
    return Late(
        mask, late.neuron[mine] - first, late.phase[mine], late.phases, start,
        *(column[synapses] for column in late[5:]),
    )  # fmt: skip
