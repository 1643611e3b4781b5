"""How far weights may move, against closed forms of what would change first; interpreted: see
test_jit.py."""

import math
import os

import mpmath
import numpy as np
import pytest

import evsim
from evsim import trust
from evsim.delivery import Current
from reference import passage

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="for interpreted kernels: see test_jit.py"
)
TAU = 10.0  # of the membrane, twice that of the synapse: the voltage is a parabola


def network(inputs, *populations):
    """Inputs of one spike each, and populations by name, parameters and (source, weight, delay)."""
    net = evsim.Network()
    for name in inputs:
        net.add_input(name, 1)
    for name, n, values, _ in populations:
        net.add_population(
            name, n, evsim.LIF(**{"tau_mem": TAU, "tau_syn": TAU / 2, "v_th": 1.0} | values)
        )
    for name, n, _, sources in populations:
        for source, weight, delay in sources:
            net.connect(source, name, np.broadcast_to(weight, (1, n)).astype(float), delay)
    return net


@pytest.mark.parametrize("t_ref", [0.0, 1.0])
@pytest.mark.parametrize("until", [4.0, 50.0])
def test_what_stays_silent_is_as_far_as_its_peak(t_ref, until):
    """By either way through the run; the peak of the parabola is a quarter, at half the time."""
    record = evsim.simulate(
        network({"in"}, ("p", 2, {"t_ref": t_ref}, [("in", [[3.9, -1.0]], 0.0)])),
        {"in": evsim.Spikes([0.5], [0])}, until,
    )  # fmt: skip
    y = max(0.5, math.exp(-(until - 0.5) / TAU))
    margin = evsim.gradient(record, {}).conditioning["p"].silent_margin
    assert margin == pytest.approx([1.0 - 3.9 * (y - y * y), 1.0], rel=1e-12)


@pytest.mark.parametrize("until, expected", [(3.0, 1.0), (60.0, None)])
def test_a_release_after_the_last_arrival_is_looked_at(until, expected):
    """Where the run is as long: from 0 the voltage rises by what is left of the current."""
    record = evsim.simulate(
        network({"in"}, ("p", 1, {"t_ref": 3.0}, [("in", 8.0, 0.0)])),
        {"in": evsim.Spikes([0.5], [0])}, until,
    )  # fmt: skip
    current = 8.0 * float(mpmath.exp(-2 * (first(8.0) + 3.0) / TAU))
    if expected is None:
        expected = 1.0 - current / 4.0
        assert 0.0 < expected < 0.5
    assert len(record.spikes["p"]) == 1
    found = evsim.gradient(record, {}).conditioning["p"].silent_margin
    assert found == pytest.approx([expected], rel=1e-12)


def trusted(inputs, *populations, until=100.0):
    """(radius, spike times of the last population)"""
    spikes = {name: evsim.Spikes([t], [0]) for name, t in inputs.items()}
    record = evsim.simulate(network(inputs, *populations), spikes, until)
    return evsim.gradient(record, {}).trust, record.spikes[populations[-1][0]].times


def motion(f, *weights):
    """Sum of the magnitudes of the derivatives of a time by every weight."""
    with mpmath.workdps(40):
        return sum(map(abs, passage.derivatives(f, *weights)))


def first(w):
    """Time of the first spike after an arrival at rest."""
    return passage.double(0, w, 1, TAU)


def second(w):
    """And of the next, without refractory time: the current goes on."""
    s = first(w)
    return s + passage.double(0, w * mpmath.exp(-2 * s / TAU), 1, TAU)


def behind(u, i, d):
    """State `d` after (u, i)."""
    y = mpmath.exp(-d / TAU)
    return u * y + i * (y - y * y), i * y * y


#: Short of which the other events of these runs are far apart.
GAP = 1e-3


def holds(radius, exact, looked_at=True):
    """Whether all that may change first, changes at `exact` if moved straight on.

    Motions between those that are `looked_at` may count a quarter more; and what is quadratic in
    a gap, too.
    """
    least = exact / trust.BETWEEN if looked_at else exact
    return least * (1.0 - 100.0 * GAP / TAU) <= 2.0 * radius <= exact * (1.0 + 1e-9)


