"""Spike trains: sorted, checked, and on a grid without losing a step or a digit."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import evsim
from evsim.delivery import later
from evsim.spikes import Spikes, as_step, grid_times

STEPS = [0.1, 1e-4, Fraction(1, 3), 0.3, 1.0, 2.0**-10, 1e-3]


def test_spikes_are_sorted_stably_and_read_only():
    train = Spikes([3.0, 1.0, 3.0, 2.0], [0, 5, 1, 2])
    assert train.times.tolist() == [1.0, 2.0, 3.0, 3.0]
    assert train.units.tolist() == [5, 2, 0, 1]
    assert train.times.dtype == np.float64 and train.units.dtype == np.int64
    assert len(train) == 4 and repr(train) == "Spikes(4 spikes of 4 units)"
    for array in (train.times, train.times_lo, train.units):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_what_was_given_is_copied():
    times, units = np.array([1.0, 2.0]), np.array([0, 1])
    train = Spikes(times, units)
    times[0], units[0] = 9.0, 9
    assert train.times[0] == 1.0 and train.units[0] == 0


def test_the_low_part_orders_equal_times():
    train = Spikes([1.0, 1.0, 1.0], [0, 1, 2], times_lo=[1e-17, -1e-17, 0.0])
    assert train.units.tolist() == [1, 2, 0]


def test_pairs_are_normalised():
    """Pairs compare as their sums do, however they were cut."""
    train = Spikes([1.0, 1.25], [0, 1], times_lo=[0.5, 0.0])
    assert train.times.tolist() == [1.25, 1.5] and train.units.tolist() == [1, 0]
    assert train.times_lo.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"times_lo\[1\] makes the time negative"):
        Spikes([0.0, 0.0], [0, 0], times_lo=[0.0, -1e-9])


@pytest.mark.parametrize(
    "error, words, times, units, lo",
    [
        (
            ValueError,
            r"times\[1\] must be finite and non-negative; got -1",
            [0, -1.0],
            [0, 0],
            None,
        ),
        (ValueError, r"times\[0\] .* got nan", [np.nan], [0], None),
        (ValueError, r"times\[2\] .* got inf", [0, 1, np.inf], [0, 0, 0], None),
        (ValueError, r"units\[1\] must be .*non-negative; got -3", [0, 1], [0, -3], None),
        (ValueError, r"times_lo\[0\] must be finite; got nan", [1.0], [0], [np.nan]),
        (ValueError, r"shapes \(2,\), \(1,\)", [0, 1], [0], None),
        (ValueError, r"shapes \(1,\), \(1,\), \(2,\)", [0], [0], [0.0, 0.0]),
        (ValueError, r"one-dimensional", [[0.0]], [[0]], None),
        (TypeError, r"units must be integers; got dtype float64", [0.0], [0.5], None),
    ],
)
def test_bad_spikes_are_refused(error, words, times, units, lo):
    with pytest.raises(error, match=words):
        Spikes(times, units, times_lo=lo)


@pytest.mark.parametrize("layout", ["TN", "NT", "TBN", "BTN"])
def test_every_layout_reads_the_same_counts(layout):
    rng = np.random.default_rng(3)
    counts = rng.poisson(0.4, (2, 7, 5))  # B, T, N
    axes = {"B": 0, "T": 1, "N": 2}
    x = counts.transpose([axes[a] for a in layout]) if "B" in layout else None
    if x is None:
        x = counts[0].transpose([{"T": 0, "N": 1}[a] for a in layout])
    trains = Spikes.from_raster(x, 0.1, layout=layout)
    for sample, train in enumerate(trains if "B" in layout else [trains]):
        assert len(train) == counts[sample].sum() and counts.max() > 1
        assert (train.to_raster(5, 7, 0.1) == counts[sample]).all()
        order = np.lexsort((train.units, train.steps))
        assert (np.diff(order) > 0).all()  # by step, then by unit


@pytest.mark.parametrize(
    "x, layout, words",
    [
        (np.zeros((2, 2)), "XY", "layout must be one of TN, NT, TBN, BTN; got 'XY'"),
        (np.zeros((2, 2)), "TBN", r"layout 'TBN' wants 3 axes; x has shape \(2, 2\)"),
        ([[0, 1], [0.5, 0]], "TN", r"at \(1, 0\): 0.5"),
        ([[0, -1]], "TN", r"at \(0, 1\): -1"),
    ],
)
def test_bad_rasters_are_refused(x, layout, words):
    with pytest.raises(ValueError, match=words):
        Spikes.from_raster(x, 0.1, layout=layout)
    with pytest.raises(TypeError):
        Spikes.from_raster(x, 0.1)


@pytest.mark.parametrize("dt", STEPS, ids=str)
def test_no_step_is_lost_on_the_way_there_and_back(dt):
    """Flooring `k * dt / dt` loses 67 of 1000 steps of 0.1."""
    x = np.zeros((1000, 1), int)
    x[:, 0] = 1
    train = Spikes.from_raster(x, dt, layout="TN")
    assert (train.to_raster(1, 1000, dt) == x).all()
    # The same through plain numbers, which have forgotten their steps.
    plain = Spikes(train.times, train.units)
    assert (plain.to_raster(1, 1000, dt) == x).all()
    pairs = Spikes(train.times, train.units, times_lo=train.times_lo)
    doubles = Spikes(np.arange(1000) * float(dt), np.zeros(1000, int))
    assert (doubles.to_raster(1, 1000, dt) == x).all()
    if as_step(dt).denominator & (as_step(dt).denominator - 1) == 0 or dt != Fraction(1, 3):
        assert pairs.to_raster(1, 1000, dt).sum() == 1000


def test_the_naive_floor_would_lose_steps():
    """What the test above guards against does happen."""
    k, dt = np.arange(1000), 0.1
    assert sum(Fraction(t) // Fraction(1, 10) != n for n, t in enumerate((k / 10).tolist())) > 60
    assert (grid_times(k, Fraction(1, 10))[0] // dt != k).sum() > 60


def test_a_coarser_and_a_finer_grid():
    train = Spikes.on_grid(range(12), [0] * 12, Fraction(1, 3))
    assert train.to_raster(1, 4, 1.0).ravel().tolist() == [3, 3, 3, 3]
    finer = train.to_raster(1, 24, Fraction(1, 6)).ravel()
    assert finer.tolist() == [1, 0] * 12


def test_a_time_just_below_a_step_stays_below():
    below = np.nextafter(0.3, 0.0)
    assert Spikes([below], [0]).to_raster(1, 4, 0.1).ravel().tolist() == [0, 0, 1, 0]
    assert Spikes([0.3], [0]).to_raster(1, 4, 0.1).ravel().tolist() == [0, 0, 0, 1]
    late = Spikes([0.3], [0], times_lo=[-1e-17])
    assert late.to_raster(1, 4, 0.1).ravel().tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("n, n_steps, words", [(2, 3, "step 3"), (1, 9, "unit 1")])
def test_nothing_falls_off_a_raster(n, n_steps, words):
    train = Spikes([0.0, 0.35], [0, 1])
    with pytest.raises(ValueError, match=words):
        train.to_raster(n, n_steps, 0.1)


def test_bad_grids_are_refused():
    with pytest.raises(ValueError, match="dt must be positive; got 0"):
        Spikes.on_grid([0], [0], 0)
    with pytest.raises(ValueError, match=r"dt must be positive; got -0\.1"):
        Spikes.from_raster([[1]], -0.1, layout="TN")
    with pytest.raises(TypeError, match="steps must be integers"):
        Spikes.on_grid([0.5], [0], 0.1)
    with pytest.raises(ValueError, match="non-negative"):
        Spikes.on_grid([-1], [0], 0.1)
    with pytest.raises(ValueError, match=r"one length; got shapes \(1,\), \(2,\)"):
        Spikes.on_grid([1], [0, 1], 0.1)


@settings(deadline=None)
@given(st.integers(0, 2**40), st.sampled_from(STEPS))
@example(3, 0.1)
def test_grid_times_are_exact_to_106_bits(k, dt):
    hi, lo = grid_times(np.array([k]), as_step(dt))
    exact = k * as_step(dt)
    assert hi[0] == float(exact)
    assert abs(Fraction(float(hi[0])) + Fraction(float(lo[0])) - exact) <= exact / 2**104


@pytest.mark.parametrize("dt", STEPS, ids=str)
def test_delays_that_are_multiples_keep_spikes_on_the_grid(dt):
    """Steps a + b are met by a spike at a with delay b dt, whatever a and b: exact ties."""
    step = as_step(dt)
    sums = {}
    for b in range(30):
        train = Spikes.on_grid(range(30), [0] * 30, dt)
        hi, lo = later(train, (float(b * step),))
        for a in range(30):
            sums.setdefault(a + b, set()).add((hi[a], lo[a]))
    assert all(len(pairs) == 1 for pairs in sums.values())
    direct = grid_times(np.arange(59), step)
    assert sums == {k: {(direct[0][k], direct[1][k])} for k in range(59)}


def test_naive_sums_do_not_tie():
    assert len({a * 0.1 + b * 0.1 for a in range(30) for b in range(30)}) > 59


def test_a_delay_off_the_grid_is_added_exactly():
    train = Spikes.on_grid([3], [0], 0.1)
    hi, lo = later(train, (0.0123,))
    exact = Fraction(3, 10) + Fraction(0.0123)
    assert abs(Fraction(hi[0]) + Fraction(lo[0]) - exact) <= exact / 2**100
    plain = Spikes([0.3], [0])
    hi, lo = later(plain, (0.1,))
    assert Fraction(hi[0]) + Fraction(lo[0]) == Fraction(0.3) + Fraction(0.1)
    # Two delays, one on the grid and one off it: once off, the second is a plain number too.
    for delays, exact in (
        ((0.2, 0.0123), Fraction(1, 2) + Fraction(0.0123)),
        ((0.0123, 0.2), Fraction(3, 10) + Fraction(0.0123) + Fraction(0.2)),
    ):
        hi, lo = later(train, delays)
        assert abs(Fraction(hi[0]) + Fraction(lo[0]) - exact) <= exact / 2**100


def test_intervals_keep_their_digits_at_a_million():
    """The interval of a regular train is the same to 1e-22 at t = 0 and at t = 1e6."""
    net = evsim.Network()
    net.add_population("p", 1, evsim.IF())
    early = evsim.simulate(net, {"p": evsim.Current([0.0], [0.7])}, 20.0).spikes["p"]
    late = evsim.simulate(net, {"p": evsim.Current([1e6], [0.7])}, 1e6 + 20.0).spikes["p"]
    assert len(early) == len(late) == 13
    assert np.abs(early.intervals(0) - late.intervals(0)).max() < 1e-20
    assert np.ptp(np.diff(late.times)) > 1e-11  # what the doubles alone would say
    assert late.intervals(5).size == 0


def test_grid_spikes_are_sorted_stably():
    train = Spikes.on_grid([5, 1, 5, 3], [0, 1, 2, 3], 0.5)
    assert train.steps.tolist() == [1, 3, 5, 5] and train.units.tolist() == [1, 3, 0, 2]
    assert train.times.tolist() == [0.5, 1.5, 2.5, 2.5]


def test_grid_train_of_thirds():
    train = Spikes.on_grid([1, 2, 3, 4], [0] * 4, Fraction(1, 3))
    assert np.allclose(train.intervals(0), 1 / 3, rtol=0, atol=1e-16)
    assert train.dt == Fraction(1, 3) and train.steps.tolist() == [1, 2, 3, 4]
