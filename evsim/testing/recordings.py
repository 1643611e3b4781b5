"""Strategy of whole recordings of clock-driven networks, as an evtrace file holds them.

Chains of leaky neurons on a grid, played by `reference.bptt` in float32: no code of the verifier
has a part in them. What is drawn is what verifiers break on: weighted sums at a threshold or one
rounding beside it, every reset at either time, decays of none and of all, delays, single steps and
single neurons, silent and saturated input.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from evsim.testing.graphs import grid_weights, rasters
from reference.bptt import lif_forward

RESETS = {"subtract": "soft", "value": "hard", "none": "none"}
STEPS, SAMPLES, UNITS, LAYERS, DELAY = 16, 2, 4, 3, 2


class Recorded(NamedTuple):
    """A recording: what `evtrace.write` takes."""

    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]


@st.composite
def recordings(draw) -> Recorded:
    """Recordings that are right: spikes, membranes and input currents of every layer.

    Layers are declared as `snntorch.Leaky` with all switches stated, each hears the one before.

    Returns
    -------
    strategy of Recorded
    """
    steps, samples = draw(st.integers(1, STEPS)), draw(st.integers(1, SAMPLES))
    sizes = draw(st.lists(st.integers(1, UNITS), min_size=2, max_size=LAYERS + 1))
    heard = draw(rasters(steps, samples, sizes[0]))
    manifest: dict[str, Any] = {
        "kind": "grid", "n_steps": steps, "n_samples": samples, "dt": None,
        "input_shape": sizes[:1], "layers": {},
    }  # fmt: skip
    arrays, before = events(heard, "input_spikes"), "input"
    for k, n in enumerate(sizes[1:]):
        name, delay = f"l{k}", draw(st.integers(0, DELAY))
        weight = draw(grid_weights(n, heard.shape[2]))
        x = _late(heard, delay).astype(np.float32) @ weight.T
        entry, own, heard = draw(_layers(x, f"layers/{name}"))
        manifest["layers"][name] = {**entry, "sources": [{"node": before, "delay": delay}]}
        arrays |= own | {f"layers/{name}/weight": weight}
        before = name
    return Recorded(manifest, arrays)


@st.composite
def _layers(draw, x: np.ndarray, key: str) -> tuple[dict, dict, np.ndarray]:
    """A layer's entry in the manifest, its arrays and its spikes, given its input current."""
    switches = {
        "compare": draw(st.sampled_from([">", ">="])),
        "reset": draw(st.sampled_from([*RESETS])),
        "reset_timing": draw(st.sampled_from(["same_step", "next_step"])),
    }
    point = draw(st.sampled_from(["pre_reset", "post_reset"]))
    late = switches["reset_timing"] == "next_step"
    params = {
        "beta": np.float32(draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))),
        "threshold": np.float32(draw(st.sampled_from([1.0, 0.75]))),
    }
    run = lif_forward(
        x, beta=params["beta"], v_th=params["threshold"], compare=switches["compare"],
        reset=RESETS[switches["reset"]], reset_timing=switches["reset_timing"],
    )  # fmt: skip
    entry = {
        "model": "snntorch.Leaky", "shape": [x.shape[2]], "decay": {"kind": "raw"},
        "input_gain": "1", "max_spikes_per_step": 1, "carried_reset": False, "lossy_reset": False,
        "membrane_point": "pre_reset" if late else point, **switches,
    }  # fmt: skip
    spikes = run.spikes.astype(np.int32)
    arrays = {f"{key}/params.{name}": np.asarray(value) for name, value in params.items()}
    membrane = run.v if entry["membrane_point"] == "post_reset" else run.h
    arrays |= {f"{key}/input_current": x, f"{key}/membrane": membrane}
    return entry, arrays | events(spikes, f"{key}/spikes"), spikes


def _late(spikes: np.ndarray, delay: int) -> np.ndarray:
    """The same, some steps later."""
    found = np.zeros_like(spikes)
    found[delay:] = spikes[: len(spikes) - delay] if delay < len(spikes) else 0
    return found


def events(counts: np.ndarray, key: str) -> dict[str, np.ndarray]:
    """Numbers of spikes (steps, samples, neurons) as the four columns of a recording."""
    rows = np.nonzero(counts)
    columns = zip(("step", "sample", "index", "count"), (*rows, counts[rows]), strict=True)
    return {f"{key}.{name}": np.asarray(values, np.int32) for name, values in columns}
