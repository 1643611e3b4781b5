r"""SpikingJelly: `IFNode` and `LIFNode`.

With :math:`r` the reset potential, or 0 for a soft reset,

.. math::
    h = v + x, \qquad h = v + \frac{x - (v - r)}{\tau}, \qquad h = v - \frac{v - r}{\tau} + x
                                                                            \tag{1}

for `IFNode`, and `LIFNode` with `decay_input` True and False; :math:`s = [h \ge \theta]`, then
:math:`v = h - s\theta` (`v_reset=None`) or :math:`v = r` where it fired. The leak pulls to the
reset potential. :math:`\tau` is in steps; there is no dt. A GPU may divide by :math:`\tau` through
its reciprocal, which the rounding bound allows for.
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

_HARD = Semantics(compare=">=", reset="value", decay="euler", input_gain="1/tau")


def _leak(p: dict[str, Any], s: Semantics) -> Array:
    """The leak pulls to the reset potential; a NIR node may declare another level."""
    if p["v_leak"] is not None:
        return p["v_leak"]
    return p["v_reset"] if s.reset == "value" else np.zeros_like(p["v_reset"])


def _if_constants(p: dict[str, Any], s: Semantics, dt: float | None, dtype: Any) -> Constants:
    gain = p["r"] * p["w_in"]
    one = np.ones_like(gain)
    return Constants(
        retain=one, gain=one, jump=gain, v_leak=0 * one, spread_i=1.0, own={"gain": gain}
    )


def _if_charge(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    return v + c["gain"] * x, i


def _lif_constants(p: dict[str, Any], s: Semantics, dt: float | None, dtype: Any) -> Constants:
    inverse = 1 / p["tau"]
    retain = factor_of_tau(s.decay, inverse, factor_of_tau("euler", inverse))
    exponential = s.decay == "exp"
    tau = 1 / (1 - retain) if exponential else p["tau"]  # what (1) has to divide by
    leak = _leak(p, s)
    own = {"tau": tau, "leak": leak, "w_in": p["w_in"], "separate": s.input_gain == "1"}
    if s.input_gain == "1":
        gain = own["ratio"] = p["r"]
    else:
        native = s.input_gain == "1-decay" or not exponential
        gain = factor_of_input(s.input_gain, retain, inverse, inverse) * p["r"]
        own["ratio"] = p["r"] if native else gain * tau
    return Constants(
        retain=retain,
        gain=gain,
        jump=p["w_in"],
        v_leak=leak,
        spread_v=1 + np.abs(1 - retain),
        spread_i=np.abs(gain) if s.input_gain != "1-decay" else 2 * np.abs(p["r"]),
        exponent=float(np.max(inverse)) if exponential else 0.0,
        own=own,
    )


def _lif_charge(v: Array, i: Array, x: Array, c: Any) -> tuple[Array, Array]:
    x = c["ratio"] * (c["w_in"] * x)
    if c["separate"]:
        return v - (v - c["leak"]) / c["tau"] + x, i
    return v + (x - (v - c["leak"])) / c["tau"], i


def _if_taus(p: dict[str, Any], s: Semantics, dt: float | None) -> tuple[Any, Any]:
    return None, None


def _lif_taus(p: dict[str, Any], s: Semantics, dt: float | None) -> tuple[Any, Any]:
    return p["tau"] * (1.0 if dt is None else dt), None


def _initial(p: dict[str, Any], s: Semantics) -> Array:
    return p["v_reset"] if s.reset == "value" else np.zeros_like(p["v_reset"])


def _nir_if(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
    params = node_values("spikingjelly.IFNode", node, ["IF"], "v_threshold")
    return params | {"r": node.r * dt}, {"input_gain": "1"}


def _nir_lif(node: Any, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """`decay_input=False` is exported as r = tau/dt."""
    params = node_values("spikingjelly.LIFNode", node, ["LIF"], "v_threshold")
    tau = params["tau"] = np.asarray(node.tau, np.float64) / dt
    whole = bool(np.allclose(node.r, tau, rtol=1e-6, atol=0.0))
    if whole:
        params["r"] = np.ones_like(tau)
    return params, {"decay": "euler", "input_gain": "1" if whole else "1/tau"}


MODELS = (
    Model(
        name="spikingjelly.IFNode",
        defaults={"v_threshold": 1.0, "v_reset": 0.0},
        semantics=Semantics(compare=">=", reset="value", decay="raw", input_gain="1"),
        scalar_dtype=np.float64,
        threshold="v_threshold",
        time={},
        constants=_if_constants,
        charge=_if_charge,
        taus=_if_taus,
        initial=_initial,
        nir=_nir_if,
    ),
    Model(
        name="spikingjelly.LIFNode",
        defaults={"tau": 2.0, "v_threshold": 1.0, "v_reset": 0.0, "v_leak": None},
        semantics=_HARD,
        scalar_dtype=np.float64,
        threshold="v_threshold",
        time={"tau": "steps"},
        constants=_lif_constants,
        charge=_lif_charge,
        taus=_lif_taus,
        initial=_initial,
        nir=_nir_lif,
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
    from spikingjelly.activation_based import base, neuron

    probe = Probe(
        framework="spikingjelly",
        neurons=(neuron.IFNode, neuron.LIFNode),
        stateful=(base.MemoryModule,),
        describe=_describe,
        observe=_observe,
        fresh=_fresh,
        sequence=lambda module: module.step_mode == "m",
    )
    return record_model(model, input, probe, dt=dt, device=device, cotangent=cotangent)


def _describe(module: Any) -> Neuron:
    kind = type(module).__name__
    own = next(m.semantics for m in MODELS if m.name == f"spikingjelly.{kind}")
    switches = {"reset": "subtract" if module.v_reset is None else "value"}
    params = {"v_threshold": module.v_threshold, "v_reset": module.v_reset}
    if kind == "LIFNode":
        params["tau"] = module.tau
        switches["input_gain"] = "1/tau" if module.decay_input else "1"
    surrogate = module.surrogate_function
    numbers = {k: v for k, v in vars(surrogate).items() if type(v) in (int, float)}
    return Neuron(
        model=f"spikingjelly.{kind}",
        semantics=own.updated(switches),
        params={k: array_of(v) for k, v in params.items()},
        reset_detached=bool(module.detach_reset),
        surrogate={"name": f"spikingjelly.{type(surrogate).__name__}", "params": numbers},
    )


def _observe(module: Any, args: tuple[Any, ...], output: Any) -> dict[str, Any]:
    membrane = module.v_seq if module.step_mode == "m" else module.v
    return {"input_current": args[0], "spikes": output, "membrane": membrane}


@contextlib.contextmanager
def _fresh(model: Any) -> Iterator[None]:
    from spikingjelly.activation_based import base

    modules = [m for m in model.modules() if isinstance(m, base.MemoryModule)]
    keeping = [m for m in modules if hasattr(m, "store_v_seq")]
    memories = [(m, dict(m._memories)) for m in modules]
    sequences = [(m, m.store_v_seq, m.v_seq) for m in keeping]
    try:
        for module in modules:
            module.reset()
        for module in keeping:
            module.store_v_seq = module.step_mode == "m"
        yield
    finally:
        for module, memory in memories:
            module._memories.update(memory)
        for module, stored, sequence in sequences:
            module.store_v_seq = stored
            module.v_seq = sequence


# ------------------------------------------------------------------------------------------ NIR


def built(graph: Any, dt: float, n_steps: int) -> Any:
    """The model that the importer makes of a NIR graph, its neurons called as modules.

    The importer calls their functions, past all hooks; module and function are one update.
    """
    import torch
    from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir

    class Called(torch.nn.Module):
        """A neuron that keeps its own state, where a model passes states around."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Any, state: Any = None) -> Any:
            return self.module(x), state

    model = import_from_nir(graph, dt=dt)
    for name, module in list(model.named_children()):
        if hasattr(module, "module"):
            setattr(model, name, Called(module.module))
    return model


