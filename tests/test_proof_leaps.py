"""Spikes that a jump, a reset or the start causes: proved by balls, or refuted."""

import math

import numpy as np
import pytest

import evsim
from evsim.delivery import Current
from evsim.proof import balls
from evsim.spikes import Spikes

MODELS = {
    "delta": evsim.DeltaLIF(tau_mem=10.0, t_ref=0.5),
    "delta, no rest": evsim.DeltaLIF(tau_mem=10.0, v_reset=-0.1),
    "delta, bias": evsim.DeltaLIF(tau_mem=10.0, bias=1.3, t_ref=1.0),
    "IF": evsim.IF(input="delta", bias=0.03, t_ref=0.3),
}
UNTIL = 20.0


def network_of(name, n=5):
    rng = np.random.default_rng(len(name))
    net = evsim.Network()
    net.add_input("in", 6)
    net.add_population("p", n, MODELS[name])
    net.connect("in", "p", rng.uniform(0.2, 0.7, (6, n)), 0.5)
    pre, post = rng.integers(0, n, (2, 2 * n))
    net.connect("p", "p", rng.normal(0.1, 0.3, 2 * n), rng.uniform(0.5, 3.0, 2 * n),
                pre_units=pre, post_units=post)  # fmt: skip
    return net, {"in": Spikes(np.sort(rng.uniform(0.0, UNTIL, 25)), rng.integers(0, 6, 25))}


def enclosed(found, window=0.02):
    """Every tier holds what the finest finds."""
    truth = balls.run(found.problem, 256, window, math.inf)
    assert truth.finding is None
    for bits in (80, 100):
        outcome = balls.run(found.problem, bits, window, math.inf)
        assert outcome.finding is None, outcome.finding
        for a, b, r, s in zip(
            outcome.times, truth.times, outcome.radius, truth.radius, strict=True
        ):
            assert abs(a - b) <= r + s
    return truth


@pytest.mark.parametrize("name", MODELS)
def test_every_tier_proves_a_network_of_jumps(name):
    net, inputs = network_of(name)
    record = evsim.simulate(net, inputs, UNTIL)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.count == len(record.spikes["p"]) > 20
    assert enclosed(found).radius.max() < 1e-25


@pytest.mark.parametrize("name", ["delta", "delta, bias"])
def test_false_claims_about_jumps_are_refuted(name):
    net, inputs = network_of(name)
    train = evsim.simulate(net, inputs, UNTIL).spikes["p"]
    for k in range(0, len(train), 5):
        late, less = train.times.copy(), np.delete(train.times, k)
        late[k] += 1e-3
        for times, units in ((late, train.units), (less, np.delete(train.units, k))):
            lie = evsim.certify_spikes(net, inputs, {"p": Spikes(times, units)}, UNTIL, 1e-6)
            assert lie.status == "WRONG" and abs(lie.first_wrong[2] - train.times[k]) < 1e-6
    more = Spikes(np.append(train.times, 7.7), np.append(train.units, 1))
    assert evsim.certify_spikes(net, inputs, {"p": more}, UNTIL, 1e-6).status == "WRONG"


def test_arrivals_at_one_instant_act_together_and_near_ones_in_their_order():
    """Equal delays on one spike, and one step of a grid, are ties by construction."""
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("p", 1, evsim.DeltaLIF(tau_mem=10.0, t_ref=1.0))
    net.add_population("q", 2, evsim.DeltaLIF(tau_mem=10.0, t_ref=1.0))
    net.connect("in", "p", np.array([[0.7], [0.7], [-0.6]]), 0.5)
    net.connect("p", "q", np.array([[1.5, 0.8]]), 0.1, name="one")
    net.connect("p", "q", np.array([[-0.8, 0.8]]), 0.1, name="other")
    raster = np.zeros((40, 3), int)
    raster[10] = 1  # together 0.8: nothing, though two of them would be enough
    raster[25, :2] = 1
    inputs = {"in": Spikes.from_raster(raster, dt=0.1, layout="TN")}
    record = evsim.simulate(net, inputs, 6.0)
    assert record.spikes["p"].times.round(9).tolist() == [3.0]
    assert record.spikes["q"].units.tolist() == [1]
    found = evsim.certify(record)
    assert found.status == "PROVED"
    enclosed(found, 1e-3)


