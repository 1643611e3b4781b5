"""The discrete twin without any framework: laws, golden cases, bounds and convergence."""

import itertools
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import nir
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from validation import adapters
from validation.twin import ARITHMETIC, SWITCHES, Semantics, kappa, refine, run

LEAKY = adapters.model("snntorch.Leaky")
SYNAPTIC = adapters.model("snntorch.Synaptic")
LIF = adapters.model("sinabs.LIF")
IAF = adapters.model("sinabs.IAF")
SJ_LIF = adapters.model("spikingjelly.LIFNode")
SJ_IF = adapters.model("spikingjelly.IFNode")
BOX = adapters.model("norse.LIFBoxCell")
CELL = adapters.model("norse.LIFCell")

#: One set of parameters per model, float64, so that nothing is rounded on the way in.
PARAMS = {
    "snntorch.Leaky": {"beta": np.float64(0.9)},
    "snntorch.Synaptic": {"alpha": np.float64(0.8), "beta": np.float64(0.9)},
    "sinabs.LIF": {"tau_mem": np.float64(10.0)},
    "sinabs.IAF": {},
    "spikingjelly.LIFNode": {"tau": np.float64(5.0)},
    "spikingjelly.IFNode": {},
    "norse.LIFBoxCell": {"tau_mem_inv": np.float64(100.0)},
    "norse.LIFCell": {"tau_mem_inv": np.float64(100.0), "tau_syn_inv": np.float64(170.0)},
}
NAMES = sorted(PARAMS)


def step_of(name):
    return 1e-3 if name.startswith("norse") else None


def column(*values, dtype=np.float32):
    return np.array(values, dtype).reshape(-1, 1, 1)


def noise(seed, shape=(60, 3, 8), dtype=np.float32, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(0.4, 1.0, shape)).astype(dtype)


def v_of(result):
    return result.membrane.ravel().tolist()


# ---------------------------------------------------------------------- golden cases by hand


def test_snntorch_subtracts_one_step_late_and_before_the_decay_is_undone():
    late = run(LEAKY, {"beta": 0.5}, LEAKY.semantics, column(1.5, 0, 0, 0))
    assert v_of(late) == [1.5, -0.25, -0.125, -0.0625]
    same = replace(LEAKY.semantics, reset_timing="same_step", membrane_point="post_reset")
    assert v_of(run(LEAKY, {"beta": 0.5}, same, column(1.5, 0, 0, 0))) == [0.5, 0.25, 0.125, 0.0625]


def test_snntorch_same_step_reset_is_a_correction_of_the_late_one():
    # 3.5 leaves 2.5, still above 1: R = 1 takes 1 off before the comparison of the next step,
    # 0.5*2.5 - 1 = 0.25 does not fire, and s - R = -1 gives the 1 back.
    same = replace(LEAKY.semantics, reset_timing="same_step", membrane_point="post_reset")
    result = run(LEAKY, {"beta": 0.5}, same, column(3.5, 0, 0))
    assert v_of(result) == [2.5, 1.25, 0.625]
    assert result.v_pre.ravel().tolist() == [3.5, 0.25, -0.375]
    assert result.spikes.ravel().tolist() == [1, 0, 0]


def test_a_late_hard_reset_keeps_the_input_in_leaky_and_loses_it_in_synaptic():
    x = column(2, 0.75, 0.75)
    zero = replace(LEAKY.semantics, reset="value")
    assert v_of(run(LEAKY, {"beta": 0.5}, zero, x)) == [2.0, 0.75, 1.125]
    zero = replace(SYNAPTIC.semantics, reset="value")
    assert v_of(run(SYNAPTIC, {"alpha": 0.0, "beta": 0.5}, zero, x)) == [2.0, 0.0, 0.75]


def test_spikingjelly_leaks_to_the_reset_potential():
    params = {"tau": 2.0, "v_reset": -0.5}
    result = run(SJ_LIF, params, SJ_LIF.semantics, column(0.5, 3, 0))
    # h = -.5 + (.5 - 0)/2 = -.25; -.25 + (3 - .25)/2 = 1.125 fires; then it stays at rest
    assert result.v_pre.ravel().tolist() == [-0.25, 1.125, -0.5]
    assert v_of(result) == [-0.25, -0.5, -0.5]
    whole = replace(SJ_LIF.semantics, input_gain="1")
    assert run(SJ_LIF, params, whole, column(0.5)).v_pre.item() == 0.0


def test_norse_box_and_cell_take_euler_steps():
    params = {"tau_mem_inv": 500.0, "v_leak": 0.5, "v_reset": -1.0}
    box = run(BOX, params, BOX.semantics, column(0.5, 3, 0), dt=1e-3)
    assert box.v_pre.ravel().tolist() == [0.75, 2.125, -0.25]  # rate 1/2, rest 0.5
    assert v_of(box) == [0.75, -1.0, -0.25]
    cell = run(
        CELL, {"tau_mem_inv": 500.0, "tau_syn_inv": 250.0}, CELL.semantics, column(1, 0), dt=1e-3
    )
    assert v_of(cell) == [0.5, 0.625]  # i+ = 1, then 0.75
    assert cell.synaptic_current.ravel().tolist() == [0.75, 0.5625]


