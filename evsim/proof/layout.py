"""Records that the kernels of a proof work on: neurons, what is known of them, sources, arrivals.

Records, and not tuples of arrays, since a kernel then gets one pointer for all.
"""

from __future__ import annotations

import numpy as np

#: Components that a neuron may have.
WIDTH = 8

_WIDE = (WIDTH + 1,)

#: Values of the membrane (index 0) and of the components, and bounds of their errors.
CENTRE = np.dtype([("hi", "f8", _WIDE), ("lo", "f8", _WIDE), ("bound", "f8", (3, *_WIDE))])

#: Parameters; pairs of doubles are `.._hi`, `.._lo`.
NEURON = np.dtype(
    [
        ("rate_hi", "f8"),  # 1/tau of the membrane, or 0
        ("rate_lo", "f8"),
        ("gain_hi", "f8"),
        ("gain_lo", "f8"),
        ("decay_hi", "f8", WIDTH),  # 1/tau of a component, or 0
        ("decay_lo", "f8", WIDTH),
        ("gap_hi", "f8", WIDTH),  # the difference of the two
        ("gap_lo", "f8", WIDTH),
        ("slow", "i8", WIDTH),  # whether the membrane is slower
        ("kind", "i8", WIDTH),
        ("jump", "f8", WIDTH),  # what a spike adds
        ("theta_hi", "f8"),
        ("theta_lo", "f8"),
        ("theta_err", "f8"),
        ("reset_hi", "f8"),
        ("reset_lo", "f8"),
        ("reset_err", "f8"),
        ("t_ref", "f8"),  # for which a spike holds the membrane
        ("dead", "f8"),  # for which it goes on after a spike, and cannot fire
        ("block", "i8"),  # arrivals in that time are lost
        ("drive", "i8"),  # component that an external current enters, or -1
        ("lag", "i8"),  # component that relaxes to a pulse, or -1
        ("shortest", "f8"),  # the smallest time constant
        ("plain", "i8"),  # whether all components are currents
        ("moving", "i8"),  # whether some are part of the threshold
        ("count", "i8"),  # of components
        ("strict", "i8"),
        ("subtract", "i8"),  # a reset lowers the voltage
    ]
)

#: What is known of a neuron at its last event, at the time hi + lo + off.
STATE = np.dtype(
    [
        ("hi", "f8"),
        ("lo", "f8"),
        ("off", "f8"),
        ("rho", "f8"),  # radius of that time
        ("x", CENTRE),
        ("busy", "i8"),  # refractory, and the membrane held
        ("asleep", "i8"),  # refractory, and the membrane goes on
        ("owes", "i8"),  # its last spike acts on the membrane, since the last folding
        ("held", "i8"),  # a row of the membrane's deviation exists
        ("last", "i8"),  # its last spike, or -1
        ("free_hi", "f8"),  # when the membrane is, or was, free after its last spike
        ("free_lo", "f8"),
        ("free_off", "f8"),
        ("slope", "f8"),  # of the membrane, there
        ("wake_hi", "f8"),  # when it can fire again
        ("wake_lo", "f8"),
        ("wake_off", "f8"),
        ("ref_hi", "f8"),  # time of the last folding
        ("ref_lo", "f8"),
        ("ref_off", "f8"),
        ("first", "i8"),  # first arrival since then
        ("since", "i8"),  # first arrival since its last spike
        ("next", "i8"),  # next arrival
        ("end", "i8"),  # behind its last arrival
        ("theta_hi", "f8"),  # relative to rest and external current
        ("theta_lo", "f8"),
        ("theta_err", "f8"),
        ("reset_hi", "f8"),
        ("reset_lo", "f8"),
        ("reset_err", "f8"),
        ("drive", "f8"),  # the last step of an external current
        ("pulse_hi", "f8"),  # sum of the running pulses
        ("pulse_lo", "f8"),
        ("pulse_err", "f8"),
        ("reach", "f8"),  # how far beyond this time an arrival before the last event may have come
        ("near", "f8"),  # the same for the last event, if it was an arrival
        ("origin", "i8"),  # its source
        ("kick", "f8"),  # slopes that it brings, and those not long before
        ("kept", "f8"),  # and those before them whose order with what comes may be open
        ("lapse", "f8"),  # the time in which `kick` came
        ("crowd", "f8"),  # how far F may be higher while that order is open
        ("gap", "f8"),  # smallest proved distance in time of an arrival from a spike
        ("z_length", "i8"),  # symbols of its rows
        ("z_radius", "f8", _WIDE),
    ]
)

#: Spikes to be proved in the order of the claim, then inputs.
SOURCE = np.dtype(
    [
        ("claim_hi", "f8"),
        ("claim_lo", "f8"),
        ("neuron", "i8"),  # -1 for inputs
        ("hi", "f8"),  # what has been proved: within `radius` of hi + lo
        ("lo", "f8"),
        ("radius", "f8"),
        ("slot", "i8"),  # its row, or -1
        ("root", "i8"),  # the first source of all at its very time
    ]
)

#: By target, in the order of the claim.
ARRIVAL = np.dtype([("source", "i8"), ("delay", "f8"), ("weight", "f8"), ("port", "i8")])

#: The state after an interval, and the flow that led there.
WORK = np.dtype(
    [
        ("x", CENTRE),
        ("fade", "f8", _WIDE),  # what is left of each variable
        ("gain", "f8", _WIDE),  # what each adds to the membrane
        ("lag", "f8", _WIDE),  # what a driver adds to the current before it
    ]
)

#: Why a pass stopped, and where.
REPORT = np.dtype(
    [
        ("code", "i8"),
        ("neuron", "i8"),
        ("spike", "i8"),
        ("source", "i8"),
        ("time", "f8"),
        ("gap", "f8"),
        ("radius", "f8"),
        ("found", "f8"),
    ]
)


def bare(values: np.recarray) -> np.ndarray:
    """The same memory, of a class that a compiled function knows at once, and not in 30 us."""
    return values.view(np.ndarray)


def records(dtype: np.dtype, size: int) -> np.recarray:
    """`size` records of zeros."""
    return np.zeros(size, dtype).view(np.recarray)
