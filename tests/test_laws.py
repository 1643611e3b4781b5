"""Laws that hold whatever the numbers are: P1 to P19 of one neuron and of small populations.

A law that holds in real numbers holds here within what float64 can attain: the oracle's bound
(`reference.attainable`), which carries the roundings of the whole run. Cases that the oracle
calls closer to a decision than eight times that are left out, as nobody could decide them.
"""

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import evsim
from reference.attainable import FACTOR
from reference.judge import CLEAR, clearest_doubt
from reference.lif import Neuron
from reference.lif import simulate as oracle

UNTIL = 40.0
KINDS = ("cuba", "delta", "if")
law = settings(deadline=None, max_examples=40)


def model(n: Neuron):
    """The oracle's neuron as the engine's."""
    common = {k: getattr(n, k) for k in ("v_th", "v_reset", "t_ref", "bias", "reset", "graze")}
    if n.model == "if":
        return evsim.IF(**common)
    common |= {"tau_mem": n.tau_mem, "v_leak": n.v_leak}
    if n.model == "delta":
        return evsim.DeltaLIF(**common)
    return evsim.LIF(tau_syn=n.tau_syn, **common)


def run(n, arrivals, until=UNTIL, tie="spike_first"):
    """(times, times_lo) of one neuron, each arrival from an input of its own."""
    net = evsim.Network()
    net.add_population("p", 1, model(n))
    inputs = {}
    if arrivals:
        count = len(arrivals)
        net.add_input("in", count)
        net.connect("in", "p", np.array([[w] for _, w in arrivals]))
        inputs["in"] = evsim.Spikes([t for t, _ in arrivals], range(count))
    spikes = evsim.simulate(net, inputs, until, tie=tie).spikes["p"]
    return spikes.times, spikes.times_lo


def true(n, arrivals, until=UNTIL):
    """The oracle's run, if everything in it can be decided."""
    truth = oracle(n, arrivals, until)
    assume(clearest_doubt(truth, math.inf) >= CLEAR and not truth.ties)
    assume(len(truth.spikes) < 200)
    return truth


def together(n, truth, times, other, found, shift=0.0, label=""):
    """Two runs have the same spikes, one of them shifted, within both bounds."""
    assert len(times[0]) == len(found[0]) == len(truth.spikes) == len(other.spikes), label
    rows = zip(*times, *found, truth.spikes, other.spikes, strict=True)
    for hi, lo, hi2, lo2, a, b in rows:
        allowed = FACTOR * (a.bound + b.bound) + 2.0**-103 * (hi2 + hi)
        assert abs((hi2 - hi - shift) + (lo2 - lo)) <= allowed, label


dyadic = st.integers(0, 30 * 64).map(lambda k: k / 64)


@st.composite
def neurons(draw, kinds=KINDS, positive=False):
    """A neuron of round numbers, below or above threshold at rest."""
    kind = draw(st.sampled_from(kinds))
    scale = 0.1 if kind == "if" else 1.0
    bias = draw(st.sampled_from([0.0, 0.3, 0.75] if positive else [0.0, 0.3, 1.25, -0.2]))
    return Neuron(
        model=kind,
        tau_mem=draw(st.sampled_from([10.0, 7.5, 20.0])),
        tau_syn=draw(st.sampled_from([10.0, 4.0, 25.0])),
        v_leak=0.0 if kind == "if" else draw(st.sampled_from([0.0, -0.3])),
        v_reset=draw(st.sampled_from([0.0, -0.25, 0.4])),
        t_ref=draw(st.sampled_from([0.0, 1.0, 0.7])),
        bias=bias * scale,
        reset=draw(st.sampled_from(["value", "subtract"])),
    )


@st.composite
def arrivals(draw):
    """Arrivals at dyadic times, some at one instant; a synapse needs more than a jump does."""
    scale = draw(st.sampled_from([1.0, 6.0]))
    weights = st.floats(-2.0, 3.0).map(lambda w: scale * w)
    return draw(st.lists(st.tuples(dyadic, weights), max_size=8))


# ---------------------------------------------------------------------------- shifts and scales


