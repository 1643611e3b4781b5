"""The gradient checker: passes what is right, and nothing else."""

import mpmath
import numpy as np
import pytest

from reference.finite_difference import check, richardson

X = np.array([0.3, -1.2, 2.0])


def smooth(x):
    return np.stack([np.exp(x[0] * x[1]), np.sin(x[2]) * x[0], x[1] ** 3 + 0 * x[0]])


def pull_smooth(x, c):
    e = np.exp(x[0] * x[1])
    jacobian = np.array(
        [[x[1] * e, x[0] * e, 0], [np.sin(x[2]), 0, np.cos(x[2]) * x[0]], [0, 3 * x[1] ** 2, 0]]
    )
    return c @ jacobian


@pytest.mark.parametrize(("method", "rtol"), [("central", 1e-9), ("complex", 1e-13)])
def test_a_right_gradient_passes(method, rtol):
    table = check(smooth, pull_smooth, X, method=method, rtol=rtol, require=True)
    assert table.ok and table and len(table.rows) == 3
    assert "analytic" in str(table) and "ok" in str(table)


@pytest.mark.parametrize("method", ["central", "complex"])
@pytest.mark.parametrize("factor", [1 + 1e-4, -1.0, 0.0])
def test_a_wrong_gradient_fails(method, factor):
    def wrong(x, c):
        g = pull_smooth(x, c)
        g[1] *= factor
        return g

    table = check(smooth, wrong, X, method=method)
    assert not table.ok
    assert {row.verdict for row in table.rows} == {"FAIL"}
    with pytest.raises(AssertionError, match="gradient check failed"):
        table.require()
    with pytest.raises(AssertionError):
        check(smooth, wrong, X, method=method, require=True)


def test_an_error_in_one_member_is_found_in_its_row():
    x = {"a": X, "b": np.array([1e-6])}

    def f(x):
        return smooth(x["a"]).sum() + np.sin(1e6 * x["b"][0])

    def wrong(x, c):
        g = pull_smooth(x["a"], c * np.ones(3))
        return {"a": g, "b": 1.001 * np.array([c * 1e6 * np.cos(1e6 * x["b"][0])])}

    table = check(f, wrong, x)
    verdicts = {row.where: row.verdict for row in table.rows}
    assert verdicts == {"all": "FAIL", "a": "ok", "b": "FAIL"}


def threshold(x):
    """Spike times that are created in pairs: a square root, where its argument is positive."""
    return np.sqrt(x[x > 0.0])


def pull_threshold(x, c):
    g = np.zeros(x.shape)
    g[x > 0.0] = c / (2 * np.sqrt(x[x > 0.0]))
    return g


def test_a_change_of_the_structure_is_refused_not_passed():
    x = np.array([1.0, 1e-4])  # the step that is tried first would lose a spike
    table = check(threshold, pull_threshold, x, rtol=1e-5)
    assert table.ok
    assert all(row.refused > 0 for row in table.rows)
    near = np.array([1.0, 1e-9])  # and here every step would
    table = check(threshold, pull_threshold, near)
    assert not table.ok
    assert {row.verdict for row in table.rows} == {"refused"}
    assert "refused" in str(table)


def test_the_structure_is_asked_where_the_shape_does_not_tell():
    def ordered(x):
        return np.sort(x)

    def pull(x, c):
        g = np.empty(x.shape)
        g[np.argsort(x)] = c
        return g

    def order(x):
        return tuple(np.argsort(x))

    x = np.array([1.0, 1.0 + 1e-7])
    assert check(ordered, pull, X, structure=order).ok
    table = check(ordered, pull, x, structure=order)
    assert {row.verdict for row in table.rows} == {"refused"}


def test_a_kink_is_no_derivative():
    def f(x):
        return np.abs(x).sum()

    def mean_of_both_sides(x, c):
        return c * np.sign(x)

    table = check(f, mean_of_both_sides, np.zeros(3))
    assert {row.verdict for row in table.rows} == {"kink"}
    assert not table.ok


def test_noise_is_imprecise_not_passed():
    rng = np.random.default_rng(0)

    def f(x):
        return np.sum(x) + 1e-3 * rng.standard_normal()

    table = check(f, lambda x, c: c * np.ones(3), X, rtol=1e-6)
    assert not table.ok
    assert {row.verdict for row in table.rows} <= {"imprecise", "kink"}


def test_many_digits_see_what_doubles_cannot():
    """A function that loses twelve digits in float64: only 50 digits tell a relative 1e-9."""

    def f(x):
        big = x[0] * 10**12
        return (big + mpmath.exp(x[0])) - big

    def pull(x, c):
        return np.array([c * np.exp(x[0])])

    x = np.array([0.7])
    assert check(f, pull, x, method="mpmath", rtol=1e-14, require=True)
    table = check(f, lambda x, c: (1 + 1e-9) * pull(x, c), x, method="mpmath")
    assert {row.verdict for row in table.rows} == {"FAIL"}


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="method must be one of"):
        check(smooth, pull_smooth, X, method="forward")
    with pytest.raises(ValueError, match="shaped like x"):
        check(smooth, lambda x, c: np.zeros(2), X)
    with pytest.raises(ValueError, match="x holds no number"):
        check(smooth, pull_smooth, np.zeros(0))


def test_richardson_reaches_the_limit_of_a_series():
    values = [1.0 + (0.5**k) ** 2 + 3 * (0.5**k) ** 4 for k in range(6)]
    best, error = richardson(values, [0.0] * 6)
    assert abs(best - 1.0) <= max(error, 4e-16)
    assert error < 1e-12
