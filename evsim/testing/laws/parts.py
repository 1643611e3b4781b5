"""Laws of parts and names: P5, P7, P16, P18, P19. Who is who, in how many pieces, is nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from evsim.testing.case import JUMPS, Case, Layer, Wire
from evsim.testing.judge import both, is_true, same, same_bits, train
from evsim.testing.law import law
from evsim.testing.laws.scales import SCALED, pairs
from evsim.testing.strategies import (
    UNTIL,
    alone,
    dyadic,
    events_of,
    networks,
    neurons,
    params,
    projections,
    trains,
    unit_weight,
)
from evsim.testing.subject import Broken, Subject, trains_of
from evsim.testing.truth import truth_of

ONE_PORT = tuple(k for k in SCALED if k != "mixed")


@st.composite
def crowds(draw, kind: str) -> Case:
    """Three neurons, each with a threshold, weights and delays of its own."""
    v_th = tuple(draw(st.permutations([1.0, 0.75, 1.5])))
    values = {**draw(params(kind)), "v_th": v_th}
    wire = draw(projections("in", "p", 2, 3, 2.0 * unit_weight(kind, values), later=False))
    spikes = draw(st.lists(st.tuples(dyadic, st.integers(0, 1)), min_size=1, max_size=6))
    sizes = {"in": 2}
    layers = (Layer("p", 3, kind, values),)
    return Case(layers, (wire,), {"in": tuple(sorted(spikes))}, sizes, UNTIL)


@law(
    "P5",
    "Renaming neurons, or the units of an input, renames the spikes and changes nothing else.",
    "Neurons know one another by their synapses only.",
    lambda kind: pairs(
        st.one_of(crowds(kind), crowds(kind), networks(kind), networks(kind, recurrent=True)),
        st.integers(0, 9),
    ),
    kinds=("lif", "delta", "if"),
    clock=None,
)
def p5(subject: Subject, case: Case, seed: int) -> None:
    """All at once, by one permutation each; compared where the names lead."""
    random = Random(seed)
    order = {name: list(range(n)) for name, n in case.sizes.items()}
    order |= {x.name: list(range(x.n)) for x in case.layers}
    for units in order.values():
        random.shuffle(units)
    other = _renamed(case, order)
    truths = truth_of(case, subject.accuracy), truth_of(other, subject.accuracy)
    base, found = subject.run(case).trains, subject.run(other).trains
    back = {x.name: [found[x.name][order[x.name].index(n)] for n in range(x.n)]
            for x in case.layers}  # fmt: skip
    truth = replace(
        truths[1],
        allowed={x.name: [truths[1].allowed[x.name][order[x.name].index(n)] for n in range(x.n)]
                 for x in case.layers},
    )  # fmt: skip
    same(base, back, (truths[0], truth), ("the run", f"the run renamed by {order}"))


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
    three = 3 if kind == "mixed" else 1  # arrivals take the synapse types in turn
    more = sorted([*events, *((t, 0.0) for t in empty for _ in range(three))], key=lambda e: e[0])
    others = [("zero weights added", more)] if kind != "mixed" else []
    if kind in ONE_PORT:
        others.append(("every spike in two halves", [(t, w / 2) for t, w in events for _ in "ab"]))
    else:
        halves = [(t, w / 2) for k in range(0, len(events) - 2, 3) for _ in "ab"
                  for t, w in events[k : k + 3]]  # fmt: skip
        whole = events[: 3 * (len(events) // 3)]
        case = alone(kind, values, whole, case.until)
        others.append(("every spike in two halves", halves))
    base, truth = subject.run(case).trains, truth_of(case, subject.accuracy)
    for words, changed in others:
        other = alone(kind, values, changed, case.until)
        truths = truth, truth_of(other, subject.accuracy)
        same(base, subject.run(other).trains, truths, ("the run", f"the run with {words}"))


@law(
    "P16",
    "Identical neurons with identical input fire identically.",
    "They obey one equation.",
    lambda kind: pairs(neurons(kind), st.sampled_from([2, 3, 9, 65])),
    kinds=SCALED,
    clock=None,
)
def p16(subject: Subject, case: Case, n: int) -> None:
    """Whatever their place; to the last bit, as nothing distinguishes them."""
    truth_of(case, subject.accuracy)
    crowd = case.each_layer(lambda x: replace(x, n=n))
    wires = tuple(replace(w, weight=tuple(row * n for row in w.weight)) for w in case.wires)
    units = subject.run(replace(crowd, wires=wires)).trains["p"]
    for k, unit in enumerate(units):
        if any(a.tobytes() != b.tobytes() for a, b in zip(unit, units[0], strict=True)):
            names = "neuron 0", f"neuron {k}"
            what = f"of {n} identical neurons, 0 and {k} differ.\n"
            raise Broken(what + both(units[0], unit, names))


@law(
    "P18",
    "A run does not remember the runs before it, nor the samples beside it.",
    "A simulation is a function of network and input.",
    lambda kind: pairs(neurons(kind), trains(least=1)),
    kinds=SCALED,
    clock=None,
)
def p18(subject: Subject, case: Case, more: list) -> None:
    """One input, another, the first again; and both as a batch, where it takes batches."""
    layer = case.layers[0]
    unit = unit_weight(layer.kind, dict(layer.params))
    events = events_of(case)
    loud = [(t, w * unit) for t, w in more]
    # Both have the same network: every weight of both, each with an input unit of its own.
    union = alone(layer.kind, dict(layer.params), [*events, *loud, *[(0.0, 0.0)] * 3], case.until)
    quiet = _only(union, lambda m: m < len(events))
    noisy = _only(union, lambda m: m >= len(events))
    truth_of(quiet, subject.accuracy)
    truth_of(noisy, subject.accuracy)
    first, other, again = (subject.run(x) for x in (quiet, noisy, quiet))
    same_bits(first.trains, again.trains, ("the first run", "the same run after another"))
    if subject.batch is not None:
        network, inputs, until = quiet.problem()
        answers = subject.batch(network, [inputs, noisy.problem().inputs, inputs], until)
        for x, answer in zip((first, other, first), answers, strict=True):
            same_bits(x.trains, trains_of(answer, quiet), ("alone", "in a batch"))


def _only(case: Case, wanted: Callable[[int], bool]) -> Case:
    """Only some of the arrivals of `alone`, by their place."""
    ports, spikes = len(case.wires), {}
    for port, w in enumerate(case.wires):
        spikes[w.pre] = tuple((t, u) for t, u in case.spikes[w.pre] if wanted(u * ports + port))
    return replace(case, spikes=spikes)


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
    unit = 3.0 * unit_weight(kind, values)
    if kind not in JUMPS:
        _silent(subject, alone(kind, values, [(0.0, unit)], 0.0), "at the time of its only input")
    pad = [(t, 0.0), (t, 0.0)] if kind == "mixed" else []  # one synapse type for the pair
    cancelled = [(t, unit), *pad, (t, -unit)]
    _silent(subject, alone(kind, values, cancelled), "with two spikes that cancel")
    for when in (0.0, t):
        # Four as one: in a pair, a simulator that keeps one of equal spikes would lose half.
        quarter = [e for _ in range(4) for e in ((when, unit / 4), *((s, w) for s, w in pad))]
        once = alone(kind, values, [(when, unit)])
        four = alone(kind, values, quarter)
        truths = truth_of(once, subject.accuracy), truth_of(four, subject.accuracy)
        one, other = subject.run(once).trains, subject.run(four).trains
        same(truths[0].trains, one, truths[:1], ("the exact solution", f"one spike at {when}"))
        same(one, other, truths, ("one spike", "a quarter of it, four times at once"))


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
