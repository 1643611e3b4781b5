r"""Spyx, in an interpreter of its own: `IF`, `LIF` and `CuBaLIF` of JAX, in float32.

.. math::
    s = [v > \theta], \quad v' = \beta v + x - s\theta; \qquad
    s = [v > \theta], \quad i' = \alpha i + x, \quad v' = \beta (v - s\theta) + i'   \tag{1}

(`IF`: :math:`\beta = 1`). What is compared is the membrane *before* the step, so every layer
is one step late. A recording has the spikes in the step whose membrane made them, and the
delay is that of the layers behind. There is no dt but for NIR.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from validation.adapters.snntorch import MODELS as LIKE
from validation.declaration import alone, external, params_of
from validation.model import Array, Semantics
from validation.native import Native, Traveller
from validation.peer import Peer, graph_as_array, graph_of

PEER = Peer("spyx", "spyx", "spyx nir", __file__, gradients=True)
record = PEER.record
_LATE = Semantics(reset_timing="next_step", membrane_point="pre_reset")
MODELS = (
    replace(
        LIKE[0],
        name="spyx.IF",
        semantics=_LATE,
        required=(),
        defaults={"threshold": 1.0, "beta": 1.0},
        nir=LIKE[0].nir,
    ),
    replace(LIKE[0], name="spyx.LIF", semantics=_LATE),
    replace(LIKE[1], name="spyx.CuBaLIF", semantics=Semantics(membrane_point="pre_reset")),
)


def imported(graph: Any, dt: float, x: Array) -> Array:
    """What its importer makes of a NIR graph: its output on `x` [T, B, ...]."""
    return PEER.through("from_nir", graph, dt, x)


def exported(model: Any, dt: float, x: Array) -> Any:
    """What its exporter makes of a layer behind weights."""
    return graph_of(PEER.asked_of("to_nir", model, dt, x))


def played(model: Any, x: Array) -> Array:
    """Output of a layer behind weights, from rest, one step late."""
    return PEER.asked_of("play", model, 1.0, x)["output"]


def travellers() -> Iterator[Traveller]:
    """Its neurons, with one decay for all."""

    def of(kind: str, **arguments: Any) -> Any:
        return lambda n: alone("spyx", f"spyx.{kind}", arguments, None)

    yield Traveller("IF", "", of("IF"))
    yield Traveller("LIF", "beta=0.875", of("LIF", beta=0.875))
    yield Traveller("LIF", "beta=0.875 threshold=0.5", of("LIF", beta=0.875, threshold=0.5))
    yield Traveller("CuBaLIF", "alpha=0.5 beta=0.875", of("CuBaLIF", alpha=0.5, beta=0.875))


def natives() -> Iterator[Native]:
    """Its neuron classes, with other values of every argument."""
    activations = ["superspike(k=5)", "arctan()", "tanh()", "boxcar()", "triangular()"]
    shared: dict[str, Any] = {"threshold": [0.5], "activation": activations}
    values: dict[str, dict[str, Any]] = {
        "IF": {},
        "LIF": {"beta": [0.5, 1.5]},
        "CuBaLIF": {"alpha": [0.25], "beta": [0.5]},
    }
    base = {"IF": {}, "LIF": {"beta": 0.9}, "CuBaLIF": {"alpha": 0.75, "beta": 0.9}}
    for kind, own in values.items():
        make = partial(alone, "spyx", f"spyx.{kind}", dt=None)
        yield Native(kind, partial(_neuron, make), base[kind], {**own, **shared})
    for name in PEER.ask("others", {}, {})[0]["others"]:
        yield Native(name)


def _neuron(make: Any, **arguments: Any) -> Any:
    return make(arguments)


# --------------------------------------------------------------------------- in Spyx's interpreter


def others(manifest: Any, arrays: Any) -> Any:
    """Its neuron classes without a twin."""
    from spyx import nn

    known = [m.name.partition(".")[2] for m in MODELS]
    found = [k for k, v in vars(nn).items() if isinstance(v, type) and hasattr(v, "initial_state")]
    return {**PEER.sent(0.0)[0], "others": sorted({*found} - {*known, "Sequential"})}, {}


def from_nir(manifest: Any, arrays: dict[str, Array]) -> Any:
    """Output of its own import of a graph."""
    import jax.numpy as jnp
    from spyx import nir

    _, out = nir.from_nir(graph_of(arrays), jnp.asarray(arrays["input"]), dt=manifest["dt"])
    return PEER.sent(out)


def to_nir(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """A layer behind weights through its exporter."""
    from spyx import nir

    model = _sequential(manifest, arrays)
    n_in, n = (np.array([k]) for k in (arrays["input"].shape[2], model.layers[-1].hidden_shape[0]))
    graph = nir.to_nir(model, {"input": n_in}, {"output": n}, dt=manifest["dt"])
    return PEER.sent(0.0)[0], {"graph.nir": graph_as_array(graph)}


def play(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """Output of a layer behind weights."""
    import jax.numpy as jnp
    from spyx import nn

    return PEER.sent(nn.run(_sequential(manifest, arrays), jnp.asarray(arrays["input"]))[0])


def _sequential(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    import jax.numpy as jnp
    from flax import nnx
    from spyx import nn

    ((name, entry),) = manifest["layers"].items()
    weight = jnp.asarray(arrays[f"layers/{name}/weight"], jnp.float32)
    linear = nnx.Linear(weight.shape[1], weight.shape[0], use_bias=False, rngs=nnx.Rngs(0))
    linear.kernel[...] = weight.T
    kind = entry["model"].partition(".")[2]
    return nn.Sequential(linear, _made(kind, weight.shape[0], entry["arguments"]))


def run(manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """The recording of one layer, backward where a cotangent is given."""
    import jax
    import jax.numpy as jnp

    (name, entry), *more = manifest["layers"].items()
    if more:
        raise ValueError("only single layers are recorded")
    x = jnp.asarray(external(manifest, arrays, name), jnp.float32)
    kind = entry["model"].partition(".")[2]
    given = entry.get("arguments") or {k: v.item() for k, v in params_of(arrays, name).items()}
    neuron = _made(kind, x.shape[2], given)

    def play(x: Any) -> Any:
        def step(state: Any, now: Any) -> Any:
            spikes, state = neuron(now, state)
            return state, (spikes, state)

        whole = jnp.concatenate([x, jnp.zeros_like(x[:1])])
        _, (spikes, states) = jax.lax.scan(step, neuron.initial_state(x.shape[1]), whole)
        return spikes[1:], states[:-1]

    spikes, states = play(x)
    parts = jnp.split(states, 2, -1) if kind == "CuBaLIF" else [states]
    observed = {"input_current": x, "spikes": spikes, "membrane": parts[0]}
    if len(parts) > 1:
        observed["synaptic_current"] = parts[1]
    if "cotangent" in arrays:
        cotangent = jnp.asarray(arrays["cotangent"], jnp.float32)
        _, back = jax.vjp(lambda x: play(x)[0], x)
        observed |= {"grad_output.spikes": cotangent, "grad_input_current": back(cotangent)[0]}
    for key in ("alpha", "beta"):
        if hasattr(neuron, key):
            arrays[f"layers/{name}/params.{key}"] = np.asarray(getattr(neuron, key)[...])
    arrays[f"layers/{name}/params.threshold"] = np.asarray(neuron.threshold, np.float32)
    entry |= next(m.semantics for m in MODELS if m.name == entry["model"]).manifest()
    entry |= {"reset_detached": False, "surrogate": _surrogate(given)}
    return PEER.answered(
        {**manifest, "dt": None},
        arrays,
        {f"{name}/{k}": np.asarray(v) for k, v in observed.items()},
    )


def _made(kind: str, n: int, arguments: dict[str, Any]) -> Any:
    from flax import nnx
    from spyx import axn, nn

    given = dict(arguments)
    if "activation" in given:
        name, options = _activation(given["activation"])
        given["activation"] = getattr(axn, name)(**options)
    return getattr(nn, kind)((n,), rngs=nnx.Rngs(0), **given)


def _activation(text: str) -> tuple[str, dict[str, float]]:
    """Name and arguments of `name(argument=value, ...)`."""
    name, _, rest = text.rstrip(")").partition("(")
    options = (pair.split("=") for pair in rest.split(",") if pair)
    return name, {key.strip(): float(value) for key, value in options}


def _surrogate(given: dict[str, Any]) -> dict[str, Any]:
    """The activation by its name there, with what it was made with."""
    name, options = _activation(given.get("activation", "superspike(k=25)"))
    return {"name": f"spyx.{name}", "params": options}
