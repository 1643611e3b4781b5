"""NIR graphs: every node against a network built by hand, to the bit, and what is refused."""

import csv
import warnings
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import evsim
from evsim.testing import graphs
from evsim.testing.judge import same_bits
from evsim.testing.subject import trains_of
from reference.lif import Neuron
from reference.lif import simulate as oracle

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "nir-paper"
RNG = np.random.default_rng(11)
W = RNG.normal(0.8, 0.6, (4, 3))  # NIR: (out, in)
B = RNG.normal(0.1, 0.1, 4)
TRAIN = evsim.Spikes(np.sort(RNG.uniform(0, 30, 40)), RNG.integers(0, 3, 40))
FOUR = np.ones(4)


def graph(nodes, edges, n=3, out=4):
    """A graph between an input and an output."""
    ends = {"input": nir.Input({"input": np.array([n])}), "output": nir.Output(np.array([out]))}
    return nir.NIRGraph(nodes=nodes | ends, edges=edges, type_check=False)


def layer(neuron, linear=None):
    nodes = {"w": nir.Affine(W, B) if linear is None else linear, "p": neuron}
    return graph(nodes, [("input", "w"), ("w", "p"), ("p", "output")])


def by_hand(model, weight, n=3, initial=None, **connection):
    net = evsim.Network()
    net.add_input("input", n)
    net.add_population("p", weight.shape[1], model, initial=initial)
    net.connect("input", "p", weight, **connection)
    return net


def same(a, b, name="p", train=TRAIN, until=31.0, least=5):
    """Both networks run to the same bits, voltages included."""
    x, y = (evsim.simulate(net, {"input": train}, until) for net in (a, b))
    s, t = x.spikes[name], y.spikes[name]
    assert s.times.tobytes() == t.times.tobytes() and s.units.tobytes() == t.units.tobytes()
    when = np.linspace(0, until, 13)
    for unit in range(a.size(name)):
        assert x.voltage(name, unit, when).tobytes() == y.voltage(name, unit, when).tobytes()
    assert len(s) >= least
    return x


R = np.array([2.0, 1.5, 1.0, 0.5])
TAU = np.array([5.0, 8.0, 10.0, 12.0])
SYN = np.array([4.0, 8.0, 3.0, 20.0])
LEAK = np.array([0.0, 0.1, -0.2, 0.05])
TH = np.array([0.3, 0.4, 0.5, 0.2])
LOW = np.array([0.0, -0.1, 0.1, -0.3])


def nodes():
    return {
        "LIF": nir.LIF(tau=TAU, r=R, v_leak=LEAK, v_threshold=TH, v_reset=LOW),
        "CubaLIF": nir.CubaLIF(tau_mem=TAU, tau_syn=SYN, r=R, v_leak=LEAK, v_threshold=TH,
                               v_reset=LOW, w_in=R[::-1].copy()),
        "IF": nir.IF(r=R, v_threshold=10 * TH, v_reset=LOW),
        "LI": nir.LI(tau=TAU, r=R, v_leak=LEAK),
    }  # fmt: skip


def models(reset, graze):
    """What the nodes mean, by equation (1) of `evsim.nir`; gains of Dirac and of pulse."""
    fires = {"v_reset": LOW, "reset": reset, "graze": graze}
    w_in = R[::-1]
    level = w_in * (R * B)
    return {
        "LIF": (evsim.DeltaLIF(tau_mem=TAU, v_leak=LEAK, v_th=TH, bias=R * B, **fires),
                R / TAU, R, {}),
        "CubaLIF": (evsim.LIF(tau_mem=TAU, tau_syn=SYN, v_leak=LEAK, v_th=TH, bias=level, **fires),
                    R * w_in / SYN, R * w_in, {"i": -level}),
        "IF": (evsim.IF(v_th=10 * TH, bias=R * B, **fires), R, R, {}),
        "LI": (evsim.LI(tau_mem=TAU, v_leak=LEAK, bias=R * B), R / TAU, R, {}),
    }  # fmt: skip


