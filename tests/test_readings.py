"""Maximum and integral of readouts, against 80-digit values that share no formula with them."""

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath import mpf

import evsim
from evsim.models import verbs
from evsim.models.flow import psi
from reference import readout
from reference.cells import Cell

EPS = 2.0**-52
TAUS = [(10.0, 5.0), (5.0, 10.0), (10.0, 10.0), (10.0, np.nextafter(10.0, 11.0)), (0.1, 30.0),
        (30.0, 0.1), (10.0, None)]  # fmt: skip


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(readout.DIGITS):
        yield


def read(tau_mem, tau_syn, events, until, v=0.0, i=0.0, v_leak=0.0, bias=0.0):
    """Record of a readout, its spans in many digits, and the size of what it sums."""
    net = evsim.Network()
    weights = [(t, w) for t, kind, w in events if kind == "weight"]
    starts = [(t, w) for t, kind, w in events if kind == "current"]
    net.add_input("in", max(1, len(weights)))
    initial = {"v": v} if tau_syn is None else {"v": v, "i": i}
    model = evsim.LI(tau_mem=tau_mem, tau_syn=tau_syn, v_leak=v_leak, bias=bias)
    net.add_population("out", 1, model, initial=initial)
    inputs = {"in": evsim.Spikes([t for t, _ in weights], range(len(weights)))}
    net.connect("in", "out", [[w] for _, w in weights] or [[0.0]])
    if starts:
        inputs["out"] = evsim.Current([t for t, _ in starts], [w for _, w in starts])
    record = evsim.simulate(net, inputs, until)
    kind = "delta" if tau_syn is None else "cuba"
    cell = Cell(kind=kind, tau_mem=tau_mem, tau_syn=tau_syn or 1.0, v_leak=v_leak, bias=bias)
    spans = readout.spans(cell, events, until, v, 0.0 if tau_syn is None else i)
    size = max(abs(v), abs(v_leak) + abs(bias), abs(i))
    size += sum(abs(w) for _, _, w in events)
    return record, spans, size


def highest(spans):
    return max((span.highest() for span in spans), key=lambda end: (end[0], -end[1]))


def errors(record, spans, size, until):
    """Errors of the maximum, of the voltage at its time, and of the integral, in eps of sizes."""
    (value,), (time,) = record.maximum("out")
    (area,) = record.integral("out")
    truth, _ = highest(spans)
    near = [
        span.at(min(max(mpf(time) - span.start, 0), span.length))[0]
        for span in spans
        if span.start - abs(time) * EPS <= time <= (span.start + span.length) * (1 + EPS)
    ]
    slack = time * max(2 * size / min(s.cell.tau_mem for s in spans), 0)  # a rounded time
    unit = EPS * size or 1.0
    return (
        float(abs(value - truth) / unit),
        float(max(0, truth - max(near)) / (EPS * (size + slack) or 1.0)),
        float(abs(area - sum(span.area() for span in spans)) / (unit * until or 1.0)),
    )


@given(
    st.sampled_from(TAUS),
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 40), st.floats(0.0, 40.0)),
            st.sampled_from(["weight", "weight", "current"]),
            st.floats(-3.0, 3.0),
        ),
        max_size=6,
    ),
    st.one_of(st.just(0.0), st.integers(0, 50), st.floats(0.0, 50.0)),
    st.tuples(*[st.sampled_from([0.0, 1.0, -2.5, 0.3])] * 4),
)
@settings(max_examples=150)
@example((10.0, 10.0), [(0, "weight", 1.0)], 50.0, (0.0,) * 4)
@example((10.0, 5.0), [(3, "weight", 2.0), (3, "weight", -2.0)], 9, (0.0,) * 4)
@example((10.0, None), [(3, "weight", 2.0), (3, "weight", -2.0)], 9, (0.0,) * 4)
def test_any_readout(taus, events, until, start):
    """Weights, external currents, bias and start, all time constants; no cancelling sums."""
    events = sorted((e for e in events if e[0] <= until), key=lambda e: (e[0], e[1] == "current"))
    v, i, v_leak, bias = start
    record, spans, size = read(*taus, events, float(until), v, i, v_leak, bias)
    value, time, area = errors(record, spans, size, float(until))
    assert value <= 4 and time <= 4 and area <= 6


