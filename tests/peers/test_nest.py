"""Spike trains of recurrent networks against NEST's precise neurons, up to where chaos takes over.

Both sides are exact up to rounding, and a recurrent network multiplies every rounding. By how
much, evsim measures itself: each input is shifted by `SHIFT` in a run of its own, and a spike
that thereby moves by x has the amplification x / SHIFT. NEST must agree as long as NEST's
own error, so amplified, stays small against the distance between spikes; within that, no
spike may be missing, and every difference must lie below the amplified error.

NEST looks at the voltage at the ends of its sub-steps only (arrivals and the grid). A spike
that it lacks is explained if and only if evsim's voltage, were there no reset, is below
threshold again before that sub-step ends. There the comparison of the network ends.

Times count in milliseconds, steps and delays are dyadic: grid times have the same bits.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import evsim

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from peer import NEST_PYTHON, Nest

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        NEST_PYTHON not in os.environ, reason=f"{NEST_PYTHON} names no interpreter with NEST"
    ),
]

H, N, N_IN, UNTIL = 0.125, 100, 20, 400.0
SHIFT = 1e-9  # of one input [ms]: 1e-12 s
#: NEST's regula falsi ends at 1e-14 mV; a spike also inherits the roundings of the voltage and
#: the current it is solved from, each below 64 units in the last place of the largest current.
FALSI, ROUNDINGS = 1e-14, 64 * 2.0**-53
#: Amplifications are sampled by a few shifted inputs; others may be so many times larger.
UNSAMPLED = 8.0
LARGEST = 1e-6  # tolerance at which the comparison ends [ms]

MODELS = {"iaf_psc_exp_ps": "LIF", "iaf_psc_alpha_ps": "AlphaLIF"}
CASES = {
    "bias above threshold": {"bias": 1.3, "tau_mem": 20.0, "tau_syn": 5.0},
    "driven from below": {"bias": 0.5, "tau_mem": 20.0, "tau_syn": 5.0},
    "equal time constants": {"bias": 0.9, "tau_mem": 8.0, "tau_syn": 8.0},
    "slow synapse": {"bias": 0.7, "tau_mem": 5.0, "tau_syn": 20.0},
    "per neuron": {"bias": np.linspace(0.6, 1.3, N), "tau_mem": np.linspace(10, 30, N),
                   "tau_syn": 5.0},
}  # fmt: skip


class Case:
    """A network of 100 neurons as arrays, and what each side makes of it."""

    def __init__(self, strength, params, model="iaf_psc_exp_ps"):
        rng = np.random.default_rng(1)
        self.model = model
        self.params = {"v_th": 1.0, "v_reset": 0.0, "t_ref": 2.0, **params}
        # PSPs of one area for every synapse: weight tau_syn, or weight tau_syn^2 with alpha.
        size = 5.0 / self.params["tau_syn"] ** (2 if "alpha" in model else 1)
        self.rec = self._synapses(rng, N, 20, np.where(np.arange(N) < 80, 0.5, -2.5) * size)
        self.rec["weight"] *= strength
        self.inp = self._synapses(rng, N_IN, 30, np.full(N_IN, 1.0 * size))
        count = rng.poisson(0.06 * UNTIL * N_IN)
        self.times = np.sort(rng.integers(2**20, int(UNTIL * 2**20), count) / 2**20)
        self.units = rng.integers(0, N_IN, count)
        self.v = rng.integers(0, 2**10, N) / 2**10

    def _synapses(self, rng, n, fan_out, weight):
        pre = np.repeat(np.arange(n), fan_out)
        post = rng.integers(0, N, pre.size)
        delay = rng.integers(8, 40, pre.size) * H
        return {"pre": pre, "post": post, "weight": weight[pre], "delay": delay}

    def network(self):
        """In evsim."""
        net = evsim.Network()
        net.add_input("in", N_IN)
        model = getattr(evsim, MODELS[self.model])(**self.params)
        net.add_population("n", N, model, initial={"v": self.v})
        for source, s in (("n", self.rec), ("in", self.inp)):
            net.connect(
                source, "n", s["weight"], s["delay"], pre_units=s["pre"], post_units=s["post"]
            )
        return net

    def run(self, shifted=None):
        """Record of evsim; one input comes later by `SHIFT` if asked."""
        times = self.times.copy()
        if shifted is not None:
            times[shifted] += SHIFT
        return evsim.simulate(self.network(), {"in": evsim.Spikes(times, self.units)}, UNTIL)

    def nest(self, folder):
        """NEST's spike times by neuron."""
        out = folder / "spikes.npz"
        arrays = {**self.params, "n": np.array(N), "until": np.array(UNTIL), "v": self.v,
                  "n_in": np.array(N_IN), "in_times": self.times, "in_units": self.units,
                  **self.rec, **{f"in_{k}": x for k, x in self.inp.items()}}  # fmt: skip
        options = ("--resolution", str(H), "--spikes", str(out))
        with Nest(os.environ[NEST_PYTHON], arrays, *options) as nest:
            answer = nest.run(self.model)
        assert "error" not in answer, answer
        with np.load(out) as found:
            # The step is the end of the interval that the spike lies in, the offset runs backwards.
            times, units = found["steps"] * H - found["offsets"], found["units"]
        return by_neuron(times, units)


