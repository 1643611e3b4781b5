"""Generated networks whose gradients are calculated in three ways that share no formula.

The adjoint of `evsim.gradient`, forward sensitivities, and differences in 50 digits. A fifth of
the networks is brought next to the creation of a spike, where a derivative loses its digits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import evsim
from reference.sensitivity import Wiring, flat, moved_times, sensitivities

UNTIL = 40.0
#: Every so many-th network is brought next to a new spike, or next to losing one.
EDGE = 5
#: What a regular gradient promises: of three derivations, and of the laws that hold in any case.
AGREE, LAWS = 1e-10, 1e-12


@dataclass
class Case:
    """A generated network, its record, and what `reference` has to know of it."""

    record: evsim.Record
    numbers: dict
    wiring: Wiring
    choices: dict


def taus(rng, n: int, types: int):
    """Distinct time constants: the reference divides by their differences."""
    mem = rng.uniform(7.0, 12.0, n)
    return mem, [mem * rng.uniform(0.3, 0.75, n) * (1.0 if s == 0 else 3.0) for s in range(types)]


def drawn(seed: int):
    """(numbers, sources, targets, ports, input units, choices) of a network of 3 to 5 neurons.

    Recurrent, with delays, any reset, refractoriness and synapses.
    """
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
    return p, pre, post, port, units, choices


def generated(seed: int) -> Case:
    """The network of that seed; every fifth is brought to where a spike appears or is lost."""
    p, pre, post, port, units, choices = drawn(seed)
    if seed % EDGE == EDGE - 1:
        p["w"] = p["w"] * edge(seed)
    return case_of(p, pre, post, port, units, choices)


def edge(seed: int) -> float:
    """A factor for all weights, a random part of itself away from where spikes change in number.

    Bisection between a factor with as many spikes as at 1 and one with others; either side.
    """
    rng = np.random.default_rng([seed, EDGE])
    p, *wiring = drawn(seed)
    depth, side = 10.0 ** -rng.uniform(1.0, 11.0), int(rng.integers(2))

    def count(factor: float) -> int:
        return len(run(p | {"w": p["w"] * factor}, *wiring).spikes["p"])

    same = [1.0, 1.0]
    for step in range(1, 40):
        same[1] = 1.0 - 0.02 * step
        if count(same[1]) != count(1.0):
            break
        same[0] = same[1]
    while same[0] - same[1] > depth:
        middle = 0.5 * (same[0] + same[1])
        same[int(count(middle) != count(1.0))] = middle
    return same[side]


def case_of(p, pre, post, port, units, choices) -> Case:
    """A network, run."""
    n, t_ref = p["v"].size, p["t_ref"]
    record = run(p, pre, post, port, units, choices)
    spikes = record.spikes["p"]
    last: dict[int, float] = {}
    events = []
    for t, unit in zip(spikes.times.tolist(), spikes.units.tolist(), strict=True):
        late = np.inf if unit not in last else t - last[unit] - t_ref[unit]
        at_release = t_ref[unit] > 0 and abs(late) < 1e-12
        events.append((unit, t, "start" if t == 0.0 else "release" if at_release else "crossing"))
        last[unit] = t
    wiring = Wiring(
        n, pre.tolist(), post.tolist(), port.tolist(), units.tolist(), events,
        choices["reset"] == "subtract", choices["refractory"],
    )  # fmt: skip
    return Case(record, p, wiring, choices)


def run(p, pre, post, port, units, choices) -> evsim.Record:
    """Simulate it."""
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
                synapse=str(s) if types > 1 else None,
            )  # fmt: skip
    i = {str(s): p["i"][s] for s in range(types)} if types > 1 else p["i"][0]
    return evsim.simulate(
        net, {"in": evsim.Spikes(p["times"], units)}, UNTIL, initial={"p": {"v": p["v"], "i": i}}
    )


def by_adjoint(case: Case, c):
    """The gradient in the order of `reference.sensitivity.flat`, and whole."""
    g = evsim.gradient(case.record, {"p": c})
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


@dataclass(frozen=True)
class Agreement:
    """Largest deviations of the adjoint, each relative to the sum of the terms' magnitudes.

    From forward sensitivities, and of these from differences in 50 digits; of the laws of time
    shift and of voltage scaling. And the verdict that came with the gradient.
    """

    spikes: int
    status: str
    forward: float
    differences: float
    shift: float
    scaling: float

    @property
    def sound(self) -> bool:
        """Whether all holds that a regular gradient promises."""
        return max(self.forward, self.differences) < AGREE and max(self.shift, self.scaling) < LAWS


def agreement(seed: int) -> Agreement | None:
    """The network of a seed, judged; None where nothing fires."""
    case = generated(seed)
    if len(case.record.spikes["p"]) == 0:
        return None
    rng = np.random.default_rng(seed)
    s = sensitivities(case.wiring, case.numbers)
    c = rng.standard_normal(s.shape[0])
    values, g = by_adjoint(case, c)
    size = np.abs(c) @ np.abs(s) + 1e-300
    forward = np.max(np.abs(values - c @ s) / size)
    names, x = flat(case.numbers)
    direction = rng.standard_normal(len(x)) * np.abs(x)
    moved = moved_times(case.wiring, case.numbers, direction, 1e-18)
    differences = np.max(np.abs(moved - s @ direction) / (np.abs(s) @ np.abs(direction) + 1e-300))
    laws = sum_rules(case, c, dict(zip(names, values, strict=True)))
    return Agreement(s.shape[0], g.status, *map(float, (forward, differences, *laws)))


def sum_rules(case: Case, c, g) -> tuple[float, float]:
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


def digest() -> str:
    """Of the sources that a battery's answers depend on."""
    evsim_, here = Path(evsim.__file__).parent, Path(__file__)
    files = [*sorted((evsim_ / "models").glob("*.py")), here]
    files += [
        evsim_ / f"{name}.py" for name in ("adjoint", "backward", "gradient", "margins", "numerics")
    ]
    files += [evsim_ / f"{name}.py" for name in ("sample", "sent", "synaptic", "tape", "replay")]
    key = hashlib.sha256()
    for path in (*files, here.parents[1] / "reference" / "sensitivity.py"):
        key.update(path.read_bytes())
    return key.hexdigest()[:16]
