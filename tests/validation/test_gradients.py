"""Recorded backward passes, against ones made here by forward tangents, a step at a time."""

from pathlib import Path

import numpy as np
import pytest

from reference import surrogates
from validation import adapters, evtrace, gradients
from validation.declared import declare
from validation.evtrace import EvtraceError
from validation.evtrace_reader import Recording
from validation.twin import run

#: Of every library, one that is declared, and one that is used in secret.
SURROGATE = {
    "snntorch": ("atan", "fast_sigmoid"),
    "spikingjelly": ("ATan", "SuperSpike"),
    "norse": ("tanh", "super"),
    "sinabs": ("SingleExponential", "PeriodicExponential"),
    "rockpool": ("StepPWL", "PeriodicExponential"),
    "spyx": ("superspike", "arctan"),
}
NAMES = [name for name in adapters.names() if name.partition(".")[0] in SURROGATE]
VARIANTS = {
    "own": {},
    "subtract": {"reset": "subtract", "reset_timing": "same_step"},
    "value": {"reset": "value", "reset_timing": "same_step"},
    "next step": {"reset": "subtract", "reset_timing": "next_step"},
}


def leaving(d, arriving, surrogate, detached):
    """dL/dx by one tangent for every step: x[t0] moves, everything after follows."""
    twin = run(d.model, d.params, d.semantics, d.x, dt=d.dt, recorded_spikes=d.spikes, bound=False)
    p = d.model.resolve(d.params, d.x.shape[2])
    c = d.model.constants(p, d.semantics, d.dt, np.float64)
    h, s = twin.v_pre.astype(float), d.spikes.astype(float)
    th, v_reset = twin.threshold[0].astype(float), np.asarray(p["v_reset"], float)
    slope = surrogate.derivative(h - th)
    soft, late = d.semantics.reset == "subtract", d.semantics.reset_timing == "next_step"
    found = np.zeros(h.shape)
    for t0 in range(len(h)):
        dv, di, ds_before, total = 0.0, 0.0, 0.0, 0.0
        for t in range(t0, len(h)):
            dx = float(t == t0)
            di = (0.0 if c.retain_syn is None else c.retain_syn * di) + c.jump * dx
            if late and soft:
                dv = dv - th * ds_before / np.where(c.retain == 0, 1, c.retain)
            dh = c.retain * dv + c.gain * di
            ds = slope[t] * dh
            total = total + arriving[t] * ds
            acting = 0.0 if detached else ds
            if late and soft:
                dv, ds_before = dh, acting
            elif soft:
                dv = dh - th * acting
            else:
                fired = np.minimum(s[t], 1)
                dv = (1 - fired) * dh + (v_reset - h[t]) * acting
        found[t0] = total
    return found


def recording(synth, name, variant="own", detached=False, surrogate=None, seed=3):
    """A layer that ran, and its backward pass by forward tangents."""
    semantics = VARIANTS[variant]
    net = synth.network([name], seed=seed, sizes=[12, 6], shape=(25, 2), semantics=semantics)
    shown, seen = synth.play(net)
    shown = {**shown, "layers": {k: dict(v) for k, v in shown["layers"].items()}}
    evtrace.check_contents(shown, seen)
    made = Recording("", shown, seen)
    (layer,) = made.layers()
    library = name.partition(".")[0]
    entry = dict(made.manifest["layers"][layer])
    entry["surrogate"] = {"name": f"{library}.{SURROGATE[library][0]}", "params": {}}
    entry["reset_detached"] = detached
    manifest = {**made.manifest, "layers": {layer: entry}}
    d = declare(Recording("", manifest, made.arrays), layer, None)
    arriving = np.random.default_rng(seed).normal(size=d.x.shape)
    rule = surrogates.get(surrogate or entry["surrogate"]["name"])
    arrays = dict(made.arrays)
    arrays[f"layers/{layer}/grad_output.spikes"] = arriving.astype(np.float32)
    exact = leaving(d, arriving.astype(np.float32).astype(float), rule, detached)
    arrays[f"layers/{layer}/grad_input_current"] = exact.astype(np.float32)
    return Recording("", manifest, arrays), layer


