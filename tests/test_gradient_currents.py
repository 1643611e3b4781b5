"""Derivatives by rectangular pulses and by steps of an external current: equation (15)."""

import numpy as np
import pytest

import evsim
from evsim import losses
from reference.finite_difference import check

LEVELS = {"v_th": 1.0, "v_reset": -0.1, "t_ref": 0.6}
#: Class, parameters, choices.
MODELS = {
    "lif": (evsim.LIF, {"tau_mem": 9.0, "tau_syn": 4.0, "bias": 0.1} | LEVELS, {}),
    "lif free": (
        evsim.LIF, {"tau_mem": 9.0, "tau_syn": 4.0} | LEVELS,
        {"reset": "subtract", "refractory": "hold_fire"},
    ),
    "if exp": (evsim.IF, {"tau_syn": 3.0, "bias": 0.01} | LEVELS, {"input": "exp"}),
    "if": (evsim.IF, {"bias": 0.01} | LEVELS, {"input": "delta"}),
    "delta": (evsim.DeltaLIF, {"tau_mem": 9.0} | LEVELS, {}),
    "qif": (evsim.QIF, {"tau": 8.0, "bias": 0.1, "v_reset": -0.5, "t_ref": 0.4}, {}),
    "adaptive": (
        evsim.AdaptiveLIF,
        {"tau_mem": 9.0, "tau_syn": 4.0, "tau_th": 12.0, "jump_th": 0.2} | LEVELS, {},
    ),
}  # fmt: skip
UNITS, WIDTH, UNTIL, N = np.array([0, 1, 0, 2, 1, 0]), 3.0, 30.0, 2
#: By how much voltages and slopes differ.
STRENGTH = {"if": 0.15, "if exp": 0.15}


def point(name):
    """Everything that can be moved."""
    rng = np.random.default_rng(2)
    strength = STRENGTH.get(name, 1.0)
    return {
        "w": strength * rng.uniform(0.8, 1.6, (3, N)),
        "times": np.sort(rng.uniform(1.0, 16.0, UNITS.size)),
        "d": np.array(0.35),
        "values": strength * np.array([[0.3, 0.7], [1.7, -0.2], [0.4, 1.9]]),
        "changes": np.array([2.2, 7.1, 17.3]),
        "v": rng.uniform(-0.3, 0.3, N),
    }


def run(name, x, model=None):
    cls, numbers, choices = MODELS[name] if model is None else model
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("p", N, cls(**numbers, **choices))
    net.connect("in", "p", x["w"], x["d"], pulse_width=WIDTH)
    inputs = {
        "in": evsim.Spikes(x["times"], UNITS),
        "p": evsim.Current(x["changes"], x["values"]),
    }
    return evsim.simulate(net, inputs, UNTIL, initial={"p": {"v": x["v"]}})


def pulled(record, cotangent, **options):
    g = evsim.gradient(record, {"p": cotangent}, **options)
    return {
        "w": g.weight["in->p"], "times": g.inputs["in"], "d": np.asarray(g.delay["in->p"]),
        "values": g.currents["p"].values, "changes": g.currents["p"].times,
        "v": g.initial["p"].v,
    }  # fmt: skip


def slow_but(*names):
    return [n if n in names else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]


@pytest.mark.parametrize("name", slow_but("lif", "if exp"))
def test_equation_15_pulses_and_steps_against_differences(name):
    x = point(name)
    assert len(run(name, x).spikes["p"]) >= 4, "a test without spikes proves nothing"
    check(
        lambda x: run(name, x).spikes["p"].times,
        lambda x, c: pulled(run(name, x), c),
        x,
        structure=lambda x: tuple(run(name, x).spikes["p"].units.tolist()),
        directions=3,
        step=1e-3,
        require=True,
    )


def test_parts_of_a_run_with_pulses_add_up():
    record = run("lif", point("lif"))
    c = np.arange(1.0, 1.0 + len(record.spikes["p"]))
    whole, parts = pulled(record, c), pulled(record, c, room=3)
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value, rel=1e-12, abs=1e-13), name


def test_shifting_everything_shifts_every_spike():
    """The first sum rule with pulses and steps, from rest."""
    x = point("lif") | {"v": np.full(N, 0.1)}
    record = run("lif", x)
    c = np.arange(1.0, 1.0 + len(record.spikes["p"]))
    found = pulled(record, c)
    terms = [*found["times"], *found["changes"], *-c]
    assert abs(sum(terms)) < 1e-12 * sum(map(abs, terms))


READ = {
    "final": (losses.Final, lambda r: [r.voltage("p", n, UNTIL) for n in range(N)]),
    "maximum": (losses.Maximum, lambda r: r.maximum("p")[0]),
    "integral": (losses.Integral, lambda r: r.integral("p")),
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("synapse", ["exp", "delta"])
def test_voltages_of_readouts_under_pulses_and_steps(kind, synapse):
    tau = {"tau_syn": 4.0} if synapse == "exp" else {}
    model = evsim.LI, {"tau_mem": 9.0, "bias": 0.1} | tau, {}
    loss, read = READ[kind]
    # Their time constants too: the constant part of an integral knows of pulses.
    names = {"tau_mem": 9.0} | tau

    def at(x):
        numbers = model[1] | {key: float(x[key]) for key in names}
        return run("", x, (model[0], numbers, {}))

    def vjp(x, c):
        record = at(x)
        found = evsim.gradient(record, {"p": loss(c)}).params["p"]
        by_tau = {key: np.asarray(vars(found)[key].sum()) for key in names}
        return pulled(record, loss(c)) | by_tau

    x = point("lif") | {key: np.array(value) for key, value in names.items()}
    check(lambda x: np.array(read(at(x))), vjp, x, directions=3, step=1e-3, require=True)


def test_a_trust_radius_under_pulses_is_not_known():
    record = run("lif", point("lif"))
    assert np.isnan(evsim.gradient(record, {"p": np.ones(len(record.spikes["p"]))}).trust)