def imported(graph: Any, dt: float, x: Array) -> Array:
    """What the importer makes of a NIR graph: its output on `x` [T, B, ...]."""
    from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir

    return stepped(import_from_nir(graph, dt=dt), x)


def exported(model: Any, dt: float, x: Array) -> Any:
    """What the exporter makes of a model that takes single steps."""
    import torch
    from spikingjelly.activation_based.nir_exchange.to_nir import export_to_nir

    return export_to_nir(model, torch.as_tensor(x[0]), dt=dt)


def natives() -> Iterator[Native]:
    """Its neuron classes, with other values of every argument."""
    from spikingjelly.activation_based import base, neuron, surrogate

    shared: dict[str, Any] = {
        "v_threshold": [0.5],
        "v_reset": [None, -0.25],
        "surrogate_function": [surrogate.ATan(), surrogate.Rect()],
        "detach_reset": [True],
        "step_mode": ["s"],
        "store_v_seq": [True],
    }
    settable = {"v_threshold": 0.5, "v_reset": None, "detach_reset": True}
    whole = {"step_mode": "m"}
    yield Native("IFNode", neuron.IFNode, whole, shared, settable)
    own = {"tau": [4.0, 1.5], "decay_input": [False], **shared}
    yield Native("LIFNode", neuron.LIFNode, whole, own, {"tau": 4.0, **settable})
    for name in dir(neuron):
        found = getattr(neuron, name)
        if isinstance(found, type) and issubclass(found, base.MemoryModule):
            if name not in ("BaseNode", "SimpleBaseNode", "AdaptBaseNode", "IFNode", "LIFNode"):
                yield Native(name)


def travellers() -> Iterator[Traveller]:
    """Those that its exporter knows."""
    from spikingjelly.activation_based import neuron

    def of(kind: str, **options: Any) -> Any:
        return lambda n: getattr(neuron, kind)(**options)

    yield Traveller("IFNode", "", of("IFNode"))
    yield Traveller("IFNode", "v_reset=None", of("IFNode", v_reset=None))
    yield Traveller("LIFNode", "", of("LIFNode", tau=4.0))
    yield Traveller("LIFNode", "decay_input=False", of("LIFNode", tau=4.0, decay_input=False))
    yield Traveller("LIFNode", "v_reset=-0.25", of("LIFNode", tau=4.0, v_reset=-0.25))
    yield Traveller("LIFNode", "v_reset=None", of("LIFNode", tau=4.0, v_reset=None))
    yield Traveller("ParametricLIFNode", "", of("ParametricLIFNode", init_tau=4.0))
    yield Traveller("CUBALIFNode", "", of("CUBALIFNode"))


def played(model: Any, x: Array) -> Array:
    """Output of a model that takes single steps, from rest."""
    from spikingjelly.activation_based import functional

    functional.reset_net(model)
    return stepped(lambda now, state: (model(now), None), x)
