"""A verdict in words: one or two sentences that say what was found and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from validation.declared import Declared
from validation.result import Agreement, LayerResult, Mismatch, Truth

#: Added where a layer hears what the layer before it should have sent.
FED = "Its input fits what the layer before it should have sent, not what was recorded."


def missing(d: Declared) -> str:
    """Why the update of a layer cannot be checked."""
    absent = [("input current", d.x), ("spikes", d.spikes)]
    names = " and ".join(name for name, array in absent if array is None)
    verb = "were" if names.endswith("spikes") else "was"
    return f"Its {names} {verb} not recorded, so its update cannot be checked."


def lone_value(bad: Mapping[str, Agreement]) -> str:
    """A single state that differs although everything that follows from it agrees, or nothing."""
    if len(bad) != 1:
        return ""
    ((quantity, agreement),) = bad.items()
    first = agreement.first
    if first is None or agreement.n_mismatched != 1 or quantity == "spikes":
        return ""
    return (
        f"a single value of its {named(quantity)} is {first.observed:.9g} and not "
        f"{first.expected:.9g}, although all else agrees"
    )


def mismatch(bad: list[Agreement], words: list[str], first: Mismatch | None) -> str:
    """What differs, why, and where first."""
    own = [_count(a) for a in bad if a.quantity != "input_current"]
    many = sum(a.n_mismatched for a in bad if a.quantity != "input_current") > 1
    clauses = (
        [f"{' and '.join(own)} {'differ' if many else 'differs'} from its twin's"] if own else []
    )
    for a in bad:
        if a.quantity == "input_current":
            are = "are" if a.n_mismatched > 1 else "is"
            clauses.append(f"{_count(a)} {are} not what its sources send")
    where = "" if first is None else f" First at {_place(first)}."
    return f"{', and '.join(clauses)}: {'; '.join(words) or 'no cause was found'}.{where}"


def all_hits(n: int, words: str, first: Mismatch) -> str:
    """Spikes that differ where the threshold is hit exactly."""
    hits = f"{n} spikes differ from its twin's" if n > 1 else "1 spike differs from its twin's"
    return f"{hits}, at exact hits of the threshold: {words}. First at {_place(first)}."


def _count(agreement: Agreement) -> str:
    n = agreement.n_mismatched
    if agreement.quantity == "spikes":
        return f"{n} spike count{'s' if n > 1 else ''}"
    return f"{n} value{'s' if n > 1 else ''} of the {named(agreement.quantity)}"


def judged(result: LayerResult, truth: Truth | None, fed_right: bool) -> LayerResult:
    """The verdict of a layer that agrees with its twin."""
    if result.verdict == "mismatch":
        return result
    absent = [named(c.quantity) for c in result.checks if c.verdict == "unverifiable"]
    notes = [f"Not verifiable: {', '.join(absent)}."] if absent else []
    notes += [] if fed_right else [FED]
    verdict, reason = _agreeing(result, truth)
    return replace(result, verdict=verdict, reason=" ".join([f"{reason}.", *notes]))


def _agreeing(result: LayerResult, truth: Truth | None) -> tuple[str, str]:
    spikes = result.checks[0]
    if spikes.verdict == "tie":
        n = spikes.n_ties
        count = f"{n} spikes differ, each" if n > 1 else "1 spike differs,"
        near = f"at most {spikes.max_ulps:.3g} ulp" if n > 1 else f"{spikes.max_ulps:.3g} ulp"
        return "tie", f"{count} where rounding decides: its twin is {near} from threshold"
    if truth is None:
        return "identical", "Equal to its twin; no exact solution to compare with"
    if truth.same_steps:
        same = "every exact spike lies in the step of the recorded one"
        return "identical", f"Equal to its twin, and {same}"
    order = "" if np.isnan(truth.order) else f", with an error of order {truth.order:.1f} in dt"
    return "discretised", (
        f"Equal to its twin; {truth.n_recorded} spikes against {truth.n_exact} exact ones, "
        f"{truth.n_diverged} of {truth.n_trains} trains part by over 1.5 steps{order}"
    )


def named(quantity: str) -> str:
    """A quantity in words."""
    return quantity.replace("_", " ")


def _place(first: Mismatch) -> str:
    return (
        f"step {first.step}, sample {first.sample}, neuron {first.neuron} ({named(first.quantity)})"
    )
