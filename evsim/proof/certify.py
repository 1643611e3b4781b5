"""`evsim.certify` and `evsim.certify_spikes`: verdicts on spike trains."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from evsim.network import Network
from evsim.proof.balls import run as run_balls
from evsim.proof.doubles import REASONS, Finding, Outcome
from evsim.proof.doubles import run as run_doubles
from evsim.proof.events import LEVEL
from evsim.proof.problem import Problem, build
from evsim.proof.rational import is_rational
from evsim.proof.rational import run as run_rational
from evsim.proof.verdict import Certificate, Enclosures
from evsim.record import Record
from evsim.simulate import checked_inputs
from evsim.spikes import SILENT, Spikes
from evsim.start import initial_states

#: Most bits that are tried where nobody says otherwise.
PRECISION = 1024
#: Part of the smallest time constant within which a claimed spike is looked for.
NEARBY = 0.01
#: Larger networks get scalar radii: their rows would fill the memory, and their runs are short.
MOST_NEURONS = 300


def certify(
    record: Record,
    *,
    precision: int | None = None,
    until: float | None = None,
    follow: bool = False,
) -> Certificate:
    """Prove the spikes of a run.

    Parameters
    ----------
    record : Record
    precision : int, optional
        The most bits allowed; default 1024. The cheapest arithmetic that can decide is used:
        float64, double-double, and balls from there on.
    until : float, optional
        Prove the run up to here [s]; default all of it.
    follow : bool, optional
        Where the run goes wrong, go on with the truth: `certificate.truth` is then a record of
        the true spikes, with a certificate of its own. For networks of leaky neurons; each
        time that float64 goes wrong again takes another run from the state proved before.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        If a population is of a kind for which there is no proof; it is named.

    Notes
    -----
    The theorem and its proof are in `docs/certification.md`. What is proved: from its initial
    state, the network has exactly these spikes, each within its enclosure; with arrivals at
    the real sums of spike times and delays, not at rounded ones.
    """
    until = record.until if until is None else _checked_until(until, record.until)
    spikes = {name: _up_to(train, until) for name, train in record.spikes.items()}
    usual = record.policies == {"tie": "spike_first", "multi": "repeat"}
    found = _certify(record.network, record.inputs, record.initial, spikes, until, math.inf,
                     precision, usual)  # fmt: skip
    if follow and found.status != "PROVED":
        from evsim.proof.follow import truth_of

        return replace(found, truth=truth_of(record, found, until, precision))
    return found


def certify_states(record: Record, tolerance: float, precision: int | None = None) -> Certificate:
    """As `certify`, with a tolerance, for the spikes of a run that is a claim."""
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be non-negative; got {tolerance}")
    return _certify(record.network, record.inputs, record.initial, record.spikes, record.until,
                    float(tolerance), precision)  # fmt: skip


def certify_spikes(
    network: Network,
    inputs: dict[str, Any],
    spikes: dict[str, Spikes],
    until: float,
    tolerance: float,
    *,
    precision: int | None = None,
    initial: dict[str, dict[str, Any]] | None = None,
) -> Certificate:
    """Prove or refute spikes that any program has computed.

    Parameters
    ----------
    network, inputs, until, initial
        As of `evsim.simulate`.
    spikes : dict of Spikes
        The claim, by population; one left out is claimed to be silent.
    tolerance : float
        How far a spike may lie from its claimed time [s].
    precision : int, optional
        As of `certify`.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError, TypeError
        Naming argument, index and value.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be non-negative; got {tolerance}")
    network = network.copy()
    checked = checked_inputs(network, inputs)
    states = {name: snap.state for name, snap in initial_states(network, initial).items()}
    given = {}
    for name, train in spikes.items():
        if name not in network.populations:
            raise ValueError(f"spikes[{name!r}] is no population")
        if not isinstance(train, Spikes):
            raise TypeError(f"spikes[{name!r}] must be Spikes; got {type(train).__name__}")
        n = network.size(name)
        if len(train) and train.units.max() >= n:
            k = int(np.argmax(train.units >= n))
            raise ValueError(
                f"spikes[{name!r}].units[{k}] must lie in 0..{n - 1}; got {train.units[k]}"
            )
        given[name] = _up_to(train, until)
    for name in network.populations:
        given.setdefault(name, SILENT)
    return _certify(network, checked, states, given, float(until), float(tolerance), precision)


def _checked_until(until, limit: float) -> float:
    """A time within the run."""
    if not 0 <= until <= limit:
        raise ValueError(f"until must lie in [0, {limit}], the length of the run; got {until}")
    return float(until)


