"""Units and networks of several levels against autograd and frameworks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks
for _name in ("snntorch", "spikingjelly", "norse"):
    pytest.importorskip(_name)

from reference import mlf  # noqa: E402
from reference.mlf_network import MLFResNet, initial  # noqa: E402
from validation.cases.mlf import frameworks  # noqa: E402

F = torch.nn.functional


@pytest.mark.parametrize("name", frameworks.PAIRS)
@pytest.mark.parametrize("steps", [1, 4, 40])
def test_spikes_and_gradients_of_units(name, steps):
    """1e-12: forty steps of factors below 1 add up some forty roundings of numbers below ten."""
    rng = np.random.default_rng(steps)
    x, grad = rng.normal(0.4, 1.2, (steps, 2, 500)), rng.standard_normal((steps, 2, 500))
    run = mlf.forward(x, tau=mlf.TAU, v_th=mlf.V_TH)
    spikes, expected = frameworks.framework(name, x, grad)
    assert np.array_equal(run.spikes, spikes)
    if expected is not None:
        found = mlf.backward(run, grad, width=1.0, detach=frameworks.PAIRS[name])
        assert np.abs(found - expected).max() < 1e-12


@pytest.mark.parametrize("name", frameworks.PAIRS)
def test_the_recording_is_what_the_frameworks_answer(name):
    spikes, gradient = frameworks.framework(name)
    with np.load(frameworks.RECORDED) as file:
        assert np.array_equal(file[f"spikes/{name}"], spikes)
        assert gradient is None or np.abs(file[f"gradient/{name}"] - gradient).max() < 1e-13


class Written:
    """The network once more, in torch, from its definition."""

    def __init__(self, state, residual, detach):
        self.p = {k: torch.tensor(v, requires_grad=True) for k, v in state.items()}
        self.residual, self.detach, self.outputs = residual, detach, []

    def unit(self, x):
        each = [frameworks._autograd(torch, x, theta, self.detach) for theta in mlf.V_TH]
        return torch.stack(each).sum(dim=0)

    def current(self, x, conv, norm, stride, padding):
        y = F.conv2d(x.flatten(0, 1), self.p[f"{conv}.weight"], stride=stride, padding=padding)
        mean = y.mean(dim=(0, 2, 3), keepdim=True)
        root = y.var(dim=(0, 2, 3), keepdim=True, unbiased=False).sqrt()
        scale, shift = (self.p[f"{norm}.{kind}"].view(1, -1, 1, 1) for kind in ("weight", "bias"))
        y = scale * mlf.V_TH[0] * (y - mean) / (root + 1e-5) + shift
        return y.unflatten(0, x.shape[:2])

    def block(self, x, path, stride):
        inner = self.unit(self.current(x, f"{path}.conv1", f"{path}.bn1", stride, 1))
        y, skip = self.current(inner, f"{path}.conv2", f"{path}.bn2", 1, 1), x
        projected = f"{path}.downsample.0.weight" in self.p
        if projected:
            names = f"{path}.downsample.0", f"{path}.downsample.1"
            skip = self.current(x, *names, stride, 0)
        if self.residual == "plain":
            return self.unit(y + skip)
        return self.unit(y) + (self.unit(skip) if projected else skip)

    def __call__(self, x, n):
        s = self.unit(self.current(x, "conv1", "bn1", 1, 1))
        for stage in (1, 2, 3):
            for k in range(n):
                s = self.block(s, f"layer{stage}.{k}", 2 if stage > 1 and k == 0 else 1)
                s.retain_grad()
                self.outputs.append(s)
        return s.mean(dim=(3, 4)) @ self.p["fc.weight"].T + self.p["fc.bias"]


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("residual", ["plain", "ds"])
def test_networks_have_the_gradients_of_autograd(residual, detach):
    rng = np.random.default_rng(8)
    state = initial(rng, depth=14, width=4, channels=2)
    x = rng.standard_normal((4, 3, 2, 8, 8))
    net = MLFResNet(state, depth=14, residual=residual, detach=detach)
    run = net.forward(x)
    c = rng.standard_normal(run.output.shape)
    back = net.backward(run, c)
    written, there = Written(state, residual, detach), torch.tensor(x, requires_grad=True)
    out = written(there, 2)
    out.backward(torch.tensor(c))
    assert np.abs(run.output - out.detach().numpy()).max() < 1e-12 * np.abs(run.output).max()
    for path, expected in zip(run.blocks, written.outputs, strict=True):
        assert np.array_equal(run.blocks[path], expected.detach().numpy()), path
        assert off(back.blocks[path], expected.grad.numpy()) < 1e-9, path
    assert off(back.input, there.grad.numpy()) < 1e-9
    for key, value in written.p.items():
        assert off(back.weights[key], value.grad.numpy()) < 1e-9, key


def off(found, expected):
    """Largest difference relative to the largest entry."""
    return np.abs(found - expected).max() / np.abs(expected).max()
