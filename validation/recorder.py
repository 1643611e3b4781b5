"""`validation.record`: run a torch model of a supported framework and record every neuron layer."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from validation import adapters, evtrace
from validation.evtrace_reader import Recording


def record(
    model: Any,
    input: Any,
    *,
    path: str | os.PathLike[str] | None = None,
    dt: float | None = None,
    device: Any = None,
    cotangent: Any = None,
) -> Recording:
    """Run a model once and record what each of its neurons received and did.

    Parameters
    ----------
    model : torch.nn.Module, Declaration or other
        Of neurons of one framework. A `validation.declaration.Declaration`, or anything else whose
        `framework` names an adapter, goes to that one. A `Sequential` of neurons that take single
        steps is called once per step; any other model is called once with the whole sequence, and
        once per step if it turns out to make a single one.
    input : array_like, shape (T, B, ...)
        Always time first; sinabs gets it as (B, T, ...).
    path : path-like, optional
        Where to write the recording, as evtrace v1.
    dt : float, optional
        Step in seconds, for frameworks without one; norse has its own.
    device : optional
        Where to run; by default where the model is.
    cotangent : array_like, shape (T, B, ...), optional
        Gradient of some loss by the spikes of the last neuron. Then the backward pass is recorded
        too: what arrives at the spikes of every neuron, and what leaves it by its input current.

    Returns
    -------
    Recording
        As `validation.evtrace.read` would return it. The model is left as it was.

    Raises
    ------
    ValueError
        If the model holds no neuron, neurons of several frameworks, or a stateful module that
        cannot be recorded (named by its class); or the input is not finite.
    """
    adapter = adapters.adapters()[framework_of(model)]
    manifest, arrays = adapter.record(model, input, dt=dt, device=device, cotangent=cotangent)
    if path is not None:
        evtrace.write(path, manifest, arrays)
        return evtrace.read(path)
    evtrace.check_contents(manifest, arrays)
    for array in arrays.values():
        array.flags.writeable = False
    return Recording("", manifest, arrays)


def framework_of(model: Any) -> str:
    """Name of the adapter whose framework the modules of `model` come from."""
    named = getattr(model, "framework", None)
    if isinstance(named, str) and named in adapters.adapters():
        return named
    modules = getattr(model, "modules", None)
    if "torch" not in sys.modules or modules is None:
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    known = adapters.adapters()
    found = set()
    for module in modules():
        bases = {c.__module__.partition(".")[0] for c in type(module).__mro__}
        found |= {name for name in known if name in bases and _has_state(module)}
    if len(found) != 1:
        what = f"neurons of several frameworks: {sorted(found)}" if found else "no known neuron"
        raise ValueError(
            f"{type(model).__name__} holds {what}; a recording takes one of {sorted(known)}"
        )
    return found.pop()


def _has_state(module: Any) -> bool:
    """A leaf: containers and surrogates of a framework do not decide which one it is."""
    return any(hasattr(module, n) for n in ("mem", "v", "p", "v_mem", "_memories"))


def renamed(recording: Recording, names: Mapping[str, str]) -> Recording:
    """The same with other names of its layers."""
    layers = {}
    for layer, entry in recording.manifest["layers"].items():
        heard = [{**s, "node": names.get(s["node"], s["node"])} for s in entry["sources"]]
        layers[names[layer]] = {**entry, "sources": heard}
    arrays = {}
    for key, array in recording.arrays.items():
        parts = key.split("/")
        if parts[0] == "layers":
            parts[1] = names[parts[1]]
        arrays["/".join(parts)] = array
    return Recording(recording.path, {**recording.manifest, "layers": layers}, arrays)