def _up_to(train: Spikes, until: float) -> Spikes:
    """The spikes up to a time."""
    keep = train.times <= until
    if keep.all():
        return train
    return Spikes(train.times[keep], train.units[keep], times_lo=train.times_lo[keep])


def _certify(
    network, inputs, initial, spikes, until, tolerance, precision, exact=True
) -> Certificate:
    """From the cheapest arithmetic to the dearest that is allowed."""
    most = _most_bits(precision)
    window = _window(network, tolerance)
    problem = build(network, inputs, initial, spikes, until, window)
    if exact and is_rational(problem):
        outcome = run_rational(problem, window, tolerance)
        return _certificate(problem, spikes, outcome, tolerance, network)
    outcome = _compiled(problem, "float64", window, tolerance)
    jumps = outcome.finding is not None and outcome.finding.code == LEVEL  # for balls alone
    if not _decided(outcome) and not jumps and most >= 106:
        outcome = _compiled(problem, "double-double", window, tolerance)
    bits = min(most, 128 if most >= 106 else most)
    while not _decided(outcome):
        outcome = run_balls(problem, bits, window, tolerance)
        if bits >= most or outcome.finding is None or outcome.finding.code == LEVEL:
            break
        bits = min(most, bits + _lacking(outcome.finding))
    return _certificate(problem, spikes, outcome, tolerance, network)


def _most_bits(precision) -> int:
    """The precision allowed, checked."""
    if precision is None:
        return PRECISION
    if isinstance(precision, bool) or not isinstance(precision, int | np.integer) or precision < 53:
        raise ValueError(f"precision must be an integer of at least 53 bits; got {precision!r}")
    return int(precision)


def _compiled(problem, tier, window, tolerance) -> Outcome:
    """A compiled tier: with symbols, but for large networks."""
    symbols = problem.size <= MOST_NEURONS
    return run_doubles(problem, tier, window, tolerance, symbols)


def _window(network: Network, tolerance: float) -> float:
    """Within this distance of its claim a spike is looked for."""
    taus = [
        float(np.min(value))
        for population in network.populations.values()
        for name, value in population.model.numbers().items()
        if name.startswith("tau_")
    ]
    nearby = NEARBY * min(taus, default=1.0)
    return min(tolerance, nearby) if tolerance > 0 else 1e-12 * nearby


def _decided(outcome: Outcome) -> bool:
    """Whether a finer arithmetic could add nothing."""
    return outcome.finding is None or outcome.finding.proved


def _lacking(finding: Finding) -> int:
    """Bits that the radius exceeds the gap by, and some more."""
    if 0.0 < abs(finding.gap) < finding.radius < math.inf:
        return int(math.log2(finding.radius / abs(finding.gap))) + 16
    return 64


def _certificate(problem: Problem, spikes, outcome: Outcome, tolerance, network) -> Certificate:
    """What a tier has found, as a `Certificate`."""
    finding = outcome.finding
    status = "PROVED" if finding is None else "WRONG" if finding.proved else "UNDECIDED"
    where = None if finding is None else (*problem.where(finding.neuron), finding.time)
    proved = _proved(problem, outcome)
    return Certificate(
        status, _enclosures(problem, spikes, outcome, proved),
        where if status == "WRONG" else None, _words(finding),
        where if status == "UNDECIDED" else None, outcome.tier, outcome.bits, finding,
        problem.until if finding is None else finding.time, tolerance, int(proved.sum()), network,
        lambda: (problem, outcome),
    )  # fmt: skip


def _proved(problem: Problem, outcome: Outcome) -> np.ndarray:
    """Which claims are proved: of those that the pass has taken, the spikes before its finding."""
    proved = np.arange(problem.count) < outcome.proved
    if outcome.finding is not None:
        ends = np.array([float(t) for t in outcome.times]) + outcome.radius
        proved[: outcome.proved] = ends < outcome.finding.time
    return proved


def _enclosures(problem: Problem, spikes, outcome: Outcome, proved) -> dict[str, Enclosures]:
    """The proved spikes of every population."""
    found = {}
    for name, place in problem.order.items():
        mine = place[proved[place]]
        units = spikes[name].units[proved[place]]
        found[name] = Enclosures(
            outcome.radius[mine], units,
            lambda mine=mine: [outcome.times[k] for k in mine],  # type: ignore[misc]
        )  # fmt: skip
    return found


def _words(finding: Finding | None) -> str:
    """What happens instead, or what cannot be told apart."""
    if finding is None:
        return ""
    reason = REASONS[finding.code]
    if not finding.proved:
        return f"{reason}: a gap of {finding.gap:.3g} against a radius of {finding.radius:.3g}"
    if math.isinf(finding.found):
        return reason
    return f"{reason}: it fires at {finding.found:.17g}"
