"""What a model with linear subthreshold dynamics tells to those who prove its spike times.

The membrane is one equation, driven by components with equations of their own,

    u' = gain (sum of currents) - u / tau,        F = u - (sum of thresholds) - theta,

and a spike happens where F comes to zero from below. `Linear` names the components, where
arrivals enter, and what a spike does; everything that a proof needs (flows, the jump of an
arrival carried back in time, slopes, curvatures, tests of silence) follows from that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

#: Kinds of components: a current with c' = -c/tau; a current that the component behind it drives
#: besides, c' = -c/tau + d; that component; a part of the threshold with c' = -c/tau.
CURRENT, DRIVEN, DRIVER, THRESHOLD = 1, 2, 3, 4


class Component(NamedTuple):
    """One component; `tau` None does not decay; a spike adds `jump` to it."""

    kind: int
    tau: Any
    jump: Any = 0.0
    start: Any = 0.0  # to be added to the initial value


class Linear(NamedTuple):
    """The equations of a model; numbers, or arrays with one value per neuron.

    Attributes
    ----------
    tau : membrane time constant, or None where nothing leaks and the gain is 1, not 1/tau
    components : tuple of Component
    ports : for every synapse type the component that an arrival enters, or None for u
    theta, reset : tuples of terms, of which the exact sum counts
    state : for u and every component the indices of the kernel's state variables that sum to it
    drive : component that an external current enters; None shifts the rest of a leaky membrane
    lag : component that relaxes to a rectangular pulse: beside what an external current of that
        height does, it is lowered by the height; None where a pulse is just such a current
    """

    tau: Any
    components: tuple[Component, ...]
    ports: tuple[int | None, ...]
    theta: tuple[Any, ...]
    reset: tuple[Any, ...]
    state: tuple[tuple[int, ...], ...]
    drive: int | None = None
    lag: int | None = None


def leaky(model, components, ports=(0,), lag: int | None = None) -> Linear:
    """Of a model with the levels of `LIF`, whose kernel's state is u and the components."""
    rest = (-model.v_leak, -model.bias)
    return Linear(
        model.tau_mem,
        tuple(components),
        tuple(ports),
        (model.v_th, *rest),
        (model.v_reset, *rest),
        tuple((k,) for k in range(len(components) + 1)),
        lag=lag,
    )