@pytest.mark.parametrize("taus", TAUS[:-1], ids=str)
def test_one_arrival_peaks_where_the_voltage_turns(taus):
    """The peak of one arrival, to a rounding of the value and of the time."""
    record, spans, _ = read(*taus, [(1.0, "weight", 2.0)], 100.0)
    (value,), (time,) = record.maximum("out")
    truth, when = highest(spans)
    assert 1.0 < when < 100.0
    assert abs(value - truth) <= 6 * EPS * truth
    assert abs(time - when) <= 6 * EPS * when
    assert record.voltage("out", 0, np.linspace(0.0, 100.0, 2001)).max() <= value * (1 + 4 * EPS)


def test_the_left_limit_counts_at_a_jump_down():
    events = [(2.0, "weight", 3.0), (4.0, "weight", -5.0)]
    record, _, _ = read(10.0, None, events, 8.0)
    assert [float(x[0]) for x in record.maximum("out")] == [3.0, 2.0]
    events = [(0.0, "current", 4.0), (4.0, "weight", -5.0)]
    record, spans, _ = read(10.0, None, events, 8.0)
    (value,), (time,) = record.maximum("out")
    assert time == 4.0 and abs(value - spans[-2].at(mpf(4))[0]) < 4 * EPS
    assert record.voltage("out", 0, 4.0) < -3


def test_a_value_that_lasts_no_time_is_no_voltage():
    pair = [(2.0, "weight", 3.0), (2.0, "weight", -3.0)]
    record, _, _ = read(10.0, None, pair, 8.0)
    assert record.maximum("out")[0] == 0.0 and record.integral("out") == 0.0
    record, _, _ = read(10.0, None, [(0.0, "weight", -3.0)], 8.0, v=1.0)
    value, time = record.maximum("out")
    assert value < 0 and time == 8.0


def test_an_arrival_at_the_end_counts():
    record, _, _ = read(10.0, None, [(8.0, "weight", 2.0)], 8.0)
    assert [float(x[0]) for x in record.maximum("out")] == [2.0, 8.0]
    assert record.voltage("out", 0, record.until) == 2.0
    record, _, _ = read(10.0, None, [(8.0, "weight", -2.0)], 8.0)
    assert [float(x[0]) for x in record.maximum("out")] == [0.0, 0.0]
    assert record.voltage("out", 0, record.until) == -2.0 and record.integral("out") == 0.0


@pytest.mark.parametrize("taus", TAUS, ids=str)
def test_the_voltage_at_the_end(taus):
    events = [(1.0, "weight", 2.0), (2.5, "current", 0.5), (7.0, "weight", -1.5)]
    record, spans, size = read(*taus, events, 20.0, bias=0.25)
    end = spans[-1].at(spans[-1].length)[0]
    assert abs(float(record.voltage("out", 0, record.until) - end)) <= 4 * EPS * size


@given(
    st.floats(0.0, 800.0),
    st.one_of(st.just(0.0), st.floats(0.0, 1e-6), st.floats(0.0, 3.0), st.floats(0.0, 1e5)),
)
@settings(max_examples=400)
@example(0.0, 0.0)
@example(1.0, 0.0)
@example(0.9999999999, 1e-12)
@example(0.0, 1.0)
def test_psi_is_a_divided_difference(a, gap):
    """The mean of kappa, to 8 roundings, where its textbook form would lose every digit."""
    b = a + gap
    mpmath.mp.dps = 1100  # for the smallest doubles

    def phi(x):
        return -mpmath.expm1(-x) / x if x else mpf(1)

    exact_gap = mpf(b) - mpf(a)
    if exact_gap:
        truth = (phi(mpf(a)) - phi(mpf(b))) / exact_gap
    elif a:
        truth = (1 - mpmath.exp(-mpf(a)) * (1 + mpf(a))) / mpf(a) ** 2  # - phi'
    else:
        truth = mpf(1) / 2
    assert abs(psi(a, b, float(exact_gap)) - truth) <= 8 * EPS * truth


@pytest.mark.parametrize("taus", TAUS[:-1], ids=str)
@pytest.mark.parametrize("d", [1e-300, 1e-15, 1e-9, 1e-3, 0.1, 1.0, 4.99, 5.0, 20.0, 1e3, 1e6])
def test_the_area_of_a_current_keeps_its_digits(taus, d):
    """Relative accuracy over tiny and long intervals, with nothing to hide behind."""
    p = evsim.LI(tau_mem=taus[0], tau_syn=taus[1]).compile(1, False)
    cell = Cell(kind="cuba", tau_mem=taus[0], tau_syn=taus[1])
    truth = readout.Span(cell, mpf(0), mpf(d), mpf(0), mpf(1), mpf(0)).area()
    got = verbs.area(p, (0.0, 1.0), d)
    assert abs(got - truth) <= 8 * EPS * truth + 5e-324


