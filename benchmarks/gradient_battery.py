"""Five hundred generated networks, each gradient calculated in three ways.

See `validation.gradient_networks`.

Goes on where it was interrupted, and starts anew where the sources have changed. Exit code 1 if a
gradient that calls itself regular is not.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from evsim.progress import bar
from validation.gradient_networks import agreement, digest


def known(path: Path) -> dict:
    """What has been judged already, by the same sources."""
    found = json.loads(path.read_text()) if path.exists() else {}
    fresh = found.get("sources") == digest()
    return found if fresh else {"sources": digest(), "networks": {}}


def write(path: Path, found: dict) -> None:
    """All at once or not at all."""
    networks = found["networks"].values()
    judged = [network for network in networks if network is not None]
    regular = [network for network in judged if network["status"] == "regular"]
    found["summary"] = {
        "networks": len(judged),
        "silent": len(found["networks"]) - len(judged),
        "spikes": sum(network["spikes"] for network in judged),
        "regular": len(regular),
        "worst of regular": {
            key: max((network[key] for network in regular), default=0.0)
            for key in ("forward", "differences", "shift", "scaling")
        },
        "wrong": sum(not network["sound"] for network in regular),
        "flagged and sound all the same": sum(
            network["sound"] for network in judged if network["status"] != "regular"
        ),
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n")
    part.replace(path)


def main() -> int:
    """Judge the networks that are missing; print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found = known(options.out)
    waiting = [k for k in range(options.count) if str(k) not in found["networks"]]
    with bar("networks") as progress:
        for done, seed in enumerate(waiting):
            answer = agreement(seed)
            found["networks"][str(seed)] = answer and asdict(answer) | {"sound": answer.sound}
            progress(done + 1, len(waiting), "networks")
            if done % 10 == 9:
                write(options.out, found)
    write(options.out, found)
    print(json.dumps(found["summary"], indent=1))
    return int(found["summary"]["wrong"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
