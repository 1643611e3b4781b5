"""The quadratic neuron: its flow and its passages against 50 digits, its corners, its paths."""

import math

import mpmath
import numpy as np
import pytest
import scipy.sparse

import evsim
from evsim.models import verbs
from reference.cells import Cell, live

EPS = 2.0**-52
TAU = 10.0


def parameters(level, theta=math.inf):
    model = evsim.QIF(tau=TAU, bias=level, v_th=theta)
    return model.compile(1, False)


def flowed(p, v, d):
    (end,), may = STEP(p, v, d)
    return end, may


def STEP(p, v, d):
    return verbs.step(p, verbs.interval(p, d), (v,))


def corners(seed, count):
    """Levels of both signs over all scales and zero, voltages small, large and next to `a`."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        sign = rng.choice([-1.0, 0.0, 1.0])
        level = float(sign * 10.0 ** rng.choice([rng.uniform(-2, 2), rng.uniform(-30, -2)]))
        a = math.sqrt(abs(level))
        v = float(rng.choice([
            rng.normal(0, 2 * a + 1e-3), rng.choice([-1, 1]) * 10.0 ** rng.uniform(-3, 12),
            rng.choice([-1, 1]) * a * (1 + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-14, -1)),
        ]))  # fmt: skip
        d = float(TAU * 10.0 ** rng.uniform(-6, 3))
        yield level, v, d


def truth_of(cell, v, d):
    with mpmath.workdps(50):
        m = mpmath.mpf
        end, _, _ = cell.flow(m(v), m(0), m(cell.bias), m(d))
        if end is None:
            return None, None
        tilt = m(2) ** -40  # what roundings of state, level and time would do, and no more
        shift = m(0)
        for dv, dl, dt in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
            other, _, _ = cell.flow(m(v) * (1 + dv * tilt), m(0), m(cell.bias) * (1 + dl * tilt),
                                    m(d) * (1 - dt * tilt))  # fmt: skip
            shift += mpmath.inf if other is None else abs(other - end)
        return end, shift * m(2) ** -12


def test_the_flow_is_that_of_fifty_digits():
    worst = count = 0
    for level, v, d in corners(1, 3000):
        cell = Cell(kind="qif", tau_mem=TAU, bias=level, v_th=math.inf)
        end, shift = truth_of(cell, v, d)
        found, may = flowed(parameters(level), v, d)
        if end is None:
            assert may, (level, v, d)
            continue
        if shift < mpmath.inf:
            allowed = 6 * shift + 6 * EPS * (abs(end) + mpmath.sqrt(abs(level)))
            error = abs(found - end)
            assert error <= allowed, (level, v, d, float(error), float(allowed), found)
            worst, count = max(worst, float(error / (allowed or 1))), count + 1
    assert count > 1500 and worst > 0.01


@pytest.mark.parametrize("theta", [math.inf, 1.5, 0.0, -0.5])
def test_passages_are_those_of_fifty_digits(theta):
    fired = quiet = 0
    for level, v, _ in corners(2, 400):
        if v >= theta:
            continue
        p = parameters(level, theta)
        cell = Cell(kind="qif", tau_mem=TAU, bias=level, v_th=theta)
        s, tolerance, peak = verbs.next_spike(p, (v,), (v,))
        with mpmath.workdps(50):
            far = mpmath.mpf(10) ** 40
            truth = cell.passage(mpmath.mpf(v), mpmath.mpf(0), mpmath.mpf(level), far)
        assert (truth is None) == (s == math.inf) or peak == 0.0, (level, v)
        if truth is not None and s < math.inf:
            assert abs(s - truth) <= tolerance, (level, v, float(abs(s - truth) / tolerance))
            assert verbs.earliest(p, (v,)) < truth
            if 1e-6 < s < 1e5:  # no false no, on either side and at the very time
                assert all(flowed(p, v, s * f)[1] for f in (1.0, 1 + 1e-9, 1.5, 30.0))
            fired += 1
        quiet += truth is None
    assert fired > 40 and quiet > 10


def test_no_time_is_the_identity_and_times_add():
    for level, v, d in corners(3, 300):
        p = parameters(level)
        assert flowed(p, v, 0.0) == (v, v == math.inf)
        whole, may = flowed(p, v, d)
        if not may:
            half, _ = flowed(p, v, 0.375 * d)
            again, _ = flowed(p, half, 0.625 * d)
            cell = Cell(kind="qif", tau_mem=TAU, bias=level, v_th=math.inf)
            _, shift = truth_of(cell, v, d)
            _, more = truth_of(cell, half, 0.625 * d)
            scale = EPS * (abs(whole) + math.sqrt(abs(level)))
            assert abs(again - whole) <= 12 * (shift + (more or 0) + scale), (level, v, d)


def test_the_limit_of_no_drive_is_continuous():
    for v, d in ((0.1, 50.0), (-3.0, 1e3), (0.01, 900.0)):
        middle = v / (1 - v * d / TAU)
        for tiny in (1e-300, 1e-30, 5e-324):
            for level in (tiny, 0.0, -tiny):
                end, may = flowed(parameters(level), v, d)
                assert abs(end - middle) <= 4 * EPS * abs(middle) and not may
    for level in (1e-30, 0.0, -1e-30):
        s, _, _ = verbs.next_spike(parameters(level), (0.1,), (0.1,))
        assert abs(s - 100.0) < 1e-10


def test_the_separatrix_is_decided_by_the_exact_sign():
    below, above = np.nextafter(2.0, 0.0), np.nextafter(2.0, 3.0)
    p = parameters(-4.0)
    for v, fires in ((below, False), (2.0, False), (above, True), (-2.0, False), (0.0, False)):
        s, _, peak = verbs.next_spike(p, (v,), (v,))
        assert (s < math.inf) == fires and (peak == 0.0) == (v > 0.0)
    assert flowed(p, 2.0, 1e6)[0] == 2.0 and flowed(p, -2.0, 1e6)[0] == -2.0
    assert flowed(p, below, 1e9)[0] == -2.0


OPTIONS = {
    "driven": {"bias": 0.3, "v_reset": -1.5},
    "bound": {"bias": -0.4, "v_reset": -0.7, "t_ref": 1.25},
    "level": {"bias": 0.05, "v_th": 1.5, "v_reset": -0.25, "t_ref": 0.55},  # no release on the grid
    "free": {"v_th": 0.75, "v_reset": -0.5},
}


def layer(options, form, n=3, per_neuron=False):
    rng = np.random.default_rng(4)
    values = {"tau": TAU} | options
    if per_neuron:
        values = {k: np.full(n, v) for k, v in values.items()}
    net = evsim.Network()
    net.add_input("in", 4)
    net.add_population("p", n, evsim.QIF(**values))
    net.connect("in", "p", form(rng.normal(0.4, 0.6, (4, n))))
    return net, evsim.Spikes(np.sort(rng.integers(0, 2500, 50)) / 64, rng.integers(0, 4, 50))


@pytest.mark.parametrize("option", OPTIONS)
def test_runs_are_those_of_fifty_digits_on_every_path(option):
    seen = set()
    for form in (np.asarray, scipy.sparse.csr_array):
        for per_neuron in (False, True):
            net, train = layer(OPTIONS[option], form, per_neuron=per_neuron)
            record = evsim.simulate(net, {"in": train}, 41.0)
            s, t = record.spikes["p"], np.linspace(0, 41, 9)
            v = np.array([record.voltage("p", n, t) for n in range(3)])
            seen.add(s.times.tobytes() + s.times_lo.tobytes() + s.units.tobytes() + v.tobytes())
    assert len(seen) == 1 and len(s) > 8 and record.undecided == []
    weight = layer(OPTIONS[option], np.asarray)[0].projections["in->p"].weight
    cell = Cell(kind="qif", tau_mem=TAU, **({"v_th": math.inf} | OPTIONS[option]))
    for unit in range(2):
        events = [(t, "spike", weight[k, unit]) for t, k in zip(train.times, train.units)]  # noqa: B905
        truth = live(cell, events, 41.0)
        tilted = live(cell, [(t, k, w * (1 + 2.0**-34)) for t, k, w in events], 41.0)
        found = s.times[s.units == unit]
        assert found.size == len(truth.spikes) == len(tilted.spikes)
        for a, b, c in zip(found, truth.spikes, tilted.spikes, strict=True):
            assert abs(a - b) <= 64 * 2.0**-18 * abs(b - c) + 1e3 * EPS * 41.0


def test_a_current_moves_the_level_and_keeps_the_voltage():
    for form in (np.asarray, scipy.sparse.csr_array):
        net, _ = layer({"bias": -0.4, "v_reset": -0.7}, form, n=1)
        current = evsim.Current([5.0, 25.0], [0.65, 0.4])
        record = evsim.simulate(net, {"p": current}, 60.0)
        cell = Cell(kind="qif", tau_mem=TAU, bias=-0.4, v_th=math.inf, v_reset=-0.7)
        truth = live(cell, [(5.0, "current", 0.65), (25.0, "current", 0.4)], 60.0)
        assert len(truth.spikes) == len(record.spikes["p"]) == 1
        assert abs(record.spikes["p"].times[0] - truth.spikes[0]) < 1e-12
        before, after = record.voltage("p", 0, [25.0 - 1e-9, 25.0 + 1e-9])
        assert abs(before - after) < 1e-8


def test_thresholds_and_resets():
    def one(weights, **options):
        net = evsim.Network()
        net.add_input("in", len(weights))
        net.add_population("p", 1, evsim.QIF(tau=TAU, **options))
        net.connect("in", "p", np.array(weights)[:, None])
        train = evsim.Spikes(np.arange(len(weights)), np.arange(len(weights)))
        return evsim.simulate(net, {"in": train}, 9.0)

    assert one([3.0], v_th=2.0).spikes["p"].times.tolist() == [0.0]  # a jump above fires at once
    assert one([2.0], v_th=2.0).spikes["p"].times.tolist() == [0.0]
    assert one([2.0], v_th=2.0, bias=-4.0, graze=">").spikes["p"].times.tolist() == []
    assert one([3.0, 5.0], v_th=2.0, t_ref=2.0).spikes["p"].times.tolist() == [0.0]  # lost
    assert one([1e9]).spikes["p"].times == pytest.approx([1e-8])
    with pytest.raises(evsim.ZenoError, match="neuron 0"):
        one([3.0], v_th=2.0, v_reset=2.5)
    with pytest.raises(ValueError, match="v_reset must be finite; got inf"):
        evsim.QIF(tau=1.0, v_reset=math.inf)
    with pytest.raises(ValueError, match=r"v_th\[1\] must be finite; got nan"):
        evsim.QIF(tau=1.0, v_th=[math.inf, math.nan])
    with pytest.raises(ValueError, match="tau must be positive"):
        evsim.QIF(tau=0.0)
    assert evsim.QIF(tau=1.0, v_th=[math.inf, 2.0]).v_th.tolist() == [math.inf, 2.0]
