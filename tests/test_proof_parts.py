"""Small parts of the proofs' kernels, each against what it is to bound; interpreted: see
test_jit.py."""

import itertools
import math
import os
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import expm

import evsim
from evsim.models import verbs
from evsim.proof import (
    crossing,
    events,
    flow,
    layer,
    prove,
    rows,
    silence,
    state,
)
from evsim.proof.bounds import DOUBLE, NEAR, SINGLE, UNIT
from evsim.proof.flow import DEVIATION, REST, ROUNDING
from evsim.proof.layout import ARRIVAL, SOURCE, STATE, WORK, records
from evsim.proof.problem import EDGE, neurons_of

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="for interpreted kernels: see test_jit.py"
)
LIF = evsim.LIF(tau_mem=10.0, tau_syn=4.0)
ADAPTIVE = evsim.AdaptiveLIF(tau_mem=10.0, tau_syn=4.0, tau_th=20.0, jump_th=0.3, reset="subtract")
ALPHA = evsim.AlphaLIF(tau_mem=10.0, tau_syn=3.0)


def neuron(model):
    """What the proofs see of one neuron, and a state of zeros."""
    p, q = neurons_of(model.linear(), model, 1)[0], records(STATE, 1)[0]
    for name in ("theta_hi", "theta_lo", "theta_err", "reset_hi", "reset_lo", "reset_err"):
        q[name] = p[name]
    q.last = q.origin = -1
    return p, q


def voltage(u, i, s, tau_mem=10.0, tau_syn=4.0):
    """Of a leaky neuron behind an exponential synapse, and the current."""
    em, es = np.exp(-s / tau_mem), np.exp(-s / tau_syn)
    return u * em + i * tau_syn / (tau_mem - tau_syn) * (em - es), i * es


# -------------------------------------------------------------------------------------- layers


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


# ------------------------------------------------------------------- states and their margins


def test_every_error_counts_in_the_distance_from_threshold():
    """Of the membrane, of the threshold's own parts, and of its level."""
    for model, last in ((LIF, 1), (ADAPTIVE, 2)):
        p, q = neuron(model)
        for b, like in ((SINGLE, 0.0), (DOUBLE, (0.0, 0.0))):
            q.x.hi[: last + 1], q.x.bound[:] = 0.4, 0.0
            _, plain = state.excess(p, b, q, q.x, like)
            assert 0.0 < plain < 40.0 * b.unit
            for c, counts in ((0, True), (1, False), (2, last == 2)):
                q.x.bound[:] = 0.0
                q.x.bound[ROUNDING, c] = 1e-3
                _, error = state.excess(p, b, q, q.x, like)
                assert (error >= plain + 1e-3) == counts and error <= plain + 1.001e-3
            q.x.bound[:], q.theta_err = 0.0, 1e-3
            assert state.excess(p, b, q, q.x, like)[1] >= 1e-3
            q.theta_err = p.theta_err


def test_every_error_counts_in_the_slope():
    """Rounding and deviation of every variable, in the slope, its bound, and the curvature's."""
    for model, width in ((LIF, 1), (ADAPTIVE, 2), (ALPHA, 2)):
        p, q = neuron(model)
        q.x.hi[: width + 1] = 1.0
        plain = state.shape(p, q.x, 0.0)
        for c in range(width + 1):
            for kind in (ROUNDING, DEVIATION):
                q.x.bound[:] = 0.0
                q.x.bound[kind, c] = 0.01
                wide = state.shape(p, q.x, 0.0)
                moved = []
                for side in (-0.01, 0.01):
                    q.x.hi[c] += side
                    moved.append(state.shape(p, q.x, 0.0).slope)
                    q.x.hi[c] -= side
                off = max(abs(s - plain.slope) for s in moved)
                assert wide.loose >= plain.loose + off * 0.999999
                assert wide.loose <= plain.loose + off * 1.000001 + 0.01 * 50.0 * UNIT
                assert wide.bend > plain.bend and wide.steep > plain.steep


