r"""Brian2, in an interpreter of its own: layers of equations on a grid, in float64.

Brian2 has no neurons of its own and reads no NIR; these are the equations of NIR's neurons, in its
order of a step: what arrives, the flow, the comparison, synapses, the reset. So a spike
moves another neuron in the next step at the earliest: every synapse takes one step.

.. math::
    \tau \dot v = v_{leak} - v + r x, \qquad \dot v = r x, \qquad
    \tau_m \dot v = v_{leak} - v + r i, \quad \tau_s \dot i = -i + \text{jumps}   \tag{1}

with x held over a step, and integrated by Brian2's `method="exact"` (the second by `"euler"`, which
`"exact"` refuses). The membrane is recorded at the end of the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from validation import flowing
from validation.declaration import Declaration, alone, external, links, of_graph, params_of
from validation.model import Array
from validation.native import Native
from validation.peer import Peer

PEER = Peer("brian2", "brian2", "brian2 'numpy<2.4'", __file__)
record = PEER.record
MODELS = (
    flowing.integrator("brian2.IF", flowing.EULER),
    flowing.leaky("brian2.LIF"),
    flowing.synaptic("brian2.CubaLIF"),
)
EQUATIONS = {
    "brian2.IF": "dv/dt = r*x/second : 1",
    "brian2.LIF": "dv/dt = (v_leak - v + r*x)/tau : 1\ntau : second",
    "brian2.CubaLIF": "dv/dt = (v_leak - v + r*i_syn)/tau_mem : 1\ndi_syn/dt = -i_syn/tau_syn : 1\n"
    "tau_mem : second\ntau_syn : second",
}
SHARED = "\nx : 1\narrived : 1\nr : 1\nw_in : 1\nv_leak : 1\nv_reset : 1\nv_threshold : 1"
#: `exact` refuses an equation without a leak; an Euler step of it is exact.
METHOD = {"brian2.IF": "euler"}
RESETS = {"value": "v = v_reset", "subtract": "v -= v_threshold", "none": ""}


def built(graph: Any, dt: float, n_steps: int) -> Declaration:
    """A NIR graph as what `record` takes."""
    return of_graph(PEER.framework, MODELS, graph, dt)


def imported(graph: Any, dt: float, x: Array) -> Array:
    """Output of a NIR graph, translated into equations (1)."""
    return PEER.output(MODELS, graph, dt, x)


def natives() -> Iterator[Native]:
    """The equations (1), integrated and reset in several ways."""
    per_neuron = np.linspace(0.5, 1.5, 8)
    shared: dict[str, Any] = {
        "method": ["exact", "euler", "exponential_euler", "rk2"],
        "threshold": ["v >= v_threshold"],
        "reset": ["v -= v_threshold", ""],
        "refractory": ["1*dt"],
        "r": [2.0],
        "v_threshold": [0.5, per_neuron],
        "v_reset": [-0.25],
        "dt": [5e-4],
    }
    own: dict[str, dict[str, Any]] = {
        "IF": {"r": [500.0]},
        "LIF": {"tau": [5e-3, 0.01 * per_neuron], "v_leak": [0.25]},
        "CubaLIF": {"tau_mem": [5e-3], "tau_syn": [2e-3, 0.01], "v_leak": [0.25], "w_in": [2.0]},
    }
    base: dict[str, dict[str, Any]] = {
        "IF": {"r": 200.0},
        "LIF": {"tau": 10e-3, "r": 3.0},
        "CubaLIF": {"tau_mem": 10e-3, "tau_syn": 5e-3, "r": 3.0},
    }
    for kind, more in own.items():
        yield Native(kind, partial(_neuron, kind), base[kind], {**shared, **more})


def _neuron(kind: str, dt: float = 1e-3, **arguments: Any) -> Any:
    return alone("brian2", f"brian2.{kind}", arguments, dt)


# ------------------------------------------------------------------------- in Brian2's interpreter


def run(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """The recording of a declared network."""
    import brian2

    brian2.prefs.codegen.target = "numpy"
    brian2.BrianLogger.suppress_hierarchy("brian2", filter_log_file=True)
    brian2.defaultclock.dt = dt = manifest["dt"] * brian2.second
    steps, samples = arrays["input"].shape[:2]
    layers = {name: _Layer(manifest, arrays, name, dt) for name in manifest["layers"]}
    parts = [part for layer in layers.values() for part in layer.parts]
    for name, layer in layers.items():
        for source, weight in links(manifest, arrays, name):
            source["delay"] = max(1, source["delay"])  # a synapse acts in the next step
            before = layers[source["node"]].group
            parts.append(
                _synapses(before, layer.group, weight, samples, (source["delay"] - 1) * dt)
            )
    brian2.Network(*parts).run(steps * dt)
    observed: dict[str, Array] = {}
    for name, layer in layers.items():
        observed |= {f"{name}/{k}": a for k, a in layer.observed(steps, samples, dt).items()}
    return PEER.answered(manifest, arrays, observed)


class _Layer:
    """Neurons of all samples side by side, what drives them, and their monitors."""

    def __init__(self, manifest: Any, arrays: dict[str, Array], name: str, dt: Any) -> None:
        import brian2

        entry, drive = manifest["layers"][name], external(manifest, arrays, name)
        self.model, self.n = entry["model"], drive.shape[2]
        arguments = _arguments(entry, params_of(arrays, name))
        _describe(entry, arguments)
        values = {k: v for k, v in arguments.items() if k not in ("method", *_TEXTS)}
        arrays |= {f"layers/{name}/params.{k}": np.asarray(v) for k, v in values.items()}
        self.group = brian2.NeuronGroup(
            drive.shape[1] * self.n,
            EQUATIONS[self.model] + SHARED,
            method=arguments["method"],
            **{k: arguments[k] for k in _TEXTS},
            namespace={"drive": brian2.TimedArray(drive.reshape(len(drive), -1), dt=dt)},
        )
        for key, value in {"r": 1.0, "w_in": 1.0, "v_leak": 0.0, "v_reset": 0.0, **values}.items():
            whole = np.tile(np.broadcast_to(np.ravel(value), self.n), drive.shape[1])
            setattr(self.group, key, whole * (brian2.second if "tau" in key else 1))
        self.group.v = self.group.v_leak[:] if self.model != "brian2.IF" else 0.0
        jump = "\ni_syn += w_in*x" if self.model == "brian2.CubaLIF" else ""
        hears = self.group.run_regularly(
            f"x = drive(t, i) + arrived\narrived = 0{jump}", when="start"
        )
        states = ["x", "v"] + (["i_syn"] if jump else [])
        self.states = brian2.StateMonitor(self.group, states, record=True, when="end")
        self.spikes = brian2.SpikeMonitor(self.group)
        self.parts = [self.group, hears, self.states, self.spikes]

    def observed(self, steps: int, samples: int, dt: Any) -> dict[str, Array]:
        """Spikes and states [T, B, n]."""
        shape = (steps, samples, self.n)
        fired = np.zeros((steps, samples * self.n), np.int32)
        at = np.rint(np.asarray(self.spikes.t / dt)).astype(int)
        np.add.at(fired, (at, np.asarray(self.spikes.i)), 1)
        names = {"x": "input_current", "v": "membrane", "i_syn": "synaptic_current"}
        found = {
            names[k]: np.ascontiguousarray(np.asarray(getattr(self.states, k)).T).reshape(shape)
            for k in self.states.record_variables
        }
        return {"spikes": fired.reshape(shape), **found}


_TEXTS = ("threshold", "reset", "refractory")


def _arguments(entry: Mapping[str, Any], params: Mapping[str, Array]) -> dict[str, Any]:
    """What the neurons are made with: given as such, or derived from switches."""
    own: dict[str, Any] = {
        "method": METHOD.get(entry["model"], "exact"),
        "threshold": "v > v_threshold",
        "reset": RESETS["value"],
        "refractory": False,
        "v_threshold": 1.0,
    }
    if "arguments" in entry:
        return own | entry["arguments"]
    own["threshold"] = f"v {entry['compare']} v_threshold"
    own["reset"] = RESETS[entry["reset"]]
    return {**own, **params}


def _describe(entry: dict[str, Any], arguments: Mapping[str, Any]) -> None:
    """Put the switches that the arguments stand for into the manifest."""
    if arguments["refractory"]:
        raise ValueError("a refractory period has no twin")
    if arguments["method"] not in flowing.METHODS:
        raise ValueError(f"method {arguments['method']!r} has no twin")
    resets = {text: kind for kind, text in RESETS.items()}
    switches = flowing.EXACT.updated(flowing.METHODS[arguments["method"]])
    compared = {"compare": arguments["threshold"].split()[1], "reset": resets[arguments["reset"]]}
    entry |= switches.updated(compared).manifest()


def _synapses(before: Any, after: Any, weight: Array, samples: int, delay: Any) -> Any:
    """The same weights in every sample."""
    import brian2

    post, pre = np.nonzero(weight)
    offset = np.arange(samples)[:, None]
    found = brian2.Synapses(before, after, "w : 1", on_pre="arrived_post += w")
    found.connect(
        i=(pre + offset * weight.shape[1]).ravel(), j=(post + offset * weight.shape[0]).ravel()
    )
    found.w = np.tile(weight[post, pre], samples)
    found.delay = delay
    return found
