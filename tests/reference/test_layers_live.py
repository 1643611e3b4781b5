"""Layers, losses and optimisers against those of torch, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.frameworks

import torch.nn.functional as F  # noqa: E402

from reference import layers  # noqa: E402
from reference.optimizers import SGD, Adam, one_cycle  # noqa: E402

rng = np.random.default_rng(1)


def normal(*shape):
    return rng.standard_normal(shape)


def spikes(*shape):
    return (rng.random(shape) < 0.3).astype(float)


X, IMAGES = normal(5, 3, 7), normal(6, 4, 9, 8)
#: (ours, torch's, array arguments); spikes have ties in every window of a pool.
LAYERS = {
    "dense": (layers.dense, F.linear, (X, normal(4, 7), normal(4))),
    "conv2d": (
        lambda *a: layers.conv2d(*a, stride=2, padding=1, groups=2),
        lambda *a: F.conv2d(*a, stride=2, padding=1, groups=2),
        (IMAGES, normal(8, 2, 3, 3), normal(8)),
    ),
    "depthwise conv2d": (
        lambda *a: layers.conv2d(*a, stride=(1, 2), padding=(0, 1), groups=4),
        lambda *a: F.conv2d(*a, stride=(1, 2), padding=(0, 1), groups=4),
        (IMAGES, normal(4, 1, 2, 3), normal(4)),
    ),
    "average_pool": (
        lambda x: layers.average_pool(x, 3, stride=2, padding=1),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        (IMAGES,),
    ),
    "max_pool": (
        lambda x: layers.max_pool(x, 3, stride=2, padding=1),
        lambda x: F.max_pool2d(x, 3, 2, 1),
        (spikes(6, 4, 9, 8),),
    ),
    "batch_norm": (
        lambda *a: layers.batch_norm(*a, keep=1),
        lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True),
        (IMAGES, normal(4), normal(4)),
    ),
    "batch_norm at inference": (
        lambda *a: layers.batch_norm(*a, keep=1, fixed=(np.arange(4.0), np.arange(1.0, 5.0))),
        lambda x, g, b: F.batch_norm(
            x, torch.arange(4.0).double(), torch.arange(1.0, 5.0).double(), g, b
        ),
        (IMAGES, normal(4), normal(4)),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    ours, theirs, x = LAYERS[name]
    y, pull, *_ = ours(*x)
    tensors = [torch.tensor(a, requires_grad=True) for a in x]
    expected = theirs(*tensors)
    c = normal(*y.shape)
    expected.backward(torch.tensor(c))
    assert np.allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    back = pull(c)
    for found, tensor in zip(back if isinstance(back, tuple) else (back,), tensors, strict=True):
        assert np.allclose(found, tensor.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_losses():
    logits, labels = 3 * normal(6, 10), rng.integers(0, 10, 6)
    tensor = torch.tensor(logits, requires_grad=True)
    entropy = F.cross_entropy(tensor, torch.tensor(labels))
    square = F.mse_loss(tensor, torch.full((6, 10), 0.5).double())
    for (loss, pull), expected in (
        (layers.softmax_cross_entropy(logits, labels), entropy),
        (layers.mean_squared_error(logits, 0.5), square),
    ):
        tensor.grad = None
        expected.backward()
        assert np.isclose(loss, expected.item(), rtol=1e-13)
        assert np.allclose(pull(), tensor.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_optimizers_and_their_schedule(kind):
    params = {"w": normal(5)}
    tensor = torch.tensor(params["w"].copy())
    if kind == "sgd":
        ours = SGD(params, 2e-3, momentum=0.9, weight_decay=0.01)
        theirs = torch.optim.SGD([tensor], lr=2e-3, momentum=0.9, weight_decay=0.01)
    else:
        ours = Adam(params, 2e-3, weight_decay=0.01)
        theirs = torch.optim.AdamW([tensor], lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        theirs, 2e-3, total_steps=50, cycle_momentum=False
    )
    for k in range(50):
        g = normal(5)
        ours.lr = one_cycle(k, 50, 2e-3)
        assert np.isclose(ours.lr, theirs.param_groups[0]["lr"], rtol=1e-12)
        ours.step({"w": g})
        tensor.grad = torch.tensor(g)
        theirs.step()
        schedule.step()
    assert np.allclose(params["w"], tensor.numpy(), rtol=1e-12)
