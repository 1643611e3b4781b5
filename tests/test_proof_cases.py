"""Verdicts on one neuron whose truth is known to 32 digits, and on false claims about it."""

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from flint import arb

import evsim
from evsim.models.linear import CURRENT
from evsim.proof import balls
from evsim.proof.algebra import polynomial, touch
from evsim.spikes import Spikes
from reference import certificate
from reference.hard_cases import load

CASES = {case.id: case for case in load()}
#: Those that float64 cannot decide, and double-double can.
FINER = {"H4", "H6", "H8a", "H8b", "H20a", "H20b"}
#: Exact grazing, which no precision can tell from a near miss, and algebra can.
TIES = {"H5", "H5s"}


def network_of(case):
    neuron, count = case.neuron, len(case.arrivals)
    names = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "bias", "graze")
    net = evsim.Network()
    net.add_input("in", count)
    net.add_population("p", 1, evsim.LIF(**{name: getattr(neuron, name) for name in names}))
    delay = np.array([a[2] if len(a) > 2 else 0.0 for a in case.arrivals])
    weight = [a[1] for a in case.arrivals]
    net.connect("in", "p", weight, delay, pre_units=range(count), post_units=[0] * count)
    return net, {"in": Spikes([a[0] for a in case.arrivals], np.arange(count))}


def claim(truth):
    """A truth to 32 digits as two doubles."""
    times = [float(t) for t in truth]
    lo = [float(Fraction(t) - Fraction(hi)) for t, hi in zip(truth, times, strict=True)]
    return {"p": Spikes(times, [0] * len(times), times_lo=lo)}


def certified(case, truth, precision=200, tolerance=1e-6):
    return evsim.certify_spikes(
        *network_of(case), claim(truth), case.until, tolerance, precision=precision
    )


@pytest.mark.parametrize("name", CASES)
def test_a_hard_case_gets_its_true_verdict_in_the_cheapest_tier(name, tmp_path):
    case = CASES[name]
    found = certified(case, case.truth)
    if name in TIES:
        assert found.status == "PROVED" and found.tier == "balls"
        found.save(path := tmp_path / "certificate.json")
        assert not certificate.check(path).ok  # which knows no algebra
        return
    assert found.status == "PROVED", found
    assert found.tier == ("double-double" if name in FINER else "float64")
    spikes = found.spikes["p"]
    for low, high, true in zip(spikes.lower, spikes.upper, case.truth, strict=True):
        digits = Decimal("1e-27")
        assert Decimal(low) - digits <= Decimal(true) <= Decimal(high) + digits
    path = tmp_path / "certificate.json"
    found.save(path)
    assert certificate.check(path).ok, certificate.check(path).reason


@pytest.mark.parametrize("name", sorted(set(CASES) - TIES))
def test_every_tier_encloses_the_truth(name):
    case = CASES[name]
    from evsim.proof import balls, doubles

    found = certified(case, case.truth)
    problem = found.problem
    for run in (
        lambda: doubles.run(problem, "float64", 0.01, 1e-6, True),
        lambda: doubles.run(problem, "double-double", 0.01, 1e-6, False),
        lambda: balls.run(problem, 80, 0.01, 1e-6),
        lambda: balls.run(problem, 200, 0.01, 1e-6),
    ):
        outcome = run()
        for k in range(outcome.proved):
            error = abs(outcome.times[k] - Fraction(case.truth[k]))
            assert error <= Fraction(outcome.radius[k]) + Fraction(1, 10**25), outcome.tier


def test_the_arrival_that_comes_first_decides():
    """H20a and H20b differ by one double: the claim of either is false for the other."""
    a, b = CASES["H20a"], CASES["H20b"]
    lie = certified(a, b.truth)
    assert lie.status == "WRONG" and lie.first_wrong[:2] == ("p", 0)
    assert lie.tier == "double-double"
    lie = certified(b, a.truth)
    assert lie.status == "WRONG" and abs(lie.finding.found - float(b.truth[0])) < 1e-12


def test_algebra_tells_touching_from_crossing_and_from_missing():
    """A touch is one spike or none, by policy, and at its own time; and later arrivals count."""
    touched, strict = CASES["H5"], CASES["H5s"]
    at = float(touched.truth[0])
    for case, lie in ((touched, ()), (strict, touched.truth), (touched, (str(at + 1e-3),)),
                      (touched, (str(at - 1e-3),))):  # fmt: skip
        assert certified(case, lie).status == "WRONG"
    for case, truth in ((touched, touched.truth), (strict, ())):
        later = replace(case, arrivals=(*case.arrivals, (10.0, 1.0)))
        assert certified(later, truth).status == "PROVED"
    found = certified(touched, touched.truth)
    error = abs(found.outcome.times[0] - Fraction(touched.truth[0]))
    assert found.outcome.radius[0] < 1e-30 and error < Fraction(1, 10**30)


