r"""Optimisers on dictionaries of arrays, updated in place; their state saves and restores.

.. math::
    \text{SGD:}\quad u &\leftarrow \mu u + g + \lambda w, \qquad w \leftarrow w - \eta u,
                                                                                      \tag{1} \\
    \text{Adam:}\quad m &\leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        q \leftarrow \beta_2 q + (1 - \beta_2) g^2, \quad
        w \leftarrow w - \eta \lambda w
          - \eta \frac{m / (1 - \beta_1^k)}{\sqrt{q / (1 - \beta_2^k)} + \epsilon},      \tag{2}

with the weight decay of (1) in the gradient, and that of (2) beside it: Kingma and Ba 2015,
algorithm 1; Loshchilov and Hutter 2019, algorithm 2. Neither draws random numbers; the order of
samples is `reference.data.batches`'.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping

import numpy as np

Params = MutableMapping[str, np.ndarray]


class _Optimizer(ABC):
    """Parameters, moments of each, and the number of steps."""

    #: Names of the arrays that are kept for every parameter.
    moments: tuple[str, ...] = ()

    def __init__(self, params: Params, lr: float) -> None:
        if not lr > 0:
            raise ValueError(f"lr must be positive; got {lr}")
        self.params, self.lr, self.steps = params, lr, 0
        self._kept = {
            moment: {key: np.zeros_like(value) for key, value in params.items()}
            for moment in self.moments
        }

    def step(self, grads: Mapping[str, np.ndarray]) -> None:
        """Move every parameter that has a gradient; the arrays change in place.

        Raises
        ------
        ValueError
            If a gradient belongs to no parameter, or has another shape.
        """
        for key, g in grads.items():
            if key not in self.params:
                raise ValueError(f"grads[{key!r}] belongs to no parameter")
            if np.shape(g) != self.params[key].shape:
                raise ValueError(
                    f"grads[{key!r}] has shape {np.shape(g)}, "
                    f"its parameter {self.params[key].shape}"
                )
        self.steps += 1
        for key, g in grads.items():
            self._move(self.params[key], g, *(self._kept[name][key] for name in self.moments))

    @abstractmethod
    def _move(self, w, g, *kept) -> None:
        """One step of a parameter `w` with gradient `g`; `kept` are its moments, in their order."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything that `load` needs, as copies; `numpy.savez` takes it."""
        state = {"steps": np.array(self.steps), "lr": np.array(self.lr)}
        for moment, arrays in self._kept.items():
            state |= {f"{moment}/{key}": value.copy() for key, value in arrays.items()}
        return state

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` answered, to the same bits.

        Raises
        ------
        ValueError
            If it comes from an optimiser of another kind, or of other parameters.
        """
        wanted = set(self.state())
        if set(state) != wanted:
            odd = sorted(set(state) ^ wanted)
            raise ValueError(f"state of another optimiser: {odd[0]!r} is on one side only")
        self.steps, self.lr = int(state["steps"]), float(state["lr"])
        for moment, arrays in self._kept.items():
            for key, value in arrays.items():
                value[...] = state[f"{moment}/{key}"]


class SGD(_Optimizer):
    """Stochastic gradient descent with momentum, (1).

    Parameters
    ----------
    params : dict of ndarray
        Changed in place.
    lr : float
        May be set anew before any step.
    momentum, weight_decay : float
    """

    moments = ("velocity",)

    def __init__(
        self, params: Params, lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr)
        self.momentum, self.weight_decay = momentum, weight_decay

    def _move(self, w, g, *kept) -> None:
        (velocity,) = kept
        velocity *= self.momentum
        velocity += g + self.weight_decay * w
        w -= self.lr * velocity


class Adam(_Optimizer):
    """Adam, with decoupled weight decay (AdamW), (2).

    Parameters
    ----------
    params : dict of ndarray
        Changed in place.
    lr : float
        May be set anew before any step.
    betas : (float, float)
        Decay of the first and of the second moment.
    eps, weight_decay : float
    """

    moments = ("first", "second")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def _move(self, w, g, *kept) -> None:
        (m, q), (a, b) = kept, self.betas
        m *= a
        m += (1.0 - a) * g
        q *= b
        q += (1.0 - b) * (g * g)
        unbiased = np.sqrt(q / (1.0 - b**self.steps)) + self.eps
        w -= self.lr * self.weight_decay * w + self.lr / (1.0 - a**self.steps) * m / unbiased


def one_cycle(step: int, total: int, peak: float, *, rise: float = 0.3) -> float:
    """Learning rate of step 0 .. total - 1: from peak / 25 up, then down to peak / 250 000.

    Cosines join the three; the top is reached after the share `rise` of all steps (Smith and
    Topin 2018, with the constants that frameworks use by default).
    """
    if not 0 <= step < total:
        raise ValueError(f"step must be in 0 .. {total - 1}; got {step}")
    low, end = peak / 25.0, peak / 25.0e4
    top = rise * total - 1.0
    if step <= top:
        return _cosine(low, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, end, (step - top) / (total - 1.0 - top))


def _cosine(start: float, stop: float, share: float) -> float:
    return stop + 0.5 * (start - stop) * (1.0 + math.cos(math.pi * share))
