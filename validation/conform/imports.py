"""Does a framework's importer make of a graph what the graph says?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from validation import causes, currents, exact
from validation.conform import chains, meaning
from validation.conform.graphs import UNIT_AREA, Case
from validation.conform.rows import Row, refusal
from validation.conform.search import causes_of, found_of
from validation.currents import Inputs
from validation.declaration import NEVER, SILENT
from validation.declared import Declared, Source
from validation.discrete import check
from validation.flips import flips

#: Float32 sums in another order differ by less than this, in parts of their largest value.
SAME = 1e-5
#: Delays in steps of a recurrent edge, beside the right one, that are looked for.
LATE = (2, 3)
#: Share by which time constants are moved apart.
APART = 2.0**-10
#: Fields of linear nodes, and the values at which they do nothing.
NEUTRAL = {"padding": 0, "stride": 1, "dilation": 1, "groups": 1, "bias": 0, "delay": 0}


def ask(case: Case, framework: str, importer: Any) -> Row:
    """Import a graph, run it, and judge its output.

    Parameters
    ----------
    case : Case
    framework : str
        Name of the adapter; its own discretisation of a neuron is tried first.
    importer : callable
        `(graph, dt, x) -> y`: what the framework computes, [T, B, ...].
    """
    try:
        y = np.asarray(importer(case.graph, case.dt, case.x))
    except Exception as error:  # a framework may raise anything
        return refusal("import", case.subject, case.variant, error)
    if not np.isfinite(y).all():
        cause = ["equal_constants"] if _cured(case, importer) else []
        return _row(case, "deviating", cause, "its output is not finite")
    if case.subject == "recurrent loop":
        return loop(case, y, framework)
    node = dict(meaning.chain_of(case.graph))[case.node]
    heard = meaning.received(case.graph, case.x, case.dt, case.node)
    known = meaning.stateless(case.node, node, heard, case.dt)
    if known is not None:
        return _stateless(case, node, heard, known, y)
    if y.size != heard.size:
        return _row(case, "deviating", note=f"its output has shape {list(y.shape)}")
    if case.variant.endswith(UNIT_AREA):
        return _unit_area(case, node, heard, y, framework)
    return _neuron(case, node, heard, y, framework)


def _cured(case: Case, importer: Any) -> bool:
    """Whether time constants that are equal are what makes the output infinite, or no number."""
    graph = case.graph
    nodes = [*graph.nodes.values()]
    nodes += [inner for node in nodes for inner in getattr(node, "nodes", {}).values()]
    equal = [n for n in nodes if hasattr(n, "tau_syn") and np.any(n.tau_syn == n.tau_mem)]
    for node in equal:
        node.tau_syn = np.asarray(node.tau_syn) * (1.0 + APART)
    try:
        return bool(equal) and bool(np.isfinite(importer(graph, case.dt, case.x)).all())
    except Exception:  # a framework may raise anything
        return False


def _row(case: Case, verdict: str, cause: list[str] | None = None, note: str = "") -> Row:
    return Row("import", case.subject, case.variant, verdict, cause or [], note)


def _same(y: np.ndarray, known: np.ndarray) -> bool:
    flat, want = y.reshape(-1), known.reshape(-1)
    if flat.size != want.size or not want.size:
        return False
    return bool(np.abs(flat - want).max(initial=0.0) <= SAME * max(1.0, np.abs(want).max()))


def _stateless(case: Case, node: Any, heard: np.ndarray, known: np.ndarray, y: np.ndarray) -> Row:
    if _same(y, known):
        flat = (known.shape[0], known[0].size)
        if y.shape == flat != known.shape:
            said = f"its output has shape {list(y.shape)}: samples are not kept apart"
            return _row(case, "deviating", ["ignored:batch"], said)
        return _row(case, "identical")
    if _same(y, heard):
        return _row(case, "dropped", ["node_dropped"])
    cause = [_lost(name) for name in NEUTRAL if _same(y, _without(case, node, heard, name))]
    if not cause and y.size == known.size and type(node).__name__ in ("Affine", "Linear"):
        source = Source("input", np.asarray(node.weight, np.float32), 0)
        inputs = Inputs([source], getattr(node, "bias", None), [heard])
        cause = currents.of_input(_weighted(y), inputs).cause
    return _row(case, "deviating", cause[:1], f"its output has shape {list(y.shape)}")


def _lost(name: str) -> str:
    return "bias_lost" if name == "bias" else f"ignored:{name}"


def _without(case: Case, node: Any, heard: np.ndarray, name: str) -> np.ndarray:
    """What a node would make of its input if one of its fields had no effect."""
    if not hasattr(node, name):
        return np.zeros(0)
    other = copy.copy(node)
    setattr(other, name, np.full_like(np.asarray(getattr(node, name)), NEUTRAL[name]))
    try:
        found = meaning.stateless(case.node, other, heard, case.dt)
    except ValueError:
        found = None
    return np.zeros(0) if found is None else found


def _weighted(y: np.ndarray) -> Declared:
    """A layer of which only the input current counts."""
    import nir

    n = y.shape[2]
    plain = {"v_threshold": np.full(n, NEVER), "v_reset": np.zeros(n)}
    return meaning.readings(nir.IF(r=np.ones(n), **plain), y.astype(np.float32), 1.0)[0]


def _neuron(case: Case, node: Any, heard: np.ndarray, y: np.ndarray, framework: str) -> Row:
    """A neuron that fits one of its readings is right; else the first reading says why not."""
    if _same(y, heard) and np.any(heard):
        return _row(case, "dropped", ["node_dropped"])
    analog = type(node).__name__ in SILENT
    found = meaning.readings(node, heard, case.dt, framework)
    layers = [layer for d in found if (layer := meaning.observed(d, y, analog)) is not None]
    if not layers:
        return _row(case, "deviating", note="its output is no train of spikes")
    for layer in layers:
        if (right := meaning.fits(layer)) is not None:
            if causes.of_ties(right, check(right)) is not None:
                return _row(case, "deviating", ["compare"], _counts(found[0], y))
            return _row(case, _distance(right, analog))
    why = found_of(layers[0], check(layers[0]))
    cause = why.cause or chains.causes_of(case, y, framework)
    note = [] if analog else [_counts(found[0], y)]
    if why.also:
        note.append(f"{' or '.join(why.also)} would explain it as well")
    return _row(case, "deviating", cause, "; ".join(note))


def _unit_area(case: Case, node: Any, heard: np.ndarray, y: np.ndarray, framework: str) -> Row:
    """A spike as a Dirac pulse is a value of 1/dt that lasts one step."""
    found = meaning.readings(node, heard / np.float32(case.dt), case.dt, framework)
    layers = [layer for d in found if (layer := meaning.observed(d, y, False)) is not None]
    for layer in layers:
        if (right := meaning.fits(layer)) is not None:
            return _row(case, _distance(right, False))
    row = _neuron(case, node, heard, y, framework)
    if row.verdict == "dropped" or (row.verdict == "deviating" and not row.cause):
        return row
    note = _counts(found[0], y) if found else row.note
    return _row(case, "deviating", ["spike_convention", *row.cause], note)


def _distance(d: Declared, analog: bool) -> str:
    """Whether a right discretisation is exact."""
    if analog:
        holds = "tau_syn" not in vars(d.node) and d.semantics.decay != "euler"
        return "identical" if holds else "discretised"
    assert d.x is not None and d.spikes is not None
    solution = exact.solve_alone(d, d.x.shape[1])
    same = solution is not None and exact.compare(d.spikes, solution).same_steps
    return "identical" if same else "discretised"


def _counts(d: Declared, y: np.ndarray) -> str:
    expected = int(d.run(forced=False, bound=False).spikes.sum())
    return f"{y.sum():.0f} spikes; the graph makes {expected}"


def loop(case: Case, y: np.ndarray, framework: str) -> Row:
    """The row of neurons whose spikes come back to them."""

    def found(kind: str) -> list[meaning.Loop]:
        return list(meaning.loops(case.graph, case.x, case.dt, kind, framework))

    def is_one_of(loops: Iterable[meaning.Loop]) -> bool:
        return any(_same(y, loop.run().astype(np.float32)) for loop in loops)

    if is_one_of(found("whole")):
        return _row(case, "discretised")
    if _same(y, found("cut")[0].fed):
        return _row(case, "dropped", ["node_dropped"], "its input is its output")
    if is_one_of(found("cut")):
        return _row(case, "dropped", ["node_dropped"], "the recurrent edges have no effect")
    note = _counted(found("whole")[0], y)
    if is_one_of(replace(loop, delay=delay) for delay in LATE for loop in found("whole")):
        return _row(case, "deviating", ["delay"], note)
    for kind, cause in (("whole", []), ("rewired", ["ignored:edges"])):
        if (change := _change(found(kind)[0], is_one_of)) is not None:
            return _row(case, "deviating", cause + change, note)
    alone = meaning.observed(found("cut")[0].layer, y, analog=False)
    more = causes_of(alone, check(alone)) if alone is not None and y.any() else []
    if more:
        return _row(case, "dropped", ["node_dropped", *more], note)
    return _row(case, "deviating", [], note)


def change(case: Case, y: np.ndarray, framework: str) -> list[str] | None:
    """Causes that make the loop of a graph what was observed: none, or one; None if no one does."""

    def is_it(loops: Iterable[meaning.Loop]) -> bool:
        return any(_same(y, one.run().astype(np.float32)) for one in loops)

    whole = list(meaning.loops(case.graph, case.x, case.dt, "whole", framework))
    return [] if is_it(whole) else _change(whole[0], is_it)


def _change(
    loop: meaning.Loop, right: Callable[[Iterable[meaning.Loop]], bool]
) -> list[str] | None:
    """Causes that make a loop what was observed: none, or all single ones that do."""
    if right([loop]):
        return []
    found = []
    for flip in flips(loop.layer):
        layer = None if flip.shift else causes.flipped(loop.layer, [flip])
        try:
            if layer is not None and right([replace(loop, layer=layer)]):
                found.append(flip.cause)
        except ValueError:  # the flip makes a parameter infinite
            continue
    return list(dict.fromkeys(found)) or None


def _counted(loop: meaning.Loop, y: np.ndarray) -> str:
    return f"{y.sum():.0f} spikes; the graph makes {loop.run().sum()}"
