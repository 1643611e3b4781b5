"""Spike trains: sorted (time, unit) pairs that keep their digits, on a grid or off it."""

from __future__ import annotations

from fractions import Fraction
from numbers import Real

import numpy as np

from evsim.models.base import two_sum_of_arrays

LAYOUTS = ("TN", "NT", "TBN", "BTN")
#: More spikes than any machine holds: an argument is wrong.
TOO_MANY = 2.0**40


def _split(value: Fraction) -> tuple[float, float]:
    hi = float(value)
    return hi, float(value - Fraction(hi))


def as_step(dt) -> Fraction:
    """`dt` as the exact rational that is meant: 1e-3 is one thousandth."""
    step = dt if isinstance(dt, Fraction) else Fraction(repr(float(dt)))
    if step <= 0:
        raise ValueError(f"dt must be positive; got {dt}")
    return step


def grid_times(steps: np.ndarray, dt: Fraction) -> tuple[np.ndarray, np.ndarray]:
    """`steps * dt` as pairs (hi, lo); equal steps give equal bits."""
    distinct, back = np.unique(np.asarray(steps, np.int64), return_inverse=True)
    pairs = np.array([_split(int(k) * dt) for k in distinct]).reshape(-1, 2)
    return pairs[back, 0], pairs[back, 1]


def _step_of(t: float, lo: float, dt: Fraction) -> int:
    k = round(Fraction(t) / dt)
    if lo == 0.0 and t in (float(k * dt), k * float(dt)):
        return k
    return (Fraction(t) + Fraction(lo)) // dt


