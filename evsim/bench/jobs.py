"""Recurrent networks to measure with: the same arrays for evsim and for its peers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim.bench.turns import SEED
from evsim.models.lif import LIF
from evsim.network import Network
from evsim.spikes import Spikes

FAN_OUT, EXCITATORY, WEIGHTS = 100, 0.8, (0.5, -2.5)
LEVELS = {"v_th": 1.0, "v_reset": 0.0, "t_ref": 2e-3}
DELAY, MIXED, SHORTEST = 1.5e-3, (0.1e-3, 5e-3), 1e-6
#: Resting level of the job that fires by itself, and of the one that waits for noise.
ABOVE, BELOW = 1.3, 0.5


@dataclass
class Synapses:
    """One synapse per entry: from, to, jump, and one delay or one for each [s]."""

    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    delay: Any


@dataclass
class Job:
    """A network of one population, its input, and where it starts."""

    name: str
    n: int
    params: dict[str, Any]
    synapses: Synapses
    v: np.ndarray
    until: float = 1.0
    n_in: int = 0
    input_synapses: Synapses | None = None
    train: dict[str, np.ndarray] = field(default_factory=dict)

    def network(self) -> Network:
        """As evsim sees it."""
        net = Network()
        net.add_population("n", self.n, LIF(**self.params), initial={"v": self.v})
        join(net, "n", self.synapses)
        if self.input_synapses is not None:
            net.add_input("in", self.n_in)
            join(net, "in", self.input_synapses)
        return net

    def inputs(self) -> dict[str, Spikes]:
        """Spikes from outside."""
        return {"in": Spikes(self.train["times"], self.train["units"])} if self.n_in else {}

    def events(self, spikes: int) -> int:
        """Synaptic events of a run with so many spikes, input counted."""
        out = spikes * (self.synapses.pre.size / self.n)
        if self.input_synapses is not None:
            out += self.train["times"].size * (self.input_synapses.pre.size / self.n_in)
        return round(out)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything for a peer: times in milliseconds, currents in units of voltage."""
        out = {"n": np.array(self.n), "until": np.array(1e3 * self.until), "v": self.v}
        for name, value in self.params.items():
            scale = 1e3 if name in ("tau_mem", "tau_syn", "t_ref") else 1.0
            out[name] = scale * np.asarray(value)
        out |= flat("", self.synapses)
        if self.input_synapses is not None:
            out |= flat("in_", self.input_synapses) | {"n_in": np.array(self.n_in)}
            out |= {"in_times": 1e3 * self.train["times"], "in_units": self.train["units"]}
        return out


def join(net, source: str, synapses: Synapses) -> None:
    """Connect a source to the population."""
    net.connect(
        source, "n", synapses.weight, synapses.delay,
        pre_units=synapses.pre, post_units=synapses.post,
    )  # fmt: skip


def flat(prefix: str, synapses: Synapses) -> dict[str, np.ndarray]:
    """Synapses as named arrays, delays in milliseconds."""
    return {
        f"{prefix}pre": synapses.pre,
        f"{prefix}post": synapses.post,
        f"{prefix}weight": synapses.weight,
        f"{prefix}delay": 1e3 * np.asarray(synapses.delay),
    }


def random_synapses(rng, n_pre, n, fan_out, weight, delay) -> Synapses:
    """Every source to `fan_out` targets drawn with replacement; `weight` per source."""
    pre = np.repeat(np.arange(n_pre, dtype=np.int32), fan_out)
    post = rng.integers(0, n, n_pre * fan_out, dtype=np.int32)
    weight = np.repeat(np.broadcast_to(np.asarray(weight, float), n_pre), fan_out)
    return Synapses(pre, post, weight, delay)


def mixed_delays(rng, count: int) -> np.ndarray:
    """Uniform delays, and one synapse that is far shorter."""
    delay = rng.uniform(*MIXED, count)
    delay[count // 2] = SHORTEST
    return delay


def recurrent(
    n: int = 10_000, *, bias: float = ABOVE, per_neuron: bool = False, mixed: bool = False,
    fan_out: int = FAN_OUT, strength: float = 1.0, until: float = 1.0, name: str = "bias",
) -> Job:  # fmt: skip
    """The job that fires by its bias; 80 % of its neurons excite."""
    rng = np.random.default_rng(SEED)
    strength = strength * (FAN_OUT / fan_out) ** 0.5
    weight = np.where(np.arange(n) < EXCITATORY * n, *WEIGHTS) * strength
    synapses = random_synapses(rng, n, n, fan_out, weight, DELAY)
    v = rng.uniform(0.0, 1.0, n)
    tau_mem = rng.uniform(18e-3, 22e-3, n) if per_neuron else 20e-3
    if mixed:
        synapses.delay = mixed_delays(rng, n * fan_out)
    params = {"tau_mem": tau_mem, "tau_syn": 5e-3, "bias": bias, **LEVELS}
    return Job(name, n, params, synapses, v, until)


def driven(
    n: int = 10_000, *, rate: float = 30.0, weight: float = 0.5, bias: float = BELOW,
    name: str = "noise", **options,
) -> Job:  # fmt: skip
    """The job that rests below threshold and fires by Poisson noise from n / 10 units."""
    job = recurrent(n, bias=bias, name=name, **options)
    rng = np.random.default_rng(SEED + 1)
    job.n_in = max(1, n // 10)
    job.input_synapses = random_synapses(rng, job.n_in, n, FAN_OUT, weight, DELAY)
    count = rng.poisson(rate * job.until * job.n_in)
    times = np.sort(rng.uniform(0.0, job.until, count))
    job.train = {"times": times, "units": rng.integers(0, job.n_in, count)}
    return job
