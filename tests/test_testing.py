"""The suite for the suite: wrong simulators are caught by the law meant for them, right ones pass.

A third of the wrong ones were not known when the laws were written: they are made from the plain
simulator by the operators of `reference.mutants`, drawn by seed.
"""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import evsim
from evsim.testing import EXACT, GRADIENT_LAWS, LAWS, Broken, Subject, grazing, problems
from evsim.testing.defects import DEFECTS
from evsim.testing.suite import Suite
from reference import mutants, plain

SOURCE = inspect.getsource(plain)
#: What a neuron does: a change there that changes anything changes spikes.
FUNCTIONS = ("level", "flow", "decay", "response", "rises", "fires_at_once", "root", "advance",
             "reset", "refractory_until", "let_go", "send", "deliver", "receive")  # fmt: skip
#: Processor time of one answer; the plain simulator itself takes some milliseconds [s].
PATIENCE = 2.0
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
    "mutant", list(filter(told, drawn())), ids=lambda m: f"{m.function}: {m.before} is {m.after}"
)
def test_versions_that_no_law_was_written_for_are_caught(mutant):
    subject = Subject(wrong_version(mutant), patience=PATIENCE)
    for law, kind in ANY:
        try:
            LAWS[law](subject, kind=kind, seconds=0.0)
        except Broken:
            return
    pytest.fail(f"{mutant} survives")


# ----------------------------------------------------------------------------------- clocks


def make_step(network, dt):
    """Exact propagator of one population of `LIF` on a grid; spikes at the ends of steps."""
    if len(network.populations) > 1 or any(np.any(c.delay) for c in network.connections):
        raise NotImplementedError("one population without delays")
    ((name, population),) = network.populations.items()
    p, n = population.model, population.n
    if type(p).__name__ != "LIF" or isinstance(p.tau_syn, dict):
        raise NotImplementedError("LIF only")
    m, s = np.broadcast_to(p.tau_mem, n), np.broadcast_to(p.tau_syn, n)
    same = m == s
    gap = np.where(same, 1.0, m - s)
    kappa = np.where(same, dt / m * np.exp(-dt / m), s / gap * (np.exp(-dt / m) - np.exp(-dt / s)))
    rest, steps = p.v_leak + p.bias, np.rint(np.broadcast_to(p.t_ref, n) / dt)

    def step(state, given):
        v, i, wait = state
        for c in network.connections:
            i = i + given[c.pre] @ c.weight
        free = wait <= 0
        v = np.where(free, rest + (v - rest) * np.exp(-dt / m) + i * kappa, v)
        fired = free & (v >= p.v_th)
        v = np.where(fired, p.v_reset, v)
        return (v, i * np.exp(-dt / s), np.where(fired, steps, wait - 1)), {name: fired}

    return (np.zeros(n) + p.v_leak, np.zeros(n), np.zeros(n)), step


def wrong_step(network, dt):
    """The same, with the leak of twice the step."""
    state, step = make_step(network, dt)

    def leaky(state, given):
        (v, i, wait), fired = step(state, given)
        return (v, i * 0.999 ** (dt * 64), wait), fired

    return state, leaky


def of_clock(maker, dt, order=1):
    """The subject that the flags make."""
    options = {"evsim_step": "it", "evsim_dt": dt, "evsim_order": order}
    return Suite.from_options(options, lambda _: maker).subject


@pytest.mark.parametrize("law", ["C1", "T1", "P3"])
def test_a_clock_is_held_to_its_order_and_step(law):
    LAWS[law](of_clock(make_step, 2.0**-7), examples=6)


@pytest.mark.parametrize(("maker", "order"), [(wrong_step, 1), (make_step, 2)])
def test_a_wrong_clock_and_an_order_that_it_lacks_are_caught(maker, order):
    with pytest.raises(Broken):
        LAWS["C1"](of_clock(maker, 2.0**-7, order), examples=6, seconds=0.0)


# -------------------------------------------------------------------------------- gradients


def gradient(network, inputs, until, cotangents):
    """evsim's, of its own run."""
    return evsim.gradient(evsim.simulate(network, inputs, until), cotangents)


def shifted(network, inputs, until, cotangents):
    """The same, with a sign lost in the derivative by the weights."""
    found = gradient(network, inputs, until, cotangents)
    weight = {name: np.abs(values) for name, values in found.weight.items()}
    return {"weight": weight, "params": found.params, "inputs": found.inputs}


@pytest.mark.parametrize("id", GRADIENT_LAWS)
def test_the_gradient_obeys(id):
    GRADIENT_LAWS[id](Subject(evsim.simulate, EXACT, gradient=gradient), examples=10)


@pytest.mark.parametrize("id", ["P17", "D2"])
def test_a_wrong_gradient_is_caught(id):
    with pytest.raises(Broken):
        GRADIENT_LAWS[id](Subject(evsim.simulate, EXACT, gradient=shifted), seconds=0.0)


# ---------------------------------------------------------------------------------- messages


def test_without_hypothesis_it_says_which_extra_to_install():
    code = "import sys; sys.modules['hypothesis'] = None\nimport evsim.pytest_plugin, evsim.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "evsim.testing needs hypothesis: pip install 'evsim[test]'" in done.stderr


def test_the_strategies_give_what_simulate_takes():
    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(problems(), grazing())
    def check(some, near):
        for network, inputs, until in (some, near):
            assert set(inputs) == set(network.inputs) and until > 0
            assert all(c.weight.shape == (network.size(c.pre), network.size(c.post))
                       for c in network.connections)  # fmt: skip
        ((_, population),) = near.network.populations.items()
        assert population.n == 1 and isinstance(population.model, evsim.LIF)

    check()
