"""Dense layers proved beside their sweep: against balls and false claims, and their constants."""

import math
from dataclasses import replace

import numpy as np
import pytest
from flint import arb, ctx

import evsim
from evsim.models.flow import exponential, rates
from evsim.proof import balls, beside, layer
from evsim.proof.bounds import ARG, FADE, GAIN, SINGLE, UNIT
from evsim.proof.problem import build
from evsim.spikes import Spikes

LAYERS = {
    "plain": dict(tau_mem=10.0, tau_syn=4.0),
    "slow current, refractory": dict(tau_mem=4.0, tau_syn=10.0, t_ref=1.5, v_reset=-0.3),
    "equal, biased": dict(tau_mem=5.0, tau_syn=5.0, bias=0.4, v_leak=0.1, reset="subtract"),
}


#: Which of these the shared bound does not decide: they are left to the finer tiers.
LEFT_OPEN = {"slow current, refractory"}


def layers(name, sizes=(30, 25), seed=1, mean=0.15):
    """Dense layers behind one another, and their input."""
    rng = np.random.default_rng(seed)
    net, before, n_before = evsim.Network(), "in", 20
    net.add_input("in", n_before)
    for k, n in enumerate(sizes):
        net.add_population(f"p{k}", n, evsim.LIF(**LAYERS[name]))
        net.connect(before, f"p{k}", rng.normal(mean, 0.5, (n_before, n)), delay=0.1 + k)
        before, n_before = f"p{k}", n
    return net, {"in": Spikes(np.sort(rng.uniform(0.0, 50.0, 80)), rng.integers(0, 20, 80))}


@pytest.fixture
def alone(monkeypatch):
    """A run that is not proved beside its sweep is not proved at all."""
    monkeypatch.setattr("evsim.proof.certify.certify", lambda record: None)


def widest(record, name):
    """What the budget of errors leaves of every radius: the error over a slope, of which the bend
    of the voltage may take a quarter."""
    train, p = record.spikes[name], record.network.populations[name].model
    theta, found = p.v_th - p.v_leak - p.bias, np.empty(len(train))
    for n in np.unique(train.units):
        mine = train.units == n
        slope = (record.state(name, int(n), train.times[mine])["i"] - theta) / p.tau_mem
        found[mine] = layer.BUDGET * theta / (0.75 * slope)
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_enclosures_of_layers_hold_the_truth(name, alone):
    net, inputs = layers(name)
    record = evsim.simulate(net, inputs, 60.0, certify=True)
    found = record.certificate
    assert (found is None) == (name in LEFT_OPEN)
    if found is None:
        return
    assert found.status == "PROVED" and found.tier == "float64"
    problem = build(net, inputs, record.initial, record.spikes, 60.0, 0.01)
    truth = balls.run(problem, 160, 0.01, math.inf)
    assert truth.finding is None and found.count == truth.proved > 100
    for name_of, got in found.spikes.items():
        place = problem.order[name_of]
        assert got.radius.min() > 0.0 and (got.radius <= widest(record, name_of)).all()
        for t, r, k in zip(got.times, got.radius, place, strict=True):
            assert abs(t - truth.times[k]) <= r
        low, t, high = float(got.lower[0]), float(got.times[0]), float(got.upper[0])
        assert low <= t <= high
    assert found.outcome.times == sorted(found.outcome.times)
    plain = evsim.simulate(net, inputs, 60.0)
    for name_of, train in plain.spikes.items():  # the same bits
        assert (train.times == record.spikes[name_of].times).all()
        assert (train.times_lo == record.spikes[name_of].times_lo).all()


@pytest.mark.parametrize("before, count", [(0.5, 0), (1e-3, 0), (-1e-3, 1)])
def test_a_layer_is_proved_up_to_the_end_of_its_run(before, count, alone):
    """Which is not long before a neuron fires, or after."""
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    net.connect("in", "p", [[9.0, 1.0]])
    inputs = {"in": Spikes([0.5], [0])}
    (first, *_) = evsim.simulate(net, inputs, 5.0).spikes["p"].times
    found = evsim.simulate(net, inputs, float(first) - before, certify=True).certificate
    assert found.status == "PROVED" and found.count == count


