"""Read evtrace v1 files that nobody vouches for.

A hostile or damaged file is refused with an `EvtraceError` of one line that names the array.
Nothing is allocated, and no array is unpacked, before its declared size has been checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

try:
    from validation import evtrace
except ImportError:  # both files were copied to a place without the package
    import evtrace  # type: ignore[import-not-found, no-redef]

EvtraceError, MANIFEST = evtrace.EvtraceError, evtrace.MANIFEST
MANIFEST_LIMIT = 16 << 20
MEMBER_LIMIT = 20_000
#: Beyond `BOMB_SIZE` bytes, data that pack better than `BOMB_RATIO` are no recording.
BOMB_SIZE, BOMB_RATIO = 256 << 20, 200

_HEAD = 16 << 10  # bytes that hold any sane .npy header
_CHUNK = 1 << 20
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    RuntimeError,  # an encrypted member; NotImplementedError is one too
    ValueError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True)
class Layer:
    """View of one layer of a recording."""

    name: str
    entry: Mapping[str, Any]  #: the layer's part of the manifest
    recording: Recording

    def get(self, quantity: str) -> np.ndarray | None:
        """Array `layers/<name>/<quantity>`, or None where it was not recorded."""
        return self.recording.arrays.get(f"layers/{self.name}/{quantity}")

    def keys(self) -> list[str]:
        """What was recorded of this layer: `membrane`, `params.beta`, ..."""
        prefix = f"layers/{self.name}/"
        found = (k[len(prefix) :] for k in self.recording.arrays if k.startswith(prefix))
        return [k for k in found if "/" not in k]

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Arrays `params.<name>` by name."""
        prefix = f"layers/{self.name}/"
        names = (key.removeprefix("params.") for key in self.keys() if key.startswith("params."))
        return {name: self.recording.arrays[f"{prefix}params.{name}"] for name in names}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer without time and batch."""
        return tuple(self.entry["shape"])

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    def spikes(
        self, n_steps: int | None = None, n_samples: int | None = None, n: int | None = None
    ) -> np.ndarray | None:
        """Spike counts, int32 [n_steps, n_samples, n], or None where spikes were not recorded.

        The sizes default to the recording's. Raises `EvtraceError` where an event lies outside.
        """
        return self.recording.dense(
            f"layers/{self.name}/spikes", self.size if n is None else n, n_steps, n_samples
        )


@dataclass(frozen=True)
class Recording:
    """A recording in memory; its arrays are read-only."""

    path: str
    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def kind(self) -> str:
        """`"grid"`, `"events"` or `"ttfs"`."""
        return self.manifest["kind"]

    def layers(self) -> list[str]:
        """Names of the layers in the order in which they are computed."""
        return list(self.manifest.get("layers", {}))

    def layer(self, name: str) -> Layer:
        """View of one layer; `KeyError` where there is none of that name."""
        return Layer(name, self.manifest["layers"][name], self)

    def input_spikes(self) -> np.ndarray | None:
        """The recording's input, int32 [n_steps, n_samples, n], or None where not recorded."""
        return self.dense("input_spikes", math.prod(self.manifest.get("input_shape", ())))

    def dense(
        self, key: str, n: int, n_steps: int | None = None, n_samples: int | None = None
    ) -> np.ndarray | None:
        """Counts of the events `<key>.step|sample|index|count` as int32 [n_steps, n_samples, n]."""
        shape = (
            self.manifest["n_steps"] if n_steps is None else n_steps,
            self.manifest["n_samples"] if n_samples is None else n_samples,
            n,
        )
        events = evtrace.events_of(self.arrays, key, shape)
        if events is None:
            return None
        evtrace.check_dense_size(key, shape)
        out = np.zeros(shape, np.int32)
        np.add.at(out, (events["step"], events["sample"], events["index"]), events["count"])
        return out


def read(path: str | os.PathLike[str]) -> Recording:
    """Read a recording, every checksum and every declared size checked.

    Parameters
    ----------
    path : str or path-like
        An evtrace file.

    Returns
    -------
    Recording
        `manifest["layers"]` is a dict by name in order of computation, whichever form the file
        has, and each layer's entry has a `shape`. Array data are in native byte order.

    Raises
    ------
    EvtraceError
        The file is not an evtrace, is damaged, or contradicts itself.
    OSError
        The file cannot be opened.
    """
    path = os.fspath(path)
    with _named(path), open_regular(path) as file:
        _check_tail(file)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, os.fstat(file.fileno()).st_size)
            manifest = _read_manifest(archive, members)
            listed = _listed(manifest, members)
            arrays = {key: _read_array(archive, members[key], key, listed[key]) for key in listed}
            _check_seal(file, archive.comment)
        evtrace.check_contents(manifest, arrays)
    return Recording(path, manifest, arrays)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Say the file's name in front of every error, whatever raised it."""
    try:
        yield
    except EvtraceError as error:
        raise EvtraceError(f"{path}: {error}") from None
    except _UNREADABLE as error:
        raise EvtraceError(
            f"{path}: damaged, or no evtrace file: {evtrace.one_line(error)}"
        ) from None


