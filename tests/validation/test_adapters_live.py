"""Every model against the live framework, bit for bit, and what a recording holds."""

from dataclasses import replace

import numpy as np
import pytest

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch", reason="torch is not installed")

import validation  # noqa: E402
from validation import adapters, evtrace  # noqa: E402
from validation.twin import run  # noqa: E402

torch.set_num_threads(1)
STEPS, SAMPLES, N = 200, 4, 16


def need(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


def inputs(dtype=torch.float32, *, scale=1.0, grid=None, seed=1):
    """Seeded currents of both signs; on a grid of 1/`grid` thresholds are hit exactly."""
    x = 0.3 + scale * np.random.default_rng(seed).normal(size=(STEPS, SAMPLES, N))
    x = x if grid is None else np.round(x * grid) / grid
    return torch.as_tensor(x).to(dtype)


def twin_of(recording, name, **change):
    """The twin of a recorded layer, from nothing but the recording."""
    layer = recording.layer(name)
    model = adapters.model(layer.entry["model"])
    semantics = replace(model.semantics.updated(layer.entry), **change)
    initial = {k: layer.get(f"initial_state.{k}") for k in ("v", "i")}
    return run(
        model,
        layer.params,
        semantics,
        layer.get("input_current"),
        dt=recording.manifest["dt"],
        initial={k: v for k, v in initial.items() if v is not None},
        dtype=layer.get("membrane").dtype,
    )


def assert_identical(recording):
    """Spikes and membrane of every layer equal the twin's, to the bit."""
    for name in recording.layers():
        layer, twin = recording.layer(name), twin_of(recording, name)
        flat = (*layer.get("membrane").shape[:2], -1)
        np.testing.assert_array_equal(layer.spikes(), twin.spikes)
        np.testing.assert_array_equal(layer.get("membrane").reshape(flat), twin.membrane)
        if layer.get("synaptic_current") is not None:
            current = layer.get("synaptic_current").reshape(flat)
            np.testing.assert_array_equal(current, twin.synaptic_current)


def compare(module, x, fires=True, **keywords):
    recording = validation.record(module, x, **keywords)
    assert_identical(recording)
    name = recording.layers()[0]
    assert recording.layer(name).spikes().any() == fires
    return recording


#: What is fed: ordinary, hitting thresholds exactly, large, and strongly negative.
FEEDS = {
    "ordinary": {},
    "on the threshold": {"grid": 4},
    "large": {"scale": 1e4},
    "float64": {"dtype": torch.float64},
}
feeds = pytest.mark.parametrize("feed", FEEDS)


def spread(low, high, dtype=torch.float32):
    """One value per neuron."""
    return torch.linspace(low, high, N, dtype=dtype)


# ---------------------------------------------------------------------- snnTorch


@feeds
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic"])
def test_snntorch(kind, reset, delay, feed):
    snn = need("snntorch")
    arguments = {"alpha": 0.75} if kind == "Synaptic" else {}
    for beta, threshold in [(0.9, 1.0), (0.5, 0.75), (spread(0, 1), spread(0.5, 2.0))]:
        module = getattr(snn, kind)(
            beta=beta, threshold=threshold, reset_mechanism=reset, reset_delay=delay, **arguments
        )
        recording = compare(module, inputs(**FEEDS[feed]))
        entry = recording.layer(recording.layers()[0]).entry
        assert entry["reset"] == {"zero": "value"}.get(reset, reset)
        assert entry["reset_timing"] == ("next_step" if delay else "same_step")
        assert entry["reset_detached"] is delay


def test_snntorch_clamps_beta_and_takes_an_initial_state():
    snn = need("snntorch")
    compare(snn.Leaky(beta=1.5), inputs())
    compare(snn.Synaptic(alpha=-0.5, beta=1.5), inputs())

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Leaky(beta=0.9)

        def forward(self, x):
            mem = torch.full_like(x[0], 1.5)  # above threshold: a reset is pending
            for xt in x:
                spikes, mem = self.lif(xt, mem)
            return spikes

    recording = compare(Net(), inputs())
    assert np.all(recording.layer("lif").get("initial_state.v") == 1.5)


def test_snntorch_variants_without_a_twin_are_refused():
    snn = need("snntorch")
    with pytest.raises(ValueError, match="'' is a snntorch Alpha"):
        validation.record(snn.Alpha(alpha=0.9, beta=0.8), inputs())
    with pytest.raises(ValueError, match=r"snntorch.Leaky with inhibition=True"):
        validation.record(snn.Leaky(beta=0.9, inhibition=True), inputs())
    with pytest.raises(ValueError, match="graded_spikes_factor"):
        validation.record(snn.Leaky(beta=0.9, graded_spikes_factor=2.0), inputs())


# ---------------------------------------------------------------------- SpikingJelly


@feeds
@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("v_reset", [0.0, -0.25, None])
@pytest.mark.parametrize("kind", ["IFNode", "LIFNode decay", "LIFNode whole"])
def test_spikingjelly(kind, v_reset, mode, feed):
    neuron = need("spikingjelly.activation_based.neuron")
    for detach, threshold in [(False, 1.0), (True, 0.7)]:
        common = {
            "v_threshold": threshold,
            "v_reset": v_reset,
            "detach_reset": detach,
            "step_mode": mode,
        }
        if kind == "IFNode":
            module = neuron.IFNode(**common)
        else:
            tau = 2.0 if threshold == 1.0 else 3.3
            module = neuron.LIFNode(tau=tau, decay_input=kind.endswith("decay"), **common)
        recording = compare(module, inputs(**FEEDS[feed]))
        assert recording.layer(recording.layers()[0]).entry["reset_detached"] is detach
        assert module.store_v_seq is False and module.v_seq is None


# ---------------------------------------------------------------------- norse


@feeds
@pytest.mark.parametrize("reset", ["reset_value", "reset_subtract"])
def test_norse_box(reset, feed):
    need("norse")
    import norse.torch as norse
    from norse.torch.functional import reset as resets

    for values in norse_values():
        p = norse.LIFBoxParameters(**values, reset_method=getattr(resets, reset))
        compare(norse.LIFBoxCell(p, dt=2e-3), 5 * inputs(**FEEDS[feed]))


@feeds
def test_norse_cell(feed):
    need("norse")
    import norse.torch as norse

    for values in norse_values():
        p = norse.LIFParameters(tau_syn_inv=torch.tensor(150.0), **values)
        recording = compare(norse.LIFCell(p, dt=2e-3), 3 * inputs(**FEEDS[feed]))
        assert recording.manifest["dt"] == 2e-3
        with pytest.raises(ValueError, match="dt must be that of every norse cell"):
            validation.record(norse.LIFCell(p, dt=2e-3), inputs(), dt=1e-3)


def norse_values():
    yield {}
    yield {
        "tau_mem_inv": torch.tensor(125.0),
        "v_leak": torch.tensor(0.25),
        "v_th": torch.tensor(0.75),
        "v_reset": torch.tensor(-0.25),
    }
    yield {"tau_mem_inv": spread(50.0, 200.0), "v_th": spread(0.5, 2.0)}


# ---------------------------------------------------------------------- sinabs


@feeds
@pytest.mark.parametrize("fire", ["MultiSpike", "SingleSpike", "MaxSpike"])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("tau_syn", [None, 4.0])
@pytest.mark.parametrize("low", [None, -0.3])
def test_sinabs_lif(low, tau_syn, norm, fire, feed):
    need("sinabs")
    from sinabs.layers import LIF

    for tau in (10.0, spread(1.5, 40.0)):
        module = LIF(
            tau_mem=tau,
            tau_syn=tau_syn,
            spike_threshold=torch.tensor(0.3),
            spike_fn=spike_function(fire),
            min_v_mem=low,
            norm_input=norm,
        )
        compare(module, inputs(**FEEDS[feed]) + 0.3)


def spike_function(name):
    from sinabs import activation

    return activation.MaxSpike(2) if name == "MaxSpike" else getattr(activation, name)


@feeds
@pytest.mark.parametrize("fire", ["MultiSpike", "SingleSpike", "MaxSpike"])
@pytest.mark.parametrize("tau_syn", [None, 4.0])
def test_sinabs_iaf(tau_syn, fire, feed):
    need("sinabs")
    from sinabs.layers import IAF

    for low, threshold in [(None, torch.tensor(1.0)), (-1.0, spread(0.5, 2.0))]:
        module = IAF(
            spike_fn=spike_function(fire),
            tau_syn=tau_syn,
            min_v_mem=low,
            spike_threshold=threshold,
        )
        compare(module, inputs(**FEEDS[feed]))


@pytest.mark.parametrize("fire", ["MultiSpike", "SingleSpike"])
def test_sinabs_other_resets_and_trained_factors(fire):
    need("sinabs")
    from sinabs.activation import MembraneReset, MembraneSubtract
    from sinabs.layers import IAF, LIF

    function = spike_function(fire)
    compare(IAF(reset_fn=MembraneReset(), spike_fn=function), inputs())
    compare(IAF(reset_fn=MembraneSubtract(0.5), spike_fn=function), inputs())
    module = LIF(tau_mem=10.0, tau_syn=spread(2.0, 8.0), train_alphas=True, spike_fn=function)
    recording = compare(module, 4 * inputs())
    layer = recording.layer("lif")
    assert layer.entry["decay"] == {"kind": "raw"} and "tau_mem" not in layer.params


def test_sinabs_membrane_reset_to_a_value_is_not_what_it_documents():
    """The documented reset value is added in every step, whether the neuron fired or not."""
    need("sinabs")
    from sinabs.activation import MembraneReset
    from sinabs.layers import IAF

    recording = validation.record(IAF(reset_fn=MembraneReset(0.25)), inputs())
    layer, twin = recording.layer("iaf"), twin_of(recording, "iaf")
    quiet = layer.get("membrane")[0][~twin.spikes[0].astype(bool)]
    expected = twin.v_pre[0][~twin.spikes[0].astype(bool)]
    np.testing.assert_array_equal(quiet, expected + np.float32(0.25))
    assert np.any(layer.spikes() != twin.spikes)


def test_the_decay_factor_of_sinabs_is_a_rounding_of_its_time_constant():
    """A recording stays bit-exact where the library's exp differs from the nearest float32."""
    need("sinabs")
    from sinabs.layers import LIF

    tau = torch.linspace(0.3, 200.0, 4096)
    recording = validation.record(LIF(tau_mem=tau), torch.ones(3, 1, 4096), dt=None)
    params = recording.layer("lif").params
    exact = np.exp(-1 / np.asarray(params["tau_mem"], np.longdouble))
    ulps = np.abs(params["alpha_mem"] - exact) / np.spacing(params["alpha_mem"])
    assert ulps.max() <= 4.0
    assert_identical(recording)


# ---------------------------------------------------------------------- a twin that must differ


@pytest.mark.parametrize(
    "change",
    [
        {"reset": "value"},
        {"reset": "none"},
        {"reset_timing": "same_step"},
        {"decay": "euler"},
        {"decay": "exp"},
        {"input_gain": "1-decay"},
        {"membrane_point": "post_reset", "reset_timing": "same_step"},
    ],
)
def test_a_flipped_switch_is_seen(change):
    snn = need("snntorch")
    recording = validation.record(snn.Leaky(beta=0.9), inputs())
    assert np.any(twin_of(recording, "leaky", **change).membrane != membrane(recording, "leaky"))


def test_compare_is_seen_where_a_threshold_is_hit():
    neuron = need("spikingjelly.activation_based.neuron")
    recording = validation.record(neuron.IFNode(), inputs(grid=4))
    twin = twin_of(recording, "ifnode", compare=">")
    assert np.any(twin.spikes != recording.layer("ifnode").spikes())


def membrane(recording, name):
    return recording.layer(name).get("membrane")


# ---------------------------------------------------------------------- networks


def spikes_in(seed=2, shape=(30, 3, 12)):
    return torch.as_tensor(np.random.default_rng(seed).random(shape) < 0.3).float()


def check_chain(recording, names, sources):
    """Layers, their sources, and that weights carry spikes to the recorded currents."""
    assert recording.layers() == names
    assert_identical(recording)
    flows = {"input": recording.input_spikes()}
    for name, source in zip(names, sources, strict=True):
        layer = recording.layer(name)
        assert layer.entry["sources"] == [{"node": source, "delay": 0}]
        before = flows.get(source)
        flows[name] = layer.spikes()
        current = before @ layer.get("weight").T
        if layer.get("bias") is not None:
            current = current + layer.get("bias")
        seen = layer.get("input_current").reshape(current.shape)
        np.testing.assert_allclose(seen, current, rtol=0, atol=1e-5)


def linear(a, b, **keywords):
    module = torch.nn.Linear(a, b, **keywords)
    with torch.no_grad():
        module.weight.mul_(2.0)
    return module


def snntorch_sequential():
    snn = need("snntorch")
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        linear(12, 10),
        snn.Leaky(beta=0.9, init_hidden=True, threshold=0.5),
        torch.nn.Dropout(0.5),
        linear(10, 5, bias=False),
        snn.Synaptic(alpha=0.8, beta=0.9, init_hidden=True, output=True, threshold=0.5),
    )


