"""Small parts of kernels, each against what it is said to be; interpreted: see test_jit.py."""

import math
import os
from fractions import Fraction
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

import evsim
from evsim import advance, flight, gather, mail, parts, shelves, sweep, windows
from evsim.bench import dense
from evsim.models import adjoint, crossing, isolate, moments, summit, ttfs, verbs
from evsim.neuron import APART, new_flags
from evsim.proof import numbers, state

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="for interpreted kernels: see test_jit.py"
)
TYPES = {"a": 4.0, "b": 12.0}


def lif(**values):
    return evsim.LIF(**{"tau_mem": 9.0, "tau_syn": 4.0, **values}).compile(1, False)


def flow(p, d, x):
    return verbs.step(p, verbs.interval(p, d), x)[0]


# ------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("x", [0.0, 1e-3, 0.2, 0.45, 0.4999, 0.5, 0.9, 7.0])
def test_moments_are_integrals_over_a_unit(x):
    ratio = math.exp(-x)
    phi = -math.expm1(-x) / x if x else 1.0
    n_1, m_1 = moments.first_moments(x, ratio, phi)
    n_2, m_2, beta = moments.second_moments(x, ratio, n_1, m_1)
    weights = (lambda r: 1 - r, lambda r: r, lambda r: (1 - r) ** 2, lambda r: r * r,
               lambda r: r * (1 - r))  # fmt: skip
    for found, weight in zip((n_1, m_1, n_2, m_2, beta), weights, strict=True):
        true, _ = quad(lambda r, w=weight: w(r) * math.exp(-x * r), 0.0, 1.0, epsabs=1e-14)
        assert found == pytest.approx(true, rel=3e-14)


@pytest.mark.parametrize(
    ("operation", "roundings"), [("add", 3.1), ("sub", 3.1), ("mul", 5.1), ("div", 15.1)]
)
def test_pairs_keep_twice_the_digits(operation, roundings):
    """Bounds of Joldes, Muller and Popescu (2017), in units of 2^-106."""
    rng = np.random.default_rng(7)
    exact = {"add": Fraction.__add__, "sub": Fraction.__sub__, "mul": Fraction.__mul__,
             "div": Fraction.__truediv__}[operation]  # fmt: skip
    for _ in range(60):
        pairs = [numbers.split(Fraction(float(hi)) + Fraction(float(lo)) / 2**60)
                 for hi, lo in rng.normal(size=(2, 2))]  # fmt: skip
        one, two = (Fraction(hi) + Fraction(lo) for hi, lo in pairs)
        hi, lo = getattr(numbers, operation)(*pairs)
        true = exact(one, two)
        assert abs(Fraction(hi) + Fraction(lo) - true) <= Fraction(roundings) * abs(true) / 2**106
        assert hi + lo == hi


def test_marked_bytes_are_found():
    rng = np.random.default_rng(1)
    for size in (64, 128, 640):
        one, two = ((rng.random(size) < 0.03).astype(np.uint8) * 255 for _ in range(2))
        found = np.zeros(size, np.int64)
        count = sweep.flagged(one.view(np.uint64), two.view(np.uint64), found)
        assert list(found[:count]) == list(np.flatnonzero(one | two))


# ------------------------------------------------------------------------------- between threads


def two_parts(room=2):
    box = mail.new_mail(2, room)
    return box, SimpleNamespace(
        window=np.array([3, 2]), turn=np.array([1]), phase=np.array([5, 7]), late=np.array([4]),
        shelf=np.array([2]),
    )  # fmt: skip


def test_the_next_window_is_the_soonest_of_any_part():
    box, progress = two_parts()
    box.soon[:] = -99  # of the other turn, and between the boxes
    for m, soon in enumerate((9, 6)):
        box.soon[(2 + m) * APART] = soon
    box.count[:] = 1
    windows.next_window(SimpleNamespace(number=np.array([1])), box, progress)
    assert list(progress.window) == [6, 3] and list(progress.turn) == [0]
    assert progress.phase[0] == progress.late[0] == 0 and progress.shelf[0] == -1
    assert list(np.flatnonzero(box.count == 0)) == [APART]


def test_a_part_posts_into_its_own_room_only():
    box, _ = two_parts(room=2)
    box.entry[:] = -1.0
    spikes = SimpleNamespace(used=np.array([3]), hi=np.arange(3.0), lo=np.zeros(3),
                             unit=np.arange(3))  # fmt: skip
    assert not mail.post(box, 1, 0, spikes, 0)
    assert (box.entry == -1.0).all()
    assert mail.post(box, 1, 0, spikes, 1)
    first = mail.region_of(box, 1, 0)
    assert first == 4 and list(box.entry[first : first + 2, 0]) == [1.0, 2.0]
    assert (np.delete(box.entry, [first, first + 1], 0) == -1.0).all()
    assert not mail.post(box, 1, 0, spikes, 2)  # full