def open_regular(path: str) -> IO[bytes]:
    """Open a regular file for reading; a pipe would hang and a folder has no bytes."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise EvtraceError("is a folder, not an evtrace file")
    if not stat.S_ISREG(mode):
        raise EvtraceError("is not a regular file")
    return open(path, "rb")


def _check_tail(file: IO[bytes]) -> None:
    """Bound the zip directory before `zipfile` reads it, and refuse bytes after the end."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise EvtraceError("is empty")
    if size > evtrace.TOTAL_LIMIT:
        raise EvtraceError(f"has {size} bytes, more than the limit of {evtrace.TOTAL_LIMIT}")
    start = max(0, size - (1 << 16) - 22 - 76)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise EvtraceError("is no zip file, or is truncated: no end record")
    count, directory, _, comment = struct.unpack("<HLLH", tail[end + 10 : end + 22])
    if end + 22 + comment != len(tail):
        raise EvtraceError("is damaged: its end record does not end the file")
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07":
        count, directory = struct.unpack("<QQ", tail[end - 44 : end - 28])
    if count > MEMBER_LIMIT or directory > MEMBER_LIMIT * 1024 or directory > size:
        raise EvtraceError(
            f"declares {count} arrays in a directory of {directory} bytes, over the limit"
        )
    file.seek(0)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Members by array key, names and declared sizes checked."""
    members: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in archive.infolist():
        key = info.filename.removesuffix(".npy")
        if key == info.filename:
            raise EvtraceError(f"holds {info.filename[:80]!r}, which is no .npy array")
        if key != MANIFEST:
            evtrace.check_key(key)
        if key in members:
            raise EvtraceError(f"array {key!r} is there twice")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise EvtraceError(f"array {key!r} uses zip method {info.compress_type}, not deflate")
        members[key] = info
        total += info.file_size
        if total > evtrace.TOTAL_LIMIT:
            raise EvtraceError(
                f"array {key!r} brings the unpacked size to {total} bytes, "
                f"over the limit of {evtrace.TOTAL_LIMIT}"
            )
    if total > max(BOMB_SIZE, BOMB_RATIO * size):
        raise EvtraceError(f"{size} bytes would unpack to {total}: refused as a zip bomb")
    if MANIFEST not in members:
        raise EvtraceError(f"holds no {MANIFEST}: not an evtrace file")
    return members


def _read_manifest(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> dict:
    """Parse the manifest and check what every kind has."""
    info = members[MANIFEST]
    if info.file_size > MANIFEST_LIMIT:
        raise EvtraceError(f"{MANIFEST} has {info.file_size} bytes, over {MANIFEST_LIMIT}")
    raw = _read_array(archive, info, MANIFEST, None)
    if raw.dtype != np.uint8 or raw.ndim != 1:
        raise EvtraceError(f"{MANIFEST} must be uint8 [n], not {raw.dtype} {list(raw.shape)}")
    try:
        manifest = json.loads(
            raw.tobytes().decode("utf-8"),
            parse_constant=_number,
            parse_int=lambda text: _number(text, int),
            parse_float=_number,
            object_pairs_hook=_no_duplicates,
        )
    except UnicodeDecodeError as error:
        raise EvtraceError(f"{MANIFEST} is not UTF-8: {evtrace.one_line(error)}") from None
    except RecursionError:
        raise EvtraceError(f"{MANIFEST} is nested too deep") from None
    except ValueError as error:
        raise EvtraceError(f"{MANIFEST} is not JSON: {evtrace.one_line(error)}") from None
    if not isinstance(manifest, dict):
        raise EvtraceError(f"{MANIFEST} must be a JSON object, not {type(manifest).__name__}")
    if manifest.get("format") != evtrace.FORMAT or manifest.get("version") != evtrace.VERSION:
        found = f"{manifest.get('format')!r:.40} version {manifest.get('version')!r:.40}"
        raise EvtraceError(
            f"{MANIFEST} says format {found}, not {evtrace.FORMAT!r} version {evtrace.VERSION}"
        )
    return manifest


def _number(text: str, kind: type = float) -> Any:
    value = kind(text)
    if not abs(value) < (math.inf if kind is float else 1 << 63):  # NaN compares false
        raise ValueError(f"{text[:40]} is not finite, or too large")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [k for k, _ in pairs]
        twice = next(k for i, k in enumerate(names) if k in names[:i])
        raise ValueError(f"key {twice[:80]!r} is there twice")
    return out


def _listed(manifest: dict, members: Mapping[str, object]) -> dict[str, tuple[np.dtype, list, str]]:
    """`manifest["arrays"]`, complete and well-formed: (dtype, shape, sha256) by key."""
    listed = manifest.get("arrays")
    if not isinstance(listed, dict):
        raise EvtraceError('manifest["arrays"] must map every array to [dtype, shape, sha256]')
    for key in listed:
        if key not in members:
            raise EvtraceError(f"array {key[:200]!r} is listed in the manifest but is missing")
    for key in members:
        if key not in listed and key != MANIFEST:
            raise EvtraceError(f"array {key!r} is not listed in the manifest: no checksum")
    return {key: _listing(key, entry) for key, entry in listed.items()}


def _listing(key: str, entry: object) -> tuple[np.dtype, list, str]:
    match entry:
        case [str(name), list(shape), str(digest)] if len(name) <= 16:
            try:
                return np.dtype(name), shape, digest
            except (TypeError, ValueError, SyntaxError):
                pass
    raise EvtraceError(f'manifest["arrays"][{key!r}] must be [dtype, shape, sha256]: {entry!r:.80}')


def _read_array(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    key: str,
    listed: tuple[np.dtype, list, str] | None,
) -> np.ndarray:
    """Unpack one array after its header has been held against the declared size."""
    try:
        with archive.open(info) as member:
            head = member.read(_HEAD)
            shape, fortran, dtype, start = _header(head)
            size = math.prod(shape) * dtype.itemsize
            if start + size != info.file_size:
                raise EvtraceError(
                    f"header declares {dtype} {list(shape)}, {size} bytes, "
                    f"but {info.file_size - start} follow"
                )
            if listed and (listed[0] != dtype or listed[1] != list(shape)):
                raise EvtraceError(
                    f"is {dtype} {list(shape)}, but the manifest says {listed[0]} {listed[1]!r:.80}"
                )
            flat = np.empty(size, np.uint8)
            _fill(member, flat, head[start:])
        array = flat.view(dtype).reshape(shape, order="F" if fortran else "C")
        array = np.ascontiguousarray(array).reshape(shape)  # the former makes 0-d 1-d
        if listed and hashlib.sha256(array.tobytes()).hexdigest() != listed[2]:
            raise EvtraceError("sha256 differs from the manifest's: the data were changed")
        array = array.astype(dtype.newbyteorder("="), copy=False)
        evtrace.check_values(array)
    except (OSError, *_UNREADABLE) as error:
        raise EvtraceError(f"array {key!r}: {evtrace.one_line(error)}") from None
    array.flags.writeable = False
    return array


def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order, dtype and length of an .npy header; only plain numbers are let through."""
    stream = io.BytesIO(head)
    read_header = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
        (3, 0): npy.read_array_header_2_0,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shape, fortran, dtype = read_header[npy.read_magic(stream)](stream)
    except Exception as error:  # the parser of Python literals has many ways to fail
        raise EvtraceError(f"broken .npy header: {evtrace.one_line(error)}") from None
    if dtype.hasobject:
        raise EvtraceError("holds Python objects (a pickle), which are never loaded")
    if dtype.kind not in "biuf" or dtype.itemsize > 8 or dtype.subdtype is not None:
        raise EvtraceError(f"has dtype {str(dtype)[:80]}; only bool, integers and floats are read")
    if len(shape) > 32 or any(n < 0 or n >= 1 << 48 for n in shape):
        raise EvtraceError(f"has the impossible shape {list(shape)!r:.80}")
    return shape, fortran, dtype, stream.tell()


def _fill(member: IO[bytes], out: np.ndarray, first: bytes) -> None:
    """Copy `first` and the rest of `member` into `out`; reading to the end checks the CRC."""
    out[: len(first)] = np.frombuffer(first, np.uint8)
    at = len(first)
    while block := member.read(_CHUNK):
        out[at : at + len(block)] = np.frombuffer(block, np.uint8)
        at += len(block)
    if at != out.size:
        raise EvtraceError(f"{out.size} bytes were declared, but {at} are there")


def _check_seal(file: IO[bytes], comment: bytes) -> None:
    """Hold the file against the checksum in its zip comment, where it has one."""
    if not comment:
        return
    size = os.fstat(file.fileno()).st_size - len(comment)
    if comment != evtrace.SEAL + evtrace.digest(file, size):
        raise EvtraceError("the file was changed after it was written, outside of its arrays")
