"""Laws of networks with cycles, on the window and on the queue: P2, P3, P5, P11, P16, P18, P19."""

import numpy as np
import pytest

import evsim
from evsim import LIF, Network, Spikes, simulate

N, M, UNTIL = 12, 6, 0.2
BASE = {"tau_mem": 2.0**-6, "tau_syn": 2.0**-8, "t_ref": 1e-3, "v_th": 1.0, "bias": 0.5}
TIMES = ("tau_mem", "tau_syn", "t_ref")
both_paths = pytest.mark.parametrize("path", ["window", "queue"])


def numbers(seed=1):
    """Weights, delays and input of a recurrent network."""
    rng = np.random.default_rng(seed)
    inside = rng.normal(-0.3, 0.8, (N, N)), rng.uniform(1e-4, 4e-3, (N, N))
    outside = rng.normal(1.5, 1.5, (M, N)), rng.uniform(0.0, 2e-3, (M, N))
    return inside, outside, (np.sort(rng.uniform(0, UNTIL, 150)), rng.integers(0, M, 150))


def network(inside, outside, c=1.0, k=1.0):
    """in -> p -> p; times scaled by `c`, voltages by `k`."""
    values = {name: x * (c if name in TIMES else k) for name, x in BASE.items()}
    net = Network()
    net.add_input("in", M)
    net.add_population("p", N, LIF(**values))
    net.connect("in", "p", outside[0] * k, outside[1] * c)
    net.connect("p", "p", inside[0] * k, inside[1] * c)
    return net


def trains(record):
    """Times by neuron, as bytes."""
    s = record.spikes["p"]
    return [s.times[s.units == n].tobytes() + s.times_lo[s.units == n].tobytes() for n in range(N)]


def run(given, path, c=1.0, k=1.0):
    inside, outside, (times, units) = given
    net = network(inside, outside, c, k)
    return simulate(net, {"in": Spikes(times * c, units)}, UNTIL * c, path=path)


@both_paths
@pytest.mark.parametrize("power", [-20, 3])
def test_p2_and_p3_scaling_by_a_power_of_two_changes_no_bit(path, power):
    base = run(numbers(), path).spikes["p"]
    assert len(base) > 100
    for c, k in ((2.0**power, 1.0), (1.0, 2.0**power)):
        scaled = run(numbers(), path, c, k).spikes["p"]
        assert (base.times * c).tobytes() == scaled.times.tobytes()
        assert (base.times_lo * c).tobytes() == scaled.times_lo.tobytes()
        assert base.units.tobytes() == scaled.units.tobytes()


@both_paths
def test_p5_renaming_neurons_and_sources_renames_spikes(path):
    inside, outside, (times, units) = numbers()
    base = trains(run((inside, outside, (times, units)), path))
    rng = np.random.default_rng(2)
    order, sources = rng.permutation(N), rng.permutation(M)
    renamed = (
        tuple(x[np.ix_(order, order)] for x in inside),
        tuple(x[np.ix_(sources, order)] for x in outside),
        (times, np.argsort(sources)[units]),
    )
    assert [trains(run(renamed, path))[n] for n in np.argsort(order)] == base


@both_paths
def test_p11_input_changes_nothing_before_it(path):
    inside, outside, (times, units) = numbers()
    base = run((inside, outside, (times, units)), path).spikes["p"]
    for cut in (10, 75, 140):
        changed = np.where(np.arange(150) >= cut, (units + 1) % M, units)
        other = run((inside, outside, (times, changed)), path).spikes["p"]
        early = [s.times < times[cut] for s in (base, other)]
        for column in ("times", "times_lo", "units"):
            a, b = getattr(base, column)[early[0]], getattr(other, column)[early[1]]
            assert a.tobytes() == b.tobytes()
        assert base.times.tobytes() != other.times.tobytes()


@both_paths
def test_p16_identical_neurons_fire_identically(path):
    """Everybody inhibits everybody, itself too, after one delay."""
    given = (
        (np.full((N, N), -0.125), np.full((N, N), 1.5e-3)),
        (np.repeat(np.linspace(-1.0, 4.0, M)[:, None], N, 1), np.full((M, N), 1e-3)),
        numbers()[2],
    )
    found = trains(run(given, path))
    assert len(set(found)) == 1 and len(found[0]) > 10 * 16


@both_paths
def test_p18_samples_of_a_batch_do_not_meet(path):
    inside, outside, (times, units) = numbers()
    net = network(inside, outside)
    samples = [{"in": Spikes(times[a:], units[a:])} for a in (0, 40, 0, 149)]
    together = simulate(net, samples, UNTIL, path=path)
    for sample, record in zip(samples, together, strict=True):
        assert trains(simulate(net, sample, UNTIL, path=path)) == trains(record)


@both_paths
def test_p19_no_input_no_synapse_no_time(path):
    net = network(*numbers()[:2])
    for sample, until in (
        ({}, UNTIL),
        ({"in": Spikes([], [])}, UNTIL),
        ({"in": Spikes([0.0], [0])}, 0.0),
    ):
        assert len(simulate(net, sample, until, path=path).spikes["p"]) == 0
    alone = Network()
    alone.add_population("p", N, LIF(**BASE | {"bias": 1.25}))
    alone.connect("p", "p", pre_units=[], post_units=[], weight=[], delay=1e-3)
    spikes = simulate(alone, {}, UNTIL, path=path).spikes["p"]
    assert len(spikes) == N * (len(spikes) // N) > 0
    assert spikes.times.tobytes() == simulate(alone, {}, UNTIL).spikes["p"].times.tobytes()
    assert evsim.simulate(Network(), {}, 1.0, path=path).spikes == {}
