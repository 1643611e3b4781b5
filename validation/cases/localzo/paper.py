"""The paper whose claims the other modules of this folder measure."""

from __future__ import annotations

from validation.cases.claims import Paper

PAPER = Paper(
    "Mukhoty, Bojkovic, de Vazelhes, Zhao, De Masi, Xiong, Gu: "
    "Direct training of SNN using local zeroth order method (NeurIPS 2023)",
    needs=("sklearn", "threadpoolctl"),
)
#: Sources of claims.
PUBLISHED = "Mukhoty et al. 2023"
DERIVED = "derived in reference.localzo"
BASELINE = "Perez-Nieves, Goodman 2021"
