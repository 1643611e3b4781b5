"""Adjoint, forward sensitivities and 50-digit differences of generated networks; sum rules."""

from dataclasses import dataclass

import numpy as np
import pytest

import evsim
from evsim.gradient import gradient
from reference.sensitivity import Wiring, flat, moved_times, sensitivities

UNTIL = 40.0
QUICK, LONG = range(6), range(6, 500)


@dataclass
class Case:
    """A generated network, its record, and what `reference` has to know of it."""

    record: evsim.Record
    numbers: dict
    wiring: Wiring
    choices: dict


def taus(rng, n, types):
    """Distinct time constants: the reference divides by their differences."""
    mem = rng.uniform(7.0, 12.0, n)
    return mem, [mem * rng.uniform(0.3, 0.75, n) * (1.0 if s == 0 else 3.0) for s in range(types)]


def generated(seed):
    """A network of 3 to 5 neurons: recurrent, with delays, any reset, refractoriness, synapses."""
    rng = np.random.default_rng(seed)
    n, n_in, types = int(rng.integers(3, 6)), 4, int(rng.integers(1, 3))
    mem, syn = taus(rng, n, types)
    refractory = str(rng.choice(["clamp", "clamp", "hold_fire", "block_input"]))
    reset = str(rng.choice(["value", "subtract"]))
    t_ref = rng.uniform(0.5, 2.0, n) * (rng.random() < 0.75)
    p = {
        "tau_mem": mem, "tau_syn": syn, "v_th": rng.uniform(0.9, 1.1, n),
        "v_leak": rng.uniform(-0.1, 0.1, n), "v_reset": rng.uniform(-0.2, 0.2, n),
        "bias": rng.uniform(0.0, 0.4, n) + 1.0 * (rng.random() < 0.2), "t_ref": t_ref,
        "v": rng.uniform(-0.3, 0.5, n), "i": [rng.uniform(-0.2, 0.5, n) for _ in range(types)],
    }  # fmt: skip
    fan = 2
    pre = np.concatenate([np.repeat(np.arange(n), fan), n + np.repeat(np.arange(n_in), n)])
    post = np.concatenate([rng.integers(0, n, n * fan), np.tile(np.arange(n), n_in)])
    port = rng.integers(0, types, pre.size)
    inside = pre < n
    w = np.where(inside, rng.normal(0.2, 0.5, pre.size), rng.normal(1.6, 1.0, pre.size))
    p |= {"w": w, "d": rng.uniform(0.4, 2.5, pre.size), "times": np.sort(rng.uniform(0, 25, 14))}
    units = rng.integers(0, n_in, 14)
    choices = {"refractory": refractory, "reset": reset}
    record = run(p, pre, post, port, units, choices)
    spikes = record.spikes["p"]
    last = {}
    events = []
    for t, unit in zip(spikes.times.tolist(), spikes.units.tolist(), strict=True):
        late = np.inf if unit not in last else t - last[unit] - t_ref[unit]
        at_release = t_ref[unit] > 0 and abs(late) < 1e-12
        events.append((unit, t, "start" if t == 0.0 else "release" if at_release else "crossing"))
        last[unit] = t
    wiring = Wiring(
        n, pre.tolist(), post.tolist(), port.tolist(), units.tolist(), events,
        reset == "subtract", refractory,
    )  # fmt: skip
    return Case(record, p, wiring, choices)


def run(p, pre, post, port, units, choices):
    n, types = p["v"].size, len(p["tau_syn"])
    named = {str(s): p["tau_syn"][s] for s in range(types)}
    model = evsim.LIF(
        tau_syn=named if types > 1 else p["tau_syn"][0], **choices,
        **{k: p[k] for k in ("tau_mem", "v_th", "v_leak", "v_reset", "bias", "t_ref")},
    )  # fmt: skip
    net = evsim.Network()
    net.add_input("in", 4)
    net.add_population("p", n, model)
    for s in range(types):
        for name, mine in (("p", (pre < n) & (port == s)), ("in", (pre >= n) & (port == s))):
            net.connect(
                name, "p", p["w"][mine], p["d"][mine], name=f"{name}{s}", post_units=post[mine],
                pre_units=pre[mine] - (n if name == "in" else 0),
                **({"synapse": str(s)} if types > 1 else {}),
            )  # fmt: skip
    i = {str(s): p["i"][s] for s in range(types)} if types > 1 else p["i"][0]
    return evsim.simulate(
        net, {"in": evsim.Spikes(p["times"], units)}, UNTIL, initial={"p": {"v": p["v"], "i": i}}
    )


