"""The suite for the suite: wrong simulators are caught by the law meant for them, right ones pass.

A third of the wrong ones were not known when the laws were written: they are made from the plain
simulator by the operators of `reference.mutants`, drawn by seed.
"""

import inspect

import numpy as np
import pytest

from evsim.testing import LAWS, Broken
from evsim.testing.defects import DEFECTS
from reference import mutants, plain

SOURCE = inspect.getsource(plain)
#: What a neuron does: a change there that changes anything changes spikes.
FUNCTIONS = ("level", "flow", "decay", "response", "rises", "fires_at_once", "root", "advance",
             "reset", "refractory_until", "let_go", "send", "deliver", "receive")  # fmt: skip
#: Laws that look for anything, and the model on which they do.
ANY = (("T1", "lif"), ("P19", "lif"), ("T4", "lif"), ("T1", "delta"), ("T1", "if"), ("T6", "lif"))


@pytest.mark.parametrize("name", DEFECTS)
def test_a_wrong_simulator_breaks_the_law_meant_for_it(name):
    simulate, laws = DEFECTS[name]
    with pytest.raises(Broken) as broken:
        LAWS[laws[0]](simulate, seconds=0.3)
    text = str(broken.value)
    assert text.startswith(f"{laws[0]} is broken: {LAWS[laws[0]].statement}")
    assert "net.add_population(" in text and "simulate(net, " in text


def wrong_version(mutant):
    """`simulate` of the plain simulator with one change."""
    module = {"__name__": "wrong"}
    exec(compile(mutant.apply(SOURCE), "wrong.py", "exec"), module)
    return module["simulate"]


def drawn(count=13, seed=10):
    """Mutants of what a neuron does, by seed; dropped statements may loop for ever."""
    found = [m for m in mutants.mutants(SOURCE, lambda f: f.name in FUNCTIONS)
             if m.operator in ("sign", "comparison", "constant")]  # fmt: skip
    return [found[k] for k in np.random.default_rng(seed).permutation(len(found))[:count]]


#: Changes that no spike shows, and why.
EQUIVALENT = {
    ("root", "(self.flow(n, middle)[0] <= self.v_th[n])"): "moves spikes by an ulp",
    ("fires_at_once", "(self.v[n] > self.v_th[n])"): "differs at equality",
    ("flow", "1.0"): "the current of an IF, which nothing reads",
}


def told(mutant):
    """Whether a change changes spikes."""
    return (mutant.function, mutant.after) not in EQUIVALENT


@pytest.mark.parametrize(
    "mutant", filter(told, drawn()), ids=lambda m: f"{m.function}: {m.before} is {m.after}"
)
def test_versions_that_no_law_was_written_for_are_caught(mutant):
    simulate = wrong_version(mutant)
    for law, kind in ANY:
        try:
            LAWS[law](simulate, kind=kind, seconds=0.0)
        except Broken:
            return
    pytest.fail(f"{mutant} survives")
