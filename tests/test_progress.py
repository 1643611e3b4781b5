"""How far a run has come: who is told, and what Ctrl-C leaves."""

import importlib
import io
import signal
import sys
import threading

import numpy as np
import pytest
import scipy.sparse

import evsim
from evsim import cli, progress, recurrent
from evsim.progress import Meter, bar, meter

simulation = importlib.import_module("evsim.simulate")


def network(delay):
    """Two layers; the second hears itself, unless `delay` is None."""
    net = evsim.Network()
    net.add_input("in", 3)
    for name in ("a", "b"):
        net.add_population(name, 4, evsim.IF(bias=np.full(4, 30.0), t_ref=np.full(4, 1e-3)))
    net.connect("in", "a", scipy.sparse.csr_array(np.ones((3, 4))))
    net.connect("a", "b", scipy.sparse.csr_array(np.ones((4, 4)) * 0.1))
    if delay is not None:
        net.connect("b", "b", np.full((4, 4), 0.01), delay)
    return net, {"in": evsim.Spikes([0.1, 0.2, 0.3], [0, 1, 2])}


@pytest.fixture
def often(monkeypatch):
    """No waiting between two reports."""
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(recurrent, "BREATH", 1e4)


@pytest.mark.parametrize("delay", [None, 2e-3, 0.0])
def test_a_callable_is_told_how_far_a_run_has_come(delay, often):
    net, inputs = network(delay)
    told = []
    silent = evsim.simulate(net, [inputs] * 3, 0.5)
    shown = evsim.simulate(net, [inputs] * 3, 0.5, progress=lambda *a: told.append(a), threads=2)
    for a, b in zip(silent, shown, strict=True):
        assert a.spikes["b"].times.tobytes() == b.spikes["b"].times.tobytes()
    done = [entry[0] for entry in told]
    assert done == sorted(done) and done[-1] == pytest.approx(6.0)
    assert {entry[1] for entry in told} == {6} and {entry[2] for entry in told} == {"a", "b"}
    if delay:  # within the run, window by window
        assert len(told) > 20


def test_the_default_is_silent_and_a_bar_is_for_terminals_only(capfd, often):
    net, inputs = network(2e-3)
    evsim.simulate(net, inputs, 0.5)
    evsim.simulate(net, inputs, 0.5, progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_a_terminal_vanishes(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with bar("counting") as show:
        show(1, 4, "some [red]thing")
    assert "counting" in screen.getvalue() and "some [red]thing" in screen.getvalue()


def test_an_interrupted_run_begins_no_other_sample(often):
    net, inputs = network(2e-3)
    begun, before = [], threading.active_count()

    def stop(done, total, what):
        begun.append(done)
        if done > 2.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evsim.simulate(net, [inputs] * 50, 0.5, progress=stop, threads=2)
    assert max(begun) < 20
    for thread in threading.enumerate():  # those that still ran have ended where they reported
        if thread is not threading.current_thread() and "ThreadPool" in thread.name:
            thread.join(30)
            assert not thread.is_alive()
    assert threading.active_count() <= before


def test_ctrl_c_stops_a_dense_sweep_on_its_way(monkeypatch):
    """The sweep of one population comes up for air, where the signal is seen."""
    n, spikes, told = 200, 4000, []
    rng = np.random.default_rng(0)
    net = evsim.Network()
    net.add_input("in", 10)
    net.add_population("p", n, evsim.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "p", rng.normal(0.01, 0.05, (10, n)))
    train = evsim.Spikes(np.sort(rng.uniform(0, 1, spikes)), rng.integers(0, 10, spikes))
    whole = evsim.simulate(net, {"in": train}, 1.0)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(simulation, "BREATH", 100.0 * n)
    rested = evsim.simulate(net, {"in": train}, 1.0, progress=lambda *a: told.append(a[0]))
    assert len(told) >= 30
    for a, b in zip(rested.final["p"].state, whole.final["p"].state, strict=True):
        assert a.tobytes() == b.tobytes()
    told.clear()

    def press(done, total, what):
        told.append(done)
        if done > 0.2:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            evsim.simulate(net, {"in": train}, 1.0, progress=press)
    finally:
        signal.signal(signal.SIGINT, before)
    assert told[-1] < 0.4


def test_a_stopped_meter_ends_its_parts():
    shown = []
    with pytest.raises(ValueError, match="wrong"), meter(lambda *a: shown.append(a), "", 2) as m:
        part = m.part("x")
        part(1.0)
        raise ValueError("wrong")
    assert shown == [(1.0, 2, "x")]
    with pytest.raises(KeyboardInterrupt):
        part(1.0)
    quick = Meter(lambda *a: shown.append(a), 1)
    tell = quick.part("y")
    for k in range(1000):
        tell(k / 1000)
    assert len(shown) < 500  # no more often than INTERVAL


def test_an_interrupted_command_leaves_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net, _ = network(None)
    np.savez("i.npz", times=[0.1], units=[0])
    (tmp_path / "g.nir").write_text("graph")
    monkeypatch.setattr(evsim, "from_nir", lambda *a, **k: net)

    def interrupted(*a, **k):
        raise KeyboardInterrupt

    call = "run g.nir --input i.npz --until 0.5 --out o.npz --spikes dirac".split()
    with monkeypatch.context() as m:
        m.setattr(evsim, "simulate", interrupted)
        assert cli.main(call) == 130
    with monkeypatch.context() as m:
        m.setattr("numpy.lib.format.write_array", interrupted)
        assert cli.main(call) == 130
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.nir", "i.npz"]
    assert cli.main(call) == 0 and evsim.load("o.npz").until == 0.5
