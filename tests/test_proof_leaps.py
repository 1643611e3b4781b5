"""Spikes that a jump, a reset or the start causes: proved by balls, or refuted."""

import json
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import evsim
from evsim.delivery import Current
from evsim.proof import ball_leap, balls, doubles
from evsim.spikes import Spikes
from reference import certificate

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


def checked(found, folder, change=None):
    """What the checker says of a certificate, changed or not."""
    path = folder / "certificate.json"
    found.save(path)
    if change is not None:
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
    return certificate.check(path)


@pytest.mark.parametrize("name", MODELS)
def test_every_tier_proves_a_network_of_jumps(name, tmp_path):
    net, inputs = network_of(name)
    record = evsim.simulate(net, inputs, UNTIL)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.count == len(record.spikes["p"]) > 20
    assert enclosed(found).radius.max() < 1e-25
    assert checked(found, tmp_path) == (True, "")


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


def test_the_checker_rejects_tampered_certificates_of_jumps(tmp_path):
    found = evsim.certify(evsim.simulate(*network_of("delta"), UNTIL))

    def later(data, k):
        data["spikes"][k][2] = str(float(data["spikes"][k][2]) + 1e-6)

    def other(data, k):
        data["spikes"][k][0] = (data["spikes"][k][0] + 1) % 5

    def gone(data, k):
        del data["spikes"][k]

    for k in range(0, found.count, 3):
        for change in (later, other, gone):
            answer = checked(found, tmp_path, lambda data, k=k, change=change: change(data, k))
            assert not answer.ok


def test_arrivals_at_one_instant_act_together_and_near_ones_in_their_order(tmp_path):
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
    assert checked(found, tmp_path) == (True, "")


def test_a_start_above_threshold_and_a_reset_above_it(tmp_path):
    net = evsim.Network()
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_reset=1.2, t_ref=2.0))
    record = evsim.simulate(net, {}, 5.0, initial={"p": {"v": [1.5, 0.5]}})
    assert record.spikes["p"].times.tolist() == [0.0, 2.0, 4.0]
    found = evsim.certify(record)
    assert found.status == "PROVED"
    enclosed(found)
    assert checked(found, tmp_path) == (True, "")
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


def test_times_are_the_same_where_exact_sums_from_one_source_are():
    """Sources 0 and 1; 2 comes 0.1 after 0, and 3 the sum of the doubles 0.1 and 0.2 after it."""
    zero = Fraction(0)
    root = [(0, zero), (1, zero), (0, Fraction(0.1)), (0, Fraction(0.1) + Fraction(0.2))]
    run = SimpleNamespace(root=root)
    for a, wait, b, other, same in (
        (0, 0.5, 0, 0.5, True), (0, 0.5, 0, 0.25, False), (0, 0.5, 1, 0.5, False),
        (0, 0.1, 2, 0.0, True), (2, 0.2, 3, 0.0, True), (0, 0.3, 3, 0.0, False),
        (0, 0.1 + 0.2, 3, 0.0, False), (1, 0.1, 2, 0.0, False), (2, 0.5, 3, 0.5, False),
    ):  # fmt: skip
        assert ball_leap.together(run, a, wait, b, other) == same
        assert ball_leap.together(run, b, other, a, wait) == same


def test_a_claim_that_the_precision_rounds_is_not_refuted():
    """One that lies 1e-25 before the end of the refractory time, of a tolerance of 1e-22."""
    net = evsim.Network()
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_reset=1.2, t_ref=2.0))
    claim = Spikes([0.0, 2.0, 4.0], [0, 0, 0], times_lo=[0.0, -1e-25, 0.0])
    for precision, status in ((53, "UNDECIDED"), (128, "PROVED")):
        found = evsim.certify_spikes(net, {}, {"p": claim}, 5.0, 1e-22, precision=precision,
                                     initial={"p": {"v": [1.5]}})  # fmt: skip
        assert found.status == status


