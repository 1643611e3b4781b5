"""Networks with rational spike times: exactly proved, ties reported, false claims refuted."""

from fractions import Fraction

import numpy as np
import pytest

import evsim
from evsim.proof import balls
from evsim.spikes import Spikes
from reference import certificate


def network_of(kind, seed=2, n=5, reset="value"):
    rng = np.random.default_rng(seed)
    net = evsim.Network()
    net.add_input("in", 6)
    net.add_population("p", n, evsim.IF(input=kind, bias=0.05, t_ref=0.25, reset=reset))
    scale = 0.6 if kind == "delta" else 0.05
    net.connect("in", "p", rng.uniform(0.1, 1.0, (6, n)) * scale, 0.5)
    pre, post = rng.integers(0, n, (2, 2 * n))
    net.connect("p", "p", rng.normal(0.0, 0.4, 2 * n) * scale, rng.uniform(0.5, 3.0, 2 * n),
                pre_units=pre, post_units=post)  # fmt: skip
    return net, {"in": Spikes(np.sort(rng.uniform(0.0, 20.0, 25)), rng.integers(0, 6, 25))}


@pytest.mark.parametrize("kind, reset", [("ramp", "value"), ("delta", "value"),
                                         ("delta", "subtract")])  # fmt: skip
def test_a_run_is_proved_without_any_error(kind, reset, tmp_path):
    net, inputs = network_of(kind, reset=reset)
    record = evsim.simulate(net, inputs, 20.0)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.tier == "rational"
    assert found.count == len(record.spikes["p"]) > 15
    assert (found.spikes["p"].radius == 0.0).all() and found.ties == []
    for t, s in zip(found.spikes["p"].times, record.spikes["p"].times, strict=True):
        assert abs(float(t) - s) < 1e-12
    fine = balls.run(found.problem, 300, 1e-6, np.inf)
    assert fine.finding is None
    for a, b, r in zip(found.outcome.times, fine.times, fine.radius, strict=True):
        assert abs(a - b) <= r < 1e-60
    found.save(path := tmp_path / "certificate.json")
    assert certificate.check(path) == (True, "")


@pytest.mark.parametrize("kind", ["ramp", "delta"])
def test_false_claims_are_refuted(kind):
    net, inputs = network_of(kind)
    train = evsim.simulate(net, inputs, 20.0).spikes["p"]
    for k in range(len(train)):
        late, less = train.times.copy(), np.delete(train.times, k)
        late[k] += 1e-3 if k % 2 else -1e-3
        for times, units in ((late, train.units), (less, np.delete(train.units, k))):
            lie = evsim.certify_spikes(net, inputs, {"p": Spikes(times, units)}, 20.0, 1e-6)
            assert lie.status == "WRONG"
            assert abs(lie.first_wrong[2] - train.times[k]) < 1.1e-3
            assert lie.first_wrong[1] == train.units[k]
    more = Spikes(np.append(train.times, 7.7), np.append(train.units, 1))
    assert evsim.certify_spikes(net, inputs, {"p": more}, 20.0, 1e-6).status == "WRONG"


def test_thirds_are_exact_and_a_tie_is_said_to_be_one():
    """u = 3 t crosses 1 at 1/3, which no double is; u = 2 t at 1/2, where an arrival comes."""
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 2, evsim.IF(input="ramp", bias=np.array([3.0, 2.0]), t_ref=9.0))
    net.connect("in", "p", np.array([[0.0, -5.0]]))
    record = evsim.simulate(net, {"in": Spikes([0.5], [0])}, 1.0)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.ties == [("p", 1, 0.5)]
    assert found.spikes["p"].times == [Fraction(1, 3), Fraction(1, 2)]
    assert found.spikes["p"].lower[0].startswith("0.33333333333333333333333333")


def test_arrivals_at_one_instant_are_summed_whatever_wrote_them():
    """0.1 + 0.2 is not 0.3: two arrivals are at one instant where the real sums are equal."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("p", 1, evsim.IF(input="delta"))
    net.connect("in", "p", [2.0, -1.5], [0.25, 0.125], pre_units=[0, 1], post_units=[0, 0])
    same = evsim.certify_spikes(net, {"in": Spikes([0.5, 0.625], [0, 1])}, {}, 1.0, 0.0)
    assert same.status == "PROVED" and same.tier == "rational"
    late = np.nextafter(0.625, 1.0)
    found = evsim.certify_spikes(net, {"in": Spikes([0.5, late], [0, 1])}, {}, 1.0, 0.0)
    assert found.status == "WRONG" and found.first_wrong == ("p", 0, 0.75)


RACES = [(0.004, 0.004, 0.5), (-0.002, 0.006, 0.5), (0.0, 0.008, 0.5), (0.002, 0.004, 1.0)]


@pytest.mark.parametrize("early, late, weight", RACES)
def test_claims_within_their_tolerance_but_in_the_wrong_order_prove_nothing(early, late, weight):
    """`j` makes `i` fire at 1 + 1/1024; without that spike it fires at 1.004, or not at all. Claims
    of both lie within 0.0099 of the truth, that of `i` before that of `j`."""
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("j", 1, evsim.IF(input="ramp", t_ref=50.0))
    net.add_population("i", 1, evsim.IF(input="delta", t_ref=50.0))
    net.connect("in", "j", [[1.0], [0.0]])
    net.connect("in", "i", [[0.6], [0.5 if weight == 0.5 else 0.0]])
    net.connect("j", "i", [[weight]], 2.0**-10)
    inputs = {"in": Spikes([0.0, 1.004], [0, 1])}
    train = evsim.simulate(net, inputs, 3.0).spikes
    assert train["j"].times == [1.0] and train["i"].times == [1.0 + 2.0**-10]
    claim = {"i": Spikes(train["i"].times - early, [0]), "j": Spikes([1.0 + late], [0])}
    assert claim["i"].times < claim["j"].times
    found = evsim.certify_spikes(net, inputs, claim, 3.0, 0.0099)
    assert found.status == "UNDECIDED" and found.tier == "rational"
    assert found.count == 0 or (found.spikes["i"].times == [] and found.proved_until < 1.004)
    false = claim | {"j": Spikes([1.03], [0])}
    assert evsim.certify_spikes(net, inputs, false, 3.0, 0.0099).status == "WRONG"
