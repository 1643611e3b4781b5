"""Where the proof stands: the centre of every neuron at its last event, and its bounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evsim.jit import apart, inline_kernel, kernel
from evsim.models.linear import DRIVER, THRESHOLD
from evsim.numerics import two_sum
from evsim.proof.bounds import DOUBLE, GROWN, GROWN_2, LEVELS, NEAR, NOISE, SPLIT, TINY, UNIT, UP
from evsim.proof.flow import DEVIATION, REST, ROUNDING
from evsim.proof.layout import STATE, bare, records
from evsim.proof.numbers import add, dropped, lower, number, pair_add, sub, upper
from evsim.proof.problem import EDGE, STEP, VOLTAGE, Problem


def initial(problem: Problem) -> tuple[np.recarray, np.recarray]:
    """Neurons before their first event, and sources of which only the inputs are known."""
    net, st = bare(problem.neurons), records(STATE, problem.size)
    q, x = bare(st), bare(st)["x"]
    x["hi"], x["lo"] = problem.start[:, :, 0], problem.start[:, :, 1]
    for n in problem.membranes:
        x["bound"][n, ROUNDING, 0] = SPLIT * DOUBLE.unit * abs(x["hi"][n, 0])
    for name in ("theta_hi", "theta_lo", "theta_err", "reset_hi", "reset_lo", "reset_err"):
        q[name] = net[name]
    q["first"] = q["next"] = q["since"] = problem.bounds[:-1]
    q["end"], q["gap"] = problem.bounds[1:], np.inf
    q["last"] = q["origin"] = -1
    return st, problem.sources.copy()


@inline_kernel
def excess(p, b, q, x, like):
    """(F, error): the distance above threshold of a state, and a bound of its rounding."""
    f = number(x.hi[0], x.lo[0], like)
    error, size = x.bound[ROUNDING, 0], 0.0
    for c in range(1, p.count + 1):
        if p.kind[c - 1] == THRESHOLD:
            f = sub(f, number(x.hi[c], x.lo[c], like))
            error += x.bound[ROUNDING, c]
            size += abs(upper(f))
    f = sub(f, number(q.theta_hi, q.theta_lo, like))
    size += abs(upper(f))
    error += q.theta_err + dropped(0.0, q.theta_lo, like) + b.unit * b.add * size
    return f, error * UP + TINY


@inline_kernel
def spread(p, x):
    """Bound of the deviation of F."""
    total = x.bound[DEVIATION, 0]
    for c in range(1, p.count + 1):
        if p.kind[c - 1] == THRESHOLD:
            total += x.bound[DEVIATION, c]
    return total * UP


class Shape(NamedTuple):
    """Slope of F at a state, and bounds of what may happen from there on.

    `steep` bounds the slope, `bend` the curvature of F, each of the true trajectory; `loose` the
    deviation of the slope at the state itself. `fade` is the part of the slope that the threshold
    has.
    """

    slope: float
    curvature: float
    steep: float
    bend: float
    loose: float
    fade: float


@inline_kernel
def shape(p, x, ahead):
    """`Shape` over the next `ahead`, and up to `NEAR` time constants back."""
    gain, rate = p.gain_hi, p.rate_hi
    drive = turn = size = move = loose = 0.0
    fade = fade_2 = sink = sink_2 = 0.0
    for c in range(1, p.count + 1):
        kind = p.kind[c - 1]
        own, value = p.decay_hi[c - 1], x.hi[c]
        off = x.bound[ROUNDING, c] + x.bound[DEVIATION, c]
        most = abs(value) + off
        if kind == THRESHOLD:
            fade += value * own
            fade_2 += value * own * own
            sink += most * own
            sink_2 += most * own * own
            loose += off * own
        elif kind == DRIVER:
            turn += value
            size += most * min(ahead + NEAR * p.shortest, 1.0 / own)
            move += 2.0 * most
        else:
            drive += value
            turn -= value * own
            size += most
            move += most * own
            loose += gain * off
    u_off = x.bound[ROUNDING, 0] + x.bound[DEVIATION, 0]
    most = abs(x.hi[0]) + u_off
    slope = gain * drive - rate * x.hi[0]
    curvature = gain * turn - rate * slope - fade_2
    reach = gain * size + rate * (most + size)
    noise = NOISE * UNIT * (gain * size + rate * most + sink)
    return Shape(
        slope + fade, curvature, (reach + sink) * GROWN,
        (gain * move + rate * reach + sink_2) * GROWN, (loose + rate * u_off) * UP + noise, fade,
    )  # fmt: skip


@inline_kernel
def late(now, r):
    """What is not linear in a deviation, of at most `r`, of the time at which the membrane is
    released or held: the slope changes by the bend, over one that has grown for as long, and is
    not that of the centre from the start."""
    return (0.5 * GROWN * now.bend * r * r + now.loose * r) * UP


@kernel
def shape_of(net, n, st, ahead):
    """`shape` of neuron `n` in the one state of `st`."""
    return shape(net[n], st[0].x, ahead)


@inline_kernel
def exchange(arr, i, j):
    """Swap two arrivals."""
    a, b = arr[i], arr[j]
    a.source, b.source = b.source, a.source
    a.delay, b.delay = b.delay, a.delay
    a.weight, b.weight = b.weight, a.weight
    a.port, b.port = b.port, a.port


@inline_kernel
def take(p, q, x, hi, lo, off, rho):
    """Make the values `x` those of a neuron, at the time hi + lo + off."""
    q.hi, q.lo, q.off, q.rho = hi, lo, off, rho
    for c in range(p.count + 1):
        q.x.hi[c], q.x.lo[c] = x.hi[c], x.lo[c]
        for k in range(3):
            q.x.bound[k, c] = x.bound[k, c]


@inline_kernel
def raise_by(b, q, c, value_hi, value_lo, like):
    """Add a number to a variable, with its rounding."""
    total = add(number(q.x.hi[c], q.x.lo[c], like), number(value_hi, value_lo, like))
    q.x.hi[c], q.x.lo[c] = upper(total), lower(total)
    q.x.bound[ROUNDING, c] += (
        b.unit * b.add * abs(upper(total)) + dropped(0.0, value_lo, like)
    ) * UP


@inline_kernel
def receive(p, b, q, port, weight, r, loose, like):
    """An arrival whose time has the radius `r`: the jump, and what carrying it back leaves.

    `loose` is what of the radius no row carries. Returns the size of the jump.
    """
    rate, gain = p.rate_hi, p.gain_hi
    bound, busy, size = q.x.bound, q.busy != 0, abs(weight)
    if port == STEP or port == EDGE:
        size = drive_by(p, b, q, port, weight, like)
        linear, square = size * gain, size * gain * rate
        q.kick += linear
        if port == EDGE and p.lag >= 0:
            more, second = enter(p, b, q, p.lag, -weight, r, loose, like)
            linear, square = linear + more, square + second
    elif port == VOLTAGE:
        if busy:
            return size
        raise_by(b, q, 0, weight, 0.0, like)
        linear, square = size * rate, size * rate * rate
    else:
        linear, square = enter(p, b, q, port, weight, r, loose, like)
    if not busy:
        bound[DEVIATION, 0] += (linear * r + square * r * r) * UP
        bound[REST, 0] += (linear * loose + square * r * r) * UP
    return size


@inline_kernel
def enter(p, b, q, port, weight, r, loose, like):
    """An arrival at component `port`; by how much it turns the membrane, and bends it."""
    bound, size, own, gain = q.x.bound, abs(weight), p.decay_hi[port], p.gain_hi
    raise_by(b, q, 1 + port, weight, 0.0, like)
    linear, square = size * gain, size * gain * (p.rate_hi + own)
    first, second = size * own, size * own * own * r * r
    bound[DEVIATION, 1 + port] += (first * r + second) * UP
    bound[REST, 1 + port] += (first * loose + second) * UP
    if p.kind[port] == DRIVER:
        twice = 2.0 * size * own * r * r
        bound[DEVIATION, port] += (size * r + twice) * UP
        bound[REST, port] += (size * loose + twice) * UP
        linear, square = 0.0, size * gain
    q.kick += linear + square * NEAR * p.shortest
    return linear, square


@inline_kernel
def astray(gain, driven, size, span):
    """What an arrival of this size does to the membrane at most within `span`, the sum of two
    deviations: by that the truth is off where it acts for as long more, or less, than assumed.
    `driven`: through a current that it drives."""
    most = GROWN_2 * size * gain * span
    return most * 0.5 * span if driven else most


@inline_kernel
def drive_by(p, b, q, port, weight, like):
    """A step of the external current to a value, or an edge of a pulse; its size."""
    change = (weight, 0.0)
    if port == STEP:
        old, q.drive = q.drive, weight
        change = two_sum(weight, -old)
    else:
        total = pair_add((q.pulse_hi, q.pulse_lo), change)
        q.pulse_hi, q.pulse_lo = total
        q.pulse_err += LEVELS * DOUBLE.unit * abs(total[0])
    if p.drive >= 0:
        raise_by(b, q, 1 + p.drive, change[0], change[1], like)
    else:
        raise_by(b, q, 0, -change[0], -change[1], like)
        shift_levels(p, q)
    return abs(change[0])


@inline_kernel
def shift_levels(p, q):
    """Threshold and reset relative to the rest that external current and pulses make."""
    drive = pair_add((q.drive, 0.0), (q.pulse_hi, q.pulse_lo))
    error = q.pulse_err + LEVELS * DOUBLE.unit * abs(drive[0])
    theta = pair_add((p.theta_hi, p.theta_lo), (-drive[0], -drive[1]))
    reset = pair_add((p.reset_hi, p.reset_lo), (-drive[0], -drive[1]))
    q.theta_hi, q.theta_lo = theta
    q.reset_hi, q.reset_lo = reset
    q.theta_err = p.theta_err + error + LEVELS * DOUBLE.unit * abs(theta[0])
    q.reset_err = p.reset_err + error + LEVELS * DOUBLE.unit * abs(reset[0])


@kernel
def release(p, q, r):
    """The membrane is free from here on: its deviation by that of the last spike."""
    apart()
    bound = q.x.bound
    now = shape(p, q.x, 0.0)
    slope = now.slope - now.fade
    rest = late(now, r)
    bound[DEVIATION, 0] += (abs(slope) * r + rest) * UP
    bound[REST, 0] += rest
    q.slope, q.busy, q.owes, q.rho = slope, 0, 1, r
    q.asleep = 1 if p.dead > 0.0 else 0
