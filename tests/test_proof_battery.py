"""Certificates of generated neurons against an oracle that shares no formula with them.

The oracle finds every spike to 60 digits in ball arithmetic. The long form of the battery is
run with `EVSIM_BATTERY=250`, the problems of each family; it is 12 here.
"""

import os
from fractions import Fraction

import numpy as np
import pytest

import evsim
from evsim.spikes import Spikes
from reference.lif import simulate
from reference.problems import FAMILIES, generate, variants

COUNT = int(os.environ.get("EVSIM_BATTERY", "12"))
NAMES = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "bias", "reset", "graze")


def network_of(neuron, arrivals):
    net, count = evsim.Network(), max(len(arrivals), 1)
    net.add_input("in", count)
    net.add_population("p", 1, evsim.LIF(**{name: getattr(neuron, name) for name in NAMES}))
    delay = np.array([a[2] if len(a) > 2 else 0.0 for a in arrivals])
    units = np.arange(len(arrivals))
    net.connect("in", "p", [a[1] for a in arrivals], delay, pre_units=units, post_units=0 * units)
    inputs = {"in": Spikes([a[0] for a in arrivals], units)}
    if neuron.current:
        times, values = zip(*neuron.current, strict=True)
        inputs["p"] = evsim.Current(times, values)
    return net, inputs


def check(problem):
    """A verdict on the true spikes, which must be PROVED, and on those of a run."""
    truth = simulate(problem.neuron, problem.arrivals, problem.until)
    net, inputs = network_of(problem.neuron, problem.arrivals)
    times = [s.hi for s in truth.spikes]
    claim = {"p": Spikes(times, [0] * len(times), times_lo=[s.lo for s in truth.spikes])}
    found = evsim.certify_spikes(net, inputs, claim, problem.until, 1e-6, precision=256)
    assert found.status != "WRONG", (problem, found)
    for k, spike in enumerate(truth.spikes[: found.outcome.proved]):
        error = abs(found.outcome.times[k] - Fraction(spike.hi) - Fraction(spike.lo))
        assert error <= Fraction(found.outcome.radius[k]) + Fraction(spike.hi) / 2**100, problem
    run = evsim.certify(evsim.simulate(net, inputs, problem.until), precision=256)
    return found.status, run.status


@pytest.mark.parametrize("family", FAMILIES)
def test_true_spikes_are_proved_and_enclosed(family):
    """All of them, near grazings and races included, but for exact ties and levels."""
    verdicts = [check(problem) for problem in generate(family, COUNT, seed=3)]
    undecided = sum(claim == "UNDECIDED" for claim, _ in verdicts)
    assert undecided <= 0.2 * len(verdicts), verdicts


def test_steps_of_current_are_part_of_the_proof():
    verdicts = [check(problem) for problem in variants("cuba", COUNT, seed=5)]
    assert sum(claim == "PROVED" for claim, _ in verdicts) > 0.5 * COUNT, verdicts


def test_a_voltage_at_rest_starts_there_and_not_at_its_rounding():
    """Near a grazing the rounding of v_leak - v_inf, long decayed, moves the spike by 1e-10."""
    assert check(generate("equal", 51, seed=3)[50]) == ("PROVED", "PROVED")
