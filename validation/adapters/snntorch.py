r"""snnTorch: `Leaky` and `Synaptic`.

With the pending reset :math:`R = [v_{t-1} > \theta]` (strictly, whatever the docstring says),

.. math::
    v_t = \beta v_{t-1} + x_t - R\theta, \qquad
    v_t = \beta (1 - R) v_{t-1} + x_t, \qquad
    i_t = \alpha i_{t-1} + x_t, \quad v_t = \beta v_{t-1} + i_t             \tag{1}

for "subtract", "zero", and the two equations of `Synaptic`, whose "zero" multiplies the
integrated membrane by 1 - R and so loses the input of that step. `reset_delay=False` adds
:math:`v_t \leftarrow v_t - (s_t - R)\theta`, or :math:`v_t - (s_t - R) v_t`.

There is no dt: alpha and beta are factors per step.
"""

from __future__ import annotations

import contextlib
import io
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
    factor_of_raw,
    node_values,
)
from validation.native import Native, Traveller
from validation.tensors import array_of, closure_of, stepped

_DELAYED = Semantics(
    compare=">",
    reset="subtract",
    reset_timing="next_step",
    membrane_point="pre_reset",
    decay="raw",
    input_gain="1",
    carried_reset=True,
)


def _constants(p: dict[str, Any], s: Semantics, dt: float | None, dtype: Any) -> Constants:
    beta = np.clip(p["beta"], 0, 1)
    retain = factor_of_raw(s.decay, beta)
    rate = -np.log(np.maximum(beta, np.finfo(beta.dtype).tiny))  # 1/tau per step
    gain = factor_of_input(s.input_gain, retain, rate, rate) * p["r"]
    drift = (1 - retain) * p["v_leak"] if np.any(p["v_leak"]) else None
    own = {"retain": retain, "gain": gain, "w_in": p["w_in"], "drift": drift}
    alpha = None
    if "alpha" in p:
        alpha = own["alpha"] = factor_of_raw(s.decay, np.clip(p["alpha"], 0, 1))
    cancels, subtracts = s.decay == "euler", s.input_gain == "1-decay"
    return Constants(
        retain=retain,
        gain=gain,
        jump=p["w_in"],
        v_leak=p["v_leak"],
        retain_syn=alpha,
        spread_v=1 + np.abs(1 - retain) if cancels else np.abs(retain),
        spread_i=np.abs(p["r"]) * (1 + np.abs(retain)) if subtracts else np.abs(gain),
        own=own,
    )


def _leaky(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    v = c["retain"] * v + c["gain"] * (c["w_in"] * x)
    return (v if c["drift"] is None else v + c["drift"]), i


def _synaptic(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    i = c["alpha"] * i + c["w_in"] * x
    v = c["retain"] * v + c["gain"] * i
    return (v if c["drift"] is None else v + c["drift"]), i


def _taus(p: dict[str, Any], s: Semantics, dt: float | None) -> tuple[Any, Any]:
    def tau(raw: Any) -> Any:
        raw = np.clip(raw, 0, 1)
        with np.errstate(divide="ignore"):  # 0 and 1 are refused, or no leak at all
            per_step = 1 - raw if s.decay == "exp" else -np.log(raw)
            return (1.0 if dt is None else dt) / per_step

    leaky = np.any(np.asarray(p["beta"]) < 1)
    return tau(p["beta"]) if leaky else None, tau(p["alpha"]) if "alpha" in p else None


def _euler(tau: Any, dt: float) -> Any:
    return dt / np.asarray(tau, np.float64)


def _nir_leaky(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, str]]:
    """snnTorch's own convention is beta = 1 - dt/tau; it exports r = tau/dt."""
    params = node_values("snntorch.Leaky", node, ["LIF"], "threshold")
    step = _euler(node.tau, dt)
    return params | {"beta": 1.0 - step, "r": node.r * step}, {"decay": "raw", "input_gain": "1"}


def _nir_synaptic(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, str]]:
    params = node_values("snntorch.Synaptic", node, ["CubaLIF"], "threshold")
    step, step_syn = _euler(node.tau_mem, dt), _euler(node.tau_syn, dt)
    params |= {"alpha": 1.0 - step_syn, "beta": 1.0 - step}
    params |= {"r": node.r * step, "w_in": node.w_in * step_syn}
    return params, {"decay": "raw", "input_gain": "1"}


