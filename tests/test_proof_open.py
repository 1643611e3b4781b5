"""What is left open is never called wrong: claims next to arrivals of uncertain times."""

import math

import pytest

import evsim
from evsim.proof import balls, doubles
from evsim.proof.bounds import GROWN
from evsim.spikes import Spikes

TIERS = ["float64", "double-double", "balls"]


def neuron(weights, t_ref=2.0):
    """One neuron, with an input for each weight."""
    net = evsim.Network()
    net.add_input("in", len(weights))
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=t_ref))
    net.connect("in", "p", [[w] for w in weights])
    return net


def spikes(net, times, until, start=None):
    inputs = {"in": Spikes(sorted(times), sorted(range(len(times)), key=times.__getitem__))}
    return evsim.simulate(net, inputs, until, initial=start).spikes["p"].times.tolist()


def finding(tier, net, times, claim, until, radii, window, start=None):
    """Where a tier stops if inputs come as uncertainly as said; None: all is proved."""
    inputs = {"in": Spikes(times, range(len(times)))}
    train = {"p": Spikes(claim, [0] * len(claim))}
    found = evsim.certify_spikes(net, inputs, train, until, window, initial=start)
    count = len(claim)
    if tier == "balls":
        run = balls.Pass(found.problem, 64, window, window)
        for k, radius in radii.items():
            run.radius[count + k] = radius
        return run.outcome().finding
    for k, radius in radii.items():
        found.problem.sources.radius[count + k] = radius
    return doubles.run(found.problem, tier, window, window, False).finding


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("radius, proved", [(1e-3, False), (1e-5, True)])
def test_a_claim_that_an_arrival_behind_it_may_make_true_is_not_refuted(tier, radius, proved):
    """An excitation comes behind all that the claim may mean; or, by its radius, before it."""
    net, window, start = neuron([50.0]), 1e-4, {"p": {"v": [0.9995]}}
    (claim,) = spikes(net, [0.002 - 0.9e-3], 0.3, start)
    assert claim + window < 0.002
    found = finding(tier, net, [0.002], [claim], 0.3, {0: radius}, window, start)
    assert found is not None and found.proved == proved


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("radius, proved", [(1e-3, False), (1e-5, True)])
def test_a_spike_that_an_inhibition_may_prevent_refutes_nothing(tier, radius, proved):
    """It comes 8e-4 after the spike, or before it; claimed is what happens then, and later."""
    net, window = neuron([30.0, -60.0, 200.0]), 1e-2
    (first, *_) = spikes(net, [0.0, 4.0, 5.0], 1.0)
    times = [0.0, first + 8e-4, first + 0.3]
    (claim,) = spikes(net, [0.0, times[1] - 0.97e-3, times[2]], first + 1.0)
    assert claim > times[2]
    found = finding(tier, net, times, [claim], first + 1.0, {1: radius}, window)
    assert found is not None and found.proved == proved
    if proved:
        assert found.found == pytest.approx(first, abs=1e-9)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("low, silent", [(0.1, False), (0.14, True)])
def test_between_two_low_ends_a_peak_may_be_as_high_as_its_curvature_allows(tier, low, silent):
    """A gap of length w with both ends `low` w^2 max|F''| below threshold, and a peak of an eighth
    of that above them; a sixteenth would not reach."""
    tau, w = 4.0, 0.4
    net = evsim.Network()
    model = evsim.IF(input="exp", tau_syn=tau, bias=-math.exp(-0.5 * w / tau))
    net.add_population("p", 1, model)
    start = {"p": {"v": [1.0 - low * w * w / tau], "i": [1.0]}}
    fires = len(evsim.simulate(net, {}, w, initial=start).spikes["p"]) > 0
    assert fires != silent
    problem = evsim.certify_spikes(net, {}, {}, w, 1e-6, initial=start).problem
    run = balls.run if tier == "balls" else doubles.run
    args = (64, 0.01, 1e-6) if tier == "balls" else (tier, 0.01, 1e-6, True)
    found = run(problem, *args).finding
    assert (found is None) == silent and (silent or found.proved)


@pytest.mark.parametrize("tier", TIERS)
def test_a_crossing_is_confirmed_up_to_a_slope_that_changes_by_a_quarter(tier):
    """The radius of its only arrival up to which the lemma holds: with D the deviation, v the
    slope, uncertain by eta_0, and m the curvature, r0 = 3 D/(2 v) and eta_0 + m r0 = v/4."""
    tau, weight = 4.0, 1.0
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.IF(input="exp", tau_syn=tau, v_th=1.0))
    net.connect("in", "p", [[weight]])
    inputs = {"in": Spikes([0.0], [0])}
    until = 1.0 + float(evsim.simulate(net, inputs, 9.0).spikes["p"].times[0])
    found = evsim.certify(evsim.simulate(net, inputs, until))
    assert found.status == "PROVED" and found.count == 1
    v = weight * math.exp(-(until - 1.0) / tau)

    def confirmed(radius):
        if tier == "balls":
            run = balls.Pass(found.problem, 64, 1.0, math.inf)
            run.radius[1] = radius
            run.cells[0].shortest *= 1e6  # for larger radii than are allowed
            return run.outcome().proved == 1
        found.problem.sources.radius[1] = radius
        found.problem.neurons.shortest[0] = 1e6 * tau
        return doubles.run(found.problem, tier, 1.0, math.inf, False).proved == 1

    low, high = 1e-6, 3.0
    assert confirmed(low) and not confirmed(high)
    while high > 1.001 * low:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if confirmed(middle) else (low, middle)
    current = weight * (low / tau + (low / tau) ** 2)  # deviation of the current, then of u
    deviation = weight * (low + low**2 / tau) + current * tau * (1.0 - v / weight)
    loose = current * v / weight
    bend = GROWN * (v + loose) / tau
    assert (loose + bend * 1.5 * deviation / v) / v == pytest.approx(0.25, rel=0.01)


@pytest.mark.parametrize("tier", TIERS)
def test_a_missing_spike_is_found_before_what_ends_its_gap(tier):
    """That is an inhibition, on its way for longer than the spike takes."""
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=99.0, bias=1.2))
    net.connect("in", "p", [[-5.0]], delay=18.5)
    found = finding(tier, net, [1.0], [], 30.0, {}, 1e-3)
    assert found is not None and found.proved
    assert found.found == pytest.approx(10.0 * math.log(1.2 / 0.2), abs=1e-6)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("before, proved", [(0.02, False), (1.0, True)])
def test_a_claim_is_not_refuted_while_a_later_spike_may_arrive_within_its_window(
    tier, before, proved
):
    """The second neuron does not fire; the first does at once when its input comes."""
    net, window = evsim.Network(), 0.04
    net.add_input("in", 1)
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=99.0))
    net.connect("in", "p", [[900.0, 0.0]])
    net.connect("p", "p", [1.0], pre_units=[0], post_units=[1])
    inputs = {"in": Spikes([5.0], [0])}
    (true,) = evsim.simulate(net, inputs, 20.0).spikes["p"].times.tolist()
    claims = {"p": Spikes([true - before, true], [1, 0])}
    problem = evsim.certify_spikes(net, inputs, claims, 20.0, window).problem
    if tier == "balls":
        found = balls.Pass(problem, 64, window, window).outcome().finding
    else:
        found = doubles.run(problem, tier, window, window, False).finding
    assert found is not None and found.proved == proved and found.neuron == 1
