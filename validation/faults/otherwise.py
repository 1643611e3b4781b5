"""The same networks as a program without a framework computes them: NumPy, in other roundings.

Float32 as the framework does it; float64 with one rounding of the membrane, as if all were fused;
reciprocals in place of divisions, and sums the other way round; and membranes of eleven digits, as
TF32 has them, declared as such. All are right; where a membrane comes close to its threshold they
decide otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from validation import evtrace
from validation.evtrace_reader import Recording
from validation.faults.bodies import BODIES, Maths, State
from validation.faults.drawn import DT, Drawn, Layer

ARITHMETICS = ("plain", "fused", "reciprocal", "tf32")
F32 = np.float32


def maths(rng: np.random.Generator, arithmetic: str) -> Maths:
    """For arrays."""
    return Maths(
        exp=np.exp,
        floor=np.floor,
        minimum=np.minimum,
        number=lambda truth: truth.astype(F32),
        normal=lambda a: rng.standard_normal(a.shape).astype(F32),
        stored=_tf32 if arithmetic == "tf32" else lambda v: np.asarray(v, F32),
    )


def recorded(net: Drawn, arithmetic: str = "plain", defect: str = "") -> Recording:
    """Run it in one of `ARITHMETICS`; with a defect of the update of its target layer, or right."""
    arrays: dict[str, Any] = dict(evtrace.from_dense(net.x.astype(np.int32), "input_spikes"))
    layers: dict[str, Any] = {}
    heard, m = net.x, maths(net.rng, arithmetic)
    for k, layer in enumerate(net.layers):
        x = _sum(heard, layer, arithmetic)
        v, s = _run(net.model, layer, x, arithmetic, defect if k == net.target else "", m)
        own = {"input_current": x, "membrane": v, "weight": layer.weight, "bias": layer.bias}
        arrays |= {f"layers/n{k}/{name}": value for name, value in own.items()}
        arrays |= {f"layers/n{k}/params.{name}": v for name, v in layer.params.items()}
        arrays |= evtrace.from_dense(s.astype(np.int32), f"layers/n{k}/spikes")
        source = {"node": f"n{k - 1}" if k else "input", "delay": 0}
        layers[f"n{k}"] = {"model": net.model, "shape": [x.shape[2]], "sources": [source]}
        heard = s
    t, b, n = net.x.shape
    manifest = {
        "kind": "grid",
        "n_steps": t,
        "n_samples": b,
        "dt": DT,
        "input_shape": [n],
        "layers": layers,
        "provenance": {
            "framework": "NumPy",
            "version": arithmetic,
            "arithmetic": "tf32" if arithmetic == "tf32" else "float32",
        },
    }
    arrays = {key: np.asarray(a) for key, a in arrays.items()}
    evtrace.check_contents(manifest, arrays)
    return Recording("memory", manifest, arrays)


def _tf32(v: np.ndarray) -> np.ndarray:
    """Rounded to eleven digits of the significand."""
    mantissa, exponent = np.frexp(np.asarray(v, F32))
    return np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent).astype(F32)


def _sum(heard: np.ndarray, layer: Layer, arithmetic: str) -> np.ndarray:
    if arithmetic == "fused":
        wide = heard.astype(float) @ layer.weight.T.astype(float) + layer.bias
        return wide.astype(F32)
    if arithmetic == "reciprocal":
        return (heard[..., ::-1] @ layer.weight.T[::-1].copy() + layer.bias).astype(F32)
    return (heard @ layer.weight.T + layer.bias).astype(F32)


def _run(
    model: str, layer: Layer, x: np.ndarray, arithmetic: str, defect: str, m: Maths
) -> tuple[np.ndarray, np.ndarray]:
    p: dict[str, Any] = {**layer.params, "dt": F32(DT)}
    wide = np.float64 if arithmetic == "fused" else F32
    p = {key: np.asarray(value, wide) for key, value in p.items()}
    if arithmetic == "reciprocal":
        p |= {key: _Reciprocal(value) for key, value in p.items() if key.startswith("tau")}
    start = np.broadcast_to(np.asarray(p.get("v_leak", 0.0), F32), x.shape[1:])
    state = State(start, np.zeros(x.shape[1:], F32))
    found = []
    for now in x:
        v, s = BODIES[model](p, state, now.astype(wide), defect, m)
        state.v = np.asarray(state.v, F32)
        found.append((np.asarray(v, F32), np.asarray(s, F32)))
    membranes, spikes = zip(*found, strict=True)
    return np.stack(membranes), np.stack(spikes)


class _Reciprocal(np.ndarray):
    """Numbers by which everything is divided as a product with their reciprocal."""

    def __new__(cls, value: np.ndarray):
        return np.asarray(value, F32).view(cls)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **more: Any) -> Any:
        plain = [np.asarray(a) for a in inputs]
        if ufunc is np.true_divide and isinstance(inputs[1], _Reciprocal):
            return np.multiply(plain[0], (F32(1) / plain[1]).astype(F32))
        return getattr(ufunc, method)(*plain, **more)
