"""Small runs of which one part of a proof decides, and rows of symbols against derivatives;
interpreted: see test_jit.py."""

import math
import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import evsim
from evsim.delivery import Current
from evsim.proof import balls, doubles, numbers, silence
from evsim.proof.bounds import NEAR
from evsim.proof.events import MISSING, ORDER, OTHER_TIME, TOO_WIDE
from evsim.proof.problem import build
from evsim.spikes import Spikes

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="for interpreted kernels: see test_jit.py"
)
LIF = evsim.LIF(tau_mem=10.0, tau_syn=4.0)
ADAPTIVE = evsim.AdaptiveLIF(tau_mem=10.0, tau_syn=4.0, tau_th=20.0, jump_th=0.3, reset="subtract")


def run_of(model, weights, times, until, claim, tolerance=math.inf, tier="float64", **given):
    """Spikes of one neuron with these arrivals, what a tier finds about a claim, and the record."""
    net, ports = evsim.Network(), given.get("ports", (None,) * len(times))
    net.add_input("in", len(times))
    net.add_population("p", 1, model)
    for k, (weight, port) in enumerate(zip(weights, ports, strict=True)):
        net.connect("in", "p", [weight], pre_units=[k], post_units=[0], name=f"c{k}",
                    **({"synapse": port} if port else {}))  # fmt: skip
    inputs = {"in": Spikes(times, np.arange(len(times)))}
    record = evsim.simulate(net, inputs, until)
    train = record.spikes["p"].times
    spikes = {"p": Spikes(claim, [0] * len(claim))} if claim is not None else record.spikes
    problem = build(net, inputs, record.initial, spikes, until, 0.04)
    for k, radius in given.get("radii", {}).items():
        problem.sources.radius[problem.count + k] = radius
    if tier == "balls":
        run = balls.Pass(problem, 64, 0.04, tolerance)
        for k, radius in given.get("radii", {}).items():
            run.radius[problem.count + k] = radius
        return train, run.outcome(), record
    symbols = given.get("symbols", not given.get("radii"))
    return train, doubles.run(problem, tier, 0.04, tolerance, symbols), record


def test_a_crossing_before_the_claimed_one_is_found_where_it_is():
    """A quick excitation lifts a neuron over its threshold, an inhibition holds it down, and later
    it rises again: who claims that one alone is told when the first was."""
    model = evsim.LIF(tau_mem=10.0, tau_syn={"a": 1.0, "b": 8.0}, bias=1.2, t_ref=99.0)
    given = (model, (25.0, -5.0), (1.0, 1.0), 60.0)
    ports = ("a", "b")
    (first,), outcome, _ = run_of(*given, None, ports=ports)
    assert outcome.finding is None
    s = np.linspace(1.0, 60.0, 2951)
    free = run_of(replace(model, v_th=99.0), *given[1:], None, ports=ports)[2]
    v = free.state("p", 0, s)["v"]
    ups = s[1:][(v[1:] >= 1.0) & (v[:-1] < 1.0)]
    assert ups.size == 2 and abs(ups[0] - first) < 0.02
    finding = run_of(*given, [float(ups[1])], ports=ports)[1].finding
    assert finding.code == MISSING and finding.proved
    assert abs(finding.time - first) < 1e-6 and abs(finding.found - first) < 1e-6


def test_a_claim_behind_an_arrival_is_pulled_to_the_spike_before_it(monkeypatch):
    monkeypatch.setattr(silence, "MOST_STEPS", 30)
    (true,), *_ = run_of(LIF, (8.0,), (0.5,), 4.0, None)
    given = (LIF, (8.0, 0.1), (0.5, float(true) + 1e-5), 4.0, [float(true) + 2e-5])
    outcome = run_of(*given, 1e-4)[1]
    assert outcome.finding is None
    assert abs(float(outcome.times[0]) - true) < 1e-12
    finding = run_of(*given, 1e-6)[1].finding  # it is too far away
    assert finding.code == OTHER_TIME and abs(finding.found - true) < 1e-9


