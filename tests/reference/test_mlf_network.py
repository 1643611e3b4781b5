"""Networks of units with several levels: the whole backward pass, identity, and parameters."""

import numpy as np
import pytest

from reference import bptt, mlf, tet
from reference.finite_difference import check
from reference.mlf_network import MLFResNet, dormant, gradient_ratio, initial, td_batch_norm
from reference.resnet import ResNetGradient
from reference.surrogates.shapes import logistic

SMALL = dict(depth=8, width=2, channels=1, classes=3)
RESIDUALS = ["plain", "ds"]


def small(residual, *, norm=True, levels=3, seed=5, noise=0.1, **options):
    rng = np.random.default_rng(seed)
    state = initial(rng, norm=norm, **SMALL)
    state = {key: value + noise * rng.standard_normal(value.shape) for key, value in state.items()}
    net = MLFResNet(
        state, depth=8, residual=residual, v_th=mlf.V_TH[:levels], norm=norm, **options
    )  # fmt: skip
    return net, rng.standard_normal((3, 2, 1, 8, 8)), rng


@pytest.fixture
def smooth(monkeypatch):
    """Sigmoids for steps, and their derivatives for windows: gradients are exact."""
    shape = logistic(0.5, 2.0)

    def forward(x, *, tau, v_th):
        levels = np.atleast_1d(v_th)
        shared = np.broadcast_to(x[:, None], (len(x), len(levels), *x.shape[1:]))
        wide = levels.reshape(-1, *[1] * (x.ndim - 1))
        run = bptt.lif_forward(shared, beta=tau, v_th=wide, reset="hard", step=shape.primitive)
        return mlf.MLFRun(run.spikes.sum(axis=1), run, levels)

    monkeypatch.setattr(mlf, "forward", forward)
    monkeypatch.setattr(mlf, "window", lambda width: shape)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("residual", RESIDUALS)
def test_the_whole_network_has_the_gradient_of_what_it_computes(
    smooth, check_network, residual, norm
):
    net, x, _ = small(residual, norm=norm)
    check_network(net, x)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_batch_norm_to_the_threshold(eps):
    """The deviation, not the variance, gets epsilon; a large one shows where it is."""
    rng = np.random.default_rng(3)
    point = [rng.normal(1.0, 2.0, (3, 2, 4, 2, 2)), rng.normal(1, 0.3, 4), rng.normal(0, 1, 4)]

    def run(point):
        return td_batch_norm(*point, v_th=0.6, eps=eps)

    check(lambda p: run(p)[0], lambda p, c: list(run(p)[1](c)), point, rtol=1e-7, require=True)
    x, gamma, beta = point
    for c in range(4):
        part = x[:, :, c]
        expected = gamma[c] * 0.6 * (part - part.mean()) / (part.std() + eps) + beta[c]
        np.testing.assert_allclose(run(point)[0][:, :, c], expected, rtol=1e-13)
    y, pull, _ = td_batch_norm(np.ones((2, 2, 1, 1, 1)), [1.0], [0.5], v_th=0.6)
    assert np.all(y == 0.5) and np.all(np.isfinite(pull(np.ones_like(y))[0]))


def test_batch_norm_with_given_statistics():
    rng = np.random.default_rng(4)
    x, one, zero = rng.standard_normal((2, 3, 2, 2, 2)), np.ones(2), np.zeros(2)
    y, _, found = td_batch_norm(x, one, zero, v_th=0.6)
    again, pull, _ = td_batch_norm(x, one, zero, v_th=0.6, fixed=(found.mean, found.var))
    np.testing.assert_allclose(again, y, rtol=1e-14)
    slope = 0.6 / (np.sqrt(found.var) + 1e-5)
    expected = np.broadcast_to(slope[:, None, None], x.shape)
    np.testing.assert_allclose(pull(np.ones_like(x))[0], expected, rtol=1e-14)


def silenced(net, path):
    """The second convolution of a block adds nothing."""
    for kind in ("weight", "bias"):
        net.state[f"{path}.bn2.{kind}"] = np.zeros_like(net.state[f"{path}.bn2.{kind}"])
    return net


