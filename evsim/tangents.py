r"""Derivatives by the parameters of the flow of a layer whose every input event reaches everybody.

Forward, where `evsim.unsweep` goes backward: with :math:`s = \partial x/\partial p` at given times
of all spikes,

.. math::
    s(d) = \Phi(d)\, s(0) + \frac{\partial \Phi(d)}{\partial p}\, x(0), \qquad
    \frac{\partial L}{\partial p} = \lambda(T) \cdot s(T)
        - \sum_k \frac{\delta_k}{\dot h_k}\, \nabla h \cdot s(t_k^-),         \tag{1}

where a reset leaves of `s` what it leaves of the state before it. For linear models, whose costates
have been found without the states in between.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from evsim.jit import inline_kernel, kernel
from evsim.models import adjoint, verbs
from evsim.models.adjoint import add_to
from evsim.numerics import elapsed
from evsim.resweep import FOUR, four_rows, same_neuron, spikes_until, time_of, weight_at


class Moving(NamedTuple):
    """States and their tangents, and room for those of the neurons that fire among four events."""

    state: Any  # (n,) per state variable
    tangent: Any  # (n,) per tangent
    own_state: Any
    own_tangent: Any


@inline_kernel
def pushed(q, common, x, s, port, weight):
    """State and tangents of one neuron after one event."""
    x, s = adjoint.push(q, adjoint.change_own(q, common), x, s)
    return verbs.receive(q, x, port, weight), s


@kernel
def four_tangents(p, tables, e, ports, a, b, c, d, state, tangent):
    """Every state and its tangents through four events."""
    port, port_2, port_3, port_4 = ports[e], ports[e + 1], ports[e + 2], ports[e + 3]
    pull, pull_2 = verbs.load(tables.pull, e), verbs.load(tables.pull, e + 1)
    pull_3, pull_4 = verbs.load(tables.pull, e + 2), verbs.load(tables.pull, e + 3)
    for n in range(a.size):
        q, x, s = verbs.pick(p, n), verbs.load(state, n), verbs.load(tangent, n)
        x, s = pushed(q, pull, x, s, port, a[n])
        x, s = pushed(q, pull_2, x, s, port_2, b[n])
        x, s = pushed(q, pull_3, x, s, port_3, c[n])
        x, s = pushed(q, pull_4, x, s, port_4, d[n])
        verbs.store(state, n, x)
        verbs.store(tangent, n, s)


@kernel
def one_pushed(p, lay, tables, weights, e, first, stop, x, s, kept, flow):
    """The neuron of the spikes `first` to `stop` through the four events from `e` on."""
    n, k = lay.unit[first], first
    q = verbs.pick(p, n)
    for j in range(e, e + FOUR):
        left, at = lay.d[j], time_of(lay, j - 1)
        for m in range(k, spikes_until(lay, k, stop, j)):
            d = elapsed(lay.spike_hi[m], lay.spike_lo[m], at[0], at[1])
            _, s = adjoint.push(q, adjoint.change(q, d), x, s)
            x = verbs.fire(q, x, d)
            own, s = adjoint.turn(q, -kept.by_theta[m], s)
            add_to(flow, n, own)
            left -= d
            at = (lay.spike_hi[m], lay.spike_lo[m])
            k = m + 1
        x, s = adjoint.push(q, adjoint.change(q, left), x, s)
        x = verbs.receive(q, x, lay.kind[j], weight_at(lay, weights, j, n))
    return x, s


@kernel
def tangents(p, lay, tables, weights, kept, moving, flow, whole):
    """Add the sum of (1) to `flow`; `whole`: to the end, else up to the last spike."""
    g = 0
    while g < lay.first.size - 1 and (whole or lay.first[g] < lay.unit.size):
        k, m = lay.first[g], 0
        while k < lay.first[g + 1]:
            verbs.store(moving.own_state, m, verbs.load(moving.state, lay.unit[k]))
            verbs.store(moving.own_tangent, m, verbs.load(moving.tangent, lay.unit[k]))
            k, m = same_neuron(lay, k, lay.first[g + 1]), m + 1
        a, b, c, d = four_rows(lay.row, FOUR * g, weights, kept.nothing)
        four_tangents(p, tables, FOUR * g, lay.kind, a, b, c, d, moving.state, moving.tangent)
        k, m = lay.first[g], 0
        while k < lay.first[g + 1]:
            n, stop = lay.unit[k], same_neuron(lay, k, lay.first[g + 1])
            x, s = verbs.load(moving.own_state, m), verbs.load(moving.own_tangent, m)
            x, s = one_pushed(p, lay, tables, weights, FOUR * g, k, stop, x, s, kept, flow)
            verbs.store(moving.state, n, x)
            verbs.store(moving.tangent, n, s)
            k, m = stop, m + 1
        g += 1


@kernel
def at_the_end(p, lam, tangent, flow):
    """Add the first term of (1)."""
    for n in range(lam[0].size):
        q = verbs.pick(p, n)
        add_to(flow, n, adjoint.along(q, verbs.load(lam, n), verbs.load(tangent, n)))