@law
@given(neurons(), arrivals(), st.integers(0, 5 * 64).map(lambda k: k / 64))
def test_p1_later_input_means_later_spikes(n, events, shift):
    """From rest only: a neuron that drives itself has a clock of its own."""
    assume(n.bias == 0.0)
    moved = [(t + shift, w) for t, w in events]
    truth, other = true(n, events), true(n, moved, UNTIL + shift)
    together(n, truth, run(n, events), other, run(n, moved, UNTIL + shift), shift, "P1")


@law
@given(neurons(), arrivals(), st.sampled_from([-30, -3, 1, 7, 20]))
def test_p2_scaling_time_by_a_power_of_two_scales_every_bit(n, events, power):
    c = 2.0**power
    values = {"tau_mem": n.tau_mem * c, "tau_syn": n.tau_syn * c, "t_ref": n.t_ref * c}
    values["bias"] = n.bias / c if n.model == "if" else n.bias
    hi, lo = run(n, events)
    scaled = Neuron(**{**n.__dict__, **values})
    hi2, lo2 = run(scaled, [(t * c, w) for t, w in events], UNTIL * c)
    assert (hi * c).tobytes() == hi2.tobytes() and (lo * c).tobytes() == lo2.tobytes()


@law
@given(neurons(), arrivals(), st.sampled_from([-40, -1, 3, 30]))
def test_p3_scaling_voltages_by_a_power_of_two_changes_no_bit(n, events, power):
    c = 2.0**power
    values = {k: getattr(n, k) * c for k in ("v_th", "v_leak", "v_reset", "bias")}
    hi, lo = run(n, events)
    hi2, lo2 = run(Neuron(**{**n.__dict__, **values}), [(t, w * c) for t, w in events])
    assert hi.tobytes() == hi2.tobytes() and lo.tobytes() == lo2.tobytes()


# ------------------------------------------------------------------------------------ splitting


@law
@given(neurons(), arrivals(), st.lists(dyadic, min_size=1, max_size=5))
def test_p7_spikes_of_no_weight_change_nothing(n, events, empty):
    more = events + [(t, 0.0) for t in empty]
    truth, other = true(n, events), true(n, more)
    together(n, truth, run(n, events), other, run(n, more), label="P7")


@law
@given(neurons(), arrivals())
def test_p7_a_spike_may_come_in_two_halves(n, events):
    halves = [(t, w / 2) for t, w in events for _ in "ab"]
    truth = true(n, events)
    together(n, truth, run(n, events), truth, run(n, halves), label="P7")


@law
@given(neurons(), arrivals(), st.floats(0.0, 30.0))
def test_p11_input_changes_nothing_before_it(n, events, t):
    before = run(n, [(s, w) for s, w in events if s < t])
    after = run(n, [*events, (t, 2.0)])
    early = before[0] < t
    k = int(early.sum())
    assert before[0][:k].tobytes() == after[0][:k].tobytes()
    assert before[1][:k].tobytes() == after[1][:k].tobytes()
    assert (after[0][k:] >= t).all()


# --------------------------------------------------------------------------------- monotonicity


@law
@given(neurons(positive=True), arrivals(), st.data())
def test_p8_more_weight_never_delays_the_first_spike(n, events, data):
    assume(events)
    chosen = data.draw(st.integers(0, len(events) - 1))
    stronger = list(events)
    stronger[chosen] = (events[chosen][0], events[chosen][1] + data.draw(st.floats(1e-6, 2.0)))
    truth, other = true(n, events), true(n, stronger)
    if truth.spikes:
        first, earlier = run(n, events)[0][0], run(n, stronger)[0][0]
        slack = FACTOR * (truth.spikes[0].bound + other.spikes[0].bound)
        assert earlier <= first + slack + 2.0**-52 * first, "P8"


@law
@given(neurons(positive=True), arrivals(), st.floats(1e-6, 0.5))
def test_p8_more_bias_never_delays_the_first_spike(n, events, more):
    biased = Neuron(**{**n.__dict__, "bias": n.bias + more})
    truth, other = true(n, events), true(biased, events)
    if truth.spikes:
        first, earlier = run(n, events)[0][0], run(biased, events)[0][0]
        slack = FACTOR * (truth.spikes[0].bound + other.spikes[0].bound)
        assert earlier <= first + slack + 2.0**-52 * first, "P8"


# -------------------------------------------------------------------------------------- limits


