"""Laws of every model, by comparing runs of the engine with one another: P1 to P19.

What holds to the last bit is compared so. Else the allowed difference is what roundings do: a
run with its numbers tilted by `TILT` tells how far a tilt moves a spike, and every own event
rounds at most `DOUBT` times. Cases that such a tilt decides differently are left out.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import evsim
from evsim.models.crossing import DOUBT

EPS = 2.0**-52
TILT = 2.0**-24
UNTIL = 40.0
LEAKY = ("lif", "mixed", "alpha", "adaptive", "delta")
CHARGED = ("if", "if_exp", "if_ramp")
KINDS = (*LEAKY, *CHARGED, "qif")
TYPES = ("exc", "inh", "slow")
every_model = pytest.mark.parametrize("kind", KINDS)
law = settings(deadline=None, max_examples=15)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Numbers of one neuron, from which every model takes those that it has."""

    tau: float = 10.0
    syn: float = 4.0
    v_th: float = 1.0
    v_leak: float = 0.0
    v_reset: float = 0.0
    t_ref: float = 0.0
    bias: float = 0.0
    reset: str = "value"
    refractory: str = "clamp"
    graze: str = ">="


def weight_factor(kind, c, k):
    """How a weight scales with time and voltage: a jump of the voltage, or of its slope."""
    return k / c if kind in ("alpha", "if_exp", "if_ramp") else k


def model_of(kind, case, n=1, c=1.0, k=1.0, **more):
    """One of the models, one value per neuron; times scaled by `c` and voltages by `k`."""
    plain = {"v_reset": case.v_reset * k, "t_ref": case.t_ref * c, "v_th": case.v_th * k}
    words = {"graze": case.graze}
    if kind == "qif":  # tau v' = v^2 + I; its threshold is infinity
        plain |= {"tau": case.tau * c * k, "bias": case.bias * k * k, "v_th": math.inf}
        plain["v_reset"] -= k
    else:
        words |= {"reset": case.reset, "refractory": case.refractory}
        plain["bias"] = case.bias * k / (10.0 * c if kind in CHARGED else 1.0)
    if kind in LEAKY:
        plain |= {"tau_mem": case.tau * c, "v_leak": case.v_leak * k}
    if kind in ("lif", "alpha", "adaptive", "if_exp"):
        plain["tau_syn"] = case.syn * c
    if kind == "adaptive":
        plain |= {"tau_th": 30.0 * c, "jump_th": 0.5 * k}
    values = {name: np.full(n, value) for name, value in (plain | more).items()} | words
    if kind == "mixed":
        taus = (case.syn, 2 * case.syn, case.tau)
        values["tau_syn"] = {x: np.full(n, tau * c) for x, tau in zip(TYPES, taus, strict=True)}
    if kind in ("if_exp", "if_ramp"):
        values["input"] = kind[3:]
    cls = {"alpha": evsim.AlphaLIF, "adaptive": evsim.AdaptiveLIF, "delta": evsim.DeltaLIF}
    default = evsim.QIF if kind == "qif" else evsim.IF if kind in CHARGED else evsim.LIF
    return cls.get(kind, default)(**values)


def simulated(kind, neurons, n, weights, times, until=UNTIL, **options):
    """Record of `n` neurons; arrival `m` comes at `times[m]`, with the weights `weights[m]`.

    Arrival `m` belongs to synapse type `m % 3` where there are several.
    """
    net = evsim.Network()
    net.add_population("p", n, neurons)
    inputs, types = {}, 3 if kind == "mixed" else 1
    for port in range(min(types, len(times))):
        mine = times[port::types]
        name = f"in {port}"
        net.add_input(name, len(mine))
        rows = np.reshape(weights[port::types], (len(mine), n))
        net.connect(name, "p", rows, synapse=TYPES[port] if types > 1 else None)
        inputs[name] = evsim.Spikes(mine, range(len(mine)))
    return evsim.simulate(net, inputs, until, **options)


