"""The paper whose claims the other modules of this folder measure."""

from __future__ import annotations

from validation.cases.claims import Paper

PAPER = Paper(
    "Feng, Liu, Tang, Ma, Pan: Multi-level firing with spiking DS-ResNet (IJCAI 2022)",
    needs=("sklearn",),
)
#: Sources of claims.
F22 = "Feng et al. 2022"
DERIVED = "derived in reference.mlf"
