"""Multi-level firing: against scalars on a tape, smooth steps, and numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reference import bptt, mlf
from reference.finite_difference import check
from reference.tape import lif_gradients

INPUTS = arrays(float, (8, 5), elements=st.floats(-4, 6))


def inputs(seed=0, shape=(10, 40), mean=0.4, spread=1.2):
    return np.random.default_rng(seed).normal(mean, spread, shape)


def test_three_steps_by_hand():
    """x = 2, 2, -1: level 1 and 2 fire and are reset, level 3 integrates 2, 2.5, -0.375."""
    run = mlf.forward([2.0, 2.0, -1.0], tau=0.25, v_th=mlf.V_TH)
    assert run.u.tolist() == [[2.0, 2.0, -1.0], [2.0, 2.0, -1.0], [2.0, 2.5, -0.375]]
    assert run.spikes.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert run.output.tolist() == [2.0, 2.0, 0.0]
    # Only level 2 is inside (1.1, 2.1), only at u = 2; level 3 inside (2.1, 3.1) at u = 2.5.
    full = mlf.backward(run, [1.0, 10.0, 100.0], width=1.0)
    # step 2: level 2 gives 10, level 3 gives 10; nothing comes from step 3.
    # step 1: level 2 gives 1 + .25 (0 - 2) 10 = -4, level 3 (outside, silent) .25 * 10.
    assert full.tolist() == [-4.0 + 2.5, 20.0, 0.0]
    detached = mlf.backward(run, [1.0, 10.0, 100.0], width=1.0, detach=True)
    assert detached.tolist() == [1.0 + 2.5, 20.0, 0.0]


def test_a_threshold_that_is_reached_is_not_passed():
    run = mlf.forward([0.5, 1.5], tau=0.0, v_th=(0.5, 1.5))
    assert run.output.tolist() == [0.0, 1.0]
    # At the very ends of a window the derivative is 0.
    edge = mlf.forward([[0.0, 1.0, 2.0]], tau=0.0, v_th=(0.5, 1.5))
    assert mlf.backward(edge, 1.0).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("width", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_backward_pass_is_that_of_scalars_on_a_tape(levels, width, detach):
    x, e = inputs(levels, (12, 6)), inputs(9, (12, 6), 0.0, 1.0)
    v_th = mlf.V_TH[:levels]
    run = mlf.forward(x, tau=0.25, v_th=v_th)
    found = mlf.backward(run, e, width=width, detach=detach)

    def rectangle(v):
        return 1.0 / width if abs(v) < width / 2 else 0.0

    for unit in range(6):
        total = np.zeros(12)
        for theta in v_th:
            params = dict(beta=0.25, v_th=theta, v_reset=0.0, gain=1.0, v_rest=0.0, v_init=0.0)
            total += lif_gradients(
                x[:, unit], params, e[:, unit], rectangle,
                reset="hard", reset_timing="same_step", detach=detach,
            )["current"]  # fmt: skip
        np.testing.assert_allclose(found[:, unit], total, rtol=0, atol=1e-13)
    assert np.count_nonzero(found) > 20


def test_with_ramps_for_steps_the_backward_pass_is_the_gradient():
    """Levels fire min(1, max(0, (u - theta)/a + 1/2)): piecewise smooth, with these slopes."""
    x, width = inputs(4, (6, 5)), 1.0
    theta = np.array(mlf.V_TH)[:, None]

    def run_of(x):
        shared = np.broadcast_to(x[:, None], (6, 3, 5))
        ramp = mlf.window(width).primitive
        lif = bptt.lif_forward(shared, beta=0.25, v_th=theta, reset="hard", step=ramp)
        return mlf.MLFRun(lif.spikes.sum(axis=1), lif, theta[:, 0])

    def pieces(x):
        off = run_of(x).u - theta[:, None]
        return (np.sign(off - width / 2) + np.sign(off + width / 2)).tobytes()

    check(lambda x: run_of(x).output, lambda x, c: mlf.backward(run_of(x), c, width=width), x,
          structure=pieces, step=1e-3, rtol=1e-8, require=True)  # fmt: skip


@given(INPUTS)
def test_all_steps_alike_are_a_quantiser(x):
    """One step: K + 1 levels, at most half a level from the ramp whose derivative is h."""
    run = mlf.forward(x.reshape(1, -1), tau=0.25, v_th=mlf.V_TH)
    ramp = np.clip(x.reshape(1, -1) - 0.1, 0.0, 3.0)
    assert np.all(np.abs(run.output - ramp) <= 0.5 + 1e-15)
    total = mlf.derivative(run, width=1.0).sum(axis=0)
    assert set(np.unique(total)) <= {0.0, 1.0}


@given(INPUTS, st.floats(0.0, 5 / 13))
def test_small_leaks_make_a_thermometer(x, tau):
    run = mlf.forward(x, tau=min(tau, mlf.nested_below(mlf.V_TH)), v_th=mlf.V_TH)
    assert np.all(np.diff(run.spikes, axis=0) <= 0)
    # Rounding may take one unit in the last place, nothing more.
    assert np.all(np.diff(run.u, axis=0) >= -1e-14)


def test_larger_leaks_do_not():
    assert mlf.nested_below(mlf.V_TH) == 1.0 - 1.6 / 2.6
    assert mlf.nested_below(0.6) == 1.0
    run = mlf.forward(inputs(1, (40, 4000)), tau=0.5, v_th=mlf.V_TH)
    assert np.any(np.diff(run.spikes, axis=0) > 0)


@given(INPUTS, st.booleans())
def test_dormant_means_what_it_says(x, detach):
    """Dead: no gradient, whatever arrives; positive weights of every step cannot cancel often."""
    run = mlf.forward(x, tau=0.25, v_th=mlf.V_TH)
    found = mlf.dormancy(run, width=1.0, detach=detach)
    e = np.random.default_rng(5).standard_normal((40, 8, 5))
    reached = np.zeros(x.shape, bool)
    for one in e:
        reached |= mlf.backward(run, one, width=1.0, detach=detach) != 0.0
    assert np.array_equal(found["dead"], ~reached)
    assert np.all(found["dead"] <= found["instantaneous"])
    assert np.all(found["window"] <= found["dead"].all(axis=0))
    shares = mlf.dormant(run, width=1.0, detach=detach)
    assert shares["window"] <= shares["dead"] <= shares["instantaneous"]


def test_the_temporal_factor_stays_within_its_bounds():
    run = mlf.forward(inputs(2, (40, 5000)), tau=0.25, v_th=mlf.V_TH)
    factor = mlf.temporal_factor(run, width=1.0)
    low = factor.min(axis=(1, 2))
    bounds = -0.25 * (np.array(mlf.V_TH) + 0.5)
    assert np.all(low >= bounds) and np.all(low[:2] <= bounds[:2] + 0.01) and factor.max() == 0.25
    detached = mlf.temporal_factor(run, width=1.0, detach=True)
    assert set(np.unique(detached)) == {0.0, 0.25}


@pytest.mark.parametrize(
    ("sigma", "levels", "share"),
    [(0.6, 1, 0.5996), (0.6, 2, 0.5664), (0.6, 3, 0.5662), (1.2, 1, 0.7129), (1.2, 3, 0.5381)],
)
def test_dormant_units_of_a_normal_input(sigma, levels, share):
    v_th = mlf.V_TH[:levels]
    expected = mlf.first_dormant(sigma, v_th=v_th, width=1.0)
    assert expected == pytest.approx(share, abs=5e-5)
    run = mlf.forward(inputs(3, (1, 200_000), 0.0, sigma), tau=0.25, v_th=v_th)
    found = mlf.dormant(run, width=1.0)["instantaneous"]
    assert abs(found - expected) < 5 * np.sqrt(0.25 / 200_000)
    with pytest.raises(ValueError, match="must lie width"):
        mlf.first_dormant(1.0, v_th=mlf.V_TH, width=0.5)


@pytest.mark.parametrize(
    ("depth", "count"),
    [(14, 2777674), (20, 4327754), (32, 7427914), (44, 10528074), (68, 16728394)],
)
def test_published_networks_have_their_numbers_of_parameters(depth, count):
    assert mlf.parameter_count(depth=depth, width=64) == count


def test_networks_for_events_have_theirs():
    assert mlf.parameter_count(depth=20, width=16, channels=2, classes=11) == 272395
    assert mlf.parameter_count(depth=14, width=32, channels=2) == 696330
    for depth in (2, 18, -4):
        with pytest.raises(ValueError, match="depth must be"):
            mlf.parameter_count(depth=depth, width=8)


def test_arrays_of_any_shape_and_precision():
    x = inputs(6, (4, 2, 3, 5, 5)).astype(np.float32)
    run = mlf.forward(x, tau=0.25, v_th=mlf.V_TH)
    assert run.spikes.shape == run.u.shape == (3, *x.shape) and run.output.dtype == np.float32
    assert np.array_equal(run.output, run.spikes.sum(axis=0))
    assert mlf.backward(run, x).dtype == np.float32
    assert np.array_equal(mlf.forward([1, 2, 3], tau=0.25, v_th=0.6).output, [1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tau": 1.5}, "tau must be"),
        ({"v_th": (1.0, 1.0)}, "rise"),
        ({"v_th": (np.nan,)}, "rise"),
        ({"x": 1.0}, "x must be"),
    ],
)
def test_nonsense_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        mlf.forward(**{"x": [1.0], "tau": 0.25, "v_th": mlf.V_TH} | options)
    run = mlf.forward([1.0], tau=0.25, v_th=0.6)
    with pytest.raises(ValueError, match="width must be"):
        mlf.backward(run, [1.0], width=0.0)