def test_snntorch_sequential_with_hidden_states():
    model = snntorch_sequential()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    recording = validation.record(model, spikes_in())
    check_chain(recording, ["2", "5"], ["input", "2"])
    again = validation.record(model, spikes_in())
    for key, value in recording.arrays.items():
        np.testing.assert_array_equal(value, again.arrays[key])
    assert model.training and model[3].training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_the_state_of_the_model_comes_back():
    model = snntorch_sequential()
    model(spikes_in()[0])
    kept = model[2].mem.clone()
    validation.record(model, spikes_in())
    assert torch.equal(model[2].mem, kept)


def user_net(snn, one_step):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(4)
            self.fc1, self.fc2 = linear(12, 10), linear(10, 5)
            self.lif1 = snn.Leaky(beta=0.9, threshold=0.5, init_hidden=one_step)
            self.lif2 = snn.Leaky(beta=0.8, threshold=0.5, init_hidden=one_step)

        def forward(self, x):
            if one_step:
                return self.lif2(self.fc2(self.lif1(self.fc1(x))))
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            out = []
            for t in range(len(x)):
                spikes, mem1 = self.lif1(self.fc1(x[t]), mem1)
                spikes, mem2 = self.lif2(self.fc2(spikes), mem2)
                out.append(spikes)
            return torch.stack(out)

    return Net()