def by_neuron(times, units):
    """Ascending times of each neuron."""
    return [np.sort(times[units == n]) for n in range(N)]


def trains(record):
    """The same of a record."""
    return by_neuron(record.spikes["n"].times, record.spikes["n"].units)


def movement(ours, shifted):
    """(time, how far it moved) of every spike, by neuron; inf from where the counts differ."""
    out = []
    for a, b in zip(ours, shifted, strict=True):
        moved = np.full(a.size, np.inf)
        k = min(a.size, b.size)
        moved[:k] = np.abs(a[:k] - b[:k])
        out.append(moved)
    return out


def largest_so_far(ours, values):
    """Function of time: the largest of these values of spikes up to it."""
    times = np.concatenate(ours)
    order = np.argsort(times)
    times, running = times[order], np.maximum.accumulate(np.concatenate(values)[order])

    def at(t):
        k = np.searchsorted(times, t, side="right")
        return running[k - 1] if k else 0.0

    return at


def amplification(case, ours):
    """Function of time: by how much an error grew at most, at least 1."""
    early = np.linspace(0, case.times.size // 4, 4).astype(int)
    moved = [movement(ours, trains(case.run(k))) for k in early]
    worst = [np.maximum.reduce(parts) / SHIFT for parts in zip(*moved, strict=True)]
    at = largest_so_far(ours, worst)
    return lambda t: max(1.0, at(t))


def local_errors(case, record, ours):
    """Error of each spike that NEST makes by itself: errors of the voltage by its slope."""
    scale = max(np.abs(record.current("n", n, t)).max(initial=1.0) for n, t in enumerate(ours))
    out = []
    for n, t in enumerate(ours):
        drive = record.current("n", n, t) + np.broadcast_to(case.params["bias"], N)[n]
        tau = np.broadcast_to(case.params["tau_mem"], N)[n]
        slope = (drive - case.params["v_th"]) / tau
        assert (slope > 0).all()
        out.append((FALSI + ROUNDINGS * scale) / slope + 4 * np.spacing(UNTIL))
    return out


def arrivals(case, ours, n):
    """Times and weights of all arrivals at a neuron."""
    times, weights = [], []
    outside = [case.times[case.units == k] for k in range(N_IN)]
    for synapses, trains_ in ((case.rec, ours), (case.inp, outside)):
        for k in np.flatnonzero(synapses["post"] == n):
            times.append(trains_[synapses["pre"][k]] + synapses["delay"][k])
            weights.append(np.full(times[-1].size, synapses["weight"][k]))
    return np.concatenate(times), np.concatenate(weights)


def falls_back(case, record, ours, n, t):
    """Whether the voltage, not reset at `t`, is below threshold when NEST looks next: at the
    next arrival or grid point."""
    p = {k: float(np.broadcast_to(x, N)[n]) for k, x in case.params.items()}
    times, weights = arrivals(case, ours, n)
    end = min((np.floor(t / H) + 1) * H, times[times > t].min(initial=np.inf))
    start = {"v": p["v_th"], "i": float(record.current("n", n, t))}
    if "alpha" in case.model:
        past = times <= t
        start["a"] = float(weights[past] @ np.exp((times[past] - t) / p["tau_syn"]))
    net = evsim.Network()
    model = getattr(evsim, MODELS[case.model])
    net.add_population("n", 1, model(**{**p, "v_th": 1e9}))
    free = evsim.simulate(net, {}, H, initial={"n": start})
    return free.voltage("n", 0, end - t) < p["v_th"]


def first_difference(ours, theirs, tolerance, until):
    """Neuron and time of the first spike before `until` that one side alone has; or None."""
    found = []
    for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for k in range(max(a.size, b.size)):
            x, y = (s[k] if k < s.size else np.inf for s in (a, b))
            if min(x, y) >= until:
                break
            if not abs(x - y) <= tolerance(min(x, y) + LARGEST):
                found.append((min(x, y), n, x, y))
                break
    return min(found, default=None)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_trains_agree_until_chaos(tmp_path, model, name, strength):
    case = Case(strength, CASES[name], model)
    record = case.run()
    ours, theirs = trains(record), case.nest(tmp_path)
    grown = amplification(case, ours)
    local = largest_so_far(ours, local_errors(case, record, ours))

    def tolerance(t):
        return UNSAMPLED * grown(t) * local(t)

    times = np.sort(record.spikes["n"].times)
    horizon = next((t for t in times if tolerance(t) > LARGEST), UNTIL - LARGEST)
    found = first_difference(ours, theirs, tolerance, horizon)
    if found is not None:
        t, n, mine, its = found
        assert mine < its, f"neuron {n}: NEST alone fires, at {its!r}; evsim next at {mine!r}"
        assert falls_back(case, record, ours, n, t), (
            f"neuron {n}: evsim fires at {mine!r}, NEST at {its!r} (difference {its - mine:.2e}, "
            f"tolerance {tolerance(t):.2e}), and the voltage stays above threshold"
        )
        horizon = t
    compared = int((times < horizon).sum())
    worst = max(
        (abs(a[:k] - b[:k]).max(initial=0.0)
         for a, b in zip(ours, theirs, strict=True)
         for k in [int((a < horizon - LARGEST).sum())]), default=0.0,
    )  # fmt: skip
    print(f"{compared} of {times.size} spikes up to {horizon:.1f} ms, amplified "
          f"{grown(horizon):.1e} times; largest difference {worst:.1e} ms")  # fmt: skip
    assert compared >= 100


@pytest.mark.parametrize(("above", "missed"), [(1e-6, True), (1e-1, False)])
def test_a_spike_that_nest_misses_is_recognised(tmp_path, above, missed):
    """One PSP whose peak is just above threshold (4 times it, where tau_mem = 2 tau_syn)."""
    case = Case(1.0, {"tau_mem": 10.0, "tau_syn": 5.0, "bias": 0.0})
    case.rec["weight"][:] = 0.0
    case.inp = {"pre": np.arange(1), "post": np.arange(1), "weight": np.full(1, 4 * (1 + above)),
                "delay": np.full(1, 8 * H)}  # fmt: skip
    case.times, case.units, case.v = np.full(1, 1.05), np.zeros(1, int), np.zeros(N)
    record = case.run()
    ours, theirs = trains(record), case.nest(tmp_path)
    assert ours[0].size == 1 and theirs[0].size == (0 if missed else 1)
    assert falls_back(case, record, ours, 0, ours[0][0]) == missed