def test_sinabs_fires_several_times_and_clips_after_the_reset():
    result = run(IAF, {"min_v_mem": -0.25}, IAF.semantics, column(3.5, -2.0, 1.25))
    assert result.spikes.ravel().tolist() == [3, 0, 1]
    assert v_of(result) == [0.5, -0.25, 0.0]
    capped = replace(IAF.semantics, max_spikes_per_step=2)
    assert v_of(run(IAF, {}, capped, column(3.5))) == [1.5]
    assert v_of(run(IAF, {"subtract_value": 0.5}, IAF.semantics, column(3.5))) == [2.0]


@pytest.mark.parametrize("compare, fires", [(">", 0), (">=", 1)])
@pytest.mark.parametrize("cap", [1, 4, None])
def test_equality_with_the_threshold_is_decided_by_compare(compare, fires, cap):
    for model, x in [(LEAKY, 1.0), (SJ_IF, 1.0), (IAF, 1.0)]:
        s = replace(model.semantics, compare=compare, max_spikes_per_step=cap)
        params = {"beta": 0.5} if model is LEAKY else {}
        result = run(model, params, s, column(x))
        assert result.spikes.item() == fires
        assert result.distance.item() == 0.0 and result.margin.item() == 0.0


def test_membrane_point_chooses_what_is_exposed():
    seen = {
        point: v_of(run(SJ_IF, {}, replace(SJ_IF.semantics, membrane_point=point), column(0.75, 1)))
        for point in SWITCHES["membrane_point"]
    }
    expected = {"step_start": [0.0, 0.75], "pre_reset": [0.75, 1.75], "post_reset": [0.75, 0.0]}
    assert seen == expected


# ---------------------------------------------------------------------- laws


def exact_scalar(xs, s, *, beta, th, v_reset):
    """Equation (1) of snnTorch's adapter with every switch, in rationals, written from its text."""
    v, out, late = Fraction(0), [], s.reset_timing == "next_step"
    last = 0
    for x in xs:
        pending = last if late else count_exact(v, th, s) if s.carried_reset else 0
        if s.reset == "value" and pending > 0:
            v = v_reset
        v = beta * v + x
        if s.reset == "subtract":
            v -= pending * th
        n = count_exact(v, th, s)
        out.append((n, v))
        due = n - pending
        if not late and s.reset == "subtract":
            v -= due * th
        elif not late and s.reset == "value":
            v = v_reset if due > 0 else v - due * (v - v_reset)
        last = n
    return out


def count_exact(v, th, s):
    cap = s.max_spikes_per_step
    if cap == 1:
        return int(v > th or (v == th and s.compare == ">="))
    n = 0
    while (n + 1) * th < v or ((n + 1) * th == v and s.compare == ">="):
        n += 1
    return n if cap is None else min(n, cap)


sixteenths = st.lists(st.integers(-32, 48), min_size=1, max_size=12)


@settings(deadline=None, max_examples=150)
@given(
    sixteenths,
    st.sampled_from(SWITCHES["compare"]),
    st.sampled_from(SWITCHES["reset"]),
    st.sampled_from(SWITCHES["reset_timing"]),
    st.booleans(),
    st.sampled_from([1, 2, None]),
)
@example([16, 16, 16], ">=", "subtract", "same_step", False, None)
@example([56, 0, 0], ">", "subtract", "same_step", True, 1)
def test_the_twin_equals_rational_arithmetic_for_every_switch(xs, comp, reset, timing, carry, cap):
    s = Semantics(
        compare=comp,
        reset=reset,
        reset_timing=timing,
        carried_reset=carry,
        max_spikes_per_step=cap,
    )
    rational = [Fraction(x, 16) for x in xs]
    expected = exact_scalar(
        rational, s, beta=Fraction(1, 2), th=Fraction(3, 4), v_reset=Fraction(-1, 8)
    )
    params = {"beta": 0.5, "threshold": 0.75, "v_reset": -0.125}
    result = run(LEAKY, params, s, column(*map(float, rational), dtype=np.float64))
    assert result.spikes.ravel().tolist() == [n for n, _ in expected]
    assert result.v_pre.ravel().tolist() == [float(v) for _, v in expected]


@pytest.mark.parametrize("name", NAMES)
def test_every_combination_of_switches_runs_on_every_model(name):
    model, x = adapters.model(name), noise(1, (12, 1, 3))
    for values in itertools.product(*SWITCHES.values(), (1, 3, None)):
        s = Semantics(**dict(zip([*SWITCHES, "max_spikes_per_step"], values, strict=True)))
        result = run(model, PARAMS[name], s, x, dt=1e-3)
        assert np.isfinite(result.v_pre).all() and np.isfinite(result.bound).all(), s
        assert result.v_pre.dtype == np.float32 and result.spikes.shape == x.shape


