"""The programs in examples/, run as they would be run by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from conftest import interruptible

FOLDER = Path(__file__).parent.parent / "examples"
STAND_IN = Path(__file__).parent / "stand_in"


def command(example: str, *arguments: object) -> list[str]:
    return [sys.executable, str(FOLDER / f"{example}.py"), *map(str, arguments)]


def run(
    example: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, standard output, standard error.

    Args:
        environment: beside what there is.
    """
    with started(example, *arguments, environment=environment) as process:
        out, err = process.communicate()
        return process.returncode, out, err


@contextmanager
def started(
    example: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """One that runs, and does not outlive the block, nor a minute."""
    with subprocess.Popen(
        command(example, *arguments),
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    ) as process:
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Ctrl-C. Exit code, and what it has written and was not read yet."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    return process.returncode, out, err


def line_with(what: str, pipe: IO[str] | None) -> str:
    """The next line that has `what` in it."""
    for line in pipe or ():
        if what in line:
            return line.rstrip("\n")
    raise AssertionError(f"the program has ended and did not say {what!r}")


def microphone_of(*recordings: Path) -> dict[str, str]:
    """An environment with a microphone that hears these; see stand_in/sounddevice.py."""
    return {"PYTHONPATH": str(STAND_IN), "STAND_IN": ":".join(map(str, recordings))}


def program_in(folder: Path, name: str, script: str) -> None:
    """Write a shell script."""
    (folder / name).write_text(f"#!/bin/sh\n{script}")
    (folder / name).chmod(0o755)
