"""The populations of a group as blocks of neurons that share a kernel class."""

from __future__ import annotations

import numpy as np

from evsim.advance import Block
from evsim.delivery import in_arrays
from evsim.group import Group
from evsim.models import verbs
from evsim.models.base import is_policy
from evsim.models.pace import paced
from evsim.neuron import Books, new_flags
from evsim.start import Job, Snapshot, drive_again, held


def blocks_of(job: Job, group: Group, room: int) -> tuple[Block, ...]:
    """The populations of a group as blocks of neurons, with room for so many arrivals.

    Neighbours of one kernel class and policy share a block.
    """
    runs: list[list[str]] = []
    for name in group.names:
        if runs and alike(job.network, runs[-1][0], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    arrays = {name: in_arrays(job.network, name, job.inputs.get(name)) for name in group.names}
    blocks = []
    for names in runs:
        p = held(parameters(job.network, names, arrays), job.hold)
        states, all_books = zip(*(job.starts[name] for name in names), strict=True)
        state = tuple(map(np.concatenate, zip(*states, strict=True)))
        books = joint_books(all_books)
        drive_again(p, state, books)
        block = Block(p, state, books, group.first[names[0]], (), ())
        blocks.append(with_table(block, room))
    return tuple(blocks)


def joint_books(parts) -> Books:
    """Books of several populations as one."""
    n = sum(books.current.size for books in parts)
    busy = new_flags(n)
    busy[:n] = np.concatenate([books.busy[: books.current.size] for books in parts])
    columns = [np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)]
    return Books(*columns)._replace(busy=busy)


def snapshot_of(blocks: tuple[Block, ...], first: int, n: int) -> Snapshot:
    """A population of `n` neurons from place `first` on, at its last own events."""
    block = next(b for b in reversed(blocks) if b.first <= first)
    mine = slice(first - block.first, first - block.first + n)
    books = Books(*(values[..., mine].copy() for values in block.books))
    busy = new_flags(n)
    busy[:n] = block.books.busy[mine]
    return Snapshot(tuple(v[mine].copy() for v in block.state), books._replace(busy=busy))


def alike(network, a: str, b: str) -> bool:
    """Whether two populations can be in one block: their kernels differ in numbers only."""
    one, other = (network.populations[name].model.compile(1, False) for name in (a, b))
    return type(one) is type(other) and all(
        value == its if is_policy(value) else not isinstance(value, tuple) or len(value) == len(its)
        for value, its in zip(one, other, strict=True)
    )


def parameters(network, names: list[str], arrays):
    """Kernel parameters of several populations: scalars if all agree in them."""
    models = [network.populations[name].model for name in names]
    if not any(arrays[name] for name in names):
        scalars = [model.compile(1, False) for model in models]
        if all(p == scalars[0] for p in scalars):
            return scalars[0]
    parts = [
        model.compile(network.size(name), True) for name, model in zip(names, models, strict=True)
    ]
    return type(parts[0])(*map(_together, zip(*parts, strict=True)))


def _together(values):
    if isinstance(values[0], tuple):
        return tuple(map(_together, zip(*values, strict=True)))
    return values[0] if is_policy(values[0]) else np.concatenate(values)


def with_table(block: Block, room: int) -> Block:
    """The same block, with columns and a table of its own for so many arrivals."""
    own, c = paced(block.p, 0), verbs.interval(verbs.pick(block.p, 0), 0.0)
    columns, table = (tuple(np.empty(room) for _ in numbers) for numbers in (own, c))
    return block._replace(columns=columns, table=table)
