"""Laws of networks with cycles, on the window and on the queue: each path is a simulator."""

from functools import partial

import pytest

import evsim
from evsim import LIF, Network, Spikes, simulate
from evsim.testing import EXACT, LAWS, Subject
from evsim.testing.strategies import busy

#: Laws that compare runs to the last bit, with what else they take; P16 makes a crowd of its own.
CASE = busy(1)
BITS = [
    ("P2", -20), ("P2", 3), ("P3", -20), ("P3", 3), ("P5", 2), ("P11", 0.0133, 1.0),
    ("P11", 0.1, 1.0), ("P11", 0.187, 1.0), ("P12", 13), ("P12", 40), ("P18", 0.05), ("P18", 0.199),
]  # fmt: skip
BASE = dict(CASE.layers[0].params)


def resumed(path, network, inputs, until, later, end):
    """A run that pauses."""
    first = simulate(network, inputs, until, path=path)
    return simulate(network, later, end, path=path, resume=first)


@pytest.fixture(params=["window", "queue"])
def path(request):
    return request.param


@pytest.fixture
def subject(path):
    run = partial(simulate, path=path)
    return Subject(run, EXACT, batch=run, resume=partial(resumed, path))


@pytest.mark.parametrize(("id", "given"), [(x, rest) for x, *rest in BITS], ids=str)
def test_a_busy_network_obeys_to_the_last_bit(subject, id, given):
    LAWS[id].one(subject, CASE, *given)


def test_it_is_busy(subject):
    assert subject.run(CASE).count() > 100


@pytest.mark.parametrize("id", ["T5", "P16"])
def test_small_networks_obey(subject, id):
    LAWS[id](subject, examples=12)


def test_no_input_no_synapse_no_time(path):
    net = CASE.problem().network
    for sample, until in (
        ({}, CASE.until),
        ({"in": Spikes([], [])}, CASE.until),
        ({"in": Spikes([0.0], [0])}, 0.0),
    ):
        assert len(simulate(net, sample, until, path=path).spikes["p"]) == 0
    alone, n = Network(), CASE.layers[0].n
    alone.add_population("p", n, LIF(**BASE | {"bias": 1.25}))
    alone.connect("p", "p", pre_units=[], post_units=[], weight=[], delay=1e-3)
    spikes = simulate(alone, {}, CASE.until, path=path).spikes["p"]
    assert len(spikes) == n * (len(spikes) // n) > 0
    assert spikes.times.tobytes() == simulate(alone, {}, CASE.until).spikes["p"].times.tobytes()
    assert evsim.simulate(Network(), {}, 1.0, path=path).spikes == {}
