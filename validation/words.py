"""How numbers and places are put into words in every report."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from validation.result import PASSING, Mismatch, RecordingResult, Truth

#: What each verdict means, for people who see it for the first time.
MEANING = {
    "identical": "equals the documented update, and the exact solution by step",
    "tie": "differs only where rounding decides whether the threshold is reached",
    "discretised": "equals the documented update; its time step explains the distance from the "
    "exact solution",
    "mismatch": "differs from the documented update",
    "unverifiable": "something needed for the check was not recorded",
}


def evsim_version() -> str:
    """Version of the installed evsim."""
    try:
        return version("evsim")
    except PackageNotFoundError:
        return "unknown"


def count(n: int) -> str:
    """A number of spikes in at most six characters."""
    for size, suffix in ((10**9, "G"), (10**6, "M")):
        if n >= size:
            return f"{n / size:.1f}{suffix}"
    return str(n)


def place(first: Mismatch) -> str:
    """Step, sample and neuron of a mismatch."""
    return f"{first.step},{first.sample},{first.neuron}"


def steps(errors: np.ndarray) -> dict[str, float | None]:
    """Median, 95th percentile and largest size of the spike-time errors, in steps."""
    size = np.abs(errors[np.isfinite(errors)])
    if not size.size:
        return {"median": None, "p95": None, "max": None}
    found = np.quantile(size, [0.5, 0.95, 1.0])
    return dict(zip(("median", "p95", "max"), map(float, found), strict=True))


def timing(truth: Truth | None) -> str:
    """Median and largest spike-time error in steps."""
    found = steps(np.asarray([] if truth is None else truth.time_error, float))
    if found["max"] is None:
        return "–"
    return "/".join(short(found[name]) for name in ("median", "max"))


def short(x: float | None) -> str:
    """A number of a few digits, or a dash where there is none."""
    if x is None or not np.isfinite(x):
        return "–"
    if x == 0:
        return "0"
    return f"{x:.2f}" if 0.01 <= abs(x) < 1000 else f"{x:.0e}"


def summary(results: Sequence[RecordingResult]) -> str:
    """One sentence on how much passes."""
    layers = [layer for result in results for layer in result.layers]
    passed = sum(layer.verdict in PASSING for layer in layers)
    good = sum(result.verdict == "pass" for result in results)
    recordings = f"{good} of {len(results)} recording{'s' if len(results) != 1 else ''} "
    return f"{recordings}pass{'es' if len(results) == 1 else ''}, {passed} of {len(layers)} layers."