def unit_of(kind, case):
    """The weight that lifts the voltage by about one."""
    return 1.0 / case.syn if kind in ("alpha", "if_exp") else 0.125 if kind == "if_ramp" else 1.0


def run(kind, case, events, until=UNTIL, c=1.0, k=1.0, v0=None, **options):
    """(times, times_lo) of one neuron."""
    unit = unit_of(kind, case) * weight_factor(kind, c, k)
    if v0 is not None:
        options["initial"] = {"p": {"v": v0}}
    spikes = simulated(
        kind, model_of(kind, case, c=c, k=k), 1, [w * unit for _, w in events],
        [t * c for t, _ in events], until * c, **options,
    ).spikes["p"]  # fmt: skip
    return spikes.times, spikes.times_lo


def bits(found):
    return tuple(column.tobytes() for column in found)


def moved_by_roundings(kind, case, events, base, more_events=0):
    """What the roundings of all own events may do to each spike of `base`."""
    assume(base[0].size < 200)
    tilts = [(case, [(t, w * (1 + TILT)) for t, w in events])]
    for name in ("v_th", "bias", "v_reset", "v_leak"):
        tilts.append((replace(case, **{name: getattr(case, name) * (1 + TILT)}), events))
    shift = np.zeros(base[0].size)
    for other, tilted in tilts:
        found = run(kind, other, tilted)
        assume(found[0].size == base[0].size)
        shift += np.abs((found[0] - base[0]) + (found[1] - base[1]))
        assume((shift < 2.0**-10).all())  # else no tilt tells what a rounding does
    own = 2 * (len(events) + more_events + base[0].size) + 2
    return DOUBT * own * EPS * (shift / TILT + UNTIL)


def together(base, found, allowed, shift=0.0):
    """The same spikes, later by `shift`; differences are exact."""
    assert found[0].size == base[0].size
    a, b = ([Fraction(hi) + Fraction(lo) for hi, lo in zip(*x, strict=True)] for x in (base, found))
    apart = [abs(float(y - x - Fraction(shift))) for x, y in zip(a, b, strict=True)]
    assert (np.array(apart) <= allowed).all()


dyadic = st.integers(0, 30 * 64).map(lambda m: m / 64)
weights = st.one_of(st.floats(-2.0, 3.0), st.sampled_from([0.0, 1.0, -1.0, 6.0, 12.0]))
arrivals = st.lists(st.tuples(dyadic, weights), max_size=8).map(
    lambda events: sorted(events, key=lambda event: event[0])
)
cases = st.builds(
    Case,
    tau=st.sampled_from([10.0, 7.5, 20.0]),
    syn=st.sampled_from([10.0, 4.0, 25.0, 7.5]),
    v_leak=st.sampled_from([0.0, -0.3]),
    v_reset=st.sampled_from([0.0, -0.25, 0.4]),
    t_ref=st.sampled_from([0.0, 1.0, 0.7]),
    bias=st.sampled_from([0.0, 0.3, 1.25, -0.2]),
    reset=st.sampled_from(["value", "subtract"]),
    refractory=st.sampled_from(["clamp", "hold_fire", "block_input"]),
)
#: Equal time constants and one instant; a threshold at rest; above rest; a graze; a burst.
DEGENERATE = [
    (Case(syn=10.0), [(0.0, 4.0), (0.0, -1.0), (2.0, 3.0), (2.0, 3.0)]),
    (Case(bias=1.0, t_ref=0.5), [(1.0, 0.5), (3.0, 0.0)]),
    (Case(bias=1.25, reset="subtract"), [(1.0, -6.0), (1.0, 0.25)]),
    (Case(tau=10.0, syn=5.0, v_th=10.0), [(0.0, 40.0)]),
    (Case(t_ref=1.0, refractory="hold_fire", reset="subtract"), [(1.0, 12.0), (1.5, 12.0)]),
]