@pytest.mark.parametrize("one_step", [False, True])
def test_a_user_module_that_loops_over_time_or_makes_one_step(one_step):
    recording = validation.record(user_net(need("snntorch"), one_step), spikes_in())
    check_chain(recording, ["lif1", "lif2"], ["input", "lif1"])


@pytest.mark.parametrize("mode", ["s", "m"])
def test_spikingjelly_sequential(mode):
    need("spikingjelly")
    from spikingjelly.activation_based import layer, neuron

    torch.manual_seed(5)
    model = torch.nn.Sequential(
        layer.Flatten(step_mode=mode),
        layer.Linear(12, 10, step_mode=mode),
        neuron.LIFNode(step_mode=mode, v_threshold=0.3),
        layer.Linear(10, 5, step_mode=mode),
        neuron.IFNode(step_mode=mode, v_threshold=0.3),
    )
    recording = validation.record(model, spikes_in().reshape(30, 3, 3, 4))
    check_chain(recording, ["2", "4"], ["input", "2"])
    assert recording.manifest["input_shape"] == [3, 4]


@pytest.mark.parametrize("kind", ["LIFBoxCell", "LIFCell"])
def test_norse_sequential_state(kind):
    need("norse")
    import norse.torch as norse

    torch.manual_seed(6)
    cell = getattr(norse, kind)
    model = norse.SequentialState(linear(12, 10), cell(), linear(10, 5), cell())
    recording = validation.record(model, 10 * spikes_in())
    check_chain(recording, ["1", "3"], ["input", "1"])
    assert recording.manifest["dt"] == 1e-3


