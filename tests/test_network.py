"""Building networks: what is kept, and what is refused with which words."""

import numpy as np
import pytest
import scipy.sparse

import evsim
from evsim.network import Network
from evsim.plan import plan


def lif(**more):
    return evsim.LIF(**{"tau_mem": 10.0, "tau_syn": 5.0} | more)


def joined(n_pre=2, n_post=3, **connection):
    net = Network()
    net.add_input("in", n_pre)
    net.add_population("p", n_post, lif())
    net.connect("in", "p", **connection)
    return net.projections[connection.get("name", "in->p")]


def synapses(projection):
    """(source, target, weight, delay) of every synapse, in order."""
    source = np.repeat(np.arange(projection.indptr.size - 1), np.diff(projection.indptr))
    delay = np.broadcast_to(projection.delay, projection.weight.shape)
    rows = zip(source, projection.targets, projection.weight, delay, strict=True)
    return [tuple(float(x) for x in row) for row in rows]


# ------------------------------------------------------------------------------------- names


def test_names_and_sizes():
    net = Network()
    net.add_input("in", np.int64(2))
    net.add_population("p", 3, lif())
    net.connect("in", "p", np.ones((2, 3)))
    net.connect("in", "p", np.ones((2, 3)), name="second")
    assert list(net.projections) == ["in->p", "second"]
    assert (net.size("in"), net.size("p")) == (2, 3)
    assert repr(net) == "Network(in[2], p[3] LIF, in->p, second)"


@pytest.mark.parametrize(
    "error, words, build",
    [
        (ValueError, "the name 'in' is taken", lambda n: n.add_input("in", 1)),
        (ValueError, "the name 'p' is taken", lambda n: n.add_population("p", 1, lif())),
        (TypeError, "non-empty string; got ''", lambda n: n.add_input("", 1)),
        (TypeError, "non-empty string; got 3", lambda n: n.add_input(3, 1)),
        (ValueError, "'x' must be a positive integer; got 0", lambda n: n.add_input("x", 0)),
        (ValueError, "got 2.0", lambda n: n.add_input("x", 2.0)),
        (ValueError, "got True", lambda n: n.add_input("x", True)),
        (TypeError, "model of 'x' must be a neuron", lambda n: n.add_population("x", 1, "LIF")),
        (TypeError, "model of 'x'", lambda n: n.add_population("x", 1, evsim.LIF)),
        (ValueError, "pre='nobody' is not one of in, p", lambda n: n.connect("nobody", "p", 1)),
        (ValueError, "post='in' is not one of p", lambda n: n.connect("in", "in", 1)),
        (ValueError, "projection 'in->p' exists", lambda n: n.connect("in", "p", [[1.0]])),
    ],
)
def test_bad_parts_are_refused(error, words, build):
    net = Network()
    net.add_input("in", 1)
    net.add_population("p", 1, lif())
    net.connect("in", "p", [[1.0]])
    with pytest.raises(error, match=words):
        build(net)
    assert list(net.inputs) == ["in"] and list(net.populations) == ["p"]


# -------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "error, words, model, values",
    [
        (ValueError, "tau_mem must be positive and finite; got 0", "LIF", {"tau_mem": 0}),
        (ValueError, r"tau_mem\[1\] must be positive .* got -2", "LIF", {"tau_mem": [1, -2]}),
        (ValueError, "tau_syn must be positive", "LIF", {"tau_syn": -1}),
        (ValueError, r"v_th\[2\] must be finite; got nan", "LIF", {"v_th": [1, 1, np.nan]}),
        (ValueError, "v_leak must be finite; got inf", "LIF", {"v_leak": np.inf}),
        (ValueError, "t_ref must be non-negative", "LIF", {"t_ref": -1e-9}),
        (ValueError, r"bias must be a scalar or have shape \(n,\); got \(1, 2\)", "LIF",
         {"bias": [[1, 2]]}),
        (TypeError, "bias must be a number or one per neuron; got 'much'", "LIF", {"bias": "much"}),
        (TypeError, "bias must be a number", "LIF", {"bias": "1.5"}),
        (TypeError, "tau_mem must be a number", "LIF", {"tau_mem": None}),
        (TypeError, "v_th must be a number", "LIF", {"v_th": [[1], [1, 2]]}),
        (TypeError, "v_th must be a number", "LIF", {"v_th": 1j}),
        (ValueError, "reset must be one of 'value', 'subtract'; got 'hard'", "LIF",
         {"reset": "hard"}),
        (ValueError, "graze must be one of '>=', '>'; got '=='", "LIF", {"graze": "=="}),
        (ValueError, "refractory must be one of 'clamp'", "DeltaLIF", {"refractory": "none"}),
        (ValueError, "input must be one of .*'ramp'; got 'step'", "IF", {"input": "step"}),
        (ValueError, "tau_syn must be positive", "LI", {"tau_syn": 0.0}),
        (TypeError, "tau_syn", "DeltaLIF", {"tau_syn": 1.0}),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(error, words, model, values):
    needed = {"LIF": ("tau_mem", "tau_syn"), "DeltaLIF": ("tau_mem",), "LI": ("tau_mem",), "IF": ()}
    with pytest.raises(error, match=words):
        getattr(evsim, model)(**{name: 1.0 for name in needed[model]} | values)


def test_models_are_frozen_and_keep_copies():
    taus = np.array([1.0, 2.0])
    model = lif(tau_mem=taus)
    taus[0] = 5.0
    assert model.tau_mem.tolist() == [1.0, 2.0] and not model.tau_mem.flags.writeable
    with pytest.raises(AttributeError):
        model.v_th = 2.0
    with pytest.raises(TypeError):
        evsim.LIF(10.0, 5.0)  # keywords only
    assert evsim.LI(tau_mem=1.0).tau_syn is None


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "v_th", "v_reset", "t_ref", "bias"])
def test_parameters_have_one_value_per_neuron(name):
    net = Network()
    with pytest.raises(ValueError, match=f"{name} of population 'p' has 2 values for 3 neurons"):
        net.add_population("p", 3, lif(**{name: [1.0, 2.0]}))
    with pytest.raises(ValueError, match="1 values for 3"):
        net.add_population("p", 3, lif(**{name: [1.0]}))
    net.add_population("p", 2, lif(**{name: [1.0, 2.0]}))


