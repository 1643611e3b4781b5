"""evtrace v1: recordings of spiking networks, written with NumPy alone.

Copy this file next to a training script to write recordings there; `read` also needs its
neighbour `evtrace_reader.py`, which has no other needs either.

A recording is an `.npz` without pickles: the array `manifest.json` holds UTF-8 JSON, which lists
dtype, shape and sha256 of every other array, and the zip comment holds a sha256 of the file.
What a file may hold is checked here, by the writer and by the reader alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

if TYPE_CHECKING:
    from validation.evtrace_reader import Recording

FORMAT, VERSION, MANIFEST = "evtrace", 1, "manifest.json"
EVENT_FIELDS = ("step", "sample", "index", "count")
#: Unpacked bytes that a recording may hold.
TOTAL_LIMIT = 4 << 30
#: Entries of [n_steps, n_samples, *shape] that a layer may declare (2 GiB of dense spikes).
DENSE_LIMIT = 1 << 29
SEAL = b"evtrace sha256:"


class EvtraceError(ValueError):
    """A recording that cannot be read or written; one line that names the array and the place."""


def read(path: str | os.PathLike[str]) -> Recording:
    """Read a recording: `validation.evtrace_reader.read`."""
    return _reader().read(path)


def __getattr__(name: str) -> Any:
    if name in ("Layer", "Recording"):
        return getattr(_reader(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _reader() -> Any:
    """The neighbour is loaded when it is needed only: a copy of this file writes alone."""
    try:
        from validation import evtrace_reader
    except ImportError:
        import evtrace_reader  # type: ignore[import-not-found, no-redef]
    return evtrace_reader


def write(
    path: str | os.PathLike[str], manifest: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write a recording; the file appears only when it is complete.

    Parameters
    ----------
    path : str or path-like
        File to write or to replace. It is written under a temporary name in the same folder.
    manifest : mapping
        JSON values (numpy scalars and tuples are converted); `format`, `version` and `arrays`
        are filled in.
    arrays : mapping of str to array_like
        Booleans, integers and floats of at most 64 bit, keyed as `layers/<node>/<quantity>`.

    Raises
    ------
    EvtraceError
        NaN, an object array, a name that is not allowed, or anything `read` would refuse; the
        message names the key and the index.
    OSError
        The file cannot be written.
    """
    checked = {key: _checked(key, value) for key, value in arrays.items()}
    full = _plain(dict(manifest), "manifest")
    full |= {"format": FORMAT, "version": VERSION}
    full["arrays"] = {
        key: [a.dtype.name, list(a.shape), hashlib.sha256(a.tobytes()).hexdigest()]
        for key, a in checked.items()
    }
    if (total := sum(a.nbytes for a in checked.values())) > TOTAL_LIMIT:
        raise EvtraceError(f"arrays hold {total} bytes, over the limit of {TOTAL_LIMIT}")
    check_contents(full, checked)
    text = json.dumps(full, ensure_ascii=True, allow_nan=False).encode()
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            _write_member(archive, MANIFEST, np.frombuffer(text, np.uint8))
            for key, a in checked.items():
                _write_member(archive, key, a)
            archive.comment = SEAL + bytes(64)
        size = file.tell() - 64 - len(SEAL)
        seal = SEAL + digest(file, size)
        file.seek(size)
        file.write(seal)


