r"""NEST, in an interpreter of its own: `iaf_psc_delta` and `iaf_psc_exp` on a grid, in float64.

NEST reads no NIR. A step is: the flow, then what arrives, the comparison :math:`V \ge V_{th}`, the
reset. A spike is stamped at the end of its step and arrives one step later at the earliest. So

.. math::
    v' = a v + (1 - a) E_L + J, \qquad
    v' = a v + (1 - a) E_L + \frac{\tau_m}{C_m} \kappa(dt) i, \quad
    i' = e^{-dt/\tau_s} i + J,                                              \tag{1}

where J is what arrives: in `iaf_psc_delta` it acts in its own step, in `iaf_psc_exp` in the
next one. A current x of NIR's LIF, held over a step, is the jump :math:`r (1 - a) x`; a
spike into its CubaLIF the jump :math:`w_{in}\,dt/\tau_s`. There is no neuron without a leak.
NEST has no recordable for what arrives: the input current of a recording is what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from validation import flowing
from validation.declaration import Declaration, alone, external, links, of_graph, params_of
from validation.model import Array
from validation.native import Native
from validation.peer import Peer

PEER = Peer("nest", "nest-simulator", "nest-simulator", __file__)
record = PEER.record
_GRID = flowing.EXACT.updated({"compare": ">="})
_LOWER = {"defaults": {"v_threshold": 1.0, "V_min": None}, "lower": "V_min"}
MODELS = (
    flowing.leaky("nest.iaf_psc_delta", _GRID, **_LOWER),
    flowing.synaptic("nest.iaf_psc_exp", _GRID),
)
#: NEST's steps before the first of a recording: generators start late, and so do their spikes.
FIRST = 2
#: `V_min` above this is a bound.
UNBOUNDED = -1e300
_READ = ("V_m", "E_L", "V_th", "V_reset", "V_min", "t_ref", "tau_m", "C_m", "I_e", "delta",
         "tau_syn_ex", "tau_syn_in")  # fmt: skip


def built(graph: Any, dt: float, n_steps: int) -> Declaration:
    """A NIR graph as what `record` takes."""
    return of_graph(PEER.framework, MODELS, graph, dt)


def imported(graph: Any, dt: float, x: Array) -> Array:
    """Output of a NIR graph, translated as (1) says."""
    return PEER.output(MODELS, graph, dt, x)


def natives() -> Iterator[Native]:
    """Two neurons with other values of every parameter, and the others by name."""
    base = {"E_L": 0.0, "V_m": 0.0, "V_th": 1.0, "V_reset": 0.0, "t_ref": 0.0, "C_m": 4.0}
    per_neuron = np.linspace(0.5, 1.5, 8)
    shared: dict[str, Any] = {
        "tau_m": [5.0, 10 * per_neuron],
        "C_m": [10.0],
        "E_L": [0.25],
        "V_m": [0.5],
        "V_th": [0.5, per_neuron],
        "V_reset": [-0.25],
        "I_e": [0.5],
        "t_ref": [2.0],
        "dt": [5e-4],
    }
    own: dict[str, dict[str, Any]] = {
        "iaf_psc_delta": {"V_min": [-0.5], "refractory_input": [True]},
        "iaf_psc_exp": {"tau_syn_ex": [4.0], "tau_syn_in": [4.0], "delta": [0.1]},
    }
    for kind, more in own.items():
        yield Native(kind, partial(_neuron, kind), base, {**shared, **more})
    for name in PEER.ask("others", {}, {})[0]["others"]:
        yield Native(name)


def _neuron(kind: str, dt: float = 1e-3, **arguments: Any) -> Any:
    return alone("nest", f"nest.{kind}", arguments, dt)


# --------------------------------------------------------------------------- in NEST's interpreter


def others(manifest: Any, arrays: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """Integrate-and-fire neurons without a twin."""
    nest = _nest(1.0)
    known = [m.name.partition(".")[2] for m in MODELS]
    found = [name for name in nest.node_models if name.startswith("iaf_") and name not in known]
    return {"others": sorted(found), "n_steps": 0, "n_samples": 0, "layers": {}}, {}


def run(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """The recording of a declared network."""
    dt = manifest["dt"]
    nest = _nest(1e3 * dt)
    steps, samples = arrays["input"].shape[:2]
    layers = {name: _Layer(nest, manifest, arrays, name) for name in manifest["layers"]}
    for name, layer in layers.items():
        for source, weight in links(manifest, arrays, name):
            delay = max(1, source["delay"] - layer.late)
            source["delay"] = delay + layer.late
            before = layers[source["node"]].neurons
            post, pre = np.nonzero(weight)
            jumps = (weight * np.broadcast_to(layer.scale, layer.n)[:, None])[post, pre]
            for b in range(samples):
                _connect(
                    nest, _ids(before)[pre + b * weight.shape[1]],
                    _ids(layer.neurons)[post + b * layer.n], jumps, delay * nest.resolution,
                )  # fmt: skip
    nest.Simulate((steps + FIRST + 1) * nest.resolution)
    observed: dict[str, Array] = {}
    for name, layer in layers.items():
        observed |= {f"{name}/{k}": a for k, a in layer.observed(nest, steps, samples).items()}
    for name in layers:
        for source, weight in links(manifest, arrays, name):
            sent = np.zeros_like(observed[f"{source['node']}/spikes"])
            sent[source["delay"] :] = observed[f"{source['node']}/spikes"][: -source["delay"]]
            observed[f"{name}/input_current"] += sent @ weight.T
    return PEER.answered(manifest, arrays, observed)


def _nest(resolution: float) -> Any:
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution = resolution
    return nest


class _Layer:
    """Neurons of all samples side by side, what drives them, and their recorders."""

    def __init__(self, nest: Any, manifest: Any, arrays: dict[str, Array], name: str) -> None:
        entry, self.drive = manifest["layers"][name], external(manifest, arrays, name)
        kind, samples = entry["model"].partition(".")[2], self.drive.shape[1]
        self.n, dt = self.drive.shape[2], manifest["dt"]
        # Arrivals are added after the flow: to the membrane itself, or to a current.
        self.late = 1 if kind == "iaf_psc_exp" else 0
        params = params_of(arrays, name)
        self.scale: Any = 1.0
        if "arguments" in entry:
            given, gain = entry["arguments"], "1" if not self.late else _GRID.input_gain
            entry |= _GRID.updated({"input_gain": gain}).manifest()
        else:
            given = _settings(params, self.late)
            self.scale = (
                params["w_in"] if self.late else -np.expm1(-dt / params["tau"]) * params["r"]
            )
            if entry["reset"] != "value":
                given["V_th"] = np.full(self.n, np.finfo(float).max)
        self.neurons = nest.Create(kind, samples * self.n)
        whole = {k: np.broadcast_to(np.ravel(v), self.n).tolist() for k, v in given.items()}
        each = [dict(zip(whole, row, strict=True)) for row in zip(*whole.values(), strict=True)]
        self.neurons.set(each * samples)  # at once: V_reset must be below V_th at any time
        if "arguments" in entry:
            found = _described(self.neurons[: self.n].get(), self.late)
            arrays |= {f"layers/{name}/params.{k}": v for k, v in found.items()}
        self._drive(nest)
        self.states = nest.Create(
            "multimeter", {"record_from": ["V_m"], "interval": nest.resolution}
        )
        self.spikes = nest.Create("spike_recorder", {"time_in_steps": True})
        nest.Connect(self.states, self.neurons)
        nest.Connect(self.neurons, self.spikes)

    def _drive(self, nest: Any) -> None:
        """One generator for each neuron, whose spikes have the weights of the drive."""
        h = nest.resolution
        flat = (self.drive * self.scale).reshape(len(self.drive), -1)
        steps = [np.flatnonzero(column) for column in flat.T]
        made = [
            {
                "spike_times": np.round((at + FIRST - self.late) * h, 6).tolist(),
                "spike_weights": flat[at, k].tolist(),
            }
            for k, at in enumerate(steps)
        ]
        generators = nest.Create("spike_generator", len(made), made)
        nest.Connect(generators, self.neurons, "one_to_one", {"delay": h, "weight": 1.0})

    def observed(self, nest: Any, steps: int, samples: int) -> dict[str, Array]:
        """Spikes and states [T, B, n]."""
        first, shape = _ids(self.neurons)[0], (steps, samples * self.n)
        seen, fired = self.states.events, self.spikes.events
        at = np.rint(np.asarray(seen["times"]) / nest.resolution).astype(int) - FIRST - 1
        states, spikes = np.zeros((steps + 1, shape[1])), np.zeros(shape, np.int32)
        inside = (at >= -1) & (at < steps)  # -1: what the first step starts from
        states[at[inside] + 1, _ids(seen["senders"])[inside] - first] = seen["V_m"][inside]
        at = _ids(fired["times"]) - FIRST - 1
        inside = (at >= 0) & (at < steps)
        np.add.at(spikes, (at[inside], (_ids(fired["senders"]) - first)[inside]), 1)
        found = {"spikes": spikes, "membrane": states[1:], "input_current": self.drive}
        found = {k: a.reshape(steps, samples, self.n) for k, a in found.items()}
        return {**found, "initial_state.v": states[0].reshape(samples, self.n)}


def _settings(params: dict[str, Array], late: int) -> dict[str, Any]:
    """NEST's parameters, in ms, from those of a twin."""
    tau = 1e3 * (params["tau_mem"] if late else params["tau"])
    own = {"tau_m": tau, "C_m": tau / params["r"] if late else tau, "t_ref": 0.0}
    if late:
        own |= {key: 1e3 * params["tau_syn"] for key in ("tau_syn_ex", "tau_syn_in")}
    level = {"E_L": params["v_leak"], "V_m": params["v_leak"], "V_reset": params["v_reset"]}
    return {**own, **level, "V_th": params["v_threshold"]}


