"""Backward passes of live frameworks against the hand-derived ones."""

import numpy as np
import pytest

from validation import gradients, networks, record, shipped
from validation.declared import declare
from validation.evtrace import read
from validation.verify import verify

pytestmark = pytest.mark.frameworks


def recorded(network, path=None, seed=0):
    torch = pytest.importorskip("torch")
    pytest.importorskip(network.framework)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = network.build()
    p, *_ = networks.digits(rng)
    x = networks.spikes(p[:3], rng)
    shape = networks.KITS[network.framework].run(model, x).shape
    return record(model, x, path=path, cotangent=rng.normal(size=tuple(shape)))


@pytest.mark.parametrize("network", shipped.SHIPPED[:4], ids=lambda network: network.framework)
def test_every_layer_of_every_framework(network, tmp_path):
    """From a file, as people verify it: every check is made, and every gradient agrees."""
    recorded(network, tmp_path / "run.npz")
    result = verify(read(tmp_path / "run.npz"))
    assert result.verdict == "pass"
    for layer in result.layers:
        (check,) = (c for c in layer.checks if c.quantity == "gradient")
        assert check.verdict == "identical" and check.n_compared > 0, layer.name


def test_recording_a_backward_pass_changes_nothing(tmp_path):
    torch = pytest.importorskip("torch")
    network = shipped.SHIPPED[1]
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = network.build()
    x = networks.spikes(networks.digits(rng)[0][:3], rng)
    plain = record(model, x)
    both = record(model, x, cotangent=np.ones((networks.STEPS, 3, 10)))
    assert all(parameter.grad is None for parameter in model.parameters())
    for key, array in plain.arrays.items():
        assert np.array_equal(array, both.arrays[key]), key
    with pytest.raises(ValueError, match="cotangent has shape"):
        record(model, x, cotangent=np.ones((2, 3)))


def test_another_surrogate_inside_the_library_is_found(monkeypatch):
    """A defect of the framework itself: its arctangent has the derivative of a fast sigmoid."""
    atan = pytest.importorskip("snntorch.surrogate").ATan

    def backward(ctx, grad):
        (u,) = ctx.saved_tensors
        return grad / (1.0 + 25.0 * u.abs()) ** 2, None

    monkeypatch.setattr(atan, "backward", staticmethod(backward))
    recording = recorded(shipped.SHIPPED[0])
    d = declare(recording, recording.layers()[0], None)
    assert gradients.check_gradient(d).verdict == "mismatch"
    assert gradients.of_gradient(d)[:2] == (
        ["surrogate"],
        "the surrogate is snntorch.fast_sigmoid",
    )


def test_a_gradient_that_is_not_finite_is_a_mismatch():
    """snnTorch's sigmoid surrogate overflows far below threshold."""
    snntorch = pytest.importorskip("snntorch")
    neuron = snntorch.Leaky(beta=0.9, spike_grad=snntorch.surrogate.sigmoid(), init_hidden=True)
    x = np.full((4, 1, 1), -3.0, np.float32)
    layer = verify(record(neuron, x, cotangent=np.ones((4, 1, 1)))).layers[0]
    assert layer.verdict == "mismatch" and "not finite" in layer.reason