def test_synapses_of_a_part_come_in_one_piece_in_their_order():
    rng = np.random.default_rng(4)
    bounds, counts = np.array([0, 3, 5, 9]), np.array([6, 0, 11, 1])
    start = np.concatenate(([0], np.cumsum(counts)))
    size = start[-1]
    for delayed in (False, True):
        old = parts.Columns(rng.integers(0, 9, size), np.arange(size) + 0.5,
                            rng.random(size * delayed), np.zeros(0))  # fmt: skip
        new = parts.Columns(np.zeros(size, np.int64), np.zeros(size), np.zeros(size * delayed),
                            np.zeros(size * delayed, np.int64))  # fmt: skip
        starts = np.full((4, 4), -1)
        parts._divide(start, 0, counts.size, bounds, old, starts, new)
        for r in range(4):
            assert starts[r, 0] == start[r] and starts[r, -1] == start[r + 1]
            row = np.arange(start[r], start[r + 1])
            for m in range(3):
                mine = row[(old.target[row] >= bounds[m]) & (old.target[row] < bounds[m + 1])]
                here = slice(starts[r, m], starts[r, m + 1])
                assert list(new.weight[here]) == list(mine + 0.5)
                assert list(new.target[here]) == list(old.target[mine])
                if delayed:
                    assert list(new.delays[here]) == list(old.delays[mine])
                    assert list(new.within[here]) == list(mine - start[r])


def test_chunks_of_a_list_are_counted_and_come_back():
    ring = flight.new_flight(4)
    pool, free = ring.launches, ring.launches.free[1]
    for line, entries in ((2, 3 * flight.CHUNK), (5, flight.CHUNK + 1), (2, 1)):
        for _ in range(entries):
            flight.launch(ring, line, 0.0, 0.0, 0.0, 0, 0)
    assert [flight.chunks_of(pool, line) for line in (0, 2, 5)] == [0, 4, 2]
    assert pool.free[1] == free - 6
    flight.clear(pool, 2)
    flight.clear(pool, 0)
    assert [flight.chunks_of(pool, line) for line in (2, 5)] == [0, 2]
    assert pool.free[1] == free - 2


# ---------------------------------------------------------------------------------- one neuron


def test_the_crest_is_bounded_by_the_first_current_for_ever():
    p, x, d = lif(v_th=5.0), (0.1, 2.0), 12.0
    c = verbs.interval(p, d)
    reached, bound = adjoint.crest(p, c, x, verbs.step(p, c, x)[0])
    assert bound == pytest.approx(
        0.1 * math.exp(-d / 9) + 2.0 * -math.expm1(-d / 9) - 5.0, rel=1e-9
    )
    assert reached == max(0.1, flow(p, d, x)[0]) - 5.0


@pytest.mark.parametrize("x", [(0.1, 0.5), (-0.4, 0.7), (-0.4, -1.0), (0.2, -0.1), (0.3, 0.2)])
def test_the_earliest_spike_comes_by_the_greatest_push_from_now_on(x):
    """At least as late as with the present current for ever, and no falling voltage."""
    p, (u, i) = lif(v_th=0.6), x
    push = max(i, 0.0) - u
    bound = (0.6 - u) / push * 9.0 if push > 0.0 else math.inf
    assert verbs.earliest(p, x) == pytest.approx(bound, rel=1e-9)
    assert verbs.earliest(p, (0.6, i)) == 0.0


def test_rest_level_is_never_reached_from_too_far_below():
    p = lif(v_th=1.0, bias=1.0)
    assert p.theta == 0.0
    assert crossing.at_rest_level(p, -10.0, 0.1) == math.inf
    assert crossing.at_rest_level(p, -10.0, 0.0) == math.inf
    s = crossing.at_rest_level(p, -0.1, 1.0)
    assert flow(p, s, (-0.1, 1.0))[0] == pytest.approx(0.0, abs=1e-15)


def test_a_neuron_that_only_integrates_charges_as_its_current_decays():
    p = evsim.IF(tau_syn=3.0, input="exp", bias=0.0, v_th=1.0).compile(1, False)
    x = (0.25, 0.5)
    s, tolerance, _ = verbs.next_spike(p, x, flow(p, 1.0, x))
    assert (
        s == pytest.approx(-3.0 * math.log(1.0 - 0.75 / 1.5), rel=1e-14) and 0 < tolerance < 1e-13
    )
    assert verbs.next_spike(p, (0.25, 0.2), flow(p, 1.0, (0.25, 0.2)))[0] == math.inf


