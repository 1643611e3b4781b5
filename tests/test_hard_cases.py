"""Every path on the hard cases: exact inputs, true spikes, and what it must not decide."""

import numpy as np
import pytest

import evsim
from reference import hard_cases
from reference.judge import CLEAR, clearest_doubt, judge
from reference.lif import Neuron, simulate

CASES = hard_cases.load()
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
every_path = pytest.mark.parametrize("path", ["sweep", "window", "queue"])


def lif(neuron: Neuron) -> evsim.LIF:
    """The oracle's parameters as the engine's."""
    return evsim.LIF(
        tau_mem=neuron.tau_mem,
        tau_syn=neuron.tau_syn,
        v_th=neuron.v_th,
        v_leak=neuron.v_leak,
        v_reset=neuron.v_reset,
        t_ref=neuron.t_ref,
        bias=neuron.bias,
        reset=neuron.reset,
        graze=neuron.graze,
    )


def run_alone(neuron, arrivals, until, path):
    """Record of one neuron; one input unit per arrival, so that each has its weight."""
    count = len(arrivals)
    net = evsim.Network()
    net.add_input("in", count)
    net.add_population("p", 1, lif(neuron))
    weight = np.array([[a[1]] for a in arrivals])
    delay = np.array([[a[2] if len(a) > 2 else 0.0] for a in arrivals])
    net.connect("in", "p", weight=weight, delay=delay)
    spikes = evsim.Spikes([a[0] for a in arrivals], np.arange(count))
    return evsim.simulate(net, {"in": spikes}, until=until, path=path)


@every_path
@every_case
def test_spikes_are_true_within_the_attainable_error(case, path):
    truth = simulate(case.neuron, case.arrivals, case.until)
    record = run_alone(case.neuron, case.arrivals, case.until, path)
    spikes = record.spikes["p"]
    single = len(truth.spikes) == 1 and len(case.arrivals) == 1 and len(case.arrivals[0]) == 2
    flagged = bool(record.undecided)
    verdict = judge(truth, spikes.times, spikes.times_lo, flagged, local=single)
    assert verdict.status != "wrong", f"{case.id} ({case.remark}): {verdict.reason}"


@every_path
@pytest.mark.parametrize("case", [c for c in CASES if c.undecided], ids=lambda c: c.id)
def test_what_float64_cannot_decide_is_reported(case, path):
    record = run_alone(case.neuron, case.arrivals, case.until, path)
    reported = [(population, unit, kind) for population, unit, _, kind in record.undecided]
    assert ("p", 0, case.undecided) in reported, f"{case.id}: {record.undecided}"


@every_path
@every_case
def test_clear_cases_are_not_reported(case, path):
    truth = simulate(case.neuron, case.arrivals, case.until)
    if clearest_doubt(truth, case.until) >= 1e3:  # two orders beyond what may be doubted
        record = run_alone(case.neuron, case.arrivals, case.until, path)
        assert not record.undecided, f"{case.id}: {record.undecided}"


@every_case
def test_every_path_gives_the_same_bits_and_doubts(case):
    one, *others = (
        run_alone(case.neuron, case.arrivals, case.until, path)
        for path in ("sweep", "window", "queue")
    )
    for other in others:
        a, b = one.spikes["p"], other.spikes["p"]
        assert a.times.tobytes() == b.times.tobytes()
        assert a.times_lo.tobytes() == b.times_lo.tobytes()
        assert one.undecided == other.undecided


def test_the_table_holds_clear_and_doubtful_cases():
    doubts = [clearest_doubt(simulate(c.neuron, c.arrivals, c.until), c.until) for c in CASES]
    assert sum(d < CLEAR for d in doubts) >= 6 and sum(d > 1e3 for d in doubts) >= 14
