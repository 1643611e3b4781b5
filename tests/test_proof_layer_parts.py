"""Small parts of the proofs of layers, each against what it is to bound; interpreted: see
test_jit.py."""

import math
import os
from types import SimpleNamespace

import numpy as np
import pytest

import evsim
from evsim.models import verbs
from evsim.proof import (
    layer,
)
from evsim.proof.bounds import NEAR

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="for interpreted kernels: see test_jit.py"
)


def voltage(u, i, s):
    """Of a leaky neuron behind an exponential synapse, and the current."""
    em, es = np.exp(-s / 10.0), np.exp(-s / 4.0)
    return u * em + i * (em - es) * 4.0 / 6.0, i * es


def compiled(**values):
    """The kernel's parameters of one LIF neuron."""
    return evsim.LIF(**{"tau_mem": 10.0, "tau_syn": 4.0, **values}).compile(1, False)


def walk(u, i, e_u=0.0, e_i=0.0, hi=0.0, rho=0.0, busy=False):
    return layer.Walk(u, i, e_u, e_i, hi, 0.0, rho, busy, True)


@pytest.mark.parametrize("theta_lo", [0.0, -0.03])
@pytest.mark.parametrize("theta", [1.0, 0.3])
def test_a_silent_gap_of_a_layer_is_silent_for_all_that_may_be_true(theta, theta_lo):
    """The highest trajectory within the errors, over the gap and as far as its ends may move."""
    p = compiled(v_th=theta)._replace(theta_lo=theta_lo)
    rng, answers = np.random.default_rng(0), []
    for _ in range(400):
        u, i = theta * rng.uniform(-1.0, 1.1), theta * rng.uniform(-2.0, 4.0)
        s, e_u, e_i = (float(x) for x in 10.0 ** rng.uniform([-2, -6, -6], [1, -1, -1]))
        shift = float(rng.choice([0.0, 0.02]))
        w, c = walk(u, i, e_u, e_i), verbs.interval(p, s)
        y = layer.flowed(p, w, c, s)
        found = layer.quiet(p, w, y, c, s, shift)
        most = voltage(u + e_u, i + e_i, np.linspace(0.0, s, 400))[0].max() + shift
        assert not found or most < theta + theta_lo + 1e-12
        if most + 2.0 * (e_u + e_i + shift) + abs(theta_lo) < 0.8 * theta:
            answers.append(found)
    assert np.mean(answers) > 0.9 and len(answers) > 50


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**-10, 2.0**60])
def test_whether_a_gap_of_a_layer_is_silent_does_not_depend_on_the_unit_of_voltage(scale):
    rng, answers = np.random.default_rng(5), []
    for _ in range(300):
        u, i = float(rng.uniform(-1.0, 1.1)), float(rng.uniform(-3.0, 9.0))
        s, e_u, e_i = (float(x) for x in 10.0 ** rng.uniform([-2, -6, -6], [1, -1, -1]))
        found = []
        for k in (1.0, scale):
            p, w = compiled(v_th=k), walk(k * u, k * i, k * e_u, k * e_i)
            c = verbs.interval(p, s)
            found.append(layer.quiet(p, w, layer.flowed(p, w, c, s), c, s, k * 1e-3))
        assert found[0] == found[1]
        answers.append(found[0])
    assert 0.2 < np.mean(answers) < 0.9


