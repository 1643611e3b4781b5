"""The laws of `evsim.testing` on the engine: every law, on every model that it speaks of.

evsim is held to `EXACT`: the oracle's bound (`reference.attainable`), which carries the roundings
of the whole run, and the same bits where a law holds to the last bit. Laws of networks with cycles
are tried again on both paths in `test_laws_cycles`.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import evsim
from evsim.testing import EXACT, KINDS, LAWS, NotApplicable, Subject
from evsim.testing.case import scaled
from evsim.testing.strategies import degenerate, neurons
from evsim.testing.subject import Unclear

UNTIL = 40.0


def resumed(network, inputs, until, later, end):
    """A run that pauses."""
    first = evsim.simulate(network, inputs, until)
    return evsim.simulate(network, later, end, resume=first)


def started(network, inputs, until, voltages):
    """A run from a voltage for every population."""
    initial = {name: {"v": v} for name, v in voltages.items()}
    return evsim.simulate(network, inputs, until, initial=initial)


EVSIM = Subject(
    evsim.simulate,
    EXACT,
    batch=evsim.simulate,
    resume=resumed,
    start=started,
    refractory=("clamp", "hold_fire", "block_input"),
    patience=math.inf,  # kernels compile on first use
)
#: An own clock would be needed for the others.
TRIED = [(law, kind) for law in LAWS.values() for kind in law.kinds if not law.clock]


@pytest.mark.parametrize(("law", "kind"), TRIED, ids=lambda x: getattr(x, "id", x))
def test_the_engine_obeys(law, kind):
    law(EVSIM, kind=kind, examples=None if kind == "lif" else 15)


#: Laws that need no oracle here: one would take long to find that an exact graze is none of its.
FROM_REST = ("P1", "T7")
TO_THE_BIT = ("P2", "P3", "P9v", "P11", "P12", "P16", "P18")


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_obeys_where_numbers_are_equal_or_zero_or_just_enough(kind):
    tried = 0
    for law in LAWS.values():
        if kind in law.kinds and not law.clock:
            for case in degenerate(kind):
                if case.layers[0].params.get("v_th") == 10.0 and law.id not in TO_THE_BIT:
                    continue
                case = case.with_params(bias=0.0) if law.id in FROM_REST else case
                try:
                    law.near(EVSIM, case, kind=kind, examples=1)
                    tried += 1
                except (NotApplicable, Unclear):
                    continue
    assert tried > 30


@given(neurons("lif"), st.integers(-20, 20), st.integers(-30, 30))
def test_readings_scale_in_every_bit(case, time, voltage):
    """Voltage, maximum and integral of a readout, which has no spikes that a law could compare."""
    t, found = np.linspace(0.0, UNTIL, 17), []
    for c, k in ((1.0, 1.0), (2.0**time, 2.0**voltage)):
        other = scaled(case, c, k)
        network, inputs, until = other.problem()
        values = {
            name: other.layers[0].params[name] for name in ("tau_mem", "tau_syn", "v_leak", "bias")
        }
        readout = replace(network.populations["p"], model=evsim.LI(**values))
        network.populations["p"] = readout
        record = evsim.simulate(network, inputs, until)
        (highest,), (when,) = record.maximum("p")
        area, v = record.integral("p")[0], record.voltage("p", 0, t * c)
        found.append([highest / k, when / c, area / (c * k), *(v / k)])
    assert found[0] == found[1]


@pytest.mark.parametrize("count", [2, 9, 65])
def test_spikes_at_one_instant_are_in_order_of_unit(count):
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", count, evsim.LIF(tau_mem=10.0, tau_syn=4.0, bias=0.3, t_ref=0.3))
    net.connect("in", "p", np.full((1, count), 2.5))
    train = evsim.Spikes(np.arange(1.0, 30.0), np.zeros(29, int))
    units = evsim.simulate(net, {"in": train}, UNTIL).spikes["p"].units
    assert units.size >= 5 * count
    assert (units.reshape(-1, count) == np.arange(count)).all()


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_several_projections_are_one(form):
    """Two inputs with a projection each, against one input with the rows of both."""
    rng = np.random.default_rng(8)
    weight, times = rng.normal(0.6, 0.8, (6, 5)), np.sort(rng.uniform(0, 30, 50))
    units, spikes = rng.integers(0, 6, 50), []
    for parts in ([range(6)], [range(4), range(4, 6)]):
        net = evsim.Network()
        net.add_population("p", 5, evsim.DeltaLIF(tau_mem=10.0, t_ref=0.5))
        inputs = {}
        for part in map(list, parts):
            name = f"in {part[0]}"
            net.add_input(name, len(part))
            net.connect(name, "p", form(weight[part]))
            mine = np.isin(units, part)
            inputs[name] = evsim.Spikes(times[mine], units[mine] - part[0])
        spikes.append(evsim.simulate(net, inputs, UNTIL).spikes["p"])
    assert spikes[0].times.tobytes() == spikes[1].times.tobytes() and len(spikes[0]) > 10
    assert spikes[0].units.tobytes() == spikes[1].units.tobytes()


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_arrivals_are_ordered_by_all_their_digits(form):
    """The excitation comes 2e-18 before the inhibition, which its projection precedes."""
    net = evsim.Network()
    net.add_population("p", 1, evsim.DeltaLIF(tau_mem=10.0))
    for name, weight in (("late", -1.5), ("early", 1.5)):
        net.add_input(name, 1)
        net.connect(name, "p", form([[weight]]))
    late, early = (evsim.Spikes([1.0], [0], times_lo=[lo]) for lo in (1e-18, -1e-18))
    found = evsim.simulate(net, {"late": late, "early": early}, 2.0).spikes["p"]
    assert len(found) == 1
    assert len(evsim.simulate(net, {"late": late, "early": late}, 2.0).spikes["p"]) == 0
