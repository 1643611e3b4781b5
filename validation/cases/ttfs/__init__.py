"""Networks of single spikes: mapping, gradients, training, robustness; claims T1 to T20."""

from __future__ import annotations

from importlib import import_module

from validation.cases.ttfs.paper import PAPER

__all__ = ["PAPER"]

#: In the order of the claims that they hold.
for _part in ("mapping", "spectra", "trajectory", "devices", "precision"):
    import_module(f"{__name__}.{_part}")