@pytest.mark.parametrize("reset, compare", [("value", ">"), ("subtract", ">=")])
@pytest.mark.parametrize("kind", ["LIF", "CubaLIF", "IF", "LI"])
def test_dirac_spikes_jump_by_what_the_equations_say(kind, reset, compare):
    net = evsim.from_nir(layer(nodes()[kind]), spikes="dirac", reset=reset, compare=compare)
    model, gain, _, initial = models(reset, compare)[kind]
    hand = by_hand(model, np.ascontiguousarray((gain[:, None] * W).T), initial=initial)
    same(net, hand, least=0 if kind == "LI" else 5)
    assert repr(net.populations["p"].model) == repr(model)


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF", "IF", "LI"])
def test_pulses_are_currents_of_that_height(kind):
    net = evsim.from_nir(layer(nodes()[kind]), spikes="pulse", pulse_width=0.5)
    model, _, height, initial = models("value", ">")[kind]
    weight = np.ascontiguousarray((height[:, None] * W).T)
    hand = by_hand(model, weight, initial=initial, pulse_width=0.5)
    same(net, hand, least=0 if kind == "LI" else 1)


def test_a_bias_passes_the_synapse_of_a_cubalif():
    """tau_syn I' = -I + w_in b from I = 0: the voltage is the step response of two low passes."""
    node = nir.CubaLIF(tau_mem=FOUR * 10, tau_syn=FOUR * 5, r=FOUR, v_leak=FOUR * 0,
                       v_threshold=FOUR * 99)  # fmt: skip
    net = evsim.from_nir(layer(node), spikes="dirac")
    record = evsim.simulate(net, {}, 40.0)
    t = np.linspace(0, 40, 9)
    for unit in range(4):
        step = B[unit] * (1 - 2 * np.exp(-t / 10) + np.exp(-t / 5))
        assert np.abs(record.voltage("p", unit, t) - step).max() <= 64 * 2.0**-52 * abs(B[unit])


def test_what_is_not_finite_is_refused_without_a_warning():
    values = dict.fromkeys(("r", "v_threshold"), FOUR) | {"v_leak": 0 * FOUR, "v_reset": 0 * FOUR}
    node = nir.CubaLIF(tau_mem=FOUR * 10, tau_syn=FOUR * 5, w_in=FOUR * np.inf, **values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="must be finite"):
            evsim.from_nir(layer(node, nir.Linear(W)), spikes="dirac")


def test_equal_values_become_scalars_and_shapes_are_flat():
    two = np.ones((2, 2))
    node = nir.LIF(tau=two * 10, r=two, v_leak=two * 0, v_threshold=two)
    net = evsim.from_nir(layer(node), spikes="dirac")
    model = net.populations["p"].model
    assert net.size("p") == 4 and (model.tau_mem, model.v_th, model.v_reset) == (10.0, 1.0, 0.0)
    assert model.reset == "value" and model.graze == ">"


# -------------------------------------------------------------------------------------- graphs


def lif(n=4, **more):
    values = {"tau": 10.0, "r": 10.0, "v_leak": 0.0, "v_threshold": 0.7} | more
    return nir.LIF(**{k: np.full(n, v) for k, v in values.items()})


MODEL = evsim.DeltaLIF(tau_mem=10.0, v_th=0.7, graze=">")


def test_chains_of_linear_nodes_are_one_projection():
    second, more = RNG.normal(0.5, 0.5, (4, 4)), RNG.normal(0, 0.1, 4)
    parts = {
        "flat": nir.Flatten({"input": np.array([3])}, 0),
        "a": nir.Affine(W, B),
        "b": nir.Affine(second, more),
        "c": nir.Linear(second),
        "p": lif(),
    }
    chain = ["input", "flat", "a", "b", "c", "p", "output"]
    net = evsim.from_nir(graph(parts, list(pairwise(chain))), spikes="dirac")
    weight, bias = second @ (second @ W), second @ (second @ B + more)
    model = evsim.DeltaLIF(tau_mem=10.0, v_th=0.7, graze=">", bias=10.0 * bias)
    same(net, by_hand(model, np.ascontiguousarray(weight.T)), least=1)
    assert list(net.projections) == ["input->p"]