def test_a_silent_layer_is_proved_by_its_flags_alone(alone):
    net, inputs = layers("plain", sizes=(30,), mean=-1.0)
    found = evsim.simulate(net, inputs, 60.0, certify=True).certificate
    assert found.status == "PROVED" and found.count == 0


@pytest.fixture(scope="module")
def evidence():
    """A run with what its sweep has kept."""
    kept = {}
    real = beside.certificate_of

    def keep(record, evidence):
        kept["run"] = record, evidence
        return real(record, evidence)

    beside.certificate_of = keep
    try:
        evsim.simulate(*layers("plain", sizes=(30,)), 60.0, certify=True)
    finally:
        beside.certificate_of = real
    return kept["run"]


def test_false_spikes_of_a_layer_are_never_proved(evidence):
    record, kept = evidence
    train, rng = record.spikes["p0"], np.random.default_rng(3)
    true, room = beside.certificate_of(record, kept).spikes["p0"].radius, widest(record, "p0")
    for turn in range(200):
        times, units = train.times.copy(), train.units.copy()
        k = int(rng.integers(times.size))
        if turn % 4 == 0:
            times, units = np.delete(times, k), np.delete(units, k)
        elif turn % 4 == 1:
            times, units = np.append(times, rng.uniform(0, 60)), np.append(units, rng.integers(30))
        elif turn % 4 == 2:
            times[k] += rng.choice([-1, 1]) * 10.0 ** rng.uniform(-6, -1)
        else:
            units[k] = (units[k] + 1) % 30
        false = replace(record, spikes={"p0": Spikes(times, units)})
        found = beside.certificate_of(false, kept)
        if found is not None:  # of a claim that is a little off, and its radius holds the truth
            assert turn % 4 == 2
            claims = false.spikes["p0"]
            (place,) = np.flatnonzero((claims.times == times[k]) & (claims.units == units[k]))
            off = abs(times[k] - train.times[k])
            assert off <= found.spikes["p0"].radius[place] + true[k] and off <= 1.01 * room[k]


def test_what_a_layer_leaves_open_goes_to_the_finer_tiers():
    """A peak some roundings above or below threshold."""
    for side in (1.0 + 2.0**-50, 1.0 - 2.0**-53):
        net = evsim.Network()
        net.add_input("in", 1)
        net.add_population("p", 2, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_th=10.0))
        net.connect("in", "p", np.array([[40.0 * side, 50.0]]))
        found = evsim.simulate(net, {"in": Spikes([0.0], [0])}, 60.0, certify=True).certificate
        assert found.status == "PROVED" and found.tier == "double-double"
        assert (found.spikes["p"].units == 0).sum() == (side > 1.0)


def test_the_constants_of_the_flow_are_what_their_derivation_gives():
    """Roundings in the order in which `exponential` makes them, each one unit."""
    interval, rate, product = 1.0, 1.0, 1.0
    gap = 3.0  # |tau_mem - tau_syn| / tau_mem / tau_syn
    fade = SINGLE.exp + SINGLE.exp + product
    gain = interval + rate + product + product + SINGLE.exp + product + SINGLE.phi
    argument = max(interval + rate + product, interval + gap + product)
    assert FADE == fade and GAIN == gain and ARG == argument


def test_the_constants_of_the_bounds_are_what_their_derivation_gives():
    """In units of 2**-53 of the voltage and the current, and of 2**-106 of the time."""
    product = total = 1.0
    fade = FADE + ARG * math.exp(-1.0)  # of e^-x, absolutely: x e^-x <= 1/e
    push = fade + total + product  # of i (1 - e^-x)
    bound = push + total + 3.0 * total  # their sum, the errors and the threshold
    assert bound <= layer.BOUND / UNIT < 2.0 * bound
    arrival = 4.0  # `add_time`, at either end
    assert 2.0 * arrival <= layer.LATE / UNIT**2 < 4.0 * arrival
    low = 1.0  # of a sum of two doubles
    slope = total + low  # less the threshold, whose low part is left out; else relative to itself
    assert slope <= layer.RISE / UNIT < 2.0 * slope
    gap = 2.0 * low + 2.0 * total  # low parts of both, the difference, and this error itself
    assert gap <= layer.GAP / UNIT < 2.0 * gap
    assert total <= layer.ONCE / UNIT < 2.0 * total