@law
@given(neurons(kinds=("cuba",)), arrivals())
def test_p14_spikes_are_continuous_where_the_time_constants_meet(n, events):
    """Halving the distance of the time constants halves that of the spikes, to rounding."""
    equal = Neuron(**{**n.__dict__, "tau_syn": n.tau_mem})
    truth = true(equal, events)
    assume(all(s.slope > 0.02 or s.at_once for s in truth.spikes))
    assume(all(abs(d.margin) > 1e-4 for d in truth.decisions))
    base = run(equal, events)[0]
    for power in (20, 30, 40, 50):
        near = Neuron(**{**n.__dict__, "tau_syn": n.tau_mem * (1.0 + 2.0**-power)})
        other = true(near, events)
        found = run(near, events)[0]
        assert found.size == base.size == len(other.spikes), "P14"
        for a, b, s, o in zip(base, found, truth.spikes, other.spikes, strict=True):
            allowed = FACTOR * (s.bound + o.bound) + abs(s.hi - o.hi) + 2.0**-51 * s.hi
            assert abs(a - b) <= allowed, "P14"
            assert abs(s.hi - o.hi) <= 2.0**-power * 1e9


def test_p15_a_fast_synapse_is_a_jump():
    """tau_syn -> 0 with weight * tau_syn fixed: delta synapse, error of first order."""
    events = [(1.0, 0.7), (3.0, 0.6), (7.0, 1.5), (8.5, -0.4), (9.0, 1.6)]
    base = {"tau_mem": 10.0, "v_reset": -0.1, "bias": 0.875, "t_ref": 0.5}
    jumps = run(Neuron(model="delta", **base), events)[0]
    assert jumps.size >= 3
    errors = []
    for power in (8, 10, 12, 14):
        tau = 2.0**-power
        fast = run(Neuron(tau_syn=tau, **base), [(t, w * 10.0 / tau) for t, w in events])[0]
        assert fast.size == jumps.size, "P15"
        errors.append(np.abs(fast - jumps).max())
    ratios = np.divide(errors[:-1], errors[1:])
    assert (ratios > 3.0).all() and (ratios < 5.0).all(), errors  # four by first order


# ---------------------------------------------------------------------------- many neurons


def layer(n_neurons, seed, neuron, order=None, sources=None):
    """Spikes of a layer by neuron, its neurons and sources in some order."""
    rng = np.random.default_rng(seed)
    weight, v_th = rng.normal(0.5, 1.0, (6, n_neurons)), rng.uniform(0.5, 1.5, n_neurons)
    times, units = np.sort(rng.uniform(0, 30, 40)), rng.integers(0, 6, 40)
    order = np.arange(n_neurons) if order is None else order
    sources = np.arange(6) if sources is None else sources
    net = evsim.Network()
    net.add_input("in", 6)
    values = {"v_th": v_th[order]} | neuron
    kind = evsim.LIF if "tau_syn" in neuron else evsim.DeltaLIF
    net.add_population("p", n_neurons, kind(**values))
    net.connect("in", "p", weight[np.ix_(sources, order)])
    train = evsim.Spikes(times, np.argsort(sources)[units])
    spikes = evsim.simulate(net, {"in": train}, UNTIL).spikes["p"]
    out = {}
    for place, unit in enumerate(order):
        mine = spikes.units == place
        out[int(unit)] = spikes.times[mine].tobytes() + spikes.times_lo[mine].tobytes()
    return out, len(spikes)


@pytest.mark.parametrize(
    "neuron", [{"tau_mem": 10.0, "tau_syn": 4.0, "t_ref": 0.5}, {"tau_mem": 10.0, "bias": 0.4}]
)
def test_p5_renaming_neurons_and_sources_renames_spikes(neuron):
    base, count = layer(19, 3, neuron)
    assert count > 50
    for seed in range(4):
        rng = np.random.default_rng(seed)
        order, sources = rng.permutation(19), rng.permutation(6)
        assert layer(19, 3, neuron, order)[0] == base
        assert layer(19, 3, neuron, None, sources)[0] == base
        assert layer(19, 3, neuron, order, sources)[0] == base