@pytest.mark.parametrize("name", NAMES)
def test_samples_and_neurons_do_not_influence_one_another(name):
    model, x = adapters.model(name), noise(2)
    whole = run(model, PARAMS[name], model.semantics, x, dt=1e-3)
    part = run(model, PARAMS[name], model.semantics, x[:, 1:2, 3:5], dt=1e-3)
    for field in ("spikes", "v_pre", "membrane", "bound", "margin"):
        np.testing.assert_array_equal(getattr(whole, field)[:, 1:2, 3:5], getattr(part, field))


@pytest.mark.parametrize("name", NAMES)
def test_one_value_per_neuron_equals_each_neuron_alone(name):
    model, x = adapters.model(name), noise(3, (40, 2, 4))
    spread = {k: v * np.array([0.5, 0.7, 0.9, 1.0]) for k, v in PARAMS[name].items()}
    spread[model.threshold] = np.array([0.5, 1.0, 0.75, 2.0])
    whole = run(model, spread, model.semantics, x, dt=1e-3)
    for n in range(4):
        alone = {k: v[n] for k, v in spread.items()}
        one = run(model, alone, model.semantics, x[..., n : n + 1], dt=1e-3)
        np.testing.assert_array_equal(whole.v_pre[..., n : n + 1], one.v_pre)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_from_its_own_last_state(name):
    model, x = adapters.model(name), noise(4)
    s = replace(model.semantics, membrane_point="post_reset")
    whole = run(model, PARAMS[name], s, x, dt=1e-3)
    first = run(model, PARAMS[name], s, x[:25], dt=1e-3)
    state = {"v": first.membrane[-1]}
    if first.synaptic_current is not None:
        state["i"] = first.synaptic_current[-1]
    second = run(model, PARAMS[name], s, x[25:], dt=1e-3, initial=state)
    np.testing.assert_array_equal(whole.v_pre[25:], second.v_pre)


@pytest.mark.parametrize("name", NAMES)
def test_teacher_forced_on_its_own_spikes_a_run_repeats_itself(name):
    model, x = adapters.model(name), noise(5)
    free = run(model, PARAMS[name], model.semantics, x, dt=1e-3)
    forced = run(model, PARAMS[name], model.semantics, x, dt=1e-3, recorded_spikes=free.spikes)
    np.testing.assert_array_equal(free.v_pre, forced.v_pre)


@pytest.mark.parametrize("timing", SWITCHES["reset_timing"])
@pytest.mark.parametrize("reset", ["subtract", "value"])
def test_a_recorded_spike_resets_although_the_twin_does_not_fire(reset, timing):
    s = Semantics(reset=reset, reset_timing=timing)
    recorded = np.array([1, 0, 0]).reshape(3, 1, 1)
    result = run(LEAKY, {"beta": 0.5}, s, column(1.0, 0, 0), recorded_spikes=recorded)
    assert result.spikes.ravel().tolist() == [0, 0, 0]  # 1 > 1 is false: its own decision
    late, hard = timing == "next_step", reset == "value"
    soft = [1.0, -0.5, -0.25] if late else [1.0, 0.0, 0.0]
    assert result.v_pre.ravel().tolist() == ([1.0, 0.0, 0.0] if hard else soft)


@pytest.mark.parametrize("name", NAMES)
def test_neutral_nir_fields_change_no_bit(name):
    model, x = adapters.model(name), noise(6)
    plain = run(model, PARAMS[name], model.semantics, x, dt=1e-3)
    neutral = {**PARAMS[name], "r": 1.0, "w_in": 1.0, "v_reset": 0.0, "v_leak": 0.0}
    same = run(model, neutral, model.semantics, x, dt=1e-3)
    np.testing.assert_array_equal(plain.v_pre, same.v_pre)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["r", "v_leak", "v_reset"])
def test_every_nir_field_matters_where_the_equation_has_it(name, field):
    model, x = adapters.model(name), noise(7)
    s = replace(model.semantics, reset="value")
    params = {**PARAMS[name], model.threshold: 0.25}  # so that every model fires
    plain = run(model, params, s, x, dt=1e-3)
    other = run(model, {**params, field: 0.125}, s, x, dt=1e-3)
    assert plain.spikes.any()
    leaks = name not in ("sinabs.IAF", "spikingjelly.IFNode")
    assert np.any(plain.v_pre != other.v_pre) == (leaks or field != "v_leak")


# ---------------------------------------------------------------------- distance and margin


def test_distance_is_to_the_nearest_value_at_which_the_count_changes():
    result = run(IAF, {}, IAF.semantics, column(2.75))
    assert result.distance.item() == -0.25
    assert run(IAF, {}, IAF.semantics, column(-5.0)).distance.item() == -6.0
    capped = replace(IAF.semantics, max_spikes_per_step=2)
    assert run(IAF, {}, capped, column(9.0)).distance.item() == 7.0


