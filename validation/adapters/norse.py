r"""Norse: `LIFBoxCell` and `LIFCell`.

Time constants are given as inverses, dt is explicit, and both are Euler steps:

.. math::
    v' = v + \frac{dt}{\tau_m}(x + v_{leak} - v), \qquad
    i^+ = i + x, \quad v' = v + \frac{dt}{\tau_m}(v_{leak} - v + i^+), \quad
    i' = i^+ - \frac{dt}{\tau_s} i^+,                                       \tag{1}

:math:`z = [v' > v_{th}]`, then :math:`v = v_{reset}` where it fired (`reset_method` of
`LIFBoxCell` may be `reset_subtract`). The first state is `v_leak`.
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
from validation.tensors import array_of, stepped

_HARD = Semantics(compare=">", reset="value", decay="euler", input_gain="dt/tau")


def _rate(inverse: Array, dt: float | None) -> Array:
    """dt/tau as norse multiplies it: dt stored in the dtype of the parameter first."""
    if dt is None or not dt > 0.0:
        raise ValueError(f"norse needs dt, the step of the module in seconds; got dt={dt!r}")
    return np.asarray(inverse.dtype.type(dt) * inverse, inverse.dtype)


def _constants(p: dict[str, Any], s: Semantics, dt: float | None, dtype: Any) -> Constants:
    inverse = _rate(p["tau_mem_inv"], dt)
    exponential = s.decay == "exp"
    retain = factor_of_tau(s.decay, inverse, factor_of_tau("euler", inverse))
    rate = 1 - retain if exponential else inverse
    gain = factor_of_input(s.input_gain, retain, p["tau_mem_inv"], inverse) * p["r"]
    native = s.input_gain == "1-decay" or (s.input_gain == "dt/tau" and not exponential)
    own = {
        "rate": rate,
        "ratio": p["r"] if native else gain / rate,
        "leak": p["v_leak"],
        "w_in": p["w_in"],
    }
    syn, inverse_syn = None, np.zeros(())
    if "tau_syn_inv" in p:
        inverse_syn = _rate(p["tau_syn_inv"], dt)
        syn = factor_of_tau(s.decay, inverse_syn, factor_of_tau("euler", inverse_syn))
        own["rate_syn"] = 1 - syn if exponential else inverse_syn
    largest = max(float(np.max(inverse)), float(np.max(inverse_syn)))
    return Constants(
        retain=retain,
        gain=gain,
        jump=p["w_in"],
        v_leak=p["v_leak"],
        retain_syn=syn,
        decays_after=True,
        spread_v=1 + np.abs(1 - retain),
        spread_i=2 * np.abs(p["r"]) if s.input_gain == "1-decay" else np.abs(gain),
        exponent=largest if exponential else 0.0,
        own=own,
    )


def _box(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    return v + c["rate"] * ((c["ratio"] * (c["w_in"] * x) + c["leak"]) - v), i


def _cell(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    i = i + c["w_in"] * x
    v = v + c["rate"] * ((c["leak"] - v) + c["ratio"] * i)
    return v, i + -c["rate_syn"] * i


def _taus(p: dict[str, Any], s: Semantics, dt: float | None) -> tuple[Any, Any]:
    return 1 / p["tau_mem_inv"], 1 / p["tau_syn_inv"] if "tau_syn_inv" in p else None


def _initial(p: dict[str, Any], s: Semantics) -> Array:
    return p["v_leak"]


def _inverse(tau: Any) -> Array:
    return np.float32(1) / np.asarray(tau, np.float32)


def _nir_box(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
    params = node_values("norse.LIFBoxCell", node, ["LIF"], "v_th")
    params["tau_mem_inv"] = _inverse(node.tau)
    return params, {"decay": "euler", "input_gain": "dt/tau"}


def _nir_cell(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """A spike held for one step makes I jump by w_in dt/tau_syn; norse by 1."""
    params = node_values("norse.LIFCell", node, ["CubaLIF"], "v_th")
    params |= {"tau_syn_inv": _inverse(node.tau_syn), "tau_mem_inv": _inverse(node.tau_mem)}
    params["w_in"] = node.w_in * dt / np.asarray(node.tau_syn, np.float64)
    return params, {"decay": "euler", "input_gain": "dt/tau"}


_VOLTAGES = {"v_leak": 0.0, "v_th": 1.0, "v_reset": 0.0}

MODELS = (
    Model(
        name="norse.LIFBoxCell",
        defaults={"tau_mem_inv": 1.0 / 1e-2, **_VOLTAGES},
        semantics=_HARD,
        threshold="v_th",
        time={"tau_mem_inv": "inverse"},
        constants=_constants,
        charge=_box,
        taus=_taus,
        initial=_initial,
        nir=_nir_box,
    ),
    Model(
        name="norse.LIFCell",
        defaults={"tau_syn_inv": 1.0 / 5e-3, "tau_mem_inv": 1.0 / 1e-2, **_VOLTAGES},
        semantics=_HARD,
        threshold="v_th",
        time={"tau_syn_inv": "inverse", "tau_mem_inv": "inverse"},
        constants=_constants,
        charge=_cell,
        taus=_taus,
        initial=_initial,
        nir=_nir_cell,
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
    from norse.torch.module import lif, lif_box, snn

    probe = Probe(
        framework="norse",
        neurons=(lif_box.LIFBoxCell, lif.LIFCell),
        stateful=(snn.SNNCell, snn.SNNRecurrentCell, snn.SNN, snn.SNNRecurrent),
        describe=_describe,
        observe=_observe,
        given=_given,
        fresh=lambda model: contextlib.nullcontext(),  # the state is passed, never kept
        sequence=lambda module: False,
        step=_step,
    )
    steps = {float(m.dt) for m in model.modules() if type(m) in probe.neurons}
    if len(steps) > 1 or (dt is not None and steps and steps != {dt}):
        raise ValueError(f"dt must be that of every norse cell, got dt={dt} and {sorted(steps)}")
    own = next(iter(steps), dt)
    return record_model(model, input, probe, dt=own, device=device, cotangent=cotangent)


def _describe(module: Any) -> Neuron:
    from norse.torch.functional.reset import reset_subtract, reset_value

    kind, p = type(module).__name__, module.p
    own = next(m for m in MODELS if m.name == f"norse.{kind}")
    method = getattr(p, "reset_method", reset_value)
    if method not in (reset_value, reset_subtract):
        raise ValueError(f"norse.{kind} with reset_method={method!r} has no twin")
    return Neuron(
        model=own.name,
        semantics=own.semantics.updated(
            {"reset": "subtract" if method is reset_subtract else "value"}
        ),
        params={name: array_of(getattr(p, name)) for name in own.defaults},
        reset_detached=False,
        surrogate={"name": f"norse.{p.method}", "params": {"alpha": float(p.alpha)}},
    )


def _observe(module: Any, args: tuple[Any, ...], output: Any) -> dict[str, Any]:
    spikes, state = output
    seen = {"input_current": args[0], "spikes": spikes, "membrane": state.v}
    return seen | ({"synaptic_current": state.i} if hasattr(state, "i") else {})


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    state = args[1] if len(args) > 1 else kwargs.get("state")
    return {} if state is None else {k: getattr(state, k) for k in ("v", "i") if hasattr(state, k)}


def _step(model: Any, x: Any, state: Any) -> Any:
    return model(x, state)[1]


# ------------------------------------------------------------------------------------------ NIR


def built(graph: Any, dt: float, n_steps: int) -> Any:
    """The model that the importer makes of a NIR graph."""
    import norse.torch

    return norse.torch.from_nir(graph, dt=dt)


def imported(graph: Any, dt: float, x: Array) -> Array:
    """What the importer makes of a NIR graph: its output on `x` [T, B, ...]."""
    return stepped(built(graph, dt, len(x)), x)


def exported(model: Any, dt: float, x: Array) -> Any:
    """What the exporter makes of a model."""
    import norse.torch
    import torch

    return norse.torch.to_nir(model, torch.as_tensor(x[0, :1]), dt=dt)


def natives() -> Iterator[Native]:
    """Its neuron cells, with other values of every parameter."""
    import norse.torch
    import torch
    from norse.torch.functional.reset import reset_subtract
    from norse.torch.module import snn

    shared: dict[str, Any] = {
        "tau_mem_inv": [torch.tensor(200.0), torch.linspace(50.0, 200.0, 8)],
        "v_leak": [torch.tensor(0.25)],
        "v_th": [torch.tensor(0.5)],
        "v_reset": [torch.tensor(-0.25)],
        "method": ["tanh", "triangle", "heavi_erfc", "heaviside"],
        "alpha": [torch.tensor(1.0)],
        "dt": [5e-4],
    }
    own = {"LIFBoxCell": {"reset_method": [reset_subtract]}}
    own["LIFCell"] = {"tau_syn_inv": [torch.tensor(100.0)]}
    for kind, more in own.items():
        yield Native(kind, _maker(kind), {}, {**shared, **more}, {"dt": 5e-4})
    for name, found in vars(norse.torch).items():
        if isinstance(found, type) and issubclass(found, (snn.SNNCell, snn.SNNRecurrentCell)):
            if name not in own:
                yield Native(name)


def _maker(kind: str) -> Any:
    import norse.torch

    def make(dt: float = 1e-3, **p: Any) -> Any:
        parameters = getattr(norse.torch, kind.replace("Cell", "Parameters"))(**p)
        return getattr(norse.torch, kind)(p=parameters, dt=dt)

    return make


def travellers() -> Iterator[Traveller]:
    """Parameters per neuron, which an exported graph needs."""
    import norse.torch
    import torch

    def of(kind: str, **other: float) -> Any:
        def neuron(n: int) -> Any:
            values = {"tau_mem_inv": 100.0, "v_leak": 0.0, "v_th": 1.0, "v_reset": 0.0}
            values |= {"tau_syn_inv": 200.0} if kind == "LIFCell" else {}
            if kind == "IAFCell":
                values = {"v_th": 1.0, "v_reset": 0.0}
            p = {name: torch.full((n,), value) for name, value in {**values, **other}.items()}
            parameters = kind.replace("Cell", "Parameters")
            return getattr(norse.torch, kind)(p=getattr(norse.torch, parameters)(**p))

        return neuron

    for kind in ("LIFBoxCell", "LIFCell", "IAFCell"):
        yield Traveller(kind, "", of(kind))
    yield Traveller("LIFBoxCell", "v_reset=-0.25", of("LIFBoxCell", v_reset=-0.25))


def played(model: Any, x: Array) -> Array:
    """Output of a model from rest, step by step."""
    return stepped(model, x)
