"""The exact gradient of a layer that a framework has run, from its recorded input spikes."""

from pathlib import Path

import numpy as np
import pytest

import evsim
import validation
from reference.finite_difference import check
from validation.evtrace_reader import read

TRACE = Path(validation.__file__).parent / "traces" / "03_norse.npz"


@pytest.fixture(scope="module")
def layer():
    """(network of the layer alone for given weights, recorded input, end) of a norse layer."""
    recording = read(TRACE)
    recorded, dt = recording.layer("hidden2"), float(recording.manifest["dt"])
    p = {name: float(value) for name, value in recorded.params.items()}
    raster = recording.layer("hidden1").spikes()[:, 0]  # of the first sample
    model = evsim.LIF(
        tau_mem=1.0 / p["tau_mem_inv"], tau_syn=1.0 / p["tau_syn_inv"],
        v_th=p["v_th"], v_leak=p["v_leak"], v_reset=p["v_reset"],
    )  # fmt: skip
    weight = np.asarray(recorded.get("weight"), float).T

    def network(weight):
        net = evsim.Network()
        net.add_input("fed", weight.shape[0])
        net.add_population("layer", weight.shape[1], model)
        net.connect("fed", "layer", weight)
        return net

    fed = evsim.Spikes.from_raster(raster, dt, layout="TN")
    return network, weight, fed, dt * len(raster)


def test_a_recorded_layer_has_an_exact_gradient(layer):
    network, weight, fed, until = layer
    c = np.random.default_rng(0)
    record = evsim.simulate(network(weight), {"fed": fed}, until)
    assert len(record.spikes["layer"]) > 10
    c = c.standard_normal(len(record.spikes["layer"]))

    def times(x):
        moved = evsim.Spikes(x["times"], fed.units)
        return evsim.simulate(network(x["weight"]), {"fed": moved}, until).spikes["layer"]

    def pulled(x, c):
        moved = evsim.Spikes(x["times"], fed.units)
        g = evsim.gradient(
            evsim.simulate(network(x["weight"]), {"fed": moved}, until), {"layer": c}
        )
        return {"weight": g.weight["fed->layer"], "times": g.inputs["fed"]}

    # Spikes on a grid coincide; moved apart a little, their order is that of the perturbed times.
    apart = np.sort(fed.times + np.random.default_rng(1).uniform(0, 1e-5, len(fed)))
    check(
        lambda x: times(x).times, pulled, {"weight": weight, "times": apart}, directions=1,
        step=1e-6, structure=lambda x: tuple(times(x).units.tolist()), require=True,
    )  # fmt: skip


def test_a_recording_is_judged_as_it_is(layer):
    """Arrivals on a grid coincide with one another, which costs no derivative."""
    network, weight, fed, until = layer
    record = evsim.simulate(network(weight), {"fed": fed}, until)
    g = evsim.gradient(record, {"layer": np.ones(len(record.spikes["layer"]))})
    assert g.inputs["fed"].shape == fed.times.shape
    assert g.status == "regular"
    # All inputs moved together move every spike by as much: the run starts at rest.
    assert g.inputs["fed"].sum() == pytest.approx(len(record.spikes["layer"]), rel=1e-10)