@pytest.mark.parametrize("model", [LIF, ADAPTIVE, ALPHA])
def test_slope_and_curvature_are_derivatives(model):
    """Of F, by flows over small steps back and forth."""
    p, q = neuron(model)
    work, rng = records(WORK, 1)[0], np.random.default_rng(2)
    for _ in range(10):
        q.x.hi[:3] = rng.normal(size=3)
        q.x.hi[p.count + 1 :] = 0.0
        now, h, values = state.shape(p, q.x, 0.0), 1e-3, []
        for k in (0, 1, 2):
            flow.flow(p, SINGLE, q.x, False, k * h, 0.0, work, 0.0)
            values.append(state.excess(p, SINGLE, q, work.x, 0.0)[0])
        slope = (-3.0 * values[0] + 4.0 * values[1] - values[2]) / 2.0 / h
        assert now.slope == pytest.approx(slope, abs=1e-6)
        bend = (values[0] - 2.0 * values[1] + values[2]) / h / h
        assert now.curvature == pytest.approx(bend, abs=2e-3)


def test_levels_move_with_the_current_exactly_and_their_errors_add_up():
    """Threshold and reset of a leaky neuron, relative to the rest that a current makes."""
    p, q = neuron(evsim.LIF(tau_mem=10.0, tau_syn=4.0, v_th=0.1, v_leak=0.3, v_reset=-0.7))
    q.drive, q.pulse_hi, q.pulse_lo, q.pulse_err = 0.7, 1e3, 3e-14, 1e-20
    state.shift_levels(p, q)
    exact = Fraction
    moved = exact(0.7) + exact(1e3) + exact(3e-14)
    for name, error in (("theta", q.theta_err), ("reset", q.reset_err)):
        level = exact(float(p[f"{name}_hi"])) + exact(float(p[f"{name}_lo"])) - moved
        found = exact(float(q[f"{name}_hi"])) + exact(float(q[f"{name}_lo"]))
        assert abs(found - level) + exact(1e-20) <= error < 1e-20 + 1e3 * 16 * DOUBLE.unit


def test_what_is_not_linear_in_a_late_release_is_no_more_than_half_the_curvature():
    now = state.Shape(0.0, 0.0, 0.0, 3.0, 0.5, 0.0)
    assert state.late(now, 0.1) == pytest.approx(0.5 * 3.0 * 0.01 + 0.5 * 0.1, rel=0.02)


# ------------------------------------------------------------------------------------- silence


def silence_of(model, values, s, off=0.0):
    """`quiet` of such a state over `s`, with deviations; where it ends and what F is most."""
    p, q = neuron(model)
    work, probe = records(WORK, 2)
    q.x.hi[: len(values)] = values
    q.x.bound[DEVIATION, : len(values)] = off
    flow.flow(p, SINGLE, q.x, False, s, 0.0, work, 0.0)
    return p, q, work, probe, silence.quiet(p, SINGLE, q, s, 0.0, 0.0, work, probe, 0.0)


@pytest.fixture
def few_steps(monkeypatch):
    """What is unclear after some halvings counts as such."""
    monkeypatch.setattr(silence, "MOST_STEPS", 30)


@pytest.mark.parametrize("crowd, answer", [(0.0, silence.SILENT), (1e-3, silence.UNCLEAR)])
def test_what_an_open_order_may_bring_counts_at_a_peak_between_two_ends(crowd, answer, few_steps):
    """A peak 5e-4 below threshold, far above both ends of the gap."""
    p, q = neuron(LIF)
    work, probe = records(WORK, 2)
    peak = (4.0 / 10.0) ** (10.0 / 6.0)  # of the voltage that a unit of current makes
    q.x.hi[1], q.crowd = (1.0 - 5e-4) / peak, crowd
    flow.flow(p, SINGLE, q.x, False, 40.0, 0.0, work, 0.0)
    assert work.x.hi[0] < 0.1
    assert silence.quiet(p, SINGLE, q, 40.0, 0.0, 0.0, work, probe, 0.0).answer == answer


@pytest.mark.parametrize("rounding, deviation, answer", [
    (0.0, 0.02, silence.SILENT), (0.0, 0.06, silence.UNCLEAR), (0.06, 0.0, silence.UNCLEAR),
    (0.03, 0.03, silence.UNCLEAR),
])  # fmt: skip
def test_errors_of_currents_count_for_as_long_as_they_act(rounding, deviation, answer, few_steps):
    """A neuron without a leak integrates what its current is off by: over ten time units ten
    times as much. It stays below threshold unless that counts."""
    p, q = neuron(evsim.IF(input="ramp", v_th=1.0))
    work, probe = records(WORK, 2)
    q.x.hi[0] = 0.5
    q.x.bound[ROUNDING, 1], q.x.bound[DEVIATION, 1] = rounding, deviation
    flow.flow(p, SINGLE, q.x, False, 10.0, 0.0, work, 0.0)
    assert silence.quiet(p, SINGLE, q, 10.0, 0.0, 0.0, work, probe, 0.0).answer == answer


