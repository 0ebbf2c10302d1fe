"""What the runtimes print while they load, given to `logging`."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

log = logging.getLogger(__name__)

stderr_lock = threading.RLock()  # held while it is captured

# How a message of LiteRT, TensorFlow or Dawn (LiteRT's WebGPU) begins: with its severity or an
# absl-style stamp such as I0000; Mesa's complaint on machines without a desktop; and what
# TensorFlow's converter says of int8-static.
BEGINS = re.compile(
    rb"(INFO|VERBOSE|WARNING|ERROR|Warning): |[IWE]\d{4}|error: XDG_|fully_quantize: "
)
# How its further lines begin, right after it.
GOES_ON = re.compile(r"\s|└|=== |third_party/|[A-Z][A-Z_\d]*: |\d+ operations will ".encode())
# All that LiteRT says on standard output: whether it found OpenCL, which it then does not use.
OPENCL = re.compile(rb"INFO: .* OpenCL ")


@contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Give what LiteRT and TensorFlow print on standard error to `logging`.

    LiteRT has no setting for its own messages. The descriptor belongs to the whole process, so
    this is for loading only, and lines that are not theirs are passed on.

    Yields a list that has their lines when all is done.
    """
    with _captured(2, BEGINS) as lines:
        yield lines


@contextmanager
def captured_output() -> Iterator[list[str]]:
    """As `captured_stderr`, and what LiteRT prints on standard output when it meets a GPU."""
    with captured_stderr() as lines, _captured(1, OPENCL):
        yield lines


@contextmanager
def _captured(descriptor: int, begins: re.Pattern[bytes]) -> Iterator[list[str]]:
    lines: list[str] = []
    with stderr_lock, ExitStack() as stack:
        try:
            file = stack.enter_context(_unnamed_file())
            saved = os.dup(descriptor)
        except OSError:  # it is closed, or there is nowhere to keep it: then it is not captured
            yield lines
            return
        stack.callback(os.close, saved)
        os.dup2(file.fileno(), descriptor)
        try:
            yield lines
        finally:
            os.dup2(saved, descriptor)
            file.seek(0)
            lines += _hand_on(file.read().splitlines(keepends=True), begins, saved)


def _unnamed_file() -> IO[bytes]:
    """In memory where the system can: a full disk or a read-only one does not matter then."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("ds2edge"), "r+b")
    return tempfile.TemporaryFile()


def _hand_on(lines: list[bytes], begins: re.Pattern[bytes], descriptor: int) -> list[str]:
    """Returns: the runtimes' lines; the others are written."""
    theirs, is_theirs = [], False
    for line in lines:
        is_theirs = bool(begins.match(line) or (is_theirs and GOES_ON.match(line)))
        if not is_theirs:
            os.write(descriptor, line)
        elif text := line.decode(errors="replace").rstrip():
            theirs.append(text)
            log.debug("%s", text)
    return theirs
