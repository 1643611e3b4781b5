"""Arrivals by target, as the gradient reads them, against lists made otherwise; parts of runs."""

from fractions import Fraction

import numpy as np
import pytest

import evsim
from evsim.arrivals import lists_of_arrivals
from evsim.backward import Leg
from evsim.sent import parts_of
from evsim.tape import columns_of

UNTIL = 0.1


def everything(seed, *, pulses=True, dt=None):
    """A network with all that can reach a population, and a record of it."""
    rng = np.random.default_rng(seed)
    net = evsim.Network()
    net.add_input("in", 7)
    model = evsim.LIF(tau_mem=rng.uniform(15e-3, 25e-3, 9), tau_syn=5e-3, t_ref=1.5e-3, bias=0.4)
    net.add_population("n", 9, model)
    net.connect("in", "n", rng.normal(1.0, 1.0, (7, 9)), 1e-3)
    pre, post = rng.integers(0, 7, 30), rng.integers(0, 9, 30)
    own = rng.choice([1e-3, 1.5e-3, 2.25e-3], 30)
    net.connect("in", "n", rng.normal(1, 0.5, 30), own, pre_units=pre, post_units=post, name="own")
    if pulses:
        net.connect("in", "n", rng.normal(0, 0.3, (7, 9)), 2e-3, pulse_width=3e-3, name="pulses")
    pre, post = rng.integers(0, 9, 40), rng.integers(0, 9, 40)
    net.connect("n", "n", rng.normal(0, 0.4, 40), 1.5e-3, pre_units=pre, post_units=post)
    steps = rng.integers(0, 200, 120)  # many at one time
    units = rng.integers(0, 7, 120)
    if dt is None:
        inputs = {"in": evsim.Spikes(steps * 0.5e-3, units)}
    else:
        inputs = {"in": evsim.Spikes.on_grid(steps, units, dt)}
    if pulses:
        steps = np.sort(rng.uniform(0, UNTIL, 5))
        inputs["n"] = evsim.Current(steps, rng.normal(0, 0.2, (5, 9)))
    return evsim.simulate(net, inputs, UNTIL)


def leg_of(record):
    """What goes through the population of a record."""
    return Leg(record, "n", {"in": 0, "n": len(record._trains()["in"])}, {})


@pytest.mark.parametrize("dt", [None, Fraction(1, 2000)])
@pytest.mark.parametrize("seed", range(4))
def test_a_tape_holds_what_the_simulator_delivers(seed, dt):
    record = everything(seed, dt=dt)
    leg = leg_of(record)
    leg.open(None, UNTIL)
    tape, links = leg.tape, leg.links[0]
    arrivals = lists_of_arrivals(
        record.network, "n", record._trains(), record.inputs.get("n"), None, UNTIL
    )
    columns = columns_of(tape)
    assert tape.start.tolist() == arrivals.start.tolist()
    for n in range(9):  # at one time, in any order: they commute but for rounding
        mine = slice(tape.start[n], tape.start[n + 1])
        ours, theirs = (
            [getattr(side, name)[mine].tolist() for name in ("hi", "lo", "kind", "value")]
            for side in (columns, arrivals)
        )
        assert ours[:2] == theirs[:2]
        assert sorted(zip(*ours, strict=True)) == sorted(zip(*theirs, strict=True))
    # Every arrival is of a synapse onto its target, and of a spike of the source of that synapse.
    target = np.repeat(np.arange(9), np.diff(tape.start))
    of_number = np.empty(links.target.size, int)
    of_number[links.number] = links.target
    assert of_number[columns.synapse].tolist() == target.tolist()
    assert (np.diff(of_number[: links.n_synapses]) >= 0).all()
    spikes = np.concatenate([record._trains()[name].times for name in ("in", "n")])
    caused = columns.source >= 0
    lag = columns.hi[caused] - spikes[columns.source[caused]]
    assert ((lag > 0.9e-3) & (lag < 5.1e-3)).all()
    assert (columns.kind[~caused] < 0).all()


def test_parts_of_a_tape_are_the_whole():
    record = everything(1)
    leg = leg_of(record)
    leg.open(None, UNTIL)
    whole = leg.tape._replace(code=leg.tape.code.copy())
    ends = parts_of([(leg.rows[0], True)], UNTIL, 200)
    assert len(ends) > 20 and ends[-1] == UNTIL
    found = [[] for _ in range(9)]
    for since, until in zip([None, *ends[:-1]], ends, strict=True):
        leg.open(since, until)
        part = leg.tape
        times = columns_of(part).hi
        for n, mine in enumerate(found):
            mine += times[part.start[n] : part.start[n + 1]].tolist()
    times = columns_of(whole).hi
    assert found == [times[whole.start[n] : whole.start[n + 1]].tolist() for n in range(9)]


def same(a, b, rel):
    """Whether two results agree, whatever they are made of."""
    if hasattr(a, "__dict__") and not isinstance(a, np.ndarray):
        a, b = vars(a), vars(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key], rel)
    else:
        assert a == pytest.approx(b, rel=rel, abs=1e-15)


@pytest.mark.parametrize("room", [1, 30, 400])
@pytest.mark.parametrize("pulses", [False, True])
def test_a_gradient_is_the_same_in_parts(room, pulses):
    record = everything(3, pulses=pulses)
    spikes = record.spikes["n"]
    assert len(spikes) > 50
    c = {"n": np.random.default_rng(0).normal(size=len(spikes))}
    whole, parts = evsim.gradient(record, c), evsim.gradient(record, c, room=room)
    for name in ("weight", "delay", "inputs", "params", "initial", "currents"):
        same(getattr(parts, name), getattr(whole, name), 1e-11)
    # What is between two spikes does not care where a part ends.
    ours, theirs = parts.conditioning["n"], whole.conditioning["n"]
    assert ours.silent_margin == pytest.approx(theirs.silent_margin, rel=1e-12)
    assert ours.slope == pytest.approx(theirs.slope, rel=1e-12)


def test_a_run_without_arrivals_has_a_gradient():
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("n", 2, evsim.LIF(tau_mem=0.02, tau_syn=5e-3, bias=1.5))
    net.connect("in", "n", np.ones((1, 2)), 1e-3)
    net.connect("n", "n", np.zeros((2, 2)), 1e-3)
    record = evsim.simulate(net, {"in": evsim.Spikes([], [])}, 0.02)
    g = evsim.gradient(record, {"n": []})
    assert g.weight["in->n"].tolist() == [[0.0, 0.0]]
