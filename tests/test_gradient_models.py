"""Gradients of every model against differences, through recurrent networks with delays."""

import numpy as np
import pytest

import evsim
from evsim.gradient import gradient
from reference.finite_difference import check

N, N_IN, UNTIL = 3, 3, 30.0
PRE, POST = np.repeat(np.arange(N), 2), (np.repeat(np.arange(N), 2) + np.tile([1, 2], N)) % N
UNITS = np.tile(np.arange(N_IN), 5)

#: Constructor, its numbers, its choices, and (mean, spread) of weights from outside and inside.
LEAKY = dict(v_th=1.0, v_leak=0.05, v_reset=0.1, t_ref=0.8, bias=0.1)
MODELS = {
    "lif": (evsim.LIF, dict(tau_mem=10.0, tau_syn=4.0) | LEAKY, {}, (2.5, 1.5), (0.5, 0.8)),
    "equal": (evsim.LIF, dict(tau_mem=6.0, tau_syn=6.0) | LEAKY, {}, (2.0, 1.5), (0.5, 0.5)),
    "slow": (
        evsim.LIF, dict(tau_mem=4.0, tau_syn=10.0) | LEAKY, dict(refractory="hold_fire"),
        (1.0, 0.6), (0.2, 0.3),
    ),
    "free": (
        evsim.LIF, dict(tau_mem=9.0, tau_syn=4.0) | LEAKY | dict(bias=1.2, t_ref=0.0),
        dict(reset="subtract"), (0.5, 0.5), (0.2, 0.4),
    ),
    "blocked": (
        evsim.LIF, dict(tau_mem=10.0, tau_syn=4.0) | LEAKY, dict(refractory="block_input"),
        (2.5, 1.5), (0.5, 0.8),
    ),
    "mixed": (
        evsim.LIF, dict(tau_mem=10.0, tau_syn={"a": 3.0, "b": 12.0}) | LEAKY, {},
        (1.8, 1.0), (0.5, 0.8),
    ),
    "alpha": (evsim.AlphaLIF, dict(tau_mem=10.0, tau_syn=2.0) | LEAKY, {}, (1.8, 0.8), (0.3, 0.4)),
    "alpha slow": (
        evsim.AlphaLIF, dict(tau_mem=2.0, tau_syn=5.0) | LEAKY, {}, (0.4, 0.2), (0.1, 0.1),
    ),
    "adaptive": (
        evsim.AdaptiveLIF, dict(tau_mem=10.0, tau_syn=4.0, tau_th=15.0, jump_th=0.3) | LEAKY, {},
        (2.8, 1.0), (0.5, 0.8),
    ),
    "adaptive subtract": (
        evsim.AdaptiveLIF, dict(tau_mem=8.0, tau_syn=4.0, tau_th=15.0, jump_th=-0.1) | LEAKY,
        dict(reset="subtract", refractory="hold_fire"), (2.0, 1.0), (0.3, 0.4),
    ),
    "delta": (
        evsim.DeltaLIF, dict(tau_mem=10.0) | LEAKY | dict(bias=1.3), {}, (0.3, 0.2), (0.1, 0.3),
    ),
    "delta subtract": (
        evsim.DeltaLIF, dict(tau_mem=10.0) | LEAKY, dict(reset="subtract"), (0.7, 0.3), (0.2, 0.3),
    ),
    "if": (evsim.IF, dict(v_th=1.0, v_reset=0.1, t_ref=0.6, bias=0.2), {}, (0.2, 0.2), (0.1, 0.1)),
    "if exp": (
        evsim.IF, dict(v_th=1.0, v_reset=0.1, t_ref=0.6, bias=0.05, tau_syn=3.0),
        dict(input="exp"), (0.2, 0.1), (0.05, 0.05),
    ),
    "if ramp": (
        evsim.IF, dict(v_th=1.0, v_reset=0.1, t_ref=0.6, bias=0.05), dict(input="ramp"),
        (0.03, 0.02), (0.0, 0.01),
    ),
    "qif": (
        evsim.QIF, dict(tau=8.0, v_reset=-1.0, t_ref=0.5, bias=0.4), {}, (0.8, 0.5), (0.2, 0.4),
    ),
    "qif below": (
        evsim.QIF, dict(tau=3.0, v_th=6.0, v_reset=-0.4, t_ref=0.5, bias=-0.2), {},
        (0.9, 0.4), (0.2, 0.3),
    ),
}  # fmt: skip


#: Points far enough from a change of the structure for differences of doubles, and where no neuron
#: of a dense layer fires at the very time of an arrival.
SEEDS = {"blocked": 3, "adaptive subtract": 2, "qif below": 2}


def spread(rng, value):
    if isinstance(value, dict):
        return {key: spread(rng, one) for key, one in value.items()}
    return value + 0.05 * (abs(value) > 0) * rng.standard_normal(N) * abs(value)


