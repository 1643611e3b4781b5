"""Several spikes of one neuron at one instant: `multi`, on every path."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.optimize import brentq

import evsim
from evsim import IF, LIF, QIF, AdaptiveLIF, AlphaLIF, Current, DeltaLIF, Network, Spikes, simulate

PATHS = ("sweep", "window", "queue")
ONE = np.ones(1)  # one value per neuron: the same compiled form everywhere


def spikes(model, arrivals, until, *, initial=None, current=None, path="sweep", **options):
    """Spike times of one neuron with (time, weight) arrivals."""
    net = Network()
    net.add_input("in", len(arrivals))
    net.add_population("out", 1, model, initial=initial)
    times, weights = np.reshape(arrivals, (-1, 2)).T
    synapse = next(iter(model.ports), None)
    net.connect("in", "out", weights[:, None], synapse=synapse)
    inputs = {"in": Spikes(times, np.arange(times.size))}
    if current is not None:
        inputs["out"] = Current(*current)
    record = simulate(net, inputs, until, path=path, **options)
    assert record.policies["multi"] == options.get("multi", "repeat")
    return record.spikes["out"].times.tolist()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cls", [DeltaLIF, IF])
def test_the_two_policies_with_both_resets(cls, path):
    taus = {"tau_mem": 1e9 * ONE} if cls is DeltaLIF else {}
    arrivals = [(1.0, 3.5), (2.0, 0.25), (3.0, -5.0), (4.0, 6.0)]
    soft = cls(reset="subtract", bias=0.0 * ONE, **taus)
    assert spikes(soft, arrivals, 5.0, path=path) == [1.0, 1.0, 1.0, 4.0]
    # 3.5 - 1, held; 2.75 - 1, held; -3.25; 2.75 - 1
    assert spikes(soft, arrivals, 5.0, path=path, multi="hold") == [1.0, 2.0, 4.0]
    hard = cls(v_reset=1.5 * ONE, **taus)
    with pytest.raises(evsim.ZenoError, match=r"neuron 0 of population 'out'.* t = 1 "):
        spikes(hard, arrivals, 5.0, path=path)
    # 1.5 again and again, then -3.5, then 2.5
    assert spikes(hard, arrivals, 5.0, path=path, multi="hold") == [1.0, 2.0, 4.0]
    # A refractory period ends after the instant: nothing to hold.
    rests = cls(reset="subtract", t_ref=0.25 * ONE, **taus)
    both = [spikes(rests, arrivals, 5.0, path=path, multi=m) for m in ("repeat", "hold")]
    assert both[0] == both[1] == [1.0, 1.25, 1.5, 4.0]


@pytest.mark.parametrize("path", PATHS)
def test_an_arrival_at_the_instant_of_a_spike_does_not_make_another(path):
    """The slope brings the voltage to 1 at t = 1, when 2 arrives; at 1.5 nothing arrives."""
    ramp = IF(bias=ONE)
    assert spikes(ramp, [(1.0, 2.0)], 2.5, path=path) == [1.0, 1.0, 2.0]
    assert spikes(ramp, [(1.0, 2.0)], 2.5, path=path, multi="hold") == [1.0]
    assert spikes(ramp, [(1.0, 2.0), (1.5, 0.0)], 2.25, path=path, multi="hold") == [1.0, 1.5]
    start = {"v": 2.0}
    assert spikes(ramp, [(9.0, 0.0)], 1.5, initial=start, path=path, multi="hold") == [0.0, 1.0]


@pytest.mark.parametrize("path", PATHS)
def test_a_step_of_the_current_is_an_own_event(path):
    soft = IF(reset="subtract", bias=0.0 * ONE)
    step = ([1.5], [0.0])
    assert spikes(soft, [(1.0, 3.5)], 2.0, current=step, path=path, multi="hold") == [1.0, 1.5]


# Models whose voltage may sink below threshold and rise again by itself: rates in 1/s, a matrix
# of the linear system (u, currents.., threshold) and the state at the start.
TAU, SYN, FAR = 1.0, 0.25, 3.0


def falling(kind):
    """A neuron that starts above threshold and falls, its model, state, matrix and start."""
    leaky = {"tau_mem": TAU * ONE, "tau_syn": SYN * ONE, "bias": 1.5 * ONE, "reset": "subtract"}
    m, s = 1 / TAU, 1 / SYN
    if kind == "lif":
        matrix = [[-m, m], [0, -s]]
        return LIF(**leaky), {"v": 2.25, "i": -12.0}, matrix, [1.25 - 1.5, -12.0], -0.5
    if kind == "mixed":
        types = {"tau_syn": {"a": SYN * ONE, "b": FAR * ONE}}
        state = {"v": 2.25, "i": {"a": 12.0, "b": -3.0}}  # it rises first, and turns twice
        matrix = [[-m, m, m], [0, -s, 0], [0, 0, -1 / FAR]]
        return LIF(**leaky | types), state, matrix, [1.25 - 1.5, 12.0, -3.0], -0.5
    if kind == "alpha":
        matrix = [[-m, m, 0], [0, -s, 1], [0, 0, -s]]
        return AlphaLIF(**leaky), {"v": 2.25, "a": -60.0}, matrix, [1.25 - 1.5, 0.0, -60.0], -0.5
    if kind == "adaptive":
        model = AdaptiveLIF(tau_th=FAR * ONE, jump_th=0.1 * ONE, **leaky)
        matrix = [[-m, m, 0], [0, -s, 0], [0, 0, -1 / FAR]]
        return model, {"v": 2.25, "i": -12.0}, matrix, [1.25 - 1.5, -12.0, 0.1], -0.5
    matrix = [[0, 1, 1], [0, -s, 0], [0, 0, 0]]
    model = IF(input="exp", tau_syn=SYN * ONE, bias=ONE, reset="subtract")
    return model, {"v": 2.25, "i": -4.0}, matrix, [1.25, -4.0, 1.0], 1.0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["lif", "mixed", "alpha", "adaptive", "charged"])
def test_a_held_neuron_fires_where_its_voltage_has_sunk_and_comes_back(kind, path):
    model, initial, matrix, start, theta = falling(kind)

    def over(t):
        x = expm(np.array(matrix) * t) @ start
        return x[0] - theta - (x[2] if kind == "adaptive" else 0.0)

    grid = np.linspace(0.0, 12.0, 601)
    below = np.array([over(t) for t in grid]) < 0
    rises = np.flatnonzero(below[:-1] & ~below[1:])
    assert not below[0] and rises.size == 1
    truth = brentq(over, grid[rises[0]], grid[rises[0] + 1], xtol=1e-15)
    found = spikes(model, [(50.0, 0.0)], truth * 1.01, initial=initial, path=path, multi="hold")
    assert found[0] == 0.0 and len(found) == 2
    assert found[1] == pytest.approx(truth, rel=1e-12)
    weaker = {**initial, "i": {"a": 0.0} if kind == "mixed" else 0.0, "a": 0.0}
    if kind != "alpha":
        weaker.pop("a")
    assert spikes(model, [(50.0, 0.0)], 6.0, initial=weaker, path=path, multi="hold") == [0.0]


def excited(seed):
    """in -> a <-> b, many spikes lift a neuron by several thresholds."""
    rng = np.random.default_rng(seed)
    net = Network()
    net.add_input("in", 10)
    for name in ("a", "b"):
        net.add_population(name, 6, DeltaLIF(tau_mem=20e-3 * np.ones(6), reset="subtract"))
    net.connect("in", "a", rng.normal(1.0, 2.0, (10, 6)), 1e-3)
    net.connect("a", "b", rng.normal(0.5, 0.8, (6, 6)), 1e-3)
    net.connect("b", "a", rng.normal(-0.5, 0.8, (6, 6)), rng.uniform(1e-3, 3e-3, (6, 6)))
    return net, rng.uniform(0, 0.2, 150), rng.integers(0, 10, 150)


def bits(record):
    return [
        (name, s.times.tobytes(), s.times_lo.tobytes(), s.units.tobytes())
        for name, s in record.spikes.items()
    ] + record.undecided


def test_the_paths_agree_and_pauses_change_nothing():
    net, times, units = excited(1)
    inputs = {"in": Spikes(times, units)}
    held = simulate(net, inputs, 0.2, multi="hold")
    assert bits(held) == bits(simulate(net, inputs, 0.2, multi="hold", path="queue"))
    assert bits(held) != bits(simulate(net, inputs, 0.2))
    for s in held.spikes.values():
        assert len(s) > 50
        assert len(set(zip(s.times, s.times_lo, s.units, strict=True))) == len(s)
    t = np.linspace(0.0, 0.2, 41)
    for pause in (0.05, held.spikes["a"].times[20], held.spikes["b"].times[11]):
        early = times <= pause
        first = simulate(net, {"in": Spikes(times[early], units[early])}, pause, multi="hold")
        late = {"in": Spikes(times[~early], units[~early])}
        with pytest.raises(ValueError, match="resume was run with multi='hold'; got 'repeat'"):
            simulate(net, late, 0.2, resume=first)
        whole = simulate(net, late, 0.2, resume=first, multi="hold")
        assert bits(whole) == bits(held)
        assert np.array_equal(whole.voltage("a", 2, t), held.voltage("a", 2, t))


def test_the_voltage_that_is_read_is_that_of_the_run():
    record_of = {}
    for multi in ("repeat", "hold"):
        net = Network()
        net.add_input("in", 1)
        net.add_population("p", 1, IF(reset="subtract", bias=0.0 * ONE))
        net.connect("in", "p", [[3.5]])
        record_of[multi] = simulate(net, {"in": Spikes([1.0], [0])}, 2.0, multi=multi)
    assert record_of["repeat"].voltage("p", 0, [1.0, 2.0]).tolist() == [0.5, 0.5]
    assert record_of["hold"].voltage("p", 0, [1.0, 2.0]).tolist() == [2.5, 2.5]


def test_with_hold_a_cycle_without_delay_ends():
    net = Network()
    net.add_input("in", 1)
    net.add_population("p", 2, IF(bias=np.zeros(2)))
    net.connect("in", "p", [[2.0, 0.0]])
    net.connect("p", "p", [[0.0, 2.0], [2.0, 0.0]])
    train = {"in": Spikes([1.0, 2.0], [0, 0])}
    with pytest.raises(evsim.ZenoError):
        simulate(net, train, 3.0)
    record = simulate(net, train, 3.0, multi="hold")
    assert record.spikes["p"].times.tolist() == [1.0, 1.0, 2.0, 2.0]
    assert record.spikes["p"].units.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("path", PATHS)
def test_an_adaptive_threshold_ends_a_repeat_or_keeps_it_for_ever(path):
    """The distance from the moving threshold counts, not the voltage."""

    def adaptive(**more):
        return AdaptiveLIF(tau_mem=ONE, tau_syn=ONE, tau_th=ONE, **more)

    high, quiet = {"v": 2.0}, [(9.0, 0.0)]
    # Reset to 2, above 1: the threshold overtakes it at its fourth jump of 0.3.
    rises = adaptive(jump_th=0.3 * ONE, v_reset=2.0 * ONE)
    assert spikes(rises, quiet, 0.25, initial=high, path=path) == [0.0] * 4
    # The first reset lifts it; from then on the threshold overtakes it as before.
    assert spikes(rises, quiet, 0.25, initial={"v": 1.05}, path=path) == [0.0] * 4
    # The threshold sinks by as much as the voltage: for ever.
    sinks = adaptive(jump_th=-1.0 * ONE, reset="subtract")
    with pytest.raises(evsim.ZenoError, match=r" t = 0 "):
        spikes(sinks, quiet, 0.25, initial=high, path=path)


def by_hand(arrivals, slope, v_reset, reset, until, multi):
    """Spike times of a neuron without leak by the definition, in exact fractions; threshold 1."""
    v, t, fired, spikes = Fraction(0), Fraction(0), None, []
    times = [*sorted({Fraction(a) for a, _ in arrivals if a <= until}), None]
    for at in times:
        end = Fraction(until) if at is None else at
        while True:
            if v >= 1 and (multi == "repeat" or fired != t):
                v = v - (1 - v_reset) if reset == "subtract" else Fraction(v_reset)
            elif v < 1 and slope > 0 and t + (1 - v) / slope <= end:
                t, v = t + (1 - v) / slope, Fraction(v_reset)
            else:
                break
            fired = t
            spikes.append(float(t))
        v, t = v + slope * (end - t), end
        v += sum(Fraction(w) for a, w in arrivals if a == at)
    return spikes


eighths = st.integers(0, 24).map(lambda k: k / 8)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(eighths, st.integers(-12, 16).map(lambda k: k / 4)), min_size=1, max_size=8),
    st.sampled_from([0, 1, 2, -1]),
    st.sampled_from([0.0, 0.5, -0.25]),
    st.sampled_from(["value", "subtract"]),
    st.sampled_from(["repeat", "hold"]),
)
@example([(1.0, 3.0), (1.0, 0.5), (1.5, 0.0)], 1, 0.0, "subtract", "hold")
def test_every_path_does_what_the_definition_says(arrivals, slope, v_reset, reset, multi):
    model = IF(bias=slope * ONE, v_reset=v_reset, reset=reset)
    expected = by_hand(arrivals, slope, v_reset, reset, 3.0, multi)
    for path in PATHS:
        assert spikes(model, arrivals, 3.0, path=path, multi=multi) == expected, path


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="multi must be one of 'repeat', 'hold'; got 'once'"):
        spikes(IF(), [(1.0, 1.0)], 2.0, multi="once")
    with pytest.raises(ValueError, match="multi='hold' is not for population 'out': held above"):
        spikes(QIF(tau=1.0, v_th=5.0), [(1.0, 1.0)], 2.0, multi="hold")
    assert spikes(QIF(tau=1.0), [(1.0, 8.0)], 2.0, multi="hold") == spikes(
        QIF(tau=1.0), [(1.0, 8.0)], 2.0
    )
