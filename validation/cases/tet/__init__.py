"""Temporal efficient training: claims E1 to E22."""

from validation.cases.tet import digits, losses, neurons
from validation.cases.tet.paper import PAPER

__all__ = ["PAPER", "digits", "losses", "neurons"]

PAPER.claims = dict(sorted(PAPER.claims.items(), key=lambda item: int(item[0][1:])))
