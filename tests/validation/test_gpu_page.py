"""The script of the page on GPUs, as written there, with one file of evsim beside it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from validation import evtrace
from validation.verify import verify_file

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"


@pytest.mark.frameworks
def test_the_script_needs_one_file_and_its_recording_is_right(tmp_path):
    pytest.importorskip("snntorch")
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "record_gpu.py").write_text(script)
    shutil.copy(evtrace.__file__, tmp_path)
    # Isolated from this checkout, but not from the environment's packages.
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    ban = "sys.modules['validation'] = sys.modules['evsim'] = None"
    code = f"{path}; {ban}; exec(open('record_gpu.py').read())"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = verify_file(tmp_path / "gpu.npz")
    assert result.verdict == "pass" and [layer.name for layer in result.layers] == ["lif0", "lif1"]
    for layer in result.layers:
        assert {c.quantity for c in layer.checks} >= {"spikes", "membrane", "input_current"}
        assert all(c.verdict in ("identical", "tie") for c in layer.checks)
    assert result.layers[0].alone.n_recorded > 100
