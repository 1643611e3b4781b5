"""The library of surrogates: what each says of itself, and how libraries are related."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate

from reference.finite_difference import check
from reference.surrogates import get, names

V = np.array([-3.0, -1.2, -0.6, -0.45, -0.1, -0.01, 0.01, 0.1, 0.45, 0.6, 1.2, 3.0, 7.7])
#: Parameters away from the defaults; one value where there is one.
OTHER = {
    "spikingjelly.SquarewaveFourierSeries": dict(n=4, T_period=3.0),
    "spikingjelly.PiecewiseLeakyReLU": dict(w=0.5, c=0.0),
    "spikingjelly.S2NN": dict(alpha=3.0, beta=0.0),
    "snntorch.SFS": dict(slope=3.0, B=-0.25),
    "sinabs.SingleExponential": dict(grad_width=0.3, grad_scale=2.0, spike_threshold=1.7),
    "sinabs.PeriodicExponential": dict(grad_width=0.3, grad_scale=2.0, spike_threshold=1.7),
    "sinabs.Heaviside": dict(window=0.4, spike_threshold=1.7),
    "sinabs.MultiGaussian": dict(mu=0.1, sigma=0.4, h=0.3, s=3.0),
    "rockpool.StepPWL": dict(window=0.4, spike_threshold=1.7),
    "rockpool.PeriodicExponential": dict(window=0.3, spike_threshold=1.7),
    "spyx.boxcar": dict(width=0.5, height=2.0),
    "norse.tanh": dict(alpha=1.5),
    "norse.circ": dict(alpha=0.7),
    "norse.heavi_erfc": dict(alpha=1.3),
}
NAMES = names(elsewhere=True)
CASES = [(name, {}) for name in NAMES] + list(OTHER.items())


def quadrature(g):
    """Integral over the line, between all places where g may jump."""
    low, high = (max(g.support[0], -400.0), min(g.support[1], 400.0))
    marks = [-8, -1, -0.5, -0.4, -0.25, -0.1, -0.01, 0, 0.01, 0.1, 0.25, 0.5, 1, 1.1, 2, 8, 40]
    edges = [low, *[m for m in marks if low < m < high], high]
    return sum(integrate.quad(g.derivative, a, b, limit=200)[0] for a, b in pairwise(edges))


def tail(g):
    """What the quadrature leaves out: of a shape that falls as c / v^p beyond 400."""
    far = np.array([400.0, 800.0])
    out = 0.0
    for sign in (-1, 1):
        values = g.derivative(sign * far)
        if values[1] > 0:
            power = math.log(values[0] / values[1]) / math.log(2.0)
            assert power > 1.5
            out += values[0] * far[0] / (power - 1.0)
    return out


@pytest.mark.parametrize(("name", "params"), CASES)
def test_height_area_and_support_are_those_of_the_derivative(name, params):
    g = get(name, **params)
    assert np.isclose(g.height, g.derivative(0.0), rtol=1e-14, atol=0)
    low, high = g.support
    outside = V[(V < low) | (V > high)]
    assert not g.derivative(outside).any()
    inside = np.array([low, high]) + np.array([1e-9, -1e-9])
    assert g.derivative(inside[np.isfinite(inside)]).all() or low == high
    if math.isfinite(g.area) and g.scale <= 10:
        assert np.isclose(quadrature(g) + tail(g), g.area, rtol=1e-3, atol=1e-9)
    elif math.isinf(g.area):
        assert tail_diverges(g)


def tail_diverges(g):
    """At least as heavy as 1 / v on one side."""
    far = np.array([1e6, 1e8])
    sides = [(far * g.derivative(sign * (far + 0.125))) for sign in (-1, 1)]
    return any(s[1] >= 0.9 * s[0] > 0 for s in sides)


@pytest.mark.parametrize(("name", "params"), CASES)
def test_the_primitive_has_the_derivative(name, params):
    g = get(name, **params)
    if g.primitive is None:
        return
    assert np.isclose(g.primitive(np.float64(0.0)), 0.5, atol=1e-15)
    edges = [0.0, -0.5, 0.5, 1.0, -1.0, 10 / 3, -10 / 3, *g.support]
    points = (
        np.array([v for v in V * g.scale if min(abs(v - e) for e in edges) > 1e-3])
        if math.isfinite(g.scale)
        else V
    )
    check(g.primitive, lambda v, c: c * g.derivative(v), points, step=1e-5, rtol=1e-6,
          require=True)  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (get("spikingjelly.ATan", alpha=3.0), get("snntorch.atan", alpha=3.0)),
        (get("spikingjelly.SoftSign", alpha=2.0), get("snntorch.fast_sigmoid", slope=2.0)),
        (get("spikingjelly.SuperSpike"), get("norse.super")),
        (get("spikingjelly.SuperSpike"), get("snntorch.fast_sigmoid", slope=1)),
        (get("spikingjelly.Sigmoid", alpha=25.0), get("snntorch.sigmoid", slope=25)),
        (get("norse.tanh", alpha=2.0), get("norse.logistic", alpha=2.0)),
        (get("norse.super", alpha=1.0), get("norse.super", alpha=100.0)),
        (get("spyx.superspike"), get("snntorch.fast_sigmoid")),
        (get("rockpool.StepPWL", window=1.0), get("sinabs.Heaviside")),
    ],
)
def test_equal_shapes_under_two_names(one, other):
    assert np.allclose(one.derivative(V), other.derivative(V), rtol=1e-14, atol=0)
    assert (one.height, one.area, one.scale) == (other.height, other.area, other.scale)


#: Height and area at the defaults, from the formulas by hand.
BY_HAND = {
    "snntorch.atan": (1.0, 1.0),
    "snntorch.fast_sigmoid": (1.0, 0.08),
    "snntorch.sigmoid": (6.25, 1.0),
    "snntorch.spike_rate_escape": (25 / math.e, 50.0),
    "snntorch.SFS": (0.0, 1 / 650),
    "spikingjelly.Sigmoid": (1.0, 1.0),
    "spikingjelly.SuperSpike": (1.0, 2.0),
    "spikingjelly.Erf": (2 / math.sqrt(math.pi), 1.0),
    "norse.super": (1.0, 2.0),
    "norse.tanh": (1.0, 0.02),
    "norse.circ": (1.0, 200.0),
    "sinabs.SingleExponential": (2.0, 2.0),
    "rockpool.StepPWL": (1.0, math.inf),
    "spyx.arctan": (1 / math.pi, 1 / (2 * math.pi)),
    "spyx.tanh": (1.0, 2.0),
    "spyx.boxcar": (0.5, 1.0),
    "spyx.triangular": (1.0, 0.5),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_defaults_have_the_height_and_area_of_their_formulas(name):
    g = get(name)
    assert np.allclose((g.height, g.area), BY_HAND[name], rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_every_surrogate_says_its_formula_and_keeps_the_dtype(name):
    g = get(name)
    assert g.formula and not g.formula.endswith(".")
    narrow = g.derivative(V.astype(np.float32))
    assert narrow.dtype == np.float32 and np.allclose(narrow, g.derivative(V), atol=1e-5, rtol=1e-5)
    assert g.derivative([0, 1]).dtype == np.float64


def test_far_tails_neither_overflow_nor_turn_into_nan():
    far = np.array([-1e4, -800.0, 800.0, 1e4])
    for name in NAMES:
        with np.errstate(over="raise", invalid="raise"):
            assert np.isfinite(get(name).derivative(far)).all(), name


def test_what_is_unknown_is_refused_by_name():
    with pytest.raises(ValueError, match=r"no surrogate 'snntorch\.atam'"):
        get("snntorch.atam")
    with pytest.raises(ValueError, match="no parameter 'slope'; its parameters: alpha"):
        get("snntorch.atan", slope=1)
    for width in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"width of spikingjelly\.ATan"):
            get("spikingjelly.ATan", alpha=width)
    assert get("snntorch.straight_through_estimator").name == "snntorch.straight_through"
