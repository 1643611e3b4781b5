"""Property testing for anybody's neurons and simulators: strategies, laws, and a pytest plugin.

A law is called with somebody's simulator, and raises `Broken` with the smallest case found:

    from evsim.testing import laws

    def test_my_simulator():
        laws.P1(my_simulate)

`grazing()` and `problems()` are Hypothesis strategies of (network, inputs, until) for tests of
one's own, `graphs()` of NIR graphs, `rasters()` and `grid_weights()` of input on a grid, and
`recordings()` of whole recordings of clock-driven networks. The extra `test` installs what is
needed.
"""

try:
    import hypothesis  # noqa: F401
except ImportError as missing:
    raise ImportError("evsim.testing needs hypothesis: pip install 'evsim[test]'") from missing

from evsim.testing import laws
from evsim.testing.accuracy import EXACT, Accuracy
from evsim.testing.case import KINDS, Problem
from evsim.testing.graphs import Graphed, graphs, grid_weights, rasters
from evsim.testing.hard import HARD, check_hard
from evsim.testing.laws import GRADIENT_LAWS, LAWS
from evsim.testing.recordings import Recorded, recordings
from evsim.testing.strategies import grazing, problems
from evsim.testing.subject import Broken, NotApplicable, Subject, clocked

__all__ = [
    "EXACT",
    "GRADIENT_LAWS",
    "HARD",
    "KINDS",
    "LAWS",
    "Accuracy",
    "Broken",
    "Graphed",
    "NotApplicable",
    "Problem",
    "Recorded",
    "Subject",
    "check_hard",
    "clocked",
    "graphs",
    "grazing",
    "grid_weights",
    "laws",
    "problems",
    "rasters",
    "recordings",
]
