"""Rounding ties: what another legitimate arithmetic may decide otherwise, and what it may not."""

from dataclasses import replace

import numpy as np
import pytest

from validation import adapters, exact
from validation.declared import declare
from validation.discrete import check, compare_state
from validation.evtrace_reader import Recording
from validation.twin import ARITHMETIC, run

T, B, N = 60, 3, 20
F32 = np.float32
NAMES = (
    "norse.LIFBoxCell",
    "norse.LIFCell",
    "sinabs.IAF",
    "sinabs.LIF",
    "snntorch.Leaky",
    "snntorch.Synaptic",
    "spikingjelly.LIFNode",
)


@pytest.fixture(autouse=True)
def discrete_only(monkeypatch):
    monkeypatch.setattr(exact, "solve_alone", lambda d, samples: None)


def near_threshold(synth, name, distance):
    """A layer, and a place at which its membrane is `distance` bounds away from threshold.

    Only the threshold of that neuron is moved: next to a membrane of a step before which it
    would not have fired, so that nothing before that step changes.
    """
    net = synth.network([name], seed=21)
    own = net.layers[0]
    d = declare(Recording("m", *synth.play(net)), "l0", None)
    twin = d.run(forced=False)
    key = own["model"].threshold
    for t, b, n in np.argwhere(twin.spikes == 1):
        v = float(twin.v_pre[t, b, n])
        earlier = twin.v_pre[: t + 1, :, n].copy()
        earlier[t, b] = -np.inf
        fired = twin.spikes[:t, b, n].any()
        if t < 2 or v <= 0.5 or fired or earlier[:, b].max() >= 0.98 * v:
            continue
        level = F32(v - distance * twin.bound[t, b, n])
        threshold = np.full(N, own["params"][key])
        threshold[n] = level
        own["params"][key] = threshold.astype(F32)
        return net, (int(t), int(b), int(n))
    raise AssertionError("no neuron comes near a threshold from below")


def flipped_at(synth, net, at):
    """A recording in which one spike, and all that follows from it, is decided otherwise."""
    manifest, arrays = synth.play(net)
    own = net.layers[0]
    dense = synth.counts(arrays, "layers/l0/spikes", (T, B, N))
    dense[at] = 1 - min(dense[at], 1)
    x = arrays["layers/l0/input_current"]
    p, s = own["params"], own["semantics"]
    for _ in range(T):  # what the same neuron does after that decision, step by step
        twin = run(own["model"], p, s, x, dt=net.dt, recorded_spikes=dense, bound=False)
        later = (twin.spikes != dense) & (np.arange(T) > at[0])[:, None, None]
        if not later.any():
            break
        t = int(np.argwhere(later)[0, 0])
        dense[t][later[t]] = twin.spikes[t][later[t]]
    arrays["layers/l0/membrane"] = twin.membrane
    if twin.synaptic_current is not None:
        arrays["layers/l0/synaptic_current"] = twin.synaptic_current
    return manifest, synth.with_counts(arrays, "layers/l0/spikes", dense)


@pytest.mark.parametrize("name", NAMES)
def test_a_flip_within_the_bound_is_a_tie_and_a_hundred_bounds_away_none(synth, name):
    net, at = near_threshold(synth, name, 0.5)
    layer = synth.verified(*flipped_at(synth, net, at)).layers[0]
    assert layer.verdict == "tie" and layer.cause == [] and layer.first is None, layer.reason
    assert layer.checks[0].n_ties == 1 and "rounding" in layer.reason
    for distance in (-2.0, 2.0, 100.0):
        net, at = near_threshold(synth, name, distance)
        layer = synth.verified(*flipped_at(synth, net, at)).layers[0]
        assert layer.verdict == "mismatch", distance
        assert (layer.first.step, layer.first.sample, layer.first.neuron) == at


def test_a_tie_passes_and_a_count_that_no_rounding_gives_does_not(synth):
    net, at = near_threshold(synth, "snntorch.Leaky", 0.5)
    manifest, arrays = flipped_at(synth, net, at)
    assert synth.verified(manifest, arrays).verdict == "pass"
    dense = synth.counts(arrays, "layers/l0/spikes", (T, B, N))
    dense[at] = 2
    result = synth.verified(manifest, synth.with_counts(arrays, "layers/l0/spikes", dense))
    assert result.verdict == "fail"


def test_next_to_the_first_of_several_edges_only_its_two_counts_are_a_tie(synth):
    model = adapters.model("sinabs.IAF")
    x = np.array([2.0, 0.0], F32).reshape(2, 1, 1)  # two spikes, exactly at the edge
    net = synth.network(["sinabs.IAF"], sizes=[1, 1], shape=(2, 1), bias=False)
    manifest, arrays = synth.play(net, {0: {"x": lambda _: x}})
    d = declare(Recording("m", manifest, arrays), "l0", None)
    assert model.semantics.max_spikes_per_step is None
    for count, verdict in [(2, "identical"), (1, "tie"), (3, "mismatch"), (0, "mismatch")]:
        spikes = np.array([count, 0]).reshape(2, 1, 1)
        found = check(replace(d, spikes=spikes, membrane=None)).checks[0].verdict
        assert found == verdict, count


@pytest.mark.parametrize("name", ["snntorch.Leaky", "norse.LIFBoxCell", "sinabs.LIF"])
@pytest.mark.parametrize("arithmetic", ["bfloat16", "tf32"])
def test_a_declared_arithmetic_widens_the_bound_by_its_roundoff(synth, name, arithmetic):
    wider = ARITHMETIC[arithmetic] / ARITHMETIC["float32"]
    net, at = near_threshold(synth, name, wider / 32)
    manifest, arrays = flipped_at(synth, net, at)
    assert synth.verified(manifest, arrays).layers[0].verdict == "mismatch"
    manifest["provenance"]["arithmetic"] = arithmetic
    layer = synth.verified(manifest, arrays).layers[0]
    assert layer.verdict == "tie" and layer.checks[0].n_ties >= 1, layer.reason


