"""THCHS-30: everything lies in `data/`; `train/`, `dev/` and `test/` tell what is for what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ds2edge.training.importing.entries import Entry, Files, read_lines

POINTER = re.compile(r"\s*\S+\.wav\.trn\s*")
MARK = re.compile(r"^\s*l\s*=\s*")  # before some of the transcripts


def read(files: Files) -> Iterator[Entry]:
    """`train/A11_0.wav` may be a link; `train/A11_0.wav.trn` holds the path of the transcript."""
    for listed in files.find("*/train/*.wav.trn", "*/dev/*.wav.trn", "*/test/*.wav.trn"):
        data = listed.parents[1] / "data"
        name = listed.name.removesuffix(".wav.trn")
        audio = data / f"{name}.wav"
        if not audio.is_file():
            audio = listed.with_suffix("")
        yield Entry(name, audio, _text(listed), name.split("_")[0], listed.parent.name)


def _text(transcript: Path) -> str:
    """The first line: words; the others are their pronunciation."""
    first = read_lines(transcript)[0]
    if POINTER.fullmatch(first):
        path = transcript.parent / first.strip()
        first = read_lines(path)[0] if path.is_file() else ""
    return MARK.sub("", first).strip()