class Spikes:
    """Spikes of a population, in ascending order of time.

    Parameters
    ----------
    times : array_like, shape (k,)
        Spike times [s], non-negative; sorted here, stably.
    units : array_like of int, shape (k,)
        The neuron of each spike.
    times_lo : array_like, shape (k,), optional
        What the times lack to more digits: the spike is at `times + times_lo`.

    Raises
    ------
    ValueError
        If lengths differ, a time is negative or not finite, or a unit is negative.

    Notes
    -----
    Spikes on a grid (`from_raster`, `on_grid`) carry integer steps and an exact rational step
    width, so that coincidences on the grid are exact.
    """

    def __init__(self, times, units, *, times_lo=None):
        times = np.array(times, dtype=float)
        units = integers(units, "units")
        lo = np.zeros_like(times) if times_lo is None else np.array(times_lo, dtype=float)
        if times.ndim != 1 or times.shape != units.shape or times.shape != lo.shape:
            raise ValueError(
                f"times and units must be one-dimensional and of one length; got shapes "
                f"{times.shape}, {units.shape}" + ("" if times_lo is None else f", {lo.shape}")
            )
        for name, bad, values in (
            ("times", ~np.isfinite(times) | (times < 0), times),
            ("times_lo", ~np.isfinite(lo), lo),
            ("units", units < 0, units),
        ):
            if bad.any():
                k = int(np.argmax(bad))
                wanted = "finite" if name == "times_lo" else "finite and non-negative"
                raise ValueError(f"{name}[{k}] must be {wanted}; got {values[k]}")
        if times_lo is not None:  # normalised, so that pairs compare as their sums do
            times, lo = two_sum_of_arrays(times, lo)
            if (times < 0).any():
                raise ValueError(f"times_lo[{int(np.argmax(times < 0))}] makes the time negative")
        if not (times[1:] > times[:-1]).all():
            order = np.lexsort((lo, times))
            times, lo, units = times[order], lo[order], units[order]
        self._set(times, lo, units, None, None)

    def _set(self, times, lo, units, steps, dt):
        self.times, self.times_lo, self.units = times, lo, units
        self.steps: np.ndarray | None = steps
        self.dt: Fraction | None = dt
        for array in (times, lo, units, steps):
            if array is not None:
                array.setflags(write=False)

    @classmethod
    def in_order(cls, times, times_lo, units) -> Spikes:
        """Spikes of a kernel: normalised pairs, ascending; they are not looked at again."""
        self = cls.__new__(cls)
        self._set(times, times_lo, units, None, None)
        return self

    @classmethod
    def on_grid(cls, steps, units, dt) -> Spikes:
        """Spikes at integer multiples of `dt`.

        Parameters
        ----------
        steps, units : array_like of int, shape (k,)
            Step and neuron of each spike.
        dt : float or fractions.Fraction
            Step width [s]; a float stands for its decimal reading.
        """
        steps, units = integers(steps, "steps"), integers(units, "units")
        if steps.ndim != 1 or steps.shape != units.shape:
            raise ValueError(
                f"steps and units must have one length; got shapes {steps.shape}, {units.shape}"
            )
        if steps.size and (steps.min() < 0 or units.min() < 0):
            raise ValueError("steps and units must be non-negative")
        dt = as_step(dt)
        order = np.argsort(steps, kind="stable")
        steps = steps[order]
        self = cls.__new__(cls)
        self._set(*grid_times(steps, dt), units[order], steps, dt)
        return self

    @classmethod
    def from_raster(cls, x, dt, *, layout) -> Spikes | list[Spikes]:
        """Spikes of a raster of counts; step k lies at time k dt.

        Parameters
        ----------
        x : array_like of non-negative integers
            Counts; one of several spikes per bin are several spikes at one time.
        dt : float or fractions.Fraction
            Step width [s].
        layout : {"TN", "NT", "TBN", "BTN"}
            What the axes are: time, neuron, batch.

        Returns
        -------
        Spikes, or a list of them for a layout with a batch.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
        x = np.asarray(x)
        if x.ndim != len(layout):
            raise ValueError(f"layout {layout!r} wants {len(layout)} axes; x has shape {x.shape}")
        counts = x.astype(np.int64)
        bad = (counts != x) | (counts < 0)
        if bad.any():
            index = tuple(map(int, np.argwhere(bad)[0]))
            raise ValueError(f"x must hold non-negative whole numbers; at {index}: {x[index]}")
        counts = counts.transpose([layout.index(axis) for axis in sorted(layout, key="BTN".index)])
        trains = []
        for sample in counts if "B" in layout else counts[None]:
            steps, units = np.nonzero(sample)
            times = sample[steps, units]
            trains.append(cls.on_grid(np.repeat(steps, times), np.repeat(units, times), dt))
        return trains if "B" in layout else trains[0]

    @classmethod
    def poisson(cls, rate, n, until, seed) -> Spikes:
        """Independent Poisson trains of constant rate.

        Parameters
        ----------
        rate : float or array_like, shape (n,)
            Mean spikes per second [1/s] and unit, non-negative.
        n : int
            Number of units.
        until : float
            The trains cover [0, until] [s].
        seed : int or sequence of int
            For `numpy.random.default_rng`: the same arguments give the same bits, with one
            version of NumPy; a rate for all and an array of equal ones are the same.

        Returns
        -------
        Spikes
            Per unit a Poisson number of times, uniform in [0, until]: the process itself, not
            one trial per step of a grid.

        Raises
        ------
        ValueError, TypeError
            Naming the argument, index and value.
        """
        rate, until = _per_unit("rate", rate, n, 0.0), _duration(until)
        _refuse_too_many("rate", float(rate.sum()) * until)
        rng = _generator(seed)
        counts = rng.poisson(rate * until)
        return cls(rng.random(int(counts.sum())) * until, np.repeat(np.arange(n), counts))

    @classmethod
    def regular(cls, interval, n, until) -> Spikes:
        """Spikes at every multiple k >= 1 of an interval, up to and including `until`.

        Parameters
        ----------
        interval : float or array_like, shape (n,)
            Time between the spikes of a unit [s], positive. The double means exactly what it
            is; for decimal readings and exact coincidences with a grid see `on_grid`.
        n : int
            Number of units.
        until : float
            The trains cover [0, until] [s].

        Returns
        -------
        Spikes
            At exactly k times the interval, as two doubles: nothing accumulates.

        Raises
        ------
        ValueError, TypeError
            Naming the argument, index and value.
        """
        interval, until = (
            _per_unit("interval", interval, n, np.nextafter(0.0, 1.0)),
            _duration(until),
        )
        with np.errstate(over="ignore"):
            _refuse_too_many("interval", float((until / interval).sum()))
        distinct, which = np.unique(interval, return_inverse=True)
        counts = np.array([Fraction(until) // Fraction(d) for d in distinct.tolist()], np.int64)
        counts = counts[which]
        units = np.repeat(np.arange(n), counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        hi, lo = multiples(np.arange(units.size) - first + 1, interval[units])
        return cls(hi, units, times_lo=lo)

    def to_raster(self, n, n_steps, dt) -> np.ndarray:
        """Counts per step, shape (n_steps, n): a spike at t lies in step floor(t / dt).

        A double that stands for k dt, being the one nearest to it or `k * dt` as floats
        multiply, lies in step k, even where it is a rounding below.

        Raises
        ------
        ValueError
            If a spike lies outside; nothing is dropped silently.
        """
        dt = as_step(dt)
        if self.steps is not None and self.dt is not None:
            steps = np.array([int(k) * self.dt // dt for k in self.steps], np.int64)
        else:
            pairs = zip(self.times, self.times_lo, strict=True)
            steps = np.array([_step_of(float(t), float(lo), dt) for t, lo in pairs], np.int64)
        out = np.zeros((n_steps, n), np.int64)
        bad = (steps >= n_steps) | (self.units >= n)
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"spike {k} (unit {self.units[k]}, step {steps[k]}) lies outside a raster of "
                f"{n_steps} steps and {n} units"
            )
        np.add.at(out, (steps, self.units), 1)
        return out

    def after(self, t: float, until: float = np.inf) -> Spikes:
        """The spikes that may come after `t`, and up to `until`: some that come a rounding
        before or later are among them."""
        first = int(np.searchsorted(self.times, t * (1.0 - 1e-12) - 1e-300))
        part = slice(first, int(np.searchsorted(self.times, until, side="right")))
        some = Spikes.__new__(Spikes)
        steps = None if self.steps is None else self.steps[part]
        some._set(self.times[part], self.times_lo[part], self.units[part], steps, self.dt)
        return some

    def intervals(self, unit) -> np.ndarray:
        """Intervals between successive spikes of one neuron [s], with the digits they have."""
        mine = self.units == unit
        return np.diff(self.times[mine]) + np.diff(self.times_lo[mine])

    def __len__(self) -> int:
        return self.times.size

    def __repr__(self) -> str:
        return f"Spikes({len(self)} spikes of {np.unique(self.units).size} units)"


def joined(a: Spikes, b: Spikes) -> Spikes:
    """The spikes of both; on a grid if both are on the same."""
    if not len(a) or not len(b):
        return b if len(b) else a
    units = np.concatenate([a.units, b.units])
    if a.steps is not None and b.steps is not None and a.dt is not None and a.dt == b.dt:
        return Spikes.on_grid(np.concatenate([a.steps, b.steps]), units, a.dt)
    times, lo = ([getattr(x, column) for x in (a, b)] for column in ("times", "times_lo"))
    return Spikes(np.concatenate(times), units, times_lo=np.concatenate(lo))


def integers(values, name) -> np.ndarray:
    """`values` as int64; refuses what is not integer rather than rounding it."""
    array = np.asarray(values)
    if array.size == 0:
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers; got dtype {array.dtype}")
    return array.astype(np.int64)


def multiples(k: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`k * x` as (hi, lo), exact for integers k < 2**53 and finite x > 0 (Dekker 1971)."""
    mantissa, exponent = np.frexp(x)
    k = k.astype(float)
    hi = k * mantissa
    k_high, k_low = _halves(k)
    x_high, x_low = _halves(mantissa)
    lo = ((k_high * x_high - hi) + k_high * x_low + k_low * x_high) + k_low * x_low
    return np.ldexp(hi, exponent), np.ldexp(lo, exponent)