def test_margin_counts_ulps_of_the_larger_magnitude():
    x = np.nextafter(np.float32(1), np.float32(2))
    assert run(SJ_IF, {}, SJ_IF.semantics, column(x)).margin.item() == 1.0
    x = np.nextafter(np.float32(1), np.float32(0))
    assert run(SJ_IF, {}, SJ_IF.semantics, column(x)).margin.item() == -0.5


# ---------------------------------------------------------------------- the rounding bound


def replay(name, x, spikes, kind):
    """The default update written otherwise: reordered, or fused, or in extended precision."""
    wide = np.longdouble if kind == "extended" else np.float32
    exact = np.longdouble if kind == "extended" else np.float64
    v = i = np.zeros(x.shape[1:], wide)
    out, currents = [], []
    for xt, s in zip(x.astype(wide), spikes, strict=True):
        v, i, pre = REPLAYS[name](v, i, xt, s.astype(wide), wide, exact, kind)
        out.append(pre)
        currents.append(i)
    return np.array(out), np.array(currents)


def fma(a, b, c, wide, exact):
    return (exact(a) * exact(b) + exact(c)).astype(wide)


def replay_leaky(v, i, x, s, wide, exact, kind):
    a, driven = wide(np.float32(0.9)), x - i  # i carries the spikes of the step before
    pre = fma(v, a, driven, wide, exact) if kind == "fused" else driven + a * v
    return pre, s, pre


def replay_box(v, i, x, s, wide, exact, kind):
    rate = wide(np.float32(1e-3) * np.float32(100.0))
    if kind == "fused":
        pre = fma(x - v, rate, v, wide, exact)
    else:
        pre = (wide(1) - rate) * v + rate * x
    return pre * (1 - s), i, pre


def replay_lif(v, i, x, s, wide, exact, kind):
    tau = wide(10)
    a = np.exp(-exact(1) / exact(tau)).astype(wide)
    if kind == "fused":
        pre = fma(a, v - x, x, wide, exact)
    else:
        pre = v - (v - x) * (-np.expm1(-exact(1) / exact(tau))).astype(wide)
    return pre - s, i, pre


def replay_cell(v, i, x, s, wide, exact, kind):
    rate, rate_syn = (wide(np.float32(1e-3) * np.float32(k)) for k in (100.0, 170.0))
    i = i + x
    if kind == "fused":
        pre = fma(i - v, rate, v, wide, exact)
        i = fma(i, -rate_syn, i, wide, exact)
    else:
        pre = v * (wide(1) - rate) + i * rate
        i = i * (wide(1) - rate_syn)
    return pre * (1 - s), i, pre


REPLAYS = {
    "snntorch.Leaky": replay_leaky,
    "norse.LIFBoxCell": replay_box,
    "norse.LIFCell": replay_cell,
    "sinabs.LIF": replay_lif,
}


@pytest.mark.parametrize("kind", ["reordered", "fused", "extended"])
@pytest.mark.parametrize("name", sorted(REPLAYS))
def test_no_other_order_of_operations_leaves_the_bound(name, kind):
    model, x = adapters.model(name), noise(8, (400, 2, 50), scale=3.0)
    params = {k: np.float32(v) for k, v in PARAMS[name].items()}
    s = replace(model.semantics, max_spikes_per_step=1)
    twin = run(model, params, s, x, dt=1e-3)
    other, currents = replay(name, x, twin.spikes, kind)
    gap = np.abs(other.astype(np.longdouble) - twin.v_pre)
    assert gap.max() > 0.0  # the orders do differ, so the test can fail
    assert np.all(gap <= twin.bound)
    if twin.synaptic_current is not None:
        gap = np.abs(currents.astype(np.longdouble) - twin.synaptic_current)
        assert gap.max() > 0.0 and np.all(gap <= twin.current_bound)
    assert twin.bound.max() <= 1e-3 * np.abs(twin.v_pre).max()  # and the bound says something


def test_the_bound_grows_with_the_declared_roundoff_and_vanishes_with_it():
    x = noise(9)
    args = (LEAKY, {"beta": np.float32(0.9)}, LEAKY.semantics, x)
    widest = {a: run(*args, arithmetic=a).bound.max() for a in ARITHMETIC}
    ranked = sorted(ARITHMETIC, key=lambda a: ARITHMETIC[a])
    assert [widest[a] for a in ranked] == sorted(widest.values())
    assert widest["float64"] < 1e-12 < widest["float32"] < 1e-3 < widest["bfloat16"]
    assert run(*args, bound=False).bound is None


