"""Columns of parameters: what the coefficients of an interval need, and nothing else."""

import numpy as np
import pytest

import evsim
from evsim.models import verbs
from evsim.models.pace import pace, paced

N = 4
rng = np.random.default_rng(3)


def own(low, high):
    return rng.uniform(low, high, N)


def taus():
    return {"tau_mem": own(1e-3, 2e-2), "tau_syn": own(1e-3, 2e-2)}


MODELS = {
    "lif": evsim.LIF(**taus(), bias=own(0.0, 2.0), v_th=own(1.0, 2.0)),
    "types": evsim.LIF(
        tau_mem=own(1e-3, 2e-2), tau_syn={"a": own(1e-3, 2e-2), "b": own(1e-3, 2e-2)}
    ),
    "delta": evsim.DeltaLIF(tau_mem=own(1e-3, 2e-2), v_th=own(1.0, 2.0)),
    "alpha": evsim.AlphaLIF(**taus(), v_th=own(1.0, 2.0)),
    "adaptive": evsim.AdaptiveLIF(**taus(), tau_th=own(0.1, 0.2), jump_th=own(0.1, 0.2)),
    "if": evsim.IF(bias=own(1.0, 2.0)),
    "charged": evsim.IF(input="exp", tau_syn=own(1e-3, 2e-2), bias=own(1.0, 2.0)),
    "ramp": evsim.IF(input="ramp", v_th=own(1.0, 2.0)),
    "readout": evsim.LI(**taus()),
    "qif": evsim.QIF(tau=own(1e-3, 2e-2), bias=own(-1.0, 1.0)),
}


@pytest.mark.parametrize("name", MODELS)
def test_columns_hold_all_that_an_interval_needs(name):
    """Other parameters are zero in what `pace` answers: that one of them mattered would show."""
    p = MODELS[name].compile(N, True)
    rows = [paced(p, n) for n in range(N)]
    columns = tuple(map(np.array, zip(*rows, strict=True)))
    for n in range(N):
        for d in (0.0, 1e-4, 3e-3, 0.7):
            wanted = verbs.interval(verbs.pick(p, n), d)
            assert verbs.interval(pace(p, columns, n), d) == wanted


def test_scalar_parameters_have_no_columns():
    p = evsim.LIF(tau_mem=1e-2, tau_syn=5e-3).compile(N, False)
    assert paced(p, 0) == ()
    assert pace(p, (), 0) == p