def _halves(x):
    """Two parts of 26 bits and a sign each, whose products are exact."""
    scaled = x * (2.0**27 + 1.0)
    high = scaled - (scaled - x)
    return high, x - high


def _duration(until) -> float:
    if isinstance(until, bool) or not isinstance(until, Real):
        raise TypeError(f"until must be a number; got {until!r}")
    if not 0 <= float(until) < np.inf:
        raise ValueError(f"until must be finite and non-negative; got {until}")
    return float(until)


def _per_unit(name, values, n, least) -> np.ndarray:
    """`values` as one finite number per unit, `least` or more."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"n must be an integer; got {n!r}")
    if n < 1:
        raise ValueError(f"n must be positive; got {n}")
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number or one per unit; got {values!r}")
    if array.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or have shape ({n},); got {array.shape}")
    array = array.astype(float)
    bad = ~(np.isfinite(array) & (array >= least))
    if bad.any():
        where = f"[{int(np.argmax(bad))}]" if array.ndim else ""
        wanted = "positive" if least > 0.0 else "non-negative"
        raise ValueError(f"{name}{where} must be {wanted} and finite; got {array[bad].flat[0]}")
    return np.broadcast_to(array, (int(n),))


def _refuse_too_many(name, expected):
    if not expected < TOO_MANY:
        raise ValueError(f"{name} makes about {expected:.3g} spikes until the end: too many")


def _generator(seed) -> np.random.Generator:
    """A generator that a seed determines: None, or one that has run, would not repeat."""
    array = np.asarray(seed)
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size == 0:
        raise TypeError(f"seed must be an integer, or a sequence of them; got {seed!r}")
    if (array < 0).any():
        raise ValueError(f"seed must be non-negative; got {seed!r}")
    return np.random.default_rng(seed)


#: A train without spikes.
SILENT = Spikes([], [])