def test_what_two_ends_tell_needs_no_halving():
    """Currents too weak, a bound that only sinks, and one that holds the membrane below."""
    for values, s in (((0.2, 0.5), 30.0), ((0.9, -3.0), 1.0), ((-0.5, 3.0), 0.3)):
        p, q, work, _, found = silence_of(LIF, values, s)
        assert silence.ends_tell(p, q, work, s, values[0] - 1.0, 1e-12)
        assert found.answer == silence.SILENT
    p, q, work, _, _ = silence_of(LIF, (0.2, 3.0), 8.0)
    assert not silence.ends_tell(p, q, work, 8.0, -0.8, 1e-12)


# ----------------------------------------------------------------------------------- crossings


def crossing_of(model, values, symbols, **bounds):
    """What is confirmed at a state `values` with such bounds of its variables."""
    p, _ = neuron(model)
    work = records(WORK, 1)[0]
    work.x.hi[: len(values)] = values
    for (kind, c), value in bounds.get("bounds", {}).items():
        work.x.bound[kind, c] = value
    slope = state.shape(p, work.x, 0.0).slope
    c = crossing.Candidate(True, 1.0, 0.0, 1.0, 0.0, bounds.get("residual", 0.0), slope, 0.0)
    return slope, crossing.confirm(p, c, work, symbols)


@pytest.mark.parametrize("symbols", [True, False])
@pytest.mark.parametrize("model", [LIF, ADAPTIVE])
def test_every_part_of_the_rest_counts_at_a_crossing(model, symbols):
    """Of the membrane, and of a threshold that moves; and no more than the lemma asks for."""
    values = (1.2, 4.0, 0.2)[: 2 + (model is ADAPTIVE)]
    for c in (0, 2)[: 1 + (model is ADAPTIVE)]:
        bounds = {(DEVIATION, c): 1e-5, (REST, c): 1e-5}
        slope, found = crossing_of(model, values, symbols, bounds=bounds, residual=1e-6)
        assert found.found
        whole = 1.1e-5 / slope
        bend = state.shape(neuron(model)[0], records_of(values), 0.0).bend
        eta = 1e-5 / 4.0 + bend * 0.5 * whole
        assert whole <= found.eps <= whole + 1.01 * whole * eta / slope
        assert found.eps >= whole + 0.99 * whole * bend * 0.5 * whole / slope
    half = {(DEVIATION, 0): 1e-5}
    _, found = crossing_of(model, values, symbols, bounds=half)
    assert (found.eps < 1e-7) == symbols  # rows carry it, or nothing does


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_what_a_crossing_leaves_over_is_what_the_worst_slope_makes_of_it(sign):
    """One that goes away from v on either side, by all that is allowed: F + D is what it covers."""
    rng = np.random.default_rng(18)
    for _ in range(300):
        v, whole = 10.0 ** rng.uniform(-3, 3), 10.0 ** rng.uniform(-9, 0)
        residual, own = whole * rng.uniform(0.0, 1.0, 2)
        r0 = 1.5 * (residual + whole) / v
        part = rng.uniform(0.0, 1.0)
        loose, bend = 0.25 * v * part, 0.25 * v * (1.0 - part) / r0
        # v d + sign (a d + b d^2/2) = F + D, by bisection
        low, high = 0.0, r0
        for _ in range(200):
            d = 0.5 * (low + high)
            covers = v * d + sign * (loose * d + 0.5 * bend * d * d)
            low, high = (d, high) if covers < residual + whole else (low, d)
        bent, straight = abs(d - (residual + whole) / v), (residual + own) / v
        found = crossing.left_over(residual, whole, own, v, 0.25 * v, loose, bend)
        most = ((4 / 3) if sign < 0.0 else (5 / 3)) ** 2
        slack = 1e-9 * (straight + d)
        assert straight + bent <= found + slack and found <= straight + most * bent + slack


def records_of(values):
    """A state of these values."""
    x = records(STATE, 1)[0].x
    x.hi[: len(values)] = values
    return x


def test_a_crossing_is_not_confirmed_where_the_lemma_does_not_hold():
    flat = {(DEVIATION, 0): 0.05}
    assert not crossing_of(LIF, (1.0, 1.1), True, bounds=flat)[1].found
    assert not crossing_of(LIF, (1.0, 0.5), True)[1].found  # it falls
    wide = {(DEVIATION, 0): 0.5}
    assert not crossing_of(LIF, (1.0, 30.0), True, bounds=wide)[1].found