def test_the_radius_of_a_spike_of_a_layer_holds_the_crossings_of_all_that_may_be_true():
    """By the equation of the voltage, and no more than a twentieth wider than need be."""
    rng, worst, wide = np.random.default_rng(1), 0.0, 0.0
    for turn in range(300):
        p = compiled()._replace(theta_lo=float(rng.choice([0.0, -1e-3, 1e-3])))
        i, off = float(rng.uniform(1.5, 40.0)), float(rng.normal() * 1e-3)
        u, e_u, e_i = 1.0 + off, float(10.0 ** rng.uniform(-6, -2)), 1e-6
        if turn % 2:
            u, e_u, p = 1.0, float(rng.uniform(2e-3, 2e-2)) * i, compiled()
        r = layer.crossing(p, walk(u, i), u, i, e_u, e_i)
        if not math.isfinite(r):
            continue
        d = np.linspace(-1.5, 1.5, 2001) * r
        for side in (-1.0, 1.0):
            f = voltage(u + side * e_u, i + side * e_i, d)[0] - 1.0 - p.theta_lo
            assert f[0] < 0.0 < f[-1]
            true = abs(d[np.searchsorted(f, 0.0)])
            assert true <= r * 1.002
            worst = max(worst, true / r)
        wide = max(wide, r)
    assert worst > 0.95 and wide > 0.02
    # A slope that is not known to be positive, or bends too much, proves nothing.
    assert layer.crossing(compiled(), walk(1.0, 0.9), 1.0, 0.9, 0.0, 0.0) == math.inf
    assert layer.crossing(compiled(), walk(1.0, 1.01), 1.0, 1.01, 0.01, 0.0) == math.inf


def test_a_release_in_a_layer_holds_what_an_uncertain_spike_makes_of_it():
    """The voltage at the release of a neuron that is released a little earlier or later, carried
    back to it; also where nothing of the error is left to floats."""
    worst = 0.0
    for u_r, i, e_i, s in ((0.0, 3.0, 0.0, 0.0), (-0.5, 3.0, 1e-2, 0.3), (0.0, 0.0, 0.1, 0.5),
                           (0.2, -2.0, 0.0, 2.0)):  # fmt: skip
        p, r = compiled(v_reset=u_r), 0.08
        w = layer.released(p, walk(u_r, i, 0.0, e_i, busy=True), s, 0.0, r)
        current = i * math.exp(-s / 4.0)
        assert w.i == pytest.approx(current, rel=1e-12) and w.u == u_r and not w.busy
        left = e_i * math.exp(-s / 4.0)
        assert left <= w.e_i <= left * (1.0 + 1e-9) + 1e-13
        for rho in (-r, r):
            for side in (-1.0, 1.0):
                later = voltage(0.0, current + side * left, rho)[1]
                off = abs(voltage(u_r, later, -rho)[0] - u_r)
                assert off <= w.e_u
                worst = max(worst, off / w.e_u)
    assert worst > 0.95
    tiny = layer.released(compiled(), walk(0.0, 1e-200, busy=True), 0.0, 0.0, 1e-200)
    assert tiny.e_u > 0.0  # the product is 0


def arrivals_of(p, times):
    """Events at these times, and the table of their intervals."""
    times = np.asarray(times, float)
    steps = np.diff(times, prepend=0.0)
    table = tuple(np.array(c) for c in zip(*(verbs.interval(p, d) for d in steps), strict=True))
    return SimpleNamespace(hi=times, lo=np.zeros(times.size)), table


def shared_of(p, times, rho, top, size):
    """`layer.majorants` of such events, all as uncertain."""
    events, table = arrivals_of(p, times)
    n = len(times)
    out = layer.Shared(np.empty(n + 1), np.empty(n + 1), *(np.zeros(1) for _ in range(3)))
    layer.majorants(p, events, table, top, np.full(n, rho), size, 0.0, out)
    return out


def test_shared_errors_hold_arrivals_that_come_early_or_late():
    """All by as much, all of the largest weight; and are not a twentieth wider."""
    p, times, rho, top = compiled(), np.array([0.5, 1.1, 3.0, 3.2, 9.0]), 0.05, 2.0
    shared = shared_of(p, times, rho, top, 10.0)
    assert shared.u[0] == shared.i[0] == 0.0 and shared.widest[0] == rho
    for e in range(1, times.size):
        since = times[e - 1] - times[:e]
        early, plain = (voltage(0.0, top, since + d) for d in (rho, 0.0))
        most_u, most_i = (abs(a - b).sum() for a, b in zip(early, plain, strict=True))
        late = voltage(0.0, top, since - rho)  # carried back where it is still to come
        most_i = max(most_i, abs(late[1] - plain[1]).sum())
        most_u = max(most_u, abs(late[0] - plain[0]).sum())
        assert most_i <= shared.i[e] <= 1.05 * most_i and most_u <= shared.u[e]
    lone = shared_of(p, [0.5, 40.0], rho, top, 10.0)
    assert lone.u[1] == pytest.approx(p.rate_mem * rho * top, rel=0.05)


