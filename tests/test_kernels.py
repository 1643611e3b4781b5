"""The verbs of every model, one by one: flows against their fields, costates against differences,
and what may be skipped against what happens.

Interpreted, by a test in `test_jit.py`: every verb of every model would be compiled for this alone.
Other tests show that the bits are the same.
"""

import os

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize_scalar

import evsim
from evsim.models import adjoint, crossing, integrate_exp, isolate, verbs

LEVELS = {"v_th": 1.0, "v_reset": -0.2, "t_ref": 1.5, "bias": 0.1}
#: Class, numbers (those of the flow first), choices, and states: rising to a spike, and others.
MODELS = {
    "lif": (
        evsim.LIF, {"tau_mem": 9.0, "tau_syn": 4.0}, {},
        [(0.3, 4.9), (0.1, 1.2), (-0.4, -1.0), (0.5, 0.5)],
    ),
    "lif slow": (
        evsim.LIF, {"tau_mem": 3.0, "tau_syn": 11.0}, {"refractory": "hold_fire"},
        [(0.2, 2.5), (0.5, 0.3), (0.8, -2.0)],
    ),
    "lif equal": (
        evsim.LIF, {"tau_mem": 5.0, "tau_syn": 5.0}, {"reset": "subtract"},
        [(0.2, 4.5), (-2.0, 1.4), (0.5, -0.5)],
    ),
    "mixed": (
        evsim.LIF, {"tau_mem": 9.0, "tau_syn": {"a": 4.0, "b": 12.0}}, {},
        [(0.3, 2.0, 2.4), (0.2, -3.0, 1.6), (0.6, 1.0, -2.0)],
    ),
    "mixed free": (
        evsim.LIF, {"tau_mem": 6.0, "tau_syn": {"a": 2.0, "b": 9.0}},
        {"refractory": "hold_fire", "reset": "subtract"},
        [(0.3, 2.0, 2.4), (-0.2, 3.0, -1.0), (0.6, -1.0, 0.7)],
    ),
    "alpha": (
        evsim.AlphaLIF, {"tau_mem": 9.0, "tau_syn": 3.0}, {},
        [(0.3, 1.0, 1.5), (0.2, -1.0, 0.4), (0.5, 0.9, -0.3)],
    ),
    "alpha slow": (
        evsim.AlphaLIF, {"tau_mem": 3.0, "tau_syn": 8.0}, {"refractory": "hold_fire"},
        [(0.3, 1.0, 0.5), (0.2, -1.0, 0.1), (0.5, 0.9, -0.3)],
    ),
    "adaptive": (
        evsim.AdaptiveLIF, {"tau_mem": 9.0, "tau_syn": 4.0, "tau_th": 15.0, "jump_th": 0.3}, {},
        [(0.3, 5.5, 0.2), (0.1, 1.0, -0.4), (0.5, -1.0, 0.3)],
    ),
    "adaptive subtract": (
        evsim.AdaptiveLIF, {"tau_mem": 5.0, "tau_syn": 8.0, "tau_th": 3.0, "jump_th": 0.3},
        {"reset": "subtract", "refractory": "hold_fire"},
        [(0.3, 3.5, -0.2), (0.1, 0.9, 0.4), (0.5, -1.0, 0.3)],
    ),
    "delta": (evsim.DeltaLIF, {"tau_mem": 9.0, "bias": 1.4}, {}, [(-0.9,), (-1.3,), (0.3,)]),
    "delta free": (
        evsim.DeltaLIF, {"tau_mem": 9.0, "bias": 1.4},
        {"reset": "subtract", "refractory": "hold_fire"}, [(-0.9,), (-1.3,), (0.3,)],
    ),
    "if": (evsim.IF, {"bias": 0.2}, {}, [(0.3, 0.0), (-0.4, 0.0)]),
    "if free": (
        evsim.IF, {"bias": 0.2}, {"refractory": "hold_fire", "reset": "subtract"},
        [(0.3, 0.0), (-0.4, 0.0)],
    ),
    "if exp": (
        evsim.IF, {"bias": 0.05, "tau_syn": 3.0}, {"input": "exp"},
        [(0.3, 0.5), (0.2, -0.1), (0.9, -0.2)],
    ),
    "if exp free": (
        evsim.IF, {"bias": -0.05, "tau_syn": 3.0}, {"input": "exp", "refractory": "hold_fire"},
        [(0.3, 0.9), (0.2, -0.1), (0.5, 0.1)],
    ),
    "if ramp": (
        evsim.IF, {"bias": 0.05}, {"input": "ramp"}, [(0.3, 0.0, 0.1, 0.0), (0.2, 0.0, -0.2, 0.0)],
    ),
    "if ramp free": (
        evsim.IF, {"bias": 0.05}, {"input": "ramp", "refractory": "hold_fire"},
        [(0.3, 0.0, 0.1, 0.0), (0.2, 0.0, -0.2, 0.0)],
    ),
    "qif": (evsim.QIF, {"tau": 8.0, "bias": 0.4}, {"v_th": 6.0}, [(-0.7,), (0.3,)]),
    "qif below": (evsim.QIF, {"tau": 3.0, "bias": -0.3}, {"v_th": 6.0}, [(0.9,), (-1.3,), (0.2,)]),
    "qif zero": (evsim.QIF, {"tau": 3.0, "bias": 0.0}, {"v_th": 6.0}, [(0.9,), (-1.3,), (0.2,)]),
    "if still": (evsim.IF, {"bias": 0.0}, {}, [(0.3, 0.0), (-0.4, 0.0)]),
    "qif near": (evsim.QIF, {"tau": 3.0, "bias": 0.01}, {"v_th": 6.0}, [(0.2,), (-0.3,)]),
}  # fmt: skip
#: As above, with the resting level above the threshold, and at it.
DRIVEN = ("lif", "lif slow", "lif equal", "mixed", "alpha", "alpha slow", "adaptive")
pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="for interpreted kernels: see test_jit.py"
)
every_model = pytest.mark.parametrize("name", MODELS)
SPANS = (0.3, 2.0, 17.0)


