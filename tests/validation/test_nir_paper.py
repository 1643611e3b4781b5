"""Recordings and trained networks of the NIR paper, where their folder is at hand.

`EVSIM_NIR_PAPER` names it; by default it is looked for beside the checkout.
"""

import nir
import numpy as np
import pytest

import evsim
from validation import exact, nir_paper
from validation.verify import verify

FOLDER = nir_paper.folder()
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not nir_paper.platforms(FOLDER), reason=f"no recordings of the NIR paper in {FOLDER}"
    ),
]

#: How each platform differs from Euler steps with a soft reset.
CAUSES = {
    "lava_cpu_fixed": ["reset_kind", "recording_shifted"],
    "lava_cpu_float": ["reset_kind", "recording_shifted"],
    "norse": ["reset_kind"],
    "rockpool": ["decay"],
    "sinabs": ["decay"],
    "snntorch": ["reset_kind"],
    "spinnaker2": ["reset_kind", "weight_scale"],
}


def test_every_platform_is_there():
    assert set(CAUSES) <= set(nir_paper.platforms(FOLDER))


@pytest.mark.parametrize("platform", CAUSES)
def test_the_cause_of_a_platform_is_named(platform, monkeypatch):
    monkeypatch.setattr(exact, "solve_alone", lambda d, samples: None)
    (layer,) = verify(nir_paper.recording(FOLDER, platform)).layers
    assert layer.verdict == "mismatch" and layer.cause == CAUSES[platform]
    assert not layer.also


@pytest.mark.parametrize("platform", ["norse", "snntorch"])
def test_with_the_reset_of_nir_they_are_right(platform):
    """NIR now says that a spike resets to `v_reset`: what these two did is that update."""
    (layer,) = verify(nir_paper.recording(FOLDER, platform, reset="value")).layers
    assert layer.verdict == "identical"
    assert layer.alone.n_recorded == 4


# ------------------------------------------------------------------------------ trained networks


def convolved(node, image):
    """A cross-correlation of (channels, height, width), written without evsim."""
    pad, (sy, sx), (ky, kx) = np.ravel(node.padding), np.ravel(node.stride), node.weight.shape[2:]
    wide = np.pad(image, ((0, 0), (pad[0],) * 2, (pad[-1],) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (ky, kx), (1, 2))[:, ::sy, ::sx]
    bias = np.zeros(len(node.weight)) if node.bias is None else np.ravel(node.bias)
    assert not bias.any()
    return np.einsum("oikl,iyxkl->oyx", node.weight.astype(float), windows)


def pooled(node, image):
    (ky, kx), (sy, sx) = np.ravel(node.kernel_size), np.ravel(node.stride)
    assert not np.any(node.padding)
    return np.lib.stride_tricks.sliding_window_view(image, (ky, kx), (1, 2))[:, ::sy, ::sx].sum(
        (3, 4)
    )


def sent_on(graph, order, image, membranes, when):
    """One instant: what arrives, what fires, layer by layer; the spikes [(layer, unit)]."""
    fired = []
    for name in order:
        node = graph.nodes[name]
        kind = type(node).__name__
        if kind == "Conv2d":
            image = convolved(node, image)
        elif kind == "SumPool2d":
            image = pooled(node, image)
        elif kind == "Flatten":
            image = image.reshape(-1)
        elif kind == "Affine":
            image = node.weight.astype(float) @ image
            assert not np.any(node.bias)
        else:
            v = membranes.setdefault(name, np.zeros(image.shape))
            v += np.broadcast_to(node.r, v.shape) * image
            image = (v > node.v_threshold).astype(float)
            v[image > 0] = np.broadcast_to(node.v_reset, v.shape)[image > 0]
            fired += [(name, when, int(k)) for k in np.flatnonzero(image)]
        if not image.any():
            return fired
    return fired


def test_the_trained_convolutional_network_runs_exactly():
    """Integrating neurons and impulses: an event changes sums only, which NumPy can restate.

    A spike of evsim may not repeat at one instant (`multi="hold"`), as in a single comparison.
    """
    graph = nir.read(FOLDER / "cnn_sinabs.nir")
    after = dict(graph.edges)
    order = [after["input"]]
    while after[order[-1]] != "output":
        order.append(after[order[-1]])
    rng = np.random.default_rng(2)
    shape = tuple(int(n) for n in np.ravel(graph.nodes["input"].input_type["input"]))
    times, units = np.sort(rng.uniform(0, 0.1, 400)), rng.integers(0, np.prod(shape), 400)
    membranes, expected = {}, []
    for t, unit in zip(times, units, strict=True):
        image = np.zeros(shape)
        image.reshape(-1)[unit] = 1.0
        expected += sent_on(graph, order, image, membranes, t)
    net = evsim.from_nir(FOLDER / "cnn_sinabs.nir", spikes="dirac")
    record = evsim.simulate(net, {"input": evsim.Spikes(times, units)}, 0.2, multi="hold")
    found = [
        (name, float(t), int(n))
        for name, spikes in record.spikes.items()
        for t, n in zip(spikes.times, spikes.units, strict=True)
    ]
    assert len(expected) > 500 and len({name for name, *_ in expected}) >= 4
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "reset"),
    [("braille_noDelay_bias_zero", "value"), ("braille_noDelay_noBias_subtract", "subtract")],
)
def test_the_trained_recurrent_networks_run_and_are_proved(name, reset):
    """As impulses of the charge of a pulse of one step; every spike has a proved bound."""
    step = 1e-4
    graph = nir.read(FOLDER / f"{name}.nir")
    for node in graph.nodes.values():
        if hasattr(node, "weight"):
            node.weight = node.weight.astype(float) * step
    net = evsim.from_nir(graph, spikes="dirac", recurrent_delay=step, reset=reset)
    grid = (np.random.default_rng(3).random((60, 12)) < 0.3).astype(int)
    train = evsim.Spikes.from_raster(grid, "0.0001", layout="TN")
    record = evsim.simulate(net, {"input": train}, 0.008, certify=True)
    assert sum(len(spikes) for spikes in record.spikes.values()) > 40
    assert record.certificate.status == "PROVED"


def test_the_trained_recurrent_networks_run_with_pulses():
    name = FOLDER / "braille_noDelay_bias_zero.nir"
    net = evsim.from_nir(name, spikes="pulse", pulse_width=1e-4, recurrent_delay=1e-4)
    grid = (np.random.default_rng(3).random((60, 12)) < 0.3).astype(int)
    train = evsim.Spikes.from_raster(grid, "0.0001", layout="TN")
    record = evsim.simulate(net, {"input": train}, 0.008)
    assert sum(len(spikes) for spikes in record.spikes.values()) > 100 and not record.undecided
