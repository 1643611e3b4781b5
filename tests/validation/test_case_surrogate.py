"""The claims about surrogate gradients: exact ones whole, those about depth on a small network."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from reference import mean_field, stack, surrogates
from validation import cases
from validation.cases.claims import Run, measure

pytest.importorskip("sklearn")
PAPER = cases.load("surrogate")
EXACT = ("S1", "S2", "S9", "S10", "S14")


def test_claims_stand_in_their_order():
    assert list(PAPER.claims) == [f"S{k}" for k in range(1, 15)]


@pytest.mark.parametrize("claim", EXACT)
def test_exact_claims_hold(claim, tmp_path):
    (row,) = measure(PAPER.chosen([claim]), Run(tmp_path, quick=True))
    assert row.verdict == "pass", row.measured


def test_recorded_surrogates_are_all_there():
    from validation.cases.surrogate import frameworks

    kept = frameworks.recorded()
    recorded = {key[2:] for key in kept if key.startswith("g/")}
    assert recorded == set(surrogates.names()) - set(frameworks.UNDEFINED)
    points = np.array(frameworks.POINTS)
    for name in recorded:
        tolerance = 1e-7 if name in frameworks.SINGLE_PI else 1e-12
        off = np.abs(surrogates.get(name).derivative(points) - kept[f"g/{name}"]).max()
        assert off <= tolerance, name


def test_a_wrong_gradient_does_not_pass(tmp_path, monkeypatch):
    from validation.cases.surrogate import exact

    right = exact.bptt.lif_backward

    def wrong(*args, **options):
        found = right(*args, **options)
        return {**found, "v_th": found["v_th"] * (1 + 1e-8)}

    monkeypatch.setattr(exact.bptt, "lif_backward", wrong)
    (row,) = measure(PAPER.chosen(["S1"]), Run(tmp_path, quick=True))
    assert row.verdict == "fail"


def test_wide_explodes_narrow_vanishes_and_area_reverses_it():
    """S4, S6, S7 and S11 on ten layers of 128."""
    from validation.cases.surrogate import depth

    done = depth.ran(depth.Setup(depth=10, width=128, batch=32))
    wide, narrow = done.gain(depth.height(1.0)), done.gain(depth.height(100.0))
    assert wide > 1.5 and narrow < 0.2
    assert done.gain(depth.area(100.0)) > 3 > done.gain(depth.area(1.0))
    assert done.gain(depth.height(1.0), detach=False) < 0.8 * wide
    star = depth.tuned(done)
    assert 2.0 < star < 6.0
    g = depth.height(star)
    found = mean_field.gains(done.net, done.run, g, detach=True)[: -stack.SKIPPED]
    assert np.isclose(np.exp(np.mean(np.log(found))), 1.0, atol=0.1)


def test_the_page_has_the_table_of_all_surrogates():
    page = Path(__file__).parents[2] / "docs" / "surrogate.md"
    assert surrogates.table() in page.read_text(encoding="utf-8")


def test_fifty_layers_have_a_finite_profile_however_far_their_gradients_go():
    from validation.cases.surrogate import depth

    done = depth.ran(depth.Setup(depth=50, width=64, batch=16, n_steps=10))
    for a, sign in ((0.3, 1), (100.0, -1)):
        grown = stack.total(done.profile(depth.height(a)))
        assert np.isfinite(grown).all() and sign * (grown[0] - grown[-1]) > 20


@pytest.mark.parametrize("name", ["ResNet-18", "ResNet-50"])
def test_residual_networks_have_a_gradient_at_every_layer_and_step(name, tmp_path):
    from validation.cases.surrogate import depth

    found = depth.resnet_norms(Run(tmp_path, quick=True), name)
    for norms in found.values():
        assert norms.shape == ({"ResNet-18": 17, "ResNet-50": 49}[name], 4)
        assert (norms > 0).all()
    first, last = found[1.0], found[25.0]
    assert np.hypot.reduce(first[0]) > np.hypot.reduce(last[0])


def test_discrete_neurons_are_those_of_the_twins():
    """What this room writes in textbook form is what the other writes operation by operation."""
    from reference import bptt
    from validation import adapters, twin

    model = adapters.model("spikingjelly.LIFNode")
    rng = np.random.default_rng(0)
    x = rng.normal(0.7, 1.5, (60, 2, 30))
    kinds = {"hard": "value", "soft": "subtract", "none": "none"}
    for reset, timing, compare in product(kinds, bptt.TIMINGS, bptt.COMPARES):
        semantics = replace(
            model.semantics, reset=kinds[reset], reset_timing=timing, compare=compare
        )
        params = {"tau": 2.0, "v_threshold": 1.0, "v_reset": 0.0}
        theirs = twin.run(model, params, semantics, x, bound=False)
        ours = bptt.lif_forward(
            x, beta=0.5, gain=0.5, reset=reset, reset_timing=timing, compare=compare
        )
        assert np.array_equal(ours.spikes, theirs.spikes), (reset, timing, compare)
        assert np.allclose(ours.h, theirs.v_pre, rtol=0, atol=1e-12)


def test_training_goes_on_from_what_it_kept(tmp_path, monkeypatch):
    from validation.cases.surrogate import training

    calls = []
    monkeypatch.setattr(training, "accuracy", lambda run, recipe: calls.append(recipe) or 0.5)
    run = Run(tmp_path)
    assert training.accuracies(run, 1.0) == [0.5] * 3
    assert training.accuracies(Run(tmp_path), 1.0) == [0.5] * 3
    assert [recipe.seed for recipe in calls] == [0, 1, 2]


def test_a_shallow_network_learns(tmp_path):
    from validation.cases.surrogate import training

    recipe = training.Recipe(2.0, 0, depth=2, width=64, n_steps=5, epochs=4, rate=5e-3)
    assert training.accuracy(Run(tmp_path), recipe) > 0.9
