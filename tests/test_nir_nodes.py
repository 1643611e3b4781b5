"""Every NIR node that evsim can represent, and networks written as NIR and read again."""

from itertools import pairwise

import nir
import numpy as np
import pytest
from scipy.signal import correlate

import evsim
from evsim.nir_linear import matrix_of

RNG = np.random.default_rng(4)
FOUR = np.ones(4)


def graph(nodes, edges, shape=(3,), out=4):
    """A graph between an input and an output."""
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output(np.array([out]))}
    return nir.NIRGraph(nodes=nodes | ends, edges=edges, type_check=False)


def chain(*parts, shape=(3,), out=4):
    """A graph whose nodes follow one another: n0, n1, ..."""
    nodes = {f"n{k}": node for k, node in enumerate(parts)}
    return graph(nodes, list(pairwise(["input", *nodes, "output"])), shape, out)


def neurons(n=4):
    return nir.IF(np.ones(n), np.full(n, 1e6))


def synapses(net, name):
    """Weights and delays by (source, target), those of one pair in order."""
    found = {}
    for p in net.projections.values():
        if p.indptr is None:
            rows, columns = np.indices(p.weight.shape).reshape(2, -1)
        else:
            rows, columns = np.repeat(np.arange(p.n_pre), np.diff(p.indptr)), p.targets
        delays = np.broadcast_to(p.delay, p.weight.size).ravel()
        for a, b, w, d in zip(rows, columns, p.weight.ravel(), delays, strict=True):
            if w:
                found.setdefault((int(a), int(b)), []).append((float(w), float(d)))
    return {key: sorted(values) for key, values in found.items()}


# ------------------------------------------------------------------------------------- linear


