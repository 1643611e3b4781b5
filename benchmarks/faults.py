"""Hundreds of planted defects, each to be found in its layer and called by its name.

    python benchmarks/faults.py [--cases 20] [--clean 500] [--seconds 400]

Needs torch and the four frameworks. 24 kinds of defect are patched into live frameworks, NIR files
and recordings of random networks (`validation.faults`, which knows nothing of the search for
causes); six of them are no switch of that search, and must be called unknown. Right recordings, of
frameworks and of NumPy in other roundings, must raise no alarm. Answers are kept in `faults.json`
with a digest of the sources: the script goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from evsim.progress import bar
from validation import exact
from validation.evtrace import replacing
from validation.faults import battery
from validation.faults.battery import KINDS, UNLISTED, Answer

HERE = Path(__file__)
FRAMEWORKS = ("torch", "snntorch", "spikingjelly", "norse", "sinabs")
#: What must hold.
LAYERS, CAUSES = 1.0, 0.9


def known(path: Path) -> dict:
    """What was judged before by these very sources."""
    found = json.loads(path.read_text()) if path.exists() else {}
    if found.get("digest") == battery.digest([HERE]):
        return found
    return {"digest": battery.digest([HERE]), "cases": {}, "clean": {}}


def summary(found: dict) -> dict:
    """Shares by kind, and what all of it comes to."""
    answers = [Answer(**row) for row in found["cases"].values()]
    rows = {}
    for kind in KINDS:
        mine = [a for a in answers if a.kind == kind]
        rows[kind] = {
            "cases": len(mine),
            "layer right": sum(a.layer_right for a in mine),
            "cause right": sum(a.cause_right for a in mine),
            "ties": sum(a.tie for a in mine),
        }
    clean = found["clean"].values()
    return {
        "versions": {name: version(name) for name in FRAMEWORKS},
        "kinds": len(KINDS),
        "cases": len(answers),
        "layer right": sum(a.layer_right for a in answers),
        "listed": sum(a.kind not in UNLISTED for a in answers),
        "listed, cause right": sum(a.cause_right for a in answers if a.kind not in UNLISTED),
        "listed, a tie of causes": sum(a.tie for a in answers if a.kind not in UNLISTED),
        "unlisted": sum(a.kind in UNLISTED for a in answers),
        "unlisted, no cause named": sum(a.cause_right for a in answers if a.kind in UNLISTED),
        "clean": len(clean),
        "clean with rounding ties": sum(c["ties"] > 0 for c in clean),
        "rounding ties": sum(c["ties"] for c in clean),
        "false alarms": sum(bool(c["named"]) for c in clean),
        "by kind": rows,
    }


def holds(found: dict) -> bool:
    """Whether every bar is met by what was judged."""
    s = found["summary"]
    listed = s["listed, cause right"] >= CAUSES * s["listed"]
    unknown = s["unlisted, no cause named"] >= CAUSES * s["unlisted"]
    return s["layer right"] >= LAYERS * s["cases"] and listed and unknown and not s["false alarms"]


def write(path: Path, found: dict) -> None:
    """All at once or not at all."""
    found["summary"] = summary(found)
    with replacing(path) as file:
        file.write(json.dumps(found, indent=1).encode() + b"\n")


def main() -> int:
    """Judge what is missing; print the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=20, help="of every kind")
    parser.add_argument("--clean", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--json", type=Path, default=HERE.with_suffix(".json"))
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)  # torch speaks of what it does not find
    exact.solve_alone = lambda d, samples: None  # type: ignore[assignment]  # no verdict hangs on it
    found, began = known(chosen.json), time.monotonic()
    todo = [(kind, k) for k in range(chosen.cases) for kind in KINDS]
    todo = [(kind, k) for kind, k in todo if f"{kind} {k}" not in found["cases"]]
    clean = [k for k in range(chosen.clean) if str(k) not in found["clean"]]
    done, total, written = 0, len(todo) + len(clean), began
    with bar("cases") as progress:
        for what in (*todo, *clean):
            if time.monotonic() - began > chosen.seconds:
                break
            if isinstance(what, tuple):
                found["cases"][f"{what[0]} {what[1]}"] = asdict(battery.case(*what))
            else:
                found["clean"][str(what)] = asdict(battery.clean(what))
            done += 1
            progress(done, total, str(what))
            if time.monotonic() - written > 30:
                write(chosen.json, found)
                written = time.monotonic()
    write(chosen.json, found)
    print(json.dumps(found["summary"], indent=1))
    return 0 if holds(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