def numbers(name):
    """What can be moved, by name; `tau_syn a` for a type of synapse."""
    _, values, choices, _ = MODELS[name]
    found = LEVELS | values
    if "v_th" in choices:
        found["v_th"] = choices["v_th"]
    types = found.pop("tau_syn") if isinstance(found.get("tau_syn"), dict) else {}
    return found | {f"tau_syn {key}": tau for key, tau in types.items()}


def model(name, **moved):
    cls, _, choices, _ = MODELS[name]
    values = numbers(name) | {k: v for k, v in choices.items() if k != "v_th"} | moved
    types = {key[8:]: values.pop(key) for key in list(values) if key.startswith("tau_syn ")}
    return cls(**values | ({"tau_syn": types} if types else {}))


def kernel(name, **moved):
    """Parameters as plain numbers."""
    return model(name, **moved).compile(1, False)


def states(name):
    return [tuple(map(float, x)) for x in MODELS[name][3]]


def main(p, x):
    """Places of the state variables but for the low halves of sums of two doubles."""
    return [k for k in range(len(x)) if not (hasattr(p, "tail") and k % 2 == 1)]


def flow(p, d, x):
    return verbs.step(p, verbs.interval(p, d), x)[0]


def clamped(p, d, x):
    return verbs.clamp(p, verbs.interval(p, d), x)


def derivative(f, h=1e-4):
    """f'(0), extrapolated twice: error of sixth order."""
    rows = [(np.asarray(f(s)) - np.asarray(f(-s))) / (2 * s) for s in (h, h / 2, h / 4)]
    first, second = (4 * rows[1] - rows[0]) / 3, (4 * rows[2] - rows[1]) / 3
    return (16 * second - first) / 15


def moved(x, k, s):
    return tuple(v + s * (j == k) for j, v in enumerate(x))


def costate(p, x):
    """Some row, 0 where a state variable is a low half."""
    row = [0.7, -1.3, 0.45, 0.9]
    return tuple(row[k] if k in main(p, x) else 0.0 for k in range(len(x)))


def passages(name, most=30.0):
    """(p, x, s) of states from which a spike comes by a crossing."""
    p = kernel(name)
    for x in states(name):
        s = next_spike(p, x)
        if 0.0 < s < most:
            yield p, x, s


