"""Defects of a framework's backward pass, whose forward pass stays as it is.

torch is imported inside the functions.
"""

from __future__ import annotations

import contextlib
from typing import Any


def spoil(module: Any, framework: str, defect: str) -> None:
    """Another surrogate, or another treatment of the reset, inside one module.

    Only snnTorch's and SpikingJelly's neurons are known.
    """
    table = {
        ("snntorch", "surrogate"): _surrogate_snntorch,
        ("snntorch", "reset_detach"): _detach_snntorch,
        ("spikingjelly", "surrogate"): _surrogate_spikingjelly,
        ("spikingjelly", "reset_detach"): _detach_spikingjelly,
    }
    table[framework, defect](module)


def _surrogate_snntorch(module: Any) -> None:
    from snntorch import surrogate

    other = surrogate.fast_sigmoid()
    module.fire = lambda mem: other(mem - module.threshold)


def _detach_snntorch(module: Any) -> None:
    """The spike that resets is differentiated through."""
    grad = module.spike_grad
    module.mem_reset = lambda mem: grad(mem - module.threshold)


def _surrogate_spikingjelly(module: Any) -> None:
    from spikingjelly.activation_based import surrogate

    _while_running(module, "surrogate_function", surrogate.ATan())


def _detach_spikingjelly(module: Any) -> None:
    _while_running(module, "detach_reset", True)


def _while_running(module: Any, name: str, value: Any) -> None:
    """Another attribute during a call, and the old one whenever somebody looks."""
    inner = module.forward

    def forward(x: Any) -> Any:
        with _set(module, name, value):
            return inner(x)

    module.forward = forward


@contextlib.contextmanager
def _set(module: Any, name: str, value: Any):
    old = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, old)
