"""The equations of docs/gradients.md, each by its number, on the verbs of `LIF`."""

import math

import mpmath
import numpy as np
import pytest

import evsim
from evsim.models import adjoint, verbs

MEM, SYN, THETA, RESET = 9.0, 4.0, 1.0, -0.2
MODEL = evsim.LIF(tau_mem=MEM, tau_syn=SYN, v_th=THETA, v_reset=RESET, t_ref=1.5)
P = MODEL.compile(1, False)
FREE = evsim.LIF(tau_mem=MEM, tau_syn=SYN, v_th=THETA, v_reset=RESET).compile(1, False)
X, LAM, D = (0.3, 4.9), (0.7, -1.3), 1.1


def phi(d, mem=MEM, syn=SYN):
    """Phi of (1), in many digits."""
    d, mem, syn = map(mpmath.mpf, (d, mem, syn))
    em, es = mpmath.exp(-d / mem), mpmath.exp(-d / syn)
    return mpmath.matrix([[em, syn / (mem - syn) * (em - es)], [0, es]])


def field(x):
    return np.array([(x[1] - x[0]) / MEM, -x[1] / SYN])


def passage(x):
    """Time of the next crossing from a state."""
    s, _, _ = verbs.next_spike(P, x, verbs.step(P, verbs.interval(P, 50.0), x)[0])
    return s


def derivative(f, x, h=1e-5):
    """By each member of `x`, extrapolated once."""
    out = []
    for k in range(len(x)):

        def at(s, k=k):
            return f(tuple(v + s * (j == k) for j, v in enumerate(x)))

        wide, narrow = ((at(s) - at(-s)) / (2 * s) for s in (h, h / 2))
        out.append((4 * narrow - wide) / 3)
    return np.array(out)


def test_equation_1_the_flow_and_its_field():
    y, _ = verbs.step(P, verbs.interval(P, D), X)
    assert y == pytest.approx([float(v) for v in phi(D) * mpmath.matrix(X)], rel=1e-14)
    assert adjoint.drift(P, X) == pytest.approx(field(X), rel=1e-15)


def test_equation_2_the_costate_flows_by_the_transpose():
    back, _ = adjoint.pull(P, D, X, LAM)
    assert back == pytest.approx([float(v) for v in phi(D).T * mpmath.matrix(LAM)], rel=1e-14)


def test_equations_3_and_4_an_arrival():
    one, w = verbs.receive(P, (0.0, 0.0), 0, 1.0), 0.6
    assert np.dot(LAM, one) == LAM[1]
    y = (X[0], X[1] + w)
    late = np.dot(LAM, adjoint.lag(P, y, (0.0, w)))
    assert late == pytest.approx(np.dot(LAM, field(X) - field(y)), rel=1e-14)
    assert late == pytest.approx(w * (LAM[1] / SYN - LAM[0] / MEM), rel=1e-14)


def test_equation_5_the_time_of_a_crossing():
    s = passage(X)
    row, *_, by_theta, slope, _ = adjoint.pull_spike(P, s, X, (RESET, 0.0), (0.0, 0.0), 1.0, False)
    assert row == pytest.approx(derivative(passage, X), rel=1e-8)
    i = X[1] * np.exp(-s / SYN)
    assert slope == pytest.approx((i - THETA) / MEM, rel=1e-13)
    assert by_theta == pytest.approx(1.0 / slope, rel=1e-14)


@pytest.mark.parametrize("p", [P, FREE], ids=["clamped", "free"])
def test_equations_6_and_7_through_a_spike(p):
    """The state at a fixed time after the spike, and its time, by the state before it."""
    total, end = 0.4, 3.0

    def loss(x):
        s = passage(x)
        z, since = verbs.fire(p, x, s), end - s
        if p.t_ref > 0.0:
            z = verbs.clamp(p, verbs.interval(p, p.t_ref), z)
            since -= p.t_ref
        y, _ = verbs.step(p, verbs.interval(p, since), z)
        return total * s + np.dot(LAM, y)

    s = passage(X)
    z = verbs.fire(p, X, s)
    released = verbs.clamp(p, verbs.interval(p, p.t_ref), z) if p.t_ref > 0.0 else z
    lam, _ = adjoint.pull(p, end - s - p.t_ref, released, LAM)
    late = 0.0
    if p.t_ref > 0.0:
        late = np.dot(lam, np.subtract(adjoint.held(p, released), adjoint.drift(p, released)))
        lam, _ = adjoint.pull_held(p, p.t_ref, z, lam)
    row, _, by_reset, *_ = adjoint.pull_spike(p, s, X, z, lam, total + late, False)
    assert row == pytest.approx(derivative(loss, X), rel=1e-8)
    assert by_reset == (lam[0], 0.0)


def test_equation_8_a_release():
    x = (RESET, 1.3)
    jump = np.subtract(adjoint.held(P, x), adjoint.drift(P, x))
    assert np.dot(LAM, jump) == pytest.approx(-LAM[0] * (x[1] - RESET) / MEM, rel=1e-14)