def next_spike(p, x, d=30.0):
    return verbs.next_spike(p, x, flow(p, d, x))[0]


# --------------------------------------------------------------------------------------- the flow


@every_model
@pytest.mark.parametrize(
    ("way", "field"), [(flow, adjoint.drift), (clamped, adjoint.held)], ids=["free", "refractory"]
)
def test_the_flow_solves_its_equation(name, way, field):
    """Ten digits, against a method that knows nothing but the field."""
    p = kernel(name)
    for x in states(name):
        end = min(SPANS[-1], 0.9 * next_spike(p, x)) if name.startswith("qif") else SPANS[-1]
        spans = [d for d in SPANS if d < end] + [end]
        run = solve_ivp(
            lambda t, y: field(p, tuple(y)), (0.0, end), x, "DOP853", spans, rtol=1e-12, atol=1e-13
        )
        for d, y in zip(spans, run.y.T, strict=True):
            found = way(p, d, x)
            size = 1.0 + np.abs(y).max() + np.abs(x).max()
            assert np.abs(np.asarray(found) - y).max() <= 1e-10 * size, d


@every_model
def test_no_time_changes_nothing(name):
    p = kernel(name)
    for x in states(name):
        assert flow(p, 0.0, x) == clamped(p, 0.0, x) == x


#: The threshold relative to rest: as it stands there, or of leaky models at rest and below.
LEVELS_TRIED = (None, 0.0, -0.4)


def at_level(name, level):
    return kernel(name) if level is None else kernel(name, v_th=LEVELS["bias"] + level)


#: The state variable to which port 0 adds, by the first word of a model's name.
ENTRY = {"lif": 1, "mixed": 1, "alpha": 2, "adaptive": 1, "delta": 0, "if": 0, "qif": 0}


@every_model
@pytest.mark.parametrize("policy", ["clamp", "hold_fire", "block_input"])
def test_an_arrival_adds_its_weight(name, policy):
    """At one place; in refractory time by the variant: not to a clamped voltage, or not at all."""
    if name.startswith("qif") and policy != "clamp":
        return
    p = kernel(name, refractory=policy)
    place = {"if exp": 1, "if ramp": 2}.get(name[:7].strip(), ENTRY[name.split()[0]])
    for x in states(name):
        for port in range(2 if name.startswith("mixed") else 1):
            change = np.subtract(verbs.receive(p, x, port, 0.375), x)
            assert change == pytest.approx(0.375 * (np.arange(len(x)) == place + port), abs=1e-15)
            lost = policy == "block_input" or (policy == "clamp" and place == 0)
            found = np.subtract(verbs.receive_clamped(p, x, port, 0.375), x)
            assert found == pytest.approx(0.0 * change if lost else change, abs=1e-15)


@every_model
def test_a_spike_resets_the_voltage_and_nothing_else(name):
    p = kernel(name)
    for x in states(name):
        for s in (0.0, 0.4):
            z, y = verbs.fire(p, x, s), flow(p, s, x)
            jump = [getattr(p, "jump_th", 0.0) * (k == 2) for k in range(len(x))]
            assert z[1:] == pytest.approx(np.add(y, jump)[1:], rel=1e-14)
            level = p.v_reset if hasattr(p, "v_reset") else p.u_reset
            if getattr(p, "subtract", 0) and s == 0.0:
                level = x[0] - p.drop
            elif name == "adaptive subtract":  # from the moving threshold, by the same amount
                level = p.theta + y[2] - p.drop
            assert z[0] == pytest.approx(level, rel=1e-14)