def test_the_reference_integrates():
    cell = Cell(kind="cuba", tau_mem=10.0, tau_syn=4.0, bias=0.5)
    for span in readout.spans(cell, [(1, "weight", 2.0), (3, "current", 1.0)], 9.0, v=0.2):
        by_sum = mpmath.quad(lambda s, span=span: span.at(s)[0], [0, span.length])
        assert abs(span.area() - by_sum) < mpf(10) ** -60


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_long_sum_does_not_drift(weight):
    """Over 100 000 intervals the sum rounds as if once; a state carries 8 roundings with it."""
    train = evsim.Spikes.regular(0.1, 1, 1e4)
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, evsim.LI(tau_mem=10.0), initial={"v": 0.7})
    net.connect("in", "out", [[weight]])
    record = evsim.simulate(net, {"in": train, "out": evsim.Current([0.0], [0.7])}, 1e4)
    # An arrival that is h before the end adds tau (1 - exp(-h/tau)): a geometric sum.
    count, step = len(train), mpf(0.1)
    q = mpmath.exp(-step / 10)
    tail = mpmath.exp(-(10000 - count * step) / 10) * (1 - q**count) / (1 - q)
    truth = mpf(0.7) * 10000 + weight * 10 * (count - tail)
    error = abs(record.integral("out")[0] - truth) / (EPS * truth)
    assert error <= (8 if weight else 1)


def test_every_neuron_has_its_own_reading():
    """Parameters, weights and delays per neuron, dense or sparse, as each neuron alone."""
    rng = np.random.default_rng(5)
    n, k, until = 7, 30, 40.0
    taus, syn = rng.uniform(1, 20, n), rng.uniform(1, 20, n)
    weights, bias = rng.normal(size=(k, n)), rng.normal(size=n)
    train = evsim.Spikes(rng.uniform(0, 40, 200), rng.integers(0, k, 200))

    def run(of):
        net = evsim.Network()
        net.add_input("in", k)
        model = evsim.LI(tau_mem=taus[of], tau_syn=syn[of], bias=bias[of])
        net.add_population("out", len(of), model)
        net.connect("in", "out", weights[:, of], delay=0.5)
        return evsim.simulate(net, {"in": train}, until)

    record = run(np.arange(n))
    value, time = record.maximum("out")
    area = record.integral("out")
    assert value.shape == time.shape == area.shape == (n,)
    for unit in range(n):
        alone = run(np.array([unit]))
        assert (value[unit], time[unit]) == tuple(x[0] for x in alone.maximum("out"))
        assert area[unit] == alone.integral("out")[0]
        assert abs(record.voltage("out", unit, time[unit]) - value[unit]) < 1e-14


@pytest.mark.parametrize("tau_syn", [None, 4.0])
def test_pulses_enter_where_spikes_enter(tau_syn):
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, evsim.LI(tau_mem=10.0, tau_syn=tau_syn, bias=-0.2))
    net.connect("in", "out", [[1.5]], pulse_width=2.5)
    record = evsim.simulate(net, {"in": evsim.Spikes([1.0, 3.0], [0, 0])}, 12.0)
    kind = "cuba" if tau_syn else "delta"
    cell = Cell(kind=kind, tau_mem=10.0, tau_syn=tau_syn or 1.0, bias=-0.2)
    heights = [(1.0, 1.5), (3.0, 1.5), (3.5, -1.5), (5.5, -1.5)]
    spans = readout.spans(cell, [(t, "pulse", h) for t, h in heights], 12.0)
    assert max(errors(record, spans, 3.0, 12.0)) < 4


def test_a_population_that_fires_has_no_reading():
    net = evsim.Network()
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0))
    record = evsim.simulate(net, {}, 1.0)
    for what in ("maximum", "integral"):
        with pytest.raises(ValueError, match=rf"{what} is for readouts \(LI\).*'p' is of LIF"):
            getattr(record, what)("p")
        with pytest.raises(ValueError, match="'q' is not a population; there are p"):
            getattr(record, what)("q")