def degenerate(**more):
    """The degenerate cases as examples of a law."""

    def decorate(test):
        for case, events in DEGENERATE:
            test = example(case=case, events=events, **more)(test)
        return test

    return decorate


# ----------------------------------------------------------------------------- shifts and scales


@every_model
@law
@given(case=cases, events=arrivals, shift=dyadic)
@degenerate(shift=2.0**-6)
def test_p1_later_input_means_later_spikes(kind, case, events, shift):
    """From rest only. The intervals are the same numbers; times are good to 2**-104."""
    case = replace(case, bias=0.0)
    moved = run(kind, case, [(t + shift, w) for t, w in events], UNTIL + shift)
    together(run(kind, case, events), moved, 2.0**-100 * UNTIL, shift)


@every_model
@law
@given(case=cases, events=arrivals, power=st.sampled_from([-30, -3, 1, 7, 20]))
@degenerate(power=-10)
def test_p2_scaling_time_by_a_power_of_two_scales_every_bit(kind, case, events, power):
    c = 2.0**power
    hi, lo = run(kind, case, events)
    assert bits((hi * c, lo * c)) == bits(run(kind, case, events, c=c))


@every_model
@law
@given(case=cases, events=arrivals, power=st.sampled_from([-40, -1, 3, 30]))
@degenerate(power=10)
def test_p3_scaling_voltages_by_a_power_of_two_changes_no_bit(kind, case, events, power):
    assert bits(run(kind, case, events)) == bits(run(kind, case, events, k=2.0**power))


@law
@given(case=cases, events=arrivals, power=st.tuples(st.integers(-20, 20), st.integers(-30, 30)))
@degenerate(power=(3, -7))
def test_p2_and_p3_readings_scale_in_every_bit(case, events, power):
    """Voltage, maximum and integral of a readout."""
    t, found = np.linspace(0.0, UNTIL, 17), []
    for c, k in ((1.0, 1.0), (2.0 ** power[0], 2.0 ** power[1])):
        neurons = evsim.LI(
            tau_mem=case.tau * c, tau_syn=case.syn * c, v_leak=case.v_leak * k, bias=case.bias * k
        )
        weights, times = [w * k for _, w in events], [time * c for time, _ in events]
        record = simulated("li", neurons, 1, weights, times, UNTIL * c)
        (highest,), (when,) = record.maximum("p")
        area, v = record.integral("p")[0], record.voltage("p", 0, t * c)
        found.append([highest / k, when / c, area / (c * k), *(v / k)])
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [*LEAKY, *CHARGED])
@law
@given(case=cases, events=arrivals, by=st.sampled_from([0.375, -3.0, 100.0]))
@degenerate(by=0.1)
def test_p4_the_zero_of_voltages_is_anywhere(kind, case, events, by):
    """Levels relative to rest are rounded once more, and an `IF` starts where its zero is."""
    raised = {name: getattr(case, name) + by for name in ("v_th", "v_leak", "v_reset")}
    base = run(kind, case, events)
    allowed = (1 + abs(by)) * moved_by_roundings(kind, case, events, base)
    v0 = by if kind in CHARGED else None
    together(base, run(kind, replace(case, **raised), events, v0=v0), allowed)


# --------------------------------------------------------------- superposition, charge, splitting


def below_threshold(kind, case, chosen, t):
    """Voltages of a neuron that never fires; of all arrivals, some have no weight."""
    heights = [w * unit_of(kind, case) for _, w in chosen]
    neurons = model_of(kind, case, v_th=1e6)
    record = simulated(kind, neurons, 1, heights, [time for time, _ in chosen])
    assert len(record.spikes["p"]) == 0
    return record.voltage("p", 0, t)


