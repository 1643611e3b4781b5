"""What neurons do in refractory time: three variants against 50 digits, on both paths."""

import numpy as np
import pytest
import scipy.sparse

import evsim
from reference.cells import Cell, live

EPS = 2.0**-52
UNTIL, N, M = 30.0, 4, 5
VARIANTS = ("clamp", "hold_fire", "block_input")
MODELS = {
    "cuba": (evsim.LIF, {"tau_mem": 10.0, "tau_syn": 4.0, "v_leak": 0.1}),
    "delta": (evsim.DeltaLIF, {"tau_mem": 10.0, "v_leak": 0.1}),
    "if": (evsim.IF, {}),
}
COMMON = {"v_reset": -0.25, "t_ref": 1.7, "bias": 0.08}


def layer(neurons, form, seed, scale):
    """One layer behind one input, with a train."""
    rng = np.random.default_rng(seed)
    weight = scale * rng.normal(0.5, 1.0, (M, N))
    times = np.sort(rng.integers(0, 29 * 64, 40)) / 64
    net = evsim.Network()
    net.add_input("in", M)
    net.add_population("p", N, neurons)
    net.connect("in", "p", form(weight))
    train = evsim.Spikes(times, rng.integers(0, M, 40))
    return net, {"in": train}, weight


def story(cell, train, weight, unit, current, until, tilt=None):
    """The oracle's story of one neuron; `tilt` moves every weight a little."""
    values = weight[train.units, unit] * (1.0 if tilt is None else 1.0 + tilt)
    events = [(t, "spike", w) for t, w in zip(train.times, values, strict=True)]
    events += [(t, "current", x) for t, x in current]
    return live(cell, events, until, (cell.v_leak, 0.0))


def as_if_rounded(cell, train, weight, unit, current, until, read):
    """What roundings of every arrival would do to a number: the allowed error."""
    rng, shifts = np.random.default_rng(9), []
    truth = read(story(cell, train, weight, unit, current, until))
    for _ in range(2):
        tilt = 2.0**-34 * rng.choice([-1.0, 1.0], len(train))
        other = read(story(cell, train, weight, unit, current, until, tilt))
        assert len(other) == len(truth)
        shifts.append([abs(a - b) for a, b in zip(other, truth, strict=True)])
    shift = np.max(np.array(shifts, float), axis=0) if truth else np.zeros(0)
    return truth, 16.0 * 2.0**-18 * shift + 16.0 * EPS * (1.0 + until)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", MODELS)
def test_spikes_and_voltages_are_those_of_fifty_digits(kind, variant):
    cls, taus = MODELS[kind]
    current = [(0.0, 0.0), (7.25, 0.1), (19.0, -0.05)]
    neurons = cls(refractory=variant, **taus, **COMMON)
    cell = Cell(kind=kind, refractory=variant, **taus, **COMMON)
    net, inputs, weight = layer(neurons, np.asarray, 1, 4.0 if kind == "cuba" else 1.0)
    inputs["p"] = evsim.Current([t for t, _ in current], [x for _, x in current])
    record, count = evsim.simulate(net, inputs, UNTIL), 0
    assert record.undecided == []
    for unit in range(2):
        mine = record.spikes["p"].units == unit
        args = (cell, inputs["in"], weight, unit, current)
        truth, allowed = as_if_rounded(*args, UNTIL, lambda s: s.spikes)
        assert mine.sum() == len(truth)
        assert (np.abs(record.spikes["p"].times[mine] - np.array(truth, float)) <= allowed).all()
        count += len(truth)
        # Voltages, most of them within refractory periods.
        for t in [float(s) + 0.9 for s in truth[:3]] + [11.0]:
            both, allowed = as_if_rounded(*args, t, lambda s: [s.v, s.i])
            found = record.voltage("p", unit, t), record.current("p", unit, t)
            assert abs(found[0] - both[0]) <= allowed[0], (unit, t)
            assert kind != "cuba" or abs(found[1] - both[1]) <= allowed[1], (unit, t)
    assert count > 8


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", MODELS)
def test_both_paths_give_the_same_bits(kind, variant):
    cls, taus = MODELS[kind]
    seen = set()
    for per_neuron in (False, True):
        values = taus | COMMON
        if per_neuron:
            values = {k: np.full(N, v) for k, v in values.items()}
        for form in (np.asarray, scipy.sparse.csr_array):
            net, inputs, _ = layer(cls(refractory=variant, **values), form, 2, 3.0)
            s = evsim.simulate(net, inputs, UNTIL).spikes["p"]
            seen.add(s.times.tobytes() + s.times_lo.tobytes() + s.units.tobytes())
    assert len(seen) == 1 and len(s) > 12
    gaps = [np.diff(s.times[s.units == n]) for n in range(N)]
    assert np.concatenate(gaps).min() >= 1.7 - 1e-14


