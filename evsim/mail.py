"""What the parts of a network tell one another between windows: spikes, and how far they are.

Every part writes into a region of its own, with two turns so that what is being read is never
written, and counts what it has finished; the others look at that count. Counts are written
after, and read before, what they vouch for (release and acquire).
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from evsim.dispatch import INLINE
from evsim.jit import OPTIONS, inner_inline_kernel, inner_kernel
from evsim.neuron import APART, lone
from evsim.order import HI, KEY, LO

#: Looks at the others' counts before a thread offers its processor to others at every look, and
#: before it goes back to Python (some milliseconds): coming again from there takes a tenth of one.
LOOKS, MOST_LOOKS = 4000, 14000


class Mail(NamedTuple):
    """Spikes of a window, by turn and part: entry k is at (turn * parts + part) * room + k."""

    entry: Any  # (2 * parts * room, 3): time and unit
    word: Any  # the same memory as whole numbers
    count: Any  # (2 * parts * APART,) spikes of a turn
    soon: Any  # (2 * parts * APART,) before this window nothing happens in a part
    done: Any  # (parts * APART,) phases finished
    halt: Any  # (1,) somebody needs what only all together can have


def new_mail(parts: int, room: int) -> Mail:
    """Empty."""
    entry = np.empty((2 * parts * room, 3))
    count, soon = np.zeros((2, 2 * parts * APART), np.int64)
    return Mail(
        entry, entry.view(np.int64), count, soon, np.zeros(parts * APART, np.int64),
        lone([0]),
    )  # fmt: skip


def more_mail(mail: Mail, room: int) -> Mail:
    """The same with more room for every part."""
    parts = mail.done.size // APART
    new = new_mail(parts, room)
    old = mail.entry.reshape(2 * parts, -1)
    new.entry.reshape(2 * parts, -1)[:, : old.shape[1]] = old
    return new._replace(count=mail.count, soon=mail.soon, done=mail.done)


def read(values, k):
    """`values[k]`, before anything that comes later."""
    return values[k]


def write(values, k, value):
    """`values[k] = value`, after everything that came earlier."""
    values[k] = value


def _address(context, builder, array, k):
    kind, value = array
    data = context.make_array(kind)(context, builder, value).data
    return builder.gep(data, [k])


@intrinsic
def _read(typingctx, values, k):
    def codegen(context, builder, signature, args):
        at = _address(context, builder, (signature.args[0], args[0]), args[1])
        return builder.load_atomic(at, "acquire", 8)

    return types.int64(values, types.int64), codegen


@intrinsic
def _write(typingctx, values, k, value):
    def codegen(context, builder, signature, args):
        at = _address(context, builder, (signature.args[0], args[0]), args[1])
        builder.store_atomic(args[2], at, "release", 8)
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(values, types.int64, types.int64), codegen


@overload(read, jit_options=INLINE)
def _read_overload(values, k):
    return lambda values, k: _read(values, k)


@overload(write, jit_options=INLINE)
def _write_overload(values, k, value):
    return lambda values, k, value: _write(values, k, value)


def give_way():
    """Offer the processor to a thread that waits for it."""
    time.sleep(0)


@overload(give_way, jit_options=OPTIONS)
def _give_way():
    if not hasattr(os, "sched_yield"):
        return lambda: None
    offer = types.ExternalFunction("sched_yield", types.int32())

    def offered():
        offer()

    return offered


@inner_inline_kernel
def parts_of(mail):
    """How many parts there are."""
    return mail.done.size // APART


@inner_inline_kernel
def region_of(mail, turn, m):
    """First entry of a part's region."""
    parts = parts_of(mail)
    return (turn * parts + m) * (mail.entry.shape[0] // (2 * parts))


@inner_kernel
def post(mail, turn, m, spikes, first):
    """Publish the spikes of part `m` logged from `first` on; whether there was room."""
    box = (turn * parts_of(mail) + m) * APART
    count, at = mail.count[box], region_of(mail, turn, m)
    if count + spikes.used[0] - first > mail.entry.shape[0] // (2 * parts_of(mail)):
        return False
    for k in range(first, spikes.used[0]):
        mail.entry[at + count, HI], mail.entry[at + count, LO] = spikes.hi[k], spikes.lo[k]
        mail.word[at + count, KEY] = spikes.unit[k]
        count += 1
    write(mail.count, box, count)
    return True


@inner_kernel
def all_done(mail, goal):
    """Whether all parts have finished so many phases; waits a while for it."""
    for look in range(MOST_LOOKS):
        halted, m = read(mail.halt, 0) != 0, 0  # before the counts, which then are the last
        while m < parts_of(mail) and read(mail.done, m * APART) >= goal:
            m += 1
        if m == parts_of(mail):
            return True
        if halted:
            return False
        if look > LOOKS:
            give_way()
    return False
