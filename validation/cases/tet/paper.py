"""The paper whose claims the other modules of this folder measure."""

from __future__ import annotations

from validation.cases.claims import Paper

PAPER = Paper(
    "Deng, Li, Zhang, Gu: Temporal efficient training of spiking neural network via gradient "
    "re-weighting (ICLR 2022)",
    needs=("sklearn",),
)
#: Sources of claims.
D22 = "Deng et al. 2022"
DERIVED = "derived in reference.tet"
