"""Do the tests notice when a kernel is wrong? Two hundred small changes, drawn by seed.

A quarter of the mutants comes from each operator of `reference.mutants`. They are drawn from
everything that `evsim.jit` compiles, by the least hashes of seed and mutant: an edit of one
function replaces its own mutants only. A mutant runs in a forked process of its own, interpreted
(`NUMBA_DISABLE_JIT=1`): first the file of tests that is done soonest, among those that call the
mutated function; the first test that fails, or takes ten times as long, ends it.

What survives is equivalent, with the reason in the result, or calls for a test. The result is
`benchmarks/mutants.json`; `tests/test_mutants.py` warns where sources have changed since.

    python benchmarks/mutants.py map            time and functions of every test that has changed
    python benchmarks/mutants.py run            any number at a time; goes on where it ended
    python benchmarks/mutants.py run --only 17  one again, and what pytest said
    python benchmarks/mutants.py collect        the result
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from interpreted import (
    LONGEST,
    MOST_TIME,
    ROOT,
    Plugin,
    in_child,
    make_map,
    prepare,
    pytest_of,
    taken,
    test_files,
)

from reference.mutants import OPERATORS, Mutant, is_replaced, mutants, replace_source

RESULT = ROOT / "benchmarks" / "mutants.json"
SEED, COUNT = 20261122, 200
DECORATORS = {"kernel", "inline_kernel", "inner_kernel", "inner_inline_kernel"}


class Drawn(NamedTuple):
    """A mutant of a file; `key` is the same as long as its function has the same text."""

    file: str
    mutant: Mutant
    key: str


# --------------------------------------------------------------------------------- what is drawn


def is_kernel(function: ast.FunctionDef) -> bool:
    """Whether `evsim.jit` compiles it: a kernel, or the body of a verb."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Name) and decorator.id in DECORATORS:
            return True
        called = decorator.func if isinstance(decorator, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "implement":
            return True
    return False


def sites() -> dict[str, list[Drawn]]:
    """Every mutant of every kernel, by operator, in the order of their hashes."""
    found: dict[str, list[Drawn]] = {operator: [] for operator in OPERATORS}
    for path in sorted((ROOT / "evsim").rglob("*.py")):
        file, source = path.relative_to(ROOT).as_posix(), path.read_text()
        lines = source.splitlines()
        texts = {
            (f.name, f.lineno): lines[f.lineno - 1 : f.end_lineno]
            for f in ast.walk(ast.parse(source))
            if isinstance(f, ast.FunctionDef)
        }
        for mutant in mutants(source, is_kernel):
            name, start = max(
                (k for k in texts if k[0] == mutant.function and k[1] <= mutant.line),
                key=lambda k: k[1],
            )
            what = (SEED, file, name, mutant.operator, mutant.line - start, mutant.column,
                    mutant.before, mutant.after, texts[name, start])  # fmt: skip
            key = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
            found[mutant.operator].append(Drawn(file, mutant, key))
    return {operator: sorted(rows, key=lambda d: d.key) for operator, rows in found.items()}


def drawn() -> list[Drawn]:
    """The mutants that are tried."""
    return [d for rows in sites().values() for d in rows[: COUNT // len(OPERATORS)]]


def has_kernels(path: Path) -> bool:
    """Whether a file holds one."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return any(isinstance(node, ast.FunctionDef) and is_kernel(node) for node in nodes)


def digests() -> dict[str, str]:
    """Of every file with kernels, and of the operators."""
    files = [path for path in sorted((ROOT / "evsim").rglob("*.py")) if has_kernels(path)]
    return {
        p.relative_to(ROOT).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()[:16]
        for p in [*files, ROOT / "reference" / "mutants.py"]
    }


# ------------------------------------------------------------------------------------- one mutant


def suite_for(maps: dict[str, Any], one: Drawn, passed: dict[str, str]):
    """Files and their tests that call the mutated function, soonest done first.

    Files that the mutant has passed as they are, by name and digest, are left out.
    """
    name = f"{one.file}:{one.mutant.function}"
    rows = []
    for path in test_files():
        stem = path.stem
        if stem not in maps or passed.get(stem) == maps[stem]["digest"]:
            continue
        tests = maps[stem]["tests"]
        mine = {
            node: test["seconds"]
            for node, test in tests.items()
            if test["passed"] and name in test["functions"] and test["seconds"] <= LONGEST
        }
        if mine:
            order = sorted(mine, key=lambda node: (mine[node], node))
            rows.append((sum(mine.values()), str(path), order))
    return [(path, order) for _, path, order in sorted(rows)]


def known_maps(work: Path) -> dict[str, Any]:
    """What `make_map` has written, by test file."""
    paths = {path.stem: work / f"map-{path.stem}.json" for path in test_files()}
    return {stem: json.loads(path.read_text()) for stem, path in paths.items() if path.exists()}


def try_one(work: Path, one: Drawn, log: Path, passed: dict[str, str]) -> dict[str, Any]:
    """Whether the tests notice a mutant, and which."""
    maps, began = known_maps(work), time.perf_counter()
    wrong = one.mutant.apply((ROOT / one.file).read_text())
    suite = suite_for(maps, one, passed)
    seconds = {node: t["seconds"] for m in maps.values() for node, t in m["tests"].items()}

    def call():
        module = one.file.removesuffix(".py").replace("/", ".")
        replace_source(module, wrong, str(ROOT / one.file))
        for path, order in suite:
            plugin = Plugin(wanted=order, limit=lambda node: 5.0 + 10.0 * seconds[node])
            status = pytest_of(plugin, [path], "-x", "--tb=short")
            if status != 0 or plugin.failed:
                by, why = next(iter(plugin.failed.items()), (path, "not collected"))
                return {"status": "timeout" if why == "time" else "killed", "by": by}
        return {"status": "survived" if not suite or is_replaced(module) else "not seen"}

    found = in_child(call, MOST_TIME, log)
    if isinstance(found, str):
        found = {"status": "timeout", "by": found}
    if found["status"] == "not seen":
        raise RuntimeError(f"the tests have imported {one.file} from elsewhere; see {log}")
    if found["status"] == "survived":
        found["passed"] = passed | {stem: maps[stem]["digest"] for stem in maps}
    if "by" in found:
        found["by"] = found["by"].removeprefix(f"{ROOT}/")
    return found | {"seconds": round(time.perf_counter() - began, 1)}


# -------------------------------------------------------------------------------------- commands


def run(work: Path, only: int | None, again: bool, match: str) -> None:
    """Every mutant that has no answer yet."""
    prepare()
    old = {} if again else {m["key"]: m for m in previous()["mutants"]}
    for number, one in enumerate(drawn()):
        if (only is not None and number != only) or not re.search(match, one.file):
            continue
        target, lock = work / f"{one.key}.json", work / f"{one.key}.lock"
        passed: dict[str, str] = {}
        if only is None:
            known = json.loads(target.read_text()) if target.exists() else old.get(one.key, {})
            if known.get("status") in ("killed", "timeout"):
                continue
            passed = known.get("passed", {})
            if target.exists() and not suite_for(known_maps(work), one, passed):
                continue
            if not taken(lock):
                continue
        try:
            found = try_one(work, one, work / f"{one.key}.log", passed)
            target.write_text(json.dumps(found))
        finally:
            lock.unlink(missing_ok=True)
        m, by = one.mutant, found.get("by", "")
        where = f"{one.file}:{m.line} {m.function}: {m.before!r} -> {m.after!r}"
        print(
            f"{number:3d} {found['status']:8s} {found['seconds']:6.1f} s  {where}  {by}", flush=True
        )


def previous() -> dict[str, Any]:
    """The result as committed."""
    return json.loads(RESULT.read_text()) if RESULT.exists() else {"mutants": []}


def collect(work: Path) -> None:
    """The result: what has an answer, with the reasons of equivalent mutants kept."""
    old = {m["key"]: m for m in previous()["mutants"]}
    rows: list[dict[str, Any]] = []
    for one in drawn():
        target, before = work / f"{one.key}.json", old.get(one.key, {})
        found = json.loads(target.read_text()) if target.exists() else before
        m = one.mutant
        row = {
            "key": one.key, "file": one.file, "function": m.function, "line": m.line,
            "operator": m.operator, "before": m.before, "after": m.after,
            "status": found.get("status", "not run"),
        }  # fmt: skip
        row |= {name: found[name] for name in ("by",) if name in found}
        if row["status"] in ("survived", "equivalent") and "reason" in before:
            row |= {"status": "equivalent", "reason": before["reason"]}
        rows.append(row)
    count = {s: sum(r["status"] == s for r in rows) for s in sorted({r["status"] for r in rows})}
    killed = count.get("killed", 0) + count.get("timeout", 0)
    different = len(rows) - count.get("equivalent", 0)
    summary = {
        "seed": SEED, "drawn": len(rows), "of": sum(map(len, sites().values())), "count": count,
        "killed_of_all": round(killed / len(rows), 4),
        "killed_of_not_equivalent": round(killed / max(1, different), 4),
        "digests": digests(), "mutants": rows,
    }  # fmt: skip
    part = RESULT.with_suffix(".part")
    part.write_text(json.dumps(summary, indent=1) + "\n")
    part.replace(RESULT)
    print(json.dumps({k: v for k, v in summary.items() if k not in ("digests", "mutants")}))
    for number, row in enumerate(rows):
        if row["status"] in ("survived", "not run"):
            print(f"{number:3d} {row['status']} {row['file']}:{row['line']} {row['function']}: "
                  f"{row['before']!r} -> {row['after']!r}")  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["map", "run", "collect"])
    parser.add_argument("--only", type=int, help="number of one mutant")
    parser.add_argument("--match", default="", help="files by a regular expression")
    parser.add_argument("--again", action="store_true", help="those of the committed result too")
    default = Path(tempfile.gettempdir()) / "evsim-mutants"
    parser.add_argument("--work", type=Path, default=default, help="folder for what is not final")
    chosen = parser.parse_args()
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "CI": "true"}
    chosen.work.mkdir(parents=True, exist_ok=True)
    if chosen.command == "map":
        prepare()
        make_map(chosen.work, chosen.match)
    elif chosen.command == "run":
        run(chosen.work, chosen.only, chosen.again, chosen.match)
        if chosen.only is not None:
            print((chosen.work / f"{drawn()[chosen.only].key}.log").read_text())
    else:
        collect(chosen.work)


if __name__ == "__main__":
    main()
