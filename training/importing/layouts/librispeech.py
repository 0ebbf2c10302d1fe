"""LibriSpeech: `train-clean-100/84/121123/84-121123.trans.txt` and FLAC files beside it."""

from __future__ import annotations

from collections.abc import Iterator

from ds2edge.training.importing.entries import Entry, Files, keyed, read_lines, split_of


def read(files: Files) -> Iterator[Entry]:
    """Transcripts are lines `84-121123-0000 TEXT`; the first number is the speaker."""
    for transcript in files.find("*.trans.txt"):
        split = split_of(transcript.parents[2].name)
        for name, text in keyed(read_lines(transcript)):
            audio = transcript.with_name(f"{name}.flac")
            yield Entry(name, audio, text, name.split("-")[0], split)
