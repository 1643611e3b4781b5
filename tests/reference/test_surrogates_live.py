"""Surrogates and neurons against the frameworks themselves, and where these leave their words."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks
for _name in ("snntorch", "spikingjelly", "norse", "sinabs"):
    pytest.importorskip(_name)

from reference import surrogates  # noqa: E402
from validation.cases.surrogate import frameworks, parity  # noqa: E402

V = np.array(frameworks.POINTS)
DEFINED = [name for name in surrogates.names() if name not in frameworks.UNDEFINED]
#: Parameters away from the defaults.
OTHER = {
    "snntorch.atan": dict(alpha=3.0),
    "snntorch.fast_sigmoid": dict(slope=4.0),
    "snntorch.sigmoid": dict(slope=3.0),
    "snntorch.triangular": dict(threshold=0.5),
    "snntorch.spike_rate_escape": dict(beta=2.0, slope=3.0),
    "snntorch.SFS": dict(slope=4.0, B=-0.2),
    "spikingjelly.Sigmoid": dict(alpha=1.5),
    "spikingjelly.SoftSign": dict(alpha=1.5),
    "spikingjelly.SuperSpike": dict(alpha=1.5),
    "spikingjelly.PiecewiseQuadratic": dict(alpha=0.5),
    "spikingjelly.PiecewiseExp": dict(alpha=0.5),
    "spikingjelly.Erf": dict(alpha=0.5),
    "spikingjelly.Rect": dict(alpha=0.4),
    "spikingjelly.PiecewiseLeakyReLU": dict(w=0.3, c=0.2),
    "spikingjelly.NonzeroSignLogAbs": dict(alpha=2.0),
    "spikingjelly.QPseudoSpike": dict(alpha=3.0),
    "spikingjelly.S2NN": dict(alpha=2.0, beta=0.5),
    "spikingjelly.LeakyKReLU": dict(leak=0.2, k=0.7),
    "spikingjelly.SquarewaveFourierSeries": dict(n=4, T_period=5.0),
    "spikingjelly.FakeNumericalGradient": dict(alpha=2.0),
    "spikingjelly.LogTailedReLU": dict(alpha=0.1),
    "spikingjelly.MultiLevelSpikeCount": dict(max_spike_count=3),
    "norse.tanh": dict(alpha=2.0),
    "norse.circ": dict(alpha=0.5),
    "norse.heavi_erfc": dict(alpha=2.0),
    "norse.triangle": dict(alpha=2.0),
    "sinabs.SingleExponential": dict(grad_width=0.3, grad_scale=2.0, spike_threshold=1.5),
    "sinabs.Heaviside": dict(window=0.3, spike_threshold=1.5),
    "sinabs.Gaussian": dict(mu=0.2, sigma=0.7, grad_scale=2.0),
    "sinabs.MultiGaussian": dict(mu=0.2, sigma=0.7, h=0.3, s=2.0, grad_scale=2.0),
    "sinabs.PeriodicExponential": dict(grad_width=0.3, grad_scale=2.0, spike_threshold=1.5),
}


@pytest.mark.parametrize(("name", "params"), [(n, {}) for n in DEFINED] + list(OTHER.items()))
def test_derivatives_are_those_of_the_framework(name, params):
    """S3."""
    found = surrogates.get(name, **params).derivative(V)
    expected = frameworks.derivative(name, V, **params)
    # Where pi, or the answer, is float32 the factor is 3e-8 off; else a few roundings.
    single = (*frameworks.SINGLE_PI, "sinabs.Heaviside")
    tolerance = 1e-7 if name in single else 1e-14
    assert np.allclose(found, expected, rtol=tolerance, atol=tolerance)
    edge = np.zeros(1) if name != "spikingjelly.FakeNumericalGradient" else np.full(1, 1e-300)
    at = frameworks.derivative(name, edge, **params)
    assert np.allclose(surrogates.get(name, **params).derivative(edge), at, rtol=tolerance)


def test_the_recording_is_what_the_frameworks_do():
    kept = frameworks.recorded()
    for name in DEFINED:
        assert np.allclose(frameworks.derivative(name, V), kept[f"g/{name}"], rtol=1e-14, atol=0)


def test_what_a_recording_calls_a_surrogate_is_known_here():
    """Constructors and their numeric attributes, as the adapters write them down."""
    from spikingjelly.activation_based import surrogate

    base, found = surrogate.SurrogateFunctionBase, 0
    for name, kind in vars(surrogate).items():
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base:
            made = kind(2) if name == "MultiLevelSpikeCount" else kind()
            numbers = {k: v for k, v in vars(made).items() if type(v) in (int, float)}
            known = surrogates.get(f"spikingjelly.{name}", **numbers).params
            assert numbers.items() <= known.items()
            found += 1
    assert found == sum(name.startswith("spikingjelly.") for name in surrogates.names())


@pytest.mark.parametrize("name", parity.pairs())
def test_neurons_have_the_spikes_and_gradients_of_the_framework(name):
    """S2: attached and detached, every reset that the frameworks have."""
    (spikes, gradient), (expected, by) = parity.ours(name), parity.framework(name)
    assert np.array_equal(spikes, expected) and 0.05 < spikes.mean() < 0.8
    assert np.abs(gradient - by).max() <= parity.pairs()[name].tolerance * np.abs(by).max()


@pytest.mark.parametrize("name", ["snntorch.Leaky soft, next_step", "norse.LIFCell attached"])
def test_the_other_way_to_differentiate_the_reset_is_not_theirs(name):
    from dataclasses import replace
    from unittest.mock import patch

    pair = parity.pairs()[name]
    swapped = {name: replace(pair, detach=not pair.detach)}
    with patch.object(parity, "pairs", lambda: swapped):
        _, gradient = parity.ours(name)
    _, by = parity.framework(name)
    assert np.abs(gradient - by).max() > 0.1 * np.abs(by).max()


def gradient(function, v, dtype=torch.float64):
    x = torch.tensor(v, dtype=dtype, requires_grad=True)
    function(x).sum().backward()
    return x.grad.numpy()


def test_snntorch_leaves_its_documentation():
    from snntorch import surrogate

    documented = 1 / np.pi / (1 + (np.pi * V) ** 2)
    assert np.allclose(gradient(surrogate.atan(alpha=2), V), np.pi * documented, rtol=1e-13)
    assert np.isnan(gradient(surrogate.sigmoid(), [-3.43, -4.0], torch.float32)).all()
    assert np.isfinite(gradient(surrogate.sigmoid(), [-3.41], torch.float32)).all()
    assert gradient(surrogate.heaviside(), [0.0]) == 0.0
    assert gradient(surrogate.triangular(), [-5.0, -0.1, 0.0, 5.0]).tolist() == [1, 1, -1, -1]
    escape = gradient(surrogate.spike_rate_escape(), [0.0, 1.0])
    assert escape[1] == 25.0 and np.isclose(escape[0], 25 / np.e)
    assert gradient(surrogate.SFS(), [-1.0, 0.0, 1.0]).tolist() == [0, 0, 0]
    with pytest.raises(TypeError):
        surrogate.LSO()(torch.zeros(1))
    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        gradient(lambda x: surrogate.LeakySpikeOperator.apply(x, 0.1), [0.5])
    torch.manual_seed(0)
    below = gradient(surrogate.SSO(), np.full(4000, -1.0))
    assert np.abs(below).max() <= 0.1  # half of what is called variance
    assert abs(below.mean() - surrogates.get("snntorch.SSO").derivative(-1.0)) < 5 * 0.058 / 63


def test_spikingjelly_leaves_its_documentation():
    from spikingjelly.activation_based import surrogate

    assert gradient(surrogate.PiecewiseLeakyReLU(), [1.0]) == 0.01  # documented: 1/2
    at_zero = surrogate.S2NN.primitive_function(torch.zeros(1, dtype=torch.float64), 4.0, 1.0)
    assert abs(at_zero.item() - 0.5) < 1e-4  # documented: 1
    sign = gradient(surrogate.FakeNumericalGradient(), [-0.0, 0.0])
    assert sign.tolist() == [-np.inf, 0.3]


def test_norse_leaves_its_documentation():
    assert np.array_equal(
        frameworks.derivative("norse.super", V, alpha=1.0),
        frameworks.derivative("norse.super", V, alpha=100.0),
    )
    v, k = V[np.abs(V) < 2], 1.3
    tanh = frameworks.derivative("norse.tanh", v, alpha=k)
    assert np.allclose(tanh * k / 2, k / 2 / np.cosh(k * v) ** 2, rtol=1e-12)
    circ = frameworks.derivative("norse.circ", v, alpha=k)
    assert np.allclose(circ / (2 * k), k * k / 2 / (v * v + k * k) ** 1.5, rtol=1e-12)
    erfc = frameworks.derivative("norse.heavi_erfc", v, alpha=k)
    assert np.allclose(erfc * k / 2, k / np.sqrt(np.pi) * np.exp(-((k * v) ** 2)), rtol=1e-7)
    assert (erfc > 0).all()  # the documented primitive falls


def test_sinabs_leaves_its_documentation():
    wide = frameworks.derivative("sinabs.Heaviside", np.array([-0.9, -1.1]), spike_threshold=2.0)
    assert wide.tolist() == [0.5, 0.0]  # relative to the threshold, both would be inside
    steep = frameworks.derivative("sinabs.PeriodicExponential", np.array([-0.1, 0.1]))
    assert np.allclose(np.log(steep), [-0.2, -0.4])
