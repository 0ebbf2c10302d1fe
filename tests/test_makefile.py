"""`make` says in one line what is missing before it builds anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def make_check(**variables: object) -> tuple[int, list[str]]:
    """The exit code of `make check` and what it says, without make's own closing line."""
    environment = {name: text for name, text in os.environ.items() if "MAKE" not in name}
    command = ["make", "check", *(f"{name}={value}" for name, value in variables.items())]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    return done.returncode, [line for line in done.stderr.splitlines() if "***" not in line]


@pytest.fixture
def python(tmp_path):
    """Makes a stand-in for Python that answers only what it is asked to."""

    def make(answers_yes_to: str) -> Path:
        path = tmp_path / "python"
        cases = f'case "$*" in *-V*) echo Python 3.9.2;; {answers_yes_to}) ;; *) exit 1; esac'
        path.write_text(f"#!/bin/sh\n{cases}\n")
        path.chmod(0o755)
        return path

    return make


def test_nothing_is_said_where_nothing_is_missing(python):
    assert make_check(PYTHON=python("*"), CXX="sh") == (0, [])


def test_all_that_is_missing_is_said_in_one_line(python):
    expected = (
        "make: missing python3-dev python3-venv g++; "
        "install with: sudo apt-get install python3-dev python3-venv g++"
    )
    missing = make_check(PYTHON=python("*version_info*"), CXX="no-such-compiler")
    assert missing == (2, [expected])


def test_no_python():
    code, (line,) = make_check(PYTHON="no-such-python")
    assert code == 2
    assert line.startswith("make: missing no-such-python; install with: sudo apt-get install")


def test_an_old_python(python):
    code, (line,) = make_check(PYTHON=python("nothing"))
    assert code == 2
    assert "needs Python 3.11 or newer" in line
    assert "is Python 3.9.2; name another: make PYTHON=" in line