def test_a_start_above_threshold_and_a_reset_above_it():
    net = evsim.Network()
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_reset=1.2, t_ref=2.0))
    record = evsim.simulate(net, {}, 5.0, initial={"p": {"v": [1.5, 0.5]}})
    assert record.spikes["p"].times.tolist() == [0.0, 2.0, 4.0]
    found = evsim.certify(record)
    assert found.status == "PROVED"
    enclosed(found)
    lie = evsim.certify_spikes(net, {}, {"p": Spikes([0.0, 2.0], [0, 0])}, 5.0, 1e-9,
                               initial={"p": {"v": [1.5, 0.5]}})  # fmt: skip
    assert lie.status == "WRONG" and lie.first_wrong[2] == 4.0


def test_jumps_whose_order_nobody_can_tell_are_undecided():
    """Two spikes of different origin, equal in all that can be computed, and one inhibits."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, evsim.LIF(tau_mem=10.0, tau_syn=5.0, t_ref=50.0))
    net.add_population("b", 1, evsim.DeltaLIF(tau_mem=10.0))
    net.connect("in", "a", np.diag([6.0, 6.0]))
    net.connect("a", "b", np.array([[1.5], [-1.5]]), 1.0)
    inputs = {"in": Spikes([0.0, 0.0], [0, 1])}
    record = evsim.simulate(net, inputs, 10.0)
    found = evsim.certify(record, precision=128)
    assert found.status == "UNDECIDED" and "order" in found.instead


@pytest.mark.parametrize("later, status", [(0.0, "UNDECIDED"), (0.1, "PROVED")])
def test_the_order_of_jumps_from_two_neurons_is_not_guessed(later, status):
    """Equal neurons fire together: one inhibits, one excites, and the order would decide."""
    net = evsim.Network()
    net.add_input("in", 1)
    for name in ("a", "b"):
        net.add_population(name, 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0))
        net.connect("in", name, [[6.0]])
    net.add_population("c", 1, evsim.DeltaLIF(tau_mem=10.0))
    net.connect("a", "c", [[-1.0]], 1.0)
    net.connect("b", "c", [[1.2]], 1.0 + later)
    record = evsim.simulate(net, {"in": Spikes([0.0], [0])}, UNTIL)
    assert len(record.spikes["a"]) == len(record.spikes["b"]) == 1
    assert evsim.certify(record, precision=53).status == status


def jumps_beside(also=(), current=None):
    """A neuron that fires at a flat crossing, and one that its spike and another put above."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("a", 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0, t_ref=50.0))
    net.add_population("b", 1, evsim.DeltaLIF(tau_mem=10.0, t_ref=50.0))
    net.connect("in", "a", [4.0004], pre_units=[0], post_units=[0])
    net.connect("in", "b", [0.7], pre_units=[1], post_units=[0])
    net.connect("a", "b", [[0.7]])
    inputs = {"in": Spikes([0.0, *also], [0, *(1 for _ in also)])}
    if current is not None:
        inputs["b"] = Current([current], [1e-3])
    return evsim.simulate(net, inputs, 12.0)


def test_a_step_between_two_jumps_does_not_hide_that_their_order_is_open():
    """At 53 bits the spike lies 17 ulp before its true time, which is behind the other jump."""
    alone = evsim.certify(jumps_beside()).problem
    near, true = (balls.run(alone, bits, 0.05, math.inf).times[0] for bits in (53, 256))
    ulp = np.spacing(float(near))
    assert true - near > 12 * ulp
    record = jumps_beside([float(near) + 4 * ulp], float(near) + 2 * ulp)
    found = evsim.certify(record, precision=53)
    assert found.status == "UNDECIDED" and "order" in found.instead


def test_a_claim_that_the_precision_rounds_is_not_refuted():
    """One that lies 1e-25 before the end of the refractory time, of a tolerance of 1e-20."""
    net = evsim.Network()
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_reset=1.2, t_ref=2.0))
    claim = Spikes([0.0, 2.0, 4.0], [0, 0, 0], times_lo=[0.0, -1e-25, 0.0])
    for precision, status in ((53, "UNDECIDED"), (128, "PROVED")):
        found = evsim.certify_spikes(net, {}, {"p": claim}, 5.0, 1e-20, precision=precision,
                                     initial={"p": {"v": [1.5]}})  # fmt: skip
        assert found.status == status
