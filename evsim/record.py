"""What a run leaves: its spikes, what it could not decide, and its voltages."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from evsim.arrivals import arrivals_in_blocks, lists_of_arrivals
from evsim.delivery import Current, incoming
from evsim.lists import trace
from evsim.network import Network, Projection
from evsim.neuron import new_books, new_log
from evsim.readings import Readings, readings
from evsim.spikes import SILENT, Spikes
from evsim.start import Snapshot, held


@dataclass(frozen=True, repr=False)
class Record:
    """A finished run.

    Attributes
    ----------
    spikes : dict of Spikes
        By population, ascending in time, then by unit.
    undecided : list of (population, unit, time, kind)
        Decisions within the rounding of float64, of the kinds "graze" (the voltage just
        reaches, or just misses, the threshold), "arrival" (an arrival at the time of a
        spike), "release" (an arrival at the end of a refractory period, or a voltage that has
        gone on and is at threshold there) and "tie" (the end of the run at the time of a
        spike). Each is judged from the state at the neuron's last own event: accumulated error
        is not in it.
    network, inputs, until, policies, initial
        What was run; the network is a copy.
    certificate : Certificate or None
        The proof of its spikes, if `simulate` was asked for one.
    """

    network: Network
    inputs: dict[str, Any]
    until: float
    policies: dict[str, str]
    spikes: dict[str, Spikes]
    undecided: list[tuple[str, int, float, str]]
    initial: dict[str, tuple[np.ndarray, ...]]
    final: dict[str, Snapshot] | None = None  # where a resumed run goes on
    certificate: Any = None  # of `simulate(.., certify=True)`

    def voltage(self, name: str, unit: int, t) -> np.ndarray:
        """Membrane voltage of one neuron, exact at any time.

        Parameters
        ----------
        name, unit : str, int
            Population and neuron.
        t : array_like
            Times [s] within [0, until], in any order.

        Returns
        -------
        ndarray of the shape of `t`
            At a jump the value after it (right limit).

        Raises
        ------
        ValueError
            If the neuron does not exist, or a time lies outside the run.
        """
        return self._trace(name, unit, t)[0]

    def current(self, name: str, unit: int, t) -> np.ndarray | dict[str, np.ndarray]:
        """Synaptic current of one neuron at any time, as `voltage`; 0 for delta synapses.

        Where the model has several synapse types, a dict with the current of each.
        """
        values = self._trace(name, unit, t)[1:]
        ports = self.network.populations[name].model.ports
        return {key: values[1 + port] for key, port in ports.items()} if ports else values[1]

    def state(self, name: str, unit: int, t) -> dict[str, np.ndarray]:
        """Every state variable of one neuron by name, at any time, as `voltage`.

        `v`; `i`, or `i_<type>` per synapse type; `a`, the slope of an alpha synapse; `th`, the
        moving part of an adaptive threshold; `r`, the slope of `IF(input="ramp")`.
        """
        values, names = self._trace(name, unit, t), self.network.populations[name].model.state
        rows = {key: values[1 + k] for k, key in enumerate(names)} | {names[0]: values[0]}
        found = {key: row for key, row in rows.items() if not key.endswith("_lo")}
        if "r_lo" in rows:
            found["r"] = rows["r"] + rows["r_lo"]
        if not self.network.populations[name].model.synaptic:
            found.pop("i", None)
        return found

    def threshold(self, name: str, unit: int, t) -> np.ndarray:
        """Threshold of one neuron at any time, as `voltage`; it moves in `AdaptiveLIF` only.

        Raises
        ------
        ValueError
            As `voltage`; or if the population does not fire.
        """
        self._check_name(name)
        model = self.network.populations[name].model
        if not model.spiking:
            raise ValueError(f"{name!r} is of {type(model).__name__}, which has no threshold")
        moving = self.state(name, unit, t).get("th", np.zeros(np.shape(t)))
        return _of_unit(getattr(model, "v_th", np.inf), unit) + moving  # type: ignore[arg-type]

    @property
    def premature(self) -> dict[str, Spikes]:
        """By population of `TTFS`: its spikes before `t_min`, which are in `spikes` too.

        Where there is one, a network is not the ReLU network that its weights make.
        """
        return {
            name: population.model.premature(self.spikes[name])
            for name, population in self.network.populations.items()
            if hasattr(population.model, "premature")
        }

    def maximum(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Greatest voltage of every neuron of a readout (`LI`) over [0, until], and when.

        Parameters
        ----------
        name : str
            A population of neurons that do not fire.

        Returns
        -------
        value : ndarray, shape (n,)
            The supremum, in closed form. Where the voltage jumps down, the value before the
            jump counts; where it jumps at `until`, both values do.
        time : ndarray, shape (n,)
            When it is first taken or approached [s].

        Raises
        ------
        ValueError
            If the population does not exist, or fires.
        """
        out = self._readings(name, "maximum")
        return out.highest + self.network.populations[name].model.rest(), out.when

    def integral(self, name: str) -> np.ndarray:
        """Integral of the voltage of every neuron of a readout (`LI`) over [0, until].

        Parameters
        ----------
        name : str
            A population of neurons that do not fire.

        Returns
        -------
        ndarray, shape (n,)
            In units of voltage times s, in closed form; divided by `until`, the mean voltage.

        Raises
        ------
        ValueError
            If the population does not exist, or fires.
        """
        area = self._readings(name, "integral").area
        return area + self.network.populations[name].model.rest() * self.until

    def plot_digits(self, ax=None):
        """Draw how many digits of a float64 spike time are true, as the run goes on.

        Parameters
        ----------
        ax : matplotlib axes, optional

        Returns
        -------
        matplotlib axes

        Raises
        ------
        ValueError
            If there is no proof for a model, or the run is too long; see `evsim.proof.digits`.
        """
        from evsim.proof.digits import plot

        return plot(self, ax)

    def _readings(self, name: str, what: str) -> Readings:
        self._check_name(name)
        model, n = self.network.populations[name].model, self.network.size(name)
        if model.spiking:
            raise ValueError(
                f"{what} is for readouts (LI), which no spike resets; {name!r} is of "
                f"{type(model).__name__}, whose voltage record.voltage gives at any time"
            )
        blocks = arrivals_in_blocks(
            self.network, name, self._trains(), self.inputs.get(name), None, self.until
        )
        return readings(model.compile(n, True), self.initial[name], blocks, self.until)

    def _trains(self) -> dict[str, Spikes]:
        """Spikes of every source of the network."""
        return {k: self.inputs.get(k, SILENT) for k in self.network.inputs} | self.spikes

    def _check_name(self, name):
        if name not in self.network.populations:
            known = ", ".join(self.network.populations)
            raise ValueError(f"{name!r} is not a population; there are {known}")

    def _trace(self, name, unit, t):
        self._check_name(name)
        n = self.network.size(name)
        if not 0 <= unit < n:
            raise ValueError(f"unit must lie in 0..{n - 1}; got {unit}")
        t = np.asarray(t, float)
        bad = ~((t >= 0) & (t <= self.until))
        if bad.any():
            raise ValueError(f"t must lie in [0, {self.until}]; got {t[bad].flat[0]}")
        flat = t.ravel()
        order = np.argsort(flat, kind="stable")
        values = _replay(self, name, unit, flat[order])
        out = np.empty(values.shape)
        out[:, order] = values
        return out.reshape(out.shape[0], *t.shape)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {len(s)}" for name, s in self.spikes.items())
        return f"Record(until={self.until}, spikes={{{counts}}}, undecided={len(self.undecided)})"