def test_sinabs_sequential_takes_the_batch_first():
    need("sinabs")
    from sinabs.layers import IAF, LIF

    torch.manual_seed(7)
    model = torch.nn.Sequential(linear(12, 10), LIF(tau_mem=5.0), linear(10, 5), IAF())
    recording = validation.record(model, 3 * spikes_in())
    check_chain(recording, ["1", "3"], ["input", "1"])
    assert model[1].record_states is False
    assert not hasattr(model[1], "recordings") and model[1].v_mem.shape == (0,)
    with pytest.raises(ValueError, match="sinabs ALIF"):
        from sinabs.layers import ALIF

        validation.record(ALIF(tau_mem=5.0, tau_adapt=9.0), spikes_in())


def test_a_source_that_cannot_be_known_is_left_out():
    snn = need("snntorch")
    model = torch.nn.Sequential(
        linear(12, 10), torch.nn.Tanh(), snn.Leaky(beta=0.9, init_hidden=True)
    )
    layer = validation.record(model, spikes_in()).layer("2")
    assert layer.entry["sources"] == [] and layer.get("weight") is None


def test_a_view_keeps_its_source_and_an_earlier_step_is_not_the_present_one():
    snn = need("snntorch")
    from validation.trail import Trail

    model = torch.nn.Sequential(
        linear(12, 10), torch.nn.Unflatten(1, (2, 5)), snn.Leaky(beta=0.9, init_hidden=True)
    )
    layer = validation.record(model, spikes_in()).layer("2")
    assert layer.entry["sources"] == [{"node": "input", "delay": 0}]
    assert layer.shape == (2, 5) and layer.get("weight").shape == (10, 12)

    trail, first, second = Trail(torch.zeros(1)), torch.ones(3), torch.ones(3)
    trail.left(model, first, (None, "a"))
    trail.left(model, second, (None, "a"))
    assert trail.origin(second) == (None, "a") and trail.origin(first) == (None, None)


