"""The two papers, and where claims come from."""

from __future__ import annotations

from validation.cases.claims import Paper

PAPER = Paper(
    "Stanojevic et al., exact mappings and training of single-spike networks (2023, 2024)",
    needs=("sklearn", "mlxtend"),
)
#: Sources.
S23 = "Stanojevic et al. 2023, arXiv:2212.12522"
S24 = "Stanojevic et al. 2024, Nature Communications 15:6793"
HERE = "derived here"
