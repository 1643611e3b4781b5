"""Losses over time: gradients, the gap between them and its bounds, what lambda does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reference import tet
from reference.finite_difference import check
from reference.optimizers import SGD

LOGITS = arrays(float, (4, 3, 5), elements=st.floats(-1e3, 1e3))
LABELS = np.array([0, 3, 4])
EPS = np.finfo(float).eps


def logits(seed=0, shape=(6, 3, 10), spread=2.0):
    return spread * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(
    "loss", [tet.sdt, tet.tet, lambda o, y: tet.total(o, y, 0.05, 1.0)], ids=["sdt", "tet", "total"]
)
def test_gradients(loss):
    y = np.array([1, 0, 9])
    value = loss(logits(), y)[0]
    assert isinstance(value, float)
    check(lambda o: np.float64(loss(o, y)[0]), lambda o, c: c * loss(o, y)[1], logits(),
          rtol=1e-8, require=True)  # fmt: skip
    check(lambda o: np.float64(tet.gap(o)), lambda o, c: c * tet.gap_gradient(o), logits(1),
          rtol=1e-8, require=True)  # fmt: skip


def test_losses_are_means_over_samples_written_out():
    o, y = logits(2), np.array([1, 0, 9])
    p = np.exp(o) / np.exp(o).sum(axis=-1, keepdims=True)
    each = -np.log(p[:, np.arange(3), y])
    assert tet.tet(o, y)[0] == pytest.approx(each.mean(), rel=1e-14)
    onehot = np.eye(10)[y]
    np.testing.assert_allclose(tet.tet(o, y)[1], (p - onehot) / 18, atol=1e-16)
    assert tet.total(o, y, 0.3, 2.0)[0] == pytest.approx(
        0.7 * each.mean() + 0.3 * np.mean((o - 2.0) ** 2), rel=1e-14
    )
    assert np.ptp(tet.sdt(o, y)[1], axis=0).max() == 0.0  # one gradient for all steps


@given(LOGITS)
def test_the_gap_lies_between_zero_and_its_bound(o):
    found, bound = tet.gap(o), tet.gap_bound(o)
    room = 64 * EPS * max(1.0, np.abs(o).max())
    assert -room <= found <= bound + room
    for y in (LABELS, np.zeros(3, int)):
        assert abs(tet.tet(o, y)[0] - tet.sdt(o, y)[0] - found) <= room  # whatever the label


@given(LOGITS, arrays(float, (4, 3, 1), elements=st.floats(-1e3, 1e3)))
def test_a_common_offset_of_a_step_changes_nothing(o, shift):
    assert abs(tet.gap(o + shift) - tet.gap(o)) <= 64 * EPS * 4e3


def test_small_deviations_leave_the_fisher_variance():
    mean, delta = logits(3)[:1], logits(4)
    delta -= delta.mean(axis=0)
    off = [abs(tet.gap(mean + s * delta) / tet.gap_quadratic(mean + s * delta) - 1)
           for s in (0.1, 0.01, 0.001)]  # fmt: skip
    assert off[1] < 0.2 * off[0] and off[2] < 0.2 * off[1]
    assert tet.gap(mean + 1e-6 * delta) == pytest.approx(
        tet.gap_quadratic(mean + 1e-6 * delta), rel=1e-3
    )


def test_the_bound_is_nearly_reached_with_two_classes():
    o = 0.01 * np.array([[[1.0, -1.0]], [[-1.0, 1.0]]])
    assert 0.9999 < tet.gap(o) / tet.gap_bound(o) <= 1.0


def test_the_printed_proof_has_a_false_step():
    middle, standard, efficient = tet.false_step(tet.COUNTEREXAMPLE, np.array([0]))
    assert middle == pytest.approx(-np.log(0.5 * (0.5 + 1 / (1 + np.exp(6)))), rel=1e-14)
    assert middle < standard <= efficient


@given(LOGITS)
def test_a_shorter_run_is_bounded_by_the_loss_of_the_whole(o):
    loss, bound = tet.shorter(o, LABELS)
    assert np.all(loss <= bound * (1 + 64 * EPS) + 64 * EPS * 1e3)


def test_no_bound_of_that_kind_for_the_mean_logits():
    """The last step may make up for all others: the whole is right, the first step wrong."""
    o = np.array([[[0.0, 9.0]], [[50.0, 0.0]]])
    y = np.array([0])
    assert tet.sdt(o, y)[0] < 1e-8 and tet.sdt(o[:1], y)[0] > 8.0 > 2 * tet.sdt(o, y)[0]


@pytest.mark.parametrize("phi", [0.0, 1.0, -3.0])
def test_free_logits_settle_at_the_confidence_gap(phi):
    y = np.array([2])
    params = {"o": np.zeros((1, 1, 10))}
    optimizer = SGD(params, 2.0, momentum=0.9)
    for _ in range(3000):
        optimizer.step({"o": tet.total(params["o"], y, 0.05, phi)[1]})
    o = params["o"][0, 0]
    assert o[2] - o[3] == pytest.approx(tet.confidence_gap(classes=10, lam=0.05), abs=1e-9)
    assert o.mean() == pytest.approx(phi, abs=1e-9)
    assert tet.total(params["o"], y, 0.05, phi)[0] == pytest.approx(
        tet.floors(classes=10, lam=0.05)[2], abs=1e-12
    )


@pytest.mark.parametrize("call, words", [
    (lambda: tet.sdt(np.zeros((2, 3)), [0, 1, 2]), "logits"),
    (lambda: tet.tet(np.zeros((2, 3, 4)), np.zeros(2, int)), "y must hold 3"),
    (lambda: tet.tet(np.zeros((2, 3, 4)), np.array([0, 1, 4])), "labels"),
    (lambda: tet.total(np.zeros((2, 3, 4)), np.zeros(3, int), 1.5), "lam must be"),
    (lambda: tet.confidence_gap(classes=1, lam=0.1), "classes must be"),
])  # fmt: skip
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
