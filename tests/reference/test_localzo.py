"""Zeroth-order gradients: the estimator, both directions of its theory, and its sparse backward."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from reference import localzo, surrogates
from reference.bptt import lif_backward, lif_forward
from reference.localzo_families import families
from reference.sparse_backward import plain_backward, sparse_backward

EPS = np.finfo(float).eps
FAMILIES = families(0.5)


def step(v):
    return np.where(v > 0.0, 1.0, 0.0)


@given(
    arrays(float, 20, elements=st.floats(-3, 3)),
    arrays(float, 20, elements=st.floats(-5, 5)),
    st.floats(0.01, 4),
)
def test_the_estimate_is_the_quotient_of_two_steps(v, z, delta):
    quotient = z * (step(v + delta * z) - step(v - delta * z)) / (2 * delta)
    # On the edge itself, and a rounding beside it, the two ways may differ.
    clear = np.abs(np.abs(v) - delta * np.abs(z)) > 4 * EPS * np.abs(v)
    np.testing.assert_allclose(
        localzo.estimate(v, z, delta)[clear], quotient[clear], rtol=2 * EPS, atol=0
    )


def test_the_estimate_keeps_its_precision_and_refuses_a_width_of_zero():
    v = np.zeros((2, 3), np.float32)
    assert localzo.estimate(v, v + 1, 0.5).dtype == np.float32
    assert localzo.estimate(0, 1, 0.5) == 1.0
    with pytest.raises(ValueError, match="delta must be positive"):
        localzo.estimate(0.0, 1.0, 0.0)


@pytest.mark.parametrize("name", localzo.LAWS)
def test_closed_forms_are_integrals_of_the_density(name):
    law, delta = localzo.LAWS[name], 0.4
    g = localzo.surrogate(name, delta)
    for v in (0.0, 0.1, 0.37, 0.6, 1.1):
        a = v / delta
        for power, closed in (
            (0, law.survival(a)), (1, g(v) * 2 * delta), (2, law.second(a)),
        ):  # fmt: skip
            value, error = integrate.quad(
                lambda z, p=power: 2 * z**p * law.density(z), a, law.support, epsabs=1e-13
            ) if a < law.support else (0.0, 0.0)  # fmt: skip
            assert abs(value - closed) <= 1e-12 + 4 * error
    assert g(-0.3) == g(0.3)


@pytest.mark.parametrize("name", localzo.LAWS)
def test_means_of_draws_approach_the_closed_form_with_the_root_of_their_number(name):
    v, delta = np.linspace(-1.0, 1.0, 41), 0.5
    exact = localzo.surrogate(name, delta)(v)
    numbers = [1_000, 10_000, 100_000]
    errors = [
        np.sqrt(np.mean([
            np.mean((localzo.surrogate(name, delta, draws=n, seed=seed)(v) - exact) ** 2)
            for seed in range(20)
        ]))
        for n in numbers
    ]  # fmt: skip
    predicted = [np.sqrt(np.mean(localzo.variance(name, v, delta, n))) for n in numbers]
    # Twenty runs, each a chi-square of few degrees: within 35 % of the predicted size.
    np.testing.assert_allclose(errors, predicted, rtol=0.35)
    slope = np.polyfit(np.log(numbers), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.1)


@given(arrays(float, st.integers(1, 30), elements=st.floats(-4, 4)), st.floats(0.05, 3))
def test_area_height_and_shape_of_any_law(atoms, delta):
    g = localzo.surrogate(lambda rng, size: atoms, delta, draws=atoms.size)
    # The surrogate of atoms is a staircase with steps at delta |z|: its area is a finite sum.
    edges = delta * np.append(0.0, np.sort(np.abs(atoms)))
    area = 2 * np.sum(np.diff(edges) * g(0.5 * (edges[1:] + edges[:-1])))
    assert area == pytest.approx(np.mean(atoms**2), rel=1e-12, abs=1e-300)
    assert g(0.0) == pytest.approx(np.mean(np.abs(atoms)) / (2 * delta), rel=1e-12, abs=1e-300)
    v = np.linspace(0, 4 * delta, 50)
    assert np.all(np.diff(g(v)) <= 0) and np.array_equal(g(v), g(-v))


def test_a_law_must_be_known_or_give_what_is_asked():
    with pytest.raises(ValueError, match="one of 'normal'"):
        localzo.surrogate("cauchy", 0.5)
    with pytest.raises(ValueError, match="finite numbers"):
        localzo.surrogate(lambda rng, size: np.full(size, np.nan), 0.5, draws=10)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f"{f.name} {f.alpha:g}")
def test_the_law_behind_a_surrogate(family):
    found = localzo.inverse(family.derivative, family.delta, family.alpha)
    assert found.c == pytest.approx(family.c, rel=1e-10)
    rng = np.random.default_rng(5)
    z = found.sample(rng, 20_000)
    assert abs(np.mean(z > 0) - 0.5) < 4 * 0.5 / math.sqrt(z.size)
    if family.density is None:  # an atom
        np.testing.assert_allclose(np.abs(z), family.end, rtol=1e-11)
        return
    grid = np.linspace(0.01, min(family.end, 5.0), 9)[:-1]
    mass = [
        integrate.quad(family.density, 0.0, end, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
        for end in grid
    ]
    np.testing.assert_allclose(found.cdf(grid), mass, atol=1e-6)
    if family.cdf is not None:
        assert stats.kstest(np.abs(z), family.cdf).pvalue > 0.01
    if family.sample is not None:
        assert stats.kstest(family.sample(rng, 20_000), found.cdf).pvalue > 0.01


@pytest.mark.parametrize("family", FAMILIES[:5], ids=lambda f: f"{f.name} {f.alpha:g}")
def test_its_estimate_has_the_surrogate_as_its_mean(family):
    found = localzo.inverse(family.derivative, family.delta, family.alpha)
    z = found.sample(np.random.default_rng(1), 200_000)
    for v in (-0.9, -0.2, 0.1, 0.5):
        sample = found.estimate(v, z)
        assert abs(sample.mean() - family.derivative(v)) < 4 * sample.std() / math.sqrt(z.size)


@pytest.mark.parametrize("name", ["snntorch.fast_sigmoid", "spikingjelly.PiecewiseQuadratic"])
def test_a_cusp_has_no_law_for_the_two_point_estimator(name):
    with pytest.raises(ValueError, match="alpha must be below 1"):
        localzo.inverse(surrogates.get(name), 0.5)
    assert localzo.inverse(surrogates.get(name), 0.5, alpha=0).c > 0


@pytest.mark.parametrize(
    "g, alpha, words",
    [
        (lambda v: np.ones_like(v), 0, "vanish"),
        (lambda v: np.exp(-np.abs(v)) * np.where(v < 0, 1.0, 0.9), 0, "even"),
        (lambda v: np.abs(v) * np.exp(-np.abs(v)) + 1e-3 * np.exp(-(v**2)), 0, "must not grow"),
        (lambda v: 1 / (1 + np.abs(v)), -1, "falls too slowly"),
        (lambda v: -np.exp(-(v**2)), 0, "positive at the threshold"),
    ],
)
def test_what_no_law_stands_behind(g, alpha, words):
    with pytest.raises(ValueError, match=words):
        localzo.inverse(g, 0.5, alpha)


@pytest.mark.parametrize("name", localzo.LAWS)
def test_from_a_law_to_its_surrogate_and_back(name):
    law, delta = localzo.LAWS[name], 0.7
    found = localzo.inverse(localzo.surrogate(name, delta), delta)
    assert found.c == pytest.approx(1.0, rel=1e-9)
    grid = np.linspace(0.02, 1.7, 8)
    np.testing.assert_allclose(found.cdf(grid), 1.0 - law.survival(grid), atol=1e-6)


def test_windows_and_thresholds():
    delta, harmonic = 0.3, sum(1 / k for k in range(1, 6))
    means = {
        "normal": math.sqrt(2 / math.pi), "uniform": math.sqrt(3) / 2, "laplace": 1 / math.sqrt(2),
    }  # fmt: skip
    for name, mean in means.items():
        assert localzo.threshold(name, delta) == pytest.approx(1 - delta * mean, rel=1e-11)
    assert localzo.LAWS["uniform"].mean_max(5) == pytest.approx(math.sqrt(3) * 5 / 6, rel=1e-11)
    assert localzo.LAWS["laplace"].mean_max(5) == pytest.approx(harmonic / math.sqrt(2), rel=1e-11)
    five = np.abs(np.random.default_rng(0).standard_normal((100_000, 5))).max(axis=1)
    assert abs(localzo.LAWS["normal"].mean_max(5) - five.mean()) < 4 * five.std() / 316
    heavy = localzo.inverse(surrogates.get("snntorch.fast_sigmoid"), delta, alpha=-1)
    with pytest.raises(ValueError, match="infinite"):
        localzo.threshold(heavy, delta)


def test_one_point_has_the_same_mean_and_no_less_variance():
    rng, v = np.random.default_rng(0), 0.2
    z = rng.standard_normal(400_000)
    one, two = localzo.one_point(v, z, 0.5), localzo.estimate(v, z, 0.5)
    assert abs(one.mean() - two.mean()) < 4 * one.std() / math.sqrt(z.size)
    assert one.var() > 1.5 * two.var()


@pytest.mark.parametrize("draws", [1, 5])
def test_means_of_estimates_of_an_array(draws):
    v = np.tile(np.linspace(-1.5, 1.5, 61), (4000, 1))
    mean = localzo.estimate_mean(v, np.random.default_rng(3), 0.3, draws=draws).mean(axis=0)
    room = np.sqrt(localzo.variance("normal", v[0], 0.3, draws) / len(v))
    assert np.all(np.abs(mean - localzo.surrogate("normal", 0.3)(v[0])) <= 5 * room + 1e-12)


def problem(seed, dtype=float, shape=(13, 3), n_in=150, n_out=37, rate=0.2):
    """Input, weight, active entries, their values, and entries below."""
    rng = np.random.default_rng(seed)
    x = (rng.random((*shape, n_in)) < 0.3).astype(dtype)
    weight = rng.standard_normal((n_in, n_out)).astype(dtype)
    active = np.argwhere(rng.random((*shape, n_out)) < rate)
    value = rng.standard_normal(len(active)).astype(dtype)
    return x, weight, active, value, np.argwhere(rng.random(x.shape) < rate)


def test_the_dense_twin_against_sums_written_out():
    x, weight, active, value, _ = problem(0, shape=(5, 2), n_in=4, n_out=3, rate=0.5)
    grad_weight, grad_x = np.zeros(weight.shape), np.zeros(x.shape)
    for (t, b, j), s in zip(active, value, strict=True):
        for before in range(t + 1):
            grad_weight[:, j] += 0.8 ** (t - before) * s * x[before, b]
            grad_x[before, b] += 0.8 ** (t - before) * s * weight[:, j]
    found = plain_backward(x, weight, active, value, beta=0.8)
    np.testing.assert_allclose(found[0], grad_weight, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found[1], grad_x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.4])
@pytest.mark.parametrize("dtype, room", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_sparse_backward_is_the_dense_one(dtype, room, rate):
    x, weight, active, value, below = problem(1, dtype, n_in=300, rate=rate)
    mask = np.zeros(x.shape, bool)
    mask[tuple(below.T)] = True
    for wanted in (None, below, mask, below[:0]):
        found = sparse_backward(x, weight, active, value, beta=0.9, below=wanted)
        exact = plain_backward(x, weight, active, value, beta=0.9, below=wanted)
        for one, other in zip(found, exact, strict=True):
            assert one.dtype == dtype and one.shape == other.shape
            worst, most = (np.abs(x).max(initial=0.0) for x in (one - other, other))
            assert worst <= room * most
        if wanted is not None:
            assert found[1].shape == (np.count_nonzero(mask) if len(wanted) else 0,)


def test_sparse_backward_is_that_of_neurons_with_a_detached_soft_reset():
    rng = np.random.default_rng(2)
    x = (rng.random((20, 4, 30)) < 0.2).astype(float)
    weight = rng.standard_normal((30, 15)) * 0.5
    run = lif_forward(x @ weight, beta=0.8, reset="soft", reset_timing="next_step")
    grad, z = rng.standard_normal(run.spikes.shape), rng.standard_normal(run.spikes.shape)
    factor = localzo.estimate(run.h - 1.0, z, 0.3)
    current = lif_backward(run, grad, lambda v: factor, detach=True)["current"]
    active = np.argwhere(factor > 0)
    found = sparse_backward(x, weight, active, (grad * factor)[tuple(active.T)], beta=0.8)
    np.testing.assert_allclose(found[0], np.einsum("tbi,tbj->ij", x, current), atol=1e-12)
    np.testing.assert_allclose(found[1], current @ weight.T, atol=1e-12)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"active": [[0, 0, 37]]}, r"active\[0\] is \[0, 0, 37\], outside"),
        ({"active": [[1, 0, 0], [0, 0, 0]]}, "must ascend"),
        ({"active": [[0, 0]]}, r"shape \(k, 3\)"),
        ({"value": [1.0, 2.0]}, "value must have 1 entries"),
        ({"weight": np.zeros((3, 3))}, "x must be"),
        ({"below": [[99, 0, 0]]}, r"below\[0\]"),
    ],
)
def test_what_sparse_backward_refuses(change, words):
    x, weight, *_ = problem(0)
    call = {"weight": weight, "active": [[0, 0, 0]], "value": [1.0], "below": None} | change
    with pytest.raises(ValueError, match=words):
        sparse_backward(x, call["weight"], np.array(call["active"]), np.array(call["value"]),
                        beta=0.9, below=call["below"])  # fmt: skip


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("detach", [True, False])
def test_gradients_of_a_network_average_to_those_with_the_surrogate(reset, detach):
    rng, delta, draws = np.random.default_rng(7), 0.5, 1500
    x = (rng.random((10, 2, 12)) < 0.4).astype(float)
    weights = [rng.standard_normal((12, 16)) * 0.6, rng.standard_normal((16, 8)) * 0.6]
    runs, spikes = [], x
    for weight in weights:
        runs.append(lif_forward(spikes @ weight, beta=0.9, reset=reset))
        spikes = runs[-1].spikes
    grad_out = rng.standard_normal(spikes.shape)

    def gradient(derivatives):
        grad = grad_out
        for run, weight, g in zip(runs[::-1], weights[::-1], derivatives[::-1], strict=True):
            current = lif_backward(run, grad, g, detach=detach)["current"]
            grad = current @ weight.T
        return np.einsum("tbi,tbj->ij", x, current)

    def drawn(run):
        factor = localzo.estimate(run.h - 1.0, rng.standard_normal(run.h.shape), delta)
        return lambda v: factor

    exact = gradient([localzo.surrogate("normal", delta)] * 2)
    samples = np.array([gradient([drawn(run) for run in runs]) for _ in range(draws)])
    off = np.linalg.norm(samples.mean(axis=0) - exact)
    spread = math.sqrt(samples.var(axis=0).sum() / draws)
    assert off < 2.5 * spread  # many entries: the norm itself varies little
    assert off < 0.2 * np.linalg.norm(exact)