TIERS = ["float64", "double-double", "balls"]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("behind, code", [(0.02, None), (0.5, MISSING)])
def test_a_claim_in_its_window_is_pulled_back_over_a_peak(tier, behind, code):
    """A quick current lifts a neuron to twice its threshold, from where Newton's steps do not find
    the way to the crossing. Within the window of 0.04 around the claim that is the spike claimed;
    beyond, it is proved to be missing."""
    model = evsim.LIF(tau_mem=1.0, tau_syn=1e-3, t_ref=99.0)
    given = (model, (2500.0,), (0.5,), 3.0)
    (true,), *_ = run_of(*given, None)
    outcome = run_of(*given, [float(true) + behind], 0.04, tier)[1]
    assert (outcome.finding and outcome.finding.code) == code
    found = outcome.times[0] if code is None else outcome.finding.found
    assert abs(float(found) - true) < 1e-12


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("part", [0.5, 1.0, 2.0])
def test_a_claim_behind_a_peak_that_hardly_crosses_is_not_refuted(tier, part):
    """The peak of w (tau_s/tau_m)^k, k = tau_m/(tau_m - tau_s), after log(5/2) 20/3, is higher than
    the threshold by 1e-7; the claim lies as far behind it as the crossing before it, or so."""
    weight, peak = 2.5 ** (5 / 3) * (1.0 + 1e-7), math.log(2.5) * 20 / 3
    given = (evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=99.0), (weight,), (0.0,), 20.0)
    (true,), *_ = run_of(*given, None)
    assert 1e-3 < peak - true < 4e-3
    outcome = run_of(*given, [peak + part * (peak - float(true))], 0.04, tier)[1]
    assert outcome.finding is None and abs(float(outcome.times[0]) - true) < 1e-9


def raced(early, late, extra, drive, tier):
    """What a tier finds where `j` makes `i` fire 1e-3 later, and claims are as much too early and
    too late; `extra` after the claim there is an arrival without weight. And the two spikes."""
    net = evsim.Network()
    net.add_input("in", 1)
    for name in "ji":
        net.add_population(name, 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=99.0))
    net.connect("in", "j", [[10.0]])
    net.connect("j", "i", [[3000.0]], 1e-4)
    net.connect("in", "i", [[drive]], name="drive")
    inputs = {"in": Spikes([0.0], [0])}
    train = evsim.simulate(net, inputs, 20.0).spikes
    t_j, t_i = (float(train[name].times[0]) for name in "ji")
    if extra:
        net.connect("in", "i", [[0.0]], t_i - early + extra, name="extra")
    claim = {"i": Spikes([t_i - early], [0]), "j": Spikes([t_j + late], [0])}
    record = evsim.simulate(net, inputs, 20.0)
    problem = build(net, inputs, record.initial, claim, 20.0, 0.04)
    if tier == "balls":
        return balls.run(problem, 64, 0.04, 0.04), t_j, t_i
    return doubles.run(problem, tier, 0.04, 0.04, True), t_j, t_i


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("early, late, extra, drive", [
    (0.01, 0.01, 0.0, 7.0), (0.01, 0.01, 0.0, 9.0), (0.035, 0.03, 0.041, 0.0),
    (3e-4, 0.01, 0.0, 7.0),
])  # fmt: skip
def test_claims_within_their_tolerance_but_in_the_wrong_order_are_not_refuted(
    early, late, extra, drive, tier
):
    """`i` is claimed before `j`, without whose spike it fires later or not at all; or `j` has fired
    before the claim of `i`, and its own is still to come."""
    outcome, t_j, t_i = raced(early, late, extra, drive, tier)
    assert t_j < t_i and t_i - early < t_j + late
    assert outcome.finding.code == ORDER and not outcome.finding.proved


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("early, late", [(0.01, 0.2), (0.2, -0.01)])
def test_claims_beyond_their_tolerance_are_refuted(early, late, tier):
    """That of `j` is late, or that of `i` early."""
    outcome, *_ = raced(early, late, 0.0, 7.0, tier)
    assert outcome.finding.proved


@pytest.mark.parametrize("tier", TIERS[:2])
@pytest.mark.parametrize("values, weight, left_open", [
    ({"v_reset": 1.2}, 90.0, True), ({}, 90.0, False),
    ({"refractory": "hold_fire"}, 90.0, True), ({"refractory": "hold_fire"}, 6.0, False),
])  # fmt: skip
def test_a_neuron_that_may_be_free_before_the_end_may_fire(tier, values, weight, left_open):
    """Its spike is uncertain by 1e-3, the run ends 5e-4 before it is free, and once it is, it
    fires, if its reset or its current puts it above threshold."""
    model = evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0, **values)
    (first, *_), *_ = run_of(model, (weight,), (0.5,), 4.0, None)
    until = float(first) + 2.0 - 5e-4
    moved, *_ = run_of(model, (weight,), (0.5 - 9e-4,), until, None)
    assert moved.size == 1 + left_open
    for radius in (1e-9, 1e-3):
        outcome = run_of(model, (weight,), (0.5,), until, [float(first)], tier=tier,
                         radii={0: radius})[1]  # fmt: skip
        assert outcome.proved == 1
        assert (outcome.finding is not None) == (left_open and radius > 1e-4)
        assert outcome.finding is None or not outcome.finding.proved


