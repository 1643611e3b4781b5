"""How many digits of a float64 spike time are true, as a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evsim.proof.verdict import Certificate

if TYPE_CHECKING:
    from evsim.record import Record


class Digits(NamedTuple):
    """`left` digits at the `time` of every spike proved, both shape (k,)."""

    time: np.ndarray
    left: np.ndarray


def digits(certificate: Certificate) -> Digits:
    """Digits left to a simulator that makes an error of one rounding at every spike.

    An error at one spike grows into all that it influences. The sum of the magnitudes of the
    sensitivities of a spike to the errors of all before it says by how much; what is left of
    the 53 bits of a double is counted, relative to the slowest change of one time unit.

    Raises
    ------
    ValueError
        If the sensitivities are not known: the run was proved with scalar radii, or condensed.
    """
    outcome = certificate.outcome
    if np.isnan(outcome.growth).any():
        raise ValueError("this proof kept no sensitivities; certify a shorter or smaller run")
    time = np.array([float(t) for t in outcome.times])
    return Digits(time, (53.0 - outcome.growth) * np.log10(2.0))


def plot(record: Record, ax: Any = None) -> Any:
    """Draw `digits` of a run over time; its axes."""
    import matplotlib.pyplot as plt

    from evsim.proof.certify import certify

    certificate = record.certificate if record.certificate is not None else certify(record)
    found = digits(certificate)
    ax = plt.subplots()[1] if ax is None else ax
    worst = np.minimum.accumulate(found.left) if found.left.size else found.left
    ax.plot(found.time, found.left, ".", markersize=2, color="0.6", label="each spike")
    ax.step(found.time, worst, where="post", color="C0", label="fewest so far")
    if certificate.status != "PROVED":
        ax.axvline(certificate.proved_until, color="C3", label=f"{certificate.status} from here")
    ax.set(xlabel="time", ylabel="true digits of a float64 spike time", ylim=(0.0, 16.0))
    ax.legend(frameon=False)
    return ax
