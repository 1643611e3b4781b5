"""Two answers compared, and the words for how they differ."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from evsim.testing.subject import Answer, Broken, Trains
from evsim.testing.truth import Truth

SHOWN = 12  # spikes of a train in a message


def same(
    first: Trains,
    second: Trains,
    allowed: Iterable[Truth],
    names: tuple[str, str],
    *,
    shift: float = 0.0,
    scale: float = 1.0,
) -> None:
    """Refuse two answers that differ by more than is allowed.

    Parameters
    ----------
    first, second : trains
        The times of the second must be those of the first times `scale`, plus `shift`.
    allowed : truths
        What is allowed is the sum of what each allows beside every spike.
    names : (str, str)
        How to call the two.
    """
    slacks = list(allowed)
    for name, units in first.items():
        for n, (one, two) in enumerate(zip(units, second[name], strict=True)):
            slack = sum(_fitting(t.allowed[name][n], one[0].size) for t in slacks)
            where = f"neuron {n} of {name!r}"
            if one[0].size != two[0].size:
                what = f"{where} fires {one[0].size} times in {names[0]}, {two[0].size} times in "
                raise Broken(what + f"{names[1]}.\n" + both(one, two, names))
            error = apart(one, two, shift, scale)
            if error.size and (error > slack).any():
                k = int(np.argmax(error - slack))
                limit = float(np.broadcast_to(slack, error.shape)[k])
                what = f"spike {k} of {where} is off by {error[k]:.3g}; {limit:.3g} is allowed.\n"
                raise Broken(what + both(one, two, names))


def together(
    first: Trains,
    second: Trains,
    most: float,
    names: tuple[str, str],
    *,
    shift: float = 0.0,
) -> None:
    """Refuse two answers of which any spike differs by more than `most`."""
    allowed = {name: [np.full(hi.size, most) for hi, _ in units] for name, units in first.items()}
    same(first, second, [Truth(first, allowed)], names, shift=shift)


def _fitting(slack: np.ndarray, size: int) -> np.ndarray | float:
    """What is allowed beside each of `size` spikes, whether or not the truth has as many."""
    return slack if slack.size == size else float(slack.max(initial=0.0))


def apart(one, two, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """|second - scale first - shift| of each spike, exactly."""
    pairs = zip(*one, *two, strict=True)
    return np.array(
        [
            abs(float(Fraction(c) + Fraction(d) - Fraction(scale) * (Fraction(a) + Fraction(b))
                      - Fraction(shift)))
            for a, b, c, d in map(lambda row: map(float, row), pairs)
        ]
    )  # fmt: skip


def both(one, two, names: tuple[str, str]) -> str:
    """Two trains, one below the other."""
    width = max(map(len, names))
    return "\n".join(
        f"  {name:<{width}} : {train(x)}" for name, x in zip(names, (one, two), strict=True)
    )


def train(x) -> str:
    """Times of a train."""
    times = [repr(float(t)) for t in x[0][:SHOWN]]
    more = [f".. {x[0].size} in all"] if x[0].size > SHOWN else []
    return "[" + ", ".join(times + more) + "]"


def same_bits(first: Trains, second: Trains, names: tuple[str, str], scale: float = 1.0) -> None:
    """Refuse two answers of which any bit differs."""
    for name, units in first.items():
        for n, (one, two) in enumerate(zip(units, second[name], strict=True)):
            if any((a * scale).tobytes() != b.tobytes() for a, b in zip(one, two, strict=True)):
                what = f"neuron {n} of {name!r} does not have the same bits.\n"
                raise Broken(what + both((one[0] * scale, one[1]), two, names))


def is_true(answer: Answer, truth: Truth) -> None:
    """Refuse an answer that differs from the truth."""
    same(truth.trains, answer.trains, [truth], ("the exact solution", "the answer"))
