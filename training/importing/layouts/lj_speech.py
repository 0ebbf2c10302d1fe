"""LJ Speech: one reader; `metadata.csv` has the text as it stands and as it is read."""

from __future__ import annotations

from collections.abc import Iterator

from ds2edge.training.importing.entries import Entry, Files, read_lines


def read(files: Files) -> Iterator[Entry]:
    """Lines are `LJ001-0001|text|text with numbers spelled out`."""
    for table in files.find("*/metadata.csv"):
        if not (table.parent / "wavs").is_dir():
            continue
        for number, line in enumerate(read_lines(table), 1):
            if not line.strip():
                continue
            name, *texts = line.split("|")
            problem = "" if texts else f"{table}, line {number}: needed `ID|text|text`"
            audio = table.parent / "wavs" / f"{name}.wav"
            yield Entry(name, audio, texts[-1] if texts else "", "lj", problem=problem)
