"""What the frameworks themselves compute: surrogate derivatives, and one layer of each neuron.

`python -m validation.cases.surrogate.frameworks` records it anew; the claims are held against the
recording, and need no framework.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

#: "versions" (JSON), "g/<surrogate>" at `POINTS`, "spikes/<pair>" and "gradient/<pair>".
RECORDED = Path(__file__).with_name("recorded.npz")
#: Where they are taken: both sides of threshold, close to it and far from it.
POINTS = (-20.0, -3.0, -1.2, -0.45, -0.1, -0.01, 0.01, 0.1, 0.45, 1.2, 3.0, 20.0)
#: Surrogates that draw their derivative, raise an error, or refuse what is no probability.
UNDEFINED = ("snntorch.SSO", "snntorch.LSO", "spikingjelly.PoissonPass")
#: Surrogates in which pi is a float32 number, whatever the dtype of v.
SINGLE_PI = ("norse.heavi_erfc", "sinabs.Gaussian", "sinabs.MultiGaussian")
#: Constructors with another name, or a mandatory argument, which here has a default.
_SNNTORCH = {"straight_through": "straight_through_estimator"}
_MANDATORY = {"spikingjelly.MultiLevelSpikeCount": {"max_spike_count": 1}}
_NORSE = {
    "super": "super_fn", "tanh": "heavi_tanh_fn", "circ": "heavi_circ_fn",
    "heavi_erfc": "heavi_erfc_fn", "triangle": "triangle_fn", "logistic": "logistic_fn",
    "circ_dist": "circ_dist_fn",
}  # fmt: skip


def derivative(name: str, v, **params: Any) -> np.ndarray:
    """g(v) of a surrogate in its framework, in the dtype of `v`.

    Parameters
    ----------
    name : str
        As in `reference.surrogates.names`.
    v : array_like
        Membrane minus threshold.
    **params : float
        The framework's own; what is left out has its default.
    """
    import torch

    x = torch.tensor(np.asarray(v), requires_grad=True)
    library, _, own = name.partition(".")
    if library == "sinabs":
        from sinabs.activation import surrogate_gradient_fn

        threshold = params.pop("spike_threshold", 1.0)
        function = getattr(surrogate_gradient_fn, own)(**params)
        return function(x + threshold, threshold).detach().numpy()
    spikes = _function(library, own, params)(x)
    if not spikes.requires_grad:
        return np.zeros_like(x.detach().numpy())
    spikes.backward(torch.ones_like(spikes))
    assert x.grad is not None
    return x.grad.numpy()


def _function(library: str, own: str, params: dict[str, Any]):
    if library == "snntorch":
        import snntorch.surrogate

        return getattr(snntorch.surrogate, _SNNTORCH.get(own, own))(**params)
    if library == "spikingjelly":
        from spikingjelly.activation_based import surrogate

        given = _MANDATORY.get(f"spikingjelly.{own}", {}) | params
        return getattr(surrogate, own)(**given)
    from norse.torch.functional import threshold
    from norse.torch.functional.heaviside import heaviside

    if own == "heaviside":
        return heaviside
    function = getattr(threshold, _NORSE[own])
    # The functions have no defaults of their own, but for two; neurons pass 100.
    alpha = params.get("alpha", None if own in ("super", "triangle") else 100.0)
    return function if alpha is None else lambda x: function(x, alpha)


def record() -> None:
    """Write `RECORDED` anew."""
    from reference.surrogates import names
    from validation.cases.surrogate import parity

    packages = ("torch", "snntorch", "spikingjelly", "norse", "sinabs")
    versions = json.dumps({package: version(package) for package in packages})
    arrays = {"versions": np.frombuffer(versions.encode(), np.uint8)}
    for name in names():
        if name not in UNDEFINED:
            arrays[f"g/{name}"] = derivative(name, np.array(POINTS))
    for name in parity.pairs():
        spikes, arrays[f"gradient/{name}"] = parity.framework(name)
        arrays[f"spikes/{name}"] = spikes.astype(np.uint8)
    with open(RECORDED, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def recorded() -> dict[str, np.ndarray]:
    """The arrays of `RECORDED`."""
    with np.load(RECORDED) as file:
        return dict(file)


if __name__ == "__main__":
    record()
