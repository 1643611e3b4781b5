"""IF with exponential currents and with ramps: passages and runs against exact arithmetic."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.sparse

import evsim
from evsim.models import verbs
from reference.cells import Cell, live

EPS = 2.0**-52
TAU = 4.0


def parameters(slope, theta=1.0, graze=">="):
    model = evsim.IF(input="exp", tau_syn=TAU, bias=slope, v_th=theta, graze=graze)
    return model.compile(1, False)


def corners(seed, count):
    """(slope, v, i): rises to a maximum, dips, grazes, slopes over all scales, none."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        v = float(1.0 - 10.0 ** rng.uniform(-9, 1))
        i = float(rng.choice([-1.0, 1.0, 1.0]) * 10.0 ** rng.uniform(-3, 3))
        slope = float(rng.choice([-1.0, 0.0, 1.0]) * 10.0 ** rng.uniform(-12, 1))
        if rng.random() < 0.3:  # next to a graze, with and without bias
            i = float((1.0 - v) / TAU * (1.0 + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-12, -2)))
            slope = float(rng.choice([0.0, 1e-9, -1e-9, 1e-300, 1e-14]))
        elif rng.random() < 0.2:
            slope = float(-i * (1.0 + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-9, -1)))
        yield slope, v, i


def test_passages_of_an_exponential_current_are_those_of_fifty_digits():
    counts = {True: 0, False: 0, "doubt": 0}
    for slope, v, i in corners(1, 500):
        p = parameters(slope)
        cell = Cell(kind="if_exp", tau_syn=TAU, bias=slope)
        s, tolerance, peak = verbs.next_spike(p, (v, i), (v, i))
        with mpmath.workdps(50):
            m, far = mpmath.mpf, mpmath.mpf(10) ** 320
            truth = cell.passage(m(v), m(i), m(slope), far)
        if (truth is None) != (s == math.inf):
            assert peak < math.inf, (slope, v, i, s, truth)
            counts["doubt"] += 1
            continue
        counts[truth is not None] += 1
        if truth is None or truth > 1e300:
            continue
        assert abs(s - truth) <= tolerance, (slope, v, i, s, float(abs(s - truth) / tolerance))
        assert verbs.earliest(p, (v, i)) < truth
        for f in (1.0, 1.0 + 1e-9, 3.0, 1e3):  # no false no, and nothing is called silent
            c = verbs.interval(p, s * f)
            y, may = verbs.step(p, c, (v, i))
            assert may and not (verbs.silent(p, (v, i), y) and f > 1.0)
    assert counts[True] > 150 and counts[False] > 60 and counts["doubt"] < 20, counts


def test_the_level_of_a_charge_is_never_reached():
    p = parameters(0.0)
    for i, fires in ((0.25, False), (np.nextafter(0.25, 1), True), (np.nextafter(0.25, 0), False)):
        s, _, peak = verbs.next_spike(p, (0.0, i), (0.0, i))
        assert (s < math.inf) == fires and peak < 40 * TAU
    assert verbs.next_spike(p, (0.0, 0.0), (0.0, 0.0)) == (math.inf, 0.0, math.inf)
    assert verbs.next_spike(parameters(0.5), (0.0, 0.0), (0.0, 0.0))[0] == 2.0
    # At threshold under ">": only what rises fires.
    for slope, i, fires in ((0.0, 1.0, True), (1.0, 0.0, True), (-1.0, 1.0, False), (0, -1, False),
                            (-1.0, 3.0, True), (0.0, 0.0, False)):  # fmt: skip
        s, _, _ = verbs.next_spike(parameters(slope, graze=">"), (1.0, i), (1.0, i))
        assert s == (0.0 if fires else math.inf)
    assert verbs.next_spike(parameters(1.0, graze=">"), (1.0, -3.0), (1.0, 0.0))[0] > 4.0


def layer(form, kind, n=3, per_neuron=False, **options):
    rng = np.random.default_rng(6)
    values = options | ({"tau_syn": TAU} if kind == "exp" else {})
    if per_neuron:
        values = {k: v if isinstance(v, str) else np.full(n, v) for k, v in values.items()}
    net = evsim.Network()
    net.add_input("in", 4)
    net.add_population("p", n, evsim.IF(input=kind, **values))
    net.connect("in", "p", form(rng.integers(-24, 64, (4, n)) / 64))
    return net, evsim.Spikes(np.sort(rng.integers(0, 1800, 40)) / 64, rng.integers(0, 4, 40))


