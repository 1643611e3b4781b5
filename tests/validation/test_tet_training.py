"""Training for the claims about losses over time goes on where it was interrupted."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from validation.cases.claims import Run
from validation.cases.tet import training
from validation.cases.tet.training import Recipe, trained


def stopping(run, epoch):
    """Interrupt a run when it tells that it has come so far."""

    def show(done, total, what):
        if what.endswith(f"epoch {epoch}"):
            raise KeyboardInterrupt

    run.show = show
    return run


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVED", 2)
    recipe = Recipe("TET", 2, 0, epochs=5)
    whole = trained(Run(tmp_path / "whole"), recipe)
    with pytest.raises(KeyboardInterrupt):
        trained(stopping(Run(tmp_path / "parts"), 3), recipe)
    parts = trained(Run(tmp_path / "parts"), recipe)
    for key, value in whole.params.items():
        assert np.array_equal(value, parts.params[key])
    for one, other in zip(whole.statistics, parts.statistics, strict=True):
        assert np.array_equal(one, other)
    # What was kept at the end is taken as it is.
    again = trained(stopping(Run(tmp_path / "parts"), 5), recipe)
    assert np.array_equal(again.params["out.weight"], whole.params["out.weight"])


def test_the_seed_decides_and_300_samples_are_trained_on(tmp_path):
    run = Run(tmp_path)
    first = trained(run, Recipe("SDT", 1, 0, epochs=1))
    other = trained(run, Recipe("SDT", 1, 1, epochs=1))
    assert not np.array_equal(first.params["out.weight"], other.params["out.weight"])
    data = training.data_of(0)
    assert len(data.train.y) == 300 and len(data.test.y) == training.HELD
