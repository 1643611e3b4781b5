"""Sides that take turns, and what they ran on."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

#: Of everything random in a benchmark.
SEED = 0


def best_times(rounds: int, sides: dict[str, Callable[[], Any]], tick=lambda: None) -> dict:
    """Shortest time of each side [s], all taking turns after a run to warm up.

    `tick` is called after every run.
    """
    for run in sides.values():
        run()
        tick()
    best = dict.fromkeys(sides, math.inf)
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
            tick()
    return best


def versions(*names: str) -> dict[str, str]:
    """Of Python, of the machine, and of installed packages."""
    found = {"python": sys.version.split()[0], "machine": platform.machine()}
    for name in ("evsim", "numpy", "numba", *names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