@pytest.mark.parametrize("tier", TIERS[:2])
def test_an_arrival_that_may_come_after_a_spike_is_not_before_it(tier, monkeypatch):
    """One without weight, by the centres a little less than the spike's radius before it, which an
    uncertain arrival has made; one that is certain lies between."""
    monkeypatch.setattr(silence, "MOST_STEPS", 30)
    weights, times, until, radii = (6.0, 0.0, 0.0), (0.5, 2.0), 4.0, {0: 1e-2, 2: 1e-9}
    (true, *_), *_ = run_of(LIF, (6.0,), (0.5,), until, None)
    claim = [float(true)]
    lone = run_of(LIF, (6.0,), (0.5,), until, claim, tier=tier, radii={0: 1e-2})[1]
    for part, code in ((0.999, ORDER), (1.001, None)):
        close = float(true - part * lone.radius[0])
        outcome = run_of(LIF, weights, (*times, close), until, claim, tier=tier, radii=radii)[1]
        assert (outcome.finding and outcome.finding.code) == code


@pytest.mark.parametrize("tier", TIERS[:2])
def test_whether_an_arrival_is_lost_is_not_guessed(tier):
    """It comes 5e-4 after the refractory time of a spike that is uncertain, or certain."""
    model = evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0, refractory="block_input")
    (first,), *_ = run_of(model, (6.0,), (0.5,), 4.0, None)
    given = (model, (6.0, 0.1), (0.5, float(first) + 2.0 + 5e-4), 6.0, [float(first)])
    for radius, code in ((1e-9, None), (1e-3, ORDER)):
        outcome = run_of(*given, tier=tier, radii={0: radius})[1]
        assert outcome.proved == 1 and (outcome.finding and outcome.finding.code) == code


class Wide(balls.Pass):
    """The first spike is uncertain by so much."""

    wide = 1e-3

    def take_spike(self, q, k, at, state, r, leap=False):
        super().take_spike(q, k, at, state, r if k else self.wide, leap)


@pytest.mark.parametrize("wide", [1e-9, 1e-3])
def test_a_step_beside_a_release_counts_in_balls_too(wide, monkeypatch):
    """The spike before is made uncertain behind the back of its row: what is left of that in the
    next is what the step does in the time for which its order with the release is open."""
    monkeypatch.setattr(Wide, "wide", wide)
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0))
    net.connect("in", "p", [[30.0]])
    first = evsim.simulate(net, {"in": Spikes([0.0], [0])}, 1.0).spikes["p"].times[0]
    inputs = {"in": Spikes([0.0], [0]), "p": Current([float(first) + 2.0 + 1e-4], [50.0])}
    record = evsim.simulate(net, inputs, 3.0)
    problem = build(net, inputs, record.initial, record.spikes, 3.0, 0.04)
    outcome = Wide(problem, 64, 0.04, math.inf).outcome()
    assert outcome.finding is None and outcome.proved == 2
    slope = (50.0 + 30.0) / 10.0  # at most
    assert (outcome.radius[1] > 50.0 / 10.0 * wide / slope) == (wide > 1e-4)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("t_ref", [0.0, 1.0])
@pytest.mark.parametrize("later, code", [(1e-12, ORDER), (1e-10, ORDER), (1e-8, None)])
def test_an_arrival_at_the_very_end_may_come_before_a_spike(later, code, t_ref, tier, monkeypatch):
    """Of a spike that is uncertain by 1e-9, and the last event of the run: an inhibition could have
    prevented it."""
    model = evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=t_ref)
    (true,), *_ = run_of(model, (8.0,), (0.5,), 2.5, None)
    end, radius = float(true) + later, 1e-9
    if tier == "balls":
        monkeypatch.setattr(Wide, "wide", radius)
        monkeypatch.setattr(balls, "Pass", Wide)
    lone = run_of(model, (8.0,), (0.5,), end, [float(true)], tier=tier, radii={0: radius})[1]
    assert lone.finding is None and lone.proved == 1 and 1e-10 < lone.radius[0] < 1e-8
    outcome = run_of(model, (8.0, -1.0), (0.5, end), end, [float(true)], tier=tier,
                     radii={0: radius})[1]  # fmt: skip
    assert (outcome.finding and outcome.finding.code) == code


def test_a_crossing_at_the_very_time_of_an_inhibition_refutes_nothing():
    """Float64 cannot tell which is first; a claim of what happens if the inhibition is, stays
    open. A nanosecond earlier it is proved, and as much later it is wrong."""
    (hi,), *_ = run_of(LIF, (8.0,), (0.5,), 4.0, None)
    given, hi = (LIF, (8.0, -40.0, 200.0)), float(hi)
    claim, *_ = run_of(*given, (0.5, hi - 1e-9, 5.0), 6.0, None)
    assert claim.size > 0 and claim[0] > 5.0
    for late, status in ((-1e-9, None), (0.0, False), (1e-9, True)):
        finding = run_of(*given, (0.5, hi + late, 5.0), 6.0, claim)[1].finding
        assert (finding and finding.proved) == status


