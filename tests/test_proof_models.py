"""Models whose neurons go on in refractory time, subtract at a reset, or are driven by pulses."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest

import evsim
from evsim.delivery import Current
from evsim.proof import balls, doubles
from evsim.proof.events import LEVEL
from evsim.spikes import Spikes
from reference import certificate
from reference.cells import Cell, live

UNTIL = 40.0
LIF = dict(tau_mem=10.0, tau_syn=4.0, t_ref=2.0)
ADAPTIVE = dict(tau_mem=10.0, tau_syn=4.0, tau_th=20.0, jump_th=0.3, reset="subtract")
#: model, strength of its synapses, width of its recurrent pulses
MODELS = {
    "hold": (evsim.LIF(**LIF | {"t_ref": 0.6}, refractory="hold_fire"), 2.0, None),
    "block": (evsim.LIF(**LIF, refractory="block_input"), 2.0, None),
    "hold, alpha": (evsim.AlphaLIF(**LIF, refractory="hold_fire"), 0.7, None),
    "hold, types": (
        evsim.LIF(tau_mem=9.0, tau_syn={"a": 3.0, "b": 8.0}, t_ref=1.0, refractory="hold_fire"),
        1.5, None,
    ),
    "adaptive": (evsim.AdaptiveLIF(**ADAPTIVE, t_ref=1.0), 2.0, None),
    "adaptive, at once": (evsim.AdaptiveLIF(**ADAPTIVE), 2.0, None),
    "adaptive, block": (
        evsim.AdaptiveLIF(**ADAPTIVE, t_ref=1.5, refractory="block_input"), 2.0, None
    ),
    "pulses": (evsim.LIF(**LIF), 2.0, 1.5),
    "pulses, hold": (evsim.LIF(**LIF, refractory="hold_fire"), 2.0, 1.5),
    "pulses, adaptive": (evsim.AdaptiveLIF(**ADAPTIVE, t_ref=1.0), 2.0, 0.5),
    "pulses, IF": (evsim.IF(input="exp", tau_syn=4.0, t_ref=1.0, bias=0.02), 0.1, 2.0),
}  # fmt: skip
#: Spikes that jumps cause: by balls alone.
JUMPS = {
    "delta": evsim.DeltaLIF(tau_mem=10.0, reset="subtract", t_ref=0.5),
    "delta, at once": evsim.DeltaLIF(tau_mem=10.0, reset="subtract", v_reset=0.2),
    "delta, pulses": evsim.DeltaLIF(tau_mem=10.0, t_ref=1.0),
    "delta, hold": evsim.DeltaLIF(tau_mem=10.0, t_ref=1.5, refractory="hold_fire"),
    "delta, block": evsim.DeltaLIF(tau_mem=10.0, t_ref=1.5, refractory="block_input"),
    "delta, all": evsim.DeltaLIF(
        tau_mem=10.0, t_ref=0.7, refractory="hold_fire", reset="subtract", bias=0.4
    ),
    "IF": evsim.IF(input="delta", bias=0.03, t_ref=0.3, reset="subtract"),
    "IF, hold": evsim.IF(input="delta", bias=0.03, t_ref=0.8, refractory="hold_fire"),
    "IF, block": evsim.IF(input="delta", bias=0.03, t_ref=0.8, refractory="block_input"),
}


def network_of(model, strength, width=None, n=6, seed=0):
    rng = np.random.default_rng(seed)
    net = evsim.Network()
    net.add_input("in", 8)
    net.add_population("p", n, model)
    types = [*model.ports]
    into, back = ({"synapse": types[k]} if types else {} for k in (0, -1))
    net.connect("in", "p", rng.uniform(0.2, 1.0, (8, n)) * strength, 0.5, **into)
    pre, post = rng.integers(0, n, (2, 3 * n))
    weight, delay = rng.normal(0.1, 0.5, 3 * n) * strength, rng.integers(4, 24, 3 * n) / 8.0
    if width is None:
        delay = rng.uniform(0.5, 3.0, 3 * n)
    net.connect("p", "p", weight, delay, pre_units=pre, post_units=post, pulse_width=width, **back)
    if width is not None:  # and one that starts and ends at inputs, at times that no double is
        net.connect("in", "p", rng.normal(0.1, 0.5, (8, n)) * strength, 0.1, pulse_width=0.3,
                    name="more", **into)  # fmt: skip
    times = np.sort(rng.uniform(0.0, UNTIL, 50))
    return net, {"in": Spikes(times, rng.integers(0, 8, 50))}


def checked(found, folder, change=None):
    """What the checker says of a certificate, changed or not."""
    found.save(path := folder / "certificate.json")
    if change is not None:
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
    return certificate.check(path)


def enclosed(outcome, truth):
    """Whether one outcome has the spikes of another, within the radii of both; all, or those up to
    one that needs balls."""
    assert outcome.finding is None or outcome.finding.code == LEVEL, outcome.finding
    k = outcome.proved
    assert k == truth.proved or outcome.finding is not None
    for a, b, r, s in zip(outcome.times, truth.times[:k], outcome.radius, truth.radius[:k],
                          strict=True):  # fmt: skip
        assert abs(a - b) <= r + s


@pytest.mark.parametrize("name", MODELS)
def test_every_tier_proves_a_run_and_encloses_what_a_finer_one_finds(name, tmp_path):
    net, inputs = network_of(*MODELS[name])
    record = evsim.simulate(net, inputs, UNTIL)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.count == len(record.spikes["p"]) > 15, found
    truth = balls.run(found.problem, 256, 0.02, math.inf)
    assert truth.finding is None and truth.radius.max() < 1e-60
    for outcome in (
        doubles.run(found.problem, "float64", 0.02, math.inf, True),
        doubles.run(found.problem, "float64", 0.02, math.inf, False),
        doubles.run(found.problem, "double-double", 0.02, math.inf, True),
        doubles.run(found.problem, "double-double", 0.02, math.inf, True, 100),
        balls.run(found.problem, 100, 0.02, math.inf),
    ):
        enclosed(outcome, truth)
        assert (outcome.finding is None) == (outcome.tier == "balls" or found.tier != "balls")
        limit = {"float64": 1e-6, "double-double": 1e-22, "balls": 1e-20}[outcome.tier]
        assert 0.0 < outcome.radius.max() < limit
    assert checked(found, tmp_path) == (True, "")


@pytest.mark.parametrize("name", JUMPS)
def test_jumps_are_proved_by_balls(name, tmp_path):
    net, inputs = network_of(JUMPS[name], 0.8, 2.0 if "pulses" in name else None)
    record = evsim.simulate(net, inputs, UNTIL)
    found = evsim.certify(record)
    assert found.status == "PROVED" and found.count == len(record.spikes["p"]) > 15, found
    truth = balls.run(found.problem, 256, 0.02, math.inf)
    enclosed(found.outcome, truth)
    enclosed(balls.run(found.problem, 80, 0.02, math.inf), truth)
    assert checked(found, tmp_path) == (True, "")


ORACLE = [
    ("cuba", "value", "hold_fire", 3.0),
    ("cuba", "value", "block_input", 3.0),
    ("delta", "value", "hold_fire", 0.9),
    ("delta", "subtract", "block_input", 1.3),
    ("delta", "subtract", "clamp", 1.3),
    ("delta", "subtract", "hold_fire", 1.3),
    ("if", "subtract", "hold_fire", 1.3),
    ("if", "value", "block_input", 1.3),
    ("if_exp", "value", "hold_fire", 0.2),
]


@pytest.mark.parametrize("kind, reset, refractory, strength", ORACLE)
def test_enclosures_hold_what_fifty_digits_find(kind, reset, refractory, strength):
    common = dict(v_reset=-0.25, t_ref=1.7, reset=reset, refractory=refractory, bias=0.02)
    taus = {"cuba": ("tau_mem", "tau_syn"), "delta": ("tau_mem",), "if_exp": ("tau_syn",)}
    values = {name: {"tau_mem": 10.0, "tau_syn": 4.0}[name] for name in taus.get(kind, ())}
    cls = {"cuba": evsim.LIF, "delta": evsim.DeltaLIF}.get(kind, evsim.IF)
    if kind == "if_exp":
        values["input"] = "exp"
    rng = np.random.default_rng(5)
    times, weight = np.sort(rng.uniform(0.0, UNTIL, 60)), rng.normal(0.5, 1.0, 60) * strength
    net = evsim.Network()
    net.add_input("in", 60)
    net.add_population("p", 1, cls(**values, **common))
    net.connect("in", "p", weight[:, None])
    found = evsim.certify(evsim.simulate(net, {"in": Spikes(times, np.arange(60))}, UNTIL))
    values.pop("input", None)
    cell = Cell(kind=kind, **values, **common)
    events = [(t, "spike", w) for t, w in zip(times, weight, strict=True)]
    truth = live(cell, events, UNTIL).spikes
    assert found.status == "PROVED" and found.count == len(truth) > 6
    spikes = found.spikes["p"]
    for t, r, true in zip(spikes.times, spikes.radius, truth, strict=True):
        sign, man, exp, _ = true._mpf_
        assert abs(t - Fraction((-1) ** sign * int(man)) * Fraction(2) ** exp) <= r + 1e-44


@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_a_pulse_is_a_step_of_current_and_a_current_that_decays(reset):
    """Of an adaptive neuron, by inputs; both ways, for numbers that add up exactly."""
    model = evsim.AdaptiveLIF(**ADAPTIVE | {"reset": reset}, t_ref=1.0)
    rng = np.random.default_rng(3)
    times, height, width = np.sort(rng.choice(600, 12, False)) / 16.0, 1.75, 2.5
    one, two = evsim.Network(), evsim.Network()
    for net in (one, two):
        net.add_input("in", 1)
        net.add_population("p", 1, model)
    one.connect("in", "p", [[height]], pulse_width=width)
    two.connect("in", "p", [[-height]])
    two.connect("in", "p", [[height]], width, name="end")
    train = {"in": Spikes(times, np.zeros(12, int))}
    edges = np.unique([*times, *(times + width)])
    level = [height * ((times <= t) & (t < times + width)).sum() for t in edges]
    proofs = [evsim.certify(evsim.simulate(net, train | more, UNTIL))
              for net, more in ((one, {}), (two, {"p": Current(edges, level)}))]  # fmt: skip
    assert all(f.status == "PROVED" for f in proofs) and proofs[0].count > 1
    a, b = (balls.run(f.problem, 200, 0.02, math.inf) for f in proofs)
    enclosed(a, b)
    assert b.radius.max() < 1e-40


@pytest.mark.parametrize("name", ["hold", "block", "adaptive", "pulses"])
def test_false_claims_are_refuted_or_left_open_where_they_are_false(name, tmp_path):
    net, inputs = network_of(*MODELS[name])
    train = evsim.simulate(net, inputs, UNTIL).spikes["p"]
    wrong = 0
    for k in range(0, len(train), 3):
        late, less = train.times.copy(), np.delete(train.times, k)
        late[k] += 1e-3
        for times, units in ((late, train.units), (less, np.delete(train.units, k))):
            lie = evsim.certify_spikes(net, inputs, {"p": Spikes(times, units)}, UNTIL, 1e-6,
                                       precision=106)  # fmt: skip
            assert lie.status != "PROVED"
            where = lie.first_wrong or lie.undecided
            assert abs(where[2] - train.times[k]) < 0.1
            wrong += lie.status == "WRONG" and where[1] == train.units[k]
    assert wrong >= 0.95 * 2 * len(range(0, len(train), 3))


@pytest.mark.parametrize("name", ["hold", "adaptive, block", "pulses, IF"])
def test_the_checker_rejects_what_is_not_so(name, tmp_path):
    net, inputs = network_of(*MODELS[name])
    found = evsim.certify(evsim.simulate(net, inputs, UNTIL))

    def other(data):
        form = data["forms"][0]
        form["refractory"] = "clamp" if form["refractory"] != "clamp" else "hold_fire"

    def shifted(data):
        data["spikes"][-1][2] = repr(float(data["spikes"][-1][2]) + 1e-6)

    def gone(data):
        del data["spikes"][-1]

    def reset(data):
        data["forms"][0]["subtract"] = not data["forms"][0]["subtract"]

    for change in (other, shifted, gone, *([reset] if name == "adaptive, block" else ())):
        assert not checked(found, tmp_path, change).ok


def test_pulses_of_neurons_must_end_at_a_double():
    net = evsim.Network()
    net.add_population("p", 2, evsim.LIF(**LIF, bias=1.2))
    net.connect("p", "p", [[0.1, 0.1], [0.1, 0.1]], 0.1, pulse_width=0.2)
    record = evsim.simulate(net, {}, 40.0)
    with pytest.raises(ValueError, match=r"delay \+ pulse_width, 0.1 \+ 0.2, is no double"):
        evsim.certify(record)
