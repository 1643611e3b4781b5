"""Plain stacks: the whole backward pass, profiles of the gradient, tuning."""

import numpy as np
import pytest

from reference import stack
from reference.bptt import TIMINGS
from reference.finite_difference import check
from reference.stack import Stack, initial
from reference.surrogates import get

SOFT = dict(beta=0.8, reset="soft", compare=">")


def small(skip=0.0, batch_norm=True, classes=3, **neuron):
    rng = np.random.default_rng(11)
    params = initial(rng, [4, 6, 6, 6], gain=1.5, batch_norm=batch_norm, classes=classes)
    params = {key: value + 0.1 * rng.standard_normal(value.shape) for key, value in params.items()}
    net = Stack(params, skip=skip, **{**SOFT, **neuron})
    return net, rng.random((5, 3, 4)), rng


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("skip", [0.0, 0.7])
def test_the_whole_stack_has_the_gradient_of_what_it_computes(skip, batch_norm):
    g = get("spikingjelly.Sigmoid", alpha=2.0)
    net, x, _ = small(skip, batch_norm, step=g.primitive)

    def f(point):
        net.params = {k: v for k, v in point.items() if k != "input"}
        return net.forward(point["input"]).logits

    def vjp(point, c):
        f(point)
        return net.backward(net.forward(point["input"]), c, g, detach=False)

    check(f, vjp, {"input": x, **net.params}, rtol=1e-7, step=1e-3, directions=1, require=True)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("skip", [0.0, 0.7])
def test_a_profile_has_the_norms_of_the_gradient(skip, timing, detach):
    """Rescaled at every layer, and added up again."""
    g = get("spikingjelly.ATan")
    net, x, rng = small(skip, classes=0, reset_timing=timing)
    run = net.forward(x)
    e = 1e-3 * rng.standard_normal(run.layers[-1].spikes.shape)
    log_norm = net.profile(run, e, g, detach=detach)
    assert log_norm.shape == (3, 5)
    handed, back = None, e
    for k in (2, 1, 0):
        norms = np.sqrt(np.sum(back**2, axis=(1, 2)))
        assert np.allclose(np.exp(log_norm[k]), norms, rtol=1e-12)
        assert np.isclose(np.exp(stack.total(log_norm)[k]), np.linalg.norm(back), rtol=1e-12)
        back, handed, _ = net._back(run, k, back, handed, g, detach)
    expected = np.exp(stack.total(log_norm))
    assert np.isclose(stack.gain(log_norm, skip=1), expected[0] / expected[1])


def test_a_dead_gradient_is_told_as_such():
    net, x, _ = small(classes=0)
    run = net.forward(x)
    e = np.ones(run.layers[-1].spikes.shape)
    log_norm = net.profile(run, e, lambda v: np.zeros_like(v), detach=True)
    assert np.isneginf(log_norm[:2]).all() and np.isfinite(log_norm[2]).all()
    assert np.isneginf(stack.total(log_norm)[:2]).all()


def test_norms_beyond_the_range_of_floats_are_told():
    net, x, _ = small(classes=0)
    run = net.forward(x)
    e = np.ones(run.layers[-1].spikes.shape)
    plain = stack.total(net.profile(run, e, "norse.super", detach=True))
    steep = stack.total(
        net.profile(run, e, lambda v: 1e200 * get("norse.super").derivative(v), detach=True)
    )
    expected = plain + 200 * np.log(10.0) * np.array([2, 1, 0])
    assert np.allclose(steep, expected, rtol=1e-12)


def test_tuning_finds_where_the_gain_is_one():
    assert np.isclose(stack.tune(lambda a: 3.0 / a, 0.1, 100.0, 1e-6), 3.0, rtol=1e-6)
    assert np.isclose(stack.tune(lambda a: a / 3.0, 0.1, 100.0, 1e-6), 3.0, rtol=1e-6)
    with pytest.raises(ValueError, match=r"above 1 at both 1 and 2"):
        stack.tune(lambda a: 3.0, 1, 2)


def test_inference_is_folded():
    net, x, _ = small(classes=0)
    running = [(s.mean, s.var) for s in net.forward(x).statistics]
    folded = net.fold(running)
    run = net.forward(x, fixed=running)
    s = x
    for k, layer in enumerate(run.layers):
        current = s @ folded[f"{k}.weight"].T + folded[f"{k}.bias"]
        assert np.allclose(current, layer.current, rtol=0, atol=1e-13)
        s = layer.spikes


def test_a_stack_without_readout_wants_a_gradient_by_spikes():
    net, x, _ = small(classes=0)
    with pytest.raises(ValueError, match="no readout"):
        net.backward(net.forward(x), np.ones((3, 3)), "norse.super", detach=True)