def test_a_recording_is_written_and_read_back(tmp_path):
    path = tmp_path / "leaky.npz"
    written = validation.record(snntorch_sequential(), spikes_in(), path=path, dt=1e-3)
    again = evtrace.read(path)
    assert again.manifest == written.manifest and again.manifest["dt"] == 1e-3
    assert_identical(again)
    provenance = again.manifest["provenance"]
    assert provenance["framework"] == "snntorch" and provenance["dtype"] == "float32"
    assert again.layer("2").entry["surrogate"] == {
        "name": "snntorch.atan",
        "params": {"alpha": 2.0},
    }


def test_what_cannot_be_recorded_says_why():
    snn = need("snntorch")
    lif = snn.Leaky(beta=0.9)
    with pytest.raises(ValueError, match=r"holds no known neuron"):
        validation.record(torch.nn.Linear(2, 2), spikes_in())
    with pytest.raises(ValueError, match=r"model must be a torch.nn.Module, got dict"):
        validation.record({}, spikes_in())
    with pytest.raises(ValueError, match=r"input must be \[T, B, ...\]"):
        validation.record(lif, torch.zeros(3))
    with pytest.raises(ValueError, match=r"input\[0, 0, 1\] is nan"):
        validation.record(lif, torch.tensor([[[0.0, float("nan")]]]))
    shared = torch.nn.Sequential(lif, torch.nn.Linear(4, 4))
    shared.append(lif)
    lif.init_hidden = True
    with pytest.raises(ValueError, match=r"'0' was called 6 times in 3 steps"):
        validation.record(shared, torch.zeros(3, 1, 4))
    assert not lif._forward_hooks


# ---------------------------------------------------------------------- what the exporters write


def declared(recording, name, node, dt, **change):
    """The twin of what a NIR node declares, forced on the recorded spikes; and how many differ."""
    layer = recording.layer(name)
    model = adapters.model(layer.entry["model"])
    params, semantics = model.from_nir_node(node, dt, model.semantics.updated(layer.entry))
    params |= {k: v for k, v in change.items() if k in params}
    switches = {k: v for k, v in change.items() if k not in params}
    twin = run(
        model,
        params,
        replace(semantics, **switches),
        layer.get("input_current"),
        dt=recording.manifest["dt"],
        recorded_spikes=layer.spikes(),
    )
    off = np.abs(twin.membrane - layer.get("membrane")) > twin.bound
    return int(np.sum(off | (twin.spikes != layer.spikes())))


