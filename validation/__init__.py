"""Verification of spiking-network implementations against ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from validation.recorder import record

__all__ = ["record"]


def __getattr__(name: str) -> Any:
    """Load `record` when it is asked for, so that reading a recording loads none of it."""
    if name == "record":
        from validation.recorder import record

        return record
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
