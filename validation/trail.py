"""Which module made a tensor, while a torch model runs; torch is imported inside the functions."""

from __future__ import annotations

from typing import Any


class Trail:
    """Which module wrote a storage: views (flatten, transpose, x[t]) share it.

    The last output of every module is kept alive, so that its memory cannot be given to another
    tensor that would then be taken for it.
    """

    def __init__(self, fed: Any) -> None:
        self.fed = fed
        self.origins: dict[int, tuple[Any, str | None]] = {storage(fed): (None, "input")}
        self.kept: dict[Any, Any] = {}

    def origin(self, x: Any) -> tuple[Any, str | None]:
        """The Linear that made `x`, and the node before it; None where unknown."""
        return self.origins.get(storage(x), (None, None))

    def passed(self, module: Any, args: Any, output: Any) -> None:
        """A module that is no neuron."""
        import torch

        if not isinstance(output, torch.Tensor) or not args:
            return
        if not isinstance(args[0], torch.Tensor) or storage(output) == storage(args[0]):
            return  # a view, or the input itself
        before = self.origin(args[0])
        if isinstance(module, torch.nn.Linear) and before[0] is None:
            self.left(module, output, (module, before[1]))
        else:
            copied = isinstance(module, torch.nn.Flatten | torch.nn.Identity | torch.nn.Dropout)
            self.left(module, output, before if copied else (None, None))

    def left(self, module: Any, output: Any, origin: tuple[Any, str | None]) -> None:
        """Remember that `module` wrote `output`."""
        old = self.kept.get(module)
        if old is not None:
            self.origins.pop(storage(old), None)
        self.kept[module] = output
        self.origins[storage(output)] = origin


def storage(x: Any) -> int:
    """Where the numbers of a tensor lie; its views share the place."""
    return int(x.untyped_storage().data_ptr())
