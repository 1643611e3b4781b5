"""Small things that every adapter does with torch, which is imported inside the functions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from validation.model import Array


def copied(x: Any) -> Array:
    """A NumPy copy; bfloat16, which NumPy lacks, becomes float32 without loss."""
    x = x.detach().cpu()
    return np.array((x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy())


def stepped(call: Callable[[Any, Any], Any], x: Array) -> Array:
    """Output [T, B, ...] of a model that takes a step and a state, and may return a new state."""
    import torch

    state, found = None, []
    with torch.no_grad():
        for now in torch.as_tensor(x):
            out = call(now, state)
            out, state = out if isinstance(out, tuple) else (out, None)
            found.append(np.array(tensor_of(out)))
    return np.stack(found)


def tensor_of(output: Any) -> Any:
    """The tensor that a module returns, perhaps before its states."""
    return tensor_of(output[0]) if isinstance(output, tuple | list) else output.detach()


def array_of(value: Any) -> Array | None:
    """A parameter as an array; Python numbers are stored as float64."""
    if value is None:
        return None
    return copied(value) if hasattr(value, "detach") else np.asarray(value, np.float64)


def closure_of(function: Any) -> dict[str, Any]:
    """Numbers that a function made by a factory was made with."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    cells = getattr(function, "__closure__", None) or ()
    values = {n: c.cell_contents for n, c in zip(names, cells, strict=True)}
    return {n: v for n, v in values.items() if isinstance(v, int | float)}


def flattened(model: Any) -> Any:
    """A sinabs model that takes (B * T, ...), as one that takes (B, T, ...)."""
    import torch

    class Flattened(torch.nn.Module):
        """Joins and parts the first two dimensions."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Any) -> Any:
            out = self.inner(x.flatten(0, 1))
            out = out[0] if isinstance(out, tuple) else out
            return out.unflatten(0, x.shape[:2])

    return Flattened()


@contextlib.contextmanager
def attributes_restored(modules: list[Any], names: tuple[str, ...]) -> Iterator[None]:
    """Put back the plain attributes `names` of every module, or their absence."""
    saved = [(m, n, n in vars(m), vars(m).get(n)) for m in modules for n in names]
    try:
        yield
    finally:
        for module, name, was, value in saved:
            if was:
                vars(module)[name] = value
            else:
                vars(module).pop(name, None)