def test_several_edges_into_one_node_are_summed():
    other = RNG.normal(0.5, 0.5, (4, 3))
    parts = {"a": nir.Affine(W, B), "b": nir.Affine(other, 2 * B), "p": lif()}
    edges = [("input", "a"), ("input", "b"), ("a", "p"), ("b", "p"), ("p", "output")]
    net = evsim.from_nir(graph(parts, edges), spikes="dirac")
    assert set(net.projections) == {"input->p", "input->p'"}
    model = evsim.DeltaLIF(tau_mem=10.0, v_th=0.7, graze=">", bias=10.0 * (B + 2 * B))
    hand = by_hand(model, W.T.copy())
    hand.connect("input", "p", other.T.copy(), name="more")
    weights = sorted(p.weight.tobytes() for p in net.projections.values())
    assert weights == sorted(p.weight.tobytes() for p in hand.projections.values())
    assert np.array_equal(net.populations["p"].model.bias, model.bias)


def test_neurons_may_be_joined_directly():
    parts = {"a": nir.Linear(W), "p": lif(), "q": lif(r=np.array([20.0, 0.0, 10.0, 10.0]))}
    edges = [("input", "a"), ("a", "p"), ("p", "q"), ("q", "output")]
    net = evsim.from_nir(graph(parts, edges), spikes="dirac")
    record = evsim.simulate(net, {"input": TRAIN}, 31.0)
    p, q = record.spikes["p"], record.spikes["q"]
    assert (q.times[q.units == 0] == p.times[p.units == 0]).all() and len(q) > 0
    assert not (q.units == 1).any()


def test_the_voltage_starts_where_it_is_told():
    node = lif(v_leak=0.1, v_reset=-0.3)
    for v_init, expected in (("v_leak", 0.1), ("v_reset", -0.3), (0.25, 0.25), (0, 0.0)):
        net = evsim.from_nir(layer(node), spikes="dirac", v_init=v_init)
        assert evsim.simulate(net, {}, 1.0).voltage("p", 0, 0.0) == pytest.approx(expected, 1e-15)


def recurrent():
    parts = {"w": nir.Affine(W, B), "p": lif(), "back": nir.Affine(np.eye(4), B), "q": lif()}
    edges = [("input", "w"), ("w", "p"), ("p", "back"), ("back", "p"), ("p", "q"), ("q", "output")]
    return parts, edges


def test_a_cycle_needs_a_delay():
    parts, edges = recurrent()
    with pytest.raises(ValueError, match="edge 'p' -> 'p' lies on a cycle: give recurrent_delay"):
        evsim.from_nir(graph(parts, edges), spikes="dirac")
    net = evsim.from_nir(graph(parts, edges), spikes="dirac", recurrent_delay=0.5)
    assert {name: p.delay for name, p in net.projections.items()} == {
        "input->p": 0.0, "p->p": 0.5, "p->q": 0.0,
    }  # fmt: skip
    record = evsim.simulate(net, {"input": TRAIN}, 1.0)
    assert list(record.spikes) == ["p", "q"]
    wide = [*edges, ("q", "back")]
    net = evsim.from_nir(graph(parts, wide), spikes="dirac", recurrent_delay=0.5)
    delays = {name: p.delay for name, p in net.projections.items()}
    assert delays == {"input->p": 0.0, "p->p": 0.5, "p->q": 0.5, "q->p": 0.5}


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "words, options",
    [
        ('spikes must be "dirac" or "pulse"; got \'soft\'', {"spikes": "soft"}),
        ("pulse_width is wanted with", {"spikes": "pulse"}),
        ("pulse_width is wanted with", {"spikes": "dirac", "pulse_width": 1.0}),
        ("pulse_width must be positive", {"spikes": "pulse", "pulse_width": -1.0}),
        ('reset must be "value" or "subtract"; got \'hard\'', {"spikes": "dirac", "reset": "hard"}),
        ('compare must be ">" or ">="; got \'<\'', {"spikes": "dirac", "compare": "<"}),
        ('v_init must be "v_leak", "v_reset" or a number', {"spikes": "dirac", "v_init": "zero"}),
    ],
)
def test_bad_options_are_refused(words, options):
    with pytest.raises(ValueError, match=words):
        evsim.from_nir(layer(lif()), **options)


def test_what_a_spike_is_must_be_said():
    with pytest.raises(TypeError, match="spikes"):
        evsim.from_nir(layer(lif()))


