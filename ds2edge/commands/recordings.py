"""What `ds2edge transcribe` and `bench` read: files, folders, standard input."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ds2edge.audio_file import open_audio
from ds2edge.commands.interrupt import Interrupt
from ds2edge.errors import AudioError
from ds2edge.results import Seconds

STANDARD_INPUT = "-"
SUFFIXES = frozenset(
    [".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"]
)
RAW_BLOCK: Seconds = 0.25  # of raw samples that are read at once


def recordings(given: Iterable[str]) -> Iterator[str]:
    """Each file, and those of each folder; a folder that has none stands for itself."""
    for path in given:
        found = sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES)
        yield from map(str, found) if found else [path]


def is_pipe(path: str) -> bool:
    """Whether only this process can read it: standard input, or a shell's <(...)."""
    return path == STANDARD_INPUT or path.startswith(("/dev/", "/proc/"))


def readable(path: str) -> str:
    """The path to open.

    Raises:
        AudioError: it is a folder, or standard input that nothing can be read from.
    """
    if path == STANDARD_INPUT:
        _standard_input()
        return "/dev/stdin"
    if os.path.isdir(path):
        raise AudioError(f"{path} is a folder without recordings ({' '.join(sorted(SUFFIXES))})")
    return path


def length(path: str) -> Seconds:
    """Seconds of audio by the header; 0 where it cannot be read: transcribing will say why."""
    if not os.path.isfile(path):  # what is read from a pipe could not be read again
        return 0.0
    try:
        with open_audio(path) as file:
            return file.seconds
    except AudioError:
        return 0.0


def raw_blocks(
    sample_rate: float, dtype: str, channels: int, interrupt: Interrupt
) -> Iterator[np.ndarray[Any, Any]]:
    """The samples on standard input, as they come, until Ctrl-C; shape = (n, channels).

    Raises:
        AudioError: it is closed, `channels` is impossible, or it ends in a sample's middle.
    """
    if channels < 1:
        raise AudioError(f"--channels must be 1 or more, got {channels}")
    descriptor = _standard_input()
    frame = np.dtype(dtype).itemsize * channels
    size = max(1, round(sample_rate * RAW_BLOCK)) * frame
    rest = b""
    while interrupt.wait(lambda: select.select([descriptor], [], [])):
        data = os.read(descriptor, size)  # what there is, without waiting for all
        if not data:
            break
        data = rest + data
        whole = len(data) - len(data) % frame
        rest = data[whole:]
        yield np.frombuffer(data[:whole], dtype).reshape(-1, channels)
    if rest and not interrupt.asked:
        raise AudioError(f"the samples end in the middle: {len(rest)} of {frame} bytes are left")


def _standard_input() -> int:
    """Its descriptor."""
    if sys.stdin is None:
        raise AudioError("standard input is closed: needed is a recording, as in `... < FILE`")
    if sys.stdin.isatty():
        raise AudioError("standard input is a terminal: needed is a recording, as in `... < FILE`")
    return sys.stdin.fileno()
