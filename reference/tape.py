"""An oracle for backward passes: scalars that remember how they came about, and one neuron."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Tape:
    """A number with its parents and the slopes by them; `backward` fills in `grad`."""

    def __init__(self, value: float, parents: tuple[tuple[Tape, float], ...] = ()) -> None:
        self.value, self.parents, self.grad = float(value), parents, 0.0

    def __add__(self, other: Tape) -> Tape:
        return Tape(self.value + other.value, ((self, 1.0), (other, 1.0)))

    def __sub__(self, other: Tape) -> Tape:
        return Tape(self.value - other.value, ((self, 1.0), (other, -1.0)))

    def __mul__(self, other: Tape) -> Tape:
        parents = ((self, other.value), (other, self.value))
        return Tape(self.value * other.value, parents)

    def fires(self, derivative) -> Tape:
        """1 above 0, else 0; differentiated by a surrogate."""
        return Tape(self.value > 0, ((self, float(derivative(self.value))),))

    def backward(self) -> None:
        """Gradients of this number by everything that it came from."""
        order, seen, waiting = [], set(), [(self, False)]
        while waiting:
            node, done = waiting.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                waiting += [(node, True), *((parent, False) for parent, _ in node.parents)]
        self.grad = 1.0
        for node in reversed(order):
            for parent, slope in node.parents:
                parent.grad += slope * node.grad


def lif_gradients(
    current,
    params: Mapping[str, float],
    grad_spikes,
    derivative,
    *,
    reset: str,
    reset_timing: str,
    detach: bool,
    grad_v: float = 0.0,
) -> dict[str, np.ndarray | float]:
    """Gradients of one discrete neuron, written down as its definition and left to the tape.

    Parameters
    ----------
    current, grad_spikes : ndarray, shape (T,)
    params : mapping
        beta, v_th, v_reset, gain, v_rest and v_init.
    derivative : callable
        The surrogate.
    reset, reset_timing, detach
        As in `reference.bptt`.
    grad_v : float, optional
        By the last membrane.

    Returns
    -------
    dict
        By "current" and by every entry of `params`.
    """
    leaf = {name: Tape(value) for name, value in params.items()}
    inputs = [Tape(value) for value in current]
    beta, th, vr, gain = (leaf[name] for name in ("beta", "v_th", "v_reset", "gain"))
    late, one, v, loss = reset_timing == "next_step", Tape(1.0), leaf["v_init"], Tape(0.0)
    r = Tape(v.value > th.value)
    for x, c in zip(inputs, grad_spikes, strict=True):
        if late and reset == "hard":
            v = (one - r) * v + r * vr
        v = beta * v + (one - beta) * leaf["v_rest"] + gain * x
        if late and reset == "soft":
            v = v - th * r
        s = (v - th).fires(derivative)
        r = Tape(s.value) if detach else s
        loss = loss + s * Tape(c)
        if not late and reset == "hard":
            v = (one - r) * v + r * vr
        if not late and reset == "soft":
            v = v - th * r
    (loss + v * Tape(grad_v)).backward()
    found = {name: node.grad for name, node in leaf.items()}
    return {"current": np.array([x.grad for x in inputs]), **found}