def by_adjoint(case, c):
    """The gradient in the order of `reference.sensitivity.flat`."""
    g = gradient(case.record, {"p": c})
    n, wiring = case.wiring.n, case.wiring
    found, types = vars(g.params["p"]), len(case.numbers["tau_syn"])
    ports = found["tau_syn"] if types > 1 else {"0": found["tau_syn"]}
    i = g.initial["p"].i if types > 1 else {"0": g.initial["p"].i}
    out = {k: found[k] for k in ("tau_mem", "v_th", "v_leak", "v_reset", "bias", "t_ref")}
    out |= {"tau_syn": [ports[str(s)] for s in range(types)], "v": g.initial["p"].v}
    out |= {"i": [i[str(s)] for s in range(types)], "times": g.inputs["in"]}
    pre, port = np.array(wiring.pre), np.array(wiring.port)
    w, d = np.zeros(pre.size), np.zeros(pre.size)
    for s in range(types):
        for name, mine in (("p", (pre < n) & (port == s)), ("in", (pre >= n) & (port == s))):
            w[mine], d[mine] = g.weight[f"{name}{s}"], g.delay[f"{name}{s}"]
    out |= {"w": w, "d": d}
    return flat({key: out[key] for key in case.numbers})[1], g


def agreed(case, seed):
    """Largest relative deviations: from forward sensitivities, from 50 digits; of both sums."""
    rng = np.random.default_rng(seed)
    s = sensitivities(case.wiring, case.numbers)
    c = rng.standard_normal(s.shape[0])
    values, _ = by_adjoint(case, c)
    size = np.abs(c) @ np.abs(s) + 1e-300
    forward = np.max(np.abs(values - c @ s) / size)
    names, x = flat(case.numbers)
    direction = rng.standard_normal(len(x)) * np.abs(x)
    moved = moved_times(case.wiring, case.numbers, direction, 1e-18)
    differences = np.max(np.abs(moved - s @ direction) / (np.abs(s) @ np.abs(direction) + 1e-300))
    return forward, differences, sum_rules(case, c, dict(zip(names, values, strict=True)))


def sum_rules(case, c, g):
    """Deviations of the laws of time shift and of voltage scaling, relative to their terms."""
    p, n = case.numbers, case.wiring.n
    i = p["i"]
    terms = [g["times", (k,)] for k in range(p["times"].size)]
    for k in range(n):
        push = p["v_leak"][k] + p["bias"][k] - p["v"][k] + sum(one[k] for one in i)
        terms.append(-g["v", (k,)] * push / p["tau_mem"][k])
        terms += [g["i", (s, k)] * one[k] / p["tau_syn"][s][k] for s, one in enumerate(i)]
    shift = abs(sum(terms) - sum(c)) / (sum(map(abs, terms)) + sum(map(abs, c)))
    voltages = ("w", "v_th", "v_leak", "v_reset", "bias", "v", "i")
    terms = [value * np.asarray(p[name])[index]
             for (name, index), value in g.items() if name in voltages]  # fmt: skip
    return shift, abs(sum(terms)) / sum(map(abs, terms))


def judge(seeds):
    regular = spikes = 0
    for seed in seeds:
        case = generated(seed)
        if len(case.record.spikes["p"]) == 0:
            continue
        forward, differences, (shift, scaling) = agreed(case, seed)
        spikes += len(case.record.spikes["p"])
        regular += 1
        assert forward < 1e-10, f"seed {seed}: adjoint against forward sensitivities {forward:.1e}"
        assert differences < 1e-10, f"seed {seed}: against 50 digits {differences:.1e}"
        assert shift < 1e-12, f"seed {seed}: time shift {shift:.1e}"
        assert scaling < 1e-12, f"seed {seed}: voltage scaling {scaling:.1e}"
    return regular, spikes


def test_adjoint_forward_and_fifty_digits_agree():
    regular, spikes = judge(QUICK)
    assert regular >= 5 and spikes > 40


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_battery_of_five_hundred_networks(block):
    regular, _ = judge([seed for seed in LONG if seed % 10 == block])
    assert regular >= 40
