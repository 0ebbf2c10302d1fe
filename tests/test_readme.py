"""What the README shows works as it stands; of the pages in docs/, see test_docs.py."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ds2edge.audio_file import read_audio

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Language and code."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


BLOCKS = blocks_of(README)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line
    for language, code in BLOCKS
    if language != "python"
    for line in code.splitlines()
    if line.startswith(("ds2edge transcribe", "ds2edge info"))
    and "--bundle" not in line  # of a bundle that is trained first: test_first_run.py
]


def test_the_readme_has_examples():
    assert len(PYTHON) >= 4
    assert len(COMMANDS) >= 3


class Recording:
    """Plays in the place of a microphone."""

    sample_rate = 16_000

    def __iter__(self):
        yield read_audio(ROOT / "tests/data/speech/LJ001-0011.opus", 16_000)


def test_the_python_blocks_run_one_after_the_other(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)  # the paths in them are the repository's
    monkeypatch.setattr("ds2edge.microphone.Microphone", Recording)
    names: dict[str, object] = {}
    for number, code in enumerate(PYTHON):
        exec(compile(code, f"README.md, Python block {number}", "exec"), names)
    assert capsys.readouterr().out.count("\n") > len(PYTHON)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command):
    program, *arguments = shlex.split(command)
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize("path", re.findall(r"tests/data/[\w./-]+\w", README))
def test_the_named_files_exist(path):
    assert (ROOT / path).exists()


def test_the_exit_codes_are_those_of_the_command():
    from ds2edge import cli

    rows = re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE)
    shown = [" ".join(line.split()) for line in cli.EXIT_CODES.splitlines()[1:]]
    assert [f"{code} {meaning}" for code, meaning in rows] == shown
