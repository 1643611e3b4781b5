"""The paper whose claims stand in this folder."""

from validation.cases.claims import Paper

PAPER = Paper(
    "Ledinauskas, Ruseckas, Jursenas and Buracas, Training Deep Spiking Neural Networks (2020)",
    needs=("sklearn",),
)
#: Sources of a claim: the paper, the equations of the reference, or the libraries themselves.
L20 = "Ledinauskas et al. 2020"