def reordered(name, p, x, dt):
    """The update of three models in float64, rounded to float32 at the end of every step."""
    v = np.zeros(x.shape[1:], F32)
    out, spikes = np.empty_like(x), np.zeros(x.shape, int)
    q = {k: np.float64(a) for k, a in p.items()}
    pending = np.zeros(x.shape[1:])
    for t in range(len(x)):
        wide = np.float64(x[t])
        if name == "snntorch.Leaky":
            v = (np.float64(v) * q["beta"] + (wide - pending * q["threshold"])).astype(F32)
            spikes[t] = pending = (v > p["threshold"]).astype(int)
            out[t] = v
        else:
            rate = q["tau_mem_inv"] * dt if name.startswith("norse") else 1.0 / q["tau"]
            level = p["v_th"] if name.startswith("norse") else p["v_threshold"]
            v = ((1.0 - rate) * np.float64(v) + rate * wide).astype(F32)
            spikes[t] = v > level if name.startswith("norse") else v >= level
            out[t] = v = np.where(spikes[t], F32(0), v)
    return spikes, out


@pytest.mark.parametrize("name", ["snntorch.Leaky", "norse.LIFBoxCell", "spikingjelly.LIFNode"])
@pytest.mark.parametrize("seed", range(4))
def test_another_order_of_operations_passes(synth, name, seed):
    net = synth.network([name], seed=seed, shape=(80, 4))
    manifest, arrays = synth.play(net)
    x = arrays["layers/l0/input_current"]
    spikes, membrane = reordered(name, net.layers[0]["params"], x, net.dt)
    arrays = synth.with_counts(arrays, "layers/l0/spikes", spikes)
    layer = synth.verified(manifest, arrays | {"layers/l0/membrane": membrane}).layers[0]
    assert layer.verdict in ("identical", "tie"), layer.reason
    assert layer.checks[1].max_ulps > 0, "the other arithmetic makes no difference"


def test_the_synaptic_current_has_its_own_bound(synth):
    # Its membrane may be far larger, and know far less, than the current.
    net = synth.network(["norse.LIFCell"], seed=3, params={"v_leak": 1e3, "v_th": 1e5})
    manifest, arrays = synth.play(net)
    d = declare(Recording("m", manifest, arrays), "l0", None)
    twin = d.run()
    assert (twin.current_bound[5:] < 0.1 * twin.membrane_bound[5:]).all()
    changed = arrays["layers/l0/synaptic_current"].copy()
    changed[9, 1, 2] += F32(0.5 * twin.membrane_bound[9, 1, 2])
    layer = synth.verified(manifest, arrays | {"layers/l0/synaptic_current": changed}).layers[0]
    assert layer.verdict == "mismatch" and layer.first.quantity == "synaptic_current"


def test_a_state_recorded_in_a_narrower_dtype_may_be_rounded_once_more():
    computed = np.array([[[1.0, 3.0, np.inf]]], np.float64)
    recorded = np.array([[[1.0, 3.0, np.inf]]], np.float32)
    recorded[0, 0, 1] = np.nextafter(F32(3), F32(4))
    agreement, bad = compare_state("membrane", recorded, computed, np.zeros((1, 1, 3)))
    assert bad.tolist() == [[[False, True, False]]] and agreement.n_mismatched == 1
    assert agreement.first.neuron == 1 and agreement.first.ulps == pytest.approx(1.0)
    half = np.full((1, 1, 3), 0.51 * float(np.spacing(F32(3))))
    assert compare_state("membrane", recorded, computed, half)[0].verdict == "identical"


@pytest.mark.parametrize("flag", [True, False])
def test_tf32_widens_the_weighted_sums_only(synth, flag):
    net = synth.network(["snntorch.Leaky"], seed=5, bias=False)

    def tf32(w):
        return (w.view(np.uint32) & np.uint32(0xFFFFE000)).view(F32)

    weight = net.layers[0]["weight"]
    manifest, arrays = synth.play(net, {0: {"weight": tf32(weight)}})
    manifest["provenance"]["tf32"] = flag
    result = synth.verified(manifest, arrays)
    assert result.verdict == ("pass" if flag else "fail")
    changed = arrays["layers/l0/membrane"].copy()
    changed[3, 1, 2] += F32(1e-4)
    assert synth.verified(manifest, arrays | {"layers/l0/membrane": changed}).verdict == "fail"


@pytest.mark.parametrize("hits, seen, verdict", [(1, False, "tie"), (1, True, "mismatch"),
                                                 (3, False, "mismatch")])  # fmt: skip
def test_exact_hits_are_ties_only_where_rounding_may_have_decided(synth, hits, seen, verdict):
    # Strictly above or not: one hit may be an accident of rounding, unless the membrane that
    # goes on is the same to the bit; several are a comparison.
    x = np.array([1.0, 0.25] * hits, F32).reshape(-1, 1, 1)
    net = synth.network(["spikingjelly.IFNode"], sizes=[1, 1], shape=(2 * hits, 1), bias=False)
    strict = {"semantics": {"compare": ">"}, "x": lambda _: x}
    manifest, arrays = synth.play(net, {0: strict})
    if not seen:
        del arrays["layers/l0/membrane"]
    del arrays["layers/l0/weight"]
    layer = synth.verified(manifest, arrays).layers[0]
    assert layer.verdict == verdict, layer.reason
    assert layer.cause == (["compare"] if verdict == "mismatch" else [])