@pytest.mark.parametrize("kind", [*LEAKY, *CHARGED])
@law
@given(case=cases, events=arrivals, mask=st.integers(0, 255))
@degenerate(mask=1)
def test_p6_below_threshold_voltages_superpose(kind, case, events, mask):
    t = np.linspace(0.0, UNTIL, 33)
    parts = [
        [(time, w * (bool(mask >> m & 1) == keep)) for m, (time, w) in enumerate(events)]
        for keep in (True, False)
    ]
    both, rest, one, other = (
        below_threshold(kind, case, chosen, t)
        for chosen in (events, [(time, 0.0) for time, _ in events], *parts)
    )
    reach = UNTIL / 8 if kind == "if_ramp" else 1.0  # what a weight of one lifts at the end
    size = 2.0 + reach * sum(abs(w) for _, w in events) + abs(case.bias) * (1 + UNTIL)
    allowed = 4 * DOUBT * EPS * (len(events) + 1) * size
    assert np.abs(both + rest - one - other).max() <= allowed


def charge(kind, case, heights, times, record):
    """What the synapses have brought up to the end, from the jumps and from what is left."""
    left = record.state("p", 0, UNTIL)
    total = math.fsum(heights)
    if kind in ("lif", "adaptive", "if_exp"):
        return case.syn * (total - left["i"])
    if kind == "mixed":
        taus = (case.syn, 2 * case.syn, case.tau)
        rows = enumerate(zip(TYPES, taus, strict=True))
        return sum(tau * (math.fsum(heights[m::3]) - left[f"i_{x}"]) for m, (x, tau) in rows)
    if kind == "alpha":  # a brings i, and i brings the charge
        return case.syn * (case.syn * (total - left["a"]) - left["i"])
    if kind == "if_ramp":
        return math.fsum(w * (UNTIL - t) for w, t in zip(heights, times, strict=True))
    return total * (case.tau if kind == "delta" else 1.0)


@pytest.mark.parametrize("kind", [*LEAKY, *CHARGED])
@law
@given(case=cases, events=arrivals)
@degenerate()
def test_p9_charge_is_conserved(kind, case, events):
    """tau_m (V(h) - V(0) + n (v_th - v_reset)) + int (V - rest) = charge; an `IF` has no leak."""
    assume(case.v_th > case.v_reset and len(events) < 9)
    case = replace(case, t_ref=0.0, reset="subtract")
    times, heights = [t for t, _ in events], [w * unit_of(kind, case) for _, w in events]
    record = simulated(kind, model_of(kind, case), 1, heights, times)
    spikes = record.spikes["p"].times
    assume(spikes.size < 200)
    cuts = np.unique(np.concatenate([np.arange(0.0, UNTIL + 1, 2.0), times, spikes]))
    nodes, gauss = np.polynomial.legendre.leggauss(20)  # exp(-x) on x < 2 to far beyond eps
    half, middle = np.diff(cuts) / 2, (cuts[1:] + cuts[:-1]) / 2
    v = record.voltage("p", 0, (middle[:, None] + half[:, None] * nodes).ravel())
    leak = kind in LEAKY
    area = half @ ((v - case.v_leak - case.bias).reshape(half.size, -1) @ gauss) if leak else 0.0
    tau, start = (case.tau, case.v_leak) if leak else (1.0, 0.0)
    gained = record.voltage("p", 0, UNTIL) - start + spikes.size * (case.v_th - case.v_reset)
    brought = charge(kind, case, heights, times, record)
    brought += 0.0 if leak else case.bias / 10.0 * UNTIL
    size = (case.tau + 2 * case.syn + UNTIL) * (
        1 + np.abs(v).max() + sum(abs(w) for _, w in events)
    )
    allowed = DOUBT * EPS * (spikes.size + cuts.size) * size
    assert abs(tau * gained + area - brought) <= allowed


