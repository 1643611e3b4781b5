"""Training for the claims about deep networks goes on where it was interrupted."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from validation.cases.claims import Run
from validation.cases.mlf import flow, training
from validation.cases.mlf.training import Recipe, shown, trained

RECIPE = Recipe(8, "ds", 2, 0, epochs=2)


def stopping(run, fraction):
    """Interrupt a run when it has told that it has come so far."""

    def show(done, total, what):
        if done >= fraction:
            raise KeyboardInterrupt

    run.show = show
    return run


def test_an_interrupted_training_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "WIDTH", 2)
    whole = Run(tmp_path / "whole")
    accuracy, asleep = trained(whole, RECIPE)
    assert 0.12 < accuracy <= 1.0 and 0.0 < asleep["window"] < asleep["instantaneous"] < 1.0
    with pytest.raises(KeyboardInterrupt):
        trained(stopping(Run(tmp_path / "parts"), 0.7), RECIPE)
    parts = Run(tmp_path / "parts")
    assert trained(stopping(parts, 2.0), RECIPE) == (accuracy, asleep)
    name = f"mlf-{RECIPE.name}.npz"
    with np.load(whole.kept(name)) as one, np.load(parts.kept(name)) as other:
        assert set(one.files) == set(other.files)
        assert all(np.array_equal(one[key], other[key]) for key in one.files)
        assert one["epoch"] == 2 and np.any(one["s/0/mean"] != 0.0)
    # What was kept at the end is taken as it is.
    assert trained(stopping(parts, 0.0), RECIPE) == (accuracy, asleep)


def test_digits_are_standardised_and_repeated():
    x = shown(flow.digits(0).train)
    assert x.shape == (4, 1347, 1, 8, 8) and np.array_equal(x[0], x[3])
    assert abs(float(x[0].mean())) < 1e-5 and abs(float(x[0].std()) - 1.0) < 1e-5
