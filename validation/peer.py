"""Frameworks that run in an interpreter of their own.

They need other versions of NumPy, or are under licences that forbid more than calling them, so
nothing of them is ever imported here. Their adapter's file is read twice: here, for its models
and for what can be asked, and there, by `validation.peer_runner`, where its `run` builds the
network in the framework. What goes over is a `validation.declaration`, what comes back an evtrace.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from validation import declaration
from validation.declaration import Declaration
from validation.model import Array

#: Seconds that a job may take.
PATIENCE = 600.0
#: Interpreters given on the command line, by framework; they win over the variable.
GIVEN: dict[str, str] = {}


def give(interpreters: Sequence[str]) -> None:
    """Note interpreters given as `NAME=PATH`.

    Raises
    ------
    ValueError
        If one is not of that form.
    """
    for text in interpreters:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--python wants NAME=PATH, for instance nest=nest/bin/python: {text}")
        GIVEN[name] = path


class PeerError(RuntimeError):
    """What a framework raised in its own interpreter, by the name and in the words it had there."""


@dataclass
class Peer:
    """A framework, and where its interpreter is.

    Attributes
    ----------
    framework : str
        Name of the adapter.
    distribution : str
        The package that pip knows.
    install : str
        What to install in an environment of its own, as pip takes it.
    adapter : str
        File of the adapter: its `__file__`.
    here : bool
        Whether it runs in this interpreter after all.
    gradients : bool
        Whether it can go backward.
    """

    framework: str
    distribution: str
    install: str
    adapter: str
    here: bool = False
    gradients: bool = False
    _server: Any = None

    @property
    def variable(self) -> str:
        """Name of the environment variable that names the interpreter."""
        return f"EVSIM_{self.framework.upper()}_PYTHON"

    def python(self) -> str:
        """The interpreter.

        Raises
        ------
        RuntimeError
            If none is named, or what is named is no file.
        """
        name = self.framework
        found = sys.executable if self.here else GIVEN.get(name) or os.environ.get(self.variable)
        if not found:
            raise RuntimeError(
                f"{name} runs in an interpreter of its own: name it with --python {name}=PATH or "
                f"{self.variable}. To make one: python -m venv {name} && "
                f"{name}/bin/pip install {self.install}"
            )
        if not Path(found).is_file():
            raise RuntimeError(f"{found}: the interpreter named for {name} does not exist")
        return found

    def version(self) -> str:
        """Version of the framework in that interpreter."""
        return str(self.ask("about", {}, {})[0]["provenance"]["version"])

    def about(
        self, manifest: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """There: what is installed."""
        return {**_EMPTY, "provenance": self._provenance()}, {}

    def _provenance(self) -> dict[str, Any]:
        """There: what ran."""
        from importlib.metadata import version

        names = {"framework": self.framework, "version": version(self.distribution)}
        return {**names, "numpy": np.__version__, "python": sys.version.split()[0]}

    def ask(
        self, call: str, manifest: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Call a function of the adapter there.

        Raises
        ------
        PeerError
            What the framework raised.
        RuntimeError
            If there is no interpreter, or it ends or falls silent.
        """
        if self.here:
            return self._asked_here(call, dict(manifest), dict(arrays))
        python = self.python()
        if self._server is None or self._server.python != python or not self._server.alive():
            self._server = _Server(python, self.adapter, self.framework)
        return self._server.ask(call, manifest, arrays)

    def _asked_here(self, call: str, manifest: dict[str, Any], arrays: dict[str, Array]) -> Any:
        from validation import adapters

        own = getattr(adapters.adapters()[self.framework], call, None) or getattr(self, call)
        return own(manifest, arrays)

    def record(
        self,
        model: Declaration,
        input: Any,
        *,
        dt: Any = None,
        device: Any = None,
        cotangent: Any = None,
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Manifest and arrays of one run, from rest, on `input` [T, B, ...].

        What an adapter calls `record`; see `validation.record`. The step is the declaration's.

        Raises
        ------
        ValueError
            If the input is not a finite [T, B, ...], or there are no gradients and a cotangent.
        """
        if cotangent is not None and not self.gradients:
            raise ValueError(f"cotangent: {self.framework} has no gradients; leave it out")
        x = np.asarray(input)
        x = x if x.dtype.kind == "f" else x.astype(np.float32)
        if x.ndim < 2 or 0 in x.shape or not np.isfinite(x).all():
            raise ValueError(f"input must be a finite [T, B, ...], got shape {x.shape}")
        arrays = {**model.arrays, "input": x}
        if cotangent is not None:
            arrays["cotangent"] = np.asarray(cotangent)
        manifest, found = self.ask("run", self._manifest(model, x), arrays)
        found = {k: v for k, v in found.items() if k not in ("input", "cotangent")}
        if np.all((x >= 0) & (x < 1 << 31) & (x == np.floor(x))):
            from validation import evtrace

            found |= evtrace.from_dense(x, "input_spikes")
        return manifest, found

    def _manifest(self, model: Declaration, x: Array) -> dict[str, Any]:
        return {
            "kind": "grid",
            "n_steps": int(x.shape[0]),
            "n_samples": int(x.shape[1]),
            "time_unit": "s",
            "time_origin": "step k covers [k dt, (k+1) dt)",
            "spike_convention": "unit_pulse",
            "input_shape": list(x.shape[2:]),
            **json.loads(json.dumps(model.manifest, default=_plain)),
        }

    def output(self, models: Any, graph: Any, dt: float, x: Array) -> Array:
        """Output [T, B, n] of a NIR graph, translated by `validation.declaration`."""
        model = declaration.of_graph(self.framework, models, graph, dt)
        try:
            manifest, arrays = self.record(model, x)
        except FloatingPointError:
            return np.full(x.shape, np.nan)
        return output_of(model, manifest, arrays)

    def through(self, call: str, graph: Any, dt: float, x: Array) -> Array:
        """Output of a NIR graph that the framework reads itself, in its adapter's `call` there."""
        arrays = {"graph.nir": graph_as_array(graph), "input": x}
        try:
            return self.ask(call, {"dt": dt}, arrays)[1]["output"]
        except FloatingPointError:
            return np.full(x.shape, np.nan)  # which an evtrace does not hold

    def asked_of(self, call: str, model: Declaration, dt: float, x: Array) -> dict[str, Array]:
        """Arrays that the adapter's `call` there makes of a model and its input."""
        manifest = {**self._manifest(model, x), "dt": dt}
        return self.ask(call, manifest, {**model.arrays, "input": x})[1]

    def sent(self, graph_output: Any) -> tuple[dict[str, Any], dict[str, Array]]:
        """There: the output [T, B, ...] of a graph."""
        y = np.asarray(graph_output)
        if not np.isfinite(y).all():
            raise FloatingPointError("the output is not finite")
        return {**_EMPTY, "provenance": self._provenance()}, {"output": y}

    def answered(
        self, manifest: dict[str, Any], arrays: dict[str, Array], observed: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """There: the recording, from the declaration and what was observed [T, B, n].

        `observed` holds `<layer>/spikes`, `<layer>/membrane` and so on, as an evtrace does; states
        before the first step are [B, n].
        """
        from validation import evtrace

        found = dict(arrays)
        for key, value in observed.items():
            name, _, quantity = key.rpartition("/")
            if not np.isfinite(value).all():
                step = int(np.argwhere(~np.isfinite(value))[0, 0])
                raise FloatingPointError(
                    f"{quantity} of layer {name!r} is not finite in step {step}"
                )
            entry = manifest["layers"][name]
            entry.pop("arguments", None)
            entry.setdefault("shape", list(value.shape[2:]))
            leading = 1 if quantity.startswith("initial_state.") else 2
            shaped = value.reshape(*value.shape[:leading], *entry["shape"])
            whole = {quantity: shaped}
            if quantity == "spikes":
                whole = evtrace.from_dense(shaped, "spikes")
            found |= {f"layers/{name}/{k}": a for k, a in whole.items()}
        return {**manifest, "provenance": self._provenance()}, found


def graph_as_array(graph: Any) -> Array:
    """A NIR graph as the bytes of its file."""
    import nir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.nir")
        nir.write(path, graph)
        return np.frombuffer(path.read_bytes(), np.uint8)


def graph_of(arrays: Mapping[str, Array]) -> Any:
    """The NIR graph that was sent."""
    import nir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.nir")
        path.write_bytes(arrays["graph.nir"].tobytes())
        return nir.read(path)


#: What an evtrace needs that holds no recording.
_EMPTY: dict[str, Any] = {"kind": "grid", "n_steps": 0, "n_samples": 0, "layers": {}}


def output_of(model: Declaration, manifest: Mapping[str, Any], arrays: Mapping[str, Any]) -> Array:
    """What a recorded network answers with: spikes, or the membrane of one that has none."""
    base, shape = f"layers/{model.output}/", manifest["layers"][model.output]["shape"]
    size = (manifest["n_steps"], manifest["n_samples"], int(np.prod(shape, dtype=int)))
    if model.analog:
        return np.asarray(arrays[base + "membrane"], np.float32).reshape(*size[:2], *shape)
    out = np.zeros(size, np.float32)
    step, sample, index, count = (
        arrays[f"{base}spikes.{name}"] for name in ("step", "sample", "index", "count")
    )
    out[step, sample, index] = count
    return out.reshape(*size[:2], *shape)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays in JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r:.60} cannot be sent to another interpreter")


class _Server:
    """A process that answers jobs one by one, until this one ends."""

    def __init__(self, python: str, adapter: str, framework: str) -> None:
        self.python, self.framework = python, framework
        self.folder = tempfile.TemporaryDirectory(prefix="evsim-")
        here = Path(__file__).resolve().parent
        command = [python, str(here / "peer_runner.py"), str(here), adapter]
        # Its own libraries, not ours.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self.errors = open(Path(self.folder.name, "stderr"), "w+b")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, env={**clean, "PYTHONDONTWRITEBYTECODE": "1"}, cwd=self.folder.name,
        )  # fmt: skip
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self.close)

    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def ask(
        self, call: str, manifest: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        from validation import evtrace

        job, out = (str(Path(self.folder.name, name)) for name in ("job.npz", "out.npz"))
        text = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
        np.savez(job, **{"manifest": text, **arrays})  # type: ignore[arg-type]
        answer = self._said(json.dumps({"call": call, "job": job, "out": out}))
        if "error" in answer:
            number = (FloatingPointError,) if answer["type"] == "FloatingPointError" else ()
            raise type(answer["type"], (PeerError, *number), {})(answer["error"])
        recording = evtrace.read(out)
        return dict(recording.manifest), {k: np.array(v) for k, v in recording.arrays.items()}

    def _said(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            while (found := self.lines.get(timeout=PATIENCE)) is not None:
                if found.startswith("evsim-answer "):
                    return json.loads(found.removeprefix("evsim-answer "))
        except BrokenPipeError:
            pass
        except queue.Empty:
            self.process.kill()
            raise RuntimeError(f"{self.framework} has not answered for {PATIENCE:g} s") from None
        raise RuntimeError(f"{self.framework}'s interpreter has ended: {self._last_words()}")

    def _last_words(self) -> str:
        """The last line that it complained with."""
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"status {self.process.returncode}"

    def close(self) -> None:
        """End the process and remove its files."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.errors.close()
        self.folder.cleanup()