@every_model
@law
@given(case=cases, events=arrivals, empty=st.lists(dyadic, min_size=1, max_size=5))
@degenerate(empty=[0.0, 1.0, 2.5])
def test_p7_spikes_of_no_weight_change_nothing(kind, case, events, empty):
    base = run(kind, case, events)
    more = sorted([*events, *((t, 0.0) for t in empty)], key=lambda event: event[0])
    if kind == "mixed":  # arrival m has type m % 3: three in a row keep the others' types
        more = sorted(
            [*events, *((t, 0.0) for t in empty for _ in TYPES)], key=lambda event: event[0]
        )
    allowed = moved_by_roundings(kind, case, events, base, len(more))
    together(base, run(kind, case, more), allowed)


@every_model
@law
@given(case=cases, events=arrivals)
@degenerate()
def test_p7_a_spike_may_come_in_two_halves(kind, case, events):
    base = run(kind, case, events)
    allowed = moved_by_roundings(kind, case, events, base, len(events))
    halves = [(t, w / 2) for t, w in events for _ in "ab"]
    if kind == "mixed":  # arrival m has type m % 3: halves of its type, nothing for the others
        six = [(m, k, t, w) for m, (t, w) in enumerate(events) for k in range(6)]
        halves = [(t, w / 2 if (k - m) % 3 == 0 else 0.0) for m, k, t, w in six]
    together(base, run(kind, case, halves), allowed)


@every_model
@law
@given(case=cases, events=arrivals, t=dyadic, weight=st.floats(-3.0, 9.0))
@degenerate(t=1.0, weight=9.0)
def test_p11_input_changes_nothing_before_it(kind, case, events, t, weight):
    before = run(kind, case, [*events, (t, 0.0)])
    after = run(kind, case, [*events, (t, weight)])
    early = [(hi < t) | ((hi == t) & (lo < 0)) for hi, lo in (before, after)]
    cut = [[column[mask] for column in found] for found, mask in zip((before, after), early)]  # noqa: B905
    assert bits(cut[0]) == bits(cut[1])


# ------------------------------------------------------------------- monotonicity, refractory time


@every_model
@law
@given(case=cases, events=arrivals, more=st.floats(0.0, 2.0), which=st.integers(0, 7))
@degenerate(more=1e-3, which=0)
def test_p8_more_weight_and_bias_never_delay_the_first_spike(kind, case, events, more, which):
    assume(events)
    stronger, which = list(events), which % len(events)
    stronger[which] = (events[which][0], events[which][1] + more)
    base = run(kind, case, events)
    if base[0].size:
        allowed = moved_by_roundings(kind, case, events, base)[0]
        biased = replace(case, bias=case.bias + more)
        for found in (run(kind, case, stronger), run(kind, biased, events)):
            assert found[0].size and found[0][0] <= base[0][0] + 2 * allowed


@every_model
@law
@given(case=cases, events=arrivals)
@degenerate()
def test_p10_nobody_fires_while_refractory(kind, case, events):
    hi, lo = run(kind, case, events)
    assert (np.diff(hi) + np.diff(lo) >= case.t_ref - 2.0**-100 * UNTIL).all()
    assert ((hi >= 0.0) & (hi <= UNTIL)).all()


# -------------------------------------------------------------------------------------- limits

#: Weight of one arrival at rest whose peak, or final level, or separatrix is the threshold 1.
PEAKS = {
    **dict.fromkeys(("lif", "mixed", "adaptive"), 2.5 ** (1 / 0.6)),  # of r ** (1 / (1 - r))
    "alpha": math.e**2 / 20.0,  # both time constants 10: w s**2 / 20 exp(-s / 10), at s = 20
    "delta": 1.0,
    "if": 1.0,
    "if_exp": 0.25,  # w tau_syn
    "if_ramp": 1.0,  # and back a unit of time later
    "qif": 2.0,  # bias -4
}