@pytest.mark.parametrize(
    "words, extra, edges",
    [
        ("node 'x' is a Threshold; evsim can represent", {"x": nir.Threshold(FOUR)}, []),
        ("names a node that does not exist: 'nobody'", {}, [("nobody", "p")]),
        ("'x' .LI. feeds another node", {"x": nir.LI(FOUR, FOUR, FOUR)}, [("x", "p")]),
        ("'output' .Output. has an outgoing edge", {}, [("output", "p")]),
        ("form a cycle without a neuron", {"x": nir.Linear(np.eye(4)), "y": nir.Linear(np.eye(4))},
         [("x", "y"), ("y", "x"), ("x", "p")]),
        ("node 'x': weight has shape .4, 5. for 3", {"x": nir.Linear(np.ones((4, 5)))},
         [("input", "x"), ("x", "p")]),
        ("edges into node 'p' carry 4 and 3 values", {}, [("input", "p")]),
        ("node 'x' has 4 neurons but receives 3", {"x": lif()}, [("input", "x")]),
    ],
)  # fmt: skip
def test_what_cannot_be_represented_is_named(words, extra, edges):
    parts = {"w": nir.Affine(W, B), "p": lif()} | extra
    whole = [("input", "w"), ("w", "p"), ("p", "output"), *edges]
    # The graph's edges are a set, so that either size may come first.
    either = words.replace("4 and 3", "(4 and 3|3 and 4)")
    with pytest.raises(ValueError, match=either):
        evsim.from_nir(graph(parts, whole), spikes="dirac")