def _described(has: dict[str, Any], late: int) -> dict[str, Array]:
    """A twin's parameters, in seconds, from what NEST says that the neurons have."""
    has = {k: np.asarray(v, float) for k, v in has.items() if k in _READ}
    if np.any(has["t_ref"]):
        raise ValueError("a refractory period has no twin")
    if late and np.any(has["delta"]):
        raise ValueError("escape noise (delta) has no twin")
    if late and np.any(has["tau_syn_ex"] != has["tau_syn_in"]):
        raise ValueError("two synaptic time constants have no twin")
    level = has["E_L"] + has["I_e"] * has["tau_m"] / has["C_m"]
    found = {"v_leak": level, "v_reset": has["V_reset"], "v_threshold": has["V_th"]}
    if late:
        more = {"tau_mem": has["tau_m"] / 1e3, "tau_syn": has["tau_syn_ex"] / 1e3}
        found |= {**more, "r": has["tau_m"] / has["C_m"]}
    else:
        found["tau"] = has["tau_m"] / 1e3
        if np.all(has["V_min"] > UNBOUNDED):
            found["V_min"] = has["V_min"]
    return found


def _ids(nodes: Any) -> Array:
    return np.asarray(nodes.tolist(), np.int64)


def _connect(nest: Any, pre: Array, post: Array, weight: Array, delay: float) -> None:
    if pre.size:
        synapses = {"weight": weight, "delay": np.full(pre.size, delay)}
        nest.Connect(pre, post, "one_to_one", {"synapse_model": "static_synapse", **synapses})
