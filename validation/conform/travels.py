"""Does a model of the framework's own survive its exporter and importer?"""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np

from validation.conform import imports, meaning
from validation.conform.graphs import N_IN, SAMPLES, Case, N, weights
from validation.conform.rows import Row, refusal
from validation.conform.search import causes_of
from validation.declaration import Declaration, behind
from validation.declared import Declared, declare
from validation.discrete import check
from validation.native import Traveller
from validation.networks import KITS
from validation.recorder import record

STEPS = 80
#: Sizes of weights tried until a layer fires, but not always.
SIZES = (0.25, 1.0, 4.0, 16.0)


def ask(traveller: Traveller, framework: str, adapter: Any) -> Row:
    """Run a model, send it through the framework's own NIR, run it again."""
    about = ("roundtrip", traveller.subject, traveller.variant)
    rng = np.random.default_rng(31)
    x = (rng.random((STEPS, SAMPLES, N_IN)) < 0.4).astype(np.float32)
    try:
        model, before = _lively(traveller, framework, adapter, x)
        declared = _declared(model, x)
        graph = adapter.exported(model, traveller.dt, x)
        said = copy.deepcopy(graph)  # importers change what they get
        after = np.asarray(adapter.imported(graph, traveller.dt, x))
    except Exception as error:  # a framework may raise anything
        return refusal(*about, error)
    if after.size != before.size:
        return Row(*about, "deviating", [], f"its output has shape {list(after.shape)}")
    after = after.reshape(before.shape)
    if np.allclose(before, after, rtol=1e-5, atol=1e-6):
        return Row(*about, "identical")
    note = f"{before.sum():.0f} spikes before, {after.sum():.0f} after"
    if declared is None or not np.array_equal(after, np.rint(after)):
        case = Case(*about[1:], lambda: said, x, traveller.dt, "")
        return Row(*about, "deviating", _of_loop(case, before, after, framework), note)
    d = replace(declared, spikes=after.astype(np.int64), membrane=None, synaptic_current=None)
    checked = check(d)
    if checked.agrees:
        return Row(*about, "identical", [], note)
    return Row(*about, "deviating", causes_of(d, checked), note)


def _of_loop(case: Case, before: np.ndarray, after: np.ndarray, framework: str) -> list[str]:
    """Causes where the layer has no twin but its graph is a loop: of the export, and the import."""
    if meaning.loop_parts(case.graph) is None:
        return []
    lost = imports.change(case, before, framework)
    found = imports.loop(case, after, framework)
    if lost is None or (found.verdict == "deviating" and not found.cause):
        return []
    return list(dict.fromkeys([*lost, *found.cause]))


def _lively(
    traveller: Traveller, framework: str, adapter: Any, x: np.ndarray
) -> tuple[Any, np.ndarray]:
    """A model whose neurons fire, but not in every step, and its output from rest."""
    for size in SIZES:
        neuron, weight = traveller.neuron(N), weights(32, N, N_IN, size=size)
        weight[:, ::3] *= -1.0  # a membrane falls below rest, too
        if isinstance(neuron, Declaration):
            model: Any = behind(neuron, weight)
        else:
            model = _joined(framework, neuron, weight)
        y = np.asarray(adapter.played(model, x))
        if np.mean(y != 0) > 0.05:
            break
    return model, y


def _joined(framework: str, neuron: Any, weight: np.ndarray) -> Any:
    """Behind one another, taking single steps where the framework knows both ways."""
    import torch

    linear = torch.nn.Linear(N_IN, N, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
    modules = OrderedDict(fc=linear, neuron=neuron)
    if framework == "spikingjelly":
        return torch.nn.Sequential(modules)
    return KITS[framework].join(modules)


def _declared(model: Any, x: np.ndarray) -> Declared | None:
    """The layer as it was before the journey, or None where evsim has no twin of it."""
    try:
        recording = record(model, x)
    except ValueError:
        return None
    return declare(recording, recording.layers()[0], None)
