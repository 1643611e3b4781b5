"""Multi-level firing and dormant-suppressed residual networks: claims M1 to M20."""

from validation.cases.mlf import flow, identity, units
from validation.cases.mlf.paper import PAPER

__all__ = ["PAPER", "flow", "identity", "units"]

PAPER.claims = dict(sorted(PAPER.claims.items(), key=lambda item: int(item[0][1:])))
