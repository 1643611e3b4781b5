"""Classifiers with logits at every step, and measures of sharpness that mean something."""

import numpy as np
import pytest

from reference import tet
from reference.tet_network import (
    Classifier,
    asymmetry,
    disturbed,
    encode,
    flat,
    initial,
    readout_curvature,
    running,
    unflat,
)

SIZES = (12, 10, 10)


def test_later_input_does_not_change_earlier_logits_at_inference():
    params = initial(0, SIZES, classes=4, dtype=float)
    x = 8.0 * encode(np.random.default_rng(1).random((5, 12)), 6, dtype=float)
    params["1.weight"] *= 8.0
    whole, _ = Classifier(params).forward(x, fixed=running(params))
    for k in range(1, 6):
        part, _ = Classifier(params).forward(x[:k], fixed=running(params))
        assert np.array_equal(part, whole[:k])
    assert np.ptp(whole, axis=0).min() > 0.0
    loss, bound = tet.shorter(whole, np.zeros(5, int))
    assert np.all(loss <= bound)


def test_gradients_of_the_readout_are_exact_with_spikes():
    params = initial(0, SIZES, classes=4, dtype=float)
    x = encode(np.random.default_rng(1).random((5, 12)), 6, dtype=float)
    y, rng = np.arange(5) % 4, np.random.default_rng(2)
    grads = Classifier(params).gradient(x, y, tet.tet)[1]
    assert set(grads) == set(params)
    for key in ("out.weight", "out.bias"):
        v, h = rng.standard_normal(params[key].shape), 1e-6
        ends = [Classifier(params | {key: params[key] + s * v}).gradient(x, y, tet.tet)[0]
                for s in (h, -h)]  # fmt: skip
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(np.sum(grads[key] * v), rel=1e-6)


def test_a_gradient_field_is_symmetric_and_a_rotation_is_not():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((30, 30))
    at = rng.standard_normal(30)
    assert asymmetry(lambda x: (a + a.T) @ x, at, 1e-3) < 1e-9
    assert asymmetry(lambda x: (a - a.T) @ x, at, 1e-3) > 1e9
    assert asymmetry(lambda x: a @ x, at, 1e-3) == pytest.approx(1.0, abs=0.5)


def test_spikes_make_the_field_asymmetric_and_a_smooth_step_does_not():
    params = initial(0, SIZES, classes=4, dtype=float)
    x = encode(np.random.default_rng(1).random((8, 12)), 4, dtype=float)
    y = np.arange(8) % 4

    def field(steep):
        return lambda v: flat(
            {key: Classifier(unflat(v, params), steep).gradient(x, y, tet.tet)[1][key]
             for key in params}
        )  # fmt: skip

    assert asymmetry(field(2.0), flat(params), 1e-4, directions=4) < 1e-4
    assert asymmetry(field(None), flat(params), 1e-4, directions=4) > 0.2


def test_curvature_of_the_readout_is_the_largest_eigenvalue_of_its_hessian():
    rng = np.random.default_rng(3)
    spikes = (rng.random((4, 9, 6)) < 0.4).astype(float)
    weight, bias, y = rng.standard_normal((3, 6)), rng.standard_normal(3), np.arange(9) % 3

    def gradient(vector):
        w, b = vector[:18].reshape(3, 6), vector[18:]
        g = tet.sdt(spikes @ w.T + b, y)[1]
        return np.append(np.einsum("tbc,tbn->cn", g, spikes).ravel(), g.sum(axis=(0, 1)))

    at, h = np.append(weight.ravel(), bias), 1e-5
    hessian = np.array([(gradient(at + h * e) - gradient(at - h * e)) / (2 * h)
                        for e in np.eye(21)])  # fmt: skip
    found = readout_curvature(spikes, spikes @ weight.T + bias, iterations=500)
    assert found == pytest.approx(np.linalg.eigvalsh(hessian).max(), rel=1e-6)


def test_noise_is_in_proportion_to_each_row():
    params = initial(0, SIZES, classes=4, dtype=float)
    moved = disturbed(params, 0.3, seed=1)
    for key, value in params.items():
        off = moved[key] - value
        if key.endswith(".weight"):
            np.testing.assert_allclose(
                np.linalg.norm(off, axis=1), 0.3 * np.linalg.norm(value, axis=1), rtol=1e-12
            )
        else:
            assert not off.any()


def test_codings():
    images = np.array([[0.0, 0.5, 1.0]])
    assert np.array_equal(encode(images, 2, coding="direct")[1, 0], [-1.0, 0.0, 1.0])
    rate = encode(np.tile(images, (500, 1)), 20).mean(axis=(0, 1))
    assert rate[0] == 0.0 and np.all(np.abs(rate[1:] - [0.3, 0.6]) < 0.02)
    with pytest.raises(ValueError, match="coding must be"):
        encode(images, 2, coding="phase")