def test_broken_files_are_named(tmp_path):
    path = tmp_path / "broken.nir"
    for content in (b"", b"not a graph", b"\x89HDF\r\n\x1a\n" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.nir is not a NIR graph"):
            evsim.from_nir(path, spikes="dirac")
    with pytest.raises(FileNotFoundError):
        evsim.from_nir(tmp_path / "absent.nir", spikes="dirac")


@pytest.mark.parametrize("end", ["/node", "/", "soft", "external"])
def test_a_file_with_links_is_refused_before_they_are_followed(tmp_path, end):
    path = tmp_path / "linked.nir"
    nir.write(path, layer(lif()))
    with h5py.File(path, "r+") as file:
        links = {"soft": h5py.SoftLink("/node"), "external": h5py.ExternalLink("x.nir", "/node")}
        file["node/nodes/again"] = links.get(end) or file[end]
    words = "is a link" if end in links else f"{end.strip('/') or '/'!r} is there by another name"
    with pytest.raises(ValueError, match=f"not a NIR graph: .*{words}"):
        evsim.from_nir(path, spikes="dirac")


def test_a_file_says_what_the_graph_says(tmp_path):
    path = tmp_path / "g.nir"
    nir.write(path, layer(lif()))
    for where in (path, str(path)):
        same(evsim.from_nir(where, spikes="dirac"),
             evsim.from_nir(layer(lif()), spikes="dirac"), least=1)  # fmt: skip


# ------------------------------------------------------------------------------------ real files

real = pytest.mark.skipif(not DATA.exists(), reason=f"{DATA.name} does not lie beside the checkout")


@pytest.mark.data
@real
def test_a_published_event_based_solution_agrees():
    """Input pulses of one step; voltages are those at the ends of the steps."""
    with (DATA / "lif_exact.csv").open() as file:
        rows = np.array([[float(x) for x in row] for row in csv.reader(file)])
    step, steps = Fraction(1, 10000), np.flatnonzero(rows[:, 0])
    train = evsim.Spikes.on_grid(steps, np.zeros(steps.size, int), step)
    net = evsim.from_nir(DATA / "lif_norse.nir", spikes="pulse", pulse_width=1e-4, reset="subtract")
    spikes = evsim.simulate(net, {"input": train}, 0.1).spikes["1"]
    published = np.flatnonzero(rows[:, 2])
    assert (spikes.to_raster(1, 1000, step).ravel()[published] == 1).all()
    assert len(spikes) == published.size == 4
    # The file stores float32 numbers; the same neuron in float64, as the solution had it.
    model = evsim.DeltaLIF(tau_mem=2.5e-3, v_th=0.1, reset="subtract")
    hand = by_hand(model, np.ones((1, 1)), n=1, pulse_width=1e-4)
    record = evsim.simulate(hand, {"input": train}, 0.1)
    v = record.voltage("p", 0, np.arange(1, 1001) / 10000)
    # What the file shows of its own accuracy: crossings to 1e-11 s, where slopes are 1/tau.
    assert np.abs(v - rows[:, 1]).max() <= 1e-11 / 2.5e-3


@pytest.mark.data
@real
def test_real_networks_are_read_or_refused_by_name():
    net = evsim.from_nir(DATA / "cnn_sinabs.nir", spikes="dirac")
    sizes = {name: net.size(name) for name in (*net.inputs, *net.populations)}
    assert sizes == {"input": 2312, "1": 4096, "3": 4096, "6": 512, "10": 256, "12": 10}
    # One spike at the middle of the image reaches what its kernel covers, in every channel.
    first = nir.read(DATA / "cnn_sinabs.nir").nodes["0"]
    pixel = 17 * 34 + 17
    weights = net.projections["input->1"]
    row = slice(weights.indptr[pixel], weights.indptr[pixel + 1])
    reached = np.zeros((16, 16, 16))
    reached.ravel()[weights.targets[row]] = weights.weight[row]
    for y, x in np.argwhere(reached[0]):
        i, j = 17 + 1 - 2 * y, 17 + 1 - 2 * x  # padding 1, stride 2
        assert np.array_equal(reached[:, y, x], first.weight[:, 0, i, j])
    assert (reached[0] != 0).sum() == 9
    for name in ("braille_noDelay_bias_zero.nir", "braille_noDelay_noBias_subtract.nir"):
        with pytest.raises(ValueError, match="recurrent_delay"):
            evsim.from_nir(DATA / name, spikes="dirac")
        net = evsim.from_nir(DATA / name, spikes="dirac", recurrent_delay=1e-3)
        assert net.size("input") == 12 and net.projections["lif1.lif->lif1.lif"].delay == 1e-3


@pytest.mark.parametrize("kind", ["dirac", "pulse"])
def test_one_neuron_of_a_graph_is_the_oracles(kind):
    """R = 2, tau = 10, weight 4: a jump of 0.8, or a current of 8 for 0.25."""
    node = lif(n=1, r=2.0)
    parts = {"w": nir.Linear(np.array([[4.0]])), "p": node}
    width = {"pulse_width": 0.25} if kind == "pulse" else {}
    net = evsim.from_nir(
        graph(parts, [("input", "w"), ("w", "p"), ("p", "output")], 1, 1), spikes=kind, **width
    )
    times = np.arange(1.0, 20.0, 1.5)
    record = evsim.simulate(net, {"input": evsim.Spikes(times, np.zeros(13, int))}, 30.0)
    common = {"model": "delta", "tau_mem": 10.0, "v_th": 0.7, "graze": ">"}
    if kind == "dirac":
        truth = oracle(Neuron(**common), [(t, 2.0 * 4.0 / 10.0) for t in times], 30.0)
    else:
        steps = [(s, x) for t in times for s, x in ((t, 8.0), (t + 0.25, 0.0))]
        truth = oracle(Neuron(**common, current=tuple(steps)), [], 30.0)
    spikes = record.spikes["p"]
    assert len(spikes) == len(truth.spikes) > 1
    for hi, s in zip(spikes.times, truth.spikes, strict=True):
        assert abs(hi - s.hi) <= 2.5 * s.bound + 2.0**-52 * hi


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["lif", "delta", "if"]).flatmap(graphs) | graphs("lif", recurrent=True))
def test_any_graph_runs_as_what_it_says(given):
    """Grazes, ties, bursts, equal time constants, cycles; read from a graph, and written again."""
    network, inputs, until = given.case.problem()
    base = trains_of(evsim.simulate(network, inputs, until), given.case)
    read = evsim.from_nir(given.graph, **given.options)
    again = evsim.from_nir(evsim.to_nir(read), **given.options)
    for words, other in (("the graph", read), ("the graph, written again", again)):
        found = trains_of(evsim.simulate(other, inputs, until), given.case)
        same_bits(base, found, ("the network", words))
