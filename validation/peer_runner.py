"""Runs a framework's adapter in the framework's own interpreter; started by `validation.peer`.

    PYTHON peer_runner.py PACKAGE_FOLDER ADAPTER.py

That interpreter needs NumPy and the framework, and `nir` where the framework reads NIR itself.
Every line on the standard input is a job: the function of the adapter to call, a file with its
manifest and arrays, and a file for the answer, an evtrace. One line of JSON answers each.
"""

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder: its modules are `validation.<name>`, not top level

import importlib.util
import json
import os
from typing import Any

ANSWER = "evsim-answer "


def _load(name: str, path: str, folder: str | None = None) -> Any:
    """The module in a file, or the package in a folder, under a name."""
    where = None if folder is None else [folder]
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=where)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _answer(adapter: Any, job: dict[str, str]) -> dict[str, Any]:
    import numpy as np

    from validation import evtrace

    try:
        with np.load(job["job"], allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        manifest = json.loads(arrays.pop("manifest").tobytes())
        call = getattr(adapter, job["call"], None) or getattr(adapter.PEER, job["call"])
        manifest, arrays = call(manifest, arrays)
        evtrace.write(job["out"], manifest, arrays)
    except Exception as error:  # a framework may raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:  # some wrap what went wrong
            cause = cause.__cause__
        words = " ".join(str(cause).split()) or type(cause).__name__
        return {"error": words, "type": type(cause).__name__}
    return {}


def main() -> None:
    """Answer until the input ends."""
    _load("validation", os.path.join(sys.argv[1], "__init__.py"), sys.argv[1])
    adapter = _load("evsim_adapter", sys.argv[2])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the framework prints is no answer
    for line in sys.stdin:
        print(ANSWER + json.dumps(_answer(adapter, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
