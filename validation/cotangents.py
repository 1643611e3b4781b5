"""Backward passes of a recorded run: what arrives at every neuron's spikes, and what leaves it.

torch is imported inside the functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from validation.model import Array
from validation.tensors import copied


def gradients_of(
    found: dict[str, tuple[list[Any], list[Any]]], cotangent: Any, batch_first: bool
) -> dict[str, Array]:
    """Gradients of the product of `cotangent` with the spikes of the last neuron.

    Parameters
    ----------
    found : dict of (sent, received)
        Tensors of every neuron, one for the sequence or one a step, in the order of the network.
    cotangent : array_like, shape (T, B, ...)
    batch_first : bool
        Whether tensors of a sequence are (B, T, ...).

    Returns
    -------
    dict of ndarray
        "<neuron>/grad_output.spikes" and "<neuron>/grad_input_current", in the tensors' layout;
        empty where the spikes depend on nothing that could be differentiated.

    Raises
    ------
    ValueError
        If the cotangent is not shaped as the spikes.
    """
    import torch

    last = list(found.values())[-1][0]
    out = last[0] if len(last) == 1 else torch.stack(last)
    given = torch.as_tensor(cotangent, dtype=out.dtype, device=out.device)
    if batch_first:
        given = given.transpose(0, 1)
    if given.numel() != out.numel():
        raise ValueError(
            f"cotangent has shape {tuple(np.shape(cotangent))}; the last neuron sends "
            f"{tuple(out.shape)}"
        )
    if not out.requires_grad:  # a neuron without a surrogate: nothing goes back
        return {}
    loss = (out * given.reshape(out.shape)).sum()
    tensors = [t for lists in found.values() for one in lists for t in one]
    grads = iter(torch.autograd.grad(loss, tensors, allow_unused=True))
    arrays = {}
    for name, lists in found.items():
        for key, one in zip(("grad_output.spikes", "grad_input_current"), lists, strict=True):
            got = [next(grads) for _ in one]
            steps = [
                copied(torch.zeros_like(t) if g is None else g)
                for t, g in zip(one, got, strict=True)
            ]
            whole = steps[0] if len(steps) == 1 else np.stack(steps)
            arrays[f"{name}/{key}"] = whole
    return arrays


def time_first(grad: Array, shape: tuple[int, ...], batch_first: bool) -> Array:
    """A gradient as [T, B, ...], from whichever layout the module had."""
    if batch_first:
        grad = np.swapaxes(grad.reshape(shape[1], shape[0], *shape[2:]), 0, 1)
    return np.ascontiguousarray(grad.reshape(shape))