def test_newton_finds_a_crossing_and_says_where_there_is_none():
    """Upwards, from claims on either side, and not the one downwards behind the peak."""
    p, q = neuron(LIF)
    work = records(WORK, 1)[0]
    q.x.hi[:2] = 0.0, 6.0
    s = np.linspace(0.0, 20.0, 2000001)
    v = voltage(0.0, 6.0, s)[0]
    up = float(s[np.argmax(v >= 1.0)])
    for claim in (up - 0.1, up, up + 0.1, up + 0.5):
        c = crossing.candidate(p, SINGLE, q, claim, 0.0, work, 0.0)
        assert c.found and abs(c.hi - up) < 2e-5 and c.slope > 0.0 and c.residual < 1e-14
        assert c.span == c.hi
    q.x.hi[1] = 2.0  # its peak is far below
    assert not crossing.candidate(p, SINGLE, q, up, 0.0, work, 0.0).found
    q.x.hi[:2] = 3.0, 0.0  # it only falls
    assert not crossing.candidate(p, SINGLE, q, 5.0, 0.0, work, 0.0).found
    q.hi = 4.0
    assert not crossing.candidate(p, SINGLE, q, 3.0, 0.0, work, 0.0).found


def test_a_crossing_is_not_looked_for_on_the_other_side_of_a_peak():
    """Where the voltage has sunk below threshold again, no zero of the parabola lies ahead."""
    p, q = neuron(LIF)
    q.x.hi[:2] = 0.0, 4.62  # there is a crossing from 4.605 on
    s = np.linspace(0.0, 20.0, 20001)
    above = s[voltage(0.0, 4.62, s)[0] >= 1.0]
    assert 5.0 < above[0] < above[-1] < 7.0
    for d in (0.01, 0.05, 0.1):
        for claim, found in ((above[0] - d, True), (above[-1] + d, False)):
            c = crossing.candidate(p, SINGLE, q, float(claim), 0.0, records(WORK, 1)[0], 0.0)
            assert c.found == found


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_candidate_is_as_far_off_as_its_residual_says_whatever_steps_it_had(turns, monkeypatch):
    monkeypatch.setattr(crossing, "MOST_TURNS", turns)
    p, q = neuron(LIF)
    q.x.hi[:2] = 0.0, 6.0
    c = crossing.candidate(p, SINGLE, q, 3.0, 0.0, records(WORK, 1)[0], 0.0)
    f = abs(voltage(0.0, 6.0, c.hi)[0] - 1.0)
    assert c.found and f <= c.residual <= f + 1e-13
    assert f < (math.inf, 0.05, 1e-6)[turns - 1] and (c.hi == 3.0) == (turns == 1)


# ------------------------------------------------------------------------------------- rows


def test_rows_that_wait_are_added_whole_however_many_and_however_long():
    rng = np.random.default_rng(19)
    for order in itertools.permutations(range(4), 3):
        for count in range(4):
            table = rows.new_rows(1, 1, 9)
            for k, length in enumerate((3, 8, 5, 1)):
                table.c[k, :length], table.length[k] = rng.normal(size=length), length
            table.waiting[:], table.factor[:] = (count, 1, *order), rng.normal(size=(3, 2))
            table.z[0, 1], row = rng.normal(size=9), rng.normal(size=9)
            added = table.factor[:count].T @ table.c[list(order[:count])]
            whole = np.array([table.z[0, 1], row]) + added
            rows.add_waiting(table, table.z[0], row)
            assert np.allclose([table.z[0, 1], row], whole, rtol=1e-14, atol=1e-14)
            assert table.waiting[0] == 0


# ---------------------------------------------------------------------------- after a spike


@pytest.mark.parametrize("late, counts", [
    (5e-4, True), (1.9e-3, True), (-1.9e-3, True), (2.1e-3, False), (-2.1e-3, False),
])  # fmt: skip
def test_an_arrival_counts_on_either_side_of_a_release_within_both_radii(late, counts):
    t = task(LIF, 1e-3)
    q, event = t.st[0], SimpleNamespace(port=0, source=1)
    q.last, q.free_hi, q.free_off = 0, 1.0, 2.0
    code = events.beside_release(t, 0, event, 3.0, 1e-3, 3.0, 0.0, late)
    bound = q.x.bound
    assert code == events.DONE and bound[DEVIATION, 0] == bound[REST, 0]
    assert (bound[REST, 0] >= 3.0 * 2e-3 / 10.0) == counts == (bound[REST, 0] > 0.0)