def _replay(record: Record, name: str, unit: int, t: np.ndarray):
    """Voltage and then the state variables of one neuron at ascending times."""
    network, model = _alone(record.network, name, unit)
    current = record.inputs.get(name)
    if current is not None:
        current = Current(current.times, current.rows(record.network.size(name), name)[:, [unit]],
                          current.dt)  # fmt: skip
    arrivals = lists_of_arrivals(network, name, record._trains(), current, None, record.until)
    p = held(model.compile(1, True), record.policies.get("multi") == "hold")
    state = tuple(values[[unit]] for values in record.initial[name])
    first = record.policies["tie"] == "arrival_first"
    values = np.zeros((1 + max(len(state), 2), t.size))
    room = len(record.spikes[name]) + 16 if name in record.spikes else 16
    doubts = new_log(64 + 4 * (arrivals.hi.size + room))
    trace(p, state, new_books(1), arrivals, first, t, values[0], values[1:],
          new_log(2 * room), doubts)  # fmt: skip
    values[0] += model.rest()
    if not model.synaptic:
        values[2] = 0.0
    return values


def _alone(network: Network, name: str, unit: int):
    """The network with only one neuron left in a population, and its model."""
    population = network.populations[name]
    model = replace(
        population.model,
        **{
            field.name: _of_unit(getattr(population.model, field.name), unit)
            for field in fields(population.model)
        },
    )
    copy = network.copy()
    copy.populations[name] = replace(population, n=1, model=model)
    for projection in incoming(network, name):
        copy.projections[projection.name] = _onto(projection, unit)
    return copy, model


def _of_unit(value, unit: int):
    """What a parameter is for one neuron."""
    if isinstance(value, dict):
        return {key: _of_unit(number, unit) for key, number in value.items()}
    return value[unit] if isinstance(value, np.ndarray) else value


def _onto(projection: Projection, unit: int) -> Projection:
    """The synapses of a projection onto one neuron, in their order."""
    if projection.indptr is None or projection.targets is None:
        return replace(projection, weight=np.ascontiguousarray(projection.weight[:, [unit]]))
    mine = projection.targets == unit
    source = np.repeat(np.arange(projection.indptr.size - 1), np.diff(projection.indptr))[mine]
    counts = np.bincount(source, minlength=projection.indptr.size - 1)
    delay = projection.delay
    return replace(
        projection,
        weight=projection.weight[mine],
        delay=delay[mine] if np.ndim(delay) else delay,
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        targets=np.zeros(int(mine.sum()), np.int32),
    )