@every_model
@pytest.mark.parametrize("verb", [verbs.redrive, verbs.pulse])
def test_an_external_current_moves_the_level_and_not_the_voltage(name, verb):
    """Afterwards the neuron is one with more bias; a pulse starts with the current at its top."""
    made, old, new = model(name), 0.125, 0.75
    if verb is verbs.pulse and made.no_pulses:
        return
    p = made.compile(2, True)
    first = verb(p, 1, states(name)[0], False, 0.0, old)
    x = verb(p, 1, first, False, old, new)
    q, other = verbs.pick(p, 1), verbs.pick(p, 0)
    biased, plain = kernel(name, bias=numbers(name)["bias"] + new), kernel(name)
    for field in ("theta", "u_reset", "slope", "level", "root"):
        if hasattr(q, field):
            assert getattr(q, field) == pytest.approx(getattr(biased, field), rel=1e-14), field
            assert getattr(other, field) == getattr(plain, field)
    shift = verbs.voltage(q, x, new) - verbs.voltage(plain, states(name)[0], 0.0)
    assert shift == pytest.approx(0.0, abs=1e-15)
    # By a current: the slope of the voltage rises at once. By a pulse: with the synapse.
    rise = np.subtract(adjoint.drift(q, x), adjoint.drift(plain, states(name)[0]))
    delayed = verb is verbs.pulse and name.startswith(("lif", "adaptive", "if exp"))
    rate = getattr(q, "rate_mem", getattr(q, "rate", 1.0) if name.startswith("qif") else 1.0)
    assert rise[0] == pytest.approx(0.0 if delayed else new * rate, abs=1e-14)


# ----------------------------------------------------------------------------- what may be skipped


def scanned(p, x, end, above=False):
    """The first time that a scan finds the height to rise through 0, or inf."""
    grid = np.linspace(0.0, end, 121)
    heights = np.array([adjoint.height(p, flow(p, t, x)) for t in grid])
    for k in np.flatnonzero((heights[:-1] < 0.0) & (heights[1:] >= 0.0)):
        return brentq(lambda t: adjoint.height(p, flow(p, t, x)), grid[k], grid[k + 1], xtol=1e-13)
    return np.inf


@every_model
@pytest.mark.parametrize("level", LEVELS_TRIED)
def test_the_next_spike_is_the_first_that_a_scan_finds(name, level):
    """From states below threshold; `level`: the threshold relative to rest, of leaky models."""
    if level is not None and name not in DRIVEN:
        return
    p = at_level(name, level)
    rng, found = np.random.default_rng(len(name)), 0
    for _ in range(8):
        x = tuple(rng.normal(0.0, 5.0 if level is None else 2.0, len(states(name)[0])))
        x = tuple(0.0 if k not in main(p, x) else v for k, v in enumerate(x))
        below = abs(x[0]) / 8 if np.isfinite(p.theta) else 0.0
        x = (p.theta + (x[2] if hasattr(p, "raises") else 0.0) - below, *x[1:])
        end = 40.0
        s = next_spike(p, x, end)
        if name.startswith("qif"):
            end = min(end, 1.0001 * s)
        true = scanned(p, x, end)
        if true < np.inf or s < end:
            assert s == pytest.approx(true, rel=1e-8, abs=1e-9)
            found += 1
    assert found > 0 or name == "if still"


@pytest.mark.parametrize("name", [*DRIVEN, "if exp"])
def test_the_next_rise_comes_after_a_fall(name):
    """From above a threshold below rest: where it comes back, if it ever sinks."""
    p, found, never = kernel(name, bias=1.5), 0, 0
    rng = np.random.default_rng(2)
    for _ in range(16):
        x = tuple(rng.normal(-1.5, 2.0, len(states(name)[0])))
        x = (p.theta + abs(x[0]) / 4 + (x[2] if hasattr(p, "raises") else 0.0), *x[1:])
        true = scanned(p, x, 60.0)
        s, *_ = verbs.next_rise(p, x)
        assert s == pytest.approx(true, rel=1e-8)
        found, never = found + (s < np.inf), never + (s == np.inf)
    assert found > 1 and never > 0


@every_model
def test_touching_the_threshold(name):
    """A voltage at threshold that falls has touched it: a spike under ">=", none under ">"."""
    for x in states(name):
        p = kernel(name)
        at = (p.theta + (x[2] if hasattr(p, "raises") else 0.0), *x[1:])
        if adjoint.height(p, at) != 0.0:
            continue
        rises = np.dot(adjoint.normal(p, at, 1.0), adjoint.drift(p, at)) > 0.0
        assert next_spike(p, at) == 0.0
        assert (next_spike(kernel(name, graze=">"), at) == 0.0) == rises


