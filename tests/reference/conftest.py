"""What tests of several networks share."""

import pytest

from reference.finite_difference import check
from reference.tet_network import flat, unflat


@pytest.fixture
def check_network():
    """Check the gradient of a residual network's output by its input and by all weights."""

    def run(net, x):
        def load(point):
            net.state = unflat(point["weights"], net.state)
            return net.forward(point["input"])

        def vjp(point, c):
            back = net.backward(load(point), c)
            weights = flat({key: back.weights[key] for key in net.state})
            return {"input": back.input, "weights": weights}

        point = {"input": x, "weights": flat(net.state)}
        check(
            lambda point: load(point).output, vjp, point,
            directions=2, rtol=1e-6, step=1e-4, levels=8, require=True,
        )  # fmt: skip

    return run