def node_of(graph, kind):
    return next(node for node in graph.nodes.values() if type(node).__name__ == kind)


@pytest.mark.parametrize("reset, cause", [("zero", {}), ("subtract", {"reset": "subtract"})])
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic"])
def test_snntorch_exports_every_reset_as_a_hard_one(kind, reset, cause):
    snn = need("snntorch")
    from snntorch.export_nir import export_to_nir

    values = {"beta": torch.full((N,), 0.9), "threshold": torch.ones(N)}
    values |= {"alpha": torch.full((N,), 0.8)} if kind == "Synaptic" else {}
    module = getattr(snn, kind)(**values, reset_mechanism=reset, init_hidden=True)
    model = torch.nn.Sequential(torch.nn.Linear(N, N), module)
    graph = export_to_nir(model, torch.zeros(N))
    node = node_of(graph, "LIF" if kind == "Leaky" else "CubaLIF")
    recording = validation.record(model, 3 * inputs())
    assert (declared(recording, "1", node, 1e-4) == 0) == (reset == "zero")
    assert declared(recording, "1", node, 1e-4, **cause) == 0


@pytest.mark.parametrize(
    "kind, keywords",
    [
        ("LIFNode", {"tau": 3.3, "decay_input": True, "v_reset": -0.25}),
        ("LIFNode", {"tau": 3.3, "decay_input": False, "v_reset": -0.25}),
        ("IFNode", {}),
    ],
)
def test_spikingjelly_exports_what_it_runs(kind, keywords):
    need("spikingjelly")
    from spikingjelly.activation_based import layer, neuron, nir_exchange

    model = torch.nn.Sequential(layer.Linear(N, N), getattr(neuron, kind)(**keywords))
    graph = nir_exchange.export_to_nir(model, torch.zeros(1, N))
    recording = validation.record(model, 3 * inputs())
    assert declared(recording, "1", node_of(graph, kind.removesuffix("Node")), 1e-4) == 0


def test_norse_exports_its_time_constants_times_dt():
    need("norse")
    import norse.torch as norse
    from norse.torch.utils.export_nir import _extract_norse_module as export

    one = torch.ones(N)
    p = norse.LIFBoxParameters(100 * one, 0 * one, one, 0 * one)
    box, node = norse.LIFBoxCell(p), export(norse.LIFBoxCell(p))
    recording = validation.record(box, 10 * inputs())
    assert declared(recording, "lifboxcell", node, 1e-3) > 0
    node.tau = node.tau / 1e-3
    assert declared(recording, "lifboxcell", node, 1e-3) == 0

    p = norse.LIFParameters(200 * one, 100 * one, 0 * one, one, 0 * one)
    cell, node = norse.LIFCell(p), export(norse.LIFCell(p))
    recording = validation.record(cell, 3 * inputs())
    node.tau_mem, node.tau_syn = node.tau_mem / 1e-3, node.tau_syn / 1e-3
    assert declared(recording, "lifcell", node, 1e-3) > 0  # w_in is left at 1, not tau_syn / dt
    assert declared(recording, "lifcell", node, 1e-3, w_in=1.0) == 0


@pytest.mark.parametrize("norm", [True, False])
def test_sinabs_exports_neither_its_reset_nor_norm_input(norm):
    need("sinabs")
    from sinabs.layers import LIF
    from sinabs.nir import _extract_sinabs_module as export

    module = LIF(tau_mem=10 * torch.ones(N), spike_threshold=torch.ones(N), norm_input=norm)
    recording = validation.record(module, 3 * inputs())
    module.init_state_with_shape((SAMPLES, N))
    node = export(module)
    soft = {"reset": "subtract", "compare": ">=", "max_spikes_per_step": None}
    assert declared(recording, "lif", node, None) > 0
    assert (declared(recording, "lif", node, None, **soft) == 0) == norm
    assert norm or declared(recording, "lif", node, None, **soft, input_gain="1") == 0
