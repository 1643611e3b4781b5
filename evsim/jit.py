"""The one decorator that compiles, and a disk cache that cannot go stale.

Numba keys a cached function by its own file, not by the functions that it calls, so an
edited callee in another file would keep the old machine code of its callers alive. Here the
cache folder itself is keyed by a digest of every source file of the package that holds
kernels, the Numba version and the processor.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numba
from llvmlite import binding
from numba import types
from numba.core import config
from numba.extending import intrinsic

PACKAGE = Path(__file__).parent
#: Cache folders that nobody has used for so long are deleted [s]; a running process may still
#: write into a younger one.
UNUSED = 30 * 86400.0


def sources(package: Path = PACKAGE) -> list[Path]:
    """Files of `package` whose text takes part in compiled code, in a fixed order."""
    marks = ("evsim.jit", "evsim.dispatch", "evsim.numerics")
    return [
        path
        for path in sorted(package.rglob("*.py"))
        if path.parent == package / "models" or any(mark in path.read_text() for mark in marks)
    ]


def digest(package: Path = PACKAGE) -> str:
    """Key of the cache: sources, Numba, Python and processor."""
    key = hashlib.sha256()
    for path in sources(package):
        key.update(path.relative_to(package).as_posix().encode())
        key.update(path.read_bytes())
    cpu = config.CPU_NAME or binding.get_host_cpu_name()
    features = config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
    for part in (numba.__version__, sys.version, cpu, features):
        key.update(str(part).encode())
    return key.hexdigest()[:24]


def cache_root() -> Path:
    """Folder for compiled code: `EVSIM_CACHE_DIR`, else the user's cache, else a temporary one."""
    chosen = os.environ.get("EVSIM_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = base / "evsim" / "kernels"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / f"evsim-kernels-{os.getuid() if os.name == 'posix' else 0}"


@cache
def _folder() -> str:
    root = cache_root()
    current = root / digest()
    try:
        current.mkdir(parents=True, exist_ok=True)
        os.utime(current)
        for other in root.iterdir():
            ours = re.fullmatch("[0-9a-f]{24}", other.name)
            if ours and time.time() - other.stat().st_mtime > UNUSED:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:
        return tempfile.mkdtemp(prefix="evsim-kernels-")
    return str(current)


#: Of this process, in the names of the files that it writes.
TOKEN = secrets.token_hex(6)
#: Options of every kernel: IEEE semantics, division that returns inf instead of raising, and no
#: reference counts: kernels borrow their arrays and allocate none. Counting alone would make a
#: solved neuron four times as dear.
OPTIONS = {"error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}


def kernel(function):
    """Compile `function`: no Python objects, GIL released, cached on disk."""
    return _compiled(function, nogil=True)


def inline_kernel(function):
    """As `kernel`, for small functions that must dissolve in the loops that call them."""
    return _compiled(function, forceinline=True)


def inner_kernel(function):
    """As `kernel`, but called by kernels only: Python would crash. Half the time to compile."""
    return _compiled(function, nogil=True, no_cpython_wrapper=True)


def inner_inline_kernel(function):
    """As `inline_kernel`, but called by kernels only: Python would crash."""
    return _compiled(function, forceinline=True, no_cpython_wrapper=True)


@intrinsic
def _apart(typingctx):
    def codegen(context, builder, signature, args):
        # What an inlined function is the first to compile has been told to dissolve as well.
        builder.function.attributes.discard("alwaysinline")
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.none(), codegen


def _nothing():
    """What `apart` is where nothing is compiled."""


#: Called in a kernel, keeps it a function of its own: a large one with many callers would
#: otherwise be copied into each of them, and take minutes to compile.
apart = _nothing if config.DISABLE_JIT else _apart


def _compiled(function, **options):
    before = config.CACHE_DIR
    config.CACHE_DIR = _folder()
    try:
        compiled = numba.njit(cache=True, **OPTIONS, **options)(function)
    finally:
        config.CACHE_DIR = before
    if not config.DISABLE_JIT:
        # Numba numbers its files 1, 2, ... in every process: two that compile at one time would
        # put their code under one name, and the index of one would point to the code of the other.
        files = compiled._cache._cache_file
        files._data_name_pattern = files._data_name_pattern.replace("{number", f"{TOKEN}.{{number")
    return compiled
