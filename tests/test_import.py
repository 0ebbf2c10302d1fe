"""What importing and running ds2edge loads, prints and writes: measured in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RECORDINGS

TRANSCRIBE = f"""
import sys
from ds2edge import Transcriber
text = Transcriber().transcribe({str(RECORDINGS[0])!r}).text
assert text
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code],  # -P: not the checkout's ds2edge/, the installed one
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_transcribing_loads_no_training_code_and_prints_nothing() -> None:
    heavy = "('tensorflow', 'keras', 'jiwer', 'matplotlib', 'ds2edge.training', 'ds2edge.convert')"
    done = run(TRANSCRIBE + f"assert not [m for m in {heavy} if m in sys.modules]")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == ""


def test_importing_is_light() -> None:
    late = "('rich', 'ai_edge_litert', 'importlib.metadata', 'asyncio', 'zipfile')"
    done = run(f"import sys, ds2edge; print([m for m in {late} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_runtime_messages_go_to_logging() -> None:
    done = run(
        "import logging; logging.basicConfig(level=logging.DEBUG, format='LOG %(message)s')\n"
        + TRANSCRIBE
    )
    assert all(line.startswith("LOG ") for line in done.stderr.splitlines())
    assert "XNNPACK" in done.stderr


def test_foreign_messages_while_loading_are_passed_on() -> None:
    done = run(
        "import os\nfrom ds2edge.runtimes.stderr import captured_stderr\n"
        "with captured_stderr(): os.write(2, b'INFO: a runtime line\\nmine\\n')"
    )
    assert done.stderr == "mine\n"


def test_an_unwritable_home_and_cache_change_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    for cache in (home / "cache", Path("/proc/nowhere"), Path("/dev/null/x")):
        done = run(TRANSCRIBE, HOME=str(home), DS2EDGE_CACHE=str(cache))
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_stream_is_no_obstacle(closed: int) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -P -c "$1" {closed}>&-', sys.executable, TRANSCRIBE],
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0