# ----------------------------------------------------------------------------------- weights


def test_dense_weights_are_kept_as_they_are():
    w = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    projection = joined(weight=w, delay=0.5)
    w[0, 0] = 9.0
    assert projection.dense and projection.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert projection.delay == 0.5 and not projection.weight.flags.writeable
    fortran = joined(weight=np.asfortranarray(projection.weight))
    assert fortran.weight.flags.c_contiguous and (fortran.weight == projection.weight).all()


def test_a_dense_delay_makes_every_entry_a_synapse():
    delay = np.arange(6.0).reshape(2, 3)
    projection = joined(weight=[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], delay=delay)
    assert not projection.dense
    expected = [(s, t, 3.0 * s + t, 3.0 * s + t) for s in (0.0, 1.0) for t in (0.0, 1.0, 2.0)]
    assert synapses(projection) == expected


def test_stored_zeros_and_duplicates_of_a_sparse_matrix_are_synapses():
    w = scipy.sparse.coo_array(([1.0, 0.0, 2.0, 3.0], ([1, 0, 1, 1], [2, 1, 0, 2])), shape=(2, 3))
    expected = [(0, 1, 0, 0), (1, 2, 1, 0), (1, 0, 2, 0), (1, 2, 3, 0)]
    assert synapses(joined(weight=w)) == expected
    csr = scipy.sparse.csr_array(
        (np.array([0.0, 7.0]), np.array([1, 1]), np.array([0, 2, 2])), shape=(2, 3)
    )
    assert synapses(joined(weight=csr)) == [(0, 1, 0, 0), (0, 1, 7, 0)]


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil"])
def test_every_sparse_format_gives_the_same_synapses(kind):
    dense = np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])
    projection = joined(weight=scipy.sparse.coo_array(dense).asformat(kind), delay=0.25)
    found = sorted(synapses(projection))
    assert found == [(0, 1, 1, 0.25), (1, 0, 2, 0.25), (1, 2, 3, 0.25)]


def test_a_sparse_delay_needs_the_pattern_of_the_weights():
    w = scipy.sparse.csr_array(np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]]))
    d = w.copy()
    d.data = np.array([0.1, 0.2, 0.3])
    expected = [(0, 1, 1, 0.1), (0, 2, 2, 0.2), (1, 0, 3, 0.3)]
    assert synapses(joined(weight=w, delay=d)) == expected
    # The same pattern written in another order.
    backwards = scipy.sparse.coo_array(([0.3, 0.2, 0.1], ([1, 0, 0], [0, 2, 1])), shape=(2, 3))
    assert synapses(joined(weight=w, delay=backwards)) == expected
    for other in (scipy.sparse.csr_array(np.ones((2, 3))), d[:, :2], d[[1, 0]]):
        with pytest.raises(ValueError, match="a sparse delay must have the very pattern"):
            joined(weight=w, delay=other)
    d.data = np.array([0.1, -1.0, 0.3])
    with pytest.raises(ValueError, match=r"delay\[1\] must be finite and non-negative; got -1"):
        joined(weight=w, delay=d)


def test_lists_of_units():
    projection = joined(
        weight=[1.0, 2.0, 3.0], delay=[0.1, 0.2, 0.3], pre_units=[1, 0, 1], post_units=[0, 2, 0]
    )
    assert synapses(projection) == [(0, 2, 2, 0.2), (1, 0, 1, 0.1), (1, 0, 3, 0.3)]
    one = joined(weight=1.5, pre_units=[0, 1], post_units=[2, 2], delay=0.5)
    assert synapses(one) == [(0, 2, 1.5, 0.5), (1, 2, 1.5, 0.5)]
    assert synapses(joined(weight=[], pre_units=[], post_units=[])) == []


