"""Surrogate gradients in deep networks: exact backward passes, and what the width decides."""

from validation.cases.surrogate import depth, exact, training
from validation.cases.surrogate.paper import PAPER

__all__ = ["PAPER", "depth", "exact", "training"]

# Claims stand together by their subject; they are told in the order of their numbers.
PAPER.claims = dict(sorted(PAPER.claims.items(), key=lambda item: int(item[0][1:])))