@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same", "valid", b"valid"])
@pytest.mark.parametrize("dilation", [1, (1, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_is_its_matrix(stride, padding, dilation, groups):
    weight, bias = RNG.normal(size=(4, 4 // groups, 3, 2)), RNG.normal(size=4)
    node = nir.Conv2d((6, 7), weight, stride, padding, dilation, groups, bias)
    if padding == "same" and stride != 1:
        with pytest.raises(ValueError, match="node 'c': padding='same' wants stride 1"):
            matrix_of("c", node, None)
        return
    matrix, constant, out = matrix_of("c", node, (4, 6, 7))
    x = RNG.normal(size=(4, 6, 7))
    # The definition: dilate the kernel, pad the image, correlate, take every stride-th value.
    d, s = np.broadcast_to(dilation, 2), np.broadcast_to(stride, 2)
    kernel = np.zeros((*weight.shape[:2], d[0] * 2 + 1, d[1] * 1 + 1))
    kernel[:, :, :: d[0], :: d[1]] = weight
    if padding == "same":
        whole = np.array(kernel.shape[2:]) - 1
        pads = [(t // 2, t - t // 2) for t in whole]
    else:
        pads = [
            (p, p) for p in np.broadcast_to(0 if isinstance(padding, str | bytes) else padding, 2)
        ]
    image = np.pad(x, [(0, 0), *pads])
    per, each = 4 // groups, 4 // groups
    expected = np.array([
        sum(correlate(image[o // each * per + c], kernel[o, c], "valid") for c in range(per))
        for o in range(4)
    ])[:, :: s[0], :: s[1]] + bias[:, None, None]  # fmt: skip
    assert out == expected.shape
    assert np.abs((matrix @ x.ravel() + constant).reshape(out) - expected).max() < 1e-13


def test_a_convolution_in_one_dimension():
    weight = RNG.normal(size=(2, 3, 4))
    node = nir.Conv1d(9, weight, 2, 1, 1, 1, np.zeros(2))
    matrix, _, out = matrix_of("c", node, None)
    x = np.pad(RNG.normal(size=(3, 9)), [(0, 0), (1, 1)])
    expected = np.array(
        [[np.sum(weight[o] * x[:, k : k + 4]) for k in range(0, 8, 2)] for o in (0, 1)]
    )
    assert out == (2, 4)
    assert np.abs((matrix @ x[:, 1:-1].ravel()).reshape(out) - expected).max() < 1e-14


@pytest.mark.parametrize("cls", [nir.SumPool2d, nir.AvgPool2d])
def test_pools_are_their_matrices(cls):
    node = cls(np.array([2, 3]), np.array([2, 1]), np.array([0, 0]))
    matrix, _, out = matrix_of("p", node, (2, 5, 6))
    x = RNG.normal(size=(2, 5, 6))
    windows = [
        [[x[c, i : i + 2, j : j + 3].sum() for j in range(4)] for i in (0, 2)] for c in (0, 1)
    ]
    expected = np.array(windows) / (6 if cls is nir.AvgPool2d else 1)
    assert out == (2, 2, 4)
    assert np.abs((matrix @ x.ravel()).reshape(out) - expected).max() < 1e-14
    padded = cls(np.array([2, 2]), np.array([2, 2]), np.array([1, 1]))
    if cls is nir.AvgPool2d:
        with pytest.raises(ValueError, match="node 'p': NIR leaves open"):
            matrix_of("p", padded, (2, 5, 6))
    else:
        assert matrix_of("p", padded, (2, 5, 6))[2] == (2, 3, 4)


def test_a_small_convolutional_network_is_folded():
    weight = RNG.normal(size=(2, 1, 3, 3))
    parts = [
        nir.Conv2d((4, 4), weight, 1, 1, 1, 1, np.array([0.1, -0.2])),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([2, 2, 2])}, 0),
        nir.Linear(RNG.normal(size=(4, 8))),
        nir.Scale(np.array([1.0, 2.0, -1.0, 0.5])),
        neurons(),
    ]
    net = evsim.from_nir(chain(*parts, shape=(1, 4, 4)), spikes="dirac")
    a, constant, shape = matrix_of("", parts[0], None)
    b, _, _ = matrix_of("", parts[1], shape)
    whole = np.diag(parts[4].scale) @ parts[3].weight @ (b @ a).toarray()
    weight = net.projections["input->n5"].weight
    assert np.abs(weight - whole.T).max() < 1e-14 and net.inputs == {"input": 16}
    bias = np.diag(parts[4].scale) @ parts[3].weight @ (b @ constant)
    assert np.abs(net.populations["n5"].model.bias - bias).max() < 1e-14


def test_delays_move_spikes_and_add_up():
    w, v = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 4))
    one = chain(nir.Delay(np.full(3, 0.25)), nir.Linear(w), neurons())
    net = evsim.from_nir(one, spikes="dirac")
    (projection,) = net.projections.values()
    assert projection.delay == 0.25 and np.array_equal(projection.weight, w.T)
    delays = np.array([0.5, 0.0, 0.5, 1.0])
    many = chain(nir.Delay(np.full(3, 0.25)), nir.Linear(w), nir.Delay(delays), nir.Linear(v),
                 nir.Delay(np.array([0.0, 2.0, 0.0, 0.0])), neurons())  # fmt: skip
    found = synapses(evsim.from_nir(many, spikes="dirac"), "n5")
    assert len(found) == 12
    for (a, b), values in found.items():
        expected = {}  # by delay: over the neurons between
        for k in range(4):
            d = 0.25 + delays[k] + (2.0 if b == 1 else 0.0)
            expected[d] = expected.get(d, 0.0) + v[b, k] * w[k, a]
        assert sorted(d for _, d in values) == sorted(expected)
        for weight, d in values:
            assert weight == pytest.approx(expected[d], rel=1e-13, abs=1e-15)
    with pytest.raises(ValueError, match="node 'n0': a delay must be"):
        evsim.from_nir(chain(nir.Delay(np.full(3, -1.0)), nir.Linear(w), neurons()), spikes="dirac")
    with pytest.raises(ValueError, match="node 'n0': 2 delays for 3 values"):
        evsim.from_nir(chain(nir.Delay(np.ones(2)), nir.Linear(w), neurons()), spikes="dirac")


def test_a_cycle_with_a_delay_of_its_own_needs_no_other():
    nodes = {"w": nir.Linear(np.ones((4, 3))), "p": neurons(), "d": nir.Delay(FOUR * 0.5),
             "back": nir.Linear(np.eye(4))}  # fmt: skip
    edges = [("input", "w"), ("w", "p"), ("p", "d"), ("d", "back"), ("back", "p"), ("p", "output")]
    net = evsim.from_nir(graph(nodes, edges), spikes="dirac")
    assert net.projections["p->p"].delay == 0.5


# ------------------------------------------------------------------------------------ neurons


def test_integrators_without_threshold():
    t = np.linspace(0.0, 9.0, 10)
    train = {"input": evsim.Spikes([1.0, 4.0], [0, 2])}
    w = RNG.normal(size=(4, 3))
    net = evsim.from_nir(chain(nir.Linear(w), nir.I(FOUR * 2.0)), spikes="dirac")
    record = evsim.simulate(net, train, 9.0)
    for k in range(4):
        expected = 2.0 * (w[k, 0] * (t >= 1.0) + w[k, 2] * (t >= 4.0))
        assert np.abs(record.voltage("n1", k, t) - expected).max() < 1e-14
    assert len(record.spikes["n1"]) == 0
    node = nir.CubaLI(tau_syn=FOUR * 3, tau_mem=FOUR * 5, r=FOUR * 2, v_leak=FOUR * 0.1,
                      w_in=FOUR * 0.5)  # fmt: skip
    record = evsim.simulate(evsim.from_nir(chain(nir.Linear(w), node), spikes="dirac"), train, 9.0)
    for k in range(4):
        expected = 0.1 + sum(
            2.0 * 0.5 * w[k, n] / 3.0 * 3.0 / 2.0 * (np.exp(-s / 5) - np.exp(-s / 3)) * (s > 0)
            for n, s in ((0, t - 1.0), (2, t - 4.0))
        )
        assert np.abs(record.voltage("n1", k, t) - expected).max() < 1e-14
    for node in (nir.I(FOUR), nir.CubaLI(FOUR, FOUR, FOUR, FOUR)):
        with pytest.raises(ValueError, match=r"node 'n0' .* feeds another node"):
            evsim.from_nir(chain(node, nir.Linear(np.eye(4)), neurons()), spikes="dirac")


def test_graphs_within_a_graph_are_opened():
    w = RNG.normal(size=(4, 3))
    ends = {"i": nir.Input({"input": np.array([3])}), "o": nir.Output(np.array([4]))}
    inner = nir.NIRGraph({"w": nir.Linear(w), "p": neurons(), **ends},
                         [("i", "w"), ("w", "p"), ("p", "o")], type_check=False)  # fmt: skip
    nodes = {"block": inner, "v": nir.Linear(np.eye(4)), "q": neurons()}
    edges = [("input", "block"), ("block", "v"), ("v", "q"), ("q", "output")]
    net = evsim.from_nir(graph(nodes, edges), spikes="dirac")
    assert list(net.populations) == ["block.p", "q"]
    assert np.array_equal(net.projections["input->block.p"].weight, w.T)
    assert list(net.projections) == ["input->block.p", "block.p->q"]
    inner.nodes["bad"] = nir.Threshold(FOUR)
    with pytest.raises(ValueError, match=r"node 'block.bad' is a Threshold; evsim can represent"):
        evsim.from_nir(graph(nodes, edges), spikes="dirac")


# ------------------------------------------------------------------------------ there and back


def everything(pulse_width, delay):
    rng = np.random.default_rng(8)
    net = evsim.Network()
    net.add_input("in", 3)
    tau = rng.uniform(5.0, 12.0, 4)
    common = {"v_th": 0.4, "v_reset": -0.1, "v_leak": 0.05, "graze": ">"}
    net.add_population("delta", 4, evsim.DeltaLIF(tau_mem=tau, **common))
    net.add_population("cuba", 4, evsim.LIF(tau_mem=tau, tau_syn=tau / 3, **common))
    net.add_population("if", 4, evsim.IF(v_th=2.0, graze=">", bias=np.array([0.1, 0, 0.2, 0.05])))
    net.add_population("lone", 1, evsim.IF(v_th=2.0, graze=">", bias=0.5))
    net.add_population("li", 2, evsim.LI(tau_mem=8.0, v_leak=0.1))
    net.add_population("cuba li", 2, evsim.LI(tau_mem=8.0, tau_syn=8.0))
    width = {"pulse_width": pulse_width}
    for name in ("delta", "cuba", "if"):
        net.connect("in", name, rng.normal(0.6, 0.5, (3, 4)), 0.5, **width)
    net.connect("delta", "cuba", rng.normal(0.3, 0.4, (4, 4)), delay, **width)
    net.connect("cuba", "cuba", rng.normal(0, 0.3, (4, 4)), 0.75, **width)
    net.connect("cuba", "li", rng.normal(0, 1, (4, 2)), **width)
    net.connect("if", "cuba li", rng.normal(0, 1, (4, 2)), **width)
    train = evsim.Spikes(rng.uniform(0, 30, 60), rng.integers(0, 3, 60))
    return net, {"in": train}


@pytest.mark.parametrize("delay", [0.25, np.where(np.eye(4) > 0, 0.25, 1.0)])
@pytest.mark.parametrize("pulse_width", [None, 0.5])
def test_a_network_written_and_read_runs_to_the_same_bits(pulse_width, delay, tmp_path):
    net, inputs = everything(pulse_width, delay)
    written = evsim.to_nir(net)
    path = tmp_path / "g.nir"
    nir.write(path, written)
    options = {k: v if isinstance(v, float) else str(v) for k, v in written.metadata.items()}
    assert options.pop("spikes") == ("dirac" if pulse_width is None else "pulse")
    spikes = "dirac" if pulse_width is None else "pulse"
    again = evsim.from_nir(path, spikes=spikes, **options)
    assert sorted(again.populations) == sorted(net.populations)
    for name, population in net.populations.items():
        assert repr(again.populations[name].model) == repr(population.model)
    a, b = (evsim.simulate(x, inputs, 31.0) for x in (net, again))
    for name in net.populations:
        # With two delays, the weights that either matrix lacks are zeros, which round the state.
        error = np.abs(a.spikes[name].times - b.spikes[name].times)
        assert np.ndim(delay) == 0 or error.size == 0 or error.max() < 1e-11, name
        assert np.ndim(delay) or not error.any(), name
        assert np.array_equal(a.spikes[name].units, b.spikes[name].units), name
        t = np.linspace(0, 31, 9)
        assert np.abs(a.voltage(name, 0, t) - b.voltage(name, 0, t)).max() < 1e-13
    assert min(len(a.spikes[name]) for name in ("delta", "cuba", "if", "lone")) > 5


def test_a_bias_goes_into_the_leak():
    net = evsim.Network()
    net.add_population("p", 1, evsim.LIF(tau_mem=10.0, tau_syn=5.0, v_leak=0.25, bias=1.5))
    again = evsim.from_nir(evsim.to_nir(net), spikes="dirac", compare=">=", v_init=0.25)
    assert again.populations["p"].model.v_leak == 1.75
    a, b = (evsim.simulate(x, {}, 50.0).spikes["p"] for x in (net, again))
    assert a.times.tobytes() == b.times.tobytes() and len(a) > 2


@pytest.mark.parametrize(
    "words, build",
    [
        ("population 'p': NIR has no refractory period",
         lambda n: n.add_population("p", 1, evsim.IF(t_ref=1.0))),
        ("'p': NIR has no IF with input='ramp'",
         lambda n: n.add_population("p", 1, evsim.IF(input="ramp"))),
        ("'p': NIR has no AlphaLIF",
         lambda n: n.add_population("p", 1, evsim.AlphaLIF(tau_mem=1.0, tau_syn=1.0))),
        ("'p': NIR has no LIF with several synapse types",
         lambda n: n.add_population("p", 1, evsim.LIF(tau_mem=1.0, tau_syn={"a": 1.0}))),
        ("one kind of compare; populations have",
         lambda n: (n.add_population("p", 1, evsim.IF()),
                    n.add_population("q", 1, evsim.IF(graze=">")))),
        ("projections differ in pulse_width",
         lambda n: (n.add_population("p", 1, evsim.IF()), n.connect("in", "p", [[1.0]]),
                    n.connect("in", "p", [[1.0]], pulse_width=1.0, name="x"))),
        ("'in->p' has 300 distinct delays",
         lambda n: (n.add_population("p", 300, evsim.IF()),
                    n.connect("in", "p", np.ones((1, 300)), np.arange(300.0)[None]))),
    ],
)  # fmt: skip
def test_what_nir_cannot_say_is_named(words, build):
    net = evsim.Network()
    net.add_input("in", 1)
    build(net)
    with pytest.raises(ValueError, match=words):
        evsim.to_nir(net)


def test_complex_numbers_are_refused_not_cut_to_their_real_part():
    one = np.ones(1)
    lif = nir.LIF(tau=one, r=one + 1j, v_leak=0 * one, v_threshold=one, v_reset=0 * one)
    nodes = {
        "input": nir.Input(input_type={"input": np.array([1])}),
        "n": lif,
        "output": nir.Output(output_type={"output": np.array([1])}),
    }
    graph = nir.NIRGraph(nodes=nodes, edges=list(pairwise(nodes)))
    with pytest.raises(ValueError, match="node 'n': r holds complex"):
        evsim.from_nir(graph, spikes="dirac")