@pytest.mark.parametrize("kind", PEAKS)
def test_p13_a_weight_decides_where_the_peak_is_the_threshold(kind):
    """Twelve digits below nobody fires, twelve above everybody; neither is in doubt."""
    case = Case(syn=10.0 if kind == "alpha" else 4.0, bias=-4.0 if kind == "qif" else 0.0)
    for change, count in ((-1e-12, 0), (1e-12, 1)):
        weight = PEAKS[kind] * (1.0 + change)
        weights, times = ([weight, -weight], [0.0, 1.0]) if kind == "if_ramp" else ([weight], [0.0])
        record = simulated(kind, model_of(kind, case), 1, weights, times, 400.0)
        assert len(record.spikes["p"]) == count and not record.undecided


@pytest.mark.parametrize("kind", ["mixed", "alpha", "adaptive"])
def test_p14_spikes_are_continuous_where_the_time_constants_meet(kind):
    """The distance of the spikes is of first order in that of the time constants."""
    events = [(1.0, 5.0), (3.0, 4.0), (7.0, 6.0), (8.5, -1.0), (9.0, 5.0)]
    meeting = [run(kind, Case(syn=10.0 * (1 + 2.0**-p)), events)[0] for p in (10, 12, 14, 16, 60)]
    assert meeting[-1].size >= 3
    errors = [np.abs(found - meeting[-1]).max() for found in meeting[:-1]]
    ratios = np.divide(errors[:-1], errors[1:])
    assert (ratios > 3.5).all() and (ratios < 4.5).all(), errors  # four by first order


def test_p15_a_fast_synapse_is_a_jump_and_a_slow_one_a_ramp():
    events = [(1.0, 0.7), (3.0, 0.6), (7.0, 1.5), (8.5, -0.4), (9.0, 1.6)]
    for limit, sign in (("if", -1), ("if_ramp", 1)):
        base = run(limit, Case(bias=0.3, t_ref=0.5), events)[0]
        errors = []
        for power in (10, 12, 14, 16):
            found = exponential_charge(events, 2.0 ** (sign * power), limit)
            assert found.size == base.size >= 2
            errors.append(np.abs(found - base).max())
        ratios = np.divide(errors[:-1], errors[1:])
        assert (ratios > 3.0).all() and (ratios < 5.0).all(), errors  # four by first order


@pytest.mark.parametrize("kind", ["lif", "alpha"])
def test_p15_a_fast_synapse_of_a_leaky_neuron_is_a_jump(kind):
    events = [(1.0, 0.7), (3.0, 0.6), (7.0, 1.5), (8.5, -0.4), (9.0, 1.6)]
    times, heights = [t for t, _ in events], np.array([w for _, w in events])
    case = Case(bias=0.8, v_reset=-0.1, t_ref=0.5)
    base = run("delta", case, events)[0]
    errors = []
    for power in (8, 10, 12, 14):
        tau = 2.0**-power
        # The charge of a jump: tau_mem times its height, whatever the form of the pulse.
        weights = case.tau * heights / tau ** (2 if kind == "alpha" else 1)
        neurons = model_of(kind, replace(case, syn=tau))
        found = simulated(kind, neurons, 1, weights, times).spikes["p"].times
        assert found.size == base.size >= 3
        errors.append(np.abs(found - base).max())
    ratios = np.divide(errors[:-1], errors[1:])
    assert (ratios > 3.0).all() and (ratios < 5.0).all(), errors  # four by first order


def exponential_charge(events, tau_syn, limit):
    """Spike times of an `IF` behind a synapse that charges as the limit does."""
    factor = 1 / tau_syn if limit == "if" else 0.125
    neurons = model_of("if_exp", Case(bias=0.3, t_ref=0.5), tau_syn=tau_syn)
    times, heights = zip(*events, strict=True)
    record = simulated("if_exp", neurons, 1, np.multiply(heights, factor), times)
    return record.spikes["p"].times


# ---------------------------------------------------------------------------- many neurons


