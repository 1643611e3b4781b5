"""Gradients: closed forms, the square-root law, losses, forms of the answer, verdicts."""

import numpy as np
import pytest
import scipy.sparse

import evsim
from evsim import losses
from reference import passage
from reference.finite_difference import check

ONE = {"tau_mem": 10.0, "tau_syn": 5.0, "v_th": 10.0}


def alone(weights, times=(0.0,), until=60.0, model=None, initial=None, **changes):
    """One neuron under these arrivals, each through a synapse of its own."""
    model = evsim.LIF(**(ONE | changes)) if model is None else model
    net = evsim.Network()
    net.add_input("in", len(weights))
    net.add_population("n", 1, model)
    net.connect("in", "n", np.reshape(weights, (-1, 1)))
    inputs = {"in": evsim.Spikes(times, np.arange(len(weights)))}
    return evsim.simulate(net, inputs, until, initial=initial)


def first_only(record):
    c = np.zeros(len(record.spikes["n"]))
    c[0] = 1.0
    return evsim.gradient(record, {"n": c})


@pytest.mark.parametrize(("weight", "v"), [(40.0, 0.0), (33.0, 2.0), (90.0, -5.0)])
def test_equal_time_constants_against_lambert(weight, v):
    start = {"n": {"v": v}}
    record = alone([weight], tau_mem=7.0, tau_syn=7.0, initial=start)
    g = first_only(record)
    by_u, by_j, by_theta, by_tau = passage.derivatives(passage.equal, v, weight, 10.0, 7.0)
    assert g.initial["n"].v[0] == pytest.approx(by_u, rel=1e-12)
    assert g.weight["in->n"][0, 0] == pytest.approx(by_j, rel=1e-12)
    assert g.params["n"].v_th[0] == pytest.approx(by_theta, rel=1e-12)
    both = g.params["n"].tau_mem[0] + g.params["n"].tau_syn[0]
    assert both == pytest.approx(by_tau, rel=1e-12)


@pytest.mark.parametrize(("weight", "v"), [(60.0, 0.0), (45.0, 1.0), (90.0, -5.0)])
def test_two_to_one_against_the_parabola(weight, v):
    g = first_only(alone([weight], initial={"n": {"v": v}}))
    by_u, by_j, by_theta, by_tau = passage.derivatives(passage.double, v, weight, 10.0, 10.0)
    assert g.initial["n"].v[0] == pytest.approx(by_u, rel=1e-12)
    assert g.weight["in->n"][0, 0] == pytest.approx(by_j, rel=1e-12)
    assert g.params["n"].v_th[0] == pytest.approx(by_theta, rel=1e-12)
    # tau_syn moves with tau_mem there, at half its pace
    both = g.params["n"].tau_mem[0] + 0.5 * g.params["n"].tau_syn[0]
    assert both == pytest.approx(by_tau, rel=1e-12)
    assert g.inputs["in"][0] == pytest.approx(1.0, rel=1e-12) or v != 0.0


@pytest.mark.parametrize(
    ("eps", "expected"),
    [(1e-2, -0.1120), (1e-4, -0.12374), (1e-6, -0.124875), (1e-8, -0.124987), (1e-10, -0.124999)],
)
def test_next_to_grazing_the_derivative_grows_as_one_over_the_root(eps, expected):
    """dt/dw sqrt(eps) tends to -0.125 for w = 40 (1 + eps)."""
    record = alone([40.0 * (1.0 + eps)])
    g = first_only(record)
    law = g.weight["in->n"][0, 0] * np.sqrt(eps)
    assert law == pytest.approx(expected, abs=6e-6 if eps < 1e-2 else 6e-5)
    assert g.status == ("regular" if eps >= 1e-4 else "grazing")