@pytest.mark.parametrize("w", [8.0, 24.0])
def test_a_spike_is_lost_where_its_peak_has_sunk_to_threshold(w):
    """The voltage is linear in its weight: the loss is at w kappa = 1, whose maximum is 1/4.

    Every other threshold is far, and what comes behind the spike finds the neuron refractory.
    """
    values = {"v_th": np.array([1e4, 1.0, 1e4]), "t_ref": 60.0}
    radius, t = trusted({"in": 1.0, "late": 40.0},
                        ("p", 3, values, [("in", w, 0.0), ("late", -1.0, 0.0)]))  # fmt: skip
    assert t == pytest.approx([1.0 + float(first(w))], rel=1e-14)
    assert holds(radius, (w / 4 - 1.0) / 0.25)


@pytest.mark.parametrize("w", [8.0, 24.0])
def test_a_spike_is_lost_where_its_peak_has_sunk_though_nothing_comes_behind(w):
    values = {"v_th": np.array([1e4, 1.0, 1e4]), "t_ref": 200.0}
    radius, t = trusted({"in": 1.0}, ("p", 3, values, [("in", w, 0.0)]))
    assert t.size == 1
    assert holds(radius, (w / 4 - 1.0) / 0.25)


def test_a_release_after_the_end_bounds_nothing():
    """Even if an arrival that it may pass comes just before it."""

    def radius(lag):
        net = evsim.Network()
        net.add_input("in", 2)
        net.add_population("o", 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0))
        net.connect("in", "o", [[8.0], [0.1]])
        t = float(evsim.simulate(net, {"in": evsim.Spikes([0.0], [0])}, 5.0).spikes["o"].times[0])
        inputs = {"in": evsim.Spikes([0.0, t + lag], [0, 1])}
        record = evsim.simulate(net, inputs, t + 1.999)
        return evsim.gradient(record, {"o": np.ones(len(record.spikes["o"]))}).trust

    assert 1.0 < radius(1.9) < radius(1.99) < radius(1.998) < 1.2


def test_a_release_at_the_end_bounds_how_far_the_rest_may_rise():
    """The current left at the release, i = w e^(-2 r/tau), moves by its weight and with the time r,
    which delays the voltage's rise of i/tau as well: every term of one sign, so that magnitudes
    lose nothing at the peak. Motion may be greater before it."""
    radius, t = trusted({"in": 0.0}, ("p", 1, {"t_ref": 3.0}, [("in", 8.0, 0.0)]))
    assert t.size == 1

    def left(w):
        return w * mpmath.exp(-2 * (first(w) + 3.0) / TAU)

    with mpmath.workdps(40):
        at_peak = float(mpmath.diff(left, 8.0)) / 4
        current = float(left(8.0))
    own, direct, y = current / TAU * motion(first, 8.0), current / 8.0, np.linspace(0.0, 1.0, 4001)
    moved = own * y + direct * (y - y * y)
    assert own / 2 + direct / 4 == pytest.approx(at_peak, rel=1e-12)
    margin = 1.0 - current / 4
    assert margin / at_peak < (8.0 / 4 - 1.0) / 0.25  # which is where the spike is lost
    most = margin / at_peak
    assert margin / moved.max() / trust.BETWEEN <= 2.0 * radius <= most * (1.0 + 1e-9)


def test_a_current_counts_until_it_changes_in_how_far_a_peak_may_rise():
    """A peak above what the current holds, which changes long before it, and behind another
    arrival; once more after the last change of all. In one part and in several."""
    w, level, later = 1.2, 0.5, 0.2
    for gap, current in ((40.0, level), (400.0, later)):
        net = network({"in", "late"}, ("p", 1, {}, [("in", w, 0.0), ("late", 0.0, 0.0)]))
        at = 60.0 if current == level else 240.0
        record = evsim.simulate(
            net,
            {"in": evsim.Spikes([at], [0]), "late": evsim.Spikes([at + gap], [0]),
             "p": Current([0.0, 120.0], [level, later])},
            700.0,
        )  # fmt: skip
        left = -level * math.exp(-at / TAU) if current == level else (level - later) * math.exp(-12)
        y = np.linspace(0.0, 1.0, 100001)
        v = current + left * y + w * (y - y * y)
        margin = 1.0 - v.max()
        assert not len(record.spikes["p"])
        found = [evsim.gradient(record, {}, room=room).trust for room in (1, 2, 100)]
        assert holds(found[0], margin / 0.25) and found == [found[0]] * 3


