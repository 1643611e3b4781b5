"""Claims about units on their own: exact, or statistics of a single layer."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

import evsim
from reference import mlf
from reference.mlf import TAU, V_TH
from validation.cases.claims import Measured, Run
from validation.cases.mlf.frameworks import RECORDED, problem
from validation.cases.mlf.paper import DERIVED, F22, PAPER


def units(shape, seed: int, mean: float = 0.4, spread: float = 1.2, *, tau=TAU, v_th=V_TH):
    """Units with normal inputs."""
    x = np.random.default_rng(seed).normal(mean, spread, shape)
    return mlf.forward(x, tau=tau, v_th=v_th)


@PAPER.claim(
    "M1",
    "a unit is as many exact event-driven neurons, whose simultaneous inputs are summed",
    source=DERIVED,
    expected="spikes of every level identical, membranes within 1e-12",
)
def event_driven(run: Run) -> Measured:
    """Every input of a step is an event of its own; spikes of all levels are sent on."""
    rng = np.random.default_rng(1)
    n_in, n, steps = 20, 12, 40
    weight = rng.normal(0.25, 0.9, (n_in, n))
    x = rng.random((steps, n_in)) < 0.15
    wanted = mlf.forward(x @ weight, tau=TAU, v_th=V_TH)
    net = evsim.Network()
    net.add_input("in", n_in)
    for k, theta in enumerate(V_TH):
        model = evsim.DeltaLIF(tau_mem=-1.0 / math.log(TAU), v_th=theta, graze=">")
        net.add_population(f"level {k}", n, model)
        net.connect("in", f"level {k}", weight)
    at, channels = np.nonzero(x)
    record = evsim.simulate(net, {"in": evsim.Spikes(at.astype(float), channels)}, until=steps)
    differ, worst, grid = 0, 0.0, np.arange(steps, dtype=float)
    for k in range(len(V_TH)):
        found, raster = record.spikes[f"level {k}"], np.zeros((steps, n))
        raster[found.times.astype(int), found.units] = 1.0
        differ += int(np.sum(raster != wanted.spikes[k])) + int(np.sum(found.times % 1.0 != 0.0))
        v = [record.voltage(f"level {k}", unit=unit, t=grid) for unit in range(n)]
        after = wanted.u[k] * (1.0 - wanted.spikes[k])
        worst = max(worst, float(np.abs(np.stack(v, axis=1) - after).max()))
    text = f"{differ} of {int(wanted.output.sum())} spikes differ; {worst:.1e}"
    return Measured(text, differ == 0 and worst <= 1e-12)


def recorded(name: str, detach: bool) -> tuple[int, float]:
    """Spikes that differ from the recording, and the largest difference of gradients."""
    x, grad = problem()
    found = mlf.forward(x, tau=TAU, v_th=V_TH)
    gradient = mlf.backward(found, grad, width=1.0, detach=detach)
    with np.load(RECORDED) as file:
        differ = int(np.sum(found.spikes != file[f"spikes/{name}"]))
        if f"gradient/{name}" not in file:
            return differ, 0.0
        return differ, float(np.abs(gradient - file[f"gradient/{name}"]).max())


def autograd(detach: bool, run: Run) -> Measured:
    """Rectangles of width 1; a detached spike in the reset counts as a constant."""
    differ, worst = recorded("autograd detached" if detach else "autograd full", detach)
    return Measured(f"{worst:.1e}; {differ} spikes differ", differ == 0 and worst <= 1e-12)


for _id, _reset, _source in (
    ("M2", "differentiated", f"{F22}, code"),
    ("M3", "detached", DERIVED),
):
    PAPER.claim(
        _id,
        f"the backward recursion with the reset {_reset} is torch's autograd",
        source=_source,
        expected="recorded: 1e-12",
    )(partial(autograd, _reset == "detached"))


@PAPER.claim(
    "M4",
    "level for level SpikingJelly computes both variants, snnTorch the detached one, Norse spikes",
    source=DERIVED,
    expected="recorded: no spike differs, gradients 1e-12; snnTorch off the full one by > .1",
)
def others(run: Run) -> Measured:
    """LIFNode(tau=4/3, decay_input=False), Leaky(beta=1/4, reset zero), box neurons."""
    names = {"spikingjelly full": False, "spikingjelly detached": True, "snntorch": True}
    found = {name: recorded(name, detach) for name, detach in names.items()}
    differ = sum(one[0] for one in found.values()) + recorded("norse", True)[0]
    off = recorded("snntorch", False)[1]
    text = ", ".join(f"{name} {worst:.1e}" for name, (_, worst) in found.items())
    good = differ == 0 and max(worst for _, worst in found.values()) <= 1e-12 and off > 0.1
    return Measured(f"{text}; {differ} spikes differ; snnTorch off the full one {off:.2f}", good)


@PAPER.claim(
    "M5",
    "the windows of the levels tile: no overlap, and K times as wide as one",
    source=F22,
    expected="sum of h is 0 or 1, support (0.1, 3.1), measure 3: one grid spacing",
)
def tiling(run: Run) -> Measured:
    """Membranes on a grid of spacing 1e-4, off the ends of windows."""
    spacing = 1e-4
    u = (np.arange(-10_000, 50_000) + 0.5) * spacing
    total = mlf.derivative(mlf.forward(u[None], tau=TAU, v_th=V_TH), width=1.0).sum(axis=0)[0]
    inside = u[total > 0]
    ends, measure = (inside.min(), inside.max()), spacing * len(inside)
    good = set(np.unique(total)) == {0.0, 1.0} and abs(measure - 3.0) <= spacing
    good = good and abs(ends[0] - 0.1) <= spacing and abs(ends[1] - 3.1) <= spacing
    return Measured(f"({ends[0]:.4f}, {ends[1]:.4f}), measure {measure:.4f}", good)


@PAPER.claim(
    "M6",
    "at one step a unit is a quantiser with the derivative of clip(x - .1, 0, K)",
    source=DERIVED,
    expected="|o - clip| <= 1/2, and the sum of h is the slope: exact",
)
def quantiser(run: Run) -> Measured:
    """2e5 inputs; the derivative of the ramp is 1 inside (.1, 3.1) and 0 outside."""
    found = units((1, 200_000), 6)
    x = found.lif.current[:, 0]
    worst = float(np.abs(found.output - np.clip(x - 0.1, 0.0, 3.0)).max())
    slope = ((x > 0.1) & (x < 3.1)).astype(float)
    differ = int(np.sum(mlf.backward(found, 1.0, width=1.0) != slope))
    return Measured(f"{worst:.6f}; {differ} slopes differ", worst <= 0.5 + 1e-15 and differ == 0)


def broken(tau: float, seed: int, count: int) -> tuple[int, int]:
    """Steps at which level k + 1 fires without level k: of levels (1, 2), and (2, 3)."""
    found = np.diff(units((20, count), seed, 0.4, 1.0, tau=tau).spikes, axis=0) > 0
    return int(found[0].sum()), int(found[1].sum())


@PAPER.claim(
    "M7",
    "a level fires only with all below it where the leak is at most 5/13, not beyond",
    source=DERIVED,
    expected="no violation up to 5/13; some at .5 (levels 2, 3) and .7 (1, 2)",
)
def nesting(run: Run) -> Measured:
    """8e5 unit-steps per leak."""
    bound = mlf.nested_below(V_TH)
    below = [broken(tau, 7, 40_000) for tau in (TAU, 0.38, bound)]
    above, far = broken(0.5, 7, 40_000), broken(0.7, 7, 40_000)
    text = f"{sum(map(sum, below))} violations; .5: {above[1]} of (2, 3); .7: {far[0]} of (1, 2)"
    good = abs(bound - 5 / 13) < 1e-15 and sum(map(sum, below)) == 0
    return Measured(text, good and above[1] > 0 and far[0] > 0)


@PAPER.claim(
    "M8",
    "what a step hands back in time is bounded: [-tau (theta_k + a/2)/a, tau]",
    source=DERIVED,
    expected="-.275, -.525, -.775 and .25 never exceeded",
)
def bounded(run: Run) -> Measured:
    """8e5 unit-steps of each level."""
    factor = mlf.temporal_factor(units((40, 20_000), 8), width=1.0)
    low, high = factor.min(axis=(1, 2)), float(factor.max())
    good = np.all(low >= -TAU * (np.array(V_TH) + 0.5)) and high <= TAU
    text = ", ".join(f"{value:.5f}" for value in [*low, high])
    return Measured(text, bool(good and np.all(low <= -0.95 * TAU * (np.array(V_TH) + 0.5))))


@PAPER.claim(
    "M9",
    "dormant units of a normal input at the first step, in closed form",
    source=DERIVED,
    expected="deviation .6, K = 1, 2, 3: .5996, .5664, .5662, within .003",
)
def closed_form(run: Run) -> Measured:
    """4e5 samples; no number of levels gets below a half."""
    worst, shares = 0.0, []
    for k, expected in enumerate((0.5996, 0.5664, 0.5662), 1):
        found = mlf.dormant(units((1, 400_000), 9, 0.0, 0.6, v_th=V_TH[:k]), width=1.0)
        shares.append(float(found["instantaneous"]))
        exact = mlf.first_dormant(0.6, v_th=V_TH[:k], width=1.0)
        worst = max(worst, abs(shares[-1] - exact), abs(exact - expected))
    return Measured(", ".join(f"{share:.4f}" for share in shares), worst <= 0.003)


@PAPER.claim(
    "M11",
    "a unit gets no gradient exactly where no chain of factors reaches a window",
    source=DERIVED,
    expected="all of 2e6 unit-steps, full and detached",
)
def dead(run: Run) -> Measured:
    """Gradients by the outputs are normal, so that nothing cancels."""
    found = units((10, 200_000), 11, 0.3, 1.0)
    e = np.random.default_rng(12).standard_normal(found.output.shape)
    differ = 0
    for detach in (False, True):
        mask = mlf.dormancy(found, width=1.0, detach=detach)["dead"]
        gradient = mlf.backward(found, e, width=1.0, detach=detach)
        differ += int(np.sum((gradient == 0.0) != mask))
    shares = mlf.dormant(found, width=1.0)
    text = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
    return Measured(f"{differ} differ; {text}", differ == 0)
