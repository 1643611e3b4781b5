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
from evsim.proof import (
    crossing,
    events,
    flow,
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
    p, q, work, _, _ = silence_of(ADAPTIVE, (0.0, 2.0, 3.0), 40.0)  # its threshold sinks meanwhile
    assert not silence.ends_tell(p, q, work, 40.0, -4.0, 1e-12)


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


def test_a_wait_as_short_as_a_rounding_is_seen():
    q = SimpleNamespace(busy=False, owes=True, free_hi=1.0, free_lo=-1.0, free_off=2.0**-53)
    wait, felt = rows.waiting(q, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0)
    assert wait == 2.0**-53 and felt == pytest.approx(0.5)


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