def task(model, r):
    """A task of one neuron that has fired at an uncertain time, without symbols."""
    p, q = neuron(model)
    source = SimpleNamespace(radius=r)
    return SimpleNamespace(net=[p], st=[q], symbols=False, b=SINGLE, src=[source],
                           rows=SimpleNamespace(symbols=[0]))  # fmt: skip


def test_what_a_spike_adds_at_an_uncertain_time_keeps_its_second_order():
    """A jump that comes up to `r` early or late, seen at the centre; half is not enough."""
    r, own, jump = NEAR * 4.0, 1.0 / 20.0, 0.3
    t = task(ADAPTIVE, r)
    prove.own_jump(t, 0, 0, 2, r, 0.0)
    bound = t.st[0].x.bound
    for d in (-r, r):
        seen = jump * math.exp(own * d)
        assert abs(seen - jump - jump * own * d) <= bound[REST, 2]
        assert abs(seen - jump) <= bound[DEVIATION, 2]
    assert 0.45 * bound[REST, 2] < jump * (math.exp(own * r) - 1.0 - own * r)
    assert t.st[0].x.hi[2] == jump and bound[REST, 2] > 0.0
    # And of a spike that is known to some roundings: the row's coefficient has them.
    t = task(ADAPTIVE, 1e-12)
    prove.own_jump(t, 0, 0, 2, 1e-12, 0.0)
    assert t.st[0].x.bound[REST, 2] >= 3.0 * UNIT * jump * own * 1e-12


def test_a_membrane_left_at_a_moving_threshold_keeps_its_second_order():
    """As high as the threshold is at the true time of the spike, which deviates itself."""
    r, own, level, off = NEAR * 4.0, 1.0 / 20.0, 0.8, 0.05
    t = task(ADAPTIVE, r)
    q = t.st[0]
    q.x.hi[2], q.x.bound[DEVIATION, 2], q.x.bound[REST, 2] = level, off, 0.0
    prove.stay(t, 0, 0, r, 0.0)
    assert q.x.hi[0] == level
    rest, worst = q.x.bound[REST, 0], 0.0
    for d in (-r, r):
        for more in (-off, 0.0, off):
            left = (level + more) * math.exp(-own * d)
            assert abs(left - level) <= q.x.bound[DEVIATION, 0]
            unlinear = abs(left - (level + more - own * d * level))
            assert unlinear <= rest
            worst = max(worst, unlinear / rest)
    assert worst > 0.95


# ------------------------------------------------------------------------------------- rows


#: By model the matrix A of x' = A x, for the membrane and the components behind it.
EQUATIONS = {
    LIF: [[-0.1, 0.1], [0.0, -0.25]],
    ADAPTIVE: [[-0.1, 0.1, 0.0], [0.0, -0.25, 0.0], [0.0, 0.0, -0.05]],
    ALPHA: [[-0.1, 0.1, 0.0], [0.0, -1 / 3, 1.0], [0.0, 0.0, -1 / 3]],
}


@pytest.mark.parametrize("span", [0.01, 0.7, 30.0])
@pytest.mark.parametrize("model", EQUATIONS)
def test_folding_brings_rows_to_a_time_as_the_equations_bring_the_state(model, span):
    """One symbol for each variable: the exponential of the matrix. And the radii hold the rows."""
    whole = expm(np.array(EQUATIONS[model]) * span)
    p, q = neuron(model)
    size = len(whole)
    table, row = rows.new_rows(1, 2, size), np.zeros(size)
    table.z[0, :size], table.symbols[0], table.e[:] = np.eye(size), size, 1.0
    q.z_length, q.held, q.z_radius[:size] = size, 1, 1.0
    q.ref_hi, q.ref_off = 5.0, 0.5
    lost = rows.fold_old(p, q, 0, table, 5.5 + span, 0.0, row)
    assert row == pytest.approx(whole[0], rel=1e-12, abs=1e-15)
    assert table.z[0, 1:size].ravel() == pytest.approx(whole[1:].ravel(), rel=1e-12, abs=1e-15)
    sums = whole.sum(axis=1)
    assert sums[0] * (1.0 - 1e-12) <= lost <= sums[0] * (1.0 + 1e-11)
    assert (q.z_radius[1:size] >= sums[1:] * (1.0 - 1e-12)).all()