@pytest.mark.parametrize("count", [2, 7, 8, 9, 64, 65])
def test_p16_identical_neurons_fire_identically(count):
    """Whatever their place in a vector, a word of flags or a tail."""
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("p", count, evsim.LIF(tau_mem=10.0, tau_syn=4.0, bias=0.3, t_ref=0.3))
    net.connect("in", "p", np.repeat([[2.5], [-1.0], [3.25]], count, axis=1))
    rng = np.random.default_rng(count)
    train = evsim.Spikes(np.sort(rng.uniform(0, 30, 60)), rng.integers(0, 3, 60))
    spikes = evsim.simulate(net, {"in": train}, UNTIL).spikes["p"]
    trains = {spikes.times[spikes.units == n].tobytes() for n in range(count)}
    assert len(trains) == 1 and len(spikes) >= 5 * count
    assert (spikes.units.reshape(-1, count) == np.arange(count)).all()  # in order of unit


def test_p18_samples_of_a_batch_do_not_meet():
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=1.0))
    net.connect("in", "p", [[4.0, 9.0]])
    quiet = {"in": evsim.Spikes([], [])}
    loud = {"in": evsim.Spikes(np.arange(1.0, 30.0), np.zeros(29, int))}
    for batch in ([quiet, loud, quiet], [loud, loud], [loud, quiet]):
        for sample, record in zip(batch, evsim.simulate(net, batch, UNTIL), strict=True):
            alone = evsim.simulate(net, sample, UNTIL)
            assert record.spikes["p"].times.tobytes() == alone.spikes["p"].times.tobytes()
            assert (len(alone.spikes["p"]) > 0) == (sample is loud)


# ---------------------------------------------------------------------------------- small inputs


@pytest.mark.parametrize("kind", KINDS)
def test_p19_no_input_one_event_at_zero_and_duplicates(kind):
    n = Neuron(model=kind, t_ref=0.25)
    assert run(n, [])[0].size == 0 and run(n, [], 0.0)[0].size == 0
    events = [(0.0, 4.0)]
    truth = oracle(n, events, UNTIL)
    assert run(n, events)[0].size == len(truth.spikes) >= 1
    assert run(n, events, 0.0)[0].tolist() == ([] if kind == "cuba" else [0.0])
    twice = [(2.0, 2.0), (2.0, 2.0)]
    once = [(2.0, 4.0)]
    assert [a.tobytes() for a in run(n, twice)] == [a.tobytes() for a in run(n, once)]
    cancelled = [(2.0, 4.0), (2.0, -4.0)]
    assert run(n, cancelled)[0].size == 0  # summed before any test


@law
@given(neurons(), arrivals())
@example(Neuron(model="delta", reset="subtract", v_reset=0.25), [(1.0, 3.0), (1.0, 0.5)])
@example(Neuron(model="cuba", t_ref=1.0, bias=1.25), [(0.0, 2.0), (0.0, -2.0)])
@example(Neuron(model="cuba", t_ref=1.234375), [(1.0, 20.0), (4.0, 15.0)])  # a burst
@example(Neuron(model="cuba", tau_syn=25.0, t_ref=0.7, v_reset=0.4), [(0.5, 8.0)])
@example(Neuron(model="cuba", bias=1.25), [(1.0, -6.0)])  # a dip, then the bias wins
@example(Neuron(model="delta", bias=1.25, t_ref=1.0), [(1.0, 0.5), (2.0, -3.0)])
@example(Neuron(model="if", bias=0.13, v_reset=-0.2, reset="subtract"), [(1.0, 2.9)])
def test_spikes_are_those_of_the_oracle(n, events):
    truth = true(n, events)
    hi, lo = run(n, events)
    assert hi.size == len(truth.spikes)
    for a, b, spike in zip(hi, lo, truth.spikes, strict=True):
        assert abs((a - spike.hi) + (b - spike.lo)) <= FACTOR * spike.bound + 2.0**-104 * a


@law
@given(neurons(), arrivals())
def test_p10_nobody_fires_while_refractory(n, events):
    hi, lo = run(n, events)
    gaps = np.diff(hi) + np.diff(lo)
    assert (gaps >= n.t_ref - 2.0**-100 * UNTIL).all() and (gaps >= 0.0).all()
    assert ((hi >= 0.0) & (hi <= UNTIL)).all()


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