@pytest.mark.parametrize("tier", TIERS[:2])
def test_a_spike_known_less_well_than_the_tolerance_is_left_open(tier):
    """For an arrival that is uncertain by 1e-3; and it is the fault of no source."""
    for tolerance, code in ((1e-2, None), (1e-4, TOO_WIDE)):
        given = (LIF, (8.0,), (0.5,), 4.0, None, tolerance, tier)
        finding = run_of(*given, radii={0: 1e-3})[1].finding
        assert (finding and finding.code) == code
        assert finding is None or finding.source == -1


@pytest.mark.parametrize("tier", TIERS)
def test_arrivals_too_uncertain_for_the_constants_are_refused(tier):
    """Even where nothing comes of them."""
    for part, code in ((0.98, None), (1.02, TOO_WIDE)):
        _, outcome, _ = run_of(LIF, (1e-3,), (0.5,), 4.0, [], tier=tier,
                            radii={0: part * NEAR * 4.0})  # fmt: skip
        assert (outcome.finding and outcome.finding.code) == code


# ------------------------------------------------------------------------------- sensitivities

RECURRENT = {
    "LIF": (evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0), 12.0, None),
    "LIF, hold": (
        evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=0.6, refractory="hold_fire"), 6.0, None
    ),
    "LIF, pulses": (evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=1.0), 15.0, 1.5),
    "alpha": (evsim.AlphaLIF(tau_mem=10.0, tau_syn=3.0, t_ref=1.0), 4.0, None),
    "adaptive": (ADAPTIVE, 7.0, None),
    "adaptive, pulses": (ADAPTIVE, 13.0, 1.5),
    "IF, pulses": (evsim.IF(input="exp", tau_syn=4.0, t_ref=1.0, bias=0.02), 1.0, 2.0),
}  # fmt: skip


def pair_of(model, strength, width, first=None):
    """Neuron `a` acts on `b`, which acts on itself and is driven besides; or in place of `a` an
    input that fires at time `first`."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("b", 1, model)
    if first is None:
        net.add_population("a", 1, evsim.LIF(tau_mem=9.0, tau_syn=5.0, t_ref=99.0))
        net.connect("in", "a", [9.0], pre_units=[0], post_units=[0])
    else:
        net.add_input("a", 1)
    net.connect("in", "b", [strength], 2.0, pre_units=[1], post_units=[0])
    net.connect("a", "b", [[strength]], 0.5, pulse_width=width)
    net.connect("a", "b", [[-0.3 * strength]], 2.25, name="later")
    net.connect("b", "b", [[0.4 * strength]], 1.5, pulse_width=width)
    inputs = {"in": Spikes([0.25, 1.0], [0, 1])}
    if first is not None:
        hi, lo = numbers.split(first)
        inputs["a"] = Spikes([hi], [0], times_lo=[lo])
    return net, inputs


@pytest.mark.parametrize("name", RECURRENT)
def test_rows_are_the_derivatives_of_spike_times(name, monkeypatch):
    """By a spike of another neuron, against differences of runs at 256 bits in which that is an
    input and comes a little earlier or later."""
    kept, real = [], doubles.growth_of

    def keep(table, k):
        kept.append(table)
        return real(table, k)

    monkeypatch.setattr(doubles, "growth_of", keep)
    monkeypatch.setattr(balls, "growth_of", keep)
    until, step = 14.0, Fraction(1, 2**70)
    net, inputs = pair_of(*RECURRENT[name])
    record = evsim.simulate(net, inputs, until)
    problem = build(net, inputs, record.initial, record.spikes, until, 0.02)
    outcomes = [doubles.run(problem, tier, 0.02, math.inf, True)
                for tier in ("float64", "double-double")]  # fmt: skip
    outcomes.append(balls.run(problem, 100, 0.02, math.inf))
    (cause,), effects = problem.order["a"], problem.order["b"]
    assert all(o.finding is None for o in outcomes) and effects.size > 3
    times = []
    for side in (-1, 1):
        net, inputs = pair_of(*RECURRENT[name], outcomes[2].times[cause] + side * step)
        start = {"b": record.initial["b"]}
        claim = {"b": record.spikes["b"]}
        moved = build(net, inputs, start, claim, until, 0.02)
        times.append(balls.run(moved, 256, 0.02, math.inf).times)
    for table in kept[:3]:
        assert table.symbols[0] == table.rows[0] == problem.count
        for k, early, late in zip(effects, *times, strict=True):
            true = float((late - early) / (2 * step)) if k > cause else 0.0
            assert table.c[k, cause] == pytest.approx(true, rel=1e-9, abs=1e-9)
            assert table.c[k, k] == 1.0 and table.length[k] == k + 1