def sums():
    """Models of sums of exponentials, with the threshold above rest, at rest and below it."""
    for bias in (0.0, 1.0, 1.5):
        yield evsim.LIF(tau_mem=9.0, tau_syn=TYPES, bias=bias).compile(1, False)
        yield evsim.AlphaLIF(tau_mem=9.0, tau_syn=3.0, bias=bias).compile(1, False)


def test_the_bend_of_a_level_is_the_sign_of_its_slope():
    rng = np.random.default_rng(3)
    for p in sums():
        for k in range(len(p.rates)):
            f = isolate.level(p, k, False)
            for _ in range(8):
                x = tuple(rng.normal(0.0, 1.0, 3))
                ahead = isolate.weigh(f, flow(p, 1e-6, x)) - isolate.weigh(f, x)
                if abs(ahead) > 1e-9:
                    assert summit.bent(p, x, k) == math.copysign(1.0, ahead)


def test_a_voltage_that_comes_to_rest_from_below_is_known_to_be_still():
    """With the threshold at rest, and above: all terms negative, no change of sign."""
    for p in sums():
        if p.theta >= 0.0:
            x = (-1.0, -0.5, -0.25)
            assert isolate.still(p, x, flow(p, 2.0, x))
            assert not isolate.still(p, (-0.1, 6.0, 6.0), flow(p, 5.0, (-0.1, 6.0, 6.0)))


@pytest.mark.parametrize("tau_mem, tau_syn, u, i", [
    (0.6052777556267366, 24.376987843648333, -62.45774403308185, 1.2144469717842057),
    (199.59683819264737, 0.006594729755669245, 0.0, 30276.433217970636),
    (4.7301068540698195, 1.5686634701163373, -0.0040866139299304445, 5.226467279991755),
])  # fmt: skip
def test_a_crossing_just_below_a_peak_is_known_to_the_root_of_a_rounding(tau_mem, tau_syn, u, i):
    """Peaks at threshold up to some roundings `d` of the voltages, where steps leave their bracket:
    the voltage found is as near, and the time within sqrt(2 d/|u''|) of the peak, or so."""
    p = lif(tau_mem=tau_mem, tau_syn=tau_syn)
    s, tolerance, peak = crossing.first_crossing(p, u, i, False)
    with mpmath.workdps(60):
        m, c, y, t = (mpmath.mpf(x) for x in (tau_mem, tau_syn, i, s))
        slow, fast = mpmath.exp(-t / m), mpmath.exp(-t / c)
        off = abs(u * slow + y * c / (m - c) * (slow - fast) - 1)
    d = crossing.DOUBT * crossing.EPS * (2.0 + abs(u))
    width = math.sqrt(2.0 * d * tau_mem * tau_syn)  # the current is at threshold there: u'' too
    assert off <= d and 0.0 <= peak - s <= 2.0 * width
    assert tolerance <= 100.0 * width < 1e-3 * s


def test_only_at_the_threshold_does_a_rising_voltage_cross_at_once():
    p = evsim.LIF(tau_mem=9.0, tau_syn=TYPES, v_th=1.0, graze=">").compile(1, False)
    rising = (0.0, 8.0, 4.0)  # one below
    s, _, _ = isolate.first_zero(p, rising, rising[0])
    assert 0.1 < s < 5.0 and flow(p, s, rising)[0] == pytest.approx(1.0, abs=1e-12)
    assert isolate.first_zero(p, (1.0, 8.0, 4.0), 1.0) == (0.0, 0.0, math.inf)
    assert isolate.first_zero(p, (1.0, 0.5, -1.0), 1.0)[0] == math.inf


# -------------------------------------------------------------------- neurons of a single spike


WINDOW = {"t_start": 1.0, "t_min": 2.0, "t_max": 5.0}


def single(**values):
    return evsim.TTFS(**(WINDOW | {"v_th": 3.0} | values)).compile(1, False)


def test_the_low_half_of_the_clock_counts():
    p, low = single(), 2.0**-60
    x = (0.0, 0.0, 2.0, 0.0, 1.0, low, 0.0)
    assert ttfs.marks(p, x) == (-low, 1.0 - low, 4.0 - low)
    assert ttfs.marks(p, (0.0, 0.0, 2.0, 0.0, 1.0, 0.5, 0.0)) == (-0.5, 0.5, 3.5)


