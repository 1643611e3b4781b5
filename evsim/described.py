"""Networks as plain data: JSON values and arrays, and back through the checks of `Network`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import scipy.sparse

import evsim.models
from evsim.models.base import Neuron
from evsim.network import Network, Projection

#: Models by name: every public class of `evsim.models`.
MODELS: dict[str, type[Neuron]] = {
    name: value
    for module in map(evsim.models.__dict__.get, evsim.models.__all__)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Neuron) and value is not Neuron
}


class Shelf:
    """Arrays by key, as values that refer to them."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def put(self, key: str, value: Any) -> Any:
        """`value` as JSON; arrays, and numbers that JSON does not know, go on the shelf."""
        if isinstance(value, Mapping):
            # Numbered, since a name may be no part of a key.
            pairs = enumerate(value.items())
            return {"names": [[name, self.put(f"{key}/{k}", x)] for k, (name, x) in pairs]}
        if isinstance(value, np.ndarray) or (isinstance(value, float) and not math.isfinite(value)):
            self.arrays[key] = np.asarray(value)
            return {"array": key}
        return value.item() if isinstance(value, np.generic) else value

    def get(self, value: Any) -> Any:
        """What `put` was given."""
        if not isinstance(value, dict):
            return value
        if "names" in value:
            return {str(name): self.get(x) for name, x in value["names"]}
        array = self.arrays[value["array"]]
        return array if array.ndim else float(array)


def described(network: Network, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """A network as JSON; its arrays are put into `arrays`, under `network/`."""
    shelf = Shelf(arrays)
    populations = []
    for k, population in enumerate(network.populations.values()):
        key, model = f"network/populations/{k}", population.model
        parameters = {
            field.name: shelf.put(f"{key}/{field.name}", getattr(model, field.name))
            for field in fields(model)
        }
        populations.append({
            "name": population.name, "n": population.n, "model": type(model).__name__,
            "parameters": parameters, "initial": shelf.put(f"{key}/initial", population.initial),
        })  # fmt: skip
    projections = [
        _projection(shelf, f"network/projections/{k}", projection)
        for k, projection in enumerate(network.projections.values())
    ]
    return {
        "inputs": list(map(list, network.inputs.items())),
        "populations": populations,
        "projections": projections,
    }


def _projection(shelf: Shelf, key: str, projection: Projection) -> dict[str, Any]:
    names = ("name", "pre", "post", "weight", "delay", "pulse_width", "port", "indptr", "targets")
    return {name: shelf.put(f"{key}/{name}", getattr(projection, name)) for name in names}


def network_of(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Network:
    """The network that `described` has described.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is none.
    """
    shelf, net = Shelf(dict(arrays)), Network()
    for name, n in entry["inputs"]:
        net.add_input(name, n)
    for population in entry["populations"]:
        if population["model"] not in MODELS:
            raise ValueError(f"{population['model']!r:.80} is no neuron model")
        given = {key: shelf.get(value) for key, value in population["parameters"].items()}
        model = MODELS[population["model"]](**given)
        initial = shelf.get(population["initial"])
        net.add_population(population["name"], population["n"], model, initial=initial)
    for one in entry["projections"]:
        _connect(net, {key: shelf.get(value) for key, value in one.items()})
    return net


def _connect(net: Network, one: dict[str, Any]) -> None:
    weight, delay = one["weight"], one["delay"]
    if one["indptr"] is not None:
        shape = (net.size(one["pre"]), net.size(one["post"]))
        weight = _rows(weight, one, shape)
        if np.ndim(delay):
            delay = _rows(delay, one, shape)
    ports = {port: name for name, port in net.populations[one["post"]].model.ports.items()}
    net.connect(
        one["pre"], one["post"], weight, delay, pulse_width=one["pulse_width"],
        synapse=ports[one["port"]] if ports else None, name=one["name"],
    )  # fmt: skip


def _rows(values, one: dict[str, Any], shape: tuple[int, int]):
    """Values in rows, whose bounds kernels would follow blindly: checked here."""
    indptr, targets = np.asarray(one["indptr"]), np.asarray(one["targets"])
    whole = indptr.dtype.kind == targets.dtype.kind == "i" and indptr.shape == (shape[0] + 1,)
    if not (
        whole
        and indptr[0] == 0
        and (np.diff(indptr) >= 0).all()
        and targets.shape == np.shape(values) == (indptr[-1],)
    ):
        raise ValueError(f"the rows of projection {one['name']!r:.80} contradict one another")
    return scipy.sparse.csr_array((values, targets, indptr), shape=shape)
