"""A peer in a process of its own: told to run, it answers with its time."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
NEST_PYTHON = "EVSIM_NEST_PYTHON"


class Nest:
    """NEST with one network, in another interpreter; a context manager."""

    def __init__(self, python: str, arrays: dict[str, np.ndarray], *options: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        job = Path(self.folder.name, "job.npz")
        np.savez(job, **arrays)
        # Its own libraries, not ours.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        command = [python, str(HERE / "nest_server.py"), str(job), *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=clean,
        )  # fmt: skip

    def run(self, model: str, arrays: dict[str, np.ndarray] | None = None) -> dict:
        """Build and run anew, with other arrays if given: seconds, spikes, version; or an error."""
        assert self.process.stdin is not None and self.process.stdout is not None
        line = model
        if arrays is not None:
            job = Path(self.folder.name, "other.npz")
            np.savez(job, **arrays)
            line = f"{model} {job}"
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"error": "NEST's process has ended"}
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        return {"error": f"NEST's process ended with status {self.process.wait()}"}

    def __enter__(self) -> Nest:
        return self

    def __exit__(self, *_) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()
