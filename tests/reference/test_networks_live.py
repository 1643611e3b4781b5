"""Deep networks of the frameworks, their weights loaded into the reference."""

import sys
import types
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks
for _name in ("snntorch", "spikingjelly", "norse"):
    pytest.importorskip(_name)

from reference import bptt, layers  # noqa: E402
from reference.resnet import SpikingResNet  # noqa: E402
from reference.stack import Stack  # noqa: E402

STEPS, BATCH = 4, 2


def off(found, expected):
    """Largest difference relative to the largest entry."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def spiking_resnet():
    """SpikingJelly's module; it wants torchvision for downloads that nobody asks for."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # missing, or built for another torch
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        utils = types.ModuleType("torchvision.models.utils")
        utils.load_state_dict_from_url = None
        for name in ("torchvision", "torchvision.models"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision.models.utils"] = utils
    from spikingjelly.activation_based.model import spiking_resnet

    return spiking_resnet


class Recorded:
    """Inputs and outputs of every module of a network, with their gradients.

    Both are copies: a block hands its input to two modules, and adds to an output in place.
    """

    def __init__(self, net):
        self.inputs, self.outputs = {}, {}
        for name, module in net.named_modules():
            if not list(module.children()) or hasattr(module, "v_threshold"):
                module.register_forward_pre_hook(self.before(name))
                module.register_forward_hook(self.after(name))

    def before(self, name):
        def hook(module, inputs):
            self.inputs[name] = inputs[0].clone()
            self.inputs[name].retain_grad()
            return (self.inputs[name],)

        return hook

    def after(self, name):
        def hook(module, inputs, output):
            output.retain_grad()
            self.outputs[name] = output
            return output.clone()

        return hook

    def input(self, name):
        return self.inputs[name].detach().numpy(), self.inputs[name].grad.numpy()

    def output(self, name):
        return self.outputs[name].detach().numpy(), self.outputs[name].grad.numpy()


@pytest.fixture(scope="module")
def resnet50():
    """A spiking ResNet-50 of SpikingJelly after one backward pass, in float64."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    module = spiking_resnet()
    torch.manual_seed(0)
    net = module.spiking_resnet50(
        spiking_neuron=neuron.LIFNode, surrogate_function=surrogate.ATan(),
        tau=2.0, decay_input=False, num_classes=10,
    ).double()  # fmt: skip
    functional.set_step_mode(net, "m")
    net.train()
    recorded = Recorded(net)
    x = torch.randn(STEPS, BATCH, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    out = net(x)
    c = torch.randn_like(out)
    out.backward(c)
    weights = {name: (p.detach().numpy(), p.grad.numpy()) for name, p in net.named_parameters()}
    return x, out, c, weights, recorded


NEURON = dict(beta=0.5, reset="hard", compare=">=")


def test_a_spiking_resnet50_layer_after_layer(resnet50):
    """Chained: identical spikes, and every gradient of currents and weights within 1e-9."""
    x, out, c, weights, recorded = resnet50
    net = SpikingResNet(
        {name: value for name, (value, _) in weights.items()},
        detach=False, surrogate=("spikingjelly.ATan", {}), **NEURON,
    )  # fmt: skip
    run = net.forward(x.detach().numpy())
    assert len(run.spikes) == 49
    for name, spikes in run.spikes.items():
        assert np.array_equal(spikes, recorded.output(name)[0]), name
    assert 0.05 < np.mean([s.mean() for s in run.spikes.values()]) < 0.5
    assert off(run.output, out.detach().numpy()) < 1e-12
    back = net.backward(run, c.numpy())
    assert off(back.input, x.grad.numpy()) < 1e-9
    for name, (_, gradient) in weights.items():
        assert off(back.weights[name], gradient) < 1e-9, name
    for name, current in back.currents.items():
        assert off(current, recorded.input(name)[1]) < 1e-9, name


def alone(kind, name, x, weights, settings):
    """One module of the reference on a recorded input: its output and its pull."""
    own = [
        weights[f"{name}.{part}"][0] for part in ("weight", "bias") if f"{name}.{part}" in weights
    ]
    if kind == "conv":
        return layers.conv2d(x, *own, **settings)
    if kind == "bn":
        return layers.batch_norm(x, *own, keep=2)[:2]
    if kind == "fc":
        return layers.dense(x, *own)
    run = bptt.lif_forward(x, **NEURON)

    def pull(g):
        return (bptt.lif_backward(run, g, "spikingjelly.ATan", detach=False)["current"],)

    return run.spikes, pull


def kind_of(name, weights):
    last = name.rsplit(".", 1)[-1]
    if f"{name}.weight" in weights and last != "fc":
        return "conv" if weights[f"{name}.weight"][0].ndim == 4 else "bn"
    return "fc" if last == "fc" else "sn" if last.startswith("sn") else None


def test_a_spiking_resnet50_each_layer_alone(resnet50):
    """On the recorded input, and with the recorded gradient by the output."""
    _, _, _, weights, recorded = resnet50
    checked = {"conv": 0, "bn": 0, "fc": 0, "sn": 0}
    for name in recorded.inputs:
        kind = kind_of(name, weights)
        if kind is None:
            continue
        checked[kind] += 1
        value, by_input = recorded.input(name)
        settings = {}
        if kind == "conv":
            size = weights[f"{name}.weight"][0].shape[-1]
            out_size = recorded.outputs[name].shape[-1]
            settings = dict(stride=2 if out_size < value.shape[-1] else 1, padding=size // 2)
        output, pull = alone(kind, name, value, weights, settings)
        expected, by_output = recorded.output(name)
        assert np.array_equal(output, expected) if kind == "sn" else off(output, expected) < 1e-12
        found = pull(by_output)
        assert off(found[0], by_input) < 1e-9, name
        for part, gradient in zip(("weight", "bias"), found[1:], strict=False):
            if f"{name}.{part}" in weights:
                assert off(gradient, weights[f"{name}.{part}"][1]) < 1e-9, f"{name}.{part}"
    assert checked == {"conv": 53, "bn": 53, "fc": 1, "sn": 49}


def test_a_spiking_resnet18_with_a_soft_detached_reset():
    """The other block, the other reset, and an input scaled by 1 / tau."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    module = spiking_resnet()
    torch.manual_seed(1)
    net = module.spiking_resnet18(
        spiking_neuron=neuron.LIFNode, surrogate_function=surrogate.Sigmoid(),
        tau=2.0, v_reset=None, detach_reset=True, v_threshold=0.5, num_classes=10,
    ).double()  # fmt: skip
    functional.set_step_mode(net, "m")
    recorded = Recorded(net)
    x = torch.randn(STEPS, BATCH, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    out = net(x)
    c = torch.randn_like(out)
    out.backward(c)
    ours = SpikingResNet(
        {name: p.detach().numpy() for name, p in net.named_parameters()},
        layers=(2, 2, 2, 2), block="basic", beta=0.5, gain=0.5, v_th=0.5, reset="soft",
        detach=True, compare=">=", surrogate=("spikingjelly.Sigmoid", {"alpha": 4.0}),
    )  # fmt: skip
    run = ours.forward(x.detach().numpy())
    assert len(run.spikes) == 17
    for name, spikes in run.spikes.items():
        assert np.array_equal(spikes, recorded.output(name)[0]), name
    back = ours.backward(run, c.numpy())
    assert off(back.input, x.grad.numpy()) < 1e-9
    for name, parameter in net.named_parameters():
        assert off(back.weights[name], parameter.grad.numpy()) < 1e-9, name


SIZES = [20, *[64] * 8]


def plain(step, steps=10):
    """Eight dense layers of a framework's neurons: input, weights, spikes and gradients."""
    torch.manual_seed(3)
    linear = [torch.nn.Linear(a, b, bias=False).double() for a, b in pairwise(SIZES)]
    with torch.no_grad():
        for layer in linear:
            layer.weight.copy_(2.5 * torch.randn_like(layer.weight) / layer.in_features**0.5)
    x = torch.rand(steps, 3, SIZES[0], dtype=torch.float64, requires_grad=True)
    states, spikes = [None] * 8, [[] for _ in range(8)]
    for now in x:
        for k, layer in enumerate(linear):
            now, states[k] = step(k, layer(now), states[k])
            now = now.double()  # what is 0 or 1 loses nothing
            spikes[k].append(now)
    out = torch.stack(spikes[-1])
    c = torch.randn_like(out)
    out.backward(c)
    found = [torch.stack(s).detach().numpy() for s in spikes]
    weights = [(w.weight.detach().numpy(), w.weight.grad.numpy()) for w in linear]
    return x, c.numpy(), found, weights


def compare(built, neuron, surrogate, detach, tolerance):
    x, c, spikes, weights = built
    net = Stack({f"{k}.weight": value for k, (value, _) in enumerate(weights)}, **neuron)
    run = net.forward(x.detach().numpy())
    for layer, expected in zip(run.layers, spikes, strict=True):
        assert np.array_equal(layer.spikes, expected)
        assert 0.02 < expected.mean() < 0.8
    back = net.backward(run, c, surrogate, detach=detach, at="spikes")
    assert off(back["input"], x.grad.numpy()) < tolerance
    for k, (_, gradient) in enumerate(weights):
        assert off(back[f"{k}.weight"], gradient) < tolerance


def test_a_plain_network_of_norse():
    """In float64; but dt / tau_mem is a product of float32 numbers, and so it is here."""
    import norse.torch as norse

    cells = [norse.LIFBoxCell() for _ in range(8)]
    step = float(np.float32(0.1))
    neuron = dict(beta=1.0 - step, gain=step, reset="hard", compare=">")

    def advance(k, current, state):
        return cells[k](8.0 * current, state)

    built = plain(advance)
    x, c, spikes, weights = built
    scaled = [(8.0 * value, gradient / 8.0) for value, gradient in weights]
    compare((x, c, spikes, scaled), neuron, "norse.super", False, 1e-12)


def test_a_plain_network_of_snntorch():
    """Spikes come as float32 and take their gradients with them: 6e-8 at every layer and step."""
    from snntorch import Leaky

    neurons = [Leaky(beta=0.9) for _ in range(8)]
    neuron = dict(beta=float(np.float32(0.9)), reset="soft", reset_timing="next_step", compare=">")

    def advance(k, current, state):
        return neurons[k](current, neurons[k].reset_mem() if state is None else state)

    compare(plain(advance), neuron, "snntorch.atan", True, 8 * 10 * 2.0**-24)
