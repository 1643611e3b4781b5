"""Recordings made by the twins in the place of frameworks, for the tests of verification."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from validation import adapters, evtrace
from validation.currents import delayed
from validation.evtrace_reader import Recording
from validation.twin import run
from validation.verify import verify

T, B, N = 60, 3, 20
F32 = np.float32

#: Parameters of every model, and how large its weights are for a lively layer.
MODELS = {
    "snntorch.Leaky": ({"beta": 0.9, "threshold": 1.0}, 0.4),
    "snntorch.Synaptic": ({"alpha": 0.7, "beta": 0.85, "threshold": 1.0}, 0.2),
    "sinabs.LIF": ({"tau_mem": 8.0, "spike_threshold": 1.0}, 2.0),
    "sinabs.IAF": ({"spike_threshold": 1.0, "min_v_mem": -1.0}, 0.4),
    "spikingjelly.LIFNode": ({"tau": 4.0, "v_threshold": 1.0, "v_reset": 0.0}, 1.6),
    "spikingjelly.IFNode": ({"v_threshold": 1.0, "v_reset": 0.0}, 0.4),
    "norse.LIFBoxCell": (
        {"tau_mem_inv": 150.0, "v_leak": 0.0, "v_th": 1.0, "v_reset": 0.0},
        2.5,
    ),
    "norse.LIFCell": (
        {
            "tau_mem_inv": 150.0,
            "tau_syn_inv": 200.0,
            "v_leak": 0.0,
            "v_th": 1.0,
            "v_reset": 0.0,
        },
        1.0,
    ),
    "rockpool.LIFTorch": ({"tau_mem": 8.0, "tau_syn": 4.0, "spike_threshold": 1.0}, 0.3),
    "spyx.IF": ({"threshold": 1.0}, 0.4),
    "spyx.LIF": ({"beta": 0.9, "threshold": 1.0}, 0.4),
    "spyx.CuBaLIF": ({"alpha": 0.7, "beta": 0.85, "threshold": 1.0}, 0.2),
}


def layer(model, *, n=N, width=N, rng, params=(), semantics=(), delay=0, bias=True, scale=1.0):
    """One layer as it is declared."""
    given, size = MODELS[model]
    size *= scale
    weight = (size * rng.normal(0.25, 0.6, (n, width))).astype(F32)
    return {
        "model": adapters.model(model),
        "params": {k: np.asarray(v, F32) for k, v in {**given, **dict(params)}.items()},
        "semantics": replace(adapters.model(model).semantics, **dict(semantics)),
        "weight": weight,
        "bias": (size * rng.uniform(0.0, 0.3, n)).astype(F32) if bias else None,
        "delay": delay,
    }


def network(models, *, seed=0, sizes=None, shape=(T, B), rate=0.3, **keys):
    """Declared layers, one behind the other, and their input spikes [T, B, n]."""
    rng = np.random.default_rng(seed)
    sizes = sizes or [N] * (len(models) + 1)
    spikes = (rng.random((*shape, sizes[0])) < rate).astype(np.int32)
    layers = [
        layer(model, n=n, width=width, rng=rng, **keys)
        for model, n, width in zip(models, sizes[1:], sizes[:-1], strict=True)
    ]
    return SimpleNamespace(layers=layers, spikes=spikes, dt=1e-3, rng=rng)


def play(net, actual=None):
    """Manifest and arrays of a run; `actual` says per layer what it computes instead.

    Its entries are `params`, `semantics`, `dt`, `delay`, `weight`, `bias`, `x` (a function of the
    input current, as recorded and used), and `late` (of the recorded spikes and membrane).
    """
    heard, layers, arrays = net.spikes, {}, {}
    for k, own in enumerate(net.layers):
        done = {"late": 0, "dt": net.dt, "x": lambda x: x, **own, **dict((actual or {}).get(k, {}))}
        weighted = delayed(heard, done["delay"]).astype(F32) @ done["weight"].T
        x = weighted if done["bias"] is None else weighted + done["bias"]
        x = done["x"](np.ascontiguousarray(x, F32))
        params = {**own["params"], **done["params"]}
        semantics = replace(own["semantics"], **done["semantics"]) if isinstance(
            done["semantics"], dict) else done["semantics"]  # fmt: skip
        params = {k: v for k, v in params.items() if v is not None}
        twin = run(own["model"], params, semantics, x, dt=done["dt"], bound=False)
        heard, name = twin.spikes.astype(np.int32), f"l{k}"
        seen = {"membrane": twin.membrane, "synaptic_current": twin.synaptic_current}
        late = done["late"]
        arrays |= {f"layers/{name}/{q}": delayed(a, late) for q, a in seen.items() if a is not None}
        arrays |= evtrace.from_dense(delayed(heard, late), f"layers/{name}/spikes")
        arrays |= {f"layers/{name}/params.{p}": a for p, a in own["params"].items()}
        arrays |= {f"layers/{name}/input_current": x, f"layers/{name}/weight": own["weight"]}
        if own["bias"] is not None:
            arrays[f"layers/{name}/bias"] = own["bias"]
        source = {"node": f"l{k - 1}" if k else "input", "delay": own["delay"]}
        layers[name] = {
            "model": own["model"].name,
            "shape": [x.shape[2]],
            **own["semantics"].manifest(),
            "sources": [source],
        }
    manifest = {
        "kind": "grid",
        "n_steps": net.spikes.shape[0],
        "n_samples": net.spikes.shape[1],
        "dt": net.dt,
        "input_shape": [net.spikes.shape[2]],
        "layers": layers,
        "provenance": {"framework": "twin", "version": "1"},
    }
    return manifest, arrays | evtrace.from_dense(net.spikes, "input_spikes")


def counts(arrays, key, shape):
    """Dense counts of events."""
    out = np.zeros(shape, np.int64)
    where = tuple(arrays[f"{key}.{f}"] for f in ("step", "sample", "index"))
    np.add.at(out, where, arrays[f"{key}.count"])
    return out


def with_counts(arrays, key, dense):
    """The same arrays with other events."""
    return arrays | evtrace.from_dense(dense, key)


def verified(manifest, arrays):
    """Verification of a recording in memory, checked and normalised as a written one is."""
    arrays = {k: np.asarray(a) for k, a in arrays.items()}
    full = {**manifest, "layers": {k: dict(v) for k, v in manifest["layers"].items()}}
    evtrace.check_contents(full, arrays)
    return verify(Recording("memory.npz", full, arrays))


@pytest.fixture(scope="session")
def synth():
    """What makes and verifies recordings."""
    return SimpleNamespace(
        MODELS=MODELS,
        layer=layer,
        network=network,
        play=play,
        counts=counts,
        with_counts=with_counts,
        verified=verified,
    )