@pytest.mark.parametrize(("mem", "syn"), [(MEM, SYN), (4.0, 9.0), (5.0, 5.0 + 1e-9)])
def test_equation_9_time_constants(mem, syn):
    p = evsim.LIF(tau_mem=mem, tau_syn=syn).compile(1, False)
    _, found = adjoint.pull(p, D, X, LAM)
    with mpmath.workdps(60):
        lam, x, h = mpmath.matrix(LAM), mpmath.matrix(X), mpmath.mpf(10) ** -20

        def loss(m, s):
            return (lam.T * phi(D, m, s) * x)[0]

        m, s = mpmath.mpf(mem), mpmath.mpf(syn)
        by_mem = (loss(m + h, s) - loss(m - h, s)) / (2 * h)
        by_syn = (loss(m, s + h) - loss(m, s - h)) / (2 * h)
    assert found == pytest.approx([float(by_mem), float(by_syn)], rel=1e-13)


def one_neuron(**changes):
    numbers = {"tau_mem": MEM, "tau_syn": SYN, "v_reset": RESET, "bias": 0.1, "v_leak": 0.05}
    net = evsim.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, evsim.LIF(**(numbers | changes)))
    net.connect("in", "n", [[4.0], [2.0]])
    inputs = {"in": evsim.Spikes([0.0, 4.0], [0, 1])}
    return evsim.simulate(net, inputs, 30.0, initial={"n": {"v": 0.1}})


def test_equation_10_levels():
    record = one_neuron()
    c = np.arange(1.0, 1.0 + len(record.spikes["n"]))
    g = evsim.gradient(record, {"n": c})
    p = g.params["n"]
    assert p.bias == p.v_leak == -(p.v_th + p.v_reset + g.initial["n"].v)

    def loss(x):
        return float(np.dot(c, one_neuron(v_leak=x[0], bias=x[1]).spikes["n"].times))

    assert [p.v_leak[0], p.bias[0]] == pytest.approx(derivative(loss, (0.05, 0.1)), rel=1e-7)


def test_equation_11_the_jump_of_eventprop():
    s, total = passage(X), 0.4
    i = X[1] * np.exp(-s / SYN)
    row, *_, slope, _ = adjoint.pull_spike(FREE, s, X, (RESET, i), LAM, total, False)
    jumped = -total / slope + LAM[0] * (i - RESET) / (i - THETA), LAM[1]
    expected, _ = adjoint.pull(FREE, s, X, jumped)
    assert row == pytest.approx(expected, rel=1e-12)


def test_equations_12_and_13_sum_rules():
    record = one_neuron(t_ref=0.7)
    c = np.arange(1.0, 1.0 + len(record.spikes["n"]))
    g = evsim.gradient(record, {"n": c})
    p, start = g.params["n"], g.initial["n"]
    shift = g.inputs["in"].sum() - start.v[0] * (0.15 - 0.1) / MEM
    assert shift == pytest.approx(c.sum(), rel=1e-12)
    voltages = {"v_th": 1.0, "v_reset": RESET, "v_leak": 0.05, "bias": 0.1}
    terms = [value * vars(p)[name][0] for name, value in voltages.items()]
    terms += [*(np.array([[4.0], [2.0]]) * g.weight["in->n"]).ravel(), 0.1 * start.v[0]]
    assert abs(sum(terms)) < 1e-12 * sum(map(abs, terms))


def test_equation_14_next_to_grazing():
    """The limit itself; `test_gradient.py` has the approach to it."""
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_th=10.0))
    eps = 1e-9
    net.connect("in", "n", [[40.0 * (1 + eps)]])
    record = evsim.simulate(net, {"in": evsim.Spikes([0.0], [0])}, 60.0)
    g = evsim.gradient(record, {"n": np.eye(1, len(record.spikes["n"]))[0]})
    assert g.weight["in->n"][0, 0] * np.sqrt(eps) == pytest.approx(-0.125, rel=1e-4)


@pytest.mark.parametrize("n", [3, 4, 11])
@pytest.mark.parametrize("delay", [0.0, 0.3, None], ids=["no delay", "one delay", "delays"])
def test_sum_rules_of_a_layer(n, delay):
    """All spikes move with all inputs; all times scale together; scaling voltages moves none."""
    rng, m = np.random.default_rng(n), 7
    weight = rng.normal(1.0, 2.0, (m, n))
    v_th = rng.uniform(0.8, 1.2, n) if delay else 1.0
    delay = rng.uniform(0.1, 2.0, (m, n)) if delay is None else delay
    net = evsim.Network()
    net.add_input("in", m)
    model = evsim.LIF(tau_mem=MEM, tau_syn=SYN, v_th=v_th, v_reset=RESET, t_ref=0.7)
    net.add_population("n", n, model)
    net.connect("in", "n", weight, delay)
    times, units = np.sort(rng.uniform(0.0, 25.0, 40)), rng.integers(0, m, 40)
    record = evsim.simulate(net, {"in": evsim.Spikes(times, units)}, 30.0)
    spikes = record.spikes["n"]
    c = rng.normal(size=len(spikes))
    g = evsim.gradient(record, {"n": c})
    p = g.params["n"]
    assert len(spikes) > 4 * n
    voltages = [*(weight * g.weight["in->n"]).ravel(), *(v_th * p.v_th), *(RESET * p.v_reset)]
    own = [MEM * p.tau_mem, SYN * p.tau_syn, 0.7 * p.t_ref]
    lengths = [*(times * g.inputs["in"]), *np.ravel(np.multiply(delay, g.delay["in->n"]))]
    lengths += [*np.concatenate(own), *(-c * spikes.times)]
    for terms in ([*g.inputs["in"], *-c], voltages, lengths):
        assert abs(math.fsum(terms)) < 1e-11 * sum(map(abs, terms))