def test_the_bound_is_the_recursion_of_its_docstring():
    """Equation (1) of `validation.rounding`, spelled out for two models and exact constants."""
    u = 2.0**-24
    k = 10 * u / (1 - 10 * u)
    least = 20 * float(np.finfo(np.float32).smallest_subnormal)
    cell = {"tau_mem_inv": 500.0, "tau_syn_inv": 250.0, "v_th": 64.0}  # a = 1/2, a_s = 3/4
    bounds = run(CELL, cell, CELL.semantics, column(8, -2, 1), dt=1e-3).bound.ravel()
    v, i, e, e_syn = 0.0, 0.0, 0.0, 0.0
    for x, found in zip((8, -2, 1), bounds, strict=True):
        size = abs(i) + abs(x)
        entering = e_syn + 2 * k * size
        e_syn = 0.75 * entering + 2 * k * 1.75 * size
        e = 0.5 * e + 0.5 * entering + 2 * k * (1.5 * abs(v) + 0.5 * size) + least
        assert found == pytest.approx(e + 64 * u, rel=1e-12)
        v, i = v + 0.5 * (i + x - v), 0.75 * (i + x)
    post = run(CELL, cell, CELL.semantics, column(8, -2, 1), dt=1e-3)
    assert post.current_bound[-1].item() == pytest.approx(e_syn, rel=1e-12)
    assert post.membrane_bound[-1].item() == pytest.approx(e, rel=1e-12)
    lossy = {"alpha": 0.75, "beta": 0.5, "threshold": 64.0}
    bounds = run(SYNAPTIC, lossy, SYNAPTIC.semantics, column(8, -2, 1)).bound.ravel()
    v, i, e, e_syn = 0.0, 0.0, 0.0, 0.0
    for x, found in zip((8, -2, 1), bounds, strict=True):
        size = 0.75 * abs(i) + abs(x)
        e_syn = 0.75 * e_syn + 2 * k * size
        e = 0.5 * e + e_syn + 2 * k * (0.5 * abs(v) + size) + least
        assert found == pytest.approx(e + 64 * u, rel=1e-12)
        i = 0.75 * i + x
        v = 0.5 * v + i


@pytest.mark.parametrize("timing", SWITCHES["reset_timing"])
def test_a_hard_reset_forgets_the_rounding_before_it(timing):
    x = np.full((400, 1, 1), 0.01, np.float32)
    s = replace(SJ_IF.semantics, reset_timing=timing)
    result = run(SJ_IF, {"v_threshold": 0.5}, s, x)
    fired = np.flatnonzero(result.spikes.ravel())
    bound = result.bound.ravel()
    assert len(fired) == 7  # 0.01 is stored below its value: 50 of them stay below 0.5
    # 50 accumulated steps of 20 roundings of 0.5 and less, against one; half an ulp of 0.5 stays.
    assert np.all(bound[fired[:-1]] > 10 * bound[fired[:-1] + 1])
    soft = run(SJ_IF, {"v_threshold": 0.5}, replace(s, reset="subtract"), x).bound.ravel()
    assert soft[fired[0] + 1] > soft[fired[0]]


