"""Laws of parts and names: P5, P7, P16, P18, P19. Who is who, in how many pieces, is nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from evsim.testing.case import JUMPS, TYPES, Case, Layer, Wire
from evsim.testing.judge import both, is_true, same, same_bits, train
from evsim.testing.law import law
from evsim.testing.laws.scales import SCALED, pairs, some
from evsim.testing.strategies import (
    UNTIL,
    alone,
    dyadic,
    events_of,
    networks,
    neurons,
    params,
    projections,
    unit_weight,
)
from evsim.testing.subject import Broken, Subject, trains_of
from evsim.testing.truth import truth_of


@st.composite
def crowds(draw, kind: str) -> Case:
    """Neurons, each with a threshold, or reset, and weights and delays of its own."""
    n, values = draw(st.sampled_from([3, 3, 11])), draw(params(kind))
    several = draw(st.permutations([1.0, 0.75, 1.5]))
    three = tuple((several * n)[:n])
    # The threshold of a QIF is infinity: what differs is where it starts again.
    values |= {"v_reset": tuple(-x for x in three)} if kind == "qif" else {"v_th": three}
    unit, wires, spikes = 2.0 * unit_weight(kind, values), [], {}
    for port in TYPES if kind == "mixed" else (None,):
        name = f"in {port}" if port else "in"
        wire = draw(projections(name, "p", 3, n, unit, later=False))
        wires.append(replace(wire, synapse=port))
        train = draw(st.lists(st.tuples(dyadic, st.integers(0, 2)), min_size=1, max_size=6))
        spikes[name] = tuple(sorted(train))
    layers = (Layer("p", n, kind, values),)
    return Case(layers, tuple(wires), spikes, dict.fromkeys(spikes, 3), UNTIL)


@law(
    "P5",
    "Renaming neurons, or the units of an input, renames the spikes and changes nothing else.",
    "Neurons know one another by their synapses only.",
    lambda kind: pairs(
        st.one_of(crowds(kind), crowds(kind), networks(kind), networks(kind, recurrent=True))
        if kind in ("lif", "delta", "if")
        else crowds(kind),
        st.integers(0, 9),
    ),
    kinds=SCALED,
    clock=None,
)
def p5(subject: Subject, case: Case, seed: int) -> None:
    """All at once, by one permutation each; compared where the names lead."""
    random = Random(seed)
    order = {name: list(range(n)) for name, n in case.sizes.items()}
    order |= {x.name: list(range(x.n)) for x in case.layers}
    for units in order.values():
        random.shuffle(units)
    other, names = _renamed(case, order), ("the run", f"the run renamed by {order}")

    def back(rows):
        return {
            x.name: [rows[x.name][order[x.name].index(n)] for n in range(x.n)] for x in case.layers
        }

    if subject.accuracy.exact:
        base, found = subject.run(case).trains, subject.run(other).trains
        same_bits(base, back(found), names)
        return
    truths = truth_of(case, subject.accuracy), truth_of(other, subject.accuracy)
    base, found = subject.run(case).trains, subject.run(other).trains
    truth = replace(truths[1], allowed=back(truths[1].allowed))
    same(base, back(found), (truths[0], truth), names)


def _renamed(case: Case, order: dict[str, list[int]]) -> Case:
    """Unit `order[k]` of the old is unit k of the new."""

    def layer(x: Layer) -> Layer:
        values = {
            k: tuple(v[u] for u in order[x.name]) if isinstance(v, tuple) else v
            for k, v in x.params.items()
        }
        return replace(x, params=values)

    def wire(w: Wire) -> Wire:
        def rows(values):
            return tuple(tuple(values[a][b] for b in order[w.post]) for a in order[w.pre])

        delay = rows(w.delay) if isinstance(w.delay, tuple) else w.delay
        return replace(w, weight=rows(w.weight), delay=delay)

    spikes = {
        name: tuple(sorted((t, order[name].index(u)) for t, u in train))
        for name, train in case.spikes.items()
    }
    return replace(case.each_layer(layer), wires=tuple(map(wire, case.wires)), spikes=spikes)


@law(
    "P7",
    "Spikes of no weight change nothing, and a spike may come in two halves.",
    "The flow over s1 + s2 is that over s1, then that over s2; jumps add up. No grid may show.",
    lambda kind: pairs(neurons(kind), st.lists(dyadic, min_size=1, max_size=5)),
    kinds=SCALED,
    clock=None,
)
def p7(subject: Subject, case: Case, empty: list[float]) -> None:
    """Zero weights at any time; then two halves at one time."""
    events, values, kind = events_of(case), dict(case.layers[0].params), case.layers[0].kind
    ports = len(TYPES) if kind == "mixed" else 1  # arrivals take the synapse types in turn
    more = sorted([*events, *((t, 0.0) for t in empty for _ in range(ports))], key=lambda e: e[0])
    halves = [(t, w / 2 if (k - m) % ports == 0 else 0.0)
              for m, (t, w) in enumerate(events) for k in range(2 * ports)]  # fmt: skip
    others = [("zero weights added", more), ("every spike in two halves", halves)]
    base, truth = subject.run(case).trains, truth_of(case, subject.accuracy)
    for words, changed in others:
        other = alone(kind, values, changed, case.until)
        truths = truth, truth_of(other, subject.accuracy)
        same(base, subject.run(other).trains, truths, ("the run", f"the run with {words}"))


@law(
    "P16",
    "Identical neurons with identical input fire identically.",
    "They obey one equation.",
    lambda kind: pairs(
        neurons(kind),
        st.sampled_from([2, 3, 7, 8, 9, 64, 65]),
        st.none() | st.tuples(st.sampled_from([-0.125, 0.125]), st.sampled_from([1.0, 0.7]))
        if kind in ("lif", "delta", "if")
        else st.none(),
    ),
    kinds=SCALED,
    clock=None,
)
def p16(subject: Subject, case: Case, n: int, inside: tuple[float, float] | None) -> None:
    """Whatever their place; to the last bit, as nothing distinguishes them.

    `inside` is the weight, for one neuron, and the delay of synapses from all to all, if any.
    """
    crowd = case.each_layer(lambda x: replace(x, n=n))
    wires = [replace(w, weight=tuple(row * n for row in w.weight)) for w in case.wires]
    if inside is not None:
        weight = inside[0] * unit_weight(crowd.layers[0].kind, dict(crowd.layers[0].params)) / n
        wires.append(Wire("p", "p", ((weight,) * n,) * n, inside[1]))
    units = subject.run(replace(crowd, wires=tuple(wires))).trains["p"]
    for k, unit in enumerate(units):
        if any(a.tobytes() != b.tobytes() for a, b in zip(unit, units[0], strict=True)):
            names = "neuron 0", f"neuron {k}"
            what = f"of {n} identical neurons, 0 and {k} differ.\n"
            raise Broken(what + both(units[0], unit, names))


@law(
    "P18",
    "A run does not remember the runs before it, nor the samples beside it.",
    "A simulation is a function of network and input.",
    lambda kind: pairs(some(kind), st.integers(0, 127).map(lambda k: k / 4)),
    kinds=SCALED,
    clock=None,
)
def p18(subject: Subject, case: Case, begin: float) -> None:
    """All input, a part of it, all again, none; and all as a batch, where it takes batches."""
    samples = [
        case,
        case.with_some(lambda t, _: t >= begin),
        case,
        case.with_some(lambda *_: False),
    ]
    answers = [subject.run(x).trains for x in samples]
    same_bits(answers[0], answers[2], ("the first run", "the same run after another"))
    if subject.batch is not None:
        inputs = [x.problem().inputs for x in samples]
        together = subject.batch(case.problem().network, inputs, case.until)
        for alone_, answer in zip(answers, together, strict=True):
            same_bits(alone_, trains_of(answer, case), ("alone", "in a batch"))


@law(
    "P19",
    "No input, no time, a spike at time 0, and duplicates mean what they say.",
    "Arrivals at one instant are summed before any test.",
    lambda kind: pairs(st.just(kind), params(kind, biased=False), dyadic),
    kinds=SCALED,
    clock=None,
    examples=12,
)
def p19(subject: Subject, kind: str, values: dict, t: float) -> None:
    """Small runs of one neuron at rest."""
    _silent(subject, alone(kind, values, []), "without input")
    if kind in ("lif", "delta"):
        _falls(subject, kind, values)
    _silent(subject, alone(kind, values, [], 0.0), "without input and without time")
    # Of few digits, so that quarters of it add up to it exactly.
    unit = 3.0 * 2.0 ** round(math.log2(unit_weight(kind, values)))
    at_zero = alone(kind, values, [(0.0, unit)], 0.0)
    if kind not in JUMPS:
        _silent(subject, at_zero, "at the time of its only input")
    elif kind != "qif" and not subject.accuracy.dt and not subject.run(at_zero).count():
        raise Broken("a jump over the threshold at the end of the run, which is its start, is lost")
    pad = [(t, 0.0), (t, 0.0)] if kind == "mixed" else []  # one synapse type for the pair
    cancelled = [(t, unit), *pad, (t, -unit)]
    _silent(subject, alone(kind, values, cancelled), "with two spikes that cancel")
    for when in (0.0, t):
        # Four as one: in a pair, a simulator that keeps one of equal spikes would lose half.
        quarter = [e for _ in range(4) for e in ((when, unit / 4), *pad)]
        first = [e for w in (unit, 0.0, 0.0, 0.0) for e in ((when, w), *pad)]
        once = alone(kind, values, [(when, unit)])
        four = alone(kind, values, quarter)
        truths = truth_of(once, subject.accuracy), truth_of(four, subject.accuracy)
        one, other = subject.run(once).trains, subject.run(four).trains
        same(truths[0].trains, one, truths[:1], ("the exact solution", f"one spike at {when}"))
        names = "one spike", "a quarter of it, four times at once"
        same(one, other, truths, names)
        if subject.accuracy.exact:
            same_bits(subject.run(alone(kind, values, first)).trains, other, names)


def _falls(subject: Subject, kind: str, values: dict) -> None:
    """Started above threshold it fires at once, and not when it comes down through it."""
    above = {**values, "v_leak": 1.5, "v_th": 1.0, "v_reset": 0.0, "reset": "value", "bias": -1.5}
    case = alone(kind, above, [])
    is_true(subject.run(case), truth_of(case, subject.accuracy))


def _silent(subject: Subject, case: Case, words: str) -> None:
    found = subject.run(case)
    if found.count():
        units = found.trains["p"]
        raise Broken(f"a neuron at rest fires {words}, at {train(units[0])}")