@pytest.mark.parametrize(
    "error, words, connection",
    [
        (ValueError, r"\(2, 3\); got \(3, 2\); it fits transposed", {"weight": np.ones((3, 2))}),
        (ValueError, r"it fits transposed", {"weight": scipy.sparse.csr_array(np.ones((3, 2)))}),
        (ValueError, r"shape \(2, 3\); got \(3, 3\)$", {"weight": np.ones((3, 3))}),
        (ValueError, r"got \(\)", {"weight": 1.0}),
        (ValueError, r"weight\[1, 2\] must be finite; got nan",
         {"weight": [[0, 0, 0], [0, 0, np.nan]]}),
        (ValueError, "delay must be finite and non-negative; got -1",
         {"weight": np.ones((2, 3)), "delay": -1}),
        (ValueError, r"delay\[0, 1\] .*; got inf",
         {"weight": np.ones((2, 3)), "delay": [[0, np.inf, 0], [0, 0, 0]]}),
        (ValueError, r"weight's shape; got \(3,\)",
         {"weight": np.ones((2, 3)), "delay": [1, 2, 3]}),
        (ValueError, "given together", {"weight": [1.0], "pre_units": [0]}),
        (ValueError, r"post_units\[1\] must lie in 0..2; got 3",
         {"weight": [1.0, 1.0], "pre_units": [0, 1], "post_units": [0, 3]}),
        (ValueError, r"pre_units\[0\] must lie in 0..1; got -1",
         {"weight": [1.0], "pre_units": [-1], "post_units": [0]}),
        (TypeError, "pre_units must be a one-dimensional array of integers",
         {"weight": [1.0], "pre_units": [0.5], "post_units": [0]}),
        (ValueError, "differ in length: 2, 1",
         {"weight": [1.0, 1.0], "pre_units": [0, 1], "post_units": [0]}),
        (ValueError, r"weight must be a number or have one value per synapse, \(2,\)",
         {"weight": [1.0, 1.0, 1.0], "pre_units": [0, 1], "post_units": [0, 1]}),
        (ValueError, "delay must be a number or have one value per synapse",
         {"weight": 1.0, "delay": [0.1], "pre_units": [0, 1], "post_units": [0, 1]}),
        (ValueError, r"weight\[1\] must be finite",
         {"weight": [1.0, np.inf], "pre_units": [0, 1], "post_units": [0, 1]}),
        (ValueError, "pulse_width must be positive; got 0",
         {"weight": np.ones((2, 3)), "pulse_width": 0}),
        (ValueError, "pulse_width must be positive; got nan",
         {"weight": np.ones((2, 3)), "pulse_width": np.nan}),
    ],
)  # fmt: skip
def test_bad_connections_are_refused(error, words, connection):
    with pytest.raises(error, match=words):
        joined(**connection)


# -------------------------------------------------------------------------------------- order


def test_populations_are_ordered_by_who_hears_whom():
    net = Network()
    for name in "cab":
        net.add_population(name, 1, lif())
    net.connect("a", "b", [[1.0]])
    net.connect("b", "c", [[1.0]])
    assert net.stages() == [["a"], ["b"], ["c"]]
    assert plan(net) == [(["a"], "sweep"), (["b"], "sweep"), (["c"], "sweep")]


@pytest.mark.parametrize(
    ("edges", "groups"),
    [
        (["ab", "ba", "bz"], [["a", "b"], ["z"]]),
        (["za", "ab", "ba"], [["z"], ["a", "b"]]),
        (["aa", "ab"], [["a"], ["b"], ["z"]]),
        (["ab", "bz", "za"], [["a", "b", "z"]]),
    ],
)
def test_cycles_are_groups(edges, groups):
    net = Network()
    for name in "abz":
        net.add_population(name, 1, lif())
    for pre, post in edges:
        net.connect(pre, post, [[1.0]], delay=1.0)
    assert net.stages() == groups
    on_cycles = {name for names, path in plan(net) if path == "window" for name in names}
    assert on_cycles == ({"a"} if "aa" in edges else {n for g in groups if len(g) > 1 for n in g})
    with pytest.raises(ValueError, match="path='sweep' wants a network without cycles"):
        evsim.simulate(net, {}, 1.0, path="sweep")


def test_what_a_path_does_not_allow_is_refused():
    net = Network()
    net.add_population("a", 1, lif())
    net.connect("a", "a", [[1.0]])
    assert plan(net) == [(["a"], "queue")]
    with pytest.raises(ValueError, match=r"path='window' wants a delay .*'a->a' has one without"):
        plan(net, "window")
    with pytest.raises(ValueError, match=r"path must be one of 'auto', .*; got 'fast'"):
        plan(net, "fast")


def test_a_copy_does_not_see_later_changes():
    net = Network()
    net.add_input("in", 1)
    copy = net.copy()
    net.add_input("more", 1)
    net.add_population("p", 1, lif())
    assert list(copy.inputs) == ["in"] and not copy.populations
    projection = joined(weight=scipy.sparse.csr_array(np.ones((2, 3))))
    with pytest.raises(ValueError, match="read-only"):
        projection.weight[0] = 5.0