def test_a_jump_at_the_true_time_of_a_spike_is_a_multiple_of_its_row():
    p, q = neuron(ADAPTIVE)
    table = rows.new_rows(1, 2, 4)
    table.c[2, :3], table.length[2] = (0.5, -2.0, 1.0), 3
    table.z[0, 2, :3] = 0.25, 0.5, 7.0  # the last of which nobody has written yet
    q.z_radius[2] = 1.0
    rows.jump_row(p, q, 0, 2, 2, table, 1e-3)
    factor = 0.3 / 20.0
    assert table.z[0, 2, :3].tolist() == pytest.approx(
        [0.25 + 0.5 * factor, 0.5 - 2 * factor, factor]
    )
    assert q.z_radius[2] == pytest.approx(1.0 + factor * 1e-3)


def test_the_error_of_a_row_holds_each_of_its_roundings(monkeypatch):
    """What no row carries, what folding loses, and the quotient by the slope, added up."""
    p, q = neuron(LIF)
    src, found = records(SOURCE, 2), {}
    for name, constants in (("quotient", (0.0, 0.0)), ("all", (rows.COEFFICIENT, rows.TERM))):
        table = rows.new_rows(1, 1, 4)
        table.c[0, 0], table.e[0], table.length[0] = 1.0, 1e-3, 1
        table.symbols[0] = table.rows[0] = 1
        table.z[0, 1, 0], q.z_radius[1], q.z_length = 0.5, 0.5e-3, 1
        q.ref_hi, q.first, q.next, bound, row = 0.0, 0, 0, np.zeros((3, 9)), np.zeros(4)
        monkeypatch.setattr(rows, "COEFFICIENT", constants[0])
        monkeypatch.setattr(rows, "TERM", constants[1])
        r = rows.enter_row(p, q, 0, 1, src, None, table, 2.0, 0.0, bound, row, 0.25, 1e-9)
        own = abs(table.c[1, 0]) * 1e-3
        found[name] = table.e[1] - 1e-9
        assert table.c[1, 1] == 1.0 and r >= own + table.e[1]
        assert table.c[1, 0] == pytest.approx(-0.5 * voltage(0.0, 1.0, 2.0)[0] / 0.25)
        assert table.e[1] >= 1e-9 + UNIT * own
    assert found["all"] > 100.0 * found["quotient"]


@pytest.mark.parametrize("model", [LIF, ADAPTIVE])
def test_what_folding_may_lose_is_of_the_size_of_all_that_it_adds(model):
    """Of a pulse's edge its two parts, which cancel in the row."""
    p, q = neuron(model)
    table, source, edge = rows.new_rows(1, 2, 4), records(SOURCE, 1), records(ARRIVAL, 1)
    table.c[0, 0], table.length[0], r = 1.0, 1, 1e-3
    source.hi, source.radius, source.slot = 1.0, r, 0
    edge.weight, edge.port = 2.0, EDGE
    row = np.zeros(4)
    size = rows.fold_arrival(p, q, 0, source, edge, table, 0, 1.5, 0.0, row)
    rows.add_waiting(table, table.z[0], row)
    em, (felt, _) = math.exp(-0.05), voltage(0.0, 1.0, 0.5)
    direct = 2.0 * p.rate_hi * em  # of the level of rest, and of the current that makes up for it
    assert row[0] == pytest.approx(-2.0 * felt * p.decay_hi[0], rel=1e-9)
    assert size == pytest.approx((2.0 * direct + abs(row[0])) * r, rel=1e-9)


def test_an_arrival_may_be_beside_a_release_by_rounding_alone():
    p, q = neuron(LIF)
    q.last, q.free_hi = 0, 1001.0
    event = SimpleNamespace(source=0, port=0)
    t = SimpleNamespace(net=[p], st=[q], src=[SimpleNamespace(radius=0.0)])
    for lo, beside in ((1e-31, True), (1e-27, False)):
        q.x.bound[:] = 0.0
        assert events.beside_release(t, 0, event, 3.0, 0.0, 1e3, lo, 1.0) == events.DONE
        assert (q.x.bound[DEVIATION, 0] >= 3.0 * p.gain_hi * lo) == beside
        assert q.x.bound[REST, 0] == q.x.bound[DEVIATION, 0]
