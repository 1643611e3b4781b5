"""The exact oracle's shortcuts against its long ways: networks, glances, roots, sure verdicts."""

import numpy as np
import pytest
from flint import arb, ctx

from reference import crossing, problems
from reference.attainable import FACTOR
from reference.judge import judge, surely_right
from reference.lif import Neuron, Walk, simulate, walked
from reference.networks import Synapse, exact
from reference.networks import simulate as simulate_network

UNTIL = 20.0


def recurrent(seed):
    """Four neurons that all hear one another and themselves, and what comes from outside."""
    rng = np.random.default_rng(seed)
    neurons = [
        Neuron(
            tau_mem=(tau := float(rng.uniform(5, 20))),
            tau_syn=tau if rng.random() < 0.25 else float(rng.uniform(2, 20)),
            v_th=float(rng.uniform(0.7, 1.3)),
            t_ref=float(rng.choice((0.0, 1.0))),
            bias=float(rng.choice((0.0, 1.1))),
        )
        for _ in range(4)
    ]
    given = [[(float(t), 2.0) for t in rng.uniform(0, 10, 3)] for _ in neurons]
    synapses = [
        Synapse(pre, post, float(rng.normal(0.5, 2.0)), float(rng.uniform(0.3, 3.0)))
        for pre in range(4)
        for post in range(4)
    ]
    return neurons, given, synapses


def same_run(one, two):
    """Spikes to 50 digits, and the same decisions."""
    assert len(one.spikes) == len(two.spikes) and len(one.decisions) == len(two.decisions)
    with ctx.workprec(256):
        for a, b in zip(one.spikes, two.spikes, strict=True):
            assert abs(a.ball.mid() - b.ball.mid()) <= arb(10) ** -50 * abs(b.ball)
            assert a.bound == pytest.approx(b.bound, rel=1e-9, abs=1e-30)
    for a, b in zip(one.decisions, two.decisions, strict=True):
        assert a.fired == b.fired and a.end == pytest.approx(b.end, rel=1e-15)
        assert a.margin == pytest.approx(b.margin, rel=1e-6, abs=1e-13)
        assert a.noise == pytest.approx(b.noise, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_network_is_a_fixed_point_of_its_neurons(seed):
    """Every neuron alone, given all that the others send, does what it does among them."""
    neurons, given, synapses = recurrent(seed)
    runs = simulate_network(neurons, given, synapses, UNTIL)
    assert sum(len(run.spikes) for run in runs) > 4
    for n, run in enumerate(runs):
        heard = [s for s in synapses if s.post == n]
        inside = [
            (exact(spike.text), s.weight, s.delay, spike.bound)
            for s in heard
            for spike in runs[s.pre].spikes
        ]
        same_run(run, simulate(neurons[n], [*given[n], *inside], UNTIL))


def test_a_cycle_without_delay_and_too_many_spikes_are_refused():
    neuron = Neuron(bias=2.0)
    loop = [Synapse(0, 1, 1.0), Synapse(1, 0, 1.0)]
    with pytest.raises(ValueError, match="without delay"):
        simulate_network([neuron] * 2, [[], []], loop, UNTIL)
    with pytest.raises(ValueError, match="more than 1 "):
        simulate_network([neuron], [[]], [], UNTIL, most=1)
    chain = simulate_network([neuron] * 2, [[], []], loop[:1], UNTIL)  # no cycle: no delay needed
    assert chain[1].spikes[0].hi == chain[0].spikes[0].hi
    assert len(chain[1].spikes) > len(chain[0].spikes)


@pytest.mark.parametrize("family", problems.FAMILIES)
def test_a_glance_and_a_guess_find_what_balls_and_bisection_find(family, monkeypatch):
    some = [p for p in problems.generate(family, 8, seed=9) if not p.generic]
    some += problems.generate(family, 3, seed=9)
    quick = [simulate(p.neuron, p.arrivals, p.until) for p in some]
    monkeypatch.setattr(crossing, "refined", lambda *_: False)
    for p, run in zip(some, quick, strict=True):
        walk = walked(lambda r, p=p: Walk(p.neuron, p.until, r, sharp=True), p.arrivals)
        same_run(run, walk.settled())


def test_what_is_surely_right_is_right():
    neuron = Neuron(tau_mem=10.0, tau_syn=5.0, v_th=10.0, t_ref=1.25)
    walk = walked(lambda r: Walk(neuron, 60.0, r), [(1.0, 200.0)])
    run = simulate(neuron, [(1.0, 200.0)], 60.0)
    hi, lo = [s.hi for s in run.spikes], [s.lo for s in run.spikes]
    assert len(hi) > 3 and surely_right(walk, hi, lo)
    assert not surely_right(walk, hi[:-1], lo[:-1])
    for k, spike in enumerate(run.spikes):
        assert spike.attainable <= spike.bound
        for times, sure in ((0.9, True), (1.1, False)):
            off = [*lo[:k], lo[k] + times * FACTOR * spike.attainable, *lo[k + 1 :]]
            assert surely_right(walk, hi, off) == sure
            assert not sure or judge(run, hi, off, flagged=False).status == "right"
