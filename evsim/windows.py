"""Windows of the smallest delay, within which no neuron can influence another.

Per window: the spikes of the window before are sent on their way, the arrivals of all targets
become lists, and each neuron to which something happens goes through its own list; see
`evsim.gather` and `evsim.advance`. Several parts of a network may run at once: they meet at the
end of every window. Targets of synapses shorter than a window go through it behind their
sources, phase by phase.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from evsim.advance import advance_lists, no_earlier
from evsim.fibres import send
from evsim.flight import (
    ROWS,
    SOURCES,
    chunks_for,
    clear,
    code_of,
    launch,
    line_of,
    pack,
    slot_in,
    slot_of,
)
from evsim.gather import (
    FLIGHT,
    LISTS,
    LOGS,
    MAIL,
    ORDER,
    collect,
    count,
    fill,
    lay_out,
    wait_for,
    when_of,
)
from evsim.jit import OPTIONS, inner_inline_kernel, inner_kernel, kernel
from evsim.mail import all_done, parts_of, post, read, region_of, write
from evsim.neuron import APART, DONE
from evsim.numerics import add_time, not_before
from evsim.order import HI, KEY, LO, nearly_sort, sort_by_time
from evsim.shelves import SHELF, has_shelves, next_shelf

#: Stages of a window.
SEND, COLLECT, LIST, ADVANCE, POST, MEET = range(6)
#: Statuses besides those of neurons: there is more to do; others are not as far; the arrivals
#: from outside are not known any further.
GOING, WAITING, BEYOND = -1, -2, -3


class Late(NamedTuple):
    """Neurons of a part that synapses shorter than a window reach, in order of their phases."""

    mask: Any  # (n,), or empty where there are none
    neuron: Any  # places in the part
    phase: Any  # from 1 on, behind all from which one comes
    phases: Any  # (1,) of a window, besides that of all others
    start: Any  # (late neurons + 1,) their short synapses
    source: Any
    synapse: Any
    weight: Any
    delay: Any
    port: Any


@inner_kernel
def list_of(lists, a, b, g):
    """The first of the lists `a` to `b` that is of a neuron not before place `g`."""
    while a < b:
        middle = (a + b) // 2
        if lists.place[middle] < g:
            a = middle + 1
        else:
            b = middle
    return a


@inner_kernel
def gather_late(part, flight, late, i, lists, mail, frame, end, progress):
    """The arrivals of a late neuron as a list behind all others; a status."""
    g, listed, arrival, when = late.neuron[i], progress.sizes[2], lists.arrival, lists.when
    code = lists.code
    own = list_of(lists, 0, listed, g)
    if own == listed or lists.place[own] != g:
        first = stop = 0
    else:
        first, stop = lists.start[own], lists.start[own + 1]
    begin, parts, turn, most = lists.start[listed], parts_of(mail), progress.turn[0], 0
    for m in range(parts):
        most += read(mail.count, (turn * parts + m) * APART)
    most *= late.start[i + 1] - late.start[i]
    size, line = stop - first, line_of(flight, progress.window[0])
    if begin + size + most > lists.arrival.shape[0]:
        return wait_for(progress, LISTS, begin + size + most)
    if flight.launches.free[1] < chunks_for(most, 1):
        return wait_for(progress, FLIGHT, chunks_for(most, 1))
    for x in range(size):
        arrival[begin + x, 0], code[begin + x, 1] = arrival[first + x, 0], code[first + x, 1]
        # Only where there are singles does the list tell the time itself.
        hi, lo = when_of(flight, lists, first + x, code[first + x, 1] < 0)
        when[begin + x, HI], when[begin + x, LO] = hi, lo
    n = lists.room.size
    lists.place[n], lists.start[n] = g, begin
    for s in range(late.start[i], late.start[i + 1]):
        for m in range(parts):
            at = region_of(mail, turn, m)
            for k in range(at, at + read(mail.count, (turn * parts + m) * APART)):
                if mail.word[k, KEY] == late.source[s]:
                    hi, lo = add_time(mail.entry[k, HI], mail.entry[k, LO], late.delay[s])
                    in_run = not_before(frame.until[0], frame.until[1], hi, lo)
                    if in_run and not not_before(hi, lo, end, 0.0):
                        what = pack(late.synapse[s], late.port[s])
                        arrival[begin + size, 0] = late.weight[s]
                        when[begin + size, HI], when[begin + size, LO] = hi, lo
                        to = launch(flight, line + SOURCES, hi, lo, 0.0, -1, what)
                        code[begin + size, 1] = code_of(to, what, False)
                        size += 1
    lists.start[n + 1] = begin + size
    progress.sizes[1] = 1
    return DONE


def advance_all(
    blocks, fibres, part, skip, flight, lists, a, b, frame, end, final, progress, place, spikes,
    doubts,
):  # fmt: skip
    """Lists `a` to `b`, block by block, but those marked in `skip`; a status."""
    for block in blocks:
        m, stop = lists_of(block, part, lists, a, b)
        status = advance_lists(
            block, fibres, part, skip, flight, lists, m, stop, frame, end, final, progress, place,
            spikes, doubts,
        )  # fmt: skip
        if status != DONE:
            return status
    return DONE


@inner_inline_kernel
def lists_of(block, part, lists, a, b):
    """Those of the lists `a` to `b` that are of neurons of a block."""
    first = block.first - part.first[0]
    return list_of(lists, a, b, first), list_of(lists, a, b, first + block.books.current.size)


@overload(advance_all, jit_options=OPTIONS)
def _advance_all(
    blocks, fibres, part, skip, flight, lists, a, b, frame, end, final, progress, place, spikes,
    doubts,
):  # fmt: skip
    def last(
        blocks, fibres, part, skip, flight, lists, a, b, frame, end, final, progress, place, spikes,
        doubts,
    ):  # fmt: skip
        m, stop = lists_of(blocks[0], part, lists, a, b)
        return advance_lists(
            blocks[0], fibres, part, skip, flight, lists, m, stop, frame, end, final, progress,
            place, spikes, doubts,
        )  # fmt: skip

    def unrolled(
        blocks, fibres, part, skip, flight, lists, a, b, frame, end, final, progress, place, spikes,
        doubts,
    ):  # fmt: skip
        m, stop = lists_of(blocks[0], part, lists, a, b)
        status = advance_lists(
            blocks[0], fibres, part, skip, flight, lists, m, stop, frame, end, final, progress,
            place, spikes, doubts,
        )  # fmt: skip
        if status != DONE:
            return status
        return advance_all(
            blocks[1:], fibres, part, skip, flight, lists, a, b, frame, end, final, progress, place,
            spikes, doubts,
        )  # fmt: skip

    return last if len(blocks) == 1 else unrolled


@inner_kernel
def next_lists(part, flight, late, lists, mail, frame, end, progress, place):
    """The lists to go through next, first and one behind the last, and a status.

    Those of all neurons, then of late ones one by one as their phase comes.
    """
    progress.waits[0] = LOGS
    if progress.phase[0] == 0:
        listed = progress.sizes[2]
        return list_of(lists, 0, listed, place.neuron[0]), listed, DONE
    i, n, status = progress.late[0], lists.room.size, DONE
    if i == late.neuron.size or late.phase[i] > progress.phase[0]:
        return n, n, DONE
    if place.within[0] == 0:
        status = gather_late(part, flight, late, i, lists, mail, frame, end, progress)
    return n, n + 1, status


@inner_inline_kernel
def more_lists(late, progress, place):
    """After those of `next_lists`: whether there are more in this phase."""
    place.neuron[0] = 0
    i, phase = progress.late[0], progress.phase[0]
    if phase > 0 and i < late.neuron.size and late.phase[i] == phase:
        i += 1
        progress.late[0] = i
    return phase > 0 and i < late.neuron.size and late.phase[i] == phase


@inner_kernel
def send_all(fibres, part, flight, lists, mail, frame, progress):
    """Send the spikes of the window before on their way, in order of time; a status."""
    total, parts, turn = 0, parts_of(mail), 1 - progress.turn[0]
    order = lists.order
    for m in range(parts):
        at, size = region_of(mail, turn, m), read(mail.count, (turn * parts + m) * APART)
        if 2 * (total + size) > order.size:
            return wait_for(progress, ORDER, 2 * (total + size))
        for k in range(size):
            order[total + k] = at + k
        total += size
    nearly_sort(
        mail.entry, progress.window[1] * frame.width, frame.width, total, order, lists.spare
    )
    sort_by_time(mail.entry, mail.word, total, order, lists.spare)
    for k in range(progress.spikes[1], total):
        m = order[k]
        progress.spikes[1] = k
        unit, hi, lo = mail.word[m, KEY], mail.entry[m, HI], mail.entry[m, LO]
        after = mail.word[order[k + 1], KEY] if k + 1 < total else -1
        wanted = send(
            fibres, part, flight, unit, after, hi, lo, progress.rows, frame.width, frame.until,
            progress.window[1],
        )  # fmt: skip
        if wanted > 0:
            return wait_for(progress, FLIGHT, wanted)
    progress.spikes[1] = 0
    return DONE


@inner_inline_kernel
def soonest_window(flight, external, progress, frame):
    """The next window in which anything happens in a part but for spikes, at most the last."""
    window = progress.window[0] + 1
    underway = flight.launches.free[1] < flight.launches.after.size
    if underway or window > frame.reach or window == frame.last:
        return min(window, frame.last)
    soonest = np.inf
    for n in range(progress.safe.size):
        soonest = min(soonest, progress.safe[n])
    a, b = progress.external[0], progress.external[1]
    if a < external.row_hi.size:
        soonest = min(soonest, external.row_hi[a])
    if b < external.hi.size:
        soonest = min(soonest, external.hi[b])
    if soonest >= (frame.reach + 1) * frame.width:
        return min(frame.reach + 1, frame.last)
    return max(window, slot_of(no_earlier(soonest, 0.0), 0.0, frame.width))


@inner_kernel
def open_window(fibres, part, flight, external, lists, mail, frame, progress):
    """One stage on the way to the lists of a window; a status."""
    stage, end = progress.stage[0], (progress.window[0] + 1) * frame.width
    if stage == SEND:
        status = send_all(fibres, part, flight, lists, mail, frame, progress)
    elif stage == COLLECT:
        status = collect(fibres, part, flight, external, lists, end, progress)
    else:
        final = progress.window[0] == frame.last
        status = make_lists(fibres, part, flight, lists, end, final, progress)
    return status


@inner_kernel
def make_lists(fibres, part, flight, lists, end, final, progress):
    """The lists of a window, or of its next shelf; a status."""
    if has_shelves(lists) and progress.sizes[1] == 0:
        return next_shelf(fibres, part, flight, lists, end, final, progress)
    count(fibres, part, flight, lists, progress)
    status = lay_out(lists, progress.safe, end, final, 0, lists.room.size, progress)
    if status == DONE:
        fill(fibres, part, flight, lists, progress)
    return status


@inner_kernel
def post_window(part, flight, external, late, mail, frame, progress, spikes):
    """Tell the other parts what has happened; a status."""
    m, turn = part.number[0], progress.turn[0]
    box = (turn * parts_of(mail) + m) * APART
    if not post(mail, turn, m, spikes, progress.spikes[0]):
        return wait_for(progress, MAIL, mail.count[box] + spikes.used[0] - progress.spikes[0])
    progress.spikes[0] = spikes.used[0]
    if progress.phase[0] == late.phases[0]:
        line = line_of(flight, progress.window[0])
        clear(flight.launches, line + ROWS)
        clear(flight.launches, line + SOURCES)
        clear(flight.singles, slot_in(flight, progress.window[0]))
        if mail.count[box] > 0:
            mail.soon[box] = min(progress.window[0] + 1, frame.last)
        else:
            mail.soon[box] = soonest_window(flight, external, progress, frame)
    progress.phase[1] += 1
    write(mail.done, m * APART, progress.phase[1])
    return DONE


@inner_inline_kernel
def next_window(part, mail, progress):
    """From the end of a window, which all parts have reached, to the next."""
    parts, turn = parts_of(mail), progress.turn[0]
    soon = mail.soon[turn * parts * APART]
    for m in range(1, parts):
        soon = min(soon, mail.soon[(turn * parts + m) * APART])
    progress.window[1], progress.window[0] = progress.window[0], soon
    progress.turn[0] = 1 - turn
    mail.count[((1 - turn) * parts + part.number[0]) * APART] = 0
    progress.phase[0] = progress.late[0] = 0
    progress.shelf[0] = -1


@kernel
def run_windows(
    blocks, fibres, part, flight, external, lists, late, mail, frame, progress, place, spikes,
    doubts,
):  # fmt: skip
    """A part of a network, as far as room and the other parts allow; a status."""
    stage, phase, work = progress.stage, progress.phase, 0.0
    while work < frame.breath:
        final, end = progress.window[0] == frame.last, (progress.window[0] + 1) * frame.width
        status = DONE
        if stage[0] == COLLECT and progress.window[0] > frame.reach:
            return BEYOND
        if stage[0] < ADVANCE:
            status = open_window(fibres, part, flight, external, lists, mail, frame, progress)
        elif stage[0] == ADVANCE:
            a, b, status = next_lists(part, flight, late, lists, mail, frame, end, progress, place)
            if status == DONE:
                skip = late.mask if phase[0] == 0 else late.mask[:0]
                status = advance_all(
                    blocks, fibres, part, skip, flight, lists, a, b, frame, end, final, progress,
                    place, spikes, doubts,
                )  # fmt: skip
            if status == DONE and more_lists(late, progress, place):
                continue
            if status == DONE and 0 <= progress.shelf[0] < lists.shelves.head.size:
                stage[0] = LIST - 1
        elif stage[0] == POST:
            status = post_window(part, flight, external, late, mail, frame, progress, spikes)
        elif not all_done(mail, phase[1]):
            return WAITING
        elif phase[0] < late.phases[0]:
            phase[0] += 1
            stage[0] = ADVANCE
            continue
        elif final:
            return DONE
        else:
            next_window(part, mail, progress)
            stage[0] = -1
        if status != DONE:
            return status
        stage[0] += 1
        neurons = lists.room.size if progress.shelf[0] < 0 else SHELF
        work += 300.0 + lists.start[progress.sizes[2]] + neurons
    return GOING
