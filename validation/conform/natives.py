"""Does a neuron class compute the update that its arguments declare, forward and backward?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from validation.conform.graphs import SAMPLES, N
from validation.conform.rows import Row, refusal
from validation.native import Native
from validation.recorder import record
from validation.verify import verify

STEPS = 60
VERDICTS = {"identical": "identical", "tie": "identical", "discretised": "discretised"}


def current() -> np.ndarray:
    """Input current [T, B, N] that makes most neurons fire, and some fall below rest."""
    rng = np.random.default_rng(30)
    drawn = rng.normal(0.3, 0.6, (STEPS, SAMPLES, N))
    return (np.round(drawn * 64) / 64).astype(np.float32)


def ask(native: Native, backward: bool = True) -> Iterator[Row]:
    """A row for every variant of a class, or one that says that evsim has no twin of it.

    `backward`: whether the framework has gradients, which are then asked for too.
    """
    if native.make is None:
        yield Row("native", native.subject, "", "refused", [], "evsim has no twin of it")
        return
    for variant, make in native.variants():
        yield _row(native.subject, variant, make, backward)


def _row(subject: str, variant: str, make: Any, backward: bool) -> Row:
    try:
        x = current()
        cotangent = np.random.default_rng(33).normal(size=x.shape).astype(np.float32)
        made = record(make(), x, cotangent=cotangent if backward else None)
        result = verify(made).layers[0]
    except FloatingPointError as error:  # no recording holds what is not finite
        return Row("native", subject, variant, "deviating", [], str(error))
    except Exception as error:  # a framework may raise anything
        return refusal("native", subject, variant, error)
    if result.verdict == "unverifiable":
        return Row("native", subject, variant, "refused", [], result.reason)
    verdict = VERDICTS.get(result.verdict, "deviating")
    note = result.reason if verdict == "deviating" else ""
    return Row("native", subject, variant, verdict, result.cause, note)
