"""What `ds2edge transcribe` writes of a transcript, and where."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from ds2edge.commands.recordings import STANDARD_INPUT
from ds2edge.errors import ConfigError
from ds2edge.results import Transcript
from ds2edge.subtitles import to_srt, to_vtt

Show: TypeAlias = Callable[[str, Transcript], str]  # of a file, with the line's end

ENDINGS = {"text": "txt", "words": "tsv"}  # of files, where it is not the shape's name


class Files:
    """A file in a folder for each recording, which appears there when it is whole."""

    def __init__(self, folder: Path, recordings: Sequence[str], shape: str) -> None:
        """Recordings of the same name get files with numbers.

        Raises:
            ConfigError: nothing can be written there, or a recording would be overwritten.
        """
        self._paths = _paths(folder, recordings, ENDINGS.get(shape, shape))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # better now than after an hour's work
        except OSError as error:
            raise ConfigError(f"cannot write to --output {folder}: {error.strerror}") from None
        for path in self._paths:
            for recording in recordings if path.exists() else ():
                if os.path.exists(recording) and path.samefile(recording):
                    raise ConfigError(f"{path} is a recording; choose another folder for --output")

    def write(self, number: int, shown: str) -> None:
        """Write what is shown of a recording, by its place among all, from 0.

        Raises:
            ConfigError: it cannot be written; what had been there is as it was.
        """
        path = self._paths[number]
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_text(shown, encoding="utf-8", errors="surrogateescape")
            part.replace(path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)


def _paths(folder: Path, recordings: Sequence[str], ending: str) -> list[Path]:
    names: dict[str, None] = {}  # in order
    for recording in recordings:
        stem = "stdin" if recording == STANDARD_INPUT else Path(recording).stem
        name, number = f"{stem}.{ending}", 2
        while name in names:
            name, number = f"{stem}-{number}.{ending}", number + 1
        names[name] = None
    return [folder / name for name in names]


def _text(displayed: bool, several: bool) -> Show:
    def show(path: str, transcript: Transcript) -> str:
        text = transcript.display if displayed else transcript.text
        return f"{path}: {text}\n" if several else f"{text}\n"

    return show


def _words(displayed: bool, several: bool) -> Show:
    def show(path: str, transcript: Transcript) -> str:
        name = f"{path}\t" if several else ""
        return "".join(
            f"{name}{word.start:.2f}\t{word.end:.2f}\t{word.confidence:.2f}\t{word.text}\n"
            for word in transcript.words
        )

    return show


def _json(displayed: bool, several: bool) -> Show:
    def show(path: str, transcript: Transcript) -> str:
        facts = {"file": path, **transcript.as_dict(display=displayed)}
        return json.dumps(facts, ensure_ascii=False) + "\n"

    return show


def _srt(displayed: bool, several: bool) -> Show:
    return lambda _, transcript: to_srt(transcript.segments)


def _vtt(displayed: bool, several: bool) -> Show:
    return lambda _, transcript: to_vtt(transcript.segments)


# By flag; called with --display and whether there are several files.
SHAPES: dict[str, Callable[[bool, bool], Show]] = {
    "text": _text,
    "words": _words,
    "json": _json,
    "srt": _srt,
    "vtt": _vtt,
}
