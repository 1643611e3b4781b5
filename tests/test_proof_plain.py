"""Neurons with one current in balls: what is computed for them alone, against that for any."""

import math

import numpy as np
import pytest
from flint import arb, ctx

import evsim
from evsim.proof import balls
from evsim.proof.ball_flow import Cell
from evsim.proof.ball_plain import Plain, cell_of, peak_of
from evsim.proof.bounds import TINY
from evsim.proof.problem import STEP, VOLTAGE, build
from evsim.spikes import Spikes
from validation.chaotic import chaotic

TAUS = [(10.0, 4.0), (3.0, 7.0), (5.0, 5.0000001), (1.0, 1e3)]


@pytest.fixture(autouse=True)
def bits():
    with ctx.workprec(128):
        yield


def problem_of(taus, start=(0.0, 0.0), **given):
    net = evsim.Network()
    net.add_population("p", 1, evsim.LIF(tau_mem=taus[0], tau_syn=taus[1], **given))
    state = {"p": ([start[0]], [start[1]])}
    return build(net, {}, state, {"p": Spikes([], [])}, 10.0, 0.01)


def both(taus, rng, busy=False):
    """Two cells of one neuron in one state: for one current, and for any components."""
    u, c = rng.normal(), 3.0 * rng.normal()
    problem = problem_of(taus)
    cells = Plain(problem, 0), Cell(problem, 0)
    dev, rest = (rng.exponential(1e-3, 2).tolist() for _ in range(2))
    for q in cells:
        q.x, q.dev, q.rest = [arb(u, 1e-20), arb(c, 1e-21)], list(dev), list(rest)
        q.busy, q.rational = busy, None
    return cells


