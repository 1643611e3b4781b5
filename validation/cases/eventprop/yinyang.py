"""The Yin-Yang data (Kriener, Göltz and Petrovici 2022): points of a disk in three classes.

Generated, not loaded: the same seeds give the points of the authors' own generator.
"""

from __future__ import annotations

import math

import numpy as np

from reference.data import Data, Split

#: Of the disk, and of the eyes.
BIG, SMALL = 0.5, 0.1
#: Number of points and seed of what is trained on and tested on, as the authors propose.
TRAIN, TEST = (5000, 42), (1000, 40)


def class_of(x: float, y: float) -> int:
    """0: yin, 1: yang, 2: an eye; (x, y) in the disk of radius 0.5 around (0.5, 0.5)."""
    right = math.hypot(x - 1.5 * BIG, y - BIG)
    left = math.hypot(x - 0.5 * BIG, y - BIG)
    if right < SMALL or left < SMALL:
        return 2
    lobe = SMALL < left <= 0.5 * BIG
    return int(right <= SMALL or lobe or (y > BIG and right > 0.5 * BIG))


def points(size: int, seed: int) -> Split:
    """So many points with coordinates (x, y, 1 - x, 1 - y); all classes are equally likely."""
    draw = np.random.RandomState(seed)  # the generator that defines the data
    x, labels = np.empty((size, 4)), np.empty(size, np.int64)
    for k in range(size):
        goal = draw.randint(3)
        while True:
            a, b = draw.rand(2) * 2.0 * BIG
            if math.hypot(a - BIG, b - BIG) <= BIG and class_of(a, b) == goal:
                break
        x[k], labels[k] = (a, b, 1.0 - a, 1.0 - b), goal
    return Split(x, labels)


def yinyang(train: int = TRAIN[0]) -> Data:
    """Both sets; fewer points to train on where asked for."""
    return Data(points(train, TRAIN[1]), points(*TEST))
