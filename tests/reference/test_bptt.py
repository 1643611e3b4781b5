"""Discrete neurons: forward against plain loops, backward against differences and a tape."""

from itertools import product

import numpy as np
import pytest

from reference import bptt
from reference.finite_difference import check
from reference.surrogates import get
from reference.tape import lif_gradients

T, B, N = 20, 2, 5
RESETS = list(product(("hard", "soft", "none"), ("same_step", "next_step")))
rng = np.random.default_rng(3)
CURRENT = rng.normal(0.25, 0.5, (T, B, N))
POINT = {
    "current": CURRENT,
    "beta": np.linspace(0.5, 0.97, N),
    "v_th": np.linspace(0.7, 1.2, N),
    "v_reset": np.linspace(-0.3, 0.2, N),
    "gain": np.array(0.8),
    "v_rest": np.array([[0.1], [-0.1]]),
    "v_init": rng.normal(0.3, 0.3, (B, N)),
}


def forward(x, reset, timing, **options):
    kept = {name: value for name, value in x.items() if name != "current"}
    return bptt.lif_forward(x["current"], reset=reset, reset_timing=timing, **kept, **options)


def plain(x, reset, timing, compare=">"):
    """The two conventions, neuron by neuron, in the words of their definitions."""
    spikes = np.zeros((T, B, N))
    for b, n in np.ndindex(B, N):
        beta, th, vr = x["beta"][n], x["v_th"][n], x["v_reset"][n]
        rest, v = x["v_rest"][b, 0], x["v_init"][b, n]
        s = v > th if timing == "next_step" else False
        for t in range(T):
            if timing == "next_step" and reset == "hard" and s:
                v = vr
            v = beta * v + (1 - beta) * rest + x["gain"] * x["current"][t, b, n]
            if timing == "next_step" and reset == "soft" and s:
                v -= th
            s = v > th if compare == ">" else v >= th
            spikes[t, b, n] = s
            if timing == "same_step" and s:
                v = {"hard": vr, "soft": v - th, "none": v}[reset]
    return spikes


@pytest.mark.parametrize(("reset", "timing"), RESETS)
def test_spikes_follow_the_definition(reset, timing):
    x = {**POINT, "v_init": POINT["v_init"] + 0.8}  # some begin above threshold
    run = forward(x, reset, timing)
    assert np.array_equal(run.spikes, plain(x, reset, timing))
    assert 0.1 < run.spikes.mean() < 0.7


def test_equality_fires_only_where_told():
    for compare, fires in ((">", 0.0), (">=", 1.0)):
        run = bptt.lif_forward(np.ones((1, 1, 1)), beta=0.5, compare=compare)
        assert run.spikes.item() == fires


def test_delayed_resets():
    """A hard reset gives the same spikes either way; a soft one takes off th instead of beta th."""
    hard = [forward(POINT, "hard", timing) for timing in bptt.TIMINGS]
    assert np.array_equal(hard[0].spikes, hard[1].spikes)
    current = np.array([1.5, 0, 0, 0]).reshape(4, 1, 1)
    late, same = (
        bptt.lif_forward(current, beta=0.5, reset="soft", reset_timing=timing).v.ravel()
        for timing in ("next_step", "same_step")
    )
    assert late.tolist() == [1.5, -0.25, -0.125, -0.0625]
    assert same.tolist() == [0.5, 0.25, 0.125, 0.0625]


def test_a_larger_threshold_of_the_reset_undoes_the_delay():
    """Convention A with theta / beta taken off is convention B."""
    beta = 0.9
    late = bptt.lif_forward(CURRENT, beta=beta, reset="soft", reset_timing="next_step")
    v, spikes = np.zeros((B, N)), []
    for x in CURRENT:
        v = beta * v + x
        spikes.append(v > 1.0)
        v = v - spikes[-1] / beta
    assert np.array_equal(late.spikes, spikes)


@pytest.mark.parametrize(("reset", "timing"), RESETS)
def test_smooth_neurons_have_the_gradient_of_what_they_compute(reset, timing):
    """S1: attached, with the primitive of the surrogate in place of the step."""
    g = get("spikingjelly.Sigmoid")
    before = (rng.random((B, N)) < 0.5).astype(float)

    def run(x):
        return forward(x, reset, timing, before=before, step=g.primitive)

    def f(x):
        done = run(x)
        return np.concatenate([done.spikes.ravel(), done.v[-1].ravel()])

    def vjp(x, c):
        spikes, last = c[: T * B * N].reshape(T, B, N), c[T * B * N :].reshape(B, N)
        return bptt.lif_backward(run(x), spikes, g, detach=False, grad_v=last)

    table = check(
        f, lambda x, c: {k: vjp(x, c)[k] for k in x}, POINT, rtol=1e-8, step=1e-3, directions=2
    )
    assert table.ok, str(table)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize(("reset", "timing"), RESETS)