@every_model
@pytest.mark.parametrize("level", LEVELS_TRIED)
def test_what_is_skipped_holds_no_spike(name, level):
    """`step`, `silent` and `earliest` answer on the safe side of `next_spike`, and not for all."""
    if level is not None and name not in DRIVEN:
        return
    p, skipped = at_level(name, level), 0
    for x in states(name):
        s = next_spike(p, x)
        assert verbs.earliest(p, x) <= s
        for d in (0.01, 0.3, 1.0, 3.0, 10.0, 0.999 * min(s, 50.0), 1.001 * min(s, 50.0)):
            y, may = verbs.step(p, verbs.interval(p, d), x)
            if s <= d:
                assert may and not verbs.silent(p, x, y)
            skipped += not may or verbs.earliest(p, x) > d
    assert skipped > 0 or level is not None


@every_model
@pytest.mark.parametrize("steep", [1e6, 1e9, 1e12])
def test_a_steep_rise_in_a_short_interval_is_not_skipped(name, steep):
    """Of 1 - exp(-d/tau_mem) there is little left but rounding where `d` is that short."""
    p, rises = kernel(name), 0
    for factor in np.random.default_rng(8).uniform(1.0, 10.0, 40) * steep:
        x = tuple(factor if k else 0.0 for k in range(len(states(name)[0])))
        if hasattr(p, "raises"):
            x = (0.0, factor, 0.0)
        s = next_spike(p, x)
        if 0.0 < s < np.inf:
            rises += 1
            for d in (s * (1 + 1e-14), s * (1 + 1e-11), s * (1 + 1e-8)):
                assert verbs.step(p, verbs.interval(p, d), x)[1]
    assert rises == 40 or name not in DRIVEN


@every_model
@pytest.mark.parametrize("bias", [{}, {"bias": 0.0}])
def test_a_neuron_that_has_not_fired_is_told_less_about(name, bias):
    """`step_on` after an interval without a spike and an arrival, against `step`: of arrivals that
    lift it just above threshold, too, from where it may sink again."""
    p, told = kernel(name, **bias), 0
    spans = [verbs.interval(p, d) for d in (1e-9, 0.01, 0.3, 1.0, 3.0)]
    for x in states(name):
        for before in spans:
            y, may = verbs.step(p, before, x)
            lift = 1e-6 - adjoint.height(p, y)
            for weight in (-0.3, 0.0, 1e-3, 0.7, 40.0, lift) if not may else ():
                z = verbs.receive(p, y, 0, weight)
                for after in spans:
                    assert verbs.step_on(p, after, z) == verbs.step(p, after, z)
                    told += 1
    assert told > 0


@every_model
def test_the_bound_of_the_next_spike_allows_for_roundings(name):
    """Next to the threshold, where they count: it lies below by more than either is wrong."""
    p, checked = kernel(name), 0
    for x in states(name):
        lift = p.theta + (x[2] if hasattr(p, "raises") else 0.0)
        for near in (3e-14, 1e-13, 1e-11, 1e-6):
            at = (lift - near * (1.0 + abs(lift)), *x[1:])
            s, tolerance, _ = verbs.next_spike(p, at, flow(p, 1.0, at))
            if 0.0 < s < np.inf:
                found = verbs.earliest(p, at)
                # A quadratic neuron's tolerance holds what the voltage itself may be wrong by.
                margin = 2.0**-50 * s if name.startswith("qif") else tolerance
                assert found == 0.0 or found < s - margin
                checked += 1
    assert checked > 0 or name == "if still"


@pytest.mark.parametrize(
    ("name", "module", "function"),
    [
        ("lif", crossing, "residual"),
        ("lif slow", crossing, "residual"),
        ("if exp", integrate_exp, "rise_to"),
        ("mixed", isolate, "flowed"),
        ("alpha", isolate, "flowed"),
        ("adaptive", isolate, "flowed"),
    ],
)
def test_a_spike_takes_few_evaluations(monkeypatch, name, module, function):
    """Cubic convergence; halving alone would take fifty."""
    calls, plain = [], getattr(module, function)

    def counted(*args):
        calls.append(args)
        return plain(*args)

    monkeypatch.setattr(module, function, counted)
    for p, x, _ in passages(name):
        calls.clear()
        y = flow(p, 30.0, x)
        verbs.next_spike(p, x, y)
        assert len(calls) <= (8 if module is not isolate else 30)


