r"""sinabs: `LIF` and `IAF`.

With :math:`\alpha = e^{-1/\tau}`, :math:`\tau` in steps (there is no dt), and
:math:`g = 1-\alpha` where `norm_input`, else 1,

.. math::
    i = \alpha_s (i + x) \;\text{or}\; x, \qquad v' = \alpha v + g i, \qquad
    n = [v' > 0]\,\mathrm{trunc}(v'/\theta) \;\text{or}\; [v' \ge \theta],    \tag{1}

then :math:`v = v' - n\theta`, or the reset value where :math:`n > 0`, and a lower bound
`min_v_mem`. `IAF` has :math:`\alpha = g = 1`.

sinabs evaluates :math:`\alpha` in float32 with an exponential that may err in the last place, so
a recording holds it as `params.alpha_mem`, `params.alpha_syn`. It is believed only where it is a
rounding of the declared time constant, or where the layer trains it instead of that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from validation.hooks import Neuron, Probe, record_model
from validation.model import (
    Array,
    Constants,
    Model,
    Semantics,
    factor_of_input,
    factor_of_tau,
    node_values,
)
from validation.native import Native, Traveller
from validation.tensors import array_of, attributes_restored, flattened, tensor_of

_SOFT = Semantics(
    compare=">=", reset="subtract", decay="exp", input_gain="1-decay", max_spikes_per_step=None
)


def _factor(p: dict[str, Any], which: str, kind: str) -> tuple[Array, Array]:
    """Decay factor of one step, and 1/tau; `which` is "mem" or "syn"."""
    tau, alpha = p.get(f"tau_{which}"), p[f"alpha_{which}"]
    if tau is None:
        if alpha is None:
            raise ValueError(f"sinabs.LIF needs the parameter 'tau_{which}' or 'alpha_{which}'")
        inverse = np.asarray(-np.log(alpha), alpha.dtype)
        return alpha if kind != "euler" else factor_of_tau(kind, inverse), inverse
    inverse = np.asarray(1 / tau, tau.dtype)
    own = factor_of_tau("exp", inverse)
    if alpha is not None and np.shape(alpha) == np.shape(own):
        rounding = np.abs(alpha.astype(np.float64) - own) <= 4 * np.spacing(own)
        own = np.where(rounding, alpha, own).astype(own.dtype)
    return factor_of_tau(kind, inverse) if kind == "euler" else own, inverse


def _constants(p: dict[str, Any], s: Semantics, dt: float | None, dtype: Any) -> Constants:
    synapse = p["tau_syn"] is not None or p["alpha_syn"] is not None
    if "tau_mem" in p:
        retain, inverse = _factor(p, "mem", s.decay)
        gain = factor_of_input(s.input_gain, retain, inverse, inverse) * p["r"]
        exponent = float(np.max(inverse))
        sizes = np.abs(p["r"]) * (1 + np.abs(retain))
    else:  # IAF: no leak, so no time constant that could scale the input
        retain, gain, exponent = np.ones_like(p["r"]), p["r"], 0.0
        sizes = np.abs(gain)
    drift = (1 - retain) * p["v_leak"] if np.any(p["v_leak"]) else None
    own = {"retain": retain, "gain": gain, "w_in": p["w_in"], "drift": drift, "retain_syn": None}
    jump = p["w_in"]
    if synapse:
        own["retain_syn"], inverse_syn = _factor(p, "syn", s.decay)
        jump, exponent = jump * own["retain_syn"], max(exponent, float(np.max(inverse_syn)))
    return Constants(
        retain=retain,
        gain=gain,
        jump=jump,
        v_leak=p["v_leak"],
        retain_syn=own["retain_syn"],
        spread_v=1 + np.abs(1 - retain) if s.decay == "euler" else np.abs(retain),
        spread_i=np.maximum(sizes, np.abs(gain)),
        exponent=exponent,
        own=own,
    )


def _charge(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    x = c["w_in"] * x
    i = x if c["retain_syn"] is None else c["retain_syn"] * (i + x)
    v = c["retain"] * v + c["gain"] * i
    return (v if c["drift"] is None else v + c["drift"]), i


def _taus(p: dict[str, Any], s: Semantics, dt: float | None) -> tuple[Any, Any]:
    def tau(which: str) -> Any:
        given, alpha = p.get(f"tau_{which}"), p[f"alpha_{which}"]
        if given is None and alpha is None:
            return None
        return (1.0 if dt is None else dt) * (-1 / np.log(alpha) if given is None else given)

    return tau("mem") if "tau_mem" in p else None, tau("syn")


def _zero(p: dict[str, Any], s: Semantics) -> float:
    return 0.0


def _nir_lif(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
    params = node_values("sinabs.LIF", node, ["LIF", "CubaLIF"], "spike_threshold")
    cuba = hasattr(node, "tau_syn")
    params["tau_mem"] = np.asarray(node.tau_mem if cuba else node.tau, np.float64) / dt
    if cuba:
        # A spike held for one step leaves (1 - a) w_in in I; sinabs leaves a times the input.
        tau = params["tau_syn"] = np.asarray(node.tau_syn, np.float64) / dt
        params["w_in"] = node.w_in * np.expm1(1 / tau)
    return params, {"decay": "exp", "input_gain": "1-decay"}


def _nir_if(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
    params = node_values("sinabs.IAF", node, ["IF"], "spike_threshold")
    return params | {"r": node.r * dt}, {"decay": "raw", "input_gain": "1"}


_COMMON = {
    "tau_syn": None,
    "alpha_syn": None,
    "spike_threshold": 1.0,
    "min_v_mem": None,
    "subtract_value": None,
}

MODELS = (
    Model(
        name="sinabs.LIF",
        defaults={"tau_mem": None, "alpha_mem": None, **_COMMON},
        semantics=_SOFT,
        product_dtype=np.float32,
        threshold="spike_threshold",
        lower="min_v_mem",
        subtract="subtract_value",
        time={"tau_mem": "steps", "tau_syn": "steps", "alpha_mem": "factor", "alpha_syn": "factor"},
        constants=_constants,
        charge=_charge,
        taus=_taus,
        initial=_zero,
        nir=_nir_lif,
    ),
    Model(
        name="sinabs.IAF",
        defaults=dict(_COMMON),
        semantics=Semantics(
            compare=">=",
            reset="subtract",
            decay="raw",
            input_gain="1",
            max_spikes_per_step=None,
        ),
        product_dtype=np.float32,
        threshold="spike_threshold",
        lower="min_v_mem",
        subtract="subtract_value",
        time={"tau_syn": "steps", "alpha_syn": "factor"},
        constants=_constants,
        charge=_charge,
        taus=_taus,
        initial=_zero,
        nir=_nir_if,
    ),
)


def record(
    model: Any,
    input: Any,
    *,
    dt: float | None = None,
    device: Any = None,
    cotangent: Any = None,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Manifest and arrays of one run; see `validation.record`."""
    from sinabs.layers import IAF, LIF, IAFSqueeze, LIFSqueeze, StatefulLayer

    probe = Probe(
        framework="sinabs",
        neurons=(LIF, IAF, LIFSqueeze, IAFSqueeze),
        stateful=(StatefulLayer,),
        describe=_describe,
        observe=_observe,
        fresh=_fresh,
        sequence=lambda module: True,
        batch_first=True,
    )
    return record_model(model, input, probe, dt=dt, device=device, cotangent=cotangent)