@pytest.mark.parametrize("tier", ["float64", "double-double", "balls"])
@pytest.mark.parametrize("radius, proved", [(1e-3, False), (1e-5, True)])
def test_an_open_order_of_currents_counts_where_it_may_reach_threshold(tier, radius, proved):
    """An excitation that may come before an inhibition acts on a neuron just below threshold."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    net.connect("in", "p", [-100.0, 50.0], pre_units=[0, 1], post_units=[0, 0])
    start = {"p": {"v": [0.9995 * math.exp(0.00012)]}}
    record = evsim.simulate(net, {"in": Spikes([0.0012, 0.002], [0, 1])}, 0.5, initial=start)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.count == 0
    early = {"in": Spikes([0.0012, 0.002 - 0.99 * radius], [0, 1])}
    assert (evsim.simulate(net, early, 0.5, initial=start).spikes["p"].times.size == 0) == proved
    if tier == "balls":
        run = balls.Pass(found.problem, 64, 0.05, math.inf)
        run.radius[1] = radius
        finding = run.outcome().finding
    else:
        found.problem.sources.radius[1] = radius
        finding = doubles.run(found.problem, tier, 0.05, math.inf, False).finding
    assert (finding is None) == proved and (proved or not finding.proved)


def rerun(found, tier, radii):
    """The finding of a tier where inputs come as uncertainly as said."""
    if tier == "balls":
        run = balls.Pass(found.problem, 64, 0.05, math.inf)
        for k, radius in radii.items():
            run.radius[k] = radius
        return run.outcome().finding
    for k, radius in radii.items():
        found.problem.sources.radius[k] = radius
    return doubles.run(found.problem, tier, 0.05, math.inf, False).finding


@pytest.mark.parametrize("tier", ["float64", "double-double", "balls"])
@pytest.mark.parametrize("radius, proved", [(1e-3, False), (1e-4, True)])
def test_an_excitation_that_may_overtake_is_not_hidden_by_one_still_to_come(tier, radius, proved):
    """Inhibition, excitation, and another that may be the first: it acts alone for a while. The
    state behind all three is low and flat, which tells nothing about that."""
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    net.connect("in", "p", [[-1000.0], [900.0], [101.0]])
    start = {"p": {"v": [0.998 * math.exp(1e-4)]}}
    times = [1e-3, 1.4e-3, 1.5e-3]
    record = evsim.simulate(net, {"in": Spikes(times, [0, 1, 2])}, 0.1, initial=start)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.count == 0
    early = {"in": Spikes([times[2] - 0.99 * radius, *times[:2]], [2, 0, 1])}
    assert (evsim.simulate(net, early, 0.1, initial=start).spikes["p"].times.size == 0) == proved
    finding = rerun(found, tier, {2: radius})
    assert (finding is None) == proved and (proved or not finding.proved)


@pytest.mark.parametrize("tier", ["float64", "double-double"])
def test_a_current_that_may_come_before_a_release_counts(tier):
    """A step of current beside the end of a refractory time whose spike is uncertain: the free
    membrane feels it longer than the centre says, or shorter."""
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0))
    net.connect("in", "p", [[30.0]])
    first = float(evsim.simulate(net, {"in": Spikes([0.0], [0])}, 1.0).spikes["p"].times[0])
    inputs = {"in": Spikes([0.0], [0]), "p": Current([first + 2.0 + 1e-4], [50.0])}
    found = evsim.certify(evsim.simulate(net, inputs, 4.0))
    assert found.status == "PROVED"
    later = {"in": Spikes([1e-3], [0]), "p": inputs["p"]}
    moved = evsim.certify(evsim.simulate(net, later, 4.0))
    claims = [Spikes([float(t) for t in c.spikes["p"].times], c.spikes["p"].units)
              for c in (found, moved)]  # fmt: skip
    found.problem.sources.radius[found.problem.count] = 1e-3
    outcome = doubles.run(found.problem, tier, 0.05, math.inf, False)
    assert outcome.finding is None
    off = np.abs(claims[0].times - claims[1].times)
    assert (off <= outcome.radius).all() and off.max() > 0.05 * outcome.radius.max()


def test_a_release_at_the_very_end_is_not_left_out():
    """Above threshold by its reset, a neuron fires once more where its time and the run end."""
    for reset, status in ((1.2, "UNDECIDED"), (0.5, "PROVED")):
        net = evsim.Network()
        net.add_population("p", 1, evsim.LIF(tau_mem=9.0, tau_syn=5.0, v_reset=reset, t_ref=2.0))
        known = [0.0, 2.0] if reset > 1.0 else [0.0]
        claim, until = {"p": Spikes(known, [0] * len(known))}, 2.0 * len(known)
        found = evsim.certify_spikes(net, {}, claim, until, 1e-9, initial={"p": {"v": [1.5]}})
        assert found.status == status


@pytest.mark.parametrize("tier", ["float64", "double-double"])
def test_inputs_whose_time_is_rounded_count_where_rows_carry_the_rest(tier):
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0))
    net.connect("in", "p", [[30.0, 0.0]])
    net.connect("p", "p", [25.0], [1.0], pre_units=[0], post_units=[1])
    found = evsim.certify(evsim.simulate(net, {"in": Spikes([0.5], [0])}, 4.0))
    shifted = evsim.certify(evsim.simulate(net, {"in": Spikes([0.5 + 1e-6], [0])}, 4.0))
    found.problem.sources.radius[found.count] = 1e-6
    outcome = doubles.run(found.problem, tier, 0.05, math.inf, True)
    assert outcome.finding is None and outcome.proved == shifted.count >= 2
    for a, b, r in zip(outcome.times, shifted.outcome.times, outcome.radius, strict=True):
        assert abs(a - b) <= r < 2e-6


def test_the_checker_leaves_nothing_open_about_the_order_of_jumps(tmp_path):
    """Of two spikes within their radii, one of which would put a neuron above threshold."""
    net = evsim.Network()
    net.add_input("in", 1)
    for name in ("a", "b"):
        net.add_population(name, 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0, t_ref=50.0))
        net.connect("in", name, [[6.0]])
    net.add_population("c", 1, evsim.DeltaLIF(tau_mem=10.0))
    net.connect("a", "c", [[-1.0]], 1.0)
    net.connect("b", "c", [[1.2]], 1.001)
    record = evsim.simulate(net, {"in": Spikes([0.0], [0])}, UNTIL)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.count == 2

    def wide(data):  # so wide that the excitation may come first
        data["spikes"] = [[*spike[:3], "1e-3"] for spike in data["spikes"]]

    def close(data):
        for row in data["synapses"]:
            for synapse in row:
                synapse[1] = "1.0"

    assert checked(found, tmp_path).ok and checked(found, tmp_path, wide).ok  # it knows better
    answer = checked(found, tmp_path, close)
    assert not answer.ok and "order of jumps" in answer.reason