def crowd(kind, order, sources, *, same=False, n=11, m=24):
    """(times, times_lo) by neuron of a layer of different neurons in some order."""
    rng = np.random.default_rng(8)
    scale = 0.3 if kind in ("if_exp", "if_ramp", "alpha") else 3.0
    weight = scale * rng.normal(0.6, 1.0, (m, 1 if same else n))
    weight, reset = np.broadcast_to(weight, (m, n)), rng.uniform(-1.0, 0.0, n)
    reset = np.full(n, -0.5) if same else reset
    times = np.sort(rng.uniform(0, 30, m))
    neurons = model_of(kind, Case(t_ref=0.5, bias=0.3), n, v_reset=reset[order])
    # A type of synapse belongs to every third arrival: these change places among themselves.
    record = simulated(kind, neurons, n, weight[np.ix_(sources, order)], times[sources])
    spikes = record.spikes["p"]
    by = [spikes.times[spikes.units == k].tobytes() for k in np.argsort(order)]
    low = [spikes.times_lo[spikes.units == k].tobytes() for k in np.argsort(order)]
    return list(zip(by, low, strict=True)), spikes


@every_model
def test_p5_renaming_neurons_and_sources_renames_spikes(kind):
    base, spikes = crowd(kind, np.arange(11), np.arange(24))
    assert len(spikes) > 20 and len(set(base)) > 5
    for seed in range(3):
        rng = np.random.default_rng(seed)
        sources = 3 * rng.permutation(8)[:, None] + np.arange(3)
        assert crowd(kind, rng.permutation(11), sources.ravel())[0] == base


@every_model
@pytest.mark.parametrize("count", [2, 9, 65])
def test_p16_identical_neurons_fire_identically(kind, count):
    trains, spikes = crowd(kind, np.arange(count), np.arange(24), same=True, n=count)
    assert len(set(trains)) == 1 and len(spikes) >= 2 * count
    assert (spikes.units.reshape(-1, count) == np.arange(count)).all()  # in order of unit


@every_model
def test_p18_samples_of_a_batch_do_not_meet(kind):
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("p", 2, model_of(kind, Case(t_ref=1.0), 2))
    net.connect("in", "p", [[1.0, 3.0]], synapse="inh" if kind == "mixed" else None)
    quiet = {"in": evsim.Spikes([], [])}
    loud = {"in": evsim.Spikes(np.arange(1.0, 30.0), np.zeros(29, int))}
    alone = {id(x): evsim.simulate(net, x, UNTIL).spikes["p"] for x in (quiet, loud)}
    assert len(alone[id(quiet)]) == 0 < len(alone[id(loud)])
    for batch in ([quiet, loud, quiet], [loud, loud], [loud, quiet]):
        for sample, record in zip(batch, evsim.simulate(net, batch, UNTIL), strict=True):
            found, expected = record.spikes["p"], alone[id(sample)]
            assert found.times.tobytes() == expected.times.tobytes()
            assert found.times_lo.tobytes() == expected.times_lo.tobytes()


@every_model
def test_p19_no_input_one_event_at_zero_and_duplicates(kind):
    case = Case(t_ref=0.25)
    assert run(kind, case, [])[0].size == run(kind, case, [], 0.0)[0].size == 0
    assert run(kind, case, [(0.0, 9.0)])[0].size >= 1
    at_once = kind in ("delta", "if")
    assert run(kind, case, [(0.0, 9.0)], 0.0)[0].tolist() == ([0.0] if at_once else [])
    one_type = [2.0, 9.0] if kind == "mixed" else []  # arrivals 0 and 3 have one type
    twice = [(2.0, 4.0), *((t, 0.0) for t in one_type), (2.0, 4.0)]
    once = [(2.0, 8.0), *((t, 0.0) for t in one_type), (2.0, 0.0)]
    assert bits(run(kind, case, twice)) == bits(run(kind, case, once))
    assert run(kind, case, twice)[0].size > 0
    cancelled = [(2.0, 9.0), *((t, 0.0) for t in one_type), (2.0, -9.0)]
    assert run(kind, case, cancelled)[0].size == 0  # summed before any test