#: Hard cases by name: weights, times, changes of `ONE`, and the verdicts that would be right.
HARD = {
    "H4": ([40.0 * (1 + 2.0**-50)], [0.0], {}, ("grazing",)),
    "H5": ([40.0], [0.0], {}, ("grazing",)),
    "H6": ([40.0 * (1 - 2.0**-53)], [0.0], {}, ("creation_boundary",)),
    "H8a": ([2.718281828459045], [0.0], {"tau_mem": 8.0, "tau_syn": 8.0, "v_th": 1.0},
            ("grazing", "creation_boundary")),
    "H8b": ([2.7182818284590455], [0.0], {"tau_mem": 8.0, "tau_syn": 8.0, "v_th": 1.0},
            ("grazing",)),
    "H16": ([200.0], [1.0], {"t_ref": 1.234375}, ("regular",)),
    "H20a": ([80.0, -500.0], [0.0, float.fromhex("0x1.955e690f38dc0p+0")], {}, ("kink",)),
    "H20b": ([80.0, -500.0], [0.0, float.fromhex("0x1.955e690f38dc1p+0")], {}, ("kink",)),
    "plain": ([80.0, -500.0], [0.0, 3.0], {}, ("regular",)),
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_cases_are_judged(name):
    weights, times, changes, verdict = HARD[name]
    record = alone(weights, times, **changes)
    g = evsim.gradient(record, {"n": np.ones(len(record.spikes["n"]))})
    assert g.status in verdict
    c = g.conditioning["n"]
    assert c.slope.shape == c.peak_margin.shape == c.gap.shape == (len(record.spikes["n"]),)
    assert c.silent_margin.shape == (1,)
    if verdict == ("regular",):
        assert (c.slope > 0).all() and (c.peak_margin > 0).all() and (c.gap > 0).all()
        assert c.silent_margin[0] > 0


def test_jumps_take_the_time_of_their_arrival():
    model = evsim.DeltaLIF(tau_mem=10.0)
    record = alone([0.8, 0.9], [1.0, 2.5], model=model)
    assert record.spikes["n"].times.tolist() == [2.5]
    g = evsim.gradient(record, {"n": [1.0]})
    assert g.inputs["in"].tolist() == [0.0, 1.0] and not g.weight["in->n"].any()
    assert g.status == "regular" and np.isinf(g.conditioning["n"].slope[0])
    assert g.conditioning["n"].gap[0] == pytest.approx(1.5)
    together = alone([0.8, 0.9], [2.5, 2.5], model=model)
    assert evsim.gradient(together, {"n": [1.0]}).status == "kink"


def readout(x, until=20.0):
    net = evsim.Network()
    net.add_input("in", 3)
    tau_syn = {"tau_syn": x["tau_syn"]} if "tau_syn" in x else {}
    names = ("tau_mem", "v_leak", "bias")
    net.add_population("o", 2, evsim.LI(**{k: x[k] for k in names}, **tau_syn))
    net.connect("in", "o", x["w"], x["d"])
    inputs = {"in": evsim.Spikes(x["times"], np.tile(np.arange(3), 3))}
    return evsim.simulate(net, inputs, until, initial={"o": {"v": x["v"]}})


READ = {
    losses.Maximum: lambda r: r.maximum("o")[0],
    losses.Final: lambda r: np.array([r.voltage("o", n, r.until) for n in range(2)]),
    losses.Integral: lambda r: r.integral("o"),
}


@pytest.mark.parametrize("synapse", ["exp", "delta"])
@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("seed", [0, 1])
def test_voltages_of_readouts_against_differences(kind, synapse, seed):
    rng = np.random.default_rng(seed)
    x = {
        "w": rng.normal(0.3, 1.0, (3, 2)), "d": rng.uniform(0.1, 1.0, (3, 2)),
        "times": np.sort(rng.uniform(0.5, 15.0, 9)), "v": rng.uniform(-0.2, 0.2, 2),
        "tau_mem": rng.uniform(5, 9, 2), "v_leak": rng.uniform(-0.1, 0.1, 2),
        "bias": rng.uniform(-0.1, 0.1, 2),
    }  # fmt: skip
    if synapse == "exp":
        x["tau_syn"] = rng.uniform(2, 4, 2)

    def pulled(x, c):
        g = evsim.gradient(readout(x), {"o": kind(c)})
        found = vars(g.params["o"]) | {"w": g.weight["in->o"], "d": g.delay["in->o"]}
        found |= {"times": g.inputs["in"], "v": g.initial["o"].v}
        return {key: found[key] for key in x}

    check(lambda x: READ[kind](readout(x)), pulled, x, directions=1, step=1e-3, require=True)


def layer(x, until=30.0):
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("o", 3, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    net.connect("in", "o", x)
    return evsim.simulate(net, {"in": evsim.Spikes([0.0, 1.0, 2.5], [0, 1, 2])}, until)


def test_first_spikes_against_differences():
    x = np.random.default_rng(1).normal(2.5, 0.6, (3, 3))
    loss = losses.FirstSpikes(1, tau=2.0, early=0.3, tau_early=8.0)

    def pulled(x, c):
        return c * evsim.gradient(layer(x), {"o": loss}).weight["in->o"]

    table = check(
        lambda x: loss.value(layer(x), "o"), pulled, x, step=1e-3,
        structure=lambda x: tuple(layer(x).spikes["o"].units.tolist()),
    )  # fmt: skip
    table.require()
    silent = layer(0.1 * x)
    assert len(silent.spikes["o"]) == 0
    assert loss.value(silent, "o") == pytest.approx(np.log(3) + 0.3 * np.expm1(30 / 8.0))
    assert not evsim.gradient(silent, {"o": loss}).weight["in->o"].any()


def test_a_spike_count_says_that_its_derivative_is_zero():
    g = evsim.gradient(layer(np.full((3, 3), 3.0)), {"o": losses.SpikeCount()})
    assert not g.weight["in->o"].any()
    assert g.notes == ["a spike count has derivative zero almost everywhere"]


def test_batches_are_summed():
    records = [layer(np.full((3, 3), w)) for w in (2.5, 2.5)]
    network = records[0].network
    many = evsim.simulate(network, [{"in": evsim.Spikes([t], [0])} for t in (0.0, 1.0)], 30.0)
    cotangents = [{"o": np.ones(len(r.spikes["o"]))} for r in records]
    one = evsim.gradient(records[0], cotangents[0])
    both = evsim.gradient(records, cotangents)
    assert np.array_equal(both.weight["in->o"], 2 * one.weight["in->o"])
    assert np.array_equal(both.params["o"].tau_mem, 2 * one.params["o"].tau_mem)
    assert len(both.inputs) == len(both.initial) == len(both.conditioning) == 2
    assert np.array_equal(both.inputs[1]["in"], one.inputs["in"])
    assert both.status == one.status and both.trust == one.trust
    with pytest.raises(ValueError, match="1 cotangents for 2 records"):
        evsim.gradient(many, [{}])


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "list", "dense", "dense delays"])
def test_gradients_have_the_form_of_what_they_are_by(form):
    rng = np.random.default_rng(0)
    w = rng.normal(2.5, 0.5, (3, 3)) * (rng.random((3, 3)) < 0.7)
    d = rng.uniform(0.5, 1.0, (3, 3))
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("o", 3, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    pre, post = np.nonzero(w)
    shuffled = rng.permutation(pre.size)
    if form == "list":
        pre, post = pre[shuffled], post[shuffled]
        net.connect("in", "o", w[pre, post], d[pre, post], pre_units=pre, post_units=post)
    elif form == "dense":
        net.connect("in", "o", w, 0.5)
    elif form == "dense delays":
        net.connect("in", "o", w, d)
    else:
        net.connect("in", "o", scipy.sparse.coo_array(w).asformat(form), 0.5)
    record = evsim.simulate(net, {"in": evsim.Spikes([0.0, 1.0, 2.5], [0, 1, 2])}, 30.0)
    g = evsim.gradient(record, {"o": np.ones(len(record.spikes["o"]))})
    dense = evsim.Network()
    dense.add_input("in", 3)
    dense.add_population("o", 3, evsim.LIF(tau_mem=10.0, tau_syn=4.0))
    dense.connect("in", "o", w, d if form in ("list", "dense delays") else np.full((3, 3), 0.5))
    same = evsim.simulate(dense, {"in": evsim.Spikes([0.0, 1.0, 2.5], [0, 1, 2])}, 30.0)
    expected = evsim.gradient(same, {"o": np.ones(len(same.spikes["o"]))})
    full, by_delay = expected.weight["in->o"], expected.delay["in->o"]
    found = g.weight["in->o"]
    if form in ("csr", "csc", "coo"):
        assert found.format == form and found.nnz == pre.size
        assert found.toarray() == pytest.approx(full * (w != 0), rel=1e-12)
        assert g.delay["in->o"] == pytest.approx(by_delay[w != 0].sum(), rel=1e-9)
    elif form == "list":
        assert found == pytest.approx(full[pre, post], rel=1e-12)
        assert g.delay["in->o"] == pytest.approx(by_delay[pre, post], rel=1e-12)
    else:
        assert found.shape == (3, 3) and found == pytest.approx(full, rel=1e-12)


def test_parts_of_a_run_add_up():
    record = alone(list(np.linspace(20, 40, 12)), list(np.linspace(0, 40, 12)), t_ref=1.0)
    c = {"n": np.arange(1.0, 1.0 + len(record.spikes["n"]))}
    whole, parts = evsim.gradient(record, c), evsim.gradient(record, c, room=3)
    assert parts.weight["in->n"] == pytest.approx(whole.weight["in->n"], rel=1e-13)
    assert vars(parts.params["n"]).keys() == vars(whole.params["n"]).keys()
    for name, value in vars(whole.params["n"]).items():
        assert vars(parts.params["n"])[name] == pytest.approx(value, rel=1e-13)


def test_within_the_trust_radius_the_spikes_keep_number_and_order():
    rng = np.random.default_rng(0)
    x = rng.normal(2.5, 0.6, (3, 3))
    record = layer(x)
    radius = evsim.gradient(record, {"o": np.ones(len(record.spikes["o"]))}).trust
    assert 0 < radius < 1
    order = record.spikes["o"].units.tolist()
    for _ in range(20):
        moved = x + radius * rng.choice([-1.0, 1.0], x.shape)
        assert layer(moved).spikes["o"].units.tolist() == order
    assert any(
        layer(x + 50 * radius * rng.choice([-1.0, 1.0], x.shape)).spikes["o"].units.tolist()
        != order
        for _ in range(50)
    ), "a radius that nothing reaches says nothing"


def test_spikes_of_one_instant_all_move_with_what_caused_them():
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("o", 1, evsim.DeltaLIF(tau_mem=20.0, reset="subtract"))
    net.connect("in", "o", [[3.5]])
    record = evsim.simulate(net, {"in": evsim.Spikes([1.0], [0])}, 5.0)
    assert record.spikes["o"].times.tolist() == [1.0, 1.0, 1.0]
    assert evsim.gradient(record, {"o": [1.0, 10.0, 100.0]}).inputs["in"].tolist() == [111.0]


def test_bad_cotangents_are_named():
    record = layer(np.full((3, 3), 3.0))
    with pytest.raises(ValueError, match=r"cotangents\['o'\] must have one value per spike"):
        evsim.gradient(record, {"o": [1.0]})
    with pytest.raises(ValueError, match=r"cotangents\['q'\] is none of o"):
        evsim.gradient(record, {"q": [1.0]})
    bad = np.ones(len(record.spikes["o"]))
    bad[1] = np.nan
    with pytest.raises(ValueError, match=r"cotangents\['o'\]\[1\] must be finite"):
        evsim.gradient(record, {"o": bad})
    with pytest.raises(ValueError, match="Maximum is for readouts"):
        evsim.gradient(record, {"o": losses.Maximum(np.ones(3))})
    with pytest.raises(TypeError, match="cotangents must be a dict"):
        evsim.gradient(record, [1.0])


def test_what_fires_at_one_instant_goes_back_in_causal_order():
    """A chain of jumps without delay: each spike has the time of the first arrival."""
    chain = [2, 0, 3, 1]  # not in the order of the neurons
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("n", 4, evsim.DeltaLIF(tau_mem=10.0, t_ref=2.0))
    net.connect("in", "n", [1.5], pre_units=[0], post_units=[chain[0]])
    net.connect("n", "n", [1.5] * 3, pre_units=chain[:-1], post_units=chain[1:])
    record = evsim.simulate(net, {"in": evsim.Spikes([1.0], [0])}, 5.0)
    assert record.spikes["n"].times.tolist() == [1.0] * 4
    g = evsim.gradient(record, {"n": [1.0, 20.0, 300.0, 4000.0]})
    assert g.inputs["in"].tolist() == [4321.0]


@pytest.mark.parametrize("memory", [None, 1000], ids=["at once", "in parts"])
def test_dense_layers_go_back_as_lists_do(memory, monkeypatch):
    """The vectorised pass over a dense layer against the pass neuron by neuron.

    Some arrivals coincide. With little memory most of the run is gone through once more.
    """
    if memory:
        monkeypatch.setattr("evsim.dense_leg.MEMORY", memory)
    rng = np.random.default_rng(0)
    net = evsim.Network()
    net.add_input("in", 20)
    for name, n in (("h", 70), ("o", 5)):
        net.add_population(name, n, evsim.LIF(tau_mem=20e-3, tau_syn=5e-3, bias=0.1))
    net.connect("in", "h", rng.normal(0.2, 0.9, (20, 70)), 1e-3)
    net.connect("h", "o", rng.normal(0.2, 0.8, (70, 5)), 0.5e-3)
    net.connect("in", "o", rng.normal(0.1, 0.4, (20, 5)))
    times = rng.uniform(0, 0.2, 150)
    times[::3] = times[::3].round(3)
    train = evsim.Spikes(times, rng.integers(0, 20, 150))
    record = evsim.simulate(net, {"in": train}, 0.25)
    assert min(map(len, record.spikes.values())) > 5
    c = {name: rng.standard_normal(len(spikes)) for name, spikes in record.spikes.items()}
    fast, late = evsim.gradient(record, c), evsim.gradient(record, c)
    assert late.trust > 0 and late.status  # in another order, which nothing depends on
    for name, one in late.params.items():
        for key, value in vars(one).items():
            assert np.array_equal(value, vars(fast.params[name])[key])
    monkeypatch.setattr("evsim.sample.simple", lambda record, name: False)
    plain = evsim.gradient(record, c)
    for name, expected in plain.weight.items():
        assert fast.weight[name] == pytest.approx(expected, rel=1e-11, abs=1e-14)
        assert fast.delay[name] == pytest.approx(plain.delay[name], rel=1e-10)
    assert fast.inputs["in"] == pytest.approx(plain.inputs["in"], rel=1e-10, abs=1e-12)
    for name in record.spikes:
        for what in ("params", "initial", "conditioning"):
            for key, expected in vars(getattr(plain, what)[name]).items():
                found = vars(getattr(fast, what)[name])[key]
                assert found == pytest.approx(expected, rel=1e-10), (what, key)
    assert fast.status == plain.status and fast.trust == pytest.approx(plain.trust, rel=1e-9)