def test_a_step_integrates_either_phase_as_long_as_it_lasts():
    p = single(v_th=90.0)
    slope = p.a + 0.5
    for start, d in ((0.0, 0.5), (0.0, 1.5), (0.0, 4.0), (0.0, 9.0), (1.5, 0.25), (3.0, 1.0)):
        x = (0.25, 0.0, 0.5, 0.0, start, 0.0, 0.0)
        end = start + d
        first = max(min(end, 2.0) - max(start, 1.0), 0.0)
        second = max(min(end, 5.0) - max(start, 2.0), 0.0)
        assert flow(p, d, x)[0] == 0.25 + (slope * first + p.b * second) * p.rate


def test_a_slope_is_of_what_came_in_and_not_of_the_time():
    p = single()
    x = (0.0, 0.0, 2.0, 2.0**-60, 1.5, 0.25, 0.0)
    assert adjoint.drift(p, x)[0] == (p.a + 2.0) * p.rate


def test_spikes_that_are_exact_are_in_no_doubt():
    """And one is, whose wait is no double."""
    p = single()
    x = (0.0, 0.0, 1.0 - p.a, 0.0, 1.0, 0.0, 0.0)
    assert verbs.next_spike(p, x, x)[:2] == (3.0, 0.0)
    s, tolerance, _ = verbs.next_spike(single(b=3.0), x, x)
    assert 0.0 < tolerance < 1e-13 and s == pytest.approx(1.0 + 2.0 / 3.0, rel=1e-15)


# ---------------------------------------------------------------------------------- whole runs


def test_the_bare_loop_solves_the_layer():
    rng, n = np.random.default_rng(5), 4
    tau_mem, tau_syn = rng.uniform(8e-3, 20e-3, n), rng.uniform(2e-3, 6e-3, n)
    weights, t = rng.normal(size=(3, n)), np.sort(rng.uniform(0.0, 0.02, 6))
    rows = np.array([0, 2, 1, 0, 1, 2])
    v, i = np.zeros(n), np.zeros(n)
    dense.bare_libm(v, i, weights, rows, t, tau_mem, tau_syn)
    since = (t[-1] - t)[:, None]
    fade = np.exp(-since / tau_syn)
    kappa = tau_syn / (tau_mem - tau_syn) * (np.exp(-since / tau_mem) - fade)
    np.testing.assert_allclose(i, (weights[rows] * fade).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(v, (weights[rows] * kappa).sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("plain", [False, True])
def test_a_spike_before_is_no_neighbour_and_an_arrival_is(monkeypatch, plain):
    """Of the second spike of a neuron that a bias drives: nothing but the arrival is near it."""
    if plain:
        monkeypatch.setattr("evsim.sample.simple", lambda record, name: False)
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0, bias=2.0))
    net.connect("in", "p", [[0.01]])
    for inputs, near in (([], math.inf), ([10.0], 10.0)):
        record = evsim.simulate(net, {"in": evsim.Spikes(inputs, [0] * len(inputs))}, 18.0)
        t = record.spikes["p"].times
        assert t.size == 2
        gap = evsim.gradient(record, {"p": np.ones(2)}).conditioning["p"].gap
        expected = [abs(t[0] - near), abs(t[1] - near)]
        assert list(gap) == pytest.approx(expected, rel=1e-12)


def driven(weight, current=None):
    """A burst of spikes after each of two arrivals, perhaps with a current that steps between."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_th=np.array([1.0, 1.5])))
    net.connect("in", "p", weight, 0.25)
    inputs = {"in": evsim.Spikes([0.5, 6.0], [0, 1])}
    if current is not None:
        inputs["p"] = evsim.Current([1.5, 4.0, 7.0], current)
    return evsim.simulate(net, inputs, 12.0)


@pytest.mark.parametrize("current", [None, np.array([0.5, -0.25, 0.75])])
def test_bursts_and_currents_between_spikes_are_gone_back_through(monkeypatch, current):
    """Against differences along a direction, and either way of going back."""
    weight, change = np.array([[20.0, 24.0], [18.0, 26.0]]), np.array([[0.3, -0.7], [0.5, 0.2]])
    record = driven(weight, current)
    units = record.spikes["p"].units
    assert (np.bincount(units) >= 5).all()
    cost = np.cos(np.arange(units.size))

    def total(h):
        moved = driven(weight + h * change, current).spikes["p"]
        assert (moved.units == units).all()
        return cost @ moved.times

    difference = derivative(total, 1e-3)
    for plain in (False, True):
        if plain:
            monkeypatch.setattr("evsim.sample.simple", lambda record, name: False)
        found = evsim.gradient(record, {"p": cost}).weight["in->p"]
        assert (found * change).sum() == pytest.approx(difference, rel=1e-7)


def derivative(f, h):
    """f'(0), extrapolated twice: error of sixth order."""
    rows = [(f(s) - f(-s)) / (2 * s) for s in (h, h / 2, h / 4)]
    first, second = (4 * rows[1] - rows[0]) / 3, (4 * rows[2] - rows[1]) / 3
    return (16 * second - first) / 15


