"""Kaldi's data folders: `wav.scp`, `text`, `utt2spk` and, where there are long ones, `segments`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ds2edge.training.importing.entries import Entry, Files, keyed, read_lines, split_of


def read(files: Files) -> Iterator[Entry]:
    """The folder's name tells the split: `data/train_960`, `data/dev`."""
    for scp in files.find("*/wav.scp"):
        for entry in read_folder(scp.parent, *files.roots):
            yield replace(entry, split=split_of(scp.parent.name))


def read_folder(folder: Path, *roots: Path) -> Iterator[Entry]:
    """Utterances of a folder; paths in `wav.scp` are from there or from one of `roots`."""
    recordings = dict(keyed(read_lines(folder / "wav.scp")))
    speakers = _table(folder / "utt2spk")
    segments = _table(folder / "segments")
    for name, text in _table(folder / "text").items():
        recording, times, problem = name, "", ""
        if segments:
            recording, _, times = segments.get(name, "").partition(" ")
        where = recordings.get(recording, "")
        start, end = None, None
        if not where:
            problem = f"{folder}: {name} has no line in {'segments' if segments else 'wav.scp'}"
            if recording and segments:
                problem = f"{folder}: {recording} of {name} has no line in wav.scp"
        elif where.endswith("|"):
            problem = f"{folder / 'wav.scp'}: {recording} is a command, needed a file"
        elif segments:
            try:
                start, stop = map(float, times.split()[:2])
                end = stop if stop >= 0 else None  # -1: up to the end
            except ValueError:
                problem = f"{folder / 'segments'}: {name} has no times: {times!r}"
        speaker = speakers.get(name, "")
        yield Entry(name, _audio(folder, roots, where), text, speaker, "", start, end, 0, problem)


def _table(path: Path) -> dict[str, str]:
    return dict(keyed(read_lines(path))) if path.is_file() else {}


def _audio(folder: Path, roots: tuple[Path, ...], where: str) -> Path:
    choices = [place / where for place in (folder, *roots)]
    return next((path for path in choices if path.is_file()), choices[0])
