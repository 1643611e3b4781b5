"""Local zeroth-order gradients: claims Z1 to Z17."""

from __future__ import annotations

from validation.cases.localzo import networks, speed, theory
from validation.cases.localzo.paper import PAPER

__all__ = ["PAPER", "networks", "speed", "theory"]

PAPER.claims = dict(sorted(PAPER.claims.items(), key=lambda item: int(item[0][1:])))