def _describe(module: Any) -> Neuron:
    from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, MultiSpike, SingleSpike

    kind = type(module).__name__.removesuffix("Squeeze")
    own = next(m.semantics for m in MODELS if m.name == f"sinabs.{kind}")
    fire, reset, surrogate = module.spike_fn, module.reset_fn, module.surrogate_grad_fn
    caps = {SingleSpike: 1, MultiSpike: None}
    if isinstance(fire, MaxSpike):
        cap = fire.max_num_spikes_per_bin
    elif fire in caps:
        cap = caps[fire]
    else:
        raise ValueError(f"sinabs.{kind} with spike_fn={fire!r} has no twin")
    if type(reset) not in (MembraneReset, MembraneSubtract):
        raise ValueError(f"sinabs.{kind} with reset_fn={reset!r} has no twin")
    switches = {"max_spikes_per_step": cap}
    switches["reset"] = "value" if type(reset) is MembraneReset else "subtract"
    if kind == "LIF":
        switches["input_gain"] = "1-decay" if module.norm_input else "1"
        switches["decay"] = "raw" if module.train_alphas else "exp"
    numbers = {k: v for k, v in vars(surrogate).items() if type(v) in (int, float)}
    return Neuron(
        model=f"sinabs.{kind}",
        semantics=own.updated(switches),
        params={k: array_of(v) for k, v in _params(module, reset, kind).items()},
        reset_detached=type(reset) is MembraneReset,  # it compares the count with 0
        surrogate={"name": f"sinabs.{type(surrogate).__name__}", "params": numbers},
    )


def _params(module: Any, reset: Any, kind: str) -> dict[str, Any]:
    params = {
        "spike_threshold": module.spike_threshold,
        "min_v_mem": module.min_v_mem,
        "subtract_value": getattr(reset, "subtract_value", None),
        "v_reset": getattr(reset, "reset_value", None),
        "alpha_syn": module.alpha_syn_calculated,
    }
    trained = module.train_alphas
    params["tau_syn"] = None if trained else module.tau_syn
    if kind == "LIF":
        params["tau_mem"] = None if trained else module.tau_mem
        params["alpha_mem"] = module.alpha_mem_calculated
    return params


def _observe(module: Any, args: tuple[Any, ...], output: Any) -> dict[str, Any]:
    """A `Squeeze` layer gets and gives (B * T, ...); its states tell B and T."""
    states = module.recordings
    shape = states["v_mem"].shape
    x, spikes = args[0].reshape(shape), output.reshape(shape)
    seen = {"input_current": x, "spikes": spikes, "membrane": states["v_mem"]}
    return seen | ({"synaptic_current": states["i_syn"]} if "i_syn" in states else {})


