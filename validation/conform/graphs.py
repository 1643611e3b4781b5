"""NIR graphs to ask importers about: every node, its fields one by one, loops, and a small network.

Inputs and weights are multiples of 2^-6, so that weighted sums are exact in float32 in any order
and what a neuron receives is known to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

STEPS, SAMPLES, N_IN, N = 80, 2, 6, 8
#: In the variants in which a spike is a Dirac pulse, as in NIR's own equations.
UNIT_AREA = "spikes of unit area"
GRID = 2.0**-6


@dataclass(frozen=True)
class Case:
    """A graph, its input [T, B, ...] and step, and which of its nodes is asked about.

    `build` makes the graph anew: importers change what they get.
    """

    subject: str
    variant: str
    build: Callable[[], Any]
    x: np.ndarray
    dt: float
    node: str

    @property
    def graph(self) -> Any:
        """The graph, freshly made."""
        return self.build()


def cases() -> list[Case]:
    """All of them, in the order of NIR's own list of nodes."""
    return [*_linear(), *_pools(), *_timing(), *_leaks(), *_spiking(), *_loops(), *_network()]


def chain(nodes: dict[str, Any], shape: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """A graph of nodes one behind the other."""
    import nir

    whole = {
        "input": nir.Input(input_type={"input": np.array(shape)}),
        **nodes,
        "output": nir.Output(output_type={"output": np.array(out)}),
    }
    return nir.NIRGraph(nodes=whole, edges=list(pairwise(whole)))


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _raster(seed: int, *shape: int, steps: int = STEPS) -> np.ndarray:
    return (_rng(seed).random((steps, SAMPLES, *shape)) < 0.4).astype(np.float32)


def weights(seed: int, *shape: int, size: float = 1.0) -> np.ndarray:
    """Random weights on the grid, mostly positive."""
    drawn = size * (_rng(seed).normal(size=shape) + 0.8)
    return np.round(drawn / GRID) * GRID


# --------------------------------------------------------------------------------- linear nodes


def _linear() -> Iterator[Case]:
    import nir

    bias = np.round(_rng(1).normal(size=N) / GRID) * GRID
    yield _line("Affine", "bias", lambda: {"node": nir.Affine(weights(2, N, N_IN), bias)})
    yield _line("Linear", "", lambda: {"node": nir.Linear(weights(3, N, N_IN))})
    square = "square, behind an Affine"
    yield _line("Linear", square, lambda: _behind({"node": nir.Linear(weights(4, N, N))}))
    scale = np.round(1.0 + 3.0 * _rng(5).random(N))
    yield _line("Scale", "", lambda: _behind({"node": nir.Scale(scale)}))
    for name, options in _convolutions("Conv1d").items():
        yield _convolution("Conv1d", name, (4, 12), (3,), options)
    for name, options in _convolutions("Conv2d").items():
        yield _convolution("Conv2d", name, (4, 7, 7), (3, 3), options)


def _line(subject: str, variant: str, nodes: Callable[[], dict[str, Any]]) -> Case:
    def build() -> Any:
        return chain(nodes(), (N_IN,), (N,))

    return Case(subject, variant, build, _raster(0, N_IN), 1e-3, "node")


def _behind(nodes: dict[str, Any], size: float = 1.0) -> dict[str, Any]:
    """Behind an Affine, whose output a dropped node would hand on."""
    import nir

    return {"fc": nir.Affine(weights(6, N, N_IN, size=size), np.zeros(N)), **nodes}


def _convolutions(kind: str) -> dict[str, dict[str, Any]]:
    whole: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    if kind == "Conv2d":
        whole |= {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    two: Any = 2 if kind == "Conv1d" else (2, 2)
    found: dict[str, dict[str, Any]] = {
        "": {},
        "stride=2": {"stride": two},
        "dilation=2": {"dilation": two},
    }
    found |= {"padding=2": {"padding": two}, "padding=same": {"padding": "same"}}
    return {name: whole | change for name, change in (found | {"groups=2": {"groups": 2}}).items()}


def _convolution(kind: str, variant: str, shape, kernel, options: dict[str, Any]) -> Case:
    import nir

    weight = weights(7, 6, shape[0] // options["groups"], *kernel)
    bias = np.round(_rng(8).normal(size=6) / GRID) * GRID

    def build() -> Any:
        size = shape[1] if kind == "Conv1d" else shape[1:]
        node = getattr(nir, kind)(input_shape=size, weight=weight, bias=bias, **options)
        return chain({"node": node}, shape, tuple(node.output_type["output"]))

    return Case(kind, variant, build, _raster(9, *shape, steps=5), 1e-3, "node")


def _conv2d(size: tuple[int, int], weight: np.ndarray) -> Any:
    """Without a bias, padding or stride."""
    import nir

    plain: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    return nir.Conv2d(input_shape=size, weight=weight, bias=np.zeros(len(weight)), **plain)


def _pools() -> Iterator[Case]:
    import nir

    for kind in ("SumPool2d", "AvgPool2d"):
        for variant, stride, padding in (("", 2, 0), ("stride=1", 1, 0), ("padding=1", 2, 1)):
            if kind == "AvgPool2d" and padding:
                continue  # NIR leaves open whether a mean counts its padding

            def build(kind=kind, stride=stride, padding=padding) -> Any:
                each = {"kernel_size": (2, 2), "stride": (stride,) * 2, "padding": (padding,) * 2}
                side = (6 + 2 * padding - 2) // stride + 1
                node = getattr(nir, kind)(**{k: np.array(v) for k, v in each.items()})
                return chain({"node": node}, (3, 6, 6), (3, side, side))

            yield Case(kind, variant, build, _raster(10, 3, 6, 6, steps=5), 1e-3, "node")

        def behind(kind=kind) -> Any:
            each = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
            conv = _conv2d((8, 8), weights(21, 3, 2, 3, 3))
            node = getattr(nir, kind)(**{k: np.array(v) for k, v in each.items()})
            return chain({"conv": conv, "node": node}, (2, 8, 8), (3, 3, 3))

        x = _raster(22, 2, 8, 8, steps=5)
        yield Case(kind, "behind a Conv2d", behind, x, 1e-3, "node")

    def flat() -> Any:
        shape = {"input": np.array([3, 4, 4])}
        return chain({"node": nir.Flatten(input_type=shape, start_dim=0)}, (3, 4, 4), (48,))

    yield Case("Flatten", "start_dim=0", flat, _raster(11, 3, 4, 4, steps=5), 1e-3, "node")


def _timing() -> Iterator[Case]:
    import nir

    yield _line("Delay", "2 steps", lambda: _behind({"node": nir.Delay(np.full(N, 2e-3))}))
    yield _line("Threshold", "", lambda: _behind({"node": nir.Threshold(np.full(N, 1.0))}))


# -------------------------------------------------------------------------------------- neurons


def _each(seed: int, low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, N)[_rng(seed).permutation(N)]


def _neuron(kind: str, variant: str, dt: float, size: float, **fields: Any) -> Case:
    import nir

    whole = {name: np.broadcast_to(np.asarray(v, float), (N,)).copy() for name, v in fields.items()}

    def build() -> Any:
        return chain(_behind({"node": getattr(nir, kind)(**whole)}, size), (N_IN,), (N,))

    return Case(kind, variant, build, _raster(12, N_IN), dt, "node")


def _leaks() -> Iterator[Case]:
    yield _neuron("I", "r=1/dt", 1e-3, 1.0, r=1e3)
    for variant, change in {"": {}, "r=2": {"r": 2.0}, "v_leak=0.3": {"v_leak": 0.3}}.items():
        yield _neuron("LI", variant, 1e-3, 1.0, **({"tau": 0.01, "r": 1.0, "v_leak": 0.0} | change))
    yield _neuron("LI", "time in steps", 1.0, 1.0, tau=10.0, r=1.0, v_leak=0.0)
    cuba = {"tau_syn": 0.005, "tau_mem": 0.01, "r": 1.0, "v_leak": 0.0, "w_in": 1.0}
    for variant, change in {"": {}, "w_in=2": {"w_in": 2.0}, "v_leak=0.3": {"v_leak": 0.3}}.items():
        yield _neuron("CubaLI", variant, 1e-3, 1.0, **(cuba | change))


def _spiking() -> Iterator[Case]:
    plain = {"v_threshold": 1.0 + GRID / 3, "v_reset": 0.0}
    unit = {"r": 1e3, **plain}
    yield _hits()
    yield _neuron("IF", "r=1/dt", 1e-3, 0.25, **unit)
    yield _neuron("IF", "r=1", 1e-3, 0.25, **(unit | {"r": 1.0}))
    yield _neuron("IF", "r=1/dt v_reset=0.3", 1e-3, 0.25, **(unit | {"v_reset": 0.3}))
    many = {"v_threshold": _each(13, 0.7, 1.9)}
    yield _neuron("IF", "r=1/dt v_threshold=per neuron", 1e-3, 0.25, **(unit | many))
    lif = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, **plain}
    changes: dict[str, dict[str, Any]] = {
        "": {},
        "r=2": {"r": 2.0},
        "r=tau/dt": {"r": 10.0},
        "v_reset=0.3": {"v_reset": 0.3},
        "v_leak=0.3": {"v_leak": 0.3},
        "v_leak=v_reset=0.3": {"v_leak": 0.3, "v_reset": 0.3},
        "v_threshold=2": {"v_threshold": 2.0},
        "tau=per neuron": {"tau": _each(14, 0.005, 0.02)},
        "v_threshold=per neuron": {"v_threshold": _each(15, 0.7, 1.9)},
    }
    for variant, change in changes.items():
        yield _neuron("LIF", variant, 1e-3, 2.0, **(lif | change))
    yield _neuron("LIF", "dt=0.1 ms", 1e-4, 4.0, **lif)
    yield _neuron("LIF", "time in steps", 1.0, 2.0, **(lif | {"tau": 10.0}))
    for r, name in ((1.0, "r=1"), (0.01, "r=tau")):
        yield _neuron("LIF", f"{name}, {UNIT_AREA}", 1e-3, 2.0, **(lif | {"r": r}))
    yield from _cuba(plain)


def _hits() -> Case:
    """Steps of a half: the threshold of 1 is hit exactly, and not crossed, in every second one."""
    import nir

    def build() -> Any:
        fields = {"r": 1e3, "v_threshold": 1.0, "v_reset": 0.0}
        node = nir.IF(**{name: np.full(N, value) for name, value in fields.items()})
        halves = nir.Affine(0.5 * np.ones((N, N_IN)), np.zeros(N))
        return chain({"fc": halves, "node": node}, (N_IN,), (N,))

    x = np.zeros((20, SAMPLES, N_IN), np.float32)
    x[:, :, 0] = 1.0
    return Case("IF", "r=1/dt threshold hit exactly", build, x, 1e-3, "node")


def _cuba(plain: dict[str, float]) -> Iterator[Case]:
    for dt, name in ((1e-3, ""), (1e-4, "dt=0.1 ms")):
        time = {"tau_syn": 5 * dt, "tau_mem": 10 * dt, "v_leak": 0.0}
        scaled = {**time, "r": 10.0, "w_in": 5.0, **plain}
        yield _neuron("CubaLIF", f"r=tau_mem/dt w_in=tau_syn/dt {name}".rstrip(), dt, 0.1, **scaled)
        if name:
            continue
        changes: dict[str, dict[str, Any]] = {
            "r=1 w_in=1": {"r": 1.0, "w_in": 1.0},
            "v_reset=0.3": {"v_reset": 0.3},
            "v_leak=0.3": {"v_leak": 0.3},
            "w_in=per neuron": {"w_in": _each(16, 4.0, 8.0)},
            "tau_mem=per neuron": {"tau_mem": _each(17, 5 * dt, 20 * dt)},
        }
        for variant, change in changes.items():
            size = 5.0 if variant == "r=1 w_in=1" else 0.1
            yield _neuron("CubaLIF", variant, dt, size, **(scaled | change))


# ------------------------------------------------------------------------------ loops, a network


def _loops() -> Iterator[Case]:
    """One spike is sent round a loop of neurons, of which each fires once per visit.

    Importers without a step of their own take 0.1 ms; some want r = tau/dt.
    """
    for dt, name in ((1e-3, ""), (1e-4, " dt=0.1 ms")):
        for kind, r in (("LIF", 1.0), ("LIF", 2.0), ("CubaLIF", 2.0)):
            for nested in (False, True):
                form = "nested" if nested else "flat"
                scaled = " r=tau/dt" if (kind, r) == ("LIF", 2.0) else ""
                yield Case(
                    "recurrent loop",
                    f"{kind} {form}{scaled}{name}",
                    partial(_loop, kind, r, nested, dt),
                    _kick(),
                    dt,
                    "lif",
                )


def _kick() -> np.ndarray:
    x = np.zeros((12, 1, 4), np.float32)
    x[5, 0, 0] = 1.0
    return x


def _loop(kind: str, r: float, nested: bool, dt: float) -> Any:
    import nir

    fields = {"r": r, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    if kind == "LIF":
        fields |= {"tau": 2 * dt}
    else:
        fields |= {"tau_syn": 2 * dt, "tau_mem": 2 * dt, "w_in": 2.0}
    lif = getattr(nir, kind)(**{name: np.full(4, value) for name, value in fields.items()})
    size = 3.0 / r  # one spike moves the voltage by 1.5
    loop = nir.Affine(size * np.roll(np.eye(4), 1, axis=0), np.zeros(4))
    first = nir.Affine(size * np.eye(4), np.zeros(4))
    ports = {
        "input": nir.Input(input_type={"input": np.array([4])}),
        "output": nir.Output(output_type={"output": np.array([4])}),
    }
    back = [("lif", "w_rec"), ("w_rec", "lif")]
    if not nested:
        nodes = {**ports, "fc": first, "lif": lif, "w_rec": loop}
        edges = [("input", "fc"), ("fc", "lif"), *back, ("lif", "output")]
        return nir.NIRGraph(nodes=nodes, edges=edges)
    within = nir.NIRGraph(
        nodes={**ports, "lif": lif, "w_rec": loop},
        edges=[("input", "lif"), *back, ("lif", "output")],
    )
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(input_type={"input": np.array([4])}),
            "output": nir.Output(output_type={"output": np.array([4])}),
            "fc": first,
            "rnn": within,
        },
        edges=[("input", "fc"), ("fc", "rnn"), ("rnn", "output")],
    )


def _network() -> Iterator[Case]:
    """A small convolutional network, as those that are put on chips."""
    import nir

    def neurons(*shape: int) -> Any:
        off = np.full(shape, 1.0 + GRID / np.pi)  # no sum of weights hits it, nor a multiple
        return nir.IF(r=np.full(shape, 1e3), v_threshold=off, v_reset=np.zeros(shape))

    def build() -> Any:
        conv = _conv2d((8, 8), weights(18, 4, 2, 3, 3, size=0.1))
        each = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
        nodes = {
            "conv": conv,
            "if1": neurons(4, 6, 6),
            "pool": nir.SumPool2d(**{k: np.array(v) for k, v in each.items()}),
            "flat": nir.Flatten(input_type={"input": np.array([4, 3, 3])}, start_dim=0),
            "fc": nir.Affine(weights(19, 10, 36, size=0.05), np.zeros(10)),
            "if2": neurons(10),
        }
        return chain(nodes, (2, 8, 8), (10,))

    x = _raster(20, 2, 8, 8, steps=50)
    yield Case("network", "Conv2d IF SumPool2d Flatten Affine IF", build, x, 1e-3, "if2")