def point(name, seed=0):
    """Everything that can be moved, as one dict of arrays."""
    rng = np.random.default_rng(seed)
    _, numbers, _, outside, inside = MODELS[name]
    x = {key: spread(rng, value) for key, value in numbers.items() if value != 0.0}
    if "tau_syn" in x and isinstance(x["tau_syn"], dict):
        x |= {f"tau_syn {key}": value for key, value in x.pop("tau_syn").items()}
    return x | {
        "w": rng.normal(*outside, (N_IN, N)),
        "d": np.array(0.3),
        "r": rng.normal(*inside, PRE.size),
        "dr": rng.uniform(0.5, 2.0, PRE.size),
        "times": np.sort(rng.uniform(0, 18, UNITS.size)),
        "v": rng.uniform(-0.3, 0.3, N),
    }


def network(name, x):
    cls, numbers, choices, _, _ = MODELS[name]
    values = {key: x[key] for key in numbers if key in x}
    types = {key.partition(" ")[2]: x[key] for key in x if key.startswith("tau_syn ")}
    net = evsim.Network()
    net.add_input("in", N_IN)
    net.add_population("p", N, cls(**values, **({"tau_syn": types} if types else {}), **choices))
    first, second = ({"synapse": key} for key in types) if types else ({}, {})
    net.connect("in", "p", x["w"], x["d"], **first)
    net.connect("p", "p", x["r"], x["dr"], pre_units=PRE, post_units=POST, **second)
    return net


def run(name, x):
    inputs = {"in": evsim.Spikes(x["times"], UNITS)}
    return evsim.simulate(network(name, x), inputs, UNTIL, initial={"p": {"v": x["v"]}})


def pulled(name, x, c, **options):
    g = gradient(run(name, x), {"p": c}, **options)
    found = vars(g.params["p"])
    if isinstance(found.get("tau_syn"), dict):
        found |= {f"tau_syn {key}": value for key, value in found["tau_syn"].items()}
    found |= {"w": g.weight["in->p"], "d": np.asarray(g.delay["in->p"]), "r": g.weight["p->p"],
              "dr": g.delay["p->p"], "times": g.inputs["in"], "v": g.initial["p"].v}  # fmt: skip
    return {key: found[key] for key in x}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_against_differences(name):
    x = point(name, SEEDS.get(name, 0))
    spikes = run(name, x).spikes["p"]
    assert len(spikes) >= 6, "a test without spikes proves nothing"
    check(
        lambda x: run(name, x).spikes["p"].times,
        lambda x, c: pulled(name, x, c),
        x,
        structure=lambda x: tuple(run(name, x).spikes["p"].units.tolist()),
        directions=1,
        step=1e-3,
        require=True,
    )


def alone(name, x):
    """The same neurons as a layer that hears its input only, without refractory periods."""
    cls, numbers, choices, _, _ = MODELS[name]
    values = {key: x[key] for key in numbers if key in x and key != "t_ref"}
    types = {key.partition(" ")[2]: x[key] for key in x if key.startswith("tau_syn ")}
    choices = {key: value for key, value in choices.items() if key != "refractory"}
    net = evsim.Network()
    net.add_input("in", N_IN)
    net.add_population("p", N, cls(**values, **({"tau_syn": types} if types else {}), **choices))
    net.connect("in", "p", x["w"], x["d"], **({"synapse": next(iter(types))} if types else {}))
    inputs = {"in": evsim.Spikes(x["times"], UNITS)}
    return evsim.simulate(net, inputs, UNTIL, initial={"p": {"v": x["v"]}})


def pulled_alone(name, x, c):
    g = gradient(alone(name, x), {"p": c})
    (sample,) = g._samples
    assert sample.legs["p"].kept is not None, "it has not gone through the pass over dense layers"
    found = vars(g.params["p"])
    if isinstance(found.get("tau_syn"), dict):
        found |= {f"tau_syn {key}": value for key, value in found["tau_syn"].items()}
    found |= {"w": g.weight["in->p"], "d": np.asarray(g.delay["in->p"]),
              "times": g.inputs["in"], "v": g.initial["p"].v}  # fmt: skip
    return {key: found[key] for key in x}


#: Without what differs in refractory periods only, and jumps that make a neuron fire at once.
LAYERS = [name for name in MODELS if name not in ("blocked", "delta subtract", "if", "if ramp")]
QUICK = ("alpha", "delta")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LAYERS]
)
def test_every_model_as_a_dense_layer_against_differences(name):
    x = point(name, SEEDS.get(name, 0))
    for gone in ("r", "dr", "t_ref"):
        x.pop(gone, None)
    if name.startswith("delta"):
        # What an arrival makes fire at once goes another way: here they only delay.
        x["w"], x["bias"] = -0.1 * np.abs(x["w"]), 2.0 * x["bias"]
    assert len(alone(name, x).spikes["p"]) >= 4, "a test without spikes proves nothing"
    check(
        lambda x: alone(name, x).spikes["p"].times,
        lambda x, c: pulled_alone(name, x, c),
        x,
        structure=lambda x: tuple(alone(name, x).spikes["p"].units.tolist()),
        directions=1,
        step=1e-3,
        require=True,
    )