def test_only_a_leaky_neuron_with_one_current_of_another_time_constant_is_plain():
    def plain(model):
        net = evsim.Network()
        net.add_population("p", 1, model)
        record = evsim.simulate(net, {}, 1.0)
        problem = build(net, {}, record.initial, record.spikes, 1.0, 0.01)
        return isinstance(cell_of(problem, 0), Plain)

    assert plain(evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    for model in (
        evsim.LIF(tau_mem=4.0, tau_syn=4.0),
        evsim.LIF(tau_mem=10.0, tau_syn={"a": 1.0, "b": 8.0}),
        evsim.AlphaLIF(tau_mem=10.0, tau_syn=4.0),
        evsim.AdaptiveLIF(tau_mem=10.0, tau_syn=4.0, tau_th=50.0, jump_th=0.1),
    ):
        assert not plain(model)


@pytest.mark.parametrize("taus", TAUS)
@pytest.mark.parametrize("busy", [False, True])
def test_the_flow_is_that_of_any_neuron(taus, busy):
    rng = np.random.default_rng(1)
    for _ in range(100):
        plain, other = both(taus, rng, busy)
        s = arb(rng.exponential(10.0 ** rng.uniform(-6.0, 1.5)))
        found, true = plain.flow(s), other.flow(s)
        for a, b in zip(found.x, true.x, strict=True):
            assert a.overlaps(b) and float(a.rad()) <= 4.0 * float(b.rad())
        # Times of 1e-6 leave kappa some digits less than its factors.
        np.testing.assert_allclose(found.dev, true.dev, rtol=1e-12, atol=2.0 * TINY)
        np.testing.assert_allclose(found.rest, true.rest, rtol=1e-12, atol=2.0 * TINY)
        assert busy or abs(found.fade - true.fade) < 1e-15


@pytest.mark.parametrize("taus", TAUS)
def test_the_shape_is_that_of_any_neuron_to_the_bit(taus):
    rng = np.random.default_rng(2)
    for _ in range(100):
        plain, other = both(taus, rng)
        ahead = rng.exponential()
        assert plain.bend(plain.x, plain.dev, ahead) == other.bend(other.x, other.dev, ahead)


@pytest.mark.parametrize("taus", TAUS)
@pytest.mark.parametrize("busy", [False, True])
def test_an_arrival_does_what_it_does_to_any_neuron(taus, busy):
    rng = np.random.default_rng(3)
    for r in (0.0, 1e-3):
        plain, other = both(taus, rng, busy)
        for weight in rng.normal(size=5).tolist():
            assert plain.receive(0, weight, r) == other.receive(0, weight, r)
        assert all(a.overlaps(b) for a, b in zip(plain.x, other.x, strict=True))
        for name in ("dev", "rest", "kick"):
            np.testing.assert_allclose(getattr(plain, name), getattr(other, name), rtol=1e-13)


@pytest.mark.parametrize("taus", TAUS)
def test_what_a_current_may_bring_is_its_largest_effect(taus):
    rate, own = (1 / arb(t) for t in taus)
    s = (rate / own).log() / (rate - own)
    most = rate * ((-rate * s).exp() - (-own * s).exp()) / (own - rate)
    assert most <= peak_of(rate, own) <= float(most) * (1.0 + 1e-9)
    with ctx.workprec(53):  # where nothing is left of the difference
        assert peak_of(arb(1), 1 + arb(0, 1e-15)) == 1.0


@pytest.mark.parametrize("taus", TAUS)
def test_nothing_rises_above_what_is_said_to_be_reached_at_most(taus):
    """Deviations and arrivals that come as early as they may, at random; and no more is said."""
    rng, theta, loose = np.random.default_rng(4), 1.0, []
    for _ in range(100):
        plain, _ = both(taus, rng)
        state = plain.flow(arb(1))
        plain.calm(state, 1.0, 0.0)
        other = Cell(problem_of(taus), 0)
        other.x = [x + arb(d) for x, d in zip(plain.x, plain.dev, strict=True)]
        top = float(other.x[0]) - theta
        for weight in [0.0, *(3.0 * rng.normal(size=3)).tolist()]:
            plain.receive(0, weight, 1e-3)
            other.x[1] += weight
            span = rng.choice([0.01, 1.0, 10.0]) * min(taus) if weight else 0.0
            for part in np.linspace(0.0, span if span else 20.0 * min(taus), 50):
                top = max(top, float(other.flow(arb(part)).x[0]) - theta)
            other.x = other.flow(arb(span)).x
            assert top <= plain.high
        loose.append(plain.high - top)
    assert min(loose) < 0.02


#: Where the bound rises above the threshold within the gap, and the current would hold it there;
#: and where it sinks.
GAPS = {"held": (0.5, 3.0, 3.0), "sinks": (0.9, 0.8, 5.0)}


@pytest.mark.parametrize("kind, gap", [(Plain, "held"), (Plain, "sinks"), (Cell, "sinks")])
@pytest.mark.parametrize("what", ["nothing", "start", "end", "current", "deviation", "crowd",
                                  "threshold", "time"])  # fmt: skip
def test_a_gap_is_not_calm_where_something_may_be_off(kind, gap, what):
    u, c, span = GAPS[gap]
    cell, off = kind(problem_of(TAUS[0], (u, c)), 0), arb(0, 0.2)
    state = cell.flow(arb(span))
    if what == "start":
        cell.x[0] += off
    elif what == "end":
        state.x[0] += off
    elif what == "current":
        cell.x[1] += 2 * off
    elif what == "deviation":
        cell.dev[0] += 0.2
    elif what == "crowd":
        cell.crowd = 0.2
    elif what == "threshold":
        cell.set_levels(cell.theta + off, cell.reset)
    calm = cell.calm(state, span, 20.0 if what == "time" else 0.0)
    # What sinks is told by its start alone, in floats.
    assert calm == (what == "nothing" or (what == "end" and gap == "sinks" and kind is Plain))
    assert cell.high >= 0.0


@pytest.mark.parametrize("what", ["nothing", "current", "end"])
def test_a_current_that_may_end_below_the_threshold_tells_nothing(what):
    u, c, span = GAPS["held"]
    cell = Plain(problem_of(TAUS[0], (u, c)), 0)
    state = cell.flow(arb(span))
    assert 1.4 < float(state.x[1]) < 1.5
    if what == "current":
        cell.dev[1] = 0.45
        cell.dev[0] = -0.45 * 0.3  # the margin is not what this is about
    elif what == "end":
        state.x[1] += arb(0, 0.45)
    assert cell.calm(state, span, 0.0) == (what == "nothing")


def outcomes(monkeypatch, *args):
    plain = balls.run(*args)
    with monkeypatch.context() as patched:
        patched.setattr(balls, "cell_of", Cell)
        return plain, balls.run(*args)


def test_a_network_is_proved_as_by_what_any_neuron_has(monkeypatch):
    net, inputs, spikes = chaotic(100.0)
    start = {"p": (np.zeros(20), np.zeros(20))}
    found, true = outcomes(monkeypatch, build(net, inputs, start, spikes, 100.0, 0.04), 128, 0.04,
                           math.inf)  # fmt: skip
    assert found.finding is None and found.proved == true.proved == len(spikes["p"])
    np.testing.assert_allclose(found.radius, true.radius, rtol=0.2)
    for a, b, r in zip(found.times, true.times, true.radius, strict=True):
        assert abs(a - b) <= 2.0 * r


@pytest.mark.parametrize("k", range(3, 160, 12))
def test_a_false_claim_is_told_as_by_what_any_neuron_has(k, monkeypatch):
    net, inputs, spikes = chaotic(100.0)
    train, start = spikes["p"], {"p": (np.zeros(20), np.zeros(20))}
    claim = {"p": Spikes(np.delete(train.times, k), np.delete(train.units, k))}
    found, true = outcomes(monkeypatch, build(net, inputs, start, claim, 100.0, 0.04), 100, 0.04,
                           math.inf)  # fmt: skip
    a, b = found.finding, true.finding
    assert a.proved == b.proved and (a.code, a.neuron) == (b.code, b.neuron)
    assert a.time == pytest.approx(b.time, abs=1e-9)


def test_what_is_reached_at_most_is_asked_again_after_anything_but_a_current():
    for port in (STEP, VOLTAGE):
        cell = Plain(problem_of(TAUS[0], (0.1, 0.1)), 0)
        assert cell.calm(cell.flow(arb(1)), 1.0, 0.0) and cell.high < 0.0
        cell.receive(port, 0.5, 0.0)
        assert cell.high == math.inf
    net, inputs, spikes = chaotic(100.0)
    start = {"p": (np.zeros(20), np.zeros(20))}
    run = balls.Pass(build(net, inputs, start, spikes, 100.0, 0.04), 128, 0.04, math.inf)
    run.spike(0)
    (cell,) = (q for q in run.cells if q.last == 0)
    assert cell.high == math.inf


@pytest.mark.parametrize("crowd, silent", [(0.0, True), (0.2, False)])
def test_what_is_reached_at_most_holds_for_one_order_of_arrivals(crowd, silent):
    """Above the threshold, so that nothing else calls the gap silent."""
    problem = problem_of(TAUS[0], (1.1, 0.0))
    run = balls.Pass(problem, 128, 0.01, math.inf)
    (cell,) = run.cells
    cell.high, cell.crowd = -0.1, crowd
    assert (run.quiet(cell, cell.flow(arb(1)), arb(1), 0.0) is None) == silent
