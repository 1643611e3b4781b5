"""Claims about the neuron of the paper: event-driven, and its backward pass in frameworks."""

from __future__ import annotations

import math

import numpy as np

import evsim
from reference import tet
from reference.bptt import lif_backward, lif_forward
from reference.finite_difference import check
from reference.surrogates import get
from reference.tet_network import NEURON, Classifier, encode, initial
from validation.cases.claims import Measured, Run
from validation.cases.tet.frameworks import RECORDED, problem
from validation.cases.tet.paper import D22, DERIVED, PAPER

TRIANGLE = get("spikingjelly.PiecewiseQuadratic", alpha=1.0)


def compared(name: str, detach: bool) -> tuple[int, float]:
    """Spikes that differ from the recording, and the largest difference of gradients."""
    current, grad = problem()
    run = lif_forward(current, **NEURON)
    found = lif_backward(run, grad, TRIANGLE, detach=detach)["current"]
    with np.load(RECORDED) as file:
        differ = int(np.sum(run.spikes != file[f"spikes/{name}"]))
        return differ, float(np.abs(found - file[f"gradient/{name}"]).max())


@PAPER.claim(
    "E12",
    "the neuron is an exact event-driven one whose simultaneous inputs are summed",
    source=DERIVED,
    expected="spikes identical, membrane within 1e-12",
)
def event_driven(run: Run) -> Measured:
    """Every input of a step is an event of its own; strict threshold."""
    rng = np.random.default_rng(12)
    n_in, n, steps = 30, 20, 60
    weight = rng.normal(0.1, 0.5, (n_in, n))
    x = rng.random((steps, 1, n_in)) < 0.1
    wanted = lif_forward(x @ weight, **NEURON)
    net = evsim.Network()
    net.add_input("in", n_in)
    model = evsim.DeltaLIF(tau_mem=1.0 / math.log(2.0), v_th=1.0, graze=">")
    net.add_population("out", n, model)
    net.connect("in", "out", weight)
    at, _, units = np.nonzero(x)
    record = evsim.simulate(net, {"in": evsim.Spikes(at.astype(float), units)}, until=steps)
    raster = np.zeros((steps, n))
    found = record.spikes["out"]
    raster[found.times.astype(int), found.units] = 1.0
    differ = int(np.sum(raster != wanted.spikes[:, 0])) + int(np.sum(found.times % 1.0 != 0.0))
    grid = np.arange(steps, dtype=float)
    v = np.stack([record.voltage("out", unit=k, t=grid) for k in range(n)], axis=1)
    worst = float(np.abs(v - wanted.v[:, 0]).max())
    text = f"{differ} of {int(raster.sum())} spikes differ; {worst:.1e}"
    return Measured(text, differ == 0 and worst <= 1e-12)


@PAPER.claim(
    "E13",
    "the backward recursion, full and detached, is SpikingJelly's",
    source=f"{D22}: the reset is differentiated",
    expected="recorded: 1e-12",
)
def spikingjelly(run: Run) -> Measured:
    """LIFNode(tau=2, decay_input=False), PiecewiseQuadratic(alpha=1)."""
    full = compared("spikingjelly full", False)
    detached = compared("spikingjelly detached", True)
    text = f"full {full[1]:.1e}, detached {detached[1]:.1e}; {full[0] + detached[0]} spikes differ"
    return Measured(text, full[0] + detached[0] == 0 and max(full[1], detached[1]) <= 1e-12)


@PAPER.claim(
    "E14",
    "snnTorch computes the detached variant",
    source=DERIVED,
    expected="recorded: detached 1e-12, full differs by more than .1",
)
def snntorch(run: Run) -> Measured:
    """Leaky(beta=.5, reset_mechanism="zero") with the triangle."""
    detached, full = compared("snntorch", True), compared("snntorch", False)
    text = f"detached {detached[1]:.1e}, full {full[1]:.2f}; {detached[0]} spikes differ"
    return Measured(text, detached[0] == 0 and detached[1] <= 1e-12 and full[1] > 0.1)


@PAPER.claim(
    "E15",
    "with a sigmoid in the place of spikes the backward pass is the gradient",
    source=D22 + ": k = 1, 10, 20",
    expected="whole network, relative error < 1e-5",
)
def smooth(run: Run) -> Measured:
    """Three hidden layers with batch norm, six steps, random directions in all weights."""
    y, worst = np.arange(8) % 10, 0.0
    x = encode(np.random.default_rng(15).random((8, 12)), 6, dtype=float)
    for steep in (1.0, 10.0, 20.0):
        params = initial(0, (12, 16, 16, 16), dtype=float)

        def loss(p, steep=steep):
            return np.float64(tet.tet(Classifier(p, steep).forward(x)[0], y)[0])

        def pull(p, c, steep=steep):
            found = Classifier(p, steep).gradient(x, y, tet.tet)[1]
            return {key: c * found[key] for key in p}

        table = check(loss, pull, params, rtol=1e-5, step=1e-3, directions=1)
        worst = max(worst, *(row.deviation for row in table.rows if row.where == "all"))
        if not table.ok:
            return Measured(f"k = {steep:g}:\n{table}", False)
    return Measured(f"{worst:.1e}", worst < 1e-5)