def one(neurons, times, weights, until, **options):
    net = evsim.Network()
    net.add_input("in", len(times))
    net.add_population("p", 1, neurons)
    net.connect("in", "p", np.array(weights)[:, None])
    train = evsim.Spikes(times, np.arange(len(times)))
    return evsim.simulate(net, {"in": train}, until, **options)


def test_a_voltage_above_threshold_fires_at_the_release():
    """Dyadic, without leak: 2 arrives at 1.5, within the second after the spike at 1."""
    times = {"clamp": [1.0], "hold_fire": [1.0, 2.0], "block_input": [1.0]}
    left = {"clamp": 0.0, "hold_fire": 0.0, "block_input": 0.0}
    inside = {"clamp": 0.0, "hold_fire": 2.0, "block_input": 0.0}
    for variant in VARIANTS:
        record = one(evsim.IF(t_ref=1.0, refractory=variant), [1.0, 1.5], [1.0, 2.0], 4.0)
        assert record.spikes["p"].times.tolist() == times[variant]
        assert record.voltage("p", 0, [1.75, 3.5]).tolist() == [inside[variant], left[variant]]
        assert record.undecided == []


def test_a_voltage_that_goes_on_fires_again_and_again():
    """Reset above threshold: one spike per period, and after each the reset leaves it above."""
    for variant in ("hold_fire", "block_input"):
        neurons = evsim.IF(t_ref=0.5, v_reset=1.25, refractory=variant)
        assert one(neurons, [1.0], [1.0], 3.0).spikes["p"].times.tolist() == [1, 1.5, 2, 2.5, 3]
        with pytest.raises(evsim.ZenoError):
            one(evsim.IF(v_reset=1.25, refractory=variant), [1.0], [1.0], 3.0)


def test_a_release_next_to_the_threshold_is_undecided():
    """A jump half a period before it decays to just the threshold; sums of jumps are exact."""
    neurons = evsim.DeltaLIF(tau_mem=10.0, t_ref=1.0, refractory="hold_fire")
    decayed = np.exp(-0.05)
    for change, kinds in ((0.0, ["release"]), (1e-9, []), (-1e-9, [])):
        record = one(neurons, [1.0, 1.5], [1.0, (1.0 + change) / decayed], 4.0)
        assert [k for *_, k in record.undecided if k == "release"] == kinds
        assert len(record.spikes["p"]) == 1 + (change > 0) or change == 0.0
    exact = evsim.IF(t_ref=1.0, refractory="hold_fire")
    record = one(exact, [1.0, 1.5], [1.0, 1.0], 4.0)
    assert record.spikes["p"].times.tolist() == [1.0, 2.0] and record.undecided == []


def test_a_blocked_pulse_is_refused():
    """Its start might be lost and its end not."""
    for refractory in VARIANTS:
        net = evsim.Network()
        net.add_input("in", 1)
        net.add_population("p", 1, evsim.DeltaLIF(tau_mem=1.0, t_ref=1.0, refractory=refractory))
        if refractory == "block_input":
            with pytest.raises(ValueError, match=r"pulse_width: .*'p'.*block_input"):
                net.connect("in", "p", [[1.0]], pulse_width=1.0)
        else:
            net.connect("in", "p", [[1.0]], pulse_width=1.0)