@pytest.mark.parametrize("taus", [(10.0, 4.0), (4.0, 10.0), (5.0, 5.0), (0.1, 1e3), (7.0, 7.1)])
def test_the_flow_keeps_its_constants(taus):
    before, ctx.prec = ctx.prec, 300
    try:
        r, rng = rates(*taus), np.random.default_rng(5)
        rate_m, rate_s = 1 / arb(taus[0]), 1 / arb(taus[1])
        for d in 10.0 ** rng.uniform(-8, 2.5, 1000):
            found = exponential(r["rate_mem"], r["rate_slow"], r["rate_gap"], r["mem_is_slow"], d)
            s = arb(float(d)) * (1 + arb(2) ** -53 * int(rng.integers(-1, 2)))
            em, es = (-s * rate_m).exp(), (-s * rate_s).exp()
            kappa = s * rate_m * em * ((rate_m - rate_s) * s).hypgeom_1f1(1, 2)
            x = d * max(1 / taus[0], 1 / taus[1])
            for value, true, constant in zip(
                found, (em, es, kappa), (FADE, FADE, GAIN), strict=True
            ):
                if true > 1e-290:
                    off = abs(float(arb(float(value)) / true - 1))
                    assert off <= UNIT * (constant + ARG * x) * (1.0 + 1e-9)
    finally:
        ctx.prec = before


def test_shared_bounds_hold_what_rounding_does():
    """States of a sweep against balls: within the bound, which is not idle either."""
    net, inputs = layers("plain", sizes=(30,), mean=-1.0)
    kept = {}
    real = beside.verify

    def keep(p, events, weights, table, rho, shared, trail, *rest):
        kept["run"] = p, events, weights, shared, trail
        return real(p, events, weights, table, rho, shared, trail, *rest)

    beside.verify = keep
    try:
        evsim.simulate(net, inputs, 60.0, certify=True)
    finally:
        beside.verify = real
    _, events, weights, shared, trail = kept["run"]
    before, ctx.prec = ctx.prec, 200
    try:
        worst = 0.0
        for n in range(10):
            u = i = t = arb(0)
            for hi, lo, row in zip(events.hi, events.lo, events.row, strict=True):
                s, t = arb(hi) + arb(lo) - t, arb(hi) + arb(lo)
                em, es = (-s / 10).exp(), (-s / 4).exp()
                u, i = u * em + i * (em - es) * 4 / 6, i * es + arb(float(weights[row, n]))
            for found, true, bound in ((trail.last[0][n], u, shared.u[-1]),
                                       (trail.last[1][n], i, shared.i[-1])):  # fmt: skip
                off = abs(float(arb(float(found)) - true)) / bound
                worst = max(worst, off)
        assert 1e-4 < worst < 1.0
    finally:
        ctx.prec = before


def test_a_silent_layer_with_budget_exceeded_is_left_open(alone):
    """No neuron is flagged, by a threshold that is lowered by less than the errors."""
    net, inputs = layers("plain", sizes=(30,), mean=-1.0)
    kept, real = {}, beside.certificate_of
    beside.certificate_of = lambda record, evidence: kept.update(run=(record, evidence))
    try:
        evsim.simulate(net, inputs, 60.0, certify=True)
    finally:
        beside.certificate_of = real
    record, evidence = kept["run"]
    assert evidence["p0"].trail.used[0] == 0
    assert beside._proved(record, "p0", evidence["p0"], 0.0) is not None
    assert beside._proved(record, "p0", evidence["p0"], 1e-5) is None


def test_a_layer_with_budget_exceeded_is_left_open(monkeypatch, evidence):
    """Errors beyond what the flags were lowered by prove nothing."""
    record, kept = evidence
    p = kept["p0"].p
    found = beside._proved(record, "p0", kept["p0"], 0.0)
    assert found is not None
    wide = beside._proved(record, "p0", kept["p0"], 1e-5 * p.theta)  # arrivals as late as that
    assert wide is None and layer.BUDGET == 1e-6
