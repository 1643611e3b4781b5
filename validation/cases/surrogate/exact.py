"""Exact claims: backward passes, surrogates, batch norm and its folding, a closed-form rate."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from reference import bptt, layers, surrogates
from reference.finite_difference import check
from reference.stack import Stack, initial
from reference.tape import lif_gradients
from validation.cases.claims import Measured, Run
from validation.cases.surrogate import frameworks, parity
from validation.cases.surrogate.figures import surrogate_figure
from validation.cases.surrogate.paper import L20, PAPER

STEPS, NEURONS = 20, 50
VARIANTS = list(product(("hard", "soft"), bptt.TIMINGS))
#: What a run is differentiated by.
NAMES = ("beta", "v_th", "v_reset", "gain", "v_rest", "v_init")


def _problem(seed: int) -> dict[str, np.ndarray]:
    """Neurons of different parameters, and a current that makes a third of the steps spikes."""
    rng = np.random.default_rng(seed)
    shape = (1, NEURONS)
    return {
        "current": rng.normal(0.35, 0.6, (STEPS, *shape)),
        "beta": rng.uniform(0.4, 0.98, shape),
        "v_th": rng.uniform(0.7, 1.2, shape),
        "v_reset": rng.uniform(-0.3, 0.2, shape),
        "gain": rng.uniform(0.7, 1.2, shape),
        "v_rest": rng.uniform(-0.2, 0.2, shape),
        "v_init": rng.uniform(-0.5, 1.4, shape),
    }


def _forward(x, reset, timing, **options):
    rest = {name: x[name] for name in NAMES}
    return bptt.lif_forward(x["current"], reset=reset, reset_timing=timing, **rest, **options)


def _tape_error(x, reset, timing, detach, g, c) -> float:
    """Largest difference from the scalar tape, relative to the largest gradient of its kind."""
    run = _forward(x, reset, timing)
    found = bptt.lif_backward(run, c, g, detach=detach)
    options = dict(reset=reset, reset_timing=timing, detach=detach)
    taped = [
        lif_gradients(x["current"][:, 0, n], {name: float(x[name][0, n]) for name in NAMES},
                      c[:, 0, n], g.derivative, **options)
        for n in range(NEURONS)
    ]  # fmt: skip
    worst = 0.0
    for name in ("current", *NAMES):
        expected = np.stack([np.asarray(one[name]) for one in taped], axis=-1)
        got = found[name][:, 0] if name == "current" else found[name][0]
        worst = max(worst, np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
    return float(worst)


def _smooth_error(x, reset, timing, g) -> float:
    """Largest relative deviation from differences of the smoothed forward pass."""
    before = np.zeros((1, NEURONS))

    def smooth(x):
        return _forward(x, reset, timing, before=before, step=g.primitive)

    def vjp(x, c):
        back = bptt.lif_backward(smooth(x), c, g, detach=False)
        return {name: back[name] for name in x}

    table = check(lambda x: smooth(x).spikes, vjp, x, rtol=1e-7, step=1e-3, directions=1)
    return max(row.deviation for row in table.rows if row.scale) if table.ok else np.inf


@PAPER.claim(
    "S1",
    "the backward pass is the chain rule: both reset timings, hard and soft, attached and "
    "detached; by input, decay, threshold, reset, gain, rest and initial membrane",
    source="reference.bptt, equations 3 to 6",
    expected="1e-10 of a scalar tape; 1e-7 of differences of the smoothed forward pass",
)
def _chain_rule(run: Run) -> Measured:
    g = surrogates.get("spikingjelly.Sigmoid")
    x, c = _problem(1), np.random.default_rng(2).standard_normal((STEPS, 1, NEURONS))
    taped = max(
        _tape_error(x, *variant, detach, g, c) for variant in VARIANTS for detach in (False, True)
    )
    smooth = max(_smooth_error(x, *variant, g) for variant in VARIANTS)
    text = f"tape {taped:.1e}, smoothed differences {smooth:.1e}"
    return Measured(text, taped <= 1e-10 and smooth <= 1e-7)


@PAPER.claim(
    "S2",
    "spikes and input gradients are those of SpikingJelly, snnTorch, Norse and sinabs",
    source="recordings of the frameworks, versions in recorded.npz",
    expected="spikes equal; gradients 1e-12 relative, 1e-6 where a framework casts to float32",
)
def _frameworks_agree(run: Run) -> Measured:
    kept = frameworks.recorded()
    mismatched, worst, holds = 0, {1e-12: 0.0, 1e-6: 0.0}, True
    for name, pair in parity.pairs().items():
        spikes, gradient = parity.ours(name)
        expected = kept[f"gradient/{name}"]
        mismatched += int(np.sum(spikes != kept[f"spikes/{name}"]))
        error = np.abs(gradient - expected).max() / np.abs(expected).max()
        worst[pair.tolerance] = max(worst[pair.tolerance], float(error))
        holds &= error <= pair.tolerance
    text = (
        f"{len(parity.pairs())} neurons: {mismatched} spikes differ; gradients "
        f"{worst[1e-12]:.1e} in float64, {worst[1e-6]:.1e} with casts to float32"
    )
    return Measured(text, bool(holds and not mismatched))


@PAPER.claim(
    "S3",
    "every surrogate derivative of the four libraries, at their defaults",
    source="recordings of the frameworks, versions in recorded.npz",
    expected="1e-12 at 12 points; 1e-7 for the three in which pi is a float32 number",
)
def _library(run: Run) -> Measured:
    kept, points = frameworks.recorded(), np.array(frameworks.POINTS)
    worst = {True: 0.0, False: 0.0}
    names = [name for name in surrogates.names() if f"g/{name}" in kept]
    for name in names:
        error = np.abs(surrogates.get(name).derivative(points) - kept[f"g/{name}"]).max()
        single = name in frameworks.SINGLE_PI
        worst[single] = max(worst[single], float(error))
    run.save(surrogate_figure(), "surrogates")
    text = (
        f"{len(names)} surrogates: {worst[False]:.1e}, {worst[True]:.1e} with float32 pi; "
        f"not evaluable: {', '.join(frameworks.UNDEFINED)}"
    )
    return Measured(text, worst[False] <= 1e-12 and worst[True] <= 1e-7)


@PAPER.claim(
    "S9",
    "batch norm on currents has its exact gradient, statistics over time and samples",
    source=f"{L20}; reference.layers, equation 2",
    expected="1e-7 relative",
)
def _batch_norm_backward(run: Run) -> Measured:
    rng = np.random.default_rng(9)
    x = rng.standard_normal((6, 5, 4)), rng.standard_normal(4), rng.standard_normal(4)
    worst = 0.0
    for keep in (-1, (0, 2)):
        scale = x[1:] if keep == -1 else tuple(np.tile(v, (6, 1)) for v in x[1:])

        def value(x, keep=keep):
            return layers.batch_norm(*x, keep=keep)[0]

        def vjp(x, c, keep=keep):
            return layers.batch_norm(*x, keep=keep)[1](c)

        table = check(value, vjp, (x[0], *scale), rtol=1e-7)
        worst = max(worst, *(row.deviation for row in table.rows)) if table.ok else np.inf
    return Measured(f"largest deviation {worst:.1e}", worst <= 1e-7)


@PAPER.claim(
    "S10",
    "batch norm folds into weights and a bias current: the same spikes at inference",
    source="reference.layers.fold_batch_norm",
    expected="no spike differs where the membrane is further than 1e-12 from threshold",
)
def _folding(run: Run) -> Measured:
    differ = count = 0
    for seed in run.seeds:
        rng = np.random.default_rng(seed)
        params = initial(rng, [30, *[64] * 5])
        for key in params:
            if key.endswith(("gamma", "beta")):
                params[key] += 0.2 * rng.standard_normal(params[key].shape)
        neuron: dict[str, Any] = dict(beta=0.9, reset="soft", compare=">")
        net, x = Stack(params, **neuron), rng.random((20, 32, 30))
        running = [(s.mean, s.var) for s in net.forward(x).statistics]
        run_normed = net.forward(x, fixed=running)
        folded = net.fold(running)
        for k, layer in enumerate(run_normed.layers):
            s = x if k == 0 else run_normed.layers[k - 1].spikes
            current, _ = layers.dense(s, folded[f"{k}.weight"], folded[f"{k}.bias"])
            other = bptt.lif_forward(current, **neuron)
            clear = np.abs(layer.h - 1.0) >= 1e-12
            differ += int(np.sum((layer.spikes != other.spikes) & clear))
            count += layer.spikes.size
    return Measured(f"{differ} of {count} differ", differ == 0)


@PAPER.claim(
    "S14",
    "a neuron of constant current fires every ceil(ln((kI) / (kI - theta (1 - b))) / -ln b) "
    "steps after a hard reset to 0",
    source="geometric series of the membrane",
    expected="equal integers over a grid of decays, thresholds and currents",
)
def _closed_form_rate(run: Run) -> Measured:
    beta, theta, drive = np.meshgrid(
        [0.3, 0.5, 0.8, 0.9, 0.95, 0.99], [0.5, 1.0, 1.7], np.linspace(1.02, 6.0, 67), indexing="ij"
    )
    current = drive * theta * (1.0 - beta)  # above what the leak balances at threshold
    steps = np.log(current / (current - theta * (1.0 - beta))) / -np.log(beta)
    interval = np.maximum(1, np.ceil(steps - 1e-12)).astype(int)
    n_steps = int(3 * interval.max())
    ran = bptt.lif_forward(
        np.broadcast_to(current.ravel(), (n_steps, 1, current.size)),
        beta=beta.ravel(), v_th=theta.ravel(), compare=">=",
    )  # fmt: skip
    number = np.arange(1, n_steps + 1)[:, None, None]
    expected = number % interval.ravel() == 0
    wrong = int(np.any(ran.spikes != expected, axis=(0, 1)).sum())
    return Measured(f"{wrong} of {current.size} currents differ", wrong == 0)
