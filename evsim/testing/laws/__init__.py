"""The laws: each a statement with its proof, called with somebody's simulator."""

from evsim.testing.law import LAWS, Law
from evsim.testing.laws import charge, forces, limits, parts, scales, truths  # noqa: F401
from evsim.testing.laws.gradients import GRADIENT_LAWS

__all__ = ["GRADIENT_LAWS", "LAWS", "Law"]


def __getattr__(name: str) -> Law:
    if name in LAWS or name in GRADIENT_LAWS:
        return LAWS.get(name) or GRADIENT_LAWS[name]
    raise AttributeError(f"there is no law {name!r}; there are {', '.join(LAWS)}")