def test_next_to_the_threshold_or_the_separatrix_is_in_doubt():
    """Of a quadratic neuron, whose voltage has jumped there: `peak` is now."""
    below, above = kernel("qif below"), kernel("qif")
    separatrix = np.sqrt(0.3)
    for p, v, doubtful in (
        (below, separatrix * (1 + 2.0**-52), True), (below, separatrix * (1 - 2.0**-52), True),
        (below, separatrix * (1 + 1e-12), False), (below, -separatrix, False),
        (above, 6.0 * (1 - 2.0**-52), True), (above, 6.0, True), (above, 6.0 * (1 - 1e-12), False),
    ):  # fmt: skip
        _, _, peak = verbs.next_spike(p, (v,), flow(p, 1e-3, (v,)))
        assert peak == (0.0 if doubtful else np.inf)


@every_model
def test_at_or_above_threshold_a_spike_comes_at_once(name):
    p = kernel(name)
    for x in states(name):
        lift = p.theta - adjoint.height(p, x) - p.theta
        at = (x[0] + lift, *x[1:])
        for up in (at, (at[0] + 0.25, *x[1:])):
            if adjoint.height(p, up) >= 0.0:
                assert next_spike(p, up) == 0.0 == verbs.earliest(p, up)
                assert verbs.step(p, verbs.interval(p, 1.0), up)[1]


@every_model
def test_the_greatest_height_of_an_interval(name):
    """`peak` against a search, and between what `crest` says; a better one is left alone."""
    p = kernel(name)
    for x in states(name):
        for d in SPANS:
            d = min(d, 0.9 * next_spike(p, x)) if name.startswith("qif") else d

            def height(t, x=x):
                return adjoint.height(p, flow(p, float(t), x))

            grid = np.linspace(0.0, d, 60)
            k = int(np.argmax([height(t) for t in grid]))
            near = grid[max(k - 1, 0)], grid[min(k + 1, 59)]
            found = minimize_scalar(lambda t: -height(t), bounds=near, method="bounded",
                                    options={"xatol": 1e-9})  # fmt: skip
            best = max(-found.fun, height(0.0), height(d))
            peak = adjoint.peak(p, x, d, -np.inf)
            assert peak == pytest.approx(best, abs=1e-9)
            c = verbs.interval(p, d)
            reached, bound = adjoint.crest(p, c, x, verbs.step(p, c, x)[0])
            assert reached <= peak <= bound
            assert adjoint.peak(p, x, d, best + 1.0) == best + 1.0
            assert adjoint.peak(p, x, d, best - 1.0) == peak


# ------------------------------------------------------------------------------------ the costates


@every_model
@pytest.mark.parametrize(
    ("way", "back"), [(flow, adjoint.pull), (clamped, adjoint.pull_held)], ids=["free", "held"]
)
def test_costates_and_parameters_of_a_flow(name, way, back):
    """Rows times the derivatives of the flow by its start and by its parameters."""
    p = kernel(name)
    names = [
        key
        for flowing in type(p).FLOW
        for key in numbers(name)
        if key == flowing or key.startswith(f"{flowing} ")
    ]
    for x in states(name):
        lam = costate(p, x)
        for d in (0.4, 3.0):
            if name.startswith("qif") and 1.2 * d > next_spike(p, x):
                continue
            row, by = back(p, d, x, lam)
            for k in main(p, x):
                true = derivative(lambda s: np.dot(lam, way(p, d, moved(x, k, s))))  # noqa: B023
                assert row[k] == pytest.approx(true, rel=1e-8, abs=1e-10)
            assert len(by) == len(names)
            for key, found in zip(names, by, strict=True):
                value = numbers(name)[key]

                def loss(s, key=key, value=value):
                    return np.dot(lam, way(kernel(name, **{key: value + s}), d, x))  # noqa: B023

                rest = key == "bias" and hasattr(p, "rate_mem")
                true = 0.0 if rest else derivative(loss, 1e-3 * max(abs(value), 0.1))
                assert found == pytest.approx(true, rel=1e-7, abs=1e-9), key


