"""What is left open is never called wrong: claims next to arrivals of uncertain times."""

import pytest

import evsim
from evsim.proof import balls, doubles
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
    """It comes 1e-4 after the spike, or before it; claimed is what happens then, and later."""
    net, window = neuron([30.0, -60.0, 200.0]), 1e-2
    (first, *_) = spikes(net, [0.0, 4.0, 5.0], 1.0)
    times = [0.0, first + 1e-4, first + 0.3]
    (claim,) = spikes(net, [0.0, times[1] - 0.9e-3, times[2]], first + 1.0)
    assert claim > times[2]
    found = finding(tier, net, times, [claim], first + 1.0, {1: radius}, window)
    assert found is not None and found.proved == proved
    if proved:
        assert found.found == pytest.approx(first, abs=1e-9)