def checked(made, layer):
    d = declare(made, layer, None)
    return d, gradients.check_gradient(d)


def with_entry(made, layer, **entry):
    layers = {layer: {**made.manifest["layers"][layer], **entry}}
    return Recording("", {**made.manifest, "layers": layers}, made.arrays)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_right_backward_pass_is_identical(synth, name, variant, detached):
    made, layer = recording(synth, name, variant, detached)
    d, agreement = checked(made, layer)
    assert agreement.verdict == "identical", agreement
    assert agreement.n_compared == d.x.size
    assert np.abs(d.gradient.leaving).max() > 1e-3, "there is something to compare"


@pytest.mark.parametrize("name", NAMES)
def test_a_reset_differentiated_otherwise_is_named(synth, name):
    made, layer = recording(synth, name, "subtract", detached=True)
    d, agreement = checked(with_entry(made, layer, reset_detached=False), layer)
    assert agreement.verdict == "mismatch"
    assert gradients.of_gradient(d)[0] == ["reset_detach"]


@pytest.mark.parametrize("name", NAMES)
def test_another_surrogate_is_named(synth, name):
    library = name.partition(".")[0]
    made, layer = recording(synth, name, surrogate=f"{library}.{SURROGATE[library][1]}")
    d, agreement = checked(made, layer)
    assert agreement.verdict == "mismatch"
    assert gradients.of_gradient(d)[0] == ["surrogate"]


def test_verify_reports_it_with_its_place(synth):
    from validation.verify import verify

    made, layer = recording(synth, "norse.LIFBoxCell")
    assert verify(made).layers[0].verdict in ("identical", "discretised")
    arrays = dict(made.arrays)
    key = f"layers/{layer}/grad_input_current"
    arrays[key] = arrays[key].copy()
    arrays[key][4, 1, 2] += 1e-3
    found = verify(Recording("", made.manifest, arrays)).layers[0]
    assert found.verdict == "mismatch" and found.cause == []
    assert (found.first.quantity, found.first.step, found.first.sample, found.first.neuron) == (
        "gradient", 4, 1, 2,
    )  # fmt: skip
    assert "1 value of the gradient differs" in found.reason


@pytest.mark.parametrize("name", ["rockpool", "spyx"])
def test_recordings_of_frameworks_elsewhere(name):
    """`tests/peers/test_conform.py` made them, and compares them with new ones."""
    from validation.verify import verify

    made = evtrace.read(Path(__file__).parent / "recorded" / f"{name}.npz")
    layer = verify(made).layers[0]
    assert layer.verdict == "discretised"
    assert {c.quantity: c.verdict for c in layer.checks}["gradient"] == "identical"
    assert np.abs(made.layer(layer.name).get("grad_input_current")).max() > 0.1
    for other in ("norse.super", "sinabs.PeriodicExponential"):
        surrogate = {"name": other, "params": {}}
        found = verify(with_entry(made, layer.name, surrogate=surrogate)).layers[0]
        assert (found.verdict, found.cause) == ("mismatch", ["surrogate"])


def test_an_unknown_surrogate_is_not_verifiable(synth):
    made, layer = recording(synth, "norse.LIFBoxCell")
    made = with_entry(made, layer, surrogate={"name": "mine.own", "params": {}})
    assert checked(made, layer)[1].verdict == "unverifiable"
    made, layer = recording(synth, "snntorch.Synaptic", "own")  # to a value, it loses an input
    made = with_entry(made, layer, reset="value")
    assert checked(made, layer)[1].verdict == "unverifiable"


@pytest.mark.parametrize(
    "entry, words",
    [
        ({"surrogate": "atan"}, "surrogate must be an object"),
        ({"surrogate": {"name": "norse.tanh", "params": {"alpha": "1"}}}, "object of numbers"),
        ({"reset_detached": 1}, "reset_detached must be true or false"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(synth, entry, words):
    made, layer = recording(synth, "norse.LIFBoxCell")
    with pytest.raises(EvtraceError, match=words):
        declare(with_entry(made, layer, **entry), layer, None)
