"""Thousands of broken NIR graphs and recordings: each must end with one line and exit code 2.

    python benchmarks/hostile_files.py [--files 5000] [--seed 0] [--seconds 400]

A file is a good one with something wrong: bits, bytes cut off or put in, a shape, a type, a size, a
link, a name; half of the changed recordings get the checksums of what they now hold. `evsim run`
and `evsim verify` get it in a process of their own that may take 2 GiB; a file that is still good
may be run, so most recordings are the first steps of those that ship. What is counted: files
refused in words, files that still work, good networks whose spikes do not fit into memory and of
which that is said, and, of which there must be none, tracebacks, crashes, hangs and files that
take the memory while they are read. A hang takes above 5 s of the processor, which others may use,
or above 200 s in all. A file that hangs is asked a second time, when what it needs is compiled. The
counts are kept in `hostile_files.json` with a digest of the readers: a run goes on where it was
stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import queue
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

import evsim
from evsim.progress import bar
from validation.evtrace import replacing

HANG, MEMORY, CHUNK = 5.0, 2 << 30, 500
#: Steps and samples of a short recording, and how often a whole one is drawn instead.
STEPS, SAMPLES, WHOLE = 8, 1, 8
#: What the command says of memory; of a network of so few neurons, its spikes have taken it.
NO_ROOM, TOO_MANY, FEW = "not enough memory", "too many spikes, and says so", 1000
HERE = Path(__file__)
ROOT = HERE.parents[1]
TRACES = sorted((ROOT / "validation" / "traces").glob("*.npz"))
#: What opens a file and judges what it finds in it.
NAMES = ("evtrace", "evtrace_reader", "declared")
READERS = (*sorted((ROOT / "evsim").glob("nir*.py")), HERE,
           *(ROOT / "validation" / f"{name}.py" for name in NAMES))  # fmt: skip


def digest() -> str:
    """Of everything whose change would make the counts stale."""
    key = hashlib.sha256()
    for path in READERS:
        key.update(path.name.encode() + path.read_bytes())
    return key.hexdigest()[:16]


def graph() -> bytes:
    """A good NIR file: convolution, pool, delay, loop and two kinds of neurons."""
    import nir

    n = 4
    each = lambda value: np.full(n, float(value))  # noqa: E731
    shared = {"r": each(1), "v_leak": each(0), "v_threshold": each(1), "v_reset": each(0)}
    conv = nir.Conv2d((4, 4), np.ones((2, 1, 3, 3)), (1, 1), (0, 0), (1, 1), 1, np.zeros(2))
    nodes = {
        "input": nir.Input(input_type={"input": np.array([1, 4, 4])}),
        "conv": conv,
        "flat": nir.Flatten(input_type={"input": np.array([2, 2, 2])}, start_dim=0),
        "fc": nir.Affine(np.ones((n, 8)), np.zeros(n)),
        "lif": nir.LIF(tau=each(0.01), **shared),
        "late": nir.Delay(each(1e-3)),
        "back": nir.Linear(0.1 * np.ones((n, n))),
        "out": nir.CubaLIF(tau_syn=each(5e-3), tau_mem=each(0.01), w_in=each(1), **shared),
        "output": nir.Output(output_type={"output": np.array([n])}),
    }
    names = ["input", "conv", "flat", "fc", "lif", "late", "out", "output"]
    edges = [*pairwise(names), ("lif", "back"), ("back", "lif")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "good.nir"
        nir.write(path, nir.NIRGraph(nodes=nodes, edges=edges))
        return path.read_bytes()


def recordings() -> list[bytes]:
    """Good recordings: those that ship, and, more often, their first steps."""
    whole = [path.read_bytes() for path in TRACES]
    return whole + (WHOLE - 1) * [shortened(data) for data in whole]


def shortened(data: bytes) -> bytes:
    """The first steps of a recording, of its first sample."""
    arrays = _unpacked(data)
    manifest = json.loads(bytes(arrays["manifest.json"]))
    shape = manifest["n_steps"], manifest["n_samples"]
    for key in list(arrays):
        name = key.rpartition("/")[2]
        if name.endswith(".step"):
            base = key.removesuffix("step")
            kept = (arrays[key] < STEPS) & (arrays[f"{base}sample"] < SAMPLES)
            parts = [f"{base}{part}" for part in ("step", "sample", "index", "count")]
            arrays |= {part: arrays[part][kept] for part in parts}
        elif arrays[key].shape[:2] == shape:
            arrays[key] = arrays[key][:STEPS, :SAMPLES]
        elif name.startswith("initial_state."):
            arrays[key] = arrays[key][:SAMPLES]
    manifest |= {"n_steps": STEPS, "n_samples": SAMPLES}
    arrays["manifest.json"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    _vouch(arrays)
    return _packed(arrays)


def _unpacked(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data)) as npz:
        return {name: npz[name] for name in npz.files}


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


# ------------------------------------------------------------------------------- what is broken


def of_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut, repeat, or overwrite a stretch."""
    broken = bytearray(data)
    kind, at = rng.integers(4), int(rng.integers(len(data)))
    if kind == 0:
        for _ in range(int(rng.integers(1, 30))):
            broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del broken[at:]
    elif kind == 2:
        broken[at:at] = rng.bytes(int(rng.integers(1, 200)))
    else:
        width = int(rng.integers(1, 64))
        broken[at : at + width] = rng.bytes(width)
    return bytes(broken)