def test_a_neighbour_behind_a_spike_bounds_how_far_that_may_move():
    t = float(first(8.0))
    weights = [("in", [[8.0, 0.0]], 0.0), ("late", 0.0, 0.0)]
    radius, _ = trusted({"in": 0.0, "late": t + GAP}, ("p", 2, {}, weights))
    assert holds(radius, GAP / motion(first, 8.0))


def with_arrival(before, d):
    """Time from a first arrival to the spike that a second one, `d` later, has moved."""

    def crossing(w, v):
        u, i = behind(before, w, d)
        return d + passage.double(u, i + v, 1, TAU)

    return crossing


def test_a_neighbour_before_a_spike_bounds_it_and_moves_it_too():
    at = float(first(8.0)) - GAP
    crossing = with_arrival(0, at)
    with mpmath.workdps(40):
        t = float(crossing(8.0, 0.5))
    weights = [("in", 8.0, 0.0), ("near", 0.5, 0.0)]
    radius, found = trusted({"in": 0.0, "near": at}, ("p", 1, {"t_ref": 50.0}, weights))
    assert found == pytest.approx([t], rel=1e-14)
    assert holds(radius, (t - at) / motion(crossing, 8.0, 0.5))


def test_what_has_moved_before_a_spike_goes_on_behind_it():
    t = float(second(24.0))
    weights = [("in", [[0.0, 24.0]], 0.0), ("late", 0.0, 0.0)]
    radius, times = trusted({"in": 0.0, "late": t + GAP}, ("p", 2, {}, weights))
    assert times[1] == pytest.approx(t, rel=1e-14)
    assert holds(radius, GAP / motion(second, 24.0))


@pytest.mark.parametrize("offset", [GAP, -GAP])
@pytest.mark.parametrize("moves", [False, True])
def test_a_release_and_an_arrival_keep_their_order(offset, moves):
    """The arrival of a spike that moves, or not."""
    near, shift = float(first(8.0)) + 12.0 + offset, 0.0
    weights = [("in", 8.0, 0.0), ("later", 9.0, 0.0)]
    if moves:
        shift = motion(first, 11.0)
        weights.append(("a", 0.25, near - 0.5 - float(first(11.0))))
    else:
        weights.append(("other", 0.25, near - 0.5))
    radius, t = trusted({"in": 0.0, "other": 0.5, "later": 20.0},
                        ("a", 1, {"t_ref": 80.0}, [("other", 11.0, 0.0)]),
                        ("b", 1, {"t_ref": 12.0}, weights))  # fmt: skip
    assert t.size == 2
    assert holds(radius, GAP / (motion(first, 8.0) + shift), looked_at=False)


@pytest.mark.parametrize("offset", [GAP, -GAP])
def test_a_spike_and_an_arrival_that_moves_faster_keep_their_order(offset):
    near = float(first(8.0)) + offset
    weights = [("in", 8.0, 0.0), ("a", 0.0, 6.0 + near - float(first(4.2)))]
    radius, t = trusted({"other": 0.0, "in": 6.0},
                        ("a", 1, {"t_ref": 80.0}, [("other", 4.2, 0.0)]),
                        ("b", 1, {"t_ref": 80.0}, weights))  # fmt: skip
    assert t == pytest.approx([6.0 + float(first(8.0))], rel=1e-14)
    own = motion(first, 8.0) if offset > 0.0 else motion(with_arrival(0, near), 8.0, 0.0)
    assert holds(radius, GAP / (own + motion(first, 4.2)), looked_at=False)
