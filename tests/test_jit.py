"""Compiled code on disk: never stale, and there when it is wanted."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from evsim import jit

PACKAGE = jit.PACKAGE

FLOW = """
from evsim.models.flow import exponential
print(exponential(100.0, 100.0, 100.0, True, 1e-3)[0].hex())
"""

SIMULATE = """
import time
import evsim
net = evsim.Network()
net.add_input("in", 1)
net.add_population("p", 2, evsim.DeltaLIF(tau_mem=10.0))
net.connect("in", "p", [[0.75, 1.5]])
began = time.perf_counter()
record = evsim.simulate(net, {"in": evsim.Spikes([1.0, 2.0], [0, 0])}, until=3.0)
print(time.perf_counter() - began, record.spikes["p"].times.tolist())
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package with a cache of its own."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, folder / "evsim", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(folder, code, **environment):
    """What `code` prints in a new process that sees only the copy."""
    kept = {k: v for k, v in os.environ.items() if k != "NUMBA_DISABLE_JIT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder), "EVSIM_CACHE_DIR": str(folder / "cache")}
        | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(maxsplit=1)


def compiled(folder):
    """The compiled functions on disk."""
    return sorted(str(path) for path in (folder / "cache").rglob("*.nb[ic]"))


def test_an_edited_callee_in_another_file_shows(copy):
    before = run(copy, FLOW)[0]
    files = compiled(copy)
    assert files and run(copy, FLOW)[0] == before and compiled(copy) == files
    numerics = copy / "evsim" / "numerics.py"
    text = numerics.read_text()
    line = "value = fma(scale, fma(r * r, h, r), scale)"
    assert text.count(line) == 1  # in exp_neg, which exponential calls
    numerics.write_text(text.replace(line, line.replace(", scale)", ", 0.5 * scale)")))
    try:
        after = run(copy, FLOW)[0]
    finally:
        numerics.write_text(text)
    assert float.fromhex(after) < float.fromhex(before)
    assert run(copy, FLOW)[0] == before and set(files) <= set(compiled(copy))
    assert run(copy, FLOW, NUMBA_DISABLE_JIT="1")[0] == before


def test_a_second_process_finds_everything_compiled(copy, record_property):
    cold, spikes = run(copy, SIMULATE)
    files = compiled(copy)
    began = time.perf_counter()
    warm, again = run(copy, SIMULATE)
    record_property("first simulate, compiled before [s]", float(warm))
    print(
        f"first simulate: {float(cold):.2f} s cold, {float(warm):.2f} s compiled before;", end=" "
    )
    print(f"the whole process {time.perf_counter() - began:.2f} s")
    # Unit 1 jumps to 1.5 twice; unit 0 from 0.75 exp(-0.1) to 1.43.
    assert spikes == again == "[1.0, 2.0, 2.0]\n"
    assert compiled(copy) == files
    assert float(warm) < 15.0  # ten times what is promised on an idle machine


def test_every_file_that_holds_kernels_is_in_the_key():
    """A kernel in a file that the digest does not read could go stale."""
    keyed = {path.relative_to(PACKAGE).as_posix() for path in jit.sources()}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if "@kernel" in text or "@inline_kernel" in text or ".implement(" in text:
            assert path.relative_to(PACKAGE).as_posix() in keyed, path.name
        if "@overload" in text or "@intrinsic" in text or "@generic" in text:
            assert path.relative_to(PACKAGE).as_posix() in keyed, path.name


def test_the_key_depends_on_every_byte_of_these_files(copy):
    package = copy / "evsim"
    seen = {jit.digest(package)}
    for path in jit.sources(package):
        text = path.read_text()
        path.write_text(text + "# more\n")
        seen.add(jit.digest(package))
        path.write_text(text)
    assert len(seen) == 1 + len(jit.sources(package))


def test_an_unwritable_cache_costs_time_only(copy):
    code = "from evsim.numerics import not_before as f; print(f(1.0, 0.0, 1.0, 0.0))"
    assert run(copy, code, EVSIM_CACHE_DIR="/proc/nowhere")[0] == "True"


def test_what_takes_minutes_to_compile_runs_interpreted():
    """The verbs of every model, and several models on one cycle."""
    tests = [
        "tests/test_kernels.py",
        "tests/test_kernel_parts.py",
        "tests/test_proof_parts.py",
        "tests/test_proof_layer_parts.py",
        "tests/test_proof_runs.py",
        "tests/test_gradient_dense.py",
        "tests/test_margins.py",
        "tests/test_ttfs_kernels.py",
        "tests/test_networks.py::test_several_models_on_one_cycle",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *tests],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]
    assert "skipped" not in done.stdout, done.stdout[-3000:]