@pytest.mark.parametrize("residual", RESIDUALS)
def test_a_block_whose_branch_adds_nothing(residual):
    """Suppressed: the identity for any counts, forward and backward. Plain: a unit on its own."""
    net, _, rng = small(residual, noise=0.0)
    run, path = net.forward(rng.standard_normal((4, 2, 1, 8, 8))), "layer1.0"
    counts = rng.integers(0, 12, (4, 2, 2, 8, 8)).astype(float)
    c = rng.standard_normal(counts.shape)
    y = silenced(net, path)._block_forward(run, path, 1, counts)
    g = net._block_backward(run, ResNetGradient(), path, c)
    if residual == "ds":
        assert np.array_equal(y, counts) and np.array_equal(g, c)
    else:
        unit = mlf.forward(counts, tau=0.25, v_th=mlf.V_TH)
        assert np.array_equal(y, unit.output) and y.max() == 3.0
        assert np.array_equal(g, mlf.backward(unit, c))


@pytest.mark.parametrize("residual", RESIDUALS)
def test_what_a_run_keeps(residual):
    net, x, _ = small(residual, noise=0.0)
    run = net.forward(x)
    loss, grad = tet.sdt(run.output, np.array([0, 2]))
    back = net.backward(run, grad)
    assert np.isfinite(loss) and run.output.shape == (3, 2, 3)
    assert set(back.weights) == set(net.state)
    assert list(run.blocks) == list(back.blocks)[::-1] == [f"layer{k}.0" for k in (1, 2, 3)]
    assert len(run.units) == (7 if residual == "plain" else 9)  # projections have their own
    assert all(set(np.unique(s)) <= set(range(4)) for s in run.spikes.values())
    assert max(s.max() for s in run.spikes.values()) > 1
    first, last = (np.linalg.norm(back.blocks[f"layer{k}.0"]) for k in (1, 3))
    assert gradient_ratio(back) == first / last
    shares = dormant(run)
    asleep = [np.all(mlf.derivative(u, width=1.0) == 0, axis=0) for u in run.units.values()]
    expected = np.concatenate([part.ravel() for part in asleep]).mean()
    assert shares["instantaneous"] == pytest.approx(expected, rel=1e-14)
    fixed = {name: (s.mean, s.var) for name, s in run.statistics.items()}
    np.testing.assert_allclose(net.forward(x, fixed=fixed).output, run.output, rtol=1e-12)


@pytest.mark.parametrize(
    ("depth", "width", "channels", "classes"), [(14, 8, 1, 10), (20, 16, 2, 11), (32, 4, 3, 10)]
)
def test_the_count_of_parameters_is_what_there_is(depth, width, channels, classes):
    sizes = dict(depth=depth, width=width, channels=channels, classes=classes)
    state = initial(np.random.default_rng(0), **sizes)
    assert sum(value.size for value in state.values()) == mlf.parameter_count(**sizes)
    assert MLFResNet(state, depth=depth).state.keys() == state.keys()
    bare = initial(np.random.default_rng(0), norm=False, gain=0.5, **sizes)
    assert "bn1.weight" not in bare
    assert np.array_equal(bare["conv1.weight"], 0.5 * state["conv1.weight"])


def test_weights_have_the_variance_of_their_inputs():
    state = initial(np.random.default_rng(1), depth=14, width=32, classes=10)
    fans = {"layer1.0.conv1": 9 * 32, "layer2.0.conv1": 9 * 32, "layer3.0.conv2": 9 * 128,
            "layer3.0.downsample.0": 64, "fc": 128}  # fmt: skip
    for name, fan in fans.items():
        weight = state[f"{name}.weight"]
        room = 5.0 / np.sqrt(2.0 * weight.size)
        assert weight.std() * np.sqrt(fan / 2.0) == pytest.approx(1.0, abs=room), name
    assert not state["fc.bias"].any() and np.all(state["layer1.0.bn1.weight"] == 1.0)


def test_what_does_not_fit_is_refused():
    state = initial(np.random.default_rng(0), **SMALL)
    with pytest.raises(ValueError, match="unknown entry"):
        MLFResNet(state, depth=8, norm=False)
    with pytest.raises(ValueError, match="lacks"):
        MLFResNet(state, depth=14)
    with pytest.raises(ValueError, match="residual must be"):
        MLFResNet(state, depth=8, residual="dense")
