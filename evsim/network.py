"""Networks: inputs, populations of one model each, and projections between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from evsim.connections import Connection, connections
from evsim.models.base import Neuron


@dataclass(frozen=True)
class Population:
    """`n` neurons of one model."""

    name: str
    n: int
    model: Neuron
    initial: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Projection:
    """Synapses from one population or input to a population.

    `weight` is a dense (n_pre, n_post) array, or the synapses are in CSR form, by source:
    `indptr`, `post`, `weight`; `delay` is one number, or has one value per synapse.
    """

    name: str
    pre: str
    post: str
    weight: np.ndarray
    delay: Any
    indptr: np.ndarray | None = None
    targets: np.ndarray | None = None
    pulse_width: float | None = None
    port: int = 0  # which of the target's synapse types
    form: str = "dense"  # of what `connect` got: dense, "list", or a format of scipy.sparse
    order: np.ndarray | None = None  # synapse k is entry order[k] of that; None: entry k

    @property
    def dense(self) -> bool:
        """Whether every pair is joined, with one delay."""
        return self.indptr is None and np.ndim(self.delay) == 0

    @property
    def n_pre(self) -> int:
        """Number of source units."""
        return self.weight.shape[0] if self.indptr is None else self.indptr.size - 1

    @cached_property
    def smallest_delay(self) -> float:
        """Of its synapses; inf if it has none."""
        return float(np.min(self.delay)) if self.weight.size else np.inf

    @cached_property
    def largest(self) -> float:
        """Magnitude of its weights; 0 if it has none."""
        return float(max(self.weight.max(), -self.weight.min())) if self.weight.size else 0.0


@dataclass(repr=False)
class Network:
    """A spiking network; populations may be joined in any way.

    Examples
    --------
    >>> net = Network()
    >>> net.add_input("in", 2)
    >>> net.add_population("out", 1, LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", weight=[[3.0], [4.0]])
    """

    inputs: dict[str, int] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    projections: dict[str, Projection] = field(default_factory=dict)
    #: where the network was read from, unless it was changed since: the bytes of a NIR file, and
    #: how they were understood
    origin: dict[str, Any] | None = None

    def add_input(self, name: str, n: int) -> None:
        """Add `n` units that emit given spikes."""
        self.inputs[self._new(name)] = _size(name, n)
        self.origin = None

    def add_population(
        self, name: str, n: int, model: Neuron, *, initial: dict[str, Any] | None = None
    ) -> None:
        """Add `n` neurons of `model`, e.g. `evsim.LIF(...)`.

        `initial` is their state at time 0, e.g. `{"v": 0.2}`, as far as `simulate` is given none.
        """
        if not isinstance(model, Neuron):
            raise TypeError(f"model of {name!r} must be a neuron such as evsim.LIF; got {model!r}")
        model.check_size(_size(name, n), name)
        self.populations[self._new(name)] = Population(name, n, model, dict(initial or {}))
        self.origin = None

    def connect(
        self,
        pre: str,
        post: str,
        weight,
        delay=0.0,
        *,
        pre_units=None,
        post_units=None,
        pulse_width: float | None = None,
        synapse: str | None = None,
        name: str | None = None,
    ) -> None:
        """Join `pre` to `post`.

        Parameters
        ----------
        pre, post : str
            Names of an input or population, and of a population.
        weight : array_like (n_pre, n_post), scipy.sparse matrix, or (k,) with the units
            Jump at an arrival, in the units of the model. All entries of a dense array, and
            all stored entries of a sparse one, are synapses, zeros too.
        delay : float, or shaped as `weight`
            Time from spike to arrival [s], non-negative.
        pre_units, post_units : array_like of int, shape (k,), optional
            One source and one target per synapse, for `weight` of shape (k,) or a scalar.
        pulse_width : float, optional
            Instead of a jump, an arrival is a rectangular current of height `weight` for so
            long [s].
        synapse : str, optional
            Which synapse type the arrivals enter, where the model has several by name.
        name : str, optional
            Default `"pre->post"`.

        Raises
        ------
        ValueError, TypeError
            Naming argument, index and value.
        """
        n_pre, n_post = self._ends(pre, post)
        name = f"{pre}->{post}" if name is None else name
        if name in self.projections:
            raise ValueError(f"projection {name!r} exists already; give another name")
        port = self._port(post, synapse)
        if pulse_width is not None and not (np.isfinite(pulse_width) and pulse_width > 0):
            raise ValueError(f"pulse_width must be positive; got {pulse_width}")
        if pulse_width is not None and (why := self.populations[post].model.no_pulses):
            raise ValueError(f"pulse_width: population {post!r} takes no pulses; {why}")
        if (pre_units is None) != (post_units is None):
            raise ValueError("pre_units and post_units must be given together")
        if pre_units is not None:
            parts = _from_lists(weight, delay, pre_units, post_units, n_pre, n_post)
        elif scipy.sparse.issparse(weight):
            parts = _from_sparse(weight, delay, n_pre, n_post)
        else:
            parts = _from_dense(weight, delay, n_pre, n_post)
        values, delays, indptr, targets = parts
        self.projections[name] = Projection(
            name, pre, post, values, delays, indptr, targets, pulse_width, port,
            *_given(weight, pre_units),
        )  # fmt: skip
        self.origin = None

    def __repr__(self) -> str:
        inputs = [f"{name}[{n}]" for name, n in self.inputs.items()]
        neurons = [
            f"{name}[{p.n}] {type(p.model).__name__}" for name, p in self.populations.items()
        ]
        return f"Network({', '.join([*inputs, *neurons, *self.projections])})"

    def size(self, name: str) -> int:
        """Number of units of an input or population."""
        return self.inputs[name] if name in self.inputs else self.populations[name].n

    def copy(self) -> Network:
        """A copy that later changes do not reach; arrays are shared and read-only."""
        return Network(
            dict(self.inputs), dict(self.populations), dict(self.projections), self.origin
        )

    @property
    def connections(self) -> list[Connection]:
        """Every synapse as plain arrays: `.pre`, `.post`, `.weight` (n_pre, n_post), `.delay`."""
        return connections(self)

    def stages(self) -> list[list[str]]:
        """Populations in groups such that each comes after those that it hears.

        A group of several populations, or of one that hears itself, lies on a cycle.
        """
        names = list(self.populations)
        hears: dict[str, set[str]] = {name: set() for name in names}
        for p in self.projections.values():
            if p.pre in hears and p.pre != p.post:
                hears[p.post].add(p.pre)
        alone: list[str] = []
        while (ready := next((n for n in hears if hears[n].issubset(alone)), None)) is not None:
            alone.append(ready)
            del hears[ready]
        return [[name] for name in alone] if not hears else self._stages_of_cycles(names)

    def _stages_of_cycles(self, names: list[str]) -> list[list[str]]:
        """`stages` where populations hear one another in turn."""
        index = {name: k for k, name in enumerate(names)}
        pairs = [(index[p.pre], index[p.post]) for p in self.projections.values() if p.pre in index]
        rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
        shape = (len(names), len(names))
        graph = scipy.sparse.coo_array((np.ones(rows.size), (rows, columns)), shape=shape)
        _, group = connected_components(graph, directed=True, connection="strong")
        waiting = {
            g: {group[a] for a, b in pairs if group[b] == g} - {g} for g in dict.fromkeys(group)
        }
        stages: list[list[str]] = []
        done: set[int] = set()
        while waiting:
            ready = next(g for g, before in waiting.items() if before <= done)
            stages.append([name for name in names if group[index[name]] == ready])
            done.add(ready)
            del waiting[ready]
        return stages

    def _new(self, name: str) -> str:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a name must be a non-empty string; got {name!r}")
        if name in self.inputs or name in self.populations:
            raise ValueError(f"the name {name!r} is taken")
        return name

    def _port(self, post: str, synapse: str | None) -> int:
        ports = self.populations[post].model.ports
        known = ", ".join(map(repr, ports))
        if ports and synapse not in ports:
            raise ValueError(f"synapse of {post!r} must be one of {known}; got {synapse!r}")
        if not ports and synapse is not None:
            raise ValueError(f"{post!r} has one synapse type without a name; got {synapse!r}")
        return ports[synapse] if synapse is not None else 0

    def _ends(self, pre: str, post: str) -> tuple[int, int]:
        known = [*self.inputs, *self.populations]
        for argument, name, allowed in (("pre", pre, known), ("post", post, [*self.populations])):
            if name not in allowed:
                raise ValueError(
                    f"{argument}={name!r} is not one of {', '.join(allowed) or '(none)'}"
                )
        return self.size(pre), self.size(post)


def _size(name: str, n) -> int:
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
        raise ValueError(f"the number of units of {name!r} must be a positive integer; got {n!r}")
    return int(n)


def _given(weight, pre_units) -> tuple[str, np.ndarray | None]:
    """Form of what `connect` got, and which of its entries each synapse is."""
    if pre_units is not None:
        form, pre = "list", np.asarray(pre_units)
    elif scipy.sparse.issparse(weight):
        form = weight.format
        pre = np.zeros(0) if form == "csr" else scipy.sparse.coo_array(weight).coords[0]
    else:
        return "dense", None
    return form, None if (pre[1:] >= pre[:-1]).all() else np.argsort(pre, kind="stable")


def _checked(values, name: str, minimum: float = -np.inf) -> np.ndarray:
    array = np.array(values, dtype=float)
    bad = ~np.isfinite(array) | (array < minimum)
    if bad.any():
        index = tuple(map(int, np.argwhere(bad)[0]))
        wanted = "finite" if minimum == -np.inf else "finite and non-negative"
        raise ValueError(
            f"{name}{list(index) if index else ''} must be {wanted}; got {array[index]}"
        )
    array.setflags(write=False)
    return array


def _shape_error(shape, n_pre: int, n_post: int) -> ValueError:
    hint = ""
    if shape == (n_post, n_pre):
        hint = "; it fits transposed: evsim wants (n_pre, n_post), torch and NIR store (out, in)"
    return ValueError(f"weight must have shape ({n_pre}, {n_post}); got {shape}{hint}")


def _from_dense(weight, delay, n_pre, n_post):
    weight = _checked(weight, "weight")
    if weight.shape != (n_pre, n_post):
        raise _shape_error(weight.shape, n_pre, n_post)
    weight = np.ascontiguousarray(weight)
    weight.setflags(write=False)
    delay = _checked(delay, "delay", 0.0)
    if delay.ndim == 0:
        return weight, float(delay), None, None
    if delay.shape != weight.shape:
        raise ValueError(f"delay must be a number or have weight's shape; got {delay.shape}")
    indptr = np.arange(n_pre + 1, dtype=np.int64) * n_post
    targets = np.tile(np.arange(n_post, dtype=np.int32), n_pre)
    return weight.ravel(), delay.ravel(), indptr, targets


def _from_sparse(weight, delay, n_pre, n_post):
    if weight.shape != (n_pre, n_post):
        raise _shape_error(weight.shape, n_pre, n_post)
    if weight.format == "csr":
        return _from_rows(weight, delay, n_post)
    # Through COO: it keeps duplicates and stored zeros, which are synapses.
    coo = scipy.sparse.coo_array(weight)
    if scipy.sparse.issparse(delay):
        other = scipy.sparse.coo_array(delay)
        order, its = (np.lexsort(part.coords[::-1]) for part in (coo, other))
        same = other.shape == coo.shape and all(
            np.array_equal(a[order], b[its]) for a, b in zip(coo.coords, other.coords, strict=True)
        )
        if not same:
            raise ValueError("a sparse delay must have the very pattern of weight")
        delay = np.empty(coo.nnz)
        delay[order] = other.data[its]
    pre, post = coo.coords
    return _from_lists(coo.data, delay, pre, post, n_pre, n_post)


def _from_rows(weight, delay, n_post):
    """From a CSR matrix, whose rows are those of the synapses: nothing but copies."""
    if scipy.sparse.issparse(delay):
        rows = delay if delay.format == "csr" else None
        if rows is None or not (
            delay.shape == weight.shape
            and np.array_equal(delay.indptr, weight.indptr)
            and np.array_equal(delay.indices, weight.indices)
        ):
            return _from_sparse(scipy.sparse.coo_array(weight), delay, *weight.shape)
        delay = rows.data
    data, delay = _checked(weight.data, "weight"), _checked(delay, "delay", 0.0)
    if delay.ndim and delay.shape != data.shape:
        raise ValueError("delay must be a number, or sparse with the very pattern of weight")
    target = np.array(weight.indices, np.int32)
    if target.size and not 0 <= target.min() <= target.max() < n_post:
        raise ValueError("weight has column indices that lie outside of it")
    indptr = weight.indptr.astype(np.int64)
    return data, float(delay) if delay.ndim == 0 else delay, indptr, target


def _from_lists(weight, delay, pre_units, post_units, n_pre, n_post):
    pre, post = np.asarray(pre_units), np.asarray(post_units)
    for name, units, n in (("pre_units", pre, n_pre), ("post_units", post, n_post)):
        if units.ndim != 1 or not (np.issubdtype(units.dtype, np.integer) or units.size == 0):
            raise TypeError(f"{name} must be a one-dimensional array of integers")
        bad = (units < 0) | (units >= n)
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(f"{name}[{k}] must lie in 0..{n - 1}; got {units[k]}")
    if pre.shape != post.shape:
        raise ValueError(f"pre_units and post_units differ in length: {pre.size}, {post.size}")
    weight, delay = _checked(weight, "weight"), _checked(delay, "delay", 0.0)
    for name, values in (("weight", weight), ("delay", delay)):
        if values.ndim and values.shape != pre.shape:
            raise ValueError(f"{name} must be a number or have one value per synapse, {pre.shape}")
    counts = np.bincount(pre, minlength=n_pre) if pre.size else np.zeros(n_pre, np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    post, weight = post.astype(np.int32), np.broadcast_to(weight, pre.shape)
    if not (pre[1:] >= pre[:-1]).all():
        order = np.argsort(pre, kind="stable")
        post, weight = post[order], weight[order]
        delay = delay[order] if delay.ndim else delay
    weight = np.ascontiguousarray(weight)
    weight.setflags(write=False)
    return weight, float(delay) if delay.ndim == 0 else delay, indptr, np.ascontiguousarray(post)