OPTIONS = {
    "plain": {},
    "driven": {"bias": 0.0625, "t_ref": 1.5, "v_reset": -0.25},
    "hold_fire": {"bias": -0.125, "t_ref": 1.5, "refractory": "hold_fire"},
    "block_input": {"bias": 0.03125, "t_ref": 0.75, "refractory": "block_input"},
}
CURRENT = [(0.0, 0.0), (7.25, 0.125), (19.0, -0.0625)]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", ["exp", "ramp"])
def test_runs_are_those_of_fifty_digits_on_every_path(kind, option):
    options, seen, t = OPTIONS[option], set(), np.linspace(0, 30, 9)
    currents = evsim.Current([when for when, _ in CURRENT], [x for _, x in CURRENT])
    for form in (np.asarray, scipy.sparse.csr_array):
        for per_neuron in (False, True):
            net, train = layer(form, kind, per_neuron=per_neuron, **options)
            record = evsim.simulate(net, {"in": train, "p": currents}, 30.0)
            alone = evsim.simulate(net, {"in": train}, 30.0)
            v = np.array([record.voltage("p", unit, t) for unit in range(3)])
            trains = [r.spikes["p"] for r in (record, alone)]
            parts = [a.tobytes() for s in trains for a in (s.times, s.times_lo, s.units)]
            seen.add(b"".join(parts) + v.tobytes())
    s, weight = record.spikes["p"], layer(np.asarray, kind)[0].projections["in->p"].weight
    assert len(seen) == 1 and len(s) > 8 and record.undecided == []
    cell, changes = Cell(kind=f"if_{kind}", tau_syn=TAU, **options), []
    for unit in range(3):
        arrivals = zip(train.times, weight[train.units, unit], strict=True)
        events = [(when, "current", x) for when, x in CURRENT]
        events += [(when, "spike", x) for when, x in arrivals]
        truth = live(cell, events, 30.0)
        tilted = live(cell, [(a, k, x * (1 + 2.0**-34)) for a, k, x in events], 30.0)
        hi, lo = s.times[s.units == unit], s.times_lo[s.units == unit]
        assert hi.size == len(truth.spikes) == len(tilted.spikes)
        for a, b, x, y in zip(hi, lo, truth.spikes, tilted.spikes, strict=True):
            with mpmath.workdps(50):
                error = abs(mpmath.mpf(a) + mpmath.mpf(b) - x)
            assert error <= 64 * 2.0**-18 * abs(x - y) + 1e3 * EPS * 30.0
        changes += [float(abs(x - y)) for x, y in zip(truth.spikes, tilted.spikes, strict=True)]
        end = record.voltage("p", unit, 30.0)
        assert abs(end - truth.v) <= 64 * 2.0**-18 * abs(truth.v - tilted.v) + 1e-12
    assert max(changes) > 0.0


def test_ramps_on_a_dyadic_grid_are_exact():
    """First spikes as fractions, rounded once; equality with an arrival is decided."""
    net, train = layer(np.asarray, "ramp", n=3, bias=0.0625, t_ref=100.0)
    weight = net.projections["in->p"].weight
    found = evsim.simulate(net, {"in": train}, 30.0)
    for unit in range(3):
        v, slope, t = Fraction(0), Fraction(1, 16), Fraction(0)
        for when, k in zip(train.times, train.units, strict=True):
            if slope > 0 and v + slope * (Fraction(when) - t) >= 1:
                break
            v, t = v + slope * (Fraction(when) - t), Fraction(when)
            slope += Fraction(weight[k, unit])
        spike = t + (1 - v) / slope
        mine = found.spikes["p"].units == unit
        hi, lo = found.spikes["p"].times[mine][0], found.spikes["p"].times_lo[mine][0]
        assert abs(Fraction(hi) + Fraction(lo) - spike) <= Fraction(EPS) * (spike - t)
    tied = evsim.Network()
    tied.add_input("in", 2)
    tied.add_population("p", 1, evsim.IF(input="ramp"))
    tied.connect("in", "p", [[0.25], [-1.0]])
    for tie, times in (("spike_first", [4.5]), ("arrival_first", [4.5])):
        record = evsim.simulate(tied, {"in": evsim.Spikes([0.5, 4.5], [0, 1])}, 9.0, tie=tie)
        assert record.spikes["p"].times.tolist() == times and record.undecided == []
    assert record.voltage("p", 0, [2.5, 6.5]).tolist() == [0.5, -1.5]


def test_a_slope_keeps_106_bits():
    """1 and 2**-60 add up; without the second, the threshold would not be reached."""
    for small, count in ((2.0**-60, 1), (0.0, 0)):
        net = evsim.Network()
        net.add_input("in", 3)
        net.add_population("p", 1, evsim.IF(input="ramp", v_th=2.0**-58))
        net.connect("in", "p", [[1.0], [small], [-1.0]])
        record = evsim.simulate(net, {"in": evsim.Spikes([1.0, 1.0, 1.0], [0, 1, 2])}, 8.0)
        assert len(record.spikes["p"]) == count


def test_a_pulse_into_an_exponential_synapse():
    """It charges as its integral says: height times width in the end."""
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.IF(input="exp", tau_syn=TAU, v_th=9.0))
    net.connect("in", "p", [[0.5]], pulse_width=2.0)
    record = evsim.simulate(net, {"in": evsim.Spikes([1.0], [0])}, 400.0)
    v, i = record.voltage("p", 0, [2.0, 3.0, 399.0]), record.current("p", 0, [2.0, 3.0, 399.0])
    half, full = -math.expm1(-1 / TAU), -math.expm1(-2 / TAU)
    assert np.abs(v - [0.5 - TAU * 0.5 * half, 1.0 - TAU * 0.5 * full, 1.0]).max() < 1e-14
    assert np.abs(i - [0.5 * half, 0.5 * full, 0.0]).max() < 1e-15


def test_bad_inputs_are_refused():
    with pytest.raises(ValueError, match=r"input='delta' has no tau_syn; got tau_syn=5.0"):
        evsim.IF(tau_syn=5.0)
    with pytest.raises(ValueError, match="input='ramp' has no tau_syn"):
        evsim.IF(input="ramp", tau_syn=5.0)
    with pytest.raises(ValueError, match="input='exp' needs a tau_syn; got tau_syn=None"):
        evsim.IF(input="exp")
    with pytest.raises(ValueError, match=r"tau_syn must be positive and finite; got 0.0"):
        evsim.IF(input="exp", tau_syn=0.0)
    with pytest.raises(ValueError, match="input must be one of 'delta', 'exp', 'ramp'; got 'x'"):
        evsim.IF(input="x")
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 1, evsim.IF(input="ramp"))
    with pytest.raises(ValueError, match="pulse_width: population 'p' takes no pulses; a pulse"):
        net.connect("in", "p", [[1.0]], pulse_width=1.0)