def _zero(p: dict[str, Any], s: Semantics) -> float:
    return 0.0


MODELS = (
    Model(
        name="snntorch.Leaky",
        required=("beta",),
        defaults={"threshold": 1.0},
        semantics=_DELAYED,
        threshold="threshold",
        time={"beta": "raw"},
        constants=_constants,
        charge=_leaky,
        taus=_taus,
        initial=_zero,
        nir=_nir_leaky,
    ),
    Model(
        name="snntorch.Synaptic",
        required=("alpha", "beta"),
        defaults={"threshold": 1.0},
        semantics=Semantics(**{**vars(_DELAYED), "lossy_reset": True}),
        threshold="threshold",
        time={"alpha": "raw", "beta": "raw"},
        constants=_constants,
        charge=_synaptic,
        taus=_taus,
        initial=_zero,
        nir=_nir_synaptic,
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
    import snntorch

    probe = Probe(
        framework="snntorch",
        neurons=(snntorch.Leaky, snntorch.Synaptic),
        stateful=(snntorch.SpikingNeuron,),
        describe=_describe,
        observe=_observe,
        given=_given,
        fresh=_fresh,
        sequence=lambda module: False,
    )
    return record_model(model, input, probe, dt=dt, device=device, cotangent=cotangent)


def _describe(module: Any) -> Neuron:
    kind = type(module).__name__
    for name in ("inhibition", "state_quant"):
        if getattr(module, name):
            raise ValueError(f"snntorch.{kind} with {name}={getattr(module, name)!r} has no twin")
    if bool((module.graded_spikes_factor != 1).any()):
        raise ValueError(f"snntorch.{kind} with graded_spikes_factor other than 1 has no twin")
    own = next(m.semantics for m in MODELS if m.name == f"snntorch.{kind}")
    # The tensor decides, as in the module; the attribute may be stale after load_state_dict.
    reset = ("subtract", "value", "none")[int(module.reset_mechanism_val)]
    switches = {"reset": reset}
    if not module.reset_delay:
        switches |= {"reset_timing": "same_step", "membrane_point": "post_reset"}
    names = ("beta", "threshold") if kind == "Leaky" else ("alpha", "beta", "threshold")
    gradient = module.spike_grad
    return Neuron(
        model=f"snntorch.{kind}",
        semantics=own.updated(switches),
        params={name: array_of(getattr(module, name)) for name in names},
        reset_detached=bool(module.reset_delay),
        surrogate={
            "name": "snntorch." + getattr(gradient, "__qualname__", "unknown").split(".")[0],
            "params": closure_of(gradient),
        },
    )


def _observe(module: Any, args: tuple[Any, ...], output: Any) -> dict[str, Any]:
    spikes = output[0] if isinstance(output, tuple) else output
    seen = {"input_current": args[0], "spikes": spikes, "membrane": module.mem}
    return seen | ({"synaptic_current": module.syn} if hasattr(module, "syn") else {})


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """`forward(x, mem)` or `forward(x, syn, mem)`; an empty tensor stands for zeros."""
    states = [*args[1:], *(kwargs[k] for k in ("syn", "mem") if kwargs.get(k) is not None)]
    named = dict(zip(("v", "i"), reversed(states), strict=False))
    return {k: v for k, v in named.items() if v is not None and v.numel()}


@contextlib.contextmanager
def _fresh(model: Any) -> Iterator[None]:
    import snntorch
    import torch

    modules = [m for m in model.modules() if isinstance(m, snntorch.SpikingNeuron)]
    saved = [(m, n, getattr(m, n)) for m in modules for n in ("mem", "syn") if hasattr(m, n)]
    resets = [(m, vars(m).pop("reset", None)) for m in modules]
    try:
        for module, name, value in saved:  # empty: the next call makes zeros like its input
            setattr(module, name, torch.zeros(0, device=value.device))
        yield
    finally:
        for module, name, value in saved:
            setattr(module, name, value)
        for module, reset in resets:
            vars(module).pop("reset", None)
            if reset is not None:
                module.reset = reset


# ------------------------------------------------------------------------------------------ NIR


def built(graph: Any, dt: float, n_steps: int) -> Any:
    """The model that the importer makes of a NIR graph.

    It knows no step; it takes every graph to be meant for 0.1 ms.
    """
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        return import_from_nir(graph)


def imported(graph: Any, dt: float, x: Array) -> Array:
    """What the importer makes of a NIR graph: its output on `x` [T, B, ...]."""
    import snntorch.utils

    model = built(graph, dt, len(x))
    snntorch.utils.reset(model)
    return stepped(model, x)


def exported(model: Any, dt: float, x: Array) -> Any:
    """What the exporter makes of a model."""
    import torch
    from snntorch.export_nir import export_to_nir

    played(model, x[:1])
    with contextlib.redirect_stdout(io.StringIO()):
        return export_to_nir(model, torch.as_tensor(x[0, 0]))


def played(model: Any, x: Array) -> Array:
    """Output of a model from rest, step by step."""
    import snntorch.utils

    snntorch.utils.reset(model)
    return stepped(lambda now, state: (model(now), None), x)


def natives() -> Iterator[Native]:
    """Its neuron classes, with other values of every argument."""
    import snntorch
    import torch
    from snntorch import surrogate

    each = torch.linspace(0.5, 0.95, 8)
    shared: dict[str, Any] = {
        "threshold": [0.5, each],
        "spike_grad": [surrogate.fast_sigmoid(), surrogate.sigmoid()],
        "surrogate_disable": [True],
        "init_hidden": [False],
        "inhibition": [True],
        "learn_threshold": [True],
        "reset_mechanism": ["zero", "none"],
        "state_quant": [lambda v: torch.round(v * 8) / 8],
        "output": [True],
        "reset_delay": [False],
    }
    settable = {"reset_mechanism": "zero", "threshold": torch.tensor(0.5), "inhibition": True}
    graded = {"graded_spikes_factor": [2.0], "learn_graded_spikes_factor": [True]}
    leaky = {"beta": [0.5, each], "learn_beta": [True], **shared, **graded}
    hidden = {"init_hidden": True}
    yield Native("Leaky", snntorch.Leaky, {"beta": 0.9, **hidden}, leaky, settable)
    both = {"alpha": [0.25, each], "learn_alpha": [True], "beta": [0.5], "learn_beta": [True]}
    base = {"alpha": 0.75, "beta": 0.9, **hidden}
    yield Native("Synaptic", snntorch.Synaptic, base, {**both, **shared}, settable)
    for name, found in vars(snntorch).items():
        if isinstance(found, type) and issubclass(found, snntorch.SpikingNeuron):
            if name not in ("SpikingNeuron", "LIF", "Leaky", "Synaptic"):
                yield Native(name)


def travellers() -> Iterator[Traveller]:
    """Its exporter wants parameters per neuron."""
    import snntorch
    import torch

    def layer(kind: str, n: int, **options: Any) -> Any:
        whole = {"beta": torch.full((n,), 0.875), "threshold": torch.ones(n), "init_hidden": True}
        if kind.endswith("Synaptic"):
            whole["alpha"] = torch.full((n,), 0.5)
        if kind.startswith("R"):
            whole["linear_features"] = n
        neuron = getattr(snntorch, kind)(**whole, **options)
        if kind.startswith("R"):
            drawn = np.random.default_rng(5).normal(size=(n, n)) / 4
            with torch.no_grad():  # multiples of 1/64, as all weights that are asked about
                neuron.recurrent.weight.copy_(torch.tensor(np.round(64 * drawn) / 64))
                neuron.recurrent.bias.zero_()
        return neuron

    def of(kind: str, **options: Any) -> Any:
        return lambda n: layer(kind, n, **options)

    for kind in ("Leaky", "Synaptic"):
        for reset in ("subtract", "zero", "none"):
            variant = f"reset_mechanism={reset}"
            yield Traveller(kind, variant, of(kind, reset_mechanism=reset), 1e-4)
            late = of(kind, reset_mechanism=reset, reset_delay=False)
            yield Traveller(kind, f"{variant} reset_delay=False", late, 1e-4)
    yield Traveller("RLeaky", "reset_mechanism=subtract", of("RLeaky"), 1e-4)
    yield Traveller("RSynaptic", "reset_mechanism=subtract", of("RSynaptic"), 1e-4)