def from_dense(dense: Any, key: str = "spikes") -> dict[str, np.ndarray]:
    """Events of a dense spike array: `<key>.step`, `.sample`, `.index` and `.count`.

    Parameters
    ----------
    dense : array_like, shape (n_steps, n_samples, ...)
        Number of spikes per step, sample and neuron; floats must hold whole numbers.
    key : str
        For instance `"layers/hidden/spikes"`.

    Returns
    -------
    dict of str to int32 ndarray
        One row per entry above zero, in C order; `index` is the flat neuron in C order.

    Raises
    ------
    EvtraceError
        Fewer than two dimensions, or an entry that is not a number of spikes.
    """
    dense = np.asarray(dense)
    if dense.ndim < 2 or dense.dtype.kind not in "biuf":
        raise EvtraceError(f"{key} must be numbers [n_steps, n_samples, ...], not {dense.shape}")
    if dense.dtype.kind != "b":
        bad = ~((dense >= 0) & (dense < 1 << 31) & (dense == np.floor(dense)))
        if bad.any():
            i = tuple(map(int, np.unravel_index(int(bad.argmax()), bad.shape)))
            raise EvtraceError(f"{key} at index {i} is {dense[i]}, not a number of spikes")
    n = math.prod(dense.shape[2:])
    flat = dense.reshape(*dense.shape[:2], n)
    rows = np.nonzero(flat)
    columns = (*rows, flat[rows])
    return {
        f"{key}.{name}": column.astype(np.int32)
        for name, column in zip(EVENT_FIELDS, columns, strict=True)
    }


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of `path` on success and vanishes otherwise."""
    path = os.fspath(path)
    temporary = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.tmp")
    if os.path.isdir(path):
        raise IsADirectoryError(21, "Is a directory", path)
    try:
        file = open(temporary, "x+b")
    except OSError as error:  # name what was asked for, not the temporary file
        raise type(error)(error.errno, error.strerror, path) from None
    try:
        with file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _checked(key: object, value: Any) -> np.ndarray:
    """Array to be stored: C order, little-endian, plain numbers."""
    if not isinstance(key, str):
        raise EvtraceError(f"array names must be str, not {type(key).__name__}: {key!r:.80}")
    check_key(key)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise EvtraceError(f"dtype {array.dtype} cannot be stored; use bool, int or float")
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        check_values(array)
    except (TypeError, ValueError) as error:
        raise EvtraceError(f"array {key!r}: {one_line(error)}") from None
    return array


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """JSON form of a manifest value; errors name the place."""
    if depth > 64:
        raise EvtraceError(f"{where[:200]} is nested too deep")
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, Mapping):
        if bad := [k for k in value if not isinstance(k, str)]:
            raise EvtraceError(f"{where} has the key {bad[0]!r:.80}, not a str")
        return {k: _plain(v, f"{where}[{k!r}]", depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise EvtraceError(f"{where} is {value!r:.80}, which JSON cannot hold")


def _write_member(archive: zipfile.ZipFile, key: str, array: np.ndarray) -> None:
    """One array under a fixed date, so that equal content gives equal files."""
    info = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr, info.create_system = 0o600 << 16, 3
    with archive.open(info, "w", force_zip64=array.nbytes >= 1 << 30) as member:
        npy.write_array(member, array, allow_pickle=False)  # type: ignore[arg-type]


def one_line(error: BaseException) -> str:
    """Message of an exception in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def digest(file: IO[bytes], size: int) -> bytes:
    """Sha256 of the first `size` bytes in hexadecimal."""
    file.seek(0)
    sha = hashlib.sha256()
    while size and (block := file.read(min(size, 1 << 20))):
        sha.update(block)
        size -= len(block)
    return sha.hexdigest().encode()


def check_contents(manifest: dict, arrays: Mapping[str, np.ndarray]) -> None:
    """Normalise the manifest in place and check it against the arrays."""
    kind = manifest.setdefault("kind", "grid")
    checks = {"grid": _check_grid, "events": _check_event_run, "ttfs": _check_ttfs}
    if not isinstance(kind, str) or kind not in checks:
        raise EvtraceError(f"kind must be one of {', '.join(checks)}, not {kind!r:.40}")
    if "layers" in manifest:
        manifest["layers"] = _layers(manifest["layers"])
    checks[kind](manifest, arrays)


def _layers(layers: object) -> dict[str, dict]:
    """Layers by name, from a dict or from a list of {"name": ...}."""
    if isinstance(layers, list):
        named = [(e.get("name") if isinstance(e, dict) else None, e) for e in layers]
    elif isinstance(layers, dict):
        named = list(layers.items())
    else:
        raise EvtraceError('manifest["layers"] must be a dict by name, or a list of {"name": ..}')
    out: dict[str, dict] = {}
    for i, (name, entry) in enumerate(named):
        if not isinstance(name, str) or not isinstance(entry, dict):
            raise EvtraceError(f'manifest["layers"][{i}] must be an object with a name')
        if name in out:
            raise EvtraceError(f"layer {name!r} is there twice")
        check_key(f"layers/{name}/x")
        out[name] = dict(entry)
    return out


def _check_grid(manifest: dict, arrays: Mapping[str, np.ndarray]) -> None:
    n_steps, n_samples = (_size(manifest, k) for k in ("n_steps", "n_samples"))
    dt = manifest.get("dt")
    if dt is not None and not (isinstance(dt, (int, float)) and 0 < dt < math.inf):
        raise EvtraceError(f"dt must be a positive number or null, not {dt!r:.40}")
    if "layers" not in manifest:
        raise EvtraceError('kind "grid" needs manifest["layers"]')
    _check_owners(manifest["layers"], arrays)
    if "input_shape" in manifest or any(k.startswith("input_spikes.") for k in arrays):
        inputs = _shape("input_shape", manifest.get("input_shape"))
        events_of(arrays, "input_spikes", (n_steps, n_samples, math.prod(inputs)))
    for name, entry in manifest["layers"].items():
        _check_grid_layer(name, entry, arrays, n_steps, n_samples)


def _check_grid_layer(
    name: str, entry: dict, arrays: Mapping[str, np.ndarray], n_steps: int, n_samples: int
) -> None:
    base = f"layers/{name}/"
    dense = [base + q for q in ("input_current", "membrane", "synaptic_current")]
    found = [k for k in dense if k in arrays]
    if "shape" not in entry and found:
        entry["shape"] = list(arrays[found[0]].shape[2:])
    shape = _shape(f"shape of layer {name!r}", entry.get("shape"))
    full = (n_steps, n_samples, *shape)
    check_dense_size(f"layer {name!r}", full)
    initial = [k for k in arrays if k.startswith(base + "initial_state.")]
    for key, allowed in [(k, (full,)) for k in found] + [(k, (full[1:], ())) for k in initial]:
        if arrays[key].shape not in allowed:
            meant = "[n_steps, n_samples, *shape]" if key in found else "[n_samples, *shape]"
            raise EvtraceError(
                f"array {key!r} has shape {list(arrays[key].shape)}, not {meant} = {allowed[0]}"
            )
    if base + "spikes.time" not in arrays:
        events_of(arrays, base + "spikes", (n_steps, n_samples, math.prod(shape)))
    events_of(arrays, base + "input_spikes", (n_steps, n_samples, None))