def of_graph(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one dataset, attribute or link inside the HDF5 file."""
    import h5py

    file = io.BytesIO(data)
    with h5py.File(file, "r+") as h5:
        found: list[str] = []
        h5.visititems(lambda name, item: found.append(name))
        name = found[int(rng.integers(len(found)))]
        kind = rng.integers(5)
        if kind == 0:
            del h5[name]
        elif kind == 4:  # a size that the file does not have the bytes for
            del h5[name]
            size = 2 ** rng.integers(4, 23, int(rng.integers(1, 4)))
            h5.create_dataset(name, shape=tuple(map(int, size)), chunks=True, dtype="f8")
        elif kind == 1:
            h5.move(name, f"{name}x")
        elif kind == 2:
            del h5[name]
            h5[name] = h5py.SoftLink("/" + found[int(rng.integers(len(found)))])
        else:
            del h5[name]
            h5[name] = _value(rng)
    return file.getvalue()


def _value(rng: np.random.Generator):
    values = (
        np.float64("nan"), np.inf, -1.0, b"words", np.zeros(0), np.zeros((3, 0, 2)),
        np.full((5, 7), 1e308), np.array([b"a", b"b"]), np.arange(4, dtype=np.complex128),
        np.int64(2**62),
    )  # fmt: skip
    return values[int(rng.integers(len(values)))]


def of_recording(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one array of a recording, or its manifest."""
    arrays = _unpacked(data)
    if rng.random() < 0.5:
        manifest = json.loads(bytes(arrays["manifest.json"]))
        _spoil(manifest, rng)
        arrays["manifest.json"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    else:
        names = [name for name in arrays if name != "manifest.json"]
        name = names[int(rng.integers(len(names)))]
        old = arrays[name]
        kind = rng.integers(6)
        if kind == 0:
            del arrays[name]
        elif kind == 5:
            arrays[name] = _moved(old, rng)
        elif kind == 1:
            arrays[f"{name}x"] = arrays.pop(name)
        elif kind == 2:
            arrays[name] = old.astype([np.int8, np.float16, np.complex64][int(rng.integers(3))])
        elif kind == 3:
            arrays[name] = old.reshape(-1)[: int(rng.integers(old.size + 1))]
        else:
            arrays[name] = np.asarray(_value(rng))
    if rng.random() < 0.5:
        _vouch(arrays)
    return _packed(arrays)


def _moved(old: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other values of the same shape and type."""
    if old.dtype.kind in "iu":
        info = np.iinfo(old.dtype)
        return rng.choice([info.min, -1 if info.min else 1, info.max, 0], old.shape).astype(
            old.dtype
        )
    return old * old.dtype.type([0, -1, 1e30, 1e-30][int(rng.integers(4))])


def _vouch(arrays: dict[str, np.ndarray]) -> None:
    """Let the manifest list what is there now: what lies behind the checksums is asked too."""
    try:
        manifest = json.loads(bytes(arrays["manifest.json"]))
        manifest["arrays"] = {
            key: [a.dtype.str, list(a.shape), hashlib.sha256(a.tobytes("C")).hexdigest()]
            for key, a in arrays.items()
            if key != "manifest.json"
        }
    except (KeyError, ValueError, TypeError):
        return
    arrays["manifest.json"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)


def _spoil(tree, rng: np.random.Generator) -> None:
    """Put nonsense somewhere into a tree of JSON."""
    nonsense = (None, -1, 1e300, "x" * 50, [], {}, True, 2**70, "\u0000", [[]], float("nan"))
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = keys[int(rng.integers(len(keys)))]
        if isinstance(tree[key], dict | list) and tree[key] and rng.random() < 0.75:
            tree = tree[key]
            continue
        if isinstance(tree, dict) and rng.random() < 0.3:
            del tree[key]
        else:
            tree[key] = nonsense[int(rng.integers(len(nonsense)))]
        return


Spoil = Callable[[bytes, np.random.Generator], bytes]


def broken(k: int, seed: int, good: bytes, traces: list[bytes]) -> tuple[str, bytes]:
    """The k-th file, and what is asked of it."""
    rng = np.random.default_rng([seed, k])
    kinds: tuple[Spoil, Spoil] = (of_bytes, of_graph) if k % 2 else (of_bytes, of_recording)
    data = good if k % 2 else traces[int(rng.integers(len(traces)))]
    return "run" if k % 2 else "verify", kinds[int(rng.integers(2))](data, rng)


# ------------------------------------------------------------------------------------ one by one


def chunk(first: int, last: int, seed: int, good: bytes, answers) -> None:
    """Ask for files one after another in this process, which may be lost with any of them."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    traces = recordings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "in.npz", times=np.array([0.001, 0.002]), units=np.array([0, 1]))
        # Good ones first: what is loaded and compiled once is not the file's fault.
        short = traces[-len(TRACES) :]
        for command, data in [("run", good), *(("verify", trace) for trace in short)]:
            code, words, _ = asked(command, data, folder)
            if code not in (0, 1):
                raise RuntimeError(f"a good file is refused: {words}")
        for k in range(first, last):
            command, data = broken(k, seed, good, traces)
            answer = asked(command, data, folder)
            if answer[2] > HANG:
                answer = asked(command, data, folder)
            if NO_ROOM in answer[1] and command == "run" and readable(folder / "file.nir"):
                answer = answer[0], TOO_MANY, answer[2]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            answers.put((k, command, *answer, peak))


def asked(command: str, data: bytes, folder: Path) -> tuple[int, str, float]:
    """Exit code of a command, what it complained of, and how long it took."""
    from evsim import cli

    path = folder / ("file.nir" if command == "run" else "file.npz")
    path.write_bytes(data)
    whole = [command, str(path)]
    if command == "run":
        whole += ["--spikes", "dirac", "--recurrent-delay", "0.001", "--until", "0.01"]
        whole += ["--input", str(folder / "in.npz"), "--out", str(folder / "out.npz")]
    out, err, began = io.StringIO(), io.StringIO(), time.process_time()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(whole)
        words = err.getvalue()
    except BaseException as error:  # what a user would see as a traceback
        code, words = -1, f"{type(error).__name__}: {error}"
    return code, words, time.process_time() - began


def readable(path: Path) -> bool:
    """Is it a good network, which takes little memory itself?"""
    try:
        network = evsim.from_nir(path, spikes="dirac", recurrent_delay=0.001)
    except (ValueError, MemoryError):
        return False
    return sum(found.n for found in network.populations.values()) < FEW


def judged(code: int, words: str, seconds: float) -> str:
    """What one file counts as."""
    if seconds > HANG:
        return "HANG"
    if code == -1:
        return "TRACEBACK"
    if code == 2 and words == TOO_MANY:
        return words
    if NO_ROOM in words or "Unable to allocate" in words:
        return "OUT OF MEMORY"
    if code == 2:
        return "refused" if words.count("\n") == 1 and "Traceback" not in words else "NO WORDS"
    return "still works" if code in (0, 1) else f"EXIT {code}"


def ask(first: int, last: int, seed: int, good: bytes, found: dict) -> None:
    """Files first to last, with a new process after each loss; adds to what was found."""
    context, k, lost = multiprocessing.get_context("spawn"), first, -1
    while k < last:
        answers = context.Queue()
        process = context.Process(target=chunk, args=(k, last, seed, good, answers))
        process.start()
        while k < last:
            try:
                answer = answers.get(timeout=200)
            except queue.Empty:  # the process is gone, or hangs
                process.kill()
                if lost != k:
                    lost = k
                    break
                found["counts"]["CRASH"] = found["counts"].get("CRASH", 0) + 1
                found["bad"].append(f"file {k}: the process was lost")
                k += 1
                break
            k, (_, command, code, words, seconds, peak) = answer[0] + 1, answer
            verdict = judged(code, words, seconds)
            key = f"{command}: {verdict}"
            found["counts"][key] = found["counts"].get(key, 0) + 1
            found["slowest [s]"] = max(found["slowest [s]"], round(seconds, 3))
            found["most memory [MiB]"] = max(found["most memory [MiB]"], peak >> 20)
            if verdict.isupper():
                said = re.sub(r"/\S+/", "", words)[:200]  # without the paths of a machine
                found["bad"].append(f"file {k - 1}: {verdict} after {seconds:.1f} s: {said!r}")
        process.join(timeout=10)


def known(path: Path, seed: int) -> dict:
    """What was asked before of these very readers."""
    found = json.loads(path.read_text()) if path.exists() else {}
    if found.get("digest") == digest() and found.get("seed") == seed:
        return found
    blank = {"files": 0, "slowest [s]": 0.0, "most memory [MiB]": 0, "counts": {}, "bad": []}
    return {"digest": digest(), "seed": seed, **blank}


def main() -> int:
    """Ask for the files that are missing; print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--json", type=Path, default=HERE.with_suffix(".json"))
    chosen = parser.parse_args()
    found, began, good = known(chosen.json, chosen.seed), time.monotonic(), graph()
    with bar("files") as progress:
        while found["files"] < chosen.files and time.monotonic() - began < chosen.seconds:
            last = min(found["files"] + CHUNK, chosen.files)
            ask(found["files"], last, chosen.seed, good, found)
            found["files"] = last
            with replacing(chosen.json) as file:
                file.write(json.dumps(found, indent=1, sort_keys=True).encode() + b"\n")
            progress(last, chosen.files, f"{len(found['bad'])} bad")
    print(json.dumps(found, indent=1, sort_keys=True))
    return 1 if found["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