@every_model
def test_what_an_earlier_arrival_would_change(name):
    """F(y - j) - F(y), free and refractory."""
    p = kernel(name)
    for x in states(name):
        jump = verbs.receive(p, tuple(0.0 for _ in x), 0, 0.6)
        before = tuple(a - b for a, b in zip(x, jump, strict=True))
        for field, lag in ((adjoint.drift, adjoint.lag), (adjoint.held, adjoint.lag_held)):
            true = np.subtract(field(p, before), field(p, x))
            assert lag(p, x, jump) == pytest.approx(true, abs=1e-14)


@every_model
def test_the_normal_of_the_threshold(name):
    p = kernel(name)
    for x in states(name):
        for k in main(p, x):
            true = derivative(lambda s: adjoint.height(p, moved(x, k, s)))  # noqa: B023
            assert adjoint.normal(p, x, 2.5)[k] == pytest.approx(2.5 * true, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "if still"])
def test_through_a_crossing(name):
    """By the state and the parameters before it, of the spike's time and of what comes after."""
    total, count = 0.4, 0
    for p, x, s in passages(name):
        z = verbs.fire(p, x, s)
        lam = costate(p, x)
        after = adjoint.held(p, z) if p.t_ref > 0.0 else adjoint.drift(p, z)

        def loss(q, x, s=s, after=after, lam=lam):
            when = next_spike(q, x)
            late = [b + a * (s - when) for a, b in zip(after, verbs.fire(q, x, when), strict=True)]
            return total * when + np.dot(lam, late)

        found = adjoint.pull_spike(p, s, x, z, lam, total, False)
        row, by_flow, by_reset, by_theta, slope, _ = found
        for k in main(p, x):
            true = derivative(lambda h: loss(p, moved(x, k, h)))  # noqa: B023
            assert row[k] == pytest.approx(true, rel=1e-6, abs=1e-8)
        rise = derivative(lambda h: adjoint.height(p, flow(p, s + h, x)), 1e-3)  # noqa: B023
        assert slope == pytest.approx(rise, rel=1e-6)
        by = (
            dict(zip(type(p).FLOW, by_flow, strict=False))
            if len(by_flow) == len(type(p).FLOW)
            else {}
        )
        by |= {"v_th": by_theta}
        by |= {"v_reset": by_reset[0]} if name != "adaptive subtract" else {}
        by |= {"jump_th": by_reset[2]} if len(by_reset) == 3 else {}
        leaky = hasattr(p, "rate_mem")
        for key, value in by.items():
            if key == "bias" and leaky:
                continue
            true = derivative(lambda h: loss(kernel(name, **{key: numbers(name)[key] + h}), x))  # noqa: B023
            if key in ("v_th", "v_reset") and (name.endswith("subtract") or name.endswith("free")):
                continue  # they move the height of the reset too
            assert value == pytest.approx(true, rel=1e-6, abs=1e-8), key
        count += 1
    assert count > 0


@every_model
def test_through_a_reset_without_a_crossing(name):
    """From above threshold: the reset alone, by the state before it."""
    p = kernel(name)
    for x in states(name):
        up = (p.theta + 0.3 + (x[2] if hasattr(p, "raises") else 0.0), *x[1:])
        lam = costate(p, up)
        back, by = adjoint.pull_reset(p, up, lam, True)
        for k in main(p, up):
            true = derivative(lambda s: np.dot(lam, verbs.fire(p, moved(up, k, s), 0.0)))  # noqa: B023
            assert back[k] == pytest.approx(true, rel=1e-9, abs=1e-9)
        subtracted = getattr(p, "subtract", 0)
        assert by[0] == (0.0 if subtracted else lam[0])
        assert len(by) == 1 or by[1] == (-lam[0] if subtracted else 0.0)
        z = verbs.fire(p, up, 0.0)
        after = adjoint.held(p, z) if p.t_ref > 0.0 else adjoint.drift(p, z)
        *_, delta = adjoint.pull_spike(p, 0.0, up, z, lam, 0.4, True)
        speed = np.dot(back, adjoint.drift(p, up))
        assert delta == pytest.approx(0.4 - np.dot(lam, after) + speed, rel=1e-12)