def test_roundings_of_every_part_of_a_distance_add_up():
    """A threshold that moves: its own rounding is doubt, too."""
    p = SimpleNamespace(count=2, kind=(state.THRESHOLD, -1))
    q = SimpleNamespace(theta_hi=1.0, theta_lo=0.0, theta_err=0.0)
    b = SimpleNamespace(unit=0.0, add=0.0)
    bound = np.zeros((3, 3))
    bound[state.ROUNDING] = 1e-3, 2e-3, 7e-3
    x = SimpleNamespace(hi=np.array([0.5, 0.25, 9.0]), lo=np.zeros(3), bound=bound)
    f, error = state.excess(p, b, q, x, 0.0)
    assert f == -0.75 and error == pytest.approx(3e-3, rel=1e-9)


@pytest.mark.parametrize("sizes", [[1] * 700, [511, 1, 1], [512, 1], [513, 2], [0, 0, 600], [3]])
def test_lists_that_go_together_are_as_many_as_have_room(sizes):
    start = np.concatenate([[0], np.cumsum(sizes)])
    lists, last = SimpleNamespace(start=start), len(sizes)
    for a in range(last):
        fit = [b for b in range(a + 1, last + 1) if start[b] - start[a] <= advance.TOGETHER]
        assert advance.as_many(lists, a, last) == max(fit, default=a + 1)


@pytest.mark.parametrize(("a", "b"), [(0, 203), (64, 128), (128, 203), (0, 3)])
def test_places_are_those_of_flags(a, b):
    flag = new_flags(203)
    for chance in (0.0, 0.1, 0.5, 1.0):
        flag[:203] = np.random.default_rng(5).random(203) < chance
        flag[b:] = 0
        place = np.full(203 + 8, -1)
        size = gather.places(flag.view(np.int64), place, a, b)
        assert place[:size].tolist() == (a + np.flatnonzero(flag[a:b])).tolist()


@pytest.mark.parametrize("current", [False, True])
def test_shelves_change_nothing(monkeypatch, current):
    """As if a small network were a large one; a current makes windows without shelves between
    those with, and the log of spikes becomes full in the middle of them."""
    net, rng = evsim.Network(), np.random.default_rng(3)
    net.add_population("p", 30, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=1.0, bias=1.5))
    pre, post = rng.integers(0, 30, (2, 300))
    net.connect("p", "p", rng.normal(0.0, 0.3, 300), 1.5, pre_units=pre, post_units=post)
    inputs = {"p": evsim.Current([4.0, 9.5], np.array([0.25, -0.125]))} if current else {}

    def run():
        train = evsim.simulate(net, inputs, 120.0, path="window", threads=1).spikes["p"]
        return train.times.tolist(), train.times_lo.tolist(), train.units.tolist()

    def counted(*args):
        filled.append(args[1])
        return fill_shelf(*args)

    plain, filled, fill_shelf = run(), [], shelves.fill_shelf
    monkeypatch.setattr(shelves, "fill_shelf", counted)
    for name, value in (("FAR", 0), ("SHELF_BITS", 3), ("SHELF", 8)):
        monkeypatch.setattr(shelves, name, value)
    assert len(plain[0]) > 256 and run() == plain
    assert set(filled) == {0, 1, 2, 3}


def test_windows_wait_for_arrivals_that_come_in_slices(monkeypatch):
    rng, net = np.random.default_rng(2), evsim.Network()
    net.add_input("in", 2)
    net.add_population("p", 2, evsim.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "p", np.full((2, 2), 2.0), rng.uniform(1e-3, 3e-3, (2, 2)))
    net.connect("p", "p", [[0.0, 0.5], [0.5, 0.0]], 1e-3)
    inputs = {"in": evsim.Spikes(rng.uniform(0.0, 0.1, 40), rng.integers(0, 2, 40))}

    def run():
        return evsim.simulate(net, inputs, 0.1, path="window").spikes["p"].times.tolist()

    whole = run()
    monkeypatch.setattr("evsim.arrivals.AT_ONCE", 5)
    assert run() == whole and len(whole) > 20