def test_bfloat16_arithmetic_stays_within_its_bound():
    def rounded(a):  # to 8 bits of significand, to nearest even
        bits = np.asarray(a, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view("f4")

    x, v, out = rounded(noise(10, (50, 2, 20))), np.zeros((2, 20), np.float32), []
    beta = rounded(0.9)
    s = Semantics(reset="none")
    for xt in x:
        v = rounded(rounded(beta * v) + xt)
        out.append(v)
    twin = run(LEAKY, {"beta": np.float32(0.9)}, s, x, arithmetic="bfloat16")
    assert np.all(np.abs(np.array(out) - twin.v_pre) <= twin.bound)
    assert np.any(np.abs(np.array(out) - twin.v_pre) > run(LEAKY, {"beta": 0.9}, s, x).bound)


# ---------------------------------------------------------------------- the differential equation


def solved(c, x, dt):
    """Membrane at the ends of the steps, far below threshold, by superposition of closed forms."""
    t = dt * np.arange(1, len(x) + 1, dtype=np.longdouble)
    out = np.full(x.shape, np.longdouble(c.v_leak))
    for k in range(len(x)):
        s = t[: len(x) - k, None, None]
        out[k:] += c.gain * x[k] * response(c, s, dt)
    return out


def response(c, s, dt):
    """To a unit of input in the step (0, dt], at time s >= dt: no formula of the library."""
    m, q = np.longdouble(c.tau_mem), c.tau_syn
    if c.feed == "hold":
        return dt if not c.leaky else np.exp(-(s - dt) / m) - np.exp(-s / m)
    q = np.longdouble(q)
    if not c.leaky:
        return q * (1 - np.exp(-s / q))
    if m == q:
        return s / m * np.exp(-s / m)
    return q / (m - q) * (np.exp(-s / m) - np.exp(-s / q))


EXACT = [
    (LEAKY, {"beta": 0.9}, {}),
    (LEAKY, {"beta": 0.3}, {}),
    (SYNAPTIC, {"alpha": 0.8, "beta": 0.9}, {}),
    (SYNAPTIC, {"alpha": 0.95, "beta": 0.9}, {}),
    (SYNAPTIC, {"alpha": 0.9, "beta": 0.9}, {}),
    (LIF, {"tau_mem": 10.0}, {}),
    (LIF, {"tau_mem": 10.0}, {"input_gain": "1"}),
    (LIF, {"tau_mem": 10.0, "tau_syn": 4.0}, {}),
    (LIF, {"tau_mem": 10.0, "tau_syn": 4.0}, {"input_gain": "1"}),
    (LIF, {"tau_mem": 10.0, "tau_syn": 10.0}, {}),
    (IAF, {}, {}),
    (IAF, {"tau_syn": 4.0}, {}),
    (SJ_IF, {}, {}),
    (BOX, {"tau_mem_inv": 100.0, "v_leak": 0.25}, {"decay": "exp", "input_gain": "1-decay"}),
    (LEAKY, {"beta": 0.9}, {"decay": "exp"}),
]
EULER = [
    (LEAKY, {"beta": 0.9}, {"decay": "euler"}),
    (SJ_LIF, {"tau": 5.0}, {}),
    (SJ_LIF, {"tau": 5.0}, {"input_gain": "1"}),
    (BOX, {"tau_mem_inv": 100.0}, {}),
    (CELL, {"tau_mem_inv": 100.0, "tau_syn_inv": 200.0}, {}),
    (CELL, {"tau_mem_inv": 100.0, "tau_syn_inv": 100.0}, {}),
]


def quiet(model, params, switches):
    """float64 parameters, a threshold that is never reached, and the switches."""
    wide = {k: np.float64(v) for k, v in params.items()}
    return {**wide, model.threshold: np.float64(1e9)}, replace(model.semantics, **switches)


@pytest.mark.parametrize("model, params, switches", EXACT)
def test_an_exact_decay_follows_its_differential_equation_at_the_ends_of_steps(
    model, params, switches
):
    p, s = quiet(model, params, switches)
    x, dt = noise(11, (50, 2, 3), np.float64), step_of(model.name)
    c = model.continuous(p, dt, s)
    start = {"v": np.broadcast_to(c.v_leak, (2, 3))}
    twin = run(model, p, s, x, dt=dt, initial=start).v_pre
    truth = solved(c, x, 1.0 if dt is None else dt)
    assert np.max(np.abs(twin - truth)) <= 1e-12 * max(1.0, np.max(np.abs(truth)))


@pytest.mark.parametrize("model, params, switches", EXACT)
@pytest.mark.parametrize("factor", [2, 7])
def test_a_refined_exact_decay_passes_through_the_same_points(model, params, switches, factor):
    p, s = quiet(model, params, switches)
    x, dt = noise(12, (30, 1, 4), np.float64), step_of(model.name)
    coarse = run(model, p, s, x, dt=dt).v_pre
    fine_p, fine_dt = refine(model, p, s, dt, factor)
    fine = run(model, fine_p, s, finer(model.continuous(p, dt, s), x, factor), dt=fine_dt).v_pre
    assert np.max(np.abs(fine[factor - 1 :: factor] - coarse)) <= 1e-11 * np.abs(coarse).max()


def finer(c, x, factor):
    fine = np.repeat(x, factor, axis=0)
    if c.feed == "impulse":
        fine[np.arange(len(fine)) % factor != 0] = 0.0
    return fine


@pytest.mark.parametrize("model, params, switches", EULER)
def test_an_euler_update_converges_to_its_differential_equation_with_order_one(
    model, params, switches
):
    p, s = quiet(model, params, switches)
    x, dt = noise(13, (25, 1, 4), np.float64), step_of(model.name)
    c = model.continuous(p, dt, s)
    truth = solved(c, x, 1.0 if dt is None else dt)
    errors = []
    for factor in (8, 16, 32, 64):
        fine_p, fine_dt = refine(model, p, s, dt, factor)
        fine = run(model, fine_p, s, finer(c, x, factor), dt=fine_dt).v_pre
        errors.append(float(np.max(np.abs(fine[factor - 1 :: factor] - truth))))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    # The second term of the error is O(1/factor) of the first: 0.15 at 8, 0.02 at 64.
    assert np.all(np.abs(orders - 1.0) <= 1.2 / np.array([8, 16, 32])), (errors, orders)


@pytest.mark.parametrize("name", NAMES)
def test_refining_twice_is_refining_once(name):
    model, dt = adapters.model(name), step_of(name)
    twice = refine(model, *swap(refine(model, PARAMS[name], model.semantics, dt, 2), model), 3)
    once = refine(model, PARAMS[name], model.semantics, dt, 6)
    for key, value in once[0].items():
        np.testing.assert_allclose(twice[0][key], value, rtol=1e-13)


def swap(refined, model):
    return refined[0], model.semantics, refined[1]


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-9, 1e3))
@settings(deadline=None)
@example(1.0, 1.0, 1.0)
@example(1.0, 1.0 + 1e-14, 1.0)
def test_kappa_is_accurate_for_equal_time_constants_too(m, q, s):
    import mpmath

    with mpmath.workdps(80):
        a, b, t = map(mpmath.mpf, (m, q, s))
        if a == b:
            exact = t / a * mpmath.exp(-t / a)
        else:
            exact = b / (a - b) * (mpmath.exp(-t / a) - mpmath.exp(-t / b))
        # Rounding t/tau moves the exponential by exp(-t/tau) t/tau units; x is a difference of
        # two rounded rates, but phi moves by less than that in relative terms.
        slack = float(exact) * 1e-15 * (8 + 2 * s / max(m, q) + s * (1 / m + 1 / q)) + 1e-300
        assert abs(float(kappa(s, m, q)) - float(exact)) <= slack


