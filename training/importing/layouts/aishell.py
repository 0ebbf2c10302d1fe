"""AISHELL-1: one transcript for all; the archives of the speakers are packed in the archive."""

from __future__ import annotations

from collections.abc import Iterator

from ds2edge.training.importing.entries import Entry, Files, keyed, read_lines, split_of


def read(files: Files) -> Iterator[Entry]:
    """`wav/train/S0002/BAC009S0002W0122.wav`: split and speaker are the folders."""
    audio = {path.stem: path for path in files.find("*/S[0-9]*/BAC*.wav")}
    for transcript in files.find("*/transcript/aishell_transcript_*.txt"):
        for name, text in keyed(read_lines(transcript)):
            path = audio.get(name, transcript.with_name(f"{name}.wav"))  # which is not there
            split = split_of(path.parents[1].name) if name in audio else ""
            yield Entry(name, path, text, name[6:11], split)