def _check_owners(layers: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> None:
    """An array of a layer that the manifest does not know would be checked by nobody."""
    for key in arrays:
        owner = key.removeprefix("layers/").rpartition("/")[0]
        if key.startswith("layers/") and owner not in layers:
            raise EvtraceError(f"array {key!r} belongs to no layer of the manifest")


def events_of(
    arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int, int, int | None]
) -> dict[str, np.ndarray] | None:
    """Events `<key>.step|sample|index|count`, or None; a missing count is one for every row.

    They are integers, one row each, inside [n_steps, n_samples, n], with positive counts.
    """
    events = {f: arrays[f"{key}.{f}"] for f in EVENT_FIELDS if f"{key}.{f}" in arrays}
    if not events:
        return None
    for name in EVENT_FIELDS[:3]:
        if name not in events:
            raise EvtraceError(f"array '{key}.{name}' is missing beside '{key}.{min(events)}'")
    events.setdefault("count", np.ones(events["step"].size, np.int32))
    bounds = [(0, n) for n in shape] + [(1, 1 << 31)]
    for name, (low, high) in zip(EVENT_FIELDS, bounds, strict=True):
        a = events[name]
        if a.ndim != 1 or a.dtype.kind not in "iu" or a.size != events["step"].size:
            raise EvtraceError(
                f"array '{key}.{name}' is {a.dtype} {list(a.shape)}, "
                f"not integers [{events['step'].size}] like '{key}.step'"
            )
        bad = (a < low) if high is None else (a < low) | (a >= high)
        if bad.any():
            i = int(bad.argmax())
            inside = f"at least {low}" if high is None else f"in [{low}, {high})"
            raise EvtraceError(f"array '{key}.{name}'[{i}] is {a[i]}, not {inside}")
    return events


def _check_event_run(manifest: dict, arrays: Mapping[str, np.ndarray]) -> None:
    until = manifest.get("until")
    if not isinstance(until, (int, float)) or not math.isfinite(until):
        raise EvtraceError(f'kind "events" needs a finite manifest["until"], not {until!r:.40}')
    for key, a in arrays.items():
        group, _, field = key.rpartition("/")
        if key.startswith(("inputs/", "spikes/")) and field in ("times", "times_lo", "units"):
            for other in ("times", "units"):
                b = arrays.get(f"{group}/{other}")
                if a.ndim != 1 or b is None or b.shape != a.shape:
                    raise EvtraceError(f"array {key!r} has no '{group}/{other}' of its length")
            if field == "units" and (a.dtype.kind not in "iu" or (a < 0).any()):
                raise EvtraceError(f"array {key!r} must hold non-negative integers")


def _check_ttfs(manifest: dict, arrays: Mapping[str, np.ndarray]) -> None:
    if "layers" not in manifest:
        raise EvtraceError('kind "ttfs" needs manifest["layers"]')
    _check_owners(manifest["layers"], arrays)
    for name in manifest["layers"]:
        for quantity in ("times", "weight", "v_th", "windows"):
            if f"layers/{name}/{quantity}" not in arrays:
                raise EvtraceError(f"array 'layers/{name}/{quantity}' is missing")


def _shape(what: str, shape: object) -> list[int]:
    if isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape):
        return shape
    raise EvtraceError(f"{what} must be a list of sizes, not {shape!r:.80}")


def check_dense_size(what: str, shape: tuple[int, ...]) -> None:
    """Refuse a declared shape of more values, or axes, than anybody records."""
    if math.prod(shape) > DENSE_LIMIT or len(shape) > 32:
        raise EvtraceError(f"{what} declares {list(shape)!r:.80} values, over {DENSE_LIMIT}")


def _size(manifest: dict, key: str) -> int:
    n = manifest.get(key)
    if type(n) is not int or not 0 <= n < 1 << 31:
        raise EvtraceError(f'kind "grid" needs a non-negative integer {key}, not {n!r:.40}')
    return n


def check_values(array: np.ndarray) -> None:
    """Refuse NaN, naming the first index."""
    if array.dtype.kind == "f":
        bad = np.isnan(array)
        if bad.any():
            index = tuple(map(int, np.unravel_index(int(bad.argmax()), array.shape)))
            raise EvtraceError(f"holds NaN, first at index {index}")


def check_key(key: str) -> None:
    """Keys are relative names with `/` between their parts."""
    parts = key.split("/")
    if (
        len(key) > 512
        or any(p in ("", ".", "..") for p in parts)
        or any(c == "\\" or ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in key)
        or key == MANIFEST
    ):
        raise EvtraceError(f"array name {key[:200]!a} is not allowed")