def test_arrivals_whose_order_is_open_may_all_be_still_to_come():
    """Twenty of alternating sign within two radii, of which the inhibitions may come last."""
    p, rho, top, n = compiled(), 1e-3, 0.5, 20
    times = 5.0 + np.arange(n) * 1e-5
    shared = shared_of(p, times, rho, top, 2.0)
    late = n / 2 * top * voltage(0.0, 1.0, 2.0 * rho)[0]
    ends = 2.0 * rho * p.rate_mem * 2.0  # slopes of twice the size, over one radius
    assert late + ends <= shared.shift[0]
    # None is open that is farther away than two radii, and counted is what must be.
    few = shared_of(p, 5.0 + np.arange(n) * 2.5 * rho, rho, top, 2.0)
    assert few.shift[0] <= 1.07 * 2.0 * p.rate_mem * (2.0 + top) * rho
    events, _ = arrivals_of(p, [1.0, 1.0, 1.0, 4.0, 4.5, 9.0])
    assert [layer.crowded(events, s) for s in (0.0, 0.6, 3.5, 20.0)] == [3, 3, 5, 6]


def test_errors_that_no_constant_holds_for_exceed_every_budget():
    p = compiled()
    assert shared_of(p, [1.0], NEAR * 4.0 * 0.99, 1e-9, 1.0).most[0] < math.inf
    assert shared_of(p, [1.0], NEAR * 4.0 * 1.01, 1e-9, 1.0).most[0] == math.inf


def test_an_arrival_may_come_on_either_side_of_a_release():
    own = SimpleNamespace(r=np.array([1e-3, -1.0]), free_hi=np.array([3.0, 0.0]),
                          free_lo=np.zeros(2))  # fmt: skip
    for at, rho, answer in ((3.0005, 0.0, True), (2.9995, 0.0, True), (3.002, 0.0, False),
                            (3.002, 1.5e-3, True), (2.997, 1.5e-3, False)):  # fmt: skip
        assert layer.beside_release(0, at, 0.0, rho, own) == answer
    assert not layer.beside_release(1, 0.5, 0.0, 2.0, own)  # it has not fired yet


def test_a_spike_of_a_layer_starts_below_threshold_by_all_margins():
    """Where arrivals may shift the voltage, and the threshold has a low part."""
    for theta_lo, good in ((0.0, True), (-0.01, False)):
        p, u, i = compiled(t_ref=10.0)._replace(theta_lo=theta_lo), 0.895, 5.0
        s = np.linspace(0.0, 1.0, 100001)
        at = float(s[np.searchsorted(voltage(u, i, s)[0], 1.0)])
        shared = layer.Shared(np.zeros(2), np.zeros(2), np.zeros(1), np.full(1, 0.1), np.zeros(1))
        trains = layer.Trains(np.array([at]), np.zeros(1), np.zeros(1, int), np.array([0, 1]),
                              np.zeros(1))  # fmt: skip
        own = layer.Own(*(np.zeros(1) for _ in range(3)), np.zeros(1, int), np.zeros(1),
                        np.zeros(1), np.full(1, -1.0), np.zeros(1, bool))  # fmt: skip
        c = verbs.interval(p, 5.0)
        w = layer.through(p, 0, walk(u, i), c, 5.0, 0.0, 0.0, shared, own, trains)
        assert w.good == good