def test_continuous_says_units_and_kinds():
    c = LEAKY.continuous({"beta": np.float64(0.5)})
    assert (c.feed, c.leaky, c.reset, c.tau_syn) == ("hold", True, "subtract", None)
    np.testing.assert_allclose([c.tau_mem, c.gain], [1 / np.log(2), 2.0], rtol=1e-15)
    c = LEAKY.continuous({"beta": np.float64(0.5)}, dt=1e-3)
    np.testing.assert_allclose([c.tau_mem, c.gain], [1e-3 / np.log(2), 2.0], rtol=1e-15)
    c = SJ_IF.continuous({"v_reset": np.float64(-0.25)}, dt=0.5)
    assert (c.leaky, c.gain, c.reset, float(c.v_reset)) == (False, 2.0, "value", -0.25)
    c = CELL.continuous({}, dt=1e-3)
    assert c.feed == "impulse" and c.gain == pytest.approx(1.0, rel=1e-7)
    assert LEAKY.continuous({"beta": 1.0}).leaky is False
    with pytest.raises(ValueError, match=r"snntorch.Leaky has no differential equation"):
        LEAKY.continuous({"beta": 0.0})


# ---------------------------------------------------------------------- what NIR declares


def full(value, n=3):
    return np.full(n, float(value))


def lif_node(**fields):
    base = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{k: full(v) for k, v in (base | fields).items()})


def test_a_nir_node_in_each_frameworks_discretisation():
    node = lif_node(r=2.0, v_leak=0.25, v_reset=-0.5)
    x = noise(14, (40, 1, 3))
    runs = {}
    for model in (BOX, SJ_LIF, LIF, LEAKY):
        params, s = model.from_nir_node(node, 1e-3)
        assert (s.compare, s.reset, s.max_spikes_per_step) == (">", "value", 1)
        s = replace(s, reset_timing="same_step", carried_reset=False)
        runs[model.name] = run(model, params, s, x, dt=1e-3, initial={"v": 0.25})
    euler = runs["norse.LIFBoxCell"]
    for name in ("spikingjelly.LIFNode", "snntorch.Leaky"):  # the same Euler step, other roundings
        bound = euler.bound + runs[name].bound
        assert np.all(np.abs(runs[name].v_pre - euler.v_pre) <= bound), name
        np.testing.assert_array_equal(runs[name].spikes, euler.spikes)
    exact = solved(LIF.continuous(LIF.from_nir_node(node, 1e-3)[0], 1e-3), x[:1], 1e-3)
    lif = runs["sinabs.LIF"]
    assert np.all(np.abs(lif.v_pre[:1] - exact) <= lif.bound[:1])