@contextlib.contextmanager
def _fresh(model: Any) -> Iterator[None]:
    import torch
    from sinabs.layers import StatefulLayer

    modules = [m for m in model.modules() if isinstance(m, StatefulLayer)]
    saved = [(m, name, b) for m in modules for name, b in m.named_buffers(recurse=False)]
    extras = ("record_states", "recordings", "firing_rate")
    with attributes_restored(modules, extras):
        try:
            for module, name, buffer in saved:  # empty: the next call makes zeros
                module._buffers[name] = torch.zeros(0, device=buffer.device)
            for module in modules:
                module.record_states = True
            yield
        finally:
            for module, name, buffer in saved:
                module._buffers[name] = buffer


# ------------------------------------------------------------------------------------------ NIR


def built(graph: Any, dt: float, n_steps: int) -> Any:
    """The model that the importer makes of a NIR graph, for (B, T, ...).

    It knows no step: time constants are taken as numbers of steps.
    """
    import sinabs.nir

    return flattened(sinabs.nir.from_nir(graph, num_timesteps=n_steps))


def imported(graph: Any, dt: float, x: Array) -> Array:
    """What the importer makes of a NIR graph: its output on `x` [T, B, ...]."""
    import torch

    model = built(graph, dt, len(x))
    with torch.no_grad():
        return np.array(model(torch.as_tensor(x).transpose(0, 1)).transpose(0, 1))


def exported(model: Any, dt: float, x: Array) -> Any:
    """What the exporter makes of a model."""
    import sinabs.nir
    import torch

    return sinabs.nir.to_nir(model, torch.as_tensor(x[:, :1]).transpose(0, 1))


def natives() -> Iterator[Native]:
    """Its neuron layers, with other values of every argument."""
    import torch
    from sinabs import layers
    from sinabs.activation import Heaviside as Boxcar
    from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, SingleSpike

    shared: dict[str, Any] = {
        "spike_threshold": [torch.tensor(0.5), torch.linspace(0.5, 1.5, 8)],
        "spike_fn": [SingleSpike, MaxSpike(2)],
        "reset_fn": [MembraneReset(), MembraneSubtract(0.5), MembraneReset(0.25)],
        "surrogate_grad_fn": [Boxcar(0.5)],
        "tau_syn": [5.0],
        "min_v_mem": [-0.25],
        "shape": [torch.Size([8])],
        "record_states": [True],
    }
    settable = {"spike_threshold": torch.tensor(0.5), "min_v_mem": torch.tensor(-0.25)}
    own = {"tau_mem": [4.0, torch.linspace(5.0, 20.0, 8)], "train_alphas": [True]}
    values = {**own, "norm_input": [False], **shared}
    yield Native("LIF", layers.LIF, {"tau_mem": 10.0}, values, {"norm_input": False, **settable})
    yield Native("IAF", layers.IAF, {}, shared, settable)
    for name, found in vars(layers).items():
        if isinstance(found, type) and issubclass(found, layers.StatefulLayer):
            if name not in ("StatefulLayer", "LIF", "IAF", "LIFSqueeze", "IAFSqueeze"):
                yield Native(name)


def travellers() -> Iterator[Traveller]:
    """Parameters per neuron, which an exported graph needs; time is in steps."""
    import torch
    from sinabs import layers
    from sinabs.activation import MembraneReset, SingleSpike

    def lif(**options: Any) -> Any:
        def neuron(n: int) -> Any:
            each = {"tau_mem": torch.full((n,), 10.0), "spike_threshold": torch.ones(n)}
            return layers.LIF(**each, **options)

        return neuron

    yield Traveller("LIF", "", lif(), 1.0)
    yield Traveller("LIF", "norm_input=False", lif(norm_input=False), 1.0)
    single = {"norm_input": False, "spike_fn": SingleSpike}
    yield Traveller("LIF", "norm_input=False spike_fn=SingleSpike", lif(**single), 1.0)
    hard = {"norm_input": False, "reset_fn": MembraneReset()}
    yield Traveller("LIF", "norm_input=False reset_fn=MembraneReset", lif(**hard), 1.0)
    synapse = {"norm_input": False, "tau_syn": 5.0}
    yield Traveller("LIF", "norm_input=False tau_syn=5", lif(**synapse), 1.0)
    yield Traveller("IAF", "", lambda n: layers.IAF(), 1.0)
    yield Traveller("ExpLeak", "", lambda n: layers.ExpLeak(tau_mem=torch.full((n,), 10.0)), 1.0)


def played(model: Any, x: Array) -> Array:
    """Output of a model from rest."""
    import sinabs
    import torch

    sinabs.reset_states(model)
    with torch.no_grad():
        return np.array(tensor_of(model(torch.as_tensor(x).transpose(0, 1))).transpose(0, 1))