def test_spiking_neurons_have_the_gradient_of_the_tape(reset, timing, detach):
    """S1: every reset, attached and detached, all parameters, to 1e-12."""
    g = get("snntorch.fast_sigmoid", slope=3)
    c, last = rng.normal(size=(T, B, N)), rng.normal(size=(B, N))
    x = {**POINT, "v_init": POINT["v_init"] + 0.4}
    wide = {k: np.broadcast_to(v, (B, N)) for k, v in x.items() if k != "current"}
    run = forward({**wide, "current": CURRENT}, reset, timing)
    found = bptt.lif_backward(run, c, g, detach=detach, grad_v=last)
    assert run.spikes.sum() > 20
    options = dict(reset=reset, reset_timing=timing, detach=detach)
    for b, n in np.ndindex(B, N):
        one = {k: float(v[b, n]) for k, v in wide.items()}
        expected = lif_gradients(
            CURRENT[:, b, n], one, c[:, b, n], g.derivative, grad_v=last[b, n], **options
        )
        for key, value in expected.items():
            got = found[key][:, b, n] if key == "current" else found[key][b, n]
            assert np.allclose(got, value, rtol=1e-12, atol=1e-12), key


def test_gradients_have_the_shape_of_what_was_given():
    run = forward(POINT, "soft", "same_step")
    found = bptt.lif_backward(run, np.ones((T, B, N)), "snntorch.atan", detach=True)
    assert {key: found[key].shape for key in POINT} == {k: v.shape for k, v in POINT.items()}
    sums = bptt.lif_forward(CURRENT, beta=0.9, v_init=0.0)
    found = bptt.lif_backward(sums, 1.0, lambda v: np.exp(-v * v), detach=True)
    assert found["beta"].shape == found["v_init"].shape == ()


@pytest.mark.parametrize(("reset", "timing"), RESETS)
def test_a_run_in_two_parts_is_one_run(reset, timing):
    kept = {k: v for k, v in POINT.items() if k != "current"}
    whole = forward(POINT, reset, timing)
    first = forward({**kept, "current": CURRENT[:9]}, reset, timing)
    after = {**kept, "v_init": first.v[-1], "current": CURRENT[9:]}
    second = forward(after, reset, timing)
    assert np.array_equal(whole.spikes, np.concatenate([first.spikes, second.spikes]))
    assert np.array_equal(whole.h, np.concatenate([first.h, second.h]))


def test_float32_stays_float32():
    run = bptt.lif_forward(CURRENT.astype(np.float32), beta=0.9)
    found = bptt.lif_backward(run, np.ones((T, B, N)), "norse.super", detach=False)
    assert run.spikes.dtype == run.v.dtype == np.float32
    assert all(value.dtype == np.float32 for value in found.values())


def test_filter():
    """CUBA: the current that arrives drives the membrane in its own step."""
    x = {"x": CURRENT, "decay": np.linspace(0.3, 0.9, N), "init": np.array(0.4)}

    def f(x):
        return bptt.filter_forward(x["x"], x["decay"], gain=0.7, init=x["init"])

    def vjp(x, c):
        return bptt.filter_backward(f(x), c, x["decay"], gain=0.7, init=x["init"])

    check(f, vjp, x, rtol=1e-9, require=True)
    i = bptt.filter_forward(np.array([1.0, 0.0, 2.0]).reshape(3, 1, 1), 0.5)
    assert i.ravel().tolist() == [1.0, 0.5, 2.25]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(reset="subtract"), "reset must be one of 'hard', 'soft', 'none'"),
        (dict(reset_timing="now"), "reset_timing"),
        (dict(compare="=="), "compare"),
        (dict(v_th=np.ones(4)), r"v_th has shape \(4,\); it must fit \(2, 5\)"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bptt.lif_forward(CURRENT, beta=0.9, **options)


def test_currents_are_floats_over_time():
    with pytest.raises(TypeError, match=r"floats \[T, B, ...\]"):
        bptt.lif_forward(np.ones((3, 1, 1), int), beta=0.9)
    with pytest.raises(TypeError, match="surrogate must be"):
        bptt.lif_backward(bptt.lif_forward(CURRENT, beta=0.9), 1.0, 3.0, detach=True)