@pytest.mark.parametrize("radius, proved", [(1e-3, False), (1e-5, True)])
def test_a_touch_that_an_inhibition_may_prevent_is_not_proved(radius, proved):
    """It comes 1e-4 after the touch, within its radius or not: silence is left open or false."""
    case = CASES["H5"]
    at = float(case.truth[0])
    later = replace(case, arrivals=(*case.arrivals, (at + 1e-4, -1.0)))
    problem = certified(later, case.truth).problem
    none = evsim.certify_spikes(*network_of(later), claim(()), case.until, 1e-6).problem
    assert problem.count == 1 and none.count == 0
    run = balls.Pass(none, 128, 0.01, 1e-6)
    run.radius[1] = radius
    finding = run.outcome().finding
    assert finding is not None and finding.proved == proved


def test_of_two_times_that_cannot_be_told_apart_neither_is_the_first():
    """F = -(x - 1/2)^2 (x - 1/4), x = e^(-s/6): a touch at 6 log 2, and a crossing at 12 log 2 that
    counts unless it is surely behind the end of the gap."""
    form = SimpleNamespace(tau=6.0, taus=(3.0, 2.0), theta=Fraction(-1, 16))
    start = [Fraction(-1, 4), Fraction(-5, 4), Fraction(2)]
    cell = SimpleNamespace(rational=start, kind=[CURRENT] * 2, form=form)
    once, again = 6.0 * math.log(2.0), 12.0 * math.log(2.0)
    for end, found in (
        (once - 1e-6, None),
        (arb(once, 1e-9), None),
        (once + 1e-6, False),
        (again - 1e-6, False),
        (arb(again, 1e-9), True),
        (again + 1e-6, True),
    ):
        graze = touch(cell, arb(end))
        assert graze is None if found is None else graze.again is found
        assert graze is None or abs(graze.after - 6 * arb(2).log()) < 1e-12


@pytest.mark.parametrize("taus", [(10.0, 5.0), (8.0, 6.0), (9.0, 6.0), (6.0, 8.0), (5.0, 10.0)])
def test_a_touch_is_a_multiple_root_and_nothing_near_it_is(taus):
    """From rest the peak is w (tau_s/tau_m)^k, k = tau_m/(tau_m - tau_s), here an integer."""
    m, s = map(Fraction, taus)
    peak = (s / m) ** int(m / (m - s))
    for more, degree in ((0, 1), (Fraction(1, 10**30), 0), (Fraction(-1, 10**30), 0)):
        f, g = polynomial(Fraction(0), [(1 + more) / peak], taus[0], taus[1:], Fraction(1))
        assert f.gcd(f.derivative()).degree() == degree
    assert 1 / m / g == int(1 / m / g) and 1 / s / g == int(1 / s / g)


def test_simulate_and_the_proof_may_disagree_and_the_proof_says_so():
    record = evsim.simulate(*network_of(CASES["H20a"]), CASES["H20a"].until)
    found = evsim.certify(record)
    assert len(record.spikes["p"]) == 1 and found.status == "WRONG"


@pytest.mark.parametrize("name", ["H11", "H12", "H15", "H16", "G6"])
def test_false_claims_are_refuted_where_they_are_false(name):
    case = CASES[name]
    for k in range(len(case.truth)):
        true = float(case.truth[k])
        for other in (
            case.truth[:k] + case.truth[k + 1 :],
            (*case.truth[:k], str(true + 0.3), *case.truth[k + 1 :]),
            (*case.truth[:k], str(true - 0.3), *case.truth[k + 1 :]),
        ):
            found = certified(case, other)
            assert found.status == "WRONG", found
            assert abs(found.first_wrong[2] - true) < 0.31
    found = certified(case, (*case.truth, str(case.until - 0.5)))
    assert found.status == "WRONG" and abs(found.first_wrong[2] - case.until + 0.5) < 1e-9


def test_a_claim_beyond_the_tolerance_is_wrong_and_one_within_is_proved():
    case = CASES["H11"]
    near = (str(Decimal(case.truth[0]) + Decimal("4e-7")),)
    assert certified(case, near, tolerance=1e-6).status == "PROVED"
    found = certified(case, near, tolerance=1e-7)
    assert found.status == "WRONG" and abs(found.finding.found - float(case.truth[0])) < 1e-9


def test_precision_is_the_most_that_is_used():
    case = CASES["H4"]
    assert certified(case, case.truth, precision=53).status == "UNDECIDED"
    assert certified(case, case.truth, precision=80).tier == "balls"
    with pytest.raises(ValueError, match="precision must be an integer of at least 53"):
        certified(case, case.truth, precision=20)


def test_what_cannot_be_proved_is_refused_by_name():
    net = evsim.Network()
    net.add_population("q", 2, evsim.QIF(tau=1.0, bias=1.0))
    with pytest.raises(ValueError, match="'q': QIF"):
        evsim.certify_spikes(net, {}, {}, 1.0, 1e-3)
    net = evsim.Network()
    net.add_population("p", 1, evsim.LIF(tau_mem=1.0, tau_syn=1.0))
    with pytest.raises(ValueError, match=r"spikes\['p'\].units\[0\]"):
        evsim.certify_spikes(net, {}, {"p": Spikes([0.5], [3])}, 1.0, 1e-3)
    with pytest.raises(ValueError, match=r"spikes\['x'\] is no population"):
        evsim.certify_spikes(net, {}, {"x": Spikes([0.5], [0])}, 1.0, 1e-3)
