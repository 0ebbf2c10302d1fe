"""VCTK: a text file for each utterance; version 0.92 has two microphones, older ones have one."""

from __future__ import annotations

from collections.abc import Iterator

from ds2edge.training.importing.entries import Entry, Files, read_lines


def read(files: Files) -> Iterator[Entry]:
    """`txt/p225/p225_001.txt`; the first microphone is the better one."""
    for transcript in files.find("*/txt/*/*.txt"):
        speaker, root = transcript.parent.name, transcript.parents[2]
        choices = [
            root / "wav48_silence_trimmed" / speaker / f"{transcript.stem}_mic1.flac",
            root / "wav48_silence_trimmed" / speaker / f"{transcript.stem}_mic2.flac",
            root / "wav48" / speaker / f"{transcript.stem}.wav",
        ]
        audio = next((path for path in choices if path.is_file()), choices[0])
        text = " ".join(read_lines(transcript))
        yield Entry(transcript.stem, audio, text.strip(), speaker)