def test_own_exports_come_back_as_the_own_update():
    beta = np.float32(0.9)
    tau = 1e-4 / (1 - beta)
    params, s = LEAKY.from_nir_node(lif_node(tau=tau, r=tau / 1e-4), 1e-4)
    np.testing.assert_allclose(params["beta"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(params["r"], 1.0, rtol=1e-6)
    params, s = SJ_LIF.from_nir_node(lif_node(tau=2e-4, r=2.0), 1e-4)
    assert s.input_gain == "1" and np.all(params["r"] == 1.0)
    node = nir.IF(r=full(1e4), v_threshold=full(1.0), v_reset=full(0.0))
    assert np.all(SJ_IF.from_nir_node(node, 1e-4)[0]["r"] == 1.0)
    # norse multiplies tau by dt on export; read with dt*dt it is what norse runs
    params, _ = BOX.from_nir_node(lif_node(tau=1e-3 / 100.0), 1e-6)
    np.testing.assert_allclose(1e-6 * params["tau_mem_inv"], 0.1, rtol=1e-6)


def cuba(**fields):
    base = {"tau_syn": 0.005, "tau_mem": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1e9}
    return nir.CubaLIF(**{k: full(v) for k, v in (base | {"w_in": 1.0} | fields).items()})


@pytest.mark.parametrize("model", [SYNAPTIC, CELL, LIF])
def test_a_cuba_node_has_the_same_response_to_constant_input_everywhere(model):
    params, s = model.from_nir_node(cuba(r=2.0, w_in=3.0), 1e-3)
    result = run(model, params, s, np.ones((400, 1, 3)), dt=1e-3)
    np.testing.assert_allclose(result.v_pre[-1], 6.0, rtol=1e-5)


def test_a_node_that_a_model_cannot_stand_for_is_refused_by_name():
    for model, node in [(LEAKY, cuba()), (SYNAPTIC, lif_node()), (IAF, lif_node()), (BOX, cuba())]:
        with pytest.raises(ValueError, match=rf"{model.name} cannot .*{type(node).__name__}"):
            model.from_nir_node(node, 1e-3)
    with pytest.raises(ValueError, match="dt must be positive"):
        LEAKY.from_nir_node(lif_node(), 0.0)


# ---------------------------------------------------------------------- input that is refused


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": np.zeros(3, np.float32)}, r"x must be a float array \(T, B, ...\)"),
        ({"x": np.array([[[0.0, np.nan]]])}, r"x\[0, 0, 1\] is nan"),
        ({"params": {"beta": [0.5, 0.6]}}, r"params.beta .* 2 values for 3 neurons"),
        ({"params": {"beta": np.inf}}, r"params.beta\[0\] .* is inf"),
        ({"params": {"beta": "a"}}, r"params.beta .* must be numbers"),
        ({"params": {"tau": 1.0, "beta": 0.5}}, r"no parameter 'tau'"),
        ({"params": {}}, r"needs the parameter 'beta'"),
        ({"initial": {"mem": 0.0}}, r"initial has no entry 'mem'"),
        ({"initial": {"v": np.zeros(7)}}, r"initial\['v'\] has shape \(7,\)"),
        ({"recorded_spikes": np.zeros((2, 1, 3))}, r"recorded_spikes have shape \(2, 1, 3\)"),
        ({"arithmetic": "fp8"}, r"arithmetic must be one of"),
    ],
)
def test_bad_input_is_named(change, message):
    given_ = {"params": {"beta": 0.5}, "x": np.zeros((4, 1, 3), np.float32)} | change
    params, x = given_.pop("params"), given_.pop("x")
    with pytest.raises(ValueError, match=message):
        run(LEAKY, params, LEAKY.semantics, x, **given_)


def test_an_update_that_diverges_says_so_without_a_warning():
    params, s = BOX.from_nir_node(lif_node(tau=1e-5), 1e-3)
    with np.errstate(all="raise"):
        result = run(BOX, params, replace(s, reset="none"), noise(16, (60, 1, 3)), dt=1e-3)
    assert not np.isfinite(result.v_pre[-1]).any() and not (result.bound[-1] < np.inf).any()


def test_other_refusals():
    with pytest.raises(ValueError, match="compare must be one of"):
        Semantics(compare="<")
    with pytest.raises(ValueError, match="max_spikes_per_step"):
        Semantics(max_spikes_per_step=0)
    with pytest.raises(ValueError, match="norse needs dt"):
        run(BOX, {}, BOX.semantics, column(1.0))
    with pytest.raises(ValueError, match="'tau_mem' or 'alpha_mem'"):
        run(LIF, {}, LIF.semantics, column(1.0))
    with pytest.raises(ValueError, match="factor must be an integer"):
        refine(LEAKY, {"beta": 0.5}, LEAKY.semantics, None, 0)
    with pytest.raises(ValueError, match=r"unknown model 'norse.Nothing'; known .*norse.LIFCell"):
        adapters.model("norse.Nothing")


def test_a_recorded_decay_factor_is_believed_only_as_a_rounding_of_its_time_constant():
    x = noise(15)
    tau = np.float32(10.0)
    alpha = np.float32(np.exp(-0.1))
    near = np.nextafter(alpha, np.float32(1))
    plain = run(LIF, {"tau_mem": tau}, LIF.semantics, x).v_pre
    nudged = run(LIF, {"tau_mem": tau, "alpha_mem": near}, LIF.semantics, x).v_pre
    wrong = run(LIF, {"tau_mem": tau, "alpha_mem": np.float32(0.5)}, LIF.semantics, x).v_pre
    assert np.any(plain != nudged)
    np.testing.assert_array_equal(plain, wrong)
    trained = replace(LIF.semantics, decay="raw")
    assert np.any(run(LIF, {"alpha_mem": np.float32(0.5)}, trained, x).v_pre != plain)


def test_semantics_go_to_a_manifest_and_back():
    for name in NAMES:
        s = adapters.model(name).semantics
        assert s.updated(s.manifest()) == s
    layer = {"decay": {"kind": "exp"}, "compare": ">=", "shape": [3], "unknown": 1}
    assert LEAKY.semantics.updated(layer) == replace(LEAKY.semantics, decay="exp", compare=">=")


def test_neither_the_twin_nor_the_models_import_a_framework():
    code = (
        "import sys; import validation.twin; from validation import adapters; adapters.names(); "
        "names = {'torch', 'snntorch', 'spikingjelly', 'norse', 'sinabs', 'evsim'}; "
        "bad = names & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
