"""How a network goes through time: the one place that decides.

* *sweep*: a population that is on no cycle, after those that it hears; its arrivals are known.
* *window*: populations on a cycle, by windows of the smallest delay among them.
* *queue*: populations on a cycle without delay, instant by instant.

All three give the same bits where they can run the same network.
"""

from __future__ import annotations

from evsim.network import Network

PATHS = ("auto", "sweep", "window", "queue")


def plan(network: Network, path: str = "auto") -> list[tuple[list[str], str]]:
    """Groups of populations in the order in which they run, each with its path.

    Raises
    ------
    ValueError
        If `path` is not known, or the network does not allow it.
    """
    if path not in PATHS:
        raise ValueError(f"path must be one of {', '.join(map(repr, PATHS))}; got {path!r}")
    everybody = list(network.populations)
    if path in ("window", "queue"):
        if path == "window":
            refuse_without_delay(network, everybody)
        return [(everybody, path)] if everybody else []
    stages = []
    for names in network.stages():
        if not on_cycle(network, names):
            stages.append((names, "sweep"))
        elif path == "sweep":
            raise ValueError(
                f"path='sweep' wants a network without cycles; {', '.join(names)} lie on one"
            )
        else:
            stages.append((names, "queue" if without_delay(network, names) else "window"))
    return stages


def on_cycle(network: Network, names: list[str]) -> bool:
    """Whether a group of `Network.stages` influences itself."""
    return len(names) > 1 or any(p.pre == p.post == names[0] for p in network.projections.values())


def without_delay(network: Network, names: list[str]) -> list[str]:
    """Projections within a group that have a synapse without delay."""
    return [
        p.name
        for p in network.projections.values()
        if p.pre in names and p.post in names and p.weight.size and p.smallest_delay == 0.0
    ]


def refuse_without_delay(network: Network, names: list[str]) -> None:
    """Refuse windows where there is no delay to take for their width."""
    found = without_delay(network, names)
    if found:
        raise ValueError(
            f"path='window' wants a delay on every synapse between populations; {found[0]!r} "
            "has one without"
        )
