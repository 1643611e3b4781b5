"""Spike trains that are made: Poisson by its laws, regular by exact rational numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import evsim
from evsim.spikes import Spikes, multiples


def same(a, b):
    """Whether two trains have the same bits."""
    return all(
        (x == y).all() and x.size == y.size
        for x, y in ((a.times, b.times), (a.times_lo, b.times_lo), (a.units, b.units))
    )


def test_a_seed_repeats_a_poisson_train_to_the_bit():
    train = Spikes.poisson(40.0, 5, 2.0, 7)
    assert same(train, Spikes.poisson(40.0, 5, 2.0, 7))
    assert same(train, Spikes.poisson([40.0] * 5, 5, 2.0, 7))
    assert same(train, Spikes.poisson(np.float32(40), np.int64(5), 2, np.int64(7)))
    assert not np.array_equal(train.times, Spikes.poisson(40.0, 5, 2.0, 8).times)
    assert same(Spikes.poisson(9.0, 2, 1.0, [3, 4]), Spikes.poisson(9.0, 2, 1.0, (3, 4)))


def test_poisson_counts_times_and_intervals_have_their_laws():
    """Means and variances within five standard errors, uniform times, exponential gaps."""
    rates, until, n = np.array([0.0, 3.0, 250.0]), 4.0, 400
    train = Spikes.poisson(np.tile(rates, n), 3 * n, until, 1)
    assert (np.diff(train.times) >= 0).all()
    assert train.times[0] >= 0 and train.times[-1] <= until
    counts = np.bincount(train.units, minlength=3 * n).reshape(n, 3)
    mean = rates * until
    assert (np.abs(counts.mean(0) - mean) <= 5 * np.sqrt(mean / n)).all()
    spread = mean * np.sqrt(2.0 / n) + np.sqrt(mean / n)  # of a Poisson number's variance
    assert (np.abs(counts.var(0, ddof=1) - mean) <= 5 * spread).all()
    times = np.sort(train.times) / until
    gap = np.abs(times - (np.arange(times.size) + 0.5) / times.size).max()
    assert gap < 2.2 / np.sqrt(times.size)  # Kolmogorov: exceeded once in 10 000
    gaps = np.concatenate([train.intervals(unit) for unit in range(2, 3 * n, 3)]) * rates[2]
    assert abs(gaps.mean() - 1.0) < 0.01 and abs(gaps.var() - 1.0) < 0.03
    first, second = counts[:, 2], np.roll(counts[:, 2], 1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(n)


@given(
    st.floats(1e-6, 1e3),
    st.one_of(st.integers(0, 300), st.floats(0.0, 300.0)),
    st.integers(-3, 3),
)
@example(0.1, 3, 0)  # 3 * 0.1 lies above 0.3, and 0.30000000000000004 below it
@example(0.1, 10, -1)
def test_regular_spikes_are_exact_multiples(interval, reach, ulps):
    until = reach * interval
    for _ in range(abs(ulps)):
        until = max(0.0, float(np.nextafter(until, np.copysign(np.inf, ulps))))
    train = Spikes.regular(interval, 1, until)
    count = Fraction(until) // Fraction(interval)
    exact = [k * Fraction(interval) for k in range(1, count + 1)]
    pairs = zip(train.times.tolist(), train.times_lo.tolist(), strict=True)
    assert [Fraction(hi) + Fraction(lo) for hi, lo in pairs] == exact
    assert train.times.tolist() == [float(t) for t in exact]
    assert (train.units == 0).all()


@given(st.integers(1, 2**53 - 1), st.floats(5e-324, 1e292))
@example(2**53 - 1, 1.7976931348623157e292)
@example(3, 5e-324)
def test_multiples_keep_every_digit(k, x):
    hi, lo = multiples(np.array([k]), np.array([x]))
    assert Fraction(float(hi[0])) + Fraction(float(lo[0])) == k * Fraction(x)
    assert hi[0] == float(k * Fraction(x))


def test_every_unit_has_its_own_interval():
    train = Spikes.regular([0.25, 10.0, 0.4], 3, 1.0)
    expected = {0: [0.25, 0.5, 0.75, 1.0], 1: [], 2: [0.4, 0.8]}
    for unit, times in expected.items():
        assert train.times[train.units == unit].tolist() == times
    assert same(Spikes.regular(0.3, 2, 5.0), Spikes.regular([0.3, 0.3], 2, 5.0))
    assert len(Spikes.regular(1.0, 2, 0.0)) == len(Spikes.poisson(5.0, 2, 0.0, 0)) == 0


def test_regular_trains_do_not_drift():
    """The last of a million intervals of 0.1 is as long as the first."""
    train = Spikes.regular(0.1, 1, 1e5)
    assert len(train) == 999999 + (1000000 * Fraction(0.1) <= 100000)
    assert (train.intervals(0) == 0.1).all()
    assert np.cumsum(np.full(len(train), 0.1))[-1] != train.times[-1]


def test_a_train_drives_a_network():
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, evsim.DeltaLIF(tau_mem=20e-3))
    net.connect("in", "out", [[1.5], [1.5]])
    record = evsim.simulate(net, {"in": Spikes.regular([0.25, 0.4], 2, 1.0)}, 1.0)
    assert record.spikes["out"].times.tolist() == [0.25, 0.4, 0.5, 0.75, 0.8, 1.0]


@pytest.mark.parametrize(
    "error, words, call",
    [
        (ValueError, r"rate must be non-neg.* got -1", lambda: Spikes.poisson(-1.0, 2, 1.0, 0)),
        (ValueError, r"rate\[1\] .* got nan", lambda: Spikes.poisson([1, np.nan], 2, 1.0, 0)),
        (ValueError, r"rate .* shape \(2,\); got \(3,\)", lambda: Spikes.poisson([1] * 3, 2, 1, 0)),
        (TypeError, r"rate must be a number .* 'a'", lambda: Spikes.poisson("a", 2, 1.0, 0)),
        (ValueError, r"rate makes about 2e\+30", lambda: Spikes.poisson(1e30, 2, 1.0, 0)),
        (ValueError, r"n must be positive; got 0", lambda: Spikes.poisson(1.0, 0, 1.0, 0)),
        (TypeError, r"n must be an integer; got 2\.0", lambda: Spikes.regular(1.0, 2.0, 1.0)),
        (ValueError, r"until .*non-negative; got -1", lambda: Spikes.poisson(1.0, 2, -1.0, 0)),
        (ValueError, r"until .* got inf", lambda: Spikes.regular(1.0, 2, np.inf)),
        (TypeError, r"until must be a number", lambda: Spikes.regular(1.0, 2, "1")),
        (TypeError, r"seed must be an integer.* None", lambda: Spikes.poisson(1.0, 2, 1.0, None)),
        (TypeError, r"seed", lambda: Spikes.poisson(1.0, 2, 1.0, np.random.default_rng(0))),
        (ValueError, r"seed .*non-negative; got -3", lambda: Spikes.poisson(1.0, 2, 1.0, -3)),
        (ValueError, r"interval must be positive.* got 0", lambda: Spikes.regular(0.0, 2, 1.0)),
        (ValueError, r"interval\[1\] .* got -2", lambda: Spikes.regular([1, -2], 2, 1.0)),
        (ValueError, r"interval makes about", lambda: Spikes.regular(1e-300, 1, 1e300)),
    ],
)
def test_what_makes_no_train_is_refused(error, words, call):
    with pytest.raises(error, match=words):
        call()
